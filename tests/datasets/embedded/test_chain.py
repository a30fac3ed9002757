from datetime import date
from functools import cache

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.datasets.embedded.chain import checked_expiries, listed_expiries
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import is_session

CRASH, QUIET, HALF = date(2018, 2, 5), date(2017, 5, 1), date(2014, 11, 28)


@cache
def tape(day, seed=1):
    return reconstruct(day, seed=seed)


def contracts(market):
    return [c for c in market.instruments if isinstance(c, OptionContract)]


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        # Monday: expires today, then Wednesday and Friday; third Fridays of March and April.
        (CRASH, ["2018-02-05", "2018-02-07", "2018-02-09", "2018-03-16", "2018-04-20"]),
        # Thursday before Good Friday 2014-04-18: the Friday weekly expires on this Thursday; 16 May is 29
        # days away, one too few.
        (date(2014, 4, 17), ["2014-04-17", "2014-04-21", "2014-04-23", "2014-06-20"]),
        # Friday before Martin Luther King Day: the Monday weekly moves to Tuesday.
        (date(2018, 1, 12), ["2018-01-12", "2018-01-16", "2018-01-17", "2018-02-16", "2018-03-16"]),
        # A Tuesday has no expiry of its own.
        (date(2018, 2, 6), ["2018-02-07", "2018-02-09", "2018-03-16", "2018-04-20"]),
    ],
)
def test_listed_expiries_follow_the_weekday_rules(session, expected):
    assert [day.isoformat() for day in listed_expiries(session)] == expected


@pytest.mark.parametrize("month", range(1, 13))
def test_a_monthly_30_to_90_days_away_is_always_listed(month):
    days = [date(2016, month, d) for d in range(1, 29) if is_session(date(2016, month, d))]
    for session in days:
        ahead = [(day - session).days for day in listed_expiries(session)]
        assert any(30 <= days_ahead <= 90 for days_ahead in ahead)
        assert all(is_session(day) for day in listed_expiries(session))


def test_expiries_of_the_caller_are_checked():
    assert checked_expiries(CRASH, [date(2018, 2, 9), CRASH]) == (CRASH, date(2018, 2, 9))
    for bad in ([date(2018, 2, 4)], [date(2018, 2, 10)], [date(2020, 2, 7)], []):
        with pytest.raises(ArgumentError, match="expir"):
            checked_expiries(CRASH, bad)


@pytest.mark.parametrize("day", [CRASH, QUIET, HALF])
def test_the_chain_is_small_and_spans_the_money(day):
    market = tape(day)
    options = contracts(market)
    assert 150 <= len(options) <= 400
    first = market.quotes.bid[market.quotes.instrument_id == 0][0]
    for expiry in {c.expiry for c in options}:
        strikes = sorted({float(c.strike) for c in options if c.expiry == expiry})
        assert strikes[0] < 0.96 * first < 1.04 * first < strikes[-1]
        near = [k for k in strikes if abs(k - first) < 5]
        assert np.diff(near).tolist() == [1.0] * (len(near) - 1)


def test_the_list_of_contracts_does_not_depend_on_the_path():
    assert [c.symbol for c in tape(CRASH, 1).instruments] == [c.symbol for c in tape(CRASH, 2).instruments]


@pytest.mark.parametrize("day", [CRASH, QUIET, HALF])
def test_quotes_are_on_the_grid_uncrossed_and_one_sided_where_worthless(day):
    quotes = tape(day).quotes
    one_sided = quotes.bid == 0.0
    assert 0.0 < one_sided.mean() < 0.15
    assert np.all(quotes.bid_size[one_sided] == 0)
    assert np.all(quotes.bid_size[~one_sided] >= 1)
    assert np.all(quotes.ask_size >= 1)
    assert np.all(quotes.ask[~one_sided] - quotes.bid[~one_sided] > 0.0099)
    assert np.all(quotes.bid[~one_sided] > 0.0099)
    for side in (quotes.bid[~one_sided], quotes.ask):
        assert np.abs(side * 100 - np.rint(side * 100)).max() < 1e-6
    assert np.all(quotes.ask[one_sided] < 0.15)  # nothing but the worthless is without a bid


@pytest.mark.parametrize("day", [CRASH, QUIET, HALF])
def test_no_quote_lies_below_intrinsic_by_more_than_half_its_spread(day):
    market = tape(day)
    quotes = market.quotes
    share = np.flatnonzero(quotes.instrument_id == 0)
    share_mid = 0.5 * (quotes.bid[share] + quotes.ask[share])
    spot = share_mid[np.searchsorted(quotes.ts_ns[share], quotes.ts_ns, side="right") - 1]
    sign = np.array([0.0] + [1.0 if c.is_call else -1.0 for c in contracts(market)])
    strike = np.array([0.0] + [float(c.strike) for c in contracts(market)])
    options = quotes.instrument_id > 0
    ids = quotes.instrument_id[options]
    intrinsic = np.maximum(sign[ids] * (spot[options] - strike[ids]), 0.0)
    assert np.all(quotes.ask[options] >= intrinsic - 1e-9)
    mid = 0.5 * (np.nan_to_num(quotes.bid[options]) + quotes.ask[options])
    assert np.all(mid >= intrinsic - 0.0051)


