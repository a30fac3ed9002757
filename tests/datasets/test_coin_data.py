"""Rows of a coin market in the catalogue, files of others, and the tables for research."""

import json
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.errors import DataError
from scalpdesk.datasets.coin_data import (
    Downloaded,
    add_rows,
    finish,
    import_coin_table,
    index_closes,
    research_tables,
    term_structure,
    write_processed,
)
from scalpdesk.datasets.embedded.coin import FIRST_HISTORY, _levels, reconstruct_coin, smile_vol
from scalpdesk.datasets.implied_vols import implied_vol_30d
from scalpdesk.datasets.importers.base import ImportReport
from scalpdesk.datasets.store import connect
from scalpdesk.datasets.verify import option_rows, parity_findings
from scalpdesk.instruments.sessions import account_day, coin_session
from scalpdesk.marketdata.chain_surface import chain_quotes_at

DAY = date(2025, 3, 5)
SECOND = 10**9


def stored(path, select="*"):
    return connect().execute(f"SELECT {select} FROM read_parquet('{path}')").fetchall()


@pytest.fixture(scope="module")
def tape():
    return reconstruct_coin(DAY, DAY + timedelta(days=1))


@pytest.fixture(scope="module")
def tables(tape):
    return research_tables(tape, every_hours=12, windows=(1, 2), index={DAY: 0.5})


def test_realised_volatility_is_the_root_of_the_summed_squares_of_five_minutes(tape, tables):
    for session, row in zip(tape.sessions, tables["realised_vol"], strict=True):
        quotes = tape.quotes.between(session.open_ns, session.close_ns)
        mids = (0.5 * (quotes.bid + quotes.ask))[quotes.instrument_id == 0]
        # a quote each half minute: every tenth is one of five minutes; the first comes a nanosecond late
        closes = mids[10:][::10]
        returns = np.diff(np.log(closes))
        assert len(returns) == 287
        assert row["vol"] == pytest.approx(np.sqrt(np.mean(returns**2) * 365 * 288), rel=1e-12)
        steps = np.abs(returns)
        bipower = np.pi / 2 * np.mean(steps[1:] * steps[:-1]) * 365 * 288
        assert row["bipower"] == pytest.approx(np.sqrt(bipower), rel=0.01)
        assert (row["open"], row["high"], row["low"], row["close"]) == (
            mids[0], mids.max(), mids.min(), mids[-1],
        )  # fmt: skip


@pytest.mark.parametrize("hours", [6, 12])
def test_a_day_that_was_recorded_in_part_has_the_volatility_of_that_part(tape, hours):
    session = tape.sessions[0]
    quotes = tape.quotes.between(session.open_ns, session.open_ns + hours * 3_600 * SECOND)
    mids = (0.5 * (quotes.bid + quotes.ask))[quotes.instrument_id == 0]
    (row,) = research_tables(replace(tape, quotes=quotes, sessions=(session,)), windows=(1,))["realised_vol"]
    returns = np.diff(np.log(mids[10:][::10]))
    assert len(returns) == 12 * hours - 1
    assert row["vol"] == pytest.approx(np.sqrt(np.mean(returns**2) * 365 * 288), rel=1e-12)


@pytest.mark.parametrize("hours", [6, 12])
def test_a_day_that_was_recorded_in_part_has_the_implied_volatility_of_its_last_quotes(tape, hours):
    """Half an hour in steps to it; a minute before midnight the same premiums gave 1.2 and 0.8 % more."""
    session = tape.sessions[0]
    end_ns = session.open_ns + hours * 3_600 * SECOND
    part = replace(tape, quotes=tape.quotes.between(session.open_ns, end_ns), sessions=(session,))
    found = research_tables(part, windows=(1,))
    wanted = implied_vol_30d(chain_quotes_at(tape, end_ns))
    (row,) = found["variance_premium"]
    assert row["iv_30d"] == pytest.approx(wanted, rel=1e-12)
    late = implied_vol_30d(chain_quotes_at(part, session.close_ns - 60 * SECOND))
    assert late > wanted * 1.006
    assert {each["ts"] for each in found["term_structure"]} == {int(part.quotes.ts_ns[-1])}


