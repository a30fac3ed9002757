"""Hybrid: st0cka while volatility is low, the gamma scalper while it is high.

Volatility above the threshold calls the gamma scalper; back down takes more, the hysteresis. The strategy
that took over stays for a while. A handover is orderly: the outgoing strategy takes its orders back and
flattens as it always does (options before their hedge), and only when its book is empty may the other
enter. While the volatility is not known st0cka trades its smallest size, and no straddle is bought.

The volatility is that of a day, annualised; it never comes from ticks. A forecast made before the
session is kept up to date by what the session's closed five-minute bars have realised:

    σ² = 252 · (gap² + Σ r² + σ_f²/252 · (share of the session that is left))
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from scalpdesk.core.bounds import BoundedSettings, above, at_least
from scalpdesk.core.enums import DecisionKind, Mode, SessionPhase
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import BarEvent, Event, ForecastEvent, QuoteEvent, SessionEvent
from scalpdesk.core.intents import CancelIntent, OrderIntent, Purpose
from scalpdesk.core.units import NANOS_PER_SECOND, SESSIONS_PER_YEAR, exceeds
from scalpdesk.marketdata.bars import Absent, Timeframes
from scalpdesk.marketdata.latest_quotes import InstrumentRows
from scalpdesk.marketdata.state import paid_between
from scalpdesk.marketdata.triggers import Trigger, Wake
from scalpdesk.strategies.contract import DeskView, Proposal, StrategySpec
from scalpdesk.strategies.several.member import Member, SharedTrigger
from scalpdesk.strategies.several.right_of_way import MemberActions, Outgoing
from scalpdesk.strategies.several.strategy import Several, SharedConfig
from scalpdesk.strategies.toolkit.exits import RISK_HALT
from scalpdesk.strategies.toolkit.resume import begins_afresh
from scalpdesk.volatility.nowcast import nowcast

LOW, HIGH = "st0cka", "gamma-scalper"
_BAR_SECONDS = 300
_LEAST_BARS = 12
"""Closed bars of a session that its realised volatility alone takes: an hour."""


Vol = Annotated[float, above(0, 100, "a volatility as a fraction a year: 0.20 is 20 %")]


class HybridConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Volatility thresholds of the handover; the strategies read their own sections."""

    volatility_threshold_for_gamma: Vol = 0.20
    """Above this volatility (fraction a year) the gamma scalper trades."""
    hysteresis: Annotated[float, at_least(0, 100, "a volatility as a fraction a year")] = 0.02
    """At the threshold less this, or below, st0cka trades again."""
    dwell_minutes: Annotated[float, at_least(0, 1e6, "minutes")] = 30.0
    """Least time in one session between two handovers."""
    source: Literal["nowcast", "forecast", "realized"] = "nowcast"
    """``nowcast``: the forecast, kept up to date by the session's bars; ``forecast``: it alone; ``realized``:
    the session's bars alone, once there is an hour of them.
    """
    volatility: Vol | None = None
    """Use this one (fraction a year) instead."""

    def __post_init__(self) -> None:
        """Refuse figures that mean nothing."""
        super().__post_init__()
        threshold = self.volatility_threshold_for_gamma
        if self.hysteresis >= threshold:
            raise ConfigError(
                "zero or above, and less than the threshold",
                where="hysteresis",
                value=self.hysteresis,
                fix=f"set it below {threshold}",
            )


def who_trades(now: str, vol: float | None, threshold: float = 0.20, hysteresis: float = 0.02) -> str:
    """Return the strategy that a volatility calls for.

    ``now``: Who trades now: ``st0cka`` or ``gamma-scalper``.
    ``vol``: Annualised volatility of a day (fraction); None when not known.
    ``threshold``, ``hysteresis``: Strictly above the threshold: the gamma scalper. Strictly above threshold
    less hysteresis: it goes on, when it trades already.

    Examples
    --------
    >>> [who_trades("gamma-scalper", vol) for vol in (0.19, 0.18, None)]
    ['gamma-scalper', 'st0cka', 'st0cka']
    """
    if vol is None:
        return LOW
    return HIGH if exceeds(vol, threshold - hysteresis if now == HIGH else threshold) else LOW


