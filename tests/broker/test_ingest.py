"""The ingest with real sockets and a real Kafka."""

import asyncio
import base64
import contextlib
import json
import os
import signal
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from agents.topic_admin import TopicsDifferError
from agents.udp import CannotListenError
from schemas.codec import decoder
from schemas.configuration import Configuration, Nas
from schemas.errors import CurfewError
from schemas.journal import Rejected
from schemas.topics import ACCOUNTING, REJECTED
from streams.partitioner import partition_of
from tests.support.ingest import (
    PARTITIONS,
    NasSocket,
    answered,
    journal,
    make_installation,
    number,
    refused,
    request,
    running_ingest,
    slots_ticks,
    status_server,
)
from tests.support.kafka import Kafka
from tests.support.worker import read_all, until

CORPUS = Path(__file__).parents[1] / "corpus"
EDGE_SECRET = "edge-secret"


async def test_an_answered_record_is_in_its_identitys_partition_with_proxy_states_echoed(kafka: Kafka, prefix: str):
    """1.1, 1.5: the answer carries the Proxy-States unchanged and in order, and nothing else."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0]) as nas:
            answer = await nas.ask(request(1, "s-1", (33, b"first"), (33, b"\0second"), user="Bob"))
            assert answer[20:] == b"\x21\x07first\x21\x09\0second"
            found = await read_all(configuration, ACCOUNTING)
            assert nas.is_silent()
    accounting = [(r.partition, r.key, r.value) for rs in found.values() for r in rs if dict(r.headers)["kind"] == b"accounting"]
    assert [(partition, key) for partition, key, _ in accounting] == [(partition_of("bob", PARTITIONS), b"bob")]
    assert json.loads(accounting[0][2])["ingest"] == running.ingest.id


async def test_nothing_is_answered_before_kafka_acknowledged_it(own_kafka: Kafka, prefix: str):
    """1.1: with Kafka frozen the packet waits, a repeat of it is dropped, and the answer comes when the record is durable."""
    configuration = await make_installation(own_kafka.bootstrap, prefix)
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0]) as nas:
            await nas.ask(request(0, "before"))
            await own_kafka.pause()
            pending_before = refused("duplicate-pending")
            packet = request(1, "s-1")
            nas.send(packet)
            await until("the packet waits", lambda: running.pending == 1)
            nas.send(packet)
            await until("the repeat is dropped", lambda: refused("duplicate-pending") == pending_before + 1)
            nas.send(status_server(2))
            await until("the Status-Server waits too", lambda: running.pending == 2)
            assert nas.is_silent()
            await own_kafka.resume()
            answered_to = set()
            async with asyncio.timeout(60):
                while answered_to != {1, 2}:
                    with contextlib.suppress(TimeoutError):
                        answered_to.add((await nas.receive(2))[1])
                        continue
                    nas.send(packet)  # frozen for longer than a request may take, its batch has failed: a NAS sends again
                    nas.send(status_server(2))
    records, _ = await journal(configuration)
    assert Counter(record.acct_session_id for record in records) == {"before": 1, "s-1": 1}


async def test_while_kafka_is_away_nothing_is_answered_memory_is_bounded_and_retransmissions_get_in(own_kafka: Kafka, prefix: str):
    """1.1, 1.5: the oldest unanswered are dropped and counted, Status-Server is silent, and it recovers by itself."""
    configuration = await make_installation(own_kafka.bootstrap, prefix, max_unanswered=20)
    packets = [request(n, f"s-{n}", user=f"user{n}") for n in range(100)]
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0]) as nas:
            await nas.ask(request(200, "before"))
            await nas.ask(status_server(203))
            await own_kafka.stop()
            away_before = refused("kafka-away")
            for packet in packets:
                nas.send(packet)
            nas.send(status_server(201))
            nas.send(status_server(203))  # the same octets: that it was answered before says nothing of now
            await until("81 are dropped", lambda: refused("kafka-away") >= away_before + 81)
            assert running.pending <= 20
            waiting = sum(len(lane.waiting) + len(lane.in_flight) for lane in running.ingest.writer._lanes)
            assert waiting <= 20 + 100 + 2 * PARTITIONS
            await until("it says so", lambda: not running.health.is_ready)
            assert "Kafka" in running.health.reason
            assert nas.is_silent()
            await own_kafka.start()
            await running.ready()
            got = {answer[1] for answer in nas.waiting()} & set(range(100))
            async with asyncio.timeout(60):
                while len(got) < 100:
                    for n in sorted(set(range(100)) - got)[:10]:
                        nas.send(packets[n])
                    with contextlib.suppress(TimeoutError):
                        while len(got) < 100:
                            got |= {(await nas.receive(0.5))[1]} & set(range(100))
            await until("nothing waits any more", lambda: running.pending == 0)
            nas.waiting()
            assert (await nas.ask(status_server(202)))[20:] == b""
            assert nas.is_silent()
    records, _ = await journal(configuration)
    assert {record.acct_session_id for record in records} == {"before", *(f"s-{n}" for n in range(100))}


async def test_an_ingest_that_starts_without_kafka_binds_says_so_and_gets_ready(own_kafka: Kafka, prefix: str):
    """1.1: packets wait from the first moment, and are answered when Kafka is there."""
    configuration = await make_installation(own_kafka.bootstrap, prefix)
    await own_kafka.stop()
    async with running_ingest(configuration, ready=False) as running:
        with NasSocket(running.ingest.addresses[0]) as nas:
            packet = request(1, "s-1")
            nas.send(packet)
            await until("the packet waits", lambda: running.pending == 1)
            await until("it says so", lambda: "Kafka is away" in running.health.reason)
            assert nas.is_silent()
            await own_kafka.start()
            await nas.answer(packet)
            assert running.health.is_ready
    records, ticks = await journal(configuration)
    assert [record.acct_session_id for record in records] == ["s-1"]
    assert all(made[0].full for made in ticks.values())


async def test_a_failed_batch_ends_its_producer_and_the_next_one_takes_over(kafka: Kafka, prefix: str):
    """1.1: what was in the batch is dropped and is new when it comes again; what waited is answered; the next tick is full."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0]) as nas:
            await nas.ask(request(0, "before"))
            away_before = refused("kafka-away")
            lane = running.ingest.writer.journal[partition_of("alice", PARTITIONS)]
            packet = request(1, "s-1")
            nas.send(packet)
            await nas.answer(packet)
            running.ingest._take(running.ingest._receivers[0], [(request(2, "s-2"), nas.socket.getsockname())])
            lost = lane.waiting[-1][4]
            lane.waiting.clear()
            lane.append((None, b"x" * 3_000_000, [], 0, lost))
            await until("the batch failed", lambda: refused("kafka-away") == away_before + 1)
            assert running.pending == 0
            assert nas.is_silent()
            await nas.ask(request(2, "s-2"))
            await nas.ask(request(3, "s-3"))
            told = running.ingest._talking._until_full
            await until("a tick came after it", lambda: running.ingest._talking._until_full not in {0, told})
    records, ticks = await journal(configuration)
    assert [record.acct_session_id for record in records] == ["before", "s-1", "s-2", "s-3"]
    assert all(sum(tick.full for tick in made) >= 2 for made in ticks.values())


