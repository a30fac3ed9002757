"""The gateway to Alpaca from its connection to its end: steps, checks, state, and how it is built."""

import asyncio
from types import SimpleNamespace

import pytest

from scalpdesk.config.schema import Secret as Key
from scalpdesk.config.settings import VenueSettings
from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.errors import ConfigError, RetryError, StopError
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.venues.contract import (
    AccountFacts,
    KnownOrder,
    LiveToken,
    VenueClock,
    VenueSetup,
    how_to_reach,
)
from scalpdesk_alpaca import gateway as module
from scalpdesk_alpaca.queries import StartChecks
from scalpdesk_alpaca.settings import AlpacaSettings
from scalpdesk_alpaca.stream import StreamRefused
from scalpdesk_alpaca.transport import GatewayOptions
from scalpdesk_alpaca.venue import VENUE
from scalpdesk_testing.kit import alpaca_wire as samples
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.scripted_venue import Conversation

S = 10**9
ACCOUNT = {
    "id": "mine",
    "status": "ACTIVE",
    "cash": "5",
    "options_trading_level": 3,
    "shorting_enabled": True,
}
CLOCK = {
    "timestamp": samples.AT_TEXT,
    "is_open": True,
    "next_open": "2026-11-23T09:30:00-05:00",
    "next_close": "2026-11-20T16:00:00-05:00",
}


class Stream:
    """A stream's connection that keeps what is done to it."""

    def __init__(self, done, name="orders", fault=None):
        self.name, self.done, self.fault = name, done, fault
        self.is_up, self.connections, self.reconnects = True, 1, 2

    async def start(self):
        self.done.append(f"{self.name} started")
        if self.fault is not None:
            raise self.fault

    async def close(self):
        self.done.append(f"{self.name} closed")

    async def drop(self, name, why):
        self.done.append((self.name, name, why))

    def silent_seconds(self):
        return 4.4


class Desk:
    """A gateway whose venue answers account and clock; ``done`` keeps the steps."""

    def __init__(self, answers=None, fault=None, **options):
        self.done = []
        found = {"GET /v2/account": (200, ACCOUNT), "GET /v2/clock": (200, CLOCK)} | (answers or {})

        def answer(asked):
            self.done.append(asked.line)
            return found[asked.line]

        self.talk = Conversation(
            Instruments([Equity(samples.STOCK)]),
            answer,
            samples.AT_NS,
            is_connected=False,
            order_connections=1,
            **options,
        )
        self.gateway = self.talk.gateway
        self.gateway._stream = Stream(self.done, fault=fault)

    def run(self, scenario):
        try:
            return self.talk.run(scenario)
        finally:
            self.talk.close()

    def connect(self, known=()):
        async def scenario():
            account = await self.gateway.connect(known)
            state = self.gateway._path.is_open, self.gateway._warmer is not None
            restored = list(self.gateway._reports.tracker.orders)
            await self.gateway.close()
            return account, state, restored

        return self.run(scenario)


def known(name):
    order = SubmitOrder(name, 0, Side.BUY, 1, OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE)
    return KnownOrder(order)


def test_a_gateway_checks_the_account_and_the_clock_before_it_opens_the_order_path():
    desk = Desk()
    account, state, restored = desk.connect([known("sd-1")])
    assert (account.account_id, account.options_level) == ("mine", 3)
    assert state == (True, True)
    assert restored == ["sd-1"]
    assert desk.done == [
        "GET /v2/account",
        "GET /v2/clock",
        "GET /v2/clock",  # warms the connection that orders go by
        "orders started",
        "orders closed",
    ]
    assert (desk.gateway._path.is_open, desk.gateway._warmer.cancelled()) == (False, True)


def test_for_data_alone_no_order_path_is_opened():
    desk = Desk(
        {"GET /v2/account": (200, ACCOUNT | {"status": "ONBOARDING"})}, data_only=True, options_level=9
    )
    account, state, restored = desk.connect([known("sd-1")])
    assert (account.status, state, restored) == ("ONBOARDING", (False, False), [])
    assert desk.done == ["GET /v2/account", "GET /v2/clock", "orders closed"]


