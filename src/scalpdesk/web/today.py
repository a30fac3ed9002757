"""The morning: is the account as it was left, what came since, what expires, what is on, what is left."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from scalpdesk.core.enums import ChangeCause, Mode
from scalpdesk.core.errors import JournalError
from scalpdesk.core.units import DAY_NS, ZERO, InstrumentId, number_text, run_currency
from scalpdesk.instruments.contract import Settlement
from scalpdesk.instruments.deadlines import order_cutoff_ns
from scalpdesk.instruments.events import LISTED, EventKind, events_between, why_unknown
from scalpdesk.instruments.sessions import (
    Session,
    expiry_instant_ns,
    from_ns,
    is_session,
    next_session,
    session_on,
    to_new_york,
    to_ns,
)
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.journal.reader import peek_header, run_dirs
from scalpdesk.live.account_look import AccountLook
from scalpdesk.live.options import SIMULATED_ACCOUNTS, venue_name
from scalpdesk.monitor import answers
from scalpdesk.monitor.documents import run_state
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.market import volatility_page
from scalpdesk.monitor.position_documents import holdings_now
from scalpdesk.monitor.texts import leg_label, signed
from scalpdesk.research.reruns import command_again
from scalpdesk.web.feed import alerts_of

_AHEAD_NS = 7 * DAY_NS
"""Expiries within so long are named."""
_KINDS = (*LISTED, EventKind.EXPIRY)
_ORDERED = frozenset(ChangeCause)
"""Causes of what moves an account without an order of the desk."""


class LastDesk(NamedTuple):
    """The run by which a folder's account is known."""

    run_dir: Path
    header: JournalHeader

    @property
    def is_of_venue(self) -> bool:
        """Whether a venue keeps its account."""
        is_traded = self.header.mode in ("paper", "live")
        return is_traded and venue_name(self.header.venue) not in SIMULATED_ACCOUNTS


def last_desk(runs_dir: Path) -> LastDesk | None:
    """Return the newest run of a folder whose account a venue keeps, else its newest run of a desk.

    A backtest is nobody's account: None where there is nothing else.
    """
    found = []
    for folder in run_dirs(runs_dir):
        try:
            header = peek_header(folder)
        except JournalError:
            continue
        if header.mode != "backtest":
            found.append(LastDesk(folder, header))
    found.sort(key=lambda each: (each.is_of_venue, each.header.started_ns))
    return found[-1] if found else None


def today_page(
    desk: LastDesk,
    follower: RunFollower,
    now_ns: int,
    *,
    is_running: bool,
    look: AccountLook | None = None,
    why_no_look: str = "",
    given: Mapping[str, Any] | None = None,
) -> answers.TodayPage:
    """Return the morning of a desk.

    ``follower``: Its run, read to the end.
    ``now_ns``: The present, UTC nanoseconds; a simulated market has its own.
    ``look``: The account as its venue shows it, where it was asked; ``why_no_look`` says why not.
    ``given``: Settings that the folder's file holds, which the next line need not repeat.
    """
    assert follower.engine is not None
    if look is not None:
        now_ns = look.view.clock.now_ns
    elif desk.header.data.get("url"):  # an exchange with a time of its own, which nobody has asked
        now_ns = follower.now_ns
    elif not desk.is_of_venue and not is_running:  # of a simulated market the next session is today
        now_ns = next_session(to_new_york(follower.now_ns).date()).open_ns
    elif not desk.is_of_venue:
        now_ns = follower.now_ns
    book, session, held = follower.desk, _session_of(now_ns), _held(follower, look)
    holds, structures = holdings_now(follower, held)
    since_ns = follower.session_opened_ns if follower.session_is_open else _last_close_ns(follower)
    header = desk.header
    volatility = volatility_page(follower)
    happened = sorted(_happened(follower, since_ns, look), key=lambda each: each["at"])
    alerts = alerts_of(desk.run_dir)
    differences = [str(each) for each in look.found.unexplained] if look is not None else []
    return {
        "day": session.day.isoformat(),
        "opens": f"{to_new_york(session.open_ns):%H:%M} to {to_new_york(session.close_ns):%H:%M} New York",
        "run_id": desk.run_dir.name,
        "venue": header.venue,
        "account": str(header.data.get("account_id", "")) or header.mode,
        "state": run_state(follower, is_running=is_running, is_cut=False),
        "currency": run_currency(header.config),
        "nav": f"{follower.money(book.attribution.nav):f}",
        "holds": holds,
        "structures": structures,
        "is_as_left": None if look is None else not differences,
        "account_text": _account_text(desk, follower, look, why_no_look, is_running=is_running),
        "differences": differences,
        "since": _at(since_ns),
        "happened": happened,
        "expires": list(_expiring(follower, held, now_ns)),
        "events": events_of(session),
        "volatility": str(volatility.get("sentence") or "No option has an implied volatility yet."),
        "cheap": str(volatility.get("verdict", "not known")),
        "limits": list(_limits(follower, held)),
        "not_told": ""
        if alerts is not None
        else "No watcher has told anybody of this run's alarms: credentials.alert_urls names who is to know.",
        "next_line": _next_line(desk, follower, differences, given, is_running=is_running),
    }


