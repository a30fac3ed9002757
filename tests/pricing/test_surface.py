import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from scalpdesk.core.errors import ArgumentError
from scalpdesk.pricing.surface import FitVerdict, SmileQuotes, SurfaceExpiry, VolSurface, fit_surface
from scalpdesk.pricing.svi import SviSmile, check_arbitrage

SHAPE = SviSmile(0.35, 0.5, -0.5, 0.2, 0.6)


def quotes(label, years, vol, *, forward=100.0, shape=SHAPE, half_width=0.01, strikes=25, noise=None):
    theta = vol**2 * years
    smile = shape.scaled(theta / float(shape.total_variance(0.0)))
    k = np.linspace(-2.5, 2.5, strikes) * np.sqrt(theta) if strikes > 1 else np.zeros(1)
    level = np.sqrt(smile.total_variance(k) / years)
    if noise is not None:
        level = level * np.exp(noise)
    return SmileQuotes(
        label, years, forward, forward * np.exp(k), level * (1 - half_width), level * (1 + half_width)
    )


@pytest.fixture(scope="module")
def surface():
    return fit_surface(
        [
            quotes("month", 30 / 365, 0.20, forward=100.3),
            quotes("day", 1 / 365, 0.30, forward=100.01),
            quotes("week", 7 / 365, 0.24, forward=100.07),
        ],
        100.0,
    )


def test_expiries_come_in_order_and_fit(surface):
    assert [expiry.label for expiry in surface.expiries] == ["day", "week", "month"]
    for expiry, vol in zip(surface.expiries, (0.30, 0.24, 0.20), strict=True):
        assert expiry.verdict is FitVerdict.OK
        assert expiry.atm_vol == pytest.approx(vol, rel=2e-3)
        assert expiry.share_inside == 1.0
        assert expiry.rms_residual < 0.001
        assert expiry.quotes_used == 25
        assert expiry.left.is_free
    assert surface.share_inside == 1.0


def test_skew_and_curvature_are_of_the_25_delta_options(surface):
    week = surface.expiries[1]
    # the same by bisection on the call's forward delta
    low, high = -0.3, 0.3
    for _ in range(80):
        k = 0.5 * (low + high)
        root = float(np.sqrt(week.smile.total_variance(k)))
        low, high = (k, high) if ndtr(-k / root + root / 2) > 0.25 else (low, k)
    call = float(np.sqrt(week.smile.total_variance(k) / week.years))
    assert week.delta_vol(0.25) == pytest.approx(call, abs=2e-6)
    assert week.risk_reversal < 0.0 < week.butterfly
    assert week.delta_vol(0.25) - week.delta_vol(0.75) == week.risk_reversal


def test_a_delta_far_out_in_a_steep_wing_is_found_and_one_that_no_strike_has_is_nan():
    """Two years at 77 %: the 25-delta call is 6.95 deviations out (Brent's root of N(d1) = 0.25)."""

    def expiry(b, rho):
        smile = SviSmile(1.2 - 0.8 * b, b, rho, 0.0, 0.8)
        none = np.zeros(0)
        return SurfaceExpiry(
            "two years", 2.0, 2.0, 100.0, smile, FitVerdict.OK, none, none, none > 0, none > 0
        )

    steep = expiry(0.9, 0.5)
    assert steep.atm_vol == pytest.approx(0.7746, abs=1e-4)
    assert steep.delta_vol(0.25) == pytest.approx(2.323857, abs=1e-5)
    assert np.isnan(expiry(1.25, 0.6).delta_vol(0.25))  # a slope of 2: N(d1) never falls so far


def test_variance_is_linear_in_time_between_expiries(surface):
    early, late = (surface.total_variance(0.01, days / 365) for days in (7, 30))
    between = surface.total_variance(0.01, 18.5 / 365)
    assert float(between) == pytest.approx(0.5 * float(early + late), rel=1e-12)
    assert float(surface.vol(surface.forward(7 / 365), 7 / 365)) == pytest.approx(0.24, rel=2e-3)


