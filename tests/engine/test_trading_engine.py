from dataclasses import replace
from decimal import Decimal

import msgspec
import pytest

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ArgumentError, InvariantError
from scalpdesk.core.events import (
    AccountLimits,
    BarEvent,
    DividendEvent,
    FolderAnswered,
    ForecastEvent,
    GammaExposureEvent,
    ImpliedVolEvent,
    OpenInterestEvent,
    OrderAccepted,
    PriceAdjustmentEvent,
    RateEvent,
    SessionBarsEvent,
    TimerEvent,
    TradeEvent,
    UnmatchedOrderEvent,
)
from scalpdesk.core.intents import (
    Purpose,
    SetTimer,
    Stop,
)
from scalpdesk.instruments.sessions import next_session
from scalpdesk.marketdata.state import MarketState
from scalpdesk.marketdata.triggers import EveryQuote, PriceMove, Wake
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import HandDesk, Scripted, buy, decisions, orders, wanting
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.tape import quote

D = Decimal


def test_the_first_session_starts_the_strategy_and_the_mark_timer():
    strategy = Scripted()
    one = HandDesk(strategy, mark_seconds=30.0)
    one.open()
    assert strategy.wakes == [Wake.SESSION]
    assert one.outputs == [SetTimer("mark", one.session.open_ns + 30 * 10**9)]


def test_a_quote_wakes_only_its_own_trigger(desk):
    one = desk()
    one.quote(1, 5.0, 5.1)
    assert one.strategy.wakes == [Wake.SESSION]
    one.quote(0, 499.99, 500.01)
    assert one.strategy.wakes == [Wake.SESSION, Wake.PRICE]
    assert one.engine.evaluations == 2


def test_a_quote_that_is_not_good_wakes_nobody(desk):
    one = desk()
    one.quote(0, 500.01, 499.99)
    one.quote(0, float("nan"), 499.99)
    assert one.strategy.wakes == [Wake.SESSION]


def test_the_trigger_moves_on_only_after_the_strategy_has_thought():
    strategy = Scripted(triggers=[PriceMove(0, 0.05, 60.0)])
    one = HandDesk(strategy)
    one.open()
    for mid in (500.00, 500.03, 500.05, 500.05):
        one.wait(1).quote(0, mid - 0.01, mid + 0.01)
    assert strategy.wakes.count(Wake.PRICE) == 2


def test_outside_a_session_nobody_thinks():
    strategy = Scripted(triggers=[EveryQuote(0)])
    one = HandDesk(strategy)
    one.open()
    one.close()
    one.wait(1).quote(0, 499.99, 500.01)
    one.handle(TimerEvent(one.now_ns, one.now_ns, "mine"))
    assert strategy.wakes == [Wake.SESSION, Wake.SESSION]


def test_bars_timers_and_prints(desk):
    one = desk()
    one.handle(BarEvent(1, one.now_ns, one.now_ns, 60, 1, 2, 0.5, 1.5, 9))  # no trigger on it
    assert one.strategy.wakes == [Wake.SESSION]
    one.handle(BarEvent(0, one.now_ns, one.now_ns, 60, 1, 2, 0.5, 1.5, 9))
    one.handle(TimerEvent(one.now_ns, one.now_ns, "mine"))
    one.handle(TradeEvent(0, one.now_ns, one.now_ns, 500.0, 7))
    assert one.strategy.wakes == [Wake.SESSION, Wake.BAR, Wake.TIMER]
    assert one.engine.desk.market.last_trade[0].size == 7


def test_a_strategys_timer_is_passed_on():
    strategy = Scripted(lambda view, wake, event: (SetTimer("mine", 99),) if wake is Wake.PRICE else ())
    strategy.triggers = [EveryQuote(0)]
    one = HandDesk(strategy)
    one.open()
    assert one.quote(0, 1.0, 1.1) == (SetTimer("mine", 99),)


