"""Whose session an NTF_LOGOUT ends, and that it ends it once (behaviour 5.6)."""

from schemas.configuration import Disconnect, Nas
from schemas.session import SESSION_ROW, SessionRow
from streams import portal_logouts
from streams.huawei_portal import NTF_LOGOUT, SESSION_ID, Packet
from streams.portal_logouts import REPEATED_WITHIN_S, PortalNas, PortalSessions, Repeats, order_for, order_id, portal_nases

OF_USER = Packet(NTF_LOGOUT, 9, "192.0.2.7")
MAC = (SESSION_ID, bytes.fromhex("02005e100001"))


def row(session="s1", *, nas="bras", state="open", address="192.0.2.7", device=None, order_ms=1):
    return SESSION_ROW.named(SessionRow(nas, session, "bob", state, framed_ip_address=address, device=device, order_ms=order_ms))


def followed(*rows):
    sessions = PortalSessions(["bras"])
    for key, value in rows:
        sessions.apply(0, key, value)
    return sessions


def test_the_open_session_at_the_address_is_meant():
    """5.6: of that NAS, not ended, and the newest where there are several."""
    sessions = followed(
        (b"s:bras/s1", row("s1", order_ms=5)),
        (b"s:bras/s2", row("s2", order_ms=9)),
        (b"s:bras/s3", row("s3", order_ms=11, state="ended")),
        (b"s:bras/s4", row("s4", order_ms=12, address="192.0.2.8")),
        (b"s:bras/s5", row("s5", order_ms=12, address=None)),
        (b"s:bras2/s6", row("s6", order_ms=12, nas="bras2")),
        (b"s:bras/bad", b"{"),
        (b"n:bras", b"{"),
    )
    held = sessions.at("bras", OF_USER)
    assert held is not None
    assert (held.acct_session_id, held.identity) == ("s2", "bob")
    assert sessions.at("bras2", OF_USER) is None


def test_a_session_that_ended_or_moved_is_not_at_the_address_any_more():
    """5.6: rows change and go."""
    sessions = followed((b"s:bras/s1", row()), (b"s:bras/s1", row(address="192.0.2.9")))
    assert sessions.at("bras", OF_USER) is None
    assert sessions.at("bras", OF_USER._replace(user_ip="192.0.2.9")) is not None
    sessions.apply(0, b"s:bras/s1", None)
    assert sessions.at("bras", OF_USER._replace(user_ip="192.0.2.9")) is None
    assert sessions._by_user == sessions._by_place == {}


def test_a_mac_address_in_the_notification_has_to_be_the_sessions():
    """5.6: somebody else has the address by now."""
    told = OF_USER._replace(attributes=(MAC,))
    assert followed((b"s:bras/s1", row(device="02:00:5e:10:00:01"))).at("bras", told) is not None
    assert followed((b"s:bras/s1", row(device=None))).at("bras", told) is not None
    assert followed((b"s:bras/s1", row(device="02:00:5e:10:00:02"))).at("bras", told) is None


def test_the_same_octets_are_the_same_order_for_a_day(monkeypatch):
    """5.6: nothing in a packet says when it was made."""
    repeats, one, other = Repeats(), order_id("bras", b"octets"), order_id("bras", b"others")
    assert len({one, other, order_id("bras2", b"octets")}) == 3
    assert not repeats.is_known(one, 0)
    repeats.remember(one, 100)
    assert repeats.is_known(one, 100 + REPEATED_WITHIN_S - 1)
    assert not repeats.is_known(one, 100 + REPEATED_WITHIN_S)
    assert not repeats.is_known(other, 100)
    monkeypatch.setattr(portal_logouts, "REPEATS_MAX", 1)
    repeats.remember(other, 101)
    assert not repeats.is_known(one, 101)


def test_the_order_says_logout_and_of_whom():
    """5.6: for the session agent, which ends the session by it."""
    held = followed((b"s:bras/s1", row())).at("bras", OF_USER)
    assert held is not None
    order = order_for(held, "bras", OF_USER, b"octets", 1_000)
    assert (order.op, order.identity, order.nas, order.acct_session_id, order.who) == ("logout", "bob", "bras", "s1", "bras")
    assert (order.id, order.time_ms, order.expires_ms) == (order_id("bras", b"octets"), 1_000, 61_000)
    assert order.text == "NTF_LOGOUT of 192.0.2.7, serial 9"


def test_only_nases_of_the_protocol_with_a_secret_are_believed():
    """5.6: by the address that they speak from."""

    def nas(name, **way):
        return Nas(name=name, addresses=("192.0.2.1",), secret="s", disconnect=Disconnect(**way))

    portal = {"via": "huawei-portal", "address": "192.0.2.1"}
    known = portal_nases(
        [nas("a", secret="x", **portal), nas("b", secret="y", **portal), nas("c", **portal), nas("d", address="192.0.2.2")]
    )
    assert known == {"192.0.2.1": (PortalNas("a", b"x"), PortalNas("b", b"y"))}
