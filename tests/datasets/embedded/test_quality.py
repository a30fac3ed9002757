"""The embedded market with faults: clean stays as it was, and real disturbs quotes as often as recorded."""

import importlib.util
import re
import sys
from dataclasses import fields
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from scalpdesk.core.errors import ArgumentError
from scalpdesk.datasets.embedded.market import available_sessions, reconstruct, reconstruct_span
from scalpdesk.datasets.embedded.quality import FAULTS, Drawing, jump_minutes, spells_of
from scalpdesk.instruments.sessions import session_on
from scalpdesk.marketdata.tape import NO_QUOTES

pytestmark = pytest.mark.second

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / ".." / "shared" / "data"
MINUTE_NS = 60_000_000_000
MONTH = [day for day in available_sessions() if (day.year, day.month) == (2017, 5)]
TWENTY_FOUR_YEARS = 6_000
"""Sessions, in which a halt is drawn about 230 times."""

days = st.sampled_from(available_sessions())
seeds = st.integers(0, 2**40)
shares = st.sampled_from(["SPY", "QQQ"])


def same(ours, others) -> bool:
    return all(
        np.array_equal(getattr(ours, column.name), getattr(others, column.name), equal_nan=True)
        for column in fields(ours)
    )


def of(quotes, number):
    return quotes.take(quotes.instrument_id == number)


def sparse(day, quality, seed=1, underlying="SPY"):
    """One expiry, a quote of the share every twenty seconds."""
    expiry = next(each for each in available_sessions()[::-1] if 0 <= (each - day).days <= 30)
    return reconstruct(
        day, seed=seed, underlying=underlying, expiries=(expiry,), quote_seconds=20.0, quality=quality
    )


def test_clean_is_the_market_without_a_choice():
    chosen, usual = (reconstruct(MONTH[0], quote_seconds=20.0, **how) for how in ({"quality": "clean"}, {}))
    assert same(chosen.quotes, usual.quotes)
    assert same(chosen.bars, usual.bars)
    assert chosen.notes == usual.notes
    assert usual.quality == "clean"


@settings(max_examples=5)
@given(days, seeds, shares)
def test_the_world_under_the_quotes_is_that_of_the_clean_session(day, seed, symbol):
    clean, real = (sparse(day, quality, seed, symbol) for quality in ("clean", "real"))
    assert real.settlement_prices == clean.settlement_prices
    assert real.open_interest == clean.open_interest
    assert [each.symbol for each in real.instruments] == [each.symbol for each in clean.instruments]
    ours, all_bars = real.bars, clean.bars
    rows = np.searchsorted(all_bars.ts_ns, ours.ts_ns)
    assert same(ours, all_bars.take(rows))
    assert len(all_bars) - len(ours) in {0, 5}
    share, true = of(real.quotes, 0), of(clean.quotes, 0)
    # a quote after a halt says again where the share stands: every price is one of the true path's
    rows = np.searchsorted(true.ts_ns, share.ts_ns, side="right") - 1
    for side in ("bid", "ask", "bid_size", "ask_size"):
        assert np.array_equal(getattr(share, side), getattr(true, side)[rows])
    if len(ours) == len(all_bars):
        assert same(share, true)


@settings(max_examples=5)
@given(days, seeds, shares)
def test_a_disturbed_session_is_sound_and_drawn_again_the_same(day, seed, symbol):
    first, again = (sparse(day, "real", seed, symbol) for _ in range(2))
    quotes, hours = first.quotes, session_on(day)
    assert same(quotes, again.quotes)
    assert same(first.bars, again.bars)
    assert np.all(np.diff(quotes.ts_ns) >= 0)
    assert quotes.ts_ns[0] >= hours.open_ns
    assert quotes.ts_ns[-1] < hours.close_ns
    assert np.all(quotes.bid >= 0.0)
    assert np.all(~(quotes.ask <= 0.0))
    assert np.all((quotes.bid_size >= 0.0) & (quotes.ask_size >= 0.0))
    assert np.all((quotes.bid_size > 0.0) == (quotes.bid > 0.0))
    assert np.all((quotes.ask_size > 0.0) == np.isfinite(quotes.ask))
    cents = np.nan_to_num(np.concatenate((quotes.bid, quotes.ask))) * 100.0
    assert np.abs(cents - np.rint(cents)).max() < 1e-6


