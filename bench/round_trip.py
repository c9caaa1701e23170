"""The bare Kafka round trip: a record is produced with acks=all and read by a consumer, with the clients and settings of the product."""

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.kafka_client import FETCH_WAIT_MS, client_settings, idempotent_producer
from agents.poll import POLL_TIMEOUT_MS
from bench.rig import PARTITIONS, make_topic
from schemas.configuration import Configuration

VALUE_OCTETS = 700
"""About an accounting record in JSON."""
PAUSE_S = 0.001
_NOW = struct.Struct("=Q")


async def measure(configuration: Configuration, topic: str, rate_s: float, warm_s: float, measured_s: float) -> list[float]:
    """Records at a rate over all partitions of a topic that is made for it; milliseconds from `send` to the poll that brings it."""
    await make_topic(topic, client_settings(configuration))
    consumer = AIOKafkaConsumer(**client_settings(configuration), auto_offset_reset="earliest", fetch_max_wait_ms=FETCH_WAIT_MS)
    consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    producer = idempotent_producer(configuration)
    took_ms: list[float] = []
    wanted = round(rate_s * (warm_s + measured_s))
    try:
        await consumer.start()
        await producer.start()
        reading = asyncio.create_task(_read(consumer, wanted, took_ms))
        async for number in paced(rate_s, wanted):
            value = _NOW.pack(time.monotonic_ns()) + bytes(VALUE_OCTETS - _NOW.size)
            await producer.send(topic, value, partition=number % PARTITIONS)
        await asyncio.wait_for(reading, 30)
    finally:
        with contextlib.suppress(Exception):
            await producer.stop()
        await consumer.stop()
    return took_ms[round(rate_s * warm_s) :]


async def paced(rate_s: float, count: int) -> AsyncIterator[int]:
    """The numbers from 0, at a rate: an open loop that makes up for what it missed."""
    began_s, sent = time.perf_counter(), 0
    while sent < count:
        due = min(count, int((time.perf_counter() - began_s) * rate_s) + 1)
        while sent < due:
            yield sent
            sent += 1
        await asyncio.sleep(PAUSE_S)


async def _read(consumer: AIOKafkaConsumer, wanted: int, took_ms: list[float]) -> None:
    while len(took_ms) < wanted:
        poll = await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS)
        now_ns = time.monotonic_ns()
        took_ms.extend((now_ns - _NOW.unpack_from(record.value)[0]) / 1e6 for some in poll.values() for record in some)
