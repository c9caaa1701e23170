"""Which boots count, and what they end (behaviour 2.4)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.session import Boot, SessionRow
from streams.boots import REPEAT_TOLERANCE_MS, ends, is_news

T0_MS = 1_795_000_000_000
LAST = Boot("Accounting-On", T0_MS, True, "boot1", "ap-1", "10.0.0.1")


@pytest.mark.parametrize(
    ("boot", "counts"),
    [
        (LAST, False),
        (replace(LAST, event_ms=T0_MS + REPEAT_TOLERANCE_MS), False),
        (replace(LAST, event_ms=T0_MS + REPEAT_TOLERANCE_MS + 1), True),
        (replace(LAST, event_ms=T0_MS - REPEAT_TOLERANCE_MS - 1), False),  # overtaken
        (replace(LAST, event_ms=T0_MS - REPEAT_TOLERANCE_MS - 1, believed=False), True),  # nobody knows
        (replace(LAST, event_ms=T0_MS + 1, acct_session_id="boot2"), True),
        (replace(LAST, event_ms=T0_MS + 1, status="Accounting-Off"), True),
        (replace(LAST, nas_identifier="ap-2"), True),  # another device
        (replace(LAST, nas_ip_address="10.0.0.2"), True),
        (replace(LAST, nas_ip_address=None), False),  # it says less, and nothing else
    ],
)
def test_a_boot_counts_unless_it_is_the_last_one_again_or_was_overtaken(boot: Boot, counts: bool) -> None:
    """2.4: once, however often the NAS repeats it."""
    assert is_news(boot, LAST) is counts


def test_the_first_boot_counts() -> None:
    """2.4."""
    assert is_news(LAST, None)


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ({}, True),
        ({"started_ms": T0_MS}, False),  # the Start came in the same second, after the boot
        ({"started_ms": T0_MS, "start_believed": False}, True),
        ({"started_ms": T0_MS, "start_seen": False}, True),
        ({"nas_identifier": "ap-2"}, False),
        ({"nas_identifier": None, "nas_ip_address": None}, True),
    ],
)
def test_a_boot_ends_what_was_there_before_it_on_that_device(changes: dict[str, object], ended: bool) -> None:
    """2.4: unless both clocks are believed and say that the session began after it."""
    row = SessionRow("campus", "s1", "bob", "open", nas_identifier="ap-1", nas_ip_address="10.0.0.1")
    row = replace(row, started_ms=T0_MS - 1, start_seen=True, start_believed=True)
    assert ends(LAST, replace(row, **changes)) is ended
