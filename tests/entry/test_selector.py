import math
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.units import MINUTE_NS
from scalpdesk.entry.selector import (
    Selection,
    SelectionConfig,
    StructureSelector,
    forward_of,
    strike_range,
    structure_score,
)
from scalpdesk.entry.shapes import STRADDLE
from scalpdesk.instruments.contract import Instruments, LinearPerpetual, OptionContract, options_in_order
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.instruments.ticks import TickRule
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine, OptionState
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk_testing.kit.instruments import DAY, EXPIRY, option, straddle_book
from scalpdesk_testing.kit.tape import at, model_price, quote

NOON = at("12:00")
SPOT = 500.0


def strike_of(candidate):
    return candidate.structure.lead.contract.strike


class Chain:
    """A chain quoted at a flat volatility with a spread by number."""

    def __init__(self, *strikes, expiry=EXPIRY, vol=0.20, spread=0.10, open_interest=1_000):
        self.book = straddle_book(*strikes, expiry=expiry)
        self.state = MarketState(self.book)
        self.engine = DeltaEngine(self.book, self.state, ContractPricer())
        self.straddles = STRADDLE.at(options_in_order(self.book, "SPY"))
        self.state.apply_quote(quote(0, NOON, SPOT - 0.01, SPOT + 0.01))
        for number, one in enumerate(self.book):
            if isinstance(one, OptionContract):
                self.quote(number, vol, spread)
                self.state.open_interest[number] = open_interest

    def quote(self, number, vol=0.20, spread=0.10, now_ns=NOON):
        fair = model_price(self.book[number], SPOT, vol, NOON)
        self.state.apply_quote(quote(number, now_ns, fair - spread / 2, fair + spread / 2))

    def select(self, straddles=1, now_ns=NOON, most=10.0, **config):
        selector = StructureSelector(SelectionConfig(**config), straddles, max_delta_shares=most)
        return selector.select(self.straddles, self.state, self.engine, SPOT, now_ns)


def test_the_score_of_the_worked_case():
    # A.straddle_score.o1: theta -0.20 and -0.18 a day, gamma 0.01 each, spreads 0.20 and 0.20
    score = structure_score(-0.38, 0.02, 0.4)
    assert score.score == pytest.approx(39.0)
    assert score.breakeven_move == pytest.approx(8.83176086633)
    assert score.legacy_score == pytest.approx(2019.0)


def test_the_legacy_score_grows_with_the_number_of_straddles_and_the_corrected_does_not():
    one, three = structure_score(-0.38, 0.02, 0.4), structure_score(-0.38, 0.02, 0.4, straddles=3)
    assert three.score == one.score
    assert three.legacy_score == pytest.approx((0.38 + 120) / 0.02)


def test_sold_gamma_is_scored_by_what_it_earns_after_the_spread():
    """Theta of .30 a day less a spread of .10 for .01 of gamma; a dearer spread ranks behind."""
    sold = structure_score(0.3, -0.01, 0.1)
    assert sold.score == pytest.approx(-20.0)
    assert sold.breakeven_move == pytest.approx(math.sqrt(2 * 0.2 / 0.01))
    assert sold.score < structure_score(0.3, -0.01, 0.2).score < 0.0 < structure_score(0.3, -0.01, 0.5).score


@pytest.mark.parametrize("gamma", [0.0, math.nan])
def test_without_gamma_there_is_no_score(gamma):
    assert structure_score(-0.3, gamma, 0.1) == structure_score(-0.9, 0.0, 0.5)
    assert structure_score(-0.3, gamma, 0.1).score is None


@given(
    theta=st.floats(-2, 0),
    gamma=st.floats(0.001, 0.2),
    spread=st.floats(0, 2),
    more=st.floats(0.01, 1),
)
def test_dearer_is_worse_and_the_breakeven_move_pays_for_it(theta, gamma, spread, more):
    score = structure_score(theta, gamma, spread)
    assert structure_score(theta, gamma, spread + more).score > score.score
    assert structure_score(theta - more, gamma, spread).score > score.score
    assert 0.5 * gamma * score.breakeven_move**2 == pytest.approx(abs(theta) + spread, abs=1e-12)


