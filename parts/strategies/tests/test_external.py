"""A strategy folder inside the engine: what it is shown, what becomes of its answers. No folder runs here."""

import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.base import ConfigError, OrderType, Purpose, Side, TimeInForce, session_on
from scalpdesk.core.events import FolderAnswered, FolderNeeds
from scalpdesk.core.intents import AskFolder
from scalpdesk.protocol import event_verdict, order_intent
from scalpdesk_strategies.external.strategy import External, ExternalConfig
from scalpdesk_testing.kit.desk import HandDesk, build_engine, decisions, orders
from scalpdesk_testing.kit.instruments import straddle_book

CALL, PUT = 1, 2
CONFIGURED = {"quantity_unit": "contracts", "shares_as_position": False}
"""How the folder is shown the book; unless set, it is asked first."""


class Bench(HandDesk):
    """A desk with the external strategy whose folder is the test."""

    def __init__(self, book=None, **config):
        super().__init__(External(ExternalConfig(folder="somewhere", **CONFIGURED | config)), book)
        self.open()
        self.go_to("10:00")
        self.seq = 0

    def asked(self, outputs):
        return [one for one in outputs if isinstance(one, AskFolder)]

    def picture(self, spot=500.0, **how):
        """Return the events of the request that a quote leads to."""
        (ask,) = self.asked(self.market(spot, **how))
        self.last = ask
        return [json.loads(text) for text in ask.events]

    def answer(self, *messages, request=None, **fields):
        """Answer the open request; a dict without a type becomes an intent."""
        texts = tuple(json.dumps(one) if not isinstance(one, str) else one for one in messages)
        number = self.last.request if request is None else request
        return self.handle(FolderAnswered(self.now_ns, self.now_ns, number, texts, **fields))

    def intent(self, symbol="SPY", side="buy", qty=1, **fields):
        self.seq += 1
        event = json.loads(self.last.events[0])
        return order_intent(
            event, kind="t", strategy="test", symbol=symbol, side=side, qty=qty, seq=self.seq, **fields
        )


def names(book):
    return [one.symbol for one in book]


# what it is shown ---------------------------------------------------------------------------------------


def test_the_underlying_alone_when_nothing_is_held():
    bench = Bench()
    (shown,) = bench.picture()
    assert event_verdict(shown) == "ok"
    assert shown["symbol"] == "SPY"
    assert shown["ts"] == "2024-03-04T15:00:00Z"
    assert shown["event_id"] == "20240304_1_1"
    assert shown["payload"] == {
        "price": 500.0,
        "underlying_price": 500.0,
        "bid": 499.99,
        "ask": 500.01,
        "position_shares": 0.0,
        "pending_shares": 0.0,
        "picture_index": 1,
        "picture_size": 1,
    }
    assert "delta" not in shown["payload"]  # else it would be read as an option


def test_held_options_come_with_greeks_and_before_the_underlying():
    bench = Bench()
    bench.adopt({0: (-30, "500"), CALL: (2, "10"), PUT: (-1, "10")})
    shown = bench.picture()
    assert [one["symbol"] for one in shown] == [*names(bench.book)[1:], "SPY"]
    call, put, share = (one["payload"] for one in shown)
    assert (call["quantity"], put["quantity"]) == (2.0, -1.0)
    assert 0.4 < call["delta"] < 0.6
    assert -0.6 < put["delta"] < -0.4
    assert call["gamma"] > 0 > call["theta"] > -1
    assert call["multiplier"] == 100
    assert call["quantity_unit"] == "contracts"
    assert call["bid"] < call["price"] < call["ask"]
    assert share["position_shares"] == -30.0
    assert all(event_verdict(one) == "ok" for one in shown)


def test_an_option_that_is_ordered_is_shown_with_what_may_come():
    bench = Bench()
    bench.picture()
    (order,) = orders(bench.answer(bench.intent(names(bench.book)[CALL], "buy", 2)))
    call = bench.wait(6).picture(501.0)[0]["payload"]
    assert (call["quantity"], call["pending_quantity"]) == (0.0, 2.0)
    bench.answer()
    (ask,) = bench.asked(bench.fill(order))
    call = json.loads(ask.events[0])["payload"]
    assert (call["quantity"], call["pending_quantity"]) == (2.0, 0.0)


