"""Watch over a hedged position: result and cost of each hedge, and alerts on what is unusual."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, ClassVar

import msgspec

from scalpdesk.core.bounds import BoundedSettings, at_least
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import OrderFilled
from scalpdesk.core.intents import OrderIntent, Purpose
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal, TradeStart
from scalpdesk.strategies.toolkit.hedger import DeltaHedger, HedgedPosition
from scalpdesk.strategies.toolkit.order_life import ReportOnce, surplus_cancels
from scalpdesk.strategies.toolkit.quiet import USUAL

_BLIND_SECONDS = 60.0
"""Without a delta to hedge on for so long, a person should know."""
_OBSERVED_NS = 30 * NANOS_PER_SECOND
"""Between two net deltas that count into their mean, however often it is looked."""

Size = Annotated[float, at_least(0, 1e12, "a size, whatever its sign")]


class WatchConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Alerts on the position, and reports of hedges. None switches an alert off."""

    section = "watch"
    delta_z: Size | None = None
    """Net delta so many standard deviations off its session's mean."""
    delta_multiple: Annotated[float, at_least(0, 1e6, "a multiple of the threshold")] = 3.0
    """And at least so many times the hedging threshold."""
    min_observations: ClassVar[int] = 60
    """Net deltas seen, half a minute apart, before a standard deviation means anything."""
    max_gamma_shares_per_usd: Size | None = None
    max_vega_usd_per_point: Size | None = None
    max_theta_usd_per_day: Size | None = None
    """``max_gamma_shares_per_usd``, ``max_vega_usd_per_point``, ``max_theta_usd_per_day``: Sizes of the whole
    position's Greeks.
    """
    again_after_seconds: ClassVar[float] = 900.0
    """The same alert is not repeated sooner."""
    report_hedges: bool = False
    """Say of each hedge fill what it realised and what it cost."""

    @property
    def is_on(self) -> bool:
        """Whether it reports anything."""
        return self.report_hedges or self.delta_z is not None or self.asks_looks

    @property
    def asks_looks(self) -> bool:
        """Whether it goes by the position's Greeks at every look."""
        limits = (self.max_gamma_shares_per_usd, self.max_vega_usd_per_point, self.max_theta_usd_per_day)
        return any(limit is not None for limit in limits)


class HedgeTotals(msgspec.Struct):
    """Hedges taken together. Money in the quote currency; costs are above zero when paid."""

    fills: int = 0
    shares: Decimal = ZERO
    """Traded, both ways."""
    realized: Decimal = ZERO
    """First in, first out, before costs beyond the prices paid."""
    spread_cost: Decimal = ZERO
    """Half the spread at the decision, times what was traded."""
    slippage: Decimal = ZERO
    """Price paid beyond the far side at the decision; below zero when it was better."""
    fees: Decimal = ZERO

    def add(
        self, shares: Decimal, realized: Decimal, spread_cost: Decimal, slippage: Decimal, fee: Decimal
    ) -> None:
        """Count one fill in."""
        self.fills += 1
        self.shares += shares
        self.realized += realized
        self.spread_cost += spread_cost
        self.slippage += slippage
        self.fees += fee

    @property
    def _amounts(self) -> dict[str, Decimal]:
        names = "realized", "spread_cost", "slippage", "fees"
        return {name: getattr(self, name) for name in names}

    def report(self) -> dict[str, str | int]:
        """Return the totals as a run's summary says them: amounts as text, to the cent."""
        cost = self.spread_cost + self.slippage + self.fees
        amounts = {name: f"{amount:.2f}" for name, amount in self._amounts.items()}
        each = f"{cost / self.shares if self.shares else ZERO:.4f}"
        return {"fills": self.fills, "shares": int(self.shares), **amounts, "cost_per_share": each}

    def facts(self) -> Facts:
        """Return the totals as facts of a decision."""
        amounts = {f"hedge_{name}_usd": float(amount) for name, amount in self._amounts.items()}
        return {"hedge_fills": self.fills, "hedge_shares": int(self.shares), **amounts}


