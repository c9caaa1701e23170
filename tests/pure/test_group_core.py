"""The group agent's core: the exact count of a group, as `group.slots` tells it."""

import itertools
import random

import msgspec
import pytest

from schemas.group import GroupRow, SlotRow, Standing
from schemas.topics import ACCOUNTING, SLOTS
from streams.group_core import CHECK_AFTER_MS, CHECKED_PER_VERDICT_MAX, EVICTED_PER_TICK_MAX
from streams.group_table import STALE_MAX, Tally
from streams.partition_core import RECORD_BYTES_MAX
from streams.table import ROWS_AT_ONCE
from tests.support.groups import T0_MS, Model, Slots, group_limit, holdings

PHONE, LAPTOP = "02:00:5e:10:00:01", "02:00:5e:10:00:02"


def test_so_many_are_let_in_and_the_next_one_is_refused_with_the_figures():
    """4.1, 4.2, 4.9: ISE's case of a group of two: Pablo and Peter in, Alice breaches."""
    slots = Slots(group_limit(2))
    pablo, peter, alice = slots.take("pablo", "a-1"), slots.take("peter", "a-2"), slots.take("alice", "a-3")
    assert (pablo.granted, pablo.passed) == (True, [Standing("total", 0, 2)])
    assert (peter.granted, peter.passed) == (True, [Standing("total", 1, 2)])
    assert (alice.granted, alice.limit, alice.current, alice.max, alice.policy_version) == (False, "total", 2, 2, 1)
    assert alice.text == "group limit total in staff: 2 open of 2 allowed"
    assert [(ref.topic, ref.offset) for ref in alice.because] == [
        (SLOTS.name, 4),
        (ACCOUNTING.name, 3),
        (SLOTS.name, 2),
        (SLOTS.name, 3),
    ]
    assert alice.expires_ms == alice.time_ms + 90_000
    assert slots.sessions() == ["a-1", "a-2"]
    assert slots.core.event_types == {"granted": 2, "refused": 1}
    slots.nothing_else()


def test_an_end_frees_the_slot_for_the_next_one():
    """4.2."""
    slots = Slots(group_limit(1))
    slots.take("pablo", "a-1")
    assert not slots.take("peter", "a-2").granted
    slots.send("free", "pablo", "a-1")
    assert slots.take("peter", "a-3").granted
    slots.send("free", "nobody", "a-9")
    slots.nothing_else()


def test_a_message_that_comes_again_after_a_crash_is_passed_over():
    """DESIGN: the highest of each source is kept, what is not higher is a repeat."""
    slots = Slots(group_limit(1))
    taken = slots.send("take", "pablo", "a-1")
    freed = slots.send("free", "pablo", "a-1")
    assert [verdict.granted for verdict in slots.verdicts()] == [True]
    for message in (taken, freed, taken):
        slots.repeat(message)
    assert slots.sessions() == []
    last = slots.send("take", "pablo", "a-2")
    assert [verdict.granted for verdict in slots.verdicts()] == [True]
    slots.repeat(last)
    slots.nothing_else()


def test_repeats_are_told_apart_by_source_and_within_a_record():
    """DESIGN."""
    slots = Slots(group_limit(9), partitions=4)
    for partition in range(4):
        for nth in (0, 1):
            slots.send("take", f"u{partition}", f"a-{partition}-{nth}", partition=partition, offset=7, nth=nth)
    assert len(slots.verdicts()) == 8
    slots.send("take", "u3", "a-9", partition=3, offset=6, nth=5)
    slots.nothing_else()


def test_the_same_device_is_not_a_second_one_and_its_slot_is_free_when_its_last_session_is():
    """4.5."""
    slots = Slots(group_limit(1))
    assert slots.take("bob", "a-1", device=PHONE).granted
    assert slots.take("bob", "a-2", device=PHONE).granted
    assert not slots.take("bob", "a-3", device=LAPTOP).granted
    assert not slots.take("eve", "a-4", device=PHONE).granted, "another person with the same address"
    slots.send("free", "bob", "a-1")
    assert not slots.take("bob", "a-5", device=LAPTOP).granted
    slots.send("free", "bob", "a-2")
    assert slots.take("bob", "a-6", device=LAPTOP).granted
    slots.nothing_else()


