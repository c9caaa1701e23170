"""What must hold, whatever happens: Curfew's outputs and rows held against the true world, at each journal record and at the end.

Law of this file: it knows the truth and the journal, and reads of Curfew only what others could read too (outputs, rows). Nothing here is
more lenient than its comment says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NoReturn

from schemas.codec import decoder
from schemas.disconnect import COMMAND_KIND, DisconnectCommand, DisconnectResult
from schemas.event import SessionEvent
from schemas.session import SESSION_ROW, SessionRow
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, PROBES, SLOTS, session_key
from streams import claims, clock, limits, liveness
from streams.ids import parse_decision_id
from streams.sameness import TOLERANCE_MS
from streams.session_core import SessionCore
from streams.step import Output
from tests.sim.story import TWO_DAYS_MS, Story
from tests.sim.system import Stored, System, Worker
from tests.sim.world import WORD, TrueSession, World

_event = decoder(SessionEvent).decode
_command = decoder(DisconnectCommand).decode
_result = decoder(DisconnectResult).decode

CAP_TICKS = 8
"""Each time that nobody listens, so many ticks of it may count all the same: the cap of a difference, and what is dated between ticks."""
GRACE_MS = 600_000
SETTLED_MS = 150_000
"""A command that is older has its final result, and a session that is older has been heard of."""
Place = tuple[int, str]


class Broken(AssertionError):  # noqa: N818 - it says what is broken
    """An invariant does not hold. `law` is its name; the message is for people."""

    def __init__(self, law: str, text: str) -> None:
        super().__init__(law, text)  # both, so that it comes whole from another process
        self.law = law

    def __str__(self) -> str:
        return "{}: {}".format(*self.args)


class Spans:
    """Spans of true time in which something was so."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []
        self._since_ms: int | None = None

    def is_so(self, so: bool, now_ms: int) -> None:
        """From now on it is so, or not."""
        if so and self._since_ms is None:
            self._since_ms = now_ms
        elif not so and self._since_ms is not None:
            self._spans.append((self._since_ms, now_ms))
            self._since_ms = None

    def not_since_ms(self) -> int | None:
        """Since when it has not been so; None: it is."""
        if self._since_ms is not None:
            return None
        return self._spans[-1][1] if self._spans else 0

    def within(self, begin_ms: int, end_ms: int, forgiven_ms: int) -> int:
        """For how long it was so in a time, where so much of each span is forgiven."""
        spans = [*self._spans, *([(self._since_ms, end_ms)] if self._since_ms is not None else [])]
        return sum(max(0, min(end, end_ms) - max(begin, begin_ms) - forgiven_ms) for begin, end in spans)


