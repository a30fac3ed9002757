"""Results of a run by session and period, from marks whose sums are known."""

import math
import statistics
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import Decision
from scalpdesk.core.units import DAYS_PER_YEAR, ZERO
from scalpdesk.instruments.sessions import coin_session, session_on
from scalpdesk.report.figures import json_safe
from scalpdesk.report.fold import BookMark
from scalpdesk.report.session_tables import (
    SessionPnl,
    SessionSums,
    grouped,
    performance,
    realised_path,
    rolling,
)
from scalpdesk.report.trades import Trade, exposure, gate_record
from scalpdesk.volatility.variance_time import CALENDAR, US_SESSIONS


def session_rows(marks, sessions, vix, clock, decimals=2):
    sums = SessionSums(clock, sessions[0] if sessions else None)
    for each in marks:
        sums.add(each["ts_ns"], Decimal(each["nav_change"]), each["parts"], each["net_delta_shares"])
    return sums.sessions(sessions, vix, decimals)


SESSIONS = [date(2018, 2, day) for day in (1, 2, 5, 6, 7, 8)]
VIX = {SESSIONS[0]: 12.99, SESSIONS[1]: 13.0, SESSIONS[2]: 21.9, SESSIONS[3]: 37.3}


def mark(at: datetime, change: str, net_delta: float = 0.0, **parts: str) -> dict[str, Any]:
    return {
        "ts_ns": int(at.timestamp()) * 1_000_000_000,
        "nav_change": Decimal(change),
        "parts": {name: Decimal(amount) for name, amount in parts.items()},
        "net_delta_shares": net_delta,
    }


MARKS = [
    mark(datetime(2018, 2, 1, 15, tzinfo=UTC), "10.50", 3.0, gamma="12.00", theta="-1.50"),
    mark(datetime(2018, 2, 1, 20, tzinfo=UTC), "-4.25", -8.0, gamma="-3.25", theta="-1.00"),
    mark(datetime(2018, 2, 2, 14, 31, tzinfo=UTC), "-20.00", 1.0, delta="-20.00"),
    # 19:00 in New York, on the 5th in Greenwich's reckoning the 6th
    mark(datetime(2018, 2, 6, 0, tzinfo=UTC), "7.75", 2.0, vega="7.75"),
    mark(datetime(2018, 2, 7, 15, tzinfo=UTC), "1.00", 0.0, gamma="1.00"),
]


def rows() -> list[SessionPnl]:
    return session_rows(MARKS, SESSIONS, VIX.get, US_SESSIONS)


def test_sessions_carry_every_cent_once() -> None:
    assert [str(row.pnl) for row in rows()] == ["6.25", "-20.00", "7.75", "0.00", "1.00", "0.00"]
    assert json_safe(rows()[0].parts) == {"gamma": "8.75", "theta": "-2.50", "residual": "0.00"}
    assert rows()[0].largest_net_delta_shares == 8.0
    total = sum(row.pnl for row in rows())
    for groups in grouped(rows()).values():
        assert sum(Decimal(group["pnl"]) for group in groups.values()) == total
        assert sum(group["sessions"] for group in groups.values()) == len(SESSIONS)


def test_the_parts_of_a_session_sum_to_its_cents_as_those_of_the_run_do() -> None:
    at = datetime(2018, 2, 1, 15, tzinfo=UTC)
    marks = [mark(at, "0.015", gamma="3.004", theta="-2.004", vega="-0.985004", residual="0.000004")]
    row = session_rows(marks, SESSIONS, VIX.get, US_SESSIONS)[0]
    # half a cent goes away from zero, and the residual takes what rounding leaves
    assert row.pnl == Decimal("0.02")
    assert json_safe(row.parts) == {"gamma": "3.00", "theta": "-2.00", "vega": "-0.99", "residual": "0.01"}
    assert sum(row.parts.values()) == row.pnl


def test_a_coin_desks_net_delta_keeps_its_digits() -> None:
    marks = [mark(datetime(2018, 2, 1, 15, tzinfo=UTC), "0", -0.00213456)]
    assert session_rows(marks, SESSIONS, VIX.get, US_SESSIONS, 8)[0].largest_net_delta_shares == 0.00213456