def test_time_never_runs_backwards(desk):
    one = desk()
    one.quote(0, 499.99, 500.01)
    with pytest.raises(InvariantError):
        one.handle(quote(0, one.now_ns - 1, 499.99, 500.01))
    assert one.engine.now_ns == one.now_ns


def test_the_book_is_marked_by_the_timer_until_the_close(desk):
    one = desk(mark_seconds=60.0)
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.engine.handle(TimerEvent(one.now_ns, one.now_ns, "mark"))
    one.wait(60).quote(0, 500.99, 501.01)
    mark, timer = one.handle(TimerEvent(one.now_ns, one.now_ns, "mark"))
    assert (mark.nav_change, mark.parts["delta"]) == (D(100), D(100))
    assert timer == SetTimer("mark", one.now_ns + 60 * 10**9)
    one.wait(1).quote(0, 501.99, 502.01)
    (mark,) = one.close()
    assert mark.nav_change == 100
    assert one.engine.desk.view.session is None
    assert one.engine.desk.view.nav == D(100_000) + 50_200


def test_a_mark_timer_after_the_close_is_not_set_again(desk):
    one = desk()
    one.close()
    assert [type(output) for output in one.handle(TimerEvent(one.now_ns, one.now_ns, "mark"))] == []


@pytest.mark.parametrize(("before_ns", "is_set"), [(1, True), (0, False)])
def test_no_mark_timer_is_set_at_the_close_itself(desk, before_ns, is_set):
    one = desk(mark_seconds=60.0)
    now_ns = one.session.close_ns - before_ns  # the timer may come before the session's own event
    timers = [
        output for output in one.handle(TimerEvent(now_ns, now_ns, "mark")) if isinstance(output, SetTimer)
    ]
    assert timers == ([SetTimer("mark", now_ns + 60 * 10**9)] if is_set else [])


def test_a_new_session_starts_its_tallies_afresh(desk):
    one = desk(wanting(buy(), times=9), limits=RiskLimits(max_orders_per_minute=1))
    one.adopt({0: (100, "500")})
    one.quote(0, 499.99, 500.01)
    one.engine.desk.gate.closed_trades.note(D(-1))
    one.wait(1).quote(0, 489.99, 490.01)
    one.close()
    one.open(next_session(DAY))
    inner = one.engine.desk
    assert inner.session_equity == inner.view.nav == D(149_000)
    assert inner.gate.closed_trades.losses_in_a_row == 0
    assert one.strategy.wakes.count(Wake.SESSION) == 3


def test_nothing_is_sent_after_the_close(desk):
    one = desk(wanting(buy(), on=Wake.SESSION, times=9))
    one.engine.desk.market.apply_quote(quote(0, one.now_ns, 1.0, 1.1))
    one.session = replace(one.session, close_ns=one.now_ns - 1)
    one.engine.desk.view.session = one.session
    one.handle(
        type(one._session_event("close"))(
            one.now_ns, one.now_ns, DAY.isoformat(), "close", one.session.open_ns, one.session.close_ns
        )
    )
    last = decisions(one.outputs)[-1]
    assert last.reasons[-1].endswith("outside the trading session")


def test_a_fill_known_after_the_close_is_explained_at_once(desk):
    one = desk(wanting(buy()))
    order = orders(one.quote(0, 499.99, 500.01))[0]
    one.close()
    one.fill(order)
    attribution = one.engine.desk.attribution
    assert attribution.totals["spread"] == D("-0.10")
    assert attribution.nav == attribution.current_nav()


def test_what_a_failed_event_had_led_to_does_not_come_out_with_the_next(desk):
    one = desk(wanting(buy(0, 10, Purpose.HEDGE), times=1))
    (order,) = orders(one.quote(0, 499.99, 500.01))

    def fail(view, wake, event):
        raise RuntimeError("a strategy's own fault")

    one.strategy.think = fail
    with pytest.raises(RuntimeError):
        one.fill(order)  # marked and booked before the strategy is woken
    one.strategy.think = None
    assert one.engine.desk.positions.quantity(0) == 10
    assert one.quote(0, 499.98, 500.02) == ()


