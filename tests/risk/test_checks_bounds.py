"""The risk checks at their bounds, in coin, and in the words that the trader reads."""

from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.events import AccountLimits
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side
from scalpdesk.instruments.contract import LinearPerpetual
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.margin.capital import capital_of
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk import checks
from scalpdesk.risk.caps import (
    GreekExposure,
    SizeCut,
    cut_exposure,
    rooms,
)
from scalpdesk.risk.checks import loss_rule, risk_of
from scalpdesk.risk.context import Held, RiskFigures, Working
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.instruments import option, share
from scalpdesk_testing.kit.tape import quote

D = Decimal
NOW = 10**12
LAST_DAY_NS = expiry_instant_ns(option("C")) - 3_600 * 10**9
SWAP = perpetual("BTC")
COIN_CALL = deribit_option("BTC-27MAR26-90000-C")
ACCOUNT = AccountLimits(NOW, NOW, True, True, 3, D(200_000), D(50_000), (0,))


def intent(purpose=Purpose.OPEN, quantity=1, side=Side.BUY, limit=None, owner="", number=0):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return OrderIntent(number, side, D(quantity), purpose, "", kind, price, owner=owner)


def working(one, side, quantity, *, number=0, limit=None, purpose=Purpose.OPEN, created_ns=NOW, owner=""):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return Working(number, one, side, D(quantity), kind, price, purpose, created_ns, D(quantity), owner)


# prices ---------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("side", "limit", "passes"),
    [
        (Side.BUY, "10.51", True),
        (Side.BUY, "10.53", False),
        (Side.SELL, "9.49", True),
        (Side.SELL, "9.47", False),
        (Side.BUY, "0.01", True),
        (Side.SELL, "50", True),
    ],
)
def test_without_a_fresh_quote_a_limit_is_held_against_the_mark(context, ask, side, limit, passes):
    stale = {"verdict": QuoteVerdict.STALE, "limits": {"price_collar_fraction": 0.051}}
    reason = ask(checks.price_within_collar, context(intent=intent(side=side, limit=limit), **stale))
    assert (reason is None) is passes
    if not passes:
        assert f"more than 5% {'above' if side is Side.BUY else 'below'} the mark 10.0" in reason


def test_a_stale_quote_without_a_mark_is_the_measure_itself(context, book, ask):
    stale = {"verdict": QuoteVerdict.STALE, "book": book(mark=None)}
    assert ask(checks.price_within_collar, context(intent=intent(limit="11.13"), **stale)) == (
        "buy limit 11.13 is more than 10% above the ask 10.1"
    )


@pytest.mark.rows(("bid", "offer"), [(0.0, 0.0), (-1.0, -1.0)])
@pytest.mark.rows("side", Side)
def test_a_side_without_a_price_collars_nothing(context, ask, bid, offer, side):
    one = context(quote=quote(0, 0, bid, offer), intent=intent(side=side, limit="0.5"))
    assert ask(checks.price_within_collar, one) is None


# losses ---------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("stop", "at_risk"),
    [(None, "1005.00"), (0, "0"), (4, "4"), (-1, "1005.00"), ("NaN", "1005.00"), (2_000, "1005.00")],
)
def test_what_a_day_may_lose_is_the_stop_where_there_is_a_credible_one(context, ask, stop, at_risk):
    one = msgspec.structs.replace(intent(limit="10.05"), loss_at_stop=None if stop is None else D(stop))
    given = {"intent": one, "loss_before": D(3), "now_ns": LAST_DAY_NS}
    just = context(limits={"max_daily_loss": D(at_risk) + D(3)}, **given)
    assert ask(checks.losses_allow, just) is None
    over = context(limits={"max_daily_loss": D(at_risk) + D("2.99")}, **given)
    assert ask(checks.losses_allow, over).startswith("would_breach_daily_loss")


def test_each_loss_rule_shows_its_figures(context, ask):
    def reason(**changes):
        return ask(checks.losses_allow, context(**changes))

    assert reason(daily_pnl=D(-5_000)) == "daily_loss: P&L of the day -5000.00, limit -5000.00"
    assert reason(consecutive_losses=4) == "consecutive_losses: 4 losing trades in a row"
    assert reason(limits={"max_position_fraction": 0.01}, risk_before=D(1)) == (
        "position_size: 1011.00 at risk is more than 1% of 100000.00 (risk.max_position_fraction)"
    )


def rule(pnl=0, losses=0, **changes):
    return loss_rule(D(500), 3, 0.25, daily_pnl=D(pnl), consecutive_losses=losses, **changes)


