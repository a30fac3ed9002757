"""An expiry day with a pin over each served protocol: who is told what, and the book of a desk beside it."""

from datetime import timedelta
from decimal import Decimal

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.units import ZERO
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.exchange.source import TapeSource
from scalpdesk.live.differences import AccountPicture, explain
from scalpdesk_alpaca.account_messages import read_activities
from scalpdesk_testing.kit.broker import give
from scalpdesk_testing.kit.exchange import Bench, TwsBench, checked
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at

pytestmark = pytest.mark.enable_socket
D = Decimal
SHARE, CALL, PUT, CALL_505 = 0, 1, 2, 3
SYMBOLS = ("SPY", "SPY240304C00500000", "SPY240304P00500000", "SPY240304C00505000")
NEXT = DAY + timedelta(days=1)
AFTER_CLOSE = {"after_close_move": 0.002, "seed": 8}


def pin_day(close=500.05, days=(DAY,)):
    """SPY ends its day five cents above a strike."""
    builder = TapeBuilder(straddle_book(500, 505, expiry=DAY), days=days)
    for when in ("09:30", "12:00", "15:30"):
        builder.spot(when, 501.0)
    builder.spot("15:59", close)
    for day in days[1:]:
        builder.spot("09:30", 500.0, day=day)
    return TapeSource(builder.build())


def after(before, cash, holdings, book, now_ns, changes=()):
    """Return what the desk's book is once it has booked what it finds, and that nothing is left over."""
    desk = AccountPicture(at("15:59"), before[0], before[1])
    found = explain(desk, AccountPicture(now_ns, cash, holdings), book, changes=changes)
    assert (found.unexplained, found.missing_orders) == ((), ())
    held = dict(before[1])
    money = before[0]
    for each in found.explained:
        held[each.instrument_id] = held.get(each.instrument_id, ZERO) + each.units
        money += each.cash
    assert len({each.event.reference for each in found.explained}) == len(found.explained)
    return money, {number: units for number, units in held.items() if units}, found.explained


def holding(account, positions):
    for number, units in positions.items():
        give(account, number, units, 1)
    return account.cash, {number: D(units) for number, units in positions.items()}


# Alpaca ---------------------------------------------------------------------------------------------


class AlpacaDay:
    def __init__(self, positions, **options):
        source = pin_day()
        self.bench = Bench(source, cash=1_000_000, options=options)
        self.book, self.world = source.instruments, self.bench.world
        self.account = self.world.ledger.accounts["account-1"]
        self.world.advance_to(at("15:59"))
        self.before = holding(self.account, positions)
        for number in positions:
            self.world.broker.expiry.watch(number)

    def agrees(self):
        """The desk books what the vendor's answers say, and stands where the exchange's ledger does."""
        raw = self.bench.ask("GET", "/v2/account/activities", direction="asc").body
        lines, _ = read_activities(raw)
        holdings = {self.book.id_of(one["symbol"]): D(one["qty"]) for one in self.bench.get("/v2/positions")}
        cash = D(self.bench.get("/v2/account")["cash"])
        money, held, told = after(self.before, cash, holdings, self.book, self.world.now_ns, lines)
        assert money == self.account.cash == cash
        assert held == {number: each.quantity for number, each in self.account.holdings.items()}
        return [(each.cause, each.instrument_id, each.units) for each in told]


