"""Records per second of one worker that catches up on a full journal, through events, rows and commits; against other stream processors.

The peers are one process each with a thin session update, where ours runs all of its logic: Kafka Streams and Quix Streams with state,
changelog and events, Faust with a table. Beside them stands what a consumer in Python could do at best. The journal is made
by the product's own ingest: users log in, report three times, log out. Before each further round the table and the events are made anew,
so the worker begins with nothing.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from agents.broker import pick_free_port
from agents.kafka_client import client_settings, idempotent_producer, topic_name
from agents.settings import load_policy
from agents.topic_admin import describe_topics, ensure_topics
from bench import peers
from bench.report import Report, middle, show_profile, spread
from bench.rig import PARTITIONS, FailedError, Rig, make_topic, run_to_end
from schemas.codec import encode
from schemas.configuration import Configuration
from schemas.journal import PolicyVersion
from schemas.topics import ACCOUNTING, EVENTS, KIND_HEADER, TABLE

STREAMS_WAYS = {
    "streams": ("1", "memory"),
    "streams-2-threads": ("2", "memory"),
    "streams-rocksdb": ("1", "rocksdb"),
}
"""Threads and the state's store: RocksDB is its default, the store in memory is faster."""
WARM_RECORDS = 1_000_000
"""A JVM compiles itself while it runs: in a tenth of them Kafka Streams shows half of its rate."""
ROUND_WITHIN_S = 600.0
FILL_WINDOW = 512
GONE_WITHIN_S = 15.0
POLICY = """
[[limit]]
name = "ten-devices"
applies_to = "user"
max_sessions = 10
[[limit]]
name = "twenty-sessions"
applies_to = "user"
max_sessions = 20
count = "sessions"
victim = "oldest"
[[limit]]
name = "fifty-reported"
applies_to = "user"
max_sessions = 50
action = "report"
[[liveness]]
rule = "interim"
times = 3
"""


async def measure(rig: Rig) -> Report:
    """Fill a journal, then rounds in turn."""
    port = pick_free_port()
    config, configuration = await rig.installation("worker", port=port)
    await put_policy(rig, configuration)
    await _fill(rig, config, port)
    installs = rig.sizes.name != "tiny"
    streams, quix = peers.kafka_streams(install=installs), peers.quix(install=installs)
    commands = _commands(rig, config, topic_name(configuration, ACCOUNTING), streams, quix)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    for number in range(rig.sizes.rounds):
        if number:
            await _empty(configuration)
        for name, command in commands.items():
            rounds[name].append(await run_to_end(await _prepared(rig, name, number, command), within_s=ROUND_WITHIN_S))
    profile = []
    if rig.profile:
        await _empty(configuration)
        await run_to_end(rig.command("worker", "bench.catching_up", str(config), str(rig.broker), sampled=True))
        profile = show_profile("profile of the worker catching up (its start included)", rig.samples("worker"))
    return _report(rig, rounds, [peer.why_not for peer in (streams, quix) if peer.why_not], profile)


def _commands(rig: Rig, config: Path, journal: str, streams: peers.Peer, quix: peers.Peer) -> dict[str, list[str]]:
    """What runs in each round, in this order; `APPLICATION`, `EVENTS` and `STATE` are of the round."""
    reading = ["bench.reading", str(config)]
    of_round = [rig.bootstrap, journal, "EVENTS", str(rig.sizes.records), "APPLICATION", "STATE"]
    commands = {"worker": rig.command("worker", "bench.catching_up", str(config), str(rig.broker))}
    if not streams.why_not:
        ways = list(STREAMS_WAYS.items())[: None if rig.sizes.name == "full" else 1]
        commands |= {name: [*streams.command, *of_round, *words] for name, words in ways}
    if not quix.why_not:
        commands["quix"] = [*quix.command, *of_round]
    return commands | {
        "faust": rig.command("faust", "bench.faust_agent", rig.bootstrap, journal, str(rig.sizes.faust_records)),
        "step": rig.command("step", *reading, "apply"),
        "decode": rig.command("decode", *reading, "decode"),
    }


async def _prepared(rig: Rig, name: str, number: int, command: list[str]) -> list[str]:
    """The command of a round, with a name, a topic for events and a directory for state that nobody used before."""
    if "EVENTS" not in command:
        return command
    application = f"bench-{name}-{number}"
    await make_topic(f"{application}-events", {"bootstrap_servers": rig.bootstrap})
    given = {"EVENTS": f"{application}-events", "APPLICATION": application, "STATE": str(rig.directory / application)}
    return [given.get(word, word) for word in command]


