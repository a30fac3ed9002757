"""Quotes of held options or their underlying disturbed for a while: whether a strategy trades as without.

Each draw strikes one or both sides of some held options, or of the underlying, for a second to an hour, in
one of ten ways. The trades in options are to be those of the undisturbed day, unless the desk stops and
reports it. No option is sold for less than half of its undisturbed mid, or bought for more than twice that.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from scalpdesk.backtesting.runner import Journal
from scalpdesk.backtesting.simulate import (
    BacktestConfig,
    PreparedMarket,
    assemble_backtest,
    build_backtest,
    few_collections,
    simulate,
)
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import Event, OrderFilled
from scalpdesk.core.intents import Decision, Output, Side, orders_of
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.journal.codec import TapeRows
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.report.summary import remedy

_Floats = NDArray[np.float64]
Sides = tuple[_Floats, _Floats]
_LONGEST_SECONDS = 3_600.0
_STRIKES_KEPT = 6
"""Strikes that stay quoted below and above the traded: enough for a smile."""
_LATE_SECONDS = 120.0
"""A trade may come so much later, and after a disturbance that lay upon it: it waits for a quote."""
_WORST_FRACTION = 0.5
_LEAST_TICKS = 2
"""An option that trades at so little is worth nothing: whether a tick is still bid for it is chance."""
_STOPS = DecisionKind.MODE, DecisionKind.EXIT


def _no_quote(bid: _Floats, ask: _Floats) -> Sides:
    return np.full_like(bid, np.nan), np.full_like(ask, np.nan)


def _ten_times_wide(bid: _Floats, ask: _Floats) -> Sides:
    mid, width = 0.5 * (bid + ask), ask - bid
    return np.maximum(mid - 5.0 * width, 0.01), mid + 5.0 * width


KINDS: dict[str, Callable[[_Floats, _Floats], Sides]] = {
    "absent": _no_quote,
    "no bid": lambda bid, ask: (np.full_like(bid, np.nan), ask),
    "no ask": lambda bid, ask: (bid, np.full_like(ask, np.nan)),
    "zero bid": lambda bid, ask: (np.zeros_like(bid), ask),
    "stub": lambda bid, ask: (np.minimum(0.05, bid), np.maximum(10.0, np.ceil(2.0 * ask))),
    "half the bid": lambda bid, ask: (0.5 * bid, ask),
    "crossed": lambda _, ask: (1.01 * ask, ask),
    "ten times as wide": _ten_times_wide,
    "half of both": lambda bid, ask: (0.5 * bid, 0.5 * ask),
    "double of both": lambda bid, ask: (2.0 * bid, 2.0 * ask),
}
"""Bids and asks after a disturbance, currency per unit; prices are rounded to ticks afterwards."""


class Disturbance(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the quotes of some options, or of their underlying, for a while."""

    kind: str
    symbols: tuple[str, ...]
    start_ns: int
    seconds: float


class TradedOtherwise(msgspec.Struct, frozen=True, kw_only=True):
    """A draw on which the strategy traded otherwise, or at a price that is too bad."""

    draw: int
    kind: str
    symbols: tuple[str, ...]
    time: str
    """Start, New York."""
    seconds: float
    mode: str
    """Mode of the desk at the end."""
    is_stopped: bool
    """Whether the desk had stopped and had reported it: no breach of the rule."""
    worst_fraction: float
    """Worst sale or purchase as a fraction of the undisturbed mid: 1 is the mid."""
    nav_change: float
    """Against the undisturbed day, in the account's currency."""
    why: str
    """First reason that the desk named for an exit or a stop."""


class StressReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a stress, in JSON types."""

    strategy: str
    data: str
    session: str
    trades: int
    """Executions in options on the undisturbed day."""
    draws: dict[str, int]
    """By kind of disturbance."""
    differences: tuple[TradedOtherwise, ...]
    worst_fraction: float
    """Worst execution of all draws as a fraction of the undisturbed mid."""
    no_trade: str | None = None
    """Why the undisturbed day traded no option, and what to set; None where it did."""

    @property
    def passed(self) -> bool:
        """Whether the trades were those of the undisturbed day wherever the desk had not stopped."""
        return all(each.is_stopped for each in self.differences) and self.worst_fraction >= _WORST_FRACTION


class _Seen(Journal):
    """Takes the place of a run's journal, and keeps what was traded and why."""

    def __init__(self) -> None:
        self.events: list[OrderFilled] = []
        self.outputs: list[Output] = []

    def add_rows(self, rows: TapeRows) -> None:
        """Keep nothing of the tape."""

    def flush(self) -> None:
        """Nothing is written."""

    def add_event(self, event: Event) -> None:
        """Keep an execution."""
        if isinstance(event, OrderFilled):
            self.events.append(event)

    def add_outputs(self, outputs: tuple[Output, ...]) -> None:
        """Keep decisions and orders."""
        self.outputs.extend(outputs)


class _OptionFill(msgspec.Struct, frozen=True):
    instrument_id: InstrumentId
    side: Side
    quantity: float
    price: float
    ts_ns: int

    def is_as(self, other: "_OptionFill") -> bool:
        """Return whether as much of the same was traded the same way."""
        own = self.instrument_id, self.side, self.quantity
        return own == (other.instrument_id, other.side, other.quantity)


class _Run(msgspec.Struct, frozen=True):
    trades: tuple[_OptionFill, ...]
    """In options."""
    nav: float
    mode: Mode
    why: str

    def is_as(self, other: "_Run", tape: MarketTape, struck: Disturbance) -> bool:
        """Return whether the options were traded as in another run, at times near to those of it.

        A trade that the disturbance lay upon until the close cannot be made, and need not be. Where an option
        was to be opened under it the desk rightly opens another, or nothing: what follows is not compared.
        """
        late_ns = int(_LATE_SECONDS * NANOS_PER_SECOND)
        end_ns = struck.start_ns + int(struck.seconds * NANOS_PER_SECOND)
        close_ns = next(each.close_ns for each in tape.sessions if each.close_ns > struck.start_ns)
        until_ns = other.opens_under(tape, struck) - late_ns
        left = list(self.trades)
        for theirs in other.trades:
            if theirs.ts_ns >= until_ns:
                break
            is_under = struck.start_ns <= theirs.ts_ns <= end_ns
            last_ns = end_ns + late_ns if is_under else theirs.ts_ns + late_ns
            first_ns = theirs.ts_ns - late_ns
            made = (each for each in left if each.is_as(theirs) and first_ns <= each.ts_ns <= last_ns)
            own = next(made, None)
            if own is not None:
                left.remove(own)
            elif not (is_under and end_ns + late_ns >= close_ns):
                return False
        return all(each.ts_ns >= until_ns for each in left)

    def opens_under(self, tape: MarketTape, struck: Disturbance) -> float:
        """Return when a struck option is opened under the disturbance first, UTC nanoseconds; else never.

        Any option is struck where its underlying is. It lies upon an option until the next quote after it.
        """
        numbers = {tape.instruments.id_of(symbol) for symbol in struck.symbols}
        if tape.underlying in struck.symbols:
            numbers = {each.instrument_id for each in self.trades}
        end_ns = struck.start_ns + int((struck.seconds + _LATE_SECONDS) * NANOS_PER_SECOND)
        held: Counter[InstrumentId] = Counter()
        for each in self.trades:
            is_under = each.instrument_id in numbers and struck.start_ns <= each.ts_ns <= end_ns
            if is_under and not held[each.instrument_id]:
                return each.ts_ns
            held[each.instrument_id] += round(each.side.sign * each.quantity)
        return math.inf


