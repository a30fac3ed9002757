"""Rows of a share or of a whole chain that are no prices change no trade, no limit and no result."""

from dataclasses import replace
from datetime import date, time
from functools import partial

import numpy as np
import pytest

from scalpdesk.backtesting.simulate import BacktestConfig, PreparedMarket, simulate
from scalpdesk.config.settings import load_settings
from scalpdesk.datasets.embedded import market as embedded
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk_testing.kit.tape import until

DAY = date(2017, 5, 17)
CONFIG = BacktestConfig.of(load_settings("gamma-scalper", overrides=("entry.gate=off",)), seed=1)


def run_of(change=None, config=CONFIG):
    tape = until(embedded.reconstruct(DAY), time(11))
    quotes = tape.quotes.whole()
    if change is not None:
        bid, ask = quotes.bid.copy(), quotes.ask.copy()
        change(quotes, bid, ask)
        quotes = replace(quotes, bid=bid, ask=ask)
    return simulate(config, PreparedMarket(replace(tape, quotes=quotes, loaded=None, load_again=None)))


@pytest.fixture(scope="module")
def plain():
    return run_of()


def pnl_of(run):
    return float(run.pnl["total"])


def between(quotes, first, last):
    return (quotes.ts_ns >= new_york_ns(DAY, first)) & (quotes.ts_ns < new_york_ns(DAY, last))


def no_bid_at_last(quotes, bid, ask):
    bid[np.flatnonzero(quotes.instrument_id == 0)[-1]] = 0.0


def nothing_at_last(quotes, bid, ask):
    rows = np.flatnonzero(quotes.instrument_id == 0)[-2:]
    bid[rows] = ask[rows] = 0.0


def locked_elsewhere(quotes, bid, ask):
    rows = between(quotes, time(10, 40), time(10, 43)) & (quotes.instrument_id == 0)
    bid[rows] = ask[rows] = np.round(1.02 * bid[rows][0], 2)


def far_apart(quotes, bid, ask):
    rows = between(quotes, time(10, 40), time(10, 43)) & (quotes.instrument_id == 0)
    bid[rows] = 0.01


def half_of_itself(quotes, bid, ask):
    rows = between(quotes, time(10, 40), time(10, 43)) & (quotes.instrument_id == 0)
    bid[rows], ask[rows] = 0.5 * bid[rows], 0.5 * ask[rows]


def half_of_the_chain(quotes, bid, ask, until=time(10, 43)):
    rows = between(quotes, time(10, 40), until) & (quotes.instrument_id != 0)
    bid[rows], ask[rows] = np.round(0.5 * bid[rows], 2), np.round(0.5 * ask[rows], 2)


def locked_chain(quotes, bid, ask):
    rows = between(quotes, time(10, 40), time(10, 43)) & (quotes.instrument_id != 0)
    bid[rows] = ask[rows] = 3.0


@pytest.mark.parametrize(
    "change",
    [locked_elsewhere, far_apart, half_of_itself, locked_chain],
)
def test_rows_that_are_no_prices_sell_nothing_and_cost_what_waiting_costs(plain, change):
    run = run_of(change)
    assert run.summary()["mode"] == "ACTIVE"
    assert run.summary()["end_positions"].keys() == plain.summary()["end_positions"].keys()
    assert abs(pnl_of(run) - pnl_of(plain)) < 20.0


@pytest.mark.parametrize("change", [no_bid_at_last, nothing_at_last])
def test_a_run_that_ends_without_two_sides_of_its_underlying_says_so(plain, change):
    run = run_of(change)
    assert abs(pnl_of(run) - pnl_of(plain)) < 2.0
    assert "on_model" not in plain.summary()
    assert run.summary()["on_model"]["options"] == ["SPY"]


def test_a_sale_by_the_hour_waits_until_chain_and_share_agree():
    settings = load_settings("gamma-scalper", overrides=("entry.gate=off", "exits.close_at=10:42"))
    config = BacktestConfig.of(settings, seed=1)
    on_time = run_of(config=config)
    late = run_of(partial(half_of_the_chain, until=time(10, 50)), config)
    assert on_time.summary()["end_positions"] == late.summary()["end_positions"] == {}
    assert abs(pnl_of(late) - pnl_of(on_time)) < 40.0  # what waiting costs: it was 289.00
