"""Accounts in coin: inverse positions, premium-adjusted Greeks, and what explains their result."""

from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import DERIBIT_FEES, deribit_option, perpetual
from scalpdesk.instruments.sessions import coin_session, expiry_instant_ns
from scalpdesk.instruments.settlement import settle_option
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.delta_engine import DeltaEngine
from scalpdesk.portfolio.explain import PARTS, PnlExplain
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.positions import Account, Position, PositionManager, net_asset_value
from scalpdesk.pricing import greeks
from scalpdesk.pricing.scalar import coin_greeks
from scalpdesk.volatility.variance_time import CALENDAR
from scalpdesk_testing.kit.bookings import apply_change, booked
from scalpdesk_testing.kit.tape import quote

D = Decimal
DAY = date(2026, 3, 3)
OPEN_NS = coin_session(DAY).open_ns
HOUR = 3_600 * NANOS_PER_SECOND
SWAP = perpetual("BTC")
CALL = deribit_option("BTC-27MAR26-90000-C")
PUT = deribit_option("BTC-27MAR26-90000-P")
TRADES = st.lists(
    st.tuples(
        st.integers(-500, 500).filter(bool).map(D), st.integers(40_000, 160_000).map(lambda half: D(half) / 2)
    ),
    min_size=1,
    max_size=20,
)


def close(value, wanted):
    """Agree to far below a satoshi."""
    return abs(value - wanted) < D("1e-18")


def test_the_average_price_of_inverse_contracts_is_the_harmonic_mean():
    position = Position(0, perpetual("BTC"))
    position.apply(D(5_000), D(50_000))
    position.apply(D(5_000), D(55_000))
    assert close(position.average_price, D(100_000) / (D(50_000) / 50_000 + D(50_000) / 55_000))
    assert close(position.profit(D(60_000)), D(1) + D(50_000) / 55_000 - D(100_000) / 60_000)


def test_units_that_come_for_their_worth_in_coin_are_no_income():
    book = PositionManager(Instruments([SWAP]))
    worth = SWAP.cash_flow(D(50), D(40_000))
    apply_change(book, PositionChanged(0, 1, 1, ChangeCause.MANUAL_TRADE, D(50), D(40_000), worth, "by-hand"))
    (position,) = book.held()
    assert abs(worth) == D(500) / 40_000
    assert close(position.income, D(0))


def test_what_a_trade_has_earned_holds_the_fee_of_its_delivery():
    """Five calls bought at 0.02 for 0.0015, delivered at 100,000: a tenth of a coin each less 0.00015."""
    book = PositionManager(Instruments([SWAP, CALL]))
    booked(book, 1, D(5), D("0.02"), "bought", fee=D("0.0015"))
    cash = -D(5) * D("0.02") - D("0.0015")
    for change in settle_option(CALL, 1, 0, D(5), D(100_000), 99, fees=DERIBIT_FEES):
        apply_change(book, change)
        cash += change.cash_change
    assert not book.held()
    assert close(book.positions[1].profit(D("0.1")), cash)
    assert cash == D("0.5") - D("0.1") - D("0.0015") - D("0.00075")


@given(TRADES, st.integers(20_000, 90_000).map(D))
def test_cash_and_value_hold_all_that_was_earned(trades, mark):
    position, cash = Position(0, perpetual("BTC")), D(0)
    for quantity, price in trades:
        position.apply(quantity, price)
        cash += SWAP.cash_flow(quantity, price)
    assert close(position.profit(mark), cash + position.value(mark))
    assert close(position.cost, position.realized - cash)


@given(TRADES)
def test_a_trade_taken_back_leaves_the_others(trades):
    position = Position(0, perpetual("BTC"))
    for quantity, price in trades:
        position.apply(quantity, price)
    before = (position.quantity, position.average_price, position.realized)
    position.apply(D(7), D(61_000))
    position.take_back(D(7), D(61_000))
    assert (position.quantity, position.average_price, position.realized) == before


# Greeks in coin -----------------------------------------------------------------------------------------


