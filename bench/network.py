"""A simulated network for the latency figure: NASes that send accounting at a rate, are told to disconnect, and obey.

Each person logs in once and, 500 records later, once more from another device, which `max_sessions = 1` refuses. Both ends of the clock
are the kernel's or right beside it: the time before `sendto`, and the time at which the kernel took the datagram in (SO_TIMESTAMPNS), so
what this program does in between is not in the figure.
"""

import asyncio
import contextlib
import gc
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from bench.round_trip import paced
from streams.radius.authenticator import verify_response
from streams.radius.simulated import RefusedRequest, build_accounting_request, build_disconnect_reply, parse_disconnect_request

NASES = 8
SOCKETS = 16
"""Of a NAS: each has 256 identifiers (RFC 2866 section 3), and an ingest that is behind must not make them run out."""
ACCOUNTING_SECRET = b"bench-accounting"
DISCONNECT_SECRET = b"bench-disconnect"
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_START, _STOP, _INTERIM = 1, 2, 3
_ADMIN_RESET = 6
_CYCLE = 10
_STOP_TURN = 2
_BREACH_AFTER = 50
_STOP_AFTER = 500
_INTERIMS = (60, 110, 160, 210, 260, 310, 360)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Measure without our own garbage collector, which stops every NAS at once."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


class Breach:
    """A Start that breaches, and what came of it; times in nanoseconds since the epoch, 0: not yet."""

    __slots__ = ("answered_ns", "requested_ns", "sent_ns")

    def __init__(self, sent_ns: int) -> None:
        self.sent_ns = sent_ns
        self.answered_ns = 0
        self.requested_ns = 0


class Nas:
    """One NAS: it sends from some sockets and is disconnected at another, all at its own address."""

    def __init__(self, network: "Network", number: int, ingest_port: int) -> None:
        self.name = f"nas-{number}"
        self.address = f"127.0.1.{number + 1}"
        self._network = network
        self._to = ("127.0.0.1", ingest_port)
        self._sent: list[tuple[bytes, Breach | None] | None] = [None] * (256 * SOCKETS)
        self._count = 0
        self._accounting = [self._bound() for _ in range(SOCKETS)]
        self._disconnect = self._bound()
        self.port = self._disconnect.getsockname()[1]
        loop = asyncio.get_running_loop()
        for which, one in enumerate(self._accounting):
            loop.add_reader(one.fileno(), self._take_answers, which)
        loop.add_reader(self._disconnect.fileno(), self._take_requests)

    def toml(self) -> str:
        way = f'address = "{self.address}", port = {self.port}, secret = "{DISCONNECT_SECRET.decode()}"'
        named = f'[[nas]]\nname = "{self.name}"\naddresses = ["{self.address}"]\nsecret = "{ACCOUNTING_SECRET.decode()}"\n'
        return f"{named}disconnect = {{ {way} }}\n"

    def close(self) -> None:
        for one in (*self._accounting, self._disconnect):
            asyncio.get_running_loop().remove_reader(one.fileno())
            one.close()

    def send(self, status: int, session: str, user: str, *, breaches: bool = False) -> Breach | None:
        """Send a record; the breach that it is, if it is one."""
        mac = f"02-{'0A' if session.endswith('a') else '0B'}-" + "-".join(session[i : i + 2] for i in range(0, 8, 2)).upper()
        attributes = [
            (40, status.to_bytes(4)),
            (44, session.encode()),
            (1, user.encode()),
            (4, socket.inet_aton(self.address)),
            (32, self.name.encode()),
            (61, (19).to_bytes(4)),
            (8, bytes((10, 0x80, 0, 1))),
            (31, mac.encode()),
            (30, b"00-10-A4-23-19-C0:campus"),
            (77, b"CONNECT 54Mbps 802.11a"),
            (45, (1).to_bytes(4)),
            (55, int(time.time()).to_bytes(4)),
        ]
        if status != _START:
            attributes += [(number, value.to_bytes(4)) for number, value in ((46, 60), (42, 1_000_000), (43, 9_000_000), (52, 0), (53, 1))]
        if status == _STOP:
            attributes.append((49, _ADMIN_RESET.to_bytes(4)))
        self._count = (self._count + 1) % len(self._sent)
        identifier, which = divmod(self._count, SOCKETS)
        packet = build_accounting_request(identifier=identifier, secret=ACCOUNTING_SECRET, attributes=attributes)
        self._network.unanswered += 1
        breach = Breach(time.time_ns()) if breaches else None
        if self._sent[self._count] is not None:
            self._network.given_up += 1
        self._sent[self._count] = (packet, breach)
        self._accounting[which].sendto(packet, self._to)
        return breach

    def _bound(self) -> socket.socket:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        one.bind((self.address, 0))
        return one

    def _take_answers(self, which: int) -> None:
        for answer, taken_ns, _ in _datagrams(self._accounting[which]):
            place = answer[1] * SOCKETS + which
            waiting = self._sent[place]
            if waiting is None or verify_response(answer, waiting[0], ACCOUNTING_SECRET) is not None:
                self._network.not_believed += 1
                continue
            self._sent[place] = None
            self._network.unanswered -= 1
            if waiting[1] is not None:
                waiting[1].answered_ns = taken_ns

    def _take_requests(self) -> None:
        for request, taken_ns, sender in _datagrams(self._disconnect):
            parsed = parse_disconnect_request(request, DISCONNECT_SECRET)
            if isinstance(parsed, RefusedRequest):
                self._network.not_believed += 1
                continue
            self._disconnect.sendto(build_disconnect_reply(request, DISCONNECT_SECRET, ack=True, error_cause=None), sender)
            self._network.disconnected(self, str(parsed[1].get("acct_session_id")), taken_ns)