def test_the_loss_rules_are_asked_in_their_order():
    assert rule(-500, 3, proposed_risk=D(1)) == "daily_loss"
    assert rule(-499, 3, proposed_risk=D(2)) == "consecutive_losses"
    assert rule(-499, 2, proposed_risk=D(2)) == "would_breach_daily_loss"
    assert rule(-499, 2, proposed_risk=D(1)) is None
    assert rule(-499, 2, proposed_risk=D(1), equity=D(4)) is None
    assert rule(-499, 2, proposed_risk=D(1), equity=D("3.99")) == "position_size"
    assert rule(0, 0, proposed_risk=D(600), proposed_loss=D(500)) is None
    assert rule(0, 0, proposed_risk=D(600), proposed_loss=D(501)) == "would_breach_daily_loss"


def test_the_risk_of_an_order_is_all_that_it_pays_to_the_cent_or_to_the_hundred_millionth_coin():
    book = quote(0, 0, 0.03, 0.0345)
    assert str(risk_of(intent(quantity=3, limit="1.234"), option("C"), None)) == "370.20"
    assert str(risk_of(intent(quantity=3), share(), quote(0, 0, 1.0, 2.0))) == "6.00"
    assert str(risk_of(intent(quantity="0.1"), COIN_CALL, book)) == "0.00345000"
    assert risk_of(intent(), share(), None) is None


def test_the_risk_of_a_perpetual_is_its_dollars_in_coin():
    """900 contracts of 10 USD at 90,000 are 0.1 BTC, not 81 million."""
    book = quote(0, 0, 89_990.0, 90_000.0)
    assert str(risk_of(intent(quantity=900), SWAP, book)) == "0.10000000"
    assert str(risk_of(intent(quantity=900, limit="75000"), SWAP, None)) == "0.12000000"
    assert risk_of(intent(quantity=900), SWAP, quote(0, 0, 0.0, 0.0)) is None


# accounts in coin -----------------------------------------------------------------------------------


def test_the_loss_rules_and_the_capital_show_a_coin_accounts_amounts_to_the_satoshi(context, ask):
    def reason(check=checks.losses_allow, **changes):
        coin = {"instrument": COIN_CALL, "quote": quote(0, 0, 0.03, 0.0345)}
        return ask(
            check, context(intent=intent(quantity="0.1"), equity=D(2), session_equity=D(2), **coin | changes)
        )

    limits = {"max_daily_loss": D("0.005")}
    assert reason(limits=limits, daily_pnl=D("-0.0051")) == (
        "daily_loss: P&L of the day -0.00510000, limit -0.00500000"
    )
    last_ns = expiry_instant_ns(COIN_CALL) - 1
    assert reason(limits=limits, daily_pnl=D("-0.002"), now_ns=last_ns) == (
        "would_breach_daily_loss: 0.00345000 may be lost within a day, P&L of the day -0.00200000,"
        " limit -0.00500000 (risk.max_daily_loss)"
    )
    assert reason(limits={"max_position_fraction": 0.001}) == (
        "position_size: 0.00345000 at risk is more than 0% of 2.00000000 (risk.max_position_fraction)"
    )
    assert reason(checks.capital_within_threshold, limits={"max_capital_fraction": 0.001}) == (
        "0.00345000 of capital would be tied up, limit 0% of 2.00000000 (risk.max_capital_fraction)"
    )


def test_capital_is_premium_half_a_share_and_a_fiftieth_of_a_perpetual():
    assert capital_of(option("C"), D(2), 3.0) == 600.0
    assert capital_of(share(), D(10), 50.0) == 250.0
    assert capital_of(SWAP, D(900), 90_000.0) == pytest.approx(0.02 * 900 * 10 / 90_000)
    assert capital_of(COIN_CALL, D("0.5"), 0.04) == 0.02


@pytest.mark.parametrize(("cash", "passes"), [("0.00345000", True), ("0.00344999", False)])
def test_a_coin_option_is_covered_to_the_hundred_millionth_coin(context, ask, cash, passes):
    one = context(
        instrument=COIN_CALL, quote=quote(0, 0, 0.03, 0.0345), intent=intent(quantity="0.1"), cash=D(cash)
    )
    reason = ask(checks.cash_covers, one)
    assert reason == (None if passes else f"the order costs 0.00345000, cash left {cash}")


