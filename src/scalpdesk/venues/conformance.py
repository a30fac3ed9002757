"""The questions to a venue: one list, each with what it needs of the venue and the account.

``scalpdesk certify`` asks those that a vendor's paper account can answer; the tests of ``scalpdesk_testing``
ask all of them at a served exchange, whose own books judge the answers. Nothing here is a stand-in: the
gateway is the one that trades.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial
from inspect import signature
from typing import Any, Protocol

from scalpdesk.core.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderEvent,
    OrderFilled,
    OrderNotFound,
    OrderRejected,
    OrderStatusUnknown,
    QuoteEvent,
)
from scalpdesk.core.intents import CancelOrder, MultiLegOrder, OrderIntent, Purpose, Side
from scalpdesk.core.units import DAY_NS, NANOS_PER_SECOND, SATOSHI, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.orders.order_manager import OrderManager
from scalpdesk.venues.contract import Gateway, KnownOrder, NoticeKind
from scalpdesk.venues.listener import (
    AskedVenue,
    Listener,
    Truth,
    connected,
    expect,
    new_order,
)

CLOCK_SECONDS = 2.0
"""Most by which the machine's clock may differ from a vendor's."""


class ServedVenue(AskedVenue, Protocol):
    """A simulated exchange that serves the venue's protocol, shows its books and errs when it is told to."""

    @property
    def call(self) -> InstrumentId:
        """A call near the market, weeks from its expiry."""
        ...

    @property
    def put(self) -> InstrumentId:
        """The put of the same strike and expiry."""
        ...

    def truth(self) -> Truth:
        """Return the exchange's own view."""
        ...

    def strike(self, what: str) -> None:
        """Let the next fitting thing go wrong.

        ``lost_answer`` (order taken, answer lost), ``lost_order`` (order lost), ``server_error``,
        ``reject``, ``partial`` (half is filled now, the rest stays), ``repeated_update``,
        ``swapped_updates``, ``rate_limit``.
        """
        ...

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        ...

    def lose_quotes(self, number: InstrumentId) -> None:
        """Drop the subscription to an instrument's quotes at the venue, which says nothing of it."""
        ...

    async def cut_order_stream(self, gateway: Any) -> None:
        """Break the order stream's connection under the gateway."""
        ...


class Need(StrEnum):
    """What a question needs of the venue and the account."""

    INSTRUMENTS = "the underlying and its options"
    SESSION = "an open session"
    COMBO = "orders of two legs"
    STRADDLE = "a put and a call of one strike, both quoted"
    QUOTE = "a bid, below which a limit rests"
    FILLS = "orders that may fill"
    BOOKS = "an exchange whose own books can be read, and an account for the question alone"
    FAULTS = "an exchange that errs when it is told to"


SERVED = frozenset({Need.FILLS, Need.BOOKS, Need.FAULTS})
"""What a served exchange alone has."""
_RESTING = (Need.INSTRUMENTS, Need.SESSION, Need.QUOTE)
_FILLED = (Need.FILLS, Need.BOOKS)
_FAULTY = (*_FILLED, Need.FAULTS)


@dataclass(frozen=True)
class VenueQuestion:
    """One question to a venue.

    ``name``: As a report of ``certify`` has it.
    ``asked``: What must hold.
    ``body``: Asks it of a ``venue`` or ``bench``, and of a connected ``desk`` where it takes one; returns
    what was seen. A bench knows the question by the name of this function.
    """

    name: str
    asked: str
    body: Callable[..., Awaitable[str | None]]
    needs: tuple[Need, ...] = ()

    @property
    def __name__(self) -> str:
        """Name by which a bench lists what it cannot be asked."""
        return self.body.__name__

    @property
    def is_for_vendors(self) -> bool:
        """Whether a vendor's paper account can answer it."""
        return SERVED.isdisjoint(self.needs)

    @property
    def takes_desk(self) -> bool:
        """Whether it is asked through a connection that is there."""
        return "desk" in signature(self.body).parameters

    async def ask(self, venue: AskedVenue, desk: Listener | None = None) -> str:
        """Ask it and return what was seen.

        Raises AssertionError where the venue does otherwise.
        """
        given = {"venue": venue, "bench": venue, "desk": desk}
        return await self.body(**{name: given[name] for name in signature(self.body).parameters}) or ""


_ASKED: list[VenueQuestion] = []


def question(
    name: str, asked: str, *needs: Need
) -> Callable[[Callable[..., Awaitable[str | None]]], VenueQuestion]:
    """Put a question into the list, by the function that asks it."""

    def put(body: Callable[..., Awaitable[str | None]]) -> VenueQuestion:
        _ASKED.append(VenueQuestion(name, asked, body, needs))
        return _ASKED[-1]

    return put