class HedgeMeter:
    """Measures each fill of the hedge against the quote of its decision."""

    def __init__(self) -> None:
        self.totals = HedgeTotals()
        """Totals of the session."""
        self.whole_run = HedgeTotals()
        self._decided: dict[int, tuple[Decimal, Decimal]] = {}
        """Mid and half spread by the time of the decision, which is its order's."""
        self._realized = ZERO

    def begin(self) -> None:
        """Start a session's totals."""
        self.totals = HedgeTotals()
        self._decided.clear()

    def note_decided(self, view: DeskView, actions: Sequence[Action]) -> None:
        """Remember the quote of the underlying at which orders in it are decided."""
        number = view.hedge
        quote = view.market.quotes[number]
        if quote is None or not any(
            isinstance(intent, OrderIntent) and intent.instrument_id == number
            for action in actions
            if isinstance(action, Proposal)
            for intent in action.intents
        ):
            return
        mid = Decimal(f"{quote.mid:.6f}")
        self._decided[view.now_ns] = (mid, Decimal(f"{quote.ask:.6f}") - mid)

    def note_fill(self, view: DeskView, event: OrderFilled) -> Facts | None:
        """Book a fill of the hedge; return its facts, None when it is no hedge's."""
        order = view.orders.orders.get(event.client_order_id)
        if order is None or order.submitted.instrument_id != view.hedge:
            return None
        lots = view.positions.scalps.get(view.hedge)
        now_realized = lots.realized if lots is not None else ZERO
        realized, self._realized = now_realized - self._realized, now_realized
        mid, half = self._decided.get(order.created_ns, (event.price, ZERO))
        signed = event.quantity * order.submitted.side.sign
        multiplier = view.instruments.by_id[view.hedge].multiplier
        realized *= multiplier
        spread_cost = half * event.quantity * multiplier
        slippage = signed * (event.price - mid) * multiplier - spread_cost
        for totals in (self.totals, self.whole_run):
            totals.add(event.quantity, realized, spread_cost, slippage, event.fee)
        unwinds = order.submitted.purpose is Purpose.UNWIND_HEDGE
        return {
            "what": "unwind" if unwinds else "hedge",
            "order": event.client_order_id,
            "quantity_shares": int(signed),
            "price": float(event.price),
            "realized_usd": float(realized),
            "spread_cost_usd": float(spread_cost),
            "slippage_usd": float(slippage),
            "fee_usd": float(event.fee),
        }


class _ExposureAlerts:
    """Alerts on an unusual position: its delta against its own history, its Greeks against limits."""

    def __init__(self, config: WatchConfig) -> None:
        self._config = config
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self.due_ns = 0
        """When the next net delta counts, UTC nanoseconds."""
        self._reported_ns: dict[str, int] = {}

    def begin(self) -> None:
        """Start a session's statistics."""
        self._count, self._mean, self._squares, self.due_ns = 0, 0.0, 0.0, 0
        self._reported_ns.clear()

    def check(self, view: DeskView, exposure: HedgedPosition, threshold: float) -> Sequence[Proposal]:
        """Return an alert for each figure that is unusual now and was not reported lately.

        ``threshold`` is the hedging threshold in contract deltas.
        """
        found: list[tuple[str, str, Facts]] = []
        net = exposure.net_delta_contracts
        score = self._score(net, view.now_ns)
        config = self._config
        if (
            config.delta_z is not None
            and score is not None
            and abs(score) > config.delta_z
            and abs(net) > config.delta_multiple * threshold
        ):
            reason = f"net delta {net:+.3f} contracts is {score:+.1f} standard deviations off its mean"
            found.append(("delta", reason, {"net_delta_contracts": net, "z": score}))
        for name, value, limit, unit in (
            (
                "gamma",
                exposure.greeks.gamma_shares_per_usd,
                config.max_gamma_shares_per_usd,
                "shares per USD",
            ),
            (
                "vega",
                exposure.greeks.weighted_vega_usd_per_point,
                config.max_vega_usd_per_point,
                "USD per point of 30-day volatility",
            ),
            ("theta", exposure.greeks.theta_usd_per_day, config.max_theta_usd_per_day, "USD per day"),
        ):
            if limit is not None and abs(value) > limit:
                reason = f"{name} {value:+.2f} {unit} is beyond {limit:g}"
                found.append((name, reason, {name: value, "limit": limit}))
        pause_ns = int(config.again_after_seconds * NANOS_PER_SECOND)
        alerts = []
        for name, reason, facts in found:
            last_ns = self._reported_ns.get(name)
            if last_ns is None or view.now_ns - last_ns >= pause_ns:
                self._reported_ns[name] = view.now_ns
                alerts.append(Proposal(DecisionKind.ALERT, (f"unusual {name}: {reason}",), facts))
        return alerts

    def _score(self, net: float, now_ns: int) -> float | None:
        """Return how far off the mean of those before it a net delta is; count it in when due (Welford)."""
        score = None
        if self._count >= self._config.min_observations:
            deviation = math.sqrt(self._squares / (self._count - 1))
            score = (net - self._mean) / deviation if deviation > 0.0 else None
        if now_ns < self.due_ns:
            return score
        self._count, self.due_ns = self._count + 1, now_ns + _OBSERVED_NS
        step = net - self._mean
        self._mean += step / self._count
        self._squares += step * (net - self._mean)
        return score


