"""What the parts of the bench share: configurations, child processes that are ended by their pid, and the load generator.

Everything lies under one directory (`var/bench`); topics, detail files and logs of a run are removed when the next one begins.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
        rounds: of each figure that is measured in turn with its peers.
        ingest_s: how long one round of load lasts. windows: requests outstanding.
        users: who log in, report and log out.
        records: accounting records that the worker catches up on. faust_records: likewise, for Faust.
        rates: records per second at which latency is measured. warm_s, measured_s: for how long, at each.
    """

    rounds: int
    ingest_s: float
    windows: tuple[int, ...]
    users: int
    records: int
    faust_records: int
    rates: tuple[int, ...]
    warm_s: float
    measured_s: float


FULL = Sizes(3, 4.0, (512, 2048), 20_000, 300_000, 20_000, (500, 3_333), 8.0, 12.0)
TINY = Sizes(1, 0.5, (64,), 200, 2_000, 500, (500,), 1.5, 1.5)


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

    async def ready(self) -> None:
        """Return when it says on its status socket that it does its work."""
        await self.until(lambda: ask_ready(self._socket))

    async def says(self, words: str) -> None:
        """Return when these words are in its output."""

        async def look() -> str:
            return "" if words in self.log.read_text(errors="replace") else f"did not say {words!r}"

        await self.until(look)

    async def until(self, look: Any) -> None:
        """Return when `look()` gives an empty text; else that is why not.

        Raises:
            FailedError: it ended, or took too long.
        """
        deadline = time.monotonic() + READY_WITHIN_S
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

    def cpu_s(self) -> float:
        """The CPU time that it has used."""
        return cpu_s_of(self._process.pid) if self._process else 0.0

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

    def build_load(self) -> None:
        """Compile the load generator.

        Raises:
            FailedError: there is no C compiler, or it refuses.
        """
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise FailedError("The load generator needs a C compiler (Debian: apt-get install gcc libc6-dev).")
        done = subprocess.run([compiler, "-O2", "-o", self.load, ROOT / "bench/load.c", "-lm"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise FailedError(f"The load generator does not compile: {done.stderr}")

    async def send(self, port: int, *, window: int, packets: int, seconds: float | None = None) -> dict[str, Any]:
        """Load on 127.0.0.1, closed loop; what `load` printed.

        Raises:
            FailedError: a packet was not answered, or its answer not to be believed.
        """
        words = ["127.0.0.1", port, SECRET, packets, window, self.sizes.users, *([] if seconds is None else [seconds])]
        return await run_to_end([str(self.load), *map(str, words)])

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
            f'[ingest]\nlisten = ["127.0.0.1:{port or free_port()}"]\n[identity]\nstrip_realms = ["example.net"]\n' + (nas or one)
        )
        configuration = load_settings(file, {})
        await ensure_topics(configuration)
        return file, configuration

    def part(self, name: str, config: Path, *, sampled: bool = False) -> Child:
        """`curfew NAME` as in production, or under the sampler."""
        return self.python(f"{config.stem}-{name}", "agents.cli", name, "--config", str(config), sampled=sampled)

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


def cpu_s_of(pid: int) -> float:
    """The CPU time that a process has used, in user and in kernel mode, all its threads together (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A UDP port of 127.0.0.1 that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
