"""What every Kafka client of ours has in common: settings, names with the installation's prefix, a patient start and a bounded end.

What lives here: arguments for aiokafka and the two waits that its clients need. What may not: what is read or written, or why.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import aiokafka.conn
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.produce import ProduceRequest

from schemas.configuration import Configuration
from schemas.topics import Topic

REQUEST_TIMEOUT_MS = 5000
BATCH_BYTES = 256 * 1024
"""A producer's batch: well below the broker's `message.max.bytes` (1 MiB), large enough for a poll's output."""
FETCH_WAIT_MS = 100
"""How long Kafka holds a fetch to which it has nothing to say: each one costs both sides a millisecond, and what comes is told at once.
Only a partition that was not in the fetch waits for its end: one that goes on after a pause, or whose records waited 200 ms to be taken."""
START_RETRY_S = 0.5
CONNECTIONS_CLOSE_S = 1.0
CLOSE_DEADLINE_S = 5.0

log = logging.getLogger(__name__)

Client = Any
"""An AIOKafkaConsumer, AIOKafkaProducer or AIOKafkaAdminClient (aiokafka is not typed)."""


class _Connection(aiokafka.conn.AIOKafkaConnection):  # type: ignore[misc] # aiokafka is not typed
    """A connection of aiokafka's that bears uvloop, and remembers why the last one was refused, of which aiokafka says nothing.

    Who writes to a connection that has just been lost, before that is told, has what it wrote dropped by asyncio; uvloop raises
    RuntimeError. aiokafka expects OSError: the RuntimeError ended the task that keeps a client's metadata, unseen, and whoever waited for
    metadata waited for ever. The group took a worker's partitions away, and the worker never heard of it.
    """

    refusal: ClassVar[Exception | None] = None
    before_write: ClassVar[Callable[[], None] | None] = None

    async def connect(self) -> Any:
        _Connection.refusal = None  # a Kafka that refused us once may be out of reach now
        try:
            return await super().connect()
        except (SaslAuthenticationFailed, UnsupportedSaslMechanismError, ssl.SSLError) as refused:
            _Connection.refusal = refused
            raise

    def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
        if _Connection.before_write is not None and isinstance(request, ProduceRequest):
            _Connection.before_write()
        return self._written(super().send, request, *arguments, **options)

    def _send_sasl_token(self, *arguments: Any, **options: Any) -> Any:
        return self._written(super()._send_sasl_token, *arguments, **options)

    def _written(self, write: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return write(*arguments, **options)
        except NotImplementedError:  # a RuntimeError too: a broker of another age
            raise
        except RuntimeError as error:
            self.close(reason=aiokafka.conn.CloseReason.CONNECTION_BROKEN, exc=error)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error


aiokafka.conn.AIOKafkaConnection = _Connection  # where aiokafka makes them
_lookup = AIOKafkaClient.coordinator_lookup


async def _coordinator_lookup(client: AIOKafkaClient, kind: int, key: str) -> int:
    """As aiokafka's, which asserts that a broker is known.

    A Kafka that is just starting tells of none yet. Who looks for a coordinator asks again where none is ready, and ended by the assertion.
    """
    if client.get_random_node() is None:
        raise NodeNotReadyError("Kafka knows of no broker yet.")
    found: int = await _lookup(client, kind, key)
    return found


AIOKafkaClient.coordinator_lookup = _coordinator_lookup


def look_before_each_write(look: Callable[[], None]) -> None:
    """Have this called before anything of this process goes to Kafka to be written; it may end the process (`agents.pulse`)."""
    _Connection.before_write = look


def last_refusal() -> Exception | None:
    """Why Kafka would not have us, or we not Kafka (`ssl.SSLError`), when a connection was last tried; None: it was not refused."""
    return _Connection.refusal


def client_settings(configuration: Configuration) -> dict[str, Any]:
    """The arguments that all of aiokafka's clients take: where Kafka is, who we are, how it is secured.

    Raises:
        OSError: the file of `ssl_cafile` cannot be read.
    """
    kafka = configuration.kafka
    settings: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers or f"127.0.0.1:{configuration.broker.port}",
        "client_id": kafka.client_id,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.endswith("SSL"):
        settings["ssl_context"] = create_ssl_context(cafile=kafka.ssl_cafile)
    if kafka.security_protocol.startswith("SASL"):
        settings |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password,
        }
    return settings


def topic_name(configuration: Configuration, topic: Topic) -> str:
    """The topic's name in this installation."""
    return prefixed(configuration, topic.name)


def prefixed(configuration: Configuration, name: str) -> str:
    """A pinned name (topic, group) in this installation."""
    return configuration.kafka.topic_prefix + name


def idempotent_producer(configuration: Configuration) -> AIOKafkaProducer:
    """A producer whose retries write nothing twice. After one failed send it is of no use any more: end it and make another."""
    return AIOKafkaProducer(**client_settings(configuration), acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES)


def passes(error: KafkaError) -> bool:
    """Whether waiting mends it. aiokafka calls its own timeouts (of a question for offsets, say) not retriable, which they are."""
    return bool(error.retriable) or isinstance(error, KafkaTimeoutError)


async def start_patiently(client: Client) -> None:
    """Start a client, waiting for Kafka as long as it is away.

    Raises:
        KafkaError: it refused us for a reason that waiting does not mend (authorization, a missing topic).
    """
    said = False
    while True:
        try:
            await client.start()
        except UnknownTopicOrPartitionError:
            raise
        except KafkaError as error:
            if not passes(error):
                raise
            if not said:
                log.warning("Kafka is not there yet (%s); waiting for it", error)
            said = True
            await asyncio.sleep(START_RETRY_S)
        else:
            return


async def close(client: Client, deadline_s: float = CLOSE_DEADLINE_S) -> None:
    """Stop a client, however it feels: within the deadline (in seconds) it has flushed, or is dropped. Raises nothing of Kafka's."""
    stop = client.close if isinstance(client, AIOKafkaAdminClient) else client.stop
    if not await _ended_well(stop(), deadline_s):  # it was cut short before it came to the connections
        connections = client.client if isinstance(client, AIOKafkaProducer) else client._client  # noqa: SLF001 - the others show it nowhere
        await _ended_well(connections.close(), CONNECTIONS_CLOSE_S)


async def _ended_well(closing: Coroutine[Any, Any, None], deadline_s: float) -> bool:
    """Whether it came to its end in time, and without a complaint.

    In a task of its own: aiokafka ends fetches and readers of connections by cancelling them, over TLS as a rule, and then raises their
    CancelledError; ours would take that for an order to end itself.
    """
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.wait([task], timeout=deadline_s)
    finally:
        task.cancel()
    if task.done() and not task.cancelled() and task.exception() is None:
        return True
    log.debug("a Kafka client did not end cleanly: %r", task)
    return False
