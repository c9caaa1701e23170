"""Somebody at a UDP port of the loopback who answers as a test tells it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

Answers = Callable[[bytes], Iterable[bytes]]
"""(a datagram) -> what is sent back, in order."""


class UdpPeer(asyncio.DatagramProtocol):
    """One port.

    Attributes:
        answers: asked for each datagram. heard: all of them, in order. port: where.
    """

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.heard: list[bytes] = []
        self.port = 0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """The port is open."""
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Somebody asks."""

        self.heard.append(data)
        for answer in self.answers(data):
            self._transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def udp_peer(answers: Answers) -> AsyncIterator[UdpPeer]:
    """A peer as long as the block runs."""
    transport, peer = await asyncio.get_running_loop().create_datagram_endpoint(lambda: UdpPeer(answers), local_addr=("127.0.0.1", 0))
    try:
        yield peer
    finally:
        transport.close()
