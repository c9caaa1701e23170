"""The kicker's questions by other ways than RADIUS (behaviour 5.6): a task for each, bounded in time, and its answer handed back.

What lives here: the drivers' tasks. What may not: what an answer leads to (`streams.kick`), and how many may be asked at a time: as many as
the budgets of their NASes let through (`streams.dispatcher`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from agents.tasks import end
from agents.ways import Way
from schemas.ways import WAY_WITHIN_S, WayAnswer, way_within_s
from streams.dispatcher import Question

GRACE_S = 1.0
"""What a driver may be late by before its task is ended; the machine waits a little longer still."""

log = logging.getLogger(__name__)

Take = Callable[[str, WayAnswer], None]
"""Called with the command's id and the answer."""


class Questions:
    """What is being asked.

    Args:
        ways: the drivers by `via`.
        take: what gets the answers.
    """

    def __init__(self, ways: Mapping[str, Way], take: Take) -> None:
        self._ways = ways
        self._take = take
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def ask(self, question: Question) -> None:
        """Begin to ask; the answer is handed over, whatever becomes of the driver."""
        command_id = question.command.id
        self.forget(command_id)
        task = self._tasks[command_id] = asyncio.create_task(self._ask(question), name=f"{question.via} {command_id}")
        task.add_done_callback(lambda ended: self._end(command_id, ended))

    def forget(self, command_id: str) -> None:
        """Nobody waits for this answer any more."""
        task = self._tasks.pop(command_id, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """End what is being asked, and the drivers."""
        await end(*self._tasks.values())
        for via, way in self._ways.items():
            try:
                async with asyncio.timeout(WAY_WITHIN_S):
                    await way.close()
            except Exception:
                log.exception("closing %s", via)

    def _end(self, command_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(command_id) is task:
            del self._tasks[command_id]

    async def _ask(self, question: Question) -> None:
        via = question.via
        within_s = way_within_s(via) + GRACE_S
        try:
            async with asyncio.timeout(within_s):
                answer = await self._ways[via].disconnect(question.nas, question.command)
        except TimeoutError:
            answer = WayAnswer("unanswered", f"The way {via} came to no end within {within_s:.0f} s.")
        except Exception as defect:
            # It would end the process, and the next one would read the same command again
            log.exception("the way %s to %s", via, question.nas.name)
            answer = WayAnswer("unsupported", f"The way {via} failed by a defect of its own: {type(defect).__name__}.")
        self._tasks.pop(question.command.id, None)
        self._take(question.command.id, answer)
