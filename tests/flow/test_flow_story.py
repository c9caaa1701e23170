"""The story of issue A in memory: packets in, a breach, a Disconnect-Request out, the proof (behaviours 3.3, 4.2, 4.4, 4.9, 5.1 to 5.4)."""

import pytest

from schemas.configuration import Disconnect, Nas
from schemas.journal import OperatorCommand
from schemas.policy import Limit, Liveness
from tests.flow.driver import T0_MS, FlowDriver, SimulatedAccess

PHONE, LAPTOP, TABLET = ("02-00-00-00-00-01", "02-00-00-00-00-02", "02-00-00-00-00-03")
START, STOP, INTERIM, ON = 1, 2, 3, 7


def limit(most: int, victim: str = "newest") -> Limit:
    return Limit(name=f"max-{most}", applies_to="user", max_sessions=most, victim=victim)  # type: ignore[arg-type]


class Campus:
    """One NAS, "campus", and Bob with his devices."""

    def __init__(self, *rules: Limit | Liveness, interim_interval_s: int | None = None) -> None:
        self.nas = SimulatedAccess("campus")
        self.flow = FlowDriver(self.nas.configuration(interim_interval_s))
        self.flow.publish(*rules, version=1)
        self.flow.advance(0)

    def says(self, status: int, session: str, mac: str = "", user: str = "bob", session_time_s: int = 0) -> None:
        """The NAS sends a record now, and is answered."""
        at_ms = T0_MS + round(self.flow.now_s * 1000)
        self.flow.pipe(
            self.nas.packet(status, user=user, session=session, mac=mac, ip="10.0.0.7", at_ms=at_ms, session_time_s=session_time_s),
            self.nas.source,
        )
        assert len(self.flow.answers()) == 1

    def breached(self) -> FlowDriver:
        """Bob has his phone and his laptop on; his tablet came third. The request is on the wire, all else is taken."""
        for number, mac in enumerate((PHONE, LAPTOP, TABLET)):
            self.says(START, f"s{number}", mac, user="BOB" if number == 2 else "bob")
            self.flow.advance(1)
        assert self.flow.types() == ["session.started"] * 3 + ["limit.breached", "disconnect.requested"]
        assert len(self.flow.commands()) == 1
        return self.flow


def test_two_devices_stay_and_the_third_is_disconnected_acknowledged_and_proven() -> None:
    """4.2, 5.1, 5.4: Disconnect-Request with the session's attributes as sent, ACK, Stop, confirmed."""
    campus = Campus(limit(2))
    flow = campus.breached()
    packet = flow.packet()
    assert (packet.at_s, packet.datagram.endpoint) == (2.0, ("192.0.2.1", 3799))
    assert packet.attributes == {
        "user_name": "BOB",
        "acct_session_id": "s2",
        "calling_station_id": TABLET,
        "event_timestamp_s": T0_MS // 1000 + 2,
    }
    flow.answer(packet)
    assert flow.outcomes() == ["acknowledged"]
    assert flow.types() == ["disconnect.acknowledged"]
    flow.advance(0.5)
    campus.says(STOP, "s2", TABLET, user="BOB", session_time_s=1)
    assert [(notice.alive, notice.said_by) for notice in flow.notices()] == [(False, "nas-stop")]
    (result,) = flow.results()
    assert (result.outcome, result.final, len(result.attempts)) == ("confirmed", True, 1)
    assert flow.types() == ["session.ended", "disconnect.confirmed"]
    flow.advance(200)
    flow.nothing_else()


def test_the_oldest_goes_where_the_rule_says_so() -> None:
    """4.4: log in on the new phone and the old one drops."""
    campus = Campus(limit(2, "oldest"))
    flow = campus.breached()
    packet = flow.packet()
    assert packet.attributes["acct_session_id"] == "s0"
    campus.says(STOP, "s0", PHONE, session_time_s=3)
    assert flow.outcomes() == ["confirmed"]
    assert flow.types() == ["session.ended", "disconnect.confirmed"]
    assert len(flow.notices()) == 1
    flow.answer(packet)
    assert len(flow.ignored()) == 1
    flow.advance(200)
    flow.nothing_else()


def test_nak_503_closes_the_session() -> None:
    """5.3: Session-Context-Not-Found = gone."""
    flow = Campus(limit(2)).breached()
    flow.answer(flow.packet(), nak=503)
    (result,) = flow.results()
    assert (result.outcome, result.final, result.error_cause) == ("gone", True, 503)
    ended, confirmed = flow.events()
    assert (ended.type, ended.said_by, ended.acct_session_id) == ("session.ended", "kicked", "s2")
    assert confirmed.type == "disconnect.confirmed"
    flow.advance(200)
    flow.nothing_else()


