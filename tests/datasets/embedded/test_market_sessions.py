"""The embedded market over nights: one listing, real gaps, dividends and rates, and nothing of tomorrow."""

import os
import resource
import threading
from dataclasses import fields, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from scalpdesk.core.events import PositionChanged
from scalpdesk.datasets.embedded import days as figures
from scalpdesk.datasets.embedded import market
from scalpdesk.datasets.embedded.days import available_sessions, market_day
from scalpdesk.datasets.embedded.market import (
    SessionCache,
    listed_pairs,
    reconstruct_span,
    session_cents,
    without_docstrings,
)
from scalpdesk.datasets.embedded.surface import exercise_premiums
from scalpdesk.datasets.importers.lean import read_factor_file
from scalpdesk.instruments.sessions import expiry_instant_ns, session_on
from scalpdesk.marketdata.tape import NO_QUOTES, QuoteColumns
from scalpdesk.notebook import backtest
from scalpdesk.pricing import greeks
from scalpdesk.simulation.tape_reader import opening_events
from scalpdesk_testing.kit.clock import ManualClock
from scalpdesk_testing.kit.desk import CASH, Scripted, run_tape

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"
FIRST, LAST = date(2016, 3, 16), date(2016, 3, 18)
EX_DATE, DIVIDEND = date(2016, 3, 18), 1.05


@pytest.fixture(scope="module")
def tape():
    return reconstruct_span(FIRST, LAST)


def quotes_of(tape, day) -> QuoteColumns:
    session = session_on(day)
    return tape.quotes.between(session.open_ns, session.close_ns)


def share_of(quotes):
    mine = quotes.instrument_id == 0
    return quotes.ts_ns[mine], quotes.bid[mine], quotes.ask[mine]


def test_a_session_is_the_lone_one_with_what_its_share_has_accrued(tape):
    for day in (FIRST, EX_DATE):
        lone, ours = share_of(market.reconstruct(day).quotes), share_of(quotes_of(tape, day))
        assert np.array_equal(lone[0], ours[0])
        shift = figures.accrued_cents(day) / 100.0
        for side in (1, 2):
            np.testing.assert_allclose(ours[side], lone[side] + shift, rtol=0.0, atol=1e-9)


def test_the_night_is_the_indexs_and_the_share_falls_by_its_dividend_when_it_goes_ex(tape):
    before, after = market_day(date(2016, 3, 17)), market_day(EX_DATE)
    gap = (session_cents(after).open - session_cents(before).close) / 100.0
    close, opening = (share_of(quotes_of(tape, each.day)) for each in (before, after))
    fallen = 0.5 * (opening[1][0] + opening[2][0] - close[1][-1] - close[2][-1]) - gap
    assert fallen == pytest.approx(-DIVIDEND, abs=0.02)
    assert figures.accrued_cents(EX_DATE) == 0


def test_a_session_is_the_same_in_every_span(tape):
    other = reconstruct_span(EX_DATE, date(2016, 3, 21))
    mine, theirs = quotes_of(tape, EX_DATE), quotes_of(other, EX_DATE)
    for name in ("ts_ns", "bid", "ask", "bid_size", "ask_size"):
        assert np.array_equal(getattr(mine, name), getattr(theirs, name), equal_nan=True)
    names = [np.array([contract.symbol for contract in each.instruments]) for each in (tape, other)]
    assert np.array_equal(names[0][mine.instrument_id], names[1][theirs.instrument_id])


def test_a_strike_once_listed_stays_until_it_expires():
    days = available_sessions()[500:530]
    for day, following in pairwise(days):
        today, tomorrow = set(listed_pairs(day)), set(listed_pairs(following))
        assert {pair for pair in today if pair.expiry >= following} <= tomorrow
        assert all(pair.expiry >= following for pair in tomorrow)
        new = {pair.strike for pair in tomorrow - today}
        level = session_cents(market_day(following)).open / 100.0
        assert all(abs(strike / level - 1.0) < 0.35 for strike in new)


def test_every_listed_contract_is_quoted_through_its_last_session(tape):
    for day in (FIRST, LAST):
        quotes = quotes_of(tape, day)
        quoted = {tape.instruments[number].symbol for number in np.unique(quotes.instrument_id)}
        assert quoted == {"SPY"} | {c.symbol for pair in listed_pairs(day) for c in (pair.call, pair.put)}