def stress_quotes(
    config: BacktestConfig,
    tape: MarketTape,
    *,
    draws: int,
    seed: int = 1,
    report: Callable[[int, int, str], None] | None = None,
) -> StressReport:
    """Run a day once as it is, then with disturbed quotes of the options that were traded.

    ``draws``, ``seed``: Number of disturbances and seed of their draws.
    ``report``: Called with how many of how many draws are done, and the kind of the last.
    """
    with few_collections():
        traded = {trade.instrument_id for trade in _run(config, tape).trades}
        if not traded:
            nothing = _report(config, tape, _Run((), 0.0, Mode.ACTIVE, ""), Counter(), (), 1.0)
            return msgspec.structs.replace(nothing, no_trade=_why_no_trade(config, tape))
        small = _near(tape, traded)
        plain = _run(config, small)
        dice, counts, found, worst = np.random.default_rng(seed), Counter[str](), list[TradedOtherwise](), 1.0
        for draw, struck in enumerate(_drawn(dice, small, plain, draws)):
            counts[struck.kind] += 1
            run = _run(config, _disturbed(small, struck))
            fraction = min((_fraction(small, trade) for trade in run.trades), default=1.0)
            is_stopped = run.mode is not Mode.ACTIVE
            worst = min(worst, fraction)
            if not run.is_as(plain, small, struck) or fraction < _WORST_FRACTION:
                found.append(
                    TradedOtherwise(
                        draw=draw,
                        kind=struck.kind,
                        symbols=struck.symbols,
                        time=f"{to_new_york(struck.start_ns):%Y-%m-%d %H:%M:%S}",
                        seconds=round(struck.seconds, 1),
                        mode=run.mode.value,
                        is_stopped=is_stopped and fraction >= _WORST_FRACTION,
                        worst_fraction=round(fraction, 3),
                        nav_change=round(run.nav - plain.nav, 8),
                        why=run.why,
                    )
                )
            if report is not None:
                report(draw + 1, draws, struck.kind)
    return _report(config, small, plain, counts, tuple(found), worst)


def _report(
    config: BacktestConfig,
    tape: MarketTape,
    plain: _Run,
    counts: Counter[str],
    found: tuple[TradedOtherwise, ...],
    worst: float,
) -> StressReport:
    first, last = tape.sessions[0].day, tape.sessions[-1].day
    return StressReport(
        strategy=config.strategy or "",
        data=tape.name,
        session=f"{first}" if first == last else f"{first} to {last}",
        trades=len(plain.trades),
        draws=dict(counts),
        differences=found,
        worst_fraction=round(worst, 3),
    )


def _why_no_trade(config: BacktestConfig, tape: MarketTape) -> str:
    why = str(simulate(config, PreparedMarket(tape)).summary()["verdict"])
    fix = remedy(why) or "choose sessions or settings that trade options"
    return f"{why}; {fix}"


def _run(config: BacktestConfig, tape: MarketTape) -> _Run:
    header, engine = build_backtest(config, tape, run_id="", mode="backtest", started_ns=0, seed=config.seed)
    seen = _Seen()
    assemble_backtest(config, PreparedMarket(tape), header, engine, seen).runner.run()
    sent = {order.client_order_id: order for output in seen.outputs for order in orders_of(output)}
    book, trades = engine.desk.instruments, list[_OptionFill]()
    for fill in seen.events:
        order = sent.get(fill.client_order_id)
        if order is None or not book[order.instrument_id].is_option:
            continue
        if float(fill.price) > _LEAST_TICKS * float(book[order.instrument_id].tick_rule.below):
            trades.append(
                _OptionFill(
                    order.instrument_id,
                    order.side,
                    float(fill.quantity),
                    float(fill.price),
                    fill.ts_event_ns,
                )
            )
    reasons = (each.reasons[0] for each in seen.outputs if isinstance(each, Decision) and each.kind in _STOPS)
    return _Run(tuple(trades), float(engine.desk.view.nav), engine.desk.gate.mode, next(reasons, ""))


