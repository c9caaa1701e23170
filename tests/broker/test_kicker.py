"""The kicker against a real Kafka and NASes on the loopback (behaviours 5.1, 5.3, 5.4, 5.5, 5.7)."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import time
from dataclasses import dataclass, field

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition
from prometheus_client import REGISTRY

from agents import kick_ways, kicker
from agents.health import Health
from agents.kick_ports import CannotSendError
from agents.kicker import run_kicker
from schemas.codec import encode, loads
from schemas.configuration import Configuration, Disconnect, Kafka, Kicker, Nas
from schemas.disconnect import DisconnectCommand, DisconnectResult, SessionNotice
from schemas.errors import CurfewError
from schemas.topics import ACCOUNTING, COMMANDS, KICKER_GROUP, REJECTED, RESULTS
from schemas.ways import WayAnswer
from streams import open_commands
from streams.partitioner import partition_of
from streams.radius.simulated import build_disconnect_reply, parse_disconnect_request
from streams.retransmission import Schedule
from tests.support.kafka import create_topics

SECRET = "testing456"
PARTITIONS = 3
DEADLINE_S = 120
SHORT = Schedule(irt_ms=50, mrc=4, mrt_ms=200, mrd_ms=400)


class SimulatedNas(asyncio.DatagramProtocol):
    """A NAS's disconnect port. `answers` makes the datagrams for a request; every request that is believed is kept."""

    def __init__(self, answers):
        self.answers = answers
        self.requests = []
        self.octets = []

    def connection_made(self, transport):
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data, addr):
        self.asked_from = addr
        parsed = parse_disconnect_request(data, SECRET.encode(), data[0])
        assert isinstance(parsed, tuple), parsed
        self.requests.append(parsed[1])
        self.octets.append(data)
        for reply in self.answers(data):
            self.transport.sendto(reply, addr)

    @property
    def sessions(self):
        return [fields["acct_session_id"] for fields in self.requests]


def reply(request, *, ack=True, error_cause=None):
    return build_disconnect_reply(request, SECRET.encode(), ack=ack, error_cause=error_cause)


def acks(request):
    return [reply(request)]


def refuses(error_cause):
    return lambda request: [reply(request, ack=False, error_cause=error_cause)]


def silent(_request):
    return []


@dataclass
class Bench:
    """Kafka, some NASes, and what the topics hold."""

    configuration: Configuration
    nases: dict[str, SimulatedNas]
    producer: AIOKafkaProducer
    reader: AIOKafkaConsumer
    prefix: str
    seen: dict[str, list] = field(default_factory=lambda: {RESULTS.name: [], ACCOUNTING.name: [], REJECTED.name: []})
    numbers: itertools.count = field(default_factory=itertools.count)

    async def order(self, nas, session=None, **changes):
        number = next(self.numbers)
        now_ms = time.time_ns() // 1_000_000
        fields = {
            "id": f"0-{number}-0-bob",
            "time_ms": now_ms,
            "expires_ms": now_ms + 60_000,
            "nas": nas,
            "identity": "bob",
            "session": {"acct_session_id": f"S{number}", "user_name": "bob", "nas_identifier": "ap-12"} if session is None else session,
            "reason": "limit",
        }
        command = DisconnectCommand(**(fields | changes))
        await self.write("command", nas, encode(command))
        return command

    async def notify(self, command, **changes):
        notice = SessionNotice(
            command_id=command.id, nas=command.nas, identity=command.identity, acct_session_id="", said_by="nas-stop", time_ms=1, **changes
        )
        await self.write("notice", command.nas, encode(notice))

    async def write(self, kind, nas, value):
        await self.producer.send_and_wait(
            f"{self.prefix}{COMMANDS.name}",
            value,
            nas.encode(),
            partition=partition_of(nas, PARTITIONS),
            headers=[("kind", kind and kind.encode())],
        )

    async def read(self, timeout_ms=100):
        for place, records in (await self.reader.getmany(timeout_ms=timeout_ms)).items():
            self.seen[place.topic.removeprefix(self.prefix)].extend(records)

    async def until(self, holds):
        """Read on until it holds, or fail showing what came."""
        deadline = time.monotonic() + DEADLINE_S
        while not holds():
            assert time.monotonic() < deadline, {name: [one.value for one in records] for name, records in self.seen.items()}
            await self.read()

    def results(self, command):
        found = [loads(record.value) for record in self.seen[RESULTS.name]]
        return [result for result in found if result["command_id"] == command.id]

    def outcomes(self, command):
        return [result["outcome"] for result in self.results(command)]

    async def until_outcomes(self, command, *outcomes):
        await self.until(lambda: self.outcomes(command) == list(outcomes))

    async def committed(self):
        """What is committed of the commands, in all partitions together, and how many there are."""
        topic = f"{self.prefix}{COMMANDS.name}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self.configuration.kafka.bootstrap_servers)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(f"{self.prefix}{KICKER_GROUP}")
        finally:
            await admin.close()
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        return sum(at.offset for at in found.values()), sum((await self.reader.end_offsets(places)).values())


