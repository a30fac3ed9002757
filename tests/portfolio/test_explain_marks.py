"""The marks of the P&L explain: what each shows, what counts as overnight, and the lines under the parts."""

import math
from decimal import Decimal

import pytest

from scalpdesk.core.units import NANOS_PER_SECOND, SATOSHI
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.instruments.sessions import expiry_instant_ns, next_session, session_on
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.explain import (
    DETAILS,
    HIGHER,
    PARTS,
    PnlExplain,
    explain_lines,
    parts_in_cents,
)
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.positions import Account, PositionManager
from scalpdesk.volatility.variance_time import US_SESSIONS
from scalpdesk_testing.kit.bookings import booked
from scalpdesk_testing.kit.instruments import DAY, straddle_book
from scalpdesk_testing.kit.tape import at, model_price, quote
from scalpdesk_testing.kit.valuation import learn

D = Decimal
NOON = at("12:00")
S = NANOS_PER_SECOND
SESSION = session_on(DAY)
MORNING = next_session(SESSION.day).open_ns


class Desk:
    """A ledger, a market and its explain, by hand."""

    def __init__(self, instruments=None, cash="100000"):
        self.instruments = instruments or straddle_book()
        currency = self.instruments[0].currency
        self.state = MarketState(self.instruments)
        self.engine = DeltaEngine(self.instruments, self.state, ContractPricer(), flat_rate=0.0)
        self.account, self.positions = Account(D(cash), currency), PositionManager(self.instruments)
        self.explain = PnlExplain(self.instruments, self.state, self.engine, self.account, self.positions, 0)
        self.count = 0

    def quote(self, number, mid, at_ns=NOON, half=0.01):
        self.state.apply_quote(quote(number, at_ns, mid - half, mid + half))

    def trade(self, number, quantity, price, at_ns=NOON, fee="0"):
        self.explain.mark(at_ns)
        self.count += 1
        quantity, price, fee = D(quantity), D(str(price)), D(fee)
        booked(self.positions, number, quantity, price, f"x{self.count}", fee=fee)
        self.account.cash -= self.instruments[number].value(quantity, price) + fee
        self.explain.note_trade(self.state.quotes[number], quantity, price, fee)
        self.explain.legs.rebase(at_ns)


@pytest.fixture
def desk():
    """Return a desk that holds ten shares, bought at 500.01 with SPY at 500 and a fee of 50 cents."""
    made = Desk()
    made.quote(0, 500.0)
    made.explain.begin(NOON)
    made.trade(0, 10, 500.01, fee="0.5")
    return made


def changed(parts):
    return {name: amount for name, amount in parts.items() if amount}


def test_a_mark_shows_what_changed_since_the_last_one(desk):
    mark = desk.explain.mark(NOON)
    assert (mark.ts_ns, mark.nav, mark.nav_change) == (NOON, D("99999.40"), D("-0.60"))
    assert changed(mark.parts) == {"spread": D("-0.10"), "fees": D("-0.5")}
    assert set(mark.parts) == set(PARTS)
    assert (mark.spot, mark.net_delta_shares) == (500.0, 10.0)
    assert (mark.gamma_shares_per_usd, mark.theta_usd_per_day, mark.vega_usd_per_point) == (0, 0, 0)
    assert (mark.implied_vol, mark.gamma_rent, mark.theta_paid) == (0, 0, 0)
    desk.quote(0, 503.0, NOON + S)
    later = desk.explain.mark(NOON + S)
    assert (later.nav, later.nav_change, later.spot) == (D("100029.40"), 30, 503.0)
    assert changed(later.parts) == {"delta": 30}
    assert desk.explain.totals == dict.fromkeys(PARTS, D(0)) | {
        "delta": D(30),
        "spread": D("-0.10"),
        "fees": D("-0.5"),
    }
    assert (desk.explain.nav, desk.explain.nav_change) == (D("100029.40"), D("29.40"))


def test_a_second_mark_of_one_instant_is_none_unless_something_changed(desk):
    assert desk.explain.mark(NOON) is not None
    assert desk.explain.mark(NOON) is None
    assert desk.explain.mark(NOON + 1).nav_change == 0
    desk.explain.note_trade(None, D(1), D(500), D("0.25"))
    assert changed(desk.explain.mark(NOON + 1).parts) == {"fees": D("-0.25"), "residual": D("0.25")}
    assert desk.explain.mark(NOON + 1) is None


