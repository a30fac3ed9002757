import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from scalpdesk.core.enums import Mode
from scalpdesk.core.intents import OrderIntent, OrderType, Purpose, Side, Stop, TimeInForce
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.risk import checks
from scalpdesk.risk.checks import CHECKS, loss_rule
from scalpdesk.risk.context import Held, Working
from scalpdesk_testing.kit.instruments import option, share
from scalpdesk_testing.kit.tape import quote

D = Decimal
EXPIRES_NS = expiry_instant_ns(option("C"))
LAST_DAY_NS = EXPIRES_NS - 3_600 * 10**9
LOWERING = (Purpose.HEDGE, Purpose.CLOSE, Purpose.UNWIND_HEDGE)


def intent(purpose=Purpose.OPEN, quantity=1, side=Side.BUY, limit=None):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    return OrderIntent(0, side, D(quantity), purpose, "", kind, None if limit is None else D(limit))


def test_a_plain_order_passes_every_check(context, ask):
    assert [ask(check, context()) for check in CHECKS] == [None] * len(CHECKS)


@pytest.mark.rows(
    ("mode", "purpose", "reason"),
    [
        (Mode.ACTIVE, Purpose.OPEN, None),
        (Mode.REDUCING, Purpose.OPEN, "the desk is reducing: nothing new is opened"),
        (Mode.FLATTENING, Purpose.OPEN, "the desk is flattening: nothing new is opened"),
        *((mode, purpose, None) for mode in (Mode.REDUCING, Mode.FLATTENING) for purpose in LOWERING),
        *((Mode.HALTED, purpose, "the desk is halted") for purpose in Purpose),
    ],
)
def test_the_mode_says_what_may_go(context, mode, purpose, reason, ask):
    assert ask(checks.mode_allows, context(mode=mode, intent=intent(purpose))) == reason


def test_nothing_goes_outside_the_session(context, ask):
    assert ask(checks.session_is_open, context()) is None
    assert ask(checks.session_is_open, context(in_session=False)) == "outside the trading session"


@pytest.mark.rows("purpose", Purpose)
def test_nothing_goes_while_trading_in_the_symbol_is_halted(context, ask, purpose):
    one = context(on_share=True, intent=intent(purpose), is_halted=True)
    assert ask(checks.symbol_trades, one) == "trading is halted in SPY"


@pytest.mark.rows(
    ("on_share", "quantity", "reason"),
    [
        (False, 0, "order size 0 is not above zero"),
        (False, -1, "order size -1 is not above zero"),
        (False, 100, None),
        (False, 101, "order of 101 contracts is above the limit of 100"),
        (True, 101, None),
        (True, 20_000, None),
        (True, 20_001, "order of 20001 shares is above the limit of 20000"),
    ],
)
def test_sizes_are_bounded_by_kind(context, on_share, quantity, reason, ask):
    one = context(on_share=on_share, intent=intent(quantity=quantity))
    assert ask(checks.quantity_is_sane, one) == reason


@pytest.mark.rows("verdict", QuoteVerdict)
def test_risk_is_opened_on_good_quotes_only(context, verdict, ask):
    reason = ask(checks.quote_is_good, context(verdict=verdict))
    # a far wing that is bought needs an ask alone
    good = verdict in (QuoteVerdict.GOOD, QuoteVerdict.LOCKED, QuoteVerdict.ZERO_BID)
    assert reason == (None if good else f"the quote of SPY240419C00500000 is {verdict}")
    sold = context(verdict=verdict, intent=intent(side=Side.SELL))
    is_two_sided = verdict in (QuoteVerdict.GOOD, QuoteVerdict.LOCKED)
    assert (ask(checks.quote_is_good, sold) is None) is is_two_sided


@pytest.mark.rows("purpose", LOWERING)
@pytest.mark.rows("verdict", QuoteVerdict)
def test_risk_is_lowered_on_any_usable_quote(context, purpose, verdict, ask):
    reason = ask(checks.quote_is_good, context(verdict=verdict, intent=intent(purpose)))
    refused = verdict in (
        QuoteVerdict.ABSENT,
        QuoteVerdict.CROSSED,
        QuoteVerdict.NON_FINITE,
        QuoteVerdict.NEGATIVE,
        QuoteVerdict.CONTRADICTED,
    )
    assert (reason is not None) is refused


@pytest.mark.rows(
    ("side", "limit", "passes"),
    [
        (Side.BUY, "11.12", True),  # 10.10 + 10 % + a cent
        (Side.BUY, "11.13", False),
        (Side.BUY, "0.01", True),
        (Side.SELL, "8.90", True),  # 9.90 - 10 % - a cent
        (Side.SELL, "8.89", False),
        (Side.SELL, "99", True),
    ],
)
def test_a_limit_price_stays_within_the_collar(context, side, limit, passes, ask):
    reason = ask(checks.price_within_collar, context(intent=intent(side=side, limit=limit)))
    assert (reason is None) is passes


