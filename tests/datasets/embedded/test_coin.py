"""The reconstructed coin markets: the same for a seed, without arbitrage, and as its statistics say."""

import gzip
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.datasets.embedded.coin import (
    ETHER,
    available_days,
    coin_expiries,
    daily_bars_before,
    index_path,
    option_sides,
    reconstruct_coin,
    smile_vol,
)
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk_deribit.wire import Notification, decode_frame

CAPTURE = Path(__file__).resolve().parents[4] / "shared" / "data" / "deribit_wire" / "DERIBIT.ws.1.0.gz"
FRIDAY = date(2025, 3, 7)
NANOS = 10**9


@pytest.fixture(scope="module")
def tape():
    return reconstruct_coin(FRIDAY, FRIDAY + timedelta(days=1))


@pytest.fixture(scope="module")
def bars():
    return daily_bars_before(date(2026, 12, 31), 1_400)


def of(tape, number):
    quotes = tape.quotes.whole()
    return quotes, quotes.instrument_id == number


def test_it_is_labelled_and_runs_by_the_calendar(tape):
    assert (tape.name, tape.kind, tape.variance_clock) == ("embedded-btc", "reconstructed", "calendar-365")
    assert tape.sessions[0].close_ns == tape.sessions[1].open_ns


def test_a_day_is_the_same_in_every_span_and_another_with_another_seed(tape):
    (alone,) = (reconstruct_coin(FRIDAY + timedelta(days=1), FRIDAY + timedelta(days=1)),)
    session = alone.sessions[0]
    for seed, same in ((1, True), (2, False)):
        other = reconstruct_coin(session.day, session.day, seed=seed)
        mine, theirs = (each.quotes.between(session.open_ns, session.close_ns) for each in (tape, other))
        bids = [each.bid[each.instrument_id == 0] for each in (mine, theirs)]
        assert np.array_equal(*bids) is same
    assert alone.settlement_prices.items() <= tape.settlement_prices.items()


@pytest.mark.parametrize("days", [0, 1, 31, 32, 33, 64, 65, 700])
def test_a_day_opens_where_the_days_before_it_have_led(days):
    """Whatever was asked before: the moves of all days since the first, added up."""
    moved, first = 0.0, date(2023, 1, 1)
    for count in range(days):
        path = index_path(first + timedelta(days=count), 3, ETHER)
        moved += np.log(path[-1] / path[0])
    opened = index_path(first + timedelta(days=days), 3, ETHER)[0]
    assert opened == pytest.approx(ETHER.start_price * np.exp(moved), rel=1e-12)


def test_one_day_goes_on_where_the_other_ended(tape):
    quotes, mine = of(tape, 0)
    at_end = quotes.ts_ns[mine] == tape.sessions[0].close_ns - 1
    mids = 0.5 * (quotes.bid[mine] + quotes.ask[mine])
    before = mids[at_end][0]
    after = mids[quotes.ts_ns[mine] > tape.sessions[1].open_ns][0]
    assert abs(after / before - 1.0) < 0.004  # the index goes on; the premium is drawn again


def test_quotes_lie_on_the_grid_never_cross_and_may_lack_a_bid(tape):
    quotes = tape.quotes.whole()
    options = quotes.instrument_id > 0
    bid, ask = quotes.bid[options], quotes.ask[options]
    quoted = bid > 0.0
    assert (ask[quoted] > bid[quoted]).all()
    assert 0.0 < 1.0 - quoted.mean() < 0.3
    for price in (bid[quoted], ask):
        tick = np.where(price < 0.005, 0.0001, 0.0005)
        assert np.abs(price / tick - np.round(price / tick)).max() < 1e-6


