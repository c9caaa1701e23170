"""kill -9 and a frozen worker under load: from the topics alone nobody can tell that anything happened."""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.group import VERDICT_KIND
from schemas.topics import ACCOUNTING, EVENTS, REJECTED
from tests.chaos import checks
from tests.chaos.rest import caught_up, come_to_rest
from tests.chaos.scene import CONFIRM_WITHIN_S, DAE_SECRET, GRACE_S, INTERIM_S, NASES, PARTITIONS, SECRET, TICK_S, Keeper, policy
from tests.support.kafka import Kafka
from tests.support.load import Load
from tests.support.product import Nas, Part, Product, eventually, running

USERS = 250
PACKETS_PER_S = 250.0
ROUNDS = int(os.environ.get("CURFEW_CHAOS_ROUNDS", "10"))

WANTED = {"limit.breached", "session.stale", "disconnect.confirmed", "disconnect.refused", "nas.up"}
"""A run in which these did not happen shows little; on a slow machine some take longer than the kills do."""


@pytest.mark.slow
@pytest.mark.timeout(360 + 10 * ROUNDS)
async def test_killed_and_frozen_parts_lose_nothing_and_change_nothing(
    kafka: Kafka, prefix: str, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
):
    """1.1, 1.4, 2.8, 4.1, 7.1: what was answered is in the journal; tables, events, commands, slots and the groups' verdicts are those of a
    model that read the journals.
    """
    load = Load(seed, NASES, USERS, SECRET.encode(), DAE_SECRET.encode())
    nases = [Nas(nas.identifier, SECRET, nas.dae_port, DAE_SECRET, identifier=nas.identifier, interim_s=INTERIM_S) for nas in load.nases]
    product = Product(tmp_path, kafka.bootstrap, prefix, nases, partitions=PARTITIONS, workers=2, tick_s=TICK_S)
    keeper = Keeper(product)
    for nas in load.nases:
        nas.server = ("127.0.0.1", product.port)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running(product, policy()))
        for nas in load.nases:
            await stack.enter_async_context(nas)
        async with loaded(load), keeper.keeping():
            killed = await kill_at_random(product, random.Random(seed))
            await freeze_a_worker(product)
            await eventually(lambda: told(product), lambda types: types >= WANTED, every_s=2.0)
        await come_to_rest(product, lambda: load.unanswered, CONFIRM_WITHIN_S)
        seen = await verify(product, load)
    with capsys.disabled():
        print(f"\n  crash test, seed {seed}: killed {' '.join(killed)}; frozen worker-1; {seen}")  # noqa: T201 - whoever repeats it needs it
    assert keeper.ended == []


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


async def told(product: Product) -> set[str]:
    """The types of all events so far."""
    return {record.value["type"] for record in await product.records(EVENTS)}


async def verify(product: Product, load: Load) -> str:
    """Hold what lies in the topics against what was sent, and against the model; in a line, how much that was."""
    stored = await checks.read(product)
    events, journal = stored[EVENTS], stored[ACCOUNTING]
    assert checks.lost(load.sent, journal) == []
    assert checks.differ(stored, product, PARTITIONS) == []
    assert checks.gaps(events) == []
    assert checks.doubled(stored, GRACE_S * 1000) == []
    assert checks.went_back(stored) == []
    assert stored[REJECTED] == []
    types = Counter(event.value["type"] for event in events)
    assert types.keys() >= WANTED
    assert {event.value["rule"] for event in events if event.value["type"] == "limit.breached"} == {"one-device", "group-total"}
    answered = sum(sent.answered_s is not None for _, sent in load.sent)
    ids = [event.value["id"] for event in events]
    groups_say = Counter(("granted" if record.value.get("granted") else "refused") for record in journal if record.kind == VERDICT_KIND)
    return (
        f"{answered} packets answered, {len(ids)} events ({len(ids) - len(set(ids))} repeats), {types['disconnect.requested']} commands, "
        f"{groups_say['granted']} takes granted and {groups_say['refused']} refused"
    )
