"""Journal records for tests, and a partition's journal fed to a session core record by record.

Law of this file: the records are made by the product's own nouns, times are seconds after `T0_MS`, and nothing reads a clock. What a test
has not taken from a `Journal` is unread, and `nothing_else` says so.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from zlib import crc32

import msgspec

from schemas.accounting import AccountingRecord
from schemas.codec import decoder, encode
from schemas.disconnect import COMMAND_KIND, NOTICE_KIND, DisconnectCommand, DisconnectResult, Outcome, SessionNotice
from schemas.event import SessionEvent
from schemas.journal import MembershipOrder, OperatorCommand, PolicyVersion, Promise, QuotaOrder, Rejected, Tick
from schemas.policy import Duration, Limit, Liveness, Membership, Policy, Quota, Rate
from schemas.session import SESSION_ROW, IdentityRow, SessionRow
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, REJECTED, session_key
from streams.partitioner import partition_of
from streams.session_core import SessionCore
from streams.step import Output

T0_MS = 1_795_199_831_000

read_event = decoder(SessionEvent).decode
read_command = decoder(DisconnectCommand).decode
read_notice = decoder(SessionNotice).decode
read_rejected = decoder(Rejected).decode


Rule = Limit | Quota | Rate | Duration | Liveness | Membership


class Record(NamedTuple):
    """A record of the journal: header `kind`, key, value."""

    kind: str
    key: bytes | None
    value: bytes | None


def mac_of(session: str) -> str:
    """A Calling-Station-Id of the session's own."""
    return "02-" + crc32(session.encode()).to_bytes(4).hex("-").upper() + "-00"


def accounting(
    status: str,
    session: str | None,
    identity: str,
    *,
    at_s: float = 0,
    late_s: float = 0,
    nas: str = "ap1",
    mac: str | None = "",
    **fields: Any,
) -> Record:
    """An accounting record of something that happened at `at_s` and was received `late_s` after that.

    Args:
        mac: Calling-Station-Id; empty: one of the session's own; None: none.
        fields: `AccountingRecord`'s; `event_source` is the Event-Timestamp unless said otherwise.
    """
    event_ms = T0_MS + round(at_s * 1000)
    record: dict[str, Any] = {
        "status": status,
        "nas": nas,
        "source": "192.0.2.1",
        "ingest": "a",
        "identity": identity,
        "received_ms": event_ms + round(late_s * 1000),
        "event_ms": event_ms,
        "event_source": "event-timestamp",
        "user_name": identity or None,
        "acct_session_id": session,
        "calling_station_id": mac_of(session) if mac == "" and session else mac or None,
    }
    return Record("accounting", identity.encode() or None, encode(AccountingRecord(**{**record, **fields})))


def start(session: str | None = "s1", identity: str = "bob", **fields: Any) -> Record:
    """An Accounting-Request Start."""
    return accounting("Start", session, identity, **fields)


def interim(session: str = "s1", identity: str = "bob", **fields: Any) -> Record:
    """An Interim-Update; its Acct-Session-Time is `at_s` unless said otherwise (a session that began at 0)."""
    return accounting("Interim-Update", session, identity, **{"session_time_s": int(fields.get("at_s", 0)), **fields})


def stop(session: str = "s1", identity: str = "bob", **fields: Any) -> Record:
    """A Stop, said by the user; Acct-Session-Time as for `interim`."""
    return accounting(
        "Stop", session, identity, **{"session_time_s": int(fields.get("at_s", 0)), "terminate_cause": "User-Request", **fields}
    )


def on(nas: str = "ap1", *, off: bool = False, **fields: Any) -> Record:
    """Accounting-On, or -Off."""
    return accounting("Accounting-Off" if off else "Accounting-On", None, "", nas=nas, mac=None, **fields)


def tick(
    at_s: float,
    *,
    ingest: str = "a",
    mono_s: float | None = None,
    heard: Sequence[tuple[str, int]] = (),
    began: Sequence[tuple[str, int]] = (),
    ceased: Sequence[tuple[str, int]] = (),
    full: bool = False,
    period_ms: int = 1000,
) -> Record:
    """A tick of an ingest whose monotonic clock stands at `mono_s`, as its wall clock (`at_s`) unless said otherwise."""
    value = Tick(
        ingest=ingest,
        wall_ms=T0_MS + round(at_s * 1000),
        mono_ms=round((at_s if mono_s is None else mono_s) * 1000),
        period_ms=period_ms,
        full=full,
        began=list(began),
        ceased=list(ceased),
        heard=list(heard),
    )
    return Record("tick", None, encode(value))