@pytest.mark.parametrize(
    ("answers", "fault", "error", "what"),
    [
        ({"GET /v2/account": (401, {})}, None, ConfigError, "does not accept the keys in this environment"),
        ({"GET /v2/account": None}, None, RetryError, "the venue cannot be reached; nothing was sent"),
        (
            {"GET /v2/account": (200, ACCOUNT | {"trading_blocked": True})},
            None,
            ConfigError,
            "the account may not trade now",
        ),
        (
            {"GET /v2/account": (200, ACCOUNT | {"options_trading_level": 1})},
            None,
            ConfigError,
            "no permission for the options",
        ),
        ({}, StreamRefused("auth failed", is_final=True), ConfigError, "does not accept the keys"),
        ({}, TimeoutError(), RetryError, "the order stream does not come up"),
    ],
)
def test_a_connection_that_fails_says_why_and_is_closed(answers, fault, error, what):
    desk = Desk(answers, fault, options_level=2)
    with pytest.raises(error, match=what) as caught:
        desk.connect()
    assert caught.value.fix
    assert desk.done[-1] == "orders closed"
    assert desk.gateway._path.is_open is False
    assert desk.gateway._warmer is None


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://127.0.0.1:8001", "start scalpdesk exchange"),
        ("ws://localhost:8001/ws/api/v2", "start scalpdesk exchange"),
        ("https://paper-api.alpaca.markets", "the venue's status page"),
    ],
)
def test_an_address_on_this_machine_is_a_simulated_exchanges_without_a_status_page(url, advice):
    assert advice in how_to_reach(url)
    assert ("status page" in how_to_reach(url)) is ("alpaca" in url)


# checks ---------------------------------------------------------------------------------------------


def checks(options_level=2, data_only=False, skew=5.0, armed_for=None):
    token = None if armed_for is None else LiveToken(armed_for, "ab" * 32, 1, "me")
    endpoints = SimpleNamespace(live_token=token, is_live=token is not None, is_paper=token is None)
    options = SimpleNamespace(options_level=options_level, data_only=data_only, most_clock_skew_seconds=skew)
    return StartChecks(endpoints, options, None)


def facts(name="mine", level=2, may_trade=True):
    return AccountFacts(name, "ACTIVE", "USD", 0, 0, 0, 0, level, may_trade=may_trade, may_short=True)


def test_an_account_has_at_least_the_level_that_the_strategy_needs():
    checks().account(facts())
    checks(armed_for="mine").account(facts(level=3))
    with pytest.raises(ConfigError) as caught:
        checks().account(facts(level=1))
    assert (caught.value.where, caught.value.value) == ("options_trading_level", "1, needed 2")
    with pytest.raises(StopError) as caught:
        checks(armed_for="mine").account(facts("other"))
    assert (caught.value.where, caught.value.value) == ("armed for mine", "other")
    with pytest.raises(ConfigError) as caught:
        checks().account(facts(may_trade=False))
    assert caught.value.where == "account status ACTIVE"
    checks(data_only=True, armed_for="mine").account(facts("other", 0, may_trade=False))


def test_wrong_keys_name_the_environment_and_no_key():
    assert "in the paper environment" in checks().wrong_keys("HTTP 401").what
    live = checks(armed_for="mine").wrong_keys("HTTP 401")
    assert "in the live environment" in live.what
    assert live.value == "HTTP 401"


@pytest.mark.parametrize(
    ("off_ns", "passes"), [(5 * S, True), (-5 * S, True), (5 * S + 1, False), (-6 * S, False)]
)
def test_the_machines_clock_may_be_off_by_the_skew_and_no_more(off_ns, passes):
    venue = VenueClock(100 * S + off_ns, True, 0, 0)
    if passes:
        checks().clock(venue, ManualClock(100 * S))
        return
    with pytest.raises(ConfigError, match="clock is off") as caught:
        checks().clock(venue, ManualClock(100 * S))
    assert caught.value.value == f"{off_ns / S:+.1f} s"


def test_a_clock_that_follows_the_venue_is_set():
    clock = FollowingClock()
    checks().clock(VenueClock(100 * S, True, 0, 0), clock)
    assert clock.now_ns() == 100 * S


# state ----------------------------------------------------------------------------------------------


def with_data(desk):
    streams = [Stream(desk.done, name) for name in ("stocks", "options")]
    desk.gateway._data = SimpleNamespace(connections=lambda: streams)
    return desk.gateway


def test_the_state_shows_every_stream_and_the_budget():
    desk = Desk(requests_per_minute=77)
    made = with_data(desk)
    made._publisher.count("stale")

    async def scenario():
        return made.health()

    shown = desk.run(scenario)
    assert shown.streams == {"orders": True, "stocks": True, "options": True}
    assert shown.silent_seconds == {"orders": 4.4, "stocks": 4.4, "options": 4.4}
    assert shown.counters == {"stale": 1, "merged_quotes": 0, "reconnects": 6}
    assert (shown.in_flight, shown.unknown, shown.requests_left) == (0, (), 77)


@pytest.mark.parametrize("stream", ["stocks", "options", "orders"])
def test_only_a_data_stream_that_is_silent_is_replaced(stream):
    desk = Desk()
    made = with_data(desk)

    async def scenario():
        await made.reconnect(stream)

    desk.run(scenario)
    if stream == "orders":
        assert (desk.done, made._publisher.counters) == ([], {})
    else:
        assert desk.done == [(stream, "silent", "no message for 4 s")]
        assert made._publisher.counters == {f"{stream}_renewed": 1}


