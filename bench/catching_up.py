"""A worker process, as `curfew worker` runs one, that says how long it took to catch up: `python -m bench.catching_up CONFIG BROKER_PID`.

The clock runs from the first poll with records. Two ends are told: `seconds`, when every record has been applied (lag 0), and
`committed_s`, when the rows and the offset of every partition are committed too, which waits for the period of the checkpoint.
"""

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from agents.health import Health
from agents.kafka_client import client_settings, prefixed, topic_name
from agents.settings import load_settings
from agents.worker import SESSIONS, run_worker
from bench.rig import cpu_s_of
from schemas.codec import dumps
from schemas.configuration import Configuration
from schemas.topics import ACCOUNTING, WORKER_GROUP
from streams.session_core import SessionCore

LOOK_EVERY_S = 0.005
ASK_EVERY_S = 0.02


async def _run(configuration: Configuration, broker: int) -> None:
    ends = await journal_ends(configuration)
    cores: dict[int, SessionCore] = {}

    def make_core(partition: int, partitions: int, journal: str) -> SessionCore:
        cores[partition] = SessionCore(partition, partitions, journal)
        return cores[partition]

    stop = asyncio.Event()
    worker = asyncio.create_task(run_worker(configuration, Health("worker"), stop, lanes=[replace(SESSIONS, make_core=make_core)]))
    worker.add_done_callback(lambda _: stop.set())

    async def until_applied(records: int) -> float:
        while sum(core.next_offset for core in cores.values()) < records:
            if worker.done():
                worker.result()
            await asyncio.sleep(LOOK_EVERY_S)
        return time.perf_counter()

    total = sum(ends.values())
    began_s, used_s, broker_s = await until_applied(1), time.process_time(), cpu_s_of(broker)
    first = sum(core.next_offset for core in cores.values())  # those of the first look were applied before the clock ran
    applied_s = await until_applied(total)
    cpu_s, broker_s = time.process_time() - used_s, cpu_s_of(broker) - broker_s
    await _until_committed(configuration, ends)
    committed_s = time.perf_counter()
    stop.set()
    await worker
    told = {"records": total - first, "seconds": applied_s - began_s, "committed_s": committed_s - began_s}
    rejected = {partition: core.rejected_reasons for partition, core in cores.items() if core.rejected_reasons}
    print(
        dumps(
            told
            | {
                "cpu_s": cpu_s,
                "broker_cpu_s": broker_s,
                "rejected": str(rejected) if rejected else "",
                "open": sum(core.open_sessions for core in cores.values()),
            }
        )
    )


async def journal_ends(configuration: Configuration) -> dict[TopicPartition, int]:
    """How many records each partition of the journal holds."""
    name = topic_name(configuration, ACCOUNTING)
    consumer = AIOKafkaConsumer(**client_settings(configuration))
    await consumer.start()
    try:
        places = [TopicPartition(name, partition) for partition in range(configuration.kafka.partitions)]
        return dict(await consumer.end_offsets(places))
    finally:
        await consumer.stop()


async def _until_committed(configuration: Configuration, ends: dict[TopicPartition, int]) -> None:
    admin = AIOKafkaAdminClient(**client_settings(configuration))
    await admin.start()
    try:
        while True:
            committed = await admin.list_consumer_group_offsets(prefixed(configuration, WORKER_GROUP))
            if all(place in committed and committed[place].offset >= end for place, end in ends.items()):
                return
            await asyncio.sleep(ASK_EVERY_S)
    finally:
        await admin.close()


if __name__ == "__main__":
    uvloop.run(_run(load_settings(Path(sys.argv[1]), {}), int(sys.argv[2])))
