"""An expiry day in figures, worked by hand; and that settlement at any level leaves what was foretold."""

import math
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scalpdesk.closing.expiry_day import AFTER_CLOSE_DEVIATION, FARTHEST, ExpiringLeg, expiry_day
from scalpdesk.core.units import ZERO
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.deadlines import ALPACA_CUTOFF, NO_CUTOFF, NOTICE_CUTOFFS
from scalpdesk.instruments.deribit import deribit_option
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.instruments.settlement import settle_option
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import at

D = Decimal
BOOK = straddle_book(495, 500, 505, expiry=DAY)
SHARE, CALL_495, PUT_495, CALL_500, PUT_500, CALL_505, PUT_505 = range(7)


def day(held, now="15:30", spot=500.5, vol=0.2, shares=0, mark=None, **more):
    legs = [ExpiringLeg(BOOK[number], D(units), spot, mark, vol) for number, units in held.items()]
    return expiry_day(legs, {"SPY": D(shares)}, at(now), cutoff=ALPACA_CUTOFF, **more)


def test_half_an_hour_before_the_end_by_hand():
    """20 % a year is 0.151 % in 30 minutes, and 0.251 % with what is left until 17:30."""
    (leg,) = day({CALL_500: -3}, notices=NOTICE_CUTOFFS["alpaca"], mark=1.1).legs
    deviation = math.hypot(0.2 * math.sqrt(30 / (365 * 24 * 60)), AFTER_CLOSE_DEVIATION)
    assert deviation == pytest.approx(0.00251, abs=5e-6)
    assert leg.distance == pytest.approx(math.log(500.5 / 500) / deviation)
    assert leg.chance == pytest.approx(0.6549, abs=2e-4)
    assert (leg.minutes, leg.is_pinned) == (30, True)
    assert (leg.exercised, leg.held) == (-150.0, pytest.approx(-330.0))
    assert (leg.shares, leg.cash) == (-300, 150_000)
    stamps = leg.order_cutoff_ns, leg.expires_ns, leg.notice_ns, leg.deadline_ns
    assert [f"{to_new_york(ns):%H:%M}" for ns in stamps] == ["15:30", "16:00", "16:00", "17:30"]


def test_a_put_is_in_the_money_below_its_strike_and_a_pin_is_so_wide():
    figures = {leg.symbol[9]: leg.distance for leg in day({CALL_500: 1, PUT_500: 1}).legs}
    assert figures["C"] == -figures["P"] > 0
    assert not day({CALL_500: 1}, pin_deviations=0.3).legs[0].is_pinned
    assert day({CALL_500: 1}, pin_deviations=0.4).legs[0].is_pinned


def test_tomorrow_with_a_hedge_a_sure_leg_and_a_pin():
    """495 calls are far in the money, 500 puts pinned, 505 calls far out of it."""
    (night,) = day({CALL_495: 2, PUT_500: -1, CALL_505: -5}, spot=500.2, vol=0.15, shares=-150).tomorrow
    assert (night.now, night.by_spot) == (-150, 50)
    assert (night.least, night.most) == (50, 150)
    put = BOOK[PUT_500].symbol
    assert (night.exercised[put], night.not_exercised[put]) == (150, 50)
    assert night.exercised[BOOK[CALL_495].symbol] == 50
    assert night.not_exercised[BOOK[CALL_495].symbol] == -150


def test_after_the_close_only_what_owners_still_decide_is_open():
    (pinned, sure) = day({PUT_500: -1, CALL_505: 1}, now="16:30").legs
    assert (pinned.minutes, pinned.is_pinned) == (0, True)
    assert pinned.distance == pytest.approx(math.log(500 / 500.5) / AFTER_CLOSE_DEVIATION)
    assert not sure.is_pinned
    (over,) = day({PUT_500: -1}, now="17:30").legs
    assert (over.distance, over.is_pinned) == (-FARTHEST, False)


def test_without_a_price_or_a_volatility_nothing_is_foretold_but_the_shares():
    for unknown in ({"spot": None}, {"vol": None}):
        found = day({PUT_500: -1}, **unknown)
        (leg,), (night,) = found.legs, found.tomorrow
        assert (leg.distance, leg.chance, leg.is_pinned) == (None, None, False)
        assert (night.by_spot, night.least, night.most) == (None, 0, 100)


def test_options_of_other_days_are_left_out_and_those_in_cash_leave_no_shares():
    book = straddle_book(500, expiry=DAY + timedelta(days=1))
    index = us_option("SPXW240304C05000000", ["SPX", "SPXW"])
    legs = [ExpiringLeg(book[1], D(1), 500.0, 1.0, 0.2), ExpiringLeg(index, D(-1), 5_001.0, 9.0, 0.2)]
    found = expiry_day(legs, {}, at("15:00"), cutoff=NO_CUTOFF)
    assert [leg.symbol for leg in found.legs] == [index.symbol]
    assert (found.legs[0].shares, found.legs[0].notice_ns, found.tomorrow) == (0, None, ())
    assert found.legs[0].exercised == -100.0


def test_an_option_on_a_coin_expires_at_eight_of_the_next_morning():
    coin = deribit_option("BTC-5MAR24-60000-C")
    leg = ExpiringLeg(coin, D("-0.5"), 61_000.0, 0.017, 0.6)
    (found,) = expiry_day([leg], {}, at("15:00"), cutoff=NO_CUTOFF).legs
    assert found.minutes == 12 * 60
    assert found.exercised == pytest.approx(-0.5 * 1_000 / 61_000)
    assert expiry_day([leg], {}, at("02:00"), cutoff=NO_CUTOFF).legs == ()


@given(
    held=st.dictionaries(st.integers(1, 6), st.integers(-4, 4).filter(bool), min_size=1, max_size=5),
    shares=st.integers(-300, 300),
    spot=st.floats(493.0, 507.0),
    level=st.integers(49_300, 50_700),
)
def test_settlement_within_the_pin_leaves_shares_between_least_and_most(held, shares, spot, level):
    """Whatever the level is, if no option that is not pinned changes sides with it."""
    found = day(held, spot=spot, shares=shares, now="15:50")
    (night,) = found.tomorrow
    price = D(level) / 100
    ended = D(shares)
    by_symbol = {leg.symbol: leg for leg in found.legs}
    for number, units in held.items():
        option = BOOK[number]
        pays = (price - option.strike) * (1 if option.is_call else -1) > 0
        leg = by_symbol[option.symbol]
        assume(leg.is_pinned or pays == (leg.distance > 0))
        changes = settle_option(option, number, SHARE, D(units), price, 0)
        ended += sum((each.quantity_change for each in changes if each.instrument_id == SHARE), ZERO)
    assert night.least <= ended <= night.most
    assert night.least <= night.by_spot <= night.most
