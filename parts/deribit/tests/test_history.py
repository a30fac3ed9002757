"""Public history and live chains, over a socket from the simulated exchange, into the folder of raw data."""

import asyncio
import base64
import json
import os
import signal
import threading
import urllib.request
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import date

import aiohttp
import numpy as np
import pytest

from scalpdesk.assembly import forecast_event, forecasts
from scalpdesk.base import InstrumentId, RetryError
from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings
from scalpdesk.datasets.catalog import find_underlying
from scalpdesk.datasets.coin_data import add_rows, coin_tape, finish
from scalpdesk.datasets.daily_history import find_history
from scalpdesk.datasets.embedded.coin import daily_bars_before, reconstruct_coin
from scalpdesk.datasets.store import connect
from scalpdesk.exchange.launch import LaunchPlan
from scalpdesk.exchange.market import MarketOptions
from scalpdesk.exchange.source import TapeSource
from scalpdesk.instruments.sessions import coin_session
from scalpdesk.plugins import ImportReport
from scalpdesk.venues import TcpNetwork
from scalpdesk_deribit.gateway import exchange_urls
from scalpdesk_deribit.history import DeribitHistory
from scalpdesk_testing.kit.exchange import Venue

DAY = date(2025, 3, 5)
SWAP = "BTC-PERPETUAL"
MS = 1_000_000
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture(scope="module")
def tape():
    """Two days of the reconstructed market, quoted near the money in four expiries only."""
    whole = reconstruct_coin(DAY, date(2025, 3, 6))
    quotes = whole.quotes.whole()
    expiries = {date(2025, 3, day) for day in (6, 14, 28)} | {date(2025, 4, 25)}
    near = [
        number
        for number, item in whole.instruments.options(SWAP)
        if item.expiry in expiries and abs(item.strike - 58_000) <= 1_000
    ]
    return replace(whole, quotes=quotes.take(np.isin(quotes.instrument_id, [0, *near])))


@pytest.fixture(scope="module")
def venue(tape, socket_enabled):
    """The exchange an hour into its second day, after a dozen executions in the first."""
    plan = LaunchPlan(TapeSource(tape), MarketOptions(), protocol="deribit", cash=20.0, currency="BTC")
    made = Venue(plan)
    try:
        made.advance(3_600)
        for n in range(12):
            buy(made, SWAP if n % 3 else near_call(tape), 100 if n % 3 else 0.1)
            made.advance(60)
        made.advance(86_400 - 720)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def socket_enabled():
    import pytest_socket

    pytest_socket.enable_socket()


@pytest.fixture
def own(tape, socket_enabled):
    made = Venue(LaunchPlan(TapeSource(tape), MarketOptions(), protocol="deribit", cash=2.0, currency="BTC"))
    made.advance(3_600)
    yield made
    made.stop()


def addresses(venue):
    return exchange_urls(venue.url)


def near_call(tape):
    return next(
        item.symbol
        for item in tape.instruments
        if item.symbol.endswith("58000-C") and item.expiry == date(2025, 3, 14)
    )


