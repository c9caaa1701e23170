"""The way into Kafka for who writes little and waits for it: sent until it is durable, at least once, in order for each partition.

What lives here: the producer, its end and its successor, and a lane for each topic-partition. What may not: what a record says.

Theory of operation: each lane has one batch in flight while the next one grows, so a partition that is slow holds up no other, and a lot of
results cost few round trips. Who writes a lot asks for a spacing: a lane that has sent sends again with all others at the next multiple of
it, so that few requests carry many records of many partitions, since a batch costs the broker far more than a record in it. A delivery's
records go one after the other, each once the one before it is durable: who is killed between two has written the first, and whoever reads
that knows what to send again. The delivery is told to its owner when all of them are durable. A failed send poisons an idempotent producer
for that partition for good, so any failure ends the producer; what was not acknowledged goes first with the next one, in the order in which
it was put. What is open is bounded by its owner: the kicker's open commands have at most two results each.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from agents.checkpoint import send_batch
from agents.kafka_client import close, idempotent_producer, start_patiently
from agents.tasks import end
from schemas.configuration import Configuration

BACKOFF_S = 0.1
BACKOFF_S_MAX = 5.0
END_WITHIN_S = 10.0

log = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record: topic (with the installation's prefix), partition, key, value, headers."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Delivery(msgspec.Struct, frozen=True):
    """Records that belong together, in their order, and who is told at which offsets they stand once all of them are durable."""

    records: tuple[Record, ...]
    done: Callable[[list[int]], None]


class _Parcel:
    """A delivery on its way: the offsets of its records, -1 for those that are not durable yet."""

    __slots__ = ("delivery", "offsets", "open_count")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.open_count = len(delivery.records)
        self.offsets = [-1] * self.open_count


class ResultWriter:
    """Sends deliveries; `run` is its task.

    Attributes:
        trouble: why nothing gets through, for `/readyz`; empty when it does.
    """

    def __init__(self, configuration: Configuration, what: str = "results", *, at_once: bool = False, spacing_s: float = 0.0) -> None:
        """Make it; nothing is sent before `run`.

        Args:
            configuration: where Kafka is.
            what: what is written, for people.
            at_once: be connected before there is anything to write.
            spacing_s: between two batches of a partition, at most; what comes after a pause goes at once.
        """
        self.trouble = ""
        self._what = what
        self._configuration = configuration
        self._spacing_s = spacing_s
        self._open: dict[_Parcel, None] = {}  # in the order in which they were put
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._producer: AIOKafkaProducer | None = None
        self._something = asyncio.Event()
        if at_once:
            self._something.set()
        self._nothing = asyncio.Event()
        self._nothing.set()

    @property
    def unwritten(self) -> int:
        """Deliveries that are not durable yet."""
        return len(self._open)

    def put(self, delivery: Delivery) -> None:
        """Send this, after what was put before it."""
        if not self._open:
            self._nothing.clear()
            self._something.set()
        parcel = _Parcel(delivery)
        self._open[parcel] = None
        if self._producer is not None:
            self._post(self._producer, parcel)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set and all is durable, or it is set and Kafka is away for longer than `END_WITHIN_S`."""
        sending = asyncio.create_task(self._send_all())
        stopping = asyncio.create_task(stop.wait())
        emptied: asyncio.Task[bool] | None = None
        try:
            await asyncio.wait((sending, stopping), return_when=asyncio.FIRST_COMPLETED)
            emptied = asyncio.create_task(self._nothing.wait())
            if not sending.done():
                await asyncio.wait((sending, emptied), timeout=END_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            if self._open:
                log.warning("stopped with %d %s unwritten", len(self._open), self._what)
        finally:
            await end(*(task for task in (sending, stopping, emptied) if task is not None))

    async def _send_all(self) -> None:
        """One producer after the other, each until it fails."""
        backoff_s = BACKOFF_S
        await self._something.wait()
        while True:
            producer = idempotent_producer(self._configuration)
            try:
                await start_patiently(producer)
                failure, sent = await self._send_with(producer)
            finally:
                self._producer = None
                await close(producer)
            log.warning("%s could not be written (%s); sending them again with a new producer", self._what, failure)
            self.trouble = f"Kafka does not take the {self._what}"
            backoff_s = BACKOFF_S if sent else min(2 * backoff_s, BACKOFF_S_MAX)
            await asyncio.sleep(backoff_s)

    async def _send_with(self, producer: AIOKafkaProducer) -> tuple[KafkaError, bool]:
        """Send whatever comes until it fails: why, and whether anything got through before."""
        oldest = next(iter(self._open), None)
        failed: asyncio.Future[KafkaError] = asyncio.get_running_loop().create_future()
        self._failed = failed
        self._producer = producer
        try:
            for parcel in self._open:
                self._post(producer, parcel)
            failure = await failed
        finally:
            self._producer = None
            lanes, self._lanes = self._lanes, {}
            await end(*(lane.task for lane in lanes.values()))
        return failure, next(iter(self._open), None) is not oldest

    def _post(self, producer: AIOKafkaProducer, parcel: _Parcel) -> None:
        """Send the first record of it that is not durable yet."""
        place = len(parcel.offsets) - parcel.open_count
        record = parcel.delivery.records[place]
        to = record.topic, record.partition
        lane = self._lanes.get(to)
        if lane is None:
            lane = self._lanes[to] = _Lane(producer, TopicPartition(*to), self._spacing_s, self._durable, self._fail)
        lane.put(parcel, place)

    def _durable(self, parcel: _Parcel, place: int, offset: int) -> None:
        parcel.offsets[place] = offset
        parcel.open_count -= 1
        self.trouble = ""
        if parcel.open_count:
            if self._producer is not None:
                self._post(self._producer, parcel)
        else:
            del self._open[parcel]
            if not self._open:
                self._nothing.set()
            parcel.delivery.done(parcel.offsets)

    def _fail(self, error: BaseException) -> None:
        if self._failed.done():
            return
        if isinstance(error, KafkaError):
            self._failed.set_result(error)
        else:
            self._failed.set_exception(error)


class _Lane:
    """What is for one topic-partition: one batch in flight while the next one grows."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        place: TopicPartition,
        spacing_s: float,
        durable: Callable[[_Parcel, int, int], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._producer = producer
        self._place = place
        self._spacing_s = spacing_s
        self._not_before_s = 0.0
        self._durable = durable
        self._fail = fail
        self._queue: deque[tuple[_Parcel, int]] = deque()
        self._filled = asyncio.Event()
        self.task = asyncio.create_task(self._run(), name=f"results {place.topic}/{place.partition}")

    def put(self, parcel: _Parcel, place: int) -> None:
        if not self._queue:
            self._filled.set()
        self._queue.append((parcel, place))

    async def _run(self) -> None:
        try:
            while True:
                await self._filled.wait()
                if self._spacing_s:
                    await self._keep_spacing()
                await self._send_batch()
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            self._fail(error)

    async def _keep_spacing(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if now_s < self._not_before_s:
            await asyncio.sleep(self._not_before_s - now_s)
            now_s = loop.time()
        self._not_before_s = (now_s // self._spacing_s + 1) * self._spacing_s

    async def _send_batch(self) -> None:
        batch, queue, taken = self._producer.create_batch(), self._queue, []  # its first record goes in whatever its size
        while queue:
            parcel, place = queue[0]
            record = parcel.delivery.records[place]
            if batch.append(key=record.key, value=record.value, timestamp=None, headers=[*record.headers]) is None:
                break
            taken.append(queue.popleft())
        if not queue:
            self._filled.clear()
        batch.close()
        first = (await (await send_batch(self._producer, batch, self._place))).offset
        for number, (parcel, place) in enumerate(taken):
            self._durable(parcel, place, first + number)
