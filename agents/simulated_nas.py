"""The hands of simulated NASes: their UDP sockets and the clock. What they say and when is `streams.simulation`'s.

Each NAS has two sockets: one sends accounting and receives the answers, one is its disconnect port. One timer runs for the whole network;
what is due at the same time goes out together, so thousands of sessions cost no task each.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from schemas.configuration import Endpoint
from schemas.errors import CurfewError
from streams.simulation import NEVER, Network, SimulatedNas, Verdict

DATAGRAM_OCTETS_MAX = 4096  # RFC 2865 section 3
READS_MAX = 64  # from one socket at a time: the others and the timer have their turn
STEP_S_MIN = 0.001
BUFFER_BYTES = 4 * 1024 * 1024


class CannotSimulateError(CurfewError):
    """A simulated NAS cannot have the address or port that it is meant to have."""


class Place(NamedTuple):
    """Where a simulated NAS is.

    Attributes:
        address: of this machine; accounting comes from there, and Disconnect-Requests go there.
        disconnect_port: UDP; 0 lets the system choose.
    """

    address: str
    disconnect_port: int


class Seen(NamedTuple):
    """A datagram that a simulated NAS got on its disconnect port.

    Attributes:
        nas: which. verdict: what it did. mono_s: when, monotonic clock.
    """

    nas: SimulatedNas
    verdict: Verdict
    mono_s: float


class SimulatedNetwork:
    """A network on real sockets; it lives inside `async with`.

    Attributes:
        network: what it says and remembers.
        places: where each NAS is, with the ports that the system chose.
    """

    def __init__(self, network: Network, places: Sequence[Place], server: Endpoint, seen: Callable[[Seen], None]) -> None:
        """Bind the sockets; nothing is sent before `async with`.

        Args:
            network: with as many NASes as there are places.
            places: in its order.
            server: where accounting goes.
            seen: is told of each Disconnect-Request at once.

        Raises:
            CannotSimulateError: an address or port cannot be had; the text names the remedy.
        """
        self.network = network
        self._server = (server.address, server.port)
        self._seen = seen
        self._zero_s = time.time() - time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._accounting: list[socket.socket] = []
        self._disconnect: list[socket.socket] = []
        try:
            for place in places:
                self._accounting.append(_bind(place.address, 0))
                self._disconnect.append(_bind(place.address, place.disconnect_port))
        except CannotSimulateError:
            self.close()
            raise
        self.places = [Place(place.address, bound.getsockname()[1]) for place, bound in zip(places, self._disconnect, strict=True)]

    @property
    def now_s(self) -> float:
        """The network's time: the wall clock's at its start, then the monotonic clock's, so that it never falls."""
        return self._zero_s + time.monotonic()

    def step(self) -> None:
        """Send what is due, and see to it that the next is sent when it is; to be called after the network was changed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for number, datagram in self.network.step(self.now_s):
            _send(self._accounting[number], datagram, self._server)
        self._wake(self.network.due_s)

    def end(self, *, is_power_cut: bool = False) -> None:
        """All sessions end: with Accounting-Off, or with a power cut in silence. What waits for an answer is still sent again."""
        self.network.end(self.now_s, is_power_cut=is_power_cut)
        self.step()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number, nas in enumerate(self.network.nases):
            loop.add_reader(self._accounting[number], self._read_responses, number, nas)
            loop.add_reader(self._disconnect[number], self._read_requests, number, nas)
        self.network.begin(self.now_s)
        self.step()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for bound in (*self._accounting, *self._disconnect):
            asyncio.get_running_loop().remove_reader(bound)
        self.close()

    def _wake(self, due_s: float) -> None:
        """Step at that time, or sooner if something else is due sooner."""
        if due_s == NEVER:
            return
        wait_s = max(due_s - self.now_s, STEP_S_MIN)
        loop = asyncio.get_running_loop()
        if self._timer is None or loop.time() + wait_s < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(wait_s, self.step)

    def _read_responses(self, number: int, nas: SimulatedNas) -> None:
        for datagram, _ in _read(self._accounting[number]):
            nas.receive_response(datagram)
        self._wake(nas.due_s)

    def _read_requests(self, number: int, nas: SimulatedNas) -> None:
        for datagram, source in _read(self._disconnect[number]):
            mono_s = time.monotonic()
            verdict = nas.receive_disconnect(datagram, self.now_s)
            if verdict.reply is not None:
                _send(self._disconnect[number], verdict.reply, source)
            self._seen(Seen(nas, verdict, mono_s))
        self.step()

    def close(self) -> None:
        """Give the ports back; `async with` does it at its end."""
        for bound in (*self._accounting, *self._disconnect):
            bound.close()


def _bind(address: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    try:
        bound.bind((address, port))
    except OSError as error:
        bound.close()
        raise CannotSimulateError(f"A simulated NAS cannot be at {address} port {port}: {_why(address, error)}") from error
    return bound


def _why(address: str, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program has it. Stop that program, or give the NAS another disconnect port."
        case errno.EADDRNOTAVAIL:
            return (
                f"it is no address of this machine. Add it: `ip address add {address}/8 dev lo`, on macOS `ifconfig lo0 alias {address}`."
            )
        case _:
            return f"{os.strerror(error.errno or 0)}. Give it another address or port."


def _read(bound: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    """What the socket holds, at most `READS_MAX` datagrams."""
    # an error: it is empty, or tells that an earlier datagram met a closed port, and that one will be sent again
    with contextlib.suppress(OSError):
        for _ in range(READS_MAX):
            yield bound.recvfrom(DATAGRAM_OCTETS_MAX)


def _send(bound: socket.socket, datagram: bytes, target: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):  # as if the network had lost it: a request will be sent again
        bound.sendto(datagram, target)
