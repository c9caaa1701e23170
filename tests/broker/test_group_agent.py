"""The group agent against a real Kafka: verdicts into the journal, rows into group.table, restored, killed, shared out."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from agents.group_directory import read_group
from agents.kafka_client import client_settings, topic_name
from agents.topic_reader import kind_of
from agents.worker import GROUP_SLOTS
from schemas.codec import decoder, encode
from schemas.configuration import Configuration
from schemas.group import SLOT_KIND, GroupVerdict, SlotMessage, Standing
from schemas.journal import PolicyVersion, Tick
from schemas.policy import Policy
from schemas.topics import ACCOUNTING, EVENTS, GROUPS, KIND_HEADER, REJECTED, SLOTS, fence_key
from streams.group_core import GroupCore
from streams.partitioner import partition_of
from streams.step import Output
from tests.support.groups import T0_MS, group_limit
from tests.support.kafka import Kafka
from tests.support.schemas import validate
from tests.support.worker import RunningWorker, WorkerProcess, make_installation, read_all, running_worker, until

PARTITIONS = 4
NAMES = [f"group-{number}" for number in range(6)]
MOST = 20

_verdict = decoder(GroupVerdict).decode


class Agents:
    """What the session agents and the ingest write into `group.slots`."""

    def __init__(self, configuration: Configuration, producer: AIOKafkaProducer) -> None:
        self.configuration = configuration
        self.ends = dict.fromkeys(range(PARTITIONS), 0)
        self._producer = producer
        self._offset = 0
        self._mono_ms = 0

    async def publish(self, version: int, most: int = MOST) -> None:
        """A version of the policy goes into every partition."""
        policy = PolicyVersion(version=version, time_ms=T0_MS, policy=Policy(limits=(group_limit(most),)))
        for partition in range(PARTITIONS):
            await self._write(partition, "policy", None, encode(policy))

    async def tick(self) -> None:
        """So does a tick."""
        self._mono_ms += 1000
        for partition in range(PARTITIONS):
            tick = Tick(ingest="i-1", wall_ms=T0_MS + self._mono_ms, mono_ms=self._mono_ms)
            await self._write(partition, "tick", None, encode(tick))

    async def send(self, op: str, identity: str, session: str, group: str) -> SlotMessage:
        """A session agent says something."""
        self._offset += 1
        message = SlotMessage(
            op=op,
            group=group,
            identity=identity,
            session=f"s:ap1/{session}",
            partition=partition_of(identity, PARTITIONS),
            offset=self._offset,
            nth=0,
            time_ms=T0_MS,
            groups=[group],
        )
        await self.repeat(message)
        return message

    async def repeat(self, message: SlotMessage) -> None:
        """The same message (again)."""
        await self._write(partition_of(message.group, PARTITIONS), SLOT_KIND, message.group.encode(), encode(message))

    async def _write(self, partition: int, kind: str, key: bytes | None, value: bytes) -> None:
        sent = await self._producer.send_and_wait(
            topic_name(self.configuration, SLOTS), value, key=key, partition=partition, headers=[(KIND_HEADER, kind.encode())]
        )
        self.ends[partition] = sent.offset + 1

    async def churn(self, chance: random.Random, stop: asyncio.Event) -> None:
        """Sessions come and go in every group, too many of them, until stopped."""
        sessions: list[tuple[str, str, str]] = []
        count = 0
        while not stop.is_set():
            count += 1
            if sessions and chance.random() < 0.4:
                await self.send("free", *sessions.pop(chance.randrange(len(sessions))))
            else:
                sessions.append((f"user-{count}", f"a-{count}", chance.choice(NAMES)))
                await self.send("take", *sessions[-1])
            if count % 50 == 0:
                await self.tick()


@contextlib.asynccontextmanager
async def agents_of(kafka: Kafka, prefix: str) -> AsyncIterator[Agents]:
    configuration = await make_installation(kafka.bootstrap, prefix, partitions=PARTITIONS)
    async with AIOKafkaProducer(**client_settings(configuration), enable_idempotence=True) as producer:
        agents = Agents(configuration, producer)
        await agents.tick()
        await agents.publish(1)
        yield agents


async def all_applied(agents: Agents) -> None:
    """Until each partition's own row has passed where its part of `group.slots` ends."""

    async def missing() -> list[int]:
        table = await read_all(agents.configuration, GROUPS)
        cores = {number: restored(table[number], number, agents.configuration) for number in table}
        return [number for number, end in agents.ends.items() if cores[number].next_offset < end]

    async with asyncio.timeout(60):
        while await missing():  # noqa: ASYNC110 - what is waited for is in Kafka
            await asyncio.sleep(0.2)


def restored(table: list[ConsumerRecord], partition: int, configuration: Configuration) -> GroupCore:
    """A core from what lies in the table."""
    core = GroupCore(partition, PARTITIONS, topic_name(configuration, SLOTS))
    for record in table:
        if record.key != fence_key(partition).encode():
            core.restore(record.key, record.value)
    core.restored()
    return core


