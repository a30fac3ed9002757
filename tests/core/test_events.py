import math
from decimal import Decimal
from typing import get_args

import msgspec
import pytest

from scalpdesk.core import events as ev
from scalpdesk.core.enums import Mode
from scalpdesk.core.events import Event, HeldPosition, QuoteEvent
from scalpdesk.core.intents import OrderIntent, Output, Purpose, Side
from scalpdesk.core.mode import AccountMode, ModeEntry, Passing

SAMPLES = {
    ev.QuoteEvent: (3, 1, 2, 1.5, float("inf"), 10.0, 0.0),
    ev.TradeEvent: (3, 1, 2, 1.5, 7.0),
    ev.BarEvent: (3, 1, 2, 60, 1.0, 2.0, 0.5, 1.5, 100.0),
    ev.OpenInterestEvent: (3, 1, 2, 400),
    ev.SessionEvent: (1, 2, "2024-03-04", "open", 1, 9),
    ev.RateEvent: (1, 2, (1.0, 30.0), (0.05, 0.04)),
    ev.DividendEvent: (3, 1, 2, 5, Decimal("1.57")),
    ev.PriceAdjustmentEvent: (3, 1, 2, 0.25, 4.0, 0.5),
    ev.ForecastEvent: (3, 1, 2, "har", 5, 0.2, 0.1, 0.3, 0.01, ""),
    ev.GammaExposureEvent: ("SPX", 1, 2, -1.5e9, "firestore", "", -2e8, 3e9, 4e8),
    ev.ImpliedVolEvent: (3, 1, 2, 0.18, (0.15, 0.21), "VIX"),
    ev.TradingHalt: (3, 1, 2, True, "H Trading Halt"),
    ev.SessionBarsEvent: (
        3,
        1,
        2,
        "2024-03-04",
        1,
        9,
        60,
        (5, 9),
        (1.0, 2.0),
        (1.5, 2.0),
        (1.0, 2.0),
        (1.2, 2.0),
        (7.0, 0.0),
    ),
    ev.OrderAccepted: ("a-1", 1, 2, "v-1"),
    ev.OrderRejected: ("a-1", 1, 2, "no"),
    ev.OrderFilled: ("a-1", 1, 2, "x1", Decimal(3), Decimal("1.05"), Decimal("0.10")),
    ev.OrderCancelled: ("a-1", 1, 2, "asked"),
    ev.OrderExpired: ("a-1", 1, 2),
    ev.CancelRejected: ("a-1", 1, 2, "gone"),
    ev.OrderStatusUnknown: ("a-1", 1, 2, "time-out"),
    ev.OrderNotFound: ("a-1", 1, 2),
    ev.FillBusted: ("a-1", 1, 2, "x1", "error"),
    ev.OrderSettled: ("a-1", 1, 2, Decimal(1), Decimal("1.05"), Decimal("0.10"), "seen at the broker", "ann"),
    ev.UnmatchedOrderEvent: (ev.OrderNotFound("a-1", 1, 2), 1, 2, "the desk never sent this order"),
    ev.PositionChanged: (3, 1, 2, "exercise", Decimal(-1), Decimal(0), Decimal(0), "r-1"),
    ev.AccountSnapshot: (1, 2, Decimal("1000.01"), (HeldPosition(3, Decimal(-2), Decimal("1.5")),)),
    ev.AccountLimits: (1, 2, True, False, 3, Decimal("1000.01"), Decimal("500.00"), (3,)),
    ev.AccountComparison: (1, 2, False, "the account does not answer"),
    ev.HoldingsShown: (1, 2, (HeldPosition(3, Decimal(-2), Decimal("1.5")),)),
    ev.ExerciseNotice: (3, 1, 2, Decimal(2)),
    ev.VenueWords: (1, 2, "orders", "your account is set to liquidation only", True, 3),
    ev.TimerEvent: (1, 2, "mark"),
    ev.OperatorEvent: (1, 2, "halt", "why", "who", "person"),
    ev.ModeKept: (
        *(1, 2),
        AccountMode(
            ModeEntry(Mode.REDUCING, "a difference", "ann", 7),
            Passing(ModeEntry(Mode.FLATTENING, "loss", "gate", 8), "2018-02-05"),
            3,
        ),
    ),
    ev.FailedEvent: (ev.TimerEvent(1, 2, "mark"), 1, 2, "TimerEvent failed: ValueError: no"),
    ev.FolderAnswered: (1, 2, 7, ("{}",), ("event e1: KeyError",), 40, True, "external"),
}


def test_there_is_a_sample_of_every_event():
    assert set(SAMPLES) == set(get_args(Event))


@pytest.mark.rows("kind", SAMPLES)
def test_every_event_survives_encoding_exactly(kind):
    event = kind(*SAMPLES[kind])
    encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Event)
    back = decoder.decode(encoder.encode(event))
    assert back == event
    assert type(back) is kind


def test_every_event_and_every_output_has_a_tag_of_its_own():
    for union in (Event, Output):
        tags = [kind.__struct_config__.tag for kind in get_args(union)]
        assert len(tags) == len(set(tags))


def test_an_event_cannot_be_changed():
    quote = QuoteEvent(*SAMPLES[ev.QuoteEvent])
    with pytest.raises(AttributeError):
        quote.bid = 2.0


def test_the_mid_of_a_quote_is_nan_when_a_side_is_missing():
    assert QuoteEvent(1, 0, 0, 1.0, 1.5, 1, 1).mid == 1.25
    mid = QuoteEvent(1, 0, 0, float("nan"), 1.5, 0, 1).mid
    assert math.isnan(mid)


def test_an_intent_is_signed_by_its_side():
    buy = OrderIntent(1, Side.BUY, Decimal(3), Purpose.OPEN, "")
    sell = OrderIntent(1, Side.SELL, Decimal(3), Purpose.OPEN, "")
    assert (buy.signed_quantity, sell.signed_quantity) == (Decimal(3), Decimal(-3))
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)
