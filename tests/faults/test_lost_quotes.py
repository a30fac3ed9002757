"""A held contract loses its quotes while the share moves on: the desk hedges by the model's delta."""

from collections import Counter
from pathlib import Path

import pytest

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Decision
from scalpdesk.core.units import NANOS_PER_SECOND, years_between
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.pricing.scalar import option_greeks
from scalpdesk.strategies.toolkit.order_life import without_figures
from scalpdesk_testing.market import CALL, IMPLIED_VOL, PUT, SHARE
from scalpdesk_testing.schedule import Moment, quiet_schedule
from scalpdesk_testing.small_desk import BAND_SHARES, scratch_folder
from scalpdesk_testing.trial import Trial

LOST_AT, FOR_SECONDS = 20.0, 140.0
PATIENCE_SECONDS = 20.0


class QuotelessTrial(Trial):
    """Measures how long the true net delta is out of the band with nothing at work."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.longest_seconds = 0.0
        self.refused = Counter()
        self._since_ns = None

    def watch(self, event, feed):
        commands = super().watch(event, feed)
        for output in self.scene.outputs:
            if isinstance(output, Decision) and not output.taken:
                self.refused[without_figures("; ".join(output.reasons))] += 1
        seconds = self.loop.time() - LOST_AT
        if isinstance(event, QuoteEvent) and event.instrument_id == SHARE and 0 < seconds < FOR_SECONDS:
            self._measure(event)
        return commands

    def _measure(self, quote):
        net = float(self.account.quantity(SHARE))
        for number in (CALL, PUT):
            option = self.market.instruments[number]
            years = years_between(quote.ts_recv_ns, expiry_instant_ns(option))
            greeks = option_greeks(
                quote.mid, float(option.strike), years, IMPLIED_VOL, option.is_call, 0.0, american=False
            )
            net += float(self.account.quantity(number)) * 100 * greeks[1]
        if abs(net) <= 1.5 * BAND_SHARES + 1.0 or self.engine.desk.orders.live_for(SHARE):
            self._since_ns = None
            return
        self._since_ns = self._since_ns or quote.ts_recv_ns
        waited = (quote.ts_recv_ns - self._since_ns) / NANOS_PER_SECOND
        self.longest_seconds = max(self.longest_seconds, waited)


@pytest.fixture(scope="module")
def trial():
    schedule = quiet_schedule(5, moments=(Moment(LOST_AT, "lost_quotes", FOR_SECONDS / 12),))
    with scratch_folder() as folder:
        run = QuotelessTrial(schedule, Path(folder))
        run.run()
    return run


def test_nothing_is_broken_and_the_same_refusal_is_not_repeated(trial):
    assert trial.outcome.violations == []
    assert max(trial.refused.values(), default=0) <= 5


def test_hedging_goes_on(trial):
    stale_from, until = (
        trial.market.start_ns + int(at * 1e9) for at in (LOST_AT + 35.0, LOST_AT + FOR_SECONDS)
    )
    hedges = [one for one in trial.account.executions if one.instrument_id == SHARE]
    assert sum(stale_from < one.ts_ns < until for one in hedges) >= 3
    assert trial.longest_seconds <= PATIENCE_SECONDS
