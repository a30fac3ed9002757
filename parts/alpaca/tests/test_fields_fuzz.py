"""Messages spoilt byte by byte and field by field: a refusal with a name, never a crash."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.events import BarEvent, QuoteEvent, TradeEvent
from scalpdesk.journal.codec import encode_events
from scalpdesk.venues.bounds import LARGEST_FIGURE, LATEST_NS
from scalpdesk_alpaca import account_messages, market_data, messages
from scalpdesk_alpaca.fields import BadMessage, Malformed
from scalpdesk_alpaca.order_messages import TradeUpdate, read_orders, read_update
from scalpdesk_testing.kit import alpaca_wire as samples

pytestmark = pytest.mark.second

NUMBERS = {samples.STOCK: 0, samples.OPTION: 1}
MUTATIONS_A_SAMPLE = 17_000
READERS = {
    codec: market_data.MarketReader(NUMBERS.get, is_msgpack=codec == "msgpack")
    for codec in ("json", "msgpack")
}


def stamp(ts_event_ns):
    return 0 if ts_event_ns is None else ts_event_ns


def mutations(raw: bytes, count: int, seed: int):
    """Yield ``raw`` with a few bytes changed, cut, doubled or put elsewhere; the same changes for a seed."""
    rng = np.random.default_rng(seed)
    size = len(raw)
    kinds = rng.integers(0, 6, count).tolist()
    spots = rng.integers(0, size, (count, 2)).tolist()
    values = rng.integers(0, 256, (count, 3)).tolist()
    for kind, (at, to), (one, two, three) in zip(kinds, spots, values, strict=True):
        if kind == 0:
            yield raw[:at] + bytes([one]) + raw[at + 1 :]
        elif kind == 1:
            yield raw[:at]
        elif kind == 2:
            yield raw[:at] + bytes([one, two, three]) + raw[at:]
        elif kind == 3:
            yield raw[: min(at, to)] + raw[max(at, to) :]
        elif kind == 4:
            yield raw[:at] + raw[min(at, to) : max(at, to)] + raw[at:]
        else:
            spoilt = bytearray(raw)
            spoilt[at] ^= 1 << (one % 8)
            spoilt[to] ^= 1 << (two % 8)
            yield bytes(spoilt)


def check_market(item):
    assert isinstance(
        item,
        QuoteEvent
        | TradeEvent
        | BarEvent
        | messages.Welcome
        | market_data.Subscribed
        | messages.StreamFault
        | market_data.TradingStatus
        | BadMessage,
    )
    if isinstance(item, QuoteEvent | TradeEvent | BarEvent):
        assert item.instrument_id in (0, 1)
        assert 0 <= item.ts_event_ns < LATEST_NS + 60_000_000_000
        encode_events([item])  # the journal can hold it
    if isinstance(item, QuoteEvent):
        assert not max(abs(item.bid), abs(item.ask)) >= LARGEST_FIGURE
        assert 0 <= item.bid_size < math.inf
        assert 0 <= item.ask_size < math.inf
    if isinstance(item, BadMessage):
        assert item.name
        assert len(item.detail) <= 160


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_spoilt_market_frames(codec, seed):
    if codec == "json":
        raw = samples.as_json([samples.stock_quote(), samples.trade(), samples.bar()])
    else:
        raw = samples.as_msgpack([samples.option_quote(), samples.option_quote(bp=0)])
    read = READERS[codec].read
    refused = 0
    for spoilt in mutations(raw, MUTATIONS_A_SAMPLE, seed):
        for item in read(spoilt, stamp):
            check_market(item)
            refused += type(item) is BadMessage
    assert refused > MUTATIONS_A_SAMPLE // 10  # the mutations do spoil


@pytest.mark.parametrize("message", [samples.fill_update(), samples.combo_fill()], ids=["single", "combo"])
def test_spoilt_trade_updates(message):
    refused = 0
    for spoilt in mutations(samples.as_json(message), MUTATIONS_A_SAMPLE // 2, 4):
        said = read_update(spoilt)
        refused += type(said) is BadMessage
        if type(said) is TradeUpdate:
            check_update(said)
    assert refused > MUTATIONS_A_SAMPLE // 20


def check_update(said):
    order = said.order
    assert order.filled >= 0
    assert order.quantity is None or order.filled <= order.quantity
    if said.event in ("fill", "partial_fill") and order.symbol:
        assert said.quantity.is_finite()
        assert said.quantity > 0
        assert said.price.is_finite()
        assert said.execution_id


def test_spoilt_rest_answers():
    contract = samples.as_json({"option_contracts": [{"symbol": samples.OPTION}], "next_page_token": None})
    orders = samples.as_json([samples.order()])
    paid = {"id": "a", "activity_type": "DIV", "date": "2024-03-04", "net_amount": "1.5", "qty": "3"}
    activities = samples.as_json([paid, {**paid, "activity_type": "OPTRD", "symbol": samples.STOCK}])
    readers = (
        (orders, read_orders),
        (contract, account_messages.read_contracts),
        (orders, account_messages.read_account),
        (orders, account_messages.read_clock),
        (orders, lambda raw: account_messages.read_positions(raw, NUMBERS.get)),
        (orders, account_messages.read_fills),
        (activities, account_messages.read_activities),
    )
    for raw, read in readers:
        for spoilt in mutations(raw, 1_000, 5):
            try:
                read(spoilt)
            except Malformed as refused:
                assert refused.name  # noqa: PT017 - any other exception fails the test


@given(st.binary(max_size=300))
def test_any_bytes_at_all(raw):
    for reader in READERS.values():
        for item in reader.read(raw, stamp):
            check_market(item)
    assert type(read_update(raw)) is not TradeUpdate


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(samples.order())), json_values)
def test_a_field_of_an_order_with_any_value_at_all(name, value):
    said = read_update(samples.as_json(samples.update("new", samples.order(**{name: value}))))
    assert isinstance(said, TradeUpdate | BadMessage)
    if isinstance(said, TradeUpdate):
        check_update(said)


@given(st.sampled_from(sorted(samples.stock_quote())), json_values)
def test_a_field_of_a_quote_with_any_value_at_all(name, value):
    for item in READERS["json"].read(samples.as_json([samples.stock_quote(**{name: value})]), stamp):
        check_market(item)
