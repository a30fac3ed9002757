"""Straddles held over an ex-night of SPY, beside a binomial tree with the same cash dividend."""

import math
from datetime import date
from statistics import fmean
from typing import NamedTuple

import pytest
from scipy.optimize import brentq

from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Mark
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, years_between
from scalpdesk.datasets.embedded.days import rate_on
from scalpdesk.datasets.embedded.market import reconstruct_span
from scalpdesk.instruments.sessions import expiry_instant_ns, session_on
from scalpdesk.volatility.variance_time import clock_named
from scalpdesk_testing.kit.trees import tree_price

pytestmark = pytest.mark.second

EVE, EX_DATE, DIVIDEND = date(2018, 9, 20), date(2018, 9, 21), 1.323
SETTINGS = ("entry.gate=off", "exits.edge_gone=false", "exits.stop_fraction=none", "exits.arm_fraction=none")
UNITS = 400.0


class Leg(NamedTuple):
    """One leg at the evening or in the morning."""

    contract: object
    now_ns: int
    mark: float
    spot: float
    vol: float
    delta: float

    @property
    def years(self):
        return years_between(self.now_ns, expiry_instant_ns(self.contract))

    def price(self, spot, vol, ex_ns):
        """Return the price of two trees, between whose nodes the strike lies; volatility by the calendar."""
        contract, expires_ns = self.contract, expiry_instant_ns(self.contract)
        last = session_on(EVE).close_ns + 90 * 60 * NANOS_PER_SECOND  # exercise notices end at 17:30
        coming = years_between(ex_ns, expires_ns), DIVIDEND, years_between(last, expires_ns)
        ahead = (coming,) if self.now_ns < ex_ns else ()
        rate = rate_on(EX_DATE if self.now_ns >= ex_ns else EVE)
        terms = spot, float(contract.strike), self.years, vol, contract.is_call, rate, ahead
        return fmean(tree_price(*terms, steps=steps) for steps in (900, 901))

    def vol_of_mark(self, ex_ns):
        return brentq(lambda vol: self.price(self.spot, vol, ex_ns) - self.mark, 0.02, 1.0, xtol=1e-8)


@pytest.fixture(scope="module")
def night():
    """Legs and the explain's parts at the close and in the morning, and the marks outside fresh quotes."""
    tape = reconstruct_span(EVE, EX_DATE)
    loaded = load_settings("gamma-scalper", overrides=(*SETTINGS, "straddles=4"))
    header, engine = build_backtest(loaded, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run, desk, looks = assemble_backtest(loaded, tape, header, engine, None), engine.desk, []
    close_ns, ex_ns = tape.sessions[0].close_ns, tape.sessions[1].open_ns
    seen = {"looks": 0, "outside": 0}

    def look():
        now_ns, legs = engine.now_ns, {}
        for held in desk.positions.held():
            contract, state = desk.instruments[held.instrument_id], None
            if contract.is_option:
                state = desk.delta_engine.state(held.instrument_id, now_ns)
                assert int(held.quantity) * contract.multiplier == UNITS
                delta = state.greeks.delta
                legs[contract.is_call] = Leg(contract, now_ns, state.mark, state.spot, state.vol, delta)
        return legs, {name: float(each) for name, each in desk.attribution.totals.items()}

    def watch(event):
        outputs = handle(event)
        now_ns = engine.now_ns
        if isinstance(event, QuoteEvent) and event.instrument_id == 0:
            for held in desk.positions.held():
                number = held.instrument_id
                quote, mark = desk.market.quotes[number], desk.delta_engine.mark(number)
                is_fresh = now_ns - quote.ts_recv_ns <= 5 * NANOS_PER_SECOND
                then = desk.market.quote_in_force(InstrumentId(0), quote.ts_event_ns)
                if number and is_fresh and then is not None and desk.market.is_valid(number):
                    moved = abs(event.mid - then.mid) + 1e-6
                    seen["looks"] += 1
                    seen["outside"] += not quote.bid - moved <= mark <= quote.ask + moved
        if any(type(each) is Mark for each in outputs):
            quoted = (desk.market.quotes[held.instrument_id].ts_event_ns for held in desk.positions.held())
            if now_ns == close_ns:
                looks[:] = [look()]
            elif now_ns > ex_ns and len(looks) == 1 and min(quoted, default=0) >= ex_ns:
                looks.append(look())
        return outputs

    handle, engine.handle = engine.handle, watch
    run.runner.run()
    return *looks, ex_ns, clock_named(tape.variance_clock), seen


def test_marks_of_held_straddles_lie_within_their_live_quotes(night):
    *_, seen = night
    assert seen["looks"] > 5_000
    assert seen["outside"] == 0


def test_volatility_and_delta_are_those_of_a_tree_before_and_after_the_ex_date(night):
    (evening, _), (morning, _), ex_ns, *_ = night
    assert evening.keys() == morning.keys() == {True, False}
    for leg in (*evening.values(), *morning.values()):
        vol = leg.vol_of_mark(ex_ns)
        up, down = (leg.price(leg.spot + step, vol, ex_ns) for step in (2.0, -2.0))
        assert leg.vol == pytest.approx(vol, abs=0.003)
        assert UNITS * leg.delta == pytest.approx(UNITS * (up - down) / 4.0, abs=0.2)


def test_carry_and_vega_of_an_ex_night_are_those_of_a_tree(night):
    (evening, before), (morning, after), ex_ns, clock, _ = night
    carry = vega = 0.0
    for side, start in evening.items():
        end, expires_ns = morning[side], expiry_instant_ns(start.contract)
        vol, end_vol = start.vol_of_mark(ex_ns), end.vol_of_mark(ex_ns)
        by_clock, end_by_clock = (
            math.sqrt(leg.years / clock.years(leg.now_ns, expires_ns)) for leg in (start, end)
        )
        up, down = (start.price(start.spot, vol + step, ex_ns) for step in (0.005, -0.005))
        vega += UNITS * (up - down) / 0.01 / by_clock * (end_vol * end_by_clock - vol * by_clock)
        same_variance = end_vol * math.sqrt(end.years / start.years)
        without, held = (
            end.price(end.spot, end_vol, ex_ns),
            start.price(end.spot + DIVIDEND, same_variance, ex_ns),
        )
        carry += UNITS * (without - held)
    stated = {name: after[name] - before[name] for name in ("carry", "vega")}
    assert abs(vega) > 5.0
    assert stated["vega"] == pytest.approx(vega, abs=2.0)
    assert stated["carry"] == pytest.approx(carry, abs=2.0)
