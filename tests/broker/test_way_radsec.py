"""The way `radsec`: disconnects over TLS, on real connections with certificates made by openssl (behaviours 5.6, 5.7; RFC 6614)."""

import asyncio
import ssl
import time

import msgspec
import pytest

from agents.broker import pick_free_port
from agents.ways import radsec, radsec_line, ways
from agents.ways.radsec import Radsec
from schemas.configuration import Configuration, Disconnect, Kicker, Nas
from schemas.disconnect import DisconnectCommand
from schemas.ways import NoListError
from tests.support.radsec import TlsDas, das_context, world

BOUND_S = 60
SESSION = {"acct_session_id": "s1", "user_name": "bob", "nas_ip_address": "192.0.2.1"}


@pytest.fixture(scope="module")
def who(tmp_path_factory):
    return world(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def way(who):
    made = Radsec(Configuration(tls=who.tls, kicker=Kicker(source="127.0.0.1")))
    yield made
    await made.close()
    assert made._places == {}


def the_nas(port, **changes):
    found = {"via": "radsec", "address": "127.0.0.1", "port": port, **changes}
    return Nas(name="hut", addresses=("127.0.0.1/32",), secret="s", disconnect=Disconnect(**found))


def command(**session):
    return DisconnectCommand(id="c", time_ms=1, expires_ms=2, nas="hut", identity="bob", session=SESSION | session, reason="limit")


async def asked(way, nas, order=None):
    """The answer; and the time for it has an end."""
    async with asyncio.timeout(BOUND_S):
        return await way.disconnect(nas, order or command())


async def gone(das, left=0):
    deadline = time.monotonic() + BOUND_S
    while len(das.open) > left:
        assert time.monotonic() < deadline, "a connection is left open"
        await asyncio.sleep(0.01)


# -- what the NAS says is the answer ------------------------------------------------------------------------------------------------------


async def test_a_session_is_ended_over_a_connection_that_is_kept(way, who):
    """5.6: accepted is a promise like an ACK; the secret is that of RFC 6614; many are asked at once, all on one connection."""
    async with TlsDas().listening(das_context(who, who.hut)) as das:
        first = await asked(way, the_nas(das.port))
        expected = "Disconnect-Request by Acct-Session-Id + User-Name + NAS-IP-Address: ACK"
        assert (first.answer, first.detail) == ("accepted", expected)
        assert first.round_trip_ms is not None
        more = await asyncio.gather(*(asked(way, the_nas(das.port), command(acct_session_id=f"s{n}")) for n in range(200)))
        assert {one.answer for one in more} == {"accepted"}
        assert {one["acct_session_id"] for one in das.requests} == {"s1", *(f"s{n}" for n in range(200))}
        assert (das.connections, len(das.requests), das.refused) == (1, 201, [])


@pytest.mark.parametrize(
    "case",
    [
        ([503], "gone", "NAK with Error-Cause 503. The NAS knows no such session.", 1),
        ([501], "refused", "NAK with Error-Cause 501. The NAS is configured to refuse this.", 1),
        ([None], "refused", ": NAK", 1),
        ([999], "refused", ": NAK with Error-Cause 999", 1),
        ([401, 0], "accepted", "Disconnect-Request by Acct-Session-Id + User-Name: ACK", 2),
        ([403, 402, 0], "accepted", "Disconnect-Request by Acct-Session-Id: ACK", 3),
        ([401, 401, 401], "refused", "NAK with Error-Cause 401. The NAS does not take one of the attributes sent.", 3),
    ],
)
async def test_what_the_nas_says_is_the_answer(way, who, case):
    """5.3, 5.6: and the profile's next set of attributes follows where the NAS does not take one; 0 stands for an ACK."""
    causes, answer, detail, asked_for = case
    left = list(causes)
    async with TlsDas().listening(das_context(who, who.hut)) as das:
        das.decide = lambda _: (True, None) if (cause := left.pop(0)) == 0 else (False, cause)
        said = await asked(way, the_nas(das.port))
        assert (said.answer, said.detail.endswith(detail), len(das.requests), das.refused) == (answer, True, asked_for, []), said


async def test_a_session_without_what_the_profile_asks_by_cannot_be_ended(way):
    """5.7: nothing is sent, and nobody is called."""
    order = msgspec.structs.replace(command(), session={"user_name": "bob"})
    said = await asked(way, the_nas(pick_free_port()), order)
    assert (said.answer, said.detail) == ("unsupported", "the session lacks what the profile default asks a NAS by")
    with pytest.raises(NoListError, match="RADIUS has no list"):
        await way.sessions(the_nas(1))


async def test_a_connection_that_ended_meanwhile_is_made_anew(way, who):
    """5.6: the NAS closed it between two requests, or with the request under way: the next one gets its answer."""
    async with TlsDas().listening(das_context(who, who.hut)) as das:
        assert (await asked(way, the_nas(das.port))).answer == "accepted"
        das.hang_up()
        assert (await asked(way, the_nas(das.port))).answer == "accepted"
        left = ["hang-up", "honest"]

        def decide(_):
            das.mood = left.pop(0)
            return True, None

        das.decide = decide
        assert (await asked(way, the_nas(das.port))).answer == "accepted"
        assert das.connections == 3


async def test_a_connection_that_nobody_needs_is_closed(way, who, monkeypatch):
    """5.7: what is kept is bounded in time and in number."""
    async with TlsDas().listening(das_context(who, who.hut)) as das:
        monkeypatch.setattr(radsec, "KEPT_S", 0.1)
        await asked(way, the_nas(das.port))
        await gone(das)
        monkeypatch.setattr(radsec, "KEPT_S", 60)
        monkeypatch.setattr(radsec, "KEPT_MAX", 0)
        await asked(way, the_nas(das.port))
        await gone(das)
        assert (das.connections, way._places) == (2, {})


# -- what goes wrong has a sentence, and an end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("silent", "did not answer within"),
        ("hang-up", "the connection"),
        ("garbage", "is no RADIUS (length-field)"),
        ("cut", "closed the connection in the middle of a packet"),
        ("other-secret", "authenticator does not fit our secret"),
    ],
)
async def test_a_nas_that_does_not_answer_as_it_should_is_unanswered(way, who, mood, words, monkeypatch):
    """5.7: each with its own sentence, and the next request finds a connection that works."""
    monkeypatch.setattr(radsec, "TIMEOUT_S", 2)
    async with TlsDas().listening(das_context(who, who.hut)) as das:
        das.mood = mood
        said = await asked(way, the_nas(das.port))
        assert said.answer == "unanswered"
        assert words in said.detail
        das.mood = "honest"
        before = das.connections
        assert (await asked(way, the_nas(das.port))).answer == "accepted"
        assert das.connections == before + (mood != "other-secret")  # a silent one may be dead without TCP knowing


