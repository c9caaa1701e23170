"""How many at a time: does a newcomer breach a limit, and who goes? Pure: (limits, the identity's sessions, newcomer) -> verdict.

Behaviours 4.1, 4.2, 4.4, 4.5. This version decides the limits of a user; those of groups and guest types stand in the policy until the
group agent counts them.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.policy import Limit
from schemas.session import Hold, SessionRow

ENFORCED = ("user",)
"""`applies_to` values that this version decides."""
IN_FLIGHT = ("requested", "acknowledged")
"""A session whose disconnect is under way holds no slot."""


class Breach(NamedTuple):
    """A limit said no.

    Attributes:
        current: how many were open before the newcomer.
        victims: whose disconnect follows; empty for a rule that only reports.
        text: the sentence with the figures.
    """

    limit: Limit
    current: int
    victims: list[SessionRow]
    text: str


class Verdict(NamedTuple):
    """The first breach, if any, and the rules that the newcomer passed with their counts."""

    breach: Breach | None
    passed: list[str]


def counts(row: SessionRow) -> bool:
    """Whether a session takes part in the counts: open, heard of freshly, and not being disconnected."""
    return row.state != "ended" and row.counts and row.kick_state not in IN_FLIGHT


def decide(limits: tuple[Limit, ...], newcomer: SessionRow, others: list[SessionRow], holds: tuple[Hold, ...], clock_ms: int) -> Verdict:
    """Ask the limits in the policy's order; the first that fails is the named reason.

    Args:
        limits: the policy's.
        newcomer: the session that has just begun; its row says `counts`.
        others: the identity's other sessions that count.
        holds: devices of this identity that may not evict now.
        clock_ms: the partition's clock, for the holds.
    """
    passed: list[str] = []
    for limit in limits:
        if limit.applies_to not in ENFORCED:
            continue
        current = _count(limit, others)
        if _has_slot(limit, newcomer, others) or current < limit.max_sessions:
            passed.append(f"{limit.name}: {current} open of {limit.max_sessions} allowed")
            continue
        held = _is_held(limit, newcomer, holds, clock_ms)
        victims = [newcomer] if held and limit.victim != "none" else _victims(limit, newcomer, others)
        text = f"user limit {limit.name}: {current} open of {limit.max_sessions} allowed"
        if held:
            text += "; this device was evicted by it a moment ago"
        return Verdict(Breach(limit, current, [] if limit.action == "report" else victims, text), passed)
    return Verdict(None, passed)


def still_over(limit: Limit, row: SessionRow, others: list[SessionRow]) -> bool:
    """Whether a session that was to go for this limit still has to, after its disconnect could not be carried out in time."""
    return not _has_slot(limit, row, others) and _count(limit, others) >= limit.max_sessions


def _slot(limit: Limit, row: SessionRow) -> str | int:
    """What a session occupies: its device, or (without a MAC, or where sessions are counted) itself."""
    return row.device if limit.count == "devices" and row.device is not None else row.opened_offset


def _count(limit: Limit, rows: list[SessionRow]) -> int:
    return len({_slot(limit, row) for row in rows}) if rows else 0


def _has_slot(limit: Limit, newcomer: SessionRow, others: list[SessionRow]) -> bool:
    return any(_slot(limit, row) == _slot(limit, newcomer) for row in others)


def _is_held(limit: Limit, newcomer: SessionRow, holds: tuple[Hold, ...], clock_ms: int) -> bool:
    return any(h.device == newcomer.device and h.rule == limit.name and clock_ms < h.until_ms for h in holds)


def _victims(limit: Limit, newcomer: SessionRow, others: list[SessionRow]) -> list[SessionRow]:
    """Who goes so that the newcomer finds a slot: all sessions of one device. Who was over the limit before is left (`on_change`)."""
    if limit.victim == "none":
        return []
    if limit.victim == "all-others":
        return sorted(others, key=_age)
    rows = sorted([*others, newcomer], key=_idleness if limit.victim == "least-recently-active" else _age)
    going = _slot(limit, rows[-1] if limit.victim == "newest" else rows[0])
    return [row for row in rows if _slot(limit, row) == going]


def _age(row: SessionRow) -> tuple[int, int]:
    return row.order_ms, row.opened_offset


def _idleness(row: SessionRow) -> tuple[int, int]:
    return row.last_seen_ms, row.opened_offset