@pytest.mark.rows("limit", [None, D(0), D(-1)])
def test_a_limit_order_needs_a_price(context, limit, ask):
    one = OrderIntent(0, Side.BUY, D(1), Purpose.OPEN, "", OrderType.LIMIT, limit)
    assert (
        ask(checks.price_within_collar, context(intent=one)) == "a limit order needs a limit price above zero"
    )


def test_the_collar_has_nothing_to_say_of_market_orders_or_without_a_quote(context, ask):
    assert ask(checks.price_within_collar, context()) is None
    assert ask(checks.price_within_collar, context(quote=None, intent=intent(limit="99"))) is None


@pytest.mark.rows(
    ("changes", "rule"),
    [
        ({}, None),
        ({"daily_pnl": D("-4999.99"), "intent": intent(limit="0.0001")}, None),
        ({"daily_pnl": D(-5000)}, "daily_loss"),
        ({"consecutive_losses": 2}, None),
        ({"consecutive_losses": 3}, "consecutive_losses"),
        ({"daily_pnl": D("-4999.99")}, None),  # a premium of 1010 is not lost in a day
        ({"daily_pnl": D(-3990), "now_ns": LAST_DAY_NS}, None),  # 1010 at risk: exactly 5000
        ({"daily_pnl": D("-3990.01"), "now_ns": LAST_DAY_NS}, "would_breach_daily_loss"),
        ({"daily_pnl": D("-3990.01"), "intent": intent(side=Side.SELL)}, "would_breach_daily_loss"),
        (
            {"daily_pnl": D("-3990.01"), "on_share": True, "intent": intent(quantity=101)},
            "would_breach_daily_loss",
        ),
        ({"intent": intent(quantity=3, limit="10")}, None),
        (
            {"limits": {"max_position_fraction": 0.01}, "intent": intent(limit="10.01")},
            "position_size",
        ),
        ({"limits": {"max_position_fraction": 0.01}, "intent": intent(limit="10")}, None),
    ],
)
def test_the_loss_rules_bound_what_opens_risk(context, changes, rule, ask):
    reason = ask(checks.losses_allow, context(**changes))
    assert (reason if reason is None else reason.split(":")[0]) == rule


@pytest.mark.rows(
    ("side", "purpose", "limit", "bid", "ask_price", "part", "passes"),
    [
        (Side.BUY, Purpose.OPEN, "10", 0.05, 30.0, 0.5, False),
        (Side.SELL, Purpose.OPEN, "10", 0.05, 30.0, 0.5, False),
        (Side.SELL, Purpose.CLOSE, None, 0.05, 30.0, 0.5, False),  # it is worth 10
        (Side.SELL, Purpose.CLOSE, None, math.nan, 30.0, 0.5, False),
        (Side.SELL, Purpose.CLOSE, "4.99", 0.05, 30.0, 0.5, False),
        (Side.SELL, Purpose.CLOSE, "5", 0.05, 30.0, 0.5, True),
        (Side.SELL, Purpose.CLOSE, None, 0.05, 30.0, None, True),  # a person took the limit off
        (Side.SELL, Purpose.CLOSE, None, math.nan, 30.0, None, True),
        (Side.SELL, Purpose.CLOSE, None, 5.0, 30.0, 0.5, True),
        (Side.BUY, Purpose.CLOSE, None, 0.05, 30.0, 0.5, True),
        (Side.SELL, Purpose.CLOSE, "0.01", 0.0, 0.05, 0.5, True),  # no buyer: that is a price
        (Side.SELL, Purpose.CLOSE, None, 9.9, 10.1, 0.5, True),
    ],
)
def test_an_option_whose_quote_shows_no_price_is_not_opened_nor_sold_for_less_than_half_of_its_worth(
    context, ask, side, purpose, limit, bid, ask_price, part, passes
):
    one = context(
        intent=intent(purpose, side=side, limit=limit),
        quote=quote(0, 0, bid, ask_price),
        limits={"least_sale_fraction": part},
    )
    assert (ask(checks.price_is_shown, one) is None) is passes


@pytest.mark.rows("purpose", LOWERING)
def test_losses_never_stop_what_lowers_risk(context, purpose, ask):
    one = context(daily_pnl=D(-99_000), consecutive_losses=9, intent=intent(purpose))
    assert ask(checks.losses_allow, one) is None