def test_the_term_structure_is_that_which_the_market_was_drawn_with(tables):
    rows = tables["term_structure"]
    assert len({row["ts"] for row in rows}) == 4  # twice a day
    for row in rows:
        level = _levels(1)[(account_day(row["ts"]) - FIRST_HISTORY).days]
        wanted = smile_vol(level, np.array([row["days"] / 365.0]), np.zeros(1))[0]
        assert row["atm_vol"] == pytest.approx(wanted, abs=0.005 if row["days"] > 2.0 else 0.03)
        if row["days"] > 2.0:
            assert row["butterfly"] > 0.0  # the smile is convex
    assert [row["days"] for row in rows[:2]] == sorted(row["days"] for row in rows[:2])


def test_the_variance_premium_is_implied_less_realised_variance(tables):
    first, _, second, two_days = tables["variance_premium"]
    vols = [row["vol"] for row in tables["realised_vol"]]
    assert (first["window_days"], two_days["window_days"]) == (1.0, 2.0)
    assert first["premium"] == pytest.approx(first["iv_30d"] ** 2 - vols[0] ** 2, rel=1e-12)
    assert first["ratio"] == pytest.approx(first["iv_30d"] / vols[0], rel=1e-12)
    assert first["later_vol"] == pytest.approx(vols[1], rel=1e-12)
    assert two_days["trailing_vol"] == pytest.approx(np.sqrt(np.mean(np.square(vols))), rel=1e-12)
    assert np.isnan(second["later_vol"])
    assert (first["dvol"], second["dvol"]) == (0.5, None)
    for row, day in ((first, DAY), (second, DAY + timedelta(days=1))):
        level = _levels(1)[(day - FIRST_HISTORY).days]
        assert row["iv_30d"] == pytest.approx(
            smile_vol(level, np.array([30 / 365.0]), np.zeros(1))[0], abs=0.003
        )


def test_no_window_reaches_over_a_day_without_a_volatility(tape):
    sessions = (coin_session(DAY - timedelta(days=1)), *tape.sessions)
    kept = tape.quotes.between(tape.sessions[1].open_ns, tape.sessions[1].close_ns)
    kept = type(kept).joined([replace(kept, ts_ns=kept.ts_ns - 2 * 86_400 * SECOND), kept])
    found = research_tables(replace(tape, quotes=kept, sessions=sessions), windows=(1, 2))
    assert [row["day"] for row in found["realised_vol"]] == [sessions[0].day, sessions[2].day]
    first, first_of_two, last, last_of_two = found["variance_premium"]
    assert first["trailing_vol"] == last["trailing_vol"] > 0.0
    assert np.isnan([first["later_vol"], first_of_two["later_vol"], last_of_two["trailing_vol"]]).all()
    assert "premium" not in last_of_two


def test_tables_are_written_with_their_columns(tables, tmp_path):
    assert write_processed(tmp_path / "made", tables) == {name: len(rows) for name, rows in tables.items()}
    got = stored(tmp_path / "made" / "variance_premium.parquet", "day, window_days, dvol, later_vol")
    assert got[0][:3] == (DAY, 1.0, 0.5)
    assert got[2][2:] == (None, None)


def test_a_chain_without_two_sided_quotes_has_no_line(tape):
    chain = chain_quotes_at(tape, tape.sessions[0].open_ns + 60 * SECOND)
    for entry in chain.expiries[1:]:
        entry.bid[:] = np.nan
    assert [row["expiry"] for row in term_structure(chain)] == [DAY + timedelta(days=1)]


def test_process_as_a_command(tmp_path, capsys):
    words = ["data", "process", "embedded-btc", "--start", str(DAY), "--to", str(tmp_path)]
    assert main([*words, "--windows", "1,x"]) == 2
    assert "not a list of days" in capsys.readouterr().err
    assert main([*words, "--windows", "1"]) == 0
    assert "embedded-btc (reconstructed): 1 day in" in capsys.readouterr().out
    assert len(stored(tmp_path / "embedded-btc" / "realised_vol.parquet")) == 1


def test_options_without_the_perpetual_make_no_market_and_name_no_day(tmp_path, capsys):
    at_ns = coin_session(DAY).open_ns + SECOND
    option = ticker(at_ns, symbol="BTC-7MAR25-90000-C", bid=0.01, ask=0.02)
    words = ["data", "process", "deribit", "--start", str(DAY), "--catalog", str(tmp_path)]
    add_rows(tmp_path, "deribit", "tickers", "BTC", [option], ImportReport("deribit"))
    finish(tmp_path, "deribit", ["BTC"], source="a test")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "no tickers of BTC-PERPETUAL at all: options alone make no market" in said
    assert "fix: scalpdesk data record deribit BTC" in said
    assert "nearest" not in said
    add_rows(
        tmp_path, "deribit", "tickers", "BTC", [ticker(at_ns + 86_400 * SECOND)], ImportReport("deribit")
    )
    finish(tmp_path, "deribit", ["BTC"], source="a test")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "no tickers of BTC-PERPETUAL in these days" in said
    assert f"fix: --start {DAY + timedelta(days=1)}" in said


