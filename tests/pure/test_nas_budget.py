"""How much one NAS is asked, and when it is left alone (behaviour 5.5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.nas_budget import BURST, PAUSE_MS_MAX, NasBudget

NOW_MS = 1_000.0


def begun(budget, now_ms, requests):
    """How many of these may begin at once."""
    for number in range(requests):
        if not budget.has_room() or budget.wait_ms(now_ms, 0.0):
            return number
        budget.begin()
    return requests


def pause_of(budget, now_ms):
    return budget.wait_ms(now_ms, 0.0)


def test_a_window_lets_so_many_through_and_one_more_when_one_is_over():
    """5.5."""
    budget = NasBudget(3)
    assert begun(budget, NOW_MS, 10) == 3
    budget.end()
    assert begun(budget, NOW_MS, 10) == 1


def test_after_the_first_eight_there_is_one_in_ten_milliseconds():
    """5.5: jitter makes it five to fifteen."""
    budget = NasBudget(1_000)
    assert begun(budget, NOW_MS, 100) == BURST == 8
    assert [budget.wait_ms(NOW_MS, jitter) for jitter in (-1.0, 0.0, 1.0)] == [5.0, 10.0, 15.0]
    assert begun(budget, NOW_MS + 10, 100) == 1
    assert begun(budget, NOW_MS + 1_000, 100) == 8


def test_a_silent_nas_is_left_alone_longer_and_longer_and_then_asked_by_one():
    """5.5: 1, 2, 4 ... at most 30 s; exponential and bounded."""
    budget, now_ms, pauses = NasBudget(32), NOW_MS, []
    for _ in range(8):
        budget.begin()
        sent_ms, now_ms = now_ms, now_ms + 30_000
        budget.end()
        budget.unanswered(sent_ms, now_ms, 0.0)
        assert (budget.is_silent, budget.window) == (True, 1)
        pauses.append(pause_of(budget, now_ms))
        now_ms += pauses[-1]
    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
    assert budget.silent_since_ms == NOW_MS


def test_what_fails_together_is_one_trouble():
    """5.5: 32 requests that were in flight when the NAS went down are one pause."""
    budget = NasBudget(32)
    for number in range(32):
        budget.unanswered(NOW_MS + number, NOW_MS + 30_000 + number, 0.0)
    assert pause_of(budget, NOW_MS + 30_031) == 1_000 - 31


def test_one_lost_exchange_of_a_nas_that_answers_others_is_no_trouble():
    """5.5: loss on the way is not silence."""
    budget = NasBudget(32)
    budget.heard(NOW_MS + 10)
    budget.unanswered(NOW_MS, NOW_MS + 30_000, 0.0)
    assert (budget.is_silent, budget.window, pause_of(budget, NOW_MS + 30_000)) == (False, 32, 0.0)


def test_the_first_answer_ends_the_silence_and_the_window_doubles_with_each():
    """5.5."""
    budget = NasBudget(5)
    budget.unanswered(NOW_MS, NOW_MS + 30_000, 0.0)
    windows = []
    for _ in range(4):
        budget.heard(NOW_MS + 30_001)
        windows.append(budget.window)
    assert windows == [2, 4, 5, 5]
    assert (budget.is_silent, pause_of(budget, NOW_MS + 30_001)) == (False, 0.0)


def test_an_overloaded_nas_gets_half_and_a_pause_which_an_answer_to_another_does_not_end():
    """5.5 and 5.3: 504, 505, 506."""
    budget = NasBudget(32)
    budget.overloaded(NOW_MS, NOW_MS + 5, 0.0)
    budget.overloaded(NOW_MS, NOW_MS + 6, 0.0)
    budget.heard(NOW_MS + 7)
    assert (budget.window, pause_of(budget, NOW_MS + 7)) == (16, 998)
    budget.overloaded(NOW_MS + 1_010, NOW_MS + 1_015, 0.0)
    assert (budget.window, pause_of(budget, NOW_MS + 1_015)) == (8, 2_000)
    budget.heard(NOW_MS + 3_020)
    budget.overloaded(NOW_MS + 3_030, NOW_MS + 3_040, 0.0)
    assert (budget.window, pause_of(budget, NOW_MS + 3_040)) == (8, 1_000)


@pytest.mark.parametrize(("jitter", "pause_ms"), [(-1.0, 900), (1.0, 1_100)])
def test_the_pause_has_a_tenth_of_jitter(jitter, pause_ms):
    """5.5: so that NASes that went down together are not asked together."""
    budget = NasBudget(32)
    budget.unanswered(NOW_MS, NOW_MS, jitter)
    assert pause_of(budget, NOW_MS) == pytest.approx(pause_ms)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "heard", "overloaded", "unanswered"]), st.floats(0, 60_000), st.floats(0, 90_000), st.floats(-1, 1)
        ),
        max_size=80,
    )
)
def test_whatever_happens_the_window_is_at_least_one_and_no_pause_is_longer_than_its_bound(happenings):
    """5.5: no NAS is left alone for ever."""
    budget, now_ms = NasBudget(32), NOW_MS
    for what, later_ms, ago_ms, jitter in happenings:
        now_ms += later_ms
        match what:
            case "begin" if budget.has_room() and not budget.wait_ms(now_ms, jitter):
                budget.begin()
            case "heard":
                budget.heard(now_ms)
            case "overloaded":
                budget.overloaded(max(1.0, now_ms - ago_ms), now_ms, jitter)
            case "unanswered":
                budget.unanswered(max(1.0, now_ms - ago_ms), now_ms, jitter)
        assert 1 <= budget.window <= 32
        assert 0 <= budget.wait_ms(now_ms, jitter) <= 1.1 * PAUSE_MS_MAX
    assert budget.wait_ms(now_ms + 1.1 * PAUSE_MS_MAX, 0.0) == 0.0
