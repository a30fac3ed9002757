"""Margin of whole accounts: figures, bounds, refusals in words, cash accounts and accounts in coin."""

import datetime as dt
from decimal import Decimal

import pytest

from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.core.refusals import Cause
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.margin.coin import CoinMargin, coin_requirement
from scalpdesk.margin.holdings import Holding, Requirement, by_underlying, merged
from scalpdesk.margin.pairing import Pairing, out_of_the_money, share_requirement, uncovered_risk
from scalpdesk.margin.regulation_t import (
    COVERED,
    LONG_OPTIONS,
    SPREADS,
    UNCOVERED,
    RegulationT,
    least_options_level,
    short_share_bound,
)
from scalpdesk_testing.field_formulas import day_trade_rule, requirement
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import quote

D = Decimal
SHARE = Equity("XYZ")
MODEL = RegulationT()


def share(quantity, price=100):
    return Holding(SHARE, D(quantity), D(str(price)))


def option(right, strike, quantity, price, *, expiry="261218"):
    return Holding(
        us_option(f"XYZ{expiry}{right}{int(strike * 1000):08d}", ["XYZ"]), D(quantity), D(str(price))
    )


def account(positions=None, *, cash=100_000, mids=(500, 9, 8), **terms):
    """Return an account at a broker that has seen SPY, its call and its put at these mids."""
    connection = connect(straddle_book(500), cash=cash, positions=positions, **terms)
    for number, mid in enumerate(mids):
        connection.on_quote(quote(number, 1, mid - 0.5, mid + 0.5))
    made = connection.account
    made.connection = connection
    return made


def wanted(made, number, quantity, price):
    return Holding(made.connection.broker.ledger.instruments[number], D(quantity), D(str(price)))


# single positions -----------------------------------------------------------------------------------


@pytest.mark.rows(
    ("quantity", "price", "initial", "maintenance"),
    [
        (0, 100, 0, 0),
        (1, 100, 50, 25),
        (-1, 100, 50, 30),
        (-1, 20, 10, 6),
        (-1, 16, 8, 5),
        (-1, 10, 5, 5),
        (-1, 5, 5, 5),
        (-1, "4.99", "4.99", "4.99"),
        (-1, "2.50", "2.50", "2.50"),
        (-1, 1, "2.50", "2.50"),
    ],
)
def test_a_share_asks_for_half_and_a_sold_one_for_its_floor_at_least(quantity, price, initial, maintenance):
    assert share_requirement(D(quantity), D(str(price))) == (D(initial), D(maintenance))


@pytest.mark.rows(("price", "most"), [(8, 5), (10, 5), (12, 6), (100, 50)])
def test_the_most_that_a_sold_share_asks_for(price, most):
    assert short_share_bound(D(price)) == most


def test_a_sold_option_asks_for_a_fifth_less_what_it_is_out_of_the_money():
    call, put = (option(right, 100, -1, 1).instrument for right in "CP")
    assert [out_of_the_money(call, D(spot)) for spot in (90, 100, 110)] == [10, 0, 0]
    assert [out_of_the_money(put, D(spot)) for spot in (90, 100, 110)] == [0, 0, 10]
    assert [uncovered_risk(call, D(spot)) for spot in (80, 95, 100, 110)] == [8, 14, 20, 22]
    assert [uncovered_risk(put, D(spot)) for spot in (80, 100, 105, 130)] == [16, 20, 16, 10]


def test_the_worth_of_a_holding_is_signed_and_in_coin_for_an_inverse_one():
    assert (share(-3).value, option("C", 100, 2, 1.5).value) == (-300, 300)
    swap = Holding(perpetual("BTC"), D(-90), D(90_000))
    assert (swap.value, Holding(perpetual("BTC"), D(-90), D(0)).value) == (D("0.01"), 0)
    assert (share(1).is_option, option("C", 100, 1, 1).is_option) == (False, True)


# pairs ----------------------------------------------------------------------------------------------


def paired(spot, *lines):
    made = Pairing(lines, D(spot))
    return made.initial, made.maintenance, made.premium, made.withheld


