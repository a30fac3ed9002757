"""st0ckg by hand: from a signal to the last contract sold."""

from datetime import date, time
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import BarEvent, FillBusted, SessionBarsEvent, TradingHalt
from scalpdesk.core.intents import OrderType, Purpose, SetTimer, Side, SubmitOrder, TimeInForce
from scalpdesk.instruments.broker_terms import known_cutoff
from scalpdesk.instruments.sessions import new_york_ns, session_on
from scalpdesk.orders.order import OrderState
from scalpdesk.signals.base import Confidence, Reading
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.strategies.toolkit.exits import ScalpExitConfig
from scalpdesk_strategies.st0ckg.config import St0ckgConfig
from scalpdesk_strategies.st0ckg.filters import FilterConfig
from scalpdesk_strategies.st0ckg.strategy import St0ckg
from scalpdesk_testing.kit.desk import HandDesk, cancels, decisions, orders
from scalpdesk_testing.kit.instruments import DAY, straddle_book


class LiveOrders:
    """A signal that says what the test says."""

    name = "TOLD"
    weight = 9.0
    minimum = 6.0
    high_from = 7.0
    medium_from = 5.0

    def __init__(self):
        self.reading = Reading("TOLD", 0.0)
        self.facts = None

    def say(self, direction, score=8.0):
        confidence = Confidence.HIGH if score >= 7 else Confidence.MEDIUM
        self.reading = Reading("TOLD", score, direction, confidence, ("because",))

    def measured(self, facts):
        self.facts = facts
        return self.reading

    original = measured


QUIET = FilterConfig(trend_filter=False)


class Bench:
    """A desk with st0ckg, one told signal and options of the day at 498 to 502."""

    def __init__(self, **settings):
        config = St0ckgConfig(**({"filters": QUIET} | settings))
        self.strategy = St0ckg(config)
        self.told = LiveOrders()
        self.strategy._signals = (self.told,)
        self.desk = HandDesk(self.strategy, straddle_book(498, 499, 500, 501, 502, expiry=DAY))
        self.desk.open()
        self.minute("09:31")  # from here on minutes come from bars, not from quotes

    def minute(self, clock, spot=500.0):
        """Quote everything and close a minute at ``clock``; return what follows from the bar."""
        self.desk.go_to(clock)
        return self.close_minute(spot)

    def close_minute(self, spot):
        """Quote everything and close a minute now; return what follows from the bar."""
        self.desk.market(spot, option_spread=0.02)
        now_ns = self.desk.now_ns
        return self.desk.handle(BarEvent(0, now_ns, now_ns, 60, spot, spot + 0.02, spot - 0.02, spot, 1000.0))

    def bought(self, direction=1, clock="10:05", fill=None):
        """Have an entry made and filled."""
        self.told.say(direction)
        (order,) = orders(self.minute(clock))
        self.desk.wait(1)
        self.desk.accept(order)
        self.desk.fill(order, fill)
        self.told.say(0, 0.0)
        return order

    def at(self, spot, clock=None, seconds=30):
        """Move the market; return what follows."""
        if clock is not None:
            self.desk.go_to(clock)
        else:
            self.desk.wait(seconds)
        return self.desk.market(spot, option_spread=0.02)

    def symbol(self, order):
        return self.desk.book[order.instrument_id].symbol


YESTERDAY = (session_on(date(2024, 3, 1)).open_ns, session_on(date(2024, 3, 1)).close_ns)
NO_STOP = ScalpExitConfig(stop_fraction=Decimal(0))
"""An option of the day loses half its price by the afternoon whatever the share does."""


def reasons(outputs):
    return [reason for decision in decisions(outputs) for reason in decision.reasons]


def test_it_is_found_by_its_name():
    assert isinstance(find_strategy("st0ckg").build(St0ckgConfig()), St0ckg)


