import datetime as dt
import math
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.events import AccountLimits
from scalpdesk.core.intents import EXITS, OrderIntent, OrderType, Purpose, Side
from scalpdesk.risk import checks
from scalpdesk.risk.context import Held, TradePart, Working
from scalpdesk.risk.gate import RiskGate
from scalpdesk_testing.kit.instruments import EXPIRY, option, share
from scalpdesk_testing.kit.tape import quote

D = Decimal
S = 10**9
NOW = 1_000 * S
LATER = EXPIRY + dt.timedelta(days=28)
TOLD = AccountLimits(
    ts_event_ns=NOW - 5 * S,
    ts_recv_ns=NOW - 5 * S,
    may_trade=True,
    may_short=True,
    options_level=3,
    buying_power=D(200_000),
    options_buying_power=D(50_000),
    shortable=(0,),
)


def told(**changes):
    return msgspec.structs.replace(TOLD, **changes)


def intent(purpose=Purpose.OPEN, quantity=1, side=Side.BUY, limit=None, owner="", number=0):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return OrderIntent(number, side, D(quantity), purpose, "", kind, price, owner=owner)


def working(one, side, quantity, *, number=0, limit=None, purpose=Purpose.OPEN, ago=0.0):
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else D(limit)
    return Working(number, one, side, D(quantity), kind, price, purpose, NOW - int(ago * S), D(quantity))


# what the account may do ---------------------------------------------------------------------------


def test_a_blocked_account_sends_nothing_at_all(context, ask):
    assert ask(checks.account_may_trade, context()) is None
    assert ask(checks.account_may_trade, context(venue_limits=TOLD)) is None
    for purpose in Purpose:
        blocked = context(venue_limits=told(may_trade=False), intent=intent(purpose))
        assert ask(checks.account_may_trade, blocked) == "the venue has blocked trading in this account"


def test_nothing_is_sent_before_a_resumed_run_has_compared_its_account(context, ask):
    for purpose in Purpose:
        for reported in (None, TOLD):  # by venues that report no limits, too
            unsure = context(venue_limits=reported, intent=intent(purpose), is_compared=False)
            assert ask(checks.account_is_compared, unsure) == (
                "the account is not yet compared with the journal"
            )


@pytest.mark.rows(
    ("allowed", "on_share", "passes"),
    [
        (None, False, True),
        (("SPY",), False, True),
        (("SPY",), True, True),
        (("QQQ",), False, False),
        (("QQQ",), True, False),
        (("QQQ", "SPY"), True, True),
    ],
)
def test_only_underlyings_on_the_list_are_traded(context, allowed, on_share, passes, ask):
    limits = {} if allowed is None else {"allowed_underlyings": allowed}
    one = context(limits=limits, on_share=on_share)
    symbol = one.instrument.symbol
    reason = ask(checks.instrument_is_allowed, one)
    assert reason == (None if passes else f"{symbol} is not on risk.allowed_underlyings")


@pytest.mark.rows("purpose", list(Purpose))
def test_what_is_not_on_the_list_may_be_closed_and_nothing_else(context, ask, purpose):
    one = context(limits={"allowed_underlyings": ("QQQ",)}, intent=intent(purpose))
    assert (ask(checks.instrument_is_allowed, one) is None) == (purpose in EXITS)


def test_an_index_class_is_allowed_by_its_own_name(context, ask):
    weekly = option("C", 4000, root="SPXW")
    one = context(limits={"allowed_underlyings": ("SPXW",)}, instrument=weekly)
    assert ask(checks.instrument_is_allowed, one) is None


@pytest.mark.parametrize(("types", "limit", "passes"), [(("limit",), None, False), (("limit",), "10", True)])
def test_only_order_types_on_the_list_are_sent(context, types, limit, passes, ask):
    one = context(limits={"allowed_order_types": types}, intent=intent(limit=limit))
    reason = ask(checks.order_type_is_allowed, one)
    assert reason == (None if passes else "market orders are not on risk.allowed_order_types")


@pytest.mark.rows(
    ("level", "side", "needed"),
    [(1, Side.BUY, 2), (2, Side.BUY, None), (0, Side.SELL, None), (3, Side.SELL, None), (0, Side.BUY, 2)],
)
def test_the_options_level_covers_buying(context, level, side, needed, ask):
    one = context(level=level, intent=intent(side=side))
    reason = ask(checks.options_level_allows, one)
    assert reason == (
        None if needed is None else f"the account's options level is {level}, this order needs {needed}"
    )


