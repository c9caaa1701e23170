"""The command `curfew` against a real Kafka, as a process, with what the session core itself made of hand-made records."""

import asyncio
import contextlib
import signal
import socket
import time
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from agents.admission import Admission
from agents.broker import pick_free_port
from agents.health import Health, serve_health
from agents.http_api import routes
from agents.kafka_client import client_settings, topic_name
from agents.settings import load_settings
from agents.topic_admin import ensure_topics
from agents.topic_reader import kind_of, reading
from schemas.accounting import AccountingRecord
from schemas.admission import Question
from schemas.codec import decoder, encode, loads
from schemas.disconnect import DisconnectCommand, DisconnectResult
from schemas.journal import OperatorCommand, PolicyVersion
from schemas.topics import ACCOUNTING, COMMANDS, POLICY, RESULTS, TABLE, TOPICS, WORKER_GROUP
from streams.live_view import LiveView
from streams.partitioner import partition_of
from streams.session_core import SessionCore
from tests.support.curfew import Curfew
from tests.support.schemas import validate

PARTITIONS = 2
POLICY_FILE = """
[[limit]]
name = "one"
applies_to = "user"
max_sessions = 1
victim = "oldest"
"""
APPEAR_WITHIN_S = 60


@pytest.fixture
def config(kafka, prefix, tmp_path):
    path = tmp_path / "curfew.toml"
    path.write_text(
        f'[kafka]\nbootstrap_servers = "{kafka.bootstrap}"\npartitions = {PARTITIONS}\ntopic_prefix = "{prefix}"\n'
        '[identity]\nstrip_realms = ["example.net"]\n'
        '[[nas]]\nname = "campus"\naddresses = ["127.0.0.1/32"]\nsecret = "testing123"\n'
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


class Hand:
    """A worker by hand: it writes records into the journal, applies the journal to real cores, and sends what they say."""

    def __init__(self, configuration, producer, reader):
        self.configuration = configuration
        self.producer = producer
        self.reader = reader
        self.cores = [SessionCore(partition, PARTITIONS, topic_name(configuration, ACCOUNTING)) for partition in range(PARTITIONS)]

    async def write(self, kind, key, value, partition):
        name = topic_name(self.configuration, ACCOUNTING)
        await self.producer.send_and_wait(name, value, key=key, partition=partition, headers=[("kind", kind.encode())])

    async def account(self, status, user, session, *, nas="campus", mac="02-00-5E-10-00-01", **more):
        now_ms = round(time.time() * 1000)
        record = AccountingRecord(
            status=status,
            nas=nas,
            source="127.0.0.1",
            ingest="i-1",
            received_ms=now_ms,
            event_ms=now_ms,
            identity=user.casefold(),
            user_name=user,
            acct_session_id=session,
            calling_station_id=mac,
            **more,
        )
        await self.write("accounting", user.casefold().encode(), encode(record), partition_of(user.casefold(), PARTITIONS))

    async def result(self, command, outcome, *, final=True, **more):
        result = DisconnectResult(
            command_id=command.id,
            time_ms=command.time_ms,
            nas=command.nas,
            identity=command.identity,
            acct_session_id=command.session["acct_session_id"],
            final=final,
            outcome=outcome,
            **more,
        )
        results, partition = topic_name(self.configuration, RESULTS), partition_of(command.nas, PARTITIONS)
        await self.producer.send_and_wait(results, encode(result), key=command.nas.encode(), partition=partition)
        await self.write("result", command.identity.encode(), encode(result), partition_of(command.identity, PARTITIONS))

    async def work(self):
        """Apply what is new in the journal, send all outputs and checkpoints; returns the disconnect commands among them."""
        out = []
        async for record in self.reader.to_end():
            validate(ACCOUNTING, record.key, kind_of(record), record.value)
            self.cores[record.partition].apply(record.offset, kind_of(record), record.key, record.value, out)
        for output in out:
            validate(output.topic, output.key, output.kind, output.value)
            headers = [("kind", output.kind.encode())] if output.kind else []
            await self.producer.send_and_wait(
                self.configuration.kafka.topic_prefix + output.topic,
                output.value,
                key=output.key,
                partition=output.partition,
                headers=headers,
            )
        for core in self.cores:
            for key, value in core.checkpoint():
                validate(TABLE, key, "", value)
                await self.producer.send_and_wait(topic_name(self.configuration, TABLE), value, key=key, partition=core.partition)
        return [decoder(DisconnectCommand).decode(o.value) for o in out if o.topic == COMMANDS.name and o.kind == "command"]


@pytest.fixture
async def hand(configuration):
    producer = AIOKafkaProducer(**client_settings(configuration), acks="all", enable_idempotence=True)
    async with reading(configuration, ACCOUNTING) as reader:
        await producer.start()
        yield Hand(configuration, producer, reader)
        await producer.stop()


@asynccontextmanager
async def in_workers_group(configuration):
    """Somebody is in the workers' group, so a worker is thought to run."""
    consumer = AIOKafkaConsumer(
        topic_name(configuration, ACCOUNTING),
        **client_settings(configuration),
        group_id=configuration.kafka.topic_prefix + WORKER_GROUP,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        yield
    finally:
        await consumer.stop()


async def records_of(configuration, topic):
    async with reading(configuration, topic) as reader:
        return [record async for record in reader.to_end()]


async def appears(ask):
    """The first answer of `ask` that is not empty."""
    deadline = time.monotonic() + APPEAR_WITHIN_S
    while not (found := await ask()):
        assert time.monotonic() < deadline, "it did not appear"
        await asyncio.sleep(0.05)
    return found


# -- topics ---------------------------------------------------------------------------------------------------------------------------


async def test_topics_are_made_once_and_listed_with_what_is_in_them(curfew, prefix):
    """INTERFACES: `topics create` is idempotent; standard output is data, standard error is talk."""
    made = await curfew("topics", "create")
    assert (made.status, made.out.split()) == (0, [prefix + topic.name for topic in TOPICS])
    assert made.err == f"{len(TOPICS)} topics made with 2 partitions, 0 were there.\n"
    again = await curfew("topics", "create", "--json")
    assert (again.status, again.objects) == (0, [{"created": [], "existing": [prefix + topic.name for topic in TOPICS]}])
    listed = await curfew("topics", "list", "--json")
    assert [(row["name"], row["partitions"], row["cleanup"], row["records"]) for row in listed.objects] == [
        (prefix + topic.name, PARTITIONS, topic.cleanup_policy, 0) for topic in TOPICS
    ]
    assert (listed.status, listed.err) == (0, "")
    plain = await curfew("topics", "list")
    assert plain.out.splitlines()[0].split()[:3] == ["TOPIC", "PARTITIONS", "CLEANUP"]
    assert len(plain.out.splitlines()) == 1 + len(TOPICS)


async def test_topics_that_differ_end_every_part_and_topics_create_with_status_1(curfew, config, configuration):
    """Issue A: a topic that exists with other partitions than wanted: refuse to start and say what to do."""
    config.write_text(config.read_text().replace(f"partitions = {PARTITIONS}", "partitions = 5") + '[http]\nlisten = ""\n')
    for command in (["topics", "create"], ["worker"], ["kicker"]):
        ended = await curfew(*command)
        assert ended.status == 1, ended
        assert "radius.accounting has 2 partitions, wanted are 5: the count is fixed for good" in ended.err
        assert "Traceback" not in ended.err
        assert ended.out == ""


# -- policy ---------------------------------------------------------------------------------------------------------------------------


async def test_a_policy_is_published_once_and_its_offsets_are_told_when_partitions_go_by_it(curfew, hand, configuration, tmp_path):
    """4.9: a change takes effect at an offset; INTERFACES `policy apply`, `show`, `history`."""
    file = tmp_path / "policy.toml"
    file.write_text(POLICY_FILE)
    nobody = await curfew("policy", "apply", str(file), "--who", "ada")
    assert (nobody.status, nobody.out) == (0, ""), nobody.err
    assert nobody.err.splitlines() == ["version 1 is published.", "2 partitions of 2 wait: no worker runs, it takes effect when one does."]
    (record,) = await records_of(configuration, POLICY)
    validate(POLICY, record.key, "", record.value)
    assert record.key == b"default@1"

    async with in_workers_group(configuration):
        applying = asyncio.create_task(curfew("policy", "apply", str(file), "--json"))
        for partition in range(PARTITIONS):
            await hand.write("policy", None, record.value, partition)
        await hand.work()
        ended = await applying
    assert (ended.status, ended.objects) == (0, [{"version": 1, "published": False, "in_force": {"0": 0, "1": 0}, "partitions": 2}])
    assert ended.err == "nothing changed: version 1 says the same, nothing was published.\n"

    file.write_text(POLICY_FILE.replace("oldest", "newest"))
    second = await curfew("policy", "apply", str(file))
    assert second.err.startswith("version 2 is published.\n")
    history = await curfew("policy", "history", "--json")
    assert [(row["version"], row["who"], row["in_force"]) for row in history.objects] == [(1, "ada", {"0": 0, "1": 0}), (2, "tester", {})]
    assert "0:0 1:0" in (await curfew("policy", "history")).out
    assert len(await records_of(configuration, POLICY)) == 2


async def test_what_policy_show_prints_is_a_policy_file_that_says_the_same(curfew, configuration, tmp_path):
    """INTERFACES `policy show`: the versions can be read and applied again."""
    empty = await curfew("policy", "show")
    assert (empty.status, empty.out) == (1, "")
    file = tmp_path / "policy.toml"
    file.write_text(POLICY_FILE)
    await curfew("policy", "apply", str(file))
    shown = await curfew("policy", "show")
    assert shown.out.startswith("# version 1, published ")
    (again := tmp_path / "again.toml").write_text(shown.out)
    assert "nothing changed: version 1" in (await curfew("policy", "apply", str(again))).err
    as_json = await curfew("policy", "show", "1", "--json")
    assert [decoder(PolicyVersion).decode(line).version for line in as_json.out.splitlines()] == [1]
    missing = await curfew("policy", "show", "7")
    assert (missing.status, missing.err) == (1, "Error: there is no version 7\n")


async def test_a_wrong_policy_is_not_published(curfew, configuration, tmp_path):
    """INTERFACES: exit status 2 with line and remedy."""
    file = tmp_path / "policy.toml"
    file.write_text(POLICY_FILE.replace("max_sessions = 1", "max_sessions = -1"))
    refused = await curfew("policy", "apply", str(file))
    assert refused.status == 2
    assert f"{file}:5:" in refused.err
    assert await records_of(configuration, POLICY) == []


async def test_a_policy_that_calls_the_living_dead_at_a_nas_of_the_configuration_is_not_published(curfew, configuration, tmp_path):
    """3.1: as `curfew check` finds it."""
    with (tmp_path / "curfew.toml").open("a") as file:
        file.write('[[nas]]\nname = "slow"\naddresses = ["192.0.2.9/32"]\nsecret = "testing123"\ninterim_interval_s = 600\n')
    policy = tmp_path / "policy.toml"
    policy.write_text('[[liveness]]\nrule = "handshake"\nperiod_s = 20\n')
    refused = await curfew("policy", "apply", str(policy))
    assert refused.status == 2
    assert f"{policy}:3:12: error: a session of slow would be dead after 60 s" in refused.err
    assert await records_of(configuration, POLICY) == []


# -- sessions and watch ---------------------------------------------------------------------------------------------------------------


async def test_sessions_shows_open_ones_by_user_nas_and_mac_and_ended_ones_when_asked(curfew, hand, configuration):
    """7.2: a compacted topic of live sessions: read from the start it is the directory."""
    await hand.account("Start", "Alice", "a-1", framed_ip_address="10.0.0.1")
    await hand.account("Start", "bob", "b-1", nas="annex", mac="02-00-5E-10-00-02")
    await hand.account("Start", "carol", "c-1", mac="02-00-5E-10-00-03")
    await hand.account("Stop", "carol", "c-1", mac="02-00-5E-10-00-03", session_time_s=5)
    await hand.work()

    async def ids(*arguments):
        ended = await curfew("sessions", "--json", *arguments)
        assert ended.status == 0, ended.err
        for row in ended.objects:
            assert row.pop("counts_in") == []  # no policy is in force
            validate(TABLE, f"s:{row['nas']}/{row['acct_session_id']}", "", encode(row))
        return {(row["user_name"], row["acct_session_id"], row["state"]) for row in ended.objects}

    alice, bob, carol = ("Alice", "a-1", "open"), ("bob", "b-1", "open"), ("carol", "c-1", "ended")
    assert await ids() == {alice, bob}
    assert await ids("--all") == {alice, bob, carol}
    assert await ids("--user", "ALICE@example.net") == {alice}
    assert await ids("--nas", "annex") == {bob}
    assert await ids("--mac", "0200.5e10.0001") == {alice}
    assert await ids("--user", "nobody") == set()
    plain = await curfew("sessions", "--nas", "campus")
    heading, line = plain.out.splitlines()
    assert heading.split()[:4] == ["USER", "NAS", "SESSION", "MAC"]
    assert line.split()[:5] == ["Alice", "campus", "a-1", "02:00:5e:10:00:01", "10.0.0.1"]
    assert line.index("campus") == heading.index("NAS")
    assert plain.err == "1 session\n"
    wrong = await curfew("sessions", "--mac", "xyz")
    assert (wrong.status, wrong.out) == (2, "")


async def test_sessions_of_a_user_shows_the_slots_that_are_kept_for_him(curfew, hand, config, monkeypatch):
    """INTERFACES "Who counts": beside the sessions, where the projector answers; nobody waits for one that does not."""
    await hand.account("Start", "alice", "a-1")
    await hand.work()
    monkeypatch.delenv("CURFEW_STATUS_SOCKET", raising=False)
    with config.open("a") as file:
        file.write(f'[http]\nlisten = "127.0.0.1:{pick_free_port()}"\n')
    configuration = load_settings(config, {})
    admission = Admission(configuration)
    admission.open(LiveView(PARTITIONS))
    await admission.ask(Question(user="Alice", nas="annex", calling_station_id="02-00-5E-10-00-02"))
    await admission.ask(Question(user="alice", nas="campus"))
    async with serve_health(configuration, Health("projector"), routes=routes(configuration, admission)):
        ended = await curfew("sessions", "--json", "--user", "ALICE@example.net")
        assert [found["acct_session_id"] for found in ended.objects] == ["a-1"]
        count, *reserved = ended.err.splitlines()
        assert count == "1 session"
        assert [line.rpartition(", ")[0] for line in reserved] == [
            "reserved on annex for 02:00:5e:10:00:02",
            "reserved on campus for any device",
        ]
        assert (await curfew("sessions", "--user", "bob")).err == "0 sessions\n"
        assert (await curfew("sessions")).err == "1 session\n"
    silent = await curfew("sessions", "--user", "alice")
    assert (silent.status, silent.err) == (0, "1 session\n")


async def test_a_row_that_was_never_committed_is_not_shown(curfew, hand, configuration):
    """DESIGN: rows are read `read_committed`: what a zombie worker wrote is nobody's truth."""
    await hand.account("Start", "alice", "a-1")
    await hand.work()
    (row,) = [record for record in await records_of(configuration, TABLE) if record.key.startswith(b"s:")]
    zombie = AIOKafkaProducer(**client_settings(configuration), transactional_id=configuration.kafka.topic_prefix + "zombie")
    await zombie.start()
    await zombie.begin_transaction()
    await zombie.send_and_wait(row.topic, None, key=row.key, partition=row.partition)
    assert [found["acct_session_id"] for found in (await curfew("sessions", "--json")).objects] == ["a-1"]
    await zombie.commit_transaction()
    await zombie.stop()
    assert (await curfew("sessions", "--json")).objects == []


async def test_watch_prints_events_of_a_type_and_a_user_and_ends_by_itself(curfew, hand):
    """INTERFACES `watch`: session events as they come, one line each."""
    await hand.account("Start", "alice", "a-1")
    await hand.account("Start", "bob", "b-1")
    await hand.account("Stop", "alice", "a-1", session_time_s=5)
    await hand.work()
    everything = await curfew("watch", "--json", "--from-beginning", "--for", "3")
    assert sorted((event["identity"], event["type"]) for event in everything.objects) == [
        ("alice", "session.ended"),
        ("alice", "session.started"),
        ("bob", "session.started"),
    ]
    of_alice = await curfew("watch", "--json", "--from-beginning", "--for", "3", "--user", "ALICE", "--type", "session.e*")
    assert [event["type"] for event in of_alice.objects] == ["session.ended"]
    plain = await curfew("watch", "--from-beginning", "--for", "3", "--type", "session.started", "--user", "bob")
    assert plain.out.split()[2:5] == ["session.started", "bob", "campus/b-1"]
    unknown = await curfew("watch", "--type", "session.strated")
    assert unknown.status == 2


async def test_watch_begins_with_what_comes_now_and_ends_quietly_at_an_interrupt(curfew, hand):
    """INTERFACES `watch`."""
    await hand.account("Start", "alice", "a-1")
    await hand.work()
    watching = await curfew.start("watch", "--json")

    async def first_line():
        await hand.account("Start", "bob", f"b-{time.monotonic_ns()}")
        await hand.work()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                return await watching.stdout.readline()
        return b""

    assert loads(await appears(first_line))["identity"] == "bob"
    watching.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        out, err = await watching.communicate()
    assert (watching.returncode, err) == (0, b"")
    assert b"alice" not in out


# -- kick -----------------------------------------------------------------------------------------------------------------------------


async def test_a_kick_is_on_record_with_who_and_why_and_says_what_is_proven(curfew, hand, configuration):
    """5.8, 5.4: every kick is on record; an acknowledgement is no proof, the NAS's Stop is."""
    await hand.account("Start", "alice", "a-1")
    await hand.account("Start", "alice", "a-2", nas="annex", mac="02-00-5E-10-00-02")
    await hand.account("Start", "alice", "a-3", nas="third", mac="02-00-5E-10-00-03")
    await hand.work()
    kicking = asyncio.create_task(curfew("kick", "--user", "Alice", "--reason", "left", "--json", "--wait", "8"))
    commands = {command.nas: command for command in await appears(hand.work)}
    assert set(commands) == {"campus", "annex", "third"}
    await hand.result(commands["campus"], "acknowledged", final=False)
    await hand.result(commands["campus"], "confirmed")
    await hand.result(commands["annex"], "refused", error_cause=404, error_cause_name="Invalid-Request")
    await hand.result(commands["third"], "acknowledged", final=False)
    ended = await kicking
    fates = {fate["nas"]: (fate["decided"], fate["proven"], fate["outcome"], fate["command_id"]) for fate in ended.objects}
    assert fates == {
        "campus": (True, True, "confirmed", commands["campus"].id),
        "annex": (True, False, "refused: 404 Invalid-Request", commands["annex"].id),
        "third": (False, False, "acknowledged", commands["third"].id),
    }
    assert ended.status == 1
    assert "1 session not decided after 8 s" in ended.err
    orders = [record for record in await records_of(configuration, ACCOUNTING) if kind_of(record) == "operator"]
    assert {record.partition for record in orders} == {partition_of("alice", PARTITIONS)}
    decoded = [decoder(OperatorCommand).decode(record.value) for record in orders]
    assert {(order.who, order.text, order.nas) for order in decoded} == {("tester", "left", nas) for nas in fates}
    assert len({order.id for order in decoded}) == 3


async def test_a_dry_run_shows_whom_it_would_hit_and_writes_nothing(curfew, hand, configuration):
    """5.8: how many it would hit is seen first."""
    await hand.account("Start", "alice", "a-1")
    await hand.account("Start", "bob", "b-1", mac="02-00-5E-10-00-02")
    await hand.work()
    dry = await curfew("kick", "--nas", "campus", "--dry-run", "--json")
    assert (dry.status, {row["acct_session_id"] for row in dry.objects}) == (0, {"a-1", "b-1"})
    plain = await curfew("kick", "--user", "alice", "--dry-run")
    assert (plain.out.splitlines()[1].split()[:3], plain.err) == (["alice", "campus", "a-1"], "1 session would be disconnected.\n")
    assert (await curfew("kick", "--user", "nobody", "--dry-run")).status == 0
    assert [kind_of(record) for record in await records_of(configuration, ACCOUNTING)] == ["accounting"] * 2


async def test_a_kick_of_a_group_hits_its_sessions_only(curfew, hand, configuration):
    """5.8: who is in it by an operator's word."""
    assert (await curfew("groups", "set", "alice", "staff", "guest:daily")).status == 0
    await hand.account("Start", "alice", "a-1")
    await hand.account("Start", "alice", "a-2", nas="annex", mac="02-00-5E-10-00-02")
    await hand.account("Start", "bob", "b-1", nas="third", mac="02-00-5E-10-00-03")
    await hand.work()
    shown = await curfew("kick", "--group", "staff", "--dry-run", "--json")
    assert (shown.status, [(row["nas"], row["identity"]) for row in shown.objects]) == (0, [("annex", "alice"), ("campus", "alice")])
    assert "2 sessions would be disconnected" in shown.err
    kicked = await curfew("kick", "--group", "guest:daily", "--wait", "0", "--json")
    assert {fate["nas"] for fate in kicked.objects} == {"annex", "campus"}
    nobody = await curfew("kick", "--group", "nobody's")
    assert (nobody.status, "no open session" in nobody.err) == (1, True)
    assert [kind_of(record) for record in await records_of(configuration, ACCOUNTING)].count("operator") == 2


async def test_a_kick_of_nobody_or_of_several_is_refused_by_name(curfew, hand, configuration):
    """5.8; INTERFACES: exit status 2 for wrong usage."""
    await hand.account("Start", "alice", "same")
    await hand.account("Start", "bob", "same", nas="annex", mac="02-00-5E-10-00-02")
    await hand.work()
    nobody = await curfew("kick", "--user", "nobody")
    assert (nobody.status, "no open session" in nobody.err) == (1, True)
    ambiguous = await curfew("kick", "--session", "same")
    assert (ambiguous.status, "annex/same, campus/same" in ambiguous.err) == (2, True)
    for wrong in ([], ["--user", "alice", "--nas", "campus"]):
        assert (await curfew("kick", *wrong)).status == 2
    one = await curfew("kick", "--session", "campus/same", "--wait", "0", "--json")
    assert (one.status, [(fate["nas"], fate["outcome"]) for fate in one.objects]) == (0, [("campus", "not yet decided")])
    assert [kind_of(record) for record in await records_of(configuration, ACCOUNTING)].count("operator") == 1


async def test_a_session_that_ended_meanwhile_is_told(curfew, hand):
    """5.7: an order that cannot be carried out has a named end."""
    await hand.account("Start", "alice", "a-1")
    await hand.work()
    await hand.account("Stop", "alice", "a-1", session_time_s=1)  # in the journal before the order, and not yet applied
    kicking = asyncio.create_task(curfew("kick", "--session", "a-1"))

    async def order():
        return [record for record in await records_of(hand.configuration, ACCOUNTING) if kind_of(record) == "operator"]

    await appears(order)
    assert await hand.work() == []
    ended = await kicking
    assert (ended.status, "not carried out: no open session" in ended.out) == (1, True)


async def test_on_a_terminal_a_kick_asks_first_and_sessions_draws_a_table(curfew, hand, configuration):
    """5.8, INTERFACES `kick`: asks on a terminal; rich tables where a person looks."""
    await hand.account("Start", "al[b]ice", "a-1")
    await hand.work()
    for answer, orders in ((b"n\n", 0), (b"y\n", 1)):
        status, said = await curfew.on_a_terminal("kick", "--user", "al[b]ice", "--wait", "0", answer=answer)
        assert (status, "Disconnect 1 session? [y/N]" in said) == (1 - orders, True), said
        assert [kind_of(record) for record in await records_of(configuration, ACCOUNTING)].count("operator") == orders
    status, said = await curfew.on_a_terminal("sessions")
    assert (status, "al[b]ice" in said, "───" in said) == (0, True, True), said


# -- explain --------------------------------------------------------------------------------------------------------------------------


async def test_explain_tells_the_record_the_rule_the_version_and_what_followed(curfew, hand, configuration, tmp_path):
    """4.9: every decision names the policy version, its reason and the records it rests on."""
    (tmp_path / "policy.toml").write_text(POLICY_FILE)
    await curfew("policy", "apply", str(tmp_path / "policy.toml"))
    (version,) = await records_of(configuration, POLICY)
    for partition in range(PARTITIONS):
        await hand.write("policy", None, version.value, partition)
    await hand.account("Start", "alice", "a-1")
    await hand.account("Start", "alice", "a-2", mac="02-00-5E-10-00-02")
    (command,) = await hand.work()
    await hand.result(command, "confirmed")
    await hand.work()
    ended = await curfew("explain", command.id, "--json")
    assert ended.status == 0, ended.err
    (found,) = ended.objects
    assert found["record"]["value"]["acct_session_id"] == "a-2"
    assert {event["type"] for event in found["events"]} >= {"session.started", "limit.breached", "disconnect.requested"}
    assert [each["id"] for each in found["commands"]] == [command.id]
    assert [each["outcome"] for each in found["results"]] == ["confirmed"]
    assert (found["policy_version"], found["rule"]["name"], found["rule"]["victim"]) == (1, "one", "oldest")
    named = [(ref.partition, ref.offset) for ref in command.because]
    told = [(each["partition"], each["offset"]) for each in [found["record"], *found["because"]]]
    assert set(named) <= set(told)
    assert all(each["found"] for each in found["because"])
    plain = await curfew("explain", command.id)
    assert plain.out.splitlines()[0] == f"decision {command.id}"
    for words in ("event limit.breached", "command limit (this one)", "result confirmed", "decided by policy version 1"):
        assert words in plain.out, plain.out


async def test_explain_of_what_is_not_there_says_so(curfew, configuration):
    """INTERFACES: 1 it failed and says why, 2 wrong usage."""
    gone = await curfew("explain", "0-999-0-alice")
    assert (gone.status, "the record is not there (expired, or never written)" in gone.out) == (1, True)
    assert (await curfew("explain", "99-0-0-alice")).status == 1
    assert (await curfew("explain", "what")).status == 2


# -- Kafka away -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["topics list", "sessions", "policy history", "watch", "explain 0-0-0-a"])
async def test_without_kafka_one_sentence_names_the_address_and_the_remedy(command, tmp_path):
    """INTERFACES: exit status 1, says why; no traceback, no log lines of a library."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"  # bound and not listening: nobody else gets it
        (tmp_path / "curfew.toml").write_text(f'[kafka]\nbootstrap_servers = "{address}"\n')
        ended = await Curfew(tmp_path / "curfew.toml")(*command.split())
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith(f"Error: Kafka at {address} cannot be reached: start it (`curfew up`")


async def test_a_kafka_that_does_not_answer_is_given_up_after_ten_seconds(tmp_path):
    """As above: a frozen broker holds nobody for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "curfew.toml").write_text(f'[kafka]\nbootstrap_servers = "{address}"\n')
        ended = await Curfew(tmp_path / "curfew.toml")("sessions")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"Error: Kafka at {address} ")
    assert ended.err.count("\n") == 1, ended.err