@pytest.mark.parametrize(("direction", "right"), [(1, "C"), (-1, "P")])
def test_the_signals_direction_decides_between_calls_and_puts(direction, right):
    bench = Bench()
    bench.told.say(direction)
    outputs = bench.minute("10:05")
    (order,) = orders(outputs)
    contract = bench.desk.book[order.instrument_id]
    assert contract.right == right
    assert contract.expiry == DAY
    delta = bench.desk.engine.desk.delta_engine.state(order.instrument_id, bench.desk.now_ns).greeks.delta
    assert 0.20 <= abs(delta) <= 0.40
    quote = bench.desk.engine.desk.market.quotes[order.instrument_id]
    ask = Decimal(f"{quote.ask:.2f}")
    assert order.limit_price == (ask * Decimal("1.02")).quantize(Decimal("0.01"), "ROUND_CEILING")
    assert (order.order_type, order.time_in_force) == (OrderType.LIMIT, TimeInForce.DAY)
    assert (order.side, order.purpose) == (Side.BUY, Purpose.OPEN)
    assert order.quantity == min(int(Decimal(1000) / (ask * 100)), 10)
    (decision,) = [one for one in decisions(outputs) if one.client_order_ids]
    assert decision.facts["contract"] == contract.symbol
    assert "because" in decision.reasons
    timers = [one for one in outputs if isinstance(one, SetTimer) and one.name.startswith("st0ckg")]
    assert [timer.due_ns - bench.desk.now_ns for timer in timers] == [15_000_000_000]


def test_no_direction_and_low_scores_are_said_once_a_session():
    bench = Bench()
    bench.told.say(0)
    assert "no direction" in reasons(bench.minute("10:05"))[0]
    assert not decisions(bench.minute("10:06"))
    bench.told.say(1, 5.5)
    assert "least 6" in reasons(bench.minute("10:07"))[0]
    bench.told.say(0)
    assert not decisions(bench.minute("10:08"))
    bench.told.say(-1, 5.6)
    assert not decisions(bench.minute("10:09"))


def test_a_filter_that_refuses_is_said_once_while_it_lasts():
    bench = Bench()
    bench.told.say(1)
    said = [reasons(bench.minute(f"09:{minute}")) for minute in (35, 36, 37, 41, 42)]
    assert "outside 09:40" in said[0][0]
    assert said[1] == said[2] == []
    assert "within 30 minutes of the open" in said[3][0]
    assert said[4] == []
    bench.told.say(1, 0.0)
    bench.minute("09:43")
    bench.told.say(1)
    assert not reasons(bench.minute("09:44"))  # no time of day for it: once is enough


def test_a_filter_inside_the_window_speaks_again_when_the_signal_comes_back():
    bench = Bench()
    order = bench.bought(clock="10:00")
    (sale,) = orders(bench.at(500.5))
    bench.desk.fill(sale)
    assert sale.quantity == order.quantity
    bench.told.say(1)
    assert "since the last entry" in reasons(bench.minute("10:05"))[0]
    assert not reasons(bench.minute("10:06"))
    bench.told.say(1, 0.0)
    bench.minute("10:07")
    bench.told.say(1)
    assert "since the last entry" in reasons(bench.minute("10:08"))[0]


def test_one_contract_beyond_the_budget_buys_nothing():
    bench = Bench()
    contract = msgspec.structs.replace(bench.strategy.config.contract, equity_fraction=Decimal("0.0001"))
    bench.strategy.config = msgspec.structs.replace(bench.strategy.config, contract=contract)
    bench.told.say(1)
    outputs = bench.minute("10:05")
    assert not orders(outputs)
    assert "more than the budget" in reasons(outputs)[0]


def test_without_options_of_the_day_the_signal_is_skipped_with_the_reason():
    bench = Bench()
    bench.strategy._watch.options = []
    bench.told.say(1)
    assert "no options of this side expire today" in reasons(bench.minute("10:05"))[0]


