"""The way `routeros` against a router on a real socket that was written from MikroTik's manual (`tests.support.routeros`)."""

import asyncio
import contextlib
import socket
import ssl
import time

import pytest

from agents.ways import routeros, routeros_line
from agents.ways.routeros import RouterOs
from schemas.codec import Octets
from schemas.configuration import Configuration, Disconnect, Nas
from schemas.disconnect import DisconnectCommand
from schemas.ways import NoListError, WayAnswer
from tests.support.certificates import authority, vouched_for
from tests.support.routeros import HOTSPOT, PPP, Router

PHONE, LAPTOP = "02:00:5E:10:00:01", "02:00:5E:10:00:02"
PASSWORD = "pass word"
BOUND_S = 60
"""Far above every bound of the driver: these tests say that it ends, not when."""


@pytest.fixture
async def way():
    made = RouterOs(Configuration())
    yield made
    await made.close()
    assert made._turns == {}


@pytest.fixture
async def router():
    async with Router(password=PASSWORD) as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    ours, theirs = authority(directory, "ours"), authority(directory, "theirs")
    return {
        "ours": ours,
        "theirs": theirs,
        "address": vouched_for(ours, "address", "IP:127.0.0.1"),
        "name": vouched_for(ours, "hotspot.lan"),  # as RouterOS makes them: a common name alone
        "stranger": vouched_for(theirs, "stranger", "IP:127.0.0.1"),
    }


def nas(port, *, user="curfew", password=PASSWORD, **more):
    way = Disconnect(via="routeros", address="127.0.0.1", port=port, user=user, password=password, **more)
    return Nas(name="hut", addresses=("127.0.0.1/32",), secret="s", disconnect=way)


def command(user="alice", station=PHONE, address="10.0.0.1", session_id="80300001"):
    named = {"user_name": user, "calling_station_id": station, "framed_ip_address": address, "acct_session_id": session_id}
    session = {name: value for name, value in named.items() if value is not None}
    return DisconnectCommand(id="d-1", time_ms=0, expires_ms=1, nas="hut", identity="alice", session=session, reason="limit")


async def asked(way, port, order=None, **configured):
    """The answer, without the time that it took; and that time has an end."""
    async with asyncio.timeout(BOUND_S):
        answer = await way.disconnect(nas(port, **configured), order or command())
    assert answer.round_trip_ms is None or answer.round_trip_ms >= 0
    return WayAnswer(answer.answer, answer.detail)


async def nobody_is_connected(router):
    """The driver leaves nothing open."""
    deadline = time.monotonic() + BOUND_S
    while router.open_now:
        assert time.monotonic() < deadline, "a connection is left open"
        await asyncio.sleep(0.01)


# -- the session that is meant, and no other --------------------------------------------------------------------------------------------


async def test_a_hotspot_session_is_found_by_user_and_device_and_removed(way, router):
    """5.6: RouterOS API: hotspot active; somebody else, and another device of the same user, stay."""
    router.hotspot("bob", LAPTOP, "10.0.0.2")
    router.hotspot("alice", LAPTOP, "10.0.0.3")
    item = router.hotspot("alice", PHONE, "10.0.0.1")
    expected = f"removed, and not listed any more: hotspot {item} (alice, {PHONE}, 10.0.0.1)"
    assert await asked(way, router.port, command(station="02-00-5e-10-00-01")) == WayAnswer("accepted", expected)
    assert router.users(HOTSPOT) == ["bob", "alice"]
    assert router.removals == [["/ip/hotspot/active/remove", f"=.id={item}"]]
    await nobody_is_connected(router)