def test_sessions_are_counted_each_where_the_rule_says_so_and_without_a_mac():
    """4.5."""
    slots = Slots(group_limit(1, count="sessions"))
    assert slots.take("bob", "a-1", device=PHONE).granted
    assert not slots.take("bob", "a-2", device=PHONE).granted
    slots.publish(group_limit(1))
    assert not slots.take("bob", "a-3").granted
    slots.nothing_else()


def test_limits_are_asked_in_order_and_each_group_has_its_own():
    """4.1: Alice and Pablo in G1 and G2, both of two: Veronica in G1 and Peter in G2 breach."""
    slots = Slots(group_limit(2, "g1", group="G1"), group_limit(2, "g2", group="G2"), group_limit(9, "all"))
    for name in ("alice", "pablo"):
        for group in ("G1", "G2"):
            assert slots.take(name, "a", group).granted
    veronica, peter = slots.take("veronica", "v", "G1"), slots.take("peter", "p", "G2")
    assert (veronica.limit, peter.limit) == ("g1", "g2")
    free = slots.take("peter", "p", "G3")
    assert free.passed == [Standing("all", 0, 9)]
    assert slots.core.standings("G1") == [Standing("g1", 2, 2), Standing("all", 2, 9)]
    slots.nothing_else()


def test_whom_a_rule_leaves_alone_neither_counts_nor_breaches():
    """4.1: `except`."""
    slots = Slots(group_limit(1, exempt=("guest:*", "vip")))
    for number, group in enumerate(("guest:day", "vip", "guest:week")):
        assert slots.take(f"u{number}", "a", groups=["staff", group]).granted
    assert slots.take("bob", "a").granted
    assert not slots.take("eve", "a").granted
    assert slots.take("gus", "a", groups=["staff", "guest:day"]).granted
    slots.nothing_else()


def test_after_the_counter_time_limit_a_session_stays_and_no_longer_counts():
    """4.3: five minutes, one session; those refused never entered the count."""
    slots = Slots(group_limit(1, counter_time_limit_s=300))
    assert slots.take("a", "s-1").granted
    slots.tick(299)
    assert not slots.take("b", "s-2").granted
    slots.tick(1)
    assert slots.take("c", "s-3", age_ms=100_000).granted, "it began a while ago"
    slots.checkpoint()
    slots.tick(199)
    assert not slots.take("d", "s-4").granted
    slots.tick(1)
    assert slots.take("e", "s-5").granted
    assert slots.sessions() == ["s-1", "s-3", "s-5"], "they hold their rows"
    slots.nothing_else()


def test_a_held_slot_counts_whatever_the_limit_says():
    """4.4: a session that could not be disconnected holds its slot again."""
    slots = Slots(group_limit(1))
    slots.send("hold", "a", "s-1")
    slots.send("hold", "b", "s-2")
    assert slots.core.standings("staff") == [Standing("total", 2, 1)]
    slots.send("free", "a", "s-1")
    assert not slots.take("c", "s-3").granted
    slots.send("free", "b", "s-2")
    assert slots.take("c", "s-4").granted
    slots.nothing_else()


def test_a_rule_that_only_reports_refuses_nobody_and_who_breached_it_does_not_count():
    """4.3, 4.4, 4.10."""
    slots = Slots(group_limit(1, "told", action="report"), group_limit(1, "nobody", victim="none"), group_limit(3, "hard"))
    assert slots.take("a", "s-1").reported == []
    for number in (2, 3):
        answer = slots.take(f"u{number}", f"s-{number}")
        assert (answer.granted, answer.reported) == (True, [Standing("told", 1, 1), Standing("nobody", 1, 1)])
    refused = slots.take("d", "s-4")
    assert (refused.granted, refused.limit, len(refused.reported)) == (False, "hard", 2)
    assert slots.core.standings("staff") == [Standing("told", 1, 1), Standing("nobody", 1, 1), Standing("hard", 3, 3)]
    slots.nothing_else()


def test_sessions_of_the_same_user_that_go_first_leave_their_slots_to_the_newcomer():
    """4.4: in one stroke, so nobody comes in between."""
    slots = Slots(group_limit(2))
    slots.take("bob", "old", device=PHONE)
    slots.take("eve", "other")
    assert not slots.take("bob", "new", device=LAPTOP).granted
    assert slots.take("bob", "new", device=LAPTOP, frees=["s:ap1/old", "s:ap1/unknown"]).granted
    assert slots.sessions() == ["new", "other"]
    slots.nothing_else()


