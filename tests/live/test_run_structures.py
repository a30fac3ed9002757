"""Structures of a live desk against the three served exchanges: in and out as one order, books equal."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk_testing.kit.desk import combos
from scalpdesk_testing.kit.live_session import COIN_CASH, Wanted, play
from scalpdesk_testing.kit.spx_day import NAME, import_spx_day

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.slow]
PARAMS = Path(__file__).parents[2] / "examples/btc-gamma-scalper/params.yaml"
HELD = (
    "entry.gate=advise", "exits.edge_gone=false", "exits.credit_multiple=none", "exits.stop_fraction=none",
    "exits.arm_fraction=none", "exits.credit_fraction=none", "selection.min_open_interest=-1",
    "entry.forecast_vol=0.2", "risk.max_short_contracts=30", "venue.forecast=false",
)  # fmt: skip


def wanted(venue, folder, *structure):
    """Return a short session at a venue with these settings of the structure."""
    own = (*HELD, *structure)
    if venue == "deribit":
        return Wanted(
            day=date(2025, 3, 5),
            venue="deribit",
            strategy="gamma-scalper",
            data="embedded-btc",
            cash=COIN_CASH,
            streams=2,
            underlyings=("BTC-PERPETUAL",),
            config=PARAMS,
            overrides=(
                *own, "entry.orders=auto", "hedge.threshold_shares=0.02", "entry.not_before=03:01",
                "venue.requests_per_minute=1000000", "venue.reconcile_seconds=0.5",
                "venue.confirm_seconds=0.1",
            ),
        )  # fmt: skip
    if venue == "alpaca":
        days = "selection.min_expiration_days=10", "selection.max_expiration_days=40"
        return Wanted(
            strategy="gamma-scalper",
            contracts=250,
            minutes=30,
            overrides=(*own, *days, "exits.close_at=09:50"),
        )
    import_spx_day(folder / "catalog", folder, date(2018, 2, 9), "MES_201803")
    return Wanted(
        day=date(2018, 2, 9),
        strategy="gamma-scalper",
        venue="ibkr",
        data=NAME,
        catalog=folder / "catalog",
        underlyings=("SPX", "MES"),
        streams=1,
        speed=60,
        cash=Decimal(1_000_000),
        minutes=30,
        overrides=(
            *own, "underlying=SPX", "hedge.instrument=MES", "rates.flat=0.0142", "exits.close_at=09:50",
            "selection.min_expiration_days=0", "selection.max_expiration_days=40", "exits.min_dte=none",
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("venue", "shape", "side", "legs"),
    [
        ("alpaca", "iron_fly", "short", 4),
        ("alpaca", "calendar", "long", 2),
        ("deribit", "calendar", "short", 2),
        ("deribit", "straddle", "short", 2),
        ("ibkr", "iron_condor", "short", 4),
    ],
)
def test_a_structure_is_one_order_and_the_books_are_the_exchanges(tmp_path, venue, shape, side, legs):
    chosen = f"structure.shape={shape}", f"structure.side={side}"
    played = play(tmp_path, wanted(venue, tmp_path, *chosen), patience_seconds=500.0)
    sent = combos(played.outputs)
    assert sent
    assert {len(combo.legs) for combo in sent} == {legs}
    assert played.desk_positions() == played.truth_positions()
    assert played.desk_cash() == played.truth_cash()
    assert played.summary["differences"] == []
    if venue != "deribit":  # a day of coins ends with the structure held
        assert played.truth_positions() == {}
        assert len(sent) == 2
