from datetime import date
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import Side
from scalpdesk.instruments.classes import FUTURES, us_option
from scalpdesk.instruments.deribit import DERIBIT_FEES
from scalpdesk.instruments.fees import (
    ALPACA_FEES,
    IBKR_FEES,
    IBKR_TIERED_FEES,
    NO_FEES,
    BrokerFees,
    FeeSchedule,
    FeesSoFar,
    schedule_used,
)
from scalpdesk_testing.kit.instruments import option, share

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
ALPACA = ALPACA_FEES.on(date(2025, 3, 3))
SPXW, SPX = us_option("SPXW260320C06000000"), us_option("SPX260320C06000000")
VIX, RUT, XEO = (us_option(f"{root}260320C00020000") for root in ("VIX", "RUT", "XEO"))


@pytest.mark.parametrize("side", Side)
def test_no_fees_are_none(side):
    assert NO_FEES.fee(share(), side, D(100), D(500)) == 0
    assert NO_FEES.fee(option("C"), side, D(1), D(5)) == 0


# examples of the published pages ----------------------------------------------------------------------

PAGE_2014, PAGE_2016, PAGE_2024 = date(2014, 6, 2), date(2016, 6, 1), date(2024, 3, 4)


@pytest.mark.rows(
    ("day", "volume", "contracts", "premium", "commission"),
    [
        # Interactive Brokers, options commissions, page of 2014 (SEC 22.10, ORF .0401), its own examples
        (PAGE_2014, 0, 1, "2", "1.00"),
        (PAGE_2014, 0, 2, "5", "1.40"),
        (PAGE_2014, 0, 3, "0.075", "1.50"),
        (PAGE_2014, 0, 5, "0.03", "1.25"),
        (PAGE_2014, 10_001, 1, "2", "1.00"),
        (PAGE_2014, 10_001, 2, "5", "1.00"),
        (PAGE_2014, 10_001, 5, "0.03", "1.25"),
        (PAGE_2014, 50_001, 1, "2", "1.00"),
        (PAGE_2014, 50_001, 2, "5", "1.00"),
        (PAGE_2014, 100_001, 2, "5", "1.00"),
        # the page of 2016 (SEC 21.80, ORF .0404), its own examples
        (PAGE_2016, 0, 2, "5", "1.40"),
        (PAGE_2016, 0, 3, "0.075", "1.50"),
        (PAGE_2016, 10_001, 5, "0.03", "1.25"),
        # Interactive Brokers Canada, early 2024: its rates
        (PAGE_2024, 0, 1, "2", "1.00"),
        (PAGE_2024, 0, 2, "0.10", "1.30"),
        (PAGE_2024, 0, 3, "0.09", "1.50"),
        (PAGE_2024, 0, 5, "0.04", "1.25"),
        (PAGE_2024, 10_001, 5, "0.05", "2.50"),
        (PAGE_2024, 50_001, 5, "0.05", "1.25"),
        (PAGE_2024, 100_001, 10, "3", "1.50"),
    ],
)
def test_tiered_commissions_are_those_of_the_page(day, volume, contracts, premium, commission):
    terms = option("C"), BUY, D(contracts), D(premium)
    schedule = BrokerFees("ibkr_tiered", volume).on(day)
    passed = schedule.rounded(schedule.passed_on(terms[0], *terms[1:]))
    assert schedule.fee(*terms) - passed == D(commission)


@pytest.mark.rows(
    ("contract", "premium", "surcharge"),
    [
        # Interactive Brokers, fixed options commissions, page of 2020 (SEC 22.10, OCC .055)
        (SPX, "0.99", "0.40"),
        (SPX, "47", "0.50"),
        (SPXW, "0.99", "0.49"),
        (SPXW, "47", "0.58"),
        (VIX, "0.10", "0.10"),
        (VIX, "0.11", "0.25"),
        (VIX, "1.00", "0.45"),
        (VIX, "2.00", "0.50"),
        (RUT, "5", "0.18"),
        (XEO, "5", "0.40"),
    ],
)
def test_index_options_pay_the_surcharge_of_the_fixed_page(contract, premium, surcharge):
    schedule = IBKR_FEES.on(date(2020, 10, 1))
    paid = schedule.fee(contract, BUY, D(10), D(premium)) - schedule.fee(option("C"), BUY, D(10), D(premium))
    assert paid == 10 * D(surcharge)


