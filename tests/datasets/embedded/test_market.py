import hashlib
import subprocess
import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cache

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.datasets.embedded.days import market_day
from scalpdesk.datasets.embedded.market import (
    SessionOhlc,
    available_sessions,
    reconstruct,
    reconstruct_bars,
    session_cents,
    session_ohlc,
)

CRASH = date(2018, 2, 5)
DAYS = [CRASH, date(2015, 8, 24), date(2017, 5, 1), date(2014, 11, 28)]


@cache
def tape(day, seed=1):
    return reconstruct(day, seed=seed)


def columns(market):
    quotes, bars = market.quotes, market.bars
    return [getattr(part, name) for part in (quotes, bars) for name in part.__dataclass_fields__]


@pytest.mark.parametrize("day", DAYS)
def test_bars_and_quote_mids_both_carry_the_real_open_high_low_close(day):
    market = tape(day)
    real = market_day(day)
    expected = SessionOhlc(
        *(Decimal(round(x * 10)) / 100 for x in (real.open, real.high, real.low, real.close))
    )
    assert session_ohlc(market) == (expected,)
    from_mids = session_ohlc(replace(market, bars=None))
    assert from_mids == (expected,)
    assert market.settlement_prices == {("SPY", day): float(expected.close)}


def test_the_day_of_the_issue_has_the_figures_of_the_index_over_ten():
    assert session_ohlc(tape(CRASH)) == (
        SessionOhlc(Decimal("274.11"), Decimal("276.34"), Decimal("263.82"), Decimal("264.89")),
    )


def test_the_same_call_gives_the_same_bytes_and_another_seed_another_path():
    again = reconstruct(CRASH)
    for one, two in zip(columns(tape(CRASH)), columns(again), strict=True):
        assert one.tobytes() == two.tobytes()
    assert tape(CRASH).open_interest == again.open_interest
    other = tape(CRASH, 2)
    assert session_ohlc(other) == session_ohlc(again)
    assert not np.array_equal(other.bars.close, again.bars.close)


