"""Real probes on a segment of its own: who is there answers ARP and neighbour solicitation, who is not does not (3.4)."""

import asyncio
import contextlib
import ipaddress
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from agents.prober import Interface
from schemas.sighting import Probe, Sighting
from schemas.topics import ACCOUNTING, PROBES, REJECTED
from streams.asking import Asking, Seen
from tests.support.kafka import Kafka
from tests.support.nas import ACCT_OUTPUT_OCTETS, ACCT_SESSION_ID, CALLING_STATION_ID, USER_NAME, Answer, Attribute, SmallNas
from tests.support.product import Nas, Product, running

pytestmark = pytest.mark.rig

MAC, OTHER_MAC = "02:aa:00:00:00:07", "02:ff:00:00:00:09"
ADDRESS, ADDRESS6 = "192.0.2.7", "2001:db8::7"
EVES_ADDRESS6 = "2001:db8::8"
WITHIN_S = 60.0
FRAMED_IP_ADDRESS, FRAMED_IPV6_PREFIX = 8, 97
TICK_S = 0.5
DEATH = ["session.stale", "session.ended", "disconnect.requested"]
OFFLINE_DETECT = """
[[limit]]
name = "one-device"
applies_to = "user"
max_sessions = 1
[[liveness]]
rule = "offline-detect"
length_s = 6
probe = "arp"
"""


class Segment:
    """A veth pair: the prober's end here, a host with one IPv4 and one IPv6 address in a namespace.

    Attributes:
        interface: the prober's end.
    """

    def __init__(self) -> None:
        number = secrets.token_hex(3)
        self.interface, self._namespace = f"cf{number}p", f"cf{number}n"

    def __enter__(self) -> Self:
        self._run("netns", "add", self._namespace)
        self._run("link", "add", self.interface, "type", "veth", "peer", "name", "host", "netns", self._namespace)
        self._run("link", "set", self.interface, "addrgenmode", "none", "up")
        self._run("addr", "add", "fe80::fe/64", "dev", self.interface, "nodad")
        self.inside("link", "set", "host", "address", MAC, "up")
        self.inside("addr", "add", f"{ADDRESS}/24", "dev", "host")
        self.inside("addr", "add", f"{ADDRESS6}/64", "dev", "host", "nodad")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "link", "del", self.interface], check=False)
        subprocess.run(["ip", "netns", "del", self._namespace], check=False)

    def inside(self, *arguments: str) -> None:
        """`ip` in the host's namespace."""
        self._run("-n", self._namespace, *arguments)

    def _run(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)


class Prober:
    """The prober's two halves on one interface, without Kafka."""

    def __init__(self, interface: str) -> None:
        self.seen: list[Sighting] = []
        self.asking = Asking()
        self._interface = Interface(interface, self._take)

    def _take(self, interface: str, seen: Seen) -> None:
        self.seen += [sighting for _, sighting in self.asking.answered(interface, seen, self._now_ms())]

    async def asks(self, address: str, mac: str | None = MAC) -> Sighting | None:
        """Ask, and wait for the answer or until the question is given up."""
        self.seen.clear()
        probe = Probe(id="0-1-0-bob", kind="arp", nas="ap1", identity="bob", acct_session_id="s1", addresses=[address], mac=mac, asked_ms=0)
        self.asking.ask(probe, self._interface.name, self._now_ms())
        deadline = time.monotonic() + WITHIN_S
        while not self.seen and not self.asking.given_up:
            assert time.monotonic() < deadline
            for question in self.asking.wake(self._now_ms()):
                self._interface.ask(question)
            await asyncio.sleep(0.02)
        self.asking.given_up = 0
        return self.seen[0] if self.seen else None

    def close(self) -> None:
        self._interface.close()

    def _now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


@pytest.fixture
def segment() -> Iterator[Segment]:
    with Segment() as made:
        yield made


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6], ids=["arp", "neighbour-solicitation"])
async def test_a_host_that_is_there_answers_and_one_that_left_does_not(segment: Segment, address: str) -> None:
    """3.4."""
    prober = Prober(segment.interface)
    try:
        answer = await prober.asks(address)
        assert answer is not None
        assert (answer.mac, answer.address, answer.probe_id, answer.nas, answer.acct_session_id) == (MAC, address, "0-1-0-bob", "ap1", "s1")
        segment.inside("link", "set", "host", "down")
        assert await prober.asks(address) is None
    finally:
        prober.close()


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6], ids=["arp", "neighbour-solicitation"])
async def test_an_address_that_another_device_took_over_does_not_answer_for_the_first(segment: Segment, address: str) -> None:
    """3.4: by ARP the device itself is asked, and is silent; where another MAC answers, the sighting says whose it is."""
    prober = Prober(segment.interface)
    try:
        segment.inside("link", "set", "host", "down")
        segment.inside("link", "set", "host", "address", OTHER_MAC, "up")
        if ":" in address:
            segment.inside("addr", "add", f"{ADDRESS6}/64", "dev", "host", "nodad")
        answer = await prober.asks(address)
        assert (None if answer is None else answer.mac) == (OTHER_MAC if ":" in address else None)
        unknown = await prober.asks(address, mac=None)
        assert unknown is not None
        assert unknown.mac == OTHER_MAC
    finally:
        prober.close()