def test_groups_by_period_and_by_the_vix_of_the_day_before() -> None:
    by = grouped(rows())
    assert by["week"]["2018-W05"] == {"sessions": 2, "pnl": "-13.75", "hit_rate": 0.5}
    assert by["weekday"]["Thursday"] == {"sessions": 2, "pnl": "6.25", "hit_rate": 1.0}
    assert {name: group["sessions"] for name, group in by["vix"].items()} == {
        "VIX below 13": 1,
        "VIX 13 to 17": 1,
        "VIX 17 to 22": 1,
        "VIX 30 and above": 1,
        "VIX unknown": 2,
    }


def test_performance_of_the_sessions() -> None:
    facts = performance(rows(), 1_000.0)
    assert facts["mean_pnl"] == pytest.approx(-5.0 / 6)
    assert facts["sessions_with_pnl"] == 4
    assert facts["hit_rate"] == 0.75
    fall = facts["drawdown"]
    # 1,006.25 after the first session, 986.25 after the second
    assert (fall["amount"], fall["after"], fall["trough"]) == (20.0, "2018-02-01", "2018-02-02")
    assert fall["fraction"] == pytest.approx(20.0 / 1_006.25)
    assert fall["recovered"] is None
    low, high = facts["mean_pnl_interval"]
    assert low < facts["mean_pnl"] < high
    assert "sharpe" not in facts  # of four sessions that traded
    more = [SessionPnl(f"2018-03-0{day}", Decimal(-1), {}, 0.0, None) for day in (1, 2)]
    assert performance([*rows(), *more], 1_000.0)["sharpe"] < 0


def test_the_deepest_fall_of_the_marks_goes_on_within_sessions() -> None:
    """Closes fell by 674 where the marks fell by 812, and a lone session fell by nothing."""
    sums = SessionSums(US_SESSIONS, SESSIONS[0])
    for each in MARKS:
        sums.add(each["ts_ns"], each["nav_change"], each["parts"], each["net_delta_shares"])
    fall = sums.fall_of_marks(1_000.0)
    assert (fall["amount"], fall["fraction"]) == (24.25, pytest.approx(24.25 / 1_010.5))
    assert (fall["after"], fall["trough"]) == ("2018-02-01 10:00:00", "2018-02-02 09:31:00")
    assert performance(rows(), 1_000.0)["drawdown"]["amount"] == 20.0
    alone = SessionSums(US_SESSIONS, SESSIONS[0])
    for each in MARKS[:2]:
        alone.add(each["ts_ns"], each["nav_change"], each["parts"], each["net_delta_shares"])
    assert alone.fall_of_marks(1_000.0)["amount"] == 4.25
    assert SessionSums(US_SESSIONS, None).fall_of_marks(1.0) == {
        "amount": 0.0,
        "fraction": 0.0,
        "after": "start",
        "trough": "start",
    }


@given(st.lists(st.integers(-100, 100), max_size=30))
def test_no_pair_of_marks_falls_by_more(changes: list[int]) -> None:
    sums = SessionSums(US_SESSIONS, SESSIONS[0])
    for number, change in enumerate(changes):
        sums.add(MARKS[0]["ts_ns"] + number, Decimal(change), {}, 0.0)
    curve = [0, *accumulate(changes)]
    pairs = (high - low for at, high in enumerate(curve) for low in curve[at:])
    assert sums.fall_of_marks(1.0)["amount"] == max(pairs)


def test_few_sessions_give_no_ratio() -> None:
    assert "sharpe" not in performance(rows()[:4], 1_000.0)
    assert "sharpe" not in performance(session_rows([], SESSIONS, VIX.get, US_SESSIONS), 1_000.0)


def coin_rows() -> list[SessionPnl]:
    """A week of account from 08:00 UTC: amounts on both sides of each New York midnight and at each close."""
    days = [date(2025, 3, 5) + timedelta(days=n) for n in range(7)]
    marks = [mark(datetime(2025, 3, 5, 8, tzinfo=UTC), "0.00000500")]  # the first opening
    for n in range(7):
        for hour, change in ((1, "-0.00100000"), (20, "0.00030000"), (22, "-0.00005000"), (24, "0.00001000")):
            at = datetime(2025, 3, 5 + n, 8, tzinfo=UTC) + timedelta(hours=hour)
            marks.append(mark(at, f"{Decimal(change) * (n + 1):f}"))
    return session_rows(marks, days, VIX.get, CALENDAR, 8)


