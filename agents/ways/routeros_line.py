"""A connection to a RouterOS API: TCP, TLS, login, questions and answers, and a sentence for each thing that goes wrong.

What lives here: the connection, with `librouteros` for the framing of words. What may not: what is asked, and what an answer means for a
session (`agents.ways.routeros`). The caller bounds the time (`asyncio.timeout`); the size of a reply is bounded here.

librouteros' own log lines are turned off: at the level DEBUG they hold passwords.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl

from librouteros.exceptions import FatalError, LibRouterosError
from librouteros.protocol import AsyncApiProtocol

from schemas.configuration import Disconnect
from schemas.errors import CurfewError
from schemas.ways import Answer
from streams.routeros import API_PORT, API_SSL_PORT, POLICIES, Refusal, attributes_of, challenge_response, heard, refusal_of, spoken

CONNECT_WITHIN_S = 4.0
HANDSHAKE_WITHIN_S = 3.0
REPLY_BYTES_MAX = 16 * 1024 * 1024
"""Of one command: some 40,000 sessions."""
SHOWN_MAX = 120
_TLS_RECORD = b"\x15\x03"
"""A TLS alert (RFC 8446 section 5.1): what a port with TLS says to one without."""
_REPLY = b"!"
"""What the first word of a reply begins with; its length is one octet."""
_ANY_PEER = "HIGH:aNULL:@SECLEVEL=0"
"""Without a certificate api-ssl takes anonymous Diffie-Hellman only, which OpenSSL has no higher level for."""

logging.getLogger("librouteros").disabled = True


class RouterOsError(CurfewError):
    """The device, or the way to it, does not do what is asked; the text is a sentence.

    Attributes:
        answer: what this makes of a disconnect.
    """

    def __init__(self, sentence: str, answer: Answer = "unanswered") -> None:
        super().__init__(sentence)
        self.answer: Answer = answer


class TrapError(RouterOsError):
    """The device understood and said no; the connection stays usable.

    Attributes:
        refusal: what kind of no.
    """

    def __init__(self, sentence: str, refusal: Refusal) -> None:
        super().__init__(sentence, "refused")
        self.refusal: Refusal = refusal


def place_of(disconnect: Disconnect) -> tuple[str, int]:
    """Where the API is: address and TCP port."""
    return disconnect.address or "", disconnect.port or (API_SSL_PORT if disconnect.tls else API_PORT)


class Line:
    """A connection that is logged in.

    Attributes:
        secured: the version of TLS; empty without.
    """

    def __init__(self, transport: _Transport, disconnect: Disconnect, secured: str) -> None:
        self.secured = secured
        self._transport = transport
        self._disconnect = disconnect
        self._who = "RouterOS at {} port {}".format(*place_of(disconnect))
        self._protocol = AsyncApiProtocol(transport, encoding="latin-1", timeout=None)

    @property
    def is_open(self) -> bool:
        """Whether the device has not closed it."""
        return not self._transport.reader.at_eof()

    def drop(self) -> None:
        """Close it at once. What was under way has no answer."""
        self._transport.writer.transport.abort()

    async def ask(self, command: str, *words: str) -> tuple[list[dict[str, str]], dict[str, str]]:
        """One command and its whole reply.

        Args:
            command: the command word.
            words: attribute and query words, as `streams.routeros.spoken` makes them.

        Returns:
            The attributes of each `!re`, and those of `!done`.

        Raises:
            TrapError: the device says no.
            RouterOsError: it closes, says what is no RouterOS API, or more than `REPLY_BYTES_MAX`.
        """
        try:
            self._transport.left_bytes = REPLY_BYTES_MAX
            await self._protocol.writeSentence(command, *words)
            return await self._reply()
        except FatalError as fatal:
            raise RouterOsError(f"{self._who} ended the connection: {heard(str(fatal))[:SHOWN_MAX]}", "refused") from fatal
        except (OSError, EOFError) as gone:
            raise RouterOsError(self._why_closed()) from gone
        except (LibRouterosError, IndexError) as broken:  # an unknown length, a sentence without a word
            raise RouterOsError(self._no_api()) from broken

    async def _reply(self) -> tuple[list[dict[str, str]], dict[str, str]]:
        rows, refused = [], None
        while True:
            kind, words = await self._protocol.readSentence()
            if kind == "!done":
                break
            if kind == "!trap":
                refused = refused or attributes_of(words).get("message", "no reason given")
            elif kind == "!re":
                rows.append(attributes_of(words))
            elif kind != "!empty":  # since 7.18: nothing to list
                raise RouterOsError(f"what {self._who} says is no RouterOS API: {heard(kind)[:SHOWN_MAX]!r}")
        if refused is not None:
            raise TrapError(*self._sentence(refused[:SHOWN_MAX]))
        return rows, attributes_of(words)

    def _sentence(self, message: str) -> tuple[str, Refusal]:
        user, refusal = self._disconnect.user, refusal_of(message)
        if refusal == "login":
            sentence = f"{self._who} refuses the login of {user!r}: {message}. User, password, or the policy api of its group is wrong"
        elif refusal == "permission":
            sentence = f"{self._who} does not let {user!r} do this: {message}. The group of that user needs the policies {POLICIES}"
        else:
            sentence = f"{self._who} says: {message}"
        return sentence, refusal

    def _why_closed(self) -> str:
        first = self._transport.first
        if not self._disconnect.tls and first == _TLS_RECORD:
            return f"{self._who} speaks TLS on that port: write tls = true, or name the port of the service api"
        if not first:
            tls = "" if self._disconnect.tls else " Or that port speaks TLS: then write tls = true"
            return f"{self._who} closed the connection without a word: /ip service says which addresses it takes.{tls}"
        if len(first) == 2 and not first.endswith(_REPLY):
            return self._no_api()
        return f"{self._who} closed the connection in the middle"

    def _no_api(self) -> str:
        return f"what {self._who} says is no RouterOS API: is this the port of the service api?"


class _Transport:
    """What librouteros reads from and writes to, with an end to what is read.

    Attributes:
        left_bytes: how much the reply may still hold.
        first: the first two octets that came.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.left_bytes = REPLY_BYTES_MAX
        self.first = b""

    async def write(self, octets: bytes) -> None:
        """Returns when the peer takes them.

        Raises:
            ConnectionError: the connection is lost.
        """
        if not self.writer.is_closing():  # uvloop raises RuntimeError, and `drain` tells why it is lost
            self.writer.write(octets)
        await self.writer.drain()

    async def read(self, length: int) -> bytes:
        """So many octets.

        Raises:
            EOFError: the connection ended before.
            RouterOsError: the reply is larger than it may be.
        """
        self.left_bytes -= length
        if self.left_bytes < 0:
            raise RouterOsError(f"the device's reply is larger than {REPLY_BYTES_MAX} octets")
        try:
            octets = await self.reader.readexactly(length)
        except asyncio.IncompleteReadError as short:
            self.first = (self.first + short.partial)[:2]
            raise
        self.first = (self.first + octets[:2])[:2]
        return octets

    async def close(self) -> None:
        """At once: a peer that says nothing does not hold up an end."""
        self.writer.transport.abort()


