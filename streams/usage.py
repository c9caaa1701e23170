"""Counters: 64 bits from Gigawords, wraps of a NAS without them, and a usage that never falls (behaviour 1.6; RFC 2869 section 5.1)."""

from __future__ import annotations

WORD = 1 << 32


def octets_after(known: int | None, said: int | None, *, gigawords: bool, newer: bool, at_once: bool = False) -> int | None:
    """A counter's value after a record.

    Args:
        known: octets so far.
        said: octets in the record, Gigawords put in.
        gigawords: the record carried Gigawords.
        newer: the record is newer than the last one that counted, so that a smaller value is no mere reordering.
        at_once: it is of the same second as that one, before it or after it: a Stop right behind an Interim.

    Returns:
        Octets; never less than before. A counter without Gigawords that fell by more than half of its 32 bits has wrapped; one that fell
        by less has been reset or lies, and what was known stays.
    """
    if said is None or known is None:
        return known if said is None else said
    if said >= known:
        return said
    if gigawords or not (newer or at_once):
        return known
    high, low = divmod(known, WORD)
    if said < WORD:
        if low - said > WORD // 2:
            high += 1
        elif at_once and said - low > WORD // 2:
            high -= 1  # it was said before the counter wrapped
        said += high * WORD
    return max(known, said)


def larger(known: int | None, said: int | None) -> int | None:
    """The larger of two counters, where None is nothing known."""
    if said is None or known is None:
        return known if said is None else said
    return max(known, said)
