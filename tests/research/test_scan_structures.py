"""Structures of a chain ranked by the gate's own figures, beside the ranking of straddles in columns."""

from dataclasses import replace
from datetime import date, time

import pytest

from scalpdesk.datasets.embedded.market import daily_bars_before, reconstruct
from scalpdesk.entry.shapes import SHAPES
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.research.scan import ranked_rows, read_chain, scan_tape
from scalpdesk.research.scan_structures import all_structures, scan_structures
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig

DAY = date(2018, 2, 5)
FORECAST = 0.30


def config_at(forecast):
    return GammaScalperConfig(entry=EntryConfig(forecast_vol=forecast))


@pytest.fixture(scope="module")
def tape():
    return reconstruct(DAY, seed=1, underlying="SPY")


@pytest.fixture(scope="module")
def chain(tape):
    return read_chain(
        tape,
        new_york_ns(DAY, time(11, 0)),
        bars=daily_bars_before(DAY, 1_500, "SPY"),
        config=config_at(FORECAST),
        max_age_seconds=30.0,
    )


@pytest.fixture(scope="module")
def rows(chain):
    return scan_structures(chain, config_at(FORECAST), all_structures())


def test_every_shape_is_ranked_on_both_sides_best_first(rows):
    sides = {(name, side) for name in SHAPES for side in ("long", "short")}
    # a back ratio is a ratio from its other side, and is named once
    assert sides - {(row["kind"], row["side"]) for row in rows} <= {
        ("back_ratio", "long"),
        ("back_ratio", "short"),
    }
    legs = [(row["expiry"], row["last_expiry"], row["legs"]) for row in rows]
    assert len(set(legs)) == len(legs)
    edges = [row["edge_usd"] for row in rows]
    assert edges == sorted(edges, reverse=True)


def test_the_two_sides_of_a_structure_cost_their_spreads_and_hedges(rows):
    of_legs = {}
    for row in rows:
        key = row["kind"], row["expiry"], row["last_expiry"], row["strikes"], row["legs"].replace("-", "+")
        of_legs.setdefault(key, []).append(row)
    pairs = [pair for pair in of_legs.values() if len(pair) == 2]
    assert len(pairs) > 20
    for one, other in pairs:
        assert one["gross_usd"] == pytest.approx(-other["gross_usd"], abs=1e-9)
        costs = sum(row["spread_usd"] + row["hedge_cost_usd"] for row in (one, other))
        assert one["edge_usd"] + other["edge_usd"] == pytest.approx(-costs, abs=1e-9)


def test_at_the_markets_own_level_no_structure_has_an_edge(chain, rows):
    """Each expiry has its own level to the horizon: a forecast that equals it leaves nothing."""
    levels = {row["expiry"]: FORECAST / row["forecast_over_implied"] for row in rows}
    assert len(levels) >= 3
    for expiry, level in levels.items():
        made = replace(chain.forecast, made=type(chain.forecast.made)(**{
            name: getattr(chain.forecast.made, name) for name in chain.forecast.made.__struct_fields__
        } | {"vol": level}))  # fmt: skip
        again = scan_structures(replace(chain, forecast=made), config_at(level), all_structures())
        for row in again:
            if row["expiry"] == expiry:
                assert row["gross_usd"] == pytest.approx(0.0, abs=1e-6), row["legs"]


def test_a_straddle_has_the_edge_of_the_ranking_in_columns(tape, chain, rows):
    ranking, facts = scan_tape(
        tape,
        chain.now_ns,
        bars=daily_bars_before(DAY, 1_500, "SPY"),
        config=config_at(FORECAST),
        max_age_seconds=30.0,
        strangles=False,
    )
    in_columns = {
        (row["expiry"], f"{row['call_strike']:g}"): row for row in ranked_rows(ranking, "SPY", facts["spot"])
    }
    straddles = [row for row in rows if (row["kind"], row["side"]) == ("straddle", "long")]
    assert straddles
    for row in straddles:
        other = in_columns[row["expiry"], row["strikes"]]
        for figure in ("edge_usd", "gross_usd", "spread_usd", "hedge_cost_usd"):
            assert row[figure] == pytest.approx(other[figure], abs=0.05)
        assert row["passes"] == other["passes"]
