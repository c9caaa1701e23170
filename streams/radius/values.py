"""Values: an attribute's octets by its type, as what JSON can hold.

Law of this file: one function for each data type of RFC 8044, octets in, value out, None where the size is wrong for the type (RFC 6929
section 2.8: that attribute is lost, nothing else). Text and octets go back to exactly the octets they came from (`to_octets`).
"""

import base64
import struct
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final

from streams.radius.fields import Value

Converter = Callable[[bytes], Value | None]


# An octet as it stands in an address: looking up is cheaper than converting.
DECIMAL: Final = [str(octet) for octet in range(256)]


def as_base64(octets: bytes) -> dict[str, str]:
    """Wrap octets that are no text."""
    return {"base64": base64.b64encode(octets).decode("ascii")}


def text(octets: bytes) -> Value:
    """Decode text: UTF-8 with whatever is in it (a NUL stays), else the octets."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return as_base64(octets)


def opaque(octets: bytes) -> Value:
    """Decode octets of no known meaning: as a string only where a person can read it all."""
    decoded = text(octets)
    return decoded if isinstance(decoded, str) and decoded.isprintable() else as_base64(octets)


def integer(octets: bytes) -> Value | None:
    """Decode an unsigned 32-bit integer, or a date in seconds since 1970."""
    return int.from_bytes(octets) if len(octets) == 4 else None


def integer64(octets: bytes) -> Value | None:
    """Decode an unsigned 64-bit integer."""
    return int.from_bytes(octets) if len(octets) == 8 else None


def ipaddr(octets: bytes) -> Value | None:
    """Decode an IPv4 address."""
    return ".".join([DECIMAL[octet] for octet in octets]) if len(octets) == 4 else None


def ipv6addr(octets: bytes) -> Value | None:
    """Decode an IPv6 address, written as RFC 5952 says."""
    return str(IPv6Address(octets)) if len(octets) == 16 else None


def ipv6prefix(octets: bytes) -> Value | None:
    """Decode an IPv6 prefix: a reserved octet, the prefix length, and 0 to 16 octets of prefix (RFC 3162 section 2.3)."""
    if not 2 <= len(octets) <= 18 or octets[1] > 128:
        return None
    bits = octets[1]
    number = int.from_bytes(octets[2:].ljust(16, b"\0")) >> (128 - bits) << (128 - bits)
    return f"{IPv6Address(number)}/{bits}"


def ipv4prefix(octets: bytes) -> Value | None:
    """Decode an IPv4 prefix: a reserved octet, the prefix length, and the 4 octets (RFC 8044 section 3.12)."""
    if len(octets) != 6 or octets[1] > 32:
        return None
    free = 32 - octets[1]
    network = int.from_bytes(octets[2:]) >> free << free
    return f"{ipaddr(network.to_bytes(4))}/{octets[1]}"


def ifid(octets: bytes) -> Value | None:
    """Decode an interface identifier: four groups of hexadecimal digits (RFC 3162 section 2.2)."""
    return "{:x}:{:x}:{:x}:{:x}".format(*struct.unpack("!4H", octets)) if len(octets) == 8 else None


CONVERTERS: Final[dict[str, Converter]] = {
    "string": text,
    "octets": opaque,
    "integer": integer,
    "date": integer,
    "integer64": integer64,
    "ipaddr": ipaddr,
    "ipv6addr": ipv6addr,
    "ipv6prefix": ipv6prefix,
    "ipv4prefix": ipv4prefix,
    "ifid": ifid,
}


def to_octets(value: Value) -> bytes:
    """Turn decoded text or octets back into the octets that were received.

    Args:
        value: str or {"base64": ...}.

    Returns:
        The octets.

    Raises:
        ValueError: it is neither, or its base64 is none.
    """
    match value:
        case str():
            return value.encode()
        case {"base64": str() as encoded, **rest} if not rest:
            return base64.b64decode(encoded, validate=True)
        case _:
            raise ValueError(f"neither text nor octets: {value!r}")
