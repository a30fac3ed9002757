"""The law of every structure: no edge at the market's own level, and two sides cost what trading costs."""

import math
from datetime import date
from decimal import Decimal
from itertools import count

import msgspec
import numpy as np
import pytest

from scalpdesk.entry.shapes import SHAPES
from scalpdesk.instruments.structure import bounds_of
from scalpdesk.strategies.gamma_scalper.trade import capital_at_risk
from scalpdesk.strategies.toolkit.exits import (
    Basis,
    ExitConfig,
    PositionView,
    StopLoss,
    first_reason,
    structure_rules,
)
from scalpdesk_testing.kit.bookings import booked
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


# the capital at risk, on the same structures ---------------------------------------------------------------


def held_at(view, structure, net):
    """Hold a set for a net cost, currency, each leg at its mid but the first; return its capital at risk."""
    mids = [Decimal(str(view.market.quotes[leg].mid)) for leg in structure.option_ids]
    lead = structure.lead
    rest = sum(leg.ratio * mid for leg, mid in zip(structure.legs[1:], mids[1:], strict=True))
    prices = [(Decimal(str(net)) / lead.contract.multiplier - rest) / lead.ratio, *mids[1:]]
    for sign in (1, -1):
        for leg, price in zip(structure.legs, prices, strict=True):
            booked(view.positions, leg.option_id, Decimal(sign * leg.ratio), price, f"{next(NAMES)}")
        if sign == 1:
            found = capital_at_risk(view, structure)
    return found


NAMES = count()


def mid_of(view, structure):
    worth = structure.total(view.market.quotes[leg].mid for leg in structure.option_ids)
    return structure.nearest.multiplier * worth


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("name", SHAPES)
def test_the_capital_at_risk_is_the_premium_the_credit_or_the_largest_loss(view, name, side):
    structure = best_of(tools_of(view, shape=name, side=side), view).structure
    paid = mid_of(view, structure)
    at_risk = held_at(view, structure, paid)
    assert at_risk.amount > 0
    if structure.all_bought:
        assert (float(at_risk.amount), at_risk.basis) == (pytest.approx(paid), Basis.PREMIUM)
    if at_risk.basis in (Basis.PREMIUM, Basis.CREDIT):
        assert (at_risk.basis is Basis.CREDIT) is (paid < 0)
        assert float(at_risk.amount) == pytest.approx(abs(paid))


OF_ONE_EXPIRY = {each for each, shape in SHAPES.items() if not any(leg.is_far for leg in shape.legs)}


def worst_by_hand(structure, paid):
    """What can be lost by the payoffs alone, read densely; None where the underlying may go on."""
    legs = [(leg.ratio * leg.contract.multiplier, leg.contract) for leg in structure.legs]
    if sum(units for units, contract in legs if contract.is_call) < 0:
        return None
    prices = np.append(np.linspace(0.01, 800.0, 80_000), [float(contract.strike) for _, contract in legs])
    sides = [(1 if contract.is_call else -1, float(contract.strike), units) for units, contract in legs]
    return paid - min(sum(u * np.maximum(s * (prices - k), 0) for s, k, u in sides))


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 1.3])
@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize(
    "name", [each for each in SHAPES if not any(leg.is_far for leg in SHAPES[each].legs)]
)
def test_neither_the_capital_at_risk_nor_a_stop_is_more_than_can_be_lost(view, name, side, part):
    structure = best_of(tools_of(view, shape=name, side=side), view).structure
    paid = part * mid_of(view, structure)
    at_risk, most = held_at(view, structure, paid), worst_by_hand(structure, paid)
    if most is None:
        return
    assert float(at_risk.amount) <= most + 1e-6
    for multiple in (0.5, 1.0, 3.0):
        settings = ExitConfig(min_dte=None, credit_multiple=multiple)
        stops = [rule for rule in structure_rules(settings) if isinstance(rule, StopLoss)]
        seen = PositionView(
            premium_paid=at_risk.amount, basis=at_risk.basis, most_loss=at_risk.most_loss, quoted_ns=1
        )
        fires = [-rule.quiet(seen).least_pnl for rule in stops if rule.quiet(seen).least_pnl > -math.inf]
        assert len(fires) == 1
        assert 0 < fires[0] <= most + 1e-6


@pytest.mark.parametrize("side", ["long", "short"])
def test_what_is_opened_for_about_nothing_is_neither_stopped_nor_trailed_by_the_net_of_it(view, side):
    structure = best_of(tools_of(view, shape="risk_reversal", side=side), view).structure
    found = [held_at(view, structure, net) for net in (6, 0, -6)]
    assert {each.basis for each in found} == {Basis.LOSS}
    assert [found[0].amount - each.amount for each in found] == pytest.approx([0, 6, 12])
    assert min(each.amount for each in found) > 60
    for at_risk in found:
        rules = structure_rules(ExitConfig(min_dte=None, target_fraction=0.5))
        seen = PositionView(premium_paid=at_risk.amount, basis=at_risk.basis)
        for stamp, pnl in enumerate(("0", "0", "2.60", "-0.08", "-6")):
            look = msgspec.structs.replace(seen, quoted_ns=stamp, pnl=Decimal(pnl))
            assert first_reason(rules, look) is None
        lost = msgspec.structs.replace(seen, quoted_ns=9, pnl=-at_risk.amount)
        assert "30% of the largest loss of a stress day" in first_reason(rules, lost)


def test_a_condor_is_stopped_by_its_credit_and_a_risk_reversal_by_its_largest_loss(view):
    tools = {name: tools_of(view, shape=name, side="short") for name in ("iron_condor", "risk_reversal")}
    kinds = {}
    for name, each in tools.items():
        structure = best_of(each, view).structure
        kinds[name] = held_at(view, structure, mid_of(view, structure))
        assert kinds[name].facts()["at_risk_is"] == kinds[name].basis
    assert kinds["iron_condor"].basis is Basis.CREDIT
    assert kinds["risk_reversal"].basis is Basis.LOSS


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("name", sorted(OF_ONE_EXPIRY))
def test_what_a_set_ties_up_is_what_can_be_lost_where_wings_bound_it(view, name, side):
    """Each leg at its far side; Regulation T counts the premium of what is bought in its own amount."""
    tools = tools_of(view, shape=name, side=side)
    best = best_of(tools, view)
    edge_of(tools, best, view)
    structure = best.structure
    paid = 0.0
    for leg in structure.legs:
        quote = view.market.quotes[leg.option_id]
        paid += leg.ratio * leg.contract.multiplier * (quote.ask if leg.ratio > 0 else quote.bid)
    ties_up = tools.edge.risk_of(best, view, None).premium
    if bounds_of([(leg.contract, float(leg.ratio)) for leg in structure.legs]).is_covered:
        assert ties_up == pytest.approx(worst_by_hand(structure, paid), abs=1e-6)
    else:
        assert ties_up > max(-paid, 0.0)
