"""What a person orders, written into the journal in the line of the identity (or group) that it is about; all of it is durable at the end.

What lives here: a producer and its batches. What may not: what an order says (`schemas.journal`) or leads to (the session agent).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import msgspec

from agents.kafka_client import close, idempotent_producer, topic_name
from agents.topic_admin import kafka_answers, require_topics
from schemas.codec import encode
from schemas.configuration import Configuration
from schemas.topics import ACCOUNTING, KIND_HEADER, Topic
from streams.partitioner import partition_of

UNACKNOWLEDGED_MAX = 5_000
"""So many are on their way at once."""


class Order(NamedTuple):
    """A record for a journal: its kind, whose it is, what it says, and in which journal: the session agents', or the group agent's."""

    kind: str
    key: str
    value: msgspec.Struct
    journal: Topic = ACCOUNTING


async def write_orders(configuration: Configuration, orders: Iterable[Order]) -> list[tuple[int, int]]:
    """Write orders into the journal.

    Returns:
        Where each lies, in their order: (partition, offset).

    Raises:
        KafkaUnreachableError: Kafka does not answer, or refused one; those before it may be in the journal.
        TopicsDifferError: the topics are otherwise than wanted, so that an order would lie where nobody owns the identity.
    """
    await require_topics(configuration)
    producer = idempotent_producer(configuration)
    partitions = configuration.kafka.partitions
    places: list[tuple[int, int]] = []
    try:
        async with kafka_answers(configuration):
            await producer.start()
        waiting = iter(orders)
        while some := list(islice(waiting, UNACKNOWLEDGED_MAX)):
            async with kafka_answers(configuration):
                sent = [
                    await producer.send(
                        topic_name(configuration, order.journal),
                        encode(order.value),
                        key=order.key.encode(),
                        partition=partition_of(order.key, partitions),
                        headers=[(KIND_HEADER, order.kind.encode())],
                    )
                    for order in some
                ]
                places += [(place.partition, place.offset) for place in await asyncio.gather(*sent)]
    finally:
        await close(producer)
    return places