@pytest.mark.recorded
@pytest.mark.skipif(not CAPTURE.is_file(), reason="the recorded market data is not beside the project")
@pytest.mark.parametrize(
    ("names", "deltas"),
    [
        (("BTC-24SEP21-34000-P", "BTC-31DEC21-34000-P"), (0.3, 0.7)),
        (("BTC-31DEC21-300000-C",), (0.01, 0.1)),
        (("BTC-30JUL21-24000-P", "BTC-24SEP21-8000-P"), (0.0, 0.1)),
    ],
    ids=["near the money", "far call above 0.005", "cheap puts"],
)
def test_spreads_are_those_of_the_capture(names, deltas):
    """Medians by bucket, within a tick of then: quoted, and drawn around the venue's marks.

    With 1.2 points of volatility to each side, rounded outwards, those near the money were 1.8 times as wide
    as the quoted ones and the far call's three times.
    """
    quoted, drawn = ({name: [] for name in names} for _ in range(2))
    for line in gzip.decompress(CAPTURE.read_bytes()).decode().splitlines():
        head, _, body = line.partition(": ")
        frame = decode_frame(body) if body and "<-" not in head else None
        if not isinstance(frame, Notification) or not frame.channel.startswith("ticker."):
            continue
        ticker = frame.data
        if ticker["instrument_name"] in quoted:
            assert deltas[0] < abs(ticker["greeks"]["delta"]) < deltas[1]
            quoted[ticker["instrument_name"]].append(ticker["best_ask_price"] - ticker["best_bid_price"])
            vega = 100.0 * ticker["greeks"]["vega"] / ticker["underlying_price"]
            bid, ask = option_sides(np.array([ticker["mark_price"]]), np.array([vega]), cheap_tick=0.0005)
            drawn[ticker["instrument_name"]].append(float(ask[0] - bid[0]))
    assert min(map(len, quoted.values())) >= 5
    middle_quoted, middle_drawn = (
        np.median([np.median(each) for each in spreads.values()]) for spreads in (quoted, drawn)
    )
    assert middle_drawn == pytest.approx(middle_quoted, abs=0.0005)


