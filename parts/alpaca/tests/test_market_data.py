import math

import msgpack
import pytest

from scalpdesk_alpaca import market_data, messages
from scalpdesk_alpaca.fields import BadMessage
from scalpdesk_testing.kit import alpaca_wire as samples

NUMBERS = {samples.STOCK: 0, samples.OPTION: 1}
RECEIVED_NS = samples.AT_NS + 2_000_000


def stamp(_ts_event_ns):
    return RECEIVED_NS


def read(message, *, is_msgpack=False):
    reader = market_data.MarketReader(NUMBERS.get, is_msgpack=is_msgpack)
    raw = samples.as_msgpack(message) if is_msgpack else samples.as_json(message)
    return reader.read(raw, stamp)


def test_a_missing_side_is_not_a_price_of_zero():
    (quote,) = read([samples.stock_quote(bp=0, bs=0)])
    assert math.isnan(quote.bid)
    assert quote.bid_size == 0
    assert quote.ask == 185.14


@pytest.mark.rows(("told", "size"), [(0.5, 0.5), (-1.0, 0.0), (math.inf, 0.0)])
def test_a_size_is_what_the_venue_tells_in_parts_of_a_share_too_unless_no_size(told, size):
    assert messages.side(185.14, told) == (185.14, size)


def test_a_crossed_or_negative_quote_is_passed_on_for_the_market_to_judge():
    (quote,) = read([samples.stock_quote(bp=186.0, ap=-1.0)])
    assert (quote.bid, quote.ask) == (186.0, -1.0)


@pytest.mark.rows(
    ("message", "name"),
    [
        (samples.stock_quote(S="AMD"), "unknown_symbol"),
        (samples.stock_quote(t="2026-02-30T00:00:00Z"), "bad_timestamp"),
        (samples.stock_quote(t="2026-11-20T14:30:00"), "bad_timestamp"),
        (samples.stock_quote(t="2126-11-20T14:30:00Z"), "bad_timestamp"),
        (samples.stock_quote(bp="185.1"), "malformed_message"),
        (samples.stock_quote(bp=True), "malformed_message"),
        ({"T": "q", "S": samples.STOCK}, "malformed_message"),
        (samples.trade(p=0), "bad_trade"),
        (samples.trade(s=-1), "bad_trade"),
        (samples.bar(h=184.0), "bad_bar"),
        ({"T": "zz"}, "unknown_message"),
        ({"S": "x"}, "malformed_message"),
        (5, "malformed_message"),
    ],
)
def test_what_cannot_be_believed_is_refused_by_name_and_harms_nobody_beside_it(message, name):
    before, refused, after = read([samples.stock_quote(), message, samples.stock_quote(bp=185.11)])
    assert isinstance(refused, BadMessage)
    assert refused.name == name
    assert (before.bid, after.bid) == (185.10, 185.11)


def test_kinds_that_were_not_asked_for_are_passed_over():
    assert read([samples.bar(T="u"), samples.bar(T="d"), {"T": "l", "S": "NVDA"}]) == []


@pytest.mark.rows("raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{}", b"null", b'"x"'])
def test_a_frame_that_is_no_array_is_one_refusal(raw):
    (refused,) = market_data.MarketReader(NUMBERS.get, is_msgpack=False).read(raw, stamp)
    assert refused.name == "malformed_frame"


def test_a_frame_beyond_the_limit_is_not_even_decoded():
    (refused,) = market_data.MarketReader(NUMBERS.get, is_msgpack=False).read(
        b"[" + b" " * market_data.LARGEST_FRAME_BYTES, stamp
    )
    assert refused.name == "frame_too_large"


@pytest.mark.rows(
    "message",
    [
        samples.stock_quote(),
        samples.trade(),
        {"T": "s", "S": "NVDA", "t": samples.AT_TEXT, "sc": "H", "sm": "halt"},
    ],
)
def test_each_message_of_the_market_tells_the_venues_time(message):
    told = []
    market_data.MarketReader(NUMBERS.get, is_msgpack=False).read(
        samples.as_json([message]), lambda at_ns: told.append(at_ns) or RECEIVED_NS
    )
    assert told == [samples.AT_NS]


def test_what_the_desk_says_is_read_back_by_the_other_codec():
    said = market_data.market_subscription("subscribe", quotes=["NVDA"], is_msgpack=True)
    assert msgpack.unpackb(said) == {"action": "subscribe", "quotes": ["NVDA"]}
    hello = market_data.market_auth("K", "S", is_msgpack=False)
    assert hello == b'{"action":"auth","key":"K","secret":"S"}'


def test_texts_of_the_venue_are_cut_to_what_a_notice_shows():
    status = {"T": "s", "S": samples.STOCK, "t": samples.AT_TEXT, "sc": "H", "sm": "x" * 200}
    fault = {"T": "error", "code": 500, "msg": "y" * 200}
    shown = read([status, fault])
    assert [len(one.message) for one in shown] == [80, 120]
    assert [type(one) for one in shown] == [market_data.TradingStatus, messages.StreamFault]


@pytest.mark.rows(
    ("code", "is_final"),
    [
        *((code, True) for code in (400, 401, 402, 405, 409, 410, 411, 412, 413)),
        *((code, False) for code in (403, 404, 406, 407, 500)),
    ],
)
def test_a_fault_is_final_where_the_same_request_cannot_succeed(code, is_final):
    assert messages.StreamFault(code, "").is_final is is_final
