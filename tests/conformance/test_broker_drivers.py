"""One broker, five drivers: backtest, simulated venue, sandbox, and the exchange served over two protocols.

They give the same answers.

A question is a tape, an account and what a client sends when. Each driver plays it its own way, at no
latency, to the end of the tape's session; then orders, holdings and cash are read from it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from scalpdesk.backtesting.runner import BacktestRunner
from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.events import Event, OrderFilled, OrderRejected, QuoteEvent
from scalpdesk.core.intents import (
    CancelOrder,
    MultiLegOrder,
    OrderType,
    Purpose,
    Side,
    Stop,
    SubmitOrder,
    TimeInForce,
    VenueCommand,
)
from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import NEVER_NS
from scalpdesk.exchange.market import MarketTerms, SimulatedMarket
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.instruments.fees import NO_FEES
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.marketdata.triggers import EveryQuote
from scalpdesk.simulation.accounts import AccountTerms, BrokerAccount
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.connection import BrokerConnection
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.simulation.order_entry import VenueRules
from scalpdesk.simulation.orders import BrokerOrder
from scalpdesk.venues.simulated import PlayedSession, SandboxGateway, SimulatedGateway
from scalpdesk_ibkr.served.layouts import (
    PLACED_CLEARING,
    PLACED_HEAD,
    PLACED_HEDGE,
    PLACED_TERMS,
    PLACED_TRAIL,
)
from scalpdesk_ibkr.served.session import ClientSession, TwsMarket
from scalpdesk_ibkr.served.wire import encode
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.desk import Scripted, build_engine
from scalpdesk_testing.kit.exchange import Bench
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at

D = Decimal
SHARE, CALL, PUT = 0, 1, 2
BUY, SELL = Side.BUY, Side.SELL


class Replacement(NamedTuple):
    """What a client of a served protocol asks, and no desk: another order in the place of one at work."""

    client_order_id: str
    replacement: SubmitOrder


Act = VenueCommand | Replacement | Callable[[Broker], object]
"""A command of the client, or something that befalls the broker."""


class Outcome(NamedTuple):
    """Where an order ended: status, filled quantity, mean price."""

    status: str
    filled: int
    price: str


@dataclass
class Question:
    """The session that is played."""

    tape: MarketTape
    acts: Sequence[tuple[str, Act]]
    """New York time, and what happens after the quotes of that instant."""
    cash: int = 100_000
    held: dict[int, int] = field(default_factory=dict)
    terms: dict[str, Any] = field(default_factory=dict)

    def due(self, now_ns: int) -> list[Act]:
        return [act for when, act in self.acts if at(when) == now_ns]

    def connect(self) -> BrokerConnection:
        return connect(
            self.tape.instruments,
            cash=self.cash,
            positions=self.held,
            hours=TapeHours(self.tape.sessions),
            is_open=False,
            **self.terms,
        )


class Answer(NamedTuple):
    """The result of a driver."""

    orders: dict[str, Outcome]
    holdings: dict[int, int]
    cash: str


def read(account: BrokerAccount) -> Answer:
    """Read the broker's own truth."""
    orders = {}
    for order in account.orders.values():
        price = "" if order.average is None else f"{order.average:.2f}"
        if order.instrument_id is not None:
            orders[order.client_order_id] = Outcome(order.status.value, int(order.filled), price)
    held = {int(number): int(one.quantity) for number, one in sorted(account.holdings.items())}
    return Answer(orders, held, f"{account.cash:.2f}")


class Client:
    """Carries acts out over a connection and keeps what comes back."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.connection = question.connect()
        self.events: list[Event] = []

    def acts_after(self, event: Event) -> list[VenueCommand]:
        """Return the commands that follow an event: the share's quote is the last of an instant."""
        commands = []
        if isinstance(event, QuoteEvent) and event.instrument_id == SHARE:
            for act in self.question.due(event.ts_recv_ns):
                if callable(act):
                    act(self.connection.broker)
                else:
                    commands.append(act)
        return commands

    def answer(self) -> tuple[Answer, list[str]]:
        rejected = [one.client_order_id for one in self.events if isinstance(one, OrderRejected)]
        found = read(self.connection.account)
        filled: dict[str, int] = {}
        for one in self.events:
            if isinstance(one, OrderFilled):
                filled[one.client_order_id] = filled.get(one.client_order_id, 0) + int(one.quantity)
        # what the desk was sent is what the broker booked
        assert filled == {name: one.filled for name, one in found.orders.items() if one.filled}
        return found, rejected


