"""Results of a run by session and period, from marks whose sums are known."""

import math
import statistics
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.units import DAYS_PER_YEAR, InstrumentId
from scalpdesk.instruments.postings import Posting
from scalpdesk.instruments.sessions import coin_session, session_on
from scalpdesk.report.session_tables import (
    SessionSums,
    exposure,
    gate_record,
    grouped,
    performance,
    realised_path,
    rolling,
    straddle_rows,
)
from scalpdesk.volatility.variance_time import CALENDAR, EMBEDDED_SESSIONS, US_SESSIONS, VarianceClock


def session_rows(marks, sessions, vix, clock, decimals=2):
    sums = SessionSums(clock, sessions[0] if sessions else None)
    for each in marks:
        sums.add(each["ts_ns"], Decimal(each["nav_change"]), each["parts"], each["net_delta_shares"])
    return sums.rows(sessions, vix, decimals)


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


def rows() -> list[dict[str, Any]]:
    return session_rows(MARKS, SESSIONS, VIX.get, US_SESSIONS)


def test_sessions_carry_every_cent_once() -> None:
    assert [row["pnl"] for row in rows()] == ["6.25", "-20.00", "7.75", "0.00", "1.00", "0.00"]
    assert rows()[0]["parts"] == {"gamma": "8.75", "theta": "-2.50", "residual": "0.00"}
    assert rows()[0]["largest_net_delta_shares"] == 8.0
    total = sum(Decimal(row["pnl"]) for row in rows())
    for groups in grouped(rows()).values():
        assert sum(Decimal(group["pnl"]) for group in groups.values()) == total
        assert sum(group["sessions"] for group in groups.values()) == len(SESSIONS)


def test_the_parts_of_a_session_sum_to_its_cents_as_those_of_the_run_do() -> None:
    at = datetime(2018, 2, 1, 15, tzinfo=UTC)
    marks = [mark(at, "0.015", gamma="3.004", theta="-2.004", vega="-0.985004", residual="0.000004")]
    row = session_rows(marks, SESSIONS, VIX.get, US_SESSIONS)[0]
    # half a cent goes away from zero, and the residual takes what rounding leaves
    assert row["pnl"] == "0.02"
    assert row["parts"] == {"gamma": "3.00", "theta": "-2.00", "vega": "-0.99", "residual": "0.01"}
    assert sum(map(Decimal, row["parts"].values())) == Decimal(row["pnl"])


def test_a_coin_desks_net_delta_keeps_its_digits() -> None:
    marks = [mark(datetime(2018, 2, 1, 15, tzinfo=UTC), "0", -0.00213456)]
    assert session_rows(marks, SESSIONS, VIX.get, US_SESSIONS, 8)[0]["largest_net_delta_shares"] == 0.00213456


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
    more = [{"session": f"2018-03-0{day}", "pnl": "-1.00", "largest_net_delta_shares": 0.0} for day in (1, 2)]
    assert performance([*rows(), *more], 1_000.0)["sharpe"] < 0


def test_few_sessions_give_no_ratio() -> None:
    assert "sharpe" not in performance(rows()[:4], 1_000.0)
    assert "sharpe" not in performance(session_rows([], SESSIONS, VIX.get, US_SESSIONS), 1_000.0)


def coin_rows() -> list[dict[str, Any]]:
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
        {"session": f"2024-01-{day:02d}", "pnl": amount, "largest_net_delta_shares": 0.0}
        for day, amount in enumerate(amounts, 2)
    ]
    facts = performance(rows, 1000.0)
    assert facts["sharpe"] == pytest.approx(48.0)
    assert facts["sharpe_interval"] == pytest.approx([41.828, 48.0], abs=1e-3)