@pytest.mark.rows(
    ("spot", "lines", "expected"),
    [
        # sold shares cover sold puts; what the put is in the money is withheld
        (90, [share(-100, 90), option("P", 100, -1, 11)], (4_500, 2_700, 0, 1_000)),
        (110, [share(-100, 110), option("P", 100, -1, 1)], (5_500, 3_300, 0, 0)),
        # of 250 shares two hundreds are called away, and 50 are left
        (100, [share(250), option("C", 95, -3, 6)], (15_100, 8_850, 0, 1_000)),
        # the dearer sold put takes the nearest bought one
        (
            100,
            [option("P", 100, -1, 5), option("P", 90, -1, 2), option("P", 95, 1, 3)],
            (500 + 1_200 + 300, 500 + 1_200, 300, 0),
        ),
        # a bought put protects a hundred of 150 shares
        (100, [share(150), option("P", 98, 1, 2)], (7_700, 1_180 + 1_250, 200, 0)),
        # a bought call protects sold shares
        (100, [share(-150), option("C", 102, 1, 2)], (7_700, 1_220 + 1_500, 200, 0)),
        # more straddles than calls: one side's risk, and what is alone
        (
            100,
            [option("C", 100, -1, 3), option("P", 100, -2, 4)],
            (2 * 2_400 + 300, 2 * 2_400 + 300, 0, 0),
        ),
        # the smaller side is the dearer one: it pairs one of two, the other asks alone
        (
            100,
            [option("C", 100, -1, 40), option("P", 80, -2, 1)],
            (6_000 + 100 + 900, 6_000 + 100 + 900, 0, 0),
        ),
    ],
)
def test_offsetting_positions_ask_for_what_is_left(spot, lines, expected):
    assert paired(spot, *lines) == expected
    assert paired(spot, *reversed(lines)) == expected


def test_holdings_are_paired_by_underlying():
    other = Holding(Equity("ABC"), D(100), D(10))
    groups = by_underlying([share(1), option("C", 100, 1, 1), other])
    assert {symbol: len(lines) for symbol, lines in groups.items()} == {"XYZ": 2, "ABC": 1}
    spots = {"XYZ": D(100), "ABC": D(10)}
    assert requirement([share(100), other], spots.__getitem__) == Requirement(D(5_500), D(2_750))


def test_an_order_is_netted_with_what_is_held():
    held = [share(10), option("C", 100, 1, 3)]
    after = merged(held, [share(-4, 120), option("P", 100, 2, 5)])
    assert [(one.instrument.symbol, one.quantity, one.price) for one in after] == [
        ("XYZ", 6, 100),
        ("XYZ261218C00100000", 1, 3),
        ("XYZ261218P00100000", 2, 5),
    ]


@pytest.mark.rows("held", [{}, {0: 10}, {0: -10}])
def test_an_order_far_from_the_market_makes_no_room_for_itself(held):
    """Shares at 500; ten million are bid for at 100, or offered at 5,000."""
    made = account(held, cash=100_000)
    for quantity, price in ((10_000_000, 100), (-10_000_000, 5_000)):
        if quantity * held.get(0, 0) >= 0:
            assert MODEL.refusal(made, [wanted(made, 0, quantity, price)]) is not None


# figures --------------------------------------------------------------------------------------------


def test_the_figures_of_a_day_traders_account():
    """100,000 less 50,000 for a hundred shares at 500 and 1,800 for two calls; one put sold for 800."""
    made = account({0: 100, 1: 2, 2: -1}, cash=100_000, options_level=UNCOVERED)
    figures = MODEL.figures(made)
    assert (figures.cash, figures.long_value, figures.short_value) == (100_000, 51_800, -800)
    assert figures.equity == 151_000
    risk = 100 * 100  # a fifth of 500, at the money
    assert figures.initial_margin == 25_000 + 1_800 + 800 + risk
    assert figures.maintenance_margin == 12_500 + 800 + risk
    night = 100_000 + 50_000 + 1_800 - figures.initial_margin
    assert figures.options_buying_power == night
    assert figures.overnight_buying_power == 2 * night
    day = 100_000 + 50_000 - figures.maintenance_margin
    assert figures.buying_power == 4 * day


@pytest.mark.parametrize(("units", "long_value", "short_value"), [("0.001", "0.5", 0), ("-0.001", 0, "-0.5")])
def test_values_below_a_dollar_count_on_their_side(units, long_value, short_value):
    figures = MODEL.figures(account({0: units}))
    assert (figures.long_value, figures.short_value) == (D(long_value), D(short_value))
    assert figures.equity == 100_000 + D(long_value) + D(short_value)


def test_a_margin_account_without_day_trading_has_twice_its_free_funds():
    figures = MODEL.figures(account({0: 100}, multiplier=2))
    assert (figures.buying_power, figures.overnight_buying_power) == (250_000, 250_000)
    assert (figures.options_buying_power, figures.maintenance_margin) == (125_000, 12_500)


