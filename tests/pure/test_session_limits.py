"""Limits per user in the journal: who breaches, who goes, who holds a slot (behaviours 4.1, 4.2, 4.4, 4.5, 4.9, section 6 for users)."""

import random
from collections import Counter

import pytest

from schemas.disconnect import Outcome
from schemas.event import RecordRef
from schemas.policy import Limit
from streams import limiting
from streams.limiting import BECAUSE_MAX, HOLDS_MAX
from tests.support.journal import Journal, groups, interim, mac_of, play, policy, result, start, stop, tick, user_limit

PHONE, LAPTOP, TABLET = ("AA-00-00-00-00-01", "AA-00-00-00-00-02", "AA-00-00-00-00-03")


def over(limit: Limit) -> Journal:
    """Bob with as many sessions as he may have (s0, s1, ...), and everything about them taken."""
    journal = play(tick(0), policy(limit))
    for n in range(limit.max_sessions):
        journal.feed(start(f"s{n}", at_s=n))
    assert journal.types() == ["session.started"] * limit.max_sessions
    journal.nothing_else()
    return journal


def gone(journal: Journal) -> list[object]:
    return [command.session["acct_session_id"] for command in journal.commands()]


def test_without_a_rule_there_is_no_limit() -> None:
    """4.1."""
    journal = play(*[start(f"s{n}", at_s=n) for n in range(20)])
    assert journal.types() == ["session.started"] * 20
    journal.nothing_else()


def test_bobs_phone_and_laptop_stay_and_his_third_breaches() -> None:
    """6, 4.2: N are allowed, the N+1st breaches; the decision names rule, figures, policy version and what it rests on (4.9)."""
    journal = over(user_limit(2, "two-devices"))
    journal.feed(start("s2", at_s=3, user_name="BOB", framed_ip_address="10.0.0.7"))
    started, breached, requested = journal.events()
    assert (started.type, breached.type, requested.type) == ("session.started", "limit.breached", "disconnect.requested")
    assert (breached.rule, breached.scope, breached.current, breached.max, breached.policy_version) == ("two-devices", "user", 2, 2, 1)
    assert breached.text == "user limit two-devices: 2 open of 2 allowed"
    assert breached.because == [RecordRef("radius.accounting", 0, offset) for offset in (4, 2, 3)]
    command = journal.command()
    assert (command.id, command.attempt, command.reason, command.rule) == (requested.command_id, 1, "limit", "two-devices")
    assert (command.nas, command.identity, command.policy_version) == ("ap1", "bob", 1)
    assert command.session == {
        "user_name": "BOB",
        "acct_session_id": "s2",
        "calling_station_id": mac_of("s2"),
        "framed_ip_address": "10.0.0.7",
    }
    assert command.expires_ms == command.time_ms + 90_000
    assert command.because == breached.because
    journal.nothing_else()


def test_a_start_that_passed_says_which_rules_it_passed_with_which_counts() -> None:
    """4.9: the live log."""
    journal = play(policy(user_limit(2, "two"), user_limit(5, "five", count="sessions")), start("s1"), start("s2"))
    assert [event.passed for event in journal.events()] == [
        ["two: 0 open of 2 allowed", "five: 0 open of 5 allowed"],
        ["two: 1 open of 2 allowed", "five: 1 open of 5 allowed"],
    ]
    journal.nothing_else()


def test_the_first_limit_that_fails_is_the_named_reason() -> None:
    """4.1: asked in the policy's order."""
    journal = play(policy(user_limit(3, "three"), user_limit(1, "one"), user_limit(0, "none")), start("s1"))
    assert journal.events()[1].rule == "none"
    journal = play(policy(user_limit(2, "two"), user_limit(1, "one")), start("s1"), start("s2"))
    assert journal.events()[2].rule == "one"


def test_user_limits_hold_across_nases() -> None:
    """4.1."""
    journal = over(user_limit(1))
    journal.feed(start("s9", nas="ap2", at_s=5))
    assert journal.types() == ["session.started", "limit.breached", "disconnect.requested"]
    assert journal.command().nas == "ap2"
    journal.nothing_else()


