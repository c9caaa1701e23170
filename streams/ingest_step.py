"""One datagram and its arrival time in, what is to be done out: refuse it, or file it under a key and answer when that is durable.

Law of this file: what an ingest decides about a packet is decided here, without socket, clock or Kafka; and nothing in a packet raises.
It runs tens of thousands of times a second, so records are built as plain dicts that go to JSON as they are: a test holds them against
`schemas.accounting.AccountingRecord`. In two steps, between which the caller asks whether the packet is a duplicate:

    admit     framing (every attribute, before anything else is looked at), source address -> secret, Code, authenticator
    file      attributes, which NAS, identity -> where the record goes. What is authentic but no record goes to `accounting.rejected`

Sources: RFC 2866 sections 3 and 4.1, RFC 5080 section 2.7.2 (secret by source address), RFC 5997 (Status-Server).
How large a record can get: a packet has 4096 octets at most, so its JSON stays far below the broker's message size.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from schemas.accounting import NAS_STATUSES, SESSION_STATUSES
from schemas.codec import encode
from schemas.configuration import Identity, Nas
from schemas.journal import Rejected
from schemas.topics import ACCOUNTING, REJECTED
from streams.identity import IdentityRules
from streams.nas_lookup import NasTable
from streams.partitioner import partition_of
from streams.radius.authenticator import verify_keyed_request, verify_status_server
from streams.radius.decode import Decoded, decode_accounting
from streams.radius.fields import Value
from streams.radius.framing import check_framing
from streams.radius.respond import ACCOUNTING_REQUEST, STATUS_SERVER
from streams.talking import Interim

EVERY_PARTITION: Final = -1
"""In place of a partition: what has no identity is in the journal of all (DESIGN "The flow")."""

EVENT_TIMESTAMP_OFF_S_MAX: Final = 86_400
"""An Event-Timestamp further than a day from the arrival is not believed."""

FIRST_ACCOUNTING_MS: Final = 852_076_800_000
"""RFC 2059 is of January 1997: nothing was accounted for before."""

NEVER_S: Final = 2**32 - 1
"""How some NASes say that a timeout is none; others say 0."""

_NAS_STATUSES: Final = frozenset(NAS_STATUSES)
_SESSION_STATUSES: Final = frozenset(SESSION_STATUSES)

# Reasons of our own; the others are those of `framing.Malformed` and `authenticator.BadAuthenticator`.
UNKNOWN_SOURCE: Final = "unknown-source"
UNKNOWN_NAS: Final = "unknown-nas"
CODE: Final = "code"


class Filed(NamedTuple):
    """Where a packet goes, and what its answer needs.

    Attributes:
        nas: the NAS's name.
        topic: the pinned name, without prefix.
        partition: its number, or EVERY_PARTITION.
        key: the identity (or, for what is rejected, the source) in UTF-8; None in every partition.
        value: the record's value.
        proxy_states: to be copied into the answer (RFC 2866 section 2.1).
        interim: what an Interim shows of its NAS's interval, where that is not configured.
    """

    nas: str
    topic: str
    partition: int
    key: bytes | None
    value: bytes
    proxy_states: list[bytes]
    interim: Interim | None = None


class IngestStep:
    """Configuration made ready to judge packets. A changed one makes a new step, so that a packet sees all of it or nothing."""

    def __init__(self, nases: Iterable[Nas], rules: Identity, partitions: int, ingest: str) -> None:
        """Build it from a configuration that was checked and whose secret files were read.

        Args:
            nases: the NASes.
            rules: `[identity]`.
            partitions: of the journal.
            ingest: this ingest's id.

        Raises:
            ValueError: a NAS without secret or with an address that is none.
        """
        self._table = NasTable(nases)
        self._rules = IdentityRules(rules)
        self._partitions = partitions
        self._ingest = ingest

    def admit(self, datagram: bytes, source: str) -> tuple[bytes, bytes] | str:
        """Whether a datagram is an authentic packet that this port takes.

        Args:
            datagram: what the socket gave.
            source: the address it came from.

        Returns:
            (packet without padding, secret), or the reason why it gets no answer.
        """
        length = check_framing(datagram)
        if isinstance(length, str):
            return length.value
        match = self._table.secret_for(source)
        if match is None:
            return UNKNOWN_SOURCE
        packet = datagram if length == len(datagram) else datagram[:length]
        secret = match.secret
        if packet[0] == ACCOUNTING_REQUEST:
            bad = verify_keyed_request(packet, secret, require_message_authenticator=match.require_message_authenticator)
        elif packet[0] == STATUS_SERVER:
            bad = verify_status_server(packet, secret)
        else:
            return CODE
        return (packet, secret) if bad is None else bad.value

    def file(self, packet: bytes, source: str, received_ms: int) -> Filed | str:
        """Where the record of an authentic Accounting-Request goes.

        Args:
            packet: from `admit`.
            source: the address it came from.
            received_ms: when, milliseconds since the epoch.

        Returns:
            What to write and where, or the reason why it gets no answer.
        """
        decoded = decode_accounting(packet)
        fields = decoded.fields
        nas = self._nas_of(fields, source)
        if nas is None:
            return UNKNOWN_NAS
        status = decoded.status
        if status is None:
            return self._rejected("no-status-type", packet, source, received_ms, (nas.name, decoded))
        if status in _SESSION_STATUSES and not fields.get("acct_session_id"):
            return self._rejected("no-session-id", packet, source, received_ms, (nas.name, decoded))
        identity = "" if status in _NAS_STATUSES else self._rules.identity_of(fields, nas.name)
        event_ms, event_source = _event_time(decoded, received_ms)
        record = {
            "identity": identity,
            "status": status,
            "nas": nas.name,
            "source": source,
            "ingest": self._ingest,
            "received_ms": received_ms,
            "event_ms": event_ms,
            "event_source": event_source,
            "attributes": decoded.attributes,
        }
        disbelieved = _disbelieved(decoded, received_ms, event_source)
        record.update(fields)
        if nas.interim_interval_s is not None:
            record["interim_interval_s"] = nas.interim_interval_s
        if decoded.gigawords_present:
            record["gigawords"] = True
        if decoded.dropped:
            record["dropped"] = decoded.dropped
        if disbelieved:
            record["disbelieved"] = disbelieved
        value = encode(record)
        if identity:
            partition = partition_of(identity, self._partitions)
            interim = None
            if status == "Interim-Update" and nas.interim_interval_s is None:
                interim = Interim(str(fields["acct_session_id"]), decoded.fields.get("session_time_s"))  # type: ignore[arg-type]  # an integer
            return Filed(nas.name, ACCOUNTING.name, partition, identity.encode(), value, decoded.proxy_states, interim)
        return Filed(nas.name, ACCOUNTING.name, EVERY_PARTITION, None, value, decoded.proxy_states)

    def partition_of_source(self, source: str) -> int:
        """The partition of what is filed under the sender's address: rejected packets, and the ticks that answer a Status-Server."""
        return partition_of(source, self._partitions)

    def _nas_of(self, fields: dict[str, Value], source: str) -> Nas | None:
        identifier = fields.get("nas_identifier")
        address = fields.get("nas_ip_address") or fields.get("nas_ipv6_address")
        return self._table.resolve(source, None if identifier is None else str(identifier), None if address is None else str(address))

    def _rejected(self, reason: str, packet: bytes, source: str, received_ms: int, seen: tuple[str, Decoded]) -> Filed:
        nas, decoded = seen
        rejected = Rejected(
            reason=reason,
            detail=f"An authentic Accounting-Request of {nas} {_MISSING[reason]}.",
            time_ms=received_ms,
            source=source,
            kind="accounting",
            bytes=base64.b64encode(packet).decode(),
        )
        return Filed(nas, REJECTED.name, self.partition_of_source(source), source.encode(), encode(rejected), decoded.proxy_states)