# the account and what it trades ----------------------------------------------------------------------


@question("login", "the paper account opens with these keys")
async def _the_account_opens(desk: Listener) -> str:
    return expect(desk.facts.account_id, f"account {desk.facts.account_id}, status {desk.facts.status}")


@question("account", "the account is in the desk's currency and may trade")
async def _the_account_may_trade(desk: Listener) -> str:
    facts, wanted = desk.facts, desk.terms.currency
    may = "may trade" if facts.may_trade else "may not trade"
    seen = f"{facts.currency}, cash {facts.cash:f}, options level {facts.options_level}, {may}"
    return expect(facts.may_trade and wanted in ("", facts.currency), seen)


@question("clock", f"the venue's clock is within {CLOCK_SECONDS:g} s of this machine's")
async def _the_clock_is_right(desk: Listener) -> str:
    view = desk.view = await desk.gateway.snapshot()
    clock = desk.terms.clock
    now_ns = view.ts_recv_ns if clock is None else clock.now_ns()
    seconds = (now_ns - view.clock.now_ns) / NANOS_PER_SECOND
    state = "open" if view.clock.is_open else "closed"
    seen = f"the venue's clock differs by {seconds:+.2f} s; the session is {state}"
    return expect(clock is None or abs(seconds) <= CLOCK_SECONDS, seen)


@question(
    "contracts",
    "the underlying has options, each with style, settlement and multiplier, or the venue has none",
    Need.INSTRUMENTS,
)
async def _contracts_are_discovered_within_their_window(venue: AskedVenue, desk: Listener) -> str:
    if venue.call is None:
        expect(not desk.facts.options_level, "none")
        symbol = venue.book[venue.share].symbol
        return f"none, and the account may trade none: the orders are for {symbol}"
    contract = venue.book[venue.call]
    assert contract.is_option
    found = await desk.gateway.discover(contract.underlying, contract.expiry, contract.expiry)
    contracts = [one.contract for one in found]
    classes = sorted({_class_text(one) for one in contracts})
    seen = f"{len(found)} options of {contract.expiry}: {'; '.join(classes) or 'none'}"
    expect(contract in contracts, seen)
    expect({one.expiry for one in contracts} == {contract.expiry}, seen)
    counts = [one.open_interest_contracts for one in found]
    expect(all(count is None or count >= 0 for count in counts), f"open interest {counts}")
    return seen


def _class_text(contract: OptionContract) -> str:
    return f"{contract.style}, {contract.settlement}, multiplier {contract.multiplier}"


def _numbers(venue: AskedVenue) -> list[InstrumentId]:
    """Return the underlying and the two options, where there are any."""
    return [number for number in (venue.share, venue.call, venue.put) if number is not None]


@question("quotes", "the latest quotes come with the time of each", Need.INSTRUMENTS)
async def _the_latest_quotes_come_by_query(venue: AskedVenue, desk: Listener) -> str:
    wanted = _numbers(venue)
    found = await desk.gateway.quotes(wanted)
    ages = [(quote.ts_recv_ns - quote.ts_event_ns) / NANOS_PER_SECOND for quote in found]
    seen = f"{len(found)} of {len(wanted)} quoted"
    seen += f", ages {min(ages):.1f} to {max(ages):.1f} s" if ages else ""
    numbers = {quote.instrument_id for quote in found}
    return expect(numbers == set(wanted) if desk.terms.may_fill else numbers, seen)


@question(
    "stream",
    "quotes stream while the session is open, of what is subscribed alone",
    Need.INSTRUMENTS,
    Need.SESSION,
)
async def quotes_stream_for_what_is_subscribed_and_nothing_else(venue: AskedVenue, desk: Listener) -> str:
    wanted = _numbers(venue)[:2]
    before = len(desk.of(QuoteEvent))
    await desk.gateway.subscribe(wanted)

    def seen() -> set[int]:
        return {one.instrument_id for one in desk.of(QuoteEvent)[before:]}

    await desk.until(lambda: seen() >= set(wanted) if desk.terms.may_fill else seen(), "a quote")
    expect(seen() <= set(wanted), f"quotes of {seen()}, subscribed {wanted}")
    if venue.put is not None and desk.terms.may_fill:
        await desk.gateway.subscribe([venue.share, venue.put])
        await desk.until(lambda: venue.put in seen())
    quotes = desk.of(QuoteEvent)[before:]
    for quote in quotes:
        expect(quote.ts_recv_ns >= quote.ts_event_ns > 0, f"out of time: {quote}")
        # an ask of 0: nobody sells
        expect(quote.bid >= 0 and (quote.bid <= quote.ask or not quote.ask), f"not a quote: {quote}")
    return f"{len(quotes)} quotes streamed"


