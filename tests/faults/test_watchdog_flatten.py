"""The watchdog's flatten at the simulated exchange: slow, lost, doubled, refused requests, foreign orders.

Judged by the exchange's own ledger: no execution of the watchdog ever takes a position across zero, and
an account that it calls flat is flat and stays flat. All in virtual time.
"""

import asyncio
import json
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.closing.last_resort import Flattener
from scalpdesk.core.events import CancelRejected
from scalpdesk.core.intents import (
    CancelOrder,
    OrderIntent,
    OrderType,
    Purpose,
    Side,
    SubmitOrder,
    TimeInForce,
)
from scalpdesk.exchange.keyring import Credential, Keyring
from scalpdesk.exchange.market import MarketOptions, SimulatedMarket
from scalpdesk.instruments.contract import Instruments
from scalpdesk.live.emergency import EmergencyTrader
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk_alpaca.gateway import AlpacaGateway
from scalpdesk_alpaca.served.app import AlpacaApi
from scalpdesk_alpaca.served.protocol import PROTOCOL as ALPACA
from scalpdesk_alpaca.served.requests import Request
from scalpdesk_alpaca.transport import ApiKeys, Endpoints, GatewayOptions
from scalpdesk_testing.alpaca_trial import AlpacaLine
from scalpdesk_testing.kit.order_faults import FaultsLater, rules_of
from scalpdesk_testing.line import BASE_URL, STRAIGHT, LineNetwork, OnTheWay
from scalpdesk_testing.market import CALL, DAYS, PUT, SHARE, SmallMarket
from scalpdesk_testing.virtual_time import VirtualClock, VirtualLoop

D = Decimal
KEY, SECRET, ACCOUNT = "PKWATCHDOG000000000", "watchdog-secret", "watchdog"
OWN, DESK = "wd", "desk"
ABSENT_AFTER_SECONDS = 10.0


@dataclass
class Key:
    text: str = field(repr=False)

    def reveal(self):
        return self.text


