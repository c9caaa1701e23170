"""The rows of `session.table`: a session, an identity, a NAS and a partition.

A row has two forms with the same fields. In the topic it is JSON by name (`named`), since people read it and other systems take it as the
live directory. In memory it is positional msgpack (`packed`). Both are made here, so that a field added to a row is added once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

import msgspec

from schemas.codec import Text, encode
from schemas.disconnect import Reason
from schemas.event import SaidBy

SessionState = Literal["open", "suspect", "ended"]
"""`suspect`: silent for so long that it is asked, or was missed once; open in all other respects (behaviours 3.1 to 3.3)."""
KickState = Literal["requested", "acknowledged", "refused", "unanswered", "unconfirmed", "confirmed"]


class GroupAnswer(msgspec.Struct, array_like=True, frozen=True):
    """A group agent's answer that waits in a session's row for those of its other groups.

    Attributes:
        group: which. offset: the verdict's in the journal.
        refused_by: the limit that refuses; empty: granted. current: slots taken without this session, of most allowed, by that limit.
        passed: limits passed, as the live log says them.
    """

    group: str
    offset: int
    refused_by: str = ""
    current: int = 0
    most: int = 0
    passed: tuple[str, ...] = ()


class SessionRow(msgspec.Struct, array_like=True, gc=False):
    """A session as the journal tells it; the directory's row.

    Attributes:
        device: the Calling-Station-Id as one MAC notation (lower case, colons), where it is one.
        order_ms: its place among others: arrival of its first record, less Acct-Delay-Time, and less Acct-Session-Time if that is no Start.
        opened_offset: the journal offset of its first record.
        opened_by: the Acct-Status-Type of that record.
        started_ms: by the NAS's word: the Start's event time, else the smallest (event time less Acct-Session-Time).
        start_seen: a Start was seen. start_believed: what `started_ms` follows from is an Event-Timestamp near its arrival;
            event_believed: and so is `event_ms`.
        last_seen_ms: arrival of the last record. event_ms: the newest event time. last_offset: the last record's offset.
        heard_ms: the NAS's talking clock at the last record. observed_s: the interim interval as observed on that clock.
        counts: it takes part in limits (false while only old news was heard of it). unproven: opened by an Interim and not yet heard
            for one interim interval: it counts, and causes no breach.
        interims: how many Interims were heard.
        closed_ms: the partition's clock when it ended: the grace period counts from there.
        kick_*: the disconnect command in flight or the last one.
        opened_clock_ms: the partition's clock when it began, for the counter time limit; as `order_ms`, less Acct-Session-Time.
        groups: groups and guest types (`guest:NAME`) that its records told; groups_by: the attribute that told each of them.
        breached: limits that it breached and that did nothing about it: it never enters their counts.
        slots: groups in which the group agent was told that it counts. asked: those whose verdict on it is awaited.
        verdicts: what was answered so far, until all is. asked_at: (group, offset) of each question: another answer is a repeat.
        alive_ms: the NAS's talking clock at the client's last sign of life; alive_at_ms: when that was, milliseconds since the epoch.
        probes: how often it was missed since then, each time a probe where the rule has them; probed_ms: the partition's clock at the last.
        session_timeout_s, idle_timeout_s, termination_action: as the NAS told them, where they are believed; the first as its login was
            promised, as long as the NAS tells none.
        moved_ms: the NAS's talking clock when octets last moved.
        timeouts: how often it was ordered to go because its time was over.
        disbelieved: attributes of which the NAS told something that cannot be.
        claim_offset: the record since which the other partitions are to be asked whether they hold this session under another identity;
            -1: they are not. claim_batch: the tick that asked them, until all have answered. claimed_ms: `heard_ms` when they were to be
            asked because it is silent.
        before: `order_ms` and Acct-Session-Time of the session that had its Acct-Session-Id before it, and was replaced by it.
    """

    nas: str
    acct_session_id: Text
    identity: str
    state: SessionState
    user_name: Text | None = None
    calling_station_id: Text | None = None
    device: str | None = None
    framed_ip_address: str | None = None
    acct_multi_session_id: Text | None = None
    audit_session_id: Text | None = None
    nas_ip_address: str | None = None
    nas_ipv6_address: str | None = None
    nas_identifier: Text | None = None
    nas_port: int | None = None
    nas_port_id: Text | None = None
    nas_port_type: str | int | None = None
    called_station_id: Text | None = None
    class_: Text | None = None
    chargeable_user_identity: Text | None = None
    framed_ipv6_prefix: str | list[str] | None = None
    framed_interface_id: str | None = None
    source: str = ""
    order_ms: int = 0
    opened_offset: int = 0
    opened_by: str = "Start"
    started_ms: int | None = None
    start_seen: bool = False
    start_believed: bool = False
    last_seen_ms: int = 0
    event_ms: int = 0
    last_offset: int = 0
    heard_ms: int = 0
    session_time_s: int | None = None
    input_octets: int | None = None
    output_octets: int | None = None
    input_packets: int | None = None
    output_packets: int | None = None
    interims: int = 0
    interim_interval_s: int | None = None
    observed_s: int | None = None
    counts: bool = True
    opened_clock_ms: int = 0
    groups: tuple[str, ...] = ()
    groups_by: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    alive_ms: int = 0
    alive_at_ms: int = 0
    session_timeout_s: int | None = None
    moved_ms: int = 0
    event_believed: bool = False
    cause: str | None = None
    said_by: SaidBy | None = None
    kick_id: str | None = None
    kick_state: KickState | None = None
    kick_reason: Reason | None = None
    kick_rule: str | None = None
    operator_id: str | None = None
    breached: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    disbelieved: tuple[str, ...] = ()
    verdicts: tuple[GroupAnswer, ...] = ()
    asked_at: tuple[tuple[str, int], ...] = ()
    before: tuple[int, int] | None = None
    ended_ms: int | None = None
    closed_ms: int | None = None
    kick_attempt: int = 0
    kick_clock_ms: int = 0
    probes: int = 0
    probed_ms: int = 0
    timeouts: int = 0
    claim_offset: int = -1
    claim_batch: int = -1
    claimed_ms: int = -1
    unproven: bool = False
    termination_action: int | str | None = None
    idle_timeout_s: int | None = None


DISCONNECT_FIELDS = (
    "user_name",
    "nas_ip_address",
    "nas_port",
    "framed_ip_address",
    "class",
    "called_station_id",
    "calling_station_id",
    "nas_identifier",
    "acct_session_id",
    "acct_multi_session_id",
    "nas_port_type",
    "nas_port_id",
    "chargeable_user_identity",
    "nas_ipv6_address",
    "framed_interface_id",
    "framed_ipv6_prefix",
    "audit_session_id",
)
"""The fields of a session that a Disconnect-Request may carry: `DisconnectCommand.session` holds those the NAS sent."""


class Hold(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A device that a limit evicted and that may not evict in turn (behaviour 4.4); until_ms is on the partition's clock."""

    device: str
    rule: str
    until_ms: int


