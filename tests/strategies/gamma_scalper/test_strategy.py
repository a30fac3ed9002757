"""The gamma scalper through its phases; the test is the venue and the market."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import (
    AccountComparison,
    DividendEvent,
    FillBusted,
    ForecastEvent,
    OpenInterestEvent,
    OrderNotFound,
    OrderStatusUnknown,
    PositionChanged,
    RateEvent,
    TradingHalt,
)
from scalpdesk.core.intents import OrderType, Purpose, Side
from scalpdesk.entry.selector import SelectionConfig
from scalpdesk.instruments.events import EventKind
from scalpdesk.instruments.sessions import next_session, session_on
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import (
    EntryConfig,
    GammaScalperConfig,
    HedgeConfig,
    RecentreConfig,
)
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.toolkit.sizing import SizeConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk_testing.kit.desk import HandDesk, cancels, decisions, orders
from scalpdesk_testing.kit.instruments import DAY, option, straddle_book
from scalpdesk_testing.kit.tape import model_price

D = Decimal
CALL, PUT = 1, 2
NO_EXITS = ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False)


class OneLook(EntryConfig, frozen=True, kw_only=True):
    passes = 1


@pytest.fixture
def scalper():
    """Build a desk at 10:00 around a scalper whose entry gate, spread filter and exits are off."""

    def build(
        *, entry=None, hedge=None, exits=NO_EXITS, book=None, is_open=True, looks=EntryConfig, **config
    ):
        strategy = GammaScalper(
            GammaScalperConfig(
                entry=looks(**({"gate": "off"} | (entry or {}))),
                hedge=HedgeConfig(**({"band": "fixed"} | (hedge or {}))),
                triggers=TriggersConfig(spread_filter=False),
                exits=exits,
                **config,
            )
        )
        desk = HandDesk(strategy, book, limits=RiskLimits(max_daily_loss=D(50_000)))
        if is_open:
            desk.open()
            desk.go_to("10:00")
        return desk

    return build


def enter(desk, spot=500.0):
    """Let the scalper buy its straddle at ``spot``, both legs filled; return what the last fill led to."""
    legs = orders(desk.market(spot))
    assert [leg.instrument_id for leg in legs] == [CALL, PUT]
    desk.fill(legs[0])
    return desk.fill(legs[1])


def hold(desk, spot=500.0):
    """Enter, and fill the first hedge if there is one; the desk then holds inside its band."""
    for order in orders(enter(desk, spot)):
        desk.fill(order)
    assert desk.strategy.phase == "holding"
    assert desk.engine.desk.orders.live == {}
    return desk


def fill_all(desk, outputs):
    """Fill these orders, and those that follow."""
    left = orders(outputs)
    while left:
        left += orders(desk.fill(left.pop(0)))


def option_delta(desk):
    inner = desk.engine.desk
    greeks = inner.delta_engine.position_greeks(inner.positions.held(), desk.now_ns)
    return greeks.option_delta_shares


# entry ---------------------------------------------------------------------------------------------


def test_an_entry_buys_both_legs_at_the_ask(scalper):
    desk = scalper(straddles=2)
    outputs = desk.market(500.0)
    (decision,) = decisions(outputs)
    assert (decision.kind, decision.taken) == ("entry", True)
    assert decision.reasons[0].startswith("straddle 2024-04-19 500 (")
    assert len(decision.reasons) > 1  # the others are what the gate, which is off, would have said
    assert "edge_usd" not in decision.facts  # without history it knows no forecast
    assert decision.facts["forward"] == pytest.approx(500.0)
    assert decision.facts["straddle_delta_of_100"] == pytest.approx(2.8, abs=0.1)
    assert (decision.facts["strike"], decision.facts["expiry"], decision.facts["spot"]) == (
        500.0,
        "2024-04-19",
        500.0,
    )
    assert decision.facts["implied_vol"] == pytest.approx(0.20, abs=1e-3)
    assert decision.facts["spread_usd_per_unit"] == pytest.approx(0.20)
    for order, number in zip(orders(outputs), (CALL, PUT), strict=True):
        assert (order.instrument_id, order.side, order.quantity) == (number, Side.BUY, D(2))
        assert (order.order_type, order.purpose) == (OrderType.LIMIT, Purpose.OPEN)
        assert order.limit_price == D(f"{desk.engine.desk.market.quotes[number].ask:.2f}")
    assert desk.strategy.phase == "entering"


@pytest.mark.parametrize(
    ("sizing", "size", "straddles", "why"),
    [
        # at 500 and 20 % both legs cost 28.2 together, a point of 30-day volatility is 114 and a session 42
        ("premium_fraction", {"fraction": 0.10, "max_premium_fraction": 0.5}, 3, "bound by size"),
        ("premium_fraction", {"fraction": 0.10}, 1, "bound by premium"),
        ("vega", {"max_premium_fraction": 0.5}, 1, "bound by size"),
        ("theta_budget", {"max_premium_fraction": 0.5, "max_straddles": 1}, 1, "bound by cap"),
    ],
)
def test_the_number_of_straddles_follows_the_equity_and_the_decision_says_why(
    scalper, sizing, size, straddles, why
):
    desk = scalper(sizing=sizing, size=SizeConfig(**size))
    outputs = desk.market(500.0)
    assert [leg.quantity for leg in orders(outputs)] == [straddles, straddles]
    (decision,) = decisions(outputs)
    assert why in decision.reasons[1]
    assert decision.reasons[1].startswith(f"size: {straddles} straddles by {sizing.replace('_', ' ')}")
    facts = decision.facts
    assert facts["premium_usd"] == pytest.approx(2_830.0, rel=0.02)
    assert facts["vega_usd_per_point"] == pytest.approx(114.0, rel=0.02)
    # a session's theta by the session's clock is the break-even variance of a day times half the gamma
    assert facts["theta_usd_per_session"] == pytest.approx(-2_830.0 / (2 * 46 * 252 / 365), rel=0.10)


def test_a_straddle_that_is_too_large_is_not_bought_and_kelly_buys_none_without_an_edge(scalper):
    desk = scalper(sizing="premium_fraction", size=SizeConfig(fraction=0.02))
    outputs = desk.market(500.0)
    assert not orders(outputs)
    assert decisions(outputs)[0].reasons[0].startswith("size: one straddle of 28")
    assert not orders(scalper(sizing="kelly_fraction").market(500.0))


def test_the_best_straddle_is_bought(scalper):
    desk = scalper(book=straddle_book(480, 500, 520))
    assert [leg.instrument_id for leg in orders(desk.market(519.0))] == [5, 6]


@pytest.mark.parametrize(
    ("clock_time", "buys"), [("09:34:59", 0), ("09:35", 2), ("15:30", 2), ("15:30:01", 0)]
)
def test_an_entry_is_made_between_two_times(scalper, clock_time, buys):
    desk = scalper()
    assert len(orders(desk.go_to(clock_time).market(500.0))) == buys


@pytest.mark.parametrize(("clock_time", "buys"), [("12:49:59", 2), ("12:50", 0)])
def test_no_straddle_is_bought_in_the_minutes_in_which_the_days_is_sold(scalper, clock_time, buys):
    # a short day: it was bought after the time of leaving and sold at once
    desk = scalper(
        is_open=False, exits=ExitConfig(min_dte=None, edge_gone=False, flat_minutes_before_close=10.0)
    )
    session = session_on(DAY)
    desk.open(replace(session, close_ns=session.clock_ns("13:00")))
    assert len(orders(desk.go_to(clock_time).market(500.0))) == buys


def test_without_a_straddle_the_verdict_says_why_and_says_it_once(scalper):
    desk = scalper(selection=SelectionConfig(min_open_interest=1000))
    (decision,) = decisions(desk.market(500.0))
    assert (decision.kind, decision.taken) == ("entry", False)
    assert decision.reasons == ("no straddle passes the filters: open interest above 1000 removed 1",)
    assert decision.facts["open interest above 1000"] == 1
    assert desk.wait(1).market(501.0) == ()
    for number in (CALL, PUT):
        desk.handle(OpenInterestEvent(number, desk.now_ns, desk.now_ns, 1001))
    assert len(orders(desk.wait(1).market(502.0))) == 2


def passed_thrice(desk, spot=500.0):
    """Let the gate be asked three times, a minute apart; return what follows from the third."""
    for _ in range(2):
        assert orders(desk.market(spot)) == []
        desk.wait(60)
    return desk.market(spot)


@pytest.mark.parametrize(
    ("seconds", "passing", "buys_at"),
    [
        ([0, 14, 60, 120, 180], [False, True, True, True, True], 180),
        ([0, 14, 28, 60, 61, 119], [True] * 6, None),
        ([0, 60, 120], [True] * 3, 120),
        ([0, 60, 120, 180, 240, 300], [True, True, False, True, True, True], 300),
    ],
)
def test_an_enforced_gate_passes_three_times_in_a_row_a_minute_apart(scalper, seconds, passing, buys_at):
    desk = scalper(entry={"gate": "enforce"})
    start_ns = desk.now_ns
    for at, passes in zip(seconds, passing, strict=True):
        desk.now_ns = start_ns + at * 10**9
        vol = 0.35 if passes else 0.05
        desk.handle(ForecastEvent(0, desk.now_ns, desk.now_ns, "har", 5, vol, vol, vol, 0.0, ""))
        bought = bool(orders(desk.market(500.0 + 0.06 * (at % 7))))
        assert bought is (at == buys_at)
        if bought:
            return
    assert buys_at is None


@pytest.mark.parametrize("gate", ["enforce", "advise", "off"])
@pytest.mark.parametrize(
    ("choice", "most", "buys"),
    [("score", 10.0, 500), ("score", None, 510), ("forward", 10.0, 500), ("forward", None, 500)],
)
def test_no_lopsided_straddle_is_bought_whatever_the_gate(scalper, gate, choice, most, buys):
    """Without a smile the score prefers the far strike, whose delta is that of forty shares."""
    entry = {"gate": gate, "max_straddle_delta": most, "forecast_vol": 0.90}
    selection = SelectionConfig(strike_choice=choice)
    desk = scalper(entry=entry, selection=selection, book=straddle_book(500, 510), looks=OneLook)
    for number, instrument in enumerate(desk.book):
        vol = 0.10 if getattr(instrument, "strike", 0) == 510 else 0.20
        if number:
            fair = model_price(instrument, 500.0, vol, desk.now_ns)
            desk.quote(number, round(fair - 0.05, 2), round(fair + 0.05, 2))
    outputs = desk.quote(0, 499.99, 500.01)
    bought = {int(desk.book[order.instrument_id].strike) for order in orders(outputs)}
    assert bought == {buys}


@pytest.mark.parametrize("gate", ["enforce", "advise", "off"])
def test_without_a_strike_near_the_forward_the_entry_is_refused(scalper, gate):
    desk = scalper(entry={"gate": gate, "forecast_vol": 0.90}, book=straddle_book(490), looks=OneLook)
    (refusal,) = decisions(desk.market(500.0))
    assert not refusal.taken
    assert refusal.facts["delta up to 10 of 100"] == 1
    assert len(orders(desk.wait(60).market(491.0))) == 2


def test_the_gate_refuses_an_entry_without_edge_and_buys_with_one(scalper):
    poor = scalper(entry={"gate": "enforce", "forecast_vol": 0.15})
    (decision,) = decisions(poor.market(500.0))
    assert not decision.taken
    assert decision.reasons[0].startswith("entry gate refuses: ")
    assert decision.facts["forecast_vol"] == 0.15
    assert decision.facts["edge_usd"] < 0
    rich = scalper(entry={"gate": "enforce", "forecast_vol": 0.40})
    outputs = passed_thrice(rich)
    assert decisions(outputs)[0].reasons[1].startswith("entry gate: ")
    assert decisions(outputs)[0].facts["edge_usd"] > 5.0
    assert len(orders(outputs)) == 2


def test_the_course_of_the_edge_is_on_record_though_equal_refusals_are_folded(scalper):
    desk = scalper(entry={"gate": "enforce", "forecast_vol": 0.40, "min_edge_usd": 10_000.0})
    start_ns, found = desk.now_ns, []
    for minute in range(31):
        desk.now_ns = start_ns + minute * 60 * 10**9
        found += decisions(desk.market(500.0 + 0.06 * (minute % 2)))
    kinds = [decision.kind for decision in found]
    assert kinds.count("edge") == 2
    assert kinds.count("entry") < 5
    looks = [at for decision in found if decision.kind == "edge" for at in decision.facts]
    assert len(looks) == 30
    assert looks == sorted(looks)


def test_a_gate_that_only_advises_says_so_and_buys(scalper):
    outputs = scalper(entry={"gate": "advise", "forecast_vol": 0.15}).market(500.0)
    assert decisions(outputs)[0].reasons[1].startswith("entry gate (advise) would refuse: ")
    assert len(orders(outputs)) == 2


def test_without_a_forecast_the_gate_refuses_and_with_the_runs_own_it_judges(scalper):
    desk = scalper(entry={"gate": "enforce"})
    (decision,) = decisions(desk.market(500.0))
    assert "set entry.forecast_vol, or entry.gate=off" in decision.reasons[0]
    desk.handle(ForecastEvent(0, desk.now_ns, desk.now_ns, "har", 5, 0.35, 0.30, 0.40, 0.0, ""))
    assert decisions(desk.wait(1).market(501.0)) == []  # no minute has passed
    outputs = passed_thrice(desk.wait(59), 501.0)
    assert decisions(outputs)[0].facts["forecast_model"] == "har"
    assert len(orders(outputs)) == 2


def test_after_too_many_attempts_the_entry_is_abandoned(scalper):
    desk = scalper(entry={"max_attempts": 2})
    pair = orders(desk.market(500.0))
    for _ in range(2):
        desk.reject(pair[0])
        desk.reject(pair[1])
        pair = orders(desk.wait(30).timer())
    desk.reject(pair[0])
    desk.reject(pair[1])
    desk.wait(30).timer()
    assert decisions(desk.outputs)[-1].reasons == (
        "entry abandoned: nothing was filled",
        "looks again in 30 s",
    )
    assert desk.strategy.phase == "waiting"


def test_an_entry_that_comes_to_nothing_is_tried_again_later_and_later(scalper):
    desk = scalper(entry={"max_attempts": 1})
    begun = []
    for step in range(360):
        pair = orders(desk.wait(10).market(500.0 + step % 2))
        for leg in pair:
            desk.reject(leg)
        if pair:
            begun.append(step * 10)
    waits = [later - one for one, later in pairwise(begun)]
    assert 5 < len(begun) < 25
    assert max(waits) >= 480


def test_a_lone_leg_is_sold_when_the_other_cannot_be_bought(scalper):
    desk = scalper(entry={"max_attempts": 1})
    call, put = orders(desk.market(500.0))
    desk.fill(call)
    desk.reject(put)
    (again,) = orders(desk.wait(1).timer())
    desk.reject(again)
    assert orders(desk.wait(1.9).market(500.0)) == []  # the second wait is twice the first
    (sale,) = orders(desk.wait(0.1).timer())
    assert (sale.instrument_id, sale.side, sale.quantity, sale.purpose) == (
        CALL,
        Side.SELL,
        D(1),
        Purpose.CLOSE,
    )
    assert decisions(desk.outputs)[-1].reasons[0] == "entry abandoned: one leg could not be bought"
    desk.fill(sale)
    assert desk.positions == {}


def test_flattening_in_the_middle_of_an_entry_ends_flat(scalper):
    desk = scalper()
    call, put = orders(desk.market(500.0))
    desk.fill(call)
    outputs = desk.operate("flatten")
    assert cancels(outputs) == [put.client_order_id]
    outputs = desk.cancelled(put.client_order_id)
    for _ in range(9):
        for sale in orders(outputs):
            assert (sale.instrument_id, sale.side) == (CALL, Side.SELL)
            desk.fill(sale)
        outputs = desk.wait(6).market(500.0)
    assert desk.positions == {}
    assert desk.strategy.phase in ("done", "waiting")


# hedging -------------------------------------------------------------------------------------------


def test_a_straddle_is_hedged_in_both_directions_back_to_zero(scalper):
    desk = hold(scalper())
    desk.wait(5)
    (sell,) = orders(desk.market(506.0))
    net = option_delta(desk) + desk.positions.get(0, 0)
    assert (sell.instrument_id, sell.side, sell.purpose) == (0, Side.SELL, Purpose.HEDGE)
    assert int(sell.quantity) == round(net)
    assert sell.order_type is OrderType.MARKET
    desk.fill(sell)
    assert abs(option_delta(desk) + desk.positions[0]) <= 0.5
    desk.wait(5)
    (buy,) = orders(desk.market(503.0))
    assert buy.side is Side.BUY
    assert int(buy.quantity) == round(-(option_delta(desk) + desk.positions[0]))
    desk.fill(buy)
    assert abs(option_delta(desk) + desk.positions[0]) <= 0.5
    facts = decisions(desk.outputs)[-1].facts
    assert (facts["spot"], facts["half_width_shares"], facts["quantity_shares"]) == (
        503.0,
        2.0,
        int(buy.quantity),
    )


def test_inside_the_band_nothing_is_done(scalper):
    desk = hold(scalper(hedge={"threshold_shares": 5.0}))
    assert orders(desk.wait(5).market(500.5)) == []
    assert len(orders(desk.wait(5).market(506.0))) == 1


def test_a_hedge_on_its_way_is_counted(scalper):
    desk = hold(scalper())
    (sell,) = orders(desk.wait(1).market(506.0))
    assert orders(desk.wait(1).market(509.0)) == []
    assert orders(desk.fill(sell, int(sell.quantity) - 1)) == []  # one share is still on its way
    (more,) = orders(desk.fill(sell, 1))
    assert more.side is Side.SELL
    assert int(more.quantity) == round(option_delta(desk) + desk.positions[0])


def test_a_rejected_hedge_is_sized_again(scalper):
    desk = hold(scalper())
    (sell,) = orders(desk.wait(1).market(506.0))
    assert orders(desk.reject(sell, "no locate")) == []
    assert orders(desk.wait(0.9).market(506.0)) == []
    (again,) = orders(desk.wait(0.1).timer())
    assert (again.side, again.quantity) == (sell.side, sell.quantity)
    desk.fill(again)
    assert orders(desk.wait(1).market(506.1)) == []


def test_a_hedge_that_is_not_filled_in_time_is_cancelled_and_sized_again(scalper):
    desk = hold(scalper(hedge={"order_ttl_seconds": 5.0}))
    (sell,) = orders(desk.wait(1).market(506.0))
    assert cancels(desk.wait(4.9).market(506.5)) == []
    assert cancels(desk.wait(0.1).market(507.0)) == [sell.client_order_id]
    (again,) = orders(desk.cancelled(sell.client_order_id))
    assert int(again.quantity) > int(sell.quantity)


def test_a_hedge_across_zero_goes_in_two_orders(scalper):
    desk = hold(scalper())
    desk.fill(orders(desk.wait(1).market(515.0))[0])
    short = desk.positions[0]
    assert short < -20
    (first,) = orders(desk.wait(1).market(485.0))
    assert (first.side, int(first.quantity)) == (Side.BUY, -short)  # only up to flat
    (second,) = orders(desk.fill(first))
    assert second.side is Side.BUY
    assert int(second.quantity) == round(-option_delta(desk))
    desk.fill(second)
    assert desk.positions[0] == int(second.quantity)
    # and back again through zero
    (first,) = orders(desk.wait(1).market(515.0))
    assert (first.side, int(first.quantity)) == (Side.SELL, desk.positions[0])
    (second,) = orders(desk.fill(first))
    assert second.side is Side.SELL


def test_the_second_order_of_a_hedge_across_zero_goes_even_when_little_is_left(scalper):
    desk = hold(scalper(hedge={"threshold_shares": 20.0}))
    desk.fill(orders(desk.wait(1).market(512.0))[0])
    short = desk.positions[0]
    assert -40 < short < -20
    (first,) = orders(desk.wait(1).market(494.0))
    rest = round(-option_delta(desk))
    assert int(first.quantity) == -short
    assert 0 < rest < 20  # inside the band by itself
    (second,) = orders(desk.fill(first))
    assert int(second.quantity) == rest


def test_the_second_order_of_a_hedge_waits_until_the_account_is_compared(scalper):
    """Refused, it was forgotten, and what was left lay inside the band."""
    desk = hold(scalper(hedge={"threshold_shares": 20.0}))
    desk.fill(orders(desk.wait(1).market(512.0))[0])
    (first,) = orders(desk.wait(1).market(494.0))
    desk.handle(AccountComparison(desk.now_ns, desk.now_ns, is_compared=False))
    assert orders(desk.fill(first)) == []
    desk.handle(AccountComparison(desk.now_ns, desk.now_ns, is_compared=True))
    (second,) = orders(desk.wait(1).market(493.6))
    assert (second.side, int(second.quantity)) == (first.side, round(-option_delta(desk)))


def test_an_odd_quote_of_the_underlying_hedges_nothing(scalper):
    desk = hold(scalper())
    desk.wait(1)
    desk.quote(0, 510.0, 509.0)
    assert orders(desk.quote(0, float("nan"), 509.0)) == []


def test_the_volatility_of_the_delta_can_be_chosen(scalper):
    deltas = {}
    for choice, given in (("implied", {}), ("fixed", {"fixed_vol": 0.05}), ("entry", {})):
        desk = hold(scalper(hedge={"delta_vol": choice, **given}))
        desk.vol = 0.40
        outputs = desk.wait(1).market(507.0)
        deltas[choice] = decisions(outputs)[0].facts
    assert deltas["implied"]["hedge_vol"] == pytest.approx(0.40, abs=2e-3)
    assert deltas["fixed"]["hedge_vol"] == 0.05
    assert deltas["entry"]["hedge_vol"] == pytest.approx(0.20, abs=2e-3)
    by_vol = [deltas[name]["option_delta_shares"] for name in ("fixed", "entry", "implied")]
    assert by_vol[0] > by_vol[1] > by_vol[2]


def test_the_forecast_volatility_can_be_hedged_at(scalper):
    desk = hold(scalper(hedge={"delta_vol": "forecast"}, entry={"gate": "off", "forecast_vol": 0.10}))
    facts = decisions(desk.wait(1).market(507.0))[0].facts
    assert (facts["hedge_vol"], facts["hedge_vol_source"]) == (0.10, "forecast")


def test_a_doubted_hedge_is_counted_until_the_venue_speaks(scalper):
    desk = hold(scalper())
    (sell,) = orders(desk.wait(1).market(506.0))
    desk.handle(OrderStatusUnknown(sell.client_order_id, desk.now_ns, desk.now_ns, "time-out"))
    for _ in range(3):
        outputs = desk.wait(10).market(507.0)
        assert (orders(outputs), cancels(outputs)) == ([], [])
    assert orders(desk.handle(OrderNotFound(sell.client_order_id, desk.now_ns, desk.now_ns))) == []
    (again,) = orders(desk.wait(1.1).timer())
    assert int(again.quantity) == round(option_delta(desk) + desk.positions.get(0, 0))


def test_without_a_quote_of_a_leg_nothing_is_hedged(scalper):
    desk = scalper(mode="resume", is_open=False)
    held(desk, {CALL: (1, "15"), PUT: (1, "14"), 0: (60, "500")})
    assert desk.quote(0, 499.99, 500.01) == ()
    desk.quote(CALL, 14.0, 14.1)
    assert desk.wait(6).quote(0, 500.99, 501.01) == ()
    (hedge,) = orders(desk.wait(6).market(500.0))
    assert hedge.side is Side.SELL


# leaving -------------------------------------------------------------------------------------------


def test_leaving_sells_the_options_first_and_then_unwinds_the_hedge(scalper):
    desk = hold(
        scalper(exits=ExitConfig(min_dte=None, stop_fraction=None, edge_gone=False, close_at="11:00"))
    )
    desk.fill(orders(desk.wait(1).market(508.0))[0])
    hedge = desk.positions[0]
    outputs = desk.go_to("11:00").market(508.0)
    sales = orders(outputs)
    assert [(one.instrument_id, one.side, one.purpose) for one in sales] == [
        (CALL, Side.SELL, Purpose.CLOSE),
        (PUT, Side.SELL, Purpose.CLOSE),
    ]
    assert decisions(outputs)[0].reasons == ("clock: 11:00 New York", "leave the options, then their hedge")
    assert orders(desk.fill(sales[0])) == []  # the hedge stays while an option is held
    assert desk.positions == {PUT: 1, 0: hedge}
    (unwind,) = orders(desk.fill(sales[1]))
    assert (unwind.instrument_id, unwind.side, int(unwind.quantity)) == (0, Side.BUY, -hedge)
    assert unwind.purpose is Purpose.UNWIND_HEDGE
    outputs = desk.fill(unwind)
    assert desk.positions == {}
    assert decisions(outputs)[0].reasons == ("flat: clock: 11:00 New York",)
    assert desk.strategy.phase == "done"
    assert orders(desk.wait(60).market(500.0)) == []


def test_after_an_exit_another_entry_may_follow(scalper):
    desk = hold(scalper(entry={"again_after_exit": True}))
    for order in orders(desk.wait(1).operate("flatten")):
        desk.fill(order)
    for order in [one.submitted for one in desk.engine.desk.orders.live.values()]:
        desk.fill(order)
    assert desk.positions == {}
    assert desk.strategy.phase == "done"  # not while the desk is flattening
    again = hold(
        scalper(entry={"again_after_exit": True}, exits=ExitConfig(stop_fraction=0.01, min_dte=None))
    )
    again.vol = 0.10
    outputs = again.wait(6).market(500.0)
    assert decisions(outputs)[0].reasons[0].startswith("stop: ")
    fill_all(again, outputs)
    assert again.positions == {}
    assert again.strategy.phase == "waiting"
    assert [one.instrument_id for one in orders(again.wait(6).market(500.0))] == [CALL, PUT]


def test_a_halted_desk_rests_and_goes_on_when_it_is_resumed(scalper):
    desk = hold(scalper())
    desk.operate("halt")
    assert orders(desk.wait(1).market(508.0)) == []
    (hedge,) = orders(desk.wait(1).operate("resume"))
    assert hedge.side is Side.SELL


def test_options_that_expire_leave_only_the_hedge_to_unwind(scalper):
    window = SelectionConfig(min_expiration_days=0)
    hedge = {"delta_vol": "implied"}  # of half a cent of premium: a delta short of 100
    desk = hold(scalper(book=straddle_book(500, expiry=DAY), selection=window, hedge=hedge))
    desk.go_to("15:50")
    desk.fill(orders(desk.market(503.0))[0])
    assert -100 < desk.positions[0] < -80
    desk.go_to("16:00")

    def change(number, cause, quantity, price, cash, reference):
        return PositionChanged(
            number, desk.now_ns, desk.now_ns, ChangeCause(cause), D(quantity), D(price), D(cash), reference
        )

    assert orders(desk.handle(change(CALL, "exercise", -1, 0, 0, "c"))) == []
    assert orders(desk.handle(change(0, "delivery", 100, 500, -50_000, "d"))) == []  # the put is still held
    left = desk.positions[0]
    (unwind,) = orders(desk.handle(change(PUT, "expired_worthless", -1, 0, 0, "p")))
    assert (unwind.side, int(unwind.quantity), unwind.purpose) == (Side.SELL, left, Purpose.UNWIND_HEDGE)
    desk.fill(unwind)
    assert desk.positions == {}


def test_there_are_no_two_hedges_in_one_instant(scalper):
    """A second quote of the same instant is not a move yet; the next instant's is."""
    desk = hold(scalper())
    (first,) = orders(desk.wait(1).market(503.0))
    desk.fill(first)
    assert orders(desk.market(506.0)) == []
    assert len(orders(desk.wait(1).market(506.1))) == 1


