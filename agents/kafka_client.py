"""What every Kafka client of ours has in common: settings, names with the installation's prefix, a patient start and a bounded end.

What lives here: arguments for aiokafka and the two waits that its clients need. What may not: what is read or written, or why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.helpers import create_ssl_context

from schemas.configuration import Configuration
from schemas.topics import Topic

REQUEST_TIMEOUT_MS = 5000
BATCH_BYTES = 256 * 1024
"""A producer's batch: well below the broker's `message.max.bytes` (1 MiB), large enough for a poll's output."""
START_RETRY_S = 0.5
CLOSE_DEADLINE_S = 5.0

log = logging.getLogger(__name__)

Client = Any
"""An AIOKafkaConsumer or AIOKafkaProducer (aiokafka is not typed)."""


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
            if not error.retriable:
                raise
            if not said:
                log.warning("Kafka is not there yet (%s); waiting for it", error)
            said = True
            await asyncio.sleep(START_RETRY_S)
        else:
            return


async def close(client: Client, deadline_s: float = CLOSE_DEADLINE_S) -> None:
    """Stop a client, however it feels: within the deadline (in seconds) it has flushed, or is dropped. Raises nothing of Kafka's.

    In a task of its own: a consumer whose fetch waits for a node that is away raises the CancelledError with which it ends that fetch,
    and ours would take it for an order to end itself.
    """
    stopping = asyncio.ensure_future(client.stop())
    try:
        await asyncio.wait([stopping], timeout=deadline_s)
    finally:
        stopping.cancel()
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    with contextlib.suppress(KafkaError, TimeoutError, OSError):
        # stop() was cut short before it came to the connections
        await asyncio.wait_for((client.client if isinstance(client, AIOKafkaProducer) else client._client).close(), 1.0)  # noqa: SLF001 - a consumer shows its client nowhere else
