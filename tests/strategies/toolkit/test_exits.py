from datetime import date, timedelta
from decimal import Decimal

import pytest

from scalpdesk.core.enums import Mode
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.contract import Right
from scalpdesk.instruments.sessions import session_on
from scalpdesk.strategies.toolkit.exits import (
    Basis,
    BeforeClose,
    CloseAt,
    CreditEarned,
    EdgeGone,
    ExitConfig,
    NearExpiry,
    PositionView,
    RiskHalt,
    ScalpView,
    StopLoss,
    StraddleView,
    TrailingStop,
    first_reason,
    structure_rules,
)
from scalpdesk_strategies.ema_scalper.exits import ScalpTrade
from scalpdesk_strategies.st0cka.strategy import LotView
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.tape import at

D = Decimal
OFF = {"min_dte": None, "stop_fraction": None, "arm_fraction": None, "edge_gone": False}


def view(now="12:00", **changes):
    given = {
        "now_ns": at(now),
        "session": session_on(DAY),
        "mode": Mode.ACTIVE,
        "expiry": DAY + timedelta(days=46),
        "premium_paid": D(1000),
        "pnl": D(0),
        "sessions_held": 0,
        "edge_usd": 10.0,
    }
    return StraddleView(**(given | changes))


def rules(**config):
    return Rules(ExitConfig(**(OFF | config)))


class Rules:
    """The rules of one trade."""

    def __init__(self, config):
        self.rules = structure_rules(config)

    @property
    def is_armed(self):
        return any(isinstance(rule, TrailingStop) and rule.is_armed for rule in self.rules)

    def reason(self, trade):
        return first_reason(self.rules, trade)


def test_nothing_says_to_leave_a_position_that_goes_well():
    assert Rules(ExitConfig()).reason(view()) is None


def test_a_flattening_desk_leaves_first():
    assert rules().reason(view(mode=Mode.FLATTENING)) == "risk halt: the desk is flattening"
    assert rules().reason(view(mode=Mode.REDUCING)) is None


@pytest.mark.parametrize(("days", "leaves"), [(8, False), (7, True), (0, True)])
def test_leave_when_expiry_is_near(days, leaves):
    reason = rules(min_dte=7).reason(view(expiry=DAY + timedelta(days=days)))
    assert reason == (f"expiry: {days} days left, least 7" if leaves else None)


@pytest.mark.parametrize(("pnl", "leaves"), [("-299.99", False), ("-300", True), ("-301", True)])
def test_stop_at_a_fraction_of_the_premium(pnl, leaves):
    reason = rules(stop_fraction=0.30).reason(view(pnl=D(pnl)))
    assert (reason is not None) is leaves
    if leaves:
        assert reason == f"stop: P&L {D(pnl):.2f} is a loss of 30% of the premium 1000.00"


def test_a_profit_runs_until_half_of_the_best_is_given_back():
    one = rules(arm_fraction=0.30)
    assert one.reason(view(pnl=D("299.99"))) is None
    assert not one.is_armed
    assert one.reason(view(pnl=D(300))) is None
    assert one.is_armed
    assert one.reason(view(pnl=D(500))) is None
    assert one.reason(view(pnl=D("250.01"))) is None
    assert one.reason(view(pnl=D(250))) == (
        "trailing: P&L 250.00 gave back 50% of 500.00, armed at 30% of the premium 1000.00"
    )


def test_stop_and_trailing_stop_show_a_coin_straddle_to_the_satoshi():
    coin = {"currency": "BTC", "premium_paid": D("0.0082")}
    assert rules(stop_fraction=0.30).reason(view(pnl=D("-0.003"), **coin)) == (
        "stop: P&L -0.00300000 is a loss of 30% of the premium 0.00820000"
    )
    one = rules(arm_fraction=0.30)
    assert one.reason(view(pnl=D("0.004"), **coin)) is None
    assert one.reason(view(pnl=D("0.002"), **coin)) == (
        "trailing: P&L 0.00200000 gave back 50% of 0.00400000, armed at 30% of the premium 0.00820000"
    )


