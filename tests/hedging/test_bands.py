import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.sockets import HEDGE_BANDS
from scalpdesk.hedging import leland_number, whalley_wilmott_band, zakamouline_band
from scalpdesk.hedging.bands.fixed import FixedBand, FixedConfig
from scalpdesk.hedging.bands.leland import (
    LelandBand,
    LelandConfig,
    leland_interval_years,
    leland_vol,
)
from scalpdesk.hedging.bands.time_based import TimeBasedBand, TimeBasedConfig
from scalpdesk.hedging.bands.whalley_wilmott import WhalleyWilmottBand
from scalpdesk.hedging.bands.zakamouline import ZakamoulineBand, zakamouline_terms
from scalpdesk.hedging.base import (
    AversionConfig,
    HedgeInputs,
    make_band,
)
from scalpdesk.hedging.kernels.rules import ONE_HOUR_YEARS

POSITION = HedgeInputs(
    net_delta_shares=12.0,
    gamma_shares_per_usd=2.0,
    spot=500.0,
    years=30 / 365,
    vol=0.18,
    rate=0.04,
    straddles=1,
    multiplier=100,
    seconds_since_hedge=600.0,
    own_cost_fraction=1e-5,
)
ALL_BANDS = [make_band(name) for name in HEDGE_BANDS.names()]
WIDTH_BANDS = [FixedBand(), WhalleyWilmottBand(), ZakamoulineBand()]


def _with(**changes):
    return msgspec.structs.replace(POSITION, **changes)


def test_a_hedge_of_a_coin_desk_is_told_in_coin():
    coin = {"underlying": "BTC-PERPETUAL", "multiplier": 1, "spot": 58_000.0, "gamma_shares_per_usd": 1e-4}
    inputs = _with(net_delta_shares=-0.0061, **coin)
    told = FixedBand(FixedConfig(threshold=0.002)).judge(inputs).reason
    assert told == ("net delta -0.0061 BTC is beyond ±0.0020 (fixed, 0.002 BTC × 1): hedge to +0.0000")
    told = WhalleyWilmottBand().judge(_with(net_delta_shares=0.3, **coin)).reason
    assert "gamma 0.0001 BTC/USD" in told
    assert "shares" not in told
    assert (
        FixedBand().judge(POSITION).reason.startswith("net delta +12.00 shares is beyond ±2.00 (fixed, 2 sh")
    )


class TestEveryBand:
    @pytest.mark.rows("band", ALL_BANDS)
    @pytest.mark.rows(
        "field",
        [
            "net_delta_shares",
            "gamma_shares_per_usd",
            "spot",
            "years",
            "vol",
            "own_cost_fraction",
            "seconds_since_hedge",
        ],
    )
    def test_refuses_what_is_not_a_number(self, band, field):
        with pytest.raises(ArgumentError, match="finite") as refusal:
            band.judge(_with(**{field: math.nan}))
        assert refusal.value.where == field

    @pytest.mark.rows("band", ALL_BANDS)
    @pytest.mark.rows(("field", "value"), [("spot", 0.0), ("straddles", 0), ("years", -1e-9)])
    def test_refuses_what_cannot_be(self, band, field, value):
        with pytest.raises(ArgumentError) as refusal:
            band.judge(_with(**{field: value}))
        assert refusal.value.where == field

    @pytest.mark.rows("band", ALL_BANDS)
    def test_leaves_a_flat_delta_alone(self, band):
        verdict = band.judge(_with(net_delta_shares=0.0, seconds_since_hedge=1e6))
        assert verdict.inside
        assert verdict.target_delta_shares == 0.0

    @pytest.mark.rows("band", ALL_BANDS)
    def test_says_why_with_the_net_delta(self, band):
        reason = band.judge(_with(net_delta_shares=33.25, seconds_since_hedge=1e6)).reason
        assert "+33.25" in reason
        assert "hedge to" in reason

    @given(net=st.floats(-200, 200), gamma=st.floats(-20, 20), years=st.floats(0, 2))
    def test_sides_are_mirrored_and_targets_never_farther(self, net, gamma, years):
        for band in ALL_BANDS:
            here = band.judge(_with(net_delta_shares=net, gamma_shares_per_usd=gamma, years=years))
            there = band.judge(_with(net_delta_shares=-net, gamma_shares_per_usd=gamma, years=years))
            assert there.target_delta_shares == -here.target_delta_shares
            assert there.inside == here.inside
            assert abs(here.target_delta_shares) <= abs(net)
            assert here.inside == (here.target_delta_shares == net) or here.target_delta_shares == 0.0

    @pytest.mark.rows("band", WIDTH_BANDS)
    def test_the_edge_itself_is_inside(self, band):
        width = band.judge(POSITION).half_width_shares
        assert band.judge(_with(net_delta_shares=width)).inside
        assert not band.judge(_with(net_delta_shares=width * 1.000001)).inside

    @pytest.mark.rows("band", ALL_BANDS)
    def test_hedges_a_quarter_of_one_coin_and_leaves_less_than_a_contract(self, band):
        coin = {"multiplier": 1, "gamma_shares_per_usd": 3e-5, "spot": 60_000.0, "vol": 0.5}
        held = _with(**coin, seconds_since_hedge=1e6, own_cost_fraction=5e-4, smallest_hedge=10 / 60_000)
        beyond = band.judge(msgspec.structs.replace(held, net_delta_shares=-0.26))
        assert not beyond.inside
        assert -0.25 <= beyond.target_delta_shares <= 0.0
        assert band.judge(msgspec.structs.replace(held, net_delta_shares=9 / 60_000)).inside