@pytest.fixture
async def bench(kafka, prefix):
    async with make_bench(kafka, prefix) as made:
        yield made


@contextlib.asynccontextmanager
async def make_bench(kafka, prefix):
    await create_topics(kafka.bootstrap, {f"{prefix}{topic.name}": PARTITIONS for topic in (COMMANDS, RESULTS, ACCOUNTING, REJECTED)})
    loop = asyncio.get_running_loop()
    answers = {"campus": acks, "gone": refuses(503), "strict": refuses(404), "dead": silent, "picky": picky, "noisy": noisy, "change": acks}
    nases = {}
    for name, answer in answers.items():
        _, nases[name] = await loop.create_datagram_endpoint(lambda answer=answer: SimulatedNas(answer), local_addr=("127.0.0.1", 0))
    configured = [
        Nas(
            name=name,
            addresses=("127.0.0.1/32",),
            secret="s",
            disconnect=Disconnect(address="127.0.0.1", port=one.port, secret=SECRET),
        )
        for name, one in nases.items()
    ]
    configured.append(Nas(name="api", addresses=("127.0.0.1/32",), secret="s", disconnect=Disconnect(via="routeros", address="127.0.0.1")))
    configured.append(Nas(name="bare", addresses=("127.0.0.1/32",), secret="s"))
    configuration = Configuration(
        kafka=Kafka(bootstrap_servers=kafka.bootstrap, partitions=PARTITIONS, topic_prefix=prefix),
        kicker=Kicker(source="127.0.0.1", ports=2, in_flight_per_nas=4),
        nas=tuple(configured),
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    reader = AIOKafkaConsumer(
        *(f"{prefix}{topic.name}" for topic in (RESULTS, ACCOUNTING, REJECTED)),
        bootstrap_servers=kafka.bootstrap,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=20,
    )
    await producer.start()
    await reader.start()
    try:
        yield Bench(configuration, nases, producer, reader, prefix)
    finally:
        await producer.stop()
        await reader.stop()
        for one in nases.values():
            one.transport.close()


def picky(request):
    """Refuses the first attribute set (it has the NAS's own attributes) and takes the next one."""
    _, fields = parse_disconnect_request(request, SECRET.encode())
    return [reply(request, ack=False, error_cause=403)] if "nas_identifier" in fields else [reply(request)]


def noisy(request):
    """What is no answer, and then the answer."""
    good = reply(request)
    return [
        good[:4] + bytes(16) + good[20:],
        b"\x05" + good[1:],
        good[:1] + bytes([(good[1] + 1) % 256]) + good[2:],
        good[:-3],
        good,
        good,
    ]


@contextlib.asynccontextmanager
async def running(configuration, schedule=SHORT, reread=None, drivers=None):
    """A kicker that is ready; it ends as a person would end it."""
    health, stop = Health("kicker"), asyncio.Event()
    task = asyncio.create_task(run_kicker(configuration, health, stop, schedule=schedule, reread=reread, drivers=drivers))
    deadline = time.monotonic() + DEADLINE_S
    try:
        while not health.is_ready:
            assert time.monotonic() < deadline, health.reason
            assert not task.done(), task.result()
            await asyncio.sleep(0.02)
        yield task
    finally:
        stop.set()
        if not task.cancelled():
            await asyncio.wait_for(task, DEADLINE_S)


async def kill(task):
    """Nothing is flushed, nothing is committed any more."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def counted(reason):
    return REGISTRY.get_sample_value("curfew_disconnect_replies_refused_total", {"reason": reason}) or 0


async def test_ack_and_stop_are_acknowledged_and_confirmed_in_both_topics_and_then_committed(bench):
    """5.1, 5.4, 5.7."""
    async with running(bench.configuration):
        command = await bench.order("campus")
        await bench.until_outcomes(command, "acknowledged")
        await bench.notify(command)
        await bench.until_outcomes(command, "acknowledged", "confirmed")
    journal = bench.seen[ACCOUNTING.name]
    await bench.until(lambda: len(journal) == 2)
    assert [one.value for one in journal] == [one.value for one in bench.seen[RESULTS.name]]
    assert {(one.key, one.partition, one.headers) for one in journal} == {(b"bob", partition_of("bob", PARTITIONS), (("kind", b"result"),))}
    assert {(one.key, one.partition) for one in bench.seen[RESULTS.name]} == {(b"campus", partition_of("campus", PARTITIONS))}
    (request,) = bench.nases["campus"].requests
    assert request.pop("event_timestamp_s") == bench.results(command)[0]["attempts"][0]["sent_ms"][0] // 1000
    assert request == {"acct_session_id": "S0", "user_name": "bob", "nas_identifier": "ap-12"}
    assert await bench.committed() == (2, 2)
    assert bench.seen[REJECTED.name] == []


async def test_every_refusal_and_silence_is_a_named_result(bench):
    """5.3 and 5.7."""
    async with running(bench.configuration):
        commands = {
            "gone": await bench.order("gone"),
            "refused": await bench.order("strict"),
            "unanswered": await bench.order("dead"),
            "unknown-nas": await bench.order("nobody"),
            "no-secret": await bench.order("bare"),
            "expired": await bench.order("campus", expires_ms=1),
            "unsupported": await bench.order("campus", session={"user_name": "bob"}),
        }
        for outcome, command in commands.items():
            await bench.until_outcomes(command, outcome)
    (refused,) = bench.results(commands["refused"])
    assert (refused["error_cause"], refused["error_cause_name"], refused["final"]) == (404, "Invalid-Request", True)
    (unanswered,) = bench.results(commands["unanswered"])
    assert len(set(bench.nases["dead"].octets)) == 1
    assert len(bench.nases["dead"].octets) == len(unanswered["attempts"][0]["sent_ms"]) >= 3
    assert bench.nases["campus"].requests == []
    assert len(bench.seen[RESULTS.name]) == len(commands)


async def test_a_refusal_of_the_attributes_leads_to_the_next_set(bench):
    """5.3: 403 is answered by a request without NAS attributes, under another Identifier."""
    async with running(bench.configuration):
        command = await bench.order("picky")
        await bench.until_outcomes(command, "acknowledged")
    first, second = bench.nases["picky"].octets
    assert first[1] != second[1]
    assert [one.get("answer") for one in bench.results(command)[0]["attempts"]] == ["Disconnect-NAK", "Disconnect-ACK"]


async def test_what_is_no_answer_is_counted_and_ignored(bench):
    """5.1: authenticator, code, Identifier, framing, source; and a repeat of the answer."""
    reasons = {"authenticator": 1, "other-code": 1, "malformed": 1, "unexpected": 3}
    before = {reason: counted(reason) for reason in reasons}
    nas = bench.nases["noisy"]
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def from_elsewhere_first(request):
        stranger.sendto(reply(request), nas.asked_from)
        return noisy(request)

    nas.answers = from_elsewhere_first
    async with running(bench.configuration):
        command = await bench.order("noisy")
        await bench.until_outcomes(command, "acknowledged")
        await bench.until(lambda: {reason: counted(reason) - before[reason] for reason in reasons} == reasons)
    stranger.close()
    assert len(nas.requests) == 1


async def test_a_dead_nas_holds_up_nobody(bench):
    """5.5: more commands for it than its budget, and a living one behind them in the same topic."""
    async with running(bench.configuration, Schedule()):
        for _ in range(20):
            await bench.order("dead")
        command = await bench.order("campus")
        await bench.until_outcomes(command, "acknowledged")
        assert len(set(bench.nases["dead"].sessions)) == bench.configuration.kicker.in_flight_per_nas


async def test_what_is_no_command_is_rejected_with_its_octets_and_the_partition_goes_on(bench):
    """Bad input."""
    async with running(bench.configuration):
        for kind, value in (("command", b"\xffnot json"), ("command", b"{}"), ("strange", b"{}"), (None, b"{}")):
            await bench.write(kind, "campus", value)
        command = await bench.order("campus")
        await bench.until_outcomes(command, "acknowledged")
        await bench.notify(command)
        await bench.until_outcomes(command, "acknowledged", "confirmed")
        await bench.until(lambda: len(bench.seen[REJECTED.name]) == 4)
    rejected = [loads(one.value) for one in bench.seen[REJECTED.name]]
    assert [one["reason"] for one in rejected] == ["not-json", "lacks-fields", "unknown-kind", "unknown-kind"]
    assert [one["offset"] for one in rejected] == [0, 1, 2, 3]
    assert await bench.committed() == (6, 6)


class FakeWay:
    """A driver that says what it is told to, by the session's id."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.is_cancelled = self.is_closed = False

    async def disconnect(self, nas, command):
        self.asked.append((nas.name, command.session["acct_session_id"]))
        answer = self.answers[command.session["acct_session_id"]]
        if answer is None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.is_cancelled = True
                raise
        if isinstance(answer, Exception):
            raise answer
        return WayAnswer(answer, "by the fake", 1.5)

    async def close(self):
        self.is_closed = True


async def test_a_nas_of_another_way_is_asked_by_its_driver_with_the_same_results_and_the_same_proof(bench):
    """5.6 and 5.4; a defect of the driver is a named result too, and ends nobody."""
    way = FakeWay(yes="accepted", gone="gone", no="refused", never="unsupported", wrong=ValueError("a defect"))
    outcomes = {"yes": "acknowledged", "gone": "gone", "no": "refused", "never": "unsupported", "wrong": "unsupported"}
    async with running(bench.configuration, drivers={"routeros": way}):
        commands = {name: await bench.order("api", session={"acct_session_id": name}) for name in outcomes}
        for name, outcome in outcomes.items():
            await bench.until_outcomes(commands[name], outcome)
        await bench.notify(commands["yes"])
        await bench.until_outcomes(commands["yes"], "acknowledged", "confirmed")
    assert sorted(way.asked) == sorted(("api", name) for name in outcomes)
    (attempt,) = bench.results(commands["yes"])[1]["attempts"]
    assert (attempt["request"], attempt["answer"], attempt["round_trip_ms"]) == ("routeros", "accepted", 1.5)
    assert way.is_closed
    assert len(bench.seen[RESULTS.name]) == 6
    assert await bench.committed() == (6, 6)


async def test_a_driver_that_comes_to_no_end_is_ended_with_an_unanswered_and_at_a_stop_it_is_cancelled(bench, monkeypatch):
    """5.6 and 5.7: within a bounded time; what is in flight at a stop is asked anew by whoever comes next."""
    monkeypatch.setattr(kick_ways, "way_within_s", lambda _: 0.2)
    monkeypatch.setattr(kick_ways, "GRACE_S", 0.1)
    way = FakeWay(stuck=None)
    async with running(bench.configuration, drivers={"routeros": way}):
        command = await bench.order("api", session={"acct_session_id": "stuck"})
        await bench.until_outcomes(command, "unanswered")
        assert way.is_cancelled
        monkeypatch.setattr(kick_ways, "way_within_s", lambda _: 60)
        way.is_cancelled = False
        again = await bench.order("api", session={"acct_session_id": "stuck"})
        await bench.until(lambda: len(way.asked) == 2)
    assert way.is_cancelled
    after = FakeWay(stuck="gone")
    async with running(bench.configuration, drivers={"routeros": after}):
        await bench.until_outcomes(again, "gone")
    assert bench.outcomes(command) == ["unanswered"]
    assert await bench.committed() == (2, 2)


async def test_after_a_restart_a_nas_is_asked_first_what_it_took_before(bench):
    """5.3: read back from the results; the metrics show it."""
    async with running(bench.configuration):
        first = await bench.order("picky")
        await bench.until_outcomes(first, "acknowledged")
        await bench.notify(first)
        await bench.until_outcomes(first, "acknowledged", "confirmed")
    labels = {"request": "Disconnect-Request", "attributes": "Acct-Session-Id+User-Name"}
    async with running(bench.configuration):
        second = await bench.order("picky")
        await bench.until_outcomes(second, "acknowledged")
        await bench.until(lambda: REGISTRY.get_sample_value("curfew_disconnect_accepted", labels) == 1)
    assert len(bench.results(first)[1]["attempts"]) == 2
    assert [one["answer"] for one in bench.results(second)[0]["attempts"]] == ["Disconnect-ACK"]
    assert len(bench.nases["picky"].requests) == 3


async def test_a_quota_s_change_of_authorisation_is_a_coa_request_and_final_with_its_ack(bench):
    """4.6 and 5.4."""
    async with running(bench.configuration):
        command = await bench.order("change", coa={"Filter-Id": "slow"}, reason="quota")
        await bench.until_outcomes(command, "confirmed")
    (result,) = bench.results(command)
    assert (result["final"], result["attempts"][0]["request"], result["attempts"][0]["answer"]) == (True, "CoA-Request", "CoA-ACK")
    (octets,) = bench.nases["change"].octets
    assert octets[0] == 43
    assert b"\x0b\x06slow" in octets
    assert await bench.committed() == (1, 1)


async def test_commands_of_a_later_version_are_taken_and_what_they_have_new_is_left(bench):
    """5.7 and 7.1: compatible changes only, so an unknown key says nothing here; a kind that is not known is rejected."""
    command = DisconnectCommand(
        id="later", time_ms=1, expires_ms=2**52, nas="gone", identity="bob", session={"acct_session_id": "A"}, reason="limit"
    )
    async with running(bench.configuration):
        await bench.write("command", "gone", encode({**loads(encode(command)), "version": 9, "news": {"a": [1]}}))
        await bench.write("command-v9", "gone", encode(command))
        await bench.until_outcomes(command, "gone")
        await bench.until(lambda: len(bench.seen[REJECTED.name]) == 1)
    assert loads(bench.seen[REJECTED.name][0].value)["reason"] == "unknown-kind"
    assert await bench.committed() == (2, 2)


async def test_a_killed_kicker_s_successor_sends_nothing_twice_that_has_its_result_and_forgets_nothing(bench):
    """5.4 and 5.7, twice over: acknowledged ones are awaited, finished ones skipped, unanswered ones sent again."""
    async with running(bench.configuration, Schedule()) as first:
        promised = await bench.order("campus")
        finished = await bench.order("gone")
        waiting = await bench.order("dead", confirm_within_s=3600)
        await bench.until_outcomes(promised, "acknowledged")
        await bench.until_outcomes(finished, "gone")
        await bench.until(lambda: bench.nases["dead"].requests)
        await kill(first)
    for name in ("campus", "gone", "dead"):
        bench.nases[name].requests.clear()
    async with running(bench.configuration, Schedule()) as second:
        behind = [await bench.order("campus"), await bench.order("gone")]
        await bench.until_outcomes(behind[0], "acknowledged")
        await bench.until_outcomes(behind[1], "gone")
        await bench.until(lambda: bench.nases["dead"].requests)
        await kill(second)
    async with running(bench.configuration):
        await bench.notify(promised)
        await bench.notify(behind[0])
        await bench.until_outcomes(promised, "acknowledged", "confirmed")
        await bench.until_outcomes(behind[0], "acknowledged", "confirmed")
        await bench.until_outcomes(waiting, "unanswered")
    assert bench.nases["campus"].sessions == [behind[0].session["acct_session_id"]]
    assert bench.nases["gone"].sessions == [behind[1].session["acct_session_id"]]
    assert set(bench.nases["dead"].sessions) == {waiting.session["acct_session_id"]}
    assert len(bench.seen[RESULTS.name]) == 7
    assert await bench.committed() == (7, 7)


async def test_a_final_result_that_only_the_results_have_gets_into_the_journal_too(bench):
    """5.7: a kicker was killed between the two; without it the session would wait for its outcome for ever."""
    command = await bench.order("campus")
    outcome = DisconnectResult(
        command_id=command.id, time_ms=1, nas="campus", identity="bob", acct_session_id="S0", final=True, outcome="confirmed"
    )
    await bench.producer.send_and_wait(
        f"{bench.prefix}{RESULTS.name}", encode(outcome), b"campus", partition=partition_of("campus", PARTITIONS)
    )
    async with running(bench.configuration):
        await bench.until(lambda: bench.seen[ACCOUNTING.name])
    (record,) = bench.seen[ACCOUNTING.name]
    assert (record.key, dict(record.headers)["kind"], loads(record.value)) == (b"bob", b"result", loads(encode(outcome)))
    assert bench.nases["campus"].requests == []
    assert bench.outcomes(command) == ["confirmed"]
    assert await bench.committed() == (1, 1)


async def test_a_second_kicker_takes_partitions_over_and_every_command_has_one_final_result(bench):
    """5.7: what moves is not lost, what stays is not done twice."""
    async with running(bench.configuration, Schedule()):
        first = [await bench.order(name, identity=f"u{number}") for number in range(10) for name in ("campus", "gone", "strict")]
        async with running(bench.configuration, Schedule()):
            second = [await bench.order(name, identity=f"u{number}") for number in range(10) for name in ("campus", "gone", "strict")]
            for command in (*first, *second):
                if command.nas == "campus":
                    await bench.notify(command)
            finals = {"campus": "confirmed", "gone": "gone", "strict": "refused"}
            await bench.until(
                lambda: all(finals[one.nas] in bench.outcomes(one) or "gone" in bench.outcomes(one) for one in (*first, *second))
            )
    for command in (*first, *second):
        assert [one["final"] for one in bench.results(command)].count(True) == 1, command.id


async def test_kafka_away_for_longer_than_a_request_is_waited_for_and_no_result_is_lost(own_kafka, prefix):
    """5.7: a failed send ends the producer, and the next one writes what is owed."""
    async with make_bench(own_kafka, prefix) as bench, running(bench.configuration, Schedule(irt_ms=20_000)):
        dead = bench.nases["dead"]
        command = await bench.order("dead")
        await bench.until(lambda: dead.requests)
        await own_kafka.pause()
        dead.transport.sendto(reply(dead.octets[0], ack=False, error_cause=501), dead.asked_from)
        await asyncio.sleep(8)
        await own_kafka.resume()
        await bench.until(lambda: "refused" in bench.outcomes(command))
        assert set(bench.outcomes(command)) == {"refused"}


async def test_a_full_partition_waits_in_the_topic_goes_on_and_loses_nothing(bench, monkeypatch):
    """5.5 and 5.7: memory is bounded by `BUSY_MAX`; here by 3 commands without an answer."""
    monkeypatch.setattr(open_commands, "BUSY_MAX", 3)
    commands = [await bench.order("dead") for _ in range(12)]
    behind = await bench.order("gone" if partition_of("gone", PARTITIONS) == partition_of("dead", PARTITIONS) else "dead")
    monkeypatch.setattr(kicker, "POLL_RECORDS", 2)
    async with running(bench.configuration):
        await bench.until(lambda: len(bench.seen[RESULTS.name]) == 13)
    assert all(bench.outcomes(command) == ["unanswered"] for command in commands)
    assert len(bench.outcomes(behind)) == 1
    assert await bench.committed() == (13, 13)


async def test_the_configuration_is_read_again_at_sighup_and_a_wrong_one_changes_nothing(bench):
    """5.7: a NAS that was unknown is known afterwards."""
    known = bench.configuration
    readings = iter([CurfewError("line 3: no"), known])

    def reread():
        reading = next(readings)
        if isinstance(reading, CurfewError):
            raise reading
        return reading

    without = msgspec.structs.replace(known, nas=())
    async with running(without, reread=reread):
        for outcome in ("unknown-nas", "unknown-nas", "gone"):
            command = await bench.order("gone")
            await bench.until_outcomes(command, outcome)
            if outcome != "gone":
                os.kill(os.getpid(), signal.SIGHUP)
                await asyncio.sleep(0)
    assert len(bench.nases["gone"].requests) == 1


async def test_a_source_address_of_another_machine_is_said_with_its_remedy(bench):
    """Bad input."""
    configuration = Configuration(kafka=bench.configuration.kafka, kicker=Kicker(source="192.0.2.1"))
    with pytest.raises(CannotSendError, match=r"\[kicker\] source"):
        await run_kicker(configuration, Health("kicker"), asyncio.Event())
