"""Assignment of sold options before their end, and by what happens after the close."""

import math
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.intents import OrderType, Side, TimeInForce
from scalpdesk.core.units import DAY_SECONDS, NANOS_PER_SECOND
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.instruments.deadlines import notice_deadline_ns
from scalpdesk.instruments.sessions import expiry_instant_ns, next_session, session_on
from scalpdesk.marketdata.tape import CashDividend, Morning, RateCurve
from scalpdesk.portfolio.option_pricer import exercise_gain
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.assignment import RANDOM_PART, AssignmentTerms
from scalpdesk.simulation.broker import Broker
from scalpdesk.simulation.fills import fill_model
from scalpdesk.simulation.hours import ExchangeHours
from scalpdesk.simulation.order_entry import VenueRules
from scalpdesk.simulation.orders import Booking, OrderRequest, Status
from scalpdesk_testing.kit.exchange import Bench
from scalpdesk_testing.kit.instruments import DAY, EXPIRY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at, quote

D = Decimal
SHARE, CALL, PUT = 0, 1, 2
RATE = 0.02
TUESDAY = DAY + timedelta(days=1)


class Night:
    """A broker over the night that follows a close: a straddle on SPY, quoted at the close."""

    def __init__(
        self,
        positions,
        *,
        spot=500.0,
        call=50.1,
        put=0.1,
        strike=450,
        day=DAY,
        rate=RATE,
        book=None,
        rules=None,
        **terms,
    ):
        book = straddle_book(strike) if book is None else book
        cross = fill_model("cross")
        self.broker = Broker(
            book,
            ExchangeHours(),
            cross,
            cross,
            rules=rules,
            assignment=AssignmentTerms(**terms),
            keeps_history=True,
        )
        self.day, self.session = day, session_on(day)
        self.broker.assignment.published = lambda _day: Morning(RateCurve((1.0,), (rate,)), self.interest, ())
        self.interest = {one.symbol: 1_000 for one in book if one.is_option}
        self.accounts = []
        for each in positions if isinstance(positions, list) else [positions]:
            held = {number: (D(units), D(9)) for number, units in each.items()}
            own = AccountTerms(name=f"a{len(self.accounts)}", cash=D(100_000), positions=held)
            self.accounts.append(self.broker.open_account(own))
        self.account = self.accounts[0]
        self.broker.open_session(self.session.open_ns, self.session.close_ns)
        for number, mid, half in ((SHARE, spot, 0.01), (CALL, call, 0.05), (PUT, put, 0.05)):
            if mid is not None:
                self.broker.on_quote(quote(number, self.session.close_ns - 1, mid - half, mid + half))

    def pays(self, amount, ex_date, symbol="SPY"):
        dividend = CashDividend(symbol, ex_date, D(amount))
        self.broker.actions.schedule = (*self.broker.actions.schedule, dividend)
        return self

    def close(self):
        self.broker.drain()
        self.broker.close_session(self.session.close_ns)
        assert self.broker.drain() == []  # the account is not told in the evening
        return self

    def morning(self):
        session = next_session(self.day)
        self.broker.open_session(session.open_ns, session.close_ns)
        self.day, self.session = session.day, session
        return [one.change for one in self.broker.drain() if isinstance(one, Booking)]

    def assigned(self):
        return sum(each.quantity_change for each in self.close().morning() if each.cause == "assignment")


def test_a_call_sold_without_shares_owes_the_dividend_too():
    """By hand: dividend 1.75, put 0.10, interest on 450 until April 19 1.13: exercise gains 0.52."""
    night = Night({CALL: -1}).pays("1.75", TUESDAY).close()
    gone, delivered, paid = night.morning()
    assert (gone.cause, gone.quantity_change, gone.cash_change) == (ChangeCause.ASSIGNMENT, 1, 0)
    assert (delivered.quantity_change, delivered.price, delivered.cash_change) == (-100, 450, 45_000)
    assert (paid.cause, paid.cash_change) == (ChangeCause.DIVIDEND, D("-175.00"))
    assert (gone.ts_event_ns, gone.ts_recv_ns) == (session_on(DAY).close_ns, at("07:30", TUESDAY))
    assert paid.ts_recv_ns == session_on(TUESDAY).open_ns
    assert {number: held.quantity for number, held in night.account.holdings.items()} == {SHARE: -100}
    assert night.account.cash == D("144825.00")


