"""Which partition a key lies in: Kafka's default partitioner (murmur2), so that every Kafka client finds a user's partition by itself."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2  # a pure function; the rest of that library is for `agents`


@lru_cache(maxsize=1 << 20)
def partition_of(key: str, partitions: int) -> int:
    """The partition of a key (UTF-8), as the Java producer's default partitioner chooses it.

    Cached: the function is pure Python and a device says the same name all day. A million names is some 200 MB at the worst.
    """
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions
