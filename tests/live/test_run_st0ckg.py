"""``scalpdesk run st0ckg`` for half an hour at the simulated Alpaca: it knows what was before, and trades."""

from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.events import BarEvent, SessionBarsEvent
from scalpdesk.core.intents import Decision, Side, SubmitOrder
from scalpdesk.instruments.classes import us_option
from scalpdesk_testing.kit.live_session import Played, Wanted, play

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.slow]
DAY = date(2016, 6, 24)


@pytest.fixture(scope="module")
def morning(tmp_path_factory) -> Played:
    wanted = Wanted(
        day=DAY,
        strategy="st0ckg",
        contracts=60,
        minutes=35.0,
        overrides=("signals=opening_drive", "rates.flat=0.0", "venue.forecast=false"),
    )
    return play(tmp_path_factory.mktemp("st0ckg"), wanted, patience_seconds=600.0)


def test_it_is_told_the_minutes_of_twenty_sessions_before_it_begins(morning):
    told = [one for one in morning.events if isinstance(one, SessionBarsEvent)]
    assert len(told) == 20
    assert told[-1].session == "2016-06-23"
    assert {len(one.volume) for one in told} == {390}
    assert any(isinstance(one, BarEvent) for one in morning.events)


def test_the_drive_is_bought_in_puts_of_the_day_as_in_the_backtest(morning):
    entries = [
        one for one in morning.outputs if isinstance(one, Decision) and one.kind == "entry" and one.taken
    ]
    assert "OPENING_DRIVE down, score 7.50, high" in entries[0].reasons[0]
    orders = [one for one in morning.outputs if isinstance(one, SubmitOrder)]
    contract = us_option(morning.symbols[orders[0].instrument_id])
    assert (contract.expiry, contract.right.value, orders[0].side) == (DAY, "P", Side.BUY)
    assert orders[0].limit_price is not None


def test_the_ledger_is_the_exchanges_truth(morning):
    assert morning.desk_fills() == morning.truth_fills()
    assert morning.desk_positions() == morning.truth_positions()
    assert morning.desk_cash() == morning.truth_cash()
    assert morning.truth_fills()
    assert sum((fill[4] if fill[3] == "buy" else -fill[4] for fill in morning.truth_fills()), Decimal(0)) >= 0