def test_a_pin_over_alpaca_with_a_position_that_its_owner_lets_go():
    """At 500.05 the bought call would be exercised; by 17:30 the price is below 500, and the sold put is."""
    day = AlpacaDay({CALL: 2, PUT: -3, CALL_505: -1}, **AFTER_CLOSE)
    answer = day.bench.ask("POST", f"/v2/positions/{SYMBOLS[CALL]}/do-not-exercise")
    assert (answer.status, answer.body) == (200, b"{}")
    day.world.advance_to(at("07:29", NEXT))
    assert day.agrees() == []  # the others could decide until 17:30, and the night is cleared by the morning
    day.world.advance_to(at("07:30", NEXT))
    assert sorted(day.agrees()) == sorted(
        [
            (ChangeCause.EXPIRED_WORTHLESS, CALL, -2),
            (ChangeCause.ASSIGNMENT, PUT, 3),
            (ChangeCause.DELIVERY, SHARE, 300),
            (ChangeCause.EXPIRED_WORTHLESS, CALL_505, 1),
        ]
    )
    assert day.account.cash == D(1_000_000) - 150_000
    told = {one["activity_type"] for one in day.bench.get("/v2/account/activities")}
    assert told == {"OPASN", "OPTRD", "OPEXP"}


def test_without_a_word_the_bought_call_is_exercised_at_a_cent_in_the_money():
    day = AlpacaDay({CALL: 2, PUT: -3})
    day.world.advance_to(at("17:31"))
    assert day.agrees() == []
    day.world.advance_to(at("07:30", NEXT))
    assert sorted(day.agrees()) == sorted(
        [
            (ChangeCause.EXERCISE, CALL, -2),
            (ChangeCause.DELIVERY, SHARE, 200),
            (ChangeCause.EXPIRED_WORTHLESS, PUT, 3),
        ]
    )


def test_alpaca_takes_contrary_instructions_from_owners_while_the_market_is_open():
    day = AlpacaDay({CALL: 1, PUT: -1})

    def asked(name):
        answer = day.bench.ask("POST", f"/v2/positions/{name}/do-not-exercise")
        return answer.status, answer.json()["message"]

    assert asked("SPY") == (422, "invalid symbol")
    assert asked(SYMBOLS[PUT]) == (404, f"long position not found: {SYMBOLS[PUT]}")
    assert asked(SYMBOLS[CALL_505]) == (403, "no available position for the specified contract")
    day.world.advance_to(at("16:00"))
    assert asked(SYMBOLS[CALL])[0] == 403


# Interactive Brokers --------------------------------------------------------------------------------


def on_tws(work, positions, **options):
    terms = MarketOptions(**options)
    bench = TwsBench(source=pin_day(days=(DAY, NEXT)), options=terms, accounts=1)
    account = bench.world.ledger.accounts["account-1"]
    bench.world.advance_to(at("15:59:30"))
    account.cash = D(1_000_000)
    before = holding(account, positions)
    for number in positions:
        bench.world.broker.expiry.watch(number)

    @checked
    async def run(tws):
        await work(tws, await tws.client(1), account, before)

    try:
        run(bench)
    finally:
        bench.stop()


def of_client(client, account, book):
    """Return cash and holdings as ib_async has them."""
    code = "DU1000001"
    cash = next(
        D(one.value) for one in client.ib.accountValues(code) if one.tag == "TotalCashValue" and one.currency
    )
    held = {
        book.id_of(one.contract.localSymbol.replace(" ", "")): D(str(one.position))
        for one in client.ib.positions(code)
    }
    return cash, held


async def desk_agrees(tws, client, account, before):
    """The desk knows the account over ib_async alone: TWS lists no history."""
    book = tws.world.ledger.instruments
    quantities = {number: each.quantity for number, each in account.holdings.items()}
    await client.until(lambda: of_client(client, account, book) == (account.cash, quantities))
    cash, held = of_client(client, account, book)
    money, own, told = after(before, cash, held, book, tws.world.now_ns)
    assert (money, own) == (account.cash, quantities)
    return [(each.cause, each.instrument_id, each.units) for each in told]


