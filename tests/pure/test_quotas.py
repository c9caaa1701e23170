"""Usage quotas (behaviour 4.6): how usage adds up, what it leads to, and when the user may come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.policy import Policy, Quota
from schemas.session import IdentityRow, Window
from streams import quotas
from streams.rulebook import Rulebook
from streams.windows import Calendar, Span
from tests.support.journal import Journal, Record, groups, interim, play, policy, quota_order, result, start, stop, tick

GIB = 2**30
DAY_S = 86_400
T0_IN_DAY_S = 1_795_199_831 % DAY_S
"""What of the UTC day is over when a test begins."""
MIDNIGHT_S = DAY_S - T0_IN_DAY_S


def daily(**fields: object) -> Quota:
    return Quota(**{"name": "daily", "applies_to": "user", "per": "day", "octets": GIB, **fields})  # type: ignore[arg-type]


METERED = (
    daily(octets=100),
    daily(name="warned", octets=100, warn_at=(50, 80)),
    daily(name="hourly", per="hour", octets=None, time_s=100),
    daily(name="in-g", applies_to="user-in-group", group="g", octets=1000),
)


def used(session: str, octets: int, at_s: float, **fields: object) -> Record:
    """An Interim after `at_s` seconds with so many octets in all, most of them out."""
    return interim(session, at_s=at_s, input_octets=octets // 4, output_octets=octets - octets // 4, **fields)


def window(journal: Journal, identity: str = "bob") -> Window:
    known = journal.identity_row(identity)
    assert known is not None
    (window,) = known.windows
    return window


def over(quota: Quota) -> Journal:
    """Bob has used up a quota of octets with one of his two sessions; what followed is not read yet."""
    journal = play(tick(0), policy(quota), start("s1"), start("s2"), tick(60))
    assert journal.types() == ["session.started"] * 2
    return journal.feed(used("s1", GIB, 60))


def test_at_the_limit_all_sessions_of_the_user_go_with_the_figures_as_the_reason() -> None:
    """4.6."""
    journal = over(daily())
    updated, first, _, second, _ = journal.events()
    assert updated.type == "session.updated"
    assert (first.type, first.rule, first.scope, first.current, first.max) == ("quota.reached", "daily", "user", GIB, GIB)
    assert first.text == "user quota daily: 1.0 GiB of 1.0 GiB used this day"
    assert second.acct_session_id == "s2"
    commands = journal.commands()
    assert [(command.reason, command.rule, command.session["acct_session_id"]) for command in commands] == [
        ("quota", "daily", "s1"),
        ("quota", "daily", "s2"),
    ]
    assert commands[0].because[0].offset == 5
    journal.nothing_else()


def test_one_octet_less_is_not_the_limit() -> None:
    journal = play(tick(0), policy(daily()), start("s1"), tick(60), used("s1", GIB - 1, 60))
    assert journal.types() == ["session.started", "session.updated"]
    journal.feed(used("s1", GIB, 61))
    assert journal.types() == ["session.updated", "quota.reached", "disconnect.requested"]
    assert len(journal.commands()) == 1
    journal.nothing_else()


def test_until_the_window_closes_each_new_start_is_disconnected_then_the_user_may_come_back() -> None:
    """4.6."""
    journal = over(daily())
    journal.events(), journal.commands()
    journal.feed(stop("s1", at_s=61), stop("s2", at_s=61), tick(MIDNIGHT_S - 2), start("s3", at_s=MIDNIGHT_S - 1))
    assert journal.types() == ["session.ended"] * 2 + ["session.started", "quota.reached", "disconnect.requested"]
    assert journal.command().session["acct_session_id"] == "s3"
    assert len(journal.notices()) == 2
    journal.feed(tick(MIDNIGHT_S), start("s4", at_s=MIDNIGHT_S))
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_a_session_that_spans_midnight_is_divided_by_the_time_between_its_records() -> None:
    """4.6: 400 octets between 30 s before and 10 s after midnight: a quarter belongs to the new day."""
    journal = play(tick(0), policy(daily()), start("s1"), tick(MIDNIGHT_S - 30), used("s1", 1000, MIDNIGHT_S - 30))
    assert window(journal).used == 1000
    journal.feed(tick(MIDNIGHT_S + 10), used("s1", 1400, MIDNIGHT_S + 10))
    assert window(journal).used == 100
    assert window(journal).from_ms % (DAY_S * 1000) == 0
    journal.events()
    journal.nothing_else()


def test_time_is_divided_too_and_sessions_at_the_same_time_add_up() -> None:
    """4.6."""
    journal = play(tick(0), policy(daily(octets=None, time_s=3600)), start("s1"), start("s2"), tick(600))
    journal.feed(interim("s1", at_s=600), interim("s2", at_s=600))
    assert window(journal).used == 1_200_000
    journal.feed(tick(MIDNIGHT_S + 300), interim("s1", at_s=MIDNIGHT_S + 300))
    assert window(journal).used == 300_000
    journal.events()
    journal.nothing_else()


def test_a_stop_tells_the_rest_and_of_one_without_start_only_what_falls_into_the_window() -> None:
    journal = play(tick(0), policy(daily()), start("s1"), tick(10), stop("s1", at_s=10, input_octets=7))
    assert window(journal).used == 7
    whole_s = 2 * T0_IN_DAY_S  # half of it before midnight
    journal.feed(stop("s9", "eve", at_s=10, session_time_s=whole_s, input_octets=1000))
    assert 499 <= window(journal, "eve").used <= 501
    assert journal.types() == ["session.started", "session.ended", "session.ended"]
    journal.nothing_else()


def test_what_is_repeated_or_overtaken_is_counted_once() -> None:
    """1.4, 1.6."""
    journal = play(tick(0), policy(daily()), start("s1"), tick(60), used("s1", 500, 60), used("s1", 500, 60), used("s1", 300, 30))
    journal.feed(used("s1", 500, 60))
    assert window(journal).used == 500
    journal.events()
    journal.nothing_else()


def test_shares_are_warned_of_once() -> None:
    """4.6: warnings at given shares; the highest where one record passes two."""
    journal = play(tick(0), policy(daily(octets=1000, warn_at=(50, 80))), start("s1"), tick(60), used("s1", 500, 60), used("s1", 600, 61))
    assert journal.types() == ["session.started", "session.updated", "quota.warning", "session.updated"]
    journal.feed(used("s1", 810, 62))
    warning = journal.events()[1]
    assert (warning.type, warning.rule, warning.current, warning.max) == ("quota.warning", "daily", 810, 1000)
    assert warning.text == "user quota daily: 810 B of 1000 B used this day; 80 % are reached"
    journal.feed(used("s1", 900, 63))
    assert journal.types() == ["session.updated"]
    journal.nothing_else()


def test_a_quota_that_reports_says_so_once() -> None:
    """4.6."""
    journal = over(daily(action="report"))
    assert journal.types() == ["session.updated", "quota.reached"]
    journal.feed(used("s1", 2 * GIB, 70), start("s3", at_s=71))
    assert journal.types() == ["session.updated", "session.started"]
    journal.nothing_else()


def test_a_change_of_authorisation_leaves_the_sessions_and_reaches_each_new_one() -> None:
    """4.6: at the limit change authorisation (CoA), with the attributes that the policy names."""
    journal = over(daily(action="coa", coa={"Filter-Id": "slow"}))
    events = journal.events()
    assert [event.type for event in events] == ["session.updated", "quota.reached", "quota.reached"]
    commands = journal.commands()
    assert [(command.coa, command.session["acct_session_id"]) for command in commands] == [
        ({"Filter-Id": "slow"}, "s1"),
        ({"Filter-Id": "slow"}, "s2"),
    ]
    assert [event.command_id for event in events[1:]] == [command.id for command in commands]
    assert journal.open_row("s1").kick_state is None
    journal.feed(start("s3", at_s=70))
    assert journal.types() == ["session.started", "quota.reached"]
    assert journal.command().coa == {"Filter-Id": "slow"}
    journal.nothing_else()


def test_one_that_cannot_be_disconnected_is_not_ordered_to_go_again_and_again() -> None:
    journal = over(daily())
    first, second = journal.commands()
    journal.feed(result(first, "refused"), result(second, "refused"))
    journal.events()
    journal.feed(used("s1", 2 * GIB, 70), used("s2", 5, 70))
    assert journal.types() == ["session.updated"] * 2
    journal.nothing_else()


def test_an_operator_gives_more_or_begins_anew() -> None:
    """4.6: top-ups and resets; an order that is delivered twice is carried out once."""
    journal = over(daily())
    journal.events(), journal.commands()
    order = quota_order("topup", "daily", amount=GIB)
    journal.feed(order, order, start("s3", at_s=70))
    assert (window(journal).used, window(journal).extra, window(journal).reached) == (GIB, GIB, False)
    assert journal.types() == ["session.started"]
    journal.feed(used("s3", GIB, 80))
    assert [type_ for type_ in journal.types() if type_ == "quota.reached"] == ["quota.reached"] * 3
    journal.commands()
    journal.feed(quota_order("reset", "daily", order_id="q2"), start("s4", at_s=90))
    assert (window(journal).used, window(journal).extra) == (0, GIB)
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_an_order_about_no_quota_of_the_policy_is_rejected_by_name() -> None:
    journal = play(tick(0), policy(daily()), quota_order("topup", "dayly", amount=1))
    assert [rejected.reason for rejected in journal.rejected()] == ["unknown-rule"]
    journal.nothing_else()


def test_a_quota_in_a_group_counts_the_sessions_that_are_in_it() -> None:
    """4.6."""
    journal = play(tick(0), policy(daily(applies_to="user-in-group", group="night", octets=100)), groups("bob", "night"))
    journal.feed(start("s1"), start("e1", "eve"), tick(60), used("s1", 100, 60), used("e1", 100, 60, identity="eve"))
    assert journal.types() == ["session.started"] * 2 + ["session.updated", "quota.reached", "disconnect.requested", "session.updated"]
    assert journal.command().identity == "bob"
    assert journal.identity_row("eve").windows == ()  # type: ignore[union-attr]
    journal.nothing_else()


def test_what_was_used_outlives_the_sessions_and_is_forgotten_with_its_window() -> None:
    """4.6: a user who leaves for longer than the grace period comes back to the same window."""
    journal = play(tick(0), policy(daily(), grace_s=1), start("s1"), tick(1), stop("s1", at_s=1, input_octets=GIB))
    journal.feed(*(tick(n) for n in range(2, 20)))
    assert journal.row("s1") is None
    assert window(journal).used == GIB
    journal.feed(start("s2", at_s=20))
    assert journal.types() == [
        "session.started",
        "session.ended",
        "quota.reached",
        "session.started",
        "quota.reached",
        "disconnect.requested",
    ]
    journal.feed(stop("s2", at_s=21), *(tick(n) for n in range(21, 40)))
    assert journal.identity_row() is not None
    journal.feed(*(tick(n) for n in range(40, MIDNIGHT_S + 5, 5)))
    assert journal.identity_row() is None
    journal.events(), journal.commands(), journal.notices()
    journal.nothing_else()


def test_a_clock_that_goes_back_opens_no_window_again() -> None:
    """The window that is kept holds until its end; a new leader's clock may be behind."""
    journal = play(tick(0), policy(daily()), start("s1"), tick(MIDNIGHT_S + 5), used("s1", 100, MIDNIGHT_S + 5))
    began = window(journal)
    journal.feed(tick(MIDNIGHT_S - 5, mono_s=MIDNIGHT_S + 6), used("s1", 200, MIDNIGHT_S + 6))
    assert (window(journal).from_ms, window(journal).used) == (began.from_ms, began.used + 100)
    journal.events()
    journal.nothing_else()


