"""Least value of an option, and its value without a quote: the broker's guard against stale prices."""

import math
from decimal import Decimal

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, SECONDS_PER_YEAR, exact
from scalpdesk.instruments.contract import OptionContract, Style
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.quotes import mark_price
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.pricing.scalar import implied_vol_scalar, option_greeks

_OLD_NS = MINUTE_NS
"""A quote this much older than its underlying's is of another spot."""
_WIDE, _FEW_TICKS = 0.25, 4
"""Fraction of the mid, and ticks: with a spread above both, a trader would not trade at the price."""
_LARGEST_CARRY = 0.10
"""Interest and yield a year that may bring a European option below its payoff."""
EUROPEAN = ContractPricer(Style.EUROPEAN)


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
    carry = _LARGEST_CARRY * years_left(contract, spot.ts_recv_ns) * strike
    return max(payoff - carry, 0.0) / (mark_price(spot) if contract.is_inverse else 1.0)


def credible_price(
    contract: OptionContract, quote: QuoteEvent, spot: QuoteEvent | None, price: Decimal, sign: int
) -> Decimal | None:
    """Return the price of a trade in an option, or None where it would be of another spot.

    No trade is made at a quote whose ask lies below the payoff: a seller there would give money away.
    A sale below the payoff happens only at the bid of a fresh and narrow quote, never at a limit below it.

    ``contract``, ``quote``, ``spot``: The option, its quote and its underlying's; without that one nothing is
    judged.
    ``price``: By the fill model, currency per unit.
    ``sign``: +1 for a buy, -1 for a sell.
    """
    if spot is None:
        return price
    least = least_value(contract, spot)
    if float(price) >= least:
        return price
    spread = quote.ask - quote.bid
    if not quote.ask >= least or spot.ts_recv_ns - quote.ts_recv_ns > _OLD_NS:
        return None
    if sign > 0:
        return price
    few = _FEW_TICKS * float(contract.tick_rule.tick_at(exact(quote.ask)))
    if spread > _WIDE * quote.mid and spread > few + 1e-12:
        return None
    return max(price, exact(quote.bid)) if quote.bid > 0 else price


def quoted_vol(contract: OptionContract, quote: QuoteEvent, spot: QuoteEvent) -> float | None:
    """Return the volatility (fraction a year) of an option's last quote, without interest and yield."""
    years, price, at = years_left(contract, quote.ts_recv_ns), mark_price(quote), mark_price(spot)
    if years <= 0.0 or not (math.isfinite(price) and math.isfinite(at)) or not at > 0.0:
        return None
    return EUROPEAN.implied_vol(contract, price, at, years, 0.0, 0.0)


def value_without_quote(contract: OptionContract, spot: QuoteEvent, vol: float | None, now_ns: int) -> float:
    """Return the value of an option at its last volatility and the present spot, at least its payoff."""
    price, years = mark_price(spot), years_left(contract, now_ns)
    if not price > 0.0:
        return 0.0
    value = EUROPEAN.greeks(contract, price, years, vol or 0.0, 0.0, 0.0).price
    return max(value, least_value(contract, spot))


def put_of_call(
    contract: OptionContract, spot: float, call: float, years: float, rate: float, ahead: float
) -> float:
    """Return the price of an American put at the volatility of its strike's call, currency per unit.

    ``ahead`` are the dividends until the expiry, currency a share.
    """
    strike = float(contract.strike)
    vol, status = implied_vol_scalar(call, spot - ahead, strike, years, True, rate, american=False)
    return option_greeks(spot, strike, years, vol if status == "ok" else 0.0, False, rate).price