async def test_a_ppp_session_is_found_by_its_session_id_and_removed(way, router):
    """5.6: PPP active; RouterOS lists 0x81A00003 what accounting calls 81a00003. The user's session on the same line before is not it."""
    router.ppp("alice", PHONE, "10.0.1.1", 0x81A00002)
    item = router.ppp("alice", PHONE, "10.0.1.1", 0x81A00003)
    answer = await asked(way, router.port, command(session_id="81a00003", address="10.0.1.1"))
    assert answer == WayAnswer("accepted", f"removed, and not listed any more: pppoe {item} (alice, {PHONE}, 10.0.1.1)")
    assert [line["session-id"] for line in router.items[PPP].values()] == ["0x81A00002"]
    assert router.removals == [["/ppp/active/remove", f"=.id={item}"]]


async def test_nobody_there_is_gone(way, router):
    """5.6: as Error-Cause 503; nothing is removed."""
    assert await asked(way, router.port) == WayAnswer("gone", "it lists no such session")
    router.ppp("alice", PHONE, "10.0.1.1", 0x81A00009)
    answer = await asked(way, router.port, command(session_id="81a00003"))
    assert answer == WayAnswer("gone", f"it has the user in other sessions only: pppoe *1 (alice, {PHONE}, 10.0.1.1)")
    assert router.removals == []


async def test_a_session_that_could_be_one_of_two_is_refused_by_name(way, router):
    """5.6: two devices of a user, and nothing but the user is known: neither is removed."""
    router.hotspot("alice", PHONE, "10.0.0.1")
    router.hotspot("alice", LAPTOP, "10.0.0.2")
    answer = await asked(way, router.port, command(station=None, address=None))
    assert answer.answer == "refused"
    assert answer.detail.startswith("2 of its sessions could be the one, and none of them was touched: hotspot *1 (alice, ")
    assert router.removals == []


async def test_a_name_of_foreign_octets_is_not_taken_for_another(way, router):
    """5.6: the user of ISO 8859-1 octets goes, who is named as they look without them stays."""
    router.hotspot("brg", PHONE, "10.0.0.1")
    router.hotspot("b\xfcrg".encode("latin-1"), PHONE, "10.0.0.1")
    assert (await asked(way, router.port, command(user=Octets("YvxyZw==")))).answer == "accepted"
    assert router.users(HOTSPOT) == ["brg"]


async def test_a_name_with_the_protocols_own_signs_is_only_a_name(way, router):
    """5.6: bad input: what would be a query of its own, or a word of another kind, and a name that is longer than one octet can say."""
    for user in ("?#|", "=.id=*1", ".tag=7", "!done", "true", "007", "x" * 253, "Ж" * 100):
        router.hotspot("bystander", LAPTOP, "10.0.0.9")
        router.hotspot(user, PHONE, "10.0.0.1")
        assert (await asked(way, router.port, command(user=user))).answer == "accepted", user
    assert set(router.users(HOTSPOT)) == {"bystander"}


async def test_a_session_that_ends_while_it_is_removed_is_gone(way, router, monkeypatch):
    """5.6: the trap `no such item`."""
    router.hotspot("alice", PHONE, "10.0.0.1")
    router.lingers = 1
    router._leaving[HOTSPOT, "*1"] = 1  # listed once more, and not to be removed any more
    answer = await asked(way, router.port)
    assert answer == WayAnswer("gone", f"hotspot *1 (alice, {PHONE}, 10.0.0.1) ended before it could be removed")


async def test_a_removal_is_looked_at_until_the_session_is_gone(way, router, monkeypatch):
    """5.6: after removal it is looked again; one that stays is refused."""
    monkeypatch.setattr(routeros, "LOOK_AGAIN_S", 0.01)
    router.hotspot("alice", PHONE, "10.0.0.1")
    router.lingers = 4
    assert (await asked(way, router.port)).answer == "accepted"
    assert len([one for one in router.sentences if one[0] == "/ip/hotspot/active/print"]) == 6
    item = router.hotspot("alice", PHONE, "10.0.0.1")
    router.lingers = 1000
    expected = f"the removal was taken, and the session is still listed: hotspot {item} (alice, {PHONE}, 10.0.0.1)"
    assert await asked(way, router.port) == WayAnswer("refused", expected)


