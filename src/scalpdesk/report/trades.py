"""Trades of a run, each from when options are held until none is: one value for every reader.

A trade's P&L reaches from its opening to the next one's, so that all trades together are the run.
"""

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from operator import itemgetter
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
import numpy as np

from scalpdesk.core.enums import ENDED, EXERCISED, ChangeCause, DecisionKind
from scalpdesk.core.intents import Decision, Mark
from scalpdesk.core.units import ZERO, number_text, to_cents
from scalpdesk.entry.shape_names import structure_of
from scalpdesk.hedging.sizing import SHARES, unhedged_from
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.instruments.postings import Posting
from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york
from scalpdesk.portfolio.explain import parts_in_cents
from scalpdesk.portfolio.gamma_verdict import COSTS
from scalpdesk.report.figures import Shown, ShownAs
from scalpdesk.report.fold import BookMark, Fill, shown
from scalpdesk.report.session_tables import ENOUGH_SESSIONS
from scalpdesk.report.statistics import bootstrap_interval, varies
from scalpdesk.report.trade_edge import MarkedBook
from scalpdesk.report.trade_words import (
    EndedLeg,
    OpenedLeg,
    Opening,
    Outlook,
    ending_words,
    entry_words,
    exit_words,
    gate_words,
    outlook_of,
)
from scalpdesk.volatility.variance_time import VarianceClock


class TradeLeg(msgspec.Struct, frozen=True):
    """An option of a trade."""

    symbol: str
    quantity: Decimal
    """Most that was held, signed."""
    price_in: Decimal | None = None
    """Mean price at which it was opened; None of what a transfer brought."""
    price_out: Decimal | None = None
    """Mean price at which it was closed; None where it expired, was exercised or is held."""


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A straddle or another structure, from when its options are held until none is.

    Cash is signed, of all sets and before fees: above zero a credit, below zero a debit. Volatilities are
    fractions a year of the run's variance clock.
    """

    number: int = 0
    strategy: str = ""
    """Whose it is, where several share the desk."""
    structure: str | None = None
    """The shape it was opened as, in words; None where its legs form none."""
    entry: str
    """How it was opened, what it earns and what hurts it, in words."""
    exit: str | None
    """How it was closed and why, in words; None while it is held."""
    opened_ns: Annotated[int, Shown("in (New York)", ShownAs.TIME)]
    closed_ns: Annotated[int | None, Shown("out", ShownAs.TIME, 8)]
    """UTC nanoseconds; None while it is held."""
    days_to_expiry: Annotated[int, Shown("days", ShownAs.COUNT, 12)]
    """From its opening to its nearest expiry, by New York dates."""
    legs: tuple[TradeLeg, ...]
    cash_in: Annotated[Decimal, Shown("cash in", ShownAs.AMOUNT, 2)]
    cash_out: Annotated[Decimal, Shown("cash out", ShownAs.AMOUNT, 1)]
    vol_in: Annotated[float | None, Shown("vol in", ShownAs.VOLATILITY)]
    vol_out: Annotated[float | None, Shown("vol out", ShownAs.VOLATILITY)]
    """Mean implied volatility of its options at the first mark after the opening, at the last mark before the
    closing; None where half a tick of an option moves its volatility by more than five points.
    """
    realised_vol: Annotated[float | None, Shown("realised", ShownAs.VOLATILITY, 9)]
    """Of the underlying while it was held."""
    forecast_vol: Annotated[float | None, Shown("forecast", ShownAs.VOLATILITY, 5)]
    implied_level: Annotated[float | None, Shown("against", ShownAs.VOLATILITY, 6)]
    edge_usd: Annotated[float | None, Shown("edge", ShownAs.AMOUNT, 4)]
    edge_stderr_usd: Annotated[float | None, Shown("±", ShownAs.WORTH, 7)]
    """What the entry's gate promised for all of it in currency, and how sure it was."""
    outlook: Outlook | None
    """Greeks and break-evens at the opening; None where a leg's price or the spot is not known."""
    worth_after_1: Annotated[float | None, Shown("worth 1 min", ShownAs.WORTH, 13)]
    worth_after_5: Annotated[float | None, Shown("5 min", ShownAs.WORTH, 14)]
    worth_after_30: Annotated[float | None, Shown("30 min", ShownAs.WORTH, 15)]
    """What its options were worth at the marks so many minutes after its opening."""
    worth_note: str | None
    """Why one of these is not known."""
    hedges: Annotated[int, Shown("hedges", ShownAs.COUNT, 10)]
    why: str | None
    """Reason of its exit."""
    costs: Annotated[Decimal, Shown("costs", ShownAs.AMOUNT, 11)]
    """Spread, fees and slippage; below zero when paid."""
    pnl: Annotated[Decimal, Shown("P&L", ShownAs.AMOUNT)]
    """Up to the next one's opening, exact."""
    parts: dict[str, Decimal]

    @property
    def name(self) -> str:
        """Its number and shape, or legs where they form none."""
        legs = ", ".join(f"{number_text(leg.quantity)} {leg.symbol}" for leg in self.legs)
        return f"{self.number}: {self.structure or legs}"

    def in_cents(self, unit: Decimal) -> "Trade":
        """Return it with its amounts rounded to the account's unit; its parts sum to its P&L."""
        parts = parts_in_cents(self.parts, self.pnl, unit)
        pnl = parts.pop("total")
        amounts = {name: to_cents(getattr(self, name), unit) for name in ("cash_in", "cash_out", "costs")}
        return msgspec.structs.replace(self, pnl=pnl, parts=parts if self.parts else {}, **amounts)


