"""NTF_LOGOUT from a NAS written apart from the listener, against a real Kafka (behaviour 5.6)."""

import asyncio
import contextlib
import socket

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from prometheus_client import REGISTRY

from agents.portal import CannotListenError, Portal
from agents.topic_admin import ensure_topics
from schemas.configuration import Configuration, Disconnect, Kafka, Nas
from schemas.configuration import Portal as PortalSection
from schemas.journal import OperatorCommand
from schemas.session import SESSION_ROW, SessionRow
from schemas.topics import ACCOUNTING, TABLE, session_key
from streams.partitioner import partition_of
from tests.support.portal_bas import PortalBas
from tests.support.schemas import validate

SECRET = b"portal-key"
PARTITIONS = 2
WITHIN_S = 60
MAC = bytes.fromhex("02005e100001")


class Bench:
    """A portal, its NAS, and what it wrote."""

    def __init__(self, portal, bas, producer, reader, prefix):
        self.portal, self.bas, self.producer, self.reader, self.prefix = portal, bas, producer, reader, prefix
        self.orders = []

    async def put_row(self, session, *, nas="bras", address="192.0.2.7", state="open", device="02:00:5e:10:00:01"):
        row = SessionRow(nas, session, "bob", state, framed_ip_address=address, device=device, order_ms=1)
        key, partition = session_key(nas, session).encode(), partition_of("bob", PARTITIONS)
        await self.producer.send_and_wait(f"{self.prefix}{TABLE.name}", SESSION_ROW.named(row), key=key, partition=partition)

    async def until(self, holds):
        async with asyncio.timeout(WITHIN_S):
            while not holds():
                for records in (await self.reader.getmany(timeout_ms=50)).values():
                    self.orders += records

    async def until_known(self, address="192.0.2.7"):
        """The listener has followed the table so far."""
        await self.until(lambda: ("bras", address) in self.portal._sessions._by_user)

    def tell(self, serial, address="192.0.2.7", **more):
        return self.bas.notify(address, serial, self.portal.address, **more)


