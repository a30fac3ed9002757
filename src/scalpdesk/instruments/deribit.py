"""Deribit's contracts: names and terms, the fees of its schedule, funding, and standard margin.

Options and perpetuals on a coin come in two kinds. Inverse contracts (``BTC-25DEC26-100000-C``) are quoted,
margined and settled in the coin; linear contracts (``BTC_USDC-25DEC26-100000-C``) in a dollar coin. An option
is European, on one coin, and expires at 08:00 UTC. Source: Deribit, "Inverse Options", "Fees", "Contract
Introduction Policy".
"""

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import msgspec

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import Side
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.instruments.contract import Instrument, OptionContract, Perpetual, Right, Settlement, Style
from scalpdesk.instruments.fees import FeesSoFar, RowUsed, coin_rates
from scalpdesk.instruments.ticks import TickRule, stepped

_OPTION = re.compile(r"([A-Z0-9]+(?:_[A-Z]+)?)-(\d{1,2}[A-Z]{3}\d{2})-(\d+(?:d\d+)?)-([CP])\Z")
COIN_OPTION_TICK = stepped("0.0001", "0.0005", "0.005")
"""Tick of an inverse option, in coin."""
_CONTRACT_USD = {"BTC": 10, "ETH": 1}
"""Size of an inverse perpetual in US dollars."""
PERPETUAL_TICKS = {"BTC": Decimal("0.5"), "ETH": Decimal("0.05")}
PERPETUAL_INITIAL, _PERPETUAL_MAINTENANCE = Decimal("0.02"), Decimal("0.01")
"""Standard margin of a small perpetual, as fractions of its coins."""
_PERPETUAL_GROWTH = {"BTC": Decimal("0.00005"), "ETH": Decimal("0.000004")}
"""Added to both for each coin of size. Source: Deribit, margin changes of 11 January 2022."""
_SHORT_RATE, _SHORT_FLOOR, _SHORT_MAINTENANCE = Decimal("0.15"), Decimal("0.10"), Decimal("0.075")
"""Standard margin of a sold option, in coin a coin: less what it is out of the money; at least; kept."""
PLACES = 8
"""Decimals of the venue's ledger in coin."""
FRIDAY = 4
"""Weekday on which weekly, monthly and quarterly options expire; options of any other day are daily."""


def perpetual_symbol(root: str) -> str:
    """Return the symbol of a root's perpetual.

    >>> perpetual_symbol("BTC")
    'BTC-PERPETUAL'
    """
    return f"{root}-PERPETUAL"


def is_perpetual(symbol: str) -> bool:
    """Return whether a symbol is a perpetual's."""
    return symbol == perpetual_symbol(symbol.partition("-")[0])


def lists_coin(coin: str) -> bool:
    """Return whether the venue lists contracts of a coin: its market never closes."""
    return coin in _CONTRACT_USD


def perpetual(coin: str) -> Perpetual:
    """Return the inverse perpetual of a coin. Raises ArgumentError when the venue lists no such contract."""
    if coin not in _CONTRACT_USD:
        raise ArgumentError(
            "no inverse perpetual of this coin", where="coin", value=coin, fix="BTC or ETH have one"
        )
    tick = PERPETUAL_TICKS[coin]
    return Perpetual(perpetual_symbol(coin), _CONTRACT_USD[coin], TickRule(tick), currency=coin)


def inverse_perpetual(symbol: str) -> Perpetual:
    """Return the inverse perpetual that a symbol names.

    Raises ArgumentError when it names another instrument, a linear perpetual for one, or a coin without such
    a contract.

    >>> inverse_perpetual("BTC-PERPETUAL").currency
    'BTC'
    """
    if not is_perpetual(symbol) or is_linear(symbol):
        kind = "a linear perpetual" if is_perpetual(symbol) else "no perpetual"
        raise ArgumentError(
            f"the underlying is {kind}; inverse perpetuals are traded here",
            where="underlying",
            value=symbol,
            fix=f"name an inverse perpetual, as {perpetual_symbol('BTC')}",
        )
    return perpetual(coin_of(symbol))


def is_linear(symbol: str) -> bool:
    """Return whether an instrument of the venue is settled in another currency than its coin.

    >>> is_linear("BTC_USDC-PERPETUAL"), is_linear("BTC-25DEC26-100000-C")
    (True, False)
    """
    return "_" in symbol.partition("-")[0]


def coin_of(symbol: str) -> str:
    """Return the coin of an instrument of the venue.

    >>> coin_of("BTC_USDC-25DEC26-100000-C")
    'BTC'
    """
    return symbol.partition("-")[0].partition("_")[0]


def delta_unit(underlying: str) -> tuple[str, int]:
    """Return what a net delta counts, and its decimals: shares, or coins beside a perpetual.

    >>> delta_unit("SPY"), delta_unit("BTC-PERPETUAL")
    (('shares', 1), ('BTC', 4))
    """
    return (coin_of(underlying), 4) if is_perpetual(underlying) else ("shares", 1)


