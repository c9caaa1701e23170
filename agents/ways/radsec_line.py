"""A connection over TLS to a NAS (RFC 6614), for what it is asked: requests out, each reply to the one who waits for it.

What lives here: the connection, and a sentence for each thing that goes wrong with it. What may not: what is asked, and what a reply means
(`agents.ways.radsec`). The caller bounds the time (`asyncio.timeout`); how many wait is bounded by the Identifiers, 256.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from agents.radsec_reverse import STANDS, SUFFIX, require_own
from agents.tls import TlsFilesError, client_context, reason_of
from schemas.configuration import RADSEC_PORT, Disconnect, Tls
from schemas.errors import CurfewError
from schemas.ways import Answer
from streams.radius.framing import Malformed
from streams.radius.stream_framing import PacketStream

CONNECT_WITHIN_S = 4.0
HANDSHAKE_WITHIN_S = 3.0
IDENTIFIERS = 256
REVERSE_WITHIN_S = 1.0
INGESTS_MAX = 256
READ_OCTETS = 65_536


class RadsecError(CurfewError):
    """The NAS, or the way to it, does not do what is asked; the text is a sentence without its full stop.

    Attributes:
        answer: what this makes of a disconnect.
    """

    def __init__(self, sentence: str, answer: Answer = "unanswered") -> None:
        super().__init__(sentence)
        self.answer: Answer = answer


class ClosedError(RadsecError):
    """The connection has ended: on another one it may go better."""


def place_of(way: Disconnect) -> tuple[str, int]:
    """Where the NAS takes disconnects over TLS: address and TCP port."""
    return way.address or "", way.port or RADSEC_PORT


class Line:
    """A connection on which RADIUS is spoken.

    Attributes:
        who: the other side, for sentences.
        secured: the version of TLS.
        heard_s: when anything came last, by the loop's clock.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, who: str) -> None:
        self.who = who
        secured = writer.get_extra_info("ssl_object")
        self.secured: str = secured.version() if secured else ""
        self.heard_s = asyncio.get_running_loop().time()
        self._has_heard = False
        self._reader = reader
        self._writer = writer
        self._stream = PacketStream()
        self._pending: dict[int, asyncio.Future[bytes]] = {}
        self._next = 0
        self._why_closed: ClosedError | None = None
        self._reading = asyncio.create_task(self._read(), name=f"radsec {who}")

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return self._why_closed is None

    def drop(self) -> None:
        """Close it at once. What was under way has no answer."""
        self._close(ClosedError(f"the connection to {self.who} was closed"))
        self._reading.cancel()

    async def ask(self, make: Callable[[int], bytes]) -> bytes:
        """One request and its reply.

        Args:
            make: the packet for an Identifier.

        Returns:
            The packet that bears its Identifier; whether it is to be believed is the caller's to judge.

        Raises:
            ClosedError: the connection has ended.
            RadsecError: as many wait as can.
        """
        if self._why_closed is not None:
            raise ClosedError(str(self._why_closed))
        if len(self._pending) >= IDENTIFIERS:
            raise RadsecError(f"{self.who} has not answered {IDENTIFIERS} requests, and there are no more Identifiers")
        while self._next in self._pending:
            self._next = (self._next + 1) % IDENTIFIERS
        identifier, self._next = self._next, (self._next + 1) % IDENTIFIERS
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[identifier] = reply
        try:
            if not self._writer.is_closing():  # uvloop raises RuntimeError; that it is lost will be told
                self._writer.write(make(identifier))
            return await reply
        finally:
            del self._pending[identifier]

    async def _read(self) -> None:
        """Give each packet to who waits for it; one that nobody waits for is late, or not ours."""
        why = f"{self.who} closed the connection"
        try:
            while octets := await self._reader.read(READ_OCTETS):
                self.heard_s, self._has_heard = asyncio.get_running_loop().time(), True
                self._stream.feed(octets)
                while (packet := self._stream.take()) is not None:
                    if isinstance(packet, Malformed):
                        self._close(ClosedError(f"what {self.who} says is no RADIUS ({packet})"))
                        return
                    waits = self._pending.get(packet[1])
                    if waits is not None and not waits.done():
                        waits.set_result(packet)
            if self._stream.waiting_octets:
                why += " in the middle of a packet"
            elif not self._has_heard:
                why += " without a word: does it believe our certificate, and speak RADIUS over TLS on that port?"
        except OSError as failed:
            why = _why_lost(failed, self.who)
        self._close(ClosedError(why))

    def _close(self, why: ClosedError) -> None:
        if self._why_closed is not None:
            return
        self._why_closed = why
        self._writer.transport.abort()
        for waits in self._pending.values():
            if not waits.done():
                waits.set_exception(ClosedError(str(why)))


