"""Attribution explains a book by hand; golden figures: worked case G.attribution.o1 of the reference."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.instruments import EXPIRY, option, share, straddle_book
from fakes.tape import at, model_price, quote
from scalpdesk.core.units import to_cents
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.explain import PARTS, PnlExplain, parts_in_cents, taylor_terms
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.positions import Account, PositionManager
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.pricing.scalar import option_greeks

D = Decimal
NOON = at("12:00")
MINUTE = 60 * 10**9

# G.attribution.o1: S 500, K 500, T 30/365, r 4 %, vol 20 %, 2 calls of 100; dS 3, dvol 1 point,
# dt one day, short 105 shares, half spread 0.005 and fee 0.001 on 10 shares traded.
GOLDEN = {
    "delta": 320.561822155,
    "gamma": 12.4776294871,
    "theta": -43.570030382,
    "vega": 113.95095422,
    "vanna": -0.34185286266,
    "volga": 0.00702437389027,
    "charm": -0.34185286266,
    "rho": 0.0,
}
GOLDEN_RESIDUAL = -2.64739180152
GOLDEN_NAV_CHANGE = 85.0363023269
YEARS = 30 / 365


def test_the_terms_of_the_worked_case():
    greeks = OptionGreeks(*option_greeks(500.0, 500.0, YEARS, 0.20, True, 0.04, american=False))
    terms = taylor_terms(greeks, 200.0, d_spot=3.0, d_vol=0.01, d_years=1 / 365, d_rate=0.0)
    for name, figure in GOLDEN.items():
        assert getattr(terms, name) == pytest.approx(figure, rel=1e-4, abs=1e-9), name
    assert terms.total == pytest.approx(sum(GOLDEN.values()), rel=1e-6)


class Book:
    """A desk's ledger, market and attribution, with quotes and trades by hand."""

    def __init__(self, instruments=None, rate=0.0, cash="100000"):
        self.instruments = instruments or straddle_book()
        self.state = MarketState(self.instruments)
        self.engine = DeltaEngine(self.instruments, self.state, ContractPricer(), flat_rate=rate)
        self.account = Account(D(cash))
        self.positions = PositionManager(self.instruments)
        self.attribution = PnlExplain(
            self.instruments, self.state, self.engine, self.account, self.positions, 0
        )
        self.count = 0

    def quote(self, now_ns, number, mid, half=0.0):
        self.state.apply_quote(quote(number, now_ns, mid - half, mid + half))

    def market(self, now_ns, spot, vol=0.20, half=0.01):
        self.quote(now_ns, 0, spot, half)
        for number in range(1, len(self.instruments)):
            self.quote(
                now_ns, number, round(model_price(self.instruments[number], spot, vol, now_ns), 2), half
            )

    def trade(self, now_ns, number, quantity, price, fee="0"):
        """Mark, book and rebase, as the engine does around every fill."""
        marked = self.attribution.mark(now_ns)
        self.count += 1
        quantity, price, fee = D(quantity), D(price), D(fee)
        multiplier = self.instruments[number].multiplier
        self.positions.book(number, quantity, price, f"x{self.count}", fee=fee)
        self.account.pay_for(quantity, price, multiplier, fee)
        self.attribution.note_trade(self.state.quotes[number], quantity, multiplier, price, fee)
        self.attribution.rebase(now_ns)
        return marked


def test_the_worked_case_through_the_whole_ledger():
    contract = option("C", 500, EXPIRY, "XSP")  # European, cash-settled
    book = Book(Instruments([share("XSP"), contract]), rate=0.04)
    end = expiry_instant_ns(contract)
    start_ns, end_ns = end - 30 * 86_400 * 10**9, end - 29 * 86_400 * 10**9

    def premium(spot, years, vol):
        return option_greeks(spot, 500.0, years, vol, True, 0.04, american=False).price

    book.quote(start_ns, 0, 500.0)
    book.quote(start_ns, 1, premium(500.0, YEARS, 0.20))
    book.positions.book(1, D(2), D(10), "had-1")
    book.positions.book(0, D(-105), D(500), "had-2")
    book.attribution.begin(start_ns)
    book.quote(end_ns, 0, 503.0, 0.005)
    book.quote(end_ns, 1, premium(503.0, YEARS - 1 / 365, 0.21))
    marked = book.trade(end_ns, 0, 10, "503.005", "0.01")
    costs = book.attribution.mark(end_ns)
    totals = {name: float(amount) for name, amount in book.attribution.totals.items()}
    # a mark is quoted in ten thousandths: 200 units are worth a cent of doubt
    assert totals["delta"] == pytest.approx(GOLDEN["delta"] - 315.0, abs=0.02)
    for name in ("gamma", "theta", "vega"):
        assert totals[name] == pytest.approx(GOLDEN[name], abs=0.02), name
    higher = GOLDEN["vanna"] + GOLDEN["volga"] + GOLDEN["charm"]
    assert totals["higher_order"] == pytest.approx(higher, abs=0.02)
    assert totals["residual"] == pytest.approx(GOLDEN_RESIDUAL, abs=0.03)
    assert book.attribution.totals["spread"] == D("-0.05")
    assert book.attribution.totals["fees"] == D("-0.01")
    assert book.attribution.totals["slippage"] == 0
    assert float(book.attribution.nav_change) == pytest.approx(GOLDEN_NAV_CHANGE, abs=0.02)
    assert sum(book.attribution.totals.values()) == book.attribution.nav_change
    assert marked.nav_change + costs.nav_change == book.attribution.nav_change
    assert marked.spot == 503.0


