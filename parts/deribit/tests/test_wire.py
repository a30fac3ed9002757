"""Messages: what is read, what is refused by name, and that nothing else comes of a spoilt one."""

import json
import math
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.intents import MultiLegOrder, OrderType, Purpose, Side, Stop, SubmitOrder, TimeInForce
from scalpdesk.instruments.contract import Instruments, LinearPerpetual, Perpetual
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk_deribit import wire
from scalpdesk_deribit.wire import Heartbeat, Notification, RpcReply, WireError

D = Decimal
SWAP, CALL = perpetual("BTC"), deribit_option("BTC-14MAR25-90000-C")
TICKER = {
    "instrument_name": SWAP.symbol,
    "timestamp": 1_741_168_800_123,
    "best_bid_price": 90_000.5,
    "best_bid_amount": 12_340.0,
    "best_ask_price": 90_001.0,
    "best_ask_amount": 10.0,
}
ORDER = {
    "order_id": "BTC-1",
    "order_state": "open",
    "order_type": "limit",
    "direction": "sell",
    "instrument_name": SWAP.symbol,
    "amount": 5_000.0,
    "filled_amount": 1_230.0,
    "average_price": 90_000.5,
    "price": 90_100.0,
    "label": "sd-1",
    "creation_timestamp": 1,
    "last_update_timestamp": 2,
}
PERPETUAL = {
    "instrument_name": "BTC-PERPETUAL",
    "kind": "future",
    "settlement_period": "perpetual",
    "quote_currency": "USD",
    "base_currency": "BTC",
    "contract_size": 10,
    "tick_size": 0.5,
}
TRADE = {
    "trade_id": "7",
    "order_id": "BTC-1",
    "instrument_name": CALL.symbol,
    "direction": "buy",
    "amount": 0.3,
    "price": 0.0345,
    "fee": 0.00009,
    "fee_currency": "BTC",
    "label": "sd-1",
    "timestamp": 5,
}


# frames -------------------------------------------------------------------------------------------------


def test_frames_are_replies_notifications_and_heartbeats():
    assert wire.decode_frame('{"id":3,"result":["a"],"usIn":1}') == RpcReply(3, ["a"], None)
    assert wire.decode_frame('{"method":"subscription","params":{"channel":"c","data":1}}') == Notification(
        "c", 1
    )
    for kind, asks in (("heartbeat", False), ("test_request", True)):
        text = json.dumps({"method": "heartbeat", "params": {"type": kind}})
        assert wire.decode_frame(text) == Heartbeat(asks)
    failed = wire.decode_frame(
        '{"id":4,"error":{"code":10009,"message":"not_enough_funds","data":{"reason":"x"}}}'
    )
    assert (failed.error.code, str(failed.error)) == (10009, "not_enough_funds (10009): x")


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_bytes_end_in_a_frame_or_a_refusal(raw):
    with suppress(WireError):
        assert isinstance(wire.decode_frame(raw), RpcReply | Notification | Heartbeat)


def test_exact_numbers_go_out_as_numbers():
    text = wire.encode_request(2, "private/buy", {"amount": D("0.30"), "price": D("0.0345"), "label": "a"})
    assert '"amount":0.30,' in text
    assert json.loads(text) == {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "private/buy",
        "params": {"amount": 0.3, "price": 0.0345, "label": "a"},
    }


# instruments, amounts -----------------------------------------------------------------------------------