# the life of an order that rests ---------------------------------------------------------------------


@question("order", "a far limit is accepted and rests", *_RESTING)
async def _a_far_limit_rests(desk: Listener) -> str:
    order = await desk.rested()
    desk.assert_nothing_traded()
    return desk.words(order)


@question("doubled", "the same order sent twice rests once, where the venue takes an id once", *_RESTING)
async def an_order_sent_twice_under_one_name_is_one_order(venue: AskedVenue, desk: Listener) -> str:
    order = desk.submit_far()
    await desk.until(lambda: order.state is not OrderState.PENDING_NEW, "an answer to the order")
    desk.gateway.send(order.submitted)
    await asyncio.sleep(min(desk.terms.patience_seconds, 1.0))
    listed = await desk.open_under(order)
    is_label = not desk.gateway.takes_id_once  # the desk never sends an id again there
    seen = f"open under this id: {[each.status for each in listed]}; {desk.words(order)}"
    for twin in listed[1:]:
        await desk.gateway.cancel_at_venue(twin.venue_order_id)
    expect(len(listed) == 1 or (listed and is_label), seen)
    await desk.cancelled(order)
    if desk.terms.may_fill:
        await _a_filled_order_sent_again_by_a_desk_without_memory(venue, desk)
    return seen


async def _a_filled_order_sent_again_by_a_desk_without_memory(venue: AskedVenue, desk: Listener) -> None:
    desk.orders = OrderManager("cf-twice")
    order = await desk.submit(venue.share, 10)
    await desk.over(order)
    await desk.reconnect()
    desk.orders = OrderManager("cf-twice")
    desk.events.clear()
    again = desk.new_order(venue.share, 10)
    assert again.client_order_id == order.client_order_id
    desk.gateway.send(again.submitted)
    await desk.over(again)
    assert again.state is OrderState.FILLED
    assert len(desk.ledger()) == 1
    desk.assert_adds_up()


@question("queried", "a query by the desk's id proves its state", *_RESTING)
async def _a_query_proves_the_state_of_an_order(desk: Listener) -> str:
    order = desk.submit_far()
    await desk.until(lambda: desk.told_of(order), "an answer to the order")
    is_proven = await desk.gateway.query_order(order.client_order_id)
    return expect(is_proven, f"proof: {is_proven}; {desk.words(order)}")


@question("cancelled", "its cancel is reported, and nothing is left", *_RESTING)
async def _a_resting_order_is_cancelled(desk: Listener) -> str:
    order = await desk.rested()
    await desk.cancelled(order)
    left = [each.status for each in await desk.open_under(order)]
    seen = f"{desk.words(order)}; open: {left or 'none'}"
    expect(order.state is OrderState.CANCELLED and not left, seen)
    desk.assert_nothing_traded()
    return seen


@question("at-once", "a cancel sent right behind its order ends it", *_RESTING)
async def _a_cancel_sent_at_once_waits_for_its_order(desk: Listener) -> str:
    order = desk.submit_far()
    await desk.cancelled(order)
    return expect(order.state is OrderState.CANCELLED, desk.words(order))


@question("stranger", "a cancel of an order that nobody sent is refused")
async def _a_cancel_of_an_unknown_order_is_said(desk: Listener) -> str:
    desk.gateway.send(CancelOrder("nobody-1"))
    await desk.until(lambda: bool(desk.unmatched), "a refusal of the cancel")
    (refused,) = desk.unmatched
    desk.unmatched.clear()
    return expect(isinstance(refused, CancelRejected) and refused.client_order_id == "nobody-1", str(refused))


def _net_below(venue: AskedVenue, desk: Listener) -> Decimal:
    """Return a price at which a straddle rests: a tick for each leg, at a vendor's half the dearer bid."""
    assert venue.call is not None
    if not desk.terms.may_fill:
        return venue.far_below(venue.call)
    return sum(
        (venue.book[number].tick_rule.tick_at(Decimal(0)) for number in _numbers(venue)[1:]), Decimal(0)
    )


def _straddle(venue: AskedVenue) -> list[OrderIntent]:
    return [
        OrderIntent(number, Side.BUY, venue.book[number].step, Purpose.OPEN, "conformance")
        for number in _numbers(venue)[1:]
    ]


async def _a_resting_combo(venue: AskedVenue, desk: Listener) -> list[Order]:
    """Send a straddle far below the market and return its legs."""
    command = desk.orders.submit_combo(_straddle(venue), _net_below(venue, desk), 0)
    desk.gateway.send(command)
    legs = [desk.orders.order(leg.client_order_id) for leg in command.legs]
    await desk.until(
        lambda: all(leg.state is OrderState.WORKING for leg in legs), "the acceptance of both legs"
    )
    return legs