class Window(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How much of a quota is used in the window that is open (behaviour 4.6).

    Attributes:
        rule: the quota's name. group: in which group or guest type; empty for a user's.
        from_ms, until_ms: the window, milliseconds since the epoch.
        used: octets or milliseconds. extra: what an operator gave on top, in the same unit.
        warned: the highest share in percent that was told. reached: the quota's end was told.
        order_id: of the last operator's order that was carried out.
    """

    rule: str
    group: str
    from_ms: int
    until_ms: int
    used: int = 0
    extra: int = 0
    warned: int = 0
    reached: bool = False
    order_id: str = ""


class Recent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The last Starts that a rate counts (behaviour 4.7), as times on the partition's clock, oldest first.

    Attributes:
        rule: the rate's name. group: in which group or guest type; empty for a user's.
        until_ms: when the last of them slides out of the window.
    """

    rule: str
    group: str
    starts_ms: tuple[int, ...]
    until_ms: int = 0


class Spent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A whole group's quota of which nothing is left, as the group agent said it (behaviour 4.6).

    Attributes:
        rule: the quota's name. group: which group.
        until_ms: when its window closes, milliseconds since the epoch.
        used: octets or seconds. offset: of that verdict in this partition's journal.
        extra: what an operator gave on top, as `used`.
    """

    rule: str
    group: str
    until_ms: int
    used: int
    offset: int
    extra: int = 0


class Promised(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A Session-Timeout that waits for a Start (`schemas.journal.Promise`).

    Attributes:
        device: its MAC; None: any. until_ms: on the partition's clock.
    """

    id: str
    nas: str
    device: str | None
    session_timeout_s: int
    until_ms: int


class IdentityRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is kept of an identity beside its sessions; so small that it rests in memory as it is, and so is never changed in place.

    Attributes:
        seq: the last sequence number given out. seq_epoch: the journal offset at which this row was born.
        holds: devices that may not evict for a while; the last ones only.
        groups: groups and guest types (`guest:NAME`) that an operator gave.
        windows: usage of the quotas that touch it. recent: Starts of the rates that touch it.
        lingers_ms: no session of it is left, and it is looked at again when the partition's clock shows this; -1: not so.
        promises: what logins were let in with, for the sessions that are about to begin; the last ones only.
    """

    identity: str
    seq: int = 0
    seq_epoch: int = 0
    holds: tuple[Hold, ...] = ()
    groups: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    recent: tuple[Recent, ...] = ()
    lingers_ms: int = -1
    promises: tuple[Promised, ...] = ()


class Boot(msgspec.Struct, array_like=True, frozen=True):
    """An Accounting-On or -Off that was taken.

    Attributes:
        status: which of them. event_ms: when, and believed: whether that is an Event-Timestamp.
        acct_session_id: its own, where it had one. nas_identifier, nas_ip_address: as which device the NAS spoke.
    """

    status: str
    event_ms: int
    believed: bool
    acct_session_id: Text | None = None
    nas_identifier: Text | None = None
    nas_ip_address: str | None = None


Stamps = Literal["", "believed", "disbelieved"]


class NasRow(msgspec.Struct, array_like=True):
    """What a partition knows of a NAS (`streams.clock` keeps the clock's part).

    Attributes:
        clock_ms: the talking clock: how long this NAS was heard to talk, up to the last packet known of.
        follows: the ingest whose clock measures it; empty: none.
        talks: by ingest: up to where on that ingest's elapsed clock its talk is counted.
        boot: the last Accounting-On or -Off that was taken.
        seq, seq_epoch: the sequence of the NAS's own events, in its home partition.
        window_ms: within which it is heard again, as the ingests say.
        unheard_ms: the partition's clock since when no ingest hears it. silent: that was told. Both in its home partition only.
        asked_ms: the partition's clock when it was last asked whether it talks; asked: the offset at which that was, -1 once it has
            answered, 0 when no question is open.
        interims: an Interim was heard. mute_sessions: sessions in a row that lasted for long and ended without any.
        stamps: whether its Event-Timestamps are believed; empty: none was seen that is not.
        late_ms: by how much its clock is behind: all its records are late by so much. late_since_ms, late_least_ms, late_most_ms: what that
            is being learned from; since -1: from nothing.
        ceased_by: the ingest that ceased to hear it, as the last of all; empty: one hears it, or that ingest is gone with it.
        since_ms: the partition's clock from which on an answer says something of the time that has passed.
    """

    nas: str
    clock_ms: int = 0
    follows: str = ""
    talks: dict[str, int] = {}
    boot: Boot | None = None
    seq: int = 0
    seq_epoch: int = 0
    window_ms: int = 0
    unheard_ms: int | None = None
    silent: bool = False
    asked_ms: int = 0
    asked: int = 0
    interims: bool = False
    mute_sessions: int = 0
    stamps: Stamps = ""
    late_ms: int = 0
    late_since_ms: int = -1
    late_least_ms: int = 0
    late_most_ms: int = 0
    ceased_by: str = ""
    since_ms: int = 0


class IngestClock(msgspec.Struct, array_like=True, frozen=True):
    """One ingest's clock as a partition saw it.

    Attributes:
        mono_ms: the monotonic reading of its last tick. elapsed_ms: the capped differences, added up.
        ticked_ms: the partition's clock at its last tick. leader_ms: its own elapsed_ms when the leader last ticked.
    """

    mono_ms: int
    elapsed_ms: int
    ticked_ms: int
    leader_ms: int


class ClaimBatch(msgspec.Struct, array_like=True, frozen=True):
    """A question to the other partitions that not all of them have answered yet (`streams.claims`).

    Attributes:
        batch: the offset of the tick that asked. asked_ms: the partition's clock when they were last asked.
        waiting: the partitions that have not answered.
    """

    batch: int
    asked_ms: int
    waiting: tuple[int, ...]


class PartitionRow(msgspec.Struct, array_like=True):
    """What a partition itself must remember. The state and this offset move in one transaction.

    Attributes:
        next_offset: the first journal record that is not in the table yet.
        clock_ms: the partition's clock: the leader's capped tick differences, added up.
        wall_ms: the leader's wall clock at its last tick: the log's time.
        period_ms: how far apart ticks are.
        leader: the ingest whose ticks drive `clock_ms`.
        ingests: each ingest's own clock.
        claims: questions to the other partitions that are open.
        policies: (version, offset at which it took effect), the last ones only; the last one is in force.
        spent: quotas of whole groups that are spent, until their windows close; the last ones only.
        unclaimed: NASes with sessions that no other partition holds, told since the last tick, which looks whether they are dead so.
    """

    partition: int
    next_offset: int = 0
    clock_ms: int = 0
    wall_ms: int = 0
    period_ms: int = 1000
    leader: str = ""
    ingests: dict[str, IngestClock] = {}
    policies: list[tuple[int, int]] = []
    claims: tuple[ClaimBatch, ...] = ()
    spent: tuple[Spent, ...] = ()
    unclaimed: tuple[str, ...] = ()


R = TypeVar("R", bound=msgspec.Struct)
_ARRAY_16 = b"\xdc"
"""msgpack's array of 16 to 65,535: this and its length in two octets."""


class RowKind(Generic[R]):
    """The two forms of one kind of row.

    Args:
        seldom_from: the first of those last fields that most rows have at their defaults. Where all are, the packed row ends before
            them: an octet less in memory for each.

    Attributes:
        packed: row -> msgpack bytes. unpacked: msgpack bytes -> row.
        named_type: the struct by name that stands in the topic, for JSON Schema.
    """

    def __init__(self, kind: type[R], seldom_from: str | None = None) -> None:
        fields = []
        for field in msgspec.structs.fields(kind):
            default: Any = msgspec.field(name=field.encode_name.removesuffix("_"))
            if field.default is not msgspec.NODEFAULT:
                default = msgspec.field(default=field.default, name=field.encode_name.removesuffix("_"))
            elif field.default_factory is not msgspec.NODEFAULT:
                default = msgspec.field(default_factory=field.default_factory, name=field.encode_name.removesuffix("_"))
            fields.append((field.name, field.type, default))
        self.kind = kind
        self.packed: Callable[[R], bytes] = msgspec.msgpack.Encoder().encode if seldom_from is None else _shortened(kind, seldom_from)
        self.unpacked = msgspec.msgpack.Decoder(kind).decode
        self.named_type = msgspec.defstruct(kind.__name__, fields, omit_defaults=True, module=__name__, namespace={"__doc__": kind.__doc__})
        self._from_named = msgspec.json.Decoder(self.named_type).decode

    def named(self, row: R) -> bytes:
        """The row as JSON by name; fields at their default are left out."""
        return encode(self.named_type(*msgspec.structs.astuple(row)))

    def read(self, value: bytes) -> R:
        """The row out of its JSON by name.

        Raises:
            msgspec.ValidationError: it is not such a row, or a number in it has more than 64 bits.
            msgspec.DecodeError: it is not JSON.
        """
        return self._read(value)[0]

    def repacked(self, value: bytes) -> bytes:
        """The packed row out of its JSON by name; raises what `read` does."""
        return self._read(value)[1]

    def _read(self, value: bytes) -> tuple[R, bytes]:
        row = self.kind(*msgspec.structs.astuple(self._from_named(value)))
        try:
            return row, self.packed(row)
        except OverflowError as wide:
            raise msgspec.ValidationError(f"a number has more than 64 bits ({wide})") from wide


def _shortened(kind: type[R], seldom_from: str) -> Callable[[R], bytes]:
    """A packer of rows that end before the seldom fields where those are at their defaults.

    The last octets of a packed row tell whether they are, if what looks like the defaults can be nothing else. Each of them is one octet
    that begins no longer value, so another value could only end with the first of them. Those ten are texts and lists of texts: seven times
    0xc0 (None), which is in no UTF-8, and three times 0x90 (an empty list). A number of a later field has at most eight octets, and in no
    list do two lists follow it (tests/pure/test_packed_rows.py holds all of this).
    """
    names = kind.__struct_fields__
    kept = names.index(seldom_from)
    encode_row = msgspec.msgpack.Encoder().encode
    usual = b"".join(encode_row(default) for default in kind.__struct_defaults__[kept - len(names) :])
    head = _ARRAY_16 + kept.to_bytes(2, "big")
    begin, end = len(head), -len(usual)

    def packed(row: R) -> bytes:
        octets = encode_row(row)
        return head + octets[begin:end] if octets.endswith(usual) else octets

    return packed


SESSION_ROW = RowKind(SessionRow, seldom_from="cause")
IDENTITY_ROW = RowKind(IdentityRow)
NAS_ROW = RowKind(NasRow)
PARTITION_ROW = RowKind(PartitionRow)