def test_a_session_has_the_same_faults_in_every_span():
    long = reconstruct_span(date(2016, 3, 16), date(2016, 3, 18), quality="real")
    short = reconstruct_span(date(2016, 3, 17), date(2016, 3, 18), quality="real")
    hours = session_on(date(2016, 3, 17))
    ours, others = (tape.quotes.between(hours.open_ns, hours.close_ns) for tape in (long, short))
    symbols = [np.array([each.symbol for each in tape.instruments]) for tape in (long, short)]
    assert np.array_equal(symbols[0][ours.instrument_id], symbols[1][others.instrument_id])
    for side in ("ts_ns", "bid", "ask", "bid_size", "ask_size"):
        assert np.array_equal(getattr(ours, side), getattr(others, side), equal_nan=True)
    assert long.settlement_prices == reconstruct_span(*long_days(long)).settlement_prices


def long_days(tape):
    return tape.sessions[0].day, tape.sessions[-1].day


def test_seeds_and_days_have_other_faults():
    crossed = {
        (day, seed): tuple(quotes.ts_ns[quotes.bid > quotes.ask].tolist())
        for day in MONTH[:2]
        for seed in (1, 2)
        for quotes in [reconstruct(day, seed=seed, quality="real").quotes]
    }
    assert len(set(crossed.values())) == 4


def within(events: int, trials: int, frequency: float) -> bool:
    """Whether a count lies in the central 99.9 % of its binomial distribution."""
    low, high = binom.interval(0.999, trials, frequency)
    return low <= events <= high


def runs_of(quotes, is_struck) -> int:
    """Number of runs of struck quotes, each within one instrument."""
    order = np.lexsort((quotes.ts_ns, quotes.instrument_id))
    struck, number = is_struck[order], quotes.instrument_id[order]
    begins = struck & ~(np.append(False, struck[:-1]) & np.append(False, np.diff(number) == 0))
    return int(begins.sum())


SEEN = {
    "locked": lambda quotes: quotes.bid == quotes.ask,
    "crossed": lambda quotes: quotes.bid > quotes.ask,
    "no_ask": lambda quotes: np.isnan(quotes.ask),
    "stub": lambda quotes: (
        (quotes.bid_size <= 10) & (quotes.ask_size == 10) & (quotes.ask % 10.0 == 0.0) & (quotes.bid <= 0.05)
    ),
}
"""Faults that the quotes of a month show: a clean session has none of them."""


@pytest.fixture(scope="module")
def month():
    """A month of sessions with faults: quotes, options and the clean quotes."""
    found = []
    for day in MONTH:
        real, clean = (reconstruct(day, quality=quality) for quality in ("real", "clean"))
        found.append((real.quotes, len(real.instruments) - 1, clean.quotes))
    return found


@pytest.mark.parametrize("name", SEEN)
def test_a_month_shows_a_fault_as_often_as_the_recorded_days(month, name):
    fault = next(each for each in FAULTS if each.name == name)
    events = sum(runs_of(quotes, SEEN[name](quotes)) for quotes, _, _ in month)
    assert within(events, sum(options * 390 for _, options, _ in month), fault.frequency)
    assert not any(SEEN[name](clean).any() for _, _, clean in month)


def test_a_month_opens_options_as_late_as_the_recorded_days(month):
    fault = next(each for each in FAULTS if each.name == "late_open")
    late = 0
    for (quotes, options, _), day in zip(month, MONTH, strict=True):
        first = np.full(options + 1, np.iinfo(np.int64).max)
        np.minimum.at(first, quotes.instrument_id, quotes.ts_ns)
        late += int(np.sum(first[1:] >= session_on(day).open_ns + MINUTE_NS))
    assert within(late, sum(options for _, options, _ in month), fault.frequency)


