"""A second Kafka node beside an embedded one, so that a partition can be without a leader while everything else works.

What lives here: such a node (a broker without a controller), its violent end and its return, and topics whose partitions are placed by
hand. There can be more than one (tests.chaos.cluster).

Theory of operation. Node 1 is the product's embedded broker: controller, coordinators, and every partition that is not placed elsewhere.
Kafka makes its own topics at first need, on any node; so they are made before node 2 starts. With one replica for each partition, what
lies on node 2 has no leader from the moment the controller misses its heartbeats until it has registered again, with its data.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from agents.broker import (
    HOST,
    EmbeddedBroker,
    JarsUnavailableError,
    JavaMissingError,
    JavaTooOldError,
    MavenMissingError,
    _java_options,
    _run_tool,
    ensure_jars,
    find_java,
    find_root,
    pick_free_port,
)

HEAP_MIB = 384
DEADLINE_S = 120.0
POLL_S = 0.05
SECOND_ID = 2

Place = tuple[str, int]
"""(topic with its prefix, partition)."""
Holds = Callable[[set[int], set[Place]], object]
"""(nodes that are there, partitions without leader) -> whether that is what is waited for."""


class SideNode:
    """A broker without a controller, beside an embedded one that is its controller.

    Args:
        first: the embedded broker; it runs when this one is formatted.
        directory: of its own.
        number: its node id.
    """

    def __init__(self, first: EmbeddedBroker, directory: Path, number: int) -> None:
        self.number = number
        self._first = first
        self._directory = directory
        self._port = pick_free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_formatted(self) -> bool:
        """Whether it has a directory."""
        return self._directory.is_dir()

    def format(self) -> None:
        """Make its directory, once."""
        self._directory.mkdir()
        firsts = (self._first.data_dir / "server.properties").read_text()
        own = {
            "node.id": self.number,
            "process.roles": "broker",
            "log.dirs": self._directory / "log",
            "listeners": f"PLAINTEXT://{HOST}:{self._port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self._port}",
            "controller.quorum.bootstrap.servers": re.findall(r"^controller\.quorum\.bootstrap\.servers=(.*)$", firsts, re.MULTILINE)[-1],
        }
        fixed = (find_root() / "deploy/kafka/server.properties").read_text()
        self._properties.write_text(fixed + "\n" + "".join(f"{key}={value}\n" for key, value in own.items()))
        cluster_id = (self._first.data_dir / "cluster-id").read_text().strip()
        tool = [*self._program, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties)]
        _run_tool([*tool, "--no-initial-controllers"])

    def start(self) -> None:
        """Start it unless it runs; `wait_for_nodes` tells when it is there."""
        if self._process is None:
            self._process = self._spawn()

    def kill(self) -> None:
        """SIGKILL; nothing happens when it does not run."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def assert_alive(self) -> None:
        """Fail with its last words if it has ended by itself."""
        assert self._process is None or self._process.poll() is None, (self._directory / "server.log").read_text()[-2000:]

    @property
    def _program(self) -> list[str]:
        return [find_java(), *_java_options(HEAP_MIB), "-cp", f"{ensure_jars()}/*"]

    @property
    def _properties(self) -> Path:
        return self._directory / "server.properties"

    def _spawn(self) -> subprocess.Popen[bytes]:
        setpriv = shutil.which("setpriv")  # SIGTERM for it when we are killed
        with (self._directory / "server.log").open("ab") as said:
            return subprocess.Popen(
                [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), *self._program, "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=self._directory,
                start_new_session=True,
            )


