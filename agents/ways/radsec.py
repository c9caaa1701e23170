"""Disconnects over TLS (RFC 6614 section 2.5; behaviour 5.6): what RFC 5176 says, on a connection with certificates on both sides.

What lives here: what is asked of a NAS, in which order, and which connection is used for it. What may not: the connection itself
(`agents.ways.radsec_line`), packets (`streams.radius.disconnect`) and profiles (`streams.profiles`), which are those of UDP.

Theory of operation: TCP carries what is sent, so that nothing is sent twice; a connection is kept for the next request, for `KEPT_S` at
most, and where one that was kept turns out to have ended, the request goes once more on a new one. A set of attributes that a NAS refuses
as such is followed by the profile's next one.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from agents.ways.radsec_line import ClosedError, Line, RadsecError, connect, connect_reverse, place_of
from schemas.configuration import RADSEC_SECRET, Configuration, Disconnect, Nas
from schemas.disconnect import ERROR_CAUSES, DisconnectCommand
from schemas.ways import DeviceSession, Finding, NoListError, WayAnswer
from streams.connection_test import (
    NOT_ASKED,
    Place,
    answers_status,
    asks_for_the_next_set,
    finding_of_refused,
    finding_of_reply,
    finding_of_status,
    packet_of,
    questions,
    status_server,
)
from streams.profiles import Profile, Request, configured, requests
from streams.radius.disconnect import RefusedReply, Reply, read_reply

WAY: Final = "radsec"
TIMEOUT_S = 8.0
STATUS_WITHIN_S = 3.0
KEPT_S = 60.0
KEPT_MAX: Final = 512
"""Connections that are kept while nothing waits on them."""


NEXT_SET: Final = ("next-set", "without-nas", "alone")
"""What is answered by the profile's next set: each says less than the one before it."""

Asking = Callable[[Callable[[int], bytes]], Awaitable[bytes]]
"""Sends what is made for an Identifier, and gives the reply."""


class _Place:
    """One NAS's connection, made by one at a time."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.line: Line | None = None
        self.users = 0
        self.closing: asyncio.TimerHandle | None = None


_Key = tuple[Disconnect, str]
"""Where to; with `reverse` also whose connection: NASes of one `tls_name` are behind the same one."""


class Radsec:
    """The way `radsec`."""

    def __init__(self, configuration: Configuration) -> None:
        """Opens nothing.

        Args:
            configuration: profiles, `[tls]`, and `[kicker] source`.
        """
        self._profiles = configured(configuration.profile)
        self._tls = configuration.tls
        self._source = configuration.kicker.source
        self._reverse = configuration.ingest.radsec_reverse
        self._places: dict[_Key, _Place] = {}

    async def disconnect(self, nas: Nas, command: DisconnectCommand) -> WayAnswer:
        """Ask for the end of the command's session by the profile's attribute sets, one after the other."""
        way = nas.disconnect
        if way is None or (way.address is None and not way.reverse):
            return WayAnswer("unsupported", "the NAS has no `address` in `disconnect`")
        profile = self._profiles[way.profile]
        sets = requests(profile, command.session)
        if not sets:
            return WayAnswer("unsupported", f"the session lacks what the profile {way.profile} asks a NAS by")
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._try(nas, way, profile, sets)
        except TimeoutError:
            return WayAnswer("unanswered", _too_late(way))
        except RadsecError as failed:
            return WayAnswer(failed.answer, str(failed))

    async def test(self, nas: Nas) -> list[Finding]:
        """Connect, ask for a session that cannot exist, and who is there."""
        way = nas.disconnect
        if way is None or (way.address is None and not way.reverse):
            return [Finding(WAY, ok=False, sentence="`disconnect` has no `address`: nobody can be asked. Add it.")]
        findings: list[Finding] = []
        try:
            async with asyncio.timeout(TIMEOUT_S):
                line = await self._connect(nas, way)
                try:
                    findings.append(Finding(WAY, ok=True, sentence=_about(line, nas, way)))
                    asking = [self._test_disconnect(line, nas, way)]
                    if not way.reverse:  # over its own connection it is asked for disconnects only
                        asking.append(_test_status(line, self._secret(way)))
                    findings += await asyncio.gather(*asking)
                finally:
                    line.drop()
        except TimeoutError:
            findings.append(Finding(WAY, ok=False, sentence=f"{_too_late(way)}."))
        except RadsecError as failed:
            findings.append(Finding(WAY, ok=False, sentence=f"{failed}."))
        return findings

    async def sessions(self, nas: Nas) -> list[DeviceSession]:
        """RADIUS has no list.

        Raises:
            NoListError: always.
        """
        raise NoListError(f'"{nas.name}" cannot say who is on it: RADIUS has no list of sessions')

    async def close(self) -> None:
        """Drop what is open."""
        for place in self._places.values():
            _forget(place)
        self._places.clear()

    async def _try(self, nas: Nas, way: Disconnect, profile: Profile, sets: tuple[Request, ...]) -> WayAnswer:
        """Raises RadsecError where there is no answer to be had."""
        answer = WayAnswer("refused")
        for request in sets:
            reply, round_trip_ms = await _exchange(functools.partial(self._ask, nas, way), request, profile, self._secret(way))
            if isinstance(reply, RefusedReply):
                raise RadsecError(finding_of_refused(reply, _where(way)).sentence.removesuffix("."))
            answer = _answer_of(reply, request, round_trip_ms)
            row = ERROR_CAUSES.get(reply.error_cause or 0)
            if reply.acknowledged or row is None or row.follows not in NEXT_SET:
                break
        return answer

    async def _ask(self, nas: Nas, way: Disconnect, make: Callable[[int], bytes]) -> bytes:
        """On the connection that is kept, or a new one.

        Raises:
            RadsecError: it cannot be asked.
        """
        key = (way, (nas.tls_name or nas.name) if way.reverse else "")
        place = self._places.setdefault(key, _Place())
        place.users += 1
        try:
            while True:
                line, is_new = await self._line(place, nas, way)
                asked_s = asyncio.get_running_loop().time()
                try:
                    return await line.ask(make)
                except ClosedError:
                    if is_new:
                        raise
                except asyncio.CancelledError:
                    if line.heard_s < asked_s:
                        line.drop()  # it may be dead, without TCP having noticed
                    raise
        finally:
            place.users -= 1
            self._keep(place, key)

    async def _line(self, place: _Place, nas: Nas, way: Disconnect) -> tuple[Line, bool]:
        async with place.lock:
            if place.line is not None and place.line.is_open:
                return place.line, False
            place.line = await self._connect(nas, way)
            return place.line, True

    async def _connect(self, nas: Nas, way: Disconnect) -> Line:
        """Raises RadsecError where that does not come about."""
        return await (connect_reverse(self._reverse, nas.name) if way.reverse else connect(way, self._tls, self._source))

    def _secret(self, way: Disconnect) -> bytes:
        return (way.secret or self._tls.secret or RADSEC_SECRET).encode()

    def _keep(self, place: _Place, key: _Key) -> None:
        """Keep the connection for a while after the last who used it."""
        if place.closing is not None:
            place.closing.cancel()
            place.closing = None
        if place.users:
            return
        if place.line is None or not place.line.is_open or len(self._places) > KEPT_MAX:
            self._let_go(place, key)
        else:
            place.closing = asyncio.get_running_loop().call_later(KEPT_S, self._let_go, place, key)

    def _let_go(self, place: _Place, key: _Key) -> None:
        if not place.users and self._places.get(key) is place:
            del self._places[key]
            _forget(place)

    async def _test_disconnect(self, line: Line, nas: Nas, way: Disconnect) -> Finding:
        """The profile's attribute sets one after the other, for a session that cannot exist."""
        finding, profile = NOT_ASKED, self._profiles[way.profile]
        for question in questions(nas, profile, secrets.token_hex(8)):
            reply, round_trip_ms = await _exchange(line.ask, question, profile, self._secret(way))
            if isinstance(reply, RefusedReply):
                finding = finding_of_refused(reply, _where(way))
                break
            finding = finding_of_reply(reply, question, round_trip_ms)
            if not asks_for_the_next_set(reply):
                break
        return msgspec.structs.replace(finding, way=WAY)


