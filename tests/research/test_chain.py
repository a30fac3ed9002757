"""The chain of one expiry, as a document."""

from datetime import date, time

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.pricing import greeks
from scalpdesk.research.chain import chain_document
from scalpdesk_testing.kit.tape import tape_of_rows

DAY = date(2018, 2, 5)


EXPIRY = date(2018, 2, 9)


NOON = new_york_ns(DAY, time(12, 0))


RATE = 0.02


SPOT = 100.0


@pytest.fixture
def tape():
    """Four options at a volatility of 30 %, one without a bid, one never quoted; later rows are nonsense."""
    book = Instruments([Equity("XYZ")])
    symbols = ["XYZ180209C00100000", "XYZ180209P00100000", "XYZ180209C00105000", "XYZ180209P00105000"]
    contracts = [us_option(symbol, ["XYZ"]) for symbol in symbols]
    ids = [book.add(contract) for contract in contracts]
    years = (new_york_ns(EXPIRY, time(16, 0)) - NOON) / 1e9 / 86_400 / 365
    fair = [
        float(greeks(SPOT, float(c.strike), years, 0.3, c.is_call, rate=RATE).price) for c in contracts[:2]
    ]
    rows = [
        (NOON - 2, 0, SPOT - 0.01, SPOT + 0.01),
        (NOON - 1, ids[0], fair[0] - 0.05, fair[0] + 0.05),
        (NOON - 1, ids[1], fair[1] - 0.05, fair[1] + 0.05),
        (NOON, ids[2], float("nan"), 0.05),
        (NOON + 1, 0, 1.0, 2.0),
        (NOON + 1, ids[0], 1.0, 2.0),
        (NOON + 1, ids[3], 1.0, 2.0),
    ]
    return tape_of_rows(book, rows, DAY, RATE, open_interest={symbols[0]: 7})


def test_the_chain_knows_only_what_was_known_by_then(tape):
    document = chain_document(tape, NOON, None)
    assert document["spot"] == SPOT
    assert document["expiry"] == "2018-02-09"
    call, put, no_bid, never = document["options"]
    assert call["symbol"] == "XYZ180209C00100000"
    assert call["open_interest"] == 7
    assert call["iv"] == pytest.approx(0.3, abs=1e-6)
    assert put["iv"] == pytest.approx(0.3, abs=1e-6)
    assert 0.5 < call["delta"] < 0.6
    assert (no_bid["iv"], no_bid["iv_status"], no_bid["ask"]) == (None, "no_mid", 0.05)
    assert (never["quote"], never["bid"], never["delta"]) == ("absent", None, None)


def test_an_old_quote_is_marked_and_not_valued(tape):
    later = NOON + 3 * NANOS_PER_SECOND  # the tape's quotes come every second: 2.5 of them count as current
    tape.quotes.ts_ns[-1] = later
    document = chain_document(tape, later, None)
    call, put, no_bid, current = document["options"]
    assert (call["quote"], call["iv_status"], call["iv"], call["delta"]) == ("stale", "stale", None, None)
    assert call["age_seconds"] == pytest.approx(3.0)
    assert (put["quote"], no_bid["quote"], current["quote"]) == ("stale", "stale", "good")
    assert current["age_seconds"] == 0.0
    assert document["max_age_seconds"] == 2.5
    assert document["spot_age_seconds"] == pytest.approx(3.0)
    assert document["notes"][0] == "the quote of XYZ itself is 3 s old"
    assert document["notes"][1].startswith("3 of 4 options are not valued: their quotes are 3 to 3 s old")
    whole = chain_document(tape, later, None, 60.0)
    assert [option["quote"] for option in whole["options"]] == ["good", "good", "one_sided", "good"]
    assert whole["notes"] == []


def test_a_chain_of_old_quotes_is_refused_and_names_the_newest(tape):
    with pytest.raises(DataError, match=r"older than 2\.5 s") as caught:
        chain_document(tape, NOON + 60 * NANOS_PER_SECOND, None)
    assert "12:00:00" in str(caught.value.value)


def test_a_missing_expiry_names_the_nearest(tape):
    with pytest.raises(DataError) as caught:
        chain_document(tape, NOON, date(2018, 2, 16))
    assert caught.value.nearest == "2018-02-09"


def test_before_the_first_quote_there_is_no_chain(tape):
    with pytest.raises(DataError, match="not quoted yet"):
        chain_document(tape, NOON - 3, None)
