"""What a core decided, on its way to Kafka: one lane per topic-partition, in order, sent at once.

What lives here: lanes, and the ledgers that say how much of a source partition's output Kafka has not acknowledged. What may not: when to
pause a source or take a checkpoint (`partition_owner`).

Theory of operation. Two concurrent `send_batch` calls to one partition overtake each other, so each lane has one task, with one batch in
flight while the next one grows. A lane that stands still (a partition without leader) holds up no other lane; a source partition whose
outputs pile up is paused by its owner. After one failed send an idempotent producer refuses that partition for good, so the first failure
is the end of this sender: it says so once, and whoever made it builds another.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition

from agents.checkpoint import send_batch
from agents.tasks import end
from schemas.topics import KIND_HEADER


class Sendable(Protocol):
    """What a lane needs of an output (`streams.step.Output`)."""

    @property
    def topic(self) -> str:
        """The pinned name, without prefix."""

    @property
    def partition(self) -> int:
        """Where in it."""

    @property
    def key(self) -> bytes:
        """The record's key."""

    @property
    def value(self) -> bytes:
        """The record's value."""

    @property
    def kind(self) -> str:
        """The `kind` header; empty: none."""


class Share:
    """The outputs of a source partition between two checkpoints."""

    __slots__ = ("_ledger", "_settled", "unacknowledged")

    def __init__(self, ledger: Ledger) -> None:
        self.unacknowledged = 0
        self._ledger = ledger
        self._settled = asyncio.Event()

    def acknowledge(self, count: int) -> None:
        """Count that many as acknowledged, here and in the ledger."""
        self.unacknowledged -= count
        if self.unacknowledged == 0:
            self._settled.set()
        self._ledger.unacknowledged -= count
        self._ledger.on_acknowledged()

    async def settled(self) -> None:
        """Wait until Kafka has acknowledged all of it; nothing may be added any more."""
        if self.unacknowledged:
            self._settled.clear()
            await self._settled.wait()


class Ledger:
    """What Kafka has not acknowledged of one source partition's outputs.

    Attributes:
        unacknowledged: how many outputs in all.
        on_acknowledged: called after each acknowledgement.
    """

    def __init__(self, on_acknowledged: Callable[[], None]) -> None:
        self.unacknowledged = 0
        self.on_acknowledged = on_acknowledged
        self.share = Share(self)

    def cut(self) -> Share:
        """The outputs since the last cut, closed: what comes now belongs to the next share."""
        share, self.share = self.share, Share(self)
        return share

    def add(self, count: int) -> None:
        """Count outputs as handed over, in the current share."""
        self.unacknowledged += count
        self.share.unacknowledged += count


class Sender:
    """All lanes of one idempotent producer.

    Args:
        producer: started; the sender does not stop it.
        prefix: goes before the topics' names.
        on_failure: called with what ended a lane; after a KafkaError the producer is of no use any more.
    """

    def __init__(self, producer: AIOKafkaProducer, prefix: str, on_failure: Callable[[Exception], None]) -> None:
        self._producer = producer
        self._prefix = prefix
        self._on_failure = on_failure
        self._lanes: dict[tuple[str, int], _Lane] = {}

    def put(self, outputs: Sequence[Sendable], ledger: Ledger) -> None:
        """Hand outputs over; they go out in the order of their topic-partition. Does not wait: the ledger says how much is waiting."""
        lanes, share = self._lanes, ledger.share
        for output in outputs:
            lane = lanes.get((output.topic, output.partition)) or self._open_lane(output.topic, output.partition)
            if not lane.queue:
                lane.filled.set()
            lane.queue.append((output, share))
        ledger.add(len(outputs))

    async def close(self) -> None:
        """End every lane; what is in them is not sent (whoever applies those records again sends it again, with the same ids)."""
        await end(*(lane.task for lane in self._lanes.values()))

    def _open_lane(self, topic: str, partition: int) -> _Lane:
        lane = self._lanes[topic, partition] = _Lane(self._producer, TopicPartition(self._prefix + topic, partition), self._on_failure)
        return lane


class _Lane:
    """The outputs for one topic-partition."""

    def __init__(self, producer: AIOKafkaProducer, place: TopicPartition, on_failure: Callable[[Exception], None]) -> None:
        self.queue: deque[tuple[Sendable, Share]] = deque()
        self.filled = asyncio.Event()
        self._producer = producer
        self._place = place
        self._on_failure = on_failure
        self.task = asyncio.create_task(self._run(), name=f"lane {place.topic}/{place.partition}")

    async def _run(self) -> None:
        try:
            while True:
                await self.filled.wait()
                batch, taken = self._next_batch()
                await (await send_batch(self._producer, batch, self._place))
                for share, count in taken.items():
                    share.acknowledge(count)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            self._on_failure(error)

    def _next_batch(self) -> tuple[BatchBuilder, Counter[Share]]:
        """As much of the queue as goes into one batch, and whose it is."""
        batch = self._producer.create_batch()
        shares: list[Share] = []
        queue = self.queue
        while queue:
            output, share = queue[0]
            headers = [(KIND_HEADER, output.kind.encode())] if output.kind else []
            if batch.append(key=output.key, value=output.value, timestamp=None, headers=headers) is None:
                break
            queue.popleft()
            shares.append(share)
        if not queue:
            self.filled.clear()
        batch.close()
        return batch, Counter(shares)
