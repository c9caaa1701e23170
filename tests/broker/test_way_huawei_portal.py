"""The way `huawei-portal` against a NAS written apart from it (behaviours 5.6, 5.7)."""

import asyncio
import contextlib

import pytest

from agents.broker import pick_free_port
from agents.ways.huawei_portal import HuaweiPortal
from schemas.configuration import Configuration, Disconnect, Kicker, Nas
from schemas.disconnect import DisconnectCommand
from schemas.ways import NoListError
from tests.support.portal_bas import PortalBas

SECRET = "portal-key"
PATIENT_S = 30
SILENT_S = 2


def the_nas(port, **changes):
    way = {"via": "huawei-portal", "address": "127.0.0.1", "port": port, "secret": SECRET, **changes}
    return Nas(name="campus", addresses=("127.0.0.1/32",), secret="s", disconnect=Disconnect(**way))


def command(**session):
    return DisconnectCommand(
        id="c",
        time_ms=1,
        expires_ms=2,
        nas="campus",
        identity="bob",
        session={"acct_session_id": "s1", "framed_ip_address": "192.0.2.7", **session},
        reason="limit",
    )


@contextlib.asynccontextmanager
async def bas(mood="honest"):
    loop = asyncio.get_running_loop()
    transport, one = await loop.create_datagram_endpoint(lambda: PortalBas(SECRET.encode(), {"192.0.2.7"}), local_addr=("127.0.0.1", 0))
    one.mood = mood
    try:
        yield one
    finally:
        transport.close()


def way(wait_s=PATIENT_S):
    return HuaweiPortal(Configuration(kicker=Kicker(source="127.0.0.1")), wait_s=wait_s)


async def test_a_user_is_logged_out_by_address_and_the_second_time_is_gone():
    """5.6: accepted is a promise like an ACK, error 3 is as 503."""
    async with bas() as nas:
        first = await way().disconnect(the_nas(nas.port), command())
        second = await way().disconnect(the_nas(nas.port), command())
    assert (first.answer, second.answer) == ("accepted", "gone")
    assert first.round_trip_ms is not None
    assert (nas.requests, nas.users, nas.refused) == (["192.0.2.7"] * 2, set(), 0)


@pytest.mark.parametrize(("mood", "answer"), [("reject", "refused"), ("fail", "refused"), ("flood", "accepted")])
async def test_what_the_nas_says_is_the_answer(mood, answer):
    """5.6: also when it says so a thousand times."""
    async with bas(mood) as nas:
        said = await way().disconnect(the_nas(nas.port), command())
    assert said.answer == answer
    assert said.detail.startswith("ACK_LOGOUT")


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("silent", "no answer from"),
        ("other-secret", "the secret is wrong"),
        ("other-serial", "(other-serial)"),
        ("truncate", "(malformed)"),
        ("garbage", "no ACK_LOGOUT"),
    ],
)
async def test_what_is_no_answer_ends_as_unanswered_in_its_time(mood, words):
    """5.6, 5.7: silence, a wrong secret, another exchange's answer, a cut packet, garbage."""
    async with bas(mood) as nas:
        async with asyncio.timeout(PATIENT_S):
            said = await way(SILENT_S).disconnect(the_nas(nas.port), command())
        assert nas.requests
    assert said.answer == "unanswered"
    assert words in said.detail


async def test_a_nas_with_another_secret_is_silent_and_a_closed_port_is_told():
    """5.6: it does not believe us, so nobody is logged out."""
    async with bas() as nas:
        silent = await way(SILENT_S).disconnect(the_nas(nas.port, secret="wrong"), command())
    closed = await way().disconnect(the_nas(pick_free_port()), command())
    assert (silent.answer, closed.answer) == ("unanswered", "unanswered")
    assert "closed" in closed.detail
    assert nas.refused >= 1
    assert nas.requests == []


@pytest.mark.parametrize(
    "session", [{"framed_ip_address": None}, {"framed_ip_address": "2001:db8::1"}, {"framed_ip_address": ["192.0.2.7"]}]
)
async def test_a_session_without_an_ipv4_address_cannot_be_named(session):
    """5.7: a named outcome, and nothing is sent."""
    async with bas() as nas:
        said = await way().disconnect(the_nas(nas.port), command(**session))
        assert nas.requests == []
    assert said.answer == "unsupported"


async def test_the_connection_test_says_what_is_wrong():
    """5.6: each wrong thing has its own sentence; nobody is logged out."""
    async with bas() as nas:
        (alive,) = await way().test(the_nas(nas.port))
        nas.users.add("240.0.0.1")
        (dangerous,) = await way().test(the_nas(nas.port))
        nas.mood = "other-secret"
        (secret,) = await way(SILENT_S).test(the_nas(nas.port))
        nas.mood = "silent"
        (silent,) = await way(SILENT_S).test(the_nas(nas.port))
    (closed,) = await way().test(the_nas(pick_free_port()))
    (without,) = await way().test(the_nas(1, secret=None))
    assert [one.ok for one in (alive, dangerous, secret, silent, closed, without)] == [True, *[False] * 5]
    for finding, words in zip(
        (alive, dangerous, secret, silent, closed, without),
        ("error 3", "dangerous", "secret is wrong", "firewall", "closed", "no `secret`"),
        strict=True,
    ):
        assert words in finding.sentence
    assert "192.0.2.7" not in nas.requests


async def test_it_has_no_list():
    """5.6: a wrong kind of NAS is a named refusal."""
    with pytest.raises(NoListError, match="has no list of users"):
        await way().sessions(the_nas(1))
    await way().close()
