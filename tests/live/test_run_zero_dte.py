"""0DTE days of ``scalpdesk run zero-dte`` at the simulated Alpaca, its cut-off and liquidation on."""

from datetime import date, time
from decimal import Decimal

import pytest

from scalpdesk.core.intents import Purpose
from scalpdesk.instruments.broker_terms import venue_cutoff
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.deadlines import ALPACA_CUTOFF, exit_deadline_ns, order_cutoff_ns
from scalpdesk.instruments.sessions import final_close_ns, new_york_ns
from scalpdesk.simulation.expiry import liquidation_ns
from scalpdesk_testing.kit.desk import combos, orders
from scalpdesk_testing.kit.live_session import CASH, Played, Wanted, play

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.slow]
DAYS = {
    date(2018, 12, 24): (time(12, 25), time(12, 30), time(12, 45)),  # half day
    date(2018, 2, 9): (time(15, 25), time(15, 30), time(15, 45)),
}
"""Deadline, last order and liquidation of SPY options, New York."""
STRADDLES = 10
"""More than the account could take delivery of: what it still held would be liquidated."""


@pytest.fixture(scope="module", params=DAYS, ids=str)
def played(request, tmp_path_factory) -> Played:
    wanted = Wanted(
        day=request.param,
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
    return play(tmp_path_factory.mktemp("zero-dte"), wanted, patience_seconds=1_500.0)


def test_options_are_left_by_the_deadline_before_the_venue_refuses_them(played):
    options = [fill for fill in played.truth_fills() if len(fill[2]) > 6]
    contract, day = us_option(options[0][2]), played.wanted.day
    instants = [new_york_ns(day, clock) for clock in DAYS[day]]
    deadline_ns, cutoff_ns, liquidation = instants
    cutoff_minutes = venue_cutoff("alpaca").of(contract.underlying)
    assert exit_deadline_ns(final_close_ns(contract), cutoff_minutes=cutoff_minutes) == deadline_ns
    assert order_cutoff_ns(contract, ALPACA_CUTOFF) == cutoff_ns
    assert liquidation_ns(contract) == liquidation
    sold = [fill for fill in options if fill[3] == "sell"]
    assert sum(fill[4] for fill in sold) == 2 * STRADDLES
    assert deadline_ns <= min(fill[-1] for fill in sold)
    assert max(fill[-1] for fill in sold) < cutoff_ns
    bought = STRADDLES * contract.multiplier * contract.strike
    assert bought > 2 * CASH  # twice its equity is what the account could pay overnight


def test_the_venue_refused_nothing_and_closed_nothing_by_itself(played):
    straddles = combos(played.outputs)
    legs = {leg.client_order_id for straddle in straddles for leg in straddle.legs}
    ours = {one.client_order_id for one in (*orders(played.outputs), *straddles)}
    arrived = {one["client_order_id"] for one in played.truth["orders"] if not one["parent"]}
    assert arrived == ours - legs
    assert set(played.truth_orders().values()) <= {"filled", "canceled"}


def test_ends_flat_with_the_exchanges_ledger(played):
    assert played.truth_positions() == played.desk_positions() == {}
    assert played.truth_cash() == played.desk_cash()
    assert played.summary["differences"] == []
    gained = played.desk_cash() - CASH
    assert Decimal(played.summary["pnl"]["total"]) == gained.quantize(Decimal("0.01"))


def test_hedges_after_the_options_are_gone_only_unwind(played):
    sent = {one.client_order_id: one for one in orders(played.outputs)}
    last_option_ns = max(fill[-1] for fill in played.truth_fills() if len(fill[2]) > 6)
    shares = Decimal(0)
    for _, name, symbol, side, quantity, _, _, ts_ns in played.truth_fills():
        if symbol == "SPY":
            shares += quantity if side == "buy" else -quantity
            if ts_ns > last_option_ns:
                assert sent[name].purpose is Purpose.UNWIND_HEDGE
                # within moments of the last option, not minutes
                assert ts_ns - last_option_ns < 5_000_000_000
    assert shares == 0
