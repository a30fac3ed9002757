"""Instruments: one class per kind, OCC symbols and the instruments of a run.

An instrument says what it is worth: what depends on its kind is its method or its attribute, and no other
package asks for its class. Where lists are filtered, class attributes (``is_option``, ``is_index``) tell the
kinds apart; a type checker narrows by them.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Literal

from scalpdesk.core.errors import ArgumentError, nearest_name
from scalpdesk.core.units import ZERO, InstrumentId, exact
from scalpdesk.instruments.ticks import CENT_TICK, TickRule

_OCC = re.compile(r"([A-Z0-9.]{1,6}) *(\d{2})(\d{2})(\d{2})([CP])(\d{8})\Z")


class Right(StrEnum):
    """Call or put."""

    CALL = "C"
    PUT = "P"

    @property
    def is_call(self) -> bool:
        """True for a call."""
        return self is CALL


CALL = Right.CALL  # looking up an enum's member costs as much as a call


class Style(StrEnum):
    """Exercise style."""

    AMERICAN = "american"
    EUROPEAN = "european"


class Settlement(StrEnum):
    """Settlement of an expiring option."""

    PHYSICAL = "physical"
    CASH_PM = "cash_pm"
    """Cash, at the session's closing value of the underlying."""
    CASH_AM = "cash_am"
    """Cash, at the opening value of the expiry morning; trading ends the session before."""
    CASH_MEAN = "cash_mean"
    """Cash, at the mean of the index over the half hour before 08:00 UTC (Deribit)."""
    FUTURE = "future"
    """The future that it is on, at the strike, as of the session's close."""
    FUTURE_AM = "future_am"
    """Cash, with the future that it is on and at its final settlement: the opening of the expiry morning."""


ONE = Decimal(1)
_COIN_OPTION_STEPS = {"BTC": Decimal("0.1"), "ETH": ONE}
"""Smallest amount of an option on a coin, in coins, and its step."""
_LINEAR_OPTION_STEP, _LINEAR_PERPETUAL_STEP = Decimal("0.1"), Decimal("0.001")
"""Those of what settles in a dollar coin."""
_LARGEST_DOUBT = 0.05
"""Volatility by which half a tick may move an option's own, before no quote determines it."""


_ON_FUTURE = frozenset({Settlement.FUTURE, Settlement.FUTURE_AM})
_DELIVERED = frozenset({Settlement.PHYSICAL, Settlement.FUTURE})


