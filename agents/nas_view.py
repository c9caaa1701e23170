"""What was seen of each NAS, read from `session.table` and `disconnect.results`. The fold is `streams.nas_seen`'s."""

from __future__ import annotations

import time

from agents.topic_reader import reading
from schemas.codec import UNREADABLE, decoder
from schemas.configuration import Configuration
from schemas.disconnect import DisconnectResult
from schemas.session import NAS_ROW, SESSION_ROW
from schemas.topics import DAY_MS, RESULTS, TABLE, nas_key
from streams.nas_seen import NasesSeen, NasSeen
from streams.partitioner import partition_of

RESULTS_OF_DAYS = 7

_RESULT = decoder(DisconnectResult).decode


async def read_nases(configuration: Configuration) -> dict[str, NasSeen]:
    """What was seen of every NAS, by name. Rows and results that cannot be read are passed over: one must not hide all others.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
        TopicsMissingError: a topic is not there.
    """
    seen = NasesSeen()
    async with reading(configuration, TABLE) as reader:
        async for record in reader.to_end():
            try:
                _take_row(seen, record.partition, record.key or b"", record.value, reader.partitions[TABLE])
            except UNREADABLE:
                continue
    async with reading(configuration, RESULTS) as reader:
        await reader.seek_to_time(round(time.time() * 1000) - RESULTS_OF_DAYS * DAY_MS)
        async for record in reader.to_end():
            try:
                seen.result(_RESULT(record.value or b""))
            except UNREADABLE:
                continue
    return seen.all()


def _take_row(seen: NasesSeen, partition: int, key: bytes, value: bytes | None, partitions: int) -> None:
    if key.startswith(b"s:"):
        seen.session((partition, key), None if value is None else SESSION_ROW.read(value))
    elif key.startswith(b"n:") and value is not None:
        row = NAS_ROW.read(value)
        if key != nas_key(row.nas).encode():
            return
        seen.learned(partition, row)
        if partition == partition_of(row.nas, partitions):
            seen.nas(row)
