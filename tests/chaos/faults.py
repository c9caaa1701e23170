"""The faults: each is one function that breaks something in a scene and returns when it is whole again, or about to be.

Law of this file: a fault knows how to break, not what must hold. A part that was killed is started again by the scene's keeper, as `curfew
up` or systemd would; whoever is to stay down is held. The first sentence of each function's docstring is what the report says of it.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, NamedTuple

from aiokafka import AIOKafkaProducer

from agents.kafka_client import topic_name
from agents.partition_owner import State
from agents.topic_admin import admin_client
from schemas.topics import EVENTS, KIND_HEADER, TOPICS
from tests.chaos.cluster import NotHereError, ThreeNodes
from tests.chaos.rest import WITHIN_S, caught_up
from tests.chaos.scene import PARTITIONS, Scene
from tests.support.product import Part, eventually

FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
JUMPS_S = (3600, -7200)
STRANGERS_RECORDS = 3
STRANGERS_KINDS = (None, b"accounting", b"tick", b"command", b"slot", b"\xff\x00")


class Fault(NamedTuple):
    """A row of the table.

    Attributes:
        strike: breaks it.
        kafka: on which Kafka the product runs.
        prepare: is called before anything is started. afterwards: when the product works again.
        needs_redis: a projector runs too.
    """

    strike: Callable[[Scene], Awaitable[None]]
    kafka: Literal["one", "three", "disk"] = "one"
    prepare: Callable[[Scene], None] | None = None
    afterwards: Callable[[Scene], None] | None = None
    needs_redis: bool = False

    @property
    def what(self) -> str:
        """What it does, in a sentence."""
        return (self.strike.__doc__ or "").strip().split("\n\n")[0]


async def kill_ingest(scene: Scene) -> None:
    """The ingest is killed (SIGKILL)."""
    scene.product.ingest.kill()


async def stop_ingest(scene: Scene) -> None:
    """The ingest is told to end (SIGTERM)."""
    await scene.keeper.stop(scene.product.ingest)


async def kill_worker(scene: Scene) -> None:
    """One of two workers is killed."""
    scene.chance.choice(scene.product.workers).kill()


async def stop_worker(scene: Scene) -> None:
    """One of two workers is told to end."""
    await scene.keeper.stop(scene.chance.choice(scene.product.workers))


async def kill_agents(scene: Scene) -> None:
    """Both workers are killed at once: no session agent and no group agent is left (they are two agents of one process)."""
    for worker in scene.product.workers:
        worker.kill()


async def stop_agents(scene: Scene) -> None:
    """Both workers are told to end at once, and with them the group agent."""
    await asyncio.gather(*map(scene.keeper.stop, scene.product.workers))


async def kill_kicker(scene: Scene) -> None:
    """The kicker is killed."""
    scene.product.kicker.kill()


async def stop_kicker(scene: Scene) -> None:
    """The kicker is told to end."""
    await scene.keeper.stop(scene.product.kicker)


async def kill_projector(scene: Scene) -> None:
    """The projector is killed."""
    scene.product.projector[0].kill()


async def stop_projector(scene: Scene) -> None:
    """The projector is told to end."""
    await scene.keeper.stop(scene.product.projector[0])


async def kill_redis(scene: Scene) -> None:
    """Redis is killed with all that it holds, and comes back empty."""
    assert scene.redis is not None
    scene.redis.stop()
    await asyncio.sleep(1)
    scene.redis.start()


async def freeze_redis(scene: Scene) -> None:
    """Redis is frozen for some seconds: its connections stay, and nothing is answered."""
    assert scene.redis is not None
    scene.redis.pause()
    await asyncio.sleep(scene.pace.freeze_s)
    scene.redis.resume()


async def freeze_worker(scene: Scene) -> None:
    """A worker is frozen for longer than its session timeout and goes on as a zombie: its writes are fenced."""
    frozen = scene.chance.choice(scene.product.workers)
    frozen.send(signal.SIGSTOP)
    began_s = time.monotonic()
    await asyncio.sleep(scene.product.configuration.worker.session_timeout_s + scene.pace.freeze_s)
    await caught_up(scene.product)  # the other one has written beyond what the frozen one knows
    frozen.send(signal.SIGCONT)
    scene.note("a worker was frozen for, s", time.monotonic() - began_s)


def count_fenced(scene: Scene) -> None:
    """A zombie notices by a write of its own that was refused, unless the group tells it first."""
    for worker in scene.product.workers:
        if times := worker.log.read_text(errors="replace").count(State.FENCED.value):
            scene.note("partitions to which its writes were refused", times)


async def workers_come_and_go(scene: Scene) -> None:
    """Workers come and go, one change every few seconds, so that partitions move all the time."""
    first, second = scene.product.workers
    for number in range(scene.pace.rebalances):
        part: Part = (first, second)[number // 2 % 2]
        if number % 2 == 0:
            scene.keeper.held.add(part.name)
            await scene.keeper.stop(part)
        else:
            scene.keeper.held.discard(part.name)
        await asyncio.sleep(scene.pace.rebalance_s)


async def workers_down(scene: Scene) -> None:
    """All workers are down while sessions come and go, for longer than any command is good: the catch-up kicks nobody for old news."""
    for worker in scene.product.workers:
        scene.keeper.held.add(worker.name)
        worker.kill()
    await asyncio.sleep(scene.pace.down_s)
    scene.keeper.held.clear()


async def kill_broker(scene: Scene) -> None:
    """Kafka is killed and started again."""
    await scene.kafka.kill()
    await scene.kafka.start()


async def stop_broker(scene: Scene) -> None:
    """Kafka is told to end, and started again."""
    await scene.kafka.restart()


async def freeze_broker(scene: Scene) -> None:
    """Kafka is frozen for some seconds: its connections stay, and nothing is answered."""
    await scene.kafka.pause()
    await asyncio.sleep(scene.pace.outage_s)
    await scene.kafka.resume()


async def broker_away(scene: Scene) -> None:
    """Kafka is away for a while."""
    await scene.kafka.kill()
    await asyncio.sleep(scene.pace.outage_s)
    await scene.kafka.start()


async def leader_away(scene: Scene) -> None:
    """One of three nodes is killed, and with it the leaders of a third of the partitions; it comes back later."""
    assert isinstance(scene.kafka, ThreeNodes)
    scene.chance.choice(scene.kafka.sides).kill()
    began_s = time.monotonic()
    took_s = await scene.probes.works_again(began_s, WITHIN_S)
    scene.note("with two of three nodes it worked again after, s", took_s)
    await asyncio.sleep(max(0.0, scene.pace.outage_s - took_s))
    await scene.kafka.start()


async def disk_full(scene: Scene) -> None:
    """The disk of Kafka is full for a while: it ends by itself or answers errors, and is started again once there is room."""
    assert scene.disk is not None
    scene.disk.fill()
    await asyncio.sleep(scene.pace.outage_s)
    scene.disk.free()
    await scene.kafka.restart()


def fake_clock(scene: Scene) -> None:
    """The ingest's wall clock is what a file says (libfaketime); its monotonic clock is the machine's.

    Raises:
        NotHereError: libfaketime is not installed.
    """
    library = next(iter(Path("/").glob(FAKETIME.removeprefix("/"))), None)
    if library is None:
        raise NotHereError("libfaketime is not installed (deploy/chaos-packages.txt)")
    scene.clock.write_text("+0\n")
    scene.product.ingest.environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(scene.clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


async def clock_jumps(scene: Scene) -> None:
    """The wall clock of the ingest jumps an hour ahead, then to an hour behind, then back to what is right."""
    for jump_s in (JUMPS_S[0], sum(JUMPS_S), 0):
        scene.clock.write_text(f"{jump_s:+d}\n")
        await asyncio.sleep(scene.pace.jump_s)


async def bad_network(scene: Scene) -> None:
    """Of the packets of all NASes, and of the requests to them, 30 % are lost each way, 10 % doubled, and they overtake each other."""
    for relay in scene.relays:
        relay.loss, relay.doubled, relay.delay_s = 0.3, 0.1, 0.05
    await asyncio.sleep(scene.pace.lossy_s)
    for relay in scene.relays:
        relay.loss = relay.doubled = relay.delay_s = 0


async def topic_deleted(scene: Scene) -> None:
    """The topic of the session events is deleted under it, and made again by an operator a little later."""
    scene.deleted.add(EVENTS)
    configuration = scene.product.configuration
    async with admin_client(configuration) as admin:
        await admin.delete_topics([topic_name(configuration, EVENTS)])
    scene.may_end = True
    await asyncio.sleep(scene.pace.freeze_s)

    async def made() -> bool:
        try:
            await scene.product.curfew("topics", "create")
        except AssertionError:
            return False
        return True

    await eventually(made, bool, WITHIN_S)


def _senseless(chance: random.Random) -> bytes:
    """Octets that are no JSON, or JSON that nothing of ours writes: a text that is no UTF-8, lists in lists without end."""
    octets = chance.randbytes(chance.randrange(8, 200))
    return chance.choice((octets, b'"%b"' % octets.translate(None, b'"\\'), b"[" * 20_000))


async def garbage(scene: Scene) -> None:
    """A stranger writes senseless octets into every partition of every topic; then all parts but the ingest are killed, and read them."""
    configuration, chance = scene.product.configuration, scene.chance
    async with AIOKafkaProducer(bootstrap_servers=scene.kafka.bootstrap, acks="all") as stranger:
        for topic in TOPICS:
            for partition in range(PARTITIONS):
                for _ in range(STRANGERS_RECORDS):
                    kind = chance.choice(STRANGERS_KINDS)
                    written = await stranger.send_and_wait(
                        topic_name(configuration, topic),
                        _senseless(chance),
                        key=chance.choice((b"", b"s:", b"i:", b"n:", b"g:")) + chance.randbytes(8),
                        partition=partition,
                        headers=[] if kind is None else [(KIND_HEADER, kind)],
                    )
                    scene.strange.add((topic.name, partition, written.offset))
    await asyncio.sleep(1)
    for part in scene.product.parts:
        if part is not scene.product.ingest:
            part.kill()


FAULTS = {
    "kill-ingest": Fault(kill_ingest),
    "stop-ingest": Fault(stop_ingest),
    "kill-worker": Fault(kill_worker),
    "stop-worker": Fault(stop_worker),
    "kill-agents": Fault(kill_agents),
    "stop-agents": Fault(stop_agents),
    "kill-kicker": Fault(kill_kicker),
    "stop-kicker": Fault(stop_kicker),
    "kill-projector": Fault(kill_projector, needs_redis=True),
    "stop-projector": Fault(stop_projector, needs_redis=True),
    "kill-redis": Fault(kill_redis, needs_redis=True),
    "freeze-redis": Fault(freeze_redis, needs_redis=True),
    "kill-broker": Fault(kill_broker),
    "stop-broker": Fault(stop_broker),
    "freeze-broker": Fault(freeze_broker),
    "broker-away": Fault(broker_away),
    "zombie": Fault(freeze_worker, afterwards=count_fenced),
    "rebalances": Fault(workers_come_and_go),
    "workers-down": Fault(workers_down),
    "bad-network": Fault(bad_network),
    "clock-jumps": Fault(clock_jumps, prepare=fake_clock),
    "leader-away": Fault(leader_away, kafka="three"),
    "disk-full": Fault(disk_full, kafka="disk"),
    "topic-deleted": Fault(topic_deleted),
    "garbage": Fault(garbage, needs_redis=True),
}
"""All of them, in the order in which they run."""