def test_the_oldest_of_the_group_goes_where_the_rule_says_so():
    """4.4: `victim_scope = "group"`; the verdict goes to the victim's own partition."""
    slots = Slots(group_limit(2, victim="oldest", victim_scope="group"), partitions=4)
    slots.take("bob", "b-1", device=PHONE, order_ms=50)
    slots.take("bob", "b-2", device=PHONE, order_ms=70)
    slots.take("eve", "e-1", order_ms=60)
    slots.send("take", "ann", "a-1", order_ms=10)
    first, second, answer = slots.verdicts()
    assert [(v.op, v.identity, v.session, v.limit) for v in (first, second)] == [
        ("evict", "bob", "s:ap1/b-1", "total"),
        ("evict", "bob", "s:ap1/b-2", "total"),
    ]
    assert first.text == "group limit total in staff: 2 open of 2 allowed"
    assert (answer.op, answer.granted) == ("answer", True)
    assert len({first.id, second.id, answer.id}) == 3
    assert slots.sessions() == ["a-1", "e-1"]
    slots.checkpoint()
    slots.send("take", "zoe", "z-1", order_ms=99)
    assert [v.session for v in slots.verdicts()] == ["s:ap1/a-1", "s:ap1/z-1"], "the one with the smallest order"
    slots.nothing_else()


def test_whose_disconnect_failed_is_not_chosen_again_and_who_was_evicted_evicts_nobody():
    """4.4: no storm of kicks, no ping-pong."""
    slots = Slots(group_limit(2, victim="oldest", victim_scope="group"))
    slots.take("bob", "b-1")
    slots.send("hold", "bob", "b-1", stays=True)
    slots.take("eve", "e-1")
    assert not slots.take("ann", "a-1", held=["total"]).granted
    slots.send("take", "ann", "a-2")
    assert [(v.op, v.session) for v in slots.verdicts()] == [("evict", "s:ap1/e-1"), ("answer", "s:ap1/a-2")]
    slots.send("hold", "ann", "a-2", stays=True)
    assert not slots.take("zoe", "z-1").granted
    slots.nothing_else()


def test_whose_disconnect_failed_is_not_chosen_though_nothing_else_of_it_is_new():
    """4.4: the question before a login told somebody that he would be let in, and the Start refused him."""
    limit, row = group_limit(1, victim="oldest", victim_scope="group"), SlotRow("g", "bob", "s:ap1/b-1", order_ms=1)
    tally = Tally(limit)
    tally.add(row.session, row)
    tally.remove(row.session)
    stays = msgspec.structs.replace(row, stays=True)
    tally.add(row.session, stays)
    assert tally.oldest((), {row.session: msgspec.msgpack.encode(stays)}) == ()


def test_the_order_by_age_remembers_no_more_than_twice_who_counts():
    """7.1: each Interim put its session anew, and each session that had left stayed in it."""
    tally = Tally(group_limit(9, victim="oldest", victim_scope="group"))
    for number in range(10_000):
        row = SlotRow("g", "bob", f"s:ap1/{number % 3}", order_ms=number)
        tally.remove(row.session)
        tally.add(row.session, row)
    assert len(tally._oldest) <= 2 * 3 + STALE_MAX


@pytest.mark.parametrize("victim", ["oldest", "all-others"])
def test_a_device_of_which_a_session_stays_is_not_chosen_for_the_others_of_it(victim: str):
    """4.4, 4.5: its slot would not be free; before, somebody was disconnected for nothing and the newcomer was one too many."""
    slots = Slots(group_limit(2, victim=victim, victim_scope="group"))
    slots.take("bob", "b-1", device=PHONE)
    slots.take("bob", "b-2", device=PHONE)
    slots.send("hold", "bob", "b-1", stays=True, device=PHONE)
    slots.take("eve", "e-1", device=LAPTOP)
    slots.send("take", "ann", "a-1", device=LAPTOP)
    assert [(v.op, v.session) for v in slots.verdicts()][-2:] == [("evict", "s:ap1/e-1"), ("answer", "s:ap1/a-1")]
    slots.send("hold", "ann", "a-1", stays=True, device=LAPTOP)
    assert not slots.take("zoe", "z-1", device=LAPTOP).granted
    slots.send("hold", "bob", "b-1", stays=False, device=PHONE)
    slots.send("take", "zoe", "z-2", device=LAPTOP)
    assert {v.session for v in slots.verdicts() if v.op == "evict"} == {"s:ap1/b-1", "s:ap1/b-2"}
    slots.nothing_else()


