"""What an operator sees of a group and orders about it, in the running product: `curfew groups count`, `curfew quota ... group:NAME`."""

import json
from pathlib import Path
from typing import Any

from schemas.codec import loads
from schemas.topics import REJECTED
from tests.support.kafka import Kafka
from tests.support.nas import ACK
from tests.support.product import Product, eventually, running
from tests.support.projector import of, product_with, small_nas

OUTPUT_OCTETS = 43
POLICY = """
[[limit]]
name = "staff-three"
applies_to = "group"
group = "staff"
max_sessions = 3
[[quota]]
name = "staff-daily"
applies_to = "group"
group = "staff"
octets = 1000
per = "month"
"""
PHONE, LAPTOP = "02-00-00-00-00-01", "02-00-00-00-00-02"


async def objects(product: Product, *arguments: str) -> list[Any]:
    """What a command prints with --json."""
    return [loads(line) for line in (await product.curfew(*arguments, "--json")).splitlines()]


async def test_a_group_is_counted_its_quota_shown_and_topped_up_so_that_its_members_come_back(kafka: Kafka, prefix: str, tmp_path: Path):
    """4.1, 4.6: count, limit and drift; an operator's order goes through the group agent's journal, and partitions hear of it."""
    async with small_nas(lambda _: ACK) as nas:
        product = product_with(tmp_path, kafka.bootstrap, prefix, nas)
        async with running(product, POLICY):
            await product.curfew("groups", "set", "ann", "staff")
            await product.curfew("groups", "set", "eve", "staff")
            nas.account("Start", of("ann", "a1", PHONE))
            nas.account("Start", of("eve", "e1", LAPTOP))
            (staff,) = await eventually(lambda: objects(product, "groups", "count"), lambda seen: seen and seen[0]["sessions"] == 2)
            assert staff == {
                "group": "staff",
                "sessions": 2,
                "limits": [{"limit": "staff-three", "current": 2, "max": 3}],
                "drift": 0,
                "drift_ms": None,
                "policy_version": 1,
            }
            assert [line.split() for line in (await product.curfew("groups", "count", "staff")).splitlines()] == [
                ["GROUP", "LIMIT", "COUNTED", "ALLOWED", "SESSIONS", "DRIFT", "LAST", "DRIFT"],
                ["staff", "staff-three", "2", "3", "2", "0", "-"],
            ]
            assert (await objects(product, "groups", "count", "nobody"))[0]["sessions"] == 0

            nas.account("Interim-Update", [*of("ann", "a1", PHONE), (OUTPUT_OCTETS, (1000).to_bytes(4))])
            await eventually(product.commands, lambda commands: {command["identity"] for command in commands} == {"ann", "eve"})
            nas.account("Stop", [*of("ann", "a1", PHONE), (OUTPUT_OCTETS, (1000).to_bytes(4))])
            nas.account("Stop", of("eve", "e1", LAPTOP))
            await product.wait_for_events(2, "session.ended")
            window = lambda: objects(product, "quota", "show", "group:staff")  # noqa: E731 - asked again and again
            await eventually(window, lambda seen: [(each["used"], each["extra"]) for each in seen] == [(1000, 0)])
            assert "1000 B  1000 B" in await product.curfew("quota", "show", "group:staff")

            (order,) = await objects(product, "quota", "topup", "group:staff", "staff-daily", "1 KiB", "--reason", "paid")
            assert (order["op"], order["group"], order["amount"], order["text"]) == ("topup", "staff", 1024, "paid")
            await eventually(window, lambda seen: [(each["used"], each["extra"]) for each in seen] == [(1000, 1024)])
            await eventually(lambda: product.rows("p"), lambda rows: not any(row.get("spent") for row in rows.values()))
            nas.account("Start", of("eve", "e2", LAPTOP))
            await eventually(lambda: objects(product, "groups", "count", "staff"), lambda seen: seen[0]["sessions"] == 1)
            await product.curfew("quota", "reset", "group:staff", "staff-daily")
            await eventually(window, lambda seen: [(each["used"], each["extra"]) for each in seen] == [(0, 1024)])
            assert len(await product.commands()) == 2
            assert not await product.records(REJECTED)


async def test_a_group_s_verdict_is_explained_down_to_the_slots_that_were_counted_and_comes_out_of_these_records_again(
    kafka: Kafka, prefix: str, tmp_path: Path
):
    """4.9: event -> verdict -> group.slots -> the sessions' own records; the decision is made again from exactly those records."""
    async with small_nas(lambda _: ACK) as nas:
        product = product_with(tmp_path, kafka.bootstrap, prefix, nas)
        async with running(product, POLICY.replace("= 3", "= 2")):
            for user in ("ann", "eve", "zoe"):
                await product.curfew("groups", "set", user, "staff")
            nas.account("Start", of("ann", "a1", PHONE))
            nas.account("Start", of("eve", "e1", LAPTOP))
            await eventually(lambda: objects(product, "groups", "count", "staff"), lambda seen: seen[0]["sessions"] == 2)
            nas.account("Start", of("zoe", "z1", PHONE))
            (breached,) = await product.wait_for_events(1, "limit.breached")
            (found,) = await objects(product, "explain", breached["id"])
            (said,) = found["groups"]
            assert (said["group"], said["limit"], said["current"], said["max"], said["policy_version"]) == ("staff", "staff-three", 2, 2, 1)
            assert said["is_same"]
            assert [(each["identity"], each["session"]) for each in said["counted"]] == [("ann", "s:ap/a1"), ("eve", "s:ap/e1")]
            assert made_again(said) == (False, breached["current"], breached["max"], breached["text"])
            assert {each["record"]["topic"] for each in said["counted"]} == {f"{prefix}group.slots"}
            assert [each["source"]["value"]["acct_session_id"] for each in said["counted"]] == ["a1", "e1"]
            told = await product.curfew("explain", breached["id"])
            for words in (
                "group staff, limit staff-three: 2 open of 2 allowed",
                "by policy version 1",
                f"counted 1: s:ap/a1 of ann, slot {PHONE.lower().replace('-', ':')}",
                "made again from these records: the same",
            ):
                assert words in told, told
            assert not await product.records(REJECTED)


def made_again(said: dict[str, Any]) -> tuple[bool, int, int, str]:
    """Whether the session gets a slot, and the sentence: counted by hand, from the question, the slots and the rule alone."""
    asked, rule = said["asked"]["value"], said["rule"]
    slots = {json.dumps([taken["identity"], taken["device"]]) for taken in (each["record"]["value"] for each in said["counted"])}
    assert all(each["record"]["value"]["group"] == asked["group"] for each in said["counted"])
    granted = json.dumps([asked["identity"], asked["device"]]) in slots or len(slots) < rule["max_sessions"]
    text = f"{rule['applies_to']} limit {rule['name']} in {asked['group']}: {len(slots)} open of {rule['max_sessions']} allowed"
    return granted, len(slots), rule["max_sessions"], text
