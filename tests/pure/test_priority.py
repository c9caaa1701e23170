"""A part that somebody waits for has the processor first, where it may."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import logging, os, sys
from pathlib import Path
from agents.priority import take_priority
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
if {drop}:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
take_priority({nice})
group = Path("/proc/self/autogroup")
print(os.getpriority(os.PRIO_PROCESS, 0), group.read_text().split()[-1] if group.exists() and group.read_text() else {nice})
"""


def said(nice: int, *, alone: bool = True, drop: bool = False) -> str:
    """What a process of its own prints that took this priority; `alone` in its session, without root's rights where they are dropped."""
    script = SCRIPT.format(nice=nice, drop=drop)
    done = subprocess.run([sys.executable, "-c", script], start_new_session=alone, capture_output=True, text=True, check=True, timeout=60)
    assert not done.stderr
    return done.stdout.strip()


def test_the_process_and_its_session_weigh_what_is_configured() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    if own > 7:
        pytest.skip("these tests run at low priority already, and may not take more")
    assert said(7) == "7 7"


def test_nothing_changes_where_nothing_is_asked_for() -> None:
    assert said(0).split()[0] == str(os.getpriority(os.PRIO_PROCESS, 0))


def test_without_the_right_to_it_the_log_says_so_and_it_goes_on() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    told, figures = said(before - 5 or -1, drop=os.getuid() == 0).splitlines()
    assert "logins are answered at ordinary priority" in told
    assert "[admission] nice = 0" in told
    assert figures.split()[0] == str(before)
