import copy

import pytest

from scalpdesk.protocol import event_verdict, intent_verdict, log_verdict, shutdown_verdict

EVENT = {
    "protocol": "v1",
    "type": "market_event",
    "event_id": "evt_12345",
    "ts": "2025-12-30T14:30:00Z",
    "symbol": "SPY251230C00500000",
    "source": "alpaca",
    "payload": {"delta": 0.65, "price": 2.5, "quantity": 10, "underlying_price": 495.5},
}
INTENT = {
    "protocol": "v1",
    "type": "order_intent",
    "intent_id": "hedge_SPY_abc123",
    "event_id": "evt_12345",
    "ts": "2025-12-30T14:30:00Z",
    "symbol": "SPY",
    "side": "sell",
    "qty": 7.0,
    "order_type": "market",
    "time_in_force": "day",
    "client_tag": "0dte_gamma_scalper_hedge",
    "metadata": {"reason": "delta_hedge"},
}
LOG = {"protocol": "v1", "type": "log", "ts": "2025-12-30T14:30:00Z", "level": "info", "message": "hello"}
REQUIRED = ["protocol", "type", "intent_id", "event_id", "ts", "symbol", "side", "qty", "order_type"]
OPTIONAL = ["limit_price", "time_in_force", "client_tag", "metadata"]


def changed(sample, /, **fields):
    made = copy.deepcopy(sample)
    for name, value in fields.items():
        if value is ...:
            made.pop(name, None)
        else:
            made[name] = value
    return made


def test_the_messages_of_the_document_are_valid():
    assert event_verdict(EVENT) == "ok"
    assert intent_verdict(INTENT) == "ok"
    assert log_verdict(LOG) == "ok"
    assert shutdown_verdict({"type": "shutdown"}) == "ok"


@pytest.mark.rows("field", ["protocol", "type", "event_id", "ts", "symbol", "source", "payload"])
def test_every_field_of_an_event_is_needed(field):
    assert event_verdict(changed(EVENT, **{field: ...})) == f"missing:{field}"
    for other in (None, 5, True, []):
        assert event_verdict(changed(EVENT, **{field: other})) == f"type:{field}"
    if field != "payload":
        assert event_verdict(changed(EVENT, **{field: ""})) == f"value:{field}"


@pytest.mark.rows("field", REQUIRED)
def test_every_field_of_an_intent_is_needed(field):
    assert intent_verdict(changed(INTENT, **{field: ...})) == f"missing:{field}"
    for other in (None, True, [], {}):
        assert intent_verdict(changed(INTENT, **{field: other})) == f"type:{field}"


@pytest.mark.rows("field", OPTIONAL)
def test_an_optional_field_is_left_out_or_right(field):
    assert intent_verdict(changed(INTENT, **{field: ...})) == "ok"
    for other in (None, True, []):
        assert intent_verdict(changed(INTENT, **{field: other})) == f"type:{field}"


@pytest.mark.rows(
    ("fields", "verdict"),
    [
        ({"protocol": "v2"}, "value:protocol"),
        ({"type": "market_event"}, "value:type"),
        ({"intent_id": "-bad"}, "value:intent_id"),
        ({"intent_id": "good\n"}, "value:intent_id"),
        ({"intent_id": "a" * 129}, "value:intent_id"),
        ({"event_id": "a.b"}, "value:event_id"),
        ({"ts": "2025-12-30T14:30:00"}, "value:ts"),
        ({"symbol": ""}, "value:symbol"),
        ({"side": "short"}, "value:side"),
        ({"side": "SELL"}, "value:side"),
        ({"qty": 0}, "value:qty"),
        ({"qty": -1}, "value:qty"),
        ({"qty": float("nan")}, "value:qty"),
        ({"qty": float("inf")}, "value:qty"),
        ({"qty": 10**400}, "value:qty"),
        ({"qty": "7"}, "type:qty"),
        ({"order_type": "iceberg"}, "value:order_type"),
        ({"order_type": "limit"}, "value:limit_price"),
        ({"order_type": "limit", "limit_price": 0}, "value:limit_price"),
        ({"order_type": "stop_limit", "limit_price": -1.0}, "value:limit_price"),
        ({"order_type": "limit", "limit_price": True}, "type:limit_price"),
        ({"order_type": "limit", "limit_price": 1.25}, "ok"),
        ({"order_type": "stop"}, "ok"),
        ({"limit_price": float("inf")}, "value:limit_price"),
        ({"limit_price": 0}, "ok"),
        ({"time_in_force": "opg"}, "value:time_in_force"),
        ({"client_tag": ""}, "value:client_tag"),
        ({"metadata": "x"}, "type:metadata"),
        ({"extra": object()}, "ok"),
    ],
)
def test_verdicts_on_intents(fields, verdict):
    assert intent_verdict(changed(INTENT, **fields)) == verdict


@pytest.mark.rows(
    ("fields", "verdict"),
    [
        ({"protocol": 1}, "type:protocol"),
        ({"event_id": "é"}, "value:event_id"),
        ({"ts": "soon"}, "value:ts"),
        ({"payload": {"delta": float("nan")}}, "value:payload"),
        ({"payload": {"price": float("-inf")}}, "value:payload"),
        ({"payload": {}}, "ok"),
        ({"extra": 1}, "ok"),
    ],
)
def test_verdicts_on_events(fields, verdict):
    assert event_verdict(changed(EVENT, **fields)) == verdict


def test_the_first_wrong_field_is_named_in_the_order_of_the_protocol():
    wrong = dict.fromkeys([*OPTIONAL, *reversed(REQUIRED)])
    for field in [*REQUIRED, *OPTIONAL]:
        assert intent_verdict(wrong) == f"type:{field}"
        wrong = changed(wrong, **{field: INTENT.get(field, 1.0)})
    assert intent_verdict(wrong) == "ok"


@pytest.mark.rows(
    ("fields", "verdict"),
    [
        ({"protocol": ...}, "ok"),
        ({"protocol": "v2"}, "value:protocol"),
        ({"type": "logg"}, "value:type"),
        ({"ts": "x"}, "value:ts"),
        ({"level": "fatal"}, "value:level"),
        ({"message": ""}, "value:message"),
        ({"message": ...}, "missing:message"),
    ],
)
def test_verdicts_on_logs(fields, verdict):
    assert log_verdict(changed(LOG, **fields)) == verdict


@pytest.mark.rows("judge", [event_verdict, intent_verdict, log_verdict, shutdown_verdict])
@pytest.mark.rows("message", [None, [], "x", 1, float("nan")])
def test_what_is_no_object_is_no_message(judge, message):
    assert judge(message) == "type:message"


def test_a_shutdown_of_another_protocol():
    assert shutdown_verdict({"type": "shutdown", "protocol": "v2"}) == "value:protocol"
    assert shutdown_verdict({"type": "stop"}) == "value:type"
