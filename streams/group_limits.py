"""May a session have a slot in a group? Pure: (the group's tallies, the newcomer) -> who comes in, who goes, and how each limit stood.

Behaviours 4.1 to 4.5 for `applies_to = "group"`: the limits are asked in the policy's order, and the first that fails is the named reason.
Whether one of the newcomer's own sessions goes in its place the session agent decides (`victim_scope = "user"`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from schemas.group import SlotRow, Standing
from schemas.policy import Limit
from streams.group_table import BY_AGE, Tally
from streams.rulebook import is_exempt


class Decision(NamedTuple):
    """How a take was decided.

    Attributes:
        refused: the limit that refuses, if any does; then nobody is evicted. passed, reported: the others that were asked.
        evicted: sessions that have to go, each with the limit that wants it.
        gone: for each limit that was breached, by name: the sessions that it no longer counted.
    """

    refused: Standing | None
    passed: list[Standing]
    reported: list[Standing]
    evicted: dict[str, Standing]
    gone: dict[str, set[str]]


def decide(
    tallies: Collection[Tally],
    rows: dict[str, bytes],
    newcomer: tuple[str, SlotRow],
    leaving: Collection[str],
    held: Collection[str] | None,
) -> Decision:
    """Ask the limits of a group for a session that wants a slot.

    Args:
        tallies: of the group, in the policy's order.
        rows: of the table, packed.
        newcomer: its key and the row it would have.
        leaving: sessions that leave the group before.
        held: limits for which it may evict nobody; None: it may not for any.
    """
    key, row = newcomer
    decision = Decision(None, [], [], {}, {})
    for tally in tallies:
        limit = tally.limit
        if limit.exempt and is_exempt(limit, row.groups):
            continue
        gone = {*leaving, *decision.evicted}
        slot = tally.slot(key, row)
        if tally.slot_of.get(key, slot) != slot:
            gone.add(key)  # it is another device by now
        freed = tally.freed(gone)
        current = tally.current - len(freed)
        standing = Standing(limit.name, current, limit.max_sessions)
        if current < limit.max_sessions or (slot in tally.slots and slot not in freed):
            decision.passed.append(standing)
            continue
        decision.gone[limit.name] = gone
        if limit.action == "report" or limit.victim == "none":
            decision.reported.append(standing)
        elif victims := _victims(tally, rows, gone, held):
            decision.evicted.update(dict.fromkeys(victims, standing))
            decision.passed.append(standing)
        else:
            return Decision(standing, decision.passed, decision.reported, {}, decision.gone)
    return decision


def _victims(tally: Tally, rows: dict[str, bytes], gone: set[str], held: Collection[str] | None) -> tuple[str, ...]:
    limit = tally.limit
    if limit.victim_scope != "group" or limit.victim not in BY_AGE or held is None or limit.name in held:
        return ()
    oldest = tally.oldest(gone, rows)
    if oldest and limit.victim == "all-others":
        return tuple(key for *_, key in tally.by_age(rows, gone))
    return oldest


def surplus(tally: Tally, rows: dict[str, bytes], most: int) -> list[str]:
    """Who goes so that a limit which has become stricter holds: whole slots, at most so many sessions in one go."""
    over = tally.current - tally.limit.max_sessions
    going: dict[str, None] = {}
    by_age = tally.by_age(rows) if over > 0 else []
    for *_, key in reversed(by_age) if tally.limit.victim == "newest" else by_age:
        if not over or len(going) >= most:
            break
        if key not in going:
            going.update(dict.fromkeys(tally.in_slot(tally.slot_of[key])))
            over -= 1
    return list(going)


def is_stricter(limit: Limit, before: tuple[Limit, ...]) -> bool:
    """Whether a limit of a newer policy has to be enforced on those who are in already (`on_change`)."""
    return limit.on_change == "enforce" and limit.action == "disconnect" and limit.victim != "none" and limit not in before
