"""Whose session is it? What a device lists of itself, held against what accounting said (behaviour 5.6).

Law of this file: lists in, pairs out; it knows no protocol. It is used for two questions. Which of the sessions that a device lists is the
one that a command means: then a wrong pair would end somebody else's session, so what is doubtful is refused. And where do the device and
`session.table` differ: then every session has one partner at most.

Theory of operation: two descriptions contradict each other where both name a user, a device or, lacking devices, an address, and these
differ; then nothing else counts, also not an equal session id, which a device may give out again after a reboot. Without contradiction the
session id decides where both have one, then user and device, user and address, and what else there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Literal, NamedTuple

import msgspec

from schemas.codec import JsonValue, Text, display
from schemas.session import SessionRow
from schemas.ways import DeviceSession
from streams.mac import normal_mac

CANDIDATES_MAX = 64
"""So many rows that look alike are compared with one session of the device; more of them would be one user without devices."""
NAMED_MAX = 5
_SESSION_NUMBER = re.compile(r"(?:0x)?([0-9a-f]{1,8})", re.IGNORECASE | re.ASCII)

Where = Literal["both", "device", "table"]


class Signs(NamedTuple):
    """What a session is known by, in the notation in which it is compared.

    Attributes:
        station: the device: its MAC address in the table's notation, or what stands in Calling-Station-Id instead (a calling address).
    """

    user: str | None = None
    station: str | None = None
    address: str | None = None
    session_id: str | None = None


class Likeness(IntEnum):
    """How sure it is that two descriptions mean one session."""

    OTHER = 0
    USER_OR_STATION = 1
    USER_AND_ADDRESS = 2
    USER_AND_STATION = 3
    USER_AND_STATION_AND_ADDRESS = 4
    SESSION_ID = 5


class Choice(NamedTuple):
    """Which of a device's sessions is meant.

    Attributes:
        session: the one; None: none of them, or more than one could be.
        alike: those that it could be, when it is more than one.
        sentence: why there is none.
    """

    session: DeviceSession | None
    alike: tuple[DeviceSession, ...] = ()
    sentence: str = ""


class Held(NamedTuple):
    """A session of the device, of the table, or of both.

    Attributes:
        differs: what both name differently, by field name.
    """

    where: Where
    device: DeviceSession | None
    row: SessionRow | None
    differs: tuple[str, ...] = ()


def signs_of(attributes: Mapping[str, JsonValue]) -> Signs:
    """The signs of a session as a disconnect command carries it: attributes by field name."""
    return _signs(*(attributes.get(name) for name in ("user_name", "calling_station_id", "framed_ip_address", "acct_session_id")))


def attributes_of(device: DeviceSession) -> dict[str, JsonValue]:
    """A session that only the device knows, as a disconnect command carries it."""
    named = {
        "user_name": device.user_name,
        "calling_station_id": device.calling_station_id,
        "framed_ip_address": device.framed_ip_address,
        "acct_session_id": device.acct_session_id,
    }
    return {name: value for name, value in named.items() if value is not None}


def likeness(one: Signs, other: Signs) -> Likeness:
    """How sure it is that both mean one session; see the top of this file."""
    user, station = _same(one.user, other.user), _same_station(one.station, other.station)
    address = _same(one.address, other.address)
    if user is False or station is False or (station is None and address is False):
        return Likeness.OTHER
    if (same_id := _same_session_id(one.session_id, other.session_id)) is not None:
        return Likeness.SESSION_ID if same_id else Likeness.OTHER
    if user and station:
        return Likeness.USER_AND_STATION_AND_ADDRESS if address else Likeness.USER_AND_STATION
    if user and address:
        return Likeness.USER_AND_ADDRESS
    return Likeness.USER_OR_STATION if user or station else Likeness.OTHER


def choose(meant: Signs, listed: Sequence[DeviceSession]) -> Choice:
    """Which of the device's sessions is meant. What is like it in the highest degree is the one, if it is one alone."""
    degrees = [likeness(meant, _signs_of_device(session)) for session in listed]
    best = max(degrees, default=Likeness.OTHER)
    if best is Likeness.OTHER:
        others = [session for session in listed if meant.user is not None and _signs_of_device(session).user == meant.user]
        sentence = f"it has the user in other sessions only: {named(others)}" if others else "it lists no such session"
        return Choice(None, (), sentence)
    alike = tuple(session for session, degree in zip(listed, degrees, strict=True) if degree is best)
    if len(alike) > 1:
        return Choice(None, alike, f"{len(alike)} of its sessions could be the one, and none of them was touched: {named(alike)}")
    return Choice(alike[0])


def named(sessions: Sequence[DeviceSession]) -> str:
    """Some sessions of a device for people, the first few of them."""
    shown = [
        f"{session.kind} {session.device_id} ({display(session.user_name) or 'no user'}, "
        f"{display(session.calling_station_id) or 'no device'}, {display(session.framed_ip_address) or 'no address'})"
        for session in sessions[:NAMED_MAX]
    ]
    return ", ".join(shown) + (f" and {len(sessions) - NAMED_MAX} more" if len(sessions) > NAMED_MAX else "")


