from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

from scalpdesk.backtesting.runner import BacktestRunner
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import DataError
from scalpdesk.core.events import (
    BarEvent,
    DividendEvent,
    ForecastEvent,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    PositionChanged,
    QuoteEvent,
    SessionEvent,
    TimerEvent,
)
from scalpdesk.core.intents import CancelIntent, OrderIntent, OrderType, Purpose, SetTimer, Side, Stop
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.tape import BarColumns
from scalpdesk.marketdata.triggers import EveryQuote, Wake
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.simulation.assignment import AssignmentTerms
from scalpdesk.simulation.hours import TapeHours
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.desk import Scripted, build_engine, orders, run_tape
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder, at

D = Decimal
TUESDAY = date(2024, 3, 5)


class Hasty(RiskLimits, frozen=True, kw_only=True):
    duplicate_window_seconds = 0.01  # the same order again, 40 ms later


def buying(*clock_times, number=0, quantity=10, side=Side.BUY, limit=None):
    """Build a strategy that sends one order at the first quote from each time on."""
    left = [at(one) for one in clock_times]

    def think(view, wake, event):
        if wake is Wake.PRICE and left and view.now_ns >= left[0]:
            left.pop(0)
            kind = OrderType.MARKET if limit is None else OrderType.LIMIT
            price = None if limit is None else D(limit)
            intent = OrderIntent(number, side, D(quantity), Purpose.HEDGE, "", kind, price)
            return (Proposal(DecisionKind.HEDGE, ("because",), {}, (intent,)),)
        return ()

    return Scripted(think, [EveryQuote(0)])


def steady(*clock_times, mid=500.0, **how):
    builder = TapeBuilder()
    for clock_time in clock_times:
        builder.spot(clock_time, mid, **how)
    return builder


def test_a_session_opens_runs_and_closes_in_order():
    run = run_tape(steady("10:00", "10:01").build(), Scripted(), mark_seconds=1e9)
    kinds = run.kinds()
    assert kinds == ["RateEvent", "OpenInterestEvent", "OpenInterestEvent", "SessionEvent", "SessionEvent"]
    assert len(run.events) == run.runner.events == 5 + 6
    stamps = [event.ts_recv_ns for event in run.events]
    assert stamps == sorted(stamps)


def test_an_order_fills_on_the_quote_that_provoked_it_and_before_the_next():
    run = run_tape(steady("10:00", "10:01", mid=500.0).build(), buying("10:00"))
    names = [type(event).__name__ for event in run.events]
    first = names.index("OrderAccepted")
    assert names[first - 1 : first + 2] == ["QuoteEvent", "OrderAccepted", "OrderFilled"]
    assert (run.events[first - 1].instrument_id, run.events[first + 1].ts_recv_ns) == (0, at("10:00"))
    assert run.broker.account.quantity(0) == 10


def test_the_options_of_an_instant_are_known_when_its_underlying_wakes():
    marks = []

    def think(view, wake, event):
        if wake is Wake.PRICE:
            marks.append(tuple(view.market.quotes[number].ts_recv_ns for number in (0, 1, 2)))
        return ()

    run_tape(steady("10:00", "10:01").build(), Scripted(think, [EveryQuote(0)]))
    assert marks == [(at(one),) * 3 for one in ("10:00", "10:01")]


def test_latency_fills_at_the_market_that_the_order_meets():
    tape = (
        TapeBuilder().spot("10:00", 500.0).spot(at("10:00") + 10_000_000, 505.0).spot("10:01", 510.0).build()
    )
    run = run_tape(tape, buying("10:00"), latency_ms=30)
    (fill,) = [event for event in run.events if isinstance(event, OrderFilled)]
    assert fill.price == D("505.01")
    assert fill.ts_event_ns == at("10:00") + 30_000_000
    assert fill.ts_recv_ns == at("10:00") + 60_000_000


@pytest.mark.parametrize("latency_ms", [0, 1])
def test_a_resting_order_is_filled_by_a_later_quote(latency_ms):
    tape = TapeBuilder().spot("10:00", 500.0).spot("10:01", 499.0).spot("10:02", 497.0)
    run = run_tape(tape.spot("10:03", 497.0).build(), buying("10:00", limit="498.00"), latency_ms=latency_ms)
    (fill,) = [event for event in run.events if isinstance(event, OrderFilled)]
    assert (fill.price, fill.ts_event_ns) == (D("498.00"), at("10:02"))
    before = run.events[run.events.index(fill) - 1]
    # the desk knows the quote that its order was filled at when it hears of the fill
    assert (type(before), before.instrument_id, before.ts_recv_ns) == (QuoteEvent, 0, at("10:02"))


