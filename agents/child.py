"""The start of a child process of `curfew up`: it never outlives its parent, then it is `curfew` with the arguments that follow.

    python -m agents.child PARENT_PID ARGUMENT...

Linux kills it when the parent ends, however that ends (PR_SET_PDEATHSIG; the parent starts children from its main thread, which lives as
long as it does). Elsewhere a thread looks after the parent. SIGKILL loses nothing: what was answered is in Kafka, and state moves in
transactions.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

from agents.cli import main

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
LOOK_S = 0.5


def die_with(parent: int) -> None:
    """See to it that this process ends when `parent` does; returns at once."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(1)


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    main(args=sys.argv[2:], prog_name="curfew")
