"""A story played: virtual time, the network between the true world and Curfew, and trouble.

A story that fails is made as short as it goes.
"""

from __future__ import annotations

import gc
import heapq
from collections import Counter
from collections.abc import Callable
from itertools import count
from random import Random
from typing import NamedTuple

from schemas.codec import decoder, encode
from schemas.journal import OperatorCommand, PolicyVersion
from schemas.policy import Limit, Liveness, Membership, Policy, Quota, Rate
from schemas.sighting import Probe, Sighting, Sightings
from streams.dispatcher import Datagram
from streams.ids import parse_decision_id
from streams.ingest_step import EVERY_PARTITION
from streams.partitioner import partition_of
from streams.step import Output
from tests.sim.checks import GRACE_MS, Broken, Checks
from tests.sim.group_checks import GroupChecks
from tests.sim.story import Event, Story
from tests.sim.system import GroupWorker, Stored, System, Worker
from tests.sim.world import T0_MS, Packet, TrueNas, World, luck

_probe = decoder(Probe).decode

SWEEP_MS = 60_000
BY_NAME = (Membership("User-Name", "^(?P<group>user[0-2])"), Membership("User-Name", "^(?P<group>us)"))
"""Some of those who come and go are in a group with nobody else, all of them in one."""
CHECKPOINT_MS = 30_000
TICKS_BETWEEN = 6
"""No sweep and no checkpoint comes after fewer ticks: without them nothing new is in the table."""
SHRINK_RUNS_MAX = 200
CUTS = 3
HEARTBEAT_INTERVALS = 8
"""So many of the longest interim interval pass in quiet after a story, for whatever is still under way."""


class Outcome(NamedTuple):
    """What became of a story.

    Attributes:
        broken: None if everything held. at_ms: until when it was played. records: in the journal. counts: of events and results.
    """

    broken: Broken | None
    at_ms: int
    records: int
    counts: Counter[str]


