"""kill -9 and a frozen worker under load: from the topics alone nobody can tell that anything happened."""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.group import SLOT_KIND, VERDICT_KIND
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, GROUPS, REJECTED, RESULTS, SLOTS, TABLE, Topic
from streams.group_core import GroupCore
from tests.support.kafka import Kafka
from tests.support.load import Load, Name
from tests.support.model import Replay, compacted, replay
from tests.support.product import LOOK_EVERY_S, Nas, Part, Product, Stored, eventually, running

PARTITIONS = 4
NASES = 3
USERS = 250
PACKETS_PER_S = 250.0
ROUNDS = int(os.environ.get("CURFEW_CHAOS_ROUNDS", "10"))
CONFIRM_WITHIN_S = 8
TICK_S = 0.2
"""An ingest that was killed is waited for during ten ticks: less than what it lives here, or no NAS's clock would advance."""
SECRET, DAE_SECRET = "testing123", "testing456"
DIFFERS_WHEN_SENT_AGAIN = ("acct_delay_s", "received_ms", "ingest")
POLICY = f"""
late_after_s = 3
confirm_within_s = {CONFIRM_WITHIN_S}
grace_s = 10
[[limit]]
name = "one-device"
applies_to = "user"
max_sessions = 1
victim = "oldest"
hold_s = 3
[[limit]]
name = "group-total"
applies_to = "group"
max_sessions = 30
[[membership]]
attribute = "Class"
pattern = "^group=(?P<group>.+)"
[[liveness]]
rule = "interim"
times = 2
"""


@pytest.mark.slow
@pytest.mark.timeout(240 + 10 * ROUNDS)
async def test_killed_and_frozen_parts_lose_nothing_and_change_nothing(
    kafka: Kafka, prefix: str, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
):
    """1.1, 1.4, 2.8, 4.1, 7.1: what was answered is in the journal; tables, events, commands, slots and the groups' verdicts are those of a
    model that read the journals.
    """
    load = Load(seed, NASES, USERS, SECRET.encode(), DAE_SECRET.encode())
    nases = [Nas(nas.identifier, SECRET, nas.dae_port, DAE_SECRET, identifier=nas.identifier, interim_s=3) for nas in load.nases]
    product = Product(tmp_path, kafka.bootstrap, prefix, nases, partitions=PARTITIONS, workers=2, tick_s=TICK_S)
    for nas in load.nases:
        nas.server = ("127.0.0.1", product.port)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running(product, POLICY))
        for nas in load.nases:
            await stack.enter_async_context(nas)
        async with loaded(load), kept_running(product) as ended_by_themselves:
            killed = await kill_at_random(product, random.Random(seed))
            await freeze_a_worker(product)
        await come_to_rest(product, load)
        seen = await verify(product, load)
    with capsys.disabled():
        print(f"\n  crash test, seed {seed}: killed {' '.join(killed)}; frozen worker-1; {seen}")  # noqa: T201 - whoever repeats it needs it
    assert ended_by_themselves == []


@contextlib.asynccontextmanager
async def loaded(load: Load) -> AsyncIterator[None]:
    """The load goes on inside."""
    stop = asyncio.Event()
    going = asyncio.create_task(load.run(PACKETS_PER_S, stop))
    try:
        yield
    finally:
        stop.set()
        await going


@contextlib.asynccontextmanager
async def kept_running(product: Product) -> AsyncIterator[list[str]]:
    """Start parts again when they are gone; yields those that ended otherwise than by SIGKILL."""
    ended: list[str] = []

    async def keep() -> None:
        while True:
            for part in product.parts:
                status = part.process.poll() if part.process is not None else 0
                if status is not None:
                    if status != -signal.SIGKILL:
                        ended.append(f"{part.name}: {status}\n{part.tail()}")
                    part.start()
            await asyncio.sleep(LOOK_EVERY_S)

    keeping = asyncio.create_task(keep())
    try:
        yield ended
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def kill_at_random(product: Product, chance: random.Random) -> list[str]:
    """Kill a part at a random moment, again and again; their names."""
    killed: list[Part] = []
    while len(killed) < ROUNDS:
        await asyncio.sleep(chance.uniform(0.2, 3.0))
        part = chance.choice([one for one in product.parts if one not in killed[-2:]])
        if part.process is not None and part.process.poll() is None:
            part.kill()
            killed.append(part)
    return [part.name for part in killed]


