"""MikroTik RouterOS by its API (behaviour 5.6): hotspot and PPP sessions listed, found and removed.

What lives here: what is asked of a device, in which order, and what its answers mean for a disconnect. What may not: which of its sessions
is meant (`streams.device_sessions`), its words (`streams.routeros`), the connection (`agents.ways.routeros_line`).

Theory of operation: an item's id changes with each start of the router, so that a session is always looked up before it is removed; and it
is looked for again afterwards, since a removal that was taken is not yet a session that is gone. One connection to a router at a time: it
serves those who wait for it and is closed when nobody does, since a router takes some 20 and writes each login into its log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from agents.ways.routeros_line import Line, RouterOsError, TrapError, connect, place_of
from schemas.codec import JsonValue
from schemas.configuration import Configuration, Disconnect, Nas
from schemas.disconnect import DisconnectCommand
from schemas.ways import DeviceSession, Finding, NoListError, WayAnswer
from streams.device_sessions import choose, named, signs_of
from streams.routeros import MENUS, NO_SUCH_ID, PPP, menu_of, query_of, session_of, spoken

TIMEOUT_S = 8.0
LIST_WITHIN_S = 30.0
"""For all of its sessions: a small router with thousands takes its time, and only a person waits."""
TURN_WITHIN_S = 6.0
LOOK_AGAIN_S = 0.25
LOOKS = 12
"""How often a removed session is looked for before it is called still there: 3 s."""
WAY = "routeros"


class _Turn:
    """Whose turn it is at one router, and the connection that is handed on."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.line: Line | None = None


class RouterOs:
    """The way `routeros`."""

    def __init__(self, configuration: Configuration) -> None:
        """Opens nothing.

        Args:
            configuration: not needed: all that is said of a router stands in its `[[nas]]`.
        """
        del configuration
        self._turns: dict[str, _Turn] = {}

    async def disconnect(self, nas: Nas, command: DisconnectCommand) -> WayAnswer:
        """Find the session that the command means, remove it, and look whether it is gone."""
        if nas.disconnect is None:
            return WayAnswer("unsupported", "the NAS has no `disconnect`")
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_S), self._line(nas.name, nas.disconnect) as line:
                answer = await _remove(line, command.session)
        except TimeoutError:
            return WayAnswer("unanswered", _too_late(nas.disconnect, TIMEOUT_S))
        except RouterOsError as failed:
            answer = WayAnswer(failed.answer, str(failed))
        return WayAnswer(answer.answer, answer.detail, (time.monotonic() - started_s) * 1000)

    async def test(self, nas: Nas) -> list[Finding]:
        """Log in, ask who it is, list its sessions, and remove one that cannot exist."""
        findings: list[Finding] = []
        if nas.disconnect is None:
            return [Finding(WAY, ok=False, sentence="the NAS has no `disconnect`")]
        try:
            async with asyncio.timeout(TIMEOUT_S), self._line(nas.name, nas.disconnect) as line:
                secured = f"over {line.secured}" if line.secured else "without TLS"
                where = "{} port {}".format(*place_of(nas.disconnect))
                findings.append(Finding(WAY, ok=True, sentence=f"{where} takes {nas.disconnect.user!r} in, {secured}"))
                await _try(line, findings)
        except TimeoutError:
            findings.append(Finding(WAY, ok=False, sentence=_too_late(nas.disconnect, TIMEOUT_S)))
        except RouterOsError as failed:
            findings.append(Finding(WAY, ok=False, sentence=str(failed)))
        return findings

    async def sessions(self, nas: Nas) -> list[DeviceSession]:
        """Who is on hotspot and PPP.

        Raises:
            NoListError: it cannot be asked; the text says why.
        """
        if nas.disconnect is None:
            raise NoListError("the NAS has no `disconnect`")
        try:
            async with asyncio.timeout(LIST_WITHIN_S), self._line(nas.name, nas.disconnect) as line:
                return await _list(line, {})
        except TimeoutError as late:
            raise NoListError(_too_late(nas.disconnect, LIST_WITHIN_S)) from late
        except RouterOsError as failed:
            raise NoListError(str(failed)) from failed

    async def close(self) -> None:
        """Drop what is open."""
        for turn in self._turns.values():
            if turn.line is not None:
                turn.line.drop()

    @asynccontextmanager
    async def _line(self, name: str, disconnect: Disconnect) -> AsyncIterator[Line]:
        """The connection to a router, in turn."""
        turn = self._turns.setdefault(name, _Turn())
        turn.users += 1
        try:
            try:
                async with asyncio.timeout(TURN_WITHIN_S):
                    await turn.lock.acquire()
            except TimeoutError as late:
                raise RouterOsError(f"no turn at {disconnect.address} within {TURN_WITHIN_S:g} s: others are before it") from late
            try:
                if turn.line is not None and not turn.line.is_open:
                    turn.line.drop()
                    turn.line = None
                turn.line = turn.line or await connect(disconnect)
                yield turn.line
            except TrapError:
                raise
            except BaseException:  # also when it is cancelled: the rest of an answer is not the next one's
                if turn.line is not None:
                    turn.line.drop()
                    turn.line = None
                raise
            finally:
                turn.lock.release()
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[name]
                if turn.line is not None:
                    turn.line.drop()


