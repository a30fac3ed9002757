"""Sides with stops of their own, entries again in a session, deadlines, rolls by delta and for a credit."""

from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import Purpose, Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.entry.selector import SelectionConfig
from scalpdesk.entry.shapes import StructureConfig
from scalpdesk.instruments.sessions import next_session
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import (
    EntryConfig,
    GammaScalperConfig,
    HedgeConfig,
    RecentreConfig,
)
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.exits import ExitConfig
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk.strategies.toolkit.watch import WatchConfig
from scalpdesk.strategies.zero_dte.strategy import ZeroDteConfig, ZeroDteEntry, ZeroDteExit, ZeroDteScalper
from scalpdesk_testing.kit.bookings import booked
from scalpdesk_testing.kit.desk import HandDesk, cancels, decisions, orders
from scalpdesk_testing.kit.instruments import DAY, option, straddle_book

STRIKES = range(480, 525, 5)
LIMITS = RiskLimits(
    max_daily_loss_fraction=0.99,
    max_short_contracts=10,
    max_position_fraction=1.0,
    max_premium_fraction=1.0,
    max_capital_fraction=4.0,
    max_net_delta_fraction=None,
    max_bought_gamma_fraction=None,
    max_gamma_fraction=None,
    max_vega_fraction=None,
    max_theta_fraction=None,
    max_margin_fraction=None,
    reduce_margin_fraction=None,
    flatten_margin_fraction=None,
)
CASH = Decimal(10_000_000)
CONDOR = StructureConfig(shape="iron_condor", side="short", body="1%", wing="5")
LATER = date(2024, 7, 19)
TRIGGERS = TriggersConfig(price_change_usd=0.0, heartbeat_seconds=0.0, spread_filter=False)


def call(strike):
    return 1 + 2 * STRIKES.index(strike)


def put(strike):
    return call(strike) + 1


def settle(desk, outputs):
    """Fill every order, and those that follow; return them in order."""
    sent, waiting = [], orders(outputs)
    while waiting:
        sent.append(waiting.pop(0))
        waiting += orders(desk.fill(sent[-1]))
    return sent


def zero_dte(*, exits=None, entry=None, structure=CONDOR):
    """Return a desk that holds today's structure at 500, opened at 10:00 with a volatility of 60 %."""
    config = ZeroDteConfig(
        structure=structure,
        entry=ZeroDteEntry(**({"mode": "straddle", "at": "10:00"} | (entry or {}))),
        exit=ZeroDteExit(**(exits or {})),
        triggers=TRIGGERS,
    )
    desk = HandDesk(
        ZeroDteScalper(config), straddle_book(*STRIKES, expiry=DAY), limits=LIMITS, mark_seconds=1e6
    )
    desk.adopt({}, CASH)
    desk.vol = 0.60
    desk.open()
    settle(desk, desk.go_to("10:00").market(500.0))
    return desk


def options_of(desk):
    return {number: quantity for number, quantity in desk.positions.items() if number}


WHOLE = {call(505): -1, put(495): -1, call(510): 1, put(490): 1}
PUT_SIDE = {put(495): -1, put(490): 1}


def said(desk, word):
    return [one for one in decisions(desk.outputs) if any(word in reason for reason in one.reasons)]


# a side's own stop ---------------------------------------------------------------------------------


def side_mid(desk, sold, bought):
    quotes = desk.engine.desk.market.quotes
    return 100 * (quotes[sold].mid - quotes[bought].mid)