# starting with something ---------------------------------------------------------------------------


def held(desk, positions):
    desk.now_ns = desk.session.open_ns
    desk.adopt(positions)
    desk.open()
    desk.go_to("10:00")


def test_resume_adopts_a_straddle_and_hedges_it(scalper):
    desk = scalper(mode="resume", straddles=2, is_open=False)
    held(desk, {CALL: (2, "15"), PUT: (2, "14"), 0: (-3, "500")})
    assert desk.strategy.phase == "holding"
    assert decisions(desk.outputs)[-1].reasons == ("resumed SPY240419C00500000 and its put",)
    assert desk.strategy.state.trade.at_risk.amount == 5_800
    (hedge,) = orders(desk.market(507.0))
    assert (hedge.side, int(hedge.quantity)) == (Side.SELL, round(option_delta(desk) - 3))


@pytest.mark.parametrize(
    ("positions", "why"),
    [
        ({CALL: (1, "15")}, "not one call and one put of equal strike and expiry: +1 SPY240419C00500000"),
        (
            {CALL: (2, "15"), PUT: (1, "14")},
            "not 1 long of each leg: +2 SPY240419C00500000, +1 SPY240419P00500000",
        ),
        (
            {CALL: (-1, "15"), PUT: (-1, "14")},
            "not 1 long of each leg: -1 SPY240419C00500000, -1 SPY240419P00500000",
        ),
        (
            {CALL: (1, "15"), PUT: (1, "14"), 3: (1, "9")},
            (
                "not one call and one put of equal strike and expiry: +1 SPY240419C00500000, "
                "+1 SPY240419P00500000, +1 SPY240419C00510000"
            ),
        ),
    ],
)
def test_resume_refuses_what_is_no_straddle(scalper, positions, why):
    desk = scalper(mode="resume", is_open=False, book=straddle_book(500, 510))
    held(desk, positions)
    assert decisions(desk.outputs)[-1].reasons == (f"resume refused: {why}; use mode=init to start flat",)
    assert desk.strategy.phase == "done"
    assert orders(desk.market(500.0)) == []


