"""From quotes to gammas: where volatilities come from, what is missing, what the desk is told and when."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.embedded import market
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.sessions import expiry_instant_ns, session_on
from scalpdesk.marketdata import chain_gamma
from scalpdesk.marketdata.chain_gamma import (
    chain_of,
    exposure_event,
    exposure_events,
    price_chain,
    price_tape,
)
from scalpdesk.marketdata.dealer_gamma import gamma_exposure, repriced_exposure
from scalpdesk.pricing import greeks

DAY = date(2018, 2, 5)
SESSION = session_on(DAY)
NOON_NS = SESSION.open_ns + 9_000 * NANOS_PER_SECOND
NAN = float("nan")
SPOT, RATE, VOL = 100.0, 0.03, 0.25
STRIKES = range(90, 111, 2)


@pytest.fixture(scope="module")
def tape():
    return market.reconstruct(DAY, seed=1, underlying="SPY")


def contracts(expiry="180316", root="SPXW"):
    """Return European calls and puts around a spot of 100."""
    return [
        replace(us_option(f"{root}{expiry}{right}{strike * 1000:08d}", [root]), multiplier=10)
        for strike in STRIKES
        for right in "CP"
    ]


def quoted(options, *, half_spread=0.002):
    """Return bid and ask at one volatility."""
    strike = np.array([float(one.strike) for one in options])
    is_call = np.array([one.is_call for one in options])
    years = (expiry_instant_ns(options[0]) - NOON_NS) / NANOS_PER_SECOND / 86_400 / 365
    answer = greeks(SPOT, strike, years, VOL, is_call, rate=RATE, style="european")
    return answer.price - half_spread, answer.price + half_spread, answer.gamma


def priced(options, bid, ask, held=10.0):
    chain = chain_of(options, bid, ask, spot=SPOT, ts_ns=NOON_NS, rate=RATE)
    return price_chain(chain, options, {one.symbol: held for one in options})


def test_gammas_are_the_models_own_where_everything_is_quoted():
    options = contracts()
    bid, ask, gamma = quoted(options)
    found = priced(options, bid, ask)
    assert (found.from_quotes, found.from_smile) == (len(options), 0)
    np.testing.assert_allclose(found.rows.gamma, gamma, rtol=2e-3)
    np.testing.assert_allclose(found.rows.vol, VOL, rtol=2e-3)
    assert set(found.rows.multiplier) == {10.0}


def test_call_and_put_of_a_strike_share_one_volatility():
    options = contracts()
    bid, ask, _ = quoted(options)
    # the calls in the money are quoted far too high, and are not used
    for i, one in enumerate(options):
        if one.is_call and one.strike < 98:
            bid[i] += 3.0
            ask[i] += 3.0
    found = priced(options, bid, ask)
    np.testing.assert_allclose(found.rows.vol, VOL, rtol=5e-3)


def test_a_strike_without_two_sides_takes_the_smiles_volatility():
    options = contracts()
    bid, ask, gamma = quoted(options)
    for i, one in enumerate(options):
        if one.strike in (94, 104):
            bid[i] = NAN
    found = priced(options, bid, ask)
    assert (found.from_quotes, found.from_smile) == (len(options) - 4, 4)
    np.testing.assert_allclose(found.rows.gamma, gamma, rtol=0.02)


def american_chain(spot, *, borrow=0.0):
    """Return options of one, five and forty days, quoted at a spot of 100, beside another spot."""
    options, bid, ask = [], [], []
    for expiry in ("180206", "180210", "180316"):
        own = [
            us_option(f"SPY{expiry}{right}{strike * 1000:08d}") for strike in range(95, 106) for right in "CP"
        ]
        strike = np.array([float(one.strike) for one in own])
        is_call = np.array([one.is_call for one in own])
        years = (expiry_instant_ns(own[0]) - NOON_NS) / NANOS_PER_SECOND / 86_400 / 365
        price = greeks(SPOT, strike, years, VOL, is_call, rate=RATE, dividend_yield=borrow).price
        options, bid, ask = [*options, *own], [*bid, *(price - 0.002)], [*ask, *(price + 0.002)]
    chain = chain_of(options, np.array(bid), np.array(ask), spot=spot, ts_ns=NOON_NS, rate=RATE)
    return price_chain(chain, options, {one.symbol: 100.0 if one.is_call else 10.0 for one in options})


@pytest.mark.parametrize("spot", [99.75, 100.25])
def test_a_spot_of_another_moment_is_no_borrow_and_leaves_the_exposure_as_it_is(spot):
    right, late = american_chain(SPOT), american_chain(spot)
    borrows = [forward.borrow for forward in late.surface.forwards.values()]
    assert max(map(abs, borrows)) > 0.6
    priced_with = {forward.pricing_borrow for forward in late.surface.forwards.values()}
    assert len(priced_with) == 1
    # the last one's own: a quarter of a percent over forty days
    assert abs(priced_with.pop()) < 0.03
    of_late, of_right = (gamma_exposure(found.rows, found.spot) for found in (late, right))
    assert of_late.sum_usd == pytest.approx(of_right.sum_usd, rel=0.02)
    for (_, exposure), (_, expected) in zip(of_late.by_expiry, of_right.by_expiry, strict=True):
        assert exposure == pytest.approx(expected, abs=0.02 * of_right.sum_usd)


def test_a_borrow_that_all_expiries_show_is_priced_with_in_each():
    found = american_chain(SPOT, borrow=0.3)
    for forward in found.surface.forwards.values():
        assert forward.pricing_borrow == pytest.approx(0.3, abs=2e-3)
        assert forward.pricing_spot == pytest.approx(SPOT, abs=0.01)


@pytest.mark.second
def test_before_an_ex_date_the_closed_form_gives_the_exposure_to_three_percent():
    """An American gamma with cash dividends costs a price of its own for each option: 25 s a chain."""
    own = [us_option(f"SPY180316{right}{strike * 1000:08d}") for strike in range(86, 115) for right in "CP"]
    strike, is_call = np.array([float(one.strike) for one in own]), np.array([one.is_call for one in own])
    terms = {"rate": RATE, "dividends": [(0.05, 0.9)]}
    years = (expiry_instant_ns(own[0]) - NOON_NS) / NANOS_PER_SECOND / 86_400 / 365
    american = greeks(SPOT, strike, years, VOL, is_call, **terms)
    bid, ask = american.price - 0.002, american.price + 0.002
    chain = chain_of(own, bid, ask, spot=SPOT, ts_ns=NOON_NS, rate=RATE)
    held = {one.symbol: 30.0 if one.is_call else 10.0 for one in own}
    found = price_chain(replace(chain, dividends=terms["dividends"]), own, held)
    closed = greeks(SPOT, strike, years, VOL, is_call, style="european", **terms)
    np.testing.assert_allclose(found.rows.gamma, closed.gamma, rtol=5e-3)
    exact = gamma_exposure(replace(found.rows, gamma=american.gamma), SPOT)
    assert gamma_exposure(found.rows, SPOT).sum_usd == pytest.approx(exact.sum_usd, rel=0.03)


def test_the_profile_stands_on_the_forwards_of_the_quotes():
    options = contracts("180205")
    bid, ask, _ = quoted(options)
    chain = chain_of(options, bid, ask, spot=100.3, ts_ns=NOON_NS, rate=RATE)
    found = price_chain(chain, options, {one.symbol: 100.0 if one.is_call else 10.0 for one in options})
    exposure = gamma_exposure(found.rows, found.spot)
    here = repriced_exposure(
        found.rows, np.array([found.spot]), rate=found.rate, dividend_yield=found.borrow
    )[0]
    assert here == pytest.approx(exposure.sum_usd, rel=1e-9)


def test_an_expiry_that_nobody_quotes_has_no_gamma_and_lowers_the_coverage():
    near, far = contracts("180316"), contracts("180615")
    bid, ask, _ = quoted(near)
    both, empty = [*near, *far], np.full(len(far), NAN)
    found = priced(both, np.concatenate([bid, empty]), np.concatenate([ask, empty]))
    exposure = gamma_exposure(found.rows, SPOT)
    assert exposure.coverage == 0.5
    assert exposure.net_usd is None


def test_a_chain_without_any_quote_is_unknown_and_no_error():
    options = contracts()
    chain = chain_of([], np.empty(0), np.empty(0), spot=SPOT, ts_ns=NOON_NS, rate=RATE)
    found = price_chain(chain, options, {})
    assert found.surface is None
    event = exposure_event(found, "SPX", NOON_NS)
    assert np.isnan(event.exposure_usd)
    assert "coverage 0%" in event.reason


def test_what_has_expired_is_not_in_the_chain():
    gone, living = contracts("180205", "SPX"), contracts("180316")
    bid, ask, _ = quoted(living)
    options = [*gone, *living]
    chain = chain_of(
        options, np.tile(bid, 2), np.tile(ask, 2), spot=SPOT, ts_ns=SESSION.close_ns + 1, rate=RATE
    )
    assert [str(entry.label.expiry) for entry in chain.expiries] == ["2018-03-16"]


def test_the_embedded_market_is_covered_and_its_profile_passes_through_its_sum(tape):
    found = price_tape(tape, NOON_NS)
    exposure = gamma_exposure(found.rows, found.spot)
    assert exposure.coverage == 1.0
    here = repriced_exposure(
        found.rows, np.array([found.spot]), rate=found.rate, dividend_yield=found.borrow
    )[0]
    # rates and dividends are zero there: American gamma is Black–Scholes's
    assert exposure.net_usd == pytest.approx(here, rel=1e-3)


def test_a_word_uses_nothing_that_comes_later(tape):
    cut = replace(tape, quotes=tape.quotes.until(NOON_NS))
    whole, known = price_tape(tape, NOON_NS), price_tape(cut, NOON_NS)
    np.testing.assert_array_equal(whole.rows.gamma, known.rows.gamma)


def test_words_come_in_order_within_the_session_and_say_what_is_usual(tape):
    words = list(exposure_events(tape, every_seconds=3_600.0, usual_usd=(5e8, 1e8)))
    assert {(one.symbol, one.source) for one in words} == {("SPY", "chain")}
    assert {(one.usual_usd, one.near_usual_usd) for one in words} == {(5e8, 1e8)}
    # at the very open one option in twenty is quoted; a minute later all are
    assert words[0].reason == "coverage 5% is below 80%"
    known = words[1:]
    assert all(np.isfinite(one.exposure_usd) and np.isfinite(one.near_usd) for one in known)
    minutes = [(one.ts_recv_ns - SESSION.open_ns) / NANOS_PER_SECOND / 60 for one in words]
    assert minutes == [0.0, *range(1, 390, 60)]


def test_that_nothing_is_known_is_said_once_and_not_asked_every_minute(tape, monkeypatch):
    asked = []
    real = chain_gamma.price_tape

    def counted(tape, now_ns, *, previous=None):
        asked.append(now_ns)
        return real(tape, now_ns, previous=previous)

    monkeypatch.setattr(chain_gamma, "price_tape", counted)
    few = dict(list(tape.open_interest.items())[:20])
    words = list(exposure_events(replace(tape, open_interest=few), every_seconds=600.0))
    assert [bool(word.reason) for word in words] == [True]
    assert len(asked) <= 11 + 39


def test_a_tape_without_open_interest_says_nothing(tape):
    assert list(exposure_events(replace(tape, open_interest={}), every_seconds=600.0)) == []
