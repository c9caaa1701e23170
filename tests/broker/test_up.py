"""`curfew up`: everything starts, tells its story, survives its parts' deaths, and leaves nothing behind (INTERFACES "The command")."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from agents.broker import pick_free_port
from agents.settings import load_settings
from agents.supervise import Child, Part
from agents.topic_reader import reading
from schemas.codec import loads
from schemas.topics import EVENTS, RESULTS
from tests.support.curfew import Curfew

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 90
DEADLINE_S = 120
LINES_MAX = 10_000


def configuration(directory, bootstrap, prefix):
    """The demonstration's, on ports of its own; without `bootstrap` with a Kafka of its own."""
    text = (ROOT / "deploy/demo/curfew.toml").read_text()
    text = text.replace("127.0.0.1:1813", f"127.0.0.1:{pick_free_port()}")
    text = text.replace("127.0.0.1:8181", f"127.0.0.1:{pick_free_port()}")
    text = text.replace("port = 9092", f"port = {pick_free_port()}").replace("../../var/demo/kafka", "kafka")
    for address in ("127.0.0.2", "127.0.0.3"):
        text = text.replace(f'address = "{address}", port = 3799', f'address = "{address}", port = {pick_free_port(address)}')
    text += f'\n[kafka]\npartitions = 3\ntopic_prefix = "{prefix}"\n'
    text += f'bootstrap_servers = "{bootstrap}"\n' if bootstrap else ""
    path = directory / "curfew.toml"
    path.write_text(text)
    return path


class Up:
    """A `curfew up` that runs: no terminal, standard input empty, in a session of its own."""

    def __init__(self, config, process):
        self.config = config
        self.configuration = load_settings(config, {})
        self.process = process
        self.lines = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        async for line in self.process.stdout:
            if len(self.lines) < LINES_MAX:
                self.lines.append(line.decode().rstrip())

    @property
    def said(self):
        return "\n".join(self.lines)

    async def get(self, path):
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.configuration.http.listen}{path}") as response:
            return response.status, await response.text()

    async def readyz(self):
        with contextlib.suppress(aiohttp.ClientError):
            return (await self.get("/readyz"))[0]
        return None

    async def ready(self):
        await self.until(self.readyz, 200, READY_WITHIN_S)

    async def line(self, pattern, within_s=DEADLINE_S):
        """The first line that fits, now or soon."""
        deadline = time.monotonic() + within_s
        while not (found := [line for line in self.lines if re.search(pattern, line)]):
            assert self.process.returncode is None or not self._reading.done(), f"it ended with {self.process.returncode}:\n{self.said}"
            assert time.monotonic() < deadline, f"no line like {pattern!r} within {within_s} s:\n{self.said}"
            await asyncio.sleep(0.05)
        return found[0]

    async def until(self, ask, wanted, within_s=DEADLINE_S):
        deadline = time.monotonic() + within_s
        while (got := await ask()) != wanted:
            assert self.process.returncode is None, f"it ended with {self.process.returncode}:\n{self.said}"
            assert time.monotonic() < deadline, f"{got!r} instead of {wanted!r} after {within_s} s:\n{self.said}"
            await asyncio.sleep(0.1)

    async def end(self, within_s=DEADLINE_S):
        """Wait for its end; the status."""
        status = await asyncio.wait_for(self.process.wait(), within_s)
        await asyncio.wait_for(self._reading, within_s)
        return status

    async def close(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.end()


@pytest.fixture
async def start(tmp_path, prefix):
    """Starts `curfew up`; all that is left of it at the end is killed."""
    started = []

    async def begin(*arguments, bootstrap="", config=None, environment=None):
        config = config or configuration(tmp_path, bootstrap, prefix)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agents.cli", "up", "--config", str(config), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if not name.startswith(("CURFEW_", "KAFKA_"))}
            | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
            | (environment or {}),
            start_new_session=True,
        )
        started.append(Up(config, process))
        return started[-1]

    yield begin
    for each in started:
        await each.close()


def children_of(pid):
    """Command lines of a process's children, by pid."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found[int(child)] = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return found


def part_pid(up, part):
    """The pid of the child that runs a part; None while there is none."""
    return next((pid for pid, words in children_of(up.process.pid).items() if "agents.child" in words and part in words), None)


def is_gone(pid):
    """Whether a process has ended; a zombie that waits for whoever adopted it has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


