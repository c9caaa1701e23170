"""Asks NASes whether they talk: a Disconnect-Request for a session that cannot exist, which any RFC 5176 server answers (behaviour 3.4).

What lives here: who waits to be asked, and who is being asked. What may not: what is asked (`streams.connection_test`), what an answer is
worth (`streams.questions`).

Theory of operation: several partitions may ask about one NAS at about the same time; their questions are gathered for a moment and put to
it as one. So many NASes are asked at once; the others wait their turn, each once.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import time
from collections.abc import Callable

from agents import metrics
from agents.udp_question import ask
from schemas.configuration import Configuration, Disconnect, Nas
from schemas.sighting import Probe
from streams.connection_test import is_reply, not_configured, packet_of, questions
from streams.profiles import configured

AT_ONCE = 256
WAITING_MAX = 100_000
GATHER_S = 0.5
WAIT_S = 5.0


class NasAsking:
    """The questions to NASes of one prober; `run` puts them."""

    def __init__(self, configuration: Configuration, on_answer: Callable[[list[tuple[Probe, int]]], None]) -> None:
        """Make it; nothing is sent before `run`.

        Args:
            configuration: the NASes with their ways, their profiles, and the address to send from.
            on_answer: gets the probes that an answer is for, each with the milliseconds since it came.
        """
        self.change(configuration)
        self._source = configuration.kicker.source
        self._on_answer = on_answer
        self._probes: dict[str, list[tuple[Probe, float]]] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue(WAITING_MAX)

    def change(self, configuration: Configuration) -> None:
        """Take over the NASes of another configuration, with their ways and profiles; where it sends from stays."""
        self._profiles = configured(configuration.profile)
        self._nases = {nas.name: nas for nas in configuration.nas if _can_be_asked(nas)}

    def ask(self, probe: Probe) -> bool:
        """Ask about the NAS of a probe as soon as it is its turn; False: it has no RADIUS disconnect port, or too many wait."""
        if probe.nas not in self._nases:
            return False
        waiting = self._probes.get(probe.nas)
        if waiting is None:
            if self._queue.full():
                return False
            waiting = self._probes[probe.nas] = []
            self._queue.put_nowait(probe.nas)
        waiting.append((probe, time.monotonic()))
        return True

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            name = await self._queue.get()
            await asyncio.sleep(GATHER_S)
            nas = self._nases.get(name)  # it may have gone from the configuration since it was asked about
            is_answered = nas is not None and await self._answers(nas)
            now_s = time.monotonic()
            probes = [(probe, round(1000 * (now_s - came_s))) for probe, came_s in self._probes.pop(name)]
            metrics.PROBES.labels("answered" if is_answered else "unanswered").inc(len(probes))
            if is_answered:
                self._on_answer(probes)

    async def _answers(self, nas: Nas) -> bool:
        """Whether a NAS answers, whatever it says, as long as that is authentic."""
        way = nas.disconnect or Disconnect()
        profile = self._profiles[way.profile]
        asked = questions(nas, profile, secrets.token_hex(8))
        if not asked:
            return False  # its profile wants attributes that cannot be made up
        secret = (way.secret or "").encode()
        request = packet_of(asked[0], profile, secret, secrets.randbelow(256), int(time.time()))
        metrics.PROBES.labels("sent").inc()
        is_answer = functools.partial(is_reply, request=request, secret=secret)
        heard = await ask(self._source, (way.address or "", way.port or profile.port), request, is_answer, wait_s=WAIT_S)
        return heard.answer is not None


def _can_be_asked(nas: Nas) -> bool:
    return nas.disconnect is not None and nas.disconnect.via == "radius" and not_configured(nas) is None
