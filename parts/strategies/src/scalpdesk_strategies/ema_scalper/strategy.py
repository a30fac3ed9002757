"""The EMA-cloud options scalper on the desk.

Each closed bar the clouds are followed; a flip of the fast cloud is a signal. What passes the filters buys
half a position in today's (or tomorrow's) option with one limit order; the second half follows if the price
comes back to the cloud and holds. Every wake reads the orders and positions afresh: a scalp exists from its
first fill, and a rejection or a late fill is simply seen and dealt with.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.closing.ladder import PriceLadder
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.events import BarEvent, Event, OrderFilled, QuoteEvent
from scalpdesk.core.intents import SetTimer, Side
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.broker_terms import venue_cutoff
from scalpdesk.instruments.contract import OptionContract, options_in_order
from scalpdesk.instruments.deadlines import VenueCutoff
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.marketdata.triggers import PriceMove, Trigger, Wake
from scalpdesk.orders.order import Order
from scalpdesk.strategies.contract import (
    Action,
    DeskView,
    Facts,
    Proposal,
    StrategySpec,
    configured_underlyings,
    traded_symbol,
)
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.order_life import ReportOnce
from scalpdesk.volatility.regime import iv_rank
from scalpdesk_strategies.ema_scalper.cloud_watch import CloudWatch
from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.entry import (
    DeskChain,
    EntryPlan,
    EntryPlanner,
    ScalpMoment,
    latest_expiry,
    losing,
)
from scalpdesk_strategies.ema_scalper.exits import ScalpExit, ScalpExits, mark_of, target_floor
from scalpdesk_strategies.ema_scalper.model import TradeSignal, days_to_expiry
from scalpdesk_strategies.ema_scalper.sizing import buy_limit
from scalpdesk_strategies.ema_scalper.strike_selector import LONGEST_DAYS
from scalpdesk_strategies.ema_scalper.timing import (
    is_past_limit,
    venue_deadline_ns,
    why_fomc_unknown,
)
from scalpdesk_strategies.scalp import Scalp, Scalps, drop_entry

_EXIT_TIMER = "ema-scalper: exit again"
RETRY_SECONDS = 2.0
"""Age at which an exit order that is not filled gets a new price."""
TARGET_REST_SECONDS = 5.0
"""A gain is offered at the mid for so long before it is sold at the bid."""
_NO_MARK_SECONDS = 10.0
"""Without a usable quote for longer, an open scalp raises an alert."""
_MINUTE = 60
_SCALP_ID = "scalp_id"
"""Fact of each decision on a scalp: the records tell scalps apart by it."""


class _Ticker(NamedTuple):
    """An underlying that is scalped, with its clouds and its options."""

    number: InstrumentId
    symbol: str
    watch: CloudWatch
    options: list[tuple[InstrumentId, OptionContract]]


class _EmaScalp(Scalp):
    """One scalp from its order to its end.

    ``signal``, ``plan``: Why, and how much of it.
    ``config``: Settings.
    """

    timer = "ema-scalper: is the entry filled"
    no_reason = ScalpExit.EXPIRED

    def __init__(
        self,
        view: DeskView,
        number: InstrumentId,
        contract: OptionContract,
        *,
        ticker: _Ticker,
        signal: TradeSignal,
        plan: EntryPlan,
        config: ScalpConfig,
    ) -> None:
        super().__init__(
            view,
            number,
            contract,
            ttl_seconds=config.fill_timeout_seconds,
            leaving=Liquidation(None, retry_seconds=RETRY_SECONDS, timer=_EXIT_TIMER, limits_only=True),
            tag={_SCALP_ID: signal.signal_id},
        )
        self.ticker = ticker
        self.signal = signal
        self.plan = plan
        self.exits = ScalpExits(config, contract, signal)
        self.filled_ns: int | None = None
        """First fill; None before it."""
        self.add_open = plan.halves.add > 0
        """Whether the second half may still be bought."""
        self._config = config
        self._no_mark_since_ns: int | None = None
        self._is_alerted = False

    def read_bar(self) -> None:
        """Note what a closed bar says against the scalp."""
        if self.filled_ns is not None:
            self.exits.read_bar(self.ticker.watch, self.filled_ns)

    def ask_exits(self, view: DeskView) -> list[Action]:
        """Sell for the first reason to; report a scalp without a usable quote."""
        alerts = self._alert_without_mark(view, self.price(view))
        why = self._reason(view)
        if why is None:
            return alerts
        return alerts + self.leave(view, why, TARGET_REST_SECONDS if why == ScalpExit.PROFIT_TARGET else 0.0)

    def sell(self, view: DeskView) -> list[Action]:
        """Close what is held; at the target for no less than the lower end of its band."""
        if self.exit.why != ScalpExit.PROFIT_TARGET or self._is_in_band(view):
            return super().sell(view)
        why = self._reason(view)
        if why not in (None, ScalpExit.PROFIT_TARGET):
            self.exit.forget()
            return self.leave(view, str(why))
        if self.live(Side.SELL):  # it rests within the band
            return [SetTimer(_EXIT_TIMER, view.now_ns + int(RETRY_SECONDS * NANOS_PER_SECOND))]
        self.exit.forget()
        text = f"the target is gone: {self.contract.symbol} brings less than the lower end of its band"
        return [Proposal(DecisionKind.EXIT, (text,), self.facts(view))]

    def _is_in_band(self, view: DeskView) -> bool:
        """Return whether the next limit of an exit at the target is within the target's band."""
        quote = view.market.quotes[self.number]
        if quote is None:
            return False
        rests_ns = (self.exit.since_ns or 0) + int(TARGET_REST_SECONDS * NANOS_PER_SECOND)
        ladder = PriceLadder(self.contract, Side.SELL, quote.bid, quote.ask)
        if not quote.bid > 0.0:
            return False
        limit = ladder.between(0.0) if view.now_ns < rests_ns else ladder.meeting(1)
        return limit is not None and limit >= target_floor(self.entry_price, self._config)

    def _reason(self, view: DeskView) -> str | None:
        """Return the first reason to sell, or None."""
        quote, session = view.market.quotes[self.number], view.session
        assert session is not None
        return self.exits.reason(
            session,
            _cutoff(view, self._config),
            now_ns=view.now_ns,
            mode=view.mode,
            pnl=view.trade_pnl(self.trade),
            premium_paid=self.premium_paid,
            entry_price=self.entry_price,
            price=self.price(view),
            quote_ns=0 if quote is None else quote.ts_event_ns,
        )

    def tend_entry(self, view: DeskView, buys: Sequence[Order]) -> list[Action]:
        """Cancel an entry that is still waiting when its cut-off comes or the desk stops opening."""
        config, session = self._config, view.session
        assert session is not None
        is_late = view.now_ns >= venue_deadline_ns(self.contract, _cutoff(view, config)) or is_past_limit(
            view.now_ns, session, self.contract.expiry, config
        )
        return drop_entry(buys, "past the cut-off") if is_late else []

    def price(self, view: DeskView) -> Decimal | None:
        """Return the mid of a quote that is good and narrow enough; None without one."""
        quote = view.market.quotes[self.number]
        if quote is None or view.market.verdict(self.number, view.now_ns) is not QuoteVerdict.GOOD:
            return None
        if not view.market.is_valid(self.number):
            return None
        return mark_of(quote.bid, quote.ask, self._config.max_mark_spread_pct)

    def facts(self, view: DeskView) -> Facts:
        """Return its figures, for the record of a decision."""
        return super().facts(view) | ({"exit_reason": self.exit.why} if self.exit.why else {})

    def _alert_without_mark(self, view: DeskView, price: Decimal | None) -> list[Action]:
        if price is not None:
            self._no_mark_since_ns, self._is_alerted = None, False
            return []
        if self._no_mark_since_ns is None:
            self._no_mark_since_ns = view.now_ns
        seconds = (view.now_ns - self._no_mark_since_ns) / NANOS_PER_SECOND
        if self._is_alerted or seconds < _NO_MARK_SECONDS:
            return []
        self._is_alerted = True
        why = f"{self.contract.symbol} is held and has had no usable quote for {seconds:.0f} s"
        return [Proposal(DecisionKind.ALERT, (why,), self.facts(view))]


