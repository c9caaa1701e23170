"""Bytes and nouns. The only file that imports orjson; msgspec does the typed work, orjson what has no type.

Theory of operation: every value in a topic is JSON by name (people read it). A row of the table rests in memory as positional msgpack
(a third of the size, nothing for the garbage collector to walk); `schemas.session` pairs the two forms.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, TypeVar

import msgspec
import orjson

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()
encode = _ENCODER.encode
"""A struct (or plain JSON value) as UTF-8 JSON bytes."""


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for octets that somebody else wrote: no JSON, or not of that shape (`msgspec.ValidationError` is a DecodeError); no
UTF-8 within a string; nested without end."""


class Octets(msgspec.Struct, frozen=True, tag=False):
    """Octets that are not UTF-8, as they travel in JSON.

    Attributes:
        base64: the octets, RFC 4648 section 4.
    """

    base64: str


Text = str | Octets
"""A RADIUS text or string attribute: UTF-8 as a string, anything else as `Octets`."""

Whole = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
"""A number that every reader of JSON holds exactly (RFC 8259 section 6); the thousandfold of it, and sums, fit into 64 bits."""
COUNTER_MAX = 2**63 - 1
Counter = Annotated[int, msgspec.Meta(ge=0, le=COUNTER_MAX)]
"""Octets, seconds or slots that are counted together. A NAS's own counter has one bit more (RFC 2869 section 5.1), and never needs it."""

JsonValue = Any
"""What JSON can hold: the type system has no finite name for it."""


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder for one noun; it raises what is `UNREADABLE`, a `msgspec.ValidationError` with the field's path."""
    return msgspec.json.Decoder(kind)


def octets_of(value: Text) -> bytes:
    """The octets as the NAS sent them.

    Raises:
        ValueError: an `Octets` whose base64 is broken.
    """
    if isinstance(value, str):
        return value.encode()
    try:
        return base64.b64decode(value.base64, validate=True)
    except binascii.Error as broken:
        raise ValueError(f"not base64: {broken}") from broken


def display(value: Text | None) -> str:
    """A text for people's eyes: control characters and foreign octets shown as escapes, nothing as an empty string."""
    if value is None:
        return ""
    shown = value if isinstance(value, str) else octets_of(value).decode("utf-8", "backslashreplace")
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)


def dumps(value: JsonValue, *, indent: bool = False) -> str:
    """Any JSON value as one line (or indented) of text, for terminals and HTTP."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None, default=msgspec.to_builtins).decode()


def loads(data: bytes | str) -> JsonValue:
    """Any JSON value out of bytes.

    Raises:
        ValueError: it is not JSON.
    """
    return orjson.loads(data)