class Network:
    """All NASes.

    Attributes:
        nases: they stay as they are; persons and sessions are new in each run.
        unanswered: records that have no answer. given_up: those whose identifier was needed again.
        not_believed: datagrams with a wrong authenticator, such as answers to what was given up.
        false: Disconnect-Requests for sessions that breach nothing. repeated: those for a session that was told to end before.
    """

    def __init__(self, ingest_port: int) -> None:
        self.unanswered = self.given_up = self.not_believed = self.false = self.repeated = 0
        self.nases = [Nas(self, number, ingest_port) for number in range(NASES)]
        self._breaches: dict[str, Breach] = {}
        self._persons_before = 0

    def close(self) -> None:
        for nas in self.nases:
            nas.close()

    async def run(self, rate_s: int, warm_s: float, measured_s: float, straggle_s: float = 15.0) -> list[Breach]:
        """Send records at a rate; the breaches among them, without those of the warm-up. Everybody logs out at the end."""
        measured: list[Breach] = []
        first = round(rate_s * warm_s)
        async for number in paced(rate_s, round(rate_s * (warm_s + measured_s))):
            breach = self._send(*divmod(number, _CYCLE))
            if breach is not None and number >= first:
                measured.append(breach)
        await self._until_told(measured, straggle_s)
        last, turn = divmod(number, _CYCLE)
        for person in range(max(0, last - _STOP_AFTER + (turn >= _STOP_TURN)), last + 1):
            self._say(_STOP, person, "a")  # or it would be found dead in a later run, rightly, and told to go
        await self._until_told([], straggle_s)
        self._persons_before += last + 1
        return measured

    async def one(self, within_s: float) -> Breach:
        """Somebody new logs in, and at once again from another device; what came of that."""
        self._say(_START, 0, "a")
        breach = self._say(_START, 0, "b")
        assert breach is not None
        self._persons_before += 1
        await self._until_told([breach], within_s)
        return breach

    async def _until_told(self, breaches: list[Breach], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while (self.unanswered or not all(breach.requested_ns for breach in breaches)) and time.monotonic() < deadline:  # noqa: ASYNC110 - once a run
            await asyncio.sleep(0.01)

    def disconnected(self, nas: Nas, session: str, taken_ns: int) -> None:
        """A NAS was told to end a session: it does, and says so."""
        breach = self._breaches.get(session)
        if breach is None:
            self.false += 1
        elif breach.requested_ns:
            self.repeated += 1
        else:
            breach.requested_ns = taken_ns
            nas.send(_STOP, session, f"user-{session[:8]}@example.net")

    def _send(self, person: int, turn: int) -> Breach | None:
        """The `turn`-th record of ten: a login, a login that breaches, a logout, and seven Interims of others."""
        if turn == 1 and person >= _BREACH_AFTER:
            return self._say(_START, person - _BREACH_AFTER, "b")
        if turn == _STOP_TURN and person >= _STOP_AFTER:
            return self._say(_STOP, person - _STOP_AFTER, "a")
        ago = _INTERIMS[turn - 3] if turn >= 3 else 0
        return self._say(_INTERIM if turn else _START, person - (ago if person >= ago else 0), "a")

    def _say(self, status: int, person: int, device: str) -> Breach | None:
        number = self._persons_before + person
        session = f"{number:08x}{device}"
        breach = self.nases[number % NASES].send(status, session, f"user-{number:08x}@example.net", breaches=device == "b")
        if breach is not None:
            self._breaches[session] = breach
        return breach


def _datagrams(one: socket.socket) -> list[tuple[bytes, int, Any]]:
    """What a socket holds: octets, the time the kernel took them in, and the sender."""
    taken = []
    try:
        while True:
            octets, ancillary, _, sender = one.recvmsg(4096, 64)
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            taken.append((octets, seconds * 1_000_000_000 + nanoseconds, sender))
    except BlockingIOError:
        return taken