def test_time_is_the_caller_s_clock_when_there_is_one():
    # all variance of the week falls into its last half
    def clock(years):
        return max(years - 3.5 / 365, years * 1e-3)

    entries = [quotes("day", 1 / 365, 0.30), quotes("week", 7 / 365, 0.24)]
    slow = fit_surface(entries, 100.0, clock=clock, clock_name="late week")
    even = fit_surface(entries, 100.0)
    assert slow.clock_name == "late week"
    assert even.clock_name == "calendar-365"
    at = 3.5 / 365
    assert float(slow.total_variance(0.0, at)) < float(even.total_variance(0.0, at))
    assert slow.total_variance(0.0, 7 / 365) == pytest.approx(even.total_variance(0.0, 7 / 365))


def test_forwards_are_between_their_neighbours_and_run_on(surface):
    assert surface.forward(0.0) == pytest.approx(100.0, abs=1e-12)
    assert surface.forward(7 / 365) == pytest.approx(100.07)
    assert 100.07 < surface.forward(20 / 365) < 100.3
    assert surface.forward(60 / 365) > 100.3


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(0.1, 0.6), min_size=2, max_size=4),
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 0.1),
)
def test_no_arbitrage_whatever_the_quotes_say(vols, seed, noise):
    generator = np.random.default_rng(seed)
    days = np.array([0.2, 2.0, 9.0, 30.0])[: len(vols)]
    surface = fit_surface(
        [
            quotes(day, day / 365, vol, noise=noise * generator.standard_normal(25))
            for day, vol in zip(days, vols, strict=True)
        ],
        100.0,
    )
    before = None
    for expiry in surface.expiries:
        assert expiry.smile is not None
        assert expiry.verdict is not FitVerdict.ARBITRAGE_LEFT
        theta = float(expiry.smile.total_variance(0.0))
        found = check_arbitrage(expiry.smile, theta, before)
        # on another grid than the fit's own: a dip between two points of that may show, to the fourth digit
        assert found.butterfly < 1e-3
        assert found.calendar == 0.0
        before = expiry.smile
    k = np.linspace(-0.5, 0.5, 101)
    times = np.array([1e-6, 0.1, 0.2, 1.0, 2.0, 5.0, 9.0, 20.0, 30.0, 90.0]) / 365
    growing = np.array([surface.total_variance(k, years) for years in times])
    assert np.all(np.diff(growing, axis=0) >= -1e-12)


def test_two_roots_may_share_an_instant():
    surface = fit_surface(
        [quotes("a", 7 / 365, 0.24), quotes("monthly", 30 / 365, 0.2), quotes("weekly", 30 / 365, 0.2)], 100.0
    )
    assert float(surface.vol(100.0, 60 / 365)) == pytest.approx(0.19, abs=0.01)
    lone = fit_surface([quotes("monthly", 30 / 365, 0.2), quotes("weekly", 30 / 365, 0.2)], 100.0)
    assert float(lone.vol(100.0, 60 / 365)) == pytest.approx(0.2, abs=0.01)


def test_a_falling_variance_is_repaired_and_said():
    surface = fit_surface([quotes("near", 10 / 365, 0.40), quotes("far", 11 / 365, 0.30)], 100.0)
    far = surface.expiries[1]
    assert far.verdict is FitVerdict.ARBITRAGE_REPAIRED
    assert far.found.calendar > 0.1
    assert far.left.is_free
    assert far.atm_vol > 0.3


def test_few_quotes_give_level_and_skew_none_give_a_name():
    nothing = quotes("none", 20 / 365, 0.2, strikes=3)
    blind = SmileQuotes("none", 20 / 365, 100.0, nothing.strike, nothing.bid_vol * np.nan, nothing.ask_vol)
    surface = fit_surface(
        [
            quotes("one", 1 / 365, 0.30, strikes=1),
            quotes("two", 7 / 365, 0.25, strikes=2),
            blind,
            SmileQuotes("lost", 25 / 365, float("nan"), nothing.strike, nothing.bid_vol, nothing.ask_vol),
            SmileQuotes("over", 0.0, 100.0, nothing.strike, nothing.bid_vol, nothing.ask_vol),
        ],
        100.0,
    )
    by_label = {expiry.label: expiry for expiry in surface.expiries}
    assert {label: str(expiry.verdict) for label, expiry in by_label.items()} == {
        "over": "expired",
        "one": "few_quotes",
        "two": "few_quotes",
        "none": "too_few_quotes",
        "lost": "no_forward",
    }
    assert by_label["one"].atm_vol == pytest.approx(0.30)
    assert by_label["two"].share_inside == 1.0
    assert by_label["none"].smile is None
    assert np.isnan(by_label["none"].atm_vol)
    assert np.isnan(by_label["none"].risk_reversal)
    assert np.isnan(by_label["none"].share_inside)
    # the expiries without a smile are bridged
    assert np.isfinite(surface.vol(100.0, 20 / 365))


