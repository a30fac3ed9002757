"""Matching of working orders with quotes: stops trigger, orders fill, exits cancel one another."""

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NamedTuple

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import OrderType, Side, TimeInForce
from scalpdesk.core.units import ZERO, InstrumentId, floor_to
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.ticks import TickRule
from scalpdesk.margin.holdings import Holding
from scalpdesk.portfolio.positions import exact_price
from scalpdesk.simulation.fills.base import Resting
from scalpdesk.simulation.ledger import Ledger
from scalpdesk.simulation.option_values import credible_price
from scalpdesk.simulation.orders import MATCHABLE, BrokerOrder, Execution, OrderClass, Status

# looking up an enum's member costs as much as a call
BUY, MARKET, CLS = Side.BUY, OrderType.MARKET, TimeInForce.CLS
NEW, FILLED = Status.NEW, Status.FILLED
_SHARE_STEP = Decimal("0.000000001")
_LEAST_PRICE = Decimal("0.000001")
"""Step and lower bound of the price of a combo's leg: the wires carry six decimals."""


Trade = tuple[Decimal, list[Decimal]]
"""Units of a combo that trade, and the price of each leg."""


class _Side(NamedTuple):
    """A leg of a combo in a net quote: signed units of it in one unit, its far side and its near side."""

    signed: Decimal
    far: Decimal
    near: Decimal


