"""A MikroTik router as far as its API goes, written from MikroTik's manual ("API"), apart from Curfew's driver and from its library.

What lives here: words and sentences on a TCP port, both logins, the menus of active sessions, queries, refusals; and bad manners for those
who have to live with them. What may not: anything of `agents`, `streams` or librouteros, so that a misreading there is not repeated here.

From the manual: a word is its length and so many octets; lengths take one to five octets, by their first bits; a sentence ends with a word
of no length. A reply begins with `!re`, `!trap`, `!fatal` or `!done`, the last of them ends it; since 7.18 `!empty` stands where there is
nothing to list. A tag (`.tag=`) comes back with every sentence of the reply. Queries (`?name=value`, `?#|` ...) work on a stack.
"""

import asyncio
import contextlib
import hashlib
import secrets
import ssl
from typing import Literal, Self

HOTSPOT, PPP = "/ip/hotspot/active", "/ppp/active"
LENGTHS = ((0x80, 1, 0x00), (0x4000, 2, 0x80), (0x20_0000, 3, 0xC0), (0x1000_0000, 4, 0xE0), (1 << 32, 5, 0xF0))
"""(below, octets, first bits); the last one has its bits in an octet of their own."""
WORD_OCTETS_MAX = 1 << 20

Manners = Literal[
    "good", "silent", "closes", "closes-in-a-word", "garbage", "endless", "huge-word", "fatal", "other-protocol", "no-word", "tls-alert"
]


def length_octets(length: int) -> bytes:
    """A word's length."""
    for below, octets, bits in LENGTHS:
        if length < below:
            return bytes([bits]) + length.to_bytes(4, "big") if octets == 5 else (length | bits << 8 * (octets - 1)).to_bytes(octets, "big")
    raise ValueError(length)


def sentence_octets(*words: str | bytes) -> bytes:
    """Words as they go over the wire."""
    sent = [word if isinstance(word, bytes) else word.encode() for word in words]
    return b"".join(length_octets(len(word)) + word for word in sent) + b"\0"


async def read_sentence(reader: asyncio.StreamReader) -> list[bytes]:
    """The next sentence; empty at the end of the connection."""
    words = []
    while word := await _read_word(reader):
        words.append(word)
    return words


async def _read_word(reader: asyncio.StreamReader) -> bytes:
    first = (await reader.readexactly(1))[0]
    more = sum(first >= bits for bits in (0x80, 0xC0, 0xE0, 0xF0))
    length = (0 if more == 4 else first & (0xFF >> more)) << 8 * more
    length |= int.from_bytes(await reader.readexactly(more), "big")
    assert length <= WORD_OCTETS_MAX, f"a word of {length} octets"
    return await reader.readexactly(length)


