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
from scalpdesk.venues import AccountFacts, KnownOrder, LiveToken, VenueClock, VenueSetup, how_to_reach
from scalpdesk_alpaca import gateway as module
from scalpdesk_alpaca.queries import StartChecks
from scalpdesk_alpaca.settings import AlpacaSettings
from scalpdesk_alpaca.stream import StreamRefused
from scalpdesk_alpaca.transport import GatewayOptions
from scalpdesk_alpaca.venue import VENUE
from scalpdesk_testing.kit import alpaca_wire as samples
from scalpdesk_testing.kit.clock import ManualClock

S = 10**9
ACCOUNT = {
    "id": "mine", "status": "ACTIVE", "cash": "5", "options_trading_level": 3, "shorting_enabled": True,
}  # fmt: skip
TOKEN = LiveToken("acc", "ab" * 32, 1, "me")


class Stream:
    """A stream's connection that keeps what is done to it."""

    is_up, connections, reconnects, failure = True, 1, 2, ""

    def __init__(self, done, name="orders", fault=None):
        self.name, self.done, self.fault = name, done, fault

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


@pytest.fixture
def connect(talk, account):
    """Connect a gateway and close it; return the account, what stood, and the steps taken."""

    def run(answers=None, fault=None, **options):
        answers = account | {"GET /v2/account": (200, ACCOUNT)} | (answers or {})
        made, done = talk(answers, is_connected=False, order_connections=1, **options), []
        gateway = made.gateway
        gateway._stream = Stream(done, fault=fault)
        order = SubmitOrder("sd-1", 0, Side.BUY, 1, OrderType.MARKET, None, TimeInForce.DAY, Purpose.HEDGE)

        async def scenario():
            facts = await gateway.connect([KnownOrder(order)])
            state = gateway._path.is_open, gateway._warmer is not None, list(gateway._reports.tracker.orders)
            await gateway.close()
            return facts, state

        try:
            return (*made.run(scenario), made, done)
        except (ConfigError, RetryError) as error:
            return error, gateway._path.is_open, made, done

    return run


def test_a_gateway_checks_the_account_and_the_clock_before_it_opens_the_order_path(connect):
    facts, state, made, done = connect()
    assert (facts.account_id, facts.options_level, state) == ("mine", 3, (True, True, ["sd-1"]))
    # the second question for the clock warms the connection that orders go by
    assert [asked.path for asked in made.venue.asked] == ["/v2/account", "/v2/clock", "/v2/clock"]
    assert done == ["orders started", "orders closed"]
    assert (made.gateway._path.is_open, made.gateway._warmer.cancelled()) == (False, True)


def test_for_data_alone_no_order_path_is_opened(connect):
    onboarding = {"GET /v2/account": (200, ACCOUNT | {"status": "ONBOARDING"})}
    facts, state, made, done = connect(onboarding, data_only=True, options_level=9)
    assert (facts.status, state) == ("ONBOARDING", (False, False, []))
    assert ([asked.path for asked in made.venue.asked], done) == (
        ["/v2/account", "/v2/clock"],
        ["orders closed"],
    )


