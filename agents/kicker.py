"""The kicker: disconnect commands in from Kafka, Disconnect-Requests out by UDP, results back into Kafka (behaviours 5.1 to 5.7).

What lives here: the consumer, its partitions, the clock, the wake-up. What may not: what becomes of a command (`streams.kick`), who may
send when (`streams.dispatcher`), and what is remembered of a partition (`streams.open_commands`).

Theory of operation: a record of `disconnect.commands` is done with when its final result is durable both in `disconnect.results` and in the
journal; the offset committed is the oldest that is not. A partition that is assigned is paused by the rebalance listener, which does no
more, since no heartbeat runs while it waits. Then a task reads the results back from the committed mark, seeks to the committed offset, and
resumes it. That is done for a partition that stays as well, since somebody else may have had it meanwhile: its kicks in flight go on, find
their commands read again, and those that somebody else has finished are dropped.

Memory: a command that waits for a dead NAS is open, and a partition with `BUSY_MAX` of these is paused; the rest waits in the topic.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from agents import metrics
from agents.garbage import settle
from agents.health import Health
from agents.kafka_client import FETCH_WAIT_MS, client_settings, close, prefixed, start_patiently, topic_name
from agents.kick_ports import SourcePorts
from agents.kick_restore import restore
from agents.kick_ways import Questions
from agents.reloading import Reread, reloading
from agents.result_writer import Delivery, Record, ResultWriter
from agents.tasks import end
from agents.ways import Way, ways
from schemas.codec import encode
from schemas.configuration import Configuration
from schemas.disconnect import DisconnectCommand, DisconnectResult, SessionNotice
from schemas.topics import ACCOUNTING, COMMANDS, KICKER_GROUP, KIND_HEADER, REJECTED, RESULTS
from schemas.ways import WayAnswer
from streams.dispatcher import Datagram, Dispatcher, Endpoint, Outputs, Question, targets
from streams.kick import Now
from streams.kick_records import Refusal, read_record, rejected
from streams.open_commands import CommitPoint, OpenCommands
from streams.partitioner import partition_of
from streams.profiles import configured
from streams.retransmission import RFC5080, Schedule

POLL_MS = 200
POLL_RECORDS = 100
"""Between two looks at the sockets: some 30 ms of a core's work."""
WRITE_SPACING_S = 0.02
"""Between two batches of results of a partition. Sent as they come they would be twenty times as many, and cost Kafka more than us."""
HOUSEKEEPING_S = 1.0
SESSION_TIMEOUT_MS, HEARTBEAT_MS = 10_000, 3_000
GIVEN_UP_AFTER_S = (SESSION_TIMEOUT_MS - HEARTBEAT_MS) / 1000
"""A kicker that stood still for so long may have lost its partitions to others: its last heartbeat was before that."""
ACCEPTED_SHOWN_MAX = 100
"""Attribute sets that the metrics tell apart; there are as many as the profiles have, and what 403 makes of them."""
RETRY_S = 0.5
LAST_COMMIT_WITHIN_S = 2.0
RESULT_KIND = ((KIND_HEADER, b"result"),)

log = logging.getLogger(__name__)