def backtest(question: Question) -> tuple[Answer, list[str]]:
    client = Client(question)

    class Engine:
        desk = build_engine(Scripted(), question.tape.instruments).desk
        triggers = (EveryQuote(0),) * len(question.tape.instruments)
        evaluations = 0

        def handle(self, event):
            client.events.append(event)
            return tuple(client.acts_after(event))

    runner = BacktestRunner(question.tape, Engine(), client.connection)
    client.connection.broker.ledger.keeps_filled = True  # the answer is what its account says
    runner.run()
    return client.answer()


def simulated(question: Question) -> tuple[Answer, list[str]]:
    client = Client(question)

    async def play() -> None:
        gateway = SimulatedGateway(PlayedSession(question.tape, client.connection), FollowingClock())
        await gateway.connect()
        await gateway.subscribe(())
        async for event in gateway.events():
            client.events.append(event)
            for command in client.acts_after(event):
                gateway.send(command)

    asyncio.run(play())
    return client.answer()


class TapeFeed:
    """A data gateway whose quotes come from a tape; ``seen`` is called after each."""

    def __init__(self, question: Question, clock: FollowingClock, seen: Callable[[QuoteEvent], None]) -> None:
        self._quotes = TapeSource(question.tape)
        self._clock, self._seen = clock, seen

    async def connect(self) -> None:
        return None

    async def events(self) -> AsyncIterator[QuoteEvent]:
        while self._quotes.next_ns() < NEVER_NS:
            for quote in self._quotes.take_next():
                self._clock.observe(quote.ts_recv_ns)
                yield quote
                self._seen(quote)

    async def close(self, *, graceful: bool) -> None:
        del graceful


def sandbox(question: Question) -> tuple[Answer, list[str]]:
    client, session = Client(question), question.tape.sessions[0]
    clock = FollowingClock(session.open_ns)

    def act(quote: QuoteEvent) -> None:
        for command in client.acts_after(quote):
            gateway.send(command)

    hours = TapeHours(question.tape.sessions)
    gateway = SandboxGateway(TapeFeed(question, clock, act), client.connection, clock, hours)

    async def play() -> None:
        await gateway.connect()
        await asyncio.sleep(0)  # the whole tape is fed in one turn
        await gateway.close()
        client.events += [item async for item in gateway.events()]
        for at_ns in (session.close_ns, session.close_ns + 1):
            client.events += gateway.advance(at_ns)

    asyncio.run(play())
    return client.answer()


class ServedQuestion:
    """A question put to the served exchange by a client of one of its protocols, without a socket."""

    question: Question
    world: SimulatedMarket
    account: BrokerAccount
    rejected: list[str]

    def carry_out(self, act: VenueCommand | Replacement) -> None:
        raise NotImplementedError

    def play(self) -> tuple[Answer, list[str]]:
        for when in sorted({when for when, _ in self.question.acts}):
            self.world.advance_to(at(when))
            for act in self.question.due(at(when)):
                if callable(act):
                    act(self.world.broker)
                    self.world.settle()
                else:
                    self.carry_out(act)
        self.world.advance_to(cleared_ns(self.question.tape.sessions[0].close_ns))
        return read(self.account), self.rejected


