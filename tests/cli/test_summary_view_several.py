"""The rows of several strategies in a summary as a person reads it."""

from io import StringIO

from rich.console import Console

from scalpdesk.cli.summary_view import show_strategies
from scalpdesk.engine.desk import REST, by_strategy
from scalpdesk_testing.kit.desk import BUY, DeskOfTwo, order


def shown(rows):
    out = StringIO()
    show_strategies(Console(file=out, width=120), rows)
    return out.getvalue()


def rows_after(**built):
    two = DeskOfTwo(**built)
    if built:
        two.desk.now_ns = two.desk.session.open_ns
        two.desk.adopt({0: (20, "500")})
    two.open()
    two.a.want(order(BUY, 10))
    for one in orders_of(two):
        two.desk.fill(one)
    two.b.want(order(BUY, 1, "490.00"))
    two.tick()
    two.desk.timer("mark")
    return by_strategy(two.desk.engine.desk)


def orders_of(two):
    two.tick()
    return [one.submitted for one in two.desk.engine.desk.orders.live.values()]


def test_each_has_its_line_with_budget_costs_and_holding():
    rows = rows_after()
    assert list(rows) == ["a", "b"]
    assert (rows["a"]["fills"], rows["a"]["positions"]) == (1, {"SPY": "10"})
    assert (rows["b"]["orders"], len(rows["b"]["live_orders"]), rows["b"]["fills"]) == (1, 1, 0)
    lines = shown(rows).splitlines()
    assert lines[0].split() == ["strategy", "budget", "orders", "fills", "costs", "P&L", "USD", "holds"]
    assert lines[1].split() == ["a", "50%", "1", "1", "-0.10", "-0.10", "10", "SPY"]
    assert lines[2].split() == ["b", "50%", "1", "0", "+0.00", "+0.00", "flat"]


def test_what_belongs_to_nobody_has_a_line_only_when_there_is_any():
    rows = rows_after(budgets={"a": "0.5", "b": "0.3"})
    assert rows[REST]["positions"] == {"SPY": "20"}
    assert rows[REST]["budget"] is None
    assert shown(rows).splitlines()[3].split() == [REST, "0", "0", "+0.00", "+0.00", "20", "SPY"]


def test_one_strategy_alone_has_no_table():
    assert shown(None) == ""
