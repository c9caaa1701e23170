"""Composite attributes: what one attribute of the packet means when it holds others, a tag, or a part of a value.

Law of this file: everything in accounting that is not "one type, one value": vendors' attributes (RFC 2865 section 5.26), tags (RFC 2868
section 3), extended attributes and their fragments (RFC 6929 sections 2.1 to 2.4). Nothing here raises: what cannot be read is named and
dropped.
Names: from the dictionary; else by number with dots, "26.9.77", "241.3", "241.26.9.1"; a tag follows after a colon, "Tunnel-Type:1".
"""

from collections.abc import Iterator
from typing import Final

from streams.radius.dictionary import Attribute, Code, packaged
from streams.radius.fields import AUDIT_SESSION_ID, AUDIT_SESSION_ID_PREFIX, CISCO_AVPAIR, Value
from streams.radius.values import CONVERTERS, integer, opaque, text

Found = tuple[str, Value | None]
"""A name and its value; no value: it was wrong, and the name is dropped."""

Fragments = dict[tuple[int, int], bytes]
"""By (type, extended type): the octets of a long value of which more is to come."""

VENDOR_SPECIFIC: Final = 26
EXTENDED: Final = frozenset((241, 242, 243, 244))
LONG_EXTENDED: Final = frozenset((245, 246))
_MORE = 0x80
_TAG_MAX = 0x1F
_DICTIONARY = packaged()


def vendor_specific(octets: bytes, *, has_audit_session_id: bool) -> Iterator[Found]:
    """Decode a Vendor-Specific value.

    Cisco's first "audit-session-id=..." comes out under the record's field name, any other AV pair under its own.

    Args:
        octets: Vendor-Id, then (as RFC 2865 recommends) attributes of type, length, value.
        has_audit_session_id: whether the packet had one before this.

    Yields:
        The names and values.
    """
    if len(octets) < 4:
        yield "Vendor-Specific", None
        return
    vendor = int.from_bytes(octets[:4])
    parts = None if vendor in _DICTIONARY.odd_vendors else _split(octets, vendor)
    if parts is None:
        # A vendor that we know to follow the recommendation has sent nonsense; any other may have a layout of its own.
        is_wrong = len(octets) > 4 and vendor in _DICTIONARY.vendors and vendor not in _DICTIONARY.odd_vendors
        yield f"{VENDOR_SPECIFIC}.{vendor}", None if is_wrong else opaque(octets[4:])
        return
    for code, value in parts:
        if code == CISCO_AVPAIR and not has_audit_session_id and value.startswith(AUDIT_SESSION_ID_PREFIX):
            has_audit_session_id = True
            yield AUDIT_SESSION_ID, text(value[len(AUDIT_SESSION_ID_PREFIX) :])
        else:
            yield known(code, value)


def _split(octets: bytes, vendor: int) -> list[tuple[Code, bytes]] | None:
    """Split into (code, value) as RFC 2865 section 5.26 recommends; None when the lengths do not fill the octets exactly."""
    parts: list[tuple[Code, bytes]] = []
    at = 4
    while at + 2 <= len(octets):
        length = octets[at + 1]
        if length < 2:
            return None
        parts.append(((VENDOR_SPECIFIC, vendor, octets[at]), octets[at + 2 : at + length]))
        at += length
    return parts if at == len(octets) and parts else None


def known(code: Code, octets: bytes) -> Found:
    """Name and decode an attribute that is inside another: by the dictionary, else by number.

    Args:
        code: where it is, (26, vendor, type) or (241, extended type).
        octets: its value.

    Returns:
        Its name and value; None for a value that is wrong for its type, or a secret that has no place in accounting.
    """
    attribute = _DICTIONARY.attributes.get(code)
    if attribute is None:
        return ".".join(map(str, code)), opaque(octets)
    if attribute.is_secret:
        return attribute.name, None
    if attribute.has_tag:
        return tagged(attribute, octets)
    return attribute.name, CONVERTERS[attribute.type](octets)


def tagged(attribute: Attribute, octets: bytes) -> Found:
    """Decode an attribute that may begin with a tag (RFC 2868 section 3).

    A first octet above 0x1F is no tag but the value's own; tag 0 says that there is none.

    Args:
        attribute: what the dictionary says, `has_tag` being set.
        octets: the whole value.

    Returns:
        The name, with the tag after a colon, and the value.
    """
    has_tag = octets != b"" and octets[0] <= _TAG_MAX
    name = f"{attribute.name}:{octets[0]}" if has_tag and octets[0] else attribute.name
    if attribute.type == "integer":
        return name, integer(b"\0" + octets[1:] if has_tag else octets)
    return name, CONVERTERS[attribute.type](octets[1:] if has_tag else octets)


def extended(kind: int, octets: bytes, fragments: Fragments) -> Iterator[Found]:
    """Decode an extended attribute, joining the fragments of a long one.

    Args:
        kind: 241 to 246.
        octets: the value: Extended-Type, for 245 and 246 the flags, the data.
        fragments: what came before in this packet; changed here. What is left at the end has no end and is to be dropped.

    Yields:
        The name and value, unless more of it is to come.
    """
    is_long = kind in LONG_EXTENDED
    if len(octets) < (2 if is_long else 1):
        yield str(kind), None
        return
    key = (kind, octets[0])
    data = octets[1:]
    if is_long:
        data = fragments.pop(key, b"") + octets[2:]
        if octets[1] & _MORE:
            fragments[key] = data
            return
    yield _extended_value(key, data)


def _extended_value(key: tuple[int, int], data: bytes) -> Found:
    """Name and decode a whole extended value; extended type 26 holds a vendor's attribute (RFC 6929 section 2.4)."""
    if key[1] != VENDOR_SPECIFIC:
        return known(key, data)
    if len(data) < 5:
        return f"{key[0]}.{VENDOR_SPECIFIC}", None
    return known((*key, int.from_bytes(data[:4]), data[4]), data[5:])
