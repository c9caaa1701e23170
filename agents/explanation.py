"""A decision and all that it rests on, found by its id: `PARTITION-OFFSET-N-IDENTITY` says at which record of the journal it was made.

The journal's record lies where the id says; what followed from it is looked for in the other topics from a time shortly before that record
on, since clocks differ, and not without end.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiokafka.structs import ConsumerRecord

from agents.kafka_client import topic_name
from agents.policy_log import read_versions
from agents.topic_reader import TopicReader, kind_of, reading
from schemas.codec import JsonValue, loads
from schemas.configuration import Configuration
from schemas.disconnect import NOTICE_KIND
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, RESULTS, SLOTS, Topic
from streams.ids import DecisionId

CLOCKS_DIFFER_MS = 60_000
SEARCHED_MAX = 1_000_000


class Record(msgspec.Struct, kw_only=True):
    """A record as it lies in a journal, or that it is not there any more.

    Attributes:
        topic: the session agent's journal (`radius.accounting`) or the group agent's (`group.slots`), by its name in this installation.
        found: False: expired, or never written.
        timestamp_ms: Kafka's.
        value: the JSON; None if it is none.
    """

    topic: str
    partition: int
    offset: int
    found: bool = False
    kind: str = ""
    key: str = ""
    timestamp_ms: int = 0
    value: JsonValue = None


class Explanation(msgspec.Struct, kw_only=True):
    """What is known of a decision.

    Attributes:
        id: as asked.
        record: the journal record at which it was made.
        events: that record's events, in order. commands: its disconnect commands. results: of those.
        because: the records that the decision names.
        rule: the rule by the policy version it was decided by.
        searched_all: False: the search ended at its bound.
    """

    id: str
    record: Record
    events: list[JsonValue] = []
    commands: list[JsonValue] = []
    results: list[JsonValue] = []
    because: list[Record] = []
    policy_version: int | None = None
    rule: JsonValue = None
    searched_all: bool = True


async def explain_decision(configuration: Configuration, asked: DecisionId, text: str) -> Explanation | None:
    """All about a decision; None if the journal has no such partition.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
        TopicsMissingError: a topic is not there.
    """
    journals = {topic_name(configuration, topic): topic for topic in (ACCOUNTING, SLOTS)}
    async with reading(configuration, *journals.values()) as journal:
        if asked.partition >= journal.partitions[ACCOUNTING]:
            return None
        own = topic_name(configuration, ACCOUNTING)
        found = Explanation(id=text, record=await _record(journal, ACCOUNTING, own, asked.partition, asked.offset))
        await _what_followed(configuration, asked, found)
        for name, partition, offset in _named(found):
            if name in journals:
                found.because.append(await _record(journal, journals[name], name, partition, offset))
    await _rule(configuration, found)
    return found


async def _record(journal: TopicReader, topic: Topic, name: str, partition: int, offset: int) -> Record:
    record = await journal.one(topic, partition, offset)
    if record is None:
        return Record(topic=name, partition=partition, offset=offset)
    return Record(
        topic=name,
        partition=partition,
        offset=offset,
        found=True,
        kind=kind_of(record),
        key=(record.key or b"").decode("utf-8", "backslashreplace"),
        timestamp_ms=record.timestamp,
        value=_json(record),
    )


async def _what_followed(configuration: Configuration, asked: DecisionId, found: Explanation) -> None:
    """Events lie in the journal's own partition, commands and results in the NAS's: their bytes are searched before they are read."""
    start = f"{asked.partition}-{asked.offset}-"
    into: dict[Topic, list[JsonValue]] = {EVENTS: found.events, COMMANDS: found.commands, RESULTS: found.results}
    async with reading(configuration, EVENTS, partitions=lambda _: {asked.partition}) as reader:
        await _search(reader, into, start, found)
    async with reading(configuration, COMMANDS, RESULTS) as reader:
        await _search(reader, into, start, found)
    found.events.sort(key=lambda event: event.get("seq", 0))


async def _search(reader: TopicReader, into: dict[Topic, list[JsonValue]], start: str, found: Explanation) -> None:
    """Gather what has an id that begins with `start`, each once however often it was delivered."""
    if found.record.found:
        await reader.seek_to_time(found.record.timestamp_ms - CLOCKS_DIFFER_MS)
    searched, mark = 0, f'"{start}'.encode()
    async for record in reader.to_end():
        searched += 1
        if searched > SEARCHED_MAX:
            found.searched_all = False
            return
        value = _json(record) if mark in (record.value or b"") else None
        if not isinstance(value, dict) or kind_of(record) == NOTICE_KIND:
            continue
        topic = reader.topic_of(record)
        if str(value.get("command_id" if topic is RESULTS else "id", "")).startswith(start) and value not in into[topic]:
            into[topic].append(value)


def _named(found: Explanation) -> list[tuple[str, int, int]]:
    """The records that the decision itself names, each once."""
    decisions = [each for each in (*found.events, *found.commands) if each["id"] == found.id] or [*found.events, *found.commands]
    places = [(ref["topic"], ref["partition"], ref["offset"]) for decision in decisions for ref in decision.get("because", [])]
    own = (found.record.topic, found.record.partition, found.record.offset)
    return [place for place in dict.fromkeys(places) if place != own]


async def _rule(configuration: Configuration, found: Explanation) -> None:
    decided = [each for each in (*found.events, *found.commands) if each.get("policy_version")]
    if not decided:
        return
    found.policy_version = decided[0]["policy_version"]
    names = {each["rule"] for each in decided if each.get("rule")}
    for version in await read_versions(configuration):
        if version.version == found.policy_version:
            rules = [rule for rules in msgspec.to_builtins(version.policy).values() if isinstance(rules, (list, tuple)) for rule in rules]
            found.rule = next((rule for rule in rules if rule.get("name") in names), None)


def _json(record: ConsumerRecord[Any, Any]) -> JsonValue:
    try:
        return loads(record.value or b"")
    except ValueError:
        return None
