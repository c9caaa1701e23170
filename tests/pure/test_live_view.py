"""The live directory in memory, held against the session core that wrote what it reads (behaviours 4.8, 7.2, 7.4)."""

import random
from collections.abc import Iterator

import pytest

from schemas.session import SESSION_ROW, PartitionRow, SessionRow
from schemas.topics import EVENTS
from streams.limits import IN_FLIGHT
from streams.live_view import LiveView, PartitionView
from tests.support.journal import Journal, Record, interim, mac_of, operator, policy, result, start, stop, tick, user_limit

TOLD = ("nas", "acct_session_id", "identity", "state", "device", "user_name", "framed_ip_address")


class Reader:
    """A view that reads what a journal's core writes; events at once, checkpoints when a test says so."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.view = PartitionView(0)
        self.table: list[tuple[bytes, bytes | None]] = []
        self.read = 0
        self.told = 0

    def checkpoint(self) -> None:
        """The core writes its rows."""
        self.table += self.journal.core.checkpoint()

    def restore(self) -> "Reader":
        """Read the table from its start to its end."""
        for row in self.table:
            self.view.take_row(*row)
        self.read = len(self.table)
        self.view.restored()
        return self

    def events(self) -> Iterator[bytes]:
        """The events that were not read yet."""
        for output in self.journal.outputs[self.told :]:
            self.told += 1
            if output.topic == EVENTS.name:
                yield output.value

    def hear(self) -> None:
        """Read the events to their end."""
        for value in self.events():
            self.view.take_event(value)

    def catch_up(self) -> None:
        """Read the table to its end."""
        for row in self.table[self.read :]:
            self.view.take_row(*row)
        self.read = len(self.table)


def open_rows(journal: Journal) -> dict[str, SessionRow]:
    """What the core itself has open."""
    rows = {key: SESSION_ROW.unpacked(packed) for key, packed in journal.core.table.rows.items()}
    return {key: row for key, row in rows.items() if row.state == "open"}


def seen(view: PartitionView) -> dict[str, SessionRow]:
    """What the view has open."""
    return {key: row for key in view.keys(nas="") if (row := view.session(key)) is not None}


def told(rows: dict[str, SessionRow]) -> dict[str, list[object]]:
    """What events tell of sessions, and whether a disconnect is under way."""
    return {key: [getattr(row, name) for name in TOLD] + [row.kick_state in IN_FLIGHT] for key, row in rows.items()}


def reader(*records: Record) -> Reader:
    """A reader that has read a table in which these records are."""
    one = Reader(Journal().feed(*records))
    one.checkpoint()
    one.told = len(one.journal.outputs)
    return one.restore()


def test_the_table_read_to_its_end_is_what_the_core_has_open() -> None:
    """7.2: and nothing of what has ended."""
    one = reader(policy(user_limit(1)), start("s1"), start("s2", "eve"), stop("s2", "eve"), start("s3", nas="ap2"))
    assert seen(one.view) == open_rows(one.journal)
    assert sorted(one.view.keys(identity="bob")) == ["s:ap1/s1", "s:ap2/s3"]
    assert list(one.view.keys(nas="ap2")) == ["s:ap2/s3"]
    assert list(one.view.keys(device=(one.journal.open_row("s1").device or ""))) == ["s:ap1/s1"]
    assert one.view.policy.version == 1
    assert one.view.row.next_offset == one.journal.offset
    assert list(one.view.keys(identity="eve")) == list(one.view.keys(nas="none")) == []
    assert one.view.unreadable == 0


def test_an_event_is_there_before_the_checkpoint_that_holds_its_row() -> None:
    """4.8: milliseconds behind, where the table is a checkpoint behind."""
    one = reader(policy(user_limit(2)), start("s1"))
    one.journal.feed(start("s2", at_s=1), start("s3", at_s=2), stop("s1", at_s=3))
    one.hear()
    assert told(seen(one.view)) == told(open_rows(one.journal))
    assert seen(one.view)["s:ap1/s3"].kick_state == "requested"
    one.checkpoint()
    one.catch_up()
    assert seen(one.view) == open_rows(one.journal)


def test_a_row_that_is_older_than_an_event_does_not_bring_a_session_back() -> None:
    """The checkpoint speaks up to its own offset; what was told of later stands over it."""
    one = reader()
    one.journal.feed(start("s1"), interim("s1", at_s=1))
    one.checkpoint()
    one.journal.feed(stop("s1", at_s=2), start("s2", at_s=3))
    one.hear()
    one.catch_up()
    assert told(seen(one.view)) == told(open_rows(one.journal))
    assert list(seen(one.view)) == ["s:ap1/s2"]


def test_an_event_that_the_checkpoint_knows_of_changes_nothing() -> None:
    """The events may come after the rows too."""
    one = reader()
    one.journal.feed(start("s1"), stop("s1", at_s=2))
    one.checkpoint()
    one.catch_up()
    moved = [one.view.take_event(value) for value in one.events()]
    assert moved == [None, None]
    assert seen(one.view) == {}


def test_rows_wait_until_their_checkpoint_is_whole() -> None:
    """A checkpoint ends with the partition's own row; before that nobody knows up to where its rows speak."""
    one = reader()
    one.journal.feed(start("s1"))
    one.checkpoint()
    *rows, own = one.table[one.read :]
    assert [one.view.take_row(*row) for row in rows] == [[]] * len(rows)
    assert seen(one.view) == {}
    (moved,) = one.view.take_row(*own)
    assert (moved.key, moved.before, moved.after) == ("s:ap1/s1", None, one.journal.open_row("s1"))


