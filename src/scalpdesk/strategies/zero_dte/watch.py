"""Result and cost of each hedge, and alerts on an unusual position."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import msgspec

from scalpdesk.core.bounds import BoundedSettings, at_least
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import OrderFilled
from scalpdesk.core.intents import OrderIntent, Purpose
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal
from scalpdesk.strategies.toolkit.hedger import HedgedPosition

Size = Annotated[float, at_least(0, 1e12, "a size, whatever its sign")]


class ZeroDteWatch(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Alerts on the position, and reports of hedges. None switches an alert off."""

    section = "watch"
    delta_z: Size | None = 4.0
    """Net delta so many standard deviations off its session's mean."""
    delta_multiple: Annotated[float, at_least(0, 1e6, "a multiple of the threshold")] = 3.0
    """And at least so many times the hedging threshold."""
    min_observations: Annotated[int, at_least(2, 1_000_000, "a number of observations")] = 60
    """Net deltas seen before a standard deviation means anything."""
    max_gamma_shares_per_usd: Size | None = None
    max_vega_usd_per_point: Size | None = None
    max_theta_usd_per_day: Size | None = None
    """``max_gamma_shares_per_usd``, ``max_vega_usd_per_point``, ``max_theta_usd_per_day``: Sizes of the whole
    position's Greeks.
    """
    again_after_seconds: Annotated[float, at_least(0, 86_400, "seconds within a day")] = 900.0
    """The same alert is not repeated sooner."""
    report_hedges: bool = True
    """Say of each hedge fill what it realised and what it cost."""


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

    def report(self) -> dict[str, str | int]:
        """Return the totals as a run's summary says them: amounts as text, to the cent."""
        cost = self.spread_cost + self.slippage + self.fees
        return {
            "fills": self.fills,
            "shares": int(self.shares),
            "realized": f"{self.realized:.2f}",
            "spread_cost": f"{self.spread_cost:.2f}",
            "slippage": f"{self.slippage:.2f}",
            "fees": f"{self.fees:.2f}",
            "cost_per_share": f"{cost / self.shares if self.shares else ZERO:.4f}",
        }

    def facts(self) -> Facts:
        """Return the totals as facts of a decision."""
        return {
            "hedge_fills": self.fills,
            "hedge_shares": int(self.shares),
            "hedge_realized_usd": float(self.realized),
            "hedge_spread_cost_usd": float(self.spread_cost),
            "hedge_slippage_usd": float(self.slippage),
            "hedge_fees_usd": float(self.fees),
        }


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


class ExposureAlerts:
    """Alerts on an unusual position: its delta against its own history, its Greeks against limits."""

    def __init__(self, config: ZeroDteWatch) -> None:
        self._config = config
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._reported_ns: dict[str, int] = {}

    def begin(self) -> None:
        """Start a session's statistics."""
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._reported_ns.clear()

    def check(self, view: DeskView, exposure: HedgedPosition, threshold: float) -> Sequence[Proposal]:
        """Return an alert for each figure that is unusual now and was not reported lately.

        ``threshold`` is the hedging threshold in contract deltas.
        """
        found: list[tuple[str, str, Facts]] = []
        net = exposure.net_delta_contracts
        score = self._score(net)
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
            ("vega", exposure.greeks.vega_usd_per_point, config.max_vega_usd_per_point, "USD per point"),
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

    def _score(self, net: float) -> float | None:
        """Return how far off the mean of all before it a net delta is; then count it in (Welford)."""
        score = None
        if self._count >= self._config.min_observations:
            deviation = math.sqrt(self._squares / (self._count - 1))
            score = (net - self._mean) / deviation if deviation > 0.0 else None
        self._count += 1
        step = net - self._mean
        self._mean += step / self._count
        self._squares += step * (net - self._mean)
        return score