class AlpacaClient(ServedQuestion, Bench):
    """The served exchange, asked over Alpaca's protocol without a socket."""

    def __init__(self, question: Question) -> None:
        super().__init__(TapeSource(question.tape), options={"cutoff": False, "liquidation": False})
        name = self.credentials[0].account
        positions = {number: (D(quantity), D(0)) for number, quantity in question.held.items()}
        terms = AccountTerms(name=name, cash=D(question.cash), positions=positions, **question.terms)
        self.account = self.world.open_account(terms)
        self.question = question
        self.rejected: list[str] = []

    def symbol(self, number: int) -> str:
        return self.world.ledger.instruments[number].symbol

    def carry_out(self, act: VenueCommand | Replacement) -> None:
        if isinstance(act, SubmitOrder):
            self.post(act.client_order_id, self.body(act))
        elif isinstance(act, MultiLegOrder):
            self.combo(act)
        else:
            order = self.account.by_client_id[act.client_order_id]
            path = f"/v2/orders/{order.order_id}"
            if isinstance(act, CancelOrder):
                self.ask("DELETE", path)
            else:
                new = act.replacement
                body = {
                    "qty": str(order.filled + new.quantity),
                    "client_order_id": new.client_order_id,
                } | self.prices(new)
                if self.ask("PATCH", path, body).status >= 400:
                    self.rejected.append(new.client_order_id)

    def body(self, act: SubmitOrder) -> dict[str, Any]:
        body = {
            "symbol": self.symbol(act.instrument_id),
            "qty": str(act.quantity),
            "side": act.side.value,
            "type": act.type_name,
            "time_in_force": act.time_in_force.value,
            "client_order_id": act.client_order_id,
        }
        return body | self.prices(act)

    @staticmethod
    def prices(act: SubmitOrder) -> dict[str, str]:
        named = {"limit_price": act.limit_price, "stop_price": act.trigger_price}
        return {name: str(price) for name, price in named.items() if price is not None}

    def post(self, name: str, body: dict[str, Any]) -> bool:
        taken = self.ask("POST", "/v2/orders", body).status < 400
        if not taken:
            self.rejected.append(name)
        return taken

    def combo(self, act: MultiLegOrder) -> None:
        units = min(leg.quantity for leg in act.legs)
        legs = [
            {
                "symbol": self.symbol(leg.instrument_id),
                "side": leg.side.value,
                "position_intent": f"{leg.side.value}_to_open",
                "ratio_qty": str(leg.quantity / units),
            }
            for leg in act.legs
        ]
        body = {
            "order_class": "mleg",
            "type": "market" if act.net_limit_price is None else "limit",
            "time_in_force": act.time_in_force.value,
            "qty": str(units),
            "client_order_id": act.client_order_id,
            "legs": legs,
        }
        if act.net_limit_price is not None:
            body["limit_price"] = str(act.net_limit_price)
        if not self.post(act.client_order_id, body):
            self.rejected[-1:] = [leg.client_order_id for leg in act.legs]
            return
        # the protocol has no client's ids of legs: they are known by their place
        parent = self.account.by_client_id[act.client_order_id]
        for leg, asked in zip(parent.legs, act.legs, strict=True):
            leg.client_order_id = asked.client_order_id


