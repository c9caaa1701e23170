"""The true world: NASes and the sessions on them, as they are and not as anybody was told. What they send goes to a `wire`.

A session's Class attribute (RFC 2865 section 5.25) is its own name in this world: so what Curfew says about a session can be held against
the truth even where its Acct-Session-Id was given twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from zlib import crc32

from streams.radius.simulated import RefusedRequest, build_accounting_request, build_disconnect_reply, parse_disconnect_request
from tests.sim.story import NasTraits, Story

T0_MS = 1_795_199_831_000
SECRET = b"testing123"
DISCONNECT_SECRET = b"testing456"
RESEND_MS = 5_000
ATTEMPTS = {"Interim-Update": 6, "Accounting-On": 10, "Start": 10, "Stop": 10, "Accounting-Off": 1}
"""Within `streams.sameness.TOLERANCE_MS`: what is sent again for longer without saying since when looks like another session."""
KEPT = 25
"""So many times as often does a NAS try that keeps its records, and says since when."""
STATUS = {"Start": 1, "Stop": 2, "Interim-Update": 3, "Accounting-On": 7, "Accounting-Off": 8}
WORD = 1 << 32
RATE_MAX, OFTEN_S = 300, 300
"""Octets in a millisecond at most; without Gigawords fewer where Interims are rarer, since only a fall by half a word is a wrap."""


@dataclass
class TrueSession:
    """A session as it really is.

    Attributes:
        uid: its own name in the world, and its Class attribute.
        ended_ms: None while it runs. ended_by: logout, vanish, reboot or kick.
        rate: octets a millisecond, in and out.
        names: what its User-Name is in the Start, in that of its Interims from the first one on, and in the Stop.
    """

    uid: str
    nas: TrueNas
    session_id: str
    user: str
    device: int
    started_ms: int
    rate: int
    ended_ms: int | None = None
    ended_by: str = ""
    interims: int = 0
    names: tuple[str, str, str] = ("", "", "")

    @property
    def mac(self) -> str:
        """Calling-Station-Id."""
        return "02-00-" + self.device.to_bytes(4).hex("-").upper()

    def usage(self, now_ms: int) -> tuple[int, int, int]:
        """(seconds, octets in, octets out) at a time."""
        life_ms = now_ms - self.started_ms
        return life_ms // 1000, life_ms * self.rate, life_ms * self.rate * 3


@dataclass
class Packet:
    """An Accounting-Request on its way for as often as it takes."""

    nas: TrueNas
    boot: int
    status: str
    session: TrueSession | None
    event_ms: int
    attributes: list[tuple[int, bytes]]
    name: str
    clock_off_ms: int = 0
    attempt: int = 0
    octets: bytes = b""
    is_answered: bool = False


@dataclass
class TrueNas:
    """A NAS as it really is."""

    traits: NasTraits
    number: int
    boot: int = 0
    is_up: bool = True
    away_until_ms: int = 0
    clock_off_ms: int = 0
    counter: int = 0
    identifier: int = 0
    sessions: dict[str, TrueSession] = field(default_factory=dict)
    replies: dict[bytes, bytes | None] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where its packets come from."""
        return f"192.0.2.{self.number + 1}"


def luck(*what: object) -> float:
    """A number from 0 up to 1 that belongs to what it is about and to nothing else, so that dropping an event changes no other's luck."""
    return crc32(repr(what).encode()) / WORD