def test_instruments_bring_their_terms():
    swap = wire.read_instrument(PERPETUAL)
    assert swap == SWAP
    assert isinstance(swap, Perpetual)
    option = wire.read_instrument(
        {
            "instrument_name": CALL.symbol,
            "kind": "option",
            "tick_size": 0.0001,
            "tick_size_steps": [{"above_price": 0.005, "tick_size": 0.0005}],
        }
    )
    assert option == CALL
    linear = wire.read_instrument(
        {
            "instrument_name": "SOL_USDC-PERPETUAL",
            "kind": "future",
            "settlement_period": "perpetual",
            "quote_currency": "USDC",
            "settlement_currency": "USDC",
            "tick_size": 0.01,
        }
    )
    assert isinstance(linear, LinearPerpetual)
    odd = {"instrument_type": "linear", "settlement_currency": "USDC"}  # whatever it is quoted in
    assert isinstance(wire.read_instrument(PERPETUAL | odd), LinearPerpetual)
    assert wire.read_instrument(PERPETUAL | {"instrument_type": "reversed", "quote_currency": "USDX"}) == SWAP
    dated = {"instrument_name": "BTC-25DEC26", "kind": "future", "settlement_period": "month"}
    assert wire.read_instrument(dated) is None


STEP = {"above_price": 0.005, "tick_size": 0.0005}


@pytest.mark.rows(
    ("changes", "why"),
    [
        ({"contract_size": 0}, "no whole number of dollars: 0"),
        ({"contract_size": 2.5}, "no whole number of dollars: 2.5"),
        ({"tick_size": 0}, "tick_size: .*, 0"),
        ({"tick_size": -0.5}, "tick_size: .*, -0.5"),
        ({"tick_size_steps": [STEP, STEP]}, "tick_size_steps: .*0.005"),
        ({"tick_size_steps": [STEP, STEP | {"above_price": 0.004}]}, "tick_size_steps: .*0.004"),
        ({"tick_size_steps": [STEP | {"tick_size": 0}]}, "tick_size_steps: .*, 0"),
        ({"tick_size_steps": [STEP | {"tick_size": "1e400"}]}, "tick_size is beyond all bounds"),
        ({"tick_size_steps": [STEP | {"above_price": -1}]}, "tick_size_steps: .*, -1"),
        ({"tick_size_steps": [STEP | {"above_price": "Infinity"}]}, "above_price"),
        ({"tick_size_steps": [{"above_price": 1 + k, "tick_size": 1} for k in range(65)]}, "tick_size_steps"),
        ({"tick_size_steps": [{"tick_size": 1}]}, "above_price"),
        ({"tick_size_steps": STEP}, "tick_size_steps"),
        ({"kind": "option", "instrument_name": "BTC-14MAR25"}, "BTC-14MAR25"),
    ],
)
def test_an_instrument_whose_terms_make_no_sense_is_refused(changes, why):
    with pytest.raises(WireError, match=why):
        wire.read_instrument(PERPETUAL | changes)


@given(st.integers(1, 10**6).map(D))
def test_contracts_are_dollars_at_the_venue(contracts):
    assert wire.amount_of(SWAP, contracts) == contracts * 10
    assert wire.quantity_of(SWAP, contracts * 10) == contracts
    assert wire.amount_of(CALL, contracts / 10) == wire.quantity_of(CALL, contracts / 10) == contracts / 10


def test_dollars_that_are_no_whole_contracts_are_refused():
    with pytest.raises(WireError, match="no whole contracts"):
        wire.quantity_of(SWAP, D(15))


# quotes, orders, executions -----------------------------------------------------------------------------


def test_a_quote_counts_the_perpetual_in_contracts_and_knows_an_empty_side():
    quote = wire.read_quote(TICKER, 0, SWAP, 9)
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (90_000.5, 1_234.0, 90_001.0, 1.0)
    assert (quote.ts_event_ns, quote.ts_recv_ns) == (1_741_168_800_123_000_000, 9)
    empty = wire.read_quote(TICKER | {"best_bid_price": 0.0, "best_bid_amount": 0.0}, 0, SWAP, 9)
    assert math.isnan(empty.bid)
    assert empty.bid_size == 0.0


def command(**changes):
    given = {
        "client_order_id": "sd-1",
        "instrument_id": 0,
        "side": Side.SELL,
        "quantity": D(50),
        "order_type": OrderType.LIMIT,
        "limit_price": D("90100.5"),
        "time_in_force": TimeInForce.IOC,
        "purpose": Purpose.HEDGE,
    }
    return SubmitOrder(**(given | changes))


