"""The dead-band hedger on scalpdesk; prints one JSON line.

The whole path of a backtest: market state, trigger, strategy, risk gate, order manager, simulated exchange,
ledger, attribution with a mark at every fill and every minute. What is timed is the runner, from the
columns in to the last output; with a journal, until the journal is sealed.

The account holds a block of shares from the start. Brokers refuse an order that turns a holding from long
to short, and the exchange's check for that stays on; with the block no hedge ever does.
"""

import argparse
import shutil
from decimal import Decimal
from pathlib import Path

import numpy as np
from contender import DeadBandWork, timed
from rig import CASH, make_journal, make_runner, make_tape, sizes

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import OrderFilled, QuoteEvent
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.instruments.contract import Equity
from scalpdesk.marketdata.latest_quotes import SessionRows
from scalpdesk.marketdata.tape import QuoteColumns
from scalpdesk.marketdata.triggers import EveryQuote, PriceBand
from scalpdesk.strategies.contract import Proposal

BLOCK = 1_000_000
BUY, SELL, HEDGE = Side.BUY, Side.SELL, Purpose.HEDGE
DECISION, WHY = DecisionKind.HEDGE, "net delta left the band"


class DeadBand:
    """Hedge to zero net delta when the band is left.

    It looks at every quote, as the peers do; with `skips_ahead` its trigger has the two prices at which the
    band is left, and the runner asks it for the next such quote in the columns.
    """

    name = "dead-band"

    def __init__(self, work, *, skips_ahead=False):
        self.work, self.pivot, self.slope, self.band = work, work.pivot, work.slope, work.band
        self.skips_ahead = skips_ahead
        self.held = 0

    def start(self, view):
        self.number = view.underlying
        if not self.skips_ahead:
            return (EveryQuote(self.number),)
        self.prices = PriceBand(self.number)
        self.declare()
        return (self.prices,)

    def declare(self):
        self.prices.low = self.pivot - (self.held + self.band) / self.slope
        self.prices.high = self.pivot - (self.held - self.band) / self.slope

    def on_wake(self, view, wake, event):  # noqa: ARG002 - the contract's argument
        if type(event) is QuoteEvent:
            mid = (event.bid + event.ask) * 0.5
            net = self.slope * (mid - self.pivot) + self.held
            if -self.band < net < self.band:
                return ()
            return (self.hedge(mid),)
        if type(event) is OrderFilled:
            self.held = int(view.positions.quantity(self.number)) - BLOCK
            if self.skips_ahead:
                self.declare()
        return ()

    def hedge(self, mid):
        shares = self.work.hedge(round(mid * 200.0), self.held)
        side = BUY if shares > 0 else SELL
        intent = OrderIntent(self.number, side, Decimal(abs(shares)), HEDGE, WHY)
        return Proposal(DECISION, (WHY,), {"shares": shares}, (intent,))


def columns_of(work, ts_ns):
    """The quotes as columns, at these times."""
    displayed = sizes(len(ts_ns), work.displayed)
    number = np.zeros(len(ts_ns), np.int32)
    return QuoteColumns(ts_ns, number, work.bids / 100.0, work.asks / 100.0, displayed, displayed)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("quotes", type=Path)
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--skip-ahead", action="store_true")
    arguments = parser.parse_args()
    work = DeadBandWork(arguments.quotes)
    columns = columns_of(work, work.ts_ns)
    tape = make_tape([Equity("SPY")], columns)
    strategy = DeadBand(work, skips_ahead=arguments.skip_ahead)
    journal = None
    if arguments.journal is not None:
        shutil.rmtree(arguments.journal, ignore_errors=True)
        journal = make_journal(arguments.journal, tape)
    runner, engine = make_runner(tape, strategy, held=BLOCK, price=float(columns.bid[0]), journal=journal)
    if arguments.skip_ahead:  # machine code is loaded as a module is imported: once, before the clock starts
        rows = SessionRows.of(columns.take(slice(0, 1)), np.ones(1, np.bool_)).only(0)
        PriceBand(0).next_row(rows, 0, 1)

    def run():
        runner.run()
        if journal is not None:
            journal.close()

    seconds = timed(run)
    desk = engine.desk
    work.tell(
        seconds=seconds,
        fills=sum(len(order.executions) for order in desk.orders.orders.values()),
        position=int(desk.positions.quantity(0)) - BLOCK,
        cash_cents=int((desk.account.cash - CASH) * 100),
    )


if __name__ == "__main__":
    main()
