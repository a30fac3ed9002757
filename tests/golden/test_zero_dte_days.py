"""Whole 0DTE days: never naked after the deadline, no NaN, P&L to the cent, figures as in docs/evidence."""

from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.report.summary import parts_in_cents
from tests.golden.zero_dte_days import RECONSTRUCTED, RECORDED, PlayedDay, play_day

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
PAGE = ROOT / "docs" / "evidence" / "results.md"
OF_SECOND = {"2017-11-24": [], "2018-12-24": [pytest.mark.second]}
"""The half days, and whether the second stage plays them."""

recorded = pytest.mark.recorded
"""A whole day takes longer than five seconds; a half day stands for them on each commit."""
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the recorded market data is not beside the project"
)


def stated(name: str) -> list[str]:
    """Cells of the row that begins with the name."""
    lines = PAGE.read_text(encoding="utf-8").partition("\n### Whole days\n")[2].splitlines()
    row = next(line for line in lines if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in row.strip("|").split("|")[1:]]


def figures(played: PlayedDay) -> list[str]:
    """A row of the page: straddle's price, hedges, P&L, its costs and the realised hedges."""
    desk, totals = played.engine.desk, played.strategy.meter.totals
    parts = parts_in_cents(desk.attribution.totals, desk.attribution.nav_change)
    costs = parts["spread"] + parts["fees"] + parts["slippage"]
    return [
        f"{played.paid:.2f}",
        str(played.hedges),
        str(parts["total"]),
        str(costs),
        str(parts["residual"]),
        f"{totals.realized:.2f}",
    ]


def assert_sound(played: PlayedDay) -> None:
    """Hold what must hold on every day."""
    assert played.naked == []
    assert played.late == []
    assert played.not_finite == []
    desk = played.engine.desk
    assert not desk.positions.held()
    assert not desk.orders.live
    attribution = desk.attribution
    assert sum(attribution.totals.values(), Decimal(0)) == attribution.nav_change
    # flat at the end: what the account gained in cash is the P&L
    assert desk.account.cash - Decimal(1_000_000) == attribution.nav_change
    parts = parts_in_cents(attribution.totals, attribution.nav_change)
    assert sum((parts[name] for name in parts if name != "total"), Decimal(0)) == parts["total"]
    assert played.hedges > 0
    # residual, mark noise in it, against the gross of the day's parts: the largest is 1.1 %
    gross = sum(abs(amount) for amount in attribution.totals.values())
    assert abs(attribution.totals["residual"]) < Decimal("0.02") * gross


@recorded
@needs_data
@pytest.mark.parametrize(
    "day",
    [pytest.param(day, marks=[pytest.mark.second] * (place > 0)) for place, day in enumerate(RECORDED)],
)
def test_recorded_days(recorded_catalog, day):
    played = play_day("lean", day, f"data.catalog={recorded_catalog}", *RECORDED[day])
    assert_sound(played)
    assert figures(played) == stated(day)


@pytest.mark.parametrize(
    "day",
    [pytest.param(day, marks=OF_SECOND.get(day, [pytest.mark.slow])) for day in RECONSTRUCTED],
)
def test_reconstructed_days(day):
    played = play_day("embedded", day)
    assert_sound(played)
    assert figures(played) == stated(day)


def test_the_page_names_every_day():
    for day in (*RECORDED, *RECONSTRUCTED):
        assert len(stated(day)) == 6
