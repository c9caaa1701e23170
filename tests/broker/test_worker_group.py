"""Workers beside each other: hand-over, a slow restore, a worker that was frozen and comes back. The core is a counter per key."""

import asyncio
import signal
import time

import pytest

from agents.poll import Membership, Poll
from schemas.topics import COMMANDS, REJECTED
from tests.support.fake_core import FakeCore
from tests.support.kafka import Kafka
from tests.support.worker import (
    RunningWorker,
    WorkerProcess,
    check_events,
    feed,
    make_installation,
    read_all,
    read_table,
    running_worker,
    steady,
    until,
    wait_for_table,
)


def _partitions(worker: RunningWorker) -> list[int]:
    return [core.partition for core in worker.cores]


async def test_workers_come_and_go_and_no_record_is_skipped_or_applied_twice(kafka: Kafka, prefix: str):
    """2.8: the count is one count whatever worker a session came through."""
    configuration = await make_installation(kafka.bootstrap, prefix, partitions=6)
    async with feed(configuration) as feeding:
        async with running_worker(configuration) as first:
            async with steady(feeding):
                second = RunningWorker(configuration)
                await until("the second has its share", lambda: second.health.is_ready and len(second.cores) == 3)
                third = RunningWorker(configuration)
                await until("the third has its share", lambda: third.health.is_ready and len(third.cores) == 2)
                await third.stop()
                await until("its share went back", lambda: len(first.cores) + len(second.cores) == 6 + 3 + 2 and first.health.is_ready)
                await second.stop()
                await until("the first has all", lambda: len(first.cores) >= 9 and first.health.is_ready)
            await wait_for_table(configuration, feeding)
        await check_events(configuration, feeding)
        assert sorted(_partitions(first)[:6]) == list(range(6))


async def test_partitions_that_stay_keep_their_state_and_go_on_while_another_worker_restores_slowly(kafka: Kafka, prefix: str):
    """DESIGN: the rebalance listener only starts restore tasks; heartbeats live, others keep running."""

    class Slow(FakeCore):
        def restore(self, key, value):
            time.sleep(0.002)
            super().restore(key, value)

    configuration = await make_installation(kafka.bootstrap, prefix, session_timeout_s=1.5, checkpoint_s=0.1)
    async with feed(configuration, keys=4000) as feeding, running_worker(configuration) as first:
        await feeding.send(4000)  # a row each: a thousand times 2 ms, for each of two partitions
        await wait_for_table(configuration, feeding)
        began_s = time.monotonic()
        second = RunningWorker(configuration, Slow)
        async with steady(feeding, 300):
            await until("the second restores", lambda: second.cores)
            applied = [core.next_offset for core in first.cores]
            await until("the second is ready", lambda: second.health.is_ready)
        assert time.monotonic() - began_s > 1.5
        stayed = [core for core in first.cores if core.partition not in _partitions(second)]
        assert len(first.cores) == 4  # none was restored again
        assert len(second.cores) == 2  # and the group never took them from the one that was restoring
        assert all(core.next_offset > before for core, before in zip(first.cores, applied, strict=True) if core in stayed)
        await wait_for_table(configuration, feeding)
        await second.stop()
        await check_events(configuration, feeding)


async def test_a_frozen_worker_that_comes_back_is_fenced_and_no_row_of_it_lands(kafka: Kafka, prefix: str):
    """DESIGN: a zombie's write is fenced."""
    configuration = await make_installation(kafka.bootstrap, prefix, session_timeout_s=1.5)
    async with feed(configuration) as feeding:
        zombie = await WorkerProcess.start(configuration)
        await zombie.ready()
        async with steady(feeding):
            while min((await read_table(configuration))[1].values()) == 0:  # noqa: ASYNC110 - what is waited for is in Kafka
                await asyncio.sleep(0.05)
            zombie.send_signal(signal.SIGSTOP)
            frozen = (await read_table(configuration))[1]
            async with running_worker(configuration) as heir:
                assert len(heir.cores) == 4
                await _wait_until_beyond(configuration, frozen)
                zombie.send_signal(signal.SIGCONT)
                await until("it noticed", lambda: any("taken over by another worker" in line for line in zombie.log))
                await until("it works again", lambda: zombie.log[-1] == "ready")
        await wait_for_table(configuration, feeding)
        assert await zombie.end() == 0, zombie.log
        await check_events(configuration, feeding)
        for topic in (COMMANDS, REJECTED):
            assert not any((await read_all(configuration, topic)).values())


async def test_a_worker_that_missed_a_generation_restores_what_stays_too(kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch):
    """DESIGN: partitions that stay keep their state; those that somebody else may have had in between do not stay."""
    monkeypatch.setattr("agents.poll._generation_of", lambda consumer: 2 * consumer._coordinator.generation)
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding, running_worker(configuration) as first:
        await feeding.send(400)
        await wait_for_table(configuration, feeding)
        second = RunningWorker(configuration)
        await until("both have their share", lambda: second.health.is_ready and first.health.is_ready and len(first.cores) == 4 + 2)
        assert sorted(_partitions(first)[4:] + _partitions(second)) == list(range(4))
        await feeding.send(400)
        await wait_for_table(configuration, feeding)
        await second.stop()
        assert await check_events(configuration, feeding) == 0


async def test_polls_from_before_a_rebalance_are_dropped(kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch):
    """DESIGN: polls on the channel carry their assignment epoch; older ones are dropped."""
    held: list[tuple[Membership, Poll]] = []
    holding = [True]
    apply = Membership.apply

    def apply_late(membership: Membership, poll: Poll) -> None:
        if holding:
            held.append((membership, poll))
        else:
            apply(membership, poll)

    configuration = await make_installation(kafka.bootstrap, prefix)
    async with feed(configuration) as feeding, running_worker(configuration) as first:
        monkeypatch.setattr(Membership, "apply", apply_late)
        await feeding.send(400)
        await until("polled", lambda: sum(len(records) for _, poll in held for records in poll.records.values()) == 400)
        early = list(held)
        second = RunningWorker(configuration)
        await until("the second has its share", lambda: second.health.is_ready and len(second.cores) == 2)
        await until("polled again", lambda: sum(len(records) for _, poll in held for records in poll.records.values()) == 800)
        for membership, poll in early:
            apply(membership, poll)
        assert {core.next_offset for core in first.cores} == {0}
        holding.clear()
        for membership, poll in held[len(early) :]:
            apply(membership, poll)
        await wait_for_table(configuration, feeding)
        await second.stop()
        assert await check_events(configuration, feeding) == 0


async def _wait_until_beyond(configuration, offsets: dict[int, int]) -> None:
    async with asyncio.timeout(60):
        while any(now <= offsets[number] for number, now in (await read_table(configuration))[1].items()):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
