"""The worker against a real Kafka, end to end. The core is a counter per key, so the table can be held against a model."""

import asyncio

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from agents import checkpoint, kafka_client
from agents.poll import Membership, Poll
from agents.topic_admin import TopicsDifferError
from schemas.accounting import AccountingRecord
from schemas.codec import encode, loads
from schemas.configuration import Configuration
from schemas.configuration import Kafka as KafkaSettings
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, REJECTED, TABLE, WORKER_GROUP, fence_key, identity_key, partition_key, session_key
from streams.session_core import SessionCore
from tests.support.fake_core import FakeCore
from tests.support.kafka import Kafka
from tests.support.worker import (
    RunningWorker,
    check_events,
    feed,
    make_installation,
    read_all,
    read_table,
    running_worker,
    steady,
    until,
    wait_for_offsets,
    wait_for_table,
)


async def test_rows_and_offsets_move_together_and_every_output_goes_out_once_and_in_order(kafka: Kafka, prefix: str):
    """2.8."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        await feeding.send(5000)
        await feeding.send_one(1, "kick", b"{}")
        async with running_worker(configuration):
            await feeding.send(3000)
            await wait_for_table(configuration, feeding)
        assert await check_events(configuration, feeding) == 0
        await _check_group_offsets(configuration, feeding.ends)
    commands = [record for records in (await read_all(configuration, COMMANDS)).values() for record in records]
    assert [(record.key, record.headers) for record in commands] == [(b"kick", (("kind", b"command"),))]
    assert not any((await read_all(configuration, REJECTED)).values())


async def test_a_second_worker_after_an_orderly_stop_applies_nothing_again(kafka: Kafka, prefix: str):
    """2.8: nothing is forgotten at a restart."""
    configuration = await make_installation(kafka.bootstrap, prefix, checkpoint_s=50)
    async with feed(configuration) as feeding:
        async with running_worker(configuration) as first:
            await feeding.send(1000)
            await until("applied", lambda: sum(core.next_offset for core in first.cores) == 1000)
        assert (await read_table(configuration))[1] == feeding.ends
        async with running_worker(configuration) as second:
            await feeding.send(400)
            await until("applied", lambda: sum(core.next_offset for core in second.cores) == 1400)
        await wait_for_table(configuration, feeding)
        assert await check_events(configuration, feeding) == 0


async def test_a_defect_in_the_core_ends_the_process_and_commits_nothing_after_it(kafka: Kafka, prefix: str):
    """DESIGN: any other exception ends the process."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        await feeding.send(100)
        worker = RunningWorker(configuration)
        await wait_for_table(configuration, feeding)
        before = await read_table(configuration)
        await feeding.send_one(2, "user1", b"raise")
        with pytest.raises(RuntimeError, match="told to raise"):
            await asyncio.wait_for(worker.task, 60)
        assert not worker.health.is_ready
        assert await read_table(configuration) == before


async def test_an_agent_that_crashes_outside_the_core_ends_the_process(kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch):
    """DESIGN: any other exception ends the process; Faust alone would start the agent again, without the poll."""

    def crash(membership: Membership, poll: Poll) -> None:
        raise ZeroDivisionError(len(poll.records))

    monkeypatch.setattr(Membership, "apply", crash)
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        worker = RunningWorker(configuration)
        await feeding.send(10)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(worker.task, 60)
        assert (await read_table(configuration))[1] == dict.fromkeys(range(4), 0)


async def test_a_restore_that_fails_ends_the_process(kafka: Kafka, prefix: str):
    """DESIGN: a failed restore ends the process."""

    class Forgetful(FakeCore):
        def restore(self, key, value):
            raise LookupError(f"cannot read {key!r}")

    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        await feeding.send(100)
        async with running_worker(configuration):
            await wait_for_table(configuration, feeding)
        before = await read_table(configuration)
        worker = RunningWorker(configuration, Forgetful)
        with pytest.raises(LookupError, match="cannot read"):
            await asyncio.wait_for(worker.task, 60)
        assert await read_table(configuration) == before


