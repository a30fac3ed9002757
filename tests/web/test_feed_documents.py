"""Figures of the pages against second calculations and limit cases."""

import math
import re
from copy import copy
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from scalpdesk.alerts.service import PageWatch
from scalpdesk.cli.summary_view import verdict_text
from scalpdesk.config.settings import AlertSettings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import DividendEvent
from scalpdesk.core.intents import Decision
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.journal.codec import SCHEMA, JournalHeader
from scalpdesk.journal.cut import CutShort
from scalpdesk.monitor import documents, order_documents, position_documents
from scalpdesk.monitor.documents import account_kind
from scalpdesk.monitor.follower import COLUMNS, Series
from scalpdesk.monitor.held_book import held_book
from scalpdesk.monitor.position_documents import break_even, crossings
from scalpdesk.monitor.texts import leg_label, per_cent, plain, signed, span, tone, verdict_pieces
from scalpdesk.portfolio.explain import PARTS
from scalpdesk.portfolio.gamma_verdict import GammaVerdict, loss_of
from scalpdesk.pricing import greeks
from scalpdesk.report.figures import json_safe
from scalpdesk.report.summary import with_loss
from scalpdesk.web.feed import DeskFeed
from scalpdesk.web.tear_sheet import sheet_document


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (-1234.5, 2, "−1,234.50"),
        (0.004, 2, "0.00"),
        (-0.004, 2, "0.00"),
        (1e6, 0, "+1,000,000"),
        (None, 2, None),
    ],
)
def test_amounts_have_a_true_minus_and_zero_no_sign(value, decimals, text):
    assert signed(value, decimals) == text


def test_what_is_not_finite_is_not_shown_as_a_figure():
    assert signed(math.nan) is None
    assert plain(math.inf) is None
    assert per_cent(math.nan) is None
    document = {"a": [math.nan, np.float64(2.0), np.int64(3), np.bool_(1), Decimal("1.50"), 4]}
    assert msgspec.json.encode(json_safe(document)) == b'{"a":[null,2.0,3,true,"1.50",4]}'
    assert [tone(value) for value in (None, 0.0049, -0.0049, 0.01, -0.01)] == ["muted"] * 3 + ["up", "down"]


def test_lengths_of_time():
    assert [span(s) for s in (0, 59, 60, 3_600)] == ["0 s", "59 s", "1 min", "1 h 0 min"]
    assert span(20_400) == "5 h 40 min"


@pytest.mark.parametrize(
    ("mode", "venue", "kind"),
    [
        ("demo", "simulated", "SIMULATED"),
        ("backtest", "simulated", "SIMULATED"),
        ("simulated", "simulated", "SIMULATED"),
        ("paper", "sandbox", "SANDBOX"),
        ("paper", "alpaca", "PAPER"),
        ("live", "alpaca", "LIVE"),
        ("live", "simulated", "LIVE"),
        ("demo", "alpaca", "UNKNOWN"),
        ("something", "else", "UNKNOWN"),
    ],
)
def test_only_what_is_known_to_be_simulated_is_called_so(mode, venue, kind):
    assert account_kind(JournalHeader(SCHEMA, "r", "s", venue, mode, {}, "", "", (), (), {}, 1)) == kind
    assert account_kind(None) == "UNKNOWN"


def test_break_even_move_earns_what_theta_costs():
    gamma, theta, spot = 3.13, -15.76, 265.77
    move = break_even(gamma, theta, spot) * spot
    assert 0.5 * gamma * move**2 == pytest.approx(-theta)
    assert break_even(-gamma, -theta, spot) == break_even(gamma, theta, spot)
    assert break_even(gamma, -theta, spot) is None  # both earn
    assert break_even(-gamma, theta, spot) is None
    assert break_even(1.0, -1.0, None) is None


def test_worst_case_of_a_long_straddle_lies_between_nothing_and_its_premium(held):
    worst = position_documents.worst_case(held)
    premium = sum(
        float(position.average_price * position.quantity * position.multiplier)
        for position in held.desk.positions.held()
        if position.multiplier == 100
    )
    assert -premium < worst["worst_pnl"] < 0
    assert worst["limit"] == "-5000.00"  # 5 % of 100,000: risk.max_daily_loss_fraction
    assert worst["worst_fraction"] == pytest.approx(-worst["worst_pnl"] / 5_000, abs=1e-3)


