"""The whole product on this machine: Kafka, topics, policy, all parts, one HTTP address; with `--demo` a simulated network.

What lives here: the order of starting and stopping. What may not: how each is done (`broker`, `topic_admin`, `policy_log`, `supervise`).

Theory of operation. HTTP answers first, so that `/readyz` says what is waited for. What is started is stopped in the opposite order, also
when a start fails half way: simulated network, ingest, worker, the others, HTTP, Kafka. A Kafka that was found running is left running; one
that dies is started again. The first SIGINT or SIGTERM begins the stop, the second ends all parts at once; SIGHUP goes to ingests,
kickers and the prober, which read their NASes again, unless it means that the terminal is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import msgspec
from aiokafka.errors import KafkaError

from agents.broker import BrokerError, EmbeddedBroker
from agents.demo import Demo
from agents.forward import forwarding
from agents.health import Health, serve_health
from agents.policy_log import publish, wait_in_force, workers_run
from agents.supervise import LOG_LEVEL_VARIABLE, Part, Supervisor, socket_of
from agents.tasks import end
from agents.topic_admin import KafkaUnreachableError, ensure_topics
from schemas.configuration import Configuration, endpoint
from schemas.errors import CurfewError
from schemas.policy import Policy

BROKER_LOOK_S = 1.0
COORDINATOR_LOOK_S = 0.1
COORDINATOR_WITHIN_S = 10.0
IN_FORCE_WITHIN_S = 30.0
PUBLISHER = "curfew up"
PROJECTOR = "projector"
PROBER = "prober"
READ_NASES_AGAIN = ("ingest", "kicker", PROBER)
"""What takes SIGHUP: a worker knows no NAS, a projector none either."""

T = TypeVar("T")
Say = Callable[[str], None]


class PortTakenError(CurfewError):
    """A port for accounting is another program's."""


class StoppedError(Exception):
    """It was told to stop while it was starting."""


async def run_up(
    configuration: Configuration, config_path: Path | None, policy: Policy | None, *, demo: Demo | None, run_for_s: float | None, say: Say
) -> None:
    """Run everything until a signal, or for some seconds from now.

    Args:
        configuration: what runs where.
        config_path: the file that it is from, for the children; None: they find it as this process did.
        policy: published unless it is the one in force already; None leaves that.
        demo: the simulated network and its story.
        run_for_s: None: until SIGINT or SIGTERM.
        say: prints a line of talk.

    Raises:
        CurfewError: something cannot be started; the text names the remedy. Nothing is left running then.
    """
    up = _Up(configuration, config_path, policy, demo=demo, say=say)
    with _signals(up), contextlib.suppress(StoppedError):
        if run_for_s is not None:
            asyncio.get_running_loop().call_later(run_for_s, up.stop.set)
        try:
            await up.run()
        except BrokerError as error:
            raise CurfewError(str(error)) from error


