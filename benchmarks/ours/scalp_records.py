"""Milliseconds of the slowest statement of each question about scalps: ``scalp_records.py COUNT [URL]``.

In a SQLite file in processor time; in the empty database of a URL, whose server is another process, by the
clock.
"""

import datetime as dt
import json
import random
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from sqlalchemy import Engine, event, insert

from scalpdesk.records.scalps import open_scalps, scalp_history, scalp_performance
from scalpdesk.records.store import open_store, store_url
from scalpdesk.records.tables import OptionsScalpRecord, RunRow, ScalpOutcomeRow

BATCH = 2_000
EXPIRY, FIRST = dt.date(2018, 12, 31), dt.datetime(2017, 1, 3, 15)  # noqa: DTZ001 - the column is UTC without a zone
TICKERS = ("SPY", "QQQ", "NVDA")


def rows(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return scalps and their outcomes, equal at every call."""
    dice = random.Random(136)
    scalps, outcomes = [], []
    for number in range(1, count + 1):
        at = FIRST + dt.timedelta(minutes=10 * number)
        ticker, is_open = TICKERS[number % 3], number % 2_000 == 0
        pnl = None if is_open else round(dice.gauss(-5.0, 100.0), 2)
        scalps.append(
            {
                "id": number, "signal_id": f"{ticker}|1m|{at:%Y-%m-%dT%H:%M:%SZ}|flip_up", "ticker": ticker,
                "option_symbol": "SPY181231C00270000", "option_type": "call", "strike": 270.0,
                "expiry": EXPIRY, "dte": 0, "direction": "long_call", "contracts": 4, "entry_premium": 1.0,
                "exit_premium": None if is_open else 1.1, "status": "open" if is_open else "closed",
                "exit_reason": None if is_open else "cloud_flip", "pnl": pnl, "broker": "simulated",
                "order_id": f"o-{number}", "entry_time": at, "exit_time": None if is_open else at,
                "metadata_json": "{}", "created_at": at,
            }
        )  # fmt: skip
        outcomes.append(
            {
                "scalp_id": number, "run_id": "bench", "ticker": ticker, "session": at.date().isoformat(),
                "entry_hour": 9 + number % 6, "conviction": 50 + number % 50, "pnl": pnl,
                "hold_seconds": None if is_open else 60.0 + number % 600,
            }
        )  # fmt: skip
    return scalps, outcomes


def run_row() -> dict[str, Any]:
    """Return a run whose required columns are empty."""
    empty: dict[type, Any] = {str: "", int: 0, bool: True, dict: {}, list: []}
    values = {}
    for column in RunRow.__table__.columns:
        if not column.nullable:
            kind = column.type.python_type
            values[column.key] = empty.get(kind, 0)
    return values | {"run_id": "bench"}


def slowest_ms(engine: Engine, ask: Callable[[], object]) -> float:
    """Return the milliseconds of the slowest statement of a question, its rows read."""
    now = process_time if engine.dialect.name == "sqlite" else perf_counter
    marks: list[float] = []

    def begin(*_: object) -> None:
        marks.append(now())

    event.listen(engine, "before_cursor_execute", begin)
    ask()
    event.remove(engine, "before_cursor_execute", begin)
    marks.append(now())
    return max(1e3 * (after - before) for before, after in pairwise(marks))


def main() -> None:
    """Print the figures of one run as JSON."""
    scalps, outcomes = rows(int(sys.argv[1]))
    with (
        tempfile.TemporaryDirectory() as folder,
        open_store(sys.argv[2] if len(sys.argv) > 2 else store_url(Path(folder))) as store,
    ):
        with store.engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.execute(insert(RunRow), [run_row()])
            for start in range(0, len(scalps), BATCH):
                connection.execute(insert(OptionsScalpRecord), scalps[start : start + BATCH])
                connection.execute(insert(ScalpOutcomeRow), outcomes[start : start + BATCH])
        questions: dict[str, Callable[[], object]] = {
            "open": lambda: open_scalps(store),
            "history": lambda: scalp_history(store),
            "performance": lambda: scalp_performance(store),
        }
        total = scalp_performance(store)["total"]
        written = sum(row["pnl"] for row in outcomes if row["pnl"] is not None)
        for ask in questions.values():
            ask()
        found = {name: slowest_ms(store.engine, ask) for name, ask in questions.items()}
    print(json.dumps({"ms": found, "agrees": abs(total["pnl"] - written) < 1.0}))


if __name__ == "__main__":
    main()
