"""The kicker's process and the other ways: what goes out by them, and what it serves for them (behaviours 5.6, 5.7)."""

import asyncio
import contextlib
import signal
import socket
import time

import aiohttp
from aiokafka import AIOKafkaProducer

from agents.broker import pick_free_port
from agents.kafka_client import client_settings, topic_name
from agents.kicker import GIVEN_UP_AFTER_S
from agents.pulse import STOOD_STILL
from agents.settings import load_settings
from agents.topic_admin import ensure_topics
from agents.topic_reader import reading
from schemas.codec import encode, loads
from schemas.disconnect import DisconnectCommand
from schemas.topics import COMMANDS, RESULTS
from streams.partitioner import partition_of
from tests.support.curfew import Curfew
from tests.support.portal_bas import PortalBas

WITHIN_S = 60
CONFIGURATION = """
[kafka]
bootstrap_servers = "{bootstrap}"
partitions = 2
topic_prefix = "{prefix}"
[http]
listen = ""
[kicker]
source = "127.0.0.1"
[pickup]
listen = "127.0.0.1:{pickup}"
[portal]
listen = "127.0.0.1:{portal}"
[[nas]]
name = "hut"
addresses = ["127.0.0.2"]
secret = "s"
disconnect = {{ via = "poll", node = "hut", secret = "{token}" }}
[[nas]]
name = "bras"
addresses = ["127.0.0.1"]
secret = "s"
disconnect = {{ via = "huawei-portal", address = "127.0.0.1", secret = "{key}" }}
"""


SILENT_NAS = """
[[nas]]
name = "silent"
addresses = ["127.0.0.3"]
secret = "s"
disconnect = {{ address = "127.0.0.1", port = {port}, secret = "s" }}
"""