def test_shares_are_delta_and_nothing_else():
    book = Book()
    book.market(NOON, 500.0)
    book.positions.book(0, D(100), D(500), "had")
    book.attribution.begin(NOON)
    book.market(NOON + MINUTE, 502.5)
    mark = book.attribution.mark(NOON + MINUTE)
    assert mark.nav_change == D(250)
    assert mark.parts == {name: D(250) if name == "delta" else D(0) for name in PARTS}
    assert mark.net_delta_shares == 100.0
    assert (mark.nav, mark.spot, mark.implied_vol) == (D(150_250), 502.5, 0.0)


def test_nothing_happened_gives_no_mark():
    book = Book()
    book.market(NOON, 500.0)
    book.attribution.begin(NOON)
    assert book.attribution.mark(NOON) is None
    quiet = book.attribution.mark(NOON + MINUTE)  # time passed: there is something to say
    assert quiet.nav_change == 0
    assert set(quiet.parts.values()) == {D(0)}


def test_the_rent_meter_reads_what_was_earned_over_what_gamma_cost():
    book = Book()
    book.market(NOON, 500.0)
    book.positions.book(1, D(1), D(10), "had-1")
    book.positions.book(2, D(1), D(10), "had-2")
    book.attribution.begin(NOON)
    start = [book.engine.value(number, NOON) for number in (1, 2)]
    gamma = 100 * sum(value.greeks.gamma for value in start)
    book.market(NOON + 60 * MINUTE, 504.0)
    mark = book.attribution.mark(NOON + 60 * MINUTE)
    years = 1 / 24 / 365
    expected = sum(
        100 * 0.5 * value.greeks.gamma * (16.0 - 500.0**2 * value.vol**2 * years) for value in start
    )
    assert mark.gamma_rent == pytest.approx(expected, rel=1e-12)
    assert book.attribution.realised_vs_implied == mark.gamma_rent
    assert float(mark.parts["gamma"]) == pytest.approx(gamma * 0.5 * 16.0, abs=1e-5)
    assert mark.theta_paid == pytest.approx(100 * sum(v.greeks.theta for v in start) * years, rel=1e-12)
    assert float(mark.parts["theta"]) == pytest.approx(mark.theta_paid, abs=1e-6)
    assert mark.implied_vol == pytest.approx(0.20, abs=1e-3)
    end = [book.engine.value(number, NOON + 60 * MINUTE).greeks for number in (1, 2)]
    assert mark.gamma_shares_per_usd == pytest.approx(100 * sum(one.gamma for one in end))
    assert mark.theta_usd_per_day == pytest.approx(100 * sum(one.theta for one in end) / 365)
    assert mark.vega_usd_per_point == pytest.approx(sum(one.vega for one in end))


def test_a_large_move_near_expiry_is_walked_in_steps():
    book = Book()
    day = EXPIRY
    start = at("15:00", day)
    book.market(start, 500.0, half=0.0)
    book.positions.book(1, D(1), D(1), "had")
    book.attribution.begin(start)
    greeks = book.engine.value(1, start).greeks
    book.market(start + 30 * MINUTE, 510.0, half=0.0)
    mark = book.attribution.mark(start + 30 * MINUTE)
    one_step = 100 * (greeks.delta * 10 + 0.5 * greeks.gamma * 100 + greeks.theta / 365 / 48)
    assert abs(float(mark.nav_change) - one_step) > 500
    assert abs(mark.parts["residual"]) < 100
    assert sum(mark.parts.values()) == mark.nav_change