class Checks:
    """The laws. `applied` is called for each journal record, `sweep` now and then, `at_the_end` once all is well and quiet again.

    Attributes:
        counts: of events by type and results by outcome, to see that a story was one.
        deaf: when each NAS could not be heard at all. disturbed: when anything was wrong that it needs. policy_ms: of the last change.
    """

    def __init__(self, story: Story, world: World, system: System) -> None:
        self._story = story
        self._world = world
        self._system = system
        self.outputs: list[list[list[Output]]] = [[] for _ in range(story.partitions)]
        self.counts: Counter[str] = Counter()
        self.deaf = {nas.traits.name: Spans() for nas in world.nases}
        self.disturbed = {nas.traits.name: Spans() for nas in world.nases}
        self.policy_ms = 0
        self._traits = {traits.name: traits for traits in story.nases}
        self._uids: dict[Place, str] = {}
        self._usage: dict[Place, tuple[str, int, int, int]] = {}
        self._closed: dict[Place, tuple[int, int]] = {}
        self._seqs: dict[tuple[int, str, int], int] = defaultdict(int)
        self._ids: set[str] = set()
        self._stopped: dict[str, int] = {}
        self._boots: set[tuple[int, str]] = set()
        self._heard_ms: dict[tuple[str, int | None], int] = {}
        self._silent_from_ms: dict[tuple[str, int | None], int] = {}
        self._ordered: dict[str, tuple[str, int]] = {}
        self._in_flight: dict[Place, str] = {}

    # -- at each record -----------------------------------------------------------------------------------------------------------

    def applied(self, worker: Worker, offset: int, stored: Stored, out: list[Output]) -> None:
        """A record was applied, for the first time or again."""
        known = self.outputs[worker.partition]
        if offset < len(known):
            if known[offset] != out:
                _broken("same-again", f"record {offset} of partition {worker.partition} gave other outputs to the worker that came after")
            return
        known.append(out)
        if stored.kind == "tick" and not out:
            return
        session = stored.packet.session if stored.packet is not None else None
        if stored.kind == "result":
            self._take_result(_result(stored.value))
        for output in out:
            self._output(worker, stored, output)
        if session is not None:
            self._session(worker, stored, session)
        elif stored.packet is not None:
            self._boots.add((worker.partition, stored.packet.name))

    def _output(self, worker: Worker, stored: Stored, output: Output) -> None:
        if output.topic == EVENTS.name:
            self._take_event(worker, stored, _event(output.value))
        elif output.topic == COMMANDS.name:
            if output.kind == COMMAND_KIND:
                self._take_command(_command(output.value))
        elif output.topic == PROBES.name:
            self.counts["query"] += 1
        elif output.topic not in (ACCOUNTING.name, SLOTS.name):
            _broken("nothing-rejected", output.value.decode())

    def _take_event(self, worker: Worker, stored: Stored, event: SessionEvent) -> None:
        self.counts[event.type] += 1
        if event.id in self._ids:
            _broken("ids", f"{event.id} was given twice")
        self._ids.add(event.id)
        count = (worker.partition, event.identity or f"nas {event.nas}", event.seq_epoch)
        self._seqs[count] += 1
        if event.seq != self._seqs[count]:
            _broken("sequence", f"{event.type} of {count} has {event.seq}, after {self._seqs[count] - 1}")
        if event.type == "session.moved":
            self._moved(worker, event)
        if event.type == "session.ended":
            uid = self._uids.get((worker.partition, session_key(event.nas, str(event.acct_session_id))))
            if uid is None:
                uid = stored.packet.session.uid if stored.packet is not None and stored.packet.session is not None else None
            if uid is None:
                _broken("unknown", f"{event} is of no session")
            self._ended(worker, stored, event, self._world.sessions[uid])

    def _moved(self, worker: Worker, event: SessionEvent) -> None:
        """Only who has another name by now has moved, or who ended while his Acct-Session-Id was given to another."""
        uid = self._uids.get((worker.partition, session_key(event.nas, str(event.acct_session_id))))
        session = None if uid is None else self._world.sessions[uid]
        if session is None or (session.ended_ms is None and len(set(session.names)) == 1):
            _broken("identity", f"{uid} is said to have moved from {event.identity}, and its name does not change")

    def _ended(self, worker: Worker, stored: Stored, event: SessionEvent, session: TrueSession) -> None:
        if event.said_by != "stale":
            told_late = event.said_by == "nas-reboot" and self._is_told_late(worker.partition, stored, session)
            told_late = told_late or (event.said_by == "superseded" and _is_overtaken(stored, session))
            if not told_late and (session.ended_ms is None or session.ended_ms > stored.at_ms):
                _broken("live-ended", f"{session.uid} runs, and is called ended by {event.said_by} (record {worker.core.next_offset - 1})")
            return
        rule = liveness.rule_for(worker.core.policy.policy, event.nas)
        if rule is None:
            _broken("stale-without-rule", f"{session.uid}")
        traits = self._traits[event.nas]
        # Who was replaced at his port is ended by his own partition, which tells no other: a shadow of his dies of its own silence.
        heard_ms = self._silent_from_ms[session.uid, worker.partition if session.ended_by == "replaced" else None]
        forgiven_ms = self._window_ms(event.nas) + CAP_TICKS * self._story.tick_ms
        silent_ms = stored.at_ms - heard_ms
        deaf_ms = self.deaf[event.nas].within(heard_ms, stored.at_ms, forgiven_ms)
        least_ms = rule.times * traits.interval_s * 1000 - 2 * self._story.tick_ms
        if silent_ms - deaf_ms < least_ms:
            alive = "runs" if session.ended_ms is None else f"has ended by {session.ended_by}"
            text = f"{session.uid} ({alive}) is called stale at {stored.at_ms}, last journaled at {heard_ms}, not heard for {deaf_ms} of it"
            _broken("stale-too-early", f"{text}; {rule.times} times {traits.interval_s} s, {event.text}")

    def _is_told_late(self, partition: int, stored: Stored, session: TrueSession) -> bool:
        """A boot that the journal hears of for the first time (or again, behind a later one), after a session that began since.

        Where the NAS has no clock that is believed the journal's order decides (`streams.boots`). The session's Interims must open it
        again: `live-missing` asks for it.
        """
        packet = stored.packet
        if packet is None or ((partition, packet.name) in self._boots and packet.boot == packet.nas.boot):
            return False
        return not _is_believed(session)

    def _take_command(self, command: DisconnectCommand) -> None:
        self.counts["command"] += 1
        uid, partition = str(command.session["class"]), parse_decision_id(command.id).partition
        if command.id in self._ordered:
            _broken("command-ids", f"{command.id} was given twice")
        if command.reason != "stale" and self._stopped.get(uid) == partition:
            _broken("command-for-ended", f"{uid} is to go for {command.reason}, and its Stop stands before that in the journal")
        if (partition, uid) in self._in_flight:
            _broken("one-in-flight", f"{uid} has {self._in_flight[partition, uid]} in flight, and gets {command.id}")
        self._ordered[command.id] = (uid, self._world.now())
        self._in_flight[partition, uid] = command.id

    def _take_result(self, result: DisconnectResult) -> None:
        self.counts[f"result {result.outcome}"] += 1
        uid, _ = self._ordered[result.command_id]
        if result.final:
            partition = parse_decision_id(result.command_id).partition
            if self._in_flight.get((partition, uid)) != result.command_id:
                _broken("one-final-result", f"{result.command_id} of {uid} has a second final result: {result.outcome}")
            del self._in_flight[partition, uid]

    def _counted_from_ms(self, stored: Stored) -> int:
        """From when on silence may count: of an outage in which the record waited at an ingest, what the next tick's cap lets through."""
        assert stored.packet is not None
        return max(stored.packet.event_ms, stored.at_ms - clock.CAP_TICKS * self._story.tick_ms)

    def _session(self, worker: Worker, stored: Stored, session: TrueSession) -> None:
        """After a record about a session: usage never falls, is never more than the truth, and exact once the Stop is in."""
        assert stored.packet is not None
        self._heard_ms[session.uid, None] = self._heard_ms[session.uid, worker.partition] = stored.at_ms
        self._silent_from_ms[session.uid, None] = self._silent_from_ms[session.uid, worker.partition] = self._counted_from_ms(stored)
        if stored.packet.status == "Stop":
            self._stopped.setdefault(session.uid, worker.partition)
        key = session_key(session.nas.traits.name, session.session_id)
        packed = worker.core.table.rows.get(key)
        if packed is None:
            return
        row = SESSION_ROW.unpacked(packed)
        place = (worker.partition, key)
        uid = str(row.class_)
        self._uids[place] = uid
        usage = (uid, row.session_time_s or 0, row.input_octets or 0, row.output_octets or 0)
        if self._is_out_of_grace(place, row, stored.at_ms):
            self._usage.pop(place, None)
            if stored.packet.status != "Stop":
                self._stopped.pop(session.uid, None)
        was = self._usage.get(place)
        if was is not None and was[0] == uid and any(now < before for now, before in zip(usage[1:], was[1:], strict=True)):
            _broken("usage-falls", f"{uid}: {was[1:]}, then {usage[1:]}")
        self._usage[place] = usage
        if uid == session.uid:
            self._exact(worker, row, session, stored)

    def _is_out_of_grace(self, place: Place, row: SessionRow, at_ms: int) -> bool:
        """The row was purged since: a NAS that keeps its records for longer than the grace has sent an old one again."""
        opened_offset, closed_at_ms = self._closed.get(place, (row.opened_offset, at_ms))
        is_another = opened_offset != row.opened_offset
        if row.state == "ended":
            self._closed[place] = (row.opened_offset, at_ms if is_another else closed_at_ms)
        elif is_another:
            del self._closed[place]
        return is_another and at_ms - closed_at_ms > GRACE_MS

    def _exact(self, worker: Worker, row: SessionRow, session: TrueSession, stored: Stored) -> None:
        truth = session.usage(stored.at_ms if session.ended_ms is None else session.ended_ms)
        said = (row.session_time_s or 0, row.input_octets or 0, row.output_octets or 0)
        if any(one > true for one, true in zip(said, truth, strict=True)):
            _broken("usage-too-much", f"{session.uid}: {said}, and in truth {truth}")
        if self._stopped.get(session.uid) != worker.partition:
            return
        if row.state != "ended":
            _broken("open-after-stop", f"{session.uid} is open, and its Stop is in the journal")
        word = 1 << 64 if session.nas.traits.gigawords else WORD
        if said[0] != truth[0] or any(one % word != true % word for one, true in zip(said[1:], truth[1:], strict=True)):
            _broken("usage-inexact", f"{session.uid}: {said} after its Stop, and in truth {truth}")

    # -- now and then -------------------------------------------------------------------------------------------------------------

    def sweep(self, now_ms: int, *, quiet: bool = False) -> None:
        """No session that is open is there twice; and whoever vanished is found in time, where its NAS was heard all the while.

        Args:
            now_ms: the true time.
            quiet: so long has nothing happened that no partition has a question to the others any more.
        """
        seen: dict[str, tuple[Place, SessionRow]] = {}
        for worker in self._system.workers:
            for key, packed in worker.core.table.rows.items():
                row = SESSION_ROW.unpacked(packed)
                uid, place = str(row.class_), (worker.partition, key)
                if quiet and claims.is_open_question(row):
                    _broken("asks-for-ever", f"{place} is still being asked about")
                if row.said_by in ("moved", "superseded"):
                    continue  # its shadow
                known = seen.setdefault(uid, (place, row))
                if known[1] is not row:
                    self._twice(uid, known, (place, row))
                if row.state != "ended" and not self._world.is_alive(uid):
                    self._dead(worker, row, self._world.sessions[uid], now_ms)

    def _twice(self, uid: str, *found: tuple[Place, SessionRow]) -> None:
        """One session in two partitions: while one of them asks, where both have ended, or where the journal holds the Start behind what
        came after it (whose question was answered before), or Start and Interims behind the Stop: that one asks when it has been silent for
        too long."""
        if any(claims.is_open_question(row) for _, row in found) or all(row.state == "ended" for _, row in found):
            return
        journaled = [(self._system.journal[place[0]][row.opened_offset].at_ms, row) for place, row in found]
        late_ms, late = max(journaled, key=lambda one: (one[0], one[1].opened_by == "Start"))
        has_more = late.interims and not any(row.state == "ended" for _, row in found)
        if late.opened_by != "Start" or has_more or late_ms < min(journaled, key=lambda one: one[0])[0]:
            _broken("twice", f"{uid} is in {found[0][0]} and in {found[1][0]}")

    def _dead(self, worker: Worker, row: SessionRow, session: TrueSession, now_ms: int) -> None:
        """N times T, and then: T until the NAS is heard again, T until it is heard for the first time after a silence, and a minute.

        An ingest that is no more is followed until it missed `clock.TAKEOVER_TICKS`: once for the partition's clock, once for the NAS's.
        """
        traits = session.nas.traits
        heard_since_ms = self.disturbed[row.nas].not_since_ms()
        rule = liveness.rule_for(worker.core.policy.policy, row.nas)
        interval_s = row.interim_interval_s or row.observed_s
        # Whose interval is only observed is followed by the general talk window: a longer interval breaks that again and again.
        if not traits.told or self._story.loss > 2 or heard_since_ms is None or rule is None or interval_s is None:
            return
        keepers_ms = [other.started_ms for other in session.nas.sessions.values() if other.user.startswith("stays")]
        if not keepers_ms:
            return
        settled_ms = heard_since_ms + (2 * clock.TAKEOVER_TICKS * self._story.tick_ms if heard_since_ms else 0)
        since_ms = max(self._heard_ms[session.uid, None], settled_ms, self.policy_ms, *keepers_ms)
        bound_ms = (rule.times * interval_s + 2 * traits.interval_s + 60) * 1000
        if now_ms - since_ms > bound_ms:
            last_ms = self._heard_ms[session.uid, None]
            text = f"{session.uid} has ended by {session.ended_by} at {session.ended_ms}, was journaled last at {last_ms}"
            _broken("dead-not-found", f"{text}, and is open at {now_ms}; {row.nas} has been heard since {heard_since_ms}")

    def _window_ms(self, nas: str) -> int:
        traits = self._traits[nas]
        learned_ms = round(traits.interval_s * 1100)  # where it is not told, from what the NAS sends, and 60 s until then
        return learned_ms if traits.told else max(60_000, learned_ms)

    # -- at the end ---------------------------------------------------------------------------------------------------------------

    def at_the_end(self) -> None:
        """All is well again and has been for long enough: the table is the truth, and nothing is under way."""
        self.sweep(self._world.now(), quiet=True)
        long_ago_ms = self._world.now() - SETTLED_MS
        old = {command_id for command_id, (_, at_ms) in self._ordered.items() if at_ms < long_ago_ms}
        open_uids: set[str] = set()
        for worker in self._system.workers:
            for packed in worker.core.table.rows.values():
                row = SESSION_ROW.unpacked(packed)
                if row.state != "ended":
                    open_uids.add(str(row.class_))
                if row.kick_state in limits.IN_FLIGHT and row.kick_id in old:
                    _broken("kick-for-ever", f"{row.class_} has {row.kick_id} under way ({row.kick_state}) after all is quiet")
        alive = {session.uid for session in self._world.sessions.values() if session.ended_ms is None and session.started_ms < long_ago_ms}
        if missing := alive - open_uids:
            _broken("live-missing", f"{sorted(missing)} run and report, and are not open in the table")
        finals = Counter(result.command_id for results in self._system.results for result in results if result.final)
        if wrong := [command_id for command_id in self._ordered if finals[command_id] != 1 and (finals[command_id] or command_id in old)]:
            _broken("one-final-result", f"{[(one, self._ordered[one], finals[one]) for one in wrong]}")

    def same_again(self, partition: int, cuts: list[int]) -> None:
        """A partition's journal from its first record, cut at these offsets, gives the same outputs and the same rows."""
        outputs = self.outputs[partition]
        replayed = Worker(partition, self._story.partitions)
        for offset, stored in enumerate(self._system.journal[partition]):
            if offset in cuts:
                replayed.checkpoint()
                replayed.restore()
            out: list[Output] = []
            replayed.core.apply(offset, stored.kind, stored.key, stored.value, out)
            if out != outputs[offset]:
                _broken("same-again", f"record {offset} of partition {partition}, cut at {cuts}: {out} != {outputs[offset]}")
        if _all(replayed.core) != _all(self._system.workers[partition].core):
            _broken("same-rows", f"partition {partition}, cut at {cuts}")


