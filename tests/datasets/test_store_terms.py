from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.catalog import rate_curve_on, upcoming_actions
from scalpdesk.datasets.importers.lean import import_lean
from scalpdesk.datasets.store import connect, day_file, write_table
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.instruments.futures import future_contract
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk_testing.kit.archives import put_zip


@pytest.mark.parametrize(
    ("symbol", "expiry", "multiplier", "tick"),
    [
        # CME calendar: third Fridays
        ("ES_201312", date(2013, 12, 20), 50, "0.25"),
        ("MNQ_202603", date(2026, 3, 20), 2, "0.25"),
        ("RTY_202409", date(2024, 9, 20), 50, "0.10"),
    ],
)
def test_index_futures_by_root_and_month(symbol, expiry, multiplier, tick):
    contract = future_contract(symbol)
    assert (contract.expiry, contract.multiplier) == (expiry, multiplier)
    assert contract.tick_rule.tick_at(Decimal(4000)) == Decimal(tick)


@pytest.mark.parametrize("symbol", ["EX_201312", "ES_201313", "ES201312", "ES_2013"])
def test_another_symbol_is_refused_with_the_known_roots(symbol):
    with pytest.raises(DataError, match="ROOT_yyyymm") as refused:
        future_contract(symbol)
    assert refused.value.value == symbol


@pytest.fixture
def catalog(tmp_path):
    root = tmp_path / "Data"
    for path, text in {
        "equity/usa/factor_files/xyz.csv": "20150601,0.99,0.5,180\n20151218,0.99,1,100\n20501231,1,1,0\n",
        "alternative/interest-rate/usa/interest-rate.csv": "DATE,P\n2015-01-01,0.75\n2015-12-17,1.00\n",
    }.items():
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
    put_zip(
        root / "equity" / "usa" / "minute" / "xyz" / "20151218_trade.zip",
        {"20151218_xyz_minute_trade.csv": "34200000,1000000,1003000,999000,1001000,1500\n"},
    )
    import_lean(tmp_path / "cat", root)
    return tmp_path / "cat"


def test_dividends_and_splits_are_those_with_ex_dates_in_the_span(catalog):
    first, last = date(2015, 6, 1), date(2015, 12, 21)
    dividends, actions = upcoming_actions(connect(), catalog, "lean", "XYZ", (first, last), last)
    assert dividends == (CashDividend("XYZ", date(2015, 12, 21), Decimal(1)),)
    split = CorporateAction(symbol="XYZ", ex_date=date(2015, 6, 2), kind=ActionKind.SPLIT, ratio=Decimal(2))
    assert actions == (split,)
    assert upcoming_actions(connect(), catalog, "lean", "XYZ", (first, last), date(2015, 12, 20))[0] == ()
    assert upcoming_actions(connect(), catalog, "lean", "ABC", (first, last), last) == ((), ())


@pytest.mark.parametrize(("symbol", "known"), [("SPY", 2), ("XYZ", 1)])
def test_of_an_index_fund_the_dividends_of_the_year_before_are_read_too(tmp_path, symbol, known):
    path = day_file(tmp_path, "own", "corporate_actions", symbol, "all")
    rows = (
        "SELECT ? AS symbol, UNNEST([DATE '2014-03-21', DATE '2014-09-19', DATE '2015-09-18']) AS ex_date, "
        "'dividend' AS action, 1.0::DECIMAL(18,6) AS amount"
    )
    write_table(connect(), rows, path, parameters=[symbol])
    days = date(2015, 8, 19), date(2015, 8, 26)
    dividends, _ = upcoming_actions(connect(), tmp_path, "own", symbol, days, date(2015, 9, 18))
    assert len(dividends) == known


@pytest.mark.parametrize("action", ["merger", "spin_off"])
def test_a_run_over_a_merger_or_a_spin_off_is_refused_by_day_and_share(tmp_path, action):
    path = day_file(tmp_path, "own", "corporate_actions", "XYZ", "all")
    rows = "SELECT 'XYZ' AS symbol, DATE '2015-06-10' AS ex_date, ? AS action, 0.5::DECIMAL(18,6) AS amount"
    write_table(connect(), rows, path, parameters=[action])

    def load(first, end):
        days = date(2015, 6, first), date(2015, 6, end)
        return upcoming_actions(connect(), tmp_path, "own", "XYZ", days, date(2015, 6, 30))

    for first, end in ((1, 10), (9, 30)):
        with pytest.raises(DataError) as refused:
            load(first, end)
        assert "XYZ on 2015-06-10" in refused.value.what
        assert refused.value.fix == "end the run before 2015-06-10, or begin it on 2015-06-10 or later"
    for first, end in ((1, 9), (10, 30), (11, 30)):
        assert load(first, end) == ((), ())


def test_the_rate_is_the_one_in_force(catalog):
    path = day_file(catalog, "lean", "rates", "USD", "all")
    before = rate_curve_on(connect(), path, date(2015, 12, 16))
    after = rate_curve_on(connect(), path, date(2015, 12, 17))
    assert before is not None
    assert after is not None
    assert before.rate_at(30) == pytest.approx(0.00747201, abs=1e-8)
    assert after.rate_at(30) == pytest.approx(0.00995033, abs=1e-8)
    assert rate_curve_on(connect(), path, date(2014, 12, 31)) is None
    assert rate_curve_on(connect(), path.with_name("none.parquet"), date(2015, 12, 17)) is None
