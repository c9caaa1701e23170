"""Identifiers of requests to one NAS (RFC 5176 sections 2.3 and 6.3, RFC 5080 section 2.2.2; behaviour 5.1)."""

from hypothesis import given
from hypothesis import strategies as st

from streams.identifiers import REST_MS, IdentifierPool, IdentifierSpace, Port


def test_256_are_given_out_and_no_257th():
    space = IdentifierSpace()
    assert [space.take(1) for _ in range(256)] == list(range(256))
    assert space.take(1e12) is None


def test_one_that_was_given_back_rests_for_300_s():
    space = IdentifierSpace()
    for _ in range(256):
        space.take(1)
    space.give_back(7, 1_000)
    assert space.take(1_000 + REST_MS - 1) is None
    assert space.first_free_ms() == 1_000 + REST_MS
    assert space.take(1_000 + REST_MS) == 7
    assert space.take(1_000 + REST_MS) is None


def test_the_one_unused_for_longest_comes_first():
    space = IdentifierSpace()
    for identifier in [space.take(1) for _ in range(10)]:
        space.give_back(identifier, 1)
    assert space.take(2 + REST_MS) == 10


def test_a_pool_goes_to_the_next_port_when_the_ones_before_are_used_up():
    pool = IdentifierPool(2)
    taken = [pool.take(1) for _ in range(512)]
    assert taken == [Port(place, identifier) for place in range(2) for identifier in range(256)]
    assert pool.take(2) is None
    pool.give_back(Port(1, 3), 5)
    assert pool.take(6) is None
    assert pool.take(5 + REST_MS - 1) is None
    assert pool.take(5 + REST_MS) == Port(1, 3)
    assert pool.take(5 + REST_MS) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100_000)), max_size=900))
def test_no_identifier_is_given_out_twice_within_300_s(steps):
    """6.3: whatever the order of taking and giving back."""
    pool = IdentifierPool(2)
    now_ms = 1.0
    out: list[Port] = []
    rests: dict[Port, float] = {}
    for take, later_ms in steps:
        now_ms += later_ms
        if take and (port := pool.take(now_ms)) is not None:
            assert port not in out
            assert now_ms >= rests.get(port, 0)
            out.append(port)
        elif out:
            port = out.pop(0)
            pool.give_back(port, now_ms)
            rests[port] = now_ms + REST_MS
