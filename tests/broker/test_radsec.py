"""Accounting over TLS with real connections, certificates made by openssl, and a real Kafka (RFC 6614; issue D, RadSec)."""

import asyncio
import contextlib
import socket
import ssl
from collections import Counter

import msgspec
import pytest
import uvloop

from agents import metrics, radsec
from agents.tls import TlsFilesError
from agents.udp import CannotListenError
from agents.ways.radsec import Radsec as RadsecWay
from schemas.configuration import Configuration, Disconnect, Nas, Tls
from schemas.disconnect import DisconnectCommand
from streams.radius.respond import STATUS_SERVER
from streams.radius.simulated import RefusedRequest, build_disconnect_reply, parse_disconnect_request
from streams.radsec import Ended
from tests.support.ingest import NasSocket, journal, make_installation, refused, request, running_ingest, status_server
from tests.support.kafka import Kafka
from tests.support.radsec import NAME, SECRET, TlsNas, client, world
from tests.support.worker import until

HUT = Nas(name="hut", addresses=("127.0.0.0/8",), tls_name=NAME)
KICK = DisconnectCommand(id="c", time_ms=1, expires_ms=2, nas="hut", identity="bob", session={"acct_session_id": "s-1"}, reason="limit")


@pytest.fixture(scope="module")
def who(tmp_path_factory):
    return world(tmp_path_factory.mktemp("certificates"))


async def installation(kafka: Kafka, prefix: str, tls: Tls, *nases: Nas, **ingest) -> Configuration:
    made = await make_installation(kafka.bootstrap, prefix, nases=nases or (HUT,), radsec=("127.0.0.1:0",), **ingest)
    return msgspec.structs.replace(made, tls=tls)


def record(identifier, session, *attributes, **more):
    return request(identifier, session, *attributes, secret=SECRET, **more)


def ended(reason: str) -> float:
    return metrics.RADSEC_ENDED.labels(reason)._value.get()


async def counted(reason: str, before: float) -> None:
    await until(f"{reason} is counted", lambda: ended(reason) == before + 1)


async def sessions(configuration: Configuration) -> Counter[str]:
    return Counter(str(one.acct_session_id) for one in (await journal(configuration))[0])


async def nothing_is_left(running) -> None:
    """Of no connection: neither sockets nor tasks nor packets that wait."""
    await until("nothing is left", lambda: not running.ingest._radsec.open and not running.ingest._radsec._serving and not running.pending)


# -- the promise is that of UDP -----------------------------------------------------------------------------------------------------------


async def test_what_comes_over_tls_is_in_the_journal_before_it_is_answered(kafka: Kafka, prefix: str, who):
    """1.1, 1.4, 1.5: Proxy-States come back; the same packet again is answered and not published again; a Status-Server is answered."""
    configuration = await installation(kafka, prefix, who.tls)
    async with running_ingest(configuration) as running:
        async with await TlsNas.to(running.ingest.radsec_addresses[0], client(who, who.hut)) as nas:
            packet = record(1, "s-1", (33, b"first"), (33, b"\0second"), user="Bob")
            answer = await nas.ask(packet)
            assert answer[20:] == b"\x21\x07first\x21\x09\0second"
            records, _ = await journal(configuration)
            assert await nas.ask(packet) == answer
            assert (await nas.ask(status_server(2, SECRET)))[20:] == b""
        await nothing_is_left(running)
    assert [(one.nas, one.source, one.identity, one.acct_session_id) for one in records] == [("hut", "127.0.0.1", "bob", "s-1")]
    assert await sessions(configuration) == {"s-1": 1}


async def test_many_requests_are_under_way_on_one_connection(kafka: Kafka, prefix: str, who):
    """1.1: more than there are Identifiers, however they are cut; each is answered once, and what Identifiers allow is never exceeded."""
    configuration = await installation(kafka, prefix, who.tls)
    packets = [record(n, f"s-{n}", user=f"user{n}") for n in range(1000)]
    octets = b"".join(packets)
    async with running_ingest(configuration) as running:
        async with await TlsNas.to(running.ingest.radsec_addresses[0], client(who, who.hut)) as nas:
            for at in range(0, len(octets), 1009):
                nas.send(octets[at : at + 1009])
            answers = Counter([(await nas.receive())[1] for _ in packets])
            assert answers == Counter(n % 256 for n in range(1000))
        await nothing_is_left(running)
    assert await sessions(configuration) == {f"s-{n}": 1 for n in range(1000)}