def test_an_order_goes_out_in_the_venues_words():
    method, params = wire.order_request(command(), SWAP, 1_700)
    assert method == "private/sell"
    assert params == {
        "instrument_name": "BTC-PERPETUAL",
        "amount": D(500),
        "type": "limit",
        "price": D("90100.5"),
        "label": "sd-1",
        "time_in_force": "immediate_or_cancel",
        "valid_until": 1_700,
    }
    market = command(order_type=OrderType.MARKET, limit_price=None, side=Side.BUY, quantity=D("0.3"))
    method, params = wire.order_request(market, CALL, 1)
    assert (method, params["amount"], "price" in params) == ("private/buy", D("0.3"), False)


@pytest.mark.rows(
    ("limit", "named"),
    [(None, {"type": "stop_market"}), ("89000", {"type": "stop_limit", "price": D("89000")})],
)
def test_a_stop_goes_out_with_its_trigger_on_the_mark(limit, named):
    price = None if limit is None else D(limit)
    stop = command(order_type=Stop(D("89500.5")), limit_price=price, time_in_force=TimeInForce.GTC)
    assert wire.order_request(stop, SWAP, 1_700) == (
        "private/sell",
        {
            "instrument_name": "BTC-PERPETUAL",
            "amount": D(500),
            "label": "sd-1",
            "time_in_force": "good_til_cancelled",
            "valid_until": 1_700,
            "trigger": "mark_price",
            "trigger_price": D("89500.5"),
        }
        | named,
    )


@pytest.mark.rows(
    ("state", "outcome"),
    [
        ("open", "open"),
        ("untriggered", "open"),
        ("triggered", "open"),
        ("filled", "filled"),
        ("cancelled", "cancelled"),
        ("rejected", "rejected"),
    ],
)
def test_states_of_an_order(state, outcome):
    report = wire.read_report(ORDER | {"order_state": state}, SWAP)
    assert (report.outcome, report.filled, report.average_price) == (outcome, D(123), D("90000.5"))
    assert (report.client_order_id, report.venue_order_id, report.ts_event_ns) == ("sd-1", "BTC-1", 2_000_000)


def test_an_execution_brings_its_fee():
    trade = wire.read_trade(TRADE, CALL)
    assert (trade.fill.quantity, trade.fill.price, trade.fill.fee) == (D("0.3"), D("0.0345"), D("0.00009"))
    elsewhere = wire.read_trade(TRADE | {"fee_currency": "USDC"}, CALL)
    assert (elsewhere.fill.quantity, elsewhere.fill.fee, elsewhere.has_fee) == (D("0.3"), 0, False)
    assert wire.read_trade(TRADE | {"timestamp": "soon"}, CALL).fill.ts_event_ns == 0
    for spoilt in ({"price": 0}, {"amount": 0}, {"price": -1}, {"amount": -0.3}):
        with pytest.raises(WireError, match="a trade of"):
            wire.read_trade(TRADE | spoilt, CALL)
    assert wire.read_trade(TRADE | {"amount": 0.1, "price": 0.0001}, CALL).fill.price == D("0.0001")


SPOILT = st.sampled_from([None, True, "", "x", [], [1], math.nan, {}])


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (TICKER, lambda message: wire.read_quote(message, 0, SWAP, 1)),
        (ORDER, lambda message: wire.read_report(message, SWAP)),
        (ORDER, lambda message: wire.read_open_order(message, SWAP, None)),
        (TRADE, lambda message: wire.read_trade(message, CALL)),
    ],
    ids=["quote", "report", "open order", "trade"],
)
@given(data=st.data())
def test_a_spoilt_field_is_refused_or_means_that_it_is_absent(message, read, data):
    name = data.draw(st.sampled_from(sorted(message)))
    spoilt = message | {name: data.draw(SPOILT)}
    with suppress(WireError):
        assert read(spoilt) is not None


