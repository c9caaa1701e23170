"""The door for sightings against a real Kafka: checked, batched, in every partition of the journal (3.4)."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from agents.kafka_client import client_settings, topic_name
from agents.settings import load_settings
from agents.sightings_door import run_sightings_door
from agents.topic_admin import ensure_topics
from agents.topic_reader import kind_of, reading
from schemas.codec import decoder, encode
from schemas.journal import Rejected
from schemas.sighting import Sighting, Sightings
from schemas.topics import ACCOUNTING, REJECTED, SIGHTINGS
from tests.support.product import eventually
from tests.support.schemas import validate

PARTITIONS = 3


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
    running = asyncio.create_task(run_sightings_door(configuration, stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await running


async def records(configuration, topic):
    async with reading(configuration, topic) as reader:
        return [record async for record in reader.to_end()]


async def in_journal(configuration):
    """The MAC addresses in each partition, without those that only wake the door."""
    found = {partition: set() for partition in range(PARTITIONS)}
    for record in await records(configuration, ACCOUNTING):
        assert (kind_of(record), record.key) == ("sighting", None)
        validate(ACCOUNTING, None, "sighting", record.value)
        found[record.partition] |= {sighting.mac for sighting in decoder(Sightings).decode(record.value).seen}
    return found


async def test_what_is_seen_reaches_every_partition_and_what_is_not_a_sighting_is_kept(configuration):
    """3.4: broadcast, the future and garbage go to `accounting.rejected` with their octets, once there is somebody who reads."""
    producer = AIOKafkaProducer(**client_settings(configuration), acks="all")
    await producer.start()

    async def say(*values):
        for value in values:
            await producer.send_and_wait(topic_name(configuration, SIGHTINGS), value, key=b"k")

    def seen(mac, later_ms=0):
        return encode(Sighting(time_ms=round(time.time() * 1000) + later_ms, by="switch", mac=mac))

    async def awake():
        await say(seen("02:00:00:00:00:99"))  # a new group begins at the end: it must be there first
        return await in_journal(configuration)

    try:
        async with door(configuration):
            await eventually(awake, lambda found: all(found.values()), 60)
            await say(
                seen("ff:ff:ff:ff:ff:ff"),
                seen("02:00:00:00:00:01", 3_600_000),
                b"{not json",
                b'{"mac":"\xff"}',
                b'{"x":' * 30_000,
                *map(seen, ["02:00:00:00:00:02"] * 5),
            )
            await say(seen("02:00:00:00:00:03"))
            found = await eventually(
                lambda: in_journal(configuration), lambda found: all("02:00:00:00:00:03" in macs for macs in found.values()), 60
            )
            assert set().union(*found.values()) == {"02:00:00:00:00:99", "02:00:00:00:00:02", "02:00:00:00:00:03"}
            assert all(macs == found[0] for macs in found.values())
    finally:
        await producer.stop()
    rejected = [decoder(Rejected).decode(record.value) for record in await records(configuration, REJECTED)]
    assert sorted(one.reason for one in rejected) == [*["no-sighting"] * 3, "sighting-future", "sighting-no-device"]
    assert {one.topic for one in rejected} == {topic_name(configuration, SIGHTINGS)}
