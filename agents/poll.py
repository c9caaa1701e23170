"""Polls of a journal onto its agent's channel, and the group's rebalances: one membership after the other.

What lives here: the consumer, its rebalance listener, the service that polls, what a failure ends. What may not: a partition's own life
(`partition_owner`), Faust's app (`worker`).

Theory of operation. A membership is one consumer in the group, one idempotent producer with its lanes, and the owners of the partitions
that the group gave it. A failed send ends the membership: partitions and clients are dropped without a commit and built anew, which
restores them. Kafka being away ends nothing; everything waits.

No heartbeat runs while a rebalance listener waits, and what it raises is swallowed. So ours only pauses partitions and starts and cancels
tasks; before a rebalance it waits a bounded time for checkpoints (there heartbeats still run), so that the next owner has little to apply
again. A partition that stays keeps its state, if the group's generations follow each other: with one missing, somebody else may have had
it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord, TopicPartition
from mode import Service

from agents.health import Health
from agents.kafka_client import (
    FETCH_WAIT_MS,
    REQUEST_TIMEOUT_MS,
    client_settings,
    close,
    idempotent_producer,
    passes,
    prefixed,
    start_patiently,
    topic_name,
)
from agents.partition_owner import Lane, PartitionOwner, State, Surroundings
from agents.restore import offset_gone
from agents.sender import Sender
from agents.topic_admin import KafkaUnreachableError, require_topics
from schemas.configuration import Configuration
from schemas.errors import CurfewError

POLL_RECORDS = 1000
"""Records of one poll: some 10 to 20 ms of work, after which the event loop has its turn."""
POLL_TIMEOUT_MS = 100
FETCH_BYTES = 1024 * 1024
HAND_OVER_S = 3.0
MEMBERSHIPS_MAX = 5
BACKOFF_S = 0.5
BACKOFF_MAX_S = 15.0

log = logging.getLogger(__name__)

Records = Sequence[ConsumerRecord[bytes, bytes]]


class KafkaRefusesError(CurfewError):
    """Kafka is there and refuses what we need of it, again and again."""


class Poll(NamedTuple):
    """One poll of the journal: what the agent's channel carries."""

    membership: Membership
    epoch: int
    records: dict[TopicPartition, Records]