@pytest.mark.rows("is_call", [True, False])
@pytest.mark.rows("strike", [70_000.0, 90_000.0, 110_000.0])
def test_the_engine_prices_inverse_options_as_the_array_model_does(is_call, strike):
    mine = coin_greeks(90_500.0, strike, 0.1, 0.55, is_call)
    other = greeks(90_500.0, strike, 0.1, 0.55, is_call, model="inverse", style="european")
    for name in mine._fields:
        assert getattr(mine, name) == pytest.approx(float(getattr(other, name)), rel=1e-12)


@pytest.mark.parametrize("is_call", [True, False])
def test_the_delta_in_coin_is_the_slope_of_the_premium_in_the_logarithm_of_the_price(is_call):
    spot, step = 90_500.0, 1.0
    low, high = (coin_greeks(spot + s, 90_000.0, 0.1, 0.55, is_call).price for s in (-step, step))
    delta = coin_greeks(spot, 90_000.0, 0.1, 0.55, is_call).delta
    assert delta == pytest.approx(spot * (high - low) / (2 * step), rel=1e-6)


def test_the_volatility_of_a_premium_in_coin_is_found():
    pricer = ContractPricer()
    price = coin_greeks(90_500.0, 90_000.0, 0.1, 0.55, True).price
    # an inverse option knows no rate: what the run's curve says is left out
    assert pricer.implied_vol(CALL, price, 90_500.0, 0.1, 0.05, 0.02) == pytest.approx(0.55, rel=1e-10)


# the desk's account -------------------------------------------------------------------------------------


class Desk:
    """Ledger, market and explain of an account in coin, with trades and quotes by hand."""

    def __init__(self, cash="2"):
        self.instruments = Instruments([SWAP, CALL, PUT])
        self.state = MarketState(self.instruments)
        self.engine = DeltaEngine(self.instruments, self.state, ContractPricer(), clock=CALENDAR)
        self.account, self.positions = Account(D(cash), "BTC"), PositionManager(self.instruments)
        self.trades = 0
        self.explain = PnlExplain(self.instruments, self.state, self.engine, self.account, self.positions, 0)
        self.now_ns = OPEN_NS

    def market(self, now_ns, spot, vol=0.55):
        self.now_ns = now_ns
        self.state.apply_quote(quote(0, now_ns, spot - 0.25, spot + 0.25))
        for number in (1, 2):
            option = self.instruments[number]
            years = self.engine.terms.years(expiry_instant_ns(option), now_ns)
            price = coin_greeks(spot, float(option.strike), years, vol, option.is_call).price
            self.state.apply_quote(quote(number, now_ns, price - 0.0001, price + 0.0001))

    def trade(self, number, quantity, price, fee="0"):
        marked = self.explain.mark(self.now_ns)
        instrument, quantity, price = self.instruments[number], D(quantity), D(price)
        self.trades += 1
        booked(self.positions, number, quantity, price, f"x{self.trades}", fee=D(fee))
        self.account.cash += instrument.cash_flow(quantity, price) - D(fee)
        self.explain.note_trade(self.state.quotes[number], quantity, price, D(fee))
        self.explain.legs.rebase(self.now_ns)
        return marked


def test_the_net_asset_value_is_coin_whatever_the_perpetual_was_bought_at():
    desk = Desk()
    desk.market(OPEN_NS, 90_000.0)
    desk.trade(0, 9_000, "90000")
    assert desk.account.cash == 3  # 90,000 dollars were sold for one coin
    assert desk.explain.current_nav() == 2
    desk.market(OPEN_NS + HOUR, 100_000.0)
    assert close(desk.explain.current_nav(), D(2) + D(1) - D(90_000) / 100_000)
    assert net_asset_value(desk.account, desk.positions.held(), desk.state) == desk.explain.current_nav()


def test_the_costs_of_a_perpetual_are_in_coin():
    desk = Desk()
    desk.market(OPEN_NS, 90_000.0)
    desk.trade(0, 9_000, "90001.25", fee="0.0005")
    mark = desk.explain.mark(OPEN_NS + NANOS_PER_SECOND)
    over_mark = D(90_000) / D(90_000) - D(90_000) / D("90001.25")
    half_spread = D(90_000) / D(90_000) - D(90_000) / D("90000.25")
    assert mark.parts["fees"] == D("-0.0005")
    assert close(mark.parts["spread"], -half_spread)
    assert close(mark.parts["slippage"], half_spread - over_mark)
    assert abs(mark.parts["residual"]) < D("1e-15")


