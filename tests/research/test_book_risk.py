from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.daily_history import DailyHistory, packaged_history, packaged_vix
from scalpdesk.portfolio.risk_book import GRID_MOVES, GRID_POINTS, RiskBook, RiskLeg, RiskPart
from scalpdesk.research.book_risk import (
    CONFIDENCES,
    STRESS_MOVES,
    joint_moves,
    past_moves,
    risk_document,
)
from scalpdesk.research.value_at_risk import value_at_risk

DAY = date(2018, 2, 5)
VIX_FILE = Path(__file__).resolve().parents[2] / "../shared/data/vol_models/vix_ohlc_daily_1990_2026.parquet"


@pytest.fixture(scope="module")
def moves():
    found, notes = past_moves(("QQQ", "SPY"), Path("nothing"), "embedded", before=DAY)
    assert notes == ()
    return found


def straddle(spot=265.0, contracts=10.0, **changes):
    """Return a straddle of 30 days on SPY as a part of a book."""
    years = tuple(days / 365 for days in (30.0, 29.0, 23.0))
    legs = tuple(
        RiskLeg(
            **{
                "symbol": "call" if is_call else "put",
                "strike": 265.0,
                "is_call": is_call,
                "units": 100.0 * contracts,
                "vol": 0.2,
                "forward": spot,
                "years": years,
                "clock_years": years,
                **changes,
            }
        )
        for is_call in (True, False)
    )
    return RiskPart(underlying="SPY", spot=spot, legs=legs)


def book_of(*parts):
    return RiskBook(as_of_ns=1_517_850_000 * 10**9, parts=parts)


def by_confidence(document, method, name):
    return {row["confidence"]: row[name] for row in document["measures"] if row["method"] == method}


def test_the_var_of_a_delta_one_book_is_the_quantile_of_the_return_times_its_exposure(moves):
    document = risk_document(book_of(RiskPart(underlying="SPY", spot=265.0, shares=40.0)), moves)
    for confidence in CONFIDENCES:
        returns = np.expm1(moves.returns["SPY"])
        expected = 40.0 * 265.0 * value_at_risk(returns, confidence)
        assert by_confidence(document, "historical", "var")[confidence] == pytest.approx(expected)
        filtered = np.expm1(moves.filtered("ewma").returns["SPY"])
        expected = 40.0 * 265.0 * value_at_risk(filtered, confidence)
        assert by_confidence(document, "ewma", "var")[confidence] == pytest.approx(expected)


def test_var_rises_with_confidence_lies_below_its_shortfall_and_scales_with_the_book(moves):
    one, three = (risk_document(book_of(straddle(contracts=n)), moves) for n in (1.0, 3.0))
    for method in ("historical", "ewma"):
        var, es = by_confidence(one, method, "var"), by_confidence(one, method, "es")
        assert 0.0 < var[0.975] < var[0.99]
        assert var[0.975] < es[0.975] < es[0.99]
        assert var[0.99] < es[0.99]
        for confidence, loss in by_confidence(three, method, "var").items():
            assert loss == pytest.approx(3.0 * var[confidence])


def test_the_var_of_two_underlyings_is_of_their_joint_moves(moves):
    long, short = (
        RiskPart(underlying=name, spot=100.0, shares=s) for name, s in (("QQQ", 10.0), ("SPY", -10.0))
    )
    document = risk_document(book_of(long, short), moves)
    returns = np.expm1(moves.returns["QQQ"]) - np.expm1(moves.returns["SPY"])
    assert by_confidence(document, "historical", "var")[0.99] == pytest.approx(
        1_000.0 * value_at_risk(returns, 0.99)
    )
    alone = [row["var"] for row in document["alone"] if row["confidence"] == 0.99]
    assert by_confidence(document, "ewma", "var")[0.99] < 0.6 * min(alone)  # they move together
    sample, ewma = (np.array(document["correlation"][name]) for name in ("sample", "ewma"))
    assert sample[0, 1] == pytest.approx(np.corrcoef(moves.returns["QQQ"], moves.returns["SPY"])[0, 1])
    assert 0.8 < ewma[0, 1] < 1.0


def test_the_centre_of_the_grid_is_zero_and_a_straddle_loses_most_unmoved_at_a_low_volatility(moves):
    document = risk_document(book_of(straddle()), None)
    grid, worst = document["grid"], document["worst_case"]
    pnl = np.array(grid["pnl"])
    centre = GRID_MOVES.index(0.0), GRID_POINTS.index(0.0)
    assert pnl[0][centre] == pytest.approx(0.0, abs=1e-9)
    assert pnl[1][centre] < 0.0
    assert pnl[2][centre] < pnl[1][centre]
    assert abs(worst["move"]) <= 0.02
    assert worst["vol_points"] == min(GRID_POINTS)
    assert worst["pnl"] == pnl[0].min() > pnl[2].min()
    assert pnl[0].min() == pnl[0][GRID_MOVES.index(0.0), 0]
    assert bool(np.all(np.diff(pnl, axis=2) >= -1e-9))  # more volatility is worth no less to who is long
    assert np.array(risk_document(book_of(straddle(contracts=-10.0)), None)["grid"]["pnl"]) == pytest.approx(
        -pnl
    )


