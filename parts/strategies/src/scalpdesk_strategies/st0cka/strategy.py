"""st0cka: buy one to three shares in the first half hour, sell them a cent or a few higher.

One lot at a time. The target is offered as soon as the lot is there; a stop, the end of the selling
window and the hard end before the close sell at the market. Every wake reads the book afresh: what a
rejection, a partial fill or a late answer left behind is simply seen and dealt with.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from scalpdesk.closing.plan import TargetLine
from scalpdesk.core.backoff import BackOff
from scalpdesk.core.bounds import above, time_of_day
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import Event, OrderFilled, OrderNotFound, OrderRejected, QuoteEvent
from scalpdesk.core.intents import SetTimer, Side
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, exact
from scalpdesk.instruments.broker_terms import fees_named
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.fees import DayFees, FeeModel, trade_date
from scalpdesk.instruments.sessions import Session, to_new_york
from scalpdesk.instruments.ticks import TickRule
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.marketdata.triggers import PriceMove, Trigger, Wake
from scalpdesk.orders.order import Order
from scalpdesk.strategies.contract import (
    Action,
    DeskView,
    Facts,
    Proposal,
    StrategySpec,
    TradeStart,
    traded_symbol,
)
from scalpdesk.strategies.several.strategy import one_for_each
from scalpdesk.strategies.toolkit.exits import ExitRule, PluginRules, PositionView, RiskHalt, first_reason
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.order_life import REJECTION_SECONDS, ReportOnce, take_back
from scalpdesk.strategies.toolkit.resume import Adopted, resume
from scalpdesk.strategies.toolkit.sizing import exact_vol, size_by_vol
from scalpdesk_strategies.st0cka.mean_reversion import MeanReversionConfig, ReversionTracker

ONE = Decimal(1)


def dynamic_target(vol: float | None, base: Decimal, *, reference_vol: float | None = 0.10) -> Decimal:
    """Return the profit target in currency a share: ``base``·max(1, vol/reference).

    ``reference_vol`` None, or an unknown ``vol``, leaves the base. Not rounded: :func:`sell_limit` is.

    >>> dynamic_target(0.25, Decimal("0.01"))
    Decimal('0.025')
    """
    if vol is None or reference_vol is None:
        return base
    return base * max(ONE, exact_vol(vol) / exact_vol(reference_vol))


def sell_limit(entry_price: Decimal, target: Decimal, tick_rule: TickRule) -> Decimal:
    """Return the limit that takes the target, rounded up: shares are not quoted in parts of a cent.

    Source of the rule: SEC Regulation NMS, 17 CFR 242.612 (no sub-penny quotes at 1 USD and above).

    >>> sell_limit(Decimal("590.00"), Decimal("0.025"), TickRule(Decimal("0.01")))
    Decimal('590.03')
    """
    return tick_rule.round(entry_price + target, "up")


class Viability(msgspec.Struct, frozen=True):
    """Expected result of a lot sold at its target, in currency."""

    target: Decimal
    """From the ask paid to the limit asked."""
    half_spread: Decimal
    """Loss of the lot's worth at the moment it is bought: it is sold at the bid."""
    fees: Decimal
    """Fees of the purchase and of the sale."""

    @property
    def net(self) -> Decimal:
        """Target less half-spread and fees."""
        return self.target - self.half_spread - self.fees

    def in_words(self) -> str:
        """Return the sum as a reader checks it."""
        verdict = "viable" if self.net > 0 else "unviable"
        parts = f"target {self.target:.2f} - half-spread {self.half_spread:.3f} - fees {self.fees:.2f}"
        return f"{verdict}: expected net {self.net:.3f} USD ({parts})"


def viability(
    instrument: Instrument, size: Decimal, bid: Decimal, ask: Decimal, limit: Decimal, fees: DayFees
) -> Viability:
    """Return what a lot bought at ``ask`` and sold at ``limit`` brings (prices in currency a share)."""
    paid = fees.fee(instrument, Side.BUY, size, ask) + fees.fee(instrument, Side.SELL, size, limit)
    return Viability(size * (limit - ask), size * (ask - bid) / 2, paid)


