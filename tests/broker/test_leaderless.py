"""One partition without a leader while everything else works: its node was killed, and comes back with its data.

DESIGN "What we learned by breaking it": a failed send poisons an idempotent producer, so it ends its producer; whatever stands still
holds up its own partition and no other. `tests.support.second_broker` is how the leader goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from agents import metrics
from agents.kafka_client import client_settings, close, prefixed, topic_name
from agents.topic_admin import admin_client
from schemas.codec import loads
from schemas.configuration import Configuration
from schemas.topics import ACCOUNTING, EVENTS, RESULTS, TABLE, TOPICS, WORKER_GROUP, Topic
from streams.partitioner import partition_of
from tests.broker import test_kicker
from tests.support import ingest, worker
from tests.support.ingest import NasSocket, journal, request, running_ingest
from tests.support.second_broker import TwoNodes
from tests.support.worker import Feed, RunningWorker, check_events, feed, running_worker, steady, until, wait_for_table

PARTITIONS = 4
STUCK = 1
OTHERS = (0, 2, 3)
RETRANSMIT_S = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _two_nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TwoNodes]:
    two = TwoNodes(tmp_path_factory.mktemp("two-nodes"))
    try:
        await two.start()
        yield two
    finally:
        await two.close()


@pytest.fixture
async def nodes(_two_nodes: TwoNodes) -> TwoNodes:
    """Both nodes run, whatever the test before did."""
    await _two_nodes.start_second()
    return _two_nodes


async def test_events_without_a_leader_hold_up_their_own_partition_only_and_are_all_told_when_it_is_back(nodes: TwoNodes, prefix: str):
    """2.8: the producer that failed is replaced, time and again; nothing is lost or applied twice, and the order stays."""
    await _place(nodes, prefix, EVENTS)
    configuration = await worker.make_installation(nodes.bootstrap, prefix)
    async with feed(configuration) as feeding:
        async with running_worker(configuration) as running:
            async with steady(feeding, 400):
                await _wait_for_commits(configuration, feeding, range(PARTITIONS))
                assert await nodes.kill_second(prefix) == {(prefix + EVENTS.name, STUCK)}
                committed = (await _committed(configuration))[STUCK]
                async with _events(configuration) as told:
                    for _ in range(2):
                        given_up = len(running.cores)
                        await until("a send failed, and all was restored", lambda n=given_up: len(running.cores) >= n + PARTITIONS)
                        ends = dict(feeding.ends)
                        await _wait_for_commits(configuration, feeding, OTHERS)
                        await until("told", lambda ends=ends: all(told[number] >= ends[number] for number in OTHERS))
                assert (await _committed(configuration))[STUCK] == committed  # no row before its events
                assert feeding.ends[STUCK] > committed
                await nodes.start_second()
            await wait_for_table(configuration, feeding)
        await check_events(configuration, feeding)


async def test_a_table_partition_without_a_leader_is_given_up_and_restored_when_it_is_back_and_the_others_stay(
    nodes: TwoNodes, prefix: str
):
    """2.8: its checkpoints fail and are aborted; the others are neither given up nor held up, in a worker that starts then neither."""
    await _place(nodes, prefix, TABLE)
    configuration = await worker.make_installation(nodes.bootstrap, prefix)
    async with feed(configuration) as feeding:
        async with running_worker(configuration) as first, steady(feeding, 400):
            await _wait_for_commits(configuration, feeding, range(PARTITIONS))
            assert await nodes.kill_second(prefix) == {(prefix + TABLE.name, STUCK)}
            committed = (await _committed(configuration))[STUCK]
            await until("given up", lambda: not first.health.is_ready)
            assert f"{STUCK} is restoring" in first.health.reason
            for _ in range(3):
                await _wait_for_commits(configuration, feeding, OTHERS)
            assert {number: _cores(first)[number] for number in OTHERS} == dict.fromkeys(OTHERS, 1)
        second = RunningWorker(configuration)
        async with steady(feeding, 400):
            await _wait_for_commits(configuration, feeding, OTHERS)
            assert (await _committed(configuration))[STUCK] == committed
            assert not second.health.is_ready
            await nodes.start_second()
            await second.ready()
        await wait_for_table(configuration, feeding)
        await second.stop()
        await check_events(configuration, feeding)


async def test_packets_for_a_partition_without_a_leader_wait_for_their_nas_and_all_others_are_answered(nodes: TwoNodes, prefix: str):
    """1.1: each failed batch ends a producer, and the next one goes on; when the leader is back the retransmissions are answered."""
    await _place(nodes, prefix, ACCOUNTING)
    configuration = await ingest.make_installation(nodes.bootstrap, prefix)
    users = {number: _user_of(number) for number in range(PARTITIONS)}
    answers: Counter[int] = Counter()
    async with running_ingest(configuration) as running:
        to = running.ingest.addresses[0]
        with NasSocket(to) as stuck, contextlib.ExitStack() as open_sockets:
            await stuck.ask(request(0, "before", user=users[STUCK]))
            assert await nodes.kill_second(prefix) == {(prefix + ACCOUNTING.name, STUCK)}
            waiting = [request(1, "stuck-1", user=users[STUCK]), request(2, "stuck-2", user=users[STUCK]), request(3, None, status=7)]
            for packet in waiting:
                stuck.send(packet)
            async with asyncio.TaskGroup() as asking:
                tasks = [
                    asking.create_task(_keep_asking(open_sockets.enter_context(NasSocket(to)), users[number], number, answers))
                    for number in OTHERS
                ]
                for _ in range(2):
                    failed = _failed_batches()
                    await until("a batch failed", lambda n=failed: _failed_batches() > n)
                    before = answers.copy()
                    await until("the others are answered", lambda n=before: all(answers[number] >= n[number] + 20 for number in OTHERS))
                assert stuck.is_silent()
                await nodes.start_second()
                for packet in waiting:
                    await _ask_until_answered(stuck, packet)
                for task in tasks:
                    task.cancel()
            assert stuck.is_silent()
    records, _ = await journal(configuration)
    sessions = Counter(record.acct_session_id for record in records)
    for number in OTHERS:
        assert all(sessions[f"{number}-{n}"] for n in range(answers[number]))
    assert {session for session in sessions if session and session[0] not in "023"} == {"before", "stuck-1", "stuck-2"}


async def test_a_result_whose_partition_has_no_leader_is_written_when_it_is_back(
    nodes: TwoNodes, prefix: str, monkeypatch: pytest.MonkeyPatch
):
    """5.7: the NAS is asked once, the command stays open, and results for other partitions are written meanwhile."""

    async def create_topics(_bootstrap: str, partitions: dict[str, int]) -> None:
        await nodes.create_topics({name: (count, {}) for name, count in partitions.items()}, {(prefix + RESULTS.name, STUCK)})

    monkeypatch.setattr(test_kicker, "create_topics", create_topics)
    stuck_nas, other_nas = "gone", "campus"
    assert partition_of(stuck_nas, test_kicker.PARTITIONS) == STUCK != partition_of(other_nas, test_kicker.PARTITIONS)
    async with test_kicker.make_bench(nodes, prefix) as bench:
        async with test_kicker.running(bench.configuration):
            assert await nodes.kill_second(prefix) == {(prefix + RESULTS.name, STUCK)}
            command = await bench.order(stuck_nas)
            await bench.until(lambda: bench.nases[stuck_nas].requests)
            other = await bench.order(other_nas)
            await bench.until_outcomes(other, "acknowledged")
            await bench.notify(other)
            await bench.until_outcomes(other, "acknowledged", "confirmed")
            assert bench.outcomes(command) == []
            assert _in_journal(bench, command) == 0  # never before `disconnect.results` has it
            await nodes.start_second()
            await bench.until(lambda: _in_journal(bench, command) >= 1 and bench.outcomes(command))  # each is read as its node comes
        assert set(bench.outcomes(command)) == {"gone"}
        assert len(bench.nases[stuck_nas].requests) == 1
        assert await bench.committed() == (3, 3)


async def _place(nodes: TwoNodes, prefix: str, topic: Topic) -> None:
    """All topics on node 1, but for the one partition."""
    await nodes.create_topics({prefix + each.name: (PARTITIONS, each.settings()) for each in TOPICS}, {(prefix + topic.name, STUCK)})


async def _committed(configuration: Configuration) -> dict[int, int]:
    """The group's offset of each journal partition: it moves in the transaction that writes the rows, and needs no read of the table."""
    async with admin_client(configuration) as admin:
        found = await admin.list_consumer_group_offsets(prefixed(configuration, WORKER_GROUP))
    return Counter({place.partition: at.offset for place, at in found.items()})


