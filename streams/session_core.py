"""The session agent's step: one partition's journal in, events, commands and rows out. It owns a session's fate alone.

The law: it reads nothing but the journal. The same records in the same order give the same outputs with the same ids and the same rows,
on any worker, after any crash. Applying is atomic per record: what it cannot take goes to `accounting.rejected` with its bytes, and the
table is as if the record had never been there.

What happens to a session is said elsewhere: `transitions` (what a record does), `sameness`, `merge`, `limits`, `liveness`, `clock`. Here
they are put together, and turned into what others read.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from schemas.accounting import NAS_STATUSES, SESSION_STATUSES, AccountingRecord
from schemas.codec import Text, decoder, encode
from schemas.disconnect import COMMAND_KIND, NOTICE_KIND, DisconnectCommand, DisconnectResult, Reason, SessionNotice
from schemas.event import EventType, RecordRef, SaidBy, SessionEvent
from schemas.journal import KINDS, OperatorCommand, PolicyVersion, Rejected, Tick
from schemas.policy import Liveness, Policy
from schemas.session import (
    DISCONNECT_FIELDS,
    IDENTITY_ROW,
    NAS_ROW,
    PARTITION_ROW,
    SESSION_ROW,
    Hold,
    KickState,
    NasRow,
    PartitionRow,
    SessionRow,
)
from schemas.topics import COMMANDS, EVENTS, REJECTED, nas_key, partition_key, policy_row_key, session_key
from streams import boots, clock, limits, liveness, merge, sameness, transitions
from streams.ids import decision_id
from streams.partitioner import partition_of
from streams.table import Change, Table, key_of

DISCONNECT_ATTEMPTS_MAX = 3
"""So often is a command that came too late decided anew."""
ALIVE_AFTER_MS = 5_000
"""An Interim so long after the NAS's Disconnect-ACK shows that the session lives; one sent just before it ends shows nothing."""
DEATHS_PER_TICK_MAX = 5_000
PURGED_PER_TICK_MAX = 5_000
HOLDS_MAX = 32
POLICIES_MAX = 16
BECAUSE_MAX = 20
RECORD_BYTES_MAX = 64 * 1024
"""A RADIUS packet has 4096 octets; what follows from a record holds its texts several times, and must stay below the broker's bound."""
POLICY_BYTES_MAX = 512 * 1024
REJECTED_KEY_CHARACTERS_MAX = 4096

NO_POLICY = PolicyVersion(version=0, time_ms=0, policy=Policy())


class Output(NamedTuple):
    """A record to be sent.

    Attributes:
        topic: pinned name, without the installation's prefix.
        kind: header `kind`; empty for none.
    """

    topic: str
    partition: int
    key: bytes
    value: bytes
    kind: str = ""


