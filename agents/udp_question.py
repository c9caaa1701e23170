"""One question by UDP and its answer: a socket of its own, connected, so that the system's own word (a closed port) is heard too.

What lives here: socket, repeats, deadline. What may not: what is in a datagram; whoever asks says what is an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import socket
from collections.abc import Callable, Iterable
from typing import NamedTuple

from schemas.ways import NoAnswer

DATAGRAM_OCTETS_MAX = 8_192
DATAGRAMS_MAX = 64
"""So many datagrams that are no answer are looked at; whoever sends more is called silent."""


class Heard(NamedTuple):
    """What came of a question.

    Attributes:
        answer: the first datagram that is one; None: there was none.
        round_trip_ms: from the last transmission to it.
        other: the first datagram that is no answer, where none is.
        error: what the system said, where it was more than silence.
        source: our own address on the way there.
    """

    answer: bytes | None = None
    round_trip_ms: float = 0.0
    other: bytes | None = None
    error: OSError | None = None
    source: str = ""

    @property
    def why_silent(self) -> NoAnswer:
        """How nothing came: the peer's system said that nobody has that port open, or ours that there is no way; or neither."""
        return "silent" if self.error is None else "closed" if self.error.errno == errno.ECONNREFUSED else "unreachable"

    @property
    def said(self) -> str:
        """The system's words, where it was more than silence."""
        return "" if self.error is None else self.error.strerror or str(self.error)


async def ask(
    source: str,
    endpoint: tuple[str, int],
    octets: bytes,
    is_answer: Callable[[bytes], bool],
    *,
    sends_at_s: Iterable[float] = (0.0, 1.0, 3.0),
    wait_s: float,
) -> Heard:
    """Send a datagram, again after a while, and wait for an answer. Never raises for what the peer or the network does.

    Args:
        source: the address to send from; towards the other family the system chooses.
        endpoint: address and port of the peer; only what comes from there is heard.
        octets: the datagram: each transmission is these octets.
        is_answer: whether a datagram is the answer.
        sends_at_s: when it is sent, in seconds from now.
        wait_s: for how long at most.
    """
    loop, is_v6 = asyncio.get_running_loop(), ":" in endpoint[0]
    other, asked_from = None, ""
    with socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM) as own:
        try:
            own.setblocking(False)
            if is_v6 == (":" in source):
                own.bind((source, 0))
            own.connect(endpoint)
            asked_from = own.getsockname()[0]
            began_s, datagrams = loop.time(), 0
            for _, until_s in itertools.pairwise([*(one for one in sends_at_s if one < wait_s), wait_s]):
                own.send(octets)
                sent_s = loop.time()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(began_s + until_s):
                        while datagrams < DATAGRAMS_MAX:
                            datagram = await loop.sock_recv(own, DATAGRAM_OCTETS_MAX)
                            if is_answer(datagram):
                                return Heard(datagram, (loop.time() - sent_s) * 1000, source=asked_from)
                            other, datagrams = other or datagram, datagrams + 1
        except OSError as error:
            return Heard(other=other, error=error, source=asked_from)
    return Heard(other=other, source=asked_from)
