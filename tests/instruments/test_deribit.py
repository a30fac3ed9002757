from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import Side
from scalpdesk.instruments.contract import LinearPerpetual, Right, Settlement
from scalpdesk.instruments.deribit import (
    DERIBIT_FEES,
    deribit_option,
    funding_payment,
    funding_rate,
    hedge_unit,
    inverse_perpetual,
    is_linear,
    option_name,
    perpetual,
)
from scalpdesk.instruments.sessions import coin_session, expiry_instant_ns, final_close_ns, from_ns
from scalpdesk.instruments.ticks import TickRule

D = Decimal
HALF = TickRule(D("0.5"))
FEES = DERIBIT_FEES.on(date(2026, 3, 2))
CALL = deribit_option("BTC-6MAR26-87000-C")


def test_a_name_holds_the_terms_of_an_option():
    assert (CALL.root, CALL.underlying, CALL.currency) == ("BTC", "BTC-PERPETUAL", "BTC")
    assert (CALL.expiry, CALL.strike, CALL.right) == (date(2026, 3, 6), D(87_000), Right.CALL)
    assert (CALL.settlement, CALL.multiplier, CALL.is_inverse) == (Settlement.CASH_MEAN, 1, True)
    assert [CALL.tick_rule.tick_at(D(price)) for price in ("0.005", "0.0051")] == [D("0.0001"), D("0.0005")]


@pytest.mark.rows(
    "symbol", ["BTC_USDC-PERPETUAL", "SOL_USDC-PERPETUAL", "SOL-PERPETUAL", "BTC-25DEC26", "BTC_USDC", "SPY"]
)
def test_only_an_inverse_perpetual_is_one(symbol):
    """``BTC_USDC-PERPETUAL`` was taken for the inverse perpetual of Bitcoin."""
    with pytest.raises(ArgumentError) as refused:
        inverse_perpetual(symbol)
    assert refused.value.value in (symbol, "SOL")
    assert inverse_perpetual("ETH-PERPETUAL") == perpetual("ETH")


@given(st.sampled_from(["BTC", "ETH", "SOL"]), st.sampled_from(["", "_USDC", "_USDT"]), st.sampled_from("CP"))
def test_a_name_is_linear_exactly_where_its_option_is_not_inverse(coin, dollars, right):
    option = deribit_option(f"{coin}{dollars}-25DEC26-100-{right}")
    assert is_linear(option.symbol) is is_linear(option.underlying) is not option.is_inverse
    assert hedge_unit(option.underlying) == ("contracts" if option.is_inverse else coin)


def test_a_linear_option_is_settled_in_the_dollar_coin_and_may_have_a_decimal_strike():
    option = deribit_option("SOL_USDC-25DEC26-87d5-P")
    assert (option.root, option.underlying) == ("SOL_USDC", "SOL_USDC-PERPETUAL")
    assert (option.currency, option.strike, option.is_inverse) == ("USDC", D("87.5"), False)


@given(
    st.sampled_from(["BTC", "ETH", "BTC_USDC"]),
    st.dates(date(2020, 1, 1), date(2059, 12, 31)),
    st.integers(1, 10**7).map(lambda tenths: D(tenths) / 10),
    st.sampled_from(Right),
)
def test_a_name_is_read_back_as_it_was_written(root, expiry, strike, right):
    name = option_name(root, expiry, strike, right)
    option = deribit_option(name)
    assert (option.root, option.expiry, option.strike, option.right) == (root, expiry, strike, right)
    assert option.symbol == name


@pytest.mark.rows("name", ["BTC-PERPETUAL", "BTC-06MAR2026-1-C", "BTC-31FEB26-1-C", "BTC-6MAR26-1-X"])
def test_a_name_that_is_no_option_is_refused_with_its_form(name):
    with pytest.raises(ArgumentError, match="instrument_name"):
        deribit_option(name)


def test_only_btc_and_eth_have_an_inverse_perpetual():
    assert perpetual("ETH").contract_usd == 1
    with pytest.raises(ArgumentError, match="SOL"):
        perpetual("SOL")


def test_options_expire_at_eight_utc_of_any_day():
    sunday = deribit_option("BTC-8MAR26-87000-C")
    assert from_ns(expiry_instant_ns(sunday)) == datetime(2026, 3, 8, 8, tzinfo=UTC)
    assert final_close_ns(sunday) == expiry_instant_ns(sunday)


@given(st.dates(date(2020, 1, 1), date(2050, 1, 1)))
def test_days_of_account_follow_one_another_without_a_gap(day):
    session, following = coin_session(day), coin_session(date.fromordinal(day.toordinal() + 1))
    assert session.close_ns == following.open_ns
    assert session.close_ns - session.open_ns == 86_400 * 10**9


PRICES = st.integers(1_000, 500_000).map(D)


