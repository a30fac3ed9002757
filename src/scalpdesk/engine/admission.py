"""Which orders of a proposal may go to the venue: the risk gate's answer, and trades cut to their caps."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import (
    EXITS,
    OPENING,
    LegOrders,
    OrderIntent,
    Purpose,
    Side,
    sets_of_all,
)
from scalpdesk.core.order_types import TRAITS
from scalpdesk.core.structs import FrozenLeaf
from scalpdesk.core.units import ZERO, InstrumentId
from scalpdesk.engine.desk import Desk
from scalpdesk.engine.margins import working_order
from scalpdesk.instruments.contract import underlying_of
from scalpdesk.instruments.deadlines import must_go_now
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.portfolio.delta_engine import OptionState
from scalpdesk.risk.caps import (
    BookLine,
    HeldAndWorking,
    Marks,
    SizeCut,
    cut_by_volatility,
    cut_to,
    cut_to_caps,
    cut_to_holding,
    sets_of,
)
from scalpdesk.risk.checks import day_loss_of, risk_of
from scalpdesk.risk.context import Held, OrderContext, RiskFigures, TradePart, Working, Written

_COMBO_LEVEL = 3
"""Options level from which brokers take orders of several legs (Alpaca: "level 3, multi-leg")."""
_MOST_LEGS, _MOST_RATIO = 4, 10


class _Admitted(FrozenLeaf, frozen=True, gc=False):
    """The orders of a proposal that may go, why not the others, and what was cut."""

    intents: tuple[OrderIntent, ...]
    refusals: tuple[str, ...]
    notes: tuple[str, ...]


class _ProposalFacts:
    """Facts about the account for the checks, with the orders admitted before in the same proposal."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.now_ns = 0
        self.before: Sequence[OrderIntent] = ()
        self.closing: Sequence[OrderIntent] = ()
        """Exits that come later in the same proposal: what they sell covers nothing."""
        self.instrument_id = InstrumentId(0)
        self.trade: Sequence[OrderIntent] = ()
        """The order under check and the legs that are judged together with it."""
        self._written: tuple[Sequence[OrderIntent], int, Written] | None = None

    def figures(self) -> RiskFigures:
        """Return the account's amounts, and what the opening orders admitted before put at risk."""
        desk, before, loss = self._desk, ZERO, ZERO
        paid = self.before
        if self.writes(paid):
            asked, paid = self._ask(paid), ()
            before, loss = asked.need, asked.day_loss or ZERO
        cash = desk.cash() if desk.positions.has_futures else desk.account.cash
        if desk.is_margined and desk.gate.venue_limits is None and desk.margins.has_written():
            cash = min(cash, desk.margins.figures().free)  # what was received for options is not free
        for intent in paid:
            if intent.purpose in OPENING:
                instrument = desk.instruments[intent.instrument_id]
                risk = risk_of(intent, instrument, desk.market.quotes[intent.instrument_id]) or ZERO
                before += risk
                loss += day_loss_of(intent, instrument, risk, self.now_ns)
        return RiskFigures(
            equity=desk.view.nav,
            session_equity=desk.session_equity,
            risk_before=before,
            loss_before=loss,
            consecutive_losses=desk.gate.closed_trades.losses_in_a_row,
            cash=cash,
            cash_at_report=desk.gate.cash_at_report,
            margin_fraction=desk.margin_fraction(),
        )

    def writes(self, trade: Sequence[OrderIntent]) -> bool:
        """Return whether a trade sells options to open."""
        return self._desk.margins.writes(trade)

    def written(self) -> Written:
        """Return what the trade under check asks of the account, where it sells options to open."""
        known = self._written
        if known is None or known[0] is not self.trade or known[1] != self.now_ns:
            known = self._written = self.trade, self.now_ns, self._ask(self.trade)
        return known[2]

    def _ask(self, trade: Sequence[OrderIntent]) -> Written:
        others = [each for each in (*self.before, *self.closing) if not any(each is leg for leg in trade)]
        return self._desk.margins.written(self._working(others), self._sent(trade), self.now_ns)

    def tied_up(self) -> Decimal | None:
        """Return what the book ties up once every opening order is filled; None while no option is sold."""
        if not self._desk.is_margined and not self.writes(self.trade):
            return None
        others = [intent for intent in self.before if not any(intent is leg for leg in self.trade)]
        return self._desk.margins.tied_up(self._working([*others, *self.trade]))

    def options_level(self) -> int:
        """Return what the account may trade in options: by the venue's report, else by the settings."""
        return self._desk.margins.options_level

    def is_last_call(self) -> bool:
        """Return whether an option must go today: an exit from it cannot wait for a better quote."""
        desk = self._desk
        option = desk.instruments[self.instrument_id]
        return option.is_option and must_go_now(option, desk.view.session, self.now_ns)

    def working(self) -> list[Working]:
        """Orders that may still be filled, those of the proposal included, oldest first."""
        return self._working(self.before)

    def _working(self, intents: Sequence[OrderIntent]) -> list[Working]:
        """Return the orders at the venue, then these."""
        return self._desk.margins.at_venue() + self._sent(intents)

    def _sent(self, intents: Sequence[OrderIntent]) -> list[Working]:
        instruments = self._desk.instruments
        return [working_order(instruments, each, each.quantity, self.now_ns) for each in intents]

    def held(self) -> list[Held]:
        """Open positions."""
        instruments = self._desk.instruments
        return [
            Held(position.instrument_id, instruments[position.instrument_id], position.quantity)
            for position in self._desk.positions.held()
        ]

    @property
    def owners_apart(self) -> bool:
        """Whether strategies share the account, and each closes what is its own."""
        return self._desk.books is not None and not self._desk.leaves_by_positions

    def held_by(self, owner: str, instrument_id: InstrumentId) -> Decimal | None:
        """Return the owner's signed units of an instrument; None where no strategies share the account."""
        books = self._desk.books
        if books is not None and not self.owners_apart:  # whose it is does not matter any more
            return self._desk.to_close(instrument_id)
        return None if books is None else books.of(owner).quantity(instrument_id)

    def mark(self, instrument_id: InstrumentId) -> float | None:
        """Return the value of one unit, in currency, or None when it is not known."""
        return self._desk.delta_engine.mark(instrument_id)

    def is_stub(self, quote: QuoteEvent) -> bool:
        """Return whether the sides of an option's quote lie too far apart to tell its price."""
        return self._desk.market.is_stub(quote)

    def verdict_on(self, symbol: str) -> QuoteVerdict:
        """Return the verdict on the latest quote of an underlying."""
        return self._desk.market.verdict(self._desk.instruments.id_of(symbol), self.now_ns)


