"""The options scalper of PRD-136: the test classes that the document names, and more."""

import asyncio
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scalpdesk.core.enums import Mode
from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.events import FillBusted, ImpliedVolEvent, OpenInterestEvent
from scalpdesk.core.intents import OrderType, Purpose, Side, SubmitOrder
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.deadlines import ALPACA_CUTOFF
from scalpdesk.instruments.sessions import NEW_YORK, from_ns, new_york_ns, session_on, to_ns
from scalpdesk.instruments.ticks import CENT_TICK, PENNY_NICKEL
from scalpdesk.orders.order import OrderState
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.signals.ema_cloud import PriceSource
from scalpdesk_strategies.ema_scalper import (
    ChainRow,
    GreeksGate,
    OptionsChain,
    OptionsScalper,
    RoutedFill,
    ScalpConfig,
    ScalpSizer,
    StrikeSelector,
    TradeSignal,
)
from scalpdesk_strategies.ema_scalper.cloud_watch import CloudWatch
from scalpdesk_strategies.ema_scalper.entry import EntryPlanner, ScalpMoment
from scalpdesk_strategies.ema_scalper.exits import ScalpExit, ScalpTrade, exit_rules, mark_of, next_exit
from scalpdesk_strategies.ema_scalper.macro_bias import MacroState
from scalpdesk_strategies.ema_scalper.model import days_to_expiry
from scalpdesk_strategies.ema_scalper.sizing import buy_limit, halves
from scalpdesk_strategies.ema_scalper.strategy import EmaScalper
from scalpdesk_strategies.ema_scalper.strike_selector import strike_score
from scalpdesk_strategies.ema_scalper.timing import (
    cutoff_ns,
    is_near_fomc,
    session_end_ns,
    start_ns,
    time_limit_ns,
    venue_deadline_ns,
    why_fomc_unknown,
)
from scalpdesk_testing.kit.cloud_bars import bar_event, candle
from scalpdesk_testing.kit.desk import HandDesk, cancels, decisions, orders
from scalpdesk_testing.kit.instruments import DAY, straddle_book

STRIKES = range(490, 511)
SPOT = 499.75
"""So that late in the day the next strike still has a delta that may be bought."""


class ShownClouds(CloudWatch):
    """Clouds that show what the test says; bars are followed as ever."""

    def __init__(self):
        super().__init__(InstrumentId(0), "SPY")
        self.direction = 0
        self.lengths = (60,)
        """Bar lengths in seconds whose cloud flips."""
        self.conviction = 80
        self.bias = None
        """The 10-minute bias; None for the signal's own direction."""
        self.ratio = 2.0
        self.shown = {}
        """Candle by the end of its bar, UTC nanoseconds."""

    @property
    def macro(self):
        return MacroState(self.bias, None, 2**62, 10)

    def flip(self, seconds):
        return self.direction if seconds in self.lengths else 0

    def signal(self, seconds, iv_rank=None):
        end_ns = super().candles(seconds)[-1].bar.ts_event_ns
        return self.told(end_ns, iv_rank, f"{seconds // 60}m") if self.flip(seconds) else None

    def told(self, end_ns, iv_rank=None, timeframe="1m"):
        side, way = ("bullish", "up") if self.direction > 0 else ("bearish", "down")
        return TradeSignal(
            signal_id=f"SPY|{timeframe}|{from_ns(end_ns):%Y-%m-%dT%H:%M:%SZ}|flip_{way}",
            ticker="SPY",
            direction=side,
            conviction=self.conviction,
            timestamp=from_ns(end_ns),
            entry_price=500.0,
            timeframe=timeframe,
            macro_bias=self.direction if self.bias is None else self.bias,
            volume_ratio=self.ratio,
            iv_rank=iv_rank,
        )

    def candles(self, seconds):
        return [self.shown.get(one.bar.ts_event_ns, one) for one in super().candles(seconds)]

    def show(self, end_ns, *prices, top, bottom):
        """Let a bar be this candle: open, high, low, close against the fast cloud."""
        self.shown[end_ns] = candle(*prices, top=top, bottom=bottom, end_ns=end_ns)


class EmaBench:
    """Drives the scalper by hand; spreads are two cents unless ``spread`` is set."""

    def __init__(self, *, days=0, interest=5_000, **settings):
        self.strategy = EmaScalper(ScalpConfig(**settings))
        book = straddle_book(*STRIKES, expiry=DAY + timedelta(days=days))
        # the caps on Greeks cut today's options first, and are no matter here
        limits = RiskLimits(
            max_theta_fraction=1.0, max_bought_delta_fraction=100.0, max_bought_gamma_fraction=1000.0
        )
        self.desk = HandDesk(self.strategy, book, limits=limits)
        self.spread = 0.02
        self.desk.open()
        for number in range(1, len(book)):
            self.interest(number, interest)
        self.clouds = ShownClouds()
        tickers = self.strategy._tickers
        tickers[0] = tickers[0]._replace(watch=self.clouds)
        self.clouds.open_session(self.desk.session)
        self.minute("09:31")  # from here on minutes come from bars, not from quotes

    def interest(self, number, contracts):
        now_ns = self.desk.now_ns
        self.desk.handle(OpenInterestEvent(InstrumentId(number), now_ns, now_ns, contracts))

    def minute(self, clock=None, spot=SPOT, flip=0):
        """Quote everything and close a minute, at ``clock`` or a minute later; return what follows."""
        if clock is None:
            minute_ns = 60 * 10**9
            self.desk.now_ns += minute_ns - (self.desk.now_ns - self.desk.session.open_ns) % minute_ns
        else:
            self.desk.go_to(clock)
        self.desk.market(spot, option_spread=self.spread)
        self.clouds.direction = flip
        outputs = self.desk.handle(bar_event(0, spot, end_ns=self.desk.now_ns))
        self.clouds.direction = 0
        return outputs

    def enter(self, clock="10:00", flip=1, spot=SPOT):
        """Return the order that a flip leads to."""
        (order,) = orders(self.minute(clock, spot, flip))
        return order

    def bought(self, clock="10:00", flip=1, fill=None):
        """Have a first half bought and filled; return its order."""
        order = self.enter(clock, flip)
        self.desk.wait(1)
        self.desk.accept(order)
        self.desk.fill(order, fill, price=float(order.limit_price))
        return order

    def quote(self, order, mid, spread=0.02, seconds=1):
        """Quote the bought option and those beside it around ``mid``, then the underlying."""
        self.desk.wait(seconds)
        half, book = spread / 2, self.desk.engine.desk.instruments
        bought = book[order.instrument_id]
        beside = [
            number
            for number, each in enumerate(book)
            if each.is_option
            and (each.expiry, each.right) == (bought.expiry, bought.right)
            and abs(each.strike - bought.strike) <= 3
        ]
        outputs = ()
        for number in sorted(beside, key=lambda each: each == order.instrument_id):
            outputs += self.desk.quote(number, round(mid - half, 4), round(mid + half, 4))
        outputs += self.desk.quote(0, 499.69, 499.71)
        return outputs + self.desk.quote(0, 499.74, 499.76)

    @property
    def reasons(self):
        """Reasons of the last decision."""
        return decisions(self.desk.outputs)[-1].reasons


TUESDAY = date(2025, 2, 4)
FRIDAY = date(2025, 2, 7)
HALF_DAY = date(2025, 7, 3)
CONFIG = ScalpConfig()
prices = st.integers(5, 3_000).map(lambda cents: cents / 100)


def moment(day=TUESDAY, clock=time(10)):
    return datetime.combine(day, clock, tzinfo=NEW_YORK)


def row(strike=500, delta=0.40, **changes):
    fields = {
        "option_symbol": f"SPY250204C{strike:05d}000",
        "expiry": TUESDAY,
        "strike": float(strike),
        "option_type": "call",
        "bid": 1.20,
        "ask": 1.26,
        "open_interest": 5_000,
        "volume": 2_000.0,
        "delta": delta,
        "gamma": 0.05,
        "theta": -0.02,
        "iv": 0.2,
    }
    return ChainRow(**(fields | changes))


