"""Trades of a run: what was opened and closed, in figures and in words, from signed legs."""

import math
from datetime import date
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.enums import ChangeCause, DecisionKind
from scalpdesk.core.intents import MARK_STATE, Decision, Mark
from scalpdesk.core.units import DAY_NS, ZERO, InstrumentId
from scalpdesk.entry.selector import move_words, structure_score
from scalpdesk.entry.shape_names import structure_of
from scalpdesk.entry.shapes import SHAPES, At
from scalpdesk.instruments.contract import Equity, Right
from scalpdesk.instruments.deribit import deribit_option
from scalpdesk.instruments.postings import Posting
from scalpdesk.instruments.sessions import expiry_instant_ns, session_on
from scalpdesk.monitor.position_documents import break_even, position_sentence
from scalpdesk.portfolio.risk_book import GRID_MOVES, GRID_POINTS
from scalpdesk.pricing import greeks
from scalpdesk.report.fold import Fill
from scalpdesk.report.session_tables import realised_path
from scalpdesk.report.trade_words import (
    HeldOptions,
    OpenedLeg,
    Opening,
    entry_words,
    exit_words,
    outlook_of,
)
from scalpdesk.report.trades import BookRecord, gate_record, trades_of
from scalpdesk.volatility.variance_time import CALENDAR, EMBEDDED_SESSIONS, US_SESSIONS, VarianceClock
from scalpdesk_testing.kit.instruments import option

D = Decimal
MINUTE = 60 * 10**9
LATE = date(2018, 3, 16)
SOON = date(2018, 2, 5)
LISTED = (
    option("C", 500, LATE),
    option("P", 500, LATE),
    option("C", 250, LATE),
    option("P", 250, LATE),
    option("C", 510, SOON),
    Equity("SPY"),
    option("C", 520, SOON),
)
C, P, C2, P2, TODAY, SHARE, TODAY2 = (each.symbol for each in LISTED)
END = expiry_instant_ns(LISTED[4])
T0 = END - 100 * MINUTE


def fill(minutes, symbol, side, quantity=1, price="2", *, busted=False, purpose="open"):
    at_ns = T0 + int(minutes * MINUTE)
    names = str(minutes), str(minutes), at_ns, at_ns, symbol, side, purpose
    return Fill(0, *names, D(quantity), D(price), ZERO, busted)


def mark(minutes, change="0", spot=0.0, vol=0.0, **parts):
    state = dict.fromkeys((*MARK_STATE, "gamma_rent", "theta_paid"), 0.0)
    state |= {"spot": spot, "implied_vol": vol}
    amounts = {name: D(amount) for name, amount in parts.items()}
    return Mark(T0 + int(minutes * MINUTE), ZERO, D(change), amounts, **state)


def decided(minutes, kind="exit", reason="late", *, taken=True, ids=("a",), **facts):
    return Decision(T0 + int(minutes * MINUTE), DecisionKind(kind), taken, (reason,), facts, ids)


def moved(minutes, symbol, units, cause, source=None):
    """Return units that no order moved; of a conversion one unit leaves its source."""
    numbers = {each.symbol: InstrumentId(number) for number, each in enumerate(LISTED)}
    left = (numbers[source], D(-1)) if source else ()
    at_ns = T0 + int(minutes * MINUTE)
    return Posting("", numbers[symbol], D(units), ZERO, ZERO, ZERO, ChangeCause(cause), "r", at_ns, *left)


def trades(fills=(), marks=(), decisions=(), changes=(), clock=CALENDAR, listed=LISTED, **others):
    return trades_of(BookRecord(marks, changes, fills, decisions), listed, clock, **others)


def held(trade):
    return {leg.symbol: int(leg.quantity) for leg in trade.legs}


def minutes(trade):
    return tuple(None if at is None else (at - T0) / MINUTE for at in (trade.opened_ns, trade.closed_ns))


# figures ------------------------------------------------------------------------------------------


