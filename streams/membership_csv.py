"""A list of memberships as people have it: CSV (RFC 4180), a user in the first column and one group in each of the others.

Law of this file: (text, rule of identity) -> memberships or findings with their lines; the file is taken whole or not at all. A user may
stand on several lines, in any spelling that the ingest takes for the same: all of its groups together are the list. A user alone on a line
is in no group. Empty lines, lines that begin with `#`, and a first line whose first column says `user` are passed over.
"""

from __future__ import annotations

import csv
from collections.abc import Callable

import msgspec

from schemas.policy import GROUPS_MAX, GroupName
from streams.memberships import normal

FINDINGS_MAX = 100
"""So many are told; who has more has the wrong file."""


def memberships_in(text: str, identity_of: Callable[[str], str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Read a list.

    Args:
        text: what the file holds.
        identity_of: the identity of a user's name; empty for a name that is nobody's.

    Returns:
        Groups by identity, and the findings as `line N: ...`.
    """
    groups: dict[str, dict[str, None]] = {}
    findings: list[str] = []
    reader = csv.reader(text.splitlines(), strict=True)
    rows = iter(reader)
    while len(findings) < FINDINGS_MAX:
        try:
            cells = [cell.strip() for cell in next(rows)]
        except StopIteration:
            break
        except csv.Error as wrong:
            findings.append(f"line {reader.line_num}: no CSV: {wrong}")
            break
        if not any(cells) or cells[0].startswith("#") or (reader.line_num == 1 and cells[0].casefold() == "user"):
            continue
        identity = identity_of(cells[0]) if cells[0] else ""
        names = [cell for cell in cells[1:] if cell]
        if not identity:
            findings.append(f"line {reader.line_num}: {cells[0]!r} is nobody's name" if cells[0] else f"line {reader.line_num}: no user")
            continue
        known = groups.setdefault(identity, {})
        known.update(dict.fromkeys(names))
        findings += [f"line {reader.line_num}: {wrong}" for wrong in wrong_names(names)]
        if len(known) > GROUPS_MAX:
            findings.append(f"line {reader.line_num}: {cells[0]!r} is in {len(known)} groups, at most {GROUPS_MAX} are kept")
    return ({}, findings) if findings else ({identity: normal(tuple(names)) for identity, names in groups.items()}, [])


def wrong_names(names: list[str]) -> list[str]:
    """What is wrong with these names of groups, a sentence for each that is."""
    wrong = []
    for name in names:
        try:
            msgspec.convert(name, GroupName)
        except msgspec.ValidationError:
            wrong.append(f"{name[:60]!r} is no name of a group: 1 to 128 characters without control characters, no blank before")
    return wrong