def test_parity_holds_between_the_quotes_of_a_strike(tape):
    """Call less put is one less strike over forward, in coin; the bid of one side never beats it.

    In the last half hour what is fixed of the mean counts, and what is left of it at the forward.
    """
    quotes = tape.quotes.whole()
    options = [item for item in tape.instruments if isinstance(item, OptionContract)]
    calls = [item for item in options if item.is_call]
    spot = {
        ts: 0.5 * (b + a)
        for n, ts, b, a in zip(quotes.instrument_id, quotes.ts_ns, quotes.bid, quotes.ask, strict=True)
        if n == 0
    }
    for call in calls[:: len(calls) // 12]:
        put = call.symbol[:-1] + "P"
        rows = [quotes.instrument_id == tape.instruments.id_of(symbol) for symbol in (call.symbol, put)]
        (c_bid, c_ask), (p_bid, p_ask) = ((quotes.bid[row], quotes.ask[row]) for row in rows)
        forward = np.array([spot[ts] for ts in quotes.ts_ns[rows[0]]])
        ends_ns = expiry_instant_ns(call)
        left = np.clip((ends_ns - quotes.ts_ns[rows[0]]) / (30 * MINUTE_NS), 0.0, 1.0)
        in_window = left < 1.0
        path = np.array([spot[ts] for ts in sorted(spot) if ends_ns - 30 * MINUTE_NS <= ts < ends_ns - 1])
        fixed = np.array(
            [path[: max(round((1 - part) * 60), 1)].mean() if part < 1.0 else 0.0 for part in left]
        )
        level = np.where(in_window, (1.0 - left) * fixed + left * forward, forward)
        slack = np.where(in_window, 0.0006, 1e-9)  # the mean is that of the index, not of the perpetual
        worth = (level - float(call.strike)) / forward
        assert not (c_bid - p_ask - worth > slack).any()
        assert not (p_bid - c_ask + worth > slack).any()


def test_what_is_listed_stays_quoted_until_it_expires(tape):
    quotes = tape.quotes.whole()
    for number, item in enumerate(tape.instruments):
        if not isinstance(item, OptionContract):
            continue
        last = quotes.ts_ns[quotes.instrument_id == number].max()
        assert last == min(expiry_instant_ns(item), tape.sessions[-1].close_ns) - 1


def test_expiries_are_days_weeks_and_months():
    assert coin_expiries(FRIDAY) == [
        date(2025, 3, 8),
        date(2025, 3, 9),
        date(2025, 3, 14),
        date(2025, 3, 21),
        date(2025, 3, 28),
        date(2025, 4, 4),
        date(2025, 4, 25),
        date(2025, 5, 30),
    ]


def test_the_delivery_price_is_the_mean_of_the_last_half_hour(tape):
    quotes, mine = of(tape, 0)
    session = tape.sessions[0]
    last = mine & (quotes.ts_ns > session.close_ns - 1_800 * NANOS) & (quotes.ts_ns <= session.close_ns)
    perpetual = 0.5 * (quotes.bid[last] + quotes.ask[last]).mean()
    index = tape.settlement_prices["BTC-PERPETUAL", FRIDAY + timedelta(days=1)]
    assert abs(perpetual / index - 1.0) < 0.0015  # the premium of the perpetual lies between


def test_funding_is_hourly_and_small(tape):
    assert len(tape.funding) == 48
    rates = [abs(rate.rate) for rate in tape.funding]
    assert max(rates) < Decimal("0.002")
    assert len({rate.ts_ns for rate in tape.funding}) == 48


def test_ether_has_its_own_path_ticks_strikes_and_level():
    ether = reconstruct_coin(FRIDAY, FRIDAY, underlying="ETH-PERPETUAL")
    quotes = ether.quotes.whole()
    swap = quotes.instrument_id == 0
    assert (ether.name, ether.underlying, ether.instruments[0].contract_usd) == (
        "embedded-eth",
        "ETH-PERPETUAL",
        1,
    )
    assert np.abs(quotes.bid[swap] / 0.05 - np.round(quotes.bid[swap] / 0.05)).max() < 1e-6
    assert np.allclose(quotes.ask[swap] - quotes.bid[swap], 0.05)
    near = sorted(
        item.strike for item in ether.instruments if getattr(item, "expiry", None) == date(2025, 3, 9)
    )
    assert np.diff(np.array(near[::2], float)).tolist() == [25.0] * 8
    assert {item.currency for item in ether.instruments} == {"ETH"}
    assert all(
        item.underlying == "ETH-PERPETUAL" for item in ether.instruments if isinstance(item, OptionContract)
    )
    mine, bitcoins = (daily_bars_before(FRIDAY, 700, **which)["close"] for which in ({"market": ETHER}, {}))
    returns = [np.diff(np.log(prices)) for prices in (mine, bitcoins)]
    assert abs(np.corrcoef(*returns)[0, 1]) < 0.15  # drawn apart
    assert returns[0].std() / returns[1].std() == pytest.approx(ETHER.level / 0.55, abs=0.25)


# statistics ---------------------------------------------------------------------------------------------


def test_realised_volatility_lies_below_the_implied_level(bars):
    returns = np.diff(np.log(bars["close"]))
    assert 0.40 < returns.std() * 365**0.5 < 0.60


def test_weekends_are_half_as_wild_and_tails_are_heavy(bars):
    returns = np.diff(np.log(bars["close"]))
    last = date(2026, 12, 30)
    weekday = np.array([(last - timedelta(days=n)).weekday() for n in range(len(returns))][::-1])
    ratio = (returns[weekday >= 5] ** 2).mean() / (returns[weekday < 5] ** 2).mean()
    assert ratio == pytest.approx(0.47, abs=0.15)
    assert 4.0 < (returns**4).mean() / (returns**2).mean() ** 2 < 14.0


def test_a_fifth_of_the_variance_is_jumps():
    ratios = []
    for day in range(200):
        moves = np.diff(np.log(index_path(FRIDAY + timedelta(days=day), 1)[::10]))
        bipower = 0.5 * np.pi * (np.abs(moves[1:]) * np.abs(moves[:-1])).sum()
        ratios.append((bipower, (moves**2).sum()))
    bipower, realised = np.array(ratios).sum(axis=0)
    assert bipower / realised == pytest.approx(0.81, abs=0.06)


def test_the_smile_has_its_lowest_point_near_the_money():
    vols = smile_vol(0.55, np.full(3, 0.1), np.array([-2.0, 0.0, 2.0]))
    assert vols[0] > vols[2] > vols[1]


# refusals -----------------------------------------------------------------------------------------------


def test_days_outside_another_underlying_and_a_seed_below_zero_are_refused():
    first, last = available_days()
    with pytest.raises(DataError, match=str(first)):
        reconstruct_coin(first - timedelta(days=1), first)
    with pytest.raises(DataError):
        reconstruct_coin(last, last + timedelta(days=1))
    with pytest.raises(ArgumentError, match="BTC-PERPETUAL or ETH-PERPETUAL"):
        reconstruct_coin(first, first, underlying="SOL-PERPETUAL")
    with pytest.raises(ArgumentError, match="seed"):
        reconstruct_coin(first, first, seed=-1)
