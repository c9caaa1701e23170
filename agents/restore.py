"""Reading a partition of a table back into a core, and finding where in the journal to go on.

What lives here: the reader and the check of the offset. What may not: the fence (`checkpoint`; it comes first), the group, the core's
insides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from agents.kafka_client import client_settings, close, start_patiently
from schemas.configuration import Configuration
from schemas.errors import CurfewError

READ_RECORDS = 2000
WORK_S = 0.01
"""How long rows are taken before the event loop has its turn: heartbeats and the other partitions live, whatever a row costs."""
READ_TIMEOUT_MS = 200
FETCH_BYTES = 4 * 1024 * 1024


class OffsetGoneError(CurfewError):
    """The journal does not hold the record that the partition has to go on with."""


async def read_table(configuration: Configuration, place: TopicPartition, take: Callable[[bytes, bytes | None], None]) -> int:
    """Give every committed row of the table's partition to `take`, in order; return how many there were.

    Ends when the reader's position has reached the last stable offset, so transaction markers and aborted rows at the end do not hold it
    up. While Kafka is away it waits.

    Raises:
        KafkaError: Kafka refused.
        Exception: what `take` raises.
    """
    reader = AIOKafkaConsumer(
        **client_settings(configuration),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=10,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    count = 0
    try:
        await start_patiently(reader)
        reader.assign([place])
        await reader.seek_to_beginning(place)
        end = (await reader.end_offsets([place]))[place]
        while await reader.position(place) < end:
            polled = await reader.getmany(timeout_ms=READ_TIMEOUT_MS, max_records=READ_RECORDS)
            count += await _take_all(polled.get(place, ()), take)
    finally:
        await close(reader)
    return count


async def _take_all(records: Sequence[ConsumerRecord[bytes, bytes]], take: Callable[[bytes, bytes | None], None]) -> int:
    pause_s = time.monotonic() + WORK_S
    for record in records:
        take(record.key, record.value)
        if time.monotonic() > pause_s:
            await asyncio.sleep(0)
            pause_s = time.monotonic() + WORK_S
    return len(records)


async def find_start(consumer: AIOKafkaConsumer, journal: TopicPartition, next_offset: int) -> int:
    """The journal offset to go on with: the table's own next offset, or for a table without one (0) the journal's beginning.

    Raises:
        OffsetGoneError: that record has expired, or the journal ends before it.
        KafkaError: Kafka refused.
    """
    begin, end = await _bounds(consumer, journal)
    if next_offset == 0:
        return begin
    if begin <= next_offset <= end:
        return next_offset
    raise await offset_gone(consumer, journal, next_offset)


async def offset_gone(consumer: AIOKafkaConsumer, journal: TopicPartition, next_offset: int) -> OffsetGoneError:
    """The sentence for people about a journal that lacks `next_offset`.

    Raises:
        KafkaError: Kafka refused.
    """
    begin, end = await _bounds(consumer, journal)
    what = "has expired" if next_offset < begin else "was never written: the journal is shorter than what the table knows of it"
    return OffsetGoneError(
        f"Partition {journal.partition} stands still: its table goes on at offset {next_offset} of {journal.topic}, and that "
        f"record {what} (the journal holds {begin} to {end}). Records are missing, so the counts cannot be right: give the journal "
        "a longer retention.ms than the longest outage, and begin anew with another topic_prefix, or with new topics."
    )


async def _bounds(consumer: AIOKafkaConsumer, journal: TopicPartition) -> tuple[int, int]:
    begin = (await consumer.beginning_offsets([journal]))[journal]
    end = (await consumer.end_offsets([journal]))[journal]
    return int(begin), int(end)
