"""The ladder of a straddle on a fitted surface."""

import dataclasses
from datetime import date

import numpy as np
import pytest

from scalpdesk.datasets.embedded.market import reconstruct_span
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.chain_surface import chain_quotes_at, fit_chain
from scalpdesk.pricing.models import greeks
from scalpdesk.research.surface import straddle_ladder


def test_the_ladder_takes_the_cash_dividends_that_the_fit_took():
    """3.00 ex in 20 days, quotes of 0.02 around the price with it: without, the premium was 1,069.30."""
    day = session_on(date(2018, 3, 14))
    tape = reconstruct_span(day.day, day.day, seed=1)
    chain, paid = chain_quotes_at(tape, day.close_ns - 4 * 3_600 * 10**9), ((20 / 365, 3.0),)

    def priced(each):
        terms = {"rate": chain.rate_at(each.years * 365), "dividends": paid, "style": each.style}
        price = greeks(chain.spot, each.strike, each.years, 0.15, each.is_call, **terms).price
        spot = np.full_like(each.spot, chain.spot)
        return dataclasses.replace(each, bid=np.maximum(price - 0.01, 0.001), ask=price + 0.01, spot=spot)

    expiry = date(2018, 4, 20)
    every = tuple(priced(each) for each in chain.expiries if each.label.expiry == expiry)
    ladder = straddle_ladder(
        tape, fit_chain(dataclasses.replace(chain, expiries=every, dividends=paid)), expiry
    )
    at = every[0].strike == ladder["strike"]
    bid, ask = (100 * float(side[at].sum()) for side in (every[0].bid, every[0].ask))
    assert bid < ladder["premium_usd"] < ask


@pytest.mark.parametrize("late", [1.0, 1.002, 0.998])
def test_the_ladder_begins_at_the_premium_of_the_quotes_however_late_the_spot(late):
    day = session_on(date(2018, 2, 5))
    tape = reconstruct_span(day.day, day.day, seed=1)
    now_ns = day.close_ns - 2 * 3_600 * 10**9
    chain = chain_quotes_at(tape, now_ns)
    spot, strike = chain.spot, 267.0
    moved = [dataclasses.replace(each, spot=each.spot * late) for each in chain.expiries]
    fitted = fit_chain(dataclasses.replace(chain, spot=spot * late, expiries=tuple(moved)))
    ladder = straddle_ladder(tape, fitted, day.day)
    assert ladder["strike"] == strike
    nearest = chain.expiries[0]
    quoted = 100 * float(0.5 * (nearest.bid + nearest.ask)[nearest.strike == strike].sum())
    assert ladder["premium_usd"] == pytest.approx(quoted, abs=3.0)
    assert ladder["ladder"][6]["spot"] == pytest.approx(spot, abs=0.01)
