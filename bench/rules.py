"""What rules cost: the session agent's step on one journal, in memory, under a policy with 20 limits, 10 quotas and 5 rates and under none.

No Kafka and no disk: what is compared is the pure step alone, in turn in one process, so that nothing else of the machine is between them.
Users are in two of ten groups each, some are guests; a rule that names a group touches a fifth of them.
"""

import gc
import time

from agents.garbage import settle
from bench.report import Report, middle, spread
from bench.rig import Rig
from schemas.accounting import AccountingRecord
from schemas.codec import encode
from schemas.journal import MembershipOrder, PolicyVersion, Tick
from schemas.policy import Limit, Liveness, Policy, Quota, Rate
from schemas.topics import ACCOUNTING
from streams.session_core import SessionCore
from streams.step import Output

AIM = 0.70

INTERIMS = 3
GROUPS = [f"g{number}" for number in range(10)]
T0_MS = 1_795_199_831_000
GIB = 2**30

Record = tuple[str, bytes, bytes]


def rules() -> Policy:
    """20 limits, 10 quotas, 5 rates; two of each kind are about everybody, none is ever breached."""
    limits = [Limit("devices", "user", 10, exempt=("guest:*",)), Limit("sessions", "user", 20, count="sessions", victim="oldest")]
    limits += [Limit(f"in-{group}", "user-in-group", 5, group=group) for group in GROUPS]
    limits += [Limit(f"guest-{n}", "guest-type", 3, group=f"type{n}") for n in range(6)]
    limits += [Limit(f"all-{group}", "group", 1_000_000, group=group) for group in GROUPS[:2]]
    quotas = [Quota("day", "user", "day", octets=100 * GIB, warn_at=(80,)), Quota("month", "user", "month", time_s=31 * 86_400)]
    quotas += [Quota(f"day-{group}", "user-in-group", "day", octets=50 * GIB, group=group) for group in GROUPS[:8]]
    rates = [Rate("flapping", "user", 20, 60)] + [Rate(f"rate-{group}", "user-in-group", 10, 60, group=group) for group in GROUPS[:4]]
    return Policy(limits=tuple(limits), quotas=tuple(quotas), rates=tuple(rates), liveness=(Liveness("interim"),))


def journal(users: int) -> list[Record]:
    """Each user logs in, reports some times, and logs out; ticks between."""
    records: list[Record] = []
    for number in range(users):
        name = f"user{number}"
        groups = (GROUPS[number % 10], GROUPS[(number // 10 + number + 1) % 10], *(["guest:type1"] if number % 20 == 0 else []))
        records.append(("membership", name.encode(), encode(MembershipOrder(identity=name, groups=groups))))
    for turn in range(INTERIMS + 2):
        at_ms = T0_MS + turn * 600_000
        records.append(("tick", b"", encode(Tick(ingest="i", wall_ms=at_ms, mono_ms=turn * 600_000))))
        records += [_accounting(number, turn, at_ms) for number in range(users)]
    return records


def _accounting(number: int, turn: int, at_ms: int) -> Record:
    name = f"user{number}"
    record = AccountingRecord(
        status="Start" if turn == 0 else "Stop" if turn > INTERIMS else "Interim-Update",
        nas=f"nas{number % 50}",
        source="192.0.2.1",
        ingest="i",
        received_ms=at_ms,
        event_ms=at_ms,
        event_source="event-timestamp",
        identity=name,
        user_name=name,
        acct_session_id=f"session-{number}",
        calling_station_id=f"02-00-00-{number >> 16:02x}-{number >> 8 & 255:02x}-{number & 255:02x}",
        framed_ip_address="10.0.0.1",
        session_time_s=None if turn == 0 else turn * 600,
        input_octets=None if turn == 0 else turn * 1_000_000,
        output_octets=None if turn == 0 else turn * 9_000_000,
        gigawords=True,
    )
    return "accounting", name.encode(), encode(record)


def per_second(policy: Policy, records: list[Record]) -> float:
    """Accounting records per second of CPU time under a policy; a checkpoint's rows are made as the worker makes them."""
    core = SessionCore(0, 1, ACCOUNTING.name)
    out: list[Output] = []
    core.apply(0, "policy", None, encode(PolicyVersion(version=1, time_ms=T0_MS, policy=policy)), out)
    counted = sum(kind == "accounting" for kind, _, _ in records)
    first = next(place for place, record in enumerate(records) if record[0] == "accounting")
    for offset, (kind, key, value) in enumerate(records[:first], 1):
        core.apply(offset, kind, key, value, out)
    gc.collect()
    settle()
    began_s = time.process_time()
    for offset, (kind, key, value) in enumerate(records[first:], first + 1):
        core.apply(offset, kind, key, value, out)
        if core.touched >= 20_000:
            core.checkpoint()
        if len(out) >= 10_000:
            out.clear()
    return counted / (time.process_time() - began_s)


async def measure(rig: Rig) -> Report:
    """Rounds in turn, each policy on the same journal; CPU time is counted, so that who else works on the machine does not."""
    records = journal(rig.sizes.users // 2)
    policies = {"no rule": Policy(), "20 limits, 10 quotas, 5 rates": rules()}
    figures: dict[str, list[float]] = {name: [] for name in policies}
    for _ in range(rig.sizes.rounds):
        for name, policy in policies.items():
            figures[name].append(per_second(policy, records))
    middles = {name: middle(values) for name, values in figures.items()}
    share = middles["20 limits, 10 quotas, 5 rates"] / middles["no rule"]
    rows = [[name, f"{middles[name]:,.0f}", spread(values)] for name, values in figures.items()]
    notes = [
        f"with rules the step does {share:.0%} of what it does without; aimed at {AIM:.0%}: {'reached' if share >= AIM else 'NOT reached'}"
    ]
    data = {"records": len(records), "per_second": figures, "share": share}
    return Report(
        "Rules: records per second of CPU time through the step alone", ("policy", "records/s", "lowest to highest"), rows, notes, data
    )
