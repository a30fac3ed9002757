"""Downloads through the vendor's own client library, from a simulated exchange on this machine."""

import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from scalpdesk.cli.main import main
from scalpdesk.config.schema import Secret as Key
from scalpdesk.core.errors import ArgumentError, ConfigError, DataError, RetryError
from scalpdesk.datasets.manifests import read_manifest
from scalpdesk_alpaca.history import AlpacaHistory, _answer, _bars, _dividend
from scalpdesk_testing.kit.served import served

pytest.importorskip("alpaca")
requests = pytest.importorskip("requests")
BAR = {"t": "2026-11-20T14:30:00Z", "o": 1.0, "h": 2.0, "l": 0.5, "c": 1.5, "v": 10}


def test_without_the_vendors_package_a_download_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "alpaca.data.historical", None)
    with pytest.raises(ConfigError, match="a package that is not installed") as refused:
        AlpacaHistory(Key("k"), Key("s"))
    assert "scalpdesk[alpaca]" in refused.value.fix


def history(bench, secret=None):
    key = bench.server.keyring.credentials[0]
    return AlpacaHistory(Key(key.key), Key(secret or key.secret), base_url=bench.server.url)


def test_bars_and_dividends(socket_enabled):
    now = datetime.now(UTC)
    with served() as bench:
        client = history(bench)
        bars = list(client.stock_bars(["SPY"], now - timedelta(hours=30), now))
        dividends = client.cash_dividends("SPY", (now - timedelta(days=365)).date(), now.date())
    assert bars
    assert {bar.symbol for bar in bars} == {"SPY"}
    ends = [bar.ts_end_ns for bar in bars]
    assert ends == sorted(set(ends))
    assert all(bar.low <= bar.open <= bar.high for bar in bars)
    assert dividends
    assert all(line.amount == Decimal("1.75") for line in dividends)
    assert [line.ex_date for line in dividends] == sorted(line.ex_date for line in dividends)


def test_wrong_keys_are_said_without_showing_them(socket_enabled):
    now = datetime.now(UTC)
    with served() as bench, pytest.raises(RetryError, match="does not give its history") as caught:
        list(history(bench, "canary-77aa").stock_bars(["SPY"], now - timedelta(hours=1), now))
    assert "canary-77aa" not in str(caught.value)
    assert caught.value.value == "HTTP 401"


def test_a_venue_that_cannot_be_reached_is_said_by_its_kind_alone():
    def ask():
        raise requests.ConnectionError("headers: canary-77aa")

    with pytest.raises(RetryError, match="does not give its history") as caught:
        _answer(ask)
    assert caught.value.value == "ConnectionError"
    assert "canary-77aa" not in str(caught.value)


def test_a_length_or_moment_that_is_none_is_refused():
    client = AlpacaHistory(Key("k"), Key("s"))
    now = datetime.now(UTC)
    with pytest.raises(ArgumentError, match="length"):
        client.stock_bars(["SPY"], now, now, length="week")
    with pytest.raises(ArgumentError, match="time zone"):
        client.option_bars(["SPY"], now.replace(tzinfo=None), now)


@pytest.mark.rows("change", [{"h": 1.2}, {"t": "soon"}, {"o": "x"}, {"l": 0.0}, {"v": -1}])
def test_a_bar_that_cannot_be_believed_is_refused(change):
    with pytest.raises(DataError, match="bar"):
        list(_bars({"SPY": [BAR, {**BAR, **change}]}, 60))


@pytest.mark.rows("line", [{}, {"symbol": "SPY", "rate": -1, "ex_date": "2026-01-01"}, 5])
def test_a_dividend_that_cannot_be_believed_is_refused(line):
    with pytest.raises(DataError, match="dividend"):
        _dividend(line)


def test_a_download_is_a_data_set_that_a_run_can_load(socket_enabled, tmp_path, monkeypatch, capsys):
    now = datetime.now(UTC)
    days = [str((now - timedelta(days=back)).date()) for back in (4, 0)]
    with served() as bench:
        key = bench.server.keyring.credentials[0]
        monkeypatch.setenv("TRADING_API_KEY", key.key)
        monkeypatch.setenv("TRADING_API_SECRET", key.secret)
        words = ["data", "download", "alpaca", "spy", "--start", days[0], "--end", days[1]]
        words += ["--catalog", str(tmp_path), "--url", bench.server.url, "--json"]
        assert main(words) == 0
        first = json.loads(capsys.readouterr().out)["data_sets"][0]
        assert main(words) == 0  # again: the same days are replaced
        again = json.loads(capsys.readouterr().out)["data_sets"][0]
    assert first["name"] == "alpaca"
    assert first["rows"]["trades/SPY"] > 0
    assert again["rows"].keys() == first["rows"].keys()
    manifest = read_manifest(tmp_path, "alpaca")
    assert manifest.bar_seconds == 60
    assert manifest.underlyings["SPY"].tables["trades/SPY"] >= first["rows"]["trades/SPY"]


def test_a_download_needs_keys_and_days_in_order(tmp_path, monkeypatch, capsys):
    words = ["data", "download", "alpaca", "SPY", "--catalog", str(tmp_path), "--start", "2026-01-09"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "needs the keys of an account" in told
    assert "put TRADING_API_KEY and TRADING_API_SECRET into .env\n" in told
    monkeypatch.setenv("STRATEGY_MODE", "st0cka")
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "where: credentials.st0cka_key, credentials.st0cka_secret" in told
    assert "put ST0CKAKEY and ST0CKASECRET into .env, or the common TRADING_API_KEY" in told
    monkeypatch.setenv("ST0CKAKEY", "k")
    monkeypatch.setenv("ST0CKASECRET", "s")
    assert main([*words, "--end", "2026-01-05"]) == 2  # these keys are taken: the days are next
    assert "the last day lies before the first" in capsys.readouterr().err
    monkeypatch.delenv("STRATEGY_MODE")
    assert main([*words, "--end", "2026-01-05"]) == 2  # in every mode: they open an account at this venue
    assert "the last day lies before the first" in capsys.readouterr().err
    monkeypatch.setenv("TRADING_API_KEY", "k")
    monkeypatch.setenv("TRADING_API_SECRET", "s")
    assert main([*words, "--end", "2026-01-05"]) == 2
    assert "the last day lies before the first" in capsys.readouterr().err


@pytest.mark.rows("found", [[], None, "x"])
def test_a_history_that_is_no_table_is_refused_with_its_kind(found):
    assert _answer(dict) == {}
    with pytest.raises(DataError, match="not of its form") as caught:
        _answer(lambda: found)
    assert caught.value.value == type(found).__name__
