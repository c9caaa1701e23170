"""Waiting until a product has done all there is to do, as its topics show it. No judgement lives here: that is `checks`'."""

from collections import defaultdict
from collections.abc import Callable

from schemas.topics import ACCOUNTING, GROUPS, SLOTS, TABLE, Topic
from tests.support.product import Product, eventually

WITHIN_S = 90.0
"""A loaded machine is no fault; so long may anything take once nothing is broken any more."""
LOOK_AGAIN_S = 0.5
"""A look reads whole topics, and the product needs the machine too."""


async def caught_up(product: Product) -> dict[tuple[Topic, int], int]:
    """Return when every partition's checkpoint has passed where its journal ends now, of sessions and of groups; and where that was."""
    ends = await journal_ends(product)

    async def next_offsets() -> dict[tuple[Topic, int], int]:
        found: dict[tuple[Topic, int], int] = defaultdict(int)
        for journal, table in ((ACCOUNTING, TABLE), (SLOTS, GROUPS)):
            for stored in await product.records(table):
                if stored.key == f"p:{stored.partition}" and stored.value is not None:
                    found[journal, stored.partition] = stored.value["next_offset"]
        return found

    await eventually(next_offsets, lambda offsets: all(offsets[place] >= end for place, end in ends.items()), WITHIN_S, LOOK_AGAIN_S)
    return ends


async def journal_ends(product: Product) -> dict[tuple[Topic, int], int]:
    """Where each partition of the journals ends, ticks aside: they come for ever."""
    return {
        (journal, stored.partition): stored.offset + 1
        for journal in (ACCOUNTING, SLOTS)
        for stored in await product.records(journal)
        if stored.kind != "tick"
    }


async def come_to_rest(product: Product, unanswered: Callable[[], int], confirm_within_s: float) -> None:
    """Return when all is answered, every command has its final result, and the tables have all of it.

    Ingest, kicker and workers are stopped by then; a projector runs on.

    Args:
        product: nothing new is sent to it.
        unanswered: how many packets wait for an answer.
        confirm_within_s: the policy's.
    """

    async def waiting() -> int:
        return unanswered()

    async def open_commands() -> set[str]:
        ids = {command["id"] for command in await product.commands()}
        return ids - {result["command_id"] for result in await product.results(final=True)}

    within_s = 3 * confirm_within_s + WITHIN_S
    await eventually(open_commands, lambda ids: not ids, within_s, LOOK_AGAIN_S)
    await eventually(waiting, lambda count: count == 0, WITHIN_S)
    assert await product.ingest.stop() == 0
    await _at_rest(product)
    await eventually(open_commands, lambda ids: not ids, within_s, LOOK_AGAIN_S)
    assert await product.kicker.stop() == 0
    await _at_rest(product)
    for worker in product.workers:
        if worker.process is not None and worker.process.poll() is None:
            assert await worker.stop() == 0, worker.tail()


async def _at_rest(product: Product) -> None:
    """Return when nothing more follows in either journal: sessions and groups answer each other there."""
    while await caught_up(product) != await journal_ends(product):
        pass