def test_a_covered_call_gives_up_its_shares_and_their_dividend():
    night = Night({CALL: -1, SHARE: 100}).pays("1.75", TUESDAY).close()
    assert [one.cause for one in night.morning()] == ["assignment", "delivery"]
    assert (night.account.holdings, night.account.cash) == ({}, D(145_000))


@pytest.mark.rows(
    ("amount", "put", "rate", "is_assigned"),
    [
        ("1.24", 0.1, RATE, True),  # 1.24 - 0.10 - 1.13 = 0.01
        ("1.22", 0.1, RATE, False),
        ("1.75", 0.7, RATE, False),  # the put that comes with holding is worth too much
        ("0.12", 0.1, 0.0, True),
        ("0.10", 0.1, 0.0, False),
    ],
)
def test_the_dividend_pays_for_put_and_interest(amount, put, rate, is_assigned):
    night = Night({CALL: -3}, put=put, rate=rate).pays(amount, TUESDAY)
    assert night.assigned() == (3 if is_assigned else 0)


def test_nothing_but_a_dividend_of_this_share_that_goes_ex_tomorrow_takes_a_call_away():
    assert Night({CALL: -1}).assigned() == 0
    assert Night({CALL: -1}).pays("1.75", DAY).assigned() == 0
    assert Night({CALL: -1}).pays("1.75", TUESDAY + timedelta(days=1)).assigned() == 0
    assert Night({CALL: -1}).pays("1.75", TUESDAY, "IVV").assigned() == 0
    special = Night({CALL: -1})  # the strike goes down with it
    special.broker.actions.schedule = [
        CorporateAction(symbol="SPY", ex_date=TUESDAY, kind=ActionKind.SPECIAL_DIVIDEND, cash=D("1.75"))
    ]
    assert special.close().broker.assignment.waiting == []
    assert Night({CALL: 1}).pays("1.75", TUESDAY).assigned() == 0
    assert Night({CALL: -1}, spot=449.0, call=5.0, put=5.0).pays("13", TUESDAY).assigned() == 0
    assert Night({CALL: -1}, early="off").pays("1.75", TUESDAY).assigned() == 0


def test_over_a_weekend_the_ex_date_is_monday():
    friday = DAY + timedelta(days=4)
    night = Night({CALL: -1}, day=friday).pays("1.75", friday + timedelta(days=3))
    assert night.assigned() == 1
    assert night.day == friday + timedelta(days=3)


def test_without_a_quote_of_the_put_its_value_is_that_of_the_calls_volatility():
    for call, is_assigned in ((52.0, True), (60.0, False)):
        night = Night({CALL: -1}, call=call, put=None, rate=0.0).pays("3.00", TUESDAY)
        assert night.assigned() == is_assigned
    assert Night({CALL: -1}, call=None, put=None).pays("3.00", TUESDAY).assigned() == 0  # nothing tells


def test_a_deep_put_is_assigned_when_interest_outweighs_the_call():
    years = (expiry_instant_ns(straddle_book(700)[PUT]) - session_on(DAY).close_ns) / (
        365 * DAY_SECONDS * NANOS_PER_SECOND
    )
    interest = 700 * -math.expm1(-0.05 * years)
    assert 4.3 < interest < 4.5
    deep = {"spot": 500.0, "strike": 700, "put": 200.0, "rate": 0.05}
    night = Night({PUT: -2}, call=0.06, **deep).close()
    gone, delivered = night.morning()
    assert (gone.cause, gone.quantity_change) == (ChangeCause.ASSIGNMENT, 2)
    assert (delivered.quantity_change, delivered.cash_change) == (200, -140_000)
    assert night.account.cash == D(-40_000)
    assert Night({PUT: -2}, call=4.6, **deep).assigned() == 0
    assert Night({PUT: -2}, call=0.06, **deep | {"rate": 0.0}).assigned() == 0
    assert Night({PUT: -2}, call=0.06, **deep).pays("4.50", EXPIRY).assigned() == 0
    assert Night({PUT: 2}, call=0.06, **deep).assigned() == 0
    tomorrow = Night({PUT: -2}, call=0.06, **deep).pays("0.50", TUESDAY)
    assert tomorrow.assigned() == 0  # a night's interest of 0.10 is less than the fall at the opening


def test_index_options_and_options_on_futures_are_never_assigned_early():
    book = Instruments([Equity("SPX")])
    for right in "CP":
        book.add(us_option(f"SPXW240419{right}00450000", ["SPX", "SPXW"]))
    night = Night({CALL: -1}, book=book)
    night.broker.actions.schedule = (CashDividend("SPX", TUESDAY, D(9)),)
    assert night.assigned() == 0


