"""A session's slots in its groups: what the group agent is told of them, and what follows from its verdicts (behaviours 4.1 to 4.4).

Theory of operation. The session's row says in which groups it has a slot (`slots`) and whose answer it awaits (`asked`). `settle` runs
once for each record, after everything else, over the rows that the record touched: what a row says is held against what should be, and
the difference is sent. So whatever happens to a session (an end, a disconnect under way or failed, another group, another name, another
policy) moves its slots, and no place of the code can forget to.

A session that asks gets an `answer` from each of its groups. When all are there the first refusal in the policy's order is the named
reason; without one the limits of guest types are asked. Where somebody else of the same user goes instead, that one's slot is freed and
asked for in one stroke, so that nobody else gets it.
"""

from __future__ import annotations

from schemas.event import RecordRef
from schemas.group import GroupVerdict, Standing
from schemas.policy import Limit
from schemas.session import GroupAnswer, SessionRow
from streams import limiting, limits
from streams.memberships import both, groups_of
from streams.rulebook import Asked
from streams.step import Step
from streams.table import Was, key_of


def settle(step: Step) -> None:
    """Send what is different between the slots that the touched sessions have and those that they should have."""
    has_limits = step.core.book.has_group_limits
    touched = list(step.change.sessions.items())
    if len(touched) > 1:
        touched.sort()  # by key: in which order they were read an index says, and a restored one differs
    for key, row in touched:
        if row is not None and (has_limits or row.slots):
            _settle(step, key, row)


def verdict(step: Step, said: GroupVerdict) -> None:
    """The group agent's word about slots."""
    if said.op == "check":
        for identity, key in said.sessions:
            row = step.change.session(key)
            if row is None or row.identity != identity or said.group not in row.slots:
                step.to_group("gone", said.group, identity, key)
        return
    row = step.change.session(said.session)
    if row is None or not limits.counts(row):
        return  # it has ended, or is on its way out: its slot was freed when that began
    is_late = step.core.row.wall_ms > said.expires_ms
    if said.op == "evict":
        _evicted(step, row, said, is_late=is_late)
    elif said.group in row.asked and said.offset in (None, dict(row.asked_at).get(said.group)):
        _answered(step, row, said, is_late=is_late)


def _settle(step: Step, key: str, row: SessionRow) -> None:
    wanted: tuple[str, ...] = ()
    was = step.change.was.get(key)
    is_as_told = was is None or was[0] != row.identity or _groups_before(step, row, was) == groups_of(limiting.known_of(step, row), row)
    if limits.counts(row):
        wanted = limiting.questions_of(step, row).slots
        if wanted == row.slots and not row.asked and not row.verdicts and is_as_told and (was is None or was[0] == row.identity):
            return  # nothing has moved, as by nearly every record
        refused = {answer.group for answer in row.verdicts if answer.refused_by}
        wanted = tuple(group for group in wanted if group not in refused)
        row.asked = tuple(group for group in row.asked if group in wanted)
    else:
        row.asked, row.asked_at, row.verdicts = (), (), ()
    if was is not None and was[0] != row.identity:
        for group in row.slots:
            step.to_group("free", group, was[0], key)
        row.slots = ()
    for group in row.slots:
        if group not in wanted:
            step.to_group("free", group, row.identity, key)
    for group in wanted:
        if group not in row.slots or not is_as_told:  # in which groups else it is says whom a limit excepts
            _take(step, row, group, "take" if group in row.asked else "hold")
    row.slots = wanted


def _groups_before(step: Step, row: SessionRow, was: Was) -> tuple[str, ...]:
    """The groups that a session was in before this record, by its own records and by the operator."""
    known = step.core.table.identities.get(row.identity)
    told = () if was[4] is None else was[4][3]
    return both(() if known is None else known.groups, told)


def _take(step: Step, row: SessionRow, group: str, op: str, frees: list[str] | None = None) -> None:
    known = limiting.known_of(step, row)
    clock_ms = step.core.row.clock_ms
    if op == "take":
        row.asked_at = (*(each for each in row.asked_at if each[0] != group and each[0] in row.asked), (group, step.offset))
    held = [hold.rule for hold in known.holds if hold.device == row.device and clock_ms < hold.until_ms]
    step.to_group(
        op,
        group,
        row.identity,
        key_of(row),
        device=row.device,
        order_ms=row.order_ms,
        age_ms=clock_ms - row.opened_clock_ms,
        groups=list(groups_of(known, row)),
        held=held,
        frees=frees or [],
        stays=op == "hold" and limits.cannot_go(row),
        because=[] if row.opened_offset == step.offset else [step.ref(row.opened_offset)],
    )


