"""`curfew check`: whether configuration and policy make sense, before anything starts with them."""

from __future__ import annotations

from pathlib import Path

import click

from agents.commands.terminal import json_option, person_looks, say
from agents.settings import check_file
from schemas.codec import dumps
from schemas.configuration import Configuration
from schemas.errors import Problem
from streams.profiles import Profile, configured


@click.command()
@click.argument("files", nargs=-1, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--profile", metavar="NAME", help="Explain what a NAS with this profile is sent; one of the FILEs may define it.")
@json_option
def check(files: tuple[Path, ...], profile: str | None, as_json: bool) -> None:
    """Check configuration and policy files.

    Which of the two a file is shows from its content. Every finding has file:line:column, what is wrong, and what to write instead.
    A policy is held against the NASes of a configuration that is checked with it. Warnings do not fail; with an error the exit status is 2.

    \b
    curfew check curfew.toml policy.toml
    curfew check --profile mikrotik
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    if not files and profile is None:
        raise click.UsageError("name a file to check, or a --profile to explain")
    values = [check_file(file).value for file in files]
    nases = [nas for value in values if isinstance(value, Configuration) for nas in value.nas]
    problems = [problem for file in files for problem in check_file(file, nases).problems]
    for problem in problems:
        click.echo(dumps(problem) if as_json else _shown(problem))
    errors = sum(problem.severity == "error" for problem in problems)
    if errors:
        raise SystemExit(2)
    if files:
        say(f"{', '.join(map(str, files))}: in order" + (f", {len(problems)} to look at" if problems else ""))
    if profile is not None:
        _explain(profile, [value for value in values if isinstance(value, Configuration)], as_json=as_json)


def _explain(name: str, configurations: list[Configuration], *, as_json: bool) -> None:
    """What is sent to a NAS with this profile, in the order in which it is tried (behaviour 5.2)."""
    profiles = configured([change for configuration in configurations for change in configuration.profile])
    if name not in profiles:
        raise click.UsageError(f"no profile is named {name!r}; there are {', '.join(sorted(profiles))}")
    profile = profiles[name]
    click.echo(dumps({"name": name, "profile": profile}) if as_json else "\n".join(_sentences(name, profile)))


def _sentences(name: str, profile: Profile) -> list[str]:
    extras = [
        text
        for text, given in (("Event-Timestamp", profile.event_timestamp), ("Message-Authenticator", profile.message_authenticator))
        if given
    ]
    notation = "" if profile.calling_station_id == "as-sent" else f"; a MAC address in Calling-Station-Id as {profile.calling_station_id}"
    lines = [
        f"{name}: {profile.doc}",
        f"UDP port {profile.port}, unless the NAS has a `port` of its own.",
        f"Every attribute goes octet for octet as the NAS sent it{notation}.",
        f"Each request carries {' and '.join(extras)} too." if extras else "Nothing else goes with them.",
    ]
    for nth, attempt in enumerate(profile.attempt, 1):
        request = "CoA-Request" if attempt.request == "coa" else "Disconnect-Request"
        also = f", and where the session has them {', '.join(attempt.also)}" if attempt.also else ""
        send = f", and always {', '.join(attempt.send)}" if attempt.send else ""
        lines.append(f"{nth}. {request} with {', '.join(attempt.require)}{also}{send}. Skipped for a session without one of the first.")
    if len(profile.attempt) > 1:
        lines.append(
            "The next one is tried when the NAS refuses the attributes (Error-Cause 401, 402, 407) or acknowledges and nothing ends."
        )
    return lines


def _shown(problem: Problem) -> str:
    colour = "red" if problem.severity == "error" else "yellow"
    text = str(problem)
    return text.replace(f"{problem.severity}:", click.style(f"{problem.severity}:", fg=colour, bold=True), 1) if person_looks() else text
