"""Quotas and rates of whole groups in a partition of sessions: what the group agent is told, and what follows from its word."""

from typing import Any

import pytest
from msgspec.structs import replace

from schemas.codec import decoder, encode
from schemas.event import RecordRef
from schemas.group import SLOT_KIND, GroupVerdict, SlotMessage
from schemas.policy import Quota, Rate
from schemas.session import Spent
from schemas.topics import ACCOUNTING, SLOTS
from streams.group_meters import SPENT_MAX, kept
from streams.partitioner import partition_of
from tests.support.journal import T0_MS, Journal, Record, groups, interim, play, policy, quota_order, start, stop, tick

_read = decoder(SlotMessage).decode
BECAUSE = [RecordRef(SLOTS.name, 0, 7)]
TEXT = "group quota total in g: 1000 B of 1000 B used this day"


def quota(**fields: Any) -> Quota:
    return Quota(**{"name": "total", "applies_to": "group", "per": "day", "octets": 1000, **fields})


def rate(**fields: Any) -> Rate:
    return Rate(**{"name": "often", "applies_to": "group", "starts": 2, "within_s": 60, **fields})


def told(journal: Journal) -> list[SlotMessage]:
    """What the group agent was told since this was last asked."""
    outputs = journal._take(SLOTS.name, SLOT_KIND)
    messages = [_read(output.value) for output in outputs]
    assert [(output.key.decode(), output.partition) for output in outputs] == [
        (message.group, partition_of(message.group, journal.core.partitions)) for message in messages
    ]
    places = [(message.offset, message.nth) for message in messages]
    assert places == sorted(set(places)), "each place grows"
    return messages


def said(op: str, rule: str = "total", *, at_s: float = 0, identity: str = "bob", session: str = "s1", **fields: Any) -> Record:
    """The group agent's word."""
    time_ms = T0_MS + round(at_s * 1000)
    more = {"group": "g", "current": 1000, "max": 1000, "text": TEXT, "because": BECAUSE, "policy_version": 1} | fields
    verdict = GroupVerdict(
        id="g", op=op, limit=rule, identity=identity, session=f"s:ap1/{session}", time_ms=time_ms, expires_ms=time_ms + 90_000, **more
    )
    return Record("verdict", identity.encode(), encode(verdict))


def spent(*, until_s: float = 600, **fields: Any) -> Record:
    return said("spent", until_ms=T0_MS + round(until_s * 1000), **fields)


def members(*rules: Quota | Rate, partition: int = 0, partitions: int = 1) -> Journal:
    """Bob has two sessions and Eve has one, all in g; Zoe has one, and is in no group. All that came of it is taken."""
    journal = Journal(partition, partitions)
    journal.feed(tick(0), policy(*(rules or (quota(),))), groups("bob", "g"), groups("eve", "g", "other"))
    journal.feed(start("s1"), start("s2"), start("s3", "eve"), start("s4", "zoe"), tick(60))
    journal.events(), told(journal)
    journal.nothing_else()
    return journal


def test_a_record_that_tells_of_usage_is_one_message_for_each_group_with_a_quota() -> None:
    """4.6: by how much the counters grew, and over how long; not for a group that no quota means."""
    journal = members(quota(group="g"), quota(name="z-other", group="o*"), quota(name="second", group="g", octets=None, time_s=9))
    journal.feed(interim("s3", "eve", at_s=60, input_octets=300, output_octets=4), interim("s4", "zoe", at_s=60, input_octets=5))
    first, second = told(journal)
    assert (first.op, first.group, first.identity, first.session) == ("use", "g", "eve", "s:ap1/s3")
    assert (first.octets, first.used_ms, first.over_ms, first.partition, first.offset) == (304, 60_000, 60_000, 0, 9)
    assert (second.group, second.octets) == ("other", 304)
    journal.feed(interim("s3", "eve", at_s=60, input_octets=300, output_octets=4))
    assert told(journal) == [], "nothing grew"
    journal.feed(stop("s3", "eve", at_s=90, input_octets=301, output_octets=4))
    assert [(message.octets, message.used_ms, message.over_ms) for message in told(journal)] == [(1, 30_000, 30_000)] * 2
    assert journal.types() == ["session.updated", "session.updated", "session.ended"]
    journal.nothing_else()


