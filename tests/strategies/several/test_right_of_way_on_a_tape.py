"""A gamma scalper and a strategy that trades the other way, over an hour of a wild day."""

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import Decision, OrderIntent, Purpose, Side
from scalpdesk.datasets.embedded import market
from scalpdesk.marketdata.triggers import PriceMove, Wake
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig, HedgeConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.several.strategy import Several
from scalpdesk_testing.kit.desk import run_tape

D = Decimal
HOUR_NS = 3_600 * 10**9


class Follower:
    """Buys after each rise of five cents and sells after each fall: the other side of a long-gamma hedge."""

    name = "follower"
    Config = type(None)

    def __init__(self) -> None:
        self._last = 0.0

    def start(self, view):
        return (PriceMove(view.underlying, 0.05, 5.0),)

    def on_wake(self, view, wake, event):
        del event
        spot = view.market.mark(view.underlying)
        if wake is not Wake.PRICE or spot is None:
            return ()
        rose, self._last = spot > self._last, spot
        wanted = D(10) if rose else D(0)
        missing = wanted - view.exposure(view.underlying)
        if not missing:
            return ()
        side, purpose = (Side.BUY, Purpose.OPEN) if missing > 0 else (Side.SELL, Purpose.CLOSE)
        intent = OrderIntent(view.underlying, side, abs(missing), purpose, "follows the price")
        return (
            Proposal(
                DecisionKind.ENTRY if missing > 0 else DecisionKind.EXIT,
                ("follows the price",),
                {},
                (intent,),
            ),
        )


class Watched(Several):
    """Notes on how many sides of an instrument orders at the market, as all of these are, worked at once."""

    most_sides = 0

    def on_wake(self, view, wake, event):
        live = {(order.submitted.instrument_id, order.submitted.side) for order in view.orders.live.values()}
        counts = Counter(number for number, _ in live)
        self.most_sides = max(self.most_sides, *counts.values(), 0)
        return super().on_wake(view, wake, event)


@pytest.fixture(scope="module")
def hour():
    tape = market.reconstruct(date(2018, 2, 5), seed=1, underlying="SPY")
    first = tape.sessions[0]
    tape = replace(tape, sessions=(replace(first, close_ns=first.open_ns + HOUR_NS),))
    scalper = GammaScalper(
        GammaScalperConfig(entry=EntryConfig(gate="off"), hedge=HedgeConfig(threshold_shares=1.0))
    )
    both = Watched([scalper, Follower()], {"gamma-scalper": D("0.8"), "follower": D("0.2")})
    limits = RiskLimits(max_consecutive_losses=1_000, max_orders_per_minute=1_000)
    return run_tape(tape, both, limits=limits, latency_ms=250.0)


def test_no_two_orders_that_could_meet_work_at_once(hour):
    assert hour.engine.strategy.most_sides == 1


def test_hedges_wait_for_the_followers_orders_and_go(hour):
    made = [one for one in hour.outputs if isinstance(one, Decision)]
    waits = [one for one in made if any(" waits: " in reason for reason in one.reasons)]
    sent = [one for one in made if one.kind is DecisionKind.RIGHT_OF_WAY and one.client_order_ids]
    assert len(waits) == len(sent) > 5
    assert {one.facts["strategy"] for one in sent} == {"gamma-scalper", "follower"}


def test_the_books_sum_to_the_account(hour):
    desk = hour.engine.desk
    books = desk.books.books.values()
    assert sum(one.account.cash for one in books) == desk.account.cash == hour.broker.account.cash
    for position in desk.positions.positions.values():
        held = sum(one.quantity(position.instrument_id) for one in books)
        assert held == position.quantity
    explained = desk.books.explained(desk.attribution.nav_change)
    total = sum(row["total"] for row in explained.values())
    assert abs(total - desk.attribution.nav_change) <= D("0.005")


def test_the_gamma_scalper_is_hedged_all_the_same(hour):
    desk = hour.engine.desk
    book = desk.books.of("gamma-scalper")
    net = desk.delta_engine.position_greeks(book.positions.held(), hour.engine.now_ns).net_delta_shares
    assert abs(net) < 4.0
    assert len(book.positions.held()) == 3
