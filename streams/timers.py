"""Keys by a time in the future: those far away in slots, as on a timing wheel, those near in a heap (DESIGN.md, the index of deadlines).

Law of this file: an entry is a hint. It never lies after its key's true time, and who takes one asks for the true time first; so
sessions come up in the order of their true times, then keys, whatever slot they waited in. What rests for an hour costs a word in a list
and no pair with a number of its own: there are millions of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Timers:
    """Keys in the order of their times, milliseconds on one clock.

    Args:
        slot_ms: how wide a slot is. All keys of a slot are asked for their true times at once when the clock reaches it, so it is to be
            narrow where many keys share a clock.
    """

    __slots__ = ("_far", "_near", "_poured", "_slot_ms", "_slots")

    def __init__(self, slot_ms: int) -> None:
        self._slot_ms = slot_ms
        self._far: dict[int, str | list[str]] = {}
        self._slots: list[int] = []  # the numbers of those in `_far`, a heap
        self._near: list[tuple[int, str]] = []
        self._poured: int | None = None  # the last slot that went into `_near`; what belongs there or before is near

    def __len__(self) -> int:
        """How many entries wait; a key may have several."""
        return len(self._near) + sum(1 if isinstance(keys, str) else len(keys) for keys in self._far.values())

    def add(self, at_ms: int, key: str) -> None:
        """A key may come up at this time."""
        slot = at_ms // self._slot_ms
        if self._poured is not None and slot <= self._poured:
            heapq.heappush(self._near, (at_ms, key))
            return
        keys = self._far.get(slot)
        if keys is None:
            heapq.heappush(self._slots, slot)
            self._far[slot] = key
        elif isinstance(keys, str):
            self._far[slot] = [keys, key]
        else:
            keys.append(key)

    def take(self, until_ms: int, true_ms: Callable[[str], int | None]) -> str | None:
        """Take the key whose true time is first, not after `until_ms`; None: there is none.

        Args:
            until_ms: the clock.
            true_ms: (key) -> its true time, or None: it has none any more, and its entry goes.
        """
        while True:
            while self._slots and self._slots[0] * self._slot_ms <= until_ms:
                self._pour()
            near = self._near
            if not near or near[0][0] > until_ms:
                return None
            entry = heapq.heappop(near)
            while near and near[0] == entry:
                heapq.heappop(near)
            at_ms = true_ms(entry[1])
            if at_ms is not None:
                if at_ms <= entry[0]:
                    return entry[1]
                self.add(at_ms, entry[1])

    def _pour(self) -> None:
        self._poured = slot = heapq.heappop(self._slots)
        keys, from_ms = self._far.pop(slot), slot * self._slot_ms
        for key in (keys,) if isinstance(keys, str) else keys:
            heapq.heappush(self._near, (from_ms, key))
