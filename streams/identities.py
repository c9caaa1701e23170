"""The rows of one partition's identities in memory.

Law of this file: of nearly every identity nothing is kept but its sequence, and then one number rests for its row; there are millions of
them, and a struct would take three times as much.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

from schemas.session import IdentityRow

_EPOCH_BITS = 63
"""An offset of Kafka has so many."""
_EPOCH = (1 << _EPOCH_BITS) - 1


class Identities(MutableMapping[str, IdentityRow]):
    """Rows of identities by name, as a dictionary has them."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[str, IdentityRow | int] = {}

    def __getitem__(self, identity: str) -> IdentityRow:
        """The row of an identity.

        Raises:
            KeyError: there is none.
        """
        known = self._rows[identity]
        return known if isinstance(known, IdentityRow) else IdentityRow(identity, known >> _EPOCH_BITS, known & _EPOCH)

    def __setitem__(self, identity: str, row: IdentityRow) -> None:
        """Keep a row, which names this identity."""
        if row.groups or row.windows or row.recent or row.holds or row.promises or row.lingers_ms >= 0:
            self._rows[identity] = row
        else:
            self._rows[identity] = row.seq << _EPOCH_BITS | row.seq_epoch

    def __delitem__(self, identity: str) -> None:
        """Forget an identity.

        Raises:
            KeyError: there is none.
        """
        del self._rows[identity]

    def __iter__(self) -> Iterator[str]:
        """Every name."""
        return iter(self._rows)

    def __len__(self) -> int:
        """How many are known."""
        return len(self._rows)

    def get(self, identity: str, default: IdentityRow | None = None) -> IdentityRow | None:  # type: ignore[override] # no other default is asked for
        """The row of an identity, or the default. Each record asks for one, and the mixin's way is by an exception."""
        known = self._rows.get(identity)
        if known is None:
            return default
        return known if isinstance(known, IdentityRow) else IdentityRow(identity, known >> _EPOCH_BITS, known & _EPOCH)

    def lingering(self) -> list[tuple[int, str]]:
        """Those without sessions that are remembered for a while: until when, milliseconds on the partition's clock, and the name."""
        rows = (row for row in self._rows.values() if isinstance(row, IdentityRow))
        return [(row.lingers_ms, row.identity) for row in rows if row.lingers_ms >= 0]