@pytest.mark.rows(
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
def test_a_connection_that_fails_says_why_and_is_closed(connect, answers, fault, error, what):
    caught, is_open, made, done = connect(answers, fault, options_level=2)
    assert type(caught) is error
    assert what in caught.what
    assert caught.fix
    assert (done[-1], is_open, made.gateway._warmer) == ("orders closed", False, None)


@pytest.mark.rows(
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


def checks(*, data_only=False, armed_for=None):
    token = None if armed_for is None else LiveToken(armed_for, "ab" * 32, 1, "me")
    endpoints = SimpleNamespace(live_token=token, is_live=token is not None, is_paper=token is None)
    options = SimpleNamespace(options_level=2, data_only=data_only, most_clock_skew_seconds=5.0)
    return StartChecks(endpoints, options, None)


def facts(name="mine", level=2, may_trade=True):
    return AccountFacts(name, "ACTIVE", "USD", 0, 0, 0, 0, level, may_trade=may_trade, may_short=True)


@pytest.mark.rows(
    ("armed_for", "account", "error", "where", "value"),
    [
        (None, facts(), None, "", None),
        ("mine", facts(level=3), None, "", None),
        (None, facts(level=1), ConfigError, "options_trading_level", "1, needed 2"),
        ("mine", facts("other"), StopError, "armed for mine", "other"),
        (None, facts(may_trade=False), ConfigError, "account status ACTIVE", None),
    ],
)
def test_the_account_is_the_armed_one_may_trade_and_has_the_level_that_is_needed(
    armed_for, account, error, where, value
):
    checks(data_only=True, armed_for=armed_for).account(account)
    if error is None:
        checks(armed_for=armed_for).account(account)
        return
    with pytest.raises(error) as caught:
        checks(armed_for=armed_for).account(account)
    assert caught.value.where == where
    assert value is None or caught.value.value == value


def test_wrong_keys_name_the_environment_and_no_key():
    assert "in the paper environment" in checks().wrong_keys("HTTP 401").what
    live = checks(armed_for="mine").wrong_keys("HTTP 401")
    assert ("in the live environment" in live.what, live.value) == (True, "HTTP 401")


@pytest.mark.rows(("off_ns", "passes"), [(5 * S, True), (-5 * S, True), (5 * S + 1, False), (-6 * S, False)])
def test_the_machines_clock_may_be_off_by_the_skew_and_no_more(off_ns, passes):
    venue = VenueClock(100 * S + off_ns, True, 0, 0)
    if passes:
        checks().clock(venue, ManualClock(100 * S))
        clock = FollowingClock()
        checks().clock(venue, clock)  # one that follows the venue is set
        assert clock.now_ns() == venue.now_ns
        return
    with pytest.raises(ConfigError, match="clock is off") as caught:
        checks().clock(venue, ManualClock(100 * S))
    assert caught.value.value == f"{off_ns / S:+.1f} s"


# state ----------------------------------------------------------------------------------------------


@pytest.fixture
def standing(talk):
    """Return a conversation whose streams keep what is done to them."""
    made, done = talk(requests_per_minute=77), []
    made.gateway._stream = Stream(done)
    streams = [Stream(done, name) for name in ("stocks", "options")]
    made.gateway._data = SimpleNamespace(connections=lambda: streams)
    return made, done


def test_the_state_shows_every_stream_and_the_budget(standing):
    made, _ = standing
    made.gateway._publisher.count("stale")
    shown = made.health()
    assert shown.streams == {"orders": True, "stocks": True, "options": True}
    assert shown.silent_seconds == {"orders": 4.4, "stocks": 4.4, "options": 4.4}
    assert shown.counters == {"stale": 1, "merged_quotes": 0, "reconnects": 6}
    assert (shown.in_flight, shown.unknown, shown.requests_left) == (0, (), 77)


def test_only_a_data_stream_that_is_silent_is_replaced(standing):
    made, done = standing
    for stream in ("orders", "stocks", "options"):
        made.run(lambda stream=stream: made.gateway.reconnect(stream))
    assert done == [(stream, "silent", "no message for 4 s") for stream in ("stocks", "options")]
    assert made.gateway._publisher.counters == {"stocks_renewed": 1, "options_renewed": 1}


# how it is built ------------------------------------------------------------------------------------


def setup(**changes):
    given = {
        "instruments": Instruments([Equity("SPY")]),
        "clock": ManualClock(0),
        "keys": (Key("k"), Key("s")),
    }
    return VenueSetup(**(given | changes))


def test_a_gateway_goes_to_the_paper_host_unless_it_is_armed_or_has_an_address():
    paper, live, at = (
        VENUE.build(setup(**changes), AlpacaSettings())._endpoints
        for changes in ({}, {"live_token": TOKEN}, {"url": "http://127.0.0.1:9/"})
    )
    assert (paper.trading_url, paper.is_live) == ("https://paper-api.alpaca.markets", False)
    assert (live.trading_url, live.live_token) == ("https://api.alpaca.markets", TOKEN)
    assert (at.trading_url, at.orders_url) == ("http://127.0.0.1:9", "ws://127.0.0.1:9/stream")
    settings = AlpacaSettings(stock_feed="sip", option_feed="opra")
    for changes in ({}, {"live_token": TOKEN}, {"url": "http://127.0.0.1:9/"}):
        fed = VENUE.build(setup(**changes), settings)._endpoints
        assert (fed.stock_feed, fed.option_feed) == ("sip", "opra")
    assert (paper.stock_feed, paper.option_feed) == ("iex", "indicative")
    assert repr(VENUE.build(setup(), AlpacaSettings())) == "AlpacaGateway('https://paper-api.alpaca.markets')"


def test_what_is_set_up_reaches_the_gateway_and_the_rest_is_as_in_a_plain_configuration():
    given = {"options_level": 1, "timeout_seconds": 7.0, "requests_per_minute": 13, "heartbeat_seconds": 19.0}
    made = VENUE.build(
        setup(**given, acceptance_seconds=11.0, data_only=True), AlpacaSettings(data_requests_per_minute=17)
    )
    expected = GatewayOptions(
        **given, absent_after_seconds=11.0, data_requests_per_minute=17, data_only=True, fees=setup().fees
    )
    assert (made._options, made._budget.per_minute) == (expected, 13)
    streams = (made._stream, made._data._stocks.connection, made._data._options.connection)
    assert [each._target.heartbeat_seconds for each in streams] == [19.0] * 3
    plain, section = VENUE.build(setup(), AlpacaSettings())._options, VenueSettings()
    assert (plain, plain.requests_per_minute) == (GatewayOptions(), module.REQUESTS_PER_MINUTE)
    for name in ("timeout_seconds", "heartbeat_seconds"):
        assert getattr(plain, name) == getattr(section, name)
    assert (module.KEEP_WARM_SECONDS, module.QUERY_CONNECTIONS, module.QUERY_TIMEOUTS) == (25.0, 4, 4)


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


@pytest.mark.rows(
    ("key", "answer", "error"),
    [
        ("AK1", SimpleNamespace(status=200, body=samples.as_json(ACCOUNT)), None),
        ("AK1", SimpleNamespace(status=401, body=b"{}"), "does not accept these keys; the desk is not armed"),
        ("AK1", RetryError("down", where="x", fix="y"), "cannot be reached; the desk is not armed"),
        ("PK1", None, "one for paper; the desk is not armed"),  # refused before it asks
    ],
)
def test_arming_asks_the_live_host_for_the_account_and_nothing_else(monkeypatch, key, answer, error):
    host, keyed = LiveHost(answer), setup(keys=(Key(key), Key("s")))
    monkeypatch.setattr(module, "RestClient", host)
    if error is None:
        assert asyncio.run(VENUE.live_account(keyed, AlpacaSettings())).account_id == "mine"
    else:
        with pytest.raises((ConfigError, RetryError), match=error) as caught:
            asyncio.run(VENUE.live_account(keyed, AlpacaSettings()))
        assert caught.value.fix
    headers = {"APCA-API-KEY-ID": "AK1", "APCA-API-SECRET-KEY": "s"}
    how = {"connections": 1, "timeout_seconds": 10.0}
    asked = [("https://api.alpaca.markets", headers, how), ("GET", "/v2/account")]
    assert (host.asked, host.closed) == (([], 0) if answer is None else (asked, 1))
