"""Look-ups and the question before a login over HTTP: `/v1/...` (INTERFACES "HTTP").

What lives here: requests in, JSON out; who may change something; what is said of a request that is wrong. What may not: the answers
(`admission`).

    GET  /v1/sessions?user=&nas=&mac=&limit=&after=    a page of open sessions, and `after` for the next one
    GET  /v1/sessions/{nas}/{acct_session_id}          one of them
    GET  /v1/users/{user}                              what is known of a user: sessions, groups, holds
    POST /v1/admission                                 may this user open one more? Wants `Authorization: Bearer TOKEN`

What changes something asks for the token of `[http] token`; without one configured it is not there (404). Every refusal is an object with
`error`, and with `field` where one field is at fault.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache, partial

import msgspec
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from agents.admission import Admission, NotReadyError
from agents.directory import Selection, identities_of
from agents.promises import PromiseNotKeptError
from agents.short_way import Answer
from schemas.admission import Question
from schemas.codec import UNREADABLE, JsonValue, encode, loads
from schemas.configuration import Configuration
from schemas.session import IDENTITY_ROW, SESSION_ROW, SessionRow
from streams.live_view import LiveView

PAGE_DEFAULT = 100
PAGE_MAX = 1000
QUERY = ("user", "nas", "mac", "limit", "after")
_ASKED = b"POST /v1/admission HTTP/1.1\r\n"
_NOT_PLAIN = frozenset((b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"trailer", b"te"))
_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+").fullmatch
"""A field's name in lower case (RFC 9110 section 5.6.2); a line that goes on from the one before has none."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_question = msgspec.json.Decoder(Question).decode
_AT = re.compile(r" - at `\$\.?([A-Za-z_]*)")
_NAMED = re.compile(r"(?:unknown|required) field `([^`]*)`")


class RefusedRequest(Exception):  # noqa: N818 - the caller's mistake, not ours
    """A request that cannot be answered.

    Attributes:
        status: of HTTP. field: what is at fault; empty: the whole.
    """

    def __init__(self, status: int, error: str, field: str = "") -> None:
        super().__init__(error)
        self.status = status
        self.field = field


def routes(configuration: Configuration, admission: Admission) -> list[web.RouteDef]:
    """What is answered. The look-ups are always there, what changes something with a token alone."""
    look_ups = [
        web.get("/v1/sessions", _answering(partial(_sessions, configuration, admission))),
        web.get("/v1/sessions/{nas}/{acct_session_id:.+}", _answering(partial(_session, admission))),
        web.get("/v1/users/{user:.+}", _answering(partial(_user, configuration, admission))),
    ]
    if configuration.http.token is None:
        return look_ups
    admit = _answering(partial(_admit, admission), _prepared)
    return [*look_ups, web.post("/v1/admission", protected(configuration.http.token, admit))]


def plain_answers(configuration: Configuration, admission: Admission) -> Answer | None:
    """What answers the question before a login by the short way; None where it may not be asked.

    Plain is a request of HTTP/1.1 whose head says nothing of encodings and expectations, and of its connection at most that it stays; with
    the token, and with a body that is a question which can be answered at once.
    """
    token = configuration.http.token
    if token is None:
        return None

    def answer(request: bytes) -> bytes | None:
        if not request.startswith(_ASKED):
            return None
        head, _, body = request.partition(b"\r\n\r\n")
        told: dict[bytes, bytes] = {}
        for line in head[len(_ASKED) :].split(b"\r\n"):
            name, colon, value = line.partition(b":")
            name = name.lower()
            if not colon or name in told or name in _NOT_PLAIN or not _NAME(name):
                return None
            told[name] = value.strip(b" \t")
        if told.get(b"content-length") != b"%d" % len(body) or told.get(b"connection", b"keep-alive").lower() != b"keep-alive":
            return None
        if b"host" not in told or not _shows(told.get(b"authorization", b"").decode("latin-1"), token):
            return None
        try:
            said = admission.ask_now(_question(body))
        except UNREADABLE:
            return None
        return None if said is None else _response(encode(said) + b"\n")

    return answer


def _shows(authorization: str, token: str) -> bool:
    """Whether a field Authorization has the bearer token."""
    scheme, _, shown = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(errors="replace"), token.encode())


def protected(token: str, handler: Handler) -> Handler:
    """The handler, for who shows the token (RFC 6750 section 2.1) alone."""

    async def asking(request: web.Request) -> web.StreamResponse:
        if not _shows(request.headers.get("Authorization", ""), token):
            refusal = respond(401, {"error": "this wants the bearer token of [http] token"})
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        return await handler(request)

    return asking


def respond(status: int, value: JsonValue) -> web.Response:
    """A JSON answer."""
    return web.Response(status=status, body=encode(value) + b"\n", content_type="application/json")