@pytest.mark.rows(
    ("day", "instrument", "side", "quantity", "price", "fee"),
    [
        # Alpaca support, regulatory fees (SEC 27.80), and its table of 2025 (CAT .000046, OCC .02)
        (date(2024, 6, 3), share(), BUY, 100, "500", "0.00"),
        (date(2024, 6, 3), share(), SELL, 100, "500", "1.41"),  # 1.39 + .0166
        (date(2024, 6, 3), share(), SELL, 50_000, "1", "9.69"),  # 1.39 + 8.30
        (date(2024, 6, 3), share(), SELL, 100_000, "1", "11.08"),  # 2.78 + at most 8.30
        (date(2025, 1, 2), share(), BUY, 1_000, "10", "0.05"),  # .046
        (date(2025, 1, 2), option("C"), BUY, 10, "5", "0.52"),  # .2 + .2685 + .046
        (date(2025, 1, 2), option("C"), SELL, 10, "5", "0.69"),  # + .139 + .0279 = .6814
        (date(2025, 1, 2), option("C"), BUY, 3_000, "1", "149.35"),  # 55 + 80.55 + 13.80
        # Alpaca support, the page with SEC 0 and CAT .0000265; OCC .025, ORF .02815
        (date(2025, 7, 7), share(), SELL, 1_000, "10", "0.20"),  # .0265 + .166
        (date(2025, 7, 7), option("C"), SELL, 10, "5", "0.60"),  # .25 + .2815 + .0265 + .0279, each up
        # CAT NMS plan: .000035 from September 2024, with .000013 from October
        (date(2024, 9, 30), share(), BUY, 10_000, "10", "0.35"),
        (date(2024, 10, 1), share(), BUY, 10_000, "10", "0.48"),
        # Alpaca Securities, fee schedule of 2026-07-20 (SEC 20.60, CAT .000003)
        (date(2026, 7, 20), share(), SELL, 100_000, "1", "12.15"),  # 9.79 + 2.06 + .30
        (date(2026, 7, 20), option("C"), BUY, 1, "5", "0.06"),  # .015 + .025 + .0003, each up
        (date(2026, 7, 20), option("C"), SELL, 100, "1", "4.57"),  # 1.50 + 2.50 + .03 + .329 + .206
        # FINRA, 2018-05-07: 23.10 before 22 May 2018, then 13.00
        (date(2018, 5, 21), share(), SELL, 100, "500", "1.18"),  # 1.155 + .0119, each up
        (date(2018, 5, 22), share(), SELL, 100, "500", "0.67"),  # .65 + .0119
    ],
)
def test_alpaca_passes_on_the_rates_of_the_day(day, instrument, side, quantity, price, fee):
    assert ALPACA_FEES.on(day).fee(instrument, side, D(quantity), D(price)) == D(fee)


def test_two_weekly_index_options_at_47_cost_the_published_sum():
    """Two at .65, Cboe .45 and its surcharge of .14 (.58 in 2020), OCC .02 (.055), ORF .02685 (.0388)."""
    for schedule, day, published in (
        (IBKR_TIERED_FEES, date(2024, 3, 4), "2.5737"),
        (IBKR_FEES, date(2020, 10, 1), "2.6476"),
    ):
        fees = schedule.on(day)
        passed_on = sum(fees.passed_on(SPXW, BUY, D(2), D(47)).values())
        assert fees.commission(SPXW, D(2), D(47)) + passed_on == D(published)
        assert fees.fee(SPXW, BUY, D(2), D(47)) == D(published).quantize(D("0.01"), ROUND_HALF_UP)


@pytest.mark.parametrize(("root", "future", "on_it"), [("ES", "2.25", "1.42"), ("MNQ", "0.62", "0.47")])
def test_futures_and_options_on_them_pay_their_own_fee(root, future, on_it):
    schedule = IBKR_FEES.on(date(2024, 3, 4))
    assert schedule.per_future[root] == D(future)
    assert schedule.per_future_option[root] == D(on_it)
    assert schedule.per_future.keys() == FUTURES.keys()


