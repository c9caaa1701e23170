"""Curfew without sockets and Kafka: the same pure parts as the agents wire, in virtual time, each of which can be away.

Law of this file: what an agent does around the pure code is done here in the same order (what waits while Kafka is away, what is lost with
a process, from where a restored one goes on), and no decision is made. A topic is a list for each partition; an append is durable at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec

from schemas.codec import encode
from schemas.configuration import Disconnect, Identity, Nas
from schemas.disconnect import DisconnectCommand, DisconnectResult, SessionNotice
from schemas.topics import ACCOUNTING, COMMANDS, PROBES, SLOTS, Topic
from streams.dispatcher import Datagram, Dispatcher, Outputs, targets
from streams.duplicates import Duplicates, Key
from streams.group_core import GroupCore
from streams.ingest_step import EVERY_PARTITION, IngestStep
from streams.kick import Now
from streams.kick_records import read_record
from streams.open_commands import CommitPoint, OpenCommands, read_from
from streams.partitioner import partition_of
from streams.profiles import packaged
from streams.radius.respond import accounting_response
from streams.session_core import SessionCore
from streams.step import Output
from streams.talking import Talking
from tests.sim.story import NasTraits
from tests.sim.world import DISCONNECT_SECRET, SECRET, T0_MS, Packet

ANSWER_KEPT_MS = 15_000
TALK_WINDOW_MS = 60_000
COMMIT_MS = 5_000


class Stored(NamedTuple):
    """A journal record, with what nobody but the simulation knows: when it was appended, and which packet it came from."""

    kind: str
    key: bytes | None
    value: bytes
    at_ms: int
    packet: Packet | None


def configured(traits: NasTraits, number: int) -> Nas:
    """How `curfew.toml` would name the NAS."""
    address = f"192.0.2.{number + 1}"
    return Nas(
        name=traits.name,
        addresses=(f"{address}/32",),
        secret=SECRET.decode(),
        disconnect=Disconnect(address=address, secret=DISCONNECT_SECRET.decode()),
        interim_interval_s=traits.interval_s if traits.told else None,
    )


class Waiting(NamedTuple):
    """What an ingest has for the journal, and what it does once that is durable."""

    kind: str
    partition: int
    key: bytes | None
    value: bytes
    packet: Packet | None
    written: Callable[[], None]


class Ingest:
    """One ingest process, new at each start."""

    def __init__(self, name: str, nases: list[Nas], partitions: int, tick_ms: int) -> None:
        self.step = IngestStep(nases, Identity(), partitions, name)
        self.talking = Talking(name, tick_ms, TALK_WINDOW_MS)
        self.talking.configure({nas.name: nas.interim_interval_s for nas in nases if nas.interim_interval_s is not None})
        self.duplicates: Duplicates[Packet] = Duplicates(ANSWER_KEPT_MS, 10_000)
        self.waiting: list[Waiting] = []
        self.ticks = 0


C = TypeVar("C", SessionCore, GroupCore)


class Agent(Generic[C]):
    """One partition's agent, with the rows that its checkpoints have left in its table."""

    def __init__(self, make: Callable[[int, int, str], C], topic: Topic, partition: int, partitions: int) -> None:
        self.partition = partition
        self.core = make(partition, partitions, topic.name)
        self.core.restored()
        self.table: dict[bytes, bytes | None] = {}
        self.down = 0
        self._new = lambda: make(partition, partitions, topic.name)

    def checkpoint(self) -> None:
        """Write the rows; as in a compacted topic, a key's place is that of its last row."""
        for key, value in self.core.checkpoint():
            self.table.pop(key, None)
            self.table[key] = value

    def restore(self) -> None:
        """A new process takes the partition over."""
        self.core = self._new()
        for key, value in self.table.items():
            self.core.restore(key, value)
        self.core.restored()


class Worker(Agent[SessionCore]):
    """A partition's session agent."""

    def __init__(self, partition: int, partitions: int) -> None:
        super().__init__(SessionCore, ACCOUNTING, partition, partitions)


class GroupWorker(Agent[GroupCore]):
    """A partition's group agent."""

    def __init__(self, partition: int, partitions: int) -> None:
        super().__init__(GroupCore, SLOTS, partition, partitions)


