"""The law of every structure: no edge at the market's own level, and two sides cost what trading costs."""

from datetime import date

import pytest

from scalpdesk.entry.shapes import SHAPES
from scalpdesk_testing.kit.chain_desk import best_of, edge_of, tools_of, view_at

CHAINS = (("2017-05-10", "11:00"), ("2015-08-24", "09:45"), ("2018-02-05", "15:00"), ("2016-06-24", "13:30"))
"""A quiet day, the opening of a crash, the last hour of another, a day after a vote."""


@pytest.fixture(scope="module", params=CHAINS, ids=" ".join)
def view(request):
    day, clock = request.param
    return view_at(date.fromisoformat(day), clock)


def edges(view, name, side, right):
    """Figures of the best structure at 20 %, and of the same at a forecast that is the market's own level."""
    tools = tools_of(view, shape=name, side=side, right=right)
    best = best_of(tools, view)
    facts = edge_of(tools, best, view)
    level = facts["implied_level"]
    again = tools_of(view, level, shape=name, side=side, right=right)
    return facts, edge_of(again, best, view), level


@pytest.mark.parametrize("right", ["call", "put"])
@pytest.mark.parametrize("name", SHAPES)
def test_at_the_markets_own_level_nothing_is_earned_and_both_sides_cost_spreads_and_hedges(view, name, right):
    (bought, at_level, level), (sold, sold_at_level, same) = (
        edges(view, name, side, right) for side in ("long", "short")
    )
    assert level == same
    assert at_level["edge_gross_usd"] == pytest.approx(0.0, abs=1e-6)
    assert sold_at_level["edge_gross_usd"] == pytest.approx(0.0, abs=1e-6)
    assert at_level["edge_usd"] < 0.0
    assert bought["edge_gross_usd"] == pytest.approx(-sold["edge_gross_usd"], abs=1e-9)
    costs = sum(
        facts[cost] for facts in (bought, sold) for cost in ("edge_spread_usd", "edge_hedge_cost_usd")
    )
    assert bought["edge_usd"] + sold["edge_usd"] == pytest.approx(-costs, abs=1e-9)


def test_a_condor_of_puts_and_calls_has_the_edge_of_its_parts(view):
    """A second calculation: a structure's edge is the sum of its verticals' and strangle's, leg by leg."""
    fly = tools_of(view, shape="iron_fly", wing="5")
    best = best_of(fly, view)
    of_fly = edge_of(fly, best, view)["edge_gross_usd"]
    butterfly = tools_of(view, shape="butterfly", wing="5", side="short")
    same = [
        each
        for each in butterfly.structures(view)
        if each.lead.contract.strike == best.structure.lead.contract.strike
        and each.first_expiry == best.structure.first_expiry
    ]
    other = best_of(butterfly, view, same)
    assert other is not None
    # put and call of one strike have one volatility: what is early exercise apart, the two are the same bet
    assert of_fly == pytest.approx(edge_of(butterfly, other, view)["edge_gross_usd"], abs=0.05)