async def test_nothing_is_answered_before_kafka_took_it_and_a_connection_that_is_gone_gets_nothing(own_kafka: Kafka, prefix: str, who):
    """1.1: with Kafka frozen the record waits; its connection ends; the answer is dropped, and the NAS sends it again on the next one."""
    configuration = await installation(own_kafka, prefix, who.tls)
    dropped, packet = refused("send-failed"), record(1, "s-1")
    async with running_ingest(configuration) as running:
        address, context = running.ingest.radsec_addresses[0], client(who, who.hut)
        async with await TlsNas.to(address, context) as nas:
            await nas.ask(record(0, "before"))
            await own_kafka.pause()
            nas.send(packet)
            await until("the packet waits", lambda: running.pending == 1)
        await until("the connection is gone", lambda: not running.ingest._radsec.open)
        await own_kafka.resume()
        await until("its answer is dropped", lambda: refused("send-failed") == dropped + 1)
        async with await TlsNas.to(address, context) as nas:
            await nas.ask(packet)
        await nothing_is_left(running)
    assert await sessions(configuration) == {"before": 1, "s-1": 2}  # the same record: further down it counts once (1.4)


async def test_while_kafka_is_away_a_connection_is_not_read_on(own_kafka: Kafka, prefix: str, who):
    """1.1: what one connection may have waiting is bounded, TCP holds the NAS back, and all of it is answered when Kafka is back."""
    configuration = await installation(own_kafka, prefix, who.tls)
    packets = [record(n, f"s-{n}", user=f"user{n}") for n in range(600)]
    async with running_ingest(configuration) as running:
        async with await TlsNas.to(running.ingest.radsec_addresses[0], client(who, who.hut)) as nas:
            await nas.ask(record(0, "before"))
            await own_kafka.pause()
            for packet in packets:
                nas.send(packet)
            await until("as many wait as may", lambda: running.pending == radsec.IN_FLIGHT_MAX)
            await asyncio.sleep(0.5)
            assert running.pending == 256
            await own_kafka.resume()
            got = Counter([(await nas.receive())[1] for _ in packets])
            assert got == Counter(n % 256 for n in range(600))
        await nothing_is_left(running)
    assert (await sessions(configuration)).keys() == {"before", *(f"s-{n}" for n in range(600))}


async def test_a_request_that_is_given_up_ends_its_connection(own_kafka: Kafka, prefix: str, who):
    """1.1: on a connection that stands a NAS does not send again (RFC 6613 section 2.6.1), so it is told by the end."""
    configuration = await installation(own_kafka, prefix, who.tls, max_unanswered=20)
    before, packets = ended(Ended.UNANSWERABLE), [record(n, f"s-{n}") for n in range(30)]
    async with running_ingest(configuration) as running:
        address, context = running.ingest.radsec_addresses[0], client(who, who.hut)
        async with await TlsNas.to(address, context) as nas:
            await nas.ask(record(100, "before"))
            await own_kafka.pause()
            for packet in packets:
                nas.send(packet)
            assert await nas.is_ended()
        await counted(Ended.UNANSWERABLE, before)
        assert running.pending <= 20
        await own_kafka.resume()
        for packet in packets:
            async with await TlsNas.to(address, context) as nas:
                await nas.ask(packet)
        await until("nothing waits", lambda: not running.pending)
    assert (await sessions(configuration)).keys() == {"before", *(f"s-{n}" for n in range(30))}


async def test_a_nas_without_a_name_is_known_by_its_address_and_its_secret_for_udp_is_not_that_of_tls(kafka: Kafka, prefix: str, who):
    """1.2: and who has a name and no secret is believed over TLS only: the secret that everybody knows opens no UDP port."""
    both = Nas(name="both", addresses=("127.0.0.1",), secret="over UDP")
    named = Nas(name="named", addresses=("127.0.0.2",), tls_name=NAME)
    configuration = await installation(kafka, prefix, who.tls, both, named)
    unknown = refused("unknown-source")
    async with running_ingest(configuration) as running:
        address = running.ingest.addresses[0]
        async with await TlsNas.to(running.ingest.radsec_addresses[0], client(who, who.other)) as nas:
            await nas.ask(record(1, "tls"))
        with NasSocket(address, b"over UDP") as nas:
            await nas.ask(request(1, "udp", secret=b"over UDP"))
        with NasSocket(address, SECRET, source="127.0.0.2") as nas:
            nas.send(record(1, "forged"))
            await until("it is refused", lambda: refused("unknown-source") == unknown + 1)
            assert nas.is_silent()
    assert await sessions(configuration) == {"tls": 1, "udp": 1}


