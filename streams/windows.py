"""Calendar windows in a time zone (behaviour 4.6): the hour, day, week or month in which a moment lies.

Law of this file: pure; (kind of window, zone, time) -> [from, until) in milliseconds since the epoch. Days, weeks (from Monday, ISO 8601)
and months begin at local midnight, also where summer time begins or ends in them: such a day has 23 or 25 hours. Where a zone has no
midnight on a day, the day begins at the moment at which the clocks jump over it. An hour always has 60 minutes and begins when the local
clock shows a full one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from schemas.zones import zone

Per = Literal["hour", "day", "week", "month"]
HOUR_MS = 3_600_000


class Span(NamedTuple):
    """From inclusive, until exclusive; milliseconds since the epoch."""

    from_ms: int
    until_ms: int


def window_of(per: Per, time_zone: str, time_ms: int) -> Span:
    """The window in which a moment lies.

    Args:
        per: its length in the calendar.
        time_zone: IANA name, checked.
        time_ms: milliseconds since the epoch.
    """
    tz = zone(time_zone)
    local = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(tz)
    if per == "hour":
        offset_ms = round((local.utcoffset() or timedelta()).total_seconds() * 1000)
        from_ms = time_ms - (time_ms + offset_ms) % HOUR_MS
        return Span(from_ms, from_ms + HOUR_MS)
    first = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    if per == "week":
        first -= timedelta(days=first.weekday())
    elif per == "month":
        first = first.replace(day=1)
    days = {"day": 1, "week": 7, "month": 32}[per]
    following = first + timedelta(days=days)
    if per == "month":
        following = following.replace(day=1)
    return Span(round(first.replace(tzinfo=tz).timestamp() * 1000), round(following.replace(tzinfo=tz).timestamp() * 1000))


class Calendar:
    """`window_of`, remembering the window that is open of each kind: nearly every moment asked for lies in it."""

    def __init__(self) -> None:
        self._open: dict[tuple[Per, str], Span] = {}

    def window(self, per: Per, time_zone: str, time_ms: int) -> Span:
        """As `window_of`."""
        span = self._open.get((per, time_zone))
        if span is None or not span.from_ms <= time_ms < span.until_ms:
            span = self._open[per, time_zone] = window_of(per, time_zone, time_ms)
        return span


def share_in(amount: int, told: Span, window: Span) -> int:
    """How much of a usage belongs to a window, when all that is known is between which moments it came about.

    The rule: it is spread evenly over the time between the two records that tell of it, and each window gets what falls into it. A usage of
    no length belongs to the window in which it ends.

    Args:
        amount: octets or milliseconds.
        told: between the record before and this one.
        window: the window asked about.
    """
    length_ms = told.until_ms - told.from_ms
    if length_ms <= 0:
        return amount if window.from_ms <= told.until_ms < window.until_ms else 0
    common_ms = min(told.until_ms, window.until_ms) - max(told.from_ms, window.from_ms)
    return amount * max(0, common_ms) // length_ms
