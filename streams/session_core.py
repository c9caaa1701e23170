"""The session agent's step: one partition's journal in, events, commands and rows out. It owns a session's fate alone.

The law: it reads nothing but the journal. The same records in the same order give the same outputs with the same ids and the same rows,
on any worker, after any crash. Applying is atomic per record: what it cannot take goes to `accounting.rejected` with its bytes, and the
table is as if the record had never been there.

What happens to a session is said elsewhere: `session_records` (accounting), `deaths` (time), `limiting` (limits), `outcomes` (results and
orders), each on a `Step`. Here is the partition: its rows, its clock, its policy in force, and what is rejected.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from schemas.codec import decoder, encode
from schemas.journal import KINDS, PolicyVersion, Rejected, Tick
from schemas.policy import Liveness, Policy
from schemas.session import (
    IDENTITY_ROW,
    NAS_ROW,
    PARTITION_ROW,
    SESSION_ROW,
    NasRow,
    PartitionRow,
    SessionRow,
)
from schemas.topics import REJECTED, nas_key, partition_key, policy_row_key
from streams import clock, deaths, ends, liveness, outcomes, session_records
from streams.step import Output, RecordRefused, Step
from streams.table import Change, Table

DEATHS_PER_TICK_MAX = 5_000
PURGED_PER_TICK_MAX = 5_000
POLICIES_MAX = 16
RECORD_BYTES_MAX = 64 * 1024
"""A RADIUS packet has 4096 octets; what follows from a record holds its texts several times, and must stay below the broker's bound."""
POLICY_BYTES_MAX = 512 * 1024
REJECTED_KEY_CHARACTERS_MAX = 4096

NO_POLICY = PolicyVersion(version=0, time_ms=0, policy=Policy())


