from datetime import date, time
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.embedded.coin import FIRST_HISTORY, _levels, reconstruct_coin, smile_vol
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments, Right, occ_symbol
from scalpdesk.instruments.sessions import expiry_instant_ns, new_york_ns, session_on
from scalpdesk.marketdata.chain_surface import (
    ChainQuotes,
    ExpiryLabel,
    ExpiryQuotes,
    ForwardStatus,
    chain_quotes_at,
    fit_chain,
)
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.pricing import greeks
from scalpdesk.pricing.surface import FitVerdict
from scalpdesk_testing.kit.tape import tape_of_rows

DAY = date(2018, 2, 5)
NOON = new_york_ns(DAY, time(12, 0))
SECOND = 1_000_000_000
EXPIRIES = (date(2018, 2, 5), date(2018, 2, 9), date(2018, 3, 16))
STRIKES = range(90, 111, 2)
RATE, BORROW = 0.03, 0.01
SPOT = 100.0


def vol_of(strike, forward):
    return 0.3 - 0.4 * np.log(strike / forward)


def made_tape(*, moved_to=SPOT, dividends=(), without_puts_on=None, half_spread=0.01, rows_more=()):
    """American options on one smile, quoted a second before noon; the share then moves."""
    book = Instruments([Equity("XYZ")])
    rows = [(NOON - 2 * SECOND, 0, SPOT - 0.01, SPOT + 0.01)]
    for expiry in EXPIRIES:
        for strike in STRIKES:
            for right in Right:
                if right is Right.PUT and expiry == without_puts_on:
                    continue
                contract = us_option(occ_symbol("XYZ", expiry, right, Decimal(strike)), ["XYZ"])
                number = book.add(contract)
                years = (expiry_instant_ns(contract) - NOON) / 1e9 / 86_400 / 365
                vol = vol_of(strike, SPOT * np.exp((RATE - BORROW) * years))
                price = float(
                    greeks(SPOT, strike, years, vol, right.is_call, rate=RATE, dividend_yield=BORROW).price
                )
                bid = price - half_spread
                rows.append((NOON - SECOND, number, bid if bid > 0 else float("nan"), price + half_spread))
    rows.append((NOON - SECOND // 2, 0, moved_to - 0.01, moved_to + 0.01))
    rows.extend(rows_more)
    rows.sort(key=lambda row: row[0])
    return tape_of_rows(book, rows, DAY, RATE, dividends=tuple(dividends))


def test_forward_borrow_and_smile_of_american_options_are_found():
    fitted = fit_chain(chain_quotes_at(made_tape(), NOON))
    assert [expiry.label for expiry in fitted.surface.expiries] == [
        ExpiryLabel(expiry, "XYZ") for expiry in EXPIRIES
    ]
    for expiry in fitted.surface.expiries:
        forward = fitted.forwards[expiry.label]
        assert forward.status is ForwardStatus.OK
        assert forward.forward == pytest.approx(SPOT * np.exp((RATE - BORROW) * expiry.years), abs=2e-3)
        assert expiry.verdict is (FitVerdict.OK if expiry.years > 1 / 365 else FitVerdict.FEW_QUOTES)
        assert expiry.share_inside == 1.0
        assert expiry.atm_vol == pytest.approx(0.3, abs=2e-3)
        assert expiry.risk_reversal <= 0.0  # one quote alone has no skew
    assert fitted.forwards[ExpiryLabel(EXPIRIES[2], "XYZ")].borrow == pytest.approx(BORROW, abs=1e-3)
    assert str(ExpiryLabel(EXPIRIES[2], "XYZ")) == "2018-03-16 XYZ"


def test_the_surface_prices_every_quote_of_the_chain_back_inside():
    """Also the options in the money, which the fit never saw."""
    chain = chain_quotes_at(made_tape(), NOON)
    fitted = fit_chain(chain)
    for entry in chain.expiries:
        forward, expiry = (
            fitted.forwards[entry.label],
            next(one for one in fitted.surface.expiries if one.label == entry.label),
        )
        price = greeks(
            forward.pricing_spot,
            entry.strike,
            entry.years,
            expiry.vol(entry.strike),
            entry.is_call,
            rate=RATE,
            dividend_yield=forward.pricing_borrow,
        ).price
        low = np.where(np.isnan(entry.bid), 0.0, entry.bid)
        assert ((price >= low - 1e-9) & (price <= entry.ask + 1e-9)).all()


def test_a_quote_answers_to_the_share_of_its_own_moment():
    """The share has moved half a dollar since the options were quoted: nothing of the smile changes."""
    still = fit_chain(chain_quotes_at(made_tape(), NOON)).surface
    moved = fit_chain(chain_quotes_at(made_tape(moved_to=SPOT + 0.5), NOON)).surface
    assert moved.spot == pytest.approx(SPOT + 0.5)
    for then, now in zip(still.expiries, moved.expiries, strict=True):
        assert now.forward == pytest.approx(then.forward * moved.spot / still.spot, abs=0.02)
        assert now.atm_vol == pytest.approx(then.atm_vol, abs=2e-3)
        assert now.verdict is then.verdict


def test_only_what_was_known_and_is_young_enough_counts():
    later = [(NOON + SECOND, 1, 50.0, 51.0)]
    chain = chain_quotes_at(made_tape(rows_more=later), NOON)
    assert np.nanmax(chain.expiries[0].bid) < 12.0
    assert chain_quotes_at(made_tape(), NOON, max_age_seconds=0.75).expiries == ()
    assert len(chain_quotes_at(made_tape(), NOON, max_age_seconds=1.5).expiries) == 3


def test_an_expiry_that_is_over_is_left_out():
    tape = made_tape()
    close = session_on(DAY).close_ns
    assert len(chain_quotes_at(tape, close - SECOND).expiries) == 3
    assert len(chain_quotes_at(tape, close).expiries) == 2


def test_seconds_before_its_end_an_expiry_is_still_fitted():
    fitted = fit_chain(chain_quotes_at(made_tape(), session_on(DAY).close_ns - SECOND))
    first = fitted.surface.expiries[0]
    assert first.years == pytest.approx(1 / 365 / 86_400)
    assert first.smile is not None
    assert np.isfinite(first.atm_vol)


def test_without_pairs_the_forward_is_carried_at_the_best_known_borrow():
    fitted = fit_chain(chain_quotes_at(made_tape(without_puts_on=EXPIRIES[1]), NOON))
    forward = fitted.forwards[ExpiryLabel(EXPIRIES[1], "XYZ")]
    assert forward.status is ForwardStatus.ASSUMED
    assert forward.borrow == pytest.approx(BORROW, abs=1e-3)
    assert fitted.surface.expiries[1].atm_vol == pytest.approx(0.3, abs=3e-3)


def test_known_dividends_lie_ahead_in_years_of_their_own():
    ahead = CashDividend("XYZ", date(2018, 2, 14), Decimal("0.75"))
    past = CashDividend("XYZ", DAY, Decimal(9))
    other = CashDividend("ABC", date(2018, 2, 14), Decimal(9))
    chain = chain_quotes_at(made_tape(dividends=(past, ahead, other)), NOON)
    ((years, amount, noticed),) = chain.dividends
    assert amount == 0.75
    opens = new_york_ns(date(2018, 2, 14), time(9, 30))
    assert years == pytest.approx((opens - NOON) / 1e9 / 86_400 / 365)
    last = new_york_ns(date(2018, 2, 13), time(17, 30))  # a holder's notice of exercise
    assert noticed == pytest.approx((last - NOON) / 1e9 / 86_400 / 365)


def test_a_refit_starts_from_the_last_chain():
    chain = chain_quotes_at(made_tape(), NOON)
    first = fit_chain(chain)
    again = fit_chain(chain, previous=first, clock_name="calendar-365")
    for one, other in zip(first.surface.expiries, again.surface.expiries, strict=True):
        assert other.vol(other.strike) == pytest.approx(one.vol(one.strike), rel=1e-3)


def test_before_the_first_quote_of_the_share_there_is_no_chain():
    with pytest.raises(DataError, match="not quoted yet"):
        chain_quotes_at(made_tape(), NOON - 10 * SECOND)


def test_american_options_with_a_cash_dividend_ahead_are_seen_through():
    strike = np.repeat(np.arange(90.0, 111.0, 4.0), 2)
    is_call = np.tile([True, False], len(strike) // 2)
    dividends = [(0.05, 0.8)]
    price = greeks(SPOT, strike, 0.12, 0.25, is_call, rate=RATE, dividends=dividends).price
    entry = ExpiryQuotes(
        ExpiryLabel(EXPIRIES[2], "XYZ"),
        0.12,
        "american",
        strike,
        is_call,
        price - 0.01,
        price + 0.01,
        np.full(len(strike), SPOT),
    )
    fitted = fit_chain(ChainQuotes(NOON, SPOT, (entry,), lambda _days: RATE, dividends))
    forward = fitted.forwards[entry.label]
    assert forward.forward == pytest.approx(
        (SPOT - 0.8 * np.exp(-RATE * 0.05)) * np.exp(RATE * 0.12), abs=1e-3
    )
    assert forward.borrow == pytest.approx(0.0, abs=2e-4)
    (expiry,) = fitted.surface.expiries
    assert expiry.vol(np.array([94.0, 98.0, 106.0])) == pytest.approx(0.25, abs=5e-4)
    assert expiry.share_inside == 1.0


def test_prices_in_coin_give_the_surface_that_the_coin_market_was_drawn_with():
    tape = reconstruct_coin(date(2025, 3, 5), date(2025, 3, 5))
    chain = chain_quotes_at(tape, tape.sessions[0].open_ns + 3_600 * 10**9)
    fitted = fit_chain(chain).surface
    level = _levels(1)[(date(2025, 3, 5) - FIRST_HISTORY).days]
    for entry in fitted.expiries:
        assert entry.forward == pytest.approx(chain.spot, rel=2e-4)
        wanted = smile_vol(level, np.array([entry.years]), np.zeros(1))[0]
        half_a_tick = 0.00025 / (0.4 * np.sqrt(entry.years))  # of an option at the money, in volatility
        assert float(fitted.vol(entry.forward, entry.years)) == pytest.approx(wanted, abs=half_a_tick)
