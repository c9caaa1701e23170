"""UDP sockets of the ingest: made, read until empty (but not for ever), and what was refused on them said with measure.

What lives here: sockets and their options. What may not: what is in a datagram.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Final

from schemas.configuration import endpoint
from schemas.errors import CurfewError
from streams.ingest_step import IngestStep

log = logging.getLogger(__name__)

DATAGRAM_OCTETS_MAX: Final = 65_535
READS_PER_WAKEUP_MAX: Final = 256
"""Datagrams taken from one socket before the others, the acknowledgements and the ticks have their turn."""
_SO_RCVBUFFORCE: Final = 33
_SO_MEMINFO: Final = 55
_MEMINFO_DROPS: Final = 8  # the place of the drops among its 32-bit words (linux/sock_diag.h)

Address = tuple[object, ...]
"""A sender as the socket gives it: (host, port), with IPv6's flow and scope behind."""

LOG_EVERY_S: Final = 60.0
LOGGED_MAX: Final = 1024


class CannotListenError(CurfewError):
    """An address for accounting cannot be had."""


class Receiver:
    """One bound socket.

    Attributes:
        number: which of the ingest's sockets it is: part of a duplicate's key (RFC 5080 section 2.2.2).
        step: judges what comes; the ingest's to set.
        sendto: the socket's own.
    """

    def __init__(self, number: int, listen: str, receive_buffer_bytes: int, step: IngestStep) -> None:
        """Bind the socket.

        Args:
            number: see the attribute.
            step: likewise.
            listen: `address:port`.
            receive_buffer_bytes: of SO_RCVBUF.

        Raises:
            CannotListenError: it cannot be bound; the text names the remedy.
        """
        address, port = endpoint(listen)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.number = number
        self.step: IngestStep | None = step
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._set_receive_buffer(listen, receive_buffer_bytes)
            self._socket.bind((address, port))
        except OSError as error:
            self._socket.close()
            remedy = "Give [ingest] listen an address of this machine and a port that is free, or run with the right to bind it."
            raise CannotListenError(f"Accounting cannot be received at {listen}: {error.strerror}. {remedy}") from error
        self.sendto = self._socket.sendto

    @property
    def address(self) -> Address:
        """Where it is bound, with the port that the system chose for 0."""
        bound: Address = self._socket.getsockname()
        return bound

    @property
    def drops(self) -> int:
        """Datagrams that the kernel dropped because this socket's buffer was full."""
        meminfo = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * (_MEMINFO_DROPS + 1))
        words = struct.unpack(f"={len(meminfo) // 4}I", meminfo)
        return words[_MEMINFO_DROPS] if len(words) > _MEMINFO_DROPS else 0

    def start(self, take: Callable[["Receiver", list[tuple[bytes, Address]]], object]) -> None:
        """Hand over what arrives, all that is there at each wake-up (at most `READS_PER_WAKEUP_MAX`)."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read, take)

    def stop(self) -> None:
        """Read no more."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def given_up(self) -> None:
        """A request will not be answered: over UDP its NAS sends it again by itself."""

    def _read(self, take: Callable[["Receiver", list[tuple[bytes, Address]]], object]) -> None:
        recvfrom = self._socket.recvfrom
        datagrams: list[tuple[bytes, Address]] = []
        try:
            for _ in range(READS_PER_WAKEUP_MAX):
                datagrams.append(recvfrom(DATAGRAM_OCTETS_MAX))  # noqa: PERF401 - what came before it raised is kept
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:  # an ICMP error of an earlier answer, told here by some systems
            log.info("receiving at %s: %s", self.address, error)
        if datagrams:
            take(self, datagrams)

    def _set_receive_buffer(self, listen: str, wanted_bytes: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, wanted_bytes)  # root may exceed net.core.rmem_max
        except OSError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)
        got_bytes = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # Linux says the double (socket(7))
        if got_bytes < wanted_bytes:
            remedy = f"sysctl -w net.core.rmem_max={wanted_bytes}"
            log.warning("receive buffer at %s is %d octets instead of %d: %s lets it be larger", listen, got_bytes, wanted_bytes, remedy)


class SampledLog:
    """Refusals in the log: at most once a minute for each source and reason, and not more than `LOGGED_MAX` of these in a minute."""

    def __init__(self) -> None:
        self._logged: set[tuple[str, str]] = set()
        self._since_s = 0.0

    def refused(self, source: str, reason: str, datagram: bytes, now_s: float) -> None:
        """Tell of a refused packet, unless it was told of just now.

        Args:
            source: the address it came from.
            reason: why.
            datagram: the packet; its first octets are shown.
            now_s: monotonic clock.
        """
        if self.is_news(source, reason, now_s):
            log.warning("refused a packet from %s: %s; %d octets: %s", source, reason, len(datagram), datagram[:32].hex())

    def is_news(self, source: str, reason: str, now_s: float) -> bool:
        """Whether this was not told of just now; it is taken as told."""
        if now_s - self._since_s >= LOG_EVERY_S:
            self._logged.clear()
            self._since_s = now_s
        if (source, reason) in self._logged or len(self._logged) > LOGGED_MAX:
            return False
        self._logged.add((source, reason))
        if len(self._logged) > LOGGED_MAX:
            log.warning("refusals of more than %d sources and reasons; the others are counted only", LOGGED_MAX)
            return False
        return True
