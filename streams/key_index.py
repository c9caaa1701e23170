"""Which sessions have something in common: an index from it to their keys.

Law of this file: nearly always it is one session, whose key then rests as it is; there are millions of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class KeyIndex(Generic[K]):
    """Keys of sessions by what they share, the first that came first."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[K, str | tuple[str, ...]] = {}

    def __len__(self) -> int:
        """How many values have sessions."""
        return len(self._of)

    def __iter__(self) -> Iterator[K]:
        """Every value that has sessions."""
        return iter(self._of)

    def keys_of(self, value: K) -> tuple[str, ...]:
        """The keys of the sessions that have it."""
        known = self._of.get(value, ())
        return (known,) if isinstance(known, str) else known

    def add(self, value: K, key: str) -> None:
        """A session has it now."""
        known = self._of.get(value)
        self._of[value] = key if known is None else (*((known,) if isinstance(known, str) else known), key)

    def remove(self, value: K, key: str) -> None:
        """A session has it no more; nothing happens where it had not."""
        left = tuple(other for other in self.keys_of(value) if other != key)
        if len(left) > 1:
            self._of[value] = left
        elif left:
            self._of[value] = left[0]
        else:
            self._of.pop(value, None)
