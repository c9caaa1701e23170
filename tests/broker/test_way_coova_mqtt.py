"""The way `coova-mqtt` through a real mosquitto to a node written apart from it (behaviours 5.6, 5.7)."""

import asyncio
import contextlib

import pytest

from agents.ways.coova_mqtt import CoovaMqtt
from schemas.configuration import Configuration, Disconnect, Nas
from schemas.disconnect import DisconnectCommand
from schemas.ways import NoListError
from tests.support.mesh_node import MeshNode, connected
from tests.support.mosquitto import USERS, mosquitto

NODE_MAC = "02-00-5E-10-00-0A"
STATION = "02-00-5E-10-00-01"
LINE = f"{STATION} 10.1.0.2 pass 5ff0000000000001 1 bob 65/3600 3/600 1/0 2/0 0 0 0%/0 0%/0 -"
PATIENT_S = 30
SILENT_S = 3


@pytest.fixture
async def broker(tmp_path):
    async with mosquitto(tmp_path / "mosquitto") as running:
        yield running


@contextlib.asynccontextmanager
async def node(broker, mood="honest", topic="/RD/AP/7/COMMAND"):
    async with connected(MeshNode(NODE_MAC, {STATION: LINE}, mood), broker.port, topic) as one:
        yield one


def the_nas(running, /, **changes):
    way = {
        "via": "coova-mqtt",
        "broker": f"127.0.0.1:{running.port if running else 0}",
        "node": "7",
        "node_mac": NODE_MAC,
        "user": "curfew",
        "password": USERS["curfew"],
        **changes,
    }
    return Nas(name="hut", addresses=("127.0.0.1/32",), secret="s", disconnect=Disconnect(**way))


def command(station=STATION):
    session = {"acct_session_id": "s1", "calling_station_id": station}
    return DisconnectCommand(id="c", time_ms=1, expires_ms=2, nas="hut", identity="bob", session=session, reason="limit")


@contextlib.asynccontextmanager
async def way(timeout_s=PATIENT_S):
    one = CoovaMqtt(Configuration(), timeout_s=timeout_s)
    try:
        yield one
    finally:
        await one.close()


@pytest.mark.parametrize(("mesh", "topic"), [(None, "/RD/AP/7/COMMAND"), ("hill", "/RD/MESH/7/COMMAND")])
async def test_a_device_is_logged_out_at_its_access_point_or_mesh_node(broker, mesh, topic):
    """5.6: the node ran RADIUSdesk's command, and said so; that is a promise as an ACK is."""
    async with node(broker, topic=topic) as one, way() as driver:
        said = await driver.disconnect(the_nas(broker, mesh=mesh), command("0200.5e10.0001"))
    assert (said.answer, said.detail) == ("accepted", "node 7 ran chilli_query: no word")
    assert said.round_trip_ms is not None
    assert one.stations == {}
    assert one.commands == [f'chilli_query logout mac {STATION} 2>&1; echo "exit status $?"']


async def test_many_at_once_share_a_connection_and_each_has_its_own_answer(broker):
    """5.5, 5.6: replies are told apart by the command's number; what is said twice counts once."""
    async with node(broker, "twice") as one, way() as driver:
        said = await asyncio.gather(*(driver.disconnect(the_nas(broker), command(f"02-00-5E-10-01-{n:02X}")) for n in range(40)))
        lines = list(driver._lines._lines)
    assert [one.answer for one in said] == ["accepted"] * 40
    assert len(one.commands) == len(set(one.commands)) == 40
    assert lines == []


async def test_by_tls_the_broker_has_to_prove_itself(broker):
    """5.6: TLS with an authority of one's own; without it, its certificate is worth nothing."""
    by_tls = {"broker": f"127.0.0.1:{broker.tls_port}", "tls": True}
    async with node(broker), way() as driver:
        trusted = await driver.disconnect(the_nas(broker, tls_cafile=str(broker.cafile), **by_tls), command())
        unknown = await driver.disconnect(the_nas(broker, **by_tls), command())
        missing = await driver.disconnect(the_nas(broker, tls_cafile="/nowhere.pem", **by_tls), command())
        plain = await driver.disconnect(the_nas(broker, broker=f"127.0.0.1:{broker.tls_port}"), command())
    assert [one.answer for one in (trusted, unknown, missing, plain)] == ["accepted", *["unanswered"] * 3]
    assert "certificate verify failed" in unknown.detail
    assert "the authorities in /nowhere.pem cannot be read" in missing.detail
    assert USERS["curfew"] not in "".join(one.detail for one in (unknown, missing, plain))


