"""What must hold however much was broken, from the topics alone: held against what the NASes were answered and against models.

Law of this file: (what lies in the topics, what was sent) -> findings, each a sentence; no finding, no fault of the product. Three models
are asked. The same step in one process that nobody kills (tests.support.model) says what every journal must have led to. A slow and
obvious one that shares no code with the product says who has more devices than he may (`limits`). The users' own truth says whether
somebody was disconnected who should not have been (`truth`). Records that a stranger wrote are known by their places: they must have
changed nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from schemas.group import SLOT_KIND, VERDICT_KIND
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, GROUPS, REJECTED, RESULTS, SLOTS, TABLE, Topic
from streams.group_core import GroupCore
from tests.support.load import OCTETS, Name
from tests.support.model import Replay, compacted, replay
from tests.support.nas import Sent
from tests.support.product import Product, Stored

DIFFERS_WHEN_SENT_AGAIN = ("acct_delay_s", "received_ms", "ingest")
ALL = (ACCOUNTING, TABLE, EVENTS, COMMANDS, RESULTS, REJECTED, SLOTS, GROUPS)

Place = tuple[str, int, int]
"""(topic without prefix, partition, offset)."""
Topics = dict[Topic, list[Stored]]


class Findings(NamedTuple):
    """What does not hold, each a list of sentences.

    Attributes:
        lost: acknowledged records that are not in the journal, or not as they were sent; records that nobody sent.
        differ: rows and outputs that are not the model's, in either direction; breaches that the slow model sees otherwise.
        false_kicks: Disconnect-Requests for a session that had no reason to go.
        doubled: sessions that ended twice, commands with two final outcomes or none.
        gaps: in the sequence of an identity's events.
        went_back: an older owner of a partition wrote its state over a newer one's.
        other: processes that ended by themselves, memory out of bounds, a projection that is not the table.
    """

    lost: list[str]
    differ: list[str]
    false_kicks: list[str]
    doubled: list[str]
    gaps: list[str]
    went_back: list[str]
    other: list[str]

    def __bool__(self) -> bool:
        return any(self)


async def read(product: Product, strange: Collection[Place] = ()) -> Topics:
    """All that lies in the topics; without what a stranger wrote, but for the journals, where it has its place, and no value for us."""
    left = set(strange)
    stored: Topics = {}
    for topic in ALL:
        records = [(record, (topic.name, record.partition, record.offset) in left) for record in await product.records(topic)]
        if topic in (ACCOUNTING, SLOTS):
            stored[topic] = [record._replace(value=None) if is_strange else record for record, is_strange in records]
        else:
            stored[topic] = [record for record, is_strange in records if not is_strange]
    return stored


def lost(sent: Iterable[tuple[Name, Sent]], journal: list[Stored]) -> list[str]:
    """1.1: what was answered is in the journal, what is there more than once says the same, and nothing is there that nobody sent."""
    copies: dict[Name, list[dict]] = defaultdict(list)
    for record in journal:
        if record.kind == "accounting" and record.value is not None and (record.key is not None or record.partition == 0):
            value = record.value
            name = Name(value["nas"], value["acct_session_id"], value["status"], value.get("input_octets", 0) // OCTETS)
            copies[name].append({field: said for field, said in value.items() if field not in DIFFERS_WHEN_SENT_AGAIN})
    all_sent = list(sent)
    answered = {name for name, packet in all_sent if packet.answered_s is not None}
    return [
        *(f"{name} was answered and is not in the journal" for name in sorted(answered - copies.keys())),
        *(f"{name} was sent by nobody" for name in sorted(copies.keys() - {name for name, _ in all_sent})),
        *(f"{name} is told in two ways" for name, said in copies.items() if any(each != said[0] for each in said)),
    ]


def differ(stored: Topics, product: Product, partitions: int, deleted: Collection[Topic] = ()) -> list[str]:
    """2.8, 7.1: rows, events, commands, slots, claims and verdicts are those of a model that read the journals once, in one process.

    Args:
        stored: the topics.
        product: for its topics' names.
        partitions: of each topic.
        deleted: topics that somebody deleted under it: of those some may be missing.
    """
    found: list[str] = []
    outputs: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for number in range(partitions):
        for journal, table, make_core in ((ACCOUNTING, TABLE, None), (SLOTS, GROUPS, GroupCore)):
            own = [record for record in stored[journal] if record.partition == number]
            more = () if make_core is None else (make_core,)
            wanted: Replay = replay(own, number, partitions, product.prefix + journal.name, *more)
            there = compacted(stored[table], number)
            found += [
                f"{table.name} {number}: {key} is {there.get(key)!r}, and in the model {wanted.rows.get(key)!r}"
                for key in sorted(there.keys() | wanted.rows.keys())
                if there.get(key) != wanted.rows.get(key)
            ]
            for output in wanted.outputs:
                outputs[output.topic, output.partition].add(output.value)
    for topic, kinds in _PRODUCED.items():
        for number in range(partitions):
            there_too = {record.octets for record in stored[topic] if record.partition == number and _is_produced(record, topic, kinds)}
            model = outputs[topic.name, number]
            found += [f"{topic.name} {number} has what the model has not: {value!r}" for value in sorted(_octets(there_too - model))]
            if topic not in deleted:
                found += [f"{topic.name} {number} lacks what the model has: {value!r}" for value in sorted(model - there_too)]
    return found


_PRODUCED: dict[Topic, tuple[str, ...]] = {
    EVENTS: (),
    COMMANDS: (),
    REJECTED: (),
    SLOTS: (SLOT_KIND,),
    ACCOUNTING: (VERDICT_KIND, "claim"),
}
"""Topics that the agents write, and the kinds of record there that are theirs; none: all of them."""


def _is_produced(record: Stored, topic: Topic, kinds: tuple[str, ...]) -> bool:
    if record.value is None:  # a stranger's, in a journal
        return False
    if topic is REJECTED:  # the doors for others refuse too
        return record.value["topic"].endswith((ACCOUNTING.name, SLOTS.name))
    return not kinds or record.kind in kinds


def gaps(events: list[Stored]) -> list[str]:
    """7.1: repeats taken away, each identity's events come in the order of their sequence, without gaps, from 1 in each epoch."""
    found: list[str] = []
    seen: set[str] = set()
    last: dict[tuple[str | None, int], int] = defaultdict(int)
    for record in events:
        event = record.value
        if event["id"] not in seen:
            seen.add(event["id"])
            of = record.key, event["seq_epoch"]
            if event["seq"] != last[of] + 1:
                found.append(f"{event['id']} ({event['type']}) of {of} has {event['seq']}, after {last[of]}")
            last[of] = event["seq"]
    return found


