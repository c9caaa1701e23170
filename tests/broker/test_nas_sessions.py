"""`curfew nas sessions` against a real Kafka and a router on a real socket: the list, what differs, and kicks from it."""

import asyncio
import time
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaProducer

from agents.kafka_client import client_settings, topic_name
from agents.settings import load_settings
from agents.topic_admin import ensure_topics
from agents.topic_reader import kind_of, reading
from schemas.codec import decoder
from schemas.disconnect import DisconnectResult
from schemas.journal import OperatorCommand
from schemas.session import SESSION_ROW, SessionRow
from schemas.topics import ACCOUNTING, RESULTS, TABLE, session_key
from tests.support.curfew import Curfew
from tests.support.nas import ACCT_SESSION_ID, CALLING_STATION_ID, USER_NAME, SmallNas
from tests.support.product import Product, eventually, running
from tests.support.routeros import HOTSPOT, PPP, Router
from tests.support.schemas import validate

PARTITIONS = 2
PASSWORD = "pass word"
ALICE, BOB, CAROL, DAVE, EVE = (f"02:00:5E:10:00:0{n}" for n in range(1, 6))


@pytest.fixture
async def router():
    async with Router(password=PASSWORD) as running_router:
        yield running_router


@pytest.fixture
def config(kafka, prefix, tmp_path, router):
    path = tmp_path / "curfew.toml"
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    path.write_text(
        f'[kafka]\nbootstrap_servers = "{kafka.bootstrap}"\npartitions = {PARTITIONS}\ntopic_prefix = "{prefix}"\n'
        '[[nas]]\nname = "hut"\naddresses = ["127.0.0.1/32"]\nsecret = "s"\n'
        f'disconnect = {{ via = "routeros", address = "127.0.0.1", port = {router.port}, user = "curfew", password_file = "password" }}\n'
        '[[nas]]\nname = "campus"\naddresses = ["192.0.2.1"]\nsecret = "s"\n'
        'disconnect = { address = "192.0.2.1", secret = "x" }\n'
        '[[nas]]\nname = "bare"\naddresses = ["192.0.2.2"]\nsecret = "s"\n'
    )
    return path


@pytest.fixture
async def configuration(config):
    configuration = load_settings(config, {})
    await ensure_topics(configuration)
    return configuration


@pytest.fixture
def curfew(config):
    return Curfew(config)


def row(user, session_id, station, address, *, nas="hut", state="open"):
    now_ms = round(time.time() * 1000)
    return SessionRow(
        nas,
        session_id,
        user,
        state,
        user_name=user,
        calling_station_id=station,
        framed_ip_address=address,
        started_ms=now_ms,
        last_seen_ms=now_ms,
    )


@pytest.fixture
async def table(configuration):
    """What accounting told: alice, bob and carol are there, dave has left; frank is elsewhere."""
    rows = [
        row("alice", "80300001", "02-00-5E-10-00-01", "10.0.0.1"),
        row("bob", "80300002", "02-00-5E-10-00-02", "10.0.0.2"),
        row("carol", "81a00003", "02-00-5E-10-00-03", "10.0.1.9"),
        row("dave", "80300004", "02-00-5E-10-00-04", "10.0.0.4", state="ended"),
        row("eve", "80300005", "02-00-5E-10-00-05", "10.0.0.5", nas="campus"),
    ]
    producer = AIOKafkaProducer(**client_settings(configuration))
    await producer.start()
    for nth, one in enumerate(rows):
        key = session_key(one.nas, one.acct_session_id)
        await producer.send_and_wait(topic_name(configuration, TABLE), SESSION_ROW.named(one), key=key.encode(), partition=nth % PARTITIONS)
    await producer.stop()


@pytest.fixture
def people(router, table):
    """What the router says: alice, dave, eve, a local user on hotspot; carol by PPPoE, with another address. bob is not there."""
    router.hotspot("alice", ALICE, "10.0.0.1")
    router.hotspot("dave", DAVE, "10.0.0.4")
    router.hotspot("eve", EVE, "10.0.0.5")
    router.hotspot("printer", "02:00:5E:10:00:77", "10.0.0.77", radius="false")
    router.ppp("carol", CAROL, "10.0.1.1", 0x81A00003)
    return router


async def records_of(configuration, topic):
    async with reading(configuration, topic) as reader:
        return [record async for record in reader.to_end()]


async def results_of(configuration):
    records = await records_of(configuration, RESULTS)
    for record in records:
        validate(RESULTS, record.key, kind_of(record), record.value)
    return [decoder(DisconnectResult).decode(record.value) for record in records]


