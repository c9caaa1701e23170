"""The embedded Kafka: a real Apache Kafka (KRaft, one node) as a child process, its jars, its data directory, its start and stop.

What lives here: finding Java and Maven, resolving `deploy/kafka/pom.xml` into `var/kafka-libs`, formatting a data directory once,
starting, asking whether it answers, stopping. What may not: topics and their settings, anything about RADIUS.

Theory of operation. A data directory that is ours holds:

    cluster-id          the id it was formatted with; a directory with other content and without this file is not ours
    log/                Kafka's own; renamed into place when it is formatted in full, so an interrupted format leaves nothing half done
    server.properties   written anew at each start: deploy/kafka/server.properties plus the data directory and the ports
    server.log          what the running broker said on standard error; server.log.1 is the start before
    broker.pid          pid and port; believed only if that process runs Kafka with this very server.properties

Ready means that it answers a cluster description with our cluster id and one broker: no sleep is long enough on a busy machine, and
an open port may be somebody else's. Every refusal is a `BrokerError`: one sentence on what is wrong and one on the remedy.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

HOST = "127.0.0.1"
JAVA_VERSION_MIN = 17  # Kafka 4 brokers need it
DISK_FREE_MIN_MIB = 512
HEAP_MIB = 1024
HEAP_START_MIB = 256
START_DEADLINE_S = 90.0
STOP_DEADLINE_S = 30.0
ANSWER_DEADLINE_S = 10.0
MAVEN_DEADLINE_S = 900.0
POLL_S = 0.05
LOG_LINES_SHOWN = 5
SERVER_PORTS = range(10_000, 32_768)
"""Below the ports that Linux (from 32768) and others (from 49152, RFC 6335) give to clients: one of those may be taken again at once."""
PORT_TRIES = 100
COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class BrokerError(Exception):
    """The embedded Kafka cannot do what was asked: `problem` and `remedy`, a sentence each."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class NoCheckoutError(BrokerError):
    """The package is not run from a checkout, so the pom is not there."""


class JavaMissingError(BrokerError):
    """No Java, or none that can be asked for its version."""


class JavaTooOldError(BrokerError):
    """A Java older than `JAVA_VERSION_MIN`."""


class MavenMissingError(BrokerError):
    """The jars have to be fetched and there is no `mvn`."""


class JarsUnavailableError(BrokerError):
    """Maven could not resolve the jars."""


class PortTakenError(BrokerError):
    """Another program listens on the port."""


class ForeignDataError(BrokerError):
    """The data directory was not made by us, or its Kafka log belongs to another cluster."""


class DataUnusableError(BrokerError):
    """The data directory cannot be made or written."""


class DiskFullError(BrokerError):
    """Less than `DISK_FREE_MIN_MIB` free where the data directory is."""


class StartFailedError(BrokerError):
    """The broker died while starting, or did not answer in time."""


class StopFailedError(BrokerError):
    """The broker outlived SIGKILL."""


@dataclass(frozen=True)
class BrokerStatus:
    """What is known of the broker of one data directory: `pid` is None when it does not run; `answers` is asked anew."""

    data_dir: Path
    pid: int | None
    bootstrap: str | None
    answers: bool