class TwsClient(ServedQuestion):
    """The served exchange, asked in frames of TWS without a socket."""

    VERSION = 178

    def __init__(self, question: Question) -> None:
        # the question's terms are those of the broker, not of the venue
        terms = MarketTerms(fees=NO_FEES, rules=VenueRules())
        self.question = question
        self.world = SimulatedMarket(TapeSource(question.tape), terms)
        positions = {number: (D(quantity), D(0)) for number, quantity in question.held.items()}
        terms = AccountTerms(name="mine", cash=D(question.cash), positions=positions, **question.terms)
        self.account = self.world.open_account(terms)
        self.world.advance_to(self.world.source.start_ns)
        self.errors: list[int] = []
        """Order ids of errors that refuse something."""
        self.ids: dict[str, int] = {}
        self.rejected: list[str] = []
        self.market = TwsMarket(world=self.world, codes={"DU1": "mine"})
        self.session = ClientSession(self.VERSION, self.market, self.hear)
        self.ask(71, 2, 1, "")

    def hear(self, frame: bytes) -> None:
        kind, _, number, code, *_ = (*frame[4:].decode().split("\0"), "", "")
        if kind == "4" and number != "-1" and code not in ("202", "399"):
            self.errors.append(int(number))

    def ask(self, *fields: Any) -> None:
        self.session.receive(encode(*fields)[4:])
        self.world.settle()

    def carry_out(self, act: VenueCommand | Replacement) -> None:
        if isinstance(act, SubmitOrder):
            name = act.client_order_id
            if not self.place(name, self.contract(act.instrument_id), act.side, act.quantity, act):
                self.rejected.append(name)
        elif isinstance(act, MultiLegOrder):
            self.combo(act)
        elif isinstance(act, CancelOrder):
            self.ask(4, 1, self.ids[act.client_order_id], "")
        else:
            self.replace(act)

    def contract(self, number: int) -> tuple[Any, ...]:
        return (self.market.contracts.con_id(number), *[""] * 11)

    def place(
        self,
        name: str,
        contract: tuple[Any, ...],
        side: Side,
        quantity: Decimal,
        act: SubmitOrder | MultiLegOrder,
        legs: tuple[Any, ...] = (),
    ) -> bool:
        """Send an order under its name's id; return whether nothing refuses it."""
        number = self.ids.setdefault(name, self.market.orders.next_id(1))
        price = act.net_limit_price if isinstance(act, MultiLegOrder) else act.limit_price
        trigger = None if isinstance(act, MultiLegOrder) else act.trigger_price
        kinds = {(False, False): "MKT", (True, False): "LMT", (False, True): "STP", (True, True): "STP LMT"}
        head = {
            "action": side.name,
            "totalQuantity": quantity,
            "orderType": kinds[price is not None, trigger is not None],
            "lmtPrice": price,
            "auxPrice": trigger,
            "tif": act.time_in_force.name,
            "orderRef": name,
            "transmit": 1,
        }
        rest = [
            field
            for layout in (PLACED_TERMS, PLACED_TRAIL, PLACED_HEDGE, PLACED_CLEARING)
            for field in layout.write(self.VERSION, {})
        ]
        self.errors.clear()
        self.ask(3, number, *contract, *PLACED_HEAD.write(self.VERSION, head), *legs, *rest, "", "", 0)
        return number not in self.errors

    def replace(self, act: Replacement) -> None:
        new, old_name = act.replacement, act.client_order_id
        order = self.account.by_client_id[old_name]
        self.ids[new.client_order_id] = self.ids[old_name]
        contract, total = self.contract(new.instrument_id), order.filled + new.quantity
        if self.place(new.client_order_id, contract, new.side, total, new):
            self.rename(list(self.account.orders.values())[-1], new.client_order_id)
        else:
            self.rejected.append(new.client_order_id)

    def combo(self, act: MultiLegOrder) -> None:
        legs: list[Any] = [len(act.legs)]
        for leg in act.legs:
            con_id, ratio = self.market.contracts.con_id(leg.instrument_id), leg.quantity / act.sets
            legs += [con_id, ratio, leg.side.name, "SMART", 0, 0, "", -1]
        bag = (0, "SPY", "BAG", *[""] * 9)
        if not self.place(act.client_order_id, bag, Side.BUY, act.sets, act, (*legs, 0, 0)):
            self.rejected += [leg.client_order_id for leg in act.legs]
            return
        # the protocol has no client's ids of legs: they are known by their place
        parent = self.account.by_client_id[act.client_order_id]
        for leg, asked in zip(parent.legs, act.legs, strict=True):
            self.rename(leg, asked.client_order_id)

    def rename(self, order: BrokerOrder, name: str) -> None:
        order.client_order_id = name
        self.account.by_client_id[name] = order


def served_over_tws(question: Question) -> tuple[Answer, list[str]]:
    return TwsClient(question).play()


def served(question: Question) -> tuple[Answer, list[str]]:
    return AlpacaClient(question).play()


PROTOCOLS = (served, served_over_tws)
DRIVERS = (backtest, simulated, sandbox, *PROTOCOLS)


asked_of_every_driver = pytest.mark.rows("driver", DRIVERS)


