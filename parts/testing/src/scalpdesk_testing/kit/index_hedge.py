"""A straddle on an index that expires today, and what hedges it: rules of the gamma scalper and a market."""

import math
from collections.abc import Callable, Container
from dataclasses import replace
from datetime import date

from scalpdesk.base import MINUTE_NS, Instrument, Instruments, us_option
from scalpdesk.instruments.contract import Index
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk_testing.kit.tape import TapeBuilder, at

DAY = date(2021, 1, 4)
RULES = (
    "underlying=SPXW",
    "straddles=20",
    "selection.strike=3700",
    "selection.expiry=2021-01-04",
    "selection.min_expiration_days=0",
    "selection.min_open_interest=-1",
    "entry.gate=off",
    "exits.min_dte=none",
    "exits.stop_fraction=none",
    "exits.arm_fraction=none",
    "exits.edge_gone=false",
    "exits.flat_minutes_before_close=285",
    "hedge.threshold_shares=2",
    "simulation.starting_cash=20000000",
    "simulation.displayed_sizes=false",
)
LEVELS = [round(3700.0 + 37.0 * math.sin(minute / 9.0), 1) for minute in range(90)]
"""An index that swings by 1 % around 3,700, by the minute from 10:00."""


def straddle_market(
    hedge: Instrument,
    price_of: Callable[[float, int], float],
    *,
    spread: float = 0.0,
    every: int = 1,
    wide: Container[int] = (),
) -> MarketTape:
    """Return the index, the straddle, and what hedges (number 3), quoted each ``every`` minutes.

    In the minutes ``wide`` the options are quoted too wide to measure a volatility.
    """
    legs = [us_option(f"SPXW210104{right}03700000") for right in "CP"]
    builder = TapeBuilder(Instruments([Index("SPX"), *legs, hedge]), days=(DAY,))
    for minute, level in enumerate(LEVELS):
        now_ns = at("10:00", DAY) + minute * MINUTE_NS
        if minute % every == 0:
            price = price_of(level, minute)
            builder.quote(3, now_ns, price - spread / 2, price + spread / 2, 1e6, 1e6)
        builder.spot(now_ns, level, spread=0.0, option_spread=60.0 if minute in wide else 0.1)
    return replace(builder.build(), hedge=hedge.symbol, quote_seconds=60.0)