def chain(*rows, **changes):
    return OptionsChain(**({"as_of": moment(), "spot": 500.0, "rows": rows} | changes))


def signal(direction="bullish", conviction=80, **changes):
    sign = 1 if direction == "bullish" else -1
    fields = {
        "signal_id": "SPY|1m|2025-02-04T15:00:00Z|flip",
        "ticker": "SPY",
        "direction": direction,
        "conviction": conviction,
        "timestamp": moment(),
        "entry_price": 500.0,
        "macro_bias": sign,
        "volume_ratio": 2.0,
        "iv_rank": 0.5,
    }
    return TradeSignal(**(fields | changes))


class TestStrikeSelector:
    @pytest.mark.parametrize(("delta", "passes"), [(0.29, False), (0.30, True), (0.50, True), (0.51, False)])
    def test_delta_filtering(self, delta, passes):
        found = StrikeSelector(CONFIG).select("SPY", "bullish", chain(row(delta=delta)))
        assert (found is not None) is passes
        put = row(delta=-delta, option_type="put")
        found = StrikeSelector(CONFIG).select("SPY", "bearish", chain(put))
        assert (found is not None) is passes

    @pytest.mark.parametrize(
        ("change", "passes"),
        [
            ({}, True),
            ({"open_interest": 1000}, False),
            ({"open_interest": 1001}, True),
            ({"volume": 500.0}, False),
            ({"volume": 501.0}, True),
            ({"volume": None}, True),
            ({"bid": 1.9, "ask": 2.1}, False),
            ({"bid": 1.91, "ask": 2.1}, True),
            ({"bid": 0.0}, False),
            ({"bid": 1.26}, False),
        ],
    )
    def test_liquidity_filtering(self, change, passes):
        selector = StrikeSelector(CONFIG)
        assert (selector.select("SPY", "bullish", chain(row(**change))) is not None) is passes
        assert sum(selector.removed.values()) == (not passes)

    def test_strike_scoring(self):
        assert strike_score(0.40, 0.06 / 1.23, 5000, 10_000) == pytest.approx(85.3658536585)
        assert strike_score(-0.33, 0.1 / 2.05, 1200, 3500) == pytest.approx(36.2158536585)
        best = StrikeSelector(CONFIG).select(
            "SPY", "long", chain(row(502, 0.31), row(500, 0.42), row(498, 0.49))
        )
        assert best.strike == 500.0
        assert best.spread_pct == pytest.approx(0.06 / 1.23)

    @given(st.floats(-1, 1), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1e6)), st.integers(0, 10**6))
    def test_a_score_lies_between_0_and_100(self, delta, spread, volume, interest):
        assert 0.0 <= strike_score(delta, spread, volume, interest) <= 100.0

    @pytest.mark.parametrize("direction", ["calls", "LONG", "Bullish", "up", ""])
    def test_a_direction_that_is_none_is_refused_and_buys_no_puts(self, direction):
        with pytest.raises(ArgumentError, match="not a direction"):
            StrikeSelector(CONFIG).select("SPY", direction, chain(row(), row(delta=-0.4, option_type="put")))

    def test_of_equal_scores_the_lower_spread_then_open_interest_then_the_money_wins(self):
        far = [row(510, 0.40, open_interest=20_000), row(501, 0.40, open_interest=20_000)]
        assert StrikeSelector(CONFIG).select("SPY", "call", chain(*far)).strike == 501.0
        more = [row(510, 0.40, open_interest=30_000), row(501, 0.40, open_interest=20_000)]
        assert StrikeSelector(CONFIG).select("SPY", "call", chain(*more)).strike == 510.0

    def test_0dte_is_preferred_and_1dte_follows_the_cutoff(self):
        tomorrow = TUESDAY + timedelta(days=1)
        both = (row(), row(expiry=tomorrow, option_symbol="SPY250205C00500000"))
        selector = StrikeSelector(CONFIG)
        assert selector.select("SPY", "call", chain(*both)).expiry == TUESDAY
        assert selector.select("SPY", "call", chain(*both, cutoff_passed=True)).expiry == tomorrow
        assert selector.select("SPY", "call", chain(both[1])).expiry == tomorrow
        assert selector.select("SPY", "call", chain(both[0], cutoff_passed=True)) is None
        far = row(expiry=TUESDAY + timedelta(days=2))
        assert selector.select("SPY", "call", chain(far)) is None
        assert "no options of a tradable expiry" in selector.why_none("SPY", chain(far))

    def test_monday_is_1dte_on_a_friday(self):
        monday = row(expiry=date(2025, 2, 10))
        late = chain(monday, as_of=moment(FRIDAY, time(14)), cutoff_passed=True)
        assert StrikeSelector(CONFIG).select("SPY", "call", late).expiry == date(2025, 2, 10)
        assert days_to_expiry(FRIDAY, date(2025, 2, 10)) == 1

    def test_single_stocks_have_the_nearest_of_one_to_five_sessions_and_spx_only_today(self):
        rows = [row(expiry=TUESDAY + timedelta(days=days)) for days in (0, 3, 7)]
        selector = StrikeSelector(CONFIG)
        assert selector.expiry("NVDA", chain(*rows)) == FRIDAY
        assert selector.expiry("NVDA", chain(rows[0])) is None
        assert selector.expiry("SPX", chain(*rows)) == TUESDAY
        assert selector.expiry("SPX", chain(*rows, cutoff_passed=True)) is None
        assert selector.expiry("NVDA", chain(row(expiry=date(2025, 2, 12)))) is None


class TestGreeksGate:
    def selection(self, *, days=1, **changes):
        made = row(expiry=TUESDAY + timedelta(days=days), **changes)
        return StrikeSelector(CONFIG)._score_strikes([made])[0]

    @pytest.mark.parametrize(
        ("days", "rank", "reason"),
        [
            (1, 0.79, None),
            (1, 0.80, "iv_rank"),
            (1, None, "iv_rank_unknown"),
            (0, 0.99, None),
            (0, None, None),
        ],
    )
    def test_iv_rank_check(self, days, rank, reason):
        verdict = GreeksGate(CONFIG).validate(self.selection(days=days), signal(iv_rank=rank))
        assert (verdict.approved, verdict.reason) == (reason is None, reason)

    @pytest.mark.parametrize(
        ("days", "theta", "approved"), [(1, -0.0614, True), (1, -0.0615, False), (0, -1, True)]
    )
    def test_theta_burn(self, days, theta, approved):
        assert (
            GreeksGate(CONFIG).validate(self.selection(days=days, theta=theta), signal()).approved is approved
        )

    @pytest.mark.parametrize(("bid", "ask", "approved"), [(1.9, 2.09, True), (1.9, 2.1, False)])
    def test_spread_validation(self, bid, ask, approved):
        verdict = GreeksGate(CONFIG).validate(self.selection(days=0, bid=bid, ask=ask), signal())
        assert verdict.approved is approved

    @pytest.mark.parametrize(
        ("days", "gamma", "approved"), [(1, 0.15, True), (1, 0.16, False), (0, 0.5, True)]
    )
    def test_gamma_filter(self, days, gamma, approved):
        assert (
            GreeksGate(CONFIG).validate(self.selection(days=days, gamma=gamma), signal()).approved is approved
        )

    def test_a_verdict_has_every_reason_in_order(self):
        worst = self.selection(theta=-1, delta=0.6, gamma=0.3, bid=1.9, ask=2.2)
        verdict = GreeksGate(CONFIG).validate(worst, signal(iv_rank=0.9))
        codes = [text.partition(":")[0] for text in verdict.reasons]
        assert codes == ["iv_rank", "theta_burn", "spread", "delta", "gamma"]
        assert verdict.reason == "iv_rank"

    def test_a_high_but_allowed_rank_reduces_the_size(self):
        assert GreeksGate(CONFIG).validate(self.selection(), signal(iv_rank=0.5)).adjustments is None
        verdict = GreeksGate(CONFIG).validate(self.selection(), signal(iv_rank=0.6))
        assert verdict.adjustments == {"reduce_size": True}


