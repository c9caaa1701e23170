"""RFC 5080 section 2.2.1 with the numbers for Disconnect-Requests (behaviour 5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.retransmission import RFC5080, Schedule, first, following


def sends(jitters: list[float]) -> tuple[list[float], float]:
    """When it is sent, and when it is given up."""
    transmission = first(RFC5080, 0, jitters[0])
    times = [0.0]
    for jitter in jitters[1:]:
        now_ms = transmission.due_ms
        further = following(RFC5080, transmission, now_ms, jitter)
        if further is None:
            return times, now_ms
        transmission = further
        times.append(now_ms)
    raise AssertionError("it never gives up")


def test_without_jitter_it_is_sent_at_0_2_6_and_14_s_and_given_up_at_30_s():
    """5.1."""
    assert sends([0.0] * 9) == ([0, 2_000, 6_000, 14_000], 30_000)


def test_with_the_least_jitter_a_fifth_one_leaves_before_30_s():
    """5.1: 1.8, 2 - 0.1 times as long each time, 14.4 s instead of more than 16 s."""
    times, given_up_ms = sends([-1.0] * 9)
    assert times == pytest.approx([0, 1_800, 5_220, 11_718, 24_064.2])
    assert given_up_ms == 30_000


def test_with_the_most_jitter_the_times_grow_by_a_tenth():
    """5.1."""
    times, given_up_ms = sends([1.0] * 9)
    assert times == pytest.approx([0, 2_200, 6_820, 16_522])
    assert given_up_ms == 30_000


@given(st.lists(st.floats(-1, 1), min_size=9, max_size=9))
def test_whatever_the_jitter_there_are_four_or_five_sends_and_the_end_is_at_30_s(jitters):
    """5.1: MRC 5, MRD 30 s, and no wait is longer than MRT and its tenth."""
    times, given_up_ms = sends(jitters)
    assert len(times) in {4, 5}
    assert given_up_ms == 30_000
    assert all(later - earlier <= 17_600 for earlier, later in zip(times, [*times[1:], given_up_ms], strict=True))


def test_mrc_ends_it_where_mrd_is_far():
    """5.1: the timer of the last transmission has to run out first."""
    schedule = Schedule(irt_ms=10, mrc=2, mrt_ms=1_000, mrd_ms=100_000)
    one = first(schedule, 0, 0)
    two = following(schedule, one, one.due_ms, 0)
    assert two is not None
    assert (one.due_ms, two.due_ms) == (10, 30)
    assert following(schedule, two, two.due_ms, 0) is None