def test_quantities_in_shares():
    bench = Bench(quantity_unit="shares")
    bench.adopt({CALL: (2, "10")})
    assert bench.picture()[0]["payload"]["quantity"] == 200.0


@pytest.mark.parametrize("unit", ["shares", "contracts"])
def test_the_shares_as_a_position_of_delta_one(unit):
    bench = Bench(quantity_unit=unit, shares_as_position=True)
    bench.adopt({0: (-30, "500")})
    payload = bench.picture()[-1]["payload"]
    assert (payload["delta"], payload["quantity"]) == (1.0, -30.0)


def test_the_nearest_of_the_chain_with_no_quantity():
    bench = Bench(straddle_book(480, 490, 500, 510, 520), chain_contracts=4)
    shown = bench.picture(504.0)
    assert [one["symbol"][-9:] for one in shown[:-1]] == ["C00500000", "P00500000", "C00510000", "P00510000"]
    assert {one["payload"]["quantity"] for one in shown[:-1]} == {0.0}


def test_what_is_sold_is_shown_once_with_no_quantity():
    bench = Bench()
    bench.adopt({CALL: (1, "10")})
    bench.picture()
    (sold,) = orders(bench.answer(bench.intent(names(bench.book)[CALL], "sell", 1)))
    outputs = bench.accept(sold) + bench.fill(sold)
    (ask,) = bench.asked(outputs)
    shown = [json.loads(text) for text in ask.events]
    assert [(one["symbol"][:3], one["payload"].get("quantity")) for one in shown] == [
        ("SPY", 0.0),
        ("SPY", None),
    ]
    bench.last = ask
    bench.answer()
    assert len(bench.wait(6).picture(500.2)) == 1


def test_an_option_whose_delta_is_not_known_is_not_shown_as_having_none():
    bench = Bench()
    bench.adopt({CALL: (2, "10")})
    (ask,) = bench.asked(bench.quote(0, 499.99, 500.01))  # the option was never quoted
    assert [json.loads(text)["symbol"] for text in ask.events] == ["SPY"]
    bench.last = ask
    bench.answer()
    assert [one["symbol"][:4] for one in bench.wait(6).picture(501.0)] == ["SPY2", "SPY"]


def test_a_one_sided_option_shows_the_side_it_has():
    bench = Bench()
    bench.adopt({CALL: (2, "10")})
    bench.picture()
    bench.answer()
    bench.wait(6).quote(CALL, float("nan"), 9.5)
    (ask,) = bench.asked(bench.quote(0, 500.99, 501.01))
    call = json.loads(ask.events[0])["payload"]
    assert "bid" not in call
    assert call["ask"] == 9.5
    assert "delta" in call


def test_nothing_is_asked_before_there_is_a_price():
    bench = Bench()
    assert bench.asked(bench.quote(0, 0.0, 500.0)) == []
    assert bench.asked(bench.quote(CALL, 9.0, 9.1)) == []


def test_one_request_at_a_time_and_the_newest_picture_next():
    bench = Bench()
    bench.picture(500.0)
    assert bench.asked(bench.wait(1).market(501.0)) == []
    assert bench.asked(bench.wait(1).market(502.0)) == []
    bench.answer()
    assert bench.wait(1).picture(503.0)[0]["payload"]["price"] == 503.0
    assert bench.last.request == 2


def test_a_request_without_an_answer_is_given_up():
    bench = Bench(max_age_seconds=10.0)
    bench.picture()
    outputs = bench.wait(11).market(501.0)
    assert [one.request for one in bench.asked(outputs)] == [2]
    (said,) = decisions(outputs)
    assert "request 1 had no answer for 11 s" in said.reasons[0]
    late = bench.answer(bench.intent(), request=1)
    assert orders(late) == []
    assert "stale_ts" in decisions(late)[0].reasons[0]


# how it is shown the book -------------------------------------------------------------------------------