def test_a_linear_perpetual_is_no_market_of_the_inverse_contracts(tmp_path, capsys):
    rows = [ticker(coin_session(DAY).open_ns + SECOND)]
    add_rows(tmp_path, "deribit", "tickers", "BTC", rows, ImportReport("deribit"))
    finish(tmp_path, "deribit", ["BTC"], source="a test")
    words = ["data", "process", "deribit", "--start", str(DAY), "--catalog", str(tmp_path)]
    assert main([*words, "--underlying", "BTC_USDC-PERPETUAL"]) == 2
    assert "BTC_USDC-PERPETUAL" in capsys.readouterr().err


# rows and files -----------------------------------------------------------------------------------------


def ticker(at_ns, **more):
    return {"ts": at_ns, "symbol": "BTC-PERPETUAL", "bid": 50_000.0, "ask": 50_000.5, **more}


def test_rows_go_to_the_day_that_their_instant_ends_and_are_not_doubled(tmp_path):
    end = coin_session(DAY).close_ns
    rows = [ticker(end - SECOND), ticker(end), ticker(end + SECOND, bid=float("nan"))]
    for _ in range(2):
        add_rows(tmp_path, "own", "tickers", "BTC", rows, ImportReport("own"))
    folder = tmp_path / "own" / "tickers" / "BTC"
    assert [path.stem for path in sorted(folder.iterdir())] == ["2025-03-05", "2025-03-06"]
    assert stored(folder / "2025-03-05.parquet", "epoch_ns(ts)") == [(end - SECOND,), (end,)]
    assert stored(folder / "2025-03-06.parquet", "bid, ask") == [(None, 50_000.5)]


def test_the_volatility_index_of_a_day_is_its_last(tmp_path):
    end = coin_session(DAY).close_ns
    rows = [
        {"ts": end - hours * 3_600 * SECOND, "bar_start": end - (hours + 1) * 3_600 * SECOND,
         "symbol": "DVOL-BTC", "open": 0.5, "high": 0.6, "low": 0.4, "close": level}
        for hours, level in ((1, 0.51), (0, 0.52), (-1, 0.53))
    ]  # fmt: skip
    add_rows(tmp_path, "own", "volatility_index", "BTC", rows, ImportReport("own"))
    finish(tmp_path, "own", ["BTC"], source="test")
    assert index_closes(tmp_path, "own", "BTC") == {DAY: 0.52, DAY + timedelta(days=1): 0.53}
    assert index_closes(tmp_path, "own", "ETH") == {}


