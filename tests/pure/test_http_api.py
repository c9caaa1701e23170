"""`/v1/...`: look-ups, the question before a login, and what is said of requests that are wrong (INTERFACES "HTTP", behaviour 4.8)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec
import pytest

from agents.admission import Admission
from agents.forward import forwarding
from agents.health import Health, serve_health
from agents.http_api import plain_answers, routes
from agents.promises import PromiseNotKeptError, Promises
from schemas.configuration import Configuration, Http
from schemas.journal import PolicyVersion, Promise
from schemas.policy import Policy
from schemas.session import IDENTITY_ROW, SESSION_ROW, IdentityRow, SessionRow
from streams.live_view import LiveView
from tests.support.journal import user_limit

TOKEN = "s3cret"
ASKED = {"user": "BOB", "nas": "ap1", "calling_station_id": "02-00-00-00-00-09", "groups": ["staff"], "session_timeout_s": 3600}
PHONE = "02:00:00:00:00:01"


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for variable in ("CURFEW_STATUS_SOCKET", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.delenv(variable, raising=False)


def view() -> LiveView:
    """Bob's phone on ap1, with a limit of two devices; Eve with an odd session id; one whose id is no text."""
    view = LiveView(2)
    version = PolicyVersion(version=1, time_ms=0, policy=Policy(limits=(user_limit(2, "two-devices"),)))
    for number, partition in enumerate(view.partitions):
        partition.take_row(f"p:{number}/policy".encode(), msgspec.json.encode(version))
    for row in (
        SessionRow("ap1", "s1", "bob", "open", "Bob", "02-00-00-00-00-01", PHONE),
        SessionRow("ap2", "a/b c", "eve", "open", "eve", device="02:00:00:00:00:02", opened_offset=1),
    ):
        view.home_of(row.identity).take_row(f"s:{row.nas}/{row.acct_session_id}".encode(), SESSION_ROW.named(row))
    view.home_of("bob").take_row(b"i:bob", IDENTITY_ROW.named(IdentityRow("bob", 1)))
    for partition in view.partitions:
        partition.restored()
    return view


class Client:
    def __init__(self, session: aiohttp.ClientSession, where: str) -> None:
        self._session = session
        self.where = where

    async def get(self, path: str) -> tuple[int, object]:
        async with self._session.get(self.where + path) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else await answer.text()

    async def ask(self, body: object = ASKED, *, token: str | None = TOKEN, scheme: str = "Bearer") -> tuple[int, object]:
        headers = {} if token is None else {"Authorization": f"{scheme} {token}"}
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with self._session.post(f"{self.where}/v1/admission", data=data, headers=headers) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else await answer.text()


class Journal(Promises):
    """Instead of Kafka: what was written, or that it is away."""

    def __init__(self) -> None:
        super().__init__(Configuration())
        self.written: list[Promise] = []
        self.is_away = False

    async def write(self, promise: Promise) -> None:
        if self.is_away:
            raise PromiseNotKeptError
        self.written.append(promise)


@contextlib.asynccontextmanager
async def client(
    *, token: str | None = TOKEN, ready: bool = True, journal: Journal | None = None, kind: type[Admission] = Admission, short: bool = True
) -> AsyncIterator[Client]:
    """Somebody who asks a server over TCP, which answers what is plain by the short way."""
    configuration = Configuration(http=Http("127.0.0.1:0", token))
    admission = kind(configuration)
    admission.promises = journal or Journal()
    if ready:
        admission.open(view())
    plain = plain_answers(configuration, admission) if short else None
    async with (
        serve_health(configuration, Health("projector"), routes=routes(configuration, admission), plain=plain) as where,
        aiohttp.ClientSession() as session,
    ):
        yield Client(session, where)


