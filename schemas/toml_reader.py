"""From the tables of a TOML file to typed structs, with every finding and not only the first.

`msgspec.convert` stops at the first wrong value and knows no lines, so the walk over the types is done here; the types themselves (bounds,
patterns, descriptions) stay the only statement of what is allowed. Beside msgspec's own, a type may carry in `Meta(extra=...)`:
`unit`, a text that the file may give instead of the integer (`2 GiB`), and `file_key`, the key's name in the file.
"""

import difflib
import functools
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from schemas.errors import Problem
from schemas.secrets import may_be_secret
from schemas.toml_source import Path, Source

StructType = TypeVar("StructType", bound=msgspec.Struct)

_OCTETS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_OCTETS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNITS = {
    "octets": (_OCTETS, 'a text like "2 GiB" or "500 MB", or a whole number of octets'),
    "duration": (_SECONDS, 'a text like "4 h", "90 min" or "1 h 30 min", or a whole number of seconds'),
}
_QUANTITY = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([A-Za-z]+)", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN_CHARACTERS = 60


def quantity(text: str, unit: str) -> int | None:
    """`2 GiB` in octets (unit `octets`), `1 h 30 min` in seconds (unit `duration`), rounded down; None if it is neither."""
    factors = _UNITS[unit][0]
    total, offset = Decimal(0), 0
    while found := _QUANTITY.match(text, offset):
        if found[2] not in factors:
            return None
        total += Decimal(found[1]) * factors[found[2]]
        offset = found.end()
    return int(total) if offset and not text[offset:].strip() else None


def label(path: Path) -> str:
    """A path as people write it: `nas.disconnect.port`; which of several is told by the line."""
    return ".".join(part for part in path if isinstance(part, str))


@functools.cache
def known_keys(kind: type[msgspec.Struct]) -> dict[str, inspect.Field]:
    """The keys of a table in the file, in the order of the type."""
    fields = cast("inspect.StructType", inspect.type_info(kind)).fields
    return {_extra(field.type).get("file_key", field.encode_name): field for field in fields}


def bare(kind: inspect.Type) -> inspect.Type:
    """The type itself: an absent value and what is only said about it taken away."""
    while True:
        if isinstance(kind, inspect.UnionType):
            kind = next(option for option in kind.types if not isinstance(option, inspect.NoneType))
        elif isinstance(kind, inspect.Metadata):
            kind = kind.type
        else:
            return kind