def buy(venue, symbol, amount):
    query = f"instrument_name={symbol}&amount={amount}&type=market"
    request = urllib.request.Request(f"{venue.url}/api/v2/private/buy?{query}")
    request.add_header(
        "Authorization", "Basic " + base64.b64encode(f"{venue.key}:{venue.secret}".encode()).decode()
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert json.loads(answer.read())["result"]["order"]["order_state"] == "filled"


def data(capsys, *words):
    code = main(["data", *words, "--json"])
    made = json.loads(capsys.readouterr().out)
    assert "error" not in made, made
    return code, made


def rows(folder, table, select="*", day=None, name="deribit"):
    path = folder / name / table / "BTC" / f"{day or '*'}.parquet"
    return connect().execute(f"SELECT {select} FROM read_parquet('{path}')").fetchall()


def test_a_day_of_history_is_that_of_the_exchanges_tape(venue, tape, tmp_path, capsys):
    words = ["download", "deribit", "btc", "--start", str(DAY), "--end", "2025-03-06", "--url", venue.url]
    words += ["--option", near_call(tape), "--catalog", str(tmp_path)]
    code, made = data(capsys, *words)
    (report,) = made["data_sets"]
    assert code == 0
    assert report["notes"] == ["2025-03-06 is not over at the venue: not downloaded"]
    session = tape.sessions[0]
    quotes = tape.quotes.between(session.open_ns, session.close_ns)
    mids = (0.5 * (quotes.bid + quotes.ask))[quotes.instrument_id == 0]
    bars = rows(tmp_path, "trades", "epoch_ns(ts), epoch_ns(bar_start), high, low", DAY)
    swap_bars = rows(tmp_path, "trades", f"max(high), min(low), count(*) FILTER (symbol = '{SWAP}')", DAY)
    assert len(bars) > swap_bars[0][2] == 1_440
    assert all(ts - start == 60 * 10**9 for ts, start, _, _ in bars)
    assert swap_bars[0][0] == mids.max()
    ((price,),) = rows(tmp_path, "settlements", "DISTINCT index_price", DAY)
    assert price == tape.settlement_prices[SWAP, date(2025, 3, 6)]
    assert rows(tmp_path, "settlements", "count(*) FILTER (type = 'delivery'), count(*)") == [(18, 19)]
    rates = {rate.ts_ns // MS: float(rate.rate) for rate in tape.funding if rate.ts_ns <= session.close_ns}
    got = rows(tmp_path, "funding", "epoch_ms(ts), rate_8h", DAY)
    assert len(got) == 24
    assert dict(got) == rates
    levels = [each for (each,) in rows(tmp_path, "volatility_index", "close", DAY)]
    assert (len(levels), round(float(np.mean(levels)), 2)) == (23, 0.45)
    assert rows(tmp_path, "prints", "count(*), count(DISTINCT trade_id), sum(amount)") == [(12, 12, 800.4)]
    ((listed,),) = rows(tmp_path, "listings", "count(*)", "all")
    assert listed == len(tape.instruments)
    _, ls = data(capsys, "ls", "--catalog", str(tmp_path))
    assert [(row["underlying"], row["sessions"]) for row in ls["data_sets"] if row["name"] == "deribit"] == [
        (SWAP, 1)
    ]
    assert main(["data", "verify", "deribit", "--catalog", str(tmp_path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    uses = "trades, realised volatility, implied volatility, funding, deliveries"
    assert f"fit for {uses}; not to trade on: no tickers within a session" in out
    assert f"sound, but not to trade on (deribit {SWAP}): 0 failed, 1 warnings" in out
    code, verified = data(capsys, "verify", "deribit", "--catalog", str(tmp_path))
    (report,) = verified["reports"]
    assert (code, report["missing"]) == (0, "tickers within a session")
    assert "trading" not in report["fit_for"]


def test_a_download_goes_on_where_it_stopped(venue, tmp_path, capsys, monkeypatch):
    words = [
        "download",
        "deribit",
        "BTC",
        "--start",
        str(DAY),
        "--url",
        venue.url,
        "--catalog",
        str(tmp_path),
    ]
    whole = DeribitHistory.funding

    async def lost(*_):
        raise RetryError("the venue does not give its history")

    monkeypatch.setattr(DeribitHistory, "funding", lost)
    code = main(["data", *words])
    assert code != 0
    monkeypatch.setattr(DeribitHistory, "funding", whole)
    capsys.readouterr()
    before = (tmp_path / "deribit" / "prints" / "BTC" / f"{DAY}.parquet").stat().st_mtime_ns
    _, made = data(capsys, *words)
    assert set(made["data_sets"][0]["rows"]) == {"listings/BTC", "funding/BTC", "trades/BTC"}
    _, again = data(capsys, *words)
    assert set(again["data_sets"][0]["rows"]) == {"listings/BTC"}
    assert (tmp_path / "deribit" / "prints" / "BTC" / f"{DAY}.parquet").stat().st_mtime_ns == before
    _, anew = data(capsys, *words, "--again")
    assert anew["data_sets"][0]["rows"]["funding/BTC"] == 24
    assert len(rows(tmp_path, "funding")) == 24  # not doubled


def test_recorded_chains_are_the_tape_that_the_exchange_played(own, tape, tmp_path, capsys):
    """Tickers of each of fifteen minutes: as a tape they are the exchange's quotes of those instants."""

    async def recorded():
        found = []
        async with (
            DeribitHistory(*addresses(own)) as history,
            aclosing(history.chains("BTC", asyncio.Event(), every_seconds=0.001)) as chains,
        ):
            for _ in range(15):
                found += await anext(chains)
                await asyncio.to_thread(own.advance, 60)
        return found

    tickers, report = asyncio.run(recorded()), ImportReport("taken")
    add_rows(tmp_path, "taken", "tickers", "BTC", tickers, report)
    finish(tmp_path, "taken", ["BTC"], source="test")
    manifest, base, coverage, _ = find_underlying(tmp_path, "taken", SWAP)
    made = coin_tape(tmp_path, manifest, base, coverage, DAY, DAY)
    assert (made.kind, made.variance_clock, made.underlying) == ("recorded", "calendar-365", SWAP)
    names = {item.symbol for item in tape.instruments if getattr(item, "expiry", DAY) <= date(2025, 5, 30)}
    assert names >= {item.symbol for item in made.instruments} > {SWAP}
    original = {
        (int(at) // MS, tape.instruments[number].symbol): (bid, ask, bid_size, ask_size)
        for at, number, bid, ask, bid_size, ask_size in columns_of(tape, made.quotes.ts_ns[-1] + MS)
    }
    compared = 0
    for at, number, *sides in columns_of(made):
        wanted = original[int(at) // MS, made.instruments[number].symbol]
        assert sides == pytest.approx(wanted, nan_ok=True)
        compared += 1
    assert compared == len(tickers) > 14 * 10
    (mark_iv, vega), *_ = [
        (row["mark_iv"], row["vega"]) for row in tickers if row["symbol"] == near_call(tape)
    ]
    assert 0.3 < mark_iv < 0.6
    assert vega > 0.0


class Patient:
    """A network whose websockets wait without a limit for the host's end of a closed connection."""

    @asynccontextmanager
    async def websockets(self, connect_seconds):
        async with TcpNetwork().websockets(connect_seconds) as self.session:
            yield self

    def ws_connect(self, url, **terms):
        return self.session.ws_connect(url, **terms | {"timeout": aiohttp.ClientWSTimeout(ws_close=None)})


def test_a_connection_with_messages_coming_in_closes_without_its_time_limit(own):
    async def recorded():
        history = DeribitHistory(*addresses(own), Patient())
        async with history, aclosing(history.chains("BTC", asyncio.Event(), every_seconds=0.001)) as chains:
            for _ in range(15):
                await anext(chains)
                await asyncio.to_thread(own.advance, 60)
        return len(history.latest)

    assert asyncio.run(asyncio.wait_for(recorded(), 120)) > 10


def columns_of(tape, until=2**62):
    quotes = tape.quotes.between(tape.sessions[0].open_ns, until)
    names = ("ts_ns", "instrument_id", "bid", "ask", "bid_size", "ask_size")
    return zip(*(getattr(quotes, name).tolist() for name in names), strict=True)


def test_a_record_ends_with_an_interrupt_and_is_traded_on(own, tmp_path, capsys):
    def drive():
        while not own.server.protocol.api.ready_count:  # the command has subscribed
            own.admin("state")
        own.advance(600)
        os.kill(os.getpid(), signal.SIGINT)

    driver = threading.Thread(target=drive)
    driver.start()
    code, made = data(
        capsys, "record", "deribit", "BTC", "--every", "0.2", "--url", own.url, "--catalog", str(tmp_path)
    )
    driver.join()
    assert code == 0
    assert made["data_sets"][0]["rows"]["listings/BTC"] > 100
    assert made["data_sets"][0]["rows"]["tickers/BTC"] > 10
    ((first, last),) = rows(tmp_path, "tickers", "min(bid), max(vega)", DAY)
    assert first > 0.0
    assert last > 10.0
    words = ["backtest", "gamma-scalper", "--data", "deribit", "--start", str(DAY), "--no-journal", "--json"]
    desk = ("desk.currency=BTC", "simulation.starting_cash=2", "simulation.fees=deribit")
    for each in (*desk, f"underlying={SWAP}", "entry.gate=off", f"data.catalog={tmp_path}"):
        words += ["--set", each]
    assert main(words) == 0
    traded = json.loads(capsys.readouterr().out)["data"]
    (mids,) = rows(tmp_path, "tickers", f"min(bid + ask) FILTER (symbol = '{SWAP}') / 2", DAY)
    assert (traded["kind"], float(traded["low"])) == ("recorded", mids[0])


def test_days_are_bars_alone_and_the_history_of_a_forecast(venue, tape, tmp_path, capsys):
    words = ["download", "deribit", "BTC", "--start", str(DAY), "--length", "day", "--url", venue.url]
    words += ["--end", "2025-03-06"]  # which is not over
    _, made = data(capsys, *words, "--catalog", str(tmp_path))
    assert made["data_sets"][0]["name"] == "deribit-daily"
    assert made["data_sets"][0]["rows"] == {"trades/BTC": 1}
    history = find_history(tmp_path, "deribit", SWAP, None)
    quotes = tape.quotes.between(0, coin_session(DAY).open_ns + 16 * 3_600 * 10**9 - 1)
    mids = (0.5 * (quotes.bid + quotes.ask))[quotes.instrument_id == 0]
    assert [str(day) for day in history.days] == [str(DAY)]
    assert (history.bars["high"][0], history.bars["close"][0]) == (mids.max(), mids[-1])


def test_a_forecast_of_recorded_chains_is_of_a_year_of_365_days(tape, tmp_path):
    bars = daily_bars_before(DAY, 400)
    midnight = coin_session(DAY).open_ns - 8 * 3_600 * 10**9
    stored = [
        {
            "ts": midnight - back * 86_400 * 10**9,
            "bar_start": midnight - (back + 1) * 86_400 * 10**9,
            "symbol": SWAP,
            **{name: float(column[-1 - back]) for name, column in bars.items()},
        }
        for back in range(400)
    ]
    add_rows(tmp_path, "own-daily", "trades", "BTC", stored, ImportReport("own-daily"))
    finish(tmp_path, "own-daily", ["BTC"], source="test", bar_seconds=86_400)
    settings = load_settings(None, overrides=(f"data.catalog={tmp_path}",))
    recorded = replace(tape, name="own", kind="recorded")
    made = forecasts(recorded, settings)
    wanted = forecast_event(InstrumentId(0), bars, tape.sessions[0].open_ns, periods_per_year=365)
    assert len(made) == 2
    assert made[0].vol == pytest.approx(wanted.vol, rel=1e-12)
    assert made[0].vol == pytest.approx(forecasts(tape, settings)[0].vol, rel=0.02)  # from 500 days