def order(name, number=SHARE, side=BUY, quantity=10, limit=None, tif=TimeInForce.DAY, *, stop=None):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    if stop is not None:
        kind = Stop(D(stop))
    price = None if limit is None else D(limit)
    return SubmitOrder(name, number, side, D(quantity), kind, price, tif, Purpose.OPEN)


def straddle(name, quantity, net=None):
    legs = (order(f"{name}-call", CALL, BUY, quantity), order(f"{name}-put", PUT, BUY, quantity))
    return MultiLegOrder(name, legs, None if net is None else D(net))


def tape(*rows, last=None, expiry=None):
    """Return a tape: (time, spot) with the call at 9.00/9.10 and the put at 8.00/8.10; sizes 1,000."""
    book = straddle_book(500) if expiry is None else straddle_book(500, expiry=expiry)
    builder = TapeBuilder(book)
    for when, spot, *sizes in rows:
        size, call_size = (*sizes, 1_000.0, 1_000.0)[:2]
        builder.quote(CALL, when, 9.00, 9.10, call_size, call_size)
        builder.quote(PUT, when, 8.00, 8.10, 1_000.0, 1_000.0)
        builder.quote(SHARE, when, spot - 0.01, spot + 0.01, size, size)
    if last is not None:
        builder.quote(SHARE, "16:00", last - 0.01, last + 0.01)
    return builder.build()


CALM = (("10:00", 500.0), ("10:01", 501.0), ("10:02", 502.0))


@asked_of_every_driver
def test_a_market_order_pays_the_far_side_and_a_resting_one_its_limit(driver):
    acts = [("10:00", order("m")), ("10:00", order("l", SHARE, BUY, 5, "499.00"))]
    answer, rejected = driver(Question(tape(("10:00", 500.0), ("10:01", 498.9)), acts))
    assert rejected == []
    assert answer.orders == {"m": ("filled", 10, "500.01"), "l": ("filled", 5, "499.00")}
    assert (answer.holdings, answer.cash) == ({SHARE: 15}, "92504.90")


@asked_of_every_driver
def test_10_000_shares_do_not_fit_an_account_of_10_000(driver):
    answer, rejected = driver(Question(tape(*CALM), [("10:00", order("big", quantity=10_000))], cash=10_000))
    assert (answer.orders, rejected) == ({}, ["big"])
    assert (answer.holdings, answer.cash) == ({}, "10000.00")


@asked_of_every_driver
def test_500_uncovered_calls_are_refused_and_covered_ones_are_not(driver):
    acts = [("10:00", order("naked", CALL, SELL, 500)), ("10:01", order("covered", CALL, SELL, 1))]
    answer, rejected = driver(Question(tape(*CALM), acts, held={SHARE: 100}))
    assert rejected == ["naked"]
    assert answer.orders == {"covered": ("filled", 1, "9.00")}
    assert answer.holdings == {SHARE: 100, CALL: -1}


@asked_of_every_driver
def test_day_buying_power_is_four_times_what_is_free(driver):
    acts = [("10:00", order("80", quantity=80)), ("10:00", order("79", quantity=79))]
    answer, rejected = driver(Question(tape(*CALM), acts, cash=10_000))
    assert (answer.holdings, rejected) == ({SHARE: 79}, ["80"])  # at 500.01 a share


@asked_of_every_driver
def test_a_cash_account_sells_nothing_short_and_borrows_nothing(driver):
    acts = [
        ("10:00", order("short", SHARE, SELL, 1)),
        ("10:00", order("20", quantity=20)),
        ("10:00", order("19", quantity=19)),
    ]
    answer, rejected = driver(Question(tape(*CALM), acts, cash=10_000, terms={"multiplier": 1}))
    assert (answer.holdings, rejected) == ({SHARE: 19}, ["short", "20"])


