"""An ingest in this process on ports of its own, a NAS that asks it, and what is in the journal."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from agents import metrics
from agents.health import Health
from agents.ingest import Ingest, run_ingest
from agents.topic_admin import ensure_topics
from schemas.accounting import AccountingRecord
from schemas.codec import decoder
from schemas.configuration import Configuration, Kafka, Nas
from schemas.configuration import Ingest as IngestSettings
from schemas.journal import Tick
from schemas.topics import ACCOUNTING, SLOTS
from streams.radius.authenticator import ZEROS, message_authenticator, verify_response
from streams.radius.respond import STATUS_SERVER
from streams.radius.simulated import build_accounting_request
from tests.support.worker import read_all, until

SECRET = b"testing123"
NASES = (Nas(name="campus", addresses=("127.0.0.0/8", "::1"), secret="testing123"),)
PARTITIONS = 4
ANSWER_WITHIN_S = 120
RECORD, TICK = decoder(AccountingRecord), decoder(Tick)


async def make_installation(bootstrap: str, prefix: str, *, nases: tuple[Nas, ...] = NASES, **ingest: Any) -> Configuration:
    """A configuration with quick ticks, and its topics."""
    configuration = Configuration(
        kafka=Kafka(bootstrap_servers=bootstrap, partitions=PARTITIONS, topic_prefix=prefix),
        ingest=IngestSettings(**{"listen": ("127.0.0.1:0",), "tick_s": 0.2, **ingest}),
        nas=nases,
    )
    await ensure_topics(configuration)
    return configuration


class RunningIngest:
    """An ingest in this process."""

    def __init__(self, configuration: Configuration, reread: Callable[[], Configuration] | None) -> None:
        self.health = Health("ingest")
        self.stopping = asyncio.Event()
        self._started: list[Ingest] = []
        self.task = asyncio.create_task(
            run_ingest(configuration, self.health, self.stopping, reread=reread, on_listening=self._started.append)
        )

    @property
    def ingest(self) -> Ingest:
        return self._started[0]

    @property
    def pending(self) -> int:
        """Packets that wait for Kafka."""
        return len(self.ingest._duplicates.pending)

    async def listening(self) -> None:
        await until("it listens", lambda: self._started or self.task.done())
        if self.task.done():
            self.task.result()

    async def ready(self) -> None:
        await until("it is ready", lambda: self.health.is_ready or self.task.done())
        if self.task.done():
            self.task.result()

    async def stop(self) -> None:
        self.stopping.set()
        async with asyncio.timeout(60):
            await self.task


@contextlib.asynccontextmanager
async def running_ingest(
    configuration: Configuration, *, ready: bool = True, reread: Callable[[], Configuration] | None = None
) -> AsyncIterator[RunningIngest]:
    """It listens (and is ready, unless told otherwise) inside, and ends in order after it."""
    running = RunningIngest(configuration, reread)
    try:
        await running.listening()
        if ready:
            await running.ready()
        yield running
    finally:
        await running.stop()


class NasSocket:
    """A NAS's socket: what it sends and what is answered."""

    def __init__(self, to: tuple[Any, ...], secret: bytes = SECRET, source: str = "") -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect(to[:2])
        self.secret = secret

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, packet: bytes) -> None:
        self.socket.send(packet)

    async def receive(self, within_s: float = ANSWER_WITHIN_S) -> bytes:
        """What comes next."""
        # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the answer
        async with asyncio.timeout(within_s):
            return await asyncio.get_running_loop().sock_recv(self.socket, 4096)

    async def answer(self, request: bytes) -> bytes:
        """The next answer, which must be to this request, and believed."""
        answer = await self.receive()
        assert (answer[0], answer[1]) == (5, request[1])
        assert verify_response(answer, request, self.secret) is None
        return answer

    async def ask(self, packet: bytes) -> bytes:
        self.send(packet)
        return await self.answer(packet)

    def waiting(self) -> list[bytes]:
        """All that lies in the socket."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(4096))
        return found

    def is_silent(self) -> bool:
        """Nothing lies in the socket."""
        return not self.waiting()


def number(value: int) -> bytes:
    return struct.pack("!I", value)


def request(
    identifier: int, session: str | None, *attributes: tuple[int, bytes], status: int = 1, user: str = "alice", secret: bytes = SECRET
) -> bytes:
    """An Accounting-Request; status 0 leaves Acct-Status-Type out."""
    first = [(40, number(status))] if status else []
    first += [] if session is None else [(44, session.encode())]
    return build_accounting_request(identifier=identifier % 256, secret=secret, attributes=[*first, (1, user.encode()), *attributes])


def status_server(identifier: int, secret: bytes = SECRET) -> bytes:
    authenticator = bytes((identifier,)) * 16
    header = bytes((STATUS_SERVER, identifier, 0, 38))
    return header + authenticator + bytes((80, 18)) + message_authenticator(header, authenticator, bytes((80, 18)) + ZEROS, secret)


async def journal(configuration: Configuration) -> tuple[list[AccountingRecord], dict[int, list[Tick]]]:
    """All accounting records of the journal, and the ticks by partition."""
    records: list[AccountingRecord] = []
    ticks: dict[int, list[Tick]] = {}
    for partition, found in (await read_all(configuration, ACCOUNTING)).items():
        ticks[partition] = []
        for record in found:
            if dict(record.headers)["kind"] == b"tick":
                assert record.key is None
                ticks[partition].append(TICK.decode(record.value))
            else:
                assert dict(record.headers) == {"kind": b"accounting"}
                decoded = RECORD.decode(record.value)
                assert record.key == (decoded.identity.encode() or None)
                records.append(decoded)
    return records, ticks


async def slots_ticks(configuration: Configuration) -> dict[int, list[Tick]]:
    """What is in `group.slots`, by partition: an ingest writes nothing but ticks there."""
    ticks: dict[int, list[Tick]] = {}
    for partition, found in (await read_all(configuration, SLOTS)).items():
        assert all((record.key, dict(record.headers)) == (None, {"kind": b"tick"}) for record in found)
        ticks[partition] = [TICK.decode(record.value) for record in found]
    return ticks


def refused(reason: str) -> float:
    """How many packets got no answer for this reason, so far in this process."""
    return metrics.REFUSED.labels(reason)._value.get()


def answered(why: str) -> float:
    """How many answers were sent."""
    return metrics.ANSWERED.labels(why)._value.get()
