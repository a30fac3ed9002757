"""Buy the straddle at the money in the morning, hedge its delta, sell all of it in the afternoon."""

from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal

import msgspec

from scalpdesk.base import (
    DecisionKind, Event, InstrumentId, OrderIntent, Purpose, QuoteVerdict, Side, options_in_order,
    to_new_york,
)
from scalpdesk.strategies import (
    Action, DeskView, PriceMove, Proposal, StrategySpec, Trigger, Wake, split_at_zero,
)


class MorningStraddleConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings: the section ``[strategies.morning-straddle]``, or ``--set KEY=VALUE``.

    ``underlying``: Symbol of the underlying.
    ``buy_at``, ``sell_at``: New York times.
    ``delta_shares``: Net delta above which it hedges, in shares.
    """

    underlying: str = "SPY"
    buy_at: time = time(10, 0)
    sell_at: time = time(15, 45)
    delta_shares: int = 5


class MorningStraddle:
    """The strategy: it sees what happens, and answers with proposals."""

    name = "morning-straddle"
    is_done = False

    def __init__(self, config: MorningStraddleConfig) -> None:
        self.config = config
        self.bought_on: date | None = None

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Return what wakes the strategy."""
        return (PriceMove(view.underlying, 0.05, 30.0),)  # a move of 5 cents, or 30 seconds

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Return the actions that follow from an event."""
        del event
        if wake not in (Wake.PRICE, Wake.HEARTBEAT) or view.orders.live:
            return ()  # an order is still at work
        now = to_new_york(view.now_ns)
        if now.time() >= self.config.sell_at:
            return self._close(view)
        if view.positions.held():
            return self._hedge(view)
        is_due = now.time() >= self.config.buy_at and self.bought_on != now.date()
        return self._open(view) if is_due else ()

    def _open(self, view: DeskView) -> Sequence[Action]:
        spot = view.market.mark(view.underlying)
        options = [
            (number, contract)
            for number, contract in options_in_order(view.instruments, self.config.underlying)
            if contract.expiry > to_new_york(view.now_ns).date()
            and view.market.verdict(number, view.now_ns) is QuoteVerdict.GOOD
        ]
        if spot is None or not options:
            return ()
        self.bought_on = to_new_york(view.now_ns).date()
        expiry = min(contract.expiry for _, contract in options)
        near = [item for item in options if item[1].expiry == expiry]
        strike = min((c.strike for _, c in near), key=lambda k: (abs(float(k) - spot), k))
        reason = f"{strike} of {expiry} is nearest to {spot:.2f}"
        legs = [(number, Side.BUY, Decimal(1)) for number, c in near if c.strike == strike]
        return (self._proposal(DecisionKind.ENTRY, Purpose.OPEN, reason, {"spot": spot}, legs),)

    def _hedge(self, view: DeskView) -> Sequence[Action]:
        greeks = view.delta_engine.position_greeks(view.positions.held(), view.now_ns)
        shares = -round(greeks.net_delta_shares)
        if abs(shares) <= self.config.delta_shares:
            return ()
        reason = f"net delta {greeks.net_delta_shares:+.1f} shares is beyond {self.config.delta_shares}"
        # no broker takes an order from long to short: first to flat, the rest once that is filled
        shares = split_at_zero(int(view.positions.quantity(view.underlying)), shares)[0]
        side = Side.BUY if shares > 0 else Side.SELL
        legs = [(view.underlying, side, Decimal(abs(shares)))]
        facts = {"net_delta_shares": greeks.net_delta_shares}
        return (self._proposal(DecisionKind.HEDGE, Purpose.HEDGE, reason, facts, legs),)

    def _close(self, view: DeskView) -> Sequence[Action]:
        proposals = []
        for position in view.positions.held():
            is_option = view.instruments[position.instrument_id].is_option
            side = Side.SELL if position.quantity > 0 else Side.BUY
            legs = [(position.instrument_id, side, abs(position.quantity))]
            purpose = Purpose.CLOSE if is_option else Purpose.UNWIND_HEDGE
            reason = f"it is {self.config.sell_at:%H:%M}"
            proposals.append(self._proposal(DecisionKind.EXIT, purpose, reason, {}, legs))
        return proposals

    @staticmethod
    def _proposal(
        kind: DecisionKind,
        purpose: Purpose,
        reason: str,
        facts: Mapping[str, str | float | int],
        legs: Sequence[tuple[InstrumentId, Side, Decimal]],
    ) -> Proposal:
        orders = (OrderIntent(number, side, quantity, purpose, reason) for number, side, quantity in legs)
        return Proposal(kind, (reason,), dict(facts), tuple(orders))


PLUG = StrategySpec(
    name="morning-straddle",
    config=MorningStraddleConfig,
    build=MorningStraddle,
    summary="a straddle held from the morning to the afternoon, delta hedged",
)