@question(
    "combo",
    "two legs are one order, accepted and cancelled",
    Need.INSTRUMENTS,
    Need.SESSION,
    Need.COMBO,
    Need.STRADDLE,
    Need.QUOTE,
)
async def _two_legs_are_one_order(venue: AskedVenue, desk: Listener) -> str:
    legs = await _a_resting_combo(venue, desk)
    await desk.cancelled(*legs)
    return expect(all(leg.state is OrderState.CANCELLED for leg in legs), desk.words(*legs))


@question("dropped", "an order sent as the connection dropped is found, or proven absent", *_RESTING)
async def an_order_sent_as_the_line_breaks_is_found_or_proven_absent(desk: Listener) -> str:
    order = desk.submit_far()
    await asyncio.sleep(0.0)
    await desk.reconnect([KnownOrder(order.submitted)], graceful=False)
    await desk.resolved(order)
    if order.is_live:
        await desk.cancelled(order)
    left = [each.status for each in await desk.open_under(order)]
    return expect(not left, f"{desk.words(order)}; open: {left or 'none'}")


async def _a_year(desk: Listener) -> tuple[date, date]:
    """Return the first and the last day of the year up to the venue's today."""
    today = to_new_york((await desk.gateway.snapshot()).clock.now_ns).date()
    return today - timedelta(days=365), today


@question("bars", "daily bars lie in their span, in order", Need.INSTRUMENTS)
async def _daily_bars_lie_in_their_span_and_are_in_order(venue: AskedVenue, desk: Listener) -> str:
    bars = await desk.gateway.daily_bars(venue.share, *await _a_year(desk))
    days = [one.day for one in bars]
    expect(days == sorted(set(days)), f"out of order: {days}")
    for one in bars:
        low, high = min(one.open, one.close), max(one.open, one.close)
        expect(0 < one.low <= low <= high <= one.high, f"not a bar: {one}")
    if len(days) > 2:
        inner = await desk.gateway.daily_bars(venue.share, days[1], days[-2])
        expect([one.day for one in inner] == days[1:-1], f"{len(inner)} of {len(days) - 2} inner days")
    return f"{len(days)} days"


@question("minutes", "minutes of the past lie in their days, in order", Need.INSTRUMENTS)
async def _minutes_of_the_past_lie_in_their_days_and_are_in_order(venue: AskedVenue, desk: Listener) -> str:
    first, last = await _a_year(desk)
    days = [one.day for one in await desk.gateway.daily_bars(venue.share, first, last)]
    first, last = (days[-2], days[-1]) if len(days) > 1 else (last - timedelta(days=1), last)
    minutes = await desk.gateway.minute_bars(venue.share, first, last)
    stamps = [one.start_ns for one in minutes]
    expect(stamps == sorted(set(stamps)), f"out of order: {len(stamps)} minutes")
    for one in minutes:
        day = to_new_york(one.start_ns).date()
        expect(first <= day <= last + timedelta(days=1), f"not of {first} to {last}: {one}")
        low = min(one.open, one.close)
        expect(0 < one.low <= low <= one.high and one.volume >= 0, f"not a minute: {one}")
    return f"{len(minutes)} minutes of {first} to {last}"


@question("members", "the gateway has every member of the contract")
async def _it_has_every_member_of_the_contract(desk: Listener) -> None:
    assert isinstance(desk.gateway, Gateway)


# the account afterwards ------------------------------------------------------------------------------


@question("history", "executions come from the history, and the account is the exchange's own view")
async def _the_snapshot_is_the_exchanges_own_view(venue: AskedVenue, desk: Listener) -> str:
    if desk.terms.may_fill:
        await _trades_show_in_the_snapshot(venue, desk)
    now_ns = (await desk.gateway.snapshot()).clock.now_ns
    view = await desk.gateway.snapshot(fills_since_ns=max(now_ns - DAY_NS, 0))
    return f"{len(view.fills)} executions and {len(view.activities)} other lines since a day"


async def _trades_show_in_the_snapshot(venue: AskedVenue, desk: Listener) -> None:
    assert venue.put is not None
    done = [await desk.submit(venue.share, 10), await desk.submit(venue.put, 1, purpose=Purpose.OPEN)]
    await desk.over(*done)
    resting = await desk.submit(venue.share, 5, limit=venue.far_below(venue.share))
    await desk.until(lambda: resting.state is OrderState.WORKING)
    view = await desk.gateway.snapshot(fills_since_ns=0)
    truth = venue.truth()
    assert truth is not None
    assert {one.symbol: one.quantity for one in view.positions} == truth.positions
    assert abs(view.account.cash - truth.cash) <= SATOSHI
    assert [(one.client_order_id, one.quantity, one.is_open) for one in view.open_orders] == [
        (resting.client_order_id, Decimal(5), True)
    ]
    assert sorted((one.quantity, one.price) for one in view.fills) == sorted(one[1:] for one in truth.fills)
    assert {one.instrument_id for one in view.as_event().positions} == {venue.share, venue.put}
    assert all(one.instrument == venue.book[venue.book.id_of(one.symbol)] for one in view.positions)