def test_timers_come_at_their_own_time_between_quotes():
    def think(view, wake, event):
        return (SetTimer("mine", view.now_ns + 30 * 10**9),) if wake is Wake.SESSION else ()

    run = run_tape(steady("09:30:10", "09:31").build(), Scripted(think), mark_seconds=60.0)
    timers = [(event.name, event.ts_recv_ns) for event in run.events if isinstance(event, TimerEvent)]
    assert timers[0] == ("mine", at("09:30:30"))
    assert timers[1] == ("mark", at("09:31"))
    assert len(timers) == 1 + 390  # a mark a minute to the close, that one included
    names = [type(event).__name__ for event in run.events if event.ts_recv_ns == at("09:31")]
    assert names == ["TimerEvent", "QuoteEvent", "QuoteEvent", "QuoteEvent"]


def test_bars_come_after_the_quotes_of_their_instant():
    tape = steady("10:00", "10:01").build()
    one = np.ones(1)
    bars = BarColumns(np.array([at("10:00")]), np.zeros(1, np.int32), np.full(1, 60, np.int32), *([one] * 5))
    run = run_tape(replace(tape, bars=bars), Scripted())
    names = [
        type(event)
        for event in run.events
        if event.ts_recv_ns == at("10:00") and type(event) is not TimerEvent
    ]
    assert names == [QuoteEvent, QuoteEvent, QuoteEvent, BarEvent]


def test_what_rests_at_the_close_expires_and_is_not_sent_again():
    run = run_tape(steady("10:00", "15:59:59").build(), buying("10:00", "15:59:59", limit="400"))
    expired = [event for event in run.events if isinstance(event, OrderExpired)]
    assert [one.ts_recv_ns for one in expired] == [session_on(DAY).close_ns] * 2
    assert run.engine.desk.orders.live == {}
    assert len(orders(run.outputs)) == 2


def test_orders_on_their_way_at_the_close_never_reach_the_next_session():
    builder = TapeBuilder(days=(DAY, TUESDAY)).spot("10:00", 500.0)
    builder.spot(at("16:00") - 50_000_000, 500.0).spot(at("16:00") - 10_000_000, 500.0)
    builder.spot("10:00", 490.0, day=TUESDAY)
    strategy = buying("15:59:59.95", "15:59:59.99")
    run = run_tape(builder.build(), strategy, latency_ms=30, limits=Hasty())
    fills = [event for event in run.events if isinstance(event, OrderFilled)]
    rejects = [event for event in run.events if isinstance(event, OrderRejected)]
    assert [(one.price, one.ts_recv_ns) for one in fills] == [(D("500.01"), at("16:00"))]
    assert [(one.reason, one.ts_recv_ns) for one in rejects] == [("the session is over", at("16:00"))]
    desk = run.engine.desk
    assert desk.orders.live == {}
    assert desk.positions.quantity(0) == run.broker.account.quantity(0) == 10
    assert desk.account.cash == run.broker.account.cash
    assert desk.attribution.nav_change == sum(desk.attribution.totals.values()) == D("-100.1")


def test_sessions_follow_one_another_and_days_between_are_skipped():
    builder = TapeBuilder(days=(DAY, TUESDAY)).spot("10:00", 500.0)
    builder.spot("10:00", 501.0, day=TUESDAY)
    run = run_tape(builder.build(), Scripted())
    sessions = [(event.session, event.phase) for event in run.events if isinstance(event, SessionEvent)]
    assert sessions == [(day, phase) for day in ("2024-03-04", "2024-03-05") for phase in ("open", "close")]
    assert run.engine.strategy.wakes == [Wake.SESSION] * 4


def test_what_is_known_at_the_open_of_a_session_comes_before_it():
    builder = TapeBuilder(days=(DAY, TUESDAY)).spot("10:00", 500.0)
    forecasts = tuple(
        ForecastEvent(0, session_on(day).open_ns, session_on(day).open_ns, "har", 5, vol, 0.1, 0.3, 0.01, "")
        for day, vol in ((DAY, 0.2), (TUESDAY, 0.3))
    )
    run = run_tape(builder.build(), Scripted(), known_at_open=forecasts)
    names = [type(event).__name__ for event in run.events]
    opens = [index for index, event in enumerate(run.events) if isinstance(event, SessionEvent)][::2]
    assert [names[index - 1] for index in opens] == ["ForecastEvent", "ForecastEvent"]
    assert run.engine.desk.market.forecasts[0].vol == 0.3