# -- groups, quotas, and a policy that is enforced -----------------------------------------------------------------------------------------

QUOTA_FILE = """
[[quota]]
name = "daily"
applies_to = "user"
octets = "1 GiB"
per = "day"
[[limit]]
name = "staff-one"
applies_to = "user-in-group"
group = "staff"
max_sessions = 1
on_change = "enforce"
"""


async def in_force(curfew, hand, configuration, file):
    """Publish a policy file and have the hand take it; the disconnect commands that follow."""
    ended = await curfew("policy", "apply", str(file))
    assert ended.status == 0, ended.err
    version = (await records_of(configuration, POLICY))[-1]
    for partition in range(PARTITIONS):
        await hand.write("policy", None, version.value, partition)
    return await hand.work()


async def test_groups_are_set_shown_and_counted_in(curfew, hand, configuration, tmp_path):
    """INTERFACES `groups set`, `show`; `sessions` shows in which limits each counts."""
    (tmp_path / "policy.toml").write_text(QUOTA_FILE)
    await in_force(curfew, hand, configuration, tmp_path / "policy.toml")
    said = await curfew("groups", "set", "Alice@example.net", "staff", "night shift", "guest:day")
    assert (said.status, said.out) == (0, "alice: guest:day, night shift, staff\n")
    await hand.account("Start", "alice", "a-1")
    await hand.work()
    assert (await curfew("groups", "show", "ALICE", "--json")).objects == [
        {"identity": "alice", "groups": ["guest:day", "night shift", "staff"], "told_by_sessions": {}}
    ]
    assert [row["counts_in"] for row in (await curfew("sessions", "--json")).objects] == [["staff-one in staff"]]
    assert "staff-one in staff" in (await curfew("sessions", "--user", "alice")).out
    await curfew("groups", "set", "alice")
    await hand.work()
    assert (await curfew("groups", "show", "alice")).out == "alice: in no group\n"
    wrong = await curfew("groups", "set", "anonymous", "staff")
    assert (wrong.status, wrong.err) == (2, "Error: 'anonymous' is nobody's name ([identity] not_an_identity)\n")


