"""Session-Timeout, Idle-Timeout and durations where the NAS forgets them (behaviour 3.6)."""

from collections.abc import Callable
from typing import Any

import pytest

from schemas.policy import Duration
from streams.timeouts import AGAIN_MS, ORDERS_MAX, believed
from tests.support.journal import Journal, Record, groups, interim, play, policy, result, start, stop, tick

HOUR = Duration(name="one-hour", applies_to="user", max_s=3600)
SHORT = Duration(name="short", applies_to="user", max_s=60)


def running(*records: Record, rules: Record | None = None) -> Journal:
    """A journal whose clock runs, with these records in it."""
    journal = play(policy() if rules is None else rules, tick(0)).feed(*records)
    journal.events()
    return journal


def seconds_until_kick(journal: Journal, most: int) -> int | None:
    for seconds in range(1, most + 1):
        journal.pass_time(1)
        if commands := journal.commands():
            assert [command.reason for command in commands] == ["session-timeout"]
            assert journal.types() == ["disconnect.requested"]
            return seconds
    return None


@pytest.mark.parametrize("termination", [{}, {"termination_action": 0}], ids=["absent", "default"])
def test_a_session_whose_time_is_over_is_disconnected_though_the_nas_forgets(termination: dict[str, int]) -> None:
    """3.6: it is not called stale: it runs until its Stop says otherwise. The NAS need not say a word in between."""
    journal = running(start(session_timeout_s=60, **termination))
    assert seconds_until_kick(journal, 100) == 60
    journal.open_row()
    journal.feed(stop(at_s=61))
    assert [event.said_by for event in journal.events()] == ["nas-stop"]
    assert len(journal.notices()) == 1
    journal.nothing_else()


def test_a_session_that_is_authenticated_anew_when_its_time_is_over_is_left_alone() -> None:
    """3.6: Termination-Action 1, RADIUS-Request (RFC 2865 section 5.29)."""
    assert seconds_until_kick(running(start(session_timeout_s=10, termination_action=1)), 200) is None


@pytest.mark.parametrize("value", [0, 0xFFFF_FFFF])
def test_a_session_timeout_that_means_none_is_not_believed(value: int) -> None:
    """3.6: the record stays, and its session runs on."""
    journal = running(start(session_timeout_s=value, idle_timeout_s=value))
    assert seconds_until_kick(journal, 200) is None
    assert (journal.open_row().session_timeout_s, journal.open_row().idle_timeout_s) == (None, None)
    assert (believed(value), believed(None), believed(1)) == (None, None, 1)


def test_a_session_that_was_first_heard_of_by_an_interim_has_used_some_of_its_time() -> None:
    """3.6: Acct-Session-Time says how much."""
    assert seconds_until_kick(running(interim(at_s=50, session_timeout_s=60)), 100) == 10


def test_a_timeout_that_an_interim_tells_holds_from_the_beginning_of_the_session() -> None:
    """3.6."""
    journal = running(start()).pass_time(20)
    journal.feed(interim(at_s=20, session_timeout_s=30))
    journal.events()
    assert seconds_until_kick(journal, 100) == 10


def test_a_duration_of_the_policy_ends_a_session_and_is_named() -> None:
    """3.6: `[[duration]]`; also where the NAS was told of a re-authentication."""
    journal = running(start(session_timeout_s=9999, termination_action=1), rules=policy(HOUR))
    journal.feed(tick(1, period_ms=720_000), *[tick(720 * n, period_ms=720_000) for n in range(1, 6)])
    (command,) = journal.commands()
    assert (command.reason, command.rule, command.text) == ("session-timeout", "one-hour", 'duration "one-hour" of 3600 s is over')
    journal.events()
    journal.nothing_else()


def test_the_shortest_time_counts() -> None:
    """3.6."""
    journal = running(start(session_timeout_s=30), rules=policy(HOUR, Duration(name="short", applies_to="user", max_s=20)))
    assert seconds_until_kick(journal, 100) == 20


def test_a_duration_that_comes_under_way_holds_for_those_who_are_there() -> None:
    """3.6, 4.9."""
    journal = running(start()).pass_time(50)
    journal.feed(policy(Duration(name="short", applies_to="user", max_s=20), version=2))
    assert seconds_until_kick(journal, 10) == 1


