"""The exchange speaks Deribit: methods, access, channels and errors, asked without a socket."""

import asyncio
import base64
import hashlib
import hmac
import json
import math
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from statistics import NormalDist

import aiohttp
import numpy as np
import pytest

from scalpdesk.cli.main import main
from scalpdesk.datasets.embedded.coin import (
    FIRST_HISTORY,
    _levels,
    index_path,
    reconstruct_coin,
    smile_vol,
)
from scalpdesk.exchange.keyring import Keyring
from scalpdesk.exchange.launch import LaunchPlan, build_server, build_world, tape_source
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.ticks import TickRule, TickStep
from scalpdesk_deribit import wire
from scalpdesk_deribit.served.app import TOKEN_SECONDS, DeribitApi
from scalpdesk_deribit.served.rpc import RpcFault, RpcSession
from scalpdesk_testing.kit.clock import ManualClock

D = Decimal
DAY = date(2025, 3, 5)
SWAP = "BTC-PERPETUAL"


class Desk:
    """A client of the exchange: requests in, results and notifications out; time by hand."""

    def __init__(self, tape):
        plan = LaunchPlan(tape_source(tape), MarketOptions(), protocol="deribit", cash=2.0, currency="BTC")
        self.world, (self.key,) = build_world(plan)
        self.clock = ManualClock(10**18)
        self.api = DeribitApi(self.world, Keyring([self.key]), self.clock)
        self.world.advance_to(self.world.now_ns + 300 * 10**9)
        self.frames, self.is_closed = [], False
        self.session = RpcSession(send=lambda text: self.frames.append(json.loads(text)), close=self.close)
        self.api.open(self.session)

    def close(self):
        self.is_closed = True

    def __call__(self, method, **params):
        return self.api.call(self.session, method, params)

    def login(self):
        return self(
            "public/auth",
            grant_type="client_credentials",
            client_id=self.key.key,
            client_secret=self.key.secret,
        )

    def subscribe(self, *channels):
        """Subscribe by a frame: what a channel begins with follows its answer."""
        request = {"id": 1, "method": "public/subscribe", "params": {"channels": channels}}
        self.api.receive(self.session, json.dumps(request))
        answer = next(place for place, frame in enumerate(self.frames) if frame.get("id") == 1)
        assert self.frames.pop(answer)["result"] == list(channels)
        assert answer == 0

    def refused(self, method, **params):
        with pytest.raises(RpcFault) as fault:
            self(method, **params)
        return fault.value.code, fault.value.message

    def advance(self, seconds):
        self.world.advance_to(self.world.now_ns + int(seconds * 1e9))

    def notes(self, channel):
        found = [
            frame["params"]["data"]
            for frame in self.frames
            if frame.get("params", {}).get("channel") == channel
        ]
        self.frames = [frame for frame in self.frames if frame.get("params", {}).get("channel") != channel]
        return found

    @property
    def bid(self):
        return self("public/ticker", instrument_name=SWAP)["best_bid_price"]

    def near_call(self):
        spot = self.bid
        calls = [
            item
            for item in self.world.ledger.instruments
            if isinstance(item, OptionContract) and item.is_call and item.expiry == date(2025, 3, 14)
        ]
        return min(calls, key=lambda item: abs(float(item.strike) - spot)).symbol


@pytest.fixture(scope="module")
def tape():
    return reconstruct_coin(DAY, DAY)


@pytest.fixture
def desk(tape):
    made = Desk(tape)
    made.login()
    return made


# access -------------------------------------------------------------------------------------------------


def test_without_a_token_private_methods_are_refused(tape):
    desk = Desk(tape)
    assert desk.refused("private/get_positions", currency="BTC") == (13009, "unauthorized")
    assert desk.refused("public/auth", grant_type="client_credentials", client_id="x", client_secret="y") == (
        13004,
        "invalid_credentials",
    )


