from datetime import date
from pathlib import Path

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.importers.lean import find_chains, import_lean
from scalpdesk.datasets.manifests import read_manifest
from scalpdesk.datasets.store import connect, day_file
from scalpdesk.datasets.verify import verify_data_set

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"

CHAIN = (
    "#expiry,strike,right,open,high,low,close,volume,open_interest,"
    "implied_volatility,delta,gamma,vega,theta,rho\n"
    ",,,99,101,98,100.5,5000,,,,,,,\n"
    "20151224,97.5,P,0.5,0.6,0.4,0.45,12,340,0.31,-0.2,0.05,0.01,-0.3,-0.001\n"
    "20160115,100,C,2.5,2.6,2.4,2.55,0,,0.28,0.55,0.03,0.1,-0.05,0.02.7\n"
)


@pytest.fixture
def universe(small_lean: Path) -> Path:
    path = small_lean / "option" / "usa" / "universes" / "xyz" / "20151223.csv"
    path.parent.mkdir(parents=True)
    path.write_text(CHAIN)
    return path


def test_a_chain_is_known_when_its_day_is_over(small_lean, universe, tmp_path):
    reports = {report.name: report for report in import_lean(tmp_path / "cat", small_lean, only=["xyz"])}
    assert reports["lean-daily"].rows["chains/XYZ"] == 2
    path = day_file(tmp_path / "cat", "lean-daily", "chains", "XYZ", "2015-12-23")
    rows = (
        connect()
        .execute(
            "SELECT strftime(ts, '%Y-%m-%d %H:%M'), symbol, expiry::VARCHAR, strike, style, "
            "underlying_close, close, open_interest, implied_volatility, rho FROM read_parquet(?)",
            [str(path)],
        )
        .fetchall()
    )
    # midnight in New York after the day
    known = "2015-12-24 05:00"
    assert rows == [
        (known, "XYZ151224P00097500", "2015-12-24", 97.5, "american", 100.5, 0.45, 340.0, 0.31, -0.001),
        (known, "XYZ160115C00100000", "2016-01-15", 100.0, "american", 100.5, 2.55, None, 0.28, None),
    ]


def test_a_figure_that_is_no_number_is_noted(small_lean, universe, tmp_path):
    reports = import_lean(tmp_path / "cat", small_lean, only=["daily"])
    assert [report.name for report in reports] == ["lean-daily"]
    assert "1 figures that are no numbers left out of the XYZ chain of 2015-12-23" in reports[0].notes
    manifest = read_manifest(tmp_path / "cat", "lean-daily")
    assert manifest.bar_seconds == 86_400
    assert manifest.underlyings["XYZ"].instruments == 2
    assert verify_data_set(tmp_path / "cat", "lean-daily", "XYZ").ok


def test_a_row_without_a_readable_strike_is_refused_with_its_file(small_lean, universe, tmp_path):
    universe.write_text(CHAIN.replace("97.5,P", "much,P"))
    with pytest.raises(DataError, match="not what LEAN writes") as refused:
        import_lean(tmp_path / "cat", small_lean, only=["daily"])
    assert refused.value.where == str(universe)


def test_chains_are_filtered_like_bars(small_lean, universe):
    (found,) = find_chains(small_lean)
    assert (found.root, found.security, found.day) == ("XYZ", "option", date(2015, 12, 23))
    assert find_chains(small_lean, ["option", "xyz", "2015-12-23", "daily"]) == [found]
    assert find_chains(small_lean, ["minute"]) == find_chains(small_lean, ["2015-12-24"]) == []
    (universe.parent / "20151399.csv").write_text(CHAIN)
    (universe.parent / "notes.csv").write_text("")
    assert find_chains(small_lean) == [found]


@pytest.mark.recorded
@pytest.mark.parametrize("root", ["SPY", "SPX"])
def test_every_chain_row_equals_the_tidy_file(recorded_catalog, root):
    columns = (
        'symbol, underlying_close, expiry, strike, "right", open, high, low, close, volume, open_interest'
    )
    # the tidy file keeps six decimals of LEAN's seven
    figures = ("implied_volatility", "delta", "gamma", "vega", "theta", "rho")
    theirs = f"SELECT file_date, {columns} FROM '{SHARED}/eod_chains/{root.lower()}_universe.parquet'"
    ours = (
        f"SELECT (bar_start AT TIME ZONE 'America/New_York')::DATE AS file_date, {columns} "
        f"FROM '{recorded_catalog}/lean-daily/chains/{root}/*.parquet'"
    )
    far = " OR ".join(f"abs(a.{f} - b.{f}) > 1e-6 OR (a.{f} IS NULL) <> (b.{f} IS NULL)" for f in figures)
    with_figures = ", ".join(figures)
    counts = (
        connect()
        .execute(
            f"SELECT (SELECT count(*) FROM ({theirs})), (SELECT count(*) FROM ({theirs} EXCEPT ALL {ours})), "
            f"(SELECT count(*) FROM ({ours} EXCEPT ALL {theirs})), "
            f"(SELECT count(*) FROM ({theirs.replace(columns, columns + ', ' + with_figures)}) a "
            f"JOIN ({ours.replace(columns, columns + ', ' + with_figures)}) b USING (file_date, symbol) "
            f"WHERE {far})"
        )
        .fetchall()[0]
    )
    assert counts[0] > 100
    assert counts[1:] == (0, 0, 0)
