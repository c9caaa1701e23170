"""Rates (behaviour 4.7): more than so many Starts in a sliding window. Pure: (the last Starts, now) -> the last Starts, is it too many?

A window slides over the partition's clock. Of each rate only the last `starts` times are kept: one more is too many exactly when the oldest
of them lies in the window still. Each Start counts, also one that is disconnected.
"""

from __future__ import annotations

from schemas.policy import Rate
from schemas.session import Recent
from streams.quotas import Known

Exceeded = list[tuple[Rate, str, int]]
"""Rates of which a Start is one too many, in which group, and how many there were in the window before, as far as is kept."""


def count(known: Known, rules: tuple[tuple[Rate, str], ...], clock_ms: int) -> tuple[tuple[Recent, ...], Exceeded]:
    """Count a Start.

    Args:
        known: the row of the user or of the group.
        rules: all rates that touch it; what is kept of others goes.
        clock_ms: the partition's clock.

    Returns:
        The Starts to be kept, in a fixed order, so that the same state is the same row; and the rates that they exceed, as in `rules`.
    """
    kept = {(each.rule, each.group): each.starts_ms for each in known.recent}
    recent: list[Recent] = []
    exceeded: Exceeded = []
    for rate, group in rules:
        within_ms = rate.within_s * 1000
        times = kept.get((rate.name, group), ())
        if times and clock_ms - times[0] >= within_ms:
            times = tuple(time_ms for time_ms in times if clock_ms - time_ms < within_ms)
        if len(times) >= rate.starts:
            exceeded.append((rate, group, len(times)))
        recent.append(Recent(rate.name, group, (*times, clock_ms)[-rate.starts :], clock_ms + within_ms))
    if len(recent) > 1:
        recent.sort(key=_rule_and_group)
    return tuple(recent), exceeded


def before(known: Known, rate: Rate, group: str, clock_ms: int) -> int:
    """How many Starts lie in the window that ends now, as far as is kept: with as many as are allowed, one more is too many."""
    times = next((each.starts_ms for each in known.recent if (each.rule, each.group) == (rate.name, group)), ())
    return sum(clock_ms - time_ms < rate.within_s * 1000 for time_ms in times)


def _rule_and_group(recent: Recent) -> tuple[str, str]:
    return recent.rule, recent.group


def sentence(rate: Rate, group: str, before: int) -> str:
    """The reason with the figures."""
    where = f" in {group}" if group else ""
    return f"{rate.applies_to} rate {rate.name}{where}: {before} starts in {rate.within_s} s of {rate.starts} allowed"