class BookRecord(msgspec.Struct, frozen=True):
    """What one strategy's is of a shared run, in order; of a run by itself, all of it."""

    marks: Sequence[Mark | BookMark]
    changes: Sequence[Posting]
    fills: Sequence[Fill]
    decisions: Sequence[Decision]
    """Its own, and the desk's."""


def trades_of(
    record: BookRecord,
    listed: Sequence[Instrument],
    clock: VarianceClock,
    *,
    underlying: str | None = None,
    dividends: Sequence[tuple[int, float]] = (),
    strategy: str = "",
) -> list[Trade]:
    """Return a trade for each time options were held.

    Adjusted contracts belong to the trade of the old ones; options that came by a transfer, or were held at
    the start, are a trade for which the run paid nothing.

    ``listed``: Instruments of the run, by their numbers.
    ``clock``: Of the run.
    ``underlying``: Symbol of the shares whose price the marks state; None where the hedge is none of shares.
    ``dividends``: Of the underlying: when it goes ex (UTC nanoseconds), and currency a share.
    """
    marks = MarkedBook(record.marks, record.fills, listed, record.changes, underlying)
    held = _Holdings(listed)
    held.walk(record.fills, record.changes, marks.last_ns)
    if not held.found:
        return []
    entries, exits, hedged = _told_by(record.decisions)
    adjustments = [change.ts_ns for change in record.changes if change.source is not None]
    trades = []
    ends = [*(each.opened_ns for each in held.found[1:]), None]
    for each, end_ns, (pnl, parts) in zip(held.found, ends, _earned(held.found, record.marks), strict=True):
        until_ns = each.closed_ns or end_ns or marks.last_ns
        reasons = [reason for ts_ns, reason in exits if each.opened_ns < ts_ns <= until_ns]
        ends_by = ending_words(each.ended) or each.ended_by
        ends_by = f"what was left: {ends_by}" if ends_by and each.has_closed else ends_by
        why = "; ".join(filter(None, (*reasons[-1:], ends_by))) if each.closed_ns else None
        last = len(hedged) if end_ns is None else bisect_left(hedged, end_ns)
        opening = each.opening(held.contracts, marks.spot_at(each.opened_ns))
        named = structure_of((leg.contract, leg.quantity) for leg in opening.legs)
        outlook, promised = outlook_of(opening), _promised(each, entries)
        worths = marks.worths(each.opened_ns, each.closed_ns)
        compared = gate_words(promised, opening.legs[0].contract.currency)
        trades.append(
            Trade(
                strategy=strategy,
                structure=None if named is None else str(named),
                entry="; ".join(filter(None, (entry_words(opening, named, outlook), compared))),
                exit=None if each.closed_ns is None else exit_words(opening, named, each.cash_out, why),
                opened_ns=each.opened_ns,
                closed_ns=each.closed_ns,
                days_to_expiry=days_to_expiry(
                    each.opened_ns, [expiry_instant_ns(held.contracts[symbol]) for symbol in each.legs]
                ),
                legs=tuple(leg.shown(symbol) for symbol, leg in each.legs.items()),
                cash_in=each.cash_in,
                cash_out=each.cash_out,
                vol_in=marks.vol_in(opening, until_ns),
                vol_out=marks.vol_out(each.closing(held.contracts), each.opened_ns),
                realised_vol=marks.realised(each.opened_ns, until_ns, clock, adjustments, dividends),
                forecast_vol=promised["forecast_vol"],
                implied_level=promised["implied_level"],
                edge_usd=promised["edge_usd"],
                edge_stderr_usd=promised["edge_stderr_usd"],
                outlook=outlook,
                worth_after_1=worths["worth_after_1"],
                worth_after_5=worths["worth_after_5"],
                worth_after_30=worths["worth_after_30"],
                worth_note=worths["worth_note"],
                hedges=last - bisect_left(hedged, each.opened_ns),
                why=why,
                costs=sum((parts.get(name, ZERO) for name in COSTS), ZERO),
                pnl=pnl,
                parts=parts,
            )
        )
    return trades