def test_payoff_at_expiry_is_intrinsic_value_less_what_the_book_is_worth_now(held):
    page = json_safe(position_documents.position_page(held))
    spots, end = np.array(page["payoff"]["spots"]), np.array(page["payoff"]["expiry"])
    shares, value_now, strike, contracts = 0.0, 0.0, 274.0, 0.0
    for position in held.desk.positions.held():
        contract = held.desk.instruments[position.instrument_id]
        units = float(position.quantity) * position.multiplier
        if position.multiplier == 1:
            shares += units
            value_now += units * page["spot"]
        else:
            assert float(contract.strike) == strike
            contracts = units
            state = held.value(position.instrument_id)
            value_now += units * float(
                greeks(page["spot"], strike, state.years, state.vol, contract.is_call).price
            )
    intrinsic = contracts * np.abs(spots - strike) + shares * spots  # one call and one put of one strike
    assert np.abs(end - (intrinsic - value_now)).max() < 0.01
    assert len(page["break_evens"]) == 2
    for even in page["break_evens"]:
        assert np.interp(even, spots, end) == pytest.approx(0.0, abs=1e-6)


def test_ladder_has_zero_where_nothing_moves_and_greeks_for_small_moves(held):
    page = json_safe(position_documents.position_page(held))
    ladder = page["ladder"]
    assert np.array(ladder["pnl"]).shape == (11, 7)
    assert (ladder["moves"][5], ladder["vol_points"][3]) == (0.0, 0.0)
    assert ladder["pnl"][5][3] == pytest.approx(0.0, abs=1e-9)
    assert ladder["moves"] == sorted(ladder["moves"])
    small = held_book(held).ladder((-0.001, 0.0, 0.001), (0.0, 0.01), smile="sticky-strike")
    book = held.greeks()
    step = 0.001 * page["spot"]
    expected = book.net_delta_shares * step + 0.5 * book.gamma_shares_per_usd * step**2
    assert small[2, 0] == pytest.approx(expected, abs=0.05)
    assert small[1, 1] == pytest.approx(book.weighted_vega_usd_per_point, rel=0.03)


@pytest.fixture
def sold_call(held):
    """Symbol of the call at the spot of the expiry that is held, and 1 of it sold for a look."""
    strikes = position_documents.contracts_document(held)["expiries"]["2018-03-16"]
    near = min(strikes, key=lambda strike: abs(float(strike) - held.desk.market.mark(0)))
    return strikes[near]["call"], f"{strikes[near]['call']}:-1"


def test_the_ladder_shades_gains_and_losses_each_by_their_largest(held):
    ladder = position_documents.position_page(held)["ladder"]
    shades, cells = np.array(ladder["heat"]), np.array(ladder["pnl"])
    assert cells.min() < 0 < cells.max() != -cells.min()
    assert (shades.min(), shades.max()) == (-1, 1)
    assert shades == pytest.approx(np.where(cells < 0, cells / -cells.min(), cells / cells.max()), abs=0.001)


@pytest.mark.parametrize("points", [-5, 10])
def test_the_curves_at_a_change_of_volatility_are_the_column_of_the_ladder(held, points):
    page = position_documents.position_page(held, vol_points=points)
    ladder, payoff = page["ladder"], page["payoff"]
    column = np.array(ladder["pnl"])[:, ladder["vol_points"].index(points / 100)]
    spots = page["spot"] * (1 + np.array(ladder["moves"]))
    assert np.interp(spots, payoff["spots"], payoff["now"]) == pytest.approx(column, abs=0.5)
    unmoved = position_documents.position_page(held)
    assert unmoved["payoff"]["now"] != payoff["now"]
    assert unmoved["ladder"] == ladder


