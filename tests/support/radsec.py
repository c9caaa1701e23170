"""NASes that speak RADIUS over TLS: one that sends accounting, one that takes disconnects; with certificates of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

from schemas.configuration import Tls
from streams.radius.authenticator import verify_response
from streams.radius.simulated import RefusedRequest, build_disconnect_reply, parse_disconnect_request
from streams.radius.stream_framing import PacketStream
from tests.support.certificates import Certificate, authority, vouched_for

SECRET = b"radsec"
NAME = "hut.example.net"
WITHIN_S = 120


class World(NamedTuple):
    """Who is who: ours is the authority in [tls], theirs is a stranger's."""

    ours: Certificate
    theirs: Certificate
    us: Certificate
    hut: Certificate
    other: Certificate
    stranger: Certificate
    expired: Certificate

    @property
    def tls(self) -> Tls:
        return Tls(certfile=str(self.us.certificate), keyfile=str(self.us.key), cafile=str(self.ours.certificate))


def world(directory: Path) -> World:
    """Made by openssl, for this run."""
    ours, theirs = authority(directory, "ours"), authority(directory, "theirs")
    return World(
        ours,
        theirs,
        vouched_for(ours, "us", "IP:127.0.0.1", "DNS:curfew.example.net"),
        vouched_for(ours, "hut", f"DNS:{NAME}", "IP:127.0.0.1"),
        vouched_for(ours, "other", "DNS:other.example.net"),
        vouched_for(theirs, "stranger", f"DNS:{NAME}"),
        vouched_for(ours, "expired", f"DNS:{NAME}", days=-1),
    )


def client(of: World, shown: Certificate | None) -> ssl.SSLContext:
    """How a NAS calls us; None: without a certificate."""
    context = ssl.create_default_context(cafile=of.ours.certificate)
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    return context


class TlsNas:
    """One connection of a NAS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._packets = PacketStream()

    @classmethod
    async def to(cls, address: tuple[Any, ...], context: ssl.SSLContext) -> Self:
        """Connect, and shake hands."""
        async with asyncio.timeout(WITHIN_S):
            return cls(*await asyncio.open_connection(*address[:2], ssl=context, server_hostname="curfew.example.net"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        self.writer.transport.abort()

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def receive(self) -> bytes:
        """The next packet.

        Raises:
            EOFError: the other side has ended the connection.
        """
        async with asyncio.timeout(WITHIN_S):
            while (packet := self._packets.take()) is None:
                octets = await self.reader.read(65_536)
                if not octets:
                    raise EOFError
                self._packets.feed(octets)
        assert isinstance(packet, bytes)
        return packet

    async def ask(self, packet: bytes) -> bytes:
        """Send it, and the next answer, which must be to it, and believed."""
        self.send(packet)
        answer = await self.receive()
        assert (answer[0], answer[1]) == (5, packet[1])
        assert verify_response(answer, packet, SECRET) is None
        return answer

    async def is_ended(self) -> bool:
        """The other side ends the connection without another word."""
        try:
            unexpected = await self.receive()
        except (EOFError, OSError):
            return True
        raise AssertionError(f"instead of an end came {unexpected.hex()}")


class TlsDas:
    """A NAS that takes disconnects over TLS.

    Attributes:
        decide: asked for each authentic request, by its attributes: (ACK or not, Error-Cause); None: silence.
        requests: the attributes of these. connections: how many there were. refused: requests that no NAS would take.
        mood: `honest`; or what it does instead of answering.
    """

    def __init__(self, secret: bytes = SECRET) -> None:
        self.decide: Callable[[dict[str, Any]], tuple[bool, int | None] | None] = lambda _: (True, None)
        self.mood = "honest"
        self.requests: list[dict[str, Any]] = []
        self.refused: list[object] = []
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        self._secret = secret
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @contextlib.asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None) -> AsyncIterator[Self]:
        """It takes connections inside."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        try:
            yield self
        finally:
            self._server.close()
            self.hang_up()

    def hang_up(self) -> None:
        for writer in self.open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        stream = PacketStream()
        try:
            while octets := await reader.read(65_536):
                stream.feed(octets)
                while isinstance(packet := stream.take(), bytes):
                    self._take(packet, writer)
        except OSError:
            pass
        finally:
            self.open.discard(writer)
            writer.transport.abort()

    def _take(self, packet: bytes, writer: asyncio.StreamWriter) -> None:
        parsed = parse_disconnect_request(packet, self._secret)
        if isinstance(parsed, RefusedRequest):
            self.refused.append(parsed)
            return
        self.requests.append(parsed[1])
        answer = self.decide(parsed[1])
        if answer is None or self.mood == "silent":
            return
        reply = build_disconnect_reply(packet, self._secret, ack=answer[0], error_cause=answer[1])
        match self.mood:
            case "hang-up":
                writer.transport.abort()
            case "garbage":
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            case "cut":
                writer.write(reply[:-1])
                writer.close()
            case "flood":
                writer.write(bytes((41, packet[1] ^ 1, 0, 20)) + bytes(16) + reply * 1000)
            case "other-secret":
                writer.write(build_disconnect_reply(packet, b"other", ack=answer[0], error_cause=answer[1]))
            case _:
                writer.write(reply)


def das_context(of: World, shown: Certificate) -> ssl.SSLContext:
    """What it shows, and whom it believes: TLS with certificates on both sides."""
    context = shown.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(of.ours.certificate)
    return context