async def test_who_may_come_in_is_told_and_a_slot_is_reserved() -> None:
    """4.8: with the sentence and the figures."""
    async with client() as curfew:
        status, answer = await curfew.ask()
        assert status == 200
        assert answer.pop("reservation")
        assert answer == {
            "allowed": True,
            "reason": "two-devices: 1 open of 2 allowed",
            "rule": None,
            "redirect": None,
            "policy_version": 1,
        }
        status, answer = await curfew.ask({"user": "bob", "nas": "ap1"})
        assert (status, answer["allowed"], answer["rule"], answer["reservation"]) == (200, False, "two-devices", None)
        assert answer["reason"] == "user limit two-devices: 2 open of 2 allowed; 1 of them reserved a moment ago"
        _, user = await curfew.get("/v1/users/bob")
        (reserved,) = user["reservations"]
        assert (reserved["nas"], reserved["device"]) == ("ap1", "02:00:00:00:00:09")
        assert 0 < reserved["lapses_in_s"] <= 60


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [("1.1", "keep-alive", True), ("1.1", "close", False), ("1.0", "keep-alive", True), ("1.0", "close", False)],
)
async def test_the_answer_is_whole_whatever_becomes_of_the_connection(version: str, connection: str, *, stays: bool) -> None:
    """4.8: with its type, its length and the date (RFC 9110 section 6.6.1); what is asked on the same connection is answered too."""
    body = msgspec.json.encode(ASKED | {"session_timeout_s": None})
    head = f"POST /v1/admission HTTP/{version}\r\nHost: curfew\r\nAuthorization: Bearer {TOKEN}\r\nConnection: {connection}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    async with client() as curfew, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*curfew.where.removeprefix("http://").split(":"))
        for _ in range(3 if stays else 1):
            writer.write(request)
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            named = dict(line.lower().split(": ", 1) for line in lines if line)
            assert status == f"HTTP/{version} 200 OK"
            assert named["content-type"] == "application/json"
            told = parsedate_to_datetime(named["date"])
            assert abs((datetime.now(tz=UTC) - told).total_seconds()) < 60
            assert msgspec.json.decode(await reader.readexactly(int(named["content-length"])))["allowed"]
            assert (named.get("connection", "keep-alive" if version == "1.1" else "close") == "keep-alive") == stays
        if stays:
            writer.write_eof()
        assert await reader.read() == b""
        writer.close()


BODY = msgspec.json.encode({"user": "bob", "nas": "ap1"})


def raw(body: bytes = BODY, *fields: str, line: str = "POST /v1/admission HTTP/1.1", token: str = f"Bearer {TOKEN}") -> bytes:
    """A request as octets."""
    own = (f"Host: curfew\r\nAuthorization: {token}\r\nContent-Length: {len(body)}", *fields)
    return "\r\n".join([line, *own, "", ""]).encode() + body


async def answered(where: str, *pieces: bytes) -> list[tuple[str, dict[str, str], object]]:
    """What the server says on one connection to pieces that come one after the other: status, head without the date, body."""
    reader, writer = await asyncio.open_connection(*where.removeprefix("http://").split(":"))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.05)
    writer.write_eof()
    octets, said = await reader.read(), []
    writer.close()
    while octets:
        head, _, octets = octets.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        named = dict(each.lower().split(": ", 1) for each in lines)
        length = int(named.pop("content-length", "0"))
        body, octets = octets[:length], octets[length:]
        named = {name: value for name, value in named.items() if name not in ("date", "server", "content-type")}
        told = msgspec.json.decode(body) if body.startswith(b"{") else body
        if isinstance(told, dict) and told.get("reservation"):
            told["reservation"] = "one"
        said.append((status, named, told))
    return said


class NeverLong(Admission):
    """Who takes the long way does not come home."""

    async def ask(self, question):
        raise AssertionError(question)


@pytest.mark.parametrize(
    "request_",
    [
        raw(),
        raw(BODY, "Connection: keep-alive", "Content-Type: application/json", "X-Any: thing"),
        raw(BODY, "Accept: */*", "user-agent: libcurl"),
        raw(token=f"bearer  {TOKEN} "),
    ],
)
async def test_what_is_plain_is_answered_by_the_short_way(request_: bytes) -> None:
    """4.8."""
    async with client(kind=NeverLong) as curfew, asyncio.timeout(20):
        said = await answered(curfew.where, request_, request_)
    assert [(status, told["allowed"]) for status, _, told in said] == [("HTTP/1.1 200 OK", True), ("HTTP/1.1 200 OK", False)]


