"""A connection to an MQTT broker (3.1.1, by aiomqtt): who asks publishes a command and hears what comes at one topic.

What lives here: the connection, shared by all that are asked through one broker at a time, and a sentence for each thing that goes wrong.
What may not: what is in a message. aiomqtt connects in a thread, which a broker that says nothing holds for `KEEPALIVE_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple, Self, TypeVar

from aiomqtt import Client, MqttCodeError, MqttError, ProtocolVersion

from schemas.configuration import Disconnect
from schemas.errors import CurfewError

CONNECT_WITHIN_S = 4.0
CLOSE_WITHIN_S = 1.0
CLOSE_TRIES = 2
KEEPALIVE_S = 10
INCOMING_MAX = 1_000
"""Messages that wait to be looked at; what comes beyond is dropped, and whoever waits for it is not answered."""
HEARD_MAX = 16
"""Messages that wait for one who listens: a node says two things of a command."""

_silent = logging.getLogger("agents.ways.mqtt_line.aiomqtt")
_silent.disabled = True  # what it would log is said in the answer

T = TypeVar("T")


class BrokerError(CurfewError):
    """The broker cannot be had, or ended the connection; the text is a sentence without its full stop."""


class Broker(NamedTuple):
    """Which broker, as whom: what a connection is shared by."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool
    tls_cafile: str | None

    @classmethod
    def of(cls, way: Disconnect) -> Self:
        """The broker of a NAS.

        Raises:
            BrokerError: none is named.
        """
        host, colon, port = (way.broker or "").rpartition(":")
        if not colon or not port.isdecimal():
            raise BrokerError("no `broker` is named in `disconnect`")
        return cls(host.removeprefix("[").removesuffix("]"), int(port), way.user, way.password, way.tls, way.tls_cafile)

    def __str__(self) -> str:
        """The place alone; never the password."""
        return f"the MQTT broker {self.host}:{self.port}"

    def __repr__(self) -> str:
        """The same: a task, a traceback or a log line shows it."""
        return str(self)


class Line:
    """A connection to a broker, subscribed to one topic."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.users = 0
        self._broker = broker
        self._topic = topic
        self._hearing: set[Callable[[bytes | BrokerError], None]] = set()
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name=f"mqtt {broker}")

    @property
    def is_open(self) -> bool:
        """Whether it is being made, or stands."""
        return not self._task.done()

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 1: the broker has it when this returns.

        Raises:
            BrokerError: it has not.
        """
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                client = await asyncio.shield(self._client)
            await _within(CONNECT_WITHIN_S, client.publish(topic, payload, qos=1, retain=False))
        except TimeoutError as late:
            raise BrokerError(f"{self._broker} took the connection and said nothing, or did not take it at all") from late
        except MqttError as failed:
            raise BrokerError(f"{self._broker} did not take the command: {failed}") from failed

    @contextlib.contextmanager
    def listening(self, read: Callable[[bytes], T | None]) -> Iterator[asyncio.Queue[T | BrokerError]]:
        """What comes at the topic as long as the block runs, and that the connection ended.

        Args:
            read: what a message says; None: nothing for this listener.
        """
        heard: asyncio.Queue[T | BrokerError] = asyncio.Queue(HEARD_MAX)

        def hear(message: bytes | BrokerError) -> None:
            what = message if isinstance(message, BrokerError) else read(message)
            if what is not None:
                with contextlib.suppress(asyncio.QueueFull):
                    heard.put_nowait(what)

        self._hearing.add(hear)
        try:
            yield heard
        finally:
            self._hearing.discard(hear)

    async def close(self) -> None:
        """End the connection; a broker that does not take the farewell is not waited for."""
        for _ in range(CLOSE_TRIES):  # aiomqtt waits by `wait_for`, which before Python 3.12 can swallow a cancellation
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CLOSE_WITHIN_S / CLOSE_TRIES)
        if self._client.done() and not self._client.cancelled():
            self._client.exception()  # looked at, so that asyncio does not say that nobody did
        self._client.cancel()

    async def _run(self) -> None:
        try:
            async with _client(self._broker) as client:
                await _within(CONNECT_WITHIN_S, client.subscribe(self._topic, qos=1))
                self._client.set_result(client)
                async for message in client.messages:
                    if isinstance(message.payload, bytes):
                        self._tell(message.payload)
        except (MqttError, OSError) as failed:
            error = BrokerError(_why(self._broker, failed))
            if not self._client.done():
                self._client.set_exception(error)
            self._tell(error)

    def _tell(self, what: bytes | BrokerError) -> None:
        for hear in tuple(self._hearing):
            hear(what)


class Lines:
    """The connections in use, one for each broker; it is closed when nobody uses it any more."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lines: dict[Broker, Line] = {}

    @contextlib.asynccontextmanager
    async def to(self, broker: Broker) -> AsyncIterator[Line]:
        """The connection to a broker; it may still be under way, or have failed: who publishes is told."""
        line = self._lines.get(broker)
        if line is None or not line.is_open:
            line = self._lines[broker] = Line(broker, self._topic)
        line.users += 1
        try:
            yield line
        finally:
            line.users -= 1
            if not line.users:
                if self._lines.get(broker) is line:
                    del self._lines[broker]
                await line.close()

    async def close(self) -> None:
        """End all of them."""
        for line in list(self._lines.values()):
            await line.close()


async def _within(deadline_s: float, work: Awaitable[object]) -> None:
    """Wait for it, at most so long; a cancellation that comes together with its end is not swallowed, as aiomqtt's own bound does.

    Raises:
        TimeoutError: it has not ended.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=deadline_s)
    finally:
        task.cancel()
    if not done:
        raise TimeoutError
    task.result()


def _client(broker: Broker) -> Client:
    """A client that is not connected yet.

    Raises:
        OSError: the file of authorities cannot be read.
    """
    return Client(
        broker.host,
        broker.port,
        username=broker.user,
        password=broker.password,
        logger=_silent,
        protocol=ProtocolVersion.V311,
        clean_session=True,
        timeout=CONNECT_WITHIN_S,
        keepalive=KEEPALIVE_S,
        max_queued_incoming_messages=INCOMING_MAX,
        tls_context=ssl.create_default_context(cafile=broker.tls_cafile) if broker.tls else None,
    )


def _why(broker: Broker, failed: MqttError | OSError) -> str:
    """Why there is no connection, or none any more."""
    if isinstance(failed, MqttCodeError) and "code:13" in str(failed):
        return f"{broker} refuses the login of {broker.user!r}: {failed}. User or password is wrong, or may not do this"
    if isinstance(failed, TimeoutError):
        return f"{broker} took the connection and said nothing"
    if isinstance(failed, OSError):
        return f"the authorities in {broker.tls_cafile} cannot be read: {failed.strerror or failed}"
    return f"{broker}{' by TLS' if broker.tls else ''}: {failed}"