def test_another_process_gives_the_same_bytes():
    program = (
        "import hashlib, datetime; from scalpdesk.datasets.embedded.market import reconstruct;"
        "t = reconstruct(datetime.date(2014, 11, 28)); h = hashlib.sha256();"
        "[h.update(getattr(t.quotes, n).tobytes()) for n in ('ts_ns', 'instrument_id', 'bid', 'ask')];"
        "print(h.hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    quotes = reconstruct(date(2014, 11, 28)).quotes
    here = b"".join(getattr(quotes, name).tobytes() for name in ("ts_ns", "instrument_id", "bid", "ask"))
    assert there.strip() == hashlib.sha256(here).hexdigest()


def test_a_tape_says_what_it_is():
    market = tape(CRASH)
    assert (market.name, market.kind, market.underlying) == ("embedded", "reconstructed", "SPY")
    assert market.dividends == ()
    assert market.dividend_yield == 0.0
    assert market.rate_curve.rate_at(45.0) == 0.0
    assert any("drawn" in note for note in market.notes)


@pytest.mark.parametrize("day", DAYS)
def test_rows_are_in_order_inside_the_session_and_of_a_workable_number(day):
    market = tape(day)
    session = market.sessions[0]
    quotes = market.quotes
    assert np.all(np.diff(quotes.ts_ns) >= 0)
    assert quotes.ts_ns[0] == session.open_ns
    assert quotes.ts_ns[-1] < session.close_ns
    assert 100_000 <= len(quotes) <= 400_000
    minutes = (session.close_ns - session.open_ns) // 60_000_000_000
    assert len(market.bars) == minutes == (210 if session.is_half_day else 390)
    assert market.bars.ts_ns[-1] == session.close_ns


def test_a_bar_holds_only_what_was_quoted_in_its_minute():
    market = tape(CRASH)
    bars, quotes = market.bars, market.quotes
    share = quotes.instrument_id == 0
    stamps, bid, ask = quotes.ts_ns[share], quotes.bid[share], quotes.ask[share]
    for number in range(0, len(bars), 37):
        end = bars.ts_ns[number]
        inside = (stamps >= end - 60 * 10**9) & (stamps < end)
        # A print may fall on one of the few seconds whose quote was left out: a small allowance.
        assert bars.high[number] <= ask[inside].max() + 0.05
        assert bars.low[number] >= bid[inside].min() - 0.05
        assert bars.low[number] <= min(bars.open[number], bars.close[number])
        assert bars.high[number] >= max(bars.open[number], bars.close[number])
        assert bars.volume[number] > 0


@pytest.mark.parametrize("symbol", ["SPY", "QQQ"])
def test_volume_varies_as_recorded_volume_does(symbol):
    """Of recorded minutes 14 to 24 % have more than 1.5 times the mean volume of the 20 before."""
    shares, correlations, lags = [], [], []
    for day in [*DAYS, date(2018, 12, 3), date(2017, 8, 18), date(2016, 6, 24), date(2015, 8, 31)]:
        bars = reconstruct_bars(day, underlying=symbol)
        means = np.convolve(bars.volume, np.full(20, 0.05), "valid")[:-1]
        shares.append(np.mean(bars.volume[20:] > 1.5 * means))
        logs = np.log(bars.volume)
        correlations.append(np.corrcoef(logs, np.abs(bars.close - bars.open))[0, 1])
        lags.append(np.corrcoef(np.diff(logs)[1:], np.diff(logs)[:-1])[0, 1])
        assert bars.volume.sum() == pytest.approx(share_volume(day, symbol), rel=1e-3)
    assert 0.14 < np.mean(shares) < 0.24
    assert 0.15 < np.mean(correlations) < 0.45
    assert -0.55 < np.mean(lags) < -0.35  # of an ARMA(1,1) of 0.85 and -0.61: -0.43


def share_volume(day, symbol):
    drawn = market_day(day, symbol)
    return drawn.share.daily_shares * drawn.volume / drawn.share.index_volume_median


def test_quotes_can_be_thinned():
    thin = reconstruct(CRASH, quote_seconds=5.0)
    assert len(thin.quotes) < 0.4 * len(tape(CRASH).quotes)
    assert thin.quote_seconds == 5.0 * tape(CRASH).quote_seconds
    assert session_ohlc(thin) == session_ohlc(tape(CRASH))
    assert session_ohlc(replace(thin, bars=None)) == session_ohlc(tape(CRASH))


def test_expiries_may_be_chosen():
    market = reconstruct(date(2018, 2, 6), expiries=[date(2018, 2, 6)])
    assert {c.expiry for _, c in market.instruments.options("SPY")} == {date(2018, 2, 6)}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"seed": -1}, "seed"), ({"underlying": "SPX"}, "SPY"), ({"quote_seconds": 0.0}, "quote_seconds")],
)
def test_arguments_out_of_range_are_refused(arguments, word):
    with pytest.raises(ArgumentError, match=word):
        reconstruct(CRASH, **arguments)


def test_a_session_that_is_not_there_is_refused_by_name():
    with pytest.raises(DataError, match="2018-02-02 or 2018-02-05"):
        reconstruct(date(2018, 2, 4))


def test_every_real_day_has_prices_in_order_after_rounding():
    for day in available_sessions():
        cents = session_cents(market_day(day))
        assert cents.low <= min(cents.open, cents.close) <= max(cents.open, cents.close) <= cents.high
        assert cents.high - cents.low >= 2


def test_a_tape_without_the_share_has_no_prices():
    market = tape(CRASH)
    quotes = market.quotes
    empty = replace(quotes, **{name: getattr(quotes, name)[:0] for name in quotes.__dataclass_fields__})
    with pytest.raises(DataError, match="neither"):
        session_ohlc(replace(market, quotes=empty, bars=None))


def test_reading_the_daily_figures_imports_neither_arch_nor_pandas():
    program = (
        "import sys; from scalpdesk.datasets.embedded.days import available_sessions;"
        "available_sessions(); print(sorted({'arch', 'pandas', 'statsmodels'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
