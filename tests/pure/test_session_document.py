"""The document about sessions says what the table does: `python -m tests.pure.test_session_document` writes its picture anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from schemas.event import SaidBy
from streams.transitions import TRANSITIONS, Input, State

DOCUMENT = Path(__file__).parents[2] / "docs" / "sessions.md"
BLOCK = re.compile(r"(<!-- transitions -->\n).*?(<!-- end -->)", re.DOTALL)


def rewritten(text: str) -> str:
    """The document with the table as it is."""
    inputs = get_args(Input)
    lines = [f"| | {' | '.join(inputs)} |", "|---|" + "---|" * len(inputs)]
    lines += [f"| {state} | {' | '.join(TRANSITIONS[state, given] for given in inputs)} |" for state in get_args(State)]
    picture = "\n".join(["", *lines, "", ""])
    return BLOCK.sub(lambda found: f"{found[1]}{picture}{found[2]}", text)


def test_the_document_shows_the_table_as_it_is() -> None:
    """2.2, 2.6."""
    text = DOCUMENT.read_text("utf-8")
    assert len(BLOCK.findall(text)) == 1
    assert rewritten(text) == text, "python -m tests.pure.test_session_document writes it anew"


def test_the_document_names_everybody_who_can_say_that_a_session_ended() -> None:
    """2.7."""
    text = DOCUMENT.read_text("utf-8")
    assert [who for who in get_args(SaidBy) if f"`{who}`" not in text] == []


if __name__ == "__main__":
    DOCUMENT.write_text(rewritten(DOCUMENT.read_text("utf-8")), "utf-8")