def test_a_session_that_is_still_there_is_ordered_to_go_again_and_not_for_ever() -> None:
    """3.6, 5.4: after a final result that proved nothing."""
    journal = running(start(session_timeout_s=10))
    kicks = 0
    for _ in range(2 * ORDERS_MAX * AGAIN_MS // 60_000):
        journal.now_s += 60
        journal.feed(tick(journal.now_s, period_ms=60_000))
        for command in journal.commands():
            kicks += 1
            journal.feed(result(command, "unconfirmed", at_s=journal.now_s))
    assert kicks == ORDERS_MAX
    journal.open_row()


def test_a_command_that_came_too_late_for_the_kicker_is_decided_anew() -> None:
    """5.4: its time is still over."""
    journal = running(start(session_timeout_s=10)).pass_time(10)
    journal.feed(result(journal.command(), "expired", at_s=200))
    again = journal.command()
    assert (again.reason, again.attempt) == ("session-timeout", 2)


def test_a_restart_forgets_no_time() -> None:
    """2.8."""
    journal = running(start(session_timeout_s=60)).pass_time(59).restart()
    assert seconds_until_kick(journal, 10) == 1


def under_a_key_that_another_takes() -> Journal:
    journal = running(start(), rules=policy(SHORT)).pass_time(64)
    journal.feed(start("s1", "bob", at_s=64, framed_ip_address="192.0.2.9", mac="02-00-00-00-00-99"))
    return journal


def renamed_into_a_group_with_less_time() -> Journal:
    long, short = (Duration(name=group, applies_to="group", group=group, max_s=max_s) for group, max_s in (("slow", 3600), ("fast", 60)))
    journal = running(groups("anon", "slow"), groups("bob", "fast"), start("s1", "anon"), rules=policy(long, short)).pass_time(5)
    return journal.feed(interim("s1", "bob", at_s=5))


def no_more_to_be_authenticated_anew() -> Journal:
    journal = running(start(session_timeout_s=60, termination_action=1)).pass_time(5)
    return journal.feed(interim(at_s=5, session_timeout_s=60, termination_action=0))


@pytest.mark.parametrize(
    ("happened", "seconds"),
    [(under_a_key_that_another_takes, 60), (renamed_into_a_group_with_less_time, 55), (no_more_to_be_authenticated_anew, 55)],
)
@pytest.mark.parametrize("restarts", [False, True], ids=["it-saw-it", "it-read-it-back"])
def test_a_time_that_comes_nearer_under_way_is_seen_by_who_was_there_as_by_who_reads_it_back(
    happened: Callable[[], Journal], seconds: int, *, restarts: bool
) -> None:
    """2.8, 3.6: the same journal, the same decisions."""
    journal = happened()
    for take in (journal.events, journal.commands, journal.notices):
        take()
    assert seconds_until_kick(journal.restart() if restarts else journal, 100) == seconds
    journal.nothing_else()


def said(at_s: int, octets: int | None, **fields: Any) -> Record:
    return interim(at_s=at_s, input_octets=octets, output_octets=octets, **fields)


def idling(*, octets: int | None = 1000, late_s: int = 0) -> Journal:
    """A session whose octets stand still from 60 s on, while it reports each minute; its Idle-Timeout is 150 s."""
    journal = running(start(idle_timeout_s=150))
    for at_s in range(60, 301, 60):
        journal.pass_time(60, "ap1").feed(said(at_s, octets, late_s=late_s))
        journal.events()
    return journal


def test_a_session_in_which_no_octets_move_for_its_idle_timeout_is_disconnected() -> None:
    """3.6: at the first Interim that shows it."""
    journal = idling()
    (command,) = journal.commands()
    assert (command.reason, command.because[0].offset) == ("idle", journal.open_row().last_offset - 61)
    assert command.text is not None
    assert command.text.endswith("its Idle-Timeout is 150 s")
    journal.nothing_else()


@pytest.mark.parametrize("fields", [{"octets": None}, {"late_s": 7200}], ids=["no-counters", "a-backlog"])
def test_without_octets_or_by_old_news_nobody_is_idle(fields: dict[str, Any]) -> None:
    """3.6: hostapd's wired driver never tells octets; a NAS that empties its backlog kicks nobody."""
    journal = idling(**fields)
    assert journal.commands() == []


def test_a_session_that_says_nothing_is_not_idle_but_silent() -> None:
    """3.6."""
    journal = running(start(idle_timeout_s=10)).pass_time(300, "ap1")
    assert journal.commands() == []
    journal.nothing_else()
