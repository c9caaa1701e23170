"""The product under load, and what a fault may lay hands on: parts, Kafka, Redis, the network between, the ingest's clock.

What lives here: the surroundings of one run, started and stopped; the policy and the configuration that all runs have; who starts parts
again when they have ended, as `curfew up` or systemd does. What is broken: `faults`. Whether anybody could tell: `checks`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from schemas.topics import Topic
from tests.chaos.checks import Place
from tests.chaos.cluster import SmallDisk, ThreeNodes
from tests.chaos.probes import Probes, groups
from tests.support.kafka import LocalKafka
from tests.support.load import Load
from tests.support.lossy import LossyRelay
from tests.support.product import LOOK_EVERY_S, Nas, Part, Product
from tests.support.redis import RedisServer

PARTITIONS = 4
NASES = 3
USERS = 200
TICK_S = 0.2
"""An ingest that was killed is waited for during ten ticks: less than what it lives here, or no NAS's clock would advance."""
LATE_AFTER_S = 3
CONFIRM_WITHIN_S = 8
GRACE_S = 10
INTERIM_S, TIMES = 3, 2
GROUP_MAX = 30
SECRET, DAE_SECRET = "testing123", "testing456"
LIMIT = "one-device"
_POLICY = f"""
late_after_s = {LATE_AFTER_S}
confirm_within_s = {CONFIRM_WITHIN_S}
grace_s = {GRACE_S}
[[limit]]
name = "{LIMIT}"
applies_to = "user"
max_sessions = 1
victim = "oldest"
hold_s = 3
[[limit]]
name = "group-total"
applies_to = "group"
max_sessions = {GROUP_MAX}
[[membership]]
attribute = "Class"
pattern = "^group=(?P<group>.+)"
[[liveness]]
rule = "interim"
times = {TIMES}
"""


def policy(probed: Iterable[str] = ()) -> str:
    """What is in force in every run (TOML); in the groups `probed` nobody may be."""
    rule = '[[limit]]\nname = "{0}"\napplies_to = "group"\ngroup = "{0}"\nmax_sessions = 0\n'
    return _POLICY + "".join(map(rule.format, probed))


class Pace(NamedTuple):
    """How long things last, in seconds.

    Attributes:
        packets_per_s: of the load.
        warm_s: load before a fault. settle_s: and after the product works again.
        outage_s: of a broker or a node. freeze_s: of a worker, beyond its session timeout. down_s: of all workers.
        rebalance_s: between two comings and goings of a worker; rebalances: how many of them.
        jump_s: how long the clock is wrong. lossy_s: and the network.
    """

    packets_per_s: float
    warm_s: float
    settle_s: float
    outage_s: float
    freeze_s: float
    down_s: float
    rebalance_s: float
    rebalances: int
    jump_s: float
    lossy_s: float


SHORT = Pace(120.0, 2.0, 2.0, 4.0, 3.0, 20.0, 3.0, 4, 5.0, 8.0)
SMOKE = SHORT._replace(packets_per_s=60.0, warm_s=0.5, settle_s=0.5, freeze_s=1.0)
FULL = Pace(250.0, 5.0, 5.0, 60.0, 10.0, 7200.0, 10.0, 6, 60.0, 30.0)


