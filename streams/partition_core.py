"""What every agent's core is: one partition's journal in, outputs and rows out, atomic per record.

The law: a core reads nothing but its journal. The same records in the same order give the same outputs with the same ids and the same
rows, on any worker, after any crash. What it cannot take goes to `accounting.rejected` with its bytes, and its state is as if the record
had never been there.

What lives here: the way of a record in and of a rejected one out, the policy in force, the partition's own row. What may not: what a record
means. That the cores say (`session_core`, `group_core`), each by its handlers.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from schemas.codec import UNREADABLE, decoder, encode
from schemas.journal import KINDS, PolicyVersion, Rejected
from schemas.policy import Policy
from schemas.session import PARTITION_ROW, PartitionRow
from schemas.topics import REJECTED, partition_key, policy_row_key
from streams.step import Output, RecordRefused
from streams.table import ROWS_AT_ONCE

POLICIES_MAX = 16
RECORD_BYTES_MAX = 64 * 1024
"""A RADIUS packet has 4096 octets; what follows from a record holds its texts several times, and must stay below the broker's bound."""
POLICY_BYTES_MAX = 512 * 1024
REJECTED_KEY_CHARACTERS_MAX = 4096

NO_POLICY = PolicyVersion(version=0, time_ms=0, policy=Policy())

Handler = Callable[[Any, Any], None]
"""(step, the record's value; an accounting record is decoded already): what a kind of record does."""

_POLICY = decoder(PolicyVersion).decode


class Touched(Protocol):
    """What a table remembers for the next checkpoint: the keys of the rows that have changed."""

    touched: dict[str, None]


