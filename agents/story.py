"""The story that `curfew up --demo` tells: people log in, one breaches a limit and is disconnected, a silent device is found and removed.

What is told was read from the topics and seen at the simulated NASes' sockets; nothing is told because it ought to have happened. When
something does not happen in time, that is told. After the story the news go on: each decision, and each session at a NAS that is not
simulated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from aiokafka.structs import ConsumerRecord
from rich.console import Console
from rich.text import Text

from agents.simulated_nas import Seen, SimulatedNetwork
from agents.topic_reader import TopicReader
from schemas.codec import UNREADABLE, decoder, display
from schemas.disconnect import DisconnectResult
from schemas.event import SessionEvent
from schemas.topics import EVENTS
from streams.simulation import Device, Session, SimulatedNas, device_of

SCENE_S = 45.0
NEWS_MAX = 10_000
PACE_S = 0.7

CAST = {user: 1000 + number for number, user in enumerate(("alice", "bob", "carol"))}
"""Who plays, with numbers that no background user has."""

News = SessionEvent | DisconnectResult

_EVENT = decoder(SessionEvent).decode
_RESULT = decoder(DisconnectResult).decode


class Timed(NamedTuple):
    """Something that was read from a topic, and when (monotonic clock)."""

    mono_s: float
    news: News


class Teller:
    """Lines for people, each with the seconds since the beginning: coloured on a terminal, plain elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()

    def tell(self, line: str, style: str = "") -> None:
        """One line of the story."""
        self._print(Text(f"{time.monotonic() - self._began_s:6.1f} s  "), Text(line, style=style))

    def headline(self, line: str) -> None:
        """A line above others."""
        self._print(Text(line, style="bold"))

    def _print(self, *parts: Text) -> None:
        try:
            self._console.print(Text.assemble(*parts), soft_wrap=True)
            self._console.file.flush()
        except SystemExit:  # rich's way to say that nobody reads any more; what is running has to be stopped in order first
            raise BrokenPipeError from None


