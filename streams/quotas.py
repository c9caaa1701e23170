"""Usage quotas (behaviour 4.6): how much of a window is used, which shares were passed, and whether it is spent. Pure.

Theory of operation. A session's counters grow from record to record; what they grew by is told usage, spread evenly between the two
records (`windows.share_in`). A quota keeps its open window only: used so far, what an operator gave on top, what was told. A closed window
is forgotten with the first look after its end, and everybody begins anew. A new quota counts from the first record after it took effect.
Sessions at the same time add up, time as well as octets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from schemas.group import GroupRow
from schemas.journal import QuotaOrder
from schemas.policy import Quota
from schemas.session import IdentityRow, SessionRow, Spent, Window
from streams.windows import Calendar, Span, share_in

Known = IdentityRow | GroupRow
"""What keeps windows: a user's row, or for a quota of a whole group the group's."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Usage(NamedTuple):
    """A session's counters: octets of both directions, milliseconds of session time."""

    octets: int
    time_ms: int


class Stand(NamedTuple):
    """How somebody stands with a quota: the rule, in which group or guest type (empty for a user's), the window that is open."""

    quota: Quota
    group: str
    window: Window


class Met(NamedTuple):
    """What adding usage led to.

    Attributes:
        window: as it is now. share: the share in percent to warn of; 0: none.
        is_reached: the quota is spent with this usage, and was not before.
    """

    window: Window
    share: int
    is_reached: bool


def usage_of(row: SessionRow) -> Usage:
    """A session's counters so far; what was never said is 0."""
    return Usage((row.input_octets or 0) + (row.output_octets or 0), 1000 * (row.session_time_s or 0))


def most(quota: Quota, window: Window | None) -> int:
    """What may be used in a window: octets or milliseconds, an operator's top-up put in."""
    return (quota.octets or 1000 * (quota.time_s or 0)) + (window.extra if window is not None else 0)


def window_of(known: Known, quota: Quota, group: str, calendar: Calendar, now_ms: int) -> Window:
    """The window of a quota that is open now, a new one if need be.

    A clock that goes back opens no window again: the one that is kept holds until its end.
    """
    for window in known.windows:
        if (window.rule, window.group) == (quota.name, group) and now_ms < window.until_ms:
            return window
    span = calendar.window(quota.per, quota.time_zone, now_ms)
    return Window(quota.name, group, span.from_ms, span.until_ms)


def is_spent(quota: Quota, window: Window) -> bool:
    """Whether nothing is left in a window."""
    return window.used >= most(quota, window)


def count(
    known: Known, rules: tuple[tuple[Quota, str], ...], calendar: Calendar, grown: Usage, told: Span
) -> tuple[tuple[Window, ...], list[tuple[Stand, Met]]]:
    """Add told usage to the windows of an identity or a group; nearly every record tells of some, so this is written to be quick.

    Args:
        known: the row.
        rules: the quotas that the session is about, by name, and in which group.
        calendar: the windows.
        grown: by how much the session's counters grew.
        told: between which moments; the later is now.

    Returns:
        The row's windows, and what is to be told.
    """
    windows: list[Window] = []
    news: list[tuple[Stand, Met]] = []
    old, now_ms = known.windows, told.until_ms
    is_aligned = len(old) == len(rules)
    for index, (quota, group) in enumerate(rules):
        window = old[index] if is_aligned else None
        if window is None or window.rule != quota.name or window.group != group or now_ms >= window.until_ms:
            window = window_of(known, quota, group, calendar, now_ms)
            is_aligned = False
        from_ms, until_ms, extra, warned = window.from_ms, window.until_ms, window.extra, window.warned
        amount = grown.octets if quota.octets else grown.time_ms
        if told.from_ms < from_ms:
            # where the log's clock went back meanwhile, all of it belongs to the window that is kept
            amount = share_in(amount, told, Span(from_ms, until_ms)) if now_ms >= from_ms else amount
        used = window.used + amount
        window = Window(quota.name, group, from_ms, until_ms, used, extra, warned, window.reached, window.order_id)
        allowed = (quota.octets or 1000 * (quota.time_s or 0)) + extra
        if warned or window.reached or used * 100 >= (min(quota.warn_at) if quota.warn_at else 100) * allowed:
            met = judge(quota, window)
            window = met.window
            if met.share or met.is_reached:
                news.append((Stand(quota, group, window), met))
        windows.append(window)
    return tuple(windows) if is_aligned else keep(known, windows, now_ms), news


