"""Real probes on a segment of its own: who is there answers ARP and neighbour solicitation, who is not does not (3.4)."""

import asyncio
import secrets
import subprocess
import time
from collections.abc import Iterator
from typing import Self

import pytest

from agents.prober import Interface
from schemas.sighting import Probe, Sighting
from streams.asking import Asking, Seen

pytestmark = pytest.mark.rig

MAC, OTHER_MAC = "02:aa:00:00:00:07", "02:ff:00:00:00:09"
ADDRESS, ADDRESS6 = "192.0.2.7", "2001:db8::7"
WITHIN_S = 30.0


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