def test_the_side_that_lost_a_multiple_of_its_credit_is_closed_alone_and_the_other_is_hedged():
    desk = zero_dte(exits={"side_credit_multiple": 1.0})
    assert options_of(desk) == WHOLE
    credit = side_mid(desk, call(505), call(510)) - 10  # sold at the bid, its wing bought at the ask
    spot = 500.0
    while options_of(desk) == WHOLE:
        loss = side_mid(desk, call(505), call(510)) - credit
        assert loss < credit + 1e-6  # no sooner than at its own multiple
        spot += 0.25
        settle(desk, desk.wait(30).market(spot))
        assert spot < 510
    assert options_of(desk) == PUT_SIDE
    stop = said(desk, "calls alone")[0]
    assert stop.facts["side"] == "calls"
    assert stop.facts["side_pnl_usd"] <= -credit
    assert stop.facts["side_pnl_usd"] > -1.6 * credit
    assert desk.strategy.phase == "holding"
    # one vertical of puts is left: its delta alone is what the shares hedge
    settle(desk, desk.wait(61).market(498.0))
    held = desk.engine.desk
    greeks = held.delta_engine.position_greeks(held.positions.held(), desk.now_ns)
    assert abs(greeks.net_delta_shares) <= 15.0
    settle(desk, desk.go_to("15:45").market(498.0))
    for _ in range(5):
        settle(desk, desk.wait(3).market(498.0))
    assert desk.positions == {}


def test_without_the_setting_both_sides_stay():
    desk = zero_dte()
    for spot in (502.0, 505.0, 508.0):
        settle(desk, desk.wait(61).market(spot))
    assert options_of(desk) == WHOLE


def test_when_the_second_side_is_stopped_too_the_trade_is_over():
    desk = zero_dte(exits={"side_credit_multiple": 1.0})
    for spot in (503.0, 506.0, 508.0):
        settle(desk, desk.wait(61).market(spot))
    assert options_of(desk) == PUT_SIDE
    for spot in (500.0, 495.0, 491.0, 489.0, 488.0):
        settle(desk, desk.wait(61).market(spot))
    assert desk.positions == {}
    assert len(said(desk, "puts alone")) >= 1
    assert desk.strategy.phase == "closed_for_session"


def test_a_side_is_not_stopped_by_a_quote_that_shows_no_price():
    desk = zero_dte(exits={"side_credit_multiple": 1.0})
    desk.wait(30).quote(call(505), 0.01, 30.0)
    settle(desk, desk.quote(0, 499.99, 500.01))
    assert options_of(desk) == WHOLE


def test_a_bought_side_has_a_stop_by_its_premium():
    desk = zero_dte(
        exits={"side_premium_fraction": 0.5}, structure=StructureConfig(shape="strangle", body="1%")
    )
    assert options_of(desk) == {call(505): 1, put(495): 1}
    paid = 100 * desk.engine.desk.market.quotes[put(495)].ask
    for spot in (501.0, 502.0, 503.0, 504.0, 505.0, 506.0):
        settle(desk, desk.wait(61).market(spot))
    assert options_of(desk) == {call(505): 1}
    stop = said(desk, "puts alone")[0]
    assert -0.9 * paid < stop.facts["side_pnl_usd"] <= -0.5 * paid


def test_a_side_that_nobody_takes_ends_the_whole_trade():
    desk = zero_dte(exits={"side_credit_multiple": 1.0})
    outputs = ()
    for spot in (503.0, 506.0, 508.0):
        outputs = desk.wait(61).market(spot)
        if desk.strategy.phase == "trimming":
            break
        settle(desk, outputs)
    assert desk.strategy.phase == "trimming"
    for _ in range(40):
        outputs = desk.wait(10).market(508.0)
        for order in orders(outputs):
            if desk.strategy.phase == "leaving":
                settle(desk, (order,))
    assert desk.strategy.phase in ("leaving", "closed_for_session")
    assert said(desk, "could not be closed alone")


# entries again --------------------------------------------------------------------------------------


AGAIN = {"again_after_exit": True, "again_minutes": 30.0, "max_entries": 2, "not_after": "14:00"}