def _near(tape: MarketTape, traded: set[InstrumentId]) -> MarketTape:
    """Return the tape with the quotes of what is no option, of the traded options and of their neighbours."""
    chains: dict[tuple[str, str, object], list[float]] = {}
    for each in tape.instruments:
        if each.is_option:
            chains.setdefault((each.root, each.underlying, each.expiry), []).append(float(each.strike))
    ranges: dict[tuple[str, str, object], tuple[float, float]] = {}
    for number in traded:
        option = tape.instruments[number]
        assert option.is_option
        key = option.root, option.underlying, option.expiry
        strikes, strike = sorted(set(chains[key])), float(option.strike)
        at = strikes.index(strike)
        low, high = ranges.get(key, (strike, strike))
        low = min(low, strikes[max(at - _STRIKES_KEPT, 0)])
        ranges[key] = low, max(high, strikes[min(at + _STRIKES_KEPT, len(strikes) - 1)])

    def is_kept(each: OptionContract) -> bool:
        low, high = ranges.get((each.root, each.underlying, each.expiry), (math.inf, -math.inf))
        return low <= float(each.strike) <= high

    kept = [number for number, each in enumerate(tape.instruments) if not each.is_option or is_kept(each)]
    whole = tape.quotes.whole()
    quotes = whole.take(np.isin(whole.instrument_id, kept))
    return replace(tape, quotes=quotes, loaded=None, load_again=None)


def _drawn(dice: np.random.Generator, tape: MarketTape, plain: _Run, draws: int) -> Iterator[Disturbance]:
    """Draw disturbances of options or their underlying while they are held, or after that until the close."""
    held, underlying = sorted({trade.instrument_id for trade in plain.trades}), tape.underlying_ids[0]
    bought_ns = {number: min(t.ts_ns for t in plain.trades if t.instrument_id == number) for number in held}
    for _ in range(draws):
        struck = int(dice.integers(len(held) + 2))
        legs: Sequence[InstrumentId] = [*held, underlying][struck : struck + 1] or held
        first_ns = max(bought_ns.get(number, min(bought_ns.values())) for number in legs) + NANOS_PER_SECOND
        last_ns = next(each.close_ns for each in tape.sessions if each.close_ns > first_ns)
        yield Disturbance(
            kind=list(KINDS)[int(dice.integers(len(KINDS)))],
            symbols=tuple(tape.instruments[number].symbol for number in legs),
            start_ns=int(dice.integers(first_ns, last_ns)),
            seconds=_LONGEST_SECONDS ** float(dice.random()),
        )


def _disturbed(tape: MarketTape, struck: Disturbance) -> MarketTape:
    quotes = tape.quotes.whole()
    numbers = [tape.instruments.id_of(symbol) for symbol in struck.symbols]
    end_ns = struck.start_ns + int(struck.seconds * NANOS_PER_SECOND)
    rows = np.isin(quotes.instrument_id, numbers)
    rows &= (quotes.ts_ns >= struck.start_ns) & (quotes.ts_ns < end_ns)
    if struck.kind == "absent":
        return replace(tape, quotes=quotes.take(~rows))
    bid, ask = quotes.bid.copy(), quotes.ask.copy()
    bid[rows], ask[rows] = KINDS[struck.kind](bid[rows], ask[rows])
    tick = float(tape.instruments[numbers[0]].tick_rule.below)
    for side in (bid, ask):
        known = rows & np.isfinite(side)
        side[known] = np.round(side[known] / tick) * tick
    return replace(tape, quotes=replace(quotes, bid=bid, ask=ask))


def _fraction(tape: MarketTape, trade: _OptionFill) -> float:
    """Return a price as a fraction of the undisturbed mid: below 1 where it is worse."""
    stamps, mids = tape.quotes.whole().mids(trade.instrument_id)
    at = int(np.searchsorted(stamps, trade.ts_ns, side="right")) - 1
    if at < 0:
        return 1.0
    mid, tick = float(mids[at]), float(tape.instruments[trade.instrument_id].tick_rule.below)
    if abs(trade.price - mid) <= _LEAST_TICKS * tick or not mid > 0.0:
        return 1.0
    worse = trade.price / mid if trade.side is Side.SELL else mid / trade.price
    return min(worse, 1.0)
