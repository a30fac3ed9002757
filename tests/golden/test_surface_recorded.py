"""Surfaces of recorded and reconstructed chains, held to the figures that docs/evidence/pricing.md states.

The chains of 2026 are snapshots of one moment each, read here as they are; the rest goes through the importer
and the tape. Arbitrage is looked for again with code of its own: prices of butterflies and calendar spreads.
"""

from datetime import date, time
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy.special import ndtr

from scalpdesk.datasets.catalog import load_tape
from scalpdesk.datasets.embedded import market
from scalpdesk.instruments.sessions import new_york_ns, session_on
from scalpdesk.marketdata.chain_surface import (
    ChainQuotes,
    ExpiryLabel,
    ExpiryQuotes,
    chain_quotes_at,
    fit_chain,
)
from scalpdesk.pricing import greeks
from scalpdesk.pricing.surface import FitVerdict

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
PAGE = (ROOT / "docs" / "evidence" / "pricing.md").read_text(encoding="utf-8")


def recorded(test):
    """Mark a test that needs the recorded data."""
    absent = pytest.mark.skipif(
        not DATA.is_dir(), reason="the recorded market data is not beside the project"
    )
    return pytest.mark.recorded(absent(test))


def rest(*rows):
    """Return rows of which the first stage has one like them."""
    return [pytest.param(each, marks=pytest.mark.second) for each in rows]


MAX_AGE_SECONDS = 150.0
RATE_2026 = 0.037


def black_call(k, root):
    """Undiscounted call over the forward."""
    return ndtr(-k / root + root / 2) - np.exp(k) * ndtr(-k / root - root / 2)


def assert_free_of_arbitrage(surface):
    """Butterflies of neighbouring strikes and calendar spreads at one moneyness are worth no less than 0."""
    earlier = None
    for expiry in surface.fitted:
        assert expiry.verdict is not FitVerdict.ARBITRAGE_LEFT, expiry.label
        width = 8.0 * float(np.sqrt(expiry.smile.total_variance(0.0)))
        strikes = np.linspace(np.exp(-width), np.exp(width), 2001)
        k = np.log(strikes)
        total = expiry.smile.total_variance(k)
        assert total.min() > 0.0
        price = black_call(k, np.sqrt(total))
        step = strikes[1] - strikes[0]
        assert np.diff(price).max() <= 1e-12, expiry.label
        assert np.diff(price, 2).min() >= -1e-3 * step**2 - 1e-12, expiry.label
        wide = np.linspace(-1.5, 1.5, 3001)
        later = expiry.smile.total_variance(wide)
        if earlier is not None:
            assert (later >= earlier * (1.0 - 1e-8)).all(), expiry.label
        earlier = later


def share_of_all_inside(fitted):
    """Share of all two-sided quotes, those in the money too, that hold the surface's American price."""
    inside = quoted = 0
    for entry in fitted.chain.expiries:
        expiry = next(one for one in fitted.surface.expiries if one.label == entry.label)
        if expiry.smile is None:
            continue
        whole = (entry.bid > 0.0) & (entry.ask >= entry.bid)
        forward = fitted.forwards[entry.label]
        then = entry.spot[whole] / fitted.chain.spot
        vol = np.sqrt(
            expiry.smile.total_variance(np.log(entry.strike[whole] / (forward.forward * then))) / expiry.years
        )
        price = greeks(
            forward.pricing_spot * then,
            entry.strike[whole],
            entry.years,
            vol,
            entry.is_call[whole],
            rate=fitted.rates[entry.label],
            dividend_yield=forward.pricing_borrow,
            style=entry.style,
        ).price
        inside += int(np.count_nonzero((price >= entry.bid[whole]) & (price <= entry.ask[whole])))
        quoted += int(np.count_nonzero(whole))
    return inside / quoted


def row(name, fitted):
    """Return the row of the page."""
    surface = fitted.surface
    used = sum(expiry.quotes_used for expiry in surface.expiries)
    shares = f"{100 * surface.share_inside:.1f} % | {100 * share_of_all_inside(fitted):.1f} %"
    error = 100 * near_money_error(surface)
    return f"| {name} | {len(surface.fitted)} | {used:,} | {shares} | {error:.2f} |"


@pytest.fixture(scope="module")
def goog(recorded_catalog):
    day = date(2015, 12, 24)
    return load_tape(recorded_catalog, "lean", underlying="GOOG", start=day, end=day)


def fitted_at(tape, clock, max_age_seconds=MAX_AGE_SECONDS, **options):
    hour, minute = map(int, clock.split(":"))
    now_ns = new_york_ns(tape.sessions[0].day, time(hour, minute))
    return fit_chain(chain_quotes_at(tape, now_ns, max_age_seconds=max_age_seconds), **options)


