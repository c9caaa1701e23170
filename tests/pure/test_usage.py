"""Counters: 64 bits, wraps, and a usage that never falls (behaviour 1.6; RFC 2869 section 5.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.usage import WORD, larger, octets_after

COUNTERS = st.one_of(st.none(), st.integers(0, 2**64 - 1), st.integers(0, WORD - 1))


@pytest.mark.parametrize(
    ("known", "said", "after"),
    [
        (None, None, None),
        (None, 5, 5),
        (5, None, 5),
        (5, 9, 9),
        (WORD - 1, 0, WORD),  # wrapped
        (WORD + 5, 3, WORD + 5),  # fell a little: reset, or a lie
        (WORD + 5, 9, WORD + 9),  # the wrap was counted already
        (2 * WORD - 1, 7, 2 * WORD + 7),  # wrapped for the second time
        (1000, 400, 1000),
        (5 * WORD, WORD, 5 * WORD),  # more than 32 bits without Gigawords: no wrap
    ],
)
def test_a_counter_of_32_bits_that_falls_far_has_wrapped(known: int | None, said: int | None, after: int | None) -> None:
    """1.6: a NAS without Gigawords."""
    assert octets_after(known, said, gigawords=False, newer=True) == after


@pytest.mark.parametrize(("gigawords", "newer"), [(True, True), (False, False)])
def test_with_gigawords_or_out_of_order_a_smaller_counter_is_no_wrap(gigawords: bool, newer: bool) -> None:
    """1.6, 2.2: an overtaken record adds nothing."""
    assert octets_after(WORD - 1, 0, gigawords=gigawords, newer=newer) == WORD - 1


@given(known=COUNTERS, said=COUNTERS, gigawords=st.booleans(), newer=st.booleans())
def test_usage_never_falls_and_the_same_again_changes_nothing(known: int | None, said: int | None, gigawords: bool, newer: bool) -> None:
    """1.6, 2.2."""
    after = octets_after(known, said, gigawords=gigawords, newer=newer)
    assert (after is None) == (known is None and said is None)
    assert after is None or after >= max(known or 0, 0)
    assert octets_after(after, said, gigawords=gigawords, newer=False) == after


@given(one=COUNTERS, other=COUNTERS)
def test_the_larger_of_two_does_not_depend_on_their_order(one: int | None, other: int | None) -> None:
    """2.2: session times and packets."""
    assert larger(one, other) == larger(other, one)
    assert larger(one, None) == one


@pytest.mark.parametrize(
    ("known", "said", "after"),
    [
        (WORD + 1000, 1500, WORD + 1500),  # a Stop in the second of an Interim, the counter wrapped before
        (WORD - 1000, 500, WORD + 500),  # it wrapped in that second
        (WORD + 500, WORD - 1000, WORD + 500),  # and the Interim came behind the Stop
        (WORD + 1500, 1000, WORD + 1500),
    ],
)
def test_what_was_said_in_the_same_second_is_counted_to_the_octet_in_either_order(known: int, said: int, after: int) -> None:
    """1.6: without Gigawords, and neither record is the newer one by the NAS's clocks."""
    assert octets_after(known, said, gigawords=False, newer=False, at_once=True) == after
    assert octets_after(known, said, gigawords=True, newer=False, at_once=True) == known
