"""Login, client ids, the broker's link, farms, restarts and pacing of TWS, over its socket."""

import asyncio
from decimal import Decimal
from itertools import product

import pytest

from scalpdesk.base import DAY_NS, ConfigError, Equity, QuoteEvent, RetryError
from scalpdesk.core.events import OpenInterestEvent, OrderNotFound
from scalpdesk.core.intents import CancelOrder
from scalpdesk.instruments.classes import us_option
from scalpdesk.journal.codec import encode_events
from scalpdesk.orders.order import OrderState
from scalpdesk.venues import EventPublisher, KnownOrder, Listener, LiveToken, NoticeKind
from scalpdesk.venues.bounds import LARGEST_COUNT, LARGEST_FIGURE
from scalpdesk.venues.words import is_severe
from scalpdesk_ibkr.connection import TwsConnection
from scalpdesk_ibkr.gateway import IbkrGateway
from scalpdesk_ibkr.served.protocol import Restart, SystemMessage
from scalpdesk_ibkr.settings import IbkrSettings
from scalpdesk_ibkr.venue import VENUE
from scalpdesk_testing.kit.served import against

pytestmark = pytest.mark.usefixtures("socket_enabled")


async def connected(bench, **changes):
    gateway = bench.gateway(**changes)
    await gateway.connect()
    return Listener(bench, gateway)


async def resting(bench, desk):
    order = await desk.submit(bench.share, 5, limit=bench.far_below(bench.share))
    await desk.until(lambda: order.state is OrderState.WORKING)
    return order


def message(bench, code, text=""):
    bench.server.protocol.send_message(SystemMessage(code=code, text=text))


def named(desk, kind):
    return [(each.stream, each.name) for each in desk.notices if each.kind is kind]


ABSURD = ("1e30", "-1e30", "9" * 40, "1e400", "NaN", "1.7976931348623157E308", "2147483647", "-1", "0", "")
ABSURD += (str(2**63 - 1), str(2**127 - 1), "253402300800", "99999999999999999999")
"""Texts of numbers that a message of TWS can carry, the vendor's "no value" among them."""


def test_whatever_number_stands_in_a_tick_the_journal_holds_what_is_read_and_the_clock_stands():
    async def spoilt(bench):
        desk = await connected(bench)
        decoder, seen = desk.gateway._connection.ib.client.decoder, {}
        interpret = decoder.interpret

        def noted(fields):
            seen.setdefault((fields[0], fields[3] if len(fields) > 3 else ""), list(fields))
            interpret(fields)

        decoder.interpret = noted
        await desk.gateway.subscribe([bench.share, bench.call, bench.put])
        await desk.until(lambda: len([kind for kind, _ in seen if kind in {"1", "2", "46", "49"}]) > 6)
        ticks = [fields for (kind, _), fields in seen.items() if kind in {"1", "2", "45", "46", "49"}]
        ticks += [["2", "6", ticks[0][2], "27", "5"], ["45", "6", ticks[0][2], "49", "0"]]
        now_ns = desk.gateway._publisher.timestamp()
        changed = 0
        for fields in ticks:
            for place, text in product(range(2, len(fields)), ABSURD):
                interpret([*fields[:place], text, *fields[place + 1 :]])
                changed += 1
        await desk.until(lambda: bool(desk.of(QuoteEvent)))
        encode_events(desk.events)
        assert changed > 200
        assert all(each.ts_recv_ns - now_ns < DAY_NS for each in desk.events)
        assert all(max(each.bid, each.ask) < LARGEST_FIGURE for each in desk.of(QuoteEvent))
        assert all(0 <= each.open_interest_contracts <= LARGEST_COUNT for each in desk.of(OpenInterestEvent))
        assert desk.gateway.health().counters.get("internal_fault", 0) == 0
        order = await desk.submit(bench.share, 1)
        await desk.over(order)  # it trades on
        await desk.close()

    against(spoilt)


@pytest.mark.rows("value", ["1e30", str(2**127 - 1), "1e400", "NaN"])
def test_an_open_interest_that_is_none_is_not_published(value):
    async def ticked(bench):
        desk = await connected(bench)
        await desk.gateway.subscribe([bench.call])
        await desk.until(lambda: bool(desk.of(OpenInterestEvent)))
        connection = desk.gateway._connection
        (request_id,) = connection.ib.wrapper.reqId2Ticker
        before = desk.of(OpenInterestEvent)
        connection.ib.client.decoder.interpret(["2", "6", str(request_id), "27", value])
        came = len(desk.of(QuoteEvent))
        await desk.until(lambda: len(desk.of(QuoteEvent)) > came)
        assert desk.of(OpenInterestEvent) == before
        assert named(desk, NoticeKind.REFUSED) == (
            [] if value == str(2**127 - 1) else [("requests", "malformed_message")]
        )
        await desk.close()

    against(ticked)


