"""A whole product whose every secret is marked, over a Kafka with TLS and SASL: no mark comes out anywhere (docs/security.md).

The parts do their work and fail at it: packets that are not believed, a Redis that is away, NASes that refuse or do not answer, passwords
that are wrong, a configuration that cannot be read again. What they say meanwhile, at the level DEBUG, is searched: the log, the command
lines of the processes, HTTP, the metrics, what people are shown, and every octet of every topic.
"""

import asyncio
import base64
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from agents.broker import pick_free_port
from agents.cli import main
from agents.settings import load_settings
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, POLICY, REJECTED, RESULTS, TABLE, TOPICS
from streams.radius.simulated import build_accounting_request
from tests.support.certificates import authority as new_authority
from tests.support.certificates import vouched_for
from tests.support.curfew import ROOT, Curfew
from tests.support.routeros import Router
from tests.support.secured_kafka import USER, secured_kafka
from tests.support.udp_peer import udp_peer
from tests.support.worker import read_all

MARKS = {
    name: f"Mark-{name}-3c9f"
    for name in (
        *("kafka", "accounting", "disconnect", "routeros", "mqtt", "poll", "portal", "radsec", "token", "redis", "redis-url"),
        *("wrong", "user-password"),
    )
}
WITHIN_S = 120
POLICY_FILE = '[[limit]]\nname = "two"\napplies_to = "user"\nmax_sessions = 2\naction = "report"\n'
NASES = {
    "by-radius": 'disconnect = {{ address = "127.0.0.1", port = {dae}, secret_file = "secrets/disconnect" }}',
    "by-routeros": (
        'disconnect = {{ via = "routeros", address = "127.0.0.1", port = {routeros}, user = "u", password = "{mark_routeros}" }}'
    ),
    "by-mqtt": (
        'disconnect = {{ via = "coova-mqtt", broker = "127.0.0.1:{closed}", user = "u", password_file = "secrets/mqtt", node = "7",'
        ' node_mac = "02-00-00-00-00-07" }}'
    ),
    "by-poll": 'disconnect = {{ via = "poll", node = "hut", secret = "{mark_poll}", poll_interval_s = 1 }}',
    "by-portal": 'disconnect = {{ via = "huawei-portal", address = "127.0.0.1", port = {closed}, secret_file = "secrets/portal" }}',
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """One Kafka with TLS and SASL for this file, on a loop that no test sees."""
    loop, running = asyncio.new_event_loop(), secured_kafka(tmp_path_factory.mktemp("secured"), MARKS["kafka"])
    try:
        yield loop.run_until_complete(running.__aenter__())
        loop.run_until_complete(running.__aexit__(None, None, None))
    finally:
        loop.close()


def disguises(mark):
    """The mark as it may stand in octets that others have packed: as it is, in hexadecimal, in base64 wherever it begins."""
    octets = mark.encode()
    yield octets
    yield octets.hex().encode()
    for before in range(3):
        packed = base64.b64encode(b"\0" * before + octets)
        yield packed[4 if before else 0 :][: len(octets)]


def found(haystacks: Mapping[str, bytes], secrets: Mapping[str, str]):
    """Which secret shows where, with what stands around it."""
    return [
        (where, name, haystack[max(0, haystack.find(one) - 200) :][:400])
        for where, haystack in haystacks.items()
        for name, secret in secrets.items()
        for one in disguises(secret)
        if one in haystack
    ]


def test_a_mark_is_found_however_it_is_packed():
    """The search itself."""
    for haystack in (b"xMark-a", base64.b64encode(b"..Mark-a."), base64.b64encode(b".Mark-a"), b"x".join([b"", b"Mark-a".hex().encode()])):
        assert [name for _, name, _ in found({"here": haystack}, {"a": "Mark-a"})][:1] == ["a"]
    assert found({"here": b"Mark-b"}, {"a": "Mark-a"}) == []


class Installation:
    """The files of one installation, and its ports."""

    def __init__(self, directory, kafka, prefix, ports):
        self.directory, self.config, self.policy = directory, directory / "curfew.toml", directory / "policy.toml"
        self.accounting, self.http, self.pickup = pick_free_port(), pick_free_port(), pick_free_port()
        self.curfew = Curfew(self.config)
        (directory / "secrets").mkdir()
        for name, mark in MARKS.items():
            (directory / "secrets" / name).write_text(f"{mark}\n")
        own = new_authority(directory, "nases")
        shown = vouched_for(own, "curfew", "DNS:curfew.example.net")
        self.key = shown.key.read_text().splitlines()[1]  # a line of the private key's own octets
        nases = "".join(
            f'[[nas]]\nname = "{name}"\naddresses = ["127.0.0.0/8"]\nnas_identifier = "{name}"\nsecret = "{MARKS["accounting"]}"\n'
            + way.format(**ports, mark_routeros=MARKS["routeros"], mark_poll=MARKS["poll"])
            + "\n"
            for name, way in NASES.items()
        )
        self.config.write_text(
            f'[kafka]\nbootstrap_servers = "{kafka.bootstrap}"\ntopic_prefix = "{prefix}"\npartitions = 2\nsecurity_protocol = "SASL_SSL"\n'
            f'sasl_username = "{USER}"\nsasl_password_file = "secrets/kafka"\nssl_cafile = "{kafka.cafile}"\n'
            f'[ingest]\nlisten = ["127.0.0.1:{self.accounting}"]\nradsec = ["127.0.0.1:{pick_free_port()}"]\n'
            f'[tls]\ncertfile = "{shown.certificate}"\nkeyfile = "{shown.key}"\ncafile = "{own.certificate}"\n'
            'secret_file = "secrets/radsec"\n'
            f'[http]\nlisten = "127.0.0.1:{self.http}"\ntoken_file = "secrets/token"\n'
            f'[pickup]\nlisten = "127.0.0.1:{self.pickup}"\n[portal]\nlisten = "127.0.0.1:{pick_free_port()}"\n'
            f'[redis]\nurl = "redis://u:{MARKS["redis-url"]}@127.0.0.1:{pick_free_port()}/0"\npassword_file = "secrets/redis"\n' + nases
        )
        self.policy.write_text(POLICY_FILE)
        self.loaded = load_settings(self.config, {})

    async def up(self):
        """`curfew up`, as talkative as it can be."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agents.cli", "up", "--config", str(self.config), "--policy", str(self.policy)),
            cwd=self.directory,
            env={name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "CURFEW_"))}
            | {"PYTHONPATH": str(ROOT), "CURFEW_LOG_LEVEL": "DEBUG"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=(self.directory / "log").open("wb"),
            stderr=asyncio.subprocess.STDOUT,
        )

    def log(self):
        """What all parts have said so far."""
        return (self.directory / "log").read_text(errors="replace")

    async def said(self, pattern, times=1):
        """Once they have said this so often; fails with their last words, and why they are not ready."""
        deadline = time.monotonic() + WITHIN_S
        while len(re.findall(pattern, self.log())) < times:
            if time.monotonic() > deadline:
                async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.http}/readyz") as answer:
                    waits = await answer.text()
                raise AssertionError(f"not said within {WITHIN_S} s: {pattern}\n{waits}\n{self.log()[-3000:]}")
            await asyncio.sleep(0.1)

    def send(self):
        """Sessions at every NAS, and what is not believed."""
        right, code = MARKS["accounting"].encode(), (40, (1).to_bytes(4))
        packets = [
            build_accounting_request(
                identifier=number,
                secret=right,
                attributes=[
                    *(code, (1, b"ann"), (2, MARKS["user-password"].encode()), (31, b"02-00-00-00-00-0%d" % number)),
                    *((8, bytes((10, 0, 0, number))), (32, name.encode()), (44, b"s-%d" % number)),
                ],
            )
            for number, name in enumerate(NASES, 1)
        ]
        packets.append(build_accounting_request(identifier=90, secret=MARKS["wrong"].encode(), attributes=[code, (1, b"ann")]))
        packets.append(build_accounting_request(identifier=91, secret=right, attributes=[(1, b"ann"), (32, b"by-radius")]))
        packets += [b"\1" + packets[0][1:], b"garbage"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
            for packet in packets:
                nas.sendto(packet, ("127.0.0.1", self.accounting))

    async def http_answers(self):
        """Every door of HTTP, with the token, a wrong one and none: heads and bodies."""
        answers = {}
        headers = {
            "none": {},
            "wrong": {"Authorization": f"Bearer {MARKS['wrong']}"},
            "right": {"Authorization": f"Bearer {MARKS['token']}"},
        }
        places = [f"http://127.0.0.1:{self.http}{path}" for path in ("/readyz", "/metrics", "/v1/sessions", "/v1/users/ann", "/v1/x")]
        places += [f"http://127.0.0.1:{self.http}/v1/admission", f"http://127.0.0.1:{self.pickup}/v1/pickup/hut/state"]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN_S)) as session:
            for who, own in headers.items():
                for place in places:
                    ask = session.post(place, data=b'{"user": 1}', headers=own) if "admission" in place else session.get(place, headers=own)
                    async with ask as answer:
                        answers[f"{who} {place}"] = f"{answer.status} {dict(answer.headers)}".encode() + await answer.read()
        assert {text[:3] for where, text in answers.items() if "admission" in where} == {b"401", b"400"}
        return answers

    async def topics(self):
        """Every octet of every topic."""
        octets = {}
        for topic in TOPICS:
            records = [record for some in (await read_all(self.loaded, topic)).values() for record in some]
            parts = [part for record in records for part in (record.key, record.value, *(value for _, value in record.headers)) if part]
            octets[topic.name] = b"\n".join(parts)
        return octets


def command_lines(pid):
    """Those of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return b"\n".join(Path(f"/proc/{child}/cmdline").read_bytes() for child in (pid, *children)), len(children)


def shown_to_people(home):
    """What the subcommands say; in this process, since each start of one takes its time."""
    wrong = home.directory / "wrong.toml"
    wrong.write_text(home.config.read_text().replace('token_file = "secrets/token"', f'token = ["{MARKS["token"]}"]'))
    right, shown = ("--config", str(home.config)), {}
    for command in (
        ("check", str(home.config), str(wrong)),
        ("ingest", "--config", str(wrong)),
        *(("nas", "test", name, *right) for name in NASES),
        *(("nas", "list", *right), ("sessions", "--json", *right), ("policy", "show", *right), ("topics", "list", *right)),
        ("watch", "--from-beginning", "--for", "1", "--json", *right),
    ):
        done = CliRunner().invoke(main, command, prog_name="curfew")
        assert done.output, command
        shown[" ".join(command)] = f"{done.exit_code}\n{done.output}\n{done.exception!r}".encode()
    assert [status[:1] for status in shown.values()][:2] == [b"2", b"2"]
    return shown


async def test_no_secret_shows_in_logs_topics_answers_metrics_or_command_lines(secured, tmp_path, prefix):
    """DESIGN "Configuration", docs/security.md: also where everything goes wrong."""
    async with (
        Router(user="u", password="another one") as router,
        udp_peer(lambda request: [bytes((42, request[1], 0, 20)) + bytes(16)]) as nas,  # a reply by somebody without the secret
    ):
        home = Installation(tmp_path, secured, prefix, {"dae": nas.port, "routeros": router.port, "closed": pick_free_port()})
        process = await home.up()
        try:
            await home.said("Ready after")
            home.send()
            await home.said("refused a packet", times=3)
            await home.said("Redis does not take the projection")
            kicked = await home.curfew("kick", "--user", "ann", "--yes", "--wait", "10", "--json", "--reason", "test")
            (tmp_path / "secrets" / "token").write_text(f"{MARKS['token']}\n{MARKS['token']}\n")
            process.send_signal(signal.SIGHUP)
            await home.said("the configuration in force stays", times=2)
            (tmp_path / "secrets" / "token").write_text(f"{MARKS['token']}\n")
            lines, children = command_lines(process.pid)
            haystacks = {"command lines": lines, "kick": f"{kicked.out}{kicked.err}".encode()}
            haystacks |= await home.http_answers() | await asyncio.to_thread(shown_to_people, home)
            process.terminate()
            async with asyncio.timeout(WITHIN_S):
                assert await process.wait() == 0
            haystacks |= {"log": home.log().encode()} | await home.topics()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert children >= 4
    assert sorted(fate["nas"] for fate in kicked.objects) == sorted(NASES), kicked.err
    assert nas.heard
    for topic in (ACCOUNTING, EVENTS, TABLE, COMMANDS, RESULTS, POLICY, REJECTED):
        assert haystacks[topic.name], topic.name
    assert found(haystacks, MARKS | {"key": home.key}) == []
