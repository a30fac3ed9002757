"""The gateway to Deribit: how it connects, what it shows and how it ends; and over its own wire."""

import asyncio
from datetime import datetime
from decimal import Decimal

import pytest

from scalpdesk.config.schema import Secret as Key
from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.events import OrderFilled
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.instruments.sessions import to_ns
from scalpdesk.orders.order import OrderState
from scalpdesk.venues.contract import KnownOrder, LiveToken, Notice, NoticeKind, VenueSetup
from scalpdesk_deribit import wire
from scalpdesk_deribit.gateway import build_gateway, exchange_urls, socket_url
from scalpdesk_deribit.rpc import KeysRefused
from scalpdesk_testing.kit.clock import ManualClock

D = Decimal
NOW_MS = 1_741_176_000_000
SUMMARY = {"currency": "BTC", "equity": 2.0, "available_funds": 2.0, "maintenance_margin": 0.0, "id": 5}
CLOSED = ["quotes closed", "orders closed"]


class Line:
    """A connection that is up and keeps what is done to it."""

    is_up, reconnects = True, 2

    def __init__(self, name, done):
        self.name, self.done = name, done

    def silent_seconds(self):
        return 3.0

    async def close(self):
        self.done.append(f"{self.name} closed")

    async def drop(self):
        self.done.append(f"{self.name} dropped")


class Answering(Line):
    """A line that comes up, or does not, and answers by method."""

    def __init__(self, name, done, *, fault=None, now_ms=NOW_MS, subscribing=None, answers=None):
        super().__init__(name, done)
        self.fault, self.subscribing, self.failure = fault, subscribing, ""
        self.answers = {
            "public/get_time": now_ms,
            "private/get_account_summary": SUMMARY,
            "public/get_currencies": [{"currency": "BTC"}],
        } | (answers or {})

    async def start(self):
        self.done.append(f"{self.name} started")
        if self.fault is not None:
            raise self.fault

    async def subscribe(self, channels):
        self.done.append(channels)
        if self.subscribing is not None:
            raise self.subscribing

    async def request(self, method, params, timeout_seconds=None):
        del timeout_seconds
        return self.answers.get(method, [])


def gateway(*, clock=None, data_only=False, **how):
    """Return a gateway on such lines, and what is done to them."""
    setup = VenueSetup(
        instruments=Instruments([perpetual("BTC")]),
        clock=clock or ManualClock(NOW_MS * 10**6),
        keys=(Key("k"), Key("s")),
        currency="BTC",
        data_only=data_only,
    )
    made, done = build_gateway(setup), []
    made._orders, made._quotes = Answering("orders", done, **how), Line("quotes", done)
    made._queries._connection = made._orders
    return made, done


def said(made):
    return list(iter(made._publisher.queue.take, None))


@pytest.mark.rows("data_only", [False, True])
def test_a_gateway_listens_to_the_account_unless_it_is_for_data_alone(data_only):
    made, done = gateway(data_only=data_only)
    order = SubmitOrder(
        "sd-1", InstrumentId(0), Side.BUY, D(1), OrderType.MARKET, None, TimeInForce.GTC, Purpose.HEDGE
    )
    account = asyncio.run(made.connect([KnownOrder(order, venue_order_id="BTC-1")]))
    assert (account.account_id, account.equity) == ("5", 2)
    assert done == ["orders started"] + ([] if data_only else [["user.changes.any.BTC.raw"]])
    assert made._path.is_open is not data_only
    assert list(made._path.tracker.orders) == ["sd-1"]


@pytest.mark.rows(
    ("how", "error", "what"),
    [
        ({"fault": KeysRefused("invalid")}, ConfigError, "does not accept these keys"),
        ({"fault": TimeoutError()}, RetryError, "the connection does not come up"),
        ({"now_ms": NOW_MS + 1_001}, ConfigError, "the clock of this machine is off"),
        ({"now_ms": NOW_MS - 1_001}, ConfigError, "the clock of this machine is off"),
        ({"subscribing": TimeoutError()}, RetryError, "the account's channel does not come up"),
        # it was a fault of the desk's own, and ended the program with it
        ({"answers": {"private/get_account_summary": {}}}, RetryError, "the venue's answer cannot be read"),
    ],
)
def test_a_gateway_that_cannot_connect_says_why_and_closes_its_lines(how, error, what):
    made, done = gateway(**how)
    with pytest.raises(error, match=what) as caught:
        asyncio.run(made.connect())
    assert (done[-2:], made._path.is_open) == (CLOSED, False)
    if "now_ms" in how:
        assert caught.value.value == f"{NOW_MS - how['now_ms']} ms from the venue's"