def test_a_short_call_and_a_long_one_of_another_strike_lose_the_short_alone():
    book = straddle_book(450, 460)
    night = Night({CALL: -2, 3: 2}, book=book).pays("1.75", TUESDAY).close()
    night.morning()
    assert {n: held.quantity for n, held in night.account.holdings.items()} == {3: 2, SHARE: -200}


@pytest.mark.parametrize(("turns", "status"), [(False, Status.CANCELED), (True, Status.NEW)])
def test_an_order_that_was_to_buy_it_back_does_not_outlive_it(turns, status):
    """It would open a position in the morning; only a venue whose orders may turn a holding keeps it."""
    night = Night({CALL: -1}, rules=VenueRules(turns=turns)).pays("1.75", TUESDAY)
    symbol, own = night.broker.ledger.instruments[CALL].symbol, night.account.name
    kind, price = OrderType.LIMIT, D(40)
    asked = OrderRequest(symbol, Side.BUY, kind, TimeInForce.GTC, quantity=D(1), limit_price=price)
    order = night.broker.submit(own, asked)
    assert order.status is Status.NEW
    night.close().morning()
    assert order.status is status


def test_what_is_bought_back_in_time_is_not_assigned_and_a_part_leaves_the_rest():
    night = Night({CALL: -3}).pays("1.75", TUESDAY)
    own, symbol = night.account.name, night.broker.ledger.instruments[CALL].symbol
    night.broker.submit(own, OrderRequest(symbol, Side.BUY, OrderType.MARKET, quantity=D(2)))
    assert night.account.quantity(CALL) == -1
    assert night.assigned() == 1
    assert night.account.quantity(SHARE) == -100


# chance ---------------------------------------------------------------------------------------------


def test_some_of_what_is_in_the_money_is_assigned_by_chance():
    """Ten of a thousand contracts each night: within 5 deviations of the binomial."""
    sold = 100
    drawn = [int(Night({CALL: -sold}, early="random", seed=seed).assigned()) for seed in range(150)]
    expected = RANDOM_PART * sold * len(drawn)
    assert abs(sum(drawn) - expected) < 5 * math.sqrt(expected)
    assert len(set(drawn)) > 2
    again = [int(Night({CALL: -sold}, early="random", seed=seed).assigned()) for seed in range(20)]
    assert drawn[:20] == again


def test_who_has_sold_the_whole_open_interest_gets_every_notice():
    night = Night({CALL: -1_000}, early="random", seed=4)
    assert night.assigned() in (int(1_000 * RANDOM_PART), int(1_000 * RANDOM_PART) + 1)


def test_the_order_of_accounts_changes_nothing_and_out_of_the_money_nothing_is_drawn():
    seeds = range(40)
    alone = [Night({CALL: -50}, early="random", seed=seed).assigned() for seed in seeds]
    with_others = []
    for seed in seeds:
        night = Night([{CALL: -50}, {CALL: -700}, {CALL: 3}], early="random", seed=seed).close()
        night.morning()
        with_others.append(50 + night.account.quantity(CALL))
        assert night.accounts[2].quantity(CALL) == 3
    assert alone == with_others
    assert sum(Night({PUT: -50}, early="random", seed=seed).assigned() for seed in seeds) == 0


# laws -----------------------------------------------------------------------------------------------


@given(
    spot=st.integers(1_000, 90_000),
    strike=st.integers(50, 900),
    sold=st.integers(1, 40),
    assigned=st.integers(1, 50),
    number=st.sampled_from([CALL, PUT]),
    shares=st.integers(-500, 500),
)
def test_shares_and_cash_after_an_assignment_are_worth_the_payoff(
    spot, strike, sold, assigned, number, shares
):
    """At any price of the share the account is as much worse off as exercise pays, to the cent."""
    held = {number: -sold} | ({SHARE: shares} if shares else {})
    night = Night(held, strike=strike)
    price, account = D(spot) / 100, night.account
    before = account.cash + account.quantity(SHARE) * price
    assert night.broker.expiry.assign(account.name, number, D(assigned))
    contracts = min(sold, assigned)
    after = account.cash + account.quantity(SHARE) * price
    pays = (price - strike) * (1 if number == CALL else -1)
    assert after - before == -100 * contracts * pays
    assert account.quantity(number) == contracts - sold


