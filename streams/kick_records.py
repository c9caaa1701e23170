"""The records of `disconnect.commands` read, and the kicker's results and refusals made into records. Octets in, nouns out, and back.

Law of this file: no Kafka. Whatever lies in the topic, `read_record` has an answer to it; what it cannot take goes to `accounting.rejected`
with its octets, and the partition goes on.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

import msgspec

from schemas.codec import UNREADABLE, decoder, encode
from schemas.disconnect import COMMAND_KIND, NOTICE_KIND, DisconnectCommand, DisconnectResult, SessionNotice
from schemas.journal import Rejected

VALUE_OCTETS_MAX = 65_536
"""The attributes of a session are far shorter; the results of a longer command might be refused by the broker, for good."""
REJECTED_OCTETS_MAX = 524_288
"""What of a rejected record is kept: base64 makes a third more of it, and the broker takes 1 MiB."""

_DECODERS: dict[str, msgspec.json.Decoder[DisconnectCommand] | msgspec.json.Decoder[SessionNotice]] = {
    COMMAND_KIND: decoder(DisconnectCommand),
    NOTICE_KIND: decoder(SessionNotice),
}
_RESULT = decoder(DisconnectResult)


class Refusal(NamedTuple):
    """Why a record cannot be taken: a name to count under, and a sentence."""

    reason: str
    detail: str


def read_record(kind: str, value: bytes | None) -> DisconnectCommand | SessionNotice | Refusal:
    """What a record of `disconnect.commands` says.

    Args:
        kind: its `kind` header.
        value: its value.
    """
    found = _DECODERS.get(kind)
    if found is None:
        return Refusal("unknown-kind", f"No record of kind {kind!r} belongs into disconnect.commands.")
    if value is None:
        return Refusal("no-value", "The record has no value.")
    if len(value) > VALUE_OCTETS_MAX:
        return Refusal("too-long", f"The record has {len(value)} octets; {VALUE_OCTETS_MAX} are taken.")
    try:
        return found.decode(value)
    except msgspec.ValidationError as wrong:
        return Refusal("lacks-fields", f"The {kind} lacks or mistakes a field: {wrong}")
    except UNREADABLE as wrong:
        return Refusal("not-json", f"The {kind} is not JSON: {wrong}")


def read_result(value: bytes | None) -> DisconnectResult | None:
    """A record of `disconnect.results`; None when somebody else put something there that is no result."""
    try:
        return _RESULT.decode(value or b"")
    except UNREADABLE:
        return None


def rejected(
    refusal: Refusal, *, time_ms: int, topic: str, partition: int, offset: int, kind: str, key: bytes | None, value: bytes
) -> bytes:
    """The record for `accounting.rejected`: where it lay, why it was refused, and its octets.

    Args:
        refusal: why.
        time_ms: when it was read.
        topic: where it lay, with partition and offset.
        partition: likewise.
        offset: likewise.
        kind: its header.
        key: its key.
        value: its octets; of more than `REJECTED_OCTETS_MAX` the first are kept.
    """
    return encode(
        Rejected(
            reason=refusal.reason,
            detail=refusal.detail,
            time_ms=time_ms,
            topic=topic,
            partition=partition,
            offset=offset,
            kind=kind[:256],
            key=(key or b"")[:1024].decode("utf-8", "backslashreplace"),
            bytes=base64.b64encode(value[:REJECTED_OCTETS_MAX]).decode(),
        )
    )
