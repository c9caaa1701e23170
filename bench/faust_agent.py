"""The worker's peer, a stock Faust agent with a table write for each record: `python -m bench.faust_agent BOOTSTRAP TOPIC RECORDS`.

The table is in memory with its changelog in Kafka, commits and buffers as Faust has them by default. Its update is thin: no events, no
limits, no ids. The clock runs from the first record to the last, so neither its start nor its recovery counts. The changelog is made
beforehand, with the partitions of the journal.
"""

import asyncio
import os
import secrets
import sys
import time
from typing import Any

import faust

from bench.rig import PARTITIONS, make_topic
from schemas.accounting import AccountingRecord
from schemas.codec import decoder, dumps, encode, loads

_RECORD = decoder(AccountingRecord).decode


def build_app(bootstrap: str, topic: str, records: int) -> faust.App:
    """The app; it ends the process when it has seen so many records."""
    name = f"bench-faust-{secrets.token_hex(4)}"
    app = faust.App(
        name,
        broker=f"kafka://{bootstrap}",
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=PARTITIONS,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        table_standby_replicas=0,
        store="memory://",
        web_enabled=False,
    )
    journal = app.topic(topic, key_serializer="raw", value_serializer="raw")
    sessions = app.Table("sessions", partitions=PARTITIONS, key_type=bytes, value_type=bytes)
    seen, began_s, used_s = 0, 0.0, 0.0

    @app.agent(journal)
    async def session(stream: Any) -> None:
        nonlocal seen, began_s, used_s
        async for key, value in stream.items():
            if not seen:
                began_s, used_s = time.perf_counter(), time.process_time()
            if key is not None:
                record = _RECORD(value)
                row_key = f"{record.nas}/{record.acct_session_id}".encode()
                sessions[row_key] = updated(sessions.get(row_key), record)
            seen += 1
            if seen == records:
                took_s = time.perf_counter() - began_s
                print(dumps({"records": seen, "seconds": took_s, "cpu_s": time.process_time() - used_s}), flush=True)
                os._exit(0)  # an orderly stop takes seconds and is not measured

    return app


def updated(row: bytes | None, record: AccountingRecord) -> bytes:
    """The session's row after a record: what it says last."""
    session = {} if row is None else loads(row)
    session.update(
        user=record.user_name,
        nas=record.nas,
        state="closed" if record.status == "Stop" else "open",
        last_seen_ms=record.received_ms,
        session_time_s=record.session_time_s,
        input_octets=record.input_octets,
        output_octets=record.output_octets,
    )
    return encode(session)


async def _run(bootstrap: str, topic: str, records: int) -> None:
    app = build_app(bootstrap, topic, records)
    await make_topic(f"{app.conf.id}-sessions-changelog", {"bootstrap_servers": bootstrap}, **{"cleanup.policy": "compact"})
    await app.start()
    await app.wait_until_stopped()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