class _Up:
    """One run."""

    def __init__(
        self, configuration: Configuration, config_path: Path | None, policy: Policy | None, *, demo: Demo | None, say: Say
    ) -> None:
        self._configuration = configuration
        self._config_path = config_path
        self._policy = policy
        self._demo = demo
        self._say = say
        self._health = Health("up")
        self._supervisor: Supervisor | None = None
        self._began_s = time.monotonic()
        self._had_terminal = _has_terminal()
        self.stop = asyncio.Event()

    async def run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="curfew-")))  # a short path: unix sockets have 107 octets
            routes = await stack.enter_async_context(forwarding("/v1", socket_of(directory, PROJECTOR), PROJECTOR))
            where = await stack.enter_async_context(serve_health(self._configuration, self._health, metrics_dir=directory, routes=routes))
            _require_free(self._configuration.ingest.listen, socket.SOCK_DGRAM)
            _require_free(self._configuration.ingest.radsec, socket.SOCK_STREAM)
            if self._configuration.kafka.bootstrap_servers is None:
                await self._start_broker(stack)
            self._health.not_ready("the topics are being made")
            await self._unless_stopped(ensure_topics(self._configuration))
            version = await self._publish()
            supervisor = self._supervisor = Supervisor(
                self._stages(),
                directory=directory,
                environment=self._environment(),
                health=self._health,
                say=self._say,
            )
            await self._supervise(supervisor, where, version)
            self._say("Stopped.")

    def stop_or_kill(self) -> None:
        """The first time: stop in order. The second time: at once."""
        if self.stop.is_set() and self._supervisor is not None:
            self._supervisor.kill()
        self.stop.set()

    def hang_up(self) -> None:
        """SIGHUP: the terminal is gone, or somebody wants the NASes read again."""
        if self._had_terminal and not _has_terminal():
            self.stop.set()
        elif self._supervisor is not None:
            for command in READ_NASES_AGAIN:
                self._supervisor.send(command, signal.SIGHUP)

    async def _start_broker(self, stack: contextlib.AsyncExitStack) -> None:
        self._health.not_ready("Kafka is starting")
        broker = EmbeddedBroker(Path(self._configuration.broker.data_dir), self._configuration.broker.port)
        self._say(f"Kafka is starting, with its data in {_short(broker.data_dir)}")
        await self._unless_stopped(stack.enter_async_context(broker))
        self._say(f"Kafka answers at {broker.bootstrap} after {self._elapsed()}")
        kafka = msgspec.structs.replace(self._configuration.kafka, bootstrap_servers=broker.bootstrap)
        self._configuration = msgspec.structs.replace(self._configuration, kafka=kafka)
        await self._unless_stopped(_coordinator_answers(self._configuration))
        stack.push_async_callback(end, asyncio.create_task(self._keep_broker(broker)))

    async def _keep_broker(self, broker: EmbeddedBroker) -> None:
        """Start Kafka again when it has died: the parts wait for it."""
        while True:
            await asyncio.sleep(BROKER_LOOK_S)
            if broker.pid is None:
                self._say("Kafka has ended by itself; it is started again")
                try:
                    await broker.start()
                except BrokerError as error:
                    self._say(str(error))

    async def _publish(self) -> int | None:
        """Publish the policy; its version, None without one."""
        if self._policy is None:
            return None
        published = await self._unless_stopped(publish(self._configuration, self._policy, PUBLISHER, round(time.time() * 1000)))
        self._say(f"Policy version {published.version.version} " + ("is published" if published.is_new else "is what is wanted already"))
        return published.version.version

    def _stages(self) -> list[list[Part]]:
        """What runs, in the order in which it is stopped: first what brings new work."""
        config = ("--config", str(self._config_path.absolute())) if self._config_path is not None else ()
        counts = {"ingest": self._configuration.ingest.processes, "worker": self._configuration.worker.processes, "kicker": 1}
        stages = [
            [Part(name if count == 1 else f"{name}-{number + 1}", (name, *config)) for number in range(count)]
            for name, count in counts.items()
        ]
        asks_nases = self._policy is not None and any(rule.probe == "query" for rule in self._policy.liveness)
        if self._configuration.prober.interfaces or asks_nases:
            stages[-1].append(Part(PROBER, (PROBER, *config)))
        if self._configuration.http.listen or self._configuration.redis.url:
            stages[-1].append(Part(PROJECTOR, (PROJECTOR, *config)))
        return stages

    def _environment(self) -> dict[str, str]:
        """The children's: Kafka is where the parent knows it to be, and they say only what somebody should look at."""
        bootstrap = self._configuration.kafka.bootstrap_servers or ""
        return {LOG_LEVEL_VARIABLE: "WARNING", **os.environ, "KAFKA_BOOTSTRAP_SERVERS": bootstrap}

    async def _supervise(self, supervisor: Supervisor, where: str, version: int | None) -> None:
        """Run the parts and what is told of them until all is to stop, or one of them fails for good."""
        children = asyncio.create_task(supervisor.run(self.stop))
        telling = asyncio.create_task(self._tell(supervisor, where, version))
        telling.add_done_callback(self._stop_if_failed)
        stopping = asyncio.create_task(self.stop.wait())
        await asyncio.wait([children, stopping], return_when=asyncio.FIRST_COMPLETED)
        self._say(f"Stopping after {self._elapsed()}: ingest, worker, kicker, Kafka")
        await end(telling, stopping)
        await children
        if not telling.cancelled():
            telling.result()

    def _stop_if_failed(self, telling: asyncio.Task[None]) -> None:
        if not telling.cancelled() and telling.exception() is not None:
            self.stop.set()

    async def _tell(self, supervisor: Supervisor, where: str, version: int | None) -> None:
        """Say what there is to be said; that Kafka does not answer just then is no reason to stop."""
        try:
            await self._tell_in_time(supervisor, where, version)
        except (CurfewError, KafkaError) as error:
            self._say(str(error) or type(error).__name__)

    async def _tell_in_time(self, supervisor: Supervisor, where: str, version: int | None) -> None:
        await supervisor.wait_ready()
        if version is not None:
            await wait_in_force(self._configuration, version, IN_FORCE_WITHIN_S)
        listening = ", ".join(self._configuration.ingest.listen)
        self._say(f"Ready after {self._elapsed()}: accounting at {listening}" + (f", {where}/readyz and /metrics" if where else ""))
        if self._demo is not None:
            await self._demo.tell(self._configuration)

    async def _unless_stopped(self, work: Awaitable[T]) -> T:
        """The work's result, unless everything is to stop before it is there."""
        task = asyncio.ensure_future(work)
        waiting = asyncio.create_task(self.stop.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await end(waiting)
            return task.result()
        await end(task)
        raise StoppedError

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._began_s:.1f} s"


async def _coordinator_answers(configuration: Configuration) -> None:
    """Ask a new Kafka about a consumer group until it knows: it makes its topic for them when first asked, and the parts would complain."""
    deadline_s = time.monotonic() + COORDINATOR_WITHIN_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(KafkaUnreachableError):
            await workers_run(configuration)
            return
        await asyncio.sleep(COORDINATOR_LOOK_S)


@contextlib.contextmanager
def _signals(up: _Up) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    handlers = {signal.SIGINT: up.stop_or_kill, signal.SIGTERM: up.stop_or_kill, signal.SIGHUP: up.hang_up}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def _has_terminal() -> bool:
    """Whether somebody holds this process's terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _require_free(listen: Iterable[str], kind: socket.SocketKind) -> None:
    """Refuse a taken accounting port now: the ingests share theirs (SO_REUSEPORT), so that they would not notice a rival.

    Raises:
        PortTakenError: with the remedy.
    """
    for text in listen:
        address, port = endpoint(text)
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before are no rivals
            try:
                probe.bind((address, port))
            except OSError as error:
                remedy = "Stop that program, or give [ingest] another address in curfew.toml (CURFEW_INGEST_LISTEN, CURFEW_INGEST_RADSEC)."
                raise PortTakenError(f"Accounting cannot be received at {text}: {error.strerror}. {remedy}") from error


def _short(path: Path) -> str:
    """A path as people write it who are in the working directory."""
    return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)
