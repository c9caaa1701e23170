"""Where a key lies: as Kafka's own clients find it (DESIGN "Key = identity")."""

from hypothesis import given
from hypothesis import strategies as st

from streams.ids import DecisionId, decision_id, parse_decision_id
from streams.partitioner import partition_of


def test_a_key_lies_where_the_java_producer_puts_it() -> None:
    """murmur2, the sign bit masked: the hashes of Kafka's own unit test (org.apache.kafka.common.utils.UtilsTest)."""
    hashes = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "abc": 479470107}
    for key, expected in hashes.items():
        assert partition_of(key, 2**31) == expected & 0x7FFFFFFF
        assert partition_of(key, 8) == (expected & 0x7FFFFFFF) % 8


@given(key=st.text(), partitions=st.integers(1, 512))
def test_every_key_has_a_partition(key: str, partitions: int) -> None:
    """Also in a script with four octets a letter, and the empty one."""
    assert 0 <= partition_of(key, partitions) < partitions


@given(partition=st.integers(0, 511), offset=st.integers(0, 2**62), nth=st.integers(0, 99), identity=st.text())
def test_an_id_tells_where_its_decision_was_made(partition: int, offset: int, nth: int, identity: str) -> None:
    """7.1: for `curfew explain`; an identity may hold hyphens."""
    assert parse_decision_id(decision_id(partition, offset, nth, identity)) == DecisionId(partition, offset, nth, identity)
