"""The slots of one partition's groups in memory, and for each limit of a group the tally of who counts in it.

Law of this file: rows in, counts out. Every index follows from the rows, the limits in force and the clock, so a restored table counts as
the one that was lost. Who may come in and who goes is decided in `group_limits`.

A slot is a device of an identity, or (`count = "sessions"`, or without a MAC) a session by itself. A session is out of a limit's tally when
the limit leaves it alone (`except`), when it has breached it before, and once it is older than the counter time limit; it keeps its row.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator

from schemas.group import SLOT_ROW, GroupRow, SlotMessage, SlotRow, group_key
from schemas.policy import Limit
from streams.rulebook import fits, is_exempt
from streams.table import ROWS_AT_ONCE

BY_AGE = ("oldest", "least-recently-active", "all-others")
"""Victims that a limit of `victim_scope = "group"` takes from the group. Nobody's activity is known here: the oldest goes."""

_pack = SLOT_ROW.packed
_unpack = SLOT_ROW.unpacked

Age = tuple[int, int, int, str]
"""(order_ms, source partition, offset, key): the order in which sessions began, the same wherever it is asked."""


def row_of(message: SlotMessage, slot_offset: int, clock_ms: int) -> SlotRow:
    """The row that a take or hold leads to.

    Args:
        message: what the session agent said.
        slot_offset: where in `group.slots`.
        clock_ms: the partition's clock.
    """
    return SlotRow(
        message.group,
        message.identity,
        message.session,
        message.device,
        message.order_ms,
        clock_ms - message.age_ms,
        tuple(message.groups),
        (),
        message.stays,
        clock_ms,
        message.partition,
        message.offset,
        slot_offset,
    )


def age_of(key: str, row: SlotRow) -> Age:
    """A session's place in that order."""
    return row.order_ms, row.partition, row.offset, key


STALE_MAX = 64
"""Entries by age, beside as many again as sessions count, that may be of those who left or were put anew."""


class Tally:
    """Who counts in one limit of one group.

    Attributes:
        limit: the rule. slots: the keys of the sessions in each slot. slot_of: each counted session's slot.
    """

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.slots: dict[str, tuple[str, ...]] = {}
        self.slot_of: dict[str, str] = {}
        self._oldest: list[Age] = []
        self._ages: dict[str, Age] = {}
        self._evicts = limit.victim_scope == "group" and limit.victim in BY_AGE

    @property
    def current(self) -> int:
        """How many slots are taken."""
        return len(self.slots)

    def slot(self, key: str, row: SlotRow) -> str:
        """What a session occupies."""
        return f"{row.identity}/{row.device}" if self.limit.count == "devices" and row.device is not None else key

    def add(self, key: str, row: SlotRow) -> None:
        """The session counts."""
        slot = self.slot_of[key] = self.slot(key, row)
        self.slots[slot] = (*self.slots.get(slot, ()), key)
        if self._evicts and not row.stays:
            self._ages[key] = age = age_of(key, row)
            heapq.heappush(self._oldest, age)
            if len(self._oldest) > 2 * len(self._ages) + STALE_MAX:  # most are of those who left, or were put anew
                self._oldest = list(self._ages.values())
                heapq.heapify(self._oldest)

    def remove(self, key: str) -> None:
        """The session counts no longer; if it did not, nothing changes."""
        slot = self.slot_of.pop(key, None)
        if slot is None:
            return
        self._ages.pop(key, None)
        left = tuple(other for other in self.slots[slot] if other != key)
        if left:
            self.slots[slot] = left
        else:
            del self.slots[slot]

    def freed(self, leaving: Collection[str]) -> set[str]:
        """The slots that are free when these sessions have left."""
        slots = {self.slot_of[key] for key in leaving if key in self.slot_of}
        return {slot for slot in slots if all(key in leaving for key in self.slots[slot])}

    def oldest(self, leaving: Collection[str], rows: dict[str, bytes]) -> tuple[str, ...]:
        """The sessions of the oldest slot that may be chosen, beside those that leave anyway; none if there is no such slot.

        A slot of which a session stays may not: it would not be free when the others have left.
        """
        passed_over: list[Age] = []
        found: tuple[str, ...] = ()
        while self._oldest and not found:
            entry = self._oldest[0]
            key = entry[3]
            row = _unpack(rows[key]) if key in self.slot_of else None
            if row is None or row.stays or age_of(key, row) != entry:
                heapq.heappop(self._oldest)  # it left, cannot be disconnected, or was put anew by another record
            elif key in leaving or any(_unpack(rows[other]).stays for other in self._beside(key, leaving)):
                passed_over.append(heapq.heappop(self._oldest))
            else:
                found = tuple(other for other in self.in_slot(self.slot_of[key]) if other not in leaving)
        for entry in passed_over:
            heapq.heappush(self._oldest, entry)
        return found

    def in_slot(self, slot: str) -> list[str]:
        """Its sessions in the order of their keys: that in which they came is forgotten by a restore."""
        return sorted(self.slots[slot])

    def by_age(self, rows: dict[str, bytes], leaving: Collection[str] = ()) -> list[Age]:
        """Every counted session that may be chosen, as `oldest` says it, oldest first."""
        counted = [(key, _unpack(rows[key])) for key in self.slot_of if key not in leaving]
        stuck = {self.slot_of[key] for key, row in counted if row.stays}
        return sorted(age_of(key, row) for key, row in counted if self.slot_of[key] not in stuck)

    def _beside(self, key: str, leaving: Collection[str]) -> Iterator[str]:
        return (other for other in self.slots[self.slot_of[key]] if other != key and other not in leaving)