async def _wait_for_commits(configuration: Configuration, feeding: Feed, partitions: Iterable[int]) -> None:
    """Until checkpoints of these partitions cover what was fed when this was called."""
    ends = {number: feeding.ends[number] for number in partitions}
    async with asyncio.timeout(worker.DEADLINE_S):
        while True:
            committed = await _committed(configuration)
            if all(committed[number] >= max(end, 1) for number, end in ends.items()):
                return
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def _events(configuration: Configuration) -> AsyncIterator[Counter[int]]:
    """How many of each other partition's events have been told, read as they come: the highest offset said, and one."""
    told: Counter[int] = Counter()

    async def read() -> None:
        async for record in reader:
            told[record.partition] = max(told[record.partition], int(record.value) + 1)

    reader = AIOKafkaConsumer(**client_settings(configuration), auto_offset_reset="earliest")
    async with reader:
        reader.assign([TopicPartition(topic_name(configuration, EVENTS), number) for number in OTHERS])
        reading = asyncio.create_task(read())
        yield told
        reading.cancel()
        await asyncio.wait([reading])


async def test_closing_a_consumer_whose_node_has_just_died_cancels_nobody(nodes: TwoNodes, prefix: str):
    """aiokafka ends its waiting fetch by a CancelledError that it lets out; a restore that closes its reader must go on."""
    topic = f"{prefix}two-nodes"
    await nodes.create_topics({topic: (2, {})}, {(topic, 1)})
    consumers = [AIOKafkaConsumer(bootstrap_servers=nodes.bootstrap, auto_offset_reset="earliest") for _ in range(8)]
    for consumer in consumers:
        await consumer.start()
        consumer.assign([TopicPartition(topic, 0), TopicPartition(topic, 1)])
        await consumer.getmany(timeout_ms=50)
    nodes.kill_second_at_once()
    await asyncio.sleep(0.5)  # the fetches have met the dead node and wait to try again; the controller has not noticed yet
    closing = [asyncio.create_task(close(consumer)) for consumer in consumers]
    await asyncio.wait(closing)
    assert not any(task.cancelled() or task.exception() for task in closing)


def _cores(running: RunningWorker) -> Counter[int]:
    """How often each partition was restored."""
    return Counter(core.partition for core in running.cores)


def _user_of(partition: int) -> str:
    return next(name for name in map("user{}".format, itertools.count()) if partition_of(name, PARTITIONS) == partition)


async def _keep_asking(nas: NasSocket, user: str, number: int, answers: Counter[int]) -> None:
    """One packet after the other, each sent again until it is answered."""
    for n in itertools.count():
        await _ask_until_answered(nas, request(n, f"{number}-{n}", user=user))
        answers[number] += 1


async def _ask_until_answered(nas: NasSocket, packet: bytes) -> None:
    async with asyncio.timeout(worker.DEADLINE_S):
        while True:
            nas.send(packet)
            with contextlib.suppress(TimeoutError):
                while (await nas.receive(RETRANSMIT_S))[1] != packet[1]:
                    pass
                return


def _failed_batches() -> float:
    return metrics.BATCHES.labels("failed")._value.get()


def _in_journal(bench: test_kicker.Bench, command) -> int:
    return sum(loads(record.value)["command_id"] == command.id for record in bench.seen[ACCOUNTING.name])