def gate_record(trades: Iterable[Trade]) -> dict[str, Any]:
    """Return what the entry gate promised against what its trades earned, both in currency a trade.

    Trades that are held, or were opened without a promise, are left out.
    ``inside`` is the share of trades within two standard errors of the promise; those are of the forecast
    alone, the luck of the path comes on top.
    """
    needed = ("closed_ns", "edge_usd", "forecast_vol", "implied_level")
    kept = [each for each in trades if None not in [getattr(each, name) for name in needed]]
    if not kept:
        return {"trades": 0}
    promised, stderr, pnl, forecast, implied = (
        np.array([float(getattr(each, name) or 0.0) for each in kept])
        for name in ("edge_usd", "edge_stderr_usd", "pnl", "forecast_vol", "implied_level")
    )
    realised = zip((each.realised_vol for each in kept), implied, strict=True)
    ratios = [vol / level for vol, level in realised if vol is not None]
    off = pnl - promised
    found: dict[str, Any] = {
        "trades": len(kept),
        "promised": float(promised.mean()),
        "earned": float(pnl.mean()),
        "difference": float(off.mean()),
        "above_zero": float((pnl > 0.0).mean()),
        "inside": float((np.abs(off) <= 2.0 * stderr).mean()),
        "forecast_over_implied": float((forecast / implied).mean()),
        "realised_over_implied": float(np.mean(ratios)) if ratios else None,
    }
    if len(kept) >= ENOUGH_SESSIONS:
        ends = bootstrap_interval(off, np.mean)
        found["difference_interval"] = [ends.low, ends.high]
        if varies(promised) and varies(pnl):
            found["correlation"] = float(np.corrcoef(promised, pnl)[0, 1])
    return found


def days_to_expiry(opened_ns: int, expiries_ns: Iterable[int]) -> int:
    """Return the days from an instant to the nearest expiry, by New York dates."""
    opened = to_new_york(opened_ns).date()
    return min((to_new_york(expiry_ns).date() - opened).days for expiry_ns in expiries_ns)


def exposure(
    marks: Iterable[Mark | BookMark],
    decisions: Iterable[Decision],
    trades: Iterable[tuple[int, int | None]],
    spans_ns: Sequence[tuple[int, int]],
    *,
    hedges: Mapping[int, float] = MappingProxyType({}),
    least_fraction: float = 0.0,
    hedge: Instrument = SHARES,
) -> dict[str, float]:
    """Return how much of the sessions options were held, and how long of that beyond the hedge's band.

    ``unhedged_minutes`` counts from a mark beyond what the hedge before it leaves alone to the next mark of
    its session: what waits for a quote, an order or a fill.

    ``marks``, ``decisions``: Of the run, in order.
    ``trades``: When each was opened and closed, UTC nanoseconds; None while it is held.
    ``spans_ns``: Open and close of each session, UTC nanoseconds.
    ``hedges``: By instant (UTC nanoseconds): what the last hedge that was filled then did to the net delta.
    The mark of that instant is of before.
    ``least_fraction``, ``hedge``: As for `scalpdesk.hedging.sizing.unhedged_from`.
    """
    end_ns = spans_ns[-1][1]
    held: list[tuple[int, int]] = []
    upto_ns = 0  # trades of several strategies may overlap
    for opened_ns, closed_ns in trades:
        until_ns = closed_ns or end_ns
        held.append((max(opened_ns, upto_ns), until_ns))
        upto_ns = max(upto_ns, until_ns)
    whole = sum(closes - opens for opens, closes in spans_ns)
    shared = sum(
        max(min(closes, end) - max(opens, start), 0) for opens, closes in spans_ns for start, end in held
    )
    stated = (
        (each.ts_ns, unhedged_from(each.facts, least_fraction, hedge)) for each in decisions if each.taken
    )
    widths = [(ts_ns, width) for ts_ns, width in stated if width is not None]
    beyond = at = session = 0
    width = math.inf
    for mark, following in pairwise(marks):
        while at < len(widths) and widths[at][0] <= mark.ts_ns:
            width, at = widths[at][1], at + 1
        while spans_ns[session][1] < mark.ts_ns and session + 1 < len(spans_ns):
            session += 1
        if abs(mark.net_delta_shares + hedges.get(mark.ts_ns, 0.0)) > width:
            beyond += max(min(following.ts_ns, spans_ns[session][1]) - mark.ts_ns, 0)
    return {"exposure": shared / whole if whole else 0.0, "unhedged_minutes": beyond / 60e9}


