"""Whether the product works: users who log in where nobody may, so that each of them must be disconnected at once.

Each probe goes the whole way: NAS, ingest, session agent, group agent (the rule is a group's), session agent, kicker, NAS. There are as
many kinds as partitions, so that each partition of the sessions' journal and of the groups' has its own. Time is measured from a moment
to the first Disconnect-Request for a probe of each kind that was sent after that moment.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import NamedTuple

from streams.partitioner import partition_of
from streams.radius.fields import Value
from tests.support.load import OCTETS, Name
from tests.support.nas import (
    ACCT_INPUT_OCTETS,
    ACCT_SESSION_ID,
    ACK,
    CALLING_STATION_ID,
    CLASS,
    USER_NAME,
    Answer,
    Attribute,
    Sent,
    SmallNas,
)

EVERY_S = 0.5
NAS = "probes"
USER = "probe"
GROUP = "probes-"


def groups(partitions: int) -> list[str]:
    """The group of each kind, which stands in the policy: one in each partition of the groups' journal."""
    names = [f"{GROUP}{number}" for number in range(16 * partitions)]
    return [next(name for name in names if partition_of(name, partitions) == kind) for kind in range(partitions)]


class _Probe(NamedTuple):
    kind: int
    sent_s: float
    attributes: list[Attribute]


class Probes:
    """The NAS and its users.

    Args:
        partitions: as many kinds.
        secret, dae_secret: of the NAS.
        sent: where each record is noted, in order.

    Attributes:
        nas: its sockets are open inside `async with` of it.
    """

    def __init__(self, partitions: int, secret: bytes, dae_secret: bytes, sent: list[tuple[Name, Sent]]) -> None:
        self.nas = SmallNas(NAS, secret, dae_secret, self._decide)
        self._partitions = partitions
        self._groups = groups(partitions)
        self._sent = sent
        self._open: dict[str, _Probe] = {}
        self._back: list[tuple[int, float, float]] = []
        self._names = (f"{USER}{number}" for number in itertools.count())

    async def run(self, stop: asyncio.Event) -> None:
        """Some each half second, until `stop` is set."""
        while not stop.is_set():
            for kind in range(self._partitions):
                self._begin(kind)
            await asyncio.sleep(EVERY_S)

    async def works_again(self, since_s: float, within_s: float) -> float:
        """How long after a moment (monotonic) probes of all kinds had come back that began then or later.

        Raises:
            TimeoutError: not within the deadline from now.
        """
        async with asyncio.timeout(within_s):
            while len(first_s := self._first_s(since_s)) < self._partitions:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(EVERY_S / 10)
        return max(first_s.values()) - since_s

    def _first_s(self, since_s: float) -> dict[int, float]:
        first_s: dict[int, float] = {}
        for kind, sent_s, back_s in self._back:
            if sent_s >= since_s:
                first_s.setdefault(kind, back_s)
        return first_s

    def _begin(self, kind: int) -> None:
        user = next(name for name in self._names if partition_of(name, self._partitions) == kind)
        attributes = [
            (USER_NAME, user.encode()),
            (ACCT_SESSION_ID, user.encode()),
            (CALLING_STATION_ID, b"02-FF-%02X-%02X-%02X-%02X" % tuple(int(user.removeprefix(USER)).to_bytes(4))),
            (CLASS, f"group={self._groups[kind]}".encode()),
        ]
        self._open[user] = _Probe(kind, time.monotonic(), attributes)
        self._account(user, "Start", attributes)

    def _decide(self, attributes: dict[str, Value]) -> Answer | None:
        probe = self._open.pop(str(attributes["acct_session_id"]), None)
        if probe is not None:
            self._back.append((probe.kind, probe.sent_s, time.monotonic()))
            self._account(str(attributes["acct_session_id"]), "Stop", [*probe.attributes, (ACCT_INPUT_OCTETS, OCTETS.to_bytes(4))])
        return ACK

    def _account(self, user: str, status: str, attributes: list[Attribute]) -> None:
        name = Name(NAS, user, status, 1 if status == "Stop" else 0)
        self._sent.append((name, self.nas.account(status, attributes)))