async def verdicts(agents: Agents) -> list[GroupVerdict]:
    """Every verdict in the journal, each told apart by its octets."""
    found: dict[bytes, GroupVerdict] = {}
    for number, records in (await read_all(agents.configuration, ACCOUNTING)).items():
        for record in records:
            assert kind_of(record) == "verdict"
            validate(ACCOUNTING, record.key, "verdict", record.value)
            verdict = found[record.value] = _verdict(record.value)
            assert (partition_of(verdict.identity, PARTITIONS), verdict.identity.encode()) == (number, record.key)
    return list(found.values())


async def verify(agents: Agents) -> list[GroupVerdict]:
    """Table and verdicts are what one core, which nobody killed, makes of `group.slots`; no group is above its limit."""
    configuration = agents.configuration
    slots, table = await read_all(configuration, SLOTS), await read_all(configuration, GROUPS)
    said: set[bytes] = set()
    for number in range(PARTITIONS):
        outputs: list[Output] = []
        model = GroupCore(number, PARTITIONS, topic_name(configuration, SLOTS))
        model.restored()
        for record in slots[number]:
            model.apply(record.offset, kind_of(record), record.key, record.value, outputs)
            for group in {standing for standing in (record.key,) if standing}:
                assert all(standing.current <= standing.max for standing in model.standings(group.decode()))
        wanted = {key: value for key, value in model.checkpoint() if value is not None}
        there = {record.key: record.value for record in table[number] if record.key != fence_key(number).encode()}
        assert {key: value for key, value in there.items() if value is not None} == wanted
        assert all(output.topic == ACCOUNTING.name for output in outputs)
        said |= {output.value for output in outputs}
    found = await verdicts(agents)
    assert {encode(verdict) for verdict in found} == said
    for topic in (EVENTS, REJECTED):
        assert not any((await read_all(configuration, topic)).values())
    return found


async def test_takes_are_answered_in_the_journal_and_a_restored_agent_goes_on_counting(kafka: Kafka, prefix: str):
    """4.2, 2.8: the count outlives the worker; a message that comes again is passed over."""
    async with agents_of(kafka, prefix) as agents:
        await agents.publish(2, most=2)
        async with running_worker(agents.configuration, GroupCore, GROUP_SLOTS):
            first = await agents.send("take", "pablo", "a-1", "staff")
            await agents.send("take", "peter", "a-2", "staff")
            await agents.send("take", "pablo", "a-3", "lab")
            await all_applied(agents)
        async with running_worker(agents.configuration, GroupCore, GROUP_SLOTS):
            await agents.repeat(first)
            await agents.send("take", "alice", "a-4", "staff")
            await all_applied(agents)
        found = await verify(agents)
        answers = {(verdict.session, verdict.granted, verdict.current) for verdict in found}
        assert answers == {
            ("s:ap1/a-1", True, None),
            ("s:ap1/a-2", True, None),
            ("s:ap1/a-3", True, None),
            ("s:ap1/a-4", False, 2),
        }
        view = await read_group(agents.configuration, "staff")
        assert view.standings == [Standing("total", 2, 2)]
        assert [row.identity for row in view.rows] == ["pablo", "peter"]
        assert (view.known.drift, view.policy.version) == (0, 2)


async def test_a_group_agent_that_is_killed_loses_and_doubles_nothing(kafka: Kafka, prefix: str, seed: int):
    """2.8: kill -9 again and again under load; table and verdicts are those of a model that read the same topic."""
    async with agents_of(kafka, prefix) as agents:
        stop = asyncio.Event()
        churning = asyncio.create_task(agents.churn(random.Random(seed), stop))
        chance = random.Random(seed + 1)
        for _ in range(4):
            worker = await WorkerProcess.start(agents.configuration, "groups")
            await worker.ready()
            await asyncio.sleep(chance.uniform(0.2, 2.0))
            await worker.end(signal.SIGKILL)
        stop.set()
        await churning
        async with running_worker(agents.configuration, GroupCore, GROUP_SLOTS):
            await all_applied(agents)
        found = await verify(agents)
        assert {verdict.granted for verdict in found} == {True, False}


async def test_two_workers_share_the_groups_and_a_take_over_goes_on_counting(kafka: Kafka, prefix: str, seed: int):
    """2.8: the count is one count whatever worker it came through."""
    async with agents_of(kafka, prefix) as agents:
        stop = asyncio.Event()
        churning = asyncio.create_task(agents.churn(random.Random(seed), stop))
        async with running_worker(agents.configuration, GroupCore, GROUP_SLOTS) as first:
            second = RunningWorker(agents.configuration, GroupCore, GROUP_SLOTS)
            await until("the second has its share", lambda: second.health.is_ready and len(second.cores) == PARTITIONS // 2)
            await asyncio.sleep(0.5)
            await second.stop()
            await until("the first has all again", lambda: len(first.cores) >= PARTITIONS + PARTITIONS // 2 and first.health.is_ready)
            stop.set()
            await churning
            await all_applied(agents)
        assert await verify(agents)
