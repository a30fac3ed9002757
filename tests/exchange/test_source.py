"""Sources of the market: tapes, generated markets, tapes moved to now."""

from datetime import date, time, timedelta
from decimal import Decimal

import numpy as np
import pytest

from scalpdesk.assembly import FORECAST_HISTORY_DAYS
from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.units import NEVER_NS
from scalpdesk.datasets.embedded import market
from scalpdesk.exchange.generated import GeneratedSource, strike_step
from scalpdesk.exchange.launch import rebased, tape_source
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.exchange.source import Bar, BarBook, TapeSource, combine
from scalpdesk.instruments.classes import INDICES, option_class, roots_of
from scalpdesk.instruments.contract import (
    Index,
    OptionContract,
)
from scalpdesk.instruments.sessions import final_close_ns, is_session, new_york_ns, session_on
from scalpdesk.volatility.forecast import forecast_vol
from scalpdesk_alpaca.served.protocol import PROTOCOL as ALPACA
from scalpdesk_testing.kit.exchange import Bench, generated, start_ns
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.tape import TapeBuilder, at


def played(source):
    events = []
    while source.next_ns() < NEVER_NS:
        events.extend(source.take_next())
    return events


def test_a_tape_is_played_whole_and_in_order():
    builder = TapeBuilder().path("09:30", 1.0, [500.0 + n / 100 for n in range(50)])
    tape = builder.build()
    events = played(TapeSource(tape))
    assert len(events) == len(tape.quotes) == 150
    stamps = [one.ts_recv_ns for one in events]
    assert stamps == sorted(stamps)
    assert [one.instrument_id for one in events[:3]] == [1, 2, 0]


def test_the_embedded_session_is_played_as_the_backtest_sees_it():
    tape = market.reconstruct(date(2018, 2, 5), seed=1)
    source = tape_source(tape)
    count = 0
    last = 0
    while source.next_ns() < NEVER_NS:
        for event in source.take_next():
            assert event.ts_recv_ns >= last
            last = event.ts_recv_ns
            count += isinstance(event, QuoteEvent)
    assert count == len(tape.quotes)
    daily = source.history("SPY", 86_400, 0, source.start_ns)
    assert daily[-1].close == pytest.approx(276.21, abs=0.01)


def test_the_daily_bars_up_to_yesterday_give_the_forecast_of_the_backtest():
    """Asked for as a desk does, by days: a bare date is midnight in New York, where a day begins."""
    day = date(2018, 2, 6)
    source = tape_source(market.reconstruct(day, seed=1))
    bounds = (new_york_ns(each, time()) for each in (date(2011, 12, 1), date(2018, 2, 5)))
    bars = source.history("SPY", 86_400, *bounds)[-FORECAST_HISTORY_DAYS:]
    assert (len(bars), bars[-1].close) == (FORECAST_HISTORY_DAYS, 264.89)
    columns = {name: [getattr(bar, name) for bar in bars] for name in ("open", "high", "low", "close")}
    index = market.daily_bars_before(day, FORECAST_HISTORY_DAYS)
    # the exchange's prices are whole cents
    assert forecast_vol(columns).vol == pytest.approx(forecast_vol(index).vol, abs=2e-4)
    assert forecast_vol(index).vol == pytest.approx(0.3614, abs=1e-4)


def test_bars_of_a_tape_are_served_once_closed():
    bench = Bench(tape_source(market.reconstruct(date(2018, 2, 5), seed=1)))
    bench.advance(600)
    bars = bench.get("/v2/stocks/bars", symbols="SPY", timeframe="1Min", start="2018-02-05")["bars"]["SPY"]
    assert len(bars) == 10
    assert bars[0]["t"] == "2018-02-05T14:30:00.000000000Z"
    five = bench.get("/v2/stocks/bars", symbols="SPY", timeframe="5Min", start="2018-02-05")["bars"]["SPY"]
    assert [one["v"] for one in five] == [sum(b["v"] for b in bars[:5]), sum(b["v"] for b in bars[5:])]
    paged = bench.get("/v2/stocks/bars", symbols="SPY", timeframe="1Min", start="2018-02-05", limit=4)
    again = bench.get(
        "/v2/stocks/bars",
        symbols="SPY",
        timeframe="1Min",
        start="2018-02-05",
        limit=10,
        page_token=paged["next_page_token"],
    )
    assert [*paged["bars"]["SPY"], *again["bars"]["SPY"]] == bars


def test_the_same_seed_walks_the_same_way():
    def walk(seed):
        source = GeneratedSource(["SPY", "BTC"], start_ns(), seed)
        return [event for _ in range(5) for event in source.take_next()]

    assert walk(1) == walk(1)
    assert walk(1) != walk(2)