async def put_policy(rig: Rig, configuration: Configuration) -> None:
    """The policy in force from the journal's first record on."""
    file = rig.directory / "worker-policy.toml"
    file.write_text(POLICY)
    version = PolicyVersion(version=1, time_ms=round(time.time() * 1000), policy=load_policy(file))
    producer: AIOKafkaProducer = idempotent_producer(configuration)
    await producer.start()
    try:
        for partition in range(PARTITIONS):
            journal = topic_name(configuration, ACCOUNTING)
            await producer.send_and_wait(journal, encode(version), partition=partition, headers=[(KIND_HEADER, b"policy")])
    finally:
        await producer.stop()


async def _fill(rig: Rig, config: Path, port: int) -> None:
    ingest = rig.part("ingest", config)
    ingest.start()
    try:
        await ingest.ready()
        await rig.send(port, window=min(FILL_WINDOW, rig.sizes.users), packets=rig.sizes.records)
    finally:
        await ingest.stop()


async def _empty(configuration: Configuration) -> None:
    """Make the table and the events anew."""
    admin = AIOKafkaAdminClient(**client_settings(configuration))
    await admin.start()
    try:
        await admin.delete_topics([topic_name(configuration, topic) for topic in (TABLE, EVENTS)])
    finally:
        await admin.close()
    deadline = time.monotonic() + GONE_WITHIN_S
    while await describe_topics(configuration, (TABLE, EVENTS)):
        if time.monotonic() > deadline:
            raise FailedError("Kafka did not delete the topics of the last round")
        await asyncio.sleep(0.1)
    await ensure_topics(configuration)


def _report(rig: Rig, rounds: dict[str, list[dict[str, Any]]], lacking: list[str], profile: list[str]) -> Report:
    rates = {name: [one["records"] / one["seconds"] for one in some] for name, some in rounds.items()}
    titles = {
        "worker": "curfew worker: rules, events, rows, commits",
        "streams": "Kafka Streams, Processor API, state in memory",
        "streams-2-threads": "Kafka Streams, the same with 2 threads",
        "streams-rocksdb": "Kafka Streams, state in RocksDB",
        "quix": "Quix Streams, state in RocksDB",
        "step": "the pure step alone (SessionCore.apply)",
        "faust": "stock Faust agent, one table write per record",
        "decode": "plain aiokafka getmany + msgspec decode",
    }
    ours = middle(rates["worker"])
    rows = []
    for name, some in rates.items():
        cpu_us = middle([one["cpu_s"] / one["records"] * 1e6 for one in rounds[name]])
        count = f"{rounds[name][0]['records']:,}"
        rows.append((titles[name], count, f"{middle(some):,.0f}", spread(some), f"{cpu_us:.1f}", f"{ours / middle(some):.2f}"))
    committed = [one["records"] / one["committed_s"] for one in rounds["worker"]]
    kafka_us = middle([one["broker_cpu_s"] / one["records"] * 1e6 for one in rounds["worker"]])
    busy = middle([one["cpu_s"] / one["seconds"] for one in rounds["worker"]])
    step = rounds["step"][-1]
    if rejected := [one["rejected"] for one in rounds["worker"] if one["rejected"]]:
        raise FailedError(f"the worker rejected records: {rejected}")
    notes = [
        f"until every offset is committed too (it waits for the checkpoint's turn): {middle(committed):,.0f}/s",
        f"the worker used {busy:.0%} of a core, and Kafka {kafka_us:.1f} us of CPU time for each record",
        f"the step gave {step['outputs']:,} outputs for {step['records']:,} records",
    ]
    if step["rows"]:
        notes.append(
            f"encoding the rows of a checkpoint: {step['checkpoint_cpu_s'] / step['rows'] * 1e6:.1f} us a row, {step['rows']:,} rows"
        )
    if "streams" in rounds and rig.sizes.records < WARM_RECORDS:
        notes.append("Kafka Streams compiles itself while it runs and has hardly begun here: only the full size counts against it")
    notes += [f"not measured: {why}" for why in lacking]
    columns = ("worker: records per second", "records", "median/s", "spread", "CPU us", "worker is x")
    title = f"One worker catching up ({rig.sizes.rounds} rounds in turn; {rig.sizes.users:,} users, Start : 3 Interim : Stop, 3 limits)"
    data = {"rounds": rounds, "rates": rates, "committed": committed, "titles": titles, "lacking": lacking}
    return Report(title, columns, rows, notes, data | {"profile": profile})