@question("compared", "positions and cash are what they were, and no order is left")
async def _nothing_has_changed(venue: AskedVenue, desk: Listener) -> str:
    before = desk.view or await desk.gateway.snapshot()
    view = await desk.gateway.snapshot()
    mine = [each.client_order_id for each in view.open_orders if each.client_order_id in desk.orders.orders]
    is_same = _held(view.positions) == _held(before.positions)
    moved = view.account.cash - before.account.cash
    same = "as before" if is_same else "differ"
    seen = f"positions {same}, cash moved by {moved:f}, open orders of the steps: {mine}"
    expect(is_same and not moved and not mine and not desk.ledger(), seen)
    if (truth := venue.truth()) is not None:
        expect(
            _held(view.positions) == truth.positions and not truth.fills, f"{seen}; books {truth.positions}"
        )
    return seen


def _held(positions: Any) -> dict[str, Decimal]:
    return {one.symbol: one.quantity for one in positions}


@question("limits", "the budget of requests is known, and no order is in doubt")
async def _health_tells_of_streams_and_requests(desk: Listener) -> str:
    health = desk.gateway.health()
    named = {name: count for name, count in health.counters.items() if count}
    doubt = ", ".join(health.unknown) or "no order"
    seen = f"{health.requests_left} requests left; in doubt: {doubt}; {named}"
    expect(health.unknown == (), seen)
    if desk.terms.may_fill:
        expect(health.streams["orders"] and health.in_flight == 0 and health.requests_left > 0, seen)
        await desk.end()
        expect(not desk.gateway.health().streams["orders"], "the order stream of a closed gateway is up")
    return seen


# trades, and what goes wrong -------------------------------------------------------------------------


@question("filled", "an order is accepted, filled and adds up", *_FILLED)
async def _an_order_is_accepted_and_filled_and_adds_up(bench: ServedVenue, desk: Listener) -> None:
    order = await desk.submit(bench.share, 10)
    await desk.over(order)
    assert order.state is OrderState.FILLED
    assert next(type(one) for one in desk.of(OrderEvent)) is OrderAccepted
    assert order.venue_order_id
    desk.assert_adds_up()


@question("both-ways", "options and shares, bought and sold, add up to the positions", *_FILLED)
async def _options_and_shares_both_ways_add_up(bench: ServedVenue, desk: Listener) -> None:
    opening = [
        await desk.submit(bench.call, 2, purpose=Purpose.OPEN),
        await desk.submit(bench.put, 2, purpose=Purpose.OPEN),
        await desk.submit(bench.share, 7, Side.SELL),
    ]
    await desk.over(*opening)
    closing = [
        await desk.submit(bench.call, 2, Side.SELL, purpose=Purpose.CLOSE),
        await desk.submit(bench.share, 3, Side.BUY),
    ]
    await desk.over(*closing)
    desk.assert_adds_up()
    book = bench.book
    assert bench.truth().positions == {
        book[bench.put].symbol: Decimal(2),
        book[bench.share].symbol: Decimal(-4),
    }


@question("improved", "a fill better than its limit is booked at the better price", *_FILLED)
async def _an_order_that_fills_better_than_its_limit_is_booked_at_the_better_price(
    bench: ServedVenue, desk: Listener
) -> None:
    await desk.gateway.subscribe([bench.share, bench.call])
    for number, side in ((bench.share, Side.BUY), (bench.call, Side.BUY), (bench.share, Side.SELL)):
        (quote,) = await desk.gateway.quotes([number])
        far = Decimal(str(quote.ask if side is Side.BUY else quote.bid))
        rule = bench.book[number].tick_rule
        past = far * (1 + side.sign * Decimal("0.001"))  # further than a market moves meanwhile
        limit = rule.moved(rule.round(past), 9 * side.sign)
        order = await desk.submit(number, 2, side, limit=limit, purpose=Purpose.OPEN)
        await desk.over(order)
        assert (limit - order.average_price) * side.sign > 0
    desk.assert_adds_up()


