"""Parts of an interval between two snapshots: limit cases, parity, and their sum."""

import math
from dataclasses import replace

import pytest
from msgspec import structs

from scalpdesk.instruments.contract import Style
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.portfolio.interval import NO_LEG_PARTS, LegParts, LegSnapshot, explain
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.pricing.scalar import PricedState
from scalpdesk_testing.kit.instruments import option, share

START = PricedState(500.0, 0.18, 0.06, 0.08, 0.04, 0.01)
"""The variance clock runs at three quarters of the calendar's speed."""
CALL, PUT = option("C", 500), option("P", 500)
COIN = deribit_option("BTC-28MAR25-90000-C")
PRICER = ContractPricer()


def taken(contract, state, units=100.0, noise=0.0, paid=0.0):
    """Return the snapshot of an option that is worth the model's value in ``state``."""
    vol = state.vol * math.sqrt(state.variance_years / state.years)
    terms = state.spot, state.years, vol, state.rate, state.dividend_yield
    greeks = PRICER.greeks(contract, *terms)
    return LegSnapshot(1, contract, 0, units, greeks.price + noise, state, greeks, paid=paid)


def moved(contract, end, start=START, **options):
    return explain(taken(contract, start), taken(contract, end, **options))


def nonzero(parts, least=1e-9):
    return {name for name, amount in structs.asdict(parts).items() if abs(amount) > least}


def total(parts):
    return sum(structs.astuple(parts))


@pytest.mark.parametrize("contract", [CALL, PUT])
def test_nothing_that_moves_is_nothing_that_is_earned(contract):
    assert nonzero(moved(contract, START)) == set()


def test_a_share_earns_its_move_by_delta_and_gets_its_dividend_as_carry():
    start = LegSnapshot(0, share(), 0, -20.0, 500.0)
    assert explain(start, LegSnapshot(0, share(), 0, -20.0, 503.0)) == LegParts(delta=-60.0)
    ex_day = explain(start, LegSnapshot(0, share(), 0, -20.0, 498.0, paid=2.0))
    assert ex_day == LegParts(delta=0.0, dividend=40.0)


def test_the_curvature_of_a_perpetual_in_coin_is_gamma():
    units, swap = 10.0, perpetual("BTC")
    parts = explain(LegSnapshot(0, swap, 0, units, 50_000.0), LegSnapshot(0, swap, 0, units, 51_000.0))
    dollars = units * swap.contract_usd
    assert nonzero(parts, 1e-15) == {"delta", "gamma"}
    assert total(parts) == pytest.approx(dollars * (1.0 / 50_000.0 - 1.0 / 51_000.0), rel=1e-12)
    assert parts.delta == pytest.approx(dollars * 1_000.0 / 50_000.0**2, rel=1e-3)


@pytest.mark.parametrize("contract", [CALL, PUT])
def test_a_small_move_of_the_spot_alone_is_delta(contract):
    parts, greeks = moved(contract, START._replace(spot=500.01)), taken(contract, START).greeks
    assert nonzero(parts) <= {"delta", "gamma", "spot_higher"}
    assert parts.delta == pytest.approx(100.0 * greeks.delta * 0.01, rel=1e-9)
    assert abs(parts.gamma) + abs(parts.spot_higher) < 1e-3 * abs(parts.delta)


@pytest.mark.parametrize("contract", [CALL, PUT])
def test_time_alone_is_theta_and_interest(contract):
    end = START._replace(variance_years=0.05, years=0.07)
    parts, free = moved(contract, end), START._replace(rate=0.0, dividend_yield=0.0)
    assert nonzero(parts) == {"theta", "rate"}
    assert parts.theta < 0.0
    alone = moved(contract, free._replace(variance_years=0.05, years=0.07), free)
    assert nonzero(alone) == {"theta"}
    value = 100.0 * 500.0 * 0.3989423 * 0.18  # at the money without rates: S·σ·sqrt(T/2π)
    assert alone.theta == pytest.approx(value * (math.sqrt(0.05) - math.sqrt(0.06)), rel=1e-3)


@pytest.mark.parametrize("contract", [CALL, PUT])
def test_volatility_alone_is_vega_and_volga(contract):
    parts, small = moved(contract, START._replace(vol=0.24)), moved(contract, START._replace(vol=0.1801))
    assert nonzero(parts) <= {"vega", "volga", "mark_noise"}
    assert abs(parts.mark_noise) < 1e-6
    by_clock = math.sqrt(0.06 / 0.08)
    vega = 100.0 * taken(contract, START).greeks.vega * by_clock
    assert (parts.vega, small.vega) == pytest.approx((vega * 0.06, vega * 0.0001), rel=1e-9)
    assert abs(small.volga) < 1e-4 * small.vega


def test_a_call_less_its_put_is_a_share_less_a_loan():
    """European put-call parity, part by part: whatever spot, volatility and time do."""
    end = PricedState(487.0, 0.31, 0.01, 0.02, 0.05, 0.0)
    start = START._replace(dividend_yield=0.0)
    call, put = (
        structs.asdict(moved(replace(leg, style=Style.EUROPEAN), end, start, paid=3.0)) for leg in (CALL, PUT)
    )
    synthetic = {name: amount - put[name] for name, amount in call.items()}
    assert synthetic["delta"] == pytest.approx(100.0 * (487.0 + 3.0 - 500.0), rel=1e-9)
    assert synthetic["dividend"] == pytest.approx(-300.0, rel=1e-9)
    loans = [500.0 * math.exp(-state.rate * state.years) for state in (start, end)]
    assert synthetic["rate"] == pytest.approx(100.0 * (loans[0] - loans[1]), rel=1e-9)
    others = {name: synthetic[name] for name in synthetic if name not in {"delta", "dividend", "rate"}}
    assert others == pytest.approx(dict.fromkeys(others, 0.0), abs=1e-7)


@pytest.mark.rows("units", [100.0, -300.0])
@pytest.mark.rows(
    ("contract", "start", "spot"),
    [
        (CALL, START, 470.0),
        (PUT, START, 470.0),
        (replace(PUT, style=Style.EUROPEAN), START, 530.0),
        (COIN, PricedState(90_000.0, 0.5, 0.06, 0.08), 80_000.0),
    ],
)
def test_the_parts_are_the_change_of_the_worth_at_the_mark(contract, start, spot, units):
    end = start._replace(spot=spot, vol=1.4 * start.vol, variance_years=0.02, years=0.03)
    before, after = taken(contract, start, units), taken(contract, end, units, noise=0.25)
    parts = explain(before, after)
    assert total(parts) == pytest.approx(units * (after.mark - before.mark), rel=1e-9)
    assert parts.mark_noise == pytest.approx(units * 0.25, rel=1e-2)
    assert nonzero(parts) >= {"theta", "delta", "gamma", "vega", "volga", "vanna", "charm", "veta"}


def test_what_no_model_values_is_not_explained():
    known, unknown = taken(CALL, START), LegSnapshot(1, CALL, 0, 100.0, 9.0)
    for before, after in ((known, unknown), (unknown, known)):
        assert explain(before, after) is NO_LEG_PARTS
