"""Groups that come with accounting records: `[[membership]]` put to work on a record's attributes.

Law of this file: (rules, record) -> (attributes that it carries, groups they tell). Patterns run in linear time (`schemas.patterns`). A
name that could not be a group's (blank, with control characters, too long) is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from schemas.accounting import AccountingRecord
from schemas.codec import JsonValue, Octets, display
from schemas.patterns import Regex, compiled
from schemas.policy import GROUP_NAME_CHARACTERS_MAX, GROUPS_MAX, GUEST, Membership
from streams.radius.dictionary import packaged
from streams.radius.fields import FIELDS

REMEMBERED_MAX = 65_536
"""Texts whose groups are remembered; when that many are known, all are forgotten and learned again."""

_STRUCT_FIELDS = {field.encode_name: field.name for field in msgspec.structs.fields(AccountingRecord)}
_FIELD_OF = {
    attribute.name: _STRUCT_FIELDS[FIELDS[code[0]]]
    for code, attribute in packaged().attributes.items()
    if len(code) == 1 and code[0] in FIELDS
}
"""The record's field of an attribute, by the attribute's name."""
_NO_ATTRIBUTES = b"{}"


class Told(NamedTuple):
    """What a record tells.

    Attributes:
        attributes: the rules' attributes that it carries: what they told before holds no longer.
        groups: (group, attribute), each group once.
    """

    attributes: frozenset[str]
    groups: tuple[tuple[str, str], ...]


class ToldGroups:
    """The rules of one policy, compiled."""

    def __init__(self, rules: tuple[Membership, ...]) -> None:
        self._rules: dict[str, list[Regex]] = {}
        for rule in rules:
            self._rules.setdefault(rule.attribute, []).append(compiled(rule.pattern))
        self._in_raw = [name.encode() for name in self._rules]
        self._remembered: dict[tuple[str, str], tuple[str, ...]] = {}

    def by(self, record: AccountingRecord) -> Told | None:
        """What a record tells; None where it carries none of the attributes."""
        if not self._rules:
            return None
        raw = bytes(record.attributes)
        more: dict[str, JsonValue] = {}
        if raw != _NO_ATTRIBUTES and any(name in raw for name in self._in_raw):
            more = msgspec.json.decode(raw)
        groups: dict[str, str] = {}
        carried = set()
        for attribute in self._rules:
            said = more.get(attribute)
            if said is None and attribute in _FIELD_OF:
                said = getattr(record, _FIELD_OF[attribute])
            if said is None:
                continue
            carried.add(attribute)
            for value in said if isinstance(said, list) else (said,):
                for group in self._groups_in(attribute, value if isinstance(value, str) else _text(value)):
                    groups.setdefault(group, attribute)
        return Told(frozenset(carried), tuple(groups.items())[:GROUPS_MAX]) if carried else None

    def _groups_in(self, attribute: str, text: str) -> tuple[str, ...]:
        known = self._remembered.get((attribute, text))
        if known is None:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            shown = display(text)
            known = self._remembered[attribute, text] = tuple(name for regex in self._rules[attribute] for name in _names(regex, shown))
        return known


def _names(regex: Regex, text: str) -> Iterator[str]:
    for found in regex.finditer(text):
        for kind, prefix in (("group", ""), ("guest_type", GUEST)):
            name = (found.group(kind) or "").strip() if kind in regex.groupindex else ""
            if name and name.isprintable() and len(name) <= GROUP_NAME_CHARACTERS_MAX and not (not prefix and name.startswith(GUEST)):
                yield prefix + name


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = Octets(value.get("base64", ""))
    return display(value) if isinstance(value, Octets) else str(value)
