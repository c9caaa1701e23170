"""The topics as they have to be in Kafka: making them, and holding those that exist against what is wanted.

A topic that exists with another partition count, cleanup policy or retention is never changed and never used: the identity's partition is
the same number in every topic, for good, and a compacted journal would be no journal.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code

from agents.kafka_client import client_settings, close, last_refusal, topic_name
from schemas.configuration import Configuration
from schemas.errors import CurfewError
from schemas.topics import TOPICS, Topic

ANSWER_WITHIN_S = 10.0
COMPARED_SETTINGS = ("cleanup.policy", "retention.ms")
_START_IT = (
    "start it (`curfew up`, or `curfew broker start` for the embedded one alone), "
    "or name another with KAFKA_BOOTSTRAP_SERVERS or [kafka] bootstrap_servers"
)
_ALREADY_EXISTS = 36  # the protocol's error code
_UNKNOWN_TOPIC = 3
_POLL_S = 0.05


class KafkaUnreachableError(CurfewError):
    """Kafka does not answer, or refuses us."""

    def __init__(self, configuration: Configuration, what: str, remedy: str = _START_IT) -> None:
        self.address = str(client_settings(configuration)["bootstrap_servers"])
        super().__init__(f"Kafka at {self.address} {what}: {remedy}.")


class TopicsMissingError(CurfewError):
    """Topics that are needed are not there."""


class TopicsDifferError(CurfewError):
    """Topics exist otherwise than wanted; a line for each difference."""


class TopicFacts(NamedTuple):
    """A topic as Kafka has it."""

    partitions: int
    settings: dict[str, str]


class Made(NamedTuple):
    """What `ensure_topics` did: names with the prefix."""

    created: list[str]
    existing: list[str]


@asynccontextmanager
async def kafka_answers(configuration: Configuration, within_s: float = ANSWER_WITHIN_S) -> AsyncIterator[None]:
    """What is asked of Kafka inside has an answer within `within_s`, or `KafkaUnreachableError` says in one sentence what to do."""
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError as late:
        raise KafkaUnreachableError(configuration, f"did not answer within {within_s:g} s") from late
    except (KafkaConnectionError, OSError) as away:
        refused = last_refusal()
        if refused is None:
            raise KafkaUnreachableError(configuration, "cannot be reached") from away
        if isinstance(refused, ssl.SSLError):
            raise KafkaUnreachableError(configuration, f"does not prove itself ({refused})", "see [kafka] ssl_cafile") from refused
        raise KafkaUnreachableError(configuration, f"refused our credentials ({refused})", "see [kafka] sasl_*") from refused
    except KafkaError as refused:
        raise KafkaUnreachableError(configuration, f"refused ({refused})", "its own log says more") from refused


@asynccontextmanager
async def admin_client(configuration: Configuration) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client.

    Raises:
        KafkaUnreachableError: see `kafka_answers`; the deadline is for the whole block.
    """
    async with kafka_answers(configuration):
        admin = AIOKafkaAdminClient(**client_settings(configuration))
        try:
            await admin.start()
            yield admin
        finally:
            await close(admin)


async def ensure_topics(configuration: Configuration) -> Made:
    """Make the topics that are not there.

    Returns:
        What was made and what was there; every partition has a leader.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
        TopicsDifferError: a topic exists otherwise than wanted; nothing was made then.
        CurfewError: Kafka refuses to make one (its own words).
    """
    async with admin_client(configuration) as admin:
        facts = await _facts(admin, configuration, TOPICS)
        missing = [topic for topic in TOPICS if topic not in facts]
        await _create(admin, configuration, missing, only_ask=True)  # brokers learn of a new topic later than the controller
        facts = await _facts(admin, configuration, TOPICS)
        _refuse_differences(configuration, facts)
        created = await _create(admin, configuration, [topic for topic in TOPICS if topic not in facts])
        if len(created) + len(facts) < len(TOPICS):  # somebody else made some of them meanwhile
            _refuse_differences(configuration, await _facts(admin, configuration, TOPICS))
    names = [topic_name(configuration, topic) for topic in TOPICS]
    return Made([name for name in names if name in created], [name for name in names if name not in created])


async def require_topics(configuration: Configuration) -> None:
    """What every part asks before it starts.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
        TopicsMissingError: some are not there.
        TopicsDifferError: some are otherwise than wanted.
    """
    facts = await describe_topics(configuration)
    _refuse_differences(configuration, facts)
    if missing := [topic_name(configuration, topic) for topic in TOPICS if topic not in facts]:
        raise TopicsMissingError(f"topics are missing ({', '.join(missing)}): make them with `curfew topics create`.")