def test_what_a_strategy_sees_of_the_account_is_worth_what_it_is_worth_now(desk):
    seen = []

    def think(view, wake, event):
        seen.append(view.nav)
        return ()

    one = desk(Scripted(think, [EveryQuote(0)]), mark_seconds=1e6)
    one.adopt({0: (10, "500")})
    for mid in (500.0, 490.0, 517.5):
        one.wait(1).quote(0, mid - 0.01, mid + 0.01)
    assert [worth - 100_000 for worth in seen[-3:]] == [5_000, 4_900, 5_175]


def test_the_venues_limits_are_kept_with_the_cash_of_their_moment(desk):
    one = desk(Scripted())
    inner = one.engine.desk
    inner.account.cash = D(77)
    limits = AccountLimits(one.now_ns, one.now_ns, True, True, 3, D(0), D(0), ())
    assert one.handle(limits) == ()
    assert (inner.gate.venue_limits, inner.gate.cash_at_report) == (limits, 77)
    assert one.strategy.wakes == [Wake.SESSION]


@pytest.mark.parametrize("rejected", [True, False])
def test_answers_of_the_venue_are_counted_as_taken_or_refused(desk, monkeypatch, rejected):
    one = desk(Scripted())
    noted = []
    monkeypatch.setattr(
        one.engine.desk.gate.counters, "note_answer", lambda at, *, rejected: noted.append((at, rejected))
    )
    sent = one.engine.desk.orders.submit(buy(), one.now_ns)
    (one.reject if rejected else one.accept)(sent)
    assert noted == [(one.now_ns, rejected)]


def test_an_event_of_a_foreign_order_is_kept_aside_and_an_answer_of_a_folder_wakes(desk):
    one = desk(Scripted())
    word = UnmatchedOrderEvent(OrderAccepted("x", 1, 1, "v"), one.now_ns, one.now_ns, "why")
    assert one.handle(word) == ()
    assert one.engine.desk.orders.unmatched == [word]
    assert one.strategy.wakes == [Wake.SESSION]
    one.handle(FolderAnswered(one.now_ns, one.now_ns, 1, {}))
    assert one.strategy.wakes == [Wake.SESSION, Wake.ANSWER]


def test_instruments_with_a_trigger_are_watched(desk):
    triggers = [EveryQuote(1), PriceMove(0, 0.05, 60.0)]
    one = HandDesk(Scripted(triggers=triggers))
    assert not any(one.engine.triggers)
    one.open()
    assert [*one.engine.triggers[:3]] == [*reversed(triggers), None]
    one.close()
    one.strategy.start = None  # it is started once
    one.open(next_session(DAY))
    assert [*one.engine.triggers[:3]] == [*reversed(triggers), None]


def test_the_close_begins_a_new_interval_of_the_explanation_and_a_mark_does_not(desk, monkeypatch):
    one = desk(Scripted())
    marked = []
    monkeypatch.setattr(
        one.engine.desk.attribution,
        "mark",
        lambda now_ns, *, is_anchor, of=None: marked.append((now_ns, is_anchor)),
    )
    one.timer("mark")
    began_ns = one.now_ns
    one.close()
    assert marked == [(began_ns, False), (one.now_ns, True)]