def test_a_market_that_never_closes_has_a_session_for_each_day_of_account() -> None:
    found = coin_rows()
    assert [row["session"] for row in found] == [f"2025-03-{day:02d}" for day in range(5, 12)]
    # 1 h, 20 h (00:00 in New York), 22 h and 24 h after 08:00 UTC: -0.00074 a day, times its number
    assert [row["pnl"] for row in found] == [
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
    pnl = [float(row["pnl"]) for row in found]
    facts, by_sessions = performance(found, 2.0, DAYS_PER_YEAR), performance(found, 2.0)
    mean, root = statistics.mean(pnl), math.sqrt(365.0)
    assert facts["sharpe"] == pytest.approx(mean / statistics.stdev(pnl) * root)
    downside = math.sqrt(statistics.mean(min(amount, 0.0) ** 2 for amount in pnl))
    assert facts["sortino"] == pytest.approx(mean / downside * root)
    for end, other in zip(facts["sharpe_interval"], by_sessions["sharpe_interval"], strict=True):
        assert end == pytest.approx(other * math.sqrt(365.0 / 252.0))


@pytest.mark.parametrize("clock", [CALENDAR, EMBEDDED_SESSIONS, US_SESSIONS])
def test_what_was_realised_counts_by_the_runs_clock_and_while_options_were_held(clock: VarianceClock) -> None:
    session = session_on(date(2018, 2, 5))
    stamps = [session.open_ns + n * 600 * 10**9 for n in range(40)]
    moves = [1.0, *(1.05 if n % 2 else 1.0 / 1.05 for n in range(9)), *(1.0 + 0.001 * n for n in range(30))]
    spots = np.cumprod(moves) * 100.0
    marks = [
        {"ts_ns": ts, "nav_change": "0", "spot": spot, "parts": {}}
        for ts, spot in zip(stamps, spots, strict=True)
    ]
    option = {"symbol": "C", "quantity": Decimal(1), "price": Decimal(2), "purpose": "open", "busted": False}
    # bought after the wild hour and a half, sold before the last two moves
    fills = [
        {**option, "ts_recv_ns": stamps[10], "side": "buy"},
        {**option, "ts_recv_ns": stamps[37], "side": "sell"},
    ]
    (row,) = straddle_rows(fills, marks, [], {"C": (session.close_ns + 1, 100)}, clock)
    years = (stamps[37] - stamps[10]) / 365 / 86_400e9
    if clock is EMBEDDED_SESSIONS:  # from 11:10 to 15:40, of 360 sessions a year
        years = (sum((0.143818 * 5 / 6, 0.118703, 0.108861, 0.108999)) + 0.162572 * 2 / 3) / 360
    elif clock is US_SESSIONS:
        years = (sum((0.130 * 5 / 6, 0.089, 0.094, 0.148)) + 0.197 * 2 / 3) / US_YEAR
    expected = math.sqrt(sum(math.log(move) ** 2 for move in moves[11:38]) / years)
    assert row["realised_vol"] == pytest.approx(expected)
    path = realised_path(marks, clock)
    in_half_an_hour = math.sqrt(sum(math.log(move) ** 2 for move in moves[37:40]))
    assert path[39] == pytest.approx(in_half_an_hour / math.sqrt(clock.years(stamps[36], stamps[39])))


def filled(symbol: str, side: str, ts_ns: int, quantity: int = 1) -> dict[str, object]:
    return {
        "symbol": symbol, "quantity": Decimal(quantity), "price": Decimal(2), "purpose": "open",
        "busted": False, "ts_recv_ns": ts_ns, "side": side,
    }  # fmt: skip


SYMBOLS = ("C", "P", "C2", "P2", "SPY")


def moved(ts_ns: int, symbol: str, units: int, cause: str, source: str = "") -> Posting:
    """Return units that no order moved; of a conversion one unit leaves its source."""
    number, zero = InstrumentId(SYMBOLS.index(symbol)), Decimal(0)
    terms = Decimal(units), zero, zero, zero, ChangeCause(cause), "r", ts_ns
    left = (InstrumentId(SYMBOLS.index(source)), Decimal(-1)) if source else ()
    return Posting("", number, *terms, *left)


def test_a_straddle_ends_with_an_early_assignment_and_goes_on_under_its_adjusted_name() -> None:
    options = dict.fromkeys(("C", "P", "C2", "P2"), (10**18, 100))
    fills = [filled("C", "sell", 1), filled("P", "sell", 1), filled("P", "buy", 3), filled("C", "buy", 8)]
    changes = [moved(5, "C", 1, "assignment"), moved(5, "SPY", -100, "delivery")]
    first, second = straddle_rows(fills, [], [], options, CALENDAR, changes, SYMBOLS)
    assert (first["opened_ns"], first["closed_ns"], first["legs"]) == (1, 5, {"C": "-1", "P": "-1"})
    assert (second["opened_ns"], second["legs"]) == (8, {"C": "1"})

    fills = [
        filled("C", "buy", 1),
        filled("P", "buy", 1),
        filled("C2", "sell", 6, 2),
        filled("P2", "sell", 7, 2),
    ]
    changes = [moved(5, f"{leg}2", 2, "corporate_action", leg) for leg in "CP"]
    (row,) = straddle_rows(fills, [], [], options, CALENDAR, changes, SYMBOLS)
    assert (row["opened_ns"], row["closed_ns"], row["legs"]) == (1, 7, {"C": "1", "P": "1"})
    assert (row["paid"], row["received"]) == (400, 800)


def test_options_that_the_run_took_over_are_a_straddle_from_its_beginning() -> None:
    """Their sale opened a straddle sold short, which ended at its expiry and had none of the hedges."""
    options = dict.fromkeys("CP", (10**18, 100))
    fills = [
        *({**filled("SPY", "sell", ts_ns), "purpose": "hedge"} for ts_ns in (4, 5)),
        filled("C", "sell", 7, 3),
        filled("P", "sell", 8, 3),
        filled("P", "buy", 9),
    ]
    changes = [moved(2, symbol, units, "transfer") for symbol, units in (("C", 3), ("SPY", -50), ("P", 3))]
    # through zero in two orders: one hedge, as the summary counts it
    decisions = [
        {
            "ts_ns": ts_ns,
            "kind": kind,
            "taken": True,
            "reasons": ("delta",),
            "facts": {},
            "client_order_ids": sent,
        }
        for ts_ns, kind, sent in ((3, "hedge", ()), (4, "hedge", ("a",)), (5, "hedge_second_order", ("b",)))
    ]
    first, second = straddle_rows(fills, [], decisions, options, CALENDAR, changes, SYMBOLS)
    assert (first["opened_ns"], first["closed_ns"], first["legs"]) == (2, 8, {"C": "3", "P": "3"})
    assert (first["hedges"], first["paid"], first["received"]) == (1, 0, 1_200)
    assert (second["opened_ns"], second["closed_ns"], second["legs"]) == (9, None, {"P": "1"})


def test_options_that_a_transfer_brought_are_a_straddle_until_they_are_gone() -> None:
    """Their sale opened a straddle sold short."""
    changes = [moved(1, "C", 0, "transfer"), moved(2, "C", 3, "transfer"), moved(4, "C", -1, "transfer")]
    options = {"C": (10**18, 100)}
    (row,) = straddle_rows([filled("C", "sell", 7, 2)], [], [], options, CALENDAR, changes, SYMBOLS)
    assert (row["opened_ns"], row["closed_ns"], row["legs"]) == (2, 7, {"C": "3"})


def test_neither_a_dividend_nor_a_split_is_a_move_of_the_share() -> None:
    """Two nights: the first ends 1 lower, ex a dividend of 1; the second at half the price, after a split."""
    hour = 3_600 * 10**9
    spots = [100.0, 101.0, 100.0, 102.0, 51.0, 51.51]
    marks = [
        {"ts_ns": (n + 1) * hour, "nav_change": "0", "spot": spot, "parts": {}}
        for n, spot in enumerate(spots)
    ]
    split = moved(5 * hour, "C2", 2, "corporate_action", "C")
    options = dict.fromkeys(("C", "C2"), (10**18, 100))
    fills = [filled("C", "buy", hour)]
    (row,) = straddle_rows(fills, marks, [], options, CALENDAR, [split], SYMBOLS, [(3 * hour - 1, 1.0)])
    years = 3 * hour / 365 / 86_400e9  # neither the step that ends with the split nor the one after it
    moves = (101.0 / 100.0, 101.0 / 101.0, 102.0 / 100.0)
    assert row["realised_vol"] == pytest.approx(math.sqrt(sum(math.log(move) ** 2 for move in moves) / years))


US_YEAR = 252 + 197 * 0.46 + 46 * 0.65 + 9 * 0.76 + 8 * 0.80
"""Variances of a regular session in a year of the US clock."""


def test_what_a_straddle_paid_for_volatility_stands_beside_what_was_realised() -> None:
    session = session_on(date(2017, 7, 5))
    minute = 60 * 10**9
    stamps = [session.open_ns + n * minute for n in range(0, 391, 10)]
    spots = [100.0 * (1.001 if n % 2 else 1.0) for n in range(40)]
    marks = [
        {"ts_ns": ts, "nav_change": "0", "spot": spot, "parts": {"spread": "-1.50", "fees": "-0.25"}}
        for ts, spot in zip(stamps, spots, strict=True)
    ]
    option = {"symbol": "C", "quantity": Decimal(1), "price": Decimal(2), "purpose": "open", "busted": False}
    fills = [
        {**option, "ts_recv_ns": stamps[0], "side": "buy"},
        {**option, "ts_recv_ns": stamps[-1], "side": "sell"},
    ]
    decisions = [
        {"ts_ns": stamps[0], "kind": "entry", "taken": True, "facts": {"implied_vol": 0.12, "edge_usd": 7.5}},
        {"ts_ns": stamps[5], "kind": "entry", "taken": False, "facts": {"implied_vol": 0.15}},
    ]
    (row,) = straddle_rows(fills, marks, decisions, {"C": (session.close_ns + 1, 100)}, US_SESSIONS)
    assert row["implied_vol"] == 0.12
    # 39 moves of a tenth of a percent over the session's share of a year
    years = US_SESSIONS.years(session.open_ns, session.close_ns)
    assert row["realised_vol"] == pytest.approx(math.sqrt(39 * math.log(1.001) ** 2 / years))
    assert row["costs"] == Decimal("-70.00")
    assert (row["edge_usd"], row["edge_stderr_usd"], row["forecast_vol"]) == (7.5, None, None)


def test_the_edge_of_two_straddles_is_twice_that_of_one() -> None:
    bought = {"symbol": "C", "quantity": Decimal(2), "price": Decimal(2), "purpose": "open", "busted": False}
    facts = {"implied_vol": 0.12, "edge_usd": 7.5, "edge_stderr_usd": 3.0}
    decisions = [{"ts_ns": 0, "kind": "entry", "taken": True, "facts": facts}]
    fills = [{**bought, "ts_recv_ns": 0, "side": "buy"}]
    (row,) = straddle_rows(fills, [], decisions, {"C": (1, 100)}, US_SESSIONS)
    assert (row["edge_usd"], row["edge_stderr_usd"]) == (15.0, 6.0)


def test_the_gates_record_sets_promises_against_earnings() -> None:
    promised, earned = [10.0, 12.0, 8.0, 20.0, 10.0], [15.0, -8.0, 9.0, 30.0, -6.0]
    base = {"closed_ns": 1, "edge_stderr_usd": 4.0, "forecast_vol": 0.18, "implied_level": 0.15}
    known = [
        {**base, "edge_usd": edge, "pnl": str(pnl), "realised_vol": vol}
        for edge, pnl, vol in zip(promised, earned, [0.15, 0.12, None, 0.30, 0.09], strict=True)
    ]
    left_out = [{**known[0], "closed_ns": None}, {**known[0], "edge_usd": None}]
    found = gate_record([*known, *left_out])
    assert found["straddles"] == 5
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
    assert gate_record(left_out) == {"straddles": 0}


def test_exposure_counts_held_time_and_unhedged_minutes_within_sessions() -> None:
    hour = 3_600 * 10**9
    spans = [(0, 10 * hour), (24 * hour, 34 * hour)]
    straddles = [{"opened_ns": 5 * hour, "closed_ns": 29 * hour}]
    hedge = {"taken": True, "facts": {"half_width_shares": 4.0}}
    decisions = [{"ts_ns": hour, **hedge}, {"ts_ns": 2 * hour, "taken": True, "facts": {}}]
    nets = [(0, 9.0), (hour, 3.0), (2 * hour, -5.0), (3 * hour, 4.0), (9 * hour, 6.0), (24 * hour, None)]
    marks = [{"ts_ns": ts, "net_delta_shares": net} for ts, net in nets]
    found = exposure(marks, decisions, straddles, spans)
    assert found["exposure"] == 0.5
    # from two to three, and the last hour of the first session: before the first hedge there is no band
    assert found["unhedged_minutes"] == 120.0
    # the mark at two is of the instant of a hedge, before it: two shares were bought then
    filled_then = exposure(marks, decisions, straddles, spans, hedges={2 * hour: 2.0})
    assert filled_then["unhedged_minutes"] == 60.0
    # a hedge to the edge leaves what is less than a part of the half width: up to six shares at a half
    facts = {"half_width_shares": 4.0, "net_delta_shares": 7.0, "quantity_shares": -3}
    edge = [{"ts_ns": hour, "taken": True, "facts": facts}]
    assert exposure(marks, edge, straddles, spans, least_fraction=0.5)["unhedged_minutes"] == 0.0
    # nor does one send less than half a share: 5.2 is 0.4 beyond a width of 4.8
    narrow = facts | {"half_width_shares": 4.8, "net_delta_shares": 5.4, "quantity_shares": -1}
    late = [(hour, 3.0), (2 * hour, -5.2), (3 * hour, 5.4), (4 * hour, 0.0)]
    marks_then = [{"ts_ns": ts, "net_delta_shares": net} for ts, net in late]
    edge_then = [{"ts_ns": hour, "taken": True, "facts": narrow}]
    assert exposure(marks_then, edge_then, straddles, spans, least_fraction=0.05)["unhedged_minutes"] == 60.0
    to_zero = [{"ts_ns": hour, "taken": True, "facts": facts | {"quantity_shares": -7}}]
    assert exposure(marks, to_zero, straddles, spans, least_fraction=0.5)["unhedged_minutes"] == 120.0


def test_the_realised_path_looks_back_half_an_hour_and_over_no_night() -> None:
    first, second = session_on(date(2017, 7, 5)), session_on(date(2017, 7, 6))
    minute = 60 * 10**9
    stamps = [session.open_ns + n * minute for session in (first, second) for n in range(61)]
    spots = [100.0 * (1.0 + 0.001 * (n % 2)) for n in range(61)]
    spots += [120.0 * (1.0 + 0.002 * (n % 2)) for n in range(61)]  # gapped, and twice as wild
    marks = [{"ts_ns": ts_ns, "spot": spot} for ts_ns, spot in zip(stamps, spots, strict=True)]
    path = realised_path(marks, US_SESSIONS)
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