class Account:
    """One account at the exchange with positions and open orders, and a watchdog's gateway to it."""

    def __init__(
        self, seed, rules=(), *, instruments=None, latency_seconds=0.02, absent_after=ABSENT_AFTER_SECONDS
    ):
        self.absent_after_seconds = absent_after
        self.loop = VirtualLoop()
        self.market = SmallMarket(seed, DAYS[seed % len(DAYS)], seconds=1_200, is_deep=True)
        self.clock = VirtualClock(self.loop, self.market.start_ns)
        self.faults = FaultsLater(rules, seed)
        self.world = SimulatedMarket(self.market, ALPACA.terms, MarketOptions(seed=seed), self.faults)
        self.account = self.world.open_account(AccountTerms(name=ACCOUNT, cash=D(1_000_000)))
        keyring = Keyring([Credential(KEY, SECRET, ACCOUNT)])
        self.api = AlpacaApi(self.world, keyring, trading_limit=200)
        self.line = AlpacaLine(
            self.loop, self.clock, self.world, self.api, keyring, latency_seconds=latency_seconds
        )
        self.doubled_every = 0
        self._posts = 0
        self._ask = self.line.ask
        self.line.ask = self.ask
        self.instruments = instruments or self.market.instruments
        self.messages = []
        self.trader = None

    def symbol(self, number):
        return self.market.instruments[number].symbol

    def ask(self, method, url, headers, body, on_answer):
        """Carry a request, some orders twice: as a proxy does that repeats what it got no answer to."""
        self._ask(method, url, headers, body, on_answer)
        if method == "POST" and self.doubled_every:
            self._posts += 1
            if self._posts % self.doubled_every == 0:
                self._ask(method, url, headers, body, lambda _answer: None)

    def place(self, name, number, side, quantity, limit=None):
        """Place an order past the network, as a person or the desk did; return whether it was taken."""
        self.world.advance_to(self.clock.true_ns())
        body = {
            "symbol": self.symbol(number),
            "side": side,
            "qty": str(quantity),
            "type": "market" if limit is None else "limit",
            "time_in_force": "day",
            "client_order_id": name,
        } | ({} if limit is None else {"limit_price": str(limit)})
        headers = {"apca-api-key-id": KEY, "apca-api-secret-key": SECRET}
        request = Request("POST", "/v2/orders", {}, headers, json.dumps(body).encode(), self.clock.true_ns())
        armed, self.faults.is_armed = self.faults.is_armed, False
        answer = self.api.handle(request)
        self.faults.is_armed = armed
        self.line.drive()
        return answer.status == 200

    def gateway(self):
        options = GatewayOptions(timeout_seconds=2.0, absent_after_seconds=self.absent_after_seconds)
        return AlpacaGateway(
            endpoints=Endpoints.at(BASE_URL),
            keys=ApiKeys(Key(KEY), Key(SECRET)),
            instruments=self.instruments,
            clock=self.clock,
            options=options,
            network=LineNetwork(self.line),
        )

    def run(self, play):
        try:
            return self.loop.run_until_complete(asyncio.wait_for(play, 900.0))
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0.001))
            self.loop.close()

    async def clear(self, *, flatten=True, desk_orders=(), only_ids=None, parents=None):
        """Let a watchdog act once the faults are armed."""
        gateway = self.gateway()
        await gateway.connect()
        self.trader = EmergencyTrader(
            gateway=gateway,
            instruments=self.instruments,
            name=OWN,
            limits=RiskLimits(),
            log=lambda text: self.messages.append((round(self.loop.time(), 2), text)),
            only_ids=only_ids,
        )
        self.faults.is_armed = True
        try:
            return await self.trader.clear(desk_orders, flatten=flatten, parents=parents or {})
        finally:
            await gateway.close(graceful=False)

    # the exchange's ledger ------------------------------------------------------------------------

    def holdings(self):
        return {number: held.quantity for number, held in self.account.holdings.items() if held.quantity}

    def open_orders(self):
        headers = {"apca-api-key-id": KEY, "apca-api-secret-key": SECRET}
        armed, self.faults.is_armed = self.faults.is_armed, False
        answer = self.api.handle(
            Request("GET", "/v2/orders", {"status": "open"}, headers, b"", self.clock.true_ns())
        )
        self.faults.is_armed = armed
        return [order["client_order_id"] for order in json.loads(answer.body)]

    def reversals(self):
        """Return the watchdog's executions that did not bring a position closer to zero."""
        held, found = {}, []
        for execution in self.account.executions:
            number = execution.instrument_id
            before = held.get(number, D(0))
            after = held[number] = before + execution.side.sign * execution.quantity
            if execution.client_order_id.startswith(OWN) and (
                abs(after) >= abs(before) or before * after < 0
            ):
                found.append((execution.client_order_id, before, after))
        return found


def desk_order(name, number, side, quantity, purpose=Purpose.HEDGE, limit=None):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return SubmitOrder(name, number, side, D(quantity), kind, price, TimeInForce.DAY, purpose)


async def hold(account, **quantities):
    """Buy or sell at the market before anything goes wrong."""
    for name, quantity in quantities.items():
        number = {"shares": SHARE, "calls": CALL, "puts": PUT}[name]
        if quantity:
            side = "buy" if quantity > 0 else "sell"
            assert account.place(f"before-{name}", number, side, abs(quantity))
    await asyncio.sleep(2.0)


