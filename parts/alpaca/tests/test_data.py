"""Option bars and chains from a simulated exchange on this machine, through the vendor's own library."""

import json
import math
from datetime import date
from statistics import NormalDist

import pytest

pytest.importorskip("alpaca", reason="the extra alpaca")

from scalpdesk.cli.main import main
from scalpdesk.config.schema import Secret as Key
from scalpdesk.core.errors import DataError
from scalpdesk.datasets.chain_snapshots import (
    ChainSnapshot,
    OptionSnapshot,
    ShareQuote,
    add_snapshots,
    mark_rows,
)
from scalpdesk.datasets.importers.base import ImportReport
from scalpdesk.datasets.manifests import read_manifest
from scalpdesk.datasets.store import connect
from scalpdesk.exchange.launch import LaunchPlan
from scalpdesk_alpaca.history import AlpacaHistory
from scalpdesk_testing.kit.exchange import DAY_TEXT, Venue, generated
from scalpdesk_testing.kit.served import served


def keys(monkeypatch, key, secret):
    monkeypatch.setenv("TRADING_API_KEY", key)
    monkeypatch.setenv("TRADING_API_SECRET", secret)


def asked(capsys, *words):
    code = main(["data", *words, "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out or captured.err)


def rows(catalog, name, table, key, columns):
    files = [str(path) for path in sorted((catalog / name / table / key).glob("*.parquet"))]
    return connect().execute(f"SELECT {columns} FROM read_parquet(?)", [files]).fetchall()


class Watch:
    """A clock that a wait moves."""

    def __init__(self):
        self.ns, self.waits = 0, []

    def now_ns(self):
        return self.ns

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.ns += int(seconds * 1e9) + 1


def test_a_chain_comes_in_pages_within_the_limit_of_requests(socket_enabled):
    watch = Watch()
    with served() as bench:
        key = bench.server.keyring.credentials[0]
        history = AlpacaHistory(
            Key(key.key),
            Key(key.secret),
            base_url=bench.server.url,
            requests_per_minute=10,
            now_ns=watch.now_ns,
            sleep=watch.sleep,
        )
        lines = history.chain("SPY", page_lines=100)
        whole = history.chain("SPY")
        near = history.chain("SPY", strikes=(599.0, 601.0))
    symbols = [line.contract.symbol for line in lines]
    assert symbols == [line.contract.symbol for line in whole]
    assert len(symbols) == len(set(symbols)) > 600
    assert {int(line.contract.symbol[-8:]) / 1000 for line in near} <= {599.0, 600.0, 601.0}
    # six requests at once, four of ten being kept for others; then one each six seconds
    pages = -(-len(symbols) // 100) + -(-len(symbols) // 1_000) + 1
    assert len(watch.waits) == pages - 6
    assert watch.waits == pytest.approx([6.0] * len(watch.waits), abs=1e-6)


def test_option_bars_of_a_chain_are_downloaded_once_a_session(socket_enabled, monkeypatch, tmp_path, capsys):
    venue = Venue(LaunchPlan(generated("SPY"), trading_limit=0, data_limit=0))
    try:
        keys(monkeypatch, venue.key, venue.secret)
        venue.advance(120)
        words = ("download", "alpaca", "spy", "--start", DAY_TEXT, "--chain", "--days", "2", "--strikes", "1")
        words += ("--url", venue.url, "--catalog", str(tmp_path))
        first, again, forced = (asked(capsys, *words, *more)[1] for more in ((), (), ("--again",)))
    finally:
        venue.stop()
    counts = [each["data_sets"][0]["rows"].get("option_trades/SPY") for each in (first, again, forced)]
    assert counts[0] > 10
    assert counts[1:] == [None, counts[0]]
    ((low, high),) = rows(tmp_path, "alpaca", "trades", "SPY", "min(low), max(high)")
    ((bottom, top, expiry),) = rows(
        tmp_path, "alpaca", "option_trades", "SPY", "min(strike), max(strike), max(expiry)"
    )
    assert 0.99 * low <= bottom <= top <= 1.01 * high
    assert expiry <= date(2026, 11, 20)


def test_a_recorded_chain_has_the_venues_values_and_own_ones(socket_enabled, monkeypatch, tmp_path, capsys):
    with served() as bench:
        key = bench.server.keyring.credentials[0]
        keys(monkeypatch, key.key, key.secret)
        words = ("record", "alpaca", "spy", "--days", "8", "--strikes", "2", "--minutes", "0.001")
        code, made = asked(capsys, *words, "--url", bench.server.url, "--catalog", str(tmp_path))
    assert code == 0
    counted = made["data_sets"][0]["rows"]
    assert counted["option_quotes/SPY"] == counted["option_marks/SPY"] > 40
    names = ("implied_volatility", "delta", "gamma", "theta", "vega", "rho")
    compared = 0
    columns = ", ".join(f"{name}, venue_{name}" for name in names)
    for values in rows(tmp_path, "alpaca-chain", "option_marks", "SPY", columns):
        if None in values:
            continue
        own, venues = values[::2], values[1::2]
        vega = own[-2]
        if vega < 0.02:  # a cent of the price is half a point of volatility, and today's expiry has many such
            continue
        compared += 1
        # the venue prices at its own rate and instant, which moves a few days' values by little
        assert own == pytest.approx(venues, rel=0.1, abs=0.012)
    assert compared > 30
    assert read_manifest(tmp_path, "alpaca-chain").underlyings["SPY"].type == "equity"


AT_NS = 1_795_185_000_000_000_000  # 2026-11-20 14:30:00 UTC


def option(symbol, bid, ask, **more):
    from scalpdesk.instruments.classes import us_option

    stamp = more.pop("quote_ns", AT_NS)
    return OptionSnapshot(
        contract=us_option(symbol, ["XYZ"]),
        quote_ns=stamp,
        bid=bid,
        ask=ask,
        bid_size=1.0,
        ask_size=2.0,
        **more,
    )


def black(forward, strike, years, vol, sign):
    """Black (1976), undiscounted."""
    deviation = vol * math.sqrt(years)
    d = math.log(forward / strike) / deviation + deviation / 2
    norm = NormalDist().cdf
    return sign * (forward * norm(sign * d) - strike * norm(sign * (d - deviation)))


def chain_of(vol=0.2, forward=600.0, years=28.0 / 365):
    """A chain of 2026-12-18, priced by Black's formula."""
    options = []
    for strike in range(570, 635, 5):
        for sign, right in ((1, "C"), (-1, "P")):
            price = black(forward, strike, years, vol, sign)
            options.append(option(f"SPY261218{right}{strike * 1000:08d}", price - 0.005, price + 0.005))
    share = ShareQuote(symbol="SPY", bid=599.99, ask=600.01, bid_size=100.0, ask_size=200.0)
    return ChainSnapshot(ts_ns=AT_NS, underlying=share, options=tuple(options))


def test_own_volatilities_are_those_that_the_quotes_were_priced_at():
    years = (1_797_627_600 - AT_NS // 10**9) / (365 * 86_400)  # to 2026-12-18 16:00 in New York
    found = mark_rows(chain_of(years=years))
    assert len(found) == 26
    for row in found:
        assert row["forward"] == pytest.approx(600.0, abs=0.02)
        assert row["implied_volatility"] == pytest.approx(0.2, abs=2e-3)
        deviation = 0.2 * math.sqrt(years)
        d = math.log(600.0 / row["strike"]) / deviation + deviation / 2
        density = math.exp(-d * d / 2) / math.sqrt(2 * math.pi)
        assert row["gamma"] == pytest.approx(density / (600.0 * deviation), rel=0.02)
        assert row["vega"] == pytest.approx(600.0 * density * math.sqrt(years) / 100, rel=0.02)
        assert row["theta"] == pytest.approx(-600.0 * density * 0.2 / (2 * math.sqrt(years)) / 365, rel=0.03)


def test_a_side_that_is_absent_has_no_own_value_and_old_quotes_do_not_trade(tmp_path):
    chain = chain_of()
    gone = option("SPY261218C00640000", 0.0, 0.05, implied_volatility=0.19)
    old = option("SPY261218C00645000", 0.01, 0.0, quote_ns=AT_NS - 20 * 3_600 * 10**9)
    snapshot = ChainSnapshot(ts_ns=AT_NS, underlying=chain.underlying, options=(*chain.options, gone, old))
    report = ImportReport("mine")
    add_snapshots(tmp_path, "mine", [snapshot], report, bar_seconds=60, source="test")
    assert report.rows == {"quotes/SPY": 1, "option_quotes/SPY": 27, "option_marks/SPY": 28}
    columns = "bid, bid_size, ask, implied_volatility, venue_implied_volatility, quote_age_seconds"
    marks = {row[0]: row[1:] for row in rows(tmp_path, "mine", "option_marks", "SPY", f"symbol, {columns}")}
    assert marks["SPY261218C00640000"] == (0.0, 0.0, 0.05, None, 0.19, 0.0)
    assert marks["SPY261218C00645000"][2:] == (math.inf, None, None, 72_000.0)
    again = ImportReport("mine")
    with pytest.raises(DataError):
        add_snapshots(tmp_path, "mine", [snapshot], again, bar_seconds=5, source="test")