OPEN = {"quantity_unit": "auto", "shares_as_position": None}


def test_it_is_asked_once_how_it_sees_its_hedge_and_shown_the_book_so():
    bench = Bench(**OPEN)
    bench.adopt({0: (-30, "500"), CALL: (2, "10")})
    sample = bench.picture()
    assert bench.last.asks_needs
    assert [one["symbol"] for one in sample] == ["SPY240419C00500000", "SPY"]
    assert sample[0]["payload"]["multiplier"] == 100
    outputs = bench.answer(needs=FolderNeeds(True, True, "as tried"))
    (bench.last,) = bench.asked(outputs)
    call, share = (json.loads(text)["payload"] for text in bench.last.events)
    assert (call["quantity"], call["quantity_unit"]) == (200.0, "shares")
    assert (share["delta"], share["quantity"]) == (1.0, -30.0)
    assert not bench.last.asks_needs
    assert bench.strategy.folder_summary()["needs"]["why"] == "as tried"


@pytest.mark.parametrize(
    ("config", "unit", "shown"),
    [
        ({}, "shares", True),
        ({"quantity_unit": "contracts"}, "contracts", True),
        ({"shares_as_position": False}, "shares", False),
    ],
)
def test_without_an_answer_its_hedge_is_shown_unless_a_setting_says_otherwise(config, unit, shown):
    bench = Bench(**OPEN | config)
    bench.adopt({0: (-30, "500"), CALL: (2, "10")})
    bench.picture()
    (ask,) = bench.asked(bench.answer(failures=("request: it cannot be started",)))
    *_, share = (json.loads(text)["payload"] for text in ask.events)
    call = json.loads(ask.events[0])["payload"]
    assert call["quantity_unit"] == unit
    assert ("quantity" in share) == shown


def sell_each_time(bench, quantities):
    """Send a sale of shares after each picture and fill it; return what came of each."""
    found = []
    for step, quantity in enumerate(quantities):
        if step:
            bench.wait(61).picture(500.0 + step / 10)
        outputs = bench.answer(bench.intent("SPY", "sell" if quantity < 0 else "buy", abs(quantity)))
        found.append(len(orders(outputs)))
        for order in orders(outputs):
            for ask in bench.asked(bench.fill(order)):
                bench.last = ask
                bench.answer()
    return found


@pytest.mark.parametrize("quantity", [-52, -1])
def test_a_folder_that_never_sees_its_hedge_is_stopped_after_a_few_orders(quantity):
    bench = Bench()
    bench.adopt({CALL: (1, "10")}, Decimal(10_000_000))
    bench.picture()
    assert sell_each_time(bench, [quantity] * 9) == [1] * 4 + [0] * 5
    assert bench.positions[0] == 4 * quantity
    alerts = [one for one in decisions(bench.outputs) if one.kind == "alert"]
    assert [one.facts["shares"] for one in alerts] == [4.0 * quantity]


def test_a_folder_that_sees_its_hedge_is_never_stopped():
    bench = Bench()
    bench.adopt({CALL: (1, "10")}, Decimal(10_000_000))
    bench.picture()
    assert sell_each_time(bench, [-52] + [-1] * 8 + [1, -1] * 4) == [1] * 17


def test_a_stopped_folder_may_still_close_and_unwind_and_begins_anew_in_the_next_session():
    bench = Bench()
    bench.adopt({CALL: (1, "10")}, Decimal(10_000_000))
    bench.picture()
    sell_each_time(bench, [-52] * 5)
    bench.wait(61).picture(502.0)
    outputs = bench.answer(bench.intent(names(bench.book)[CALL], "sell", 1), bench.intent("SPY", "buy", 208))
    assert [one.purpose for one in orders(outputs)] == [Purpose.CLOSE, Purpose.UNWIND_HEDGE]


# its answers --------------------------------------------------------------------------------------------


