"""Data that lies in most rows is unfit, with the likely cause; a split has to be booked."""

import math
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from scalpdesk import load_data
from scalpdesk.core.errors import DataError
from scalpdesk.datasets.importers.actions import book_known_actions, import_actions
from scalpdesk.datasets.importers.base import ImportReport
from scalpdesk.datasets.importers.chain import ChainChoices, import_chain
from scalpdesk.datasets.verify import CheckVerdict, VerifyReport, verify_data_set
from scalpdesk.marketdata.tape import MarketTape

STRIKES = (460, 465, 470, 475, 480)


def _market(
    folder: Path,
    day: str = "2024-01-17",
    *,
    spot: float = 470.0,
    last: int = 359,
    begins: int = 0,
    scale: float = 1.0,
    unit: float = 1.0,
    strikes: tuple[float, ...] = STRIKES,
    puts_end: int = 359,
    symbol: str = "SPY",
    expiry: str = "2024-03-15",
) -> None:
    """Import a day: the share at ``spot``, options worth ``unit`` times those at 470 times ``scale``."""
    lines = ["ts,expiry,strike,right,bid,ask,bid_size,ask_size"]
    for minute in range(0, 360, 3):
        at = f"{day} {10 + minute // 60}:{minute % 60:02}"
        lines.append(f"{at},,,,{spot - 0.01:.2f},{spot + 0.01:.2f},5,5")
        for strike in strikes:
            for right, sign in (("C", 1), ("P", -1)):
                if begins <= minute <= min(last, puts_end if sign < 0 else 359):
                    mid = (max(sign * (470.0 * scale - strike), 0.0) + 5.0) * unit
                    lines.append(f"{at},{expiry},{strike},{right},{mid - 0.05:.2f},{mid + 0.05:.2f},5,5")
    (folder / "day.csv").write_text("\n".join(lines) + "\n")
    choices = ChainChoices(name="own", underlying=symbol, timezone="America/New_York")
    import_chain(folder / "catalog", folder / "day.csv", choices)


def _book(folder: Path, line: str) -> ImportReport:
    (folder / "actions.csv").write_text(f"symbol,ex_date,action,amount\n{line}\n")
    return import_actions(folder / "catalog", "own", folder / "actions.csv")


def _load(folder: Path) -> MarketTape:
    return load_data("own", start="2024-01-17", end="2024-01-18", catalog=folder / "catalog")


def _failed(folder: Path) -> dict[str, str]:
    report: VerifyReport = verify_data_set(folder / "catalog", "own", "SPY")
    return {each.name: each.detail for each in report.checks if each.verdict is CheckVerdict.FAILED}


def test_sound_data_is_fit(tmp_path: Path) -> None:
    _market(tmp_path)
    assert _failed(tmp_path) == {}


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"unit": 100.0}, "100 times"),
        pytest.param({"spot": 156.67}, "3 times", marks=pytest.mark.second),
        ({"spot": 940.0}, "0.5 times"),
        ({"spot": 427.27}, "1.1 times"),
    ],
)
def test_a_bound_that_most_rows_break_names_the_likely_cause(
    tmp_path: Path, wrong: dict[str, float], cause: str
) -> None:
    _market(tmp_path, **wrong)  # type: ignore[arg-type] - floats by name
    assert cause in _failed(tmp_path)["put-call parity"]


@pytest.mark.parametrize("wrong", [{"last": 300}, {"puts_end": 120}])
def test_options_that_stop_being_quoted_are_unfit(tmp_path: Path, wrong: dict[str, int]) -> None:
    _market(tmp_path, **wrong)  # type: ignore[arg-type] - whole numbers by name
    assert set(_failed(tmp_path)) == {"options quoted to the end"}


def test_options_that_begin_late_are_unfit(tmp_path: Path) -> None:
    _market(tmp_path, begins=30)
    (detail,) = _failed(tmp_path).values()
    assert "the first of calls at 2024-01-17 15:30:00Z" in detail


def _two_days(folder: Path, spot: float, strikes: tuple[float, ...], scale: float) -> None:
    _market(folder)
    _market(folder, "2024-01-18", spot=spot, strikes=strikes, scale=scale)