async def describe_topics(configuration: Configuration, topics: Iterable[Topic] = TOPICS) -> dict[Topic, TopicFacts]:
    """The topics that are there.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
    """
    async with admin_client(configuration) as admin:
        return await _facts(admin, configuration, topics)


def differences(configuration: Configuration, topic: Topic, facts: TopicFacts) -> list[str]:
    """What differs from what is wanted, each a sentence with its remedy."""
    name, wanted = topic_name(configuration, topic), topic.settings()
    found = []
    if facts.partitions != configuration.kafka.partitions:
        found.append(
            f"{name} has {facts.partitions} partitions, wanted are {configuration.kafka.partitions}: the count is fixed for good; "
            f"set [kafka] partitions = {facts.partitions}, or another topic_prefix for an installation of its own."
        )
    found += [
        f"{name} has {setting} = {facts.settings.get(setting)}, wanted is {wanted[setting]}: set it with "
        f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {setting}={wanted[setting]}"
        for setting in COMPARED_SETTINGS
        if setting in wanted and facts.settings.get(setting) != wanted[setting]
    ]
    return found


def _refuse_differences(configuration: Configuration, facts: dict[Topic, TopicFacts]) -> None:
    if found := [line for topic, fact in facts.items() for line in differences(configuration, topic, fact)]:
        raise TopicsDifferError("\n".join(found))


async def _facts(admin: AIOKafkaAdminClient, configuration: Configuration, topics: Iterable[Topic]) -> dict[Topic, TopicFacts]:
    """Asks for all topics and not by name: a broker that makes topics at first mention would make ours as it likes."""
    described = {each["topic"]: each for each in await admin.describe_topics()}
    by_name = {topic_name(configuration, topic): topic for topic in topics}
    there = [name for name in by_name if name in described and described[name]["error_code"] != _UNKNOWN_TOPIC]
    if not there:
        return {}
    settings = await _settings(admin, there)
    return {by_name[name]: TopicFacts(len(described[name]["partitions"]), settings[name]) for name in there}


async def _settings(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """The settings of topics. A broker that has not heard yet of a topic just made says so in the answer: it is asked again.

    Raises:
        CurfewError: it goes on saying so, or we may not ask.
    """
    deadline = time.monotonic() + ANSWER_WITHIN_S / 2
    while True:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
        resources = [resource for answer in answers for resource in answer.resources]
        failed = next((resource for resource in resources if resource[0] != 0), None)
        if failed is None:
            return {resource[3]: {entry[0]: entry[1] for entry in resource[4]} for resource in resources}
        if time.monotonic() > deadline:
            raise CurfewError(f"Kafka does not tell the settings of {failed[3]}: {failed[1] or for_code(failed[0]).__name__}")
        await asyncio.sleep(_POLL_S)


async def _create(admin: AIOKafkaAdminClient, configuration: Configuration, topics: list[Topic], *, only_ask: bool = False) -> set[str]:
    """Make topics, or only ask the controller whether it would; those that exist by now are left alone.

    Returns:
        The names of those that were made; they and those that existed have leaders now.
    """
    if not topics:
        return set()
    kafka = configuration.kafka
    wanted = [
        NewTopic(topic_name(configuration, topic), kafka.partitions, kafka.replication_factor, topic_configs=topic.settings())
        for topic in topics
    ]
    created: set[str] = set()
    existing: set[str] = set()
    for name, code, *words in (await admin.create_topics(wanted, validate_only=only_ask)).topic_errors:
        if code not in (0, _ALREADY_EXISTS):
            raise CurfewError(f"Kafka refused to make {name}: {words[0] if words and words[0] else for_code(code).__name__}")
        (created if code == 0 else existing).add(name)
    await _wait_for_leaders(admin, existing if only_ask else created | existing)
    return created


async def _wait_for_leaders(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    deadline = time.monotonic() + ANSWER_WITHIN_S
    while names and time.monotonic() < deadline:
        described: list[dict[str, Any]] = await admin.describe_topics(sorted(names))
        ready = {each["topic"] for each in described if each["partitions"] and all(p["leader"] >= 0 for p in each["partitions"])}
        if names <= ready:
            return
        await asyncio.sleep(_POLL_S)
