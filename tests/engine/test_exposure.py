"""Exposure of a desk in SPY and QQQ: beta-weighted Greeks, and deltas by their correlation."""

import math
from decimal import Decimal

import pytest

from scalpdesk.core.intents import Mark, OrderIntent, Purpose, Side
from scalpdesk.engine.exposure import account_greeks, exposure, exposure_text, note_returns, spots_of
from scalpdesk.instruments.contract import Instruments
from scalpdesk.portfolio.greeks import PositionGreeks
from scalpdesk.risk.caps import Marks, exposure_of
from scalpdesk.risk.limits import RiskLimits
from scalpdesk_testing.kit.desk import HandDesk, Scripted
from scalpdesk_testing.kit.instruments import option, share

SPY, CALL, QQQ, QQQ_CALL = range(4)


def desk_of_two(held, **betas):
    """Return a desk that holds so many units by instrument number."""
    book = Instruments([share(), option("C", 500), share("QQQ"), option("C", 400, root="QQQ")])
    desk = HandDesk(Scripted(), book, limits=RiskLimits(betas=betas))
    desk.engine.desk.divide_by_underlying(["SPY", "QQQ"])
    desk.open()
    quoted(desk, 500.0, 400.0)
    for number, units in held.items():
        side = Side.BUY if units > 0 else Side.SELL
        sent = desk.engine.desk.orders.submit(
            OrderIntent(number, side, Decimal(abs(units)), Purpose.OPEN, "t"), desk.now_ns
        )
        desk.fill(sent)
    return desk


def quoted(desk, spy, qqq):
    for number, price in ((SPY, spy), (CALL, 5.0), (QQQ, qqq), (QQQ_CALL, 4.0)):
        desk.quote(number, price - 0.01, price + 0.01)


def moved(desk, moves):
    """Let both prices go through these relative moves, a minute each, and mark."""
    spy, qqq = 500.0, 400.0
    for first, other in moves:
        spy, qqq = spy * (1.0 + first), qqq * (1.0 + other)
        desk.wait(60)
        quoted(desk, spy, qqq)
        desk.timer("mark")
    return spy, qqq


def test_the_net_delta_is_beta_weighted_dollars_as_the_caps_have_it():
    desk = desk_of_two({SPY: 100, QQQ: -50, QQQ_CALL: 2})
    inner = desk.engine.desk
    found = exposure(inner, desk.now_ns)
    assert list(found["underlyings"]) == list(spots_of(inner)) == ["SPY", "QQQ"]
    lines = [(each.instrument_id, each.instrument, each.float_quantity) for each in inner.positions.held()]
    valuer = inner.delta_engine
    marks = Marks(lambda number: valuer.state(number, desk.now_ns), valuer.mark)
    assert found["net_delta_usd"] == pytest.approx(exposure_of(lines, marks, {}).delta_usd, rel=1e-3)
    assert found["underlyings"]["SPY"] == {"net_delta_shares": 100.0, "beta_delta_usd": 50_000.0}


def test_a_delta_of_another_share_counts_as_its_beta_and_price_of_the_main_one():
    """50 QQQ sold at 400 and a beta of 1.25 are 50 SPY of 500 sold."""
    desk = desk_of_two({SPY: 80, QQQ: -50}, QQQ=1.25)
    inner = desk.engine.desk
    total = account_greeks(inner, desk.now_ns)
    assert total.net_delta_shares == pytest.approx(30.0)
    desk.wait(60)
    quoted(desk, 500.0, 400.0)
    desk.timer("mark")
    (*_, mark) = [each for each in desk.outputs if type(each) is Mark]
    assert mark.net_delta_shares == pytest.approx(30.0)
    assert exposure(inner, desk.now_ns)["net_delta_usd"] == pytest.approx(15_000.0)