@pytest.mark.parametrize(
    ("mood", "answer", "words"),
    [
        ("silent", "unanswered", "said nothing within"),
        ("garbage", "unanswered", "said nothing within"),
        ("other", "unanswered", "said nothing within"),
        ("fetches", "accepted", "has fetched the command, and has not said what became of it"),
        ("broken", "refused", "exit status 1: connect: No such file or directory"),
    ],
)
async def test_each_thing_that_a_node_does_instead_has_its_outcome(broker, mood, answer, words):
    """5.6, 5.7: within a bounded time."""
    async with node(broker, mood), way(SILENT_S) as driver, asyncio.timeout(PATIENT_S):
        said = await driver.disconnect(the_nas(broker), command())
    assert said.answer == answer
    assert words in said.detail


async def test_a_node_that_is_not_there_or_has_another_address_is_unanswered(broker):
    """5.7."""
    async with node(broker) as one, way(SILENT_S) as driver:
        absent = await driver.disconnect(the_nas(broker, node="8"), command())
        another = await driver.disconnect(the_nas(broker, node_mac="02-00-5E-10-00-0B"), command())
    assert (absent.answer, another.answer) == ("unanswered", "unanswered")
    assert one.commands == []


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"user": None, "password": None}])
async def test_a_login_that_the_broker_refuses_is_told(broker, changes):
    """5.6: each wrong thing has its own sentence, and none holds a password."""
    async with way() as driver:
        said = await driver.disconnect(the_nas(broker, **changes), command())
        (finding,) = await driver.test(the_nas(broker, **changes))
    assert said.answer == "unanswered"
    assert "refuses the login of" in said.detail
    assert "wrong" not in said.detail.replace("User or password is wrong", "")
    assert (finding.ok, finding.sentence) == (False, f"{said.detail}.")


async def test_a_broker_that_is_away_or_accepts_and_says_nothing_ends_in_its_time():
    """5.6, bad input: a driver's server that accepts the connection and says nothing."""

    async def mute(reader, _writer):
        await reader.read()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    mute_port = server.sockets[0].getsockname()[1]
    async with way(SILENT_S) as driver, asyncio.timeout(PATIENT_S):
        silent = [
            await driver.disconnect(the_nas(None, broker=f"127.0.0.1:{mute_port}", **tls), command())
            for tls in ({}, {"tls": True, "tls_cafile": None})
        ]
    server.close()
    await server.wait_closed()
    async with way() as driver:
        away = await driver.disconnect(the_nas(None, broker=f"127.0.0.1:{mute_port}"), command())
        nowhere = await driver.disconnect(the_nas(None, broker=None), command())
    assert [one.answer for one in (*silent, away, nowhere)] == ["unanswered"] * 4
    assert "Connection refused" in away.detail
    assert "no `broker`" in nowhere.detail


@pytest.mark.parametrize("station", [None, "02-00-5E-10-00-01; reboot"])
async def test_a_session_without_a_mac_address_is_unsupported_and_nothing_is_sent(broker, station):
    """5.6, 5.7: a device's name for itself gets into no shell."""
    async with node(broker) as one, way() as driver:
        said = await driver.disconnect(the_nas(broker), command(station))
    assert said.answer == "unsupported"
    assert one.commands == []


async def test_the_connection_test_shows_part_of_the_reply(broker):
    """5.6."""
    async with node(broker) as one, way(SILENT_S) as driver:
        login, alive = await driver.test(the_nas(broker))
        one.mood = "broken"
        _, broken = await driver.test(the_nas(broker))
        one.mood = "fetches"
        _, fetches = await driver.test(the_nas(broker))
        one.mood = "silent"
        _, silent = await driver.test(the_nas(broker))
        (without,) = await driver.test(the_nas(broker, node=None))
    assert (login.ok, login.sentence) == (True, f"the MQTT broker 127.0.0.1:{broker.port} takes 'curfew' in without TLS, and the command.")
    assert alive.ok
    assert "1 logged in; 02-00-5E-10-00-01 10.1.0.2 pass" in alive.sentence
    assert [one.ok for one in (broken, fetches, silent, without)] == [False] * 4
    assert all("logout" not in line for line in one.commands)


async def test_the_node_lists_who_is_logged_in(broker):
    """5.6: to be held against the table."""
    async with node(broker) as one, way(SILENT_S) as driver:
        (session,) = await driver.sessions(the_nas(broker))
        for mood in ("broken", "fetches", "silent"):
            one.mood = mood
            with pytest.raises(NoListError):
                await driver.sessions(the_nas(broker))
        with pytest.raises(NoListError, match="refuses the login"):
            await driver.sessions(the_nas(broker, password="wrong"))
    assert (session.user_name, session.calling_station_id, session.uptime_s) == ("bob", STATION, 65)