@pytest.mark.parametrize(
    ("quantity", "price", "spread", "slippage"),
    [
        (10, "500.02", "-0.20", "0.00"),  # at the ask: the half-spread
        (-10, "499.98", "-0.20", "0.00"),
        (10, "500.05", "-0.20", "-0.30"),  # worse than the ask
        (-10, "499.90", "-0.20", "-0.80"),
        (10, "500.01", "-0.10", "0.00"),  # inside: what was paid
        (10, "500.00", "0.00", "0.00"),
        (10, "499.98", "0.00", "0.20"),  # better than the mid: a gain
    ],
)
def test_a_trade_costs_its_half_spread_and_the_rest_is_slippage(quantity, price, spread, slippage):
    book = Book()
    book.quote(NOON, 0, 500.0, 0.02)
    book.attribution.begin(NOON)
    book.trade(NOON, 0, quantity, price, "0.07")
    mark = book.attribution.mark(NOON)
    assert mark.parts["spread"] == D(spread)
    assert mark.parts["slippage"] == D(slippage)
    assert mark.parts["fees"] == D("-0.07")
    assert mark.parts["residual"] == 0
    assert mark.nav_change == D(spread) + D(slippage) - D("0.07")


def test_a_trade_without_a_quote_or_a_side_has_no_spread():
    book = Book()
    book.attribution.begin(NOON)
    book.trade(NOON, 0, 10, "500")
    assert book.attribution.mark(NOON) is None  # valued at what was paid
    book.quote(NOON + 1, 1, 0.05, 0.05)  # a bid of zero
    book.state.apply_quote(quote(1, NOON + 2, float("nan"), 0.10))
    book.trade(NOON + 2, 1, 1, "0.10")
    mark = book.attribution.mark(NOON + 3)
    assert (mark.parts["spread"], mark.parts["slippage"]) == (D(0), D(-5))
    assert sum(mark.parts.values()) == mark.nav_change == D(-5)


def test_carry_is_a_part_of_its_own():
    book = Book()
    book.market(NOON, 500.0)
    book.positions.book(0, D(-50), D(500), "had")
    book.attribution.begin(NOON)
    book.account.cash -= D("78.50")
    book.attribution.note_carry(D("-78.50"))
    mark = book.attribution.mark(NOON + 1)
    assert mark.parts["carry"] == D("-78.50")
    assert mark.nav_change == D("-78.50")


def test_a_leg_that_is_gone_is_explained_to_its_last_mark():
    book = Book()
    book.market(NOON, 500.0)
    book.positions.book(1, D(1), D(10), "had-1")
    book.positions.book(0, D(5), D(500), "had-2")
    book.attribution.begin(NOON)
    book.positions.book(1, D(-1), D(0), "gone-1")
    book.positions.book(0, D(-5), D(500), "gone-2")
    book.account.cash += D(2500)
    mark = book.attribution.mark(NOON + MINUTE)
    assert sum(mark.parts.values()) == mark.nav_change
    assert mark.parts["delta"] == 0
    assert float(mark.parts["theta"]) < 0


def test_the_high_water_mark_only_rises():
    book = Book(cash="0")
    book.market(NOON, 500.0)
    book.positions.book(0, D(10), D(500), "had")
    book.attribution.begin(NOON)
    for step, spot in enumerate((501.0, 503.0, 502.0), start=1):
        book.market(NOON + step * MINUTE, spot)
        book.attribution.mark(NOON + step * MINUTE)
    assert book.attribution.high_water == D(5030)
    assert book.attribution.nav == D(5020)
    assert book.attribution.current_nav() == D(5020)
    assert book.attribution.nav_change == D(20)


AMOUNTS = st.decimals(-10_000, 10_000, places=6)


@given(st.lists(AMOUNTS, min_size=len(PARTS), max_size=len(PARTS)))
def test_parts_in_cents_still_sum_to_the_total(amounts):
    totals = dict(zip(PARTS, amounts, strict=True))
    change = sum(amounts, D(0))
    cents = parts_in_cents(totals, change)
    assert set(cents) == {"total", *PARTS}
    assert cents["total"] == to_cents(change)
    assert sum(cents[name] for name in PARTS) == cents["total"]
    assert all(amount == to_cents(amount) for amount in cents.values())
    assert all(abs(cents[name] - totals[name]) <= D("0.005") for name in PARTS if name != "residual")


def test_the_residual_takes_the_rounding():
    totals = dict.fromkeys(PARTS, D(0)) | {"delta": D("0.004"), "gamma": D("0.004"), "theta": D("0.004")}
    cents = parts_in_cents(totals, D("0.012"))
    assert (cents["total"], cents["delta"], cents["residual"]) == (D("0.01"), D("0.00"), D("0.01"))


def test_a_share_that_is_gone_and_was_never_quoted_explains_nothing():
    book = Book()
    book.positions.book(0, D(5), D(500), "had")
    book.attribution.begin(NOON)
    book.positions.book(0, D(-5), D(501), "gone")
    book.account.cash += D(2505)
    mark = book.attribution.mark(NOON + MINUTE)
    assert (mark.nav_change, mark.parts["delta"], mark.parts["residual"]) == (D(5), D(0), D(5))
