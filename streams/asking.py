"""The prober's side of a probe: frames out, answers in, what is still open (behaviour 3.4).

Law of this file: octets and clocks are arguments; sockets are in `agents.prober`. ARP is RFC 826, asked of the device itself where its MAC
address is known (RFC 1122 section 2.3.2.1, the unicast poll), so that a segment with thousands of devices hears nothing of it. Neighbour
discovery is RFC 4861: the solicitation goes to the target's solicited-node group, and the answer names the MAC address.

A question is sent up to three times, a second apart: devices that save power miss one. It is open for as long, and what answers later says
nothing any more.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from typing import NamedTuple

from schemas.sighting import Probe, Sighting

BROADCAST = b"\xff" * 6
SENDS_MAX = 3
SEND_EVERY_MS = 1_000
PENDING_MAX = 65_536
"""Open questions; beyond it the oldest is given up: its session is counted as if it had not answered."""
PER_SECOND_MAX = 2_000
"""Frames a second on one prober: two million sessions of which one in a thousand is silent are asked within a second."""

ETHERTYPE_ARP = 0x0806
_ARP_ETHERNET_IPV4 = bytes.fromhex("0001080006 04".replace(" ", ""))
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOURCE_LINK_LAYER, _TARGET_LINK_LAYER = 1, 2


class Seen(NamedTuple):
    """Who answered: the MAC address in small letters with colons, and the address that it answered for."""

    mac: str
    address: str


class Question(NamedTuple):
    """Something to be sent now: where, for which address, and of which device (None: not known)."""

    interface: str
    address: str
    mac: str | None


def mac_text(octets: bytes) -> str:
    """A MAC address as text."""
    return octets.hex(":")


def mac_octets(text: str) -> bytes:
    """A MAC address as octets."""
    return bytes.fromhex(text.replace(":", ""))


def arp_request(address: str, mac: str | None, own_mac: bytes, own_address: str | None) -> bytes:
    """An ARP request as an Ethernet frame.

    Args:
        address: who is asked for.
        mac: the device that should have it; None: everybody is asked.
        own_mac: of the interface that it leaves by.
        own_address: its IPv4 address; None: it has none, and asks as RFC 5227 section 2.1.1 does.
    """
    sender = ipaddress.IPv4Address(own_address or "0.0.0.0").packed  # noqa: S104 - no socket is bound to it
    to = BROADCAST if mac is None else mac_octets(mac)
    body = _ARP_ETHERNET_IPV4 + b"\x00\x01" + own_mac + sender + bytes(6) + ipaddress.IPv4Address(address).packed
    return to + own_mac + ETHERTYPE_ARP.to_bytes(2) + body


def arp_answer(frame: bytes) -> Seen | None:
    """Who an ARP reply is from; None: it is none, or its two sender addresses contradict each other."""
    if len(frame) < 42 or frame[12:14] != ETHERTYPE_ARP.to_bytes(2) or frame[14:20] != _ARP_ETHERNET_IPV4 or frame[20:22] != b"\x00\x02":
        return None
    mac = frame[22:28]
    if mac != frame[6:12] or mac[0] & 1:
        return None
    return Seen(mac_text(mac), str(ipaddress.IPv4Address(frame[28:32])))


def neighbour_solicitation(address: str, own_mac: bytes) -> tuple[bytes, str]:
    """A neighbour solicitation: the ICMPv6 message (its checksum is the kernel's work), and the group that it is sent to."""
    target = ipaddress.IPv6Address(address).packed
    group = ipaddress.IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + target[13:])
    return bytes((_SOLICITATION, 0, 0, 0)) + bytes(4) + target + bytes((_SOURCE_LINK_LAYER, 1)) + own_mac, str(group)


def neighbour_advertisement(message: bytes) -> Seen | None:
    """Who a neighbour advertisement is from, by its target link-layer option; None: it is none, or does not say."""
    if len(message) < 24 or message[:2] != bytes((_ADVERTISEMENT, 0)):
        return None
    options = message[24:]
    while len(options) >= 8 and options[1]:
        if options[0] == _TARGET_LINK_LAYER and options[1] == 1 and not options[2] & 1:
            return Seen(mac_text(options[2:8]), str(ipaddress.IPv6Address(message[8:24])))
        options = options[8 * options[1] :]
    return None


class _Open:
    """A probe that waits for its answer."""

    __slots__ = ("began_ms", "interface", "probe", "sends")

    def __init__(self, probe: Probe, interface: str, began_ms: int) -> None:
        self.probe, self.interface, self.began_ms, self.sends = probe, interface, began_ms, 0


class Asking:
    """The open questions of a prober.

    Attributes:
        given_up: how many were never answered, or had to make room, since somebody last cleared it.
    """

    def __init__(self) -> None:
        self.given_up = 0
        self._due: deque[tuple[int, _Open]] = deque()
        self._open: dict[tuple[str, str], list[_Open]] = {}
        self._sent_until_ms = 0.0

    def __len__(self) -> int:
        """How many questions wait to be sent, or for their answer."""
        return len(self._due)

    def ask(self, probe: Probe, interface: str, now_ms: int) -> None:
        """Ask this on an interface, as soon as it is its turn."""
        if len(self._due) >= PENDING_MAX:
            self._give_up(self._due.popleft()[1])
        question = _Open(probe, interface, now_ms)
        for address in probe.addresses:
            self._open.setdefault((interface, address), []).append(question)
        self._due.appendleft((now_ms, question))

    def wake(self, now_ms: int) -> list[Question]:
        """What is to be sent now, not more than `PER_SECOND_MAX` a second; to be called some times a second."""
        questions: list[Question] = []
        self._sent_until_ms = max(self._sent_until_ms, now_ms - 100.0)
        while self._due and self._due[0][0] <= now_ms and self._sent_until_ms <= now_ms:
            _, one = self._due.popleft()
            if one.sends == SENDS_MAX:
                self._give_up(one)
                continue
            if one.sends < 0:
                continue  # it was answered
            one.sends += 1
            questions += [Question(one.interface, address, one.probe.mac) for address in one.probe.addresses]
            self._sent_until_ms += 1000 * len(one.probe.addresses) / PER_SECOND_MAX
            self._due.append((now_ms + SEND_EVERY_MS, one))
        return questions

    def answered(self, interface: str, seen: Seen, now_ms: int) -> list[tuple[Probe, Sighting]]:
        """An answer came: what it says of the sessions that were asked for, timed on the log's clock: asked then, seen so much later."""
        found = []
        for one in list(self._open.get((interface, seen.address), ())):
            if one.sends < 1:
                continue  # nothing was asked yet: whatever that was, it is no answer
            probe = one.probe
            sighting = Sighting(
                time_ms=probe.asked_ms + now_ms - one.began_ms,
                by="prober",
                mac=seen.mac,
                address=seen.address,
                probe_id=probe.id,
                nas=probe.nas,
                acct_session_id=probe.acct_session_id,
            )
            found.append((probe, sighting))
            one.sends = -1
            self._forget(one)
        return found

    def _give_up(self, one: _Open) -> None:
        if one.sends >= 0:
            self.given_up += 1
            self._forget(one)

    def _forget(self, one: _Open) -> None:
        for address in one.probe.addresses:
            left = [other for other in self._open.get((one.interface, address), ()) if other is not one]
            if left:
                self._open[one.interface, address] = left
            else:
                self._open.pop((one.interface, address), None)