def test_each_time_options_are_held_is_a_trade_and_the_trades_are_the_run():
    fills = [
        fill(10, C, "buy", 2, "1.50"),
        fill(10, P, "buy", 2, "1.00"),
        fill(12, P, "buy", 9, "9.99", busted=True),
        fill(15, SHARE, "sell", 30, "280", purpose="hedge"),
        fill(20, C, "sell", 2, "2.00"),
        fill(21, P, "sell", 2, "0.50"),
        fill(40, TODAY, "buy", 1, "0.25"),
        fill(110, C, "buy", 1, "1.00"),
    ]
    moves = ((5, "1"), (10, "2"), (21, "4"), (30, "8"), (40, "16"), (110, "32"), (120, "64"))
    marks = [mark(at, change, gamma=change, spread="-1", fees="-0.25") for at, change in moves]
    decisions = [
        decided(15, "hedge", "delta"),
        decided(15, "hedge_second_order", "delta", ids=("b",)),
        decided(16, "hedge", "delta", ids=()),
        decided(19, reason="clock: 15:45"),
        decided(45, "entry", "again"),
    ]
    first, second, third = trades(fills, marks, decisions)
    assert minutes(first) == (10, 21)
    assert held(first) == {C: 2, P: 2}
    assert (first.cash_in, first.cash_out) == (-500, 500)
    assert [(leg.price_in, leg.price_out) for leg in first.legs] == [(D("1.5"), 2), (1, D("0.5"))]
    assert (first.hedges, first.why) == (1, "clock: 15:45")
    assert first.pnl == 15  # what came before it, and until the next one opens
    assert first.costs == D("-5.00")
    assert (*minutes(second), second.why, second.pnl) == (40, 100, "expired", 16)
    assert second.legs[0].price_out is None
    assert (third.closed_ns, third.exit, third.why, third.pnl) == (None, None, None, 96)
    assert third.parts == {"gamma": D(96), "spread": D(-2), "fees": D("-0.5")}
    rounded = third.in_cents(D(1))
    assert sum(rounded.parts.values()) == rounded.pnl == 96


def test_what_makes_a_position_larger_is_its_opening_and_the_rest_its_closing():
    """A sold condor was paid what bought it back and received what opened its wings."""
    signs = ((C, "sell", "0.15"), (P, "sell", "0.45"), (C2, "buy", "0.06"), (P2, "buy", "0.15"))
    back = {"sell": "buy", "buy": "sell"}
    prices = (".01", ".89", ".00", ".26")
    fills = [fill(1, symbol, side, 1, price) for symbol, side, price in signs]
    fills += [fill(9, s, back[side], 1, at) for (s, side, _), at in zip(signs, prices, strict=True)]
    (trade,) = trades(fills)
    assert (trade.cash_in, trade.cash_out) == (39, -64)
    assert (trade.entry.split()[0], trade.exit.split()[:2]) == ("sold", ["bought", "back"])
    through = [fill(1, C, "buy", 2), fill(2, C, "sell", 3, "3"), fill(3, P, "buy", 1), fill(4, C, "buy", 1)]
    (turned,) = trades(through)
    assert (turned.cash_in, turned.cash_out) == (-400 + 300 - 200, 600 - 200)


def test_a_trade_ends_with_an_early_assignment_and_goes_on_under_its_adjusted_name():
    fills = [fill(1, C, "sell"), fill(1, P, "sell"), fill(3, P, "buy"), fill(8, C, "buy")]
    changes = [moved(5, C, 1, "assignment"), moved(5, SHARE, -100, "delivery")]
    first, second = trades(fills, changes=changes)
    assert (*minutes(first), held(first)) == (1, 5, {C: -1, P: -1})
    assert "assigned" in first.why
    assert (second.opened_ns - T0, held(second)) == (8 * MINUTE, {C: 1})

    fills = [fill(1, C, "buy"), fill(1, P, "buy"), fill(6, C2, "sell", 2), fill(7, P2, "sell", 2)]
    changes = [moved(5, C2, 2, "corporate_action", C), moved(5, P2, 2, "corporate_action", P)]
    (trade,) = trades(fills, changes=changes)
    assert (*minutes(trade), held(trade)) == (1, 7, {C: 1, P: 1})
    assert (trade.cash_in, trade.cash_out) == (-400, 800)