def test_the_expected_move_is_one_standard_deviation():
    move, low, high = strike_range(590.0, 0.16, 45)
    assert move == pytest.approx(590 * 0.16 * math.sqrt(45 / 365.25))
    assert (low, high) == (590 - move, 590 + move)


def test_the_cheapest_gamma_is_chosen():
    chain = Chain(490, 500, 510)
    for number in (3, 4):
        chain.quote(number, spread=2.0)  # the money is dear today
    selection = chain.select(most=None, strike_choice="score")
    assert selection.candidates == 3
    assert strike_of(selection.best) in {490, 510}
    assert selection.best.spread == pytest.approx(0.20)
    scores = [chain.select(strike=Decimal(strike)).best.rank for strike in (490, 500, 510)]
    assert selection.best.rank == min(scores)
    assert max(scores) == scores[1]


@pytest.mark.parametrize("straddles", [1, 5])
def test_the_legacy_ranking_is_the_spread(straddles):
    chain = Chain(495, 500)
    for number in (1, 2):
        chain.quote(number, spread=0.08)
    by_score = {"most": None, "strike_choice": "score"}
    assert strike_of(chain.select(straddles, score="legacy", **by_score).best) == 495


def test_the_strike_nearest_the_forward_is_chosen_though_others_score_better():
    chain = Chain(495, 499, 500, 501, 505)
    for number in (5, 6):
        chain.quote(number, spread=2.0)
    selection = chain.select()
    assert (strike_of(selection.best), selection.candidates) == (500, 1)
    assert selection.best.rank > chain.select(strike_choice="score").best.rank
    assert selection.best.forward == pytest.approx(SPOT)


def test_the_forward_counts_and_not_the_spot():
    """At 5 % of interest the forward lies 3.15 above a spot of 500: 46 days."""
    chain = Chain(497, 500, 503, 506)
    chain.engine = DeltaEngine(
        chain.book, chain.state, ContractPricer(), dividend_yield=-0.05, by_parity=False
    )
    best = chain.select(most=None).best
    assert best.forward == pytest.approx(500.0 * math.exp(0.05 * best.states[0].years))
    assert strike_of(best) == 503


@pytest.mark.parametrize("choice", ["forward", "score"])
def test_no_straddle_is_chosen_before_calls_and_puts_have_shown_the_forward(choice):
    """A yield of -30 % is configured, the market's is 0: the guess lies at 519, where delta is -60 of 100."""
    chain = Chain(480, 490, 500, 510, 520, 530)
    chain.engine = DeltaEngine(chain.book, chain.state, ContractPricer(), dividend_yield=-0.30)
    quotes = list(chain.state.quotes)
    late = [number for number in range(1, 13) if number not in (9, 10, 11, 12)]
    for number in late:  # two pairs are quoted on both sides: a fit needs three
        chain.state.apply_quote(quote(number, NOON + 1, 0.0, quotes[number].ask))
    early = chain.select(most=None, now_ns=NOON + 1, strike_choice=choice)
    assert early.best is None
    assert "forward" in early.why_none()
    later = NOON + MINUTE_NS + 1
    for number, known in enumerate(quotes):
        chain.state.apply_quote(quote(number, later, known.bid, known.ask))
    chain.engine.vols.carry.measure_due(later)
    found = chain.select(now_ns=later)
    assert strike_of(found.best) == 500
    assert found.best.forward == pytest.approx(SPOT, abs=0.2)
    assert abs(found.best.delta) < 0.1


def test_of_two_roots_of_one_day_each_shows_its_own_forward():
    """Two pairs of the class settled at the open have quotes; the one at 500 has the lower score."""
    chain = Chain(490, 500, 510, spread=0.30)
    for name in ("490", "500", "510"):
        for right in "CP":
            chain.book.add(replace(option(right, name, root="SPYW"), underlying="SPY"))
    chain.state = MarketState(chain.book)
    chain.engine = DeltaEngine(chain.book, chain.state, ContractPricer(), dividend_yield=-0.30)
    chain.straddles = STRADDLE.at(options_in_order(chain.book, "SPY"))
    chain.state.apply_quote(quote(0, NOON, SPOT - 0.01, SPOT + 0.01))
    for number, each in enumerate(chain.book):
        if each.is_option and (each.root == "SPY" or each.strike > 490):
            chain.quote(number, spread=0.30 if each.root == "SPY" else 0.02)
            chain.state.open_interest[number] = 1_000
    found = chain.select()
    assert found.best.structure.lead.contract.root == "SPY"
    assert found.removed["a forward that calls and puts show"] == 2


