"""Questions to a NAS that no ingest hears any more: whether it still talks (behaviours 3.4, 3.5; DESIGN "Time").

A NAS with a single session that falls silent looks like a NAS that is gone. Where the liveness rule says `probe = "query"` it is asked, by
each partition that watches sessions of its own there, once in its window. Its answer puts its talking clock forward up to the question, so
that its sessions' silence counts; no answer, and they wait.

The law: an answer proves that the NAS lives, not that its accounting gets through. So a NAS is asked only while the ingest that heard it
last is there, and only where it has few sessions: all of many fall silent at once when it is the way that is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from schemas.codec import encode
from schemas.session import NasRow
from schemas.sighting import Probe, Sighting
from schemas.topics import PROBES
from streams import clock
from streams.ids import parse_decision_id
from streams.partitioner import partition_of
from streams.step import Output, Step

if TYPE_CHECKING:
    from streams.session_core import SessionCore

FEW_SESSIONS = 10
"""A NAS with more open sessions in a partition is not asked there."""
EVERY_MS = 60_000
"""Between two questions to a NAS whose window is not known."""
ANSWER_WITHIN_MS = 10_000
"""So much later is a NAS called silent that is asked first."""
ANSWERED = -1


def is_home(core: SessionCore, nas: str) -> bool:
    """Whether events of this NAS come from this partition."""
    return partition_of(nas, core.partitions) == core.partition


def answer_within_ms(core: SessionCore, nas: str) -> int:
    """How long an answer is waited for before a NAS is called silent."""
    return ANSWER_WITHIN_MS if _asks(core, nas) else 0


def note(core: SessionCore, name: str) -> None:
    """A NAS's row has changed: keep up when it is to be asked."""
    nas = core.table.nases[name]
    if nas.ceased_by:
        core.ceased[name] = nas.asked_ms + (nas.window_ms or EVERY_MS) if nas.asked_ms else 0
    else:
        core.ceased.pop(name, None)


def ask(core: SessionCore, offset: int, nth: int, out: list[Output]) -> int:
    """Ask the NASes whose turn it is, at a tick.

    Args:
        core: the partition, its clock advanced.
        offset: the tick's.
        nth: decisions of that tick so far.
        out: takes the questions.

    Returns:
        Decisions of that tick, with the questions.
    """
    clock_ms = core.row.clock_ms
    for name in sorted(name for name, due_ms in core.ceased.items() if due_ms <= clock_ms and _is_to_be_asked(core, name)):
        rule = core.rule_of(name)
        step = Step(core, offset, nth)
        probe = Probe(id=step.new_id(name), kind="query", nas=name, rule="" if rule is None else rule.rule, asked_ms=step.time_ms)
        step.out.append(Output(PROBES.name, partition_of(name, core.partitions), name.encode(), encode(probe)))
        step.change.nases[name] = clock.asked(core.table.nases[name], core.row, offset)
        step.commit(out)
        nth = step.nth
        note(core, name)
    return nth


def answered(step: Step, seen: Sighting) -> str:
    """A NAS has answered; what that is worth here, to be counted. It is reckoned at the next tick.

    The question may have been another partition's: then it says here only that the NAS is not silent, where that would be told.
    """
    nas = step.change.nas(seen.nas or "")
    if nas is None:
        return "nobody"
    if not nas.ceased_by:
        return "again"
    core = step.core
    if nas.asked > 0 and _is_of(core, nas, seen.probe_id or ""):
        step.change.nases[nas.nas] = replace(nas, asked=ANSWERED)
        return "alive"
    if nas.asked == 0 and is_home(core, nas.nas):
        step.change.nases[nas.nas] = replace(clock.dated(nas, core.row), asked=ANSWERED, asked_ms=core.row.clock_ms)
        return "alive"
    return "again"


def answers(core: SessionCore, moved: dict[str, NasRow]) -> dict[str, NasRow]:
    """The rows of the NASes that have answered since the last tick, as they are after it.

    Args:
        core: the partition.
        moved: the rows that the tick itself has changed.
    """
    found = {}
    for name in core.ceased:
        nas = moved.get(name) or core.table.nases[name]
        if nas.asked == ANSWERED:
            found[name] = clock.answered(nas)
    return found


def _asks(core: SessionCore, nas: str) -> bool:
    rule = core.rule_of(nas)
    return rule is not None and rule.probe == "query"


def _is_to_be_asked(core: SessionCore, name: str) -> bool:
    if not _asks(core, name) or core.table.nases[name].ceased_by not in core.row.ingests:
        return False
    keys = core.table.open_on.get(name, {})
    if len(keys) > FEW_SESSIONS:
        return False
    rows = map(Step(core, 0).change.session, keys)
    return any(row is not None and core.table.deadline(row) is not None for row in rows)


def _is_of(core: SessionCore, nas: NasRow, probe_id: str) -> bool:
    """Whether this is the id of the NAS's open question here."""
    try:
        known = parse_decision_id(probe_id)
    except ValueError:
        return False
    return (known.partition, known.offset, known.identity) == (core.partition, nas.asked, nas.nas)