def find_root() -> Path:
    """The checkout that this module is run from.

    Raises:
        NoCheckoutError: there is no `deploy/kafka/pom.xml` above this module.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / "deploy/kafka/pom.xml").is_file():
        raise NoCheckoutError(
            f"The embedded Kafka is described by deploy/kafka/pom.xml, which is not under {root}.",
            "Run curfew from a git checkout, or set KAFKA_BOOTSTRAP_SERVERS to a Kafka that runs already.",
        )
    return root


def jars_dir(root: Path) -> Path:
    """Where the jars of the checkout `root` lie."""
    return root / "var/kafka-libs"


def ensure_jars(root: Path | None = None) -> Path:
    """Fetch the jars with Maven unless those of this very pom are there; return their directory.

    The jars are complete or absent: they are copied beside their place, stamped with the pom's checksum, and renamed.

    Raises:
        NoCheckoutError: see `find_root`.
        MavenMissingError: they must be fetched and `mvn` is not there.
        JarsUnavailableError: Maven failed; its first error line is in the message.
    """
    root = root or find_root()
    pom = root / "deploy/kafka/pom.xml"
    target = jars_dir(root)
    checksum = hashlib.sha256(pom.read_bytes()).hexdigest()
    with _only_one(target.with_name("kafka-libs.lock")):
        if not _has_stamp(target, checksum):
            fresh = target.with_name("kafka-libs.new")
            shutil.rmtree(fresh, ignore_errors=True)
            _resolve_jars(pom, fresh)
            (fresh / "pom.sha256").write_text(checksum + "\n")
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)
    return target


def _has_stamp(directory: Path, checksum: str) -> bool:
    stamp = directory / "pom.sha256"
    return stamp.is_file() and stamp.read_text().strip() == checksum


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Hold `lock` against other processes: `make setup` and a test run may want the jars at once."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _resolve_jars(pom: Path, output: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MavenMissingError(
            "The jars of the embedded Kafka have to be fetched once, and Maven (mvn) is not on the PATH.",
            "Install Maven (Debian: apt-get install maven), or set KAFKA_BOOTSTRAP_SERVERS to a Kafka that runs already.",
        )
    command = [maven, "-q", "-B", "-f", str(pom), COPY_GOAL, f"-DoutputDirectory={output}"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=MAVEN_DEADLINE_S)  # noqa: S603 - nothing in it comes from outside
        said = done.stdout + done.stderr
        failed = done.returncode != 0
    except subprocess.TimeoutExpired:
        failed, said = True, f"[ERROR] no end within {MAVEN_DEADLINE_S:.0f} s"
    if failed:
        first_error = next((line for line in said.splitlines() if "[ERROR]" in line), "[ERROR] it gave no reason")
        raise JarsUnavailableError(
            f"Maven could not fetch the jars of the embedded Kafka: {first_error.partition('[ERROR]')[2].strip()}",
            "Check the network and Maven's settings (a mirror goes into ~/.m2/settings.xml), then run `make setup` again.",
        )


def find_java() -> str:
    """The path of a Java that is new enough: JAVA_HOME's, else the PATH's.

    Raises:
        JavaMissingError: there is none.
        JavaTooOldError: it is older than `JAVA_VERSION_MIN`.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    remedy = (
        f"Install Java {JAVA_VERSION_MIN} or newer (Debian: apt-get install default-jre-headless) or point JAVA_HOME to it, "
        "or set KAFKA_BOOTSTRAP_SERVERS to a Kafka that runs already."
    )
    if java is None:
        raise JavaMissingError(f"The embedded Kafka needs Java, and there is none {'in JAVA_HOME' if home else 'on the PATH'}.", remedy)
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60).stderr  # noqa: S603 - the path comes from which()
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if version is None:
        raise JavaMissingError(f"{java} does not tell its version.", remedy)
    if int(version[1]) < JAVA_VERSION_MIN:
        raise JavaTooOldError(f"{java} is Java {version[1]}, and the embedded Kafka needs {JAVA_VERSION_MIN}.", remedy)
    return java


class EmbeddedBroker:
    """One Kafka on one data directory; `async with` starts and stops it.

    A broker that already runs on the data directory (`curfew broker start`) is used, and `async with` leaves it running.

    Args:
        data_dir: made when missing; see the module's docstring for its content.
        port: TCP port on 127.0.0.1 for clients; the controller takes the next one, or any free one.
        heap_mib: the most that Java's heap may grow to, in MiB.
    """

    def __init__(self, data_dir: Path, port: int = 9092, heap_mib: int = HEAP_MIB) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port
        self.heap_mib = heap_mib
        self._found_running = False
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """What clients take as `bootstrap_servers`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id of the running broker, None when it does not run."""
        running = _read_running(self.data_dir)
        return running[0] if running else None

    async def start(self, *, detached: bool = False) -> None:
        """Start and wait until it answers; a `detached` one outlives this process, any other is stopped with it where Linux can.

        Raises:
            BrokerError: one of the named ones of this module; nothing is left running then.
        """
        running = _read_running(self.data_dir)
        self._found_running = running is not None
        if running is not None:
            self.port = running[1]
            await _wait_until_answers(self.data_dir, self.bootstrap, None)
            return
        java = find_java()
        jars = await asyncio.to_thread(ensure_jars)
        _prepare_data_dir(self.data_dir)
        if not _is_free(self.port):
            raise PortTakenError(
                f"Port {self.port} on {HOST} is taken by another program.",
                "Stop that program, or give [broker] port another value in curfew.toml, or set KAFKA_BOOTSTRAP_SERVERS to use it as it is.",
            )
        program = [java, *_java_options(self.heap_mib), "-cp", f"{jars}/*"]
        await asyncio.to_thread(_format_once, self.data_dir, program)
        self._child = _spawn(self.data_dir, self.port, program, detached=detached)
        try:
            await _wait_until_answers(self.data_dir, self.bootstrap, self._child)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop it and wait for its end; nothing happens when it does not run.

        Raises:
            StopFailedError: it outlived SIGKILL.
        """
        await stop(self.data_dir)
        if self._child is not None:
            self._child.wait()  # it has ended: this only takes the zombie away

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._found_running:
            await self.stop()


async def start_detached(data_dir: Path, port: int = 9092, heap_mib: int = HEAP_MIB) -> BrokerStatus:
    """Start a broker that outlives this process (or find it running) and return its status.

    Raises:
        BrokerError: see `EmbeddedBroker.start`.
    """
    await EmbeddedBroker(data_dir, port, heap_mib).start(detached=True)
    return await status(data_dir)


async def status(data_dir: Path) -> BrokerStatus:
    """Whether the broker of `data_dir` runs, and whether it answers now."""
    running = _read_running(data_dir)
    if running is None:
        return BrokerStatus(data_dir, None, None, answers=False)
    pid, port = running
    answers = await ask_cluster_id(f"{HOST}:{port}") == _read_cluster_id(data_dir)
    return BrokerStatus(data_dir, pid, f"{HOST}:{port}", answers)


async def stop(data_dir: Path) -> bool:
    """SIGTERM, and after `STOP_DEADLINE_S` SIGKILL; return whether there was anything to stop.

    Raises:
        StopFailedError: it outlived SIGKILL.
    """
    running = _read_running(data_dir)
    if running is not None:
        for sent in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(running[0], sent)
            if await _has_ended(data_dir):
                break
        else:
            raise StopFailedError(f"The embedded Kafka, process {running[0]}, did not end.", "Look at the disk that it writes to.")
    (data_dir / "broker.pid").unlink(missing_ok=True)
    return running is not None


async def _has_ended(data_dir: Path) -> bool:
    deadline = time.monotonic() + STOP_DEADLINE_S
    while _read_running(data_dir) is not None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _read_running(data_dir: Path) -> tuple[int, int] | None:
    """Pid and port of the broker of `data_dir`, or None; a stale pid file, even one whose pid is somebody else's by now, is None."""
    try:
        pid, port = (int(word) for word in (data_dir / "broker.pid").read_text().split())
    except (OSError, ValueError):
        return None
    properties = str(data_dir.absolute() / "server.properties")
    return (pid, port) if properties in _command_line(pid) else None