class OrderAdmission:
    """Asks the risk gate about the orders of a proposal, and cuts what passes to its caps.

    ``desk``: The parts of the desk; nothing of them is changed.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._facts = _ProposalFacts(desk)
        self._marks = Marks(self._value, desk.delta_engine.mark)
        proxies, instruments = desk.delta_engine.proxies.values(), desk.instruments.by_id
        self._hedges = {each.instrument_id: instruments[each.underlying_id].symbol for each in proxies}

    def judge(self, intents: Sequence[OrderIntent], now_ns: int, *, all_or_none: bool) -> _Admitted:
        """Return which of these orders may go.

        Each order passes all checks or comes back with all reasons. Orders that pass are cut to the caps:
        the orders of an all-or-none proposal together, others one by one.
        """
        admitted: list[OrderIntent] = []
        refusals: list[str] = []
        notes: list[str] = []
        together = all_or_none and len(intents) > 1
        refuse = self._desk.gate.refusals
        whole = tuple(intents) if together and self._facts.writes(intents) else ()
        for place, wanted in enumerate(intents, 1):
            self._facts.closing = [each for each in intents[place:] if each.purpose in EXITS]
            is_exit = wanted.purpose in EXITS
            intent = self._within_one_order(wanted, notes) if is_exit else self._within_equity(wanted, notes)
            against = refuse(self.context(intent, admitted, now_ns, whole))
            if against:
                refusals += [f"{self._name(intent)}: {reason}" for reason in against]
            elif together or intent.purpose in EXITS:
                admitted.append(intent)
            else:
                admitted += self.cut((intent,), admitted, now_ns, refusals, notes)
        if all_or_none and refusals:
            return _Admitted((), tuple(refusals), ())
        if together and any(intent.purpose not in EXITS for intent in admitted):
            admitted = list(self.cut(admitted, (), now_ns, refusals, notes))
        return _Admitted(tuple(admitted), tuple(refusals), tuple(notes))

    def may_combine(self, intents: Sequence[OrderIntent], leg_orders: LegOrders) -> bool:
        """Return whether admitted orders go as one: different options in small ratios, of one type."""
        desk, count = self._desk, len(intents)
        if leg_orders is LegOrders.LEGS or not 1 < count <= _MOST_LEGS:
            return False
        limits = desk.gate.venue_limits
        if limits is not None and limits.options_level < _COMBO_LEVEL:
            return False
        if any(TRAITS[leg.type_name].waits for leg in intents):
            return False  # no venue has a trigger for several contracts
        kinds = {(leg.order_type, leg.time_in_force, leg.purpose, leg.owner) for leg in intents}
        sets = sets_of_all([leg.quantity for leg in intents])
        return (
            (leg_orders is LegOrders.COMBO or desk.takes_combos)
            and len(kinds) == 1
            and all(leg.quantity <= _MOST_RATIO * sets for leg in intents)
            and len({leg.instrument_id for leg in intents}) == count
            and all(desk.instruments[leg.instrument_id].is_option for leg in intents)
        )

    def _within_one_order(self, intent: OrderIntent, notes: list[str]) -> OrderIntent:
        """Cut an exit to the largest order: refused it would never leave, in parts it does."""
        resolved = self._desk.gate.resolved
        is_option = self._desk.instruments[intent.instrument_id].is_option
        most = resolved.order_contracts if is_option else resolved.order_shares
        if not intent.quantity.is_finite() or intent.quantity <= most:
            return intent
        part = msgspec.structs.replace(intent, quantity=most)
        key = "risk.max_order_contracts" if is_option else "risk.max_order_shares"
        notes.append(f"{self._name(intent)} cut to {self._name(part)}: no order is larger ({key})")
        return part

    def _within_equity(self, intent: OrderIntent, notes: list[str]) -> OrderIntent:
        """Cut shares that are opened to what a position may risk, where that is one whole share at least."""
        desk, instrument = self._desk, self._desk.instruments.by_id[intent.instrument_id]
        if not instrument.is_share or intent.purpose is not Purpose.OPEN:
            return intent
        if not 1 < intent.quantity <= desk.gate.resolved.order_shares:  # a slip of the finger is refused
            return intent
        risk = risk_of(intent, instrument, desk.market.quotes[intent.instrument_id])
        fraction, equity = desk.gate.limits.max_position_fraction, float(desk.view.nav)
        if risk is None or float(risk) <= fraction * equity:
            return intent
        most = Decimal(int(fraction * equity * float(intent.quantity / risk)))
        if not 1 <= most < intent.quantity:
            return intent
        part = msgspec.structs.replace(intent, quantity=most)
        why = f"{fraction:.0%} of {equity:.2f} (risk.max_position_fraction)"
        notes.append(f"{self._name(intent)} cut to {self._name(part)}: {why}")
        return part

    def _name(self, intent: OrderIntent) -> str:
        return f"{intent.side.value} {intent.quantity} {self._desk.instruments[intent.instrument_id].symbol}"

    def context(
        self,
        intent: OrderIntent,
        before: Sequence[OrderIntent],
        now_ns: int,
        whole: Sequence[OrderIntent] = (),
    ) -> OrderContext:
        """Gather what the checks look at.

        ``before`` are the orders of the same proposal that passed; ``whole`` the legs of a proposal that
        sells options to open, which go together or not at all.
        """
        desk, facts = self._desk, self._facts
        instrument_id, part = intent.instrument_id, TradePart.ALONE
        facts.now_ns, facts.before, facts.instrument_id = now_ns, before, instrument_id
        instrument = desk.instruments.by_id[instrument_id]
        facts.trade = whole or (intent,)
        if whole:
            speaker = next(leg for leg in whole if facts.writes((leg,)))
            part = TradePart.SPEAKER if intent is speaker else TradePart.LEG
        elif instrument.is_option and intent.side is not Side.BUY and facts.writes(facts.trade):
            opened = [each for each in before if each.purpose not in EXITS]
            facts.trade, part = (*opened, intent), TradePart.SPEAKER
        gate, session = desk.gate, desk.view.session
        market = desk.market
        quote, is_exit = market.quotes[instrument_id], intent.purpose in EXITS
        position = desk.positions.positions.get(instrument_id)
        held, is_compared = ZERO if position is None else position.quantity, gate.is_compared
        if desk.leaves_by_positions:  # exits alone: a hedge would be that of a book the venue does not show
            held, is_compared = desk.to_close(instrument_id) if is_exit else held, is_exit
        return OrderContext(
            intent,
            instrument,
            instrument.is_option,
            gate.limits,
            gate.resolved,
            gate.desk_mode.mode,
            quote,
            market.verdict(instrument_id, now_ns),
            held,
            len(desk.orders.live) + len(before),
            len(before),
            session is not None and session.open_ns <= now_ns <= session.close_ns,
            now_ns,
            gate.counters,
            gate.venue_limits,
            facts,
            desk.view.is_halted(instrument_id) if gate.halted else False,
            is_compared,
            part,
        )

    # cutting --------------------------------------------------------------------------------------

    def cut(
        self,
        trade: Sequence[OrderIntent],
        before: Sequence[OrderIntent],
        now_ns: int,
        refusals: list[str],
        notes: list[str],
    ) -> Sequence[OrderIntent]:
        """Cut a trade to volatility, to what may be sold and to the Greeks caps; note what was cut."""
        desk, limits, facts = self._desk, self._desk.gate.limits, self._facts
        facts.now_ns, facts.before = now_ns, before
        instruments = desk.instruments.by_id
        orders = [(intent, instruments[intent.instrument_id]) for intent in trade]
        cuts: list[SizeCut | None] = []
        if limits.target_vol is not None:
            symbol = underlying_of(orders[0][1])
            known = symbol in desk.instruments
            forecast = desk.market.forecasts.get(desk.instruments.id_of(symbol)) if known else None
            vol = None if forecast is None else forecast.vol
            cuts.append(cut_by_volatility(trade, limits.target_vol, vol))
        if desk.gate.venue_limits is not None:
            cuts.append(self._cut_to_holding(trade))
        nav = float(desk.attribution.nav)
        cut = cut_to_caps(self._book(before), orders, limits, nav, self._marks, self._hedges)
        if cut is None and not cuts:
            return trade
        found = [made for made in (*cuts, cut) if made is not None]
        if not found:
            return trade
        left = cut_to(trade, min(cut.sets for cut in found), sets_of([intent.quantity for intent in trade]))
        what = ", ".join([self._name(intent) for intent in trade])
        why = "; ".join([cut.reason for cut in found])
        if left:
            notes.append(f"{what} cut to {', '.join([self._name(intent) for intent in left])}: {why}")
        else:
            refusals.append(f"{what}: {why}")
        return left

    def _cut_to_holding(self, trade: Sequence[OrderIntent]) -> SizeCut | None:
        """Shares that cannot be borrowed are sold only as far as they are held."""
        desk = self._desk
        limits = desk.gate.venue_limits
        assert limits is not None
        cuts = []
        for intent in trade:
            instrument_id = intent.instrument_id
            share = desk.instruments[instrument_id]
            if intent.side is Side.BUY or not share.is_share:
                continue
            if limits.may_short and instrument_id in limits.shortable:
                continue
            selling = sum(
                (
                    order.leaves
                    for order in self._facts.working()
                    if order.instrument_id == instrument_id and order.side is Side.SELL
                ),
                ZERO,
            )
            why = (
                f"{share.symbol} cannot be borrowed" if limits.may_short else "the account may not sell short"
            )
            most, reason = cut_to_holding(intent, desk.positions.quantity(instrument_id), selling, why)
            if reason:
                cuts.append((int(most * sets_of([i.quantity for i in trade]) / intent.quantity), reason))
        return SizeCut(min(sets for sets, _ in cuts), "; ".join([why for _, why in cuts])) if cuts else None

    def _value(self, instrument_id: InstrumentId) -> OptionState | None:
        return self._desk.delta_engine.state(instrument_id, self._facts.now_ns)

    def _book(self, before: Sequence[OrderIntent]) -> HeldAndWorking:
        """Return what is held, and what orders at the venue and ``before`` may still change of it."""
        instruments = self._desk.instruments.by_id
        held: list[BookLine] = []  # loops instead of comprehensions: each of those costs a call
        opening: list[BookLine] = []
        exits: list[BookLine] = []
        for number, position in self._desk.positions.positions.items():
            if position.quantity:
                held.append((number, instruments[number], position.float_quantity))
        for order in self._desk.orders.live.values():
            sent, number = order.submitted, order.submitted.instrument_id
            lines = exits if sent.purpose in EXITS else opening if sent.purpose in OPENING else held
            lines.append((number, instruments[number], float(order.signed_leaves)))
        for intent in before:
            number = intent.instrument_id
            lines = exits if intent.purpose in EXITS else opening if intent.purpose in OPENING else held
            lines.append((number, instruments[number], float(intent.signed_quantity)))
        return HeldAndWorking(held, opening, exits)