def in_coin(context, ask, book, available, *orders, quantity=900, live=True):
    one = context(
        instrument=SWAP,
        quote=quote(0, 0, 89_990.0, 90_000.0),
        intent=intent(Purpose.HEDGE, quantity),
        venue_limits=msgspec.structs.replace(ACCOUNT, buying_power=D(available)),
        live_orders=len(orders) if live else 0,
        book=book(*orders, mark=90_000.0),
    )
    return ask(checks.buying_power_covers, one)


def test_a_perpetual_asks_for_its_margin(context, ask, book):
    assert in_coin(context, ask, book, "0.00200000") is None
    assert in_coin(context, ask, book, "0.00199999") == (
        "the order costs 0.00200000, buying power left 0.00199999"
    )


@pytest.mark.parametrize(("available", "passes"), [("1800.00", True), ("1799.99", False)])
def test_a_linear_perpetual_asks_for_its_margin_too(context, ask, book, available, passes):
    """A coin at 90,000: 2 % of it, of an account with less than the coin's price."""
    one = context(
        instrument=LinearPerpetual("BTC_USDC-PERPETUAL", SWAP.tick_rule),
        quote=quote(0, 0, 89_990.0, 90_000.0),
        intent=intent(Purpose.HEDGE, 1),
        venue_limits=msgspec.structs.replace(ACCOUNT, buying_power=D(available)),
        book=book(mark=90_000.0),
    )
    assert (ask(checks.buying_power_covers, one) is None) == passes


def test_margin_of_working_perpetuals_is_set_aside(context, ask, book):
    limit = working(SWAP, Side.BUY, 450, limit="90000", purpose=Purpose.HEDGE, created_ns=NOW + 1)
    market = working(SWAP, Side.SELL, 450, purpose=Purpose.HEDGE, created_ns=NOW + 1)
    for order in (limit, market):
        assert in_coin(context, ask, book, "0.00300000", order) is None
        assert in_coin(context, ask, book, "0.00299999", order) is not None
    assert in_coin(context, ask, book, "0.00400000", limit, market) is None
    assert in_coin(context, ask, book, "0.00399999", limit, market) is not None
    known = limit._replace(created_ns=NOW)
    assert in_coin(context, ask, book, "0.00200000", known) is None
    leaves = limit._replace(purpose=Purpose.UNWIND_HEDGE)
    assert in_coin(context, ask, book, "0.00200000", leaves) is None
    assert in_coin(context, ask, book, "0.00200000", limit, live=False) is None


def test_a_working_perpetual_without_a_price_sets_nothing_aside(context, ask, book):
    unpriced = working(SWAP, Side.BUY, 450, purpose=Purpose.HEDGE, created_ns=NOW + 1)
    one = context(
        instrument=SWAP,
        quote=quote(0, 0, 89_990.0, 90_000.0),
        intent=intent(Purpose.HEDGE, 900),
        venue_limits=msgspec.structs.replace(ACCOUNT, buying_power=D("0.002")),
        live_orders=1,
        book=book(unpriced, mark=None),
    )
    assert ask(checks.buying_power_covers, one) is None


def test_working_orders_count_at_their_limit_or_mark_and_sold_options_not(context, ask, book):
    def reason(cash, *orders):
        return ask(
            checks.cash_covers,
            context(cash=D(cash), intent=intent(limit="1"), live_orders=len(orders), book=book(*orders)),
        )

    assert reason("100") is None
    assert reason("99.99") == "the order costs 100.00, cash left 99.99"
    first, second = working(option("C"), Side.BUY, 2, limit="3"), working(share(), Side.SELL, 5)
    assert reason("750", first, second) is None  # 600 and 50 beside the 100
    assert reason("749.99", first, second) is not None
    skipped = (
        working(option("P"), Side.SELL, 9, limit="9"),
        working(share(), Side.SELL, 9, purpose=Purpose.CLOSE),
    )
    assert reason("750", *skipped, first, second) is None
    assert reason("749.99", *skipped, first, second) is not None


def test_an_opening_order_without_a_price_is_left_to_the_loss_rules(context, ask):
    assert ask(checks.cash_covers, context(quote=None)) is None
    assert ask(checks.capital_within_threshold, context(quote=None)) is None


