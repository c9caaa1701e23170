"""`curfew projector` beside a product of its own: a process with a TCP address, and somebody who asks it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from agents.broker import pick_free_port
from agents.settings import load_settings
from tests.support.nas import ACCT_SESSION_ID, CALLING_STATION_ID, USER_NAME, SmallNas
from tests.support.product import LOG_LINES_SHOWN, ROOT, Nas, Product

TOKEN = "tok3n"
SECRET, DAE_SECRET = "acctsecret", "daesecret"
READY_WITHIN_S = 120.0


class Projector:
    """The process; `start`, `kill`, `stop`.

    Attributes:
        port: TCP, on 127.0.0.1.
    """

    def __init__(self, product: Product, more: str = "") -> None:
        """Add what it needs to the product's configuration; `more` are tables of it (`[redis]`, `[admission]`)."""
        self.port = pick_free_port()
        self.log = product.directory / "projector.log"
        self._config = product.config
        self._process: subprocess.Popen[bytes] | None = None
        with product.config.open("a") as file:
            file.write(f'[http]\nlisten = "127.0.0.1:{self.port}"\ntoken = "{TOKEN}"\n{more}')
        product.configuration = load_settings(product.config, {})

    async def start(self) -> None:
        """Start it; return when it answers questions."""
        process = self._process = self._begin()
        deadline = time.monotonic() + READY_WITHIN_S
        while (await self.get("/readyz"))[0] != 200:
            assert process.poll() is None, self.tail()
            assert time.monotonic() < deadline, self.tail()
            await asyncio.sleep(0.1)

    def _begin(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "CURFEW_"))}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "agents.cli", "projector", "--config", str(self._config)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)

    async def stop(self) -> int:
        """End it as an operator does; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait, 30)

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and object of a look-up; status 0 where nobody answers."""
        return await self._request("GET", path)

    async def metric(self, name: str) -> float:
        """A gauge or counter without labels."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
            (line,) = (line for line in (await answer.text()).splitlines() if line.startswith(f"{name} "))
            return float(line.split()[1])

    async def ask(self, user: str, mac: str | None = None, nas: str = "ap", **more: object) -> Any:
        """The answer to the question before a login."""
        status, answer = await self.try_to_ask(user, mac, nas, **more)
        assert status == 200, (status, answer)
        return answer

    async def try_to_ask(self, user: str, mac: str | None = None, nas: str = "ap", **more: object) -> tuple[int, Any]:
        """Status and object of what the question before a login is answered with."""
        return await self._request("POST", "/v1/admission", {"user": user, "nas": nas, "calling_station_id": mac, **more})

    async def _request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        try:
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
                session.request(method, f"http://127.0.0.1:{self.port}{path}", json=body) as answer,
            ):
                return answer.status, await answer.json()
        except aiohttp.ClientError:
            return 0, None

    def tail(self) -> str:
        """The last lines that it wrote."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  projector| {line}" for line in lines[-LOG_LINES_SHOWN:])


@contextlib.asynccontextmanager
async def projecting(projector: Projector) -> AsyncIterator[Projector]:
    """It, started; whatever happens, no process of it is left."""
    try:
        await projector.start()
        yield projector
    finally:
        projector.kill()
        print(projector.tail())  # noqa: T201 - pytest keeps it for a test that fails


def product_with(directory: Path, bootstrap: str, prefix: str, nas: SmallNas, **more: Any) -> Product:
    """A product that knows one NAS as `ap`."""
    product = Product(directory, bootstrap, prefix, [Nas("ap", SECRET, nas.dae_port, DAE_SECRET)], **more)
    nas.server = ("127.0.0.1", product.port)
    return product


def small_nas(decide: Any = lambda _: None) -> SmallNas:
    """Its other side."""
    return SmallNas("ap", SECRET.encode(), DAE_SECRET.encode(), decide)


def of(user: str, session: str, mac: str) -> list[tuple[int, bytes]]:
    """What a NAS says of a session."""
    return [(USER_NAME, user.encode()), (ACCT_SESSION_ID, session.encode()), (CALLING_STATION_ID, mac.encode())]
