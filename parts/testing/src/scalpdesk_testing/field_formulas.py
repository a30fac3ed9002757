"""Formulas that the worked cases state and the desk does not compute with.

References
----------
Politis, D. and Romano, J. (1994), "The Stationary Bootstrap", JASA 89.
91 FR 20731 (end of the pattern-day-trader rule on 2026-06-04).
Bailey, D. and López de Prado, M. (2012, 2014), "The Sharpe Ratio Efficient Frontier" and "The Deflated
Sharpe Ratio".
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from scalpdesk.base import ZERO, ArgumentError
from scalpdesk.margin.holdings import Holding, Requirement, by_underlying
from scalpdesk.margin.pairing import Pairing
from scalpdesk.pricing.kernels.black_iv import OK, european_iv
from scalpdesk.pricing.kernels.european import european_greeks

_DAY_TRADE_EQUITY = Decimal(25_000)
_DAY_TRADES_FLAGGED, _DAY_TRADE_SHARE = 4, Decimal("0.06")
_DAY_RULE_ENDED, _DAY_RULE_KEPT_UNTIL = date(2026, 6, 4), date(2027, 10, 20)


_NORMAL = NormalDist()


_EULER_MASCHERONI = 0.5772156649015329


def bootstrap_error_of_mean(pnl: Sequence[float], mean_block: float) -> float:
    """Return the exact standard error of the mean under the stationary bootstrap (USD)."""
    centred = np.asarray(pnl) - np.mean(pnl)
    number, stay = len(centred), 1 - 1 / mean_block
    variance = float(centred @ centred) / number
    for lag in range(1, number):
        weight = (1 - lag / number) * stay**lag + lag / number * stay ** (number - lag)
        variance += 2 * weight * float(centred[:-lag] @ centred[lag:]) / number
    return math.sqrt(max(variance, 0.0) / number)


def probabilistic_sharpe(
    per_period: float, number: int, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float:
    """Return the probability that the true Sharpe ratio per period is above `benchmark`.

    ``per_period``: Measured ratio per period, from `number` periods.
    ``number``: Periods, two or more.
    ``skew``, ``kurtosis``: Moments of the amounts; 0 and 3 for normal amounts.
    ``benchmark``: Ratio per period to beat.
    """
    spread = 1 - skew * per_period + (kurtosis - 1) / 4 * per_period**2
    return _NORMAL.cdf((per_period - benchmark) * math.sqrt(number - 1) / math.sqrt(spread))


def best_of_trials(trials: int, deviation: float) -> float:
    """Return the highest Sharpe ratio per period to expect of `trials` without any skill.

    ``trials``: Independent variants tried, 1 or more.
    ``deviation``: Standard deviation of their ratios per period.
    """
    if trials == 1:
        return 0.0
    return deviation * (
        (1 - _EULER_MASCHERONI) * _NORMAL.inv_cdf(1 - 1 / trials)
        + _EULER_MASCHERONI * _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    )


def har_value(coefficients: Sequence[float], regressors: Sequence[float]) -> float:
    """Linear HAR value: constant plus coefficients times (day, week, month, ...).

    References
    ----------
    Corsi, F. (2009), A simple approximate long-memory model of realized volatility, Journal of
    Financial Econometrics 7(2), 174-196.

    Examples
    --------
    >>> round(har_value((0.01, 0.35, 0.35, 0.22), (0.15, 0.18, 0.16)), 6)
    0.1607
    """
    constant, *slopes = coefficients
    return constant + math.fsum(b * x for b, x in zip(slopes, regressors, strict=True))


def swap_variance_of_quotes(
    forward: float, years: float, rate: float, quotes: Sequence[tuple[float, float]]
) -> float:
    """Return the annual variance of a variance swap from out-of-the-money mids (Carr–Madan 1998; Cboe VIX).

    ``forward``: Forward of the expiry, currency per unit.
    ``years``: To expiry, on the clock of the wanted variance.
    ``rate``: Continuous, a fraction a year of the same clock.
    ``quotes``: Strike and mid of the out-of-the-money option, ascending strikes; at the last strike up to the
    forward the mean of call and put.

    >>> swap_variance_of_quotes(100.0, 1.0, 0.0, [(90.0, 0.0), (100.0, 2.0), (110.0, 0.0)])
    0.004
    """
    strikes = np.array([strike for strike, _ in quotes])
    mids = np.array([mid for _, mid in quotes])
    widths = np.gradient(strikes)
    nearest = float(strikes[strikes <= forward].max())
    total = 2.0 * math.exp(rate * years) * float((widths / strikes**2 * mids).sum())
    return (total - (forward / nearest - 1.0) ** 2) / years


class _QuotedVol(NamedTuple):
    """Volatilities (fractions a year) of a quote on the out-of-the-money side; None without one."""

    bid: float | None
    mid: float | None
    ask: float | None
    """``bid``, ``mid``, ``ask``: volatilities of the three prices."""
    vega: float | None
    """At the mid, currency per 1.00 of volatility and unit of the underlying."""
    deviation: float | None
    """Standard deviation of the mid's volatility: the spread over 2·√3·vega."""


