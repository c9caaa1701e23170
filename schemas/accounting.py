"""The accounting record: one Accounting-Request as it stands in the journal (INTERFACES "Accounting record")."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.codec import Text, Whole

EventSource = Literal["event-timestamp", "acct-delay-time", "arrival"]
SESSION_STATUSES = ("Start", "Interim-Update", "Stop")
NAS_STATUSES = ("Accounting-On", "Accounting-Off")


class AccountingRecord(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """What a NAS said in one packet (RFC 2866), with what the ingest knows about its arrival.

    Attributes:
        identity: the key this record was filed under; empty for Accounting-On/Off and records without any identity.
        status: Acct-Status-Type by its RFC name, or its number in decimal.
        nas: the NAS's name in the configuration.
        source: the packet's source address.
        ingest: the ingest's id, new at each of its starts.
        received_ms: arrival, wall clock of the ingest, milliseconds since the epoch.
        event_ms: Event-Timestamp, else arrival less Acct-Delay-Time (behaviour 1.8).
        event_source: which of these `event_ms` is.
        interim_interval_s: what the NAS was configured to send, where the configuration says so.
        gigawords: the packet carried Gigawords, so that the counters are truly 64 bits wide.
        attributes: all attributes without a field of their own, by name or number.
        dropped: attributes whose value had the wrong type (RFC 6929 section 2.8).
        disbelieved: attributes whose value cannot be true; it stands in `attributes` as it was sent.
        session_time_s: and all others: the RADIUS attribute of that name.
    """

    status: str
    nas: str
    source: str
    ingest: str
    received_ms: Whole
    event_ms: Whole
    event_source: EventSource = "arrival"
    identity: str = ""
    interim_interval_s: Whole | None = None
    user_name: Text | None = None
    acct_session_id: Text | None = None
    acct_multi_session_id: Text | None = None
    nas_ip_address: str | None = None
    nas_ipv6_address: str | None = None
    nas_identifier: Text | None = None
    nas_port: Whole | None = None
    nas_port_id: Text | None = None
    nas_port_type: str | Whole | None = None
    calling_station_id: Text | None = None
    called_station_id: Text | None = None
    framed_ip_address: str | None = None
    framed_ipv6_prefix: str | list[str] | None = None
    framed_interface_id: str | None = None
    delegated_ipv6_prefix: str | list[str] | None = None
    session_time_s: Whole | None = None
    input_octets: int | None = None
    output_octets: int | None = None
    input_packets: int | None = None
    output_packets: int | None = None
    gigawords: bool = False
    terminate_cause: str | Whole | None = None
    acct_delay_s: Whole | None = None
    class_: Text | None = msgspec.field(default=None, name="class")
    chargeable_user_identity: Text | None = None
    session_timeout_s: Whole | None = None
    idle_timeout_s: Whole | None = None
    termination_action: Whole | str | None = None
    audit_session_id: Text | None = None
    attributes: msgspec.Raw = msgspec.Raw(b"{}")
    dropped: list[str] = []
    disbelieved: list[str] = []