class TestScalpSizer:
    @pytest.mark.parametrize(
        ("equity", "premium", "conviction", "contracts"),
        [
            (50_000, 2.5, 80, 8),
            (50_000, 2.5, 75, 8),
            (50_000, 2.5, 74, 4),
            (50_000, 2.5, 50, 4),
            (50_000, 2.5, 49, 0),
            (10_000, 3.0, 90, 1),
            (10_000, 3.0, 60, 1),
            (10_000, 4.5, 90, 0),
            (0, 2.5, 90, 0),
            (50_000, 0.0, 90, 0),
        ],
    )
    def test_risk_based_sizing_and_conviction_adjustment(self, equity, premium, conviction, contracts):
        assert ScalpSizer(CONFIG).calculate(premium, conviction, equity) == contracts

    @given(st.floats(100, 1e7), prices, st.integers(0, 100))
    def test_a_stopped_scalp_never_loses_more_than_the_budget(self, equity, premium, conviction):
        count = ScalpSizer(CONFIG).calculate(premium, conviction, equity)
        assert count * premium * 100 * CONFIG.max_loss_pct <= CONFIG.max_risk_per_scalp * equity * (1 + 1e-9)

    @given(st.integers(0, 1000))
    def test_the_halves_are_the_whole(self, contracts):
        first, add = halves(contracts)
        assert first + add == contracts
        assert first - add in (0, 1)

    @given(prices, st.integers(1, 40), st.sampled_from([CENT_TICK, PENNY_NICKEL]))
    def test_a_limit_is_on_the_tick_and_never_above_the_ask(self, bid, wide, rule):
        tick = rule.tick_at(Decimal(str(bid)))
        low = rule.round(Decimal(str(bid)), "up")
        ask = rule.round(low + wide * tick, "up")
        limit = buy_limit(float(low), float(ask), rule, CONFIG.limit_offset)
        assert limit <= ask
        assert limit % rule.tick_at(limit) == 0
        wished = (low + ask) / 2 + Decimal("0.02")
        assert limit == ask or wished <= limit < wished + rule.tick_at(limit)


def trade(**changes):
    session = session_on(TUESDAY)
    fields = {
        "now_ns": new_york_ns(TUESDAY, time(11)),
        "entry_price": Decimal(2),
        "price": Decimal(2),
        "quote_ns": 1,
        "deadline_ns": session.close_ns,
        "cutoff_ns": cutoff_ns(session, 0, CONFIG),
        "session_end_ns": session.close_ns,
        "is_flipped": False,
        "sign": 1,
        "candles": (),
    }
    return ScalpTrade(**(fields | changes))


RUNAWAY = [candle(10.2, 10.5, 10.1, 10.4, top=10.0, bottom=9.9)] * 3


class TestExitLogic:
    def reason(self, *, quotes=1, **changes):
        return next_exit(exit_rules(ScalpConfig(stop_quotes=quotes)), trade(**changes))

    @pytest.mark.parametrize(
        ("price", "reason"), [("2.49", None), ("2.50", "profit_target"), ("9", "profit_target")]
    )
    def test_profit_target(self, price, reason):
        assert self.reason(price=Decimal(price)) == reason

    @pytest.mark.parametrize(
        ("price", "reason"), [("1.01", None), ("1.00", "stop_loss"), ("0.01", "stop_loss")]
    )
    def test_stop_loss(self, price, reason):
        assert self.reason(price=Decimal(price)) == reason

    def test_the_stop_takes_two_quotes_in_a_row(self):
        rules = exit_rules(CONFIG)
        steps = [(1, "0.9"), (1, "0.9"), (2, "1.2"), (3, "0.9"), (4, None), (5, "0.8")]
        found = [
            next_exit(rules, trade(price=None if price is None else Decimal(price), quote_ns=at))
            for at, price in steps
        ]
        assert found == [None] * 5 + ["stop_loss"]

    def test_exhaustion(self):
        assert self.reason(candles=RUNAWAY) == "momentum_exhaustion"
        assert self.reason(candles=RUNAWAY[:2]) is None
        assert self.reason(candles=RUNAWAY, sign=-1) is None

    @pytest.mark.parametrize(("clock", "reason"), [(time(13, 59, 59), None), (time(14), "time_cutoff")])
    def test_time_cutoff(self, clock, reason):
        assert self.reason(now_ns=new_york_ns(TUESDAY, clock)) == reason

    def test_cloud_flip(self):
        assert self.reason(is_flipped=True) == "cloud_flip"

    def test_the_first_of_the_precedence_wins(self):
        late = new_york_ns(TUESDAY, time(16))
        everything = {
            "mode": Mode.FLATTENING,
            "price": Decimal(1),
            "now_ns": late,
            "is_flipped": True,
            "candles": RUNAWAY,
        }
        calm = [
            {"mode": Mode.ACTIVE},
            {"price": Decimal(3)},
            {"deadline_ns": late + 1},
            {"cutoff_ns": None},
            {"session_end_ns": None},
            {"is_flipped": False},
            {"price": Decimal(2)},
            {"candles": ()},
        ]
        found = [self.reason(**everything)]
        for change in calm:
            everything |= change
            found.append(self.reason(**everything))
        expected = [each for each in ScalpExit if each not in (ScalpExit.SURPLUS, ScalpExit.EXPIRED)]
        assert found == [*expected, None]
        assert len(expected) == 8  # the ninth of the document is what is held to its end

    def test_a_stop_sells_a_tick_below_the_bid_and_again_every_two_seconds(self):
        bench = EmaBench()
        order = bench.bought()
        assert orders(bench.quote(order, 0.30)) == []
        (sale,) = orders(bench.quote(order, 0.30))
        assert (sale.side, sale.order_type, sale.quantity) == (Side.SELL, OrderType.LIMIT, order.quantity)
        assert sale.limit_price == Decimal("0.28")  # the bid is 0.29
        assert bench.reasons[0] == "stop_loss"
        bench.desk.accept(sale)
        assert not cancels(bench.quote(order, 0.28, seconds=1))
        assert cancels(bench.quote(order, 0.26, seconds=1)) == [sale.client_order_id]
        (again,) = orders(bench.desk.cancelled(sale.client_order_id))
        assert again.limit_price < Decimal("0.25")
        bench.desk.fill(again)
        assert bench.desk.positions == {}

    def test_a_target_is_offered_at_the_mid_and_after_five_seconds_at_the_bid(self):
        bench = EmaBench()
        order = bench.bought()
        rich = float(order.limit_price) * 1.3
        mid = round(rich, 2)
        (sale,) = orders(bench.quote(order, mid, spread=0.04))
        assert float(sale.limit_price) == pytest.approx(mid)
        assert bench.reasons[0] == "profit_target"
        bench.desk.accept(sale)
        assert not cancels(bench.quote(order, mid, spread=0.04, seconds=4))
        assert cancels(bench.quote(order, mid, spread=0.04, seconds=1)) == [sale.client_order_id]
        (again,) = orders(bench.desk.cancelled(sale.client_order_id))
        assert float(again.limit_price) < mid - 0.02

    def test_a_target_is_never_sold_below_its_band_and_another_rule_goes_on(self):
        bench = EmaBench()
        order = bench.bought()
        paid = float(order.limit_price)
        mid = round(paid * 1.26, 2)
        (sale,) = orders(bench.quote(order, mid, spread=0.20 * paid))  # the bid is at + 16 %
        bench.desk.accept(sale)
        outputs = bench.quote(order, mid, spread=0.20 * paid, seconds=20)
        assert (orders(outputs), cancels(outputs)) == ([], [])  # it rests where it was offered
        outputs = bench.quote(order, round(paid * 0.4, 2)) + bench.quote(order, round(paid * 0.4, 2) - 0.01)
        assert cancels(outputs) == [sale.client_order_id]
        (stop,) = orders(bench.desk.cancelled(sale.client_order_id))
        assert float(stop.limit_price) < paid / 2
        assert bench.reasons[0] == "stop_loss"

    def test_a_target_that_is_gone_before_it_is_filled_is_no_reason_any_more(self):
        bench = EmaBench()
        order = bench.bought()
        paid = float(order.limit_price)
        (sale,) = orders(bench.quote(order, round(paid * 1.3, 2)))
        bench.desk.reject(sale)
        outputs = ()
        for _ in range(5):
            outputs += bench.quote(order, round(paid * 1.1, 2))
        assert orders(outputs) == []
        (sale,) = orders(bench.quote(order, round(paid * 1.3, 2)))
        assert float(sale.limit_price) >= 1.2 * paid

    def test_a_wide_quote_is_no_mark_and_raises_an_alert_after_ten_seconds(self):
        bench = EmaBench()
        order = bench.bought()
        outputs = ()
        for _ in range(12):
            outputs += bench.quote(order, 0.30, spread=0.10)
        assert orders(outputs) == []
        alerts = [one for one in decisions(outputs) if one.kind == "alert"]
        assert [one.reasons[0].rpartition(" for ")[2] for one in alerts] == ["10 s"]

    @pytest.mark.parametrize(
        ("bid", "ask", "mid"),
        [(0.35, 0.45, "0.4"), (0.70, 0.90, "0.8"), (0.70, 0.91, None), (2.10, 2.71, None)],
    )
    def test_a_spread_of_exactly_a_quarter_of_the_mid_is_a_mark(self, bid, ask, mid):
        assert mark_of(bid, ask, 0.25) == (None if mid is None else Decimal(mid))
        bench = EmaBench()
        order = bench.bought()
        bench.desk.wait(1).quote(int(order.instrument_id), bid, ask)
        (scalp,) = bench.strategy.scalps
        assert scalp.price(bench.desk.engine.desk.view) == mark_of(bid, ask, 0.25)

    def test_a_flip_against_the_position_sells_it(self):
        bench = EmaBench()
        order = bench.bought()
        (sale,) = orders(bench.minute(flip=-1))[:1]
        assert (sale.instrument_id, sale.purpose) == (order.instrument_id, Purpose.CLOSE)

    def test_a_flip_before_the_fill_does_not_count(self):
        bench = EmaBench()
        order = bench.enter()
        bench.desk.accept(order)
        bench.minute(flip=-1)
        bench.desk.wait(1)
        assert orders(bench.desk.fill(order, price=float(order.limit_price))) == []
        assert orders(bench.minute()) == []

    def test_a_flip_while_the_desk_is_halted_sells_it_after_the_halt(self):
        bench = EmaBench()
        order = bench.bought()
        bench.desk.operate("halt")
        assert orders(bench.minute(flip=-1)) == []
        (sale,) = orders(bench.desk.operate("resume"))
        assert (sale.instrument_id, sale.quantity) == (order.instrument_id, order.quantity)
        assert bench.reasons == ("cloud_flip",)

    def test_a_halted_desk_does_nothing_and_a_flattening_one_sells(self):
        bench = EmaBench()
        order = bench.bought()
        sold = orders(bench.desk.operate("flatten")) or orders(bench.quote(order, 1.0))
        assert [(one.side, one.order_type) for one in sold] == [(Side.SELL, OrderType.LIMIT)]
        assert bench.strategy.scalps[0].exit.why == "risk_halt"