async def test_a_device_lives_by_its_answers_and_its_address_under_another_mac_does_not(
    kafka: Kafka, prefix: str, tmp_path: Path, segment: Segment
) -> None:
    """3.2, 3.4, 3.7: Kafka, ingest, worker, prober and kicker; L = 6 s. Bob's host answers until its link is down.

    Eve's device is gone, and Bob's answers at her address: that is no sign of life of hers. A third client is the NAS's voice.
    """
    segment.inside("addr", "add", f"{EVES_ADDRESS6}/64", "dev", "host", "nodad")
    nas = SmallNas("ap-7", b"accounting-7", b"disconnect-7", lambda _: Answer(ack=False, error_cause=503))
    known = Nas("ap-7", "accounting-7", nas.dae_port, "disconnect-7", identifier="ap-7")
    table = f'interfaces = [{{ nas = "*", interface = "{segment.interface}" }}]'
    made = Product(tmp_path, kafka.bootstrap, prefix, [known], tick_s=TICK_S, prober=table)
    async with running(made, OFFLINE_DETECT) as product, nas, talking(nas, product):
        nas.account("Start", client("bob", "s-bob", MAC, (FRAMED_IP_ADDRESS, ipaddress.IPv4Address(ADDRESS).packed)))
        prefix6 = bytes((0, 128)) + ipaddress.IPv6Address(EVES_ADDRESS6).packed
        nas.account("Start", client("eve", "s-eve", OTHER_MAC, (FRAMED_IPV6_PREFIX, prefix6)))
        (eves,) = await product.wait_for_results(1, within_s=90)
        assert (eves["acct_session_id"], eves["outcome"]) == ("s-eve", "gone")
        assert told(await product.events(), "eve")[1:] == ["session.suspect", *DEATH]

        assert "session.stale" not in told(await product.events(), "bob")
        assert "session.updated" in told(await product.events(), "bob")
        down_ms = time.time() * 1000
        segment.inside("link", "set", "host", "down")
        results = await product.wait_for_results(2, within_s=90)
        assert {(result["acct_session_id"], result["outcome"]) for result in results} == {("s-eve", "gone"), ("s-bob", "gone")}
        nas.account("Start", client("bob", "s-bobs-next", "02:aa:00:00:00:99"))
        await product.wait_for_events(4, "session.started")  # the voice's too

        events = await product.events()
        assert told(events, "bob")[-6:] == ["session.updated", "session.suspect", *DEATH, "session.started"]
        assert not [event for event in events if event["type"] == "limit.breached"]
        bobs = [event for event in events if event.get("acct_session_id") == "s-bob"]
        seen = [event for event in bobs if event["type"] == "session.updated"]
        assert {event["text"] for event in seen} == {"seen by prober"}
        at_ms = {event["type"]: event["time_ms"] - seen[-1]["time_ms"] for event in bobs}
        for kind, least_ms in (("session.suspect", 2000), ("session.stale", 6000)):
            assert least_ms - 1000 * TICK_S <= at_ms[kind] < least_ms + 20_000, at_ms
        (ended,) = [event for event in bobs if event["type"] == "session.ended"]
        assert ended["said_by"] == "stale"
        assert ended["ended_ms"] < down_ms + 1000

        probes = [stored.value for stored in await product.records(PROBES)]
        assert {probe["kind"] for probe in probes} == {"arp"}
        assert [probe.get("nth", 1) for probe in probes if probe["identity"] == "bob"][-2:] == [1, 2]
        sightings = [one for stored in await product.records(ACCOUNTING) if stored.kind == "sighting" for one in stored.value["seen"]]
        assert {(one["acct_session_id"], one["mac"], one["by"]) for one in sightings} == {
            ("s-bob", MAC, "prober"),
            ("s-eve", MAC, "prober"),
        }
        assert {stored.value["reason"] for stored in await product.records(REJECTED)} == {"sighting-of-another"}
        assert {command["reason"] for command in await product.commands()} == {"stale"}


def told(events: list[Any], identity: str) -> list[str]:
    """What was told of someone, up to what the kicker answered."""
    return [event["type"] for event in events if event.get("identity") == identity and event["type"] != "disconnect.confirmed"]


def client(user: str, session: str, mac: str, *more: Attribute) -> list[Attribute]:
    return [(USER_NAME, user.encode()), (ACCT_SESSION_ID, session.encode()), (CALLING_STATION_ID, mac.encode()), *more]


@contextlib.asynccontextmanager
async def talking(nas: SmallNas, product: Product) -> AsyncIterator[None]:
    """A client whose counters grow with each Interim, so that the NAS talks."""
    nas.server = ("127.0.0.1", product.port)

    async def talk() -> None:
        voice, octets = client("voice", "s-voice", "02:aa:00:00:00:01"), 0
        nas.account("Start", voice)
        while True:
            await asyncio.sleep(TICK_S)
            octets += 1000
            nas.account("Interim-Update", [*voice, (ACCT_OUTPUT_OCTETS, octets.to_bytes(4))])

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
