from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from scalpdesk.venues.alpaca.fields import (
    LATEST_NS,
    Malformed,
    amount,
    day_of,
    ns_of,
    ns_of_ext,
    ns_of_text,
    text,
    text_of_ns,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(0, LATEST_NS - 1))
def test_a_text_made_of_an_instant_is_read_back_to_the_nanosecond(ns):
    assert ns_of_text(text_of_ns(ns)) == ns


@given(st.integers(0, LATEST_NS - 1))
def test_the_extension_as_the_common_library_packs_it_is_read_to_the_nanosecond(ns):
    packed = msgpack.Timestamp.from_unix_nano(ns).to_bytes()
    assert ns_of_ext(Ext(-1, packed)) == ns


@given(st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_a_text_is_read_as_the_standard_library_reads_it(moment, offset_minutes):
    sign = "-" if offset_minutes < 0 else "+"
    hours, minutes = divmod(abs(offset_minutes), 60)
    stamp = f"{moment.isoformat()}{sign}{hours:02d}:{minutes:02d}"
    expected = (datetime.fromisoformat(stamp) - EPOCH) // timedelta(microseconds=1) * 1000
    assert ns_of_text(stamp) == expected


@pytest.mark.parametrize(
    "stamp",
    [
        "", "Z", "2026-11-20", "2026-11-20T14:30:00", "2026-11-20T14:30Z", "2026-13-01T00:00:00Z",
        "2026-11-20T24:00:00Z", "2026-11-20T14:60:00Z", "2026-11-20T14:30:00.Z", "1969-12-31T23:59:59Z",
        "2026-11-20T14:30:00+0500", "２０２６-11-20T14:30:00Z", "2026-11-20T14:30:00Z\n", "9" * 5000,
    ],
)  # fmt: skip
def test_a_text_that_is_no_instant_is_refused(stamp):
    with pytest.raises(Malformed, match="bad_timestamp"):
        ns_of_text(stamp)


@pytest.mark.parametrize("data", [b"", b"\x00" * 5, b"\xff" * 8, b"\xff" * 12])
def test_an_extension_that_is_no_instant_is_refused(data):
    with pytest.raises(Malformed, match="bad_timestamp"):
        ns_of_ext(Ext(-1, data))
    with pytest.raises(Malformed, match="bad_timestamp"):
        ns_of_ext(Ext(5, b"\x00" * 4))


def test_a_missing_stamp_is_named():
    with pytest.raises(Malformed, match="no_timestamp"):
        ns_of(None)


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity", "1e13", "1e999999", "1e-19"])
def test_an_amount_beyond_belief_is_refused(value):
    with pytest.raises(Malformed, match="bad_qty"):
        amount(Decimal(value), "qty")


@pytest.mark.parametrize("value", ["0", "0E+999999", "-0.00", "0E-999999"])
def test_a_zero_of_any_spelling_is_zero(value):
    assert str(amount(Decimal(value), "qty")) == "0"


def test_texts_and_days():
    assert text("SPY", "symbol") == "SPY"
    for bad in ("", None, "a\nb", "x" * 200):
        with pytest.raises(Malformed, match="bad_symbol"):
            text(bad, "symbol")
    with pytest.raises(Malformed, match="bad_expiry"):
        day_of("2026-02-30", "expiry")
