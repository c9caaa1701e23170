"""What passing time does to a partition: the clocks go on, NASes fall silent, the dead are found, what was closed long ago goes.

The law: time is what the ticks say (`clock`), and the cost of a tick grows with what is due, not with what lives (behaviour 3.8). What
follows from a session's deadline is said in `deaths`; each is a change of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from schemas.codec import decoder
from schemas.journal import Tick
from schemas.session import NasRow, PartitionRow, SessionRow
from schemas.topics import nas_key
from streams import claims, clock, deaths, ends, group_meters, questions, timeouts
from streams.step import Output, Step
from streams.table import key_of

if TYPE_CHECKING:
    from streams.session_core import SessionCore

DEATHS_PER_TICK_MAX = 5_000
PURGED_PER_TICK_MAX = 5_000

_TICK = decoder(Tick).decode


def tick(core: SessionCore, offset: int, value: bytes, out: list[Output]) -> None:
    """Apply a tick to a partition.

    Args:
        core: the partition.
        offset: the tick's.
        value: the tick.
        out: takes what follows.

    Raises:
        msgspec.ValidationError, msgspec.DecodeError: it is none.
    """
    told = _TICK(value)
    row, gone = clock.advanced(core.row, told)
    moved = _talk(core, told, row, gone)
    core.row = row
    moved |= questions.answers(core, moved)
    core.table.nases.update(moved)
    core.table.touched.update(dict.fromkeys(map(nas_key, moved)))
    for name in moved:
        questions.note(core, name)
    nth = _tell_silent(core, offset, moved, out)
    nth = questions.ask(core, offset, nth, out)
    nth = _find_dead(core, offset, nth, moved, out)
    nth = _let_go(core, offset, nth, out)
    if core.row.spent:
        core.row = replace(core.row, spent=group_meters.kept(core.row))
    if core.table.to_claim or core.row.claims:
        step = Step(core, offset, nth)
        claims.ask(step)
        step.commit(out)


def index(core: SessionCore) -> None:
    """All rows are back, or the policy has changed: which NASes does no ingest hear?"""
    core.unheard.clear()
    core.ceased.clear()
    for name in core.table.nases:
        _note_unheard(core, name)
        questions.note(core, name)


def _talk(core: SessionCore, told: Tick, row: PartitionRow, gone: list[str]) -> dict[str, NasRow]:
    """The rows of the NASes whose talking clocks the tick moves, or that another ingest measures from now on."""
    nases, elapsed_ms = core.table.nases, row.ingests[told.ingest].elapsed_ms
    moved: dict[str, NasRow] = {}
    ceased_ms: dict[str, int] = {}
    ingests = {**core.row.ingests, **row.ingests}

    def known(name: str) -> NasRow:
        return moved.get(name) or nases.get(name) or NasRow(name)

    def put(row: NasRow) -> None:
        if row is not nases.get(row.nas):
            moved[row.nas] = row

    for ingest in gone:
        for name in nases:
            put(clock.forgotten(known(name), ingest, ingests))
    for name, silent_ms in told.ceased:
        put(clock.ceased(known(name), told.ingest, elapsed_ms, silent_ms, ingests))
        ceased_ms[name] = silent_ms
    if told.full:
        talking = {name for name, _ in told.began} | {name for name, _ in told.heard}
        for name in nases:
            if name not in talking:
                put(clock.forgotten(known(name), told.ingest, ingests))
    for name, window_ms in told.began:
        put(clock.began(known(name), told.ingest, elapsed_ms, window_ms))
    for name, silent_ms in told.heard:
        put(clock.heard(known(name), told.ingest, elapsed_ms, silent_ms))
    for name, nas in moved.items():
        silent_ms = ceased_ms.get(name, 0)
        mute = clock.muted(nas, nases.get(name), told.ingest, row, silent_ms)
        moved[name] = clock.unheard(mute, row.clock_ms - silent_ms) if questions.is_home(core, name) else mute
    return moved


def _tell_silent(core: SessionCore, offset: int, moved: dict[str, NasRow], out: list[Output]) -> int:
    """Call those NASes silent that no ingest has heard for their window (behaviour 3.5); how many events that were."""
    clock_ms = core.row.clock_ms
    for name in moved:
        if questions.is_home(core, name):
            _note_unheard(core, name)
    nth = 0
    for name in sorted(name for name, at_ms in core.unheard.items() if at_ms <= clock_ms):
        step = Step(core, offset, nth)
        nas = core.table.nases[name]
        silent_s = (clock_ms - (nas.unheard_ms or 0)) // 1000
        step.nas_event("nas.silent", replace(nas, silent=True), text=f"not heard for {silent_s} s; its sessions wait")
        step.commit(out)
        nth = step.nth
        del core.unheard[name]
    return nth


def _note_unheard(core: SessionCore, name: str) -> None:
    silent_at_ms = clock.silent_at_ms(core.table.nases[name])
    if silent_at_ms is None:
        core.unheard.pop(name, None)
    else:
        core.unheard[name] = silent_at_ms + questions.answer_within_ms(core, name)


def _find_dead(core: SessionCore, offset: int, nth: int, moved: dict[str, NasRow], out: list[Output]) -> int:
    """Sessions that were missed or are dead, and those whose time is over. Each takes one step at a tick, and then has a new deadline."""
    nases = core.table.nases
    unclaimed, core.table.unclaimed = core.table.unclaimed, {}
    missed: set[str] = set()
    ended: set[str] = set()
    done: dict[str, None] = {}

    def overdue(step: Step, row: SessionRow) -> None:
        deaths.overdue(step, row, nases[row.nas].clock_ms)
        done[key_of(row)] = None

    def over(step: Step, row: SessionRow) -> None:
        timeouts.over(step, row)
        done[key_of(row)] = None

    for name in sorted({*moved, *unclaimed}):
        while len(missed) < DEATHS_PER_TICK_MAX and (key := core.table.due(name, nases[name].clock_ms)) is not None:
            if key not in missed:  # entries are hints, others after a restore: one too many is no second step
                missed.add(key)
                nth = core.atomically(offset, nth, out, key, overdue)
    while len(missed) + len(ended) < DEATHS_PER_TICK_MAX and (key := core.table.time_is_over(core.row.clock_ms)) is not None:
        if key not in ended:
            ended.add(key)
            nth = core.atomically(offset, nth, out, key, over)
    for key in done:
        core.table.arm(key)
    return nth


def _let_go(core: SessionCore, offset: int, nth: int, out: list[Output]) -> int:
    """Forget the sessions whose grace is over, and the identities that have lingered long enough."""
    purged = 0
    closed_before_ms = core.row.clock_ms - core.policy.policy.grace_s * 1000
    while purged < PURGED_PER_TICK_MAX and (key := core.table.past_grace(closed_before_ms)) is not None:
        nth = core.atomically(offset, nth, out, key, ends.purge)
        purged += 1
    while purged < PURGED_PER_TICK_MAX and (identity := core.table.lingered(core.row.clock_ms)) is not None:
        step = Step(core, offset, nth)
        ends.let_go(step, identity)
        step.commit(out)
        purged += 1
    return nth