@pytest.mark.parametrize("basis", Basis)
@pytest.mark.parametrize("pnl", ["0", "-0.01", "5", "-5"])
def test_of_no_capital_at_risk_nothing_is_a_part(basis, pnl):
    every = {"target_fraction": 0.5, "credit_fraction": 0.5, "credit_multiple": 1.0, "giveback_fraction": 0.5}
    one = rules(stop_fraction=0.30, arm_fraction=0.30, **every)
    for stamp in range(3):
        assert one.reason(view(pnl=D(pnl), premium_paid=D(0), basis=basis, quoted_ns=stamp)) is None
    assert not one.is_armed


@pytest.mark.rows(
    ("basis", "config", "pnl", "reason"),
    [
        (Basis.CREDIT, {"stop_fraction": 0.3, "credit_multiple": 1.0}, -999, ""),
        (Basis.CREDIT, {"credit_multiple": 1.0}, -1000, "stop: P&L -1000.00 is a loss of 100% of the credit"),
        (Basis.LOSS, {"stop_fraction": 0.3, "credit_multiple": 1.0}, -300, "stop: P&L -300.00 is a loss of"),
        (Basis.LOSS, {"credit_multiple": 1.0}, -1000, "stop: P&L -1000.00 is a loss of 100% of the largest"),
        (Basis.LOSS, {"credit_fraction": 0.5}, 500, ""),
        (Basis.LOSS, {"target_fraction": 0.5}, 500, "target: P&L 500.00 is 50% of the largest loss of a"),
        (Basis.PREMIUM, {"credit_multiple": 0.1, "credit_fraction": 0.1}, -500, ""),
    ],
)
def test_a_stop_and_a_target_go_by_the_capital_at_risk(basis, config, pnl, reason):
    asked = rules(**({"credit_multiple": None, "credit_fraction": None} | config))
    found = [asked.reason(view(pnl=D(pnl), basis=basis, quoted_ns=stamp)) for stamp in range(3)][-1]
    assert (found or "").startswith(reason)
    assert bool(found) is bool(reason)


def test_the_edge_must_be_gone_three_times_a_minute_apart():
    one = rules(edge_gone=True)
    second = NANOS_PER_SECOND
    start = at("12:00")
    assert one.reason(view(now_ns=start, edge_usd=-1.0)) is None
    assert one.reason(view(now_ns=start + 59 * second, edge_usd=-1.0)) is None  # too soon to count
    assert one.reason(view(now_ns=start + 60 * second, edge_usd=-1.0)) is None
    reason = one.reason(view(now_ns=start + 120 * second, edge_usd=-2.5, edge_slack_usd=0.5))
    below = "3 times more than 0.50 USD below zero (its error, or what leaving costs)"
    assert reason == f"edge gone: -2.50 USD left, {below}"


@pytest.mark.rows(("edge", "leaves"), [(-0.01, False), (-3.0, False), (-3.01, True)])
def test_an_edge_within_its_error_or_what_leaving_costs_is_not_gone(edge, leaves):
    one, minute = rules(edge_gone=True), 60 * NANOS_PER_SECOND
    seen = [one.reason(view(now_ns=i * minute, edge_usd=edge, edge_slack_usd=3.0)) for i in range(5)]
    assert any(seen) is leaves


def test_an_edge_that_returns_starts_the_count_again_and_an_unknown_one_does_not():
    one = rules(edge_gone=True)
    start = at("12:00")
    minute = 60 * NANOS_PER_SECOND
    edges = [-1.0, None, -1.0, 0.0, -1.0, -1.0]
    seen = [one.reason(view(now_ns=start + i * minute, edge_usd=edge)) for i, edge in enumerate(edges)]
    assert seen == [None] * 6
    assert one.reason(view(now_ns=start + 6 * minute, edge_usd=-1.0)).startswith("edge gone")


@pytest.mark.parametrize(("gap_minutes", "leaves"), [(3, True), (4, False), (30, False)])
def test_looks_at_an_edge_count_together_only_while_it_is_known(gap_minutes, leaves):
    one, minute = rules(edge_gone=True), 60 * NANOS_PER_SECOND
    times = [0, 1, 1 + gap_minutes]
    seen = [one.reason(view(now_ns=at("12:00") + each * minute, edge_usd=-1.0)) for each in times]
    assert (seen[-1] is not None) is leaves


