"""Rates (behaviour 4.7): more than n Starts in a sliding window."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.policy import Rate
from schemas.session import IdentityRow
from streams import rates
from tests.support.journal import groups, interim, play, policy, start, tick

FLAPPING = Rate("flapping", "user", 3, 60)


@given(steps=st.lists(st.integers(0, 40), max_size=30), starts=st.integers(1, 5))
def test_a_start_is_one_too_many_exactly_when_so_many_lie_in_the_window(steps: list[int], starts: int) -> None:
    """4.7: against the plain count over all times."""
    rate = Rate("r", "user", starts, 60)
    known, clock_ms, times = IdentityRow("bob"), 0, []
    for step in steps:
        clock_ms += step * 1000
        recent, exceeded = rates.count(known, ((rate, ""),), clock_ms)
        inside = [time for time in times if clock_ms - time < 60_000]
        assert [(each, group) for each, group, _ in exceeded] == ([(rate, "")] if len(inside) >= starts else [])
        times.append(clock_ms)
        known = IdentityRow("bob", recent=recent)
        assert len(known.recent[0].starts_ms) <= starts


def test_one_start_more_than_allowed_is_told_with_the_figures_and_disconnects_nobody() -> None:
    """4.7: `report` is the default; a session told late or by an Interim is no Start."""
    journal = play(tick(0), policy(FLAPPING), interim("s0", at_s=1))
    journal.feed(*(start(f"s{n}", at_s=n) for n in range(1, 5)))
    assert journal.types() == ["session.started"] * 5 + ["rate.exceeded"]
    journal.feed(start("s5", at_s=5))
    exceeded = journal.events()[1]
    assert (exceeded.rule, exceeded.scope, exceeded.current, exceeded.max, exceeded.policy_version) == ("flapping", "user", 3, 3, 1)
    assert exceeded.text == "user rate flapping: 3 starts in 60 s of 3 allowed"
    journal.nothing_else()


def test_the_window_slides_with_the_partitions_clock() -> None:
    """4.7."""
    journal = play(tick(0), policy(FLAPPING), *(start(f"s{n}") for n in range(3)))
    journal.feed(*(tick(n) for n in range(1, 60)), start("s3", at_s=59))
    assert journal.types() == ["session.started"] * 4 + ["rate.exceeded"]
    journal.feed(*(tick(n) for n in range(60, 122)), start("s4", at_s=121))
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_a_rate_that_disconnects_takes_the_newcomer_and_asks_no_limit() -> None:
    """4.7."""
    journal = play(tick(0), policy(Rate("r", "user-in-group", 1, 60, group="g", action="disconnect")), groups("bob", "g"))
    journal.feed(start("s1"), start("e1", "eve"), start("s2"))
    assert journal.types() == ["session.started"] * 3 + ["rate.exceeded", "disconnect.requested"]
    command = journal.command()
    assert (command.reason, command.rule, command.session["acct_session_id"]) == ("rate", "r", "s2")
    journal.nothing_else()
