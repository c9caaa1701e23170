"""Accounting answered per second, each answer sent after the record was durable; against FreeRADIUS with a flat file and with a database.

All servers run side by side and are loaded in turn, at each window; what is not loaded does nothing. Of ours there is one with a process
for each core, as FreeRADIUS has threads for all of them, and one with a single process.
"""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.broker import pick_free_port
from agents.kafka_client import client_settings, topic_name
from bench.freeradius import FreeRadius
from bench.postgresql import Postgresql
from bench.report import Report, middle, show_profile, spread
from bench.rig import PARTITIONS, Child, FailedError, Rig, cpu_s_of
from schemas.configuration import Configuration
from schemas.topics import ACCOUNTING

CPU = ("server_cpu_s", "broker_cpu_s", "cpu_s")
COLUMNS = ("server", "window", "median/s", "spread", "p50 ms", "p99 ms", "resent", "CPU us", "Kafka CPU us", "load CPU us")


class Server(NamedTuple):
    """What is loaded: its figures' name, its rows' title, its UDP port, and how to ask for its CPU time."""

    name: str
    title: str
    port: int
    cpu_s: Callable[[], float]


class Ours(NamedTuple):
    """Ingests that share a port, and the topics that they write into."""

    server: Server
    children: list[Child]
    configuration: Configuration


Figures = dict[tuple[str, int], list[dict[str, Any]]]


async def measure(rig: Rig) -> Report:
    """Rounds in turn over every window."""
    ours = [await _ours(rig, "curfew", os.cpu_count() or 1), await _ours(rig, "curfew-one", 1)]
    peers = [FreeRadius(rig), FreeRadius(rig, Postgresql(rig))]
    there = {peer.name: peer for peer in peers if not peer.why_not}
    servers = [one.server for one in ours]
    servers += [Server(peer.name, peer.title, peer.port, peer.cpu_s) for peer in there.values()]
    figures: Figures = {}
    answered: Counter[str] = Counter()
    try:
        for child in (children := [child for one in ours for child in one.children]):
            child.start()
        for child in children:
            await child.ready()
        for peer in peers:
            await peer.start()
        for server in servers:
            warm = await rig.send(server.port, window=rig.sizes.windows[0], seconds=rig.sizes.ingest_s / 2)
            answered[server.name] += warm["packets"]
        for _ in range(rig.sizes.rounds):
            for window in rig.sizes.windows:
                for server in servers:
                    one = await _load(rig, server, window, there.get(server.name))
                    figures.setdefault((server.name, window), []).append(one)
                    answered[server.name] += one["packets"]
        for each in ours:
            await _check_durable(each.configuration, answered[each.server.name])
    finally:
        for each in ours:
            for child in each.children:
                await child.stop()
        for peer in peers:
            await peer.stop()
    done = _report(rig, figures, servers, [peer.why_not for peer in peers if peer.why_not], sum(answered[one.server.name] for one in ours))
    done.data["profile"] = await _profile(rig) if rig.profile else []
    return done


async def _ours(rig: Rig, name: str, processes: int) -> Ours:
    """So many ingests on one port, not started."""
    port = pick_free_port()
    config, configuration = await rig.installation(f"ingest-{name}", port=port)
    children = [rig.part("ingest", config, nth) for nth in range(processes)]
    title = f"curfew ingest, {processes} process{'es' if processes > 1 else ''}, Kafka acks=all"
    return Ours(Server(name, title, port, lambda: sum(child.cpu_s() for child in children)), children, configuration)


async def _load(rig: Rig, server: Server, window: int, peer: FreeRadius | None) -> dict[str, Any]:
    """One round of one server; what the peer answered must be where it keeps it, as ours is in the journal."""
    if peer:
        peer.forget()
    used_s, broker_s = server.cpu_s(), cpu_s_of(rig.broker)
    one = await rig.send(server.port, window=window, seconds=rig.sizes.ingest_s)
    if peer and not peer.wrote(one["packets"]):
        raise FailedError(f"{peer.title} answered more than it wrote")
    return {**one, "server_cpu_s": server.cpu_s() - used_s, "broker_cpu_s": cpu_s_of(rig.broker) - broker_s}


async def _check_durable(configuration: Configuration, answered: int) -> None:
    """What was answered is in the journal (ticks are in there too)."""
    name = topic_name(configuration, ACCOUNTING)
    consumer = AIOKafkaConsumer(**client_settings(configuration))
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(name, partition) for partition in range(PARTITIONS)])
    finally:
        await consumer.stop()
    if sum(ends.values()) < answered:
        raise FailedError(f"{answered} packets were answered, but the journal holds {sum(ends.values())} records")


async def _profile(rig: Rig) -> list[str]:
    port = pick_free_port()
    config, _ = await rig.installation("ingest-profile", port=port)
    child: Child = rig.part("ingest", config, sampled=True)
    child.start()
    try:
        await child.ready()
        await rig.send(port, window=rig.sizes.windows[0], seconds=2 * rig.sizes.ingest_s)
    finally:
        await child.stop()
    return show_profile(f"profile of the ingest, window {rig.sizes.windows[0]}", rig.samples(child.name))


def _report(rig: Rig, figures: Figures, servers: list[Server], lacking: list[str], answered: int) -> Report:
    rows: list[tuple[Any, ...]] = []
    medians = {place: middle([one["packets_s"] for one in rounds]) for place, rounds in figures.items()}
    for window in rig.sizes.windows:
        for server in servers:
            rounds = figures[server.name, window]
            ratios = [f"{medians[server.name, window] / medians[peer.name, window]:.2f}" for peer in servers[1:]]
            latency = [f"{middle([one[key] for one in rounds]):.1f}" for key in ("p50_ms", "p99_ms")]
            resent = sum(one["resent"] for one in rounds)
            cpu = [f"{middle([one[key] / one['packets'] * 1e6 for one in rounds]):.1f}" for key in CPU]
            rates = [one["packets_s"] for one in rounds]
            rows.append((server.title, window, f"{middle(rates):,.0f}", spread(rates), *latency, resent, *cpu, *ratios))
    best = {server.name: max((medians[server.name, window], window) for window in rig.sizes.windows) for server in servers}
    notes = [f"{server.title}: at its best window, {best[server.name][1]}, {best[server.name][0]:,.0f}/s" for server in servers]
    notes += [f"not measured: {why}" for why in lacking]
    notes.append(f"every answer's authenticator was checked; {answered:,} packets of ours were answered and are in the journal")
    title = f"Accounting answered per second ({rig.sizes.rounds} rounds of {rig.sizes.ingest_s:g} s in turn, closed loop)"
    data = {
        "windows": {name: {str(window): figures[name, window] for window in rig.sizes.windows} for name in best},
        "best": {name: {"median_s": rate, "window": window} for name, (rate, window) in best.items()},
        "titles": {server.name: server.title for server in servers},
        "lacking": lacking,
    }
    return Report(title, (*COLUMNS, *(f"x {peer.name}" for peer in servers[1:])), rows, notes, data)
