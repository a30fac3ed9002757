"""The entry gate on 2018-02-05 of the embedded market: skew is no edge, and the nowcast follows the day."""

from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import ForecastEvent
from scalpdesk.datasets.embedded import market
from scalpdesk.entry.edge_gate import shifted_edge
from scalpdesk.entry.shapes import STRADDLE
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.strategies.gamma_scalper.config import EntryConfig
from scalpdesk.strategies.gamma_scalper.edge import StraddleEdge
from scalpdesk.volatility.nowcast import nowcast

DAY = date(2018, 2, 5)
STRIKES = Decimal(275), Decimal(282)
AT_NS = 10**18
NARROW = "hedge.band_settings.risk_aversion=0.25", "hedge.least_fraction=0.35"


@dataclass
class Now:
    """A view of which only the time is read."""

    now_ns: int


def edge_of_a_straddle(forecast):
    """Return an edge that judged a straddle at ``AT_NS``, which took a forecast of 20 %."""
    edge = StraddleEdge(EntryConfig(gate="enforce", forecast_vol=forecast), straddles=1)
    edge._judged = (
        AT_NS,
        STRADDLE.at([(1, us_option("SPY180205C00275000")), (2, us_option("SPY180205P00275000"))])[0],
    )
    edge._measured_ns, edge._least_vol = AT_NS, 0.20
    return edge


def run_until(clock_time, *settings):
    """Run the session up to a New York time; return the run."""
    tape = market.reconstruct(DAY, seed=1)
    loaded = load_settings("gamma-scalper", overrides=(*NARROW, *settings))
    header, engine = build_backtest(loaded, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(loaded, tape, header, engine, None)
    end_ns = new_york_ns(DAY, time.fromisoformat(clock_time))
    for now_ns in run.runner.steps():
        if now_ns >= end_ns:
            break
    return run


@pytest.fixture(scope="module")
def late_morning():
    """A desk at 10:38 that was not asked for an edge."""
    return run_until("10:38", "entry.gate=off").engine


@pytest.fixture(scope="module")
def morning():
    """A desk at 09:35:30."""
    return run_until("09:35:30", "entry.not_before=09:45").engine


def edges(engine):
    """Edge of the straddle at each strike of one expiry, and its vega per 1.00 of volatility."""
    tools, view = engine.strategy.tools, engine.desk.view
    found = []
    for strike in STRIKES:
        straddle = next(
            each
            for each in tools.structures(view)
            if each.lead.contract.strike == strike and (each.first_expiry - DAY).days > 30
        )
        quotes = [view.market.quotes[leg] for leg in straddle.option_ids]
        spread = sum(quote.ask - quote.bid for quote in quotes)
        forecast = tools.edge.horizon.forecast(view)
        inputs = tools.edge._inputs(straddle, view, tools.hedger, forecast, half_spreads=spread, fees=0.0)
        edge = shifted_edge(inputs, forecast.vol, forecast.stderr)
        step = 1e-3
        value = inputs.expiries[0].value
        vega = value(np.full(2, edge.implied_vol + step)) - value(np.full(2, edge.implied_vol - step))
        found.append((edge, 100.0 * vega / (2.0 * step)))
    return found


def test_strikes_apart_by_skew_alone_have_one_edge_per_vega(morning):
    """Strike by strike the far one looked cheap by 24 USD: it was bought, the one at the money refused."""
    (near, near_vega), (far, far_vega) = edges(morning)
    assert near.implied_vol > far.implied_vol + 0.01
    per_vega = near.gross_usd / near_vega, far.gross_usd / far_vega
    assert per_vega[0] == pytest.approx(per_vega[1], rel=0.05)
    assert (near.net_usd >= 5.0) == (far.net_usd >= 5.0)
    assert near.implied_level == far.implied_level


def test_the_level_of_the_swap_is_a_fifth_above_the_money(morning):
    edge = edges(morning)[0][0]
    assert 1.15 < edge.market_level / edge.implied_vol < 1.25
    assert edge.net_usd < -20.0


def test_the_forecast_follows_what_the_session_realises(late_morning):
    """From 15.7 % in the morning to beyond 20 % an hour later, when the session has realised 45 %."""
    strategy, view = late_morning.strategy, late_morning.desk.view
    assert view.market.forecasts[view.underlying].vol == pytest.approx(0.157, abs=1e-3)
    assert 0.20 < strategy.tools.edge.horizon.forecast(view).vol < 0.25
    realised = strategy.tools.edge.horizon.realised
    assert 0.40 < (252 * realised.variance / realised.share) ** 0.5 < 0.50


def test_the_forecast_of_a_straddle_reaches_no_further_than_its_expiry(late_morning):
    """The rest of a wild day is all that a straddle of that day has: not a day in five."""
    strategy, view = late_morning.strategy, late_morning.desk.view
    horizon, morning_vol = strategy.tools.edge.horizon, view.market.forecasts[view.underlying].vol
    by_days = {(each.first_expiry - DAY).days: each for each in strategy.tools.structures(view)}
    so_far = nowcast(morning_vol, horizon.realised.variance, min(horizon.realised.share, 1.0))
    assert so_far.rest_vol > 1.5 * morning_vol
    assert horizon.forecast(view, by_days[0]).vol == pytest.approx(so_far.rest_vol, rel=1e-9)
    vols = [horizon.forecast(view, by_days[days]).vol for days in (0, 2)]
    assert vols[0] > vols[1] > horizon.forecast(view).vol
    assert horizon.forecast(view, by_days[39]) == horizon.forecast(view)


def test_far_from_an_edge_the_market_is_measured_now_and_then_and_a_new_forecast_is_seen_at_once():
    run = run_until("10:30")
    engine = run.engine
    strategy, view = engine.strategy, engine.desk.view
    assert len(run.fold.orders) == 0
    assert strategy.tools.edge.is_far(view)
    number = view.underlying
    risen = ForecastEvent(number, view.now_ns, view.now_ns, "har", 5, 0.9, 0.9, 0.9, 0.0, "")
    view.market.apply_forecast(risen)
    assert not strategy.tools.edge.is_far(view)


@pytest.mark.parametrize(
    ("forecast", "pause"),
    [(0.2 * 0.9**0.5, 75), (0.2 * 0.9, 300), (0.2 * 0.9**1.5, 675), (0.2 * 0.9**2, 1_200), (0.02, 1_800)],
)
def test_the_market_is_measured_the_less_often_the_further_it_has_to_fall(forecast, pause):
    """With the square of the distance; after half an hour another straddle is chosen in any case."""
    edge = edge_of_a_straddle(forecast)
    measured = []
    edge._level = lambda pair, view: measured.append(view.now_ns) or 0.20 / 1.05
    for second in range(1_800):
        assert edge.is_far(Now(AT_NS + second * 10**9 + 1))
    assert not edge.is_far(Now(AT_NS + 1_800 * 10**9))
    assert [(at_ns - AT_NS) // 10**9 for at_ns in measured] == list(range(pause, 1_800, pause))


def test_a_market_that_fell_or_cannot_be_measured_and_a_forecast_that_rose_are_looked_at_whole():
    later = Now(AT_NS + 301 * 10**9)
    for level in (0.17, None):
        edge = edge_of_a_straddle(0.18)
        edge._level = lambda pair, view, level=level: level
        assert not edge.is_far(later)
    assert not edge_of_a_straddle(0.2001).is_far(later)
    assert edge_of_a_straddle(0.05).is_far(later)