async def test_the_same_packet_is_answered_from_the_cache_and_published_once(kafka: Kafka, prefix: str):
    """1.4: another authenticator, or another port, is another request."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0]) as nas, NasSocket(running.ingest.addresses[0]) as other:
            packet = request(1, "s-1")
            cached_before = answered("duplicate")
            assert await nas.ask(packet) == await nas.ask(packet)
            assert answered("duplicate") == cached_before + 1
            await nas.ask(request(1, "s-1", (41, number(3))))
            await other.ask(packet)
            assert nas.is_silent()
            assert other.is_silent()
    records, _ = await journal(configuration)
    assert [(record.acct_session_id, record.acct_delay_s) for record in records] == [("s-1", None), ("s-1", 3), ("s-1", None)]


async def test_every_bad_packet_of_the_corpora_is_silent_and_counted_and_the_ingest_lives(kafka: Kafka, prefix: str, caplog):
    """1.2: no answer, counted by reason, sampled in the log."""
    lines = [
        json.loads(line) for name in ("edge-crafted", "edge-radclient") for line in (CORPUS / f"{name}.jsonl").read_text().splitlines()
    ]
    # An authentic Status-Server among the other codes is answered.
    silent = {"malformed", "bad-auth", "other-code"}
    bad = [bytes.fromhex(line["hex"]) for line in lines if line["expect"] in silent and "status-server" not in line["source"]]
    nases = (Nas(name="edge", addresses=("127.0.0.1",), secret=EDGE_SECRET),)
    configuration = await make_installation(kafka.bootstrap, prefix, nases=nases)
    reasons = ("length-field", "attribute-length", "attribute-overrun", "length-beyond-datagram", "too-short", "authenticator")
    reasons += ("code", "message-authenticator", "message-authenticator-missing")
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0], EDGE_SECRET.encode()) as nas:
            before = sum(map(refused, reasons))
            nas.send(b"")
            nas.send(bytes(65_000))
            for _ in range(2):
                for packet in bad:
                    nas.send(packet)
            await nas.ask(request(250, "s-1", secret=EDGE_SECRET.encode()))
            assert sum(map(refused, reasons)) == before + 2 * len(bad) + 2
            assert nas.is_silent()
        with NasSocket(running.ingest.addresses[0], EDGE_SECRET.encode(), source="127.0.0.2") as stranger:
            unknown_before = refused("unknown-source")
            stranger.send(bad[0])
            stranger.send(request(1, "s-1", secret=EDGE_SECRET.encode()))
            await until("they are counted", lambda: refused("unknown-source") == unknown_before + 2)
            assert stranger.is_silent()
    shown = Counter(record.getMessage().split(";")[0] for record in caplog.records if "refused a packet" in record.getMessage())
    assert shown["refused a packet from 127.0.0.2: unknown-source"] == 1
    assert set(shown.values()) == {1}
    assert {record.acct_session_id for record in (await journal(configuration))[0]} == {"s-1"}


async def test_every_good_packet_of_the_corpora_is_answered_and_kept(kafka: Kafka, prefix: str):
    """1.3, 1.7: wrong values lose their attribute only; unknown, tagged, extended and vendor attributes hurt nobody."""
    lines = [
        json.loads(line) for name in ("edge-crafted", "edge-radclient") for line in (CORPUS / f"{name}.jsonl").read_text().splitlines()
    ]
    good = [bytes.fromhex(line["hex"]) for line in lines if line["expect"] in {"ok", "bad-value"}]
    nases = (Nas(name="edge", addresses=("127.0.0.1",), secret=EDGE_SECRET),)
    configuration = await make_installation(kafka.bootstrap, prefix, nases=nases)
    async with running_ingest(configuration) as running:
        for packet in good:
            with NasSocket(running.ingest.addresses[0], EDGE_SECRET.encode()) as nas:
                await nas.ask(packet)
                assert nas.is_silent()
    records, _ = await journal(configuration)
    rejected = [record for found in (await read_all(configuration, REJECTED)).values() for record in found]
    everywhere = sum(record.identity == "" for record in records)
    assert len(records) - everywhere + everywhere // PARTITIONS + len(rejected) == len([packet for packet in good if packet[0] == 4])
    assert any(record.dropped for record in records)


async def test_what_is_authentic_but_no_record_is_rejected_with_its_bytes_and_then_answered(kafka: Kafka, prefix: str):
    configuration = await make_installation(kafka.bootstrap, prefix)
    packets = [request(1, "s-1", status=0), request(2, None)]
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0]) as nas:
            for packet in packets:
                await nas.ask(packet)
            assert nas.is_silent()
    found = [record for records in (await read_all(configuration, REJECTED)).values() for record in records]
    values = [decoder(Rejected).decode(record.value) for record in found]
    assert [(value.reason, base64.b64decode(value.bytes)) for value in values] == [
        ("no-status-type", packets[0]),
        ("no-session-id", packets[1]),
    ]
    assert {record.key for record in found} == {b"127.0.0.1"}
    assert not (await journal(configuration))[0]


async def test_accounting_on_is_in_every_partition_before_it_is_answered(kafka: Kafka, prefix: str):
    """2.4: every partition learns of a NAS's reboot."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0]) as nas:
            await nas.ask(request(1, None, status=7))
            records, _ = await journal(configuration)
            assert nas.is_silent()
    assert [(record.status, record.identity) for record in records] == [("Accounting-On", "")] * PARTITIONS


