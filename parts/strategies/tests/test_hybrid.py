"""Hybrid: who trades at which volatility, and how the one hands over to the other."""

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.base import BarEvent, ConfigError, OrderType, Session, Side, next_session
from scalpdesk.core.events import DividendEvent, ForecastEvent
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig
from scalpdesk.strategies.registry import find_strategy, member_names
from scalpdesk.strategies.several.strategy import SharedConfig
from scalpdesk_strategies.hybrid import HIGH, LOW, Hybrid, HybridConfig, who_trades
from scalpdesk_strategies.st0cka.strategy import St0ckaConfig
from scalpdesk_testing.kit.desk import HandDesk, cancels, decisions, orders

D = Decimal
A, G = LOW, HIGH


def path(vols: Sequence[float | None], hysteresis: float) -> list[str]:
    """The strategy that trades after each of these volatilities."""
    now, found = A, []
    for vol in vols:
        now = who_trades(now, vol, 0.20, hysteresis)
        found.append(now)
    return found


# the rule ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vols", "hysteresis", "expected"),
    [
        ((0.12, 0.20, 0.21, 0.19, 0.17), 0.02, [A, A, G, G, A]),
        ((0.12, 0.20, 0.21, 0.19), 0.0, [A, A, G, A]),
        ((0.21, 0.18), 0.02, [G, A]),  # at the lower edge it goes back
        ((0.21, 0.1800001), 0.02, [G, G]),
        ((0.30, None, 0.19, None), 0.02, [G, A, A, A]),
        ((0.1 + 0.1,), 0.02, [A]),
    ],
)
def test_who_trades_at_which_volatility(vols, hysteresis, expected):
    assert path(vols, hysteresis) == expected


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=50), st.floats(0.0, 0.1))
def test_hysteresis_only_ever_takes_handovers_away(vols, hysteresis):
    def handovers(found: list[str]) -> int:
        return sum(one != other for one, other in pairwise(found))

    assert handovers(path(vols, hysteresis)) <= handovers(path(vols, 0.0))
    for vol, who in zip(vols, path(vols, hysteresis), strict=True):
        if vol > 0.2 + 1e-9:
            assert who == G
        if vol < 0.2 - hysteresis - 1e-9:
            assert who == A


@pytest.mark.parametrize(
    "wrong",
    [
        {"hysteresis": 0.2},
        {"hysteresis": -0.01},
        {"dwell_minutes": -1.0},
        {"dwell_minutes": math.nan},
        {"volatility_threshold_for_gamma": -1.0},
        {"volatility_threshold_for_gamma": math.nan},
        {"volatility": -0.2},
    ],
)
def test_figures_that_mean_nothing_are_refused_by_their_own_key(wrong):
    with pytest.raises(ConfigError) as refused:
        HybridConfig(**wrong)
    assert refused.value.where == next(iter(wrong))
    assert refused.value.fix


def test_its_members_flags_and_settings_are_found_by_name():
    assert member_names("hybrid") == (A, G)
    found = find_strategy("hybrid")
    assert found.config is HybridConfig
    assert "strategies.st0cka.use_volatility_sizing=false" in found.flags["--volatility-off"]
    with pytest.raises(ConfigError, match="each is a single strategy"):
        find_strategy("hybrid+st0ckg")


# on a desk --------------------------------------------------------------------------------------------


