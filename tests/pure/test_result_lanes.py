"""The lanes of the writer of results, with a producer that takes everything at once; against a Kafka they run in `tests/broker`."""

import asyncio

import msgspec
import pytest
from aiokafka.structs import RecordMetadata

from agents import result_writer
from agents.result_writer import Delivery, Record, ResultWriter
from schemas.configuration import Configuration


class Batch:
    def __init__(self):
        self.values = []

    def append(self, *, key, value, timestamp, headers):
        self.values.append((key, value, timestamp, headers))
        return len(self.values)

    def close(self):
        pass


class Producer:
    """Every batch is durable as soon as it is sent."""

    def __init__(self):
        self.sizes = []
        self.topics = []
        self.holds = asyncio.Event()
        self.holds.set()

    async def start(self):
        pass

    async def stop(self):
        pass

    def create_batch(self):
        return Batch()

    async def send_batch(self, batch, topic, *, partition):
        self.topics.append(topic)
        await self.holds.wait()
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_result(RecordMetadata(topic, partition, None, sum(self.sizes), 0, 0, 0))
        self.sizes.append(len(batch.values))
        return acknowledged


async def written(monkeypatch, spacing_s):
    """The sizes of the batches of one result, and of twenty that come one after the other when it is durable; and the offsets told."""
    producer = Producer()
    monkeypatch.setattr(result_writer, "idempotent_producer", lambda _configuration: producer)
    writer, stop, offsets = ResultWriter(msgspec.convert({}, Configuration), spacing_s=spacing_s), asyncio.Event(), []
    told = asyncio.Event()

    def durable(its_offsets):
        offsets.extend(its_offsets)
        told.set()

    def put():
        writer.put(Delivery((Record("results", 3, b"nas", b"{}", ()),), durable))

    async with asyncio.timeout(60):
        running = asyncio.create_task(writer.run(stop))
        put()
        await told.wait()
        for _ in range(20):
            put()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        stop.set()  # it ends when all is durable
        await running
    return producer.sizes, offsets


@pytest.mark.parametrize("spacing_s", [0.0, 1.0])
async def test_a_result_goes_at_once_and_what_follows_it_in_one_batch_each_spacing(monkeypatch, spacing_s):
    """5.1: every result is told durable, in the order in which it was put."""
    sizes, offsets = await written(monkeypatch, spacing_s)
    assert offsets == list(range(21))
    assert sizes[0] == 1
    assert sum(sizes) == 21
    assert len(sizes) <= 3 if spacing_s else len(sizes) > 3


async def test_the_second_record_of_a_delivery_waits_until_the_first_is_durable(monkeypatch):
    """5.1: a kicker that is killed may leave a result that the journal lacks, which its successor sees, and none that the results lack."""
    producer, told = Producer(), asyncio.Event()
    monkeypatch.setattr(result_writer, "idempotent_producer", lambda _configuration: producer)
    writer, stop = ResultWriter(msgspec.convert({}, Configuration)), asyncio.Event()
    producer.holds.clear()
    async with asyncio.timeout(60):
        running = asyncio.create_task(writer.run(stop))
        writer.put(Delivery((Record("results", 3, b"nas", b"{}", ()), Record("journal", 1, b"user", b"{}", ())), lambda _: told.set()))
        for _ in range(100):
            await asyncio.sleep(0)
        assert producer.topics == ["results"]
        producer.holds.set()
        await told.wait()
        stop.set()
        await running
    assert producer.topics == ["results", "journal"]
    assert producer.sizes == [1, 1]