async def test_a_hundred_thousand_memberships_are_imported_and_a_file_with_a_mistake_in_no_part(curfew, configuration, tmp_path):
    """Issue C "Memberships": how long it took is told and not judged here."""
    file = tmp_path / "people.csv"
    file.write_text("user,group\n" + "".join(f"user{n},g{n % 100},g{n % 7}\n" for n in range(100_000)))
    ended = await curfew("groups", "import", str(file), "--json")
    assert ended.status == 0, ended.err
    (told,) = ended.objects
    assert told["users"] == 100_000
    assert len(await records_of(configuration, ACCOUNTING)) == 100_000
    file.write_text("alice,staff\n,staff\nbob,\x01\n")
    wrong = await curfew("groups", "import", str(file))
    assert wrong.status == 2
    assert [line.split(": ", 2)[1] for line in wrong.err.splitlines()] == [str(file), "line 3"]
    assert len(await records_of(configuration, ACCOUNTING)) == 100_000


async def test_a_quota_is_shown_topped_up_and_begun_anew(curfew, hand, configuration, tmp_path):
    """4.6."""
    (tmp_path / "policy.toml").write_text(QUOTA_FILE)
    await in_force(curfew, hand, configuration, tmp_path / "policy.toml")
    await hand.account("Start", "alice", "a-1")
    await hand.account("Interim-Update", "alice", "a-1", session_time_s=1, output_octets=2**29)
    await hand.work()

    async def window():
        (row,) = (await curfew("quota", "show", "alice", "--json")).objects
        return row["rule"], row["used"], row["extra"]

    assert await window() == ("daily", 2**29, 0)
    assert "512.0 MiB  1.0 GiB" in (await curfew("quota", "show", "alice")).out
    assert (await curfew("quota", "topup", "alice", "daily", "1 GiB", "--reason", "paid")).status == 0
    await hand.work()
    assert await window() == ("daily", 2**29, 2**30)
    assert (await curfew("quota", "reset", "alice", "daily")).status == 0
    await hand.work()
    assert await window() == ("daily", 0, 2**30)
    assert (await curfew("quota", "topup", "alice", "daily", "1 h")).status == 2
    assert (await curfew("quota", "reset", "alice", "weekly")).status == 2


