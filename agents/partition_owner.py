"""One partition's life in this worker: fenced, restored, applied, checkpointed; given up, or standing still with a reason.

What lives here: the order of these, and what each failure leads to. What may not: the transaction (`checkpoint`), the reading back
(`restore`), the group (`poll`), any decision about a session (the core).

Theory of operation. State and offset move together: the core's rows and its next offset are taken in one step without an await, what the
records before that offset led to is awaited, then both are committed in one transaction. The partition goes on applying meanwhile. Whatever
fails, the core is thrown away and read back from the table, so nothing half done survives:

    a checkpoint fails        restored and tried again; after `TRIES_MAX` times without one that succeeded, the partition stands still
    ProducerFenced            somebody else has the partition: wait for the group to say so; if it is still ours then, restore it
    the journal has a hole    it stands still (`OffsetGoneError`); the other partitions go on
    anything else             ends the process: a supervisor starts it again
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import ConsumerRecord, TopicPartition

from agents import checkpoint, metrics
from agents.garbage import settle
from agents.kafka_client import close, passes, prefixed, topic_name
from agents.restore import OffsetGoneError, find_start, read_table
from agents.sender import Ledger, Sendable, Sender
from agents.tasks import end
from schemas.codec import UNREADABLE
from schemas.configuration import Configuration
from schemas.errors import CurfewError
from schemas.group import SLOT_KIND
from schemas.journal import KINDS
from schemas.topics import KIND_HEADER, Topic, fence_key

OUTPUTS_MAX = 20_000
"""Outputs of a partition that Kafka has not acknowledged; beyond it the partition is paused until half of them are."""
ROWS_FACTOR = 4
"""A partition is paused while it has touched this many times `checkpoint_rows` since the checkpoint that is under way."""
TRIES_MAX = 6
"""Checkpoints that Kafka refused in a row, after which a partition stands still."""
RETRY_S = 0.2
RESTORES_AT_ONCE = 4

log = logging.getLogger(__name__)


class Core(Protocol):
    """What a partition is applied by (`streams.session_core.SessionCore`, `streams.group_core.GroupCore`)."""

    rejected_reasons: dict[str, int]
    event_types: dict[str, int]
    sightings: dict[str, int]
    in_pieces: bool
    pending: Iterator[None] | None
    following: list[Any]

    @property
    def next_offset(self) -> int:
        """The next journal record to apply; 0 for an empty table."""

    @property
    def touched(self) -> int:
        """Rows touched since the last checkpoint."""

    @property
    def open_sessions(self) -> int:
        """Sessions that are open, or hold a slot."""

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take a row of the table; None is a tombstone."""

    def indexing(self) -> Iterator[None]:
        """The last row was taken; it is done when this is through."""

    def apply(self, offset: int, kind: str, key: bytes | None, value: bytes | None, out: list[Any]) -> None:
        """Take a record of the journal; what it leads to is appended to `out`."""

    def finish(self, out: list[Any]) -> None:
        """What is left of `pending`, which a record leaves behind to be done before the next one, is done; its outputs are in `out`."""

    def checkpointing(self, rows: list[checkpoint.Row]) -> Iterator[None]:
        """The rows touched since the last call are appended to `rows`, a piece at each step; nothing is applied before it is through."""


CoreMaker = Callable[[int, int, str], Core]
"""(partition, partitions, the journal's name) -> an empty core."""


@dataclass(frozen=True)
class Lane:
    """One of the worker's agents, as far as its partitions go.

    Attributes:
        agent: its pinned name. journal: what it reads. table: where its rows rest.
        group: its consumer group, and with the partition its transactional.id; both without the installation's prefix.
        make_core: makes an empty core for a partition.
        metrics: what is measured of it.
        idle_periods: a partition of which no row changed is checkpointed only each so many periods: ticks alone are soon applied again.
    """

    agent: str
    journal: Topic
    table: Topic
    group: str
    make_core: CoreMaker
    metrics: metrics.LaneMetrics
    idle_periods: int = 1


class CheckpointError(CurfewError):
    """A partition's rows cannot be written."""


class RestoreError(CurfewError):
    """A partition's state cannot be read back."""


class State(Enum):
    """Where a partition is in its life."""

    RESTORING = "restoring"
    RUNNING = "running"
    FENCED = "taken over by another worker"
    STANDING = "standing still"