async def test_another_partition_count_than_configured_is_refused_with_the_remedy(kafka: Kafka, prefix: str):
    """INTERFACES [kafka] partitions: another count at start is refused."""
    await make_installation(kafka.bootstrap, prefix, partitions=3)
    worker = RunningWorker(Configuration(kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap, partitions=4, topic_prefix=prefix)))
    with pytest.raises(TopicsDifferError, match=r"partitions = 3"):
        await asyncio.wait_for(worker.task, 60)


async def test_a_partition_whose_next_record_has_expired_stands_still_and_says_so_and_the_others_go_on(kafka: Kafka, prefix: str):
    """DESIGN: an offset that is gone stops the partition and says so."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        await feeding.send(400)
        async with running_worker(configuration):
            await wait_for_table(configuration, feeding)
        await feeding.send(400)
        await _expire(configuration, {1: feeding.ends[1] - 10})
        worker = RunningWorker(configuration)
        await wait_for_table(configuration, feeding, {0, 2, 3})
        await until("says so", lambda: "stands still" in worker.health.reason)
        assert "offset 100" in worker.health.reason
        assert "has expired" in worker.health.reason
        assert "retention.ms" in worker.health.reason
        await worker.stop()
        assert (await read_table(configuration))[1][1] == 100


async def test_a_new_table_begins_where_the_journal_begins(kafka: Kafka, prefix: str):
    """DESIGN: without a partition's own row, the journal's beginning."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        await feeding.send(400)
        await _expire(configuration, dict(feeding.ends))
        for rows in feeding.rows.values():
            rows.clear()
        async with running_worker(configuration):
            await feeding.send(200)
            await wait_for_table(configuration, feeding)
        events = await read_all(configuration, EVENTS)
        assert [int(records[0].value) for records in events.values()] == [100] * 4


async def test_a_partition_whose_outputs_pile_up_is_paused_and_the_others_go_on(kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch):
    """DESIGN: a full queue pauses its partition, never the others."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    stuck = TopicPartition(kafka_client.topic_name(configuration, EVENTS), 1)
    free = asyncio.Event()

    async def send_batch(producer: AIOKafkaProducer, batch, place):
        if place == stuck:
            await free.wait()
        return await checkpoint.send_batch(producer, batch, place)

    monkeypatch.setattr("agents.sender.send_batch", send_batch)
    monkeypatch.setattr("agents.partition_owner.OUTPUTS_MAX", 500)
    async with feed(configuration) as feeding:
        async with running_worker(configuration) as worker:
            core = next(core for core in worker.cores if core.partition == 1)
            await feeding.send(20_000)
            await wait_for_table(configuration, feeding, {0, 2, 3})
            assert 500 < core.next_offset < 4000  # it stopped a few polls after the limit
            assert (await read_table(configuration))[1][1] == 0  # no row before its outputs are acknowledged
            free.set()
            await wait_for_table(configuration, feeding)
        assert await check_events(configuration, feeding) == 0


async def test_what_a_record_leaves_to_be_done_comes_before_the_next_one_and_holds_up_no_other_partition(kafka: Kafka, prefix: str):
    """4.9: a new policy over millions of sessions takes seconds, in which heartbeats go on; records that were polled with it come again."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding:
        await feeding.send(2000)
        await feeding.send_one(1, "policy", b"pending")
        await feeding.send(2000)
        async with running_worker(configuration) as worker:
            core = next(core for core in worker.cores if core.partition == 1)
            await until("begun", lambda: core.pending is not None)
            at = core.next_offset
            await feeding.send(2000)
            await wait_for_table(configuration, feeding, {0, 2, 3})
            assert core.next_offset == at < feeding.ends[1]
            core.is_free = True
            await wait_for_table(configuration, feeding)
            assert len(worker.cores) == 4  # nobody was given up
        assert await check_events(configuration, feeding) == 0


