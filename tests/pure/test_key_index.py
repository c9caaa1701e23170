"""What sessions share leads to their keys (`streams.key_index`)."""

from hypothesis import given
from hypothesis import strategies as st

from streams.key_index import KeyIndex

PAIRS = st.lists(st.tuples(st.booleans(), st.sampled_from(["bob", "eve"]), st.sampled_from(["s1", "s2", "s3"])), max_size=30)


@given(moves=PAIRS)
def test_an_index_has_the_keys_that_were_added_and_not_removed_the_oldest_first(moves: list[tuple[bool, str, str]]) -> None:
    """2.3: one session of an identity or several, they are found, and nothing else."""
    index, kept = KeyIndex[str](), dict[str, list[str]]()
    for comes, value, key in moves:
        if not comes:
            index.remove(value, key)
            kept[value] = [other for other in kept.get(value, []) if other != key]
        elif key not in kept.get(value, []):
            index.add(value, key)
            kept.setdefault(value, []).append(key)
        assert [index.keys_of(value) for value in ("bob", "eve", "nobody")] == [tuple(kept.get(v, [])) for v in ("bob", "eve", "nobody")]
        assert sorted(index) == sorted(value for value, keys in kept.items() if keys)
        assert len(index) == sum(1 for keys in kept.values() if keys)
