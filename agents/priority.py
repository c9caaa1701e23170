"""This process's share of the processors where there are not enough of them (nice(2), sched(7)).

What lives here: the one call of a part that somebody waits for. What may not: how much it wants (`[admission] nice`).
"""

import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_AUTOGROUP: Final = Path("/proc/self/autogroup")


def take_priority(nice: int) -> None:
    """Weigh this much among the processes that want a processor. Without the right to it things stay as they are, and the log says so.

    Linux may group the processes of a session and share the processors out among groups first ("The autogroup feature" of sched(7)):
    then the group's value counts and not its processes', so it is set too where the session is this process's own.

    Args:
        nice: from -20, the most, to 19; 0 changes nothing.
    """
    if nice == 0:
        return
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        if _AUTOGROUP.exists() and os.getsid(0) == os.getpid():
            _AUTOGROUP.write_text(str(nice))
    except OSError as why:
        remedy = "Give it the right (CAP_SYS_NICE, systemd's Nice=, ulimit -e), or set [admission] nice = 0."
        log.info("logins are answered at ordinary priority, since nice %d is not allowed: %s. %s", nice, why.strerror, remedy)