@dataclass(slots=True)
class _LegSums:
    """What was opened and closed of an option: units, and their price times units."""

    most: Decimal = ZERO
    units_in: Decimal = ZERO
    worth_in: Decimal = ZERO
    units_out: Decimal = ZERO
    worth_out: Decimal = ZERO

    @property
    def price_in(self) -> Decimal | None:
        return shown(self.worth_in / self.units_in) if self.units_in else None

    @property
    def price_out(self) -> Decimal | None:
        return shown(self.worth_out / self.units_out) if self.units_out else None

    def shown(self, symbol: str) -> TradeLeg:
        return TradeLeg(symbol, Decimal(number_text(self.most)), self.price_in, self.price_out)


@dataclass(slots=True)
class _OpenTrade:
    """A trade under way."""

    opened_ns: int
    closed_ns: int | None = None
    ended_by: str | None = None
    """What closed it without an order, where that is none of ``ended``."""
    ended: list[EndedLeg] = field(default_factory=list)
    """What settlement, exercise and assignment ended, in order."""
    legs: dict[str, _LegSums] = field(default_factory=dict)
    first: dict[str, Decimal] = field(default_factory=dict)
    """What was held before any of it was closed."""
    is_reduced: bool = False
    has_closed: bool = False
    """Whether an order closed a part of it."""
    cash_in: Decimal = ZERO
    cash_out: Decimal = ZERO

    def opening(self, contracts: Mapping[str, OptionContract], spot: float | None) -> Opening:
        """Return its legs as they were opened."""
        legs = (
            OpenedLeg(contracts[symbol], units, self.legs[symbol].price_in)
            for symbol, units in self.first.items()
        )
        return Opening(tuple(legs), self.opened_ns, spot)

    def closing(self, contracts: Mapping[str, OptionContract]) -> Opening:
        """Return its legs at the prices at which they were closed."""
        legs = (OpenedLeg(contracts[symbol], leg.most, leg.price_out) for symbol, leg in self.legs.items())
        return Opening(tuple(legs), self.closed_ns or 0, None)


