"""Profiles: which attributes of a session a kind of NAS wants in a Disconnect-Request, and what to try next (behaviour 5.2).

Law of this file: a profile is data, a TOML text; `packaged` is the one place that reads the texts which are part of this package. Nothing
here changes an attribute: each goes back octet for octet as the NAS sent it.

    doc = "One sentence."
    [[attempt]]                      # in the order in which they are tried
    require = ["Acct-Session-Id"]    # not sent without all of these
    also = ["User-Name"]             # sent when the session has them
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated, NamedTuple

import msgspec

from schemas.codec import JsonValue
from schemas.errors import CurfewError
from schemas.session import DISCONNECT_FIELDS
from streams.radius.disconnect import encode_field
from streams.radius.framing import HEADER_OCTETS, PACKET_OCTETS_MAX

ROOM_OCTETS = PACKET_OCTETS_MAX - HEADER_OCTETS - 18 - 6
"""What is left in a packet beside Message-Authenticator and Event-Timestamp."""

FIELD_NAMES = {"-".join(field.split("_")): field for field in DISCONNECT_FIELDS}
"""The session's field by the RADIUS attribute's name in small letters."""


class ProfileError(CurfewError):
    """A profile's text is wrong; the message names the profile."""


class AttributeSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one attempt sends.

    Attributes:
        require: attribute names without which it is not tried; at least one, so that no request says less than whom it means.
        also: attribute names that go with them where the session has them.
    """

    require: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=16)]
    also: Annotated[tuple[str, ...], msgspec.Meta(max_length=16)] = ()


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of NAS.

    Attributes:
        doc: one sentence for people.
        attempt: the attribute sets in the order in which they are tried.
    """

    doc: str
    attempt: Annotated[tuple[AttributeSet, ...], msgspec.Meta(min_length=1, max_length=8)]


class SentAttribute(NamedTuple):
    """An attribute as it goes into a request.

    Attributes:
        name: the RADIUS name. number: the attribute's. octets: its value, as the NAS sent it.
    """

    name: str
    number: int
    octets: bytes


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
            if attribute.lower() not in FIELD_NAMES:
                raise ProfileError(f"The profile {name} names {attribute}, which is not kept of a session.")
    return profile


@cache
def packaged() -> Mapping[str, Profile]:
    """The profiles that are part of this package, by name; read once, since the files are as constant as the code beside them."""
    folder = resources.files("streams") / "profile_files"
    return {
        file.name.removesuffix(".toml"): parse(file.name, file.read_text("utf-8"))
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if file.name.endswith(".toml")
    }


def attribute_sets(profile: Profile, session: Mapping[str, JsonValue]) -> tuple[tuple[SentAttribute, ...], ...]:
    """What a session's requests carry, in the order in which they are tried; empty when the session lacks what the profile wants.

    A set that would send what an earlier one sent is left out: the NAS has refused it already. So is one that fits into no packet.
    """
    sets: list[tuple[SentAttribute, ...]] = []
    for attempt in profile.attempt:
        required = [_encode(name, session) for name in attempt.require]
        attributes = tuple(one for one in (*required, *(_encode(name, session) for name in attempt.also)) if one is not None)
        if None not in required and attributes not in sets and sum(2 + len(one.octets) for one in attributes) <= ROOM_OCTETS:
            sets.append(attributes)
    return tuple(sets)


def _encode(name: str, session: Mapping[str, JsonValue]) -> SentAttribute | None:
    """The session's attribute; None where it has none, an empty one (RFC 2865 section 5), or one that no NAS can have sent."""
    field = FIELD_NAMES[name.lower()]
    try:
        number, octets = encode_field(field, session[field])
    except (KeyError, ValueError):
        return None
    return SentAttribute(name, number, octets) if octets else None