class Simulation:
    """One story being played."""

    def __init__(self, story: Story) -> None:
        self.now_ms = 0
        self._story = story
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._number = count()
        self._loss = story.loss
        self.world = World(story, lambda: self.now_ms, self.later, self._transmit)
        chance = Random(story.seed)
        self.system = System(
            story.nases,
            story.partitions,
            story.tick_ms,
            story.skew_ms,
            story.slots_ticks,
            now=lambda: self.now_ms,
            later=self.later,
            jitter=lambda: chance.uniform(-1, 1),
            request=self._request,
            query=self._query,
            applied=self._applied,
            group_applied=self._group_applied,
        )
        self.checks = Checks(story, self.world, self.system)
        self.group_checks = GroupChecks(self.system)
        self._sweep_ms = max(SWEEP_MS, TICKS_BETWEEN * story.tick_ms)
        self._checkpoint_ms = max(CHECKPOINT_MS, TICKS_BETWEEN * story.tick_ms)
        self._kicker_down = 0
        self._ingest_down = [0, 0]

    def _applied(self, worker: Worker, offset: int, stored: Stored, out: list[Output]) -> None:
        self.checks.applied(worker, offset, stored, out)
        self.group_checks.latest_ms = max(self.group_checks.latest_ms, worker.core.row.wall_ms)

    def _group_applied(self, worker: GroupWorker, offset: int, stored: Stored, out: list[Output]) -> None:
        self.group_checks.applied(worker, offset, stored, out)

    def later(self, delay_ms: int, do: Callable[[], None]) -> None:
        """Do it after so long."""
        heapq.heappush(self._heap, (self.now_ms + max(0, delay_ms), next(self._number), do))

    def play(self) -> Outcome:
        """Play it to its end and through the quiet after it."""
        story = self._story
        for event in story.events:
            self.later(event.at_ms, lambda event=event: self._happen(event))  # type: ignore[misc]
        self.later(self._sweep_ms, self._sweep)
        self.later(self._checkpoint_ms, self._checkpoint)
        try:
            self._run_until(story.length_ms)
            while any(
                (self.system.kafka_away, self._kicker_down, *self._ingest_down, *(w.down for w in self.system.workers), self._nas_away())
            ):
                self._run_until(self.now_ms + 10_000)
            self._loss = 0
            self._run_until(self.now_ms + HEARTBEAT_INTERVALS * 1000 * max(traits.interval_s for traits in story.nases))
            self.checks.at_the_end()
            self.group_checks.at_the_end()
            self._same_again(Random(story.seed))
        except Broken as broken:
            return self._outcome(broken)
        return self._outcome(None)

    def _same_again(self, chance: Random) -> None:
        """Play the journal and `group.slots` of some partitions again from their beginning, cut here and there."""
        system = self.system
        slot_cuts, cuts = (
            [[chance.randrange(len(records) or 1) for _ in range(CUTS)] for records in topic] for topic in (system.slots, system.journal)
        )
        for number in chance.sample(range(system.partitions), min(self._story.replayed, system.partitions)):
            self.group_checks.same_again(number, slot_cuts[number])
            self.checks.same_again(number, cuts[number])

    def _outcome(self, broken: Broken | None) -> Outcome:
        counts = self.checks.counts + Counter(f"story {event.what}" for event in self._story.events)
        return Outcome(broken, self.now_ms, sum(map(len, self.system.journal)), counts)

    def _run_until(self, until_ms: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until_ms:
            self.now_ms, _, do = heapq.heappop(heap)
            do()
        self.now_ms = until_ms

    def _sweep(self) -> None:
        if not self.system.kafka_away and not any(worker.down for worker in self.system.workers):
            self.checks.sweep(self.now_ms)
        self.later(self._sweep_ms, self._sweep)

    def _checkpoint(self) -> None:
        for worker in self.system.workers:
            if not worker.down and not self.system.kafka_away:
                worker.checkpoint()
                self.system.group_workers[worker.partition].checkpoint()
        self.later(self._checkpoint_ms, self._checkpoint)

    def _nas_away(self) -> bool:
        return any(not nas.is_up or self._is_cut_off(nas) for nas in self.world.nases)

    # -- the network --------------------------------------------------------------------------------------------------------------

    def _transmit(self, packet: Packet, octets: bytes) -> None:
        """A NAS sends an Accounting-Request: twice to its first ingest, twice to the other, and so on."""
        number = (packet.nas.traits.primary + packet.attempt // 2) % 2
        nas = packet.nas

        def answered(_answer: bytes) -> None:
            self._way((packet.name, packet.attempt, self.now_ms), nas, lambda: setattr(packet, "is_answered", True))

        self._way((packet.name, packet.attempt), nas, lambda: self.system.receive(number, packet, octets, answered))

    def _request(self, datagram: Datagram) -> None:
        nas = next(nas for nas in self.world.nases if nas.address == datagram.endpoint[0])
        dispatcher = self.system.dispatcher

        def arrive() -> None:
            answer = self.world.disconnect(nas, datagram.octets)
            if answer is not None:
                self._way((datagram.octets, self.now_ms, "answer"), nas, lambda: self.system.reply(datagram, answer, dispatcher))

        self._way((datagram.octets, self.now_ms), nas, arrive)

    def _query(self, output: Output) -> None:
        """The prober asks a NAS whether it talks; the partition that asks hears of the answer, and the NAS's home in any case."""
        probe, asked_ms = _probe(output.value), self.now_ms
        nas = next(nas for nas in self.world.nases if nas.traits.name == probe.nas)
        homes = {partition_of(probe.nas, self._story.partitions), parse_decision_id(probe.id).partition}

        def answered() -> None:
            if not self.system.kafka_away:
                sighting = Sighting(time_ms=probe.asked_ms + self.now_ms - asked_ms, by="prober", probe_id=probe.id, nas=probe.nas)
                for partition in homes:
                    self.system.append("sighting", partition, probe.nas.encode(), encode(Sightings(seen=[sighting])))

        def arrive() -> None:
            if nas.is_up and nas.traits.answers:
                self._way((probe.id, asked_ms, "answer"), nas, answered)

        self._way((probe.id, asked_ms), nas, arrive)

    def _way(self, datagram: tuple[object, ...], nas: TrueNas, arrive: Callable[[], None]) -> None:
        """A datagram's way: it may be lost, come late, or come twice."""
        seed = self._story.seed
        for copy in range(2 if luck(seed, datagram, "twice") < 0.05 else 1):
            if not self._is_cut_off(nas) and luck(seed, datagram, copy) * 100 >= self._loss:
                self.later(1 + int(luck(seed, datagram, copy, "way") ** 4 * self._story.delay_ms), arrive)

    def _is_cut_off(self, nas: TrueNas) -> bool:
        return self.now_ms < nas.away_until_ms

    # -- what happens -------------------------------------------------------------------------------------------------------------

    def _happen(self, event: Event) -> None:
        getattr(self, f"_on_{event.what}")(*event.arguments)
        self._listen()

    def _listen(self) -> None:
        """Say who can be heard now."""
        ingests = [ingest is not None for ingest in self.system.ingests]
        trouble = not all(ingests) or any(worker.down for worker in self.system.workers)
        for nas in self.world.nases:
            deaf = bool(self.system.kafka_away) or not any(ingests) or not nas.is_up or self._is_cut_off(nas)
            self.checks.deaf[nas.traits.name].is_so(deaf, self.now_ms)
            self.checks.disturbed[nas.traits.name].is_so(deaf or trouble, self.now_ms)

    def _then(self, delay_ms: int, do: Callable[[], None]) -> None:
        def both() -> None:
            do()
            self._listen()

        self.later(delay_ms, both)

    def _on_login(self, number: int, nas: int, user: str, device: int) -> None:
        self.world.login(number, self.world.nases[nas], user, device)

    def _on_logout(self, number: int) -> None:
        self.world.leave(self.world.session_of(number), "logout")

    def _on_vanish(self, number: int) -> None:
        self.world.leave(self.world.session_of(number), "vanish")

    def _on_reboot(self, number: int, down_ms: int) -> None:
        self.world.reboot(self.world.nases[number], down_ms)
        self._then(down_ms + 1, lambda: None)

    def _on_uplink(self, number: int, away_ms: int) -> None:
        nas = self.world.nases[number]
        nas.away_until_ms = max(nas.away_until_ms, self.now_ms + away_ms)
        self._then(away_ms, lambda: None)

    def _on_ingest(self, number: int, down_ms: int) -> None:
        self._ingest_down[number] += 1
        self.system.kill_ingest(number)

        def back() -> None:
            self._ingest_down[number] -= 1
            if not self._ingest_down[number]:
                self.system.start_ingest(number)

        self._then(down_ms, back)

    def _on_clock(self, number: int, by_ms: int) -> None:
        self.system.clock_off_ms[number] += by_ms

    def _on_nas_clock(self, number: int, by_ms: int) -> None:
        self.world.nases[number].clock_off_ms += by_ms

    def _on_kafka(self, away_ms: int) -> None:
        self.system.kafka_away += 1

        def back() -> None:
            self.system.kafka_away -= 1
            if not self.system.kafka_away:
                self.system.kafka_back()

        self._then(away_ms, back)

    def _on_worker(self, number: int, down_ms: int) -> None:
        worker = self.system.workers[number % self._story.partitions]
        worker.down += 1

        def back() -> None:
            worker.down -= 1
            if not worker.down:
                self.system.start_worker(worker.partition)

        self._then(down_ms, back)

    def _on_kicker(self, down_ms: int) -> None:
        self._kicker_down += 1
        self.system.kill_kicker()

        def back() -> None:
            self._kicker_down -= 1
            if not self._kicker_down:
                self.system.start_kicker()

        self._then(down_ms, back)

    def _on_policy(self, version: int, most: int, times: int, victim: str, probe: str = "none") -> None:
        max_sessions = (Limit("most", "user", most, victim=victim, hold_s=30),) if most else ()  # type: ignore[arg-type]
        rules = (Liveness("interim", times=times, probe=probe),) if times else ()  # type: ignore[arg-type]
        scope = ("user", "group")[version % 2]
        total = (Limit("total", "group", 2 * most, group="us*", victim=victim, victim_scope=scope, hold_s=30),) if most else ()  # type: ignore[arg-type]
        action = ("report", "disconnect")[version % 3 == 0]  # mostly nobody goes, or there would be nobody left for the limits
        quota = Quota("hourly", "group", "hour", time_s=1800, group="us*", action=action, warn_at=(50,))  # type: ignore[arg-type]
        rate = Rate("often", "group", starts=2 + most, within_s=600, group="us*", action=action)  # type: ignore[arg-type]
        policy = Policy(
            grace_s=GRACE_MS // 1000,
            confirm_within_s=60,
            limits=max_sessions + total,
            quotas=(quota,) if most else (),
            rates=(rate,) if most else (),
            liveness=rules,
            memberships=BY_NAME,
        )
        if not self.system.kafka_away:
            self.checks.policy_ms = self.now_ms
            value = encode(PolicyVersion(version=version, time_ms=T0_MS + self.now_ms, policy=policy))
            self.system.append("policy", EVERY_PARTITION, None, value)

    def _on_order(self, number: int) -> None:
        session = self.world.session_of(number)
        if session is None or self.system.kafka_away:
            return
        now_ms = T0_MS + self.now_ms
        order = OperatorCommand(
            id=f"order-{self.now_ms}",
            identity=session.user,
            nas=session.nas.traits.name,
            acct_session_id=session.session_id,
            time_ms=now_ms,
            expires_ms=now_ms + 60_000,
        )
        self.system.append("operator", partition_of(session.user, self._story.partitions), session.user.encode(), encode(order))


def play(story: Story) -> Outcome:
    """Play a story from its beginning. Its journal only grows: the search for garbage would look through all of it again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return Simulation(story).play()
    finally:
        if was_enabled:
            gc.enable()


def shortest(story: Story, law: str, runs_max: int = SHRINK_RUNS_MAX) -> Story:
    """Leave events out as long as the same law is broken: halves first, then ever smaller pieces, with so many attempts at most."""
    events, piece, runs = list(story.events), max(1, len(story.events) // 2), 0
    while runs < runs_max:
        begin, shorter = 0, False
        while begin < len(events) and runs < runs_max:
            fewer = events[:begin] + events[begin + piece :]
            runs += 1
            outcome = play(story._replace(events=tuple(fewer)))
            if outcome.broken is not None and outcome.broken.law == law:
                events, shorter = fewer, True
            else:
                begin += piece
        if piece == 1 and not shorter:
            break
        piece = max(1, piece // 2)
    return story._replace(events=tuple(events))