def test_a_cash_account_has_its_settled_cash():
    made = account({0: 100}, multiplier=1)
    made.unsettled = D(30_000)
    figures = MODEL.figures(made)
    assert (figures.buying_power, figures.overnight_buying_power, figures.options_buying_power) == (
        70_000,
        70_000,
        70_000,
    )
    assert (figures.initial_margin, figures.equity) == (50_000, 150_000)


# bounds and refusals --------------------------------------------------------------------------------


@pytest.mark.rows(
    ("terms", "number", "quantity", "price", "fits"),
    [
        ({}, 0, 400, 500, True),  # half of 200 000
        ({}, 0, 401, 500, False),
        ({}, 0, -400, 500, True),
        ({}, 0, -401, 500, False),
        ({"shorting_enabled": False}, 0, -1, 500, False),
        ({}, 1, 111, 9, True),
        ({}, 1, 112, 9, False),
        ({}, 1, -1, 9, False),
        ({"options_level": COVERED}, 1, 1, 9, False),
        ({"options_level": LONG_OPTIONS}, 1, 1, 9, True),
        ({"multiplier": 1}, 0, 1, 500, False),
        ({"multiplier": 2}, 0, 1, 500, True),
        ({"day_trades_blocked": True}, 0, 1, 500, False),
        ({"positions": {0: 100}}, 0, 450, 500, True),  # half of what is held stands for it
        ({"positions": {0: 100}}, 0, 501, 500, False),
        ({"positions": {2: -1}}, 0, 1, 500, False),
    ],
)
def test_the_quick_bound_lets_through_what_cash_and_shares_pay(terms, number, quantity, price, fits):
    terms = dict(terms)
    made = account(terms.pop("positions", None), **terms)
    assert MODEL.fits(made, wanted(made, number, quantity, price)) is fits


def refusal(made, *lines):
    return MODEL.refusal(made, [wanted(made, *line) for line in lines])


def test_buying_power_is_refused_with_what_there_is_and_what_was_asked():
    made = account(cash=1_000)
    assert refusal(made, (0, 8, 500)) is None
    refused = refusal(made, (0, 9, 500))
    assert (refused.cause, refused.facts["buying_power"], refused.facts["cost_basis"]) == (
        Cause.BUYING_POWER,
        "4000.00",
        "4500.00",
    )
    assert refusal(made, (1, 1, 10)) is None
    refused = refusal(made, (1, 1, "10.01"))
    assert (refused.facts["buying_power"], refused.facts["cost_basis"]) == ("1000.00", "1001.00")
    overnight = account(cash=1_000, multiplier=2)
    assert refusal(overnight, (0, 4, 500)) is None
    assert refusal(overnight, (0, 5, 500)).facts["buying_power"] == "2000.00"


def test_what_frees_margin_is_never_refused():
    made = account({0: -300}, cash=1_000)  # far below its margin
    assert refusal(made, (0, 100, 500)) is None
    assert refusal(made, (0, -1, 500)).cause is Cause.BUYING_POWER
    assert refusal(made, (1, 1, 0)) is None  # without a price it takes nothing yet
    assert refusal(made, (1, 1, "0.01")).cause is Cause.BUYING_POWER


def test_shares_are_sold_short_only_where_the_account_may():
    assert refusal(account(), (0, -1, 500)) is None
    for terms in ({"shorting_enabled": False}, {"multiplier": 1}, {"shortable": frozenset({"QQQ"})}):
        refused = refusal(account(**terms), (0, -1, 500))
        assert (refused.cause, refused.facts["symbol"]) == (Cause.SHORTING, "SPY")
    assert refusal(account(day_trades_blocked=True), (0, 1, 500)).cause is Cause.DAY_TRADES


@pytest.mark.rows(
    ("level", "lines", "cause", "words"),
    [
        (0, [(1, 1, 9)], Cause.OPTIONS_LEVEL, "account not authorized to trade options"),
        (1, [(1, 1, 9)], Cause.OPTIONS_LEVEL, "account not eligible to trade long option contracts"),
        (2, [(1, 1, 9)], None, None),
        (
            2,
            [(1, 1, 9), (2, 1, 8)],
            Cause.OPTIONS_LEVEL,
            "account not eligible to trade multi-leg option orders",
        ),
        (3, [(1, 1, 9), (2, 1, 8)], None, None),
        (3, [(1, -1, 9), (2, 1, 8)], Cause.UNCOVERED_OPTION, None),
        (4, [(1, -1, 9), (2, 1, 8)], None, None),
        (1, [(2, -1, 8)], None, None),
        (3, [(1, -1, 9)], Cause.UNCOVERED_CALL, None),
        (4, [(1, -1, 9)], None, None),
    ],
)
def test_the_options_level_refuses_in_words(level, lines, cause, words):
    refused = refusal(account(options_level=level), *lines)
    assert (None if refused is None else refused.cause) is cause
    if words is not None:
        assert words in refused.reason


