"""Claims between partitions: a session whose User-Name changes under way may be filed under two identities, in two partitions (2.10).

The law: nobody is kicked by his own old shadow. Before a session is called stale, and when one is opened (or comes back) by a record that
is no Start, its partition asks all others who hold a session of that NAS and Acct-Session-Id. One of both yields: its row ends as `moved`
(or as superseded, where the other one began after it), without event of death and without kick; the other one learns from it when the
session began and what it has used. A silent session dies only when every other partition has answered, so a partition that is down delays
a death and never causes one. With one partition nothing is asked.

Theory of operation. Rows that are to be asked about stand in an index that follows from their fields (`Table.to_claim`, in the order of the
records since which they are). Each tick puts the first `QUESTIONS_PER_TICK_MAX` of them into one record, the same for every other
partition, and each of those answers it with one record: so a first deployment, where every session is opened by an Interim, is asked about
in minutes and not in a storm. Open questions are bounded (`BATCHES_MAX`), stand in the partition's row and are asked again when no answer
comes. Questions and answers may be repeated: both say what is so, and what is so already is not done again.

Who yields (`_yields`): the silent one to the one that is not; else the one with the shorter Acct-Session-Time, where both began together;
else, where the NAS's own clock dated both, the older one. Without such times the one that was heard of last stands, unless its
Acct-Session-Time shows that its record was overtaken; a record is overtaken by a minute at most, or says since when, so that it never is
older than what was not heard of for longer. That is not always the asker's: a question is asked again for as long as a partition is down,
and what has its Acct-Session-Id by then may have begun since. Two devices have two sessions: there Acct-Session-Time tells nothing, nor
does it that the other one has ended, and nothing is learned from it; of two that were heard of at about the same time, the one that began
first by arrival yields. Nowhere else are clocks of ingests compared.

What it leaves: a Start that a journal holds behind what came after it, since an outage mixed them, asks only when it is silent.
"""

from __future__ import annotations

from typing import Final

from schemas.codec import decoder, encode
from schemas.journal import Claim, Claims
from schemas.session import ClaimBatch, SessionRow
from schemas.topics import ACCOUNTING, partition_key, session_key
from streams import clock, ends, merge
from streams.sameness import TOLERANCE_MS
from streams.step import Output, RecordRefused, Step

QUESTIONS_PER_TICK_MAX: Final = 250
BATCHES_MAX: Final = 16
"""Open questions of a partition; while there are so many it asks no new ones."""
ASK_AGAIN_MS: Final = 60_000
"""On the partition's clock. A journal loses nothing, so this is for a partition whose journal was lost."""
CATCHES_UP_MS: Final = 30_000
"""Who asks by a log that is so far behind has not "just heard" of a session."""

_YIELDED: Final = ("moved", "superseded")
_YIELDED_OR_STOPPED: Final = ("moved", "superseded", "nas-stop")
_NAS_SAID: Final = ("nas-stop", "kicked", "user-logout")
"""Its NAS has said that it has no such session: so it is nowhere, unless it was heard of since. A boot every partition hears of itself."""
_CLAIMS = decoder(Claims).decode


def want(step: Step, row: SessionRow) -> None:
    """The other partitions are to be asked whether they hold this session under another identity."""
    if step.core.partitions > 1 and row.claim_offset < 0:
        row.claim_offset = step.offset


def is_open_question(row: SessionRow) -> bool:
    """Whether it is to be asked about, or was, and not all have answered: it has no deadline meanwhile."""
    return row.claim_offset >= 0 or row.claim_batch >= 0


def may_die(step: Step, row: SessionRow) -> bool:
    """Whether a session that is silent for too long is dead: nobody else holds it. If that is not known yet, it is asked."""
    if step.core.partitions == 1 or (row.claimed_ms == row.heard_ms and not is_open_question(row)):
        return True
    row.claimed_ms = row.heard_ms
    want(step, row)
    return False


def ask(step: Step) -> None:
    """At a tick: the next question, and those again that were not answered."""
    core = step.core
    now_ms = core.row.clock_ms
    batches = [_again(step, batch) if now_ms - batch.asked_ms >= ASK_AGAIN_MS else batch for batch in core.row.claims]
    rows: list[SessionRow] = []
    while len(batches) < BATCHES_MAX and len(rows) < QUESTIONS_PER_TICK_MAX and (key := core.table.next_to_claim()) is not None:
        row = step.change.session(key)
        if row is not None:
            rows.append(row)
    if rows:
        others = tuple(partition for partition in range(core.partitions) if partition != core.partition)
        batches.append(ClaimBatch(step.offset, now_ms, others))
        _send(step, "ask", step.offset, rows, others)
        for row in rows:
            row.claim_offset, row.claim_batch = -1, step.offset
    step.claims = tuple(batches)