def test_one_users_sessions_are_nothing_to_another() -> None:
    """4.1."""
    journal = over(user_limit(1))
    journal.feed(start("e1", "eve"))
    assert journal.types() == ["session.started"]
    journal.nothing_else()


# -- 4.4: who goes ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("victim", "expected"),
    [("newest", ["s3"]), ("oldest", ["s0"]), ("least-recently-active", ["s1"]), ("all-others", ["s0", "s1", "s2"]), ("none", [])],
)
def test_the_victim_is_the_one_that_the_rule_names(victim: str, expected: list[str]) -> None:
    """4.4: s1 was not heard since its Start, the others were."""
    journal = over(user_limit(3, victim=victim))
    journal.feed(interim("s0", at_s=60), interim("s2", at_s=61, session_time_s=59))
    assert journal.types() == ["session.updated"] * 2
    journal.feed(start("s3", at_s=70))
    assert journal.types() == ["session.started", "limit.breached", *["disconnect.requested"] * len(expected)]
    assert gone(journal) == expected
    journal.nothing_else()


def test_a_rule_that_reports_disconnects_nobody() -> None:
    """4.10."""
    journal = over(user_limit(1, action="report"))
    journal.feed(start("s1", at_s=5))
    assert journal.types() == ["session.started", "limit.breached"]
    journal.nothing_else()