class EmaScalper:
    """Options scalped on flips of the fast EMA cloud, on one underlying or several side by side."""

    name = "ema-scalper"
    is_done = False

    def __init__(self, config: ScalpConfig | None = None) -> None:
        self.config = config or ScalpConfig()
        self._planner = EntryPlanner(self.config)
        self._tickers: dict[InstrumentId, _Ticker] = {}
        self.scalps = Scalps[_EmaScalp]()
        self._reports = ReportOnce(DecisionKind.ALERT)

    @property
    def phase(self) -> str:
        """Open scalps, as one line."""
        return ", ".join(f"{scalp.contract.symbol} ({scalp.signal.direction})" for scalp in self.scalps)

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Look at the chains; wake on each underlying's price, its bars and a heartbeat."""
        main, *others = configured_underlyings(self.config)
        for symbol in (traded_symbol(view, main, self.name), *others):
            number = view.instruments.id_of(symbol)
            watch = CloudWatch(number, symbol, self.config.price_source)
            self._tickers[number] = _Ticker(number, symbol, watch, options_in_order(view.instruments, symbol))
        seconds = self.config.heartbeat_seconds
        return [PriceMove(number, self.config.price_change_usd, seconds) for number in self._tickers]

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Look at the open scalps, then, when a bar has closed, at its signals."""
        session = view.session
        if session is None:
            return ()
        if wake is Wake.SESSION:
            return self._on_session(view, session)
        actions = self._note_order(view, event)
        ticker: _Ticker | None = None
        closed: tuple[int, ...] = ()
        if isinstance(event, BarEvent | QuoteEvent):
            ticker = self._tickers.get(event.instrument_id)
            closed = () if ticker is None else ticker.watch.add(event)
        is_halted = view.mode is Mode.HALTED
        for scalp in tuple(self.scalps):
            if ticker is not None and scalp.ticker is not ticker:
                continue  # another underlying's market says nothing of it
            if scalp.exits.bar_seconds in closed:
                scalp.read_bar()  # in a halt as well: a flip in it ends the scalp afterwards
            if not is_halted:
                actions += self.scalps.tend(view, scalp, event)
            if scalp.exits.bar_seconds in closed:
                actions += self._second_half(view, session, scalp)
        if is_halted:
            return actions
        for seconds in closed:
            if ticker is not None and seconds // _MINUTE in self.config.signal_minutes:
                actions += (
                    self._think(view, session, ticker, seconds) if view.now_ns < session.close_ns else []
                )
        return actions

    # session and orders -------------------------------------------------------------------------

    def _on_session(self, view: DeskView, session: Session) -> Sequence[Action]:
        for ticker in self._tickers.values():
            if view.now_ns != session.open_ns:
                ticker.watch.close_session()
            else:
                market = view.market
                earlier = market.earlier_sessions.get(ticker.number, ())
                ticker.watch.open_session(session, earlier, market.adjustments)
        if view.now_ns != session.open_ns:
            return ()
        expired = [scalp for scalp in self.scalps if scalp.bought and not scalp.held(view)]
        actions = [action for scalp in expired for action in scalp.ended(ScalpExit.EXPIRED)]
        self.scalps.open_session(view)
        for scalp in self.scalps:
            scalp.exit.forget()
        unknown = why_fomc_unknown(session, self.config)
        return actions + (self._reports.once("fomc", (unknown,)) if unknown else [])

    def _note_order(self, view: DeskView, event: Event) -> list[Action]:
        """Give an order's event to the scalp it belongs to; the first fill makes the position."""
        claimed = self.scalps.claim(view, event)
        if claimed is None:
            return []
        scalp, order, is_back = claimed
        is_buy = order.submitted.side is Side.BUY
        if isinstance(event, OrderFilled) and is_buy and scalp.filled_ns is None:
            scalp.filled_ns = view.now_ns
        return self._leave_surplus(view, scalp) if is_back else []

    def _leave_surplus(self, view: DeskView, scalp: _EmaScalp) -> list[Action]:
        """Begin to sell a scalp that is back beside as many as may be open."""
        count, most = len(self.scalps), self.config.max_concurrent_scalps
        if count <= most:
            return []
        scalp.exit.begin(view.now_ns, ScalpExit.SURPLUS)
        why = (
            f"{scalp.contract.symbol} was filled after it had ended: {count} scalps, most {most}; it is sold"
        )
        return [Proposal(DecisionKind.ALERT, (why,), scalp.facts(view))]

    # signals and entries ------------------------------------------------------------------------

    def _think(self, view: DeskView, session: Session, ticker: _Ticker, seconds: int) -> list[Action]:
        """Buy the first half on a signal that passes, or report every reason against it."""
        watch = ticker.watch
        signal = watch.signal(seconds, self._iv_rank(view, ticker))
        if signal is None:
            return []
        marks = [
            (scalp.entry_price, scalp.price(view))
            for scalp in self.scalps
            if scalp.bought and scalp.ticker is ticker
        ]
        moment = ScalpMoment(
            view.now_ns,
            session,
            self.config.venue or view.venue,
            _cutoff(view, self.config),
            len(self.scalps),
            losing(marks),
            watch.macro,
            view.mode,
        )
        shown = _shown(signal)
        if watch.macro.is_thin:
            shown["macro_bar_minutes"] = watch.macro.minutes
        why = _why(signal)
        spot = view.market.mark(ticker.number)
        refusals = self._planner.refusals(signal, moment)
        if spot is None:
            refusals += (f"{ticker.symbol} is not quoted",)
        if refusals or spot is None:
            return [_skipped(why, refusals, shown)]
        chain = DeskChain(
            view,
            ticker.options,
            spot,
            until=latest_expiry(session.day),
            cutoff_passed=is_past_limit(view.now_ns, session, session.day, self.config),
        )
        plan = self._planner.plan(signal, chain, float(view.nav))
        if isinstance(plan, tuple):
            return [_skipped(why, plan, shown)]
        number = chain.ids[plan.selection.option_symbol]
        return self._enter(view, moment, number, ticker=ticker, signal=signal, plan=plan)

    def _enter(
        self,
        view: DeskView,
        moment: ScalpMoment,
        number: InstrumentId,
        *,
        ticker: _Ticker,
        signal: TradeSignal,
        plan: EntryPlan,
    ) -> list[Action]:
        contract = view.instruments[number]
        assert contract.is_option
        shown = _shown(signal) | _facts_of(plan, days_to_expiry(moment.session.day, contract.expiry))
        why = _why(signal)
        # a scalp of this very instant, from the other bar length, has no order yet
        is_scalped = any(scalp.number == number for scalp in self.scalps)
        is_taken = bool(is_scalped or view.exposure(number) or view.orders.live_for(number))
        against = self._planner.against_contract(contract, moment, is_taken=is_taken)
        if against:
            return [_skipped(why, against, shown)]
        scalp = _EmaScalp(view, number, contract, ticker=ticker, signal=signal, plan=plan, config=self.config)
        self.scalps.append(scalp)
        return self._buy(view, scalp, plan.halves.first, plan.limit, why, shown)

    def _buy(
        self, view: DeskView, scalp: _EmaScalp, count: int, limit: Decimal, why: tuple[str, ...], shown: Facts
    ) -> list[Action]:
        loss = count * self._planner.sizer.risk_per_contract(limit)
        return scalp.buy(view.now_ns, count, limit, why, shown | scalp.tag, loss)

    def _second_half(self, view: DeskView, session: Session, scalp: _EmaScalp) -> list[Action]:
        """Buy the second half when the candle after the fill tests the cloud and holds."""
        if not scalp.add_open or scalp.filled_ns is None:
            return []
        is_due = self._planner.is_add_due(scalp.exits.candles, scalp.signal.sign)
        if is_due is None and not scalp.exit.why:
            return []
        scalp.add_open = False
        if not is_due or scalp.exit.why or scalp not in self.scalps:
            return []
        why = (f"second half: the cloud was tested and held at {scalp.exits.candles[-1].bar.close:.2f}",)
        shown = scalp.facts(view)
        against = self._planner.against_adding(
            price=scalp.price(view),
            entry_price=scalp.entry_price,
            is_buying=bool(scalp.live(Side.BUY)),
            is_past_cutoff=is_past_limit(view.now_ns, session, scalp.contract.expiry, self.config),
            mode=view.mode,
        )
        quote = view.market.quotes[scalp.number]
        if against or quote is None:
            return [_skipped(why, against, shown)]
        limit = buy_limit(quote.bid, quote.ask, scalp.contract.tick_rule, self.config.limit_offset)
        room = self._planner.sizer.room(limit, scalp.bought, scalp.entry_price, float(view.nav))
        # never more than the first half came to: the gate may have cut it, or the venue filled a part
        count = min(scalp.plan.halves.add, int(scalp.bought), room)
        if not count:
            most = f"{self.config.max_risk_per_scalp:.1%} of the equity"
            return [
                _skipped(why, (f"a second half at {limit} may lose more than {most} with the first",), shown)
            ]
        return self._buy(view, scalp, count, limit, why, shown)

    @staticmethod
    def _iv_rank(view: DeskView, ticker: _Ticker) -> float | None:
        """Return the rank of the underlying's implied volatility; None while it is not known."""
        known = view.market.implied_vols.get(ticker.number)
        return None if known is None else iv_rank(known.vol, known.history)