@pytest.mark.rows("off_ms", [1_000, -1_000])
def test_a_second_between_the_clocks_is_allowed_and_known(off_ms):
    made, _ = gateway(now_ms=NOW_MS + off_ms)
    asyncio.run(made.connect())
    assert made._queries.ahead_ms == off_ms
    clock = FollowingClock()
    asyncio.run(gateway(clock=clock)[0].connect())
    assert clock.now_ns() == NOW_MS * 10**6  # one that follows the venue stands at its time


@pytest.mark.rows(("asked", "closes"), [("07:59", "05T08:00"), ("08:00", "06T08:00")])
def test_a_day_of_account_ends_at_the_next_eight_o_clock_utc(asked, closes):
    now_ms = to_ns(datetime.fromisoformat(f"2025-03-05T{asked}:00+00:00")) // 10**6
    view = asyncio.run(gateway(data_only=True, now_ms=now_ms)[0].snapshot())
    assert view.clock.now_ns == now_ms * 10**6
    assert view.clock.next_close_ns == to_ns(datetime.fromisoformat(f"2025-03-{closes}:00+00:00"))
    assert view.shortable == (0,)


def test_a_view_that_cannot_be_read_may_be_asked_for_again():
    made, _ = gateway(answers={"private/get_positions": [{"instrument_name": "X", "size": "much"}]})
    with pytest.raises(RetryError, match="the venue's answer cannot be read") as refused:
        asyncio.run(made.snapshot())
    assert (refused.value.where, refused.value.value) == ("account", "size is no number: 'much'")


def test_the_end_closes_the_order_path_before_its_connections():
    made, done = gateway()

    async def close(*, graceful):
        done.append(("orders path", graceful))

    made._path.close = close
    asyncio.run(made.close(graceful=False))
    assert done == [("orders path", False), *CLOSED]

    async def events():
        return [item async for item in made.events()]

    assert asyncio.run(events()) == []


def test_only_the_silent_connection_is_replaced_and_counted():
    made, done = gateway()
    for stream in ("orders", "quotes", "other"):
        asyncio.run(made.reconnect(stream))
    assert done == ["orders dropped", "quotes dropped"]
    assert made._publisher.counters == {"orders_renewed": 1, "quotes_renewed": 1}


def test_the_state_names_both_connections():
    made, _ = gateway()

    async def health():
        return made.health()

    shown = asyncio.run(health())
    assert shown.streams == {"orders": True, "quotes": True}
    assert shown.silent_seconds == {"orders": 3.0, "quotes": 3.0}
    assert shown.counters == {"merged_quotes": 0, "reconnects": 4}
    assert (shown.in_flight, shown.unknown) == (0, ())


@pytest.mark.rows(("is_final", "kind"), [(True, NoticeKind.DEAD), (False, NoticeKind.DISCONNECTED)])
def test_a_connection_that_is_down_is_counted_and_told(is_final, kind):
    made, _ = gateway()
    made._on_down("orders", "half_open", "no answer", is_final)
    (told,) = said(made)
    assert (told.kind, told.stream, told.name, told.detail) == (kind, "orders", "half_open", "no answer")
    assert made._publisher.counters["half_open"] == 1


def test_a_ticker_becomes_a_quote_and_what_is_unknown_or_unreadable_does_not():
    made, _ = gateway()
    prices = {"best_bid_price": 90_000.0, "best_ask_price": 90_000.5}
    sizes = {"best_bid_amount": 1_000.0, "best_ask_amount": 2_000.0}
    ticker = {"instrument_name": "BTC-PERPETUAL", "timestamp": NOW_MS} | prices | sizes
    for data in (ticker, ticker | {"instrument_name": "BTC-NEVER"}, ticker | {"timestamp": "x"}, {}):
        made._on_market(wire.Notification("ticker", data))
    quote, *refused = said(made)
    assert (quote.bid, quote.ask, quote.bid_size, quote.ask_size) == (90_000.0, 90_000.5, 100.0, 200.0)
    assert [(type(one), one.name) for one in refused] == [(Notice, "malformed_quote")] * 2