@pytest.mark.parametrize("quantity", ["0.5", "1.5"])
def test_resume_refuses_parts_of_a_straddle_whatever_the_rule_of_its_size(scalper, quantity):
    """Options on coins trade in tenths: half a straddle was counted as no straddle at all, and 1.5 as one."""
    desk = scalper(mode="resume", is_open=False, sizing="vega")
    held(desk, {CALL: (D(quantity), "15"), PUT: (D(quantity), "14")})
    assert desk.strategy.phase == "done"


def test_resume_with_nothing_held_opens_afresh(scalper):
    desk = scalper(mode="resume", is_open=False)
    held(desk, {})
    assert len(orders(desk.market(500.0))) == 2


def test_init_sells_what_is_held_unwinds_the_hedge_and_opens_afresh(scalper):
    desk = scalper(mode="init", is_open=False)
    held(desk, {CALL: (3, "15"), 0: (-40, "500")})
    (sale,) = orders(desk.market(500.0))
    assert (sale.instrument_id, sale.side, sale.quantity) == (CALL, Side.SELL, D(3))
    (unwind,) = orders(desk.fill(sale))
    assert (unwind.side, unwind.quantity) == (Side.BUY, D(40))
    assert decisions(desk.fill(unwind))[0].reasons == ("flat: init: start flat",)
    assert desk.strategy.phase == "waiting"
    assert [one.instrument_id for one in orders(desk.wait(6).market(500.0))] == [CALL, PUT]


