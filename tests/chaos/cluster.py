"""The Kafkas that are broken: one embedded node, the same on a disk of its own that can be full, or three nodes of one cluster.

With three nodes each partition of the product's topics has three replicas, of which two must have a record before it is acknowledged. Node
1 is the controller, and has Kafka's own topics; it stays. A partition's leader on another node can be killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from aiokafka.admin import NewTopic

from schemas.topics import TOPICS
from tests.support.kafka import LocalKafka
from tests.support.second_broker import SideNode, make_kafkas_own_topics, place_topics, wait_for_nodes

DISK_MIB = 1024
NODES = (1, 2, 3)
IN_SYNC_MIN = 2


class NotHereError(Exception):
    """A fault that cannot be made on this machine; the text says why."""


class ThreeNodes(LocalKafka):
    """Three nodes; clients get the address of the first."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "node-1", "three nodes")
        self.sides = [SideNode(self._broker, directory / f"node-{number}", number) for number in NODES[1:]]

    async def start(self) -> None:
        """Start all that do not run; return when every partition has a leader."""
        await super().start()
        if not self.sides[0].is_formatted:
            await make_kafkas_own_topics(self.bootstrap)
            for side in self.sides:
                await asyncio.to_thread(side.format)
        for side in self.sides:
            side.start()
        await self._wait_for_all()

    async def close(self) -> None:
        """Leave nothing running."""
        for side in self.sides:
            side.kill()
        await super().close()

    async def place(self, prefix: str, partitions: int) -> None:
        """Make the product's topics, three replicas each; the leaders are spread over the nodes."""
        topics = [
            NewTopic(
                prefix + topic.name,
                -1,
                -1,
                replica_assignments={number: [*NODES[number % 3 :], *NODES[: number % 3]] for number in range(partitions)},
                topic_configs={**topic.settings(), "min.insync.replicas": str(IN_SYNC_MIN)},
            )
            for topic in TOPICS
        ]
        await place_topics(self.bootstrap, topics)
        await self._wait_for_all()

    async def _wait_for_all(self) -> None:
        await wait_for_nodes(self.bootstrap, self.sides, lambda brokers, leaderless: len(brokers) == len(NODES) and not leaderless)


class SmallDisk:
    """A file system in memory that can be filled; it exists inside `with`."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self._ballast = where / "ballast"

    def __enter__(self) -> Self:
        self.where.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "chaos", str(self.where)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise NotHereError(f"no small disk can be mounted ({error})") from error
        if done.returncode != 0:
            raise NotHereError(f"no small disk can be mounted ({done.stderr.strip()})")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.where)], check=False)

    def fill(self) -> None:
        """Leave no octet free."""
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))

    def free(self) -> None:
        """Take away what fills it."""
        self._ballast.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def one_node(directory: Path) -> AsyncIterator[LocalKafka]:
    """One embedded node, started."""
    kafka = LocalKafka(directory, "of its own")
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.close()


@contextlib.asynccontextmanager
async def three_nodes(directory: Path) -> AsyncIterator[ThreeNodes]:
    """Three of them, started."""
    kafka = ThreeNodes(directory)
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.close()
