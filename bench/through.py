"""Accounting all the way through: answered, durable, decided, events and rows written, with the worker behind the ingest on the same cores.

Closed loop first, as fast as it goes, each server at the window at which it was fastest in a short round: what counts is the time until
the worker has applied the last record too. Against FreeRADIUS with its flat file, which keeps no state, in turn. Then in an open loop at
the share of FreeRADIUS's rate that is wanted, or at a little less than our own where that is less: whether the worker stays level.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.broker import pick_free_port
from agents.kafka_client import client_settings, topic_name
from bench.freeradius import FreeRadius
from bench.report import Report, middle, spread
from bench.rig import PARTITIONS, Child, FailedError, Rig, cpu_s_of
from bench.targets import THROUGH_WANTED
from bench.worker import put_policy
from schemas.configuration import Configuration
from schemas.topics import ACCOUNTING

TRIAL_S = 8.0
"""A round that only says which window is best."""
OPEN_WINDOW = 8192
LEVEL_SHARE = 0.95
LEVEL_LAG_S = 1.0
"""Level: never further behind than what arrives in this time."""
LOOK_EVERY_S = 0.5
APPLIED_WITHIN_S = 300.0

Measured = Callable[[int, float], Awaitable[dict[str, Any]]]
"""(window, seconds) -> what a round told, `rate` among it."""


class Following:
    """How far the workers are behind the journal."""

    def __init__(self, configuration: Configuration, workers: list[Child], consumer: AIOKafkaConsumer) -> None:
        name = topic_name(configuration, ACCOUNTING)
        self._places = [TopicPartition(name, partition) for partition in range(PARTITIONS)]
        self._workers = workers
        self._consumer = consumer
        self.lags: list[float] = []

    async def ends(self) -> int:
        """Records in the journal."""
        return sum((await self._consumer.end_offsets(self._places)).values())

    async def applied(self) -> float:
        """Records that the workers have applied."""
        return sum([await worker.metric("curfew_records_applied") for worker in self._workers])

    async def during(self, load: Awaitable[Any]) -> Any:
        """What the load gives; meanwhile the lag is looked at."""
        loading = asyncio.ensure_future(load)
        while not loading.done():
            self.lags.append(await self.ends() - await self.applied())
            await asyncio.wait({loading}, timeout=LOOK_EVERY_S)
        return loading.result()

    async def until_applied(self, records: int) -> None:
        """Return when the workers have applied so many.

        Raises:
            FailedError: not within the time.
        """
        deadline = time.monotonic() + APPLIED_WITHIN_S
        while await self.applied() < records:
            if time.monotonic() > deadline:
                raise FailedError("the journal was not applied as a whole")
            await asyncio.sleep(0.02)


class Running(NamedTuple):
    """A product that runs: its configuration, the ingests' port, its processes by part, and how far it is."""

    config: Path
    port: int
    parts: dict[str, list[Child]]
    following: Following


async def measure(rig: Rig) -> Report:
    """Rounds in turn, then the open loop."""
    peer, numbers = FreeRadius(rig), itertools.count()

    async def ours(window: int, seconds: float) -> dict[str, Any]:
        async with product(rig, f"through-{next(numbers)}") as running:
            one = await through(rig, running, window=window, seconds=seconds)
        return one | {"rate": one["through_s"]}

    async def theirs(window: int, seconds: float) -> dict[str, Any]:
        one = await rig.send(peer.port, window=window, seconds=seconds)
        peer.forget()
        return {**one, "rate": one["packets_s"]}

    rounds: list[dict[str, Any]] = []
    against: list[dict[str, Any]] = []
    try:
        await peer.start()
        windows = {"curfew": await _best_window(rig, ours)} | ({} if peer.why_not else {"freeradius": await _best_window(rig, theirs)})
        for _ in range(rig.sizes.rounds):
            rounds.append(await ours(windows["curfew"], rig.sizes.through_s))
            if not peer.why_not:
                against.append(await theirs(windows["freeradius"], rig.sizes.through_s))
    finally:
        await peer.stop()
    rate = LEVEL_SHARE * middle([one["through_s"] for one in rounds])
    if against:
        rate = min(rate, THROUGH_WANTED * middle([one["packets_s"] for one in against]))
    async with product(rig, "through-level") as running:
        level = await running.following.during(rig.send(running.port, window=OPEN_WINDOW, seconds=rig.sizes.through_s, rate=rate))
    level |= {"rate": rate, "lag_max": max(running.following.lags), "lag_max_s": max(running.following.lags) / rate}
    return _report(rig, windows, rounds, against, level, peer)


async def _best_window(rig: Rig, measured: Measured) -> int:
    """The window at which a server takes most, by a short round with each; the only one, where there is one."""
    if len(rig.sizes.windows) == 1:
        return rig.sizes.windows[0]
    rates = {window: (await measured(window, TRIAL_S))["rate"] for window in rig.sizes.windows}
    return max(rates, key=rates.__getitem__)