def test_all_others_go_where_the_rule_says_so():
    """4.4."""
    slots = Slots(group_limit(2, victim="all-others", victim_scope="group"))
    slots.take("a", "s-1")
    slots.take("b", "s-2")
    slots.send("take", "c", "s-3")
    assert [(v.op, v.session) for v in slots.verdicts()] == [
        ("evict", "s:ap1/s-1"),
        ("evict", "s:ap1/s-2"),
        ("answer", "s:ap1/s-3"),
    ]
    assert slots.sessions() == ["s-3"]
    slots.nothing_else()


def test_a_limit_of_nothing_refuses_everybody():
    """4.2."""
    slots = Slots(group_limit(0, victim="oldest", victim_scope="group"))
    assert not slots.take("a", "s-1").granted
    slots.nothing_else()


def test_a_take_that_is_old_news_evicts_nobody():
    """4.4: its verdict is overdue when it comes, and the session agent decides anew."""
    slots = Slots(group_limit(1, victim="oldest", victim_scope="group"))
    slots.take("bob", "b-1")
    slots.tick(100)
    late = slots.take("eve", "e-1", time_ms=slots.take("bob", "b-1").time_ms - 91_000)
    assert not late.granted
    assert late.expires_ms < late.time_ms + 91_000
    slots.nothing_else()


def test_a_session_that_has_its_slot_may_ask_again_and_a_refusal_takes_it_away():
    """4.2: a refused take holds nothing."""
    slots = Slots(group_limit(1))
    assert slots.take("bob", "b-1").granted
    assert slots.take("bob", "b-1").granted
    slots.send("hold", "eve", "e-1")
    assert slots.take("bob", "b-1").granted
    slots.publish(group_limit(1, "other"), group_limit(0, "zero"))
    slots.publish(group_limit(0, "zero", group="staff", count="sessions"))
    assert slots.take("bob", "b-1").granted, "it is in already: on_change is leave"
    slots.nothing_else()


def test_another_device_under_a_session_does_not_count_twice():
    """2.10, 4.5."""
    slots = Slots(group_limit(1))
    assert slots.take("bob", "b-1", device=PHONE).granted
    assert slots.take("bob", "b-1", device=LAPTOP).granted
    assert slots.core.standings("staff") == [Standing("total", 1, 1)]
    slots.send("hold", "eve", "e-1")
    assert not slots.take("bob", "b-1", device=PHONE).granted
    assert slots.sessions() == ["e-1"], "a refused take holds nothing"
    slots.nothing_else()


def test_a_refusal_names_the_records_of_those_who_counted_whatever_order_they_came_in():
    """4.9, DESIGN "The law": a restored table names the same."""
    slots = Slots(group_limit(3))
    for name in ("zoe", "ann", "eve", "zoe"):
        slots.send("hold", name, "s-1")
    slots.checkpoint()
    refused = slots.take("bob", "b-1")
    assert [ref.offset for ref in refused.because[2:]] == [3, 4, 5]
    slots.nothing_else()


def test_a_new_policy_counts_anew_and_leaves_those_who_are_in():
    """4.9: it takes effect at an offset; an older version changes nothing."""
    slots = Slots(group_limit(3))
    for number in range(3):
        slots.take(f"u{number}", f"s-{number}")
    older = slots.journal[1]
    slots.publish(group_limit(1))
    slots.write(*older[:1], older.value)
    refused = slots.take("eve", "e-1")
    assert (refused.granted, refused.current, refused.max, refused.policy_version) == (False, 3, 1, 2)
    assert slots.core.row.policies == [(1, 1), (2, 5)]
    slots.tick()
    slots.nothing_else()