def test_a_set_that_settles_says_what_became_of_each_leg_and_not_that_it_was_bought_back():
    """Legs end at their expiry, whenever the account hears of it; no other trade's words are theirs."""
    fills = [fill(1, TODAY, "sell"), fill(1, C, "buy")]
    night = [moved(1_000, TODAY, 1, "assignment"), moved(1_000, SHARE, -100, "delivery")]
    (trade,) = trades([*fills, fill(2, C, "sell")], changes=night)
    assert minutes(trade) == (1, 100)
    assert (trade.why.count("510 call"), "assigned" in trade.why) == (1, True)
    both = [fill(1, TODAY, "sell"), fill(1, TODAY2, "buy")]
    night += [moved(1_000, TODAY2, -1, "exercise"), moved(1_000, SHARE, 100, "delivery")]
    (trade,) = trades(both, changes=night)
    assert minutes(trade) == (1, 100)
    assert all(word in trade.why for word in ("510 call", "assigned", "exercised"))
    paid = msgspec.structs.replace(moved(100, TODAY, 1, "cash_settlement"), cash=D(-300))
    (trade,) = trades([fill(1, TODAY, "sell")], changes=[paid])
    assert "300.00" in trade.exit
    assert "bought back" not in trade.exit
    assert trade.cash_out == 0


def test_options_that_the_run_took_over_are_a_trade_from_its_beginning():
    """Their sale opened a straddle sold short, which ended at its expiry and had none of the hedges."""
    fills = [
        *(fill(at, SHARE, "sell", purpose="hedge") for at in (4, 5)),
        fill(7, C, "sell", 3),
        fill(8, P, "sell", 3),
        fill(9, P, "buy"),
    ]
    changes = [moved(2, symbol, units, "transfer") for symbol, units in ((C, 3), (SHARE, -50), (P, 3))]
    hedges = [decided(3, "hedge", ids=()), decided(4, "hedge"), decided(5, "hedge_second_order", ids=("b",))]
    first, second = trades(fills, decisions=hedges, changes=changes)
    assert (*minutes(first), held(first)) == (2, 8, {C: 3, P: 3})
    assert (first.hedges, first.cash_in, first.cash_out) == (1, 0, 1_200)
    assert first.entry.startswith("took over")
    assert (first.outlook, {leg.price_in for leg in first.legs}) == (None, {None})
    assert (*minutes(second), held(second)) == (9, None, {P: 1})


def test_options_that_a_transfer_brought_are_a_trade_until_they_are_gone():
    """Their sale opened a straddle sold short."""
    changes = [moved(at, C, units, "transfer") for at, units in ((1, 0), (2, 3), (4, -1))]
    (trade,) = trades([fill(7, C, "sell", 2)], changes=changes)
    assert (*minutes(trade), held(trade)) == (2, 7, {C: 3})


def test_a_roll_leaves_the_words_those_of_the_opening():
    fills = [fill(1, C, "buy"), fill(1, P, "buy"), fill(5, C, "sell"), fill(6, C2, "buy"), fill(7, P, "sell")]
    (trade,) = trades(fills)
    assert trade.structure == "long straddle"
    assert (trade.closed_ns, len(trade.legs)) == (None, 3)


def test_the_edge_of_two_straddles_is_twice_that_of_one():
    facts = {
        "implied_vol": 0.12,
        "edge_usd": 7.5,
        "edge_stderr_usd": 3.0,
        "forecast_vol": 0.2,
        "implied_level": 0.1,
    }
    decisions = [decided(0, "entry", **facts), decided(0.5, "entry", taken=False, **facts | {"edge_usd": 1})]
    (trade,) = trades([fill(1, C, "buy", 2), fill(2, C, "sell", 2)], decisions=decisions)
    assert (trade.edge_usd, trade.edge_stderr_usd) == (15.0, 6.0)
    assert (trade.forecast_vol, trade.implied_level) == (0.2, 0.1)
    assert all(figure in trade.entry for figure in ("20.0%", "10.0%", "+15.00", "6.00"))
    (without,) = trades([fill(1, C, "buy", 2), fill(2, C, "sell", 2)])
    assert (without.edge_usd, "forecast" in without.entry) == (None, False)
    assert gate_record([without, trade])["trades"] == 1


# volatilities -------------------------------------------------------------------------------------

US_YEAR = 252 + 197 * 0.46 + 46 * 0.65 + 9 * 0.76 + 8 * 0.80
"""Variances of a regular session in a year of the US clock."""