@pytest.fixture
async def bench(kafka, prefix):
    bas_transport, bas = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: PortalBas(SECRET, set()), local_addr=("127.0.0.1", 0)
    )
    way = Disconnect(via="huawei-portal", address="127.0.0.1", port=bas.port, secret=SECRET.decode())
    configuration = Configuration(
        kafka=Kafka(bootstrap_servers=kafka.bootstrap, partitions=PARTITIONS, topic_prefix=prefix),
        portal=PortalSection(listen="127.0.0.1:0"),
        nas=(Nas(name="bras", addresses=("127.0.0.1",), secret="s", disconnect=way),),
    )
    await ensure_topics(configuration)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    reader = AIOKafkaConsumer(f"{prefix}{ACCOUNTING.name}", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await producer.start()
    await reader.start()
    portal, stop = Portal(configuration), asyncio.Event()
    task = asyncio.create_task(portal.serve(stop))
    try:
        async with asyncio.timeout(WITHIN_S):
            while not portal.address[1]:
                assert not task.done(), task.result()
                await asyncio.sleep(0.01)
        yield Bench(portal, bas, producer, reader, prefix)
    finally:
        stop.set()
        await task
        await producer.stop()
        await reader.stop()
        bas_transport.close()


def counted(what):
    return REGISTRY.get_sample_value("curfew_portal_packets_total", {"what": what}) or 0


async def test_a_logout_is_an_order_in_the_journal_and_then_acknowledged_once_and_for_all(bench):
    """5.6: the session agent ends the session by it; told again, it is answered and not written again."""
    await bench.put_row("s1")
    await bench.until_known()
    before = counted("repeat")
    bench.tell(9, mac=MAC)
    await bench.until(lambda: bench.bas.acknowledged == [9] and len(bench.orders) == 1)
    bench.tell(9, mac=MAC)
    await bench.until(lambda: bench.bas.acknowledged == [9, 9])
    (record,) = bench.orders
    validate(ACCOUNTING, record.key, "operator", record.value)
    assert (record.key, record.partition, record.headers) == (b"bob", partition_of("bob", PARTITIONS), (("kind", b"operator"),))
    order = msgspec.json.decode(record.value, type=OperatorCommand)
    assert (order.op, order.identity, order.nas, order.acct_session_id, order.who) == ("logout", "bob", "bras", "s1", "bras")
    assert order.text == "NTF_LOGOUT of 192.0.2.7, serial 9"
    assert counted("repeat") == before + 1
    assert bench.bas.refused == 0


async def test_an_unknown_user_is_acknowledged_too_and_nothing_is_written(bench):
    """5.6: the protocol wants the answer in any case; nor is somebody else with that address logged out."""
    await bench.put_row("s1", device="02:00:5e:10:00:02")
    await bench.put_row("s2", address="192.0.2.8", state="ended")
    await bench.until_known()
    bench.tell(1, "192.0.2.99")
    bench.tell(2, "192.0.2.8")
    bench.tell(3, mac=MAC)
    await bench.until(lambda: sorted(bench.bas.acknowledged) == [1, 2, 3])
    assert bench.orders == []


async def test_what_is_no_authentic_notification_gets_no_answer_and_is_counted(bench):
    """5.6: a wrong secret, garbage, a cut packet, another version, another type."""
    await bench.put_row("s1")
    await bench.until_known()
    wanted = {"authenticator": 2, "malformed": 2, "other-version": 1, "other-type": 1}
    before = {reason: counted(reason) for reason in wanted}
    good = bench.tell(7, secret=b"another")
    for octets in (b"x", good[:-1], b"\x01" + good[1:], good[:1] + b"\x05" + good[2:], good[:5] + b"\xff" + good[6:]):
        bench.bas.send(octets, bench.portal.address)
    await bench.until(lambda: {reason: counted(reason) - before[reason] for reason in wanted} == wanted)
    bench.tell(8)
    await bench.until(lambda: bench.bas.acknowledged == [8])
    await bench.until(lambda: len(bench.orders) == 1)


async def test_another_configuration_brings_other_nases(bench):
    """5.6: what SIGHUP brings; their sessions are read from the table, and those of NASes that are gone are forgotten."""
    await bench.put_row("s1")
    await bench.until_known()
    configuration = bench.portal._configuration
    (bras,) = configuration.nas
    bench.portal.change(msgspec.structs.replace(configuration, nas=(msgspec.structs.replace(bras, name="bng"),)))
    bench.tell(1)
    await bench.put_row("s2", nas="bng")
    await bench.until(lambda: list(bench.portal._sessions._by_user) == [("bng", "192.0.2.7")])
    bench.tell(2)
    await bench.until(lambda: sorted(bench.bas.acknowledged) == [1, 2] and len(bench.orders) == 1)
    order = msgspec.json.decode(bench.orders[0].value, type=OperatorCommand)
    assert (order.nas, order.acct_session_id, order.who) == ("bng", "s2", "bng")


async def test_a_stranger_is_not_heard(bench):
    """5.6: only the addresses of NASes that speak the protocol are."""
    before = counted("unknown-source")
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as stranger:
        stranger.bind(("127.0.0.2", 0))
        stranger.sendto(bench.tell(1), bench.portal.address)
        await bench.until(lambda: counted("unknown-source") == before + 1)
    assert bench.orders == []


async def test_an_address_that_is_not_ours_is_told_and_without_one_nothing_listens(kafka):
    """5.6."""
    configured = Configuration(portal=PortalSection(listen="192.0.2.50:50100"))
    with pytest.raises(CannotListenError, match=r"\[portal\] listen"):
        await Portal(configured).serve(asyncio.Event())
    stop = asyncio.Event()
    stop.set()
    await Portal(Configuration()).serve(stop)
