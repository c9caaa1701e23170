"""The simulated network of the latency figure (bench/network.c), as the parts of the bench speak to it."""

import asyncio
import contextlib
import gc
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

from bench.rig import FailedError, Rig

NASES = 8
ACCOUNTING_SECRET = "bench-accounting"
DISCONNECT_SECRET = "bench-disconnect"
STRAGGLE_S = 15.0


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Measure without our own garbage collector, which stops what is measured from here all at once."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


class Breach(NamedTuple):
    """A Start that breaches, and what came of it; times in nanoseconds since the epoch, 0: never."""

    sent_ns: int
    answered_ns: int
    requested_ns: int


class Network:
    """All NASes, in a program of their own.

    Attributes:
        unanswered: records that have no answer. given_up: those whose identifier was needed again.
        not_believed: datagrams with a wrong authenticator, such as answers to what was given up.
        false: Disconnect-Requests for sessions that breach nothing. repeated: those for a session that was told to end before.
    """

    def __init__(self, rig: Rig, ingest_port: int) -> None:
        """Start it.

        Raises:
            FailedError: it cannot be compiled, or has not what it needs.
        """
        self.unanswered = self.given_up = self.not_believed = self.false = self.repeated = 0
        arguments = [str(rig.compile("network")), str(ingest_port), ACCOUNTING_SECRET, DISCONNECT_SECRET]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._ports = self._line().removeprefix("listening ").split()

    @property
    def pid(self) -> int:
        """Of the program."""
        return self._process.pid

    def toml(self) -> str:
        """The `[[nas]]` tables for the NASes: they stay as they are; persons and sessions are new in each run."""
        tables = []
        for number, port in enumerate(self._ports):
            address = f"127.0.1.{number + 1}"
            way = f'{{ address = "{address}", port = {port}, secret = "{DISCONNECT_SECRET}" }}'
            named = f'name = "nas-{number}"\naddresses = ["{address}"]\nsecret = "{ACCOUNTING_SECRET}"'
            tables.append(f"[[nas]]\n{named}\ndisconnect = {way}\n")
        return "\n".join(tables)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    async def run(self, rate_s: int, warm_s: float, measured_s: float, straggle_s: float = STRAGGLE_S) -> list[Breach]:
        """Send records at a rate; the breaches among them, without those of the warm-up. Everybody logs out at the end."""
        return await asyncio.to_thread(self._asked, f"run {rate_s} {warm_s} {measured_s} {straggle_s}")

    async def one(self, within_s: float) -> Breach:
        """Somebody new logs in, and at once again from another device; what came of that."""
        (breach,) = await asyncio.to_thread(self._asked, f"one {within_s}")
        return breach

    def _asked(self, command: str) -> list[Breach]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        breaches = []
        while not (line := self._line()).startswith("end "):
            breaches.append(Breach(*map(int, line.split())))
        self.unanswered, self.given_up, self.not_believed, self.false, self.repeated = map(int, line.split()[1:])
        return breaches

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise FailedError(f"the simulated network ended with {self._process.wait()}")
        return line.strip()