@pytest.mark.parametrize("clock", [CALENDAR, EMBEDDED_SESSIONS, US_SESSIONS])
def test_what_was_realised_counts_by_the_runs_clock_and_while_options_were_held(clock: VarianceClock) -> None:
    session = session_on(date(2018, 2, 5))
    stamps = [session.open_ns + n * 600 * 10**9 for n in range(40)]
    moves = [1.0, *(1.05 if n % 2 else 1.0 / 1.05 for n in range(9)), *(1.0 + 0.001 * n for n in range(30))]
    spots = np.cumprod(moves) * 100.0
    at = [(ts_ns - T0) / MINUTE for ts_ns in stamps]
    marks = [mark(minute, spot=spot) for minute, spot in zip(at, spots, strict=True)]
    # bought after the wild hour and a half, sold before the last two moves
    (trade,) = trades([fill(at[10], C, "buy"), fill(at[37], C, "sell")], marks, clock=clock)
    years = (stamps[37] - stamps[10]) / 365 / 86_400e9
    if clock is EMBEDDED_SESSIONS:  # from 11:10 to 15:40, of 360 sessions a year
        years = (sum((0.143818 * 5 / 6, 0.118703, 0.108861, 0.108999)) + 0.162572 * 2 / 3) / 360
    elif clock is US_SESSIONS:
        years = (sum((0.130 * 5 / 6, 0.089, 0.094, 0.148)) + 0.197 * 2 / 3) / US_YEAR
    expected = math.sqrt(sum(math.log(move) ** 2 for move in moves[11:38]) / years)
    assert trade.realised_vol == pytest.approx(expected)
    path = realised_path(zip(stamps, spots, strict=True), clock)
    in_half_an_hour = math.sqrt(sum(math.log(move) ** 2 for move in moves[37:40]))
    assert path[39] == pytest.approx(in_half_an_hour / math.sqrt(clock.years(stamps[36], stamps[39])))


def test_neither_a_dividend_nor_a_split_is_a_move_of_the_share():
    """Two nights: the first ends 1 lower, ex a dividend of 1; the second at half the price, after a split."""
    spots = [100.0, 101.0, 100.0, 102.0, 51.0, 51.51]
    marks = [mark(60 * n, spot=spot) for n, spot in enumerate(spots)]
    split, paid = moved(240, C2, 2, "corporate_action", C), [(T0 + 120 * MINUTE - 1, 1.0)]
    (trade,) = trades([fill(0, C, "buy")], marks, changes=[split], dividends=paid)
    years = 3 * 3_600e9 / 365 / 86_400e9  # neither the step that ends with the split nor the one after it
    steps = (101.0 / 100.0, 101.0 / 101.0, 102.0 / 100.0)
    assert trade.realised_vol == pytest.approx(math.sqrt(sum(math.log(step) ** 2 for step in steps) / years))


def test_volatility_in_and_out_are_the_marks_just_after_the_opening_and_just_before_the_closing():
    marks = [mark(0, spot=500.0), mark(10, spot=500.0, vol=0.9)]
    marks += [mark(at, spot=500.0, vol=vol) for at, vol in ((11, 0.21), (30, 0.25), (40, 0.3), (50, 0.0))]
    fills = [fill(5, C, "buy", price="9"), fill(10, P, "buy", price="9"), fill(40, C, "sell", price="9")]
    (trade,) = trades([*fills, fill(40, P, "sell", price="9")], marks)
    assert (trade.vol_in, trade.vol_out) == (0.21, 0.3)  # the mark of the second leg knows the first alone
    (still,) = trades(fills[:2], marks)
    assert (still.vol_in, still.vol_out) == (0.21, None)


