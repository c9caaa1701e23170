"""A NAS of a few lines on real sockets: it sends accounting until it is answered, and answers Disconnect-Requests as a test tells it.

What lives here: what every NAS does with packets. Which sessions it has is the test's. A packet that gets no answer is sent again under
a new Identifier with a larger Acct-Delay-Time and the same Event-Timestamp (RFC 2866 sections 4.1 and 5.2), as hostapd does.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from streams.radius.authenticator import verify_response
from streams.radius.fields import Value
from streams.radius.simulated import RefusedRequest, build_accounting_request, build_disconnect_reply, parse_disconnect_request

SEND_AGAIN_AFTER_S = 1.0
LOOK_EVERY_S = 0.02
DATAGRAM_OCTETS_MAX = 8192
IDENTIFIERS = 256
STATUS = {"Start": 1, "Stop": 2, "Interim-Update": 3, "Accounting-On": 7, "Accounting-Off": 8}
USER_NAME, CLASS, CALLING_STATION_ID, NAS_IDENTIFIER, ACCT_STATUS_TYPE, ACCT_DELAY_TIME = 1, 25, 31, 32, 40, 41
ACCT_INPUT_OCTETS, ACCT_OUTPUT_OCTETS, ACCT_SESSION_ID, ACCT_SESSION_TIME, EVENT_TIMESTAMP = 42, 43, 44, 46, 55

Attribute = tuple[int, bytes]


class Answer(NamedTuple):
    """To a Disconnect-Request."""

    ack: bool
    error_cause: int | None = None


ACK = Answer(ack=True)
Decide = Callable[[dict[str, Value]], Answer | None]
"""(the request's attributes by field name) -> the answer, or None for silence."""


@dataclass
class Sent:
    """A packet that is not answered yet, or is: `answered_s` on the monotonic clock."""

    attributes: list[Attribute]
    first_s: float
    last_s: float = 0.0
    packet: bytes = b""
    sends: int = 0
    answered_s: float | None = None


@dataclass
class SmallNas:
    """One NAS.

    Attributes:
        identifier: its NAS-Identifier. server: where accounting goes. has_clock: it sends Event-Timestamp.
        decide: asked for each Disconnect-Request that is authentic.
        requests: (wall clock in ms, attributes) of these. refused: why others are not; there must be none.
        dae_port: where it takes them.
    """

    identifier: str
    secret: bytes
    dae_secret: bytes
    decide: Decide
    server: tuple[str, int] = ("127.0.0.1", 0)
    has_clock: bool = True
    requests: list[tuple[int, dict[str, Value]]] = field(default_factory=list)
    refused: list[RefusedRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._accounting, self._dae = bound_socket(), bound_socket()
        self.dae_port: int = self._dae.getsockname()[1]
        self._waiting: dict[int, Sent] = {}
        self._queue: deque[Sent] = deque()
        self._next = 0
        self._again: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._accounting, self._read_answers)
        loop.add_reader(self._dae, self._read_requests)
        self._again = asyncio.create_task(self._send_again())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._again is not None
        self._again.cancel()
        await asyncio.wait([self._again])
        for bound in (self._accounting, self._dae):
            asyncio.get_running_loop().remove_reader(bound)
            bound.close()
        assert not self.refused, f"Disconnect-Requests that no NAS would take: {self.refused}"

    @property
    def unanswered(self) -> int:
        """Packets that are sent and not answered, or wait for an Identifier."""
        return len(self._waiting) + len(self._queue)

    def account(self, status: str, attributes: Sequence[Attribute]) -> Sent:
        """Send an Accounting-Request about now, again and again until it is answered."""
        own = [(ACCT_STATUS_TYPE, STATUS[status].to_bytes(4)), (NAS_IDENTIFIER, self.identifier.encode())]
        stamp = [(EVENT_TIMESTAMP, int(time.time()).to_bytes(4))] if self.has_clock else []
        sent = Sent([*own, *stamp, *attributes], time.monotonic())
        self._queue.append(sent)
        self._send_queued()
        return sent

    def _send_queued(self) -> None:
        while self._queue and len(self._waiting) < IDENTIFIERS - 1:
            self._send(self._queue.popleft())

    def _send(self, sent: Sent) -> None:
        while self._next in self._waiting:
            self._next = (self._next + 1) % IDENTIFIERS
        identifier, self._next = self._next, (self._next + 1) % IDENTIFIERS
        sent.last_s, sent.sends = time.monotonic(), sent.sends + 1
        delay = (ACCT_DELAY_TIME, int(sent.last_s - sent.first_s).to_bytes(4))
        sent.packet = build_accounting_request(identifier=identifier, secret=self.secret, attributes=[*sent.attributes, delay])
        self._waiting[identifier] = sent
        self._accounting.sendto(sent.packet, self.server)

    async def _send_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            late_s = time.monotonic() - SEND_AGAIN_AFTER_S
            for identifier, sent in [(number, sent) for number, sent in self._waiting.items() if sent.last_s < late_s]:
                del self._waiting[identifier]
                self._send(sent)
            self._send_queued()

    def _read_answers(self) -> None:
        for datagram, _ in datagrams_of(self._accounting):
            sent = self._waiting.get(datagram[1])
            # An answer to an earlier copy does not carry this one's authenticator
            if sent is not None and verify_response(datagram, sent.packet, self.secret) is None:
                del self._waiting[datagram[1]]
                sent.answered_s = time.monotonic()

    def _read_requests(self) -> None:
        for datagram, sender in datagrams_of(self._dae):
            parsed = parse_disconnect_request(datagram, self.dae_secret)
            if isinstance(parsed, RefusedRequest):
                self.refused.append(parsed)
                continue
            attributes = parsed[1]
            self.requests.append((round(time.time() * 1000), attributes))
            answer = self.decide(attributes)
            if answer is not None:
                reply = build_disconnect_reply(datagram, self.dae_secret, ack=answer.ack, error_cause=answer.error_cause)
                self._dae.sendto(reply, sender)


def bound_socket() -> socket.socket:
    """A socket of the loopback that does not wait."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.bind(("127.0.0.1", 0))
    return bound


def datagrams_of(bound: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    """All that lies in it, each with its sender."""
    datagrams = []
    while True:
        try:
            datagrams.append(bound.recvfrom(DATAGRAM_OCTETS_MAX))
        except BlockingIOError:
            return datagrams
