"""Finding out, when partitions of `disconnect.commands` are assigned, where to go on and what is done already.

What lives here: the committed offsets with their marks, and reading the results back. What may not: what follows from them
(`streams.open_commands`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from agents.kafka_client import client_settings, close, prefixed, start_patiently, topic_name
from schemas.configuration import Configuration
from schemas.disconnect import DisconnectResult
from schemas.topics import COMMANDS, KICKER_GROUP, RESULTS
from streams.kick_records import read_result
from streams.open_commands import CommitPoint, OpenCommands, read_from

POLL_MS = 200
POLL_RECORDS = 2_000
"""Results between two looks at the event loop: some 20 ms of a core's work."""


async def restore(
    configuration: Configuration, partitions: Collection[int], seen: Callable[[DisconnectResult], None]
) -> dict[int, OpenCommands]:
    """What is known of these partitions: where to go on, which commands are finished, which are acknowledged.

    Args:
        configuration: where Kafka is.
        partitions: of `disconnect.commands`.
        seen: is told each result that is read back, in the order of its partition.

    Raises:
        KafkaError: Kafka is away or refuses; the caller tries again.
    """
    commands = {number: TopicPartition(topic_name(configuration, COMMANDS), number) for number in partitions}
    results = {number: TopicPartition(topic_name(configuration, RESULTS), number) for number in partitions}
    points = await _committed(configuration)
    reader = AIOKafkaConsumer(
        **client_settings(configuration), enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=10
    )
    try:
        await start_patiently(reader)
        reader.assign([*results.values()])
        begins = await reader.beginning_offsets([*commands.values(), *results.values()])
        ends = await reader.end_offsets([*commands.values(), *results.values()])
        parts = {}
        for number in partitions:
            point = points.get(number, CommitPoint(0, 0))
            parts[number] = OpenCommands(
                number,
                max(point.offset, begins[commands[number]]),
                commands_end=ends[commands[number]],
                mark=point.mark,
                results_end=ends[results[number]],
            )
            reader.seek(results[number], read_from(point.mark, begins[results[number]]))
        await _read_to(reader, {place: ends[place] for place in results.values()}, parts, seen)
    finally:
        await close(reader)
    for part in parts.values():
        part.resumed()
    return parts


async def _read_to(
    reader: AIOKafkaConsumer, ends: dict[TopicPartition, int], parts: dict[int, OpenCommands], seen: Callable[[DisconnectResult], None]
) -> None:
    """Read each partition to its end, by position, so that transaction markers and gaps hold nothing up."""
    left = set(ends)
    while True:
        left = {place for place in left if await reader.position(place) < ends[place]}
        if not left:
            return
        polled = await reader.getmany(*left, timeout_ms=POLL_MS, max_records=POLL_RECORDS)
        for place, records in polled.items():
            for record in records:
                result = read_result(record.value)
                if result is not None:
                    parts[place.partition].read_back(result, record.offset)
                    seen(result)
        await asyncio.sleep(0)


async def _committed(configuration: Configuration) -> dict[int, CommitPoint]:
    """The group's committed offsets by partition, each with its mark; a commit without one (somebody moved the group) has mark 0."""
    admin = AIOKafkaAdminClient(**client_settings(configuration))
    try:
        await admin.start()
        found = await admin.list_consumer_group_offsets(prefixed(configuration, KICKER_GROUP))
    finally:
        await close(admin)
    topic = topic_name(configuration, COMMANDS)
    return {
        place.partition: CommitPoint(at.offset, int(at.metadata) if at.metadata.isdecimal() else 0)
        for place, at in found.items()
        if place.topic == topic and at.offset >= 0
    }
