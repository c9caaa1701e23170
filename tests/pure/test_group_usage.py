"""Quotas and rates of whole groups in the group agent: what is added up, what is said of it and to whom, and what is forgotten."""

from random import Random

import pytest

from schemas.codec import encode
from schemas.group import GROUP_ROW, GroupRow, GroupVerdict, group_key
from schemas.journal import QuotaOrder
from schemas.policy import Quota, Rate
from schemas.session import Window
from schemas.topics import ACCOUNTING, SLOTS
from streams.windows import Span, share_in, window_of
from tests.support.groups import T0_MS, Slots, group_limit
from tests.support.schemas import validate

GIB = 2**30
HOUR_S = 3_600


def hourly(**fields: object) -> Quota:
    return Quota(**{"name": "hourly", "applies_to": "group", "per": "hour", "octets": GIB, **fields})  # type: ignore[arg-type]


def flapping(**fields: object) -> Rate:
    return Rate(**{"name": "flapping", "applies_to": "group", "starts": 2, "within_s": 60, **fields})  # type: ignore[arg-type]


def row(slots: Slots, group: str = "staff") -> GroupRow:
    return slots.core.table.groups[group]


def window(slots: Slots, group: str = "staff") -> Window:
    (window,) = row(slots, group).windows
    return window


def to_the_hour_s() -> int:
    return (window_of("hour", "UTC", T0_MS).until_ms - T0_MS) // 1000 + 1


