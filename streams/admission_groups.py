"""How full groups are before a login: the group agent's own counting over the live view and the reservations (behaviours 4.1, 4.8). Pure.

Law of this file: the sessions' rows say in which groups they hold slots, so the view's rows are counted by `group_table` and asked by
`group_limits` as the group agent counts its own; a reservation is a slot as well. Nothing is decided about a session here.

A session of which only an event is known yet is counted in the groups that an operator gave its user; those that its records tell are
known with its row. The clock is the caller's: what counts is a session's age on its partition's clock when its row came.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from schemas.group import SlotRow, Standing, slot_key
from schemas.policy import Limit
from schemas.session import SessionRow
from streams import group_limits, limits
from streams.group_table import GroupTable
from streams.rulebook import Asked, passed_text

_NEWCOMER = "?"
"""A session key that no session has."""


class Answered(NamedTuple):
    """What the groups say.

    Attributes:
        refused: the limit that has no slot for the newcomer, and how it stands; None: all have.
        passed, reported: what is told of the others.
    """

    refused: Asked | None
    standing: Standing | None
    passed: list[str]
    reported: list[str]


class GroupCounts:
    """Who holds slots in which groups."""

    def __init__(self) -> None:
        self._table = GroupTable()
        self._limits: tuple[Limit, ...] = ()

    def __len__(self) -> int:
        return len(self._table.rows)

    def hold(self, key: str, row: SessionRow, groups: Iterable[str], began_ms: int) -> None:
        """A session (or what stands for one) has a slot in each of these groups.

        Args:
            key: names it: a session's key in `session.table`, a reservation's id.
            row: whose, on which device, since when.
            groups: without guest types.
            began_ms: when it began, on the caller's clock.
        """
        for group in groups:
            self._put(slot_key(group, row.identity, key), _slot(group, key, row, began_ms))

    def free(self, key: str, identity: str, groups: Iterable[str]) -> None:
        """It has them no longer."""
        for group in groups:
            self._put(slot_key(group, identity, key), None)

    def under(self, policy: tuple[Limit, ...]) -> bool:
        """Count by these limits from here on.

        Returns:
            Whether they are others than before.
        """
        if policy == self._limits:
            return False
        self._limits = policy
        self._table.index_all(policy)
        return True

    def names(self) -> list[str]:
        """The groups in which anybody has a slot."""
        return self._table.names()

    def figures(self, group: str, now_ms: int) -> dict[str, tuple[int, bool]]:
        """For each limit that counts a group: the slots that are taken, and whether one of them can be made free for a stranger."""
        self._table.advance(now_ms)
        tallies = self._table.tallies(group) if self._table.size(group) else ()
        return {tally.limit.name: (tally.current, bool(tally.oldest((), self._table.rows))) for tally in tallies}

    def ask(
        self,
        asked: Iterable[Asked],
        newcomer: SessionRow,
        held: Iterable[str],
        now_ms: int,
        policy: tuple[Limit, ...],
        *,
        leaving: Iterable[str] = (),
    ) -> Answered:
        """Whether each group has a slot for a newcomer; the first that has none is the answer.

        Args:
            asked: the limits of groups that touch it, in their order.
            newcomer: the session that is about to begin.
            held: limits that evicted its device a moment ago.
            now_ms: the caller's clock.
            policy: all limits in force.
            leaving: what stands for the newcomer already, by its key.
        """
        self.under(policy)
        leaving = tuple(leaving)
        self._table.advance(now_ms)
        passed: list[str] = []
        reported: list[str] = []
        held = tuple(held)
        groups = {each.group: None for each in asked}
        by_name = {(each.limit.name, each.group): each for each in asked}
        for group in groups:
            row = _slot(group, _NEWCOMER, newcomer, now_ms)
            key = slot_key(group, newcomer.identity, _NEWCOMER)
            gone = [slot_key(group, newcomer.identity, each) for each in leaving]
            found = group_limits.decide(self._table.tallies(group), self._table.rows, (key, row), gone, held)
            known = [(by_name.get((each.limit, group)), each) for each in found.passed]
            passed += [passed_text(limit, each.current, each.max) for limit, each in known if limit is not None]
            told = [(by_name.get((each.limit, group)), each) for each in found.reported]
            reported += [limits.breach_text(limit, each.current, each.max) for limit, each in told if limit is not None]
            refusal = found.refused
            if refusal is not None and (limit := by_name.get((refusal.limit, group))) is not None:
                return Answered(limit, refusal, passed, reported)
        return Answered(None, None, passed, reported)

    def _put(self, key: str, row: SlotRow | None) -> None:
        if row is not None or key in self._table.rows:
            self._table.store(key, row)
            self._table.touched.clear()  # nothing is written from here


def _slot(group: str, key: str, row: SessionRow, began_ms: int) -> SlotRow:
    return SlotRow(
        group,
        row.identity,
        key,
        row.device,
        row.order_ms,
        began_ms,
        row.groups,
        row.breached,
        limits.cannot_go(row),
        offset=row.opened_offset,
    )
