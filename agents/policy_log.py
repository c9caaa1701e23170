"""The policy's versions in Kafka: reading them, publishing the next one, and seeing from which offsets on it holds.

A version is published under a transactional id of its own, so of two who publish at once the one who began last wins and the other is
told; a version number is never given twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import GroupCoordinatorNotAvailableError, ProducerFenced

from agents.directory import Directory, nothing
from agents.kafka_client import client_settings, close, prefixed, topic_name
from agents.topic_admin import admin_client, kafka_answers
from agents.topic_reader import reading
from schemas.codec import UNREADABLE, decoder, encode
from schemas.configuration import Configuration
from schemas.errors import CurfewError
from schemas.journal import PolicyVersion
from schemas.policy import Policy
from schemas.topics import POLICY, POLICY_TRANSACTIONAL_ID, TABLE, WORKER_GROUP

POLICY_NAME = "default"
COORDINATOR_RETRY_S = 0.1
_MEMBERS = 5  # their place in a described group, in all versions of the protocol that describe one
_VERSION = decoder(PolicyVersion).decode


class OvertakenError(CurfewError):
    """Somebody else published at the same time."""


class Published(NamedTuple):
    """What `publish` did: the version in the log, and whether it is new there."""

    version: PolicyVersion
    is_new: bool


def policy_key(version: int) -> str:
    """The key of a version in the policy topic."""
    return f"{POLICY_NAME}@{version}"


async def read_versions(configuration: Configuration) -> list[PolicyVersion]:
    """All versions that can be read, oldest first; what else lies in the topic is the door's to reject.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
        TopicsMissingError: there is no such topic.
    """
    versions: dict[int, PolicyVersion] = {}
    async with reading(configuration, POLICY) as reader:
        async for record in reader.to_end():
            try:
                version = _VERSION(record.value or b"")
            except UNREADABLE:
                continue
            if record.key == policy_key(version.version).encode():
                versions[version.version] = version
    return [versions[number] for number in sorted(versions)]


async def publish(configuration: Configuration, policy: Policy, who: str, now_ms: int) -> Published:
    """Publish a policy as the next version, unless it is what the last version says already.

    Args:
        configuration: where Kafka is.
        policy: checked.
        who: goes on record.
        now_ms: wall clock, milliseconds since the epoch.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
        TopicsMissingError: there is no such topic.
        OvertakenError: another publisher began later; nothing of this one was published.
    """
    transactional_id = prefixed(configuration, POLICY_TRANSACTIONAL_ID)
    producer = AIOKafkaProducer(**client_settings(configuration), transactional_id=transactional_id)
    try:
        async with kafka_answers(configuration):
            await producer.start()
        versions = await read_versions(configuration)
        if versions and versions[-1].policy == policy:
            return Published(versions[-1], is_new=False)
        number = versions[-1].version + 1 if versions else 1
        version = PolicyVersion(name=POLICY_NAME, version=number, time_ms=now_ms, who=who, policy=policy)
        async with kafka_answers(configuration):
            await _write(producer, topic_name(configuration, POLICY), version)
    finally:
        await close(producer)
    return Published(version, is_new=True)


async def _write(producer: AIOKafkaProducer, topic: str, version: PolicyVersion) -> None:
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, encode(version), key=policy_key(version.version).encode())
    except ProducerFenced as overtaken:
        raise OvertakenError("somebody else published meanwhile, and this policy was not: look at `curfew policy show`.") from overtaken


async def wait_in_force(configuration: Configuration, version: int, within_s: float) -> tuple[dict[int, int], int]:
    """Wait until every partition's row in `session.table` shows a version.

    Returns:
        The offsets at which it took effect, by partition, as far as it did in time; and the count of partitions.
    """
    directory = Directory(nothing)
    deadline = time.monotonic() + within_s
    async with reading(configuration, TABLE) as reader:
        count = reader.partitions[TABLE]
        async for record in reader.to_end():
            directory.apply(record)
        async for new in reader.as_they_come():
            if new is not None:
                directory.apply(new)
                continue
            offsets = offsets_in_force(directory).get(version, {})
            if len(offsets) == count or time.monotonic() > deadline:
                return offsets, count
    return {}, count


async def read_offsets(configuration: Configuration) -> Mapping[int, dict[int, int]]:
    """By version: the offsets at which it took effect, by partition, as far as the partitions remember."""
    directory = Directory(nothing)
    async with reading(configuration, TABLE) as reader:
        async for record in reader.to_end():
            directory.apply(record)
    return offsets_in_force(directory)


def offsets_in_force(directory: Directory) -> dict[int, dict[int, int]]:
    """What the partitions' own rows say: version -> partition -> offset."""
    offsets: dict[int, dict[int, int]] = {}
    for partition, row in sorted(directory.partitions.items()):
        for version, offset in row.policies:
            offsets.setdefault(version, {})[partition] = offset
    return offsets


async def workers_run(configuration: Configuration) -> bool:
    """Whether anybody is in the workers' consumer group.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
    """
    group = prefixed(configuration, WORKER_GROUP)
    async with admin_client(configuration) as admin:
        while True:
            try:
                answers = await admin.describe_consumer_groups([group])
            except GroupCoordinatorNotAvailableError:  # a new Kafka makes its topic of groups when it is first asked for one
                await asyncio.sleep(COORDINATOR_RETRY_S)
            else:
                return any(len(described[_MEMBERS]) > 0 for answer in answers for described in answer.groups)
