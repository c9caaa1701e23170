"""Decoding: a well-framed packet's attributes as the fields of an accounting record.

Law of this file: nothing in a well-framed packet raises. A value of the wrong type or size loses its attribute and is named in `dropped`,
the record stays (RFC 6929 section 2.8). What the record has no field for is kept by name or number. Authenticity is not this file's.

It runs for every packet, at tens of thousands a second, so the common ways (text, 32-bit integer, IPv4 address) are written out in one
loop: a call for each attribute would cost as much as all of the rest. What is rare goes through the tables of `values` and the functions
of `composite`.
"""

from typing import Any, Final, NamedTuple

from streams.radius.composite import EXTENDED, LONG_EXTENDED, VENDOR_SPECIFIC, Found, Fragments, extended, tagged, vendor_specific
from streams.radius.dictionary import Attribute, packaged
from streams.radius.fields import AUDIT_SESSION_ID, FIELDS, Value
from streams.radius.framing import HEADER_OCTETS
from streams.radius.values import CONVERTERS, DECIMAL, Converter, as_base64, opaque

Attributes = dict[str, Value | list[Value]]


class Decoded(NamedTuple):
    """What a packet says.

    Attributes:
        status: Acct-Status-Type by name (RFC 2866 section 5.1, RFC 2867 section 3), its number in decimal where it has no name, None where
            there is none that can be read.
        fields: the record's fields. Of an attribute that comes more than once the first is the field, and all are in `attributes`.
        event_timestamp_s: Event-Timestamp, seconds since 1970 by the NAS's clock.
        attributes: everything else, by name or number; what came more than once as a list, in order.
        dropped: names of the attributes whose value was wrong for their type, or is a secret that has no place in accounting.
        proxy_states: to be copied into the response, in order (RFC 2866 section 2.1).
        gigawords_present: whether the NAS counts beyond 32 bits.
    """

    status: str | None
    fields: dict[str, Value]
    event_timestamp_s: int | None
    attributes: Attributes
    dropped: list[str]
    proxy_states: list[bytes]
    gigawords_present: bool


# How an attribute is read. The loop asks in this order.
_TEXT, _OPAQUE, _INTEGER, _IPADDR, _CONVERT, _COMPOSITE, _PROXY_STATE, _IGNORE = range(8)
_PROXY_STATE_TYPE = 33
_TERMINATE_CAUSE_TYPE = 49
_MESSAGE_AUTHENTICATOR_TYPE = 80
# Read like fields, and taken out of them again when the whole packet was seen.
_TAKEN_OUT: Final = {40: "status", 52: "input_gigawords", 53: "output_gigawords", 55: "event_timestamp_s"}
_KEYS: Final = FIELDS | _TAKEN_OUT
_STATUS_NAMES: Final = packaged().values["Acct-Status-Type"]
_CAUSE_NAMES: Final = packaged().values["Acct-Terminate-Cause"]
_WAYS: Final = {"string": _TEXT, "octets": _OPAQUE, "integer": _INTEGER, "date": _INTEGER, "ipaddr": _IPADDR}


def _terminate_cause(octets: bytes) -> Value | None:
    """Decode Acct-Terminate-Cause to its name, or its number in decimal."""
    number = int.from_bytes(octets)
    return _CAUSE_NAMES.get(number, str(number)) if len(octets) == 4 else None


def _secret(_octets: bytes) -> Value | None:
    """Drop a value that is a password, however hidden: accounting must not carry it (RFC 2866 section 4.1, RFC 2867 section 5)."""
    return None


def _attribute(kind: int) -> Attribute:
    """Give what the dictionary says about a type, or stand in for it: named by its number, its value opaque."""
    return packaged().attributes.get((kind,), Attribute(str(kind), "octets"))


def _way(kind: int) -> int:
    """Decide how attributes of a type are read."""
    attribute = _attribute(kind)
    if kind == _PROXY_STATE_TYPE:
        return _PROXY_STATE
    if kind == _MESSAGE_AUTHENTICATOR_TYPE:
        return _IGNORE
    if kind == _TERMINATE_CAUSE_TYPE or attribute.is_secret:
        return _CONVERT
    if attribute.has_tag or attribute.type not in CONVERTERS:
        return _COMPOSITE
    return _WAYS.get(attribute.type, _CONVERT)


def _destination(kind: int) -> tuple[bool, str]:
    """Decide whether the values of a type go to `fields`, else to `attributes`, and under which key."""
    return (True, _KEYS[kind]) if kind in _KEYS else (False, _attribute(kind).name)


def _converter(kind: int) -> Converter:
    """Choose what decodes a type's value, or says that its size is wrong."""
    if kind == _TERMINATE_CAUSE_TYPE:
        return _terminate_cause
    if _attribute(kind).is_secret:
        return _secret
    return CONVERTERS.get(_attribute(kind).type, opaque)