def test_a_later_date_and_an_added_leg_move_ladder_and_greeks_as_the_pricing_model_does(held, sold_call):
    days, (symbol, leg) = 20.0, sold_call
    page = json_safe(position_documents.position_page(held, days, [leg], "sticky-strike"))
    holdings = {each.instrument_id: each.quantity for each in held.desk.positions.held()}
    holdings[held.desk.instruments.id_of(symbol)] = Decimal(-1)
    spot, shares = page["spot"], 0.0
    expected = dict.fromkeys(("pnl", "delta", "gamma", "theta", "vega"), 0.0)
    for number, quantity in holdings.items():
        contract = held.desk.instruments[number]
        if not contract.is_option:
            shares += float(quantity)
            continue
        state, units, strike = held.value(number), 100.0 * float(quantity), float(contract.strike)
        later_ns, expires_ns = held.now_ns + int(days * 86_400) * 10**9, expiry_instant_ns(contract)
        # what is left of the variance by the clock, over what is left of the calendar
        by_clock = [held.desk.delta_engine.variance_years(at, expires_ns) for at in (later_ns, held.now_ns)]
        left = state.years - days / 365
        vol = state.vol * math.sqrt(by_clock[0] / by_clock[1] * state.years / left)
        then = greeks(spot, strike, left, vol, contract.is_call)
        now = greeks(spot, strike, state.years, state.vol, contract.is_call)
        expected["pnl"] += units * float(then.price - now.price)
        expected["delta"] += units * float(then.delta)
        expected["gamma"] += units * float(then.gamma)
        expected["theta"] += units * float(then.theta) / 365
        expected["vega"] += units * float(then.vega) / 100 * math.sqrt(30 / max(365 * left, 1.0))
    assert page["greeks"]["net_delta_shares"] == pytest.approx(expected["delta"] + shares, abs=0.006)
    names = ("gamma_shares_per_usd", "theta_usd_per_day", "vega_usd_per_point")
    for name, short in zip(names, ("gamma", "theta", "vega"), strict=True):
        assert page["greeks"][name] == pytest.approx(expected[short], abs=0.006), name
    assert page["ladder"]["pnl"][5][3] == pytest.approx(expected["pnl"], abs=0.01)
    assert page["payoff"]["now"][50] == pytest.approx(expected["pnl"], abs=0.01)
    assert [row["label"] for row in page["legs"] if row.get("is_added")] == [
        leg_label(held.desk.instruments[held.desk.instruments.id_of(symbol)])
    ]
    assert json_safe(position_documents.position_page(held))["legs"] == page["legs"][:-1]


def test_the_date_ends_at_the_first_expiry_of_what_is_held_and_added(held, sold_call):
    late = json_safe(position_documents.position_page(held, 5_000.0))
    assert late["days"] == late["most_days"] == pytest.approx(39.0, abs=0.3)
    assert late["payoff"]["now"] == late["payoff"]["expiry"]
    soon = min(position_documents.contracts_document(held)["expiries"])
    strikes = position_documents.contracts_document(held)["expiries"][soon]
    added = next(iter(strikes.values()))["call"]
    assert position_documents.position_page(held, 0.0, [f"{added}:1"])["most_days"] < 5.0


def test_shares_added_change_delta_alone(held):
    before = json_safe(position_documents.position_page(held, 10.0))
    after = json_safe(position_documents.position_page(held, 10.0, ["SPY:-25"]))
    assert after["greeks"].pop("net_delta_shares") == pytest.approx(
        before["greeks"].pop("net_delta_shares") - 25.0
    )
    assert after["greeks"] == before["greeks"]


