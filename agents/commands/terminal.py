"""What every subcommand shares: its configuration, how it ends, and how it speaks.

The law: standard output is data, standard error is talk. Data is a table where a person looks (a terminal), aligned plain text in a pipe,
one JSON object a line with `--json`. Exit status 0: done; 1: it failed, and one sentence says why; 2: wrong usage, configuration or policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.settings import SettingsError, load_settings
from schemas.codec import display, dumps
from schemas.errors import CurfewError

T = TypeVar("T")
R = TypeVar("R")
Command = Callable[..., Any]

CONFIG_META = "curfew.config"
"""Where the click context keeps what `--config` named: for who reads it again, or starts others with it."""

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why: goes on record with who.")
outcomes_option = click.option(
    "--wait",
    "wait_s",
    default=10.0,
    type=click.FloatRange(min=0),
    metavar="S",
    show_default=True,
    help="Wait so many seconds for the outcomes.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


class Refused(click.ClickException):
    """Wrong configuration or policy, or a name that fits more than one thing: exit status 2."""

    exit_code = 2


def configured(command: Command) -> Command:
    """Give a subcommand `--config F`; it gets the `Configuration` as its first argument. A wrong one ends it with exit status 2."""

    @click.option(
        "--config",
        "config",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="F",
        help="The configuration; without it curfew.toml of the working directory, without that the defaults.",
    )
    @functools.wraps(command)
    def with_configuration(config: Path | None, **arguments: Any) -> Any:
        try:
            configuration = load_settings(config)
        except SettingsError as refused:
            raise Refused(str(refused)) from refused
        click.get_current_context().meta[CONFIG_META] = config
        return command(configuration, **arguments)

    return with_configuration


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run what a subcommand does with Kafka; what goes wrong becomes one sentence and exit status 1.

    aiokafka's own log lines are for operators of a service, not for a person at a prompt: they are silenced.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
    try:
        return asyncio.run(work)
    except CurfewError as failed:
        raise click.ClickException(str(failed)) from failed
    except BrokenPipeError:  # the reader of the pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def run_until_interrupted(work: Coroutine[Any, Any, None]) -> None:
    """As `run`, for what has no end of its own: Ctrl-C is how a person ends it."""
    with contextlib.suppress(KeyboardInterrupt):
        run(work)


def person_looks() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def say(sentence: str) -> None:
    """Talk: to standard error."""
    click.echo(sentence, err=True)


def show(
    rows: Iterable[R], columns: Sequence[str], *, as_json: bool, as_object: Callable[[R], Any], cells: Callable[[R], Sequence[str]]
) -> None:
    """Print rows of data.

    Args:
        rows: what is shown.
        columns: the table's headings.
        as_json: one object a line.
        as_object: a row as that object.
        cells: a row as the table's cells.
    """
    if as_json:
        for row in rows:
            click.echo(dumps(as_object(row)))
        return
    lines = [cells(row) for row in rows]
    if person_looks():
        Console().print(rich_table(columns, lines))
    else:
        for line in plain_table(columns, lines):
            click.echo(line)


def rich_table(columns: Sequence[str], cells: Iterable[Sequence[str]]) -> Table:
    """The table for a terminal. Cells are text, not markup: a user's name may hold brackets, and what would command a terminal."""
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        table.add_row(*(Text(display(cell)) for cell in row))
    return table


def plain_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """The same table as aligned lines."""
    lines = [list(columns), *([display(cell) for cell in row] for row in cells)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def moment(time_ms: int | None) -> str:
    """Milliseconds since the epoch as local time for people, to the second; nothing as a hyphen."""
    if not time_ms:
        return "-"
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def octets(count: int | None) -> str:
    """Octets in the unit that people read, e.g. `1.5 MiB`; nothing as a hyphen."""
    if count is None:
        return "-"
    amount, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def person() -> str:
    """Who sits at the terminal, also behind sudo."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or "unknown"


def plural(count: int, noun: str) -> str:
    """`1 session`, `2 sessions`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
