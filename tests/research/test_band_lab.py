import math
from datetime import date

import msgspec
import numpy as np
import pytest

from scalpdesk.backtesting.simulate import PreparedMarket, assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.intents import Purpose
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.hedging import whalley_wilmott_band
from scalpdesk.hedging.bands.fixed import FixedBand, FixedConfig
from scalpdesk.hedging.base import make_band, verdict_of_width
from scalpdesk.research.band_lab import (
    FAMILIES,
    HELD,
    LabBand,
    aversion_of_width,
    columns_settings,
    compare_recorded,
    compare_simulated,
    desk_settings,
    every_band,
    half_width_at,
    hedge_block,
    hedges_of,
    lab_bands,
)
from scalpdesk.research.hedge_looks import record_looks
from scalpdesk.research.lab_markets import simulate_sessions
from scalpdesk.research.session_model import BandTerms, SessionModel
from scalpdesk_testing.kit.packages import install_points

SMALL = SessionModel(days=300, looks=78)
DAY = date(2018, 12, 24)
"""A half day of large moves."""


@pytest.fixture(scope="module")
def report():
    return compare_simulated(SMALL, terms=BandTerms(delta_cap=8.0))


def held(own=()):
    return load_settings("gamma-scalper", overrides=(*HELD, *own))


@pytest.fixture(scope="module")
def half_day():
    return PreparedMarket(reconstruct(DAY))


def test_every_kind_of_band_is_compared_on_the_same_sessions(report):
    assert {row.band for row in report.rows} == set(FAMILIES)
    assert report.days == 300
    assert compare_simulated(SMALL, terms=BandTerms(delta_cap=8.0)) == report
    other = compare_simulated(msgspec.structs.replace(SMALL, seed=2), terms=BandTerms(delta_cap=8.0))
    assert other.rows[0].spread != report.rows[0].spread


def test_the_cap_sets_the_aversion_and_no_band_that_waits_beyond_it_is_recommended(report):
    inputs = SMALL.opening()
    width = whalley_wilmott_band(
        inputs.gamma_shares_per_usd, inputs.spot, inputs.years, inputs.own_cost_fraction, report.risk_aversion
    )
    assert width * 1.5 == pytest.approx(8.0, rel=1e-9)
    for row in report.rows:
        if row.half_width_shares is None or row.band == "ladder":
            assert not row.eligible
        else:
            assert row.half_width_shares <= 8.0 + 1e-9
    assert report.recommendation.band not in {"time", "leland", "ladder"}


def test_the_recommendation_is_the_cheapest_in_orders_of_what_is_as_good(report):
    chosen = report.recommendation
    rows = {(row.band, row.setting): row for row in report.rows}
    best = max((row for row in report.rows if row.eligible), key=lambda row: row.certainty_equivalent)
    assert chosen.best == f"{best.band.replace('_', ' ')}, {best.setting}"
    row = rows[chosen.band, chosen.setting]
    assert row.hedges <= best.hedges
    assert chosen.behind_best == pytest.approx(best.certainty_equivalent - row.certainty_equivalent)
    assert chosen.behind_best <= 2.0 * chosen.behind_best_stderr + 1e-12
    assert chosen.stderr > 0.0
    assert 0.0 <= chosen.chance_best_family <= 1.0


def test_the_worth_is_the_mean_less_half_the_aversion_times_the_variance(report):
    for row in report.rows:
        expected = row.mean - 0.5 * report.risk_aversion * row.spread**2
        assert row.certainty_equivalent == pytest.approx(expected)


def test_the_frontier_has_no_band_that_another_beats_in_cost_and_spread(report):
    for row in report.rows:
        beaten = any(other.cost < row.cost and other.spread < row.spread for other in report.rows)
        assert row.on_frontier is not beaten


def test_the_mean_differs_between_bands_by_their_costs_alone(report):
    first = report.rows[0]
    for row in report.rows:
        assert row.mean + row.cost == pytest.approx(first.mean + first.cost)


@pytest.mark.parametrize("name", ["whalley_wilmott", "zakamouline"])
@pytest.mark.parametrize("width", [0.8, 3.0, 12.0])
def test_an_aversion_solved_from_a_width_gives_the_width_back(name, width):
    inputs = SMALL.opening()
    aversion = aversion_of_width(name, inputs, width)
    assert half_width_at(make_band(name, {"risk_aversion": aversion}), inputs) == pytest.approx(width)


def test_without_a_cost_no_aversion_gives_a_width():
    inputs = msgspec.structs.replace(SMALL.opening(), own_cost_fraction=0.0)
    with pytest.raises(ArgumentError) as refusal:
        aversion_of_width("whalley_wilmott", inputs, 2.0)
    assert refusal.value.where == "cost_bp"


def test_a_band_that_the_lab_does_not_have_is_refused_with_the_nearest():
    with pytest.raises(ArgumentError) as refusal:
        lab_bands(SMALL.opening(), ["whaley_wilmott"])
    assert (refusal.value.value, refusal.value.nearest) == ("whaley_wilmott", "whalley_wilmott")
    with pytest.raises(ArgumentError) as refusal:
        compare_simulated(SMALL, ["fixed"], BandTerms(delta_cap=0.0))
    assert refusal.value.where == "delta_cap"


