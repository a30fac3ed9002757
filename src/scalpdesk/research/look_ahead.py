"""Look-ahead test: change the future of a market after a cut, and compare what was decided before it.

A decision may depend on nothing that is known later. The backtest runs once on the market as it is, then for
each cut on markets that are equal up to it and different after it: prices rise or fall and move otherwise,
sizes and volumes change, rows and later sessions are gone, events of later times have other figures. An
output up to the cut that differs has looked ahead.

A strategy that reads files or the network by itself may know the future from there: no change of the market
shows that.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from itertools import zip_longest
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from scalpdesk.assembly import gamma_events
from scalpdesk.backtesting.simulate import (
    Assembled,
    BacktestConfig,
    PreparedMarket,
    assemble_backtest,
    build_backtest,
)
from scalpdesk.config.settings import RunSettings
from scalpdesk.core.events import Event, ForecastEvent, GammaExposureEvent, ImpliedVolEvent, SessionBarsEvent
from scalpdesk.core.intents import Decision, Mark, Output, is_command, orders_of
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import Session, to_new_york
from scalpdesk.marketdata.tape import (
    BarColumns,
    LazyBars,
    LazyQuotes,
    MarketTape,
    Morning,
    QuoteColumns,
    RateCurve,
)
from scalpdesk.report.statistics import Floats
from scalpdesk.research.walk_forward import window

_USUAL_CUTS = 8
_STEP_SECONDS = 60.0
"""Market time after a cut at which a run is ended at the latest."""
_AMPLIFIED = 3.0
"""Power of every later move: a fall of 1 % becomes one of 3 %, or the inverse rise."""
_LARGEST_MOVE = 20.0
_SHIFT = 1.1
"""Factor of every later price beside its moves."""


class FutureChange(StrEnum):
    """Part of the future that is changed after a cut."""

    PRICES = "prices"
    SIZES = "sizes and volumes"
    ROWS = "rows and later sessions"
    EVENTS = "events"
    LISTING = "contracts that only later sessions quote"
    """Not changed by default: a tape lists the contracts of all of its sessions from the first on."""


USUAL_CHANGES = frozenset(FutureChange) - {FutureChange.LISTING}


class Contradiction(msgspec.Struct, frozen=True, kw_only=True):
    """The first output before a cut that another future has changed."""

    ts_ns: int
    """When it was given, UTC nanoseconds."""
    time: str
    """The same in New York."""
    cut: str
    """New York time after which the market was changed."""
    change: str
    """Part of the future whose change alone is enough; several together where no part is."""
    before: str
    """The output on the market as it is."""
    after: str
    """The output in its place with the other future."""


class LookAheadReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a look-ahead test, in JSON types."""

    strategy: str
    data: str
    session: str
    decisions: int
    """Decisions and orders of the run on the market as it is."""
    cuts: tuple[str, ...]
    """New York times, in order; the test ends at the first that finds something."""
    runs: int
    """Backtests with another future."""
    found: Contradiction | None

    @property
    def passed(self) -> bool:
        """Whether no output changed."""
        return self.found is None


Progress = Callable[[int, int, str], None]
Rows = TypeVar("Rows", QuoteColumns, BarColumns)