@pytest.mark.parametrize(
    "ratio", ["11:10", "21:20", pytest.param("5:4", marks=pytest.mark.second), "9:10", "1:7"]
)
def test_any_common_ratio_of_the_strikes_is_a_split_and_is_told(tmp_path: Path, ratio: str) -> None:
    after, before = map(int, ratio.split(":"))
    scale = before / after
    spot, strikes = 470.0 * scale * 1.004, tuple(round(each * scale, 2) for each in STRIKES)
    _two_days(tmp_path, spot, strikes, spot / 470.0)
    assert f"strikes are divided by {ratio}" in _failed(tmp_path)["splits and special dividends are booked"]
    with pytest.raises(DataError, match=ratio) as refused:
        _load(tmp_path)
    line = f"SPY,2024-01-18,split,{ratio}"
    assert line in str(refused.value.fix)
    _book(tmp_path, line)
    assert "splits and special dividends are booked" not in _failed(tmp_path)


SPLIT = (93.0, tuple(each / 5 for each in STRIKES), 0.2)


def test_a_run_over_a_split_is_refused_until_it_is_booked(tmp_path: Path) -> None:
    _two_days(tmp_path, *SPLIT)
    assert "splits and special dividends are booked" in _failed(tmp_path)
    with pytest.raises(DataError, match="2024-01-18"):
        _load(tmp_path)
    for _ in range(2):  # a second time replaces
        report = _book(tmp_path, "SPY,2024-01-18,split,5:1")
    assert report.rows == {"corporate_actions/SPY": 1}
    (action,) = _load(tmp_path).actions
    assert (action.ex_date, action.ratio) == (date(2024, 1, 18), 5)
    assert "splits and special dividends are booked" not in _failed(tmp_path)


def test_a_known_split_is_booked_without_a_file(tmp_path: Path) -> None:
    known = {"symbol": "TSLA", "expiry": "2022-09-16"}
    _market(tmp_path, "2022-08-24", **known)
    _market(
        tmp_path, "2022-08-25", spot=155.0, strikes=tuple(each / 3 for each in STRIKES), scale=0.33, **known
    )
    span = {"name": "own", "start": "2022-08-24", "end": "2022-08-25", "catalog": tmp_path / "catalog"}
    span["underlying"] = "TSLA"
    with pytest.raises(DataError) as refused:
        load_data(**span)
    assert "data actions own;" in str(refused.value.fix)
    report = book_known_actions(tmp_path / "catalog", "own")
    assert report.rows == {"corporate_actions/TSLA": 1}
    (action,) = load_data(**span).actions
    assert (action.ex_date, action.ratio) == (date(2022, 8, 25), 3)


def test_a_split_of_adjusted_prices_is_not_booked(tmp_path: Path) -> None:
    for day in ("2022-08-24", "2022-08-25"):
        _market(tmp_path, day, symbol="TSLA", expiry="2022-09-16")
    report = book_known_actions(tmp_path / "catalog", "own")
    assert report.rows == {}
    assert "adjusted" in " ".join(report.notes)


def test_a_special_dividend_that_moves_the_strikes_has_to_be_booked(tmp_path: Path) -> None:
    _two_days(tmp_path, 458.0, tuple(each - 12 for each in STRIKES), 458 / 470)
    with pytest.raises(DataError, match="strikes fall by 12"):
        _load(tmp_path)
    _book(tmp_path, "SPY,2024-01-18,special_dividend,12.00")
    assert [each.cash for each in _load(tmp_path).actions] == [12]


def test_a_share_that_falls_while_its_options_are_relisted_is_no_dividend(tmp_path: Path) -> None:
    _two_days(tmp_path, 457.0, (443, 449, 456, 461, 468), 457 / 470)
    assert _failed(tmp_path) == {}


def test_an_action_of_another_share_is_refused(tmp_path: Path) -> None:
    _market(tmp_path)
    with pytest.raises(DataError) as refused:
        _book(tmp_path, "SPX,2024-01-18,split,5:1")
    assert refused.value.value == "SPX"


def test_a_crash_is_no_split(tmp_path: Path) -> None:
    _two_days(tmp_path, 235.0, STRIKES, 0.5)
    assert _failed(tmp_path) == {}


