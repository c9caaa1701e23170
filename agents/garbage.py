"""Python's garbage collector, told what stays: it looks for circles among objects, and each look stops the process.

What lives here: the one call that a part makes when it is set up. What may not: memory that a part bounds itself.
"""

import gc
from typing import Final

YOUNG: Final = 50_000
"""Allocations between two looks at the youngest. Python's 700 is less than a poll or a batch leaves waiting for Kafka, so what is looked at
is in use: a tenth of a Start's time in the worker, as much of a packet's in the ingest, a sixth of a kick's."""
_MIDDLE_AFTER, _OLD_AFTER = 20, 100


def settle(young: int = YOUNG) -> None:
    """Leave alone what there is now (code, dictionaries, rows), and look seldom at what comes.

    Args:
        young: allocations between two looks; less where many small objects stay for a while and nobody may wait long.
    """
    gc.freeze()
    gc.set_threshold(young, _MIDDLE_AFTER, _OLD_AFTER)
