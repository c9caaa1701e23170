"""Python's garbage collector, told what stays: it looks for circles among objects, and each look stops the process.

What lives here: the one call that a part makes when it is set up. What may not: memory that a part bounds itself.
"""

import gc
from typing import Final

YOUNG: Final = 50_000
"""Allocations between two looks at the youngest. Python's 700 is less than a poll or a batch leaves waiting for Kafka, so what is looked at
is in use: a tenth of a Start's time in the worker, as much of a packet's in the ingest, a sixth of a kick's."""
MIDDLE_AFTER: Final = 20
_OLD_AFTER = 100


def settle(young: int = YOUNG, middle_after: int = MIDDLE_AFTER) -> None:
    """Leave alone what there is now (code, dictionaries, rows), and look seldom at what comes.

    Args:
        young: allocations between two looks. A look takes some microsecond for each: fewer, where nobody may wait long.
        middle_after: looks at the youngest, after which what is left of them is looked at once more, together.
    """
    gc.freeze()
    gc.set_threshold(young, middle_after, _OLD_AFTER)
