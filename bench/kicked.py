"""The other side of `bench.kicks`: NASes that acknowledge every Disconnect-Request, and the session agent's notice that the session ended.

`python -m bench.kicked CONFIG PROGRAM PORT SECRET NOTICE_AFTER_MS`: PROGRAM is the compiled `bench/nases.c`, its NAS n is the n-th of the
configuration. It prints one line when they listen; ends with SIGTERM. It does as little as it can, since it has the cores together with
what is measured: the NASes are in C, and the notices go to Kafka in batches.
"""

import asyncio
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer

from agents.kafka_client import idempotent_producer, topic_name
from agents.settings import load_settings
from schemas.codec import encode
from schemas.configuration import Configuration
from schemas.disconnect import NOTICE_KIND, SessionNotice
from schemas.topics import COMMANDS, KIND_HEADER
from streams.partitioner import partition_of

EVERY_S = 0.05
READ_OCTETS = 1 << 20
HEADERS = [(KIND_HEADER, NOTICE_KIND.encode())]


async def tell(configuration: Configuration, ended: asyncio.StreamReader, producer: AIOKafkaProducer) -> None:
    """The session is named after its command, so that its end can be told without knowing it."""
    topic, partitions = topic_name(configuration, COMMANDS), configuration.kafka.partitions
    names = [nas.name for nas in configuration.nas]
    homes = [partition_of(name, partitions) for name in names]
    rest = b""
    while read := await ended.read(READ_OCTETS):
        *lines, rest = (rest + read).split(b"\n")
        by_partition = defaultdict(list)
        for line in lines:
            number, _, session = line.decode().partition(" ")
            name = names[int(number)]
            notice = SessionNotice(command_id=session, nas=name, identity="u", acct_session_id=session, said_by="nas-stop", time_ms=0)
            by_partition[homes[int(number)]].append((name.encode(), encode(notice)))
        for partition, notices in by_partition.items():
            await send(producer, topic, partition, notices)
        await asyncio.sleep(EVERY_S)


async def send(producer: AIOKafkaProducer, topic: str, partition: int, notices: Sequence[tuple[bytes, bytes]]) -> None:
    """In as few batches as they fit into."""
    batch = producer.create_batch()
    for key, value in notices:
        while batch.append(key=key, value=value, timestamp=None, headers=HEADERS) is None:
            batch.close()
            await producer.send_batch(batch, topic, partition=partition)
            batch = producer.create_batch()
    batch.close()
    await producer.send_batch(batch, topic, partition=partition)


async def main() -> None:
    config, program, *arguments = sys.argv[1:]
    configuration = load_settings(Path(config), {})
    producer = idempotent_producer(configuration)
    await producer.start()
    nases = await asyncio.create_subprocess_exec(program, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE)
    assert nases.stdout is not None
    await nases.stdout.readline()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    telling = asyncio.create_task(tell(configuration, nases.stdout, producer))
    print("listening", flush=True)
    try:
        await asyncio.wait([telling, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            telling.result()
    finally:
        telling.cancel()
        if nases.returncode is None:
            nases.terminate()
        await nases.wait()
        await producer.stop()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