async def freeze_a_worker(product: Product) -> None:
    """Stop a worker until the other one has its partitions and has caught up; then let it go on."""

    async def gone() -> list[str]:
        return [part.name for part in product.parts if part.process is None or part.process.poll() is not None]

    await eventually(gone, lambda names: not names)
    for part in product.parts:
        await part.wait_ready()
    frozen = product.worker
    frozen.send(signal.SIGSTOP)
    await caught_up(product)
    frozen.send(signal.SIGCONT)
    await caught_up(product)


async def caught_up(product: Product) -> dict[tuple[Topic, int], int]:
    """Return when every partition's checkpoint has passed where its journal ends now, of sessions and of groups; and where that was."""
    ends = await journal_ends(product)

    async def next_offsets() -> dict[tuple[Topic, int], int]:
        found: dict[tuple[Topic, int], int] = defaultdict(int)
        for journal, table in ((ACCOUNTING, TABLE), (SLOTS, GROUPS)):
            for stored in await product.records(table):
                if stored.key == f"p:{stored.partition}":
                    found[journal, stored.partition] = stored.value["next_offset"]
        return found

    await eventually(next_offsets, lambda offsets: all(offsets[place] >= end for place, end in ends.items()), within_s=60.0)
    return ends


async def at_rest(product: Product) -> None:
    """Return when nothing more follows in either journal: sessions and groups answer each other there."""
    while await caught_up(product) != await journal_ends(product):
        pass


async def journal_ends(product: Product) -> dict[tuple[Topic, int], int]:
    """Where each partition of the journals ends, ticks aside: they come for ever."""
    return {
        (journal, stored.partition): stored.offset + 1
        for journal in (ACCOUNTING, SLOTS)
        for stored in await product.records(journal)
        if stored.kind != "tick"
    }


async def come_to_rest(product: Product, load: Load) -> None:
    """All is answered, every command has its final result, nothing is written any more, and the table has all of it."""

    async def unanswered() -> int:
        return load.unanswered

    async def open_commands() -> set[str]:
        ids = {command["id"] for command in await product.commands()}
        return ids - {result["command_id"] for result in await product.results(final=True)}

    await eventually(open_commands, lambda ids: not ids, within_s=3 * CONFIRM_WITHIN_S + 20.0)
    await eventually(unanswered, lambda count: count == 0, within_s=60.0)
    assert await product.ingest.stop() == 0
    await at_rest(product)
    await eventually(open_commands, lambda ids: not ids, within_s=3 * CONFIRM_WITHIN_S + 20.0)
    assert await product.kicker.stop() == 0
    await at_rest(product)
    for worker in product.workers:
        assert await worker.stop() == 0