@pytest.mark.parametrize(
    "pieces",
    [
        (raw(),),
        (raw(), raw()),
        (raw()[:30], raw()[30:]),
        (raw()[:-5], raw()[-5:]),
        (raw() + raw(),),
        (raw(), raw(line="GET /healthz HTTP/1.1", body=b""), raw()),
        (raw(token="Bearer wrong"),),
        (raw(token="Basic s3cret"),),
        (raw(b"no JSON"),),
        (raw(b'{"user": 7, "nas": "ap1"}'),),
        (raw(BODY, "Host: again"),),
        (raw(BODY, "Content-Length: 3"),),
        (raw(BODY, " folded"),),
        (raw(BODY, "Connection: close"),),
        (raw(BODY, "Expect: 100-continue"),),
        (raw(b"1a\r\n" + BODY[:26] + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),),
        (raw(line="POST /v1/admission HTTP/1.0"),),
        (raw(line="POST /v1/admission?x HTTP/1.1"),),
        (raw(line="POST /v1/admissions HTTP/1.1"),),
        (raw(line="GET /v1/admission HTTP/1.1", body=b""),),
        (raw(msgspec.json.encode(ASKED)), raw()),
        (b"POST /v1/admission HTTP/1.1\r\n\r\n",),
        (b"\0" * 100,),
    ],
)
async def test_the_short_way_says_what_the_long_one_says(pieces: tuple[bytes, ...]) -> None:
    """4.8: whatever comes, in whatever pieces, on however long a connection."""
    told = []
    for short in (True, False):
        async with client(short=short) as curfew, asyncio.timeout(20):
            told.append(await answered(curfew.where, *pieces))
    assert told[0] == told[1]
    assert told[0]


async def test_a_defect_of_ours_is_500_and_logged(caplog) -> None:
    class Broken(Admission):
        def ask_now(self, question):
            raise RuntimeError(question)

        async def ask(self, question):
            raise RuntimeError(question)

    async with client(kind=Broken) as curfew, asyncio.timeout(20):
        ((status, _, _),) = await answered(curfew.where, raw())
        assert status == "HTTP/1.1 500 Internal Server Error"
    assert "a request was not understood by us" in caplog.text


async def test_who_does_not_read_the_answers_is_not_asked_for_more() -> None:
    """What waits for a connection is bounded: it is not read from while its answers are not taken."""
    asked = 0

    class Counting(Admission):
        def ask_now(self, question):
            nonlocal asked
            asked += 1
            return super().ask_now(question)

    async with client(kind=Counting) as curfew, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(*curfew.where.removeprefix("http://").split(":"), limit=1024)
        seen = -1
        while seen != asked:
            seen = asked
            for _ in range(50):
                writer.write(raw())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(writer.drain(), 0.02)
                await asyncio.sleep(0)
        assert asked
        assert reader._transport is not None
        writer.transport.abort()


async def test_a_session_timeout_is_in_the_journal_before_the_answer() -> None:
    """3.6: of who is let in, and not open already; under the identity that the ingest would file its records under."""
    journal = Journal()
    async with client(journal=journal) as curfew:
        _, answer = await curfew.ask()
        (promise,) = journal.written
        assert (promise.id, promise.identity, promise.nas) == (answer["reservation"], "bob", "ap1")
        assert (promise.calling_station_id, promise.session_timeout_s) == ("02-00-00-00-00-09", 3600)
        assert promise.expires_ms - promise.time_ms == 60_000
        assert not (await curfew.ask({**ASKED, "calling_station_id": None}))[1]["allowed"]
        assert (await curfew.ask({**ASKED, "calling_station_id": PHONE}))[1]["reservation"] is None
        assert (await curfew.ask({"user": "eve", "nas": "ap1"}))[1]["allowed"]
        assert len(journal.written) == 1