async def test_an_old_router_is_logged_in_to_by_its_challenge(way):
    """5.6: RouterOS before 6.43."""
    async with Router(password=PASSWORD, old=True) as router:
        router.hotspot("alice", PHONE, "10.0.0.1")
        assert (await asked(way, router.port)).answer == "accepted"
        assert (router.logins, router.users(HOTSPOT)) == (1, [])
        answer = await asked(way, router.port, password="wrong")
        assert answer.answer == "refused"
        assert "cannot log in" in answer.detail


async def test_a_router_without_hotspot_is_asked_for_ppp_alone(way, router):
    """5.6: a package that is not there is no failure, unless nothing is there."""
    router.menus = {PPP}
    router.ppp("alice", PHONE, "10.0.1.1", 0x81A00003)
    assert (await asked(way, router.port, command(session_id="81a00003"))).answer == "accepted"
    router.menus = set()
    answer = await asked(way, router.port)
    assert (answer.answer, "no such command" in answer.detail) == ("refused", True)


async def test_many_disconnects_at_one_router_share_a_connection(way, router):
    """5.6 and 5.5: a router takes few connections and writes each login into its log."""
    for n in range(40):
        router.hotspot(f"user-{n}", f"02:00:5E:10:01:{n:02X}", f"10.0.1.{n}")
    orders = [command(f"user-{n}", f"02:00:5E:10:01:{n:02X}", f"10.0.1.{n}") for n in range(40)]
    answers = await asyncio.gather(*(asked(way, router.port, order) for order in orders))
    assert {answer.answer for answer in answers} == {"accepted"}
    assert (router.logins, router.users(HOTSPOT)) == (1, [])
    await nobody_is_connected(router)


async def test_a_disconnect_that_is_called_off_leaves_nothing_behind(way, router):
    """5.6: may be cancelled at any time; who waits behind it has its turn."""
    router.hotspot("alice", PHONE, "10.0.0.1")
    router.manners = "silent"
    first = asyncio.create_task(asked(way, router.port))
    while not router.sentences:  # noqa: ASYNC110 - the router is a socket away, it sets no event
        await asyncio.sleep(0.01)
    second = asyncio.create_task(asked(way, router.port))
    await asyncio.sleep(0)
    router.manners = "good"
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert first.cancelled()
    assert (await second).answer == "accepted"
    assert (router.connections, router.users(HOTSPOT)) == (2, [])
    await nobody_is_connected(router)


# -- each wrong thing has its own sentence ----------------------------------------------------------------------------------------------


async def test_a_wrong_password_is_said(way, router):
    """5.6: the connection test and a disconnect say what to look at."""
    answer = await asked(way, router.port, password="wrong")
    assert answer == WayAnswer(
        "refused",
        f"RouterOS at 127.0.0.1 port {router.port} refuses the login of 'curfew': invalid user name or password (6). "
        "User, password, or the policy api of its group is wrong",
    )
    assert router.sentences == []


@pytest.mark.parametrize(("policies", "removals"), [({"api"}, 0), ({"api", "read"}, 1)])
async def test_a_missing_policy_is_said(way, router, policies, removals):
    """5.6: no permission."""
    router.hotspot("alice", PHONE, "10.0.0.1")
    router.policies = policies
    answer = await asked(way, router.port)
    assert answer == WayAnswer(
        "refused",
        f"RouterOS at 127.0.0.1 port {router.port} does not let 'curfew' do this: not enough permissions (9). "
        "The group of that user needs the policies api, read and write",
    )
    assert (len(router.removals), router.users(HOTSPOT)) == (removals, ["alice"])


