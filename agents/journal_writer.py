"""Batches into Kafka, one in flight for each partition while the next one grows; who waits for them is told when they are durable.

What lives here: producers, their end and their successor, lanes. What may not: what a record says, and what an acknowledgement leads to.

Theory of operation. A lane is one topic's one partition: a deque of items and a task that sends whatever has gathered as one batch, waits
for its acknowledgement (acks=all), and tells the owner. An idle lane's item goes at once; under load the batches grow by themselves. A
failed send poisons an idempotent producer for that partition for good, so any failure ends the producer: items in its batches are given
back as failed (whether they are in the log nobody knows), a new producer takes the items that were still waiting. While Kafka is merely
away the producer sends again by itself, with the same sequence numbers, and nothing is doubled.

Memory: at most one batch of `kafka_client.BATCH_BYTES` for each lane is in flight; the owner bounds what waits (`withdraw`). The largest
record that a packet of 4096 octets can become fits into a batch many times.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from agents import metrics
from agents.health import Health
from agents.kafka_client import close, idempotent_producer, topic_name
from agents.tasks import end
from agents.topic_admin import TopicsDifferError, require_topics
from schemas.configuration import Configuration
from schemas.errors import CurfewError
from schemas.topics import ACCOUNTING, KIND_HEADER, REJECTED, SLOTS

log = logging.getLogger(__name__)

ACKNOWLEDGED_WITHIN_S: Final = 5.0
"""A batch that waits longer shows in `/readyz`."""
START_WITHIN_S: Final = 15.0
END_WITHIN_S: Final = 7.0
BACKOFF_S: Final = 0.1
BACKOFF_S_MAX: Final = 2.0

ACCOUNTING_KIND: Final = [(KIND_HEADER, b"accounting")]
TICK_KIND: Final = [(KIND_HEADER, b"tick")]
Headers = list[tuple[str, bytes]]

Request = tuple[object, ...]
"""Whoever waits for an item; its meaning is the owner's."""

Item = tuple[bytes | None, bytes, Headers, int, Request | None]
"""(key, value, headers, time in milliseconds since the epoch, who waits for it): a bare tuple, since there is one for each packet."""


