import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.protocol import intent_verdict, log_message, market_event, order_intent
from scalpdesk.protocol.messages import exact_qty, read_event, read_message

EVENT = market_event("evt_12345", "2025-12-30T14:30:00Z", "SPY", "test", {"price": 495.5})


def test_the_hedge_of_the_document():
    made = order_intent(
        EVENT,
        kind="hedge",
        strategy="0dte_gamma_scalper",
        symbol="SPY",
        side="sell",
        qty=Decimal(7),
        client_tag="0dte_gamma_scalper_hedge",
        metadata={"reason": "delta_hedge", "net_delta_before": Decimal("6.50"), "gex_value": None},
    )
    assert made == {
        "protocol": "v1",
        "type": "order_intent",
        "intent_id": "hedge_SPY_b330d6012b4c",
        "event_id": "evt_12345",
        "ts": "2025-12-30T14:30:00Z",
        "symbol": "SPY",
        "side": "sell",
        "qty": 7.0,
        "order_type": "market",
        "time_in_force": "day",
        "client_tag": "0dte_gamma_scalper_hedge",
        "metadata": {"reason": "delta_hedge", "net_delta_before": "6.50", "gex_value": None},
    }


def test_what_is_none_is_left_out():
    made = order_intent(EVENT, kind="x", strategy="s", symbol="SPY", side="buy", qty=1, time_in_force=None)
    assert not {"time_in_force", "client_tag", "metadata", "limit_price"} & set(made)


@pytest.mark.rows(
    ("fields", "verdict"),
    [
        ({"side": "short"}, "value:side"),
        ({"qty": 0}, "value:qty"),
        ({"order_type": "limit"}, "value:limit_price"),
        ({"client_tag": ""}, "value:client_tag"),
    ],
)
def test_an_invalid_intent_is_not_made(fields, verdict):
    asked = {"kind": "hedge", "strategy": "s", "symbol": "SPY", "side": "buy", "qty": 1} | fields
    with pytest.raises(ArgumentError) as caught:
        order_intent(EVENT, **asked)
    assert caught.value.value == verdict


def test_an_invalid_event_or_log_is_not_made():
    with pytest.raises(ArgumentError, match="value:event_id"):
        market_event("a b", "2025-12-30T14:30:00Z", "SPY", "test", {})
    with pytest.raises(ArgumentError, match="value:level"):
        log_message("2025-12-30T14:30:00Z", "fatal", "x")


@given(
    st.decimals("0.0001", 10**9, places=4),
    st.sampled_from(["market", "limit", "stop", "stop_limit"]),
    st.decimals("0.01", 10**6, places=2),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_an_intent_survives_its_line(qty, order_type, price, symbol):
    try:
        made = order_intent(
            EVENT,
            kind="k",
            strategy="s",
            symbol=symbol,
            side="buy",
            qty=qty,
            order_type=order_type,
            limit_price=price if "limit" in order_type else None,
        )
    except ArgumentError:
        assert len(symbol) > 100
        return
    back = read_message(json.dumps(made).encode())
    assert back == made
    assert intent_verdict(back) == "ok"
    assert exact_qty(back) == qty


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.none()
        | st.booleans()
        | st.integers(-(10**15), 10**15)
        | st.floats(allow_nan=False, allow_infinity=False),
        max_size=6,
    )
)
def test_an_event_survives_its_line(payload):
    made = market_event("evt_1", "2025-12-30T14:30:00Z", "SPY", "test", payload)
    assert read_event(json.dumps(made).encode() + b"\r\n") == made