def test_from_the_close_to_the_first_mark_of_the_morning_counts_as_overnight(desk):
    desk.explain.mark(SESSION.close_ns, is_anchor=True)
    before = dict(desk.explain.totals)
    assert set(desk.explain.sums.overnight.values()) == {D(0)}
    desk.explain.legs.open_session()
    desk.quote(0, 510.0, MORNING)
    desk.explain.note_carry(D(7))
    desk.account.cash += 7
    desk.explain.mark(MORNING)
    night = desk.explain.sums.overnight
    assert changed(night) == {"delta": 100, "carry": 7}
    assert desk.explain.totals["delta"] - before["delta"] == 100
    desk.quote(0, 511.0, MORNING + S)
    desk.explain.mark(MORNING + S)
    assert changed(night) == {"delta": 100, "carry": 7}
    assert desk.explain.totals["delta"] == before["delta"] + 110
    lines = explain_lines(desk.explain)
    assert (lines["overnight"]["delta"], lines["intraday"]["delta"]) == ("100.00", "10.00")
    assert (lines["overnight"]["carry"], lines["intraday"]["spread"]) == ("7.00", "-0.10")


def test_a_night_without_a_holding_is_none():
    desk = Desk()
    desk.explain.begin(NOON)
    desk.explain.legs.open_session()
    desk.account.cash += 5
    desk.explain.mark(MORNING)
    assert set(desk.explain.sums.overnight.values()) == {D(0)}
    assert desk.explain.totals["residual"] == 5


def test_a_mark_before_the_first_quote_has_no_spot():
    desk = Desk()
    desk.explain.begin(NOON)
    mark = desk.explain.mark(NOON + S)
    assert (mark.spot, mark.nav, mark.net_delta_shares) == (0.0, 100_000, 0.0)
    assert set(mark.parts.values()) == {D(0)}


def test_the_greeks_of_a_mark_are_those_of_the_whole_book():
    desk = Desk()
    desk.quote(0, 500.0)
    for number, vol in ((1, 0.20), (2, 0.30)):
        desk.quote(number, round(model_price(desk.instruments[number], 500.0, vol, NOON), 2))
    desk.explain.begin(NOON)
    desk.trade(0, -30, 500)
    desk.trade(1, 2, desk.engine.mark(1))
    desk.trade(2, -1, desk.engine.mark(2))
    mark = desk.explain.mark(NOON + 1)
    call, put = (desk.engine.state(number, NOON + 1) for number in (1, 2))
    ours = [(200.0, call.greeks), (-100.0, put.greeks)]
    assert mark.net_delta_shares == pytest.approx(-30 + sum(n * one.delta for n, one in ours))
    assert mark.gamma_shares_per_usd == pytest.approx(sum(n * one.gamma for n, one in ours))
    assert mark.theta_usd_per_day == pytest.approx(sum(n * one.theta for n, one in ours) / 365.0)
    assert mark.vega_usd_per_point == pytest.approx(sum(n * one.vega for n, one in ours) / 100.0)
    years = US_SESSIONS.years(NOON + 1, expiry_instant_ns(desk.instruments[1]))
    by_clock = math.sqrt(call.years / years)
    assert mark.implied_vol == pytest.approx(by_clock * (2 * call.vol + put.vol) / 3.0)
    assert mark.nav == desk.explain.current_nav() == pytest.approx(D(100_000), abs=D(1))


def test_a_mark_leaves_out_the_volatility_of_a_leg_whose_price_determines_none():
    """A condor's curve ended at 6,059 %: half a tick of its wings was more than that."""
    desk, late = Desk(straddle_book(500, 530, expiry=DAY)), at("15:45")
    money, wing = 1, 3
    desk.quote(0, 500.0, late)
    desk.quote(money, round(model_price(desk.instruments[money], 500.0, 0.20, late), 2), late)
    desk.quote(wing, 0.02, late)
    desk.explain.begin(late)
    desk.trade(wing, 1, 0.02, late)
    assert desk.explain.mark(late + 1).implied_vol == 0.0
    desk.trade(money, -1, desk.engine.mark(money), late + 1)
    call = desk.engine.state(money, late + 2)
    by_clock = math.sqrt(call.years / US_SESSIONS.years(late + 2, expiry_instant_ns(desk.instruments[money])))
    assert desk.explain.mark(late + 2).implied_vol == pytest.approx(by_clock * call.vol)
    assert desk.engine.state(wing, late + 2).vol > 1.0


