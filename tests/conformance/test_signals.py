"""The questions that every signal answers; a new signal's file is found by itself."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.sockets import SIGNALS
from scalpdesk.signals.base import (
    Confidence,
    MarketFacts,
    Scoring,
    SignalBar,
    StrikeInterest,
    find_signal,
    read_signal,
)

NAMES = SIGNALS.names()
EVERY = [(name, scoring) for name in NAMES for scoring in Scoring]

prices = st.integers(58_000, 60_000).map(lambda cents: cents / 100.0)
shares = st.integers(0, 20_000).map(float)
ratios = st.one_of(st.none(), st.floats(0.0, 6.0))
dollars = st.one_of(st.none(), st.floats(-5e9, 5e9))


@st.composite
def minute_bars(draw):
    open_, close = draw(prices), draw(prices)
    return SignalBar(
        open_, max(open_, close), min(open_, close), close, draw(shares), draw(st.one_of(st.none(), prices))
    )


strikes = st.lists(
    st.builds(
        StrikeInterest,
        st.integers(575, 605).map(float),
        st.integers(0, 20_000),
        st.integers(0, 20_000),
    ),
    max_size=12,
).map(tuple)


def maybe(strategy):
    return st.one_of(st.none(), strategy)


all_facts = st.builds(
    MarketFacts,
    price=prices,
    bars=st.lists(minute_bars(), max_size=14).map(tuple),
    volume_ratio=ratios,
    vwap=maybe(prices),
    open_price=maybe(prices),
    prior_high=maybe(prices),
    prior_low=maybe(prices),
    overnight_high=maybe(prices),
    overnight_low=maybe(prices),
    opening_volume_ratio=ratios,
    minute_vol=maybe(st.floats(0.0, 0.01)),
    spread=maybe(st.floats(0.01, 0.5)),
    spread_median=maybe(st.floats(0.0, 0.5)),
    top_size=maybe(shares),
    top_size_median=maybe(shares),
    strikes=maybe(strikes),
    hours_to_expiry=maybe(st.floats(0.0, 6.5)),
    exposure_usd=dollars,
    exposure_p90_usd=maybe(st.floats(0.0, 5e9)),
    near_exposure_usd=dollars,
    near_exposure_p90_usd=maybe(st.floats(0.0, 5e9)),
    off_exchange_share_z=maybe(st.floats(-5.0, 5.0)),
    off_exchange_print=maybe(prices),
    volume_trend=maybe(st.sampled_from(["increasing", "neutral", "decreasing"])),
    own_delta_shares=maybe(st.floats(-1e4, 1e4)),
)


@pytest.fixture(scope="module")
def drawn():
    """Forty markets, each with a field to leave out; drawing them costs more than reading them."""
    found = []

    @given(facts=all_facts, field=st.sampled_from(MarketFacts.__struct_fields__[2:]))
    def draw(facts, field):
        found.append((facts, field))

    draw()
    return found


def test_all_seven_are_found_by_their_files():
    assert set(NAMES) >= {
        "gamma_squeeze",
        "vwap_reclaim",
        "opening_drive",
        "liquidity_vacuum",
        "options_pin",
        "dark_pool_flow",
        "dealer_gamma",
    }


def test_an_unknown_signal_is_refused_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        find_signal("gama_squeeze")
    assert caught.value.nearest == "gamma_squeeze"


@pytest.mark.rows("name", NAMES)
def test_the_figures_fit_one_another(name):
    signal = find_signal(name)
    assert signal.name == name.upper()
    assert 0.0 < signal.medium_from < signal.high_from
    assert signal.medium_from <= signal.weight
    assert 0.0 < signal.minimum <= signal.weight


@pytest.mark.rows(("name", "scoring"), EVERY)
def test_without_facts_the_signal_is_absent_and_says_why(name, scoring):
    reading = read_signal(find_signal(name), MarketFacts(price=590.0), scoring)
    assert reading.is_absent
    assert not reading.exists
    assert reading.direction == 0
    assert reading.confidence is Confidence.LOW
    assert len(reading.reasons) == 1
    assert reading.reasons[0]


@pytest.mark.rows(("name", "scoring"), EVERY)
def test_every_reading_is_of_one_form(name, scoring, drawn):
    signal = find_signal(name)
    for facts, _ in drawn:
        reading = read_signal(signal, facts, scoring)
        assert reading == read_signal(signal, facts, scoring), facts
        assert reading.name == signal.name
        assert reading.direction in (-1, 0, 1), facts
        if reading.score is None:
            assert len(reading.reasons) == 1, facts
            assert reading.direction == 0, facts
            continue
        assert 0.0 <= reading.score <= signal.weight, facts
        assert reading.exists == (reading.score > 0.0), facts
        if reading.exists:
            assert reading.reasons, facts
        wanted = Confidence.LOW
        if reading.score >= signal.medium_from - 1e-12:
            wanted = Confidence.MEDIUM
        if reading.score >= signal.high_from - 1e-12:
            wanted = Confidence.HIGH
        assert reading.confidence is wanted, facts


@pytest.mark.rows(("name", "scoring"), EVERY)
def test_a_missing_fact_never_adds_to_a_score(name, scoring, drawn):
    """None is no good news: without it the signal is absent or scores as much or less."""
    signal = find_signal(name)
    for facts, field in drawn:
        if field.endswith("_unknown"):
            continue
        full = read_signal(signal, facts, scoring)
        less = read_signal(signal, msgspec.structs.replace(facts, **{field: None}), scoring)
        if full.is_absent:
            assert less.is_absent, (facts, field)
        elif not less.is_absent:
            assert less.score <= full.score, (facts, field)
