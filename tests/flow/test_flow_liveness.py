"""A device that went silent, from its Start to its Disconnect-Request, in the exact times of the rules (behaviours 3.2, 3.4, 3.7)."""

from schemas.policy import Liveness
from schemas.sighting import Sighting
from tests.flow.driver import T0_MS, FlowDriver, SimulatedAccess

START, INTERIM = 1, 3
PHONE, TABLET = "02-AA-00-00-00-01", "02-AA-00-00-00-02"
OFFLINE = Liveness(rule="offline-detect", length_s=300, probe="arp")


class Campus:
    """One NAS; Bob's phone is silent, Eve's tablet reports each 20 s, with counters that grow."""

    def __init__(self, rule: Liveness) -> None:
        self.nas = SimulatedAccess("campus")
        self.flow = FlowDriver(self.nas.configuration(20))
        self.flow.publish(rule, version=1)
        self.flow.advance(0)
        self.says(START, "bob", PHONE)
        self.says(START, "eve", TABLET)
        self.flow.events()

    def says(self, status: int, user: str, mac: str) -> None:
        now_s = round(self.flow.now_s)
        packet = self.nas.packet(status, user=user, session=user, mac=mac, ip="10.0.0.7", at_ms=T0_MS + 1000 * now_s, session_time_s=now_s)
        self.flow.pipe(packet, self.nas.source)
        assert len(self.flow.answers()) == 1

    def story(self, until_s: int) -> list[tuple[int, str]]:
        """What happened to Bob, second by second; Eve's device answers whatever it is asked."""
        told = []
        while self.flow.now_s < until_s:
            self.flow.advance(1)
            now_s = round(self.flow.now_s)
            if now_s % 20 == 0:
                self.says(INTERIM, "eve", TABLET)
            for probe in self.flow.probes():
                if probe.identity == "bob":
                    told.append((now_s, f"probe {probe.nth} of {probe.mac}"))
                else:
                    self.flow.see(Sighting(time_ms=T0_MS + 1000 * now_s, mac=TABLET, by="prober"))
            told += [(now_s, event.type) for event in self.flow.events() if event.identity == "bob"]
        return told


def test_a_length_of_300_seconds_asks_at_100_and_200_and_finds_the_dead_at_300() -> None:
    """3.2, 3.4, 3.7: to the tick: what lies between two ticks is counted late, never early."""
    campus = Campus(OFFLINE)
    story = campus.story(330)
    mac = PHONE.replace("-", ":").lower()
    assert [kind for _, kind in story] == [
        *(f"probe 1 of {mac}", "session.suspect", f"probe 2 of {mac}"),
        *("session.stale", "session.ended", "disconnect.requested"),
    ]
    wanted = (100, 100, 200, 300, 300, 300)
    late_s = [at_s - wanted_s for (at_s, _), wanted_s in zip(story, wanted, strict=True)]
    assert all(0 <= late <= 22 for late in late_s), late_s  # the NAS is heard each 20 s, and its talking clock goes that far
    (command,) = campus.flow.commands()
    assert (command.identity, command.reason) == ("bob", "stale")
    assert {packet.attributes["acct_session_id"] for packet in campus.flow.packets()} == {"bob"}


def test_a_device_that_is_seen_lives_on() -> None:
    """3.4: from outside, by its MAC address; it is open again and nobody is kicked."""
    campus = Campus(OFFLINE)
    assert [kind for _, kind in campus.story(130)][1:] == ["session.suspect"]
    campus.flow.see(Sighting(time_ms=T0_MS + 130_000, mac=PHONE, by="switch"))
    assert [event.type for event in campus.flow.events() if event.identity == "bob"] == ["session.updated"]
    assert not [kind for _, kind in campus.story(225) if kind.startswith("session.")]
    assert campus.flow.commands() == []
