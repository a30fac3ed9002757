"""A 0DTE half day of ``scalpdesk run zero-dte`` at the simulated Alpaca, its cut-off and liquidation on."""

from datetime import date, time
from decimal import Decimal

import pytest

from fakes.live_session import CASH, Played, Wanted, play
from scalpdesk.core.intents import Purpose, SubmitOrder
from scalpdesk.instruments.contract import us_option
from scalpdesk.instruments.deadlines import contract_deadline_ns
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.simulation.broker.expiry import liquidation_ns, order_cutoff_ns

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.slow]
DAY = date(2018, 12, 24)
STRADDLES = 10
"""More than the account could take delivery of: what it still held would be liquidated."""


@pytest.fixture(scope="module")
def half_day(tmp_path_factory) -> Played:
    wanted = Wanted(
        day=DAY,
        strategy="zero-dte",
        contracts=6,
        overrides=(
            "entry.mode=straddle",
            f"entry.straddles={STRADDLES}",
            "rates.flat=0.0",
            "risk.max_theta_fraction=1.0",
            "risk.max_bought_gamma_fraction=500",
        ),
    )
    return play(tmp_path_factory.mktemp("zero-dte"), wanted, patience_seconds=900.0)


def test_options_are_left_by_the_deadline_before_the_venue_refuses_them(half_day):
    options = [fill for fill in half_day.truth_fills() if len(fill[2]) > 6]
    contract = us_option(options[0][2])
    assert contract_deadline_ns(contract, "alpaca") == new_york_ns(DAY, time(12, 25))
    assert order_cutoff_ns(contract) == new_york_ns(DAY, time(12, 30))
    assert liquidation_ns(contract) == new_york_ns(DAY, time(12, 45))
    sold = [fill for fill in options if fill[3] == "sell"]
    assert sum(fill[4] for fill in sold) == 2 * STRADDLES
    assert new_york_ns(DAY, time(12, 25)) <= min(fill[-1] for fill in sold)
    assert max(fill[-1] for fill in sold) < order_cutoff_ns(contract)
    bought = STRADDLES * contract.multiplier * contract.strike
    assert bought > 2 * CASH  # twice its equity is what the account could pay overnight


def test_the_venue_refused_nothing_and_closed_nothing_by_itself(half_day):
    ours = {one.client_order_id for one in half_day.outputs if isinstance(one, SubmitOrder)}
    assert set(half_day.truth_orders()) == ours
    assert set(half_day.truth_orders().values()) <= {"filled", "canceled"}


def test_ends_flat_with_the_exchanges_ledger(half_day):
    assert half_day.truth_positions() == half_day.desk_positions() == {}
    assert half_day.truth_cash() == half_day.desk_cash()
    assert half_day.summary["differences"] == []
    gained = half_day.desk_cash() - CASH
    assert Decimal(half_day.summary["pnl"]["total"]) == gained.quantize(Decimal("0.01"))


def test_hedges_after_the_options_are_gone_only_unwind(half_day):
    orders = {one.client_order_id: one for one in half_day.outputs if isinstance(one, SubmitOrder)}
    last_option_ns = max(fill[-1] for fill in half_day.truth_fills() if len(fill[2]) > 6)
    shares = Decimal(0)
    for _, name, symbol, side, quantity, _, _, ts_ns in half_day.truth_fills():
        if symbol == "SPY":
            shares += quantity if side == "buy" else -quantity
            if ts_ns > last_option_ns:
                assert orders[name].purpose is Purpose.UNWIND_HEDGE
                # within moments of the last option, not minutes
                assert ts_ns - last_option_ns < 5_000_000_000
    assert shares == 0
