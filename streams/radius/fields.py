"""Fields: which attributes the accounting record names itself, and in which unit.

Law of this file: the one table between RADIUS attribute numbers and the record's field names; `decode` reads it forwards, `disconnect`
backwards. Sources: RFC 2865, 2866, 2869, 3162, 4372, 4818 (numbers).
"""

from typing import Final

Value = int | str | dict[str, str]
"""A decoded value: integers as int, text and addresses as str, octets that are no text as {"base64": ...}."""

FIELDS: Final[dict[int, str]] = {
    1: "user_name",
    4: "nas_ip_address",
    5: "nas_port",
    8: "framed_ip_address",
    25: "class",
    27: "session_timeout_s",
    28: "idle_timeout_s",
    29: "termination_action",
    30: "called_station_id",
    31: "calling_station_id",
    32: "nas_identifier",
    41: "acct_delay_s",
    42: "input_octets",
    43: "output_octets",
    44: "acct_session_id",
    46: "session_time_s",
    47: "input_packets",
    48: "output_packets",
    49: "terminate_cause",
    50: "acct_multi_session_id",
    61: "nas_port_type",
    87: "nas_port_id",
    89: "chargeable_user_identity",
    95: "nas_ipv6_address",
    96: "framed_interface_id",
    97: "framed_ipv6_prefix",
    123: "delegated_ipv6_prefix",
}

# The one field that comes out of a vendor's attribute: Cisco-AVPair "audit-session-id=...".
AUDIT_SESSION_ID: Final = "audit_session_id"
CISCO_AVPAIR: Final = (26, 9, 1)
AUDIT_SESSION_ID_PREFIX: Final = b"audit-session-id="
