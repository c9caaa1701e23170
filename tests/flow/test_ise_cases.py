"""Cisco ISE's cases of maximum sessions (BEHAVIOURS part 6), each as it stands there: the whole pipeline in memory, with the group agent.

Each device has a MAC of its own. ISE counts sessions, so these limits do. A breach is a Disconnect-Request for the newcomer, as ISE would
have refused it: it never enters a count.
"""

import pytest
from msgspec.structs import replace

from schemas.policy import Limit
from tests.flow.driver import T0_MS, FlowDriver, Packet, SimulatedAccess
from tests.support.journal import Rule

START, STOP = 1, 2
CLOCK_0 = 11 * 3600 + 34
"""The counter's case begins at 11:00:34."""


def user(most: int, **more: object) -> Limit:
    return Limit(name=f"user-{most}", applies_to="user", max_sessions=most, count="sessions", **more)  # type: ignore[arg-type]


def group(most: int, **more: object) -> Limit:
    return Limit(name=f"group-{most}", applies_to="group", max_sessions=most, count="sessions", **more)  # type: ignore[arg-type]


def user_in_group(most: int) -> Limit:
    return Limit(name=f"user-in-group-{most}", applies_to="user-in-group", max_sessions=most, count="sessions")


def guest_type(most: int) -> Limit:
    return Limit(name=f"guest-{most}", applies_to="guest-type", max_sessions=most, count="sessions")


class Ise:
    """A campus with a policy. People log in; whoever breaches gets a Disconnect-Request, which the NAS carries out."""

    def __init__(self, *rules: Rule) -> None:
        self.access = SimulatedAccess("campus")
        self.flow = FlowDriver(self.access.configuration())
        self.flow.advance(0)
        self.flow.publish(*rules, version=1)
        self.sessions = 0

    def belongs(self, name: str, *groups: str) -> None:
        """An operator puts somebody into groups."""
        self.flow.member(name, *groups)

    def logs_in(self, name: str, *, stays: bool = False) -> str | None:
        """A session on a device of its own begins.

        Returns:
            The reason for which it has to go; None: it is in.
        """
        self.sessions += 1
        session, mac = f"s{self.sessions}", f"02-00-00-00-00-{self.sessions:02x}"
        self._says(START, name, session, mac)
        events = self.flow.events()
        assert events[0].type == "session.started"
        assert [event.type for event in events if event.type not in ("session.started", "session.updated")] in (
            [],
            ["limit.breached"],
            ["limit.breached", "disconnect.requested"],
        )
        breached = next((event for event in events if event.type == "limit.breached"), None)
        packets = self.flow.packets()
        assert [packet.attributes["acct_session_id"] for packet in packets] == ([session] if breached and not stays else [])
        for packet in packets:
            self._goes(packet, name, session, mac)
        self.flow.commands(), self.flow.answers()
        return None if breached is None else f"{breached.scope}: {breached.text}"

    def ends(self, name: str, number: int) -> None:
        """A session's Stop."""
        self._says(STOP, name, f"s{number}", f"02-00-00-00-00-{number:02x}")
        assert self.flow.types() == ["session.ended"]
        self.flow.answers()

    def open(self) -> int:
        """How many sessions are open, in all partitions."""
        return sum(core.open_sessions for core in self.flow.cores)

    def over(self) -> None:
        """Nothing else came out."""
        self.flow.nothing_else()

    def _goes(self, packet: Packet, name: str, session: str, mac: str) -> None:
        self.flow.answer(packet)
        self._says(STOP, name, session, mac)
        assert self.flow.outcomes() == ["acknowledged", "confirmed"]
        assert set(self.flow.types()) == {"disconnect.acknowledged", "session.ended", "disconnect.confirmed"}
        assert len(self.flow.notices()) == 1

    def _says(self, status: int, name: str, session: str, mac: str) -> None:
        at_ms = T0_MS + round(self.flow.now_s * 1000)
        self.flow.pipe(self.access.packet(status, user=name, session=session, mac=mac, at_ms=at_ms), self.access.source)


def test_user_max_2_bobs_phone_and_laptop_stay_his_third_breaches_and_bob_and_bob_are_one() -> None:
    """6: User max 2."""
    ise = Ise(user(2))
    assert ise.logs_in("bob") is None
    assert ise.logs_in("BOB") is None
    assert ise.logs_in("Bob") == "user: user limit user-2: 2 open of 2 allowed"
    assert ise.open() == 2
    ise.over()


def test_group_max_2_pablo_and_peter_are_in_and_alice_breaches() -> None:
    """6: Group max 2."""
    ise = Ise(group(2))
    for name in ("Pablo", "Peter", "Alice"):
        ise.belongs(name.lower(), "G1")
    assert ise.logs_in("Pablo") is None
    assert ise.logs_in("Peter") is None
    assert ise.logs_in("Alice") == "group: group limit group-2 in G1: 2 open of 2 allowed"
    assert ise.open() == 2
    ise.ends("Pablo", 1)
    assert ise.logs_in("Alice") is None
    ise.over()


def test_alice_and_pablo_are_in_both_groups_so_veronica_and_peter_both_breach() -> None:
    """6: Alice and Pablo in G1 and G2 (both max 2): a user in several groups counts in each."""
    ise = Ise(group(2))
    ise.belongs("alice", "G1", "G2")
    ise.belongs("pablo", "G1", "G2")
    ise.belongs("veronica", "G1")
    ise.belongs("peter", "G2")
    assert ise.logs_in("Alice") is None
    assert ise.logs_in("Pablo") is None
    assert ise.logs_in("Veronica") == "group: group limit group-2 in G1: 2 open of 2 allowed"
    assert ise.logs_in("Peter") == "group: group limit group-2 in G2: 2 open of 2 allowed"
    assert ise.open() == 2
    ise.over()