def user_limit(max_sessions: int, name: str = "", **fields: Any) -> Limit:
    """A limit of a user."""
    return Limit(name=name or f"max-{max_sessions}", applies_to="user", max_sessions=max_sessions, **fields)


def policy_of(*rules: Rule, **fields: Any) -> Policy:
    """The policy that these rules make, each kind in the order given."""
    kinds = {Limit: "limits", Quota: "quotas", Rate: "rates", Duration: "durations", Liveness: "liveness", Membership: "memberships"}
    return Policy(**{name: tuple(rule for rule in rules if isinstance(rule, kind)) for kind, name in kinds.items()}, **fields)


def policy(*rules: Rule, version: int = 1, **fields: Any) -> Record:
    """A version of the policy."""
    value = PolicyVersion(version=version, time_ms=T0_MS, who="test", policy=policy_of(*rules, **fields))
    return Record("policy", None, encode(value))


def groups(identity: str, *names: str, at_s: float = 0) -> Record:
    """An operator's word about who belongs where."""
    value = MembershipOrder(identity=identity, groups=names, time_ms=T0_MS + round(at_s * 1000))
    return Record("membership", identity.encode(), encode(value))


def quota_order(op: Literal["topup", "reset"], rule: str, identity: str = "bob", *, order_id: str = "q1", **fields: Any) -> Record:
    """An operator's top-up or reset of a quota."""
    value = QuotaOrder(id=order_id, op=op, identity=identity, rule=rule, time_ms=T0_MS, **fields)
    return Record("quota", identity.encode(), encode(value))


def promise(session_timeout_s: int, identity: str = "bob", *, reservation: str = "r1", nas: str = "ap1", mac: str | None = None) -> Record:
    """A login was let in with a Session-Timeout, at the beginning and for a minute."""
    value = Promise(
        id=reservation,
        identity=identity,
        nas=nas,
        calling_station_id=mac,
        session_timeout_s=session_timeout_s,
        time_ms=T0_MS,
        expires_ms=T0_MS + 60_000,
    )
    return Record("promise", identity.encode(), encode(value))


def result(command: DisconnectCommand, outcome: Outcome, *, at_s: float = 0, **fields: Any) -> Record:
    """What the kicker says of a command; final unless it is `acknowledged`."""
    value = DisconnectResult(
        command_id=command.id,
        time_ms=T0_MS + round(at_s * 1000),
        nas=command.nas,
        identity=command.identity,
        acct_session_id=command.session["acct_session_id"],
        final=outcome != "acknowledged",
        outcome=outcome,
        **fields,
    )
    return Record("result", command.identity.encode(), encode(value))


def operator(
    session: str = "s1", identity: str = "bob", *, order: str = "o1", at_s: float = 0, expires_s: float = 60, **fields: Any
) -> Record:
    """A person's order to disconnect a session."""
    value = OperatorCommand(
        id=order,
        identity=identity,
        nas=fields.pop("nas", "ap1"),
        acct_session_id=session,
        time_ms=T0_MS + round(at_s * 1000),
        expires_ms=T0_MS + round((at_s + expires_s) * 1000),
        **{"who": "ann", "text": "asked for", **fields},
    )
    return Record("operator", identity.encode(), encode(value))


