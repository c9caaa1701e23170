"""A NAS that speaks RADIUS over TLS to the ingest, with certificates of the test's own."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any, NamedTuple, Self

from schemas.configuration import Tls
from streams.radius.authenticator import verify_response
from streams.radius.stream_framing import PacketStream
from tests.support.certificates import Certificate, authority, vouched_for

SECRET = b"radsec"
NAME = "hut.example.net"
WITHIN_S = 60


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