class Router:
    """One router. Its fields may be changed while it runs.

    Attributes:
        items: by menu and id: the properties of an active session.
        policies: of the user's group. menus: which there are (a package may be missing).
        manners: how it behaves, once somebody is logged in where `after_login`, else from the first octet.
        lingers: so many times a removed session is still listed.
        sentences: what it was told, without logins. logins, connections: how often.
        open_now: connections that are open.
    """

    def __init__(
        self, *, user: str = "curfew", password: str = "pass word", old: bool = False, certificate: ssl.SSLContext | None = None
    ) -> None:
        """A router that has nobody on it.

        Args:
            user: who may log in.
            password: with this.
            old: RouterOS before 6.43: login by challenge; before 7.18: no `!empty`.
            certificate: makes it api-ssl.
        """
        self.items: dict[str, dict[str, dict[str, str | bytes]]] = {HOTSPOT: {}, PPP: {}}
        self.policies = {"api", "read", "write"}
        self.menus = {HOTSPOT, PPP}
        self.manners: Manners = "good"
        self.after_login = True
        self.lingers = 0
        self.sentences: list[list[str]] = []
        self.logins = self.connections = self.open_now = 0
        self.port = 0
        self._user, self._password, self._old, self._certificate = user, password, old, certificate
        self._next = 1
        self._leaving: dict[tuple[str, str], int] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen on a port of 127.0.0.1 that is free."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._certificate)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listen no more; who is still connected ends with the test's loop."""
        assert self._server is not None
        self._server.close()

    def hotspot(self, user: str | bytes, mac: str, address: str, **more: str) -> str:
        """Somebody is on hotspot; the id."""
        return self._add(HOTSPOT, {"server": "hs1", "user": user, "address": address, "mac-address": mac, "uptime": "4m17s"} | more)

    def ppp(self, name: str | bytes, caller_id: str, address: str, session_id: int, **more: str) -> str:
        """Somebody dialled in; the id."""
        line = {"name": name, "service": "pppoe", "caller-id": caller_id, "address": address, "uptime": "1d2h3m4s", "encoding": ""}
        return self._add(PPP, line | {"session-id": f"0x{session_id:08X}", "radius": "true"} | more)

    def users(self, menu: str) -> list[str | bytes]:
        """Who is there."""
        return [line.get("user", line.get("name", "")) for line in self.items[menu].values()]

    @property
    def removals(self) -> list[list[str]]:
        """The removals that it was told of."""
        return [sentence for sentence in self.sentences if sentence[0].endswith("/remove")]

    def _add(self, menu: str, line: dict[str, str | bytes]) -> str:
        item = f"*{self._next:X}"
        self._next += 1
        self.items[menu][item] = {"radius": "true"} | line
        return item

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        try:
            if not self.after_login and self.manners not in {"good", "silent"}:
                await reader.read(WORD_OCTETS_MAX)  # what is left unread makes the end a reset, which takes the last words with it
            if self.after_login or await self._behaves(reader, writer):
                await self._talk(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_now -= 1
            with contextlib.suppress(OSError):
                writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        challenge, known = secrets.token_bytes(16), False
        while words := await read_sentence(reader):
            command, given = words[0].decode(), _attributes(words)
            tag = [word for word in words if word.startswith(b".tag=")]
            if command == "/login":
                known, reply = self._login(given, challenge)
                self.logins += known
            elif not known:
                reply = [["!fatal", "not logged in"]]
            else:
                self.sentences.append([word.decode("utf-8", "backslashreplace") for word in words])
                if not await self._behaves(reader, writer):
                    return
                reply = self._answer(command, given, [word.decode("latin-1") for word in words if word.startswith(b"?")])
            writer.write(b"".join(sentence_octets(*sentence, *tag) for sentence in reply))
            await writer.drain()
            if reply[0][0] == "!fatal":
                return

    def _login(self, given: dict[str, bytes], challenge: bytes) -> tuple[bool, list]:
        name, password = given.get("name"), self._password.encode()
        if self._old and "response" not in given:
            return False, [["!done", f"=ret={challenge.hex()}"]]
        digest = b"00" + hashlib.md5(b"\0" + password + challenge).hexdigest().encode()
        right = given.get("response") == digest if self._old else given.get("password") == password
        if name != self._user.encode() or not right or "api" not in self.policies:
            message = "cannot log in" if self._old else "invalid user name or password (6)"
            return False, [["!trap", f"=message={message}"], ["!done"]]
        return True, [["!done"]]

    def _answer(self, command: str, given: dict[str, bytes], query: list[str]) -> list:
        menu, _, verb = command.rpartition("/")
        if command == "/system/resource/print":
            return [["!re", "=uptime=3w2d1h", "=version=7.16.2 (stable)", "=board-name=RB5009UG+S+"], ["!done"]]
        if menu not in self.menus or verb not in {"print", "remove"}:
            return _trap(f"no such command or directory ({menu.split('/')[-2] or menu})", category=0)
        if {"print": "read", "remove": "write"}[verb] not in self.policies:
            return _trap("not enough permissions (9)")
        if verb == "remove":
            return self._remove(menu, given.get(".id", b"").decode())
        listed = [["!re", *(_word(name, value) for name, value in line.items())] for line in self._listed(menu, query)]
        return [*(listed or ([] if self._old else [["!empty"]])), ["!done"]]

    def _listed(self, menu: str, query: list[str]) -> list[dict[str, str | bytes]]:
        for (of, item), left in list(self._leaving.items()):
            if of == menu:
                self._leaving[of, item] = left - 1
                if left <= 0:
                    del self._leaving[of, item]
                    self.items[menu].pop(item, None)
        lines = [{".id": item} | line for item, line in self.items[menu].items()]
        return [line for line in lines if _matches(line, query)]

    def _remove(self, menu: str, item: str) -> list:
        if item not in self.items[menu] or (menu, item) in self._leaving:
            return _trap("no such item (4)", category=0)
        if self.lingers:
            self._leaving[menu, item] = self.lingers
        else:
            del self.items[menu][item]
        return [["!done"]]

    async def _behaves(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """False: it does not answer as it should, and has done what it does instead."""
        if self.manners == "good":
            return True
        said = {
            "closes-in-a-word": length_octets(20) + b"!re",
            "garbage": sentence_octets("\x01\x02what"),
            "huge-word": b"\xef\xff\xff\xff" + b"x" * 100_000,
            "fatal": sentence_octets("!fatal", "session terminated on request"),
            "other-protocol": b"HTTP/1.1 400 Bad Request\r\n" + b"\r\n" * 100,
            "no-word": b"\0",
            "tls-alert": b"\x15\x03\x03\x00\x02\x02\x46",
        }.get(self.manners, b"")
        writer.write(said)
        if self.manners == "endless":
            filler = sentence_octets("!re", "=.id=*1", "=user=" + "x" * 60_000)
            while True:
                writer.write(filler)
                await writer.drain()
        await writer.drain()
        while self.manners == "silent" and await reader.read(65_536):
            pass
        return False


def _attributes(words: list[bytes]) -> dict[str, bytes]:
    pairs = (word[1:].partition(b"=") for word in words if word.startswith(b"="))
    return {name.decode(): value for name, _, value in pairs}


def _word(name: str, value: str | bytes) -> bytes:
    return f"={name}=".encode() + (value if isinstance(value, bytes) else value.encode())


def _trap(message: str, category: int | None = None) -> list:
    return [["!trap", *([] if category is None else [f"=category={category}"]), f"=message={message}"], ["!done"]]


def _matches(line: dict[str, str | bytes], query: list[str]) -> bool:
    """The manual's stack: a comparison pushes, an operation replaces what it takes; at the end all that is left must hold."""
    stack: list[bool] = []
    for word in query:
        if word.startswith("?#"):
            for operation in word[2:]:
                if operation == "!":
                    stack.append(not stack.pop())
                else:
                    one, other = stack.pop(), stack.pop()
                    stack.append(one and other if operation == "&" else one or other)
        else:
            name, _, value = word[1:].removeprefix("=").partition("=")
            held = line.get(name, b"")
            stack.append((held if isinstance(held, bytes) else held.encode()) == value.encode("latin-1"))
    return all(stack)