class Journal:
    """One partition's journal and its session core.

    Attributes:
        core: replaced at `restart`. offset: of the next record. records: all that was fed. outputs: all that came out, in order.
        now_s: how far `pass_time` has come.
    """

    def __init__(self, partition: int = 0, partitions: int = 1) -> None:
        self.core = SessionCore(partition, partitions, ACCOUNTING.name)
        self.offset = 0
        self.records: list[Record] = []
        self.outputs: list[Output] = []
        self.now_s = 0.0
        self._table: dict[bytes, bytes | None] = {}
        self._unread: list[Output] = []

    def feed(self, *records: Record) -> "Journal":
        """Apply records at the next offsets."""
        for record in records:
            out: list[Output] = []
            self.core.apply(self.offset, *record, out)
            self.offset += 1
            assert self.core.next_offset == self.offset
            self.records.append(record)
            self.outputs += out
            self._unread += out
        return self

    def pass_time(self, seconds: int, *heard: str, ingest: str = "a") -> "Journal":
        """A tick each second; the NASes that are heard talk until just before each of them."""
        for _ in range(seconds):
            self.now_s += 1
            self.feed(tick(self.now_s, ingest=ingest, heard=[(nas, 0) for nas in heard]))
        return self

    def restart(self) -> "Journal":
        """Go on with a new core, restored from the rows as the topic has them."""
        self._table.update(self.core.checkpoint())
        assert self.core.touched == 0
        core = SessionCore(self.core.partition, self.core.partitions, ACCOUNTING.name)
        for key, value in self._table.items():
            core.restore(key, value)
        core.restored()
        assert core.next_offset == self.offset
        self.core = core
        return self

    def events(self) -> list[SessionEvent]:
        """The session events since this was last asked."""
        events = []
        for output in self._take(EVENTS.name, ""):
            event = read_event(output.value)
            assert (output.partition, output.key.decode()) == (self.core.partition, event.identity or event.nas)
            events.append(event)
        return events

    def types(self) -> list[str]:
        """The types of the events since this was last asked."""
        return [event.type for event in self.events()]

    def commands(self) -> list[DisconnectCommand]:
        """The disconnect commands since this was last asked."""
        return [self._addressed(output, read_command(output.value)) for output in self._take(COMMANDS.name, COMMAND_KIND)]

    def command(self) -> DisconnectCommand:
        """The one disconnect command since this was last asked."""
        (command,) = self.commands()
        return command

    def notices(self) -> list[SessionNotice]:
        """What the kicker was told of sessions since this was last asked."""
        return [self._addressed(output, read_notice(output.value)) for output in self._take(COMMANDS.name, NOTICE_KIND)]

    def to_others(self) -> list[Output]:
        """Records for the journals of other partitions since this was last asked."""
        return self._take(ACCOUNTING.name, "claim")

    def rejected(self) -> list[Rejected]:
        """The records refused since this was last asked."""
        return [read_rejected(output.value) for output in self._take(REJECTED.name, "")]

    def take(self, topic: str) -> list[Output]:
        """What came out for a topic that has no header `kind`, since this was last asked."""
        return self._take(topic, "")

    def nothing_else(self) -> None:
        """Nothing came out that the test has not asked for."""
        assert self._unread == []

    def row(self, session: str = "s1", nas: str = "ap1") -> SessionRow | None:
        """A session's row."""
        packed = self.core.table.rows.get(session_key(nas, session))
        return None if packed is None else SESSION_ROW.unpacked(packed)

    def open_row(self, session: str = "s1", nas: str = "ap1") -> SessionRow:
        """The row of a session that is open."""
        row = self.row(session, nas)
        assert row is not None
        assert row.state == "open"
        return row

    def suspect_row(self, session: str = "s1", nas: str = "ap1") -> SessionRow:
        """The row of a session that is missed."""
        row = self.row(session, nas)
        assert row is not None
        assert row.state == "suspect"
        return row

    def ended_row(self, session: str = "s1", nas: str = "ap1") -> SessionRow:
        """The row of a session that has ended."""
        row = self.row(session, nas)
        assert row is not None
        assert row.state == "ended"
        return row

    def identity_row(self, identity: str = "bob") -> IdentityRow | None:
        """An identity's row."""
        return self.core.table.identities.get(identity)

    def state(self) -> dict[str, Any]:
        """All that the core remembers, but for the offset: rows by key, NASes by name, and the partition's own."""
        table = self.core.table
        return {**table.rows, **table.nases, "": msgspec.structs.replace(self.core.row, next_offset=0), "policy": self.core.policy}

    def _take(self, topic: str, kind: str) -> list[Output]:
        taken = [output for output in self._unread if (output.topic, output.kind) == (topic, kind)]
        self._unread = [output for output in self._unread if (output.topic, output.kind) != (topic, kind)]
        return taken

    def _addressed(self, output: Output, value: Any) -> Any:
        assert (output.partition, output.key.decode()) == (partition_of(value.nas, self.core.partitions), value.nas)
        return value


def play(*records: Record) -> Journal:
    """A journal with these records in it."""
    return Journal().feed(*records)