class Story:
    """One telling."""

    def __init__(self, teller: Teller, hints: Sequence[str]) -> None:
        """Make it.

        Args:
            teller: prints it.
            hints: lines for the end: what a person can do now.
        """
        self._teller = teller
        self._hints = hints
        self._news: list[Timed] = []
        self._seen: list[Seen] = []
        self._changed = asyncio.Event()
        self._told = asyncio.Event()
        self._simulated_names: frozenset[str] = frozenset()

    def seen(self, seen: Seen) -> None:
        """A simulated NAS got a Disconnect-Request."""
        if not self._told.is_set() and len(self._seen) < NEWS_MAX:
            self._seen.append(seen)
            self._changed.set()

    async def follow(self, reader: TopicReader) -> None:
        """Take in what comes in session.events and disconnect.results; returns never."""
        async for record in reader.as_they_come():
            news = None if record is None else _read(reader, record)
            if news is None:
                continue
            if self._told.is_set() or self._is_own(news):
                self._tell_news(news)
            elif len(self._news) < NEWS_MAX:
                self._news.append(Timed(time.monotonic(), news))
                self._changed.set()

    async def tell(self, simulated: SimulatedNetwork) -> None:
        """Play and tell it, on a network of at least two NASes. Afterwards the news go on by themselves."""
        campus, library = simulated.network.nases[:2]
        self._simulated_names = frozenset(nas.settings.name for nas in simulated.network.nases)
        self._teller.headline(f"Two simulated NASes are up: {' and '.join(map(_where, (campus, library)))}.")
        await self._log_in(simulated, campus, _device("alice", 0), "alice logs in with her phone")
        phone = await self._log_in(simulated, campus, _device("bob", 0), "bob logs in with his phone")
        await self._log_in(simulated, library, _device("bob", 1), "bob logs in with his laptop as well: two of two")
        silent = await self._log_in(simulated, campus, _device("carol", 0), "carol logs in with her phone")
        await self._breach(simulated, library, phone)
        await self._silence(campus, silent)
        self._teller.headline(
            "That was the story. Everything stays up until Ctrl-C; the simulated people come and go. In another terminal:"
        )
        for hint in self._hints:
            self._teller.headline(f"    {hint}")
        self._told.set()
        self._news.clear()
        self._seen.clear()

    async def _log_in(self, simulated: SimulatedNetwork, nas: SimulatedNas, device: Device, line: str) -> Session:
        session = nas.log_in(device, simulated.now_s)
        sent_s = time.monotonic()
        simulated.step()
        started = await self._wait(lambda: self._events("session.started", session))
        if started is not None:
            self._teller.tell(f"{line} ({nas.settings.name}); everybody can read it {_ms(sent_s, started.mono_s)} after the Start was sent")
        await asyncio.sleep(PACE_S)
        return session

    async def _breach(self, simulated: SimulatedNetwork, nas: SimulatedNas, victim: Session) -> None:
        """Bob's third device."""
        sent_s = time.monotonic()
        third = nas.log_in(_device("bob", 2), simulated.now_s)
        simulated.step()
        self._teller.tell(f"bob logs in with a third device, a tablet ({nas.settings.name})", "yellow")
        breach = await self._wait(lambda: self._breaches("bob"))
        if breach is not None and isinstance(breach.news, SessionEvent):
            self._teller.tell(f"limit breached: {breach.news.text or breach.news.rule}", "red")
        request = await self._wait(lambda: self._requests((victim, third)))
        if request is None or request.verdict.session is None:
            return
        gone = request.verdict.session
        which = "phone, his oldest session" if gone is victim else "tablet"
        self._teller.tell(
            f"Disconnect-Request for bob's {which} at {request.nas.settings.name}: {_ms(sent_s, request.mono_s)} after the Start was sent",
            "red",
        )
        final = await self._wait(lambda: self._results(gone))
        if final is not None and isinstance(final.news, DisconnectResult):
            self._teller.tell(
                f"{request.nas.settings.name} says {request.verdict.said} and sends the Stop: the disconnect is {final.news.outcome} "
                f"{_ms(sent_s, final.mono_s)} after the Start was sent",
                "green",
            )
        await asyncio.sleep(PACE_S)

    async def _silence(self, nas: SimulatedNas, session: Session) -> None:
        """Carol's phone is heard of no more."""
        nas.forget(session)
        silent_s = time.monotonic()
        self._teller.tell(
            f"carol's phone falls silent ({nas.settings.name} never sends a Stop); three Interim-Updates have to be missed", "yellow"
        )
        stale = await self._wait(lambda: self._events("session.stale", session))
        if stale is None:
            return
        self._teller.tell(
            f"carol's phone is found dead {stale.mono_s - silent_s:.1f} s later, while the others on {nas.settings.name} go on", "red"
        )
        final = await self._wait(lambda: self._results(session))
        if final is not None and isinstance(final.news, DisconnectResult):
            cause = f" ({final.news.error_cause} {final.news.error_cause_name})" if final.news.error_cause else ""
            self._teller.tell(
                f"it is removed, and disconnected so that nobody takes over its address: {final.news.outcome}{cause}, "
                f"{_ms(stale.mono_s, final.mono_s)} after it was found",
                "green",
            )

    async def _wait(self, found: Callable[[], Iterator[Any]]) -> Any:
        """The first thing that a look finds; None, and a line that says so, when it takes more than `SCENE_S`."""
        deadline_s = time.monotonic() + SCENE_S
        while (one := next(found(), None)) is None:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline_s - time.monotonic())
            except TimeoutError:
                self._teller.tell(f"... that did not come within {SCENE_S:g} s; the lines above and /readyz may say why", "bold red")
                return None
        return one

    def _events(self, kind: str, session: Session) -> Iterator[Timed]:
        return (
            timed
            for timed in self._news
            if isinstance(timed.news, SessionEvent) and timed.news.type == kind and _is_of(timed.news, session)
        )

    def _breaches(self, user: str) -> Iterator[Timed]:
        return (t for t in self._news if isinstance(t.news, SessionEvent) and t.news.type == "limit.breached" and t.news.identity == user)

    def _requests(self, sessions: tuple[Session, ...]) -> Iterator[Seen]:
        return (seen for seen in self._seen if seen.verdict.session in sessions)

    def _results(self, session: Session) -> Iterator[Timed]:
        return (t for t in self._news if isinstance(t.news, DisconnectResult) and t.news.final and _is_of(t.news, session))

    def _is_own(self, news: News) -> bool:
        """Whether it is about a NAS that is not simulated: the person at the terminal tries something."""
        return bool(self._simulated_names) and news.nas not in self._simulated_names

    def _tell_news(self, news: News) -> None:
        who = display(news.user_name) if isinstance(news, SessionEvent) else news.identity
        about = f"{who or news.identity} at {news.nas} ({display(news.acct_session_id)})"
        if isinstance(news, DisconnectResult):
            cause = f", {news.error_cause} {news.error_cause_name}" if news.error_cause else ""
            self._teller.tell(f"disconnect of {about}: {news.outcome}{cause}", "green" if news.final else "")
        elif news.type in ("limit.breached", "session.stale") or (self._is_own(news) and news.type != "session.updated"):
            self._teller.tell(f"{news.type}: {about}" + (f": {news.text}" if news.text else ""), "yellow")


def _read(reader: TopicReader, record: ConsumerRecord[Any, Any]) -> News | None:
    try:
        return _EVENT(record.value) if reader.topic_of(record) == EVENTS else _RESULT(record.value)
    except UNREADABLE:
        return None


def _device(user: str, nth: int) -> Device:
    return device_of(user, CAST[user], nth)


def _is_of(news: News, session: Session) -> bool:
    return (news.nas, news.acct_session_id) == (session.nas, session.session_id)


def _where(nas: SimulatedNas) -> str:
    return f"{nas.settings.name} ({nas.settings.address})"


def _ms(from_s: float, to_s: float) -> str:
    return f"{(to_s - from_s) * 1000:.1f} ms"
