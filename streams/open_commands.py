"""What the kicker must remember of one partition of `disconnect.commands`, so that a restart forgets nothing and does nothing twice.

Law of this file: pure bookkeeping of offsets and ids; no Kafka, no clock.

Theory of operation: a command's offset is open until its final result is durable. The offset to commit is the oldest open one, and beside
it (as the commit's metadata) goes a mark: the end of the results' partition as it was when that record was read. No result of a command
from there on can stand before it. So whoever takes the partition over reads the results from the mark on, and knows without any clock
which commands of its part have their final result (skipped) and which are acknowledged (awaited, not sent again). A command has the same
partition number in both topics, since both are keyed by the NAS. What is read again after a restart keeps the old mark: its results may
stand before the new end.

Bounds: `BUSY_MAX` commands without an answer, beyond which the partition is paused. The commands stay in the topic, and since each has its
final result within its `confirm_within_s`, so does the pause end. It ends sooner where NASes are dead: after RFC 5080's 30 s they are known
to be silent, and all of them together keep half of `BUSY_MAX` waiting at most (`dispatcher.SILENT_WAITING_ALL`). Acknowledged ones do not
count there, or the notices that prove them, which stand behind in the topic, could never be read; they are bounded by `WINDOW_MAX`, the
records read beyond the oldest open one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from schemas.disconnect import DisconnectResult, SessionNotice

BUSY_MAX = 20_000
WINDOW_MAX = 131_072
FINISHED_MAX = WINDOW_MAX + 16_384
EARLY_MAX = 1_024
REPEATS = 10_000
"""Results read back from before the mark: a worker that crashed sends its last commands again, and some of them were finished long ago."""


class CommitPoint(NamedTuple):
    """The offset to go on from, and the mark in the results' partition that belongs to it."""

    offset: int
    mark: int


class OpenCommands:
    """One partition's bookkeeping.

    Attributes:
        partition: its number. next_offset: the next record to read. results_end: the end of the results' partition, as far as it is known.
        commands_end: the end of the commands when it was read back: what lies before it may have been read by somebody else.
    """

    def __init__(self, partition: int, next_offset: int, *, commands_end: int = 0, mark: int = 0, results_end: int = 0) -> None:
        """Begin with what was committed.

        Args:
            partition: its number.
            next_offset: the committed offset.
            commands_end: the end of the commands now: what lies before it may have been read by somebody else.
            mark: the committed one.
            results_end: the end of the results now.
        """
        self.partition = partition
        self.next_offset = next_offset
        self.results_end = results_end
        self.commands_end = commands_end
        self._mark = mark
        self._marks: OrderedDict[int, int] = OrderedDict()
        self._offsets: dict[str, int] = {}
        self._acknowledged: set[str] = set()
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._to_resume: dict[str, DisconnectResult] = {}
        self._early: OrderedDict[str, SessionNotice] = OrderedDict()
        self._doubtful: dict[str, DisconnectResult] = {}

    def read_back(self, result: DisconnectResult, offset: int) -> None:
        """A result that stands in the topic already, at this offset, in the topic's order."""
        if result.final:
            self.finish(result.command_id)
            if offset >= self._mark:
                self._doubtful[result.command_id] = result
                if len(self._doubtful) > FINISHED_MAX:
                    del self._doubtful[next(iter(self._doubtful))]
        elif result.command_id not in self._offsets:
            self._to_resume[result.command_id] = result

    def resumed(self) -> None:
        """The results were read to their end: forget the acknowledgements of commands that are finished."""
        self._to_resume = {one: result for one, result in self._to_resume.items() if one not in self._finished}

    def hold(self, offset: int) -> None:
        """This record is read and not done with; records come in order."""
        self.next_offset = offset + 1
        self._marks[offset] = self._mark_at(offset)

    def let_go(self, offset: int) -> None:
        """That record is done with."""
        self._marks.pop(offset, None)

    def take(self, offset: int, command_id: str) -> bool:
        """A command at a held offset. False: it is a repeat of one that is open or finished, and the record is done with."""
        if command_id in self._offsets or command_id in self._finished:
            self.let_go(offset)
            return False
        self._offsets[command_id] = offset
        return True

    def doubtful(self, command_id: str) -> DisconnectResult | None:
        """The final result of a command whose record was not done with when somebody before us ended: the journal may not have it."""
        return self._doubtful.pop(command_id, None)

    def to_resume(self, command_id: str) -> DisconnectResult | None:
        """The acknowledgement that stands in the results for a command just opened."""
        result = self._to_resume.pop(command_id, None)
        if result is not None:
            self._acknowledged.add(command_id)
        return result

    def take_result(self, result: DisconnectResult, offset: int) -> None:
        """A result of ours is durable, at that offset of the results."""
        self.results_end = max(self.results_end, offset + 1)
        if result.final:
            self.finish(result.command_id)
        elif result.command_id in self._offsets:
            self._acknowledged.add(result.command_id)

    def finish(self, command_id: str) -> None:
        """Its final result is durable."""
        offset = self._offsets.pop(command_id, None)
        if offset is not None:
            self.let_go(offset)
        self._acknowledged.discard(command_id)
        self._finished[command_id] = None
        if len(self._finished) > FINISHED_MAX:
            self._finished.popitem(last=False)

    def learn(self, before: OpenCommands) -> None:
        """What this process has finished of the partition, also while results were read back: that stands behind the end of the reading."""
        self.results_end = max(self.results_end, before.results_end)
        for command_id in before._finished:
            if command_id not in self._finished:
                self.finish(command_id)

    def finished_of(self, commands: Mapping[str, int]) -> list[str]:
        """Which of these commands (with their offsets) are finished: by a result, or since the committed offset is past them."""
        return [command_id for command_id, offset in commands.items() if command_id in self._finished or offset < self.next_offset]

    def keep_early(self, notice: SessionNotice) -> None:
        """A notice about a command that is not open: it may be read later."""
        if notice.command_id in self._finished or notice.command_id in self._offsets:
            return
        self._early[notice.command_id] = notice
        self._early.move_to_end(notice.command_id)
        if len(self._early) > EARLY_MAX:
            self._early.popitem(last=False)

    def take_early(self, command_id: str) -> SessionNotice | None:
        """The notice that came before a command just opened."""
        return self._early.pop(command_id, None)

    @property
    def open_count(self) -> int:
        """How many commands are open."""
        return len(self._offsets)

    @property
    def commands(self) -> dict[str, int]:
        """The open commands with their offsets."""
        return dict(self._offsets)

    @property
    def is_full(self) -> bool:
        """No more may be read for now; see the top of this file."""
        oldest = next(iter(self._marks), self.next_offset)
        return len(self._offsets) - len(self._acknowledged) >= BUSY_MAX or self.next_offset - oldest >= WINDOW_MAX

    @property
    def commit_point(self) -> CommitPoint:
        """What may be committed now."""
        for offset, mark in self._marks.items():
            return CommitPoint(offset, mark)
        return CommitPoint(self.next_offset, self._mark_at(self.next_offset))

    def _mark_at(self, offset: int) -> int:
        return self._mark if offset < self.commands_end else self.results_end


def read_from(mark: int, begin: int) -> int:
    """The offset from which the results are read back.

    Args:
        mark: the committed one.
        begin: the oldest result that is still there.
    """
    return max(begin, mark - REPEATS)