class System:
    """The installation.

    Args:
        nases: its NASes. partitions: of each topic. tick_ms: of its ingests. skew_ms: of the second ingest's clock.
        slots_ticks: each such tick comes to `group.slots`, whose writer is as late as that.
        now: the true time. later: do something after so many ms. request: put a Disconnect-Request on the wire.
        query: ask a NAS whether it talks.
        applied: is told of each journal record and what followed.
        group_applied: likewise for `group.slots`.
    """

    def __init__(
        self,
        nases: tuple[NasTraits, ...],
        partitions: int,
        tick_ms: int,
        skew_ms: int,
        slots_ticks: int,
        *,
        now: Callable[[], int],
        later: Callable[[int, Callable[[], None]], None],
        jitter: Callable[[], float],
        request: Callable[[Datagram], None],
        query: Callable[[Output], None],
        applied: Callable[[Worker, int, Stored, list[Output]], None],
        group_applied: Callable[[GroupWorker, int, Stored, list[Output]], None],
    ) -> None:
        self.partitions = partitions
        self.tick_ms = tick_ms
        self._slots_ticks = slots_ticks
        self._commit_ms = max(COMMIT_MS, tick_ms)
        self.journal: list[list[Stored]] = [[] for _ in range(partitions)]
        self.commands: list[list[Output]] = [[] for _ in range(partitions)]
        self.results: list[list[DisconnectResult]] = [[] for _ in range(partitions)]
        self.workers = [Worker(number, partitions) for number in range(partitions)]
        self.slots: list[list[Stored]] = [[] for _ in range(partitions)]
        self.group_workers = [GroupWorker(number, partitions) for number in range(partitions)]
        self._between: deque[Output] = deque()
        self._is_relaying = False
        self.clock_off_ms = [0, skew_ms]
        self.kafka_away = 0
        self._nases = [configured(traits, number) for number, traits in enumerate(nases)]
        self._generation = 0
        self._now = now
        self._later = later
        self._jitter = jitter
        self._request = request
        self._query = query
        self._applied = applied
        self._group_applied = group_applied
        self.ingests: list[Ingest | None] = [None, None]
        for number in range(2):
            self.start_ingest(number)
        self._committed = [CommitPoint(0, 0) for _ in range(partitions)]
        self.dispatcher: Dispatcher | None = None
        self._parts: list[OpenCommands] = []
        self._homes: dict[str, int] = {}
        self._unwritten: list[DisconnectResult] = []
        self._wake_ms: float | None = None
        self.start_kicker()

    # -- the log ------------------------------------------------------------------------------------------------------------------

    def append(self, kind: str, partition: int, key: bytes | None, value: bytes, packet: Packet | None = None) -> None:
        """Append to the journal, and let the workers that are there apply it."""
        stored = Stored(kind, key, value, self._now(), packet)
        for number in range(self.partitions) if partition == EVERY_PARTITION else (partition,):
            self.journal[number].append(stored)
            self.catch_up(self.workers[number])
        if kind == "policy":
            self.append_slots(kind, partition, key, value)

    def append_slots(self, kind: str, partition: int, key: bytes | None, value: bytes) -> None:
        """Append to `group.slots`, and let the group agents that are there apply it."""
        stored = Stored(kind, key, value, self._now(), None)
        for number in range(self.partitions) if partition == EVERY_PARTITION else (partition,):
            self.slots[number].append(stored)
            self.catch_up_groups(number)

    def start_worker(self, number: int) -> None:
        """A new process takes a partition of sessions over, and one of groups."""
        self.workers[number].restore()
        self.group_workers[number].restore()
        self.catch_up(self.workers[number])
        self.catch_up_groups(number)

    def catch_up_groups(self, number: int) -> None:
        """Apply what is in `group.slots` and not in the table."""
        worker, journal = self.group_workers[number], self.slots[number]
        while not self.workers[number].down and not self.kafka_away and worker.core.next_offset < len(journal):
            offset = worker.core.next_offset
            stored = journal[offset]
            out: list[Output] = []
            worker.core.apply(offset, stored.kind, stored.key, stored.value, out)
            self._group_applied(worker, offset, stored, out)
            self._between += out
        self._relay()

    def catch_up(self, worker: Worker) -> None:
        """Apply what is in the journal and not in the table."""
        journal = self.journal[worker.partition]
        while not worker.down and not self.kafka_away and worker.core.next_offset < len(journal):
            offset = worker.core.next_offset
            stored = journal[offset]
            out: list[Output] = []
            worker.core.apply(offset, stored.kind, stored.key, stored.value, out)
            self._applied(worker, offset, stored, out)
            if out:
                self._publish(out)
        self._relay()

    def _publish(self, out: list[Output]) -> None:
        """What a session agent said is in the topics of the group agents, of other partitions and of the kicker."""
        self._between += [output for output in out if output.topic in (ACCOUNTING.name, SLOTS.name)]
        commands = [output for output in out if output.topic == COMMANDS.name]
        for output in commands:
            self.commands[output.partition].append(output)
        if commands:
            self._later(1, self.poll)
        for output in out:
            if output.topic == PROBES.name:
                self._query(output)

    def _relay(self) -> None:
        """Append what the partitions' agents have for each other."""
        if self._is_relaying or not self._between:
            return
        self._is_relaying = True
        while self._between:
            output = self._between.popleft()
            append = self.append_slots if output.topic == SLOTS.name else self.append
            append(output.kind, output.partition, output.key, output.value)
        self._is_relaying = False

    def kafka_back(self) -> None:
        """What waited is written."""
        for ingest in self.ingests:
            if ingest is not None:
                waiting, ingest.waiting = ingest.waiting, []
                for item in waiting:
                    self._file(ingest, item)
        unwritten, self._unwritten = self._unwritten, []
        for result in unwritten:
            self._write(result)
        for number, worker in enumerate(self.workers):
            self.catch_up(worker)
            self.catch_up_groups(number)
        self.poll()

    # -- ingests ------------------------------------------------------------------------------------------------------------------

    def start_ingest(self, number: int) -> None:
        """A new process, which nobody has heard of; its monotonic clock begins anywhere."""
        self._generation += 1
        self.ingests[number] = ingest = Ingest(f"ingest{number}-{self._generation}", self._nases, self.partitions, self.tick_ms)
        self._later(self._generation * 37 % self.tick_ms, lambda: self._tick(number, ingest))

    def kill_ingest(self, number: int) -> None:
        """What it held is lost."""
        self.ingests[number] = None

    def wall_ms(self, number: int) -> int:
        """The wall clock of an ingest's machine."""
        return T0_MS + self._now() + self.clock_off_ms[number]

    def mono_ms(self, number: int) -> int:
        """The monotonic clock of an ingest's machine."""
        return self._now() + 777_000 * (number + 1)

    def _tick(self, number: int, ingest: Ingest) -> None:
        if self.ingests[number] is not ingest:
            return
        tick = encode(ingest.talking.tick(self.mono_ms(number), self.wall_ms(number)))
        if any(item.kind == "tick" for item in ingest.waiting):
            ingest.talking.repeat()  # Kafka is away: one tick waits, not a row of them
        else:
            self._file(ingest, Waiting("tick", EVERY_PARTITION, None, tick, None, lambda: None))
        if not self.kafka_away and ingest.ticks % self._slots_ticks == 0:
            bare = encode(ingest.talking.bare_tick(self.mono_ms(number), self.wall_ms(number)))
            self.append_slots("tick", EVERY_PARTITION, None, bare)
        ingest.ticks += 1
        self._later(self.tick_ms, lambda: self._tick(number, ingest))

    def _file(self, ingest: Ingest, item: Waiting) -> None:
        if self.kafka_away:
            ingest.waiting.append(item)
        else:
            self.append(*item[:5])
            item.written()

    def receive(self, number: int, packet: Packet, octets: bytes, respond: Callable[[bytes], None]) -> None:
        """A datagram comes in at an ingest; if that is away it is lost."""
        ingest = self.ingests[number]
        if ingest is None:
            return
        ingest.duplicates.expire(self.mono_ms(number))
        admitted = ingest.step.admit(octets, packet.nas.address)
        assert not isinstance(admitted, str), admitted
        request, secret = admitted
        key: Key = (0, (packet.nas.address, 49152), request[1:20])
        answer = ingest.duplicates.answer_to(key)
        if answer is not None:
            respond(answer)
        if answer is not None or key in ingest.duplicates.pending:
            return
        filed = ingest.step.file(request, packet.nas.address, self.wall_ms(number))
        assert not isinstance(filed, str), filed
        assert filed.topic == ACCOUNTING.name
        ingest.talking.heard(filed.nas, self.mono_ms(number), filed.interim)
        ingest.duplicates.begin(key, packet)

        def written() -> None:
            answer = accounting_response(request, secret, filed.proxy_states)
            ingest.duplicates.answered(key, answer)
            respond(answer)

        self._file(ingest, Waiting("accounting", filed.partition, filed.key, filed.value, packet, written))

    # -- the kicker ---------------------------------------------------------------------------------------------------------------

    def start_kicker(self) -> None:
        """A new process: it goes on from what was committed, and reads the results back from the mark on."""
        known = targets(self._nases, packaged())
        self.dispatcher = Dispatcher(known, ports=2, in_flight_per_nas=4, jitter=self._jitter)
        self._parts, self._homes, self._unwritten, self._wake_ms = [], {}, [], None
        for number, point in enumerate(self._committed):
            results = self.results[number]
            part = OpenCommands(number, point.offset, commands_end=len(self.commands[number]), mark=point.mark, results_end=len(results))
            begin = read_from(point.mark, 0)
            for offset, result in enumerate(results[begin:], begin):
                part.read_back(result, offset)
            part.resumed()
            self._parts.append(part)
        self._later(1, self.poll)
        self._later(self._commit_ms, lambda parts=self._parts: self._commit(parts))  # type: ignore[misc]

    def kill_kicker(self) -> None:
        """Its sockets and what it knew are lost."""
        self.dispatcher = None
        self._unwritten = []

    def _commit(self, parts: list[OpenCommands]) -> None:
        if self.dispatcher is not None and parts is self._parts:
            if not self.kafka_away:
                self._committed = [part.commit_point for part in parts]
            self._later(self._commit_ms, lambda: self._commit(parts))

    def poll(self) -> None:
        """Read what is new in `disconnect.commands`."""
        if self.dispatcher is None or self.kafka_away:
            return
        for part in self._parts:
            commands = self.commands[part.partition]
            while part.next_offset < len(commands):
                offset = part.next_offset
                part.hold(offset)
                self._take(part, offset, commands[offset])

    def _take(self, part: OpenCommands, offset: int, stored: Output) -> None:
        assert self.dispatcher is not None
        record = read_record(stored.kind, stored.value)
        if isinstance(record, DisconnectCommand):
            if part.take(offset, record.id):
                self._homes[record.id] = part.partition
                acknowledged, early = part.to_resume(record.id), part.take_early(record.id)
                self._carry_out(self.dispatcher.command(record, self._moment(), acknowledged, early))
            return
        assert isinstance(record, SessionNotice)
        if record.command_id in self.dispatcher:
            self._carry_out(self.dispatcher.notice(record, self._moment()))
        else:
            part.keep_early(record)
        part.let_go(offset)

    def reply(self, datagram: Datagram, octets: bytes, dispatcher: Dispatcher | None) -> None:
        """A NAS's reply comes to the kicker that asked; to the ports of one that is gone nobody listens."""
        if self.dispatcher is not None and self.dispatcher is dispatcher:
            self._carry_out(dispatcher.datagram(datagram.port, datagram.endpoint, octets, self._moment()))

    def _moment(self) -> Now:
        return Now(T0_MS + self._now(), float(self._now()))

    def _carry_out(self, outputs: Outputs) -> None:
        for output in outputs:
            if isinstance(output, Datagram):
                self._request(output)
            elif isinstance(output, DisconnectResult):
                self._write(output)
        wake_ms = None if self.dispatcher is None else self.dispatcher.next_wake_ms
        if wake_ms is not None and (self._wake_ms is None or wake_ms < self._wake_ms):
            self._wake_ms = wake_ms
            dispatcher = self.dispatcher
            self._later(max(0, int(wake_ms) + 1 - self._now()), lambda: self._wake(dispatcher))

    def _wake(self, dispatcher: Dispatcher | None) -> None:
        if dispatcher is not None and dispatcher is self.dispatcher:
            self._wake_ms = None
            self._carry_out(dispatcher.wake(self._moment()))

    def _write(self, result: DisconnectResult) -> None:
        if self.kafka_away:
            self._unwritten.append(result)
            return
        part = self._parts[self._homes[result.command_id]]
        self.results[part.partition].append(result)
        part.take_result(result, len(self.results[part.partition]) - 1)
        value = encode(result)
        assert msgspec.json.decode(value, type=DisconnectResult) == result
        self.append("result", partition_of(result.identity, self.partitions), result.identity.encode(), value)