def test_a_session_has_so_many_entries_after_a_pause_and_no_more():
    desk = zero_dte(exits={"stop_fraction": 0.2}, entry=AGAIN, structure=StructureConfig(shape="straddle"))
    entries = []
    for minute in range(1, 240):
        sent = settle(desk, desk.wait(60).market(500.0))
        entries += [minute for order in sent if order.purpose is Purpose.OPEN]
        if desk.vol > 0.2 and desk.strategy.phase == "holding":
            desk.vol *= 0.9  # it loses at each minute
        elif desk.strategy.phase != "holding":
            desk.vol = 0.60
    flat = [one for one in decisions(desk.outputs) if one.reasons[0].startswith("flat: stop")]
    assert len(flat) == 2
    assert len(entries) == 2  # a call and a put, once more
    first_flat = (flat[0].ts_ns - desk.session.open_ns) / 60e9 - 30
    assert 30 <= entries[0] - first_flat < 32
    assert desk.positions == {}


def test_whole_sets_of_an_entry_that_is_given_up_are_kept():
    """Of three straddles one call and one put could be had: they are a straddle, and not sold again."""
    entry = EntryConfig(gate="none", order_ttl_seconds=5.0, max_attempts=1)
    desk = gamma(straddle_book(500), straddles=3, exits=no_exits(), entry=entry)
    for leg in orders(desk.go_to("10:00").market(500.0)):
        desk.fill(leg, 1)
    for _ in range(2):  # the first order of each leg, and the second
        outputs = desk.wait(6).market(500.0)
        for name in cancels(outputs):
            outputs += desk.cancelled(name)
    settle(desk, desk.wait(6).market(500.0))
    assert said(desk, "1 of 3 straddles could be bought")
    assert (options_of(desk), desk.strategy.phase) == ({1: 1, 2: 1}, "holding")


def test_without_the_setting_one_entry_is_the_session():
    desk = zero_dte(exits={"stop_fraction": 0.2}, structure=StructureConfig(shape="straddle"))
    desk.vol = 0.30
    settle(desk, desk.wait(60).market(500.0))
    settle(desk, desk.wait(60).market(500.0))
    assert desk.strategy.phase == "closed_for_session"
    desk.vol = 0.60
    for _ in range(60):
        assert orders(desk.wait(60).market(500.0)) == []


@pytest.mark.parametrize(
    ("exits", "spot", "vol", "word"),
    [
        ({"stop_fraction": 0.3}, 500.0, 0.35, "stop: "),
        ({"target_fraction": 0.3}, 500.0, 0.90, "target: "),
        ({"credit_multiple": 1.0}, 500.0, 1.50, "stop: "),
        ({"credit_fraction": 0.5}, 500.0, 0.20, "target: "),
    ],
)
def test_the_exits_of_the_gamma_scalper_are_those_of_the_day_too(exits, spot, vol, word):
    is_credit = any(name.startswith("credit") for name in exits)
    structure = (
        StructureConfig(shape="iron_fly", side="short", wing="20.00") if is_credit else StructureConfig()
    )
    desk = zero_dte(exits=exits, structure=structure)
    assert options_of(desk)
    desk.vol = vol
    for _ in range(3):
        settle(desk, desk.wait(30).market(spot))
    assert desk.positions == {}
    assert said(desk, word)


# the gamma scalper with the day's settings ------------------------------------------------------------


def gamma(desk_book=None, later=None, **config):
    """Return an open desk of a gamma scalper without a gate; ``later`` lists its strikes for that day too."""
    for strike in range(440, 561, 10) if later else ():
        for right in "CP":
            desk_book.add(option(right, strike, later))
    given = {
        "entry": EntryConfig(gate="none"),
        "hedge": HedgeConfig(band="fixed"),
        "exits": ExitConfig(min_dte=None, stop_fraction=None, arm_fraction=None, edge_gone=False),
        "triggers": TRIGGERS,
    } | config
    desk = HandDesk(
        GammaScalper(GammaScalperConfig(**given)), desk_book, limits=LIMITS, mark_seconds=1e6, options_level=4
    )
    desk.adopt({}, CASH)
    desk.open()
    return desk


