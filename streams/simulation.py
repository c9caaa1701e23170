"""A network of simulated NASes: what each sends and when, what it remembers, and what a Disconnect-Request does to it.

Law of this file: the NASes' side of the conversation, pure. The time is handed in (seconds since the epoch by the NAS's own clock, never
falling), so is the randomness (numbers between 0 and 1): the same seed and the same times give the same octets. Sockets are in
`agents.simulated_nas`.

Theory of operation. A `SimulatedNas` keeps its sessions and a queue of records. `step(now_s)` gives the datagrams that are due: new records
as far as there are Identifiers, and again what nobody answered (RFC 5080 section 2.2.1: the same octets, so no Acct-Delay-Time). `due_s`
says when something is due next. A `Network` lets people log in and out on several of them.
Sources: RFC 2866 (accounting), RFC 5176 (disconnecting).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from typing import NamedTuple, Protocol

from streams.radius.authenticator import verify_response
from streams.radius.fields import Value
from streams.radius.framing import Malformed, check_framing
from streams.radius.respond import ACCOUNTING_RESPONSE
from streams.radius.simulated import RefusedRequest, build_accounting_request, build_disconnect_reply, parse_disconnect_request
from streams.retransmission import RFC5080, Transmission, first, following

IDENTIFIERS = 256
QUEUE_MAX = 100_000  # records that wait for an Identifier; the oldest are lost, as a NAS's memory is finite
REPLIES_MAX = 256  # answers kept for a Disconnect-Request that comes again (RFC 5080 section 2.2.2)
DEVICES_PER_USER = 3
OCTETS_PER_S = 25_000  # what a device moves at most
NEVER = math.inf

_STATUS = {"Start": 1, "Stop": 2, "Interim-Update": 3, "Accounting-On": 7, "Accounting-Off": 8}
_WIRELESS = 19  # NAS-Port-Type Wireless - IEEE 802.11
USER_REQUEST = 1  # Acct-Terminate-Cause (RFC 2866 section 5.10)
ADMIN_RESET = 6


class Chance(Protocol):
    """Where randomness comes from; `random.Random(seed)` is one."""

    def random(self) -> float:
        """A number from 0 up to 1."""


class Answer(StrEnum):
    """What a NAS does about a Disconnect-Request for a session it has."""

    ACK = "ack"
    """It ends the session, says ACK and sends the Stop."""
    ACK_NO_STOP = "ack-no-stop"
    """It ends the session and says ACK; its Stop is never sent."""
    ACK_STAYS = "ack-stays"
    """It says ACK, and the session goes on."""
    NAK_503 = "nak-503"
    """Session-Context-Not-Found: it has forgotten the session."""
    NAK_404 = "nak-404"
    """Invalid-Request: it refuses, and the session goes on."""
    SILENCE = "silence"
    """Nothing, and the session goes on."""


_ERROR_CAUSE = {Answer.NAK_503: 503, Answer.NAK_404: 404}
_ENDS_SESSION = (Answer.ACK, Answer.ACK_NO_STOP, Answer.NAK_503)


class Device(NamedTuple):
    """What somebody logs in with.

    Attributes:
        user: User-Name.
        mac: six octets.
        address: Framed-IP-Address.
    """

    user: str
    mac: bytes
    address: IPv4Address

    @property
    def station(self) -> str:
        """Calling-Station-Id as most NASes write it."""
        return self.mac.hex("-").upper()


def device_of(user: str, user_number: int, nth: int) -> Device:
    """The n-th device of a user: its MAC and address are its own in the whole network (up to 65,536 users with 254 devices)."""
    number = (user_number & 0xFFFF) << 8 | (nth + 1) & 0xFF
    return Device(user, b"\x02\x00\x00" + number.to_bytes(3), IPv4Address((10 << 24) + number))


@dataclass
class Session:
    """A session as its NAS knows it.

    Attributes:
        nas: the NAS's name. session_id: Acct-Session-Id, which another NAS may give as well.
        ends_s: when its user logs out by himself.
        octets_per_s: what its device moves.
    """

    nas: str
    session_id: str
    device: Device
    port: int
    started_s: float
    ends_s: float
    octets_per_s: int


@dataclass(frozen=True)
class NasSettings:
    """What a simulated NAS is told.

    Attributes:
        name: NAS-Identifier. address: NAS-IP-Address.
        secret: of accounting. disconnect_secret: of Disconnect-Requests.
        interim_s: between two Interim-Updates of a session.
        answer: to Disconnect-Requests.
    """

    name: str
    address: IPv4Address
    secret: bytes
    disconnect_secret: bytes
    interim_s: float = 600.0
    answer: Answer = Answer.ACK


class Verdict(NamedTuple):
    """What became of a datagram on the disconnect port.

    Attributes:
        session: which session it was about; None when none is.
        reply: the datagram to send back; None for none.
        said: for counting: `Disconnect-ACK`, `Disconnect-NAK 503`, `repeated`, or why there is no answer.
    """

    session: Session | None
    reply: bytes | None
    said: str


class _Record(NamedTuple):
    status: str
    attributes: list[tuple[int, bytes]]


class _Exchange(NamedTuple):
    packet: bytes
    transmission: Transmission


@dataclass
class Counts:
    """What a NAS has seen.

    Attributes:
        records: sent for the first time, by Acct-Status-Type. repeats: sent again. answered: Accounting-Responses that fit.
        unanswered: given up. lost: pushed out of a full queue. refused: datagrams on the accounting socket that were no answer.
        disconnects: datagrams on the disconnect port, by what became of them.
    """

    records: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    answered: int = 0
    unanswered: int = 0
    lost: int = 0
    refused: int = 0
    disconnects: Counter[str] = field(default_factory=Counter)


class SimulatedNas:
    """One NAS.

    Attributes:
        settings: what it was told.
        sessions: by Acct-Session-Id; what it has forgotten is not among them.
        counts: what it has seen.
    """

    def __init__(self, settings: NasSettings, chance: Chance) -> None:
        self.settings = settings
        self.sessions: dict[str, Session] = {}
        self.counts = Counts()
        self._chance = chance
        self._queue: deque[_Record] = deque()
        self._exchanges: dict[int, _Exchange] = {}
        self._next_identifier = 0
        self._boot = 0
        self._opened = 0
        self._macs: set[bytes] = set()
        self._timers: list[tuple[float, str]] = []  # a heap: when a session next has to say something
        self._resends: list[tuple[float, int]] = []  # a heap: when an Identifier's exchange is due, unless it is over or was put off
        self._replies: dict[bytes, bytes] = {}

    def boot(self, now_s: float) -> None:
        """Start: whatever was open before this is over (Accounting-On, RFC 2866 section 5.1)."""
        self._boot = int(now_s)
        self._end_all()
        self._say("Accounting-On", now_s, [])

    def shut_down(self, now_s: float, *, is_power_cut: bool = False) -> None:
        """The sessions end without a Stop; the NAS says Accounting-Off, if it still can. What waits for an answer is still sent again."""
        self._end_all()
        if not is_power_cut:
            self._say("Accounting-Off", now_s, [])

    def log_in(self, device: Device, now_s: float, lasts_s: float = NEVER) -> Session:
        """A device comes; it logs out by itself after `lasts_s`."""
        self._opened += 1
        session_id = f"{self._boot:08X}{self._opened:08X}"  # no id comes twice, also after a reboot
        octets_per_s = int(OCTETS_PER_S * self._chance.random())
        session = Session(self.settings.name, session_id, device, self._opened, now_s, now_s + lasts_s, octets_per_s)
        self.sessions[session_id] = session
        self._macs.add(device.mac)
        self._say("Start", now_s, self._about(session, now_s, usage=False))
        self._arm(session, now_s)
        return session

    def log_out(self, session: Session, now_s: float, cause: int = USER_REQUEST) -> None:
        """A session ends as it should: with its Stop."""
        self.forget(session)
        self._say("Stop", now_s, [*self._about(session, now_s), (49, cause.to_bytes(4))])

    def forget(self, session: Session) -> None:
        """A session ends and nobody is told: neither Interims nor a Stop will come."""
        self.sessions.pop(session.session_id, None)
        self._macs.discard(session.device.mac)

    def has(self, device: Device) -> bool:
        """Whether a device is logged in here."""
        return device.mac in self._macs

    @property
    def unanswered(self) -> int:
        """Records that wait: for an Identifier, or for an answer."""
        return len(self._queue) + len(self._exchanges)

    @property
    def due_s(self) -> float:
        """When `step` has something to do next; `NEVER` when nothing is planned."""
        if self._queue and len(self._exchanges) < IDENTIFIERS:
            return 0.0
        while self._timers and self._timers[0][1] not in self.sessions:
            heapq.heappop(self._timers)
        while self._resends and not self._is_waiting(*self._resends[0]):
            heapq.heappop(self._resends)
        return min(self._resends[0][0] / 1000 if self._resends else NEVER, self._timers[0][0] if self._timers else NEVER)

    def step(self, now_s: float) -> list[bytes]:
        """The datagrams that are due, in order."""
        while self._timers and self._timers[0][0] <= now_s:
            _, session_id = heapq.heappop(self._timers)
            if (session := self.sessions.get(session_id)) is not None:
                self._timer(session, now_s)
        return [*self._send_again(now_s), *self._send_new(now_s)]

    def receive_response(self, datagram: bytes) -> bool:
        """Take what came back on the accounting socket; whether it was an Accounting-Response that something waits for."""
        length = check_framing(datagram)
        if not isinstance(length, Malformed) and datagram[0] == ACCOUNTING_RESPONSE:
            exchange = self._exchanges.get(datagram[1])
            if exchange is not None and verify_response(datagram[:length], exchange.packet, self.settings.secret) is None:
                del self._exchanges[datagram[1]]
                self.counts.answered += 1
                return True
        self.counts.refused += 1
        return False

    def receive_disconnect(self, datagram: bytes, now_s: float) -> Verdict:
        """Take what came on the disconnect port, and do it; a Stop that follows from it is in the next `step`."""
        verdict = self._judge(datagram, now_s)
        self.counts.disconnects[verdict.said] += 1
        if verdict.reply is not None:
            self._replies[datagram[4:20]] = verdict.reply
            if len(self._replies) > REPLIES_MAX:
                del self._replies[next(iter(self._replies))]
        return verdict

    def _judge(self, datagram: bytes, now_s: float) -> Verdict:
        request = parse_disconnect_request(datagram, self.settings.disconnect_secret)
        if isinstance(request, RefusedRequest):
            return Verdict(None, None, request)
        if (reply := self._replies.get(datagram[4:20])) is not None:
            return Verdict(None, reply, "repeated")
        found = self._find(request[1])
        if isinstance(found, int):
            return self._reply(datagram, None, found, now_s)
        answer = self.settings.answer
        if answer is Answer.SILENCE:
            return Verdict(found, None, "silence")
        if answer is Answer.ACK:
            self.log_out(found, now_s, ADMIN_RESET)
        elif answer in _ENDS_SESSION:
            self.forget(found)
        return self._reply(datagram, found, _ERROR_CAUSE.get(answer), now_s)

    def _reply(self, datagram: bytes, session: Session | None, error_cause: int | None, now_s: float) -> Verdict:
        reply = build_disconnect_reply(
            datagram,
            self.settings.disconnect_secret,
            ack=error_cause is None,
            error_cause=error_cause,
            event_timestamp_s=int(now_s),
        )
        return Verdict(session, reply, "Disconnect-ACK" if error_cause is None else f"Disconnect-NAK {error_cause}")

    def _find(self, wanted: dict[str, Value]) -> Session | int:
        """The one session that all attributes of a request fit, or the Error-Cause (RFC 5176 section 3.5)."""
        own = {"nas_identifier": self.settings.name, "nas_ip_address": str(self.settings.address)}
        if any(wanted.get(name, value) != value for name, value in own.items()):
            return 403
        found = [session for session in self._candidates(wanted) if _fits(session, wanted)]
        return found[0] if len(found) == 1 else 508 if found else 503

    def _candidates(self, wanted: dict[str, Value]) -> list[Session]:
        session_id = wanted.get("acct_session_id")
        if session_id is None:
            return list(self.sessions.values()) if {"user_name", "calling_station_id", "framed_ip_address"} & wanted.keys() else []
        session = self.sessions.get(str(session_id))
        return [] if session is None else [session]

    def _end_all(self) -> None:
        self.sessions.clear()
        self._macs.clear()
        self._timers.clear()

    def _timer(self, session: Session, now_s: float) -> None:
        if session.ends_s <= now_s:
            self.log_out(session, now_s)
        else:
            self._say("Interim-Update", now_s, self._about(session, now_s))
            self._arm(session, now_s)

    def _arm(self, session: Session, now_s: float) -> None:
        heapq.heappush(self._timers, (min(now_s + self.settings.interim_s, session.ends_s), session.session_id))

    def _say(self, status: str, now_s: float, attributes: list[tuple[int, bytes]]) -> None:
        """Put a record into the queue."""
        self._queue.append(
            _Record(
                status,
                [
                    (40, _STATUS[status].to_bytes(4)),
                    (4, self.settings.address.packed),
                    (32, self.settings.name.encode()),
                    *attributes,
                    (55, int(now_s).to_bytes(4)),
                ],
            )
        )
        if len(self._queue) > QUEUE_MAX:
            self._queue.popleft()
            self.counts.lost += 1

    def _about(self, session: Session, now_s: float, *, usage: bool = True) -> list[tuple[int, bytes]]:
        """The attributes of a session."""
        device = session.device
        attributes = [
            (44, session.session_id.encode()),
            (1, device.user.encode()),
            (31, device.station.encode()),
            (30, f"{self.settings.name}:guests".encode()),
            (8, device.address.packed),
            (5, session.port.to_bytes(4)),
            (61, _WIRELESS.to_bytes(4)),
        ]
        if usage:
            time_s = int(now_s - session.started_s)
            octets = session.octets_per_s * time_s
            attributes += [(46, time_s.to_bytes(4)), (42, (octets // 8 & 0xFFFFFFFF).to_bytes(4)), (43, (octets & 0xFFFFFFFF).to_bytes(4))]
            attributes += [(52, (octets // 8 >> 32).to_bytes(4)), (53, (octets >> 32).to_bytes(4))]
        return attributes

    def _send_again(self, now_s: float) -> Iterator[bytes]:
        while self._resends and self._resends[0][0] <= now_s * 1000:
            due_ms, identifier = heapq.heappop(self._resends)
            if not self._is_waiting(due_ms, identifier):
                continue
            exchange = self._exchanges[identifier]
            transmission = following(RFC5080, exchange.transmission, now_s * 1000, self._jitter())
            if transmission is None:
                del self._exchanges[identifier]
                self.counts.unanswered += 1
            else:
                self._await_answer(identifier, exchange._replace(transmission=transmission))
                self.counts.repeats += 1
                yield exchange.packet

    def _send_new(self, now_s: float) -> Iterator[bytes]:
        while self._queue and len(self._exchanges) < IDENTIFIERS:
            record = self._queue.popleft()
            identifier = self._free_identifier()
            packet = build_accounting_request(identifier=identifier, secret=self.settings.secret, attributes=record.attributes)
            self._await_answer(identifier, _Exchange(packet, first(RFC5080, now_s * 1000, self._jitter())))
            self.counts.records[record.status] += 1
            yield packet

    def _is_waiting(self, due_ms: float, identifier: int) -> bool:
        """Whether that entry of `_resends` stands for an exchange that is not answered yet."""
        exchange = self._exchanges.get(identifier)
        return exchange is not None and exchange.transmission.due_ms == due_ms

    def _await_answer(self, identifier: int, exchange: _Exchange) -> None:
        self._exchanges[identifier] = exchange
        heapq.heappush(self._resends, (exchange.transmission.due_ms, identifier))

    def _free_identifier(self) -> int:
        """The next one in turn that nothing waits for; there is one."""
        while self._next_identifier in self._exchanges:
            self._next_identifier = (self._next_identifier + 1) % IDENTIFIERS
        identifier = self._next_identifier
        self._next_identifier = (identifier + 1) % IDENTIFIERS
        return identifier

    def _jitter(self) -> float:
        return 2 * self._chance.random() - 1


class People(NamedTuple):
    """Who uses a network.

    Attributes:
        users: their names; each has `devices` devices.
        devices: of each user, at most `DEVICES_PER_USER` is usual.
        logins_per_s: how often somebody logs in.
        session_s: how long a session lasts in the mean.
    """

    users: Sequence[str]
    devices: int = DEVICES_PER_USER
    logins_per_s: float = 1.0
    session_s: float = 300.0


class Network:
    """Several NASes and the people on them.

    Attributes:
        nases: in the order given; the numbers in `step` are places in it.
    """

    def __init__(self, nases: Sequence[SimulatedNas], people: People, chance: Chance) -> None:
        """Make it; nothing happens before `begin`.

        Args:
            nases: at least one.
            people: who comes and goes.
            chance: seeded.
        """
        self.nases = nases
        self._people = people
        self._chance = chance
        self._next_login_s = NEVER

    def begin(self, now_s: float) -> None:
        """The NASes boot, and people come from now on."""
        for nas in self.nases:
            nas.boot(now_s)
        self._plan_login(now_s)

    def end(self, now_s: float, *, is_power_cut: bool = False) -> None:
        """Nobody comes any more, and no session goes on. The NASes say Accounting-Off, or with a power cut nothing."""
        self._next_login_s = NEVER
        for nas in self.nases:
            nas.shut_down(now_s, is_power_cut=is_power_cut)

    @property
    def due_s(self) -> float:
        """When `step` has something to do next."""
        return min(self._next_login_s, *(nas.due_s for nas in self.nases))

    def step(self, now_s: float) -> list[tuple[int, bytes]]:
        """The datagrams that are due, each with its NAS's number."""
        while self._next_login_s <= now_s:
            self._somebody_comes(now_s)
            self._plan_login(self._next_login_s)
        return [(number, datagram) for number, nas in enumerate(self.nases) for datagram in nas.step(now_s)]

    def _somebody_comes(self, now_s: float) -> None:
        """Log a device in; when it is online already, nobody comes this time."""
        user_number = self._below(len(self._people.users))
        device = device_of(self._people.users[user_number], user_number, self._below(self._people.devices))
        nas = self.nases[self._below(len(self.nases))]
        if not any(each.has(device) for each in self.nases):
            nas.log_in(device, now_s, self._exponential(self._people.session_s))

    def _plan_login(self, from_s: float) -> None:
        rate = self._people.logins_per_s
        self._next_login_s = from_s + self._exponential(1 / rate) if rate > 0 and self._people.users else NEVER

    def _below(self, count: int) -> int:
        return int(self._chance.random() * count)

    def _exponential(self, mean: float) -> float:
        return -math.log(1 - self._chance.random()) * mean


def _fits(session: Session, wanted: dict[str, Value]) -> bool:
    """Whether a session is the one that a request's attributes describe; MACs compare in any notation."""
    own = {"user_name": session.device.user, "framed_ip_address": str(session.device.address)}
    if any(wanted.get(name, value) != value for name, value in own.items()):
        return False
    station = wanted.get("calling_station_id", session.device.station)
    return "".join(c for c in str(station).lower() if c in "0123456789abcdef") == session.device.mac.hex()
