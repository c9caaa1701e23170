"""Pick-up over HTTP (behaviour 5.6): devices that nobody can call come by, once a minute, fetch what waits for them, and report.

What lives here: the way `poll` and the server that it needs, in one process: the slips are in memory, and what the kicker forgets at its
end it is told again from Kafka. What may not: what a slip says and when it is handed out (`streams.pickup`).

    GET  /v1/pickup/NODE          {"items": [{"id", "mac", "user_name", ...}]}
    POST /v1/pickup/NODE/ID       {"answer": "accepted" | "gone" | "refused", "detail": "..."}
    GET  /v1/pickup/NODE/state    {"last_visit_s": ago or null, "waiting": n}; counts as no visit

Each with `Authorization: Bearer SECRET`, the node's own. There is no TLS here: a proxy before it has that.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
from aiohttp import web

from agents import metrics
from schemas.codec import UNREADABLE, JsonValue, dumps
from schemas.configuration import Configuration, Nas, endpoint
from schemas.disconnect import DisconnectCommand
from schemas.errors import CurfewError
from schemas.ways import DeviceSession, Finding, NoListError, WayAnswer
from streams.pickup import GRACE_S, REPORT_OCTETS_MAX, Board, Report, unanswered

WAY = "poll"
SHUTDOWN_S = 1.0
ASK_WITHIN_S = 5.0

_REPORT = msgspec.json.Decoder(Report).decode
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CannotServeError(CurfewError):
    """The address for pick-up cannot be had."""


class Poll:
    """The way `poll`.

    Attributes:
        url: where it serves, with the port that the system chose for 0; empty while it does not.
    """

    def __init__(self, configuration: Configuration) -> None:
        """Opens nothing; `serve` does.

        Args:
            configuration: `[pickup] listen`, and the NASes with `via = "poll"`.
        """
        self.url = ""
        self._listen = configuration.pickup.listen
        self._secrets: dict[str, bytes] = {}
        self._board = Board()
        self._reported: dict[str, asyncio.Event] = {}
        self.change(configuration)

    def change(self, configuration: Configuration) -> None:
        """Take over the NASes of another configuration."""
        ways = (nas.disconnect for nas in configuration.nas if nas.disconnect is not None)
        self._secrets = {way.node: way.secret.encode() for way in ways if way.via == WAY and way.node and way.secret}

    async def disconnect(self, nas: Nas, command: DisconnectCommand) -> WayAnswer:
        """Put a slip up, and wait until the device has reported on it, or should have."""
        way = nas.disconnect
        if way is None or way.node is None or not way.secret:
            return WayAnswer("unsupported", "the NAS has no `node` or no `secret` in `disconnect`")
        if not self._listen:
            return WayAnswer("unsupported", "`pickup.listen` names no place for devices to come to")
        slip = self._board.put(way.node, command, time.monotonic())
        if slip is None:
            return WayAnswer("unanswered", f"too many disconnects wait already for {way.node} to come by")
        reported = self._reported[command.id] = asyncio.Event()
        wait_s = way.poll_interval_s + GRACE_S
        try:
            async with asyncio.timeout(wait_s):
                await reported.wait()
        except TimeoutError:
            pass
        finally:
            self._board.take_down(way.node, slip)
            if self._reported.get(command.id) is reported:
                del self._reported[command.id]
        return slip.answer or unanswered(slip, wait_s)

    async def test(self, nas: Nas) -> list[Finding]:
        """Ask the kicker's server when the device last came by: nobody can call the device."""
        way = nas.disconnect
        if way is None or way.node is None or not way.secret:
            return [Finding(WAY, ok=False, sentence="`disconnect` has no `node` or no `secret`: no device can come by. Add them.")]
        if not self._listen:
            return [
                Finding(WAY, ok=False, sentence='`pickup.listen` names no place to come to. Add [pickup] with listen = "0.0.0.0:8182".')
            ]
        place = _reachable(self._listen)
        timeout = aiohttp.ClientTimeout(total=ASK_WITHIN_S)
        headers = {"Authorization": f"Bearer {way.secret}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.get(f"{place}/v1/pickup/{way.node}/state") as response,
            ):
                if response.status == web.HTTPUnauthorized.status_code:
                    sentence = (
                        "The kicker that runs knows another secret for that node, or not the node: let it read its configuration again."
                    )
                    return [Finding(WAY, ok=False, sentence=sentence)]
                last_visit_s = (await response.json())["last_visit_s"]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError) as failed:
            sentence = f"No kicker serves pick-up at {place} ({failed or 'no answer'}). Start it, or ask on its machine."
            return [Finding(WAY, ok=False, sentence=sentence)]
        return [_visit(way.node, last_visit_s, way.poll_interval_s)]

    async def sessions(self, nas: Nas) -> list[DeviceSession]:
        """Nobody can ask the device.

        Raises:
            NoListError: always.
        """
        raise NoListError(f'"{nas.name}" cannot be asked who is on it: it comes by and fetches, and nobody calls it')

    async def close(self) -> None:
        """Nothing stays open but what `serve` has."""

    async def serve(self, stop: asyncio.Event) -> None:
        """Let devices come by until `stop` is set; without `pickup.listen` only wait.

        Raises:
            CannotServeError: the address cannot be had.
        """
        if not self._listen:
            await stop.wait()
            return
        application = web.Application(client_max_size=REPORT_OCTETS_MAX)
        application.add_routes(
            [
                web.get("/v1/pickup/{node}", self._known(self._visit)),
                web.get("/v1/pickup/{node}/state", self._known(self._state)),
                web.post("/v1/pickup/{node}/{id}", self._known(self._report)),
            ]
        )
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            address, port = endpoint(self._listen)
            await web.TCPSite(runner, address, port).start()
            host, bound = runner.addresses[0][:2]
            self.url = _url(host, bound)
            await stop.wait()
        except OSError as error:
            remedy = "Give [pickup] listen an address of this machine and a port that is free."
            raise CannotServeError(f"Pick-up cannot be served at {self._listen}: {os.strerror(error.errno or 0)}. {remedy}") from error
        finally:
            self.url = ""
            await runner.cleanup()

    def _known(self, handler: Handler) -> Handler:
        """Only a node with its own token is let in; which of the two was wrong is not told."""

        async def checked(request: web.Request) -> web.StreamResponse:
            secret = self._secrets.get(request.match_info["node"])
            shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if secret is None or not hmac.compare_digest(shown, b"Bearer " + secret):
                metrics.PICKUPS.labels("unauthorized").inc()
                return _json(web.HTTPUnauthorized.status_code, {"reason": "unknown node or wrong token"})
            return await handler(request)

        return checked

    async def _visit(self, request: web.Request) -> web.Response:
        items = self._board.visit(request.match_info["node"], time.monotonic())
        metrics.PICKUPS.labels("visit").inc()
        return _json(200, {"items": list(items)})

    async def _state(self, request: web.Request) -> web.Response:
        node = request.match_info["node"]
        last_s = self._board.last_visit_s.get(node)
        ago_s = None if last_s is None else round(time.monotonic() - last_s, 1)
        return _json(200, {"last_visit_s": ago_s, "waiting": self._board.waiting(node)})

    async def _report(self, request: web.Request) -> web.Response:
        command_id = request.match_info["id"]
        try:
            report = _REPORT(await request.read())
        except UNREADABLE as wrong:
            metrics.PICKUPS.labels("bad-report").inc()
            return _json(400, {"reason": str(wrong)})
        slip = self._board.report(request.match_info["node"], command_id, report, time.monotonic())
        if slip is None:
            metrics.PICKUPS.labels("late-report").inc()
            return _json(404, {"reason": "no such disconnect waits for that node any more"})
        metrics.PICKUPS.labels("report").inc()
        if command_id in self._reported:
            self._reported[command_id].set()
        return _json(200, {"taken": True})


def _visit(node: str, ago_s: float | None, interval_s: int) -> Finding:
    if ago_s is None:
        sentence = f"{node} has not come by since the kicker was started: is its address of the kicker right, and its token?"
        return Finding(WAY, ok=False, sentence=sentence)
    if ago_s > interval_s + GRACE_S:
        return Finding(WAY, ok=False, sentence=f"{node} came by {ago_s:.0f} s ago, and should every {interval_s} s: it is away.")
    return Finding(WAY, ok=True, sentence=f"{node} came by {ago_s:.0f} s ago with the right token.")


def _reachable(listen: str) -> str:
    """The URL by which this machine reaches what listens there."""
    address, port = endpoint(listen)
    return _url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address), port)  # noqa: S104 - nothing is bound here


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _json(status: int, value: JsonValue) -> web.Response:
    return web.Response(status=status, text=dumps(value) + "\n", content_type="application/json")