class World:
    """The NASes and their people.

    Args:
        story: its NASes, and the seed of its chance.
        now: the true time in ms. later: do something after so many ms. transmit: put a datagram of a packet on the wire.
    """

    def __init__(
        self,
        story: Story,
        now: Callable[[], int],
        later: Callable[[int, Callable[[], None]], None],
        transmit: Callable[[Packet, bytes], None],
    ) -> None:
        self.nases = [TrueNas(traits, number, clock_off_ms=traits.clock_off_ms) for number, traits in enumerate(story.nases)]
        self.sessions: dict[str, TrueSession] = {}
        self._comings: dict[int, int] = {}
        self._seed = story.seed
        self._renamed = story.renamed
        self.now = now
        self._later = later
        self._transmit = transmit

    # -- what happens -------------------------------------------------------------------------------------------------------------

    def login(self, number: int, nas: TrueNas, user: str, device: int) -> None:
        """A device comes; if it was on that port it is there no more, without a word."""
        if not nas.is_up:
            return
        if nas.traits.ports:
            for old in [old for old in nas.sessions.values() if old.device == device]:
                self.leave(old, "replaced")
        self._comings[number] = nth = self._comings.get(number, -1) + 1
        uid = f"u{number}-{nth}"
        nas.counter += 1
        rate_max = RATE_MAX if nas.traits.gigawords else min(RATE_MAX, RATE_MAX * OFTEN_S**2 // nas.traits.interval_s**2)
        rate = 1 + int(luck(self._seed, uid, "rate") * rate_max)
        session = TrueSession(uid, nas, f"{nas.counter:08x}", user, device, self.now(), rate, names=self._names_of(uid, user))
        self.sessions[uid] = nas.sessions[session.session_id] = session
        self._say(session, "Start")
        self._later(nas.traits.interval_s * 1000, lambda: self._interim(session))

    def _names_of(self, uid: str, user: str) -> tuple[str, str, str]:
        """An outer name in the Start alone, in the Stop alone, or in all but the Interims."""
        if user.startswith("stays") or luck(self._seed, uid, "renamed") * 100 >= self._renamed:
            return user, user, user
        outer = f"outer-{uid}"
        return ((outer, user, user), (user, user, outer), (outer, user, outer))[int(luck(self._seed, uid, "how") * 3)]

    def leave(self, session: TrueSession | None, by: str) -> None:
        """A session ends; only its NAS tells, and not if the device vanishes for the NAS too."""
        if session is None or session.ended_ms is not None:
            return
        session.ended_ms, session.ended_by = self.now(), by
        del session.nas.sessions[session.session_id]
        if by == "logout" or (by == "kick" and session.nas.traits.stops):
            self._say(session, "Stop")
        if by == "kick" and session.user.startswith("stays"):
            self._return(session)

    def reboot(self, nas: TrueNas, down_ms: int) -> None:
        """All its sessions end, its Acct-Session-Ids begin anew; whoever stays comes back."""
        if not nas.is_up:
            return
        if nas.traits.says_off:
            self._send(Packet(nas, nas.boot, "Accounting-Off", None, self.now(), [], f"{nas.traits.name}/{nas.boot}/off"))
        gone = list(nas.sessions.values())
        for session in gone:
            self.leave(session, "reboot")
        nas.boot += 1
        nas.counter = 0
        nas.is_up = False
        nas.replies.clear()
        self._later(down_ms, lambda: self._boot(nas, [session for session in gone if session.user.startswith("stays")]))

    def _boot(self, nas: TrueNas, returning: list[TrueSession]) -> None:
        nas.is_up = True
        if nas.traits.says_on:
            attributes = [(44, f"boot{nas.boot}".encode())] if nas.traits.on_has_id else []
            self._send(Packet(nas, nas.boot, "Accounting-On", None, self.now(), attributes, f"{nas.traits.name}/{nas.boot}"))
        for session in returning:
            self._return(session)

    def _return(self, session: TrueSession) -> None:
        number = int(session.uid.removeprefix("u").split("-")[0])
        self._later(30_000, lambda: self.login(number, session.nas, session.user, session.device))

    def session_of(self, number: int) -> TrueSession | None:
        """The session of a login event."""
        return self.sessions.get(f"u{number}-0")

    def is_alive(self, uid: str) -> bool:
        """Whether the session runs."""
        return self.sessions[uid].ended_ms is None

    # -- accounting ---------------------------------------------------------------------------------------------------------------

    def _interim(self, session: TrueSession) -> None:
        if session.ended_ms is None:
            session.interims += 1
            self._say(session, "Interim-Update")
            self._later(session.nas.traits.interval_s * 1000, lambda: self._interim(session))

    def _say(self, session: TrueSession, status: str) -> None:
        name = session.names[("Start", "Interim-Update", "Stop").index(status)]
        attributes = [(1, name.encode()), (44, session.session_id.encode()), (31, session.mac.encode()), (25, session.uid.encode())]
        if session.nas.traits.ports:
            attributes += [(5, session.device.to_bytes(4)), (8, (10 << 24 | session.device).to_bytes(4))]
        if status != "Start":
            time_s, octets_in, octets_out = session.usage(self.now())
            attributes += [(46, time_s.to_bytes(4)), (42, (octets_in % WORD).to_bytes(4)), (43, (octets_out % WORD).to_bytes(4))]
            if session.nas.traits.gigawords:
                attributes += [(52, (octets_in // WORD).to_bytes(4)), (53, (octets_out // WORD).to_bytes(4))]
        name = f"{session.uid}/{status}/{session.interims}"
        self._send(Packet(session.nas, session.nas.boot, status, session, self.now(), attributes, name))

    def _send(self, packet: Packet) -> None:
        nas = packet.nas
        most = ATTEMPTS[packet.status] * (KEPT if nas.traits.keeps else 1)
        if packet.is_answered or nas.boot != packet.boot or not nas.is_up or packet.attempt >= most:
            return
        if packet.attempt == 0:
            packet.clock_off_ms = nas.clock_off_ms
        if packet.attempt == 0 or nas.traits.resends_anew:
            nas.identifier = (nas.identifier + 1) % 256
            attributes = [(40, STATUS[packet.status].to_bytes(4)), *packet.attributes]
            delay_s = (self.now() - packet.event_ms) // 1000
            if nas.traits.resends_anew and packet.attempt:
                attributes.append((41, delay_s.to_bytes(4)))
            if nas.traits.stamps:
                attributes.append((55, ((T0_MS + packet.event_ms + packet.clock_off_ms) // 1000).to_bytes(4)))
            packet.octets = build_accounting_request(identifier=nas.identifier, secret=SECRET, attributes=attributes)
        self._transmit(packet, packet.octets)
        packet.attempt += 1
        self._later(RESEND_MS + int(1_000 * luck(self._seed, packet.name, packet.attempt)), lambda: self._send(packet))

    # -- disconnects --------------------------------------------------------------------------------------------------------------

    def disconnect(self, nas: TrueNas, datagram: bytes) -> bytes | None:
        """What a NAS answers to a Disconnect-Request, and what it does about it."""
        if not nas.is_up or not nas.traits.answers:
            return None
        if datagram not in nas.replies:
            nas.replies[datagram] = self._carry_out(nas, datagram)
        return nas.replies[datagram]

    def _carry_out(self, nas: TrueNas, datagram: bytes) -> bytes | None:
        parsed = parse_disconnect_request(datagram, DISCONNECT_SECRET)
        assert not isinstance(parsed, RefusedRequest)
        session = nas.sessions.get(str(parsed[1].get("acct_session_id", "")))
        error_cause = None
        if session is None or session.mac != parsed[1].get("calling_station_id", session.mac):
            error_cause = 503
        elif luck(self._seed, session.uid, "obeys", parsed[0]) * 100 >= nas.traits.obeys:
            error_cause = 501 if luck(self._seed, session.uid, "how", parsed[0]) < 0.5 else None  # an ACK, and it stays
        else:
            self.leave(session, "kick")
        return build_disconnect_reply(datagram, DISCONNECT_SECRET, ack=error_cause is None, error_cause=error_cause)