def test_init_also_unwinds_shares_left_without_options(scalper):
    desk = scalper(mode="init", is_open=False)
    held(desk, {0: (-40, "500")})
    (unwind,) = orders(desk.market(500.0))
    assert (unwind.instrument_id, unwind.side, unwind.quantity) == (0, Side.BUY, D(40))
    desk.fill(unwind)
    assert len(orders(desk.wait(6).market(500.0))) == 2


def test_sessions_held_are_counted_and_end_at_the_horizon(scalper):
    desk = hold(scalper(exits=ExitConfig(min_dte=None, edge_gone=False, max_sessions=1)))
    desk.close()
    desk.open(next_session(DAY))
    outputs = desk.wait(60).market(500.0)
    assert decisions(outputs)[0].reasons[0] == "horizon: held 1 sessions"
    assert [one.side for one in orders(outputs)] == [Side.SELL, Side.SELL]


def test_a_market_of_another_underlying_is_refused():
    desk = HandDesk(GammaScalper(GammaScalperConfig(underlying="QQQ")))
    with pytest.raises(ConfigError, match="another underlying") as caught:
        desk.open()
    assert (caught.value.nearest, caught.value.fix) == ("SPY", "--set underlying=SPY")


def test_trade_taken_back_after_the_end_is_cleared_up(scalper):
    desk = scalper(exits=ExitConfig(min_dte=None, stop_fraction=None, edge_gone=False, close_at="11:00"))
    hold(desk)
    desk.go_to("11:00")
    legs = orders(desk.market(502.0))
    assert len(legs) == 2
    desk.fill(legs[0])
    (unwind,) = orders(desk.fill(legs[1]))
    desk.fill(unwind)
    assert desk.strategy.phase == "done"
    last = desk.engine.desk.orders.orders[unwind.client_order_id]
    bust = FillBusted(unwind.client_order_id, desk.now_ns, desk.now_ns, next(iter(last.executions)), "bust")
    (again,) = orders(desk.handle(bust))
    assert (again.instrument_id, again.side, again.quantity) == (0, unwind.side, unwind.quantity)
    desk.fill(again)
    assert desk.positions == {}
    assert desk.strategy.phase == "done"


