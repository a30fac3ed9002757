"""A reconstructed SPX day as files to import: the index, its 0DTE options and an MES future.

The index is ten times the embedded market's SPY, which is a tenth of the S&P 500; so are strikes and prices
of its options, on the ticks of SPXW. The future is the index with the rate and a yield to its expiry.
"""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from click.testing import CliRunner

from scalpdesk.cli.main import root
from scalpdesk.core.units import NANOS_PER_SECOND, SECONDS_PER_YEAR
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.instruments.contract import occ_symbol
from scalpdesk.instruments.futures import final_settlement_ns, future_contract

NAME = "spx-day"
_TIMES = 10
_RATE, _DIVIDEND_YIELD = 0.0142, 0.018
"""Fractions a year, about those of February 2018."""


def _rows(stamps: Any, symbol: str, bid: Any, ask: Any, bid_size: Any, ask_size: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "ts": pd.to_datetime(stamps, utc=True),
            "symbol": symbol,
            "bid": bid,
            "ask": ask,
            "bid_size": bid_size,
            "ask_size": ask_size,
        }
    )


def import_spx_day(catalog: Path, folder: Path, day: date, future: str) -> None:
    """Import the day's quotes into a catalogue: the options with the index, and the future."""
    tape = reconstruct(day)
    quotes = tape.quotes.whole()
    share = quotes.instrument_id == tape.instruments.id_of(tape.underlying)
    spot = _TIMES * (quotes.bid + quotes.ask)[share] / 2
    stamps = quotes.ts_ns[share]
    level = np.round(spot, 2)
    levels = pd.DataFrame({"ts": pd.to_datetime(stamps, utc=True), "symbol": "SPX", "volume": 0.0})
    levels = levels.assign(**dict.fromkeys(("open", "high", "low", "close"), level))
    parts = []
    for number, option in enumerate(tape.instruments):
        if option.is_option and option.expiry == day:
            mine = quotes.instrument_id == number
            name = occ_symbol("SPXW", day, option.right, option.strike * _TIMES)
            bid, ask = _TIMES * quotes.bid[mine], _TIMES * quotes.ask[mine]
            tick = np.where(bid < 3.0, 0.05, 0.1)
            bid, ask = np.floor(bid / tick + 1e-9) * tick, np.ceil(ask / tick - 1e-9) * tick
            sizes = quotes.bid_size[mine], quotes.ask_size[mine]
            parts.append(_rows(quotes.ts_ns[mine], name, bid.round(2), ask.round(2), *sizes))
    terms = future_contract(future)
    years = (final_settlement_ns(terms) - stamps) / NANOS_PER_SECOND / SECONDS_PER_YEAR
    step = float(terms.tick_rule.below)
    fair = spot * np.exp((_RATE - _DIVIDEND_YIELD) * years)
    bid = np.floor(fair / step) * step
    future_rows = _rows(stamps, future, bid, bid + step, 50.0, 50.0)
    files = (
        ("SPX", "levels", levels),
        ("SPX", "options", pd.concat(parts)),
        (terms.root, "future", future_rows),
    )
    for underlying, name, table in files:
        file = folder / f"{name}.parquet"
        table.sort_values("ts", kind="stable").to_parquet(file, index=False)
        words = ["data", "import", "parquet", str(file), "--name", NAME, "--underlying", underlying]
        done = CliRunner().invoke(root, [*words, "--bar-seconds", "1", "--catalog", str(catalog)])
        assert done.exit_code == 0, done.output