async def test_ticks_come_into_every_partition_in_order_and_tell_who_talks(kafka: Kafka, prefix: str):
    """3.5: the first tick is full, later ones carry changes, and a NAS that falls silent has ceased."""
    configuration = await make_installation(kafka.bootstrap, prefix, tick_s=0.3, talk_window_s=1)
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0]) as nas:
            await nas.ask(request(1, "s-1"))
            await until("it ceased", lambda: running.ingest._talking._last_heard_ms == {})
            await nas.ask(status_server(2))
    _, ticks = await journal(configuration)
    assert set(ticks) == set(range(PARTITIONS))
    for made in ticks.values():
        assert made[0].full
        assert {tick.ingest for tick in made} == {running.ingest.id}
        assert [tick.mono_ms for tick in made] == sorted(tick.mono_ms for tick in made)
        assert {began for tick in made for began in tick.began} == {("campus", 0)}  # its window is not known yet
        assert len([tick for tick in made if tick.began and not tick.full]) <= 1
        last = max(n for n, tick in enumerate(made) if tick.began)
        told = [ceased for tick in made[last:] for ceased in tick.ceased]
        # A tick that found its predecessor still waiting for Kafka was left out: the full one after it says the same by silence.
        assert [name for name, silent_ms in told if silent_ms > 1000] == ["campus"] or any(tick.full for tick in made[last + 1 :])