def test_an_intent_becomes_an_order_with_its_facts():
    bench = Bench()
    bench.picture()
    message = bench.intent(
        "SPY", "buy", 3, order_type="limit", limit_price="500.05", time_in_force="ioc", client_tag="tag",
        metadata={"reason": "because", "net_delta_before": Decimal("6.50"), "deep": {"a": [1]}, "n": 2,
                  "yes": True},
    )  # fmt: skip
    outputs = bench.answer(message)
    (order,) = orders(outputs)
    assert (order.instrument_id, order.side, order.quantity) == (0, Side.BUY, 3)
    assert (order.order_type, order.limit_price) == (OrderType.LIMIT, Decimal("500.05"))
    assert order.time_in_force is TimeInForce.IOC
    (decision,) = decisions(outputs)
    assert decision.taken
    assert decision.reasons == ("because",)
    assert decision.client_order_ids == (order.client_order_id,)
    assert decision.facts == {
        "intent_id": message["intent_id"],
        "event_id": "20240304_1_1",
        "client_tag": "tag",
        "metadata.reason": "because",
        "metadata.net_delta_before": "6.50",
        "metadata.deep": '{"a":[1]}',
        "metadata.n": 2,
        "metadata.yes": "true",
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"symbol": "SPX"}, "no instrument of this run; the nearest is SPY"),
        ({"symbol": "QQQQQ"}, "no instrument of this run"),
        ({"order_type": "stop"}, "stop orders are not sent"),
        ({"order_type": "stop_limit", "limit_price": 5}, "stop_limit orders are not sent"),
        ({"qty": "0.5"}, "not a whole number"),
        ({"symbol": "SPY240419C00500000", "side": "sell", "qty": 3}, "would turn 2"),
    ],
)
def test_what_the_desk_cannot_send_is_refused_with_its_reason(fields, said):
    bench = Bench()
    bench.adopt({CALL: (2, "10")})
    bench.picture()
    outputs = bench.answer(bench.intent(**fields))
    assert orders(outputs) == []
    (decision,) = decisions(outputs)
    assert not decision.taken
    assert said in decision.reasons[0]
    assert decision.facts["intent_id"].startswith("t_")


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"qty": True}, "type:qty"),
        ({"side": "short"}, "value:side"),
        ({"ts": None}, "type:ts"),
        ({"qty": 1e999}, None),
    ],
)
def test_an_invalid_intent_is_refused_with_its_verdict(change, verdict):
    bench = Bench()
    bench.picture()
    message = bench.intent() | change
    text = json.dumps(message).replace("Infinity", "null")
    outputs = bench.answer(text)
    assert orders(outputs) == []
    assert decisions(outputs)[0].reasons == (f"intent of the folder refused: {verdict or 'type:qty'}",)


def test_shares_beside_an_option_without_a_delta_open_and_do_not_hedge():
    bench = Bench()
    bench.adopt({CALL: (1, "10")}, Decimal(10_000_000))
    (bench.last,) = bench.asked(bench.quote(0, 499.99, 500.01))
    outputs = bench.answer(bench.intent("SPY", "sell", 50))
    assert decisions(outputs)[0].kind == "entry"


def test_an_intent_is_carried_out_once():
    bench = Bench()
    bench.picture()
    message = bench.intent()
    assert len(orders(bench.answer(message, message))) == 1
    bench.wait(6).picture(501.0)
    again = bench.answer(message)
    assert orders(again) == []
    assert "duplicate:intent_id" in decisions(again)[0].reasons[0]


def test_an_answer_of_a_thousand_messages_is_cut_short():
    bench = Bench()
    bench.picture()
    wrong = bench.answer(*[bench.intent() | {"qty": 0} for _ in range(500)])
    assert [one.reasons[0] for one in decisions(wrong)][20:] == [
        "480 more intents of this answer are refused"
    ]
    bench.wait(6).picture(501.0)
    many = bench.answer(*[bench.intent("QQQ") for _ in range(500)])
    assert decisions(many)[-1].reasons[0].startswith("400 intents beyond the 100")
    assert len(decisions(many)) == 101
    assert bench.strategy.folder_summary()["refused"] == 1_000


