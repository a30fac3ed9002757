"""Generated market, always open: random walks of shares and indices, with option chains from today on.

An underlying follows a driftless lognormal walk that the seed alone determines. Options are priced at zero
rate and yield (American and European prices are then equal), with a smile over moneyness around the
volatility of the walk. An index has a level, no market, and the option classes of its name (SPX: SPX and
SPXW). Only watched options are published; the others are quoted on request. No recorded data.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import QuoteEvent, TradeEvent
from scalpdesk.core.units import (
    DAY_NS,
    DAYS_PER_YEAR,
    NANOS_PER_MS,
    NANOS_PER_SECOND,
    SECONDS_PER_YEAR,
    ZERO,
    InstrumentId,
    exact,
    years_between,
)
from scalpdesk.exchange.source import Bar, TapeEvent, bar_start
from scalpdesk.instruments.classes import INDICES, listed_expiries, option_class, roots_of, us_option
from scalpdesk.instruments.contract import (
    Equity,
    Index,
    Instruments,
    OptionContract,
    Right,
    Settlement,
    occ_symbol,
)
from scalpdesk.instruments.corporate_actions import CorporateAction
from scalpdesk.instruments.futures import third_friday
from scalpdesk.instruments.sessions import (
    expiry_instant_ns,
    final_close_ns,
    is_session,
    previous_session,
    sessions_between,
    to_new_york,
)
from scalpdesk.marketdata.tape import FLAT_ZERO, CashDividend, FundingRate, Morning
from scalpdesk.pricing.models import greeks
from scalpdesk.simulation.hours import AlwaysOpen, Hours

_HISTORY_DAYS = 60
_NEAR_SESSIONS = 6
_FRIDAYS = 13
_STRIKES_EACH_SIDE = 20
_SHARE_SPREAD = 0.02
COINS = frozenset({"BTC", "ETH"})
VIX, _DAYS_TO_ITS_OPTIONS = "VIX", 30
"""Options on it end so many days before the third Friday of the month after theirs (Cboe)."""


@dataclass(frozen=True, slots=True)
class _Character:
    """Starting price in currency, annual volatility, dividend a share each quarter."""

    price: float
    vol: float
    dividend: str = "0"


_CHARACTERS = {
    "SPY": _Character(600.0, 0.16, "1.75"),
    "QQQ": _Character(520.0, 0.20, "0.70"),
    "IWM": _Character(220.0, 0.22, "0.65"),
    "NVDA": _Character(180.0, 0.42, "0.01"),
    "AAPL": _Character(230.0, 0.26, "0.26"),
    "TSLA": _Character(300.0, 0.55),
    "SPX": _Character(6_000.0, 0.16),
    "XSP": _Character(600.0, 0.16),
    "NDX": _Character(21_000.0, 0.20),
    "RUT": _Character(2_200.0, 0.22),
    "VIX": _Character(17.0, 0.90),
    "BTC": _Character(90_000.0, 0.55),
    "ETH": _Character(3_000.0, 0.70),
}
_ORDINARY = _Character(100.0, 0.30)


class _Walker:
    """Share or index: its price at the present step and the options listed on it."""

    def __init__(self, symbol: str, number: InstrumentId, seed: int) -> None:
        self.symbol = symbol
        self.number = number
        self.is_index = symbol in INDICES
        self.character = _CHARACTERS.get(symbol, _ORDINARY)
        self.price = self.character.price
        self.rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *symbol.encode()])))
        self.contracts: list[tuple[InstrumentId, OptionContract]] = []
        self.strikes: NDArray[np.float64] = np.empty(0)
        self.expiry_ns: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.is_call: NDArray[np.bool_] = np.empty(0, dtype=np.bool_)
        self.priced_at = -1
        self.prices: NDArray[np.float64] = np.empty(0)
        self.row_of: dict[InstrumentId, int] = {}


class GeneratedSource:
    """Market source of random-walk shares and indices with their option chains.

    ``symbols``: Underlyings. The name of an index is the index; coins have no listed options and are not
    assets of the stock venue.
    ``start_ns``: When the market begins, UTC nanoseconds.
    ``step_ms``: Time between quotes of an instrument, milliseconds.
    """

    def __init__(self, symbols: Sequence[str], start_ns: int, seed: int = 0, step_ms: int = 1_000) -> None:
        if not symbols or len(set(symbols)) != len(symbols):
            raise ArgumentError("name each underlying once", where="--generated", value=",".join(symbols))
        self.instruments = Instruments()
        self.hours: Hours = AlwaysOpen()
        if not 1 <= step_ms <= 60_000:
            raise ArgumentError("a step lasts 1 to 60000 ms", where="step_ms", value=step_ms)
        self._step_ns = step_ms * NANOS_PER_MS
        self.start_ns = start_ns - start_ns % self._step_ns
        self.open_interest: dict[str, int] = {}
        self.rate_curve = FLAT_ZERO
        self.funding: tuple[FundingRate, ...] = ()
        self.dividend_yield = 0.0
        self.barred: frozenset[InstrumentId] = frozenset()
        self._seed = seed
        self._now_ns = self.start_ns
        self._watched: dict[InstrumentId, _Walker] = {}
        self._walkers = [
            _Walker(symbol, self.instruments.add(_underlying(symbol)), seed) for symbol in symbols
        ]
        self._by_number = {walker.number: walker for walker in self._walkers}
        self._listed_on: date | None = None
        self.dividends = self._dividends()
        self.actions: tuple[CorporateAction, ...] = ()
        self._relist()

    # listing ----------------------------------------------------------------------------------------

    def _relist(self) -> None:
        """List expiries from today on and strikes around the price; once a day."""
        today = to_new_york(self._now_ns).date()
        if today == self._listed_on:
            return
        self._listed_on = today
        sessions = [
            session.day for session in sessions_between(today, today + timedelta(days=7 * _FRIDAYS + 7))
        ]
        weekly = {
            max(d for d in sessions if d.isocalendar()[:2] == w)
            for w in {d.isocalendar()[:2] for d in sessions}
        }
        near, fridays = sessions[:_NEAR_SESSIONS], sorted(weekly)[:_FRIDAYS]
        for walker in self._walkers:
            if walker.symbol in COINS:
                continue
            for root, day in _series(walker, today, near[-1], fridays):
                self._list_expiry(walker, root, day, (day - today).days)
            self._index(walker)

    def _list_expiry(self, walker: _Walker, root: str, day: date, days: int) -> None:
        step = strike_step(walker.price, days)
        middle = round(walker.price / step) * step
        for offset in range(-_STRIKES_EACH_SIDE, _STRIKES_EACH_SIDE + 1):
            strike = Decimal(str(round(middle + offset * step, 3)))
            if strike <= 0:
                continue
            for right in (Right.CALL, Right.PUT):
                symbol = occ_symbol(root, day, right, strike)
                if symbol in self.instruments:
                    continue
                number = self.instruments.add(us_option(symbol, [walker.symbol]))
                contract = self.instruments[number]
                assert contract.is_option
                walker.contracts.append((number, contract))
                self._by_number[number] = walker
                near = math.exp(-0.5 * (offset / 7.0) ** 2)
                noise = 1.0 + (sum(symbol.encode()) % 37) / 37.0
                self.open_interest[symbol] = int(150 + 6_000 * near * noise)

    @staticmethod
    def _index(walker: _Walker) -> None:
        contracts = [contract for _, contract in walker.contracts]
        walker.row_of = {number: row for row, (number, _) in enumerate(walker.contracts)}
        walker.strikes = np.array([float(contract.strike) for contract in contracts])
        walker.is_call = np.array([contract.is_call for contract in contracts], dtype=np.bool_)
        walker.expiry_ns = np.array([expiry_instant_ns(contract) for contract in contracts], dtype=np.int64)
        walker.priced_at = -1

    def _dividends(self) -> tuple[CashDividend, ...]:
        """Quarterly dividends of the past year and the next half: the middle of March, June, ..."""
        today = to_new_york(self.start_ns).date()
        made = []
        for walker in self._walkers:
            amount = Decimal(walker.character.dividend)
            if not amount:
                continue
            for year in range(today.year - 1, today.year + 2):
                for month in (3, 6, 9, 12):
                    ex_date = date(year, month, 18)
                    if abs((ex_date - today).days) <= 380:
                        made.append(CashDividend(walker.symbol, ex_date, amount))
        return tuple(made)

    # time -------------------------------------------------------------------------------------------

    def next_ns(self) -> int:
        """Return when the next step is due."""
        return self._now_ns + self._step_ns

    def take_next(self) -> list[TapeEvent]:
        """Advance a step; return quotes of underlyings and watched options, then prints of underlyings."""
        self._now_ns += self._step_ns
        self._relist()
        events: list[TapeEvent] = []
        prints: list[TapeEvent] = []
        for walker in self._walkers:
            step_vol = walker.character.vol * math.sqrt(years_between(0, self._step_ns))
            draws = walker.rng.standard_normal(2)
            walker.price *= math.exp(step_vol * float(draws[0]) - 0.5 * step_vol**2)
            side = _SHARE_SPREAD / 2 if draws[1] > 0 else -_SHARE_SPREAD / 2
            size = float(100 * (1 + int(abs(draws[1]) * 10)))
            if walker.is_index:  # its level is published, nothing trades
                side = size = 0.0
            price = round(walker.price, 2) + side
            prints.append(TradeEvent(walker.number, self._now_ns, self._now_ns, round(price, 4), size))
        for number in self._watched:
            quote = self._quote(number)
            if quote is not None:
                events.append(quote)
        events.extend(quote for quote in (self._quote(walker.number) for walker in self._walkers) if quote)
        return events + prints

    def published(self, day: date) -> Morning:
        """Return the same of each day."""
        del day
        return Morning(self.rate_curve, self.open_interest, ())

    def watch(self, number: InstrumentId) -> QuoteEvent | None:
        """Publish an option from now on; return its present quote."""
        walker = self._by_number[number]
        if number != walker.number:
            self._watched.setdefault(number, walker)
        return self._quote(number)

    def _quote(self, number: InstrumentId) -> QuoteEvent | None:
        walker = self._by_number[number]
        now_ns = self._now_ns
        if number == walker.number:
            mid = round(walker.price, 2)
            if walker.is_index:  # a level, as in a tape: both sides, no size
                return QuoteEvent(number, now_ns, now_ns, mid, mid, 0.0, 0.0)
            half = _SHARE_SPREAD / 2
            size = float(300 + 100 * (int(now_ns // self._step_ns) % 7))
            return QuoteEvent(
                number, now_ns, now_ns, round(mid - half, 2), round(mid + half, 2), size, size + 100.0
            )
        self._price(walker)
        row = walker.row_of[number]
        contract = walker.contracts[row][1]
        if final_close_ns(contract) <= now_ns:
            return None
        fair = float(walker.prices[row])
        rule = contract.tick_rule
        tick = float(rule.tick_at(exact(fair)))
        half = max(tick, 0.01 * fair) if fair < 3 else max(0.02, 0.006 * fair)
        bid = max(rule.round(exact(fair - half, 8), "down"), ZERO)
        ask = max(rule.round(exact(fair + half, 8), "up"), rule.moved(bid, 1))
        size = float(20 + (number * 7 + int(now_ns // self._step_ns)) % 80)
        return QuoteEvent(
            number, now_ns, now_ns, float(bid), float(ask), size if bid > 0 else 0.0, size + 5.0
        )

    def _price(self, walker: _Walker) -> None:
        """Price the chain, once a step."""
        if walker.priced_at == self._now_ns:
            return
        walker.priced_at = self._now_ns
        years = np.maximum(walker.expiry_ns - self._now_ns, 0) / NANOS_PER_SECOND / SECONDS_PER_YEAR
        money = np.log(walker.strikes / walker.price) / np.sqrt(np.maximum(years, 1.0 / DAYS_PER_YEAR))
        vol = walker.character.vol * np.clip(1.0 - 0.15 * money + 0.12 * money**2, 0.6, 2.5)
        walker.prices = greeks(
            walker.price, walker.strikes, years, vol, walker.is_call, style="european"
        ).price

    # settlement and history -----------------------------------------------------------------------------

    def settlement(self, symbol: str, day: date) -> Decimal | None:
        """Return None: expiring options settle on the last mid."""
        del symbol, day
        return None

    def history(self, symbol: str, seconds: int, start_ns: int, end_ns: int) -> list[Bar]:
        """Return bars from before the market began: a walk backwards from the starting price."""
        walker = next((listed for listed in self._walkers if listed.symbol == symbol), None)
        if walker is None or seconds < 60:
            return []
        first_ns = self.start_ns - _HISTORY_DAYS * DAY_NS
        start_ns, end_ns = max(start_ns, first_ns), min(end_ns, self.start_ns - 1)
        if start_ns > end_ns:
            return []
        width_ns = seconds * NANOS_PER_SECOND
        first = bar_start(start_ns, seconds)
        count = int((self.start_ns - first) // width_ns) + 1
        rng = np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self._seed, seconds, 5, *symbol.encode()]))
        )
        steps = walker.character.vol * math.sqrt(years_between(0, width_ns)) * rng.standard_normal(count)
        closes = walker.character.price * np.exp(-np.concatenate(([0.0], np.cumsum(steps))))
        made = []
        for index in range(count):
            close, opened = float(closes[index]), float(closes[index + 1])
            reach = abs(float(steps[index])) * 0.5 * close
            begin = bar_start(self.start_ns - 1 - index * width_ns, seconds)
            high, low = max(close, opened) + reach, min(close, opened) - reach
            prices = (round(opened, 2), round(high, 2), round(low, 2), round(close, 2))
            volume = 0.0 if walker.is_index else 1_000.0 * seconds
            made.append(Bar.of_prices(begin, seconds, prices, volume, seconds))
        made.reverse()
        return [bar for bar in made if start_ns <= bar.start_ns <= end_ns]


def _underlying(symbol: str) -> Equity | Index:
    return Index(symbol) if symbol in INDICES else Equity(symbol)


def _series(walker: _Walker, today: date, near: date, fridays: Sequence[date]) -> Iterator[tuple[str, date]]:
    """Yield root and expiry of each series; a class that settles in the morning has monthly expiries."""
    for root in roots_of(walker.symbol):
        terms = option_class(root, fridays[-1])
        if terms is None and walker.is_index:
            continue
        if terms is None or terms.settlement is not Settlement.CASH_AM:
            yield from ((root, day) for day in sorted({*listed_expiries(root, today, near), *fridays}))
        elif root == walker.symbol:
            months = dict.fromkeys((day.year, day.month) for day in (today, *fridays))
            monthly = (_monthly_expiry(walker.symbol, *month) for month in months)
            yield from ((root, day) for day in monthly if today <= day <= fridays[-1])


def _monthly_expiry(index: str, year: int, month: int) -> date:
    """Return the day on whose morning the monthly options on an index are settled."""
    day = third_friday(year, month)
    if index == VIX:
        day = third_friday(year + month // 12, month % 12 + 1) - timedelta(days=_DAYS_TO_ITS_OPTIONS)
    return day if is_session(day) else previous_session(day).day


def strike_step(price: float, days: int) -> float:
    """Return the distance between strikes, currency: finer near expiry and for cheap shares."""
    base = price * (0.0025 if days <= 9 else 0.006 if days <= 35 else 0.01)
    for step in (0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0):
        if base <= step * 1.5:
            return step
    return 250.0
