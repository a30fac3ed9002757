"""Whatever bytes arrive, the exchange answers in its protocol and keeps its books."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalpdesk.exchange.outbox import Frame
from scalpdesk_testing.kit.exchange import Bench, generated

pytestmark = pytest.mark.second

BENCH = Bench(generated("SPY"), trading_limit=0, data_limit=0, accounts=2)
PATHS = sorted({resource.canonical for resource in BENCH.api._router.resources()})
NAMES = [
    "symbols", "limit", "page_token", "start", "end", "timeframe", "status", "after", "until", "direction",
    "nested",
    "qty", "percentage", "underlying_symbols", "expiration_date", "expiration_date_gte",
    "strike_price_gte",
    "strike_price_lte", "type", "feed", "page_size", "client_order_id", "sort", "asset_class",
    "cancel_orders",
]  # fmt: skip
WORDS = st.one_of(
    st.sampled_from(
        ["SPY", "1Min", "0", "-1", "nan", "1e400", "2026-11-18", "2026-13-40", "all", "open", "true", "*"]
    ),
    st.text(max_size=12),
)
FIELDS = [
    "symbol", "qty", "notional", "side", "type", "time_in_force", "limit_price", "stop_price", "trail_price",
    "trail_percent", "extended_hours", "client_order_id", "order_class", "take_profit", "stop_loss", "legs",
    "position_intent", "trail",
]  # fmt: skip
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(
            [
                "SPY",
                "buy",
                "sell",
                "market",
                "limit",
                "stop",
                "day",
                "gtc",
                "ioc",
                "opg",
                "1",
                "0.001",
                "600",
                "mleg",
                "bracket",
            ]
        ),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["limit_price", "stop_price", "symbol", "ratio_qty", "side"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8)
FAST = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@FAST
@given(
    st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT"]),
    st.sampled_from(PATHS),
    WORDS,
    st.dictionaries(st.sampled_from(NAMES), WORDS, max_size=4),
    BODIES,
)
def test_every_request_gets_an_answer(method, path, word, query, body):
    answer = BENCH.ask(method, path.replace("{name}", word or "x"), body, **query)
    assert 200 <= answer.status < 500
    if answer.status >= 400:
        document = answer.json()
        assert document["message"]
        assert "code" in document
    elif answer.body:
        assert isinstance(answer.json(), dict | list)


@FAST
@given(BODIES)
def test_every_order_is_taken_whole_or_refused(body):
    whole = {
        "symbol": "SPY",
        "qty": "1",
        "side": "buy",
        "type": "limit",
        "limit_price": "500",
        "time_in_force": "day",
    }
    before = len(BENCH.world.ledger.orders)
    answer = BENCH.ask("POST", "/v2/orders", {**whole, **body})
    made = len(BENCH.world.ledger.orders) - before
    assert (answer.status == 200) == (made > 0)
    assert answer.status in (200, 403, 422)
    BENCH.ask("DELETE", "/v2/orders")
    BENCH.advance(1)


@FAST
@given(st.binary(max_size=64), st.booleans())
def test_every_frame_is_answered_or_ignored(raw, is_text):
    for line in (BENCH.data_stream(auth=False), BENCH.trade_stream(listen=False)):
        line.stream.receive(Frame(raw, is_text=is_text))
        assert line.frames
        line.close()


@FAST
@given(
    st.dictionaries(
        st.sampled_from(["action", "quotes", "trades", "bars", "key", "data", "x"]), VALUES, max_size=5
    )
)
def test_every_message_is_answered(message):
    line = BENCH.data_stream()
    line.messages()
    line.stream.receive(Frame(msgspec.json.encode(message), is_text=True))
    assert all(one[0]["T"] in ("error", "subscription", "success") for one in line.messages())
    line.close()
    trades = BENCH.trade_stream()
    trades.messages()
    trades.stream.receive(Frame(msgspec.json.encode(message), is_text=True))
    assert all("stream" in one or one["action"] == "error" for one in trades.messages())
    trades.close()