def test_leg_that_fills_after_its_cancel_is_sold_again(scalper):
    desk = scalper(entry={"max_attempts": 1})
    legs = orders(desk.market(500.0))
    for leg in legs:
        desk.cancelled(leg.client_order_id)
    again = orders(desk.outputs)[2:]
    for leg in again:
        desk.cancelled(leg.client_order_id)
    assert desk.strategy.phase == "waiting"
    desk.operate("reduce")
    sold = orders(desk.fill(legs[0]))
    assert [(one.instrument_id, one.side) for one in sold] == [(CALL, Side.SELL)]


def test_leg_taken_back_ends_the_straddle(scalper):
    desk = hold(scalper())
    leg = next(one for one in desk.engine.desk.orders.orders.values() if one.submitted.instrument_id == PUT)
    execution = next(iter(leg.executions))
    outputs = desk.handle(FillBusted(leg.client_order_id, desk.now_ns, desk.now_ns, execution, "bust"))
    assert [(one.instrument_id, one.side) for one in orders(outputs)] == [(CALL, Side.SELL)]
    assert desk.strategy.phase == "leaving"


def test_order_that_was_never_sent_is_not_wanted_again_at_once(scalper):
    desk = scalper()
    legs = orders(desk.market(500.0))
    for leg in legs:
        desk.handle(OrderStatusUnknown(leg.client_order_id, desk.now_ns, desk.now_ns, "not sent"))
        outputs = desk.handle(OrderNotFound(leg.client_order_id, desk.now_ns, desk.now_ns))
        assert orders(outputs) == []
    desk.wait(2.1)
    assert len(orders(desk.timer())) == 2