def test_without_a_limit_everybody_is_in_and_a_later_one_counts_them():
    """4.1: no rule, no limit."""
    slots = Slots()
    for number in range(3):
        assert slots.take(f"u{number}", f"s-{number}").passed == []
    slots.publish(group_limit(3))
    assert not slots.take("eve", "e-1").granted
    slots.nothing_else()


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_limit_that_comes_is_counted_in_pieces_where_there_are_many_slots_and_all_of_them_count_for_the_next_record(taken: int):
    """4.9: the heartbeats of who has millions of slots go on meanwhile."""
    slots = Slots(group_limit(9999))
    for number in range(2 * ROWS_AT_ONCE + 1):
        assert slots.take(f"user-{number}", f"s-{number}", f"group-{number % 2}").granted
    slots.core.in_pieces = True
    slots.publish(group_limit(3, on_change="enforce"))
    pieces = slots.core.pending
    assert pieces is not None
    assert len(list(itertools.islice(pieces, taken))) == taken
    refused = slots.take("late", "s-late", "group-0")
    assert (refused.granted, refused.current, refused.max) == (False, ROWS_AT_ONCE + 1, 3)
    assert slots.core.pending is None
    assert [slots.core.table.groups[f"group-{number}"].enforcing for number in range(2)] == [("total",)] * 2
    slots.nothing_else()


@pytest.mark.parametrize(("victim", "left"), [("newest", ["s-0", "s-1"]), ("oldest", ["s-3", "s-4"])])
def test_a_stricter_rule_brings_the_group_down_with_the_next_tick_if_it_says_so(victim, left):
    """4.9: `on_change = "enforce"`; once, and not again for those who cannot be disconnected."""
    slots = Slots(group_limit(5))
    for number in range(5):
        slots.take(f"u{number}", f"s-{number}")
    slots.publish(group_limit(2, victim=victim, on_change="enforce"))
    slots.checkpoint()
    slots.tick()
    evicted = slots.verdicts()
    assert [verdict.op for verdict in evicted] == ["evict"] * 3
    assert slots.sessions() == left
    slots.send("hold", evicted[0].identity, evicted[0].session.split("/")[1], stays=True)
    slots.tick(3)
    assert len(slots.sessions()) == 3
    slots.nothing_else()


def test_many_are_brought_down_some_at_a_tick():
    """A bound on what one record leads to."""
    slots = Slots(group_limit(5000))
    for number in range(EVICTED_PER_TICK_MAX + 20):
        slots.send("hold", f"u{number}", f"s-{number}")
    slots.publish(group_limit(10, on_change="enforce"))
    slots.tick()
    assert len(slots.verdicts()) == EVICTED_PER_TICK_MAX
    slots.tick()
    assert len(slots.verdicts()) == 10
    slots.tick()
    assert slots.core.standings("staff") == [Standing("total", 10, 10)]
    assert slots.core.table.groups["staff"].enforcing == ()
    slots.nothing_else()


def test_a_slot_of_which_nothing_was_heard_for_long_is_asked_for_and_what_is_gone_is_drift():
    """C: a slot whose session is gone cannot live for ever."""
    slots = Slots(group_limit(900), partitions=2)
    for number in range(2 * CHECKED_PER_VERDICT_MAX + 50):
        slots.send("hold", "bob", f"s-{number:03}")
    slots.send("hold", "bob", "s-000")
    minutes = CHECK_AFTER_MS // 60_000
    slots.tick(minutes * 60 - 1)
    slots.nothing_else()
    slots.checkpoint()
    slots.tick()
    checks = slots.verdicts()
    assert [(check.op, len(check.sessions)) for check in checks] == [
        ("check", CHECKED_PER_VERDICT_MAX),
        ("check", CHECKED_PER_VERDICT_MAX),
        ("check", 50),
    ]
    assert checks[0].sessions[0] == ("bob", "s:ap1/s-000") == (checks[0].identity, checks[0].session)
    slots.send("gone", "bob", "s-000")
    slots.send("gone", "bob", "s-000")
    assert slots.core.standings("staff")[0].current == 2 * CHECKED_PER_VERDICT_MAX + 49
    assert slots.core.table.groups["staff"] == GroupRow("staff", drift=1, drift_ms=T0_MS + 1000 * slots.now_s)
    assert slots.core.event_types == {"checked": 3, "drift": 1}
    slots.tick(60)
    slots.nothing_else()