def test_events_may_come_between_the_steps_of_a_checkpoint() -> None:
    """4.8: a checkpoint of many sessions is put in piece by piece, and what is told meanwhile stands over its rows."""
    whole, stepwise = (reader() for _ in range(2))
    for one in (whole, stepwise):
        one.journal.feed(*(start(f"s{number}") for number in range(9)))
        one.checkpoint()
        one.journal.feed(stop("s2", at_s=2), stop("s7", at_s=3), start("s9", at_s=4))
    whole.catch_up()
    whole.hear()
    *rows, own = stepwise.table[stepwise.read :]
    for row in rows:
        assert stepwise.view.take_row(*row) == []
    steps, events = stepwise.view.taking_row(*own), stepwise.events()
    for _ in steps:
        stepwise.view.take_event(next(events, None) or b"")
    for value in events:
        stepwise.view.take_event(value)
    assert told(seen(stepwise.view)) == told(open_rows(stepwise.journal)) == told(seen(whole.view))
    assert sorted(seen(stepwise.view)) == [f"s:ap1/s{number}" for number in (0, 1, 3, 4, 5, 6, 8, 9)]


def test_events_told_twice_are_taken_once() -> None:
    """After a crash a worker tells again, with the same ids."""
    one = reader()
    one.journal.feed(start("s1"), start("s2", at_s=1), stop("s1", at_s=2))
    values = list(one.events())
    assert [one.view.take_event(value) is not None for value in values * 2] == [True] * 3 + [False] * 3
    assert list(seen(one.view)) == ["s:ap1/s2"]


def test_a_start_that_comes_late_counts_nothing_before_its_row_is_there() -> None:
    """DESIGN "Old news": a NAS that empties its backlog keeps nobody out."""
    one = reader(policy())
    one.journal.feed(start("old", late_s=600), start("new", at_s=600), interim("long", at_s=600))
    one.hear()
    assert {row.acct_session_id: row.counts for row in seen(one.view).values()} == {"old": False, "new": True, "long": True}
    assert told(seen(one.view)) == told(open_rows(one.journal))


def test_a_session_of_which_only_the_event_is_known_is_as_young_as_it_is() -> None:
    """4.3: a counter time limit does not leave it out before its row is there."""
    one = reader(policy(), *(tick(second) for second in range(10)))
    one.journal.feed(start("s1", at_s=10))
    one.hear()
    assert seen(one.view)["s:ap1/s1"].opened_clock_ms == open_rows(one.journal)["s:ap1/s1"].opened_clock_ms > 0


def test_what_cannot_be_read_is_counted_and_hides_nothing() -> None:
    """One bad row must not hide all others."""
    one = reader(start("s1"))
    for key, value in ((b"s:ap1/x", b"{"), (b"\xff", b"{}"), (b"i:x", b"[]"), (b"p:0", b"{"), (b"p:0/policy", b"7")):
        assert one.view.take_row(key, value) == []
    assert one.view.take_event(b"{") is one.view.take_event(None) is one.view.take_event(b'{"id":"x","type":"t","time_ms":1}') is None
    assert one.view.unreadable == 8
    one.view.take_row(b"p:0/fence", None)
    assert seen(one.view) == open_rows(one.journal)


