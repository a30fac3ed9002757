"""Whatever quotes are imported, the tape carries exactly those, in order of time."""

import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.datasets.catalog import load_tape
from scalpdesk.datasets.importers.tabular import ImportChoices, import_table
from scalpdesk.instruments.sessions import from_ns, session_on

DAY = date(2015, 12, 23)
SYMBOLS = ("XYZ", "XYZ151224C00100000", "XYZ160115P00097500")

quote = st.tuples(
    st.integers(1, 390),
    st.sampled_from(SYMBOLS),
    st.integers(1, 5000),
    st.integers(0, 50),
    st.integers(0, 900),
    st.integers(0, 900),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(quote, min_size=1, max_size=30, unique_by=lambda row: row[:2]))
@pytest.mark.second
def test_quotes_survive_the_catalogue(rows):
    session = session_on(DAY)
    wanted = [(5, "XYZ", 10_000, 10, 1, 1), *rows]
    wanted = list({row[:2]: row for row in wanted}.values())
    lines = ["ts,symbol,bid,ask,bid_size,ask_size"]
    expected = []
    for minute, symbol, bid, spread, bid_size, ask_size in wanted:
        ts_ns = session.open_ns + minute * 60_000_000_000
        lines.append(
            f"{from_ns(ts_ns).isoformat()},{symbol},{bid / 100},{(bid + spread) / 100},{bid_size},{ask_size}"
        )
        expected.append((ts_ns, symbol, bid / 100, (bid + spread) / 100, float(bid_size), float(ask_size)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_text("\n".join(lines) + "\n")
        import_table(Path(folder) / "cat", path, ImportChoices("mine", "XYZ", bar_seconds=60))
        tape = load_tape(Path(folder) / "cat", "mine", underlying="XYZ", start=DAY, end=DAY)
    columns = tape.quotes
    symbols = [instrument.symbol for instrument in tape.instruments]
    found = [
        (int(ts), symbols[number], float(bid), float(ask), float(bid_size), float(ask_size))
        for ts, number, bid, ask, bid_size, ask_size in zip(
            columns.ts_ns,
            columns.instrument_id,
            columns.bid,
            columns.ask,
            columns.bid_size,
            columns.ask_size,
            strict=True,
        )
    ]
    assert bool((np.diff(columns.ts_ns) >= 0).all())
    assert sorted(found) == sorted(expected)
