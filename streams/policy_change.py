"""Whom a new policy would hit at once: the open sessions that are over a limit which it enforces (`on_change = "enforce"`).

Law of this file: pure; (policy in force, policy wanted, the directory's rows) -> sessions by limit. It asks the very functions by which the
agents enforce it, on what the last checkpoints say; so it is what would be hit now, not what will be when the version takes effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from schemas.policy import Policy
from schemas.session import IdentityRow, SessionRow
from streams import limiting, limits
from streams.memberships import groups_of
from streams.rulebook import Asked, Rulebook


def hit_by(
    before: Policy, after: Policy, sessions: Iterable[SessionRow], identities: Mapping[str, IdentityRow], clock_ms: Mapping[str, int]
) -> dict[str, list[SessionRow]]:
    """The sessions that would go.

    Args:
        before: the policy in force.
        after: the one that is to be.
        sessions: all open ones.
        identities: what is kept of the identities, by name.
        clock_ms: the partition's clock, by identity.

    Returns:
        By the limit's name, for each limit that is enforced, in the policy's order; a session stands under the first that takes it.
    """
    book = Rulebook(after)
    enforced = limiting.enforced_by(before, after)
    found: dict[str, list[SessionRow]] = {limit.name: [] for limit in after.limits if limit.name in enforced}
    counted: dict[tuple[Asked, str], list[SessionRow]] = {}
    for row in sessions:
        if not limits.counts(row):
            continue
        known = identities.get(row.identity) or IdentityRow(row.identity)
        scene = limits.Scene(book, known, clock_ms.get(row.identity, 0))
        asked = book.questions(groups_of(known, row))
        for each in (*asked.first, *asked.group, *asked.last):
            if each.limit.name in enforced and limits.counts_in(scene, each, row):
                counted.setdefault((each, "" if each.limit.applies_to == "group" else row.identity), []).append(row)
    gone: set[tuple[str, str]] = set()
    for limit in after.limits:
        for (asked_limit, _), rows in counted.items():
            if asked_limit.limit is limit:
                staying = [row for row in rows if (row.nas, str(row.acct_session_id)) not in gone]
                going = limits.surplus(asked_limit, staying)
                gone |= {(row.nas, str(row.acct_session_id)) for row in going}
                found[limit.name] += going
    return found