class PositionWatch:
    """Hedges a position under watch: measures its hedges, and reports what is unusual.

    ``config``: What is reported.
    """

    def __init__(self, config: WatchConfig) -> None:
        self._config = config
        self.meter = HedgeMeter()
        self._alerts = _ExposureAlerts(config)
        self._blindness = ReportOnce(DecisionKind.ALERT)
        self._blind_since_ns: int | None = None
        self._start = TradeStart({})
        """Start of the session, from which its P&L counts."""

    def begin(self, start: TradeStart) -> None:
        """Start a session."""
        self._start = start
        self.meter.begin()
        self._alerts.begin()
        self._blindness.forget()
        self._blind_since_ns = None

    @property
    def usual(self) -> tuple[int, float]:
        """Until when (UTC nanoseconds), and to what multiple of the threshold, no net delta is unusual."""
        config = self._config
        return USUAL if config.delta_z is None else (self._alerts.due_ns, config.delta_multiple)

    def note_fill(self, view: DeskView, event: OrderFilled) -> Sequence[Action]:
        """Measure a fill of the hedge, and report it where that is wanted."""
        facts = self.meter.note_fill(view, event)
        if facts is None or not self._config.report_hedges:
            return ()
        reason = f"{facts['what']} filled: {facts['quantity_shares']:+d} at {facts['price']:.2f}"
        return (Proposal(DecisionKind.HEDGE_FILL, (reason,), facts),)

    def hedge(self, view: DeskView, legs: Sequence[InstrumentId], hedger: DeltaHedger) -> list[Action]:
        """Hedge the options held, and report a position that is unusual or cannot be hedged."""
        exposure = hedger.measure(view, legs)
        if exposure is None:
            return self._blind(view, hedger.unusable)
        self._blind_since_ns = None
        self._blindness.forget()
        threshold = hedger.verdict(exposure).half_width_shares / exposure.inputs.multiplier
        alerts = self._alerts.check(view, exposure, threshold)
        hedges = [_with_greeks(hedge, exposure, len(legs)) for hedge in hedger.step(view, legs, exposure)]
        return [*alerts, *surplus_cancels(view), *hedges]

    def _blind(self, view: DeskView, unusable: str) -> list[Action]:
        """Report once that there has been no delta to hedge on for a minute."""
        since_ns = self._blind_since_ns = self._blind_since_ns or view.now_ns
        if not unusable or (view.now_ns - since_ns) / NANOS_PER_SECOND < _BLIND_SECONDS:
            return []
        return self._blindness.report(unusable, (unusable,))

    def last_word(self, view: DeskView) -> Sequence[Action]:
        """At the close report what the session's hedges came to."""
        if not self.meter.totals.fills:
            return ()
        facts = self.meter.totals.facts() | {"pnl_usd": float(view.trade_pnl(self._start))}
        return (Proposal(DecisionKind.SUMMARY, ("hedges of the session",), facts),)


def _with_greeks(hedge: Proposal, exposure: HedgedPosition, options: int) -> Proposal:
    """Add the position's other Greeks to a hedge's figures."""
    if not hedge.facts:  # a cancel
        return hedge
    inputs, greeks = exposure.inputs, exposure.greeks
    facts: Facts = {
        "half_spread": inputs.own_cost_fraction * inputs.spot,
        "theta_usd_per_day": greeks.theta_usd_per_day,
        "vega_usd_per_point": greeks.vega_usd_per_point,
        "weighted_vega_usd_per_point": greeks.weighted_vega_usd_per_point,
        "options": options,
    }
    return msgspec.structs.replace(hedge, facts=hedge.facts | facts)
