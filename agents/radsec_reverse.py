"""The other direction of a NAS's own connection: who disconnects reaches it through a socket of the ingest that has the connection.

What lives here: the unix socket, and the passing on of packets. What may not: what they say; the ingest neither makes nor reads a
disconnect. RFC 6614 section 2.5 has one port for everything, and allows disconnects on the connection that the NAS has made.

Theory of operation. Each ingest process has a socket in one directory, which none but its own user may enter. Who connects names a NAS in
one line, and is told in one line whether a connection of it stands here (`+`, or `-`). From then on it is as if it had made that
connection: whole packets in both directions, requests from here, replies from there. One at a time has a connection; it ends with it.
Nothing is kept: what a NAS replies to nobody is let go.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import os
import secrets
import socket
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

from agents.udp import CannotListenError
from streams.radius.disconnect import COA_REQUEST, DISCONNECT_REQUEST
from streams.radius.stream_framing import PacketStream

log = logging.getLogger(__name__)

SUFFIX: Final = ".sock"
STANDS: Final = b"+\n"
STANDS_NOT: Final = b"-\n"
NAME_WITHIN_S: Final = 5.0
NAME_OCTETS_MAX: Final = 1024
ASKING_MAX: Final = 256
READ_OCTETS: Final = 65_536
UNREAD_OCTETS_MAX: Final = 262_144


class Reversible(Protocol):
    """A connection of a NAS, from this side."""

    def is_of(self, nas: str) -> bool:
        """Whether this NAS speaks on it, and nobody asks it already."""
        ...

    def reverse(self, reply: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Have its replies, and its end, from now on."""
        ...

    def unreverse(self) -> None:
        """Have them no more."""
        ...

    def request(self, packet: bytes) -> None:
        """Send the NAS a request."""
        ...


class ReverseDoor:
    """The socket of one ingest process."""

    def __init__(self, directory: str, connections: Callable[[], Iterable[Reversible]]) -> None:
        """Bind it.

        Args:
            directory: where; made if it is not there, for this user alone.
            connections: those that stand, the one to be asked first first.

        Raises:
            CannotListenError: it cannot be had.
        """
        self._connections = connections
        self._path = Path(directory) / f"{os.getpid()}-{secrets.token_hex(3)}{SUFFIX}"
        self._asking = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._task: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            require_own(self._path.parent)
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError as error:
            self._socket.close()
            remedy = "Give [ingest] radsec_reverse a directory that this user alone may write, with a path of less than 80 characters."
            raise CannotListenError(f"There is no place for sockets at {directory}: {error.strerror or error}. {remedy}") from error

    def start(self) -> None:
        """Let those in who disconnect."""
        self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        """Let nobody in any more."""
        if self._task is not None:
            self._task.cancel()
        if self._server is not None:
            self._server.close()
        self._socket.close()
        self._path.unlink(missing_ok=True)

    async def _run(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, sock=self._socket, limit=READ_OCTETS, backlog=ASKING_MAX)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One who disconnects, until it or the NAS's connection ends."""
        self._asking += 1
        connection = None
        try:
            connection = await self._find(reader)
            writer.write(STANDS_NOT if connection is None else STANDS)
            if connection is None:
                await writer.drain()
                return
            connection.reverse(functools.partial(_reply, writer), writer.transport.abort)
            stream = PacketStream()
            while octets := await reader.read(READ_OCTETS):
                stream.feed(octets)
                while isinstance(packet := stream.take(), bytes):
                    if packet[0] in (DISCONNECT_REQUEST, COA_REQUEST):
                        connection.request(packet)
        except (OSError, TimeoutError, ValueError) as ended:  # ValueError: a line without an end
            log.info("who asked for the connection of a NAS is gone: %r", ended)
        finally:
            self._asking -= 1
            if connection is not None:
                connection.unreverse()
            writer.close()

    async def _find(self, reader: asyncio.StreamReader) -> Reversible | None:
        """The connection of the NAS that it names.

        Raises:
            TimeoutError: it names none.
        """
        async with asyncio.timeout(NAME_WITHIN_S):
            name = (await reader.readline())[:NAME_OCTETS_MAX].decode("utf-8", "replace").rstrip("\n")
        if self._asking > ASKING_MAX:
            return None
        return next((one for one in self._connections() if one.is_of(name)), None)


def require_own(directory: Path) -> None:
    """Refuse a directory that others may write: who puts a socket there is believed to be an ingest, and gets what a NAS is asked.

    Raises:
        PermissionError: it is another user's, or others may write it.
    """
    found = directory.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EPERM, "others may write there")


def _reply(writer: asyncio.StreamWriter, packet: bytes) -> None:
    """Pass on what a NAS replied, to one who reads it."""
    if writer.transport.get_write_buffer_size() > UNREAD_OCTETS_MAX:
        writer.transport.abort()
    elif not writer.is_closing():
        writer.write(packet)