def test_without_the_brokers_link_orders_wait_for_nothing_and_come_back_with_it():
    async def lost(bench):
        desk = await connected(bench)
        order = await resting(bench, desk)
        message(bench, 1100)
        await desk.until(lambda: not desk.gateway.health().streams["orders"])
        refused = await desk.submit(bench.share, 5)
        await desk.over(refused)
        assert isinstance(desk.events[-1], OrderNotFound)
        message(bench, 1102)
        await desk.until(lambda: ("orders", "broker_link_back") in named(desk, NoticeKind.CONNECTED))
        assert ("orders", "broker_link_lost") in named(desk, NoticeKind.DISCONNECTED)
        assert order.state is OrderState.WORKING  # it never left the broker
        filled = await desk.submit(bench.share, 1)
        await desk.over(filled)
        desk.assert_adds_up()
        await desk.close()

    against(lost)


def test_lines_that_the_broker_lost_are_opened_again():
    async def lost(bench):
        desk = await connected(bench)
        await desk.gateway.subscribe([bench.share])
        await desk.until(lambda: bool(desk.of(QuoteEvent)))
        message(bench, 1100)
        message(bench, 1101)
        before = len(desk.of(QuoteEvent))
        await desk.until(lambda: len(desk.of(QuoteEvent)) > before + 2)
        assert ("orders", "broker_link_back_data_lost") in named(desk, NoticeKind.CONNECTED)
        await desk.close()

    against(lost)


def test_farms_have_names_and_a_lost_one_is_seen_in_the_quotes():
    async def lost(bench):
        desk = await connected(bench)
        message(bench, 2103, "usfarm")
        await desk.until(lambda: not desk.gateway.health().streams["quotes"])
        assert desk.gateway.health().streams["orders"]
        message(bench, 2105)
        message(bench, 2108)
        message(bench, 2106)
        await desk.until(lambda: desk.gateway.health().counters.get("history_farm_lost") == 1)
        await desk.until(lambda: desk.gateway.health().streams["quotes"])
        assert named(desk, NoticeKind.DISCONNECTED)[0] == ("quotes", "quote_farm_lost")
        message(bench, 2110)
        await desk.until(lambda: not desk.gateway.health().streams["orders"])
        await desk.close()

    against(lost)


def test_orders_ids_and_executions_are_there_after_the_nightly_restart():
    async def restarted(bench):
        desk = await connected(bench)
        await desk.gateway.subscribe([bench.share])
        order = await resting(bench, desk)
        bench.server.protocol.restart(Restart(down_seconds=0.3))
        await desk.until(lambda: ("orders", "disconnected") in named(desk, NoticeKind.DISCONNECTED))
        await desk.until(lambda: len([each for each in desk.notices if each.asks_for_reconciliation]) > 1)
        before = len(desk.of(QuoteEvent))
        await desk.until(lambda: len(desk.of(QuoteEvent)) > before)
        view = await desk.gateway.snapshot(fills_since_ns=0)
        assert [each.client_order_id for each in view.open_orders] == [order.client_order_id]
        desk.gateway.send(CancelOrder(order.client_order_id))
        await desk.over(order)
        assert order.state is OrderState.CANCELLED
        await desk.close()

    against(restarted)


def test_a_pacing_violation_has_a_name_and_orders_go_on():
    async def paced(bench):
        desk = await connected(bench)
        message(bench, 100, "Max rate of messages per second has been exceeded")
        await desk.until(lambda: ("requests", "pacing") in named(desk, NoticeKind.LIMITED))
        order = await desk.submit(bench.share, 1)
        await desk.over(order)
        assert order.state is OrderState.FILLED
        await desk.close()

    against(paced)


def test_a_watchdog_waits_beside_the_desk_and_takes_over_its_client_id():
    async def died(bench):
        desk = await connected(bench)
        order = await resting(bench, desk)
        watchdog = IbkrGateway(bench.setup(is_watchdog=True), bench.settings())
        await watchdog.connect()
        beside = Listener(bench, watchdog, desk.orders)
        assert watchdog.health().streams["orders"]
        await desk.gateway.close(graceful=False)
        watchdog.adopt([KnownOrder(order.submitted, venue_order_id=order.venue_order_id)])
        assert not watchdog.health().streams["orders"]
        await beside.until(lambda: len([each for each in beside.notices if each.asks_for_reconciliation]) > 1)
        (shown,) = (await watchdog.snapshot()).open_orders
        assert await watchdog.cancel_at_venue(shown.venue_order_id)
        await beside.over(order)
        assert (await watchdog.snapshot()).open_orders == ()
        closing = await beside.submit(bench.share, 1)
        await beside.over(closing)
        assert closing.state is OrderState.FILLED
        assert watchdog.health().counters.get("global_cancel", 0) == 0
        await beside.close()

    against(died)