def test_gamma_counts_with_the_square_of_the_weight():
    desk = desk_of_two({QQQ_CALL: 3}, QQQ=1.25)
    inner = desk.engine.desk
    own = inner.delta_engine.position_greeks(inner.positions.held(), desk.now_ns)
    total = account_greeks(inner, desk.now_ns)
    assert total.gamma_shares_per_usd == pytest.approx(own.gamma_shares_per_usd) != 0.0  # 1.25 · 400 = 500
    assert total.vega_usd_per_point == own.vega_usd_per_point
    doubled = desk_of_two({QQQ_CALL: 3}, QQQ=2.5)
    twice = account_greeks(doubled.engine.desk, doubled.now_ns)
    assert twice.gamma_shares_per_usd == pytest.approx(4.0 * own.gamma_shares_per_usd)
    doubled.wait(60)
    quoted(doubled, 500.0, 400.0)
    doubled.timer("mark")
    (*_, mark) = [each for each in doubled.outputs if type(each) is Mark]
    assert mark.gamma_shares_per_usd == pytest.approx(twice.gamma_shares_per_usd, rel=1e-3)


@pytest.mark.rows(
    ("sign", "size"), [(1.0, 27_200.0), (-1.0, 72_800.0), (0.0, math.hypot(50_000.0, 22_800.0))]
)
def test_deltas_together_by_the_correlation_of_the_returns(sign, size):
    """50,000 USD long in SPY, 22,800 short in QQQ: in step the difference is left, against it the sum."""
    desk = desk_of_two({SPY: 100, QQQ: -50})
    inner = desk.engine.desk
    assert exposure(inner, desk.now_ns)["combined_delta_usd"] is None
    steps = [(0.001, 0.001), (0.001, -0.001), (-0.001, -0.001), (-0.001, 0.001)]
    spy, qqq = moved(desk, [(a, b if not sign else sign * a) for a, b in steps] * 12)
    quoted(desk, 500.0, 400.0)
    found = exposure(inner, desk.now_ns)
    assert found["correlations"]["SPY/QQQ"] == pytest.approx(sign, abs=0.06)
    assert found["combined_delta_usd"] == pytest.approx(size, rel=0.04)
    assert found["net_delta_usd"] == pytest.approx(27_200.0)
    assert (spy, qqq) != (500.0, 400.0)


def test_a_night_is_no_return():
    desk = desk_of_two({})
    moved(desk, [(0.001, 0.001)] * 5)
    counted = desk.engine.desk.correlation.observations
    desk.close()
    desk.now_ns += 1
    desk.engine.desk.correlation.forget_prices()
    quoted(desk, 600.0, 300.0)
    note_returns(desk.engine.desk, desk.engine.desk.correlation)
    assert desk.engine.desk.correlation.observations == counted == 4


def test_one_underlying_has_the_plain_sum_and_no_exposure():
    desk = HandDesk(Scripted())
    desk.open()
    inner = desk.engine.desk
    assert exposure(inner, desk.now_ns) is None
    assert account_greeks(inner, desk.now_ns) == PositionGreeks(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_the_line_names_each_delta_and_each_pair():
    desk = desk_of_two({SPY: 100, QQQ: -50})
    inner = desk.engine.desk
    early = exposure_text(exposure(inner, desk.now_ns), "USD")
    moved(desk, [(0.001, 0.001), (-0.001, -0.001)] * 20)
    quoted(desk, 500.0, 400.0)
    late = exposure_text(exposure(inner, desk.now_ns), "USD")
    for part in ("+27,200 USD", "SPY +100.0", "QQQ -50.0"):
        assert part in early
        assert part in late
    assert "SPY/QQQ 1.00" in late
    assert "27,200 by" in late


@pytest.mark.rows(("quoted_first", "counted"), [((QQQ,), 0.0), ((SPY,), 0.0), ((SPY, QQQ), 40.0)])
def test_a_share_without_a_price_counts_as_no_number_of_another(quoted_first, counted):
    book = Instruments([share(), option("C", 500), share("QQQ"), option("C", 400, root="QQQ")])
    desk = HandDesk(Scripted(), book, limits=RiskLimits(betas={"QQQ": 1.0, "SPY": 1.0}))
    desk.engine.desk.divide_by_underlying(["SPY", "QQQ"])
    desk.adopt({QQQ: (50, "400")})
    desk.open()
    for number in quoted_first:
        price = 500.0 if number == SPY else 400.0
        desk.quote(number, price - 0.01, price + 0.01)
    inner = desk.engine.desk
    assert account_greeks(inner, desk.now_ns).net_delta_shares == pytest.approx(counted)
    assert [*exposure(inner, desk.now_ns)["underlyings"]] == [
        symbol for number, symbol in ((SPY, "SPY"), (QQQ, "QQQ")) if number in quoted_first
    ]
