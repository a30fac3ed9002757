import shutil
from datetime import date, time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.datasets.catalog import find_underlying, list_data_sets, load_tape
from scalpdesk.datasets.importers.tabular import ImportChoices, import_table
from scalpdesk.instruments.contract import Equity, Future, Index
from scalpdesk.instruments.sessions import new_york_ns, session_on
from scalpdesk.marketdata.tape import MarketTape

DAY = date(2015, 12, 23)

QUOTES = """ts,symbol,bid,ask,bid_size,ask_size
2015-12-23T14:30:00Z,XYZ,99.0,99.2,100,100
2015-12-23T14:31:00Z,XYZ,100.0,100.2,300,200
2015-12-23T14:32:00Z,XYZ,100.1,,100,0
2015-12-23T21:00:00Z,XYZ,100.3,100.5,100,100
2015-12-23T21:01:00Z,XYZ,100.4,100.6,100,100
2015-12-23T14:31:00Z,XYZ160115P00100000,1.0,1.1,5,5
2015-12-23T14:31:00Z,XYZ151224P00100000,0.4,0.5,5,5
2015-12-23T14:31:00Z,XYZ151224C00105000,0.1,0.2,5,5
2015-12-23T14:31:00Z,XYZ151224C00100000,0.6,0.7,5,5
"""


def put_csv(folder: Path, text: str, underlying: str = "XYZ", **choices) -> Path:
    path = folder / "rows.csv"
    path.write_text(text)
    import_table(folder / "cat", path, ImportChoices("mine", underlying, **choices))
    return folder / "cat"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return put_csv(tmp_path, QUOTES, bar_seconds=60)


def load(catalog: Path, **changes) -> MarketTape:
    wanted = {"underlying": "XYZ", "start": DAY, "end": DAY} | changes
    return load_tape(catalog, wanted.pop("name", "mine"), **wanted)


def test_instruments_come_underlying_first_then_by_expiry_strike_and_right(catalog):
    tape = load(catalog)
    assert [instrument.symbol for instrument in tape.instruments] == [
        "XYZ",
        "XYZ151224C00100000",
        "XYZ151224P00100000",
        "XYZ151224C00105000",
        "XYZ160115P00100000",
    ]
    assert tape.instruments[0] == Equity("XYZ")
    assert (tape.name, tape.kind, tape.underlying, tape.quote_seconds) == ("mine", "recorded", "XYZ", 60.0)
    assert tape.sessions == (session_on(DAY),)


def test_regular_hours_keep_what_is_known_after_the_open_up_to_the_close(catalog):
    def share_times(tape: MarketTape) -> list[int]:
        return tape.quotes.ts_ns[tape.quotes.instrument_id == 0].tolist()

    session = session_on(DAY)
    minute = 60_000_000_000
    regular = [session.open_ns + minute, session.open_ns + 2 * minute, session.close_ns]
    assert share_times(load(catalog)) == regular


def test_a_missing_side_is_carried_and_the_tape_says_so(catalog):
    tape = load(catalog)
    own = tape.quotes.instrument_id == 0
    np.testing.assert_array_equal(tape.quotes.ask[own], [100.2, 100.2, 100.5])
    np.testing.assert_array_equal(tape.quotes.ask_size[own], [200.0, 200.0, 100.0])
    assert any("carried forward for at most 300 s: 1" in note for note in tape.notes)
    assert "no interest rates in this data set: zero is assumed" in tape.notes
    strict = load(catalog, max_side_age_seconds=30.0)
    assert np.isnan(strict.quotes.ask[strict.quotes.instrument_id == 0][1])


def test_a_missing_session_names_the_range_covered_and_the_fix(catalog):
    with pytest.raises(DataError, match="does not cover") as refused:
        load(catalog, start=date(2015, 12, 22))
    assert "2015-12-23" in refused.value.what
    assert refused.value.nearest == "2015-12-23"
    assert "data import" in refused.value.fix


def test_an_unknown_data_set_and_underlying_name_the_nearest(catalog):
    with pytest.raises(DataError, match="no data set") as refused:
        load(catalog, name="mina")
    assert refused.value.nearest == "mine"
    with pytest.raises(DataError, match="no such underlying") as refused:
        load(catalog, underlying="XYY")
    assert refused.value.nearest == "XYZ"


def test_an_empty_catalogue_says_how_to_fill_it(tmp_path):
    assert list_data_sets(tmp_path) == ([], {})
    with pytest.raises(DataError, match="there: none") as refused:
        load(tmp_path)
    assert "scalpdesk data import" in refused.value.fix


