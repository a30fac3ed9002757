"""The gamma scalper on recorded days against a calculation of its own kind, written here from scratch.

One long straddle bought at the ask at 09:36 New York; one decision a minute; European delta with zero
rates at the entry's mid implied volatility, time in ACT/365 seconds floored at 30; hedged to zero at the
underlying's mid when the net delta is off by more than 0.05 per unit; quotes carried forward per side.
docs/evidence/results.md states the figures.
"""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import duckdb
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import Purpose

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
CONFIGS = ROOT / "examples" / "validation"
UNITS = 100 * 100
"""Straddles times multiplier of the validation configurations."""

pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not beside the project"),
]

STATED = {
    "spxw-2021-01-04": (58.25, 133, 4.89, -58.22),
    "spxw-2021-01-08": (28.50, 113, 2.91, -4.28),
    "goog-2015-12-23": (6.75, 55, -1.01, -2.45),
}
"""Entry, hedges, hedged and unhedged profit per unit of the underlying."""


@pytest.mark.parametrize("name", sorted(STATED))
def test_reaches_the_stated_figures(recorded_catalog, name):
    entry, hedges, hedged, unhedged = run_desk(recorded_catalog, name)
    stated = STATED[name]
    assert entry == pytest.approx(stated[0], abs=0.005)
    assert abs(hedges - stated[1]) <= 1
    assert hedged == pytest.approx(stated[2], abs=0.02)
    assert unhedged == pytest.approx(stated[3], abs=0.02)


@pytest.mark.parametrize("name", sorted(STATED))
def test_agrees_with_a_calculation_written_from_scratch(recorded_catalog, name):
    desk = run_desk(recorded_catalog, name)
    plain = calculate(name)
    assert desk[0] == pytest.approx(plain[0], abs=1e-9)
    assert abs(desk[1] - plain[1]) <= 1
    assert desk[2] == pytest.approx(plain[2], abs=0.005)
    assert desk[3] == pytest.approx(plain[3], abs=1e-9)


@cache
def run_desk(recorded_catalog, name):
    settings = load_settings(
        "gamma-scalper", config_file=CONFIGS / f"{name}.toml", overrides=(f"data.catalog={recorded_catalog}",)
    )
    day = date.fromisoformat(name[5:])
    underlying = settings.strategy_config.underlying
    tape = load_market(settings, "lean", underlying=underlying, start=day, end=day, seed=1)
    header, engine = build_backtest(
        settings, tape, run_id="validation", mode="backtest", started_ns=0, seed=None
    )
    run = assemble_backtest(settings, tape, header, engine, None)
    run.runner.run()
    desk = engine.desk
    gross = sum(abs(amount) for amount in desk.attribution.totals.values())
    assert abs(desk.attribution.totals["residual"]) < Decimal("0.02") * gross
    options = [p for p in desk.positions.positions.values() if p.multiplier == 100]
    paid = sum(
        (
            order.average_price
            for order in desk.orders.orders.values()
            if order.submitted.purpose is Purpose.OPEN
        ),
        Decimal(0),
    )
    unhedged = sum(float(position.realized) for position in options) / UNITS
    return float(paid), run.fold.taken["hedge"], float(desk.attribution.nav_change) / UNITS, unhedged


# the calculation of its own ---------------------------------------------------------------------


def black(spot, strike, years, vol, is_call):
    d1 = (math.log(spot / strike) + 0.5 * vol * vol * years) / (vol * math.sqrt(years))
    call = spot * ndtr(d1) - strike * ndtr(d1 - vol * math.sqrt(years))
    return (call, ndtr(d1)) if is_call else (call - spot + strike, ndtr(d1) - 1.0)


def utc(day, clock):
    return int(datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC).timestamp())


def carried_forward(rows, first, last):
    """Bid and ask by minute, each side carried forward on its own."""
    known = {ts: (bid, ask) for ts, bid, ask in rows}
    sides, bid, ask = {}, None, None
    for ts in range(min([first, *known]), last + 1, 60):
        new_bid, new_ask = known.get(ts, (None, None))
        bid = bid if new_bid is None else new_bid
        ask = ask if new_ask is None else new_ask
        sides[ts] = (bid, ask)
    return sides


def quotes(file, symbol, day):
    return duckdb.sql(
        f"select epoch_ns(ts) // 1000000000, bid, ask from '{DATA / file}'"
        f" where symbol = '{symbol}' and ts::date = '{day}' order by ts"
    ).fetchall()


def calculate(name):
    day = name[5:]
    first = utc(day, "14:36")
    if name.startswith("spxw"):
        strike, file = {"2021-01-04": 3700.0, "2021-01-08": 3800.0}[day], "spxw_2021-01/options_quote.parquet"
        last = expiry = utc(day, "21:00")
        symbol = f"SPXW{day[2:].replace('-', '')}{{}}{int(strike):05d}000"
        rows = duckdb.sql(
            "select epoch_ns(ts) // 1000000000, implied_forward, implied_forward from"
            f" '{DATA / 'spxw_2021-01/index_parity_DERIVED.parquet'}' where ts::date = '{day}' order by ts"
        ).fetchall()
    else:
        strike, file, symbol = 752.5, "goog_2015-12/options_quote.parquet", "GOOG151224{}00752500"
        last, expiry = utc(day, "20:58"), utc("2015-12-24", "18:00")
        rows = quotes("goog_2015-12/underlying_quote.parquet", "GOOG", day)
    spots = {
        ts: 0.5 * (bid + ask)
        for ts, (bid, ask) in carried_forward(rows, first, last).items()
        if bid is not None and ask is not None
    }
    call = carried_forward(quotes(file, symbol.format("C"), day), first, last)
    put = carried_forward(quotes(file, symbol.format("P"), day), first, last)
    years = (expiry - first) / 86_400 / 365
    vols = [
        brentq(
            lambda v, leg=leg, is_call=is_call: (
                black(spots[first], strike, years, v, is_call)[0] - 0.5 * sum(leg[first])
            ),
            1e-4,
            5,
        )
        for leg, is_call in ((call, True), (put, False))
    ]
    paid = call[first][1] + put[first][1]
    shares = cash = 0.0
    hedges = 0
    for ts in range(first, last, 60):  # at the last minute the straddle is settled or sold, not hedged
        left = max(expiry - ts, 30) / 86_400 / 365
        delta = sum(
            black(spots[ts], strike, left, vol, c)[1] for vol, c in zip(vols, (True, False), strict=True)
        )
        net = delta + shares
        if abs(net) > 0.05:
            cash += net * spots[ts]
            shares -= net
            hedges += 1
    worth = abs(spots[last] - strike) if last == expiry else call[last][0] + put[last][0]
    return paid, hedges, worth - paid + cash + shares * spots[last], worth - paid


def test_the_configurations_are_the_ones_that_the_page_names():
    page = (ROOT / "docs" / "evidence" / "results.md").read_text(encoding="utf-8")
    for name, figures in STATED.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert tuple(map(float, row.split("|")[2:6])) == figures