def test_deposits_shift_the_levels_that_gains_are_measured_from(desk):
    desk.explain.mark(NOON)
    desk.account.cash += 1_000
    desk.explain.note_transfer(D(1_000))
    assert (desk.explain.nav_change, desk.explain.nav) == (D("-0.60"), D("100999.40"))
    mark = desk.explain.mark(NOON + S)
    assert (mark.nav_change, mark.nav) == (0, D("100999.40"))
    desk.quote(0, 510.0, NOON + 2 * S)
    desk.explain.mark(NOON + 2 * S)
    assert (desk.explain.nav_change, desk.explain.nav) == (D("99.40"), D("101099.40"))
    desk.quote(0, 400.0, NOON + 3 * S)
    desk.explain.mark(NOON + 3 * S)
    assert desk.explain.nav_change == D("-1000.60")


def test_what_was_bought_at_a_quote_that_the_share_has_left_behind_is_explained_from_its_mark_of_now():
    desk = Desk()
    desk.quote(0, 500.0)
    desk.quote(1, 2.0)
    learn(desk.engine, NOON, 1)
    desk.quote(0, 502.5, NOON + S)
    desk.explain.begin(NOON + S)
    seen = desk.engine.state(1, NOON + S)
    assert seen.mark == pytest.approx(seen.greeks.price, abs=1e-6)
    desk.trade(1, 1, 2.0, NOON + S)
    desk.quote(0, 503.5, NOON + 2 * S)
    desk.quote(1, 4.2, NOON + 2 * S)
    learn(desk.engine, NOON + 2 * S, 1)
    mark = desk.explain.mark(NOON + 2 * S)
    assert mark.nav_change == 220
    below = float(mark.parts["spread"] + mark.parts["slippage"])
    assert below == pytest.approx(100 * (seen.mark - 2.0), abs=0.01)
    assert float(mark.parts["residual"]) == pytest.approx(0.0, abs=0.01)
    assert float(mark.parts["delta"]) == pytest.approx(100 * seen.greeks.delta, abs=0.01)


@pytest.mark.rows(
    ("quantity", "price", "spread", "slippage"),
    [
        (10, "500.10", "-1", "0"),
        (10, "500.15", "-1", "-0.5"),
        (10, "500.04", "-0.4", "0"),
        (10, "500.00", "0", "0"),
        (10, "499.95", "0", "0.5"),
        (-10, "499.90", "-1", "0"),
        (-10, "500.05", "0", "0.5"),
    ],
)
def test_a_trade_costs_half_the_spread_and_beyond_it_slips(quantity, price, spread, slippage):
    desk = Desk()
    desk.quote(0, 500.0, half=0.1)
    desk.explain.begin(NOON)
    desk.trade(0, quantity, price)
    parts = desk.explain.mark(NOON + S).parts
    assert (parts["spread"], parts["slippage"], parts["residual"]) == (D(spread), D(slippage), 0)


def test_the_parts_are_rounded_so_that_they_sum_to_the_total():
    rounded = parts_in_cents({"delta": D("0.005"), "fees": D("-0.014"), "residual": D("0.009")}, D("0.004"))
    assert rounded["total"] == 0
    assert sum(amount for name, amount in rounded.items() if name != "total") == 0
    assert rounded["fees"] == D("-0.01")
    coin = parts_in_cents({"delta": D("0.000000016"), "residual": D(0)}, D("0.000000016"), SATOSHI)
    assert (coin["total"], coin["delta"], coin["residual"]) == (D("0.00000002"), D("0.00000002"), 0)