class Linear:
    """An instrument worth quantity x price x multiplier, in its currency.

    Quantities are signed contracts, shares or coins; prices are currency per unit of the underlying.
    """

    __slots__ = ()
    multiplier: int
    is_index: ClassVar[bool] = False
    is_share: ClassVar[bool] = False
    is_perpetual: ClassVar[bool] = False
    is_inverse_future: ClassVar[bool] = False
    """Whether a contract is an amount of US dollars; an option on a coin is inverse and no future."""

    def value(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Return what a quantity is worth at a price, in currency.

        >>> Equity("SPY").value(Decimal(-3), Decimal("500.10"))
        Decimal('-1500.30')
        """
        worth = quantity * price
        return worth if self.multiplier == 1 else worth * self.multiplier  # an int beside it costs twice

    def cash_flow(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Return the cash that a trade moves, in currency: negative for what is paid."""
        return -self.value(quantity, price)

    def notional(self, quantity: float, price: float) -> float:
        """Return the size of a quantity at a price, in currency; its sign is the quantity's."""
        return quantity * price * self.multiplier

    def delta(self, quantity: float, price: float) -> float:
        """Return the delta of a quantity without optionality, in units of the underlying (shares, coins)."""
        del price
        return quantity * self.multiplier

    def earned(self, units: float, before: float, after: float) -> tuple[float, float]:
        """Return what quantity x multiplier earns by a move of its price: by delta, and by curvature."""
        return units * (after - before), 0.0

    def unit_cost(self, price: Decimal) -> Decimal:
        """Return what averages over trades: the price of a unit."""
        return price

    def price_of(self, unit_cost: Decimal) -> Decimal:
        """Return the price at which a unit has a cost."""
        return unit_cost


class _Plain(Linear):
    """A linear instrument that is no option."""

    __slots__ = ()
    contract_size: ClassVar[int] = 1
    """Amount of a unit where a venue counts amounts (Deribit)."""
    step: ClassVar[Decimal] = ONE
    """Smallest quantity of an order, and its step; brokers may take shares in fractions of it."""
    is_option: ClassVar[Literal[False]] = False
    is_inverse: ClassVar[bool] = False
    is_coin: ClassVar[bool] = False
    """Whether it trades around the clock at a coin's venue, with that venue's fees and margin."""


@dataclass(frozen=True, slots=True)
class Equity(_Plain):
    """A share or an exchange-traded fund."""

    symbol: str
    tick_rule: TickRule = CENT_TICK
    currency: str = "USD"
    multiplier: int = 1
    is_future: ClassVar[Literal[False]] = False
    is_share: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Index(_Plain):
    """An index level, which cannot be bought."""

    symbol: str
    tick_rule: TickRule = CENT_TICK
    currency: str = "USD"
    multiplier: int = 1
    is_future: ClassVar[Literal[False]] = False
    is_index: ClassVar[bool] = True


FUTURE_MAINTENANCE, FUTURE_INITIAL = Decimal("0.065"), Decimal("0.0715")
"""Margin of an index future, fractions of its value. CME sets dollars a contract, some 6 to 7 % of an E-mini
S&P 500 (12,000 of 190,000 in 2021), and 110 % of that to open."""


@dataclass(frozen=True, slots=True)
class Future(_Plain):
    """A dated future; ``multiplier`` is currency per index point.

    It is booked as an exchange of its value: buying takes the value out of the cash, its mark brings it back.
    The balance that a broker shows is that cash with the position's cost, which each day's settlement
    makes the value at the settlement price: the balance moves by the variation.
    """

    symbol: str
    root: str
    expiry: date
    tick_rule: TickRule
    currency: str = "USD"
    multiplier: int = 1
    is_future: ClassVar[Literal[True]] = True
    """Whether it is a dated future: settled in cash every day, and held for a margin per contract."""


@dataclass(frozen=True, slots=True)
class Perpetual(Linear):
    """An inverse perpetual: a contract is ``contract_usd`` US dollars, settled in coin.

    Bought at e it brings ``contract_usd/e`` of coin, and marking it takes ``contract_usd/x`` out: A dollars
    bought at e have earned A/e - A/x at x, and the average price is the harmonic mean (Deribit, "Inverse
    Perpetual").
    """

    symbol: str
    contract_usd: int
    tick_rule: TickRule
    currency: str = "BTC"
    multiplier: int = 1
    is_future: ClassVar[Literal[False]] = False
    is_option: ClassVar[Literal[False]] = False
    is_inverse: ClassVar[bool] = True
    is_coin: ClassVar[bool] = True
    is_perpetual: ClassVar[bool] = True
    is_inverse_future: ClassVar[bool] = True
    step: ClassVar[Decimal] = ONE

    @property
    def contract_size(self) -> int:
        """Amount of a contract, US dollars."""
        return self.contract_usd

    def value(self, quantity: Decimal, price: Decimal) -> Decimal:
        """Return minus the dollars of a quantity in coin at a price; 0 at a price of 0.

        >>> Perpetual("BTC-PERPETUAL", 10, CENT_TICK).value(Decimal(10_000), Decimal(50_000))
        Decimal('-2')
        """
        return -quantity * self.contract_usd / price if quantity and price else ZERO

    def notional(self, quantity: float, price: float) -> float:
        """Return the size of a quantity at a price, in coin; its sign is the quantity's."""
        return quantity * self.contract_usd / price

    def delta(self, quantity: float, price: float) -> float:
        """Return the delta of a quantity, in coin; 0 at a price of 0."""
        return quantity * self.contract_usd / price if price else 0.0

    def earned(self, units: float, before: float, after: float) -> tuple[float, float]:
        """Return what contracts earn by a move of the price, in coin: by delta, and by curvature."""
        step, dollars = after - before, units * self.contract_usd
        bend = -dollars * step * step / before**3
        return dollars * step / (before * after) - bend, bend

    def unit_cost(self, price: Decimal) -> Decimal:
        """Return what averages over trades: the worth of a contract in coin."""
        return -self.contract_usd / price

    def price_of(self, unit_cost: Decimal) -> Decimal:
        """Return the price at which a contract has a worth in coin."""
        return -self.contract_usd / unit_cost


@dataclass(frozen=True, slots=True)
class LinearPerpetual(_Plain):
    """A perpetual settled in a dollar coin; quantities are in coins of the underlying."""

    symbol: str
    tick_rule: TickRule
    currency: str = "USDC"
    multiplier: int = 1
    is_future: ClassVar[Literal[False]] = False
    is_perpetual: ClassVar[bool] = True
    is_coin: ClassVar[bool] = True
    step: ClassVar[Decimal] = _LINEAR_PERPETUAL_STEP


@dataclass(frozen=True, slots=True)
class OptionContract(Linear):
    """A listed option; ``multiplier`` is units of the underlying per contract."""

    symbol: str
    root: str
    underlying: str
    expiry: date
    strike: Decimal
    right: Right
    style: Style
    settlement: Settlement
    tick_rule: TickRule
    currency: str = "USD"
    multiplier: int = 100
    is_future: ClassVar[Literal[False]] = False
    contract_size: ClassVar[int] = 1
    is_option: ClassVar[Literal[True]] = True

    @property
    def is_call(self) -> bool:
        """True for a call."""
        return self.right is CALL

    @property
    def step(self) -> Decimal:
        """Smallest quantity of an order, and its step, in contracts or coins."""
        if not self.is_coin:
            return ONE
        return _COIN_OPTION_STEPS.get(self.currency, _LINEAR_OPTION_STEP)

    @property
    def is_coin(self) -> bool:
        """True for an option on a coin, inverse or linear."""
        return self.settlement is Settlement.CASH_MEAN

    @property
    def is_inverse(self) -> bool:
        """True when price, premium and payoff are in the coin that it is an option on."""
        return self.currency == self.root

    @property
    def is_on_future(self) -> bool:
        """True for an option on a future: it is priced on the future, whose carry is the rate."""
        return self.settlement in _ON_FUTURE

    @property
    def delivers(self) -> bool:
        """True where exercise brings the underlying for its strike, not cash."""
        return self.settlement in _DELIVERED

    @property
    def deliverable(self) -> int:
        """Units of the underlying that one contract delivers: shares, or one future."""
        return 1 if self.settlement is Settlement.FUTURE else self.multiplier

    def payoff(self, spot: float) -> float:
        """Return what exercise pays at ``spot``, per unit of the underlying, in the option's currency."""
        paid = max(spot - float(self.strike) if self.is_call else float(self.strike) - spot, 0.0)
        return paid / spot if self.is_inverse else paid

    def least_offer(self, spot: float) -> Decimal:
        """Return the least to ask for without a bid: 95 % of the payoff at ``spot``, or a tick."""
        floor = self.tick_rule.round(exact(0.95 * self.payoff(spot), 8), "up")
        return max(floor, self.tick_rule.below)

    def is_least_offer(self, limit: Decimal, spot: float) -> bool:
        """Return whether a limit is within a tick, or 5 %, of the least to ask for."""
        least = self.least_offer(spot)
        return abs(limit - least) <= max(self.tick_rule.tick_at(least), least / 20)

    def tells_vol(self, price: Decimal, vega: float) -> bool:
        """Return whether a price determines a volatility; ``vega`` is a unit's, in the option's currency."""
        return 0.5 * float(self.tick_rule.tick_at(price)) <= _LARGEST_DOUBT * vega


Instrument = Equity | Index | Future | Perpetual | LinearPerpetual | OptionContract


@dataclass(frozen=True, slots=True)
class Proxy:
    """An instrument that hedges options on another underlying: a future or a fund on an index, for one."""

    instrument_id: InstrumentId
    underlying_id: InstrumentId
    beta: float = 1.0
    """Return of the underlying for one of the instrument; 1 for a future or a fund on the same index."""

    def delta(self, instrument: Instrument, quantity: float, price: float, spot: float) -> float:
        """Return the delta that a quantity stands for, in units of the underlying.

        Its dollar delta over the underlying's price and beta. The hedge of an option's dollar delta D is
        D times beta over price times multiplier.

        ``quantity``: Signed contracts or shares of it.
        ``price``, ``spot``: Of the instrument and of the underlying, in currency; 0 at a spot of 0.

        >>> es = Future("ES_202103", "ES", date(2021, 3, 19), CENT_TICK, multiplier=50)
        >>> proxy = Proxy(InstrumentId(1), InstrumentId(0))
        >>> round(proxy.delta(es, -2.0, 3_690.0, 3_700.0), 4)
        -99.7297
        """
        return instrument.notional(quantity, price) / (self.beta * spot) if spot else 0.0


def underlying_of(instrument: Instrument) -> str:
    """Return the symbol of an option's underlying; of what is no option its own."""
    return instrument.underlying if instrument.is_option else instrument.symbol


def occ_symbol(root: str, expiry: date, right: Right, strike: Decimal) -> str:
    """Return the compact OCC symbol: root, yymmdd, C or P, strike in thousandths with 8 digits.

    Raises ArgumentError when the root is not 1 to 6 characters, or the strike has no such form.

    >>> occ_symbol("AAPL", date(2025, 5, 16), Right.PUT, Decimal("207.5"))
    'AAPL250516P00207500'
    """
    if not re.fullmatch(r"[A-Z0-9.]{1,6}", root):
        raise ArgumentError("an OCC root has 1 to 6 capitals or digits", where="root", value=root)
    thousandths = strike * 1000
    if thousandths != int(thousandths) or not 0 < thousandths < 100_000_000:
        raise ArgumentError(
            "an OCC strike is above 0, below 100000 and a multiple of 0.001", where="strike", value=strike
        )
    return f"{root}{expiry:%y%m%d}{right.value}{int(thousandths):08d}"


def parse_occ(symbol: str) -> tuple[str, date, Right, Decimal]:
    """Split an OCC symbol (compact or padded to 21 characters) into root, expiry, right, strike.

    Raises ArgumentError when the text is not an OCC symbol.

    >>> parse_occ("AAPL250516P00207500")
    ('AAPL', datetime.date(2025, 5, 16), <Right.PUT: 'P'>, Decimal('207.5'))
    """
    match = _OCC.match(symbol)
    if match is None:
        raise ArgumentError(
            "not an OCC option symbol",
            where="symbol",
            value=symbol,
            fix="write ROOT + yymmdd + C or P + strike x 1000 in 8 digits, e.g. SPY251219C00600000",
        )
    root, year, month, day, right, thousandths = match.groups()
    try:
        expiry = date(2000 + int(year), int(month), int(day))
    except ValueError as error:
        raise ArgumentError(
            "the date inside the OCC symbol does not exist", where="symbol", value=symbol
        ) from error
    return root, expiry, Right(right), (Decimal(int(thousandths)) / 1000).normalize() + 0


class Instruments:
    """Instruments of a run; ids, which events refer to, count up from 0 in the order of adding."""

    __slots__ = ("_id_by_symbol", "by_id")

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self.by_id: list[Instrument] = []
        """All instruments by id; an attribute, because hot paths read it without a call."""
        self._id_by_symbol: dict[str, InstrumentId] = {}
        for instrument in instruments:
            self.add(instrument)

    def add(self, instrument: Instrument) -> InstrumentId:
        """Add an instrument and return its id; adding an equal one again returns the same id.

        Raises ArgumentError when a different instrument has this symbol.
        """
        known = self._id_by_symbol.get(instrument.symbol)
        if known is not None:
            if self.by_id[known] != instrument:
                raise ArgumentError(
                    "two different instruments share one symbol", where="instrument", value=instrument.symbol
                )
            return known
        instrument_id = InstrumentId(len(self.by_id))
        self.by_id.append(instrument)
        self._id_by_symbol[instrument.symbol] = instrument_id
        return instrument_id

    def id_of(self, symbol: str) -> InstrumentId:
        """Return the id of ``symbol``. Raises ArgumentError when the run has no such instrument."""
        found = self._id_by_symbol.get(symbol)
        if found is None:
            raise ArgumentError(
                "no such instrument in this run",
                where="symbol",
                value=symbol,
                nearest=nearest_name(symbol, self._id_by_symbol),
            )
        return found

    def find(self, symbol: str) -> InstrumentId | None:
        """Return the id of ``symbol``; None when the run has no such instrument."""
        return self._id_by_symbol.get(symbol)

    def __getitem__(self, instrument_id: InstrumentId) -> Instrument:
        return self.by_id[instrument_id]

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._id_by_symbol

    def __len__(self) -> int:
        return len(self.by_id)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self.by_id)

    def options(self, underlying: str) -> Iterator[tuple[InstrumentId, OptionContract]]:
        """Yield the options on ``underlying`` with their ids, in the order of adding."""
        for index, instrument in enumerate(self.by_id):
            if instrument.is_option and instrument.underlying == underlying:
                yield InstrumentId(index), instrument


def options_in_order(instruments: Instruments, underlying: str) -> list[tuple[InstrumentId, OptionContract]]:
    """Return all options on ``underlying``, sorted by expiry, strike and right."""
    return sorted(
        instruments.options(underlying),
        key=lambda item: (item[1].expiry, item[1].strike, item[1].right.value, item[1].symbol),
    )