async def connect(way: Disconnect, tls: Tls, source: str) -> Line:
    """Connect to a NAS, with certificates on both sides. May be cancelled; nothing is left open then.

    Args:
        way: of the NAS.
        tls: what holds where it says nothing of its own.
        source: the address to call from; `0.0.0.0` leaves it to the system.

    Raises:
        RadsecError: it does not come about; the text says at which step and what to look at.
    """
    (address, port), loop = place_of(way), asyncio.get_running_loop()
    who = f"{address} port {port}"
    connected = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        context = client_context(way.tls_certfile or tls.certfile, way.tls_keyfile or tls.keyfile, way.tls_cafile or tls.cafile)
        own = ipaddress.ip_address(source)
        if not own.is_unspecified and own.version == ipaddress.ip_address(address).version:
            connected.bind((source, 0))
        async with asyncio.timeout(CONNECT_WITHIN_S):
            await loop.sock_connect(connected, (address, port))
        reader, writer = await asyncio.open_connection(
            sock=connected, ssl=context, server_hostname=way.tls_name or address, ssl_handshake_timeout=HANDSHAKE_WITHIN_S
        )
    except BaseException as failed:
        connected.close()
        if isinstance(failed, TlsFilesError):
            raise RadsecError(str(failed).removesuffix(".")) from failed
        if isinstance(failed, OSError | TimeoutError | ValueError):  # ValueError: a name that cannot be one of a host
            raise RadsecError(_why_not(failed, who, way)) from failed
        raise
    return Line(reader, writer, who)


async def connect_reverse(directory: str | None, nas: str) -> Line:
    """The connection that the NAS itself has made to an ingest of this machine, from the other end (`agents.radsec_reverse`).

    Args:
        directory: where the ingests have their sockets.
        nas: its name.

    Raises:
        RadsecError: there is none, somebody else has it, or who has made the sockets is not certain.
    """
    if directory is None:
        raise RadsecError("[ingest] has no `radsec_reverse`")
    with contextlib.suppress(FileNotFoundError):  # no ingest has run here yet
        try:
            require_own(Path(directory))
        except PermissionError as unsafe:
            raise RadsecError(f"the sockets in {directory} ([ingest] radsec_reverse) are not believed: {unsafe.strerror}") from unsafe
    for path in sorted(Path(directory).glob(f"*{SUFFIX}"))[:INGESTS_MAX]:  # noqa: ASYNC240 - a look into a small local directory
        writer = None
        try:
            async with asyncio.timeout(REVERSE_WITHIN_S):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(f"{nas}\n".encode())
                stands = await reader.readline()
            if stands == STANDS:
                return Line(reader, writer, f"{nas} on its own connection")
        except (OSError, TimeoutError):
            stands = b""  # an ingest that is gone, and left its socket behind
        except BaseException:
            if writer is not None:
                writer.transport.abort()
            raise
        if writer is not None:
            writer.transport.abort()
    raise RadsecError(f"no connection of {nas} stands at any ingest here, or another is asking it: it is asked over the one that it makes")


def _why_not(failed: Exception, who: str, way: Disconnect) -> str:
    """Why a connection did not come about."""
    if isinstance(failed, ssl.SSLCertVerificationError):
        if "match" in failed.verify_message:
            return f"{who} shows the certificate of another: {failed.verify_message} Write the name that it bears as tls_name"
        trusted = "tls_cafile" if way.tls_cafile else "[tls] cafile"
        return f"{who} shows a certificate that {trusted} does not vouch for: {failed.verify_message}"
    if isinstance(failed, ConnectionRefusedError):
        return f"{who} refuses connections: are disconnects over TLS turned on there, and is it that port?"
    if isinstance(failed, TimeoutError):
        return f"{who} does not answer on TCP within {CONNECT_WITHIN_S:g} s: a firewall, or another address"
    if isinstance(failed, ssl.SSLError | ConnectionError):  # asyncio: a handshake that took too long, or was cut off
        return _why_lost(failed, who)
    return f"{who} cannot be reached: {reason_of(failed)}"


def _why_lost(failed: OSError, who: str) -> str:
    """Why a connection that TCP had made ended."""
    reason = reason_of(failed)
    if isinstance(failed, ssl.SSLError):
        if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")):
            return f"{who} does not believe our certificate ({reason}): let it trust our authority, and know us by the name that it bears"
        return f"{who} does not come to terms about TLS ({reason}): is this the port for RADIUS over TLS?"
    if isinstance(failed, ConnectionAbortedError):
        return f"{who} takes the connection and does not speak TLS within {HANDSHAKE_WITHIN_S:g} s: is this the port for RADIUS over TLS?"
    return f"{who} broke the connection off ({reason}): does it believe our certificate, and speak RADIUS over TLS on that port?"