@recorded
@pytest.mark.parametrize("clock", ["10:00", *rest("11:00", "12:00")])
def test_goog_2015_12_24(goog, clock):
    fitted = fitted_at(goog, clock)
    assert row(f"GOOG 2015-12-24 {clock}, recorded", fitted) in PAGE
    assert_free_of_arbitrage(fitted.surface)
    again = fit_chain(fitted.chain, previous=fitted)
    assert again.surface.share_inside >= 0.97
    assert_free_of_arbitrage(again.surface)


@recorded
@pytest.mark.parametrize("day", [date(2021, 1, 4), *rest(date(2021, 1, 6), date(2021, 1, 8))])
def test_spx_2021_01_of_two_strikes(recorded_catalog, day):
    tape = load_tape(recorded_catalog, "lean", underlying="SPX", start=day, end=day)
    fitted = fitted_at(tape, "11:00")
    assert {expiry.verdict for expiry in fitted.surface.fitted} <= {
        FitVerdict.FEW_QUOTES,
        FitVerdict.ARBITRAGE_REPAIRED,
    }
    assert row(f"SPX and SPXW {day} 11:00, recorded, two strikes an expiry", fitted) in PAGE
    assert_free_of_arbitrage(fitted.surface)
    for expiry in fitted.surface.fitted:
        forward = fitted.forwards[expiry.label]
        assert forward.forward == pytest.approx(fitted.chain.spot, rel=2e-3)


def snapshot(underlying, session):
    rows = (
        duckdb.connect()
        .execute(
            'SELECT epoch_us(ts), spot_live, expiry::VARCHAR, strike, "right", bid, ask '
            "FROM read_parquet(?) WHERE underlying = ? AND session = ? ORDER BY expiry, strike, 5",
            [str(DATA / "eod_chains_2026" / "spy_qqq.parquet"), underlying, session],
        )
        .fetchall()
    )
    now_ns, spot = rows[0][0] * 1000, rows[0][1]
    expiries = []
    for expiry in sorted({row[2] for row in rows}):
        ours = [row for row in rows if row[2] == expiry]
        years = (session_on(date.fromisoformat(expiry)).close_ns - now_ns) / 1e9 / 86_400 / 365
        if years <= 0.0:
            continue
        bid, ask = (np.array([np.nan if row[i] is None else row[i] for row in ours]) for i in (5, 6))
        expiries.append(
            ExpiryQuotes(
                ExpiryLabel(date.fromisoformat(expiry), underlying),
                years,
                "american",
                np.array([row[3] for row in ours]),
                np.array([row[4] in {"C", "call"} for row in ours]),
                bid,
                ask,
                np.full(len(ours), spot),
            )
        )
    return ChainQuotes(now_ns, spot, tuple(expiries), lambda _days: RATE_2026)


@recorded
@pytest.mark.parametrize("session", ["2026-08-12", *rest("2026-08-13", "2026-08-14", "2026-08-18")])
@pytest.mark.parametrize("underlying", ["SPY", "QQQ"])
def test_chains_of_2026(underlying, session):
    fitted = fit_chain(snapshot(underlying, session))
    assert row(f"{underlying}, snapshot of {session}", fitted) in PAGE
    assert_free_of_arbitrage(fitted.surface)


def near_money_error(surface):
    residuals = []
    for expiry in surface.fitted:
        near = expiry.used & (
            np.abs(np.log(expiry.strike / expiry.forward)) < 2.5 * expiry.atm_vol * np.sqrt(expiry.years)
        )
        residuals.append(expiry.residual[near])
    return float(np.sqrt(np.mean(np.concatenate(residuals) ** 2)))


@pytest.mark.parametrize(
    "day", [date(2018, 2, 5), *rest(date(2015, 8, 24), date(2017, 6, 14), date(2016, 3, 10))]
)
def test_the_embedded_market_is_inside_its_quotes(day):
    tape = market.reconstruct(day, seed=1, underlying="SPY")
    inside = used = 0
    for clock in ("10:00", "11:00", "12:00", "13:00", "14:00", "15:00"):
        surface = fitted_at(tape, clock, max_age_seconds=30.0).surface
        assert_free_of_arbitrage(surface)
        inside += sum(int(np.count_nonzero(expiry.inside)) for expiry in surface.expiries)
        used += sum(expiry.quotes_used for expiry in surface.expiries)
    assert f"| embedded SPY {day}, six times | | {used:,} | {100 * inside / used:.1f} % | | |" in PAGE