def test_a_question_that_is_cancelled_as_its_answer_comes_is_cancelled():
    """It was answered instead: what asks for the time went on, and a watchdog that was done never ended.

    So TWS kept the desk's client id, and refused the desk's next start.
    """

    async def met(bench):
        publisher = EventPublisher(bench.setup().clock)
        connection = TwsConnection(bench.setup(), bench.settings(), 5, publisher)
        answer = asyncio.get_running_loop().create_future()
        asking = asyncio.create_task(connection.question(lambda: answer, "time"))
        await asyncio.sleep(0.01)
        answer.set_result(1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    against(met)


def test_an_order_of_a_client_that_left_is_cancelled_under_its_id():
    async def cancelled(bench):
        first = await connected(bench, client_id=7)
        order = await resting(bench, first)
        await first.gateway.close(graceful=False)
        second = await connected(bench, client_id=8)
        (shown,) = (await second.gateway.snapshot()).open_orders
        assert (shown.client_order_id, shown.filled) == (order.client_order_id, 0)
        assert await second.gateway.cancel_at_venue(shown.venue_order_id)
        while (await second.gateway.snapshot()).open_orders:
            pass
        assert second.unmatched == []
        await second.close()

    against(cancelled)


def test_two_clients_do_not_see_each_others_orders():
    async def apart(bench):
        first, second = await connected(bench, client_id=1), await connected(bench, client_id=2)
        orders = [await first.submit(bench.share, 3), await resting(bench, second)]
        await first.over(orders[0])
        assert {each.client_order_id for each in first.events if hasattr(each, "client_order_id")} == {
            orders[0].client_order_id
        }
        await second.gateway.snapshot(fills_since_ns=0)
        assert second.unmatched == []
        assert orders[1].filled == 0
        await first.close()
        await second.close()

    against(apart)


def test_paper_and_real_money_are_told_apart():
    async def armed(bench):
        token = LiveToken("DU1000001", "hash", 1, "operator")
        with pytest.raises(ConfigError) as caught:
            await bench.gateway(live_token=token).connect()
        assert caught.value.where == "venues.ibkr.port"
        protocol = bench.server.protocol
        protocol.codes["U1000001"] = protocol.codes.pop("DU1000001")
        with pytest.raises(ConfigError) as caught:
            await bench.gateway().connect()
        assert caught.value.where == "venues.ibkr.port"
        with pytest.raises(ConfigError):
            await bench.gateway(live_token=token).connect()
        facts = await VENUE.live_account(bench.setup(), bench.settings())
        assert (facts.account_id, facts.cash) == ("U1000001", Decimal(100_000))

    against(armed)


def test_paper_needs_no_arming():
    async def asked(bench):
        with pytest.raises(ConfigError):
            await VENUE.live_account(bench.setup(), IbkrSettings(port=bench.server.protocol.port))

    against(asked)


# the broker's words ---------------------------------------------------------------------------------------


_PLACE_ORDER, _MARKET_DATA = "3", "1"


def _unchanged(fields):
    return [fields]


def sent_last(bench, kind, place):
    """Return a field of the last message of a kind that the gateway has sent: the id of its request."""
    return next(fields[place] for fields in reversed(bench.line.asked) if fields[0] == kind)


def words_of(desk):
    return [each.detail for each in desk.notices if each.kind is NoticeKind.TOLD]


URGENT = "URGENT: equity with loan value no longer meets the margin requirement; positions may be liquidated."


def test_what_no_table_lists_is_told_and_everyday_messages_are_not():
    """A code from 2100 to 2199 counted as noise: a warning of margin reached nobody."""

    async def warned(bench):
        desk = await connected(bench)
        sent = [
            (2148, URGENT),
            (2148, "ALERT: the cushion above the margin requirement is 5 %."),
            (2148, "The account does not comply with Regulation T."),
            (2199, "a message of this range that no table lists"),
            (2100, "API client has been unsubscribed from account data"),
            (10_999, "a message beyond all ranges"),
        ]
        for code, text in sent:
            message(bench, code, text)
        for code in (2104, 2106, 2108, 2119, 2158):
            message(bench, code, "Market data farm connection is OK:usfarm")
        await desk.until(lambda: len(words_of(desk)) >= len(sent))
        assert words_of(desk) == [f"{code} {text}" for code, text in sent]
        assert [is_severe(words) for words in words_of(desk)] == [True] * 3 + [False] * 3
        order = await desk.submit(bench.share, 1)
        await desk.over(order)  # none stops the desk
        await desk.close()

    against(warned)


@pytest.mark.rows(
    ("said", "why"),
    [
        ([(2158, "Sec-def data farm connection is OK:secdefnj"), (10148, "OrderId 7 …")], "the socket ended"),
        ([(2148, URGENT)], "the socket ended"),
        ([], "the socket ended"),
        (
            [(1300, "TWS socket port has been reset"), (2158, "OK:secdefnj")],
            "1300 TWS socket port has been reset",
        ),
        ([(507, "Bad message length")], "507 Bad message length"),
    ],
)
def test_a_lost_socket_has_its_own_reason_and_no_other_messages(said, why):
    async def lost(bench):
        desk = await connected(bench)
        for code, text in said:
            message(bench, code, text)
        loud = [code for code, _ in said if code != 2158]
        await desk.until(lambda: len(words_of(desk)) >= len(loud))
        bench.server.protocol.restart(Restart())
        await desk.until(lambda: named(desk, NoticeKind.DISCONNECTED) != [])
        lost = {each.detail for each in desk.notices if each.kind is NoticeKind.DISCONNECTED}
        assert lost == {why}
        await desk.close()

    against(lost)


def test_why_a_connection_does_not_come_back_is_told():
    async def lost(bench):
        desk = await connected(bench)
        bench.server.protocol.restart(Restart(down_seconds=1.0))
        await desk.until(lambda: any("does not come up" in words for words in words_of(desk)))
        await desk.until(lambda: desk.gateway.health().streams["orders"])
        await desk.close()

    against(lost)


def test_a_remark_on_an_order_is_told_and_the_order_goes_on():
    async def remarked(bench):
        desk = await connected(bench)
        order = await resting(bench, desk)
        request_id = sent_last(bench, _PLACE_ORDER, 1)
        texts = {
            399: "Order Message: your order will not be placed at the exchange until 09:30",
            2161: "the price is capped",
        }
        for code, text in texts.items():
            bench.line.tell("4", "2", request_id, code, text, "")
        await desk.until(lambda: len(words_of(desk)) >= 2)
        for text in texts.values():
            assert any(text in words for words in words_of(desk))
        assert order.state is OrderState.WORKING
        await desk.close()

    against(remarked, _unchanged)


# a contract that TWS does not name ------------------------------------------------------------------------


def quoted(desk, since=0):
    return {each.instrument_id for each in desk.of(QuoteEvent)[since:]}


def test_one_contract_that_was_renamed_overnight_takes_no_quotes_from_the_others():
    """The whole desk was without quotes, and the contract not named."""

    async def renamed(bench):
        desk = await connected(bench)
        known = bench.book[bench.call]
        number = bench.book.add(us_option("SPY291221C00123000", ["SPY"]))
        await desk.gateway.subscribe([number, bench.share, bench.call])
        await desk.until(
            lambda: {each.instrument_id for each in desk.of(QuoteEvent)} >= {bench.share, bench.call}
        )
        assert any("SPY291221C00123000" in words for words in words_of(desk))
        quotes = await desk.gateway.quotes([number, bench.share])
        assert [each.instrument_id for each in quotes] == [bench.share]
        assert known.symbol not in "".join(words_of(desk))
        await desk.close()

    against(renamed)


def test_quotes_of_options_alone_are_no_answer_where_nothing_that_trades_is_named():
    async def renamed(bench):
        desk = await connected(bench)
        number = bench.book.add(Equity("RENAMED"))
        with pytest.raises(RetryError):
            await desk.gateway.subscribe([number, bench.call])
        await desk.until(lambda: bench.call in quoted(desk))
        await desk.close()

    against(renamed)


def test_a_line_whose_contract_is_gone_is_told_and_its_name_asked_for_anew():
    async def gone(bench):
        desk = await connected(bench)
        await desk.gateway.subscribe([bench.share, bench.call])
        await desk.until(lambda: bench.call in quoted(desk))
        text = "No security definition has been found for the request"
        bench.line.tell("4", "2", sent_last(bench, _MARKET_DATA, 2), 200, text, "")
        symbol = bench.book[bench.call].symbol
        await desk.until(lambda: any(symbol in words and text in words for words in words_of(desk)))
        came = len(desk.of(QuoteEvent))
        await desk.gateway.subscribe([bench.share, bench.call])
        await desk.until(lambda: bench.call in {each.instrument_id for each in desk.of(QuoteEvent)[came:]})
        await desk.close()

    against(gone, _unchanged)
