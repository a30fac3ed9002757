"""A day on which quotes of held options show no price for a while is traded as the undisturbed day."""

import random
from dataclasses import replace
from datetime import date, time

import numpy as np
import pytest

from scalpdesk.backtesting.simulate import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.enums import Mode
from scalpdesk.core.intents import MultiLegOrder
from scalpdesk.datasets.embedded import market as embedded
from scalpdesk_testing.kit.scalp_days import KeptRun
from scalpdesk_testing.kit.tape import until

pytestmark = pytest.mark.second

DAY, LAST = date(2017, 5, 17), time(13)
SECOND_NS = 10**9
SETTINGS = ("entry.gate=off", "exits.edge_gone=false")
TEN = ("straddles=10", "risk.max_daily_loss_fraction=0.01", "risk.max_order_premium=20000")


def run(tape, *overrides):
    settings = load_settings("gamma-scalper", overrides=(*SETTINGS, *overrides))
    header, engine = build_backtest(settings, tape, run_id="t", mode="backtest", started_ns=0, seed=1)
    day = KeptRun(engine=engine)
    assemble_backtest(settings, tape, header, engine, day).runner.run()
    return day


def option_trades(day):
    """Return what was filled of options: instrument, side, quantity, price and time."""
    sent = {one.client_order_id: one for one in day.orders}
    for one in day.outputs:
        if isinstance(one, MultiLegOrder):
            sent |= {leg.client_order_id: leg for leg in one.legs}
    fills = [(sent[fill.client_order_id], fill) for fill in day.fills]
    book = day.engine.desk.instruments
    return [
        (order.instrument_id, order.side, fill.quantity, fill.price, fill.ts_event_ns)
        for order, fill in fills
        if book[order.instrument_id].is_option
    ]


@pytest.fixture(scope="module")
def market():
    """Return the day's quotes of the straddle that is bought and its neighbours, and the run of it."""
    tape = until(embedded.reconstruct(DAY), LAST)
    held = [tape.instruments[trade[0]] for trade in option_trades(run(tape))]
    near = [
        number
        for number, each in enumerate(tape.instruments)
        if not each.is_option
        or any(each.expiry == leg.expiry and abs(each.strike - leg.strike) <= 4 for leg in held)
    ]
    whole = tape.quotes.whole()
    small = replace(tape, quotes=whole.take(np.isin(whole.instrument_id, near)))
    return small, run(small)


def no_quote(bid, ask):
    return np.full_like(bid, np.nan), np.full_like(ask, np.nan)


KINDS = {
    "no bid": lambda bid, ask: (np.full_like(bid, np.nan), ask),
    "no ask": lambda bid, ask: (bid, np.full_like(ask, np.nan)),
    "zero bid": lambda bid, ask: (np.zeros_like(bid), ask),
    "stub": lambda bid, ask: (np.full_like(bid, 0.05), np.full_like(ask, 10.0)),
    "wide stub": lambda bid, ask: (np.full_like(bid, 0.05), np.full_like(ask, 30.0)),
    "bid of a stub": lambda bid, ask: (np.full_like(bid, 0.01), ask),
    "half the bid": lambda bid, ask: (np.maximum(np.round(0.5 * bid, 2), 0.01), ask),
    "crossed": lambda bid, ask: (ask + 0.01, ask),
    "ten times as wide": lambda bid, ask: (
        np.maximum(np.round(0.5 * (bid + ask) - 5.0 * (ask - bid), 2), 0.01),
        np.round(0.5 * (bid + ask) + 5.0 * (ask - bid), 2),
    ),
    "lost": no_quote,
}
"""Bids and asks of an option after the disturbance, currency per unit."""


def disturbed(tape, numbers, start_ns, seconds, change):
    q = tape.quotes
    struck = np.isin(q.instrument_id, numbers) & (q.ts_ns >= start_ns)
    struck &= q.ts_ns < start_ns + int(seconds * SECOND_NS)
    if change is no_quote:
        return replace(tape, quotes=q.take(~struck))
    bid, ask = np.array(q.bid, float), np.array(q.ask, float)
    bid[struck], ask[struck] = change(bid[struck], ask[struck])
    return replace(tape, quotes=replace(q, bid=bid, ask=ask))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [(), TEN], ids=["one", "ten, with a small loss limit"])
def test_quotes_that_show_no_price_change_no_trade(market, kind, settings):
    tape, plain = market
    if settings:
        plain = run(tape, *settings)
    wanted = option_trades(plain)
    assert len(wanted) >= 2
    first_ns, last_ns = max(trade[-1] for trade in wanted[:2]), int(tape.quotes.ts_ns[-1])
    dice = random.Random(kind)
    for _ in range(2):
        legs = dice.choice([[wanted[0][0]], [wanted[1][0]], [wanted[0][0], wanted[1][0]]])
        start_ns = dice.randrange(first_ns + 60 * SECOND_NS, last_ns)
        day = run(disturbed(tape, legs, start_ns, 10 ** dice.uniform(0, 3.5), KINDS[kind]), *settings)
        assert option_trades(day) == wanted
        assert day.engine.desk.gate.mode is Mode.ACTIVE
        nav = plain.engine.desk.view.nav
        assert abs(float(day.engine.desk.view.nav - nav)) < 5 * len(wanted) * (10 if settings else 1)
