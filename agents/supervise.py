"""Child processes of `curfew up`: started, watched, started again when they die, stopped in order, never left behind.

What lives here: processes, their status sockets and the lines they say. What may not: what the parts do.

Theory of operation. Parts stand in stages. All are started at once; they are stopped stage by stage, each with a deadline: SIGTERM, then
SIGKILL. Each child is a session of its own, so that Ctrl-C on the terminal reaches the parent alone, which then keeps the order. A child
that ends by itself is started again after a pause that doubles from `PAUSE_MIN_S` to `PAUSE_MAX_S`; the pause is short again after a life
of `STEADY_S`. Before everything was ready for the first time a child that keeps failing ends the whole: nobody is served by a product that
never came up. The parent asks each child's unix socket whether it is ready; a child that is gone is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from prometheus_client.multiprocess import mark_process_dead

from agents.health import METRICS_DIR_VARIABLE, STATUS_SOCKET_VARIABLE, Health, ask_ready
from schemas.errors import CurfewError

LOG_LEVEL_VARIABLE = "CURFEW_LOG_LEVEL"
PAUSE_MIN_S = 0.5
PAUSE_MAX_S = 10.0
STEADY_S = 30.0
START_FAILURES_MAX = 3
WRONG_CONFIGURATION = 2  # the exit status of `curfew` for it: another try would not help
ASK_EVERY_S = 0.2
LINE_OCTETS_MAX = 65_536
LAST_WORDS_MAX = 300

Say = Callable[[str], None]


class PartFailedError(CurfewError):
    """A part did not come up."""


def socket_of(directory: Path, part: str) -> Path:
    """Where a part answers for itself, under a supervisor whose directory this is."""
    return directory / f"{part}.socket"


class Part(NamedTuple):
    """One child process.

    Attributes:
        name: for people: `ingest`, `worker-2`.
        arguments: of `curfew`.
        stop_within_s: from SIGTERM to SIGKILL.
    """

    name: str
    arguments: tuple[str, ...]
    stop_within_s: float = 15.0


class Child:
    """A part and the process that runs it now.

    Attributes:
        part: what it is.
        pid: of the process that runs; None between two.
        reason: why it is not ready; empty when it is.
    """

    def __init__(self, part: Part, directory: Path, environment: Mapping[str, str], say: Say, changed: Callable[[], None]) -> None:
        self.part = part
        self.pid: int | None = None
        self.reason = "starting"
        self._socket = socket_of(directory, part.name)
        self._environment = {**environment, METRICS_DIR_VARIABLE: str(directory), STATUS_SOCKET_VARIABLE: str(self._socket)}
        self._directory = directory
        self._say = say
        self._changed = changed
        self._stopping = asyncio.Event()
        self._last_words = ""

    async def keep(self, was_ready: Callable[[], bool]) -> None:
        """Run the part until it is told to stop, again and again.

        Args:
            was_ready: whether everything was ready once; until then failing is not forgiven for long.

        Raises:
            PartFailedError: it failed before that, for good or too often.
        """
        pause_s = PAUSE_MIN_S
        failures = 0
        while not self._stopping.is_set():
            began_s = time.monotonic()
            status = await self._run_once()
            if self._stopping.is_set():
                return
            failures += 1
            if not was_ready() and (status == WRONG_CONFIGURATION or failures == START_FAILURES_MAX):
                raise PartFailedError(f"The {self.part.name} did not come up: {self._last_words or _ending(status)}")
            if time.monotonic() - began_s > STEADY_S:
                pause_s = PAUSE_MIN_S
            self.reason = _ending(status)
            self._changed()
            words = f": {self._last_words}" if self._last_words else ""
            self._say(f"The {self.part.name} {_ending(status)}{words}; it is started again in {pause_s:g} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def ask(self) -> None:
        """Ask the process whether it is ready, and keep the answer in `reason`."""
        pid = self.pid
        if pid is None:
            return
        reason = await ask_ready(self._socket)
        if self.pid == pid:  # it may have ended meanwhile, and its ending is the reason then
            self.reason = reason

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and do not start it again."""
        self._stopping.set()
        self.send(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process that runs now, if one does: it may have ended, and be gone, before `_run_once` hears of it."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _run_once(self) -> int:
        """Start the process, repeat what it says, and return its exit status."""
        self._socket.unlink(missing_ok=True)
        self._last_words = ""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agents.child", str(os.getpid()), *self.part.arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
            limit=LINE_OCTETS_MAX,
        )
        self.pid = process.pid
        if self._stopping.is_set():  # it was asked to stop while it was being started
            self.send(signal.SIGTERM)
        try:
            assert process.stdout is not None  # noqa: S101 - PIPE was asked for
            await self._repeat(process.stdout)
            return await process.wait()
        finally:
            if process.returncode is None:  # cancelled
                process.kill()
                await process.wait()
            self.pid = None
            mark_process_dead(process.pid, str(self._directory))  # type: ignore[no-untyped-call]  # the library has no types there

    async def _repeat(self, lines: asyncio.StreamReader) -> None:
        """Say each line with the part's name before it, until the process closes its end."""
        while True:
            try:
                line = await lines.readuntil()
            except asyncio.IncompleteReadError as end:
                line = end.partial
                if not line:
                    return
            except asyncio.LimitOverrunError:
                line = await lines.read(LINE_OCTETS_MAX)
            text = line.decode(errors="replace").rstrip()
            if text:
                self._last_words = text[:LAST_WORDS_MAX]
                self._say(f"{self.part.name} | {text}")


