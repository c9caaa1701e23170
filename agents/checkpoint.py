"""The transaction that moves a partition's rows and its offset together, and the fence that keeps a former owner's writes out.

What lives here: the transactional producer, one checkpoint, the fence. What may not: when to take a checkpoint (`partition_owner`).

Theory of operation. The transactional.id names the group and the partition, so whoever starts a producer with it ends the epoch of the
one before: Kafka aborts what that had open and refuses what it still sends. aiokafka's `commit_transaction` raises nothing when a row
inside the transaction failed, so each batch's own future is looked at before the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata, TopicPartition

from agents.kafka_client import BATCH_BYTES, client_settings, close, start_patiently
from schemas.configuration import Configuration
from schemas.topics import checkpoint_transactional_id, fence_key

TRANSACTION_TIMEOUT_MS = 15_000
"""After that Kafka aborts a transaction whose owner died and has no successor; readers of the table wait for it meanwhile."""
ABORT_DEADLINE_S = 2.0

Row = tuple[bytes, bytes | None]


async def fence(configuration: Configuration, place: TopicPartition, group: str) -> AIOKafkaProducer:
    """A transactional producer for the partition of the table at `place`; the former owner's in that group is fenced when this returns.

    Its first transaction writes a tombstone for a key that no row has: from then on the partition itself refuses the former epoch.

    Raises:
        KafkaError: Kafka refused (ProducerFenced: somebody else has fenced us meanwhile).
    """
    producer = AIOKafkaProducer(
        **client_settings(configuration),
        transactional_id=checkpoint_transactional_id(configuration.kafka.topic_prefix, group, place.partition),
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        max_batch_size=BATCH_BYTES,
    )
    try:
        await start_patiently(producer)
        await write(producer, place, [(fence_key(place.partition).encode(), None)])
    except BaseException:
        await close(producer)
        raise
    return producer


async def write(
    producer: AIOKafkaProducer,
    place: TopicPartition,
    rows: Iterable[Row],
    offsets: tuple[TopicPartition, int, str] | None = None,
) -> None:
    """Write the rows to `place` in one transaction, and with them a group's offset: (partition, next offset, group).

    Raises:
        KafkaError: nothing of it is in the table for `read_committed`; the producer is of no use any more.
    """
    await producer.begin_transaction()
    try:
        futures = [await send_batch(producer, batch, place) for batch in _batches(producer, rows)]
        await asyncio.gather(*futures)
        if offsets is not None:
            source, next_offset, group = offsets
            await producer.send_offsets_to_transaction({source: next_offset}, group)
        await producer.commit_transaction()
    except BaseException:
        # Whether this works or not, the next fence aborts the transaction too; here it only frees the readers sooner.
        with contextlib.suppress(KafkaError, AssertionError, TimeoutError):
            await asyncio.wait_for(producer.abort_transaction(), ABORT_DEADLINE_S)
        raise


async def send_batch(producer: AIOKafkaProducer, batch: BatchBuilder, place: TopicPartition) -> asyncio.Future[RecordMetadata]:
    """Hand a batch to the producer, however long Kafka is away, and return the future of its acknowledgement.

    Raises:
        KafkaError: the producer is of no use any more.
    """
    while True:
        # It gives up after request_timeout_ms without having taken the batch: ask again
        with contextlib.suppress(KafkaTimeoutError):
            future: asyncio.Future[RecordMetadata] = await producer.send_batch(batch, place.topic, partition=place.partition)
            return future


def _batches(producer: AIOKafkaProducer, rows: Iterable[Row]) -> Iterator[BatchBuilder]:
    """The rows in batches; a row that is larger than a batch gets one of its own."""
    batch = producer.create_batch()
    for key, value in rows:
        if batch.append(key=key, value=value, timestamp=None) is None:
            yield batch
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    if batch.record_count():
        batch.close()
        yield batch