def test_nak_404_is_a_refusal_with_its_name_and_the_session_goes_on() -> None:
    """5.3, 5.7: give up and say so; the next Start finds the slots taken."""
    campus = Campus(limit(2))
    flow = campus.breached()
    flow.answer(flow.packet(), nak=404)
    (result,) = flow.results()
    assert (result.outcome, result.error_cause_name) == ("refused", "Invalid-Request")
    (refused,) = flow.events()
    assert (refused.type, refused.cause, refused.acct_session_id) == ("disconnect.refused", "Invalid-Request", "s2")
    flow.advance(200)
    flow.nothing_else()


def test_silence_is_unanswered_after_thirty_seconds_by_the_rfc_s_schedule() -> None:
    """5.1: RFC 5080: the same octets at 0, 2, 6 and 14 s; given up at 30 s."""
    flow = Campus(limit(2)).breached()
    flow.advance(28.5)
    packets = flow.packets()
    assert [packet.at_s - 2 for packet in packets] == [0, 2, 6, 14]
    assert len({packet.datagram.octets for packet in packets}) == 1
    assert len({packet.datagram.port for packet in packets}) == 1
    flow.nothing_else()
    flow.advance(0.5)
    (result,) = flow.results()
    assert (result.outcome, result.final, result.time_ms) == ("unanswered", True, T0_MS + 32_000)
    assert flow.types() == ["disconnect.unanswered"]
    flow.advance(200)
    flow.nothing_else()


def test_an_ack_without_a_stop_is_unconfirmed_in_the_end() -> None:
    """5.4: one final outcome within `confirm_within_s`."""
    flow = Campus(limit(2)).breached()
    flow.answer(flow.packet())
    assert flow.types() == ["disconnect.acknowledged"]
    flow.advance(88.9)
    assert flow.outcomes() == ["acknowledged"]
    flow.advance(0.1)
    assert flow.outcomes() == ["unconfirmed"]
    assert flow.types() == ["disconnect.unconfirmed"]
    flow.advance(200)
    flow.nothing_else()


def test_an_ack_and_then_an_interim_is_unconfirmed() -> None:
    """5.4: the NAS promised, and the session went on reporting; whatever way is tried next, one outcome is final and it is no success."""
    campus = Campus(limit(2))
    flow = campus.breached()
    flow.answer(flow.packet())
    flow.advance(20)
    campus.says(INTERIM, "s2", TABLET, user="BOB", session_time_s=21)
    assert [notice.alive for notice in flow.notices()] == [True]
    for packet in flow.packets():
        flow.answer(packet)
    flow.advance(200)
    results = flow.results()
    assert [result.final for result in results] == [False] * (len(results) - 1) + [True]
    assert results[-1].outcome == "unconfirmed"
    assert flow.types() == ["disconnect.acknowledged", "session.updated", "disconnect.unconfirmed"]
    flow.nothing_else()


def test_a_forged_reply_is_none() -> None:
    """5.1: replies are verified; the request goes on waiting."""
    flow = Campus(limit(2)).breached()
    packet = flow.packet()
    octets = bytearray(packet.datagram.octets)
    octets[0] = 41
    flow.reply(packet, bytes(octets))
    assert len(flow.ignored()) == 1
    flow.nothing_else()
    flow.answer(packet, nak=503)
    assert flow.outcomes() == ["gone"]


def test_a_device_that_went_silent_is_found_removed_and_its_slot_is_free() -> None:
    """3.3, 3.7: while the NAS talks for another session."""
    campus = Campus(limit(1), Liveness(rule="interim", times=3), interim_interval_s=60)
    flow = campus.flow
    campus.says(START, "s0", PHONE)
    campus.says(START, "e0", TABLET, user="eve")
    for minute in range(1, 5):
        flow.advance(60)
        campus.says(INTERIM, "e0", TABLET, user="eve", session_time_s=60 * minute)
    flow.advance(5)
    assert [event.type for event in flow.events() if event.identity == "bob"] == [
        "session.started",
        "session.suspect",
        "session.stale",
        "session.ended",
        "disconnect.requested",
    ]
    (command,) = flow.commands()
    assert (command.reason, command.session["acct_session_id"]) == ("stale", "s0")
    flow.answer(flow.packets()[0], nak=503)
    assert flow.outcomes() == ["gone"]
    assert flow.types() == ["disconnect.confirmed"]
    campus.says(START, "s1", LAPTOP)
    assert flow.types() == ["session.started"]
    flow.nothing_else()


def test_the_sessions_of_a_silent_nas_are_left_alone() -> None:
    """3.5: nobody is dead because an uplink is down."""
    campus = Campus(limit(1), Liveness(rule="interim", times=3), interim_interval_s=60)
    campus.says(START, "s0", PHONE)
    campus.flow.advance(3600)
    assert campus.flow.types() == ["session.started", "nas.silent"]
    campus.flow.nothing_else()


