"""The 8-bit Identifier space of one source port towards one NAS, and a pool of them.

Law of this file: pure state, the time is an argument. A NAS tells requests apart by source address, source port and Identifier (RFC 5176
section 2.3), so each (source port, NAS) pair has a space of 256 of its own.

Theory of operation: an Identifier that was given back rests for 300 s, since a NAS may take a repeat within its Event-Timestamp window for
an old request: at most 256 requests per port in 300 s (RFC 5176 section 6.3). Identifiers are given out in turn, so that the one given is
the one unused for longest (RFC 5080 section 2.2.2).
"""

from __future__ import annotations

from array import array

import msgspec

IDENTIFIERS = 256
REST_MS = 300_000
_TAKEN = float("inf")


class IdentifierSpace:
    """256 Identifiers; 2 KiB."""

    def __init__(self) -> None:
        self._free_at_ms = array("d", bytes(8 * IDENTIFIERS))
        self._next = 0
        self._nothing_before_ms = 0.0

    def take(self, now_ms: float) -> int | None:
        """An Identifier that is not pending and has rested; None when there is none.

        Args:
            now_ms: monotonic, and greater than 0.
        """
        if now_ms < self._nothing_before_ms:
            return None
        for step in range(IDENTIFIERS):
            identifier = (self._next + step) % IDENTIFIERS
            if self._free_at_ms[identifier] <= now_ms:
                self._free_at_ms[identifier] = _TAKEN
                self._next = (identifier + 1) % IDENTIFIERS
                return identifier
        self._nothing_before_ms = self.first_free_ms()  # so that a port that is used up costs nothing until then
        return None

    def give_back(self, identifier: int, now_ms: float) -> None:
        """Its request was answered or given up: it rests from now on."""
        self._free_at_ms[identifier] = now_ms + REST_MS
        self._nothing_before_ms = min(self._nothing_before_ms, now_ms + REST_MS)

    def first_free_ms(self) -> float:
        """When an Identifier can next be taken; infinite while all are pending."""
        return min(self._free_at_ms)


class Port(msgspec.Struct, frozen=True, gc=False):
    """A source port (its place in the pool) and an Identifier on it."""

    place: int
    identifier: int


class IdentifierPool:
    """The spaces of all source ports towards one NAS; a port's space is made when the ports before it have nothing left."""

    def __init__(self, ports: int) -> None:
        self._ports = ports
        self._spaces: list[IdentifierSpace] = []

    def take(self, now_ms: float) -> Port | None:
        """A port and an Identifier; None when all 256 of each port are pending or rest.

        Args:
            now_ms: monotonic, and greater than 0.
        """
        for place, space in enumerate(self._spaces):
            identifier = space.take(now_ms)
            if identifier is not None:
                return Port(place, identifier)
        if len(self._spaces) < self._ports:
            self._spaces.append(IdentifierSpace())
            return self.take(now_ms)
        return None

    def give_back(self, port: Port, now_ms: float) -> None:
        """Its request was answered or given up."""
        self._spaces[port.place].give_back(port.identifier, now_ms)
