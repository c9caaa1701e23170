"""The whole product as processes of their own, on private ports and with private topics, so that a test can kill a part of it.

What lives here: starting, killing, freezing and stopping the parts, and reading what they wrote. Every process is a child that dies with
the test run (`setpriv --pdeathsig` where there is one) and is ended by its pid. Reading is `read_committed` everywhere: what a zombie
wrote and never committed is nobody's truth. What a stranger wrote is no JSON and perhaps no text: it is read all the same.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self, TypeVar

from agents.broker import pick_free_port
from agents.health import STATUS_SOCKET_VARIABLE, ask_ready
from agents.settings import load_settings
from agents.topic_reader import kind_of, reading
from schemas.codec import loads
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, RESULTS, TABLE, Topic

READY_WITHIN_S = 120.0
STOP_WITHIN_S = 60.0
COMMAND_WITHIN_S = 120.0
DEADLINE_S = 120.0
LOOK_EVERY_S = 0.1
LOG_LINES_SHOWN = 25
CURFEW = (sys.executable, "-m", "agents.cli")
ROOT = Path(__file__).parents[2]

T = TypeVar("T")


class Stored(NamedTuple):
    """A record as it lies in a topic; `value` is decoded JSON, None for a tombstone or no JSON; `time_ms` is its producer's clock.

    A key that is not UTF-8 holds surrogates for its octets (`os.fsencode` gives them back).
    """

    partition: int
    offset: int
    time_ms: int
    key: str | None
    kind: str
    value: Any
    octets: bytes | None


class Nas(NamedTuple):
    """A `[[nas]]` of the configuration.

    Attributes:
        dae_port: where it takes Disconnect-Requests; None: it cannot be asked.
        identifier: NAS-Identifier, tells NASes behind one address apart.
    """

    name: str
    secret: str
    dae_port: int | None = None
    dae_secret: str = ""
    profile: str = "default"
    identifier: str | None = None
    interim_s: int | None = None
    address: str = "127.0.0.1"

    def toml(self) -> str:
        """Its table in curfew.toml."""
        lines = ["[[nas]]", f'name = "{self.name}"', f'addresses = ["{self.address}"]', f'secret = "{self.secret}"']
        if self.identifier:
            lines.append(f'nas_identifier = "{self.identifier}"')
        if self.interim_s:
            lines.append(f"interim_interval_s = {self.interim_s}")
        if self.dae_port:
            way = f'address = "{self.address}", port = {self.dae_port}, secret = "{self.dae_secret}", profile = "{self.profile}"'
            lines.append(f"disconnect = {{ {way} }}")
        return "\n".join(lines) + "\n"


class Part:
    """One `curfew ingest`, `worker`, `kicker`... as a child process; `process` is None when there is none.

    Attributes:
        environment: variables of its own, from its next start on.
    """

    def __init__(self, name: str, command: str, config: Path, directory: Path, sockets: Path) -> None:
        self.name = name
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = directory / f"{name}.log"
        self._arguments = (*CURFEW, command, "--config", str(config))
        self._socket = sockets / name

    def start(self) -> None:
        """Start it; `wait_ready` tells when it does its work."""
        assert self.process is None or self.process.poll() is not None, f"{self.name} runs already"
        self._socket.unlink(missing_ok=True)  # one that was killed leaves it behind
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                _dying_with_us(self._arguments),
                cwd=ROOT,
                env={**_environment(), **self.environment, STATUS_SOCKET_VARIABLE: str(self._socket)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def wait_ready(self) -> None:
        """Return when it says so of itself."""
        reason = "was never asked"
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.tail()}"
            reason = await ask_ready(self._socket)
            if not reason:
                return
            await asyncio.sleep(LOOK_EVERY_S)
        raise AssertionError(f"{self.name} is not ready after {READY_WITHIN_S} s ({reason}):\n{self.tail()}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without warning, and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_WITHIN_S)

    async def stop(self) -> int:
        """End it as an operator does (SIGTERM); its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return await asyncio.to_thread(self.process.wait, STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {STOP_WITHIN_S} s:\n{self.tail()}") from None

    async def restart(self) -> None:
        """A new process in place of one that is gone."""
        self.start()
        await self.wait_ready()

    def tail(self) -> str:
        """The last lines that it wrote."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {self.name}| {line}" for line in lines[-LOG_LINES_SHOWN:])


class Product:
    """Ingest, workers and kicker over one Kafka, and a prober where it is told to.

    Attributes:
        port: where accounting is received (127.0.0.1).
        prefix: of its topics. configuration: as loaded from `config`.
        ingest, workers, kicker: the parts; `worker` is the first of them.
        prober: empty, or the prober. projector: empty, or the projector.
    """

    def __init__(
        self,
        directory: Path,
        bootstrap: str,
        prefix: str,
        nases: Iterable[Nas],
        *,
        partitions: int = 4,
        workers: int = 1,
        tick_s: float = 1.0,
        prober: str | None = None,
        redis: str | None = None,
        replicas: int = 1,
    ) -> None:
        """Write the configuration; nothing is started.

        Args:
            directory: for configuration and logs.
            bootstrap: Kafka.
            prefix: of topics and groups.
            nases: who sends.
            partitions: of each topic.
            workers: worker processes.
            tick_s: between two ticks; less of it, and time passes in finer steps.
            prober: the table [prober] of the configuration; None: there is no prober.
            redis: the URL of a Redis to project into; None: there is no projector.
            replicas: of each topic.
        """
        self.port = pick_free_port()
        self.prefix = prefix
        self.directory = directory
        self.config = directory / "curfew.toml"
        tables = [
            f'[kafka]\nbootstrap_servers = "{bootstrap}"\npartitions = {partitions}\ntopic_prefix = "{prefix}"\n',
            f"replication_factor = {replicas}\n",
            f'[ingest]\nlisten = ["127.0.0.1:{self.port}"]\ntick_s = {tick_s}\n',
            '[kicker]\nsource = "127.0.0.1"\n',
            "[worker]\nsession_timeout_s = 3\n",
            *([] if prober is None else [f"[prober]\n{prober}\n"]),
            *([] if redis is None else [f'[redis]\nurl = "{redis}"\n[http]\nlisten = ""\n']),
            *(nas.toml() for nas in nases),
        ]
        self.config.write_text("\n".join(tables))
        self.configuration = load_settings(self.config, {})
        self._sockets = TemporaryDirectory(prefix="curfew-")  # a short path: unix sockets have 107 octets
        sockets = Path(self._sockets.name)
        self.ingest = Part("ingest", "ingest", self.config, directory, sockets)
        self.workers = [Part(f"worker-{number + 1}", "worker", self.config, directory, sockets) for number in range(workers)]
        self.worker = self.workers[0]
        self.kicker = Part("kicker", "kicker", self.config, directory, sockets)
        self.prober = [] if prober is None else [Part("prober", "prober", self.config, directory, sockets)]
        self.projector = [] if redis is None else [Part("projector", "projector", self.config, directory, sockets)]

    @property
    def parts(self) -> list[Part]:
        """All of them, in the order in which they are stopped."""
        return [self.ingest, *self.workers, self.kicker, *self.prober, *self.projector]

    async def start(self, policy: str = "") -> Self:
        """Make the topics, start all parts, put a policy in force, and return when all of them are ready."""
        await self.curfew("topics", "create")
        for part in self.parts:
            part.start()
        for part in self.parts:
            await part.wait_ready()
        if policy:
            await self.publish(policy)
        return self

    def close(self) -> None:
        """Leave no process behind, and show what they said (pytest keeps it for a test that fails)."""
        for part in self.parts:
            part.kill()
            print(part.tail())  # noqa: T201 - see above
        self._sockets.cleanup()

    async def publish(self, policy: str) -> None:
        """Publish a policy (TOML); return when it is in force in every partition."""
        file = self.directory / "policy.toml"
        file.write_text(policy)
        await self.curfew("policy", "apply", str(file))

    async def curfew(self, *arguments: str) -> str:
        """What `curfew ARGUMENTS --config ...` prints."""
        return await run(*CURFEW, *arguments, "--config", str(self.config))

    async def records(self, topic: Topic) -> list[Stored]:
        """A topic from its beginning to its present end; in order within each partition."""
        async with reading(self.configuration, topic) as reader:
            return [
                Stored(
                    record.partition,
                    record.offset,
                    record.timestamp,
                    None if record.key is None else os.fsdecode(record.key),
                    kind_of(record),
                    _json_of(record.value),
                    record.value,
                )
                async for record in reader.to_end()
            ]

    async def journal(self) -> list[Any]:
        """The accounting records in the journal, without ticks and the like."""
        return [stored.value for stored in await self.records(ACCOUNTING) if stored.kind == "accounting"]

    async def events(self, *types: str) -> list[Any]:
        """The session events, of these types alone if some are named."""
        return [stored.value for stored in await self.records(EVENTS) if not types or stored.value["type"] in types]

    async def rows(self, letter: str = "s") -> dict[str, Any]:
        """The rows of `session.table` by key: `s` sessions, `i` identities, `n` NASes, `p` partitions."""
        rows = {stored.key or "": stored.value for stored in await self.records(TABLE)}
        return {key: value for key, value in rows.items() if key.startswith(f"{letter}:") and value is not None}

    async def states(self) -> dict[str, tuple[str, str | None]]:
        """What the table says of each session, by Acct-Session-Id: its state, and who said that it ended."""
        return {row["acct_session_id"]: (row["state"], row.get("said_by")) for row in (await self.rows()).values()}

    async def commands(self) -> list[Any]:
        """The disconnect commands, without the notices between them."""
        return [stored.value for stored in await self.records(COMMANDS) if stored.kind == "command" and stored.value is not None]

    async def results(self, *, final: bool | None = None) -> list[Any]:
        """The disconnect results; all, or those that are (not) final."""
        results = [stored.value for stored in await self.records(RESULTS) if stored.value is not None]
        return [result for result in results if final in (None, result["final"])]

    async def wait_for_events(self, count: int, *types: str, within_s: float = DEADLINE_S) -> list[Any]:
        """The events of these types, once there are so many."""
        return await eventually(lambda: self.events(*types), lambda events: len(events) >= count, within_s)

    async def wait_for_results(self, count: int, *, within_s: float = DEADLINE_S) -> list[Any]:
        """The final results, once there are so many."""
        return await eventually(lambda: self.results(final=True), lambda results: len(results) >= count, within_s)


@contextlib.asynccontextmanager
async def running(product: Product, policy: str = "") -> AsyncIterator[Product]:
    """The product, started; whatever happens, no process of it is left."""
    try:
        yield await product.start(policy)
    finally:
        product.close()


async def eventually(
    look: Callable[[], Awaitable[T]], enough: Callable[[T], object], within_s: float = DEADLINE_S, every_s: float = LOOK_EVERY_S
) -> T:
    """What `look` gives as soon as that is enough; fails with the last look when the deadline comes first."""
    deadline = time.monotonic() + within_s
    while not enough(seen := await look()):
        assert time.monotonic() < deadline, f"not within {within_s} s; the last look saw {seen!r}"
        await asyncio.sleep(every_s)
    return seen


async def run(*arguments: str, environment: dict[str, str] | None = None, within_s: float = COMMAND_WITHIN_S) -> str:
    """Run a program to its end and return what it printed; fails with what it said unless its exit status is 0."""
    done = await asyncio.to_thread(
        subprocess.run,
        arguments,
        cwd=ROOT,
        env={**_environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=within_s,
        check=False,
    )
    output, talk = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}: {output}{talk}"
    return output


def _json_of(value: bytes | None) -> Any:
    with contextlib.suppress(ValueError):
        return None if value is None else loads(value)
    return None


def _environment() -> dict[str, str]:
    """Ours, without what would go over the configuration."""
    return {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP_SERVERS" and not name.startswith("CURFEW_")}


def _dying_with_us(arguments: Sequence[str]) -> Sequence[str]:
    setpriv = shutil.which("setpriv")
    return arguments if setpriv is None else (setpriv, "--pdeathsig", "KILL", *arguments)
