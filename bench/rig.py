"""What the parts of the bench share: configurations, child processes that are ended by their pid, and the load generator.

Everything lies under one directory (`var/bench`); topics, detail files and logs of a run are removed when the next one begins.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agents.broker import pick_free_port
from agents.health import STATUS_SOCKET_VARIABLE, ask_ready
from agents.settings import load_settings
from agents.topic_admin import ensure_topics
from schemas.codec import loads
from schemas.configuration import Configuration

ROOT = Path(__file__).parents[1]
SECRET = "bench-accounting"
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 20.0
PARTITIONS = 8
PACKETS_MAX = 100_000_000
FOREVER_S = 3600.0
LOAD_WITHIN_S = 120.0


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
        name: `full`, `quick` (the same tables in some five minutes) or `tiny` (only to see that it runs).
        rounds: of each figure that is measured in turn with its peers.
        ingest_s: how long one round of load lasts. windows: requests outstanding.
        users: who log in, report and log out.
        records: accounting records that the worker catches up on. faust_records: likewise, for Faust.
        rates: records per second at which latency is measured. warm_s, measured_s: for how long, at each.
        through_s: how long the ingest is loaded with the worker behind it.
        away_s: for how long Kafka is away, at away_rate records per second. overload_s: how long a server gets twice what it can take.
        kicks: that kickers carry out. bulk: in virtual time.
    """

    name: str
    rounds: int
    ingest_s: float
    windows: tuple[int, ...]
    users: int
    records: int
    faust_records: int
    rates: tuple[int, ...]
    warm_s: float
    measured_s: float
    through_s: float
    away_s: float
    away_rate: int
    overload_s: float
    kicks: int
    bulk: int


FULL = Sizes(
    "full", 3, 4.0, (64, 512, 2048, 8192), 20_000, 1_000_000, 20_000, (500, 3_333), 8.0, 20.0, 60.0, 600.0, 10_000, 300.0, 30_000, 100_000
)
QUICK = Sizes("quick", 1, 1.5, (1024,), 8_000, 100_000, 4_000, (3_333,), 2.0, 3.0, 3.0, 15.0, 10_000, 5.0, 6_000, 15_000)
TINY = Sizes("tiny", 1, 0.5, (64,), 200, 2_000, 500, (500,), 1.5, 1.5, 1.0, 2.0, 500, 1.0, 400, 1_000)


class FailedError(Exception):
    """A child did not do what it was started for."""


