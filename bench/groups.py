"""The exact count of large groups: ten of 100,000 users each, 200,000 sessions, half of the Starts breach; held against a sequential model.

No Kafka and no disk: the group agent's step alone, in one process, over messages that were made before the clock runs. The model is a set
for each group and goes through the same messages one after the other; every answer and everybody who is in at the end must be the same.
"""

import gc
import random
import time
from typing import Literal, NamedTuple

from bench.report import Report
from bench.rig import FailedError, Rig
from schemas.codec import decoder, encode
from schemas.group import SLOT_KIND, GroupVerdict, SlotMessage
from schemas.journal import PolicyVersion
from schemas.policy import Limit, Policy
from schemas.topics import SLOTS
from streams.group_core import GroupCore
from streams.partitioner import partition_of
from streams.step import Output

PARTITIONS = 8
GROUPS = [f"site-{number}" for number in range(10)]
USERS_PER_SESSION = 5
"""100,000 users of a group for its 20,000 sessions."""
LEAVE_SHARE = 0.02
SEED = 20
T0_MS = 1_795_199_831_000

_verdict = decoder(GroupVerdict).decode


class Said(NamedTuple):
    """A message as it lies in `group.slots`."""

    partition: int
    key: bytes
    value: bytes
    message: SlotMessage


async def measure(rig: Rig) -> Report:
    """Sessions come and go until every group is full and as many again were refused."""
    sessions = 10 * rig.sizes.users
    messages = _messages(sessions)
    cores = [GroupCore(partition, PARTITIONS, SLOTS.name) for partition in range(PARTITIONS)]
    offsets = [0] * PARTITIONS
    policy = Policy(limits=(Limit("site-total", "group", sessions // len(GROUPS), count="sessions"),))
    for core in cores:
        core.restored()
        core.apply(0, "policy", None, encode(PolicyVersion(version=1, time_ms=T0_MS, policy=policy)), [])
    out: list[Output] = []
    gc.collect()
    gc.disable()
    began_s = time.process_time()
    for said in messages:
        offsets[said.partition] += 1
        cores[said.partition].apply(offsets[said.partition], SLOT_KIND, said.key, said.value, out)
    took_s = time.process_time() - began_s
    gc.enable()
    answers = [_verdict(output.value).granted for output in out]
    wanted, held = _model([said.message for said in messages], sessions // len(GROUPS))
    wrong = sum(one is not other for one, other in zip(answers, wanted, strict=True))
    inside = {(row.group, row.session) for core in cores for row in map(core.table.row, core.table.rows) if row is not None}
    over = sum(standing.current > standing.max for core in cores for group in core.table.names() for standing in core.standings(group))
    if wrong or inside != held or over:
        raise FailedError(f"the count is not exact: {wrong} answers differ, {len(inside ^ held)} slots differ, {over} groups are over")
    refused = answers.count(False)
    data = {"messages": len(messages), "sessions": len(inside), "takes": len(answers), "refused": refused, "seconds": took_s}
    figures = (len(messages), len(answers), refused, len(inside), round(len(messages) / took_s))
    rows = [tuple(f"{figure:,}" for figure in figures)]
    notes = [
        "every answer, every slot at the end and every group's figure are those of the sequential model; no group is over its limit",
        f"{1e6 * took_s / len(messages):.1f} us of one core for each message",
    ]
    columns = ("messages", "takes", "refused", "sessions at the end", "messages/s of CPU")
    return Report(f"Groups: {len(GROUPS)} of {sessions * USERS_PER_SESSION // len(GROUPS):,} users", columns, rows, notes, data)


def _messages(sessions: int) -> list[Said]:
    """Takes, twice as many as there is room for, and sessions that end between them."""
    chance = random.Random(SEED)
    said: list[Said] = []
    open_: list[tuple[str, str, str]] = []
    takes = 0
    while takes < 2 * sessions:
        if open_ and chance.random() < LEAVE_SHARE / 2:
            place = chance.randrange(len(open_))
            open_[place], open_[-1] = open_[-1], open_[place]
            said.append(_said("free", len(said), *open_.pop()))
            continue
        group = chance.choice(GROUPS)
        open_.append((group, f"{group}-user-{chance.randrange(sessions * USERS_PER_SESSION // len(GROUPS))}", f"s:ap1/{takes:08x}"))
        said.append(_said("take", len(said), *open_[-1]))
        takes += 1
    return said


def _said(op: Literal["take", "free"], number: int, group: str, identity: str, session: str) -> Said:
    message = SlotMessage(
        op=op,
        group=group,
        identity=identity,
        session=session,
        partition=partition_of(identity, PARTITIONS),
        offset=number,
        nth=0,
        time_ms=T0_MS,
        order_ms=T0_MS,
        groups=[group],
    )
    return Said(partition_of(group, PARTITIONS), group.encode(), encode(message), message)


def _model(messages: list[SlotMessage], most: int) -> tuple[list[bool], set[tuple[str, str]]]:
    """One after the other: whether each take is granted, and who is in at the end."""
    inside: dict[str, set[str]] = {group: set() for group in GROUPS}
    answers = []
    for message in messages:
        members = inside[message.group]
        if message.op == "free":
            members.discard(message.session)
            continue
        answers.append(len(members) < most)
        if answers[-1]:
            members.add(message.session)
    return answers, {(group, session) for group, members in inside.items() for session in members}
