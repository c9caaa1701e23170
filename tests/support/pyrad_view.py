"""A packet as pyrad reads it, beside what our decoder says of it.

What pyrad cannot read is not compared, nor what is a secret; all else is to be the same, name by name.
"""

import base64
import functools
import io

from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket

from streams.radius.decode import decode_accounting
from streams.radius.dictionary import packaged_texts
from streams.radius.fields import FIELDS

# The record's fields that are made of more than the attribute of their name, and what is no field at all.
GIGAWORDS = {"Acct-Input-Gigawords": "input_octets", "Acct-Output-Gigawords": "output_octets"}
HIDDEN = {"User-Password", "CHAP-Password", "Tunnel-Password"}
# Which of these several values have names, and where a tag ends, is read otherwise in packets that no NAS sends.
OTHERWISE = {"Acct-Status-Type", "Error-Cause"}


@functools.cache
def pyrad_dictionary():
    """Pyrad reads our dictionary files too."""
    dictionary = Dictionary()
    for _, text in packaged_texts():
        dictionary.ReadDictionary(io.StringIO(text))
    return dictionary


def json_of(value, *, is_text):
    """Give what pyrad read as our record has it."""
    if isinstance(value, bytes):
        shown = value.decode(errors="replace")
        is_shown = shown.encode() == value and (is_text or shown.isprintable())
        return shown if is_shown else {"base64": base64.b64encode(value).decode()}
    return value


def pyrad_values(packet, name):
    """Read an attribute's values one by one; those that pyrad cannot read are left out."""
    key = packet.dict.attrindex.GetForward(name)
    attribute = packet.dict[name]
    values = []
    for raw in dict.__getitem__(packet, key):
        try:
            values.append(json_of(packet._DecodeValue(attribute, packet._SplitTag(attribute, raw)[1]), is_text=attribute.type == "string"))
        except ValueError:
            continue
        if attribute.type.startswith("ipv6addr") and len(raw) != 16:
            values.pop()  # pyrad fills up what is too short
    return values


def said_by_us(decoded, code, name):
    """Give all the values that we have for an attribute, in order."""
    field = FIELDS.get(code)
    if name in GIGAWORDS:
        octets = decoded.fields.get(GIGAWORDS[name])  # there are none without the lower 32 bits
        return [] if octets is None else [octets >> 32]
    audit = decoded.fields.get("audit_session_id") if name == "Cisco-AVPair" else None
    first = [] if audit is None else [_with_prefix("audit-session-id=", audit)]
    if first or name in decoded.attributes:
        value = decoded.attributes.get(name, [])
        return first + (value if isinstance(value, list) else [value])
    if field in ("input_octets", "output_octets"):
        return [decoded.fields[field] & 0xFFFFFFFF]
    if field is not None:
        return [decoded.fields[field]] if field in decoded.fields else []
    if name == "Event-Timestamp":
        return [] if decoded.event_timestamp_s is None else [decoded.event_timestamp_s]
    if name == "Acct-Status-Type":
        return [] if decoded.status is None else [int(decoded.status) if decoded.status.isdecimal() else decoded.status]
    if name == "Proxy-State":
        return [json_of(state, is_text=False) for state in decoded.proxy_states]
    return [value for key, value in decoded.attributes.items() if key.startswith(name + ":")]


def _with_prefix(prefix, value):
    if isinstance(value, str):
        return prefix + value
    return json_of(prefix.encode() + base64.b64decode(value["base64"]), is_text=True)


def compare(datagram, secret, *, strange=False):
    """Assert that both read the same in a packet whose framing is right; give the record's fields that were compared.

    Args:
        strange: no NAS sent it: what we refuse is not compared, nor what the packet means only if it is right.
    """
    dictionary = pyrad_dictionary()
    packet = AcctPacket(packet=datagram, secret=secret, dict=dictionary)
    decoded = decode_accounting(datagram)
    compared = set()
    for name in packet.keys():  # noqa: SIM118  # pyrad's keys() gives names, its iterator numbers
        if not isinstance(name, str) or name in {"Message-Authenticator", *HIDDEN} or name not in dictionary.attributes:
            continue
        attribute = dictionary.attributes[name]
        if strange and (name in {*decoded.dropped, *OTHERWISE, *GIGAWORDS} or attribute.has_tag):
            continue
        theirs = pyrad_values(packet, name)
        if name == "Acct-Terminate-Cause":
            theirs = [str(value) for value in theirs]
        ours = said_by_us(decoded, dictionary.attrindex.GetForward(name), name)
        if strange and name == "Cisco-AVPair":  # the one that tells the session's id stands first in ours, wherever it came
            ours, theirs = sorted(ours, key=str), sorted(theirs, key=str)
        assert ours == theirs, name
        compared.add(FIELDS.get(dictionary.attrindex.GetForward(name), name))
    return packet, decoded, compared
