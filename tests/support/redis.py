"""A real Redis of a test's own: a process with a port and a directory, to stop, freeze and fill."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from agents.broker import pick_free_port

ANSWER_WITHIN_S = 60.0


class RedisServer:
    """The process; it keeps its port.

    Attributes:
        url: for `[redis] url`. client: somebody who looks into it.
    """

    def __init__(self, directory: Path) -> None:
        self.port = pick_free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, decode_responses=True)
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it, empty; returns when it answers."""
        own = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory), "--save", "", "--appendonly", "no")
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(["redis-server", *own, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while True:
            with contextlib.suppress(redis.ConnectionError):
                self.client.ping()
                return
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it with all that it holds."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)
            self._process.kill()
            self._process.wait(20)

    def pause(self) -> None:
        """Freeze it: connections stay and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def redis_server(directory: Path) -> Iterator[RedisServer]:
    """A Redis, started; skips the test where there is none."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (deploy/apt-packages.txt)")
    server = RedisServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