def test_samples_of_equal_sessions_have_no_sharpe_and_no_part_in_its_interval() -> None:
    amounts = ("0.10", "0.10", "0.10", "0.10", "0.20", "0.10", "0.10")
    rows = [
        SessionPnl(f"2024-01-{day:02d}", Decimal(amount), {}, 0.0, None)
        for day, amount in enumerate(amounts, 2)
    ]
    facts = performance(rows, 1000.0)
    assert facts["sharpe"] == pytest.approx(48.0)
    assert facts["sharpe_interval"] == pytest.approx([41.828, 48.0], abs=1e-3)


def test_a_market_that_never_closes_has_a_session_for_each_day_of_account() -> None:
    found = coin_rows()
    assert [row.session for row in found] == [f"2025-03-{day:02d}" for day in range(5, 12)]
    # 1 h, 20 h (00:00 in New York), 22 h and 24 h after 08:00 UTC: -0.00074 a day, times its number
    assert [f"{row.pnl:f}" for row in found] == [
        f"{Decimal('-0.00074') * n + (Decimal('0.000005') if n == 1 else 0):.8f}" for n in range(1, 8)
    ]
    # of the US the same instants belong to New York's dates, of which there are eight
    stamps = [
        coin_session(date(2025, 3, 5 + n)).open_ns + hour * 3_600 * 10**9
        for n in range(7)
        for hour in (1, 22)
    ]
    marks = [{"ts_ns": at, "nav_change": "1", "parts": {}, "net_delta_shares": 0.0} for at in stamps]
    assert len(session_rows(marks, [], VIX.get, US_SESSIONS)) == 8
    assert len(session_rows(marks, [], VIX.get, CALENDAR)) == 7


def test_ratios_of_a_market_that_never_closes_are_of_365_days() -> None:
    found = coin_rows()
    pnl = [float(row.pnl) for row in found]
    facts, by_sessions = performance(found, 2.0, DAYS_PER_YEAR), performance(found, 2.0)
    mean, root = statistics.mean(pnl), math.sqrt(365.0)
    assert facts["sharpe"] == pytest.approx(mean / statistics.stdev(pnl) * root)
    downside = math.sqrt(statistics.mean(min(amount, 0.0) ** 2 for amount in pnl))
    assert facts["sortino"] == pytest.approx(mean / downside * root)
    for end, other in zip(facts["sharpe_interval"], by_sessions["sharpe_interval"], strict=True):
        assert end == pytest.approx(other * math.sqrt(365.0 / 252.0))


def kept(edge: float, pnl: float, realised_vol: float | None) -> Trade:
    """Return a trade that the gate let through, with an error of 4.00, and that is over."""
    told = {"closed_ns": 2, "pnl": Decimal(pnl), "realised_vol": realised_vol, "forecast_vol": 0.18}
    told |= {"implied_level": 0.15, "edge_usd": edge, "edge_stderr_usd": 4.0}
    return Trade(**dict.fromkeys(Trade.__struct_fields__) | told)


def test_the_gates_record_sets_promises_against_earnings() -> None:
    promised, earned = [10.0, 12.0, 8.0, 20.0, 10.0], [15.0, -8.0, 9.0, 30.0, -6.0]
    found = gate_record(map(kept, promised, earned, [0.15, 0.12, None, 0.30, 0.09]))
    assert found["trades"] == 5
    assert (found["promised"], found["earned"]) == (12.0, 8.0)
    assert found["difference"] == pytest.approx(-4.0)
    assert found["above_zero"] == 0.6
    assert found["inside"] == pytest.approx(0.4)  # 15 and 9 lie within two standard errors of 10 and 8
    assert found["forecast_over_implied"] == pytest.approx(1.2)
    assert found["realised_over_implied"] == pytest.approx((1.0 + 0.8 + 2.0 + 0.6) / 4)
    deviations = (np.array(promised) - 12.0, np.array(earned) - 8.0)
    covariance = deviations[0] @ deviations[1]
    size = math.sqrt((deviations[0] @ deviations[0]) * (deviations[1] @ deviations[1]))
    assert found["correlation"] == pytest.approx(covariance / size)
    low, high = found["difference_interval"]
    assert low < -4.0 < high
    assert gate_record([]) == {"trades": 0}