class _VolWatch(Trigger):
    """The members' own triggers, and each quote that closes a bar; shows every quote to the bars."""

    def __init__(self, shared: SharedTrigger, frames: Timeframes) -> None:
        super().__init__(shared.instrument_id)
        self._shared = shared
        self.frames = frames
        self.has_closed = True
        """Whether a bar has closed that was not reckoned with yet."""

    @property
    def skips(self) -> bool:
        return self._shared.skips

    def next_row(self, quotes: InstrumentRows, first: int, last: int) -> int:
        closes = first if self.has_closed else self.frames.next_close(quotes, first, last)
        return min(closes, self._shared.next_row(quotes, first, min(closes + 1, last)))

    def learn(self, quotes: InstrumentRows, first: int, last: int) -> None:
        self.has_closed = bool(self.frames.add_quotes(quotes, first, last)) or self.has_closed
        self._shared.learn(quotes, first, last)

    def reason(self, quote: QuoteEvent) -> Wake:
        return self._shared.reason(quote) if self._shared.due else Wake.BAR

    def done(self, quote: QuoteEvent, wake: Wake) -> None:
        self._shared.done(quote, wake)


class Hybrid(Several):
    """Runs st0cka and the gamma scalper in one desk and lets one of them open at a time."""

    def __init__(self, config: SharedConfig) -> None:
        self.shared = config
        if "," in config.underlying:
            raise ConfigError(
                "the hybrid trades one underlying",
                where="underlying",
                value=config.underlying,
                fix=f"--symbols {config.underlying.partition(',')[0]}; {LOW} or {HIGH} trades several,"
                f" each for itself: --symbols {config.underlying}",
            )
        self.config: HybridConfig = config.own or HybridConfig()
        members = [config.build(name) for name in (LOW, HIGH)]
        super().__init__(members, config.budgets, config.adopts, name="hybrid")
        self.trading = LOW
        """Strategy that may open."""
        self.outgoing: str | None = None
        """Strategy that hands over and is not flat yet."""
        self._left_for: dict[str, str] = {}
        """Why who does not trade was made to leave; nothing where the whole desk flattened meanwhile."""
        self.vol: float | None = None
        """Annualised volatility of a day (fraction) as of the last look; None while not known."""
        self._vol_words = "volatility not known yet"
        self._since_ns: int | None = None
        self._frames: Timeframes | None = None
        self._watch: _VolWatch | None = None
        self._forecast: ForecastEvent | None = None
        """The one reckoned with last."""

    @property
    def phase(self) -> str:
        """Strategy that trades, and the phase of each."""
        handing = f", {self.outgoing} is leaving" if self.outgoing is not None else ""
        return f"{self.trading} trades{handing}; {super().phase}"

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Start both; watch the underlying's bars."""
        frames = self._frames = Timeframes(view.underlying, (_BAR_SECONDS,))
        if self.members[HIGH].book.positions.held():  # it took over a straddle: it trades until it is gone
            self.trading = HIGH
        self.members[LOW if self.trading == HIGH else HIGH].view.least_mode = Mode.REDUCING
        super().start(view)
        watched = self._shared.setdefault(view.underlying, SharedTrigger(view.underlying))
        others = [item for number, item in self._shared.items() if number != view.underlying]
        if view.session is not None:
            frames.open_session(view.session)
        self._watch = _VolWatch(watched, frames)
        return (self._watch, *others)

    # steering ---------------------------------------------------------------------------------------

    def _steer(self, view: DeskView, wake: Wake, event: Event, box: MemberActions) -> None:
        session, frames, watch = view.session, self._frames, self._watch
        if view.mode is Mode.FLATTENING:
            self._left_for.clear()
        if frames is None or watch is None:  # before the first session has opened
            return
        if wake is Wake.SESSION and session is not None:
            if isinstance(event, SessionEvent) and event.phase is SessionPhase.CLOSE:
                frames.close_session()
                return
            frames = self._begin_session(view, frames, watch)
            frames.open_session(session, view.market.adjustments)
            watch.has_closed = True
            self._since_ns = None  # the night is longer than any dwell
        if isinstance(event, BarEvent) and event.instrument_id == view.underlying:
            watch.has_closed = bool(frames.add_bar(event)) or watch.has_closed
        if session is None:
            return
        forecast = view.market.forecasts.get(view.underlying)
        if watch.has_closed or forecast is not self._forecast:
            watch.has_closed, self._forecast = False, forecast
            self.vol, self._vol_words = self._volatility(view, frames)
        if self.outgoing is not None:
            self._finish_handover(view, box)
            return
        wanted = who_trades(
            self.trading, self.vol, self.config.volatility_threshold_for_gamma, self.config.hysteresis
        )
        if wanted != self.trading and self._has_dwelt(view):
            self._hand_over(view, wanted, box)

    def _begin_session(self, view: DeskView, frames: Timeframes, watch: _VolWatch) -> Timeframes:
        """Begin a session as a desk of that day does: st0cka trades unless a straddle was kept."""
        if not self.shared.members[HIGH].entry.again_next_session:
            return frames
        high, low = self.members[HIGH], self.members[LOW]
        if self.trading == HIGH and self.outgoing is None and high.is_flat:
            self.trading = LOW
            high.view.least_mode, low.view.least_mode = Mode.REDUCING, Mode.ACTIVE
        if begins_afresh(view):
            self._frames = watch.frames = frames = Timeframes(view.underlying, (_BAR_SECONDS,))
        return frames

    def _has_dwelt(self, view: DeskView) -> bool:
        dwell_ns = int(self.config.dwell_minutes * 60 * NANOS_PER_SECOND)
        return self._since_ns is None or view.now_ns - self._since_ns >= dwell_ns

    def _hand_over(self, view: DeskView, to: str, box: MemberActions) -> None:
        """Let the one that trades leave: its orders are taken back, it flattens; the other waits."""
        self.outgoing, self.trading = self.trading, to
        leaving = self.members[self.outgoing]
        leaving.view.least_mode = Mode.FLATTENING
        leaving.look(view)
        cancels = [CancelIntent(name, f"handover to {to}") for name in leaving.orders.live]
        self._left_for = {leaving.name: f"handover to {to}: {self._vol_words}"}
        words = f"handover from {leaving.name} to {to}: {self._vol_words}"
        going = Outgoing(leaving, Proposal(DecisionKind.MODE, (words,), self._facts()), is_done_inside=True)
        box.add(going)
        for cancel in cancels:
            self._take_cancel(leaving, cancel, going)
        self._finish_handover(view, box)

    def _finish_handover(self, view: DeskView, box: MemberActions) -> None:
        """Let the other begin once the outgoing one holds nothing and has no order alive."""
        assert self.outgoing is not None
        leaving, entering = self.members[self.outgoing], self.members[self.trading]
        leaving.look(view)
        if not leaving.is_flat:
            return
        leaving.view.least_mode, entering.view.least_mode = Mode.REDUCING, Mode.ACTIVE
        self.outgoing, self._since_ns = None, view.now_ns
        if entering.strategy.is_done:
            self._begin_afresh(view, entering, self.shared.build(entering.name))
        words = f"{leaving.name} is flat: {entering.name} trades"
        box.add(Outgoing(entering, Proposal(DecisionKind.MODE, (words,), self._facts()), is_done_inside=True))

    def _facts(self) -> dict[str, str | float | int]:
        facts: dict[str, str | float | int] = {
            "threshold": self.config.volatility_threshold_for_gamma,
            "hysteresis": self.config.hysteresis,
            "source": self.config.source,
        }
        if self.vol is not None:
            facts["volatility"] = self.vol
        return facts

    def _reviewed(self, member: Member, proposal: Proposal) -> Proposal:
        """Add the reason of a handover; without a volatility, cut st0cka's entries to the least size."""
        left_for = self._left_for.get(member.name)
        if left_for is not None:  # a member that hands over takes it for a flattening desk
            reasons = tuple(reason.replace(RISK_HALT, left_for) for reason in proposal.reasons)
            if member.name == self.outgoing and reasons == proposal.reasons:
                reasons = (*reasons, left_for)
            return msgspec.structs.replace(proposal, reasons=reasons)
        if self.vol is not None or member.name != LOW:
            return proposal
        smallest = Decimal(self.shared.members[LOW].position_size_min)
        intents = tuple(
            msgspec.structs.replace(item, quantity=min(item.quantity, smallest))
            if isinstance(item, OrderIntent) and item.purpose is Purpose.OPEN
            else item
            for item in proposal.intents
        )
        if intents == proposal.intents:
            return proposal
        words = f"smallest size: {self._vol_words}"
        return msgspec.structs.replace(proposal, intents=intents, reasons=(*proposal.reasons, words))

    # volatility -------------------------------------------------------------------------------------

    def _volatility(self, view: DeskView, frames: Timeframes) -> tuple[float | None, str]:
        """Return the day's volatility (fraction a year), None when not known, and where it is from."""
        if self.config.volatility is not None:
            return self.config.volatility, f"volatility {self.config.volatility:.1%} as configured"
        event = self._forecast
        forecast = event.vol if event is not None and math.isfinite(event.vol) else None
        why = f" ({event.reason})" if event is not None and event.reason else ""
        if self.config.source != "realized" and (event is None or forecast is None):
            return None, f"volatility not known: no forecast{why}"
        if self.config.source == "forecast":
            assert event is not None
            return forecast, f"volatility {forecast:.1%} by {event.model}, bars before the session"
        variance, covered, bars = self._realized(view, frames)
        years = 0.0 if covered is None else view.delta_engine.variance_years(*covered)
        if self.config.source == "realized":
            if bars < _LEAST_BARS:
                return None, f"volatility not known: {bars} bars of five minutes closed, {_LEAST_BARS} needed"
            vol = math.sqrt(variance / years)
            return vol, f"volatility {vol:.1%}, realised in {bars} bars of five minutes"
        assert forecast is not None
        now = nowcast(forecast, variance, min(SESSIONS_PER_YEAR * years, 1.0)).day_vol
        return (
            now,
            f"volatility {now:.1%}: {forecast:.1%} forecast, kept up to date by the open and {bars} bars",
        )

    @staticmethod
    def _realized(view: DeskView, frames: Timeframes) -> tuple[float, tuple[int, int] | None, int]:
        """Sum of squared log returns of the session's closed bars, the instants it covers, and their number.

        The gap at the open counts where the session before was watched, without the dividend that the price
        falls by; what passed before the first bar of a session joined late is not known and counts for
        nothing.
        """
        so_far, session = frames.session_range(), frames.session()
        if isinstance(so_far, Absent) or session is None:
            return 0.0, None, 0
        prior, prior_ns = frames.prior_close(), frames.prior_close_ns()
        last = so_far.open
        if not isinstance(prior, Absent) and prior_ns is not None:
            last = prior - paid_between(view.market.dividends, view.underlying, prior_ns, session.open_ns)
        variance = math.log(so_far.open / last) ** 2
        last, bars = so_far.open, frames.closed_in_session(_BAR_SECONDS)
        for bar in bars:
            variance += math.log(bar.close / last) ** 2
            last = bar.close
        ends_ns = bars[-1].ts_event_ns if bars else session.open_ns
        begins_ns = ends_ns - len(bars) * _BAR_SECONDS * NANOS_PER_SECOND if prior_ns is None else prior_ns
        return variance, (begins_ns, ends_ns), len(bars)


PLUG = StrategySpec(
    name="hybrid",
    config=HybridConfig,
    build=Hybrid,
    summary="st0cka while volatility is low, the gamma scalper while it is high",
    members=(LOW, HIGH),
)
