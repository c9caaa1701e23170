"""What happens to the worker when something breaks: each failure is made to happen, and the table is held against a model afterwards.

DESIGN "What we learned by breaking it" is the list; the core is a counter per key.
"""

import asyncio
import signal

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerFenced
from aiokafka.structs import TopicPartition

from agents import checkpoint
from agents.kafka_client import close, topic_name
from agents.partition_owner import TRIES_MAX
from agents.poll import KafkaRefusesError
from schemas.topics import COMMANDS, REJECTED, TABLE, WORKER_GROUP
from tests.support.fake_core import HUGE, FakeCore
from tests.support.kafka import Kafka
from tests.support.worker import (
    RunningWorker,
    WorkerProcess,
    check_events,
    feed,
    make_installation,
    read_all,
    read_table,
    running_worker,
    steady,
    until,
    wait_for_table,
)


async def test_a_worker_killed_at_work_skips_no_record_and_applies_none_twice(kafka: Kafka, prefix: str):
    """2.8; outputs are repeated with the same ids, or not at all."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        worker = await WorkerProcess.start(configuration)
        await worker.ready()
        async with steady(feeding):
            while min((await read_table(configuration))[1].values()) == 0:  # noqa: ASYNC110 - what is waited for is in Kafka
                await asyncio.sleep(0.05)
            await worker.end(signal.SIGKILL)
            worker = await WorkerProcess.start(configuration)
            await worker.ready()
        await wait_for_table(configuration, feeding)
        assert await worker.end() == 0, worker.log
        await check_events(configuration, feeding)
        for topic in (COMMANDS, REJECTED):
            assert not any((await read_all(configuration, topic)).values())


async def test_a_checkpoint_with_a_row_that_kafka_refuses_raises_and_nothing_of_it_is_in_the_table(kafka: Kafka, prefix: str):
    """DESIGN: `commit_transaction()` raises nothing when a row inside it failed: look at every future, abort on any failure."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    place = TopicPartition(topic_name(configuration, TABLE), 0)
    producer = await checkpoint.fence(configuration, place, WORKER_GROUP)
    await checkpoint.write(producer, place, [(b"good", b"1")])
    with pytest.raises(MessageSizeTooLargeError):
        await checkpoint.write(producer, place, [(b"early", b"2"), (b"huge", b"x" * HUGE), (b"late", b"3")])
    with pytest.raises((KafkaError, AssertionError)):  # the producer is of no use any more, and says so
        await checkpoint.write(producer, place, [(b"after", b"4")])
    await close(producer)
    successor = await checkpoint.fence(configuration, place, WORKER_GROUP)
    await checkpoint.write(successor, place, [(b"next", b"5")])
    await close(successor)
    rows = {record.key: record.value for record in (await read_all(configuration, TABLE))[0]}
    assert rows == {b"p:0/fence": None, b"good": b"1", b"next": b"5"}


async def test_a_row_that_can_never_be_written_makes_its_partition_stand_still_and_the_others_go_on(
    kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch
):
    """DESIGN: abort, restore, and after some tries an end with a name."""
    monkeypatch.setattr("agents.partition_owner.RETRY_S", 0.02)
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        await feeding.send(400)
        worker = RunningWorker(configuration)
        await wait_for_table(configuration, feeding)
        before = (await read_table(configuration))[0][1], feeding.ends[1]
        await feeding.send_one(1, "user1", b"huge")
        await feeding.send(400)
        await until("says so", lambda: "stands still" in worker.health.reason)
        assert "MessageSizeTooLarge" in worker.health.reason
        assert "checkpoints into" in worker.health.reason
        await feeding.send(400)
        await wait_for_table(configuration, feeding, {0, 2, 3})
        rows, offsets = await read_table(configuration)
        assert (rows[1], offsets[1]) == before  # nothing half written
        assert sum(core.partition == 1 for core in worker.cores) == TRIES_MAX  # restored for each try, and no more
        await worker.stop()