class NetQuote(NamedTuple):
    """The quote of a unit of a combo, as an order to buy that unit meets it."""

    sides: Sequence[_Side]
    quote: QuoteEvent
    """Cost of a unit (ask) and what it brings (bid; NaN where a sold leg has no ask), moved by ``shift``."""
    contract: OptionContract
    """The first leg, with the largest tick of all legs."""
    shift: Decimal
    """Amount that makes both sides positive: a net price may be below zero, which no fill model expects."""

    @classmethod
    def of(cls, legs: Sequence[BrokerOrder], quotes: Sequence[QuoteEvent]) -> "NetQuote | None":
        """Return the net quote of legs on their quotes; None where a far side or size is missing."""
        sides, ticks, near_is_known = list[_Side](), list[Decimal](), True
        most_bid = most_ask = math.inf
        for leg, quote in zip(legs, quotes, strict=True):
            buys, ratio = leg.side is BUY, float(leg.ratio)
            ask, bid = (quote.ask, quote.ask_size), (quote.bid, quote.bid_size)
            (far, far_size), (near, near_size) = (ask, bid) if buys else (bid, ask)
            if not far > 0 or 0 < far_size < ratio:
                return None
            has_near = near >= 0 if buys else near > 0  # a bid of nothing: nobody buys
            near_is_known = near_is_known and has_near
            most_ask = min(most_ask, far_size // ratio if far_size > 0 else math.inf)
            most_bid = min(most_bid, near_size // ratio if near_size > 0 else math.inf)
            exact_far = exact_price(far)
            sides.append(_Side(leg.side.sign * leg.ratio, exact_far, exact_price(near) if has_near else ZERO))
            assert leg.instrument is not None
            assert leg.instrument.is_option
            ticks.append(leg.instrument.tick_rule.tick_at(exact_far))
        far_net = sum((side.signed * side.far for side in sides), ZERO)
        near_net = sum((side.signed * side.near for side in sides), ZERO)
        shift = max(1 - math.floor(min(far_net, near_net)), 0) if min(far_net, near_net) <= 0 else 0
        contract = legs[0].instrument
        assert contract is not None
        assert contract.is_option
        tick, latest = max(ticks), max(quotes, key=lambda each: each.ts_recv_ns)
        net = QuoteEvent(
            latest.instrument_id,
            latest.ts_event_ns,
            latest.ts_recv_ns,
            float(near_net + shift) if near_is_known else math.nan,
            float(far_net + shift),
            0.0 if math.isinf(most_bid) else most_bid,
            0.0 if math.isinf(most_ask) else most_ask,
        )
        return cls(sides, net, replace(contract, tick_rule=TickRule(tick)), Decimal(shift))

    def shares(self, price: Decimal) -> list[Decimal]:
        """Return a price for each leg that together make the net price of a unit.

        Up to the far sides every leg goes as far of its own spread; beyond them bought legs pay more by
        their cost, or, where none is bought, sold legs bring less by theirs.
        """
        far = sum((side.signed * side.far for side in self.sides), ZERO)
        near = sum((side.signed * side.near for side in self.sides), ZERO)
        if price < far and near < far:
            part = (far - price) / (far - near)
            wanted = [side.far - part * (side.far - side.near) for side in self.sides]
        else:
            buys = any(side.signed > 0 for side in self.sides)
            gives_way = [side.signed > 0 or not buys for side in self.sides]
            pairs = list(zip(self.sides, gives_way, strict=True))
            cost = sum((side.signed * side.far for side, gives in pairs if gives), ZERO)
            times = (price - far + cost) / cost
            wanted = [side.far * (times if gives else 1) for side, gives in pairs]
        others = [each.quantize(_LEAST_PRICE) for each in wanted[:-1]]
        paid = sum((side.signed * each for side, each in zip(self.sides, others, strict=False)), ZERO)
        signed = self.sides[-1].signed
        last = ((price - paid) / signed).quantize(_LEAST_PRICE, ROUND_FLOOR if signed > 0 else ROUND_CEILING)
        return [max(each, _LEAST_PRICE) for each in (*others, last)]


class Matcher:
    """Applies quotes to the working orders of a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.held_back: dict[str, Decimal] = {}
        """By order id: how much of it may trade for now (a partial fill on purpose)."""

    def on_quote(self, quote: QuoteEvent) -> None:
        """Take a quote in and match what works on its instrument."""
        number = quote.instrument_id
        self._ledger.take(quote)
        working = self._ledger.working.get(number)
        if working is not None:
            for order in tuple(working):
                self.match(order)

    def match(self, order: BrokerOrder, *, closing: bool = False) -> None:
        """Match one order with the present quote, if it is matchable."""
        if order.status not in MATCHABLE or (order.lifetime is CLS and not closing):
            return
        number, resting = order.instrument_id, order.resting
        if number is None:
            self._match_legs(order)
            return
        ledger = self._ledger
        quote = self._quote(number)
        if quote is None or resting is None:
            return
        if order.kind is not MARKET and order.waits_for_stop and not self._wake(order, quote):
            return
        if order.request.notional is not None and not order.quantity:
            self._size_by_notional(order, quote)
            if not order.quantity:
                return
        assert order.instrument is not None
        model = ledger.models.get(number) or ledger.model_of(number)
        found = model.match(resting, quote, order.instrument)
        resting.tries += 1
        if found is None:
            return
        quantity, price = found
        if quantity is not resting.leaves:  # most orders are filled whole
            if quantity <= ZERO:
                return
            if quantity >= resting.leaves:
                quantity = resting.leaves
            elif order.lifetime is TimeInForce.FOK:
                return
        if order.instrument.is_option:
            credible = self._credible(order, quote, price)
            if credible is None:
                return
            price = credible
        if self.held_back:
            quantity = self._let_through(order, quantity)
        if quantity > ZERO and not (order.is_unpriced and self._refused(order, {order: price})):
            self.fill(order, quantity, price)

    def _let_through(self, order: BrokerOrder, quantity: Decimal) -> Decimal:
        """Return how much of the quantity may trade for now, and count it as used."""
        most = self.held_back.get(order.order_id)
        if most is None:
            return quantity
        quantity = min(quantity, most)
        self.held_back[order.order_id] = most - quantity
        return quantity

    def _refused(self, order: BrokerOrder, prices: dict[BrokerOrder, Decimal]) -> bool:
        """Ask for the margin of an order that came before any price; reject it where the account lacks it."""
        ledger = self._ledger
        wanted = [
            Holding(part.instrument, part.side.sign * part.leaves, price)
            for part, price in prices.items()
            if part.instrument is not None
        ]
        order.is_unpriced = False
        account = ledger.accounts[order.account]
        account.unended.pop(order.order_id, None)  # what it reserves itself is not in its way
        refused = ledger.margin.refusal(account, wanted)
        account.unended[order.order_id] = order
        if refused is not None:
            order.reject_reason = refused.reason
            ledger.end(order, Status.REJECTED)
        return refused is not None

    def _quote(self, number: InstrumentId) -> QuoteEvent | None:
        """Return the quote that orders may trade at: of this session, not halted."""
        ledger = self._ledger
        quote = ledger.latest(number)
        if quote is None or quote.ts_recv_ns < ledger.session_open_ns:
            return None
        return None if ledger.halted and ledger.is_halted(number) else quote

    def fill(self, order: BrokerOrder, quantity: Decimal, price: Decimal) -> None:
        """Book an execution of one order, report it, and settle what hangs on the order."""
        ledger = self._ledger
        execution = ledger.trade(order, quantity, price)
        assert order.instrument_id is not None
        held = None
        if ledger.keeps_history:
            held = ledger.accounts[order.account].quantity(order.instrument_id)
        if execution.leaves:
            if order.status is NEW:
                order.status = Status.PARTIALLY_FILLED
            ledger.emit(order, "partial_fill", execution, held)
            self._shrink_sibling(order)
            return
        order.status = FILLED
        order.resting = None  # a run holds many that are over
        order.filled_ns = ledger.now_ns
        if order.instrument_id in ledger.working:
            ledger.leave(order)
        ledger.emit(order, "fill", execution, held)
        if order.parent is not None or order.legs:
            self._after_fill(order)
        elif not ledger.keeps_filled:
            ledger.drop(order)

    def _wake(self, order: BrokerOrder, quote: QuoteEvent) -> bool:
        """Look whether a stop's price has come; the mid stands for the last trade, which no tape holds."""
        if not math.isfinite(quote.mid):
            return False
        price, sign = (exact_price(quote.bid) + exact_price(quote.ask)) / 2, order.side.sign
        best = order.high_water
        order.high_water = best = price if best is None or (best - price) * sign > 0 else best
        order.stop_price = stop = order.kind.trigger_price(best, sign)
        if stop is None or (price - stop) * sign < 0:
            return False
        order.triggered = True
        self._ledger.emit(order, "triggered")
        return True

    @staticmethod
    def _size_by_notional(order: BrokerOrder, quote: QuoteEvent) -> None:
        """Turn an amount of money into shares at the far side."""
        far = quote.ask if order.side.sign > 0 else quote.bid
        if not far > 0:
            return
        assert order.request.notional is not None
        order.quantity = floor_to(order.request.notional / exact_price(far), _SHARE_STEP)
        if order.resting is not None:
            order.resting.leaves = order.leaves

    def _after_fill(self, order: BrokerOrder) -> None:
        """Wake the exits of an entry; cancel the other of two exits."""
        structure = order.request.structure
        if order.parent is None and structure in (OrderClass.BRACKET, OrderClass.OTO):
            for leg in order.legs:
                self.release(leg)
            return
        for other in self.siblings(order):
            if other.is_open:
                self._ledger.end(other, Status.CANCELED)

    def release(self, leg: BrokerOrder) -> None:
        """Activate a held exit order."""
        if leg.status is not Status.HELD:
            return
        leg.status = Status.NEW
        self.enter(leg)

    def enter(self, order: BrokerOrder) -> None:
        """Acknowledge an order, let it meet the present quote, and let what is left of it wait."""
        for part in (*order.legs, order) if order.instrument_id is None else (order,):
            limit = None if part.kind is MARKET else part.working_limit
            part.resting = Resting(1 if part.side is BUY else -1, part.leaves, limit)
        self._ledger.emit(order, "new")
        self.match(order)
        if order.status in MATCHABLE:
            self._ledger.join(order)

    def siblings(self, order: BrokerOrder) -> list[BrokerOrder]:
        """Return the orders that end when this one fills."""
        if order.parent is not None:
            parent = self._ledger.orders[order.parent]
            others = [leg for leg in parent.legs if leg is not order]
            return [*others, parent] if parent.request.structure is OrderClass.OCO else others
        if order.request.structure is OrderClass.OCO:
            return list(order.legs)
        return []

    def _shrink_sibling(self, order: BrokerOrder) -> None:
        """After a part of one exit the other covers the rest only."""
        for other in self.siblings(order):
            if other.is_open and other.leaves > order.leaves:
                other.quantity = other.filled + order.leaves
                if other.resting is not None:
                    other.resting.leaves = other.leaves

    def _match_legs(self, combo: BrokerOrder) -> None:
        """Trade all legs at once, in their ratio, or no leg."""
        found = self._at_market(combo) if combo.limit_price is None else self._at_net(combo)
        if found is None:
            return
        units, prices = found
        if units <= 0 or (combo.lifetime is TimeInForce.FOK and units < combo.leaves):
            return
        if combo.is_unpriced and self._refused(combo, dict(zip(combo.legs, prices, strict=True))):
            return
        units = self._let_through(combo, units)
        if units > 0:
            self.fill_legs(combo, units, prices)

    def _at_market(self, combo: BrokerOrder) -> Trade | None:
        """Return how many units of a combo trade, and each leg's price: every leg as an order of its own."""
        units, prices = combo.leaves, list[Decimal]()
        for leg in combo.legs:
            number, contract, resting = leg.instrument_id, leg.instrument, leg.resting
            assert number is not None
            assert contract is not None
            quote = self._quote(number)
            if quote is None or resting is None:
                return None
            found = self._ledger.model_of(number).match(resting, quote, contract)
            resting.tries += 1
            if found is None:
                return None
            quantity, traded_at = found
            price = self._credible(leg, quote, traded_at)
            if price is None:
                return None
            prices.append(price)
            units = min(units, floor_to(quantity / leg.ratio, contract.step))
        return units, prices

    def _at_net(self, combo: BrokerOrder) -> Trade | None:
        """Return how many units of a combo trade within its net limit, and each leg's price.

        To the fill model a combo is one order on one quote: what a unit costs at the legs' far sides and
        what it brings at their near sides.
        """
        resting, quotes = combo.resting, list[QuoteEvent]()
        for leg in combo.legs:
            assert leg.instrument_id is not None
            quote = self._quote(leg.instrument_id)
            if quote is None:
                return None
            quotes.append(quote)
        seen = NetQuote.of(combo.legs, quotes)
        if seen is None or resting is None or combo.limit_price is None:
            return None
        resting.leaves, resting.limit_price = combo.leaves, combo.limit_price + seen.shift
        number, contract = combo.legs[0].instrument_id, seen.contract
        assert number is not None
        found = self._ledger.model_of(number).match(resting, seen.quote, contract)
        resting.tries += 1
        if found is None:
            return None
        quantity, price = found
        prices = []
        for leg, quote, share in zip(combo.legs, quotes, seen.shares(price - seen.shift), strict=True):
            credible = self._credible(leg, quote, share)
            if credible is None:
                return None
            prices.append(credible)
        return min(combo.leaves, floor_to(quantity, contract.step)), prices

    def _credible(self, leg: BrokerOrder, quote: QuoteEvent, price: Decimal) -> Decimal | None:
        contract = leg.instrument
        assert contract is not None
        assert contract.is_option
        return credible_price(contract, quote, self._ledger.spot_of(contract), price, leg.side.sign)

    def fill_legs(self, combo: BrokerOrder, units: Decimal, prices: list[Decimal]) -> None:
        """Book an execution of all legs of a combo, ``units`` of it at a price of each leg; report it."""
        ledger, net = self._ledger, ZERO
        for leg, price in zip(combo.legs, prices, strict=True):
            net += leg.side.sign * leg.ratio * price
        trades, free = [], ledger.free_side(combo, units, prices)
        for leg, price in zip(combo.legs, prices, strict=True):
            trades.append(ledger.trade(leg, units * leg.ratio, price, pays=leg.side is not free))
            done = leg.leaves == 0
            leg.status = Status.FILLED if done else Status.PARTIALLY_FILLED
            leg.updated_ns = ledger.now_ns
            leg.filled_ns = ledger.now_ns if done else 0
        combo.filled += units
        combo.value += units * net
        whole = combo.leaves == 0
        combo.status = Status.FILLED if whole else Status.PARTIALLY_FILLED
        if whole:
            combo.filled_ns = ledger.now_ns
            ledger.leave(combo)
        execution = Execution(
            ledger.ids.execution(),
            combo.account,
            combo.order_id,
            combo.client_order_id,
            None,
            combo.side,
            units,
            net,
            ZERO,
            ledger.now_ns,
        )
        ledger.emit(combo, "fill" if whole else "partial_fill", execution, None, tuple(trades))
