"""The parts as `curfew ingest`, `curfew worker` and `curfew kicker` start them, from a packet to a proven kick."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from agents.broker import pick_free_port
from streams.radius.simulated import build_accounting_request, build_disconnect_reply, parse_disconnect_request
from tests.support.curfew import Curfew

ACCOUNTING_SECRET, DISCONNECT_SECRET = b"testing123", b"testing456"
PARTS = ("ingest", "worker", "kicker")
WITHIN_S = 40
START, STOP = 1, 2

pytestmark = pytest.mark.slow


class Nas(asyncio.DatagramProtocol):
    """A NAS on loopback: it sends accounting, answers each Disconnect-Request with ACK, and then says Stop."""

    def __init__(self, accounting_port):
        self.accounting_port = accounting_port
        self.answers = asyncio.Queue()
        self.sessions = {}
        self.kicked = []
        self._identifier = 0

    async def open(self):
        loop = asyncio.get_running_loop()
        self.client, _ = await loop.create_datagram_endpoint(
            lambda: _Answers(self.answers), remote_addr=("127.0.0.1", self.accounting_port), local_addr=("127.0.0.1", 0)
        )
        self.server, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        return self.server.get_extra_info("sockname")[1]

    def close(self):
        self.client.close()
        self.server.close()

    def datagram_received(self, data, address):
        _, fields = parse_disconnect_request(data, DISCONNECT_SECRET)
        self.server.sendto(build_disconnect_reply(data, DISCONNECT_SECRET, ack=True, error_cause=None), address)
        session = fields["acct_session_id"]
        if session not in self.kicked:
            self.kicked.append(session)
            self._send(STOP, self.sessions[session], session)

    async def start(self, user, session):
        """Say Start until it is answered, as a NAS does."""
        self.sessions[session] = user
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            self._send(START, user, session)
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self.answers.get(), 1)
        raise AssertionError("no answer from the ingest")

    def _send(self, status, user, session):
        self._identifier = (self._identifier + 1) % 256
        attributes = [(40, status.to_bytes(4)), (1, user.encode()), (44, session.encode()), (31, b"02-00-5E-10-00-01")]
        self.client.sendto(build_accounting_request(identifier=self._identifier, secret=ACCOUNTING_SECRET, attributes=attributes))


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, queue):
        self.queue = queue

    def datagram_received(self, data, address):
        self.queue.put_nowait(data)

    def error_received(self, error):
        """Nobody listens yet (ICMP); a NAS sends again."""


@pytest.fixture
async def nas():
    nas = Nas(pick_free_port())
    nas.disconnect_port = await nas.open()
    yield nas
    nas.close()


@pytest.fixture
def curfew(kafka, prefix, tmp_path, nas):
    (tmp_path / "curfew.toml").write_text(f"""
[kafka]
bootstrap_servers = "{kafka.bootstrap}"
partitions = 2
topic_prefix = "{prefix}"
[ingest]
listen = ["127.0.0.1:{nas.accounting_port}"]
[worker]
processes = 2
checkpoint_s = 0.1
[kicker]
source = "127.0.0.1"
[http]
listen = ""
[[nas]]
name = "campus"
addresses = ["127.0.0.1/32"]
secret = "{ACCOUNTING_SECRET.decode()}"
disconnect = {{ address = "127.0.0.1", port = {nas.disconnect_port}, secret = "{DISCONNECT_SECRET.decode()}" }}
""")
    (tmp_path / "policy.toml").write_text(
        '[[limit]]\nname = "one"\napplies_to = "user"\nmax_sessions = 1\ncount = "sessions"\nvictim = "oldest"\n'
    )
    return Curfew(tmp_path / "curfew.toml")


@contextlib.asynccontextmanager
async def running(curfew):
    """All three parts; each ends well at SIGTERM."""
    processes = [await curfew.start(part) for part in PARTS]
    talks = [asyncio.create_task(process.communicate()) for process in processes]
    try:
        yield processes
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        ended = await asyncio.wait_for(asyncio.gather(*talks), WITHIN_S)
        print(*(f"{part}: {err.decode()}" for part, (_, err) in zip(PARTS, ended, strict=True)), sep="\n")  # noqa: T201
    for process, (out, err) in zip(processes, ended, strict=True):
        assert (process.returncode, out) == (0, b""), err.decode()
        assert b"Traceback" not in err


async def appears(curfew, arguments, wanted):
    deadline = time.monotonic() + WITHIN_S
    while not wanted(found := await curfew(*arguments)):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)
    return found


async def test_from_a_packet_to_a_proven_kick_through_the_command_alone(curfew, nas, tmp_path):
    """1.1, 4.9, 5.4, 5.8: topics, policy, sessions, a breach, a kick, and why, with several worker processes."""
    assert (await curfew("topics", "create")).status == 0
    async with running(curfew):
        await nas.start("alice", "a-1")
        await nas.start("bob", "b-1")
        found = await appears(curfew, ["sessions", "--json"], lambda ended: len(ended.objects) == 2)
        assert {(row["user_name"], row["acct_session_id"]) for row in found.objects} == {("alice", "a-1"), ("bob", "b-1")}

        applied = await curfew("policy", "apply", str(tmp_path / "policy.toml"), "--json")
        (told,) = applied.objects
        assert (applied.status, told["version"], set(told["in_force"])) == (0, 1, {"0", "1"}), applied

        await nas.start("alice", "a-2")
        watched = await appears(
            curfew,
            ["watch", "--json", "--from-beginning", "--for", "1", "--type", "disconnect.confirmed"],
            lambda ended: ended.objects,
        )
        (confirmed,) = watched.objects
        assert (confirmed["acct_session_id"], nas.kicked) == ("a-1", ["a-1"])
        (why,) = (await curfew("explain", confirmed["command_id"], "--json")).objects
        assert (why["rule"]["name"], why["policy_version"], why["record"]["value"]["acct_session_id"]) == ("one", 1, "a-2")
        assert why["results"][-1]["outcome"] == "confirmed"

        kicked = await curfew("kick", "--user", "BOB", "--reason", "closing time", "--json", "--wait", "20")
        assert (kicked.status, [(fate["outcome"].split()[0], fate["proven"]) for fate in kicked.objects]) == (0, [("confirmed", True)]), (
            kicked
        )
        left = await appears(curfew, ["sessions", "--json"], lambda ended: len(ended.objects) == 1)
        assert left.objects[0]["acct_session_id"] == "a-2"
    assert nas.kicked == ["a-1", "b-1"]


async def test_several_processes_of_a_part_share_the_work_and_one_that_dies_is_started_again(curfew, nas):
    """DESIGN: a supervisor starts it again; nothing that was answered is lost."""
    await curfew("topics", "create")
    async with running(curfew) as (_, worker, _):
        await nas.start("alice", "a-1")
        await appears(curfew, ["sessions", "--json"], lambda ended: len(ended.objects) == 1)
        children = children_of(worker.pid)
        assert len(children) == 2
        os.kill(children[0], signal.SIGKILL)
        await nas.start("bob", "b-1")
        await nas.start("carol", "c-1")
        await appears(curfew, ["sessions", "--json"], lambda ended: len(ended.objects) == 3)


def children_of(pid):
    """Processes started by the main thread of another one."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