def trial(seed):
    """Play one seed; return the account, what the watchdog returned, and the ledger after it."""
    dice = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 7])))
    known = None
    account = Account(seed, rules_of(dice), latency_seconds=float(dice.choice([0.001, 0.02, 0.15])))
    if dice.random() < 0.5:  # the run knew the share and the call; the account holds puts beside them
        known = Instruments([account.market.instruments[SHARE], account.market.instruments[CALL]])
        account.instruments = known
    account.doubled_every = int(dice.choice([0, 1, 2, 3]))
    held_share = float(dice.choice([0.0, 0.3, 0.7]))
    held_for = float(dice.uniform(0.5, 20.0))
    account.absent_after_seconds = float(dice.choice([0.5, 2.0, 10.0]))
    account.line.on_the_way = lambda method, _path: OnTheWay(
        held_for if account.faults.is_armed and method != "GET" and dice.random() < held_share else 0.0
    )
    shares, calls, puts = (
        int(dice.choice([-300, -80, 100, 450])),
        int(dice.integers(0, 9)),
        int(dice.integers(0, 9)),
    )

    async def play():
        account.line.drive()
        await hold(account, shares=shares, calls=calls, puts=puts)
        # orders by hand: one far away on either side, one in an option, one while the watchdog acts
        account.place("by-hand-buy", SHARE, "buy", 40, limit="450")
        account.place("by-hand-sell", SHARE, "sell", 30, limit="550")
        account.place("by-hand-put", PUT, "buy", 2, limit="0.05")
        account.place(f"{DESK}-open", CALL, "buy", 3, limit="0.05")
        late = asyncio.get_running_loop()
        late.call_later(float(dice.uniform(0.5, 6.0)), account.place, "by-hand-late", SHARE, "buy", 25, "440")
        # the desk's last orders: open, never sent, and one that is still on its way
        arrives = float(dice.uniform(0.1, 5.0))
        side = "sell" if shares > 0 else "buy"
        late.call_later(arrives, account.place, f"{DESK}-late", SHARE, side, min(abs(shares), 60))
        orders = (
            desk_order(f"{DESK}-open", CALL, Side.BUY, 3, Purpose.OPEN, "0.05"),
            desk_order(f"{DESK}-absent", SHARE, Side.BUY, 15),
            desk_order(f"{DESK}-late", SHARE, Side(side), min(abs(shares), 60)),
        )
        done = await account.clear(desk_orders=orders)
        said_at = account.holdings(), account.open_orders()
        account.faults.is_armed = False
        account.line.on_the_way = lambda *_: STRAIGHT
        await asyncio.sleep(30.0)
        return done, said_at

    done, ledger = account.run(play())
    return account, done, ledger


@pytest.mark.parametrize(
    "seeds", [range(10), pytest.param(range(10, 50), marks=pytest.mark.second)], ids=["ten", "forty"]
)
def test_no_position_is_ever_reversed_and_none_is_falsely_called_flat(seeds):
    for seed in seeds:
        account, done, (held, open_orders) = trial(seed)
        assert account.reversals() == [], (seed, account.messages)
        assert done, (seed, account.messages)
        assert held == {}, (seed, account.messages)
        assert open_orders == [], seed
        assert account.holdings() == {}, f"something arrived after the account was called flat: seed {seed}"
        assert account.open_orders() == [], seed


@pytest.mark.rows("delay_seconds", [0.6, 1.5, 5.0])
def test_a_slow_answer_to_a_closing_order_is_waited_for_and_one_order_closes_the_position(delay_seconds):
    account = Account(1)
    account.line.on_the_way = lambda method, _: OnTheWay(
        delay_seconds if method == "POST" and account.faults.is_armed else 0.0
    )

    async def play():
        account.line.drive()
        await hold(account, shares=100)
        return await account.clear()

    assert account.run(play())
    own = [execution for execution in account.account.executions if execution.client_order_id.startswith(OWN)]
    assert [(execution.side, execution.quantity) for execution in own] == [(Side.SELL, 100)]
    assert account.holdings() == {}


def hold_up(account, seconds, until=30.0):
    """Let each order and cancel lie on the way for so long, as long as a time is not over."""
    account.line.on_the_way = lambda method, _: OnTheWay(
        seconds if method != "GET" and account.faults.is_armed and account.loop.time() < until else 0.0
    )


@pytest.mark.rows("late_seconds", [3.0, 4.5, 7.0, 9.0, 25.0, 60.0])
@pytest.mark.rows("twice", [0, 1])
def test_a_closing_order_that_comes_after_the_acceptance_timeout_finds_its_id_taken(late_seconds, twice):
    """Its request times out after 2 s, its absence counts 2 s later, and it comes after that."""
    account = Account(1, absent_after=2.0)
    account.doubled_every = twice
    hold_up(account, late_seconds)

    async def play():
        account.line.drive()
        await hold(account, shares=-8, calls=2)
        done = await account.clear()
        await asyncio.sleep(120.0)
        return done

    assert account.run(play())
    assert account.reversals() == [], account.messages
    own = [execution for execution in account.account.executions if execution.client_order_id.startswith(OWN)]
    assert [(each.instrument_id, each.side, each.quantity) for each in own] == [
        (CALL, Side.SELL, 2),
        (SHARE, Side.BUY, 8),
    ]
    assert account.holdings() == {}


