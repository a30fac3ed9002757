"""Dividends and corporate actions: what the broker reports, and what the desk's book makes of it."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.enums import Mode, OperatorAction, OperatorCause
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import OperatorEvent, OrderCancelled, PositionChanged
from scalpdesk.core.intents import Mark, OrderType, Purpose, Side, SubmitOrder, TimeInForce
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.marketdata.triggers import EveryQuote
from scalpdesk.portfolio.positions import PositionManager
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.corporate_actions import LARGEST_ORDINARY_DIVIDEND
from scalpdesk.simulation.orders import OrderClass
from scalpdesk_testing.kit.bookings import apply_change, booked
from scalpdesk_testing.kit.broker import Market, connect, give
from scalpdesk_testing.kit.desk import Scripted, decisions, run_tape
from scalpdesk_testing.kit.instruments import DAY, option, share, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at

D = Decimal
TUESDAY = date(2024, 3, 5)
OPEN, CLOSE = session_on(TUESDAY).open_ns, session_on(TUESDAY).close_ns


def action(kind="split", ratio="1", **terms):
    return CorporateAction(symbol="SPY", ex_date=TUESDAY, kind=ActionKind(kind), ratio=D(ratio), **terms)


TRADES = st.lists(
    st.tuples(
        st.integers(-60, 60).filter(bool).map(D), st.integers(100, 90_000).map(lambda cents: D(cents) / 100)
    ),
    min_size=1,
    max_size=12,
).filter(lambda trades: sum(quantity for quantity, _ in trades))
RATIOS = st.sampled_from(["2", "3", "7", "1.5", "0.5", "0.1", "0.333333"]).map(D)


def books_after(trades, happens, spot="500"):
    """Return the desk's book and the broker's holding after trades and an action."""
    instruments = straddle_book()
    instruments.add(share("KID"))
    held, book = sum(quantity for quantity, _ in trades), PositionManager(instruments)
    for index, (quantity, price) in enumerate(trades):
        booked(book, 0, quantity, price, f"x{index}")
    cost, realized, scalps = book.positions[0].cost, book.positions[0].realized, book.scalps[0].realized
    venue = connect(instruments, cash=10_000_000, is_open=False)
    account = venue.account
    for quantity, price in trades:
        give(account, 0, quantity, price)
    venue.on_quote(TapeBuilder().quote(0, "16:00", float(spot), float(spot)).rows[0])
    venue.broker.actions.schedule = (happens,)
    venue.open_session(OPEN, CLOSE)
    changes = [event for event in venue.take_due(OPEN) if isinstance(event, PositionChanged)]
    cash = D(0)
    for change in changes:
        apply_change(book, change)
        cash += change.cash_change
    assert account.cash == 10_000_000 + cash
    assert {n: p.quantity for n, p in account.holdings.items()} == {
        p.instrument_id: p.quantity for p in book.held()
    }
    for number, position in account.holdings.items():
        assert abs(position.cost - book.positions[number].cost) < D("1e-18")
    return held, cost, realized, scalps, book, cash, changes


@given(TRADES, RATIOS)
def test_a_split_conserves_cost_and_realises_only_the_fraction(trades, ratio):
    held, cost, realized, scalps, book, cash, _ = books_after(trades, action(ratio=str(ratio)))
    position = book.positions[0]
    after = held * ratio
    fraction = after - position.quantity
    price = (D(500) / ratio).quantize(D("0.0001"))
    assert position.quantity == int(after)
    assert cash == fraction * price
    part = position.quantity / after
    assert abs(position.cost - cost * part) < D("1e-15")
    gain = fraction * price - cost * (1 - part)
    assert abs(position.realized - realized - gain) < D("1e-15")
    if not fraction:
        assert (position.realized, book.scalps[0].realized, position.cost) == (realized, scalps, cost)
    if position.quantity:
        assert abs(position.average_price * ratio - cost / held) < D("1e-15")


def two_days(instruments, before, after, *actions, dividends=()):
    """Return a tape of two sessions; prices by instrument id at the first close and from the second open."""
    builder = TapeBuilder(instruments, days=(DAY, TUESDAY))
    for day, times, prices in ((DAY, ("10:00", "16:00"), before), (TUESDAY, ("09:31", "16:00"), after)):
        for when in times:
            for number, price in prices.items():
                builder.quote(number, at(when, day), price - 0.005, price + 0.005)
    builder.dividends = dividends
    return replace(builder.build(), actions=actions)


@pytest.mark.rows(
    ("happens", "after", "holdings"),
    [
        (action(ratio="4"), {0: 125.0}, {0: 404}),
        (action(ratio="0.1"), {0: 5_000.0}, {0: 10}),
        (action("special_dividend", cash=D(20)), {0: 480.0}, {0: 101}),
    ],
)
def test_an_action_is_explained_without_a_residual(happens, after, holdings):
    book = Instruments([share("SPY"), share("KID")])
    tape = two_days(book, {0: 500.0}, after, happens)
    run = run_tape(tape, Scripted(), positions={0: 101}, mark_seconds=3_600.0)
    desk = run.engine.desk
    assert {p.instrument_id: p.quantity for p in desk.positions.held()} == holdings
    assert {n: p.quantity for n, p in run.broker.account.holdings.items()} == holdings
    assert desk.account.cash == run.broker.account.cash
    totals = desk.attribution.totals
    assert totals["residual"] == 0
    assert float(totals["carry"]) == pytest.approx(0, abs=0.01)
    assert float(desk.attribution.nav) == pytest.approx(100_000 + 101 * 500, abs=0.06)
    assert sum(totals.values()) == desk.attribution.nav_change


def split_book():
    return Instruments([share("SPY"), option("C", 500), option("C", 250)])


def test_options_go_across_a_whole_split_with_their_cost():
    tape = two_days(split_book(), {0: 500.0, 1: 12.0}, {0: 250.0, 2: 6.0}, action(ratio="2"))
    run = run_tape(tape, Scripted(), positions={1: -3}, mark_seconds=3_600.0)
    desk = run.engine.desk
    (change,) = [event for event in run.events if isinstance(event, PositionChanged)]
    assert (change.instrument_id, change.source, change.quantity_change, change.source_change) == (
        2,
        1,
        -6,
        3,
    )
    # no strategy knows the new leg: the desk closes it, and says why
    reasons = [line for decision in decisions(run.outputs) for line in decision.reasons]
    adjusted = "SPY240419C00500000 was adjusted to SPY240419C00250000"
    assert f"ACTIVE to FLATTENING: {adjusted}" in reasons
    assert not desk.positions.held()
    assert desk.account.cash == run.broker.account.cash == 100_000 - 600 * D("6.005")
    assert desk.positions.positions[2].realized == 3 * 100 * 1 - 600 * D("6.005")  # sold at 1, before
    # before its first quote nothing values it: three were sold at one, and are worth twelve then
    assert abs(desk.attribution.totals["residual"] + 3 * 100 * (12 - 1)) < D("0.1")


def test_a_desk_is_not_judged_while_a_split_is_half_booked():
    """Shares at half their price and not yet doubled in number are worth 25,000 USD less than they were."""
    tape = two_days(split_book(), {0: 500.0, 1: 12.0}, {0: 250.0, 2: 6.0}, action(ratio="2"))
    run = run_tape(tape, Scripted(), positions={1: 1, 0: 100}, mark_seconds=3_600.0)
    assert [event.more_follow for event in run.events if isinstance(event, PositionChanged)] == [True, False]
    reasons = [line for decision in decisions(run.outputs) for line in decision.reasons]
    assert "ACTIVE to FLATTENING: SPY240419C00500000 was adjusted to SPY240419C00250000" in reasons
    assert not [line for line in reasons if "daily loss" in line]
    assert all(not each.nav_change for each in run.outputs if isinstance(each, Mark) and each.ts_ns == OPEN)


def test_an_adjusted_option_ends_as_its_new_contract():
    """One call of 500 becomes two of 250, which end at 260 on the day of the split: 200 shares at 250."""
    book = Instruments([share("SPY"), option("C", 500, TUESDAY), option("C", 250, TUESDAY)])
    venue = connect(book, is_open=False, positions={1: 1})
    venue.broker.actions.schedule = (action(ratio="2"),)
    venue.open_session(OPEN, CLOSE)
    venue.on_quote(TapeBuilder(book).quote(0, at("16:00", TUESDAY), 260.0, 260.0).rows[0])
    venue.take_due(cleared_ns(CLOSE))
    assert {n: p.quantity for n, p in venue.account.holdings.items()} == {0: 200}
    assert venue.account.cash == 100_000 - 200 * 250


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (action(ratio="0.1"), "it then delivers 10 SPY"),
        (action(ratio="4"), "the data have no SPY240419C00125000"),
    ],
)
def test_a_run_that_cannot_carry_an_option_says_so(happens, why):
    tape = two_days(split_book(), {0: 500.0, 1: 12.0}, {0: 250.0}, happens)
    with pytest.raises(DataError, match=why):
        run_tape(tape, Scripted(), positions={1: 1}, mark_seconds=3_600.0)
    run_tape(tape, Scripted(), positions={2: 0}, mark_seconds=3_600.0)  # who holds none of it goes on


def test_a_run_that_lacks_a_price_of_the_fraction_says_so():
    tape = two_days(split_book(), {1: 12.0}, {}, action(ratio="1.5"))
    with pytest.raises(DataError, match="a fraction of SPY is paid in cash, and no price of it is known"):
        run_tape(tape, Scripted(), positions={0: 101}, mark_seconds=3_600.0)


def test_a_distribution_too_large_for_a_dividend_stops_who_holds_the_share():
    paid = (CashDividend("SPY", TUESDAY, D("21.00")),)
    tape = two_days(split_book(), {0: 500.0, 1: 12.0}, {0: 479.0}, dividends=paid)
    for held in ({0: 100}, {1: 1}):
        with pytest.raises(
            DataError, match=r"21.00 a share, 4.2% of its price, is no ordinary dividend of SPY"
        ):
            run_tape(tape, Scripted(), positions=held, mark_seconds=3_600.0)
    assert run_tape(tape, Scripted(), mark_seconds=3_600.0).engine.desk.account.cash == 100_000


def test_a_split_leaves_options_and_shares_of_another_underlying_as_they_are():
    book = split_book()
    for right in "CP":
        book.add(us_option(f"KID240419{right}00040000", ["KID"]))
    book.add(share("KID"))
    others = [number for number in range(len(book)) if "KID" in book[number].symbol]
    held = {1: -3, **dict.fromkeys(others, 5)}
    before = {0: 500.0, 1: 12.0, **dict.fromkeys(others, 4.0)}
    tape = two_days(book, before, {0: 250.0, 2: 6.0}, action(ratio="2"))
    run = run_tape(tape, Scripted(), positions=held)
    changes = [event for event in run.events if isinstance(event, PositionChanged)]
    assert {change.instrument_id for change in changes} | {change.source for change in changes} == {1, 2}


def test_orders_that_rest_are_cancelled_by_an_action_and_left_by_a_dividend():
    for happens, is_left in ((action(ratio="2"), False), (CashDividend("SPY", TUESDAY, D(1)), True)):
        venue = connect(split_book(), is_open=False)
        ids = count(1)
        for number, price in ((0, "400"), (1, "1")):
            name, limit = f"o-{next(ids)}", (OrderType.LIMIT, D(price), TimeInForce.GTC)
            venue.send(SubmitOrder(name, number, Side.BUY, D(1), *limit, Purpose.HEDGE), OPEN - 10)
        assert len(venue.account.open_orders()) == 2
        venue.broker.actions.schedule = (happens,)
        venue.open_session(OPEN, CLOSE)
        gone = [event for event in venue.take_due(OPEN) if isinstance(event, OrderCancelled)]
        assert (len(gone), len(venue.account.open_orders())) == ((0, 2) if is_left else (2, 0))


# at the broker alone --------------------------------------------------------------------------------


def market(positions=None, happens=(), *, cash=1_000_000):
    """Return a broker, before the session of the ex-date, that has seen SPY at 500 and KID at 40."""
    book = straddle_book(500)
    book.add(share("KID"))
    made = Market(book, positions, opens_ns=None, cash=cash)
    for number, mid in ((0, 500), (1, 12), (2, 8), (3, 40)):
        made.quote(number, OPEN - 1, mid - 0.5, mid + 0.5)
    made.broker.actions.schedule = happens
    return made


@pytest.mark.rows(
    ("happens", "bid", "ask"),
    [
        (action(ratio="4"), 124.875, 125.125),
        (action(ratio="0.1"), 4_995.0, 5_005.0),
        (action("special_dividend", cash=D(20)), 499.5, 500.5),
    ],
)
def test_the_last_quote_is_of_the_share_as_it_is_after_the_action(happens, bid, ask):
    venue = market({0: 100}, (happens,))
    venue.broker.open_session(OPEN, CLOSE)
    after = venue.ledger.latest(0)
    assert (after.bid, after.ask) == (pytest.approx(bid), pytest.approx(ask))
    assert venue.ledger.mark(3) == 40


def test_a_split_before_any_quote_has_nothing_to_reprice():
    venue = Market(straddle_book(500), {0: 100}, opens_ns=None)
    venue.broker.actions.schedule = (action(ratio="4"),)
    venue.broker.open_session(OPEN, CLOSE)
    assert (venue.units(), venue.ledger.latest(0)) == ({0: 400}, None)


def test_what_is_not_due_or_not_traded_keeps_nothing_that_is_due_waiting():
    wednesday = CashDividend("SPY", date(2024, 3, 6), D(7))
    monday = CashDividend("SPY", DAY, D(5))
    other = CashDividend("QQQ", TUESDAY, D(3))
    venue = market({0: 100}, (wednesday, monday, other, CashDividend("SPY", TUESDAY, D(1))))
    venue.broker.open_session(OPEN, CLOSE)
    assert [change.cash_change for change in venue.bookings()] == [100]
    later = session_on(date(2024, 3, 7))
    venue.broker.open_session(later.open_ns, later.close_ns)  # what went ex on a day without a session too
    assert [change.cash_change for change in venue.bookings()] == [700]
    venue.broker.open_session(later.open_ns + 1, later.close_ns)
    assert venue.bookings() == []


def test_the_largest_ordinary_dividend_is_paid_and_a_cent_more_is_refused():
    largest = LARGEST_ORDINARY_DIVIDEND * 500
    venue = market({0: 100}, (CashDividend("SPY", TUESDAY, largest),))
    venue.broker.open_session(OPEN, CLOSE)
    assert venue.account.cash == 1_000_000 + 100 * largest
    more = CashDividend("SPY", TUESDAY, largest + D("0.01"))
    for positions in ({0: 100}, {1: 1}, {2: -1}):
        with pytest.raises(DataError, match="is no ordinary dividend of SPY"):
            market(positions, (more,)).broker.open_session(OPEN, CLOSE)
    for positions in ({3: 100}, {}):
        venue = market(positions, (more,))
        venue.broker.open_session(OPEN, CLOSE)
        assert venue.bookings() == []


def test_an_action_cancels_every_order_in_the_share_and_its_options_once():
    """Exits of a filled entry rest at prices of before the split; orders in other shares stay."""
    venue = market()
    venue.broker.open_session(OPEN - 1, CLOSE)
    venue.quote(0, OPEN - 1, 499.5, 500.5)
    exits = {"take_profit_limit": D(510), "stop_loss_stop": D(490)}
    entry = venue.order(0, 10, 501, structure=OrderClass.BRACKET, **exits)
    waiting = venue.order(0, 10, 400, structure=OrderClass.BRACKET, **exits | {"stop_loss_stop": D(390)})
    other = venue.order(3, 1, 10)
    combo = venue.combo({1: 1, 2: 1}, 1)
    option_order = venue.order(1, 1, 1)
    venue.broker.drain()
    venue.broker.actions.apply(action(ratio="2"))
    assert venue.reports() == [
        (order.order_id, "canceled") for order in (*entry.legs, waiting, *waiting.legs, combo, option_order)
    ]
    assert venue.account.open_orders() == [other]
    assert venue.units() == {0: 20}


def test_the_parts_of_one_action_are_told_as_belonging_together():
    venue = market({0: 101}, (action(ratio="0.5"),))
    venue.broker.open_session(OPEN, CLOSE)
    units, fraction = venue.bookings()
    assert (units.more_follow, fraction.more_follow) == (True, False)
    assert (units.source, units.quantity_change, units.source_change) == (0, D("-50.5"), 0)
    assert (fraction.quantity_change, fraction.price, fraction.cash_change) == (D("-0.5"), 1_000, 500)
    assert venue.units() == {0: 50}


def test_holders_are_paid_a_dividend_and_who_is_short_is_charged():
    venue = market({0: 100})
    short = venue.broker.open_account(AccountTerms(name="short", cash=D(0), positions={0: (D(-3), D(9))}))
    flat = venue.broker.open_account(AccountTerms(name="flat", cash=D(0)))
    venue.broker.actions.pay_dividend(0, D("0.5"))
    assert (venue.account.cash, short.cash, flat.cash) == (1_000_050, D("-1.5"), 0)
    assert [change.reference for change in venue.bookings()] == [f"dividend-0-{OPEN - 1}"] * 2
    venue.broker.actions.pay_dividend(0, D("0.5"), "q1")
    assert venue.bookings()[0].reference == "dividend-0-q1"


@pytest.mark.parametrize("positions", [{1: 3, 2: 5}, {2: 5, 1: 3}])
def test_an_option_that_becomes_another_held_one_takes_neither_its_cost_nor_its_price(positions):
    """Two for one: the 500 call becomes the 250 call, which was the 125 call's; held in either order."""
    instruments = Instruments([share("SPY"), *(option("C", strike) for strike in (500, 250, 125))])
    before, after = {0: 500.0, 1: 12.0, 2: 252.0}, {0: 250.0, 2: 6.0, 3: 126.0}
    run = run_tape(
        two_days(instruments, before, after, action(ratio="2")),
        Scripted(),
        positions=positions,
        mark_seconds=3_600.0,
    )
    desk = run.engine.desk
    changes = [event for event in run.events if isinstance(event, PositionChanged)]
    assert [(change.source, change.instrument_id) for change in changes] == [(2, 3), (1, 2)]
    # bought at one each, and sold at the bid of the second day
    assert desk.positions.positions[2].realized == 600 * D("5.995") - 300
    assert desk.positions.positions[3].realized == 1_000 * D("125.995") - 500
    assert desk.account.cash == run.broker.account.cash
    assert desk.session_equity == 100_000 + 300 * 12 + 500 * 252  # worth at the open what it was


