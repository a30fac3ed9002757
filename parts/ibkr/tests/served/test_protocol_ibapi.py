"""TWS's protocol judged by the vendor's own client, unmodified, in its thread and over real sockets."""

import threading
from decimal import Decimal

import pytest

pytest.importorskip("ibapi", reason="ibapi is not installed: pip install ibapi")
from ibapi.account_summary_tags import AccountSummaryTags
from ibapi.client import EClient
from ibapi.contract import ComboLeg, Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.wrapper import EWrapper

from scalpdesk_testing.kit.exchange import CALL, PATIENCE, PUT, SPY, VOL, Venue, plan
from scalpdesk_testing.kit.instruments import DAY, EXPIRY

pytestmark = [
    pytest.mark.enable_socket,
    # the client looks once a second whether it is still connected, and leaves its socket to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

MONTH = f"{EXPIRY:%Y%m%d}"
BID, ASK, MODEL = 1, 2, 13


def _recorded(name):
    def note(self, *values, **named):
        with self.news:
            self.calls.append((name, (*values, *named.values())))
            self.news.notify_all()

    return note


Recorder = type(
    "Recorder",
    (EWrapper,),
    {name: _recorded(name) for name in dir(EWrapper) if not name.startswith("_") and name != "logAnswer"},
)


class App(Recorder, EClient):
    """The client with every callback noted in its order."""

    def __init__(self):
        EClient.__init__(self, self)
        self.calls, self.news = [], threading.Condition()
        self._thread = threading.Thread(target=self.run, daemon=True)

    def open(self, port, client_id):
        self.connect("127.0.0.1", port, client_id)
        self._thread.start()
        self.wait("nextValidId")
        self.next_id = self.seen("nextValidId")[0][0]
        return self

    def close(self):
        self.disconnect()
        self._thread.join(5)

    def seen(self, name, *first):
        """The values of each call whose first values are these."""
        return [values for known, values in self.calls if known == name and values[: len(first)] == first]

    def wait(self, name, *first, fits=lambda *_: True):
        """Return the values of the first call that fits."""
        with self.news:
            found = self.news.wait_for(
                lambda: [each for each in self.seen(name, *first) if fits(*each)], PATIENCE
            )
        assert found, (name, first, self.calls[-5:])
        return found[0]

    def ask(self):
        """Return an id that no request has used."""
        self.next_id += 1
        return self.next_id


@pytest.fixture(scope="module")
def venue():
    running = Venue(plan())
    running.advance(3_600)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def app(venue):
    client = App().open(venue.server.protocol.port, 5)
    yield client
    client.close()


def contract(kind="STK", symbol="SPY", **terms):
    made = Contract()
    made.symbol, made.secType, made.exchange, made.currency = symbol, kind, "SMART", "USD"
    for name, value in terms.items():
        setattr(made, name, value)
    return made


def option(right="C", strike=500.0, **terms):
    return contract("OPT", lastTradeDateOrContractMonth=MONTH, strike=strike, right=right, **terms)


def order(action="BUY", quantity=1, kind="MKT", **terms):
    made = Order()
    made.action, made.totalQuantity, made.orderType = action, quantity, kind
    for name, value in terms.items():
        setattr(made, name, value)
    return made


def place(app, what, wanted):
    number = app.ask()
    app.placeOrder(number, what, wanted)
    return number


def status(app, number, wanted):
    return app.wait("orderStatus", number, wanted)


def con_id(app, what):
    number = app.ask()
    app.reqContractDetails(number, what)
    app.wait("contractDetailsEnd", number)
    return app.seen("contractDetails", number)[0][1].contract.conId


def straddle(app):
    made, legs = contract("BAG"), []
    for right in "CP":
        leg = ComboLeg()
        leg.conId, leg.ratio, leg.action, leg.exchange = con_id(app, option(right)), 1, "BUY", "SMART"
        legs.append(leg)
    made.comboLegs = legs
    return made


def quote(venue, number=SPY):
    return venue.server.world.ledger.quotes[number]


def test_the_oldest_version_is_agreed_on(app):
    assert app.serverVersion() == 157
    assert app.seen("managedAccounts") == [("DU1000001,DU1000002",)]
    for code in (2104, 2106, 2158):
        app.wait("error", -1, code)


def test_the_time_is_the_markets(app, venue):
    app.reqCurrentTime()
    assert app.wait("currentTime")[0] == venue.server.world.now_ns // 10**9


def test_contract_details_are_read_whole(app):
    number = app.ask()
    app.reqContractDetails(number, option("P", 505.0))
    app.wait("contractDetailsEnd", number)
    ((_, found),) = app.seen("contractDetails", number)
    assert (found.contract.right, found.contract.strike, found.contract.multiplier) == ("P", 505.0, "100")
    assert (found.underSymbol, found.minTick, found.timeZoneId) == ("SPY", 0.01, "US/Eastern")
    assert found.realExpirationDate == MONTH


def test_an_unknown_contract_is_200_without_an_end(app):
    number = app.ask()
    app.reqContractDetails(number, contract(symbol="NONE"))
    assert app.wait("error", number)[1] == 200
    assert app.seen("contractDetailsEnd", number) == []


def test_option_chains_are_listed(app):
    number = app.ask()
    app.reqSecDefOptParams(number, "SPX", "", "IND", 416904)
    app.wait("securityDefinitionOptionParameterEnd", number)
    rows = app.seen("securityDefinitionOptionParameter", number)
    weekly = next(row for row in rows if row[3] == "SPXW")
    assert {(row[1], row[3]) for row in rows} == {
        (venue, name) for venue in ("SMART", "CBOE") for name in ("SPX", "SPXW")
    }
    assert weekly[4] == "100"
    assert (weekly[2], weekly[5], weekly[6]) == (416904, {f"{DAY:%Y%m%d}", MONTH}, {5000.0})


def test_symbols_and_rules_are_found(app):
    number = app.ask()
    app.reqMatchingSymbols(number, "sp")
    samples = app.wait("symbolSamples", number)[1]
    assert {each.contract.symbol for each in samples} == {"SPY", "SPX"}
    app.reqMarketRule(26)
    ((_, steps),) = app.seen("marketRule", 26) or [app.wait("marketRule", 26)]
    assert [(each.lowEdge, each.increment) for each in steps] == [(0.0, 0.01)]


def test_a_line_sends_prices_with_whole_sizes(app, venue):
    number = app.ask()
    app.reqMktData(number, contract(), "", False, False, [])
    price = app.wait("tickPrice", number, BID)[2]
    size = app.wait("tickSize", number, 0)[2]
    assert (price, size) == (quote(venue).bid, int(quote(venue).bid_size))
    assert app.wait("marketDataType", number)[1] == 1
    assert app.wait("tickReqParams", number)[1] == 0.01
    assert int(app.wait("tickString", number, 45)[2]) <= venue.server.world.now_ns // 10**9
    venue.advance(60)
    now = quote(venue)
    app.wait("tickPrice", number, ASK, now.ask)
    app.cancelMktData(number)
    app.cancelMktData(number)
    assert app.wait("error", number)[1] == 300


def test_greeks_of_the_model_are_read(app):
    number = app.ask()
    app.reqMktData(number, option(), "", True, False, [])
    app.wait("tickSnapshotEnd", number)
    (computed,) = app.seen("tickOptionComputation", number, MODEL)
    vol, delta, price, _, gamma, vega, theta, spot = computed[-8:]
    assert vol == pytest.approx(VOL, abs=2e-4)
    assert 0.4 < delta < 0.6
    # Black and Scholes without rates: theta a day is minus half of the variance of gamma's dollars
    assert theta == pytest.approx(-0.5 * gamma * (spot * vol) ** 2 / 365, rel=1e-3)
    assert vega > 0
    assert price > 0


def test_a_trade_is_reported_in_its_order(app, venue):
    number = place(app, contract(), order("BUY", 10))
    report = app.wait(
        "commissionReport",
        fits=lambda each: (
            each.execId
            in {trade.execId for _, _, trade in app.seen("execDetails", -1) if trade.orderId == number}
        ),
    )[0]
    names = [
        (name, values[1] if name == "orderStatus" else None)
        for name, values in list(app.calls)
        if (name in ("openOrder", "orderStatus") and values[0] == number)
        or (name == "execDetails" and values[2].orderId == number)
        or (name == "commissionReport" and values[0] is report)
    ]
    assert names == [
        ("openOrder", None),
        ("orderStatus", "PreSubmitted"),
        ("openOrder", None),
        ("orderStatus", "Submitted"),
        ("execDetails", None),
        ("orderStatus", "Filled"),
        ("commissionReport", None),
    ]
    (trade,) = [each for _, _, each in app.seen("execDetails", -1) if each.orderId == number]
    assert (trade.side, trade.shares, trade.cumQty, trade.price) == ("BOT", 10.0, 10.0, quote(venue).ask)
    assert (report.commission, trade.time.endswith("US/Eastern")) == (1.0, True)


def test_an_order_is_modified_and_cancelled(app):
    wanted = order("BUY", 3, "LMT", lmtPrice=101.0, orderRef="ibapi")
    number = place(app, contract(), wanted)
    status(app, number, "Submitted")
    wanted.lmtPrice, wanted.totalQuantity = 102.0, 4
    app.placeOrder(number, contract(), wanted)
    shown = app.wait("openOrder", number, fits=lambda _, __, each, ___: each.lmtPrice == 102.0)[2]
    assert (shown.totalQuantity, shown.orderRef, shown.clientId) == (4.0, "ibapi", 5)
    assert len({values[2].permId for values in app.seen("openOrder", number)}) == 1
    app.cancelOrder(number)
    assert app.wait("error", number)[1] == 202
    status(app, number, "Cancelled")


@pytest.mark.parametrize(
    ("wanted", "state"),
    [
        (order("SELL", 1, "STP", auxPrice=400.0), "PreSubmitted"),
        (order("SELL", 1, "STP LMT", auxPrice=400.0, lmtPrice=399.0), "PreSubmitted"),
        (order("BUY", 1, "LMT", lmtPrice=100.0, tif="IOC"), "Cancelled"),
        (order("BUY", 1, "LMT", lmtPrice=600.0, tif="FOK"), "Filled"),
        (order("BUY", 1, "MOC"), "PreSubmitted"),
    ],
    ids=["stop", "stop-limit", "ioc", "fok", "on-close"],
)
def test_types_and_lifetimes_are_served(app, wanted, state):
    status(app, place(app, contract(), wanted), state)


def test_a_combo_trades_its_legs_together(app, venue):
    bag = straddle(app)
    number = place(app, bag, order("BUY", 2, "LMT", lmtPrice=60.0))
    status(app, number, "Filled")
    trades = [(what, each) for _, what, each in app.seen("execDetails", -1) if each.orderId == number]
    if len(trades) < 3:
        app.wait("execDetails", -1, fits=lambda _, what, each: each.orderId == number and what.right == "P")
        trades = [(what, each) for _, what, each in app.seen("execDetails", -1) if each.orderId == number]
    asks = quote(venue, CALL).ask, quote(venue, PUT).ask
    assert [what.secType for what, _ in trades] == ["BAG", "OPT", "OPT"]
    assert [each.price for _, each in trades] == [pytest.approx(sum(asks)), *asks]
    shown = app.seen("openOrder", number)[0][1]
    assert [leg.conId for leg in shown.comboLegs] == [leg.conId for leg in bag.comboLegs]


def test_completed_orders_and_executions_are_listed(app):
    number = place(app, contract(), order("BUY", 2, orderRef="listed"))
    status(app, number, "Filled")
    before = len(app.seen("completedOrdersEnd"))
    app.reqCompletedOrders(True)
    app.wait("completedOrdersEnd", fits=lambda: len(app.seen("completedOrdersEnd")) > before)
    over = {each.orderRef: (each, state) for _, each, state in app.seen("completedOrder")}
    assert over["listed"][0].filledQuantity == 2.0
    assert over["listed"][1].completedStatus == "Filled"
    asked = app.ask()
    wanted = ExecutionFilter()
    wanted.clientId, wanted.side = 5, "BUY"
    app.reqExecutions(asked, wanted)
    app.wait("execDetailsEnd", asked)
    found = [each for _, _, each in app.seen("execDetails", asked)]
    assert {"BOT"} == {each.side for each in found}
    assert "listed" in {each.orderRef for each in found}


def test_the_account_is_shown_in_every_form(app, venue):
    for what in (contract(), option("P")):
        status(app, place(app, what, order("BUY", 1)), "Filled")
    app.reqAccountUpdates(True, "DU1000001")
    app.wait("accountDownloadEnd", "DU1000001")
    values = {values[0]: values[1] for values in app.seen("updateAccountValue")}
    figures = venue.server.world.ledger.figures(venue.server.world.ledger.accounts["account-1"])
    assert Decimal(values["TotalCashValue"]) == round(figures.cash, 2)
    assert Decimal(values["BuyingPower"]) == round(figures.buying_power, 2)
    held = {values[0].localSymbol: values for values in app.seen("updatePortfolio")}
    assert held["SPY"][1] == float(venue.server.world.ledger.accounts["account-1"].quantity(SPY))
    app.reqPositions()
    app.wait("positionEnd")
    rows = {values[1].localSymbol: values for values in app.seen("position", "DU1000001")}
    put = next(values for name, values in rows.items() if "P00500000" in name)
    assert put[3] == pytest.approx(put[2] and 100 * float(held[put[1].localSymbol][4]) / 100)
    number = app.ask()
    app.reqAccountSummary(number, "All", AccountSummaryTags.AllTags)
    app.wait("accountSummaryEnd", number)
    assert {values[1] for values in app.seen("accountSummary", number)} == {"DU1000001", "DU1000002"}
    app.cancelAccountSummary(number)


def test_bars_are_read_with_whole_volumes(app, venue):
    number = app.ask()
    app.reqHistoricalData(number, contract(), "", "1200 S", "5 mins", "TRADES", 1, 2, False, [])
    app.wait("historicalDataEnd", number)
    bars = [bar for _, bar in app.seen("historicalData", number)]
    assert 4 <= len(bars) <= 5
    assert [int(bar.date) % 300 for bar in bars] == [0] * len(bars)
    assert all(bar.low <= bar.close <= bar.high for bar in bars)
    number = app.ask()
    app.reqHistoricalData(number, contract(), "", "1200 S", "1 secs", "TRADES", 1, 1, False, [])
    assert app.wait("error", number)[1] == 162


def test_a_client_id_in_use_is_326(app, venue):
    other = App()
    other.connect("127.0.0.1", venue.server.protocol.port, 5)
    runs = threading.Thread(target=other.run, daemon=True)
    runs.start()
    assert other.wait("error", -1, 326)[1] == 326
    runs.join(5)
    assert not other.isConnected()


def test_system_messages_reach_every_client(app, venue):
    venue.admin("tws/message", {"code": 1102, "text": "restored"})
    assert app.wait("error", -1, 1102)[2] == "restored"