@given(st.integers(-(10**5), 10**5).filter(bool).map(D), PRICES, PRICES)
def test_a_round_trip_in_the_perpetual_earns_the_difference_of_the_inverse_prices(contracts, entry, leave):
    swap = perpetual("BTC")
    earned = swap.cash_flow(contracts, entry) + swap.cash_flow(-contracts, leave)
    exact = contracts * 10 * (leave - entry) / (entry * leave)
    assert earned == pytest.approx(exact, rel=D("1e-20"), abs=D("1e-20"))


def test_a_linear_perpetual_pays_as_a_share_does():
    swap = LinearPerpetual("BTC_USDC-PERPETUAL", HALF)
    assert swap.cash_flow(D("0.25"), D(80_000)) == D(-20_000)


# fees, funding ------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("price", "quantity", "fee"),
    [
        ("0.02", "2", "0.0006"),
        ("0.001", "5", "0.000625"),
        ("0.0024", "1", "0.0003"),
        ("0.0001", "1", "0.0000125"),
    ],
)
def test_the_fee_of_an_option_is_at_most_an_eighth_of_its_premium(price, quantity, fee):
    assert FEES.fee(CALL, Side.BUY, D(quantity), D(price)) == D(fee)
    assert FEES.fee(CALL, Side.SELL, D(quantity), D(price)) == D(fee)


def test_a_perpetual_pays_five_basis_points_of_its_coins():
    assert FEES.fee(perpetual("BTC"), Side.SELL, D(10_000), D(50_000)) == D("0.001")
    assert FEES.fee(LinearPerpetual("BTC_USDC-PERPETUAL", HALF), Side.BUY, D(2), D(50_000)) == D(50)


def test_the_examples_of_the_fees_page():
    """Deribit support, article 25944746248989, undated, and its page of about 2019."""
    maker = {"is_maker": True}
    for coin, dollars, price, taken in (
        ("BTC", 50_000, 100_000, "0.00025"),
        ("ETH", 20_000, 4_000, "0.0025"),
    ):
        terms = perpetual(coin), Side.BUY, D(dollars) / perpetual(coin).contract_size, D(price)
        assert (FEES.fee(*terms), FEES.fee(*terms, **maker)) == (D(taken), 0)
    then = DERIBIT_FEES.on(date(2019, 6, 3))
    assert then.fee(CALL, Side.BUY, D(1), D("0.1")) == D("0.0004")
    assert then.fee(CALL, Side.BUY, D(1), D("0.0001")) == D("0.0000125")
    terms = perpetual("BTC"), Side.BUY, D(1_000), D(10_000)
    assert (then.fee(*terms), then.fee(*terms, **maker)) == (D("0.00075"), D("-0.00025"))


def test_the_cheaper_side_of_a_combo_is_free():
    """Release note of 2022-08-18; before it every leg paid."""
    bought, sold = (CALL, Side.BUY, D(1), D("0.02")), (CALL, Side.SELL, D(1), D("0.001"))
    assert FEES.free_side([bought, sold]) is Side.SELL
    assert FEES.free_side([bought, bought]) is None
    assert DERIBIT_FEES.on(date(2019, 6, 3)).free_side([bought, sold]) is None


def test_a_linear_option_pays_its_fee_on_the_strike():
    option = deribit_option("BTC_USDC-25DEC26-100000-C")
    assert FEES.fee(option, Side.BUY, D("0.5"), D(2_000)) == D(15)
    assert FEES.fee(option, Side.BUY, D("0.5"), D(40)) == D("2.5")


def test_the_fee_of_a_delivery_is_capped_as_well():
    assert FEES.delivery(CALL, D("0.2")) == D("0.00015")
    assert FEES.delivery(CALL, D("0.0004")) == D("0.00005")


@pytest.mark.rows("day", ["5MAR26", "7MAR26", "8MAR26", "31MAR26"])
def test_the_delivery_of_a_daily_option_is_free(day):
    """Weekly, monthly and quarterly options expire on Fridays; 31 March 2026 is a Tuesday."""
    assert FEES.delivery(deribit_option(f"BTC-{day}-87000-C"), D("0.2")) == 0
    assert FEES.delivery(deribit_option("BTC-27MAR26-87000-C"), D("0.2")) == D("0.00015")


MARKS = st.integers(90_000, 110_000).map(D)


@given(MARKS, MARKS)
def test_the_funding_rate_is_damped_near_the_index_and_capped_far_from_it(mark, index):
    rate, premium = funding_rate(mark, index), (mark - index) / index
    if abs(premium) <= D("0.00025"):
        assert rate == 0
    assert abs(rate) == pytest.approx(min(max(abs(premium) - D("0.00025"), 0), D("0.005")), abs=D("1e-20"))
    assert rate * premium >= 0


@given(st.integers(-(10**6), 10**6).map(D), MARKS, MARKS)
def test_what_longs_pay_shorts_receive(amount, mark, index):
    rate = funding_rate(mark, index)
    paid = funding_payment(amount, index, rate, D(8))
    assert paid == -funding_payment(-amount, index, rate, D(8))
    assert amount * rate * paid <= 0