class Keeper:
    """Starts parts again when they have ended, and looks at their memory meanwhile.

    Attributes:
        held: parts that are to stay down. ended: what parts said that ended though nobody told them to.
        restarts: how often each part was started again. peaks_mib: the most memory that each part was seen to have.
    """

    def __init__(self, product: Product) -> None:
        self.held: set[str] = set()
        self.ended: list[str] = []
        self.restarts: Counter[str] = Counter()
        self.peaks_mib: dict[str, int] = defaultdict(int)
        self._product = product
        self._told: set[str] = set()

    async def stop(self, part: Part) -> None:
        """End a part as an operator does."""
        self._told.add(part.name)
        status = await part.stop()
        if status != 0:
            self.ended.append(f"{part.name} ended with {status} when it was told to stop\n{part.tail()}")

    @contextlib.asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """It does so inside."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            for part in self._product.parts:
                status = part.process.poll() if part.process is not None else 0
                if status is None:
                    self._look(part)
                elif part.name not in self.held:
                    if status != -signal.SIGKILL and part.name not in self._told:
                        self.ended.append(f"{part.name} ended with {status}\n{part.tail()}")
                    self._told.discard(part.name)
                    self.restarts[part.name] += 1
                    part.start()
            await asyncio.sleep(LOOK_EVERY_S)

    def _look(self, part: Part) -> None:
        assert part.process is not None
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{part.process.pid}/status").read_text().splitlines()
            used = next(line for line in lines if line.startswith("VmHWM:"))  # proc(5): the most that it ever had
            self.peaks_mib[part.name] = max(self.peaks_mib[part.name], int(used.split()[1]) >> 10)


@dataclass
class Scene:
    """One run's surroundings.

    Attributes:
        strange: places of records that a stranger wrote. deleted: topics that were deleted. may_end: parts may end by themselves.
        notes: what faults measured, by what it is.
    """

    directory: Path
    kafka: LocalKafka
    redis: RedisServer | None
    disk: SmallDisk | None
    product: Product
    load: Load
    probes: Probes
    keeper: Keeper
    relays: list[LossyRelay]
    chance: random.Random
    pace: Pace
    strange: set[Place] = field(default_factory=set)
    deleted: set[Topic] = field(default_factory=set)
    may_end: bool = False
    notes: dict[str, list[float]] = field(default_factory=dict)

    def note(self, what: str, value: float) -> None:
        """Keep something measured for the report; the unit stands last in its name."""
        self.notes.setdefault(what, []).append(round(value, 1))

    def unanswered(self) -> int:
        """Packets that wait for an answer."""
        return self.load.unanswered + self.probes.nas.unanswered

    @property
    def clock(self) -> Path:
        """The file that says by how much the ingest's wall clock is wrong, where libfaketime reads it."""
        return self.directory / "clock"


def make_scene(  # noqa: PLR0917 - all of it is what a run is in
    directory: Path, kafka: LocalKafka, redis: RedisServer | None, disk: SmallDisk | None, seed: int, prefix: str, pace: Pace
) -> Scene:
    """Sockets and files; nothing is started."""
    load = Load(seed, NASES, USERS, SECRET.encode(), DAE_SECRET.encode())
    probes = Probes(PARTITIONS, SECRET.encode(), DAE_SECRET.encode(), load.sent)
    talking = [*load.nases, probes.nas]
    relays = [LossyRelay(("127.0.0.1", nas.dae_port), seed + number, loss=0, doubled=0, delay_s=0) for number, nas in enumerate(talking, 1)]
    nases = [
        Nas(nas.identifier, SECRET, relay.port, DAE_SECRET, identifier=nas.identifier, interim_s=INTERIM_S)
        for nas, relay in zip(talking, relays, strict=True)
    ]
    product = Product(
        directory,
        kafka.bootstrap,
        prefix,
        nases,
        partitions=PARTITIONS,
        workers=2,
        tick_s=TICK_S,
        redis=redis.url if redis else None,
        replicas=3 if isinstance(kafka, ThreeNodes) else 1,
    )
    front = LossyRelay(("127.0.0.1", product.port), seed, loss=0, doubled=0, delay_s=0)
    for nas in talking:
        nas.server = ("127.0.0.1", front.port)
    return Scene(directory, kafka, redis, disk, product, load, probes, Keeper(product), [front, *relays], random.Random(seed), pace)


@contextlib.asynccontextmanager
async def playing(scene: Scene) -> AsyncIterator[None]:
    """All runs, under load, inside; afterwards the product runs on, without load."""
    if isinstance(scene.kafka, ThreeNodes):
        await scene.kafka.place(scene.product.prefix, PARTITIONS)
    await scene.product.start(policy(groups(PARTITIONS)))
    stop = asyncio.Event()
    going = [
        asyncio.create_task(scene.load.run(scene.pace.packets_per_s, stop)),
        asyncio.create_task(scene.probes.run(stop)),
    ]
    async with scene.keeper.keeping():
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*going)