def requests_at(nas):
    """How many datagrams have come to a NAS since the last look."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while nas.recv(4096):
            count += 1
    return count


def order(nas, number, **session):
    now_ms = time.time_ns() // 1_000_000
    return DisconnectCommand(
        id=f"0-{number}-0-bob",
        time_ms=now_ms,
        expires_ms=now_ms + 60_000,
        nas=nas,
        identity="bob",
        session={"acct_session_id": f"s{number}", "calling_station_id": "02-00-5E-10-00-01", **session},
        reason="limit",
    )


async def send(configuration, *orders):
    producer = AIOKafkaProducer(**client_settings(configuration))
    await producer.start()
    for one in orders:
        place = {"key": one.nas.encode(), "partition": partition_of(one.nas, 2), "headers": [("kind", b"command")]}
        await producer.send_and_wait(topic_name(configuration, COMMANDS), encode(one), **place)
    await producer.stop()


async def test_commands_go_out_by_the_ways_of_their_nases_and_end_with_what_these_say(kafka, prefix, tmp_path):
    """5.6, 5.7: the same results as by RADIUS: a promise is acknowledged, nobody there is gone, no secret is no-secret."""
    transport, bas = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: PortalBas(b"portal-key", {"192.0.2.7"}), local_addr=("127.0.0.1", 0)
    )
    config = tmp_path / "curfew.toml"
    places = {"bootstrap": kafka.bootstrap, "prefix": prefix, "pickup": pick_free_port(), "portal": pick_free_port(), "token": "first"}
    config.write_text(
        CONFIGURATION.format(**places, key="portal-key").replace('secret = "portal-key"', f'port = {bas.port}, secret = "portal-key"')
    )
    configuration = load_settings(config, {})
    await ensure_topics(configuration)
    orders = {
        "acknowledged": order("bras", 1, framed_ip_address="192.0.2.7"),
        "gone": order("bras", 2, framed_ip_address="192.0.2.8"),
        "unsupported": order("bras", 3),
    }
    await send(configuration, *orders.values())
    kicker = await Curfew(config).start("kicker")
    found = {}
    try:
        async with asyncio.timeout(WITHIN_S), reading(configuration, RESULTS) as reader:
            async for record in reader.as_they_come():
                if record is not None:
                    result = loads(record.value)
                    found[result["command_id"]] = result["outcome"]
                if len(found) == len(orders):
                    break
    finally:
        transport.close()
        kicker.kill()
        await kicker.wait()
    assert found == {one.id: outcome for outcome, one in orders.items()}
    assert sorted(bas.requests) == ["192.0.2.7", "192.0.2.8"]


async def test_the_kicker_serves_both_reads_tokens_again_and_ends_as_told(kafka, prefix, tmp_path):
    """5.6: one process; SIGHUP brings other tokens and secrets to both, SIGTERM ends it with status 0."""
    config, pickup, portal = tmp_path / "curfew.toml", pick_free_port(), pick_free_port()

    def write(token, key):
        places = {"bootstrap": kafka.bootstrap, "prefix": prefix, "pickup": pickup, "portal": portal}
        config.write_text(CONFIGURATION.format(**places, token=token, key=key))

    write("first", "another-key")
    await ensure_topics(load_settings(config, {}))
    kicker = await Curfew(config).start("kicker")
    transport, bas = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: PortalBas(b"portal-key", set()), local_addr=("127.0.0.1", 0)
    )
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(WITHIN_S):

            async def until_let_in(token):
                while True:
                    try:
                        async with session.get(
                            f"http://127.0.0.1:{pickup}/v1/pickup/hut", headers={"Authorization": f"Bearer {token}"}
                        ) as response:
                            if response.status == 200:
                                return await response.json()
                    except aiohttp.ClientError:
                        assert kicker.returncode is None
                    await asyncio.sleep(0.05)

            assert await until_let_in("first") == {"items": []}
            write("second", "portal-key")
            kicker.send_signal(signal.SIGHUP)
            assert await until_let_in("second") == {"items": []}
            while not bas.acknowledged:
                bas.notify("192.0.2.7", 5, ("127.0.0.1", portal))
                await asyncio.sleep(0.1)
        kicker.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            _, talk = await kicker.communicate()
        assert kicker.returncode == 0, talk
        assert b"Traceback" not in talk
    finally:
        transport.close()
        if kicker.returncode is None:
            kicker.kill()
            await kicker.wait()


async def test_a_kicker_that_stood_still_for_longer_than_its_group_waits_ends_and_sends_nothing_more(kafka, prefix, tmp_path):
    """5.4, 5.7: others may have told its outcomes meanwhile; whoever is started after it goes on, and each command has one final result."""
    silent_nas = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent_nas.bind(("127.0.0.1", 0))
    silent_nas.setblocking(False)
    config, pickup, portal = tmp_path / "curfew.toml", pick_free_port(), pick_free_port()
    places = {"bootstrap": kafka.bootstrap, "prefix": prefix, "pickup": pickup, "portal": portal}
    config.write_text(CONFIGURATION.format(**places, token="first", key="portal-key") + SILENT_NAS.format(port=silent_nas.getsockname()[1]))
    configuration = load_settings(config, {})
    await ensure_topics(configuration)
    found: list[str] = []
    frozen = await Curfew(config).start("kicker")
    try:
        async with asyncio.timeout(WITHIN_S), reading(configuration, RESULTS) as reader:

            async def read_on():
                found.extend([loads(record.value)["command_id"] async for record in reader.to_end()])

            async def until_told(count):
                while len(found) < count:
                    await asyncio.sleep(0.05)
                    await read_on()

            first, second, unanswered = order("bras", 1), order("bras", 2), order("silent", 3)
            await send(configuration, first)
            await until_told(1)
            await send(configuration, unanswered)
            while not requests_at(silent_nas):  # noqa: ASYNC110 - a datagram of another process
                await asyncio.sleep(0.05)
            frozen.send_signal(signal.SIGSTOP)  # before the second request is due
            await send(configuration, second)
            await asyncio.sleep(GIVEN_UP_AFTER_S + 1)
            frozen.send_signal(signal.SIGCONT)
            assert await frozen.wait() == STOOD_STILL
            assert requests_at(silent_nas) == 0
            successor = await Curfew(config).start("kicker")
            try:
                await until_told(2)
            finally:
                successor.send_signal(signal.SIGTERM)
                assert await successor.wait() == 0
            await read_on()
    finally:
        if frozen.returncode is None:
            frozen.kill()
            await frozen.wait()
        silent_nas.close()
    assert found == [first.id, second.id]
