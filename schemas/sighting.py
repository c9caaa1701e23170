"""Whether somebody is there: what the prober is asked, and what was seen, by it or by anyone (behaviour 3.4).

A probe is a command of the session agent, so it stands at an offset of the journal; its answer comes back into the journal as a sighting.
Sightings from outside come in through the topic `presence.sightings`, one a record; in the journal they lie in batches.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.codec import Text, Whole

SEEN_MAX = 500
"""Sightings in one journal record at most."""

Sender = Annotated[str, Meta(max_length=128)]


class Probe(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A question to the prober (`presence.probes`): is the device still there, or does the NAS still talk?

    Attributes:
        id: deterministic (`streams.ids`).
        kind: `arp` asks the addresses on their segment; `query` asks the NAS.
        identity: whose session; empty for a question about the NAS itself.
        acct_session_id: the session; None likewise.
        addresses: the session's IPv4 and IPv6 addresses.
        mac: the device's MAC address, in small letters with colons; None: not known.
        rule: the liveness rule that asks. nth: the how manieth question since the last sign of life.
        asked_ms: the log's time.
    """

    id: str
    kind: Literal["arp", "query"]
    nas: str
    identity: str = ""
    acct_session_id: Text | None = None
    addresses: list[str] = []
    mac: str | None = None
    rule: str = ""
    nth: Whole = 1
    asked_ms: Whole


class Sighting(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Somebody was seen: at least a MAC address or an IP address says who.

    Attributes:
        time_ms: when, milliseconds since the epoch.
        by: who saw it: a switch, a DHCP server, an ARP watcher; what comes from one sender is limited.
        mac: in any notation.
        address: IPv4 or IPv6.
        probe_id: the probe that this answers; with nas and acct_session_id, its session. Of the prober only.
        nas: alone: the NAS itself answered.
    """

    time_ms: Whole
    by: Sender = ""
    mac: Annotated[str, Meta(max_length=64)] | None = None
    address: Annotated[str, Meta(max_length=64)] | None = None
    probe_id: str | None = None
    nas: str | None = None
    acct_session_id: Text | None = None


class Sightings(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was seen, as it lies in the journal (kind `sighting`)."""

    seen: Annotated[list[Sighting], Meta(max_length=SEEN_MAX)]