class RecordRefused(Exception):  # noqa: N818 - it is an outcome with a name, not a failure of ours
    """A journal record that cannot be taken; `reason` is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


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
        self._handlers: dict[str, Callable[[_Step, bytes], None]] = {
            "accounting": _Step.accounting,
            "policy": _Step.policy,
            "result": _Step.result,
            "operator": _Step.operator,
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
                step = _Step(self, offset)
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

    def _checked(self, kind: str, value: bytes | None) -> tuple[Callable[[_Step, bytes], None], bytes]:
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
        nth = deaths = purged = 0
        for nas in sorted(moved):
            clock_ms = moved[nas].clock_ms
            while deaths < DEATHS_PER_TICK_MAX and (key := self.table.due(nas, clock_ms)) is not None:
                nth = self._atomically(offset, nth, out, key, lambda step, row, at=clock_ms: step.die(row, at))  # type: ignore[misc]
                deaths += 1
        closed_before_ms = row.clock_ms - self.policy.policy.grace_s * 1000
        while purged < PURGED_PER_TICK_MAX and (key := self.table.past_grace(closed_before_ms)) is not None:
            nth = self._atomically(offset, nth, out, key, _Step.purge)
            purged += 1

    def _atomically(self, offset: int, nth: int, out: list[Output], key: str, do: Callable[[_Step, SessionRow], None]) -> int:
        step = _Step(self, offset, nth)
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


_ACCOUNTING = decoder(AccountingRecord).decode
_TICK = decoder(Tick).decode
_POLICY = decoder(PolicyVersion).decode
_RESULT = decoder(DisconnectResult).decode
_OPERATOR = decoder(OperatorCommand).decode
_FIELD_OF = {name: "class_" if name == "class" else name for name in DISCONNECT_FIELDS}

_OUTCOMES: dict[str, tuple[KickState, EventType]] = {
    "acknowledged": ("acknowledged", "disconnect.acknowledged"),
    "confirmed": ("confirmed", "disconnect.confirmed"),
    "gone": ("confirmed", "disconnect.confirmed"),
    "refused": ("refused", "disconnect.refused"),
    "unknown-nas": ("refused", "disconnect.refused"),
    "no-secret": ("refused", "disconnect.refused"),
    "unsupported": ("refused", "disconnect.refused"),
    "expired": ("refused", "disconnect.refused"),
    "superseded": ("refused", "disconnect.refused"),
    "unanswered": ("unanswered", "disconnect.unanswered"),
    "unconfirmed": ("unconfirmed", "disconnect.unconfirmed"),
}


class _Step:
    """One record on its way through: a change to the table and the outputs that go with it, committed together."""

    __slots__ = ("change", "core", "event_types", "new_policy", "nth", "offset", "out", "time_ms")

    def __init__(self, core: SessionCore, offset: int, nth: int = 0) -> None:
        self.core = core
        self.offset = offset
        self.nth = nth
        self.time_ms = core.row.wall_ms
        self.change = Change(core.table)
        self.out: list[Output] = []
        self.event_types: list[str] = []
        self.new_policy: PolicyVersion | None = None

    def commit(self, out: list[Output]) -> None:
        self.core.table.commit(self.change)
        if self.new_policy is not None:
            self.core.policy_changed(self.new_policy, self.offset)
        seen = self.core.event_types
        for event_type in self.event_types:
            seen[event_type] = seen.get(event_type, 0) + 1
        out += self.out

    # -- the kinds of record ------------------------------------------------------------------------------------------------------

    def accounting(self, value: bytes) -> None:
        record = _ACCOUNTING(value)
        self.time_ms = record.received_ms
        if record.status in SESSION_STATUSES:
            if record.acct_session_id is None or not record.identity:
                raise RecordRefused("lacks-fields", f"a {record.status} needs acct_session_id and identity")
            self._session(record, record.acct_session_id)
        elif record.status in NAS_STATUSES:
            self._boot(record)

    def policy(self, value: bytes) -> None:
        version = _POLICY(value)
        if version.version > self.core.policy.version:
            self.new_policy = version

    def result(self, value: bytes) -> None:
        result = _RESULT(value)
        self.time_ms = result.time_ms
        row = self.change.session(session_key(result.nas, merge.text_key(result.acct_session_id)))
        if row is None or row.kick_id != result.command_id:
            return  # its session is out of the table, or has another command by now
        if row.kick_state not in limits.IN_FLIGHT or (row.kick_state == result.outcome == "acknowledged"):
            return  # a repeat
        if result.outcome == "expired" and self._decided_anew(row):
            return
        row.kick_state, event_type = _OUTCOMES[result.outcome]
        if result.outcome == "acknowledged":
            row.kick_clock_ms = self.core.row.clock_ms
        if result.outcome == "gone" and row.state == "open":
            self._end(row, "kicked", cause=result.error_cause_name, ended_ms=row.event_ms)
        self._event(
            event_type, row, command_id=result.command_id, cause=result.error_cause_name or result.outcome, text=result.detail or None
        )

    def operator(self, value: bytes) -> None:
        order = _OPERATOR(value)
        self.time_ms = order.time_ms
        row = self.change.session(session_key(order.nas, merge.text_key(order.acct_session_id)))
        if row is not None and row.operator_id == order.id:
            return  # the same order again
        refusal = self._refusal_of(order, row)
        if row is None:
            row = SessionRow(order.nas, order.acct_session_id, order.identity, "ended")
        row.operator_id = order.id
        if refusal is None:
            self._kick(row, order.reason, because=[self._ref(self.offset)], who=order.who, text=order.text)
            return
        self._event("disconnect.refused", row, cause=refusal, text=f"order {order.id} by {order.who or 'unknown'}: {refusal}")
        self._forget_identity(row.identity, 0)

    def _refusal_of(self, order: OperatorCommand, row: SessionRow | None) -> str | None:
        if row is None or row.state != "open":
            return "no open session"
        if row.kick_state in limits.IN_FLIGHT:
            return "a disconnect is under way"
        return "expired" if self.core.row.wall_ms > order.expires_ms else None

    # -- a session's record -------------------------------------------------------------------------------------------------------

    def _session(self, record: AccountingRecord, session_id: Text) -> None:
        key = session_key(record.nas, session_id if isinstance(session_id, str) else merge.text_key(session_id))
        row = self.change.session(key)
        same = "same" if row is None else sameness.sameness(row, record)
        status: transitions.Input = record.status  # type: ignore[assignment]  # one of SESSION_STATUSES
        action = transitions.action_for(row, status, same)
        if action == "replace" and row is not None:
            if row.state == "open":
                self._event("session.superseded", row)
                self._end(row, "superseded", cause=None, ended_ms=row.event_ms)
            action, row = transitions.TRANSITIONS["absent", status], None
        if action == "ignore":
            return
        if row is None:
            self._open(key, merge.new_row(record, session_id, self.offset), record)
            return
        self._known(row, record, action)

    def _known(self, row: SessionRow, record: AccountingRecord, action: transitions.Action) -> None:
        newer = merge.is_newer(row, record)
        if newer and row.identity != record.identity:
            self._rename(row, record.identity)
        heard_ms = self.core.heard_ms(row.nas, self.change)
        if action == "update" and newer and record.interim_interval_s is None:
            row.observed_s = liveness.observed_interval_s(row, heard_ms, record.event_ms, record.session_time_s)
        changed = merge.merge(row, record, self.offset, newer=newer)
        if row.state == "open" and heard_ms > row.heard_ms:
            row.heard_ms = heard_ms
        if action == "update":
            if changed or newer:
                self._event("session.updated", row)
            if newer:
                self._lives_on(row, record)
        elif action == "end":
            self._end(row, "nas-stop", cause=_cause(record), ended_ms=record.event_ms)
        elif action == "correct":
            self._correct(row, record, changed=changed)
        elif action == "reopen-if-newer" and newer:
            self._reopen(row, record, heard_ms)

    def _open(self, key: str, row: SessionRow, record: AccountingRecord) -> None:
        merge.merge(row, record, self.offset, newer=True)
        row.heard_ms = self.core.heard_ms(row.nas, self.change)
        self.change.put(key, row)
        if record.status == "Stop":
            self._end(row, "nas-stop", cause=_cause(record), ended_ms=record.event_ms)
            return
        nas = self.change.nas(row.nas)
        if nas is not None and boots.began_before(nas.boot, row, record):
            self._end(row, "nas-reboot", cause="NAS-Reboot", ended_ms=row.event_ms)
            return
        row.counts = self._is_fresh(record)
        row.unproven = record.status != "Start" or not row.counts
        row.interims = int(record.status != "Start")
        if row.unproven:
            self._event("session.started", row, cause=f"first heard of by {record.status}" if record.status != "Start" else None)
            return
        verdict = self._verdict(row)
        self._event("session.started", row, passed=verdict.passed)
        self._breach(row, verdict.breach)

    def _lives_on(self, row: SessionRow, record: AccountingRecord) -> None:
        """An Interim that says something later than was known; a repeat or one that was overtaken proves nothing."""
        row.interims += 1
        if row.unproven:
            self._prove(row, record)
        if row.kick_state == "acknowledged" and self._is_fresh(record):
            self._alive(row)

    def _prove(self, row: SessionRow, record: AccountingRecord) -> None:
        """A session first heard of late, or by an Interim, takes part from its first fresh record and can breach from the second."""
        if not self._is_fresh(record):
            return
        if not row.counts:
            row.counts = True
        elif row.interims > 1:
            row.unproven = False
            self._breach(row, self._verdict(row).breach)

    def _alive(self, row: SessionRow) -> None:
        """An Interim after the NAS's ACK: the kicker must know, unless it was on its way already (behaviour 5.4)."""
        if self.core.row.clock_ms - row.kick_clock_ms > ALIVE_AFTER_MS:
            self._notice(row, alive=True)

    def _correct(self, row: SessionRow, record: AccountingRecord, *, changed: bool) -> None:
        """A Stop for a session that is closed already: the NAS's word replaces our conclusion, the usage is merged."""
        if row.said_by != "nas-stop":
            row.said_by, row.cause, row.ended_ms = "nas-stop", _cause(record), record.event_ms
            changed = True
            self._notice_if_kicked(row)
        if changed:
            self._event("session.updated", row)

    def _reopen(self, row: SessionRow, record: AccountingRecord, heard_ms: int) -> None:
        row.state, row.said_by, row.cause, row.ended_ms, row.closed_ms = "open", None, None, None, None
        row.heard_ms = heard_ms
        row.interims += 1
        row.counts, row.unproven = self._is_fresh(record), True
        self._event("session.reopened", row)
        if row.kick_state == "acknowledged":
            self._alive(row)

    def _rename(self, row: SessionRow, identity: str) -> None:
        """A session whose name changes under way is one session (behaviour 2.10)."""
        self._event("session.moved", row, text=f"now known as {identity}")
        self._forget_identity(row.identity, 1)
        row.identity = identity

    def _is_fresh(self, record: AccountingRecord) -> bool:
        return record.received_ms - record.event_ms <= self.core.policy.policy.late_after_s * 1000

    # -- ends ---------------------------------------------------------------------------------------------------------------------

    def _end(self, row: SessionRow, said_by: SaidBy, *, cause: str | None, ended_ms: int) -> None:
        row.state, row.said_by, row.cause, row.ended_ms = "ended", said_by, cause, ended_ms
        row.closed_ms = self.core.row.clock_ms
        self._event("session.ended", row)
        if said_by != "stale":  # our own conclusion proves nothing to the kicker
            self._notice_if_kicked(row)

    def die(self, row: SessionRow, clock_ms: int) -> None:
        """A session's deadline is over: it is dead, its slot is free, and it goes from the NAS too (behaviour 3.7)."""
        text = f"silent for {(clock_ms - row.heard_ms) // 1000} s while {row.nas} was talking"
        self._event("session.stale", row, text=text)
        self._end(row, "stale", cause=None, ended_ms=row.event_ms)
        self._kick(row, "stale", text=text)

    def purge(self, row: SessionRow) -> None:
        """A closed session's grace is over; an identity with no session and no hold left goes with its last one."""
        self.change.put(key_of(row), None)
        self._forget_identity(row.identity, 1)

    def _forget_identity(self, identity: str, going: int) -> None:
        """Let go of an identity's row where so many of its sessions go and no other is left."""
        if self.core.table.rows_of.get(identity, 0) > going:
            return
        holds = self.change.identity(identity, self.offset).holds
        if all(hold.until_ms <= self.core.row.clock_ms for hold in holds):
            self.change.identities[identity] = None

    def _boot(self, record: AccountingRecord) -> None:
        """Accounting-On or -Off (2.4)."""
        known = self.change.nas(record.nas) or NasRow(record.nas)
        boot = boots.boot_of(record)
        if not boots.is_news(boot, known.boot):
            return
        rows = [row for row in map(self.change.session, self.core.table.open_on.get(record.nas, ())) if row is not None]
        for row in sorted(rows, key=lambda row: row.opened_offset):
            if boots.ends(boot, row):
                self._end(row, "nas-reboot", cause="NAS-Reboot", ended_ms=row.event_ms)
        at_home = partition_of(record.nas, self.core.partitions) == self.core.partition
        seq = known.seq + 1 if at_home else 0
        self.change.nases[record.nas] = replace(known, boot=boot, seq=seq, seq_epoch=known.seq_epoch or self.offset)
        if at_home:
            event_type: EventType = "nas.up" if record.status == "Accounting-On" else "nas.down"
            self._send_event(
                SessionEvent(
                    id=self._id(record.nas),
                    type=event_type,
                    seq=seq,
                    seq_epoch=known.seq_epoch or self.offset,
                    time_ms=self.time_ms,
                    nas=record.nas,
                    because=[self._ref(self.offset)],
                ),
                record.nas,
            )

    # -- limits and disconnects ---------------------------------------------------------------------------------------------------

    def _verdict(self, row: SessionRow) -> limits.Verdict:
        policy = self.core.policy.policy
        if not policy.limits:
            return limits.Verdict(None, [])
        others = [other for other in self.change.open_of(row.identity) if other is not row and limits.counts(other)]
        holds = self.change.identity(row.identity, self.offset).holds
        return limits.decide(policy.limits, row, others, holds, self.core.row.clock_ms)

    def _breach(self, row: SessionRow, breach: limits.Breach | None) -> None:
        if breach is None:
            return
        limit = breach.limit
        others = [o.opened_offset for o in self.change.open_of(row.identity) if o is not row and limits.counts(o)]
        because = [self._ref(self.offset), *map(self._ref, others[:BECAUSE_MAX])]
        self._event(
            "limit.breached",
            row,
            because=because,
            rule=limit.name,
            scope=limit.applies_to,
            current=breach.current,
            max=limit.max_sessions,
            policy_version=self.core.policy.version,
            text=breach.text,
        )
        for victim in breach.victims:
            self._kick(victim, "limit", rule=limit.name, because=because, text=breach.text)
            if limit.hold_s and victim.device is not None:
                self._hold(victim, limit.name, limit.hold_s)

    def _hold(self, victim: SessionRow, rule: str, hold_s: int) -> None:
        identity = self.change.identity(victim.identity, self.offset)
        now_ms = self.core.row.clock_ms
        live = [h for h in identity.holds if h.until_ms > now_ms and (h.device, h.rule) != (victim.device, rule)]
        held = (*live, Hold(victim.device or "", rule, now_ms + hold_s * 1000))[-HOLDS_MAX:]
        self.change.identities[victim.identity] = replace(identity, holds=held)

    def _kick(
        self,
        row: SessionRow,
        reason: Reason,
        *,
        rule: str | None = None,
        because: list[RecordRef] | None = None,
        who: str | None = None,
        text: str | None = None,
        attempt: int = 1,
    ) -> None:
        """Order a disconnect, unless one is under way for this session (behaviour 5.5)."""
        if row.kick_state in limits.IN_FLIGHT:
            return
        policy = self.core.policy
        confirm_within_s = policy.policy.confirm_within_s
        because = because if because is not None else [self._ref(row.last_offset)]
        command_id = self._id(row.identity)
        row.kick_id, row.kick_state, row.kick_attempt, row.kick_reason, row.kick_rule = command_id, "requested", attempt, reason, rule
        command = DisconnectCommand(
            id=command_id,
            attempt=attempt,
            time_ms=self.time_ms,
            expires_ms=self.time_ms + confirm_within_s * 1000,
            confirm_within_s=confirm_within_s,
            nas=row.nas,
            identity=row.identity,
            session={name: value for name, field in _FIELD_OF.items() if (value := getattr(row, field)) is not None},
            reason=reason,
            rule=rule,
            policy_version=policy.version or None,
            because=because,
            who=who,
            text=text,
        )
        self._event(
            "disconnect.requested", row, command_id=command_id, because=because, rule=rule, policy_version=policy.version or None, text=text
        )
        self._to_kicker(row, COMMAND_KIND, command)

    def _decided_anew(self, row: SessionRow) -> bool:
        """The kicker came too late for the command; now that the journal is caught up with, is it still right? Then with a new attempt."""
        if row.kick_attempt >= DISCONNECT_ATTEMPTS_MAX or row.kick_reason in (None, "operator", "self-service"):
            return False
        rule, reason = row.kick_rule, row.kick_reason
        if reason == "limit":
            limit = next((x for x in self.core.policy.policy.limits if x.name == rule and x.action == "disconnect"), None)
            others = [o for o in self.change.open_of(row.identity) if o is not row and limits.counts(o)]
            if row.state != "open" or limit is None or not limits.still_over(limit, row, others):
                return False
        elif row.state == "open":
            return False  # it was stale, and has been heard since
        row.kick_state = None
        self._kick(row, reason, rule=rule, text="the command before came too late for the kicker", attempt=row.kick_attempt + 1)
        return True

    def _notice_if_kicked(self, row: SessionRow) -> None:
        if row.kick_state in limits.IN_FLIGHT:
            self._notice(row, alive=False)

    def _notice(self, row: SessionRow, *, alive: bool) -> None:
        notice = SessionNotice(
            command_id=row.kick_id or "",
            nas=row.nas,
            identity=row.identity,
            acct_session_id=row.acct_session_id,
            alive=alive,
            said_by=row.said_by,
            time_ms=self.time_ms,
        )
        self._to_kicker(row, NOTICE_KIND, notice)

    # -- what others read ---------------------------------------------------------------------------------------------------------

    def _id(self, identity: str) -> str:
        self.nth += 1
        return decision_id(self.core.partition, self.offset, self.nth - 1, identity)

    def _ref(self, offset: int) -> RecordRef:
        return RecordRef(self.core.journal_topic, self.core.partition, offset)

    def _to_kicker(self, row: SessionRow, kind: str, value: msgspec.Struct) -> None:
        self.out.append(Output(COMMANDS.name, partition_of(row.nas, self.core.partitions), row.nas.encode(), encode(value), kind))

    def _event(
        self,
        event_type: EventType,
        row: SessionRow,
        *,
        because: list[RecordRef] | None = None,
        cause: str | None = None,
        **more: Any,
    ) -> None:
        identity = self.change.next_seq(row.identity, self.offset)
        event = SessionEvent(  # by position: naming its fields would cost as much as all else in here
            self._id(row.identity),
            event_type,
            identity.seq,
            identity.seq_epoch,
            self.time_ms,
            row.identity,
            row.user_name,
            row.nas,
            row.acct_session_id,
            row.acct_multi_session_id,
            row.calling_station_id,
            row.framed_ip_address,
            row.started_ms,
            row.last_seen_ms,
            row.ended_ms,
            row.session_time_s,
            row.input_octets,
            row.output_octets,
            cause or row.cause,
            row.said_by,
            because or [self._ref(self.offset)],
            **more,
        )
        self._send_event(event, row.identity)

    def _send_event(self, event: SessionEvent, key: str) -> None:
        self.event_types.append(event.type)
        self.out.append(Output(EVENTS.name, self.core.partition, key.encode(), encode(event)))


def _cause(record: AccountingRecord) -> str | None:
    return None if record.terminate_cause is None else str(record.terminate_cause)
