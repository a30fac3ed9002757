from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.hedging.bands.regime_threshold import (
    RegimeThresholdBand,
    RegimeThresholdConfig,
    hedge_shares_for,
    judge_hedge,
    net_delta,
)
from scalpdesk.hedging.base import HedgeInputs

D = Decimal
SECOND = 1_000_000_000
BAND = RegimeThresholdBand()


def inputs(net=20.0, gex=None, gamma=5.0, since=1e9, now_ns=1_000 * SECOND):
    """One contract's worth of net delta (shares), with dealer gamma of SPX where it is known."""
    event = None if gex is None else GammaExposureEvent("SPX", now_ns, now_ns, float(gex), "chain")
    known = {} if event is None else {"SPX": event}
    return HedgeInputs(net, gamma, 500.0, 0.001, 0.2, 0.0, 1, 100, since, 1e-5, now_ns, "SPY", known)


def threshold_for(gex):
    return BAND.threshold(inputs(gex=gex))[0]


def judge(positions, *, shares=0, multiplier=1, gex=None, since=None):
    net = net_delta([(D(delta), D(quantity)) for delta, quantity in positions], D(shares), multiplier)
    return judge_hedge(net, multiplier, threshold_for(gex), since)


def test_the_documents_example():
    verdict = judge([("0.65", 10)])
    assert (verdict.net_delta, verdict.quantity_shares, verdict.reason) == (D("6.5"), -7, "delta_hedge")


def test_the_multiplier_makes_contracts_of_shares():
    assert judge([("0.65", 10)], multiplier=100).quantity_shares == -650


def test_the_hedge_that_is_held_counts():
    held = judge([("0.65", 10)], shares=-650, multiplier=100)
    assert (held.net_delta, held.reason) == (0, "within_threshold")
    assert judge([("0.65", 10)], shares=-7).reason == "delta_hedge"  # rounding left half a share over


@pytest.mark.rows(("gex", "threshold"), [(None, "0.15"), (0, "0.15"), (1, "0.15"), (-1, "0.10")])
def test_only_known_negative_exposure_tightens(gex, threshold):
    assert threshold_for(gex) == D(threshold)


def test_at_the_threshold_nothing_is_done():
    assert judge([("0.15", 1)], multiplier=100).reason == "within_threshold"
    assert judge([("0.1500001", 1)], multiplier=100).reason == "delta_hedge"
    assert judge([("-0.10", 1)], multiplier=100, gex=D(-5)).reason == "within_threshold"


def test_sixty_seconds_are_enough_and_a_nanosecond_less_is_not():
    assert judge([("-0.65", 10)], since=60 * SECOND).quantity_shares == 7
    assert judge([("-0.65", 10)], since=60 * SECOND - 1).reason == "rate_limited"


def test_less_than_half_a_share_is_no_order():
    assert judge([("0.30", 1)]).reason == "rounds_to_zero"
    assert judge([("0.50", 1)]).quantity_shares == -1


@pytest.mark.rows(("net", "shares"), [("6.5", -7), ("-6.5", 7), ("0.5", -1), ("-0.5", 1), ("2.5", -3)])
def test_ties_go_away_from_zero(net, shares):
    assert hedge_shares_for(D(net), 1) == shares


def test_a_multiplier_below_one_is_refused():
    with pytest.raises(ArgumentError):
        net_delta([], D(0), 0)


@pytest.mark.rows(
    "wrong",
    [
        {"threshold": D(0)},
        {"threshold": D("NaN")},
        {"threshold_negative_gex": D("-0.1")},
        {"seconds_between_hedges": -1.0},
        {"seconds_between_hedges": float("nan")},
        {"gex_max_age_seconds": 1e9},
        {"macro_widening": D(11)},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError) as refusal:
        RegimeThresholdConfig(**wrong)
    assert next(iter(wrong)) in refusal.value.where


deltas = st.decimals(-1, 1, places=6)
books = st.lists(st.tuples(deltas, st.integers(-500, 500).map(D)), max_size=6)


@given(books, st.integers(-50_000, 50_000), st.sampled_from([1, 10, 100]))
def test_a_hedge_leaves_at_most_half_a_share_over(positions, shares, multiplier):
    verdict = judge_hedge(net_delta(positions, D(shares), multiplier), multiplier, D("0.15"), None)
    after = net_delta(positions, D(shares + verdict.quantity_shares), multiplier)
    if verdict.reason == "delta_hedge":
        assert abs(after * multiplier) <= D("0.5") + D("1e-20")
        # and so another hedge at once finds nothing, or less than the threshold of a share
        again = judge_hedge(after, multiplier, D("0.15"), None)
        assert abs(again.quantity_shares) <= 1
    else:
        assert verdict.quantity_shares == 0


@given(books, st.integers(-50_000, 50_000))
def test_mirrored_books_are_hedged_mirrored(positions, shares):
    net = net_delta(positions, D(shares), 100)
    mirrored = net_delta([(-delta, quantity) for delta, quantity in positions], D(-shares), 100)
    assert mirrored == -net
    assert hedge_shares_for(mirrored, 100) == -hedge_shares_for(net, 100)


@given(st.decimals(-1000, 1000, places=8))
def test_rounding_is_to_the_nearest_share(net):
    shares = hedge_shares_for(net, 100)
    assert D(shares) == (-net * 100).to_integral_value(ROUND_HALF_UP)
    assert abs(shares + net * 100) <= D("0.5")


def test_the_band_hedges_to_zero_beyond_its_threshold_and_names_its_figures():
    verdict = BAND.judge(inputs(net=15.1))
    assert (verdict.inside, verdict.target_delta_shares, verdict.half_width_shares) == (False, 0.0, 15.0)
    assert verdict.facts == {"regime": "dealers", "net_delta_contracts": 0.151, "threshold_contracts": 0.15}
    assert BAND.judge(inputs(net=15.0)).inside
    tight = BAND.judge(inputs(net=10.1, gex=-1.0))
    assert (tight.inside, tight.facts["gex_usd_SPX"]) == (False, -1.0)
    assert BAND.judge(inputs(net=15.1, since=59.9)).inside