async def test_the_devices_list_is_shown_with_what_differs_from_the_table(curfew, people):
    """5.6: who the device itself has on its hotspot and PPPoE, held against our table. An ended session is not in it, nor another NAS's."""
    ended = await curfew("nas", "sessions", "hut", "--json")
    assert (ended.status, ended.err) == (0, "2 sessions on both, 3 on the device alone, 1 in the table alone; 1 named differently\n")
    shown = [
        (one["on"], one["id"], (one["device"] or one["table"])["user_name"], (one["table"] or {}).get("acct_session_id"), one["differs"])
        for one in ended.objects
    ]
    assert shown == [
        ("both", "hotspot/*1", "alice", "80300001", []),
        ("device", "hotspot/*2", "dave", None, []),
        ("device", "hotspot/*3", "eve", None, []),
        ("device", "hotspot/*4", "printer", None, []),
        ("both", "pppoe/*5", "carol", "81a00003", ["framed_ip_address"]),
        ("table", None, "bob", "80300002", []),
    ]
    assert ended.objects[4]["device"]["acct_session_id"] == "0x81A00003"
    plain = await curfew("nas", "sessions", "hut")
    lines = [line.split() for line in plain.out.splitlines()]
    assert lines[0] == ["ON", "ID", "USER", "MAC", "ADDRESS", "SESSION", "UP", "DIFFERS"]
    assert lines[1] == ["both", "hotspot/*1", "alice", ALICE, "10.0.0.1", "80300001", "00:04:17", "-"]
    assert lines[5][:2] + lines[5][4:] == ["both", "pppoe/*5", "10.0.1.1", "81a00003", "1d", "02:03:04", "table", "has", "10.0.1.9"]
    assert lines[6] == ["table", "-", "bob", "02-00-5E-10-00-02", "10.0.0.2", "80300002", "-", "-"]
    assert (len(lines), people.removals) == (7, [])


async def test_who_only_the_device_knows_is_kicked_and_that_is_on_record(curfew, people, configuration):
    """5.6, 5.8: kicking from that list; with who and why. The device's own local users are left alone."""
    ended = await curfew("nas", "sessions", "hut", "--kick-unknown", "--reason", "never paid", "--json")
    assert ended.status == 0, ended.err
    assert "1 session of local users of the device left alone" in ended.err
    assert "2 sessions to be disconnected." in ended.err
    assert {(fate["user_name"], fate["decided"], fate["proven"]) for fate in ended.objects} == {("dave", True, True), ("eve", True, True)}
    assert (people.users(HOTSPOT), people.users(PPP)) == (["alice", "printer"], ["carol"])
    results = await results_of(configuration)
    assert {(one.identity, one.nas, one.acct_session_id, one.final, one.outcome) for one in results} == {
        ("dave", "hut", "hotspot/*2", True, "gone"),
        ("eve", "hut", "hotspot/*3", True, "gone"),
    }
    assert {one.command_id for one in results} == {fate["command_id"] for fate in ended.objects}
    assert all(one.detail.startswith("Known to the device alone; ended by tester, never paid: removed, and not listed") for one in results)
    assert [one for one in await records_of(configuration, ACCOUNTING) if kind_of(one) == "operator"] == []


async def test_who_the_table_knows_is_kicked_by_an_order_in_the_journal(curfew, people, configuration):
    """5.6, 5.8: the operator's kick as by `curfew kick`; nothing is removed behind the session agent's back."""
    ended = await curfew("nas", "sessions", "hut", "--kick", "80300002", "--kick", "pppoe/*5", "--reason", "left", "--wait", "0", "--json")
    assert (ended.status, "2 sessions not decided after 0 s" in ended.err) == (0, True), ended
    orders = [
        decoder(OperatorCommand).decode(one.value) for one in await records_of(configuration, ACCOUNTING) if kind_of(one) == "operator"
    ]
    assert {(order.identity, order.acct_session_id, order.who, order.text) for order in orders} == {
        ("bob", "80300002", "tester", "left"),
        ("carol", "81a00003", "tester", "left"),
    }
    assert (people.removals, await results_of(configuration)) == ([], [])


@pytest.mark.parametrize("name", ["*4", "4", "hotspot/*4"])
async def test_a_session_of_the_device_is_named_in_each_way_that_it_is_shown(curfew, people, configuration, name):
    """5.6: also a local user's, who is named."""
    ended = await curfew("nas", "sessions", "hut", "--kick", name, "--yes")
    assert ended.status == 0, ended
    assert people.users(HOTSPOT) == ["alice", "dave", "eve"]
    assert [one.acct_session_id for one in await results_of(configuration)] == ["hotspot/*4"]


async def test_a_kick_of_nobody_or_of_several_is_refused_by_name(curfew, people, configuration):
    """5.6, 5.8."""
    people.hotspot("twin", "02:00:5E:10:00:78", "10.0.0.78", **{"session-id": "80300002"})
    nobody = await curfew("nas", "sessions", "hut", "--kick", "*99")
    assert (nobody.status, nobody.out, nobody.err) == (2, "", "Error: '*99' is no session of the list\n")
    several = await curfew("nas", "sessions", "hut", "--kick", "80300002")
    assert (several.status, several.err) == (2, "Error: '80300002' is 2 sessions, name one: hotspot/*6, -\n")
    people.items[HOTSPOT].clear()
    nothing = await curfew("nas", "sessions", "hut", "--kick-unknown")
    assert (nothing.status, nothing.err) == (1, "0 sessions to be disconnected.\nError: nothing was done\n")
    assert (people.removals, await results_of(configuration)) == ([], [])