def test_it_is_all_the_same_on_the_loop_of_production(kafka: Kafka, prefix: str, who, tmp_path):
    """1.1, 5.6: the parts run on uvloop, which has a TLS of its own."""

    async def scenario() -> None:
        hut = msgspec.structs.replace(HUT, disconnect=Disconnect(via="radsec", reverse=True))
        configuration = await installation(kafka, prefix, who.tls, hut, radsec_reverse=str(tmp_path))
        expired, silent = ended(Ended.CERTIFICATE_EXPIRED), ended(Ended.TRUNCATED)
        async with running_ingest(configuration) as running:
            address = running.ingest.radsec_addresses[0]
            async with await TlsNas.to(address, client(who, who.hut)) as nas:
                for n in range(300):
                    nas.send(record(n, f"s-{n}"))
                assert Counter([(await nas.receive())[1] for _ in range(300)]) == Counter(n % 256 for n in range(300))
                serving = asyncio.create_task(a_nas_that_ends_sessions(nas, []))
                driver = RadsecWay(configuration)
                assert (await driver.disconnect(hut, KICK)).answer == "accepted"
                await driver.close()
                serving.cancel()
                nas.send(record(1, "cut")[:30])
                await asyncio.sleep(0.2)
            await counted(Ended.TRUNCATED, silent)
            with contextlib.suppress(OSError):
                async with await TlsNas.to(address, client(who, who.expired)) as nas:
                    assert await nas.is_ended()
            await counted(Ended.CERTIFICATE_EXPIRED, expired)
            await nothing_is_left(running)
        assert await sessions(configuration) == {f"s-{n}": 1 for n in range(300)}

    uvloop.run(scenario())


# -- who is let in ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        (None, Ended.NO_CERTIFICATE),
        ("stranger", Ended.CERTIFICATE_AUTHORITY),
        ("expired", Ended.CERTIFICATE_EXPIRED),
        ("other", Ended.NAME),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_does_not_prove_who_it_is_gets_nowhere(kafka: Kafka, prefix: str, who, case, version):
    """1.2: no certificate, a stranger's, an old one, or another name: counted by reason, nothing is answered, and the next one gets in."""
    shown, reason = case
    configuration = await installation(kafka, prefix, who.tls)
    before, context = ended(reason), client(who, shown and getattr(who, shown))
    context.minimum_version = context.maximum_version = version
    async with running_ingest(configuration) as running:
        address = running.ingest.radsec_addresses[0]
        with contextlib.suppress(OSError):  # TLS 1.2 says it in the handshake, 1.3 after it
            async with await TlsNas.to(address, context) as nas:
                nas.send(record(1, "s-1"))
                assert await nas.is_ended()
        await counted(reason, before)
        async with await TlsNas.to(address, client(who, who.hut)) as nas:
            await nas.ask(record(2, "s-2"))
        await nothing_is_left(running)
    assert await sessions(configuration) == {"s-2": 1}


async def test_a_source_that_no_nas_has_is_closed_before_its_handshake(kafka: Kafka, prefix: str, who):
    """1.2."""
    elsewhere = Nas(name="hut", addresses=("192.0.2.1",), tls_name=NAME)
    configuration = await installation(kafka, prefix, who.tls, elsewhere)
    before = ended(Ended.UNKNOWN_SOURCE)
    async with running_ingest(configuration) as running:
        with pytest.raises(OSError):
            await TlsNas.to(running.ingest.radsec_addresses[0], client(who, who.hut))
        await counted(Ended.UNKNOWN_SOURCE, before)
        await nothing_is_left(running)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
async def test_tls_before_1_2_and_what_is_no_tls_are_refused(kafka: Kafka, prefix: str, who):
    """1.2."""
    configuration = await installation(kafka, prefix, who.tls)
    before = ended(Ended.HANDSHAKE)
    async with running_ingest(configuration) as running:
        address = running.ingest.radsec_addresses[0]
        old = client(who, who.hut)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError):
            await TlsNas.to(address, old)
        await counted(Ended.HANDSHAKE, before)
        for octets in (record(1, "in the clear"), b"GET / HTTP/1.1\r\n\r\n", b""):
            before = ended(Ended.HANDSHAKE)
            reader, writer = await asyncio.open_connection(*address[:2])
            writer.write(octets)
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.transport.abort()
            await counted(Ended.HANDSHAKE, before)
        await nothing_is_left(running)
    assert await sessions(configuration) == {}