def test_a_damaged_file_is_named_with_its_fix(catalog):
    path = catalog / "mine" / "option_quotes" / "XYZ" / "2015-12-23.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot be read as Parquet") as refused:
        load(catalog)
    assert refused.value.where == str(path)
    assert str(path) in refused.value.fix


def test_a_damaged_manifest_is_named_and_the_others_are_listed(catalog):
    whole = (catalog / "mine" / "manifest.json").read_bytes()
    for name, content in (("cut", b'{"format": 1, "name"'), ("binary", b"\xff\xfe")):
        (catalog / name).mkdir()
        (catalog / name / "manifest.json").write_bytes(content)
    manifests, damaged = list_data_sets(catalog)
    assert [manifest.name for manifest in manifests] == ["mine"]
    assert sorted(damaged) == ["binary", "cut"]
    assert str(catalog / "cut" / "manifest.json") in damaged["cut"].fix
    (catalog / "mine" / "manifest.json").write_bytes(whole[:20])
    with pytest.raises(DataError, match="manifest of this data set is damaged"):
        load(catalog)


def test_a_day_that_no_calendar_reaches_is_not_there(catalog):
    with pytest.raises(DataError, match="does not cover") as refused:
        load_tape(catalog, "mine", underlying="XYZ", start=date(3024, 2, 5), end=date(3024, 2, 5))
    assert refused.value.nearest is not None


def test_options_without_their_underlying_are_refused(tmp_path):
    text = "\n".join(line for line in QUOTES.splitlines() if ",XYZ," not in line).replace("XYZ", "SPY")
    catalog = put_csv(tmp_path, text + "\n", underlying="SPY")
    with pytest.raises(DataError, match="no quotes of SPY itself"):
        load(catalog, underlying="SPY")


def test_an_unknown_index_source_is_refused(catalog):
    with pytest.raises(ArgumentError, match="index levels") as refused:
        load(catalog, index_source="pariti")
    assert refused.value.nearest == "parity"


def test_a_gap_between_covered_sessions_is_noted(tmp_path):
    later = QUOTES.replace("2015-12-23", "2015-12-28").split("2015-12-28T14:31:00Z,XYZ160115P")[0]
    put_csv(tmp_path, QUOTES)
    tape = load(put_csv(tmp_path, later), end=date(2015, 12, 28))
    assert [session.day.day for session in tape.sessions] == [23, 28]
    assert "no data on 2015-12-24" in tape.notes


# ------------------------------------------------------------------ recorded markets


def straddle_ask(tape: MarketTape, root: str, clock: time) -> float:
    """Return the price of a straddle at the ask, by the quotes known at a New York time."""
    at = new_york_ns(tape.sessions[0].day, clock)
    total = 0.0
    for right in "CP":
        number = tape.instruments.id_of(root.format(right))
        rows = np.flatnonzero((tape.quotes.instrument_id == number) & (tape.quotes.ts_ns <= at))
        total += float(tape.quotes.ask[rows[-1]])
    return total


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("underlying", "day", "straddle", "entry"),
    [
        # Entry prices of the independent calculation that the recorded days are held against.
        ("SPXW", date(2021, 1, 4), "SPXW210104{}03700000", 58.25),
        ("SPXW", date(2021, 1, 8), "SPXW210108{}03800000", 28.50),
        ("GOOG", date(2015, 12, 23), "GOOG151224{}00752500", 6.75),
    ],
)
def test_straddles_cost_at_0936_what_an_independent_reading_says(
    recorded_catalog, underlying, day, straddle, entry
):
    tape = load_tape(recorded_catalog, "lean", underlying=underlying, start=day, end=day)
    assert straddle_ask(tape, straddle, time(9, 36)) == pytest.approx(entry, abs=1e-9)


@pytest.mark.recorded
def test_a_share_with_its_chain(recorded_catalog):
    tape = load_tape(recorded_catalog, "lean", underlying="goog", start=DAY, end=DAY)
    assert len(tape.instruments) == 119
    assert tape.bars is not None
    assert len(tape.bars) == 390
    assert set(tape.bars.instrument_id.tolist()) == {0}
    assert len(tape.open_interest) == 118
    assert tape.rate_curve.rate_at(1.0) == pytest.approx(np.log(1.01))
    assert not bool((tape.quotes.bid > tape.quotes.ask).any())
    with_options = load_tape(
        recorded_catalog, "lean", underlying="GOOG", start=DAY, end=DAY, option_bars=True
    )
    assert with_options.bars is not None
    assert len(with_options.bars) > 390


@pytest.mark.recorded
def test_a_half_day_ends_at_one(recorded_catalog):
    half = date(2015, 12, 24)
    tape = load_tape(recorded_catalog, "lean", underlying="GOOG", start=half, end=half)
    assert tape.sessions[0].is_half_day
    assert tape.quotes.ts_ns[-1] == new_york_ns(half, time(13, 0))