def test_an_entry_not_filled_in_15_seconds_is_cancelled_and_what_was_filled_is_kept():
    bench = Bench()
    bench.told.say(1)
    (order,) = orders(bench.minute("10:05"))
    bench.desk.wait(1)
    bench.desk.accept(order)
    bench.desk.fill(order, 2)
    assert not cancels(bench.desk.wait(13).timer())
    assert cancels(bench.desk.wait(1).timer()) == [order.client_order_id]
    assert not cancels(bench.desk.wait(1).timer())
    bench.desk.cancelled(order.client_order_id)
    assert bench.desk.positions == {order.instrument_id: 2}
    (sale,) = orders(bench.at(500.0, "15:50"))
    assert (sale.side, sale.quantity) == (Side.SELL, 2)


def test_a_fill_after_the_cancel_is_not_forgotten():
    bench = Bench()
    bench.told.say(1)
    (order,) = orders(bench.minute("10:00"))
    bench.told.say(0, 0.0)
    bench.desk.wait(15).timer()
    assert any("without a fill" in reason for reason in reasons(bench.desk.cancelled(order.client_order_id)))
    bench.desk.wait(1).fill(order, 3)
    assert bench.desk.positions == {order.instrument_id: 3}
    (sale,) = orders(bench.at(500.0, "15:50"))
    assert (sale.side, sale.quantity) == (Side.SELL, 3)


def test_a_sale_taken_back_is_sold_again():
    bench = Bench()
    order = bench.bought()
    (sale,) = orders(bench.at(500.5))
    bench.desk.fill(sale)
    assert bench.desk.positions == {}
    bench.desk.wait(5)
    execution = next(iter(bench.desk.engine.desk.orders.orders[sale.client_order_id].executions))
    now_ns = bench.desk.now_ns
    outputs = bench.desk.handle(FillBusted(sale.client_order_id, now_ns, now_ns, execution, "erroneous"))
    outputs += bench.at(500.5)
    (again,) = orders(outputs)
    assert (again.side, again.quantity) == (Side.SELL, order.quantity)


@pytest.mark.parametrize("sells", ["all", "half"])
def test_a_purchase_taken_back_after_its_sale_is_bought_back(sells):
    """The desk is never short of an option: neither after the last sale nor after that of a half."""
    bench = Bench()
    order = bench.bought()
    (sale,) = orders(bench.at(500.5 if sells == "all" else 500.15))
    bench.desk.fill(sale)
    assert (sale.quantity < order.quantity) is (sells == "half")
    bench.desk.wait(5)
    execution = next(iter(bench.desk.engine.desk.orders.orders[order.client_order_id].executions))
    now_ns = bench.desk.now_ns
    outputs = bench.desk.handle(FillBusted(order.client_order_id, now_ns, now_ns, execution, "erroneous"))
    assert bench.desk.positions == {order.instrument_id: -sale.quantity}
    outputs += bench.at(500.3)
    (cover,) = orders(outputs)
    assert (cover.side, cover.quantity, cover.purpose) == (Side.BUY, sale.quantity, Purpose.CLOSE)
    outputs += bench.desk.wait(1).timer()
    assert not [why for why in reasons(outputs) if why.startswith("entry")]
    bench.desk.fill(cover)
    assert bench.desk.positions == {}
    assert not orders(bench.desk.wait(60).timer())


def test_the_cooldown_starts_with_the_fill_not_with_the_signal():
    bench = Bench()
    bench.told.say(1)
    (order,) = orders(bench.minute("10:00"))
    bench.desk.wait(15).timer()
    bench.desk.cancelled(order.client_order_id)
    (again,) = orders(bench.minute("10:01"))  # nothing was filled: no cooldown
    bench.desk.wait(1)
    bench.desk.fill(again)
    assert "since the last entry" in " ".join(reasons(bench.minute("10:20")))