def quoted_vol(
    forward: float, strike: float, is_call: bool, bid: float, ask: float, years: float, discount: float = 1.0
) -> _QuotedVol:
    """Return the volatilities of a European quote; an in-the-money one is turned over by parity first.

    Prices are currency per unit; ``years`` runs to expiry on the clock of the volatility.
    """
    over = discount * (forward - strike) * (1.0 if is_call else -1.0)
    if over > 0.0:
        bid, ask, is_call = bid - over, ask - over, not is_call
    phi = 1.0 if is_call else -1.0

    def implied(price: float) -> float | None:
        vol, status = european_iv(price / discount, phi, forward, strike, years, 0.0, 0.0)
        return vol if status == OK and price > 0.0 else None

    mid = implied(0.5 * (bid + ask))
    if mid is None:
        return _QuotedVol(implied(bid), None, implied(ask), None, None)
    vega = discount * european_greeks(phi, forward, strike, years, mid, 0.0, 0.0)[4]
    return _QuotedVol(implied(bid), mid, implied(ask), vega, (ask - bid) / (2.0 * math.sqrt(3.0) * vega))


def interpolate_par_yields(yields: Mapping[float, float], days: float) -> float:
    """Interpolate the par yield for ``days`` to maturity: linear between points, flat outside, not rounded.

    ``yields``: Days to maturity to yield, in any one unit (fractions or per cent).
    ``days``: Days to maturity.

    In the unit of ``yields``.

    Raises ArgumentError when there is no point, or one is not finite or not after day 0.

    >>> round(interpolate_par_yields({30: 0.0530, 60: 0.0525, 90: 0.0520}, 45), 6)
    0.05275
    """
    points = sorted((float(day), float(rate)) for day, rate in yields.items())
    if not points:
        raise ArgumentError("a curve needs at least one point", where="yields", value=dict(yields))
    for day, rate in points:
        if not (np.isfinite(day) and np.isfinite(rate) and day > 0.0):
            raise ArgumentError(
                "a point of a curve is a finite rate at a day above 0", where=f"yields[{day:g}]", value=rate
            )
    return float(np.interp(days, [day for day, _ in points], [rate for _, rate in points]))


def expiry_payoff_coin(spot: float, strike: float, is_call: bool) -> float:
    """Return the payoff of one option in coin at the delivery price ``spot`` (USD): (S − K)⁺/S, (K − S)⁺/S.

    Raises ArgumentError when the spot is not above 0.

    >>> expiry_payoff_coin(125_000.0, 100_000.0, True)
    0.2
    """
    if not spot > 0.0:
        raise ArgumentError("a delivery price must be above zero", where="spot", value=spot)
    return max(spot - strike if is_call else strike - spot, 0.0) / spot


def perpetual_pnl_coin(amount_usd: float, entry: float, exit_price: float) -> float:
    """Return the profit in coin of an inverse perpetual of ``amount_usd`` (signed): A·(1/entry − 1/exit).

    Raises ArgumentError when a price is not above 0.

    >>> round(perpetual_pnl_coin(100_000.0, 50_000.0, 55_000.0), 9)
    0.181818182
    """
    for name, price in (("entry", entry), ("exit_price", exit_price)):
        if not price > 0.0:
            raise ArgumentError("a price must be above zero", where=name, value=price)
    return amount_usd * (1.0 / entry - 1.0 / exit_price)


def perpetual_target_usd(options: float, premium_adjusted_delta: float, spot: float) -> float:
    """USD amount of the perpetual that makes the coin value of ``options`` (signed coins) flat.

    >>> round(perpetual_target_usd(5.0, 0.478779315628, 100_000.0), 2)
    -239389.66
    """
    return -options * premium_adjusted_delta * spot


def requirement(holdings: Iterable[Holding], spot: Callable[[str], Decimal]) -> Requirement:
    """Return the margin of a margin account's holdings.

    ``holdings``: Valued at present prices.
    ``spot``: Price of an underlying by its symbol, currency per unit.
    """
    groups = [(group, spot(symbol)) for symbol, group in by_underlying(holdings).items()]
    return Requirement(
        sum((Pairing(*group, is_overnight=True).initial for group in groups), ZERO),
        sum((Pairing(*group).maintenance for group in groups), ZERO),
    )


class DayTradeRegime(StrEnum):
    """Which rule of day trading applies."""

    PATTERN_DAY_TRADER = "pattern_day_trader"
    INTRADAY_MARGIN = "intraday_margin"


class _DayTradeVerdict(NamedTuple):
    """Verdict of the day-trade rule on an account."""

    regime: DayTradeRegime
    flagged: bool
    blocked: bool


def day_trade_rule(
    day: date,
    *,
    day_trades: int,
    trades: int,
    equity: Decimal,
    required: Decimal = ZERO,
    adopted: bool = True,
) -> _DayTradeVerdict:
    """Judge an account by the day-trade rule of a day.

    Until 2026-06-03 four day trades within five days that are more than 6 % of all trades flag a pattern day
    trader, who must hold 25,000; a firm may keep that rule until 2027-10-20. After it, only an intraday
    margin deficit blocks.

    ``day_trades``, ``trades``: Round trips within a day and all trades, over five sessions.
    ``equity``, ``required``: Of the account, and its margin within the day; currency.
    ``adopted``: Whether the firm has taken the new rule.
    """
    is_old = day < _DAY_RULE_ENDED or (not adopted and day <= _DAY_RULE_KEPT_UNTIL)
    if not is_old:
        return _DayTradeVerdict(DayTradeRegime.INTRADAY_MARGIN, flagged=False, blocked=required > equity)
    flagged = day_trades >= _DAY_TRADES_FLAGGED and day_trades > _DAY_TRADE_SHARE * trades
    return _DayTradeVerdict(
        DayTradeRegime.PATTERN_DAY_TRADER, flagged=flagged, blocked=flagged and equity < _DAY_TRADE_EQUITY
    )
