"""Python's garbage collector, told what stays: it looks for circles among objects, and each look stops the process.

What lives here: how a part that is set up has it look. What may not: memory that a part bounds itself.
"""

import gc
import time
from typing import Final

YOUNG: Final = 50_000
"""Allocations between two looks at the youngest. Python's 700 is less than a poll or a batch leaves waiting for Kafka, so what is looked at
is in use: a tenth of a Start's time in the worker, as much of a packet's in the ingest, a sixth of a kick's."""
_MIDDLE_AFTER, _OLD_AFTER = 20, 100

GROWTH_EVERY_S: Final = 600.0
GROWTH_MAX: Final = 1.25
GROWTH_FREE: Final = 1_000_000


def settle() -> None:
    """Leave alone what there is now (code, dictionaries, rows), and look seldom at what comes."""
    gc.freeze()
    gc.set_threshold(YOUNG, _MIDDLE_AFTER, _OLD_AFTER)


class Unlooked:
    """For who answers within milliseconds: what has come is left alone too, again and again, before a look at it is due.

    A look at 10,000 objects takes 10 ms. A circle that has become garbage by then stays, so when what is left alone has grown by a quarter
    and a million objects (which is looked for every ten minutes, since counting takes time), all of it is looked at once.
    """

    def __init__(self) -> None:
        """Leave alone what there is."""
        settle()
        self._kept = gc.get_freeze_count()
        self._counted_s = time.monotonic()

    def leave_alone(self) -> None:
        """Leave alone what has come; to be called each second or so."""
        gc.freeze()
        now_s = time.monotonic()
        if now_s - self._counted_s < GROWTH_EVERY_S:
            return
        self._counted_s = now_s
        if gc.get_freeze_count() > self._kept * GROWTH_MAX + GROWTH_FREE:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            self._kept = gc.get_freeze_count()
