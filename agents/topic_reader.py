"""Reading a topic without a consumer group: from an offset to its end, and on as records come. For people's questions, not for workers.

Everything is read `read_committed`: what a zombie worker wrote and never committed is nobody's truth.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from agents.kafka_client import client_settings, close, topic_name
from agents.topic_admin import ANSWER_WITHIN_S, KafkaUnreachableError, TopicsMissingError, describe_topics, kafka_answers
from schemas.configuration import Configuration
from schemas.topics import KIND_HEADER, Topic

POLL_MS = 100
RECORDS_MAX = 2000


class TopicReader:
    """A reader of some partitions of some topics; it starts at their beginning. Made by `reading`.

    Attributes:
        partitions: the partition count of each topic.
    """

    def __init__(self, configuration: Configuration, consumer: AIOKafkaConsumer, partitions: Mapping[Topic, int]) -> None:
        self.partitions = partitions
        self._configuration = configuration
        self._consumer = consumer
        self._topics = {topic_name(configuration, topic): topic for topic in partitions}

    def topic_of(self, record: ConsumerRecord[Any, Any]) -> Topic:
        """Which topic a record came from."""
        return self._topics[record.topic]

    async def seek_to_end(self) -> None:
        """From now on only what comes new."""
        async with kafka_answers(self._configuration):
            for assigned, end in (await self._ends()).items():
                self._consumer.seek(assigned, end)

    async def seek_to_time(self, time_ms: int) -> None:
        """To the first record of each partition that Kafka took in at that time or later; the end where there is none."""
        await self.seek_to_times({assigned.partition: time_ms for assigned in self._consumer.assignment()})

    async def seek_to_times(self, times_ms: Mapping[int, int]) -> None:
        """The same with a time for each partition number; a partition without one stays where it is."""
        wanted = {assigned: times_ms[assigned.partition] for assigned in self._consumer.assignment() if assigned.partition in times_ms}
        async with kafka_answers(self._configuration):
            found = await self._consumer.offsets_for_times(wanted)
            ends = await self._ends()
        for assigned, place in found.items():
            self._consumer.seek(assigned, ends[assigned] if place is None else place.offset)

    async def behind(self) -> int:
        """How many records there are that were not given yet, as far as Kafka last said."""
        behind = 0
        for assigned in self._consumer.assignment():
            end = self._consumer.last_stable_offset(assigned)
            if end is not None:
                behind += max(0, end - await self._consumer.position(assigned))
        return behind

    async def one(self, topic: Topic, partition: int, offset: int) -> ConsumerRecord[Any, Any] | None:
        """The record at an offset; None if it is not there any more (retention, compaction) or not yet."""
        assigned = TopicPartition(topic_name(self._configuration, topic), partition)
        async with kafka_answers(self._configuration):
            begin = (await self._consumer.beginning_offsets([assigned]))[assigned]
            end = (await self._consumer.end_offsets([assigned]))[assigned]
            if not begin <= offset < end:
                return None
            self._consumer.seek(assigned, offset)
            while await self._consumer.position(assigned) <= offset:
                for record in (await self._consumer.getmany(assigned, timeout_ms=POLL_MS)).get(assigned, []):
                    if record.offset >= offset:
                        return record if record.offset == offset else None
        return None

    async def to_end(self) -> AsyncIterator[ConsumerRecord[Any, Any]]:
        """The records up to where the topics end now, in order within each partition; what came since is read next.

        Raises:
            KafkaUnreachableError: nothing came for ten seconds although there is more.
        """
        async with kafka_answers(self._configuration):
            ends = await self._ends()
            left = {assigned for assigned, end in ends.items() if await self._consumer.position(assigned) < end}
        came_since: dict[TopicPartition, int] = {}
        progress_s = time.monotonic()
        while left:
            polled = await self._consumer.getmany(*left, timeout_ms=POLL_MS, max_records=RECORDS_MAX)
            for assigned, records in polled.items():
                for record in records:
                    if record.offset < ends[assigned]:
                        yield record
                    else:
                        came_since.setdefault(assigned, record.offset)
            reached = {assigned for assigned in left if await self._consumer.position(assigned) >= ends[assigned]}
            if polled or reached:
                progress_s = time.monotonic()
            elif time.monotonic() - progress_s > ANSWER_WITHIN_S:
                raise KafkaUnreachableError(self._configuration, f"sent nothing for {ANSWER_WITHIN_S:g} s")
            left -= reached
        for assigned, offset in came_since.items():
            self._consumer.seek(assigned, offset)

    async def as_they_come(
        self, for_s: float | None = None, records_max: int = RECORDS_MAX
    ) -> AsyncIterator[ConsumerRecord[Any, Any] | None]:
        """The records from here on, without end or for some seconds; None after each poll, so that the caller can look at the clock.

        Args:
            for_s: how long; None: without end.
            records_max: of a poll: so many are unpacked before anything else in the process has its turn.
        """
        deadline = None if for_s is None else time.monotonic() + for_s
        while deadline is None or time.monotonic() < deadline:
            polled = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=records_max)
            for records in polled.values():
                for record in records:
                    yield record
            yield None

    async def counts(self) -> dict[Topic, int]:
        """About how many records each topic holds: end less beginning."""
        async with kafka_answers(self._configuration):
            assigned = list(self._consumer.assignment())
            begins, ends = await self._consumer.beginning_offsets(assigned), await self._consumer.end_offsets(assigned)
        counts = dict.fromkeys(self.partitions, 0)
        for place in assigned:
            counts[self._topics[place.topic]] += ends[place] - begins[place]
        return counts

    async def _ends(self) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(list(self._consumer.assignment()))
        return ends


@asynccontextmanager
async def reading(
    configuration: Configuration, *topics: Topic, partitions: Callable[[int], Collection[int] | None] = lambda _: None
) -> AsyncIterator[TopicReader]:
    """A reader at the beginning of these topics.

    Args:
        configuration: where Kafka is.
        topics: what is read.
        partitions: which of a topic's partitions, given their count; None: all.

    Raises:
        KafkaUnreachableError: Kafka does not answer within ten seconds.
        TopicsMissingError: a topic is not there.
    """
    facts = await describe_topics(configuration, topics)
    if missing := [topic_name(configuration, topic) for topic in topics if topic not in facts]:
        raise TopicsMissingError(f"{', '.join(missing)}: no such topic; make it with `curfew topics create`.")
    assigned = []
    for topic in topics:
        count = facts[topic].partitions
        wanted = partitions(count)
        assigned += [TopicPartition(topic_name(configuration, topic), n) for n in range(count) if wanted is None or n in wanted]
    consumer = AIOKafkaConsumer(
        **client_settings(configuration),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=POLL_MS,
    )
    try:
        async with kafka_answers(configuration):
            await consumer.start()
            consumer.assign(assigned)
            await consumer.seek_to_beginning(*assigned)
        yield TopicReader(configuration, consumer, {topic: facts[topic].partitions for topic in topics})
    finally:
        await close(consumer)


def kind_of(record: ConsumerRecord[Any, Any]) -> str:
    """The record's `kind` header; empty if it has none."""
    return next((value.decode("utf-8", "replace") for name, value in record.headers if name == KIND_HEADER and value is not None), "")