def test_a_call_beyond_the_shares_is_refused_with_how_many_it_needs():
    made = account({0: 150}, options_level=COVERED)
    assert refusal(made, (1, -1, 9)) is None
    refused = refusal(made, (1, -2, 9))
    assert refused.facts == refused.facts | {
        "symbol": "SPY240419C00500000",
        "required_qty": "200",
        "available_qty": "150",
        "underlying": "SPY",
    }
    closing = account({1: 2}, options_level=SPREADS)
    assert refusal(closing, (1, -2, 9), (2, 1, 8)) is None  # two are held: nothing is written
    assert refusal(closing, (1, -4, 9), (2, 1, 8)).cause is Cause.UNCOVERED_OPTION


def test_open_legs_withhold_what_they_lower_the_free_funds_by():
    made = account()
    assert MODEL.need(made, [wanted(made, 1, 2, 9)]) == 1_800
    assert MODEL.need(made, [wanted(made, 2, -1, 8)]) == 50_000 - 800  # its strike, less what it brings
    held = account({1: 2})
    assert MODEL.need(held, [wanted(held, 1, -2, 9)]) == 0


@pytest.mark.rows(
    ("legs", "shares", "together", "level"),
    [
        ([], 0, False, 0),
        ([], 0, True, SPREADS),
        ([("buy", "C", 1)], 0, False, LONG_OPTIONS),
        ([("sell", "C", 1)], 99, False, UNCOVERED),
        ([("sell", "C", 1), ("buy", "P", 1)], 100, False, LONG_OPTIONS),
        ([("sell", "P", 5)], 0, False, COVERED),
        ([("sell", "C", 1), ("buy", "P", 1)], 100, True, UNCOVERED),
        ([("sell", "C", 2), ("buy", "C", 2)], 0, True, SPREADS),
        ([("sell", "C", 3), ("buy", "C", 2)], 0, True, UNCOVERED),
    ],
)
def test_the_least_level_that_allows_to_open(legs, shares, together, level):
    rows = [(Side(side), option(right, 100, 1, 1).instrument, D(count)) for side, right, count in legs]
    assert least_options_level(rows, D(shares), as_one_order=together) == level


@pytest.mark.rows(
    ("day", "day_trades", "trades", "equity", "flagged", "blocked"),
    [
        (dt.date(2026, 6, 3), 4, 66, 24_999, True, True),
        (dt.date(2026, 6, 3), 4, 66, 25_000, True, False),
        (dt.date(2026, 6, 3), 4, 67, 1, False, False),
        (dt.date(2026, 6, 3), 3, 3, 1, False, False),
        (dt.date(2026, 6, 3), 6, 100, 1, False, False),
        (dt.date(2026, 6, 3), 7, 100, 1, True, True),
    ],
)
def test_four_day_trades_of_more_than_a_sixteenth_flag_a_day_trader(
    day, day_trades, trades, equity, flagged, blocked
):
    verdict = day_trade_rule(day, day_trades=day_trades, trades=trades, equity=D(equity))
    assert (verdict.flagged, verdict.blocked) == (flagged, blocked)


def test_under_the_new_rule_a_deficit_blocks():
    for required, blocked in ((100, False), (101, True)):
        verdict = day_trade_rule(
            dt.date(2026, 6, 4), day_trades=9, trades=9, equity=D(100), required=D(required)
        )
        assert (verdict.flagged, verdict.blocked) == (False, blocked)


# accounts in coin -----------------------------------------------------------------------------------

SWAP = perpetual("BTC")
CALL, PUT = (deribit_option(f"BTC-27MAR26-90000-{right}") for right in "CP")


def spot_of(_symbol):
    return D(100_000)


def test_a_perpetual_asks_for_its_rates_and_a_bought_option_for_nothing():
    swap = Holding(SWAP, D(-1_000), D(100_000))  # 0.1 coin
    asked = coin_requirement([swap, Holding(CALL, D(5), D("0.1"))], spot_of)
    assert asked.initial == pytest.approx(D("0.002"), abs=D("0.00001"))
    assert asked == coin_requirement([Holding(SWAP, D(1_000), D(100_000))], spot_of)
    assert coin_requirement([Holding(SWAP, D(1_000), D(0))], spot_of) == (0, 0)
    assert 0 < asked.maintenance < asked.initial


