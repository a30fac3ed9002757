"""The gateway against the simulated exchange, over its own wire."""

import asyncio
import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from msgspec import structs

from scalpdesk.config.schema import Secret
from scalpdesk.core.clock import FollowingClock
from scalpdesk.core.enums import ENDED, ChangeCause
from scalpdesk.core.errors import ConfigError, RetryError
from scalpdesk.core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
)
from scalpdesk.core.intents import ReplaceOrder, Stop, TimeInForce
from scalpdesk.core.units import SATOSHI
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.simulation.faults import Fault
from scalpdesk.simulation.orders import Status
from scalpdesk.venues.contract import KnownOrder, NoticeKind
from scalpdesk_deribit.rpc import Disconnected
from scalpdesk_testing.kit.live import until

D = Decimal
DAY = date(2025, 3, 5)


def test_a_straddle_and_its_hedge_are_bought_with_the_exchanges_own_fees(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        call, put = bench.straddle(gateway)
        for number, quantity in ((call, "0.5"), (put, "0.5"), (0, "-900")):
            gateway.send(bench.order(number, quantity))
        fills = await bench.until(OrderFilled, 3)
        assert [fill.quantity for fill in fills] == [D("0.5"), D("0.5"), D(900)]
        theirs = bench.account.executions
        assert {fill.execution_id for fill in fills} == {each.execution_id for each in theirs}
        for fill, each in zip(fills, theirs, strict=True):
            assert fill.price == each.price
            assert abs(fill.fee - each.fee) < D("1e-15")
        view = await gateway.snapshot()
        assert [line.quantity for line in view.positions] == [D("0.5"), D("0.5"), D(-900)]
        ledger = bench.world.ledger
        assert abs(view.account.cash - bench.account.cash) < D("1e-9")
        assert abs(view.account.equity - ledger.figures(bench.account).equity) < D("1e-9")
        assert gateway.health().unknown == ()

    on_bench(scenario)


def test_the_accounts_margin_and_funds_reach_the_risk_gate(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        gateway.send(bench.order(0, "-90000"))
        await bench.until(OrderFilled)
        view = await gateway.snapshot()
        limits, figures = view.limits(7), bench.world.ledger.figures(bench.account)
        assert (limits.ts_recv_ns, limits.may_trade, limits.may_short, limits.options_level) == (
            7, True, True, 4,
        )  # fmt: skip
        assert limits.shortable == (0,)
        collateral = figures.equity - figures.long_value - figures.short_value
        assert abs(limits.margin_fraction - figures.maintenance_margin / collateral) < D("0.000001")
        assert limits.margin_fraction > D("0.004")
        assert abs(limits.buying_power - figures.options_buying_power) < D("1e-9")

    on_bench(scenario)


def test_quotes_of_the_wire_are_those_of_the_market(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        call, _ = bench.straddle(gateway)
        await gateway.subscribe([0, call])
        bench.advance(180)
        quotes = await bench.until(type(bench.world.ledger.quotes[0]), 7)
        last = [quote for quote in quotes if quote.instrument_id == 0][-1]
        theirs = bench.world.ledger.quotes[0]
        assert (last.bid, last.ask, last.bid_size) == (theirs.bid, theirs.ask, theirs.bid_size)
        assert last.ts_event_ns == theirs.ts_event_ns // 10**6 * 10**6
        asked = await gateway.quotes([0, call])
        assert [quote.instrument_id for quote in asked] == [0, call]
        assert asked[0].bid == theirs.bid

    on_bench(scenario)


@pytest.mark.parametrize(
    ("number", "quantity", "factor", "why"),
    [
        (0, 100, 1.20, "price_too_high"),
        (0, 10_000_000, None, "not_enough_funds"),
        (0, -100, 0.80, "price_too_low"),
    ],
)
def test_a_refusal_is_a_rejection_in_the_venues_words(on_bench, number, quantity, factor, why):
    async def scenario(bench):
        gateway = await bench.connected()
        limit = None if factor is None else round(float(bench.world.ledger.mark(0)) * factor)
        gateway.send(bench.order(number, quantity, limit))
        (rejected,) = await bench.until(OrderRejected)
        assert why in rejected.reason

    on_bench(scenario)


def test_an_order_that_the_venue_reads_too_late_is_refused_by_it(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        gateway._queries.ahead_ms = (
            -3_600_000
        )  # the desk's clock is behind: what it sends is over before it comes
        gateway.send(bench.order(0, 100))
        (rejected,) = await bench.until(OrderRejected)
        assert "valid_until is past" in rejected.reason

    on_bench(scenario)


def test_a_connection_that_breaks_takes_its_orders_off_and_the_desk_learns_it(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        resting = bench.order(0, 100, limit=round(float(bench.world.ledger.quotes[0].bid) * 0.97))
        gateway.send(resting)
        await bench.until(OrderAccepted)
        await gateway.reconnect("orders")
        await bench.until_notice("connected", 2)
        assert bench.of(OrderCancelled) == []
        assert await gateway.query_order(resting.client_order_id)
        await bench.until(OrderCancelled)
        assert gateway.health().counters["reconnects"] == 1
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled)  # the account's channel stands again

    on_bench(scenario)


def test_a_fill_during_the_break_comes_out_once(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        call, _ = bench.straddle(gateway)
        bought = bench.order(call, "0.3")
        true = bench.server.protocol.api._on_update
        bench.world._update_watchers.remove(true)  # nothing comes on the account's channel
        gateway.send(bought)
        (filled,) = await bench.until(OrderFilled)
        view = await gateway.snapshot(fills_since_ns=bench.world.source.start_ns)
        await gateway.query_order(bought.client_order_id)
        await bench.round_trip(gateway)
        assert bench.of(OrderFilled) == [filled]
        assert [fill.execution_id for fill in view.fills] == [filled.execution_id]

    on_bench(scenario)


def test_a_fill_that_an_order_counts_and_the_venue_does_not_list_is_inferred(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        bench.world._update_watchers.remove(bench.server.protocol.api._on_update)
        bench.swallow("private/buy", after=True)
        order = bench.order(0, 100)
        gateway.send(order)
        await bench.until(OrderStatusUnknown)
        question = gateway._queries.question

        async def without_trades(method, params):
            if method == "private/get_user_trades_by_order":
                raise RetryError("no answer")
            return await question(method, params)

        gateway._queries.question = without_trades
        assert await gateway.query_order(order.client_order_id)
        await bench.round_trip(gateway)
        assert [fill.quantity for fill in bench.of(OrderFilled)] == [100]

    on_bench(scenario)


# combos -------------------------------------------------------------------------------------------------


def asked(bench, method):
    """Count what the exchange is asked with a method from here on."""
    true, texts = bench.server.protocol.api.receive, []

    def receive(session, text):
        if f'"{method}"' in text:
            texts.append(text)
        true(session, text)

    bench.server.protocol.api.receive = receive
    return texts


def test_a_straddle_is_bought_and_sold_as_one_combo(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        numbers, ledger = bench.straddle(gateway), bench.world.ledger
        made, bought, sold = (asked(bench, f"private/{verb}") for verb in ("create_combo", "buy", "sell"))
        names = [gateway._instruments[number].symbol for number in numbers]
        theirs = [ledger.quotes[ledger.instruments.id_of(name)] for name in names]
        paid = sum(D(str(quote.ask)) for quote in theirs)
        entry = bench.combo(numbers, "0.5", paid)
        gateway.send(entry)
        first = await bench.until(OrderFilled, 2)
        got = sum(D(str(quote.bid)) for quote in theirs)
        gateway.send(bench.combo(numbers, "-0.5", -got))
        fills = await bench.until(OrderFilled, 4)
        assert [fill.client_order_id for fill in first] == [leg.client_order_id for leg in entry.legs]
        assert sum(fill.price for fill in fills[:2]) == paid
        assert sum(fill.price for fill in fills[2:]) == got
        assert {fill.quantity for fill in fills} == {D("0.5")}
        assert [len(each) for each in (made, bought, sold)] == [1, 1, 1]
        executions = bench.account.executions
        assert [fill.execution_id for fill in fills] == [each.execution_id for each in executions]
        for fill, each in zip(fills, executions, strict=True):
            assert fill.price == each.price
            assert abs(fill.fee - each.fee) < D("1e-15")
        cash = 2 + (got - paid) / 2 - sum(fill.fee for fill in fills)
        view = await gateway.snapshot(fills_since_ns=bench.world.source.start_ns)
        assert abs(view.account.cash - cash) < D("1e-9")
        assert view.positions == ()
        own = {event.venue_order_id for event in bench.of(OrderAccepted)}
        assert {fill.venue_order_id for fill in view.fills} == own
        assert len(bench.of(OrderFilled)) == 4

    on_bench(scenario)


def test_a_combo_rests_is_shown_by_its_legs_and_is_cancelled_whole(on_bench):
    async def scenario(bench):
        gateway, other = await bench.connected(), await bench.connected()
        command = bench.combo(bench.straddle(gateway), 1, "0.0001")
        gateway.send(command)
        await bench.until(OrderAccepted, 2)
        mine, theirs = await gateway.snapshot(), await other.snapshot()
        ids = [leg.client_order_id for leg in command.legs]
        assert [shown.client_order_id for shown in mine.open_orders] == ids
        for view in (mine, theirs):  # a desk that did not send it sees as much
            assert [(one.quantity, one.side, one.filled) for one in view.open_orders] == [(1, "buy", 0)] * 2
            assert {one.parent_id for one in view.open_orders} == {command.client_order_id}
        gateway.send(bench.cancel(command.legs[1]))
        ended = await bench.until(OrderCancelled, 2)
        assert [event.client_order_id for event in ended] == ids
        gateway.send(bench.cancel(command.legs[0]))
        again = bench.combo(bench.straddle(gateway), 1, "0.0001")
        gateway.send(again)
        await bench.until(OrderAccepted, 4)
        assert len(bench.of(OrderCancelled)) == 2
        (foreign, _) = (await other.snapshot()).open_orders
        assert await other.cancel_at_venue(foreign.venue_order_id)
        await bench.until(OrderCancelled, 4)
        assert (await gateway.snapshot()).open_orders == ()

    on_bench(scenario)


def test_a_combo_that_is_filled_in_part_ends_with_that_part_of_each_leg(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        bench.world.faults.inject(Fault("partial_fill", fraction=0.4))
        command = bench.combo(bench.straddle(gateway), 5, "0.2")
        gateway.send(command)
        fills = await bench.until(OrderFilled, 2)
        assert [fill.quantity for fill in fills] == [2, 2]
        gateway.send(bench.cancel(command.legs[0]))
        await bench.until(OrderCancelled, 2)
        assert [line.quantity for line in (await gateway.snapshot()).positions] == [2, 2]
        assert len(bench.of(OrderFilled)) == 2

    on_bench(scenario)


def test_a_combo_that_the_venue_refuses_is_a_rejection_of_each_leg(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        call, put = bench.straddle(gateway)
        swap = gateway._instruments.id_of("BTC-PERPETUAL")
        gateway.send(bench.combo((call, put), 500))
        refused = await bench.until(OrderRejected, 2)
        gateway.send(bench.combo((call, swap), 1))
        refused += (await bench.until(OrderRejected, 4))[2:]
        gateway.send(bench.combo((call, put), 1, "0.00012"))
        refused += (await bench.until(OrderRejected, 6))[4:]
        words = ["not_enough_funds"] * 2 + ["Invalid params"] * 2 + ["price_wrong_tick"] * 2
        assert all(word in event.reason for word, event in zip(words, refused, strict=True))
        assert not bench.account.executions
        gateway.send(bench.combo((call, put), 1))
        await bench.until(OrderFilled, 2)

    on_bench(scenario)


@pytest.mark.parametrize(("method", "is_sent"), [("private/create_combo", False), ("private/buy", True)])
def test_a_combo_that_never_arrived_is_not_found(on_bench, method, is_sent):
    async def scenario(bench):
        gateway = await bench.connected()
        bench.swallow(method, after=False)
        command = bench.combo(bench.straddle(gateway), 1)
        gateway.send(command)
        if is_sent:
            await bench.until(OrderStatusUnknown, 2)
            name = command.legs[0].client_order_id
            assert not await gateway.query_order(name)
            gateway._path.tracker.orders[name].answered_ns -= 3_600 * 10**9  # an hour later
            assert await gateway.query_order(name)
        gone = await bench.until(OrderNotFound, 2)
        assert [event.client_order_id for event in gone] == [leg.client_order_id for leg in command.legs]
        assert not bench.account.orders

    on_bench(scenario)


def test_a_combo_that_is_cancelled_before_it_has_a_name_goes_out_first(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        made, bought = asked(bench, "private/create_combo"), asked(bench, "private/buy")
        first, second = (bench.combo(bench.straddle(gateway), 1, "0.0001") for _ in range(2))
        gateway.send(first)
        gateway.send(second)
        gateway.send(bench.cancel(first.legs[0]))
        ended = await bench.until(OrderCancelled, 2)
        assert [event.client_order_id for event in ended] == [leg.client_order_id for leg in first.legs]
        await bench.until(OrderAccepted, 4)
        left = (await gateway.snapshot()).open_orders
        assert [one.client_order_id for one in left] == [leg.client_order_id for leg in second.legs]
        assert (len(made), len(bought)) == (1, 2)

    on_bench(scenario)


@pytest.mark.parametrize("is_acknowledged", [True, False])
def test_a_desk_that_starts_again_knows_its_combos(on_bench, is_acknowledged):
    async def scenario(bench):
        first = await bench.connected()
        numbers = bench.straddle(first)
        resting, lost = bench.combo(numbers, 1, "0.0001"), bench.combo(numbers, "0.2")
        first.send(resting)
        accepted = await bench.until(OrderAccepted, 2)
        bench.swallow("private/buy", after=True)
        for session in bench.server.protocol.api._sessions:
            session.cancels_on_disconnect = False
            session.channels.clear()
        first.send(lost)
        await bench.until(OrderStatusUnknown, 2)
        await first.close(graceful=False)
        bench.came.clear()
        ids = {event.client_order_id: event.venue_order_id for event in accepted if is_acknowledged}
        known = [
            KnownOrder(
                leg, venue_order_id=ids.get(leg.client_order_id, ""), parent_id=command.client_order_id
            )
            for command in (resting, lost)
            for leg in command.legs
        ]
        second = bench.gateway(instruments=first._instruments)
        await second.connect(known)
        shown = (await second.snapshot(fills_since_ns=bench.world.source.start_ns)).open_orders
        assert [one.client_order_id for one in shown] == [leg.client_order_id for leg in resting.legs]
        fills = await bench.until(OrderFilled, 2)
        assert [fill.client_order_id for fill in fills] == [leg.client_order_id for leg in lost.legs]
        second.send(bench.cancel(resting.legs[0]))
        await bench.until(OrderCancelled, 2)
        assert await second.query_order(lost.legs[0].client_order_id)
        assert len(bench.of(OrderFilled)) == 2
        assert (await second.snapshot()).open_orders == ()

    on_bench(scenario)


def test_who_else_trades_in_the_account_has_it_looked_at_at_once(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        _, put = bench.straddle(gateway)
        gateway.send(bench.order(0, 10))
        await bench.until(OrderFilled)
        before = len(bench.notices("foreign_execution"))
        name = gateway._instruments[put].symbol
        hand = {"instrument_name": name, "amount": 0.1, "type": "market", "label": "by hand"}
        await gateway._orders.request("private/buy", hand)
        (told,) = await bench.until_notice("foreign_execution")
        assert before == 0  # its own execution is no reason
        assert (told.kind, told.detail, told.asks_for_reconciliation) == (NoticeKind.GAP, name, True)
        view = await gateway.snapshot(fills_since_ns=bench.world.source.start_ns)
        assert [fill.quantity for fill in view.fills] == [D(10), D("0.1")]
        assert len(bench.notices("foreign_execution")) == 1  # what a look shows asks for no other

    on_bench(scenario)


def test_what_a_desk_leaves_at_its_end_the_venue_cancels(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        gateway.send(bench.order(0, 100, limit=round(float(bench.world.ledger.quotes[0].bid) * 0.97)))
        await bench.until(OrderAccepted)
        left = bench.account.open_orders()
        await gateway.close()
        await until(lambda: not bench.server.protocol.api._sessions)
        assert [order.status for order in left] == [Status.CANCELED]

    on_bench(scenario)


def test_an_expired_token_is_renewed_before_it_ends_and_a_lost_one_gets_a_new_login(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        connection = gateway._orders
        first = connection._refresh_token
        await connection._authenticate(refresh=True)
        second = connection._refresh_token
        assert first != second
        bench.server.protocol.api._refresh.clear()  # the venue knows no token any more
        await connection._authenticate(refresh=True)
        assert connection._refresh_token not in (first, second)
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled)

    on_bench(scenario)


def test_a_token_that_the_venue_no_longer_takes_is_replaced_and_the_order_goes_out_once(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        (session,) = [each for each in bench.server.protocol.api._sessions if each.cancels_on_disconnect]
        first, session.token_expires_ns = gateway._orders._refresh_token, 0
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled)
        assert gateway._orders._refresh_token != first
        assert len(bench.account.orders) == 1

    on_bench(scenario)


def test_without_credits_an_order_is_rejected_by_name_and_the_connection_comes_again(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled)
        credits_left = bench.server.protocol.api._credits[bench.account.name, True]
        credits_left.left, credits_left.a_second = 0.0, 0.0
        gateway.send(bench.order(0, 100))
        (rejected,) = await bench.until(OrderRejected)
        assert "too_many_requests (10028)" in rejected.reason
        (limited,) = await bench.until_notice("too_many_requests")
        assert limited.kind is NoticeKind.LIMITED
        await bench.until_notice("connected", 2)
        credits_left.left = 20.0
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled, 2)

    on_bench(scenario)


def test_a_burst_stays_within_the_credits_of_the_venue(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        for _ in range(30):
            gateway.send(bench.order(0, 10))
        await bench.until((OrderFilled, OrderNotFound, OrderRejected), 30)
        assert 15 <= len(bench.of(OrderFilled)) < 30
        assert not bench.of(OrderRejected)

    on_bench(scenario)


def test_a_snapshot_that_cannot_be_read_is_asked_for_again(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        true = bench.server.protocol.api.receive

        def receive(session, text):
            if '"private/get_positions"' in text:
                number = json.loads(text)["id"]
                session.send(
                    json.dumps(
                        {"jsonrpc": "2.0", "id": number, "result": [{"instrument_name": "X", "size": "much"}]}
                    )
                )
            else:
                true(session, text)

        bench.server.protocol.api.receive = receive
        with pytest.raises(RetryError, match="the venue's answer cannot be read") as refused:
            await gateway.snapshot()
        assert refused.value.where == "snapshot"
        assert refused.value.value == "size is no number: 'much'"
        bench.server.protocol.api.receive = true
        assert (await gateway.snapshot()).account.cash == D(2)

    on_bench(scenario)


def test_maintenance_refuses_by_name_and_ends(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        reply, _ = bench.server.admin.handle("POST", "maintenance", b'{"locked": true}')
        assert reply == 200
        assert (await gateway._orders.request("public/status", {}))["locked"] == "true"
        gateway.send(bench.order(0, 100))
        (rejected,) = await bench.until(OrderRejected)
        assert "system_maintenance (11051)" in rejected.reason
        await bench.until_notice("system_maintenance")
        with pytest.raises(RetryError, match="system_maintenance"):
            await gateway.snapshot()
        await gateway._orders.drop()  # a login during the maintenance is tried again until it stands
        await bench.until_notice("connection_lost")
        bench.server.protocol.api.lock(False)
        await bench.until_notice("connected", 2)
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled)

    on_bench(scenario)


def test_the_venue_cancels_orders_when_their_connection_is_lost_and_not_when_that_of_the_quotes_is(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        await gateway.subscribe([0])
        await gateway._quotes.request("public/get_time", {})
        bid = round(bench.world.ledger.quotes[0].bid)
        gateway.send(bench.order(0, 100, limit=round(bid * 0.97)))
        await bench.until(OrderAccepted)
        sessions = bench.server.protocol.api._sessions
        assert sorted(each.cancels_on_disconnect for each in sessions) == [False, True]
        await gateway._quotes.drop()
        await bench.until_notice("connection_lost")
        (shown,) = (await gateway.snapshot()).open_orders
        assert shown.is_open

    on_bench(scenario)


def test_a_clock_that_follows_the_venue_stands_at_its_time_once_connected(on_bench):
    async def scenario(bench):
        clock = FollowingClock()
        await bench.gateway(clock=clock).connect()
        assert clock.now_ns() // 10**6 == bench.world.now_ns // 10**6

    on_bench(scenario)


def test_the_day_of_account_lasts_from_eight_o_clock_utc_to_the_next(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        clock = (await gateway.snapshot()).clock
        assert clock.is_open
        assert from_ns(clock.now_ns).hour == 8
        assert from_ns(clock.next_close_ns) == datetime(2025, 3, 6, 8, tzinfo=UTC)

    on_bench(scenario)


def test_a_test_request_is_answered_and_a_missed_one_ends_the_connection(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        (session,) = [each for each in bench.server.protocol.api._sessions if each.channels]
        bench.server.protocol.api.beat(session)
        await bench.round_trip(gateway)
        assert not session.is_tested
        session.is_tested = True  # as if no answer had come since the last beat
        bench.server.protocol.api.beat(session)
        (lost,) = await bench.until_notice("connection_lost")
        assert lost.kind is NoticeKind.DISCONNECTED

    on_bench(scenario)


def test_a_venue_that_has_gone_silent_is_left_and_called_again(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        await bench.round_trip(gateway)
        while not bench.notices("half_open"):  # a late frame would count as a sign of life
            gateway._orders._last_at = -math.inf
            await asyncio.sleep(0.01)
        (lost,) = bench.notices("half_open")
        assert (lost.kind, lost.stream) == (NoticeKind.DISCONNECTED, "orders")
        await bench.until_notice("connected", 2)
        gateway.send(bench.order(0, 100))
        await bench.until(OrderFilled)

    on_bench(scenario)


def test_wrong_keys_are_refused_with_what_to_do(on_bench):
    async def scenario(bench):
        gateway = bench.gateway(keys=(Secret(bench.server.keyring.credentials[0].key), Secret("wrong")))
        with pytest.raises(ConfigError, match="invalid_credentials") as refused:
            await gateway.connect()
        assert "wrong" not in refused.value.render()
        assert "wrong" not in repr(gateway)

    on_bench(scenario)


def test_a_clock_that_is_off_is_refused(on_bench):
    async def scenario(bench):
        class Late:
            def now_ns(self):
                return bench.world.now_ns - 5 * 10**9

        with pytest.raises(ConfigError, match="clock"):
            await bench.gateway(clock=Late()).connect()

    on_bench(scenario)


def test_an_edit_moves_a_resting_order_in_place_and_the_desk_counts_on_under_its_new_name(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        bid, ask = (round(getattr(bench.world.ledger.quotes[0], side)) for side in ("bid", "ask"))
        resting = bench.order(0, 100, limit=round(bid * 0.97))
        gateway.send(resting)
        await bench.until(OrderAccepted)
        further = bench.order(0, 150, limit=round(bid * 0.98))
        gateway.send(ReplaceOrder(resting.client_order_id, further))
        (gone,) = await bench.until(OrderCancelled)
        accepted = (await bench.until(OrderAccepted, 2))[-1]
        assert (gone.client_order_id, gone.reason) == (resting.client_order_id, "replaced")
        assert accepted.client_order_id == further.client_order_id
        view = await gateway.snapshot()
        (shown,) = view.open_orders
        assert (shown.client_order_id, shown.venue_order_id) == (
            further.client_order_id,
            accepted.venue_order_id,
        )
        crossing = bench.order(0, 120, limit=ask + 5)
        gateway.send(ReplaceOrder(further.client_order_id, crossing))
        (filled,) = await bench.until(OrderFilled)
        assert (filled.client_order_id, filled.quantity) == (crossing.client_order_id, D(120))
        assert bench.account.quantity(0) == 120
        view = await gateway.snapshot(fills_since_ns=bench.world.source.start_ns)
        await bench.round_trip(gateway)
        assert [fill.quantity for fill in view.fills] == [D(120)]
        assert bench.of(OrderFilled) == [filled]
        assert gateway.health().unknown == ()
        assert bench.notices("foreign_execution") == []

    on_bench(scenario)


def test_a_stop_waits_is_moved_and_fills_under_the_id_that_its_trigger_gave_it(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        mid = round(bench.world.ledger.quotes[0].mid)
        first, second = (
            structs.replace(bench.order(0, -100), order_type=Stop(D(mid - below))) for below in (5_000, 20)
        )
        gateway.send(first)
        (accepted,) = await bench.until(OrderAccepted)
        (shown,) = (await gateway.snapshot()).open_orders
        assert (shown.venue_order_id, shown.status, shown.is_open) == (
            accepted.venue_order_id,
            "untriggered",
            True,
        )
        gateway.send(ReplaceOrder(first.client_order_id, second))
        await bench.until(OrderAccepted, 2)
        for _ in range(600):
            bench.advance(60)
            if bench.account.holdings:
                break
        (filled,) = await bench.until(OrderFilled)
        assert (filled.client_order_id, filled.quantity) == (second.client_order_id, D(100))
        assert bench.account.quantity(0) == -100
        view = await gateway.snapshot(fills_since_ns=bench.world.source.start_ns)
        await bench.round_trip(gateway)
        assert view.open_orders == ()
        assert bench.of(OrderFilled) == [filled]
        assert bench.notices("foreign_execution") == []

    on_bench(scenario)


def test_an_edit_of_what_is_filled_in_part_goes_on_with_the_rest(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        bench.world.faults.inject(Fault("partial_fill", fraction=0.4))
        ask = round(bench.world.ledger.quotes[0].ask)
        first = bench.order(0, 100, limit=ask + 5)
        gateway.send(first)
        (part,) = await bench.until(OrderFilled)
        assert part.quantity == 40
        rest = bench.order(0, 60, limit=ask + 10)
        gateway.send(ReplaceOrder(first.client_order_id, rest))
        fills = await bench.until(OrderFilled, 2)
        assert [(fill.client_order_id, fill.quantity) for fill in fills] == [
            (first.client_order_id, D(40)),
            (rest.client_order_id, D(60)),
        ]
        assert await gateway.query_order(rest.client_order_id)
        await gateway.snapshot(fills_since_ns=bench.world.source.start_ns)
        await bench.round_trip(gateway)
        assert len(bench.of(OrderFilled)) == 2
        assert bench.account.quantity(0) == 100

    on_bench(scenario)


@pytest.mark.parametrize("quantity", [100, 150])
@pytest.mark.parametrize("has_arrived", [True, False])
def test_an_edit_whose_answer_is_lost_is_settled_by_the_state_of_the_order(on_bench, quantity, has_arrived):
    async def scenario(bench):
        gateway = await bench.connected()
        bid = float(bench.world.ledger.quotes[0].bid)
        resting = bench.order(0, 100, limit=round(bid * 0.97))
        gateway.send(resting)
        await bench.until(OrderAccepted)
        further = bench.order(0, quantity, limit=round(bid * 0.98))
        bench.swallow("private/edit", after=has_arrived)
        gateway.send(ReplaceOrder(resting.client_order_id, further))
        if has_arrived:
            (gone,) = await bench.until(OrderCancelled)
            assert (gone.client_order_id, gone.reason) == (resting.client_order_id, "replaced")
            assert (await bench.until(OrderAccepted, 2))[-1].client_order_id == further.client_order_id
            assert gateway.health().unknown == ()
        else:
            (absent,) = await bench.until(OrderNotFound)
            doubts = await bench.until(OrderStatusUnknown, 2)
            assert [(one.client_order_id, one.reason) for one in doubts] == [
                (further.client_order_id, "not at the venue"),
                (resting.client_order_id, "replace: "),
            ]
            assert absent.client_order_id == further.client_order_id
        (shown,) = (await gateway.snapshot()).open_orders
        left = further if has_arrived else resting
        assert (shown.client_order_id, shown.quantity) == (left.client_order_id, left.quantity)

    on_bench(scenario)


def test_an_edit_that_the_venue_refuses_leaves_the_order_as_it_was(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        bid = float(bench.world.ledger.quotes[0].bid)
        resting = bench.order(0, 100, limit=round(bid * 0.97))
        gateway.send(resting)
        await bench.until(OrderAccepted)
        gateway.send(ReplaceOrder(resting.client_order_id, bench.order(0, 100, limit=round(bid * 1.2))))
        (rejected,) = await bench.until(OrderRejected)
        (kept,) = await bench.until(CancelRejected)
        assert "price_too_high (10007)" in rejected.reason
        assert kept.client_order_id == resting.client_order_id
        (shown,) = (await gateway.snapshot()).open_orders
        assert shown.client_order_id == resting.client_order_id
        gateway.send(ReplaceOrder("never-sent", bench.order(0, 100, limit=round(bid))))
        await bench.until(OrderNotFound)

    on_bench(scenario)


def test_what_the_venue_cannot_take_is_refused_before_it_is_sent(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        gateway.send(bench.order(0, 100, tif=TimeInForce.CLS))
        gateway.send(bench.order(0, 100, name="x" * 65))
        first, second = await bench.until(OrderRejected, 2)
        assert "cls" in first.reason
        assert "64" in second.reason
        assert not bench.account.orders
        assert not bench.of(CancelRejected)

    on_bench(scenario)


def test_a_day_of_funding_and_a_delivery_are_in_the_accounts_history(on_bench):
    """A change of the balance without a trade comes by its own id, and adds up to the broker's cash."""

    async def scenario(bench):
        gateway = await bench.connected()
        began_ns = bench.world.now_ns
        tomorrow = next(
            number
            for number, item in enumerate(gateway._instruments)
            if isinstance(item, OptionContract) and item.is_call and item.expiry == date(2025, 3, 6)
        )
        gateway.send(bench.order(tomorrow, "0.5"))
        gateway.send(bench.order(0, "-300"))
        fills = await bench.until(OrderFilled, 2)
        bench.advance(24 * 3_600)
        view = await gateway.snapshot(fills_since_ns=began_ns)
        causes = [activity.cause for activity in view.activities]
        assert causes.count(ChangeCause.FUNDING) == 10  # hours with a rate
        delivered = [each for each in view.activities if each.quantity_change]
        assert [(each.cause in ENDED, each.quantity_change) for each in delivered] == [(True, D("-0.5"))]
        traded = ((tomorrow, D("0.5")), (0, D(-300)))
        paid = sum(
            gateway._instruments[number].cash_flow(signed, fill.price) - fill.fee
            for fill, (number, signed) in zip(fills, traded, strict=True)
        )
        moved = sum(activity.cash_change for activity in view.activities)
        assert abs(D(2) + paid + moved - bench.account.cash) < SATOSHI
        assert abs(view.account.cash - bench.account.cash) < SATOSHI

    on_bench(scenario)


def test_contracts_are_found_with_their_open_interest_and_ticks(on_bench):
    async def scenario(bench):
        gateway = bench.gateway()
        await gateway.connect()

        found = await gateway.discover("BTC-PERPETUAL", date(2025, 3, 14), date(2025, 3, 14))
        assert len(found) == 18
        assert {item.open_interest_contracts for item in found} == {500}
        theirs = bench.world.ledger.instruments
        assert all(theirs[theirs.id_of(item.contract.symbol)] == item.contract for item in found)

    on_bench(scenario)


def test_bars_of_minutes_and_of_days_are_one_market(on_bench):
    """The exchange stands five minutes into its day, which begins at 8:00 in Greenwich."""

    async def scenario(bench):
        gateway = bench.gateway()
        await gateway.connect()
        minutes = await gateway.minute_bars(0, DAY, DAY)
        opens_ns = bench.world.source.start_ns
        assert [bar.start_ns for bar in minutes] == [opens_ns + 60 * 10**9 * count for count in range(6)]
        (day,) = await gateway.daily_bars(0, DAY - timedelta(days=2), DAY)
        assert (day.day, day.open, day.close) == (DAY, minutes[0].open, minutes[-1].close)
        assert (day.high, day.low) == (max(bar.high for bar in minutes), min(bar.low for bar in minutes))
        assert await gateway.daily_bars(0, DAY - timedelta(days=2), DAY - timedelta(days=1)) == ()

    on_bench(scenario)


def test_a_gateway_that_is_closed_has_no_connection_left(on_bench):
    async def scenario(bench):
        gateway = await bench.connected()
        await gateway.subscribe([0])
        assert set(gateway.health().streams.values()) == {True}
        await gateway.close()
        assert set(gateway.health().streams.values()) == {False}

    on_bench(scenario)


@pytest.mark.parametrize(("was_sent", "kind"), [(True, OrderStatusUnknown), (False, OrderNotFound)])
def test_only_an_order_that_left_before_the_connection_broke_is_in_doubt(
    on_bench, monkeypatch, was_sent, kind
):
    async def scenario(bench):
        gateway = await bench.connected()

        async def lost(*_):
            raise Disconnected("the connection broke", was_sent=was_sent)

        monkeypatch.setattr(gateway._orders, "request", lost)
        sent = bench.order(0, "100")
        gateway.send(sent)
        (event,) = await bench.until(kind)
        assert event.client_order_id == sent.client_order_id
        assert bench.account.orders == {}

    on_bench(scenario)