def test_a_padded_option_symbol_is_found():
    bench = Bench()
    bench.picture()
    (order,) = orders(bench.answer(bench.intent("SPY   240419P00500000")))
    assert order.instrument_id == PUT


def test_quantities_of_a_folder_that_counts_shares():
    bench = Bench(quantity_unit="shares")
    bench.adopt({CALL: (2, "10")})
    bench.picture()
    (order,) = orders(bench.answer(bench.intent(names(bench.book)[CALL], "sell", 200)))
    assert order.quantity == 2
    bench.cancelled(order.client_order_id)
    bench.wait(6).picture(501.0)
    refused = bench.answer(bench.intent(names(bench.book)[CALL], "sell", 150))
    assert "1.5 contracts" in decisions(refused)[0].reasons[0]


@pytest.mark.parametrize(
    ("held", "asked", "purpose", "kind"),
    [
        ({}, ("SPY", "buy", 1), Purpose.OPEN, "entry"),
        ({}, ("SPY240419C00500000", "buy", 1), Purpose.OPEN, "entry"),
        ({CALL: 2}, ("SPY240419C00500000", "sell", 1), Purpose.CLOSE, "exit"),
        ({CALL: -2}, ("SPY240419C00500000", "buy", 2), Purpose.CLOSE, "exit"),
        ({CALL: 2}, ("SPY240419C00500000", "buy", 1), Purpose.OPEN, "entry"),
        ({CALL: 2}, ("SPY", "sell", 100), Purpose.HEDGE, "hedge"),
        ({CALL: 2}, ("SPY", "buy", 1), Purpose.OPEN, "entry"),
        ({CALL: 2, 0: -100}, ("SPY", "buy", 1), Purpose.OPEN, "entry"),
        ({0: -50}, ("SPY", "buy", 50), Purpose.UNWIND_HEDGE, "exit"),
        ({0: 50}, ("SPY", "buy", 1), Purpose.OPEN, "entry"),
    ],
)
def test_what_an_order_is_for_is_seen_from_the_book(held, asked, purpose, kind):
    bench = Bench()
    bench.adopt({number: (quantity, "10") for number, quantity in held.items()}, Decimal(10_000_000))
    bench.picture()
    outputs = bench.answer(bench.intent(*asked, client_tag="says_it_is_an_exit"))
    assert orders(outputs)[0].purpose is purpose
    assert decisions(outputs)[0].kind == kind


def test_an_exit_of_options_and_hedge_in_one_answer():
    bench = Bench()
    bench.adopt({CALL: (1, "10"), 0: (-50, "500")})
    bench.picture()
    outputs = bench.answer(bench.intent(names(bench.book)[CALL], "sell", 1), bench.intent("SPY", "buy", 50))
    assert [one.purpose for one in orders(outputs)] == [Purpose.CLOSE, Purpose.UNWIND_HEDGE]


def test_a_hedge_through_zero_goes_in_two_orders():
    bench = Bench()
    bench.adopt({CALL: (2, "10"), 0: (30, "500")})
    bench.picture()
    outputs = bench.answer(bench.intent("SPY", "sell", 130))
    (first,) = orders(outputs)
    assert first.quantity == 30
    assert decisions(outputs)[0].facts["second_order_shares"] == -100.0
    outputs = bench.accept(first)
    assert orders(outputs) == []
    (second,) = orders(bench.fill(first))
    assert (second.side, second.quantity, second.purpose) == (Side.SELL, 100, Purpose.HEDGE)
    bench.fill(second)
    assert bench.positions == {0: -100, CALL: 2}


def test_the_second_order_is_not_sent_when_the_first_is_refused():
    bench = Bench()
    bench.adopt({CALL: (2, "10"), 0: (30, "500")})
    bench.picture()
    (first,) = orders(bench.answer(bench.intent("SPY", "sell", 130)))
    outputs = bench.reject(first)
    assert orders(outputs) == []
    assert "second order is not sent: the first one is rejected" in decisions(outputs)[0].reasons[0]


