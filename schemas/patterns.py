"""Regular expressions that an operator writes: RE2, whose matching takes time linear in the text whatever the pattern says.

Law of this file: the one place that compiles them, so that `curfew check` accepts what the session agent runs, and no more.
"""

from __future__ import annotations

from typing import Any, Protocol

import re2

MEMORY_BYTES_MAX = 1 << 20
"""A pattern that needs more than that when compiled is refused."""


class PatternError(ValueError):
    """A text is no regular expression that RE2 takes; the message says why."""


class Regex(Protocol):
    """What a compiled pattern can do here."""

    groupindex: dict[str, int]

    def finditer(self, text: str) -> Any:
        """Every match, from left to right."""


def compiled(pattern: str) -> Regex:
    """A pattern made ready.

    Raises:
        PatternError: it does not compile, needs what takes more than linear time (look-around, back-references), or too much memory.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY_BYTES_MAX
    try:
        regex: Regex = re2.compile(pattern, options)
    except re2.error as refused:
        (reason,) = refused.args
        raise PatternError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from refused
    return regex