def test_what_comes_later_changes_nothing_before(tape, monkeypatch, tmp_path):
    """Other figures from the ex-date on: the sessions before it, their listings and mornings stay."""

    def other(figure):
        up = {"open": figure.open * 1.1, "high": figure.high * 1.3, "close": figure.close * 1.2}
        return figure if figure.day < EX_DATE else replace(figure, **up, vix=50.0)

    changed = {day: other(figure) for day, figure in figures._days().items()}
    before = quotes_of(tape, date(2016, 3, 17))
    known = [listed_pairs(day) for day in (FIRST, date(2016, 3, 17))]
    mornings = [opening_events(tape, each, is_first=False) for each in tape.sessions[:2]]
    later = quotes_of(tape, EX_DATE)
    monkeypatch.setattr(figures, "_days", lambda *_: changed)
    monkeypatch.setattr(market, "cache_folder", lambda: tmp_path)
    market._newly_listed.cache_clear()
    market._path.cache_clear()
    try:
        changed_tape = reconstruct_span(FIRST, LAST)
        assert [listed_pairs(day) for day in (FIRST, date(2016, 3, 17))] == known
        assert [
            opening_events(changed_tape, each, is_first=False) for each in changed_tape.sessions[:2]
        ] == mornings
        again = quotes_of(changed_tape, date(2016, 3, 17))
        for column in fields(QuoteColumns):
            assert np.array_equal(getattr(before, column.name), getattr(again, column.name), equal_nan=True)
        assert quotes_of(changed_tape, EX_DATE).bid[0] != later.bid[0]
    finally:
        market._newly_listed.cache_clear()
        market._path.cache_clear()


