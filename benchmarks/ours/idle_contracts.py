"""Quotes over some number of contracts while nothing triggers; prints one JSON line.

Engine, book and exchange know all contracts. One quote in 101 is the underlying's, whose trigger looks
at it and stays quiet; the others go to the contracts in turn.
"""

import sys

import numpy as np
from contender import tell, timed
from rig import SESSION, make_runner, make_tape, sizes

from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity
from scalpdesk.marketdata.tape import QuoteColumns
from scalpdesk.marketdata.triggers import PriceMove

UNDERLYING_EVERY = 101  # shares no factor with a number of contracts, so that all of them are quoted


class Quiet:
    """Wait for a move that never comes."""

    name = "quiet"

    def start(self, view):
        return (PriceMove(view.underlying, price_change=1.0, heartbeat_seconds=1e6),)

    def on_wake(self, view, wake, event):  # noqa: ARG002 - the contract's arguments
        return ()


def main():
    contracts, count = int(sys.argv[1]), int(sys.argv[2])
    options = [us_option(f"SPY180316{'CP'[i % 2]}{(200 + i // 2) * 1000:08d}") for i in range(contracts)]
    row = np.arange(count)
    number = (1 + row % contracts).astype(np.int32)
    number[::UNDERLYING_EVERY] = 0
    bid = np.where(number == 0, 270.0, 1.0 + 0.01 * (row % 7))
    displayed = sizes(count, 10)
    ts_ns = SESSION.open_ns + row * ((SESSION.close_ns - SESSION.open_ns) // count)
    tape = make_tape(
        [Equity("SPY"), *options], QuoteColumns(ts_ns, number, bid, bid + 0.01, displayed, displayed)
    )
    runner, engine = make_runner(tape, Quiet())
    seconds = timed(runner.run)
    desk = engine.desk
    applied = sum(desk.market.quotes[number] is not None for number in range(len(desk.instruments)))
    tell(events=count, seconds=seconds, evaluations=engine.evaluations, applied=applied)


if __name__ == "__main__":
    main()
