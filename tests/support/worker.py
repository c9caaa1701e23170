"""Workers for tests, in the test's event loop or as processes to kill and freeze; a feed, and the model to hold the table against."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, TopicPartition

from agents.health import Health
from agents.kafka_client import client_settings, topic_name
from agents.partition_owner import Lane
from agents.topic_admin import ensure_topics
from agents.worker import GROUP_SLOTS, SESSIONS, run_worker
from schemas.codec import loads
from schemas.configuration import Configuration, Kafka, Worker
from schemas.topics import ACCOUNTING, EVENTS, KIND_HEADER, TABLE, Topic, partition_key
from tests.support.fake_core import FakeCore

DEADLINE_S = 120.0
KEYS = 40
ROOT = Path(__file__).parents[2]


async def until(what: str, holds: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Poll until it holds."""
    async with asyncio.timeout(deadline_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)
    assert holds(), what


async def make_installation(bootstrap: str, prefix: str, *, partitions: int = 4, **worker: float) -> Configuration:
    """A configuration with short times, and its topics."""
    settings = {"checkpoint_s": 0.3, "session_timeout_s": 3.0, **worker}
    configuration = Configuration(
        kafka=Kafka(bootstrap_servers=bootstrap, partitions=partitions, topic_prefix=prefix), worker=Worker(**settings)
    )
    await ensure_topics(configuration)
    return configuration


class RunningWorker:
    """A worker in this process, of one lane: the session agent's with a core of the test's, if no other is given."""

    def __init__(self, configuration: Configuration, make_core=FakeCore, lane: Lane = SESSIONS) -> None:
        self.health = Health("worker")
        self.cores: list[FakeCore] = []
        self._stop = asyncio.Event()

        def make(*arguments):
            self.cores.append(make_core(*arguments))
            return self.cores[-1]

        self.task = asyncio.create_task(run_worker(configuration, self.health, self._stop, lanes=[replace(lane, make_core=make)]))

    async def ready(self) -> None:
        await until("ready", lambda: self.health.is_ready or self.task.done())
        if self.task.done():
            self.task.result()

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.wait_for(self.task, DEADLINE_S)


@contextlib.asynccontextmanager
async def running_worker(configuration: Configuration, make_core=FakeCore, lane: Lane = SESSIONS) -> AsyncIterator[RunningWorker]:
    """A worker in this process that is ready, and stopped in order at the end."""
    worker = RunningWorker(configuration, make_core, lane)
    try:
        await worker.ready()
        yield worker
        await worker.stop()
    finally:
        if not worker.task.done():
            worker.task.cancel()
            await asyncio.wait([worker.task])


class WorkerProcess:
    """A worker as a process of its own: `ready()` when it said so; `log` is what it wrote."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.log: list[str] = []
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, configuration: Configuration, lane: str = "fake") -> WorkerProcess:
        """Start one: `fake` counts the journal by the fake core, `groups` is the group agent as it is."""
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.worker", lane, msgspec.json.encode(configuration).decode()),
                cwd=ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        )

    async def ready(self) -> None:
        await until("ready", lambda: "ready" in self.log or self._process.returncode is not None)
        assert self._process.returncode is None, self.log

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end; what it wrote is in `log` then."""
        if self._process.returncode is None:
            self.send_signal(number)
        await asyncio.wait_for(self._process.wait(), DEADLINE_S)
        await self._reader
        return self._process.returncode

    async def _read(self) -> None:
        async for line in self._process.stdout:
            self.log.append(line.decode().rstrip())


