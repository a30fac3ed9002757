from decimal import Decimal

import pytest

from fakes.instruments import option, share
from scalpdesk.core.intents import Side
from scalpdesk.instruments.fees import ALPACA_FEES, NO_FEES, FeeSchedule

D = Decimal


@pytest.mark.parametrize("side", Side)
def test_no_fees_are_none(side):
    assert NO_FEES.fee(share(), side, D(100), D(500)) == 0
    assert NO_FEES.fee(option("C"), side, D(1), D(5)) == 0


def test_buying_shares_costs_nothing_at_alpaca_and_selling_the_regulatory_fees():
    assert ALPACA_FEES.fee(share(), Side.BUY, D(100), D(500)) == 0
    # 50 000 USD x 27.80 per million = 1.39; 100 x 0.000166 = 0.0166; together 1.4066, up to the cent
    assert ALPACA_FEES.fee(share(), Side.SELL, D(100), D(500)) == D("1.41")


def test_options_pay_the_orf_on_both_sides_and_sec_and_taf_when_sold():
    assert ALPACA_FEES.fee(option("C"), Side.BUY, D(10), D(5)) == D("0.30")  # 0.2915
    # 0.2915 + 5000 x 27.80 / 1e6 = 0.139 + 0.0279 = 0.4584
    assert ALPACA_FEES.fee(option("C"), Side.SELL, D(10), D(5)) == D("0.46")


def test_the_taf_of_shares_is_capped():
    only_taf = FeeSchedule(taf_per_share=D("0.000166"), taf_cap=D("8.30"))
    assert only_taf.fee(share(), Side.SELL, D(50_000), D(1)) == D("8.30")
    assert only_taf.fee(share(), Side.SELL, D(10_000_000), D(1)) == D("8.30")
    assert only_taf.fee(share(), Side.SELL, D(10_000), D(1)) == D("1.66")


def test_commissions_have_a_minimum_an_execution():
    schedule = FeeSchedule(per_share=D("0.005"), per_contract=D("0.65"), minimum_per_order=D(1))
    assert schedule.fee(share(), Side.BUY, D(100), D(10)) == D(1)
    assert schedule.fee(share(), Side.BUY, D(1000), D(10)) == D(5)
    assert schedule.fee(option("P"), Side.BUY, D(1), D(2)) == D(1)
    assert schedule.fee(option("P"), Side.BUY, D(2), D(2)) == D("1.30")
