from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.datasets.verify import OptionRows, intrinsic_findings, option_rows, parity_findings
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.tape import CashDividend, MarketTape, QuoteColumns, RateCurve

DAY = date(2015, 12, 23)


def pair(
    call: float, put: float, *, spot=100.0, strike=100.0, discount=1.0, payouts=0.0, american=False, half=0.0
):
    """One call and its put, quoted ``half`` either side; no tolerance."""
    two = np.ones(2)
    return OptionRows(
        ts_ns=np.zeros(2, np.int64),
        pair=np.zeros(2, np.int64),
        is_call=np.array([True, False]),
        is_american=np.array([american, american]),
        strike=strike * two,
        discount=discount * two,
        payouts=payouts * two,
        bid=np.array([call - half, put - half]),
        ask=np.array([call + half, put + half]),
        spot_bid=spot * two,
        spot_ask=spot * two,
        tolerance=1e-9 * two,
    )


@given(st.floats(50, 150), st.floats(0.9, 1.0), st.floats(0, 5), st.floats(5, 60))
def test_european_prices_that_obey_parity_are_never_found(strike, discount, payouts, put):
    call = put + 100.0 - payouts - strike * discount
    rows = pair(call, put, strike=strike, discount=discount, payouts=payouts)
    assert parity_findings(rows).found == 0


@given(st.floats(0.01, 5.0), st.booleans())
def test_a_break_beyond_the_band_is_found_with_its_size(excess, call_dear):
    call, put = (10.0 + excess, 10.0) if call_dear else (10.0, 10.0 + excess)
    found = parity_findings(pair(call, put))
    assert (found.checked, found.found) == (1, 1)
    assert found.worst == pytest.approx(excess, abs=1e-6)


def test_spreads_excuse_what_lies_inside_them():
    assert parity_findings(pair(10.5, 10.0)).found == 1
    assert parity_findings(pair(10.5, 10.0, half=0.3)).found == 0


def test_an_american_put_is_held_to_its_strike_and_a_european_one_to_its_present_value():
    american = pair(1.0, 9.0, spot=90.0, discount=0.95, american=True)
    european = pair(1.0, 9.0, spot=90.0, discount=0.95)
    assert intrinsic_findings(american).found == 1
    assert intrinsic_findings(american).worst == pytest.approx(1.0, abs=1e-6)
    assert intrinsic_findings(european).found == 0


def test_a_missing_ask_is_not_a_cheap_one():
    rows = pair(0.5, 9.0, spot=110.0, american=True)
    rows.ask[0] = np.nan
    assert intrinsic_findings(rows).checked == 1
    assert intrinsic_findings(rows).found == 0


def tape(book: list, ids: list[int], minutes: list[int], **extra) -> MarketTape:
    session = session_on(DAY)
    ts = session.open_ns + np.array(minutes, dtype=np.int64) * 60_000_000_000
    prices = np.array([100.0 if each == 0 else 2.0 for each in ids])
    sizes = np.ones(len(ids))
    columns = QuoteColumns(ts, np.array(ids, np.int32), prices, prices + 0.1, sizes, sizes)
    return MarketTape(
        "t", "recorded", "XYZ", (session,), Instruments(book), columns, quote_seconds=60.0, **extra
    )


CALL, NEXT = us_option("XYZ151224C00100000", ["XYZ"]), us_option("XYZ160624P00100000", ["XYZ"])


def test_options_are_held_against_the_last_quote_of_the_underlying_while_it_is_fresh():
    rows = option_rows(tape([Equity("XYZ"), CALL], [1, 0, 1, 1, 1], [1, 2, 3, 4, 9]))
    assert rows is not None
    # minute 1 has no underlying yet, at minute 9 its quote of minute 2 is too old
    assert len(rows) == 2
    assert rows.spot_bid.tolist() == [100.0, 100.0]


def test_rates_and_dividends_reach_the_bounds():
    rows = option_rows(
        tape(
            [Equity("XYZ"), CALL, NEXT],
            [0, 1, 2],
            [1, 1, 1],
            rate_curve=RateCurve((1.0,), (0.05,)),
            dividends=(CashDividend("XYZ", date(2016, 3, 1), Decimal("0.75")),),
        )
    )
    assert rows is not None
    assert rows.payouts.tolist() == [0.0, 0.75]
    assert rows.discount[1] == pytest.approx(np.exp(-0.05 * 184 / 365), abs=2e-4)
    assert rows.is_american.all()


def test_a_tape_without_options_has_nothing_to_test():
    assert option_rows(tape([Equity("XYZ")], [0], [1])) is None
    assert option_rows(tape([Equity("XYZ"), CALL], [1], [1])) is None