class TestTimingRules:
    def test_market_hours(self):
        session = session_on(TUESDAY)
        assert start_ns(session, CONFIG) == new_york_ns(TUESDAY, time(9, 35))
        bench = EmaBench()
        assert orders(bench.minute("09:34", flip=1)) == []
        assert "before 09:35" in bench.reasons[0]
        assert orders(bench.minute("09:35", flip=1))

    def test_0dte_cutoff(self):
        session = session_on(TUESDAY)
        assert cutoff_ns(session, 0, CONFIG) == new_york_ns(TUESDAY, time(14))
        assert cutoff_ns(session, 1, CONFIG) == new_york_ns(TUESDAY, time(15, 30))
        assert time_limit_ns(session, TUESDAY + timedelta(days=2), CONFIG) is None
        bench = EmaBench()
        assert orders(bench.minute("13:59", flip=1))
        late = EmaBench()
        assert orders(late.minute("14:00", flip=1)) == []
        assert "no options of a tradable expiry" in late.reasons[0]

    def test_on_a_half_day_the_cutoffs_move_with_the_close(self):
        session = session_on(HALF_DAY)
        assert cutoff_ns(session, 0, CONFIG) == new_york_ns(HALF_DAY, time(11))
        assert cutoff_ns(session, 1, CONFIG) == new_york_ns(HALF_DAY, time(12, 30))

    @pytest.mark.parametrize(
        ("clock", "blocked"),
        [(time(13, 29, 59), False), (time(13, 30), True), (time(14, 30), True), (time(14, 30, 1), False)],
    )
    def test_fomc_avoidance(self, clock, blocked):
        day = date(2025, 12, 10)
        assert is_near_fomc(new_york_ns(day, clock), CONFIG) is blocked
        assert not is_near_fomc(new_york_ns(day, clock), ScalpConfig(no_scalp_around_fomc=False))

    def test_a_signal_at_the_statement_is_not_traded_and_one_an_hour_before_is(self):
        router = Router(row(expiry=date(2025, 12, 10)))
        scalper = OptionsScalper(CONFIG, router)
        for clock, trades in ((time(13), True), (time(13, 40), False)):
            router.clock = moment(date(2025, 12, 10), clock)
            assert scalper._should_scalp(signal(timestamp=router.clock)) is trades
        run(scalper.process_signal(signal(timestamp=router.clock)))
        assert scalper.refusals == ("within 30 minutes of an FOMC statement",)

    def test_days_beyond_the_known_statements_are_warned_about_once(self):
        assert why_fomc_unknown(session_on(TUESDAY), CONFIG) == ""
        assert "nothing is held back" in why_fomc_unknown(session_on(date(2013, 10, 4)), CONFIG)
        assert why_fomc_unknown(session_on(date(2013, 10, 4)), ScalpConfig(no_scalp_around_fomc=False)) == ""

    @pytest.mark.parametrize(
        ("clock", "overnight", "passes"),
        [(time(15, 54), False, True), (time(15, 55), False, False), (time(15, 55), True, True)],
    )
    def test_nothing_is_bought_that_the_end_of_the_session_would_sell_at_once(self, clock, overnight, passes):
        config = ScalpConfig(one_dte_cutoff="16:00", hold_overnight=overnight)
        found = ScalpMoment(new_york_ns(TUESDAY, clock), session_on(TUESDAY), "alpaca", ALPACA_CUTOFF, 0, 0)
        refusals = EntryPlanner(config).refusals(signal(), found)
        assert refusals == (() if passes else ("past the last entry at 15:55 New York",))

    def test_what_is_held_at_the_cutoff_is_sold(self):
        bench = EmaBench()
        order = bench.bought("13:58")
        bench.desk.go_to("14:00")
        (sale,) = orders(bench.quote(order, 1.0, seconds=0))
        assert sale.side is Side.SELL
        assert bench.reasons[0] == "time_cutoff"

    def test_the_venues_last_orders_come_before_a_later_cutoff(self):
        contract = EmaBench().desk.book[1]
        assert venue_deadline_ns(contract, ALPACA_CUTOFF) == new_york_ns(DAY, time(15, 25))
        late = {"zero_dte_cutoff": "15:45", "one_dte_cutoff": "15:45", "venue": "alpaca"}
        bench = EmaBench(**late)
        order = bench.bought("15:20")
        bench.desk.go_to("15:25")
        bench.quote(order, 1.0, seconds=0)
        assert bench.reasons[0] == "venue_deadline"
        refused = EmaBench(**late)
        assert orders(refused.minute("15:26", flip=1)) == []
        assert "past the venue's last orders" in refused.reasons[0]