class HybridDesk(HandDesk):
    """A hybrid's desk; st0cka may buy all day, the gamma scalper enters whatever its gate says."""

    def __init__(self, adopts: str | None = None, **config: object) -> None:
        shared = SharedConfig(
            [find_strategy(A), find_strategy(G)],
            {
                A: St0ckaConfig(buy_until="15:00", sell_until="15:30"),
                G: GammaScalperConfig(entry=EntryConfig(gate="off")),
            },
            {},
            adopts,
            own=HybridConfig(**({"source": "forecast"} | config)),
        )
        self.hybrid = Hybrid(shared)
        super().__init__(self.hybrid, limits=RiskLimits(max_daily_loss=D(90_000), max_position_fraction=1.0))

    def forecast(self, vol: float, reason: str = "") -> None:
        """Tell the desk a forecast."""
        now_ns = self.now_ns
        self.handle(ForecastEvent(0, now_ns, now_ns, "har", 5, vol, vol, vol, 0.0, reason))

    def at(self, clock_time: str, spot: float = 500.0) -> tuple[object, ...]:
        """Go to a time and quote everything."""
        self.go_to(clock_time)
        return self.market(spot)

    def years(self, start_ns: int, end_ns: int) -> float:
        """Years of the variance clock."""
        return self.engine.desk.delta_engine.variance_years(start_ns, end_ns)

    def held(self, name: str) -> dict[int, int]:
        """Holdings of a strategy, by number."""
        book = self.engine.desk.books.of(name)
        return {int(one.instrument_id): int(one.quantity) for one in book.positions.held()}


def began(vol: float | None, **config: object) -> HybridDesk:
    """Return a desk that has opened with this forecast."""
    desk = HybridDesk(**config)
    if vol is not None:
        desk.now_ns = desk.session.open_ns
        desk.forecast(vol)
    desk.open()
    return desk


def fill_all(desk: HybridDesk, outputs: Sequence[object]) -> list[object]:
    """Fill whatever goes out, and what follows from that; return everything that came out."""
    seen = list(outputs)
    todo = orders(outputs)
    while todo:
        order = todo.pop(0)
        if order.order_type is OrderType.LIMIT and order.side is Side.SELL:
            continue  # a target rests
        more = desk.fill(order)
        seen += more
        todo += orders(more)
    return seen


def test_a_calm_day_is_st0ckas():
    desk = began(0.12)
    fill_all(desk, desk.at("09:40"))
    assert desk.held(A)
    assert not desk.held(G)
    assert desk.hybrid.phase.startswith("st0cka trades")


def test_a_wild_day_is_the_gamma_scalpers():
    desk = began(0.25)
    desk.at("09:39:50")  # the scalper's spread filter wants a first quote
    fill_all(desk, desk.at("09:40"))
    assert set(desk.held(G)) >= {1, 2}
    assert not desk.held(A)


def test_an_unknown_volatility_buys_least_and_no_straddle():
    for desk in (began(None), began(math.nan)):
        outputs = desk.at("09:40")
        assert [(one.owner, one.quantity) for one in orders(outputs)] == [(A, 1)]


def test_st0cka_buys_least_where_only_the_hybrid_does_not_know():
    desk = began(0.05, source="realized")  # st0cka itself would buy three by the forecast
    outputs = desk.at("09:40")
    assert [one.quantity for one in orders(outputs)] == [1]
    (made,) = [one for one in decisions(outputs) if one.kind == "entry"]
    assert made.reasons[-1] == (
        "smallest size: volatility not known: 0 bars of five minutes closed, 12 needed"
    )


def test_the_outgoing_one_is_flat_before_the_other_enters():
    desk = began(0.12)
    fill_all(desk, desk.at("09:40"))
    lot = desk.held(A)[0]
    (target,) = desk.engine.desk.orders.live
    desk.forecast(0.30)
    outputs = desk.at("09:50")
    assert cancels(outputs) == [target]
    assert desk.hybrid.outgoing == A
    assert [one.owner for one in orders(outputs)] == []
    outputs = desk.cancelled(target)
    assert not desk.held(G)
    more = desk.at("09:50:10")
    (sale,) = orders([*outputs, *more])
    assert (sale.owner, sale.side, sale.quantity, sale.order_type) == (A, Side.SELL, lot, OrderType.MARKET)
    assert not orders(desk.at("09:50:20"))  # the straddle waits for the sale's fill
    outputs = desk.fill(sale)
    words = [one.reasons[0] for one in decisions(outputs) if one.kind == "mode"]
    assert words == ["st0cka is flat: gamma-scalper trades"]
    fill_all(desk, desk.at("09:50:30"))
    assert set(desk.held(G)) >= {1, 2}
    assert not desk.held(A)


