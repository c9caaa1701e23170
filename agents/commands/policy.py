"""`curfew policy`: publish a version, show one, and when each took effect."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from agents.commands.terminal import Refused, configured, json_option, moment, person, plural, run, say, show
from agents.directory import Selection, read_directory
from agents.policy_log import Published, publish, read_offsets, read_versions, wait_in_force, workers_run
from agents.settings import SettingsError, load_policy
from schemas.codec import dumps
from schemas.configuration import Configuration
from schemas.journal import PolicyVersion
from schemas.policy import Policy
from schemas.session import SessionRow
from schemas.toml_reader import known_keys
from streams import limiting, policy_change

IN_FORCE_WITHIN_S = 15.0
COLUMNS = ("VERSION", "PUBLISHED", "WHO", "RULES", "IN FORCE FROM (PARTITION:OFFSET)")


@click.group()
def policy() -> None:
    """Publish, show and list the versions of the policy."""


@policy.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@configured
@click.option("--version", "again", type=click.IntRange(min=1), metavar="N", help="Not a file, but what version N says: the way back.")
@click.option("--who", default=person, help="Who publishes it, for the record.  [default: the user at the terminal]")
@click.option("--dry-run", is_flag=True, help="Show whom it would hit, and publish nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def apply(configuration: Configuration, *, file: Path | None, again: int | None, who: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Publish a policy file as the next version.

    It is checked first, also against the NASes of the configuration. Where it enforces limits on those who are over them already
    (on_change = "enforce"), the number of sessions that it would hit is shown, and a person at a terminal is asked. Then every partition
    is waited for until it goes by the new version, and the offsets are printed. A file that says what the last version says publishes
    nothing. Without a worker it takes effect when one starts.

    \b
    curfew policy apply policy.toml --dry-run
    curfew policy apply --version 7
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    if (file is None) == (again is None):
        raise click.UsageError("name a file, or --version N")
    try:
        wanted = load_policy(file, configuration.nas) if file is not None else _version(configuration, again or 0)
    except SettingsError as refused:
        raise Refused(str(refused)) from refused
    hit = run(_hit_by(configuration, wanted))
    _tell_hit(hit, as_json=as_json and dry_run)
    if dry_run:
        if not hit:
            say("it disconnects nobody who is in already.")
        return
    if any(hit.values()) and not yes and sys.stdin.isatty() and not click.confirm("Publish it?", err=True):
        raise click.ClickException("nothing was published")
    published = run(publish(configuration, wanted, who, round(time.time() * 1000)))
    run(_tell(configuration, published, as_json=as_json))


@policy.command(name="show")
@click.argument("version", type=click.IntRange(min=1), required=False)
@configured
@json_option
def show_(configuration: Configuration, version: int | None, as_json: bool) -> None:
    """Show the last version, or VERSION.

    It is printed as a policy file with the defaults written out, as `curfew policy apply` takes it.
    """
    versions = run(read_versions(configuration))
    found = next((each for each in reversed(versions) if version in (None, each.version)), None)
    if found is None:
        raise click.ClickException(
            f"there is no version {version}" if version else "no policy was published yet: `curfew policy apply FILE`"
        )
    if as_json:
        click.echo(dumps(found))
    else:
        click.echo(f"# version {found.version}, published {moment(found.time_ms)}" + (f" by {found.who}" if found.who else ""))
        click.echo(policy_toml(found.policy), nl=False)


@policy.command()
@configured
@json_option
def history(configuration: Configuration, as_json: bool) -> None:
    """List all versions: when, by whom, and from which offset on.

    Each partition remembers its last versions only.
    """
    versions, offsets = run(_history(configuration))
    show(
        versions,
        COLUMNS,
        as_json=as_json,
        as_object=lambda each: {
            "version": each.version,
            "time_ms": each.time_ms,
            "who": each.who,
            "in_force": _by_partition(offsets.get(each.version, {})),
        },
        cells=lambda each: [
            str(each.version),
            moment(each.time_ms),
            each.who or "-",
            str(sum(map(len, _rules(each.policy).values()))),
            _places(offsets.get(each.version, {})) or "-",
        ],
    )


def _version(configuration: Configuration, number: int) -> Policy:
    found = next((each for each in run(read_versions(configuration)) if each.version == number), None)
    if found is None:
        raise Refused(f"there is no version {number}: `curfew policy history` lists them")
    return found.policy


async def _hit_by(configuration: Configuration, wanted: Policy) -> dict[str, list[SessionRow]]:
    """The open sessions that it would disconnect at once, by limit. Nothing is read where it enforces nothing."""
    versions = await read_versions(configuration)
    before = versions[-1].policy if versions else Policy()
    if not limiting.enforced_by(before, wanted):
        return {}
    directory = await read_directory(configuration, Selection())
    clocks = {identity: directory.partitions[home].clock_ms for identity, home in directory.homes() if home in directory.partitions}
    return policy_change.hit_by(before, wanted, directory.rows(), directory.identities, clocks)


def _tell_hit(hit: dict[str, list[SessionRow]], *, as_json: bool) -> None:
    if as_json:
        click.echo(dumps({"would_disconnect": {name: len(rows) for name, rows in hit.items()}}))
        return
    for name, rows in hit.items():
        users = len({row.identity for row in rows})
        say(f'"{name}" is enforced at once: it would disconnect {plural(len(rows), "session")} of {plural(users, "user")}.')


async def _tell(configuration: Configuration, published: Published, *, as_json: bool) -> None:
    version = published.version.version
    say(
        f"version {version} is published."
        if published.is_new
        else f"nothing changed: version {version} says the same, nothing was published."
    )
    waits = await workers_run(configuration)
    offsets, count = await wait_in_force(configuration, version, IN_FORCE_WITHIN_S if waits else 0)
    if as_json:
        click.echo(dumps({"version": version, "published": published.is_new, "in_force": _by_partition(offsets), "partitions": count}))
    elif offsets:
        click.echo(f"version {version} in force from (partition:offset) {_places(offsets)}")
    if len(offsets) < count:
        left = f"{plural(count - len(offsets), 'partition')} of {count} "
        say(
            left
            + (
                "did not confirm it yet; it takes effect when their worker gets there."
                if waits
                else "wait: no worker runs, it takes effect when one does."
            )
        )


async def _history(configuration: Configuration) -> tuple[list[PolicyVersion], Mapping[int, dict[int, int]]]:
    return await read_versions(configuration), await read_offsets(configuration)


def _by_partition(offsets: dict[int, int]) -> dict[str, int]:
    return {str(partition): offset for partition, offset in sorted(offsets.items())}


def _places(offsets: dict[int, int]) -> str:
    return " ".join(f"{partition}:{offset}" for partition, offset in sorted(offsets.items()))


def _rules(table: msgspec.Struct) -> dict[str, tuple[msgspec.Struct, ...]]:
    """The members that are tables of their own, by the file's key."""
    members = {key: getattr(table, field.name) for key, field in known_keys(type(table)).items()}
    return {key: value for key, value in members.items() if isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct)}


def policy_toml(policy: Policy) -> str:
    """A policy as the file that says it, with the defaults written out; octets and durations are whole numbers there."""
    lines = _keys(policy)
    for name, rules in _rules(policy).items():
        for rule in rules:
            lines += ["", f"[[{name}]]", *_keys(rule)]
    return "\n".join(lines) + "\n"


def _keys(table: msgspec.Struct) -> list[str]:
    members = {key: getattr(table, field.name) for key, field in known_keys(type(table)).items()}
    tables = _rules(table)
    return [f"{key} = {_toml(value)}" for key, value in members.items() if value not in (None, (), {}) and key not in tables]


def _toml(value: Any) -> str:
    """A value in TOML; a JSON string without bare control characters is a TOML basic string."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_toml(key)} = {_toml(each)}' for key, each in value.items())} }}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
