"""What a record does to a session: one table, every pair present. Everything that decides "is this a start, an end, or neither" lives here.

A session is (NAS, Acct-Session-Id, start). `streams.sameness` says whether a record is about the session in the row or about another
one that was given the same Acct-Session-Id later (the NAS rebooted) or earlier (it comes too late to matter). Then this table says what
follows (behaviours 2.1, 2.2, 2.6):

* `absent`     no row
* `open`       it runs
* `suspect`    it runs, and was silent for so long that it was missed or is asked (`streams.liveness`); a sign of life makes it open again
* `ended`      the NAS said so itself, by Stop
* `rebooted`   the NAS said so by Accounting-On or -Off, which may have come after what began since
* `presumed`   we concluded so (stale, kicked, superseded, moved): a record that comes after shows that we were wrong, or what it
               used in the end
"""

from __future__ import annotations

from typing import Literal

from schemas.session import SessionRow

State = Literal["absent", "open", "suspect", "ended", "rebooted", "presumed"]
Input = Literal["Start", "Interim-Update", "Stop"]
Sameness = Literal["same", "later", "earlier"]
Action = Literal[
    "open",
    "open-closed",
    "update",
    "end",
    "fill-in",
    "correct",
    "reopen-if-newer",
    "reopen-if-after-boot",
    "replace",
    "ignore",
]
"""What a handler does:

* `open`: a new open session, `session.started`
* `open-closed`: a session of which only the Stop was seen: closed with its usage, `session.ended`
* `update`: usage and attributes, `session.updated` where anything is new
* `end`: closed by the NAS's word, `session.ended`
* `fill-in`: what the late record knows (its true start) is merged, without event
* `correct`: the late Stop's usage is merged, `session.updated` where it differs
* `reopen-if-newer`: it lives after all, `session.reopened`; a record older than its last sign of life is merged only
* `reopen-if-after-boot`: it began after the boot that ended it, `session.reopened`; any other record is merged only
* `replace`: another session under the same id: the row's is ended as superseded if open, then the new one is treated as `absent`
* `ignore`: a record of a session that was replaced long ago
"""

TRANSITIONS: dict[tuple[State, Input], Action] = {
    ("absent", "Start"): "open",
    ("absent", "Interim-Update"): "open",
    ("absent", "Stop"): "open-closed",
    ("open", "Start"): "fill-in",
    ("open", "Interim-Update"): "update",
    ("open", "Stop"): "end",
    ("suspect", "Start"): "fill-in",
    ("suspect", "Interim-Update"): "update",
    ("suspect", "Stop"): "end",
    ("ended", "Start"): "fill-in",
    ("ended", "Interim-Update"): "fill-in",
    ("ended", "Stop"): "correct",
    ("rebooted", "Start"): "fill-in",
    ("rebooted", "Interim-Update"): "reopen-if-after-boot",
    ("rebooted", "Stop"): "correct",
    ("presumed", "Start"): "fill-in",
    ("presumed", "Interim-Update"): "reopen-if-newer",
    ("presumed", "Stop"): "correct",
}
_OUR_CONCLUSION = ("stale", "kicked", "expired", "superseded", "operator", "moved")


def state_of(row: SessionRow | None) -> State:
    """The row's state for the table."""
    if row is None:
        return "absent"
    if row.state != "ended":
        return row.state
    if row.said_by == "nas-reboot":
        return "rebooted"
    return "presumed" if row.said_by in _OUR_CONCLUSION else "ended"


def action_for(row: SessionRow | None, status: Input, sameness: Sameness) -> Action:
    """What this record does to this row."""
    if row is None or sameness == "same":
        return TRANSITIONS[state_of(row), status]
    return "replace" if sameness == "later" else "ignore"
