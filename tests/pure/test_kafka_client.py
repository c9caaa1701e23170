"""The end of Kafka's clients: bounded, and never taken for an order to end oneself."""

import asyncio
import contextlib
import socket
import ssl
import struct
from types import SimpleNamespace

import aiokafka.conn
import pytest
import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.client import CoordinationType
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.admin import ApiVersionRequest

from agents.kafka_client import close, last_refusal, passes


async def cancelled() -> None:
    raise asyncio.CancelledError


async def refused() -> None:
    raise OSError("gone")


async def never() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("connections", [cancelled, refused, never])
@pytest.mark.parametrize("stop", [cancelled, refused, never])
async def test_however_a_client_ends_whoever_closes_it_goes_on(stop, connections, monkeypatch: pytest.MonkeyPatch) -> None:
    """7.1: over TLS aiokafka ends its readers by cancelling them, and raises that; a partition that was restored ended by it, unseen."""
    monkeypatch.setattr("agents.kafka_client.CONNECTIONS_CLOSE_S", 0.01)
    ended = []

    async def closing() -> None:
        ended.append(True)
        await connections()

    client = SimpleNamespace(stop=stop, _client=SimpleNamespace(close=closing))
    await close(client, 0.01)
    assert ended == [True]


async def test_a_client_that_ends_well_is_left_at_that() -> None:
    """Its connections are closed by its own stop."""

    async def stop() -> None:
        return

    await close(SimpleNamespace(stop=stop, _client=None), 1.0)


async def test_who_is_told_to_end_while_closing_ends() -> None:
    """7.1: ours is still an order."""
    task = asyncio.create_task(close(SimpleNamespace(stop=never, _client=None), 60.0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_question_that_nobody_answered_in_time_is_asked_again() -> None:
    """7.1: a restore that asks for offsets of a Kafka that is coming back ended the whole worker."""
    assert passes(KafkaTimeoutError("Failed to get offsets by times in 8000 ms"))
    assert passes(NodeNotReadyError())
    assert not passes(TopicAuthorizationFailedError())


async def test_a_kafka_that_knows_of_no_broker_yet_is_asked_for_the_coordinator_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """7.1: a worker that restored a partition while Kafka was just starting ended by aiokafka's assertion (chaos, seed 62)."""
    producer = AIOKafkaProducer(transactional_id="t", bootstrap_servers="127.0.0.1:1")
    client, nodes, asked = producer.client, [None, 7, 7], []

    async def update() -> bool:
        asked.append("metadata")
        return True

    async def send(node_id: int, _request: object) -> object:
        asked.append(node_id)
        return SimpleNamespace(error_code=0, coordinator_id=7)

    async def ready(*_node: object, **_group: object) -> bool:
        return True

    for name, stands_in in {"get_random_node": lambda: nodes.pop(0), "force_metadata_update": update, "send": send, "ready": ready}.items():
        monkeypatch.setattr(client, name, stands_in)
    monkeypatch.setattr(producer._sender, "_retry_backoff", 0)
    assert await producer._sender._find_coordinator(CoordinationType.TRANSACTION, "t") == 7
    assert asked == ["metadata", 7]
    producer._closed = True  # it was never started


async def ask_in_each_turn(connection: aiokafka.conn.AIOKafkaConnection) -> None:
    while connection.connected():
        connection.send(ApiVersionRequest()).close()
        await asyncio.sleep(0)


def test_a_connection_that_was_reset_a_moment_ago_is_a_lost_one() -> None:
    """7.1: uvloop's RuntimeError ended the task that keeps a client's metadata; heartbeats and questions for offsets waited for ever."""

    async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def scenario() -> None:
        async with await asyncio.start_server(resetting, "127.0.0.1", 0) as server:
            connection = aiokafka.conn.AIOKafkaConnection(*server.sockets[0].getsockname())
            connection._reader, connection._writer = await asyncio.open_connection(connection.host, connection.port)
            connection._read_task = connection._create_reader_task()
            connection._writer.write(b"x")
            with pytest.raises(KafkaConnectionError, match="broken"):
                await ask_in_each_turn(connection)
            assert not connection.connected()

    uvloop.run(asyncio.wait_for(scenario(), 60))


async def test_why_kafka_refused_us_is_remembered_until_the_next_try_which_may_find_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """7.1: who waits for a Kafka that is away is not told of a password that was wrong once."""
    outcomes = [SaslAuthenticationFailed("wrong password"), OSError("nobody listens"), ssl.SSLError("unknown authority"), None]

    async def connect(_connection: object) -> None:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome

    monkeypatch.setattr(aiokafka.conn.AIOKafkaConnection.__base__, "connect", connect)
    connection = aiokafka.conn.AIOKafkaConnection("127.0.0.1", 1)
    told = []
    while outcomes:
        with contextlib.suppress(OSError, SaslAuthenticationFailed):
            await connection.connect()
        told.append(type(last_refusal()))
    assert told == [SaslAuthenticationFailed, type(None), ssl.SSLError, type(None)]