def test_a_hedged_straddle_earns_half_the_dollar_gamma_over_the_price():
    """The curvature of the perpetual in coin cancels that of the premium's own denominator."""
    desk = Desk()
    desk.market(OPEN_NS, 90_000.0)
    for number in (1, 2):
        desk.trade(number, 1, str(desk.state.quotes[number].mid))
    held = [desk.engine.state(number, OPEN_NS).greeks for number in (1, 2)]
    delta = sum(each.delta for each in held)
    desk.trade(0, round(-delta * 90_000.0 / 10), "90000")
    desk.explain.begin(OPEN_NS)
    desk.market(OPEN_NS, 90_600.0)
    parts = desk.explain.mark(OPEN_NS).parts
    dollar_gamma = sum(each.gamma + each.delta / 90_000.0 for each in held)
    assert float(parts["gamma"]) == pytest.approx(0.5 * dollar_gamma / 90_000.0 * 600.0**2, rel=1e-3)
    assert abs(float(parts["delta"])) < 1e-6
    assert abs(float(parts["residual"])) < 5e-8


SPOTS = st.lists(st.integers(80_000, 100_000), min_size=2, max_size=6)


@given(SPOTS, st.lists(st.floats(0.3, 0.9), min_size=6, max_size=6))
def test_the_parts_sum_to_the_change_in_coin_and_leave_half_a_tick_of_each_leg(spots, vols):
    """A volatility is known to half a tick of its option: what marks miss of the model never adds up."""
    desk = Desk()
    desk.market(OPEN_NS, 90_000.0)
    desk.trade(1, 1, "0.05", fee="0.0003")
    desk.trade(2, 2, "0.05", fee="0.0006")
    desk.trade(0, -3_000, "90000")
    desk.explain.begin(OPEN_NS)
    missed, bound = D(0), 2 * 3 * D("0.00025") + D("1e-7")  # of three coins, at the first mark and the last
    for hours, (spot, vol) in enumerate(zip(spots, vols, strict=False), start=1):
        desk.market(OPEN_NS + hours * HOUR, float(spot), vol)
        mark = desk.explain.mark(desk.now_ns)
        assert sum(mark.parts[name] for name in PARTS) == mark.nav_change
        missed += mark.parts["residual"]
        assert abs(missed) < bound


def premium(spot, strike, years, vol, is_call):
    """Black 1976 in coin, apart from the package's own."""
    d1 = (np.log(spot / strike) + 0.5 * vol**2 * years) / (vol * np.sqrt(years))
    d2, side = d1 - vol * np.sqrt(years), 1.0 if is_call else -1.0
    return side * (spot * norm.cdf(side * d1) - strike * norm.cdf(side * d2)) / spot