# -- every connection has its bounds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "length-field"),
        (record(1, "s-1")[:-1] + b"\0", "authenticator"),
        (bytes((4, 1, 0, 23)) + bytes(16) + b"\x01\x00x", "attribute-length"),
        (request(1, "s-1", secret=b"over UDP"), "authenticator"),
        (bytes((STATUS_SERVER, 1, 0, 20)) + bytes(16), "message-authenticator-missing"),
    ],
    ids=["no RADIUS", "forged", "bad attribute", "secret of UDP", "unsigned Status-Server"],
)
async def test_garbage_ends_a_connection_after_what_was_right_before_it(kafka: Kafka, prefix: str, who, octets, reason):
    """1.2 (RFC 6613 section 2.6.4): nothing after it is believed."""
    configuration = await installation(kafka, prefix, who.tls)
    before = ended(reason)
    async with running_ingest(configuration) as running:
        async with await TlsNas.to(running.ingest.radsec_addresses[0], client(who, who.hut)) as nas:
            await nas.ask(record(7, "before"))
            nas.send(octets + record(8, "after"))
            assert await nas.is_ended()
        await counted(reason, before)
        await nothing_is_left(running)
    assert (await sessions(configuration))["before"] == 1


async def test_what_is_not_for_accounting_is_left_alone_and_the_connection_stands(kafka: Kafka, prefix: str, who):
    """1.2: a NAS may have its logins and its accounting on one connection; a login is not answered, also where there are many of them."""
    configuration = await installation(kafka, prefix, who.tls)
    before, login = refused("code"), bytes((1, 9, 0, 20)) + bytes(16)
    async with running_ingest(configuration) as running:
        async with await TlsNas.to(running.ingest.radsec_addresses[0], client(who, who.hut)) as nas:
            nas.send(login * 1000)
            await nas.ask(record(1, "s-1"))
            assert refused("code") == before + 1000
        await nothing_is_left(running)
    assert await sessions(configuration) == {"s-1": 1}


async def test_a_peer_that_says_nothing_has_its_end(kafka: Kafka, prefix: str, who, monkeypatch):
    """1.2: before its handshake, after it, and in the middle of a packet, however slowly its octets come."""
    monkeypatch.setattr(radsec, "HANDSHAKE_WITHIN_S", 0.5)
    monkeypatch.setattr(radsec, "PACKET_WITHIN_S", 0.5)
    configuration = await installation(kafka, prefix, who.tls, radsec_idle_s=3)
    before = {reason: ended(reason) for reason in (Ended.HANDSHAKE_TIMEOUT, Ended.IDLE, Ended.SLOW_PACKET, Ended.TRUNCATED)}
    async with running_ingest(configuration) as running:
        address, context = running.ingest.radsec_addresses[0], client(who, who.hut)
        reader, writer = await asyncio.open_connection(*address[:2])
        await counted(Ended.HANDSHAKE_TIMEOUT, before[Ended.HANDSHAKE_TIMEOUT])
        writer.transport.abort()
        async with await TlsNas.to(address, context) as nas:
            assert await nas.is_ended()
            await counted(Ended.IDLE, before[Ended.IDLE])
        async with await TlsNas.to(address, context) as nas:
            dribble = asyncio.create_task(_dribble(nas, record(1, "slow")))
            assert await nas.is_ended()
            await counted(Ended.SLOW_PACKET, before[Ended.SLOW_PACKET])
            dribble.cancel()
        async with await TlsNas.to(address, context) as nas:
            await nas.ask(record(1, "s-1"))
            nas.send(record(2, "cut off")[:-1])
            await asyncio.sleep(0.1)
        await counted(Ended.TRUNCATED, before[Ended.TRUNCATED])
        await nothing_is_left(running)
    del reader
    assert await sessions(configuration) == {"s-1": 1}


async def _dribble(nas: TlsNas, octets: bytes) -> None:
    for octet in octets:
        nas.send(bytes((octet,)))
        await asyncio.sleep(0.1)