@pytest.mark.rows(
    ("url", "socket", "requests"),
    [
        ("https://x.y:8/", "wss://x.y:8/ws/api/v2", "https://x.y:8/api/v2"),
        ("ws://x/ws/api/v2", "ws://x/ws/api/v2", "http://x/api/v2"),
        ("wss://x/ws/api/v2", "wss://x/ws/api/v2", "https://x/api/v2"),
    ],
)
def test_the_addresses_of_an_exchange_follow_from_one_of_them_or_from_the_arming(url, socket, requests):
    assert exchange_urls(url) == (socket, requests)
    assert socket_url(url, None) == socket
    assert socket_url(None, None) == "wss://test.deribit.com/ws/api/v2"
    assert socket_url(None, LiveToken("acc", "ab" * 32, 1, "me")) == "wss://www.deribit.com/ws/api/v2"


# over its own wire --------------------------------------------------------------------------------------


def test_the_accounts_margin_and_funds_reach_the_risk_gate(on_bench):
    async def scenario(bench):
        desk = await bench.connected()
        await desk.submit(0, 90_000, Side.SELL)
        await desk.until(lambda: bool(desk.of(OrderFilled)))
        view = await desk.gateway.snapshot()
        limits, figures = view.limits(7), bench.world.ledger.figures(bench.account)
        assert (limits.ts_recv_ns, limits.may_trade, limits.may_short, limits.options_level) == (
            7, True, True, 4,
        )  # fmt: skip
        assert limits.shortable == (0,)
        assert abs(view.account.equity - figures.equity) < D("1e-9")
        collateral = figures.equity - figures.long_value - figures.short_value
        assert abs(limits.margin_fraction - figures.maintenance_margin / collateral) < D("0.000001")
        assert limits.margin_fraction > D("0.004")
        assert abs(limits.buying_power - figures.options_buying_power) < D("1e-9")
        assert limits.options_buying_power == view.account.options_buying_power

    on_bench(scenario)


def test_the_connection_of_the_orders_takes_them_off_when_it_breaks_and_that_of_the_quotes_does_not(on_bench):
    async def scenario(bench):
        desk = await bench.connected()
        gateway = desk.gateway
        await gateway.subscribe([0])
        await gateway._quotes.request("public/get_time", {})

        def told(name):
            return sum(each.name == name for each in desk.notices)

        limit = D(round(float(bench.world.ledger.quotes[0].bid) * 0.97))
        resting = await desk.submit(0, 100, limit=limit)
        await desk.until(lambda: resting.state is OrderState.WORKING)
        sessions = bench.server.protocol.api._sessions
        assert sorted(each.cancels_on_disconnect for each in sessions) == [False, True]
        await gateway._quotes.drop()
        await desk.until(lambda: told("connection_lost") == 1)
        (shown,) = (await gateway.snapshot()).open_orders
        assert shown.is_open
        await gateway.reconnect("orders")
        await desk.until(lambda: told("connected") == 4)
        assert resting.is_live
        assert await gateway.query_order(resting.client_order_id)
        await desk.over(resting)
        assert resting.state is OrderState.CANCELLED
        filled = await desk.submit(0, 100)
        await desk.over(filled)  # the account's channel stands again
        assert filled.state is OrderState.FILLED

    on_bench(scenario)


def test_wrong_keys_are_refused_with_what_to_do(on_bench):
    async def scenario(bench):
        gateway = bench.gateway(keys=(Key(bench.server.keyring.credentials[0].key), Key("wrong")))
        with pytest.raises(ConfigError, match="invalid_credentials") as refused:
            await gateway.connect()
        assert "wrong" not in refused.value.render() + repr(gateway)

    on_bench(scenario)


def test_a_row_of_positions_that_cannot_be_read_is_named_and_the_others_are_shown():
    perpetual_row = {"instrument_name": "BTC-PERPETUAL", "size": 100.0, "mark_price": 90_000.0}
    perpetual_row["average_price"] = 80_000.0
    rows = [{"instrument_name": "BTC-X", "size": "much"}, perpetual_row]
    made, _ = gateway(answers={"private/get_positions": rows, "private/get_open_orders_by_currency": []})
    view = asyncio.run(made.shown_positions())
    assert [held.symbol for held in view.positions] == ["BTC-PERPETUAL"]
    (unread,) = view.unread
    assert "BTC-X" in unread
