"""The embedded Kafka itself: it starts, answers, keeps what it was given, stops, and refuses with one sentence and a remedy."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from agents import broker
from tests.support.kafka import HEAP_MIB, create_topics, wait_until_answers


@pytest.fixture(autouse=True)
def _needs_java_and_jars(tmp_path):
    """These tests are about the embedded broker, whatever Kafka the others run against."""
    try:
        broker.find_java()
        broker.ensure_jars()
    except broker.BrokerError as error:
        pytest.skip(str(error))


def make_broker(data_dir: Path, port: int | None = None) -> broker.EmbeddedBroker:
    return broker.EmbeddedBroker(data_dir, port or broker.pick_free_port(), HEAP_MIB)


async def read_all(bootstrap: str, topic: str) -> list[bytes]:
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        async with asyncio.timeout(30):
            while len(values) < end:
                values += [record.value for record in (await consumer.getmany(partition, timeout_ms=200)).get(partition, [])]
    return values


async def test_what_was_acknowledged_is_there_after_a_restart_on_another_port(tmp_path):
    """1.1: an answer follows the acknowledgement, so what is acknowledged has to survive the broker."""
    async with make_broker(tmp_path / "data") as first:
        await create_topics(first.bootstrap, {"kept": 1})
        async with AIOKafkaProducer(bootstrap_servers=first.bootstrap, acks="all") as producer:
            await producer.send_and_wait("kept", b"one")
        cluster_id = await broker.ask_cluster_id(first.bootstrap)
    async with make_broker(tmp_path / "data") as second:
        assert second.port != first.port
        assert await broker.ask_cluster_id(second.bootstrap) == cluster_id
        assert await read_all(second.bootstrap, "kept") == [b"one"]


async def test_what_was_acknowledged_survives_a_killed_broker(own_kafka, prefix):
    """1.1: replication factor 1 is durable against a killed process."""
    await create_topics(own_kafka.bootstrap, {f"{prefix}kept": (1, {"retention.ms": "-1"})})
    async with AIOKafkaProducer(bootstrap_servers=own_kafka.bootstrap, acks="all") as producer:
        await producer.send_and_wait(f"{prefix}kept", b"one")
    await own_kafka.kill()
    assert await broker.ask_cluster_id(own_kafka.bootstrap) is None
    await own_kafka.start()
    assert await read_all(own_kafka.bootstrap, f"{prefix}kept") == [b"one"]


async def test_a_stopped_broker_leaves_no_process_no_port_and_no_pid_file(tmp_path):
    async with make_broker(tmp_path / "data") as running:
        pid = running.pid
        assert pid is not None
        assert await broker.status(tmp_path / "data") == broker.BrokerStatus(tmp_path / "data", pid, running.bootstrap, answers=True)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert await broker.ask_cluster_id(running.bootstrap) is None
    assert not (tmp_path / "data/broker.pid").exists()
    assert await broker.status(tmp_path / "data") == broker.BrokerStatus(tmp_path / "data", None, None, answers=False)
    assert await broker.stop(tmp_path / "data") is False


async def test_a_detached_broker_is_found_used_and_left_running(tmp_path):
    port = broker.pick_free_port()
    started = await broker.start_detached(tmp_path / "data", port, HEAP_MIB)
    try:
        assert started.answers
        async with make_broker(tmp_path / "data") as found:
            assert (found.pid, found.port) == (started.pid, port)
        assert await broker.status(tmp_path / "data") == started
    finally:
        assert await broker.stop(tmp_path / "data") is True
    assert (await broker.status(tmp_path / "data")).pid is None


async def test_a_pid_file_that_names_another_process_is_stale_and_harms_nobody(tmp_path):
    (tmp_path / "broker.pid").write_text(f"{os.getpid()} 9092\n")
    assert (await broker.status(tmp_path)).pid is None
    assert await broker.stop(tmp_path) is False
    assert not (tmp_path / "broker.pid").exists()


async def test_an_interrupted_format_is_done_again(tmp_path):
    data_dir = tmp_path / "data"
    async with make_broker(data_dir):
        pass
    cluster_id = (data_dir / "cluster-id").read_text()
    (data_dir / "log").rename(data_dir / "log.new")
    (data_dir / "log.new/bootstrap.checkpoint").unlink(missing_ok=True)
    async with make_broker(data_dir) as again:
        assert await broker.ask_cluster_id(again.bootstrap) == cluster_id.strip()
    assert not (data_dir / "log.new").exists()


async def refusal(data_dir: Path, port: int | None = None) -> broker.BrokerError:
    """Start, expect a refusal, and see that it is two sentences on one line and leaves nothing running."""
    with pytest.raises(broker.BrokerError) as refused:
        await make_broker(data_dir, port).start()
    error = refused.value
    assert "\n" not in str(error)
    assert error.problem.endswith(".")
    assert error.remedy.endswith(".")
    assert (await broker.status(data_dir)).pid is None
    return error


async def test_a_taken_port_is_named_and_nothing_is_formatted(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = await refusal(tmp_path / "data", port)
    assert isinstance(error, broker.PortTakenError)
    assert error.problem == f"Port {port} on 127.0.0.1 is taken by another program."
    assert list((tmp_path / "data").iterdir()) == []


async def test_a_directory_with_other_content_is_foreign_and_stays_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    error = await refusal(tmp_path)
    assert isinstance(error, broker.ForeignDataError)
    assert error.problem == f"{tmp_path} holds data that this embedded Kafka did not make."
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


async def test_a_log_of_another_cluster_is_foreign(tmp_path):
    (tmp_path / "cluster-id").write_text("AAAAAAAAAAAAAAAAAAAAAA\n")
    (tmp_path / "log").mkdir()
    (tmp_path / "log/meta.properties").write_text("version=1\ncluster.id=BBBBBBBBBBBBBBBBBBBBBB\nnode.id=1\n")
    error = await refusal(tmp_path)
    assert isinstance(error, broker.ForeignDataError)
    assert "BBBBBBBBBBBBBBBBBBBBBB" in error.problem


async def test_a_data_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    error = await refusal(tmp_path / "file")
    assert isinstance(error, broker.DataUnusableError)


async def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(broker.shutil, "disk_usage", lambda path: usage._replace(free=(broker.DISK_FREE_MIN_MIB << 20) - 1))
    error = await refusal(tmp_path / "data")
    assert isinstance(error, broker.DiskFullError)
    assert error.problem.startswith(f"Only {broker.DISK_FREE_MIN_MIB - 1} MiB are free")
    assert list((tmp_path / "data").iterdir()) == []


async def test_no_java_on_the_path_is_said_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    error = await refusal(tmp_path / "data")
    assert isinstance(error, broker.JavaMissingError)
    assert error.problem == "The embedded Kafka needs Java, and there is none on the PATH."
    assert "Install Java 17 or newer" in error.remedy


@pytest.mark.parametrize(
    ("line", "kind"), [('openjdk version "11.0.2"', broker.JavaTooOldError), ('java version "1.8.0_202"', broker.JavaTooOldError)]
)
async def test_an_old_java_is_refused_by_its_version(tmp_path, monkeypatch, line, kind):
    java = tmp_path / "bin/java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{line}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert isinstance(await refusal(tmp_path / "data"), kind)


async def test_a_broker_that_dies_while_starting_shows_its_last_words(tmp_path):
    async with make_broker(tmp_path / "data"):
        pass
    for checkpoint in (tmp_path / "data/log").glob("meta.properties"):
        checkpoint.write_text(checkpoint.read_text().replace("node.id=1", "node.id=7"))
    error = await refusal(tmp_path / "data")
    assert isinstance(error, broker.StartFailedError)
    assert "died while starting; its last words: " in error.problem
    assert "node" in error.problem
    assert str(tmp_path / "data/server.log") in error.remedy


def make_checkout(root: Path) -> Path:
    (root / "deploy/kafka").mkdir(parents=True)
    shutil.copy(broker.find_root() / "deploy/kafka/pom.xml", root / "deploy/kafka/pom.xml")
    return root


def test_jars_that_are_there_are_not_fetched_again_until_the_pom_changes(tmp_path, monkeypatch):
    root = make_checkout(tmp_path)
    fetched = []

    def resolve(pom: Path, output: Path) -> None:
        fetched.append(pom)
        output.mkdir()

    monkeypatch.setattr(broker, "_resolve_jars", resolve)
    assert broker.ensure_jars(root) == broker.ensure_jars(root) == broker.jars_dir(root)
    assert len(fetched) == 1
    pom = root / "deploy/kafka/pom.xml"
    pom.write_text(pom.read_text() + "<!-- changed -->")
    broker.ensure_jars(root)
    assert len(fetched) == 2


def test_jars_already_there_need_no_maven(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(broker.ensure_jars().glob("kafka-server-*.jar"))


def test_no_maven_is_said_with_what_to_install(tmp_path, monkeypatch):
    root = make_checkout(tmp_path / "checkout")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(broker.MavenMissingError, match=r"mvn.*Install Maven"):
        broker.ensure_jars(root)
    assert not broker.jars_dir(root).exists()


def test_a_failing_maven_leaves_no_half_a_set_and_says_why(tmp_path, monkeypatch):
    root = make_checkout(tmp_path / "checkout")
    maven = tmp_path / "bin/mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho '[ERROR] no route to host'\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:{os.environ['PATH']}")
    with pytest.raises(broker.JarsUnavailableError, match="no route to host"):
        broker.ensure_jars(root)
    assert not broker.jars_dir(root).exists()


async def test_the_shared_kafka_answers_and_makes_no_topic_by_itself(kafka, prefix):
    assert await wait_until_answers(kafka.bootstrap)
    await create_topics(kafka.bootstrap, {f"{prefix}made": 3})
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap) as consumer:
        assert await consumer.topics() & {f"{prefix}made", f"{prefix}not-made"} == {f"{prefix}made"}


async def test_a_frozen_broker_answers_nobody_until_it_is_resumed(own_kafka, monkeypatch):
    monkeypatch.setattr(broker, "ANSWER_DEADLINE_S", 0.5)
    await own_kafka.pause()
    assert await broker.ask_cluster_id(own_kafka.bootstrap) is None
    await own_kafka.resume()
    assert await wait_until_answers(own_kafka.bootstrap)


async def test_a_broker_whose_owner_is_killed_ends_too(tmp_path):
    """An `up` that is killed leaves no broker behind on the port."""
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv (util-linux): here a broker outlives a killed owner, and the next start uses it")
    data_dir = tmp_path / "data"
    code = (
        "import asyncio; from pathlib import Path; from agents.broker import EmbeddedBroker\n"
        f"asyncio.run(EmbeddedBroker(Path({str(data_dir)!r}), {broker.pick_free_port()}, {HEAP_MIB}).start())\n"
        "print('up', flush=True); import time; time.sleep(600)"
    )
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=broker.find_root())
    assert await owner.stdout.readline() == b"up\n"
    assert (await broker.status(data_dir)).answers
    owner.send_signal(signal.SIGKILL)
    await owner.wait()
    async with asyncio.timeout(30):
        while (await broker.status(data_dir)).pid is not None:  # noqa: ASYNC110 - another process ends: nobody sets an event
            await asyncio.sleep(0.05)
