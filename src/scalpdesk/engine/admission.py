"""What may go to the venue: gathers what the risk gate asks for, and cuts trades to their caps."""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import msgspec

from scalpdesk.core.intents import OrderIntent, Side
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.short_way import ShortWay
from scalpdesk.instruments.contract import Equity, Instrument, OptionContract
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk.caps import (
    Exposure,
    Line,
    SizeCut,
    Unknown,
    cut_by_volatility,
    cut_to,
    cut_to_caps,
    cut_to_holding,
    exposure_of,
    rooms,
    sets_of,
)
from scalpdesk.risk.checks import risk_of
from scalpdesk.risk.context import EXITS, OPENING, Held, OrderContext, Working

ZERO = Decimal(0)
BUY, SELL = Side.BUY, Side.SELL
LAST_CALL_NS = 30 * 60 * NANOS_PER_SECOND
"""Before the close; from then on an exit does not wait for a fresh quote."""
LAST_CALL_EXPIRING_NS = 60 * 60 * NANOS_PER_SECOND
"""The same for an option on its last day, in which venues take orders no longer some time before its end."""


class Verdict(NamedTuple):
    """What of a proposal may go, why not the rest, and what was cut."""

    intents: tuple[OrderIntent, ...]
    refusals: tuple[str, ...]
    notes: tuple[str, ...]


class _Book:
    """The book and its working orders, those of the proposal under way included."""

    __slots__ = ("_before", "_desk", "_now_ns")

    def __init__(self, desk: Desk, before: Sequence[OrderIntent], now_ns: int) -> None:
        self._desk = desk
        self._before = before
        self._now_ns = now_ns

    def working(self) -> list[Working]:
        """Orders that may still be filled, oldest first."""
        desk = self._desk
        orders = []
        for order in desk.orders.live.values():
            one = order.submitted
            orders.append(
                Working(
                    one.instrument_id,
                    desk.instruments[one.instrument_id],
                    one.side,
                    order.leaves,
                    one.order_type,
                    one.limit_price,
                    one.purpose,
                    order.created_ns,
                    one.quantity,
                    one.owner,
                )
            )
        orders.extend(
            Working(
                intent.instrument_id,
                desk.instruments[intent.instrument_id],
                intent.side,
                intent.quantity,
                intent.order_type,
                intent.limit_price,
                intent.purpose,
                self._now_ns,
                intent.quantity,
                intent.owner,
            )
            for intent in self._before
        )
        return orders

    def held(self) -> list[Held]:
        """Lines that are not flat."""
        instruments = self._desk.instruments
        return [
            Held(one.instrument_id, instruments[one.instrument_id], one.quantity)
            for one in self._desk.positions.held()
        ]

    def mark(self, number: InstrumentId) -> float | None:
        """Return what one unit is valued at, in currency."""
        return self._desk.market.mark(number)