def test_leaving_takes_a_working_hedge_off_the_book_before_it_unwinds(scalper):
    desk = hold(scalper())
    (sell,) = orders(desk.wait(1).market(506.0))
    desk.fill(sell, quantity=3)
    outputs = desk.wait(1).operate("flatten")
    assert cancels(outputs) == [sell.client_order_id]
    call, put = orders(outputs)
    desk.fill(call)
    assert orders(desk.fill(put)) == []  # the rest of the hedge may still be filled
    held = desk.positions[0]
    (unwind,) = orders(desk.cancelled(sell.client_order_id))
    assert (unwind.instrument_id, unwind.side, unwind.quantity) == (0, Side.BUY, abs(held))
    assert unwind.purpose is Purpose.UNWIND_HEDGE


# P&L of the trade -----------------------------------------------------------------------------------


def worth_of_the_trade(desk, start_cash):
    """Return the P&L the other way: cash since before the entry, and what is held at its mids."""
    inner = desk.engine.desk
    worth = sum(
        (
            line.quantity
            * inner.instruments[line.instrument_id].multiplier
            * D(str(round(inner.market.quotes[line.instrument_id].mid, 6)))
            for line in inner.positions.held()
        ),
        D(0),
    )
    return inner.account.cash - start_cash + worth


@pytest.mark.parametrize("fraction", [0.10, 0.20])
def test_the_stop_judges_the_marks_of_now_not_those_of_the_last_minute(scalper, fraction):
    desk = scalper(exits=ExitConfig(stop_fraction=fraction, min_dte=None, arm_fraction=None))
    start_cash = desk.engine.desk.account.cash
    hold(desk)
    (premium,) = {desk.strategy.state.trade.at_risk.amount}
    for step in range(60):
        desk.vol -= 0.002
        outputs = desk.wait(0.5).market(500.0 + 0.06 * (-1) ** step)  # a move wakes it
        pnl = worth_of_the_trade(desk, start_cash)
        told = [one for one in decisions(outputs) if one.reasons[0].startswith("stop: ")]
        assert bool(told) is (pnl <= -D(str(fraction)) * premium)
        if told:
            assert f"P&L {pnl:.2f} " in told[0].reasons[0]
            assert told[0].facts["pnl_usd"] == pytest.approx(float(pnl))
            return
        fill_all(desk, outputs)
    pytest.fail("the stop never fired")


@pytest.mark.parametrize("cause", [ChangeCause.TRANSFER, ChangeCause.INTEREST, ChangeCause.FEE])
@pytest.mark.parametrize("amount", [-20_000, 20_000])
def test_cash_moved_in_or_out_of_the_account_does_not_move_the_trades_pnl(scalper, cause, amount):
    desk = scalper(exits=ExitConfig(stop_fraction=0.05, arm_fraction=0.05, min_dte=None))
    hold(desk)
    view = desk.engine.desk.view
    before, nav = view.trade_pnl(desk.strategy.state.start), view.nav
    change = PositionChanged(0, desk.now_ns, desk.now_ns, cause, D(0), D(0), D(amount), "moved")
    desk.handle(change)
    assert view.trade_pnl(desk.strategy.state.start) == before
    assert view.nav == nav + amount
    for _ in range(3):
        fill_all(desk, desk.wait(6).market(500.0))
    assert desk.strategy.phase == "holding"


def test_a_dividend_on_the_hedge_is_part_of_the_trade(scalper):
    desk = hold(scalper())
    view = desk.engine.desk.view
    before = view.trade_pnl(desk.strategy.state.start)
    dividend = PositionChanged(0, desk.now_ns, desk.now_ns, ChangeCause.DIVIDEND, D(0), D(0), D(-7), "paid")
    desk.handle(dividend)
    assert view.trade_pnl(desk.strategy.state.start) == before - 7


@pytest.mark.parametrize(("clock_time", "buys"), [("13:29", True), ("13:30", False), ("14:01", True)])
def test_nothing_is_entered_before_an_event_that_would_be_left(scalper, clock_time, buys):
    exits = ExitConfig(
        min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False, before_event=(EventKind.FOMC,)
    )
    desk = scalper(exits=exits, is_open=False, book=straddle_book(500, expiry=date(2024, 5, 17)))
    desk.open(session_on(date(2024, 3, 20)))
    outputs = desk.go_to(clock_time).market(500.0)
    assert bool(orders(outputs)) is buys
    if not buys:
        assert decisions(outputs)[0].reasons == (
            "entry waits for an event: fomc at 2024-03-20 14:00 New York",
        )


