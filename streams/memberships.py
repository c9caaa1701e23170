"""Who is in which groups: by an operator's word (the identity's row) and by what records told (the session's row).

Law of this file: pure. A session is in its identity's groups and in those that its own records told. A newer word replaces the older one:
an operator's list as a whole, an attribute's groups when a record carries that attribute again.
"""

from __future__ import annotations

from schemas.policy import GROUPS_MAX
from schemas.session import IdentityRow, SessionRow
from streams.told_groups import Told


def groups_of(known: IdentityRow, row: SessionRow) -> tuple[str, ...]:
    """The groups and guest types (`guest:NAME`) that a session is in, the operator's first."""
    return both(known.groups, row.groups)


def both(given: tuple[str, ...], told: tuple[str, ...]) -> tuple[str, ...]:
    """The groups that an operator gave, and those that its records told."""
    if not told:
        return given
    return given + tuple(group for group in told if group not in given)


def normal(groups: tuple[str, ...]) -> tuple[str, ...]:
    """An operator's list as it is kept: each name once, in the order of the alphabet, so that the same groups are the same tuple."""
    return tuple(sorted(set(groups)))[:GROUPS_MAX]


def take(row: SessionRow, told: Told) -> bool:
    """Put what a record told into the session's row.

    Returns:
        Whether its groups are others now.
    """
    had = tuple(zip(row.groups, row.groups_by, strict=True))
    if had == told.groups:
        return False  # as by nearly every Interim
    merged = dict([*(each for each in had if each[1] not in told.attributes), *told.groups])
    pairs = sorted(merged.items())[:GROUPS_MAX]
    groups = tuple(group for group, _ in pairs)
    changed = groups != row.groups
    row.groups, row.groups_by = groups, tuple(by for _, by in pairs)
    return changed