def test_a_start_is_one_message_for_each_group_with_a_rate() -> None:
    """4.7."""
    journal = members(rate(group="g"), rate(name="second", group="g"))
    journal.feed(start("s5", "eve", at_s=60), start("s6", "zoe", at_s=60), interim("s5", "eve", at_s=70, input_octets=1))
    assert [(message.op, message.group, message.session) for message in told(journal)] == [("start", "g", "s:ap1/s5")]
    journal.events()
    journal.nothing_else()


def test_where_no_quota_or_rate_is_a_group_s_the_group_agent_hears_nothing() -> None:
    journal = members(quota(applies_to="user-in-group"), rate(applies_to="user-in-group", starts=9))
    journal.feed(interim("s1", at_s=60, input_octets=1), start("s5", at_s=61))
    assert journal.types() == ["session.updated", "session.started"]
    journal.nothing_else()


def test_when_it_is_spent_all_sessions_of_the_group_go_with_the_figures_as_the_reason() -> None:
    """4.6."""
    journal = members().feed(spent())
    events = journal.events()
    assert [(event.type, event.acct_session_id) for event in events] == [
        (kind, session) for session in ("s1", "s2", "s3") for kind in ("quota.reached", "disconnect.requested")
    ]
    reached = events[0]
    assert (reached.rule, reached.scope, reached.group, reached.current, reached.max) == ("total", "group", "g", 1000, 1000)
    assert (reached.text, reached.policy_version) == (TEXT, 1)
    assert reached.because == [RecordRef(ACCOUNTING.name, 0, 9)]
    assert [(command.reason, command.rule, command.text) for command in journal.commands()] == [("quota", "total", TEXT)] * 3
    journal.feed(tick(61), interim("s4", "zoe", at_s=61))
    assert journal.types() == ["session.updated"]
    journal.nothing_else()


def test_each_new_start_of_a_member_is_disconnected_until_the_window_closes_also_by_a_restored_partition() -> None:
    """4.6: then the group may come back."""
    journal = members().feed(spent())
    journal.events(), journal.commands()
    journal.restart().feed(tick(599), start("s5", "eve", at_s=599), start("s6", "zoe", at_s=599))
    events = journal.events()
    assert [event.type for event in events] == ["session.started", "quota.reached", "disconnect.requested", "session.started"]
    assert [ref.offset for ref in events[1].because] == [11, 9], "the Start, and the group agent's word"
    assert journal.command().session["acct_session_id"] == "s5"
    journal.feed(tick(600), start("s7", "eve", at_s=600))
    assert journal.core.row.spent == ()
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_a_word_that_comes_after_the_window_has_closed_does_nothing() -> None:
    journal = members().feed(spent(until_s=60))
    assert journal.core.row.spent == ()
    journal.nothing_else()


def test_a_quota_that_only_reports_is_told_once_on_the_session_that_led_to_it() -> None:
    """4.6: in the partition of its identity; the others have nothing to tell."""
    home = partition_of("eve", 4)
    for partition in (home, (home + 1) % 4):
        journal = members(quota(action="report"), partition=partition, partitions=4).feed(spent(identity="eve", session="s3"))
        events = [(event.type, event.acct_session_id, event.text) for event in journal.events()]
        assert events == ([("quota.reached", "s3", TEXT)] if partition == home else [])
        journal.feed(start("s5", "eve", at_s=61))
        assert journal.types() == ["session.started"]
        journal.nothing_else()


def test_where_the_last_session_s_own_stop_spends_it_that_is_told_too() -> None:
    """4.6."""
    journal = members(quota(group="other")).feed(stop("s3", "eve", at_s=60))
    told(journal), journal.events()
    journal.feed(spent(identity="eve", session="s3", group="other"))
    assert [(event.type, event.acct_session_id) for event in journal.events()] == [("quota.reached", "s3")]
    journal.feed(spent(identity="gone", session="s9", group="other"))
    assert [(event.type, event.nas, event.acct_session_id) for event in journal.events()] == [("quota.reached", "ap1", "s9")]
    assert journal.identity_row("gone") is None
    journal.nothing_else()


def test_with_coa_the_sessions_stay_and_are_changed() -> None:
    """4.6."""
    journal = members(quota(action="coa", coa={"Filter-Id": "slow"})).feed(spent())
    assert journal.types() == ["quota.reached"] * 3
    assert [command.coa for command in journal.commands()] == [{"Filter-Id": "slow"}] * 3
    journal.feed(start("s5", "eve", at_s=61))
    assert journal.types() == ["session.started", "quota.reached"]
    assert journal.command().coa == {"Filter-Id": "slow"}
    journal.nothing_else()


