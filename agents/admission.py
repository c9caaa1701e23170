"""The live view of this process, kept by reading, and the desk at which the question before a login is asked.

What lives here: the two readers (`session.table` first, then both it and `session.events`), the clock and the ids of reservations. What may
not: what a row or an event means (`streams.live_view`), who is let in (`streams.admission`), HTTP (`http_api`), Redis (`projector`),
the way into the journal (`promises`).

Theory of operation. The table is read to its end; then the events from a time before the partition's last checkpoint on, since those that
the table knows of are recognised and left out, and one that is missing would not be. While Kafka is away, questions are answered from what
was read last. It commits no offsets and is in no group: any number of such processes read beside each other, each with reservations of its
own. A Session-Timeout that a login tells is in the journal before the login is answered; where Kafka does not take it, the slot is given
back and there is no answer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain

from aiokafka.structs import ConsumerRecord

from agents import metrics
from agents.garbage import Unlooked
from agents.health import Health
from agents.promises import PromiseNotKeptError, Promises
from agents.tasks import end
from agents.topic_reader import TopicReader, reading
from schemas.admission import Answer, Question
from schemas.codec import JsonValue
from schemas.configuration import Configuration
from schemas.topics import EVENTS, TABLE, partition_key
from streams.admission import Desk, Reservations
from streams.habits import HABITS
from streams.identity import IdentityRules
from streams.live_view import LiveView, Moved
from streams.promises import of_login

EVENTS_BEFORE_CHECKPOINT_MS = 60_000
"""How far before a partition's last checkpoint its events are read from: by more than that, two workers' clocks should not differ."""
RESTORE_S = 0.002
"""For so long rows are taken in before anybody else has a turn, while nothing is answered yet."""
FOLLOW_S = 0.000_25
"""The same when questions are answered: one waits for both readers, and for each of its own steps anew."""
FOLLOW_RECORDS_MAX = 64
"""So many records are unpacked at once: no question has its turn meanwhile."""
LOOK_S = 1.0
RESERVATION_BYTES = 9

log = logging.getLogger(__name__)

_answers = cache(metrics.ADMISSIONS.labels)


class NotReadyError(Exception):
    """The directory was not read to its end yet."""


class Admission:
    """The view and the desk.

    Attributes:
        view: what is open; None until the table was read.
        listeners: told of each session that is not as it was, once the view is there.
        promises: takes what logins were let in with; to be run beside.
    """

    def __init__(self, configuration: Configuration, on_open: Callable[[], object] = lambda: None) -> None:
        """Nothing is read before `run`.

        Args:
            configuration: where Kafka is, and the rules of reservations.
            on_open: called when the table was read and questions are answered.
        """
        self.view: LiveView | None = None
        self.listeners: list[Callable[[Moved], object]] = []
        self.promises = Promises(configuration)
        self._configuration = configuration
        self._on_open = on_open
        self._desk: Desk | None = None
        self._is_open = asyncio.Event()

    async def ask(self, question: Question) -> Answer:
        """Answer a question: now, or when the Session-Timeout that it tells is durable.

        Raises:
            NotReadyError: nobody knows yet.
            PromiseNotKeptError: Kafka did not take the Session-Timeout.
        """
        if self._desk is None:
            _answers("not-ready").inc()
            raise NotReadyError
        answer = self._asked(self._desk, question)
        if question.session_timeout_s is not None and answer.reservation is not None:
            await self._promise(self._desk, question, answer.reservation)
        return _counted(answer)

    def ask_now(self, question: Question) -> Answer | None:
        """As `ask`; None where the answer takes more than the desk itself. Nothing has happened then."""
        if self._desk is None or question.session_timeout_s is not None:
            return None
        return _counted(self._asked(self._desk, question))

    def _asked(self, desk: Desk, question: Question) -> Answer:
        return desk.ask(question, _now_ms(), secrets.token_urlsafe(RESERVATION_BYTES))

    async def _promise(self, desk: Desk, question: Question, reservation: str) -> None:
        hold_ms = round(self._configuration.admission.reservation_s * 1000)
        promise = of_login(question, desk.identity_of(question), reservation, round(time.time() * 1000), hold_ms)
        if promise is None:
            return
        try:
            await self.promises.write(promise)
        except PromiseNotKeptError:
            desk.give_back(question, reservation)
            _answers("not-kept").inc()
            raise

    async def opened(self) -> LiveView:
        """The view, as soon as it is there."""
        while self.view is None:
            await self._is_open.wait()
        return self.view

    def reservations(self, identity: str) -> list[dict[str, JsonValue]]:
        """What is reserved for an identity, for people."""
        if self._desk is None:
            return []
        now_ms = _now_ms()
        return [
            {"id": each.id, "nas": each.nas, "device": each.device, "lapses_in_s": round((each.until_ms - now_ms) / 1000, 3)}
            for each in self._desk.reservations.of(identity, now_ms)
        ]

    async def run(self, health: Health, stop: asyncio.Event) -> None:
        """Read, and follow, until stopped.

        Args:
            health: ready when questions are answered.
            stop: ends it.

        Raises:
            KafkaUnreachableError: Kafka went away while the table was read.
            TopicsMissingError: there is no such topic.
        """
        health.not_ready("the directory of sessions is being read")
        async with reading(self._configuration, TABLE) as table, reading(self._configuration, EVENTS) as events:
            view = LiveView(table.partitions[TABLE])
            checkpoints_ms = await _restore(view, table)
            await events.seek_to_times({number: at_ms - EVENTS_BEFORE_CHECKPOINT_MS for number, at_ms in checkpoints_ms.items()})
            self.open(view)
            self._on_open()
            health.ready()
            following = [
                asyncio.create_task(_follow(table, self._row)),
                asyncio.create_task(_follow(events, self._event)),
                asyncio.create_task(self._measure(table, events)),
                asyncio.create_task(stop.wait()),
            ]
            try:
                done, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end(*following)
        for task in done:
            task.result()

    def open(self, view: LiveView) -> None:
        """From here on questions are answered."""
        own = self._configuration.admission
        reservations = Reservations(own.reservation_s * 1000, own.reservations_per_user)
        self.view = view
        desk = self._desk = Desk(view, IdentityRules(self._configuration.identity), reservations, own.redirect, _now_ms())
        self.listeners.insert(0, lambda moved: desk.moved(moved, _now_ms()))
        self._is_open.set()
        log.info("the directory is read: %d open sessions", len(view))

    def _row(self, record: ConsumerRecord[bytes, bytes]) -> Iterator[None]:
        if self.view is not None:
            for moved in self.view.partitions[record.partition].taking_row(record.key or b"", record.value):
                self._tell(moved)
                yield

    def _event(self, record: ConsumerRecord[bytes, bytes]) -> tuple[()]:
        if self.view is not None:
            moved = self.view.partitions[record.partition].take_event(record.value)
            if moved is not None:
                self._tell(moved)
        return ()

    def _tell(self, moved: Moved) -> None:
        for listener in self.listeners:
            listener(moved)

    async def _measure(self, table: TopicReader, events: TopicReader) -> None:
        garbage = Unlooked()
        while True:
            garbage.leave_alone()
            metrics.VIEW_BEHIND.set(await table.behind() + await events.behind())
            if self.view is not None and self._desk is not None:
                metrics.VIEW_OPEN.set(len(self.view))
                metrics.RESERVED.set(len(self._desk.reservations))
                for habit in HABITS:
                    metrics.NAS_HABITS.labels(habit).set(self.view.habits.counts[habit])
            await asyncio.sleep(LOOK_S)


def _counted(answer: Answer) -> Answer:
    outcome = "refused" if not answer.allowed else "open-already" if answer.reservation is None else "allowed"
    _answers(outcome).inc()
    return answer


def _now_ms() -> float:
    return time.monotonic() * 1000


async def _restore(view: LiveView, table: TopicReader) -> dict[int, int]:
    """Read the table to its end; when each partition's last checkpoint was written, by the worker's clock."""
    checkpoints_ms: dict[int, int] = {}
    own_keys = [partition_key(number).encode() for number in range(len(view.partitions))]
    pause_s = time.monotonic() + RESTORE_S
    async for record in table.to_end():
        view.partitions[record.partition].take_row(record.key or b"", record.value)
        if record.key == own_keys[record.partition]:
            checkpoints_ms[record.partition] = record.timestamp
        if time.monotonic() > pause_s:
            await asyncio.sleep(0)
            pause_s = time.monotonic() + RESTORE_S
    for partition in view.partitions:
        partition.restored()
    return checkpoints_ms


async def _follow(reader: TopicReader, take: Callable[[ConsumerRecord[bytes, bytes]], Iterable[None]]) -> None:
    """Give every record to `take` as it comes, in pieces that leave room for questions; what `take` gives are pieces of a record's work."""
    pause_s = time.monotonic() + FOLLOW_S
    async for record in reader.as_they_come(records_max=FOLLOW_RECORDS_MAX):
        for _ in chain(() if record is None else take(record), (None,)):
            if time.monotonic() > pause_s:
                await asyncio.sleep(0)
                pause_s = time.monotonic() + FOLLOW_S
