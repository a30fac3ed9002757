from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from scalpdesk.core.intents import Side
from scalpdesk.instruments.sessions import rfc3339
from scalpdesk.venues.bounds import LATEST_NS
from scalpdesk_alpaca.fields import (
    BadMessage,
    Malformed,
    amount,
    day_of,
    decode,
    not_negative,
    ns_of,
    ns_of_ext,
    ns_of_text,
    positive,
    read_each,
    side_of,
    text,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(0, LATEST_NS - 1))
def test_a_text_made_of_an_instant_is_read_back_to_the_nanosecond(ns):
    assert ns_of_text(rfc3339(ns)) == ns


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


@pytest.mark.rows(
    "stamp",
    [
        "", "Z", "2026-11-20", "2026-11-20T14:30:00", "2026-11-20T14:30Z", "2026-13-01T00:00:00Z",
        "2026-11-20T24:00:00Z", "2026-11-20T14:60:00Z", "2026-11-20T14:30:00.Z", "1969-12-31T23:59:59Z",
        "2026-11-20T14:30:00+0500", "1970-01-01T00:00:00+00:01", "2100-01-01T00:00:00Z",
        "1970-01-01T00:00:00.1234567890123Z", "２０２６-11-20T14:30:00Z", "2026-11-20T14:30:00Z\n",
        "9" * 5000,
    ],
)  # fmt: skip
def test_a_text_that_is_no_instant_is_refused(stamp):
    with pytest.raises(Malformed) as caught:
        ns_of_text(stamp)
    assert caught.value.name == "bad_timestamp"
    assert caught.value.detail in (stamp, repr(stamp[:60]))


def test_a_missing_stamp_is_named():
    with pytest.raises(Malformed, match="no_timestamp"):
        ns_of(None)


@pytest.mark.rows("value", ["0", "0E+999999", "-0.00", "0E-999999"])
def test_a_zero_of_any_spelling_is_zero(value):
    assert str(amount(Decimal(value), "qty")) == "0"


# at the bounds --------------------------------------------------------------------------------------


def test_a_refusal_names_its_condition_and_shows_a_readable_part_of_what_was_there():
    bare, told = Malformed("bad_qty"), Malformed("bad_qty", "x" * 500)
    assert (str(bare), bare.name, bare.detail) == ("bad_qty", "bad_qty", "")
    assert (told.name, told.detail) == ("bad_qty", "x" * 160)
    assert str(told) == "bad_qty: " + "x" * 160


def test_bytes_that_cannot_be_decoded_are_shown_in_part():
    read = msgspec.json.Decoder(int).decode
    assert decode(read, b"17", "malformed_x") == 17
    with pytest.raises(Malformed) as caught:
        decode(read, b"[" + b"1" * 300, "malformed_x")
    assert caught.value.name == "malformed_x"
    assert caught.value.detail.endswith(repr(b"[" + b"1" * 79))


@pytest.mark.rows("value", ["9999999999999", "-9999999999999", "0.000000000000000001", "1E+12", "5"])
def test_an_amount_below_ten_trillion_of_at_most_eighteen_decimals_is_one(value):
    assert amount(Decimal(value), "qty") == Decimal(value)


@pytest.mark.rows(
    "value",
    [
        *("NaN", "sNaN", "Infinity", "-Infinity", "1e999999", "1e-19", "1.0000000000000000001"),
        *("10000000000000", "-10000000000000"),
    ],
)
def test_an_amount_of_ten_trillion_or_of_nineteen_decimals_is_none(value):
    with pytest.raises(Malformed, match="bad_qty"):
        amount(Decimal(value), "qty")
    for read in (amount, positive, not_negative):
        with pytest.raises(Malformed, match="no_qty"):
            read(None, "qty")


def test_zero_is_not_positive_and_not_negative():
    least = Decimal("0.01")
    assert (positive(least, "qty"), not_negative(least, "qty"), not_negative(Decimal(0), "qty")) == (
        least,
        least,
        0,
    )
    for read, value in ((positive, "0"), (positive, "-0.01"), (not_negative, "-0.01")):
        with pytest.raises(Malformed, match=f"bad_qty: {value}"):
            read(Decimal(value), "qty")


