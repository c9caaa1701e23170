"""The rows in memory: a change is applied whole or not at all, and the indexes are what the rows say (DESIGN "The table")."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Octets
from schemas.session import NasRow, SessionRow
from streams.key_index import KeyIndex
from streams.table import Change, Table, key_of

KEYS = [("ap1", "s1"), ("ap1", "s2"), ("ap2", "s1"), ("ap2", "s3")]
PUTS = st.tuples(
    st.sampled_from(KEYS), st.sampled_from(["open", "ended", None]), st.sampled_from(["bob", "eve"]), st.integers(0, 9), st.integers(0, 3)
)


def deadline(row: SessionRow) -> int | None:
    return row.heard_ms + row.observed_s if row.state == "open" and row.observed_s else None


def session(nas: str, name: str, state: str = "open", *, identity: str = "bob", at: int = 0, observed_s: int = 1) -> SessionRow:
    return SessionRow(
        *(nas, name, identity, state),  # type: ignore[arg-type]
        opened_offset=at,
        heard_ms=at,
        observed_s=observed_s or None,
        closed_ms=at if state == "ended" else None,
    )


def shared(index: KeyIndex[str]) -> dict[str, set[str]]:
    return {value: set(index.keys_of(value)) for value in index}


def drained(table: Table) -> list[str]:
    """Sessions in the order in which their deadlines come up, then the closed ones; each goes as it is taken."""
    taken = []
    for nas in ("ap1", "ap2"):
        while (key := table.due(nas, 10**9)) is not None:
            taken.append(key)
            del table.rows[key]
    while (key := table.past_grace(10**9)) is not None:
        taken.append(key)
        del table.rows[key]
    return taken


@given(changes=st.lists(st.lists(PUTS, max_size=4), max_size=12), watched_anew=st.booleans())
def test_indexes_kept_up_are_the_indexes_built_anew(
    changes: list[list[tuple[tuple[str, str], str | None, str, int, int]]], *, watched_anew: bool
) -> None:
    """2.8: a restart knows the same; deadlines come up in the same order."""
    table = Table(deadline)
    newest = 0
    for puts in changes:
        change = Change(table)
        for (nas, name), state, identity, at, observed_s in puts:
            newest += at  # a session is never heard earlier than before
            row = None if state is None else session(nas, name, state, identity=identity, at=newest, observed_s=observed_s)
            change.put(f"s:{nas}/{name}", row)
        table.commit(change)
    other = Table(deadline)
    other.rows = dict(reversed(table.rows.items()))
    for _ in other.indexing():
        pass
    assert shared(table.open_of) == shared(other.open_of)
    assert {nas: set(keys) for nas, keys in table.open_on.items()} == {nas: set(keys) for nas, keys in other.open_on.items()}
    assert (table.ended_of, table.open_count) == (other.ended_of, other.open_count)
    if watched_anew:
        for _ in table.watching_anew():
            pass
    assert drained(table) == drained(other)


def test_a_change_that_is_dropped_never_was() -> None:
    """A raise in the middle of a record leaves nothing behind."""
    table = Table(deadline)
    first = Change(table)
    first.put("s:ap1/s1", session("ap1", "s1"))
    first.next_seq("bob", 0)
    table.commit(first)
    before = (dict(table.rows), dict(table.identities), set(table.open_of), dict(table.touched), table.open_count)
    dropped = Change(table)
    row = dropped.session("s:ap1/s1")
    assert row is not None
    row.state = "ended"
    dropped.next_seq("bob", 1)
    dropped.put("s:ap1/s2", session("ap1", "s2"))
    dropped.nases["ap1"] = NasRow("ap1")
    assert (table.rows, table.identities, set(table.open_of), table.touched, table.open_count) == before
    assert table.nases == {}


def test_what_was_only_read_is_not_written() -> None:
    """A checkpoint holds rows that have changed."""
    table = Table(deadline)
    first = Change(table)
    first.put("s:ap1/s1", session("ap1", "s1"))
    table.commit(first)
    assert set(table.touched) == {"s:ap1/s1"}
    table.touched = {}
    second = Change(table)
    assert second.session("s:ap1/s1") is not None
    assert second.session("s:ap1/none") is None
    table.commit(second)
    assert table.touched == {}


def test_the_open_sessions_of_an_identity_are_told_as_the_change_sees_them() -> None:
    """Oldest record first, whatever the order of the index."""
    table = Table(deadline)
    first = Change(table)
    first.put("s:ap2/s3", session("ap2", "s3", at=1))
    first.put("s:ap1/s1", session("ap1", "s1", at=3))
    first.put("s:ap1/s2", session("ap1", "s2", at=2))
    first.put("s:ap2/s1", session("ap2", "s1", identity="eve", at=0))
    table.commit(first)
    second = Change(table)
    ending = second.session("s:ap1/s2")
    assert ending is not None
    ending.state = "ended"
    second.put("s:ap2/new", session("ap2", "new", at=0))
    assert [row.acct_session_id for row in second.open_of("bob")] == ["new", "s3", "s1"]
    assert Change(table).open_of("nobody") == []


def test_the_key_of_a_session_whose_id_is_no_text() -> None:
    """Octets that are not UTF-8 are a session too."""
    assert key_of(session("ap1", "s1")) == "s:ap1/s1"
    assert key_of(SessionRow("ap1", Octets("/w=="), "bob", "open")) == "s:ap1/base64:/w=="