async def _list(line: Line, session: Mapping[str, JsonValue]) -> list[DeviceSession]:
    """The sessions of the user or device that a session names; all where it names none.

    Raises:
        TrapError: the router has neither hotspot nor PPP, or does not let us look.
    """
    listed: list[DeviceSession] = []
    absent: list[TrapError] = []
    for menu in MENUS:
        try:
            rows, _ = await line.ask(f"{menu.path}/print", *query_of(menu, session))
        except TrapError as refused:
            if refused.refusal != "no-command":
                raise
            absent.append(refused)  # a router without the package
        else:
            listed += [session_of(menu, row) for row in rows]
    if len(absent) == len(MENUS):
        raise absent[0]
    return listed


async def _remove(line: Line, session: Mapping[str, JsonValue]) -> WayAnswer:
    """Raises RouterOsError as `Line.ask` does."""
    choice = choose(signs_of(session), await _list(line, session))
    if choice.alike:
        return WayAnswer("refused", choice.sentence)
    if choice.session is None:
        return WayAnswer("gone", choice.sentence)
    found = choice.session
    try:
        await line.ask(f"{menu_of(found).path}/remove", spoken(f"=.id={found.device_id}"))
    except TrapError as refused:
        if refused.refusal != "no-item":
            raise
        return WayAnswer("gone", f"{named([found])} ended before it could be removed")
    for _ in range(LOOKS):
        left = [one for one in await _list(line, session) if (one.device_id, menu_of(one)) == (found.device_id, menu_of(found))]
        if not left:
            return WayAnswer("accepted", f"removed, and not listed any more: {named([found])}")
        await asyncio.sleep(LOOK_AGAIN_S)
    return WayAnswer("refused", f"the removal was taken, and the session is still listed: {named([found])}")


async def _try(line: Line, findings: list[Finding]) -> None:
    """What a connection test asks beyond the login. Raises RouterOsError as `Line.ask` does."""
    rows, _ = await line.ask("/system/resource/print")
    about = rows[0] if rows else {}
    told = ", ".join(f"{name} {about[name]}" for name in ("version", "board-name", "uptime") if name in about)
    findings.append(Finding(WAY, ok=True, sentence=f"RouterOS says: {told or 'nothing of itself'}"))
    listed = await _list(line, {})
    who = f": {named(listed)}" if listed else ""
    count = f"{len(listed)} session{'' if len(listed) == 1 else 's'}"
    findings.append(Finding(WAY, ok=True, sentence=f"{count} on hotspot and PPP{who}"))
    try:
        await line.ask(f"{PPP.path}/remove", f"=.id={NO_SUCH_ID}")
    except TrapError as refused:
        if refused.refusal != "no-item":
            raise
    findings.append(Finding(WAY, ok=True, sentence="sessions may be removed: a removal of one that cannot exist found no such item"))


def _too_late(disconnect: Disconnect, within_s: float) -> str:
    return "RouterOS at {} port {} took the connection, and did not answer within {:g} s".format(*place_of(disconnect), within_s)