def test_who_watches_does_not_change_the_walk():
    quiet, watched = generated("SPY"), generated("SPY")
    for number, _ in list(watched.instruments.options("SPY"))[:5]:
        watched.watch(number)
    for _ in range(10):
        shares = [e for e in watched.take_next() if e.instrument_id == 0]
        assert shares == list(quiet.take_next())


def test_expiries_are_sessions_from_today_on():
    source = generated("NVDA")
    expiries = sorted({one.expiry for one in source.instruments if isinstance(one, OptionContract)})
    assert expiries[0] == date(2026, 11, 18)
    assert all(is_session(day) for day in expiries)
    assert sum(30 <= (day - expiries[0]).days <= 90 for day in expiries) >= 6


def test_new_expiries_are_listed_at_midnight():
    source = GeneratedSource(["SPY"], session_on(date(2026, 11, 18)).close_ns + 7 * 3_600 * 10**9, 1, 60_000)
    world = SimulatedMarket(source, ALPACA.terms)
    before = len(source.instruments)
    world.advance_to(world.now_ns + 3 * 3_600 * 10**9)
    assert len(source.instruments) > before


def test_generated_options_obey_parity_and_have_a_spread():
    bench = Bench(generated("SPY"))
    spot = bench.quote("SPY").mid
    call, put = bench.option(days=25), bench.option(right="put", days=25)
    contract = bench.world.ledger.instruments[bench.world.ledger.instruments.id_of(call)]
    c, p = bench.quote(call), bench.quote(put)
    assert c.mid - p.mid == pytest.approx(spot - float(contract.strike), abs=0.05)
    assert c.ask - c.bid >= 0.01
    assert bench.world.source.open_interest[call] > 100


def test_a_generated_history_fits_before_the_start():
    source = generated("SPY")
    now = source.start_ns
    bars = source.history("SPY", 300, now - 86_400 * 10**9, now)
    assert 280 <= len(bars) <= 290
    starts = [bar.start_ns for bar in bars]
    assert starts == sorted(set(starts))
    assert all(start < now for start in starts)
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
    assert source.history("NOPE", 300, 0, now) == []


def test_symbols_are_named_once():
    with pytest.raises(ArgumentError):
        GeneratedSource(["SPY", "SPY"], start_ns())
    with pytest.raises(ArgumentError):
        GeneratedSource(["SPY"], start_ns(), step_ms=0)


@pytest.mark.rows(
    ("price", "days", "step"), [(600, 1, 1.0), (180, 1, 0.5), (180, 60, 2.5), (90_000, 60, 250.0)]
)
def test_strike_steps(price, days, step):
    assert strike_step(price, days) == step


def test_coins_are_no_shares_of_the_stock_venue():
    bench = Bench(generated("SPY", "BTC"))
    assert [one["symbol"] for one in bench.get("/v2/assets")] == ["SPY"]
    assert bench.ask("GET", "/v2/assets/BTC").status == 404


def classes_of(source):
    return {
        (one.root, one.settlement, one.style) for one in source.instruments if isinstance(one, OptionContract)
    }


@pytest.mark.rows("name", sorted(INDICES))
def test_the_name_of_an_index_is_the_index_with_the_option_classes_of_the_table(name):
    source = generated(name)
    number = source.instruments.id_of(name)
    assert source.instruments[number] == Index(name)
    assert classes_of(source) == {
        (root, terms.settlement, terms.exercise)
        for root in roots_of(name)
        if (terms := option_class(root, date(2026, 12, 18))) and root != "VIXW"
    }
    quote = next(event for event in source.take_next() if isinstance(event, QuoteEvent))
    assert (quote.instrument_id, quote.bid_size, quote.ask_size) == (number, 0.0, 0.0)
    assert quote.bid == quote.ask > 0
    assert {bar.volume for bar in source.history(name, 300, source.start_ns - 10**13, source.start_ns)} == {0}


@pytest.mark.parametrize(
    ("name", "root", "monthly"),
    [
        ("SPX", "SPX", {date(2026, 11, 20), date(2026, 12, 18), date(2027, 1, 15)}),
        ("VIX", "VIX", {date(2026, 11, 18), date(2026, 12, 16), date(2027, 1, 20)}),
    ],
)
def test_options_settled_in_the_morning_are_monthly(name, root, monthly):
    options = [one for one in generated(name).instruments if isinstance(one, OptionContract)]
    assert {one.expiry for one in options if one.root == root} == monthly
    daily = {one.expiry for one in options if one.root == "SPXW"}
    assert (date(2026, 11, 18) in daily) == (name == "SPX")