@pytest.mark.rows(
    ("method", "event"),
    [
        ("apply_open_interest", lambda at_ns: OpenInterestEvent(1, at_ns, at_ns, 1_000)),
        ("apply_rates", lambda at_ns: RateEvent(at_ns, at_ns, (1.0,), (0.05,))),
        ("apply_dividend", lambda at_ns: DividendEvent(0, at_ns, at_ns, at_ns, D("1.5"))),
        ("apply_adjustment", lambda at_ns: PriceAdjustmentEvent(0, at_ns, at_ns, 0.25, 4.0)),
        (
            "apply_forecast",
            lambda at_ns: ForecastEvent(0, at_ns, at_ns, "har", 5, 0.2, 0.2, 0.2, 0.01, ""),
        ),
        ("apply_gamma_exposure", lambda at_ns: GammaExposureEvent("SPY", at_ns, at_ns, 1e9, "web")),
        ("apply_session_bars", lambda at_ns: SessionBarsEvent(0, at_ns, at_ns, "d", 1, 2, 60, *[()] * 6)),
        ("apply_implied_vol", lambda at_ns: ImpliedVolEvent(0, at_ns, at_ns, 0.2, (), "VIX")),
        ("apply_trade", lambda at_ns: TradeEvent(0, at_ns, at_ns, 500.0, 7)),
        ("apply_bar", lambda at_ns: BarEvent(1, at_ns, at_ns, 60, 1, 2, 0.5, 1.5, 9)),
    ],
)
def test_what_is_known_of_the_market_is_kept_and_wakes_nobody(desk, monkeypatch, method, event):
    applied = []
    monkeypatch.setattr(MarketState, method, lambda self, event: applied.append(event))
    one = desk(Scripted())
    applied.clear()
    told = event(one.now_ns)
    assert one.handle(told) == ()
    assert applied == [told]
    assert one.strategy.wakes == [Wake.SESSION]


@pytest.mark.rows("returned", ["buy 5", buy(), None.__class__])
def test_what_a_strategy_returns_that_is_no_action_ends_the_run_before_it_is_journaled(returned):
    desk = HandDesk(
        Scripted(lambda view, wake, event: [returned] if wake is Wake.PRICE else (), [EveryQuote(0)])
    )
    desk.open()
    with pytest.raises(ArgumentError, match="a strategy returned what is no action") as caught:
        desk.quote(0, 499.99, 500.01)
    assert (caught.value.where, caught.value.value) == ("on_wake of scripted", returned)


@pytest.mark.rows(
    ("field", "value"),
    [
        ("side", "buy"),
        ("quantity", 5),
        ("quantity", 5.0),
        ("purpose", "open"),
        ("order_type", "limit"),
        ("order_type", Stop(499.95)),
        ("time_in_force", "day"),
        ("limit_price", 499.95),
        ("instrument_id", "SPY"),
        ("instrument_id", -1),
        ("instrument_id", 99),
        ("reasons", "because"),
        ("intents", buy()),
        ("intents", ("buy 5",)),
    ],
)
def test_a_proposal_with_a_field_of_another_type_ends_the_run_with_the_fields_name(field, value):
    order = buy()
    if field not in Proposal.__struct_fields__:
        order = msgspec.structs.replace(order, **{field: value})
    wrong = Proposal(DecisionKind.ENTRY, ("because",), {}, (order,))
    if field in Proposal.__struct_fields__:
        wrong = msgspec.structs.replace(wrong, **{field: value})
    desk = HandDesk(
        Scripted(lambda view, wake, event: [wrong] if wake is Wake.PRICE else (), [EveryQuote(0)])
    )
    desk.open()
    with pytest.raises(ArgumentError, match=f"{field} of a strategy's proposal is not usable") as caught:
        desk.quote(0, 499.99, 500.01)
    shown = value[0] if value == ("buy 5",) else value
    assert (caught.value.where, caught.value.value) == ("on_wake of scripted", repr(shown))


def test_a_proposal_returned_without_a_sequence_is_refused():
    alone = Proposal(DecisionKind.ENTRY, ("because",), {}, (buy(),))
    desk = HandDesk(Scripted(lambda view, wake, event: alone if wake is Wake.PRICE else (), [EveryQuote(0)]))
    desk.open()
    with pytest.raises(ArgumentError, match="a strategy returned what is no action"):
        desk.quote(0, 499.99, 500.01)


@pytest.mark.parametrize("returned", [None, EveryQuote(0), ["one of another form"]])
def test_a_start_that_returns_no_sequence_of_triggers_is_refused(returned):
    strategy = Scripted()
    strategy.start = lambda view: returned
    with pytest.raises(ArgumentError, match="no sequence of triggers") as caught:
        HandDesk(strategy).open()
    assert (caught.value.where, caught.value.value) == ("start of scripted", repr(returned))
