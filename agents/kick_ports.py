"""The kicker's UDP sockets: a pool of source ports, read until empty, sent from without waiting.

What lives here: sockets and their options. What may not: what is in a datagram. A datagram that the system does not take is as good as lost
on the way, and so is an ICMP error that it tells us of: the retransmission schedule is there for both.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from schemas.errors import CurfewError

DATAGRAM_OCTETS_MAX = 8_192
"""More than any RADIUS packet (4096): what is longer is cut, and refused for its length."""
READS_PER_WAKEUP_MAX = 1_024
"""More than the requests that go out between two looks at the sockets, or answers would wait longer and longer, and be asked for again."""
RECEIVE_BUFFER_BYTES = 1_048_576

log = logging.getLogger(__name__)

Take = Callable[[int, tuple[str, int], bytes], None]
"""Called with the source port's place in the pool, the sender, and the octets."""


class CannotSendError(CurfewError):
    """The source address for Disconnect-Requests cannot be had."""


class SourcePorts:
    """The pool; a socket is opened when it is first used, and each family of addresses has its own."""

    def __init__(self, source: str, take: Take) -> None:
        """Open nothing yet.

        Args:
            source: the address to send from; towards the other family the system chooses one.
            take: what gets the datagrams.
        """
        self._source = source
        self._take = take
        self._sockets: dict[tuple[bool, int], socket.socket] = {}

    def open(self) -> None:
        """Open the first port, so that a wrong source address is said at the start.

        Raises:
            CannotSendError: the address is not this machine's.
        """
        try:
            self._socket(0, self._source)
        except OSError as error:
            remedy = "Give [kicker] source an address of this machine."
            raise CannotSendError(f"Disconnect-Requests cannot be sent from {self._source}: {error.strerror}. {remedy}") from error

    def send(self, place: int, endpoint: tuple[str, int], octets: bytes) -> None:
        """Send a datagram from a port of the pool."""
        try:
            self._socket(place, endpoint[0]).sendto(octets, endpoint)
        except OSError as error:
            log.info("sending to %s port %d: %s", *endpoint, error)

    def close(self) -> None:
        """Give the ports back."""
        loop = asyncio.get_running_loop()
        for one in self._sockets.values():
            loop.remove_reader(one.fileno())
            one.close()
        self._sockets.clear()

    def _socket(self, place: int, towards: str) -> socket.socket:
        is_v6 = ":" in towards
        known = self._sockets.get((is_v6, place))
        if known is None:
            known = self._sockets[is_v6, place] = self._open(is_v6=is_v6)
            asyncio.get_running_loop().add_reader(known.fileno(), self._read, place, known)
        return known

    def _open(self, *, is_v6: bool) -> socket.socket:
        source = self._source if is_v6 == (":" in self._source) else "::" if is_v6 else "0.0.0.0"  # noqa: S104 - the system's choice by route
        new = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            new.setblocking(False)
            new.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            if is_v6:
                new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            new.bind((source, 0))
        except OSError:
            new.close()
            raise
        return new

    def _read(self, place: int, readable: socket.socket) -> None:
        for _ in range(READS_PER_WAKEUP_MAX):
            try:
                octets, sender = readable.recvfrom(DATAGRAM_OCTETS_MAX)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.info("receiving a reply: %s", error)
                continue
            self._take(place, sender[:2], octets)