def claims(step: Step, value: bytes) -> None:
    """A question of another partition, or an answer to one of ours.

    Raises:
        RecordRefused: it comes from no other partition of this journal.
    """
    said = _CLAIMS(value)
    if said.partition == step.core.partition or not 0 <= said.partition < step.core.partitions:
        raise RecordRefused("no-such-partition", f"a claim of partition {said.partition} came to partition {step.core.partition}")
    if said.op == "ask":
        _answer(step, said)
    else:
        _learn(step, said)


def _answer(step: Step, asked: Claims) -> None:
    """Say what is held of it here; what has to yield does so at once."""
    held = []
    behind_ms = max(0, step.core.row.wall_ms - asked.time_ms)
    for claim in asked.sessions:
        row = step.change.session(session_key(claim.nas, merge.text_key(claim.acct_session_id)))
        if row is None or row.identity == claim.identity:
            continue
        yields = _yields(row, claim, asked.partition < step.core.partition, behind_ms, _unheard_ms(step, row))
        if yields and row.state != "ended":
            _yield(step, row, claim)
        elif yields and row.said_by not in _YIELDED_OR_STOPPED and _began_together(row, claim) and not _are_two_devices(row, claim):
            ends.move(step, row, claim.identity)  # a boot's record that came late had ended it, or we had
        if not yields or row.said_by in _YIELDED:
            held.append(row)
    _send(step, "answer", asked.batch, held, (asked.partition,))


def _learn(step: Step, answer: Claims) -> None:
    """What another partition holds of the sessions asked about; when all have answered, the question is closed."""
    for claim in answer.sessions:
        row = step.change.session(session_key(claim.nas, merge.text_key(claim.acct_session_id)))
        if row is None or row.identity == claim.identity:
            continue
        if claim.said_by in _YIELDED:
            if not _is_another(row, claim) and merge.merge_claim(row, claim):
                step.event("session.updated", row)
        elif row.last_offset > answer.batch:
            want(step, row)  # it was heard of since: who is newer has to be asked again
        elif row.state != "ended":
            _yield(step, row, claim)
    batches = []
    for batch in step.core.row.claims:
        waiting = tuple(partition for partition in batch.waiting if batch.batch != answer.batch or partition != answer.partition)
        if waiting:
            batches.append(batch if waiting == batch.waiting else ClaimBatch(batch.batch, batch.asked_ms, waiting))
        else:
            for row in _rows_of(step, batch):
                row.claim_batch = -1
    step.claims = tuple(batches)


def _again(step: Step, batch: ClaimBatch) -> ClaimBatch:
    _send(step, "ask", batch.batch, _rows_of(step, batch), batch.waiting)
    return ClaimBatch(batch.batch, step.core.row.clock_ms, batch.waiting)


def _rows_of(step: Step, batch: ClaimBatch) -> list[SessionRow]:
    """The sessions of a question, in an order that does not depend on how the index was built."""
    rows = map(step.change.session, sorted(step.core.table.claimed.get(batch.batch, ())))
    return [row for row in rows if row is not None]


def _send(step: Step, op: str, batch: int, rows: list[SessionRow], partitions: tuple[int, ...]) -> None:
    said = Claims(
        op="ask" if op == "ask" else "answer",
        partition=step.core.partition,
        batch=batch,
        time_ms=step.time_ms,
        sessions=[_claim_of(row, _unheard_ms(step, row)) for row in rows],
    )
    value, key = encode(said), partition_key(step.core.partition).encode()
    step.out += [Output(ACCOUNTING.name, partition, key, value, "claim") for partition in partitions]


def _claim_of(row: SessionRow, unheard_ms: int) -> Claim:
    return Claim(
        row.nas,
        row.acct_session_id,
        row.identity,
        row.state,
        row.said_by,
        _is_silent(row),
        row.counts,
        row.event_ms,
        row.event_believed,
        row.last_seen_ms,
        row.started_ms,
        row.start_seen,
        row.start_believed,
        row.order_ms,
        row.session_time_s,
        row.input_octets,
        row.output_octets,
        row.input_packets,
        row.output_packets,
        row.device,
        unheard_ms,
    )


