"""Calendar windows in a time zone (behaviour 4.6): midnight, summer time, month ends, and what belongs to which window."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.windows import Calendar, Per, Span, share_in, window_of

BERLIN, JOBURG = "Europe/Berlin", "Africa/Johannesburg"


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("per", "zone", "at", "since", "until"),
    [
        ("day", "UTC", "2026-11-21T12:00", "2026-11-21T00:00", "2026-11-22T00:00"),
        ("day", JOBURG, "2026-11-21T21:59:59", "2026-11-20T22:00", "2026-11-21T22:00"),
        ("day", JOBURG, "2026-11-21T22:00", "2026-11-21T22:00", "2026-11-22T22:00"),
        ("day", BERLIN, "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours: summer time begins
        ("day", BERLIN, "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours: it ends
        ("day", "America/Havana", "2024-03-10T12:00", "2024-03-10T05:00", "2024-03-11T04:00"),  # no midnight on that day
        ("day", "America/Havana", "2024-11-03T05:30", "2024-11-03T04:00", "2024-11-04T05:00"),  # two midnights: the first
        ("week", BERLIN, "2026-11-22T22:59", "2026-11-15T23:00", "2026-11-22T23:00"),  # Sunday
        ("week", BERLIN, "2026-11-22T23:00", "2026-11-22T23:00", "2026-11-29T23:00"),  # Monday
        ("month", BERLIN, "2026-01-31T23:30", "2026-01-31T23:00", "2026-02-28T23:00"),
        ("month", BERLIN, "2024-02-29T12:00", "2024-01-31T23:00", "2024-02-29T23:00"),
        ("month", "UTC", "2026-12-31T23:59:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("hour", BERLIN, "2026-10-25T00:30", "2026-10-25T00:00", "2026-10-25T01:00"),
        ("hour", BERLIN, "2026-10-25T01:30", "2026-10-25T01:00", "2026-10-25T02:00"),  # the local hour that comes twice
        ("hour", "Asia/Kolkata", "2026-11-21T12:10", "2026-11-21T11:30", "2026-11-21T12:30"),
    ],
)
def test_the_window_in_which_a_moment_lies(per: Per, zone: str, at: str, since: str, until: str) -> None:
    """4.6."""
    assert window_of(per, zone, ms(at)) == Span(ms(since), ms(until))


@given(
    at=st.integers(0, 4_000_000_000_000),
    per=st.sampled_from(["hour", "day", "week", "month"]),
    zone=st.sampled_from(["UTC", BERLIN, JOBURG, "America/Havana", "Asia/Kathmandu", "America/Santiago", "Pacific/Chatham"]),
)
def test_windows_follow_each_other_without_gap(at: int, per: Per, zone: str) -> None:
    """4.6: each moment lies in one window, and the next begins where it ends, at a local midnight or the first moment after it."""
    window = window_of(per, zone, at)
    assert window.from_ms <= at < window.until_ms
    assert window_of(per, zone, window.from_ms) == window
    assert window_of(per, zone, window.until_ms - 1) == window
    assert window_of(per, zone, window.until_ms).from_ms == window.until_ms
    if per != "hour":
        began = datetime.fromtimestamp(window.from_ms / 1000, ZoneInfo(zone))
        before = datetime.fromtimestamp(window.from_ms / 1000 - 1, ZoneInfo(zone))
        assert began.date() > before.date()


def test_the_calendar_remembers_and_says_the_same() -> None:
    calendar = Calendar()
    for at in ("2026-11-21T12:00", "2026-11-21T23:59", "2026-11-22T00:00", "2026-11-21T12:00"):
        assert calendar.window("day", "UTC", ms(at)) == window_of("day", "UTC", ms(at))


@given(amount=st.integers(0, 2**63), start=st.integers(0, 10**6), length=st.integers(0, 10**6), cut=st.integers(0, 2 * 10**6))
def test_usage_is_divided_evenly_and_none_of_it_twice(amount: int, start: int, length: int, cut: int) -> None:
    """4.6: between two records it is spread over the time between them; rounding loses less than an octet for each window."""
    told = Span(start, start + length)
    before, after = share_in(amount, told, Span(0, cut)), share_in(amount, told, Span(cut, 10**7))
    assert amount - 1 <= before + after <= amount
    if cut <= start:
        assert after == amount


def test_usage_of_no_length_belongs_to_the_window_in_which_it_is_told() -> None:
    assert share_in(7, Span(10, 10), Span(0, 10)) == 0
    assert share_in(7, Span(10, 10), Span(10, 20)) == 7