@dataclass(frozen=True, slots=True)
class OtherFuture:
    """A future that differs from the market's after an instant.

    ``cut_ns``: What is known up to it stays, UTC nanoseconds.
    ``rising``: Prices are shifted up and later moves amplified; otherwise down and inverted.
    """

    cut_ns: int
    changes: Collection[FutureChange] = USUAL_CHANGES
    rising: bool = True

    def of(self, tape: MarketTape) -> MarketTape:
        """Return the tape with this future."""
        cut_session = next(each for each in reversed(tape.sessions) if each.open_ns <= self.cut_ns)
        quotes: QuoteColumns | LazyQuotes = tape.quotes
        if isinstance(quotes, LazyQuotes):
            whole = quotes
            quotes = LazyQuotes(
                tape.sessions,
                lambda session: self._quotes(whole.between(session.open_ns, session.close_ns)),
            )
        else:
            quotes = self._quotes(quotes)
        bars = tape.bars
        if isinstance(bars, LazyBars):
            load = bars.load
            bars = replace(bars, load=lambda session: self._bars(load(session)))
        elif bars is not None:
            bars = self._bars(bars)
        tape = replace(tape, quotes=quotes, bars=bars, loaded=None, load_again=None)
        if FutureChange.ROWS in self.changes or FutureChange.LISTING in self.changes:
            tape = window(tape, tape.sessions[0].day, cut_session.day)
        if FutureChange.LISTING in self.changes:
            tape = _without_later_contracts(tape)
        if FutureChange.EVENTS in self.changes:
            tape = self._with_other_facts(tape, cut_session)
        return tape

    def event(self, event: Event) -> Event:
        """Return an event that is not on the tape, with other figures where it comes after the cut."""
        if event.ts_recv_ns <= self.cut_ns or FutureChange.EVENTS not in self.changes:
            return event
        factor = self._factor
        if isinstance(event, ForecastEvent):
            vols = {name: getattr(event, name) * factor for name in ("vol", "low", "high")}
            return msgspec.structs.replace(event, **vols)
        if isinstance(event, GammaExposureEvent):
            return msgspec.structs.replace(
                event, exposure_usd=-factor * event.exposure_usd, near_usd=-factor * event.near_usd
            )
        if isinstance(event, ImpliedVolEvent):
            return msgspec.structs.replace(event, vol=event.vol * factor)
        if isinstance(event, SessionBarsEvent):
            columns = {
                name: tuple(value * factor for value in getattr(event, name))
                for name in ("open", "high", "low", "close", "volume")
            }
            return msgspec.structs.replace(event, **columns)
        return event

    @property
    def _factor(self) -> float:
        return _SHIFT if self.rising else 1.0 / _SHIFT

    def _quotes(self, rows: QuoteColumns) -> QuoteColumns:
        if FutureChange.PRICES in self.changes:
            factors = self._factors(rows, 0.5 * (rows.bid + rows.ask))
            rows = replace(rows, bid=rows.bid * factors, ask=rows.ask * factors)
        if FutureChange.SIZES in self.changes:
            later = rows.ts_ns > self.cut_ns
            sizes = (
                np.where(later & (each > 0), 3.0 * each + 1.0, each)
                for each in (rows.bid_size, rows.ask_size)
            )
            rows = replace(rows, **dict(zip(("bid_size", "ask_size"), sizes, strict=True)))
        return self._thinned(rows)

    def _bars(self, rows: BarColumns) -> BarColumns:
        if FutureChange.PRICES in self.changes:
            factors = self._factors(rows, rows.close)
            names = ("open", "high", "low", "close")
            rows = replace(rows, **{name: getattr(rows, name) * factors for name in names})
        if FutureChange.SIZES in self.changes:
            later = rows.ts_ns > self.cut_ns
            rows = replace(rows, volume=np.where(later, 3.0 * rows.volume + 1.0, rows.volume))
        return self._thinned(rows)

    def _factors(self, rows: QuoteColumns | BarColumns, prices: Floats) -> Floats:
        """Return the factor of each row's prices: 1 up to the cut, then as the price has moved since."""
        later, known = rows.ts_ns > self.cut_ns, np.isfinite(prices) & (prices > 0.0)
        factors = np.ones(len(rows))
        if not later.any():
            return factors
        since = np.full(int(rows.instrument_id.max()) + 1, np.nan)
        after, before = np.flatnonzero(later & known)[::-1], np.flatnonzero(~later & known)
        # of equal indices the last value stays: the first price after the cut, then the last before it
        since[rows.instrument_id[after]] = prices[after]
        since[rows.instrument_id[before]] = prices[before]
        moves = np.where(known, prices, np.nan) / since[rows.instrument_id]
        # a price p becomes p * move ** (n - 1): of its own move the power n
        power = (_AMPLIFIED if self.rising else -_AMPLIFIED) - 1.0
        with np.errstate(invalid="ignore", over="ignore"):
            changed = np.clip(moves**power, 1.0 / _LARGEST_MOVE, _LARGEST_MOVE)
        factors[later] = np.where(np.isfinite(changed), changed, 1.0)[later] * self._factor
        return factors

    def _thinned(self, rows: Rows) -> Rows:
        """Return the rows with half of the later rows gone, but for the last."""
        if FutureChange.ROWS not in self.changes or not len(rows):
            return rows
        kept = np.random.default_rng(1).random(len(rows)) < 0.5
        kept |= rows.ts_ns <= self.cut_ns
        kept[-1] = True
        return rows.take(kept)

    def _with_other_facts(self, tape: MarketTape, cut_session: Session) -> MarketTape:
        """Return the tape with other rates, open interest, settlements, funding and actions after the cut."""
        later, day = {each for each in tape.sessions if each.open_ns > self.cut_ns}, cut_session.day
        published, factor = tape.morning, self._factor

        def morning(session: Session) -> Morning:
            assert published is not None
            known = published(session)
            if session not in later:
                return known
            curve = RateCurve(known.rate_curve.days, tuple(rate + 0.01 for rate in known.rate_curve.rates))
            held = {symbol: 2 * contracts + 1 for symbol, contracts in known.open_interest.items()}
            declared = tuple(replace(each, amount=2 * each.amount) for each in known.declared)
            return Morning(curve, held, declared)

        return replace(
            tape,
            morning=None if published is None else morning,
            settlement_prices={
                key: price * (factor if key[1] >= day else 1.0)
                for key, price in tape.settlement_prices.items()
            },
            funding=tuple(
                replace(each, rate=each.rate + Decimal("0.001")) if each.ts_ns > self.cut_ns else each
                for each in tape.funding
            ),
            actions=tuple(each for each in tape.actions if each.ex_date <= day),
        )


