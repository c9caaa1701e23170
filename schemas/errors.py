"""What is wrong, said so that a person can put it right.

Here lives the one shape of a finding about a file that people write (configuration, policy): where, what, and what to write instead.
Nothing here reads files or prints; the command line turns `Problem` into text and exit status 2.
"""

from collections.abc import Iterable
from typing import Generic, Literal, TypeVar

import msgspec

Value = TypeVar("Value")
Severity = Literal["error", "warning"]


class CurfewError(Exception):
    """The root of every exception that is raised on purpose; its text is a sentence for the person at the terminal."""


class Problem(msgspec.Struct, frozen=True):
    """One finding about a file.

    Attributes:
        severity: An error keeps the file from being used, a warning does not.
        file: The name as given by the caller, or the environment variable at fault.
        line: Counted from 1; 0 where there are no lines (an environment variable).
        column: Counted from 1, in characters; 0 like `line`.
        message: What is wrong, naming the key.
        remedy: A sentence that says what to write.
    """

    severity: Severity
    file: str
    line: int
    column: int
    message: str
    remedy: str

    def __str__(self) -> str:
        """As compilers do: `file:line:column: severity: message`, the remedy on the next line."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.severity}: {self.message}\n    {self.remedy}"


class Checked(msgspec.Struct, Generic[Value], frozen=True):
    """The outcome of a check: the value unless there was an error, and every finding in the order of the file."""

    value: Value | None
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The findings that keep the file from being used."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def in_order(value: Value | None, problems: Iterable[Problem]) -> Checked[Value]:
    """The outcome with its findings in the order of the file; with an error among them there is no value."""
    ordered = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return Checked(None if any(problem.severity == "error" for problem in ordered) else value, ordered)


def report(problems: Iterable[Problem]) -> str:
    """All findings as the text that a person reads, one after the other."""
    return "\n".join(map(str, problems))
