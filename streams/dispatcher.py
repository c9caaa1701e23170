"""The dispatcher: many kicks at once, each NAS with a queue and a budget of its own, from commands and replies to datagrams and results.

Law of this file: no socket, no Kafka, no clock. Octets, moments and jitter come in; `Datagram`, `DisconnectResult` and `Ignored` go out.
What a command goes through is decided in `kick`; here is who may send when, and to whom a reply belongs. The kicker and the tests drive the
same object.

Theory of operation: a command waits in its NAS's line until the line has less than `in_flight_per_nas` unanswered requests and an
Identifier is to be had; so a dead NAS fills its own line only. A reply belongs to the request with that source port, NAS address and
Identifier (RFC 5176 section 2.3), and only its authenticator makes it one. Timers are a heap; one that was replaced is left in it and
recognised by its time.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from itertools import count
from typing import NamedTuple

from schemas.codec import Text
from schemas.configuration import Nas
from schemas.disconnect import DisconnectCommand, DisconnectResult, SessionNotice
from streams.identifiers import IdentifierPool, Port
from streams.kick import Event, Input, Kick, Now, NoWay, Output, Report, Send, State, Timer, Wait, Way, begin, resume, session_id, step
from streams.profiles import Profile, SentAttribute, attribute_sets, session_alone
from streams.radius.disconnect import RefusedReply, build_disconnect, read_reply
from streams.retransmission import RFC5080, Schedule

LOOK_AGAIN_MS = 1_000
"""How long a line waits, at most, before it asks again for an Identifier."""
STALE_TIMERS_MAX = 1_024

Endpoint = tuple[str, int]
"""Address and port of a NAS, as a socket gives them."""


class Target(NamedTuple):
    """How a NAS is asked."""

    endpoint: Endpoint
    secret: bytes
    profile: Profile


class Datagram(NamedTuple):
    """Output: send these octets.

    Attributes:
        port: the source port's place in the pool. endpoint: whereto. octets: the packet.
        decided_ms: with a command's first transmission the log's time of the decision, else None.
    """

    port: int
    endpoint: Endpoint
    octets: bytes
    decided_ms: int | None


class Ignored(NamedTuple):
    """Output: a datagram that is no answer to a pending request, and why."""

    reason: str


Outputs = list[Datagram | DisconnectResult | Ignored]


def targets(nases: Iterable[Nas], profiles: Mapping[str, Profile]) -> dict[str, Target | NoWay]:
    """How each configured NAS is asked, by name, or why it cannot be (behaviour 5.7)."""
    return {nas.name: _target(nas, profiles) for nas in nases}


def _target(nas: Nas, profiles: Mapping[str, Profile]) -> Target | NoWay:
    way = nas.disconnect
    if way is None:
        return NoWay("no-secret", f"The configuration has no disconnect for {nas.name}.")
    if way.via == "none":
        return NoWay("unsupported", f"The configuration says that sessions of {nas.name} cannot be ended (via none).")
    if way.via != "radius":
        return NoWay("unsupported", f"Sessions of {nas.name} would have to be ended via {way.via}, which this version cannot do.")
    if not way.secret:
        return NoWay("no-secret", f"The configuration has no secret for disconnects at {nas.name}.")
    if way.address is None:
        return NoWay("unsupported", f"The configuration has no address for disconnects at {nas.name}.")
    profile = profiles.get(way.profile)
    if profile is None:
        return NoWay("unsupported", f"There is no profile {way.profile}, which {nas.name} is configured with.")
    return Target((str(ip_address(way.address)), way.port or profile.port), way.secret.encode(), profile)


class _Line:
    """One NAS: who waits for a turn there, and how many requests are unanswered."""

    __slots__ = ("in_flight", "target", "waiting", "wake_ms")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.waiting: OrderedDict[str, _Run] = OrderedDict()
        self.in_flight = 0
        self.wake_ms: float | None = None


class _Run:
    """One kick with what its requests need; without a line it only awaits its proof."""

    __slots__ = ("kick", "line", "octets", "port", "wake_ms")

    def __init__(self, kick: Kick, line: _Line | None) -> None:
        self.kick = kick
        self.line = line
        self.port: Port | None = None
        self.octets = b""
        self.wake_ms: float | None = None


class Dispatcher:
    """All kicks of one kicker. Every method that takes `now` gives back what is to be sent and reported."""

    def __init__(
        self,
        known: Mapping[str, Target | NoWay],
        *,
        ports: int,
        in_flight_per_nas: int,
        jitter: Callable[[], float],
        schedule: Schedule = RFC5080,
    ) -> None:
        """Begin with nothing to do.

        Args:
            known: what `targets` gave.
            ports: how many source ports there are.
            in_flight_per_nas: requests that one NAS may have unanswered.
            jitter: a number between -1 and 1, new at each call.
            schedule: of retransmissions.
        """
        self._known = known
        self._ports = ports
        self._in_flight_per_nas = in_flight_per_nas
        self._jitter = jitter
        self._schedule = schedule
        self._runs: dict[str, _Run] = {}
        self._by_session: dict[tuple[str, Text], _Run] = {}
        self._pending: dict[tuple[int, Endpoint, int], _Run] = {}
        self._lines: dict[str, _Line] = {}
        self._pools: dict[Endpoint, IdentifierPool] = {}
        self._to_serve: OrderedDict[_Line, None] = OrderedDict()
        self._timers: list[tuple[float, int, _Run | _Line]] = []
        self._timer_number = count()

    def change(self, known: Mapping[str, Target | NoWay], in_flight_per_nas: int) -> None:
        """The configuration was read anew: it holds for commands from now on, those in flight go on as they began."""
        self._known = known
        self._in_flight_per_nas = in_flight_per_nas
        self._lines = {}

    def command(
        self, command: DisconnectCommand, now: Now, acknowledged: DisconnectResult | None = None, early: SessionNotice | None = None
    ) -> Outputs:
        """A command was read that has no final result.

        Args:
            command: a repeat of one in flight is ignored.
            now: the moment.
            acknowledged: its result so far, if the NAS has acknowledged it before a restart.
            early: a notice about it that was read before it.
        """
        out: Outputs = []
        if command.id in self._runs:
            return out
        older = self._by_session.get(_session(command))
        if older is not None:
            self._step(older, Event(Input.REPLACED, now, word=command.id), out)
        if acknowledged is not None:
            kick, outputs = resume(command, acknowledged, now)
            run = _Run(kick, None)
        else:
            line, way = self._way(command)
            kick, outputs = begin(command, way, now, self._schedule)
            run = _Run(kick, line)
        self._runs[command.id] = run
        if session_id(command):
            self._by_session[_session(command)] = run
        self._carry_out(run, outputs, now, out)
        if early is not None:
            self._step(run, _notice_event(early, now), out)
        self._serve(now, out)
        return out

    def notice(self, notice: SessionNotice, now: Now) -> Outputs:
        """The journal says something about a session that is being kicked."""
        out: Outputs = []
        run = self._runs.get(notice.command_id)
        if run is not None:
            self._step(run, _notice_event(notice, now), out)
            self._serve(now, out)
        return out

    def datagram(self, port: int, source: Endpoint, octets: bytes, now: Now) -> Outputs:
        """A datagram came in on a source port of ours.

        An Event-Timestamp in it is not judged: the authenticator ties the reply to this one request, and NAS clocks lie.
        """
        run = self._pending.get((port, source, octets[1])) if len(octets) > 1 else None
        if run is None or run.line is None:
            return [Ignored("unexpected")]  # late, repeated, from elsewhere, or with an Identifier that nobody waits for
        reply = read_reply(octets, run.octets, run.line.target.secret)
        if isinstance(reply, RefusedReply):
            return [Ignored(str(reply))]
        out: Outputs = []
        answer = Input.ACK if reply.acknowledged else Input.NAK
        self._step(run, Event(answer, now, jitter=self._jitter(), error_cause=reply.error_cause), out)
        self._serve(now, out)
        return out

    def wake(self, now: Now) -> Outputs:
        """The time `next_wake_ms` has come."""
        out: Outputs = []
        while self._timers and self._timers[0][0] <= now.mono_ms:
            at_ms, _, whose = heapq.heappop(self._timers)
            if whose.wake_ms != at_ms:
                continue
            whose.wake_ms = None
            if isinstance(whose, _Line):
                self._to_serve[whose] = None
            else:
                self._step(whose, Event(Input.TIMER, now, jitter=self._jitter()), out)
        self._serve(now, out)
        return out

    def forget(self, command_id: str, now: Now) -> None:
        """The command is somebody else's from now on."""
        run = self._runs.get(command_id)
        if run is not None:
            self._release(run, now)
            self._drop(run)

    @property
    def next_wake_ms(self) -> float | None:
        """When `wake` wants to be called, on the monotonic clock."""
        while self._timers and self._timers[0][2].wake_ms != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def __contains__(self, command_id: str) -> bool:
        return command_id in self._runs

    def __len__(self) -> int:
        return len(self._runs)

    def _way(self, command: DisconnectCommand) -> tuple[_Line | None, Way | NoWay]:
        target = self._known.get(command.nas)
        if target is None:
            return None, NoWay("unknown-nas", f"No NAS of that name is configured: {command.nas}.")
        if isinstance(target, NoWay):
            return None, target
        sets = attribute_sets(target.profile, command.session)
        if not sets:
            wanted = " or ".join(" + ".join(attempt.require) for attempt in target.profile.attempt)
            return None, NoWay("unsupported", f"The session has no attribute that this NAS could know it by; its profile wants {wanted}.")
        line = self._lines.get(command.nas)
        if line is None:
            line = self._lines[command.nas] = _Line(target)
        return line, Way(sets, target.endpoint[1], session_alone(command.session))

    def _step(self, run: _Run, event: Event, out: Outputs) -> None:
        self._carry_out(run, step(run.kick, event), event.now, out)

    def _carry_out(self, run: _Run, outputs: Iterable[Output], now: Now, out: Outputs) -> None:
        """Do what the machine said, then give back what the new state needs no more."""
        if run.kick.state is not State.SENT:
            self._release(run, now)
        for output in outputs:
            match output:
                case Wait():
                    self._queue(run)
                case Send():
                    out.append(self._datagram(run, output.attributes, now, again=output.again))
                case Timer(at_ms):
                    self._set_timer(run, at_ms)
                case Report(result):
                    out.append(result)
        if run.kick.state is State.DONE:
            self._drop(run)

    def _queue(self, run: _Run) -> None:
        line = run.line
        if line is not None:
            line.waiting[run.kick.command.id] = run
            if run.kick.attempts:  # it has had its turn: the next attribute set goes before those that have sent nothing
                line.waiting.move_to_end(run.kick.command.id, last=False)
            self._to_serve[line] = None

    def _serve(self, now: Now, out: Outputs) -> None:
        """Give turns in every line where something has changed."""
        while self._to_serve:
            line, _ = self._to_serve.popitem(last=False)
            while line.waiting and line.in_flight < self._in_flight_per_nas:
                port = self._pool(line).take(now.mono_ms)
                if port is None:
                    self._set_timer(line, now.mono_ms + LOOK_AGAIN_MS)
                    break
                _, run = line.waiting.popitem(last=False)
                run.port = port
                line.in_flight += 1
                self._step(run, Event(Input.TURN, now, jitter=self._jitter(), identifier=port.identifier), out)

    def _pool(self, line: _Line) -> IdentifierPool:
        """The Identifiers towards a NAS's address and port; NASes behind one proxy share them."""
        endpoint = line.target.endpoint
        pool = self._pools.get(endpoint)
        if pool is None:
            pool = self._pools[endpoint] = IdentifierPool(self._ports)
        return pool

    def _datagram(self, run: _Run, attributes: Iterable[SentAttribute], now: Now, *, again: bool) -> Datagram:
        line, port = run.line, run.port
        if line is None or port is None:
            raise AssertionError(f"no turn was given to {run.kick.command.id}")
        target = line.target
        if not again:
            run.octets = build_disconnect(
                attributes=[(one.number, one.octets) for one in attributes],
                secret=target.secret,
                identifier=port.identifier,
                event_timestamp_s=now.wall_ms // 1000 if target.profile.event_timestamp else None,
                message_authenticator=target.profile.message_authenticator,
            )
            self._pending[port.place, target.endpoint, port.identifier] = run
        is_first = not again and len(run.kick.attempts) == 1
        return Datagram(port.place, target.endpoint, run.octets, run.kick.command.time_ms if is_first else None)

    def _release(self, run: _Run, now: Now) -> None:
        """Its request is over: the Identifier rests, the line has room, a place in the queue is given up."""
        line, port = run.line, run.port
        if line is None:
            return
        line.waiting.pop(run.kick.command.id, None)
        if port is not None:
            self._pending.pop((port.place, line.target.endpoint, port.identifier), None)
            self._pool(line).give_back(port, now.mono_ms)
            line.in_flight -= 1
            run.port = None
            run.octets = b""
            self._to_serve[line] = None

    def _drop(self, run: _Run) -> None:
        run.wake_ms = None
        self._runs.pop(run.kick.command.id, None)
        session = _session(run.kick.command)
        if self._by_session.get(session) is run:
            del self._by_session[session]

    def _set_timer(self, whose: _Run | _Line, at_ms: float) -> None:
        whose.wake_ms = at_ms
        heapq.heappush(self._timers, (at_ms, next(self._timer_number), whose))
        if len(self._timers) > 2 * (len(self._runs) + len(self._lines)) + STALE_TIMERS_MAX:
            self._timers = [entry for entry in self._timers if entry[2].wake_ms == entry[0]]
            heapq.heapify(self._timers)


def _notice_event(notice: SessionNotice, now: Now) -> Event:
    return Event(Input.ALIVE if notice.alive else Input.ENDED, now, word=notice.said_by or "")


def _session(command: DisconnectCommand) -> tuple[str, Text]:
    return command.nas, session_id(command)
