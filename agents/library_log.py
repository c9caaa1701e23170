"""What the Kafka client and its kin say in the log, with measure: each message now and then, and how often it came.

While Kafka is away aiokafka says so for each connection that it tries, tens of thousands of lines a minute. Our own lines are not touched.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

LIBRARIES: Final = ("aiokafka", "faust", "mode")
EVERY_S: Final = 10.0
MESSAGES_MAX: Final = 256


class Measured(logging.Filter):
    """Lets a library's message through once each `EVERY_S` seconds, whatever stands in its gaps, and says how many it held back.

    Args:
        clock_s: monotonic seconds.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown; one that is may get a remark on those that were not."""
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        what, now_s = (record.name, str(record.msg)), self._clock_s()
        at_s, held_back = self._said.get(what, (now_s - EVERY_S, 0))
        if now_s - at_s < EVERY_S:
            self._said[what] = (at_s, held_back + 1)
            return False
        if what not in self._said and len(self._said) >= MESSAGES_MAX:
            self._said.clear()
        self._said[what] = (now_s, 0)
        if held_back:
            record.msg, record.args = f"{record.getMessage()} (and {held_back} times more since it was last shown)", ()
        return True