@pytest.mark.parametrize(("extra", "spent"), [(0, True), (1, False)])
def test_what_admission_asks(extra: int, *, spent: bool) -> None:
    """4.6: until the window closes admission refuses."""
    known = IdentityRow("bob", windows=(Window("daily", "", 0, 100, used=GIB, extra=extra),))
    rules = ((daily(), ""),)
    assert bool(list(quotas.spent(known, rules, 99))) is spent
    assert not list(quotas.spent(known, rules, 100))


@given(
    wanted=st.sets(st.sampled_from(range(len(METERED)))),
    grown=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60_000), st.integers(0, 5_400_000), st.integers(0, 5_400_000)), max_size=8),
    extra=st.sampled_from((0, 0, 50)),
)
def test_what_is_added_quickly_is_what_is_counted_with_care(wanted: set[int], grown: list[tuple[int, int, int, int]], extra: int) -> None:
    """4.6: the short way for records that no quota minds, against the way that judges each of them."""
    asked = Rulebook(Policy(quotas=tuple(METERED[number] for number in wanted))).questions(("g",))
    known, now_ms = IdentityRow("bob"), 0
    for octets, time_ms, over_ms, passed_ms in grown:
        now_ms += passed_ms
        told = Span(now_ms - over_ms, now_ms)
        windows, news = quotas.count(known, asked.quotas, Calendar(), (octets, time_ms), told)
        quickly = quotas.added(known.windows, asked.metered, Calendar(), (octets, time_ms), told)
        assert quickly is None or (quickly, []) == (windows, news)
        known = IdentityRow("bob", windows=tuple(replace(window, extra=extra) for window in windows))


def test_most_records_are_added_quickly() -> None:
    asked = Rulebook(Policy(quotas=(daily(), daily(name="hourly", per="hour", octets=None, time_s=60)))).questions(())
    known = IdentityRow("bob", windows=(Window("daily", "", 0, 100, used=1), Window("hourly", "", 0, 100, used=1)))
    after = quotas.added(known.windows, asked.metered, Calendar(), (5, 7), (1, 2))
    assert after == (Window("daily", "", 0, 100, used=6), Window("hourly", "", 0, 100, used=8))