class OrderAdmission:
    """Puts the gate's questions to the desk.

    Parameters
    ----------
    desk
        The parts of the desk; nothing of them is changed.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._short_way = ShortWay(desk)

    def judge(self, intents: Sequence[OrderIntent], now_ns: int, *, all_or_none: bool) -> Verdict:
        """Say what of these may go.

        Each order passes all checks or comes back with all reasons. What passes is cut to the caps:
        the orders of an all-or-none proposal together, others one by one.
        """
        if len(intents) == 1 and self._short_way.lets_go(intents[0], now_ns):
            return Verdict((intents[0],), (), ())
        wanted: list[OrderIntent] = []
        refusals: list[str] = []
        notes: list[str] = []
        together = all_or_none and len(intents) > 1
        for asked in intents:
            intent = self._in_one_order(asked, notes) if asked.purpose in EXITS else asked
            against = self._desk.gate.refusals(self.context(intent, wanted, now_ns))
            if against:
                refusals.extend(f"{self._name(intent)}: {why}" for why in against)
            elif together or (intent.purpose in EXITS or self._short_way.fits_caps(intent, wanted, now_ns)):
                wanted.append(intent)
            else:
                wanted.extend(self._cut((intent,), wanted, now_ns, refusals, notes))
        if all_or_none and refusals:
            return Verdict((), tuple(refusals), ())
        if together:
            wanted = list(self._cut(wanted, (), now_ns, refusals, notes))
        return Verdict(tuple(wanted), tuple(refusals), tuple(notes))

    def _in_one_order(self, intent: OrderIntent, notes: list[str]) -> OrderIntent:
        """Cut an exit to what one order may be: refused it would never leave, in parts it does."""
        limits = self._desk.gate.limits
        is_option = isinstance(self._desk.instruments[intent.instrument_id], OptionContract)
        most = Decimal(limits.max_order_contracts if is_option else limits.max_order_shares)
        if not intent.quantity.is_finite() or intent.quantity <= most:
            return intent
        part = msgspec.structs.replace(intent, quantity=most)
        key = "risk.max_order_contracts" if is_option else "risk.max_order_shares"
        notes.append(f"{self._name(intent)} cut to {self._name(part)}: no order is larger ({key})")
        return part

    def _name(self, intent: OrderIntent) -> str:
        return f"{intent.side.value} {intent.quantity} {self._desk.instruments[intent.instrument_id].symbol}"

    def context(self, intent: OrderIntent, before: Sequence[OrderIntent], now_ns: int) -> OrderContext:
        """Gather what the checks look at; ``before`` are the intents of the same proposal that passed."""
        desk = self._desk
        number = intent.instrument_id
        gate = desk.gate
        session = desk.view.session
        nav = desk.attribution.nav
        one = desk.instruments[number]
        underlying = QuoteVerdict.GOOD
        if isinstance(one, OptionContract) and intent.purpose in OPENING:
            underlying = desk.market.verdict(desk.instruments.id_of(one.underlying), now_ns)
        return OrderContext(
            intent=intent,
            instrument=one,
            limits=gate.limits,
            mode=gate.mode,
            quote=desk.market.quotes[number],
            verdict=desk.market.verdict(number, now_ns),
            held=desk.positions.quantity(number),
            equity=nav,
            session_equity=desk.session_equity,
            daily_pnl=nav - desk.session_equity,
            consecutive_losses=gate.consecutive_losses,
            live_orders=len(desk.orders.live) + len(before),
            orders_last_minute=gate.orders_last_minute(now_ns) + len(before),
            in_session=session is not None and session.open_ns <= now_ns <= session.close_ns,
            risk_before=self._risk_of(before) if before else ZERO,
            now_ns=now_ns,
            cash=desk.account.cash,
            account=gate.account,
            cash_when_told=gate.cash_when_told,
            book=_Book(desk, before, now_ns),
            tallies=gate.tallies,
            owner_held=None if desk.books is None else desk.books.of(intent.owner).quantity(number),
            underlying_verdict=underlying,
            is_last_call=session is not None and session.close_ns - now_ns <= _last_call_ns(one, session.day),
        )

    def _risk_of(self, intents: Sequence[OrderIntent]) -> Decimal:
        """What the opening intents among these put at risk together, in currency."""
        desk = self._desk
        risks = (
            risk_of(intent, desk.instruments[intent.instrument_id], desk.market.quotes[intent.instrument_id])
            for intent in intents
            if intent.purpose in OPENING
        )
        return sum((risk for risk in risks if risk is not None), ZERO)

    # cutting --------------------------------------------------------------------------------------

    def _cut(
        self,
        trade: Sequence[OrderIntent],
        before: Sequence[OrderIntent],
        now_ns: int,
        refusals: list[str],
        notes: list[str],
    ) -> tuple[OrderIntent, ...]:
        """Cut a trade to volatility, to what may be sold and to the Greeks caps; say what was cut."""
        if all(intent.purpose in EXITS for intent in trade):
            return tuple(trade)
        sets = sets_of([intent.quantity for intent in trade])
        allowed, reasons = sets, []
        for cut in (
            self._cut_by_volatility(trade, sets),
            self._cut_to_holding(trade, before, sets),
            self._cut_to_caps(trade, before, sets, now_ns),
        ):
            if cut.sets < sets:
                allowed = min(allowed, cut.sets)
                reasons.append(cut.reason)
        if allowed == sets:
            return tuple(trade)
        what = ", ".join(self._name(intent) for intent in trade)
        why = "; ".join(reasons)
        left = cut_to(trade, allowed, sets)
        if left:
            kept = ", ".join(self._name(intent) for intent in left)
            notes.append(f"{what} cut to {kept}: {why}")
        else:
            refusals.append(f"{what}: {why}")
        return left

    def _cut_by_volatility(self, trade: Sequence[OrderIntent], sets: int) -> SizeCut:
        target = self._desk.gate.limits.target_vol
        if target is None:
            return SizeCut(sets)
        told = self._desk.market.forecasts.get(self._desk.view.underlying)
        return cut_by_volatility(trade, sets, target, None if told is None else told.vol)

    def _cut_to_holding(
        self, trade: Sequence[OrderIntent], before: Sequence[OrderIntent], sets: int
    ) -> SizeCut:
        """Shares that the venue lends to nobody are sold only as far as they are held."""
        desk = self._desk
        account = desk.gate.account
        if account is None:
            return SizeCut(sets)
        allowed, reasons = sets, []
        for intent in trade:
            number = intent.instrument_id
            one = desk.instruments[number]
            if intent.side is Side.BUY or not isinstance(one, Equity):
                continue
            if account.may_short and number in account.shortable:
                continue
            working = _Book(desk, before, 0).working()
            selling = sum(
                (o.leaves for o in working if o.instrument_id == number and o.side is Side.SELL), ZERO
            )
            why = (
                f"{one.symbol} cannot be borrowed" if account.may_short else "the account may not sell short"
            )
            most, reason = cut_to_holding(intent, desk.positions.quantity(number), selling, why)
            if reason:
                allowed = min(allowed, int(most * sets / intent.quantity))
                reasons.append(reason)
        return SizeCut(allowed, "; ".join(reasons))

    def _cut_to_caps(
        self, trade: Sequence[OrderIntent], before: Sequence[OrderIntent], sets: int, now_ns: int
    ) -> SizeCut:
        """Cut to the Greeks caps; the Greeks are worked out only when a cap could bind."""
        desk = self._desk
        limits = desk.gate.limits
        equity = float(desk.attribution.nav)
        orders = list(self._lines(trade))
        only_shares = not any(isinstance(one, OptionContract) for _, one, _ in orders)
        opens = any(intent.purpose in OPENING for intent in trade)
        book = list(self._book_lines(before, counts_exits=not opens))
        held = self._exposure(book, now_ns)
        added = self._exposure(orders, now_ns)
        for found in (held, added):
            if isinstance(found, Unknown):
                return SizeCut(0, f"the exposure is not known: {found.why}")
        assert isinstance(held, Exposure)
        assert isinstance(added, Exposure)
        only_buys = not only_shares and all(
            intent.side is Side.BUY and isinstance(one, OptionContract)
            for intent, (_, one, _) in zip(trade, orders, strict=True)
        )
        return cut_to_caps(held, added, sets, rooms(limits, equity, only_buys_options=only_buys))

    def _exposure(self, lines: Sequence[Line], now_ns: int) -> Exposure | Unknown:
        desk = self._desk
        engine = desk.delta_engine
        return exposure_of(
            lines,
            # the volatility of the option's last update, as the hedge was sized with: asking for a
            # fresh one here would change what the next hedge is sized with
            lambda number: engine.value(number, now_ns, fresh=False),
            desk.market.mark,
            desk.gate.limits.betas,
        )

    def _lines(self, trade: Sequence[OrderIntent]) -> Iterator[Line]:
        instruments = self._desk.instruments
        for intent in trade:
            number = intent.instrument_id
            yield number, instruments[number], float(intent.signed_quantity)

    def _book_lines(self, before: Sequence[OrderIntent], *, counts_exits: bool) -> Iterator[Line]:
        """What is held and what working orders may still add; an exit may never be filled."""
        desk = self._desk
        instruments = desk.instruments
        for position in desk.positions.held():
            number = position.instrument_id
            yield number, instruments[number], float(position.quantity)
        for order in desk.orders.live.values():
            if counts_exits or order.submitted.purpose not in EXITS:
                number = order.submitted.instrument_id
                yield number, instruments[number], float(order.signed_leaves)
        yield from self._lines([one for one in before if counts_exits or one.purpose not in EXITS])


def _last_call_ns(one: Instrument, today: date) -> int:
    expires = isinstance(one, OptionContract) and one.expiry <= today
    return LAST_CALL_EXPIRING_NS if expires else LAST_CALL_NS
