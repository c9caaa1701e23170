"""Accounting over TLS (RFC 6614): connections of NASes, taken in, bounded, and fed to the ingest as if each were a socket of its own.

What lives here: listening, handshakes, connections and their bounds. What may not: what becomes of a packet (`agents.ingest`, which judges,
files and answers it by the same path as a datagram), which NAS a connection is from (`streams.radsec`), and where a packet ends
(`streams.radius.stream_framing`).

Theory of operation. A source that no NAS has is closed before its handshake. After it the connection gets a step of its own, which knows
the NASes that its certificate and address allow, and nothing else. At most `IN_FLIGHT_MAX` requests of a connection are unanswered: beyond
that it is not read, so that TCP holds the NAS back. A NAS does not send again on a connection that stands (RFC 6613 section 2.6.1); so
where the ingest gives a request up, its connection is closed, and the NAS sends it again on the next one. When a connection is gone, its
answers are dropped.

Memory: `radsec_connections` connections, each with `IN_FLIGHT_MAX` packets, a read and `UNSENT_OCTETS_MAX` of answers at most. Time:
handshakes, packets that were begun, and idle connections each have their end.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final

from agents import metrics
from agents.radsec_reverse import ReverseDoor
from agents.tls import server_context
from agents.udp import Address, CannotListenError, SampledLog
from schemas.configuration import RADSEC_SECRET, Configuration, Nas, endpoint
from streams.ingest_step import IngestStep
from streams.radius.disconnect import COA_ACK, COA_NAK, DISCONNECT_ACK, DISCONNECT_NAK
from streams.radius.framing import Malformed
from streams.radius.stream_framing import PacketStream
from streams.radsec import ENDING, SENTENCES, Ended, RadsecNases, names_of, refused_handshake

log = logging.getLogger(__name__)

HANDSHAKE_WITHIN_S = 10.0
PACKET_WITHIN_S = 10.0
SWEEP_S = 0.5
IN_FLIGHT_MAX: Final = 256
"""An Identifier has one octet (RFC 6613 section 2.6.5)."""
UNSENT_OCTETS_MAX: Final = 262_144
REPLIES: Final = (DISCONNECT_ACK, DISCONNECT_NAK, COA_ACK, COA_NAK)
"""What a NAS says to what it is asked on its own connection."""
BACKLOG: Final = 128
ACCEPTS_PER_WAKEUP_MAX: Final = 64
ACCEPT_AGAIN_S: Final = 1.0
"""After the system had no more file descriptors."""

Packets = list[tuple[bytes, Address]]
Take = Callable[["Connection", Packets], Counter[str]]
"""The ingest's: takes packets, and says how many got no answer, and why."""