async def test_a_closed_port_is_said(way):
    """5.6."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it
        port = taken.getsockname()[1]
        expected = f"127.0.0.1 port {port} refuses connections: is the service {{}} enabled in /ip service?"
        assert await asked(way, port) == WayAnswer("unanswered", expected.format("api"))
        assert await asked(way, port, tls=True) == WayAnswer("unanswered", expected.format("api-ssl"))


async def test_a_firewall_that_drops_is_said(way, monkeypatch):
    """5.6: times out; a full backlog drops as silently."""
    monkeypatch.setattr(routeros_line, "CONNECT_WITHIN_S", 0.5)
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        expected = f"127.0.0.1 port {port} does not answer on TCP within 0.5 s: a firewall, or another address"
        assert await asked(way, port) == WayAnswer("unanswered", expected)


async def test_a_router_that_says_nothing_is_waited_for_so_long_and_no_longer(way, router, monkeypatch):
    """5.6: a server that accepts the connection and says nothing, before the login and after it."""
    monkeypatch.setattr(routeros, "TIMEOUT_S", 0.5)
    router.hotspot("alice", PHONE, "10.0.0.1")
    router.manners = "silent"
    expected = f"RouterOS at 127.0.0.1 port {router.port} took the connection, and did not answer within 0.5 s"
    for router.after_login in (True, False):
        assert await asked(way, router.port) == WayAnswer("unanswered", expected)
    assert router.users(HOTSPOT) == ["alice"]
    await nobody_is_connected(router)


async def test_who_has_no_turn_in_time_is_told_so(way, router, monkeypatch):
    """5.6: others wait for a router that says nothing."""
    monkeypatch.setattr(routeros, "TIMEOUT_S", 2.0)
    monkeypatch.setattr(routeros, "TURN_WITHIN_S", 0.2)
    router.manners = "silent"
    answers = await asyncio.gather(*(asked(way, router.port) for _ in range(3)))
    assert [answer.answer for answer in answers] == ["unanswered"] * 3
    assert [answer.detail for answer in answers[1:]] == ["no turn at 127.0.0.1 within 0.2 s: others are before it"] * 2


@pytest.mark.parametrize(
    ("manners", "answer", "part"),
    [
        ("closes", "unanswered", "closed the connection"),
        ("closes-in-a-word", "unanswered", "closed the connection in the middle"),
        ("garbage", "unanswered", "is no RouterOS API"),
        ("other-protocol", "unanswered", "is no RouterOS API"),
        ("no-word", "unanswered", "is no RouterOS API: is this the port of the service api?"),
        ("huge-word", "unanswered", "is larger than 16777216 octets"),
        ("endless", "unanswered", "is larger than 16777216 octets"),
        ("fatal", "refused", "ended the connection: session terminated on request"),
    ],
)
async def test_bad_manners_have_a_name_each(way, router, manners, answer, part):
    """5.6: bad input: closed in the middle, garbage, a reply without end, before the login and after it. Nothing stays open."""
    router.hotspot("alice", PHONE, "10.0.0.1")
    router.manners = manners
    for router.after_login in (True, False):
        said = await asked(way, router.port)
        part_now = "closed the connection in the middle" if router.after_login and "API" in part and manners == "other-protocol" else part
        assert (said.answer, part_now in said.detail) == (answer, True), said
    assert (router.removals, router.users(HOTSPOT)) == ([], ["alice"])
    await nobody_is_connected(router)


# -- TLS --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "configured"),
    [
        ("address", {"tls_cafile": "ours"}),
        ("name", {"tls_cafile": "ours", "tls_name": "hotspot.lan"}),
        ("address", {"tls_cafile": "address"}),  # the router's own certificate, without its authority
        ("stranger", {"tls_verify": False}),
    ],
)
async def test_api_ssl_is_spoken_to_who_proves_to_be_the_router(way, certificates, shown, configured):
    """5.6: API-SSL; the authority or the certificate itself is trusted, by address or by name."""
    async with Router(password=PASSWORD, certificate=certificates[shown].server()) as router:
        router.hotspot("alice", PHONE, "10.0.0.1")
        assert (await asked(way, router.port, **_tls(certificates, configured))).answer == "accepted"
        assert router.users(HOTSPOT) == []


@pytest.mark.parametrize(
    ("shown", "configured", "part"),
    [
        ("stranger", {"tls_cafile": "ours"}, "shows a certificate that tls_cafile does not vouch for: "),
        ("address", {}, "shows a certificate that this machine, without a tls_cafile, does not vouch for: "),
        ("name", {"tls_cafile": "ours"}, "shows the certificate of another: IP address mismatch"),
        ("address", {"tls_cafile": "ours", "tls_name": "hotspot.lan"}, "shows the certificate of another: Hostname mismatch"),
    ],
)
async def test_who_does_not_prove_it_gets_no_password(way, certificates, shown, configured, part):
    """5.6: certificate unknown; the login does not take place."""
    async with Router(password=PASSWORD, certificate=certificates[shown].server()) as router:
        answer = await asked(way, router.port, **_tls(certificates, configured))
        assert (answer.answer, part in answer.detail) == ("unanswered", True), answer
        assert router.logins == 0


async def test_a_certificate_that_cannot_be_read_is_said(way, router, tmp_path):
    """5.6."""
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("")
    for file in (missing, empty):
        answer = await asked(way, router.port, tls=True, tls_cafile=str(file))
        assert (answer.answer, f"tls_cafile {file} cannot be used" in answer.detail) == ("unanswered", True), answer
    assert router.connections == 0


async def test_tls_where_there_is_none_is_said(way, router, monkeypatch):
    """5.6: TLS expected and not spoken: a plain API waits for the rest of what it takes for a word."""
    monkeypatch.setattr(routeros_line, "HANDSHAKE_WITHIN_S", 0.5)
    router.manners, router.after_login = "silent", False
    answer = await asked(way, router.port, tls=True)
    assert answer == WayAnswer(
        "unanswered",
        f"127.0.0.1 port {router.port} takes the connection and does not speak TLS: is this the port of api-ssl, "
        "and has that service a certificate?",
    )
    router.manners = "other-protocol"
    answer = await asked(way, router.port, tls=True)
    assert (answer.answer, "does not come to terms about TLS" in answer.detail) == ("unanswered", True), answer


async def test_no_tls_where_there_is_some_is_said(way, certificates):
    """5.6: the port of api-ssl, without tls = true: it sends an alert, or closes without a word."""
    async with Router(password=PASSWORD, certificate=certificates["address"].server()) as router:
        answer = await asked(way, router.port)
        assert answer.detail.endswith(
            "closed the connection without a word: /ip service says which addresses it takes. "
            "Or that port speaks TLS: then write tls = true"
        )
    async with Router(password=PASSWORD) as router:
        router.manners, router.after_login = "tls-alert", False
        answer = await asked(way, router.port)
        where = f"RouterOS at 127.0.0.1 port {router.port}"
        expected = f"{where} speaks TLS on that port: write tls = true, or name the port of the service api"
        assert answer == WayAnswer("unanswered", expected)


async def test_api_ssl_without_a_certificate_is_spoken_to_where_that_is_allowed(way):
    """5.6: a router whose api-ssl has no certificate takes anonymous Diffie-Hellman only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
    async with Router(password=PASSWORD, certificate=context) as router:
        router.hotspot("alice", PHONE, "10.0.0.1")
        answer = await asked(way, router.port, tls=True)
        assert (answer.answer, "has that service a certificate?" in answer.detail, router.logins) == ("unanswered", True, 0)
        assert (await asked(way, router.port, tls=True, tls_verify=False)).answer == "accepted"


