"""`docs/disconnecting.md` against the code: the picture and the tables in it are drawn from the machine and from the Error-Causes.

`python -m tests.pure.test_kick_document` writes them anew. The picture is found by letting things happen to commands in each state.
"""

import re
from pathlib import Path
from typing import get_args

import pytest

from schemas.disconnect import ERROR_CAUSES, Follows, Outcome
from streams.kick import TRANSITIONS, Event, Input, Report, State, step
from tests.pure import test_kick as kicks

DOCUMENT = Path(__file__).parents[2] / "docs" / "disconnecting.md"
BLOCK = re.compile(r"(<!-- ([a-z ]+): written by [^>]*-->\n)(.*?)(<!-- end -->)", re.DOTALL)
SAYS = {
    "gone": "`gone`",
    "next-set": "the next attribute set",
    "without-nas": "without NAS attributes",
    "alone": "Acct-Session-Id alone",
    "later": "again later",
    "give-up": "`refused`",
}
CIRCUMSTANCES = ({}, {"sets": kicks.SETS[:1]}, {"expires_ms": kicks.WALL_MS + 3_000})
"""A further attribute set is left, none is left, there is no time for a pause."""
HAPPENINGS = (
    ("turn", Input.TURN, 10, None),
    ("turn too late", Input.TURN, 60_000, None),
    ("crowded", Input.CROWDED, 10, None),
    ("ACK", Input.ACK, 10, None),
    ("ACK with 201, 503", Input.ACK, 10, 503),
    *((f"NAK {follows}", Input.NAK, 10, min(row.number for row in ERROR_CAUSES.values() if row.follows == follows)) for follows in SAYS),
    ("ended", Input.ENDED, 10, None),
    ("alive", Input.ALIVE, 10, None),
    ("newer command", Input.REPLACED, 10, None),
)


def edges():
    """(state, new state) -> what led there."""
    found = {}
    for state in (one for one in State if one is not State.DONE):
        for circumstance in CIRCUMSTANCES if state is not State.BACKING_OFF else ({},):
            for what, given, ms, cause in HAPPENINGS:
                kick = kicks.MAKERS[state](**circumstance)
                if given in (Input.TURN, Input.CROWDED) and state is not State.QUEUED:
                    continue
                note(found, kick, what, Event(given, kicks.at(ms), error_cause=cause))
            kick = kicks.MAKERS[state](**circumstance)
            while kick.state is state:
                note(found, kick, "time over", Event(Input.TIMER, kicks.at(kick.timer_ms - 1_000)))
    return found


def note(found, kick, what, event):
    before = kick.state
    outputs = step(kick, event)
    outcome = next((output.result.outcome for output in outputs if isinstance(output, Report) and output.result.final), None)
    if kick.state is not before:
        label = f"{what} ({outcome})" if outcome else what
        found.setdefault((before, kick.state), {})[label] = None


def picture():
    name = {state: state.value.replace("-", "_") for state in State}
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued: command"]
    for (before, after), labels in edges().items():
        lines.append(f"    {name[before]} --> {name[after]}: {', '.join(labels)}")
    return "\n".join([*lines, "    done --> [*]", "```", ""])


def transitions():
    def cell(state, given):
        words = TRANSITIONS[state, given].__name__.strip("_").replace("_", " ")
        return {"ignore": "", "impossible": "cannot be"}.get(words, words)

    lines = [f"| | {' | '.join(given.value for given in Input)} |", "|---|" + "---|" * len(Input)]
    lines += [f"| {state.value} | {' | '.join(cell(state, given) for given in Input)} |" for state in State]
    return "\n".join([*lines, ""])


def error_causes():
    lines = ["| | Error-Cause | the NAS says | what comes next |", "|---|---|---|---|"]
    lines += [f"| {row.number} | {row.name} | {row.sentence} | {SAYS[row.follows]} |" for row in ERROR_CAUSES.values()]
    return "\n".join([*lines, ""])


PARTS = {"error causes": error_causes, "picture": picture, "transitions": transitions}


def rewritten(text):
    return BLOCK.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n{found[4]}", text)


def test_the_document_shows_the_machine_and_the_error_causes_as_they_are():
    """5.3 and 5.4."""
    text = DOCUMENT.read_text()
    assert {found[2] for found in BLOCK.finditer(text)} == set(PARTS)
    assert rewritten(text) == text, "python -m tests.pure.test_kick_document writes it anew"


def test_every_state_is_reached_and_left_in_the_picture():
    """5.4: no command gets stuck, and none ends but in `done`."""
    found = edges()
    reached = {after for _, after in found} | {State.QUEUED}
    assert reached == set(State)
    assert {before for before, _ in found} == set(State) - {State.DONE}
    assert {before for before, after in found if after is State.DONE} == set(State) - {State.DONE}


def test_the_document_says_of_every_outcome_what_to_do():
    """5.7."""
    rows = re.findall(r"^\| `([a-z-]+)` \|[^|]+\|[^|]+\|[^|]+\|$", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(get_args(Outcome))


@pytest.mark.parametrize("follows", get_args(Follows))
def test_the_document_has_words_for_whatever_an_error_cause_leads_to(follows):
    """5.3."""
    assert SAYS[follows] in DOCUMENT.read_text()


if __name__ == "__main__":
    DOCUMENT.write_text(rewritten(DOCUMENT.read_text()))