def _without_later_contracts(tape: MarketTape) -> MarketTape:
    """Return the tape without the contracts at the end of its list that none of its sessions quotes.

    Numbers of the others stay.
    """
    listed = max(tape.underlying_ids) + 1
    for session in tape.sessions:
        numbers = tape.quotes.between(session.open_ns, session.close_ns).instrument_id
        listed = max(listed, int(numbers.max()) + 1 if len(numbers) else 0)
    return replace(tape, instruments=Instruments(list(tape.instruments)[:listed]))


class _ChangedMarket(PreparedMarket):
    """A market with another future, the events beside its tape included."""

    def __init__(self, market: PreparedMarket, future: OtherFuture) -> None:
        super().__init__(future.of(market.tape))
        self._before, self._future = market, future

    def known(self, config: RunSettings, seed: int | None) -> tuple[Event, ...]:
        """Return the events of a run that are not on the tape, those after the cut with other figures.

        Dealer gamma is computed from the changed tape: an event of it before the cut must stay as it was.
        """
        events = self._before.known(config, seed)
        own = [event for event in events if not isinstance(event, GammaExposureEvent)]
        gamma = gamma_events(self.tape, config) if len(own) < len(events) else ()
        return tuple(self._future.event(event) for event in (*own, *gamma))


@dataclass(frozen=True, slots=True)
class _Emitted:
    """Outputs of an engine with the times of their events, in order, and its failure."""

    outputs: list[tuple[int, Output]]
    failure: tuple[int, str] | None = None
    """Time of the last event, UTC nanoseconds, and the error."""

    def upto(self, cut_ns: int) -> list[tuple[int, Output]]:
        return [each for each in self.outputs if each[0] <= cut_ns]


def _run(config: BacktestConfig, market: PreparedMarket, until_ns: int | None = None) -> _Emitted:
    """Run a backtest: to its end, or until shortly after an instant, where its failure is a result."""
    header, engine = build_backtest(
        config, market, run_id="", mode="backtest", started_ns=0, seed=config.seed
    )
    outputs = list[tuple[int, Output]]()

    def see(event: Event, given: tuple[Output, ...]) -> None:
        outputs.extend((event.ts_recv_ns, output) for output in given)

    run = assemble_backtest(
        config, market, header, engine, None, most_bytes=0, watchers=(see,), step_seconds=_STEP_SECONDS
    )
    failure = None
    try:
        if until_ns is None:
            run.runner.run()
        else:
            failure = _run_until(run, until_ns)
    finally:
        if run.folder is not None:
            run.folder.close()
    return _Emitted(outputs, failure)


def _run_until(run: Assembled, until_ns: int) -> tuple[int, str] | None:
    """Run until shortly after an instant; return when and how it failed, if it did."""
    try:
        next((now_ns for now_ns in run.runner.steps() if now_ns > until_ns), None)
    except Exception as error:  # noqa: BLE001 - a strategy that peeks may fail at the changed future
        return run.engine.desk.view.now_ns, f"{type(error).__name__}: {error}"
    return None