def test_a_day_beyond_the_list_of_an_event_is_warned_of_once(scalper):
    exits = ExitConfig(min_dte=None, before_event=(EventKind.CPI,))
    desk = scalper(exits=exits, is_open=False, book=straddle_book(500, expiry=date(2026, 5, 15)))
    desk.open(session_on(date(2026, 3, 20)))
    (alert,) = [one for one in decisions(desk.outputs) if one.kind == "alert"]
    assert "consumer price index is known from 2014-01-01 to 2025-09-30" in alert.reasons[0]


def test_events_ahead_beyond_their_average_raise_the_forecast_and_none_lowers_it(scalper):
    def forecast(day, **entry):
        desk = scalper(
            entry={"gate": "advise", **entry},
            is_open=False,
            book=straddle_book(500, expiry=day + timedelta(days=45)),
        )
        desk.open(session_on(day))
        desk.go_to("10:00")
        desk.handle(ForecastEvent(0, desk.now_ns, desk.now_ns, "har", 5, 0.16, 0.1, 0.2, 0.01, ""))
        (decision,) = [one for one in decisions(desk.market(500.0)) if one.kind == "entry"]
        return decision.facts["forecast_vol"]

    with_one, without = date(2018, 1, 29), date(2018, 2, 12)  # a statement on 31 January
    sizes = {"event_sessions": {EventKind.FOMC: 0.8}}
    plain = forecast(with_one)
    raised, lowered = forecast(with_one, **sizes), forecast(without, **sizes)
    average = 8 * 5 / 252
    assert raised**2 / plain**2 == pytest.approx(1 + 0.8 * (1 - average) / 5, rel=1e-3)
    assert lowered**2 / forecast(without) ** 2 == pytest.approx(1 - 0.8 * average / 5, rel=1e-3)
    assert forecast(date(2024, 3, 18), **sizes) == forecast(date(2024, 3, 18))  # it weighs on the clock


def moved_desk(scalper, spot=545.0, most=10.0, **config):
    """Return a hedged desk that holds the straddle at 500 with the share elsewhere: gamma is nearly gone."""
    desk = scalper(
        book=straddle_book(500, 545),
        entry={"forecast_vol": 0.40, "gate": "advise", "max_straddle_delta": most},
        selection=SelectionConfig(min_open_interest=0),
        recentre=RecentreConfig(**({"gamma_fraction": 0.5} | config)),
    )
    hold(desk)
    for hedge in orders(desk.wait(301).market(spot)):
        if hedge.instrument_id == 0:
            desk.fill(hedge)
    return desk


def test_a_straddle_is_not_moved_to_a_strike_too_far_from_the_forward(scalper):
    """At 552 the straddle of 545, the nearest listed, would have a delta of 14 shares."""
    moved = [
        any(
            one.reasons[0].startswith("recentre")
            for one in decisions(moved_desk(scalper, 552.0, most).outputs)
        )
        for most in (10.0, None)
    ]
    assert moved == [False, True]


def test_a_straddle_without_gamma_is_sold_for_one_at_the_money(scalper):
    desk = moved_desk(scalper)
    moves = [one for one in decisions(desk.outputs) if one.reasons[0].startswith("recentre from 500 to 545")]
    assert [one.kind for one in moves] == ["exit", "entry"]
    assert 0.0 < moves[0].facts["gamma_fraction"] < 0.5
    assert moves[0].facts["gain_usd"] > 0.0
    sent = [order for order in orders(desk.outputs) if order.instrument_id in (1, 2, 3, 4)][-4:]
    assert [(order.side, order.instrument_id) for order in sent] == [
        (Side.SELL, 1),
        (Side.SELL, 2),
        (Side.BUY, 3),
        (Side.BUY, 4),
    ]
    for order in sent[:3]:
        desk.fill(order)
    assert desk.strategy.phase == "recentring"
    outputs = desk.fill(sent[3])
    assert desk.strategy.phase == "holding"
    held = {number: position.quantity for number, position in desk.engine.desk.positions.positions.items()}
    assert {number: quantity for number, quantity in held.items() if number and quantity} == {3: 1, 4: 1}
    later = orders(outputs) or orders(desk.wait(6).market(545.0))
    assert all(order.instrument_id == 0 for order in later)  # only the hedge of the new straddle


@pytest.mark.parametrize("config", [{"gamma_fraction": None}, {"gamma_fraction": 0.001}])
def test_a_straddle_stays_where_its_gamma_is_enough_or_the_rule_is_off(scalper, config):
    desk = moved_desk(scalper, **config)
    assert desk.strategy.phase == "holding"


def test_a_leg_that_cannot_be_bought_ends_the_recentring_flat(scalper):
    desk = moved_desk(scalper)
    sent = [order for order in orders(desk.outputs) if order.instrument_id in (1, 2, 3, 4)][-4:]
    for order in sent[:3]:
        desk.fill(order)
    left = orders(desk.reject(sent[3], "no"))
    for _ in range(40):
        left += orders(desk.wait(10).market(545.0))
        while left:
            order = left.pop(0)
            is_refused = order.instrument_id == 4 and order.side is Side.BUY
            left += orders(desk.reject(order, "no") if is_refused else desk.fill(order))
    assert desk.strategy.phase == "done"
    held = [position.quantity for position in desk.engine.desk.positions.positions.values()]
    assert not any(held)


def test_a_leg_that_is_not_taken_in_a_change_of_straddles_is_priced_anew_after_a_pause(scalper):
    desk = moved_desk(scalper)
    refused, *others = [order for order in orders(desk.outputs) if order.instrument_id in (1, 2, 3, 4)][-4:]
    for order in others:
        desk.fill(order)
    desk.reject(refused, "no")
    again = []
    for _ in range(20):
        again += [one for one in orders(desk.wait(1).market(545.0)) if one.instrument_id == 1]
        if again:
            desk.reject(again[-1], "no")
    assert 1 <= len(again) <= 20 / desk.strategy.config.entry.order_ttl_seconds
    assert {one.order_type for one in again} == {OrderType.LIMIT}


def trading(desk, *, is_halted):
    """Let the exchanges halt or resume trading in the share, a second later."""
    at_ns = desk.wait(1).now_ns
    return desk.handle(TradingHalt(0, at_ns, at_ns, is_halted=is_halted, reason="T1"))