def _tls(certificates, configured):
    file = configured.get("tls_cafile")
    return {"tls": True} | configured | ({"tls_cafile": str(certificates[file].certificate)} if file else {})


# -- the list, and the connection test --------------------------------------------------------------------------------------------------


async def test_the_device_lists_who_is_on_hotspot_and_ppp(way, router):
    """5.6: who the device itself has."""
    router.hotspot("alice", PHONE, "10.0.0.1")
    router.hotspot("printer", LAPTOP, "10.0.0.2", radius="false")
    router.ppp("carol", "02:00:5E:10:00:03", "10.0.1.1", 0x81A00003)
    listed = await way.sessions(nas(router.port))
    assert [(one.kind, one.device_id, one.user_name, one.calling_station_id, one.framed_ip_address) for one in listed] == [
        ("hotspot", "*1", "alice", PHONE, "10.0.0.1"),
        ("hotspot", "*2", "printer", LAPTOP, "10.0.0.2"),
        ("pppoe", "*3", "carol", "02:00:5E:10:00:03", "10.0.1.1"),
    ]
    assert [(one.acct_session_id, one.uptime_s, one.radius) for one in listed] == [
        (None, 257, True),
        (None, 257, False),
        ("0x81A00003", 93_784, True),
    ]
    assert router.removals == []