def no_exits(**given):
    off = {"min_dte": None, "stop_fraction": None, "arm_fraction": None, "edge_gone": False}
    return ExitConfig(**off, **given)


def test_any_legs_are_taken_over_and_held_in_other_ratios_when_they_change():
    desk = gamma(straddle_book(495, 500, 505), mode="adopt_only", exits=no_exits())
    desk.adopt({1: (3, "9.00"), 4: (-2, "8.00")})
    settle(desk, desk.go_to("10:00").market(500.0))
    assert said(desk, "adopted +3")
    assert desk.strategy.phase == "holding"
    assert desk.positions[0]
    # the sold leg was taken away
    booked(desk.engine.desk.positions, InstrumentId(4), Decimal(2), Decimal("8.00"), "taken-away")
    settle(desk, desk.wait(10).market(500.0))
    assert desk.strategy.phase == "holding"
    assert options_of(desk) == {1: 3}


@pytest.mark.parametrize(("again", "bought"), [(True, 2), (False, 0)])
def test_each_session_looks_for_a_trade_but_in_a_run_of_an_earlier_version(again, bought):
    entry = EntryConfig(gate="none", again_next_session=again)
    desk = gamma(exits=no_exits(close_at="15:00"), entry=entry)
    settle(desk, desk.go_to("10:00").market(500.0))
    settle(desk, desk.go_to("15:00").market(500.0))
    assert (desk.positions, desk.strategy.phase, desk.strategy.is_done) == ({}, "done", True)
    assert orders(desk.wait(60).market(500.0)) == []  # the exit ended this session's entries
    desk.close()
    desk.open(next_session(DAY))
    assert len(orders(desk.go_to("10:00").market(500.0))) == bought


def test_what_refused_an_entry_yesterday_is_said_again_and_its_pause_is_over():
    desk = gamma(exits=no_exits(), entry=EntryConfig(gate="none", max_straddle_delta=0.1))
    said_on = []
    for session in (None, next_session(DAY)):
        if session is not None:
            desk.close()
            desk.open(session)
        tools = desk.strategy.tools
        assert (tools.abandoned.failures, tools.abandoned.until_ns) == (0, 0)
        outputs = desk.go_to("10:00").market(497.0)
        said_on.append(len([one for one in decisions(outputs) if one.kind == "entry"]))
        tools.abandoned.fail(desk.engine.now_ns)
    assert said_on == [1, 1]


def test_hedges_are_measured_and_reported_where_the_watch_asks_for_it():
    desk = gamma(watch=WatchConfig(report_hedges=True), hedge=HedgeConfig(band="fixed", threshold_shares=2))
    settle(desk, desk.go_to("10:00").market(500.0))
    settle(desk, desk.wait(60).market(506.0))
    (first, *_) = [one for one in decisions(desk.outputs) if one.kind == "hedge_fill"]
    assert first.facts["spread_cost_usd"] == pytest.approx(0.01 * abs(first.facts["quantity_shares"]))


# rolls -----------------------------------------------------------------------------------------------


def strangles(**recentre):
    """Return a desk that has sold a 25-delta strangle of 46 days at 500."""
    book = straddle_book(*range(440, 561, 10))
    desk = gamma(
        book,
        structure=StructureConfig(shape="strangle", side="short"),
        recentre=RecentreConfig(**recentre),
        exits=no_exits(credit_multiple=None, credit_fraction=None),
        entry=EntryConfig(gate="none", max_straddle_delta=None),
    )
    settle(desk, desk.go_to("10:00").market(500.0))
    return desk


def largest_delta(desk):
    view = desk.engine.desk.view
    return max(abs(view.delta_engine.state(leg, desk.now_ns).greeks.delta) for leg in options_of(desk))


