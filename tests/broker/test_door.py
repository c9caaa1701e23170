"""The policy's door against a real Kafka: a version goes into every partition of the journal, at least once, whatever happens (4.9)."""

import asyncio
import base64
import time
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from agents.door import run_door
from agents.kafka_client import client_settings, topic_name
from agents.policy_log import OvertakenError, policy_key, publish, read_versions
from agents.settings import load_settings
from agents.topic_admin import ensure_topics
from agents.topic_reader import kind_of, reading
from schemas.codec import decoder, encode
from schemas.journal import PolicyVersion, Rejected
from schemas.policy import Limit, Policy
from schemas.topics import ACCOUNTING, POLICY, REJECTED, SLOTS
from tests.support.schemas import validate

PARTITIONS = 3
APPEAR_WITHIN_S = 60


@pytest.fixture
async def configuration(kafka, prefix, tmp_path):
    text = f'[kafka]\nbootstrap_servers = "{kafka.bootstrap}"\npartitions = {PARTITIONS}\ntopic_prefix = "{prefix}"\n'
    (tmp_path / "curfew.toml").write_text(text)
    configuration = load_settings(tmp_path / "curfew.toml", {})
    await ensure_topics(configuration)
    return configuration


@asynccontextmanager
async def door(configuration):
    stop = asyncio.Event()
    running = asyncio.create_task(run_door(configuration, stop))
    try:
        yield running
    finally:
        stop.set()
        await asyncio.wait_for(running, 60)


async def records_of(configuration, topic):
    async with reading(configuration, topic) as reader:
        return [record async for record in reader.to_end()]


async def versions_in_journal(configuration):
    """(journal, partition, version) of all policy records of both journals, in order."""
    found = []
    for journal in (ACCOUNTING, SLOTS):
        for record in await records_of(configuration, journal):
            assert (kind_of(record), record.key) == ("policy", None)
            validate(journal, None, "policy", record.value)
            found.append((journal.name, record.partition, decoder(PolicyVersion).decode(record.value).version))
    return sorted(found)


async def in_journal(configuration, *versions):
    """Wait until each partition holds these versions; return all that the journal holds then."""
    wanted = set(each(*versions))
    deadline = time.monotonic() + APPEAR_WITHIN_S
    while not wanted <= set(found := await versions_in_journal(configuration)):
        assert time.monotonic() < deadline, f"{found} lacks some of {wanted}"
        await asyncio.sleep(0.05)
    return found


async def put(configuration, key, value):
    producer = AIOKafkaProducer(**client_settings(configuration), acks="all")
    await producer.start()
    await producer.send_and_wait(topic_name(configuration, POLICY), value, key=key)
    await producer.stop()


def policy(max_sessions):
    return Policy(limits=(Limit(name="some", applies_to="user", max_sessions=max_sessions),))


def each(*versions):
    places = [(journal.name, partition) for journal in (ACCOUNTING, SLOTS) for partition in range(PARTITIONS)]
    return sorted((*place, version) for place in places for version in versions)


async def test_a_published_version_reaches_every_partition_once(configuration):
    """4.9: a change takes effect without a restart; published while the door stands open."""
    async with door(configuration):
        await publish(configuration, policy(1), "ada", 1000)
        assert await in_journal(configuration, 1) == each(1)
        await publish(configuration, policy(2), "ada", 2000)
        assert await in_journal(configuration, 2) == each(1, 2)
    assert await records_of(configuration, REJECTED) == []


async def test_a_door_that_opens_again_repeats_nothing_that_was_committed(configuration):
    """4.9: the group's offset is committed after the journal has it."""
    await publish(configuration, policy(1), "ada", 1000)
    async with door(configuration):
        await in_journal(configuration, 1)
    await publish(configuration, policy(2), "ada", 2000)
    async with door(configuration):
        assert await in_journal(configuration, 2) == each(1, 2)


async def test_a_version_published_before_any_door_stood_open_comes_in_and_the_newest_is_among_them(configuration):
    """4.9: the topic is compacted and read from its beginning; older versions decide nothing any more."""
    for number in (1, 2, 3):
        await publish(configuration, policy(number), "ada", number)
    async with door(configuration):
        found = await in_journal(configuration, 3)
    assert set(found) <= set(each(1, 2, 3))


async def test_what_is_no_version_is_rejected_with_its_bytes_and_the_door_stays_open(configuration):
    """Issue A: a record that is not JSON or lacks fields goes to accounting.rejected with its bytes; the rest goes on."""
    misplaced = encode(PolicyVersion(version=7, time_ms=1, policy=policy(7)))
    garbage = {b"default@1": b"\xff not JSON", b"default@2": b'{"version":2}', b"default@3": b'{"who":"\xff"}', b"default@8": misplaced}
    for key, value in garbage.items():
        await put(configuration, key, value)
    await put(configuration, b"default@9", None)
    await put(configuration, policy_key(4).encode(), encode(PolicyVersion(version=4, time_ms=1, policy=policy(4))))
    async with door(configuration):
        assert await in_journal(configuration, 4) == each(4)
        deadline = time.monotonic() + APPEAR_WITHIN_S
        while len(records := await records_of(configuration, REJECTED)) < len(garbage):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    rejected = [decoder(Rejected).decode(record.value) for record in records]
    for record in records:
        validate(REJECTED, record.key, "", record.value)
    assert {each.key.encode(): base64.b64decode(each.bytes) for each in rejected} == garbage
    assert {(each.topic, each.reason) for each in rejected} == {(topic_name(configuration, POLICY), "no-policy-version")}
    assert [version.version for version in await read_versions(configuration)] == [4]


async def test_two_who_publish_at_once_never_give_the_same_version_twice(configuration):
    """4.9: a version names one policy for good."""
    outcomes = await asyncio.gather(*(publish(configuration, policy(n), f"p{n}", n) for n in range(1, 5)), return_exceptions=True)
    assert all(isinstance(outcome, OvertakenError) for outcome in outcomes if isinstance(outcome, BaseException)), outcomes
    published = [outcome.version for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert published
    assert [version.version for version in published] == list(dict.fromkeys(version.version for version in published))
    log = await read_versions(configuration)
    assert sorted(version.version for version in published) == [version.version for version in log] == list(range(1, len(log) + 1))


async def test_the_door_closes_when_told_to_also_while_kafka_is_away(own_kafka, prefix, tmp_path):
    """DESIGN: nothing of ours hangs because Kafka is away."""
    (tmp_path / "curfew.toml").write_text(f'[kafka]\nbootstrap_servers = "{own_kafka.bootstrap}"\ntopic_prefix = "{prefix}"\n')
    configuration = load_settings(tmp_path / "curfew.toml", {})
    await own_kafka.stop()
    async with door(configuration) as running:
        done, _ = await asyncio.wait([running], timeout=1)
        assert not done
    assert running.done()
