"""A decision and all that it rests on, found by its id: `PARTITION-OFFSET-N-IDENTITY` says at which record of the journal it was made.

The journal's record lies where the id says; what followed from it is looked for in the other topics from a time shortly before that record
on, since clocks differ, and not without end. Where it rests on the group agent's word, that verdict's own records are followed too, and it
is made again from them (`streams.recount`).
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from aiokafka.structs import ConsumerRecord

from agents.kafka_client import topic_name
from agents.policy_log import read_versions
from agents.topic_reader import TopicReader, kind_of, reading
from schemas.codec import JsonValue, loads
from schemas.configuration import Configuration
from schemas.disconnect import NOTICE_KIND
from schemas.event import RecordRef
from schemas.group import VERDICT_KIND, GroupVerdict, SlotMessage
from schemas.journal import PolicyVersion
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, RESULTS, SLOTS, Topic
from streams.ids import DecisionId
from streams.recount import breached_by, recount, slot_records

T = TypeVar("T")

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


class Member(msgspec.Struct, kw_only=True):
    """A session that a limit of a group counted.

    Attributes:
        slot: what it took: its device, or itself. record: of `group.slots`, by which it came in. source: of the session agents' journal.
    """

    identity: str
    session: str
    slot: str
    record: Record
    source: Record


class GroupDecision(msgspec.Struct, kw_only=True):
    """What the group agent said, and from which records.

    Attributes:
        verdict: in the session agents' journal. asked: the question, in `group.slots`.
        limit: which was breached; with `current` slots taken of `max`.
        rule: that limit by the policy version that the verdict names.
        counted: the sessions that took these slots; empty where they are too many to be named: the count rests on all of that partition
            of `group.slots` up to the question.
        is_same: the decision, made again from these records alone, is what the verdict says; None: they are not all there.
    """

    verdict: Record
    asked: Record | None
    group: str
    limit: str
    current: int
    max: int
    policy_version: int
    rule: JsonValue = None
    counted: list[Member] = []
    is_same: bool | None = None


class Explanation(msgspec.Struct, kw_only=True):
    """What is known of a decision.

    Attributes:
        id: as asked.
        record: the journal record at which it was made.
        events: that record's events, in order. commands: its disconnect commands. results: of those.
        because: the records that the decision names.
        groups: what the group agent said that it rests on.
        rule: the rule by the policy version it was decided by.
        searched_all: False: the search ended at its bound.
    """

    id: str
    record: Record
    events: list[JsonValue] = []
    commands: list[JsonValue] = []
    results: list[JsonValue] = []
    because: list[Record] = []
    groups: list[GroupDecision] = []
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
        versions = {version.version: version for version in await read_versions(configuration)}
        for verdict in (found.record, *found.because):
            if verdict.kind == VERDICT_KIND and (said := _as(GroupVerdict, verdict)) is not None:
                found.groups += await _group_decision(journal, journals, verdict, said, versions)
    _rule(found, versions)
    return found


async def _group_decision(
    journal: TopicReader, journals: dict[str, Topic], verdict: Record, said: GroupVerdict, versions: dict[int, PolicyVersion]
) -> list[GroupDecision]:
    """The second hop: from a verdict to the question and to those who were counted; nothing for one that tells of no breached limit."""
    told = breached_by(said)
    if told is None:
        return []
    question, named = slot_records(said)
    asked = None if question is None else await _record(journal, SLOTS, *_place(question))
    found = GroupDecision(
        verdict=verdict,
        asked=asked,
        group=said.group,
        limit=told.limit,
        current=told.current,
        max=told.max,
        policy_version=said.policy_version,
        rule=_named_rule(versions.get(said.policy_version), {told.limit}),
    )
    message = None if asked is None else _as(SlotMessage, asked)
    version = versions.get(said.policy_version)
    if message is None or version is None:
        return [found]
    records = {}
    for ref in named:
        record = await _record(journal, SLOTS, *_place(ref))
        if (taken := _as(SlotMessage, record)) is not None:
            records[taken.identity, taken.session] = record, taken
    again = recount(version.policy, said, message, [taken for _, taken in records.values()])
    sources = next(name for name, topic in journals.items() if topic is ACCOUNTING)
    for counted in again.counted:
        record, taken = records[counted.identity, counted.session]
        source = await _record(journal, ACCOUNTING, sources, taken.partition, taken.offset)
        found.counted.append(Member(**counted._asdict(), record=record, source=source))
    if len(records) == len(named) and (named or not told.current):
        found.is_same = again.is_same
    return [found]


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


def _rule(found: Explanation, versions: dict[int, PolicyVersion]) -> None:
    decided = [each for each in (*found.events, *found.commands) if each.get("policy_version")]
    if not decided:
        return
    found.policy_version = decided[0]["policy_version"]
    found.rule = _named_rule(versions.get(decided[0]["policy_version"]), {each["rule"] for each in decided if each.get("rule")})


def _named_rule(version: PolicyVersion | None, names: set[str]) -> JsonValue:
    """The first rule of these names in a version of the policy, if it is there."""
    if version is None:
        return None
    rules = [rule for rules in msgspec.to_builtins(version.policy).values() if isinstance(rules, (list, tuple)) for rule in rules]
    return next((rule for rule in rules if rule.get("name") in names), None)


def _place(ref: RecordRef) -> tuple[str, int, int]:
    return ref.topic, ref.partition, ref.offset


def _as(kind: type[T], record: Record) -> T | None:
    """What a record says; None where it is not there, or is none of that kind."""
    try:
        return msgspec.convert(record.value, kind) if record.found else None
    except msgspec.ValidationError:
        return None


def _json(record: ConsumerRecord[Any, Any]) -> JsonValue:
    try:
        return loads(record.value or b"")
    except ValueError:
        return None