@dataclass
class Surroundings:
    """What the partitions of one membership share.

    Attributes:
        configuration: as loaded.
        lane: whose partitions they are.
        consumer: the group's; partitions are paused, moved and resumed on it.
        sender: takes the outputs.
        epoch: counts assignments and moves of a partition: a poll drained before a partition's last move is not applied to it.
        on_failure: called with what has to end the membership or the process.
        on_change: called when a partition's state changed.
        on_checkpoint: called after each committed checkpoint.
    """

    configuration: Configuration
    lane: Lane
    consumer: AIOKafkaConsumer
    sender: Sender
    on_failure: Callable[[Exception], None]
    on_change: Callable[[], None]
    on_checkpoint: Callable[[], None]
    epoch: int = 0
    restores: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RESTORES_AT_ONCE))


class PartitionOwner:
    """One partition of the journal and of the table.

    Attributes:
        state: where it is in its life. reason: why it stands still.
        next_offset: the next journal record to apply.
    """

    def __init__(self, partition: int, around: Surroundings) -> None:
        configuration, lane = around.configuration, around.lane
        self.state = State.RESTORING
        self.reason = ""
        self.next_offset = 0
        self.journal = TopicPartition(topic_name(configuration, lane.journal), partition)
        self._table = TopicPartition(topic_name(configuration, lane.table), partition)
        self._group = prefixed(configuration, lane.group)
        self._settings = configuration.worker
        self._lane = lane
        self._around = around
        self._core: Core  # from the restore on
        self._ledger = Ledger(self._on_acknowledged)
        self._epoch = 0
        self._committed = 0
        self._pauses = {"restore"}
        self._failures = 0
        self._due = asyncio.Event()
        self._settled = asyncio.Event()
        self._task = asyncio.create_task(self._live(), name=f"partition {partition}")

    # What the group and the polls tell it

    def assigned(self) -> None:
        """The group has (again) given us the partition: the consumer forgot position and pauses, so set both. Nothing waits here."""
        consumer = self._around.consumer
        self._epoch = self._around.epoch
        # A partition without position would make the consumer ask the group for one, and `auto_offset_reset="none"` raise
        consumer.seek(self.journal, self.next_offset)
        if self._pauses:
            consumer.pause(self.journal)

    def freeze(self) -> None:
        """Apply nothing of what was polled so far; `assigned` ends it."""
        self._epoch = self._around.epoch

    async def hand_over(self) -> None:
        """Checkpoint what was applied, after `freeze`. Does not raise: if it cannot, the next owner applies those records again."""
        while self.state is State.RUNNING and self._committed != self.next_offset:
            self._settled.clear()
            self._due.set()
            await self._settled.wait()

    async def give_up(self) -> None:
        """End it without a checkpoint."""
        await end(self._task)
        self._lane.metrics.open.labels(self.journal.partition).set(0)  # the next owner, perhaps in another process, says what there is

    def apply(self, epoch: int, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Apply polled records and hand their outputs over; a poll from before the partition's last move is dropped.

        Raises:
            Exception: what the core raises; it never does for a record's content.
        """
        if self.state is not State.RUNNING or epoch < self._epoch:
            return
        outputs: list[Sendable] = []
        kinds = [_kind_of(record) for record in records]
        core, apply, applied = self._core, self._core.apply, 0
        for record, kind in zip(records, kinds, strict=True):
            apply(record.offset, kind, record.key, record.value, outputs)
            applied += 1
            if core.pending is not None:  # seconds of work where there are millions of sessions: `_own` does it in pieces
                self._hold("pending")
                self._due.set()
                break
        self.next_offset = records[applied - 1].offset + 1
        self._put(outputs)
        if self._ledger.unacknowledged > OUTPUTS_MAX:
            self._pause("outputs")
        touched = self._core.touched
        if touched >= self._settings.checkpoint_rows:
            self._due.set()
            if touched >= ROWS_FACTOR * self._settings.checkpoint_rows:
                self._pause("rows")
        self._count(kinds[:applied])

    def _put(self, outputs: list[Sendable]) -> None:
        if outputs:
            self._around.sender.put(outputs, self._ledger)

    def _hold(self, why: str) -> None:
        """Apply nothing until `_go_on`: what was polled already comes once more."""
        self._pause(why)
        self._around.epoch += 1
        self._epoch = self._around.epoch

    def _go_on(self, why: str) -> None:
        if self._is_assigned():
            self._around.consumer.seek(self.journal, self.next_offset)
        self._resume(why)

    # Its life

    async def _live(self) -> None:
        """Own the partition until cancelled; see the module's table of failures."""
        while True:
            try:
                await self._own()
            except ProducerFenced:
                log.info("partition %d of %s was taken over by another worker", self.journal.partition, self.journal.topic)
                self._change(State.FENCED)
                # Once heartbeats had time to tell us, the group has taken the partition away (and ended this task), or it is ours again
                await asyncio.sleep(self._settings.session_timeout_s)
            except KafkaError as error:
                log.warning("partition %d of %s is given up and restored: %r", self.journal.partition, self.journal.topic, error)
                self._failures += not passes(error)
                if self._failures >= TRIES_MAX:
                    self._stand_still(_cannot_write(self._table, error))
                    return
                self._change(State.RESTORING)
                await asyncio.sleep(RETRY_S * 2**self._failures)
            except OffsetGoneError as gone:
                self._stand_still(gone)
                return
            except Exception as error:  # noqa: BLE001 - it ends the process; nobody awaits this task
                self._around.on_failure(error)
                return

    async def _own(self) -> None:
        producer = await self._restore()
        try:
            partition, partitions = self.journal.partition, self._around.configuration.kafka.partitions
            wait_s = self._settings.checkpoint_s * (partition + 1) / partitions  # the partitions take turns within the period
            idle = 0
            while True:
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the event
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._due.wait()
                wait_s = self._settings.checkpoint_s
                if self._core.pending is not None:
                    await self._finish_pending()
                idle = self._lane.idle_periods if self._due.is_set() or self._core.touched else idle + 1
                self._due.clear()
                if self._committed != self.next_offset and idle >= self._lane.idle_periods:
                    await self._checkpoint(producer)
                    idle = 0
                self._settled.set()
        finally:
            await close(producer)

    async def _finish_pending(self) -> None:
        core = self._core
        for _ in core.pending or ():
            self._put(core.following)
            core.following = []
            if self._ledger.unacknowledged > OUTPUTS_MAX:
                await self._ledger.share.settled()
            await asyncio.sleep(0)  # heartbeats and the other partitions live, as while it is restored
        left: list[Sendable] = []
        core.finish(left)
        self._put(left)
        self._go_on("pending")

    async def _restore(self) -> AIOKafkaProducer:
        """Fence the former owner, read the table back, and go on where it says.

        Raises:
            OffsetGoneError: see `restore.find_start`.
            ProducerFenced: another worker fenced us meanwhile.
            RestoreError: Kafka refused. Retriable refusals are retried here.
        """
        self._pause("restore")
        self._change(State.RESTORING)
        started_s = time.monotonic()
        while True:
            async with self._around.restores:  # for each try: partitions that must wait hold up no others
                try:
                    producer, core, start = await self._read_back()
                    break
                except ProducerFenced:
                    raise
                except KafkaError as error:
                    if not passes(error):
                        raise RestoreError(f"Partition {self.journal.partition} could not be restored: {error!r}.") from error
                    log.warning("the restore of partition %d of %s is tried again: %r", self.journal.partition, self.journal.topic, error)
                    await asyncio.sleep(RETRY_S)
        self._core, self._ledger = core, Ledger(self._on_acknowledged)
        self.next_offset = self._committed = start
        self._count(())  # what is open is told at once, also where no record comes
        settle()
        metrics.RESTORE_S.observe(time.monotonic() - started_s)
        self._run()
        return producer

    async def _read_back(self) -> tuple[AIOKafkaProducer, Core, int]:
        configuration, fence = self._around.configuration, fence_key(self.journal.partition).encode()
        core = self._lane.make_core(self.journal.partition, configuration.kafka.partitions, self.journal.topic)
        core.in_pieces = True

        strange = 0

        def take(key: bytes, value: bytes | None) -> None:
            nonlocal strange
            if key == fence:
                return
            try:
                core.restore(key, value)
            except UNREADABLE as wrong:
                if isinstance(wrong, msgspec.ValidationError) and (value or b"").startswith(b"{"):
                    raise  # it may be a row of another version: to pass it over would be to forget
                strange += 1  # no version of us writes keys that are no text and values that are no object of JSON

        producer = await checkpoint.fence(configuration, self._table, self._lane.group)
        try:
            await read_table(configuration, self._table, take)
            if strange:
                log.warning("%d rows in partition %d of %s are not ours, and are passed over", strange, *self._table[::-1])
            for _ in core.indexing():
                await asyncio.sleep(0)  # heartbeats and the other partitions live, however many rows there are
            return producer, core, await find_start(self._around.consumer, self.journal, core.next_offset)
        except BaseException:
            await close(producer)
            raise

    async def _checkpoint(self, producer: AIOKafkaProducer) -> None:
        started_s = time.monotonic()
        rows: list[checkpoint.Row] = []
        taking = self._core.checkpointing(rows)
        if self._core.touched >= ROWS_FACTOR * self._settings.checkpoint_rows:  # seconds of work, as after a rule that moves millions
            self._hold("taking")
            for _ in taking:
                await asyncio.sleep(0)
            self._go_on("taking")
        for _ in taking:
            pass
        # Rows, offset and outputs up to it: one step, no await between them
        share, next_offset = self._ledger.cut(), self.next_offset
        self._resume("rows")
        await share.settled()
        await checkpoint.write(producer, self._table, rows, (self.journal, next_offset, self._group))
        self._committed = next_offset
        self._failures = 0
        self._around.on_checkpoint()
        metrics.CHECKPOINT_S.observe(time.monotonic() - started_s)
        self._lane.metrics.checkpoint_ms.labels(self.journal.partition).set(time.time() * 1000)

    # Its state

    def _run(self) -> None:
        self._around.epoch += 1
        self._epoch = self._around.epoch
        self._change(State.RUNNING)
        if self._is_assigned():
            self._around.consumer.seek(self.journal, self.next_offset)
        self._resume(*self._pauses)

    def _stand_still(self, why: CurfewError) -> None:
        log.error("%s", why)
        self.reason = str(why)
        self._change(State.STANDING)

    def stand_still(self, why: CurfewError) -> None:
        """The consumer found that the partition cannot go on."""
        self._task.cancel()
        self._pause("standing")
        self._stand_still(why)

    def _change(self, state: State) -> None:
        self.state = state
        self._settled.set()
        self._around.on_change()

    def _pause(self, why: str) -> None:
        if not self._pauses and self._is_assigned():
            self._around.consumer.pause(self.journal)
        self._pauses.add(why)

    def _resume(self, *why: str) -> None:
        self._pauses.difference_update(why)
        if not self._pauses and self._is_assigned():
            self._around.consumer.resume(self.journal)

    def _is_assigned(self) -> bool:
        return self.journal in self._around.consumer.assignment()

    def _on_acknowledged(self) -> None:
        if "outputs" in self._pauses and self._ledger.unacknowledged <= OUTPUTS_MAX // 2:
            self._resume("outputs")

    # What is measured of it

    def _count(self, kinds: Sequence[str]) -> None:
        core, partition, measured = self._core, self.journal.partition, self._lane.metrics
        for kind, count in Counter(kinds).items():
            measured.applied.labels(kind if kind in _KIND_NAMES.values() else "unknown").inc(count)
        counted = ((metrics.REJECTED, core.rejected_reasons), (measured.told, core.event_types), (metrics.SIGHTINGS, core.sightings))
        for metric, counts in counted:
            for label, count in counts.items():
                metric.labels(label).inc(count)
            counts.clear()
        measured.open.labels(partition).set(core.open_sessions)
        highwater = self._around.consumer.highwater(self.journal) if self._is_assigned() else None
        if highwater is not None:
            measured.lag.labels(partition).set(highwater - self.next_offset)


def _kind_of(record: ConsumerRecord[bytes, bytes]) -> str:
    for name, value in record.headers:
        if name == KIND_HEADER:
            return _KIND_NAMES.get(value) or (value or b"").decode("utf-8", "replace")
    return ""


_KIND_NAMES = {kind.encode(): kind for kind in (*KINDS, SLOT_KIND)}


def _cannot_write(table: TopicPartition, error: KafkaError) -> CheckpointError:
    return CheckpointError(
        f"Partition {table.partition} stands still: {TRIES_MAX} checkpoints into {table.topic} in a row failed, the last with {error!r}. "
        "Look at the broker's log and at the topic's max.message.bytes and rights, then start this worker again."
    )