def test_what_cannot_be_taken_is_rejected_and_changes_nothing():
    """7.1: the bytes and the reason are kept."""
    slots = Slots(group_limit(1))
    for kind, value, reason in (
        ("slot", b"{", "not-json"),
        ("slot", b'{"op":"steal"}', "lacks-fields"),
        ("accounting", b"{}", "unknown-kind"),
        ("slot", b" " * (RECORD_BYTES_MAX + 1), "too-large"),
        ("tick", b"[]", "lacks-fields"),
        ("policy", b"{}", "lacks-fields"),
    ):
        slots.write(kind, value)
        assert slots.rejected().reason == reason
    before = holdings(slots.core)
    slots.send("take", "bob", "b-1", partition=7)
    assert slots.rejected().reason == "lacks-fields"
    assert holdings(slots.core) == before
    slots.nothing_else()


def test_nothing_new_is_no_checkpoint():
    """2.8."""
    slots = Slots(group_limit(1))
    slots.checkpoint()
    assert slots.core.checkpoint() == []
    slots.take("bob", "b-1")
    assert [key for key, _ in slots.core.checkpoint()] == [b's:["staff","bob","s:ap1/b-1"]', b"p:0/sources", b"p:0"]


@pytest.mark.parametrize("round_", range(12))
def test_any_history_is_decided_as_a_slow_and_obvious_model_decides_it(round_, seed):
    """4.1 to 4.5: random policies that change under way; restored from a checkpoint at any moment, the same octets follow."""
    chance = random.Random(f"{seed}/{round_}")
    slots, model = Slots(partitions=3), Model()
    users = [f"u{number}" for number in range(8)]
    open_: list[tuple[str, str, str]] = []
    for number in range(400):
        what = chance.random()
        if what < 0.03:
            model.limits = _any_limits(chance)
            slots.publish(*model.limits)
        elif what < 0.2:
            slots.tick(chance.randint(1, 20))
            model.clock_ms = slots.core.row.clock_ms
        elif what < 0.25:
            slots.checkpoint()
        elif what < 0.45 and open_:
            identity, session, group = open_.pop(chance.randrange(len(open_)))
            model.free(slots.send("free", identity, session, group))
        else:
            identity, group = chance.choice(users), chance.choice(["staff", "lab"])
            own = [session for name, session, where in open_ if (name, where) == (identity, group)]
            session = f"s-{number}"
            more = {
                "device": chance.choice([PHONE, LAPTOP, None]),
                "groups": [group, *chance.sample(["vip", "guest:day"], chance.randint(0, 1))],
                "order_ms": chance.randint(0, 20),
                "age_ms": chance.choice([0, 0, 5_000, 40_000]),
            }
            if what < 0.5:
                model.hold(slots.send("hold", identity, session, group, **more))
            else:
                more["frees"] = [f"s:ap1/{session}" for session in own[:1]] if what > 0.9 else []
                more["held"] = ["b"] if what > 0.97 else []
                if own and what > 0.85:
                    session = own[-1]  # it asks again, perhaps as another device
                    open_.remove((identity, session, group))
                message = slots.send("take", identity, session, group, **more)
                *evictions, answer = slots.verdicts()
                refused_by, evicted = model.take(message)
                assert (answer.limit, {v.session for v in evictions}) == (refused_by, {model_key(key) for key in evicted}), number
            open_.append((identity, session, group))
        assert slots.core.table.rows.keys() == model.held.keys()
        for group in ("staff", "lab"):
            expected = [(limit.name, len(model.counted(limit, group))) for limit in model.limits if limit.group in ("*", group)]
            assert [(s.limit, s.current) for s in slots.core.standings(group)] == expected
    slots.nothing_else()


def model_key(key: str) -> str:
    """The session's key of a slot's key."""
    return key.split('","')[2].removesuffix('"]')


def _any_limits(chance: random.Random) -> tuple:
    return tuple(
        group_limit(
            chance.randint(0, 6),
            name,
            group=chance.choice(["*", "staff", "lab"]),
            count=chance.choice(["devices", "sessions"]),
            victim=chance.choice(["newest", "oldest", "least-recently-active", "all-others", "none"]),
            victim_scope=chance.choice(["user", "group"]),
            action=chance.choice(["disconnect", "disconnect", "report"]),
            counter_time_limit_s=chance.choice([0, 0, 30]),
            exempt=chance.choice([(), ("vip",), ("guest:day", "vip")]),
        )
        for name in chance.sample("abc", chance.randint(0, 3))
    )