def no_desk_yet(now_ns: int, line: str) -> answers.NoDeskYet:
    """Return the morning of a folder in which no desk has traded; ``line`` is the command that begins."""
    return {
        "empty": "No desk has traded in this folder yet: there is no account to look at.",
        "events": events_of(_session_of(now_ns)),
        "next_line": line,
    }


def events_of(session: Session) -> list[str]:
    """Return what is scheduled on the day of a session, in words, each with its New York time."""
    start_ns = to_ns(from_ns(session.open_ns).replace(hour=0, minute=0))
    found = [
        f"{to_new_york(each.at_ns):%H:%M} "
        + (LISTED[each.kind].label if each.kind in LISTED else "monthly expiry of options")
        for each in events_between(start_ns, start_ns + DAY_NS, _KINDS)
    ]
    close = to_new_york(session.close_ns)
    if close.hour < 16:
        found.append(f"{close:%H:%M} the exchange closes early")
    unknown = why_unknown(tuple(LISTED), session.day)
    return found + ([f"not known: {unknown}"] if unknown else [])


def _session_of(now_ns: int) -> Session:
    """Return the session under way, or the next one."""
    day = to_new_york(now_ns).date()
    if is_session(day) and now_ns < session_on(day).close_ns:
        return session_on(day)
    return next_session(day)


def _last_close_ns(follower: RunFollower) -> int:
    """Return the close of the last session that the run has seen, or its end where it has seen none."""
    day = to_new_york(follower.now_ns).date()
    while not is_session(day) or session_on(day).close_ns > follower.now_ns:
        day -= timedelta(days=1)
    return session_on(day).close_ns if follower.sessions_closed else follower.now_ns


def _at(ts_ns: int) -> str:
    return f"{to_new_york(ts_ns):%Y-%m-%d %H:%M}"


def _held(follower: RunFollower, look: AccountLook | None) -> dict[InstrumentId, Decimal]:
    """Return signed units by instrument: those of the books, with what the venue's history adds to them."""
    held = {each.instrument_id: each.quantity for each in follower.desk.positions.held()}
    for part in () if look is None else look.found.explained:
        held[part.instrument_id] = held.get(part.instrument_id, ZERO) + part.units
    return {number: units for number, units in held.items() if units}


def _happened(follower: RunFollower, since_ns: int, look: AccountLook | None) -> Iterator[answers.SinceClose]:
    """Yield what became of the account since an instant: booked by the desk, found at the venue, told."""
    for change in follower.fold.changes:
        if change.ts_ns >= since_ns and change.cause in _ORDERED:
            yield {
                "at": _at(change.ts_ns),
                "kind": str(change.cause),
                "text": _moved_text(follower, change.instrument_id, change.units, change.cause),
                "cash": follower.amount(change.cash),
            }
    for part in () if look is None else look.found.explained:
        yield {
            "at": _at(part.event.ts_event_ns),
            "kind": "fill" if part.cause is None else str(part.cause),
            "text": _moved_text(follower, part.instrument_id, part.units, part.cause),
            "cash": follower.amount(part.cash),
        }
    for alert in (alerts_of(follower.run_dir) or {}).get("open", ()):
        yield {"at": _at(follower.now_ns), "kind": "alarm", "text": alert["what"], "cash": None}