def test_a_bought_premium_is_a_loss_of_the_day_only_within_a_day_of_expiry(context, ask):
    limits = {"max_daily_loss": D("1009.99")}
    day_ns = 24 * 3_600 * 10**9
    assert ask(checks.losses_allow, context(limits=limits, now_ns=EXPIRES_NS - day_ns - 1)) is None
    assert ask(checks.losses_allow, context(limits=limits, now_ns=EXPIRES_NS - day_ns)) is not None


@pytest.mark.parametrize(("fraction", "key"), [(0.03011, None), (0.03009, "risk.max_premium_fraction")])
def test_the_premium_held_and_ordered_has_its_own_limit(context, ask, book, fraction, key):
    """Two options are held at 10.00, a third is ordered at 10.10: 3,010 of 100,000; shares are none of it."""
    lines = (Held(1, option("P"), D(2)), Held(2, share(), D(500)))
    limits = {"max_premium_fraction": fraction}
    reason = ask(checks.capital_within_threshold, context(book=book(lines=lines), limits=limits))
    assert (reason is None) if key is None else (key in reason and "3010.00" in reason)


def test_a_stop_bounds_what_the_day_may_lose_and_not_the_size_of_a_position(context, ask):
    stopped = structs.replace(intent(limit="10.05"), loss_at_stop=D(4))
    assert ask(checks.losses_allow, context(limits={"max_daily_loss": D(4)}, intent=stopped)) is None
    over = ask(checks.losses_allow, context(limits={"max_daily_loss": D("3.99")}, intent=stopped))
    assert over.startswith("would_breach_daily_loss: 4 ")
    small = ask(checks.losses_allow, context(limits={"max_position_fraction": 0.01}, intent=stopped))
    assert small.startswith("position_size: 1005.00 at risk")


@pytest.mark.parametrize("offer", [math.nan, math.inf])
def test_an_order_whose_risk_is_unknown_is_not_opened(context, offer, ask):
    reason = ask(checks.losses_allow, context(quote=quote(0, 0, 9.9, offer)))
    assert reason == "the risk of the order is not known: no ask"


def test_without_a_quote_a_market_order_has_no_known_risk(context, ask):
    assert ask(checks.losses_allow, context(quote=None)) == "the risk of the order is not known: no ask"


