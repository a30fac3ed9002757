"""st0ckg: seven signals, one at a time, expressed in options that expire today.

Each closed minute all signals are asked. The strongest, if it passes the filters, buys calls or puts of
the day; what is bought is watched until one of the exits sells it. Every wake reads the book afresh: what
a rejection, a partial fill or a late answer left behind is simply seen and dealt with.
"""

from collections.abc import Sequence
from decimal import Decimal

from scalpdesk.closing.plan import TargetLine
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import BarEvent, Event, OrderFilled, QuoteEvent
from scalpdesk.core.intents import Side
from scalpdesk.core.units import ZERO, exact
from scalpdesk.instruments.broker_terms import venue_cutoff
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.deadlines import contract_deadline_ns
from scalpdesk.marketdata.quotes import TRADABLE, QuoteVerdict
from scalpdesk.marketdata.triggers import PriceMove, Trigger, Wake
from scalpdesk.plugins import MarketFacts, Reading
from scalpdesk.signals.base import find_signal
from scalpdesk.signals.composite import Survey, survey
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal, StrategySpec, traded_symbol
from scalpdesk.strategies.several.strategy import one_for_each
from scalpdesk.strategies.toolkit.exits import (
    ExitAction,
    ScalpView,
    first_reason,
    is_beyond,
    scale_out_contracts,
    scalp_rules,
    shown,
)
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.order_life import ReportOnce
from scalpdesk.strategies.toolkit.sizing import size_by_risk
from scalpdesk_strategies.scalp import Scalp, Scalps
from scalpdesk_strategies.st0ckg.config import St0ckgConfig
from scalpdesk_strategies.st0ckg.filters import EntryHistory, EntryMoment, is_in_window, refusal
from scalpdesk_strategies.st0ckg.market_facts import FactsCollector, invalid_levels
from scalpdesk_strategies.st0ckg.scalp_selector import ScalpCandidate, ScalpContractSelector, buy_limit

NAME = "st0ckg"
_RETRY_SECONDS = 5.0
"""Age at which an exit order that is not filled is cancelled and gets a new price."""
_OUT_OF_HOURS = frozenset({"window", "opening"})
"""Filters that no signal passes at this time of the day."""
_PRICED = frozenset({QuoteVerdict.GOOD, QuoteVerdict.LOCKED, QuoteVerdict.ZERO_BID})
_HOLDS_ON = frozenset({ExitAction.SCALE_OUT, ExitAction.SET_BREAKEVEN})
"""Reasons after which something is still held; after any other nothing is."""


class _SignalScalp(Scalp):
    """A scalp on one signal, from its order to its end.

    ``best``, ``chosen``: The contract, and the signal.
    ``config``: Settings.
    ``levels``: Of the underlying, below and above which a bullish (bearish) reason no longer holds.
    """

    timer = "st0ckg: is the entry filled"

    def __init__(
        self,
        view: DeskView,
        best: ScalpCandidate,
        chosen: Reading,
        config: St0ckgConfig,
        levels: tuple[Decimal | None, Decimal | None],
    ) -> None:
        super().__init__(
            view,
            best.number,
            best.contract,
            ttl_seconds=config.order_ttl_seconds,
            leaving=Liquidation(None, retry_seconds=_RETRY_SECONDS, timer="st0ckg: exit again"),
            tag={"signal": chosen.name},
        )
        self.invalid_below, self.invalid_above = levels
        self.entry_spot: Decimal | None = None
        """Underlying at the first fill; None before it."""
        self._config = config
        self._rules = scalp_rules(config.exits)
        self._is_breakeven_armed = False
        self._is_scale_skipped = False
        """One contract cannot be halved: it runs on."""

    def ask_exits(self, view: DeskView) -> list[Action]:
        """Do what the first exit rule asks for; a step that needs no order lets the next rule speak."""
        actions: list[Action] = []
        while self.entry_spot is not None:
            action = first_reason(self._rules, self._seen(view, self.entry_spot))
            if action is None:
                break
            if action not in _HOLDS_ON:
                return actions + self.leave(view, str(action))
            if action == ExitAction.SET_BREAKEVEN:
                self._is_breakeven_armed = True
                words = f"set_breakeven: the entry price {self.entry_price:.2f} is the stop from here"
                actions.append(Proposal(DecisionKind.EXIT, (words,), self.facts(view)))
                continue
            count = scale_out_contracts(self.held(view))
            if count and view.is_halted(self.number):
                break  # asked again once it trades: a part is offered once
            self._is_scale_skipped = True
            if count:  # a part that is not sold then goes with the rest
                held = self.held(view)
                intent = TargetLine("", self.number, held, held - count).next_order(action)
                facts = self.facts(view) | {"contracts": count}
                return [*actions, Proposal(DecisionKind.EXIT, (action,), facts, (intent,))]
            words = "scale_out: one contract cannot be halved, it runs on"
            actions.append(Proposal(DecisionKind.EXIT, (words,), self.facts(view)))
        return actions

    def facts(self, view: DeskView) -> Facts:
        """Return its figures, for the record of a decision."""
        spots = {"entry_spot": self.entry_spot, "spot": view.market.mark(view.underlying)}
        return super().facts(view) | {name: float(spot) for name, spot in spots.items() if spot is not None}

    def _seen(self, view: DeskView, entry_spot: Decimal) -> ScalpView:
        spot, price = view.market.mark(view.underlying), view.mark(self.number)
        verdict = view.market.verdict(self.number, view.now_ns)
        is_priced = verdict in _PRICED and view.market.is_valid(self.number)
        return ScalpView(
            now_ns=view.now_ns,
            mode=view.mode,
            session=view.session,
            pnl=view.trade_pnl(self.trade),
            premium_paid=self.premium_paid,
            quoted_ns=shown(view, (self.number,), ZERO)[0],
            expiry=self.contract.expiry,
            right=self.contract.right,
            entry_spot=entry_spot,
            spot=entry_spot if spot is None else exact(spot),
            entry_price=self.entry_price,
            price=exact(price) if price is not None and is_priced else None,
            is_past_deadline=view.now_ns >= deadline_ns(self.contract, view, self._config),
            is_scaled=self._is_scale_skipped or bool(self.sold) or bool(self.live(Side.SELL)),
            is_breakeven_armed=self._is_breakeven_armed,
            invalid_below=self.invalid_below,
            invalid_above=self.invalid_above,
        )


