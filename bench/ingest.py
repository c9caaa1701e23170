"""Accounting answered per second, each answer sent after the record was durable; against FreeRADIUS with a flat file, in turn."""

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.kafka_client import client_settings, topic_name
from bench.freeradius import FreeRadius
from bench.report import Report, middle, show_profile, spread, verdict
from bench.rig import PARTITIONS, Child, FailedError, Rig, cpu_s_of, free_port
from schemas.configuration import Configuration
from schemas.topics import ACCOUNTING

PACKETS_MAX = 4_000_000
SKETCH_S = {512: 55_000, 2048: 74_000}
WARM_S = 2.0


async def measure(rig: Rig) -> Report:
    """Rounds in turn over every window."""
    port = free_port()
    config, configuration = await rig.installation("ingest", port=port)
    ingest, peer = rig.part("ingest", config), FreeRadius(rig)
    answered = 0

    def usage() -> dict[str, float]:
        return {"curfew_cpu_s": ingest.cpu_s(), "freeradius_cpu_s": peer.cpu_s(), "broker_cpu_s": cpu_s_of(rig.broker)}

    figures: dict[tuple[str, int], list[dict[str, Any]]] = {}
    try:
        ingest.start()
        await ingest.ready()
        await peer.start()
        servers = {"curfew": port} | ({} if peer.why_not else {"freeradius": peer.port})
        for name, at in servers.items():
            warm = await rig.send(at, window=rig.sizes.windows[0], packets=PACKETS_MAX, seconds=min(WARM_S, rig.sizes.ingest_s))
            answered += warm["packets"] if name == "curfew" else 0
        for _ in range(rig.sizes.rounds):
            for window in rig.sizes.windows:
                for name, at in servers.items():
                    peer.forget()
                    used = usage()
                    one = await rig.send(at, window=window, packets=PACKETS_MAX, seconds=rig.sizes.ingest_s)
                    one |= {key: value - used[key] for key, value in usage().items()}
                    figures.setdefault((name, window), []).append(one)
                    if name == "curfew":
                        answered += one["packets"]
                    elif peer.written() < one["packets"]:
                        raise FailedError("FreeRADIUS answered more than is in its detail file")
        await _check_durable(configuration, answered)
    finally:
        await ingest.stop()
        await peer.stop()
        peer.forget()
    profile = await _profile(rig) if rig.profile else []
    return _report(rig, figures, peer, answered, profile)


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
    port = free_port()
    config, _ = await rig.installation("ingest-profile", port=port)
    child: Child = rig.part("ingest", config, sampled=True)
    child.start()
    try:
        await child.ready()
        await rig.send(port, window=rig.sizes.windows[0], packets=PACKETS_MAX, seconds=2 * rig.sizes.ingest_s)
    finally:
        await child.stop()
    return show_profile(f"profile of the ingest, window {rig.sizes.windows[0]}", rig.samples(child.name))


def _report(rig: Rig, figures: dict[tuple[str, int], list[dict[str, Any]]], peer: FreeRadius, answered: int, profile: list[str]) -> Report:
    rows, notes, data = [], [], {}
    names = {"curfew": "curfew ingest, Kafka acks=all", "freeradius": f"FreeRADIUS {peer.version}, detail file"}
    for window in rig.sizes.windows:
        against = [one["packets_s"] for one in figures.get(("freeradius", window), [])]
        for name, title in names.items():
            rounds = figures.get((name, window))
            if rounds is None:
                continue
            rates = [one["packets_s"] for one in rounds]
            ratio = f"{middle(rates) / middle(against):.2f}" if against else "-"
            latency = [f"{middle([one[key] for one in rounds]):.1f}" for key in ("p50_ms", "p99_ms")]
            resent = sum(one["resent"] for one in rounds)
            cpu = [f"{middle([one[f'{who}_cpu_s'] / one['packets'] * 1e6 for one in rounds]):.1f}" for who in (name, "broker")]
            rows.append((title, window, f"{middle(rates):,.0f}", spread(rates), *latency, resent, *cpu, ratio))
            data[f"{name}-{window}"] = {"rounds": rounds, "median_s": middle(rates)}
            if name == "curfew" and window in SKETCH_S:
                notes.append(verdict(f"window {window}", middle(rates), SKETCH_S[window], "/s"))
    best = {
        name: max((middle([o["packets_s"] for o in some]) for (who, _), some in figures.items() if who == name), default=0)
        for name in names
    }
    if best["freeradius"]:
        notes.append(f"each at its best window: {best['curfew'] / best['freeradius']:.2f} x FreeRADIUS")
    if peer.why_not:
        notes.append(f"nothing to measure against: {peer.why_not}")
    notes.append(f"every answer's authenticator was checked; {answered:,} packets of ours were answered and are in the journal")
    columns = (
        "ingest: answered per second",
        "window",
        "median/s",
        "spread",
        "p50 ms",
        "p99 ms",
        "resent",
        "CPU us",
        "Kafka CPU us",
        "x FreeRADIUS",
    )
    title = f"1. Accounting answered per second ({rig.sizes.rounds} rounds of {rig.sizes.ingest_s:g} s in turn, closed loop, one process)"
    return Report(title, columns, rows, notes, data | {"profile": profile, "freeradius": peer.version or peer.why_not})
