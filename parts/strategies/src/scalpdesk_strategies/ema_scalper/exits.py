"""Exit rules of a scalp, in their order; the first that has a reason closes it."""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum

from scalpdesk.base import Mode, OptionContract, Session, VenueCutoff, exact
from scalpdesk.core.units import exceeds
from scalpdesk.signals.ema_cloud import CloudCandle, is_exhausted
from scalpdesk.strategies.toolkit.exits import RISK_HALT, ExitRule, PositionView, RiskHalt, first_reason
from scalpdesk_strategies.ema_scalper.cloud_watch import CloudWatch
from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.model import TradeSignal, days_to_expiry
from scalpdesk_strategies.ema_scalper.timing import session_end_ns, time_limit_ns, venue_deadline_ns

ONE = Decimal(1)
_LEAST_OF_TARGET = Decimal("0.8")
"""The document takes profit at 20 to 30 % around a target of 25 %."""


class ScalpExit(StrEnum):
    """Why a scalp ended; the order is the precedence of the rules."""

    RISK_HALT = "risk_halt"
    STOP_LOSS = "stop_loss"
    VENUE_DEADLINE = "venue_deadline"
    """The venue takes no later orders in the contract."""
    TIME_CUTOFF = "time_cutoff"
    SESSION_END = "session_end"
    """Five minutes before the close, for options of later days that are not held overnight."""
    CLOUD_FLIP = "cloud_flip"
    PROFIT_TARGET = "profit_target"
    MOMENTUM_EXHAUSTION = "momentum_exhaustion"
    SURPLUS = "surplus"
    """A fill after the venue's cancel made it one more than may be open: no rule, sold at once."""
    EXPIRED = "expired"
    """It expired, or was taken away, while it was still held: no rule, what the records have for it."""


def mark_of(bid: float, ask: float, max_spread_pct: float) -> Decimal | None:
    """Return the mid of a good quote, currency per share; None where its spread is too wide for a mark.

    ``bid``, ``ask``: Quote, currency per share.
    ``max_spread_pct``: Widest ask less bid over the mid, itself allowed.
    """
    mid = 0.5 * (bid + ask)
    return None if exceeds(ask - bid, max_spread_pct * mid) else exact(mid)


def target_floor(entry_price: Decimal, config: ScalpConfig) -> Decimal:
    """Return the least price at which a sale is one at the target: the lower end of its band.

    >>> target_floor(Decimal("2.00"), ScalpConfig())
    Decimal('2.4000')
    """
    return entry_price * (ONE + _LEAST_OF_TARGET * Decimal(repr(config.profit_target_pct)))


class ScalpTrade(PositionView, frozen=True, kw_only=True):
    """An open scalp as its exit rules see it."""

    entry_price: Decimal
    """Average premium paid, currency per share."""
    price: Decimal | None
    """Mid of a quote that is good enough; None without one."""
    quote_ns: int
    """When that quote came, UTC nanoseconds."""
    deadline_ns: int
    cutoff_ns: int | None
    """None where the days to expiry have no cut-off within the day."""
    session_end_ns: int | None
    """None where it is held overnight."""
    is_flipped: bool
    """Whether the fast cloud has flipped against it since it was bought."""
    sign: int
    """+1 for calls, -1 for puts."""
    candles: Sequence[CloudCandle]
    """Last bars that closed after the purchase, oldest first."""


class _PremiumStop:
    """A fraction of the premium is lost, at so many good quotes in a row.

    ``loss_fraction``: Of the entry price.
    ``quotes``: In a row; a quote without a usable price does not count and changes nothing.
    """

    def __init__(self, loss_fraction: Decimal, quotes: int) -> None:
        self.loss_fraction = loss_fraction
        self.quotes = quotes
        self._seen = 0
        self._last_ns = -1

    def reason(self, trade: ScalpTrade) -> ScalpExit | None:
        """Return the reason, or None."""
        if trade.price is None:
            return None
        if trade.price > (ONE - self.loss_fraction) * trade.entry_price:
            self._seen = 0
            return None
        if trade.quote_ns != self._last_ns:
            self._last_ns = trade.quote_ns
            self._seen += 1
        return ScalpExit.STOP_LOSS if self._seen >= self.quotes else None