class SessionCore:
    """One partition's state and the step over its journal.

    Attributes:
        open_sessions: how many are open. touched: rows changed since the last checkpoint.
        next_offset: the first journal record not applied yet.
        event_types, rejected_reasons: counted since somebody last cleared them, for the metrics.
    """

    def __init__(self, partition: int, partitions: int, journal_topic: str) -> None:
        self.partition = partition
        self.partitions = partitions
        self.journal_topic = journal_topic
        self.row = PartitionRow(partition)
        self.policy = NO_POLICY
        self.table = Table(self._deadline)
        self.event_types: dict[str, int] = {}
        self.rejected_reasons: dict[str, int] = {}
        self._rules: dict[str, Liveness | None] = {}
        self._heard: dict[str, int] = {}
        self._applied = False
        self._handlers: dict[str, Callable[[Step, bytes], None]] = {
            "accounting": session_records.accounting,
            "policy": _policy,
            "result": outcomes.result,
            "operator": outcomes.operator,
        }

    # -- restore ------------------------------------------------------------------------------------------------------------------

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take a row of `session.table` as it was written; later rows of a key replace earlier ones, None is a tombstone.

        Raises:
            msgspec.ValidationError: the row is not what this version writes.
        """
        name = key.decode()
        kind = name[:2]
        if kind == "s:":
            if value is None:
                self.table.rows.pop(name, None)
            else:
                self.table.rows[name] = SESSION_ROW.packed(SESSION_ROW.read(value))
        elif kind == "i:":
            if value is None:
                self.table.identities.pop(name[2:], None)
            else:
                self.table.identities[name[2:]] = IDENTITY_ROW.read(value)
        elif kind == "n:" and value is not None:
            nas = NAS_ROW.read(value)
            self.table.nases[nas.nas] = nas
        elif name == partition_key(self.partition) and value is not None:
            self.row = PARTITION_ROW.read(value)
        elif name == policy_row_key(self.partition) and value is not None:
            self.policy = _POLICY(value)

    def restored(self) -> None:
        """All rows are back: build the indexes."""
        self._rules.clear()
        self.table.index_all()

    @property
    def next_offset(self) -> int:
        """The first journal record that is not in the table."""
        return self.row.next_offset

    @property
    def touched(self) -> int:
        """Rows to be written at the next checkpoint."""
        return len(self.table.touched)

    @property
    def open_sessions(self) -> int:
        """Open sessions in this partition."""
        return self.table.open_count

    def checkpoint(self) -> list[tuple[bytes, bytes | None]]:
        """The rows touched since the last call, JSON by name, None for a tombstone; the partition's own row with its offset is the last."""
        if not self._applied:
            return []
        rows = [(key.encode(), self._named(key)) for key in self.table.touched]
        self.table.touched = {}
        self._applied = False
        rows.append((partition_key(self.partition).encode(), PARTITION_ROW.named(self.row)))
        return rows

    def _named(self, key: str) -> bytes | None:
        if key.startswith("n:"):
            return NAS_ROW.named(self.table.nases[key[2:]])
        if key == policy_row_key(self.partition):
            return encode(self.policy)
        if key[0] == "i":
            identity = self.table.identities.get(key[2:])
            return None if identity is None else IDENTITY_ROW.named(identity)
        packed = self.table.rows.get(key)
        return None if packed is None else SESSION_ROW.named(SESSION_ROW.unpacked(packed))

    # -- the step -----------------------------------------------------------------------------------------------------------------

    def apply(self, offset: int, kind: str, key: bytes | None, value: bytes | None, out: list[Output]) -> None:
        """Apply one journal record; what follows from it is appended to `out`. Atomic, and never raises for what the record holds."""
        try:
            if kind == "tick":
                self._tick(offset, value or b"", out)
            else:
                step = Step(self, offset)
                handler = self._handlers.get(kind)
                if handler is None or value is None or len(value) > RECORD_BYTES_MAX:
                    handler, value = self._checked(kind, value)
                handler(step, value)
                step.commit(out)
        except RecordRefused as refused:
            self._reject(offset, kind, key, value, out, reason=refused.reason, detail=str(refused))
        except msgspec.ValidationError as wrong:
            self._reject(offset, kind, key, value, out, reason="lacks-fields", detail=str(wrong))
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            self._reject(offset, kind, key, value, out, reason="not-json", detail=str(wrong))
        except Exception as poison:  # noqa: BLE001 - one record must not stop a partition; its bytes and the reason are kept
            self._reject(offset, kind, key, value, out, reason="poison", detail=f"{type(poison).__name__}: {poison}")
        self.row.next_offset = offset + 1
        self._applied = True

    def _checked(self, kind: str, value: bytes | None) -> tuple[Callable[[Step, bytes], None], bytes]:
        """The handler of a record that is out of the ordinary, and its value.

        Raises:
            RecordRefused: it cannot be taken.
        """
        handler = self._handlers.get(kind)
        if handler is None:
            raise RecordRefused("unknown-kind", f"its kind is none of {', '.join(KINDS)}, or one that this version does not handle")
        most = POLICY_BYTES_MAX if kind == "policy" else RECORD_BYTES_MAX
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

    def _tick(self, offset: int, value: bytes, out: list[Output]) -> None:
        """Time goes on; each death is a change of its own, so that one bad row does not stop the clock."""
        tick = _TICK(value)
        row, gone = clock.advanced(self.row, tick)
        moved = self._talk(tick, row.ingests[tick.ingest].elapsed_ms, gone)
        self.row = row
        self.table.nases.update(moved)
        self.table.touched.update(dict.fromkeys(map(nas_key, moved)))
        self._heard.clear()
        nth = died = purged = 0
        for nas in sorted(moved):
            clock_ms = moved[nas].clock_ms
            while died < DEATHS_PER_TICK_MAX and (key := self.table.due(nas, clock_ms)) is not None:
                nth = self._atomically(offset, nth, out, key, lambda step, row, at=clock_ms: deaths.die(step, row, at))  # type: ignore[misc]
                died += 1
        closed_before_ms = row.clock_ms - self.policy.policy.grace_s * 1000
        while purged < PURGED_PER_TICK_MAX and (key := self.table.past_grace(closed_before_ms)) is not None:
            nth = self._atomically(offset, nth, out, key, ends.purge)
            purged += 1

    def _atomically(self, offset: int, nth: int, out: list[Output], key: str, do: Callable[[Step, SessionRow], None]) -> int:
        step = Step(self, offset, nth)
        try:
            row = step.change.session(key)
            if row is not None:
                do(step, row)
        except Exception as poison:  # noqa: BLE001 - as above
            self._reject(offset, "tick", None, None, out, reason="poison", detail=f"{type(poison).__name__}: {poison}")
            return nth
        step.commit(out)
        return step.nth

    def _talk(self, tick: Tick, elapsed_ms: int, gone: list[str]) -> dict[str, NasRow]:
        """The rows of the NASes whose talking clocks the tick moves, or that another ingest measures from now on."""
        nases = self.table.nases
        moved: dict[str, NasRow] = {}

        def known(name: str) -> NasRow:
            return moved.get(name) or nases.get(name) or NasRow(name)

        def put(row: NasRow) -> None:
            if row is not nases.get(row.nas):
                moved[row.nas] = row

        for ingest in gone:
            for name in nases:
                put(clock.forgotten(known(name), ingest))
        for name, silent_ms in tick.ceased:
            put(clock.ceased(known(name), tick.ingest, elapsed_ms, silent_ms))
        if tick.full:
            talking = {name for name, _ in tick.began} | {name for name, _ in tick.heard}
            for name in nases:
                if name not in talking:
                    put(clock.forgotten(known(name), tick.ingest))
        for name, _ in tick.began:
            put(clock.began(known(name), tick.ingest, elapsed_ms))
        for name, silent_ms in tick.heard:
            put(clock.heard(known(name), tick.ingest, elapsed_ms, silent_ms))
        return moved

    def _deadline(self, row: SessionRow) -> int | None:
        nas = row.nas
        if nas not in self._rules:
            self._rules[nas] = liveness.rule_for(self.policy.policy, nas)
        return liveness.deadline_ms(self._rules[nas], row)

    def heard_ms(self, nas: str, change: Change) -> int:
        """Where a session heard of now stands on its NAS's talking clock: the same for all of them between two ticks."""
        heard_ms = self._heard.get(nas)
        if heard_ms is None:
            heard_ms = self._heard[nas] = clock.heard_now_ms(change.nas(nas), self.row)
        return heard_ms

    def policy_changed(self, version: PolicyVersion, offset: int) -> None:
        """A newer version holds from this offset on."""
        rearm = version.policy.liveness != self.policy.policy.liveness
        self.policy = version
        self.row = replace(self.row, policies=[*self.row.policies, (version.version, offset)][-POLICIES_MAX:])
        self.table.touched[policy_row_key(self.partition)] = None
        self._rules.clear()
        if rearm:
            self.table.index_all()


_TICK = decoder(Tick).decode
_POLICY = decoder(PolicyVersion).decode


def _policy(step: Step, value: bytes) -> None:
    """A version of the policy: taken when it is newer than the one in force."""
    version = _POLICY(value)
    if version.version > step.core.policy.version:
        step.new_policy = version