async def test_a_checkpoint_that_fails_once_is_made_good_by_a_restore(kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch):
    """DESIGN: a failed checkpoint gives the partition up and restores it."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    failing = [True]
    write = checkpoint.write

    async def write_badly(producer, place, rows, offsets=None):
        if offsets is not None and place.partition == 2 and failing:
            failing.clear()
            rows = [*rows[:-1], (b"huge", b"x" * HUGE), rows[-1]]  # rows that land and are aborted, and no offset with them
        await write(producer, place, rows, offsets)

    monkeypatch.setattr(checkpoint, "write", write_badly)
    async with feed(configuration) as feeding:
        async with running_worker(configuration) as worker:
            async with steady(feeding):
                await until("restored", lambda: len(worker.cores) == 5)
            await wait_for_table(configuration, feeding)
        assert not failing
        await check_events(configuration, feeding)


async def test_a_failed_send_ends_the_producer_and_the_partitions_are_restored(kafka: Kafka, prefix: str):
    """DESIGN: a failed send poisons an idempotent producer, so it ends its producer; the worker gives its partitions up."""

    class HugeOnce(FakeCore):
        left = 1

        def apply(self, offset, kind, key, value, out):
            if value == b"huge-output":
                value = value if HugeOnce.left else b"{}"
                HugeOnce.left = 0
            super().apply(offset, kind, key, value, out)

    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        async with running_worker(configuration, HugeOnce) as worker:
            await feeding.send(400)
            await feeding.send_one(3, "user1", b"huge-output")
            await feeding.send(400)
            await wait_for_table(configuration, feeding)
            assert len(worker.cores) == 8  # every partition anew, once
        await check_events(configuration, feeding)


async def test_a_send_that_fails_every_time_ends_the_process_with_a_sentence(kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch):
    """DESIGN: a failed send ends its producer; not for ever."""
    monkeypatch.setattr("agents.poll.BACKOFF_S", 0.01)
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        for partition in range(4):
            await feeding.send_one(partition, "user1", b"huge-output")
        worker = RunningWorker(configuration)
        with pytest.raises(KafkaRefusesError, match="MessageSizeTooLarge"):
            await asyncio.wait_for(worker.task, 60)
        assert (await read_table(configuration))[1] == dict.fromkeys(range(4), 0)


async def test_a_kafka_that_was_killed_and_comes_back_finds_the_worker_waiting(own_kafka: Kafka, prefix: str):
    """1.1, 2.8: it recovers by itself, without loss."""
    configuration = await make_installation(own_kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        async with running_worker(configuration) as worker:
            async with steady(feeding, 300):
                await until("at work", lambda: sum(core.next_offset for core in worker.cores) > 200)
                await own_kafka.kill()
                await asyncio.sleep(7)  # longer than request_timeout_ms and the session: how long is what is tested
                await own_kafka.start()
            await wait_for_table(configuration, feeding)
        await check_events(configuration, feeding)


async def test_a_kafka_that_freezes_longer_than_every_timeout_loses_nothing(own_kafka: Kafka, prefix: str):
    """As above, with connections that stay open and answer nothing."""
    configuration = await make_installation(own_kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        async with running_worker(configuration) as worker:
            async with steady(feeding, 300):
                await until("at work", lambda: sum(core.next_offset for core in worker.cores) > 200)
                await own_kafka.pause()
                await asyncio.sleep(8)
                await own_kafka.resume()
            await wait_for_table(configuration, feeding)
        await check_events(configuration, feeding)


async def test_a_partition_fenced_by_a_stranger_is_given_up_and_taken_back_when_it_is_still_ours(kafka: Kafka, prefix: str):
    """As after a transaction that Kafka timed out: nobody else has the partition."""
    configuration = await make_installation(kafka.bootstrap, prefix, session_timeout_s=1.5)
    async with feed(configuration) as feeding:
        async with running_worker(configuration) as worker:
            await feeding.send(400)
            await wait_for_table(configuration, feeding)
            place = TopicPartition(topic_name(configuration, TABLE), 1)
            await close(await checkpoint.fence(configuration, place, WORKER_GROUP))
            await feeding.send(400)
            await until("noticed", lambda: "taken over" in worker.health.reason)
            await wait_for_table(configuration, feeding)
            assert len(worker.cores) == 5
        await check_events(configuration, feeding)


async def test_a_fenced_write_never_reaches_a_reader(kafka: Kafka, prefix: str):
    """DESIGN: fence first; a zombie's open transaction is aborted."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    place = TopicPartition(topic_name(configuration, TABLE), 0)
    former = await checkpoint.fence(configuration, place, WORKER_GROUP)
    await former.begin_transaction()
    batch = former.create_batch()
    batch.append(key=b"zombie", value=b"1", timestamp=None)
    await (await former.send_batch(batch, place.topic, partition=0))
    successor = await checkpoint.fence(configuration, place, WORKER_GROUP)
    with pytest.raises(ProducerFenced):
        await former.commit_transaction()
    await asyncio.gather(close(former), close(successor))
    assert [record.key for record in (await read_all(configuration, TABLE))[0]] == [b"p:0/fence", b"p:0/fence"]
    assert b"zombie" in await _keys_uncommitted(configuration, place)  # it was there to be seen, had it not been aborted


async def _keys_uncommitted(configuration, place: TopicPartition) -> list[bytes]:
    reader = AIOKafkaConsumer(bootstrap_servers=configuration.kafka.bootstrap_servers, auto_offset_reset="earliest")
    async with reader:
        reader.assign([place])
        await reader.seek_to_beginning(place)
        records = await reader.getmany(timeout_ms=2000)
        return [record.key for record in records[place]]