ORDINARY, SPECIAL = CashDividend("SPY", TUESDAY, D(14)), action("special_dividend", cash=D(20))


@pytest.mark.parametrize(
    ("after", "paid"),
    [
        (486.0, {"dividends": (ORDINARY,)}),
        (480.0, {"actions": (SPECIAL,)}),
        (233.0, {"dividends": (ORDINARY,), "actions": (SPECIAL, action(ratio="2"))}),
        (223.0, {"dividends": (ORDINARY,), "actions": (action(ratio="2"), SPECIAL)}),
    ],
    ids=["ordinary", "special", "both, then a split", "a split before the special one"],
)
def test_a_dividend_is_no_loss_of_the_session_that_it_is_paid_in(after, paid):
    """100 shares of 500 USD, less what they are paid: the equity at the open is that of the evening."""
    tape = replace(two_days(Instruments([share("SPY")]), {0: 500.0}, {0: after}), **paid)
    limits = RiskLimits(max_daily_loss=D(1_000))
    strategy = Scripted(triggers=[EveryQuote(0)])
    run = run_tape(tape, strategy, positions={0: 100}, limits=limits)
    desk = run.engine.desk
    assert desk.session_equity == desk.attribution.nav == 100_000 + 100 * 500
    assert not decisions(run.outputs)