def test_a_dividend_is_paid_at_the_open_of_the_ex_date():
    builder = TapeBuilder(days=(DAY, TUESDAY)).spot("10:00", 500.0).dividend("1.50", TUESDAY)
    builder.spot("10:00", 498.5, day=TUESDAY)
    run = run_tape(builder.build(), Scripted(), positions={0: 100})
    (paid,) = [event for event in run.events if isinstance(event, PositionChanged)]
    assert (paid.cause, paid.cash_change, paid.ts_recv_ns) == (
        "dividend",
        D(150),
        session_on(TUESDAY).open_ns,
    )
    assert any(isinstance(event, DividendEvent) for event in run.events[:5])
    desk = run.engine.desk
    assert desk.account.cash == run.broker.account.cash == D(100_150)
    # a price less the dividend and the cash of it cancel: what is left is a move of the share
    assert desk.attribution.totals["carry"] == desk.attribution.totals["residual"] == 0
    assert desk.attribution.totals["delta"] == desk.attribution.nav_change


def ex_night(positions, early):
    """A call at 400 on a share at 500 that goes ex 1.50 over the night, at a rate of 0."""
    builder = TapeBuilder(straddle_book(400), days=(DAY, TUESDAY), vol=0.15).dividend("1.50", TUESDAY)
    builder.spot("10:00", 500.0).spot("15:59", 500.0).spot("10:00", 498.5, day=TUESDAY)
    return run_tape(builder.build(), Scripted(), positions=positions, assignment=AssignmentTerms(early))


def test_a_sold_call_is_assigned_in_the_night_and_the_desk_has_the_brokers_ledger():
    """By hand: 2 calls deliver 200 of 300 shares at 400; the dividend is that of the 100 that are left."""
    run = ex_night({0: 300, 1: -2}, "worth")
    told = [event for event in run.events if isinstance(event, PositionChanged)]
    assert [(one.cause, one.quantity_change, one.cash_change) for one in told] == [
        ("assignment", 2, 0),
        ("delivery", -200, 80_000),
        ("dividend", 0, 150),
    ]
    desk, account = run.engine.desk, run.broker.account
    assert desk.account.cash == account.cash == D(180_150)
    held = {number: each.quantity for number, each in account.holdings.items()}
    assert held == {each.instrument_id: each.quantity for each in desk.positions.held()} == {0: 100}
    parts = [desk.attribution.totals[name] for name in ("delta", "gamma", "theta", "vega", "carry")]
    assert abs(sum(parts) + desk.attribution.totals["residual"] - desk.attribution.nav_change) < 1


@pytest.mark.parametrize("early", ["worth", "random"])
def test_a_run_that_sells_nothing_knows_of_no_assignment(early):
    held = {0: -100, 1: 2, 2: 1}
    usual, other = ex_night(held, "off"), ex_night(held, early)
    assert usual.events == other.events
    assert usual.outputs == other.outputs


@pytest.mark.parametrize("moved", [0.0, 0.003])
@pytest.mark.parametrize("has_morning", [True, False])
def test_the_pin_is_held_over_the_night_and_known_in_the_morning(has_morning, moved):
    """A straddle sold at 270 on a share at 270.005: one leg is assigned, by the last price of its holders.

    With seeds 2, 5 and 7 the price falls after the close, and the put is assigned: shares at 270, which the
    next session opens at 268.50.
    """
    monday, tuesday = date(2018, 1, 8), date(2018, 1, 9)
    seen = {}
    for seed in (1, 2, 5, 7, 9):
        builder = TapeBuilder(straddle_book(270, expiry=monday), days=(monday, tuesday)[: 1 + has_morning])
        builder.spot("10:00", 270.0, day=monday).spot("15:59", 270.005, day=monday)
        if has_morning:
            builder.spot("09:30", 268.5, day=tuesday)
        terms = AssignmentTerms("off", after_close_move=moved, seed=seed)
        run = run_tape(builder.build(), Scripted(), positions={1: -1, 2: -1}, assignment=terms)
        told = [event for event in run.events if isinstance(event, PositionChanged)]
        assert {one.cause for one in told} == {"assignment", "delivery", "expired_worthless"}
        assert {one.ts_recv_ns for one in told} == {at("07:30", tuesday)}
        assert {one.ts_event_ns for one in told} == {at("16:00", monday)}
        desk, account = run.engine.desk, run.broker.account
        held = {each.instrument_id: each.quantity for each in desk.positions.held()}
        assert held == {number: each.quantity for number, each in account.holdings.items()}
        assert sum(desk.attribution.totals.values()) == desk.attribution.nav_change
        seen[seed] = int(held[0])
        last = D("268.5") if has_morning else desk.delta_engine.mark(0)
        assert desk.attribution.nav == pytest.approx(account.cash + held[0] * D(str(last)), abs=D("0.01"))
    down = {2: 100, 5: 100, 7: 100}
    assert {seed: seen[seed] for seed in down} == (down if moved else dict.fromkeys(down, -100))
    assert moved or set(seen.values()) == {-100}


