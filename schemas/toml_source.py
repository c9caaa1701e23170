"""A TOML file with the place of every key and value, so that a finding can name line and column.

`tomllib` reads the values and refuses what is no TOML, but tells no places. The scanner here walks the same text a second time and only
notes places; since it never sees a text that `tomllib` refused, it does not judge. A path is the way to a value, with the index of an
element: `("nas", 2, "disconnect", "port")`. What the environment puts over the file is noted under its variable instead of a line.
"""

import bisect
import re
import tomllib
from typing import Any

from schemas.errors import Problem, Severity

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_PART = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')[ \t]*""")
_SCALAR = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?"""(?:"{0,2})'  # up to two quotes may stand before the closing three
    r"|'''[\s\S]*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|[^,\]}#\n]+",
)
_SYNTAX_PLACE = re.compile(r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL)
_SYNTAX_REMEDIES = (
    ("Invalid value", 'Put text in quotes (key = "value"); numbers, true, false and [lists] go without.'),
    ("Expected '='", "Write `key = value`, or `[table]` on a line of its own."),
    ("Cannot overwrite", "Write this key once; the one before holds already."),
    ("Cannot declare", "Write this [table] once; several of one kind are each [[table]]."),
    ("Cannot mutate", "Write this table in one place only."),
    ("Expected newline", "Write one `key = value` a line."),
    ("Unclosed array", "Put a comma between the elements and close the list with ]."),
    ("Unclosed inline table", "Put a comma between the keys and close the table with }, all on one line."),
    ("Unterminated string", "Close the quotes."),
    ("Illegal character", "Close the quotes on the same line, and write control characters as escapes."),
    ("Unescaped '\\'", "Write the text in 'single quotes', where a backslash is a backslash, or double it."),
)
_SYNTAX_REMEDY = "Write `key = value` lines under `[table]` or `[[table]]` lines."


class Source:
    """One parsed file: its tables, and where everything in them stands.

    Attributes:
        file: The name used in findings.
        tables: What `tomllib` made of the text; the environment may have put values over it.
    """

    def __init__(self, file: str, text: str) -> None:
        """Parse `text`.

        Raises:
            tomllib.TOMLDecodeError: The text is no TOML.
            RecursionError: Its lists or tables are nested too deeply to be anybody's configuration.
        """
        self.file = file
        self.tables: dict[str, Any] = tomllib.loads(text)
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._keys, self._values = _Scanner(text).places()
        self._variables: dict[Path, str] = {}

    def override(self, section: str, key: str, value: object, variable: str) -> None:
        """Put a value from the environment over the file's; findings about it name the variable."""
        table = self.tables.setdefault(section, {})
        if isinstance(table, dict):  # else the file's own mistake is found first
            table[key] = value
            self._variables[(section, key)] = variable

    def key_problem(self, path: Path, message: str, remedy: str, severity: Severity = "error") -> Problem:
        """A finding that points to the key, or to the table that it should stand in."""
        return self._problem(path, self._keys, message, remedy, severity)

    def value_problem(self, path: Path, message: str, remedy: str, severity: Severity = "error") -> Problem:
        """A finding that points to the value."""
        return self._problem(path, self._values, message, remedy, severity)

    def line(self, path: Path) -> int:
        """The line of a value, 0 if it came from the environment."""
        return self.value_problem(path, "", "").line

    def _problem(self, path: Path, places: dict[Path, int], message: str, remedy: str, severity: Severity) -> Problem:
        if path[:2] in self._variables:
            return Problem(severity, self._variables[path[:2]], 0, 0, message, remedy)
        while path and path not in places and path not in self._keys:
            path = path[:-1]
        offset = places.get(path, self._keys.get(path, 0))
        line = bisect.bisect_right(self._line_starts, offset)
        return Problem(severity, self.file, line, offset - self._line_starts[line - 1] + 1, message, remedy)


def parse(text: str, file: str) -> Source | Problem:
    """Read TOML; what is no TOML gives the finding that says where and what to write instead."""
    try:
        return Source(file, text)
    except RecursionError:
        return Problem("error", file, 1, 1, "lists or tables are nested too deeply", "Write at most the levels that the example has.")
    except tomllib.TOMLDecodeError as refused:
        found = _SYNTAX_PLACE.match(str(refused))
        what = found["what"] if found else str(refused)
        lines = text.split("\n")
        at_end = found is None or found["line"] is None
        line, column = (len(lines), len(lines[-1]) + 1) if at_end or found is None else (int(found["line"]), int(found["column"]))
        remedy = next((remedy for start, remedy in _SYNTAX_REMEDIES if what.startswith(start)), _SYNTAX_REMEDY)
        return Problem("error", file, line, column, f"not TOML: {what[:1].lower()}{what[1:]}", remedy)


class _Scanner:
    """Walks TOML that is known to be well formed and notes the offset of every key and value by path."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self._keys: dict[Path, int] = {}
        self._values: dict[Path, int] = {}
        self._last_index: dict[Path, int] = {}

    def places(self) -> tuple[dict[Path, int], dict[Path, int]]:
        """Offsets of the keys and of the values."""
        table: Path = ()
        while self._at_something():
            if self._text[self._offset] == "[":
                table = self._header()
            else:
                self._key_value(table)
        return self._keys, self._values

    def _at_something(self) -> bool:
        self._skip_blank()
        return self._offset < len(self._text)

    def _skip_blank(self) -> None:
        self._offset = self._match(_BLANK).end()

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self._text, self._offset)
        if found is None:
            raise AssertionError(f"tomllib accepted what the scanner cannot read at {self._offset}")
        return found

    def _key(self, table: Path) -> Path:
        """A dotted key under `table`; each part is noted, and the last element of an array of tables is meant by the array's name."""
        path = table
        while True:
            found = self._match(_KEY_PART)
            if path in self._last_index:
                path = (*path, self._last_index[path])
            part = found[1]
            path = (*path, next(iter(tomllib.loads(f"{part} = 0"))) if part[0] in "\"'" else part)
            self._keys.setdefault(path, found.start(1))
            self._offset = found.end()
            if self._text[self._offset] != ".":
                return path
            self._offset += 1

    def _header(self) -> Path:
        start = self._offset
        brackets = 2 if self._text.startswith("[[", start) else 1
        self._offset += brackets
        path = self._key(())
        self._offset += brackets
        if brackets == 2:
            self._last_index[path] = self._last_index.get(path, -1) + 1
            path = (*path, self._last_index[path])
        self._keys[path] = start
        return path

    def _key_value(self, table: Path) -> None:
        path = self._key(table)
        self._offset += 1  # the =
        self._skip_blank()
        self._value(path)

    def _value(self, path: Path) -> None:
        self._values[path] = self._offset
        opening = self._text[self._offset]
        if opening not in "[{":
            self._offset = self._match(_SCALAR).end()
            return
        self._offset += 1
        index = 0
        while True:
            self._skip_blank()
            if self._text[self._offset] in "]}":
                self._offset += 1
                return
            if opening == "[":
                self._value((*path, index))
            else:
                self._key_value(path)
            index += 1
            self._skip_blank()
            if self._text[self._offset] == ",":
                self._offset += 1
