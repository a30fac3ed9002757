"""``scalpdesk why`` of a run that has ended: decisions, orders and grouped fills, from the store."""

import json
from collections import Counter
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.cli.main import main
from scalpdesk.cli.why import _grouped_fills
from scalpdesk.research.stored_run import read_stored


@pytest.fixture(scope="module")
def ended(finished_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    settings = ("entry.gate=off", "simulation.fees=alpaca")
    return read_stored(finished_run(folder, "gamma-scalper", date(2017, 7, 3), *settings)), folder


def asked(capsys, folder, *words):
    capsys.readouterr()
    assert main(["why", *words, "--runs-dir", str(folder), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_ended_run_answers_by_number_by_order_and_with_its_latest(ended, capsys):
    stored, folder = ended
    latest = asked(capsys, folder)
    assert latest["number"] == len(stored.decisions)
    assert latest["reasons"] == list(stored.decisions[-1].reasons)
    number, hedge = next(pair for pair in enumerate(stored.decisions, 1) if pair[1].kind == "hedge")
    assert asked(capsys, folder, str(number))["facts"] == hedge.facts
    (order_id,) = hedge.client_order_ids
    found = asked(capsys, folder, order_id[-6:], "--run", "last")
    assert (found["order"]["id"], found["decision"]["number"]) == (order_id, number)
    sent = next(row for row in stored.orders if row.client_order_id == order_id)
    assert Decimal(found["order"]["filled"]) == sent.filled_quantity


def test_the_list_has_every_decision_with_the_fills_of_its_orders(ended, capsys, told_by):
    stored, folder = ended
    found = asked(capsys, folder, "--list")["decisions"]
    assert len(found) == len(stored.decisions)
    orders = [order for row in found for order in row["orders"]]
    filled = sum(Decimal(order["fill"]["quantity"]) for order in orders if order["fill"])
    assert filled == sum(fill.quantity for fill in stored.fills)
    lines = told_by("why", "--list", "--runs-dir", str(folder)).out.splitlines()
    kinds = Counter(row.kind for row in stored.decisions if row.taken)
    assert sum(" hedge: " in line and "no hedge" not in line for line in lines) == kinds["hedge"]


def test_executions_of_an_order_are_one_and_a_busted_one_does_not_count():
    def fill(quantity, price, *, busted=False):
        amounts = {"quantity": Decimal(quantity), "price": Decimal(price), "fee": Decimal("0.10")}
        return {"client_order_id": "a", "busted": busted, **amounts}

    rows = [fill(3, "1.10"), fill(1, "1.30"), fill(5, "9.00", busted=True)]
    assert _grouped_fills(rows) == {"a": {"executions": 2, "quantity": "4", "price": "1.15", "fees": "0.2"}}