@question("too-late", "a cancel that comes too late is refused, and the fill counts", *_FILLED)
async def _a_cancel_that_comes_too_late_is_refused_and_the_fill_counts(bench: ServedVenue) -> None:
    desk = await connected(bench)
    order = await desk.submit(bench.share, 5)
    await desk.over(order)
    desk.gateway.send(CancelOrder(order.client_order_id))
    await desk.close()
    assert order.state is OrderState.FILLED
    assert desk.of(OrderCancelled, OrderRejected) == []
    desk.assert_adds_up()


@question("rejected", "a rejection has the venue's reason", *_FAULTY)
async def a_rejection_carries_the_venues_reason(bench: ServedVenue, desk: Listener) -> None:
    bench.strike("reject")
    order = await desk.submit(bench.share, 5)
    await desk.over(order)
    assert order.state is OrderState.REJECTED
    assert order.reason
    again = await desk.submit(bench.share, 5)
    await desk.over(again)
    assert again.state is OrderState.FILLED
    desk.assert_adds_up()


@question("lost-answer", "a lost answer is a doubt, and the proof books the fill once", *_FAULTY)
async def a_lost_answer_is_a_doubt_and_the_proof_books_the_fill_once(
    bench: ServedVenue, desk: Listener
) -> None:
    bench.strike("lost_answer")
    order = await desk.submit(bench.share, 10)
    await desk.until(lambda: bool(desk.of(OrderStatusUnknown)) or not order.is_live)
    await desk.resolved(order)
    await desk.over(order)
    assert order.state is OrderState.FILLED
    assert desk.of(OrderRejected, OrderNotFound) == []
    desk.assert_adds_up()


@question("lost-order", "a lost order is absent only after the acceptance time-out", *_FAULTY)
async def a_lost_order_is_absent_only_after_the_horizon(bench: ServedVenue, desk: Listener) -> None:
    await desk.gateway.subscribe([bench.share])  # where the venue has a time of its own, its quotes tell it
    bench.strike("lost_order")
    order = await desk.submit(bench.share, 10)
    await desk.until(lambda: order.state is OrderState.UNKNOWN)
    assert not await desk.gateway.query_order(order.client_order_id)
    assert order.state is OrderState.UNKNOWN
    await desk.resolved(order)
    await desk.over(order)
    assert len(desk.of(OrderNotFound)) == 1
    assert bench.truth().fills == []


@question("server-error", "a server error is never a rejection", *_FAULTY)
async def a_server_error_is_never_a_rejection(bench: ServedVenue, desk: Listener) -> None:
    bench.strike("server_error")
    order = await desk.submit(bench.share, 10)
    await desk.until(lambda: bool(desk.of(OrderStatusUnknown)))
    assert desk.of(OrderRejected) == []
    await desk.resolved(order)
    await desk.over(order)
    desk.assert_adds_up()


@question("taken", "an id is taken once an order has had it", *_FILLED)
async def _an_id_is_taken_once_an_order_has_had_it(bench: ServedVenue, desk: Listener) -> None:
    order = await desk.submit(bench.share, 10)
    await desk.over(order)
    assert await desk.gateway.is_taken(order.client_order_id)
    assert not await desk.gateway.is_taken("cf-nobody")


@question("missed", "fills that were missed while the stream was down are found", *_FAULTY)
async def fills_missed_while_the_stream_was_down_are_found(bench: ServedVenue) -> None:
    desk = await connected(bench)
    await bench.cut_order_stream(desk.gateway)
    orders = [await desk.submit(bench.share, 10), await desk.submit(bench.call, 1, purpose=Purpose.OPEN)]
    await desk.until(lambda: sum(one.asks_for_reconciliation for one in desk.notices) >= 2)
    assert any(one.kind is NoticeKind.DISCONNECTED for one in desk.notices)
    for order in orders:
        await desk.resolved(order)
    await desk.over(*orders)
    desk.assert_adds_up()
    await desk.gateway.snapshot(fills_since_ns=0)
    for order in orders:
        assert await desk.gateway.query_order(order.client_order_id)
    await desk.close()
    desk.assert_adds_up()


@question("repeated", "messages repeated or out of order change nothing", *_FAULTY)
async def repeated_and_swapped_messages_change_nothing(bench: ServedVenue, desk: Listener) -> None:
    orders = []
    for what in ("repeated_update", "swapped_updates", "repeated_update"):
        bench.strike(what)
        orders.append(await desk.submit(bench.share, 4))
    bench.heal()
    orders.append(await desk.submit(bench.share, 4))
    await desk.over(orders[-1])
    for order in orders:
        await desk.resolved(order)
    await desk.over(*orders)
    desk.assert_adds_up()