def test_an_hour_of_a_hedged_straddle_is_what_numpy_makes_of_it():
    """Two calls, one put and a short perpetual from 90,000 at 55 % to 90,450 at 58 %, an hour later."""
    desk, spot, vol, end, later = Desk(), 90_000.0, 0.55, 90_450.0, 0.58
    desk.market(OPEN_NS, spot, vol)
    for number, coins in ((1, 2), (2, 1)):
        desk.trade(number, coins, str(desk.state.quotes[number].mid))
    desk.trade(0, -4_000, "90000")
    desk.explain.begin(OPEN_NS)
    desk.market(OPEN_NS + HOUR, end, later)
    parts = desk.explain.mark(desk.now_ns).parts
    years = desk.engine.terms.years(expiry_instant_ns(CALL), OPEN_NS)
    left = years - 1.0 / 24.0 / 365.0

    def options(s, t, v):
        return 2.0 * premium(s, 90_000.0, t, v, True) + premium(s, 90_000.0, t, v, False)

    def perpetual_at(s):
        return -40_000.0 * (1.0 / spot - 1.0 / s)

    def slope(function, at, step):
        return (function(at + step) - function(at - step)) / (2.0 * step)

    def bend(function, at, step):
        return (function(at + step) - 2.0 * function(at) + function(at - step)) / step**2

    def by_spot(s):
        return options(s, years, vol) + perpetual_at(s)

    half_ticks = 3 * 0.00026  # a volatility is known to half a tick of its price
    wanted = {
        "theta": options(spot, left, vol) - options(spot, years, vol),
        "gamma": 0.5 * bend(by_spot, spot, 20.0) * (end - spot) ** 2,
        "vega": slope(lambda v: options(spot, years, v), vol, 1e-4) * (later - vol),
    }
    assert float(parts["theta"]) == pytest.approx(wanted["theta"], rel=1e-3)
    assert float(parts["gamma"]) == pytest.approx(wanted["gamma"], rel=1e-3)
    assert abs(float(parts["vega"]) - wanted["vega"]) < half_ticks
    change = options(end, left, later) - options(spot, years, vol) + perpetual_at(end)
    assert float(sum(parts[name] for name in PARTS)) == pytest.approx(change, abs=3e-8)
    # delta and what is left of the perpetual's curve; the rest of the change is of higher order
    first = slope(lambda s: options(s, years, vol), spot, 1.0) * (end - spot)
    bent = bend(perpetual_at, spot, 20.0) * (end - spot) ** 2 / 2.0
    assert float(parts["delta"]) == pytest.approx(first + perpetual_at(end) - bent, rel=1e-3)
    assert abs(float(parts["residual"])) <= half_ticks
    assert abs(float(parts["higher_order"])) < 0.05 * wanted["gamma"] + half_ticks


def test_the_meter_of_a_coin_straddle_reads_its_dollar_gamma_over_the_price():
    """Gamma and theta of Black 1976 in dollars, over the spot in coin: an hour and 450 dollars at 55 %."""
    desk, spot, vol = Desk(), 90_000.0, 0.55
    desk.market(OPEN_NS, spot, vol)
    for number, coins in ((1, 2), (2, 1)):
        desk.trade(number, coins, str(desk.state.quotes[number].mid))
    desk.explain.begin(OPEN_NS)
    desk.market(OPEN_NS + HOUR, spot + 450.0, vol)
    desk.explain.mark(desk.now_ns)
    deviation = vol * np.sqrt(desk.engine.terms.years(expiry_instant_ns(CALL), OPEN_NS))
    dollar_gamma = 3 * norm.pdf(0.5 * deviation) / (spot * deviation)  # at the money, of either right
    meter = desk.explain.legs.meter.total
    assert meter.gamma == pytest.approx(0.5 * dollar_gamma * 450.0**2 / spot, rel=1e-3)
    assert meter.theta == pytest.approx(-0.5 * dollar_gamma * spot * vol**2 / (24.0 * 365.0), rel=1e-3)


def test_a_runs_rate_is_no_part_of_what_coin_options_earn():
    desk = Desk()
    desk.engine = DeltaEngine(
        desk.instruments, desk.state, ContractPricer(), flat_rate=0.05, clock=CALENDAR, by_parity=False
    )
    desk.explain = PnlExplain(
        desk.instruments, desk.state, desk.engine, desk.account, desk.positions, InstrumentId(0)
    )
    desk.market(OPEN_NS, 90_000.0)
    desk.trade(1, 2, str(desk.state.quotes[1].mid))
    desk.explain.begin(OPEN_NS)
    desk.market(OPEN_NS + 20 * HOUR, 91_000.0)
    desk.explain.mark(desk.now_ns)
    assert desk.explain.sums.details["rate"] == 0.0
    assert desk.explain.totals["carry"] == 0


def test_a_coin_options_sale_is_measured_from_the_volatility_it_was_held_at():
    """The last mid is a fifth of a tick below the value at 55 %: the rounding is no loss of the leg."""
    desk = Desk()
    desk.market(OPEN_NS, 90_000.0)
    desk.trade(1, 1, str(desk.state.quotes[1].mid))
    desk.explain.begin(OPEN_NS)
    desk.market(OPEN_NS + HOUR, 90_120.0)
    mid = desk.state.quotes[1].mid - 0.0001
    desk.state.apply_quote(quote(1, desk.now_ns, mid - 0.0001, mid + 0.0001))
    desk.trade(1, -1, str(mid - 0.0001))
    parts = desk.explain.mark(desk.now_ns + 1).parts
    assert float(parts["spread"]) == pytest.approx(-0.0001, abs=1e-7)
    assert float(parts["slippage"]) == pytest.approx(-0.0001, abs=1e-7)
    # the tick that the last mid was too low is no noise of a mark any more
    assert desk.explain.sums.details["mark_noise"] == pytest.approx(0.0, abs=1e-6)


