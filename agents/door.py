"""The policy's door: a version that is published in the topic `policy` is checked and put into every partition of both journals.

Session agent and group agent read their journals and nothing else, so a version takes effect at an offset, and a replay decides by the one
that was in force there. The door lets versions through at least once and the partitions ignore what is not newer than theirs, so a repeat
is worth nothing. What is no version goes to `accounting.rejected` with its bytes.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import ConsumerRecord

from agents import metrics
from agents.kafka_client import client_settings, close, idempotent_producer, prefixed, start_patiently, topic_name
from agents.policy_log import policy_key
from agents.tasks import end
from schemas.codec import UNREADABLE, decoder, encode
from schemas.configuration import Configuration
from schemas.journal import PolicyVersion, Rejected
from schemas.topics import ACCOUNTING, DOOR_GROUP, KIND_HEADER, POLICY, REJECTED, SLOTS, Topic
from streams.partitioner import partition_of

POLL_MS = 500
RECORDS_MAX = 100  # a version may be large, and there are few of them
POLICY_KIND = "policy"
REJECTED_BYTES_MAX = 512 * 1024

log = logging.getLogger(__name__)
_VERSION = decoder(PolicyVersion).decode


class NotAVersionError(Exception):
    """A record of the topic that is no policy version; its text says why."""


async def run_door(configuration: Configuration, stop: asyncio.Event) -> None:
    """Let versions through until `stop` is set. Waits for Kafka as long as that is away.

    Raises:
        KafkaError: a version could not be written; nothing was committed, so it comes again.
    """
    await keep_open(configuration, stop, POLICY, DOOR_GROUP, begin="earliest", make=Door)


async def keep_open(
    configuration: Configuration,
    stop: asyncio.Event,
    topic: Topic,
    group: str,
    *,
    begin: str,
    make: Callable[[Configuration, AIOKafkaProducer], Door],
) -> None:
    """Keep a door open until `stop` is set; several processes share it as one consumer group.

    Args:
        configuration: where Kafka is.
        stop: closes it.
        topic: what comes in through it.
        group: the consumer group's pinned name.
        begin: where a new group begins, `earliest` or `latest`.
        make: makes the door.

    Raises:
        KafkaError: something could not be written; nothing was committed, so it comes again.
    """
    consumer = AIOKafkaConsumer(
        topic_name(configuration, topic),
        **client_settings(configuration),
        group_id=prefixed(configuration, group),
        auto_offset_reset=begin,
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    producer = idempotent_producer(configuration)
    working = asyncio.create_task(make(configuration, producer).serve(consumer))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        await end(working, stopped)
        await close(consumer)
        await close(producer)


class Door:
    """One process's door.

    Attributes:
        records_max: how many are looked at together.
        newest: the newest version that it let through: an older one can change nothing any more.
    """

    records_max = RECORDS_MAX

    def __init__(self, configuration: Configuration, producer: AIOKafkaProducer) -> None:
        self.newest = 0
        self._configuration = configuration
        self._producer = producer

    async def serve(self, consumer: AIOKafkaConsumer) -> None:
        """Read, let through, commit; until cancelled."""
        await start_patiently(self._producer)
        await start_patiently(consumer)
        while True:
            polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=self.records_max)
            if not polled:
                continue
            await self.let_through(record for records in polled.values() for record in records)
            try:
                await consumer.commit({partition: records[-1].offset + 1 for partition, records in polled.items()})
            except (CommitFailedError, IllegalStateError):
                log.info("another door took over a partition of this topic; what was let through comes there again")

    async def let_through(self, records: Iterable[ConsumerRecord[Any, Any]]) -> None:
        """Put the newest version among them into every partition of the journals, and what is none into `accounting.rejected`.

        All is durable when it returns.

        Raises:
            KafkaError: something could not be written.
        """
        newest: tuple[int, bytes] = (self.newest, b"")
        refused = []
        for record in records:
            if record.value is None:
                continue  # a tombstone says nothing
            try:
                newest = max(newest, (version_of(record), record.value))
            except NotAVersionError as why:
                refused.append(self._reject(record, "no-policy-version", str(why), kind=POLICY_KIND, topic=POLICY))
        await asyncio.gather(*refused)
        version, value = newest
        if version > self.newest:
            await asyncio.gather(*(self._to_all(journal, POLICY_KIND, value) for journal in (SLOTS, ACCOUNTING)))
            self.newest = version
            log.info("policy version %d is in the journal", version)

    async def _to_all(self, journal: Topic, kind: str, value: bytes) -> None:
        """Put a record into every partition of a journal."""
        name, headers = topic_name(self._configuration, journal), [(KIND_HEADER, kind.encode())]
        send, partitions = self._producer.send_and_wait, range(self._configuration.kafka.partitions)
        await asyncio.gather(*(send(name, value, key=None, partition=partition, headers=headers) for partition in partitions))

    async def _reject(self, record: ConsumerRecord[Any, Any], reason: str, why: str, *, kind: str, topic: Topic) -> None:
        """Put what is refused, with its octets, where people look."""
        rejected = Rejected(
            reason=reason,
            detail=why,
            time_ms=record.timestamp,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            kind=kind,
            key=(record.key or b"").decode("utf-8", "backslashreplace"),
            bytes=base64.b64encode(record.value[:REJECTED_BYTES_MAX]).decode(),
        )
        partition = partition_of(topic.name, self._configuration.kafka.partitions)
        rejected_topic = topic_name(self._configuration, REJECTED)
        await self._producer.send_and_wait(rejected_topic, encode(rejected), key=topic.name.encode(), partition=partition)
        metrics.REJECTED.labels(rejected.reason).inc()


def version_of(record: ConsumerRecord[Any, Any]) -> int:
    """The version that a record of the policy topic holds.

    Raises:
        NotAVersionError: it holds none, or lies under another key than its own: compaction would take the wrong one.
    """
    try:
        version = _VERSION(record.value or b"")
    except UNREADABLE as wrong:
        raise NotAVersionError(str(wrong)) from wrong
    if version.version < 1 or record.key != policy_key(version.version).encode():
        raise NotAVersionError(f"version {version.version} should lie under the key {policy_key(version.version)}, counted from 1")
    return version.version
