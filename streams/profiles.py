"""Profiles: what a kind of NAS wants to be sent so that a session ends, and what to try next (behaviour 5.2).

Law of this file: a profile is data, a TOML text; `packaged` is the one place that reads the texts which are part of this package. Nothing
here changes an attribute: each goes back octet for octet as the NAS sent it.

    doc = "One sentence."
    port = 3799                      # UDP; 1700 is the other one in the field
    calling_station_id = "as-sent"   # or a notation: "AA-BB-CC-DD-EE-FF", "aabbccddeeff" ...
    event_timestamp = true
    message_authenticator = true
    [[attempt]]                      # in the order in which they are tried
    require = ["Acct-Session-Id"]    # not sent without all of these
    also = ["User-Name"]             # sent when the session has them
    request = "disconnect"           # or "coa": a CoA-Request, for NASes that end a session by one
    send = ["Cisco-AVPair=..."]      # sent as it stands here

Which set comes after which refusal is in `streams.kick`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import Annotated

import msgspec

from schemas.codec import JsonValue
from schemas.configuration import PACKAGED_PROFILES, AttributeSet, MacNotation, ProfileChange, attribute_field
from schemas.configuration import Port as PortNumber
from schemas.errors import CurfewError
from streams.radius.disconnect import COA_REQUEST, DISCONNECT_REQUEST, encode_field, in_notation
from streams.radius.encode import encode_attribute
from streams.radius.framing import HEADER_OCTETS, PACKET_OCTETS_MAX

ROOM_OCTETS = PACKET_OCTETS_MAX - HEADER_OCTETS - 18 - 6
"""What is left in a packet beside Message-Authenticator and Event-Timestamp."""
FITS_ALWAYS = ROOM_OCTETS // 255
"""So many attributes fit however long they are."""


class ProfileError(CurfewError):
    """A profile's text is wrong; the message names the profile."""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, cache_hash=True):
    """A kind of NAS.

    Attributes:
        doc: one sentence for people.
        port: UDP, where the configuration has none for the NAS.
        calling_station_id: the notation in which it wants a MAC address there.
        event_timestamp: whether Event-Timestamp is sent. message_authenticator: whether Message-Authenticator is.
        attempt: the attribute sets in the order in which they are tried.
    """

    doc: str
    attempt: Annotated[tuple[AttributeSet, ...], msgspec.Meta(min_length=1, max_length=8)]
    port: PortNumber = 3799
    calling_station_id: MacNotation = "as-sent"
    event_timestamp: bool = True
    message_authenticator: bool = True


class SentAttribute(msgspec.Struct, frozen=True, gc=False):
    """An attribute as it goes into a request.

    Attributes:
        name: the RADIUS name. number: the attribute's. octets: its value, as the NAS sent it.
    """

    name: str
    number: int
    octets: bytes


class Request(msgspec.Struct, frozen=True, gc=False):
    """One thing to ask of a NAS.

    Attributes:
        attributes: what the packet carries. code: what kind of packet it is.
        via: another way out; then there is no packet.
    """

    attributes: tuple[SentAttribute, ...] = ()
    code: int = DISCONNECT_REQUEST
    via: str = "radius"

    @property
    def name(self) -> str:
        """What it is called in results."""
        return self.via if self.via != "radius" else "CoA-Request" if self.code == COA_REQUEST else "Disconnect-Request"


