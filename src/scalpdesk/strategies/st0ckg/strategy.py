"""st0ckg: seven signals, one at a time, expressed in options that expire today.

Each closed minute all signals are asked. The strongest, if it passes the filters, buys calls or puts of
the day; what is bought is watched until one of the exits sells it. Every wake reads the book afresh: what
a rejection, a partial fill or a late answer left behind is simply seen and dealt with.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import BarEvent, Event, OrderFilled, QuoteEvent
from scalpdesk.core.intents import CancelIntent, OrderIntent, OrderType, Purpose, SetTimer, Side, TimeInForce
from scalpdesk.core.units import NANOS_PER_SECOND, exact
from scalpdesk.entry.scalp_selector import ScalpContractSelector
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.deadlines import CAUTIOUS, VENUE_CUTOFFS, exit_deadline_ns
from scalpdesk.instruments.sessions import last_trading_ns
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.marketdata.triggers import PriceMove, Trigger, Wake
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.signals.base import MarketFacts, Reading, find_signal
from scalpdesk.signals.composite import Survey, survey
from scalpdesk.strategies.contract import Action, DeskView, Proposal, traded_symbol
from scalpdesk.strategies.st0ckg.config import St0ckgConfig
from scalpdesk.strategies.st0ckg.exits import (
    CLOSES_ALL,
    ExitAction,
    ScalpState,
    exit_action,
    is_beyond,
    scale_out_contracts,
)
from scalpdesk.strategies.st0ckg.filters import EntryHistory, EntryMoment, is_in_window, refusal
from scalpdesk.strategies.st0ckg.market_watch import MarketWatch, invalid_levels
from scalpdesk.strategies.st0ckg.scalp import Scalp
from scalpdesk.strategies.st0ckg.words import Facts, facts_of, shown_of, why_of, without_figures

ZERO = Decimal(0)
ENTRY_TIMER = "st0ckg: is the entry filled"
OUT_OF_HOURS = frozenset({"window", "opening"})
"""Filters that no signal passes at this time of the day."""
PRICED = frozenset({QuoteVerdict.GOOD, QuoteVerdict.LOCKED, QuoteVerdict.ZERO_BID})


class St0ckg:
    """See the module's text."""

    name: ClassVar[str] = "st0ckg"
    Config = St0ckgConfig
    reads_gamma_exposure: ClassVar[bool] = True

    def __init__(self, config: St0ckgConfig | None = None) -> None:
        self.config = config or St0ckgConfig()
        self.history_sessions = self.config.volume_sessions
        """Earlier sessions whose minutes it wants to have been handed before the first one opens."""
        self._signals = tuple(find_signal(name) for name in self.config.signals)
        self._selector = ScalpContractSelector(self.config.contract)
        self._history = EntryHistory()
        self._watch: MarketWatch | None = None
        self._scalps: list[Scalp] = []
        self._ended: list[Scalp] = []
        """Those of this session that are over, as far as the venue has said."""
        self._said = ""
        """What was last said about the signals: the same is not said again."""
        self._absences: dict[str, str] = {}
        self._told: set[str] = set()

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Look at the chain; wake on the underlying's price, its bars and a heartbeat.

        Raises
        ------
        ConfigError
            When the run's underlying is not the configured one.
        """
        traded_symbol(view, self.config.underlying, self.name)
        self._watch = MarketWatch(self.config, view)
        return (PriceMove(view.underlying, self.config.price_change_usd, self.config.heartbeat_seconds),)

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Look at the open scalps, then, when a minute has closed, at the signals."""
        watch = self._watch
        if watch is None or view.session is None:
            return ()
        if wake is Wake.SESSION:
            return self._on_session(view, watch)
        self._note_order(view, event)
        is_new_minute = False
        if isinstance(event, BarEvent | QuoteEvent) and event.instrument_id == view.underlying:
            is_new_minute = watch.add(view, event)
        if view.mode is Mode.HALTED:
            return ()
        actions: list[Action] = []
        if self._scalps:
            for scalp in tuple(self._scalps):
                actions += self._tend(view, scalp)
        if is_new_minute and view.now_ns < view.session.close_ns:
            actions += self._think(view, watch)
        return actions

    # session and orders -------------------------------------------------------------------------

    def _on_session(self, view: DeskView, watch: MarketWatch) -> Sequence[Action]:
        session = view.session
        assert session is not None
        if view.now_ns != session.open_ns:
            watch.close_session()
            return ()
        watch.open_session(view, session)
        self._history.new_session()
        self._absences.clear()
        self._told.clear()
        self._said = ""
        self._scalps = [scalp for scalp in self._scalps if scalp.held(view)]
        self._ended.clear()
        return ()

    def _note_order(self, view: DeskView, event: Event) -> None:
        """Give an order's event to the scalp it belongs to; the first fill starts the clocks."""
        client_order_id = getattr(event, "client_order_id", None)
        order = view.orders.orders.get(client_order_id) if client_order_id else None
        if order is None:
            return
        for scalp in (*self._scalps, *self._ended):
            if not scalp.claim_order(order):
                continue
            if isinstance(event, OrderFilled):
                self._note_fill(view, scalp, order)
            if scalp in self._ended and scalp.held(view):
                # a fill after the venue's last word, or one taken back: not flat after all
                self._ended.remove(scalp)
                self._scalps.append(scalp)
                scalp.ended_ns = None
            return

    def _note_fill(self, view: DeskView, scalp: Scalp, order: Order) -> None:
        if order.submitted.side is Side.SELL:
            scalp.note_sold()
        elif scalp.entry_spot is None:
            spot = view.market.mark(view.underlying)
            scalp.entry_spot = exact(spot if spot is not None else float(scalp.contract.strike))
            self._history.note_fill(scalp.signal, view.now_ns)

    # entry --------------------------------------------------------------------------------------

    def _think(self, view: DeskView, watch: MarketWatch) -> list[Action]:
        """Ask all signals; buy on the strongest, or say once why not."""
        assert view.session is not None
        verdict = view.market.verdict(view.underlying, view.now_ns)
        spot = view.market.mark(view.underlying)
        if spot is None or verdict not in (QuoteVerdict.GOOD, QuoteVerdict.LOCKED):
            return self._say(f"quote {verdict}", (f"signals not asked: the quote is {verdict}",), {})
        facts = watch.facts(view, spot)
        only_tradable = self.config.choose == "tradable"
        found = survey(self._signals, facts, self.config.scoring, only_tradable=only_tradable)
        actions: list[Action] = []
        if is_in_window(view.now_ns, view.session, self.config.filters):
            actions += self._say_absences(found)  # outside of it nothing could have come of them
        if found.composite.primary is None:
            self._said = ""
            return actions
        shown = shown_of(found, spot)
        if found.chosen is None:
            return actions + self._say_once(
                without_figures(found.against), (f"skipped: {found.against}",), shown
            )
        chosen = found.chosen
        moment = EntryMoment(
            view.now_ns,
            view.session,
            chosen.name,
            chosen.direction,
            len(self._scalps),
            watch.trend(self.config.filters.trend_fast, self.config.filters.trend_slow),
        )
        against = refusal(moment, self._history, self.config.filters)
        if against is not None:
            why = (f"skipped: {against.reason}", *why_of(chosen))
            if against.rule in OUT_OF_HOURS:
                return actions + self._say_once(f"{chosen.name} {against.rule}", why, shown)
            return actions + self._say(f"{chosen.name} {chosen.direction} {against.rule}", why, shown)
        if view.mode is not Mode.ACTIVE:
            return actions + self._say(view.mode, (f"skipped: the desk is {view.mode.lower()}",), shown)
        return actions + self._enter(view, watch, chosen, facts, shown)

    def _enter(
        self, view: DeskView, watch: MarketWatch, chosen: Reading, facts: MarketFacts, shown: Facts
    ) -> list[Action]:
        """Buy the best contract of the day on the signal's side, as many as the budget allows."""
        assert view.session is not None
        choice = self._selector.select(
            watch.options, view.session.day, chosen.direction, view.market, view.delta_engine, view.now_ns
        )
        why = why_of(chosen)
        best = choice.best
        if best is None:
            key = f"{chosen.name} {chosen.direction} no contract"
            return self._say(key, (f"skipped: {choice.why_none()}", *why), shown)
        shown = shown | facts_of(best)
        if view.exposure(best.number):
            return self._say(
                f"held {best.contract.symbol}", (f"skipped: {best.contract.symbol} is held", *why), shown
            )
        if view.now_ns >= self._deadline_ns(best.contract, view):
            return self._say("deadline", ("skipped: past the last exit of the day", *why), shown)
        count, limit = self._selector.order_for(best, view.nav)
        if not count:
            reason = f"skipped: one contract at {best.ask:.2f} costs more than the budget of an entry"
            return self._say(f"{chosen.name} budget", (reason, *why), shown)
        below, above = invalid_levels(facts)
        if is_beyond(best.contract.right, exact(facts.price), below, above):
            edge = f"below {below:.2f}" if chosen.direction > 0 else f"above {above:.2f}"
            key = f"{chosen.name} {chosen.direction} invalid"
            return self._say(
                key, (f"skipped: the price is {edge} already, where it would be sold", *why), shown
            )
        scalp = Scalp(best.number, best.contract, chosen.name, chosen.direction, view.now_ns)
        scalp.invalid_below, scalp.invalid_above = below, above
        self._scalps.append(scalp)
        self._said = ""
        intent = OrderIntent(
            best.number,
            Side.BUY,
            Decimal(count),
            Purpose.OPEN,
            why[0],
            OrderType.LIMIT,
            limit,
            TimeInForce.DAY,
        )
        shown = shown | {"contracts": count, "limit": str(limit)}
        due_ns = view.now_ns + int(self.config.order_ttl_seconds * NANOS_PER_SECOND)
        return [Proposal(DecisionKind.ENTRY, why, shown, (intent,)), SetTimer(ENTRY_TIMER, due_ns)]

    # open scalps --------------------------------------------------------------------------------

    def _tend(self, view: DeskView, scalp: Scalp) -> list[Action]:
        """Let one scalp's entry end in time, ask its exits, and let go of it when it is over."""
        if scalp.ordered_ns == view.now_ns and not scalp.has_orders:
            return []
        scalp.claim(view)
        buys = scalp.live(Side.BUY)
        held = scalp.held(view)
        if not buys and not held and not scalp.live(Side.SELL):
            return self._over(view, scalp)
        ttl_ns = int(self.config.order_ttl_seconds * NANOS_PER_SECOND)
        actions: list[Action] = []
        if buys and view.now_ns >= scalp.ordered_ns + ttl_ns:
            actions += _cancel(buys, f"not filled within {self.config.order_ttl_seconds:g} s")
        if not held or scalp.entry_spot is None:
            return actions
        if scalp.leaving:
            return actions + self._sell_all(view, scalp)
        return actions + self._ask_exits(view, scalp)

    def _ask_exits(self, view: DeskView, scalp: Scalp) -> list[Action]:
        """Do what the first exit rule asks for; a step that needs no order lets the next rule speak."""
        actions: list[Action] = []
        if view.mode is Mode.FLATTENING:
            scalp.leaving = "risk halt: the desk is flattening"
            return self._sell_all(view, scalp)
        while True:
            action = exit_action(self._state(view, scalp), self.config.exits)
            if action is None:
                return actions
            if action in CLOSES_ALL:
                scalp.leaving = action.value
                return actions + self._sell_all(view, scalp)
            if action is ExitAction.SET_BREAKEVEN:
                scalp.is_breakeven_armed = True
                words = f"set_breakeven: the entry price {scalp.entry_price:.2f} is the stop from here"
                actions.append(Proposal(DecisionKind.EXIT, (words,), self._exit_facts(view, scalp)))
                continue
            count = scale_out_contracts(scalp.held(view))
            if count:
                return actions + self._sell(view, scalp, Decimal(count), action.value)
            scalp.is_scale_skipped = True
            words = "scale_out: one contract cannot be halved, it runs on"
            actions.append(Proposal(DecisionKind.EXIT, (words,), self._exit_facts(view, scalp)))

    def _state(self, view: DeskView, scalp: Scalp) -> ScalpState:
        spot = view.market.mark(view.underlying)
        price = view.market.mark(scalp.number)
        is_priced = view.market.verdict(scalp.number, view.now_ns) in PRICED
        assert scalp.entry_spot is not None
        return ScalpState(
            right=scalp.contract.right,
            entry_spot=scalp.entry_spot,
            spot=scalp.entry_spot if spot is None else exact(spot),
            entry_price=scalp.entry_price,
            price=exact(price) if price is not None and is_priced else None,
            is_past_deadline=view.now_ns >= self._deadline_ns(scalp.contract, view),
            is_scaled=scalp.is_scale_skipped or bool(scalp.sold) or bool(scalp.live(Side.SELL)),
            is_breakeven_armed=scalp.is_breakeven_armed,
            invalid_below=scalp.invalid_below,
            invalid_above=scalp.invalid_above,
        )

    def _sell_all(self, view: DeskView, scalp: Scalp) -> list[Action]:
        """Sell what is held; an entry still working is taken off the book first."""
        buys = scalp.live(Side.BUY)
        if buys:
            return _cancel(buys, "leaving")
        return self._sell(view, scalp, scalp.unsold(view), scalp.leaving)

    def _sell(self, view: DeskView, scalp: Scalp, count: Decimal, why: str) -> list[Action]:
        if not count or not scalp.may_sell(view.now_ns):
            return []
        scalp.note_sale(view.now_ns)
        intent = OrderIntent(scalp.number, Side.SELL, count, Purpose.CLOSE, why)
        facts = self._exit_facts(view, scalp) | {"contracts": int(count)}
        return [Proposal(DecisionKind.EXIT, (why,), facts, (intent,))]

    def _over(self, view: DeskView, scalp: Scalp) -> list[Action]:
        self._scalps.remove(scalp)
        self._ended.append(scalp)
        scalp.ended_ns = view.now_ns
        name = scalp.contract.symbol
        if scalp.bought:
            facts: Facts = {"gain_before_fees_usd": float(scalp.gain_usd), "signal": scalp.signal}
            why = scalp.leaving or "expired or taken away"
            return [Proposal(DecisionKind.EXIT, (f"flat in {name}: {why}",), facts)]
        if scalp.has_orders:
            return [
                Proposal(
                    DecisionKind.ENTRY, (f"entry in {name} ended without a fill",), {"signal": scalp.signal}
                )
            ]
        return []  # the gate refused it, and said so

    def _exit_facts(self, view: DeskView, scalp: Scalp) -> Facts:
        return {
            "contract": scalp.contract.symbol,
            "signal": scalp.signal,
            "entry_price": float(scalp.entry_price),
            "price": view.market.mark(scalp.number) or 0.0,
            "entry_spot": float(scalp.entry_spot or 0),
            "spot": view.market.mark(view.underlying) or 0.0,
            "held_contracts": int(scalp.held(view)),
        }

    def _deadline_ns(self, contract: OptionContract, view: DeskView) -> int:
        """Return by when a contract is sold: minutes before the close, or before the venue's last order."""
        cutoff = VENUE_CUTOFFS.get(self.config.venue or view.venue, CAUTIOUS)
        return exit_deadline_ns(
            last_trading_ns(contract),
            exit_minutes=self.config.exits.flat_minutes_before_close,
            cutoff_minutes=cutoff.of(contract.underlying),
        )

    # saying -------------------------------------------------------------------------------------

    def _say(self, key: str, reasons: tuple[str, ...], facts: Facts) -> list[Action]:
        """Say why nothing is bought, unless the last thing said was the same."""
        if key == self._said:
            return []
        self._said = key
        return [Proposal(DecisionKind.ENTRY, reasons, facts)]

    def _say_once(self, key: str, reasons: tuple[str, ...], facts: Facts) -> list[Action]:
        """Say once a session what could not have been traded: it comes and goes all day."""
        if key in self._told:
            return []
        self._told.add(key)
        return [Proposal(DecisionKind.ENTRY, reasons, facts)]

    def _say_absences(self, found: Survey) -> list[Action]:
        """Say of each absent signal why, once a session and reason."""
        news = [
            f"{reading.name} absent: {reading.reasons[0]}"
            for reading in found.readings
            if reading.is_absent and self._absences.get(reading.name) != reading.reasons[0]
        ]
        for reading in found.readings:
            if reading.is_absent:
                self._absences[reading.name] = reading.reasons[0]
            else:
                self._absences.pop(reading.name, None)
        return [Proposal(DecisionKind.ENTRY, tuple(news))] if news else []


def _cancel(orders: Sequence[Order], why: str) -> list[Action]:
    intents = tuple(
        CancelIntent(order.client_order_id, why)
        for order in orders
        if order.state not in (OrderState.PENDING_CANCEL, OrderState.UNKNOWN)
    )
    return (
        [Proposal(DecisionKind.ENTRY, (f"entry {why}: what was filled is kept",), {}, intents)]
        if intents
        else []
    )
