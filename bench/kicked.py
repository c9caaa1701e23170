"""The other side of `bench.kicks`: NASes that acknowledge every Disconnect-Request, and the session agent's notice that the session ended.

`python -m bench.kicked CONFIG NOTICE_AFTER_MS`: prints one line when it listens; ends with SIGTERM. It does as little as it can, since it
has the cores together with what is measured: no attribute of a reply, notices in batches.
"""

import asyncio
import hashlib
import signal
import socket
import sys
import time
from collections import defaultdict
from pathlib import Path

from aiokafka import AIOKafkaProducer

from agents.kafka_client import idempotent_producer, topic_name
from agents.settings import load_settings
from schemas.codec import encode
from schemas.configuration import Nas
from schemas.disconnect import NOTICE_KIND, SessionNotice
from schemas.topics import COMMANDS, KIND_HEADER
from streams.partitioner import partition_of

ACCT_SESSION_ID = 44
EVERY_S = 0.02
HEADERS = [(KIND_HEADER, NOTICE_KIND.encode())]


class Nases:
    """Their sockets; what was acknowledged and not told yet, by NAS."""

    def __init__(self, nases: tuple[Nas, ...]) -> None:
        self.acknowledged: list[tuple[float, str, bytes]] = []
        self.requests = 0
        self.sockets = []
        for nas in nases:
            assert nas.disconnect is not None
            bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            bound.bind(("127.0.0.1", nas.disconnect.port or 0))
            self.sockets.append(bound)
            asyncio.get_running_loop().add_reader(bound, self.answer, bound, nas.name, (nas.disconnect.secret or "").encode())

    def answer(self, bound: socket.socket, name: str, secret: bytes) -> None:
        while True:
            try:
                request, sender = bound.recvfrom(4096)
            except BlockingIOError:
                return
            header = bytes((request[0] + 1, request[1], 0, 20))
            bound.sendto(header + hashlib.md5(header + request[4:20] + secret).digest(), sender)
            self.requests += 1
            self.acknowledged.append((time.monotonic(), name, session_id(request)))


def session_id(request: bytes) -> bytes:
    at = 20
    while request[at] != ACCT_SESSION_ID:
        at += request[at + 1]
    return request[at + 2 : at + request[at + 1]]


async def tell(nases: Nases, producer: AIOKafkaProducer, topic: str, partitions: int, after_s: float) -> None:
    """The session is named after its command, so that its end can be told without knowing it."""
    while True:
        await asyncio.sleep(EVERY_S)
        due, late = [], time.monotonic() - after_s
        while nases.acknowledged and nases.acknowledged[0][0] < late:
            number = next((n for n, one in enumerate(nases.acknowledged) if one[0] >= late), len(nases.acknowledged))
            due, nases.acknowledged = nases.acknowledged[:number], nases.acknowledged[number:]
        by_partition = defaultdict(list)
        for _, name, session in due:
            by_partition[partition_of(name, partitions)].append((name, session.decode()))
        for partition, ended in by_partition.items():
            batch = producer.create_batch()
            for name, session in ended:
                notice = SessionNotice(command_id=session, nas=name, identity="u", acct_session_id=session, said_by="nas-stop", time_ms=0)
                while batch.append(key=name.encode(), value=encode(notice), timestamp=None, headers=HEADERS) is None:
                    batch.close()
                    await producer.send_batch(batch, topic, partition=partition)
                    batch = producer.create_batch()
            batch.close()
            await producer.send_batch(batch, topic, partition=partition)


async def main() -> None:
    configuration = load_settings(Path(sys.argv[1]), {})
    nases = Nases(configuration.nas)
    producer = idempotent_producer(configuration)
    await producer.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    telling = asyncio.create_task(
        tell(nases, producer, topic_name(configuration, COMMANDS), configuration.kafka.partitions, int(sys.argv[2]) / 1000)
    )
    print("listening", flush=True)
    await asyncio.wait([telling, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    if telling.done():
        telling.result()
    telling.cancel()
    await producer.stop()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