@pytest.mark.recorded
def test_an_index_level_is_recorded_where_it_can_be_and_derived_where_not(recorded_catalog):
    tape = load_tape(
        recorded_catalog, "lean", underlying="SPXW", start=date(2021, 1, 4), end=date(2021, 1, 8)
    )
    assert tape.underlying == "SPX"
    assert tape.instruments[0] == Index("SPX")
    assert {option.root for _, option in tape.instruments.options("SPX")} == {"SPXW"}
    assert tape.settlement_prices == {("SPX", date(2021, 1, 4)): 3700.65}
    assert sum("derived by put-call parity" in note for note in tape.notes) == 4
    level = tape.quotes.instrument_id == 0
    np.testing.assert_array_equal(tape.quotes.bid[level], tape.quotes.ask[level])
    assert not tape.quotes.bid_size[level].any()
    derived = load_tape(
        recorded_catalog,
        "lean",
        underlying="SPXW",
        start=date(2021, 1, 4),
        end=date(2021, 1, 4),
        index_source="parity",
    )
    assert derived.settlement_prices == {}
    own = derived.quotes.instrument_id == 0
    assert derived.quotes.bid[own][-1] == pytest.approx(3699.975)


@pytest.mark.recorded
def test_an_index_brings_all_its_roots(recorded_catalog):
    day = date(2021, 1, 4)
    tape = load_tape(recorded_catalog, "lean", underlying="SPX", start=day, end=day)
    assert {option.root for _, option in tape.instruments.options("SPX")} == {"SPX", "SPXW"}
    assert find_underlying(recorded_catalog, "lean", "spxw")[3] == ("SPXW",)


@pytest.mark.recorded
def test_crossed_bars_are_withheld_and_noted(recorded_catalog):
    day = date(2021, 1, 8)
    tape = load_tape(recorded_catalog, "lean", underlying="SPXW", start=day, end=day)
    assert any("48 rows are stored crossed" in note for note in tape.notes)
    assert not bool((tape.quotes.bid > tape.quotes.ask).any())


@pytest.mark.recorded
def test_futures_by_their_front_month(recorded_catalog):
    tape = load_tape(
        recorded_catalog, "lean", underlying="ES", start=date(2013, 10, 7), end=date(2013, 10, 11)
    )
    front = tape.instruments[0]
    assert isinstance(front, Future)
    assert (front.symbol, front.expiry, front.multiplier) == ("ES_201312", date(2013, 12, 20), 50)
    assert front.tick_rule.tick_at(Decimal(1)) == Decimal("0.25")
    assert len(tape.quotes) == 0
    assert tape.bars is not None
    assert int((tape.bars.instrument_id == 0).sum()) == 5 * 390


@pytest.mark.recorded
def test_a_catalogue_can_be_moved(recorded_catalog, tmp_path):
    shutil.copytree(
        recorded_catalog / "lean" / "quotes" / "GOOG", tmp_path / "c" / "lean" / "quotes" / "GOOG"
    )
    shutil.copy(recorded_catalog / "lean" / "manifest.json", tmp_path / "c" / "lean")
    tape = load_tape(tmp_path / "c", "lean", underlying="GOOG", start=DAY, end=DAY)
    assert [instrument.symbol for instrument in tape.instruments] == ["GOOG"]


def test_an_index_without_level_or_pairs_is_refused(tmp_path):
    rows = "ts,symbol,bid,ask,bid_size,ask_size\n2021-01-04T14:31:00Z,SPXW210104C03700000,64.9,67.9,48,15\n"
    catalog = put_csv(tmp_path, rows, underlying="SPX", bar_seconds=60)
    with pytest.raises(DataError, match="no level of the index SPX") as refused:
        load(catalog, underlying="SPX", start=date(2021, 1, 4), end=date(2021, 1, 4))
    assert "calls and puts" in refused.value.fix


def test_an_index_level_is_derived_from_one_pair(tmp_path):
    header = "ts,symbol,bid,ask,bid_size,ask_size\n2021-01-04T14:31:00Z,SPXW210104"
    rows = header + "C03700000,64.9,67.9,48,15\n2021-01-04T14:31:00Z,SPXW210104P03700000,0.4,0.6,9,9\n"
    catalog = put_csv(tmp_path, rows, underlying="SPX", bar_seconds=60)
    tape = load(catalog, underlying="SPX", start=date(2021, 1, 4), end=date(2021, 1, 4))
    assert tape.quotes.bid[tape.quotes.instrument_id == 0].tolist() == [pytest.approx(3700 + 66.4 - 0.5)]
    assert any("half-width 1.60 points" in note for note in tape.notes)
