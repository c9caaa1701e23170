"""`curfew check`: whether configuration and policy make sense, before anything starts with them."""

from __future__ import annotations

from pathlib import Path

import click

from agents.commands.terminal import json_option, person_looks, say
from agents.settings import check_file
from schemas.codec import dumps
from schemas.configuration import Configuration
from schemas.errors import Problem


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@json_option
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Check configuration and policy files.

    Which of the two a file is shows from its content. Every finding has file:line:column, what is wrong, and what to write instead.
    A policy is held against the NASes of a configuration that is checked with it. Warnings do not fail; with an error the exit status is 2.

    \b
    curfew check curfew.toml policy.toml
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    values = [check_file(file).value for file in files]
    nases = [nas for value in values if isinstance(value, Configuration) for nas in value.nas]
    problems = [problem for file in files for problem in check_file(file, nases).problems]
    for problem in problems:
        click.echo(dumps(problem) if as_json else _shown(problem))
    errors = sum(problem.severity == "error" for problem in problems)
    if errors:
        raise SystemExit(2)
    say(f"{', '.join(map(str, files))}: in order" + (f", {len(problems)} to look at" if problems else ""))


def _shown(problem: Problem) -> str:
    colour = "red" if problem.severity == "error" else "yellow"
    text = str(problem)
    return text.replace(f"{problem.severity}:", click.style(f"{problem.severity}:", fg=colour, bold=True), 1) if person_looks() else text
