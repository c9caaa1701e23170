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

from schemas.codec import COUNTER_MAX
from schemas.group import GroupRow
from schemas.journal import QuotaOrder
from schemas.policy import Quota
from schemas.session import IdentityRow, SessionRow, Spent, Window
from streams.rulebook import Metered, allowed
from streams.windows import Calendar, Span, share_in

Known = IdentityRow | GroupRow
"""What keeps windows: a user's row, or for a quota of a whole group the group's."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
Usage = tuple[int, int]
"""A session's counters: octets of both directions, milliseconds of session time. A plain tuple: nearly every record makes some."""
NOTHING: Usage = (0, 0)


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
    return (row.input_octets or 0) + (row.output_octets or 0), 1000 * (row.session_time_s or 0)


def most(quota: Quota, window: Window | None) -> int:
    """What may be used in a window: octets or milliseconds, an operator's top-up put in."""
    return allowed(quota) + (window.extra if window is not None else 0)


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


def added(
    windows: tuple[Window, ...], rules: tuple[Metered, ...], calendar: Calendar, grown: Usage, told: tuple[int, int]
) -> tuple[Window, ...] | None:
    """Add told usage to windows in which nothing follows from it, as by nearly every record; written to be quick.

    Args:
        windows: as they are kept.
        rules: the quotas that the session is about.
        calendar: the windows that are open.
        grown: by how much its counters grew.
        told: between which moments; the later is now.

    Returns:
        None: these are not the windows of these rules, or one of them closes, begins in between, or has to be judged. See `count`.
    """
    from_ms, now_ms = told
    if not windows:
        windows = tuple(Window(each.rule, each.group, *calendar.window(each.per, each.time_zone, now_ms)) for each in rules)
    if len(windows) != len(rules):
        return None
    octets, time_ms = grown
    after: list[Window] = []
    for window, (rule, group, in_octets, bites_at, _, _) in zip(windows, rules, strict=True):
        used = window.used + (octets if in_octets else time_ms)
        if used >= bites_at or window.extra or window.warned or window.reached:
            return None
        if from_ms < window.from_ms or now_ms >= window.until_ms or window.rule != rule or window.group != group:
            return None
        after.append(replace(window, used=used))
    return tuple(after)


def count(
    known: Known, rules: tuple[tuple[Quota, str], ...], calendar: Calendar, grown: Usage, told: Span
) -> tuple[tuple[Window, ...], list[tuple[Stand, Met]]]:
    """Add told usage to the windows of an identity or a group.

    Args:
        known: the row.
        rules: the quotas that the session is about, and in which group.
        calendar: the windows.
        grown: by how much the session's counters grew.
        told: between which moments; the later is now.

    Returns:
        The row's windows, and what is to be told.
    """
    windows: list[Window] = []
    news: list[tuple[Stand, Met]] = []
    octets, time_ms = grown
    from_ms, now_ms = told
    for quota, group in rules:
        window = window_of(known, quota, group, calendar, now_ms)
        amount = octets if quota.octets else time_ms
        if from_ms < window.from_ms <= now_ms:  # where the log's clock went back meanwhile, all of it belongs to the window that is kept
            amount = share_in(amount, told, Span(window.from_ms, window.until_ms))
        met = judge(quota, replace(window, used=min(window.used + amount, COUNTER_MAX)))  # a NAS may say that 64 bits of octets moved
        windows.append(met.window)
        if met.share or met.is_reached:
            news.append((Stand(quota, group, met.window), met))
    return keep(known, windows, now_ms), news


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
    extra = min(window.extra + order.amount * unit(quota), COUNTER_MAX)
    more = {"extra": extra} if order.op == "topup" else {"used": 0, "warned": 0}
    return replace(judge(quota, replace(window, **more)).window, order_id=order.id)


def keep(known: Known, windows: list[Window], now_ms: int) -> tuple[Window, ...]:
    """A row's windows with these in them; closed ones go. In a fixed order, so that the same state is the same row."""
    changed = {(window.rule, window.group): window for window in windows}
    kept = [w for w in known.windows if w.until_ms > now_ms and (w.rule, w.group) not in changed]
    return tuple(sorted([*kept, *changed.values()], key=lambda w: (w.rule, w.group)))


def spent(known: IdentityRow, quotas: tuple[tuple[Quota, str], ...], now_ms: int) -> Iterator[Stand]:
    """The quotas that somebody has nothing left of; of a window that is not open yet nothing is used."""
    windows = {(window.rule, window.group): window for window in known.windows if now_ms < window.until_ms}
    for quota, group in quotas if windows else ():
        window = windows.get((quota.name, group))
        if window is not None and is_spent(quota, window):
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