@pytest.mark.parametrize("model", ["stochastic_vol", "jumps"])
def test_other_markets_have_the_volatility_that_they_are_given(model):
    report = compare_simulated(msgspec.structs.replace(SMALL, model=model, days=600), ["fixed", "gex"])
    assert report.rows[0].hedges > 0
    assert abs(report.option_mean) < 4.0 * report.unhedged_spread / math.sqrt(600)


def test_the_tight_threshold_stands_while_the_position_is_short_gamma():
    short = msgspec.structs.replace(SMALL, side="short")
    rows = {
        side: compare_simulated(market, ["own_gamma", "fixed"]).rows
        for side, market in (("long", SMALL), ("short", short))
    }
    by_side = {
        side: {(row.band, round(row.half_width_shares, 6)): row.hedges for row in found}
        for side, found in rows.items()
    }
    widest = max(width for _, width in by_side["long"])
    assert by_side["long"]["own_gamma", widest] == by_side["long"]["fixed", widest]
    assert by_side["short"]["own_gamma", widest] > by_side["short"]["fixed", widest]


def test_the_report_is_a_frame_and_a_page(report):
    frame = report.to_frame()
    assert len(frame) == len(report.rows)
    assert list(frame["band"].unique()) == list(FAMILIES)
    assert report._repr_html_().count("<tr>") == len(report.rows) + 1


def test_the_report_is_drawn(report):
    pytest.importorskip("matplotlib")
    assert len(report.plot().axes[0].lines) == len(FAMILIES) + 1


WAYS = {
    "fixed": ("hedge.threshold_shares=2", "hedge.least_fraction=0"),
    "whalley_wilmott": ("hedge.band_settings.risk_aversion=0.02", "hedge.least_fraction=0.5"),
    "regime_threshold": ("hedge.band=regime_threshold", "hedge.least_fraction=0"),
}


@pytest.mark.second
def test_the_hedges_of_a_day_are_the_desks_own(half_day):
    for name, own in WAYS.items():
        settings = held(own)
        config = settings.strategy_config.hedge
        lab = LabBand(name, "", 0.0, config.make_band(), least_fraction=config.least_fraction)
        block = record_looks(held(columns_settings(lab)), half_day)
        header, engine = build_backtest(settings, half_day, run_id="", mode="backtest", started_ns=0, seed=1)
        assemble_backtest(settings, half_day, header, engine, None).runner.run()
        sent = [
            (order.created_ns, int(order.submitted.quantity) * order.submitted.side.sign)
            for order in engine.desk.orders.orders.values()
            if order.submitted.purpose is Purpose.HEDGE
        ]
        assert hedges_of(lab, block) == [each for each in sent if each[0] <= int(block.now_ns[-1])]
        assert sent


def test_a_desks_session_is_compared(half_day):
    report = compare_recorded([DAY], lambda _: half_day.tape, held, ["fixed", "ladder"])
    assert report.days == 1
    assert report.market["skipped"] == []
    assert report.rows[0].cost > 0.0


def test_a_session_without_a_straddle_is_named(half_day):
    def nothing(own):
        return held((*own, "selection.min_open_interest=10000000"))

    with pytest.raises(DataError) as refusal:
        compare_recorded([DAY], lambda _: half_day.tape, nothing, ["fixed"])
    assert "no session" in refusal.value.what


def test_the_errors_of_spread_and_cost_are_how_far_they_vary_from_draw_to_draw():
    drawn = [
        compare_simulated(SessionModel(days=200, seed=seed), ["fixed"], terms=BandTerms(delta_cap=8.0)).rows[
            -1
        ]
        for seed in range(1, 17)
    ]
    for name in ("spread", "cost"):
        varies = np.std([getattr(row, name) for row in drawn], ddof=1)
        assert 0.6 < np.mean([getattr(row, f"{name}_stderr") for row in drawn]) / varies < 1.7


class Twelfth:
    """A band of another file: twelve shares, to zero."""

    name = "twelve"
    Config = FixedConfig

    def __init__(self, config=None):
        del config

    def judge(self, inputs):
        return verdict_of_width(inputs, 12.0, "zero", lambda: "twelve")


def test_the_lab_compares_every_band_that_the_desk_has(tmp_path, monkeypatch):
    """The list is the socket's: a band that is added there is compared, as the fixed one of its width is."""
    install_points(tmp_path, "twelve-shares", {"scalpdesk.hedge_bands": {"twelve": f"{__name__}:Twelfth"}})
    monkeypatch.syspath_prepend(tmp_path)
    assert "twelve" in every_band()
    few = msgspec.structs.replace(SMALL, days=20)
    named = compare_simulated(few, ("twelve", "time_based", "regime_threshold"), BandTerms(delta_cap=8.0))
    assert [row.band for row in named.rows] == ["twelve", "time_based", "regime_threshold"]
    same = LabBand("fixed", "12 shares", 12.0, FixedBand(FixedConfig(threshold=12.0)), half_width=12.0)
    block = next(iter(simulate_sessions(few)))
    (twelve,) = lab_bands(few.opening(), ("twelve",))
    assert twelve.half_width == 12.0
    for found, wanted in zip(hedge_block(twelve, block), hedge_block(same, block), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert desk_settings(twelve)["hedge.band"] == "twelve"