class TestFixed:
    def test_is_two_of_a_hundred_shares_unless_told_otherwise(self):
        assert FixedBand().judge(POSITION).half_width_shares == 2.0
        assert FixedBand().judge(_with(multiplier=1, straddles=3)).half_width_shares == pytest.approx(0.06)

    def test_is_per_straddle_and_strict(self):
        band = FixedBand(FixedConfig(threshold=2.0))
        assert band.judge(_with(net_delta_shares=-6.0, straddles=3)).inside
        verdict = band.judge(_with(net_delta_shares=-6.01, straddles=3))
        assert (verdict.half_width_shares, verdict.target_delta_shares) == (6.0, 0.0)

    def test_a_third_of_nine_tenths_is_read_as_equal(self):
        assert FixedBand(FixedConfig(threshold=0.3)).judge(_with(net_delta_shares=0.1 + 0.2)).inside

    def test_can_stop_at_the_edge(self):
        verdict = FixedBand(FixedConfig(threshold=5.0, rehedge_to="edge")).judge(
            _with(net_delta_shares=-12.0)
        )
        assert verdict.target_delta_shares == -5.0


class TestFormulaBands:
    def test_widths_are_those_of_the_position(self):
        averse = AversionConfig(risk_aversion=0.02)
        width = WhalleyWilmottBand(averse).judge(POSITION).half_width_shares
        assert width == whalley_wilmott_band(2.0, 500.0, 30 / 365, 1e-5, 0.02, rate=0.04)
        dearer = _with(own_cost_fraction=1e-4)  # at the default cost the floor is wider
        width = ZakamoulineBand(averse).judge(dearer).half_width_shares
        limit = whalley_wilmott_band(2.0, 500.0, 30 / 365, 1e-4, 0.02, rate=0.04)
        assert width == pytest.approx(limit * (1 + 2e-4 * 500 * math.sqrt(0.02 * 2)))

    def test_the_default_leaves_a_spy_straddle_one_and_a_half_shares_to_either_side(self):
        spy = _with(gamma_shares_per_usd=2.0, spot=275.0, own_cost_fraction=0.005 / 275.0, rate=0.0)
        assert WhalleyWilmottBand().judge(spy).half_width_shares == pytest.approx(1.4422, abs=1e-4)

    def test_go_to_the_edge_unless_told_otherwise(self):
        for plug, config in (
            (WhalleyWilmottBand, AversionConfig),
            (ZakamoulineBand, AversionConfig),
        ):
            verdict = plug().judge(_with(net_delta_shares=-12.0))
            assert verdict.target_delta_shares == -verdict.half_width_shares
            assert plug(config(rehedge_to="zero")).judge(POSITION).target_delta_shares == 0.0

    @pytest.mark.parametrize(("times", "power"), [(8, 2 / 3), (27, 2 / 3)])
    def test_whalley_wilmott_grows_with_size_to_two_thirds(self, times, power):
        one = whalley_wilmott_band(2.0, 500.0, 0.1, 1e-5, 0.001)
        assert whalley_wilmott_band(2.0 * times, 500.0, 0.1, 1e-5, 0.001) == pytest.approx(one * times**power)

    def test_zakamouline_grows_with_size_to_one_half(self):
        one = zakamouline_terms(2.0, 500.0, 0.1, 0.2, 1e-5, 0.001)
        four = zakamouline_terms(8.0, 500.0, 0.1, 0.2, 1e-5, 0.001)
        assert four.h1 == pytest.approx(2 * one.h1)
        assert four.h0 == one.h0

    @given(
        gamma=st.floats(0.01, 50),
        more=st.floats(1.01, 10),
        cost=st.floats(1e-6, 1e-2),
        aversion=st.floats(1e-5, 1),
    )
    def test_wider_with_gamma_and_cost_narrower_with_aversion(self, gamma, more, cost, aversion):
        for width in (
            lambda g, c, a: whalley_wilmott_band(g, 500.0, 0.1, c, a),
            lambda g, c, a: zakamouline_band(g, 500.0, 0.1, 0.2, c, a),
        ):
            here = width(gamma, cost, aversion)
            assert width(gamma * more, cost, aversion) > here
            assert width(gamma, cost * more, aversion) > here
            assert width(gamma, cost, aversion * more) < here

    def test_without_gamma_only_h0_and_the_floor_remain(self):
        assert whalley_wilmott_band(0.0, 500.0, 0.1, 1e-5, 0.001) == 0.0
        terms = zakamouline_terms(0.0, 500.0, 0.1, 0.2, 1e-5, 0.001)
        assert terms.band == terms.h0 > 0.0
        flat = _with(gamma_shares_per_usd=0.0, straddles=2)
        assert WhalleyWilmottBand().judge(flat).half_width_shares == 1.0
        costly = _with(gamma_shares_per_usd=0.0, own_cost_fraction=0.1)
        averse = AversionConfig(risk_aversion=0.02)
        assert ZakamoulineBand(averse).judge(costly).half_width_shares == zakamouline_band(
            0.0, 500.0, 30 / 365, 0.18, 0.1, 0.02, rate=0.04
        )

    @pytest.mark.parametrize("plug", [WhalleyWilmottBand, ZakamoulineBand])
    def test_are_held_between_floor_and_cap(self, plug):
        narrow = plug().judge(_with(own_cost_fraction=0.0, straddles=4))
        assert narrow.half_width_shares == 2.0
        assert "raised from 0.00" in narrow.reason
        wide = plug(plug.Config(risk_aversion=1e-9)).judge(_with(straddles=4, net_delta_shares=101.0))
        assert wide.half_width_shares == 100.0
        assert "capped from" in wide.reason

    @pytest.mark.parametrize("plug", [WhalleyWilmottBand, ZakamoulineBand])
    def test_are_in_proportion_to_what_a_contract_holds(self, plug):
        coins = {"multiplier": 1, "gamma_shares_per_usd": 0.0, "net_delta_shares": 0.3, "straddles": 3}
        held = plug(plug.Config(risk_aversion=1e6)).judge(_with(**coins))
        assert held.target_delta_shares == held.half_width_shares == pytest.approx(0.015)
        last = plug().judge(_with(**coins, years=0.5 * ONE_HOUR_YEARS))
        assert (last.half_width_shares, last.target_delta_shares) == (pytest.approx(0.06), 0.0)

    @pytest.mark.parametrize("plug", [WhalleyWilmottBand, ZakamoulineBand])
    def test_give_way_to_the_fixed_band_in_the_last_hour(self, plug):
        band = plug(plug.Config(last_hour_shares_per_straddle=3.0))
        verdict = band.judge(_with(years=ONE_HOUR_YEARS * 0.999, straddles=2))
        assert (verdict.half_width_shares, verdict.target_delta_shares) == (6.0, 0.0)
        assert "last hour" in verdict.reason
        assert "last hour" not in band.judge(_with(years=ONE_HOUR_YEARS)).reason
        assert band.judge(_with(years=0.0)).half_width_shares == 3.0

    def test_arrays_broadcast(self):
        gammas = np.array([0.5, 2.0])
        wide = whalley_wilmott_band(gammas, 500.0, 0.1, 1e-5, 0.001)
        assert wide.tolist() == [whalley_wilmott_band(g, 500.0, 0.1, 1e-5, 0.001) for g in (0.5, 2.0)]
        wide = zakamouline_band(gammas[:, None], np.array([500.0, 400.0, 5.0]), 0.1, 0.2, 1e-5, 0.001)
        assert wide.shape == (2, 3)

    @pytest.mark.rows(
        ("where", "changes"),
        [
            ("spot", {"spot": -1.0}),
            ("risk_aversion", {"risk_aversion": 0.0}),
            ("cost_fraction", {"cost_fraction": -1e-9}),
            ("gamma", {"gamma": np.array([1.0, np.nan])}),
        ],
    )
    def test_formulas_name_the_wrong_argument(self, where, changes):
        good = {"gamma": 2.0, "spot": 500.0, "years": 0.1, "cost_fraction": 1e-5, "risk_aversion": 0.001}
        with pytest.raises(ArgumentError) as refusal:
            whalley_wilmott_band(**(good | changes))
        assert refusal.value.where == where

    def test_the_modified_vol_is_nan_where_its_variance_is_negative(self):
        assert math.isnan(zakamouline_terms(2.0, 500.0, 0.1, 0.2, 0.5, 1.0).modified_vol)


