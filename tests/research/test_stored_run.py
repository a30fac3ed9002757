"""Trades of a stored run."""

from decimal import Decimal

from scalpdesk.instruments.contract import options_in_order
from scalpdesk.notebook import backtest
from scalpdesk.research.stored_run import read_stored
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder


def test_options_that_the_account_held_at_the_start_are_a_trade_of_the_run(tmp_path):
    book = straddle_book(500)
    positions = {item.symbol: 2 for _, item in options_in_order(book, "SPY")}
    tape = TapeBuilder(book).path("10:00", 60, [500.0] * 5).build()
    run = backtest(
        "gamma-scalper",
        tape,
        settings={"simulation.positions": positions | {"SPY": -10}, "entry.gate": "off"},
        runs_dir=tmp_path,
        clock=ManualClock(1),
    )
    sold, bought = read_stored(run.run_dir).trades  # the scalper starts flat
    assert ({leg.symbol: leg.quantity for leg in sold.legs}, sold.why) == (positions, "init: start flat")
    assert (sold.opened_ns, sold.cash_in) == (tape.sessions[0].open_ns, 0)
    assert {leg.symbol: leg.quantity for leg in bought.legs} == dict.fromkeys(positions, 1)
    assert sold.pnl + bought.pnl == Decimal(run.summary["nav_change"])
