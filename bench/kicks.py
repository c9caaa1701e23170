"""Confirmed disconnects a second: commands from Kafka, 500 NASes on the loopback that answer, results into Kafka, with Kafka beside it.

One kicker, and two that share the partitions; for each what a kick takes of the processors, by process: all three share two cores.

Also what the idle path takes: from a command that was read to its packet on the wire.
"""

import asyncio
import gc
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from agents.broker import pick_free_port
from agents.health import Health
from agents.kafka_client import client_settings, close, idempotent_producer, topic_name
from agents.kicker import Kicker
from bench.report import Report, show_profile
from bench.rig import PARTITIONS, Child, FailedError, Rig, cpu_s_of
from schemas.codec import JsonValue, encode, loads
from schemas.configuration import Configuration
from schemas.disconnect import COMMAND_KIND, DisconnectCommand
from schemas.topics import COMMANDS, KIND_HEADER, RESULTS
from streams.open_commands import OpenCommands
from streams.partitioner import partition_of

NASES = 500
SECRET = "bench-disconnects"
STOP_AFTER_MS = 50
DONE_WITHIN_S = 180.0
LOOK_EVERY_S = 0.25
WANTED_S = 5_000
IDLE_MS = 1.0
IDLE_ONE_OF = 15
"""So many fewer kicks are looked at on the idle path, which takes them one at a time."""
HEADERS = [(KIND_HEADER, COMMAND_KIND.encode())]


