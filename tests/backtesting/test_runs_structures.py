"""Structures in an hour of a wild embedded day: opened, hedged and closed, with every cent told."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import OrderFilled
from scalpdesk.core.intents import MultiLegOrder, SubmitOrder
from scalpdesk.core.units import HOUR_NS
from scalpdesk.datasets.embedded import market

DAY = date(2018, 2, 5)
SETTINGS = (
    "entry.gate=advise",
    "exits.edge_gone=false",
    "exits.stop_fraction=none",
    "exits.credit_multiple=none",
    "exits.credit_fraction=none",
    "exits.arm_fraction=none",
    "exits.flat_minutes_before_close=10",
    "risk.max_short_contracts=10",
    "risk.max_daily_loss=50000",
)


@pytest.fixture(scope="module")
def tape():
    """The first hour of the day, as a session of its own."""
    whole = market.reconstruct(DAY, seed=1)
    session = whole.sessions[0]
    return replace(whole, sessions=(replace(session, close_ns=session.open_ns + HOUR_NS),))


def trade(tape, *settings):
    """Trade the day; return the engine and, in order, what it sent and what was filled, of options alone."""
    loaded = load_settings("gamma-scalper", overrides=(*SETTINGS, *settings))
    header, engine = build_backtest(loaded, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    course, handle, options = [], engine.handle, engine.desk.instruments

    def told(event):
        if isinstance(event, OrderFilled):
            sent = engine.desk.orders.orders[event.client_order_id].submitted
            if options[sent.instrument_id].is_option:
                course.append(("filled", sent.instrument_id, sent.side.sign * event.quantity))
        outputs = handle(event)
        for output in outputs:
            if isinstance(output, MultiLegOrder):
                legs = [(leg.instrument_id, leg.side.sign * leg.quantity) for leg in output.legs]
                course.append(("combo", output.sets, legs))
            elif isinstance(output, SubmitOrder) and options[output.instrument_id].is_option:
                course.append(("sent", output.instrument_id, output.side.sign * output.quantity))
        return outputs

    engine.handle = told
    run = assemble_backtest(loaded, tape, header, engine, None)
    for _ in run.runner.steps():
        pass
    return engine, course


@pytest.mark.parametrize(
    ("shape", "side", "legs", "sets"),
    [
        ("iron_condor", "short", 4, 1),
        ("calendar", "long", 2, 1),
        ("back_ratio", "long", 2, 3),
    ],
)
def test_a_structure_goes_in_and_out_as_one_order_and_its_parts_sum_to_the_cent(
    tape, shape, side, legs, sets
):
    engine, course = trade(tape, f"structure.shape={shape}", f"structure.side={side}", f"straddles={sets}")
    combos = [each for each in course if each[0] == "combo"]
    assert len(combos) == 2
    assert [count for _, count, _ in combos] == [sets, sets]
    (_, _, opened), (_, _, closed) = combos
    assert len(opened) == legs
    assert sorted(opened) == sorted((number, -quantity) for number, quantity in closed)
    assert not any(each[0] == "sent" for each in course)
    desk = engine.desk
    assert desk.positions.held() == []
    parts = desk.attribution.totals
    assert abs(sum(parts.values()) - desk.attribution.nav_change) < Decimal("0.01")
    assert abs(parts["residual"]) < Decimal("0.10")


def test_leg_by_leg_the_bought_options_come_first_and_the_sold_ones_go_first(tape):
    """At no instant is an option short that no bought one covers."""
    of_puts = ("structure.shape=butterfly", "structure.right=put", "structure.wing=8", "entry.orders=legs")
    _, course = trade(tape, *of_puts)
    held, least = {}, []
    for what, number, quantity in course:
        if what == "filled":
            held[number] = held.get(number, 0) + quantity
            least.append((sum(1 for each in held.values() if each < 0), sum(held.values())))
    assert any(shorts for shorts, _ in least)
    assert all(total >= 0 for _, total in least)
    assert not any(held.values())
    sent = [quantity for what, _, quantity in course if what == "sent"]
    assert sent == [1, 1, -2, 2, -1, -1]


@pytest.mark.second
def test_one_strategy_runs_twice_with_settings_and_a_book_of_its_own(tape):
    names = "gamma-scalper@fly", "gamma-scalper@long"
    own = (f"strategies.{names[0]}.structure.shape=iron_fly", f"strategies.{names[0]}.structure.side=short")
    shared = [
        f"strategies.{name}.{setting}" for name in names for setting in SETTINGS if "risk" not in setting
    ]
    limits = [setting for setting in SETTINGS if "risk" in setting]
    loaded = load_settings("+".join(names), overrides=(*shared, *limits, *own))
    header, engine = build_backtest(loaded, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(loaded, tape, header, engine, None)
    for _ in run.runner.steps():
        pass
    books = engine.desk.books.books
    changes = {name: books[name].attribution.nav_change for name in names}
    assert all(changes.values())
    assert sum(changes.values()) == engine.desk.attribution.nav_change
    orders = [order.submitted for order in engine.desk.orders.orders.values()]
    sold = [one for one in orders if one.owner == names[0] and one.purpose.value == "open"]
    assert sorted(one.side.value for one in sold) == ["buy", "buy", "sell", "sell"]