async def test_while_kafka_is_away_a_login_that_tells_a_session_timeout_has_no_answer_and_keeps_no_slot() -> None:
    """3.6, 4.8: what then happens is said in FreeRADIUS's configuration; all others go on."""
    journal = Journal()
    journal.is_away = True
    async with client(journal=journal) as curfew:
        away = (503, {"error": "Kafka does not take the session_timeout_s", "field": "session_timeout_s"})
        assert await curfew.ask() == await curfew.ask() == away
        assert (await curfew.get("/v1/users/bob"))[1]["reservations"] == []
        assert (await curfew.ask({**ASKED, "session_timeout_s": None}))[1]["allowed"]
        assert not (await curfew.ask({**ASKED, "calling_station_id": None}))[1]["allowed"]
        assert journal.written == []


@pytest.mark.parametrize(
    ("token", "scheme"), [(None, ""), ("wrong", "Bearer"), ("", "Bearer"), (TOKEN, "Basic"), ("s3cret\u00e9", "Bearer")]
)
async def test_without_the_token_it_is_401(token: str | None, scheme: str) -> None:
    """INTERFACES: everything that changes something asks for a bearer token; the scheme's case means nothing (RFC 9110 section 11.1)."""
    async with client() as curfew:
        assert await curfew.ask(token=token, scheme=scheme) == (401, {"error": "this wants the bearer token of [http] token"})
        assert (await curfew.ask(scheme="bearer"))[0] == 200
        assert (await curfew.get("/v1/sessions"))[0] == 200


async def test_where_no_token_is_configured_it_is_not_there() -> None:
    """INTERFACES: look-ups are."""
    async with client(token=None) as curfew:
        assert (await curfew.ask())[0] == 404
        assert (await curfew.get("/v1/sessions"))[0] == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"user=bob", None),
        (b"[]", None),
        (b'{"user": "\xff", "nas": "x"}', None),
        ({"nas": "ap1"}, "user"),
        ({"user": "bob"}, "nas"),
        ({"user": 7, "nas": "ap1"}, "user"),
        ({"user": "bob", "nas": ""}, "nas"),
        ({"user": "bob", "nas": None}, "nas"),
        ({"user": "x" * 254, "nas": "ap1"}, "user"),
        ({**ASKED, "calling_station_id": 1}, "calling_station_id"),
        ({**ASKED, "groups": "staff"}, "groups"),
        ({**ASKED, "groups": ["a", 1]}, "groups"),
        ({**ASKED, "session_timeout_s": "1h"}, "session_timeout_s"),
        ({**ASKED, "session_timeout_s": -1}, "session_timeout_s"),
        ({**ASKED, "mac": "x"}, "mac"),
    ],
)
async def test_a_body_that_is_wrong_is_400_with_the_fields_name(body: object, field: str | None) -> None:
    """Issue: a body that is no JSON, a wrong field."""
    async with client() as curfew:
        status, answer = await curfew.ask(body)
        assert (status, answer.get("field")) == (400, field)
        assert answer["error"]
        assert (await curfew.get("/v1/users/bob"))[1]["reservations"] == []


async def test_a_body_that_is_too_large_is_413() -> None:
    async with client() as curfew:
        assert (await curfew.ask(b"[" * 2**21))[0] == 413


async def test_sessions_are_found_by_user_nas_and_mac() -> None:
    """7.4: as they stand in session.table; the user as the ingest takes him, the MAC in any notation."""
    async with client() as curfew:
        status, answer = await curfew.get("/v1/sessions")
        assert (status, [row["acct_session_id"] for row in answer["sessions"]], answer["after"]) == (200, ["s1", "a/b c"], None)
        for wanted in ("user=BOB", "nas=ap1", "mac=0200.0000.0001", "user=bob&nas=ap1&mac=02-00-00-00-00-01"):
            (row,) = (await curfew.get(f"/v1/sessions?{wanted}"))[1]["sessions"]
            assert (row["identity"], row["device"], row["state"]) == ("bob", PHONE, "open")
        for wanted in ("user=nobody", "nas=ap3", "mac=02-00-00-00-00-77", "user=bob&nas=ap2"):
            assert (await curfew.get(f"/v1/sessions?{wanted}")) == (200, {"sessions": [], "after": None})