@asynccontextmanager
async def product(rig: Rig, name: str, *, ingests: int = 1, workers: int = 1) -> AsyncIterator[Running]:
    """Ingests and workers on topics of their own, with the policy in force; ready once the partitions are shared out."""
    port = pick_free_port()
    config, configuration = await rig.installation(name, port=port)
    await put_policy(rig, configuration)
    parts = {part: [rig.part(part, config, nth) for nth in range(count)] for part, count in (("ingest", ingests), ("worker", workers))}
    children = [child for some in parts.values() for child in some]
    consumer = AIOKafkaConsumer(**client_settings(configuration))
    try:
        await consumer.start()
        for child in children:
            child.start()
        for child in children:
            await child.ready()
        yield Running(config, port, parts, Following(configuration, parts["worker"], consumer))
    finally:
        await consumer.stop()
        for child in children:
            await child.stop()


async def through(rig: Rig, running: Running, *, window: int, seconds: float) -> dict[str, Any]:
    """One round in a closed loop, until all of it is applied.

    Returns:
        what `load` said, through_s (records a second), lag_at_end, lag_max, cpu_us by part, octets on disk by topic, of each record.
    """
    following = running.following

    def used() -> dict[str, float]:
        parts = {name: sum(child.cpu_s() for child in some) for name, some in running.parts.items()}
        return parts | {"Kafka": cpu_s_of(rig.broker)}

    before, began_s = used(), time.perf_counter()
    one = await following.during(rig.send(running.port, window=window, seconds=seconds))
    ends = await following.ends()
    lag = ends - await following.applied()
    await following.until_applied(ends)
    took_s = time.perf_counter() - began_s
    cpu_us = {name: (used_s - before[name]) / one["packets"] * 1e6 for name, used_s in used().items()} | {
        "load": one["cpu_s"] / one["packets"] * 1e6
    }
    octets = {topic: octets / one["packets"] for topic, octets in rig.octets(running.config).items()}
    told = {"through_s": one["packets"] / took_s, "lag_at_end": lag, "lag_max": max(following.lags)}
    return {**one, **told, "cpu_us": cpu_us, "octets": octets}


def _report(  # noqa: PLR0917 - all of it is what was measured
    rig: Rig,
    windows: dict[str, int],
    rounds: list[dict[str, Any]],
    against: list[dict[str, Any]],
    level: dict[str, Any],
    peer: FreeRadius,
) -> Report:
    ours = [one["through_s"] for one in rounds]
    detail = [one["packets_s"] for one in against]
    answered = [one["packets_s"] for one in rounds]
    ratio = f"{middle(ours) / middle(detail):.2f}" if detail else "-"
    rows = [
        ("curfew: answered, decided, events and rows out", f"{middle(ours):,.0f}", spread(ours), ratio),
        ("  of it: answered while the load lasted", f"{middle(answered):,.0f}", spread(answered), "-"),
    ]
    if detail:
        rows.append((peer.title, f"{middle(detail):,.0f}", spread(detail), "1.00"))
    cpu = ", ".join(f"{name} {middle([one['cpu_us'][name] for one in rounds]):.1f}" for name in rounds[0]["cpu_us"])
    is_level = level["lag_max_s"] <= LEVEL_LAG_S
    notes = [
        f"CPU time for each record, in us: {cpu}",
        f"octets in Kafka for each record: {', '.join(f'{topic} {octets:,.0f}' for topic, octets in sorted(rounds[-1]['octets'].items()))}",
        f"when the load ended the worker was {middle([one['lag_at_end'] for one in rounds]):,.0f} records behind (median)",
        (
            f"in an open loop at {level['rate']:,.0f}/s the worker {'stays' if is_level else 'does NOT stay'} level: at most"
            f" {level['lag_max']:,.0f} records ({level['lag_max_s']:.2f} s) behind,"
            f" {level['unanswered']:,} of {level['sent']:,} packets unanswered"
        ),
    ]
    notes += [f"not measured: {peer.why_not}"] if peer.why_not else []
    if len(rig.sizes.windows) > 1:
        best = ", ".join(f"{name} {window}" for name, window in windows.items())
        notes.insert(0, f"windows, the best of {', '.join(map(str, rig.sizes.windows))} in rounds of {TRIAL_S:g} s: {best}")
    data = {"windows": windows, "rounds": rounds, "freeradius": against, "level": level | {"is_level": is_level}}
    turns = f"{rig.sizes.rounds} rounds of {rig.sizes.through_s:g} s in turn"
    title = f"Through to events and rows ({turns}, ingest and one worker)"
    return Report(title, ("accounting records per second", "median/s", "spread", "x FreeRADIUS"), rows, notes, data)
