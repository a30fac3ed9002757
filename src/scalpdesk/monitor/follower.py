"""A run followed from its journal: an engine rebuilt from the header and fed what the journal's tail brings.

The replica sees exactly the events of the desk, so that positions, Greeks and P&L are the desk's own. What
was decided stands in the journal, which leads it. Nothing here writes, and nothing reaches the desk.
"""

import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from scalpdesk.assembly import engine_from_header
from scalpdesk.backtesting.runs import rows_reader
from scalpdesk.core.enums import DecisionKind, Mode, SessionPhase
from scalpdesk.core.errors import ScalpdeskError
from scalpdesk.core.events import (
    Event,
    QuoteEvent,
    SessionEvent,
)
from scalpdesk.core.intents import Decision, Output
from scalpdesk.core.mode import ModeEntry
from scalpdesk.core.units import CENT, NANOS_PER_SECOND, ZERO, InstrumentId, to_cents
from scalpdesk.datasets.daily_history import vix_before
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.exposure import account_greeks
from scalpdesk.engine.replica import Replica
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.hedging.base import words_of_delta
from scalpdesk.hedging.sizing import least_fraction_of, unhedged_from
from scalpdesk.instruments.contract import Instrument
from scalpdesk.journal.codec import JournalHeader, TapeRows
from scalpdesk.journal.reader import JournalTail, RowsReader, last_of_rows
from scalpdesk.marketdata.chain_surface import STANDING_AFTER_SECONDS, ChainSurface
from scalpdesk.portfolio.delta_engine import OptionState
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.portfolio.greeks import PositionGreeks
from scalpdesk.portfolio.move_meter import MoveMeter
from scalpdesk.portfolio.strike_vols import ExpirySmile
from scalpdesk.report.fold import RunFold
from scalpdesk.report.order_results import OrderResults
from scalpdesk.report.premium import UNKNOWN, Premium, PremiumFold, Ratios, held_ratios
from scalpdesk.report.run_report import RunReport, report_of
from scalpdesk.report.session_tables import SessionPnl
from scalpdesk.report.summary import run_summary
from scalpdesk.strategies.contract import TRADE_GAIN

COLUMNS = (
    *("t", "spot", "pnl", "equity", "net_delta", "band", "realised", "implied", "gamma", "theta"),
    *("premium", "premium_vwap", "premium_twap"),
)
"""Columns of the series; ``t`` in UTC seconds, volatilities in per cent a year, amounts in currency, premiums
of one set of the held options as quoted.
"""
SAMPLE_SECONDS = 15
"""Market time between two samples."""
_SPOTS_KEPT_NS = round(STANDING_AFTER_SECONDS * NANOS_PER_SECOND)
_GAP_SECONDS = 4 * SAMPLE_SECONDS
"""Time without a sample, or without a quote of the underlying, through which no line is drawn."""
MOST_SAMPLES = 6_000
"""Samples kept: beyond it every second one of the older half goes."""
PACE_SECONDS = 10.0
"""Wall time over which the speed of the market is measured."""
_MOST_DECISIONS = 20_000


class _HeldLeg(NamedTuple):
    """An option of the book at one instant."""

    number: InstrumentId
    units: float
    to_clock: float
    """Factor from its volatility by the calendar to that on the variance clock."""
    valuation: OptionState

    def weighted(self, vol: float) -> tuple[float, float]:
        """Return a volatility by the calendar times its weight on the variance clock, and the weight."""
        return self.units * vol * self.to_clock, self.units


def _mean_of(weighted: Sequence[tuple[float, float]]) -> float:
    weight = sum(units for _, units in weighted)
    return sum(amount for amount, _ in weighted) / weight if weight else math.nan