def test_quotes_stand_still_after_a_jump_as_often_as_recorded(month):
    fault = next(each for each in FAULTS if each.name == "lag")
    asked = late = 0
    for (_, options, clean), day in zip(month, MONTH, strict=True):
        drawing = Drawing(session_on(day), options, of(clean, 0))
        asked += options * len(jump_minutes(drawing))
        late += len(spells_of(fault, drawing, (day.toordinal(), 1)))
    assert asked
    assert within(late, asked, fault.frequency)


@pytest.mark.parametrize("fault", [each for each in FAULTS if each.name != "lag"], ids=lambda each: each.name)
def test_each_fault_is_drawn_by_its_frequency_and_length(fault):
    drawing = Drawing(session_on(MONTH[0]), 300, NO_QUOTES)
    if fault.name == "halt":
        halts = [spells_of(fault, drawing, (seed,)) for seed in range(TWENTY_FOUR_YEARS)]
        assert within(sum(map(bool, map(len, halts))), TWENTY_FOUR_YEARS, fault.frequency)
        assert {int(each) for halt in halts for each in halt.end_ns - halt.start_ns} == {5 * MINUTE_NS}
        return
    trials = 300 if fault.name == "late_open" else 300 * 390
    drawn = [spells_of(fault, drawing, (seed,)) for seed in range(60)]
    assert within(sum(map(len, drawn)), 60 * trials, fault.frequency)
    for spells in drawn:
        follows = np.diff(spells.instrument) == 0
        assert np.all(spells.start_ns[1:][follows] >= spells.end_ns[:-1][follows])
        assert np.all(spells.end_ns > spells.start_ns)


def test_a_quality_that_is_not_there_is_refused():
    with pytest.raises(ArgumentError) as refused:
        reconstruct(MONTH[0], quality="dirty")
    assert refused.value.where == "quality"
    assert refused.value.value == "dirty"


def table_after(page: str, heading: str) -> dict[str, list[str]]:
    """Cells of the first table after a heading, by the first cell of each row."""
    table = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(heading)[2].partition("\n|")[2]
    lines = table.partition("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: cells for name, *cells in rows}


def test_the_page_of_figures_has_the_counts_that_are_drawn_by():
    rows = table_after("evidence/embedded-market.md", "## Faults of quotes")
    products = rows["fault"][1:5]
    for fault in FAULTS:
        _, *counts, minutes = rows[fault.name]
        stated = {name: cell for name, cell in zip(products, counts, strict=True) if cell}
        assert stated == {name: f"{events} of {trials}" for name, (events, trials) in fault.counted.items()}
        assert float(minutes) == fault.mean_minutes


def test_the_page_of_the_market_has_the_chances():
    rows = table_after("concepts/embedded-market.md", "## Quotes with faults")
    stated = {
        name: float(number)
        for names, (_, chances) in rows.items()
        for name, number in zip(names.split(", "), re.findall(r"[\d.]+(?= %)", chances) * 2, strict=False)
    }
    for fault in FAULTS:
        assert stated[fault.name] == pytest.approx(100 * fault.frequency, rel=0.03)


@pytest.mark.recorded
@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not beside the project")
def test_the_counts_are_those_of_the_recorded_days():
    spec = importlib.util.spec_from_file_location("counts", ROOT / "docs" / "quote_quality_figures.py")
    script = importlib.util.module_from_spec(spec)
    sys.modules["counts"] = script
    try:
        spec.loader.exec_module(script)
        counted = script.counted(DATA)
    finally:
        del sys.modules["counts"]
    for fault in FAULTS:
        ours = {product.partition(" ")[0]: [0, 0] for kind, product in counted if kind == fault.name}
        minutes = 0
        for (kind, product), each in counted.items():
            if kind == fault.name:
                ours[product.partition(" ")[0]][0] += each.events
                ours[product.partition(" ")[0]][1] += each.trials
                minutes += each.minutes
        assert {name: tuple(count) for name, count in ours.items()} == fault.counted
        if fault.events:
            assert minutes / fault.events == pytest.approx(fault.mean_minutes, abs=0.06)