async def test_what_the_device_refuses_is_told_and_on_record(curfew, people, configuration):
    """5.6, 5.7: a named result, and exit status 1."""
    people.policies = {"api", "read"}
    ended = await curfew("nas", "sessions", "hut", "--kick", "hotspot/*2", "--json")
    assert (ended.status, [fate["proven"] for fate in ended.objects]) == (1, [False])
    assert "refused (RouterOS at 127.0.0.1" in ended.objects[0]["outcome"]
    results = await results_of(configuration)
    assert [(one.outcome, "not enough permissions" in one.detail) for one in results] == [("refused", True)]
    assert "dave" in people.users(HOTSPOT)


async def test_on_a_terminal_it_asks_first(curfew, people):
    """5.6, 5.8: as `curfew kick`; --yes does not ask."""
    status, said = await curfew.on_a_terminal("nas", "sessions", "hut", "--kick-unknown", answer=b"n\n")
    assert (status, "Disconnect 2 sessions? [y/N]" in said, "nothing was done" in said) == (1, True, True), said
    assert people.removals == []
    status, said = await curfew.on_a_terminal("nas", "sessions", "hut", "--kick-unknown", "--yes")
    assert (status, "Disconnect 2" in said, people.users(HOTSPOT)) == (0, False, ["alice", "printer"]), said


@pytest.mark.parametrize(
    ("name", "status", "sentence"),
    [
        ("campus", 1, "campus is disconnected by RADIUS (RFC 5176), which has no way to list sessions"),
        ("bare", 1, "bare has no `disconnect`"),
        ("nobody", 2, "there is no NAS 'nobody'; the configuration has hut, campus, bare"),
    ],
)
async def test_a_nas_that_cannot_list_is_refused_by_name(curfew, configuration, name, status, sentence):
    """5.6: a wrong kind of NAS is a named refusal."""
    ended = await curfew("nas", "sessions", name)
    assert (ended.status, ended.out, sentence in ended.err) == (status, "", True), ended


async def test_a_device_that_does_not_let_us_in_is_told_in_one_sentence(curfew, people, router):
    """5.6: without a list nothing is held against anything."""
    router.policies = set()
    ended = await curfew("nas", "sessions", "hut", "--kick-unknown", "--yes")
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "refuses the login of 'curfew'" in ended.err


class ApiNas(NamedTuple):
    """A `[[nas]]` that is disconnected by its API."""

    router: Router

    def toml(self):
        """Its table in curfew.toml."""
        way = f'via = "routeros", address = "127.0.0.1", port = {self.router.port}, user = "curfew", password = "{PASSWORD}"'
        return f'[[nas]]\nname = "hut"\naddresses = ["127.0.0.1"]\nsecret = "s"\ndisconnect = {{ {way} }}\n'


async def test_the_whole_way_of_a_kick_from_the_list_up_to_the_stop_of_the_nas(router, kafka, prefix, tmp_path):
    """5.6, 5.4: accounting in, list, order, session agent, kicker, RouterOS API, Stop: `confirmed`; and the stranger beside it is gone."""
    stays, goes, stranger = (
        [(USER_NAME, b"bob"), (CALLING_STATION_ID, BOB.encode()), (ACCT_SESSION_ID, b"81a00002")],
        [(USER_NAME, b"carol"), (CALLING_STATION_ID, CAROL.encode()), (ACCT_SESSION_ID, b"81a00003")],
        router.hotspot("eve", EVE, "10.0.0.5"),
    )
    router.ppp("bob", BOB, "10.0.1.2", 0x81A00002)
    item = router.ppp("carol", CAROL, "10.0.1.3", 0x81A00003)
    product = Product(tmp_path, kafka.bootstrap, prefix, [ApiNas(router)], partitions=PARTITIONS)
    async with running(product), SmallNas("hut", b"s", b"", lambda _: None, server=("127.0.0.1", product.port)) as nas:
        nas.account("Start", stays)
        nas.account("Start", goes)
        await eventually(product.rows, lambda rows: len(rows) == 2)
        curfew = Curfew(product.config)
        kicking = asyncio.create_task(
            curfew("nas", "sessions", "hut", "--kick", f"pppoe/{item}", "--kick", f"hotspot/{stranger}", "--wait", "40", "--json")
        )
        await eventually(lambda: asyncio.sleep(0, router.users(PPP)), lambda users: users == ["bob"], 60.0)
        nas.account("Stop", goes)
        ended = await kicking
        assert ended.status == 0, ended
        assert {(fate["user_name"], fate["outcome"].partition(" ")[0], fate["proven"]) for fate in ended.objects} == {
            ("eve", "gone", True),
            ("carol", "confirmed", True),
        }
        # The kicker knows of the Stop by a notice; the table follows with the next checkpoint
        states = {"81a00002": ("open", None), "81a00003": ("ended", "nas-stop")}
        await eventually(product.states, lambda found: found == states)
        assert [one["outcome"] for one in await product.results(final=True)] == ["gone", "confirmed"]
    assert (router.users(HOTSPOT), router.users(PPP)) == ([], ["bob"])
