"""Rates (behaviour 4.7): more than so many Starts in a sliding window. Pure: (the last Starts, now) -> the last Starts, is it too many?

A window slides over the partition's clock. Of each rate only the last `starts` times are kept: one more is too many exactly when the oldest
of them lies in the window still. Each Start counts, also one that is disconnected.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.policy import Rate
from schemas.session import Recent
from streams.quotas import Known


class Counted(NamedTuple):
    """A rate after a Start.

    Attributes:
        recent: what is kept. before: how many Starts there were in the window before this one, as far as is kept.
        is_exceeded: this one is too many.
    """

    recent: Recent
    before: int
    is_exceeded: bool


def add(known: Known, rate: Rate, group: str, clock_ms: int) -> Counted:
    """Count a Start."""
    times = next((each.starts_ms for each in known.recent if (each.rule, each.group) == (rate.name, group)), ())
    inside = tuple(time_ms for time_ms in times if clock_ms - time_ms < rate.within_s * 1000)
    recent = Recent(rate.name, group, (*inside, clock_ms)[-rate.starts :], clock_ms + rate.within_s * 1000)
    return Counted(recent, len(inside), len(inside) >= rate.starts)


def keep(known: Known, changed: list[Recent], rates: tuple[tuple[Rate, str], ...]) -> tuple[Recent, ...]:
    """A row's Starts with these in them; those of rules that touch it no longer go."""
    new = {(each.rule, each.group): each for each in changed}
    touching = {(rate.name, group) for rate, group in rates}
    kept = [each for each in known.recent if (each.rule, each.group) in touching and (each.rule, each.group) not in new]
    return tuple(sorted([*kept, *new.values()], key=lambda each: (each.rule, each.group)))


def sentence(rate: Rate, group: str, before: int) -> str:
    """The reason with the figures."""
    where = f" in {group}" if group else ""
    return f"{rate.applies_to} rate {rate.name}{where}: {before} starts in {rate.within_s} s of {rate.starts} allowed"