def _command_line(pid: int) -> list[str]:
    """The words of a process's command line; none for a zombie or where there is no such process."""
    if Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return []
    said = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 - ps is where PATH says
    return said.stdout.strip().split(" ")


def _read_cluster_id(data_dir: Path) -> str | None:
    mark = data_dir / "cluster-id"
    return mark.read_text().strip() if mark.is_file() else None


def _prepare_data_dir(data_dir: Path) -> None:
    """Make the directory, and refuse one that is foreign, read-only or on a full disk."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        content = next(data_dir.iterdir(), None)
    except OSError as error:
        raise _unusable(data_dir, error) from error
    meta = data_dir / "log/meta.properties"
    marked = _read_cluster_id(data_dir)
    found = re.search(r"^cluster\.id=(.*)$", meta.read_text(), re.MULTILINE) if meta.is_file() else None
    if (content and marked is None) or (found and found[1] != marked):
        raise ForeignDataError(
            f"{data_dir} holds data that this embedded Kafka did not make"
            + (f" (cluster {found[1]}, where {marked} was formatted)." if found else "."),
            "Give [broker] data_dir another directory in curfew.toml, or move that data away.",
        )
    free_mib = shutil.disk_usage(data_dir).free >> 20
    if free_mib < DISK_FREE_MIN_MIB:
        raise DiskFullError(
            f"Only {free_mib} MiB are free at {data_dir}, and the embedded Kafka wants {DISK_FREE_MIN_MIB}.",
            "Free some space, or give [broker] data_dir a directory on another disk.",
        )


def _unusable(data_dir: Path, error: OSError) -> DataUnusableError:
    return DataUnusableError(
        f"The data directory {data_dir} cannot be used: {error.strerror}.",
        "Make it a directory that this user may write, or give [broker] data_dir another one.",
    )


def _format_once(data_dir: Path, program: list[str]) -> None:
    """Give the data directory a cluster id and an empty log, unless it has them."""
    if (data_dir / "log/meta.properties").is_file():
        return
    log, fresh = data_dir / "log", data_dir / "log.new"
    tool = [*program, "kafka.tools.StorageTool"]
    cluster_id = _read_cluster_id(data_dir) or _run_tool([*tool, "random-uuid"]).split()[-1]
    try:
        (data_dir / "cluster-id").write_text(cluster_id + "\n")
        shutil.rmtree(fresh, ignore_errors=True)
        properties = _write_properties(data_dir, fresh, pick_free_port(), pick_free_port())
        _run_tool([*tool, "format", "-t", cluster_id, "-c", str(properties), "--standalone"])
        fresh.rename(log)
    except OSError as error:
        raise _unusable(data_dir, error) from error


def _run_tool(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=START_DEADLINE_S)  # noqa: S603 - Kafka's own tool
    if done.returncode != 0:
        raise StartFailedError(
            f"Kafka's storage tool failed: {_last_lines(done.stdout + done.stderr)}", "Move the data directory away and start again."
        )
    return done.stdout


def _write_properties(data_dir: Path, log: Path, port: int, controller_port: int) -> Path:
    fixed = (find_root() / "deploy/kafka/server.properties").read_text()
    own = {
        "log.dirs": str(log).replace("\\", "\\\\"),  # a backslash escapes in Java properties
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.quorum.bootstrap.servers": f"{HOST}:{controller_port}",
    }
    target = data_dir / "server.properties"
    target.write_text(fixed + "\n" + "".join(f"{key}={value}\n" for key, value in own.items()))
    return target


def _java_options(heap_mib: int) -> list[str]:
    return [
        f"-Xmx{heap_mib}m",
        f"-Xms{min(heap_mib, HEAP_START_MIB)}m",
        "-XX:+UseG1GC",
        "-XX:TieredStopAtLevel=1",  # on two cores the optimizing compiler takes a core for the first minute (decision 9)
        "-XX:MaxGCPauseMillis=20",
        "-XX:+ExitOnOutOfMemoryError",  # a broker without memory that lingers answers nobody
        "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
    ]


def _spawn(data_dir: Path, port: int, program: list[str], *, detached: bool) -> subprocess.Popen[bytes]:
    """Start Kafka in a session of its own, so that Ctrl-C on the terminal reaches us and we stop it in order."""
    controller_port = port + 1 if port < 65535 and _is_free(port + 1) else pick_free_port()
    log = data_dir / "server.log"
    setpriv = None if detached else shutil.which("setpriv")  # util-linux: SIGTERM for it when we are killed
    try:
        properties = _write_properties(data_dir, data_dir / "log", port, controller_port)
        if log.exists():
            log.replace(data_dir / "server.log.1")
        with log.open("wb") as said:
            child = subprocess.Popen(  # noqa: S603 - the program is the Java that was found
                [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), *program, "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=data_dir,
                start_new_session=True,
            )
        (data_dir / "broker.pid").write_text(f"{child.pid} {port}\n")
    except OSError as error:
        raise _unusable(data_dir, error) from error
    return child


async def _wait_until_answers(data_dir: Path, bootstrap: str, child: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    cluster_id = _read_cluster_id(data_dir)
    while await ask_cluster_id(bootstrap) != cluster_id:
        died = child.poll() is not None if child else _read_running(data_dir) is None
        if died or time.monotonic() > deadline:
            log = data_dir / "server.log"
            what = "died while starting" if died else f"did not answer on {bootstrap} within {START_DEADLINE_S:.0f} s"
            raise StartFailedError(
                f"The embedded Kafka {what}; its last words: {_last_lines(log.read_text(errors='replace') if log.exists() else '')}",
                f"The whole log is {log}.",
            )
        await asyncio.sleep(POLL_S)


def _last_lines(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\tat ")]  # stack frames stay in the log
    return " / ".join(lines[-LOG_LINES_SHOWN:]) or "(none)"


async def ask_cluster_id(bootstrap: str) -> str | None:
    """The cluster id that a broker at `bootstrap` tells, None when none does.

    The port is tried first, since aiokafka logs an error for each that it cannot reach.
    """
    host, port = bootstrap.rsplit(":", 1)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(ANSWER_DEADLINE_S * 1000))
    try:
        async with asyncio.timeout(ANSWER_DEADLINE_S):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            await admin.start()
            cluster = await admin.describe_cluster()
    except (OSError, TimeoutError, KafkaError):
        return None
    finally:
        await admin.close()
    return cluster["cluster_id"] if cluster["brokers"] else None


def _is_free(port: int, address: str = HOST, kinds: Sequence[socket.SocketKind] = (socket.SOCK_STREAM,)) -> bool:
    for kind in kinds:
        with socket.socket(type=kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: a port in TIME_WAIT is free
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def pick_free_port(address: str = HOST) -> int:
    """A port of the address that was free for TCP and UDP a moment ago, and that the kernel gives to no client meanwhile.

    Raises:
        BrokerError: `PORT_TRIES` of them were taken.
    """
    for _ in range(PORT_TRIES):
        port = secrets.choice(SERVER_PORTS)
        if _is_free(port, address, (socket.SOCK_STREAM, socket.SOCK_DGRAM)):
            return port
    raise BrokerError(f"{PORT_TRIES} ports of {address} are taken.", "Is the address one of this machine?")