async def test_bare_ticks_come_into_every_partition_of_the_groups_journal(kafka: Kafka, prefix: str):
    """4.3: the group agent's only clock."""
    configuration = await make_installation(kafka.bootstrap, prefix, tick_s=0.3)
    async with running_ingest(configuration) as running, asyncio.timeout(60):
        while not all(len(made) > 2 for made in (await slots_ticks(configuration)).values()):  # noqa: ASYNC110 - what is waited for is in Kafka
            await asyncio.sleep(0.1)
    for made in (await slots_ticks(configuration)).values():
        assert {(tick.ingest, tick.full, tick.period_ms) for tick in made} == {(running.ingest.id, False, 300)}
        assert [tick.mono_ms for tick in made] == sorted(tick.mono_ms for tick in made)


async def test_two_ingests_share_one_port_and_each_packet_is_taken_once(kafka: Kafka, prefix: str):
    """1.9: no shared state between them."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with running_ingest(configuration) as first:
        port = first.ingest.addresses[0][1]
        second_configuration = msgspec.structs.replace(
            configuration, ingest=msgspec.structs.replace(configuration.ingest, listen=(f"127.0.0.1:{port}",))
        )
        async with running_ingest(second_configuration) as second:
            for n in range(64):
                with NasSocket(("127.0.0.1", port)) as nas:
                    await nas.ask(request(n, f"s-{n}"))
                    assert nas.is_silent()
    records, _ = await journal(configuration)
    assert Counter(record.acct_session_id for record in records) == {f"s-{n}": 1 for n in range(64)}
    assert {record.ingest for record in records} == {first.ingest.id, second.ingest.id}


async def test_several_addresses_of_both_families_are_listened_on(kafka: Kafka, prefix: str):
    configuration = await make_installation(kafka.bootstrap, prefix, listen=("127.0.0.1:0", "[::1]:0"))
    async with running_ingest(configuration) as running:
        for n, address in enumerate(running.ingest.addresses):
            with NasSocket(address) as nas:
                await nas.ask(request(n, f"s-{n}"))
                assert nas.is_silent()
    assert [(record.acct_session_id, record.source) for record in (await journal(configuration))[0]] == [
        ("s-0", "127.0.0.1"),
        ("s-1", "::1"),
    ]


async def test_sighup_takes_over_nases_and_secrets_and_a_bad_configuration_changes_nothing(kafka: Kafka, prefix: str):
    """1.2: secrets change without a restart; what is wrong is said and not used."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    answers: list[Configuration | Exception] = []

    def reread() -> Configuration:
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with running_ingest(configuration, reread=reread) as running:
        with NasSocket(running.ingest.addresses[0]) as nas, NasSocket(running.ingest.addresses[0], b"new-secret") as changed:
            await nas.ask(request(1, "s-1"))
            no_secret = msgspec.structs.replace(configuration, nas=(Nas(name="campus", addresses=("127.0.0.1",)),))
            for bad in (CurfewError("curfew.toml:1:1: error"), OSError("gone"), no_secret):
                answers.append(bad)
                os.kill(os.getpid(), signal.SIGHUP)
                await until("it was read", lambda: not answers)
            await nas.ask(request(2, "s-2"))
            renamed = Nas(name="renamed", addresses=("127.0.0.1",), secret="new-secret")
            answers.append(msgspec.structs.replace(configuration, nas=(renamed,)))
            os.kill(os.getpid(), signal.SIGHUP)
            await until("it was read", lambda: not answers)
            await changed.ask(request(3, "s-3", secret=b"new-secret"))
            wrong_before = refused("authenticator")
            nas.send(request(4, "s-4"))
            await until("the old secret is refused", lambda: refused("authenticator") == wrong_before + 1)
            assert nas.is_silent()
    records, _ = await journal(configuration)
    assert [(record.acct_session_id, record.nas) for record in records] == [("s-1", "campus"), ("s-2", "campus"), ("s-3", "renamed")]