NAME = "st0cka"
_LONGEST_AFTER_REFUSAL_SECONDS = 600.0
"""Longest pause after a refusal by the desk's own gate, which refuses purchases alone."""
_REPORT_AGAIN_SECONDS = 300.0
"""A price may hop over a threshold a hundred times a minute; the journal need not."""


Number = Annotated[float, above(0, 1e9, "a number")]
Amount = Annotated[Decimal, above(0, 1e9, "an amount in USD a share")]


class St0ckaConfig(PluginRules, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of st0cka. Names are those of its earlier configuration where it had one."""

    underlying: str = "SPY"
    """The share; of several with commas between them each is traded for itself."""
    mode: Literal["init", "resume"] = "init"
    """``init`` sells what is held of it at the start; ``resume`` takes it as its open lot."""
    profit_target: Amount = Decimal("0.01")
    """Smallest target in USD a share."""
    target_vol_ref: Number = 0.10
    """Volatility (fraction a year) up to which the target stays at that; above it grows in proportion."""
    use_volatility_sizing: bool = True
    """False: always ``position_size_min`` shares and always ``profit_target`` (--volatility-off)."""
    position_size_min: int = 1
    position_size_max: int = 3
    """``position_size_min``, ``position_size_max``: Shares in wild and in calm markets."""
    low_vol_threshold: float = 0.10
    high_vol_threshold: float = 0.25
    """``low_vol_threshold``, ``high_vol_threshold``: Volatilities (fractions a year) at which the size is
    largest and smallest.
    """
    volatility: Number | None = None
    """Use this one (fraction a year) instead of the run's forecast."""
    use_mean_reversion: bool = False
    """Buy only what has fallen too far (--mean-reversion)."""
    mean_reversion: MeanReversionConfig = msgspec.field(default_factory=MeanReversionConfig)
    """Settings of the mean reversion."""
    buy_from: str = "09:30"
    buy_until: str = "10:00"
    """``buy_from``, ``buy_until``: New York times between which it buys, both included."""
    sell_from: str = "09:30"
    sell_until: str = "11:00"
    """``sell_from``, ``sell_until``: Between which the target is offered; at the end what is left is sold at
    the market.
    """
    entry_interval_seconds: Number = 30.0
    """Least time between two purchases."""
    order_ttl_seconds: Number = 3.0
    """A purchase that has not been filled by then is cancelled; a sale at the market is sent again."""
    stop_usd: Amount = Decimal("0.10")
    stop_targets: Number = 5.0
    """``stop_usd``, ``stop_targets``: Sell at a loss a share of the larger of the two: USD, and so many
    targets.
    """
    flat_minutes_before_close: Number = 10.0
    """Sold by then whatever the windows say; half days have an early close."""
    require_viable: bool = False
    """Do not buy when the target would not pay spread and fees; false only says so."""
    fees: str = "alpaca"
    """Fees that viability counts: ``none``, or those of a venue (``alpaca``: regulatory fees passed on at a
    sale)."""
    max_spread_fraction: Annotated[float, above(0, 1, "a fraction of the price")] = 0.002
    """Buy only while the spread is at most this fraction of the price."""
    price_change_usd: Number = 0.02
    heartbeat_seconds: Number = 2.0
    """``price_change_usd``, ``heartbeat_seconds``: Think again after such a move of the mid, or after such a
    silence.
    """

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        super().__post_init__()
        clocks = {key: time_of_day(key, getattr(self, key)) for key in _CLOCK_KEYS}
        for first, last in (("buy_from", "buy_until"), ("sell_from", "sell_until")):
            if clocks[first] >= clocks[last]:
                raise self._refusal("a window must end after it begins", first, last)
        if clocks["sell_until"] < clocks["buy_until"]:
            raise self._refusal("what is bought last could not be sold", "buy_until", "sell_until")
        if not 0 < self.position_size_min <= self.position_size_max:
            raise self._refusal(
                "sizes: at least 1, least before most", "position_size_min", "position_size_max"
            )
        if not 0 < self.low_vol_threshold < self.high_vol_threshold:
            raise self._refusal(
                "thresholds: above 0, low before high", "low_vol_threshold", "high_vol_threshold"
            )

    def _refusal(self, what: str, *keys: str) -> ConfigError:
        """Return a refusal that names both keys: either may be the one that was set."""
        values = ", ".join(str(getattr(self, key)) for key in keys)
        return ConfigError(what, where=", ".join(keys), value=values, fix=f"change {' or '.join(keys)}")


_CLOCK_KEYS = ("buy_from", "buy_until", "sell_from", "sell_until")


class LotView(PositionView, frozen=True, kw_only=True):
    """An open lot of shares."""

    held: Decimal
    gain: Decimal | None
    """Mark less the price paid, currency a share; None while there is no mark."""
    stop: Decimal
    """Loss a share at which it is sold, currency."""
    ends_ns: int
    why_ends: str


class _NeverShort:
    """Exit what this strategy cannot have bought."""

    def reason(self, trade: LotView) -> str | None:
        """Return why to exit, or None."""
        return "short, which this strategy never is: bought back" if trade.held < 0 else None


class _LotStop:
    """Exit at a loss a share."""

    def reason(self, trade: LotView) -> str | None:
        """Return why to exit, or None."""
        if trade.gain is None or trade.gain > -trade.stop:
            return None
        return f"stop: {trade.gain:.3f} a share, limit -{trade.stop:.3f}"


class _SellingEnds:
    """Exit at the end of the selling window, or before the close."""

    def reason(self, trade: LotView) -> str | None:
        """Return why to exit, or None."""
        return trade.why_ends if trade.now_ns >= trade.ends_ns else None


class St0cka:
    """One to three shares in the morning, sold a cent or a few higher."""

    is_done = False

    def __init__(self, config: St0ckaConfig | None = None, name: str = NAME) -> None:
        self.config = config or St0ckaConfig()
        self.name = name
        self._fees: FeeModel = fees_named(self.config.fees, "fees")
        self._reversion: ReversionTracker | None = None
        self._leaving = Liquidation(
            None, retry_seconds=self.config.order_ttl_seconds, timer="st0cka: exit again"
        )
        self._exits = self._new_exits()
        self._target = self.config.profit_target
        self._trade = TradeStart({})
        """Start of the round trip under way."""
        self._skipped = ReportOnce(again_after_seconds=_REPORT_AGAIN_SECONDS)
        self._last_entry_ns: int | None = None
        self._is_proposed = False
        """Whether an order was wanted of which none has been seen yet."""
        self._refused = BackOff(1.0, REJECTION_SECONDS)

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Wake on the share's price and on a heartbeat."""
        traded_symbol(view, self.config.underlying, self.name, by_class=False)
        if self.config.use_mean_reversion:
            self._reversion = ReversionTracker(view.underlying, self.config.mean_reversion)
        return (PriceMove(view.underlying, self.config.price_change_usd, self.config.heartbeat_seconds),)

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Manage the lot that is held, or look whether to buy one."""
        if self._reversion is not None:
            self._reversion.see(view, wake, event)
        if wake is Wake.SESSION:
            return self._on_session(view)
        own = self._note_order(view, event)
        held = view.positions.quantity(view.underlying)
        orders = view.orders.live_for(view.underlying)
        self._is_proposed = self._is_proposed and not orders
        if view.session is None or view.mode is Mode.HALTED or wake is Wake.BAR:
            return own
        if held or (self._leaving.why and orders):
            return (*own, *self._manage(view, view.session, held, orders))
        if any(order.submitted.side is Side.BUY for order in orders):
            return (*own, *self._watch_purchase(view, orders))
        # a sale that emptied the book has an event still to come; and the quote that stood before a fill is
        # no price to buy at: the market has just moved through it
        if orders or type(event) is not QuoteEvent:
            return own
        return (*own, *self._look_for_entry(view, view.session))

    # session ----------------------------------------------------------------------------------------

    def _on_session(self, view: DeskView) -> Sequence[Action]:
        session = view.session
        if session is None or view.now_ns != session.open_ns:
            return ()
        self._skipped.forget()
        self._refused.succeed()
        self._last_entry_ns = None
        self._trade = view.begin_trade((view.underlying,))
        self._is_proposed = False
        timers = tuple(
            SetTimer(f"st0cka: selling {what}", at_ns)
            for what, at_ns in zip(("begins", "ends"), self._selling(session), strict=True)
            if session.open_ns < at_ns <= session.close_ns
        )
        found = resume(view, {view.underlying})
        if not isinstance(found, Adopted):
            return timers
        held = found.held[view.underlying]
        if self.config.mode == "init":
            self._leaving.begin(view.now_ns, "init: start flat")
            return (*timers, *self._leave(view, held))
        self._target = self._target_at(self._volatility(view)[0])
        words = f"resume: {held:f} shares held at the start are the open lot"
        return (*timers, Proposal(DecisionKind.ENTRY, (words,), {"held_shares": float(held)}))

    def _buying(self, session: Session) -> tuple[int, int]:
        """First and last instant of buying; nothing is bought once all must be sold."""
        begins = session.clock_ns(self.config.buy_from)
        ends = session.clock_ns(self.config.buy_until)
        return begins, min(ends, self._selling(session)[1] - NANOS_PER_SECOND)

    def _selling(self, session: Session) -> tuple[int, int]:
        """First instant of the target's offer, and the instant at which the rest goes at the market."""
        begins = session.clock_ns(self.config.sell_from)
        ends = session.clock_ns(self.config.sell_until)
        flat_ns = session.close_ns - int(self.config.flat_minutes_before_close * 60 * NANOS_PER_SECOND)
        return begins, min(ends, flat_ns)

    # orders -----------------------------------------------------------------------------------------

    def _note_order(self, view: DeskView, event: Event) -> Sequence[Action]:
        """Take a fill into the round trip's account; after a rejection wait before the next try."""
        if isinstance(event, OrderRejected | OrderNotFound):
            self._is_proposed = False
            if self._leaving.why:
                return self._leaving.note_refused(view, event)
            return self._back_off(view, "st0cka: after a rejection", REJECTION_SECONDS)
        if not isinstance(event, OrderFilled):
            return ()
        order = view.orders.orders[event.client_order_id].submitted
        if order.instrument_id != view.underlying:
            return ()
        self._refused.succeed()
        self._is_proposed = False
        if view.positions.quantity(view.underlying):
            return ()
        pnl, self._trade = view.trade_pnl(self._trade), view.begin_trade((view.underlying,))
        self._exits = self._new_exits()
        why = self._leaving.why or "target filled"
        if not view.orders.live_for(view.underlying):
            self._leaving.forget()
        return (
            Proposal(
                DecisionKind.EXIT, (f"flat: {why}",), {"pnl_usd": float(pnl), "price": float(event.price)}
            ),
        )

    def _back_off(self, view: DeskView, timer: str, longest_s: float) -> Sequence[Action]:
        """Order nothing for 1, 2, 4 … seconds; a fill ends it."""
        return (SetTimer(timer, self._refused.fail(view.now_ns, longest_seconds=longest_s)),)

    def _watch_purchase(self, view: DeskView, orders: Sequence[Order]) -> Sequence[Action]:
        """Cancel a purchase that is too old, or that a flattening desk no longer wants."""
        if view.mode is Mode.FLATTENING:
            return ()  # the engine has asked for its end
        too_old = view.now_ns - int(self.config.order_ttl_seconds * NANOS_PER_SECOND)
        late = [item for item in orders if item.created_ns <= too_old]
        words = f"not filled within {self.config.order_ttl_seconds:g} s: taken back"
        return take_back(DecisionKind.ENTRY, late, words)

    # entry ------------------------------------------------------------------------------------------

    def _look_for_entry(self, view: DeskView, session: Session) -> Sequence[Action]:
        self._leaving.forget()
        begins, ends = self._buying(session)
        if view.mode is not Mode.ACTIVE or view.now_ns < begins:
            return ()
        if self._is_proposed:  # and no order came of it: the risk gate refused it
            self._is_proposed = False
            least = int(self.config.entry_interval_seconds).bit_length()
            self._refused.failures = max(self._refused.failures, least)
            return self._back_off(view, "st0cka: after a refusal", _LONGEST_AFTER_REFUSAL_SECONDS)
        if view.now_ns > ends:
            if self._skipped.has_reported or self._last_entry_ns is not None:
                return ()  # reported already: what was bought, or why nothing was
            reason = f"buying ended at {to_new_york(ends):%H:%M} New York"
            return self._skip(view, "hours", reason, {})
        interval_ns = int(self.config.entry_interval_seconds * NANOS_PER_SECOND)
        if self._last_entry_ns is not None and view.now_ns - self._last_entry_ns < interval_ns:
            return ()
        quote = view.market.quotes[view.underlying]
        if view.now_ns < self._refused.until_ns or quote is None:
            return ()
        verdict = view.market.verdict(view.underlying, view.now_ns)
        is_halted = view.is_halted(view.underlying)
        if is_halted or verdict is not QuoteVerdict.GOOD:
            symbol = view.instruments[view.underlying].symbol
            words = f"trading is halted in {symbol}" if is_halted else f"the quote is {verdict}"
            return self._skip(view, "halt" if is_halted else f"quote {verdict}", words, {})
        spread_fraction = (quote.ask - quote.bid) / quote.mid
        if spread_fraction > self.config.max_spread_fraction:
            words = f"spread {spread_fraction:.3%} of the price, limit {self.config.max_spread_fraction:.3%}"
            return self._skip(view, "spread", words, {"spread_fraction": spread_fraction})
        against, facts = self._reversion.against(quote.mid) if self._reversion is not None else ({}, {})
        if against:
            first, reason = next(iter(against)), f"no mean reversion: {'; '.join(against.values())}"
            return self._skip(view, f"mean reversion: {first}", reason, facts)
        return self._buy(view, quote, facts)

    def _buy(self, view: DeskView, quote: QuoteEvent, facts: Facts) -> Sequence[Action]:
        config = self.config
        vol, where = self._volatility(view)
        size = config.position_size_min
        target = self._target_at(vol)
        if config.use_volatility_sizing:
            size = size_by_vol(
                vol,
                low_vol=config.low_vol_threshold,
                high_vol=config.high_vol_threshold,
                least=config.position_size_min,
                most=config.position_size_max,
            )
        instrument = view.instruments[view.underlying]
        bid = exact(quote.bid)
        ask = instrument.tick_rule.round(exact(quote.ask), "up")
        limit = sell_limit(ask, target, instrument.tick_rule)
        worth = viability(instrument, Decimal(size), bid, ask, limit, self._fees.on(trade_date(view.now_ns)))
        facts |= {
            "bid": quote.bid,
            "ask": quote.ask,
            "size_shares": size,
            "target_usd_per_share": float(target),
            "sell_limit": float(limit),
            "expected_net_usd": float(worth.net),
            "viable": "yes" if worth.net > 0 else "no",
        }
        if vol is not None:
            facts["volatility"] = vol
        if config.require_viable and worth.net <= 0:
            return self._skip(view, "viability", worth.in_words(), facts)
        self._skipped.last = ""
        self._target = target
        self._last_entry_ns = view.now_ns
        self._is_proposed = True
        due_ns = view.now_ns + int(config.order_ttl_seconds * NANOS_PER_SECOND)
        loss = size * self._stop(target)
        lot = TargetLine("", view.underlying, ZERO, Decimal(size), limit=ask, loss_at_stop=loss)
        intent = lot.next_order("lot at the ask")
        words = (
            f"buy {size} at {ask:.2f}, target {limit:.2f}",
            f"size and target: {where}",
            worth.in_words(),
        )
        return (
            Proposal(DecisionKind.ENTRY, words, facts, (intent,)),
            SetTimer("st0cka: age of a purchase", due_ns),
        )

    def _volatility(self, view: DeskView) -> tuple[float | None, str]:
        """Return the annualised daily volatility (fraction), None when unknown, and where it is from."""
        config = self.config
        if not config.use_volatility_sizing:
            return None, "constant (volatility off)"
        if config.volatility is not None:
            return config.volatility, f"volatility {config.volatility:.1%} as configured"
        event = view.market.forecasts.get(view.underlying)
        if event is not None and event.vol - event.vol == 0.0:
            return event.vol, f"volatility {event.vol:.1%} by {event.model}, daily bars before the session"
        why = f" ({event.reason})" if event is not None and event.reason else ""
        return None, f"volatility unknown{why}: smallest size, smallest target"

    def _target_at(self, vol: float | None) -> Decimal:
        """Return the target a share at a volatility, currency; with volatility off the fixed target."""
        return dynamic_target(vol, self.config.profit_target, reference_vol=self.config.target_vol_ref)

    def _stop(self, target: Decimal) -> Decimal:
        """Return the loss a share at which a lot is sold, currency."""
        return max(self.config.stop_usd, target * Decimal(str(self.config.stop_targets)))

    def _skip(self, view: DeskView, refused_by: str, reason: str, facts: Facts) -> Sequence[Action]:
        """Record why nothing is bought: when another rule refuses, and not the same again at once."""
        return self._skipped.report(refused_by, (reason,), facts, now_ns=view.now_ns)

    # holding and leaving ----------------------------------------------------------------------------

    def _manage(
        self, view: DeskView, session: Session, held: Decimal, orders: Sequence[Order]
    ) -> Sequence[Action]:
        """Offer the target, or sell at the market when there is a reason to."""
        if self._is_proposed:  # and no order came of it: the risk gate may say yes in a moment
            self._is_proposed = False
            return self._back_off(view, "st0cka: after a refusal", REJECTION_SECONDS)
        begins, ends = self._selling(session)
        position = view.positions.positions[view.underlying]
        if not self._leaving.why:
            reason = first_reason(self._exits, self._lot(view, held, position.average_price, ends))
            if reason:
                self._leaving.begin(view.now_ns, reason)
        if self._leaving.why:
            return self._leave(view, held)
        purchases = [item for item in orders if item.submitted.side is Side.BUY]
        if purchases:  # partly filled: the rest is not waited for longer than a whole one
            return self._watch_purchase(view, purchases)
        if orders or view.is_halted(view.underlying) or view.now_ns < max(begins, self._refused.until_ns):
            return ()
        instrument = view.instruments[view.underlying]
        entry_price = position.average_price
        limit = sell_limit(entry_price, self._target, instrument.tick_rule)
        intent = TargetLine("", view.underlying, held, limit=limit).next_order("target")
        self._is_proposed = True
        words = f"offer {held:f} at {limit:.2f}, bought at {entry_price:.4f}"
        return (Proposal(DecisionKind.EXIT, (words,), {"sell_limit": float(limit)}, (intent,)),)

    def _new_exits(self) -> tuple[ExitRule[LotView], ...]:
        return (RiskHalt(), _NeverShort(), _LotStop(), _SellingEnds(), *self.config.plugin_rules())

    def _lot(self, view: DeskView, held: Decimal, entry_price: Decimal, ends_ns: int) -> LotView:
        session, config = view.session, self.config
        assert session is not None
        mark = view.market.mark(view.underlying)
        by_window = session.clock_ns(config.sell_until) <= ends_ns
        return LotView(
            now_ns=view.now_ns,
            mode=view.mode,
            session=session,
            pnl=view.trade_pnl(self._trade),
            premium_paid=held * entry_price,
            held=held,
            gain=None if mark is None else exact(mark) - entry_price,
            stop=self._stop(self._target),
            ends_ns=ends_ns,
            why_ends=f"selling window ended at {config.sell_until} New York"
            if by_window
            else f"{config.flat_minutes_before_close:g} minutes before the close",
        )

    def _leave(self, view: DeskView, held: Decimal) -> Sequence[Action]:
        """Take the open orders back, then sell at the market; repeated until nothing is held."""
        legs = [view.underlying] if held else []
        return self._leaving.step(view, legs, {"held_shares": float(held)})


PLUG = StrategySpec(
    name=NAME,
    config=St0ckaConfig,
    build=lambda config: one_for_each(NAME, config, St0cka),
    summary="one to three shares in the morning, sold a cent or a few higher",
    trades_options=False,
    trades_underlying=lambda _: True,
    flags={
        "--volatility-off": ("use_volatility_sizing=false",),
        "--mean-reversion": ("use_mean_reversion=true",),
    },
    environment={
        "HEDGING_ASSET": ("underlying",),
        "INITIALIZATION_MODE": ("mode",),
        "PRICE_CHANGE_THRESHOLD": ("price_change_usd",),
        "HEARTBEAT_TRIGGER_SECONDS": ("heartbeat_seconds",),
        "TRADE_COMMAND_TTL_SECONDS": ("order_ttl_seconds",),
    },
    credentials=("st0cka_key", "st0cka_secret"),
)
