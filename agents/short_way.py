"""A connection of the HTTP server on which plain requests are answered at once, without what HTTP may need beyond them.

What lives here: the connection. What may not: which requests are plain, and what is answered (`http_api.plain_answers`).

Theory of operation. Behind each connection stands aiohttp's own. A request that came in one piece is shown to `answer`; where that gives
octets, they are written and aiohttp never hears of it. The first request that is not plain (or came in pieces, or pipelined, or cannot be
answered at once) goes to aiohttp, and so does everything after it on that connection: what aiohttp holds of a request need not be known.
Of a question before a login aiohttp's tasks, requests and routes are six tenths of the time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

Answer = Callable[[bytes], bytes | None]
"""All that came of a request -> the whole response, or None where it is not plain."""


class ShortWay(asyncio.Protocol):
    """One connection.

    Args:
        answer: gives responses to plain requests.
        long_way: aiohttp's connection.
    """

    def __init__(self, answer: Answer, long_way: Any) -> None:
        self._answer: Answer | None = answer
        self._long_way = long_way
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._transport = transport
        self._long_way.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Some octets came."""
        if self._answer is not None:
            response = self._plain(self._answer, data)
            if response is not None:
                self._transport.write(response)
                return
            self._answer = None
        self._long_way.data_received(data)

    def _plain(self, answer: Answer, data: bytes) -> bytes | None:
        if self._transport.is_closing():
            return None
        try:
            return answer(data)
        except Exception:
            log.exception("a request was not understood by us")
            return None  # aiohttp answers it with 500, as any other

    def eof_received(self) -> bool | None:
        """The other side sends nothing more."""
        more: bool | None = self._long_way.eof_received()
        return more

    def pause_writing(self) -> None:
        """The other side does not read what it asked for: no more is read of it."""
        self._long_way.pause_writing()
        if self._answer is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._long_way.resume_writing()
        if self._answer is not None:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._long_way.connection_lost(exc)