def test_a_straddle_leaves_with_its_hedge_last_and_comes_back_later():
    desk = began(0.30)
    fill_all(desk, desk.at("09:40"))
    fill_all(desk, desk.at("09:40:10"))
    fill_all(desk, desk.at("09:45", 505.0))  # the move makes it hedge
    assert desk.held(G)[0] < 0
    desk.forecast(0.10)
    outputs = fill_all(desk, desk.at("10:15", 505.0))
    outputs += fill_all(desk, desk.at("10:15:10", 505.0))
    sent = [(one.instrument_id, one.purpose.value) for one in orders(outputs) if one.owner == G]
    assert [purpose for _, purpose in sent] == ["close", "close", "unwind_hedge"]
    assert not desk.held(G)
    leaving = [one for one in decisions(outputs) if one.kind == "exit" and one.facts["strategy"] == G]
    words = "handover to st0cka: volatility 10.0% by har, bars before the session"
    firsts = [one.reasons[0] for one in leaving]
    assert firsts == [words, words, f"flat: {words}"]  # and no risk halt, which reports give as the reason
    fill_all(desk, desk.at("10:16", 505.0))
    assert desk.held(A)
    for order in list(desk.engine.desk.orders.live.values()):
        desk.fill(order.submitted, price=506.0)
    assert not desk.held(A)
    desk.forecast(0.30)
    for clock_time in ("11:00", "11:00:10", "11:00:20", "11:00:30"):
        for one in cancels(outputs := desk.at(clock_time, 500.0)):
            desk.cancelled(one)
        fill_all(desk, outputs)
    assert set(desk.held(G)) >= {1, 2}  # it was done after its exit, and has begun afresh


def test_a_straddle_taken_over_is_the_scalpers_until_it_has_left():
    desk = HybridDesk(adopts=G)
    desk.now_ns = desk.session.open_ns
    desk.adopt({1: (1, "12"), 2: (1, "12")})
    desk.forecast(0.10)
    desk.open()
    assert (desk.hybrid.trading, desk.hybrid.outgoing) == (A, G)  # a calm day: it has to leave
    assert not desk.held(A)
    outputs = fill_all(desk, desk.at("09:40"))
    outputs += fill_all(desk, desk.at("09:40:10"))
    assert {one.owner for one in orders(outputs)} <= {G, A}
    assert not desk.held(G)
    fill_all(desk, desk.at("09:41"))
    assert desk.held(A)


def test_whoever_took_over_stays_for_a_while():
    desk = began(0.30)
    desk.at("09:31")
    desk.forecast(0.10)
    desk.at("09:59")
    assert desk.hybrid.trading == G
    desk.at("10:01")
    assert desk.hybrid.trading == A
    desk.forecast(0.30)
    desk.at("10:29")
    assert desk.hybrid.trading == A


def test_a_night_is_longer_than_any_dwell():
    desk = began(0.30, dwell_minutes=600.0)
    desk.at("15:59")
    desk.close()
    desk.now_ns = next_session(desk.session.day).open_ns
    desk.forecast(0.10)
    desk.open(next_session(desk.session.day))
    assert desk.hybrid.trading == A


@pytest.mark.parametrize("holds", [False, True])
def test_a_session_begins_as_a_desk_of_that_day_would(holds):
    """Between the thresholds who traded yesterday does not go on, unless a straddle was kept."""
    desk = began(0.30)
    if holds:
        fill_all(desk, desk.at("09:40"))
        fill_all(desk, desk.at("09:40:10"))
        assert desk.held(G)
    desk.at("15:59")
    desk.close()
    desk.now_ns = next_session(desk.session.day).open_ns
    desk.forecast(0.19)
    desk.open(next_session(desk.session.day))
    assert desk.hybrid.trading == (G if holds else A)
    fill_all(desk, desk.at("09:40"))
    assert bool(desk.held(A)) is not holds


