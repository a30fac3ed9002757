import json
from decimal import Decimal

import msgspec
import numpy as np
import pytest

from scalpdesk.core.enums import (
    ChangeCause,
    DecisionKind,
    Mode,
    OperatorAction,
    OperatorCause,
    SessionPhase,
)
from scalpdesk.core.errors import InvariantError
from scalpdesk.core.events import (
    AccountSnapshot,
    HeldPosition,
    OperatorEvent,
    QuoteEvent,
    RateEvent,
    TimerEvent,
)
from scalpdesk.core.intents import Decision, Mark, OrderType, Purpose, Side, Stop, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.journal.codec import (
    INSTRUMENT_CLASSES,
    decode_events,
    decode_header,
    decode_outputs,
    encode_event,
    encode_events,
    encode_header,
    encode_outputs,
    instrument_from_map,
    instrument_to_map,
    joined,
    same_outputs,
)


def test_header_comes_back_equal_with_every_class_of_instrument(header):
    back = decode_header(encode_header(header))
    assert back == header
    assert {type(each).__name__ for each in back.instruments} == set(INSTRUMENT_CLASSES)
    assert back.instruments[4].strike == Decimal(3700)
    assert str(back.instruments[2].tick_rule.below) == "0.01"


def test_instrument_of_an_unknown_class_is_refused_with_the_nearest(header):
    described = instrument_to_map(header.instruments[4]) | {"class": "OptionContrct"}
    with pytest.raises(msgspec.ValidationError, match="OptionContract"):
        instrument_from_map(described)


@pytest.mark.parametrize("number", [0, 4])  # a share of one tick, an index option of two
def test_a_tick_rule_that_an_earlier_version_wrote_flat_is_read(header, number):
    instrument = header.instruments[number]
    rule = instrument.tick_rule
    flat = {"below": str(rule.below), "above": str(rule.tick_at(Decimal(4))), "threshold": "3"}
    assert instrument_from_map(instrument_to_map(instrument) | {"tick_rule": flat}) == instrument


def test_events_keep_nan_exact_decimals_and_nested_rows():
    nan = float("nan")
    events = [
        QuoteEvent(InstrumentId(7), 1, 2, nan, 1.5, 0.0, 2.0),
        RateEvent(3, 3, (1.0, 30.0), (0.01, 0.02)),
        AccountSnapshot(
            4, 4, Decimal("10.50"), (HeldPosition(InstrumentId(1), Decimal(-2), Decimal("1.250")),)
        ),
        TimerEvent(5, 5, "heartbeat"),
    ]
    back = decode_events(encode_events(events))
    assert back[0].bid != back[0].bid
    assert back[1:] == events[1:]
    assert str(back[2].positions[0].average_price) == "1.250"
    assert encode_events(back) == encode_events(events)


@pytest.mark.rows("count", [1, 15, 16, 4_096, 65_535])
def test_events_encoded_one_by_one_make_the_same_batch(count):
    events = [TimerEvent(5, 5, "heartbeat")] * count
    assert joined([encode_event(event) for event in events]) == encode_events(events)


def test_outputs_take_numpy_scalars_and_keep_nan():
    decision = Decision(
        1, DecisionKind.HEDGE, False, ("inside the band",), {"delta": np.float64(1.5), "n": np.int64(3)}
    )
    mark = Mark(
        1, Decimal("1.10"), Decimal(0), {"fees": Decimal("-0.10")}, 1.0, 0, 0, 0, 0, float("nan"), 0, 0
    )
    back = decode_outputs(encode_outputs((decision, mark)))
    assert back[0].facts == {"delta": 1.5, "n": 3}
    assert str(back[1].nav) == "1.10"
    assert same_outputs(back, (decision, mark))


def test_a_value_the_journal_cannot_hold_is_refused_by_name():
    with pytest.raises(InvariantError, match="cannot hold outputs: a ndarray"):
        encode_outputs((Decision(1, DecisionKind.HEDGE, True, (), {"deltas": np.zeros(3)}),))


def test_bytes_of_another_form_are_refused():
    with pytest.raises(msgspec.MsgspecError):
        decode_events(b"\x01")


def test_the_same_outputs_are_the_same_bytes():
    decision = Decision(1, DecisionKind.HEDGE, True, (), {"price": 1.0})
    assert same_outputs((decision,), (Decision(1, DecisionKind.HEDGE, True, (), {"price": 1.0}),))
    assert not same_outputs((decision,), (Decision(1, DecisionKind.HEDGE, True, (), {"price": 1.0000001}),))
    assert not same_outputs((decision,), ())


@pytest.mark.rows(
    ("kind", "limit", "text"),
    [
        (OrderType.MARKET, None, '"market",null'),
        (OrderType.LIMIT, "4.50", '"limit","4.50"'),
        (Stop(Decimal("4.75")), None, '["stop","4.75"],null'),
        (Stop(Decimal("4.75")), "4.50", '["stop","4.75"],"4.50"'),
    ],
)
def test_the_type_of_an_order_is_journaled_as_its_value_and_a_plain_one_as_its_name(kind, limit, text):
    price = None if limit is None else Decimal(limit)
    order = SubmitOrder("t-1", 1, Side.SELL, Decimal(2), kind, price, TimeInForce.DAY, Purpose.CLOSE)
    assert msgspec.json.encode(order).decode() == f'[1,"t-1",1,"sell","2",{text},"day","close",""]'
    assert decode_outputs(encode_outputs((order,))) == (order,)


@pytest.mark.rows("kind", [Mode, OperatorAction, SessionPhase, ChangeCause, DecisionKind])
def test_an_enum_is_journaled_as_the_text_of_its_value(kind):
    for member in kind:
        assert msgspec.msgpack.encode(member) == msgspec.msgpack.encode(member.value)
        assert (
            msgspec.json.encode({"it": member}) == json.dumps({"it": member}, separators=(",", ":")).encode()
        )
        assert f"{member}" == member.value


@pytest.mark.rows(
    ("action", "reason", "who", "cause"),
    [
        ("halt", "stop: hold", "operator", "stop"),
        ("flatten", "stop: flatten", "operator", "stop"),
        ("halt", "stop: news", "operator", "person"),
        ("resume", "the run goes on after its stop", "operator", "person"),
        ("flatten", "options expire", "deadline", "deadline"),
        ("halt", "the venue ended the session", "venue", "venue"),
        ("reduce", "unexplained difference", "reconciliation", "reconciliation"),
    ],
)
def test_an_operator_event_of_an_earlier_version_gets_its_cause(action, reason, who, cause):
    payload = msgspec.msgpack.encode([[50, 1, 1, "mark"], [51, 1, 2, action, reason, who]])
    timer, event = decode_events(payload)
    assert timer == TimerEvent(1, 1, "mark")
    assert event == OperatorEvent(1, 2, OperatorAction(action), reason, who, OperatorCause(cause))
    assert decode_events(encode_events([event])) == [event]