def test_the_options_level_says_nothing_of_shares_and_closes(context, ask):
    assert ask(checks.options_level_allows, context(level=0, on_share=True)) is None
    assert ask(checks.options_level_allows, context(level=0, intent=intent(Purpose.CLOSE))) is None
    assert ask(checks.options_level_allows, context()) is None


# exits ---------------------------------------------------------------------------------------------


@pytest.mark.rows(
    ("held", "side", "quantity", "closing", "passes"),
    [
        (3, Side.SELL, 3, 0, True),
        (3, Side.SELL, 4, 0, False),
        (3, Side.SELL, 1, 2, True),
        (3, Side.SELL, 2, 2, False),
        (3, Side.BUY, 1, 0, False),
        (0, Side.SELL, 1, 0, False),
        (-3, Side.BUY, 3, 0, True),
        (-3, Side.BUY, 4, 0, False),
        (-3, Side.SELL, 1, 0, False),
    ],
)
@pytest.mark.rows("purpose", [Purpose.CLOSE, Purpose.UNWIND_HEDGE])
def test_an_exit_never_goes_through_flat(context, book, held, side, quantity, closing, passes, purpose, ask):
    orders = [working(option("C"), side, closing)] if closing else []
    one = context(
        intent=intent(purpose, quantity, side),
        held=D(held),
        live_orders=len(orders),
        book=book(*orders),
    )
    assert (ask(checks.closes_what_is_held, one) is None) is passes


@pytest.mark.rows(
    ("owner_held", "quantity", "closing", "passes"),
    [(3, 3, 0, True), (3, 4, 0, False), (3, 1, 2, True), (3, 2, 2, False), (0, 1, 0, False)],
)
def test_where_strategies_share_an_account_an_exit_is_held_against_its_owners_book(
    context, book, owner_held, quantity, closing, passes, ask
):
    mine = working(option("C"), Side.SELL, closing)._replace(owner="one")
    orders = [working(option("C"), Side.SELL, 50)._replace(owner="other"), *([mine] if closing else [])]
    one = context(
        intent=intent(Purpose.CLOSE, quantity, Side.SELL, owner="one"),
        held=D(0),  # the other has sold what the one holds
        owner_held=D(owner_held),
        live_orders=len(orders),
        book=book(*orders),
    )
    assert (ask(checks.closes_what_is_held, one) is None) is passes


def test_where_a_desk_leaves_by_a_list_the_exits_of_all_strategies_count_against_it(context, book, ask):
    of_other = working(option("C"), Side.SELL, 1)._replace(owner="other")
    mine = context(
        intent=intent(Purpose.CLOSE, 1, Side.SELL, owner="one"),
        book=book(of_other),
        owner_held=D(1),
        owners_apart=False,
        live_orders=1,
    )
    assert ask(checks.closes_what_is_held, mine) is not None


def test_what_is_no_exit_or_has_an_owner_is_not_held_against_the_account(context, ask):
    assert ask(checks.closes_what_is_held, context(intent=intent(Purpose.HEDGE))) is None
    assert ask(checks.closes_what_is_held, context(intent=intent(Purpose.CLOSE, owner="one"))) is None


# positions -----------------------------------------------------------------------------------------


def test_a_contract_a_expiry_and_an_underlying_have_a_limit_each(context, book, ask):
    limits = {"max_option_contracts": 10, "max_expiry_contracts": 15, "max_underlying_contracts": 20}
    lines = [
        Held(0, option("C"), D(2)),
        Held(1, option("P"), D(3)),
        Held(2, option("C", 505, LATER), D(4)),
        Held(3, share(), D(900)),
    ]

    def reason(quantity, held=2, *orders):
        one = context(
            limits=limits,
            intent=intent(quantity=quantity),
            held=D(held),
            live_orders=len(orders),
            book=book(*orders, lines=lines),
        )
        return ask(checks.position_within_limits, one)

    assert reason(8) is None  # 10 of the contract, 13 of the expiry, 17 in all
    assert reason(9) == "position would be 11 contracts, limit 10 (risk.max_option_contracts)"
    put = working(option("P"), Side.BUY, 2, number=1)
    assert reason(7, 2, put) is None  # 9 + 3 + 2 = 14
    assert reason(8, 2, put) is None  # 15
    more = working(option("P"), Side.BUY, 3, number=1)
    assert (
        reason(8, 2, more) == f"16 contracts of {EXPIRY} would be held, limit 15 (risk.max_expiry_contracts)"
    )
    far = working(option("C", 505, LATER), Side.BUY, 4, number=2)
    assert reason(8, 2, far) == "21 contracts on SPY would be held, limit 20 (risk.max_underlying_contracts)"