class TwoNodes:
    """Two nodes of one cluster; clients get the address of the first, which never goes away.

    Attributes:
        bootstrap: of node 1.
    """

    def __init__(self, directory: Path) -> None:
        self._first = EmbeddedBroker(directory / "first", pick_free_port(), HEAP_MIB)
        self._second = SideNode(self._first, directory / "second", SECOND_ID)
        self.bootstrap = self._first.bootstrap

    async def start(self) -> None:
        """Start both; skips the test where the embedded broker cannot be had."""
        try:
            find_java()
            await asyncio.to_thread(ensure_jars)
        except (JavaMissingError, JavaTooOldError, MavenMissingError, JarsUnavailableError) as error:
            pytest.skip(f"a second node needs the embedded Kafka: {error}")
        await self._first.start()
        await make_kafkas_own_topics(self.bootstrap)
        await asyncio.to_thread(self._second.format)
        await self.start_second()

    async def start_second(self) -> None:
        """Start node 2 unless it runs; return when every partition has a leader."""
        self._second.start()
        await self._wait_for(lambda brokers, leaderless: SECOND_ID in brokers and not leaderless)

    async def kill_second(self, prefix: str) -> set[Place]:
        """SIGKILL node 2; return the partitions without a leader now, of topics with this prefix."""
        self.kill_second_at_once()
        leaderless = await self._wait_for(lambda brokers, _: SECOND_ID not in brokers)
        return {place for place in leaderless if place[0].startswith(prefix)}

    def kill_second_at_once(self) -> None:
        """SIGKILL node 2, and do not wait until the controller has noticed."""
        self._second.kill()

    async def close(self) -> None:
        """Leave nothing running."""
        self._second.kill()
        await self._first.stop()

    async def create_topics(self, specs: Mapping[str, tuple[int, Mapping[str, str]]], on_second: Collection[Place]) -> None:
        """Create topics, name -> (partitions, topic configuration), on node 1 but for the partitions `on_second`."""
        topics = [
            NewTopic(
                name,
                -1,
                -1,
                replica_assignments={number: [SECOND_ID if (name, number) in on_second else 1] for number in range(partitions)},
                topic_configs=dict(settings),
            )
            for name, (partitions, settings) in specs.items()
        ]
        await place_topics(self.bootstrap, topics)
        await self._wait_for(lambda _, leaderless: not leaderless)

    async def _wait_for(self, holds: Holds) -> set[Place]:
        return await wait_for_nodes(self.bootstrap, [self._second], holds)


async def wait_for_nodes(bootstrap: str, nodes: Collection[SideNode], holds: Holds) -> set[Place]:
    """Until what node 1 knows (brokers, partitions without leader) is so; return the latter."""
    async with asyncio.timeout(DEADLINE_S), _admin(bootstrap) as admin:
        while True:
            for node in nodes:
                node.assert_alive()
            try:
                brokers, leaderless = await _look(admin)
            except KafkaError:  # it asked the node that is gone
                brokers, leaderless = set(), set()
            if brokers and holds(brokers, leaderless):
                return leaderless
            await asyncio.sleep(POLL_S)


async def place_topics(bootstrap: str, topics: list[NewTopic]) -> None:
    """Create topics whose partitions are placed by hand."""
    async with _admin(bootstrap) as admin:
        answer = await admin.create_topics(topics)
    failed = [error for error in answer.topic_errors if error[1] != 0]
    assert not failed, failed


async def make_kafkas_own_topics(bootstrap: str) -> None:
    """The coordinators' topics come into being when somebody asks for a coordinator: for groups, and for transactions."""
    async with _admin(bootstrap) as admin:
        await _patiently(lambda: admin.find_coordinator("anybody"))
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="anybody"):
        pass


async def _look(admin: AIOKafkaAdminClient) -> tuple[set[int], set[Place]]:
    """The nodes that are there, and the partitions without leader."""
    brokers = {broker["node_id"] for broker in (await admin.describe_cluster())["brokers"]}
    described = await admin.describe_topics()
    return brokers, {
        (topic["topic"], partition["partition"]) for topic in described for partition in topic["partitions"] if partition["leader"] < 0
    }


async def _patiently(ask) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await ask()
            except KafkaError:
                await asyncio.sleep(POLL_S)
            else:
                return


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