@pytest.mark.rows(("residual", "flagged"), [("5", False), ("6", True), ("-6", True), ("0", False)])
def test_a_large_rest_is_flagged(desk, residual, flagged):
    explain = desk.explain
    explain.sums.totals = dict.fromkeys(PARTS, D(0)) | {"delta": D(95), "residual": D(residual)}
    left = explain.sums.unexplained()
    gross = 95 + abs(D(residual))
    assert (left["amount"], left["gross"], left["flagged"]) == (f"{D(residual):.2f}", f"{gross:.2f}", flagged)
    assert left["of_gross"] == round(float(abs(D(residual)) / gross), 6)
    explain.sums.details["three_way"] = 1.25
    assert explain.sums.unexplained(3)["amount"] == f"{D(residual) + D('1.25'):.3f}"
    explain.sums.totals = dict.fromkeys(PARTS, D(0))
    explain.sums.details["three_way"] = 0.0
    assert explain.sums.unexplained() == {
        "amount": "0.00",
        "gross": "0.00",
        "of_gross": 0.0,
        "flagged": False,
    }


def test_the_lines_under_the_parts_are_texts_in_the_accounts_unit(desk):
    desk.explain.sums.realised_vs_implied = 12.25
    lines = explain_lines(desk.explain)
    assert list(lines["details"]) == list(DETAILS)
    assert set(lines["details"].values()) == {"0.00"}
    assert lines["realised_against_implied"]["total"] == "12.25"
    assert set(lines["realised_against_implied"].values()) == {"12.25", 0.0, None}


def test_the_lines_of_the_higher_order_sum_to_it_to_the_cent(desk):
    explain = desk.explain
    exactly = (0.164, 0.874, 9.564, -0.846, 0.264, 0.074)
    explain.sums.details |= dict(zip(HIGHER, exactly, strict=True)) | {"mark_noise": -0.001}
    explain.totals["higher_order"] = D("10.094")
    lines = explain_lines(explain)["details"]
    assert sum(D(lines[name]) for name in HIGHER) == D("10.09")
    assert [lines[name] for name in HIGHER] == ["0.16", "0.87", "9.56", "-0.85", "0.26", "0.09"]
    assert lines["mark_noise"] == "0.00"


def test_an_account_in_coin_is_explained_to_the_satoshi():
    desk = Desk(Instruments([perpetual("BTC")]), cash="2")
    desk.quote(0, 50_000.0, half=0.5)
    explain = desk.explain
    assert (explain.unit, explain.nav) == (SATOSHI, 2)
    explain.begin(NOON)
    booked(desk.positions, 0, D(1_000), D(50_001), "x1", fee=D("0.00001"))
    desk.account.cash += D(10_000) / D(50_001) - D("0.00001")
    explain.note_trade(desk.state.quotes[0], D(1_000), D(50_001), D("0.00001"))
    explain.legs.rebase(NOON)
    mark = explain.mark(NOON)
    # half a dollar of ten thousand at 50,000 is spread, the other half slipped
    assert float(mark.parts["spread"]) == pytest.approx(-10_000 * 0.5 / 50_000**2, rel=1e-4)
    assert float(mark.parts["slippage"]) == pytest.approx(-10_000 * 0.5 / 50_000**2, rel=1e-4)
    assert mark.parts["fees"] == D("-0.00001")
    assert abs(mark.parts["residual"]) < D("1e-11")
    assert mark.net_delta_shares == pytest.approx(0.2)
    desk.quote(0, 50_500.0, NOON + S, half=0.5)
    moved = explain.mark(NOON + S)
    assert float(moved.nav_change) == pytest.approx(0.2 - 10_000 / 50_500)
    bend = -10_000 * 500**2 / 50_000**3
    assert float(moved.parts["gamma"]) == pytest.approx(bend, abs=1e-12)
    assert float(moved.parts["delta"]) == pytest.approx(float(moved.nav_change) - bend, abs=1e-10)
    assert moved.net_delta_shares == pytest.approx(10_000 / 50_500)


@pytest.mark.rows(
    ("move", "shown"),
    [
        (0.0025, "0.250000"),
        (-0.0025, "-0.250000"),
        (4e-9, "0.000000"),
        (-4e-9, "-0.000000"),
        (1.6e-8, "0.000002"),
    ],
)
def test_a_part_is_an_amount_to_a_millionth_with_its_sign(desk, move, shown):
    desk.quote(0, 500.0)
    desk.trade(0, 90, 500.0)  # 100 shares are held then
    desk.quote(0, 500.0 + move)
    assert str(desk.explain.mark(NOON + S).parts["delta"]) == shown


@pytest.mark.rows("value", [1e15, -1e15, 2.5e20])
def test_an_amount_too_large_for_a_millionth_is_kept_as_it_is(desk, value):
    assert desk.explain.amounts.part(value) == D(value)