class Kicker(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """One kicker of the group; `run` is all of it."""

    def __init__(
        self,
        configuration: Configuration,
        health: Health,
        schedule: Schedule = RFC5080,
        drivers: Mapping[str, Way] | None = None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._configuration = configuration
        self._health = health
        self._ways = ways(configuration) if drivers is None else drivers
        self._questions = Questions(self._ways, self._take_answer)
        self._dispatcher = Dispatcher(
            targets(configuration.nas, configured(configuration.profile), self._ways),
            ports=configuration.kicker.ports,
            in_flight_per_nas=configuration.kicker.in_flight_per_nas,
            jitter=lambda: random.uniform(-1, 1),
            schedule=schedule,
        )
        self._ports = SourcePorts(configuration.kicker.source, self._take_datagram)
        self._writer = ResultWriter(configuration, spacing_s=WRITE_SPACING_S)
        self._topic = topic_name(configuration, COMMANDS)
        self._results = topic_name(configuration, RESULTS)
        self._journal = topic_name(configuration, ACCOUNTING)
        self._parts: dict[int, OpenCommands] = {}
        self._reading: set[int] = set()
        self._full: set[int] = set()
        self._homes: dict[str, int] = {}
        self._unwritten: set[str] = set()
        self._is_ended = False
        self._look = look
        self._restoring: asyncio.Task[None] | None = None
        self._committed: dict[int, CommitPoint] = {}
        self._is_wake_up_due = False
        self._shown: set[tuple[str, str]] = set()
        self._tally: Counter[tuple[Any, str]] = Counter()  # a metric and its label
        self._wake_up: tuple[float, asyncio.TimerHandle] | None = None
        self._consumer = AIOKafkaConsumer(
            **client_settings(configuration),
            group_id=prefixed(configuration, KICKER_GROUP),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(StickyPartitionAssignor,),
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )

    def reload(self, configuration: Configuration) -> None:
        """Take over the NASes of another configuration, for commands read from now on."""
        known = targets(configuration.nas, configured(configuration.profile), self._ways)
        self._dispatcher.change(known, configuration.kicker.in_flight_per_nas)
        log.info("configuration read again: %d NASes", len(configuration.nas))

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then write what is to be written. What is in flight then is sent anew by whoever comes next.

        Raises:
            CannotSendError: the source address cannot be had.
            KafkaError: Kafka refuses us for a reason that waiting does not mend.
        """
        tasks: list[asyncio.Task[None]] = []
        try:
            self._ports.open()
            writing = asyncio.create_task(self._writer.run(stop))
            tasks += [writing, *map(asyncio.create_task, (self._poll(), self._keep_house(), _set(stop)))]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # what ended one of them ends the process
            self._health.not_ready("stopping")
            self._end_kicks()
            for task in tasks[1:]:
                task.cancel()
            await writing
            await self._commit_soon()
        finally:
            self._end_kicks()
            await end(*tasks, *([self._restoring] if self._restoring else []))
            await self._questions.close()
            await close(self._consumer)

    def _end_kicks(self) -> None:
        """Nothing is sent, received or timed any more."""
        self._is_ended = True
        self._show_what_is_known()
        self._reading.clear()
        self._ports.close()
        if self._wake_up is not None:
            self._wake_up[1].cancel()
        if self._restoring is not None:
            self._restoring.cancel()
        metrics.IN_FLIGHT.set(0)

    async def _poll(self) -> None:
        self._health.not_ready("waiting for Kafka")
        self._consumer.subscribe([self._topic], listener=self)
        await start_patiently(self._consumer)
        while True:
            polled = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
            for place, records in polled.items():
                if place.partition in self._reading:
                    self._take_records(self._parts[place.partition], records)
            if self._restoring is not None and self._restoring.done() and not self._restoring.cancelled():
                self._restoring.result()  # a failed restore ends the process
            await asyncio.sleep(0)

    def _take_records(self, part: OpenCommands, records: Iterable[ConsumerRecord[Any, Any]]) -> None:
        for record in records:
            if record.offset >= part.next_offset:
                part.hold(record.offset)
                self._take_record(part, record)
        if part.is_full:
            self._full.add(part.partition)
            self._consumer.pause(TopicPartition(self._topic, part.partition))

    def _take_record(self, part: OpenCommands, record: ConsumerRecord[Any, Any]) -> None:
        kind = ""
        for name, value in record.headers:
            if name == KIND_HEADER:
                kind = (value or b"").decode("utf-8", "backslashreplace")
                break
        said = read_record(kind, record.value)
        if isinstance(said, DisconnectCommand):
            self._take_command(part, record.offset, said)
        elif isinstance(said, SessionNotice):
            # "It is alive" that is read again may have been answered already; if it still is, the next Interim says so
            if not said.alive or record.offset >= part.commands_end:
                self._take_notice(part, said)
            part.let_go(record.offset)
        else:
            self._reject(part, record, kind, said)

    def _take_command(self, part: OpenCommands, offset: int, command: DisconnectCommand) -> None:
        doubtful = part.doubtful(command.id)
        if doubtful is not None:
            # Whoever wrote it may have been killed before the journal had it; the session agent knows a repeat
            self._writer.put(Delivery((self._for_the_journal(doubtful, encode(doubtful)),), lambda _: self._let_go(part, offset)))
            return
        if not part.take(offset, command.id):
            return
        acknowledged, early = part.to_resume(command.id), part.take_early(command.id)
        if command.id in self._unwritten or command.id in self._dispatcher:
            return  # read again after a rebalance
        self._tally[metrics.COMMANDS, command.reason] += 1
        self._homes[command.id] = part.partition
        now = _now()
        self._carry_out(self._dispatcher.command(command, now, acknowledged, early), now)

    def _take_notice(self, part: OpenCommands, notice: SessionNotice) -> None:
        if notice.command_id in self._dispatcher:
            now = _now()
            self._carry_out(self._dispatcher.notice(notice, now), now)
        else:
            part.keep_early(notice)

    def _take_datagram(self, place: int, sender: Endpoint, octets: bytes) -> None:
        now = _now()
        self._carry_out(self._dispatcher.datagram(place, sender, octets, now), now)

    def _take_answer(self, command_id: str, answer: WayAnswer) -> None:
        if not self._is_ended:
            now = _now()
            self._carry_out(self._dispatcher.way_answer(command_id, answer, now), now)

    def _wake(self) -> None:
        self._wake_up = None
        now = _now()
        self._carry_out(self._dispatcher.wake(now), now)

    def _carry_out(self, outputs: Outputs, now: Now) -> None:
        if outputs:
            self._look()
        for output in outputs:
            if isinstance(output, Datagram):
                self._ports.send(output.port, output.endpoint, output.octets)
                self._tally[metrics.DISCONNECT_SENDS, ""] += 1
                _note_sent(output.decided_ms, now)
            elif isinstance(output, DisconnectResult):
                self._report(output)
            elif isinstance(output, Question):
                self._questions.ask(output)
                _note_sent(output.decided_ms, now)
            else:
                self._tally[metrics.REPLIES_REFUSED, output.reason] += 1
        if not self._is_wake_up_due:
            self._is_wake_up_due = True
            asyncio.get_running_loop().call_soon(self._set_wake_up)

    def _set_wake_up(self) -> None:
        """See to the next timer, once for all that happened in a turn of the event loop."""
        self._is_wake_up_due = False
        if self._is_ended:
            return
        at_ms = self._dispatcher.next_wake_ms
        if at_ms is None or (self._wake_up is not None and self._wake_up[0] <= at_ms):
            return
        if self._wake_up is not None:
            self._wake_up[1].cancel()
        delay_s = max(0.0, at_ms / 1000 - time.monotonic())
        self._wake_up = (at_ms, asyncio.get_running_loop().call_later(delay_s, self._wake))

    def _report(self, result: DisconnectResult) -> None:
        number = self._homes[result.command_id]
        value = encode(result)
        records = (
            Record(self._results, number, result.nas.encode(), value, ()),
            self._for_the_journal(result, value),
        )
        if result.final:
            self._tally[metrics.OUTCOMES, result.outcome] += 1
            self._questions.forget(result.command_id)
            del self._homes[result.command_id]
            self._unwritten.add(result.command_id)

        def durable(offsets: list[int]) -> None:
            if result.final:
                self._unwritten.discard(result.command_id)
            part = self._parts.get(number)
            if part is not None:
                part.take_result(result, offsets[0])
                self._read_on(part)

        self._writer.put(Delivery(records, durable))

    def _for_the_journal(self, result: DisconnectResult, value: bytes) -> Record:
        home = partition_of(result.identity, self._configuration.kafka.partitions)
        return Record(self._journal, home, result.identity.encode(), value, RESULT_KIND)

    def _reject(self, part: OpenCommands, record: ConsumerRecord[Any, Any], kind: str, refusal: Refusal) -> None:
        metrics.REJECTED.labels(refusal.reason).inc()
        log.warning("%s partition %d offset %d: %s", record.topic, record.partition, record.offset, refusal.detail)
        value = rejected(
            refusal,
            time_ms=_now().wall_ms,
            topic=COMMANDS.name,
            partition=record.partition,
            offset=record.offset,
            kind=kind,
            key=record.key,
            value=record.value or b"",
        )
        told = Record(topic_name(self._configuration, REJECTED), part.partition, COMMANDS.name.encode(), value, ())
        self._writer.put(Delivery((told,), lambda _: self._let_go(part, record.offset)))

    def _let_go(self, part: OpenCommands, offset: int) -> None:
        part.let_go(offset)
        self._read_on(part)

    def _read_on(self, part: OpenCommands) -> None:
        """A partition that was full goes on as soon as it is not."""
        if part.partition in self._full and part.partition in self._reading and not part.is_full:
            self._full.discard(part.partition)
            self._consumer.resume(TopicPartition(self._topic, part.partition))

    async def _keep_house(self) -> None:
        """Commit, and say how things are."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            await self._commit()
            self._show_what_is_known()
            trouble = self._writer.trouble
            if self._restoring is not None:
                if trouble or not self._restoring.done():
                    self._health.not_ready(trouble or "reading results back")
                else:
                    self._health.ready()

    def _show_what_is_known(self) -> None:
        for (metric, label), number in self._tally.items():
            (metric.labels(label) if label else metric).inc(number)
        self._tally.clear()
        metrics.IN_FLIGHT.set(len(self._dispatcher))
        counts = self._dispatcher.learned.counts
        shown = {(one.request, "+".join(one.attributes)): number for one, number in counts.most_common(ACCEPTED_SHOWN_MAX)}
        for labels in self._shown - shown.keys():
            metrics.DISCONNECT_ACCEPTED.labels(*labels).set(0)
        for labels, number in shown.items():
            metrics.DISCONNECT_ACCEPTED.labels(*labels).set(number)
        self._shown = set(shown)
        metrics.DISCONNECT_NAS_SILENT.set(self._dispatcher.silent)

    async def _commit(self) -> None:
        points = {part.partition: part.commit_point for part in self._parts.values()}
        changed = {number: point for number, point in points.items() if self._committed.get(number) != point}
        offsets = {
            TopicPartition(self._topic, number): OffsetAndMetadata(point.offset, str(point.mark)) for number, point in changed.items()
        }
        if not offsets:
            return
        try:
            await self._consumer.commit(offsets)
            self._committed |= changed
        except (KafkaError, IllegalStateError) as failed:
            log.info("not committed (%s); a later commit says it all", failed)

    async def _commit_soon(self) -> None:
        """Commit, but let nobody wait for a Kafka that is away."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._commit(), LAST_COMMIT_WITHIN_S)

    async def on_partitions_revoked(self, _revoked: Collection[TopicPartition]) -> None:
        """The group is about to share its partitions out anew: say how far we are."""
        self._reading.clear()
        await self._commit_soon()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Pause, and leave the rest to a task: no heartbeat runs while this is waited for."""
        self._reading.clear()
        self._committed.clear()
        if assigned:
            self._consumer.pause(*assigned)
        numbers = {place.partition for place in assigned}
        for number in self._parts.keys() - numbers:
            del self._parts[number]
        # By what is worked on: a part that was restored a moment ago has not read its commands again yet
        self._forget([command_id for command_id, number in self._homes.items() if number not in numbers])
        if self._restoring is not None:
            self._restoring.cancel()
        if not self._is_ended:
            self._restoring = asyncio.create_task(self._restore(numbers))

    async def _restore(self, numbers: Collection[int]) -> None:
        self._health.not_ready("reading results back")
        while True:
            try:
                found = await restore(self._configuration, numbers, self._dispatcher.learned.observe) if numbers else {}
            except KafkaError as failed:
                log.warning("results cannot be read back (%s); trying again", failed)
                await asyncio.sleep(RETRY_S)
            else:
                break
        for number, fresh in found.items():
            working = {command_id: fresh.next_offset for command_id, home in self._homes.items() if home == number}
            if number in self._parts:
                fresh.learn(self._parts[number])
                working |= self._parts[number].commands
            self._forget(fresh.finished_of(working))
            self._parts[number] = fresh
            place = TopicPartition(self._topic, number)
            self._consumer.seek(place, fresh.next_offset)
            self._consumer.resume(place)
            self._full.discard(number)
            self._reading.add(number)
        settle()
        self._health.ready()

    def _forget(self, command_ids: Iterable[str]) -> None:
        """These commands are somebody else's, or somebody else has finished them."""
        now = _now()
        for command_id in command_ids:
            self._dispatcher.forget(command_id, now)
            self._questions.forget(command_id)
            self._homes.pop(command_id, None)
        if not self._is_ended:
            self._carry_out(self._dispatcher.wake(now), now)  # others have their turns now


async def run_kicker(
    configuration: Configuration,
    health: Health,
    stop: asyncio.Event,
    *,
    reread: Reread | None = None,
    schedule: Schedule = RFC5080,
    drivers: Mapping[str, Way] | None = None,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Run one kicker until `stop` is set and every result is durable.

    Args:
        configuration: checked, secret files read.
        health: ready while commands are read and results are taken by Kafka.
        stop: ends it.
        reread: see `agents.reloading`.
        schedule: of retransmissions; another one than RFC 5080's is for tests.
        drivers: the other ways out by `via`; others than `agents.ways` has are for tests.
        look: called before anything goes out to a NAS; it may end the process (`agents.pulse`).

    Raises:
        CurfewError: the source address cannot be had.
        KafkaError: Kafka refuses us for a reason that waiting does not mend.
    """
    kicker = Kicker(configuration, health, schedule, drivers, look)
    with reloading(reread, kicker.reload):
        await kicker.run(stop)


async def _set(stop: asyncio.Event) -> None:
    await stop.wait()


def _note_sent(decided_ms: int | None, now: Now) -> None:
    """With a command's first request: how long ago it was decided."""
    if decided_ms is not None:
        metrics.DECISION_TO_REQUEST_S.observe(max(0, now.wall_ms - decided_ms) / 1000)


def _now() -> Now:
    return Now(time.time_ns() // 1_000_000, time.monotonic() * 1000)