async def test_thousands_are_listed(way, router):
    """5.6: the list of a large router fits."""
    for n in range(5_000):
        router.ppp(f"user-{n}", "02:00:5E:10:00:03", f"10.1.{n // 256}.{n % 256}", 0x81A00000 + n)
    async with asyncio.timeout(BOUND_S):
        listed = await way.sessions(nas(router.port))
    assert len({one.user_name for one in listed}) == len(listed) == 5_000


async def test_a_list_that_cannot_be_had_says_why(way, router, monkeypatch):
    """5.6."""
    with pytest.raises(NoListError, match="refuses the login of 'curfew'"):
        await way.sessions(nas(router.port, password="wrong"))
    router.policies = {"api"}
    with pytest.raises(NoListError, match="not enough permissions"):
        await way.sessions(nas(router.port))
    monkeypatch.setattr(routeros, "LIST_WITHIN_S", 0.3)
    router.manners = "silent"
    with pytest.raises(NoListError, match=r"did not answer within 0\.3 s"):
        await way.sessions(nas(router.port))
    findings = await way.test(nas(router.port, user="x", password="wrong"))
    assert [finding.ok for finding in findings] == [False]
    with pytest.raises(NoListError, match="no `disconnect`"):
        await way.sessions(Nas(name="hut", addresses=("127.0.0.1/32",)))


async def test_the_connection_test_shows_a_part_of_each_reply(way, router):
    """5.6: a connection test that shows part of the reply, and removes nobody."""
    router.hotspot("alice", PHONE, "10.0.0.1")
    findings = await way.test(nas(router.port))
    assert [(finding.way, finding.ok, finding.sentence) for finding in findings] == [
        ("routeros", True, f"127.0.0.1 port {router.port} takes 'curfew' in, without TLS"),
        ("routeros", True, "RouterOS says: version 7.16.2 (stable), board-name RB5009UG+S+, uptime 3w2d1h"),
        ("routeros", True, f"1 session on hotspot and PPP: hotspot *1 (alice, {PHONE}, 10.0.0.1)"),
        ("routeros", True, "sessions may be removed: a removal of one that cannot exist found no such item"),
    ]
    assert router.users(HOTSPOT) == ["alice"]
    await nobody_is_connected(router)


@pytest.mark.parametrize(("policies", "good"), [({"read", "write"}, 0), ({"api"}, 2), ({"api", "read"}, 3)])
async def test_the_connection_test_stops_at_what_is_wrong(way, router, policies, good):
    """5.6: no permission has its own sentence."""
    router.policies = policies
    findings = await way.test(nas(router.port))
    assert [finding.ok for finding in findings] == [True] * good + [False]
    assert "needs the policies api, read and write" in findings[-1].sentence or "refuses the login" in findings[-1].sentence