def test_newest_and_oldest_go_by_the_journal_not_by_nas_clocks() -> None:
    """DESIGN "Time": an Interim's session is placed by its arrival less Acct-Session-Time."""
    journal = play(policy(user_limit(1, victim="oldest")), start("s1", at_s=0), interim("old", at_s=30, session_time_s=1000))
    assert journal.types() == ["session.started", "session.started"]
    journal.feed(interim("old", at_s=60, session_time_s=1030))
    assert journal.types() == ["session.updated", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["old"]
    journal.nothing_else()


# -- 4.5: what counts ---------------------------------------------------------------------------------------------------------------------


def test_the_same_device_again_is_not_a_second_session() -> None:
    """4.5, 2.3: one MAC in whatever notation, also at another NAS."""
    journal = play(policy(user_limit(1)), start("s1", mac="AA-BB-CC-DD-EE-01"), start("s2", mac="aabb.ccdd.ee01", nas="ap2"))
    assert journal.types() == ["session.started"] * 2
    journal.nothing_else()


def test_where_sessions_count_the_same_device_again_is_a_second_one() -> None:
    """4.5."""
    journal = play(policy(user_limit(1, count="sessions")), start("s1", mac=PHONE), start("s2", mac=PHONE))
    assert journal.types() == ["session.started", "session.started", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["s2"]
    journal.nothing_else()


def test_without_a_mac_each_session_counts() -> None:
    """4.5."""
    journal = play(policy(user_limit(1)), start("s1", mac=None), start("s2", mac=None))
    assert journal.types() == ["session.started", "session.started", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["s2"]
    journal.nothing_else()


def test_a_device_goes_with_all_its_sessions() -> None:
    """4.4, 4.5: else the newcomer would find no slot."""
    journal = play(policy(user_limit(1, victim="oldest")), start("s1", mac=PHONE), start("s2", mac=PHONE), start("s3", mac=LAPTOP))
    assert journal.types() == ["session.started"] * 3 + ["limit.breached"] + ["disconnect.requested"] * 2
    assert gone(journal) == ["s1", "s2"]
    journal.nothing_else()


# -- slots of sessions being disconnected -------------------------------------------------------------------------------------------------


def test_a_session_being_disconnected_holds_no_slot() -> None:
    """DESIGN "The kicker"; 4.3: it never enters the count."""
    journal = over(user_limit(2, hold_s=0))
    journal.feed(start("s2", at_s=5), stop("s0", at_s=6), start("s3", at_s=7))
    assert journal.types() == ["session.started", "limit.breached", "disconnect.requested", "session.ended", "session.started"]
    assert gone(journal) == ["s2"]
    journal.nothing_else()


@pytest.mark.parametrize("outcome", ["refused", "unanswered", "unconfirmed", "unknown-nas", "no-secret", "unsupported"])
def test_a_session_whose_disconnect_failed_holds_its_slot_again(outcome: Outcome) -> None:
    """It runs on, so it counts."""
    journal = over(user_limit(1))
    journal.feed(start("s1", at_s=5))
    command = journal.command()
    journal.feed(result(command, outcome), stop("s0", at_s=9))
    journal.events()
    journal.feed(start("s2", at_s=10))
    assert journal.types() == ["session.started", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["s2"]
    journal.nothing_else()


def test_a_session_that_ended_frees_its_slot() -> None:
    """4.2."""
    journal = over(user_limit(1))
    journal.feed(stop("s0", at_s=5), start("s1", at_s=6))
    assert journal.types() == ["session.ended", "session.started"]
    journal.nothing_else()


# -- 4.4: hold ----------------------------------------------------------------------------------------------------------------------------


def evicted() -> Journal:
    """The phone was there, the laptop came, the phone was evicted for it and is gone."""
    journal = play(tick(0), policy(user_limit(1, victim="oldest", hold_s=60)), start("p1", mac=PHONE), start("l1", mac=LAPTOP, at_s=1))
    journal.feed(stop("p1", at_s=2))
    assert journal.types() == ["session.started", "session.started", "limit.breached", "disconnect.requested", "session.ended"]
    assert gone(journal) == ["p1"]
    assert [notice.alive for notice in journal.notices()] == [False]
    journal.nothing_else()
    return journal


def test_an_evicted_device_cannot_evict_in_turn() -> None:
    """4.4: no ping-pong between two phones: its Start is itself the victim."""
    journal = evicted()
    journal.feed(start("p2", mac=PHONE, at_s=3))
    breached = journal.events()[1]
    assert breached.text == "user limit max-1: 1 open of 1 allowed; this device was evicted by it a moment ago"
    assert gone(journal) == ["p2"]
    journal.nothing_else()


def test_after_the_hold_it_may_evict_again() -> None:
    """4.4: `hold_s` on the partition's clock; being refused meanwhile begins it anew."""
    journal = evicted().pass_time(61)
    journal.feed(start("p2", mac=PHONE, at_s=62))
    assert journal.types() == ["session.started", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["l1"]
    journal.nothing_else()


def test_the_hold_does_not_keep_a_device_out_where_there_is_room() -> None:
    """4.4: it cannot evict; it may come in."""
    journal = evicted()
    journal.feed(stop("l1", at_s=3), start("p2", mac=PHONE, at_s=4))
    assert journal.types() == ["session.ended", "session.started"]
    journal.nothing_else()


def test_a_third_device_is_not_held() -> None:
    """4.4."""
    journal = evicted()
    journal.feed(start("t1", mac=TABLET, at_s=3))
    assert journal.types() == ["session.started", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["l1"]
    journal.nothing_else()


def test_holds_are_bounded_and_one_for_a_device() -> None:
    """Limits on everything that grows: the last ones only."""
    journal = evicted()
    journal.feed(start("p2", mac=PHONE, at_s=3), start("p3", mac=PHONE, at_s=4))
    row = journal.identity_row()
    assert row is not None
    assert [hold.device for hold in row.holds] == [PHONE.replace("-", ":").lower()]
    journal.feed(*[start(f"n{n}", at_s=5 + n) for n in range(HOLDS_MAX + 9)])
    row = journal.identity_row()
    assert row is not None
    assert len(row.holds) == HOLDS_MAX


def test_a_hold_outlives_the_last_session_of_its_identity() -> None:
    """4.4: where `hold_s` is longer than the grace."""
    journal = play(tick(0), policy(user_limit(0, hold_s=600), grace_s=60), start("p1", mac=PHONE), stop("p1", at_s=1)).pass_time(100)
    assert journal.row("p1") is None
    assert journal.identity_row() is not None


def test_what_a_decision_rests_on_is_named_up_to_a_bound() -> None:
    """4.9: a shared account may have thousands of sessions."""
    journal = over(user_limit(30))
    journal.feed(start("s30", at_s=40))
    assert len(journal.command().because) == 1 + BECAUSE_MAX


# -- old news and sessions first heard of by an Interim -----------------------------------------------------------------------------------


def test_a_nas_that_empties_its_backlog_kicks_nobody() -> None:
    """DESIGN "Old news": five Starts of an hour ago."""
    journal = play(policy(user_limit(1)), *[start(f"s{n}", at_s=n, late_s=3600) for n in range(5)])
    assert journal.types() == ["session.started"] * 5
    assert not any(journal.open_row(f"s{n}").counts for n in range(5))
    journal.nothing_else()


@pytest.mark.parametrize(("late_s", "counts"), [(60, True), (61, False)])
def test_late_is_later_than_late_after_s(late_s: int, counts: bool) -> None:
    """DESIGN "Old news"."""
    journal = play(start(late_s=late_s))
    assert journal.open_row().counts is counts


def test_old_news_holds_no_slot_until_a_fresh_record() -> None:
    """DESIGN "Old news": then it counts, and the one after that may breach."""
    journal = play(policy(user_limit(1)), start("s1", late_s=3600), start("s2", at_s=3600))
    assert journal.types() == ["session.started"] * 2
    journal.feed(interim("s1", at_s=3610))
    assert journal.types() == ["session.updated"]
    journal.feed(interim("s1", at_s=3620))
    assert journal.types() == ["session.updated", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["s2"]
    journal.nothing_else()


def test_a_session_first_heard_of_by_an_interim_breaches_from_its_second_fresh_one() -> None:
    """DESIGN "Time": it counts at once; a repeat of the first is no second one."""
    journal = over(user_limit(1))
    journal.feed(interim("s1", at_s=600, session_time_s=500), interim("s1", at_s=600, session_time_s=500, late_s=2))
    journal.feed(interim("s1", at_s=700, session_time_s=600, late_s=100))
    assert journal.types() == ["session.started", "session.updated"]
    journal.nothing_else()
    journal.feed(interim("s1", at_s=1200, session_time_s=1100))
    assert journal.types() == ["session.updated", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["s1"]
    journal.nothing_else()


def test_a_session_first_heard_of_by_an_interim_counts_for_the_next_start() -> None:
    """DESIGN "Time"."""
    journal = play(policy(user_limit(1)), interim("s1", at_s=600), start("s2", at_s=601))
    assert journal.types() == ["session.started", "session.started", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["s2"]
    journal.nothing_else()


def test_a_retransmitted_start_breaches_once() -> None:
    """1.4, 4.2."""
    journal = over(user_limit(1))
    journal.feed(start("s1", at_s=5), start("s1", at_s=5, late_s=3))
    assert journal.types() == ["session.started", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["s1"]
    journal.nothing_else()


def test_limits_of_groups_are_kept_and_not_decided_yet() -> None:
    """4.1: this version decides the limits of a user."""
    journal = play(policy(Limit(name="g", applies_to="group", max_sessions=0)), start())
    assert [event.passed for event in journal.events()] == [[]]
    journal.nothing_else()


# -- 4.3: the counter's time limit --------------------------------------------------------------------------------------------------------


def test_after_the_counter_time_limit_a_session_counts_no_longer_and_stays_open() -> None:
    """4.3: from the Start, and no Interim renews it."""
    journal = over(user_limit(1, counter_time_limit_s=100))
    journal.feed(tick(5), interim("s0", at_s=60))
    journal.feed(*(tick(n) for n in range(6, 100)), start("s1", at_s=99))
    assert journal.types() == ["session.updated", "session.started", "limit.breached", "disconnect.requested"]
    assert gone(journal) == ["s1"]
    journal.feed(tick(100), start("s2", at_s=100))
    assert journal.types() == ["session.started"]
    assert journal.open_row("s0").kick_state is None
    journal.nothing_else()


def test_a_session_first_heard_of_by_an_interim_began_by_its_session_time() -> None:
    """4.3."""
    journal = play(*(tick(n) for n in range(200)), policy(user_limit(1, counter_time_limit_s=100)))
    journal.feed(interim("s0", at_s=199, session_time_s=150), interim("s0", at_s=199.5, session_time_s=151), start("s1", at_s=199))
    assert journal.types() == ["session.started", "session.updated", "session.started"]
    journal.nothing_else()


def test_what_breached_and_was_let_be_never_enters_the_count_of_that_rule() -> None:
    """4.3: nor hides it from the others."""
    journal = play(policy(user_limit(1, "dry", action="report"), user_limit(3, "three")), *(start(f"s{n}", at_s=n) for n in range(4)))
    events = journal.events()
    assert [event.current for event in events if event.rule == "dry"] == [1, 1, 1]
    assert [event.current for event in events if event.rule == "three"] == [3, None]
    assert gone(journal) == ["s3"]
    journal.nothing_else()


# -- 4.4: another one goes ----------------------------------------------------------------------------------------------------------------


def test_who_is_let_in_for_another_is_asked_the_limits_behind_that_one_too() -> None:
    """4.1, 4.4."""
    journal = play(policy(user_limit(1, "one", victim="oldest"), user_limit(0, "none")), groups("bob", "boss"))
    journal.feed(policy(user_limit(1, "one", victim="oldest"), user_limit(1, "sessions", count="sessions"), version=2))
    journal.feed(start("s0"), start("s1", at_s=1))
    assert [event.rule for event in journal.events()] == [None, None, "one", "one"]
    assert gone(journal) == ["s0"]
    journal.feed(start("s2", at_s=2, mac=mac_of("s1")))
    assert [event.rule for event in journal.events()] == [None, "sessions", "sessions"]
    assert gone(journal) == ["s2"]
    journal.nothing_else()


def test_one_that_cannot_be_disconnected_is_not_chosen_again() -> None:
    """4.4: no storm of kicks for one that no NAS removes."""
    journal = over(user_limit(1, victim="oldest"))
    journal.feed(start("s1", at_s=1))
    command = journal.command()
    journal.feed(result(command, "refused"), start("s2", at_s=2))
    assert gone(journal) == ["s1"]
    journal.feed(start("s3", at_s=3))
    assert gone(journal) == ["s2"]
    journal.events()
    journal.nothing_else()


# -- 4.9: a rule that comes or becomes stricter --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("victim", "expected"),
    [
        ("newest", ["s2", "s3"]),
        ("oldest", ["s0", "s1"]),
        ("least-recently-active", ["s1", "s2"]),
        ("all-others", ["s0", "s1"]),
        ("none", []),
    ],
)
def test_a_rule_that_comes_is_enforced_on_those_over_it_where_it_says_so(victim: str, expected: list[str]) -> None:
    """4.9: as many as are over it, chosen as its victims are; and those below it are left."""
    journal = play(*(start(f"s{n}", at_s=n) for n in range(4)), start("e1", "eve"), interim("s0", at_s=60))
    journal.events()
    journal.feed(policy(user_limit(2, "two", victim=victim, on_change="enforce"), version=7))
    events = journal.events()
    assert [event.type for event in events] == ["limit.breached"] * len(expected) + ["disconnect.requested"] * len(expected)
    if expected:
        assert events[0].text == "user limit two: 4 open of 2 allowed; the rule came with policy version 7"
        assert events[0].because[0].offset == 6
    assert gone(journal) == expected
    journal.nothing_else()


def test_a_rule_leaves_those_over_it_unless_it_says_otherwise_and_an_unchanged_one_does_nothing() -> None:
    """4.9."""
    journal = play(*(start(f"s{n}", at_s=n) for n in range(3)), policy(user_limit(1, "one")))
    assert journal.types() == ["session.started"] * 3
    rule = user_limit(2, "two", on_change="enforce")
    journal.feed(policy(rule, version=2))
    assert gone(journal) == ["s2"]
    journal.feed(start("s3", at_s=9), policy(rule, user_limit(9, "nine", on_change="enforce"), version=3))
    assert gone(journal) == ["s3"]
    journal.events()
    journal.nothing_else()


def test_enforcing_is_the_same_whatever_order_the_sessions_came_in_after_a_restore() -> None:
    """DESIGN "The law": a restored partition decides as one that was there all the time."""
    records = [start("b1", "bob"), start("a1", "al"), start("a2", "al"), start("b2", "bob")]
    rule = policy(user_limit(1, on_change="enforce"))
    there, restored = play(*records), play(*records).restart()
    commands = [journal.feed(rule).commands() for journal in (there, restored)]
    assert [command.identity for command in commands[0]] == ["al", "bob"]
    assert commands[0] == commands[1]


@pytest.mark.python_core
def test_a_rule_is_put_once_to_an_account_of_many_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """4.9: put to each of five thousand it held the worker up for longer than its group waits, and whoever came after it likewise."""
    enforced: list[str] = []
    enforce = limiting._enforce
    monkeypatch.setattr(
        limiting, "_enforce", lambda step, asked, *others: (enforced.append(asked.limit.name), enforce(step, asked, *others))[1]
    )
    journal = play(*(start(f"s{n}", at_s=n) for n in range(60)))
    journal.events()
    journal.feed(policy(*(user_limit(most, f"max-{most}", on_change="enforce") for most in (50, 20))))
    assert enforced == ["max-50", "max-20"]
    assert gone(journal) == [f"s{n}" for n in (*range(50, 60), *range(20, 50))]
    assert set(journal.types()) == {"limit.breached", "disconnect.requested"}
    journal.nothing_else()


@pytest.mark.python_core
@pytest.mark.parametrize("count", ["sessions", "devices"])
def test_a_rule_is_put_to_nobody_who_has_too_few_sessions_to_be_over_it_and_the_same_comes_of_it(
    monkeypatch: pytest.MonkeyPatch, count: str
) -> None:
    """4.9: with millions of sessions a new version is applied in the time that those take who may be over it."""
    chance = random.Random(7)
    records = [start(f"s{n}", f"user{chance.randrange(40)}", at_s=n, mac=f"02-00-00-00-00-{chance.randrange(99):02d}") for n in range(100)]
    rules = user_limit(4, "four", count=count, on_change="enforce"), user_limit(3, "three", victim="oldest", on_change="enforce")
    asked: list[str] = []
    sweep = limiting.sweep
    monkeypatch.setattr(limiting, "sweep", lambda step, identity, *others: (asked.append(identity), sweep(step, identity, *others))[1])
    told = play(*records).feed(policy(*rules))
    few, asked[:] = list(asked), []
    monkeypatch.setattr(limiting, "concerned_from", lambda before, after: 1)
    everybody = play(*records).feed(policy(*rules))
    sessions = Counter(record.key for record in records)
    assert few == sorted(str(key, "utf-8") for key, number in sessions.items() if number > 3)
    assert 0 < len(few) < len(asked) == len(sessions)
    assert told.commands() == everybody.commands()
    assert told.events() == everybody.events()
    told.nothing_else()
    everybody.nothing_else()


# -- 4.9: why ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["newest", "oldest", "all-others"])
def test_a_decision_can_be_made_again_from_exactly_the_records_it_names(victim: str) -> None:
    """4.9: with the policy version that it names, and nothing else of the journal."""
    rule = policy(user_limit(2, "two", victim=victim), version=3)
    records = [tick(0), policy(user_limit(9), version=1), start("e1", "eve"), start("s0"), tick(1), groups("al", "g"), start("s1", at_s=1)]
    records += [rule, interim("e1", "eve", at_s=60), start("a1", "al", at_s=61), start("s2", at_s=62), start("s3", at_s=63)]
    journal = play(*records)
    breached = next(event for event in journal.events() if event.type == "limit.breached")
    assert breached.policy_version == 3
    named = [records[ref.offset] for ref in sorted(breached.because, key=lambda ref: ref.offset)]
    again = play(rule, *named)
    made = [event for event in again.events() if event.type == "limit.breached"]
    told = (breached.rule, breached.current, breached.max, breached.text, breached.acct_session_id)
    assert [(each.rule, each.current, each.max, each.text, each.acct_session_id) for each in made] == [told]
    commands = [c for c in journal.commands() if c.because == breached.because]
    assert gone(again) == [command.session["acct_session_id"] for command in commands]