def hold(listed: Sequence[DeviceSession], rows: Iterable[SessionRow]) -> list[Held]:
    """Hold a device's list against the table.

    Args:
        listed: what the device says.
        rows: the open sessions of that NAS.

    Returns:
        The device's sessions in its order, each with its row where there is one, then the rows that the device does not list.
    """
    devices = [(session, _signs_of_device(session)) for session in listed]
    table = [(row, _signs(row.user_name, row.calling_station_id, row.framed_ip_address, row.acct_session_id)) for row in rows]
    partners: dict[int, int] = {}
    taken: set[int] = set()
    for device_key, row_key in _PASSES:
        groups: dict[object, list[int]] = {}
        for nth, (_, signs) in enumerate(table):
            if nth not in taken and (key := row_key(signs)) is not None:
                groups.setdefault(key, []).append(nth)
        for place, (_, signs) in enumerate(devices):
            group = [] if place in partners else groups.get(device_key(signs), [])
            for nth in reversed(group[-CANDIDATES_MAX:]):  # the newest first
                if likeness(signs, table[nth][1]) is not Likeness.OTHER:
                    partners[place] = nth
                    taken.add(nth)
                    group.remove(nth)
                    break
    held = [
        Held("device", session, None)
        if place not in partners
        else Held("both", session, table[partners[place]][0], _differences(signs, table[partners[place]][1]))
        for place, (session, signs) in enumerate(devices)
    ]
    return held + [Held("table", None, row) for nth, (row, _) in enumerate(table) if nth not in taken]


def _signs_of_device(session: DeviceSession) -> Signs:
    return _signs(session.user_name, session.calling_station_id, session.framed_ip_address, session.acct_session_id)


def _signs(user: JsonValue, station: JsonValue, address: JsonValue, session_id: JsonValue) -> Signs:
    shown = _shown(station)
    return Signs(_shown(user), shown and (normal_mac(shown) or shown), _shown(address), _shown(session_id))


def _shown(value: JsonValue) -> str | None:
    """A text as it is compared: foreign octets as escapes, since a device's list has them so; empty is nothing."""
    try:
        return display(msgspec.convert(value, Text | None)) or None
    except (msgspec.ValidationError, ValueError):  # an attribute of another type, or broken base64: nothing to know a session by
        return None


def _same(one: str | None, other: str | None) -> bool | None:
    """None: one of them says nothing."""
    return None if one is None or other is None else one == other


def _same_station(one: str | None, other: str | None) -> bool | None:
    """A MAC address and a calling address are two things."""
    if one is None or other is None or (normal_mac(one) is None) != (normal_mac(other) is None):
        return None
    return one == other


def _same_session_id(one: str | None, other: str | None) -> bool | None:
    """RouterOS lists `0x81A00003` what accounting calls `81a00003`. None: they cannot be compared."""
    if one is None or other is None or one == other:
        return None if one is None or other is None else True
    number, other_number = _session_number(one), _session_number(other)
    return None if number is None or other_number is None else number == other_number


def _session_number(session_id: str | None) -> int | None:
    found = None if session_id is None else _SESSION_NUMBER.fullmatch(session_id)
    return None if found is None else int(found[1], 16)


def _all(*parts: str | None) -> tuple[str | None, ...] | None:
    """A key, where nothing of it is missing."""
    return None if None in parts else parts


Key = Callable[[Signs], object]
_PASSES: tuple[tuple[Key, Key], ...] = (
    (lambda one: _session_number(one.session_id), lambda one: _session_number(one.session_id)),
    (lambda one: one.session_id, lambda one: one.session_id),
    (lambda one: _all(one.user, one.station, one.address), lambda one: _all(one.user, one.station, one.address)),
    (lambda one: _all(one.user, one.station), lambda one: _all(one.user, one.station)),
    (lambda one: _all(one.user, one.address), lambda one: _all(one.user, one.address)),
    # One sign alone, where the other side has not got the other: so groups stay small.
    (lambda one: None if one.station else one.user, lambda one: one.user),
    (lambda one: one.user, lambda one: None if one.station else one.user),
    (lambda one: None if one.user else one.station, lambda one: one.station),
    (lambda one: one.station, lambda one: None if one.user else one.station),
)
"""(key of a device's session, key of a row), the surest first: each takes what the ones before it left."""


def _differences(device: Signs, row: Signs) -> tuple[str, ...]:
    pairs = {
        "user_name": _same(device.user, row.user),
        "calling_station_id": _same(device.station, row.station),
        "framed_ip_address": _same(device.address, row.address),
    }
    return tuple(name for name, same in pairs.items() if same is False)
