"""A real Kafka for tests, wherever it comes from: given from outside, a container, or the product's own embedded broker.

What lives here: finding one (`start_kafka`), and making it stop, freeze and come back (`Kafka`). Fixtures are in tests/conftest.py.
All three kinds run with the settings of deploy/kafka/server.properties, but for one that is given.
"""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import docker
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from docker.errors import DockerException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from agents.broker import (
    EmbeddedBroker,
    JarsUnavailableError,
    JavaMissingError,
    JavaTooOldError,
    MavenMissingError,
    ask_cluster_id,
    ensure_jars,
    find_java,
    find_root,
    pick_free_port,
)

IMAGE = "apache/kafka:4.3.0"
HEAP_MIB = 512
DOCKER_DEADLINE_S = 5
FREEZE_LOOK_S = 0.01
PULL_DEADLINE_S = 45
ANSWER_DEADLINE_S = 90


class Kafka(Protocol):
    """A Kafka that a test may use. It keeps its address and its data through stop, start and pause."""

    bootstrap: str
    kind: str  # for people: what it is, and why no better one

    async def start(self) -> None:
        """Start it unless it runs; return when it answers."""

    async def stop(self) -> None:
        """Stop it cleanly; nothing happens when it is stopped."""

    async def kill(self) -> None:
        """End it without warning (SIGKILL)."""

    async def pause(self) -> None:
        """Freeze it: connections stay and nothing is answered."""

    async def resume(self) -> None:
        """Let it go on; nothing happens when it is not frozen."""

    async def restart(self) -> None:
        """Stop and start it."""

    async def close(self) -> None:
        """Leave nothing of it behind; one that was given stays as it is."""


class LocalKafka:
    """The product's embedded broker in a directory of its own."""

    def __init__(self, data_dir: Path, why: str) -> None:
        self._broker = EmbeddedBroker(data_dir, pick_free_port(), HEAP_MIB)
        self.bootstrap = self._broker.bootstrap
        self.kind = f"the embedded Kafka ({why})"

    async def start(self) -> None:
        await self.resume()
        await self._broker.start()

    async def stop(self) -> None:
        await self.resume()
        await self._broker.stop()

    async def kill(self) -> None:
        self._signal(signal.SIGKILL)
        await self._broker.stop()

    async def pause(self) -> None:
        self._signal(signal.SIGSTOP)
        while not self._is_frozen():  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(FREEZE_LOOK_S)

    async def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def close(self) -> None:
        await self.stop()

    def _is_frozen(self) -> bool:
        """Each of its threads stops by itself, and on a busy machine one of them answers for a while yet."""
        tasks = Path(f"/proc/{self._broker.pid}/task").glob("*/stat")
        try:
            return all(task.read_text().rpartition(")")[2].split()[0] in "TtZX" for task in tasks)
        except OSError:  # one has just ended
            return False

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self._broker.pid) is not None:
            os.kill(pid, number)


class ContainerKafka:
    """Apache Kafka's own image through testcontainers, on a fixed port of this machine so that it can come back to the same address."""

    def __init__(self) -> None:
        port = pick_free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        self.kind = f"testcontainers, {IMAGE}"
        self._container = DockerContainer(IMAGE).with_bind_ports(9092, port).with_envs(**_container_settings(self.bootstrap))
        self._made = False

    async def start(self) -> None:
        if self._made:
            await self.resume()
            await asyncio.to_thread(self._container.get_wrapped_container().start)
        else:
            testcontainers_config.ryuk_disabled = _why_no_image(testcontainers_config.ryuk_image) is not None
            await asyncio.to_thread(self._container.start)
            self._made = True
        await wait_until_answers(self.bootstrap)

    async def stop(self) -> None:
        await self.resume()
        await asyncio.to_thread(self._container.get_wrapped_container().stop, timeout=30)

    async def kill(self) -> None:
        await asyncio.to_thread(self._container.get_wrapped_container().kill)

    async def pause(self) -> None:
        await asyncio.to_thread(self._container.get_wrapped_container().pause)

    async def resume(self) -> None:
        container = self._container.get_wrapped_container()
        await asyncio.to_thread(container.reload)
        if container.status == "paused":
            await asyncio.to_thread(container.unpause)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def close(self) -> None:
        await asyncio.to_thread(self._container.stop)