class Series:
    """Columns of equal length that grow; thinned as they become long.

    Attributes
    ----------
    generation
        Counts the thinnings: positions of another generation mean nothing any more.
    """

    def __init__(self) -> None:
        self.columns: dict[str, list[float | None]] = {name: [] for name in COLUMNS}
        self.generation = 0

    def __len__(self) -> int:
        return len(self.columns["t"])

    def add(self, row: dict[str, float]) -> None:
        """Add a row; a figure that is not finite becomes None. After a gap an empty row comes first."""
        times = self.columns["t"]
        if times and times[-1] is not None and row["t"] - times[-1] > _GAP_SECONDS:
            empty = times[-1] + SAMPLE_SECONDS
            for name, column in self.columns.items():
                column.append(empty if name == "t" else None)
        for name, column in self.columns.items():
            value = row[name]
            column.append(value if math.isfinite(value) else None)
        if len(self) > MOST_SAMPLES:
            half = MOST_SAMPLES // 2
            for name, column in self.columns.items():
                self.columns[name] = column[:half:2] + column[half:]
            self.generation += 1

    def since(self, position: int) -> dict[str, list[float | None]]:
        """Return the rows from a position on."""
        return {name: column[position:] for name, column in self.columns.items()}


def market_speed(steps: Sequence[tuple[float, int]]) -> float:
    """Return market seconds a second of the last ``PACE_SECONDS``; a step is wall seconds and market ns."""
    if len(steps) < 2:
        return math.nan
    *earlier, (ended, to_ns) = steps
    # where events are rare, since the one before, however long ago
    began, from_ns = next((each for each in earlier if ended - each[0] <= PACE_SECONDS), earlier[-1])
    return (to_ns - from_ns) / NANOS_PER_SECOND / (ended - began)