def expiring(level, positions, root="SPY", settlement=None):
    book = straddle_book(500, expiry=DAY, symbol=root)
    builder = TapeBuilder(book).spot("10:00", 500.0).spot("15:59", level)
    if settlement is not None:
        builder.settlement_prices[(root, DAY)] = settlement
    return run_tape(builder.build(), Scripted(), positions=positions)


def test_options_in_the_money_at_the_close_become_shares():
    run = expiring(507.0, {1: 2, 2: 1})
    desk = run.engine.desk
    assert {int(one.instrument_id): int(one.quantity) for one in desk.positions.held()} == {0: 200}
    assert desk.account.cash == run.broker.account.cash == D(100_000) - 100_000
    assert desk.attribution.nav == D(200) * 507
    assert sum(desk.attribution.totals.values()) == desk.attribution.nav_change


def test_cash_settled_options_pay_and_worthless_ones_lapse():
    run = expiring(507.25, {1: 2, 2: 3}, root="XSP")
    assert not run.engine.desk.positions.held()
    assert run.engine.desk.account.cash == run.broker.account.cash == D(100_000) + 1_450


def test_an_option_settled_in_the_morning_pays_on_the_opening_level():
    run = expiring(507.0, {1: 1, 2: 1}, root="SPX", settlement=508.5)
    # the first quote of the session stood at 500.00: neither leg is in the money, wherever it closed
    causes = [event.cause for event in run.events if isinstance(event, PositionChanged)]
    assert causes == ["expired_worthless", "expired_worthless"]
    book = straddle_book(490, expiry=DAY, symbol="SPX")
    builder = TapeBuilder(book).spot("10:00", 500.0).spot("15:59", 450.0)
    paid = run_tape(builder.build(), Scripted(), positions={1: 1})
    assert paid.engine.desk.account.cash == D(100_000) + 1_000


def test_nothing_settles_before_its_day():
    builder = TapeBuilder().spot("10:00", 500.0)
    run = run_tape(builder.build(), Scripted(), positions={1: 1})
    assert not any(isinstance(event, PositionChanged) for event in run.events)
    assert run.engine.desk.positions.quantity(1) == 1


def test_a_session_without_quotes_still_opens_and_closes():
    tape = TapeBuilder(straddle_book(expiry=DAY)).quote(0, "10:00", 1, 2).build()
    bare = replace(
        tape,
        quotes=replace(
            tape.quotes, **{name: getattr(tape.quotes, name)[:0] for name in tape.quotes.__dataclass_fields__}
        ),
    )
    assert run_tape(bare, Scripted()).kinds()[-1] == "SessionEvent"


@pytest.mark.parametrize("root", ["SPY", "XSP"])
@pytest.mark.parametrize("official", [None, 508.5])
@pytest.mark.parametrize(("last", "is_fresh"), [("15:44", False), ("15:45", True), (None, False)])
def test_what_expires_settles_at_the_close_of_its_own_day_or_stops_the_run(root, official, last, is_fresh):
    friday = date(2024, 3, 1)
    builder = TapeBuilder(straddle_book(500, expiry=DAY, symbol=root), days=(friday, DAY))
    builder.quote(0, at("16:00", friday), 489.99, 490.01)
    if last is not None:
        builder.quote(0, at(last), 506.99, 507.01)
    if official is not None:
        builder.settlement_prices[(root, DAY)] = official
    tape = builder.build()
    if official is None and not is_fresh:
        with pytest.raises(DataError, match=f"no closing level of {root} on that day") as refused:
            run_tape(tape, Scripted(), positions={1: 1})
        assert ("490.00 of 2024-03-01" if last is None else "507.00 of 2024-03-04") in str(refused.value)
        return
    run = run_tape(tape, Scripted(), positions={1: 1})
    level = D("507") if official is None else D("508.5")
    desk = run.engine.desk
    worth = desk.account.cash - D(100_000) + desk.positions.quantity(0) * level
    assert worth == 100 * (level - 500)
    assert desk.positions.quantity(1) == 0