def _cutoff(view: DeskView, config: ScalpConfig) -> VenueCutoff:
    return venue_cutoff(config.venue) if config.venue else view.cutoff


def _skipped(why: tuple[str, ...], against: Sequence[str], shown: Facts) -> Proposal:
    return Proposal(DecisionKind.ENTRY, (f"skipped: {'; '.join(against)}", *why), shown)


def _why(signal: TradeSignal) -> tuple[str, ...]:
    return (f"fast cloud of {signal.timeframe} flipped {signal.direction}, conviction {signal.conviction}",)


def _shown(signal: TradeSignal) -> Facts:
    """Return a signal's figures."""
    facts: Facts = {
        "signal_id": signal.signal_id,
        "conviction": signal.conviction,
        "spot": signal.entry_price,
    }
    if signal.parts is not None:
        names = ("alignment", "frames", "volume", "thickness", "body", "factor")
        facts |= {f"points_{name}": round(getattr(signal.parts, name), 4) for name in names}
    if signal.volume_ratio is not None:
        facts["volume_ratio"] = round(signal.volume_ratio, 4)
    if signal.macro_bias is not None:
        facts["macro_bias"] = signal.macro_bias
    if signal.iv_rank is not None:
        facts["iv_rank"] = round(signal.iv_rank, 4)
    return facts


def _facts_of(plan: EntryPlan, days: int) -> Facts:
    """Return what a contract was chosen by."""
    chosen = plan.selection
    return {
        "contract": chosen.option_symbol,
        "days_to_expiry": days,
        "contract_score": round(chosen.score, 3),
        "delta": round(chosen.delta, 4),
        "gamma": round(chosen.gamma, 4),
        "theta_per_day": round(chosen.theta, 4),
        "implied_vol": round(chosen.iv, 4),
        "bid": chosen.bid,
        "ask": chosen.ask,
        "open_interest_contracts": chosen.open_interest,
        "contracts_planned": sum(plan.halves),
        "risk_usd": float(plan.risk_usd),
    }


PLUG = StrategySpec(
    name="ema-scalper",
    config=ScalpConfig,
    build=EmaScalper,
    summary="options of today or tomorrow on flips of EMA clouds",
    picker="scalpdesk_strategies.ema_scalper.picker:pick",
    reads_option_volume=True,
    reads_iv_rank=True,
    history_sessions=lambda config: config.history_sessions,
    expiry_days=lambda _: (0, LONGEST_DAYS),
    # with the filter most days have no scalp (18 in 42 sessions): a demo shows some
    demo_settings=("min_volume_ratio=0",),
)