def test_bars_bring_the_forecast_up_to_date():
    desk = began(0.16, source="nowcast")
    desk.quote(0, 499.99, 500.01)
    assert desk.hybrid.vol == pytest.approx(0.16)
    spot = 500.0
    for minute in range(1, 16):
        now_ns = desk.session.open_ns + minute * 60 * 10**9
        desk.now_ns = now_ns
        before, spot = spot, spot * (1.002 if minute % 2 else 1.001)
        high, low = max(before, spot), min(before, spot)
        desk.handle(BarEvent(0, now_ns, now_ns, 60, before, high, low, spot, 1_000.0))
    closes = [500.0]
    for minute in range(1, 16):
        closes.append(closes[-1] * (1.002 if minute % 2 else 1.001))
    fives = closes[::5]
    variance = sum(math.log(b / a) ** 2 for a, b in pairwise(fives))
    share = 252 * desk.years(desk.session.open_ns, desk.now_ns)
    assert 15 / 390 < share < 2 * 15 / 390  # the first half hour is the wildest
    expected = math.sqrt(252 * (variance + 0.16**2 / 252 * (1 - share)))
    assert desk.hybrid.vol == pytest.approx(expected)
    assert desk.hybrid.vol > 0.16


@pytest.mark.parametrize("missed_minutes", [0, 195])
def test_an_hour_of_bars_gives_the_realised_volatility(missed_minutes):
    desk = HybridDesk(source="realized")
    whole = desk.session
    opens_ns = whole.open_ns + missed_minutes * 60 * 10**9  # who joins late has a session of his own
    desk.open(Session(whole.day, opens_ns, whole.close_ns))
    for minute in range(1, 61):  # a bar of five minutes at 500.00, one at 500.50, and so on
        desk.now_ns = desk.session.open_ns + minute * 60 * 10**9
        up = 0.5 * ((minute - 1) // 5 % 2)
        desk.quote(0, 499.99 + up, 500.01 + up)
        assert desk.hybrid.vol is None
    desk.wait(1)
    desk.quote(0, 499.99, 500.01)
    move, an_hour = math.log(500.5 / 500.0) ** 2, 3_600 * 10**9
    years = desk.years(opens_ns, opens_ns + an_hour)
    assert desk.hybrid.vol == pytest.approx(math.sqrt(11 * move / years))


@pytest.mark.parametrize("dividend", ["0", "1.212"])
def test_the_gap_of_the_night_is_held_against_the_nights_share_of_the_day(dividend):
    """A night that moves as much as the forecast has it, beside a dividend, leaves the forecast as it was."""
    desk = began(0.16, source="nowcast")
    before = desk.session
    desk.now_ns = before.close_ns - 60 * 10**9
    desk.quote(0, 499.99, 500.01)
    desk.now_ns = before.close_ns
    desk.close()
    after = next_session(before.day)
    if D(dividend):
        desk.handle(DividendEvent(0, desk.now_ns, desk.now_ns, after.open_ns, D(dividend)))
    desk.now_ns = after.open_ns
    desk.forecast(0.16)
    desk.open(after)
    night = desk.years(before.close_ns, after.open_ns)
    spot = (500.0 - float(dividend)) * math.exp(0.16 * math.sqrt(night))
    for second in (1, 61, 62):
        desk.now_ns = after.open_ns + second * 10**9
        desk.quote(0, spot - 0.01, spot + 0.01)
    desk.forecast(0.16)
    assert night > 0.2 / 252
    assert desk.hybrid.vol == pytest.approx(0.16, rel=1e-6)