class GroupTable:
    """One partition's rows.

    Attributes:
        rows: packed rows of slots by their key in `group.table`. groups: what is kept of a group beside them.
        clock_ms: the partition's clock, as of the last tick.
        touched: keys to be written at the next checkpoint.
    """

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.groups: dict[str, GroupRow] = {}
        self.clock_ms = 0
        self.touched: dict[str, None] = {}
        self._limits: tuple[Limit, ...] = ()
        self._tallies: dict[str, tuple[Tally, ...]] = {}
        self._sizes: dict[str, int] = {}
        self._ageing: list[tuple[int, str, str]] = []
        self._heard: dict[int, dict[str, None]] = {}

    def row(self, key: str) -> SlotRow | None:
        """A slot's row."""
        packed = self.rows.get(key)
        return None if packed is None else _unpack(packed)

    def names(self) -> list[str]:
        """The groups that have slots, in the order of the alphabet."""
        return sorted(self._sizes)

    def tallies(self, group: str) -> tuple[Tally, ...]:
        """The tallies of a group, in the policy's order."""
        tallies = self._tallies.get(group)
        return tuple(Tally(limit) for limit in self._limits if fits(limit.group, group)) if tallies is None else tallies

    def size(self, group: str) -> int:
        """How many sessions are in a group, whatever counts them."""
        return self._sizes.get(group, 0)

    def store(self, key: str, row: SlotRow | None) -> None:
        """Put a slot's row, or forget it, and keep the tallies right."""
        before = self.row(key)
        if before is not None:
            self._leave(key, before)
            del self.rows[key]
        if row is not None:
            self.rows[key] = _pack(row)
            self._enter(key, row)
        self.touched[key] = None

    def asked_for(self, key: str, row: SlotRow) -> None:
        """Put a row of which nothing but `heard_ms` is new: the tallies stay as they are."""
        before = _unpack(self.rows[key])
        self._forget_heard(key, before)
        self.rows[key] = _pack(row)
        self._heard.setdefault(row.heard_ms, {})[key] = None
        self.touched[key] = None

    def put_group(self, row: GroupRow) -> None:
        """What is kept of a group."""
        self.groups[row.group] = row
        self.touched[group_key(row.group)] = None

    def forget_group(self, group: str) -> None:
        """Nothing is to be kept of a group."""
        del self.groups[group]
        self.touched[group_key(group)] = None

    def indexing(self, limits: tuple[Limit, ...]) -> Iterator[None]:
        """Build every index from the rows, after a restore or when the policy has changed, a piece at each step."""
        self._limits = tuple(limit for limit in limits if limit.applies_to == "group")
        self._tallies, self._sizes, self._ageing, self._heard = {}, {}, [], {}
        for number, (key, packed) in enumerate(self.rows.items()):
            if number % ROWS_AT_ONCE == 0:
                yield
            self._enter(key, _unpack(packed))

    def index_all(self, limits: tuple[Limit, ...]) -> None:
        """As `indexing`, in one go."""
        for _ in self.indexing(limits):
            pass

    def advance(self, clock_ms: int) -> None:
        """Time goes on: sessions that are older than a counter time limit leave its tally (behaviour 4.3)."""
        self.clock_ms = clock_ms
        while self._ageing and self._ageing[0][0] <= clock_ms:
            _, key, name = heapq.heappop(self._ageing)
            row = self.row(key)
            if row is None:
                continue
            for tally in self.tallies(row.group):
                if tally.limit.name == name and _until_ms(tally.limit, row) <= clock_ms:
                    tally.remove(key)

    def unheard(self, until_ms: int, most: int) -> Iterator[tuple[str, SlotRow]]:
        """The slots that were last heard of until then, those of longest ago first, at most so many."""
        due = sorted(heard_ms for heard_ms in self._heard if heard_ms <= until_ms)
        for heard_ms in due:
            for key in sorted(self._heard[heard_ms])[:most]:
                most -= 1
                yield key, _unpack(self.rows[key])
            if most <= 0:
                return

    def _enter(self, key: str, row: SlotRow) -> None:
        group = row.group
        if group not in self._tallies:
            self._tallies[group] = self.tallies(group)
        self._sizes[group] = self._sizes.get(group, 0) + 1
        self._heard.setdefault(row.heard_ms, {})[key] = None
        for tally in self._tallies[group]:
            limit = tally.limit
            if limit.name in row.breached or (limit.exempt and is_exempt(limit, row.groups)):
                continue
            if limit.counter_time_limit_s:
                until_ms = _until_ms(limit, row)
                if until_ms <= self.clock_ms:
                    continue
                heapq.heappush(self._ageing, (until_ms, key, limit.name))
            tally.add(key, row)

    def _leave(self, key: str, row: SlotRow) -> None:
        group = row.group
        self._forget_heard(key, row)
        for tally in self._tallies[group]:
            tally.remove(key)
        self._sizes[group] -= 1
        if not self._sizes[group]:
            del self._sizes[group], self._tallies[group]

    def _forget_heard(self, key: str, row: SlotRow) -> None:
        bucket = self._heard[row.heard_ms]
        del bucket[key]
        if not bucket:
            del self._heard[row.heard_ms]


def _until_ms(limit: Limit, row: SlotRow) -> int:
    """Until when a session counts, on the partition's clock."""
    return row.began_ms + limit.counter_time_limit_s * 1000
