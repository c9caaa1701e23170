"""Quotas and rates of whole groups over all partitions, from packet in to Disconnect-Request out."""

from collections import defaultdict

from schemas.journal import QuotaOrder
from schemas.policy import Quota, Rate
from schemas.topics import ACCOUNTING, SLOTS
from streams.group_core import GroupCore
from streams.live_view import LiveView
from streams.partitioner import partition_of
from streams.radius.disconnect import DISCONNECT_REQUEST
from streams.session_core import SessionCore
from streams.windows import window_of
from tests.flow.driver import T0_MS, FlowDriver, SimulatedAccess
from tests.support.journal import Rule

START, STOP, INTERIM = 1, 2, 3
OUTPUT_OCTETS, OUTPUT_GIGAWORDS = 43, 53
NAMES = ("alice", "pablo", "veronica", "peter")


class Campus:
    """Four people of a group, not all in one partition, each with a session."""

    def __init__(self, *rules: Rule) -> None:
        self.access = SimulatedAccess("campus")
        self.tables: dict[tuple[str, int], dict[bytes, bytes | None]] = defaultdict(dict)
        self.flow = FlowDriver(self.access.configuration())
        self.flow.advance(0)
        self.flow.publish(*rules, version=1)
        for name in NAMES:
            self.flow.member(name, "staff")
        assert len({partition_of(name, self.flow.partitions) for name in NAMES}) > 1

    def says(self, status: int, name: str, octets: int = 0, session: str = "1") -> None:
        """An Accounting-Request about somebody's session."""
        at_ms = T0_MS + round(self.flow.now_s * 1000)
        more = [(OUTPUT_OCTETS, (octets % 2**32).to_bytes(4))] if octets else []
        more += [(OUTPUT_GIGAWORDS, (octets >> 32).to_bytes(4))] if octets >= 2**32 else []
        packet = self.access.packet(status, user=name, session=f"{name}-{session}", at_ms=at_ms, more=more)
        self.flow.pipe(packet, self.access.source)
        self.flow.answers()

    def gone(self) -> list[str]:
        """Whose sessions got a Disconnect-Request since this was last asked, for a quota or rate; the NAS carries it out."""
        assert {command.reason for command in self.flow.commands()} <= {"quota", "rate"}
        packets = self.flow.packets()
        assert all(packet.datagram.octets[0] == DISCONNECT_REQUEST for packet in packets)
        names = [str(packet.attributes["acct_session_id"]) for packet in packets]
        for packet in packets:
            self.flow.answer(packet)
            name, session = str(packet.attributes["acct_session_id"]).split("-")
            self.says(STOP, name, session=session)
        self.flow.results(), self.flow.notices()
        return sorted(names)

    def restart(self) -> None:
        """All agents' processes are new: sessions and groups go on from their rows."""
        flow = self.flow
        for number in range(flow.partitions):
            session = SessionCore(number, flow.partitions, ACCOUNTING.name)
            group = GroupCore(number, flow.partitions, SLOTS.name)
            for old, new in ((flow.cores[number], session), (flow.group_cores[number], group)):
                table = self.tables[old.journal_topic, number]
                table.update(old.checkpoint())
                for key, value in table.items():
                    new.restore(key, value)
                new.restored()
            flow.cores[number], flow.group_cores[number] = session, group