def test_a_pin_over_tws_with_a_lapse_after_the_close():
    """Until 17:25 an owner may let go what 16:00 left in the money; nothing is settled before."""

    async def work(tws, client, account, before):
        call = next(one.contract for one in client.ib.positions() if one.position == 2)
        tws.advance(45 * 60)  # 16:44
        assert account.quantity(CALL) == 2
        client.ib.exerciseOptions(call, 2, 2, "DU1000001", 1)
        await client.until(client.ib.openTrades)
        (asked,) = client.ib.openTrades()
        assert (asked.order.totalQuantity, asked.orderStatus.status) == (2, "PreSubmitted")
        tws.advance(47 * 60)  # 17:31
        await client.until(lambda: asked.orderStatus.status == "Filled")
        assert account.quantity(CALL) == 2
        tws.world.advance_to(at("07:30", NEXT))
        assert sorted(await desk_agrees(tws, client, account, before)) == sorted(
            [
                (ChangeCause.EXPIRED_WORTHLESS, CALL, -2),
                (ChangeCause.ASSIGNMENT, PUT, 3),
                (ChangeCause.DELIVERY, SHARE, 300),
            ]
        )
        client.ib.exerciseOptions(call, 1, 1, "DU1000001", 1)
        assert "server rejection" in await client.error(322)

    on_tws(work, {CALL: 2, PUT: -3}, **AFTER_CLOSE)


def test_an_exercise_out_of_the_money_needs_the_override_and_may_be_withdrawn():
    async def work(tws, client, account, before):
        put = next(one.contract for one in client.ib.positions() if one.contract.right == "P")
        client.ib.exerciseOptions(put, 1, 2, "DU1000001", 0)
        assert "option is not in-the-money" in await client.error(322)
        client.ib.exerciseOptions(put, 1, 3, "DU1000001", 1)  # more than is held
        await client.until(lambda: sum(code == 322 for _, code, _ in client.errors) == 2)
        client.ib.exerciseOptions(put, 1, 2, "DU1000001", 1)
        await client.until(client.ib.openTrades)
        (asked,) = client.ib.openTrades()
        client.ib.cancelOrder(asked.order)
        await client.until(lambda: asked.orderStatus.status == "Cancelled")
        client.ib.exerciseOptions(put, 1, 1, "DU1000001", 1)
        await client.until(client.ib.openTrades)
        tws.world.advance_to(at("07:30", NEXT))
        assert sorted(await desk_agrees(tws, client, account, before)) == sorted(
            [
                (ChangeCause.EXERCISE, PUT, -1),
                (ChangeCause.EXPIRED_WORTHLESS, PUT, -1),
                (ChangeCause.DELIVERY, SHARE, -100),
            ]
        )

    on_tws(work, {PUT: 2})


def test_an_exercise_before_the_expiry_waits_for_the_clearing_of_the_night():
    """The day is not the option's last: the notice is final at 17:25, and shares come in the morning."""
    later = DAY + timedelta(days=4)
    bench = TwsBench(accounts=1)
    account = bench.world.ledger.accounts["account-1"]
    number = next(n for n, one in enumerate(bench.world.ledger.instruments) if one.is_option and one.is_call)
    assert bench.world.ledger.instruments[number].expiry > later
    give(account, number, 3, 1)
    cash, strike = account.cash, bench.world.ledger.instruments[number].strike

    @checked
    async def run(tws):
        client = await tws.client(1)
        await client.until(client.ib.positions)
        (held,) = [one.contract for one in client.ib.positions()]
        client.ib.exerciseOptions(held, 1, 2, "", 0)
        await client.until(client.ib.openTrades)
        tws.world.advance_to(at("17:24"))
        assert account.quantity(number) == 3
        tws.world.advance_to(at("17:26"))
        await client.until(lambda: not client.ib.openTrades())
        tws.world.advance_to(at("07:29", NEXT))
        assert account.quantity(number) == 3
        tws.world.advance_to(at("07:30", NEXT))
        await client.until(lambda: {one.position for one in client.ib.positions()} == {1, 200})
        assert (account.quantity(SHARE), account.cash) == (200, cash - 200 * strike)

    try:
        run(bench)
    finally:
        bench.stop()
