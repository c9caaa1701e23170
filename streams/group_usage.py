"""Quotas and rates of whole groups (behaviours 4.6, 4.7): what the session agents tell of is added up in the group's row.

The rules themselves are those of users: `quotas`, `rates`; the windows those of `windows`, by this partition's ticks. Pure: (the group's
row, a message, the rules, the time) -> the row, and what is to be said. A row of which nothing matters any longer goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from msgspec.structs import replace

from schemas.group import GroupRow, SlotMessage
from schemas.journal import QuotaOrder
from streams import quotas, rates
from streams.rulebook import Rulebook
from streams.step import RecordRefused
from streams.windows import Span


class News(NamedTuple):
    """What the session agents are to be told.

    Attributes:
        op: as in the verdict. rule: the quota's or rate's name. until_ms: when the window closes, for a quota.
        current, max: octets, seconds or Starts. text: the sentence with the figures. extra: what of `max` an operator gave on top.
    """

    op: Literal["spent", "warned", "exceeded", "freed"]
    rule: str
    current: int
    max: int
    text: str
    until_ms: int = 0
    extra: int = 0


def used(known: GroupRow, message: SlotMessage, book: Rulebook, now_ms: int) -> tuple[GroupRow, list[News]]:
    """Add what a record told of a session's usage.

    Args:
        known: the group's row.
        message: its op is `use`.
        book: the policy.
        now_ms: the log's wall clock in this partition.
    """
    rules = book.questions((known.group,)).group_quotas
    if not rules:
        return known, []
    grown, told = (message.octets, message.used_ms), Span(now_ms - message.over_ms, now_ms)
    windows, met = quotas.count(known, rules, book.calendar, grown, told)
    return replace(known, windows=windows), [news for stand, each in met for news in _news(stand, each)]


def began(known: GroupRow, book: Rulebook, clock_ms: int) -> tuple[GroupRow, list[News]]:
    """Count a Start.

    Args:
        known: the group's row.
        book: the policy.
        clock_ms: the partition's.
    """
    rules = book.questions((known.group,)).group_rates
    if not rules:
        return known, []
    recent, exceeded = rates.count(known, rules, clock_ms)
    news = [News("exceeded", rate.name, before, rate.starts, rates.sentence(rate, known.group, before)) for rate, _, before in exceeded]
    return replace(known, recent=recent), news


def ordered(known: GroupRow, order: QuotaOrder, book: Rulebook, now_ms: int) -> tuple[GroupRow, list[News]]:
    """Carry out an operator's order about the window that is open.

    Args:
        known: the group's row.
        order: what was said.
        book: the policy.
        now_ms: the log's wall clock in this partition.

    Raises:
        RecordRefused: no such quota of the group is in the policy.
    """
    quota = next((quota for quota, _ in book.questions((known.group,)).group_quotas if quota.name == order.rule), None)
    if quota is None:
        raise RecordRefused("unknown-rule", f"the policy in force has no quota named {order.rule!r} of the group {known.group!r}")
    before = quotas.window_of(known, quota, known.group, book.calendar, now_ms)
    after = quotas.ordered(quota, before, order)
    if after is before:
        return known, []
    is_freed = before.reached and not after.reached
    windows = quotas.keep(known, [after], now_ms)
    return replace(known, windows=windows), [_told("freed", quotas.Stand(quota, known.group, after))] if is_freed else []


def left(known: GroupRow, now_ms: int, clock_ms: int) -> GroupRow | None:
    """A group's row with what matters of it at a tick; None: nothing does."""
    windows = tuple(window for window in known.windows if now_ms < window.until_ms)
    recent = tuple(each for each in known.recent if clock_ms < each.until_ms)
    if (windows, recent) != (known.windows, known.recent):
        known = replace(known, windows=windows, recent=recent)
    return None if known == GroupRow(known.group) else known


def _news(stand: quotas.Stand, met: quotas.Met) -> Iterator[News]:
    if met.share:
        yield _told("warned", stand, f"; {met.share} % are reached")
    if met.is_reached:
        yield _told("spent", stand)


def _told(op: Literal["spent", "warned", "freed"], stand: quotas.Stand, more: str = "") -> News:
    quota, window = stand.quota, stand.window
    unit, text = quotas.unit(quota), quotas.sentence(stand) + more
    return News(op, quota.name, window.used // unit, quotas.most(quota, window) // unit, text, window.until_ms, window.extra // unit)