def judge(quota: Quota, window: Window) -> Met:
    """What is to be told of a window as it stands, once."""
    allowed = most(quota, window)
    spent = window.used >= allowed
    shares = [share for share in quota.warn_at if window.used * 100 >= share * allowed]
    share = max(shares, default=0)
    is_reached = spent and not window.reached
    is_news = share > window.warned and not spent
    now = replace(window, warned=max(share, window.warned) if shares else 0, reached=spent)
    return Met(now, share if is_news else 0, is_reached)


def ordered(quota: Quota, window: Window, order: QuotaOrder) -> Window:
    """A window after an operator's order; the same order again changes nothing."""
    if window.order_id == order.id:
        return window
    more = {"extra": window.extra + order.amount * unit(quota)} if order.op == "topup" else {"used": 0, "warned": 0}
    return replace(judge(quota, replace(window, **more)).window, order_id=order.id)


def keep(known: Known, windows: list[Window], now_ms: int) -> tuple[Window, ...]:
    """A row's windows with these in them; closed ones go. In a fixed order, so that the same state is the same row."""
    changed = {(window.rule, window.group): window for window in windows}
    kept = [w for w in known.windows if w.until_ms > now_ms and (w.rule, w.group) not in changed]
    return tuple(sorted([*kept, *changed.values()], key=lambda w: (w.rule, w.group)))


def spent(known: IdentityRow, quotas: tuple[tuple[Quota, str], ...], calendar: Calendar, now_ms: int) -> Iterator[Stand]:
    """The quotas that somebody has nothing left of."""
    for quota, group in quotas:
        window = window_of(known, quota, group, calendar, now_ms)
        if is_spent(quota, window):
            yield Stand(quota, group, window)


def spent_of_groups(told: Iterable[Spent], rules: tuple[tuple[Quota, str], ...], now_ms: int) -> Iterator[tuple[Stand, int]]:
    """The quotas of whole groups that nothing is left of, as the group agent said; with the offset at which it did.

    Args:
        told: what the partition's row remembers.
        rules: the quotas, and in which group.
        now_ms: the log's wall clock.
    """
    known = {(each.rule, each.group): each for each in told if now_ms < each.until_ms}
    for quota, group in rules:
        each = known.get((quota.name, group))
        if each is not None and is_spent(quota, (stand := stand_of(quota, each)).window):  # a newer policy may allow more
            yield stand, each.offset


def stand_of(quota: Quota, spent: Spent) -> Stand:
    """How a whole group stands with a quota, as the group agent said it."""
    used, extra = spent.used * unit(quota), spent.extra * unit(quota)
    return Stand(quota, spent.group, Window(spent.rule, spent.group, 0, spent.until_ms, used, extra))


def sentence(stand: Stand) -> str:
    """A window in words, with the figures: `user quota daily: 1.9 GiB of 2.0 GiB used this day`."""
    quota, group, window = stand
    where = f" in {group}" if group else ""
    used, allowed = figures(quota, window)
    return f"{quota.applies_to} quota {quota.name}{where}: {used} of {allowed} used this {quota.per}"


def unit(quota: Quota) -> int:
    """What of a window is one of the units in which it is told: an octet, or a second's milliseconds."""
    return 1 if quota.octets else 1000


def figures(quota: Quota, window: Window) -> tuple[str, str]:
    """What is used and what may be, in the units that people read."""
    return _amount(quota, window.used), _amount(quota, most(quota, window))


def _amount(quota: Quota, figure: int) -> str:
    if not quota.octets:
        minutes, seconds = divmod(figure // 1000, 60)
        return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"
    amount, unit = float(figure), UNITS[0]
    for unit in UNITS:
        if amount < 1024 or unit == UNITS[-1]:
            break
        amount /= 1024
    return f"{figure} B" if unit == "B" else f"{amount:.1f} {unit}"