_MISSING: Final = {
    "no-status-type": "has no Acct-Status-Type that can be read",
    "no-session-id": "about a session has no Acct-Session-Id",
}


def _disbelieved(decoded: Decoded, received_ms: int, event_source: str) -> list[str]:
    """Attributes of which the NAS says what cannot be; nothing follows from them, and they stand in `attributes` as they were sent."""
    fields, names = decoded.fields, []
    if decoded.event_timestamp_s is not None and event_source != "event-timestamp":
        names.append("Event-Timestamp")
    for field, name, is_possible in _POSSIBLE:
        value = fields.get(field)
        if value is not None and not is_possible(value, received_ms):
            decoded.attributes.setdefault(name, value)
            del fields[field]
            names.append(name)
    return names


def _began_in_time(seconds: Value, received_ms: int) -> bool:
    return isinstance(seconds, int) and received_ms - 1000 * seconds >= FIRST_ACCOUNTING_MS


def _ends_some_time(seconds: Value, _received_ms: int) -> bool:
    return isinstance(seconds, int) and 0 < seconds < NEVER_S


_POSSIBLE: Final[tuple[tuple[str, str, Callable[[Value, int], bool]], ...]] = (
    ("session_time_s", "Acct-Session-Time", _began_in_time),
    ("acct_delay_s", "Acct-Delay-Time", _began_in_time),
    ("session_timeout_s", "Session-Timeout", _ends_some_time),
    ("idle_timeout_s", "Idle-Timeout", _ends_some_time),
)


def _event_time(decoded: Decoded, received_ms: int) -> tuple[int, str]:
    """When it happened, and who says so: Event-Timestamp, else arrival less Acct-Delay-Time, else arrival (behaviour 1.8).

    An Event-Timestamp that is not believed stays to be seen in `attributes`.
    """
    stamp_s = decoded.event_timestamp_s
    if stamp_s is not None:
        if abs(stamp_s * 1000 - received_ms) <= EVENT_TIMESTAMP_OFF_S_MAX * 1000:
            return stamp_s * 1000, "event-timestamp"
        decoded.attributes.setdefault("Event-Timestamp", stamp_s)
    delay_s = decoded.fields.get("acct_delay_s")
    if isinstance(delay_s, int) and received_ms - delay_s * 1000 >= FIRST_ACCOUNTING_MS:  # what reaches back beyond is garbage
        return received_ms - delay_s * 1000, "acct-delay-time"
    return received_ms, "arrival"