_WAY: Final = bytes(_way(kind) for kind in range(256))
_KEY: Final = [_destination(kind)[1] for kind in range(256)]
_IS_FIELD: Final = bytes(_destination(kind)[0] for kind in range(256))
_NAMES: Final = [_attribute(kind).name for kind in range(256)]
_CONVERTER: Final = [_converter(kind) for kind in range(256)]


def decode_accounting(packet: bytes) -> Decoded:
    """Decode a packet's attributes.

    The Code is not looked at: the attributes of Disconnect-Requests mean the same.

    Args:
        packet: octets whose framing was checked; octets beyond its Length are not read.

    Returns:
        What it says.
    """
    fields: dict[str, Any] = {}
    attributes: Attributes = {}
    dropped: list[str] = []
    proxy_states: list[bytes] = []
    fragments: Fragments = {}
    ways, keys, is_field, decimal, from_bytes = _WAY, _KEY, _IS_FIELD, DECIMAL, int.from_bytes
    data = packet  # octets to the compiled core (`decode.pxd`)
    end = data[2] << 8 | data[3]
    at = HEADER_OCTETS
    while at < end:
        kind = data[at]
        begin = at + 2
        at += data[at + 1]
        way = ways[kind]
        value: Value | None
        if way <= _OPAQUE:
            try:
                value = data[begin:at].decode("utf-8")
            except UnicodeDecodeError:
                value = as_base64(data[begin:at])
            else:
                if way == _OPAQUE and not value.isprintable():
                    value = as_base64(data[begin:at])
        elif way == _INTEGER and at - begin == 4:
            value = from_bytes(data[begin:at])
        elif way == _IPADDR and at - begin == 4:
            value = f"{decimal[data[begin]]}.{decimal[data[begin + 1]]}.{decimal[data[begin + 2]]}.{decimal[data[begin + 3]]}"
        elif way == _COMPOSITE:
            _take_composite(_composite(kind, data[begin:at], fields, fragments), fields, attributes, dropped)
            continue
        elif way == _PROXY_STATE:
            proxy_states.append(data[begin:at])
            continue
        elif way == _IGNORE:
            continue
        else:
            value = _CONVERTER[kind](data[begin:at])
            if value is None:
                dropped.append(_NAMES[kind])
                continue
        store = fields if is_field[kind] else attributes
        key = keys[kind]
        if key in store:
            _keep_again(store[key], value, _NAMES[kind], attributes)
        else:
            store[key] = value
    dropped += [f"{kind}.{extended_type}" for kind, extended_type in fragments]
    status: Any = fields.pop("status", None)  # an integer, by the dictionary
    return Decoded(
        status if status is None else _STATUS_NAMES.get(status, str(status)),
        fields,
        fields.pop("event_timestamp_s", None),
        attributes,
        dropped,
        proxy_states,
        (bool(dropped) or "input_gigawords" in fields or "output_gigawords" in fields) and _put_gigawords_in(fields, attributes, dropped),
    )


def _composite(kind: int, octets: bytes, fields: dict[str, Value], fragments: Fragments) -> list[Found]:
    """Decode an attribute that holds others, a tag, or a part of a value."""
    if kind == VENDOR_SPECIFIC:
        return list(vendor_specific(octets, has_audit_session_id=AUDIT_SESSION_ID in fields))
    if kind in EXTENDED or kind in LONG_EXTENDED:
        return list(extended(kind, octets, fragments))
    return [tagged(_attribute(kind), octets)]


def _take_composite(found: list[Found], fields: dict[str, Value], attributes: Attributes, dropped: list[str]) -> None:
    """Put what a composite attribute held where it belongs."""
    for name, value in found:
        if value is None:
            dropped.append(name)
        elif name == AUDIT_SESSION_ID:
            fields[name] = value
        elif name in attributes:
            _keep_again(attributes[name], value, name, attributes)
        else:
            attributes[name] = value


def _keep_again(first: Value | list[Value], value: Value, name: str, attributes: Attributes) -> None:
    """Keep the second and later values of an attribute: a list of all of them, in order, in `attributes`."""
    so_far = attributes.get(name, first)
    attributes[name] = [*so_far, value] if isinstance(so_far, list) else [so_far, value]


def _put_gigawords_in(fields: dict[str, Any], attributes: Attributes, dropped: list[str]) -> bool:
    """Make the octet counters 64 bits wide (RFC 2869 sections 5.1 and 5.2), and say whether the NAS counts Gigawords at all.

    Gigawords without their counter are half a number: they stay in `attributes`. Those that were dropped still show that the NAS has them.
    """
    is_present = False
    for name, key, field in _GIGAWORDS:
        gigawords = fields.pop(key, None)
        is_present = is_present or gigawords is not None or name in dropped
        if gigawords is None:
            continue
        if field in fields:
            fields[field] += gigawords << 32
        else:
            attributes.setdefault(name, gigawords)
    return is_present


_GIGAWORDS: Final = (
    ("Acct-Input-Gigawords", "input_gigawords", "input_octets"),
    ("Acct-Output-Gigawords", "output_gigawords", "output_octets"),
)