def test_working_orders_on_its_own_side_count_as_filled(context, book, ask):
    same = working(option("C"), Side.BUY, 4)
    other = working(option("C"), Side.SELL, 4)

    def reason(quantity, *orders):
        one = context(
            limits={"max_option_contracts": 10},
            intent=intent(quantity=quantity),
            held=D(3),
            live_orders=len(orders),
            book=book(*orders),
        )
        return ask(checks.position_within_limits, one)

    assert reason(3, same) is None
    assert reason(4, same) is not None
    assert reason(7, other) is None
    assert reason(8, other) is not None


@pytest.mark.rows(
    ("most", "held", "quantity", "passes"),
    [(0, 5, 5, True), (0, 5, 6, False), (0, 0, 1, False), (2, 0, 2, True), (2, 0, 3, False), (2, 3, 5, True)],
)
def test_no_option_is_written_unless_the_limit_says_how_many(context, most, held, quantity, passes, ask):
    one = context(
        limits={"max_short_contracts": most},
        intent=intent(quantity=quantity, side=Side.SELL),
        held=D(held),
    )
    reason = ask(checks.position_within_limits, one)
    assert (reason is None) is passes
    if not passes:
        short = quantity - held
        assert reason == f"position would be {short} contracts short, limit {most} (risk.max_short_contracts)"


@pytest.mark.rows(
    ("held", "side", "quantity", "passes"),
    [
        (0, Side.BUY, 100, True),
        (0, Side.BUY, 101, False),
        (0, Side.SELL, 100, True),
        (0, Side.SELL, 101, False),
        (150, Side.SELL, 20, True),  # above the limit, but lower
        (150, Side.SELL, 250, True),
        (150, Side.SELL, 251, True),  # 101 short is less than 150 long
        (150, Side.SELL, 301, False),
    ],
)
def test_shares_have_a_limit_on_both_sides_and_may_always_become_fewer(
    context, held, side, quantity, passes, ask
):
    one = context(
        on_share=True,
        limits={"max_position_shares": 100},
        intent=intent(Purpose.HEDGE, quantity, side),
        held=D(held),
    )
    assert (ask(checks.position_within_limits, one) is None) is passes


def test_exits_are_not_bounded_by_positions(context, ask):
    one = context(limits={"max_option_contracts": 1}, intent=intent(Purpose.CLOSE, 50, Side.SELL), held=D(50))
    assert ask(checks.position_within_limits, one) is None


# buying power --------------------------------------------------------------------------------------


def cover(context, **changes):
    given = {"quote": quote(0, 0, 9.9, 10.0), "now_ns": NOW}
    one = context(**(given | changes))
    gate = RiskGate(one.limits, (checks.cash_covers, checks.buying_power_covers))
    return next(iter(gate.refusals(one)), None)


def test_without_a_venues_word_what_opens_is_paid_in_cash(context):
    assert cover(context, cash=D(1_000)) is None
    assert cover(context, cash=D("999.99")) == "the order costs 1000.00, cash left 999.99"
    for purpose in (Purpose.HEDGE, Purpose.CLOSE, Purpose.UNWIND_HEDGE):
        assert cover(context, cash=D(0), intent=intent(purpose)) is None


def test_the_venues_word_counts_for_hedges_too(context):
    hedge = {"on_share": True, "cash": D(0), "intent": intent(Purpose.HEDGE, 20)}
    assert cover(context, venue_limits=told(buying_power=D(200)), **hedge) is None
    assert cover(context, venue_limits=told(buying_power=D("199.99")), **hedge) == (
        "the order costs 200.00, buying power left 199.99"
    )
    exact = told(options_buying_power=D(1_000))
    assert cover(context, venue_limits=exact, cash=D(0)) is None
    short = told(options_buying_power=D(999))
    assert cover(context, venue_limits=short) == "the order costs 1000.00, options buying power left 999.00"


def test_what_was_paid_since_the_venues_word_is_gone_and_what_came_in_does_not_count(context):
    account = told(options_buying_power=D(1_500))
    spent = {"cash": D(9_000), "cash_at_report": D(9_500)}
    assert cover(context, venue_limits=account, **spent) is None
    spent["cash"] = D("8999.99")
    assert cover(context, venue_limits=account, **spent) is not None
    assert (
        cover(context, venue_limits=told(options_buying_power=D(999)), cash=D(99), cash_at_report=D(0))
        is not None
    )