@pytest.mark.rows("arrives", [0.5, 3.0, 6.0, 30.0])
@pytest.mark.rows("quantity", [5, 8, 20])
def test_a_late_order_of_the_desk_that_closes_takes_the_place_of_another_beside_it(arrives, quantity):
    """Late, it would come beside the watchdog's own; under its id go the 8 shares held, not its 20."""
    account = Account(7, absent_after=2.0)
    taken = []

    def comes():
        taken.append(account.place(f"{DESK}-late", SHARE, "buy", quantity))

    async def play():
        account.line.drive()
        await hold(account, shares=-8)
        asyncio.get_running_loop().call_later(arrives, comes)
        order = desk_order(f"{DESK}-late", SHARE, Side.BUY, quantity)
        done = await account.clear(desk_orders=[order])
        await asyncio.sleep(60.0)
        return done

    assert account.run(play())
    bought = sum(each.quantity for each in account.account.executions if each.side is Side.BUY)
    assert taken == [arrives < 2.0 and quantity <= 8]  # the venue itself takes no order across zero
    assert bought == 8
    assert account.holdings() == {}


def test_a_combo_of_the_desk_that_closes_goes_out_again_under_its_id():
    account = Account(7, absent_after=2.0)
    legs = [
        desk_order(f"{DESK}-{number}", number, Side.SELL, 2, Purpose.CLOSE, "0.05") for number in (CALL, PUT)
    ]

    async def play():
        account.line.drive()
        await hold(account, calls=2, puts=2)
        gateway_parents = {leg.client_order_id: f"{DESK}-combo" for leg in legs}
        return await account.clear(desk_orders=legs, parents=gateway_parents)

    assert account.run(play())
    assert account.holdings() == {}
    sold = {each.client_order_id for each in account.account.executions if each.side is Side.SELL}
    assert not any(name.startswith(OWN) for name in sold)


def test_an_order_of_the_desk_that_adds_may_still_come_before_the_account_is_called_flat():
    account = Account(7, absent_after=2.0)

    async def play():
        account.line.drive()
        await hold(account, shares=8)
        asyncio.get_running_loop().call_later(9.0, account.place, f"{DESK}-late", SHARE, "buy", 40)
        done = await account.clear(desk_orders=[desk_order(f"{DESK}-late", SHARE, Side.BUY, 40)])
        held = account.holdings()
        await asyncio.sleep(20.0)
        return done, held

    assert account.run(play()) == (True, {})
    assert account.holdings() == {}
    assert account.reversals() == []


@pytest.mark.rows("lag_seconds", [0.5, 3.0, 8.0])
def test_positions_that_lag_behind_the_executions_are_not_closed_twice(lag_seconds):
    account = Account(6)
    handle, shown = account.api.handle, []

    def lagging(request):
        answer = handle(request)
        if request.path != "/v2/positions":
            return answer
        shown.append((account.loop.time(), answer))
        return [late for at, late in shown if at <= max(account.loop.time() - lag_seconds, shown[0][0])][-1]

    async def play():
        account.line.drive()
        await hold(account, shares=100, calls=2)
        account.api.handle = lagging
        return await account.clear()

    assert account.run(play())
    own = [execution for execution in account.account.executions if execution.client_order_id.startswith(OWN)]
    assert [(execution.instrument_id, execution.quantity) for execution in own] == [(CALL, 2), (SHARE, 100)]


def test_an_order_of_the_desk_that_arrives_late_is_waited_for_before_the_account_is_called_flat():
    account = Account(7)

    async def play():
        account.line.drive()
        await hold(account, calls=2)
        asyncio.get_running_loop().call_later(6.0, account.place, f"{DESK}-late", SHARE, "buy", 40)
        done = await account.clear(desk_orders=[desk_order(f"{DESK}-late", SHARE, Side.BUY, 40)])
        held = account.holdings()
        await asyncio.sleep(20.0)
        return done, held

    assert account.run(play()) == (True, {})
    assert account.holdings() == {}
    assert account.reversals() == []


def test_foreign_orders_are_cancelled_by_the_venues_id_and_do_not_stop_the_flatten():
    account = Account(2)
    account.instruments = Instruments([account.market.instruments[SHARE]])

    async def play():
        account.line.drive()
        await hold(account, shares=100)
        assert account.place("by-hand", SHARE, "sell", 60, limit="550")
        assert account.place("unknown-symbol", CALL, "buy", 1, limit="0.05")
        return await account.clear()

    assert account.run(play())
    assert (account.holdings(), account.open_orders(), account.reversals()) == ({}, [], [])
    assert any("cancelling sell 60 SPY by-hand" in text for _, text in account.messages)


