"""The prober: asks silent devices on their own segment and silent NASes, and writes what answered into the journal (behaviour 3.4).

What lives here: raw sockets, the way of a probe in and of a sighting out. What may not: what a frame says and what is still open
(`streams.asking`), what an answer means (`streams.sightings`).

How a NAS is asked is in `nas_asking`; its answer goes to the partitions that asked, and to the one that tells of this NAS.

Theory of operation. Each interface has an AF_PACKET socket that gets ARP frames only, and an ICMPv6 socket that gets neighbour
advertisements only; both need CAP_NET_RAW. Probes come from `presence.probes` by a consumer group of its own; a probe that lay there for
longer than `PROBE_AGE_MS_MAX` is not asked any more, and one that is lost with a process is one question less: the rule counts on. Answers
go into the journal at least once, and one that comes late or twice is worth nothing there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import socket
import struct
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord

from agents import metrics
from agents.health import Health
from agents.kafka_client import client_settings, close, prefixed, start_patiently, topic_name
from agents.nas_asking import NasAsking
from agents.reloading import Reread, reloading
from agents.result_writer import Delivery, Record, ResultWriter
from agents.tasks import end
from schemas.codec import UNREADABLE, decoder, encode
from schemas.configuration import Configuration, Prober
from schemas.errors import CurfewError
from schemas.sighting import Probe, Sighting, Sightings
from schemas.topics import ACCOUNTING, KIND_HEADER, PROBER_GROUP, PROBES
from streams.asking import (
    ETHERTYPE_ARP,
    Asking,
    Question,
    Seen,
    arp_answer,
    arp_request,
    neighbour_advertisement,
    neighbour_solicitation,
)
from streams.ids import parse_decision_id
from streams.partitioner import partition_of

POLL_MS = 200
RECORDS_MAX = 2_000
WAKE_S = 0.02
PROBE_AGE_MS_MAX = 30_000
FRAME_OCTETS_MAX = 2_048
FRAMES_AT_ONCE = 256
ICMP6_FILTER = 1  # Linux, include/uapi/linux/icmpv6.h
HOP_LIMIT = 255  # RFC 4861 section 7.1.1: what came through a router is no neighbour's
SIOCGIFADDR = 0x8915
NEIGHBOUR_ADVERTISEMENT = 136

log = logging.getLogger(__name__)
_PROBE = decoder(Probe).decode


class ProbeError(CurfewError):
    """An interface cannot be asked on; the text names the remedy."""


class Interface:
    """One segment: its two sockets.

    Attributes:
        name: of the interface.
    """

    def __init__(self, name: str, on_seen: Callable[[str, Seen], None]) -> None:
        """Open the sockets, and hand over who answers until `close`.

        Raises:
            ProbeError: there is no such interface, or this user may not.
        """
        self.name = name
        self._on_seen = on_seen
        self._sockets: list[socket.socket] = []
        try:
            self._arp = self._open(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP))
            self._arp.bind((name, ETHERTYPE_ARP))
            self._icmp = self._open(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            self._icmp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
        except PermissionError as refused:
            self.close()
            raise ProbeError(
                f"{name} cannot be asked on: this needs CAP_NET_RAW. Run the prober as root or give it that right."
            ) from refused
        except OSError as refused:
            self.close()
            raise ProbeError(f"{name} cannot be asked on: {refused.strerror}. Name an interface that is there in [prober].") from refused
        blocked = [0xFFFF_FFFF] * 8
        blocked[NEIGHBOUR_ADVERTISEMENT >> 5] &= ~(1 << (NEIGHBOUR_ADVERTISEMENT & 31))
        self._icmp.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *blocked))
        self._icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        self._icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        self._index = socket.if_nametoindex(name)
        self._mac: bytes = self._arp.getsockname()[4][:6]
        loop = asyncio.get_running_loop()
        loop.add_reader(self._arp, self._read_arp)
        loop.add_reader(self._icmp, self._read_icmp)

    def ask(self, question: Question) -> None:
        """Put a question on the wire; one that cannot be sent is asked again a second later, like one that is lost."""
        with contextlib.suppress(OSError):
            if ":" in question.address:
                message, group = neighbour_solicitation(question.address, self._mac)
                self._icmp.sendto(message, (group, 0, 0, self._index))
            else:
                self._arp.send(arp_request(question.address, question.mac, self._mac, self._own_address()))
            metrics.PROBES.labels("sent").inc()

    def close(self) -> None:
        """Give the sockets back."""
        for one in self._sockets:
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().remove_reader(one)
            one.close()

    def _open(self, family: int, kind: int, protocol: int) -> socket.socket:
        opened = socket.socket(family, kind, protocol)
        opened.setblocking(False)
        self._sockets.append(opened)
        return opened

    def _own_address(self) -> str | None:
        """The interface's IPv4 address now; DHCP may change it."""
        with contextlib.suppress(OSError):
            answer = fcntl.ioctl(self._arp, SIOCGIFADDR, struct.pack("256s", self.name.encode()[:15]))
            return socket.inet_ntoa(answer[20:24])
        return None

    def _read_arp(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(FRAMES_AT_ONCE):
                self._take(arp_answer(self._arp.recv(FRAME_OCTETS_MAX)))

    def _read_icmp(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(FRAMES_AT_ONCE):
                message, told, _, _ = self._icmp.recvmsg(FRAME_OCTETS_MAX, 64)
                hops = [
                    struct.unpack("=i", value)[0]
                    for level, kind, value in told
                    if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)
                ]
                self._take(neighbour_advertisement(message) if hops == [HOP_LIMIT] else None)

    def _take(self, seen: Seen | None) -> None:
        if seen is not None:
            self._on_seen(self.name, seen)


class ProberAgent:
    """One process's prober."""

    def __init__(self, configuration: Configuration) -> None:
        """Open its interfaces.

        Raises:
            ProbeError: one of them cannot be asked on.
        """
        self._configuration = configuration
        self._asking = Asking()
        self._writer = ResultWriter(configuration)
        self._nases = NasAsking(configuration, self._answered)
        self._interfaces: dict[str, Interface] = {}
        try:
            for name in dict.fromkeys(each.interface for each in configuration.prober.interfaces):
                self._interfaces[name] = Interface(name, self._seen)
        except ProbeError:
            self.close()
            raise

    def close(self) -> None:
        """Give its sockets back."""
        for interface in self._interfaces.values():
            interface.close()

    def change(self, configuration: Configuration) -> None:
        """Take over the NASes of another configuration; its interfaces stay."""
        self._nases.change(configuration)
        log.info("configuration read again: %d NASes", len(configuration.nas))

    async def run(self, health: Health, stop: asyncio.Event) -> None:
        """Ask until `stop` is set, and what was seen by then is written."""
        consumer = AIOKafkaConsumer(
            topic_name(self._configuration, PROBES),
            **client_settings(self._configuration),
            group_id=prefixed(self._configuration, PROBER_GROUP),
            auto_offset_reset="latest",
        )
        writing = asyncio.create_task(self._writer.run(stop))
        tasks = [
            asyncio.create_task(self._read(consumer, health)),
            asyncio.create_task(self._wake()),
            asyncio.create_task(self._nases.run()),
            writing,
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            await end(*tasks)
            await close(consumer)

    async def _read(self, consumer: AIOKafkaConsumer, health: Health) -> None:
        await start_patiently(consumer)
        health.ready()
        while True:
            polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_MAX)
            for records in polled.values():
                for record in records:
                    metrics.PROBES.labels(self._take(record)).inc()

    def _take(self, record: ConsumerRecord[Any, Any]) -> str:
        """Begin to ask; what became of it, to be counted."""
        try:
            probe = _PROBE(record.value or b"")
            parse_decision_id(probe.id)
        except (*UNREADABLE, ValueError):
            return "not-a-probe"
        if time.time() * 1000 - record.timestamp > PROBE_AGE_MS_MAX:
            return "too-old"
        if probe.kind == "query":
            return "asked" if self._nases.ask(probe) else "nowhere-to-ask"
        interface = interface_for(self._configuration.prober, probe.nas)
        if interface is None:
            return "nowhere-to-ask"
        self._asking.ask(probe, interface, _mono_ms())
        return "asked"

    async def _wake(self) -> None:
        while True:
            for question in self._asking.wake(_mono_ms()):
                self._interfaces[question.interface].ask(question)
            if self._asking.given_up:
                metrics.PROBES.labels("unanswered").inc(self._asking.given_up)
                self._asking.given_up = 0
            await asyncio.sleep(WAKE_S)

    def _seen(self, interface: str, seen: Seen) -> None:
        for probe, sighting in self._asking.answered(interface, seen, _mono_ms()):
            metrics.PROBES.labels("answered" if probe.mac in (None, seen.mac) else "answered-by-another").inc()
            partition = partition_of(probe.identity, self._configuration.kafka.partitions)
            self._write(partition, probe.identity, sighting)

    def _answered(self, answered: list[tuple[Probe, int]]) -> None:
        """A NAS answers: each partition hears of its own question, and its home partition in any case."""
        for probe, waited_ms in answered:
            home = partition_of(probe.nas, self._configuration.kafka.partitions)
            sighting = Sighting(time_ms=probe.asked_ms + waited_ms, by="prober", probe_id=probe.id, nas=probe.nas)
            for partition in {home, parse_decision_id(probe.id).partition}:
                self._write(partition, probe.nas, sighting)

    def _write(self, partition: int, key: str, sighting: Sighting) -> None:
        value, headers = encode(Sightings(seen=[sighting])), [(KIND_HEADER, b"sighting")]
        record = Record(topic_name(self._configuration, ACCOUNTING), partition, key.encode(), value, headers)
        self._writer.put(Delivery((record,), lambda _: None))


async def run_prober(configuration: Configuration, health: Health, stop: asyncio.Event, *, reread: Reread | None = None) -> None:
    """Run the prober until `stop` is set.

    Args:
        configuration: checked, secret files read.
        health: ready while probes are read.
        stop: ends it.
        reread: see `agents.reloading`.

    Raises:
        ProbeError: an interface cannot be asked on.
    """
    agent = ProberAgent(configuration)
    try:
        with reloading(reread, agent.change):
            await agent.run(health, stop)
    finally:
        agent.close()


def interface_for(prober: Prober, nas: str) -> str | None:
    """The interface on whose segment a NAS's devices are; None: none that we know of."""
    return next((each.interface for each in prober.interfaces if fnmatchcase(nas, each.nas)), None)


def _mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000