async def test_a_policy_says_whom_it_would_hit_before_it_is_published_and_the_way_back_is_a_version(curfew, hand, configuration, tmp_path):
    """4.9: the number that it would hit is shown before it is applied; going back is publishing the old one again."""
    (first := tmp_path / "first.toml").write_text(POLICY_FILE.replace("max_sessions = 1", "max_sessions = 9"))
    await in_force(curfew, hand, configuration, first)
    for number in range(3):
        await hand.account("Start", "alice", f"a-{number}", mac=f"02-00-5E-10-00-0{number}")
    await hand.work()
    (strict := tmp_path / "strict.toml").write_text(POLICY_FILE + 'on_change = "enforce"\n')
    shown = await curfew("policy", "apply", str(strict), "--dry-run")
    assert (shown.status, shown.err) == (0, '"one" is enforced at once: it would disconnect 2 sessions of 1 user.\n')
    assert (await curfew("policy", "apply", str(strict), "--dry-run", "--json")).objects == [{"would_disconnect": {"one": 2}}]
    assert len(await records_of(configuration, POLICY)) == 1
    commands = await in_force(curfew, hand, configuration, strict)
    assert [command.session["acct_session_id"] for command in commands] == ["a-0", "a-1"]
    back = await curfew("policy", "apply", "--version", "1")
    assert "version 3 is published." in back.err
    assert (await curfew("policy", "apply", "--version", "9")).status == 2
    assert (await curfew("policy", "apply")).status == 2
