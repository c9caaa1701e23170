"""Duplicates: the same packet again, by header (behaviour 1.4; RFC 2866 section 3, RFC 5080 section 2.2.2).

Law of this file: it tells new from pending from answered, and forgets in time and in size; the clock is an argument, nothing is sent. The
key is the receiving socket, the sender's address and port, and the header after Code (Identifier, Length, authenticator): another
authenticator is another request. What is a repeat by content alone is recognised further down, from the journal.

Answers rest in two generations, of which the older is let go as a whole: no work for each entry, and an answer is kept for at least
`keep_ms` (and at most twice that) unless `size_max` is reached before.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

Key = tuple[int, tuple[object, ...], bytes]
"""(number of the receiving socket, sender as the socket gives it, octets 1 to 19 of the packet)."""

Request = TypeVar("Request")


class Duplicates(Generic[Request]):
    """Requests without an answer yet, oldest first, and answers given lately.

    Attributes:
        pending: the requests without an answer. Read it; change it through the methods.
    """

    def __init__(self, keep_ms: int, size_max: int) -> None:
        """Start empty.

        Args:
            keep_ms: for how long an answer is kept; 0 keeps none.
            size_max: answers kept at most.
        """
        self.pending: OrderedDict[Key, Request] = OrderedDict()
        self._keep_ms = keep_ms
        self._generation_size_max = max(1, size_max // 2)
        self._young: dict[Key, bytes] = {}
        self._old: dict[Key, bytes] = {}
        self._turned_ms = 0

    def answer_to(self, key: Key) -> bytes | None:
        """The answer that this very packet got, None if none is known."""
        return self._young.get(key) or self._old.get(key)

    def begin(self, key: Key, request: Request) -> None:
        """A new request, which is to be answered later."""
        self.pending[key] = request

    def oldest(self) -> Request:
        """Forget the request that has waited longest, and give it: its packet coming again is new.

        Raises:
            KeyError: nothing is pending.
        """
        return self.pending.popitem(last=False)[1]

    def forget(self, key: Key) -> None:
        """Forget a request that will not be answered: its packet coming again is new."""
        self.pending.pop(key, None)

    def answered(self, key: Key, answer: bytes) -> None:
        """A pending request got its answer."""
        self.pending.pop(key, None)
        if self._keep_ms:
            self._young[key] = answer

    def expire(self, now_ms: int) -> None:
        """Let go of what is too old or too much. Called now and then (once for each wake-up), with a clock that never goes back."""
        if now_ms - self._turned_ms >= self._keep_ms or len(self._young) >= self._generation_size_max:
            self._old = self._young
            self._young = {}
            self._turned_ms = now_ms