class Membership(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka is not typed
    """One life in the group.

    Attributes:
        progressed: a checkpoint was committed in it.
    """

    def __init__(self, configuration: Configuration, health: Health, lane: Lane) -> None:
        self.progressed = False
        self._configuration = configuration
        self._health = health
        self._lane = lane
        self._owners: dict[TopicPartition, PartitionOwner] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._failure: Exception | None = None
        self._generation = 0
        self._assignor: Any = type("Assignor", (StickyPartitionAssignor,), {})  # the library keeps a member's memory on the class
        self._consumer = _group_consumer(configuration, lane.group, self._assignor)
        self._producer = idempotent_producer(configuration)
        self._around = Surroundings(
            configuration=configuration,
            lane=lane,
            consumer=self._consumer,
            sender=Sender(self._producer, configuration.kafka.topic_prefix, self._on_failure),
            on_failure=self._on_failure,
            on_change=self._report,
            on_checkpoint=self._on_checkpoint,
        )

    async def join(self) -> None:
        """Join the group, however long Kafka is away.

        Raises:
            TopicsDifferError, TopicsMissingError: see `topic_admin.require_topics`.
            KafkaError: Kafka refused.
        """
        self._health.not_ready("waiting for Kafka")
        await start_patiently(self._producer)
        await _require_topics(self._configuration)
        await start_patiently(self._consumer)
        self._health.not_ready("waiting for partitions")
        self._consumer.subscribe([topic_name(self._configuration, self._lane.journal)], listener=self)

    async def poll(self) -> Poll | None:
        """The next poll, or None after a moment without records.

        Raises:
            KafkaError: the membership has to end: a send failed, or the group refused.
            Exception: the process has to end.
        """
        if self._failure is not None:
            raise self._failure
        try:
            records = await self._consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=POLL_RECORDS)
        except OffsetOutOfRangeError as error:
            for place, offset in error.args[0].items():
                if place in self._owners:
                    self._owners[place].stand_still(await offset_gone(self._consumer, place, offset))
            return None
        # No await between the consumer's hand-over and here, so the epoch is the records' own
        return Poll(self, self._around.epoch, records) if records else None

    def apply(self, poll: Poll) -> None:
        """Apply a poll; partitions that were moved or taken away since are passed over, and after a failure everything is."""
        try:
            for place, records in poll.records.items():
                if self._failure is None and place in self._owners:
                    self._owners[place].apply(poll.epoch, records)
        except Exception as error:  # noqa: BLE001 - it ends the process, through `poll`; Faust would only start the agent again
            self._on_failure(error)

    async def leave(self) -> None:
        """Checkpoint every partition if that can be done soon, and leave the group."""
        await self._hand_over()
        await self.drop()

    async def drop(self) -> None:
        """Leave without a commit."""
        for place in list(self._owners):
            self._end(place)
        await asyncio.gather(*self._endings, self._around.sender.close())
        await asyncio.gather(close(self._consumer), close(self._producer, deadline_s=1.0))

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Before a rebalance: let what was applied be checkpointed, within a bounded time."""
        if revoked:
            await self._hand_over()

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """After a rebalance: keep what stays, end what went, begin what is new. Waits for nothing."""
        try:
            self._take_over(assigned)
        except Exception as error:  # noqa: BLE001 - aiokafka would log it and go on without state
            self._on_failure(error)

    def _take_over(self, assigned: Sequence[TopicPartition]) -> None:
        generation = _generation_of(self._consumer)
        self._assignor.on_generation_assignment(generation)
        kept = set(assigned) if generation == self._generation + 1 else set()
        self._generation = generation
        self._around.epoch += 1
        for place, owner in list(self._owners.items()):
            if place not in kept or owner.state is State.FENCED:
                self._end(place)
        for place in assigned:
            if place not in self._owners:
                self._owners[place] = PartitionOwner(place.partition, self._around)
            self._owners[place].assigned()
        self._report()

    async def _hand_over(self) -> None:
        self._around.epoch += 1
        owners = list(self._owners.values())
        for owner in owners:
            owner.freeze()
        deadline_s = min(HAND_OVER_S, self._configuration.worker.session_timeout_s / 2)
        await _within(deadline_s, [owner.hand_over() for owner in owners])

    def _end(self, place: TopicPartition) -> None:
        task = asyncio.create_task(self._owners.pop(place).give_up())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def _on_failure(self, error: Exception) -> None:
        # What ends the process outweighs what only ends the membership
        if self._failure is None or (isinstance(self._failure, KafkaError) and not isinstance(error, KafkaError)):
            self._failure = error

    def _on_checkpoint(self) -> None:
        self.progressed = True

    def _report(self) -> None:
        """Ready when every assigned partition is restored; else the worst of them is the reason."""
        not_running = [owner for owner in self._owners.values() if owner.state is not State.RUNNING]
        if not not_running:
            self._health.ready()
            return
        standing = next((owner for owner in not_running if owner.state is State.STANDING), None)
        if standing is not None:
            self._health.not_ready(standing.reason)
        else:
            first = not_running[0]
            self._health.not_ready(
                f"{len(not_running)} of {len(self._owners)} partitions wait, {first.journal.partition} is {first.state.value}"
            )


class PollService(Service):
    """Polls for the agent, in one membership after the other.

    Args:
        put: puts a poll on the agent's channel; waits while the agent is behind.
        stop: when set, the partitions are checkpointed and the group is left.
        on_failure: called with what has to end the process.
    """

    def __init__(
        self,
        configuration: Configuration,
        health: Health,
        lane: Lane,
        *,
        put: Callable[[Poll], Awaitable[None]],
        stop: asyncio.Event,
        on_failure: Callable[[Exception], None],
    ) -> None:
        super().__init__()
        self._configuration = configuration
        self._health = health
        self._lane = lane
        self._put = put
        self._stop = stop
        self._on_failure = on_failure
        self.finished = asyncio.Event()

    @Service.task
    async def _run(self) -> None:
        try:
            await self._live()
        except Exception as error:  # noqa: BLE001 - it ends the process; here nobody would see it
            self._on_failure(error)
        finally:
            self._health.not_ready("stopped")
            self.finished.set()

    async def _live(self) -> None:
        """Memberships until stopped.

        Raises:
            KafkaRefusesError: `MEMBERSHIPS_MAX` of them in a row failed without one committed checkpoint.
            Exception: whatever a membership could not bear, Kafka's errors excepted.
        """
        failures = 0
        while not self._stop.is_set():
            membership = Membership(self._configuration, self._health, self._lane)
            try:
                await self._poll(membership)
                await membership.leave()
            except KafkaError as error:
                failures = 1 if membership.progressed else failures + 1
                if failures >= MEMBERSHIPS_MAX and not passes(error):
                    raise KafkaRefusesError(
                        f"Kafka refused {failures} times in a row, the last time with {error!r}. "
                        "Look at the broker's log and at this client's rights."
                    ) from error
                log.warning("all partitions are given up and restored: %r", error)
                self._health.not_ready(f"starting again after {type(error).__name__}")
                await membership.drop()
                await _within(min(BACKOFF_S * 2**failures, BACKOFF_MAX_S), [self._stop.wait()])
            except BaseException:
                await membership.drop()
                raise

    async def _poll(self, membership: Membership) -> None:
        joining, stopping = asyncio.create_task(membership.join()), asyncio.create_task(self._stop.wait())
        await asyncio.wait([joining, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not joining.done():
            joining.cancel()
            return
        joining.result()
        while not self._stop.is_set():
            poll = await membership.poll()
            if poll is not None:
                await self._put(poll)


def _group_consumer(configuration: Configuration, group: str, assignor: type[StickyPartitionAssignor]) -> AIOKafkaConsumer:
    session_timeout_ms = int(configuration.worker.session_timeout_s * 1000)
    settings = client_settings(configuration)
    # A join is answered when the slowest member has joined, or its session has timed out
    settings["request_timeout_ms"] = session_timeout_ms + REQUEST_TIMEOUT_MS
    return AIOKafkaConsumer(
        **settings,
        group_id=prefixed(configuration, group),
        enable_auto_commit=False,
        auto_offset_reset="none",
        partition_assignment_strategy=(assignor,),
        session_timeout_ms=session_timeout_ms,
        heartbeat_interval_ms=session_timeout_ms // 4,
        rebalance_timeout_ms=session_timeout_ms,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=FETCH_BYTES,
    )


def _generation_of(consumer: AIOKafkaConsumer) -> int:
    """The group's generation; aiokafka tells it nowhere else, nor to its own sticky assignor."""
    return int(consumer._coordinator.generation)  # noqa: SLF001


async def _require_topics(configuration: Configuration) -> None:
    """As `require_topics`, but a Kafka that went away again is waited for."""
    while True:
        try:
            await require_topics(configuration)
        except KafkaUnreachableError as away:
            log.warning("%s", away)
            await asyncio.sleep(BACKOFF_S)
        else:
            return


async def _within(deadline_s: float, waits: Sequence[Awaitable[object]]) -> None:
    """Wait for all of them, at most so long; what is not done then is cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=deadline_s)
        for task in late:
            task.cancel()
