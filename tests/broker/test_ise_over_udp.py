"""Cisco ISE's cases of maximum sessions (BEHAVIOURS part 6) over real UDP, Kafka and a Disconnect port: ingest, worker, kicker.

The same cases as in `tests/flow/test_ise_cases.py`, one after the other on one product: each publishes its policy, says who belongs where,
and lets people log in. Whoever breaches is disconnected by RFC 5176 for the named reason, and nobody else is.
"""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from streams.radius.fields import Value
from tests.support.kafka import Kafka
from tests.support.nas import ACCT_SESSION_ID, ACCT_SESSION_TIME, ACK, CALLING_STATION_ID, USER_NAME, Answer, Attribute, SmallNas
from tests.support.product import Nas, Product, eventually, running

WITHIN_S = 60.0
COUNTER_S = 10


class Case(NamedTuple):
    """A case.

    Attributes:
        rules: (applies_to, max_sessions, more TOML), each limit named after these. groups: who belongs where.
        story: who logs in, and the limit that sends him away again; `wait` lets the counter time limit pass.
    """

    name: str
    rules: list[tuple[str, int, str]]
    groups: dict[str, str]
    story: list[tuple[str, str]]

    def policy(self) -> str:
        """As `policy.toml`."""
        rule = '[[limit]]\nname = "{0}-{1}"\napplies_to = "{0}"\nmax_sessions = {1}\ncount = "sessions"\n{2}\n'
        return f"# {self.name}\nconfirm_within_s = 30\n" + "".join(rule.format(*one) for one in self.rules)


USER, GROUP, IN_GROUP, GUEST = "user", "group", "user-in-group", "guest-type"
CASES = [
    Case("user max 2", [(USER, 2, "")], {}, [("bob", ""), ("BOB", ""), ("Bob", "user-2")]),
    Case(
        "group max 2",
        [(GROUP, 2, "")],
        {"pablo": "G1", "peter": "G1", "alice": "G1"},
        [("Pablo", ""), ("Peter", ""), ("Alice", "group-2")],
    ),
    Case(
        "two groups, both max 2",
        [(GROUP, 2, "")],
        {"alice": "G1,G2", "pablo": "G1,G2", "veronica": "G1", "peter": "G2"},
        [("Alice", ""), ("Pablo", ""), ("Veronica", "group-2"), ("Peter", "group-2")],
    ),
    Case("user max 1 and group max 2", [(GROUP, 2, ""), (USER, 1, "")], {"peter": "G1"}, [("Peter", ""), ("Peter", "user-1")]),
    Case("user max 1 and user in group 2", [(IN_GROUP, 2, ""), (USER, 1, "")], {"peter": "G1"}, [("Peter", ""), ("Peter", "user-1")]),
    Case(
        "group max 3, user in group 2",
        [(GROUP, 3, ""), (IN_GROUP, 2, "")],
        {"alice": "G1", "pablo": "G1"},
        [("Alice", ""), ("Alice", ""), ("Alice", "user-in-group-2"), ("Pablo", ""), ("Pablo", "group-3")],
    ),
    Case("guest type limit 1", [(GUEST, 1, "")], {"guest1": "guest:Daily"}, [("guest1", ""), ("guest1", "guest-type-1")]),
    Case(
        "user max 1 with guests excepted",
        [(USER, 1, 'except = ["guest:*"]')],
        {"guest1": "guest:Daily"},
        [("guest1", ""), ("guest1", ""), ("bob", ""), ("bob", "user-1")],
    ),
    Case(
        "counter time limit, max 1",
        [(USER, 1, f'action = "report"\ncounter_time_limit_s = {COUNTER_S}')],
        {},
        [("bob", ""), ("wait", ""), ("bob", ""), ("bob", "user-1"), ("wait", ""), ("bob", "")],
    ),
]


class Campus:
    """The NAS with its sessions, and the product."""

    def __init__(self, product: Product, nas: SmallNas) -> None:
        self.product = product
        self.nas = nas
        self.open: dict[str, list[Attribute]] = {}
        self.logins = 0

    def disconnect(self, request: dict[str, Value]) -> Answer:
        """The NAS does as it is told: an ACK, and the session's Stop."""
        self.stop(str(request["acct_session_id"]))
        return ACK

    def stop(self, session: str) -> None:
        self.nas.account("Stop", [*self.open.pop(session), (ACCT_SESSION_TIME, (1).to_bytes(4))])

    async def said(self, session: str, *types: str) -> list[Any]:
        return [event for event in await self.product.events(*types) if event["acct_session_id"] == session]

    async def logs_in(self, user: str, rule: str, *, asks_groups: bool, stays: bool) -> None:
        self.logins += 1
        session, mac = f"s{self.logins}", f"02-00-00-00-00-{self.logins:02x}"
        self.open[session] = [(USER_NAME, user.encode()), (ACCT_SESSION_ID, session.encode()), (CALLING_STATION_ID, mac.encode())]
        self.nas.account("Start", self.open[session])
        if not rule:
            is_in = "session.updated" if asks_groups else "session.started"  # the group's verdict is told by an update
            assert await eventually(lambda: self.said(session, is_in), bool, WITHIN_S)
            assert await self.said(session, "limit.breached") == []
            return
        (breached,) = await eventually(lambda: self.said(session, "limit.breached"), bool, WITHIN_S)
        assert (breached["rule"], f"limit {rule}" in breached["text"]) == (rule, True)
        if not stays:
            await eventually(lambda: self.said(session, "disconnect.confirmed"), bool, WITHIN_S)
            assert session not in self.open

    async def play(self, case: Case, directory: Path) -> None:
        memberships = directory / "groups.csv"
        memberships.write_text("user,groups\n" + "".join(f"{user},{groups}\n" for user, groups in case.groups.items()))
        await self.product.curfew("groups", "import", str(memberships))
        await self.product.publish(case.policy())
        report, asks_groups = "report" in case.rules[0][2], any(rule[0] == GROUP for rule in case.rules)
        for user, rule in case.story:
            if user == "wait":
                await asyncio.sleep(COUNTER_S + 4)
            else:
                await self.logs_in(user, rule, asks_groups=asks_groups, stays=report)
        assert len(self.open) == sum(user != "wait" and (report or not rule) for user, rule in case.story)
        for session in list(self.open):
            self.stop(session)
            await eventually(lambda session=session: self.said(session, "session.ended"), bool, WITHIN_S)
        if case.groups:
            (directory / "groups.csv").write_text("".join(f"{user}\n" for user in case.groups))
            await self.product.curfew("groups", "import", str(memberships))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_ise_cases_as_they_stand_over_real_sockets(kafka: Kafka, prefix: str, tmp_path: Path):
    """6, 4.1, 4.3, 5.1: and in the end exactly those were disconnected that had to go."""
    campus: Campus | None = None
    nas = SmallNas("ap-1", b"testing123", b"testing456", lambda request: campus.disconnect(request) if campus else None)
    known = Nas("campus", "testing123", nas.dae_port, "testing456")
    product = Product(tmp_path, kafka.bootstrap, prefix, [known], partitions=4)
    nas.server = ("127.0.0.1", product.port)
    async with running(product), nas:
        campus = Campus(product, nas)
        for case in CASES:
            await campus.play(case, tmp_path)
        expected = [rule for case in CASES for _, rule in case.story if rule]
        assert sorted(event["rule"] for event in await product.events("limit.breached")) == sorted(expected)
        assert len(nas.requests) == sum(bool(rule) for case in CASES if "report" not in case.rules[0][2] for _, rule in case.story)
        assert {result["outcome"] for result in await product.results(final=True)} == {"confirmed"}
