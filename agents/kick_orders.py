"""A person's kicks: orders written into the journal, and what becomes of them read from the results.

An order is no request to a NAS: the session agent takes it at its place in the journal, and the kicker carries it out. What is proven is
what the results topic says; an acknowledgement alone is not (behaviour 5.4).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka.structs import ConsumerRecord

from agents.directory import session_name
from agents.journal_orders import Order, write_orders
from agents.topic_reader import TopicReader, reading
from schemas.codec import UNREADABLE, Text, decoder, display
from schemas.configuration import Configuration
from schemas.disconnect import DisconnectResult, Outcome
from schemas.event import SessionEvent
from schemas.journal import OperatorCommand, Rejected
from schemas.session import SessionRow
from schemas.topics import EVENTS, REJECTED, RESULTS

ORDER_VALID_MS = 60_000
PROVEN: tuple[Outcome, ...] = ("confirmed", "gone")

_RESULT = decoder(DisconnectResult).decode
_EVENT = decoder(SessionEvent).decode
_REJECTED = decoder(Rejected).decode


class Fate(msgspec.Struct, kw_only=True):
    """What is known of one order.

    Attributes:
        order_id: of the operator command.
        command_id: of the disconnect command that it led to.
        decided: nothing more is to come.
        proven: the session is over, and the NAS said so.
        outcome: in words.
    """

    order_id: str
    nas: str
    acct_session_id: Text
    user_name: Text | None
    command_id: str | None = None
    decided: bool = False
    proven: bool = False
    outcome: str = "not yet decided"


def orders_for(rows: Sequence[SessionRow], invocation: str, who: str, reason: str, now_ms: int) -> list[OperatorCommand]:
    """An order for each session; the ids count within the invocation."""
    return [
        OperatorCommand(
            id=f"{invocation}-{nth}",
            identity=row.identity,
            nas=row.nas,
            acct_session_id=row.acct_session_id,
            time_ms=now_ms,
            expires_ms=now_ms + ORDER_VALID_MS,
            who=who,
            text=reason,
        )
        for nth, row in enumerate(rows)
    ]


@asynccontextmanager
async def following(configuration: Configuration) -> AsyncIterator[TopicReader]:
    """A reader of what is said from now on: open it before the orders are written."""
    async with reading(configuration, EVENTS, RESULTS, REJECTED) as reader:
        await reader.seek_to_end()
        yield reader


async def write_kicks(configuration: Configuration, orders: Sequence[OperatorCommand]) -> dict[tuple[int, int], str]:
    """Write the orders into the journal; all are durable when it returns.

    Returns:
        Where each lies: (partition, offset) -> its id.

    Raises:
        KafkaUnreachableError: Kafka does not answer, or refused one.
        TopicsDifferError: the topics are otherwise than wanted.
    """
    places = await write_orders(configuration, (Order("operator", order.identity, order) for order in orders))
    return {place: order.id for place, order in zip(places, orders, strict=True)}


class Fates:
    """What became of the orders; at most one disconnect of a session is under way, so a result is known by its session."""

    def __init__(self, orders: Sequence[tuple[OperatorCommand, SessionRow]]) -> None:
        self.all = [
            Fate(order_id=order.id, nas=row.nas, acct_session_id=row.acct_session_id, user_name=row.user_name) for order, row in orders
        ]
        self.places: dict[tuple[int, int], str] = {}
        self._by_session = {session_name(row): fate for (_, row), fate in zip(orders, self.all, strict=True)}
        self._by_order = {fate.order_id: fate for fate in self.all}

    @property
    def all_decided(self) -> bool:
        """Whether nothing more is to come for any."""
        return all(fate.decided for fate in self.all)

    def take(self, record: ConsumerRecord[Any, Any], reader: TopicReader) -> None:
        """Look at one record of what `following` reads; what cannot be read is not about us."""
        topic, value = reader.topic_of(record), record.value or b""
        try:
            if topic is RESULTS:
                self._result(_RESULT(value))
            elif topic is EVENTS:
                self._event(_EVENT(value))
            else:
                self._rejected(_REJECTED(value))
        except UNREADABLE:
            return

    def _result(self, result: DisconnectResult) -> None:
        fate = self._of(result.nas, result.acct_session_id)
        if fate is None or fate.decided:
            return
        fate.command_id, fate.decided, fate.proven = result.command_id, result.final, result.outcome in PROVEN
        cause = f": {result.error_cause} {result.error_cause_name or ''}".rstrip() if result.error_cause else ""
        detail = f" ({result.detail})" if result.detail else ""
        fate.outcome = f"{result.outcome}{cause}{detail}"

    def _event(self, event: SessionEvent) -> None:
        fate = None if event.acct_session_id is None else self._of(event.nas, event.acct_session_id)
        if fate is None or fate.decided:
            return
        if event.type == "disconnect.requested":
            fate.command_id, fate.outcome = event.command_id, "requested"
        elif event.type == "disconnect.refused" and event.command_id is None:  # the order itself: no such open session, or too late
            fate.decided, fate.outcome = True, f"not carried out: {event.cause or event.text or 'refused'}"

    def _rejected(self, rejected: Rejected) -> None:
        order_id = self.places.get(
            (-1 if rejected.partition is None else rejected.partition, -1 if rejected.offset is None else rejected.offset)
        )
        if order_id is not None:
            fate = self._by_order[order_id]
            fate.decided, fate.outcome = True, f"not carried out: {rejected.reason} ({rejected.detail})"

    def _of(self, nas: str, acct_session_id: Text) -> Fate | None:
        return self._by_session.get(f"{nas}/{display(acct_session_id)}")
