"""A NAS that speaks Huawei's Portal protocol, written from the description of its packets alone: it shares no code with the driver.

Packets are put together and taken apart here by `struct`, so that a mistake in the driver is not made twice. The NAS has users by address;
it refuses as a test tells it to, and tells its portal server of users who go.
"""

import asyncio
import hashlib
import struct
from typing import Any

HEADER = struct.Struct("!BBBBHH4sHBB")
REQ_LOGOUT, ACK_LOGOUT, NTF_LOGOUT, ACK_NTF_LOGOUT = 5, 6, 8, 14
DONE, REJECTED, FAILED, OFFLINE = 0, 1, 2, 3


def ipv4(text: str) -> bytes:
    """Four octets."""
    return bytes(map(int, text.split(".")))


def digest(header: bytes, between: bytes, attributes: bytes, secret: bytes) -> bytes:
    """The authenticator."""
    return hashlib.md5(header + between + attributes + secret, usedforsecurity=False).digest()


class PortalBas(asyncio.DatagramProtocol):
    """The NAS.

    Attributes:
        users: who is online. mood: `honest`, or how it misbehaves: `silent`, `reject`, `fail`, `other-secret`, `truncate`, `other-serial`,
            `garbage`, `flood`. requests: the logouts it was asked for. refused: how many requests it did not believe.
        acknowledged: serials of notifications that the portal server has acknowledged, authentically.
    """

    def __init__(self, secret: bytes, users: set[str]) -> None:
        self.secret = secret
        self.users = users
        self.mood = "honest"
        self.requests: list[str] = []
        self.refused = 0
        self.acknowledged: list[int] = []
        self.port = 0
        self._notified: dict[int, bytes] = {}
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """It is online."""
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A packet of the portal server's."""
        version, kind, _, _, serial, _, user, _, _, _ = HEADER.unpack(data[:16])
        header, authenticator, attributes = data[:16], data[16:32], data[32:]
        if kind == ACK_NTF_LOGOUT and serial in self._notified:
            if authenticator == digest(header, self._notified[serial], attributes, self.secret):
                self.acknowledged.append(serial)
            else:
                self.refused += 1
            return
        if (version, kind) != (2, REQ_LOGOUT) or authenticator != digest(header, bytes(16), attributes, self.secret):
            self.refused += 1
            return
        address = ".".join(map(str, user))
        self.requests.append(address)
        for answer in self._answers(serial, user, address, authenticator):
            self._transport.sendto(answer, addr)

    def notify(self, address: str, serial: int, server: tuple[str, int], *, mac: bytes = b"", secret: bytes = b"") -> bytes:
        """Tell the portal server that a user has gone; returns the packet."""
        attributes = bytes((11, 8)) + mac if mac else b""
        header = HEADER.pack(2, NTF_LOGOUT, 0, 0, serial, 0, ipv4(address), 0, 0, 1 if mac else 0)
        authenticator = digest(header, bytes(16), attributes, secret or self.secret)
        self._notified[serial] = authenticator
        packet = header + authenticator + attributes
        self._transport.sendto(packet, server)
        return packet

    def send(self, octets: bytes, server: tuple[str, int]) -> None:
        """Send whatever a test wants to be sent."""
        self._transport.sendto(octets, server)

    def _answers(self, serial: int, user: bytes, address: str, asked: bytes) -> list[bytes]:
        if self.mood == "silent":
            return []
        error = {"reject": REJECTED, "fail": FAILED}.get(self.mood, DONE if address in self.users else OFFLINE)
        if error == DONE:
            self.users.discard(address)
        secret = b"another" if self.mood == "other-secret" else self.secret
        number = (serial + 1) % 65536 if self.mood == "other-serial" else serial
        header = HEADER.pack(2, ACK_LOGOUT, 1, 0, number, 0, user, 0, error, 0)
        answer = header + digest(header, asked, b"", secret)
        match self.mood:
            case "truncate":
                return [answer[:-1]]
            case "garbage":
                return [b"", bytes(1), bytes(2000), b"\xff" * 40]
            case "flood":
                return [answer] * 1000
            case _:
                return [answer]