def test_on_the_last_day_the_spot_is_forward_enough():
    chain = Chain(498, 499, 500, 501, 502, expiry=DAY, spread=0.02)
    chain.engine = DeltaEngine(chain.book, chain.state, ContractPricer(), dividend_yield=-0.30)
    for number in range(7, 11):
        chain.state.apply_quote(quote(number, NOON + 1, 0.0, chain.state.quotes[number].ask))
    chain.state.apply_quote(quote(1, NOON + 1, 0.0, chain.state.quotes[1].ask))
    today = chain.select(now_ns=NOON + 1, min_expiration_days=0)
    assert strike_of(today.best) == 500


@given(spot=st.floats(496.0, 504.0), vol=st.floats(0.08, 0.6), most=st.sampled_from([2.0, 5.0, 10.0, 40.0]))
def test_what_is_chosen_is_within_the_delta_and_nothing_nearer_is(spot, vol, most):
    chain = Chain(*range(490, 511, 2), vol=vol)
    chain.state.apply_quote(quote(0, NOON + 1, spot - 0.01, spot + 0.01))
    for number, one in enumerate(chain.book):
        if isinstance(one, OptionContract):
            fair = model_price(one, spot, vol, NOON)
            chain.state.apply_quote(quote(number, NOON + 1, fair - 0.05, fair + 0.05))
    selector = StructureSelector(SelectionConfig(), max_delta_shares=most)
    selection = selector.select(chain.straddles, chain.state, chain.engine, spot, NOON + 1)
    deltas = {
        each.lead.contract.strike: 100.0
        * sum(chain.engine.state(leg, NOON + 1).greeks.delta for leg in each.option_ids)
        for each in chain.straddles
    }
    allowed = [strike for strike, delta in deltas.items() if abs(delta) <= most]
    if not allowed:
        assert selection.best is None
        assert strike_of(selection.lopsided) == min(deltas, key=lambda strike: abs(float(strike) - spot))
        return
    assert abs(float(strike_of(selection.best)) - spot) == min(abs(float(each) - spot) for each in allowed)


def test_a_tie_goes_to_the_tighter_then_the_nearer_then_the_sooner():
    chain = Chain(500)
    first, again = chain.select(), chain.select()
    assert first.best.structure == again.best.structure


@pytest.mark.rows(
    ("low", "high", "passes"), [(46, 46, True), (30, 46, True), (47, 90, False), (0, 45, False)]
)
def test_the_expiry_window_counts_calendar_days_both_ends_included(low, high, passes):
    selection = Chain(500).select(min_expiration_days=low, max_expiration_days=high)
    assert (selection.best is not None) is passes
    assert selection.removed[f"expiry {low} to {high} days"] == (0 if passes else 1)


def test_one_strike_or_one_expiry_can_be_asked_for():
    chain = Chain(450, 500)
    assert strike_of(chain.select(strike=Decimal(450)).best) == 450  # no expected-move filter then
    none = chain.select(expiry=date(2024, 5, 17))
    assert none.best is None
    assert none.why_none() == (
        "no straddle passes the filters: expiry 30 to 90 days, asked for expiry 2024-05-17 removed 2"
    )


@pytest.mark.rows(
    ("known", "least", "passes"),
    [(101, 100, True), (100, 100, False), (None, 100, False), (None, -1, True), (0, -1, True), (0, 0, False)],
)
def test_open_interest_must_be_exceeded_and_unknown_is_none(known, least, passes):
    chain = Chain(500)
    if known is None:
        del chain.state.open_interest[2]
    else:
        chain.state.open_interest[2] = known
    selection = chain.select(min_open_interest=least)
    assert (selection.best is not None) is passes
    assert selection.removed[f"open interest above {least}"] == (0 if passes else 1)