class GivenKafka:
    """The Kafka of KAFKA_BOOTSTRAP_SERVERS: used, never stopped."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.kind = "the one that KAFKA_BOOTSTRAP_SERVERS names"

    async def start(self) -> None:
        await wait_until_answers(self.bootstrap)

    async def close(self) -> None:
        pass

    async def _skip(self) -> None:
        pytest.skip("KAFKA_BOOTSTRAP_SERVERS names a Kafka that tests must not stop")

    stop = kill = pause = resume = restart = _skip


async def start_kafka(data_dir: Path, *, own: bool = False) -> Kafka:
    """Start the best Kafka that there is; skips the test with a reason where there is none.

    Args:
        data_dir: where the embedded broker would keep its data.
        own: a private one that may be stopped, so not the one of KAFKA_BOOTSTRAP_SERVERS.
    """
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given and not own:
        kafka: Kafka = GivenKafka(given)
        await kafka.start()
        return kafka
    why_no_container = await asyncio.to_thread(_why_no_image, IMAGE)
    if why_no_container is None:
        kafka = ContainerKafka()
        try:
            await kafka.start()
        except (DockerException, AssertionError, OSError) as error:
            await kafka.close()
            why_no_container = f"the container did not start: {error}"
        else:
            return kafka
    try:
        find_java()
        ensure_jars()
    except (JavaMissingError, JavaTooOldError, MavenMissingError, JarsUnavailableError) as error:
        pytest.skip(f"no Kafka to test against: {why_no_container}; {error}")
    kafka = LocalKafka(data_dir, why_no_container)
    await kafka.start()
    return kafka


async def wait_until_answers(bootstrap: str) -> str:
    """Wait for a broker at `bootstrap`; return its cluster id."""
    deadline = time.monotonic() + ANSWER_DEADLINE_S
    while (cluster_id := await ask_cluster_id(bootstrap.split(",", maxsplit=1)[0])) is None:
        assert time.monotonic() < deadline, f"no Kafka answers at {bootstrap}"
        await asyncio.sleep(0.1)
    return cluster_id


async def create_topics(bootstrap: str, specs: Mapping[str, int | tuple[int, Mapping[str, str]]]) -> None:
    """Create topics: name -> partitions, or name -> (partitions, topic configuration)."""
    pairs = {name: (spec, {}) if isinstance(spec, int) else spec for name, spec in specs.items()}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics(
            [NewTopic(name, count, 1, topic_configs=dict(configs)) for name, (count, configs) in pairs.items()]
        )
    finally:
        await admin.close()
    failed = [error for error in answer.topic_errors if error[1] != 0]
    assert not failed, failed


def _why_no_image(image: str) -> str | None:
    """None when Docker has the image or can fetch it soon; else the reason in some words."""
    try:
        client = docker.from_env(timeout=DOCKER_DEADLINE_S)
    except DockerException:
        return "no Docker daemon answers"
    try:
        client.ping()
        if client.images.list(image):
            return None
        deadline = time.monotonic() + PULL_DEADLINE_S
        repository, tag = image.rsplit(":", 1)
        for _ in client.api.pull(repository, tag, stream=True):
            if time.monotonic() > deadline:
                break
        found = bool(client.images.list(image))
    except (DockerException, OSError):
        found = False
    finally:
        client.close()
    return None if found else f"Docker has no image {image} and cannot fetch it within {PULL_DEADLINE_S} s"


def _container_settings(bootstrap: str) -> dict[str, Any]:
    lines = (find_root() / "deploy/kafka/server.properties").read_text().splitlines()
    fixed = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    own = {
        # The broker talks to itself (transaction markers) over a listener of its own: inside, 127.0.0.1 has another port than outside.
        "inter.broker.listener.name": "BROKER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT",
        "listeners": "PLAINTEXT://0.0.0.0:9092,BROKER://127.0.0.1:9094,CONTROLLER://127.0.0.1:9093",
        "advertised.listeners": f"PLAINTEXT://{bootstrap},BROKER://127.0.0.1:9094",
        "controller.quorum.voters": "1@127.0.0.1:9093",
        "heap.opts": f"-Xmx{HEAP_MIB}m",
    }
    return {"KAFKA_" + key.upper().replace(".", "_"): value for key, value in {**fixed, **own}.items()}