def _all(core: SessionCore) -> dict[str, object]:
    """All that a core remembers, and what its indexes say."""
    table = core.table
    return {
        "rows": table.rows,
        "identities": table.identities,
        "nases": table.nases,
        "row": core.row,
        "policy": core.policy,
        "open_of": {identity: set(table.open_of.keys_of(identity)) for identity in table.open_of},
        "open_on": {nas: set(keys) for nas, keys in table.open_on.items()},
        "ended_of": table.ended_of,
        "open_count": table.open_count,
    }


def _is_overtaken(stored: Stored, session: TrueSession) -> bool:
    """The Start of a device's session before, sent again or late on its way without saying so, behind the Start of the one that runs.

    Nothing that is known tells which of two Starts was first where the NAS has no clock that is believed, so the last one to come stands
    (`streams.successors`). The session's Interims must open it again: `live-missing` asks for it.
    """
    packet = stored.packet
    if packet is None or packet.session is None or packet.status != "Start" or _is_believed(session):
        return False
    before = packet.session
    is_his = (before.nas, before.device, before.nas.traits.ports) == (session.nas, session.device, True)
    return is_his and 0 < session.started_ms - before.started_ms < TOLERANCE_MS


def _is_believed(session: TrueSession) -> bool:
    return session.nas.traits.stamps and session.nas.traits.clock_off_ms != TWO_DAYS_MS


def _broken(law: str, text: str) -> NoReturn:
    raise Broken(law, text)