@question("part", "a part is filled and the rest cancelled", *_FAULTY)
async def a_part_is_filled_and_the_rest_is_cancelled(bench: ServedVenue, desk: Listener) -> None:
    bench.strike("partial")
    order = await desk.submit(bench.share, 10)
    await desk.until(lambda: order.filled > 0)
    if order.is_live:
        desk.gateway.send(CancelOrder(order.client_order_id))
        await desk.over(order)
    desk.assert_adds_up()


@question(
    "restart",
    "a desk that starts again is told of the fills that its journal lacks, and of no other",
    *_FILLED,
)
async def a_restart_gives_only_what_the_journal_lacks(bench: ServedVenue) -> None:
    first = await connected(bench)
    booked = await first.submit(bench.share, 10)
    await first.over(booked)
    await first.close()
    again = await connected(bench)
    again.new_order(bench.share, 10)  # the name that the first run used
    missed = again.new_order(bench.share, 3)
    again.gateway.send(missed.submitted)
    await again.over(missed)
    await again.close()

    orders = OrderManager("cf")
    one, two = (new_order(orders, bench.share, quantity) for quantity in (10, 3))  # as a journal is replayed
    third = await connected(
        bench,
        (
            KnownOrder(
                booked.submitted,
                booked.filled,
                booked.filled * booked.average_price,
                False,
                booked.venue_order_id,
            ),
            KnownOrder(missed.submitted),
        ),
        orders,
    )
    await third.gateway.snapshot(fills_since_ns=0)
    assert await third.gateway.query_order(one.client_order_id)
    await third.resolved(two)
    await third.over(two)
    assert [(fill.client_order_id, fill.quantity) for fill in third.of(OrderFilled)] == [
        (two.client_order_id, Decimal(3))
    ]
    await third.close()


@question("straddle", "both legs of a straddle fill together", *_FILLED, Need.COMBO)
async def _both_legs_of_a_straddle_are_filled_together(bench: ServedVenue) -> None:
    desk = await connected(bench)
    legs = [desk.new_order(number, 2, purpose=Purpose.OPEN) for number in (bench.call, bench.put)]
    desk.gateway.send(MultiLegOrder("cf-straddle", tuple(leg.submitted for leg in legs), None))
    await desk.over(*legs)
    assert [leg.state for leg in legs] == [OrderState.FILLED] * 2
    fills = bench.truth().fills
    assert sorted((fill.quantity, fill.price) for fill in desk.of(OrderFilled)) == sorted(
        one[1:] for one in fills
    )
    for leg in legs:
        assert await desk.gateway.query_order(leg.client_order_id)
    await desk.close()
    assert len(desk.of(OrderFilled)) == len(fills)


@question("lost-combo", "a lost answer to two legs is resolved for both", *_FAULTY, Need.COMBO)
async def a_lost_answer_to_two_legs_is_resolved_for_both(bench: ServedVenue) -> None:
    desk = await connected(bench)
    legs = [desk.new_order(number, 1, purpose=Purpose.OPEN) for number in (bench.call, bench.put)]
    bench.strike("lost_answer")
    desk.gateway.send(MultiLegOrder("cf-straddle", tuple(leg.submitted for leg in legs), None))
    await desk.until(lambda: bool(desk.of(OrderStatusUnknown)) or not legs[0].is_live)
    for leg in legs:
        await desk.resolved(leg)
    await desk.over(*legs)
    assert [leg.state for leg in legs] == [OrderState.FILLED] * 2
    await desk.close()
    assert sorted((fill.quantity, fill.price) for fill in desk.of(OrderFilled)) == sorted(
        one[1:] for one in bench.truth().fills
    )


def _known_legs(legs: list[Order], *, acknowledged: bool) -> tuple[KnownOrder, ...]:
    """Return the legs as a journal has them; without acknowledgement it knows no id of the venue."""
    return tuple(
        KnownOrder(
            leg.submitted,
            venue_order_id=leg.venue_order_id if acknowledged else "",
            parent_id=leg.parent_id,
        )
        for leg in legs
    )


@question("combo-restart", "a combo that rests is known again after a restart", Need.BOOKS, Need.COMBO)
async def a_combo_is_known_again_after_a_restart(bench: ServedVenue) -> None:
    for acknowledged in (True, False):
        first = await connected(bench)
        first.orders = OrderManager(f"cf-{acknowledged}")
        before = await _a_resting_combo(bench, first)
        await first.gateway.close(graceful=False)

        orders = OrderManager(f"cf-{acknowledged}")
        again = orders.submit_combo(
            _straddle(bench),
            _net_below(bench, first),
            0,
        )  # what a replay of the journal gives
        second = await connected(bench, _known_legs(before, acknowledged=acknowledged), orders)
        legs = [orders.order(leg.client_order_id) for leg in again.legs]
        assert [leg.parent_id for leg in legs] == [again.client_order_id] * 2
        view = await second.gateway.snapshot(fills_since_ns=0)
        shown = {one.client_order_id: one for one in view.open_orders}
        assert set(shown) == {leg.client_order_id for leg in legs}
        assert {one.parent_id for one in shown.values()} == {again.client_order_id}
        assert await second.gateway.query_order(legs[1].client_order_id)
        second.gateway.send(CancelOrder(legs[0].client_order_id))  # a combo is cancelled as a whole
        await second.over(*legs)
        assert [leg.state for leg in legs] == [OrderState.CANCELLED] * 2
        assert (await second.gateway.snapshot()).open_orders == ()
        await second.close()


