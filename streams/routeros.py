"""The RouterOS API's words and what they mean: menus of active sessions, queries, refusals, the two ways to log in (behaviour 5.6).

Law of this file: words in, nouns out; whoever sends and reads them is elsewhere, as is their framing. Source: MikroTik's manual, "API"
(words, queries, `!trap` with its categories, login before and after 6.43), "Hotspot" and "PPP AAA" (the menus `active`).

A word travels here as text with one character per octet (ISO 8859-1), so that nothing of it is lost; `spoken` and `heard` are the ways from
and to people's text. RouterOS itself takes no notice of an encoding.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from schemas.codec import JsonValue
from schemas.ways import DeviceSession
from streams.device_sessions import signs_of
from streams.mac import normal_mac

API_PORT, API_SSL_PORT = 8728, 8729
POLICIES = "api, read and write"
"""What the group of the user needs."""
NO_SUCH_ID = "*FFFFFFFE"
"""An item that cannot exist: to remove it shows whether one may, and removes nothing."""

_UPTIME = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:\d+ms)?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(\d+):(\d+):(\d+)", re.ASCII)
_UNITS_S = (604_800, 86_400, 3_600, 60, 1)

Refusal = Literal["login", "permission", "no-item", "no-command", "other"]


class Menu(NamedTuple):
    """A list of active sessions.

    Attributes:
        path: as a command word. user, station: what it calls the user name and the device.
    """

    path: str
    user: str
    station: str


HOTSPOT = Menu("/ip/hotspot/active", "user", "mac-address")
PPP = Menu("/ppp/active", "name", "caller-id")
MENUS = (HOTSPOT, PPP)


def spoken(text: str) -> str:
    """A text as it is sent: its UTF-8 octets, one character each."""
    return text.encode().decode("latin-1")


def heard(word: str) -> str:
    """What was received, for people and for comparing: UTF-8, or its foreign octets as escapes, as `schemas.codec.display` shows them."""
    return word.encode("latin-1").decode("utf-8", "backslashreplace")


def attributes_of(words: Iterable[str]) -> dict[str, str]:
    """The attribute words (`=name=value`) of a sentence; others, like a tag, are left out."""
    named = {}
    for word in words:
        name, equals, value = word[1:].partition("=")
        if word.startswith("=") and equals:
            named[heard(name)] = heard(value)
    return named


def session_of(menu: Menu, attributes: Mapping[str, str]) -> DeviceSession:
    """A line of a menu. What is empty or missing is None; the kind is `hotspot`, or the PPP service (`pppoe`, `l2tp`, ...)."""
    return DeviceSession(
        kind="hotspot" if menu is HOTSPOT else attributes.get("service") or "ppp",
        device_id=attributes.get(".id", ""),
        user_name=attributes.get(menu.user) or None,
        calling_station_id=attributes.get(menu.station) or None,
        framed_ip_address=attributes.get("address") or None,
        acct_session_id=attributes.get("session-id") or None,
        uptime_s=uptime_s(attributes.get("uptime", "")),
        radius={"true": True, "yes": True, "false": False, "no": False}.get(attributes.get("radius", "")),
    )


def menu_of(session: DeviceSession) -> Menu:
    """The menu that a session stands in."""
    return HOTSPOT if session.kind == "hotspot" else PPP


def query_of(menu: Menu, session: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """The query words that find a session's user or device in a menu; none, which means everything, where it has no such name.

    Args:
        menu: which list is asked.
        session: the session's attributes, as a disconnect command carries them.
    """
    signs, words = signs_of(session), []
    if signs.user is not None and signs.user == session.get("user_name"):  # else it has octets that a query cannot be trusted with
        words.append(spoken(f"?{menu.user}={signs.user}"))
    if signs.station is not None:
        mac = normal_mac(signs.station)
        words.append(spoken(f"?{menu.station}={signs.station if mac is None else mac.upper()}"))
    return (*words, "?#|") if len(words) > 1 else tuple(words)


def uptime_s(text: str) -> int | None:
    """`1w2d3h4m5s`, `4m17s350ms` or `1d02:03:04` in seconds; None where it is neither."""
    found = (_CLOCK.fullmatch(text) or _UPTIME.fullmatch(text)) if text else None
    return None if found is None else sum(int(part or 0) * unit_s for part, unit_s in zip(found.groups(), _UNITS_S, strict=True))


def refusal_of(message: str) -> Refusal:
    """What kind of refusal a `!trap` is, by its words: the categories do not tell these apart."""
    said = message.casefold()
    if "no such item" in said:
        return "no-item"
    if "no such command" in said:
        return "no-command"
    if "permission" in said or "not allowed" in said:
        return "permission"
    return "login" if "user name or password" in said or "cannot log in" in said else "other"


def challenge_response(password: str, challenge: str) -> str:
    """The answer to a login challenge, before RouterOS 6.43: MD5 over a zero octet, the password and the challenge.

    Raises:
        ValueError: the challenge is not hexadecimal.
    """
    return "00" + hashlib.md5(b"\0" + password.encode() + bytes.fromhex(challenge)).hexdigest()