def test_working_orders_that_the_venue_did_not_know_are_set_aside(context, book):
    def reason(*orders, **changes):
        return cover(context, cash=D(1_500), live_orders=len(orders), book=book(*orders), **changes)

    call = option("C")
    assert reason(working(call, Side.BUY, 1, limit="5")) is None
    assert reason(working(call, Side.BUY, 1, limit="5.01")) is not None
    assert reason(working(call, Side.BUY, 1)) is not None  # at its mark of 10
    assert reason(working(call, Side.SELL, 9, limit="5")) is None  # a sale of an option pays in
    assert reason(working(call, Side.BUY, 9, limit="5", purpose=Purpose.CLOSE)) is None
    account = told(options_buying_power=D(1_500))
    assert reason(working(call, Side.BUY, 9, limit="5", ago=6), venue_limits=account) is None
    assert reason(working(call, Side.BUY, 9, limit="5", ago=4), venue_limits=account) is not None


@pytest.mark.rows(
    ("held", "side", "quantity", "passes"),
    [
        (-30, Side.BUY, 30, True),  # buys back what it had sold
        (-30, Side.BUY, 40, True),
        (-30, Side.BUY, 41, False),
        (30, Side.SELL, 40, True),
        (30, Side.SELL, 42, False),
        (30, Side.BUY, 11, False),
    ],
)
def test_only_shares_beyond_what_is_held_the_other_way_need_buying_power(
    context, held, side, quantity, passes
):
    reason = cover(
        context,
        on_share=True,
        venue_limits=told(buying_power=D("105")),
        held=D(held),
        intent=intent(Purpose.HEDGE, quantity, side),
    )
    assert (reason is None) is passes


def test_selling_an_option_needs_no_buying_power_here(context):
    assert cover(context, cash=D(0), intent=intent(side=Side.SELL)) is None


def test_unknown_amounts_cover_nothing(context):
    assert cover(context, cash=D("NaN")) == "the cash of the account is not known"
    broken = told(options_buying_power=D("NaN"))
    assert cover(context, venue_limits=broken) == "the options buying power of the account is not known"
    hedge = {"on_share": True, "venue_limits": TOLD, "intent": intent(Purpose.HEDGE)}
    assert cover(context, quote=None, **hedge) == "the cost of the order is not known: no price"
    unknown = quote(0, 0, 9.9, math.nan)
    assert cover(context, quote=unknown, **hedge) == "the cost of the order is not known: no price"


# capital -------------------------------------------------------------------------------------------


def test_the_worst_case_of_the_book_stays_below_the_capital_threshold(context, book, ask):
    lines = [Held(1, option("P"), D(10)), Held(2, share(), D(-100))]  # 10 000 and half of 1 000
    orders = [working(option("P"), Side.BUY, 5, number=1)]  # 5 000

    def reason(quantity, equity):
        one = context(
            limits={"max_capital_fraction": 0.5},
            quote=quote(0, 0, 9.9, 10.0),
            equity=D(equity),
            intent=intent(quantity=quantity),
            live_orders=1,
            book=book(*orders, lines=lines),
        )
        return ask(checks.capital_within_threshold, one)

    assert reason(1, 33_000) is None  # 16 500
    assert reason(1, 32_999) == (
        "16500.00 of capital would be tied up, limit 50% of 32999.00 (risk.max_capital_fraction)"
    )
    assert reason(2, 35_000) is None
    assert reason(3, 35_000) is not None


@pytest.mark.parametrize(("part", "is_let"), [(TradePart.SPEAKER, True), (TradePart.ALONE, False)])
def test_the_premium_of_an_option_that_is_written_is_no_premium_at_risk(context, ask, part, is_let):
    """Ten calls at 10: 10,000 of premium where they are bought, a tenth of 50,000 at most."""
    one = context(
        limits={"max_premium_fraction": 0.1, "max_capital_fraction": 1.0},
        quote=quote(0, 0, 9.9, 10.0),
        equity=D(50_000),
        intent=intent(quantity=10),
        trade=part,
    )
    assert (ask(checks.capital_within_threshold, one) is None) is is_let


@pytest.mark.parametrize("mark", [None, math.nan])
def test_a_book_without_prices_opens_nothing(context, book, mark, ask):
    one = context(book=book(lines=[Held(1, option("P"), D(1))], mark=mark))
    assert ask(checks.capital_within_threshold, one) == (
        "the capital at risk is not known: SPY240419P00500000 has no price"
    )
    hedge = context(book=book(lines=[Held(1, option("P"), D(1))], mark=mark), intent=intent(Purpose.HEDGE))
    assert ask(checks.capital_within_threshold, hedge) is None


def test_lines_that_worked_off_tie_nothing_up(context, book, ask):
    gone = working(option("P"), Side.BUY, 0, number=1)
    assert ask(checks.capital_within_threshold, context(live_orders=1, book=book(gone, mark=None))) is None