async def test_several_nases_behind_one_address_are_named_by_what_they_say(kafka: Kafka, prefix: str):
    """1.2: a proxy's address has one secret; NAS-Identifier and NAS-IP-Address tell who it was. Nobody's record is not answered."""
    nases = (
        Nas(name="by-name", addresses=("127.0.0.1",), secret="testing123", nas_identifier="ap-1"),
        Nas(name="by-address", addresses=("127.0.0.1",), secret="testing123", nas_ip_address="10.0.0.2"),
    )
    configuration = await make_installation(kafka.bootstrap, prefix, nases=nases)
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0]) as nas:
            await nas.ask(request(1, "s-1", (32, b"ap-1")))
            await nas.ask(request(2, "s-2", (4, bytes((10, 0, 0, 2)))))
            before = refused("unknown-nas")
            nas.send(request(3, "s-3", (32, b"ap-9"), (4, bytes((10, 0, 0, 9)))))
            await until("it is counted", lambda: refused("unknown-nas") == before + 1)
            assert nas.is_silent()
    assert [record.nas for record in (await journal(configuration))[0]] == ["by-name", "by-address"]


async def test_a_graceful_stop_answers_what_it_took(kafka: Kafka, prefix: str):
    """1.1: stop reading, flush, answer, close."""
    configuration = await make_installation(kafka.bootstrap, prefix)
    async with running_ingest(configuration) as running:
        with NasSocket(running.ingest.addresses[0]) as nas:
            before = answered("record")
            for n in range(200):
                nas.send(request(n, f"s-{n}", user=f"u{n}"))
            await until("it takes them", lambda: running.pending or not nas.is_silent())
            await running.stop()
            assert running.pending == 0
    records, _ = await journal(configuration)
    assert len(records) == answered("record") - before
    assert records


async def test_an_address_that_cannot_be_had_and_topics_that_differ_end_it_with_a_sentence(kafka: Kafka, prefix: str):
    configuration = await make_installation(kafka.bootstrap, prefix, listen=("192.0.2.1:1813",))
    with pytest.raises(CannotListenError, match=r"192\.0\.2\.1:1813.*\[ingest\] listen"):
        async with running_ingest(configuration):
            pass
    listening = msgspec.structs.replace(configuration.ingest, listen=("127.0.0.1:0",))
    more = msgspec.structs.replace(configuration.kafka, partitions=PARTITIONS + 1)
    with pytest.raises(TopicsDifferError):
        async with running_ingest(msgspec.structs.replace(configuration, ingest=listening, kafka=more)):
            pass
