"""Net delta of what expires today, and the hedge that the rule asks for, from the desk's own book."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import OrderIntent, Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.hedging.sizing import split_at_zero
from scalpdesk.instruments.sessions import fomc_blocked
from scalpdesk.marketdata.dealer_gamma import known_exposure_usd, threshold_by_dealers, threshold_by_own_gamma
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.portfolio.delta_engine import DAYS_PER_YEAR
from scalpdesk.strategies.contract import Action, DeskView, Proposal
from scalpdesk.strategies.gamma_scalper.hedger import expired_orders
from scalpdesk.strategies.zero_dte.config import ZeroDteHedge
from scalpdesk.strategies.zero_dte.rules import HedgeVerdict, hedge_shares_for, judge_hedge

ZERO = Decimal(0)
FINE = frozenset({QuoteVerdict.GOOD, QuoteVerdict.LOCKED})
UNUSABLE = frozenset({QuoteVerdict.ABSENT, QuoteVerdict.CROSSED, QuoteVerdict.NON_FINITE})
DEAD_DELTA = 0.05
"""An option whose delta is this close to 0 or 1 is hardly quoted any more, and hardly needs to be."""
Facts = dict[str, str | float | int]


class Exposure(NamedTuple):
    """The position now: options that expire today, and the shares that hedge them."""

    net_delta: Decimal
    """Contract deltas, shares held and on their way included."""
    multiplier: int
    shares: Decimal
    gamma_shares_per_usd: float
    theta_usd_per_day: float
    vega_usd_per_point: float


class ZeroDteHedger:
    """Follows the hedge rule on one underlying.

    Parameters
    ----------
    config
        Thresholds, regime, times.
    """

    def __init__(self, config: ZeroDteHedge) -> None:
        self.config = config
        self.last_hedge_ns: int | None = None
        self.unusable = ""
        """Which option could not be hedged on, and why; empty while all can be."""
        self._is_crossing = False
        """Whether only the first of two orders of a hedge across zero has gone."""

    def begin(self) -> None:
        """Forget the session before."""
        self.last_hedge_ns = None
        self._is_crossing = False
        self.unusable = ""

    def exposure(self, view: DeskView, legs: Sequence[InstrumentId]) -> Exposure | None:
        """Return what is held as Greeks; None while a delta or the underlying is not known."""
        self.unusable = ""
        shares = view.positions.quantity(view.underlying) + view.orders.pending(view.underlying)
        multiplier, delta = 1, ZERO
        gamma = theta = vega = 0.0
        for leg in legs:
            multiplier = view.instruments[leg].multiplier
            verdict = view.market.verdict(leg, view.now_ns)
            valuation = (
                None if verdict in UNUSABLE else view.delta_engine.value(leg, view.now_ns, fresh=False)
            )
            # a delta that is no number never reaches a hedge
            if valuation is None or not _can_be_hedged(valuation.greeks.delta, verdict):
                self.unusable = f"{view.instruments[leg].symbol}: quote {verdict}, no delta to hedge on"
                return None
            quantity = view.positions.quantity(leg)
            units = float(quantity) * multiplier
            delta += quantity * Decimal(f"{valuation.greeks.delta:.9f}")
            gamma += units * valuation.greeks.gamma
            theta += units * valuation.greeks.theta / DAYS_PER_YEAR
            vega += units * valuation.greeks.vega / 100.0
        if not legs:  # shares alone: any contract's multiplier will do, the option's is gone
            multiplier = 100
        return Exposure(delta + shares / multiplier, multiplier, shares, gamma, theta, vega)

    def threshold(self, view: DeskView, gamma_shares_per_usd: float) -> tuple[Decimal, Facts]:
        """Return the regime's threshold in contract deltas, and what it rests on."""
        config = self.config
        facts: Facts = {"regime": config.regime}
        known = None
        # the index's word counts for its funds; without one, the underlying's own
        for symbol in (config.gex_symbol, view.instruments[view.underlying].symbol):
            event = view.market.gamma_exposures.get(symbol)
            known = known_exposure_usd(event, view.now_ns, max_age_seconds=config.gex_max_age_seconds)
            if known is not None:
                facts[f"gex_usd_{symbol}"] = known
                break
        standard, tight = config.threshold, config.threshold_negative_gex
        if config.macro_widening != 1 and fomc_blocked(view.now_ns):
            standard, tight = standard * config.macro_widening, tight * config.macro_widening
            facts["macro_widening"] = float(config.macro_widening)
        if config.regime == "standard":
            return standard, facts
        if config.regime == "own_gamma":
            return threshold_by_own_gamma(gamma_shares_per_usd, standard=standard, tight=tight), facts
        return threshold_by_dealers(known, standard=standard, tight=tight), facts

    def judge(
        self, view: DeskView, exposure: Exposure, *, at_once: bool = False
    ) -> tuple[HedgeVerdict, Facts]:
        """Ask the rule; ``at_once`` leaves the time since the last hedge out of account."""
        threshold, facts = self.threshold(view, exposure.gamma_shares_per_usd)
        waits = self.last_hedge_ns is not None and not at_once
        since = view.now_ns - (self.last_hedge_ns or 0) if waits else None
        verdict = judge_hedge(
            exposure.net_delta,
            exposure.multiplier,
            threshold,
            since,
            self.config.seconds_between_hedges,
        )
        return verdict, facts

    def hedge(
        self, view: DeskView, legs: Sequence[InstrumentId], exposure: Exposure, *, at_once: bool = False
    ) -> Sequence[Action]:
        """Return the hedge order that the rule asks for now, if any."""
        number = view.underlying
        cancels = expired_orders(view, (number,), self.config.order_ttl_seconds)
        if cancels:
            return (Proposal(DecisionKind.HEDGE, ("hedge not filled in time: size it again",), {}, cancels),)
        quote = view.market.quotes[number]
        if quote is None or view.market.verdict(number, view.now_ns) not in FINE:
            return ()
        if view.orders.live_for(number):  # its outcome wakes the strategy again
            return ()
        is_second = self._is_crossing
        self._is_crossing = False
        verdict, facts = self.judge(view, exposure, at_once=at_once or is_second)
        wanted = verdict.quantity_shares
        if not wanted and is_second:
            wanted = hedge_shares_for(exposure.net_delta, exposure.multiplier)
        if not wanted:
            return ()
        owned = int(view.positions.quantity(number))
        # a sell may not exceed the long holding: the rest follows once this is done
        parts = split_at_zero(owned, wanted)
        self._is_crossing = len(parts) > 1
        self.last_hedge_ns = view.now_ns
        facts |= {
            "spot": quote.mid,
            "half_spread": 0.5 * (quote.ask - quote.bid),
            "net_delta_contracts": float(exposure.net_delta),
            "threshold_contracts": float(verdict.threshold),
            "owned_shares": owned,
            "quantity_shares": parts[0],
            "gamma_shares_per_usd": exposure.gamma_shares_per_usd,
            "theta_usd_per_day": exposure.theta_usd_per_day,
            "vega_usd_per_point": exposure.vega_usd_per_point,
            "options": len(legs),
        }
        why = f"net delta {exposure.net_delta:+.4f} contracts is beyond {verdict.threshold}"
        if is_second:
            why = f"second order of the hedge: the holding crosses zero, net delta {exposure.net_delta:+.4f}"
        reduces = owned * parts[0] < 0 and not legs
        purpose = Purpose.UNWIND_HEDGE if reduces else Purpose.HEDGE
        side = Side.BUY if parts[0] > 0 else Side.SELL
        intent = OrderIntent(number, side, Decimal(abs(parts[0])), purpose, why)
        return (
            Proposal(
                DecisionKind.HEDGE_SECOND_ORDER if is_second else DecisionKind.HEDGE, (why,), facts, (intent,)
            ),
        )


def _can_be_hedged(delta: float, verdict: QuoteVerdict) -> bool:
    """Return whether a delta is a number, and from a fresh quote or of an option long decided."""
    size = abs(delta)
    if not size <= 1.0 + 1e-6:
        return False
    return verdict is not QuoteVerdict.STALE or min(size, 1.0 - size) <= DEAD_DELTA
