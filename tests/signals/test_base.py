"""Each signal by hand: what scores, which way, and what one missing fact does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scalpdesk.signals.base import Confidence, MarketFacts, Scoring, SignalBar, StrikeInterest, find_signal
from scalpdesk.signals.composite import composite, survey
from scalpdesk.signals.dark_pool_flow import DarkPoolFlow
from scalpdesk.signals.dealer_gamma import DealerGamma
from scalpdesk.signals.gamma_squeeze import GammaSqueeze
from scalpdesk.signals.liquidity_vacuum import LiquidityVacuum
from scalpdesk.signals.opening_drive import OpeningDrive
from scalpdesk.signals.options_pin import OptionsPin
from scalpdesk.signals.vwap_reclaim import VwapReclaim


def bars(*closes, vwap=None, volume=1000.0):
    return tuple(SignalBar(c, c, c, c, volume, vwap) for c in closes)


SQUEEZE = MarketFacts(
    price=590.6,
    bars=bars(590.0, 590.6),
    near_exposure_usd=-4e8,
    near_exposure_p90_usd=8e8,
    minute_vol=0.0004,
    volume_ratio=2.1,
)


def test_gamma_squeeze_measured():
    reading = GammaSqueeze().measured(SQUEEZE)
    assert reading.score == pytest.approx(4.0 * 0.5 + 3.0 + 1.5)
    assert (reading.direction, reading.confidence) == (1, Confidence.HIGH)
    down = replace(SQUEEZE, bars=bars(590.6, 590.0))
    assert GammaSqueeze().measured(down).direction == -1


@pytest.mark.rows(
    ("change", "lost"),
    [
        ({"near_exposure_usd": 4e8}, 2.0),
        ({"minute_vol": 0.0006}, 3.0),
        ({"volume_ratio": 2.0}, 1.5),
    ],
)
def test_gamma_squeeze_measured_each_part(change, lost):
    score = GammaSqueeze().measured(replace(SQUEEZE, **change)).score
    assert score == pytest.approx(6.5 - lost)


@pytest.mark.rows("field", ["near_exposure_usd", "near_exposure_p90_usd", "minute_vol", "volume_ratio"])
def test_gamma_squeeze_measured_needs_each_fact(field):
    assert GammaSqueeze().measured(replace(SQUEEZE, **{field: None})).is_absent


def test_gamma_squeeze_original_looks_at_the_nearest_ten_not_the_first_ten():
    far = tuple(StrikeInterest(500.0 + i, 9000, 0) for i in range(10))
    facts = replace(SQUEEZE, strikes=(*far, StrikeInterest(590.0, 0, 1001)), volume_ratio=1.0)
    assert GammaSqueeze().original(facts).score == pytest.approx(4.0 + 3.0)


RECLAIM = MarketFacts(price=590.4, bars=bars(589.0, 589.2, 589.3, 590.4, vwap=590.0), volume_ratio=1.6)


def test_vwap_reclaim_measured_both_ways():
    up = VwapReclaim().measured(RECLAIM)
    assert (up.score, up.direction) == (7.0, 1)
    down = VwapReclaim().measured(replace(RECLAIM, bars=bars(591.0, 590.8, 590.7, 589.6, vwap=590.0)))
    assert (down.score, down.direction) == (7.0, -1)


@pytest.mark.rows(
    ("closes", "ratio", "score"),
    [
        ((589.0, 589.2, 589.3, 590.4), 1.5, 5.0),  # the volume is not above 1.5
        ((589.0, 589.2, 589.3, 590.1), 1.6, 6.0),  # not well beyond
        ((589.0, 589.2, 589.6, 590.4), 1.6, 0.0),  # the third was less than 0.10 % away
        ((589.0, 589.2, 589.3, 589.5), 1.6, 0.0),  # still on the same side
        ((589.0, 591.2, 589.3, 590.4), 1.6, 0.0),  # one was on the other side
    ],
)
def test_vwap_reclaim_measured_needs_all(closes, ratio, score):
    facts = replace(RECLAIM, bars=bars(*closes, vwap=590.0), volume_ratio=ratio)
    assert VwapReclaim().measured(facts).score == pytest.approx(score)


def test_vwap_reclaim_judges_each_bar_by_the_average_of_its_own_time():
    moving = tuple(
        SignalBar(c, c, c, c, 1000.0, vwap)
        for c, vwap in ((590.1, 591.0), (589.9, 590.8), (589.8, 590.6), (590.6, 590.0))
    )
    assert VwapReclaim().measured(replace(RECLAIM, bars=moving)).direction == 1
    assert (
        VwapReclaim().measured(replace(RECLAIM, bars=bars(590.1, 589.9, 589.8, 590.6, vwap=590.0))).score == 0
    )


def test_vwap_reclaim_original_has_no_direction():
    facts = MarketFacts(price=590.1, vwap=590.0, bars=bars(589.7, 590.1), volume_ratio=1.6)
    assert VwapReclaim().original(facts).direction == 0


DRIVE = MarketFacts(
    price=592.0,
    open_price=590.0,
    prior_high=591.5,
    prior_low=588.0,
    opening_volume_ratio=2.1,
)


def test_opening_drive_goes_where_the_price_went():
    assert OpeningDrive().measured(DRIVE).score == pytest.approx(7.5)
    assert OpeningDrive().measured(DRIVE).direction == 1
    down = OpeningDrive().measured(replace(DRIVE, price=587.0))
    assert (down.score, down.direction) == (7.5, -1)


@given(
    price=st.floats(580.0, 600.0),
    prior=st.floats(585.0, 595.0),
    overnight=st.none() | st.floats(585.0, 595.0),
    scoring=st.sampled_from(["measured", "original"]),
)
def test_opening_drive_counts_a_level_only_with_a_move_beyond_a_fifth_of_a_percent(
    price, prior, overnight, scoring
):
    facts = MarketFacts(
        price=price,
        open_price=590.0,
        prior_high=prior,
        prior_low=prior,
        overnight_high=overnight,
        overnight_low=overnight,
        opening_volume_ratio=2.1,
    )
    reading = getattr(OpeningDrive(), scoring)(facts)
    moved = abs(price / 590.0 - 1.0)
    if moved < 0.002 - 1e-9:
        assert reading.score == 2.0  # the volume's alone
    elif moved > 0.002 + 1e-9 and not reading.is_absent:
        beyond = (price - prior) * (price - 590.0) > 0
        others = overnight is not None and (price - overnight) * (price - 590.0) > 0
        assert reading.score == 5.0 + (2.5 if beyond else 2.0 if others else 0.0)


def test_opening_drive_without_premarket_is_scored_measured_and_absent_originally():
    inside = replace(DRIVE, price=591.4)
    assert OpeningDrive().measured(inside).score == pytest.approx(5.0)
    assert OpeningDrive().original(inside).is_absent
    known = replace(inside, overnight_high=591.0, overnight_low=589.0)
    assert OpeningDrive().original(known).score == pytest.approx(7.0)
    assert OpeningDrive().original(DRIVE).score == pytest.approx(7.5)  # yesterday's level is enough


VACUUM = MarketFacts(
    price=591.0,
    bars=bars(590.0, 590.0, 591.0),
    spread=0.05,
    spread_median=0.02,
    top_size=400.0,
    top_size_median=1000.0,
    minute_vol=0.0005,
    volume_ratio=0.7,
)


def test_liquidity_vacuum_measured():
    reading = LiquidityVacuum().measured(VACUUM)
    assert (reading.score, reading.direction) == (6.5, 1)
    assert LiquidityVacuum().measured(replace(VACUUM, spread=0.04)).score == pytest.approx(2.5)
    assert LiquidityVacuum().measured(replace(VACUUM, top_size=500.0)).score == pytest.approx(2.5)
    assert LiquidityVacuum().measured(replace(VACUUM, volume_ratio=0.8)).score == pytest.approx(6.0)
    assert LiquidityVacuum().measured(replace(VACUUM, minute_vol=0.001)).score == pytest.approx(4.5)


@pytest.mark.rows(
    ("signal", "facts"),
    [(GammaSqueeze, SQUEEZE), (VwapReclaim, RECLAIM), (LiquidityVacuum, VACUUM)],
)
def test_a_volume_with_too_few_sessions_to_compare_is_absent_with_their_number(signal, facts):
    why = "this minute was watched in 3 earlier sessions, 20 needed"
    reading = signal().measured(replace(facts, volume_ratio=None, volume_unknown=why))
    assert (reading.is_absent, reading.reasons) == (True, (why,))
    reading = signal().measured(replace(facts, volume_ratio=None))
    assert reading.reasons == ("no earlier sessions to compare the volume with",)


def test_liquidity_vacuum_original_without_volume_is_absent():
    silent = replace(VACUUM, bars=bars(590.0, 590.0, 591.0, volume=0.0))
    assert LiquidityVacuum().original(silent).is_absent


def pin(price, call, put, hours=3.0):
    return MarketFacts(
        price=price,
        bars=bars(price, price, price, price, price),
        strikes=(StrikeInterest(call, 9000, 10), StrikeInterest(put, 10, 9000)),
        hours_to_expiry=hours,
    )


@pytest.mark.rows(
    ("price", "call", "put", "direction"),
    [
        (590.3, 590.0, 585.0, -1),
        (589.7, 590.0, 585.0, 1),
        (590.1, 590.0, 585.0, 0),  # less than 0.15 to the pin
        (590.15, 590.0, 585.0, -1),  # exactly 0.15 is enough
        (590.25, 590.0, 590.5, 0),  # one pin on each side
        (590.3, 590.0, 590.0, -1),
    ],
)
def test_options_pin_goes_toward_the_pin_where_there_is_room(price, call, put, direction):
    assert OptionsPin().measured(pin(price, call, put)).direction == direction


def test_options_pin_half_a_dollar_away_is_no_pin():
    assert OptionsPin().measured(pin(590.5, 590.0, 585.0)).score == 0


def test_options_pin_measured_needs_the_hours_that_original_leaves_out():
    facts = replace(pin(590.2, 590.0, 585.0), hours_to_expiry=None)
    assert OptionsPin().measured(facts).is_absent
    assert OptionsPin().original(facts).score == pytest.approx(4.0)


def test_dark_pool_flow_measured():
    facts = MarketFacts(
        price=590.2, bars=bars(590.0, 590.1), off_exchange_share_z=2.5, off_exchange_print=590.4
    )
    reading = DarkPoolFlow().measured(facts)
    assert (reading.score, reading.direction, reading.confidence) == (4.5, -1, Confidence.MEDIUM)
    assert DarkPoolFlow().measured(replace(facts, off_exchange_share_z=3.5)).score == pytest.approx(5.5)
    assert DarkPoolFlow().measured(replace(facts, bars=bars(590.0, 590.6))).score == 0
    assert DarkPoolFlow().measured(replace(facts, off_exchange_print=590.2)).direction == 0


def test_dark_pool_flow_measured_is_absent_without_prints():
    reading = DarkPoolFlow().measured(MarketFacts(price=590.2, bars=bars(590.0, 590.1)))
    assert reading.is_absent
    assert "off-exchange" in reading.reasons[0]


def test_dealer_gamma_measured_follows_when_negative_and_reverts_when_positive():
    facts = MarketFacts(
        price=592.0,
        vwap=590.0,
        bars=bars(590.6, 592.0),
        minute_vol=0.001,
        exposure_usd=-4e9,
        exposure_p90_usd=5e9,
    )
    momentum = DealerGamma().measured(facts)
    assert (momentum.score, momentum.direction) == (pytest.approx(9 * 0.8), 1)
    assert DealerGamma().measured(replace(facts, minute_vol=0.002)).score == 0
    back = DealerGamma().measured(replace(facts, exposure_usd=6e9))
    assert (back.score, back.direction, back.confidence) == (pytest.approx(6.0), -1, Confidence.MEDIUM)
    assert DealerGamma().measured(replace(facts, exposure_usd=6e9, price=591.0)).score == 0


def test_dealer_gamma_unknown_says_why():
    facts = MarketFacts(price=592.0, exposure_unknown="last word is 16 minutes old")
    assert DealerGamma().measured(facts).reasons == ("last word is 16 minutes old",)


@pytest.mark.rows(("delta", "score", "direction"), [(5.0, 0.0, 0), (5.1, 9.0, -1), (-6.0, 9.0, 1)])
def test_dealer_gamma_original_is_the_own_books_delta(delta, score, direction):
    reading = DealerGamma().original(MarketFacts(price=590.0, own_delta_shares=delta))
    assert (reading.score, reading.direction) == (score, direction)


def test_composite_breaks_ties_by_raw_score_then_name():
    weights = {"A": 10.0, "B": 5.0, "C": 5.0}
    assert composite({"A": 2.0, "B": 4.0}, weights).primary == "B"
    assert composite({"C": 4.0, "B": 4.0}, weights).primary == "B"
    assert composite({"A": 0.0}, weights).primary is None


def test_survey_chooses_by_weight_measured_and_by_raw_score_originally():
    signals = (DealerGamma(), VwapReclaim())
    facts = replace(
        RECLAIM,
        vwap=590.3,
        own_delta_shares=10.0,
        exposure_usd=-5e9,
        exposure_p90_usd=5e9,
        minute_vol=0.0001,
    )
    found = survey(signals, facts, Scoring.MEASURED)
    assert found.chosen is not None
    assert found.chosen.name == "DEALER_GAMMA"
    weighted = found.composite.weighted
    assert weighted == {"DEALER_GAMMA": pytest.approx(8.1), "VWAP_RECLAIM": pytest.approx(4.9)}
    assert found.composite.total == pytest.approx(13.0)


def test_survey_original_takes_the_largest_raw_score_whatever_its_weight():
    """Pin 6.0 (weighted 3.6) is beaten by squeeze 5.5 (weighted 4.675) only where weights count."""
    signals = (find_signal("options_pin"), find_signal("gamma_squeeze"))
    facts = replace(pin(590.3, 590.0, 590.0), bars=bars(590.3, 590.3, 590.3, 590.3, 590.31), volume_ratio=2.5)
    assert survey(signals, facts, Scoring.ORIGINAL).chosen.name == "OPTIONS_PIN"
    both = survey(signals, facts, Scoring.ORIGINAL).composite
    assert both.primary == "GAMMA_SQUEEZE"


@pytest.mark.rows(
    ("facts", "why"),
    [
        (MarketFacts(price=590.0), "no signal"),
        (pin(590.25, 590.0, 590.5), "no direction"),
        (
            replace(pin(590.3, 590.0, 585.0, hours=5.0), bars=bars(589.0, 589.9, 590.2, 590.3, 590.3)),
            "least 4",
        ),
    ],
)
def test_survey_says_why_nothing_is_chosen(facts, why):
    found = survey((OptionsPin(),), facts, Scoring.MEASURED)
    assert found.chosen is None
    assert why in found.against


def test_survey_among_the_tradable_lets_a_weaker_signal_through():
    """A drive of 5.5 (weighted 4.125) falls short of its 6 and hides a reclaim of 5 (weighted 3.5)."""
    signals = (OpeningDrive(), VwapReclaim())
    facts = replace(
        RECLAIM,
        open_price=589.0,
        prior_high=590.0,
        prior_low=580.0,
        opening_volume_ratio=1.0,
        volume_ratio=1.0,
    )
    first = survey(signals, facts, Scoring.MEASURED)
    assert first.chosen is None
    assert "OPENING_DRIVE scores 5.50, least 6" in first.against
    second = survey(signals, facts, Scoring.MEASURED, only_tradable=True)
    assert second.chosen is not None
    assert second.chosen.name == "VWAP_RECLAIM"
    assert second.composite == first.composite
    alone = survey(signals[:1], facts, Scoring.MEASURED, only_tradable=True)
    assert alone.chosen is None
    assert alone.against == first.against
