"""Questions to a device that has fallen silent: the command of the session agent (behaviour 3.4). Those to a NAS are in `questions`.

A probe names all that an answer is held against: the session, its addresses, and the MAC address that alone may answer for it.
"""

from __future__ import annotations

import ipaddress

from schemas.codec import encode
from schemas.policy import Liveness
from schemas.session import SessionRow
from schemas.sighting import Probe
from schemas.topics import PROBES
from streams.partitioner import partition_of
from streams.step import Output, Step


def addresses_of(row: SessionRow) -> list[str]:
    """The addresses at which a session's device can be asked: Framed-IP-Address, and Framed-Interface-Id in a Framed-IPv6-Prefix."""
    addresses = [] if row.framed_ip_address is None else [row.framed_ip_address]
    prefixes = [row.framed_ipv6_prefix] if isinstance(row.framed_ipv6_prefix, str) else row.framed_ipv6_prefix or []
    for text in prefixes:
        prefix = ipaddress.IPv6Network(text, strict=False)
        if prefix.prefixlen == 128:
            addresses.append(str(prefix.network_address))
        elif prefix.prefixlen == 64 and row.framed_interface_id is not None:
            interface = int(ipaddress.IPv6Address(f"::{row.framed_interface_id}"))
            addresses.append(str(prefix[interface]))
    return addresses


def ask(step: Step, row: SessionRow, rule: Liveness) -> bool:
    """Ask for a sign of life, where there is anything to ask by; the count goes on either way."""
    addresses = addresses_of(row)
    if not addresses:
        return False
    probe = Probe(
        id=step.new_id(row.identity),
        kind="arp",
        nas=row.nas,
        identity=row.identity,
        acct_session_id=row.acct_session_id,
        addresses=addresses,
        mac=row.device,
        rule=rule.rule,
        nth=row.probes,
        asked_ms=step.time_ms,
    )
    step.out.append(Output(PROBES.name, partition_of(row.nas, step.core.partitions), row.nas.encode(), encode(probe)))
    return True