@question("combo-watchdog", "a watchdog cancels the combo of a dead desk", Need.BOOKS, Need.COMBO)
async def a_watchdog_cancels_the_combo_of_a_dead_desk(bench: ServedVenue) -> None:
    first = await connected(bench)
    legs = await _a_resting_combo(bench, first)
    await first.gateway.close(graceful=False)
    second = await connected(bench, _known_legs(legs, acknowledged=False), first.orders)
    for leg in legs:
        second.gateway.send(CancelOrder(leg.client_order_id))
    await second.over(*legs)
    assert (await second.gateway.snapshot()).open_orders == ()
    await second.close()


@question(
    "combo-elsewhere",
    "a combo from elsewhere is shown, and touches no order of the desk",
    Need.BOOKS,
    Need.COMBO,
)
async def a_combo_from_elsewhere_is_shown_and_touches_no_order(bench: ServedVenue) -> None:
    first = await connected(bench)
    legs = await _a_resting_combo(bench, first)
    second = await connected(bench)
    view = await second.gateway.snapshot(fills_since_ns=0)
    assert len(view.open_orders) == 2
    assert second.of(OrderEvent) == []
    assert await second.gateway.cancel_at_venue(view.open_orders[1].venue_order_id)
    await first.over(*legs)
    await second.close()
    await first.close()


@question("renewed", "quotes that are asked for again go on, beside the others", Need.FAULTS)
async def quotes_that_are_asked_for_again_go_on_beside_the_others(bench: ServedVenue, desk: Listener) -> None:
    wanted = {bench.share, bench.call}
    await desk.gateway.subscribe([*wanted])

    def seen(since: int) -> set[int]:
        return {one.instrument_id for one in desk.events[since:] if isinstance(one, QuoteEvent)}

    def is_seen(number: InstrumentId, since: int) -> bool:
        return number in seen(since)

    def are_all_seen(since: int) -> bool:
        return seen(since) >= wanted

    await desk.until(lambda: seen(0) >= wanted)
    for lost, other in ((bench.share, bench.call), (bench.call, bench.share)):
        bench.lose_quotes(lost)
        await desk.gateway.snapshot()  # all that was on its way has come
        before = len(desk.events)
        await desk.until(partial(is_seen, other, before))
        assert seen(before) == {other}
        await desk.gateway.renew_quotes([lost, bench.put])  # the put is not subscribed
        before = len(desk.events)
        await desk.until(partial(are_all_seen, before))
    assert seen(0) == wanted
    assert not [each for each in desk.notices if each.kind is NoticeKind.DISCONNECTED]


@question(
    "unconnected", "an order before connecting or after closing is refused, and never vanishes", *_FILLED
)
async def an_order_before_connecting_or_after_closing_never_vanishes(bench: ServedVenue) -> None:
    gateway = bench.gateway()
    desk = Listener(bench, gateway)
    early = await desk.submit(bench.share, 5)
    await desk.over(early)
    assert early.state is OrderState.REJECTED
    await gateway.connect()
    await gateway.close()
    late = await desk.submit(bench.share, 5)
    await desk.until(lambda: not late.is_live)
    assert late.state is OrderState.REJECTED
    assert bench.truth().fills == []


@question("rate-limit", "a rate limit is said, and a cancel still goes through", *_FAULTY)
async def a_rate_limit_is_said_and_a_cancel_still_goes_through(bench: ServedVenue, desk: Listener) -> None:
    order = await desk.submit(bench.share, 5, limit=bench.far_below(bench.share))
    await desk.until(lambda: order.state is OrderState.WORKING)
    bench.strike("rate_limit")
    refused = await desk.submit(bench.share, 5)
    await desk.over(refused)
    assert refused.state is OrderState.REJECTED
    assert any(one.kind is NoticeKind.LIMITED for one in desk.notices)
    bench.heal()
    desk.gateway.send(CancelOrder(order.client_order_id))
    await desk.over(order)
    assert bench.truth().fills == []


VENUE_QUESTIONS = tuple(_ASKED)
"""Every question: those of a vendor's paper account first, in the order in which ``certify`` asks them."""