def test_a_nas_with_one_session_proves_itself_by_it_also_where_no_interval_is_configured() -> None:
    """3.5: its talking clock goes from Interim to Interim, and the session that then falls silent while another talks is found."""
    campus = Campus(Liveness(rule="interim", times=3))
    flow = campus.flow
    campus.says(START, "s0", PHONE)
    campus.says(START, "s1", LAPTOP)
    for minute in range(10, 91, 10):
        flow.advance(600)
        campus.says(INTERIM, "s1", LAPTOP, session_time_s=minute * 60)
        if minute <= 20:
            campus.says(INTERIM, "s0", PHONE, session_time_s=minute * 60)
    assert [(event.acct_session_id, event.type) for event in flow.events() if event.type in ("session.stale", "nas.silent")] == [
        ("s0", "session.stale")
    ]
    assert [command.session["acct_session_id"] for command in flow.commands()] == ["s0"]


def test_a_policy_takes_effect_under_way() -> None:
    """4.9: without a restart; who is over it stays, who comes is judged by it."""
    campus = Campus(limit(2))
    flow = campus.flow
    campus.says(START, "s0", PHONE)
    campus.says(START, "s1", LAPTOP)
    flow.publish(limit(1), version=2)
    campus.says(START, "s2", TABLET)
    events = flow.events()
    assert [event.type for event in events] == ["session.started"] * 3 + ["limit.breached", "disconnect.requested"]
    assert (events[3].rule, events[3].current, events[3].policy_version) == ("max-1", 2, 2)
    assert [command.policy_version for command in flow.commands()] == [2]
    assert len(flow.packets()) == 1
    flow.nothing_else()


def test_a_retransmission_is_answered_again_and_counted_once() -> None:
    """1.4: by the cache; and with a new Identifier by its content."""
    campus = Campus(limit(1))
    flow = campus.flow
    packet = campus.nas.packet(START, user="bob", session="s0", mac=PHONE)
    flow.pipe(packet, campus.nas.source)
    flow.pipe(packet, campus.nas.source)
    flow.advance(5)
    flow.pipe(campus.nas.packet(START, user="bob", session="s0", mac=PHONE), campus.nas.source)
    first, second, third = flow.answers()
    assert first == second
    assert third != first
    assert flow.types() == ["session.started"]
    flow.nothing_else()


def test_an_accounting_on_ends_the_nas_s_sessions_in_every_partition() -> None:
    """2.4."""
    campus = Campus()
    users = [f"user{number}" for number in range(8)]
    for number, user in enumerate(users):
        campus.says(START, f"s{number}", user=user)
    flow = campus.flow
    assert len({event.id.split("-")[0] for event in flow.events()}) > 1
    flow.advance(10)
    campus.says(ON, "", user="")
    events = flow.events()
    assert sorted(event.identity for event in events if event.type == "session.ended") == users
    assert [event.type for event in events if not event.identity] == ["nas.up"]
    flow.nothing_else()


@pytest.mark.parametrize(
    ("disconnect", "outcome"), [(None, "no-secret"), ("none", "unsupported")], ids=["no disconnect configured", "via none"]
)
def test_a_nas_that_cannot_be_asked_is_a_named_result(disconnect: str | None, outcome: str) -> None:
    """5.7: never silence."""
    nas = SimulatedAccess("campus")
    way = None if disconnect is None else Disconnect(via="none")
    flow = FlowDriver(Nas(name="campus", addresses=("192.0.2.1/32",), secret="testing123", disconnect=way))
    flow.publish(limit(0), version=1)
    flow.pipe(nas.packet(START, user="bob", session="s0"), nas.source)
    assert flow.outcomes() == [outcome]
    assert flow.types() == ["session.started", "limit.breached", "disconnect.requested", "disconnect.refused"]
    assert (len(flow.commands()), len(flow.answers())) == (1, 1)
    flow.advance(100)
    flow.nothing_else()


def test_an_operators_order_goes_the_same_way() -> None:
    """5.8."""
    campus = Campus()
    flow = campus.flow
    campus.says(START, "s0", PHONE)
    order = OperatorCommand(
        id="o1", identity="bob", nas="campus", acct_session_id="s0", time_ms=T0_MS, expires_ms=T0_MS + 60_000, who="ann", text="lost phone"
    )
    flow.order(order)
    assert flow.types() == ["session.started", "disconnect.requested"]
    assert [(command.who, command.text) for command in flow.commands()] == [("ann", "lost phone")]
    assert flow.packet().attributes["acct_session_id"] == "s0"
    flow.nothing_else()


def test_bad_packets_get_no_answer_and_are_counted() -> None:
    """1.2."""
    campus = Campus()
    flow = campus.flow
    packet = campus.nas.packet(START, user="bob", session="s0")
    flow.pipe(packet, ("198.51.100.9", 1))
    flow.pipe(packet[:-1] + b"\xff", campus.nas.source)
    flow.pipe(packet[:19], campus.nas.source)
    assert len(flow.refused) == 3
    assert flow.refused[0] == "unknown-source"
    flow.refused.clear()
    flow.nothing_else()


def test_the_same_packets_at_the_same_times_give_the_same_octets() -> None:
    """DESIGN "The law": one log in, the same out."""
    one, other = (Campus(limit(2)).breached() for _ in range(2))
    assert one.packets() == other.packets()
    assert one.journal == other.journal
