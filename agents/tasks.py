"""How tasks are ended: told to until they have, and without a word of what they raise then.

Why not cancel and wait: a cancellation can be lost. aiokafka turns one that meets it while it connects into a failure to connect, and
before Python 3.12 `asyncio.wait_for` swallows one that comes together with the result, and redis-py does so too; a task that tries again
for ever would never end.
"""

from __future__ import annotations

import asyncio
from typing import Any

CANCEL_AGAIN_S = 1.0


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks, again each second, until all of them have ended; what they raise is passed over."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