def test_scale_out_breakeven_then_target():
    bench = Bench()
    order = bench.bought()
    count = int(order.quantity)
    (half,) = orders(bench.at(500.15))
    assert (half.side, half.quantity, half.order_type) == (Side.SELL, count // 2, OrderType.MARKET)
    assert half.purpose is Purpose.CLOSE
    assert "set_breakeven" in " ".join(reasons(bench.desk.fill(half)))
    assert not decisions(bench.at(500.16))
    (rest,) = orders(bench.at(500.31))
    assert rest.quantity == count - count // 2
    assert "final_target" in " ".join(reasons(bench.desk.outputs))
    outputs = bench.desk.fill(rest)
    assert any("flat in" in reason for reason in reasons(outputs))
    assert bench.desk.positions == {}
    assert not orders(bench.at(501.0))


def test_a_part_is_sold_after_a_halt_and_not_wanted_in_it():
    # the one order for it was refused in the halt, and the whole went at the final target or the stop
    bench = Bench()
    order = bench.bought()
    for is_halted in (True, False):
        at_ns = bench.desk.wait(1).now_ns
        bench.desk.handle(TradingHalt(0, at_ns, at_ns, is_halted=is_halted))
        outputs = bench.at(500.15)
        assert [sale.quantity for sale in orders(outputs)] == [] if is_halted else [int(order.quantity) // 2]
        assert bool(decisions(outputs)) is not is_halted


def test_one_contract_is_not_halved():
    bench = Bench()
    order = bench.bought(fill=1)
    bench.desk.wait(15).timer()
    bench.desk.cancelled(order.client_order_id)
    outputs = bench.at(500.15)
    assert not orders(outputs)
    assert "cannot be halved" in reasons(outputs)[0]
    assert not decisions(bench.at(500.16, seconds=3))
    (rest,) = orders(bench.at(500.30))
    assert rest.quantity == 1


def test_a_put_gains_when_the_share_falls():
    bench = Bench()
    bench.bought(direction=-1)
    (half,) = orders(bench.at(499.84))
    assert half.side is Side.SELL
    assert "scale_out" in " ".join(reasons(bench.desk.outputs))


def test_stop_at_half_the_price_paid():
    bench = Bench()
    order = bench.bought()
    (sale,) = orders(bench.at(498.6))
    assert sale.quantity == order.quantity
    assert decisions(bench.desk.outputs)[-1].reasons == ("stop_loss",)


def test_breakeven_stop_once_armed():
    bench = Bench()
    order = bench.bought()
    assert "set_breakeven" in " ".join(reasons(bench.at(500.10)))
    (sale,) = orders(bench.at(499.95))
    assert sale.quantity == order.quantity
    assert decisions(bench.desk.outputs)[-1].reasons == ("breakeven_stop",)


def test_all_is_sold_ten_minutes_before_the_close():
    bench = Bench(exits=NO_STOP)
    bench.bought()
    assert not orders(bench.at(500.0, "15:49"))
    (sale,) = orders(bench.at(500.0, "15:50"))
    assert decisions(bench.desk.outputs)[-1].reasons == ("time_exit",)
    assert sale.side is Side.SELL


def test_the_venues_last_order_comes_first():
    bench = Bench(venue="alpaca", exits=NO_STOP)
    bench.bought()
    assert not orders(bench.at(500.0, "15:24"))
    assert orders(bench.at(500.0, "15:25"))


@pytest.mark.parametrize(
    ("venue", "clock"), [("alpaca", "15:25"), ("unheard-of", "15:10"), ("ibkr", "15:10")]
)
def test_the_runs_own_venue_counts_where_none_is_set(venue, clock):
    bench = Bench(exits=NO_STOP)
    bench.desk.engine.desk.view.cutoff = known_cutoff(venue)
    bench.bought()
    hours, minutes = map(int, clock.split(":"))
    assert not orders(bench.at(500.0, f"{hours}:{minutes - 1:02d}"))
    assert orders(bench.at(500.0, clock))


def test_below_yesterdays_low_a_bullish_reason_is_gone():
    bench = Bench()
    bench.bought()
    bench.strategy.scalps[0].invalid_below = Decimal("499.90")
    outputs = bench.at(499.85)
    assert orders(outputs)
    assert decisions(outputs)[-1].reasons == ("invalidated",)


def test_a_reason_that_is_gone_already_buys_nothing():
    bench = Bench()
    earlier = SessionBarsEvent(
        0,
        bench.desk.now_ns,
        bench.desk.now_ns,
        "2024-03-01",
        *YESTERDAY,
        60,
        (YESTERDAY[1],),
        (501.0,),
        (502.0,),
        (500.5,),
        (501.5,),
        (1000.0,),
    )
    fresh = HandDesk(bench.strategy, bench.desk.book)
    fresh.handle(replace(earlier, ts_recv_ns=fresh.session.open_ns))
    bench.desk = fresh
    fresh.open()
    bench.minute("09:31")
    bench.told.say(1)
    outputs = bench.minute("10:05")
    assert not orders(outputs)
    assert "below 500.5" in reasons(outputs)[0]
    bench.told.say(-1)
    assert orders(bench.minute("10:06"))


def test_a_refused_sale_is_not_wanted_with_every_quote():
    bench = Bench()
    bench.bought()
    (sale,) = orders(bench.at(500.0, "15:50"))
    for pause in (1, 2, 4, 8, 15, 15):  # seconds
        assert not orders(bench.desk.reject(sale))
        assert not orders(bench.at(500.0, seconds=pause - 0.5))
        (again,) = orders(bench.at(500.0, seconds=2.5))
        assert again.quantity == sale.quantity
        sale = again


def test_a_contract_that_the_account_holds_already_is_left_alone():
    bench = Bench()
    order = bench.bought()
    held = order.instrument_id
    (sale,) = orders(bench.at(500.0, "15:50"))
    bench.desk.fill(sale)
    other = Bench()
    other.desk.adopt({held: (3, "0.50")})
    other.told.say(1)
    outputs = other.minute("10:05")
    assert not orders(outputs)
    assert "is held" in reasons(outputs)[0]
    other.told.say(0, 0.0)
    assert not orders(other.at(500.0, "15:55"))  # not its own: not its to sell


def test_flattening_sells_and_halting_does_nothing():
    bench = Bench()
    order = bench.bought()
    bench.desk.operate("halt")
    assert not orders(bench.at(498.0))
    sales = orders(bench.desk.operate("flatten"))
    assert [sale.quantity for sale in sales] == [order.quantity]


def test_another_underlying_is_refused():
    desk = HandDesk(St0ckg(St0ckgConfig(underlying="QQQ")))
    with pytest.raises(ConfigError) as caught:
        desk.open()
    assert caught.value.nearest == "SPY"


@pytest.mark.parametrize("bad", [{"signals": ()}, {"signals": ("gama_squeeze",)}, {"venue": "nowhere"}])
def test_settings_that_cannot_work_are_refused(bad):
    with pytest.raises(ConfigError):
        St0ckgConfig(**bad)


def test_every_absent_signal_is_said_once_with_its_reason_when_it_could_have_counted():
    desk = HandDesk(St0ckg(), straddle_book(500, expiry=DAY))
    desk.open()
    said = {}
    for clock in [f"09:{minute}" for minute in range(31, 60)] + [f"10:{minute}" for minute in range(10, 41)]:
        desk.go_to(clock).market(500.0)
        said[clock] = reasons(desk.handle(BarEvent(0, desk.now_ns, desk.now_ns, 60, 500, 500, 500, 500, 0.0)))
    absences = {clock: [one for one in words if "absent" in one] for clock, words in said.items()}
    assert next(clock for clock, words in absences.items() if words) == "10:10"
    first = absences["10:10"]
    assert "DARK_POOL_FLOW absent: the feed does not tell off-exchange prints apart" in first
    assert "OPENING_DRIVE absent: the range of the session before is not known" in first
    assert "VWAP_RECLAIM absent: no volume-weighted price: the bars carry no volume" in first
    assert sum(len(words) for words in absences.values()) <= 10


# laws, whatever the market and the venue do -----------------------------------------------------------

OPENS, ENDS = new_york_ns(DAY, time(10)), new_york_ns(DAY, time(10, 30))
FLAT_BY = "15:50"

steps = st.one_of(
    st.tuples(st.just("move"), st.integers(-40, 40)),
    st.tuples(st.just("minute"), st.sampled_from([-1, 0, 1])),
    st.tuples(st.just("fill"), st.integers(1, 10)),
    st.tuples(st.just("reject"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("late"), st.integers(1, 3)),
)


class Venue:
    """Does to the oldest live order what the example says."""

    def __init__(self):
        self.bench = Bench()
        self.desk = self.bench.desk
        self.cents = 50_000
        self.bench.minute("09:59")

    @property
    def orders(self):
        return list(self.desk.engine.desk.orders.live.values())

    def do(self, what, amount):
        desk = self.desk
        for order in self.orders:
            if order.state is OrderState.PENDING_CANCEL:
                desk.cancelled(order.client_order_id)
        live = self.orders
        if what == "move":
            self.cents += amount
            desk.wait(3).market(self.cents / 100, option_spread=0.02)
        elif what == "minute":
            self.bench.told.say(amount, 8.0 if amount else 0.0)
            minute_ns = 60 * 10**9
            desk.now_ns += minute_ns - (desk.now_ns - desk.session.open_ns) % minute_ns
            self.bench.close_minute(self.cents / 100)
        elif what == "wait":
            desk.wait(amount).timer()
        elif what == "late":
            self.fill_late(amount)
        elif live and what == "fill":
            desk.wait(1).fill(live[0].submitted, min(amount, int(live[0].leaves)))
        elif live and what == "reject" and not live[0].filled:
            desk.wait(1).reject(live[0].submitted)

    def fill_late(self, count):
        """Fill the last cancelled purchase: it happened before the venue's last word."""
        for order in reversed(self.desk.engine.desk.orders.orders.values()):
            left = order.submitted.quantity - order.filled
            if order.state is OrderState.CANCELLED and order.submitted.side is Side.BUY and left:
                self.desk.wait(1).fill(order.submitted, min(count, int(left)))
                return

    def check(self):
        book = self.desk.engine.desk
        for number, held in self.desk.positions.items():
            assert held >= 0
            offered = sum(
                one.leaves
                for one in self.orders
                if one.submitted.instrument_id == number and one.submitted.side is Side.SELL
            )
            assert offered <= held
        assert len(book.positions.held()) <= 2


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([-1, 1]), st.integers(1, 10), st.lists(steps, max_size=40))
def test_it_never_sells_what_it_has_not_and_ends_flat(direction, count, plan):
    venue = Venue()
    venue.do("minute", direction)  # begin with something held: the laws are about getting rid of it
    venue.do("fill", count)
    assert venue.desk.positions
    for step in plan:
        venue.do(*step)
        venue.check()
    sent = [one for one in venue.desk.outputs if isinstance(one, SubmitOrder)]
    for order in sent:
        created_ns = venue.desk.engine.desk.orders.orders[order.client_order_id].created_ns
        assert (order.purpose is Purpose.OPEN) is (order.side is Side.BUY)
        if order.side is Side.BUY:
            assert OPENS <= created_ns <= ENDS
            assert 0 < order.quantity <= 10
    venue.bench.told.say(0, 0.0)
    if venue.desk.now_ns < new_york_ns(DAY, time.fromisoformat(FLAT_BY)):
        venue.desk.go_to(FLAT_BY)
    for _ in range(40):  # a venue that fills whatever it is sent: what was refused is asked again
        venue.do("wait", 30)
        venue.do("move", 0)
        for _ in range(len(venue.orders)):
            venue.do("fill", 10)
        venue.check()
    assert venue.desk.positions == {}
    assert not venue.orders
    # the gate holds an exit to what is held as well: it must never have had to
    exits = [one for one in decisions(venue.desk.outputs) if one.kind == "exit"]
    assert not [reason for one in exits for reason in one.reasons if "held" in reason and "sell " in reason]