class Router:
    """Fills what a test says; time stands still."""

    venue = "alpaca"

    def __init__(self, *rows):
        self.rows = rows
        self.clock = moment()
        self.quotes = {one.option_symbol: (one.bid, one.ask) for one in rows}
        self.sent = []
        self.fills = []
        """Contracts filled of the next orders; whole orders where it is empty."""

    def now(self):
        return self.clock

    def equity(self):
        return 50_000.0

    def chain(self, ticker):
        return chain(*self.rows, as_of=self.clock) if ticker == "SPY" else None

    def quote(self, option_symbol):
        return self.quotes.get(option_symbol)

    async def submit(self, order):
        self.sent.append(order)
        count = self.fills.pop(0) if self.fills else order.contracts
        return RoutedFill(count, order.limit_price)

    async def next_update(self):
        self.clock += timedelta(minutes=10)


def run(awaitable):
    return asyncio.run(awaitable)


class TestOptionsScalper:
    def test_a_signal_becomes_strike_greeks_size_and_one_limit_order(self):
        router = Router(row(500, 0.42), row(502, 0.31))
        scalper = OptionsScalper(CONFIG, router)
        result = run(scalper.process_signal(signal(conviction=80)))
        (sent,) = router.sent
        assert (sent.option_symbol, sent.side) == ("SPY250204C00500000", Side.BUY)
        assert sent.limit_price == Decimal("1.25")
        assert (sent.contracts, sent.timeout_seconds) == (8, 15.0)  # 16 by risk: the first half
        (position,) = scalper.positions
        assert result.position is position
        assert (position.direction, position.contracts, position.dte) == ("long_call", 8, 0)
        assert position.entry_price == 1.25

    @pytest.mark.parametrize(
        ("change", "where"),
        [
            ({"direction": "long"}, "direction"),
            ({"direction": "Bullish"}, "direction"),
            ({"timestamp": moment().replace(tzinfo=None)}, "timestamp"),
        ],
    )
    def test_a_signal_of_no_direction_or_no_instant_is_refused(self, change, where):
        with pytest.raises(ArgumentError) as refused:
            signal(**change)
        assert refused.value.where == where

    def test_only_what_was_filled_is_a_position(self):
        router = Router(row())
        router.fills = [3]
        scalper = OptionsScalper(CONFIG, router)
        result = run(scalper.process_signal(signal()))
        assert (result.contracts_ordered, result.contracts_filled) == (8, 3)
        assert scalper.positions[0].contracts == 3
        router.fills = [0]
        other = OptionsScalper(CONFIG, router)
        assert run(other.process_signal(signal())).position is None
        assert other.positions == []

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"conviction": 49}, "conviction 49"),
            ({"macro_bias": -1}, "10-minute bias is bearish"),
            ({"macro_bias": 0}, "10-minute bias is neutral"),
            ({"macro_bias": None}, "not known yet"),
            ({"volume_ratio": 1.5}, "must be above 1.50"),
            ({"volume_ratio": None}, "volume not known"),
            ({"ticker": "GME"}, "not in scalp_tickers"),
            ({"ticker": "SPX"}, "SPX is scalped at ibkr alone"),
        ],
    )
    def test_the_filters(self, change, why):
        scalper = OptionsScalper(CONFIG, Router(row()))
        assert scalper._should_scalp(signal())
        assert not scalper._should_scalp(signal(**change))
        assert run(scalper.process_signal(signal(**change))) is None
        assert any(why in reason for reason in scalper.refusals)
        assert scalper.router.sent == []

    def test_every_reason_is_given_together(self):
        scalper = OptionsScalper(CONFIG, Router(row()))
        run(scalper.process_signal(signal(conviction=10, macro_bias=-1, volume_ratio=0.5, ticker="GME")))
        assert len(scalper.refusals) == 4

    def test_three_scalps_at_most_and_none_beside_a_loser(self):
        rows = [row(500 + place, 0.40 + place / 1000) for place in range(4)]
        router = Router(*rows)
        scalper = OptionsScalper(CONFIG, router)
        for place in range(3):
            router.rows = (rows[place],)
            assert run(scalper.process_signal(signal())) is not None
            router.quotes[rows[place].option_symbol] = (1.30, 1.34)
        router.rows = (rows[3],)
        assert run(scalper.process_signal(signal())) is None
        assert scalper.refusals == ("3 scalps open, most 3",)
        loser = OptionsScalper(CONFIG, router)
        router.rows = (rows[0],)
        run(loser.process_signal(signal()))
        router.quotes[rows[0].option_symbol] = (1.00, 1.04)
        router.rows = (rows[3],)
        assert run(loser.process_signal(signal())) is None
        assert loser.refusals == ("a scalp in SPY is losing",)

    def test_pending_orders_count_and_no_second_order_is_sent_for_a_contract(self):
        router = Router(row())
        scalper = OptionsScalper(CONFIG, router)

        async def reentrant(order):
            router.sent.append(order)
            assert await scalper.process_signal(signal()) is None
            assert scalper.refusals == ("SPY250204C00500000 is held or ordered already",)
            return RoutedFill(order.contracts, order.limit_price)

        router.submit = reentrant
        run(scalper.process_signal(signal()))
        assert len(router.sent) == 1

    def test_monitoring_sells_at_the_cutoff_and_ends_when_nothing_is_left(self):
        router = Router(row())
        scalper = OptionsScalper(CONFIG, router)
        run(scalper.process_signal(signal()))
        run(scalper.monitor_positions())
        assert scalper.positions == []
        assert router.clock == moment(clock=time(14))
        sale = router.sent[-1]
        assert (sale.side, sale.contracts, sale.limit_price) == (Side.SELL, 8, Decimal("1.19"))

    def test_monitoring_marks_and_takes_the_target_at_the_mid(self):
        router = Router(row())
        scalper = OptionsScalper(CONFIG, router)
        run(scalper.process_signal(signal()))
        symbol = scalper.positions[0].option_symbol
        router.quotes[symbol] = (1.40, 1.44)
        assert run(scalper.check_positions()) == []
        assert scalper.positions[0].unrealized_pnl == pytest.approx((1.42 - 1.25) * 800)
        assert scalper.positions[0].unrealized_pnl_pct == pytest.approx(1.42 / 1.25 - 1)
        router.quotes[symbol] = (1.60, 1.64)
        router.fills = [5]
        assert run(scalper.check_positions()) == []
        assert router.sent[-1].limit_price == Decimal("1.62")
        (closed,) = run(scalper.check_positions())
        assert closed.contracts == 0
        assert router.sent[-1].contracts == 3

    def test_the_clouds_of_its_own_bars_lead_to_the_second_half(self):
        router = Router(row())
        router.clock = moment(clock=time(10, 0, 30))
        scalper = OptionsScalper(CONFIG, router)
        run(scalper.process_signal(signal()))
        close_ns = new_york_ns(TUESDAY, time(10, 1))
        router.quotes[scalper.positions[0].option_symbol] = (1.26, 1.30)
        router.clock = moment(clock=time(10, 1))
        # the first bar is its own average: its low touches the cloud and its close lies on it, not beyond
        run(scalper.on_bar("SPY", bar_event(0, 500.0, low=499.0, end_ns=close_ns)))
        assert len(router.sent) == 1
        other = OptionsScalper(CONFIG, Router(row()))
        other.router.clock = moment(clock=time(10, 0, 30))
        run(other.on_bar("SPY", bar_event(0, 499.0, end_ns=close_ns - 60 * 10**9)))
        run(other.process_signal(signal()))
        other.router.quotes = router.quotes
        run(other.on_bar("SPY", bar_event(0, 501.0, low=499.0, end_ns=close_ns)))
        # 8 at 1.25 and 7 at 1.30 risk 955 of the 1,000; an eighth would make it 1,020
        assert [one.contracts for one in other.router.sent] == [8, 7]
        assert other.positions[0].contracts == 15
        assert other.positions[0].entry_price == pytest.approx((8 * 1.25 + 7 * 1.30) / 15)

    def test_after_the_cutoff_tomorrows_option_is_bought_whatever_the_chain_says(self):
        tomorrow = row(expiry=TUESDAY + timedelta(days=1), option_symbol="SPY250205C00500000")
        router = Router(row(), tomorrow)
        router.clock = moment(clock=time(14))
        result = run(OptionsScalper(CONFIG, router).process_signal(signal(timestamp=router.clock)))
        assert result.option_symbol == "SPY250205C00500000"

    def test_the_order_of_one_bar_length_is_returned_where_the_other_is_refused(self, monkeypatch):
        monkeypatch.setattr(CloudWatch, "signal", lambda _, seconds: signal(timeframe=f"{seconds // 60}m"))
        scalper = OptionsScalper(ScalpConfig(signal_minutes=(1, 5)), Router(row()))
        scalper.router.clock = moment(clock=time(10))
        bar = bar_event(0, 500.0, end_ns=new_york_ns(TUESDAY, time(10)))
        result = run(scalper.on_bar("SPY", bar))
        assert (result.signal_id, result.contracts_filled) == (signal().signal_id, 8)
        assert scalper.refusals == ("a scalp in SPY is losing",)

    @pytest.mark.parametrize(("filled", "left"), [(7, 7), (0, 0)])
    def test_a_second_half_that_is_filled_after_the_exit_is_sold_too(self, filled, left):
        router = Router(row())
        router.clock = moment(clock=time(10, 0, 30))
        scalper = OptionsScalper(CONFIG, router)
        close_ns = new_york_ns(TUESDAY, time(10, 1))
        run(scalper.on_bar("SPY", bar_event(0, 499.0, end_ns=close_ns - 60 * 10**9)))
        run(scalper.process_signal(signal()))
        symbol = scalper.positions[0].option_symbol
        router.quotes[symbol] = (1.26, 1.30)
        send = router.submit

        async def submit(order):
            if order.side is Side.BUY:  # it rests while the monitor stops the first half out
                router.quotes[symbol] = (0.50, 0.54)
                for _ in range(3):
                    router.clock += timedelta(seconds=1)
                    await scalper.check_positions()
                router.fills = [filled]
            return await send(order)

        router.submit = submit
        run(scalper.on_bar("SPY", bar_event(0, 501.0, low=499.0, end_ns=close_ns)))
        assert [(one.side, one.contracts) for one in router.sent[1:]] == [(Side.SELL, 8), (Side.BUY, 7)]
        assert [position.contracts for position in scalper.positions] == [left]
        run(scalper.monitor_positions())
        assert scalper.positions == []
        sold = [one.contracts for one in router.sent if one.side is Side.SELL]
        assert sum(sold) == 8 + filled


