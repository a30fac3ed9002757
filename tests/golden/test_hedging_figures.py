"""Figures of hedging, gate and hedge cost, worked out in the reference (strategies A4, A7, A8)."""

import pytest

from scalpdesk.hedging import leland_number, whalley_wilmott_band, zakamouline_band
from scalpdesk.hedging.bands.leland import leland_vol
from scalpdesk.hedging.bands.zakamouline import zakamouline_terms
from scalpdesk.hedging.expected_cost import cost_of_band, cost_of_clock
from scalpdesk.hedging.sizing import split_at_zero
from scalpdesk_testing.kit.hedges import hedge_quantity

REL = 1e-9


@pytest.mark.parametrize(
    ("delta_per_share", "straddles", "owned", "pending", "net_per_straddle", "quantity"),
    [
        (0.05, 1, 0, 0, 5.0, -5),
        (0.02, 1, 0, 0, 2.0, 0),
        (0.025, 1, 0, 0, 2.5, -3),
        (0.12, 3, -30, -3, 1.0, 0),
    ],
)
def test_hedge_quantities(delta_per_share, straddles, owned, pending, net_per_straddle, quantity):
    options = delta_per_share * 100 * straddles
    assert (options + owned + pending) / straddles == pytest.approx(net_per_straddle, rel=REL)
    assert hedge_quantity(options, owned, pending, straddles, threshold=2.0) == quantity


@pytest.mark.parametrize(
    ("owned", "quantity", "orders"), [(10, -15, (-10, -5)), (-4, 9, (4, 5)), (0, -5, (-5,))]
)
def test_split_at_zero(owned, quantity, orders):
    assert split_at_zero(owned, quantity) == orders


def test_whalley_wilmott():
    band = whalley_wilmott_band(0.02, 5000.0, 0.25, 0.0005, 1.0, rate=0.0)
    assert band == pytest.approx(0.114471424255, rel=REL)


def test_zakamouline():
    terms = zakamouline_terms(0.02, 5000.0, 0.25, 0.2, 0.0005, 1.0, rate=0.0)
    assert terms.h0 == pytest.approx(1e-5, rel=REL)
    assert terms.h1 == pytest.approx(0.0209436910783, rel=REL)
    assert terms.band == pytest.approx(0.0209536910783, rel=REL)
    assert terms.variance_shift == pytest.approx(-0.139454572173, rel=REL)
    assert terms.modified_vol == pytest.approx(0.185531175583, rel=REL)
    assert zakamouline_band(0.02, 5000.0, 0.25, 0.2, 0.0005, 1.0) == terms.band


def test_leland():
    assert leland_number(0.0005, 0.2, 1 / 252) == pytest.approx(0.0633301236847, rel=REL)
    assert leland_vol(0.0005, 0.2, 1 / 252, long_gamma=True) == pytest.approx(0.193563413518, rel=REL)
    assert leland_vol(0.0005, 0.2, 1 / 252, long_gamma=False) == pytest.approx(0.206235799384, rel=REL)


def test_hedge_cost_of_a_band():
    cost = cost_of_band(100 * 0.02, 500.0, 0.22, 5, 20, 0.01)
    assert cost.rehedges == pytest.approx(2.40079365079, rel=REL)
    assert cost.cost_usd == pytest.approx(0.480158730159, rel=REL)


def test_hedge_cost_of_a_clock():
    cost = cost_of_clock(100 * 0.02, 500.0, 0.22, 5, 13, 0.01)
    assert cost.rehedges == 65
    assert cost.shares_per_rehedge == pytest.approx(3.06683771733, rel=REL)
    assert cost.cost_usd == pytest.approx(1.99344451626, rel=REL)