class PartitionCore:
    """One partition's state and the step over its journal.

    Attributes:
        row: what the partition itself remembers. policy: the version in force.
        event_types, rejected_reasons, sightings (by outcome): counted since somebody last cleared them, for the metrics.
        in_pieces: whether who applies the records has other things to do meanwhile: what a record leaves to be done for very many
            sessions is then `pending`, a piece at each step, and to be done before the next record. Else `apply` does it at once.
        following: what came of the pieces, for who carries them out to take; empty otherwise.
    """

    def __init__(self, partition: int, partitions: int, journal_topic: str, handlers: dict[str, Handler], table: Touched) -> None:
        self.partition = partition
        self.partitions = partitions
        self.journal_topic = journal_topic
        self.row = PartitionRow(partition)
        self.policy = NO_POLICY
        self.in_pieces = False
        self.pending: Iterator[None] | None = None
        self.following: list[Output] = []
        self.event_types: dict[str, int] = {}
        self.rejected_reasons: dict[str, int] = {}
        self.sightings: dict[str, int] = {}
        self._applied = False
        self._handlers = handlers
        self._table = table

    @property
    def next_offset(self) -> int:
        """The first journal record that is not in the table."""
        return self.row.next_offset

    @property
    def touched(self) -> int:
        """Rows to be written at the next checkpoint."""
        return len(self._table.touched)

    def indexing(self) -> Iterator[None]:
        """All rows are back: build the indexes, a piece at each step, so that who waits for them can do something else between."""
        raise NotImplementedError

    def restored(self) -> None:
        """As `indexing`, in one go."""
        for _ in self.indexing():
            pass

    def finish(self, out: list[Output]) -> None:
        """Do what is left of `pending`, in one go; what comes of it, and what nobody has taken of `following`, is appended to `out`."""
        for _ in self.pending or ():
            pass
        self.pending = None
        out += self.following
        self.following = []

    def _leave(self, work: Iterator[None]) -> None:
        """Have something done after this record and before the next one, after what it has left already."""
        self.pending = work if self.pending is None else chain(self.pending, work)

    def checkpoint(self) -> list[tuple[bytes, bytes | None]]:
        """The rows touched since the last call, JSON by name, None for a tombstone; the partition's own row with its offset is the last."""
        rows: list[tuple[bytes, bytes | None]] = []
        for _ in self.checkpointing(rows):
            pass
        return rows

    def checkpointing(self, rows: list[tuple[bytes, bytes | None]]) -> Iterator[None]:
        """As `checkpoint`, a piece at each step, appended to `rows`; nothing may be applied before it is through."""
        if not self._applied:
            return
        touched, self._table.touched, self._applied = self._table.touched, {}, False
        for number, key in enumerate(touched):
            if number and number % ROWS_AT_ONCE == 0:
                yield
            rows.append((key.encode(), self._named(key)))
        rows.append((partition_key(self.partition).encode(), PARTITION_ROW.named(self._own_row())))

    def _own_row(self) -> PartitionRow:
        """The partition's own row as it is written."""
        return self.row

    def _named(self, key: str) -> bytes | None:
        """A row of the table as it stands in the topic; None: a tombstone."""
        raise NotImplementedError

    def apply(self, offset: int, kind: str, key: bytes | None, value: bytes | None, out: list[Output]) -> None:
        """Apply one journal record; what follows from it is appended to `out`. Atomic, and never raises for what the record holds."""
        if self.pending is not None:
            self.finish(out)
        try:
            if kind == "tick":
                self._tick(offset, value or b"", out)
            else:
                handler = self._handlers.get(kind)
                if handler is None or value is None or len(value) > RECORD_BYTES_MAX:
                    handler, value = self._checked(kind, value)
                self._step(offset, handler, value, out)
        except RecordRefused as refused:
            self._reject(offset, kind, key, value, out, reason=refused.reason, detail=str(refused))
        except msgspec.ValidationError as wrong:
            self._reject(offset, kind, key, value, out, reason="lacks-fields", detail=str(wrong))
        except OverflowError as beyond:
            self._reject(offset, kind, key, value, out, reason="lacks-fields", detail=f"a number has more than 64 bits: {beyond}")
        except UNREADABLE as wrong:
            self._reject(offset, kind, key, value, out, reason="not-json", detail=str(wrong))
        except Exception as poison:  # noqa: BLE001 - one record must not stop a partition; its bytes and the reason are kept
            self._reject(offset, kind, key, value, out, reason="poison", detail=f"{type(poison).__name__}: {poison}")
        self.row.next_offset = offset + 1
        self._applied = True
        if self.pending is not None and not self.in_pieces:
            self.finish(out)

    def _tick(self, offset: int, value: bytes, out: list[Output]) -> None:
        """Time goes on."""
        raise NotImplementedError

    def _step(self, offset: int, handler: Handler, value: bytes, out: list[Output]) -> None:
        """Carry a record out: whole, or not at all where something is raised."""
        raise NotImplementedError

    def _checked(self, kind: str, value: bytes | None) -> tuple[Handler, bytes]:
        """The handler of a record that is out of the ordinary, and its value.

        Raises:
            RecordRefused: it cannot be taken.
        """
        handler = self._handlers.get(kind)
        if handler is None:
            raise RecordRefused("unknown-kind", f"its kind is none of {', '.join(KINDS)}, or one that this version does not handle")
        most = POLICY_BYTES_MAX if kind in ("policy", "claim") else RECORD_BYTES_MAX
        if value is None or len(value) > most:
            raise RecordRefused("no-value" if value is None else "too-large", f"such a record has 1 to {most} octets")
        return handler, value

    def _reject(
        self,
        offset: int,
        kind: str,
        key: bytes | None,
        value: bytes | None,
        out: list[Output],
        *,
        reason: str,
        detail: str,
    ) -> None:
        """Put it where people look, with its octets: the first `POLICY_BYTES_MAX` of them, since base64 must fit into a record too."""
        self.rejected_reasons[reason] = self.rejected_reasons.get(reason, 0) + 1
        key = (key or b"")[:REJECTED_KEY_CHARACTERS_MAX]
        rejected = Rejected(
            reason=reason,
            detail=detail[:REJECTED_KEY_CHARACTERS_MAX],
            time_ms=self.row.wall_ms,
            topic=self.journal_topic,
            partition=self.partition,
            offset=offset,
            kind=kind[:REJECTED_KEY_CHARACTERS_MAX],
            key=key.decode("utf-8", "backslashreplace"),
            bytes=base64.b64encode((value or b"")[:POLICY_BYTES_MAX]).decode(),
        )
        out.append(Output(REJECTED.name, self.partition, key, encode(rejected)))

    def _restore_own(self, name: str, value: bytes | None) -> None:
        """Take one of the partition's own rows; others that begin like them (the fence's tombstone) are passed over."""
        if name == partition_key(self.partition) and value is not None:
            self.row = PARTITION_ROW.read(value)
        elif name == policy_row_key(self.partition) and value is not None:
            self.policy = _POLICY(value)

    def _in_force(self, version: PolicyVersion, offset: int) -> None:
        """A newer version holds from this offset on."""
        self.policy = version
        self.row = replace(self.row, policies=[*self.row.policies, (version.version, offset)][-POLICIES_MAX:])


def newer_version(value: bytes, than: PolicyVersion) -> PolicyVersion | None:
    """The version of the policy that a record holds, if it is newer than the one in force.

    Raises:
        msgspec.ValidationError, msgspec.DecodeError: it holds none.
    """
    version = _POLICY(value)
    return version if version.version > than.version else None
