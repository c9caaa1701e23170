"""Encoding: an attribute's name and its value in a file or in JSON, as the octets that go into a packet.

Law of this file: `decode` and `composite` backwards, for what people write and not for what a NAS has sent (that goes back octet for octet,
see `disconnect`). The dictionaries say number and type. Names are theirs, or numbers with dots ("26.9.1"); a tag follows after a colon,
"Tunnel-Private-Group-Id:1". Whatever cannot be sent raises ValueError with a sentence.
Sources: RFC 2865 section 5 (types, 5.26 vendors), RFC 2868 section 3 (tags), RFC 8044 (names of types).
"""

import ipaddress
from collections.abc import Callable
from functools import cache
from typing import Final

from streams.radius.composite import VENDOR_SPECIFIC
from streams.radius.dictionary import Attribute, Code, packaged
from streams.radius.values import to_octets

VALUE_OCTETS_MAX: Final = 253
_UNKNOWN: Final = Attribute("", "octets")


def encode_attribute(name: str, value: object) -> tuple[int, bytes]:
    """Encode one attribute.

    Args:
        name: as the dictionaries have it in any case, or numbers with dots; with or without a tag.
        value: text; an integer, or a text that is one or is the dictionary's name for one; {"base64": ...} for octets.

    Returns:
        (attribute number, octets); for a vendor's the whole Vendor-Specific value.

    Raises:
        ValueError: no attribute of that name is known, it cannot be sent (its value would be a secret, it is no simple attribute), or the
            value is none of its type.
    """
    plain, colon, tag = name.partition(":")
    code, attribute = _look_up(plain)
    if attribute.is_secret:
        raise ValueError(f"{name} is sent encrypted, which is not supported")
    try:
        octets = _tagged(attribute, value, _tag(tag)) if colon else _ENCODERS[attribute.type](value, attribute)
    except KeyError:
        raise ValueError(f"{name} is of type {attribute.type}, which cannot be written") from None
    except ValueError as wrong:
        raise ValueError(f"{name} cannot be {value!r}: {wrong}") from None
    if len(code) == 3:
        if len(octets) > VALUE_OCTETS_MAX - 6:
            raise ValueError(f"{name} is longer than an attribute can be: {len(octets)} octets")
        return VENDOR_SPECIFIC, code[1].to_bytes(4) + bytes((code[2], len(octets) + 2)) + octets
    if not 0 < len(octets) <= VALUE_OCTETS_MAX:
        raise ValueError(f"{name} of {len(octets)} octets cannot be sent")
    return code[0], octets


@cache
def _codes() -> dict[str, Code]:
    return {attribute.name.lower(): code for code, attribute in packaged().attributes.items()}


def _look_up(name: str) -> tuple[Code, Attribute]:
    """The code of a name or of numbers with dots, and what is known of it."""
    code = _codes().get(name.lower())
    if code is None and name.replace(".", "").isdecimal():
        code = tuple(int(part) for part in name.split(".") if part)
    if code is None:
        raise ValueError(f"no attribute is known by the name {name}")
    is_vendors = len(code) == 3 and code[0] == VENDOR_SPECIFIC and code[1] < 1 << 32 and 0 < code[2] < 256
    if not (is_vendors or (len(code) == 1 and 0 < code[0] < 241 and code[0] != VENDOR_SPECIFIC)):
        raise ValueError(f"{name} is no simple attribute")
    if is_vendors and code[1] in packaged().odd_vendors:
        raise ValueError(f"{name} is of a vendor with a layout of its own")
    return code, packaged().attributes.get(code, _UNKNOWN)


def _tag(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 0x20:
        raise ValueError(f"a tag is a number from 1 to 31, not {text}")
    return int(text)


def _tagged(attribute: Attribute, value: object, tag: int) -> bytes:
    if not attribute.has_tag:
        raise ValueError("it has no tag")
    octets = _ENCODERS[attribute.type](value, attribute)
    if attribute.type != "integer":
        return bytes((tag,)) + octets
    if octets[0]:
        raise ValueError("with a tag it has three octets")
    return bytes((tag,)) + octets[1:]


def _opaque(value: object, _: Attribute) -> bytes:
    return int(value).to_bytes(4) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32 else _text(value, _)


def _text(value: object, _: Attribute) -> bytes:
    if not isinstance(value, str | dict):
        raise ValueError("it is neither text nor octets")  # noqa: TRY004 - a file's or a record's mistake, not a caller's
    return to_octets(value)


def _integer(octets: int) -> Callable[[object, Attribute], bytes]:
    def encode(value: object, attribute: Attribute) -> bytes:
        if isinstance(value, str):
            names = {word.lower(): number for number, word in packaged().values.get(attribute.name, {}).items()}
            value = names.get(value.lower(), int(value) if value.isascii() and value.isdecimal() else None)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << (8 * octets):
            raise ValueError(f"it is no number of {octets} octets, and has no such name")
        return value.to_bytes(octets)

    return encode


def _address(family: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> Callable[[object, Attribute], bytes]:
    def encode(value: object, _: Attribute) -> bytes:
        return family(str(value)).packed

    return encode


def _prefix(value: object, attribute: Attribute) -> bytes:
    """A reserved octet, the length, the prefix: no more octets of IPv6 than it says, all four of IPv4 (RFC 8044 sections 3.10, 3.11)."""
    is_v6 = attribute.type == "ipv6prefix"
    network = (ipaddress.IPv6Network if is_v6 else ipaddress.IPv4Network)(str(value))
    octets = network.network_address.packed
    return bytes((0, network.prefixlen)) + (octets[: (network.prefixlen + 7) // 8] if is_v6 else octets)


_ENCODERS: Final[dict[str, Callable[[object, Attribute], bytes]]] = {
    "string": _text,
    "octets": _opaque,
    "integer": _integer(4),
    "date": _integer(4),
    "integer64": _integer(8),
    "ipaddr": _address(ipaddress.IPv4Address),
    "ipv6addr": _address(ipaddress.IPv6Address),
    "ipv6prefix": _prefix,
    "ipv4prefix": _prefix,
}
