"""A desk that fails on an event goes on from its journal at the exchange, which knows what it missed."""

import asyncio
from dataclasses import replace

import pytest

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import FailedEvent, OrderFilled, TimerEvent
from scalpdesk.live.supervision import FaultError
from scalpdesk.orders.order import OrderState
from scalpdesk_testing.line_desk import CHAIN, LineDesk

SETTINGS = ("selection.min_expiration_days=0", "exits.min_dte=null", "mode=resume")
HELD = {CHAIN[-1]: 2, CHAIN[-2]: 2, "SPY": 90}


class Faulty(LineDesk):
    """A desk whose engine raises on the first event of a kind, in as many lives as wanted."""

    def __init__(self, folder, kind, lives):
        super().__init__(folder, HELD)
        self.kind, self.lives, self.poisoned = kind, lives, []

    def poison(self):
        """Let the engine of this life raise, after the event's effects."""
        handle, is_sound = self.engine.handle, len(self.poisoned) >= self.lives

        def raising(event):
            outputs = handle(event)
            if type(event) is self.kind and not is_sound:
                self.poisoned.append(event)
                raise KeyError("poison")
            return outputs

        self.engine.handle = raising

    def live_on(self):
        """Live until a life without a fault is over; return its engine."""
        plan = self.plan("gamma-scalper", *SETTINGS, contracts=8)

        async def a_while(desk):
            self.poison()
            await desk.following()
            if self.kind is OrderFilled and not self.poisoned:
                await desk.desk.runner.operate("flatten", "now", "me")
            await asyncio.sleep(180.0)

        for _ in range(self.lives):
            with pytest.raises(FaultError, match="poison"):
                self.live(plan, a_while)
            plan = replace(plan, resume=True, fault="poison")
        self.live(plan, a_while)
        return self.engine


@pytest.mark.rows(("kind", "lives"), [(OrderFilled, 1), (OrderFilled, 2), (TimerEvent, 1)])
def test_the_account_is_the_exchanges_after_an_event_that_raises(tmp_path, kind, lives):
    with Faulty(tmp_path, kind, lives) as bench:
        desk = bench.live_on().desk
        assert len(bench.poisoned) == lives
        assert bench.held() == bench.truth()
        assert desk.cash() == bench.account.cash
        assert bench.desk.runner.reconciler.unexplained == ()
        assert desk.gate.kept_mode is (Mode.REDUCING if kind is TimerEvent else Mode.FLATTENING)
        assert sum(type(event) is FailedEvent for event in bench.events()) == lives
        if kind is OrderFilled:
            assert bench.truth() == {}
            first, last = bench.poisoned[0], bench.poisoned[-1]
            assert first.execution_id == last.execution_id
            # at the second time its own event is given up, and the comparison with the account books it
            order = desk.orders.orders[first.client_order_id]
            assert order.state is (OrderState.FILLED if lives == 1 else OrderState.CANCELLED)
            assert bool(bench.desk.runner.reconciler.adopted) is (lives == 2)