@pytest.mark.parametrize("action_after", ["resume", "reduce"])
def test_a_desk_that_was_halted_over_a_split_closes_the_adjusted_option_once_it_may_trade(action_after):
    def operate(what, day, when):
        return OperatorEvent(
            at(when, day), at(when, day), OperatorAction(what), "test", "operator", OperatorCause.PERSON
        )

    tape = two_days(split_book(), {0: 500.0, 1: 12.0}, {0: 250.0, 2: 6.0}, action(ratio="2"))
    commands = operate("halt", DAY, "15:00"), operate(action_after, TUESDAY, "10:00")
    limits = RiskLimits(max_daily_loss=D(1_000_000))
    run = run_tape(
        tape,
        Scripted(),
        positions={1: 1, 0: -50},
        known_at_open=commands,
        limits=limits,
        mark_seconds=3_600.0,
    )
    reasons = [decision.reasons[0] for decision in decisions(run.outputs)]
    adjusted = "SPY240419C00500000 was adjusted to SPY240419C00250000"
    assert reasons[2] == f"{OperatorAction(action_after).mode} to FLATTENING: {adjusted}"
    assert run.engine.desk.gate.mode is Mode.FLATTENING
    assert not run.engine.desk.positions.held()


def test_the_broker_values_an_adjusted_option_at_the_price_of_before_until_its_first_quote():
    """Ten calls at 12 become twenty at 6; at the same forward their volatility, and so their worth, stays."""
    venue = connect(split_book(), cash=10_000, is_open=False, positions={0: D(100), 1: D(10)})
    for number, price in ((0, 500.0), (1, 12.0)):
        venue.on_quote(TapeBuilder().quote(number, "16:00", price - 0.005, price + 0.005).rows[0])
    ledger = venue.broker.ledger
    assert ledger.figures(venue.account).equity == 72_000
    venue.broker.actions.schedule = (action(ratio="2"),)
    venue.open_session(OPEN, CLOSE)
    venue.take_due(OPEN)
    assert ledger.figures(venue.account).equity == 72_000
    venue.on_quote(TapeBuilder().quote(0, OPEN + 10**9, 249.995, 250.005).rows[0])
    assert ledger.figures(venue.account).equity == pytest.approx(72_000, abs=12_000 * 0.02)  # a night less


def test_a_special_dividend_on_shares_and_options_is_no_move_of_the_market():
    """Two calls and 100 shares sold short: what is paid and what prices fall by are one, in no part."""
    instruments = Instruments([share("SPY"), option("C", 500), option("C", 450)])
    happens = action("special_dividend", cash=D(50))
    tape = two_days(instruments, {0: 500.0, 1: 12.0}, {0: 450.0, 2: 12.0}, happens)
    limits = RiskLimits(max_daily_loss=D(1_000_000))
    run = run_tape(tape, Scripted(), positions={1: 2, 0: -100}, limits=limits, mark_seconds=3_600.0)
    totals = run.engine.desk.attribution.totals
    # from one, at which they were taken over, to the first mark of the shares, and of the calls
    assert (totals["delta"], totals["gamma"], totals["carry"]) == (-100 * 499, 0, 0)
    assert float(totals["residual"]) == pytest.approx(2 * 100 * 11, abs=0.01)
    assert sum(totals.values()) == run.engine.desk.attribution.nav_change
