"""The dispatcher: many kicks at once, each NAS with a queue and a budget of its own, from commands and replies to datagrams and results.

Law of this file: no socket, no Kafka, no clock. Octets, moments and jitter come in; `Datagram`, `DisconnectResult` and `Ignored` go out.
What a command goes through is decided in `kick`; here is who may send when, and to whom a reply belongs. The kicker and the tests drive the
same object.

Theory of operation: a command waits in its NAS's line until the NAS's budget (`nas_budget`: in flight, pace, pauses) lets it through and an
Identifier is to be had; so a dead NAS fills its own line only. In a line the further requests of a command come before the first ones of
others, and those in the order of the topic. What a NAS was seen to accept (`learned`) is asked first. A reply belongs to the request with
that source port, NAS address and Identifier (RFC 5176 section 2.3), and only its authenticator makes it one.

Timers are a heap, into which they are put when somebody asks for the next one. One that was replaced by a later one stays until its time
and is put in again only then; most kicks are over before, so a kick that takes its course costs one entry.

Bounds of a line: as many commands wait as the NAS may be sent in 300 s, 256 for each source port (RFC 5176 section 6.3), and
`SILENT_WAITING_MAX` while it answers nobody, fewer where many NASes do not (`SILENT_WAITING_ALL`). What comes on top ends at once
(`expired`, `unanswered`). Longer lines would end so later, and keep the commands for other NASes that stand behind them in the topic from
being read (`open_commands`).
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Mapping
from ipaddress import ip_address
from itertools import chain, count
from math import ceil
from typing import NamedTuple

import msgspec

from schemas.codec import Text
from schemas.configuration import Disconnect, Nas
from schemas.disconnect import DisconnectCommand, DisconnectResult, SessionNotice
from schemas.ways import WAYS_WITH_SECRET, WayAnswer
from streams import kick as kicks
from streams.identifiers import IDENTIFIERS, IdentifierPool, Port
from streams.kick import Event, Input, Kick, Now, NoWay, Output, Report, Send, State, Timer, Wait, Way, session_id, step
from streams.learned import Learned, preferred
from streams.nas_budget import NasBudget
from streams.profiles import Profile, Request, changes, requests, session_alone
from streams.radius.disconnect import COA_REQUEST, DISCONNECT_REQUEST, RefusedReply, build_disconnect, read_reply
from streams.retransmission import RFC5080, Schedule

TURNS_MS = 4.0
"""Lines that wait for their pace are served together, on multiples of this: one wake-up for many."""
LOOK_AGAIN_MS = 1_000
"""How long a line waits, at most, before it asks again for an Identifier."""
STALE_TIMERS_MAX = 1_024
SILENT_WAITING_MAX = 256
"""So many wait for a NAS that answers nobody."""
SILENT_WAITING_ALL = 10_000
"""So many wait for all such NASes together; a line gives way when its next request is given up, which is within a minute."""

Endpoint = tuple[str, int]
"""Address and port of a NAS, as a socket gives them."""


class Target(NamedTuple):
    """How a NAS is asked by RADIUS."""

    endpoint: Endpoint
    secret: bytes
    profile: Profile

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Target({self.endpoint})"


class WayTarget(NamedTuple):
    """A NAS that is asked by another way."""

    nas: Nas
    via: str


class Datagram(msgspec.Struct, frozen=True, gc=False):
    """Output: send these octets.

    Attributes:
        port: the source port's place in the pool. endpoint: whereto. octets: the packet.
        decided_ms: with a command's first transmission the log's time of the decision, else None.
    """

    port: int
    endpoint: Endpoint
    octets: bytes
    decided_ms: int | None


class Question(NamedTuple):
    """Output: ask by another way, and give the answer to `Dispatcher.way_answer`.

    Attributes:
        via: which way. nas: of whom. decided_ms: the log's time of the decision.
    """

    via: str
    nas: Nas
    command: DisconnectCommand
    decided_ms: int


class Ignored(NamedTuple):
    """Output: a datagram that is no answer to a pending request, and why."""

    reason: str


Outputs = list[Datagram | Question | DisconnectResult | Ignored]
Known = Mapping[str, Target | WayTarget | NoWay]
"""How each NAS is asked, by name."""


def targets(nases: Iterable[Nas], profiles: Mapping[str, Profile], ways: Container[str] = ()) -> dict[str, Target | WayTarget | NoWay]:
    """How each configured NAS is asked, by name, or why it cannot be (behaviour 5.7).

    Args:
        nases: as configured.
        profiles: by name.
        ways: the other ways that there are drivers for, by `via`.
    """
    return {nas.name: _target(nas, profiles, ways) for nas in nases}


def _target(nas: Nas, profiles: Mapping[str, Profile], ways: Container[str]) -> Target | WayTarget | NoWay:
    way = nas.disconnect
    if way is None:
        return NoWay("no-secret", f"The configuration has no disconnect for {nas.name}.")
    if way.via == "none":
        return NoWay("unsupported", f"The configuration says that sessions of {nas.name} cannot be ended (via none).")
    if way.via == "radius":
        return _radius_target(nas, way, profiles)
    if way.via not in ways:
        return NoWay("unsupported", f"Sessions of {nas.name} would have to be ended via {way.via}, which this version cannot do.")
    if way.via in WAYS_WITH_SECRET and not way.secret:
        return NoWay("no-secret", f"The configuration has no secret for disconnects at {nas.name}.")
    return WayTarget(nas, way.via)


def _radius_target(nas: Nas, way: Disconnect, profiles: Mapping[str, Profile]) -> Target | NoWay:
    if not way.secret:
        return NoWay("no-secret", f"The configuration has no secret for disconnects at {nas.name}.")
    if way.address is None:
        return NoWay("unsupported", f"The configuration has no address for disconnects at {nas.name}.")
    profile = profiles.get(way.profile)
    if profile is None:
        return NoWay("unsupported", f"There is no profile {way.profile}, which {nas.name} is configured with.")
    return Target((str(ip_address(way.address)), way.port or profile.port), way.secret.encode(), profile)


class _Line:
    """One NAS: who waits for a turn there, and how much it is asked."""

    __slots__ = ("budget", "heap_ms", "target", "waiting", "wake_ms")

    def __init__(self, target: Target | WayTarget, in_flight_max: int) -> None:
        self.target = target
        self.waiting: OrderedDict[str, _Run] = OrderedDict()
        self.budget = NasBudget(in_flight_max)
        self.wake_ms: float | None = None
        self.heap_ms: float | None = None


class _Run:
    """One kick with what its requests need; without a line it only awaits its proof.

    Attributes:
        began_ms: when the exchange in flight began; None: none is.
        wake_ms: when it wants to be woken. heap_ms: the first entry that it has among the timers.
    """

    __slots__ = ("began_ms", "heap_ms", "kick", "line", "octets", "port", "wake_ms")

    def __init__(self, kick: Kick, line: _Line | None) -> None:
        self.kick = kick
        self.line = line
        self.port: Port | None = None
        self.octets = b""
        self.began_ms: float | None = None
        self.wake_ms: float | None = None
        self.heap_ms: float | None = None


class Dispatcher:
    """All kicks of one kicker. Every method that takes `now` gives back what is to be sent and reported.

    Attributes:
        learned: what each NAS was seen to accept.
    """

    def __init__(
        self,
        known: Known,
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
        self.learned = Learned()
        self._runs: dict[str, _Run] = {}
        self._by_session: dict[tuple[str, Text], _Run] = {}
        self._pending: dict[tuple[int, Endpoint, int], _Run] = {}
        self._lines: dict[str, _Line] = {}
        self._pools: dict[Endpoint, IdentifierPool] = {}
        self._silent: set[_Line] = set()
        self._to_serve: OrderedDict[_Line, None] = OrderedDict()
        self._timers: list[tuple[float, int, _Run | _Line]] = []
        self._untimed: dict[_Run | _Line, None] = {}
        self._timer_number = count()

    def change(self, known: Known, in_flight_per_nas: int) -> None:
        """The configuration was read anew: it holds for commands from now on, those in flight go on as they began.

        A NAS of which nothing else is said keeps its line: how much it is asked, and whether it is silent, is its own.
        """
        self._known = known
        if in_flight_per_nas == self._in_flight_per_nas:
            self._lines = {name: line for name, line in self._lines.items() if known.get(name) == line.target}
        else:
            self._lines, self._in_flight_per_nas = {}, in_flight_per_nas
        self._silent.intersection_update(self._lines.values())

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
        session = command.nas, session_id(command)
        older = self._by_session.get(session)
        if older is not None:
            self._step(older, Event(Input.REPLACED, now, word=command.id), out)
        if acknowledged is not None:
            kick, outputs = kicks.resume(command, acknowledged, now)
            run = _Run(kick, None)
        else:
            line, way = self._way(command)
            kick, outputs = kicks.begin(command, way, now, self._schedule)
            run = _Run(kick, line)
        self._runs[command.id] = run
        if session[1]:
            self._by_session[session] = run
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
        if run is None or not isinstance(run.line, _Line) or not isinstance(run.line.target, Target):
            return [Ignored("unexpected")]  # late, repeated, from elsewhere, or with an Identifier that nobody waits for
        reply = read_reply(octets, run.octets, run.line.target.secret)
        if isinstance(reply, RefusedReply):
            return [Ignored(str(reply))]
        out: Outputs = []
        jitter = self._jitter()
        if not reply.acknowledged and kicks.follows(reply.error_cause) == "later":
            run.line.budget.overloaded(run.began_ms or now.mono_ms, now.mono_ms, jitter)
        else:
            run.line.budget.heard(now.mono_ms)
        self._silent.discard(run.line)
        self._step(run, Event(Input.ACK if reply.acknowledged else Input.NAK, now, jitter, error_cause=reply.error_cause), out)
        self._serve(now, out)
        return out

    def way_answer(self, command_id: str, answer: WayAnswer, now: Now) -> Outputs:
        """What came of a `Question`."""
        out: Outputs = []
        run = self._runs.get(command_id)
        if run is None or run.line is None:
            return out
        if answer.answer != "unanswered":
            run.line.budget.heard(now.mono_ms)
            self._silent.discard(run.line)
        elif run.began_ms is not None:
            self._note_silence(run, run.line, run.began_ms, now, out)
        self._step(run, Event(Input.WAY_ANSWER, now, answer=answer), out)
        self._serve(now, out)
        return out

    def wake(self, now: Now) -> Outputs:
        """The time `next_wake_ms` has come."""
        out: Outputs = []
        self._put_timers()
        while self._timers and self._timers[0][0] <= now.mono_ms:
            if not self._is_first_timer_true():
                continue
            whose = heapq.heappop(self._timers)[2]
            whose.wake_ms = whose.heap_ms = None
            if isinstance(whose, _Line):
                self._to_serve[whose] = None
            else:
                self._time_over(whose, now, out)
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
        self._put_timers()
        while self._timers and not self._is_first_timer_true():
            pass
        return self._timers[0][0] if self._timers else None

    @property
    def silent(self) -> int:
        """How many NASes answer nobody."""
        return len(self._silent)

    @property
    def _silent_waiting_max(self) -> int:
        return max(1, min(SILENT_WAITING_MAX, SILENT_WAITING_ALL // max(1, len(self._silent))))

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
        way = self._other_way(target, command) if isinstance(target, WayTarget) else self._radius_way(target, command)
        if isinstance(way, NoWay):
            return None, way
        line = self._lines.get(command.nas)
        if line is None:
            line = self._lines[command.nas] = _Line(target, self._in_flight_per_nas)
        return line, way

    def _other_way(self, target: WayTarget, command: DisconnectCommand) -> Way | NoWay:
        if command.coa:
            return NoWay("unsupported", f"What a session of {command.nas} may do cannot be changed via {target.via}.")
        return Way((Request(via=target.via),), 0)

    def _radius_way(self, target: Target, command: DisconnectCommand) -> Way | NoWay:
        profile = target.profile
        try:
            asked = changes(profile, command.session, command.coa) if command.coa else requests(profile, command.session)
        except ValueError as wrong:
            return NoWay("unsupported", f"The request cannot be sent: {wrong}.")
        if not asked:
            wanted = " or ".join(" + ".join(attempt.require) for attempt in profile.attempt)
            return NoWay("unsupported", f"The session has no attribute that this NAS could know it by; its profile wants {wanted}.")
        attributes = session_alone(command.session)
        if command.coa and attributes:
            attributes += tuple(one for one in asked[0].attributes if one.name in command.coa)
        alone = Request(attributes, COA_REQUEST if command.coa else DISCONNECT_REQUEST)
        if not command.coa:
            accepted = self.learned.accepted(command.nas)
            if accepted is not None:
                asked = preferred(asked, chain(map(kicks.without_nas, asked), (alone,)), accepted)
        return Way(asked, target.endpoint[1], alone)

    def _step(self, run: _Run, event: Event, out: Outputs) -> None:
        self._carry_out(run, step(run.kick, event), event.now, out)

    def _time_over(self, run: _Run, now: Now, out: Outputs) -> None:
        """Its timer: the exchange goes on, or it failed; or its turn did not come."""
        line, began_ms = run.line, run.began_ms
        silent = line is not None and line.budget.is_silent
        self._step(run, Event(Input.TIMER, now, self._jitter(), is_silent=silent), out)
        if line is not None and began_ms is not None and run.began_ms is None:
            self._note_silence(run, line, began_ms, now, out)

    def _note_silence(self, run: _Run, line: _Line, began_ms: float, now: Now, out: Outputs) -> None:
        """An exchange that began then was given up; where the NAS is silent, what waits beyond the bound ends, the last first."""
        line.budget.unanswered(began_ms, now.mono_ms, self._jitter())
        if not line.budget.is_silent:
            return
        if self._lines.get(run.kick.command.nas) is line:  # it is no former configuration's
            self._silent.add(line)
        while len(line.waiting) > self._silent_waiting_max:
            _, last = line.waiting.popitem()
            self._step(last, Event(Input.CROWDED, now, is_silent=True), out)

    def _carry_out(self, run: _Run, outputs: Iterable[Output], now: Now, out: Outputs) -> None:
        """Do what the machine said, then give back what the new state needs no more."""
        if run.kick.state is not State.SENT:
            self._release(run, now)
        for output in outputs:  # the class patterns of a `match` take three times as long
            if isinstance(output, Timer):
                self._set_timer(run, output.at_ms)
            elif isinstance(output, Report):
                self.learned.observe(output.result)
                out.append(output.result)
            elif isinstance(output, Send):
                out.append(self._datagram(run, output.request, now, again=output.again))
            elif isinstance(output, Wait):
                self._queue(run, now, out)
            else:
                out.append(self._question(run, output.via))
        if run.kick.state is State.DONE:
            self._drop(run)

    def _queue(self, run: _Run, now: Now, out: Outputs) -> None:
        line = run.line
        if line is None:
            return
        has_asked = bool(run.kick.attempts)
        bound = self._silent_waiting_max if line.budget.is_silent else IDENTIFIERS * self._ports
        if len(line.waiting) >= bound and not has_asked:
            self._step(run, Event(Input.CROWDED, now, is_silent=line.budget.is_silent), out)
            return
        line.waiting[run.kick.command.id] = run
        if has_asked:  # it has had its turn: the next request goes before those that have sent nothing
            line.waiting.move_to_end(run.kick.command.id, last=False)
        self._to_serve[line] = None

    def _serve(self, now: Now, out: Outputs) -> None:
        """Give turns in every line where something has changed."""
        while self._to_serve:
            line, _ = self._to_serve.popitem(last=False)
            budget = line.budget
            while line.waiting and budget.has_room():
                wait_ms = budget.wait_ms(now.mono_ms, self._jitter())
                port = self._take_port(line, now) if not wait_ms else None
                if wait_ms or (port is None and isinstance(line.target, Target)):
                    at_ms = ceil((now.mono_ms + (wait_ms or LOOK_AGAIN_MS)) / TURNS_MS) * TURNS_MS
                    if line.wake_ms is None or at_ms < line.wake_ms:
                        self._set_timer(line, at_ms)
                    break
                _, run = line.waiting.popitem(last=False)
                run.port = port
                run.began_ms = now.mono_ms
                budget.begin()
                identifier = 0 if port is None else port.identifier
                self._step(run, Event(Input.TURN, now, self._jitter(), identifier, is_silent=budget.is_silent), out)

    def _take_port(self, line: _Line, now: Now) -> Port | None:
        return self._pool(line.target.endpoint).take(now.mono_ms) if isinstance(line.target, Target) else None

    def _pool(self, endpoint: Endpoint) -> IdentifierPool:
        """The Identifiers towards a NAS's address and port; NASes behind one proxy share them."""
        pool = self._pools.get(endpoint)
        if pool is None:
            pool = self._pools[endpoint] = IdentifierPool(self._ports)
        return pool

    def _datagram(self, run: _Run, request: Request, now: Now, *, again: bool) -> Datagram:
        line, port = run.line, run.port
        if line is None or port is None or not isinstance(line.target, Target):
            raise AssertionError(f"no turn was given to {run.kick.command.id}")
        target = line.target
        if not again:
            run.octets = build_disconnect(
                attributes=[(one.number, one.octets) for one in request.attributes],
                secret=target.secret,
                identifier=port.identifier,
                event_timestamp_s=now.wall_ms // 1000 if target.profile.event_timestamp else None,
                code=request.code,
                message_authenticator=target.profile.message_authenticator,
            )
            self._pending[port.place, target.endpoint, port.identifier] = run
        is_first = not again and len(run.kick.attempts) == 1
        return Datagram(port.place, target.endpoint, run.octets, run.kick.command.time_ms if is_first else None)

    def _question(self, run: _Run, via: str) -> Question:
        if run.line is None or not isinstance(run.line.target, WayTarget):
            raise AssertionError(f"{run.kick.command.id} has no other way")
        return Question(via, run.line.target.nas, run.kick.command, run.kick.command.time_ms)

    def _release(self, run: _Run, now: Now) -> None:
        """Its request is over: the Identifier rests, the line has room, a place in the queue is given up."""
        line, port = run.line, run.port
        if line is None:
            return
        line.waiting.pop(run.kick.command.id, None)
        if run.began_ms is not None:
            line.budget.end()
            run.began_ms = None
            run.octets = b""
            self._to_serve[line] = None
        if port is not None and isinstance(line.target, Target):
            self._pending.pop((port.place, line.target.endpoint, port.identifier), None)
            self._pool(line.target.endpoint).give_back(port, now.mono_ms)
            run.port = None

    def _drop(self, run: _Run) -> None:
        run.wake_ms = None
        self._untimed.pop(run, None)
        command = run.kick.command
        self._runs.pop(command.id, None)
        session = command.nas, run.kick.session_id
        if self._by_session.get(session) is run:
            del self._by_session[session]

    def _set_timer(self, whose: _Run | _Line, at_ms: float) -> None:
        whose.wake_ms = at_ms
        self._untimed[whose] = None

    def _put_timers(self) -> None:
        """Those that were set since the last time, where no earlier entry is in their place."""
        for whose in self._untimed:
            at_ms, heap_ms = whose.wake_ms, whose.heap_ms
            if at_ms is not None and (heap_ms is None or at_ms < heap_ms):
                whose.heap_ms = at_ms
                heapq.heappush(self._timers, (at_ms, next(self._timer_number), whose))
        self._untimed.clear()
        if len(self._timers) > 2 * (len(self._runs) + len(self._lines)) + STALE_TIMERS_MAX:
            self._timers = [entry for entry in self._timers if entry[2].wake_ms is not None and entry[2].heap_ms == entry[0]]
            heapq.heapify(self._timers)

    def _is_first_timer_true(self) -> bool:
        """Whether somebody wants to be woken by it; if not, it is out of the way now."""
        at_ms, _, whose = self._timers[0]
        if whose.heap_ms == at_ms == whose.wake_ms:
            return True
        if whose.heap_ms != at_ms or whose.wake_ms is None:
            heapq.heappop(self._timers)
            if whose.heap_ms == at_ms:
                whose.heap_ms = None
        else:
            whose.heap_ms = whose.wake_ms
            heapq.heapreplace(self._timers, (whose.wake_ms, next(self._timer_number), whose))
        return False


def _notice_event(notice: SessionNotice, now: Now) -> Event:
    return Event(Input.ALIVE if notice.alive else Input.ENDED, now, word=notice.said_by or "")
