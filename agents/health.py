"""Health over HTTP: `/healthz` (alive), `/readyz` (ready, or why not), `/metrics` (Prometheus), on a TCP address or a unix socket.

What lives here: saying what a part's own code said of itself. What may not: finding out whether a part is ready; the part calls
`Health.ready()` and `Health.not_ready(reason)`, and `curfew up` asks its children's sockets with `ask_ready`.

A part alone listens on `[http] listen`. Under `curfew up` the environment names a unix socket (`CURFEW_STATUS_SOCKET`), so that any number
of parts run beside each other and the parent answers for all of them on the one address.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from agents.short_way import Answer, ShortWay
from schemas.codec import JsonValue, dumps
from schemas.configuration import Configuration, endpoint
from schemas.errors import CurfewError

STATUS_SOCKET_VARIABLE = "CURFEW_STATUS_SOCKET"
METRICS_DIR_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
ASK_DEADLINE_S = 2.0
SHUTDOWN_S = 1.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AddressTakenError(CurfewError):
    """The address for HTTP cannot be had: taken, not this machine's, or not allowed."""


class Health:
    """What one part says of itself. It begins as not ready.

    Attributes:
        part: its name: `ingest`, `worker`, `kicker`, `projector`, `up`.
        reason: why it is not ready, as a sentence without a full stop; empty when it is.
    """

    def __init__(self, part: str) -> None:
        self.part = part
        self.reason = "starting"

    @property
    def is_ready(self) -> bool:
        """Whether the last word was `ready`."""
        return not self.reason

    def ready(self) -> None:
        """It does its work now."""
        self.reason = ""

    def not_ready(self, reason: str) -> None:
        """It does not, or not yet; `reason` says why."""
        self.reason = reason or "no reason given"


@contextlib.asynccontextmanager
async def serve_health(
    configuration: Configuration,
    health: Health,
    *,
    metrics_dir: Path | None = None,
    routes: Sequence[web.RouteDef] = (),
    plain: Answer | None = None,
) -> AsyncIterator[str]:
    """Answer for a part as long as the block runs.

    Args:
        configuration: `[http] listen` says where; an empty text turns it off (but never a unix socket asked for by `curfew up`).
        health: what is told.
        metrics_dir: where this process's children keep their metrics; by default what `PROMETHEUS_MULTIPROC_DIR` says.
        routes: what is answered there beside.
        plain: answers what it can of these by a short way (`agents.short_way`).

    Yields:
        Where it listens: `http://127.0.0.1:8181`, `unix:/path`, or an empty text.

    Raises:
        AddressTakenError: it cannot listen there; the text names the remedy.
    """
    unix = os.environ.get(STATUS_SOCKET_VARIABLE)
    if not unix and not configuration.http.listen:
        yield ""
        return
    runner = web.AppRunner(_application(health, metrics_dir, routes), access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    connection = partial(_connection, runner, plain)
    try:
        if unix:
            server = await asyncio.get_running_loop().create_unix_server(connection, unix)
            where = f"unix:{unix}"
        else:
            server, where = await _listen(connection, configuration.http.listen)
        try:
            yield where
        finally:
            server.close()
    finally:
        await runner.cleanup()


async def ask_ready(unix_socket: Path) -> str:
    """Ask a part on its unix socket whether it is ready.

    Returns:
        An empty text when it is, else the reason; that nothing answers is one too.
    """
    timeout = aiohttp.ClientTimeout(total=ASK_DEADLINE_S)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(unix_socket)), timeout=timeout) as session,
            session.get("http://part/readyz") as response,
        ):
            return "" if response.status == 200 else str((await response.json())["reason"])
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError):
        return "does not answer"


def metrics_text(metrics_dir: Path | None = None) -> bytes:
    """All metrics in Prometheus's text format: of every process that writes into the directory, else of this one."""
    directory = str(metrics_dir) if metrics_dir else os.environ.get(METRICS_DIR_VARIABLE)
    if not directory:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]  # the library has no types there
    return generate_latest(registry)


def _application(health: Health, metrics_dir: Path | None, routes: Sequence[web.RouteDef]) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        return _json(200, {"alive": True, "part": health.part})

    async def readyz(_: web.Request) -> web.Response:
        if health.is_ready:
            return _json(200, {"ready": True, "part": health.part})
        return _json(503, {"ready": False, "part": health.part, "reason": health.reason})

    async def metrics(_: web.Request) -> web.Response:
        text = await asyncio.to_thread(metrics_text, metrics_dir)  # it reads files: the event loop has packets to answer
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics), *routes])
    return application


def _json(status: int, value: JsonValue) -> web.Response:
    return web.Response(status=status, text=dumps(value) + "\n", content_type="application/json")


def _connection(runner: web.AppRunner, plain: Answer | None) -> asyncio.Protocol:
    assert runner.server is not None  # noqa: S101 - since its setup
    connection: asyncio.Protocol = runner.server()
    return connection if plain is None else ShortWay(plain, connection)


async def _listen(connection: Callable[[], asyncio.Protocol], listen: str) -> tuple[asyncio.Server, str]:
    """Bind the TCP address; the server and the URL, with the port that the system chose for 0."""
    address, port = endpoint(listen)
    try:
        server = await asyncio.get_running_loop().create_server(connection, address, port)
    except OSError as error:
        why = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be had: {os.strerror(error.errno or 0)}"
        remedy = "Give [http] listen another address in curfew.toml, or set CURFEW_HTTP_LISTEN; an empty text turns HTTP off."
        raise AddressTakenError(f"The HTTP address {listen} {why}. {remedy}") from error
    host, bound = server.sockets[0].getsockname()[:2]
    return server, f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