# laws -------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 900)), min_size=1, max_size=8),
    st.sampled_from([ALPACA_FEES, IBKR_FEES, IBKR_TIERED_FEES]),
)
def test_an_order_in_pieces_pays_its_minimum_and_the_days_rounding_once(pieces, fees):
    """The pieces have one price: together they cost what the order costs whole."""
    schedule, so_far, price = fees.on(date(2025, 3, 3)), FeesSoFar(), D(pieces[0][1]) / 100
    paid = [schedule.fee(option("C"), BUY, D(units), price, order="a", so_far=so_far) for units, _ in pieces]
    whole = schedule.fee(option("C"), BUY, D(sum(units for units, _ in pieces)), price)
    assert sum(paid) == whole
    assert min(paid) >= 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([share(), option("C")]),
            st.sampled_from(Side),
            st.integers(1, 300),
            st.integers(1, 60_000),
        ),
        min_size=1,
        max_size=30,
    ),
    st.dates(date(2014, 3, 18), date(2027, 1, 1)),
)
def test_a_day_at_alpaca_costs_the_sum_of_its_kinds_each_rounded_up(trades, day):
    """One line a kind, as its statement has them: worked out by the rates, not by the schedule's own sums."""
    schedule, so_far = ALPACA_FEES.on(day), FeesSoFar()
    paid, kinds = D(0), dict.fromkeys(("REG", "TAF", "CAT", "ORF", "OCC"), D(0))
    for instrument, side, quantity, cents in trades:
        price, units, contracts = D(cents) / 100, D(quantity) * instrument.multiplier, D(0)
        paid += schedule.fee(instrument, side, D(quantity), price, so_far=so_far)
        kinds["CAT"] += units * schedule.cat_per_share
        if instrument.is_option:
            contracts = D(quantity)
            kinds["ORF"] += contracts * schedule.orf_per_contract
            kinds["OCC"] += contracts * schedule.occ_per_contract
        if side is SELL:
            kinds["REG"] += units * price * schedule.section_31_per_million / 1_000_000
            per_share = min(D(quantity) * schedule.taf_per_share, schedule.taf_cap)
            kinds["TAF"] += contracts * schedule.taf_per_contract or per_share
    assert paid == sum(total.quantize(D("0.01"), ROUND_UP) for total in kinds.values())


def test_ten_iron_condors_in_and_out_twice_cost_what_the_schedule_of_today_says():
    """160 contracts, half of them sold for 12,900 USD: 2.40 + 4.00 + .048 + .2632 + .2657, each kind up."""
    schedule, so_far, paid = ALPACA_FEES.on(date(2026, 11, 30)), FeesSoFar(), D(0)
    for side, price in ((SELL, "2.10"), (BUY, "0.40"), (SELL, "1.125"), (BUY, "0.35")) * 4:
        paid += schedule.fee(option("C"), side, D(10), D(price), so_far=so_far)
    assert paid == D("6.99")


def test_another_order_pays_its_own_minimum():
    so_far, schedule = FeesSoFar(), FeeSchedule(per_contract=D("0.65"), minimum_per_order=D(1))
    paid = [schedule.fee(option("C"), BUY, D(1), D(2), order=name, so_far=so_far) for name in "aaba"]
    assert paid == [D("1"), D("0.30"), D("1"), D("0.65")]


def test_options_on_an_index_pay_no_section_31():
    sold = ALPACA.fee(SPX, SELL, D(1), D(50))
    assert sold - ALPACA.fee(SPX, BUY, D(1), D(50)) <= D("0.01")
    assert ALPACA.fee(option("C"), SELL, D(1), D(50)) - sold == D("0.14")  # .139


@given(st.dates(date(2000, 1, 1), date(2030, 1, 1)), st.sampled_from([ALPACA_FEES, IBKR_TIERED_FEES]))
def test_every_row_that_stands_in_is_named(day, fees):
    rows = {row.name: row for row in fees.rows(day)}
    assumed = schedule_used(fees, day, day)["assumed"]
    assert assumed.keys() == {name for name, row in rows.items() if not row.is_in_force}
    assert all(row.source for row in rows.values())
    if fees is ALPACA_FEES:
        assert (fees.name in assumed) is not (date(2024, 1, 1) <= day <= date(2026, 7, 20))


@given(st.dates(date(2026, 7, 21), date(2040, 1, 1)), st.sampled_from([ALPACA_FEES, IBKR_FEES, DERIBIT_FEES]))
def test_after_the_day_on_which_its_page_was_read_no_row_is_in_force(day, fees):
    """Nobody knows today what is charged tomorrow: each row says until when it is known."""
    assert not any(row.is_in_force for row in fees.rows(day))
    assert schedule_used(fees, day, day)["assumed"].keys() == {row.name for row in fees.rows(day)}


def test_the_orf_of_a_broker_is_that_of_no_other():
    """From July 2026 only the executing exchange charges: Alpaca's sum is its own."""
    day = date(2026, 7, 20)
    assert [fees.on(day).orf_per_contract for fees in (ALPACA_FEES, IBKR_FEES)] == [D("0.015"), D("0.02815")]
    assert "orf" in schedule_used(IBKR_FEES, day, day)["assumed"]


def test_a_schedule_says_its_newest_row_and_what_it_assumes():
    used = schedule_used(ALPACA_FEES, date(2025, 5, 13), date(2025, 5, 14))
    assert used == {"name": "alpaca", "since": "2025-03-03", "until": "2025-05-14", "assumed": {}}
    late = schedule_used(ALPACA_FEES, date(2026, 7, 1), date(2026, 7, 1))
    assert late["assumed"] == {"orf": "2025-03-03", "cat": "2025-07-01"}


def test_an_unknown_broker_is_refused():
    with pytest.raises(ArgumentError, match="alpaca"):
        BrokerFees("nobody").on(date(2025, 1, 2))