class Child:
    """A program in a session of its own, its output in a file."""

    def __init__(self, name: str, arguments: Sequence[str], directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._arguments = arguments
        self._socket = directory / f"{name}.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        setpriv = shutil.which("setpriv")  # it dies with us, however we end
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*([setpriv, "--pdeathsig", "KILL"] if setpriv else []), *self._arguments],
                cwd=ROOT,
                env=own_environment() | {STATUS_SOCKET_VARIABLE: os.path.relpath(self._socket, ROOT)},  # relative: they hold 107 octets
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def why_not_ready(self) -> str:
        """What it says on its status socket; an empty text when it does its work."""
        return await ask_ready(self._socket)

    async def ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Return when it says on its status socket that it does its work."""
        await self.until(self.why_not_ready, within_s)

    async def says(self, words: str) -> None:
        """Return when these words are in its output."""

        async def look() -> str:
            return "" if words in self.log.read_text(errors="replace") else f"did not say {words!r}"

        await self.until(look)

    async def until(self, look: Any, within_s: float = READY_WITHIN_S) -> None:
        """Return when `look()` gives an empty text; else that is why not.

        Raises:
            FailedError: it ended, or took too long.
        """
        deadline = time.monotonic() + within_s
        while why := await look():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise FailedError(f"{self.name} {'ended' if ended else why}:\n{self.tail()}")
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """SIGTERM, and after a while SIGKILL; return when it has ended."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._process.send_signal(number)
            try:
                await asyncio.to_thread(self._process.wait, STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                continue
            self._process = None
            return

    def kill(self) -> None:
        """`kill -9`; return when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def metric(self, name: str) -> float:
        """One of its metrics, all labels together.

        Raises:
            FailedError: it does not answer on its status socket.
        """
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._socket))) as session,
                session.get("http://part/metrics") as response,
            ):
                text = await response.text()
        except aiohttp.ClientError as failed:
            raise FailedError(f"{self.name} does not tell its metrics: {failed}\n{self.tail()}") from failed
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{name}(_total)?[{{ ]", line))

    def cpu_s(self) -> float:
        """The CPU time that it has used."""
        return cpu_s_of(self._process.pid) if self._process else 0.0

    def family_cpu_s(self) -> float:
        """The CPU time that it and the processes that it started have used, those that have ended included (proc(5))."""
        if self._process is None:
            return 0.0
        used_s = cpu_s_of(self._process.pid, with_ended_children=True)
        for pid in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            with contextlib.suppress(OSError):  # it ends meanwhile
                used_s += cpu_s_of(int(pid))
        return used_s

    def resident_octets(self) -> int:
        """The memory that it holds; 0 when it has ended."""
        try:
            return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if self._process else 0
        except OSError:
            return 0

    def tail(self) -> str:
        return "\n".join(f"  {self.name}| {line}" for line in self.log.read_text(errors="replace").splitlines()[-20:])


class Rig:
    """Where a run of the bench happens.

    Attributes:
        directory: of everything that it writes.
        bootstrap: the Kafka of this run. broker: its process id.
        sizes: how much is measured.
        profile: parts are run once more under the sampler, and where their time goes is shown.
    """

    def __init__(self, directory: Path, bootstrap: str, broker: int, sizes: Sizes, *, profile: bool) -> None:
        self.directory = directory
        self.bootstrap = bootstrap
        self.broker = broker
        self.sizes = sizes
        self.profile = profile
        self.load = directory / "load"

    def beside(self, bootstrap: str, broker: int) -> "Rig":
        """The same place with another Kafka."""
        return Rig(self.directory, bootstrap, broker, self.sizes, profile=self.profile)

    def build_load(self) -> None:
        """Compile the load generator.

        Raises:
            FailedError: there is no C compiler, or it refuses.
        """
        self.compile("load")

    def compile(self, name: str) -> Path:
        """Compile one of the bench's own programs in C; where it is then.

        Raises:
            FailedError: there is no C compiler, or it refuses.
        """
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise FailedError(f"bench/{name}.c needs a C compiler (Debian: apt-get install gcc libc6-dev).")
        program, command = self.directory / name, [compiler, "-O2", "-o"]
        done = subprocess.run([*command, program, ROOT / f"bench/{name}.c", "-lm"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise FailedError(f"bench/{name}.c does not compile: {done.stderr}")
        return program

    async def send(
        self, port: int, *, window: int, packets: int = PACKETS_MAX, seconds: float = FOREVER_S, rate: float = 0, users: int | None = None
    ) -> Any:
        """Load on 127.0.0.1, in a closed loop, or open at a rate, of so many users; what `load` printed.

        Raises:
            FailedError: an answer was not to be believed, or, in a closed loop, a packet was not answered.
        """
        words = ["127.0.0.1", port, SECRET, packets, window, users or self.sizes.users, seconds, rate]
        return await run_to_end([str(self.load), *map(str, words)], within_s=LOAD_WITHIN_S + min(seconds, FOREVER_S))

    async def installation(self, name: str, *, port: int | None = None, nas: str = "") -> tuple[Path, Configuration]:
        """A configuration with topics of its own, made; `name` is their prefix.

        Args:
            port: where the ingest listens on 127.0.0.1.
            nas: the `[[nas]]` tables; without them one that covers 127.0.0.1.
        """
        one = f'[[nas]]\nname = "bench"\naddresses = ["127.0.0.1/32"]\nsecret = "{SECRET}"\n'
        file = self.directory / f"{name}.toml"
        file.write_text(
            f'[kafka]\nbootstrap_servers = "{self.bootstrap}"\npartitions = {PARTITIONS}\ntopic_prefix = "{name}."\n'
            f'[ingest]\nlisten = ["127.0.0.1:{port or pick_free_port()}"]\n[identity]\nstrip_realms = ["example.net"]\n' + (nas or one)
        )
        configuration = load_settings(file, {})
        await ensure_topics(configuration)
        return file, configuration

    def octets(self, config: Path) -> dict[str, int]:
        """What the log of each topic of an installation takes on the disk of the bench's own Kafka; those without a record are left out."""
        prefix, found = f"{config.stem}.", Counter[str]()
        for segment in (self.directory / "kafka/log").glob(f"{prefix}*/*.log"):
            found[segment.parent.name.removeprefix(prefix).rpartition("-")[0]] += segment.stat().st_size
        return {topic: octets for topic, octets in found.items() if octets}

    def part(self, name: str, config: Path, nth: int = 0, *, sampled: bool = False) -> Child:
        """`curfew NAME` as in production, or under the sampler; `nth` tells several of an installation apart."""
        child = f"{config.stem}-{name}{f'-{nth}' if nth else ''}"
        return self.python(child, "agents.cli", name, "--config", str(config), sampled=sampled)

    def python(self, name: str, module: str, *arguments: str, sampled: bool = False) -> Child:
        """A Python module as a program."""
        return Child(name, self.command(name, module, *arguments, sampled=sampled), self.directory)

    def command(self, name: str, module: str, *arguments: str, sampled: bool = False) -> list[str]:
        """Its command line."""
        sampler = ["bench.sampler", str(self.samples(name))] if sampled else []
        return [sys.executable, "-m", *sampler, module, *arguments]

    def samples(self, name: str) -> Path:
        """Where the sampler writes what it saw of a program."""
        return self.directory / f"{name}.samples.json"


async def make_topic(name: str, settings: dict[str, Any], **topic_settings: str) -> None:
    """Make a topic with the journal's partitions and wait until each has a leader; `settings` are aiokafka's."""
    admin = AIOKafkaAdminClient(**settings)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=topic_settings)])
        while not all(p["leader"] >= 0 for t in await admin.describe_topics([name]) for p in t["partitions"]):  # noqa: ASYNC110 - Kafka tells no event
            await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def run_to_end(arguments: Sequence[str], within_s: float = 120.0) -> Any:
    """Run a program that prints one JSON value.

    Raises:
        FailedError: its exit status was not 0.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments, cwd=ROOT, env=own_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), within_s)
    except TimeoutError:
        process.kill()
        raise FailedError(f"{' '.join(arguments)} did not end within {within_s:.0f} s") from None
    if process.returncode != 0:
        raise FailedError(f"{' '.join(arguments)} ended with {process.returncode}: {out.decode()}{err.decode(errors='replace')[-2000:]}")
    return loads(out.splitlines()[-1])


def own_environment() -> dict[str, str]:
    """Ours, without what would go over the configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "CURFEW_"))}


def cpu_s_of(pid: int, *, with_ended_children: bool = False) -> float:
    """The CPU time that a process has used, in user and in kernel mode, all its threads together (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11 : 15 if with_ended_children else 13])) / os.sysconf("SC_CLK_TCK")