def find_look_ahead(
    config: BacktestConfig,
    tape: MarketTape,
    *,
    cuts: int | Sequence[int] = _USUAL_CUTS,
    changes: Collection[FutureChange] = USUAL_CHANGES,
    report: Progress = lambda _done, _total, _label: None,
) -> LookAheadReport:
    """Test whether a strategy's decisions depend on what is known only later.

    ``cuts``: Number of cuts, half at decisions and half evenly over the sessions; or their instants, UTC
    nanoseconds.
    ``changes``: Parts of the future that are changed.
    ``report``: Called as runs end.
    """
    market = PreparedMarket(tape)
    base = _run(config, market)
    decided = [ts_ns for ts_ns, output in base.outputs if isinstance(output, Decision) or is_command(output)]
    instants = _cuts(tape.sessions, decided, cuts) if isinstance(cuts, int) else sorted(cuts)
    runs, found = 0, None
    for cut_ns in instants:
        for rising in (True, False):
            runs += 1
            future = OtherFuture(cut_ns, changes, rising)
            found = _compared(config, market, base, future)
            report(runs, 2 * len(instants), "backtests")
            if found is not None:
                break
        if found is not None:
            break
    facts = market.facts()
    return LookAheadReport(
        strategy=config.strategy or "",
        data=str(facts["name"]),
        session=str(facts["session"]),
        decisions=len(decided),
        cuts=tuple(map(_clock, instants)),
        runs=runs,
        found=found,
    )


def _compared(
    config: BacktestConfig, market: PreparedMarket, base: _Emitted, future: OtherFuture
) -> Contradiction | None:
    """Return the first output up to the cut that this future changes, with the part that is enough."""

    def difference(other: OtherFuture) -> tuple[int, str, str] | None:
        emitted = _run(config, _ChangedMarket(market, other), other.cut_ns)
        return _first_difference(base, emitted, other.cut_ns, market.tape)

    found, change = difference(future), "several together"
    if found is None:
        return None
    for part in FutureChange:
        if part not in future.changes:
            continue
        if (narrowed := difference(replace(future, changes=frozenset({part})))) is not None:
            found, change = narrowed, part.value
            break
    ts_ns, before, after = found
    return Contradiction(
        ts_ns=ts_ns, time=_clock(ts_ns), cut=_clock(future.cut_ns), change=change, before=before, after=after
    )


def _first_difference(
    base: _Emitted, other: _Emitted, cut_ns: int, tape: MarketTape
) -> tuple[int, str, str] | None:
    """Return time and both versions of the first output that differs, each as a text."""
    encode = msgspec.msgpack.encode  # so that NaN equals NaN
    for before, after in zip_longest(base.upto(cut_ns), other.upto(cut_ns)):
        if before is not None and after is not None:
            if before[0] == after[0] and encode(before[1]) == encode(after[1]):
                continue
        elif after is None and other.failure is not None:
            assert before is not None
            return before[0], _text(before, tape), f"the strategy failed: {other.failure[1]}"
        ts_ns = min(each[0] for each in (before, after) if each is not None)
        return ts_ns, _text(before, tape), _text(after, tape)
    if other.failure is not None and other.failure[0] <= cut_ns:
        return other.failure[0], "no failure", f"the strategy failed: {other.failure[1]}"
    return None


def _text(emitted: tuple[int, Output] | None, tape: MarketTape) -> str:
    """Return an output in a line."""
    if emitted is None:
        return "nothing"
    ts_ns, output = emitted
    if isinstance(output, Decision):
        found = f"{output.kind.value} {'taken' if output.taken else 'not taken'}: {'; '.join(output.reasons)}"
    elif orders := orders_of(output):
        found = ", ".join(
            f"order: {each.side.value} {each.quantity} {tape.instruments[each.instrument_id].symbol}"
            f" {each.type_name}{'' if each.limit_price is None else f' {each.limit_price}'}"
            for each in orders
        )
    elif isinstance(output, Mark):
        found = f"mark: net asset value {output.nav}, net delta {output.net_delta_shares:.2f} shares"
    else:
        found = f"{type(output).__name__}: {msgspec.json.encode(output).decode()}"
    return f"{_clock(ts_ns)} {found}"


def _clock(ts_ns: int) -> str:
    return f"{to_new_york(ts_ns):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _cuts(sessions: Sequence[Session], decided: Sequence[int], number: int) -> list[int]:
    """Return instants: half at decisions, from the first to the last, the rest evenly over the sessions."""
    times = sorted(set(decided))
    at_decisions = _spread(times, min(number // 2, len(times)))
    rest, instants = number - len(at_decisions), list[int]()
    for place in range(rest):
        at = (place + 0.5) / rest * len(sessions)
        session = sessions[math.floor(at)]
        instants.append(session.open_ns + int((at % 1.0) * (session.close_ns - session.open_ns)))
    return sorted({*at_decisions, *instants})


def _spread(times: Sequence[int], number: int) -> list[int]:
    """Return so many of the times, the first and the last among them where there are several."""
    places: npt.NDArray[Any] = np.unique(np.linspace(0, len(times) - 1, number).round().astype(int))
    return [times[place] for place in places.tolist()] if number else []