def test_data_without_any_open_interest_is_named_with_the_setting_that_goes_on():
    chain = Chain(500)
    chain.state.open_interest.clear()
    (reason,) = [reason for reason in chain.select().removed if "open interest" in reason]
    assert reason == (
        "open interest above 100 (the data lacks it: import it, or set selection.min_open_interest = -1)"
    )
    assert chain.select(min_open_interest=-1).best is not None


def test_both_legs_need_a_good_quote():
    chain = Chain(500)
    chain.state.apply_quote(quote(2, NOON + 1, math.nan, 5.0))
    assert chain.select().removed["a good quote on both legs"] == 1
    stale = Chain(500)
    late = NOON + 61 * 10**9
    assert stale.select(now_ns=late).removed["a good quote on both legs"] == 1


def test_a_wide_spread_can_be_refused():
    chain = Chain(500, spread=1.4)  # a leg of 14 is worth about 10 % of spread
    assert chain.select(max_spread_fraction=0.11).best is not None
    assert chain.select(max_spread_fraction=0.09).removed["spread up to 9% of mid"] == 1


def test_strikes_beyond_the_expected_move_are_left_out_except_the_money():
    strikes = (450, 464, 466, 500, 534, 536)
    chain = Chain(*strikes)
    selection = chain.select(most=None)
    move = strike_range(SPOT, chain.engine.state(7, NOON).vol, 46)[0]
    assert 34 < move < 36
    beyond = sum(abs(strike - SPOT) > move for strike in strikes)
    assert selection.removed["strike within one expected move"] == beyond == 3
    alone = Chain(450)
    assert strike_of(alone.select(most=None).best) == 450


def test_a_straddle_without_a_volatility_is_no_candidate():
    chain = Chain(500, 505)
    fair = model_price(chain.book[3], SPOT, 0.20, NOON)
    chain.state.apply_quote(quote(4, NOON + 1, 600.0, 601.0))  # a put worth more than its strike
    assert fair > 0
    selection = chain.select()
    assert selection.removed["greeks"] == 1
    assert strike_of(selection.best) == 500


def test_an_expiry_whose_money_has_no_volatility_is_left_out():
    chain = Chain(500)
    chain.state.apply_quote(quote(1, NOON + 1, 600.0, 601.0))
    assert chain.select().removed["strike within one expected move"] == 1


def test_an_empty_chain_says_so():
    assert Selection(None, 0, {"greeks": 0}).why_none() == (
        "no straddle passes the filters: the chain holds no pair of call and put"
    )


def test_the_reason_names_the_move_of_the_underlying_that_pays_for_a_straddle():
    """The score itself is in squared dollars: a million for a straddle on Bitcoin."""
    selection = Chain(495, 500, 505).select()
    best = selection.best
    call, put = best.states
    cost = abs(call.greeks.theta + put.greeks.theta) / 365 + best.spread
    move = math.sqrt(2.0 * cost / (call.greeks.gamma + put.greeks.gamma))
    shown = re.findall(r"([\d.]+) \(([\d.]+)%\)", selection.why_best())
    assert shown == [(f"{move:.2f}", f"{100 * move / SPOT:.2f}")]


@pytest.mark.parametrize(("root", "carry"), [("BTC", 0.0), ("BTC_USDC", 0.05)])
def test_the_spot_of_an_inverse_option_is_its_forward_and_that_of_a_linear_one_is_carried(root, carry):
    """The currency of a linear option is no US dollar either."""
    tick = TickRule(Decimal("0.5"))
    swap = perpetual("BTC") if root == "BTC" else LinearPerpetual("BTC_USDC-PERPETUAL", tick)
    options = [deribit_option(f"{root}-25DEC26-100000-{right}") for right in "CP"]
    listed = Instruments([swap, *options])
    (straddle,) = STRADDLE.at(options_in_order(listed, swap.symbol))
    call = OptionState(0.0, 100_000.0, 1.0, 0.05, 0.5, True, options[0], ContractPricer())
    assert forward_of(straddle, call) == pytest.approx(100_000.0 * math.exp(carry))