class Feed:
    """Writes journal records and remembers what the table has to be."""

    def __init__(self, configuration: Configuration, producer: AIOKafkaProducer, keys: int) -> None:
        self._keys = keys
        self._topic = topic_name(configuration, ACCOUNTING)
        self._partitions = configuration.kafka.partitions
        self._producer = producer
        self.rows: dict[int, dict[str, dict[str, int]]] = {partition: {} for partition in range(self._partitions)}
        self.ends = dict.fromkeys(range(self._partitions), 0)
        self.sent = 0

    async def send(self, count: int) -> None:
        """That many records over all partitions and keys."""
        await asyncio.gather(*[self._send_to(partition, range(partition, count, self._partitions)) for partition in self.ends])

    async def send_one(self, partition: int, key: str, value: bytes) -> None:
        """One record of choice."""
        future = await self._producer.send(
            self._topic, key=key.encode(), value=value, partition=partition, headers=[(KIND_HEADER, b"accounting")]
        )
        self._remember(partition, key, (await future).offset)

    async def _send_to(self, partition: int, numbers: Iterable[int]) -> None:
        keys = [f"user{number % self._keys}" for number in numbers]
        futures = [
            await self._producer.send(
                self._topic, key=key.encode(), value=b"{}", partition=partition, headers=[(KIND_HEADER, b"accounting")]
            )
            for key in keys
        ]
        for key, future in zip(keys, futures, strict=True):
            self._remember(partition, key, (await future).offset)

    def _remember(self, partition: int, key: str, offset: int) -> None:
        row = self.rows[partition].setdefault(key, {"count": 0, "sum": 0, "last": -1})
        row.update(count=row["count"] + 1, sum=row["sum"] + offset, last=offset)
        self.ends[partition] = offset + 1
        self.sent += 1

    async def run(self, stop: asyncio.Event, per_second: int = 1500) -> None:
        """Send steadily until stopped."""
        while not stop.is_set():
            await self.send(per_second // 20)
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def feed(configuration: Configuration, keys: int = KEYS) -> AsyncIterator[Feed]:
    """A feed with a producer that bears a broker that goes away."""
    settings = {**client_settings(configuration), "request_timeout_ms": 60_000}
    async with AIOKafkaProducer(**settings, enable_idempotence=True) as producer:
        yield Feed(configuration, producer, keys)


@contextlib.asynccontextmanager
async def steady(feeding: Feed, per_second: int = 1500) -> AsyncIterator[None]:
    """Send steadily as long as the block runs."""
    stop = asyncio.Event()
    task = asyncio.create_task(feeding.run(stop, per_second))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


async def read_all(configuration: Configuration, topic: Topic) -> dict[int, list[ConsumerRecord]]:
    """Every committed record of a topic, by partition."""
    found: dict[int, list[ConsumerRecord]] = {partition: [] for partition in range(configuration.kafka.partitions)}
    places = [TopicPartition(topic_name(configuration, topic), partition) for partition in found]
    reader = AIOKafkaConsumer(**client_settings(configuration), isolation_level="read_committed", auto_offset_reset="earliest")
    async with reader:
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        ends = await reader.end_offsets(places)
        while any([await reader.position(place) < ends[place] for place in places]):
            for place, records in (await reader.getmany(timeout_ms=100)).items():
                found[place.partition].extend(records)
    return found


async def read_table(configuration: Configuration) -> tuple[dict[int, dict[str, dict[str, int]]], dict[int, int]]:
    """The table's rows by partition and key, and each partition's own next offset."""
    rows: dict[int, dict[str, dict[str, int]]] = {}
    offsets: dict[int, int] = {}
    for partition, records in (await read_all(configuration, TABLE)).items():
        core = FakeCore(partition, configuration.kafka.partitions, "")
        for record in records:
            core.restore(record.key, record.value)
        rows[partition] = {key.decode(): row for key, row in core.rows.items()}
        offsets[partition] = core.next_offset
    return rows, offsets


async def wait_for_table(configuration: Configuration, feeding: Feed, partitions: Iterable[int] = ()) -> None:
    """Until the table has reached the feed's end; then it must be the model, row by row: nothing skipped, nothing applied twice."""
    watched = set(partitions) or set(feeding.ends)
    async with asyncio.timeout(DEADLINE_S):
        while True:
            rows, offsets = await read_table(configuration)
            if all(offsets[partition] >= feeding.ends[partition] for partition in watched):
                break
            await asyncio.sleep(0.1)
    for partition in watched:
        assert offsets[partition] == feeding.ends[partition]
        assert rows[partition] == feeding.rows[partition]


async def wait_for_offsets(configuration: Configuration, feeding: Feed) -> None:
    """Until each partition's own row has reached the feed's end, whatever the core."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            table = await read_all(configuration, TABLE)
            own = {number: [r.value for r in records if r.key == partition_key(number).encode()] for number, records in table.items()}
            if all(loads(own[number][-1])["next_offset"] >= end if own[number] else end == 0 for number, end in feeding.ends.items()):
                return
            await asyncio.sleep(0.1)


async def check_events(configuration: Configuration, feeding: Feed) -> int:
    """Each record led to its event, in order but for repeats of what was said already; return how many were repeats."""
    repeats = 0
    for partition, records in (await read_all(configuration, EVENTS)).items():
        seen = -1
        for record in records:
            offset = int(record.value)
            assert offset <= seen + 1, f"the event of offset {seen + 1} was skipped"
            repeats += offset <= seen
            seen = max(seen, offset)
        assert seen + 1 == feeding.ends[partition]
    return repeats


async def _main() -> None:
    lane = GROUP_SLOTS if sys.argv[1] == "groups" else replace(SESSIONS, make_core=FakeCore)
    configuration = msgspec.json.decode(sys.argv[2], type=Configuration)
    health, stop = Health("worker"), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    said = None
    running = asyncio.create_task(run_worker(configuration, health, stop, lanes=[lane]))
    while not running.done():
        if health.reason != said:
            said = health.reason
            print(f"not ready: {said}" if said else "ready", flush=True)  # noqa: T201 - the test reads it
        await asyncio.wait([running], timeout=0.02)
    running.result()


if __name__ == "__main__":
    import logging

    import uvloop

    logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
    uvloop.run(_main())
