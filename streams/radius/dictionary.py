"""Dictionaries: names, numbers and types of attributes, from text in the manner of FreeRADIUS 3.

Law of this file: text in, tables out. Which attribute is called what, and of which type it is, is said in the files under `dictionaries/`
(one for each RFC or vendor) and nowhere else; they are data of this package, and `packaged` is the one place that reads them. pyrad reads
them too.

Statements, one a line, `#` begins a comment:
    ATTRIBUTE <name> <number>[.<number>...] <type> [<flag>,...]      flags: has_tag (RFC 2868), encrypt=N (its value is a secret)
    VALUE <attribute> <name> <number>
    VENDOR <name> <number> [format=<t>,<l>[,c]]                      another format than 1,1: its attributes are kept whole
    BEGIN-VENDOR <name> / END-VENDOR <name>
"""

from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Final

import msgspec

# RFC 8044's types by the names that dictionaries have for them; the last three hold attributes, not values.
TYPES: Final = frozenset(
    {"string", "octets", "integer", "date", "ipaddr", "ipv6addr", "ipv6prefix", "ipv4prefix", "ifid", "integer64"}
    | {"vsa", "extended", "long-extended"},
)
_VENDOR_SPECIFIC = 26

Code = tuple[int, ...]
"""Where an attribute is: (type,), (26, vendor, type) or (241, extended type) (RFC 6929 section 2.1 writes them with dots)."""


class DictionaryError(ValueError):
    """A dictionary's text is wrong; the message names file and line."""


class Attribute(msgspec.Struct, frozen=True):
    """What a dictionary says about one attribute."""

    name: str
    type: str
    has_tag: bool = False
    is_secret: bool = False


class Dictionary(msgspec.Struct, frozen=True):
    """All that was said in some dictionary texts.

    `attributes` by code, `values` the names of an attribute's numbers, `vendors` the names of the vendors, `odd_vendors` those whose
    attributes have another layout than one octet type and one octet length.
    """

    attributes: dict[Code, Attribute]
    values: dict[str, dict[int, str]]
    vendors: dict[int, str]
    odd_vendors: frozenset[int]


def parse(texts: Iterable[tuple[str, str]]) -> Dictionary:
    """Parse dictionary texts into one dictionary.

    Args:
        texts: (file name, text), in any order.

    Returns:
        The dictionary.

    Raises:
        DictionaryError: a statement is unknown or wrong, or two attributes claim one code.
    """
    parser = _Parser()
    for file_name, text in texts:
        parser.vendor = None
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            try:
                if words:
                    parser.statement(words)
            except (ValueError, KeyError, IndexError) as error:
                raise DictionaryError(f"{file_name}:{number}: cannot understand {line.strip()!r}: {error}") from error
    return Dictionary(parser.attributes, parser.values, {v: k for k, v in parser.vendors.items()}, frozenset(parser.odd_vendors))


class _Parser:
    """What was read so far, and in whose BEGIN-VENDOR block we are."""

    def __init__(self) -> None:
        self.attributes: dict[Code, Attribute] = {}
        self.values: dict[str, dict[int, str]] = {}
        self.vendors: dict[str, int] = {}
        self.odd_vendors: set[int] = set()
        self.vendor: int | None = None

    def statement(self, words: list[str]) -> None:
        match words:
            case ["ATTRIBUTE", name, code, kind, *flags] if kind in TYPES and len(flags) <= 1:
                self._attribute(name, tuple(map(int, code.split("."))), kind, flags[0].split(",") if flags else [])
            case ["VALUE", attribute, name, number]:
                self.values.setdefault(attribute, {})[int(number)] = name
            case ["VENDOR", name, number, *layout] if len(layout) <= 1:
                self.vendors[name] = int(number)
                if layout and layout != ["format=1,1"]:
                    self.odd_vendors.add(int(number))
            case ["BEGIN-VENDOR", name] if self.vendor is None:
                self.vendor = self.vendors[name]
            case ["END-VENDOR", name] if self.vendor == self.vendors[name]:
                self.vendor = None
            case _:
                raise ValueError("no such statement")

    def _attribute(self, name: str, code: Code, kind: str, flags: list[str]) -> None:
        if self.vendor is not None:
            code = (_VENDOR_SPECIFIC, self.vendor, *code)
        if code in self.attributes:
            raise ValueError(f"{self.attributes[code].name} has this code")
        is_secret = any(flag.startswith("encrypt=") for flag in flags)
        self.attributes[code] = Attribute(name, kind, has_tag="has_tag" in flags, is_secret=is_secret)


def packaged_texts() -> list[tuple[str, str]]:
    """Read the dictionary files that are part of this package.

    Returns:
        (file name, text), by file name.
    """
    folder = resources.files("streams.radius") / "dictionaries"
    return sorted((file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.startswith("dictionary."))


@cache
def packaged() -> Dictionary:
    """Give the dictionary of this package: read and parsed once, since the files are as constant as the code beside them."""
    return parse(packaged_texts())