# on the desk ------------------------------------------------------------------------------------------


def test_half_is_bought_with_one_limit_order_at_mid_plus_two_cents():
    bench = EmaBench()
    order = bench.enter()
    assert (order.side, order.order_type, order.purpose) == (Side.BUY, OrderType.LIMIT, Purpose.OPEN)
    known = bench.desk.engine.desk.market.quotes[order.instrument_id]
    assert float(order.limit_price) == pytest.approx(known.ask)  # two cents above the mid is beyond the ask
    bench.spread = 0.08
    wide = EmaBench()
    wide.spread = 0.08
    order = wide.enter()
    known = wide.desk.engine.desk.market.quotes[order.instrument_id]
    assert float(order.limit_price) == pytest.approx(0.5 * (known.bid + known.ask) + 0.02)


def test_flips_of_both_bar_lengths_at_one_close_buy_a_contract_once():
    bench = EmaBench(signal_minutes=(1, 5))
    bench.clouds.lengths = (60, 300)
    order = bench.enter("10:00")
    assert bench.reasons == (
        "skipped: SPY240304C00500000 is held or ordered already",
        "fast cloud of 5m flipped bullish, conviction 80",
    )
    bench.desk.wait(1).fill(order, price=float(order.limit_price))
    bench.quote(order, 0.30)
    (sale,) = orders(bench.quote(order, 0.30))
    assert sale.quantity == order.quantity
    bench.desk.wait(1).fill(sale, price=0.29)
    assert (bench.desk.positions, bench.strategy.scalps) == ({}, [])


def test_an_entry_that_is_not_filled_in_time_is_cancelled_and_keeps_its_part():
    bench = EmaBench()
    order = bench.enter()
    bench.desk.accept(order)
    bench.desk.wait(5)
    bench.desk.fill(order, 1, price=float(order.limit_price))
    assert not cancels(bench.desk.wait(9).timer())
    assert cancels(bench.desk.wait(1).timer()) == [order.client_order_id]
    bench.desk.cancelled(order.client_order_id)
    assert list(bench.desk.positions.values()) == [1]
    assert len(bench.strategy.scalps) == 1


def test_an_entry_without_a_fill_leaves_nothing():
    bench = EmaBench()
    order = bench.enter()
    bench.desk.accept(order)
    assert cancels(bench.desk.wait(15).timer())
    bench.desk.cancelled(order.client_order_id)
    assert bench.strategy.scalps == []
    assert "ended without a fill" in bench.reasons[0]


@pytest.mark.parametrize(
    ("candle_prices", "mid_change", "adds"),
    [
        ((500.2, 500.5, 499.9, 500.4), 0.05, True),
        ((500.2, 500.5, 500.1, 500.4), 0.05, False),
        ((500.2, 500.5, 499.9, 500.0), 0.05, False),
        ((500.2, 500.5, 499.9, 500.4), -0.05, False),
    ],
)
def test_the_second_half_follows_a_first_candle_that_tests_the_cloud_and_holds(
    candle_prices, mid_change, adds
):
    bench = EmaBench(profit_target_pct=5.0)
    order = bench.bought()
    end_ns = new_york_ns(DAY, time(10, 1))
    bench.clouds.show(end_ns, *candle_prices, top=500.0, bottom=499.8)
    bench.quote(order, float(order.limit_price) + mid_change, seconds=58)
    bench.desk.go_to("10:01")
    outputs = bench.desk.handle(bar_event(0, 500.0, end_ns=end_ns))
    bought = [one for one in orders(outputs) if one.side is Side.BUY]
    assert bool(bought) is adds
    if adds:  # as many as the first half, but for the budget of 2,000 at a stop of half the premium
        assert (order.quantity, order.limit_price) == (22, Decimal("0.93"))
        assert (bought[0].quantity, bought[0].limit_price) == (19, Decimal("0.99"))
        assert 22 * 46.5 + 19 * 49.5 < 0.02 * 100_000 < 22 * 46.5 + 20 * 49.5
        assert bought[0].instrument_id == order.instrument_id
    bench.clouds.show(end_ns + 60 * 10**9, *candle_prices, top=500.0, bottom=499.8)
    assert [one for one in orders(bench.minute("10:02")) if one.side is Side.BUY] == []