def test_an_action_that_cannot_be_read_is_named_by_its_line(tmp_path: Path) -> None:
    _market(tmp_path)
    for line in ("SPY,2024-01-18,split,5", "SPY,2024-13-18,split,5:1", "SPY,2024-01-18,gift,1"):
        with pytest.raises(DataError) as refused:
            _book(tmp_path, line)
        assert str(refused.value.where).endswith("actions.csv:2"), line


def test_load_data_looks_where_the_command_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _market(tmp_path)
    monkeypatch.setenv("SCALPDESK_CATALOG", str(tmp_path / "catalog"))
    assert len(load_data("own", start="2024-01-17").instruments) == 11


def _day(
    folder: Path, row: Callable[[int, float], list[str]], expiry: str = "2024-03-15", **choices: Any
) -> None:
    """Import a day of a share that swings, a row a minute to the close."""
    lines = ["ts,expiry,strike,right,bid,ask,bid_size,ask_size"]
    for minute in range(1, 391):
        spot = 470.0 + 3.0 * math.sin(minute / 29) + math.sin(minute / 5)
        at = f"2024-01-17 {(570 + minute) // 60:02}:{(570 + minute) % 60:02}"
        lines.append(f"{at},,,,{spot - 0.01:.2f},{spot + 0.01:.2f},5,5")
        lines += [f"{at},{expiry},{each},5,5" for each in row(minute, spot)]
    (folder / "day.csv").write_text("\n".join(lines) + "\n")
    chosen = ChainChoices(name="own", underlying="SPY", timezone="America/New_York", **choices)
    import_chain(folder / "catalog", folder / "day.csv", chosen)


def _pair(spot: float, strike: float = 470.0, time_value: float = 5.0) -> list[str]:
    call, put = max(spot - strike, 0.0) + time_value, max(strike - spot, 0.0) + time_value
    return [f"{strike},{right},{mid - 0.02:.2f},{mid + 0.02:.2f}" for right, mid in (("C", call), ("P", put))]


@pytest.mark.parametrize(
    ("minutes", "side"),
    [(60, "later"), pytest.param(-60, "earlier", marks=pytest.mark.second), (-15, "earlier")],
)
def test_times_of_another_zone_are_named(tmp_path: Path, minutes: int, side: str) -> None:
    def shifted(minute: int, _: float) -> list[str]:
        then = minute + minutes
        spot = 470.0 + 3.0 * math.sin(then / 29) + math.sin(then / 5)
        return [*_pair(spot), *_pair(spot, 475.0)]

    _day(tmp_path, shifted)
    assert f"{abs(minutes)} minutes {side}" in _failed(tmp_path)["put-call parity"]


@pytest.mark.parametrize(("time_value", "failed"), [(1.5, True), (0.04, False)])
def test_an_option_that_expires_with_time_value_has_the_expiry_of_another_zone(
    tmp_path: Path, time_value: float, failed: bool
) -> None:
    _day(tmp_path, lambda _, spot: _pair(spot, 472.0, time_value), "2024-01-17")
    assert ("options end at their intrinsic value" in _failed(tmp_path)) is failed


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_a_side_that_vanishes_is_unfit(tmp_path: Path, side: str) -> None:
    def one_sided(minute: int, spot: float) -> list[str]:
        found = _pair(spot)
        if minute < 200:
            return found
        cells = [each.split(",") for each in found]
        return [
            ",".join([k, r, "0" if side == "bid" else b, "0" if side == "ask" else a]) for k, r, b, a in cells
        ]

    _day(tmp_path, one_sided, zero_bid="real")
    assert f"no {side} after" in _failed(tmp_path)["sides quoted to the end"]


def test_a_mark_of_no_price_is_named_or_read_as_no_ask(tmp_path: Path) -> None:
    _day(tmp_path, lambda minute, spot: [*_pair(spot), f"480,C,0.50,{9999.99 if minute > 9 else 1.0}"])
    assert "9999.99" in _failed(tmp_path)["asks not above underlying and strike"]
    _day(tmp_path, lambda minute, spot: [*_pair(spot), f"480,C,0.50,{9999999 if minute > 9 else 1.0}"])
    assert set(_failed(tmp_path)) == {"sides quoted to the end"}