def hedge_unit(underlying: str) -> str:
    """Return what a hedge is counted in: shares, or contracts of an inverse perpetual, coins of a linear one.

    >>> [hedge_unit(symbol) for symbol in ("SPY", "BTC-PERPETUAL", "BTC_USDC-PERPETUAL")]
    ['shares', 'contracts', 'BTC']
    """
    if not is_perpetual(underlying):
        return "shares"
    return coin_of(underlying) if is_linear(underlying) else "contracts"


def expiry_name(day: date) -> str:
    """Return an expiry as it stands in a name: the day without a leading zero.

    >>> expiry_name(date(2026, 3, 6))
    '6MAR26'
    """
    return f"{day.day}{day:%b%y}".upper()


def option_name(root: str, expiry: date, strike: Decimal, right: Right) -> str:
    """Return the name of an option; a ``d`` stands for the decimal point of the strike.

    >>> option_name("BTC", date(2026, 12, 25), Decimal(100_000), Right.CALL)
    'BTC-25DEC26-100000-C'
    """
    figure = f"{strike.normalize():f}".replace(".", "d")
    return f"{root}-{expiry_name(expiry)}-{figure}-{right.value}"


def deribit_option(name: str, tick_rule: TickRule = COIN_OPTION_TICK) -> OptionContract:
    """Build an option from its name; its underlying is the perpetual of its coin and currency.

    Raises
    ------
    ArgumentError
        When the name is no option's.

    Examples
    --------
    >>> option = deribit_option("BTC-6MAR26-87000-P")
    >>> option.expiry, option.strike, option.currency, option.underlying
    (datetime.date(2026, 3, 6), Decimal('87000'), 'BTC', 'BTC-PERPETUAL')
    """
    match = _OPTION.match(name)
    if match is None:
        raise ArgumentError(
            "not the name of a Deribit option",
            where="instrument_name",
            value=name,
            fix="write COIN-DMMMYY-STRIKE-C or P, e.g. BTC-25DEC26-100000-C",
        )
    root, day, strike, right = match.groups()
    try:
        expiry = datetime.strptime(day, "%d%b%y").date()  # noqa: DTZ007 - a day without a time
    except ValueError as error:
        raise ArgumentError(
            "the date inside the name does not exist", where="instrument_name", value=name
        ) from error
    coin, _, currency = root.partition("_")
    return OptionContract(
        symbol=name,
        root=root,
        underlying=perpetual_symbol(root),
        expiry=expiry,
        strike=Decimal(strike.replace("d", ".")),
        right=Right(right),
        style=Style.EUROPEAN,
        settlement=Settlement.CASH_MEAN,
        tick_rule=tick_rule,
        currency=currency or coin,
        multiplier=1,
    )


class DeribitFees(msgspec.Struct, frozen=True):
    """Deribit's fee schedule of a day without tier discounts, in the currency of each instrument.

    Maker and taker of an option pay the same. The figures are rows of ``fees.toml``.
    """

    option_rate: Decimal
    delivery_rate: Decimal
    """``option_rate``, ``delivery_rate``: Fraction of an option's underlying: of a trade, and of a
    delivery.
    """
    most_of_premium: Decimal
    """Cap of both, as a fraction of the option's price."""
    perpetual_maker: Decimal
    perpetual_taker: Decimal
    """``perpetual_maker``, ``perpetual_taker``: Fractions of a perpetual's notional; negative: a rebate."""
    daily_delivery_is_free: bool
    nets_combos: bool
    """Whether the cheaper of a combo's bought and sold legs is free."""

    def fee(
        self,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        *,
        order: str = "",
        so_far: FeesSoFar | None = None,
        is_maker: bool = False,
    ) -> Decimal:
        """Return the fee of one execution in the instrument's currency.

        Both sides pay the same. ``quantity`` is in unsigned contracts (options: coins), ``price`` in currency
        a unit, of an inverse perpetual US dollars a coin.
        """
        del side, order, so_far
        if instrument.is_option:
            return self._capped(self.option_rate, instrument, price) * quantity * instrument.multiplier
        rate = self.perpetual_maker if is_maker else self.perpetual_taker
        fee = abs(instrument.value(quantity, price)) * rate
        return round(fee, PLACES) if instrument.is_inverse else fee

    def delivery(self, instrument: Instrument, payoff: Decimal) -> Decimal:
        """Return the fee of the delivery of one option that pays ``payoff``, in its currency."""
        assert instrument.is_option
        if self.daily_delivery_is_free and instrument.expiry.weekday() != FRIDAY:
            return Decimal(0)
        return self._capped(self.delivery_rate, instrument, payoff)

    def free_side(self, legs: Sequence[tuple[Instrument, Side, Decimal, Decimal]]) -> Side | None:
        """Return the side of a combo whose legs pay nothing: the cheaper one; None where all go one way."""
        sums = dict.fromkeys((side for _, side, _, _ in legs), ZERO)
        for leg in legs:
            sums[leg[1]] += self.fee(*leg)
        return min(sums, key=lambda side: sums[side]) if self.nets_combos and len(sums) > 1 else None

    def _capped(self, rate: Decimal, option: OptionContract, price: Decimal) -> Decimal:
        """Return the fee of one coin; of a linear option the strike stands for the index."""
        coin = Decimal(1) if option.is_inverse else option.strike
        return min(rate * coin, self.most_of_premium * price)