def test_a_second_half_without_room_in_the_budget_is_not_bought():
    assert ScalpSizer(CONFIG).room(Decimal("1.30"), Decimal(8), Decimal("1.25"), 50_000.0) == 7
    assert ScalpSizer(CONFIG).room(Decimal("1.25"), Decimal(8), Decimal("1.25"), 50_000.0) == 8
    bench = EmaBench(profit_target_pct=50.0, max_risk_per_scalp=0.001)
    bench.bought()
    bench.clouds.show(new_york_ns(DAY, time(10, 1)), 500.2, 500.5, 499.9, 500.4, top=500.0, bottom=499.8)
    outputs = bench.minute("10:01", spot=500.25)
    assert orders(outputs) == []
    why = decisions(outputs)[0].reasons
    assert why[0] == "skipped: a second half at 1.18 may lose more than 0.1% of the equity with the first"


def test_a_first_candle_that_closes_while_the_desk_is_halted_buys_no_second_half_after_it():
    bench = EmaBench(profit_target_pct=5.0)
    bench.bought()
    bench.clouds.show(new_york_ns(DAY, time(10, 1)), 500.2, 500.5, 499.9, 500.4, top=500.0, bottom=499.8)
    bench.desk.operate("halt")
    outputs = bench.minute("10:01", spot=500.25)
    outputs += bench.desk.operate("resume") + bench.minute("10:02", spot=500.25)
    assert orders(outputs) == []
    assert "skipped: the desk is halted" in [one.reasons[0] for one in decisions(outputs)]


def test_a_rejected_entry_is_dropped():
    bench = EmaBench()
    bench.desk.reject(bench.enter())
    assert bench.strategy.scalps == []


def test_the_iv_rank_comes_with_an_event_and_an_unknown_one_rejects_tomorrows_options():
    bench = EmaBench(days=1)
    assert orders(bench.minute("10:00", flip=1)) == []
    assert "iv_rank_unknown" in bench.reasons[0]
    now_ns = bench.desk.now_ns
    past = tuple(0.10 + place / 1000 for place in range(200))
    bench.desk.handle(ImpliedVolEvent(0, now_ns, now_ns, 0.295, past, "VIX"))
    assert orders(bench.minute("10:01", flip=1)) == []
    assert "IV rank 0.98" in bench.reasons[0]
    bench.desk.handle(ImpliedVolEvent(0, now_ns + 1, bench.desk.now_ns, 0.12, past, "VIX"))
    outputs = bench.minute("10:02", flip=1)
    assert orders(outputs) or "theta_burn" in bench.reasons[0]


def test_a_scalp_that_expires_in_the_desks_hands_is_reported_as_expired():
    from scalpdesk.core.enums import ChangeCause
    from scalpdesk.core.events import PositionChanged

    bench = EmaBench()
    order = bench.bought()
    now_ns, none = bench.desk.now_ns, Decimal(0)
    change = PositionChanged(
        order.instrument_id, now_ns, now_ns, ChangeCause.EXPIRED_WORTHLESS, -order.quantity, none, none, "x"
    )
    bench.desk.handle(change)
    assert decisions(bench.desk.outputs)[-1].facts["exit_reason"] == "expired"
    assert bench.strategy.scalps == []


@pytest.mark.parametrize(
    "settings",
    [
        {"target_delta_min": 0.6},
        {"zero_dte_cutoff": "09:00"},
        {"zero_dte_cutoff": "15:45"},
        {"signal_minutes": (2,)},
        {"signal_minutes": ()},
        {"max_loss_pct": 0.0},
        {"scalp_start_time": "early"},
        {"venue": "nowhere"},
        {"entry_order_type": "market"},
        {"second_half": "first candle"},
        {"price_source": "ohlc4"},
        {"scalp_tickers": "SPY"},
    ],
)
def test_settings_out_of_bounds_are_refused(settings):
    with pytest.raises(ConfigError):
        ScalpConfig(**settings)


def test_a_script_may_name_the_price_source_by_its_text():
    assert ScalpConfig(price_source="hl2").price_source is PriceSource.HL2


def test_the_documents_defaults():
    config = ScalpConfig()
    assert config.scalp_tickers == ["SPY", "QQQ", "NVDA", "TSLA", "AAPL", "MSFT", "META", "AMZN"]
    assert (config.max_concurrent_scalps, config.fill_timeout_seconds) == (3, 15)
    assert (config.profit_target_pct, config.max_loss_pct) == (0.25, 0.50)
    assert to_ns(moment()) == new_york_ns(TUESDAY, time(10))


def test_three_scalps_at_most_counting_the_one_that_is_still_being_bought():
    bench = EmaBench(profit_target_pct=50.0, no_average_up=False, second_half="never")
    for place in range(2):
        order = bench.enter(f"10:0{place}", spot=499.75 + place)
        bench.desk.wait(1)
        bench.desk.fill(order, price=float(order.limit_price))
    bench.enter("10:02", spot=501.75)
    assert len(bench.desk.positions) == 2
    assert [one for one in orders(bench.minute("10:03", spot=502.75, flip=1)) if one.side is Side.BUY] == []
    found = [one.reasons[0] for one in decisions(bench.desk.outputs)]
    assert "skipped: 3 scalps open, most 3" in found


def test_a_fill_after_the_venues_cancel_that_makes_a_fourth_scalp_is_sold_at_once_and_reported():
    bench = EmaBench(profit_target_pct=50.0, no_average_up=False, second_half="never")
    desk = bench.desk
    late = bench.enter("10:00")
    desk.wait(1).accept(late)
    desk.wait(15).timer()
    desk.cancelled(late.client_order_id)
    for place in (1, 2, 3):
        order = bench.enter(f"10:0{place}", spot=499.75 + place)
        desk.wait(1).fill(order, price=float(order.limit_price))
    outputs = desk.wait(1).fill(late, price=float(late.limit_price))
    assert len(desk.positions) == 4
    (sold,) = orders(outputs)
    assert (sold.side, sold.instrument_id, sold.quantity) == (Side.SELL, late.instrument_id, late.quantity)
    alert = next(one for one in decisions(outputs) if one.kind == "alert")
    assert alert.reasons[0].endswith("was filled after it had ended: 4 scalps, most 3; it is sold")
    desk.wait(1).fill(sold, price=float(sold.limit_price))
    last = decisions(desk.outputs)[-1]
    assert (last.facts["exit_reason"], len(desk.positions)) == ("surplus", 3)


def test_a_purchase_taken_back_after_its_sale_is_bought_back():
    bench = EmaBench(second_half="never")
    desk, order = bench.desk, bench.bought()
    sale = orders(bench.minute(flip=-1))[0]
    desk.fill(sale)
    assert desk.positions == {}
    execution = next(iter(desk.engine.desk.orders.orders[order.client_order_id].executions))
    when = (desk.wait(5).now_ns, desk.now_ns)
    outputs = desk.handle(FillBusted(order.client_order_id, *when, execution, "erroneous"))
    assert desk.positions == {order.instrument_id: -order.quantity}
    (cover,) = orders(outputs)
    assert (cover.side, cover.quantity, cover.purpose) == (Side.BUY, order.quantity, Purpose.CLOSE)
    desk.wait(1).fill(cover)
    assert desk.positions == {}


def test_a_ten_minute_bar_that_is_missing_holds_the_entry_back():
    session = session_on(TUESDAY)
    now_ns = new_york_ns(TUESDAY, time(10, 5))
    known = {"cloud": None, "minutes": 10}
    for end, missing in ((time(10), False), (time(9, 50), True)):
        state = MacroState(1, bar_end_ns=new_york_ns(TUESDAY, end), **known)
        found = ScalpMoment(now_ns, session, "alpaca", ALPACA_CUTOFF, 0, 0, state)
        refusals = EntryPlanner(CONFIG).refusals(signal(), found)
        assert refusals == (("the last 10-minute bar is missing",) if missing else ())
    early = MacroState(1, bar_end_ns=new_york_ns(date(2025, 2, 3), time(16)), **known)
    at_ns = new_york_ns(TUESDAY, time(9, 36))
    assert (
        EntryPlanner(CONFIG).refusals(
            signal(), ScalpMoment(at_ns, session, "alpaca", ALPACA_CUTOFF, 0, 0, early)
        )
        == ()
    )


