"""A UDP relay that loses, doubles and reorders datagrams, each way, by a seed: a bad network where the kernel has no netem.

In front of one peer: whoever sends to `port` is heard by the peer from a socket of its own, so that answers find back. What happened to
each datagram is in `seen`.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable
from typing import NamedTuple, Self

from tests.support.nas import bound_socket, datagrams_of


class Passed(NamedTuple):
    """A datagram that came to the relay.

    Attributes:
        at_s: monotonic. to_peer: its direction. copies: how many went on; 0: it was lost.
    """

    at_s: float
    to_peer: bool
    octets: bytes
    copies: int


class LossyRelay:
    """One relay; it lives inside `async with`.

    Args:
        peer: where datagrams go.
        seed: of its luck.
        loss, doubled: shares of the datagrams, each way.
        delay_s: the longest way of one, at random; so they overtake each other.

    Attributes:
        loss, doubled, delay_s: as given; the network may become better or worse.
    """

    def __init__(self, peer: tuple[str, int], seed: int, *, loss: float = 0.3, doubled: float = 0.1, delay_s: float = 0.02) -> None:
        self.seen: list[Passed] = []
        self._peer = peer
        self._luck = random.Random(seed)
        self.loss = loss
        self.doubled = doubled
        self.delay_s = delay_s
        self._front = bound_socket()
        self.port: int = self._front.getsockname()[1]
        self._back: dict[tuple[str, int], socket.socket] = {}

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._front, self._from_callers)
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in (self._front, *self._back.values()):
            asyncio.get_running_loop().remove_reader(one)
            one.close()

    def _from_callers(self) -> None:
        for octets, caller in datagrams_of(self._front):
            back = self._back.get(caller)
            if back is None:
                back = self._back[caller] = bound_socket()
                asyncio.get_running_loop().add_reader(back, self._from_peer, back, caller)
            self._pass_on(octets, to_peer=True, send=lambda one, back=back: back.sendto(one, self._peer))  # type: ignore[misc]

    def _from_peer(self, back: socket.socket, caller: tuple[str, int]) -> None:
        for octets, _ in datagrams_of(back):
            self._pass_on(octets, to_peer=False, send=lambda one: self._front.sendto(one, caller))

    def _pass_on(self, octets: bytes, *, to_peer: bool, send: Callable[[bytes], object]) -> None:
        luck = self._luck
        copies = 0 if luck.random() < self.loss else 2 if luck.random() < self.doubled else 1
        self.seen.append(Passed(time.monotonic(), to_peer, octets, copies))
        for _ in range(copies):
            asyncio.get_running_loop().call_later(luck.random() * self.delay_s, self._send, send, octets)

    def _send(self, send: Callable[[bytes], object], octets: bytes) -> None:
        if self._front.fileno() >= 0:
            send(octets)