# how it is built ------------------------------------------------------------------------------------


def setup(**changes):
    given = {
        "instruments": Instruments([Equity("SPY")]),
        "clock": ManualClock(0),
        "keys": (Key("k"), Key("s")),
    }
    return VenueSetup(**(given | changes))


def test_a_gateway_goes_to_the_paper_host_unless_it_is_armed_or_has_an_address():
    token = LiveToken("acc", "ab" * 32, 1, "me")
    paper, live, at = (
        VENUE.build(setup(**changes), AlpacaSettings())._endpoints
        for changes in ({}, {"live_token": token}, {"url": "http://127.0.0.1:9/"})
    )
    assert (paper.trading_url, paper.is_paper, paper.is_live) == (
        "https://paper-api.alpaca.markets",
        True,
        False,
    )
    assert (live.trading_url, live.is_live, live.live_token) == ("https://api.alpaca.markets", True, token)
    assert (at.trading_url, at.orders_url) == ("http://127.0.0.1:9", "ws://127.0.0.1:9/stream")
    assert (paper.stock_feed, paper.option_feed) == ("iex", "indicative")
    fed = VENUE.build(setup(), AlpacaSettings(stock_feed="sip", option_feed="opra"))._endpoints
    assert (fed.stock_feed, fed.option_feed) == ("sip", "opra")
    assert repr(VENUE.build(setup(), AlpacaSettings())) == "AlpacaGateway('https://paper-api.alpaca.markets')"


def test_what_is_set_up_reaches_the_gateway():
    made = VENUE.build(
        setup(
            options_level=1,
            timeout_seconds=7.0,
            acceptance_seconds=11.0,
            requests_per_minute=13,
            heartbeat_seconds=19.0,
            data_only=True,
        ),
        AlpacaSettings(data_requests_per_minute=17),
    )
    options = made._options
    assert (options.options_level, options.timeout_seconds, options.absent_after_seconds) == (1, 7.0, 11.0)
    assert (options.requests_per_minute, options.data_requests_per_minute) == (13, 17)
    assert (options.heartbeat_seconds, options.data_only) == (19.0, True)
    assert made._budget.per_minute == 13
    assert VENUE.build(setup(), AlpacaSettings())._options.requests_per_minute == module.REQUESTS_PER_MINUTE
    assert (module.KEEP_WARM_SECONDS, module.QUERY_CONNECTIONS, module.QUERY_TIMEOUTS) == (25.0, 4, 4)


def test_a_gateway_without_options_has_those_of_a_plain_configuration():
    given, section = setup(), VenueSettings()
    assert VENUE.build(given, AlpacaSettings())._options == GatewayOptions()
    for name in ("timeout_seconds", "heartbeat_seconds"):
        assert getattr(given, name) == getattr(section, name)


class LiveHost:
    """The live host as the venue's question for the account meets it."""

    def __init__(self, answer):
        self.answer, self.closed, self.asked = answer, 0, []

    def __call__(self, url, headers, **how):
        self.asked.append((url, headers, how))
        return self

    async def ask(self, request):
        self.asked.append((request.method, request.path))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self):
        self.closed += 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (SimpleNamespace(status=200, body=samples.as_json(ACCOUNT)), None),
        (SimpleNamespace(status=401, body=b"{}"), "does not accept these keys; the desk is not armed"),
        (RetryError("down", where="x", fix="y"), "cannot be reached; the desk is not armed"),
    ],
)
def test_arming_asks_the_live_host_for_the_account_and_nothing_else(monkeypatch, answer, error):
    host, keyed = LiveHost(answer), setup(keys=(Key("AK1"), Key("s")))
    monkeypatch.setattr(module, "RestClient", host)
    if error is None:
        assert asyncio.run(VENUE.live_account(keyed, AlpacaSettings())).account_id == "mine"
    else:
        with pytest.raises((ConfigError, RetryError), match=error) as caught:
            asyncio.run(VENUE.live_account(keyed, AlpacaSettings()))
        assert caught.value.fix
    assert host.asked == [
        (
            "https://api.alpaca.markets",
            {"APCA-API-KEY-ID": "AK1", "APCA-API-SECRET-KEY": "s"},
            {"connections": 1, "timeout_seconds": 10.0},
        ),
        ("GET", "/v2/account"),
    ]
    assert host.closed == 1


def test_arming_refuses_a_paper_key_before_it_asks(monkeypatch):
    host = LiveHost(None)
    monkeypatch.setattr(module, "RestClient", host)
    with pytest.raises(ConfigError, match="one for paper"):
        asyncio.run(VENUE.live_account(setup(keys=(Key("PK1"), Key("s"))), AlpacaSettings()))
    assert host.asked == []