class Lane:
    """One partition of one topic.

    Attributes:
        topic: with the installation's prefix.
        partition: its number.
        waiting: items not given to a producer yet.
        in_flight: items of the batch that a producer has.
        sent_at_s: when it got it, monotonic clock.
        alone: this lane as a tuple: where an ordinary item goes.
    """

    __slots__ = ("_wake", "alone", "in_flight", "partition", "sent_at_s", "topic", "waiting")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[Item] = deque()
        self.in_flight: list[Item] = []
        self.sent_at_s = 0.0
        self.alone = (self,)
        self._wake = asyncio.Event()

    def append(self, item: Item) -> None:
        """Queue an item; order is kept."""
        self.waiting.append(item)
        self._wake.set()

    def withdraw(self, is_awaited: Callable[[Request], bool]) -> None:
        """Let go of the oldest items for as long as nobody waits for them any more; a tick among them goes too."""
        waiting = self.waiting
        while waiting and ((request := waiting[0][4]) is None or not is_awaited(request)):
            waiting.popleft()

    async def something_waits(self) -> None:
        """Return when there is something to send."""
        while not self.waiting:
            self._wake.clear()
            await self._wake.wait()

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing is in flight."""
        return not self.waiting and not self.in_flight


class JournalWriter:
    """The lanes of the journal and of `accounting.rejected`, and the producer that serves them.

    Attributes:
        journal: the journal's lanes, by partition.
        slots: those of `group.slots`, whose only time are the ingests' ticks.
        rejected: those of `accounting.rejected`.
    """

    def __init__(
        self,
        configuration: Configuration,
        health: Health,
        on_acknowledged: Callable[[list[Item]], None],
        on_failed: Callable[[list[Item]], None],
    ) -> None:
        """Make the lanes; nothing is sent before `run`.

        Args:
            configuration: where Kafka is.
            health: is told when Kafka is away.
            on_acknowledged: gets the items of each batch that is durable.
            on_failed: gets the items of each batch that may never be.
        """
        self._configuration = configuration
        self._health = health
        self._on_acknowledged = on_acknowledged
        self._on_failed = on_failed
        partitions = range(configuration.kafka.partitions)
        names = (topic_name(configuration, topic) for topic in (ACCOUNTING, SLOTS, REJECTED))
        self.journal, self.slots, self.rejected = (tuple(Lane(name, partition) for partition in partitions) for name in names)
        self._lanes = self.journal + self.slots + self.rejected

    async def run(self) -> None:
        """Serve the lanes with one producer after the other, until cancelled.

        Raises:
            TopicsDifferError: the topics are otherwise than wanted; no waiting helps.
        """
        backoff_s = BACKOFF_S
        while True:
            started_s = time.monotonic()
            try:
                await self._serve()
            except TopicsDifferError:
                raise
            except (CurfewError, KafkaError, OSError, TimeoutError) as away:
                self._health.not_ready(f"Kafka is away: {away or type(away).__name__}")
                log.warning("the journal cannot be written: %s; trying again", away or type(away).__name__)
            if time.monotonic() - started_s > BACKOFF_S_MAX:
                backoff_s = BACKOFF_S
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)

    async def flush(self) -> None:
        """Return when nothing waits and nothing is in flight; to be called with a deadline."""
        while not all(lane.is_idle for lane in self._lanes):  # noqa: ASYNC110 - once in a process's life: not worth an event on the hot path
            await asyncio.sleep(0.005)

    def look_at_the_clock(self) -> None:
        """Say in the health whether acknowledgements are late. Called with each tick."""
        late_s = max((time.monotonic() - lane.sent_at_s for lane in self._lanes if lane.in_flight), default=0.0)
        if late_s > ACKNOWLEDGED_WITHIN_S:
            self._health.not_ready(f"Kafka has not acknowledged a batch for {late_s:.0f} s")

    async def _serve(self) -> None:
        """Serve the lanes with one producer, until it fails."""
        await require_topics(self._configuration)
        producer = idempotent_producer(self._configuration)
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(START_WITHIN_S):
                await producer.start()
            self._health.ready()
            tasks = [asyncio.create_task(self._serve_lane(producer, lane)) for lane in self._lanes]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            await end(*tasks)
            self._give_back()
            await _end(producer)

    async def _serve_lane(self, producer: AIOKafkaProducer, lane: Lane) -> None:
        """Send what gathers in a lane, batch after batch.

        Raises:
            KafkaError: this producer can do no more for this lane.
        """
        while True:
            await lane.something_waits()
            batch = producer.create_batch()
            waiting, items = lane.waiting, lane.in_flight
            while waiting:
                key, value, headers, time_ms, _ = waiting[0]
                if batch.append(timestamp=time_ms, key=key, value=value, headers=headers) is None:
                    break
                items.append(waiting.popleft())
            lane.sent_at_s = time.monotonic()
            acknowledgement = await producer.send_batch(batch, lane.topic, partition=lane.partition)
            acknowledgement.add_done_callback(_look_at)
            await asyncio.shield(acknowledgement)
            lane.in_flight = []
            metrics.BATCHES.labels("acknowledged").inc()
            metrics.BATCH_ACK_S.observe(time.monotonic() - lane.sent_at_s)
            if not self._health.is_ready:
                self._health.ready()
            self._on_acknowledged(items)

    def _give_back(self) -> None:
        """Tell of every batch that the ended producer had: nobody knows whether it is in the log."""
        for lane in self._lanes:
            if lane.in_flight:
                failed, lane.in_flight = lane.in_flight, []
                metrics.BATCHES.labels("failed").inc()
                self._on_failed(failed)


def _look_at(acknowledgement: "asyncio.Future[object]") -> None:
    """See a failure that nobody waits for, since its lane ended before: asyncio would complain of it at some later time."""
    if not acknowledgement.cancelled():
        acknowledgement.exception()


async def _end(producer: AIOKafkaProducer) -> None:
    """Stop a producer whose batches nobody waits for any more.

    Its own `stop` waits for all of them, for ever while Kafka is away, and nothing of it may send them later on; so they are failed first.
    """
    producer._message_accumulator.fail_all(KafkaError("this producer was given up"))  # noqa: SLF001 - there is no public way
    await close(producer, END_WITHIN_S)