async def test_there_are_so_many_connections_and_no_more(kafka: Kafka, prefix: str, who):
    """1.2: those in their handshake count too; one that ends makes room."""
    configuration = await installation(kafka, prefix, who.tls, radsec_connections=2)
    before = ended(Ended.TOO_MANY)
    async with running_ingest(configuration) as running:
        address, context = running.ingest.radsec_addresses[0], client(who, who.hut)
        async with await TlsNas.to(address, context) as first:
            _, silent = await asyncio.open_connection(*address[:2])
            await until("both are taken", lambda: len(running.ingest._radsec._serving) == 2)
            with pytest.raises(OSError):
                await TlsNas.to(address, context)
            await counted(Ended.TOO_MANY, before)
            silent.transport.abort()
            await until("there is room", lambda: len(running.ingest._radsec._serving) == 1)
            async with await TlsNas.to(address, context) as second:
                await second.ask(record(1, "s-2"))
                await first.ask(record(1, "s-1"))
        await nothing_is_left(running)
    assert await sessions(configuration) == {"s-1": 1, "s-2": 1}


async def test_who_does_not_read_its_answers_is_not_answered_for_ever(kafka: Kafka, prefix: str, who, monkeypatch):
    """1.2: answers that nobody takes are bounded."""
    monkeypatch.setattr(radsec, "UNSENT_OCTETS_MAX", 0)
    configuration = await installation(kafka, prefix, who.tls)
    before = ended(Ended.NOT_READING)
    packet = record(1, "s-1", *[(33, bytes(253))] * 15)
    async with running_ingest(configuration) as running:
        async with await TlsNas.to(running.ingest.radsec_addresses[0], client(who, who.hut)) as nas:
            nas.writer.transport.pause_reading()
            with contextlib.suppress(ConnectionError):
                while ended(Ended.NOT_READING) == before:
                    nas.send(packet)
                    await nas.writer.drain()
                    await asyncio.sleep(0)
        await counted(Ended.NOT_READING, before)
        await nothing_is_left(running)


# -- disconnects over the NAS's own connection ---------------------------------------------------------------------------------------------