# the account --------------------------------------------------------------------------------------------


def position(**changes):
    given = {
        "instrument_name": SWAP.symbol,
        "size": -9_000.0,
        "average_price": 90_000.0,
        "mark_price": 100_000.0,
    }
    return given | changes


def test_cash_and_positions_come_to_the_venues_equity():
    """Short 9,000 USD since 90,000 and 0.5 options at a mark of 0.04, of an equity of 2 coins."""
    swap = wire.read_position(position(), SWAP, 0)
    option = wire.read_position(
        position(instrument_name=CALL.symbol, size=0.5, average_price=0.05, mark_price=0.04), CALL, 1
    )
    assert (swap.position.quantity, swap.value, option.value) == (D(-900), D("0.09"), D("0.02"))
    account = wire.read_account(
        {"currency": "BTC", "equity": 2.0, "available_funds": 1.5, "maintenance_margin": 0.5, "id": 5},
        [swap, option],
    )
    assert account.margin_fraction == D("0.25")
    summary = {"currency": "BTC", "equity": 2.0, "available_funds": 0.5, "maintenance_margin": 0.5}
    bought = wire.read_account(summary | {"margin_balance": 1.0}, [])  # options worth 1: no collateral
    sold = wire.read_account(summary | {"margin_balance": 2.5}, [])
    assert (bought.margin_fraction, sold.margin_fraction) == (D("0.5"), D("0.25"))
    small = wire.read_account(summary | {"equity": 0.8, "maintenance_margin": 0.2}, [])
    assert small.margin_fraction == D("0.25")
    assert account.cash == D("1.89")
    assert account.cash + swap.value + option.value == account.equity == 2
    assert (account.account_id, account.currency, account.buying_power) == ("5", "BTC", D("1.5"))


# combos -------------------------------------------------------------------------------------------------

NAMES = ("BTC-14MAR25-90000-C", "BTC-14MAR25-90000-P")


def combo(*quantities, net="0.03"):
    legs = tuple(
        SubmitOrder(
            f"sd-{number}",
            number,
            Side.BUY if D(text) > 0 else Side.SELL,
            abs(D(text)),
            OrderType.LIMIT,
            D(1),
            TimeInForce.DAY,
            Purpose.OPEN,
        )
        for number, text in enumerate(quantities)
    )
    return MultiLegOrder("sd-whole", legs, None if net is None else D(net), TimeInForce.GTC)


@pytest.fixture
def options():
    return Instruments([deribit_option(name) for name in NAMES])


@pytest.mark.rows(
    ("quantities", "sets"),
    [(("0.5", "0.5"), "0.5"), (("0.2", "-0.4"), "0.2"), (("0.3", "1"), "0.1"), (("20", "10.0"), "10")],
)
def test_an_order_has_the_most_sets_that_leave_whole_legs(quantities, sets):
    assert combo(*quantities).sets == D(sets)


@pytest.mark.rows(
    ("quantities", "legs", "side"),
    [
        (("0.5", "0.5"), (1, 1), Side.BUY),
        (("-0.5", "-0.5"), (1, 1), Side.SELL),
        (("0.2", "-0.4"), (-1, 2), Side.SELL),
        (("0.5", "-0.5"), (1, 1), None),
        (("0.5", "0.5"), (1, 2), None),
    ],
)
def test_a_combo_is_bought_or_sold_as_its_legs_want_it(options, quantities, legs, side):
    amounts = dict(zip(NAMES, map(D, legs), strict=True))
    assert wire.side_of_combo(combo(*quantities), options, amounts) is side


@pytest.mark.rows("message", [None, [], {"id": "x"}, {"id": "", "legs": []}, {"id": "x", "legs": [1]}])
def test_a_combo_that_cannot_be_read_is_refused(message):
    with pytest.raises(wire.WireError):
        wire.read_combo(message)