def test_an_edge_that_never_was_is_not_gone():
    """A straddle bought whatever the gate says is not sold for what it never had."""
    one = EdgeGone(had_edge=False)
    minute = 60 * NANOS_PER_SECOND
    seen = [one.reason(view(now_ns=i * minute, edge_usd=-1.0)) for i in range(9)]
    assert seen == [None] * 9
    edges = [0.0, -1.0, -1.0, -1.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0]  # one look at an edge is noise
    seen = [
        one.reason(view(now_ns=(9 + i) * minute, edge_usd=edge)) is not None for i, edge in enumerate(edges)
    ]
    assert seen == [False] * 9 + [True]


@pytest.mark.parametrize(("held", "leaves"), [(2, False), (3, True)])
def test_leave_after_so_many_sessions_unless_armed(held, leaves):
    assert (rules(max_sessions=3).reason(view(sessions_held=held)) is not None) is leaves
    armed = rules(max_sessions=3, arm_fraction=0.1)
    armed.reason(view(pnl=D(200)))
    assert armed.reason(view(pnl=D(200), sessions_held=9)) is None


@pytest.mark.parametrize(("now", "leaves"), [("15:44:59", False), ("15:45", True), ("15:59", True)])
def test_leave_at_a_time_of_day(now, leaves):
    reason = rules(close_at="15:45").reason(view(now))
    assert reason == ("clock: 15:45 New York" if leaves else None)


def test_leave_before_the_close_of_a_half_day():
    half = date(2024, 11, 29)
    one = rules(flat_minutes_before_close=10)
    assert one.reason(view(now_ns=at("12:49:59", half), session=session_on(half))) is None
    reason = one.reason(view(now_ns=at("12:50", half), session=session_on(half)))
    assert reason == "clock: 10 minutes before the close at 13:00 New York"


def test_the_first_rule_wins():
    one = rules(min_dte=7, stop_fraction=0.3, close_at="10:00")
    late = view(pnl=D(-900), expiry=DAY)
    assert one.reason(late).startswith("expiry")
    assert one.reason(view(pnl=D(-900))).startswith("stop")


def test_a_time_that_is_none_is_refused():
    with pytest.raises(ConfigError) as caught:
        ExitConfig(close_at="half past three")
    assert caught.value.where == "exits.close_at"


def test_minutes_before_the_options_expire_it_leaves():
    found = rules(minutes_before_expiry=60.0)
    expires_ns = at("12:00") + 61 * 60 * NANOS_PER_SECOND
    assert found.reason(view(expires_ns=expires_ns)) is None
    assert found.reason(view("12:01", expires_ns=expires_ns)) == "expiry: 60 minutes left, least 60"
    assert found.reason(view("12:01")) is None  # where their expiry is not known
    with pytest.raises(ConfigError, match="minutes_before_expiry"):
        ExitConfig(minutes_before_expiry=1_441.0)


@pytest.mark.parametrize(
    ("day", "now", "kinds", "reason"),
    [
        ("2018-01-31", "13:29", ("fomc",), None),
        ("2018-01-31", "13:30", ("fomc",), "event: fomc at 2018-01-31 14:00 New York"),
        ("2018-01-31", "14:01", ("fomc",), None),
        ("2018-02-01", "15:29", ("payrolls",), None),
        ("2018-02-01", "15:30", ("payrolls", "cpi"), "event: payrolls at 2018-02-02 08:30 New York"),
        ("2018-02-01", "15:30", ("cpi",), None),
        ("2018-02-16", "15:30", ("expiry",), "event: expiry at 2018-02-16 16:00 New York"),
        ("2018-03-15", "15:45", ("ex_dividend",), "event: ex dividend at 2018-03-16 09:30 New York"),
        ("2018-03-15", "15:29", ("ex_dividend",), None),
        ("2018-03-15", "15:45", (), None),
    ],
)
def test_leave_before_an_event_and_before_the_night_that_it_ends(day, now, kinds, reason):
    day = date.fromisoformat(day)
    ex = session_on(date(2018, 3, 16)).open_ns
    trade = view(
        now_ns=at(now, day), session=session_on(day), expiry=day + timedelta(46), ex_dividends_ns=(ex,)
    )
    assert rules(before_event=kinds).reason(trade) == reason