def _is_silent(row: SessionRow) -> bool:
    """It is asked about because its deadline is over."""
    return row.state != "ended" and row.claimed_ms == row.heard_ms and is_open_question(row)


def _unheard_ms(step: Step, row: SessionRow) -> int:
    """For how long nothing was heard of a session, or since when it has ended: on clocks that stand still while nobody listens."""
    if row.state == "ended":
        return step.core.row.clock_ms - (row.closed_ms or 0)
    return clock.heard_now_ms(step.change.nas(row.nas), step.core.row) - row.heard_ms


def _yields(mine: SessionRow, asker: Claim, asker_goes_first: bool, behind_ms: int, unheard_ms: int) -> bool:
    """Whether what is held here is older than what the asker holds.

    Args:
        mine: the session as it is held here.
        asker: as the asker held it when it asked.
        asker_goes_first: where nothing tells them apart.
        behind_ms: so long ago was that by the log's time.
        unheard_ms: for how long nothing was heard of mine.
    """
    open_here, silent_here = mine.state != "ended", _is_silent(mine)
    if mine.said_by in _YIELDED and not open_here:
        return True
    if open_here and ((asker.silent and not silent_here) or (asker.state == "ended" and asker.said_by not in _NAS_SAID)):
        return False
    if silent_here and not asker.silent and asker.state != "ended":
        return True
    mine_s, its_s, are_two = _life(mine), _life(asker), _are_two_devices(mine, asker)
    if _began_together(mine, asker) and mine_s != its_s and not are_two:
        return mine_s < its_s
    if mine.event_believed and asker.event_believed:
        one, other = (mine.event_ms, mine_s), (asker.event_ms, its_s)
        return one < other or (one == other and asker_goes_first)
    if are_two and not open_here:
        return True
    if asker.silent:  # and so is this one, or it has ended
        return mine_s < its_s or (mine_s == its_s and open_here and asker_goes_first)
    its_unheard_ms = asker.unheard_ms + behind_ms
    if unheard_ms > its_unheard_ms + TOLERANCE_MS + _late_ms(asker):
        return True
    if open_here and its_unheard_ms > unheard_ms + TOLERANCE_MS + _late_ms(mine):
        return False
    if are_two:
        return asker.state != "ended" and mine.order_ms < asker.order_ms
    # Both were heard of just now. A shorter Acct-Session-Time is of a record that was overtaken, or of another session under the same id.
    is_news = asker.counts and behind_ms <= CATCHES_UP_MS
    return is_news and (its_s >= mine_s or 1000 * (mine_s[0] - its_s[0]) > TOLERANCE_MS)


def _life(session: SessionRow | Claim) -> tuple[int, bool]:
    """How long it has lasted in seconds, and whether that is the last word."""
    return session.session_time_s or 0, session.said_by == "nas-stop"


def _late_ms(session: SessionRow | Claim) -> int:
    """For how long its last record was under way, by its own word."""
    return max(0, session.last_seen_ms - session.event_ms)


def _yield(step: Step, row: SessionRow, to: Claim) -> None:
    if _is_another(to, row):
        step.event("session.superseded", row, text=f"its Acct-Session-Id was given anew, to {to.identity}")
        ends.end(step, row, "superseded", cause=None, ended_ms=row.event_ms)
    else:
        ends.move(step, row, to.identity)


def _began_together(one: SessionRow | Claim, other: SessionRow | Claim) -> bool:
    """By arrival: so they are one session, though the NAS's clock was set meanwhile."""
    return abs(one.order_ms - other.order_ms) <= TOLERANCE_MS


def _are_two_devices(one: SessionRow | Claim, other: SessionRow | Claim) -> bool:
    """A session has one device: what two of them have is two sessions, of which the NAS has one at a time."""
    return one.device is not None and other.device is not None and one.device != other.device


def _is_another(one: SessionRow | Claim, other: SessionRow | Claim) -> bool:
    """Whether the one, which goes on, is another session than the other."""
    return _are_two_devices(one, other) or _began_after(one, other)


def _began_after(one: SessionRow | Claim, other: SessionRow | Claim) -> bool:
    """Whether they are two sessions: the one began when the other's life, as it is known, was over."""
    if one.started_ms is None or _began_together(one, other):
        return False
    if not (one.start_believed and other.event_believed):
        return 1000 * ((other.session_time_s or 0) - (one.session_time_s or 0)) > TOLERANCE_MS
    return one.started_ms > other.event_ms + TOLERANCE_MS