def test_a_damaged_list_of_downloaded_days_is_named(tmp_path):
    kept = Downloaded(tmp_path, "own")
    kept.add("prints/BTC", DAY)
    assert Downloaded(tmp_path, "own").has("prints/BTC", DAY)
    assert not Downloaded(tmp_path, "own").has("prints/ETH", DAY)
    (tmp_path / "own" / "downloaded.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        Downloaded(tmp_path, "own")


def test_files_of_others_are_tickers_prints_or_bars(tmp_path):
    daily = tmp_path / "daily.csv"
    daily.write_text("date,symbol,open,high,low,close,volume\n2025-03-05,BTCUSD,1,3,0.5,2,10\n")
    report = import_coin_table(tmp_path, daily, name="own")
    assert (report.name, report.rows) == ("own-daily", {"trades/BTC": 1})
    ((ts, close),) = stored(tmp_path / "own-daily" / "trades" / "BTC" / "2025.parquet", "ts, close")
    assert (ts, close) == (datetime(2025, 3, 6, tzinfo=UTC), 2.0)
    chain = tmp_path / "chain.csv"
    chain.write_text(
        "ts,symbol,bid,bid_size,ask,ask_size,mark_iv,bid_iv,delta\n"
        "2025-03-05T12:00:00Z,ETH-14MAR25-2000-C,0,0,0.05,3,64.5,0,0.4\n"
    )
    assert import_coin_table(tmp_path, chain, name="own").rows == {"tickers/ETH": 1}
    got = stored(
        tmp_path / "own" / "tickers" / "ETH" / "2025-03-05.parquet", "bid, ask, ask_amount, mark_iv, bid_iv"
    )
    assert got == [(None, 0.05, 3.0, 0.645, None)]
    prints = tmp_path / "prints.csv"
    prints.write_text(
        "ts,symbol,trade_id,side,price,amount\n2025-03-05T12:00:00Z,BTC-PERPETUAL,a1,buy,5,10\n"
    )
    assert import_coin_table(tmp_path, prints, name="own").rows == {"prints/BTC": 1}


def test_times_of_a_coin_s_file_without_a_zone_are_utc_on_any_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    bars = tmp_path / "bars.csv"
    bars.write_text(
        "ts,bar_start,symbol,open,high,low,close,volume\n"
        "2025-03-05 12:01:00,2025-03-05 12:00:00,BTC-PERPETUAL,1,1,1,1,1\n"
    )
    import_coin_table(tmp_path, bars, name="own")
    monkeypatch.undo()
    time.tzset()
    ((ts,),) = stored(tmp_path / "own" / "trades" / "BTC" / "2025-03-05.parquet", "ts")
    assert ts == datetime(2025, 3, 5, 12, 1, tzinfo=UTC)


def test_a_coin_s_prices_keep_their_decimals_after_twenty_thousand_whole_ones(tmp_path):
    """DuckDB judges a column by its first 20,480 rows unless it is told to look at all."""
    bars = tmp_path / "daily.csv"
    whole = "2025-03-05,BTC-PERPETUAL,1,1,1,1,1\n" * 20_600
    bars.write_text(
        f"date,symbol,open,high,low,close,volume\n{whole}2025-03-06 00:00:00,BTC-PERPETUAL,1,2,1,1.5,1\n"
    )
    import_coin_table(tmp_path, bars, name="own")
    closes = stored(tmp_path / "own-daily" / "trades" / "BTC" / "2025.parquet", "close")
    assert closes[-1] == (1.5,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("date,open,high,low,close,volume\n2025-03-05,1,1,1,1,1\n", "neither tickers nor prints nor bars"),
        (
            "ts,symbol,open,high,low,close,volume\n2025-03-05T12:00:00Z,BTC-PERPETUAL,1,1,1,1,1\n",
            "neither tickers nor prints nor bars",
        ),
        (
            (
                "date,symbol,open,high,low,close,volume\n,BTC-PERPETUAL,1,1,1,1,1\n"
                "2025-03-05,BTC-PERPETUAL,1,1,1,1,1\n"
            ),
            "not an instant",
        ),
        ("ts,symbol,mark_iv\n1741176000000,BTC-14MAR25-90000-C,50\n", "not an instant"),
        ("ts,symbol,mark_iv\n2025-03-05T12:00:00Z,BTC-14MAR25-90000-C,50%\n", "not a number"),
        ("date,symbol,open,high,low,close,volume\n01/04/2025,BTC-PERPETUAL,1,1,1,1,1\n", "in two ways"),
        ("ts,symbol,size\n2025-03-05T12:00:00Z,BTC-PERPETUAL,3\n", "neither tickers nor prints nor bars"),
        (
            (
                "ts,bar_start,symbol,open,high,low,close,volume\n"
                "2025-03-05T12:01:00Z,2025-03-05T12:00:00Z,BTCUSD,1,1,1,1,1\n"
                "2025-03-05T12:05:00Z,2025-03-05T12:00:00Z,BTCUSD,1,1,1,1,1\n"
            ),
            "bars of one length",
        ),
        ("", "neither|cannot be read"),
    ],
)
def test_a_file_that_is_none_of_them_is_refused(text, says, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        import_coin_table(tmp_path, path, name="own")


def test_prices_in_coin_are_checked_in_dollars(tape, capsys):
    assert main(["data", "verify", "embedded-btc", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    found = {check["name"]: (check["checked"], check["found"]) for check in report["checks"]}
    assert found["asks not below intrinsic value"] == (181_008, 0)
    assert found["put-call parity"] == (88_851, 0)
    quotes = tape.quotes.between(tape.sessions[0].open_ns, tape.sessions[0].close_ns)
    dear = np.where(quotes.instrument_id == 1, 1.5, 1.0)  # a call a half too dear
    wrong = replace(tape, quotes=replace(quotes, bid=quotes.bid * dear, ask=quotes.ask * dear))
    assert parity_findings(option_rows(wrong)).found > 500
