"""How many at a time: does a newcomer breach a limit, and who goes? Pure: (rules, the identity's sessions, newcomer) -> verdict.

Behaviours 4.1 to 4.5. What is decided here is what one partition knows: limits of a user, of a user in a group, of a guest type. A limit of
a whole group is the group agent's; when it is asked, in the fixed order, is `limiting`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.policy import Limit
from schemas.session import Hold, IdentityRow, SessionRow
from streams.memberships import groups_of
from streams.merge import text_key
from streams.rulebook import Asked, Rulebook, passed_text

IN_FLIGHT = ("requested", "acknowledged")
"""A session whose disconnect is under way holds no slot."""


class Scene(NamedTuple):
    """What a question rests on beside the sessions.

    Attributes:
        book: the policy. known: the identity's row: its groups, and the devices that may not evict now.
        clock_ms: the partition's clock, for holds and counter time limits.
    """

    book: Rulebook
    known: IdentityRow
    clock_ms: int


class Breach(NamedTuple):
    """A limit said no.

    Attributes:
        current: how many were open before the newcomer.
        counted: the sessions that it counted, oldest record first.
        victims: whose disconnect follows; empty for a rule that only reports.
        text: the sentence with the figures.
    """

    asked: Asked
    current: int
    counted: list[SessionRow]
    victims: list[SessionRow]
    text: str


class Verdict(NamedTuple):
    """The first breach of a rule that disconnects, if any; breaches of rules that only report; the rules passed, with their counts."""

    breach: Breach | None
    reported: list[Breach]
    passed: list[str]


def counts(row: SessionRow) -> bool:
    """Whether a session takes part in the counts: open, heard of freshly, and not being disconnected."""
    return row.state != "ended" and row.counts and row.kick_state not in IN_FLIGHT


def acts(limit: Limit) -> bool:
    """Whether somebody goes when the limit is breached; else it only reports, and hides no limit behind it."""
    return limit.action == "disconnect" and limit.victim != "none"


def cannot_go(row: SessionRow) -> bool:
    """Whether its disconnect has failed: it holds its slot again, and no limit orders it to go in somebody else's place once more."""
    return row.kick_state in ("refused", "unanswered", "unconfirmed")


def counts_in(scene: Scene, asked: Asked, row: SessionRow) -> bool:
    """Whether a session of an identity that takes part in the counts is counted by this limit.

    Not where the limit leaves it alone (`except`, another group), nor when its counter time limit is over, nor when it breached this limit
    and was let be (behaviour 4.3).
    """
    limit = asked.limit
    if limit.name in row.breached:
        return False
    if limit.counter_time_limit_s and scene.clock_ms - row.opened_clock_ms >= limit.counter_time_limit_s * 1000:
        return False
    if limit.applies_to == "user" and not limit.exempt:
        return True
    return (limit.name, asked.group) in scene.book.questions(groups_of(scene.known, row)).keys


def decide(scene: Scene, questions: Iterable[Asked], newcomer: SessionRow, others: Sequence[SessionRow]) -> Verdict:
    """Ask limits in their order; the first that fails and disconnects is the named reason.

    Args:
        scene: the policy, the identity, the time.
        questions: the limits to ask, of `Rulebook.questions`.
        newcomer: the session that has just begun; its row says `counts`.
        others: the identity's other sessions that count (`counts`).
    """
    passed: list[str] = []
    reported: list[Breach] = []
    for asked in questions:
        limit = asked.limit
        counted = [other for other in others if counts_in(scene, asked, other)]
        current = slots_taken(limit, counted)
        if _has_slot(limit, newcomer, counted) or current < limit.max_sessions:
            passed.append(passed_text(asked, current, limit.max_sessions))
            continue
        text = breach_text(asked, current, limit.max_sessions)
        if not acts(limit):
            reported.append(Breach(asked, current, counted, [], text))
            continue
        held = is_held(limit, newcomer, scene.known.holds, scene.clock_ms)
        if held:
            text += "; this device was evicted by it a moment ago"
        victims = [newcomer] if held else choose(limit, newcomer, counted)
        return Verdict(Breach(asked, current, counted, victims, text), reported, passed)
    return Verdict(None, reported, passed)