def test_a_session_whose_disconnect_is_under_way_is_not_ordered_to_go_twice() -> None:
    """5.5."""
    journal = members().feed(spent())
    journal.events(), journal.commands()
    journal.feed(spent())
    assert journal.types() == ["quota.reached"] * 3
    journal.nothing_else()


def test_a_newer_policy_that_allows_more_lets_the_group_back() -> None:
    """4.9."""
    journal = members().feed(spent())
    journal.events(), journal.commands()
    journal.feed(policy(quota(octets=1001), version=2), start("s5", "eve", at_s=61))
    assert journal.types() == ["session.started"]
    journal.feed(policy(version=3), start("s6", "eve", at_s=61), spent(), said("warned"), said("exceeded", "often"))
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_a_warning_is_told_on_the_session_that_led_to_it() -> None:
    """4.6."""
    journal = members().feed(said("warned", current=800, text="nearly"))
    (warning,) = journal.events()
    assert (warning.type, warning.acct_session_id, warning.rule, warning.scope, warning.group) == (
        "quota.warning",
        "s1",
        "total",
        "group",
        "g",
    )
    assert (warning.current, warning.max, warning.text) == (800, 1000, "nearly")
    assert warning.because == [RecordRef(ACCOUNTING.name, 0, 9), *BECAUSE]
    journal.nothing_else()


@pytest.mark.parametrize("action", ["report", "disconnect"])
def test_a_start_too_many_is_told_and_the_newcomer_goes_where_the_rule_says_so(action: str) -> None:
    """4.7."""
    journal = members(rate(action=action)).feed(said("exceeded", "often", current=2, max=2, text="too many"))
    exceeded, *more = journal.events()
    assert (exceeded.type, exceeded.rule, exceeded.scope, exceeded.group) == ("rate.exceeded", "often", "group", "g")
    assert (exceeded.current, exceeded.max, exceeded.text, exceeded.acct_session_id) == (2, 2, "too many", "s1")
    assert [event.type for event in more] == (["disconnect.requested"] if action == "disconnect" else [])
    commands = [(command.reason, command.rule, command.text) for command in journal.commands()]
    assert commands == ([("rate", "often", "too many")] if action == "disconnect" else [])
    journal.nothing_else()


def test_old_news_of_a_rate_disconnects_nobody() -> None:
    journal = members(rate(action="disconnect")).feed(tick(0.5), tick(91), said("exceeded", "often"))
    assert journal.types() == ["rate.exceeded"]
    journal.nothing_else()


def test_when_an_operator_has_given_more_the_group_comes_back_at_once_and_goes_when_that_is_spent_too() -> None:
    """4.6: also in a restored partition; the figures hold what was given on top."""
    journal = members().feed(spent())
    journal.events(), journal.commands()
    journal.feed(said("freed", identity="", session="")).restart()
    assert journal.core.row.spent == ()
    journal.feed(start("s5", "eve", at_s=61))
    assert journal.types() == ["session.started"]
    journal.feed(spent(current=1600, max=1500, extra=500), start("s6", "eve", at_s=62))
    texts = {event.text for event in journal.events() if event.type == "quota.reached"}
    assert texts == {"group quota total in g: 1.6 KiB of 1.5 KiB used this day"}
    assert [command.session["acct_session_id"] for command in journal.commands()] == ["s5", "s6"]
    journal.nothing_else()


def test_an_operator_s_order_about_a_group_s_quota_is_refused() -> None:
    """Its window is no user's."""
    journal = members().feed(quota_order("reset", "total", group="g"))
    (rejected,) = journal.rejected()
    assert rejected.reason == "unknown-rule"
    journal.nothing_else()


def test_what_a_partition_remembers_is_bounded() -> None:
    """The last ones; each rule and group once; none whose window has closed."""
    row = play(tick(0)).core.row
    for number in range(SPENT_MAX + 5):
        row = replace(row, spent=kept(row, Spent("total", f"g{number}", T0_MS + 1000, 1, number)))
    assert [each.group for each in row.spent] == [f"g{number}" for number in range(5, SPENT_MAX + 5)]
    row = replace(row, spent=kept(row, Spent("total", "g9", T0_MS + 2000, 2, 999)))
    assert (len(row.spent), row.spent[-1].used) == (SPENT_MAX, 2)
    row.wall_ms += 1000
    assert [each.group for each in kept(row)] == ["g9"]
