"""One run: the product under load, one fault after the other, then rest, then the question whether anybody could tell.

What lives here: the order of things, and what is kept of a run. A run that failed leaves its topics as JSON lines, beside the logs of all
parts, in its directory; of one that did not nothing is left but its outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from agents.broker import BrokerError
from agents.kafka_client import topic_name
from agents.topic_admin import admin_client
from schemas.codec import dumps
from schemas.errors import CurfewError
from schemas.topics import ACCOUNTING, EVENTS, TABLE, TOPICS
from tests.chaos import checks, slow_model, truth
from tests.chaos.checks import Findings, Topics
from tests.chaos.cluster import NotHereError, SmallDisk, one_node, three_nodes
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.probes import GROUP, USER
from tests.chaos.rest import WITHIN_S, come_to_rest
from tests.chaos.scene import (
    CONFIRM_WITHIN_S,
    GRACE_S,
    GROUP_MAX,
    INTERIM_S,
    LIMIT,
    PARTITIONS,
    TICK_S,
    TIMES,
    Pace,
    Scene,
    make_scene,
    playing,
)
from tests.support.kafka import LocalKafka
from tests.support.product import Product, eventually
from tests.support.redis import RedisServer

MEMORY_MAX_MIB = 256
BACKLOG_SPEED = 30
"""What came while something was broken is worked off at least so many times as fast, on a loaded machine too."""
"""Of one part: some 80 MiB is Python with its libraries; no fault may make it grow by more than what waits meanwhile."""
SHOWN_MAX = 12
SILENT_S = INTERIM_S * TIMES
PROJECTION = "curfew:"


class Struck(NamedTuple):
    """A fault of a run.

    Attributes:
        took_s: from the blow until the fault was lifted. back_s: from then until probes of all kinds came back.
    """

    name: str
    took_s: float
    back_s: float


class Outcome(NamedTuple):
    """What became of a run.

    Attributes:
        faults: in their order. skipped: why it was not made; empty: it was.
        answered, events, commands: how much there was to be wrong.
        peaks_mib: the most memory of each part. restarts: of all parts.
        findings: what does not hold, by name: all empty. failed: what kept it from coming to an end.
        notes: what the faults measured, by what it is.
    """

    seed: int
    faults: Sequence[str]
    seconds: float = 0.0
    skipped: str = ""
    struck: Sequence[Struck] = ()
    answered: int = 0
    events: int = 0
    commands: int = 0
    restarts: int = 0
    peaks_mib: Mapping[str, int] = MappingProxyType({})
    findings: Mapping[str, Sequence[str]] = MappingProxyType({})
    failed: str = ""
    notes: Mapping[str, Sequence[float]] = MappingProxyType({})

    @property
    def is_whole(self) -> bool:
        """Nobody could tell."""
        return not self.failed and not any(self.findings.values())


async def run(names: Sequence[str], seed: int, pace: Pace, out: Path, shared: LocalKafka | None = None) -> Outcome:
    """One run.

    Args:
        names: of the faults, one after the other; they must agree on the Kafka.
        seed: of the load, of the choices and of the network's luck.
        pace: how long things last.
        out: where the run has its directory; it stays if something is wrong.
        shared: a running Kafka of one node that faults of that kind may use.
    """
    began_s = time.monotonic()
    directory = out / f"{seed}-{'-'.join(names)}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    faults = {name: FAULTS[name] for name in names}
    outcome = Outcome(seed, list(names))
    try:
        with (directory / "said.log").open("w") as said, contextlib.redirect_stdout(said):  # parts show their last words when they end
            async with surrounded(faults, seed, pace, directory, shared) as scene:
                try:
                    outcome = await play(scene, faults, outcome)
                finally:
                    if not outcome.is_whole or not outcome.struck:
                        await dump(scene)
    except NotHereError as why:
        outcome = outcome._replace(skipped=str(why))
    except (AssertionError, TimeoutError, BrokerError) as why:
        outcome = outcome._replace(failed=f"{type(why).__name__}: {why}")
    if outcome.is_whole:
        shutil.rmtree(directory)
    else:
        (directory / "outcome.json").write_text(dumps(as_json(outcome), indent=True) + "\n")
    return outcome._replace(seconds=round(time.monotonic() - began_s, 1))


def as_json(outcome: Outcome) -> dict[str, Any]:
    """As it is kept in files."""
    struck = [one._asdict() for one in outcome.struck]
    maps = {"peaks_mib": dict(outcome.peaks_mib), "findings": dict(outcome.findings), "notes": dict(outcome.notes)}
    return {**outcome._asdict(), "struck": struck, **maps}


@contextlib.asynccontextmanager
async def surrounded(faults: dict[str, Fault], seed: int, pace: Pace, directory: Path, shared: LocalKafka | None) -> AsyncIterator[Scene]:
    """The scene of these faults; Kafka and Redis run, sockets are open, nothing of the product is started.

    Raises:
        NotHereError: it cannot be had on this machine.
    """
    (kind,) = {fault.kafka for fault in faults.values()}
    async with contextlib.AsyncExitStack() as stack:
        disk = redis = None
        if kind == "disk":
            disk = stack.enter_context(SmallDisk(directory / "disk"))
        if kind == "three":
            kafka: LocalKafka = await stack.enter_async_context(three_nodes(directory))
        elif disk is None and shared is not None:
            kafka = shared
        else:
            kafka = await stack.enter_async_context(one_node((disk.where if disk else directory) / "kafka"))
        if any(fault.needs_redis for fault in faults.values()):
            if shutil.which("redis-server") is None:
                raise NotHereError("redis-server is not installed (deploy/apt-packages.txt)")
            redis = RedisServer(directory)
            redis.start()
            stack.callback(redis.stop)
        scene = make_scene(directory, kafka, redis, disk, seed, f"c{secrets.token_hex(4)}.", pace)
        if kafka is shared:
            stack.push_async_callback(left_as_found, kafka, scene.product)
        stack.callback(scene.product.close)
        for peer in (*scene.load.nases, scene.probes.nas, *scene.relays):
            await stack.enter_async_context(peer)
        for fault in faults.values():
            if fault.prepare is not None:
                fault.prepare(scene)
        yield scene


async def left_as_found(kafka: LocalKafka, product: Product) -> None:
    """A Kafka that other runs use too is up, whatever became of this one, and has no topics of it: their logs would slow its starts."""
    await kafka.start()
    with contextlib.suppress(CurfewError):
        async with admin_client(product.configuration) as admin:
            await admin.delete_topics([topic_name(product.configuration, topic) for topic in TOPICS])


async def play(scene: Scene, faults: dict[str, Fault], outcome: Outcome) -> Outcome:
    """Load, faults, rest, checks."""
    struck: list[Struck] = []
    async with playing(scene):
        for name, fault in faults.items():
            await all_run(scene)  # what the last fault ended is back: nothing is broken that has not begun
            await scene.probes.works_again(time.monotonic(), WITHIN_S)
            await asyncio.sleep(scene.pace.warm_s * scene.chance.uniform(0.5, 1.5))
            blow_s = time.monotonic()
            await fault.strike(scene)
            lifted_s = time.monotonic()
            back_s = await scene.probes.works_again(lifted_s, WITHIN_S + (lifted_s - blow_s) / BACKLOG_SPEED)
            struck.append(Struck(name, round(lifted_s - blow_s, 1), round(back_s, 1)))
            await asyncio.sleep(scene.pace.settle_s)
            if fault.afterwards is not None:
                fault.afterwards(scene)
        await all_run(scene)
    await come_to_rest(scene.product, scene.unanswered, CONFIRM_WITHIN_S)
    other = [*await projection(scene), *surroundings(scene)]
    stored = await checks.read(scene.product, scene.strange)
    found = Findings(
        lost=checks.lost(scene.load.sent, stored[ACCOUNTING]),
        differ=[*checks.differ(stored, scene.product, PARTITIONS, scene.deleted), *slow(scene, stored)],
        false_kicks=truth.false_kicks(
            scene.load.sent,
            [*scene.load.nases, scene.probes.nas],
            good_for_s=CONFIRM_WITHIN_S,
            silent_s=SILENT_S,
            group_max=GROUP_MAX,
            spared=GROUP,
        ),
        doubled=checks.doubled(stored, GRACE_S * 1000),
        gaps=[] if scene.deleted else checks.gaps(stored[EVENTS]),
        went_back=checks.went_back(stored),
        other=other,
    )
    return outcome._replace(
        struck=struck,
        answered=sum(packet.answered_s is not None for _, packet in scene.load.sent),
        events=len({record.value["id"] for record in stored[EVENTS]}),
        commands=sum(len(nas.requests) for nas in (*scene.load.nases, scene.probes.nas)),
        restarts=scene.keeper.restarts.total(),
        peaks_mib=dict(scene.keeper.peaks_mib),
        findings={name: [text[:500] for text in texts[:SHOWN_MAX]] for name, texts in found._asdict().items()},
        notes=scene.notes,
    )


async def all_run(scene: Scene) -> None:
    """Return when every part runs and says that it does its work."""

    async def gone() -> list[str]:
        return [part.name for part in scene.product.parts if part.process is None or part.process.poll() is not None]

    await eventually(gone, lambda names: not names, WITHIN_S)
    for part in scene.product.parts:
        await part.wait_ready()


async def projection(scene: Scene) -> list[str]:
    """7.4: what Redis holds is the open sessions of the table, soon; the projector is stopped then."""
    if scene.redis is None:
        return []
    client = scene.redis.client

    async def differences() -> list[str]:
        there = {str(key).removeprefix(PROJECTION) for key in client.scan_iter(match=f"{PROJECTION}s:*", count=1000)}
        wanted = {key for key, row in (await scene.product.rows()).items() if row["state"] != "ended"}
        return [f"{key} is only in {'Redis' if key in there else TABLE.name}" for key in sorted(there ^ wanted)]

    try:
        await eventually(differences, lambda found: not found, WITHIN_S)
    except AssertionError:
        return await differences()
    await scene.keeper.stop(scene.product.projector[0])
    return []


def surroundings(scene: Scene) -> list[str]:
    """What parts did that nobody told them to, and took more memory than they may."""
    return [
        *([] if scene.may_end else scene.keeper.ended),
        *(f"{name} had {peak} MiB" for name, peak in scene.keeper.peaks_mib.items() if peak > MEMORY_MAX_MIB),
    ]


def slow(scene: Scene, stored: Topics) -> list[str]:
    """What the slow model sees otherwise; it needs all events."""
    if scene.deleted:
        return []
    rules = slow_model.Rules(LIMIT, SILENT_S - 2 * TICK_S, USER)
    return slow_model.differ(stored[ACCOUNTING], stored[EVENTS], rules)


async def dump(scene: Scene) -> None:
    """The topics as JSON lines in the run's directory; what cannot be read is left out."""
    try:
        async with asyncio.timeout(WITHIN_S):
            stored = await checks.read(scene.product, scene.strange)
    except Exception as why:  # noqa: BLE001 - it is only for looking at, and the run's own failure counts
        (scene.directory / "topics.txt").write_text(f"not readable: {why!r}\n")
        return
    for topic, records in stored.items():
        lines = (dumps({**record._asdict(), "key": repr(record.key), "octets": None}) for record in records)
        (scene.directory / f"{topic.name}.jsonl").write_text("\n".join(lines) + "\n")