def test_what_the_members_use_adds_up_and_what_is_spent_every_partition_hears_once() -> None:
    """4.6."""
    slots = Slots(hourly(), partitions=4)
    slots.send("use", "alice", "a", octets=GIB // 2)
    slots.send("use", "pablo", "p", octets=GIB // 2 - 1)
    assert slots.verdicts() == []
    last = slots.send("use", "alice", "a", octets=1)
    (said,) = slots.verdicts()
    assert (said.op, said.group, said.limit, said.current, said.max) == ("spent", "staff", "hourly", GIB, GIB)
    assert said.text == "group quota hourly in staff: 1.0 GiB of 1.0 GiB used this hour"
    assert said.until_ms == window_of("hour", "UTC", T0_MS).until_ms
    assert (said.identity, said.session, said.policy_version) == ("alice", "s:ap1/a", 1)
    assert [(ref.topic, ref.partition, ref.offset) for ref in said.because] == [
        (SLOTS.name, 0, 4),
        (ACCOUNTING.name, last.partition, last.offset),
    ]
    slots.send("use", "pablo", "p", octets=GIB)
    assert slots.core.event_types == {"spent": 1}
    slots.nothing_else()


def test_a_message_that_comes_again_after_a_crash_adds_nothing() -> None:
    """DESIGN: what is not higher than the highest of its source is a repeat."""
    slots = Slots(hourly(), flapping(starts=1))
    used, began = slots.send("use", "alice", "a", octets=GIB - 1), slots.send("start", "alice", "a")
    for message in (used, began):
        slots.repeat(message)
    assert window(slots).used == GIB - 1
    assert [len(each.starts_ms) for each in row(slots).recent] == [1]
    slots.nothing_else()


def test_a_share_is_told_once_to_the_partition_of_whose_usage_it_was() -> None:
    """4.6: warnings at given shares."""
    slots = Slots(hourly(warn_at=(50, 80)), partitions=4)
    slots.send("use", "alice", "a", octets=GIB * 6 // 10)
    (warned,) = slots.verdicts()
    assert (warned.op, warned.identity, warned.limit) == ("warned", "alice", "hourly")
    assert warned.text == "group quota hourly in staff: 614.4 MiB of 1.0 GiB used this hour; 50 % are reached"
    slots.send("use", "pablo", "p", octets=GIB // 10)
    assert slots.verdicts() == []
    slots.send("use", "pablo", "p", octets=GIB * 2 // 10)
    assert [(said.op, said.identity) for said in slots.verdicts()] == [("warned", "pablo")]
    slots.nothing_else()


def test_each_group_is_counted_by_itself_and_only_by_the_quotas_that_mean_it() -> None:
    """4.6: `group` is a pattern."""
    slots = Slots(hourly(group="room-*"), Quota("users", "user", "hour", octets=1), group_limit(9))
    for room in ("room-1", "room-2"):
        slots.send("use", "alice", "a", room, octets=GIB - 1)
    slots.send("use", "alice", "a", "staff", octets=GIB)
    assert [window(slots, room).used for room in ("room-1", "room-2")] == [GIB - 1] * 2
    assert "staff" not in slots.core.table.groups
    slots.nothing_else()


def test_time_is_told_in_seconds() -> None:
    """4.6: octets or time."""
    slots = Slots(hourly(octets=None, time_s=600))
    for name in ("alice", "pablo"):
        slots.send("use", name, name, used_ms=300_000, over_ms=0)
    (said,) = slots.verdicts()
    assert (said.current, said.max, said.text) == (600, 600, "group quota hourly in staff: 10 min 0 s of 10 min 0 s used this hour")
    slots.nothing_else()


def test_a_new_window_begins_anew_and_a_usage_that_spans_the_boundary_is_divided() -> None:
    """4.6."""
    slots = Slots(hourly())
    slots.send("use", "alice", "a", octets=GIB)
    assert [said.op for said in slots.verdicts()] == ["spent"]
    slots.tick(to_the_hour_s())
    assert "staff" not in slots.core.table.groups, "nothing of it matters any longer"
    now_ms = T0_MS + slots.now_s * 1000
    slots.send("use", "alice", "a", octets=10_000_000, over_ms=10 * (now_ms - window_of("hour", "UTC", now_ms).from_ms))
    assert window(slots).used == 1_000_000
    slots.nothing_else()


def test_a_row_of_which_nothing_matters_is_a_tombstone_and_one_that_has_drift_stays() -> None:
    """Bounded: a group's row lives as long as its windows, its Starts, or what it is kept for beside them."""
    slots = Slots(hourly(), flapping(), group_limit(9))
    slots.send("use", "alice", "a", "brief", octets=1)
    slots.send("start", "alice", "a", "briefer")
    slots.take("bob", "b", "drifting")
    slots.send("gone", "bob", "b", "drifting")
    slots.send("use", "alice", "a", "drifting", octets=1)
    slots.checkpoint()
    slots.tick(61)
    assert set(slots.core.table.groups) == {"brief", "drifting"}
    slots.tick(to_the_hour_s())
    assert slots.core.table.groups == {"drifting": GroupRow("drifting", drift=1, drift_ms=T0_MS)}
    slots.checkpoint()
    names = (b"g:brief", b"g:briefer", group_key("drifting").encode())
    assert [slots.table[name] for name in names] == [None, None, GROUP_ROW.named(GroupRow("drifting", drift=1, drift_ms=T0_MS))]
    slots.nothing_else()


def test_a_newer_policy_that_allows_more_lets_the_group_use_more() -> None:
    """4.9."""
    slots = Slots(hourly())
    slots.send("use", "alice", "a", octets=GIB)
    assert [said.op for said in slots.verdicts()] == ["spent"]
    slots.publish(hourly(octets=2 * GIB))
    slots.send("use", "alice", "a", octets=1)
    assert slots.verdicts() == []
    slots.send("use", "alice", "a", octets=GIB)
    assert [(said.op, said.max) for said in slots.verdicts()] == [("spent", 2 * GIB)]
    slots.publish()
    slots.send("use", "alice", "a", octets=GIB)
    slots.send("start", "alice", "a")
    slots.nothing_else()


def order(slots: Slots, op: str, rule: str = "hourly", group: str = "staff", *, order_id: str = "q1", amount: int = 0) -> None:
    """An operator's word, as `curfew quota` writes it."""
    value = encode(QuotaOrder(id=order_id, op=op, identity="", rule=rule, group=group, amount=amount, time_ms=T0_MS))  # type: ignore[arg-type]
    validate(SLOTS, group, "quota", value)
    slots.write("quota", value, group.encode())


@pytest.mark.parametrize("op", ["topup", "reset"])
def test_an_operator_s_order_leaves_something_of_a_spent_quota_and_every_partition_hears_it_once(op: str) -> None:
    """4.6: top-ups and resets by an operator; the same order delivered twice is carried out once."""
    slots = Slots(hourly(warn_at=(50,)), partitions=4)
    slots.send("use", "alice", "a", octets=GIB)
    slots.verdicts()
    for _ in range(2):
        order(slots, op, amount=GIB)
    (freed,) = slots.verdicts()
    used, most = (GIB, 2 * GIB) if op == "topup" else (0, GIB)
    assert (freed.op, freed.group, freed.limit, freed.current, freed.max) == ("freed", "staff", "hourly", used, most)
    assert [(ref.topic, ref.partition, ref.offset) for ref in freed.because] == [(SLOTS.name, 0, 3)]
    assert (window(slots).used, window(slots).extra, window(slots).reached) == (used, most - GIB, False)
    slots.send("use", "alice", "a", octets=GIB)
    (spent,) = slots.verdicts()
    assert (spent.op, spent.current, spent.max, spent.extra) == ("spent", used + GIB, most, most - GIB)
    assert slots.core.event_types == {"spent": 2, "freed": 1}
    slots.nothing_else()


def test_an_order_for_a_group_that_has_something_left_is_told_to_nobody() -> None:
    """4.6: a quota of time in seconds, as the operator wrote them; also before anything was used."""
    slots = Slots(hourly(octets=None, time_s=600))
    order(slots, "topup", amount=60)
    assert (window(slots).used, window(slots).extra) == (0, 60_000)
    order(slots, "reset", order_id="q2")
    slots.nothing_else()


def test_an_order_too_small_leaves_the_quota_spent() -> None:
    """4.6: nothing is told, and a greater one frees it."""
    slots = Slots(hourly())
    slots.send("use", "alice", "a", octets=2 * GIB)
    slots.verdicts()
    order(slots, "topup", amount=GIB - 1)
    slots.nothing_else()
    order(slots, "topup", order_id="q2", amount=2)
    assert [said.op for said in slots.verdicts()] == ["freed"]
    slots.nothing_else()


@pytest.mark.parametrize(("rule", "group"), [("weekly", "staff"), ("hourly", "guests"), ("users", "staff")])
def test_an_order_about_no_quota_of_that_group_is_rejected(rule: str, group: str) -> None:
    """7.1: the bytes and the reason are kept."""
    slots = Slots(hourly(group="staff"), Quota("users", "user", "hour", octets=1))
    order(slots, "topup", rule, group, amount=1)
    assert slots.rejected().reason == "unknown-rule"
    assert slots.core.table.groups == {}
    slots.nothing_else()


def test_one_start_too_many_is_told_to_the_partition_of_the_newcomer() -> None:
    """4.7: a sliding window over this partition's clock; each Start counts."""
    slots = Slots(flapping(), partitions=4)
    slots.send("start", "alice", "a")
    slots.tick(30)
    slots.send("start", "pablo", "p")
    assert slots.verdicts() == []
    slots.send("start", "eve", "e")
    (said,) = slots.verdicts()
    assert (said.op, said.identity, said.session, said.limit, said.current, said.max) == ("exceeded", "eve", "s:ap1/e", "flapping", 2, 2)
    assert said.text == "group rate flapping in staff: 2 starts in 60 s of 2 allowed"
    slots.tick(60)
    slots.send("start", "eve", "e2")
    slots.nothing_else()


def slow_used(messages: list[tuple[int, int, int, str]], group: str, now_ms: int) -> int:
    """What a group has used in the window that is open, added up from all messages there ever were."""
    window = window_of("hour", "UTC", now_ms)
    return sum(share_in(octets, Span(at_ms - over_ms, at_ms), Span(*window)) for at_ms, octets, over_ms, name in messages if name == group)


@pytest.mark.parametrize("seed", range(5))
def test_random_usage_over_hours_is_what_a_slow_model_adds_up(seed: int) -> None:
    """4.6: the window's use at each moment, and one verdict each time that it passes the quota."""
    chance = Random(seed)
    slots = Slots(hourly(octets=50_000), partitions=3)
    messages: list[tuple[int, int, int, str]] = []
    spent: set[tuple[str, int]] = set()
    for _ in range(80):
        slots.tick(chance.randrange(1, 200))
        now_ms = T0_MS + slots.now_s * 1000
        group, octets, over_ms = chance.choice(("staff", "guests")), chance.randrange(10_000), chance.randrange(600_000)
        messages.append((now_ms, octets, over_ms, group))
        slots.send("use", chance.choice(("alice", "pablo")), "a", group, octets=octets, over_ms=over_ms)
        used = slow_used(messages, group, now_ms)
        assert window(slots, group).used == used
        said: list[GroupVerdict] = slots.verdicts()
        place = group, window_of("hour", "UTC", now_ms).from_ms
        assert [(one.op, one.group, one.current) for one in said] == (
            [("spent", group, used)] if used >= 50_000 and place not in spent else []
        )
        spent |= {place} if said else set()
    assert spent
    slots.nothing_else()