def test_every_stress_day_pays_a_long_straddle_and_takes_from_a_short_one():
    rows = risk_document(book_of(straddle()), None)["stress"]
    assert [row["pnl"] > 0 for row in rows] == [True] * len(STRESS_MOVES)
    short = risk_document(book_of(straddle(contracts=-10.0)), None)["stress"]
    assert [row["pnl"] for row in short] == pytest.approx([-row["pnl"] for row in rows])
    shares = risk_document(book_of(RiskPart(underlying="SPY", spot=100.0, shares=1.0)), None)["stress"]
    assert shares[0]["pnl"] == pytest.approx(-20.47, abs=0.005)
    nasdaq = risk_document(book_of(RiskPart(underlying="QQQ", spot=100.0, shares=1.0)), None)["stress"]
    assert nasdaq[0]["pnl"] == pytest.approx(-11.35, abs=0.005)


def test_published_stress_figures_are_those_of_the_packaged_series():
    """2010, 2015 and 2018: closes and lows of the S&P 500 and the NASDAQ Composite, closes of the VIX."""
    sp500, nasdaq, vix = packaged_history("sp500"), packaged_history("nasdaq"), packaged_vix()
    seen = 0
    for each in STRESS_MOVES:
        if each.day not in sp500.days:
            continue
        place, other = sp500.days.index(each.day), nasdaq.days.index(each.day)
        seen += 1
        assert each.sp500[0] == pytest.approx(sp500.bars["close"][place - 1], abs=0.006)
        if each.nasdaq is None:
            assert each.sp500[1] == pytest.approx(sp500.bars["low"][place], abs=0.006)
            continue
        assert each.sp500[1] == pytest.approx(sp500.bars["close"][place], abs=0.006)
        assert each.nasdaq == pytest.approx(nasdaq.bars["close"][other - 1 : other + 1], abs=0.006)
        if each.day in vix.days:
            at = vix.days.index(each.day)
            assert each.volatility == tuple(vix.bars["close"][at - 1 : at + 1])
    assert seen == 5


@pytest.mark.recorded
def test_published_stress_figures_are_those_of_the_recorded_vix():
    from scalpdesk.datasets.daily_history import find_history

    vix = find_history(Path("nothing"), "x", "VIX", str(VIX_FILE))
    seen = 0
    for each in STRESS_MOVES:
        if each.day in vix.days:
            place, column = vix.days.index(each.day), "high" if each.nasdaq is None else "close"
            assert each.volatility == (vix.bars["close"][place - 1], vix.bars[column][place])
            seen += 1
    assert seen == len(STRESS_MOVES) - 1  # 1987 is before it


def history(days, closes):
    return DailyHistory("made", tuple(days), {"close": list(closes)})


def weekdays(count, start=date(2015, 1, 1)):
    found = (date.fromordinal(start.toordinal() + n) for n in range(2 * count))
    return [day for day in found if day.weekday() < 5][:count]


def test_moves_are_of_the_days_that_all_share_and_of_no_gap():
    days = weekdays(600)
    closes = 100.0 * np.exp(np.cumsum(np.full(600, 0.01)))
    gone = [(day, close) for place, (day, close) in enumerate(zip(days, closes, strict=True)) if place != 300]
    found = joint_moves(
        {"A": history(days, closes), "B": history(*zip(*gone, strict=True))}, history(days, closes), days[-1]
    )
    assert len(found.days) == 597  # 599 moves, two of them one of two days, without that of the last day
    assert found.returns["A"].max() == pytest.approx(0.02)
    assert found.vol_levels[0] == pytest.approx(closes[0] / 100.0)
    hole = [(day, close) for day, close in zip(days, closes, strict=True) if not 300 <= days.index(day) < 320]
    made = history(*zip(*hole, strict=True))
    assert joint_moves({"A": made}, None, None).returns["A"].max() == pytest.approx(0.01)


def test_moves_after_the_book_count_only_where_too_few_lie_before_it_and_that_is_noted(moves):
    assert moves.days[-1] < DAY
    early, _ = past_moves(("SPY",), Path("nothing"), "embedded", before=date(2014, 2, 3))
    assert early.days[-1].year == 2018
    assert len(early.notes) == 1
    late, _ = past_moves(("SPY",), Path("nothing"), "embedded", before=date(2026, 2, 3))
    assert len(late.notes) == 1
    document = risk_document(book_of(RiskPart(underlying="SPY", spot=100.0, shares=1.0)), late)
    assert {row["method"] for row in document["measures"]} == {
        "historical"
    }  # the volatility of 2018 is not now
    with pytest.raises(DataError):
        joint_moves({"A": history(weekdays(200), np.ones(200))}, None, None)


def test_an_underlying_without_daily_bars_has_a_grid_and_no_value_at_risk(moves):
    found, notes = past_moves(("NVDA",), Path("nothing"), "embedded", before=DAY)
    document = risk_document(book_of(RiskPart(underlying="NVDA", spot=100.0, shares=1.0)), found, notes=notes)
    assert (found, document["measures"], len(document["notes"])) == (None, [], 2)
    coin = RiskBook(
        as_of_ns=0,
        parts=(RiskPart(underlying="BTC", spot=5e4, inverse_usd=100.0),),
        currency="BTC",
        is_coin=True,
    )
    for book in (coin, replace(coin, currency="USDC"), replace(coin, currency="USD")):
        assert risk_document(book, None)["stress"] == []
    assert risk_document(replace(coin, currency="EUR", is_coin=False), None)["stress"] != []


def test_filtered_moves_leave_the_days_together(moves):
    filtered = moves.filtered("ewma")
    assert len(filtered.days) == len(moves.days) - 30
    place = filtered.days.index(date(2015, 8, 24))
    there = moves.days.index(date(2015, 8, 24))
    for symbol in ("SPY", "QQQ"):
        assert np.sign(filtered.returns[symbol][place]) == np.sign(moves.returns[symbol][there])
    garch = moves.filtered("garch").returns["SPY"]
    assert np.corrcoef(garch, filtered.returns["SPY"])[0, 1] > 0.95