class Radsec:
    """What listens for TLS, and the connections that stand.

    Attributes:
        addresses: where it listens, with the ports that the system chose.
    """

    def __init__(self, configuration: Configuration, number: int, step_of: Callable[[tuple[Nas, ...]], IngestStep]) -> None:
        """Bind the sockets; nobody is let in before `start`.

        Args:
            configuration: `[ingest]`, `[tls]` and the NASes.
            number: of all its connections among the ingest's sockets: a part of a duplicate's key.
            step_of: makes the step that judges what comes from these NASes.

        Raises:
            CurfewError: an address cannot be bound, or a certificate cannot be used.
        """
        self.number = number
        self.open: set[Connection] = set()
        self.take: Take = _not_yet
        self._step_of = step_of
        self._log = SampledLog()
        self._serial = 0
        self._serving: dict[asyncio.Task[None], Connection] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_stopped = True
        self._adopt(configuration)
        self._sockets: list[socket.socket] = []
        self._door: ReverseDoor | None = None
        try:
            if configuration.ingest.radsec_reverse is not None:
                self._door = ReverseDoor(configuration.ingest.radsec_reverse, self._last_heard_first)
            for listen in configuration.ingest.radsec:
                self._sockets.append(_listening(listen))
        except CannotListenError:
            self.close()
            raise
        self.addresses: list[Address] = [bound.getsockname() for bound in self._sockets]

    def start(self, take: Take) -> None:
        """Let NASes in, and hand over what they send."""
        self.take = take
        self._is_stopped = False
        if self._door is not None:
            self._door.start()
        for bound in self._sockets:
            asyncio.get_running_loop().add_reader(bound.fileno(), self._accept, bound)
        self._sweep()

    def stop(self) -> None:
        """Let nobody in, and read no more; what waits can still be answered."""
        self._is_stopped = True
        for bound in self._sockets:
            asyncio.get_running_loop().remove_reader(bound.fileno())
        for task, connection in self._serving.items():
            if not connection.is_made:
                task.cancel()
        for connection in self.open:
            connection.look()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def close(self) -> None:
        """Give the ports back, and end every connection."""
        if self._door is not None:
            self._door.close()
        for bound in self._sockets:
            bound.close()
        for connection in self.open:
            connection.drop()

    def reload(self, configuration: Configuration) -> None:
        """Take over NASes and certificates; connections that would not be let in any more end.

        Raises:
            CurfewError: a certificate cannot be used; then nothing is changed.
        """
        self._adopt(configuration)
        for connection in list(self.open):
            connection.identify()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing is to be read any more."""
        return self._is_stopped

    def step_for(self, source: str, names: frozenset[str]) -> tuple[frozenset[str], IngestStep | None]:
        """Which NASes show these names from there, and the step for them; None: nobody that we know."""
        nases = self._nases.of(source, names)
        return frozenset(nas.name for nas in nases), self._step_of(nases) if nases else None

    def ended(self, source: str, reason: str, shown: str = "") -> None:
        """Count a connection that was refused or ended, and say so, with measure."""
        metrics.RADSEC_ENDED.labels(reason).inc()
        if self._log.is_news(source, reason, asyncio.get_running_loop().time()):
            why = SENTENCES.get(reason, "a packet of it is not to be believed")
            log.warning("RADIUS over TLS with %s has ended: %s (%s)%s", source, reason, why, shown and f": {shown}")

    def _last_heard_first(self) -> list[Connection]:
        return sorted(self.open, key=lambda connection: -connection.heard_s)

    def _adopt(self, configuration: Configuration) -> None:
        """Raises CurfewError if a certificate cannot be used."""
        tls = configuration.tls
        self._context = server_context(tls.certfile, tls.keyfile, tls.cafile)
        self._nases = RadsecNases(configuration.nas, tls.secret or RADSEC_SECRET)
        self._connections_max = configuration.ingest.radsec_connections
        self.idle_s = configuration.ingest.radsec_idle_s

    def _accept(self, bound: socket.socket) -> None:
        """Take what stands at the door at one wake-up."""
        for _ in range(ACCEPTS_PER_WAKEUP_MAX):
            try:
                accepted, address = bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exhausted:
                log.warning("no more connections over TLS can be taken: %s; trying again", exhausted.strerror)
                loop = asyncio.get_running_loop()
                loop.remove_reader(bound.fileno())
                loop.call_later(ACCEPT_AGAIN_S, self._accept_again, bound)
                return
            source = str(address[0])
            refused = None
            if not self._nases.knows(source):
                refused = Ended.UNKNOWN_SOURCE
            elif len(self._serving) >= self._connections_max:
                refused = Ended.TOO_MANY
            if refused is not None:
                accepted.close()
                self.ended(source, refused)
                continue
            self._serial += 1
            # The serial keeps a duplicate's key apart from that of an earlier connection from the same port
            connection = Connection(self, (*address, self._serial))
            task = asyncio.create_task(self._serve(accepted, connection))
            self._serving[task] = connection
            task.add_done_callback(functools.partial(self._served, accepted))

    def _accept_again(self, bound: socket.socket) -> None:
        if not self._is_stopped:
            asyncio.get_running_loop().add_reader(bound.fileno(), self._accept, bound)

    def _served(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        if self._serving.pop(task) not in self.open:  # one that stands when we stop is to get its answers
            accepted.close()

    async def _serve(self, accepted: socket.socket, connection: Connection) -> None:
        """One connection: its handshake, and until its end."""
        accepted.setblocking(False)
        handshake = asyncio.get_running_loop().connect_accepted_socket(
            lambda: connection, accepted, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_WITHIN_S, ssl_shutdown_timeout=1.0
        )
        source = connection.source
        try:
            await handshake
            if not connection.is_made:
                raise ConnectionResetError("it closed the connection within the handshake")
            await connection.gone.wait()
        except ssl.SSLError as failed:
            self.ended(source, refused_handshake(failed.reason, getattr(failed, "verify_code", None)), failed.reason or "")
        except ConnectionAbortedError:  # asyncio's word for a handshake that took too long
            self.ended(source, Ended.HANDSHAKE_TIMEOUT)
        except OSError as failed:
            self.ended(source, Ended.HANDSHAKE, str(failed))

    def _sweep(self) -> None:
        """Look after connections on which nothing happens."""
        loop = asyncio.get_running_loop()
        for connection in list(self.open):
            connection.look_at_the_clock(loop.time())
        metrics.RADSEC_OPEN.set(len(self.open))
        self._sweeping = loop.call_later(SWEEP_S, self._sweep)


class Connection(asyncio.Protocol):
    """One connection of a NAS; to the ingest it is a socket with one sender.

    Attributes:
        number: that of `Radsec`. source: the address that it comes from. step: judges its packets.
        is_made: its handshake is done. heard_s: when anything came last. gone: set when it has ended.
    """

    def __init__(self, radsec: Radsec, address: Address) -> None:
        self.number = radsec.number
        self.step: IngestStep | None = None
        self.source = str(address[0])
        self.is_made = False
        self.gone = asyncio.Event()
        self._radsec = radsec
        self._address = address
        self._transport: asyncio.Transport | None = None
        self._stream = PacketStream()
        self._in_flight = 0
        self._unsent: list[bytes] = []
        self._names: frozenset[str] = frozenset()
        self._nases: frozenset[str] = frozenset()
        self._reverse: tuple[Callable[[bytes], None], Callable[[], None]] | None = None
        self.heard_s = self._whole_s = asyncio.get_running_loop().time()
        self._is_paused = False
        self._is_ending = False

    # -- asyncio's side ------------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done: an authority vouches for its certificate."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no Transport by name
        self.is_made = True
        self._radsec.open.add(self)
        self._names = names_of(transport.get_extra_info("peercert") or {})
        self.identify()
        self.look()

    def data_received(self, data: bytes) -> None:
        """What came next."""
        self.heard_s = asyncio.get_running_loop().time()
        if not self._stream.waiting_octets:
            self._whole_s = self.heard_s
        self._stream.feed(data)
        self._feed()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, whoever ended it."""
        self._radsec.open.discard(self)
        if not self._is_ending:
            self._is_ending = True
            if self._stream.waiting_octets and not self._is_paused:
                self._radsec.ended(self.source, Ended.TRUNCATED, str(exc or ""))
        self._transport = None
        self.gone.set()
        if self._reverse is not None:
            self._reverse[1]()

    # -- the ingest's side ---------------------------------------------------------------------------------------------------------------

    def sendto(self, answer: bytes, _: Address) -> None:
        """An answer, to be sent with others of this moment.

        Raises:
            ConnectionError: the connection is gone, and the answer with it.
        """
        if self._is_ending or self._transport is None:
            raise ConnectionError("the connection is gone")
        self._in_flight -= 1
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append(answer)

    def given_up(self) -> None:
        """A request of it will not be answered: the NAS sends it again on another connection only."""
        self._end(Ended.UNANSWERABLE)

    # -- what `Radsec` asks for ----------------------------------------------------------------------------------------------------------

    def identify(self) -> None:
        """Find out which NASes it may be from; from none, it ends."""
        self._nases, self.step = self._radsec.step_for(self.source, self._names)
        if self.step is None:
            self._end(Ended.NAME, ", ".join(sorted(self._names)))

    def look(self) -> None:
        """Read, or do not, as it stands now."""
        wanted = self._radsec.is_stopped or self._in_flight >= IN_FLIGHT_MAX
        if self._transport is not None and wanted != self._is_paused:
            self._is_paused = wanted
            (self._transport.pause_reading if wanted else self._transport.resume_reading)()

    def look_at_the_clock(self, now_s: float) -> None:
        """End it if it is idle, or does not finish what it began."""
        if self._is_paused or self._is_ending:
            return
        if self._stream.waiting_octets and now_s - self._whole_s > PACKET_WITHIN_S:
            self._end(Ended.SLOW_PACKET)
        elif not self._in_flight and now_s - self.heard_s > self._radsec.idle_s:
            self._end(Ended.IDLE)

    def drop(self) -> None:
        """End it at once and without a word."""
        self._is_ending = True
        if self._transport is not None:
            self._transport.abort()

    # -- the other direction (`agents.radsec_reverse`) -----------------------------------------------------------------------------------

    def is_of(self, nas: str) -> bool:
        """Whether this NAS speaks on it, and nobody asks it already."""
        return nas in self._nases and self._reverse is None and not self._is_ending

    def reverse(self, reply: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Have its replies, and its end, from now on."""
        self._reverse = (reply, end)

    def unreverse(self) -> None:
        """Have them no more."""
        self._reverse = None

    def request(self, packet: bytes) -> None:
        """Send the NAS a request."""
        if not self._is_ending and self._transport is not None:
            self._transport.write(packet)
            if self._transport.get_write_buffer_size() > UNSENT_OCTETS_MAX:
                self._end(Ended.NOT_READING)

    # -- inside --------------------------------------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        """Hand over as many whole packets as may be in flight, again where that made room at once."""
        while not self._is_ending and not self._radsec.is_stopped and self._in_flight < IN_FLIGHT_MAX and self._feed_some():
            pass
        self.look()

    def _feed_some(self) -> bool:
        """Hand over what may be in flight now.

        Returns:
            Whether there may be more.
        """
        packets: Packets = []
        packet: bytes | Malformed | None = None
        while self._in_flight + len(packets) < IN_FLIGHT_MAX:
            packet = self._stream.take()
            if packet is None or isinstance(packet, Malformed):
                break
            if self._reverse is not None and packet[0] in REPLIES:
                self._whole_s = self.heard_s
                self._reverse[0](packet)
            else:
                packets.append((packet, self._address))
        ending = packet.value if isinstance(packet, Malformed) else None
        if packets:
            self._whole_s = self.heard_s
            self._in_flight += len(packets)
            refused = self._radsec.take(self, packets)
            self._in_flight -= refused.total()
            ending = next((reason for reason in refused if reason in ENDING), ending)
        if ending is not None:
            self._end(ending)
        return packet is not None

    def _send(self) -> None:
        """Send what was answered since the last turn, and go on."""
        answers, self._unsent = b"".join(self._unsent), []
        if self._is_ending or self._transport is None:
            return
        self._transport.write(answers)
        if self._transport.get_write_buffer_size() > UNSENT_OCTETS_MAX:
            self._end(Ended.NOT_READING)
        elif self._stream.waiting_octets or self._is_paused:
            self._feed()

    def _end(self, reason: str, shown: str = "") -> None:
        if not self._is_ending:
            self._radsec.ended(self.source, reason, shown)
            self.drop()


def _listening(listen: str) -> socket.socket:
    """A socket that several processes may share.

    Raises:
        CannotListenError: it cannot be bound; the text names the remedy.
    """
    address, port = endpoint(listen)
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        remedy = "Give [ingest] radsec an address of this machine and a port that is free, or run with the right to bind it."
        raise CannotListenError(f"Accounting over TLS cannot be received at {listen}: {error.strerror}. {remedy}") from error
    return bound


def _not_yet(_: Connection, packets: Packets) -> Counter[str]:
    raise RuntimeError(f"{len(packets)} packets before the start")