def deadline_ns(contract: OptionContract, view: DeskView, config: St0ckgConfig) -> int:
    """Return by when a contract is sold: minutes before the close, or before the venue's last order."""
    minutes = config.exits.flat_minutes_before_close
    cutoff = venue_cutoff(config.venue) if config.venue else view.cutoff
    return contract_deadline_ns(contract, cutoff, exit_minutes=minutes)


class St0ckg:
    """Options of the day on the strongest of seven signals."""

    is_done = False

    def __init__(self, config: St0ckgConfig | None = None, name: str = NAME) -> None:
        self.config = config or St0ckgConfig()
        self.name = name
        self._signals = tuple(find_signal(name) for name in self.config.signals)
        self._selector = ScalpContractSelector(self.config.contract)
        self._history = EntryHistory()
        self._watch: FactsCollector | None = None
        self.scalps = Scalps[_SignalScalp]()
        self._refusals = ReportOnce()
        self._absences: dict[str, str] = {}
        self._refused_today = ReportOnce()

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Look at the chain; wake on the underlying's price, its bars and a heartbeat."""
        traded_symbol(view, self.config.underlying, self.name)
        self._watch = FactsCollector(view, self.config)
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
        if self.scalps:
            for scalp in tuple(self.scalps):
                actions += self.scalps.tend(view, scalp, event)
        if is_new_minute and view.now_ns < view.session.close_ns:
            actions += self._think(view, watch)
        return actions

    # session and orders -------------------------------------------------------------------------

    def _on_session(self, view: DeskView, watch: FactsCollector) -> Sequence[Action]:
        session = view.session
        assert session is not None
        if view.now_ns != session.open_ns:
            watch.close_session()
            return ()
        watch.open_session(view, session)
        self._history.new_session()
        self._absences.clear()
        self._refused_today.forget()
        self._refusals.forget()
        self.scalps.open_session(view)
        return ()

    def _note_order(self, view: DeskView, event: Event) -> None:
        """Give an order's event to the scalp it belongs to; the first fill starts the clocks."""
        claimed = self.scalps.claim(view, event)
        if claimed is None or not isinstance(event, OrderFilled):
            return
        scalp, order, _ = claimed
        if order.submitted.side is Side.BUY and scalp.entry_spot is None:
            spot = view.market.mark(view.underlying)
            scalp.entry_spot = exact(spot if spot is not None else float(scalp.contract.strike))
            self._history.note_fill(str(scalp.tag["signal"]), view.now_ns)

    # entry --------------------------------------------------------------------------------------

    def _think(self, view: DeskView, watch: FactsCollector) -> list[Action]:
        """Ask all signals; buy on the strongest, or say once why not."""
        assert view.session is not None
        verdict = view.market.verdict(view.underlying, view.now_ns)
        spot = view.market.mark(view.underlying)
        if spot is None or verdict not in TRADABLE:
            return self._refusals.report(
                f"quote {verdict}", (f"signals not asked: the quote is {verdict}",), {}
            )
        facts = watch.facts(view, spot)
        only_tradable = self.config.choose == "tradable"
        found = survey(self._signals, facts, self.config.scoring, only_tradable=only_tradable)
        actions: list[Action] = []
        if is_in_window(view.now_ns, view.session, self.config.filters):
            actions += self._report_absences(found)  # outside of it nothing could have come of them
        if found.composite.primary is None:
            self._refusals.forget()
            return actions
        shown = _shown_of(found, spot)
        if found.chosen is None:
            return actions + self._refused_today.once(found.refused_by, (f"skipped: {found.against}",), shown)
        chosen = found.chosen
        moment = EntryMoment(
            view.now_ns,
            view.session,
            chosen.name,
            chosen.direction,
            len(self.scalps),
            watch.trend(self.config.filters.trend_fast, self.config.filters.trend_slow),
        )
        against = refusal(moment, self._history, self.config.filters)
        if against is not None:
            why = (f"skipped: {against.reason}", *_why_of(chosen))
            if against.rule in _OUT_OF_HOURS:
                return actions + self._refused_today.once(f"{chosen.name} {against.rule}", why, shown)
            return actions + self._refusals.report(
                f"{chosen.name} {chosen.direction} {against.rule}", why, shown
            )
        if view.mode is not Mode.ACTIVE:
            return actions + self._refusals.report(
                view.mode, (f"skipped: the desk is {view.mode.lower()}",), shown
            )
        return actions + self._enter(view, watch, chosen, facts, shown)

    def _enter(
        self, view: DeskView, watch: FactsCollector, chosen: Reading, facts: MarketFacts, shown: Facts
    ) -> list[Action]:
        """Buy the best contract of the day on the signal's side, as many as the budget allows."""
        assert view.session is not None
        choice = self._selector.select(
            watch.options, view.session.day, chosen.direction, view.market, view.delta_engine, view.now_ns
        )
        why = _why_of(chosen)
        best = choice.best
        if best is None:
            key = f"{chosen.name} {chosen.direction} no contract"
            return self._refusals.report(key, (f"skipped: {choice.why_none()}", *why), shown)
        shown = shown | _facts_of(best)
        if view.exposure(best.number):
            return self._refusals.report(
                f"held {best.contract.symbol}", (f"skipped: {best.contract.symbol} is held", *why), shown
            )
        if view.now_ns >= deadline_ns(best.contract, view, self.config):
            return self._refusals.report("deadline", ("skipped: past the last exit of the day", *why), shown)
        contract, ask = self.config.contract, exact(best.ask)
        premium = ask * best.contract.multiplier
        count = size_by_risk(
            view.nav, premium, equity_fraction=contract.equity_fraction, most=contract.max_contracts
        )
        limit = buy_limit(ask, best.contract.tick_rule, contract)
        if not count:
            reason = f"skipped: one contract at {best.ask:.2f} costs more than the budget of an entry"
            return self._refusals.report(f"{chosen.name} budget", (reason, *why), shown)
        below, above = invalid_levels(facts)
        if is_beyond(best.contract.right, exact(facts.price), below, above):
            edge = f"below {below:.2f}" if chosen.direction > 0 else f"above {above:.2f}"
            key = f"{chosen.name} {chosen.direction} invalid"
            return self._refusals.report(
                key, (f"skipped: the price is {edge} already, where it would be sold", *why), shown
            )
        scalp = _SignalScalp(view, best, chosen, self.config, (below, above))
        self.scalps.append(scalp)
        self._refusals.forget()
        return scalp.buy(view.now_ns, count, limit, why, shown)

    def _report_absences(self, found: Survey) -> list[Action]:
        """Report each absent signal with its reason, once a session and reason."""
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