@asked_of_every_driver
@pytest.mark.rows(("level", "taken"), [(0, set()), (1, set()), (2, {"long"}), (3, {"long", "both"})])
def test_the_options_level_decides_what_may_be_opened(driver, level, taken):
    acts = [("10:00", order("long", CALL)), ("10:01", straddle("both", 1))]
    answer, rejected = driver(Question(tape(*CALM), acts, terms={"options_level": level}))
    names = {"long": {"long"}, "both": {"both-call", "both-put"}}
    expected = set().union(*(names[one] for one in taken))
    assert {name for name, one in answer.orders.items() if one.filled} == expected
    assert set(rejected) == {"long", "both-call", "both-put"} - expected


@asked_of_every_driver
def test_the_brokers_day_trade_flag_lets_positions_be_closed_only(driver):
    acts = [("10:00", order("close", SHARE, SELL, 10)), ("10:01", order("open", SHARE, BUY, 1))]
    answer, rejected = driver(
        Question(tape(*CALM), acts, held={SHARE: 10}, terms={"day_trades_blocked": True})
    )
    assert (answer.holdings, rejected) == ({}, ["open"])


@asked_of_every_driver
def test_no_more_trades_than_is_displayed_and_the_rest_waits_for_new_size(driver):
    market = tape(("10:00", 500.0, 4.0), ("10:01", 501.0, 5.0), ("10:02", 502.0, 5.0))
    answer, _ = driver(Question(market, [("10:00", order("part"))]))
    assert answer.orders == {"part": ("filled", 10, "500.71")}  # 4 x 500.01, 5 x 501.01, 1 x 502.01


@asked_of_every_driver
def test_all_legs_of_a_combo_trade_in_their_ratio_or_none(driver):
    market = tape(("10:00", 500.0, 1_000.0, 1.0), ("10:01", 500.0, 1_000.0, 0.9), ("10:02", 500.0, 1e3, 4.0))
    answer, _ = driver(Question(market, [("10:00", straddle("five", 5, "17.20"))]))
    assert answer.orders["five-call"].filled == answer.orders["five-put"].filled == 5
    too_dear = Question(market, [("10:00", straddle("cheap", 5, "17.19"))])
    answer, _ = driver(too_dear)
    assert {one.status for one in answer.orders.values()} == {"expired"}
    assert (answer.holdings, answer.cash) == ({}, "100000.00")
    first_only = Question(tape(("10:00", 500.0, 1_000.0, 1.0)), [("10:00", straddle("five", 5))])
    answer, _ = driver(first_only)
    assert [(one.status, one.filled) for one in answer.orders.values()] == [("expired", 1)] * 2
    assert answer.holdings == {CALL: 1, PUT: 1}


@asked_of_every_driver
def test_a_cancel_ends_what_rests_and_comes_too_late_for_what_is_filled(driver):
    acts = [
        ("10:00", order("rests", limit="490.00")),
        ("10:00", order("fills")),
        ("10:01", CancelOrder("rests")),
        ("10:01", CancelOrder("fills")),
    ]
    answer, _ = driver(Question(tape(*CALM), acts))
    assert answer.orders == {"rests": ("canceled", 0, ""), "fills": ("filled", 10, "500.01")}


FALLING = (("10:00", 500.0), ("10:01", 496.0), ("10:02", 494.0), ("10:03", 490.0), ("10:04", 496.0))


@asked_of_every_driver
def test_a_stop_waits_for_its_trigger_and_trades_at_the_market_then(driver):
    acts = [
        ("10:00", order("sell", side=SELL, quantity=4, stop="495")),
        ("10:00", order("buy", CALL, quantity=1, stop="9.50")),
        ("10:01", order("later", side=SELL, quantity=6, stop="493.50")),
    ]
    answer, rejected = driver(Question(tape(*FALLING), acts, held={SHARE: 10}))
    assert rejected == []
    assert answer.orders == {
        "sell": ("filled", 4, "493.99"),
        "buy": ("expired", 0, ""),
        "later": ("filled", 6, "489.99"),  # the price went over the trigger: at what was bid then
    }
    assert (answer.holdings, answer.cash) == ({}, "104915.90")