def _moved_text(follower: RunFollower, number: InstrumentId, units: Decimal, cause: str | None) -> str:
    label = leg_label(follower.desk.instruments[number])
    if units:
        return f"{signed(units, 0)} {label}"
    return label if cause == ChangeCause.DIVIDEND else "cash"


def _account_text(
    desk: LastDesk, follower: RunFollower, look: AccountLook | None, why: str, *, is_running: bool
) -> str:
    if look is not None:
        view, unit = look.view, follower.desk.attribution.unit
        worth = f"{follower.money(view.account.equity):f}" if unit else ""
        if look.found.unexplained:
            return f"The account is not as it was left; equity {worth}."
        count = len(look.found.explained)
        explained = f", but for {count} below that its books do not have yet" if count else ""
        return f"The account is as it was left{explained}; equity {worth}."
    if is_running:
        return "A desk runs on the account and compares it by itself: scalpdesk status."
    return why if desk.is_of_venue else "The account is the desk's own simulation: it is as it was left."


def _expiring(
    follower: RunFollower, quantities: dict[InstrumentId, Decimal], now_ns: int
) -> Iterator[answers.ExpiringHolding]:
    desk = follower.desk
    spot = desk.market.mark(desk.view.underlying)
    for number, held in quantities.items():
        contract = desk.instruments[number]
        if not contract.is_option or not now_ns <= expiry_instant_ns(contract) <= now_ns + _AHEAD_NS:
            continue
        takes = "its worth in cash"
        if contract.settlement is Settlement.PHYSICAL:
            units = held if contract.is_call else -held
            paid = abs(follower.money(units * contract.multiplier * contract.strike))
            does = "buys" if units > 0 else "sells"
            shares = number_text(abs(units * contract.deliverable))
            takes = f"in the money it {does} {shares} {contract.underlying} for {paid:f}"
            if spot is not None:
                inside = (spot - float(contract.strike)) * (1.0 if contract.is_call else -1.0)
                takes += f"; now {abs(inside):.2f} {'in' if inside > 0 else 'out of'} the money"
        yield {
            "label": leg_label(contract),
            "quantity": number_text(held),
            "expires": _at(expiry_instant_ns(contract)),
            "last_order": _at(order_cutoff_ns(contract, desk.view.cutoff)),
            "takes": takes,
        }


def _limits(follower: RunFollower, held: dict[InstrumentId, Decimal]) -> Iterator[answers.LimitLeft]:
    """Yield what the limits on money leave for a new session."""
    desk = follower.desk
    limits, equity = desk.gate.limits, desk.attribution.nav
    loss = limits.daily_loss_limit(equity)
    lost = min(equity - desk.session_equity, ZERO) if follower.session_is_open else ZERO
    yield _limit(follower, "loss of the day", loss + lost, loss, "risk.max_daily_loss")
    premium = sum(
        (
            desk.instruments[number].value(units, follower.money(mark))
            for number, units in held.items()
            if desk.instruments[number].is_option and units > 0
            for mark in (desk.delta_engine.mark(number),)
            if mark is not None
        ),
        ZERO,
    )
    most = equity * follower.money(limits.max_premium_fraction)
    yield _limit(follower, "premium held", most - premium, most, "risk.max_premium_fraction")
    one = equity * follower.money(limits.max_position_fraction)
    yield _limit(follower, "one new position", one, one, "risk.max_position_fraction")


def _limit(follower: RunFollower, name: str, left: Any, limit: Any, key: str) -> answers.LimitLeft:
    return {
        "name": name,
        "left": f"{follower.money(left):f}",
        "limit": f"{follower.money(limit):f}",
        "key": key,
    }


def _next_line(
    desk: LastDesk,
    follower: RunFollower,
    differences: list[str],
    given: Mapping[str, Any] | None,
    *,
    is_running: bool,
) -> str:
    """Return the command to type next."""
    header = desk.header
    if is_running:
        mode = follower.desk.gate.kept_mode
        return "scalpdesk status --watch" if mode is Mode.ACTIVE else "scalpdesk resume --reason 'TEXT'"
    if header.is_backtest:
        return f"scalpdesk run {header.strategy}"
    line = command_again(header, given)
    is_over = follower.tail.sealed
    if differences:
        return f"{line} --resume  # begins halted, adopts what is explained and asks about the rest"
    return line if is_over else f"{line} --resume"