class _Holdings:
    """Walks fills and changes of a book, and finds each time options were held."""

    def __init__(self, listed: Sequence[Instrument]) -> None:
        self.contracts = {each.symbol: each for each in listed if each.is_option}
        self.found: list[_OpenTrade] = []
        self._symbols = [each.symbol for each in listed]
        self._held: dict[str, Decimal] = {}
        self._adjusted: set[str] = set()

    def walk(self, fills: Iterable[Fill], changes: Iterable[Posting], last_ns: int) -> None:
        waiting = deque(changes)
        for fill in fills:
            while waiting and waiting[0].ts_ns <= fill.ts_recv_ns:
                self._change(waiting.popleft())
            if not fill.busted and fill.symbol in self.contracts:
                self._drop_expired(fill.ts_recv_ns)
                self._fill(fill, fill.symbol)
        for change in waiting:
            self._change(change)
        self._drop_expired(last_ns)

    def _fill(self, fill: Fill, symbol: str) -> None:
        """Count a fill: what makes a position larger opens it, the rest closes."""
        if not self._held:
            self.found.append(_OpenTrade(fill.ts_recv_ns))
        trade, sign = self.found[-1], 1 if fill.side == "buy" else -1
        before = self._held.get(symbol, ZERO)
        closing = min(fill.quantity, abs(before)) if before * sign < 0 else ZERO
        opening = fill.quantity - closing
        multiplier = self.contracts[symbol].multiplier
        trade.cash_in -= sign * opening * fill.price * multiplier
        trade.cash_out -= sign * closing * fill.price * multiplier
        trade.is_reduced |= bool(closing)
        trade.has_closed |= bool(closing)
        self._hold(symbol, sign * fill.quantity)
        if symbol not in self._adjusted:
            leg = trade.legs.setdefault(symbol, _LegSums())
            leg.units_in += opening
            leg.worth_in += opening * fill.price
            leg.units_out += closing
            leg.worth_out += closing * fill.price
            leg.most = max(leg.most, before + sign * fill.quantity, key=abs)
        if not trade.is_reduced:
            trade.first = dict(self._held)
        self._end(fill.ts_recv_ns)

    def _change(self, change: Posting) -> None:
        """Book what changed without an order; an adjusted contract replaces the old one."""
        symbol, units, at_ns = self._symbols[change.instrument_id], change.units, change.ts_ns
        ends = change.cause if change.cause in ENDED | EXERCISED else None
        if ends is None and symbol in self.contracts:
            self._drop_expired(at_ns)  # the delivery of one leg comes before the end of the next
        source = None if change.source is None else self._symbols[change.source]
        if source in self._held and symbol in self.contracts:
            self._hold(source, change.source_units)
            self._hold(symbol, units)
            self._adjusted.add(symbol)
        elif symbol in self._held:
            self._hold(symbol, units)
            if isinstance(ends, ChangeCause):
                contract = self.contracts[symbol]
                at_ns = min(at_ns, expiry_instant_ns(contract))
                self.found[-1].ended.append(EndedLeg(contract, -units, ends, change.cash))
        elif units and symbol in self.contracts and change.cause is ChangeCause.TRANSFER:
            if not self._held:
                self.found.append(_OpenTrade(change.ts_ns))
            self._hold(symbol, units)
            self.found[-1].legs[symbol] = _LegSums(units)
            self.found[-1].first[symbol] = units
        else:
            return
        self.found[-1].is_reduced |= change.cause is not ChangeCause.TRANSFER
        self._end(at_ns, change.cause.value.replace("_", " "))

    def _hold(self, symbol: str, units: Decimal) -> None:
        left = self._held.pop(symbol, ZERO) + units
        if left:
            self._held[symbol] = left

    def _drop_expired(self, now_ns: int) -> None:
        for symbol in [*self._held]:
            expiry_ns = expiry_instant_ns(self.contracts[symbol])
            if expiry_ns <= now_ns:
                del self._held[symbol]
                self.found[-1].is_reduced = True
                self._end(expiry_ns, "expired")

    def _end(self, now_ns: int, why: str | None = None) -> None:
        if not self._held:
            self.found[-1].closed_ns, self.found[-1].ended_by = now_ns, why


def _told_by(
    decisions: Iterable[Decision],
) -> tuple[list[tuple[int, Decision]], list[tuple[int, str]], list[int]]:
    """Return entries, exits with their reasons, and when it was hedged."""
    entries, exits, hedged = list[tuple[int, Decision]](), list[tuple[int, str]](), list[int]()
    for each in decisions:
        if is_entry(each):
            entries.append((each.ts_ns, each))
        if each.kind == DecisionKind.EXIT and each.taken and each.client_order_ids:
            exits.append((each.ts_ns, each.reasons[0]))
        if is_hedge(each):
            hedged.append(each.ts_ns)
    return entries, exits, hedged


def is_hedge(decision: Decision) -> bool:
    """Return whether a decision is a hedge, as the summary counts them: sent, and no second order of one."""
    return decision.taken and decision.kind == DecisionKind.HEDGE and bool(decision.client_order_ids)


def is_entry(decision: Decision) -> bool:
    """Return whether a decision opened a structure: the last one before a trade is its own."""
    return decision.taken and decision.kind == DecisionKind.ENTRY and "implied_vol" in decision.facts


def _promised(trade: _OpenTrade, entries: Sequence[tuple[int, Decision]]) -> dict[str, Any]:
    """Return what the entry's gate saw, and its edge for all that was opened."""
    at = bisect_right(entries, trade.opened_ns, key=itemgetter(0))
    facts = entries[at - 1][1].facts if at else {}
    size = float(max(abs(leg.most) for leg in trade.legs.values()))
    found: dict[str, Any] = {name: facts.get(name) for name in ("forecast_vol", "implied_level")}
    edges = ("edge_usd", "edge_stderr_usd")
    return found | {name: size * float(facts[name]) if name in facts else None for name in edges}


def _earned(
    trades: Sequence[_OpenTrade], marks: Iterable[Mark | BookMark]
) -> list[tuple[Decimal, dict[str, Decimal]]]:
    """Return P&L and parts of each trade, up to the next one's opening: its instant is its own cost."""
    pnl, parts = [ZERO for _ in trades], [dict[str, Decimal]() for _ in trades]
    at = 0
    for mark in marks:
        while at + 1 < len(trades) and trades[at + 1].opened_ns <= mark.ts_ns:
            at += 1
        pnl[at] += mark.nav_change
        for name, amount in mark.parts.items():
            parts[at][name] = parts[at].get(name, ZERO) + amount
    return list(zip(pnl, parts, strict=True))
