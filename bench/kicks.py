"""Confirmed disconnects a second: commands from Kafka, 500 NASes on the loopback that answer, results into Kafka, with Kafka beside it.

Also what the idle path takes: from a command that was read to its packet on the wire.
"""

import asyncio
import gc
import socket
import time
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from agents.health import Health
from agents.kafka_client import client_settings, close, idempotent_producer, topic_name
from agents.kicker import Kicker
from bench.report import Report, show_profile
from bench.rig import PARTITIONS, Child, FailedError, Rig, cpu_s_of
from schemas.codec import encode, loads
from schemas.configuration import Configuration
from schemas.disconnect import COMMAND_KIND, DisconnectCommand
from schemas.topics import COMMANDS, KIND_HEADER, RESULTS
from streams.open_commands import OpenCommands
from streams.partitioner import partition_of

NASES = 500
SECRET = "bench-disconnects"
STOP_AFTER_MS = 50
DONE_WITHIN_S = 180.0
WANTED_S = 5_000
IDLE_MS = 1.0
HEADERS = [(KIND_HEADER, COMMAND_KIND.encode())]


async def measure(rig: Rig) -> Report:
    """One run, and with a profile a second one."""
    kicks = 400 if rig.sizes.rounds == 1 else 30_000
    done = await _run(rig, "kicks", kicks, sampled=False)
    idle_us = await _idle(done["configuration"], 50 if rig.sizes.rounds == 1 else 2_000)
    profile: list[str] = []
    if rig.profile:
        await _run(rig, "kicks-sampled", kicks, sampled=True)
        profile = show_profile("profile of the kicker (its start included)", rig.samples("kicks-sampled-kicker"))
    rate = kicks / done["took_s"]
    shares = {name: f"{1e6 * cpu / kicks:.0f}" for name, cpu in done["cpu_s"].items()}
    return Report(
        f"kicks: {kicks:,} sessions of {NASES} NASes on the loopback, each acknowledged, its Stop {STOP_AFTER_MS} ms later",
        ("", "confirmed/s", "last s", *(f"{name} us/kick" for name in shares)),
        [["kicker", f"{rate:,.0f}", f"{done['took_s']:.1f}", *shares.values()]],
        (
            f"wanted: {WANTED_S:,} confirmed kicks a second on 2 cores; it is at {rate / WANTED_S:.2f} of it",
            (
                f"idle: command read -> packet on the wire, median {median(idle_us):.0f} us,"
                f" p99 {quantiles(idle_us, n=100)[-1]:.0f} us (wanted: under {IDLE_MS:.0f} ms)"
            ),
            f"outcomes: {done['outcomes']}; requests sent for each kick: {done['sends'] / kicks:.3f}",
            *profile,
        ),
        {name: value for name, value in done.items() if name != "configuration"} | {"idle_us": [round(one, 1) for one in idle_us[:100]]},
    )


async def _run(rig: Rig, name: str, kicks: int, *, sampled: bool) -> dict[str, Any]:
    ports = _free_ports(NASES)
    config, configuration = await rig.installation(
        name,
        nas="".join(
            f'[[nas]]\nname = "nas-{number}"\naddresses = ["10.0.{number >> 8}.{number & 255}"]\nsecret = "s"\n'
            f'disconnect = {{ address = "127.0.0.1", port = {port}, secret = "{SECRET}" }}\n'
            for number, port in enumerate(ports)
        ),
    )
    kicked = rig.python(f"{name}-kicked", "bench.kicked", str(config), str(STOP_AFTER_MS))
    kicker = rig.part("kicker", config, sampled=sampled)
    kicked.start()
    try:
        await kicked.says("listening")
        kicker.start()
        await kicker.ready()
        return await _kick(rig, configuration, kicks, {"kicker": kicker, "NASes": kicked})
    finally:
        await kicker.stop()
        await kicked.stop()


async def _kick(rig: Rig, configuration: Configuration, kicks: int, children: dict[str, Child]) -> dict[str, Any]:
    """Write the commands, wait for the results, and look at them afterwards."""
    before = {name: child.cpu_s() for name, child in children.items()} | {"Kafka": cpu_s_of(rig.broker)}
    await _write(configuration, kicks)
    reader = AIOKafkaConsumer(**client_settings(configuration), enable_auto_commit=False, auto_offset_reset="earliest")
    await reader.start()
    try:
        places = [TopicPartition(topic_name(configuration, RESULTS), number) for number in range(PARTITIONS)]
        reader.assign(places)
        deadline = time.monotonic() + DONE_WITHIN_S
        values: list[bytes] = []
        ended = 0
        while ended < kicks:
            if time.monotonic() > deadline:
                raise FailedError(f"{ended:,} of {kicks:,} done within {DONE_WITHIN_S:.0f} s:\n{children['kicker'].tail()}")
            for records in (await reader.getmany(timeout_ms=200)).values():
                values += [record.value for record in records]
                ended += sum(b'"final":true' in record.value for record in records)
            await asyncio.sleep(0.2)
        cpu_s = {name: child.cpu_s() for name, child in children.items()} | {"Kafka": cpu_s_of(rig.broker)}
        results: list[dict[str, Any]] = [loads(value) for value in values]
    finally:
        await reader.stop()
    finals = [result for result in results if result["final"]]
    if len({result["command_id"] for result in finals}) != kicks:
        raise FailedError(f"{kicks} kicks, {len(finals)} final results")
    sent_ms = [ms for result in finals for attempt in result["attempts"] for ms in attempt["sent_ms"]]
    outcomes = {outcome: sum(result["outcome"] == outcome for result in finals) for outcome in {result["outcome"] for result in finals}}
    return {
        "configuration": configuration,
        "took_s": (max(result["time_ms"] for result in finals) - min(sent_ms)) / 1000,
        "cpu_s": {name: cpu_s[name] - before[name] for name in before},
        "outcomes": outcomes,
        "sends": len(sent_ms),
    }


def _command(number: int, now_ms: int) -> DisconnectCommand:
    nas = f"nas-{number % NASES}"
    session = {"acct_session_id": f"0-{number}-0-u", "user_name": f"user{number}@example.net", "nas_identifier": nas}
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


async def _write(configuration: Configuration, kicks: int) -> None:
    producer = idempotent_producer(configuration)
    await producer.start()
    topic, now_ms = topic_name(configuration, COMMANDS), time.time_ns() // 1_000_000
    try:
        for partition in range(PARTITIONS):
            batch = producer.create_batch()
            for number in range(kicks):
                command = _command(number, now_ms)
                if partition_of(command.nas, PARTITIONS) != partition:
                    continue
                record = {"key": command.nas.encode(), "value": encode(command), "timestamp": None, "headers": HEADERS}
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
    port = configuration.nas[0].disconnect.port  # type: ignore[union-attr]
    kicker = Kicker(configuration, Health("kicker"))
    part = OpenCommands(0, 0)
    took_us = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
        nas.bind(("127.0.0.1", port))
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


def _free_ports(number: int) -> list[int]:
    """UDP ports of 127.0.0.1 that are free now."""
    held: list[socket.socket] = []
    try:
        for _ in range(number):
            held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            held[-1].bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