def parse(name: str, text: str) -> Profile:
    """Read a profile.

    Args:
        name: its name, for the message.
        text: TOML.

    Raises:
        ProfileError: it is no TOML, has an unknown key, or names an attribute that identifies no session.
    """
    try:
        profile = msgspec.convert(tomllib.loads(text), Profile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as refused:
        raise ProfileError(f"The profile {name} cannot be read: {refused}.") from refused
    for attempt in profile.attempt:
        for attribute in (*attempt.require, *attempt.also):
            if attribute_field(attribute) is None:
                raise ProfileError(f"The profile {name} names {attribute}, which is not kept of a session.")
        try:
            _fixed(attempt)
        except ValueError as wrong:
            raise ProfileError(f"The profile {name} cannot be sent: {wrong}.") from wrong
    return profile


@cache
def packaged() -> Mapping[str, Profile]:
    """The profiles that are part of this package, by name; read once, since the files are as constant as the code beside them."""
    folder = resources.files("streams") / "profile_files"
    return {name: parse(name, (folder / f"{name}.toml").read_text("utf-8")) for name in PACKAGED_PROFILES}


def configured(changes: Iterable[ProfileChange]) -> dict[str, Profile]:
    """All profiles: the packaged ones, and over them those of the configuration, each built on those before it.

    Raises:
        KeyError: one extends a profile that is not there; `schemas.configuration_check` refuses that.
    """
    profiles = dict(packaged())
    for change in changes:
        said = {name: value for name in Profile.__struct_fields__ if (value := getattr(change, name)) is not None}
        profiles[change.name] = msgspec.structs.replace(profiles[change.extends], **said)
    return profiles


def requests(profile: Profile, session: Mapping[str, JsonValue]) -> tuple[Request, ...]:
    """What a session's NAS is asked, in the order in which it is tried; empty when the session lacks what the profile wants.

    A request that would say what an earlier one said is left out: the NAS has refused it already. So is one that fits into no packet.

    Raises:
        ValueError: the profile sends an attribute that cannot be encoded; the text names it.
    """
    found: list[Request] = []
    encoded: dict[str, tuple[SentAttribute, ...]] = {}
    for name, field in _fields(profile):
        value = session.get(field)
        encoded[name] = () if value is None else _encode(name, field, value, profile.calling_station_id)
    for attempt in profile.attempt:
        if not all([encoded[name] for name in attempt.require]):  # noqa: C419 - a list of one or two is made in a third of a generator's time
            continue
        attributes: tuple[SentAttribute, ...] = ()
        for name in attempt.require:
            attributes += encoded[name]
        for name in attempt.also:
            attributes += encoded[name]
        if attempt.send:
            attributes += _fixed(attempt)
        request = Request(attributes, COA_REQUEST if attempt.request == "coa" else DISCONNECT_REQUEST)
        if request not in found and _fits(attributes):
            found.append(request)
    return tuple(found)


def changes(profile: Profile, session: Mapping[str, JsonValue], coa: Mapping[str, JsonValue]) -> tuple[Request, ...]:
    """As `requests`, for a change of authorisation: CoA-Requests that name the session and carry these attributes.

    Raises:
        ValueError: one of them cannot be encoded; the text names it.
    """
    wanted = tuple(
        SentAttribute(name, *encode_attribute(name, one))
        for name, value in coa.items()
        for one in (value if isinstance(value, list | tuple) else (value,))
    )
    sets = dict.fromkeys(request.attributes for request in requests(profile, session) if request.code == DISCONNECT_REQUEST)
    return tuple(Request(attributes + wanted, COA_REQUEST) for attributes in sets if _fits(attributes + wanted))


def session_alone(session: Mapping[str, JsonValue]) -> tuple[SentAttribute, ...]:
    """Acct-Session-Id and nothing else, for the NAS that finds several sessions in what it was sent; empty without one."""
    value = session.get("acct_session_id")
    return () if value is None else _encode("Acct-Session-Id", "acct_session_id", value, "as-sent")


@lru_cache(maxsize=1_024)
def _fields(profile: Profile) -> tuple[tuple[str, str], ...]:
    """The attributes that a profile names, once each, with the fields that a session keeps them in."""
    names = dict.fromkeys(name for attempt in profile.attempt for name in (*attempt.require, *attempt.also))
    return tuple((name, attribute_field(name) or name) for name in names)


def _fits(attributes: Sequence[SentAttribute]) -> bool:
    return len(attributes) <= FITS_ALWAYS or sum([2 + len(one.octets) for one in attributes]) <= ROOM_OCTETS


@cache
def _fixed(attempt: AttributeSet) -> tuple[SentAttribute, ...]:
    """What goes as it stands in the profile; encoded once, since there are no more of these than the profiles have attempts."""
    pairs = (assignment.split("=", 1) for assignment in attempt.send)
    return tuple(SentAttribute(name, *encode_attribute(name, value)) for name, value in pairs)


def _encode(name: str, field: str, value: JsonValue, notation: MacNotation) -> tuple[SentAttribute, ...]:
    """The session's attribute, as often as the NAS sent it; nothing where it is one that no NAS can have sent.

    An empty one is left out as well (RFC 2865 section 5).
    """
    try:
        if not isinstance(value, list | tuple):  # nearly always
            number, octets = encode_field(field, value)
            if field == "calling_station_id":
                octets = in_notation(octets, notation)
            return (SentAttribute(name, number, octets),) if octets else ()
        encoded = [encode_field(field, one) for one in value]
    except ValueError:
        return ()
    return tuple(SentAttribute(name, number, octets) for number, octets in encoded if octets)
