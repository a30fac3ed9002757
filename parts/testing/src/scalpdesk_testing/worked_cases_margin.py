"""Worked cases of buying power: the names of the case file, and the desk's own functions behind them."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from scalpdesk.core.intents import Side
from scalpdesk.instruments.contract import Equity, Instrument, OptionContract, Right, Settlement, Style
from scalpdesk.instruments.ticks import CENT_TICK
from scalpdesk.margin import regulation_t as margin
from scalpdesk.margin.holdings import Holding
from scalpdesk_testing import field_formulas

Answer = dict[str, Any]

EXPIRY = date(2026, 12, 18)
LOAN_MONTHS, LOAN_SHARE = 9, Decimal("0.75")
"""Regulation T: an option of more than so many months may be bought for that share of its price. The product
asks for the whole price of each.
"""


def _exact(value: float) -> Decimal:
    return Decimal(str(value))


def _option(cp: str, strike: float, underlying: str) -> OptionContract:
    right = Right(cp)
    symbol = f"{underlying}{cp}{strike}"
    return OptionContract(
        symbol,
        underlying,
        underlying,
        EXPIRY,
        _exact(strike),
        right,
        Style.AMERICAN,
        Settlement.PHYSICAL,
        CENT_TICK,
    )


def _margin(
    kind: str,
    S: float = 0.0,
    shares: float = 100,
    price: float = 0.0,
    cp: str = "C",
    K: float = 0.0,
    K2: float = 0.0,
    price2: float = 0.0,
    K_long: float = 0.0,
    price_long: float = 0.0,
    qty: float = 1,
    account: str = "margin",
    months: float = 0.0,
    *,
    broad: bool = False,
) -> Answer:
    underlying = "SPX" if broad else "SHARE"

    def line(instrument: Instrument, quantity: float, at: float) -> Holding:
        return Holding(instrument, _exact(quantity), _exact(at))

    def option(right: str, strike: float, quantity: float, at: float) -> Holding:
        return line(_option(right, strike, underlying), quantity, at)

    share = Equity(underlying)
    far = 10 * S  # the case file gives a covered call no strike
    lines = {
        "long_stock": lambda: [line(share, shares, S)],
        "short_stock": lambda: [line(share, -shares, S)],
        "long_option": lambda: [option(cp, K or 1.0, qty, price)],
        "short_option": lambda: [option(cp, K, -qty, price)],
        "short_straddle": lambda: [option("C", K, -qty, price), option("P", K2, -qty, price2)],
        "spread": lambda: [option(cp, K, -qty, price), option(cp, K_long, qty, price_long)],
        "covered_call": lambda: [line(share, shares, S), option("C", far, -qty, price)],
        "protective_put": lambda: [line(share, shares, S), option("P", K, qty, price)],
        "protective_call": lambda: [line(share, -shares, S), option("C", K, qty, price)],
        "straddle_book": lambda: [
            option("C", K, qty, price),
            option("P", K, qty, 0.0),
            line(share, shares, S),
        ],
    }[kind]()
    proceeds = -sum(
        (line.value for line in lines if line.quantity < 0 and line.instrument.is_option),
        Decimal(0),
    )
    if account == "cash":
        need = margin.cash_requirement(lines)
        if need is None:
            return {"initial": None, "maintenance": None, "cash_needed": None}
        return {"initial": need, "maintenance": need, "cash_needed": need - proceeds}
    if kind == "long_option" and months > LOAN_MONTHS:
        need = LOAN_SHARE * sum((line.value for line in lines), Decimal(0))
        return {"initial": need, "maintenance": need, "cash_needed": need}
    asked = field_formulas.requirement(lines, lambda _symbol: _exact(S))
    return {
        "initial": asked.initial,
        "maintenance": asked.maintenance,
        "cash_needed": asked.initial - proceeds,
    }


def _day_trades(
    day: str, day_trades: int, trades: int, equity: float, required: float = 0.0, *, adopted: bool = True
) -> Answer:
    verdict = field_formulas.day_trade_rule(
        date.fromisoformat(day),
        day_trades=day_trades,
        trades=trades,
        equity=_exact(equity),
        required=_exact(required),
        adopted=adopted,
    )
    return {"regime": verdict.regime.value, "flagged": verdict.flagged, "blocked": verdict.blocked}


def _power(
    account: str,
    equity: float,
    initial_required: float = 0.0,
    maintenance_required: float = 0.0,
    settled_cash: float = 0.0,
    *,
    day_trading: bool = False,
) -> Answer:
    power = margin.buying_power(
        _exact(equity),
        _exact(initial_required),
        _exact(maintenance_required),
        multiplier=1 if account == "cash" else 4 if day_trading else 2,
        settled_cash=_exact(settled_cash),
    )
    return {"stock": power.shares, "options": power.options}


def _level(
    legs: Sequence[Sequence[Any]], shares: float = 0, cash: float | None = None, *, as_one_order: bool = False
) -> Answer:
    """``cash`` secures sold puts by their strikes, except in one order; None says that there is enough."""
    wanted = [
        (Side(side), _option(cp, strike, "SHARE"), _exact(contracts)) for side, cp, strike, contracts in legs
    ]
    level = margin.least_options_level(wanted, _exact(shares), as_one_order=as_one_order)
    if cash is not None and not as_one_order:
        sold = [(put, count) for side, put, count in wanted if side is Side.SELL and put.right is Right.PUT]
        if sum((put.strike * put.multiplier * count for put, count in sold), Decimal(0)) > _exact(cash):
            level = margin.UNCOVERED
    return {"result": None if level == margin.UNCOVERED else level}


BINDINGS: dict[str, Callable[..., Answer]] = {
    "reg_t_margin": _margin,
    "buying_power": _power,
    "day_trade_rule": _day_trades,
    "alpaca_level": _level,
}
"""Function of the case file to the adapter that answers it."""