@pytest.mark.parametrize("official", [None, 508.5])
def test_an_expiry_in_a_gap_of_the_tape_settles_at_the_official_level_or_stops_the_run(official):
    friday = date(2024, 3, 1)
    builder = TapeBuilder(straddle_book(500, expiry=DAY, symbol="XSP"), days=(friday, TUESDAY))
    builder.quote(0, at("16:00", friday), 489.99, 490.01).quote(0, at("09:31", TUESDAY), 530.0, 530.02)
    if official is not None:
        builder.settlement_prices[("XSP", DAY)] = official
        assert run_tape(builder.build(), Scripted(), positions={1: 1}).engine.desk.account.cash == D(100_850)
        return
    with pytest.raises(DataError, match="XSP240304C00500000 is held to its expiry"):
        run_tape(builder.build(), Scripted(), positions={1: 1})


def test_steps_tell_the_time_at_least_once_a_second_of_market():
    tape = TapeBuilder().path("10:00", 0.5, [500.0 + i * 0.01 for i in range(21)]).build()
    engine = build_engine(Scripted(), tape.instruments)
    broker = connect(tape.instruments, hours=TapeHours(tape.sessions), is_open=False)
    times = list(BacktestRunner(tape, engine, broker).steps())
    assert times[-1] == tape.sessions[0].close_ns
    assert all(later > earlier for earlier, later in pairwise(times))
    assert len(times) == 1 + 10


STOPS = RiskLimits(allowed_order_types=("market", "limit", "stop", "stop_limit"))


def protected(trigger, limit=None):
    """Build a strategy that buys ten shares, protects them with a stop, and then does nothing more."""

    def think(view, wake, event):
        del event
        held = view.positions.quantity(0)
        if wake is not Wake.PRICE or view.orders.live:
            return ()
        if not view.orders.orders:
            intent = OrderIntent(0, Side.BUY, D(10), Purpose.HEDGE, "")
        elif held:
            price = None if limit is None else D(limit)
            intent = OrderIntent(0, Side.SELL, held, Purpose.UNWIND_HEDGE, "protect", Stop(D(trigger)), price)
        else:
            return ()
        return (Proposal(DecisionKind.HEDGE, ("because",), {}, (intent,)),)

    return Scripted(think, [EveryQuote(0)])


def falling():
    builder = TapeBuilder()
    for when, mid in (
        ("10:00", 500.0),
        ("10:01", 500.0),
        ("10:02", 497.0),
        ("10:03", 494.0),
        ("10:04", 490.0),
    ):
        builder.spot(when, mid)
    return builder.spot("10:05", 495.0).build()


@pytest.mark.parametrize(
    ("trigger", "limit", "latency_ms", "price", "when"),
    [
        ("495", None, 0, "493.99", "10:03"),
        ("495", "492", 0, "493.99", "10:03"),
        ("493", "492", 0, "492", "10:05"),  # the price went over both: the limit rests until it is back
        ("480", None, 0, None, None),
        ("495", None, 5, "493.99", "10:03"),
    ],
)
@pytest.mark.parametrize("every_quote", [True, False])
def test_a_strategys_stop_waits_at_the_broker_triggers_and_fills(
    trigger, limit, latency_ms, price, when, every_quote
):
    strategy = protected(trigger, limit)
    run = run_tape(falling(), strategy, latency_ms=latency_ms, limits=STOPS, every_quote=every_quote)
    bought, *sold = [event for event in run.events if isinstance(event, OrderFilled)]
    assert bought.price == D("500.01")
    assert [(fill.price, fill.ts_event_ns) for fill in sold] == (
        [] if price is None else [(D(price), at(when))]
    )
    _, stop = run.engine.desk.orders.orders.values()
    assert (stop.submitted.type_name, stop.submitted.trigger_price) == (
        "stop" if limit is None else "stop_limit",
        D(trigger),
    )
    assert stop.state.value == ("filled" if sold else "expired")
    assert run.engine.desk.account.cash == run.broker.account.cash


def test_a_strategy_takes_its_stop_back():
    inner = protected("495")

    def think(view, wake, event):
        if view.now_ns == at("10:02") and view.orders.live:
            (name,) = view.orders.live
            return (Proposal(DecisionKind.HEDGE, ("enough",), {}, (CancelIntent(name, "enough"),)),)
        return inner.think(view, wake, event) if view.now_ns < at("10:02") else ()

    run = run_tape(falling(), Scripted(think, [EveryQuote(0)]), limits=STOPS)
    _, stop = run.engine.desk.orders.orders.values()
    assert (stop.state.value, stop.filled, run.broker.account.quantity(0)) == ("cancelled", 0, 10)
