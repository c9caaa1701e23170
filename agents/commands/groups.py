"""`curfew groups`: who belongs where, and how full a group is."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from agents.commands.terminal import Refused, configured, json_option, moment, person, plural, run, say, show
from agents.directory import Selection, read_directory
from agents.group_directory import GroupView, read_groups
from agents.journal_orders import Order, write_orders
from schemas.codec import display, dumps
from schemas.configuration import Configuration
from schemas.journal import MembershipOrder
from schemas.policy import GROUPS_MAX
from schemas.session import IdentityRow
from schemas.topics import GROUPS
from streams.identity import IdentityRules
from streams.membership_csv import memberships_in, wrong_names
from streams.memberships import normal

COLUMNS = ("GROUP", "LIMIT", "COUNTED", "ALLOWED", "SESSIONS", "DRIFT", "LAST DRIFT")


@click.group()
def groups() -> None:
    """Who belongs to which groups and guest types, by your word. Guest types are written as `guest:NAME`.

    What accounting records tell themselves ([[membership]] in the policy) comes on top of it.
    """


@groups.command(name="set")
@click.argument("user")
@click.argument("names", nargs=-1, metavar="NAME...")
@configured
@json_option
def set_(configuration: Configuration, *, user: str, names: tuple[str, ...], as_json: bool) -> None:
    """Put USER into these groups and no others; without a NAME into none.

    The user need not be known yet. Sessions that run move between the counts, and nobody is disconnected by it.

    \b
    curfew groups set alice staff "night shift"
    curfew groups set visitor1 guest:daily
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    if wrong := wrong_names(list(names)):
        raise Refused(wrong[0])
    if len(set(names)) > GROUPS_MAX:
        raise Refused(f"{len(set(names))} groups are too many: at most {GROUPS_MAX} are kept of a user")
    identity = identity_of(configuration, user)
    wanted = normal(names)
    run(write_orders(configuration, _orders({identity: wanted})))
    if as_json:
        click.echo(dumps({"identity": identity, "groups": wanted}))
    else:
        click.echo(f"{identity}: {', '.join(wanted) or 'in no group'}")


@groups.command(name="show")
@click.argument("user")
@configured
@json_option
def show_(configuration: Configuration, *, user: str, as_json: bool) -> None:
    """Show in which groups USER is: by your word, and by what the records of each open session told."""
    identity = identity_of(configuration, user)
    directory = run(read_directory(configuration, Selection(identities=frozenset({identity}))))
    given = (directory.identities.get(identity) or IdentityRow(identity)).groups
    told = {f"{row.nas}/{row.acct_session_id}": row.groups for row in directory.rows() if row.groups}
    if as_json:
        click.echo(dumps({"identity": identity, "groups": given, "told_by_sessions": told}))
        return
    click.echo(f"{identity}: {', '.join(given) or 'in no group'}")
    for session, names in told.items():
        click.echo(display(f"{session}: {', '.join(names)}"))


@groups.command()
@click.argument("group", required=False)
@configured
@json_option
def count(configuration: Configuration, *, group: str | None, as_json: bool) -> None:
    """Show how full GROUP is, or each group that is counted: what each limit on the whole group counts, of how many.

    That is the group agent's own count, as of its last checkpoint. DRIFT is how many slots it ever found without a session, and when the
    last one: there should be none.

    \b
    curfew groups count staff
    curfew groups count --json | jq 'select(.drift > 0)'
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    if group is not None and (wrong := wrong_names([group])):
        raise Refused(wrong[0])
    views = run(read_groups(configuration, group))
    if as_json:
        for name, view in views.by_name.items():
            click.echo(dumps(_count(name, view)))
    else:
        lines = [cells for name, view in views.by_name.items() for cells in _count_cells(name, view)]
        show(lines, COLUMNS, as_json=False, as_object=str, cells=list)
    if views.unreadable:
        say(f"{plural(views.unreadable, 'row')} of {GROUPS.name} cannot be read.")


def _count(name: str, view: GroupView) -> dict[str, Any]:
    return {
        "group": name,
        "sessions": len(view.rows),
        "limits": [msgspec.structs.asdict(standing) for standing in view.standings],
        "drift": view.known.drift,
        "drift_ms": view.known.drift_ms or None,
        "policy_version": view.policy.version,
    }


def _count_cells(name: str, view: GroupView) -> Iterator[list[str]]:
    """A line for each limit; one for a group of which no limit counts the whole."""
    figures = [[standing.limit, str(standing.current), str(standing.max)] for standing in view.standings] or [["-", "-", "-"]]
    for each in figures:
        yield [name, *each, str(len(view.rows)), str(view.known.drift), moment(view.known.drift_ms or None)]


@groups.command(name="import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@configured
@json_option
def import_(configuration: Configuration, *, file: Path, as_json: bool) -> None:
    """Take a list from a CSV file: a user, then one group in each further column.

    Each user is in the groups of its lines and in no others; who is not in the file is left as it is. The file is checked first, and
    nothing of one with a mistake is taken.

    \b
    alice,staff,night shift
    visitor1,guest:daily
    bob
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as unreadable:
        raise Refused(f"{file}: {unreadable}") from unreadable
    rules = IdentityRules(configuration.identity)
    found, findings = memberships_in(text, lambda user: _identity(rules, user))
    if findings:
        raise Refused("\n".join(f"{file}: {finding}" for finding in findings))
    began_s = time.monotonic()
    run(write_orders(configuration, _orders(found)))
    took_s = time.monotonic() - began_s
    if as_json:
        click.echo(dumps({"users": len(found), "took_s": round(took_s, 3)}))
    else:
        say(f"{plural(len(found), 'user')} taken over in {took_s:.1f} s.")


def identity_of(configuration: Configuration, user: str) -> str:
    """Under what a user's records are filed.

    Raises:
        Refused: the name is nobody's.
    """
    identity = _identity(IdentityRules(configuration.identity), user)
    if not identity:
        raise Refused(f"{user!r} is nobody's name ([identity] not_an_identity)")
    return identity


def _identity(rules: IdentityRules, user: str) -> str:
    return user if user.startswith(("mac:", "cui:", "session:")) else rules.user_of(user)


def _orders(found: Mapping[str, tuple[str, ...]]) -> Iterable[Order]:
    invocation, now_ms, who = f"groups-{secrets.token_hex(6)}", round(time.time() * 1000), person()
    for number, (identity, names) in enumerate(found.items()):
        order = MembershipOrder(identity=identity, groups=names, id=f"{invocation}-{number}", who=who, time_ms=now_ms)
        yield Order("membership", identity, order)