def still_over(scene: Scene, asked: Asked, row: SessionRow, others: Sequence[SessionRow]) -> bool:
    """Whether a session that was to go for this limit still has to, after its disconnect could not be carried out in time."""
    counted = [other for other in others if counts_in(scene, asked, other)]
    return not _has_slot(asked.limit, row, counted) and slots_taken(asked.limit, counted) >= asked.limit.max_sessions


def surplus(asked: Asked, counted: Sequence[SessionRow]) -> list[SessionRow]:
    """Who goes when a limit comes (`on_change = "enforce"`) and finds too many: as many slots as are over it, chosen as its victims are.

    For `all-others`, as for `oldest`, the newest stay.

    Args:
        asked: the limit.
        counted: one identity's sessions that it counts.
    """
    limit = asked.limit
    if limit.victim == "least-recently-active":
        slots = list(dict.fromkeys(_slot(limit, row) for row in sorted(counted, key=_idleness, reverse=True)))[::-1]
    else:
        slots = list(dict.fromkeys(_slot(limit, row) for row in sorted(counted, key=_age)))
    over = max(0, len(slots) - limit.max_sessions)
    going = set(slots[len(slots) - over :] if limit.victim == "newest" else slots[:over])
    return [row for row in sorted(counted, key=_age) if _slot(limit, row) in going]


def breach_text(asked: Asked, current: int, most: int) -> str:
    """The reason as a sentence with the figures (behaviour 4.9)."""
    return f"{asked.limit.applies_to} limit {passed_text(asked, current, most)}"


def is_held(limit: Limit, newcomer: SessionRow, holds: Iterable[Hold], clock_ms: int) -> bool:
    """Whether the newcomer's device was evicted by this limit a moment ago, and so evicts nobody in turn."""
    return any(h.device == newcomer.device and h.rule == limit.name and clock_ms < h.until_ms for h in holds)


def choose(limit: Limit, newcomer: SessionRow, others: Sequence[SessionRow]) -> list[SessionRow]:
    """Who goes so that the newcomer finds a slot: all sessions of one device. Who was over the limit before is left (`on_change`).

    Slots of sessions that cannot be disconnected are left too; where no other is, the newcomer goes.
    """
    stuck = {_slot(limit, row) for row in others if cannot_go(row)}
    others = [row for row in others if _slot(limit, row) not in stuck]
    if limit.victim == "all-others":
        return sorted(others, key=_age) or [newcomer]
    rows = sorted([*others, newcomer], key=_idleness if limit.victim == "least-recently-active" else _age)
    going = _slot(limit, rows[-1] if limit.victim == "newest" else rows[0])
    return [row for row in rows if _slot(limit, row) == going]


def _slot(limit: Limit, row: SessionRow) -> str | tuple[str, int | str]:
    """What a session occupies: its device, or (without a MAC, or where sessions are counted) itself and what it roams with (2.5)."""
    if limit.count == "devices" and row.device is not None:
        return row.device
    joined = row.acct_multi_session_id or row.audit_session_id
    return (row.identity, row.opened_offset) if joined is None else (row.identity, text_key(joined))


def slots_taken(limit: Limit, rows: Sequence[SessionRow]) -> int:
    """How many slots of a limit these sessions take together."""
    return len({_slot(limit, row) for row in rows}) if rows else 0


def _has_slot(limit: Limit, newcomer: SessionRow, others: Sequence[SessionRow]) -> bool:
    return any(_slot(limit, row) == _slot(limit, newcomer) for row in others)


def _age(row: SessionRow) -> tuple[int, int]:
    return row.order_ms, row.opened_offset


def _idleness(row: SessionRow) -> tuple[int, int]:
    return row.last_seen_ms, row.opened_offset