async def all_gone(pids, within_s=DEADLINE_S):
    deadline = time.monotonic() + within_s
    while left := [pid for pid in pids if not is_gone(pid)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        await asyncio.sleep(0.05)


async def records(up, topic):
    async with reading(up.configuration, topic) as reader:
        return [loads(record.value) async for record in reader.to_end()]


async def test_the_demonstration_tells_its_story_and_stops_in_order_on_ctrl_c(kafka, start):
    up = await start("--demo", "--policy", str(ROOT / "deploy/demo/policy.toml"), bootstrap=kafka.bootstrap)
    await up.ready()
    children = children_of(up.process.pid)
    await up.line("That was the story")
    events, results = await records(up, EVENTS), await records(up, RESULTS)

    assert {event["user_name"] for event in events if event["type"] == "session.started"} >= {"alice", "bob", "carol"}
    (breach,) = [event for event in events if event["type"] == "limit.breached"]
    assert (breach["identity"], breach["rule"], breach["current"], breach["max"]) == ("bob", "two-devices", 2, 2)
    (stale,) = [event for event in events if event["type"] == "session.stale"]
    assert (stale["identity"], stale["nas"]) == ("carol", "campus")
    finals = {(result["identity"], result["outcome"], result.get("error_cause")) for result in results if result["final"]}
    assert finals == {("bob", "confirmed", None), ("carol", "gone", 503)}

    request = await up.line(r"Disconnect-Request for bob's phone, his oldest session at campus: [0-9.]+ ms after the Start was sent")
    print(request)  # noqa: T201 - the figure is wanted in the report
    await up.line(r"the disconnect is confirmed [0-9.]+ ms after the Start was sent")
    await up.line(r"carol's phone is found dead [0-9.]+ s later")
    assert "did not come" not in up.said
    assert "\x1b" not in up.said  # no colours where nobody looks

    status, metrics = await up.get("/metrics")
    assert status == 200
    assert 'curfew_disconnect_outcomes_total{outcome="confirmed"} 1.0' in metrics
    assert "curfew_records_applied_total" in metrics

    os.killpg(up.process.pid, signal.SIGINT)  # as a terminal does it
    assert await up.end() == 0
    assert up.lines[-1] == "Stopped."
    await all_gone(children, 0)
    assert "killed" not in up.said
    assert "Traceback" not in up.said, up.said


async def test_a_part_that_dies_is_started_again(kafka, start):
    up = await start("--policy", str(ROOT / "deploy/demo/policy.toml"), bootstrap=kafka.bootstrap)
    await up.ready()
    for part in ("ingest", "worker", "kicker", "projector"):
        before = part_pid(up, part)
        os.kill(before, signal.SIGKILL)
        await up.line(rf"^The {part} was ended by SIGKILL.*; it is started again in 0.5 s$")
        assert await up.readyz() == 503
        await up.ready()
        assert part_pid(up, part) not in (None, before)

    children = children_of(up.process.pid)
    assert len(children) == 4
    assert (await up.get("/v1/sessions"))[0] == 200
    up.process.send_signal(signal.SIGTERM)
    assert await up.end() == 0
    await all_gone(children, 0)
    assert "Traceback" not in up.said, up.said


async def test_with_a_kafka_of_its_own_nothing_is_left_behind_by_a_stop_or_by_a_kill(start):
    up = await start("--run-for", "600")
    await up.ready()
    children = children_of(up.process.pid)
    assert len(children) == 5
    kafka = next(pid for pid, words in children.items() if "kafka.Kafka" in words)
    os.kill(kafka, signal.SIGKILL)
    await up.line("^Kafka has ended by itself; it is started again$")
    await up.until(lambda: asyncio.to_thread(lambda: len(children_of(up.process.pid))), 5)
    await up.ready()

    children = children_of(up.process.pid)
    up.process.kill()
    await up.end()
    await all_gone(children)

    again = await start(config=up.config)
    await again.ready()
    children = children_of(again.process.pid)
    again.process.send_signal(signal.SIGTERM)
    assert await again.end() == 0
    await all_gone(children, 0)
    assert "Traceback" not in again.said


async def test_it_runs_for_as_long_as_it_was_told(kafka, start):
    began = time.monotonic()
    up = await start("--run-for", "5", bootstrap=kafka.bootstrap)

    assert await up.end() == 0
    assert time.monotonic() - began >= 5
    assert up.lines[-1] == "Stopped."


async def test_a_second_signal_ends_parts_that_do_not_stop(kafka, start):
    up = await start(bootstrap=kafka.bootstrap)
    await up.ready()
    children = children_of(up.process.pid)
    os.kill(part_pid(up, "worker"), signal.SIGSTOP)
    up.process.send_signal(signal.SIGINT)
    await up.line("^Stopping after")
    up.process.send_signal(signal.SIGINT)

    assert await up.end() == 0, up.lines
    await all_gone(children, 0)


async def test_a_part_that_has_ended_before_anybody_heard_of_it_is_told_to_end_all_the_same(tmp_path):
    said = []
    child = Child(Part("worker", ("worker",)), tmp_path, {}, said.append, lambda: None)
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
    child.pid = process.pid

    child.stop()
    assert said == []


async def test_a_part_that_never_comes_up_ends_the_whole_with_its_last_words(kafka, start, tmp_path):
    up = await start("--run-for", "60", bootstrap=kafka.bootstrap, environment={"PYTHONPATH": f"{_broken_parts(tmp_path)}:{ROOT}"})

    assert await up.end() == 1
    assert up.lines[-1] == "Error: The kicker did not come up: SystemExit: no kicker today"
    assert len([line for line in up.lines if line.startswith("The kicker ended with status 1: SystemExit: no kicker today")]) == 2


async def test_a_simulated_network_gets_its_answers_once_sighup_has_made_its_nases_known(kafka, start, tmp_path):
    up = await start("--policy", str(ROOT / "deploy/demo/policy.toml"), bootstrap=kafka.bootstrap)
    await up.ready()
    children = children_of(up.process.pid)
    curfew = Curfew(up.config)
    network = ("--nas", "2", "--source", "127.0.0.11", "--spread", "--disconnect-port", str(pick_free_port("127.0.0.11")))
    unknown = await curfew("simulate", *network, "--users", "0", "--for", "0", "--json")
    assert (unknown.objects[0]["records sent"], unknown.objects[0]["answered"]) == (4, 0)

    tables = await curfew("simulate", *network, "--print-nas")
    up.config.write_text(up.config.read_text() + "\n" + tables.out)
    up.process.send_signal(signal.SIGHUP)
    known = await curfew("simulate", *network, "--users", "2", "--devices", "9", "--rate", "10", "--for", "5", "--json")
    summary = known.objects[0]
    assert summary["answered"] == summary["records sent"] > 20
    assert summary["given up"] == summary["still waiting"] == summary["answers refused"] == 0
    assert summary["  Disconnect-ACK"] == summary["Disconnect-Requests"] > 0
    assert summary["  Stop"] >= summary["  Disconnect-ACK"]
    assert children_of(up.process.pid) == children


def _broken_parts(directory):
    """A place before the checkout in which the kicker cannot be imported."""
    code = "import sys\nif 'kicker' in sys.argv:\n    sys.exit('no kicker today')\n"
    (directory / "shadow").mkdir()
    (directory / "shadow/sitecustomize.py").write_text(code)
    return directory / "shadow"


@pytest.mark.parametrize(
    ("kind", "setting", "sentence"),
    [
        (socket.SOCK_DGRAM, "CURFEW_INGEST_LISTEN", "Accounting cannot be received at 127.0.0.1:{port}: Address already in use. Stop that"),
        (socket.SOCK_STREAM, "CURFEW_HTTP_LISTEN", "The HTTP address 127.0.0.1:{port} is taken by another program. Give [http] listen"),
        (socket.SOCK_STREAM, "CURFEW_BROKER_PORT", "Port {port} on 127.0.0.1 is taken by another program. Stop that program"),
    ],
)
async def test_a_taken_port_is_one_sentence_with_a_remedy(start, kind, setting, sentence):
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        up = await start(environment={setting: str(port) if setting.endswith("PORT") else f"127.0.0.1:{port}"})

        assert await up.end() == 1
        said = [line for line in up.lines if not line.startswith("Kafka is starting")]
        assert len(said) == 1
        assert said[0].startswith("Error: " + sentence.format(port=port))


async def test_a_wrong_configuration_or_policy_is_exit_status_2_before_anything_starts(start, tmp_path):
    wrong = tmp_path / "policy.toml"
    wrong.write_text("[[limit]]\nname = 7\n")
    up = await start("--policy", str(wrong))

    assert await up.end() == 2
    assert f"{wrong}:2:" in up.said
    assert "Kafka" not in up.said
