"""The command `curfew` as a person runs it: a process of its own with a configuration, its output and its exit status."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

from schemas.codec import loads

ROOT = Path(__file__).resolve().parents[2]
END_WITHIN_S = 120


class Ended(NamedTuple):
    """How it ended."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list:
        """Standard output as one JSON object a line."""
        return [loads(line) for line in self.out.splitlines()]


class Curfew:
    """`curfew` with one configuration file."""

    def __init__(self, config: Path) -> None:
        self.config = config

    async def __call__(self, *arguments: str, config: bool = True) -> Ended:
        """Run it to its end; standard input is empty, standard output a pipe."""
        process = await self.start(*arguments, config=config)
        out, err = await asyncio.wait_for(process.communicate(), END_WITHIN_S)
        return Ended(process.returncode, out.decode(), err.decode())

    async def start(self, *arguments: str, config: bool = True) -> asyncio.subprocess.Process:
        """Start it; the caller ends it."""
        pipes = {"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        return await self._start(arguments, config=config, **pipes)

    async def on_a_terminal(self, *arguments: str, answer: bytes = b"") -> tuple[int, str]:
        """Run it to its end on a terminal of its own, where a person types an answer: exit status, and all that stood there."""
        ours, theirs = os.openpty()
        try:
            os.write(ours, answer)
            process = await self._start(arguments, config=True, stdin=theirs, stdout=theirs, stderr=theirs)
            reading = asyncio.create_task(asyncio.to_thread(_read_all, ours))
            status = await asyncio.wait_for(process.wait(), END_WITHIN_S)
            os.close(theirs)
            theirs = -1
            return status, await reading
        finally:
            for descriptor in (ours, theirs):
                if descriptor >= 0:
                    os.close(descriptor)

    async def _start(self, arguments: tuple[str, ...], *, config: bool, **streams: int) -> asyncio.subprocess.Process:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "CURFEW_"))}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agents.cli", *arguments, *(("--config", str(self.config)) if config else ())),
            cwd=self.config.parent,
            env=environment | {"PYTHONPATH": str(ROOT), "TZ": "UTC", "USER": "tester", "TERM": "xterm", "COLUMNS": "200"},
            **streams,
        )


def _read_all(terminal: int) -> str:
    """All that was written to a terminal until nobody has it open any more (then Linux says EIO)."""
    read = b""
    with contextlib.suppress(OSError):
        while octets := os.read(terminal, 65_536):
            read += octets
    return read.decode()