def test_a_second_order_that_waits_is_on_its_way_and_takes_up_what_is_wanted_meanwhile():
    bench = Bench(shares_as_position=True)
    bench.adopt({CALL: (2, "10"), 0: (5, "500")})
    bench.picture()
    (first,) = orders(bench.answer(bench.intent("SPY", "sell", 8)))
    share = bench.wait(6).picture(501.0)[-1]["payload"]
    assert (share["position_shares"], share["pending_shares"], share["quantity"]) == (5.0, -8.0, -3.0)
    outputs = bench.answer(bench.intent("SPY", "sell", 4))
    assert orders(outputs) == []
    assert decisions(outputs)[0].facts["second_order_shares"] == -7.0
    (second,) = orders(bench.wait(1).fill(first))
    assert (second.side, second.quantity) == (Side.SELL, 7)


def test_the_second_order_keeps_the_limit_of_the_first():
    bench = Bench()
    bench.adopt({CALL: (2, "10"), 0: (30, "500")})
    bench.picture()
    limit = {"order_type": "limit", "limit_price": 499.5, "time_in_force": "ioc"}
    (first,) = orders(bench.answer(bench.intent("SPY", "sell", 130, **limit)))
    (second,) = orders(bench.fill(first))
    assert (second.order_type, second.limit_price) == (OrderType.LIMIT, Decimal("499.5"))
    assert second.time_in_force is TimeInForce.IOC


def test_what_waits_for_an_order_that_the_gate_refused_is_never_sent():
    bench = Bench()
    bench.adopt({0: (30, "500")}, Decimal(1_000_000))
    bench.picture()
    assert orders(bench.answer(bench.intent("SPY", "sell", 130, order_type="limit", limit_price=1.0))) == []
    outputs = bench.wait(6).market(501.0)
    assert decisions(outputs)[0].reasons == ("the second order is not sent: the first one was refused",)
    (bench.last,) = bench.asked(outputs)
    (sold,) = orders(bench.answer(bench.intent("SPY", "sell", 1)))
    assert orders(bench.fill(sold)) == []
    assert bench.positions == {0: 29}


def test_a_folder_that_is_given_up_is_an_alert_and_a_failed_event_is_not():
    bench = Bench()
    bench.picture()
    assert [one.kind for one in decisions(bench.answer(failures=("event x: KeyError: 'a'",)))] == ["risk"]
    bench.wait(6).picture(501.0)
    outputs = bench.answer(failures=("in other words",), is_given_up=True)
    assert [one.kind for one in decisions(outputs)] == ["alert"]


def test_failures_are_counted_and_said_once_a_session():
    bench = Bench()
    for spot in (500.0, 501.0, 502.0):
        bench.wait(6).picture(spot)
        outputs = bench.answer(failures=("event x: KeyError: 'a'",), took_us=40)
        assert bool(decisions(outputs)) == (spot == 500.0)
    summary = bench.strategy.folder_summary()
    assert (summary["failures"], summary["answers"], summary["requests"]) == (3, 3, 3)
    assert (summary["mean_answer_us"], summary["longest_answer_us"]) == (40, 40)


def test_the_status_says_what_it_has_done():
    bench = Bench()
    bench.picture()
    bench.answer(bench.intent(), failures=("event x: KeyError",))
    bench.wait(6).picture(501.0)
    assert bench.strategy.phase == (
        "1 answers, 1 intents, 0 refused, 1 failures, 0 restarts; request 2 is under way"
    )


def test_its_log_messages_are_no_intents():
    bench = Bench()
    bench.picture()
    log = {"type": "log", "ts": "2024-03-04T15:00:00Z", "level": "info", "message": "hello"}
    assert bench.answer(log) == ()


# the desk has the last word -----------------------------------------------------------------------------


def test_the_gate_judges_its_orders_like_all_others():
    bench = Bench()
    bench.picture()
    outputs = bench.answer(bench.intent("SPY", "buy", 1_000_000))
    assert orders(outputs) == []
    assert "above the limit" in " ".join(decisions(outputs)[0].reasons)
    (bench.last,) = bench.asked(bench.operate("halt"))
    outputs = bench.answer(bench.intent("SPY", "buy", 1))
    assert "the desk is halted" in " ".join(decisions(outputs)[0].reasons)


