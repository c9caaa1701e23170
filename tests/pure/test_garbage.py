"""What is left alone by the garbage collector is no leak: circles that became garbage unseen go once they are a good part of the whole."""

import subprocess
import sys

SCRIPT = """
import gc, weakref
from agents import garbage

class Circle:
    def __init__(self):
        self.itself = self

garbage.GROWTH_EVERY_S, garbage.GROWTH_FREE = 0.0, 1_000
unlooked = garbage.Unlooked()
assert gc.get_threshold()[0] == garbage.YOUNG
first = weakref.ref(Circle())
unlooked.leave_alone()
assert gc.collect() == 0 and first() is not None, "a look goes over what is left alone"
circles = [Circle() for _ in range(gc.get_freeze_count() // 2)]
unlooked.leave_alone()
assert first() is None, "it grew by more than a quarter"
kept = gc.get_freeze_count()
del circles
unlooked.leave_alone()
assert abs(gc.get_freeze_count() - kept) < 100, "it did not grow"
print("held")
"""


def test_what_grows_is_looked_at_after_all() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("held", "")
