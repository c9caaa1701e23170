"""One journal record on its way through a partition: a change to the table and the outputs that go with it, committed together.

What lives here: ids, references and events, which every decision needs. What may not: a decision. Those take a `Step` and stand in
`session_records`, `ends`, `deaths`, `limiting`, `disconnects` and `outcomes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from schemas.codec import encode
from schemas.event import EventType, RecordRef, SessionEvent
from schemas.group import SLOT_KIND, SlotMessage
from schemas.session import ClaimBatch, IdentityRow, NasRow, SessionRow, Spent
from schemas.topics import COMMANDS, EVENTS, SLOTS
from streams.ids import decision_id
from streams.partitioner import partition_of
from streams.table import Change

if TYPE_CHECKING:
    import msgspec

    from schemas.journal import PolicyVersion
    from streams.session_core import SessionCore


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


class Step:
    """One record on its way through.

    Attributes:
        core: the partition. offset: the record's. nth: decisions of this record so far. time_ms: the log's time.
        change: what it does to the table. new_policy: a version that holds from here on. spent: a group's quota that is spent from here on.
    """

    __slots__ = ("change", "claims", "core", "event_types", "new_policy", "nth", "offset", "out", "spent", "time_ms")

    def __init__(self, core: SessionCore, offset: int, nth: int = 0) -> None:
        self.core = core
        self.offset = offset
        self.nth = nth
        self.time_ms = core.row.wall_ms
        self.change = Change(core.table)
        self.out: list[Output] = []
        self.event_types: list[str] = []
        self.new_policy: PolicyVersion | None = None
        self.claims: tuple[ClaimBatch, ...] | None = None
        self.spent: Spent | None = None

    def commit(self, out: list[Output]) -> None:
        """Everything of it, at once."""
        self.core.table.commit(self.change)
        if self.new_policy is not None:
            self.core.policy_changed(self.new_policy, self.offset)
        if self.claims is not None and self.claims != self.core.row.claims:
            self.core.row = replace(self.core.row, claims=self.claims)
        if self.spent is not None:
            self.core.group_spent(self.spent)
        seen = self.core.event_types
        for event_type in self.event_types:
            seen[event_type] = seen.get(event_type, 0) + 1
        out += self.out

    def new_id(self, identity: str) -> str:
        """The id of the next decision."""
        self.nth += 1
        return decision_id(self.core.partition, self.offset, self.nth - 1, identity)

    def ref(self, offset: int) -> RecordRef:
        """A record of this journal."""
        return RecordRef(self.core.journal_topic, self.core.partition, offset)

    def to_kicker(self, row: SessionRow, kind: str, value: msgspec.Struct) -> None:
        """Something for the kicker, in the line of the session's NAS."""
        self.out.append(Output(COMMANDS.name, partition_of(row.nas, self.core.partitions), row.nas.encode(), encode(value), kind))

    def to_group(self, op: str, group: str, identity: str, key: str, **more: Any) -> None:
        """Something about a session for the group agent, in the line of the group."""
        core = self.core
        self.nth += 1
        message = SlotMessage(
            op=op,  # type: ignore[arg-type]  # one of its ops, by the callers
            group=group,
            identity=identity,
            session=key,
            partition=core.partition,
            offset=self.offset,
            nth=self.nth - 1,
            time_ms=core.row.wall_ms,
            **more,
        )
        self.out.append(Output(SLOTS.name, partition_of(group, core.partitions), group.encode(), encode(message), SLOT_KIND))

    def event(
        self,
        event_type: EventType,
        row: SessionRow,
        *,
        because: list[RecordRef] | None = None,
        cause: str | None = None,
        **more: Any,
    ) -> None:
        """Tell what happened to a session, with the next sequence number of its identity."""
        identity = self.change.next_seq(row.identity, self.offset)
        records = because or [self.ref(self.offset)]
        event = event_of(event_type, row, identity, self.time_ms, self.new_id(row.identity), cause or row.cause, records, **more)
        self.send_event(event, row.identity)

    def nas_event(self, event_type: EventType, nas: NasRow, *, text: str | None = None) -> None:
        """Tell what happened to a NAS, with the next sequence number of its own; its row becomes this one. In its home partition only."""
        nas = replace(nas, seq=nas.seq + 1, seq_epoch=nas.seq_epoch or self.offset)
        self.change.nases[nas.nas] = nas
        event = SessionEvent(
            id=self.new_id(nas.nas),
            type=event_type,
            seq=nas.seq,
            seq_epoch=nas.seq_epoch,
            time_ms=self.time_ms,
            nas=nas.nas,
            because=[self.ref(self.offset)],
            text=text,
        )
        self.send_event(event, nas.nas)

    def send_event(self, event: SessionEvent, key: str) -> None:
        """Tell an event that is made already."""
        self.event_types.append(event.type)
        self.out.append(Output(EVENTS.name, self.core.partition, key.encode(), encode(event)))


def event_of(  # noqa: PLR0917 - by position, as below
    event_type: EventType,
    row: SessionRow,
    identity: IdentityRow,
    time_ms: int,
    event_id: str,
    cause: str | None,
    because: list[RecordRef],
    **more: Any,
) -> SessionEvent:
    """What happened to a session, with the sequence number that its identity has given out last."""
    return SessionEvent(  # by position: naming its fields would cost as much as all else in here
        event_id,
        event_type,
        identity.seq,
        identity.seq_epoch,
        time_ms,
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
        cause,
        row.said_by,
        because,
        **more,
    )