async def verify(product: Product, load: Load) -> str:
    """Hold what lies in the topics against what was sent, and against the model; in a line, how much that was."""
    topics = (ACCOUNTING, TABLE, EVENTS, COMMANDS, RESULTS, REJECTED, SLOTS, GROUPS)
    stored = {topic: await product.records(topic) for topic in topics}
    journal = stored[ACCOUNTING]
    verify_answered(load, journal)
    outputs: dict[tuple[str, int], list[bytes]] = defaultdict(list)
    for number in range(PARTITIONS):
        own = [record for record in journal if record.partition == number]
        wanted: Replay = replay(own, number, PARTITIONS, product.prefix + ACCOUNTING.name)
        assert compacted(stored[TABLE], number) == wanted.rows
        slots = [record for record in stored[SLOTS] if record.partition == number]
        groups: Replay = replay(slots, number, PARTITIONS, product.prefix + SLOTS.name, GroupCore)
        assert compacted(stored[GROUPS], number) == groups.rows
        for output in wanted.outputs + groups.outputs:
            outputs[output.topic, output.partition].append(output.value)
    verdicts = [record for record in journal if record.kind == VERDICT_KIND]
    said = [record for record in journal if record.kind in (VERDICT_KIND, "claim")]
    messages = [record for record in stored[SLOTS] if record.kind == SLOT_KIND]
    for topic, records in ((EVENTS, stored[EVENTS]), (COMMANDS, stored[COMMANDS]), (REJECTED, []), (SLOTS, messages), (ACCOUNTING, said)):
        verify_outputs(topic, records, outputs)
    verify_sequences(stored[EVENTS])
    verify_results(stored[COMMANDS], stored[RESULTS], journal)
    assert stored[REJECTED] == []
    types = Counter(event.value["type"] for event in stored[EVENTS])
    assert types.keys() >= {"limit.breached", "session.stale", "disconnect.confirmed", "disconnect.refused", "nas.up"}
    assert {event.value["rule"] for event in stored[EVENTS] if event.value["type"] == "limit.breached"} == {"one-device", "group-total"}
    answered = sum(sent.answered_s is not None for _, sent in load.sent)
    ids = [event.value["id"] for event in stored[EVENTS]]
    groups_say = Counter(("granted" if record.value.get("granted") else "refused") for record in verdicts)
    return (
        f"{answered} packets answered, {len(ids)} events ({len(ids) - len(set(ids))} repeats), {types['disconnect.requested']} commands, "
        f"{groups_say['granted']} takes granted and {groups_say['refused']} refused"
    )


def verify_answered(load: Load, journal: list[Stored]) -> None:
    """Every answered record is there; what is there more than once says the same."""
    copies: dict[Name, list[dict]] = defaultdict(list)
    for record in journal:
        if record.kind == "accounting" and (record.key is not None or record.partition == 0):
            value = record.value
            name = Name(value["nas"], value["acct_session_id"], value["status"], value.get("session_time_s", 0))
            copies[name].append({field: said for field, said in value.items() if field not in DIFFERS_WHEN_SENT_AGAIN})
    answered = {name for name, sent in load.sent if sent.answered_s is not None}
    assert answered - copies.keys() == set()
    assert copies.keys() - {name for name, _ in load.sent} == set()
    assert [name for name, said in copies.items() if any(each != said[0] for each in said)] == []


def verify_outputs(topic: Topic, stored: list[Stored], wanted: dict[tuple[str, int], list[bytes]]) -> None:
    """The distinct records of each partition are the model's; a repeat is the same octets."""
    for number in range(PARTITIONS):
        there = {record.octets for record in stored if record.partition == number}
        model = set(wanted[topic.name, number])
        assert there - model == set(), f"{topic.name} {number} has what the model has not"
        assert model - there == set(), f"{topic.name} {number} lacks what the model has"


def verify_sequences(events: list[Stored]) -> None:
    """Repeats taken away, each identity's events come in the order of their sequence, without gaps, from 1 in each epoch."""
    seen: set[str] = set()
    last: dict[tuple[str | None, int], int] = defaultdict(int)
    for event in (record.value | {"key": record.key} for record in events):
        if event["id"] not in seen:
            seen.add(event["id"])
            of = event["key"], event["seq_epoch"]
            assert event["seq"] == last[of] + 1, f"{event} after {last[of]}"
            last[of] = event["seq"]


def verify_results(commands: list[Stored], results: list[Stored], journal: list[Stored]) -> None:
    """Each command has one final outcome, and the journal knows it."""
    ids = {record.value["id"] for record in commands if record.kind == "command"}
    finals = {(record.value["command_id"], record.value["outcome"]) for record in results if record.value["final"]}
    assert sorted(command_id for command_id, _ in finals) == sorted(ids)
    told = {
        (record.value["command_id"], record.value["outcome"]) for record in journal if record.kind == "result" and record.value["final"]
    }
    assert told == finals