class Supervisor:
    """The parts of one `curfew up`.

    Attributes:
        children: in the order of their stages.
    """

    def __init__(
        self, stages: Sequence[Sequence[Part]], *, directory: Path, environment: Mapping[str, str], health: Health, say: Say
    ) -> None:
        """Make it; `run` starts the children.

        Args:
            stages: what runs; stopped in this order.
            directory: exists, is empty, and has a short path (unix sockets): sockets and metrics go there.
            environment: the children's.
            health: is told whether all children are ready.
            say: gets a line for people.
        """
        self._stages = [[Child(part, directory, environment, say, self._judge) for part in stage] for stage in stages]
        self._health = health
        self._say = say
        self._was_ready = asyncio.Event()
        self._at_once = False

    @property
    def children(self) -> Iterator[Child]:
        """All children, stage by stage."""
        return (child for stage in self._stages for child in stage)

    async def run(self, stop: asyncio.Event) -> None:
        """Run all children until `stop` is set, then stop them in order.

        Raises:
            PartFailedError: one did not come up; the others are stopped then.
        """
        kept = {child: asyncio.create_task(child.keep(self._was_ready.is_set)) for child in self.children}
        asking = asyncio.create_task(self._ask())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopped, asking, *kept.values()], return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
            stopped.cancel()
            self._health.not_ready("stopping")
            for stage in self._stages:
                await self._stop_stage({child: kept[child] for child in stage})
        for task in (asking, *kept.values()):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def wait_ready(self) -> None:
        """Return when all children were ready at the same time once."""
        await self._was_ready.wait()

    def send(self, command: str, number: signal.Signals) -> None:
        """Send a signal to every child that runs this subcommand of `curfew`."""
        for child in self.children:
            if child.part.arguments[0] == command:
                child.send(number)

    def kill(self) -> None:
        """End all children at once: the person at the terminal does not want to wait."""
        self._at_once = True
        for child in self.children:
            child.stop()
            child.send(signal.SIGKILL)

    async def _ask(self) -> None:
        """Keep the health: ready when every child is."""
        while True:
            await asyncio.gather(*(child.ask() for child in self.children))
            self._judge()
            await asyncio.sleep(ASK_EVERY_S)

    def _judge(self) -> None:
        """Tell the health what the children's reasons come to."""
        reasons = [f"{child.part.name}: {child.reason}" for child in self.children if child.reason]
        if reasons:
            self._health.not_ready("; ".join(reasons))
        else:
            self._health.ready()
            self._was_ready.set()

    async def _stop_stage(self, kept: Mapping[Child, asyncio.Task[None]]) -> None:
        for child in kept:
            child.stop()
        within_s = max((child.part.stop_within_s for child in kept), default=0)
        _, running = await asyncio.wait(kept.values(), timeout=0 if self._at_once else within_s) if kept else (set(), set())
        for child, task in kept.items():
            if task in running:
                if not self._at_once:
                    self._say(f"The {child.part.name} did not end within {within_s:g} s and is killed")
                child.send(signal.SIGKILL)
        if running:
            await asyncio.wait(running)


def _ending(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"
