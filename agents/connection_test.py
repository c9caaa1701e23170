"""`curfew nas test`: the connection test of one NAS, by the way that it is disconnected.

What lives here: asking. What each answer tells is in `streams.connection_test`; the other ways test themselves (`agents.ways`).
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from agents.udp_question import Heard, ask
from agents.ways import ways
from schemas.configuration import Configuration, Disconnect, Nas
from schemas.ways import Finding
from streams.connection_test import (
    NOT_ASKED,
    Place,
    answers_status,
    asks_for_the_next_set,
    finding_of_no_answer,
    finding_of_refused,
    finding_of_reply,
    finding_of_status,
    is_reply,
    not_configured,
    not_tested,
    other_ports,
    packet_of,
    questions,
    status_server,
    would_answer,
)
from streams.profiles import configured
from streams.radius.disconnect import RefusedReply, Reply, read_reply

WAIT_S = 5.0


async def try_connection(configuration: Configuration, nas: Nas, wait_s: float = WAIT_S) -> list[Finding]:
    """Try how a NAS is disconnected, without ending any session.

    Args:
        configuration: with the profiles and the source address.
        nas: the one to try.
        wait_s: how long an answer by RADIUS is waited for; the other ways have their own bound.

    Returns:
        A line for each thing tried; it works if all are well.
    """
    refused = not_configured(nas)
    if refused is not None:
        return [refused]
    way = nas.disconnect or Disconnect()
    if way.via == "radius":
        return await _RadiusTest(configuration, nas, way, wait_s).run()
    drivers = ways(configuration)
    try:
        driver = drivers.get(way.via)
        return [not_tested(way.via)] if driver is None else await driver.test(nas)
    finally:
        for driver in drivers.values():
            await driver.close()


class _Tried(NamedTuple):
    """What came of one question; answered: by the NAS itself, authentically."""

    finding: Finding
    answered: bool = False


class _RadiusTest:
    """The test of one NAS by RFC 5176."""

    def __init__(self, configuration: Configuration, nas: Nas, way: Disconnect, wait_s: float) -> None:
        self._nas = nas
        self._source = configuration.kicker.source
        self._profile = configured(configuration.profile)[way.profile]
        self._address = way.address or ""
        self._port, self._secret = way.port or self._profile.port, (way.secret or "").encode()
        self._wait_s = wait_s

    async def run(self) -> list[Finding]:
        """Ask; and where nothing answers, ask where a slip of the pen would have led."""
        disconnect, status = await asyncio.gather(self._disconnect(self._port, self._secret), self._status())
        if disconnect.answered or status.answered:
            return [disconnect.finding, status.finding]
        return [disconnect.finding, *await self._elsewhere()]

    async def _disconnect(self, port: int, secret: bytes) -> _Tried:
        """The profile's attribute sets one after the other, as the kicker would try them."""
        tried = _Tried(NOT_ASKED)
        for question in questions(self._nas, self._profile, secrets.token_hex(8)):
            request = packet_of(question, self._profile, secret, secrets.randbelow(256), int(time.time()))
            heard = await self._ask(port, request, functools.partial(is_reply, request=request, secret=secret))
            if heard.answer is None:
                place = Place(self._address, port, heard.source, self._wait_s)
                refused = None if heard.other is None else read_reply(heard.other, request, secret)
                if isinstance(refused, RefusedReply):
                    return _Tried(finding_of_refused(refused, place))
                return _Tried(finding_of_no_answer(heard.why_silent, place, heard.said))
            reply = read_reply(heard.answer, request, secret)
            if isinstance(reply, Reply):
                tried = _Tried(finding_of_reply(reply, question, heard.round_trip_ms), answered=True)
                if not asks_for_the_next_set(reply):
                    break
        return tried

    async def _status(self) -> _Tried:
        request = status_server(self._secret, secrets.randbelow(256), secrets.token_bytes(16))
        heard = await self._ask(self._port, request, lambda octets: answers_status(octets, request, self._secret))
        answered = heard.answer is not None
        return _Tried(finding_of_status(heard.round_trip_ms if answered else None), answered)

    async def _elsewhere(self) -> list[Finding]:
        """It did not work: would it at another port, or with the secret of accounting?"""
        accounting = (self._nas.secret or "").encode()
        places = [(port, self._secret) for port in other_ports(self._port)]
        places += [(self._port, accounting)] if accounting not in (b"", self._secret) else []
        tried = await asyncio.gather(*(self._disconnect(port, secret) for port, secret in places))
        return [would_answer(port, self._port) for (port, _), one in zip(places, tried, strict=True) if one.answered]

    async def _ask(self, port: int, request: bytes, is_answer: Callable[[bytes], bool]) -> Heard:
        return await ask(self._source, (self._address, port), request, is_answer, wait_s=self._wait_s)