class _Prepared(web.StreamResponse):
    """What was done, as one piece of octets: a quarter of what HTTP takes here went into heads that never differ.

    For HTTP/1.1 and connections that stay alone; nothing may be put into its head.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._octets = _response(body)

    @property
    def keep_alive(self) -> bool:
        """The connection stays."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Write all of it."""
        await request.writer.write(self._octets)
        return request.writer

    async def write_eof(self, _: bytes = b"") -> None:
        """It is written."""


def _response(body: bytes) -> bytes:
    return b"%b%d\r\n\r\n%b" % (_head(int(time.time())), len(body), body)


@lru_cache(maxsize=1)
def _head(now_s: int) -> bytes:
    """Up to the length; with the date, which an answer has to tell (RFC 9110 section 6.6.1)."""
    date = formatdate(now_s, usegmt=True)
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {date}\r\nContent-Length: ".encode()


def _prepared(request: web.Request, value: JsonValue) -> web.StreamResponse:
    """`respond` with 200, for what is asked thousands of times a second."""
    if request.version != HttpVersion11 or not request.keep_alive:
        return respond(200, value)
    return _Prepared(encode(value) + b"\n")


def _plain(_: web.Request, value: JsonValue) -> web.StreamResponse:
    return respond(200, value)


def _answering(
    handler: Callable[[web.Request], Awaitable[JsonValue]], done: Callable[[web.Request, JsonValue], web.StreamResponse] = _plain
) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return done(request, await handler(request))
        except RefusedRequest as refused:
            return respond(refused.status, {"error": str(refused), **({"field": refused.field} if refused.field else {})})
        except NotReadyError:
            return respond(503, {"error": "the directory of sessions is being read"})
        except PromiseNotKeptError as why:
            return respond(503, {"error": str(why), "field": "session_timeout_s"})

    return answer


async def _admit(admission: Admission, request: web.Request) -> JsonValue:
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge as large:
        raise RefusedRequest(413, "the body is too large") from large
    return await admission.ask(read_question(body))


def read_question(body: bytes) -> Question:
    """The question of `POST /v1/admission`.

    Raises:
        RefusedRequest: it is none.
    """
    try:
        return _question(body)
    except msgspec.ValidationError as wrong:
        field = _NAMED.search(str(wrong)) or _AT.search(str(wrong))
        raise RefusedRequest(400, str(wrong), field[1] if field else "") from wrong
    except UNREADABLE as wrong:
        raise RefusedRequest(400, f"the body is no JSON: {wrong}") from wrong


async def _sessions(configuration: Configuration, admission: Admission, request: web.Request) -> JsonValue:
    view, query = _view(admission), request.query
    for name in query:
        if name not in QUERY:
            raise RefusedRequest(400, f"there is no filter {name!r}: take {', '.join(QUERY)}", name)
    limit = query.get("limit", str(PAGE_DEFAULT))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= PAGE_MAX:
        raise RefusedRequest(400, f"`limit` is a number from 1 to {PAGE_MAX}", "limit")
    try:
        wanted = Selection.of(configuration, user=query.get("user", ""), mac=query.get("mac", ""))
    except ValueError as wrong:
        raise RefusedRequest(400, str(wrong), "mac") from wrong
    try:
        page = view.page(
            identities=wanted.identities, nas=query.get("nas", ""), device=wanted.device, after=query.get("after", ""), rows_max=int(limit)
        )
    except ValueError as wrong:
        raise RefusedRequest(400, str(wrong), "after") from wrong
    return {"sessions": [_named(row) for row in page.rows], "after": page.after or None}


async def _session(admission: Admission, request: web.Request) -> JsonValue:
    nas, acct_session_id = request.match_info["nas"], request.match_info["acct_session_id"]
    row = _view(admission).session(nas, acct_session_id)
    if row is None:
        raise RefusedRequest(404, f"no session {nas}/{acct_session_id} is open")
    return _named(row)


async def _user(configuration: Configuration, admission: Admission, request: web.Request) -> JsonValue:
    view, user = _view(admission), request.match_info["user"]
    identities = sorted(identities_of(configuration, user))
    rows = view.page(identities=identities, rows_max=PAGE_MAX).rows
    known = [row for identity in identities if (row := view.home_of(identity).identity(identity)).seq or row.groups]
    reservations = [each for identity in identities for each in admission.reservations(identity)]
    if not rows and not known and not reservations:
        raise RefusedRequest(404, f"nothing is known of {user!r}")
    return {
        "user": user,
        "identities": [loads(IDENTITY_ROW.named(row)) for row in known],
        "sessions": [_named(row) for row in rows],
        "reservations": reservations,
    }


def _view(admission: Admission) -> LiveView:
    if admission.view is None:
        raise NotReadyError
    return admission.view


def _named(row: SessionRow) -> JsonValue:
    """A session as it stands in `session.table`."""
    return loads(SESSION_ROW.named(row))