async def test_a_nas_that_answers_a_thousand_times_is_heard_once(way, who):
    """5.7: what nobody waits for is let go, and is no answer to the next one."""
    async with TlsDas().listening(das_context(who, who.hut)) as das:
        das.mood = "flood"
        assert (await asked(way, the_nas(das.port))).answer == "accepted"
        das.decide, das.mood = lambda _: (False, 503), "honest"
        assert (await asked(way, the_nas(das.port))).answer == "gone"
        assert das.connections == 1


@pytest.mark.parametrize(
    "case",
    [
        ("stranger", {}, "shows a certificate that [tls] cafile does not vouch for: unable to get local issuer certificate"),
        ("expired", {"tls_name": "hut.example.net"}, "does not vouch for: certificate has expired"),
        ("other", {}, "shows the certificate of another: IP address mismatch"),
        ("hut", {"tls_name": "other.example.net"}, "shows the certificate of another: Hostname mismatch"),
        ("hut", {"tls_cafile": "/none"}, "The authorities in /none cannot be used: No such file or directory"),
        ("hut", {"tls_certfile": "theirs", "tls_keyfile": "theirs"}, "does not believe our certificate"),
    ],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_that_does_not_fit_is_told_on_either_side(way, who, version, case):
    """5.7: nothing is asked of who does not prove to be the NAS, and what it has against us is passed on, where it says it."""
    shown, changes, words = case
    files = {"tls_certfile": who.stranger.certificate, "tls_keyfile": who.stranger.key}
    changes = {key: str(files[key]) if value == "theirs" else value for key, value in changes.items()}
    context = das_context(who, getattr(who, shown))
    context.maximum_version = version
    async with TlsDas().listening(context) as das:
        said = await asked(way, the_nas(das.port, **changes))
        assert said.answer == "unanswered"
        alert_is_lost = "believe our certificate" in words and "believe our certificate" in said.detail
        assert words in said.detail or alert_is_lost, said.detail
        assert das.requests == []


async def test_a_place_that_is_no_radius_over_tls_is_told(way, who, monkeypatch):
    """5.7: nobody there; somebody who takes the connection and says nothing; a server without TLS."""
    monkeypatch.setattr(radsec_line, "HANDSHAKE_WITHIN_S", 0.5)
    said = await asked(way, the_nas(pick_free_port()))
    assert said.detail.endswith("refuses connections: are disconnects over TLS turned on there, and is it that port?")
    async with TlsDas().listening(None) as das:
        said = await asked(way, the_nas(das.port))
        assert "takes the connection and does not speak TLS within 0.5 s" in said.detail
        await gone(das)
    talker = await asyncio.start_server(lambda _, writer: writer.write(b"220 mail.example.net\r\n"), "127.0.0.1", 0)
    async with talker:
        said = await asked(way, the_nas(talker.sockets[0].getsockname()[1]))
        assert "does not come to terms about TLS" in said.detail
    assert said.answer == "unanswered"


# -- curfew nas test ----------------------------------------------------------------------------------------------------------------------


async def test_the_connection_test_asks_for_a_session_that_cannot_exist(way, who):
    """5.7: alive, and nobody is hit."""
    async with TlsDas().listening(das_context(who, who.hut)) as das:
        das.decide = lambda _: (False, 503)
        findings = await way.test(the_nas(das.port))
        assert [(one.way, one.ok) for one in findings] == [("radsec", True), ("radsec", True), ("status-server", True)]
        assert findings[0].sentence == f"127.0.0.1 port {das.port} speaks TLSv1.3, and its certificate bears 127.0.0.1."
        assert "answered NAK 503 Session-Context-Not-Found" in findings[1].sentence
        assert findings[2].sentence == "It does not answer Status-Server there; few NASes do, and none has to."
        await gone(das)
        das.decide = lambda _: (True, None)
        assert [one.ok for one in await way.test(the_nas(das.port))] == [True, False, True]
    [refused] = await way.test(the_nas(pick_free_port()))
    assert (refused.ok, "refuses connections" in refused.sentence) == (False, True)


async def test_it_is_the_driver_for_via_radsec(who):
    """5.6: the kicker finds it, and its answers are taken as every way's are."""
    found = ways(Configuration(tls=who.tls))
    assert isinstance(found["radsec"], Radsec)
    for driver in found.values():
        await driver.close()