@pytest.mark.parametrize("flatten", [False, True])
def test_orders_from_elsewhere_are_left_where_that_is_set_and_said(flatten):
    account = Account(2)

    async def play():
        account.line.drive()
        await hold(account, shares=100)
        assert account.place("by-hand", PUT, "buy", 1, limit="0.05")
        assert account.place(f"{DESK}-1", CALL, "buy", 1, limit="0.05")
        return await account.clear(
            flatten=flatten, desk_orders=[desk_order(f"{DESK}-2", CALL, Side.BUY, 1)], only_ids=DESK
        )

    assert account.run(play())
    assert account.open_orders() == ["by-hand"]
    assert account.holdings() == ({} if flatten else {SHARE: 100})
    assert any(
        f"are left (--foreign-orders leave): {account.symbol(PUT)} by-hand" in text
        for _, text in account.messages
    )


def test_options_beside_the_runs_own_are_closed_with_their_hedge_and_before_it():
    account = Account(3)
    account.instruments = Instruments([account.market.instruments[SHARE]])

    async def play():
        account.line.drive()
        await hold(account, shares=-15, calls=1, puts=1)
        return await account.clear()

    assert account.run(play())
    own = [run.instrument_id for run in account.account.executions if run.client_order_id.startswith(OWN)]
    assert set(own[:2]) == {CALL, PUT}
    assert own[2:] == [SHARE]


def test_an_account_with_what_nothing_here_can_close_is_never_called_flat():
    account = Account(9)
    handle = account.api.handle
    coin = {"symbol": "BTCUSD", "qty": "0.5", "avg_entry_price": "1", "asset_class": "crypto"}

    def with_coin(request):
        answer = handle(request)
        if request.path != "/v2/positions":
            return answer
        return replace(answer, body=json.dumps([*json.loads(answer.body), coin]).encode())

    async def play():
        account.line.drive()
        await hold(account, shares=100, calls=2)
        account.api.handle = with_coin
        return await account.clear()

    assert account.run(play()) is False
    assert account.holdings() == {}
    assert any("not flat, and nothing here can close it: +0.5 BTCUSD" in text for _, text in account.messages)


def test_without_flatten_orders_are_cancelled_and_positions_stay():
    account = Account(4)

    async def play():
        account.line.drive()
        await hold(account, shares=100, calls=2)
        account.place("by-hand", SHARE, "buy", 10, limit="400")
        account.place(f"{DESK}-1", CALL, "sell", 1, limit="90")
        return await account.clear(flatten=False, desk_orders=[desk_order(f"{DESK}-1", CALL, Side.SELL, 1)])

    assert account.run(play())
    assert account.open_orders() == []
    assert account.holdings() == {SHARE: 100, CALL: 2}


def test_a_second_life_names_its_orders_apart_and_a_repetition_alike():
    instruments = SmallMarket(5, DAYS[0]).instruments
    orders = [OrderIntent(SHARE, Side.SELL, Decimal(1), Purpose.UNWIND_HEDGE, "flattening")]

    def names(flattener):
        return [order.client_order_id for order in flattener.name_orders(orders)]

    flattener = Flattener(instruments, "run-77")
    assert names(flattener) == names(Flattener(instruments, "run-77")) == ["run-77-flat-SPY-1"]
    assert names(Flattener(instruments, "run-78")) == ["run-78-flat-SPY-1"]
    assert names(flattener) == ["run-77-flat-SPY-2"]


def test_a_cancel_of_an_order_that_the_gateway_does_not_know_is_answered():
    account = Account(8)

    async def play():
        account.line.drive()
        gateway = account.gateway()
        await gateway.connect()
        gateway.send(CancelOrder("never-sent"))
        async for item in gateway.events():
            if isinstance(item, CancelRejected):
                await gateway.close(graceful=False)
                return item
        return None

    answer = account.run(play())
    assert (answer.client_order_id, answer.reason) == (
        "never-sent",
        "no order of this id was sent or adopted here",
    )
