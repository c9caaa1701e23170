"""Ids of decisions: (partition, offset, n-th of that record, identity), so the same journal gives the same ids wherever it is applied."""

from __future__ import annotations

from typing import NamedTuple

DIGITS_MAX = 19
"""Kafka's offsets have 63 bits."""


class DecisionId(NamedTuple):
    """Where a decision was made: it rests on this record of the journal."""

    partition: int
    offset: int
    nth: int
    identity: str


def decision_id(partition: int, offset: int, nth: int, identity: str) -> str:
    """The id of the n-th event or command that the record at (partition, offset) led to."""
    return f"{partition}-{offset}-{nth}-{identity}"


def parse_decision_id(text: str) -> DecisionId:
    """The parts of an id, for `curfew explain`.

    Raises:
        ValueError: it is not such an id.
    """
    parts = text.split("-", 3)
    if len(parts) != 4 or not all(part.isdigit() and len(part) <= DIGITS_MAX for part in parts[:3]):
        raise ValueError(f"{text!r} is not an id of a decision: it should read PARTITION-OFFSET-N-IDENTITY, as in 3-1047-0-alice")
    return DecisionId(int(parts[0]), int(parts[1]), int(parts[2]), parts[3])