def _why_of(chosen: Reading) -> tuple[str, ...]:
    """Return a signal with its score, then what scored."""
    way = "up" if chosen.direction > 0 else "down"
    return (f"{chosen.name} {way}, score {chosen.score:.2f}, {chosen.confidence}", *chosen.reasons)


def _shown_of(found: Survey, spot: float) -> Facts:
    """The scores of what exists, the composite and the price."""
    scores: Facts = {item.name: round(item.score, 4) for item in found.readings if item.score}
    return scores | {"composite": round(found.composite.total, 4), "spot": spot}


def _facts_of(best: ScalpCandidate) -> Facts:
    """Return what a contract was chosen by."""
    return {
        "contract": best.contract.symbol,
        "contract_score": round(best.score, 3),
        "delta": round(best.delta, 4),
        "implied_vol": round(best.vol, 4),
        "bid": best.bid,
        "ask": best.ask,
        "open_interest_contracts": best.open_interest_contracts,
    }


PLUG = StrategySpec(
    name=NAME,
    config=St0ckgConfig,
    build=lambda config: one_for_each(NAME, config, St0ckg),
    summary="options of the day on the strongest of seven signals",
    reads_dealer_gamma=True,
    reads_option_volume=True,
    history_sessions=lambda config: config.volume_sessions,
    environment={"HEDGING_ASSET": ("underlying",)},
    credentials=("st0ckg_key", "st0ckg_secret"),
)