@asked_of_every_driver
def test_a_stop_limit_that_the_price_went_over_rests_at_its_limit(driver):
    acts = [
        ("10:02", order("over", side=SELL, quantity=5, limit="492.00", stop="493.00")),
        ("10:02", order("near", side=SELL, quantity=5, limit="489.00", stop="493.00")),
    ]
    answer, _ = driver(Question(tape(*FALLING), acts, held={SHARE: 10}))
    assert answer.orders == {
        "over": ("filled", 5, "492.00"),  # on the way back: no sale below the limit at 489.99
        "near": ("filled", 5, "489.99"),
    }


@asked_of_every_driver
def test_a_bought_stop_asks_for_what_it_costs_at_its_trigger(driver):
    acts = [
        ("10:00", order(name, quantity=quantity, stop="510")) for name, quantity in (("20", 20), ("19", 19))
    ]
    answer, rejected = driver(Question(tape(*CALM), acts, cash=10_000, terms={"multiplier": 1}))
    assert (answer.orders, rejected) == ({"19": ("expired", 0, "")}, ["20"])


@pytest.mark.parametrize("driver", PROTOCOLS)
def test_a_stop_that_waits_holds_its_shares_can_be_moved_and_cancelled(driver):
    acts = [
        ("10:00", order("first", side=SELL, stop="480")),
        ("10:00", order("more", side=SELL, quantity=1)),  # all ten are held for the stop
        ("10:01", Replacement("first", order("second", side=SELL, stop="493.50"))),
        ("10:02", Replacement("second", order("third", side=SELL, stop="485"))),
        ("10:04", CancelOrder("third")),
    ]
    answer, rejected = driver(Question(tape(*FALLING), acts, held={SHARE: 10}))
    assert rejected == ["more"]
    assert answer.orders == {
        "first": ("replaced", 0, ""),
        "second": ("replaced", 0, ""),
        "third": ("canceled", 0, ""),
    }
    assert answer.holdings == {SHARE: 10}


@pytest.mark.parametrize("driver", PROTOCOLS)
def test_a_replacement_takes_the_place_of_its_order_and_asks_for_its_margin(driver):
    acts = [
        ("10:00", order("old", limit="490.00")),
        ("10:01", Replacement("old", order("new", quantity=7, limit="501.50"))),
        ("10:01", order("other", quantity=1, limit="480.00")),
        ("10:02", Replacement("other", order("huge", quantity=10_000, limit="480.00"))),
    ]
    answer, rejected = driver(Question(tape(*CALM), acts))
    assert rejected == ["huge"]
    assert answer.orders == {
        "old": ("replaced", 0, ""),
        "new": ("filled", 7, "501.01"),
        "other": ("expired", 0, ""),
    }


@asked_of_every_driver
def test_an_order_may_not_turn_a_holding_round(driver):
    acts = [("10:00", order("flip", SHARE, SELL, 11)), ("10:01", order("close", SHARE, SELL, 10))]
    answer, rejected = driver(Question(tape(*CALM), acts, held={SHARE: 10}))
    assert (rejected, answer.holdings) == (["flip"], {})


@asked_of_every_driver
def test_orders_of_the_day_end_with_it_and_others_do_not(driver):
    acts = [
        ("10:00", order("day", limit="490.00")),
        ("10:00", order("gtc", quantity=1, limit="490.00", tif=TimeInForce.GTC)),
        ("10:00", order("ioc", limit="490.00", tif=TimeInForce.IOC)),
        ("10:00", order("fok", quantity=2_000, tif=TimeInForce.FOK)),
    ]
    answer, _ = driver(Question(tape(*CALM), acts, cash=1_000_000))
    assert {name: one.status for name, one in answer.orders.items()} == {
        "day": "expired",
        "gtc": "new",
        "ioc": "canceled",
        "fok": "canceled",
    }


@asked_of_every_driver
def test_nothing_trades_in_a_halt_and_everything_after_it(driver):
    acts = [
        ("10:00", lambda broker: broker.halt(SHARE)),
        ("10:00", order("waits")),
        ("10:02", lambda broker: broker.resume(SHARE)),
    ]
    answer, _ = driver(Question(tape(*CALM), acts))
    assert answer.orders == {"waits": ("filled", 10, "502.01")}


