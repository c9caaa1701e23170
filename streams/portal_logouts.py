"""Whose session an NTF_LOGOUT ends, whether it was told before, and the order that says so in the journal (behaviour 5.6).

Law of this file: pure state; time (monotonic seconds, wall milliseconds) comes in. The protocol knows a user by IPv4 address, and by MAC
address where the NAS gives one. Of several open sessions at an address the newest is meant: an address has one user at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from schemas.codec import UNREADABLE, Text
from schemas.configuration import Nas
from schemas.journal import OperatorCommand
from schemas.session import SESSION_ROW
from schemas.topics import session_key
from streams.huawei_portal import Packet

ORDER_VALID_MS = 60_000
REPEATS_MAX = 65_536
REPEATED_WITHIN_S = 86_400.0
"""So long the same octets are the same notification; a NAS counts 65,536 serials before it begins anew."""


class PortalNas(NamedTuple):
    """A NAS that may tell of logouts."""

    name: str
    secret: bytes

    def __repr__(self) -> str:
        """Without the secret."""
        return f"PortalNas({self.name})"


class Held(NamedTuple):
    """An open session, as far as it matters here."""

    identity: str
    acct_session_id: Text
    device: str | None
    order_ms: int


def portal_nases(nases: Iterable[Nas]) -> dict[str, tuple[PortalNas, ...]]:
    """The NASes of the Portal protocol that have a secret, by the address that they speak from."""
    found: dict[str, tuple[PortalNas, ...]] = {}
    for nas in nases:
        way = nas.disconnect
        if way is not None and way.via == "huawei-portal" and way.address is not None and way.secret:
            found[way.address] = (*found.get(way.address, ()), PortalNas(nas.name, way.secret.encode()))
    return found


class PortalSessions:
    """The open sessions of some NASes by address, folded from `session.table`."""

    def __init__(self, names: Iterable[str]) -> None:
        self._prefixes = tuple(session_key(name, "").encode() for name in names)
        self._by_place: dict[tuple[int, bytes], tuple[str, str]] = {}
        self._by_user: dict[tuple[str, str], dict[tuple[int, bytes], Held]] = {}

    def apply(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Take one record of the table; those of other NASes cost a comparison, and what cannot be read is passed over."""
        if not key.startswith(self._prefixes):
            return
        place = partition, key
        before = self._by_place.pop(place, None)
        if before is not None:
            self._by_user[before].pop(place)
            if not self._by_user[before]:
                del self._by_user[before]
        if value is None:
            return
        try:
            row = SESSION_ROW.read(value)
        except UNREADABLE:
            return
        if row.state != "ended" and row.framed_ip_address is not None:
            user = self._by_place[place] = row.nas, row.framed_ip_address
            held = Held(row.identity, row.acct_session_id, row.device, row.order_ms)
            self._by_user.setdefault(user, {})[place] = held

    def at(self, nas: str, packet: Packet) -> Held | None:
        """The session that a notification means; None: nobody known is at that address (or not with that MAC address)."""
        held = self._by_user.get((nas, packet.user_ip), {}).values()
        meant = [one for one in held if packet.mac is None or one.device is None or one.device == packet.mac]
        return max(meant, key=lambda one: one.order_ms, default=None)


class Repeats:
    """The notifications that are in the journal, the last ones only, by their orders' ids."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, float] = OrderedDict()

    def is_known(self, order_id: str, now_s: float) -> bool:
        """Whether it was written already."""
        return now_s - self._known.get(order_id, -REPEATED_WITHIN_S) < REPEATED_WITHIN_S

    def remember(self, order_id: str, now_s: float) -> None:
        """It is written."""
        self._known[order_id] = now_s
        self._known.move_to_end(order_id)
        if len(self._known) > REPEATS_MAX:
            self._known.popitem(last=False)


def order_id(nas: str, datagram: bytes) -> str:
    """The same octets of the same NAS are the same order."""
    return f"logout-{nas}-{sha256(datagram).hexdigest()[:24]}"


def order_for(held: Held, nas: str, packet: Packet, datagram: bytes, now_ms: int) -> OperatorCommand:
    """The order by which the journal learns of a logout."""
    return OperatorCommand(
        id=order_id(nas, datagram),
        op="logout",
        identity=held.identity,
        nas=nas,
        acct_session_id=held.acct_session_id,
        time_ms=now_ms,
        expires_ms=now_ms + ORDER_VALID_MS,
        who=nas,
        text=f"NTF_LOGOUT of {packet.user_ip}, serial {packet.serial}",
    )
