"""`curfew explain`: a decision, and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator

import click

from agents.commands.terminal import Refused, configured, json_option, moment, run
from agents.explanation import Explanation, GroupDecision, Record, explain_decision
from schemas.codec import JsonValue, display, dumps
from schemas.configuration import Configuration
from streams.ids import parse_decision_id


@click.command()
@click.argument("decision_id", metavar="ID")
@configured
@json_option
def explain(configuration: Configuration, decision_id: str, as_json: bool) -> None:
    """Tell what a decision rests on.

    That is the journal's record, the events and commands that followed from it, the rule and the policy's version, and the records named
    as its reason; for a limit of a whole group also the sessions that were counted, and whether the same comes out of these records
    again. ID is the id of a session event or of a disconnect command: PARTITION-OFFSET-N-IDENTITY, as in 3-1047-0-alice.
    """
    try:
        asked = parse_decision_id(decision_id)
    except ValueError as wrong:
        raise Refused(str(wrong)) from wrong
    found = run(explain_decision(configuration, asked, decision_id))
    if found is None:
        raise click.ClickException(f"{decision_id!r}: the journal has no partition {asked.partition}")
    if as_json:
        click.echo(dumps(found))
    else:
        click.echo("\n".join(map(display, _lines(found))))
    if not found.record.found and not found.events and not found.commands:
        raise SystemExit(1)


def _lines(found: Explanation) -> Iterator[str]:
    yield f"decision {found.id}"
    yield f"  made at {_place(found.record)}"
    yield from _fields(found.record.value)
    for name, values in (("event", found.events), ("command", found.commands), ("result", found.results)):
        for value in values:
            yield f"  {name} {value.get('type') or value.get('outcome') or value.get('reason')}" + (
                " (this one)" if value.get("id") == found.id else ""
            )
            yield from _fields(value)
    if found.policy_version is not None:
        yield f"  decided by policy version {found.policy_version}" + ("" if found.rule else " (which names no such rule, or is not there)")
        yield from _fields(found.rule)
    for record in found.because:
        yield f"  because of {_place(record)}"
        yield from _fields(record.value)
    for decision in found.groups:
        yield from _group_lines(decision)
    if not found.searched_all:
        yield "  more may have followed: the search ended at its bound"


def _group_lines(decision: GroupDecision) -> Iterator[str]:
    yield f"  group {decision.group}, limit {decision.limit}: {decision.current} open of {decision.max} allowed"
    yield f"      said at {_place(decision.verdict)}"
    yield f"      by policy version {decision.policy_version}" + ("" if decision.rule else " (which names no such rule, or is not there)")
    if decision.asked is not None:
        yield f"      asked at {_place(decision.asked)}"
    for nth, member in enumerate(decision.counted, 1):
        yield f"      counted {nth}: {member.session} of {member.identity}, slot {member.slot}"
        yield f"          came in at {_place(member.record)}"
        yield f"          which rests on {_place(member.source)}"
    if not decision.counted and decision.current and decision.asked is not None:
        yield f"      counted in all of {decision.asked.topic} partition {decision.asked.partition} before that: too many to be named"
    if decision.is_same is not None:
        yield "      made again from these records: " + ("the same" if decision.is_same else "NOT the same")


def _place(record: Record) -> str:
    where = f"{record.topic} partition {record.partition}, offset {record.offset}"
    if not record.found:
        return f"{where}: the record is not there (expired, or never written)"
    return f"{where}: {record.kind or 'no kind'}, taken in {moment(record.timestamp_ms)}"


def _fields(value: JsonValue) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for name, field in value.items():
        if field in (None, "", [], {}):
            continue
        shown = (
            f"{field} ({moment(field)})"
            if name.endswith("_ms") and isinstance(field, int)
            else field
            if isinstance(field, str)
            else dumps(field)
        )
        yield f"      {name}: {shown}"