async def connect(disconnect: Disconnect) -> Line:
    """Connect and log in. May be cancelled; nothing is left open then.

    Raises:
        RouterOsError: it does not come about; the text says at which step and what to look at.
    """
    writer = None
    try:
        reader, writer = await _open(disconnect)
        secured = writer.get_extra_info("ssl_object")
        line = Line(_Transport(reader, writer), disconnect, secured.version() if secured else "")
        await _log_in(line, disconnect)
    except BaseException:
        if writer is not None:
            writer.transport.abort()
        raise
    return line


async def _log_in(line: Line, disconnect: Disconnect) -> None:
    """As since 6.43; a router before that answers with a challenge."""
    user, password = f"=name={disconnect.user or ''}", disconnect.password or ""
    _, done = await line.ask("/login", spoken(user), spoken(f"=password={password}"))
    if "ret" in done:
        try:
            response = challenge_response(password, done["ret"])
        except ValueError as broken:
            raise RouterOsError("RouterOS at {} port {} gave a challenge that is none".format(*place_of(disconnect))) from broken
        await line.ask("/login", spoken(user), f"=response={response}")


async def _open(disconnect: Disconnect) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """TCP first and TLS on it, so that it can be said which of them failed."""
    (address, port), loop = place_of(disconnect), asyncio.get_running_loop()
    connected = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        context = _context(disconnect) if disconnect.tls else None
        async with asyncio.timeout(CONNECT_WITHIN_S):
            await loop.sock_connect(connected, (address, port))
        if context is None:
            return await asyncio.open_connection(sock=connected)
        return await asyncio.open_connection(
            sock=connected, ssl=context, server_hostname=disconnect.tls_name or address, ssl_handshake_timeout=HANDSHAKE_WITHIN_S
        )
    except BaseException as failed:
        connected.close()
        if isinstance(failed, OSError | TimeoutError | ValueError):  # ValueError: a name that cannot be one of a host
            raise RouterOsError(_why_not(failed, disconnect)) from failed
        raise


def _context(disconnect: Disconnect) -> ssl.SSLContext:
    """Who is trusted: the authorities of `tls_cafile`, or a certificate in it itself; else the system's.

    Raises:
        RouterOsError: the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=disconnect.tls_cafile)
    except (OSError, ValueError) as unusable:  # an SSLError is an OSError
        raise RouterOsError(f"tls_cafile {disconnect.tls_cafile} cannot be used: {_reason(unusable)}") from unusable
    if disconnect.tls_cafile is not None:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not disconnect.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers(_ANY_PEER)
    return context


def _why_not(failed: Exception, disconnect: Disconnect) -> str:
    address, port = place_of(disconnect)
    who = f"{address} port {port}"
    if isinstance(failed, ssl.SSLCertVerificationError):
        trusted = "tls_cafile" if disconnect.tls_cafile else "this machine, without a tls_cafile,"
        if "match" in failed.verify_message:
            return f"{who} shows the certificate of another: {failed.verify_message} Write the name that it bears as tls_name"
        return f"{who} shows a certificate that {trusted} does not vouch for: {failed.verify_message}"
    if isinstance(failed, ssl.SSLError):
        return (
            f"{who} does not come to terms about TLS ({_reason(failed)}): is this the port of api-ssl, and has that service a certificate?"
        )
    if isinstance(failed, ConnectionRefusedError):
        return f"{who} refuses connections: is the service {'api-ssl' if disconnect.tls else 'api'} enabled in /ip service?"
    if isinstance(failed, TimeoutError):
        return f"{who} does not answer on TCP within {CONNECT_WITHIN_S:g} s: a firewall, or another address"
    if isinstance(failed, ConnectionError) and disconnect.tls:  # asyncio: a handshake that took too long, or was cut off
        return f"{who} takes the connection and does not speak TLS: is this the port of api-ssl, and has that service a certificate?"
    return f"{who} cannot be reached: {_reason(failed)}"


def _reason(failed: Exception) -> str:
    return str(getattr(failed, "reason", None) or getattr(failed, "strerror", None) or failed)