def test_a_text_may_be_as_long_as_its_limit():
    assert text("x" * 128, "id") == "x" * 128
    assert text("x" * 5, "id", 5) == "x" * 5
    for value, longest in (("x" * 129, 128), ("x" * 6, 5), ("", 128), (None, 128), ("a\nb", 128)):
        with pytest.raises(Malformed, match="bad_id"):
            text(value, "id", longest)
    with pytest.raises(Malformed) as caught:
        text("x" * 400, "id")
    assert caught.value.detail == "'" + "x" * 159


@pytest.mark.rows(
    ("stamp", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001z", 1),
        ("1970-01-02t01:02:03.5Z", 86_400 * 10**9 + 3_723_500_000_000),
        ("1970-01-01 23:59:60Z", 86_400 * 10**9),
        ("1970-01-01T02:03:00+02:03", 0),
        ("1969-12-31T21:57:00-02:03", 0),
        ("1970-01-01T00:00:00.123456789999Z", 123_456_789),
        ("2099-12-31T23:59:59.999999999Z", LATEST_NS - 1),
    ],
)
def test_an_instant_is_read_at_the_ends_of_what_is_believed(stamp, ns):
    assert ns_of_text(stamp) == ns_of(stamp) == ns


S = 10**9


@pytest.mark.rows(
    ("data", "ns"),
    [
        ((0).to_bytes(4, "big"), 0),
        ((2**32 - 1).to_bytes(4, "big"), None),
        ((1_000).to_bytes(4, "big"), 1_000 * S),
        ((999_999_999 << 34 | 7).to_bytes(8, "big"), 7 * S + 999_999_999),
        ((1_000_000_000 << 34 | 7).to_bytes(8, "big"), None),
        ((5).to_bytes(4, "big") + (7).to_bytes(8, "big", signed=True), 7 * S + 5),
        ((5).to_bytes(4, "big") + (-1).to_bytes(8, "big", signed=True), None),
        ((S - 1).to_bytes(4, "big") + (4_102_444_799).to_bytes(8, "big"), LATEST_NS - 1),
        ((S).to_bytes(4, "big") + (7).to_bytes(8, "big"), None),
        ((0).to_bytes(4, "big") + (4_102_444_800).to_bytes(8, "big"), None),
    ],
)
def test_an_extension_is_read_in_each_of_its_lengths(data, ns):
    if ns is None:
        with pytest.raises(Malformed, match=r"bad_timestamp: -?[0-9]+ s [0-9]+ ns"):
            ns_of_ext(Ext(-1, data))
    else:
        assert ns_of_ext(Ext(-1, data)) == ns_of(Ext(-1, data)) == ns


def test_an_extension_of_another_kind_or_length_is_named():
    for ext, shown in (
        (Ext(5, b"\x00" * 4), "extension 5 of 4 bytes"),
        (Ext(-1, b"\x00" * 6), "-1 of 6 bytes"),
    ):
        with pytest.raises(Malformed, match=shown):
            ns_of_ext(ext)


def test_an_instant_is_written_with_its_time_of_day():
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
    assert rfc3339((86_400 + 23 * 3_600 + 59 * 60 + 58) * S + 7) == "1970-01-02T23:59:58.000000007Z"


def test_a_short_sale_is_a_sale_and_anything_else_no_side():
    assert (side_of("buy"), side_of("sell"), side_of("sell_short")) == (Side.BUY, Side.SELL, Side.SELL)
    for value in (None, "", "BUY", "hold"):
        with pytest.raises(Malformed, match="bad_side") as caught:
            side_of(value)
        assert caught.value.detail == repr(value)


def test_of_a_list_the_parts_that_can_be_read_are_kept():
    def even(value):
        if value % 2:
            raise Malformed("odd", str(value))
        return value

    assert read_each([2, 3, 4, 5], even) == ([2, 4], [BadMessage("odd", "3"), BadMessage("odd", "5")])
    with pytest.raises(Malformed, match="bad_date: None"):
        day_of(None, "date")
    with pytest.raises(Malformed, match="bad_date"):
        day_of("2026-02-30", "date")
    assert day_of("2026-11-20", "date") == date(2026, 11, 20)