async def _exchange(ask: Asking, request: Request, profile: Profile, secret: bytes) -> tuple[Reply | RefusedReply, float]:
    """One request and its reply, and how long it took in milliseconds; Event-Timestamp is the same however often it is made."""
    time_s, started_s, sent = int(time.time()), time.monotonic(), [b""]

    def make(identifier: int) -> bytes:
        sent[0] = packet_of(request, profile, secret, identifier, time_s)
        return sent[0]

    packet = await ask(make)
    return read_reply(packet, sent[0], secret), (time.monotonic() - started_s) * 1000


async def _test_status(line: Line, secret: bytes) -> Finding:
    """Status-Server, which few NASes answer."""
    authenticator, sent, started_s = secrets.token_bytes(16), [b""], time.monotonic()

    def make(identifier: int) -> bytes:
        sent[0] = status_server(secret, identifier, authenticator)
        return sent[0]

    try:
        async with asyncio.timeout(STATUS_WITHIN_S):
            answered = answers_status(await line.ask(make), sent[0], secret)
    except (TimeoutError, ClosedError):
        answered = False
    return finding_of_status((time.monotonic() - started_s) * 1000 if answered else None)


def _answer_of(reply: Reply, request: Request, round_trip_ms: float) -> WayAnswer:
    """What a reply makes of the disconnect; as over UDP, 201 and 503 say that there is no such session any more."""
    row = ERROR_CAUSES.get(reply.error_cause or 0)
    number = "" if reply.error_cause is None else f" with Error-Cause {reply.error_cause}"
    said = f"{request.name} by {' + '.join(one.name for one in request.attributes)}: {'ACK' if reply.acknowledged else 'NAK'}{number}"
    why = "" if row is None else f". {row.sentence}"
    if row is not None and row.follows == "gone":
        return WayAnswer("gone", f"{said}{why}", round_trip_ms)
    return WayAnswer("accepted" if reply.acknowledged else "refused", f"{said}{why}", round_trip_ms)


def _where(way: Disconnect) -> Place:
    address, port = place_of(way)
    return Place(address, port, "", TIMEOUT_S)


def _about(line: Line, nas: Nas, way: Disconnect) -> str:
    if way.reverse:
        return f"A connection of {nas.name} to an ingest of this machine stands."
    return f"{line.who} speaks {line.secured}, and its certificate bears {way.tls_name or way.address}."


def _too_late(way: Disconnect) -> str:
    who = "its own connection brought no answer" if way.reverse else "{} port {} did not answer".format(*place_of(way))
    return f"{who} within {TIMEOUT_S:g} s, though the connection stands or was being made"


def _forget(place: _Place) -> None:
    if place.closing is not None:
        place.closing.cancel()
    if place.line is not None:
        place.line.drop()