@pytest.mark.rows(
    ("minutes_left", "spot", "price", "is_known"),
    [
        (90, 510.0, "1.10", True),
        (0.5, 510.0, "0.10", True),
        (0.1, 510.0, "0.05", False),  # half a cent is more than five points of so short a time
        (20, 498.0, "0.01", False),  # nor does a cent far out of the money say anything
    ],
)
def test_no_volatility_is_told_where_half_a_tick_moves_it_by_more_than_five_points(
    minutes_left, spot, price, is_known
):
    """An exit volatility of 6,059 % stood beside one of 15 % at the entry."""
    at = 100 - minutes_left
    marks = [mark(0, spot=510.0), mark(1.5, spot=510.0, vol=0.15), mark(at, spot=spot, vol=60.0)]
    (trade,) = trades([fill(1, TODAY, "buy", price="1.10"), fill(at, TODAY, "sell", price=price)], marks)
    assert (trade.vol_in, trade.vol_out) == (0.15, 60.0 if is_known else None)


# words --------------------------------------------------------------------------------------------

SPOT = 260.0
NEAR, FAR = date(2018, 3, 7), date(2018, 4, 4)
NOW = expiry_instant_ns(option("C", 260, NEAR)) - 30 * DAY_NS
BODY = {Right.CALL: 271, Right.PUT: 251}
WINGS = {"iron_condor": {Right.CALL: 280, Right.PUT: 242}, "butterfly": {}, "broken_wing": {}}


def placed(name, leg):
    """Strike of a leg: those of a chain about 260 at a volatility of 20 %."""
    right = leg.right or Right.CALL
    if leg.at is At.CENTRE:
        return 260
    if leg.is_inside:
        return 249
    if leg.at is At.OUTER:
        return 280
    return WINGS.get(name, BODY).get(right, BODY[right]) if leg.at is At.WING else BODY[right]


def opened(name, sign=1, sets=1):
    """Opening of a shape at the prices of a flat volatility of 20 %."""
    legs = []
    for leg in SHAPES[name].legs:
        right, expiry = leg.right or Right.CALL, FAR if leg.is_far else NEAR
        contract = option(right, placed(name, leg), expiry)
        years = (expiry_instant_ns(contract) - NOW) / DAY_NS / 365
        price = greeks(SPOT, float(contract.strike), years, 0.2, contract.is_call, style="european").price
        units = D(sign * sets * leg.ratio * (2 if leg.is_many else 1))
        legs.append(OpenedLeg(contract, units, D(f"{float(price):.6f}")))
    return Opening(tuple(legs), NOW, SPOT)


@pytest.mark.rows(
    ("name", "verbs", "debit", "theta", "gamma", "earns", "loss", "gain"),
    [
        ("straddle", "bought sold", 11.89, -0.20, 1, [(None, 248.1), (271.9, None)], 11.89, None),
        ("strangle", "bought sold", 4.50, -0.16, 1, [(None, 246.5), (275.5, None)], 4.50, None),
        ("iron_fly", "bought sold", 7.39, -0.04, 1, [(None, 252.6), (267.4, None)], 7.39, 3.61),
        ("iron_condor", "bought sold", 3.06, -0.07, 1, [(None, 247.9), (274.1, None)], 3.06, 5.94),
        ("vertical", "bought sold", 3.85, -0.02, 1, [(263.9, None)], 3.85, 7.15),
        ("calendar", "bought sold", 2.32, 0.03, -1, [(251.4, 269.4)], 2.32, 3.42),
        ("diagonal", "bought sold", 6.18, 0.01, 0, [(260.9, None)], 6.18, 6.76),
        ("ratio", "bought opened", 1.76, 0.06, -1, [(261.8, 280.2)], None, 9.24),
        ("back_ratio", "opened bought", -1.76, -0.06, 1, [(None, 261.8), (280.2, None)], 9.24, None),
        ("risk_reversal", "opened opened", -0.32, 0.00, 0, [(250.7, None)], 250.68, None),
        ("butterfly", "bought sold", 3.10, 0.05, -1, [(252.1, 267.9)], 3.10, 7.90),
        ("broken_wing", "bought sold", 1.72, 0.08, -1, [(250.7, 269.3)], 10.72, 9.28),
    ],
)
def test_words_of_a_trade_come_from_its_signed_legs(name, verbs, debit, theta, gamma, earns, loss, gain):
    """Long is short gamma in some shapes and a credit in others; short is the mirror of long in all."""
    bought, sold = opened(name), opened(name, -1)
    told = [outlook_of(each) for each in (bought, sold)]
    assert float(-bought.cash / 100) == pytest.approx(debit, abs=0.03)
    assert float(bought.cash + sold.cash) == 0
    for found, sign in zip(told, (1, -1), strict=True):
        assert found.theta_per_day / 100 == pytest.approx(sign * theta, abs=0.012)
        side = 0 if abs(found.gamma) < 0.1 * found.gross_gamma else math.copysign(1, found.gamma)
        assert side == sign * gamma
    lost, gained = (None if each is None else pytest.approx(100 * each, abs=6.0) for each in (loss, gain))
    assert (told[0].most_loss, told[0].most_gain) == (lost, gained)
    assert (told[1].most_loss, told[1].most_gain) == (gained, lost)
    ends = [[-math.inf if low is None else low, math.inf if high is None else high] for low, high in earns]
    found = [
        [-math.inf if low is None else low, math.inf if high is None else high] for low, high in told[0].earns
    ]
    assert np.array(found) == pytest.approx(np.array(ends), abs=0.15)
    between = [end for pair in told[1].earns for end in pair if end is not None]
    assert between == pytest.approx([end for pair in told[0].earns for end in pair if end is not None])
    for each, outlook, verb in zip((bought, sold), told, verbs.split(), strict=True):
        named = structure_of((leg.contract, leg.quantity) for leg in each.legs)
        words = entry_words(each, named, outlook)
        assert words.split()[0] == verb
        assert ("credit of" in words) is (each.cash > 0)
        assert ("receives" in words) is (outlook.theta_per_day > 0)
        assert ("at the nearer expiry" in words) is (name in ("calendar", "diagonal"))
        assert ("without a bound" in words) is (None in (outlook.most_loss, outlook.most_gain))
        holding = HeldOptions(each.legs, NOW, SPOT, [0.2] * len(each.legs)).words
        assert holding.split()[0] == verb.capitalize()
        assert ("without a bound" in holding) is (None in (outlook.most_loss, outlook.most_gain))
        assert ("at the nearer expiry" in holding.lower()) is (not outlook.is_exact)