class _TimeLimits:
    """The venue's last orders, the cut-off of the contract's days to expiry, the end of the session."""

    def reason(self, trade: ScalpTrade) -> ScalpExit | None:
        """Return the reason, or None."""
        if trade.now_ns >= trade.deadline_ns:
            return ScalpExit.VENUE_DEADLINE
        if trade.cutoff_ns is not None and trade.now_ns >= trade.cutoff_ns:
            return ScalpExit.TIME_CUTOFF
        if trade.session_end_ns is not None and trade.now_ns >= trade.session_end_ns:
            return ScalpExit.SESSION_END
        return None


class _FlipAgainst:
    """The fast cloud has flipped against the position."""

    def reason(self, trade: ScalpTrade) -> ScalpExit | None:
        """Return the reason, or None."""
        return ScalpExit.CLOUD_FLIP if trade.is_flipped else None


class _PremiumTarget:
    """A fraction of the premium is gained."""

    def __init__(self, gain_fraction: Decimal) -> None:
        self.gain_fraction = gain_fraction

    def reason(self, trade: ScalpTrade) -> ScalpExit | None:
        """Return the reason, or None."""
        is_hit = trade.price is not None and trade.price >= (ONE + self.gain_fraction) * trade.entry_price
        return ScalpExit.PROFIT_TARGET if is_hit else None


class _MoveExhausted:
    """The move that the position is in is exhausted."""

    def reason(self, trade: ScalpTrade) -> ScalpExit | None:
        """Return the reason, or None."""
        return ScalpExit.MOMENTUM_EXHAUSTION if is_exhausted(trade.candles, trade.sign) else None


def exit_rules(config: ScalpConfig) -> tuple[ExitRule[ScalpTrade], ...]:
    """Return new rules of one scalp, in the order of :class:`ScalpExit`."""
    return (
        RiskHalt(),
        _PremiumStop(Decimal(repr(config.max_loss_pct)), config.stop_quotes),
        _TimeLimits(),
        _FlipAgainst(),
        _PremiumTarget(Decimal(repr(config.profit_target_pct))),
        _MoveExhausted(),
        *config.plugin_rules(),
    )


def next_exit(rules: Sequence[ExitRule[ScalpTrade]], trade: ScalpTrade) -> str | None:
    """Return why the scalp is to be closed: a :class:`ScalpExit`, or the text of an installed rule."""
    reason = first_reason(rules, trade)
    return ScalpExit.RISK_HALT if reason == RISK_HALT else reason


class ScalpExits:
    """Exit rules of one scalp and its closed bars, for the desk's strategy and for scripts."""

    def __init__(self, config: ScalpConfig, contract: OptionContract, signal: TradeSignal) -> None:
        self.signal = signal
        self.bar_seconds = int(signal.timeframe.removesuffix("m")) * 60
        self.candles: Sequence[CloudCandle] = ()
        """Last closed bars since the first fill."""
        self._config = config
        self.contract = contract
        self._rules = exit_rules(config)
        self._is_flipped = False

    def read_bar(self, watch: CloudWatch, filled_ns: int) -> None:
        """Note what a closed bar says against the scalp; ``filled_ns`` is its first fill, UTC."""
        self.candles = watch.candles_after(self.bar_seconds, filled_ns)
        if self.candles and watch.flip(self.bar_seconds) == -self.signal.sign:
            self._is_flipped = True

    def reason(
        self,
        session: Session,
        cutoff: VenueCutoff,
        *,
        now_ns: int,
        mode: Mode,
        pnl: Decimal,
        premium_paid: Decimal,
        entry_price: Decimal,
        price: Decimal | None,
        quote_ns: int,
    ) -> str | None:
        """Return why the scalp is to be closed now, or None: parameters as in :class:`ScalpTrade`."""
        config, contract = self._config, self.contract
        stays = config.hold_overnight and days_to_expiry(session.day, contract.expiry) > 0
        trade = ScalpTrade(
            now_ns=now_ns,
            mode=mode,
            session=session,
            pnl=pnl,
            premium_paid=premium_paid,
            quoted_ns=None if price is None else quote_ns,
            expiry=contract.expiry,
            entry_price=entry_price,
            price=price,
            quote_ns=quote_ns,
            deadline_ns=venue_deadline_ns(contract, cutoff),
            cutoff_ns=time_limit_ns(session, contract.expiry, config),
            session_end_ns=None if stays else session_end_ns(session),
            is_flipped=self._is_flipped,
            sign=self.signal.sign,
            candles=self.candles,
        )
        return next_exit(self._rules, trade)