def test_parity_shows_the_rate_and_the_dividend(tape):
    """C - P = S - PV(dividend before the expiry) - K e^(-rT), of quotes at one instant near the money."""
    day = date(2016, 3, 17)
    quotes, rate = quotes_of(tape, day), np.log1p(0.00375)
    mids = 0.5 * (quotes.bid + quotes.ask)
    errors = []
    for pair in listed_pairs(day):
        if not 205.0 <= pair.strike <= 212.0 or (pair.expiry - day).days < 20:
            continue  # the right to exercise before the ex-date is worth something there
        call, put = (tape.instruments.id_of(each.symbol) for each in (pair.call, pair.put))
        calls, puts = (np.flatnonzero(quotes.instrument_id == number) for number in (call, put))
        at = calls[len(calls) // 2]
        assert quotes.ts_ns[puts[len(puts) // 2]] == quotes.ts_ns[at]
        stamps, bid, ask = share_of(quotes)
        place = np.searchsorted(stamps, quotes.ts_ns[at], side="right") - 1
        years = (expiry_instant_ns(pair.call) - quotes.ts_ns[at]) / 1e9 / 86_400 / 365
        paid = DIVIDEND if pair.expiry >= EX_DATE else 0.0
        fair = 0.5 * (bid[place] + ask[place]) - paid - pair.strike * np.exp(-rate * years)
        errors.append(mids[at] - mids[puts[len(puts) // 2]] - fair)
    assert len(errors) > 10
    assert abs(np.median(errors)) < 0.03  # both may be exercised early: parity holds but for that
    assert max(np.abs(errors)) < 0.06


def test_no_option_is_offered_below_what_exercise_brings(tape):
    quotes = quotes_of(tape, date(2016, 3, 17))
    stamps, bid, ask = share_of(quotes)
    for pair in listed_pairs(date(2016, 3, 17))[::7]:
        for contract, sign in ((pair.call, 1), (pair.put, -1)):
            mine = quotes.instrument_id == tape.instruments.id_of(contract.symbol)
            place = np.searchsorted(stamps, quotes.ts_ns[mine], side="right") - 1
            side = 0.5 * (bid[place] + ask[place])
            assert (quotes.ask[mine] >= sign * (side - pair.strike) - 1e-9).all()


def test_a_call_on_the_eve_is_worth_no_more_than_exercise_by_half_past_five_brings(tape):
    """That is the larger of payoff and parity without exercise, and cents for what is left until then."""
    day, rate = date(2016, 3, 17), np.log1p(0.00375)
    quotes = quotes_of(tape, day)
    late_ns = session_on(day).close_ns - 600 * 10**9
    stamps, bid, ask = share_of(quotes)
    looks = []
    for pair in listed_pairs(day):
        if not EX_DATE <= pair.expiry <= date(2016, 3, 24) or not 190.0 <= pair.strike <= 215.0:
            continue
        call, put = (
            np.flatnonzero(
                (quotes.instrument_id == tape.instruments.id_of(each.symbol)) & (quotes.ts_ns >= late_ns)
            )
            for each in (pair.call, pair.put)
        )
        if not len(call) or not len(put):
            continue
        at, beside = call[0], put[np.argmin(np.abs(quotes.ts_ns[put] - quotes.ts_ns[call[0]]))]
        place, then = (np.searchsorted(stamps, quotes.ts_ns[each], side="right") - 1 for each in (at, beside))
        share, moved = 0.5 * (bid[place] + ask[place]), abs(bid[place] - bid[then])
        years = (expiry_instant_ns(pair.call) - quotes.ts_ns[at]) / 1e9 / 86_400 / 365
        held = quotes.ask[beside] + share - DIVIDEND - pair.strike * np.exp(-rate * years)
        looks.append(quotes.bid[at] - max(share - pair.strike, held) - moved)
    assert len(looks) > 20
    assert max(looks) < 0.06


@pytest.mark.parametrize(("days", "vol"), [(7, 0.12), (40, 0.30), (90, 0.20)])
@pytest.mark.parametrize("dividend", [0.0, 1.4])
def test_the_right_to_exercise_early_is_worth_what_the_desks_own_pricing_says(days, vol, dividend):
    spot, rate, years = 250.0, 0.0235, days / 365
    strikes = np.arange(210.0, 291.0, 20.0)
    deviations = np.full(len(strikes), vol * np.sqrt(years))
    notice = years / 2 - 16 / 24 / 365
    terms = {"rate": rate, "years": years, "dividend": dividend / spot}
    terms |= {"years_to_ex": years / 2, "years_to_notice": notice}
    found = exercise_premiums(np.log(strikes / spot), deviations, **terms)
    paid = dividend * np.exp(-rate * years / 2)
    forward = (spot - paid) * np.exp(rate * years)
    discount = np.exp(-rate * years)
    schedule = [(years / 2, dividend, notice)] if dividend else None
    for is_call, premiums in ((True, found[0]), (False, found[1])):
        for strike, premium in zip(strikes, premiums, strict=True):
            american = greeks(spot, strike, years, vol, is_call, rate=rate, dividends=schedule).price
            european = discount * black(forward, strike, vol * np.sqrt(years), is_call)
            ours = max(european + spot * premium, (spot - strike) if is_call else (strike - spot))
            assert ours == pytest.approx(float(american), abs=0.03)


def black(forward, strike, deviation, is_call):
    """Black (1976), undiscounted."""
    d1 = np.log(forward / strike) / deviation + deviation / 2
    sign = 1 if is_call else -1
    return sign * (forward * ndtr(sign * d1) - strike * ndtr(sign * (d1 - deviation)))


def test_a_morning_brings_the_rate_the_open_interest_and_a_dividend_once(tape):
    mornings = [tape.morning(session) for session in tape.sessions]
    for morning in mornings:
        assert morning.rate_curve.rates == pytest.approx([np.log1p(0.00375)])
    coming = date(2016, 6, 17)
    assert [[each.ex_date for each in morning.declared] for morning in mornings] == [[EX_DATE], [], [coming]]
    assert [(each.ex_date, each.amount) for each in tape.dividends] == [(EX_DATE, Decimal("1.05"))]
    held = [morning.open_interest for morning in mornings]
    both = sorted(held[0].keys() & held[1].keys())
    assert len(both) > 300
    logs = [np.log([max(each[symbol], 1) for symbol in both]) for each in held[:2]]
    assert np.corrcoef(logs)[0, 1] > 0.9  # the same contracts, a day older


def one_session(session, seed=3, symbol="SPY"):
    """Draw a session of a lone day."""
    tape = market.reconstruct(session, seed=seed, underlying=symbol)
    return tape.quotes.whole(), tape.bars.whole()


def test_a_kept_session_is_the_drawn_one_and_a_damaged_one_is_drawn_again(tmp_path):
    day, draws = date(2017, 11, 24), []

    def draw(*what):
        draws.append(what)
        return one_session(*what)

    cache = SessionCache(tmp_path / "embedded-new", draw)
    drawn, kept = cache.read(day, 3, "SPY"), cache.read(day, 3, "SPY")
    (path,) = (tmp_path / "embedded-new" / "3").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    again = cache.read(day, 3, "SPY")
    assert len(draws) == 2
    without = SessionCache(path / "no folder", draw)
    for other in (kept, again, without.read(day, 3, "SPY")):
        for mine, theirs in zip(drawn, other, strict=True):
            for column in fields(mine):
                first, second = getattr(mine, column.name), getattr(theirs, column.name)
                assert first.dtype == second.dtype
                assert np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def nothing_drawn(*_):
    return NO_QUOTES, market.BarColumns(*(np.empty(0) for _ in fields(market.BarColumns)))


def test_a_session_that_the_disk_does_not_take_whole_leaves_nothing_in_the_cache(tmp_path):
    """The part of a file that was written kept the disk full, one more of each process that tried."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        SessionCache(tmp_path, nothing_drawn).read(date(2017, 11, 24), 3, "SPY")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "3").iterdir()) == []
    SessionCache(tmp_path, nothing_drawn).read(date(2017, 11, 24), 3, "SPY")
    (kept,) = (tmp_path / "3").iterdir()
    assert kept.stat().st_size > 1_000


def test_a_version_that_draws_no_more_leaves_nothing_behind_after_a_month(tmp_path):
    day = 86_400
    now = tmp_path.stat().st_mtime
    for name, days in (("embedded-old", 31), ("embedded-recent", 29), ("notebooks", 400)):
        session = tmp_path / name / "1" / "SPY-2016-01-04.npz"
        session.parent.mkdir(parents=True)
        session.touch()
        for path in (session.parent, session.parent.parent):
            os.utime(path, (now - days * day,) * 2)
    SessionCache(tmp_path / "embedded-new", nothing_drawn).read(date(2018, 3, 12), 1, "SPY")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "embedded-new",
        "embedded-recent",
        "notebooks",
    ]


def test_runs_side_by_side_draw_each_session_once(tmp_path):
    """While another run draws Monday, Tuesday is drawn; then Monday is read, not drawn again."""
    monday, tuesday, wednesday = (date(2018, 3, day) for day in (12, 13, 14))
    days, others, has_begun, may_end = [], [], threading.Event(), threading.Event()

    def draw_slowly(day, *_):
        others.append(day)
        has_begun.set()
        assert may_end.wait(120.0)
        return nothing_drawn()

    def draw(day, *_):
        days.append(day)
        may_end.set()
        other.join()  # meanwhile the other run is through
        return nothing_drawn()

    slow, cache = SessionCache(tmp_path, draw_slowly), SessionCache(tmp_path, draw)
    other = threading.Thread(target=slow.read, args=(monday, 1, "SPY"))
    other.start()
    assert has_begun.wait(120.0)
    for day, later in ((monday, (tuesday, wednesday)), (tuesday, (wednesday,))):
        cache.read(day, 1, "SPY", later)
    assert (others, days) == ([monday], [tuesday])
    assert {path.name for path in (tmp_path / "1").iterdir()} == {
        f"SPY-{day}.npz" for day in (monday, tuesday)
    }


@pytest.mark.second
def test_what_is_held_over_nights_earns_its_dividend_and_is_delivered_at_its_expiry(tape):
    pair = next(pair for pair in listed_pairs(FIRST) if (pair.strike, pair.expiry) == (200.0, EX_DATE))
    call, put = (tape.instruments.id_of(each.symbol) for each in (pair.call, pair.put))
    run = run_tape(tape, Scripted(), positions={0: 100, call: 1, put: 1}, mark_seconds=3600.0)
    desk = run.engine.desk
    assert {each.instrument_id: each.quantity for each in desk.positions.held()} == {0: 200}
    # by hand: the dividend of the shares held into the ex-date, and the strike paid for a hundred more
    cash = CASH + 100 * Decimal("1.05") - 100 * 200
    assert desk.account.cash == cash
    assert run.broker.account.cash == cash
    causes = [event.cause for event in run.events if isinstance(event, PositionChanged)]
    assert sorted(causes) == ["delivery", "dividend", "exercise", "expired_worthless"]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["gamma-scalper", "st0cka", "zero-dte", "hybrid", "st0ckg"])
def test_what_is_listed_later_changes_no_decision(tape, strategy):
    longer = reconstruct_span(FIRST, date(2016, 3, 31))
    assert len(longer.instruments) > len(tape.instruments)
    short, long = (
        backtest(strategy, replace(each, sessions=each.sessions[:1], dividends=()), clock=ManualClock(1))
        for each in (tape, longer)
    )
    assert short.summary["decision_hash"] == long.summary["decision_hash"]


@pytest.mark.recorded
def test_dividends_are_those_of_the_recorded_factors():
    path = SHARED / "raw_lean" / "Data" / "equity" / "usa" / "factor_files" / "spy.csv"
    paid = {day: float(amount) for day, kind, amount in read_factor_file(path) if kind == "dividend"}
    for ex_date, amount in figures.SPY_DIVIDENDS_USD:
        assert amount == pytest.approx(paid[ex_date], abs=0.0105)  # of closes and seven digits


@pytest.mark.recorded
def test_the_target_range_ends_half_a_percent_below_the_discount_rate():
    lines = (SHARED / "rates" / "fed_discount_rate_lean.csv").read_text().splitlines()[1:]
    steps = [(date.fromisoformat(day), float(rate)) for day, rate in (line.split(",")[:2] for line in lines)]
    for session in available_sessions()[::5]:
        discount = next(rate for since, rate in reversed(steps) if since <= session)
        upper = next(high for since, _, high in reversed(figures.FED_TARGET_PERCENT) if since <= session)
        assert discount - upper == pytest.approx(0.5)


def test_there_is_a_dividend_ahead_and_one_behind_on_every_session():
    for session in available_sessions():
        (last, _), (coming, _) = figures.dividends_around(session)
        assert last <= session < coming
        assert coming - last < timedelta(days=100)


def test_the_variance_premium_of_the_page_is_that_of_the_days():
    days = available_sessions()
    levels = {day: (market_day(day).close, market_day(day).vix) for day in days}
    premiums, by_year = [], {}
    for place, day in enumerate(days):
        end = day + timedelta(days=30)
        if end > days[-1]:
            break
        window = [levels[each][0] for each in days[place : place + 24] if each <= end]
        realised = sum(np.log(after / before) ** 2 for before, after in pairwise(window)) * 365 / 30
        premiums.append(levels[day][1] ** 2 - 1e4 * realised)
        by_year.setdefault(day.year, []).append(premiums[-1])
    page = (Path(__file__).resolve().parents[3] / "docs" / "concepts" / "embedded-market.md").read_text(
        "utf-8"
    )
    text = " ".join(page.split())
    assert f"by {np.mean(premiums):.0f} points² a year (95 % from 34 to 90" in text
    assert f"over {len(premiums)} days" in text
    assert f"on {np.mean(np.array(premiums) > 0):.0%}".replace("%", " %") in text
    years = [f"{np.mean(by_year[year]):.0f}" for year in sorted(by_year)]
    assert f"by year {', '.join(years[:4])} and, in 2018, {years[4]}." in text
    apart = np.array(premiums[::21])  # windows that hardly overlap: a plain standard error
    assert abs(apart.mean() - 64) < 2 * apart.std(ddof=1) / np.sqrt(len(apart))


def test_another_docstring_draws_no_session_anew():
    plain = without_docstrings("def f(x):\n    'It doubles.'\n    return 2 * x  # twice\n")
    assert without_docstrings("def f(x):\n\n    'Twice x.'\n    return 2 * x\n") == plain
    assert without_docstrings("def f(x):\n    return 3 * x\n") != plain