def test_a_high_rank_halves_the_size_and_never_to_nothing():
    tomorrow = chain(row(expiry=TUESDAY + timedelta(days=1)))
    planner = EntryPlanner(CONFIG)
    full, reduced = (planner.plan(signal(iv_rank=rank), tomorrow, 50_000.0) for rank in (0.5, 0.7))
    assert (sum(full.halves), sum(reduced.halves)) == (16, 8)
    small = planner.plan(signal(iv_rank=0.7), tomorrow, 3_200.0)
    assert sum(small.halves) == 1
    assert small.risk_usd == Decimal("62.5")


def test_a_conviction_without_a_size_is_named():
    reasons = EntryPlanner(CONFIG).plan(signal(conviction=45), chain(row()), 50_000.0)
    assert reasons == ("a conviction of 45 has no size: half from 50, all from 75",)


def test_the_second_half_at_a_bounce_waits_for_it():
    planner = EntryPlanner(ScalpConfig(second_half="bounce"))
    above = candle(10.2, 10.5, 10.1, 10.4, top=10.0, bottom=9.9)
    touch = candle(10.4, 10.45, 9.98, 10.1, top=10.0, bottom=9.9)
    assert planner.is_add_due([], 1) is None
    assert planner.is_add_due([touch], 1) is None
    assert planner.is_add_due([above, touch, above], 1) is True
    first = EntryPlanner(CONFIG)
    assert first.is_add_due([touch, above], 1) is True
    assert first.is_add_due([above, touch], 1) is False


@pytest.mark.parametrize("overnight", [False, True])
def test_options_of_later_days_are_sold_before_the_close_unless_they_are_kept_overnight(overnight):
    end_ns = None if overnight else session_end_ns(session_on(TUESDAY))
    late = trade(now_ns=new_york_ns(TUESDAY, time(15, 55)), cutoff_ns=None, session_end_ns=end_ns)
    assert next_exit(exit_rules(CONFIG), late) == (None if overnight else "session_end")


# laws, whatever the market and the venue do -----------------------------------------------------------

CUTOFF = new_york_ns(DAY, time(14))
MOST = 3

steps = st.one_of(
    st.tuples(st.just("move"), st.integers(-60, 60)),
    st.tuples(st.just("minute"), st.sampled_from([-1, 0, 0, 1])),
    st.tuples(st.just("test"), st.sampled_from([-1, 1])),
    st.tuples(st.just("fill"), st.integers(1, 40)),
    st.tuples(st.just("reject"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 40)),
    st.tuples(st.just("late"), st.integers(1, 5)),
    st.tuples(st.just("spread"), st.integers(1, 9)),
)


class Venue:
    """Does to the oldest live order what the example says, and sees that no law is broken."""

    def __init__(self, **config):
        self.bench = EmaBench(**config)
        self.desk = self.bench.desk
        self.cents = round(SPOT * 100)
        self.seen = 0
        self.was_late = False
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
        spot = self.cents / 100
        if what == "move":
            self.cents += amount
            desk.wait(3).market(self.cents / 100, option_spread=self.bench.spread)
        elif what == "minute":
            self.bench.minute(spot=spot, flip=amount)
        elif what == "test":
            self.show_test(amount)
            self.bench.minute(spot=spot)
        elif what == "wait":
            desk.wait(amount).timer()
        elif what == "spread":
            self.bench.spread = amount / 100
        elif what == "late":
            self.fill_late(amount)
        elif live and what == "fill":
            order = live[0]
            desk.wait(1).fill(
                order.submitted, min(amount, int(order.leaves)), float(order.submitted.limit_price)
            )
        elif live and what == "reject" and not live[0].filled:
            desk.wait(1).reject(live[0].submitted)
        self.check()

    def show_test(self, sign):
        """Let the next candle test the cloud and hold."""
        minute_ns = 60 * 10**9
        end_ns = self.desk.now_ns + minute_ns - (self.desk.now_ns - self.desk.session.open_ns) % minute_ns
        spot = self.cents / 100
        edges = {"top": spot, "bottom": spot - 0.1} if sign > 0 else {"top": spot + 0.1, "bottom": spot}
        self.bench.clouds.show(end_ns, spot, spot + 0.2, spot - 0.2, spot + 0.1 * sign, **edges)

    def fill_late(self, count):
        """Fill the last cancelled purchase: it happened before the venue's last answer."""
        for order in reversed(self.desk.engine.desk.orders.orders.values()):
            left = order.submitted.quantity - order.filled
            if order.state is OrderState.CANCELLED and order.submitted.side is Side.BUY and left:
                self.was_late = True
                price = float(order.submitted.limit_price)
                self.desk.wait(1).fill(order.submitted, min(count, int(left)), price)
                return

    def check(self):
        book = self.desk.engine.desk
        sent = [one for one in self.desk.outputs[self.seen :] if isinstance(one, SubmitOrder)]
        self.seen = len(self.desk.outputs)
        for order in sent:
            self.check_order(order)
        buys = [one.submitted.instrument_id for one in self.orders if one.submitted.side is Side.BUY]
        assert len(buys) == len(set(buys)), "two live orders for one entry"
        held = set(self.desk.positions)
        if not self.was_late:
            assert len(held | set(map(int, buys))) <= MOST
        # a fill after the venue's cancel may make a fourth: it is being sold
        scalps = self.bench.strategy.scalps
        assert held <= {int(scalp.number) for scalp in scalps}
        assert len([scalp for scalp in scalps if not scalp.exit.why]) <= MOST
        for number, quantity in self.desk.positions.items():
            offered = sum(
                one.leaves
                for one in self.orders
                if one.submitted.instrument_id == number and one.submitted.side is Side.SELL
            )
            assert 0 <= offered <= quantity
        assert not book.positions.quantity(0), "shares are never traded"

    def check_order(self, order):
        """Orders are limits on the tick; a buy is never above the ask and never past the cut-off."""
        rule = self.desk.book[order.instrument_id].tick_rule
        assert order.order_type is OrderType.LIMIT
        assert order.limit_price > 0
        assert order.limit_price % rule.tick_at(order.limit_price) == 0
        created_ns = self.desk.engine.desk.orders.orders[order.client_order_id].created_ns
        assert (order.purpose is Purpose.OPEN) is (order.side is Side.BUY)
        if order.side is Side.BUY:
            quote = self.desk.engine.desk.market.quotes[order.instrument_id]
            assert float(order.limit_price) <= quote.ask + 1e-9
            assert created_ns < CUTOFF


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([-1, 1]),
    st.sampled_from(["first_candle", "bounce"]),
    st.booleans(),
    st.integers(1, 9),
    st.lists(steps, max_size=40),
)
@example(1, "first_candle", False, 2, [("test", 1)])  # the rest of the first half is still being cancelled
def test_the_laws_hold_and_nothing_is_held_after_the_cutoff(direction, second_half, strict, cents, plan):
    venue = Venue(second_half=second_half, no_average_up=strict)
    venue.bench.spread = cents / 100
    venue.do("minute", direction)  # begin with something held: the laws are about getting rid of it
    if not venue.orders:
        return  # the spread is too wide for any contract
    venue.do("fill", 10)
    for step in plan:
        venue.do(*step)
    if venue.desk.now_ns < CUTOFF:
        venue.desk.go_to("14:00")
    for _ in range(40):  # a venue that fills whatever it is sent: what was refused is asked again
        venue.do("wait", 30)
        venue.do("move", 0)
        for _ in range(len(venue.orders)):
            venue.do("fill", 40)
    assert venue.desk.positions == {}
    assert not venue.orders
    exits = [one for one in decisions(venue.desk.outputs) if one.kind == "exit"]
    assert not [reason for one in exits for reason in one.reasons if "held" in reason and "sell " in reason]