def test_options_on_an_index_are_quoted_on_their_grid_until_their_last_trade():
    source = generated("SPX", step_ms=60_000)
    third_friday = [one for one in source.instruments if isinstance(one, OptionContract)]
    contract = next(one for one in third_friday if one.root == "SPX" and one.expiry == date(2026, 11, 20))
    number, world = source.instruments.id_of(contract.symbol), SimulatedMarket(source, ALPACA.terms)
    quote = world.quote(number)
    assert all(Decimal(str(side)) % Decimal("0.05") == 0 for side in (quote.bid, quote.ask))
    world.advance_to(final_close_ns(contract) - 10**9)
    assert source.watch(number) is not None
    world.advance_to(final_close_ns(contract))
    assert source.watch(number) is None


def test_an_index_is_no_asset_of_the_stock_venue():
    bench = Bench(generated("SPY", "RUT"))
    assert [one["symbol"] for one in bench.get("/v2/assets")] == ["SPY"]
    assert bench.ask("GET", "/v2/assets/RUT").status == 404
    assert bench.get("/v2/stocks/quotes/latest", symbols="RUT,SPY")["quotes"].keys() == {"SPY"}
    assert bench.refused(symbol="RUT") == (422, 40010001, 'asset "RUT" not found')
    listed = bench.get("/v2/options/contracts", underlying_symbols="RUT")["option_contracts"][0]
    assert (listed["style"], listed["ppind"]) == ("european", False)
    stream = bench.data_stream()
    stream.say({"action": "subscribe", "quotes": ["RUT", "SPY"]})
    bench.advance(2)
    assert {one["S"] for (one,) in stream.messages() if one["T"] == "q"} == {"SPY"}


def test_a_tape_moved_to_now_keeps_prices_and_order():
    tape = TapeBuilder().path("09:30", 1.0, [500.0, 501.0]).build()
    moved = rebased(tape, start_ns())
    assert moved.sessions[0].open_ns == start_ns()
    np.testing.assert_array_equal(moved.quotes.bid, tape.quotes.bid)
    np.testing.assert_array_equal(np.diff(moved.quotes.ts_ns), np.diff(tape.quotes.ts_ns))
    expiries = {one.expiry for one in moved.instruments if isinstance(one, OptionContract)}
    assert len(expiries) == 1
    assert 40 <= (expiries.pop() - date(2026, 11, 18)).days <= 55
    assert len(moved.open_interest) == len(tape.open_interest)


def test_bars_are_made_of_prints():
    book = BarBook()
    minute = 60 * 10**9
    for second, price in ((1, 10.0), (20, 12.0), (59, 9.0)):
        assert book.add_print(0, second * 10**9, price, 1.0) is None
    closed = book.add_print(0, minute + 1, 11.0, 1.0)
    assert (closed.open, closed.high, closed.low, closed.close, closed.volume, closed.trades) == (
        10,
        12,
        9,
        9,
        3,
        3,
    )
    assert closed.vwap == pytest.approx(31 / 3)
    whole = combine(book.minutes(0), 300)
    assert [(bar.open, bar.close, bar.volume) for bar in whole] == [(10, 11, 4)]


def test_days_begin_at_new_york_midnight():
    first = Bar(at("23:59"), 60, 1, 1, 1, 1, 1, 1, 1)
    second = Bar(at("00:00", DAY + timedelta(1)), 60, 2, 2, 2, 2, 1, 1, 2)
    assert len(combine([first, second], 86_400)) == 2


def test_the_calendar_of_a_tape_is_the_exchange_s():
    bench = Bench(TapeSource(TapeBuilder().spot("09:30", 500.0).build()))
    days = bench.get("/v2/calendar", start="2024-11-28", end="2024-12-02")
    assert [(day["date"], day["close"]) for day in days] == [("2024-11-29", "13:00"), ("2024-12-02", "16:00")]
    assert bench.get("/v2/calendar", start="1900-01-01", end="1901-01-01") == []
    assert bench.get("/v2/calendar", start="2035-01-01", end="2035-02-01") == []
    assert bench.ask("GET", "/v2/calendar", start="1900-01-01", end="2030-01-01").status == 422


def test_each_session_of_several_has_the_open_interest_of_its_morning():
    tape = market.reconstruct_span(date(2018, 2, 5), date(2018, 2, 6))
    played = SimulatedMarket(TapeSource(tape), terms=ALPACA.terms)
    first = dict(played.open_interest)
    assert min(first.values()) >= 0
    assert max(first.values()) > 100
    played.advance_to(tape.sessions[1].open_ns)
    assert played.open_interest != first
    assert played.open_interest == tape.morning(tape.sessions[1]).open_interest