def test_a_group_s_quota_takes_its_members_in_all_partitions_and_lets_them_back_when_its_window_closes() -> None:
    """4.6: exact over the partitions; remembered by restored ones."""
    campus = Campus(Quota("hourly", "group", "hour", octets=1000, warn_at=(50,)))
    for name in NAMES:
        campus.says(START, name)
    campus.flow.events()
    for name in NAMES[:3]:
        campus.says(INTERIM, name, 333)
    assert [event.type for event in campus.flow.events() if event.type != "session.updated"] == ["quota.warning"]
    campus.restart()
    campus.says(INTERIM, "peter", 1)
    reached = [event for event in campus.flow.events() if event.type == "quota.reached"]
    assert {(event.rule, event.scope, event.group, event.current, event.max) for event in reached} == {
        ("hourly", "group", "staff", 1000, 1000)
    }
    assert campus.gone() == sorted(f"{name}-1" for name in NAMES)
    campus.restart()
    campus.says(START, "veronica", session="2")
    assert campus.gone() == ["veronica-2"]
    campus.flow.advance((window_of("hour", "UTC", T0_MS).until_ms - T0_MS) // 1000 + 1)
    campus.says(START, "veronica", session="3")
    assert campus.gone() == []
    campus.flow.events()
    campus.flow.nothing_else()


def test_an_operator_who_gives_more_lets_a_group_back_in_all_partitions() -> None:
    """4.6: until that is spent too; also in restored partitions."""
    campus = Campus(Quota("hourly", "group", "hour", octets=1000))
    for name in NAMES:
        campus.says(START, name)
    campus.says(INTERIM, "alice", 1000)
    assert campus.gone() == sorted(f"{name}-1" for name in NAMES)
    campus.flow.order_of_group(QuotaOrder(id="q1", op="topup", identity="", rule="hourly", group="staff", amount=500, time_ms=T0_MS))
    campus.restart()
    campus.flow.events()
    for name in NAMES:
        campus.says(START, name, session="2")
    assert campus.gone() == []
    campus.says(INTERIM, "peter", 499, session="2")
    assert campus.gone() == []
    campus.says(INTERIM, "peter", 500, session="2")
    reached = [event for event in campus.flow.events() if event.type == "quota.reached"]
    assert {(event.current, event.max, event.text) for event in reached} == {
        (1500, 1500, "group quota hourly in staff: 1.5 KiB of 1.5 KiB used this hour")
    }
    assert campus.gone() == sorted(f"{name}-2" for name in NAMES)
    campus.flow.order_of_group(QuotaOrder(id="q2", op="reset", identity="", rule="hourly", group="staff", time_ms=T0_MS))
    campus.says(START, "alice", session="3")
    assert campus.gone() == []
    campus.flow.events()
    campus.flow.nothing_else()


def test_one_start_too_many_for_a_group_s_rate_is_the_one_that_goes() -> None:
    """4.7: Starts of all members, whichever partition they are in."""
    campus = Campus(Rate("flapping", "group", starts=3, within_s=60, action="disconnect"))
    for name in NAMES:
        campus.says(START, name)
    exceeded = [event for event in campus.flow.events() if event.type == "rate.exceeded"]
    assert [(event.identity, event.rule, event.scope, event.group, event.current, event.max) for event in exceeded] == [
        ("peter", "flapping", "group", "staff", 3, 3)
    ]
    assert campus.gone() == ["peter-1"]
    campus.flow.advance(61)
    campus.says(START, "peter", session="2")
    assert campus.gone() == []
    campus.flow.events()
    campus.flow.nothing_else()


def test_a_nas_that_tells_64_bits_of_octets_again_and_again_makes_no_row_that_cannot_be_kept() -> None:
    """1.6, 4.6: its user and its group have used all there is, and no more than a row holds; who reads the rows goes on."""
    quotas = Quota("mine", "user", per="day", octets=2**62), Quota("ours", "group", per="day", octets=2**62)
    campus = Campus(*quotas)
    for session in ("1", "2", "3"):
        campus.says(START, "alice", session=session)
        campus.says(INTERIM, "alice", 2**64 - 1, session=session)
        campus.flow.advance(2)
    flow = campus.flow
    views = LiveView(flow.partitions)
    for number in range(flow.partitions):
        for key, value in flow.cores[number].checkpoint():
            views.partitions[number].take_row(key, value)
    assert [view.unreadable for view in views.partitions] == [0] * flow.partitions
    [mine] = views.partitions[partition_of("alice", flow.partitions)].identity("alice").windows
    [staff] = [row for core in flow.group_cores for row in core.table.groups.values()]
    assert (mine.used, [window.used for window in staff.windows]) == (2**63 - 1, [2**63 - 1])
    assert campus.gone()