@given(
    dividend=st.floats(0.0, 5.0),
    put=st.floats(0.0, 5.0),
    rate=st.floats(0.0, 0.1),
    years=st.floats(0.003, 1.0),
)
def test_no_call_gains_more_than_its_dividend_and_no_put_more_than_a_nights_interest(
    dividend, put, rate, years
):
    book = straddle_book(450)
    night = {"rate": rate, "years": years, "night_years": min(years, 1 / 365), "tonight": dividend}
    night |= {"ahead": dividend, "put_price": lambda: 150.0}
    assert exercise_gain(book[CALL], 500.0, put, **night) <= dividend
    sold = exercise_gain(book[PUT], 300.0, put, **night)
    assert sold <= 450.0 * -math.expm1(-rate / 365)
    assert sold <= 0.0 or rate * years * 450 > put


# after the close ------------------------------------------------------------------------------------


def at_expiry(move, seed, held=None, spot=450.3):
    night = Night(held or {CALL: -1, PUT: -1}, book=straddle_book(450, expiry=DAY), spot=spot, call=0.3,
                  after_close_move=move, seed=seed)  # fmt: skip
    night.broker.drain()
    night.broker.expiry.close_session(night.session.close_ns)
    night.broker.close_session(night.session.close_ns)
    night.broker.advance(at("07:29:59", TUESDAY))  # nobody knows before: the pin is held over the night
    assert night.account.quantity(SHARE) == 0
    night.morning()
    return night.account


def test_an_assignment_of_the_expiry_day_is_stamped_with_the_nights_clearing_and_at_the_strike():
    seen = []
    for seed in range(20):
        night = Night({PUT: -1}, book=straddle_book(450, expiry=DAY), spot=450.005, put=0.05,
                      after_close_move=0.003, seed=seed)  # fmt: skip
        night.broker.expiry.close_session(night.session.close_ns)
        night.close()
        changes = [each for each in night.morning() if each.cause in ("assignment", "delivery")]
        seen.append(bool(changes))
        for each in changes:
            assert notice_deadline_ns(DAY) < each.ts_recv_ns == cleared_ns(session_on(DAY).close_ns)
        assert night.account.quantity(SHARE) == (100 if changes else 0)
    assert {True, False} == set(seen)


def test_a_move_after_the_close_assigns_what_was_out_of_the_money():
    """One price decides for every option on a share; who is long is exercised by the close."""
    came = [at_expiry(0.003, seed).quantity(SHARE) for seed in range(60)]
    assert set(came) <= {-100, 0, 100}
    assert 30 < came.count(-100) < 60  # 450.30 is 0.2 deviations above the strike
    assert came.count(100) > 10
    assert came == [at_expiry(0.003, seed).quantity(SHARE) for seed in range(60)]
    assert {at_expiry(0.003, seed, {CALL: 1}).quantity(SHARE) for seed in range(20)} == {100}
    assert {at_expiry(0.0, seed).quantity(SHARE) for seed in range(20)} == {-100}


# the served exchange --------------------------------------------------------------------------------


def test_the_served_account_learns_of_it_two_hours_before_the_opening():
    days = (DAY, TUESDAY)
    builder = TapeBuilder(straddle_book(450), days=days, vol=0.08)
    for day in days:
        builder.spot("09:30", 500.0, day=day).spot("15:59", 500.0, day=day)
    tape = builder.dividend("1.75", TUESDAY).build()
    bench = Bench(TapeSource(tape), cash=1_000_000)
    bench.world.advance_to(at("09:31"))
    call = tape.instruments[CALL].symbol
    bench.order(symbol="SPY", qty=100)
    bench.order(symbol=call, side="sell")
    cash = bench.world.ledger.accounts["account-1"].cash
    bench.world.advance_to(at("07:29", TUESDAY))
    assert {one["symbol"]: one["qty"] for one in bench.get("/v2/positions")} == {"SPY": "100", call: "-1"}
    bench.world.advance_to(at("07:30", TUESDAY))
    assert bench.get("/v2/positions") == []
    assert bench.world.ledger.accounts["account-1"].cash == cash + 45_000
    told = {one["activity_type"]: one for one in bench.get("/v2/account/activities")}
    assert (told["OPASN"]["qty"], told["OPTRD"]["qty"], told["OPTRD"]["price"]) == ("1", "-100", "450")
    assert told["OPTRD"]["net_amount"] == "45000"
    bench.world.advance_to(at("09:31", TUESDAY))
    assert "DIV" not in {one["activity_type"] for one in bench.get("/v2/account/activities")}