def _evicted(step: Step, row: SessionRow, said: GroupVerdict, *, is_late: bool) -> None:
    """Another user's session took the slot (`victim_scope = "group"`), or the rule became stricter. Old news is not carried out.

    Who goes frees the slot nevertheless: he may have asked for it again meanwhile, and that question came after his eviction.
    """
    limit = _limit(step, said.limit)
    if not is_late and limit is not None:
        _goes(step, row, said, limit)
    if limits.counts(row):
        row.slots = tuple(group for group in row.slots if group != said.group)  # so that `settle` holds it again


def _goes(step: Step, row: SessionRow, said: GroupVerdict, limit: Limit) -> None:
    because = [step.ref(step.offset), *said.because]
    text = said.text or limits.breach_text(Asked(limit, said.group), said.current or 0, said.max or 0)
    asked = Asked(limit, said.group)
    limiting.breached(step, row, asked, current=said.current or 0, most=said.max or 0, text=text, because=because)
    limiting.evict(step, [row], limit, because, text)


def _answered(step: Step, row: SessionRow, said: GroupVerdict, *, is_late: bool) -> None:
    if is_late:
        row.slots = tuple(group for group in row.slots if group != said.group)  # asked again by `settle`
        return
    for standing in said.reported:
        _reported(step, row, said, standing)
    answer = GroupAnswer(
        said.group,
        step.offset,
        "" if said.granted else said.limit or "",
        said.current or 0,
        said.max or 0,
        tuple(f"{each.limit} in {said.group}: {each.current} open of {each.max} allowed" for each in said.passed),
    )
    row.verdicts = (*row.verdicts, answer)
    row.asked = tuple(group for group in row.asked if group != said.group)
    if not said.granted:
        row.slots = tuple(group for group in row.slots if group != said.group)
    if row.asked:
        return
    answers = {each.group: each for each in row.verdicts}
    row.asked_at, row.verdicts = (), ()
    asked = limiting.questions_of(step, row).group
    refusals = [
        (each, answers[each.group]) for each in asked if each.group in answers and answers[each.group].refused_by == each.limit.name
    ]
    if refusals:
        _refused(step, row, *refusals[0], said.because)
    else:
        limiting.groups_passed(step, row, [text for each in answers.values() for text in each.passed])


def _refused(step: Step, row: SessionRow, asked: Asked, answer: GroupAnswer, because: list[RecordRef]) -> None:
    limit = asked.limit
    known = limiting.known_of(step, row)
    text = limits.breach_text(asked, answer.current, answer.most)
    held = limits.is_held(limit, row, known.holds, step.core.row.clock_ms)
    if held:
        text += "; this device was evicted by it a moment ago"
    own = [other for other in limiting.others_of(step, row) if asked.group in other.slots]
    victims = [row] if held or limit.victim_scope == "group" else limits.choose(limit, row, own)
    records = [step.ref(row.opened_offset), step.ref(answer.offset)]
    records += because if answer.offset == step.offset else []
    limiting.breached(step, row, asked, current=answer.current, most=answer.most, text=text, because=records)
    limiting.evict(step, victims, limit, records, text)
    if any(victim is row for victim in victims):
        return
    for victim in victims:
        victim.slots = tuple(group for group in victim.slots if group != asked.group)
    row.asked = (asked.group,)
    row.slots = (*row.slots, asked.group)
    _take(step, row, asked.group, "take", [key_of(victim) for victim in victims])


def _reported(step: Step, row: SessionRow, said: GroupVerdict, standing: Standing) -> None:
    limit = _limit(step, standing.limit)
    if limit is None:
        return
    asked = Asked(limit, said.group)
    text = limits.breach_text(asked, standing.current, standing.max)
    because = [step.ref(row.opened_offset), step.ref(step.offset), *said.because]
    limiting.breached(step, row, asked, current=standing.current, most=standing.max, text=text, because=because)


def _limit(step: Step, name: str | None) -> Limit | None:
    return next((limit for limit in step.core.policy.policy.limits if limit.name == name), None)


def ask_again(step: Step, row: SessionRow, rule: str | None) -> bool:
    """A disconnect for a group's limit came too late: the group is asked anew, if the limit is still there."""
    found = next((each for each in limiting.questions_of(step, row).group if each.limit.name == rule), None)
    if found is None or row.state == "ended":
        return False
    row.kick_state = None
    row.asked, row.verdicts = (found.group,), ()
    return True