def test_crossed_and_one_sided_quotes_are_not_used():
    good = quotes("week", 7 / 365, 0.24)
    bid, ask = good.bid_vol.copy(), good.ask_vol.copy()
    bid[3], ask[3] = ask[3] + 0.2, bid[3] + 0.1
    bid[5], ask[8] = np.nan, np.nan
    surface = fit_surface([SmileQuotes("week", good.years, 100.0, good.strike, bid, ask)], 100.0)
    week = surface.expiries[0]
    assert week.quotes_used == 22
    assert np.flatnonzero(~week.used).tolist() == [3, 5, 8]
    assert np.isnan(week.residual[[3, 5, 8]]).all()
    assert week.share_inside == 1.0


def test_quotes_of_another_moment_keep_their_own_moneyness():
    here = quotes("week", 7 / 365, 0.24)
    shift = 0.002 * (-1.0) ** np.arange(len(here.strike))
    shape = fit_surface([here], 100.0).expiries[0].smile
    vol = np.sqrt(shape.total_variance(here.k + shift) / here.years)
    then = SmileQuotes("week", here.years, 100.0, here.strike, vol * 0.999, vol * 1.001, here.k + shift)
    told = fit_surface([then], 100.0).expiries[0]
    untold = fit_surface(
        [SmileQuotes("week", here.years, 100.0, here.strike, vol * 0.999, vol * 1.001)], 100.0
    ).expiries[0]
    assert told.rms_residual < 0.2 * untold.rms_residual


def test_a_refit_starts_from_the_last_and_agrees_with_a_cold_one(surface):
    moved = [
        quotes(label, days / 365, vol * 1.01, forward=100.5)
        for label, days, vol in (("day", 1, 0.30), ("week", 7, 0.24), ("month", 30, 0.20))
    ]
    warm, cold = fit_surface(moved, 100.4, previous=surface), fit_surface(moved, 100.4)
    for mine, other in zip(warm.expiries, cold.expiries, strict=True):
        assert mine.vol(mine.strike) == pytest.approx(other.vol(mine.strike), rel=2e-3)
    assert warm.share_inside == 1.0


def test_seconds_to_expiry_are_a_smile_like_any_other():
    seconds = quotes("last", 5 / 365 / 86_400, 0.5, forward=272.3, strikes=7)
    last = fit_surface([seconds], 272.3).expiries[0]
    assert last.verdict is FitVerdict.OK
    assert last.atm_vol == pytest.approx(0.5, rel=1e-2)
    assert last.share_inside == 1.0


def test_bad_calls_are_refused(surface):
    good = quotes("week", 7 / 365, 0.24)
    with pytest.raises(ArgumentError, match="share a label"):
        fit_surface([good, good], 100.0)
    with pytest.raises(ArgumentError, match="spot"):
        fit_surface([good], float("nan"))
    with pytest.raises(ArgumentError, match="one length"):
        fit_surface([SmileQuotes("x", 0.1, 100.0, good.strike, good.bid_vol[:3], good.ask_vol)], 100.0)
    with pytest.raises(ArgumentError, match="above 0"):
        surface.vol(100.0, 0.0)
    with pytest.raises(ArgumentError, match="at least 0"):
        surface.total_variance(0.0, -1.0)
    with pytest.raises(ArgumentError, match="no expiry"):
        VolSurface(100.0, ()).total_variance(0.0, 0.1)
    assert VolSurface(100.0, ()).forward(1.0) == 100.0


@pytest.mark.parametrize(
    ("half_width", "verdict"), [(0.0005, FitVerdict.OUTSIDE_QUOTES), (0.1, FitVerdict.OK)]
)
def test_a_fit_that_most_quotes_do_not_hold_is_not_ok(half_width, verdict):
    noise = 0.02 * np.array([1.0, -1.0] * 12 + [1.0])
    (expiry,) = fit_surface(
        [quotes("month", 30 / 365, 0.20, half_width=half_width, noise=noise)], 100.0
    ).expiries
    assert expiry.verdict is verdict
    assert (expiry.share_inside < 0.5) is (verdict is FitVerdict.OUTSIDE_QUOTES)
