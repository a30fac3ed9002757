"""Parts of one underlying's P&L are its own: another underlying's trades move none of them."""

from datetime import date, timedelta

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings

pytestmark = pytest.mark.second

RULES = ("entry.gate=off", "exits.edge_gone=false", "simulation.starting_cash=500000")


def explained(symbols, day, *more, days=0, strategy="gamma-scalper"):
    """Return the parts of each underlying, and each trade by its instrument, side and price."""
    chosen = load_settings(strategy, overrides=(*RULES, *more, f"underlying={symbols}"), environ={})
    end = day + timedelta(days=days)
    tape = load_market(chosen, "embedded", underlying=symbols, start=day, end=end, seed=1)
    header, engine = build_backtest(chosen, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    assemble_backtest(chosen, tape, header, engine, None).runner.run()
    desk = engine.desk
    names = symbols.split(",")
    books = [desk.attribution]
    if desk.by_underlying is not None:
        books = [desk.by_underlying.books[name].attribution for name in names]
    trades = [
        (desk.instruments[order.submitted.instrument_id].symbol, order.submitted.side, order.average_price)
        for order in desk.orders.orders.values()
    ]
    parts = {name: {key: float(value) for key, value in book.totals.items()}
             for name, book in zip(names, books, strict=True)}  # fmt: skip
    whole = {key: float(value) for key, value in desk.attribution.totals.items()}
    return parts, whole, trades


@pytest.mark.parametrize(
    ("symbols", "day", "days"),
    [
        ("SPY,QQQ", date(2017, 6, 9), 0),
        ("QQQ,SPY", date(2017, 6, 9), 0),  # whichever is the main one
        ("SPY,QQQ", date(2018, 2, 5), 0),
        ("SPY,QQQ", date(2018, 2, 8), 1),  # a night lies between
    ],
)
def test_parts_together_are_those_of_each_alone_and_sum_to_the_desks(symbols, day, days):
    """SPY's gamma was 25.17 beside QQQ and 28.30 alone: each fill ended the intervals of both."""
    together, whole, trades = explained(symbols, day, days=days)
    for name, parts in together.items():
        alone, _, own = explained(name, day, days=days)
        assert [each for each in trades if each[0].startswith(name)] == own
        assert len(own) > 4
        assert parts == pytest.approx(alone[name], abs=2e-3)  # a mark rounds at the sixth decimal
    for key, amount in whole.items():
        assert amount == pytest.approx(sum(parts[key] for parts in together.values()), abs=2e-3)