def test_a_token_ends_and_its_refresh_token_works_once(desk):
    first = desk.login()
    desk.clock.move_to(desk.clock.now_ns() + TOKEN_SECONDS * 10**9)
    assert desk.refused("private/get_positions") == (13009, "unauthorized")
    desk("public/auth", grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert desk("private/get_positions") == []
    again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    assert desk.refused("public/auth", **again) == (13004, "invalid_credentials")


def test_requests_may_be_signed_or_carry_a_token_or_the_keys(desk):
    granted = desk.login()

    def answered(take):
        session = RpcSession(send=lambda _: None, close=lambda: None)
        take(session)
        is_good, text = desk.api.answer_rest(session, "private/get_account_summary", {"currency": "BTC"}, "")
        return is_good and json.loads(text)["result"]["equity"] == 2.0

    uri = "/api/v2/private/get_account_summary?currency=BTC"
    signature = hmac.new(
        desk.key.secret.encode(), f"5\nn\nGET\n{uri}\n\n".encode(), hashlib.sha256
    ).hexdigest()
    head = f"id={desk.key.key},ts=5,sig={signature},nonce=n"
    basic = base64.b64encode(f"{desk.key.key}:{desk.key.secret}".encode()).decode()
    assert answered(lambda session: desk.api.take_signature(session, head, "GET", uri, ""))
    assert answered(lambda session: desk.api.take_token(session, granted["access_token"]))
    assert answered(lambda session: desk.api.take_basic(session, basic))
    assert not answered(lambda session: desk.api.take_signature(session, head, "GET", uri + "x", ""))
    assert not answered(lambda session: desk.api.take_basic(session, "%%%"))


def test_a_socket_may_sign_in(tape):
    desk = Desk(tape)
    signature = hmac.new(desk.key.secret.encode(), b"7\n7\n", hashlib.sha256).hexdigest()
    granted = desk(
        "public/auth",
        grant_type="client_signature",
        client_id=desk.key.key,
        timestamp=7,
        nonce="7",
        data="",
        signature=signature,
    )
    assert granted["expires_in"] == TOKEN_SECONDS
    assert desk("private/get_positions") == []


# the market ---------------------------------------------------------------------------------------------


def test_instruments_have_the_terms_that_clients_read(desk):
    listed = desk("public/get_instruments", currency="BTC", kind="any")
    swap = next(item for item in listed if item["kind"] == "future")
    assert (swap["contract_size"], swap["tick_size"], swap["future_type"]) == (10, 0.5, "reversed")
    option = desk("public/get_instrument", instrument_name=desk.near_call())
    assert option["tick_size_steps"] == [{"above_price": 0.005, "tick_size": 0.0005}]
    assert (option["option_type"], option["min_trade_amount"], option["settlement_currency"]) == (
        "call",
        0.1,
        "BTC",
    )
    assert option["expiration_timestamp"] == 1_741_939_200_000
    assert desk("public/get_currencies")[0]["currency"] == "BTC"
    assert len(desk("public/get_instruments")) == len(listed)


def test_an_option_of_several_ticks_takes_the_prices_of_each(tape):
    steps = (TickStep(D("0.005"), D("0.0005")), TickStep(D("0.0175"), D("0.001")))
    rule = TickRule(D("0.0001"), steps)
    items = [replace(item, tick_rule=rule) if item.is_option else item for item in tape.instruments]
    desk = Desk(replace(tape, instruments=Instruments(items)))
    desk.login()
    name = desk.near_call()
    served = desk("public/get_instrument", instrument_name=name)
    assert served["tick_size_steps"] == [
        {"above_price": 0.005, "tick_size": 0.0005},
        {"above_price": 0.0175, "tick_size": 0.001},
    ]
    assert wire.read_instrument(served).tick_rule == rule
    order = {"instrument_name": name, "amount": 0.1}
    for price in ("0.0049", "0.005", "0.0055", "0.0175", "0.018"):
        desk("private/buy", price=price, **order)
    for price in ("0.00495", "0.0051", "0.0176", "0.0185"):
        assert desk.refused("private/buy", price=price, **order) == (10043, "price_wrong_tick")


def test_a_ticker_has_greeks_of_black_1976_in_the_venues_units(desk):
    name = desk.near_call()
    ticker = desk("public/ticker", instrument_name=name)
    greeks = ticker["greeks"]
    assert 0.3 < greeks["delta"] < 0.7
    assert greeks["vega"] > 0 > greeks["theta"]
    assert ticker["bid_iv"] < ticker["mark_iv"] < ticker["ask_iv"]
    assert ticker["underlying_price"] == desk("public/get_index_price", index_name="btc_usd")["index_price"]
    book = desk("public/get_order_book", instrument_name=name, depth=1)
    assert book["bids"] == [[ticker["best_bid_price"], ticker["best_bid_amount"]]]


def test_quotes_are_published_on_the_channels_that_exist(desk):
    channels = [
        f"ticker.{SWAP}.100ms",
        f"book.{SWAP}.raw",
        "ticker.BTC-1JAN20-1-C.raw",
        "user.orders.any.any.raw",
    ]
    assert desk("public/subscribe", channels=channels) == channels[:2]
    desk.advance(60)
    assert len(desk.notes(channels[0])) == 2
    assert desk("public/unsubscribe", channels=channels[:1]) == channels[:1]
    desk.advance(60)
    assert desk.notes(channels[0]) == []


def shown_book(desk):
    found = desk("public/get_order_book", instrument_name=SWAP)
    return {side: dict(found[side]) for side in ("bids", "asks")}, found["change_id"]


def test_a_book_comes_whole_at_its_subscription_and_then_by_its_changes(desk):
    channel = f"book.{SWAP}.100ms"
    desk.subscribe(channel)
    (first,) = desk.notes(channel)
    sides = {side: {price: size for _, price, size in first[side]} for side in ("bids", "asks")}
    assert first["type"] == "snapshot"
    assert {step for side in sides for step, *_ in first[side]} == {"new"}
    assert (sides, first["change_id"]) == shown_book(desk)
    last, steps = first["change_id"], set()
    for _ in range(20):
        desk.advance(30)
        for change in desk.notes(channel):
            assert (change["type"], change["prev_change_id"]) == ("change", last)
            last = change["change_id"]
            for side, levels in sides.items():
                for step, price, size in change[side]:
                    assert (price in levels) == (step != "new")
                    levels.pop(price, None) if step == "delete" else levels.update({price: size})
                    steps.add(step)
        assert (sides, last) == shown_book(desk)
    assert last > first["change_id"]
    assert steps >= {"new", "delete"}
    desk.subscribe(channel)
    assert [note["type"] for note in desk.notes(channel)] == ["snapshot"]


def test_a_book_of_a_depth_is_whole_each_time(desk):
    channel = f"book.{SWAP}.none.20.100ms"
    desk.subscribe(channel)
    desk.advance(60)
    books = desk.notes(channel)
    assert len(books) == 3
    assert {"bids": dict(books[-1]["bids"]), "asks": dict(books[-1]["asks"])} == shown_book(desk)[0]
    assert not {"type", "prev_change_id"} & set(books[-1])


@pytest.mark.rows("kind", ["ticker", "book", "trades", "quote"])
def test_raw_channels_need_an_account(desk, kind):
    desk.session.account = None
    names = [f"ticker.{SWAP}.100ms", f"{kind}.{SWAP}.raw"]
    unauthorized = (13778, "raw_subscriptions_not_available_for_unauthorized")
    assert desk.refused("public/subscribe", channels=names) == unauthorized
    desk.login()
    assert desk("public/subscribe", channels=names) == names


@pytest.mark.rows("method", ["private/buy", "private/sell"])
def test_a_label_has_64_characters_at_most(desk, method):
    order = {"instrument_name": SWAP, "amount": 10, "type": "market"}
    assert desk.refused(method, **order, label="x" * 65) == (-32602, "Invalid params")
    assert desk(method, **order, label="x" * 64)["order"]["label"] == "x" * 64


# orders -------------------------------------------------------------------------------------------------


def test_an_order_is_answered_with_its_state_and_its_executions(desk):
    found = desk("private/buy", instrument_name=SWAP, amount=1_000, type="market", label="a")
    order, (trade,) = found["order"], found["trades"]
    assert (order["order_state"], order["filled_amount"], order["price"]) == ("filled", 1_000, "market_price")
    assert (trade["order_id"], trade["label"], trade["amount"]) == (order["order_id"], "a", 1_000)
    assert trade["fee"] == round(0.0005 * 1_000 / trade["price"], 8)
    (position,) = desk("private/get_positions", currency="BTC")
    assert (position["size"], position["average_price"]) == (1_000, trade["price"])
    assert position["size_currency"] == pytest.approx(1_000 / position["mark_price"])


def test_the_channels_of_the_account_show_what_happens_once(desk):
    desk(
        "private/subscribe",
        channels=["user.changes.any.BTC.raw", "user.trades.any.any.raw", "user.portfolio.BTC"],
    )
    found = desk("private/sell", instrument_name=SWAP, amount=500, type="market")
    changes = desk.notes("user.changes.any.BTC.raw")
    trades = [trade for change in changes for trade in change["trades"]]
    assert trades == found["trades"]
    assert desk.notes("user.trades.any.any.raw") == [found["trades"]]
    assert desk.notes("user.portfolio.BTC")[-1]["currency"] == "BTC"
    assert changes[-1]["positions"][0]["size"] == -500


def straddle_of(desk, direction="buy", amount=1):
    call = desk.near_call()
    names = (call, call[:-1] + "P")
    return [{"instrument_name": name, "amount": amount, "direction": direction} for name in names]


def test_the_same_legs_are_the_same_combo(desk):
    trades = straddle_of(desk)
    call, put = (trade["instrument_name"] for trade in trades)
    made = desk("private/create_combo", trades=trades)
    assert made["id"] == call.replace("BTC-", "BTC-STRD-").removesuffix("-C")
    assert made["legs"] == [{"instrument_name": name, "amount": 1} for name in (call, put)]
    for again in (trades[::-1], straddle_of(desk, "sell"), straddle_of(desk, amount="0.3")):
        assert desk("private/create_combo", trades=again) == made
    trades[0]["amount"], trades[1]["direction"] = 2, "sell"
    spread = desk("private/create_combo", trades=trades)
    assert [leg["amount"] for leg in spread["legs"]] == [2, -1]
    assert desk("public/get_combo_ids", currency="BTC") == [made["id"], spread["id"]]
    assert desk("public/get_combos", currency="ETH") == []
    assert desk("public/get_combo_details", combo_id=spread["id"]) == spread


@pytest.mark.rows("direction", ["buy", "sell"])
def test_a_combo_trades_its_legs_at_once_and_names_them(desk, direction):
    combo = desk("private/create_combo", trades=straddle_of(desk))
    names = [leg["instrument_name"] for leg in combo["legs"]]
    all_changes, with_legs = "user.changes.any.BTC.raw", "user.combo_trades.option_combo.BTC.raw"
    of_leg, of_futures = f"user.trades.{names[1]}.raw", "user.trades.future.BTC.raw"
    desk("private/subscribe", channels=[all_changes, with_legs, of_leg, of_futures])
    far = "best_ask_price" if direction == "buy" else "best_bid_price"
    net = round(sum(desk("public/ticker", instrument_name=name)[far] for name in names), 4)
    found = desk(f"private/{direction}", instrument_name=combo["id"], amount="0.5", price=net, label="whole")
    order, (trade,) = found["order"], found["trades"]
    assert (order["order_state"], order["filled_amount"], order["direction"]) == ("filled", 0.5, direction)
    assert (order["instrument_name"], order["price"], order["average_price"]) == (combo["id"], net, net)
    assert (trade["price"], trade["amount"], trade["combo_id"]) == (net, 0.5, combo["id"])
    assert (trade["order_id"], trade["label"]) == (order["order_id"], "whole")
    assert "legs" not in trade  # of trades of all kinds the legs stand for themselves
    ((whole,),) = desk.notes(with_legs)
    legs = whole.pop("legs")
    assert whole == trade
    assert [leg["instrument_name"] for leg in legs] == names
    assert sum(leg["price"] for leg in legs) == pytest.approx(net, abs=1e-12)
    assert len({order["order_id"], *(leg["order_id"] for leg in legs)}) == 3
    for leg in legs:
        assert (leg["amount"], leg["direction"], "label" in leg) == (0.5, direction, False)
        assert (leg["combo_id"], leg["combo_trade_id"]) == (combo["id"], trade["trade_id"])
        assert desk("private/get_user_trades_by_order", order_id=leg["order_id"]) == [leg]
    assert order["commission"] == trade["fee"] == pytest.approx(sum(leg["fee"] for leg in legs), abs=1e-12)
    assert desk("private/get_user_trades_by_order", order_id=order["order_id"]) == [trade]
    by_time, by_instrument = (
        "private/get_user_trades_by_currency_and_time",
        "private/get_user_trades_by_instrument",
    )
    asked = {"currency": "BTC", "sorting": "asc"}
    assert desk(by_time, **asked)["trades"] == [trade, *legs]
    assert desk(by_time, kind="option", **asked)["trades"] == legs
    assert desk(by_time, kind="combo", **asked)["trades"] == [whole | {"legs": legs}]
    assert desk(by_instrument, instrument_name=combo["id"])["trades"] == [whole | {"legs": legs}]
    assert desk(by_instrument, instrument_name=names[0])["trades"] == legs[:1]
    assert desk("private/get_order_state_by_label", currency="BTC", label="whole") == [order]
    first, *others = [change for change in desk.notes(all_changes) if change["trades"]]
    assert (first["instrument_name"], first["orders"], first["trades"]) == (combo["id"], [order], [trade])
    sign = 1 if direction == "buy" else -1
    for change, name, leg in zip(others, names, legs, strict=True):
        assert (change["instrument_name"], change["orders"], change["trades"]) == (name, [], [leg])
        assert [(row["instrument_name"], row["size"]) for row in change["positions"]] == [(name, sign * 0.5)]
    assert desk.notes(of_leg) == [legs[1:]]
    assert desk.notes(of_futures) == []


def test_a_combo_rests_at_its_net_price_until_it_is_cancelled(desk):
    combo = desk("private/create_combo", trades=straddle_of(desk))
    order = desk("private/buy", instrument_name=combo["id"], amount=1, price=0.0001)["order"]
    assert (order["order_state"], order["price"], order["amount"]) == ("open", 0.0001, 1)
    assert desk("private/get_open_orders_by_currency", currency="BTC") == [order]
    assert desk("private/get_open_orders_by_instrument", instrument_name=combo["id"]) == [order]
    assert desk.refused("private/edit", order_id=order["order_id"], amount=2)[0] == 11030
    ended = desk("private/cancel", order_id=order["order_id"])
    assert (ended["order_state"], ended["filled_amount"]) == ("cancelled", 0)
    assert desk("private/get_open_orders_by_currency", currency="BTC") == []
    assert desk("private/get_positions", currency="BTC") == []


def test_a_calendar_is_a_combo_of_its_own(desk):
    call, _ = straddle_of(desk)
    later = {**call, "instrument_name": call["instrument_name"].replace("14MAR25", "28MAR25")}
    combo = desk("private/create_combo", trades=[{**call, "direction": "sell"}, later])
    amounts = {leg["instrument_name"]: leg["amount"] for leg in combo["legs"]}
    assert set(amounts) == {call["instrument_name"], later["instrument_name"]}
    assert amounts[call["instrument_name"]] == -amounts[later["instrument_name"]]


def test_what_is_no_combo_is_refused(desk):
    call, put = straddle_of(desk)
    refused = [
        [call],
        [call, call],
        [call, {**put, "direction": "hold"}],
        [call, {**put, "instrument_name": SWAP}],
        [call, put, {**call, "direction": "sell"}],
        "both",
    ]
    for trades in refused:
        assert desk.refused("private/create_combo", trades=trades) == (-32602, "Invalid params")
    assert desk.refused("private/create_combo", trades=[{**call, "amount": 2}, {**put, "amount": 3}]) == (
        10021,
        "invalid_amount",
    )
    name = desk("private/create_combo", trades=[call, put])["id"]
    assert desk.refused("private/buy", instrument_name=name, amount=1, price=0.00012)[0] == 10043
    assert desk.refused("private/sell", instrument_name=name, amount=2_000, type="market")[0] == 10009
    assert desk("private/get_positions", currency="BTC") == []


def test_an_edit_keeps_the_id_and_the_label(desk):
    limit = round(desk.bid * 0.98)
    first = desk("private/buy", instrument_name=SWAP, amount=100, type="limit", price=limit, label="a")[
        "order"
    ]
    assert first["order_state"] == "open"
    edited = desk("private/edit", order_id=first["order_id"], amount=200, price=limit - 10)["order"]
    assert (edited["order_id"], edited["label"], edited["amount"]) == (first["order_id"], "a", 200)
    assert edited["replaced"]
    (shown,) = desk("private/get_open_orders_by_currency", currency="BTC")
    assert (shown["order_id"], shown["price"]) == (first["order_id"], limit - 10)
    assert desk("private/cancel", order_id=first["order_id"])["order_state"] == "cancelled"
    assert desk.refused("private/cancel", order_id=first["order_id"]) == (11044, "not_open_order")


def test_labels_may_stand_twice_and_are_cancelled_together(desk):
    resting = {
        "instrument_name": SWAP,
        "amount": 100,
        "type": "limit",
        "price": round(desk.bid * 0.98),
        "label": "a",
    }
    for _ in range(2):
        desk("private/buy", **resting)
    assert len(desk("private/get_order_state_by_label", currency="BTC", label="a")) == 2
    assert desk("private/get_order_state_by_label", currency="BTC", label="b") == []
    assert desk("private/cancel_by_label", label="a") == 2
    assert desk("private/get_open_orders", kind="any") == []


@pytest.mark.rows(
    ("changes", "error"),
    [
        ({"instrument_name": "BTC-1JAN20-1-C"}, (10020, "invalid_or_unsupported_instrument")),
        ({"amount": 15}, (10021, "invalid_amount")),
        ({"amount": 0}, (10002, "qty_too_low")),
        ({"amount": 10**9}, (10009, "not_enough_funds")),
        ({"type": "limit", "price": 50_000.3}, (10043, "price_wrong_tick")),
        ({"type": "limit", "price": 10**6}, (10007, "price_too_high")),
        ({"type": "limit"}, (-32602, "Invalid params")),
        ({"time_in_force": "never"}, (-32602, "Invalid params")),
        ({"valid_until": 1}, (11050, "bad_request")),
        ({"amount": None}, (-32602, "Invalid params")),
    ],
)
def test_each_refusal_has_its_code(desk, changes, error):
    order = {"instrument_name": SWAP, "amount": 100, "type": "market"} | changes
    assert desk.refused("private/buy", **order) == error
    assert desk("private/get_positions") == []


def test_what_is_no_method_or_no_order_is_refused(desk):
    assert desk.refused("public/nothing") == (-32601, "Method not found")
    assert desk.refused("private/get_order_state", order_id="x") == (10004, "order_not_found")
    assert desk.refused("public/set_heartbeat", interval=5) == (-32602, "Invalid params")
    assert desk.refused("public/ticker") == (-32602, "Invalid params")
    desk.api.receive(desk.session, "{")
    assert desk.frames[-1]["error"]["code"] == -32700


def test_an_order_may_turn_a_holding_round(desk):
    desk("private/buy", instrument_name=SWAP, amount=1_000, type="market")
    desk("private/sell", instrument_name=SWAP, amount=2_500, type="market")
    (position,) = desk("private/get_positions")
    assert (position["size"], position["direction"]) == (-1_500, "sell")


# heartbeats, the account --------------------------------------------------------------------------------


def test_a_connection_that_does_not_answer_a_test_is_ended(desk):
    desk("public/set_heartbeat", interval=10)
    desk.api.beat(desk.session)
    assert desk.frames[-1]["params"] == {"type": "test_request"}
    desk("public/test")
    desk.api.beat(desk.session)
    assert not desk.is_closed
    desk.api.beat(desk.session)
    assert desk.is_closed


@pytest.mark.rows("enabled", [True, False])
def test_a_connection_that_breaks_takes_its_orders_off_where_it_asked_for_that(desk, enabled):
    if enabled:
        desk("private/enable_cancel_on_disconnect", scope="connection")
    desk("private/buy", instrument_name=SWAP, amount=100, type="limit", price=round(desk.bid * 0.98))
    desk.api.leave(desk.session)
    (account,) = desk.world.ledger.accounts.values()
    assert len(account.open_orders()) == (0 if enabled else 1)


def test_deltas_of_positions_are_those_of_black_and_sum_to_the_accounts(desk):
    call = desk.near_call()
    desk("private/buy", instrument_name=call, amount=1.5, type="market")
    desk("private/sell", instrument_name=SWAP, amount=30_000, type="market")
    by_name = {row["instrument_name"]: row for row in desk("private/get_positions")}
    ticker = desk("public/ticker", instrument_name=call)
    strike, vol, spot = float(call.split("-")[2]), ticker["mark_iv"] / 100, ticker["underlying_price"]
    expires_ms = desk("public/get_instrument", instrument_name=call)["expiration_timestamp"]
    years = (expires_ms - desk.world.now_ns / 1e6) / (365 * 86_400_000)
    d1 = math.log(spot / strike) / (vol * math.sqrt(years)) + 0.5 * vol * math.sqrt(years)
    assert by_name[call]["delta"] == pytest.approx(1.5 * NormalDist().cdf(d1), abs=2e-4)
    assert by_name[SWAP]["delta"] == pytest.approx(-30_000 / by_name[SWAP]["mark_price"], rel=1e-9)
    summary = desk("private/get_account_summary", currency="BTC")
    assert summary["delta_total"] == pytest.approx(sum(row["delta"] for row in by_name.values()), rel=1e-9)


def test_the_ticker_of_a_perpetual_has_the_funding_that_is_paid(desk, tape):
    assert desk("public/ticker", instrument_name=SWAP)["current_funding"] == 0.0  # none has been paid yet
    desk.advance(10 * 3_600)
    ticker = desk("public/ticker", instrument_name=SWAP)
    paid = [float(rate.rate) for rate in tape.funding if rate.ts_ns <= desk.world.now_ns]
    assert len(paid) == 10
    assert ticker["current_funding"] == paid[-1] != 0.0
    assert ticker["funding_8h"] == pytest.approx(sum(paid[-8:]) / 8, abs=1e-12)


def test_over_a_day_coin_is_what_fees_funding_and_premiums_left(desk):
    """Equity by the summary is the broker's own at each hour of the day, delivery included."""
    tomorrow = next(
        item.symbol
        for item in desk.world.ledger.instruments
        if isinstance(item, OptionContract) and item.is_call and item.expiry == date(2025, 3, 6)
    )
    desk("private/buy", instrument_name=tomorrow, amount=0.5, type="market")
    desk("private/sell", instrument_name=SWAP, amount=3_000, type="market")
    (account,) = desk.world.ledger.accounts.values()
    for _ in range(24):
        desk.advance(3_600)
        summary = desk("private/get_account_summary", currency="BTC")
        assert summary["equity"] == pytest.approx(float(desk.world.ledger.figures(account).equity), abs=1e-12)
    kinds = [activity.kind for activity in account.activities]
    assert kinds.count("INT") == 10  # of 24 hours: in the others the premium is too small for a rate
    assert kinds.count("OPCSH") + kinds.count("OPEXP") == 1
    log = desk("private/get_transaction_log", currency="BTC")["logs"]
    (delivered,) = [line for line in log if line["type"] == "delivery"]
    assert (delivered["side"], delivered["amount"]) == ("close sell", 0.5)
    fundings = [line for line in log if line["type"] == "settlement"]
    assert [line["total_interest_pl"] for line in fundings] == [line["change"] for line in fundings]
    (position,) = desk("private/get_positions")
    assert position["instrument_name"] == SWAP
    moved = sum((activity.net_amount for activity in account.activities), D(0))
    assert abs(account.cash - (D(2) + moved)) < D("1e-12")


def test_the_log_has_each_trade_with_what_it_left(desk):
    desk("private/sell", instrument_name=SWAP, amount=3_000, type="market")
    desk("private/buy", instrument_name=SWAP, amount=4_000, type="market")
    option = desk.near_call()
    desk("private/buy", instrument_name=option, amount=0.5, type="market")
    bought, *swaps = desk("private/get_transaction_log", currency="BTC")["logs"]
    trades = {
        each["trade_id"]: each for each in desk("private/get_user_trades_by_currency", count=100)["trades"]
    }
    for line in (bought, *swaps):
        trade = trades[line["trade_id"]]
        assert (line["type"], line["order_id"], line["commission"]) == (
            "trade",
            trade["order_id"],
            trade["fee"],
        )
        assert (line["amount"], line["price"]) == (trade["amount"], trade["price"])
    assert (bought["side"], bought["position"]) == ("open buy", 0.5)
    assert bought["change"] == pytest.approx(-0.5 * bought["price"] - bought["commission"], abs=1e-12)
    assert swaps[0]["position"] == 1_000
    assert {line["side"] for line in swaps} >= {"open sell", "close buy"}
    assert all(line["change"] == -line["commission"] for line in swaps)


def test_a_bust_leaves_the_ids_of_the_other_lines(desk):
    for _ in range(3):
        desk("private/buy", instrument_name=SWAP, amount=100, type="market")
    (account,) = desk.world.ledger.accounts.values()
    before = desk("private/get_transaction_log", currency="BTC")["logs"]
    desk.world.broker.staged.bust(account.executions[0])
    after = desk("private/get_transaction_log", currency="BTC")["logs"]
    gone = [line for line in before if line["id"] not in {each["id"] for each in after}]
    assert [line["type"] for line in gone] == ["trade"]
    assert len(after) == len(before) - 1


# history ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def late(tape):
    """The exchange a second after its day has settled."""
    made = Desk(tape)
    made.world.advance_to(tape.sessions[0].close_ns + 10**9)
    return made


def test_settlements_and_deliveries_are_those_of_the_tape(late, tape):
    ((_, price),) = tape.settlement_prices.items()
    (settled,) = late("public/get_last_settlements_by_currency", currency="BTC", type="settlement")[
        "settlements"
    ]
    assert (settled["instrument_name"], settled["index_price"]) == (SWAP, price)
    assert settled["timestamp"] * 1_000_000 == tape.sessions[0].close_ns
    first = late("public/get_last_settlements_by_currency", currency="BTC", type="delivery", count=10)
    rest = late(
        "public/get_last_settlements_by_currency",
        currency="BTC",
        type="delivery",
        count=10,
        continuation=first["continuation"],
    )
    assert rest["continuation"] is None
    rows = {row["instrument_name"]: row for row in (*first["settlements"], *rest["settlements"])}
    assert len(rows) == 18  # nine strikes of the day's expiry, calls and puts
    for name, row in rows.items():
        _, _, strike, right = name.split("-")
        worth = max((price - float(strike)) * (1 if right == "C" else -1), 0.0) / price
        assert row["mark_price"] == pytest.approx(worth, abs=1e-8)
    before = late("public/get_last_settlements_by_currency", currency="BTC", search_start_timestamp=1)
    assert before["settlements"] == []


def test_a_settlement_is_not_known_before_its_time(desk):
    found = desk("public/get_last_settlements_by_currency", currency="BTC")
    assert found == {"settlements": [], "continuation": None}


def test_the_volatility_index_is_the_level_that_the_market_was_drawn_with(late, tape):
    span = {"start_timestamp": 0, "end_timestamp": tape.sessions[0].close_ns // 1_000_000}
    found = late("public/get_volatility_index_data", currency="BTC", resolution="3600", **span)
    rows = found["data"]
    assert (len(rows), found["continuation"]) == (23, None)
    level = _levels(1)[(DAY - FIRST_HISTORY).days]
    wanted = 100.0 * smile_vol(level, np.array([30 / 365]), np.zeros(1))[0]
    for before, after in pairwise(rows):
        assert after[0] - before[0] == 3_600_000
        assert after[1] == before[4]
    # strikes lie up to 1,000 dollars from the forward, and the smile has a slope
    assert max(abs(row[4] - wanted) for row in rows) < 0.5
    assert late("public/get_volatility_index_data", currency="BTC", resolution="43200")["data"][0][4] > 0.0


def test_a_chart_has_bars_of_the_length_that_is_asked_for(late, tape):
    span = {"start_timestamp": 0, "end_timestamp": 2**41, "instrument_name": SWAP}
    minutes, hours, days = (
        late("public/get_tradingview_chart_data", resolution=name, **span) for name in ("1", "60", "1D")
    )
    earlier = (DAY - FIRST_HISTORY).days - 1
    days = {name: column if name == "status" else column[earlier:] for name, column in days.items()}
    assert (len(minutes["ticks"]), len(hours["ticks"]), len(days["ticks"])) == (1_440, 24, 2)
    assert hours["high"][3] == max(minutes["high"][180:240])
    assert (hours["open"][3], hours["close"][3]) == (minutes["open"][180], minutes["close"][239])
    assert [tick % 86_400_000 for tick in days["ticks"]] == [0, 0]
    assert days["low"] == [min(minutes["low"][:960]), min(minutes["low"][960:])]
    assert late.refused("public/get_tradingview_chart_data", resolution="7", **span)[0] == -32602


def test_a_daily_chart_reaches_back_over_the_days_that_the_market_drew_before(late):
    """Without them no live desk there had a forecast: its entry gate refused each straddle."""
    midnight = 1_741_132_800_000  # of DAY, UTC
    span = {"start_timestamp": 0, "end_timestamp": midnight - 1, "instrument_name": SWAP}
    found = late("public/get_tradingview_chart_data", resolution="1D", **span)
    assert found["ticks"] == [midnight - back * 86_400_000 for back in range(793, 0, -1)]
    night, day = index_path(date(2025, 3, 3), 1)[1_920:-1], index_path(date(2025, 3, 4), 1)[:1_920]
    assert found["open"][-1] == round(night[0], 2)
    assert found["high"][-1] == round(max(night.max(), day.max()), 2)
    assert found["low"][-1] == round(min(night.min(), day.min()), 2)
    assert found["close"][-1] == round(day[-1], 2)
    assert late("public/get_tradingview_chart_data", resolution="60", **span)["status"] == "no_data"


def test_trades_of_a_currency_are_the_executions_of_all_instruments(desk):
    names = [SWAP, desk.near_call()]
    for name, amount in zip(names, (100, 0.1), strict=True):
        desk("private/buy", instrument_name=name, amount=amount, type="market")
    found = desk("public/get_last_trades_by_currency_and_time", currency="BTC", sorting="asc", count=5_000)
    assert [trade["instrument_name"] for trade in found["trades"]] == names
    assert found["has_more"] is False
    page = desk("public/get_last_trades_by_currency_and_time", currency="BTC", sorting="asc", count=1)
    assert page == {"trades": found["trades"][:1], "has_more": True}
    assert desk("public/get_last_trades_by_currency", currency="ETH")["trades"] == []


def test_whoever_has_not_logged_in_has_credits_too(tape):
    desk = Desk(tape)
    desk.api = DeribitApi(desk.world, Keyring([desk.key]), desk.clock, has_limits=True)
    for _ in range(100):
        desk("public/get_time")
    assert desk.refused("public/get_time") == (10028, "too_many_requests")
    desk.clock.move_to(desk.clock.now_ns() + 50_000_000)
    assert desk("public/get_time") > 0


# the command --------------------------------------------------------------------------------------------


@pytest.mark.enable_socket
def test_a_market_in_coin_has_no_address_of_another_venue(tape, socket_enabled):
    async def asked():
        plan = LaunchPlan(TapeSource(tape), MarketOptions(), protocol="deribit", cash=2.0, currency="BTC")
        server = build_server(plan, ManualClock(0))
        await server.start()
        key = server.keyring.credentials[0]
        headers = {"APCA-API-KEY-ID": key.key, "APCA-API-SECRET-KEY": key.secret}
        try:
            async with aiohttp.ClientSession(server.url, headers=headers) as session:
                paths = ("/v2/account", "/v2/clock", "/stream", "/v2/iex", "/api/v2/public/get_time")
                answers = [await session.get(path) for path in paths]
                return [answer.status for answer in answers]
        finally:
            await server.stop()

    assert asyncio.run(asked()) == [404, 404, 404, 404, 200]


def test_the_coin_market_keeps_its_own_time(capsys):
    assert main(["exchange", "--data", "embedded-btc", "--clock", "wall"]) != 0
    assert "this market keeps its own time" in capsys.readouterr().err


def test_a_fault_that_never_strikes_here_is_refused(tape, tmp_path, capsys):
    path = tmp_path / "faults.json"
    path.write_text('[{"name": "late_ack"}, {"name": "stream_drop"}]')
    assert main(["exchange", "--data", "embedded-btc", "--faults", str(path)]) != 0
    assert "the exchange in coin has no such fault" in capsys.readouterr().err
    plan = LaunchPlan(TapeSource(tape), MarketOptions(), protocol="deribit", cash=2.0, currency="BTC")
    admin = build_server(plan, ManualClock(0)).admin
    status, answer = admin.handle("POST", "faults", b'{"name": "drop_request"}')
    assert (status, answer["value"]) == (400, "'drop_request'")
    assert admin.handle("POST", "faults", b'{"name": "bust"}') == (200, {"injected": "bust"})


# stops ------------------------------------------------------------------------------------------


def stop(desk, side="sell", **params):
    given = {"instrument_name": SWAP, "amount": 100, "type": "stop_market", "trigger": "mark_price"}
    return desk(f"private/{side}", **(given | params))["order"]


def test_a_stop_waits_under_an_id_of_its_own_and_goes_on_under_that_of_its_order(desk):
    desk("private/subscribe", channels=["user.orders.any.any.raw"])
    bid = desk.world.ledger.quotes[0].bid
    waits = stop(desk, trigger_price=bid - 500, label="s")
    assert (waits["order_state"], waits["order_type"], waits["price"]) == (
        "untriggered",
        "stop_market",
        "market_price",
    )
    assert (waits["trigger_price"], waits["trigger"], waits["triggered"]) == (bid - 500, "mark_price", False)
    assert waits["order_id"].startswith("SLTS-")
    assert desk("private/get_open_orders_by_currency", currency="BTC") == [waits]
    moved = desk("private/edit", order_id=waits["order_id"], amount=200, trigger_price=bid - 1)["order"]
    assert (moved["order_id"], moved["amount"], moved["trigger_price"]) == (waits["order_id"], 200, bid - 1)
    desk.frames.clear()
    for _ in range(600):
        (state,) = desk("private/get_order_state_by_label", currency="BTC", label="s")
        if state["triggered"]:
            break
        desk.advance(60)
    assert (state["order_state"], state["order_type"]) == ("filled", "market")
    assert (state["trigger_order_id"], state["order_id"]) == (
        waits["order_id"],
        waits["order_id"].removeprefix("SLTS-"),
    )
    assert desk.refused("private/cancel", order_id=waits["order_id"]) == (10004, "order_not_found")
    shown = [frame["params"]["data"] for frame in desk.frames if frame.get("method") == "subscription"]
    assert [each["order_state"] for each in shown] == ["open", "filled"]
    assert {each["order_id"] for each in shown} == {state["order_id"]}


def test_a_stop_that_waits_is_cancelled_by_its_id(desk):
    bid = desk.world.ledger.quotes[0].bid
    waits = stop(desk, type="stop_limit", trigger="last_price", trigger_price=bid - 500, price=bid - 600)
    assert (waits["order_type"], waits["price"], waits["trigger"]) == ("stop_limit", bid - 600, "last_price")
    gone = desk("private/cancel", order_id=waits["order_id"])
    assert (gone["order_state"], gone["order_id"]) == ("cancelled", waits["order_id"])


def test_a_stop_is_refused_at_the_market_off_its_tick_and_without_a_price_to_wait_for(desk):
    bid = desk.world.ledger.quotes[0].bid
    given = {"instrument_name": SWAP, "amount": 100, "type": "stop_market", "trigger": "mark_price"}
    for changes, expected in (
        ({"trigger_price": bid + 500}, (11036, "invalid_stoppx_for_index_or_last")),
        ({"trigger_price": bid - 500.3}, (10043, "price_wrong_tick")),
        ({"trigger_price": bid - 500, "trigger": "index_price"}, (-32602, "Invalid params")),
        ({"trigger_price": bid - 500, "type": "trailing_stop"}, (-32602, "Invalid params")),
        ({}, (-32602, "Invalid params")),
    ):
        assert desk.refused("private/sell", **(given | changes)) == expected