class RunFollower:
    """Follows one run; keeps its newest ``most_decisions``, all for None.

    Attributes
    ----------
    problem
        Why the run cannot be followed further; empty while it can.
    lag_seconds
        Wall time since the journal grew last.
    until_ns
        Instant, UTC nanoseconds, after which no event is taken in; by default the end of the journal.
    """

    def __init__(self, run_dir: Path, most_decisions: int | None = _MOST_DECISIONS) -> None:
        self.run_dir = run_dir
        self.tail = JournalTail(run_dir)
        self._read_rows: RowsReader | None = None
        self.lacks_quotes = ""
        """Why the market of a backtest is shown by those quotes alone that the journal holds."""
        self.until_ns = sys.maxsize
        self._is_stopped = False
        self.problem = ""
        self.engine: TradingEngine | None = None
        self.last_surface: ChainSurface | None = None
        """The last fit of the whole chain: it starts the next."""
        self.series = Series()
        self.decisions: deque[tuple[int, Decision]] = deque(maxlen=most_decisions)
        self._stated_trips: list[tuple[str, str, float]] = []
        """Strategy, signal and result of each trade that a strategy of overlapping trades has ended."""
        self._fold: RunFold | None = None
        self.events = 0
        self.first_implied = self.last_implied = math.nan
        """Implied volatility of the book at the session's first and last sample with an option."""
        self._first_held: frozenset[int] = frozenset()
        self.holds_as_first = True
        """Whether the session's samples were all of the options of its first: else the two do not compare."""
        self.mode = Mode.ACTIVE
        self.mode_since_ns = 0
        self.mode_reason = ""
        self._standing: ModeEntry | None = None
        self.session_totals: dict[str, Decimal] = dict.fromkeys(PARTS, ZERO)
        self.session_hedge_costs = ZERO
        self.session_nav = ZERO
        self.session_is_open = False
        self.session = ""
        """Date of the session that opened last; of a coin its day of account."""
        self.session_opened_ns = 0
        self.sessions_closed: list[str] = []
        """Dates of the sessions that have closed."""
        self._guessed: list[tuple[float, list[_HeldLeg], bool]] = []
        """Samples whose volatility stands on a forward that quotes have not shown: time in UTC seconds, legs,
        and whether it is the first with an option.
        """
        self._meter_at_open = MoveMeter()
        self.day_low = self.day_high = math.nan
        self.opened: tuple[int, float | None] | None = None
        """When options came to be held, UTC nanoseconds, and the spot then; None while none is."""
        self.has_scalps = False
        """Whether a decision was made on an options scalp."""
        self.last_quote_ns = 0
        self.spots: deque[tuple[int, float]] = deque()
        """Instants and mids of the underlying, as far back as a quote of an option counts at its own."""
        self._next_sample_ns = 0
        self._band = math.nan
        self._unhedged_from = math.nan
        self._hedging = ""
        """Strategy whose band it is, where several share the desk."""
        self._grown = time.monotonic()
        self._pace: deque[tuple[float, int]] = deque(maxlen=40)

    @property
    def header(self) -> JournalHeader | None:
        """Description of the run; None until it is on disk."""
        return self.tail.header

    @property
    def is_reading(self) -> bool:
        """Whether more of the journal waits: what is known is the past."""
        return not (self.tail.at_end or self.problem or self._is_stopped)

    @property
    def unread(self) -> str:
        """Why there is no engine to show: the run cannot be read, or nothing of it is on disk yet."""
        if not self.problem:
            return "Nothing of this run was read yet."
        return f"This run cannot be read, nor what it holds: {self.problem.partition(chr(10))[0]}"

    @property
    def desk(self) -> Desk:
        """The replica's desk; only once there is an engine."""
        assert self.engine is not None
        return self.engine.desk

    @property
    def fold(self) -> RunFold:
        """What the run has done, as its report has it; only once there is an engine."""
        assert self._fold is not None
        return self._fold

    @property
    def decision_count(self) -> int:
        """How many decisions were made."""
        return 0 if self._fold is None else len(self._fold.decisions)

    @property
    def fills(self) -> dict[tuple[str, str], tuple[int, Decimal, Decimal, Decimal]]:
        """Each execution that stands, by ids of order and execution: instant, quantity, price and fee."""
        return {
            (fill.client_order_id, fill.execution_id): (fill.ts_recv_ns, fill.quantity, fill.price, fill.fee)
            for fill in (() if self._fold is None else self._fold.fills)
            if not fill.busted
        }

    def report(self) -> RunReport:
        """Return the run's report: the sealed figures, or those of what was read so far."""
        assert self.header is not None
        assert self.engine is not None
        figures = self.tail.summary or run_summary(self.header, self.engine, self.fold, self.events, 0.0)
        return report_of(self.header, self.fold, figures, vix_before)

    def session_results(self) -> list[SessionPnl]:
        """Return P&L and parts of each session that has closed, in the account's unit, as the report does."""
        decimals = -int(self.desk.attribution.unit.as_tuple().exponent)
        days = map(date.fromisoformat, self.sessions_closed)
        found = self.fold.sums.sessions(days, lambda _: None, decimals)
        return [each for each in found if each.session in self.sessions_closed]

    def money(self, amount: Decimal | float) -> Decimal:
        """Return an amount rounded to the account's smallest unit: a cent, or that of its coin."""
        return to_cents(Decimal(amount), self.desk.attribution.unit)

    @property
    def price_places(self) -> int:
        """Decimals of an option's price: two, and four of a desk in coin."""
        return 2 if self.desk.attribution.unit == CENT else 4

    @property
    def delta_places(self) -> int:
        """Decimals of a delta: two of shares, four of coins, whatever currency the desk counts in."""
        return words_of_delta(self.desk.instruments[self.desk.view.underlying].symbol)[1]

    @property
    def money_places(self) -> int:
        """Decimals of an amount in the account's smallest unit: two, and eight of a coin."""
        return -int(self.desk.attribution.unit.as_tuple().exponent)

    def amount(self, amount: Decimal | float | None) -> str | None:
        """Return an amount in the account's smallest unit as exact plain text."""
        return None if amount is None or not math.isfinite(amount) else f"{self.money(amount):f}"

    def places_of(self, instrument: Instrument) -> int:
        """Return the decimals of a price; a future that settles in coin is priced in dollars."""
        return self.price_places if instrument.is_option else 2

    @property
    def now_ns(self) -> int:
        """Time of the last event, UTC nanoseconds."""
        return 0 if self.engine is None else self.engine.now_ns

    @property
    def lag_seconds(self) -> float:
        """Wall time since the journal grew last."""
        return time.monotonic() - self._grown

    @property
    def age_seconds(self) -> float:
        """Age of the underlying's last quote: market time up to the last event, wall time since."""
        if not self.last_quote_ns:
            return math.nan
        return (self.now_ns - self.last_quote_ns) / NANOS_PER_SECOND + self.lag_seconds

    @property
    def speed(self) -> float:
        """Market seconds a second over the last few seconds; NaN while not known."""
        return market_speed(self._pace)

    @property
    def band(self) -> float | None:
        """Half width of the hedge band at the last hedge decision, shares; None before the first."""
        return self._band if math.isfinite(self._band) else None

    @property
    def unhedged_from(self) -> float | None:
        """Net delta beyond which the desk hedges, as its last hedge has it; None before the first."""
        return self._unhedged_from if math.isfinite(self._unhedged_from) else None

    def value(self, instrument_id: InstrumentId) -> OptionState | None:
        """Value an option at the latest market; None while it or its underlying was never quoted."""
        return self.desk.delta_engine.state(instrument_id, self.now_ns)

    def greeks(self) -> PositionGreeks:
        """Return the Greeks of all that is held; a future that settles in coin counts in coin."""
        return account_greeks(self.desk, self.now_ns)

    def implied_of_book(self) -> float:
        """Return the mean volatility of the held options by their size, a fraction a year; NaN without any.

        Each option has the volatility that it was hedged with last, else that of its quote.
        It is on the variance clock, as realised and forecast volatility are: by the calendar, the volatility
        of an option in its last hours is another number.
        """
        return _mean_of([leg.weighted(leg.valuation.vol) for leg in self._held_legs()])

    def held_ratios(self) -> Ratios | None:
        """Return one set of the held options; None where they have no premium in common."""
        return held_ratios(self.desk.positions.held())

    def premium(self) -> Premium:
        """Return the premium of one set of the held options, and its means over the session."""
        ratios = self.held_ratios()
        return self._premiums.premium(ratios, self.now_ns) if ratios else UNKNOWN

    def _held_legs(self) -> list[_HeldLeg]:
        """Return the held options whose price determines a volatility."""
        found = []
        for position in self.desk.positions.held():
            number = position.instrument_id
            valuation = self.value(number)
            if valuation is not None and valuation.vol > 0.0 and valuation.tells_vol:
                units = abs(position.float_quantity) * position.multiplier
                found.append(_HeldLeg(number, units, self.on_clock(number), valuation))
        return found

    def _restate_implied(self) -> None:
        """Restate the volatilities from before quotes showed the forward, as the parts of P&L are."""
        engine = self.desk.delta_engine
        numbers = {leg.number for _, legs, _ in self._guessed for leg in legs}
        if not all(engine.knows_forward(number, self.now_ns) for number in numbers):
            return
        guessed, self._guessed = self._guessed, []
        times, column = self.series.columns["t"], self.series.columns["implied"]
        for at, legs, is_first in guessed:
            vols = []
            for leg in legs:
                now = self.value(leg.number)
                vol = leg.valuation.vol if now is None else engine.vol_at_carry(leg.valuation, now)
                vols.append(leg.weighted(vol))
            self.last_implied = implied = _mean_of(vols)
            if is_first:
                self.first_implied = implied
            if at in times:  # a long series is thinned
                column[times.index(at)] = 100 * implied
        self.series.generation += 1

    def on_clock(self, option: InstrumentId) -> float:
        """Return what turns an option's volatility by the calendar into that on the variance clock."""
        contract = self.desk.instruments[option]
        assert contract.is_option
        return self.desk.delta_engine.to_clock(contract, self.now_ns)

    def smile(self, option: InstrumentId) -> ExpirySmile | None:
        """Return the fitted smile of an option's expiry; None without quotes to fit it to."""
        return self.desk.delta_engine.smile(option, self.now_ns)

    def meter_today(self) -> dict[str, float]:
        """Return the figures of realised against implied volatility of this session."""
        return self.desk.attribution.legs.meter.total.since(self._meter_at_open).figures()

    def hedged_delta(self) -> float:
        """Return the net delta that the band is for: of one strategy's book where several share the desk."""
        books = self.desk.books
        positions = self.desk.positions if books is None else books.of(self._hedging).positions
        return self.desk.delta_engine.position_greeks(positions.held(), self.now_ns).net_delta_shares

    def advance(self, most_records: int = 8) -> int:
        """Take in what the journal holds beyond what was read; return how many records were new.

        Past ``until_ns`` nothing is taken in any more.
        """
        if self.problem or self._is_stopped:
            return 0
        count = 0
        try:
            for found in self.tail.read(most_records, self._quotes_of):
                count += 1
                if self.engine is None:
                    self._begin()
                if isinstance(found, list):
                    for event in found:
                        if event.ts_recv_ns > self.until_ns:
                            self._is_stopped = True
                            return 0
                        self.take(event)
                else:
                    self._replica.heed(found)
                    for output in found:
                        self.note(output)
                self._note_mode()
        except ScalpdeskError as error:
            self.problem = error.render()
        if self.engine is None and self.header is not None and not self.problem:
            self._begin()
        if count:
            self._grown = time.monotonic()
            if not self._pace or self._grown - self._pace[-1][0] >= 0.25:
                self._pace.append((self._grown, self.now_ns))
        return count

    def close(self) -> None:
        """End: what the journal does not have for its last event was never sent."""
        if self.engine is not None:
            self._replica.heed(())
        self.tail.close()

    def _quotes_of(self, rows: TapeRows) -> Iterator[Sequence[Event]]:
        if self._read_rows is None:
            assert self.header is not None
            self._read_rows = rows_reader(self.header)
        quotes = iter(self._read_rows(rows))
        try:
            first = next(quotes, None)
        except ScalpdeskError as error:
            self.lacks_quotes, self._read_rows = error.what, last_of_rows
            quotes, first = iter(last_of_rows(rows)), None
        if first is not None:
            yield first
        yield from quotes

    def _begin(self) -> None:
        assert self.header is not None
        try:
            self.engine = engine_from_header(self.header)
        except ScalpdeskError as error:
            self.problem = error.render()
            raise
        self._replica = Replica(self.engine)
        self._fold = RunFold.of_desk(self.header, self.desk)
        self._premiums = PremiumFold(self.desk.instruments)
        self.results = OrderResults(self.desk)
        """What each order came to; only once there is an engine."""
        self._underlying = self.desk.view.underlying
        self._least_fraction = least_fraction_of(self.header.config)
        limits = self.header.config.get("marketdata", {})
        self._stale_seconds = float(limits.get("stale_seconds_underlying", 5.0))
        self.session_nav = self.desk.session_equity

    def take(self, event: Event) -> None:
        """Follow one event of the journal."""
        assert self.engine is not None
        now_ns = event.ts_recv_ns
        if now_ns >= self._next_sample_ns and self.engine.now_ns:
            self._sample()
            step = SAMPLE_SECONDS * NANOS_PER_SECOND
            self._next_sample_ns = (now_ns // step + 1) * step
        self._replica.take(event)
        self.events += 1
        if type(event) is QuoteEvent:
            self._premiums.quote(event)
            if event.instrument_id == self._underlying:
                self.last_quote_ns = event.ts_event_ns
                spot = self.desk.market.mark(self._underlying)
                if math.isfinite(event.mid):
                    self.spots.append((now_ns, event.mid))
                    while self.spots[0][0] < now_ns - _SPOTS_KEPT_NS:
                        self.spots.popleft()
                if spot is not None:
                    self.day_low, self.day_high = min(self.day_low, spot), max(self.day_high, spot)
                    if math.isnan(self.day_low):
                        self.day_low = self.day_high = spot
            return
        self.fold.take(event)
        holds_options = any(each.instrument.is_option for each in self.desk.positions.held())
        if holds_options != (self.opened is not None):
            self.opened = (now_ns, self.desk.market.mark(self._underlying)) if holds_options else None
        if isinstance(event, SessionEvent):
            self._note_session(event)
        self._premiums.take(event)
        self.results.take(event)

    def _note_session(self, event: SessionEvent) -> None:
        if event.phase is SessionPhase.OPEN:
            self.session_is_open, self.session = True, event.session
            self.session_opened_ns = event.open_ns
            self.session_totals = dict(self.desk.attribution.totals)
            self.session_hedge_costs = self.desk.attribution.sums.hedge_costs
            self.session_nav = self.desk.session_equity
            self.day_low = self.day_high = math.nan
            self.first_implied, self._guessed = math.nan, []
            self.holds_as_first = True
            self._meter_at_open = self.desk.attribution.legs.meter.total.since(MoveMeter())
        else:
            self._sample()  # while it is open: the curves end where the session does
            self.session_is_open = False
            self.sessions_closed.append(event.session)

    def note(self, output: Output) -> None:
        """Follow one output of the journal."""
        self.fold.note(output, self.now_ns)
        self.results.note(output)
        if isinstance(output, Decision):
            self.decisions.append((self.decision_count, output))
            self._note_trip(output)
            self.has_scalps = self.has_scalps or "scalp_id" in output.facts
            width = output.facts.get("half_width_shares")
            if isinstance(width, float | int):
                self._band = float(width)
                self._hedging = str(output.facts.get("strategy", ""))
                hedge = self.desk.instruments[self._underlying]
                beyond = unhedged_from(output.facts, self._least_fraction, hedge)
                self._unhedged_from = self._band if beyond is None else beyond

    def _note_trip(self, decision: Decision) -> None:
        amount = decision.facts.get(TRADE_GAIN)
        if decision.kind is DecisionKind.EXIT and isinstance(amount, float | int):
            owner, signal = (str(decision.facts.get(name, "")) for name in ("strategy", "signal"))
            self._stated_trips.append((owner, signal, float(amount)))

    @property
    def trips(self) -> list[tuple[str, float]]:
        """Signal and result of each trade that has ended.

        As its strategy states them where its trades overlap; of others from flat to flat, by the ledger.
        """
        books = self.desk.books
        ledgers = {"": self.desk.gate} if books is None else books.books
        stating = {owner for owner, _, _ in self._stated_trips}
        closed = [
            ("", float(pnl))
            for owner, ledger in ledgers.items()
            if owner not in stating
            for pnl in ledger.closed_trades.results
        ]
        return [(signal, amount) for _, signal, amount in self._stated_trips] + closed

    def _note_mode(self) -> None:
        standing = self.desk.gate.desk_mode.state.standing
        if standing is self._standing:
            return
        self._standing = standing
        self.mode, self.mode_reason = standing.mode, standing.text()
        self.mode_since_ns = standing.since_ns or self.now_ns

    def _sample(self) -> None:
        assert self.engine is not None
        desk, now_ns = self.desk, self.engine.now_ns
        spot = desk.market.mark(self._underlying)
        if spot is None or not self.session_is_open:
            return
        if now_ns - self.last_quote_ns > max(_GAP_SECONDS, self._stale_seconds) * NANOS_PER_SECOND:
            spot = math.nan
        figures = self.meter_today()
        held = desk.positions.held()
        greeks = self.greeks()
        if self._guessed:
            self._restate_implied()
        legs = self._held_legs()
        implied = _mean_of([leg.weighted(leg.valuation.vol) for leg in legs])
        if not all(desk.delta_engine.knows_forward(leg.number, now_ns) for leg in legs):
            self._guessed.append((now_ns / NANOS_PER_SECOND, legs, math.isnan(self.first_implied)))
        if not math.isnan(implied):
            self.last_implied = implied
            held_now = frozenset(leg.number for leg in legs)
            if math.isnan(self.first_implied):
                self.first_implied, self._first_held = implied, held_now
            self.holds_as_first = self.holds_as_first and held_now == self._first_held
        premium = self.premium()
        totals, before = desk.attribution.totals, self.session_totals
        nav = desk.attribution.current_nav()
        self.series.add(
            {
                "t": now_ns / NANOS_PER_SECOND,
                "spot": spot,
                "pnl": float(nav - desk.session_equity),
                "equity": float(desk.attribution.change_now()),
                "net_delta": greeks.net_delta_shares if held else math.nan,
                "band": self._band if held else math.nan,
                "realised": 100 * figures["realised_vol_weighted"],
                "implied": 100 * implied,
                "gamma": float(totals["gamma"] - before["gamma"]),
                "theta": float(totals["theta"] - before["theta"]),
                "premium": premium.mid,
                "premium_vwap": premium.vwap,
                "premium_twap": premium.twap,
            }
        )