@pytest.mark.parametrize("day", [CRASH, QUIET])
def test_simultaneous_calls_and_puts_obey_parity_within_a_cent(day):
    market = tape(day)
    quotes = market.quotes
    share = np.flatnonzero(quotes.instrument_id == 0)
    share_mid = 0.5 * (quotes.bid[share] + quotes.ask[share])
    pairs = 0
    options = contracts(market)
    for number in range(1, len(options), 2):
        call, put = options[number - 1], options[number]
        assert (call.is_call, put.is_call, call.strike, call.expiry) == (True, False, put.strike, put.expiry)
        at_call = np.flatnonzero(quotes.instrument_id == number)
        at_put = np.flatnonzero(quotes.instrument_id == number + 1)
        assert np.array_equal(quotes.ts_ns[at_call], quotes.ts_ns[at_put])
        spot = share_mid[np.searchsorted(quotes.ts_ns[share], quotes.ts_ns[at_call], side="right") - 1]
        gap = 0.5 * (quotes.bid[at_call] + quotes.ask[at_call] - quotes.bid[at_put] - quotes.ask[at_put])
        error = np.abs(gap - (spot - float(call.strike)))
        error = error[np.isfinite(error)]
        pairs += len(error)
        assert np.all(error <= 0.0101)
    assert pairs > 50_000


@pytest.mark.parametrize("day", [CRASH, QUIET, HALF])
def test_every_contract_is_quoted_soon_after_the_open_and_just_before_the_close(day):
    market = tape(day)
    session = market.sessions[0]
    quotes = market.quotes
    early = quotes.instrument_id[quotes.ts_ns <= session.open_ns + 21 * 10**9]
    late = quotes.instrument_id[quotes.ts_ns >= session.close_ns - 5 * 10**9]
    assert set(early) == set(late) == set(range(len(market.instruments)))
    assert quotes.ts_ns[0] == session.open_ns
    assert quotes.ts_ns[-1] < session.close_ns


def test_quotes_near_the_money_follow_the_share():
    # The oldest quote of the strike at the money may not stand still while the share runs away from it.
    market = tape(CRASH)
    quotes = market.quotes
    share = np.flatnonzero(quotes.instrument_id == 0)
    share_mid = 0.5 * (quotes.bid[share] + quotes.ask[share])
    options = contracts(market)
    drift = []
    for number, contract in enumerate(options, start=1):
        mine = np.flatnonzero(quotes.instrument_id == number)
        place = np.searchsorted(quotes.ts_ns[share], quotes.ts_ns[mine], side="right") - 1
        at_money = np.abs(share_mid[place] - float(contract.strike)) < 0.5
        for a, b in zip(place[:-1][at_money[:-1]], place[1:][at_money[:-1]], strict=True):
            drift.append(np.abs(share_mid[a : b + 1] - share_mid[a]).max())
    assert np.quantile(drift, 0.95) < 0.35


@pytest.mark.parametrize("day", [CRASH, QUIET, HALF])
def test_open_interest_passes_the_usual_filters_near_the_money(day):
    market = tape(day)
    first = market.quotes.bid[market.quotes.instrument_id == 0][0]
    options = contracts(market)
    assert set(market.open_interest) == {c.symbol for c in options}
    near = [market.open_interest[c.symbol] for c in options if abs(float(c.strike) - first) <= 2]
    assert min(near) > 100
    ahead = [
        market.open_interest[c.symbol]
        for c in options
        if abs(float(c.strike) / first - 1) < 0.02 and 30 <= (c.expiry - day).days <= 90
    ]
    assert np.median(ahead) > 100


def test_a_same_day_expiry_ends_at_its_intrinsic_value():
    market = tape(CRASH)
    close = market.settlement_prices["SPY", CRASH]
    quotes = market.quotes
    for number, contract in enumerate(contracts(market), start=1):
        if contract.expiry != CRASH:
            continue
        row = np.flatnonzero(quotes.instrument_id == number)[-1]
        sign = 1 if contract.is_call else -1
        intrinsic = max(sign * (close - float(contract.strike)), 0.0)
        mid = 0.5 * (np.nan_to_num(quotes.bid[row]) + quotes.ask[row])
        assert mid == pytest.approx(intrinsic, abs=0.30)