@pytest.mark.parametrize("stop", [{"stop_fraction": 0.3}, {"arm_fraction": 0.3, "giveback_fraction": 0.5}])
def test_no_stop_is_decided_on_a_quote_without_a_side_nor_on_the_first_one_after_it(stop):
    asked = rules(**stop)
    for stamp, pnl in ((1, 400), (2, 300)):
        assert asked.reason(view(pnl=D(pnl), quoted_ns=stamp)) is None
    for stamp in (None, None, 3, 3):
        assert asked.reason(view(pnl=D(-350), quoted_ns=stamp)) is None
    assert asked.reason(view(pnl=D(-350), quoted_ns=4)) is not None


def test_a_mark_without_a_side_arms_no_trailing_stop_and_is_no_best_profit():
    asked = rules(arm_fraction=0.3, giveback_fraction=0.5)
    assert asked.reason(view(pnl=D(900), quoted_ns=None)) is None
    assert not asked.is_armed
    assert asked.reason(view(pnl=D(310), quoted_ns=1)) is None
    assert asked.reason(view(pnl=D(310), quoted_ns=2)) is None
    assert asked.is_armed
    assert asked.reason(view(pnl=D(200), quoted_ns=3)) is None  # of 310, not of 900


# rules of every strategy -----------------------------------------------------------------------------

SESSION = session_on(DAY)
OF_A_LOT = {"held": D(5), "gain": D(0), "stop": D(1), "ends_ns": SESSION.close_ns, "why_ends": "the end"}
OF_A_SCALP = {
    "right": Right.CALL,
    "entry_spot": D(500),
    "spot": D(500),
    "entry_price": D(2),
    "price": D(2),
    "is_past_deadline": False,
    "is_scaled": False,
    "is_breakeven_armed": False,
}
OF_A_CLOUD = {
    "entry_price": D(2),
    "price": D(2),
    "quote_ns": 0,
    "deadline_ns": SESSION.close_ns,
    "cutoff_ns": None,
    "session_end_ns": None,
    "is_flipped": False,
    "sign": 1,
    "candles": (),
}
VIEWS = [(PositionView, {}), (LotView, OF_A_LOT), (ScalpView, OF_A_SCALP), (ScalpTrade, OF_A_CLOUD)]


@pytest.mark.parametrize(("kind", "own"), VIEWS)
def test_a_rule_serves_the_positions_of_every_strategy(kind, own):
    loss, quiet = {"pnl": D(-40), "premium_paid": D(100), "quoted_ns": 5}, {"premium_paid": D(100)}
    late = {"now_ns": at("15:55"), "session": SESSION, "expiry": DAY}
    for rule, given in (
        (StopLoss(0.4), loss),
        (BeforeClose(5.0), late),
        (CloseAt("15:55"), late),
        (NearExpiry(0), late),
        (CreditEarned(0.4), {"pnl": D(40), "premium_paid": D(100), "quoted_ns": 5}),
        (RiskHalt(), {"mode": Mode.FLATTENING}),
    ):
        assert rule.reason(kind(**own, **quiet | {"quoted_ns": 1})) is None
        assert rule.reason(kind(**own, **given))


@pytest.mark.parametrize(("kind", "own"), VIEWS)
def test_a_rule_has_no_reason_where_its_facts_are_not_known(kind, own):
    config = ExitConfig(
        close_at="10:00",
        flat_minutes_before_close=390.0,
        max_sessions=1,
        minutes_before_expiry=1_000.0,
        before_event=("fomc",),
    )
    unknown = kind(**own, now_ns=at("15:59"), quoted_ns=None)
    assert first_reason(structure_rules(config), unknown) is None
