"""Wide tables of an option chain in the shapes in which people have them."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.catalog import load_tape
from scalpdesk.datasets.importers.chain import ChainChoices, import_chain
from scalpdesk.instruments.sessions import to_ns
from scalpdesk.marketdata.tape import MarketTape

DAY = date(2024, 1, 17)
CALL, PUT = "SPY240216C00470000", "SPY240216P00470000"
MINUTES = tuple(datetime(2024, 1, 17, hour) for hour in range(10, 15))  # noqa: DTZ001 - as files write it


def _rows(heading: str, row: Callable[[datetime], list[str]], comma: str = ",") -> str:
    return "\n".join([heading, *(line for at in MINUTES for line in row(at))]).replace("|", comma) + "\n"


def _two(make: Callable[[str, str, str], str]) -> list[str]:
    """Return the rows of the call and the put: word, bid and ask."""
    return [make("Call", "7.10", "7.14"), make("Put", "6.20", "6.24")]


SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "cboe": (
        _rows(
            "underlying_symbol,quote_datetime,root,expiration,strike,option_type,bid_size,bid,ask_size,ask,"
            "underlying_bid,underlying_ask,open_interest",
            lambda at: _two(
                lambda word, bid, ask: (
                    f"SPY,{at:%Y-%m-%d %H:%M:%S},SPY,2024-02-16,470,{word[0]},12,{bid},11,{ask},"
                    "470.49,470.51,50"
                )
            ),
        ),
        {},
    ),
    "thetadata": (
        _rows(
            "root,expiration,strike,right,ms_of_day,date,bid_size,bid,ask_size,ask,underlying_price",
            lambda at: _two(
                lambda word, bid, ask: (
                    f"SPY,20240216,470,{word[0]},{at.hour * 3_600_000},20240117,12,{bid},11,{ask},470.5"
                )
            ),
        ),
        {},
    ),
    "polygon": (
        _rows(
            "ticker,sip_timestamp,bid_price,bid_size,ask_price,ask_size,underlying_price",
            lambda at: _two(
                lambda word, bid, ask: (
                    f"O:SPY240216{word[0]}00470000,{to_ns(at.replace(hour=at.hour + 5, tzinfo=UTC))},"
                    f"{bid},12,{ask},11,470.5"
                )
            ),
        ),
        {},
    ),
    "ivolatility": (
        _rows(
            "date,time,symbol,option symbol,call/put,expiration,strike,bid,ask,stock price,settlement",
            lambda at: _two(
                lambda word, bid, ask: (
                    f"{at:%m/%d/%Y},{at:%I:%M %p},SPY,SPY   240216{word[0]}00470000,{word[0]},02/16/2024,470,"
                    f"{bid},{ask},470.5,6.9"
                )
            ),
        ),
        {"default_size": 12},
    ),
    "excel": (
        _rows(
            "Datum und Zeit;Expiry;Strike;Type;Bid;Ask;Spot".replace(";", "|"),
            lambda at: _two(
                lambda word, bid, ask: "|".join(
                    (f"{45308 + at.hour / 24:.8f}", "45338", "470", word, bid, ask, "470.5")
                ).replace(".", ",")
            ),
            ";",
        ),
        {"default_size": 12, "underlying": "SPY", "columns": {"ts": "Datum und Zeit"}},
    ),
    "months": (
        _rows(
            "exported by somebody\nday\ttime of day\tunderlying\texpiry\tk\tcp\tbid\task\tspot",
            lambda at: _two(
                lambda word, bid, ask: (
                    f"17-Jan-2024\t{at:%H%M%S}\tSPY\t16FEB24\t470\t{word[0]}E\t${bid}\t${ask}\t$470.5"
                )
            ),
        ),
        {"default_size": 12},
    ),
}
"""Text of a file and the choices that it needs, by shape; prices of 10:00 to 14:00 New York."""


def _imported(folder: Path, text: str, **choices: Any) -> MarketTape:
    (folder / "wide.csv").write_text(text)
    import_chain(folder / "catalog", folder / "wide.csv", ChainChoices(name="own", **choices))
    return load_tape(folder / "catalog", "own", underlying="SPY", start=DAY, end=DAY)


def _quote(tape: MarketTape, symbol: str) -> tuple[float, ...]:
    """Return the number of quotes, the first instant's New York hour, and the last bid and ask."""
    quotes = tape.quotes.whole()
    rows = quotes.instrument_id == tape.instruments.id_of(symbol)
    hour = (int(quotes.ts_ns[rows][0]) - to_ns(datetime(2024, 1, 17, 5, tzinfo=UTC))) / 3.6e12
    return int(rows.sum()), hour, float(quotes.bid[rows][-1]), float(quotes.ask[rows][-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_wide_table_becomes_quotes_of_the_share_and_its_options(tmp_path: Path, shape: str) -> None:
    text, choices = SHAPES[shape]
    tape = _imported(tmp_path, text, **choices)
    assert _quote(tape, CALL) == (5, 10.0, 7.10, 7.14)
    assert _quote(tape, PUT) == (5, 10.0, 6.20, 6.24)
    assert _quote(tape, "SPY") == (5, 10.0, 470.49, 470.51)
    quotes = tape.quotes.whole()
    assert quotes.bid_size[quotes.instrument_id == tape.instruments.id_of(CALL)].tolist() == [12.0] * 5
    assert tape.open_interest.get(CALL) == (50 if shape == "cboe" else None)


def test_one_refusal_names_all_that_is_missing_with_cell_and_line(tmp_path: Path) -> None:
    text = _rows(
        "time,expiry,strike,right,bid,ask",
        lambda at: [f"{at:%H:%M},04/05/2024,470,X,7.1,seven"],
    )
    with pytest.raises(DataError) as refused:
        _imported(tmp_path, text)
    message = f"{refused.value.what} {refused.value.fix}"
    for needed in (
        "--map ts",
        "--dates",
        "--underlying SYMBOL",
        "underlying_price",
        "line 2: 'X'",
        "'seven'",
    ):
        assert needed in message
    assert not (tmp_path / "catalog").exists()


@pytest.mark.parametrize(("zero", "bids"), [(None, 7.1), ("real", 0.0)])
def test_a_bid_of_0_is_no_quote_or_nobody_who_bids(tmp_path: Path, zero: str | None, bids: float) -> None:
    head = "ts,underlying,spot,expiry,strike,right,bid,ask,bid_size,ask_size"
    row = "2024-01-17 {},SPY,470.5,2024-02-16,470,C,{},7.14,1,1"
    tape = _imported(
        tmp_path,
        "\n".join([head, row.format("10:00", "7.1"), row.format("10:01", "0")]),
        zero_bid=zero,
        timezone="America/New_York",
    )
    assert _quote(tape, CALL)[2] == bids


@pytest.mark.parametrize(
    ("column", "value"), [("style", "European"), ("multiplier", "10"), ("settlement", "cash PM")]
)
def test_terms_that_are_not_of_the_class_are_refused(tmp_path: Path, column: str, value: str) -> None:
    text, choices = SHAPES["cboe"]
    first, *rest = text.splitlines()
    with pytest.raises(DataError, match=r"classes\.SPY"):
        _imported(
            tmp_path, "\n".join([f"{first},{column}", *(f"{line},{value}" for line in rest)]), **choices
        )


def test_strikes_in_another_unit_are_refused(tmp_path: Path) -> None:
    text, choices = SHAPES["cboe"]
    with pytest.raises(DataError, match="times the price"):
        _imported(tmp_path, text.replace(",470,", ",47000,"), **choices)


@pytest.mark.parametrize("has_price", [True, False])
def test_strikes_in_thousandths_are_read_as_dollars(tmp_path: Path, has_price: bool) -> None:
    """As ThetaData's old interface writes them, with the share's price beside them or in the data set."""
    text, choices = SHAPES["thetadata"]
    _imported(tmp_path, text, **choices)
    text = text.replace(",470,", ",470000,")
    if not has_price:
        text = text.replace(",470.5", "").replace(",underlying_price", "")
    tape = _imported(tmp_path, text, **choices)
    assert {each.symbol for each in tape.instruments if each.is_option} == {CALL, PUT}


@pytest.mark.parametrize(("shape", "decimal"), [("470,125", "comma"), ("1,470", "point")])
def test_a_comma_of_two_meanings_is_asked_for(tmp_path: Path, shape: str, decimal: str) -> None:
    row = f"2024-01-17 10:00;SPY;2024-02-16;{shape};C;{shape};{shape};{shape};1;1"
    text = f"ts;underlying;expiry;strike;right;bid;ask;spot;bid_size;ask_size\n{row}\n"
    with pytest.raises(DataError, match="decimal"):
        _imported(tmp_path, text, timezone="America/New_York")
    tape = _imported(tmp_path, text, timezone="America/New_York", decimal=decimal)
    read = float(shape.replace(",", "." if decimal == "comma" else ""))
    assert float(max(each.strike for each in tape.instruments if each.is_option)) == read