def test_a_page_holds_so_many_and_says_where_the_next_begins() -> None:
    """INTERFACES "HTTP": a bounded page, whatever is asked for."""
    view = LiveView(2)
    for number in range(7):
        row = SessionRow(f"ap{number % 2}", f"s{number}", "bob" if number < 4 else "eve", "open", device=f"02:00:00:00:00:0{number}")
        view.partitions[number // 4].take_row(f"s:{row.nas}/{row.acct_session_id}".encode(), SESSION_ROW.named(row))

    def pages(rows_max: int, **wanted: object) -> list[list[str]]:
        found, after = [], ""
        while True:
            page = view.page(after=after, rows_max=rows_max, **wanted)
            found.append([row.acct_session_id for row in page.rows])
            after = page.after
            if not after:
                return found

    assert pages(3) == [["s0", "s2", "s1"], ["s3", "s4", "s6"], ["s5"]]
    assert pages(7) == [["s0", "s2", "s1", "s3", "s4", "s6", "s5"]]
    assert pages(10, nas="ap1") == [["s1", "s3", "s5"]]
    assert pages(10, identities=("eve", "bob"), nas="ap0") == [["s0", "s2", "s4", "s6"]]
    assert pages(10, device="02:00:00:00:00:05") == [["s5"]]
    assert pages(10, device="02:00:00:00:00:05", nas="ap0") == pages(10, identities=("nobody",)) == [[]]
    assert len(view) == 7
    with pytest.raises(ValueError, match="after"):
        view.page(after="x", rows_max=1)


def _some_record(chance: random.Random, at_s: float, journal: Journal) -> list[Record]:
    session, identity = f"s{chance.randrange(12)}", chance.choice(["bob", "eve", "ann"])
    identity = next((row.identity for key, row in open_rows(journal).items() if key.endswith(f"/{session}")), identity)
    what = chance.random()
    if what < 0.45:
        return [start(session, identity, at_s=at_s, late_s=chance.choice([0, 0, 0, 100]))]
    if what < 0.6:
        return [interim(session, identity, at_s=at_s)]
    if what < 0.8:
        return [stop(session, identity, at_s=at_s)]
    if what < 0.85:
        return [operator(session, identity, order=f"o{at_s}", at_s=at_s)]
    commands = journal.commands()
    if what < 0.95 and commands:
        return [result(chance.choice(commands), chance.choice(["acknowledged", "refused", "unanswered", "gone"]), at_s=at_s)]
    return [tick(at_s)]


def test_whatever_happens_and_in_whatever_pieces_it_is_read_the_view_is_the_core(seed: int) -> None:
    """4.8: the events at once, the checkpoints late, the worker restored: at each moment who is open is what the core has open."""
    for round_ in range(30):
        chance = random.Random(f"{seed}-{round_}")
        one = reader(policy(user_limit(2, victim=chance.choice(["newest", "oldest"]))))
        for number in range(60):
            one.journal.feed(*_some_record(chance, 10.0 * number, one.journal))
            if chance.random() < 0.2:
                one.checkpoint()
            if chance.random() < 0.3:
                one.catch_up()
            if chance.random() < 0.05:  # the worker is restored from its checkpoint, and tells again what it told since
                one.told = max(0, one.told - chance.randrange(10))
            one.hear()
            assert told(seen(one.view)) == told(open_rows(one.journal)), (seed, round_, number)
        one.checkpoint()
        one.catch_up()
        assert seen(one.view) == open_rows(one.journal)
        again = PartitionView(0)
        for row in one.table:
            again.take_row(*row)
        assert seen(again) == seen(one.view)


def test_the_mac_of_a_session_is_found_in_any_partition() -> None:
    """7.4."""
    view = LiveView(4)
    row = SessionRow("ap1", "s1", "bob", "open", device=mac_of("s1").lower().replace("-", ":"))
    view.home_of("bob").take_row(b"s:ap1/s1", SESSION_ROW.named(row))
    assert view.of_identity("bob") == [view.session("ap1", "s1")] == view.page(device=row.device, rows_max=9).rows == [row]
    assert view.session("ap1", "s2") is None
    assert view.home_of("bob").row == PartitionRow(view.partitions.index(view.home_of("bob")))