def doubled(stored: Topics, grace_ms: int) -> list[str]:
    """2.7, 5.4: a session ends once, unless it began again or was forgotten meanwhile; a command has one outcome, and the journal knows it.

    Args:
        stored: the topics.
        grace_ms: so long after its end a session is remembered.
    """
    found: list[str] = []
    ended: dict[tuple[str, str], tuple[int, int]] = {}
    for record in {record.value["id"]: record for record in stored[EVENTS]}.values():
        event = record.value
        session = event["nas"], event.get("acct_session_id", "")
        if event["type"] in ("session.started", "session.reopened"):
            ended.pop(session, None)
        elif event["type"] == "session.ended":
            # By an ingest's clock, which a fault may set, and by a worker's, which may have been down
            at_ms = event["time_ms"], record.time_ms
            before_ms = ended.get(session)
            if before_ms is not None and max(now - before for now, before in zip(at_ms, before_ms, strict=True)) < grace_ms:
                found.append(f"{session} ended again at {at_ms}, after {before_ms}")
            ended[session] = at_ms
    ids = {record.value["id"] for record in stored[COMMANDS] if record.kind == "command"}
    finals = {(record.value["command_id"], record.value["outcome"]) for record in stored[RESULTS] if record.value["final"]}
    counts = Counter(command_id for command_id, _ in finals)
    told = {
        (record.value["command_id"], record.value["outcome"])
        for record in stored[ACCOUNTING]
        if record.kind == "result" and record.value is not None and record.value["final"]
    }
    return [
        *found,
        *(f"{command_id} has {counts[command_id]} final outcomes" for command_id in sorted(ids | counts.keys()) if counts[command_id] != 1),
        *(f"the journal does not know of {final}" for final in sorted(finals - told)),
        *(f"the journal knows of {final}, and the results do not" for final in sorted(told - finals)),
    ]


def went_back(stored: Topics) -> list[str]:
    """2.8: the offset in a partition's own row never falls: whoever lost the partition did not write over his successor (the fence)."""
    found: list[str] = []
    for topic in (TABLE, GROUPS):
        offsets: dict[int, int] = defaultdict(int)
        for record in stored[topic]:
            if record.key == f"p:{record.partition}" and record.value is not None:
                if record.value["next_offset"] < offsets[record.partition]:
                    found.append(f"{topic.name} {record.partition}: {record.value['next_offset']} after {offsets[record.partition]}")
                offsets[record.partition] = record.value["next_offset"]
    return found


def _octets(values: Iterable[bytes | None]) -> list[bytes]:
    return [value or b"" for value in values]
