"""The journal read by plain aiokafka: `python -m bench.reading CONFIG decode|apply`.

decode: `getmany` and msgspec, which no consumer in Python can be faster than. apply: the pure step over the same polls, where only the time
inside `SessionCore.apply` counts, and what its checkpoints take is told beside it.
"""

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from agents.garbage import settle
from agents.kafka_client import FETCH_WAIT_MS, client_settings, topic_name
from agents.poll import FETCH_BYTES, POLL_RECORDS, POLL_TIMEOUT_MS
from agents.settings import load_settings
from agents.topic_reader import kind_of
from bench.catching_up import journal_ends
from schemas.accounting import AccountingRecord
from schemas.codec import decoder, dumps
from schemas.configuration import Configuration
from schemas.topics import ACCOUNTING
from streams.session_core import SessionCore
from streams.step import Output

Poll = dict[TopicPartition, list[ConsumerRecord[Any, Any]]]


async def _polls(configuration: Configuration) -> AsyncIterator[Poll]:
    """All of the journal, in polls such as the worker's."""
    ends = await journal_ends(configuration)
    consumer = AIOKafkaConsumer(
        **client_settings(configuration),
        auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    consumer.assign(list(ends))
    await consumer.start()
    try:
        left = sum(ends.values())
        while left > 0:
            poll = await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=POLL_RECORDS)
            left -= sum(map(len, poll.values()))
            if poll:
                yield poll
    finally:
        await consumer.stop()


async def decode(configuration: Configuration) -> dict[str, Any]:
    read = decoder(AccountingRecord).decode
    began_s, used_s, records = 0.0, 0.0, 0
    async for poll in _polls(configuration):
        if not records:
            began_s, used_s = time.perf_counter(), time.process_time()
        for some in poll.values():
            for record in some:
                if record.key is not None:
                    read(record.value)
            records += len(some)
    return {"records": records, "seconds": time.perf_counter() - began_s, "cpu_s": time.process_time() - used_s}


async def apply(configuration: Configuration) -> dict[str, Any]:
    journal = topic_name(configuration, ACCOUNTING)
    partitions = configuration.kafka.partitions
    cores = [SessionCore(number, partitions, journal) for number in range(partitions)]
    settle()
    seconds, cpu_s, checkpoint_s, records, outputs, rows = 0.0, 0.0, 0.0, 0, 0, 0
    async for poll in _polls(configuration):
        for place, some in poll.items():
            core, out = cores[place.partition], list[Output]()
            kinds = [kind_of(record) for record in some]
            began_s, used_s = time.perf_counter(), time.process_time()
            step = core.apply
            for record, kind in zip(some, kinds, strict=True):
                step(record.offset, kind, record.key, record.value, out)
            seconds, cpu_s = seconds + time.perf_counter() - began_s, cpu_s + time.process_time() - used_s
            records, outputs = records + len(some), outputs + len(out)
            if core.touched >= configuration.worker.checkpoint_rows:
                used_s = time.process_time()
                rows += len(core.checkpoint())
                checkpoint_s += time.process_time() - used_s
    told = {"records": records, "seconds": seconds, "cpu_s": cpu_s}
    return told | {"checkpoint_cpu_s": checkpoint_s, "rows": rows, "outputs": outputs}


if __name__ == "__main__":
    print(dumps(uvloop.run({"decode": decode, "apply": apply}[sys.argv[2]](load_settings(Path(sys.argv[1]), {})))))