class TestClocks:
    def test_wait_then_go_to_zero(self):
        band = TimeBasedBand(TimeBasedConfig(interval_seconds=600.0))
        early = band.judge(_with(seconds_since_hedge=599.9))
        assert early.inside
        assert early.half_width_shares == math.inf
        due = band.judge(_with(seconds_since_hedge=600.0))
        assert (due.inside, due.target_delta_shares) == (False, 0.0)

    @pytest.mark.parametrize(("net", "inside"), [(0.99, True), (-0.99, True), (1.0, False), (-1.0, False)])
    def test_skip_less_than_one_share(self, net, inside):
        verdict = TimeBasedBand().judge(_with(net_delta_shares=net, seconds_since_hedge=1800.0))
        assert verdict.inside is inside

    def test_lelands_interval_is_the_inverse_of_his_number(self):
        years = leland_interval_years(0.0005, 0.2, 0.25)
        assert leland_number(0.0005, 0.2, years) == pytest.approx(0.25, rel=1e-12)

    def test_leland_waits_longer_where_trading_costs_more(self):
        band = LelandBand(LelandConfig(number=0.1, shortest_seconds=1.0, longest_seconds=1e9))
        cheap, dear = (band.interval_seconds(_with(own_cost_fraction=c)) for c in (1e-5, 2e-5))
        assert dear == pytest.approx(4 * cheap)
        assert band.judge(_with(own_cost_fraction=2e-5, seconds_since_hedge=dear * 0.99)).inside
        assert not band.judge(_with(own_cost_fraction=2e-5, seconds_since_hedge=dear)).inside

    def test_lelands_interval_keeps_its_bounds(self):
        band = LelandBand()
        assert band.interval_seconds(_with(own_cost_fraction=0.0)) == 60.0
        assert band.interval_seconds(_with(own_cost_fraction=0.1)) == 23_400.0
        assert band.interval_seconds(_with(vol=0.0)) == 23_400.0

    def test_lelands_vol_is_below_for_a_long_position_and_above_for_a_short_one(self):
        band = LelandBand()
        long, short = band.delta_vol(POSITION), band.delta_vol(_with(gamma_shares_per_usd=-2.0))
        assert long < POSITION.vol < short
        assert (long**2 + short**2) / 2 == pytest.approx(POSITION.vol**2)

    def test_there_is_no_interval_where_costs_eat_the_variance(self):
        assert leland_vol(0.01, 0.2, 1 / 252 / 390, long_gamma=True) is None
        assert leland_vol(0.01, 0.2, 1 / 252 / 390, long_gamma=False) > 0.2


@pytest.mark.parametrize("wrong", [{"number": 1.0}, {"shortest_seconds": 10.0, "longest_seconds": 5.0}])
def test_settings_of_leland_that_contradict_are_refused_by_name(wrong):
    with pytest.raises(ConfigError) as refusal:
        LelandConfig(**wrong)
    assert refusal.value.where == next(iter(wrong))


def test_lelands_interval_is_in_the_years_of_the_market():
    band = LelandBand(LelandConfig(longest_seconds=1e6))
    coin_year = 365.0 * 86_400.0
    coin = _with(own_cost_fraction=5.04e-4, vol=0.45, multiplier=1, trading_year_seconds=coin_year)
    seconds = band.interval_seconds(coin)
    assert seconds == pytest.approx(8 / math.pi * (5.04e-4 / 0.045) ** 2 * coin_year)
    assert leland_number(5.04e-4, 0.45, seconds / coin_year) == pytest.approx(0.1)
    assert band.interval_seconds(_with(own_cost_fraction=5.04e-4, vol=0.45)) == pytest.approx(
        seconds * 252 * 6.5 / (365 * 24)
    )