@pytest.mark.rows(
    ("used", "most", "passes"),
    [("0.5", 0.5, True), ("0.51", 0.5, False), (None, 0.5, True), ("0.9", None, True)],
)
def test_nothing_is_opened_while_the_margin_is_high(context, book, ask, used, most, passes):
    facts = book()
    figures = RiskFigures(D(1), D(1), D(0), D(0), 0, D(1), D(1), None if used is None else D(used))
    facts.figures = lambda: figures
    limits = {"max_margin_fraction": most}
    reason = ask(checks.margin_has_room, context(book=facts, limits=limits))
    assert reason == (
        None if passes else "maintenance margin is 51% of collateral, limit 50% (risk.max_margin_fraction)"
    )
    assert (
        ask(checks.margin_has_room, context(book=facts, limits=limits, intent=intent(Purpose.HEDGE))) is None
    )


# positions ------------------------------------------------------------------------------------------


def test_buying_back_a_short_position_is_bounded_by_no_short_limit(context, ask):
    one = context(intent=intent(quantity=1), held=D(-5))
    assert ask(checks.position_within_limits, one) is None


@pytest.mark.rows(("held", "sold"), [(3, 9), (3, 10), (-3, 4), (0, 7)])
def test_the_largest_position_counts_whichever_side_works(context, book, ask, held, sold):
    """3 puts are held: with 4 more bought 7, with 9 more sold 6 short, with 10 more 7 short."""
    call, put = option("C"), option("P")
    orders = [working(put, Side.BUY, 4, number=1), working(put, Side.SELL, sold, number=1)]

    def reason(limit, quantity=1):
        one = context(
            limits={"max_option_contracts": 1, "max_expiry_contracts": limit},
            intent=intent(quantity=quantity),
            live_orders=2,
            book=book(*orders, lines=[Held(1, put, D(held))] if held else []),
        )
        return ask(checks.position_within_limits, one)

    assert reason(8) is None
    assert "8 contracts of" in reason(7)
    assert call.expiry == put.expiry


def test_an_exit_says_what_it_would_lower(context, book, ask):
    nothing = context(intent=intent(Purpose.CLOSE, side=Side.SELL))
    assert ask(checks.closes_what_is_held, nothing) == "an exit to sell lowers nothing: 0 held"
    orders = [
        working(option("C"), Side.SELL, 2),
        working(option("C"), Side.BUY, 9),
        working(option("P"), Side.SELL, 9, number=1),
    ]

    def reason(quantity, **changes):
        one = context(
            intent=intent(Purpose.CLOSE, quantity, Side.SELL),
            **({"held": D(5), "live_orders": 3, "book": book(*orders)} | changes),
        )
        return ask(checks.closes_what_is_held, one)

    assert reason(3) is None
    assert reason(4) == "an exit of 4 beside 2 at the venue is more than the 5 held"
    assert reason(5, live_orders=0) is None


# the desk as a whole --------------------------------------------------------------------------------


# cuts -----------------------------------------------------------------------------------------------


def test_the_reasons_of_a_cut_name_each_cap_that_binds():
    caps = rooms(RiskLimits(), 100_000.0, only_buys_options=True)
    assert [(room.low, room.high, room.key) for room in caps] == [
        (-500_000.0, 500_000.0, "risk.max_bought_delta_fraction"),
        (-10_000.0, 1_000_000.0, "risk.max_bought_gamma_fraction"),
        (-2_000.0, 2_000.0, "risk.max_vega_fraction"),
        (-1_000.0, float("inf"), "risk.max_theta_fraction"),
    ]
    short = rooms(RiskLimits(), 100_000.0, only_buys_options=False)
    assert [room.key for room in short[:2]] == ["risk.max_net_delta_fraction", "risk.max_gamma_fraction"]
    assert [room.name for room in caps] == [
        "net delta",
        "gamma per 1 %",
        "vega per point of 30 days",
        "theta per day",
    ]
    cut = cut_exposure(GreekExposure(100.0), GreekExposure(-40_000.0, 0.0, 3_200.0), 4, short)
    assert cut == SizeCut(
        2,
        "net delta would be -39900 (now 100), cap 20000 (risk.max_net_delta_fraction);"
        " vega per point of 30 days would be 3200 (now 0), cap 2000 (risk.max_vega_fraction)",
    )
    assert cut_exposure(GreekExposure(), GreekExposure(20_000.0), 1, short) is None


def test_a_cap_in_coin_is_shown_in_coin():
    """It said "theta per day would be -0 (now 0), cap 0"."""
    caps = rooms(RiskLimits(), 0.5, only_buys_options=True)
    cut = cut_exposure(GreekExposure(), GreekExposure(theta_usd_per_day=-0.00721), 1, caps, "BTC")
    assert cut == SizeCut(
        0, "theta per day would be -0.00721 (now 0.00000), cap 0.00500 (risk.max_theta_fraction)"
    )
