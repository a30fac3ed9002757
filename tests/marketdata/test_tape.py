from dataclasses import replace
from datetime import date
from decimal import Decimal
from hashlib import blake2b, sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.assembly import describe
from scalpdesk.core.errors import DataError
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.marketdata.tape import BarColumns, QuoteColumns, RateCurve
from scalpdesk_testing.kit.tape import TapeBuilder


def test_a_tape_out_of_order_is_refused_and_names_the_row():
    tape = TapeBuilder().spot("09:40", 500.0).spot("09:41", 501.0).build()
    backwards = replace(tape.quotes, ts_ns=tape.quotes.ts_ns[::-1].copy())
    with pytest.raises(DataError, match="sorted") as caught:
        replace(tape, quotes=backwards)
    assert caught.value.where == "by-hand: quotes row 3"


def test_rows_are_known_by_their_digest_and_by_that_of_a_journal_of_before():
    quotes = TapeBuilder().spot("09:40", 500.0).spot("09:41", 501.0).build().quotes
    columns = (
        quotes.ts_ns,
        quotes.instrument_id,
        quotes.bid,
        quotes.ask,
        quotes.bid_size,
        quotes.ask_size,
    )
    content = b"".join(column.tobytes() for column in columns)
    assert quotes.digest() == sha256(content).hexdigest()
    digests = quotes.digest(), blake2b(content, digest_size=16).hexdigest()
    assert [quotes.has_digest(digest) for digest in digests] == [True, True]
    for column in ("ts_ns", "instrument_id", "bid", "ask", "bid_size", "ask_size"):
        changed = getattr(quotes, column).copy()
        changed[-1] += 1
        other = replace(quotes, **{column: changed})
        assert [other.has_digest(digest) for digest in digests] == [False, False]


def test_bars_out_of_order_are_refused_too():
    tape = TapeBuilder().spot("09:40", 500.0).build()
    ones = np.ones(2)
    bars = BarColumns(np.array([2, 1]), np.zeros(2, np.int32), np.full(2, 60, np.int32), *([ones] * 5))
    assert len(bars) == 2
    with pytest.raises(DataError, match="bars"):
        replace(tape, bars=bars)


@pytest.mark.parametrize("has_bars", [False, True])
def test_the_prices_of_a_tape_over_a_split_are_in_the_scale_of_its_last_session(has_bars):
    """400 to 420 to 380 to 408, four for one, then 101 to 106 to 103."""
    days = date(2024, 3, 1), date(2024, 3, 4)
    prices = {days[0]: (400.0, 420.0, 380.0, 408.0), days[1]: (101.0, 106.0, 103.0)}
    made = TapeBuilder(days=days)
    for day, mids in prices.items():
        for minute, mid in enumerate(mids, start=40):
            made.spot(f"09:{minute}", mid, day=day)
    split = CorporateAction(symbol="SPY", ex_date=days[1], kind=ActionKind.SPLIT, ratio=Decimal(4))
    tape = replace(made.build(), actions=(split,))
    if has_bars:
        stamps, mids = tape.quotes.mids(0)
        ones, kinds = np.ones(len(mids)), np.zeros(len(mids), np.int32)
        tape = replace(tape, bars=BarColumns(stamps, kinds, kinds + 60, mids, mids, mids, mids, ones))
    wanted = {"open": 100.0, "high": 106.0, "low": 95.0, "close": 103.0}
    found = describe(tape)
    assert {name: float(found[name]) for name in wanted} == wanted
    found = describe(replace(tape, actions=()))
    assert {name: float(found[name]) for name in wanted} == wanted | {
        "open": 400.0,
        "high": 420.0,
        "low": 101.0,
    }


@given(
    st.dictionaries(st.integers(0, 4_000).map(float), st.floats(-0.05, 0.2), min_size=1, max_size=9),
    st.floats(0.0, 5_000.0) | st.integers(0, 4_000).map(float),
)
def test_rates_are_numpys_to_the_bit(points, days):
    xs = tuple(sorted(points))
    ys = tuple(points[x] for x in xs)
    assert RateCurve(xs, ys).rate_at(days) == float(np.interp(days, xs, ys))


def test_rates_are_linear_between_points_and_flat_outside():
    curve = RateCurve((30.0, 90.0), (0.04, 0.05))
    assert [curve.rate_at(days) for days in (1, 30, 60, 90, 400)] == pytest.approx(
        [0.04, 0.04, 0.045, 0.05, 0.05]
    )


def test_a_mid_is_never_half_an_ask():
    """The low and the close of a run's summary were, of quotes whose bid had gone."""
    columns = QuoteColumns(
        np.arange(3, dtype=np.int64),
        np.zeros(3, np.int32),
        np.array([470.0, 0.0, 470.2]),
        np.array([470.2, 470.3, np.inf]),
        np.ones(3),
        np.ones(3),
    )
    stamps, mids = columns.mids(InstrumentId(0))
    assert stamps.tolist() == [0]
    assert mids.tolist() == [pytest.approx(470.1)]