def test_a_session_that_one_of_its_groups_refuses_takes_no_slot_in_the_other() -> None:
    """6, 4.3: a session that breached never enters a count."""
    ise = Ise(group(2))
    ise.belongs("alice", "G1")
    ise.belongs("pablo", "G1")
    ise.belongs("peter", "G1", "G2")
    ise.belongs("veronica", "G2")
    assert ise.logs_in("Alice") is None
    assert ise.logs_in("Pablo") is None
    assert ise.logs_in("Peter") == "group: group limit group-2 in G1: 2 open of 2 allowed"
    assert ise.logs_in("Veronica") is None
    assert ise.logs_in("Veronica") is None
    assert ise.logs_in("Veronica") == "group: group limit group-2 in G2: 2 open of 2 allowed"
    ise.over()


def test_user_max_1_and_group_max_2_peters_second_breaches_by_the_user_limit() -> None:
    """6."""
    ise = Ise(group(2), user(1))
    ise.belongs("peter", "G1")
    ise.belongs("pablo", "G1")
    assert ise.logs_in("Peter") is None
    assert ise.logs_in("Peter") == "user: user limit user-1: 1 open of 1 allowed"
    assert ise.logs_in("Pablo") is None
    ise.over()


def test_user_max_1_and_user_in_group_2_the_reason_is_the_user_limit() -> None:
    """6."""
    ise = Ise(user_in_group(2), user(1))
    ise.belongs("peter", "G1")
    assert ise.logs_in("Peter") is None
    assert ise.logs_in("Peter") == "user: user limit user-1: 1 open of 1 allowed"
    ise.over()


def test_group_max_3_and_user_in_group_2() -> None:
    """6: Alice's third breaches (user-in-group); Pablo's first passes; Pablo's second breaches (group)."""
    ise = Ise(group(3), user_in_group(2))
    ise.belongs("alice", "G1")
    ise.belongs("pablo", "G1")
    assert ise.logs_in("Alice") is None
    assert ise.logs_in("Alice") is None
    assert ise.logs_in("Alice") == "user-in-group: user-in-group limit user-in-group-2 in G1: 2 open of 2 allowed"
    assert ise.logs_in("Pablo") is None
    assert ise.logs_in("Pablo") == "group: group limit group-3 in G1: 3 open of 3 allowed"
    assert ise.open() == 3
    ise.over()


@pytest.mark.parametrize("limit", [user(1, counter_time_limit_s=300), group(1, counter_time_limit_s=300)])
def test_counter_time_limit_5_min_max_1(limit: Limit) -> None:
    """6, 4.3: 11:00:34 passes, 11:07 passes, one inside 5 min after the last success breaches, one after 5 min passes; all stay open.

    For all to stay open the rule only reports; what breached never enters the count, and Interims renew nothing.
    """
    ise = Ise(replace(limit, action="report"))
    ise.belongs("bob", "G1")
    where = " in G1" if limit.applies_to == "group" else ""
    reason = f"{limit.applies_to}: {limit.applies_to} limit {limit.name}{where}: 1 open of 1 allowed"

    def at(clock: str) -> None:
        hours, minutes, seconds = map(int, clock.split(":"))
        ise.flow.advance(hours * 3600 + minutes * 60 + seconds - CLOCK_0 - ise.flow.now_s)

    assert ise.logs_in("bob") is None
    at("11:07:00")
    assert ise.logs_in("bob") is None
    at("11:10:00")
    assert ise.logs_in("bob", stays=True) == reason
    at("11:12:01")
    assert ise.logs_in("bob") is None
    assert ise.open() == 4
    ise.over()


def test_guest_type_limit_1_the_guests_second_breaches() -> None:
    """6: by the guest-type limit (ISE calls it the user limit)."""
    ise = Ise(guest_type(1))
    ise.belongs("guest1", "guest:Daily")
    ise.belongs("guest2", "guest:Daily")
    assert ise.logs_in("guest1") is None
    assert ise.logs_in("guest1") == "guest-type: guest-type limit guest-1 in Daily: 1 open of 1 allowed"
    assert ise.logs_in("guest2") is None
    ise.over()


def test_user_max_1_with_guests_excepted_the_guests_two_sessions_stay() -> None:
    """6."""
    ise = Ise(user(1, exempt=("guest:*",)))
    ise.belongs("guest1", "guest:Daily")
    assert ise.logs_in("guest1") is None
    assert ise.logs_in("guest1") is None
    assert ise.logs_in("bob") is None
    assert ise.logs_in("bob") == "user: user limit user-1: 1 open of 1 allowed"
    ise.over()


def test_a_guest_in_a_group_is_asked_there_before_the_limit_of_its_guest_type() -> None:
    """4.1: the fixed order: groups, then guest types; and the live log says what was passed."""
    ise = Ise(guest_type(1), group(2))
    ise.belongs("guest1", "G1", "guest:Daily")
    ise.belongs("pablo", "G1")
    assert ise.logs_in("guest1") is None
    assert ise.logs_in("guest1") == "guest-type: guest-type limit guest-1 in Daily: 1 open of 1 allowed"
    assert ise.logs_in("Pablo") is None
    assert ise.logs_in("guest1") == "group: group limit group-2 in G1: 2 open of 2 allowed"
    ise.over()