async def test_a_page_is_bounded_and_the_next_one_goes_on() -> None:
    async with client() as curfew:
        _, first = await curfew.get("/v1/sessions?limit=1")
        _, second = await curfew.get(f"/v1/sessions?limit=1&after={first['after']}")
        assert [row["acct_session_id"] for row in first["sessions"] + second["sessions"]] == ["s1", "a/b c"]
        assert second["after"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("after=x", "after"), ("mac=x", "mac"), ("usr=bob", "usr")],
)
async def test_a_filter_that_is_wrong_is_400_with_its_name(query: str, field: str) -> None:
    async with client() as curfew:
        status, answer = await curfew.get(f"/v1/sessions?{query}")
        assert (status, answer["field"]) == (400, field)


async def test_one_session_is_found_by_the_name_that_its_nas_gave_it() -> None:
    """INTERFACES: ids with slashes and blanks too."""
    async with client() as curfew:
        assert (await curfew.get("/v1/sessions/ap1/s1"))[1]["user_name"] == "Bob"
        assert (await curfew.get("/v1/sessions/ap2/a/b%20c"))[1]["identity"] == "eve"
        assert await curfew.get("/v1/sessions/ap1/s2") == (404, {"error": "no session ap1/s2 is open"})


async def test_what_is_known_of_a_user() -> None:
    async with client() as curfew:
        status, user = await curfew.get("/v1/users/Bob")
        assert (status, user["user"], user["reservations"]) == (200, "Bob", [])
        assert user["identities"] == [{"identity": "bob", "seq": 1}]
        assert [row["acct_session_id"] for row in user["sessions"]] == ["s1"]
        assert await curfew.get("/v1/users/nobody") == (404, {"error": "nothing is known of 'nobody'"})
        await curfew.ask({"user": "nobody", "nas": "ap1"})
        _, user = await curfew.get("/v1/users/nobody")
        assert ([each["nas"] for each in user["reservations"]], user["sessions"], user["identities"]) == (["ap1"], [], [])


async def test_before_the_directory_is_read_nobody_knows() -> None:
    """4.8: no answer is better than a wrong one; FreeRADIUS then does what its configuration says."""
    async with client(ready=False) as curfew:
        unready = (503, {"error": "the directory of sessions is being read"})
        assert await curfew.ask() == unready
        assert await curfew.get("/v1/sessions") == await curfew.get("/v1/sessions/a/b") == await curfew.get("/v1/users/bob") == unready
        assert (await curfew.ask(token="wrong"))[0] == 401


async def test_up_passes_requests_on_to_the_part_that_answers_them(tmp_path, monkeypatch) -> None:
    """INTERFACES: one address for all parts."""
    configuration = Configuration(http=Http("127.0.0.1:0", TOKEN))
    admission = Admission(configuration)
    admission.promises = Journal()
    admission.open(view())
    unix = tmp_path / "s"
    async with (
        forwarding("/v1", unix, "projector") as forwarded,
        serve_health(configuration, Health("up"), routes=forwarded) as where,
        aiohttp.ClientSession() as session,
    ):
        curfew = Client(session, where)
        assert await curfew.get("/v1/sessions") == (503, {"error": "the projector does not answer"})
        monkeypatch.setenv("CURFEW_STATUS_SOCKET", str(unix))
        async with serve_health(configuration, Health("projector"), routes=routes(configuration, admission)):
            assert (await curfew.ask())[1]["allowed"] is True
            assert (await curfew.ask(b"x"))[0] == 400
            assert (await curfew.ask(token="wrong"))[0] == 401
            assert (await curfew.get("/v1/sessions/ap2/a%2Fb%20c"))[1]["identity"] == "eve"
            assert (await curfew.get("/v1/sessions?user=bob&mac=02:00:00:00:00:01"))[1]["sessions"][0]["nas"] == "ap1"
            assert (await curfew.get("/v1/nothing"))[0] == 404