class Reader:
    """One walk over a source: gathers the findings, and by path the structs that can be checked further.

    Attributes:
        problems: What was found so far.
        built: The structs that checks between values can go on with: those without findings, and those where the default can stand in for
            what was wrong without making anything look absent or other than it was meant.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.built: dict[Path, msgspec.Struct] = {}

    def every(self, kind: type[StructType]) -> Iterator[tuple[Path, StructType]]:
        """The structs of one type that can be checked further, in the order of the file."""
        return ((path, value) for path, value in self.built.items() if isinstance(value, kind))

    def read(self, kind: type[StructType], table: dict[str, Any], path: Path = ()) -> StructType | None:
        """A table as a struct; None after a finding in it."""
        keys = known_keys(kind)
        before = len(self.problems)
        for key in (key for key in table if key not in keys):
            self._unknown((*path, key), list(keys))
        values, usable = {}, True
        for key, field in keys.items():
            found = len(self.problems)
            if key in table:
                value = self._value(field.type, table[key], (*path, key))
                if len(self.problems) == found:
                    values[field.name] = value
                else:
                    usable &= _replaceable(field)
            elif field.required:
                where = f"[[{label(path)}]]" if path and isinstance(path[-1], int) else f"`{label(path)}`"
                self.problems.append(self.source.key_problem(path, f"{where} has no `{key}`", f"Add `{key}`: {_wanted(field.type)}."))
                usable = False
        if not usable:
            return None
        self.built[path] = built = kind(**values)
        return built if len(self.problems) == before else None

    def _unknown(self, path: Path, known: list[str]) -> None:
        near = difflib.get_close_matches(str(path[-1]), known, n=1)
        remedy = f"Write `{near[0]}`." if near else f"Remove it; known here: {', '.join(known)}."
        where = f" in `{label(path[:-1])}`" if len(path) > 1 else ""
        self.problems.append(self.source.key_problem(path, f"unknown key `{path[-1]}`{where}", remedy))

    def _value(self, kind: inspect.Type, written: Any, path: Path) -> Any:
        inner = bare(kind)
        unit = _extra(kind).get("unit")
        value: Any = quantity(written, unit) if isinstance(written, str) and unit is not None else written
        if isinstance(inner, inspect.StructType) and isinstance(value, dict):
            return self.read(inner.cls, value, path)
        if isinstance(inner, inspect.DictType) and isinstance(value, dict) and _within(inner.min_length, len(value), inner.max_length):
            return {key: self._value(inner.value_type, element, (*path, key)) for key, element in value.items()}
        if isinstance(inner, inspect.VarTupleType) and isinstance(value, list) and _within(inner.min_length, len(value), inner.max_length):
            return tuple(self._value(inner.item_type, element, (*path, index)) for index, element in enumerate(value))
        if _accepts(inner, value):
            return float(value) if isinstance(inner, inspect.FloatType) else value
        self.problems.append(self.source.value_problem(path, f"`{label(path)}` cannot be {_shown(path, written)}", _remedy(kind, written)))
        return None


def _extra(kind: inspect.Type) -> dict[str, str]:
    """What `Meta(extra=...)` says about a type, also about one that may be absent."""
    if isinstance(kind, inspect.UnionType):
        return next((found for option in kind.types if (found := _extra(option))), {})
    return (kind.extra or {}) if isinstance(kind, inspect.Metadata) else {}


def _replaceable(field: inspect.Field) -> bool:
    """Whether a default can stand in for a wrong value in the checks that follow."""
    inner = bare(field.type)
    return isinstance(inner, inspect.StructType) or not (field.required or field.default is None or isinstance(inner, inspect.LiteralType))


def _within(low: float | None, value: float, high: float | None) -> bool:
    return (low is None or low <= value) and (high is None or value <= high)


def _accepts(kind: inspect.Type, value: Any) -> bool:
    """Whether a value that is neither table nor list is what the type wants; a bool is no number here, unlike in Python."""
    match kind:
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and _within(kind.ge, value, kind.le)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool) and _within(kind.ge, value, kind.le)
        case inspect.LiteralType():
            return value in kind.values
        case inspect.StrType():
            return (
                isinstance(value, str)
                and not _CONTROL.search(value)
                and _within(kind.min_length, len(value), kind.max_length)
                and (kind.pattern is None or re.search(kind.pattern, value) is not None)
            )
        case _:
            return False


def _shown(path: Path, value: Any) -> str:
    """A wrong value as it stands in the file, unless it may be a secret."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an empty list" if not value else "a list" if len(value) == 1 else f"a list of {len(value)}"
    if may_be_secret(label(path[-1:])):
        return "an empty text" if value == "" else "this value"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _remedy(kind: inspect.Type, value: Any) -> str:
    inner = bare(kind)
    if isinstance(inner, inspect.LiteralType) and isinstance(value, str):
        near = difflib.get_close_matches(value, [str(known) for known in inner.values], n=1)
        if near:
            return f'Write "{near[0]}"; allowed are {_choices(inner)}.'
    return f"Write {_wanted(kind)}."


def _choices(kind: inspect.LiteralType) -> str:
    return ", ".join(f'"{value}"' for value in kind.values)


def _range(low: float | None, high: float | None) -> str:
    return f" from {low} to {high}" if low is not None and high is not None else ""


def _wanted(kind: inspect.Type) -> str:
    """What to write, as the end of a sentence that begins with `Write`."""
    if isinstance(kind, inspect.UnionType):
        kind = next(option for option in kind.types if not isinstance(option, inspect.NoneType))
    if (unit := _extra(kind).get("unit")) is not None:
        return _UNITS[unit][1]
    if isinstance(kind, inspect.Metadata) and kind.extra_json_schema and "description" in kind.extra_json_schema:
        return str(kind.extra_json_schema["description"])
    kind = bare(kind)
    match kind:
        case inspect.BoolType():
            return "true or false, without quotes"
        case inspect.IntType():
            return f"a whole number{_range(kind.ge, kind.le)}, without quotes"
        case inspect.FloatType():
            return f"a number{_range(kind.ge, kind.le)}, without quotes"
        case inspect.LiteralType():
            return f"one of {_choices(kind)}"
        case inspect.StrType():
            return f"a text in quotes{_length(kind)}"
        case inspect.VarTupleType(item_type=inspect.StructType()):
            return "each as a [[table]] of its own"
        case inspect.VarTupleType():
            return f"a list in brackets, each element {_wanted(kind.item_type)}"
        case _:
            return "a table: [name] on a line of its own, or { key = value } on one line"


def _length(kind: inspect.StrType) -> str:
    if not kind.min_length:
        return "" if kind.max_length is None else f" of at most {kind.max_length} characters"
    return f" of {kind.min_length} to {kind.max_length} characters"