def test_a_flat_desk_shows_the_ladder_of_what_is_added(ended_feed):
    flat = ended_feed.follower
    assert "empty" in position_documents.position_page(flat)
    expiries = position_documents.contracts_document(flat)["expiries"]
    pair = expiries[max(expiries)]
    strike = list(pair)[len(pair) // 2]
    page = json_safe(position_documents.position_page(flat, 0.0, [f"{pair[strike]['put']}:2"]))
    cells = [row[3] for row in page["ladder"]["pnl"]]
    assert cells == sorted(cells, reverse=True)  # a put earns downwards
    assert cells[5] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("leg", ["SPY", "SPY:", "SPY:0", "SPY:nan", "SPY:1e9", "NOPE:1", ":1"])
def test_a_leg_that_cannot_be_added_is_refused_by_what_it_is(held, leg):
    with pytest.raises(ArgumentError):
        position_documents.position_page(held, 0.0, [leg])


def test_crossings_lie_on_the_straight_lines():
    assert crossings([90.0, 100.0, 110.0], [5.0, -5.0, 5.0]) == [95.0, 105.0]
    assert crossings([1.0, 2.0], [1.0, 2.0]) == []


CENTS = st.integers(-100_000, 100_000).map(lambda cents: Decimal(cents).scaleb(-2))


@given(gamma=CENTS, theta=CENTS, hedging=CENTS, entry_exit=CENTS)
def test_the_words_say_yes_where_the_net_figure_is_positive_and_their_figures_add_up(
    gamma, theta, hedging, entry_exit
):
    verdict = GammaVerdict(
        gamma=gamma, theta=theta, hedging=hedging, entry_exit=entry_exit, realised_vol=0.4, implied_vol=None
    )
    words = "".join(piece["text"] for piece in verdict_pieces(verdict))
    net, *parts, costs, left = figures(words)
    assert net == sum(parts)
    assert left == net + costs
    assert words.startswith("Yes") is (net > 0)
    assert words.startswith("No") is (net <= 0)
    assert words.startswith("Yes:") is (net > 0 and left > 0)


def test_page_sheet_and_summary_give_one_answer(ended_feed, ended_runs):
    follower, summary = ended_feed.follower, ended_runs[1]
    paying = documents.session_verdict(follower, documents.session_parts(follower))
    assert paying.document() == summary["gamma_paying"]
    answer = verdict_text(summary["gamma_paying"])
    for document in (documents.desk_page(follower), sheet_document(follower)):
        words = "".join(piece["text"] for piece in document["verdict"])
        assert answer in words.replace("−", "-")


@given(parts=st.fixed_dictionaries(dict.fromkeys(PARTS, CENTS)))
def test_page_and_summary_tell_a_loss_first_with_the_same_figures(ended_feed, parts):
    parts = parts | {"total": sum(parts.values())}
    words = "".join(piece["text"] for piece in documents.verdict(ended_feed.follower, parts, None))
    outcome = with_loss("traded", parts)
    is_loss = parts["total"] < 0
    assert words.startswith("Lost") is outcome.startswith("lost") is is_loss
    if is_loss:
        told = [figures(text)[: 1 + len(loss_of(parts).causes)] for text in (words, outcome)]
        assert told[0] == told[1]
        assert told[0][0] == -parts["total"]


def figures(text):
    """Return the amounts of a text, in order."""
    found = re.findall(r"[+-]?[\d]+\.\d\d", text.replace("−", "-").replace(",", ""))
    return [Decimal(each) for each in found]


@given(gamma=CENTS, theta=CENTS, hedging=CENTS)
def test_hedging_costs_of_more_than_all_that_was_earned_stand_beside_no(gamma, theta, hedging):
    verdict = GammaVerdict(
        gamma=gamma, theta=theta, hedging=hedging, entry_exit=Decimal(0), realised_vol=None, implied_vol=None
    )
    parts = dict.fromkeys(("fees", "slippage", "residual", "total"), Decimal(0)) | {"spread": hedging}
    costs = documents.costs_of(parts, verdict)
    share = costs["share_of_gamma_and_theta"]
    assert Decimal(costs["hedging"]) == -hedging
    assert (share is None) is (gamma + theta <= 0)
    if share is not None:
        assert verdict.is_paying is (share < 1)


def test_deadlines_come_in_order_and_the_strategys_own_stands_first(held):
    rows = position_documents.deadlines(held)
    assert [row["at_ns"] for row in rows] == sorted(row["at_ns"] for row in rows)
    assert [row["kind"] for row in rows[:2]] == ["exit", "session"]
    assert rows[0]["at"] == "15:50 ET"
    assert position_documents.next_deadline(held) == rows[0]


def test_legs_that_end_together_are_one_deadline_and_a_dividend_stands_among_them(held, monkeypatch):
    """A condor had eight rows of one instant, and no dividend was named."""
    now_ns, share = held.now_ns, held.desk.view.underlying
    paid = [  # before the expiry, and long after it
        DividendEvent(share, now_ns, now_ns, now_ns + days * 86_400 * 10**9, Decimal("1.25"))
        for days in (10, 100)
    ]
    monkeypatch.setattr(held.desk.market, "dividends", paid)
    rows = position_documents.deadlines(held)
    options = {each.instrument.symbol for each in held.desk.positions.held() if each.instrument.is_option}
    assert len(options) == 2
    for kind in ("last_order", "expiry"):
        (row,) = (each for each in rows if each["kind"] == kind)
        assert set(row["symbols"]) == options
    assert [row["at_ns"] for row in rows if row["kind"] == "dividend"] == [paid[0].ts_ex_ns]
    leaves = [row for row in rows if row["kind"] == "exit"]
    (by_days,) = (row for row in leaves if "min_dte" in row["what"])
    assert by_days["at"] == "9 Mar 2018, 09:30 ET"  # seven days before the third Friday


def test_a_held_straddle_earns_beyond_the_premium_paid_for_it(held):
    (found,) = position_documents.position_block(held)["structures"]
    legs = [each for each in held.desk.positions.held() if each.instrument.is_option]
    premium, strike = sum(float(each.average_price) for each in legs), float(legs[0].instrument.strike)
    outlook = found["outlook"]
    assert outlook["break_evens"] == pytest.approx([strike - premium, strike + premium])
    assert outlook["earns"] == [
        [None, pytest.approx(strike - premium)],
        [pytest.approx(strike + premium), None],
    ]
    assert (outlook["most_loss"], outlook["most_gain"]) == (pytest.approx(100 * premium), None)
    assert (found["strikes"], found["spot"]) == ([strike], held.desk.market.mark(held.desk.view.underlying))
    rows = [position_documents.leg_row(held, each) for each in legs]
    assert float(found["open_pnl"]) == pytest.approx(sum(float(row["open_pnl"]) for row in rows), abs=0.02)
    for price in outlook["break_evens"]:
        assert plain(price) in found["words"]


def test_the_curve_is_flat_at_the_break_evens_and_today_is_what_is_open(held):
    page = position_documents.position_page(held)
    (curve,), (structure,) = page["curves"], page["structures"]
    for price in structure["outlook"]["break_evens"]:
        assert curve["expiry"][curve["spots"].index(price)] == pytest.approx(0.0, abs=1e-6)
    strike = structure["strikes"][0]
    assert min(curve["expiry"]) == curve["expiry"][curve["spots"].index(strike)]
    assert -min(curve["expiry"]) == pytest.approx(structure["outlook"]["most_loss"])
    now = curve["today"][curve["spots"].index(structure["spot"])]
    assert now == pytest.approx(float(structure["open_pnl"]), abs=0.01)
    assert all(later <= today for later, today in zip(curve["expiry"], curve["today"], strict=True))
    opened = held.fold.fills[0].ts_recv_ns
    assert held.opened[0] == opened
    assert curve["entry_spot"] == pytest.approx(held.opened[1])


def test_search_finds_decisions_by_word_order_and_kind(held):
    every = order_documents.why_page(held, limit=10_000)
    hedges = order_documents.why_page(held, kind="hedge", limit=10_000)
    assert every["found"] == held.decision_count
    assert hedges["found"] == held.fold.taken["hedge"] + held.fold.skipped["hedge"]
    assert order_documents.why_page(held, search="2018-03-16 274")["decisions"][0]["kind"] == "entry"
    order = next(iter(held.desk.orders.orders))
    assert order_documents.why_page(held, search=order)["found"] == 1
    assert order_documents.why_page(held, search="no such thing")["decisions"] == []
    assert order_documents.why_page(held, taken=False)["found"] == sum(held.fold.skipped.values())


def test_orders_that_are_alike_stand_in_one_row_with_their_sums(held):
    page = order_documents.orders_page(held, 10_000)
    rows = {row["id"]: row for row in page["orders"]}
    assert [name for each in page["folded"] for name in each["orders"]] == list(rows)
    assert max(len(each["orders"]) for each in page["folded"]) > 1
    for each in page["folded"]:
        members = [rows[name] for name in each["orders"]]
        assert len({(row["symbol"], row["side"], row["purpose"], row["state"]) for row in members}) == 1
        for name in ("quantity", "filled", "fee"):
            assert Decimal(each[name]) == sum(Decimal(row[name]) for row in members)
        won = [Decimal(row["realised"]) for row in members if row["realised"] is not None]
        assert each["realised"] == (f"{sum(won):f}" if won else None)
        paid = sum(float(row["filled"]) * (row["average"] or 0.0) for row in members)
        assert each["average"] * float(each["filled"]) == pytest.approx(paid)


def test_hedges_of_one_side_in_a_row_are_one_line_that_keeps_each(held):
    """72 hedges of a day took 72 lines."""
    page = order_documents.why_page(held, kind="hedge", taken=True, limit=10_000)
    members = [line for row in page["decisions"] for line in row["members"]]
    assert [line["number"] for line in members] == sorted((line["number"] for line in members), reverse=True)
    assert len(members) == page["found"] == sum(row["count"] for row in page["decisions"])
    assert len(page["decisions"]) < page["found"]
    for row in page["decisions"]:
        assert {line["way"] for line in row["members"]} == {row["way"]}
        assert (row["members"][0]["number"], row["members"][-1]["number"]) == (row["number"], row["first"])


def test_decisions_come_page_by_page_each_once_and_new_ones_move_no_page(held):
    every = order_documents.why_page(held, limit=10_000)["decisions"]
    pages, before = [], None
    while True:
        page = order_documents.why_page(held, limit=1, before=before)
        pages.append(page)
        if page["older"] is None:
            break
        before = page["older"]
    assert len(pages) > 3
    assert [row["number"] for page in pages for row in page["decisions"]] == [row["number"] for row in every]
    assert {page["found"] for page in pages} == {held.decision_count}
    newer = Decision(held.now_ns, DecisionKind.HEDGE, True, ("later",), {})
    held.decisions.append((held.decision_count + 1, newer))
    try:
        again = order_documents.why_page(held, limit=1, before=pages[0]["older"])
        assert again["decisions"] == pages[1]["decisions"]
    finally:
        held.decisions.pop()


def test_orders_come_page_by_page_each_once_under_keys_that_stay(held):
    every = [row["id"] for row in order_documents.orders_page(held, 10_000)["orders"]]
    found, before = [], []
    while True:
        page = order_documents.orders_page(held, 5, before)
        found += [row["id"] for row in page["orders"]]
        if not page["older"]:
            break
        assert page["counts"]["done"] == page["total"] == len(every)
        before = [f"done:{page['older']['done']}"]
    assert found == every
    assert len(every) > 15


def test_fills_of_an_order_stand_under_it_and_average_to_its_price(held):
    order = next(iter(held.desk.orders.orders.values()))
    done = next(each for each in held.fold.fills if each.client_order_id == order.client_order_id)
    parts = (("a", 1, Decimal("-0.03")), ("b", 3, Decimal("0.01")))
    done = structs.replace(done, fee=Decimal("0.02"))
    in_parts = [
        structs.replace(done, execution_id=name, quantity=Decimal(count), price=order.average_price + off)
        for name, count, off in parts
    ]
    row = order_documents.order_row(held, order, "done", in_parts)
    assert [(fill["quantity"], fill["fee"]) for fill in row["fills"]] == [("1", "0.02"), ("3", "0.02")]
    paid = sum(float(fill["quantity"]) * fill["price"] for fill in row["fills"])
    assert paid / 4 == pytest.approx(row["average"])
    whole = order_documents.orders_page(held, 10_000)["orders"]
    assert sum(len(row["fills"]) for row in whole) == len(held.fills)


@pytest.mark.parametrize(
    ("refusals", "counts"),
    [
        ([("gate.edge", "edge -1.20 of 3"), ("gate.edge", "no edge is known")], [2]),
        ([("gate.edge", "too little"), ("gate.spread", "too little")], [1, 1]),
        ([(None, "delta +1.2 within ±2.90"), (None, "delta −0.4 within ±3")], [2]),
        ([(None, "delta +1.2 within ±2.90"), (None, "delta +1.2 beyond ±1.0")], [1, 1]),
        ([("gate.edge", "edge 1"), (None, "edge 1")], [1, 1]),
        ([(None, "edge -1.20 USD"), (None, "edge -3.45 USD"), (None, "wide"), (None, "edge 2")], [1, 1, 2]),
    ],
)
def test_skips_fold_by_what_refused_them_else_by_their_words_without_figures(held, refusals, counts):
    def skip(by, why):
        facts = {} if by is None else {"refused_by": by}
        return Decision(held.now_ns, DecisionKind.ENTRY, False, (why,), facts)

    quiet = copy(held)
    quiet.decisions = [(number, skip(*each)) for number, each in enumerate(refusals, start=1)]
    rows = order_documents.why_page(quiet)["decisions"]
    assert [row["count"] for row in rows] == counts
    assert [row["number"] for row in rows] == [sum(counts[place:]) for place in range(len(counts))]


def test_a_fold_ends_where_the_page_does(held):
    """A skip behind a decision that the page has no room for was counted into its last row."""
    kinds = ((True, "entry"), (False, "edge 1"), (True, "hedge"), (False, "edge 2"))
    found = [
        (number, Decision(held.now_ns, DecisionKind.ENTRY, taken, (reason,), {}))
        for number, (taken, reason) in enumerate(kinds, start=1)
    ]
    quiet = copy(held)
    quiet.decisions = found
    page = order_documents.why_page(quiet, limit=1)
    assert [(row["number"], row["count"]) for row in page["decisions"]] == [(4, 1)]
    assert page["older"] == 4
    older = order_documents.why_page(quiet, limit=9, before=4)["decisions"]
    assert [row["number"] for row in older] == [3, 2, 1]


def test_flatten_plan_names_every_leg_and_costs_half_the_spreads(held):
    plan = position_documents.flatten_plan(held)
    cost = 0.0
    for position in held.desk.positions.held():
        quote = held.desk.market.quotes[position.instrument_id]
        cost += 0.5 * (quote.ask - quote.bid) * abs(float(position.quantity)) * position.multiplier
    shown = [float(word.rstrip(".,")) for word in plan["cost"].split() if word[0].isdigit()]
    assert shown == pytest.approx([cost, 2 * cost], abs=0.0051)  # to the cent
    assert plan["legs"].count("SPY") == 3
    assert not plan["is_flat"]


def test_a_desk_that_is_gone_is_not_one_that_has_ended(held, ended_feed):
    assert documents.run_head(held, is_running=True)["state"] == "running"
    cut = documents.run_head(held, is_running=False)
    assert (cut["state"], documents.cut_of(held)) == ("cut", CutShort("2018-02-05 09:40", 0, 1))
    demo, held.tail.header = held.header, structs.replace(held.header, mode="paper")
    gone = documents.run_head(held, is_running=False)
    held.tail.header = demo
    assert (gone["state"], gone["cut"]) == ("gone", None)  # its journal is not closed
    assert gone["holds"].startswith("+1 SPY 274 call, +1 SPY 274 put, ")
    ended = documents.run_head(ended_feed.follower, is_running=False)
    assert (ended["state"], ended["holds"], ended["works"]) == ("ended", "", 0)


def test_a_run_that_ended_is_no_dead_desk_while_its_journal_is_read(ended_runs):
    clock = SystemClock()
    feed = DeskFeed(ended_runs[0], None, clock, PageWatch(AlertSettings(silent_seconds=1e-9), clock))
    feed.choose()
    assert feed.follower.advance(8) > 0
    states = set()
    while not feed.follower.tail.sealed:
        states.add(documents.run_head(feed.follower, is_running=False)["state"])
        feed.judge()
        feed.judge()
        assert feed.alerts() is None
        feed.follower.advance(64)
    assert states == {"reading"}
    assert documents.run_head(feed.follower, is_running=False)["state"] == "ended"
    feed.judge()
    assert feed.alerts()["open"] == []


def test_a_refused_order_stands_among_the_last_decisions_and_a_skip_does_not():
    def decision(reason, *, taken, **facts):
        return Decision(0, DecisionKind.EXIT, taken, (reason,), facts)

    every = [
        (1, decision("flat by 15:50", taken=True)),
        (2, decision("in band", taken=False)),
        (3, decision("the venue takes none", taken=False, order="a")),
    ]
    assert [number for number, _ in order_documents.last_taken(every)] == [3, 1]


def test_no_line_is_drawn_through_a_time_without_samples():
    series = Series()
    row = dict.fromkeys(COLUMNS, 1.0)
    for at in (0, 15, 30, 600, 615):
        series.add(row | {"t": float(at)})
    assert series.columns["t"] == [0, 15, 30, 45, 600, 615]
    assert series.columns["spot"] == [1.0, 1.0, 1.0, None, 1.0, 1.0]


def test_a_search_finds_the_orders_that_have_every_word_and_counts_all(held):
    every = order_documents.orders_page(held, 10_000)
    found = order_documents.orders_page(held, 10_000, search="SELL hedge")
    expected = [row["id"] for row in every["orders"] if (row["side"], row["purpose"]) == ("sell", "hedge")]
    assert [row["id"] for row in found["orders"]] == expected
    assert 0 < len(expected) < len(every["orders"])
    assert found["counts"] == every["counts"]
    older = order_documents.orders_page(held, 1, search="sell hedge")["older"]["done"]
    second = order_documents.orders_page(held, 1, [f"done:{older}"], "sell hedge")["orders"]
    assert [row["id"] for row in second] == expected[1:2]


def test_the_premium_is_that_of_the_quotes_of_the_held_legs(held):
    block = documents.desk_page(held)["premium"]
    market, ratios = held.desk.market, held.held_ratios()
    mid = sum(ratio * market.quotes[number].mid for number, ratio in ratios.items())
    assert set(ratios.values()) == {1}
    assert block["now"] == pytest.approx(mid)
    assert block["amount"] == pytest.approx(100 * mid)
    twaps = [each for each in held.series.columns["premium_twap"] if each is not None]
    mids = [each for each in held.series.columns["premium"] if each is not None]
    assert block["mean_name"] == "TWAP"
    assert set(held.series.columns["premium_vwap"]) == {None}
    assert block["mean"] == pytest.approx(twaps[-1], abs=0.05)
    assert min(mids) <= twaps[-1] <= max(mids)


def test_the_orders_of_a_flat_run_realise_its_result_and_its_fees(ended_feed, ended_runs):
    follower, summary = ended_feed.follower, ended_runs[1]
    page = order_documents.orders_page(follower, limit=10_000)
    realised, fees = (
        sum((Decimal(order[name]) for order in page["orders"] if order[name]), Decimal(0))
        for name in ("realised", "fee")
    )
    total = follower.results.total()
    assert not follower.desk.positions.held()
    assert page["totals"]["elsewhere"] == "0.00"
    assert total.realised - total.fee == Decimal(summary["nav_change"])
    assert Decimal(page["totals"]["realised"]) == realised == follower.money(total.realised)
    assert Decimal(page["totals"]["fee"]) == follower.money(total.fee)
    assert fees == pytest.approx(total.fee, abs=Decimal("0.005") * len(page["orders"]))
    assert total.realised == sum(each.realized for each in follower.desk.positions.positions.values())
    for order in page["orders"]:
        told = [fill["realised"] for fill in order["fills"] if fill["realised"] is not None]
        assert (order["realised"] is None) is (not told)


def test_the_cost_against_the_mid_is_that_of_spread_and_slippage_where_orders_cross_at_once(ended_feed):
    follower, parts = ended_feed.follower, ended_feed.follower.desk.attribution.totals
    found = follower.results.total().against_mid
    assert found < 0
    assert float(found) == pytest.approx(float(parts["spread"] + parts["slippage"]), rel=0.2)