def test_each_sold_option_asks_by_its_own_terms():
    one = coin_requirement([Holding(CALL, D(-1), D("0.12"))], spot_of)
    two = coin_requirement([Holding(CALL, D(-2), D("0.12"))], spot_of)
    assert (two.initial, two.maintenance) == (2 * one.initial, 2 * one.maintenance)
    both = coin_requirement([Holding(CALL, D(-1), D("0.12")), Holding(PUT, D(-1), D("0.03"))], spot_of)
    put = coin_requirement([Holding(PUT, D(-1), D("0.03"))], spot_of)
    assert (both.initial, both.maintenance) == (one.initial + put.initial, one.maintenance + put.maintenance)
    unknown = coin_requirement([Holding(CALL, D(-1), D("0.12"))], lambda _: D(0))
    at_strike = coin_requirement([Holding(CALL, D(-1), D("0.12"))], lambda _: D(90_000))
    assert unknown == at_strike
    beside_bought = coin_requirement(
        [Holding(PUT, D(3), D("0.03")), Holding(CALL, D(-1), D("0.12"))], spot_of
    )
    assert beside_bought == one


def test_ether_asks_by_its_own_growth_and_a_linear_option_in_dollars():
    ether = coin_requirement([Holding(perpetual("ETH"), D(3_000_000), D(3_000))], lambda _: D(3_000))
    assert (ether.initial, ether.maintenance) == (24, 14)  # 1,000 coins: 2.4 and 1.4 %
    linear = deribit_option("BTC_USDC-25DEC26-110000-C")
    asked = coin_requirement([Holding(linear, D(-1), D(2_000))], spot_of)
    assert (asked.initial, asked.maintenance) == (12_000, 9_500)  # 10 and 7.5 % of 100,000, and the mark


@pytest.fixture
def coin_account():
    def build(positions=None, cash="2"):
        book = Instruments([SWAP, CALL, PUT])
        connection = connect(book, cash=D(cash), positions=positions, currency="BTC")
        for number, bid, ask in ((0, 99_999.5, 100_000.5), (1, 0.119, 0.121), (2, 0.029, 0.031)):
            connection.on_quote(quote(number, 1, bid, ask))
        made = connection.account
        made.connection = connection
        return made

    return build


def test_the_figures_of_a_coin_account(coin_account):
    model = CoinMargin()
    made = coin_account({0: (D(1_000), D(100_000)), 1: (D(1), D("0.1")), 2: (D(-1), D("0.03"))})
    figures = model.figures(made)
    assert (figures.cash, figures.long_value, figures.short_value) == (2, D("0.12"), D("-0.03"))
    assert figures.equity == 2 - D("0.1") + D("0.12") - D("0.03")
    free = 2 - D("0.1") - figures.initial_margin
    assert figures.options_buying_power == free
    assert figures.buying_power == figures.overnight_buying_power == free / D("0.02")
    broke = model.figures(coin_account(cash="-1"))
    assert (broke.buying_power, broke.overnight_buying_power, broke.options_buying_power) == (0, 0, 0)
    assert model.fits(made, Holding(SWAP, D(1), D(100_000))) is False


def test_a_coin_account_pays_options_in_full_and_refuses_in_coin(coin_account):
    model, made = CoinMargin(), coin_account(cash="0.25")
    assert model.refusal(made, [Holding(CALL, D(2), D("0.125"))]) is None
    refused = model.refusal(made, [Holding(CALL, D(2), D("0.1251"))])
    assert (refused.cause, refused.facts["buying_power"], refused.facts["cost_basis"]) == (
        Cause.BUYING_POWER,
        "0.25000000",
        "0.25020000",
    )
    assert model.need(made, [Holding(CALL, D(2), D("0.125"))]) == D("0.25")
    held = coin_account({1: (D(2), D("0.1"))}, cash="-1")
    assert model.need(held, [Holding(CALL, D(-2), D("0.12"))]) == 0
    assert model.refusal(held, [Holding(CALL, D(-1), D("0.12"))]) is None
    assert model.refusal(held, [Holding(CALL, D(1), D("0.12"))]).facts["buying_power"] == "0.00000000"


def test_open_orders_in_shares_take_a_quarter_by_day_and_half_overnight():
    def order():
        return SubmitOrder("a", 0, Side.BUY, D(100), OrderType.LIMIT, D(400), TimeInForce.DAY, Purpose.HEDGE)

    made = account()
    made.connection.send(order(), 2)
    figures = MODEL.figures(made)
    assert (figures.buying_power, figures.overnight_buying_power) == (4 * 90_000, 2 * 80_000)
    assert figures.options_buying_power == 80_000
    settled = account(multiplier=1)
    settled.connection.send(order(), 2)
    assert MODEL.figures(settled).buying_power == 60_000