@pytest.mark.parametrize("name", ["straddle", "iron_condor", "vertical", "ratio", "calendar"])
def test_the_chance_to_earn_is_that_of_a_lognormal_price_at_the_nearest_expiry(name):
    each, vol = opened(name), 0.25
    found = HeldOptions(each.legs, NOW, SPOT, [vol] * len(each.legs)).outlook
    other = HeldOptions(opened(name, -1).legs, NOW, SPOT, [vol] * len(each.legs)).outlook
    nearest = min(expiry_instant_ns(leg.contract) for leg in each.legs)
    draws = np.random.default_rng(7).standard_normal(200_000)
    sd = vol * math.sqrt((nearest - NOW) / (365 * 86_400e9))
    prices = SPOT * np.exp(sd * draws - 0.5 * sd * sd)
    earning = sum(
        ((prices > (low or 0.0)) & (prices < (high or math.inf))).mean() for low, high in found.earns
    )
    assert found.chance == pytest.approx(earning, abs=0.004)
    assert found.chance + other.chance == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["straddle", "iron_condor", "calendar"])
def test_a_holding_is_seen_from_now_by_the_volatilities_of_now(name):
    """What all ends together is worth its payoff, whatever volatility is; what ends later is not."""
    each = opened(name)
    held = [HeldOptions(each.legs, NOW, SPOT, [vol] * len(each.legs)) for vol in (0.10, 0.40)]
    calm, wild = (each.outlook for each in held)
    is_later = name == "calendar"
    assert (calm.earns != wild.earns) is is_later
    assert (calm.most_gain != wild.most_gain) is is_later
    assert calm.gamma != pytest.approx(wild.gamma)
    evens = held[1].break_evens
    assert held[1].at_expiry(evens) == pytest.approx([0.0] * len(evens), abs=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", SHAPES)
def test_who_receives_theta_is_told_so_by_each_sentence(name, sign):
    """A move "paid the theta" of who receives it, and 10 % up "earned" a loss."""
    legs = opened(name, sign).legs
    gamma = theta = 0.0
    for contract, units, _ in legs:
        years = (expiry_instant_ns(contract) - NOW) / DAY_NS / 365
        found = greeks(SPOT, float(contract.strike), years, 0.2, contract.is_call, style="european")
        gamma += float(units * D(float(found.gamma)))
        theta += float(units * D(float(found.theta))) / 365
    for spread in (0.02, 5.0):  # a narrow one, and one that a day's theta does not pay
        score = structure_score(theta, gamma, spread)
        words = move_words(gamma, theta, score.score, "M")
        standing, earns_by_moves = theta - spread, gamma > 0.0
        assert ("pays its theta" in words) is (earns_by_moves and theta <= 0.0)
        assert ("takes back its theta" in words) is (not earns_by_moves and standing > 0.0)
        assert ("theta received" in words) <= (theta > 0.0)
        assert ("M" in words) is (earns_by_moves == (standing < 0.0))
        if "M" in words:  # the move makes good exactly what standing still costs or earns
            assert 0.5 * gamma * score.breakeven_move**2 == pytest.approx(-standing)
    even = break_even(gamma, theta, SPOT)
    assert (even is not None) is (gamma * theta < 0.0)
    if even is not None:
        assert 0.5 * gamma * (even * SPOT) ** 2 == pytest.approx(-theta)


@given(up=st.floats(-1e5, 1e5), down=st.floats(-1e5, 1e5), coin=st.booleans())
def test_a_loss_by_a_move_is_no_earning(up, down, coin):
    cells = np.zeros((len(GRID_MOVES), len(GRID_POINTS)))
    cells[-1], cells[0] = up, down
    page = {"spot": 1e5, "money_decimals": 8 if coin else 2, "at": "now", "currency": "BTC"}
    text = position_sentence((), cells, page, None)
    first, second = text.partition(";")[0].split(", 10 % down ")
    assert ("loses" in first, "earns" in first) == (up < 0.0, up >= 0.0)
    assert ("loses" in second, "earns" in second) == (down < 0.0, down >= 0.0)
    assert "\u2212" not in first + second


def test_the_break_evens_of_a_straddle_by_hand():
    found = outlook_of(opened("straddle", sets=2))
    premium = (
        2 * 260.0 * math.erf(0.1 * math.sqrt(30 / 365) / math.sqrt(2))
    )  # 2 S (2 N(σ√T/2) − 1) / 2 a right
    assert found.earns == (
        (None, pytest.approx(260 - premium, abs=1e-3)),
        (pytest.approx(260 + premium, abs=1e-3), None),
    )
    assert found.most_loss == pytest.approx(200 * premium, abs=0.01)


def test_options_in_coin_are_without_a_bound_where_the_coin_falls():
    """A put's payoff is in coin: (K - S) / S."""
    found = []
    for right in "PC":
        leg = OpenedLeg(deribit_option(f"BTC-7MAR18-100000-{right}"), D(-1), D("0.05"))
        found.append(outlook_of(Opening((leg,), NOW, 100_000.0)))
    of_put, of_call = found
    assert (of_put.most_loss, of_put.most_gain) == (None, pytest.approx(0.05))
    assert of_put.earns == ((pytest.approx(100_000 / 1.05), None),)
    assert (of_call.most_loss, of_call.most_gain) == (pytest.approx(0.95), pytest.approx(0.05))


@pytest.mark.rows(
    ("name", "sign", "cash", "why", "words"),
    [
        ("straddle", 1, 500, "profit 20 %: 500", ("sold for a credit of 500.00 USD", "profit 20 %: 500")),
        ("iron_condor", -1, -64, "stop: lost 64", ("bought back for a debit of 64.00 USD", "stop: lost 64")),
        ("vertical", 1, -3, "edge gone", ("closed for a debit of 3.00 USD", "edge gone")),
        ("back_ratio", 1, 90, "margin call", ("closed for a credit of 90.00 USD", "margin call")),
        ("straddle", 1, 0, "expired", ("expired",)),
        ("straddle", -1, 0, "assignment", ("assignment",)),
        ("straddle", -1, 0, None, ("closed",)),
    ],
)
def test_a_closing_is_told_by_what_was_opened_and_by_the_cash(name, sign, cash, why, words):
    opening = opened(name, sign)
    named = structure_of((leg.contract, leg.quantity) for leg in opening.legs)
    assert exit_words(opening, named, D(cash), why) == ": ".join(words)