def hedged(ts_ns: int, facts: dict[str, float]) -> Decision:
    return Decision(ts_ns, DecisionKind.HEDGE, True, ("delta",), facts)


def test_exposure_counts_held_time_and_unhedged_minutes_within_sessions() -> None:
    hour = 3_600 * 10**9
    spans = [(0, 10 * hour), (24 * hour, 34 * hour)]
    trades = [(5 * hour, 29 * hour)]
    decisions = [hedged(hour, {"half_width_shares": 4.0}), hedged(2 * hour, {})]
    nets = [(0, 9.0), (hour, 3.0), (2 * hour, -5.0), (3 * hour, 4.0), (9 * hour, 6.0), (24 * hour, 0.0)]
    marks = [BookMark(ts, ZERO, {}, 0.0, net, 0.0) for ts, net in nets]
    found = exposure(marks, decisions, trades, spans)
    assert found["exposure"] == 0.5
    # from two to three, and the last hour of the first session: before the first hedge there is no band
    assert found["unhedged_minutes"] == 120.0
    # the mark at two is of the instant of a hedge, before it: two shares were bought then
    filled_then = exposure(marks, decisions, trades, spans, hedges={2 * hour: 2.0})
    assert filled_then["unhedged_minutes"] == 60.0
    # a hedge to the edge leaves what is less than a part of the half width: up to six shares at a half
    facts = {"half_width_shares": 4.0, "net_delta_shares": 7.0, "quantity_shares": -3}
    edge = [hedged(hour, facts)]
    assert exposure(marks, edge, trades, spans, least_fraction=0.5)["unhedged_minutes"] == 0.0
    # nor does one send less than half a share: 5.2 is 0.4 beyond a width of 4.8
    narrow = facts | {"half_width_shares": 4.8, "net_delta_shares": 5.4, "quantity_shares": -1}
    late = [(hour, 3.0), (2 * hour, -5.2), (3 * hour, 5.4), (4 * hour, 0.0)]
    marks_then = [BookMark(ts, ZERO, {}, 0.0, net, 0.0) for ts, net in late]
    edge_then = [hedged(hour, narrow)]
    assert exposure(marks_then, edge_then, trades, spans, least_fraction=0.05)["unhedged_minutes"] == 60.0
    to_zero = [hedged(hour, facts | {"quantity_shares": -7})]
    assert exposure(marks, to_zero, trades, spans, least_fraction=0.5)["unhedged_minutes"] == 120.0


def test_the_realised_path_looks_back_half_an_hour_and_over_no_night() -> None:
    first, second = session_on(date(2017, 7, 5)), session_on(date(2017, 7, 6))
    minute = 60 * 10**9
    stamps = [session.open_ns + n * minute for session in (first, second) for n in range(61)]
    spots = [100.0 * (1.0 + 0.001 * (n % 2)) for n in range(61)]
    spots += [120.0 * (1.0 + 0.002 * (n % 2)) for n in range(61)]  # gapped, and twice as wild
    path = realised_path(zip(stamps, spots, strict=True), US_SESSIONS)
    assert path[:15] == [None] * 15
    assert path[61:76] == [None] * 15
    for at, step in ((60, 1.001), (121, 1.002)):
        years = US_SESSIONS.years(stamps[at] - 30 * minute, stamps[at])
        assert path[at] == pytest.approx(math.sqrt(30 * math.log(step) ** 2 / years))


def test_rolling_figures_are_of_the_last_twenty_sessions_and_wait_for_them():
    pnl = [10.0, -10.0] * 10 + [30.0]
    found = rolling(pnl, 252)
    assert found[:19] == [[None, None]] * 19
    assert found[19] == [0.0, 0.0]
    mean, ratio = found[20]  # the first ten has gone, thirty has come
    window = np.array(pnl[1:])
    assert mean == pytest.approx(1.0)
    assert ratio == pytest.approx(window.mean() / window.std(ddof=1) * 252**0.5)
    assert rolling([0.0] * 19 + [5.0])[-1] == [0.25, None]  # one session traded