def test_while_trading_is_halted_nothing_is_sent_and_an_exit_goes_at_once_afterwards(scalper):
    # each pause after a refusal was twice as long: an exit went up to a minute after the halt's end
    desk = hold(scalper(exits=ExitConfig(min_dte=None, edge_gone=False, close_at="12:00")))
    trading(desk, is_halted=True)
    during = [one for _ in range(60) for one in desk.wait(5).market(508.0)]
    desk.go_to("12:00")
    during += [one for _ in range(60) for one in desk.wait(5).market(500.0)]
    assert orders(during) == []
    said = [one.reasons for one in decisions(during) if one.kind in ("hedge", "exit", "entry")]
    assert said == []
    alerts = [one.reasons[0] for one in decisions(during) if one.kind == "alert"]
    assert all("; trading is halted in SPY" in reason for reason in alerts)
    assert len(alerts) == 4  # after 30, 60, 120 and 240 s
    trading(desk, is_halted=False)
    sold = orders(desk.wait(1).market(500.0))
    assert [(one.instrument_id, one.side) for one in sold] == [(CALL, Side.SELL), (PUT, Side.SELL)]


def test_no_straddle_is_bought_while_trading_is_halted(scalper):
    desk = scalper()
    trading(desk, is_halted=True)
    assert desk.wait(1).market(500.0) == ()
    trading(desk, is_halted=False)
    assert len(orders(desk.wait(1).market(501.0))) == 2


def test_after_a_halt_the_straddle_of_the_new_price_is_bought(scalper):
    desk = scalper(book=straddle_book(500, 510))
    trading(desk, is_halted=True)
    desk.wait(1).market(500.0)
    assert desk.strategy.phase == "waiting"
    trading(desk, is_halted=False)
    bought = orders(desk.wait(1).market(510.0))
    assert {desk.engine.desk.instruments[one.instrument_id].strike for one in bought} == {510}


def two_days_later(desk):
    """Go on to 10:00 of the second session after the first: 44 days to the nearer expiry."""
    desk.close()
    day = next_session(next_session(DAY).day)
    desk.open(day)
    desk.now_ns = day.clock_ns("10:00")
    return desk


def test_a_straddle_near_its_expiry_is_rolled_to_the_next(scalper):
    book = straddle_book(500)
    later = [book.add(option(right, 500, date(2024, 5, 17))) for right in "CP"]
    desk = hold(
        scalper(
            book=book,
            selection=SelectionConfig(min_expiration_days=45, min_open_interest=0),
            recentre=RecentreConfig(roll_dte=44),
        )
    )
    assert {number for number in desk.positions if number} == {CALL, PUT}  # 46 days to expiry
    fill_all(desk, two_days_later(desk).market(500.2))
    assert {number for number in desk.positions if number} == set(later)
    rolled = [one for one in decisions(desk.outputs) if one.reasons[0].startswith("roll from 2024-04-19")]
    assert [one.kind for one in rolled] == ["exit", "entry"]
    fill_all(desk, desk.wait(301).market(500.4))
    assert {number for number in desk.positions if number} == set(later)
    assert desk.strategy.phase == "holding"


def test_a_straddle_is_not_rolled_into_one_that_the_gate_refuses(scalper):
    book = straddle_book(500)
    for right in "CP":
        book.add(option(right, 500, date(2024, 5, 17)))
    desk = hold(
        scalper(
            book=book,
            entry={"gate": "enforce", "forecast_vol": 0.40},
            looks=OneLook,
            selection=SelectionConfig(min_expiration_days=45, min_open_interest=0),
            recentre=RecentreConfig(roll_dte=44),
        )
    )
    desk.vol = 0.60  # dearer than the forecast by now
    outputs = two_days_later(desk).market(500.2)
    assert not [order for order in orders(outputs) if order.instrument_id]
    assert any(one.reasons[0].startswith("roll: ") for one in decisions(outputs))


@pytest.mark.parametrize("days", [7, 30])
def test_a_roll_before_the_entry_or_after_the_exit_is_refused_as_a_setting(days):
    with pytest.raises(ConfigError, match=r"recentre\.roll_dte"):
        GammaScalperConfig(recentre=RecentreConfig(roll_dte=days))


@pytest.mark.parametrize(
    ("spot", "dividend", "rate", "leaves"),
    [
        (560.0, "6.00", 0.0, True),  # the call: 6.00 to come, the put costs next to nothing
        (560.0, "6.00", 0.10, False),  # interest on 500 to the expiry is 6.26: paid later
        (501.0, "6.00", 0.0, False),  # the put of the strike still costs more
        (560.0, None, 0.0, False),
        (430.0, None, 0.05, True),  # the put: 3.14 of interest, the call costs next to nothing
        (430.0, "6.00", 0.05, False),  # the dividend makes the put worth more
        (430.0, None, 0.0, False),
    ],
)
def test_a_leg_worth_more_exercised_than_held_over_the_night_is_left(scalper, spot, dividend, rate, leaves):
    entry = {"max_straddle_delta": None}  # at 10 % of interest the forward lies far above the strike
    desk = scalper(exits=NO_EXITS, entry=entry)
    desk.vol = 0.10
    desk.handle(RateEvent(desk.now_ns, desk.now_ns, (30.0,), (rate,)))
    hold(desk)
    if dividend:
        ex_ns = next_session(DAY).open_ns
        desk.handle(DividendEvent(0, desk.now_ns, desk.now_ns, ex_ns, D(dividend)))
    fill_all(desk, desk.go_to("14:30").market(spot))
    assert desk.strategy.phase == "holding"  # not before the last hour
    outputs = desk.go_to("15:10").market(spot + 0.1)
    reasons = [reason for one in decisions(outputs) for reason in one.reasons]
    assert any(reason.startswith("early exercise") for reason in reasons) is leaves
    assert (desk.strategy.phase == "leaving") is leaves


def test_a_straddle_left_for_an_early_exercise_is_not_bought_again_the_same_evening(scalper):
    exits = ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False)
    desk = scalper(
        exits=exits,
        entry={"again_after_exit": True},
        selection=SelectionConfig(strike=D(500), min_open_interest=0),
    )
    desk.vol = 0.10
    hold(desk)
    desk.handle(DividendEvent(0, desk.now_ns, desk.now_ns, next_session(DAY).open_ns, D("6.00")))
    fill_all(desk, desk.go_to("15:10").market(560.0))
    fill_all(desk, desk.wait(6).market(560.1))
    assert desk.strategy.phase == "waiting"
    outputs = [each for _ in range(5) for each in desk.wait(20).market(560.0)]
    assert not orders(outputs)
    why = decisions(desk.outputs)[-1].reasons[0]
    assert why.startswith("a leg of the best is worth 5.9")
    assert why.endswith("more exercised than held over the night")
