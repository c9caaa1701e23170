"""The kicker's way into Kafka: what it has to say is sent until it is durable, at least once, in order for each partition.

What lives here: the producer, its end and its successor. What may not: what a record says.

Theory of operation: whatever has gathered is sent at once and awaited together. A failed send poisons an idempotent producer for that
partition for good, so any failure ends the producer; what was not acknowledged goes first with the next one, and what went well is told to
its owner. Bounded by the kicker's open commands: each has at most two results.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from agents.kafka_client import close, idempotent_producer, start_patiently
from schemas.configuration import Configuration

BACKOFF_S = 0.1
BACKOFF_S_MAX = 5.0
BATCH_MAX = 2_000
END_WITHIN_S = 10.0

log = logging.getLogger(__name__)


class Record(NamedTuple):
    """One record: topic (with the installation's prefix), partition, key, value, headers."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Delivery(NamedTuple):
    """Records that belong together, and who is told where they stand once all of them are durable."""

    records: tuple[Record, ...]
    done: Callable[[list[RecordMetadata]], None]


class ResultWriter:
    """Sends deliveries; `run` is its task.

    Attributes:
        trouble: why nothing gets through, for `/readyz`; empty when it does.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.trouble = ""
        self._configuration = configuration
        self._waiting: deque[Delivery] = deque()
        self._something = asyncio.Event()
        self._nothing = asyncio.Event()
        self._nothing.set()
        self._producer: AIOKafkaProducer | None = None

    def put(self, delivery: Delivery) -> None:
        """Send this, after what was put before it."""
        self._waiting.append(delivery)
        self._nothing.clear()
        self._something.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set and all is durable, or it is set and Kafka is away for longer than `END_WITHIN_S`."""
        sending = asyncio.create_task(self._send_all())
        stopping = asyncio.create_task(stop.wait())
        emptied: asyncio.Task[bool] | None = None
        try:
            await asyncio.wait((sending, stopping), return_when=asyncio.FIRST_COMPLETED)
            emptied = asyncio.create_task(self._nothing.wait())
            if not sending.done():
                await asyncio.wait((sending, emptied), timeout=END_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            if self._waiting:
                log.warning("stopped with %d results unwritten; their commands are read again", len(self._waiting))
        finally:
            tasks = [task for task in (sending, stopping, emptied) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._producer is not None:
                await close(self._producer)

    async def _send_all(self) -> None:
        backoff_s = BACKOFF_S
        while True:
            await self._something.wait()
            if self._producer is None:
                self._producer = idempotent_producer(self._configuration)
                await start_patiently(self._producer)
            failure = await self._send_batch(self._producer, min(len(self._waiting), BATCH_MAX))
            if failure is None:
                backoff_s = BACKOFF_S
                self.trouble = ""
            else:
                log.warning("results could not be written (%s); sending them again with a new producer", failure)
                self.trouble = "Kafka does not take the results"
                ended, self._producer = self._producer, None
                await close(ended)
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, BACKOFF_S_MAX)
            if not self._waiting:
                self._something.clear()
                self._nothing.set()

    async def _send_batch(self, producer: AIOKafkaProducer, size: int) -> BaseException | None:
        """Send the first deliveries; take those out that are durable, and return what went wrong with the others."""
        batch = [self._waiting[n] for n in range(size)]
        sent = [await self._hand_over(producer, delivery) for delivery in batch]  # one after the other: this is their order
        failed = []
        failure: BaseException | None = None
        for delivery, outcome in zip(batch, sent, strict=True):
            answers = await asyncio.gather(*outcome, return_exceptions=True) if isinstance(outcome, list) else [outcome]
            wrong = next((answer for answer in answers if isinstance(answer, BaseException)), None)
            self._waiting.popleft()
            if wrong is None:
                delivery.done(answers)
            elif isinstance(wrong, KafkaError):
                failure = wrong
                failed.append(delivery)
            else:
                raise wrong
        self._waiting.extendleft(reversed(failed))
        return failure

    async def _hand_over(self, producer: AIOKafkaProducer, delivery: Delivery) -> list[asyncio.Future[RecordMetadata]] | KafkaError:
        try:
            return [
                await producer.send(one.topic, one.value, one.key, partition=one.partition, headers=list(one.headers))
                for one in delivery.records
            ]
        except KafkaError as refused:
            return refused
