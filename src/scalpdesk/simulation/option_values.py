"""Least value of an option, and its value without a quote: the broker's guard against stale prices."""

import math
from decimal import Decimal

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, SECONDS_PER_YEAR, exact
from scalpdesk.instruments.contract import OptionContract, Style
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.pricing.scalar import implied_vol_scalar, option_greeks

OLD_NS = MINUTE_NS
"""A quote this much older than its underlying's is of another spot."""
WIDE, FEW_TICKS = 0.25, 4
"""Fraction of the mid, and ticks: with a spread above both, a trader would not trade at the price."""
LARGEST_CARRY = 0.10
"""Interest and yield a year that may bring a European option below its payoff."""
PAYOFF_ERROR = 0.005
"""Half a tick: an option is worth its payoff to this."""


def years_left(contract: OptionContract, now_ns: int) -> float:
    """Return ACT/365 years to the expiry instant, at least 0."""
    return max(expiry_instant_ns(contract) - now_ns, 0) / (SECONDS_PER_YEAR * NANOS_PER_SECOND)


def least_value(contract: OptionContract, spot: QuoteEvent) -> float:
    """Return what an option is worth at least, currency per unit: its payoff at the underlying's far side.

    A European option may be worth less by the interest and yield until its expiry; an inverse one pays in
    coin.
    """
    strike = float(contract.strike)
    payoff = spot.bid - strike if contract.is_call else strike - spot.ask
    if not payoff > 0.0:  # NaN: the underlying has no such side
        return 0.0
    if contract.style is Style.AMERICAN:
        return payoff
    carry = LARGEST_CARRY * years_left(contract, spot.ts_recv_ns) * strike
    return max(payoff - carry, 0.0) / (mark_price(spot) if contract.is_inverse else 1.0)


def credible_price(
    contract: OptionContract, quote: QuoteEvent, spot: QuoteEvent | None, price: Decimal, sign: int
) -> Decimal | None:
    """Return the price of a trade in an option, or None where it would be of another spot.

    No trade is made at a quote whose ask lies below the payoff: a seller there would give money away.
    A sale below the payoff happens only at the bid of a fresh and narrow quote, never at a limit below it.

    Parameters
    ----------
    contract, quote, spot
        The option, its quote and its underlying's; without that one nothing is judged.
    price
        By the fill model, currency per unit.
    sign
        +1 for a buy, -1 for a sell.
    """
    if spot is None:
        return price
    least = least_value(contract, spot)
    if float(price) >= least:
        return price
    spread = quote.ask - quote.bid
    if not quote.ask >= least or spot.ts_recv_ns - quote.ts_recv_ns > OLD_NS:
        return None
    if sign > 0:
        return price
    few = FEW_TICKS * float(contract.tick_rule.tick_at(exact(quote.ask)))
    if spread > WIDE * quote.mid and spread > few + 1e-12:
        return None
    return max(price, exact(quote.bid)) if quote.bid > 0 else price


def quoted_vol(contract: OptionContract, quote: QuoteEvent, spot: QuoteEvent) -> float | None:
    """Return the volatility (fraction a year) of an option's last quote, without interest and yield."""
    years = years_left(contract, quote.ts_recv_ns)
    prices = mark_price(quote), mark_price(spot)
    if years <= 0.0 or not all(map(math.isfinite, prices)) or not prices[1] > 0.0:
        return None
    price = prices[0] * (prices[1] if contract.is_inverse else 1.0)
    strike = float(contract.strike)
    vol, status = implied_vol_scalar(price, prices[1], strike, years, contract.is_call, american=False)
    return vol if status == "ok" else None


def value_without_quote(contract: OptionContract, spot: QuoteEvent, vol: float | None, now_ns: int) -> float:
    """Return the value of an option at its last volatility and the present spot, at least its payoff."""
    price, years = mark_price(spot), years_left(contract, now_ns)
    if not price > 0.0:
        return 0.0
    value = option_greeks(
        price, float(contract.strike), years, vol or 0.0, contract.is_call, american=False
    ).price
    return max(value / (price if contract.is_inverse else 1.0), least_value(contract, spot))


def exercise_gain(
    contract: OptionContract,
    spot: float,
    opposite: float,
    *,
    years: float,
    rate: float,
    night_years: float,
    tonight: float,
    ahead: float,
) -> float | None:
    """Return what a holder gains by exercise at the close, per unit; None where holding is better.

    A call is exercised on the evening before an ex-date alone, when the dividend is more than the put of its
    strike and the interest on the strike (Merton 1973). A put is exercised when the interest on the strike is
    more than the call and the dividends, and it is worth no more than its payoff: what it loses then is the
    night's interest.

    Parameters
    ----------
    contract
        An American option that is in the money.
    spot, opposite
        Price of the underlying, and of the other option at the strike; currency per unit.
    years
        Until the expiry; ``night_years``: until the next opening.
    rate
        Continuously compounded, a fraction a year.
    tonight, ahead
        Dividends that go ex at the next opening, and until the expiry; currency a share.
    """
    strike = float(contract.strike)
    interest = strike * -math.expm1(-rate * years)
    if contract.is_call:
        gain = tonight - interest - opposite
        return gain if tonight and gain > 0.0 else None
    if interest <= opposite + ahead:
        return None
    vol, status = implied_vol_scalar(opposite, spot - ahead, strike, years, True, rate, american=False)
    worth = option_greeks(spot, strike, years, vol if status == "ok" else 0.0, False, rate).price
    gain = strike * -math.expm1(-rate * night_years) - tonight
    return gain if worth - (strike - spot) <= PAYOFF_ERROR and gain > 0.0 else None