class CoinFees(msgspec.Struct, frozen=True):
    """Deribit's fees by date, from the table."""

    name: str = "deribit"

    def on(self, day: date) -> DeribitFees:
        """Return the schedule of a day."""
        return _fees_on(day)

    def rows(self, day: date) -> tuple[RowUsed, ...]:
        """Return the row that the schedule of a day comes from."""
        return (coin_rates(day)[1],)


@lru_cache(maxsize=1024)
def _fees_on(day: date) -> DeribitFees:
    row, _ = coin_rates(day)
    return DeribitFees(
        row.option,
        row.delivery,
        row.most_of_premium,
        row.maker,
        row.taker,
        row.daily_delivery_is_free,
        row.nets_combos,
    )


DERIBIT_FEES = CoinFees()


def funding_rate(mark: Decimal, index: Decimal) -> Decimal:
    """Return the funding rate of a perpetual for eight hours, a fraction; longs pay it when positive.

    The premium (mark − index)/index beyond a damper of 0.025 % either way, at most 0.5 %. Source: Deribit,
    "Funding Specifications".

    >>> funding_rate(Decimal(100_100), Decimal(100_000))
    Decimal('0.00075')
    """
    damper, most, premium = Decimal("0.00025"), Decimal("0.005"), (mark - index) / index
    rate = max(damper, premium) + min(-damper, premium)
    return max(min(rate, most), -most)


def funding_payment(amount_usd: Decimal, index: Decimal, rate: Decimal, hours: Decimal) -> Decimal:
    """Return the funding that an inverse perpetual of ``amount_usd`` (signed) receives, in coin.

    It pays a negative amount. Funding flows continuously; ``rate`` is that of eight hours.
    """
    return -rate * amount_usd / index * hours / 8


def funding(
    instrument: Instrument,
    number: InstrumentId,
    held: Decimal,
    index: Decimal,
    rate: Decimal,
    hours: Decimal,
    reference: str,
    now_ns: int,
) -> list[PositionChanged]:
    """Return the funding that a holding of a perpetual receives or pays, to 8 decimals of its currency."""
    if not (held and instrument.is_perpetual):
        return []
    if instrument.is_inverse:
        cash = round(funding_payment(held * instrument.contract_size, index, rate, hours), PLACES)
    else:
        cash = round(-rate * instrument.value(held, index) * hours / 8, PLACES)
    terms = ChangeCause.FUNDING, ZERO, ZERO, cash, reference
    return [PositionChanged(number, now_ns, now_ns, *terms)] if cash else []


class _MarginRates(NamedTuple):
    """Margin in coin: to open, and to keep."""

    initial: Decimal
    maintenance: Decimal


def short_option_margin(right: Right, strike: Decimal, spot: Decimal, mark: Decimal) -> _MarginRates:
    """Return the margin of one sold option, in coin a coin of size; ``mark`` is its price in coin.

    >>> short_option_margin(Right.CALL, Decimal(110_000), Decimal(100_000), Decimal("0.02"))
    _MarginRates(initial=Decimal('0.12'), maintenance=Decimal('0.095'))
    """
    beyond = max(strike - spot if right is Right.CALL else spot - strike, Decimal(0)) / spot
    initial = max(_SHORT_RATE - beyond, _SHORT_FLOOR) + mark
    if right is Right.CALL:
        return _MarginRates(initial, _SHORT_MAINTENANCE + mark)
    maintenance = max(_SHORT_MAINTENANCE, _SHORT_MAINTENANCE * mark) + mark
    return _MarginRates(max(initial, maintenance), maintenance)


def perpetual_margin(coin: str, coins: Decimal) -> _MarginRates:
    """Return the margin of a perpetual of so many coins (unsigned), in coin.

    >>> perpetual_margin("ETH", Decimal(1_000))
    _MarginRates(initial=Decimal('24.000000'), maintenance=Decimal('14.000000'))
    """
    growth = _PERPETUAL_GROWTH.get(coin, ZERO) * coins
    return _MarginRates((PERPETUAL_INITIAL + growth) * coins, (_PERPETUAL_MAINTENANCE + growth) * coins)