async def measure(rig: Rig) -> Report:
    """One kicker, then two that share the partitions; with a profile the first run once more."""
    kicks = rig.sizes.kicks
    program = rig.compile("nases")
    runs = [await _run(rig, f"kicks-{kickers}", program, kicks, kickers) for kickers in (1, 2)]
    idle_us = await _idle(runs[0].pop("configuration"), kicks // IDLE_ONE_OF)
    runs[1].pop("configuration")
    profile: list[str] = []
    if rig.profile:
        await _run(rig, "kicks-sampled", program, kicks, 1, sampled=True)
        profile = show_profile("profile of the kicker (its start included)", rig.samples("kicks-sampled-kicker-0"))
    best = max(run["rate_s"] for run in runs)
    return Report(
        f"kicks: {kicks:,} sessions of {NASES} NASes on the loopback, each acknowledged, its Stop {STOP_AFTER_MS} ms later",
        ("", "confirmed/s", "last s", *(f"{name} us/kick" for name in runs[0]["us"]), "cores busy"),
        [
            [
                f"{run['kickers']} kicker{'s' * (run['kickers'] > 1)}",
                f"{run['rate_s']:,.0f}",
                f"{run['took_s']:.1f}",
                *(f"{us:.0f}" for us in run["us"].values()),
                f"{run['rate_s'] * sum(run['us'].values()) / 1e6:.2f}",
            ]
            for run in runs
        ],
        (
            f"wanted: {WANTED_S:,} confirmed kicks a second on 2 cores; it is at {best / WANTED_S:.2f} of it",
            *(f"{run['kickers']}: outcomes {run['outcomes']}; requests sent for each kick: {run['sends'] / kicks:.3f}" for run in runs),
            (
                f"idle: command read -> packet on the wire, median {median(idle_us):.0f} us,"
                f" p99 {quantiles(idle_us, n=100)[-1]:.0f} us (wanted: under {IDLE_MS:.0f} ms)"
            ),
            *profile,
        ),
        {f"kickers-{run['kickers']}": run for run in runs} | {"idle_us": [round(one, 1) for one in idle_us[:100]]},
    )


async def _run(rig: Rig, name: str, program: Path, kicks: int, kickers: int, *, sampled: bool = False) -> dict[str, Any]:
    port = pick_free_port()
    config, configuration = await rig.installation(
        name,
        nas="".join(
            f'[[nas]]\nname = "nas-{number}"\naddresses = ["{_address(number)}"]\nsecret = "s"\n'
            f'disconnect = {{ address = "{_address(number)}", port = {port}, secret = "{SECRET}" }}\n'
            for number in range(NASES)
        ),
    )
    nases = rig.python(f"{name}-kicked", "bench.kicked", str(config), str(program), str(port), SECRET, str(STOP_AFTER_MS))
    parts = [rig.python(f"{name}-kicker-{n}", "agents.cli", "kicker", "--config", str(config), sampled=sampled) for n in range(kickers)]
    nases.start()
    try:
        await nases.says("listening")
        for part in parts:
            part.start()
        for part in parts * 2:  # when the last is ready it has its share, and the others have to take up what is left to them
            await part.ready()
        return await _kick(rig, configuration, kicks, parts, nases)
    finally:
        for part in parts:
            await part.stop()
        await nases.stop()


def _address(number: int) -> str:
    """A NAS's, as `bench/nases.c` has it."""
    return f"127.1.{number >> 8}.{number & 255}"


async def _kick(rig: Rig, configuration: Configuration, kicks: int, kickers: list[Child], nases: Child) -> dict[str, Any]:
    """Write the commands, wait until each has its two results, and look at them afterwards."""
    parts: dict[str, list[Callable[[], float]]] = {"kicker": [child.cpu_s for child in kickers], "NASes": [nases.family_cpu_s]}
    parts["Kafka"] = [partial(cpu_s_of, rig.broker)]
    commands = _commands(kicks)
    reader = AIOKafkaConsumer(**client_settings(configuration), enable_auto_commit=False, auto_offset_reset="earliest")
    await reader.start()
    try:
        places = [TopicPartition(topic_name(configuration, RESULTS), number) for number in range(PARTITIONS)]
        reader.assign(places)
        before = {name: sum(cpu_s() for cpu_s in own) for name, own in parts.items()}
        await _write(configuration, commands)
        deadline = time.monotonic() + DONE_WITHIN_S
        while (ended := sum((await reader.end_offsets(places)).values())) < 2 * kicks:  # reading them would take the cores' time
            if time.monotonic() > deadline:
                raise FailedError(f"{ended:,} of {2 * kicks:,} results within {DONE_WITHIN_S:.0f} s:\n{kickers[0].tail()}")
            await asyncio.sleep(LOOK_EVERY_S)
        us = {name: 1e6 * (sum(cpu_s() for cpu_s in own) - before[name]) / kicks for name, own in parts.items()}
        results: list[dict[str, Any]] = []
        while len(results) < 2 * kicks:
            for records in (await reader.getmany(timeout_ms=200)).values():
                results += [loads(record.value) for record in records]
    finally:
        await reader.stop()
    finals = [result for result in results if result["final"]]
    if len({result["command_id"] for result in finals}) != kicks:
        raise FailedError(f"{kicks} kicks, {len(finals)} final results")
    sent_ms = [ms for result in finals for attempt in result["attempts"] for ms in attempt["sent_ms"]]
    took_s = (max(result["time_ms"] for result in finals) - min(sent_ms)) / 1000
    return {
        "configuration": configuration,
        "kickers": len(kickers),
        "rate_s": kicks / took_s,
        "took_s": took_s,
        "us": us,
        "outcomes": {
            outcome: sum(result["outcome"] == outcome for result in finals) for outcome in {result["outcome"] for result in finals}
        },
        "sends": len(sent_ms),
    }


def _command(number: int, now_ms: int) -> DisconnectCommand:
    nas = f"nas-{number % NASES}"
    session: dict[str, JsonValue] = {"acct_session_id": f"0-{number}-0-u", "user_name": f"user{number}@example.net", "nas_identifier": nas}
    session |= {"calling_station_id": f"02-AA-00-{number >> 16 & 255:02X}-{number >> 8 & 255:02X}-{number & 255:02X}"}
    session |= {"nas_ip_address": f"10.0.{(number % NASES) >> 8}.{number % NASES & 255}", "nas_port": number % 4096}
    session |= {"called_station_id": "02-00-00-0A-00-01:campus", "framed_ip_address": f"10.9.{number >> 8 & 255}.{number & 255}"}
    return DisconnectCommand(
        id=f"0-{number}-0-u",
        time_ms=now_ms,
        expires_ms=now_ms + 300_000,
        confirm_within_s=300,
        nas=nas,
        identity=f"user{number}",
        session=session,
        reason="limit",
        rule="two-devices",
        policy_version=1,
    )


def _commands(kicks: int) -> list[list[dict[str, Any]]]:
    """The records by partition."""
    now_ms = time.time_ns() // 1_000_000
    records: list[list[dict[str, Any]]] = [[] for _ in range(PARTITIONS)]
    for number in range(kicks):
        command = _command(number, now_ms)
        record = {"key": command.nas.encode(), "value": encode(command), "timestamp": None, "headers": HEADERS}
        records[partition_of(command.nas, PARTITIONS)].append(record)
    return records


async def _write(configuration: Configuration, commands: list[list[dict[str, Any]]]) -> None:
    producer = idempotent_producer(configuration)
    await producer.start()
    topic = topic_name(configuration, COMMANDS)
    try:
        for partition, records in enumerate(commands):
            batch = producer.create_batch()
            for record in records:
                while batch.append(**record) is None:
                    batch.close()
                    await producer.send_batch(batch, topic, partition=partition)
                    batch = producer.create_batch()
            batch.close()
            await producer.send_batch(batch, topic, partition=partition)
    finally:
        await producer.stop()


async def _idle(configuration: Configuration, times: int) -> list[float]:
    """Microseconds from a record that the consumer gave to its datagram in the NAS's hands, one at a time, in this process."""
    way = configuration.nas[0].disconnect
    assert way is not None
    kicker = Kicker(configuration, Health("kicker"))
    part = OpenCommands(0, 0)
    took_us = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
        nas.bind((way.address, way.port))
        for number in range(times):
            command = _command(number * NASES, time.time_ns() // 1_000_000)
            record: Any = SimpleNamespace(offset=number, headers=tuple(HEADERS), value=encode(command), key=b"", topic="", partition=0)
            gc.collect(0)
            began_s = time.perf_counter()
            kicker._take_records(part, [record])  # noqa: SLF001 - what happens between Kafka and the socket
            nas.recv(4096)
            took_us.append((time.perf_counter() - began_s) * 1e6)
            kicker._forget([command.id])  # noqa: SLF001 - nobody answers here
            await asyncio.sleep(0.012)  # at the pace of one NAS's budget
    kicker._end_kicks()  # noqa: SLF001 - closes its sockets
    await close(kicker._consumer)  # noqa: SLF001 - it was never started
    return took_us
