"""Which session a new Start replaces on its NAS: the same device is there again, though nobody said that it had gone (behaviour 2.5).

A device has one session on a port, and an address belongs to one session. A Start whose device is on the same port of the same NAS, or has
the same framed address there, ends the session that it finds, as superseded; nothing is sent to the NAS. It must have begun after all that
is known of the old one. Whoever is in doubt leaves the session: it falls silent, and the liveness rule finds it.

What this does not see: sessions of other identities. An address that was given to somebody else is left to the liveness rule; an address
that another MAC has taken over is no sign of life there.
"""

from __future__ import annotations

from schemas.session import SessionRow
from streams import boots

NO_ADDRESS = ("0.0.0.0", "255.255.255.255", "255.255.255.254")  # noqa: S104 - nothing is bound to it
"""Framed-IP-Addresses that are none (RFC 2865 section 5.8)."""


def replaced_by(newcomer: SessionRow, others: list[SessionRow]) -> list[SessionRow]:
    """Those of the identity's open sessions that are over since the newcomer has started.

    Args:
        newcomer: a session that has begun with a Start.
        others: the identity's other open sessions.
    """
    return [row for row in others if row.nas == newcomer.nas and _is_replaced(row, newcomer)]


def _is_replaced(row: SessionRow, newcomer: SessionRow) -> bool:
    started_ms = newcomer.started_ms or 0
    if started_ms < row.event_ms or not boots.same_device(newcomer, row):
        return False
    if not row.start_seen and newcomer.order_ms < row.order_ms:
        return False  # its Interims came first, and by their arrival it began later: the NAS's clock has been set between them
    if started_ms == row.started_ms and row.start_believed:
        return False  # Event-Timestamps are whole seconds: nobody knows which of two Starts in one was first
    if _same(newcomer.device, row.device) and _same_port(newcomer, row):
        return True
    address = newcomer.framed_ip_address
    return _same(address, row.framed_ip_address) and address not in NO_ADDRESS and not _differ(newcomer.device, row.device)


def _same_port(newcomer: SessionRow, row: SessionRow) -> bool:
    if _differ(newcomer.nas_port, row.nas_port) or _differ(newcomer.nas_port_id, row.nas_port_id):
        return False
    return _same(newcomer.nas_port, row.nas_port) or _same(newcomer.nas_port_id, row.nas_port_id)


def _same(one: object, other: object) -> bool:
    return one is not None and one == other


def _differ(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other