@pytest.mark.parametrize(("bound", "rolls"), [(0.40, True), (None, False), (0.95, False)])
def test_a_sold_leg_beyond_its_delta_rolls_the_structure(bound, rolls):
    desk = strangles(roll_delta=bound)
    first = options_of(desk)
    assert sorted(first.values()) == [-1, -1]
    assert largest_delta(desk) < 0.32
    desk.market(530.0)
    assert largest_delta(desk) > 0.45
    settle(desk, desk.wait(301).market(530.0))
    rolled = said(desk, "a sold leg has a delta")
    assert bool(rolled) is rolls
    assert (options_of(desk) != first) is rolls
    assert sorted(options_of(desk).values()) == [-1, -1]
    if rolls:
        assert rolled[0].facts["sold_delta"] > 0.45
        assert largest_delta(desk) <= 0.40
        assert desk.strategy.phase == "holding"


def test_a_roll_for_a_credit_alone_is_refused_for_a_debit_with_its_figures():
    desk = strangles(roll_delta=0.40, roll_for_credit=True)
    first = options_of(desk)
    quotes = desk.engine.desk.market.quotes
    settle(desk, desk.wait(299).market(530.0))
    paid = 100 * sum(quotes[leg].ask for leg in first)
    outputs = desk.wait(2).market(530.0)
    refused = said(desk, "roll: no credit")
    assert options_of(desk) == first
    assert len(refused) == 1
    assert orders(outputs) == []
    # bought back at the asks, and what is sold within the bound at the bids
    figure = refused[0].facts["roll_credit_usd"]
    assert figure < 0.0
    brought = figure + paid
    assert 0.0 < brought < paid
    sold = [leg for leg in range(1, len(desk.book)) if quotes[leg] is not None]
    pairs = {round(100 * (quotes[a].bid + quotes[b].bid), 2) for a in sold for b in sold if a != b}
    assert round(brought, 2) in pairs


def test_a_roll_to_a_later_expiry_that_brings_a_credit_is_done():
    """Three months more are worth more than what the challenged strangle costs to buy back."""
    book = straddle_book(*range(440, 561, 10))
    desk = gamma(
        book,
        structure=StructureConfig(shape="strangle", side="short"),
        selection=SelectionConfig(min_expiration_days=45, max_expiration_days=140),
        recentre=RecentreConfig(roll_delta=0.40, roll_for_credit=True),
        exits=no_exits(credit_multiple=None, credit_fraction=None),
        entry=EntryConfig(gate="none", max_straddle_delta=None),
        later=LATER,
    )
    settle(desk, desk.go_to("10:00").market(500.0))
    first = options_of(desk)
    quotes = desk.engine.desk.market.quotes
    settle(desk, desk.wait(299).market(524.0))
    paid = 100 * sum(quotes[leg].ask for leg in first)
    sent = settle(desk, desk.wait(2).market(524.0))
    (_, entry) = said(desk, "for a credit of")
    opened = [order for order in sent if order.side is Side.SELL and order.instrument_id]
    brought = 100 * sum(quotes[order.instrument_id].bid for order in opened)
    assert entry.facts["roll_credit_usd"] == pytest.approx(brought - paid)
    assert brought > paid
    assert {desk.book[leg].expiry for leg in options_of(desk)} == {LATER}


def test_a_roll_by_delta_of_a_structure_that_sells_nothing_is_refused_as_a_setting():
    with pytest.raises(ConfigError, match=r"recentre\.roll_delta"):
        GammaScalperConfig(recentre=RecentreConfig(roll_delta=0.4))


def test_legs_that_stay_are_not_traded_in_a_roll():
    desk = strangles(roll_delta=0.40)
    before = options_of(desk)
    sent = settle(desk, desk.wait(301).market(530.0))
    after = options_of(desk)
    stayed = set(before) & set(after)
    assert not stayed & {order.instrument_id for order in sent}
    bought_back = [order for order in sent if order.side is Side.BUY and order.instrument_id]
    assert {order.instrument_id for order in bought_back} == set(before) - stayed