def test_a_coin_options_sale_that_is_heard_of_at_its_expiry_is_measured_from_its_quote():
    """The settlement is another price: what it differs from the last mid is neither spread nor slippage."""
    desk, expiry_ns = Desk(), expiry_instant_ns(CALL)
    desk.market(expiry_ns - HOUR, 90_000.0)
    desk.trade(1, 1, str(desk.state.quotes[1].mid))
    desk.explain.begin(desk.now_ns)
    desk.market(expiry_ns - HOUR // 120, 91_000.0)
    bid = desk.state.quotes[1].bid
    desk.now_ns = expiry_ns
    desk.state.apply_quote(quote(0, expiry_ns, 91_999.75, 92_000.25))
    desk.trade(1, -1, str(bid))
    parts = desk.explain.mark(expiry_ns + 1).parts
    assert float(parts["spread"]) == pytest.approx(-0.0001, abs=1e-8)
    assert float(parts["slippage"]) == pytest.approx(0.0, abs=1e-8)


def test_the_rounding_of_a_mid_at_the_start_of_an_interval_is_none_of_its_greeks():
    """Less than half a tick moves the volatility that is solved from it, and with it the delta."""
    deltas = []
    for rounding in (0.0, 0.00004):
        desk = Desk()
        desk.market(OPEN_NS, 90_000.0)
        desk.trade(1, 1, str(desk.state.quotes[1].mid))
        desk.explain.begin(OPEN_NS)
        desk.market(OPEN_NS + HOUR, 90_000.0)
        mid = desk.state.quotes[1].mid + rounding
        desk.state.apply_quote(quote(1, desk.now_ns, mid - 0.0001, mid + 0.0001))
        desk.explain.mark(desk.now_ns, is_anchor=True)
        before = desk.explain.totals["delta"]
        desk.market(OPEN_NS + 2 * HOUR, 91_000.0)
        desk.explain.mark(desk.now_ns)
        deltas.append(float(desk.explain.totals["delta"] - before))
    assert deltas[0] > 0.003
    assert deltas[1] == pytest.approx(deltas[0], abs=1e-8)


@pytest.mark.rows(
    ("bid", "ask", "spread", "slippage"),
    [
        (49_990.0, 50_010.0, 10_000 / D(50_000) - 10_000 / D(50_010), 0),
        # one side is no price: what was traded is
        (50_010.0, float("nan"), 0, 0),
        (49_000.0, float("nan"), 0, 0),
        (float("nan"), 50_000.0, 0, 0),
    ],
)
def test_what_a_bought_perpetual_cost_is_measured_from_the_mid_alone(bid, ask, spread, slippage):
    desk = Desk()
    desk.state.apply_quote(quote(0, desk.now_ns, bid, ask))
    desk.explain.begin(desk.now_ns)
    desk.trade(0, 1_000, "50010")
    totals = desk.explain.mark(desk.now_ns + 1).parts
    assert totals["spread"] == pytest.approx(-spread, abs=D("1e-8"))
    assert totals["slippage"] == pytest.approx(-slippage, abs=D("1e-8"))


@pytest.mark.rows(
    ("number", "last", "level"),
    [
        (1, 91_000.0, 91_500),
        (1, 91_000.0, 90_600),
        (2, 89_000.0, 89_300),
        (2, 89_000.0, 88_000),
        (1, 89_800.0, 89_500),  # ends worthless: the last mark stands, at most the strike
        (1, 90_200.0, 89_500),
        (2, 90_200.0, 90_500),
        (2, 89_800.0, 90_500),
    ],
)
def test_a_coin_option_alone_is_explained_to_the_price_that_settles_it(number, last, level):
    desk, expiry_ns = Desk(), expiry_instant_ns(CALL)
    desk.market(expiry_ns - HOUR, 90_000.0)
    desk.trade(number, 1, str(desk.state.quotes[number].mid))
    desk.explain.begin(desk.now_ns)
    desk.market(expiry_ns - HOUR // 6, last)
    desk.explain.mark(desk.now_ns)
    ends = D(level)
    payoff = max((ends - 90_000 if number == 1 else 90_000 - ends) / ends, D(0))
    desk.explain.note_delivery(number, payoff)
    cause = ChangeCause.CASH_SETTLEMENT
    apply_change(
        desk.positions, PositionChanged(number, expiry_ns, expiry_ns, cause, D(-1), payoff, payoff, "end")
    )
    desk.account.cash += payoff
    desk.explain.legs.rebase(expiry_ns)
    mark = desk.explain.mark(expiry_ns)
    parts = {name: float(amount) for name, amount in mark.parts.items()}
    assert sum(parts.values()) == pytest.approx(float(mark.nav_change), abs=1e-12)
    assert abs(parts["residual"]) < 1e-6


def test_a_coin_option_that_is_bought_before_the_perpetual_is_quoted_costs_half_its_spread():
    desk = Desk()
    desk.state.apply_quote(quote(1, desk.now_ns, 0.0500, 0.0520))
    desk.explain.begin(desk.now_ns)
    desk.trade(1, 2, "0.0520")
    parts = desk.explain.mark(desk.now_ns + 1).parts
    assert (parts["spread"], parts["slippage"]) == (D("-0.002"), 0)


def test_a_coin_option_that_no_volatility_prices_costs_half_its_spread_from_its_own_mid():
    """Its payoff at 95,000 is 0.0526: a mid below that has no volatility, and the payoff is no mark of it."""
    desk = Desk()
    desk.state.apply_quote(quote(0, desk.now_ns, 94_999.75, 95_000.25))
    desk.state.apply_quote(quote(1, desk.now_ns, 0.0500, 0.0520))
    desk.explain.begin(desk.now_ns)
    desk.trade(1, 2, "0.0520")
    parts = desk.explain.mark(desk.now_ns + 1).parts
    assert (parts["spread"], parts["slippage"]) == (D("-0.002"), 0)
    assert desk.explain.sums.details["mark_noise"] == 0.0


def test_a_volatility_within_half_a_tick_of_the_mid_is_kept_and_another_goes_to_its_edge():
    desk = Desk()
    within = desk.engine.vols.quoted.within_tick
    assert within(CALL, 0.5) == 0.5  # without a quote
    desk.state.apply_quote(quote(1, OPEN_NS - 1, 0.0499, 0.0501))
    desk.state.apply_quote(quote(0, OPEN_NS, 89_999.75, 90_000.25))
    assert within(CALL, 0.5) == 0.5  # quoted before any spot
    desk.market(OPEN_NS, 90_000.0, vol=0.55)
    years = desk.engine.terms.years(expiry_instant_ns(CALL), OPEN_NS)

    def price(vol):
        return coin_greeks(90_000.0, 90_000.0, years, vol, True).price

    mid, half_tick = desk.state.quotes[1].mid, 0.00025  # five ten-thousandths from 0.005 up
    assert abs(price(0.5501) - mid) < half_tick
    assert within(CALL, 0.5501) == 0.5501
    for vol, side in ((0.60, 1), (0.50, -1)):
        assert price(within(CALL, vol)) == pytest.approx(mid + side * half_tick, abs=1e-9)


@pytest.mark.rows(
    ("number", "last", "step"),
    [(1, 89_800.0, 0), (1, 90_200.0, -1), (2, 90_200.0, 0), (2, 89_800.0, 1)],
)
def test_an_option_that_ends_worthless_takes_its_last_step_to_the_strike_or_none(number, last, step):
    """Out of the money it stays where the last mark was; the price that settled it is beyond the strike."""
    desk, expiry_ns = Desk(), expiry_instant_ns(CALL)
    desk.market(expiry_ns - HOUR, last)  # before the half hour whose mean settles it
    desk.trade(number, 1, str(desk.state.quotes[number].mid))
    desk.explain.begin(desk.now_ns)
    premium, paid = D(str(desk.state.quotes[number].mid)), D(0)
    desk.explain.note_delivery(number, paid)
    cause = ChangeCause.EXPIRED_WORTHLESS
    apply_change(
        desk.positions, PositionChanged(number, expiry_ns, expiry_ns, cause, D(-1), paid, paid, "end")
    )
    desk.explain.legs.rebase(expiry_ns)
    mark = desk.explain.mark(expiry_ns)
    assert float(mark.nav_change) == pytest.approx(-float(premium), abs=1e-7)
    delta = float(mark.parts["delta"])
    assert (delta > 1e-4, delta < -1e-4) == (False, bool(step))
    assert abs(float(mark.parts["gamma"])) < 1e-9 or step


def test_a_delivery_is_a_last_step_to_the_price_that_settles():
    """The mean of the half hour before expiry is 300 dollars below the last mark of the perpetual."""
    desk, expiry_ns = Desk(), expiry_instant_ns(CALL)
    desk.market(expiry_ns - HOUR, 90_000.0)
    for number, coins in ((1, 2), (2, 1)):
        desk.trade(number, coins, str(desk.state.quotes[number].mid))
    desk.explain.begin(desk.now_ns)
    desk.market(expiry_ns - HOUR // 6, 90_100.0)
    before = desk.explain.mark(desk.now_ns).nav
    level = D(89_800)
    paid = {1: D(0), 2: (90_000 - level) / level}
    for number, payoff in paid.items():
        held = desk.positions.positions[number].quantity
        desk.explain.note_delivery(number, payoff)
        cause, cash = ChangeCause.CASH_SETTLEMENT, held * payoff
        apply_change(
            desk.positions,
            PositionChanged(number, expiry_ns, expiry_ns, cause, -held, payoff, cash, f"expiry-{number}"),
        )
        desk.account.cash += cash
    desk.explain.legs.rebase(expiry_ns)
    mark = desk.explain.mark(expiry_ns)
    assert mark.nav == desk.account.cash
    assert close(mark.nav_change, mark.nav - before)
    moved = sum(mark.parts[name] for name in ("delta", "gamma", "theta", "higher_order"))
    assert float(moved) == pytest.approx(float(mark.nav_change), abs=1e-3)
    assert abs(desk.explain.totals["residual"]) < D("1e-6")


def test_funding_is_carry_and_the_position_keeps_it_as_income():
    desk = Desk()
    desk.market(OPEN_NS, 90_000.0)
    desk.trade(0, -5_000, "90000")
    desk.explain.begin(OPEN_NS)
    paid = PositionChanged(0, OPEN_NS, OPEN_NS, ChangeCause.FUNDING, D(0), D(0), D("0.000375"), "funding-1")
    apply_change(desk.positions, paid)
    assert close(desk.positions.positions[0].profit(D(90_000)), D("0.000375"))


def test_the_smile_of_coin_options_stands_on_their_own_forward():
    """An inverse option knows no interest: whatever the run's rate, its forward is the perpetual's mark."""
    desk = Desk()
    engine = DeltaEngine(desk.instruments, desk.state, ContractPricer(), flat_rate=0.05, clock=CALENDAR)
    engine.smile(1, OPEN_NS)  # from now on quotes are kept
    desk.market(OPEN_NS, 90_000.0)
    smile = engine.smile(1, OPEN_NS + 1)
    assert smile.forward == 90_000.0
    assert float(smile.vols(smile.log_moneyness(CALL))) == pytest.approx(0.55, abs=0.002)


def test_an_inverse_contract_has_a_delta_of_its_dollars_at_the_mark():
    instruments = Instruments([SWAP])
    state = MarketState(instruments)
    engine = DeltaEngine(instruments, state, ContractPricer())
    account, positions = Account(D(1), "BTC"), PositionManager(instruments)
    explain = PnlExplain(instruments, state, engine, account, positions, InstrumentId(0))
    state.apply_quote(quote(0, OPEN_NS, 49_999.5, 50_000.5))
    booked(positions, InstrumentId(0), D(-300), D(50_000), "had")
    explain.begin(OPEN_NS)
    state.apply_quote(quote(0, OPEN_NS + HOUR, 59_999.5, 60_000.5))
    assert explain.mark(OPEN_NS + HOUR).net_delta_shares == pytest.approx(-300 * 10 / 60_000)