async def test_more_rows_touched_than_wanted_checkpoint_at_once(kafka: Kafka, prefix: str):
    """DESIGN: per second, or 20,000 rows touched."""
    configuration = await make_installation(kafka.bootstrap, prefix, checkpoint_s=50, checkpoint_rows=10)
    async with feed(configuration) as feeding, running_worker(configuration), asyncio.timeout(60), steady(feeding):
        while min((await read_table(configuration))[1].values()) == 0:  # noqa: ASYNC110 - what is waited for is in Kafka
            await asyncio.sleep(0.1)


async def test_the_real_core_tells_a_session_to_everybody_and_keeps_its_row(kafka: Kafka, prefix: str):
    """2.2, 7.2, 7.3: a session in the journal becomes events, and a row by name in the table."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    record = AccountingRecord(
        status="Start", nas="campus", source="127.0.0.1", ingest="i", received_ms=1000, event_ms=1000, identity="bob", acct_session_id="a1"
    )
    async with feed(configuration) as feeding, running_worker(configuration, SessionCore):
        await feeding.send_one(1, "bob", encode(record))
        await feeding.send_one(1, "bob", encode(msgspec.structs.replace(record, status="Stop", received_ms=9000, event_ms=9000)))
        await feeding.send_one(2, "eve", b"no JSON")
        await wait_for_offsets(configuration, feeding)
    events, rejected = await read_all(configuration, EVENTS), await read_all(configuration, REJECTED)
    assert [loads(event.value)["type"] for event in events[1]] == ["session.started", "session.ended"]
    assert [loads(record.value)["offset"] for record in rejected[2]] == [0]
    rows = {record.key.decode(): record.value for record in (await read_all(configuration, TABLE))[1]}
    assert set(rows) == {fence_key(1), partition_key(1), identity_key("bob"), session_key("campus", "a1")}
    assert loads(rows[session_key("campus", "a1")])["state"] == "ended"
    assert [partition for partition, found in (events | {4: rejected[2]}).items() if found] == [1, 4]


async def test_rows_that_a_stranger_wrote_into_the_table_are_passed_over_at_a_restore_and_those_of_another_version_are_not(
    kafka: Kafka, prefix: str
):
    """2.8: what is no text as a key or no JSON as a value is nobody's; JSON that does not fit may be a row, and to forget it is worse."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    record = AccountingRecord(
        status="Start", nas="campus", source="127.0.0.1", ingest="i", received_ms=1000, event_ms=1000, identity="bob", acct_session_id="a1"
    )
    table = kafka_client.topic_name(configuration, TABLE)
    async with feed(configuration) as feeding, AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as stranger:
        async with running_worker(configuration, SessionCore):
            await feeding.send_one(1, "bob", encode(record))
            await wait_for_offsets(configuration, feeding)
        for key, value in ((b"s:\xff\x00", b"{}"), (b"s:campus/x", b"\x00no JSON"), (b"\xfe", b"")):
            await stranger.send_and_wait(table, value, key=key, partition=1)
        async with running_worker(configuration, SessionCore) as again:
            assert [(core.next_offset, core.open_sessions) for core in again.cores if core.partition == 1] == [(1, 1)]
        await stranger.send_and_wait(table, b'{"nas": 7}', key=b"s:campus/y", partition=1)
        worker = RunningWorker(configuration, SessionCore)
        with pytest.raises(msgspec.ValidationError):
            await asyncio.wait_for(worker.task, 60)


async def _expire(configuration: Configuration, before: dict[int, int]) -> None:
    """Delete the journal's records before these offsets, as retention does."""
    journal = kafka_client.topic_name(configuration, ACCOUNTING)
    admin = AIOKafkaAdminClient(**kafka_client.client_settings(configuration))
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(journal, number): RecordsToDelete(before_offset=offset) for number, offset in before.items()}
        )
    finally:
        await admin.close()


async def _check_group_offsets(configuration: Configuration, ends: dict[int, int]) -> None:
    admin = AIOKafkaAdminClient(**kafka_client.client_settings(configuration))
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(kafka_client.prefixed(configuration, WORKER_GROUP))
    finally:
        await admin.close()
    assert {place.partition: found.offset for place, found in offsets.items()} == ends
