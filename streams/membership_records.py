"""An operator's word about who belongs where (`curfew groups`), taken into the identity's row; the counts follow with the same record."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.codec import decoder
from schemas.journal import MembershipOrder
from streams import ends, memberships
from streams.step import Step

_MEMBERSHIP = decoder(MembershipOrder).decode


def membership(step: Step, value: bytes) -> None:
    """The groups of an identity are these from now on; it need have no session yet. Running sessions move between the counts."""
    said = _MEMBERSHIP(value)
    step.time_ms = said.time_ms
    known = step.change.identity(said.identity, step.offset)
    step.change.identities[said.identity] = replace(known, groups=memberships.normal(said.groups))
    if not step.change.open_of(said.identity):  # which also brings its sessions before `group_slots`
        ends.forget_identity(step, said.identity, 0)