def test_a_flattening_desk_closes_options_then_shares_whatever_the_folder_wants():
    bench = Bench()
    bench.adopt({CALL: (2, "10"), 0: (-100, "500")})
    bench.picture()
    (close,) = orders(bench.operate("flatten"))
    assert (close.instrument_id, close.side, close.purpose) == (CALL, Side.SELL, Purpose.CLOSE)
    refused = bench.answer(bench.intent("SPY", "sell", 5))
    assert orders(refused) == []
    assert "the desk is flattening" in decisions(refused)[0].reasons[0]
    (unwind,) = orders(bench.fill(close))
    assert (unwind.instrument_id, unwind.quantity, unwind.purpose) == (0, 100, Purpose.UNWIND_HEDGE)
    bench.fill(unwind)
    assert bench.positions == {}


def test_what_the_venue_refuses_of_a_flattening_desk_goes_again_after_pauses_that_double():
    """Past the venue's cut-off each sale is refused: 287 market orders went out in half an hour."""
    bench = Bench()
    bench.adopt({CALL: (2, "10")})
    bench.market(500.0)
    (close,) = orders(bench.operate("flatten"))
    bench.reject(close)
    sent = []
    for second in range(1, 61):
        bench.wait(1)
        found = orders(bench.market(500.0 + second / 10))
        sent += [(second, order.order_type) for order in found]
        for order in found:
            bench.reject(order)
    assert sent == [(second, OrderType.LIMIT) for second in (1, 3, 7, 15, 30, 45, 60)]
    bench.operate("resume")
    (again,) = orders(bench.operate("flatten"))
    assert (again.instrument_id, again.order_type) == (CALL, OrderType.MARKET)


def test_an_order_that_is_not_filled_in_time_is_cancelled():
    bench = Bench(order_ttl_seconds=10.0)
    bench.picture()
    (order,) = orders(bench.answer(bench.intent("SPY", "buy", 1, order_type="limit", limit_price=499)))
    bench.accept(order)
    outputs = bench.wait(11).market(501.0)
    assert order.client_order_id in [getattr(one, "client_order_id", "") for one in outputs]


def test_requests_do_not_cross_the_night():
    bench = Bench()
    bench.picture()
    bench.close()
    bench.open(session_on(date(2024, 3, 5)))
    assert bench.strategy._open is None


def test_a_run_needs_a_folder_and_its_underlying():
    with pytest.raises(ConfigError, match="no strategy folder"):
        HandDesk(External()).open()
    with pytest.raises(ConfigError, match="another underlying"):
        HandDesk(External(ExternalConfig(folder="x", underlying="QQQ"))).open()


# laws ---------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["SPY", "SPY240419C00500000", "SPY240419P00500000"]),
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 150),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_orders_never_take_a_holding_through_zero_and_a_replay_decides_the_same(steps):
    bench = Bench()
    events = []
    handle = bench.engine.handle
    start = len(bench.outputs)

    def record(event):
        events.append(event)
        return handle(event)

    bench.engine.handle = record
    for index, (symbol, side, quantity, fills) in enumerate(steps):
        bench.wait(6).market(500.0 + 0.1 * index)
        asks = bench.asked(bench.outputs)
        bench.last = asks[-1]
        outputs = list(bench.answer(bench.intent(symbol, side, quantity)))
        for order in orders(outputs):
            held = bench.positions.get(int(order.instrument_id), 0)
            signed = int(order.quantity) * order.side.sign
            assert held * signed >= 0 or abs(signed) <= abs(held)
            more = bench.fill(order) if fills else bench.reject(order)
            for second in orders(more):
                assert second.instrument_id == order.instrument_id
                bench.fill(second)
    again = build_engine(External(ExternalConfig(folder="gone", **CONFIGURED)), straddle_book())
    fresh = HandDesk(External(ExternalConfig(folder="gone", **CONFIGURED)))
    fresh.engine = again
    fresh.open()
    replayed = [output for event in events for output in again.handle(event)]
    assert replayed == bench.outputs[start:]