@pytest.mark.rows("quantity", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_a_size_that_is_no_number_is_refused(context, quantity, ask):
    assert ask(checks.quantity_is_sane, context(intent=intent(quantity=quantity))) is not None


@pytest.mark.parametrize("limit", ["NaN", "Infinity"])
def test_a_limit_price_that_is_no_number_is_refused(context, limit, ask):
    one = ask(checks.price_within_collar, context(intent=intent(limit=limit)))
    assert one == "a limit order needs a limit price above zero"


@pytest.mark.rows("key", ["equity", "session_equity", "daily_pnl"])
def test_an_account_whose_worth_is_not_known_opens_nothing(context, key, ask):
    one = context(**{key: D("NaN")})
    assert ask(checks.losses_allow, one) == "the equity of the account is not known"
    hedge = context(**{key: D("NaN")}, intent=intent(Purpose.HEDGE))
    assert ask(checks.losses_allow, hedge) is None


@pytest.mark.rows("verdict", QuoteVerdict)
def test_an_option_is_opened_only_on_a_good_quote_of_its_underlying(context, verdict, ask):
    good = verdict in (QuoteVerdict.GOOD, QuoteVerdict.LOCKED)
    reason = ask(checks.underlying_is_good, context(underlying_verdict=verdict))
    assert reason == (None if good else f"the quote of SPY is {verdict}")
    assert ask(checks.underlying_is_good, context(underlying_verdict=verdict, on_share=True)) is None


@pytest.mark.rows(
    ("changes", "passes"),
    [
        ({}, False),
        ({"intent": intent(Purpose.CLOSE, limit="9")}, True),
        ({"on_share": True}, True),
        ({"mode": Mode.FLATTENING}, True),
        ({"is_late": True}, True),
        ({"verdict": QuoteVerdict.GOOD}, True),
        ({"verdict": QuoteVerdict.ZERO_BID}, True),
    ],
)
def test_no_market_order_on_an_option_goes_on_a_stale_quote(context, changes, passes, ask):
    given_ = {"verdict": QuoteVerdict.STALE, "intent": intent(Purpose.CLOSE, side=Side.SELL)} | changes
    reason = ask(checks.market_order_is_covered, context(**given_))
    symbol = "SPY240419C00500000"
    assert reason == (
        None if passes else f"a market order on an option needs a fresh quote; that of {symbol} is stale"
    )


def test_an_order_has_a_largest_premium(context, ask):
    limits = {"max_order_premium": D(1_010)}  # one at 10.10
    assert ask(checks.premium_within_limit, context(limits=limits)) is None
    assert ask(checks.premium_within_limit, context(limits={"max_order_premium": D("1009.99")})) == (
        "order of 1010.00 is above the limit of 1009.99 (risk.max_order_premium)"
    )
    closing = context(limits={"max_order_premium": D(1)}, intent=intent(Purpose.CLOSE))
    assert ask(checks.premium_within_limit, closing) is None
    unknown = context(limits=limits, quote=None)
    assert ask(checks.premium_within_limit, unknown) == "the premium of the order is not known: no ask"


@given(
    daily=st.decimals(-1000, 1000, places=2),
    losses=st.integers(0, 5),
    risk=st.decimals(0, 1000, places=2),
)
def test_a_worse_day_never_allows_more(daily, losses, risk):
    def allowed(pnl, count, proposed):
        return (
            loss_rule(D(500), 3, 0.25, daily_pnl=pnl, consecutive_losses=count, proposed_risk=proposed)
            is None
        )

    if not allowed(daily, losses, risk):
        assert not allowed(daily - 1, losses, risk)
        assert not allowed(daily, losses + 1, risk)
        assert not allowed(daily, losses, risk + 1)


def stop(trigger, side=Side.BUY, limit=None, purpose=Purpose.OPEN, tif=TimeInForce.DAY):
    price = None if limit is None else D(limit)
    return OrderIntent(0, side, D(1), purpose, "", Stop(D(trigger)), price, tif)


@pytest.mark.rows(
    ("order", "reason"),
    [
        (stop("10.01"), None),
        (stop("10"), "a stop to buy at 10 would trigger at once: the price is 10.0"),
        (stop("10", Side.SELL), "a stop to sell at 10 would trigger at once: the price is 10.0"),
        (stop("10.5", Side.SELL, purpose=Purpose.HEDGE), "a stop to sell at 10.5 would trigger at once: "),
        (stop("10.5", Side.SELL, purpose=Purpose.CLOSE), None),  # an exit need not wait
        (stop("9.99", Side.SELL), None),
        (stop("0"), "a stop needs a trigger above zero"),
        (stop("NaN"), "a stop needs a trigger above zero"),
        (stop("11", tif=TimeInForce.GTC), None),
        (stop("11", tif=TimeInForce.IOC), "a stop lives for the day or until cancelled, not ioc"),
        (stop("11", tif=TimeInForce.CLS), "a stop lives for the day or until cancelled, not cls"),
        (stop("11", limit="12.11"), None),
        (stop("11", limit="12.12"), "buy limit 12.12 is more than 10% above the trigger 11"),
        (stop("9", Side.SELL, "8.09"), None),
        (stop("9", Side.SELL, "8.08"), "sell limit 8.08 is more than 10% below the trigger 9"),
        (stop("11", limit="0"), "a stop limit order needs a limit price above zero"),
    ],
)
def test_a_stop_waits_beyond_the_market_for_a_day_or_longer_with_its_limit_near(context, ask, order, reason):
    """The quote is 9.90 to 10.10, and the collar of limits 10 %."""
    found = ask(checks.stop_is_sound, context(intent=order))
    assert found == reason or (reason is not None and found is not None and found.startswith(reason))


def test_stops_go_only_where_they_are_allowed_by_name(context, ask):
    named = {"allowed_order_types": ("market", "limit", "stop")}
    assert ask(checks.order_type_is_allowed, context(intent=stop("11"), limits=named)) is None
    for limits, order, name in (({}, stop("11"), "stop"), (named, stop("11", limit="11"), "stop_limit")):
        reason = f"{name} orders are not on risk.allowed_order_types"
        assert ask(checks.order_type_is_allowed, context(intent=order, limits=limits)) == reason


@pytest.mark.rows(
    ("order", "cost"), [(stop("12"), 1_200), (stop("12", limit="12.5"), 1_250), (intent(), 1_010)]
)
def test_a_stop_costs_what_it_names(context, ask, order, cost):
    """At its limit, without it at its trigger: not at the ask of 10.10 that a market order pays."""
    assert checks.risk_of(order, option("C"), quote(0, 0, 9.9, 10.1)) == cost
    limits = {"max_position_fraction": 1.0, "max_premium_fraction": 1.0}
    for cash in (cost, cost - 1):
        refusal = ask(checks.cash_covers, context(intent=order, limits=limits, cash=D(cash)))
        assert (refusal is None) is (cash == cost)


def test_two_stops_at_different_triggers_are_no_duplicates(context, ask, book):
    other = working(Stop(D(11)))
    for trigger, is_same in (("11", True), ("12", False)):
        found = ask(checks.is_no_duplicate, context(intent=stop(trigger), book=book(other), live_orders=1))
        assert (found is not None) is is_same


def working(kind):
    return Working(0, option("C"), Side.BUY, D(1), kind, None, Purpose.OPEN, 0, D(1))