@asked_of_every_driver
def test_an_expiring_option_in_the_money_becomes_shares_and_the_other_nothing(driver):
    market = tape(*CALM, last=507.0, expiry=DAY)
    answer, _ = driver(Question(market, [], held={CALL: 1, PUT: 1}))
    assert (answer.holdings, answer.cash) == ({SHARE: 100}, "50000.00")
    answer, _ = driver(Question(market, [], held={SHARE: 100, CALL: -1}))
    assert (answer.holdings, answer.cash) == ({}, "150000.00")


@asked_of_every_driver
def test_orders_in_a_contract_end_with_it(driver):
    market = tape(*CALM, last=507.0, expiry=DAY)
    acts = [("10:00", order("bid", CALL, BUY, 1, "1.00")), ("10:00", straddle("pair", 1, "2.00"))]
    answer, _ = driver(Question(market, acts))
    assert {one.status for one in answer.orders.values()} == {"expired"}


@asked_of_every_driver
def test_an_assignment_delivers_before_the_end(driver):
    def assign(broker):
        (account,) = (one for one in broker.ledger.accounts.values() if one.holdings)
        assert broker.expiry.assign(account.name, CALL, D(1))

    answer, _ = driver(Question(tape(*CALM), [("10:01", assign)], held={SHARE: 200, CALL: -2}))
    assert (answer.holdings, answer.cash) == ({SHARE: 100, CALL: -1}, "150000.00")


@asked_of_every_driver
def test_a_dividend_and_a_split_reach_the_account(driver):
    split = CorporateAction(symbol="SPY", ex_date=DAY, kind=ActionKind.SPLIT, ratio=D("0.25"))
    acts = [
        ("10:00", lambda broker: broker.actions.pay_dividend(SHARE, D("1.25"))),
        ("10:01", lambda broker: broker.actions.apply(split)),
    ]
    answer, _ = driver(Question(tape(*CALM), acts, held={SHARE: 103}))
    # 103 at 1.25, then one for four at 501: three quarters of a new share are paid at 2004
    assert (answer.holdings, answer.cash) == ({SHARE: 25}, f"{100_000 + 128.75 + 0.75 * 2_004:.2f}")


def test_a_refusal_names_its_cause_and_its_figures():
    session = session_on(DAY)
    connection = Question(tape(*CALM), [], cash=10_000).connect()
    connection.open_session(session.open_ns, session.close_ns)
    connection.on_quote(QuoteEvent(SHARE, session.open_ns, session.open_ns, 499.99, 500.01, 9.0, 9.0))
    request = connection._request(order("big", quantity=10_000))
    with pytest.raises(Refused) as caught:
        connection.broker.submit(connection.account.name, request)
    assert caught.value.cause is Cause.BUYING_POWER
    assert caught.value.facts == {"buying_power": "40000.00", "cost_basis": "5000100.00"}


@asked_of_every_driver
def test_an_option_trades_on_no_quote_that_the_share_has_left_behind(driver):
    """The put is quoted at 8 when the share is 500 and no more; at 480 it pays 20."""
    builder = TapeBuilder(straddle_book(500))
    builder.quote(PUT, "10:00", 8.00, 8.10, 1_000.0, 1_000.0)
    for when, spot in (("10:00", 500.0), ("10:01", 480.0), ("10:05", 480.0)):
        builder.quote(SHARE, when, spot - 0.01, spot + 0.01, 1_000.0, 1_000.0)
    builder.quote(PUT, "10:05", 20.40, 20.60, 1_000.0, 1_000.0)
    acts = [
        ("10:01", order("market", PUT, SELL, 1)),
        ("10:01", order("limit", PUT, SELL, 1, "15.30")),
    ]
    answer, rejected = driver(Question(builder.build(), acts, held={PUT: 2}))
    assert rejected == []
    assert answer.orders == {"market": ("filled", 1, "20.40"), "limit": ("filled", 1, "20.40")}