async def a_nas_that_ends_sessions(nas: TlsNas, asked: list[bytes], *, error_cause: int | None = None) -> None:
    """It answers Disconnect-Requests on the connection that it has made."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            packet = await nas.receive()
            asked.append(packet)
            assert not isinstance(parse_disconnect_request(packet, SECRET), RefusedRequest)
            nas.send(build_disconnect_reply(packet, SECRET, ack=error_cause is None, error_cause=error_cause))


async def test_a_nas_is_asked_over_the_connection_that_it_has_made(kafka: Kafka, prefix: str, who, tmp_path):
    """5.6: no address, no port that is open there; its accounting goes on meanwhile, and two kicks have one connection."""
    way = Disconnect(via="radsec", reverse=True)
    hut, asked = msgspec.structs.replace(HUT, disconnect=way), []
    configuration = await installation(kafka, prefix, who.tls, hut, radsec_reverse=str(tmp_path / "reverse"))
    driver = RadsecWay(configuration)
    async with running_ingest(configuration) as running:
        address, context = running.ingest.radsec_addresses[0], client(who, who.hut)
        nobody = await driver.disconnect(hut, KICK)
        assert (nobody.answer, nobody.detail.startswith("no connection of hut stands at any ingest here")) == ("unanswered", True)
        async with await TlsNas.to(address, context) as nas:
            await nas.ask(record(1, "s-1"))
            serving = asyncio.create_task(a_nas_that_ends_sessions(nas, asked))
            answers = await asyncio.gather(*(driver.disconnect(hut, KICK) for _ in range(50)))
            assert {(one.answer, one.detail) for one in answers} == {("accepted", "Disconnect-Request by Acct-Session-Id: ACK")}
            assert len(asked) == 50
            second = RadsecWay(configuration)
            busy = await second.disconnect(hut, KICK)
            assert (busy.answer, "or another is asking it" in busy.detail) == ("unanswered", True)
        await serving
        async with await TlsNas.to(address, context) as nas:  # the next connection serves as well
            serving = asyncio.create_task(a_nas_that_ends_sessions(nas, asked, error_cause=503))
            assert (await driver.disconnect(hut, KICK)).answer == "gone"
            await driver.close()
            await until("it is let go", lambda: all(one._reverse is None for one in running.ingest._radsec.open))
            findings = await second.test(hut)
            assert [one.ok for one in findings] == [True, True]
            assert findings[0].sentence == "A connection of hut to an ingest of this machine stands."
            await second.close()
        await serving
        await nothing_is_left(running)
        assert [path.stat().st_mode & 0o777 for path in (tmp_path / "reverse").iterdir()] == [0o600]
    assert list((tmp_path / "reverse").iterdir()) == []
    assert await sessions(configuration) == {"s-1": 1}


async def test_what_comes_to_the_reverse_socket_is_bounded_and_nothing_but_disconnects_goes_through(
    kafka: Kafka, prefix: str, who, tmp_path
):
    """5.7: who names no NAS, or nobody, or sends what is no disconnect; and a NAS that answers what nobody asked."""
    configuration = await installation(kafka, prefix, who.tls, radsec_reverse=str(tmp_path / "reverse"))
    before = refused("code")
    async with running_ingest(configuration) as running:
        [path] = (tmp_path / "reverse").iterdir()
        async with await TlsNas.to(running.ingest.radsec_addresses[0], client(who, who.hut)) as nas:
            await nas.ask(record(1, "s-1"))
            nas.send(bytes((41, 1, 0, 20)) + bytes(16))
            await until("it is let go", lambda: refused("code") == before + 1)
            for line, answer in ((b"elsewhere\n", b"-\n"), (b"\xff" * 100_000, b""), (b"hut\n", b"+\n")):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(line)
                async with asyncio.timeout(60):
                    assert await reader.readline() == answer
                if answer != b"+\n":
                    writer.close()
            writer.write(record(2, "no disconnect") + b"GET / HTTP/1.1\r\n")
            await nas.ask(record(3, "s-3"))
            nas.hang_up()
            async with asyncio.timeout(60):
                with contextlib.suppress(OSError):
                    assert await reader.read() == b""
            writer.close()
        await nothing_is_left(running)
    assert await sessions(configuration) == {"s-1": 1, "s-3": 1}


# -- configuration ------------------------------------------------------------------------------------------------------------------------


async def test_a_reload_ends_the_connections_of_those_who_are_nobody_any_more(kafka: Kafka, prefix: str, who):
    """1.2: and those that stay known are not disturbed; a certificate that cannot be used changes nothing."""
    configuration = await installation(kafka, prefix, who.tls)
    before = ended(Ended.NAME)
    other = msgspec.structs.replace(HUT, name="other", tls_name="other.example.net")
    async with running_ingest(configuration) as running:
        address = running.ingest.radsec_addresses[0]
        async with await TlsNas.to(address, client(who, who.hut)) as nas:
            await nas.ask(record(1, "s-1"))
            unusable = msgspec.structs.replace(who.tls, keyfile=who.tls.cafile)
            assert not running.ingest.reload(msgspec.structs.replace(configuration, nas=(other,), tls=unusable))
            await nas.ask(record(2, "s-2"))
            assert running.ingest.reload(msgspec.structs.replace(configuration, nas=(HUT, other)))
            await nas.ask(record(3, "s-3"))
            assert running.ingest.reload(msgspec.structs.replace(configuration, nas=(other,)))
            assert await nas.is_ended()
        await counted(Ended.NAME, before)
        async with await TlsNas.to(address, client(who, who.other)) as nas:
            await nas.ask(record(4, "s-4"))
        await nothing_is_left(running)
    records, _ = await journal(configuration)
    assert sorted((str(one.acct_session_id), one.nas) for one in records) == [
        ("s-1", "hut"),
        ("s-2", "hut"),
        ("s-3", "hut"),
        ("s-4", "other"),
    ]


async def test_a_start_that_cannot_be_says_why(kafka: Kafka, prefix: str, who):
    """1.2: files and addresses."""
    configuration = await installation(kafka, prefix, who.tls)
    unusable = msgspec.structs.replace(configuration, tls=Tls(certfile="/none", keyfile="/none", cafile="/none"))
    with pytest.raises(
        TlsFilesError, match=r"The certificate /none with the key /none cannot be used: No such file or directory\. Name PEM"
    ):
        async with running_ingest(unusable):
            pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        busy = msgspec.structs.replace(configuration, ingest=msgspec.structs.replace(configuration.ingest, radsec=(place,)))
        with pytest.raises(CannotListenError, match=f"Accounting over TLS cannot be received at {place}: Address already in use"):
            async with running_ingest(busy):
                pass
