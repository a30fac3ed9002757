import dataclasses
from datetime import date, time

import pytest

from scalpdesk.cli.chain import _print_chain
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Index, Instruments
from scalpdesk.instruments.sessions import new_york_ns
from scalpdesk.pricing import greeks
from scalpdesk.research.chain import chain_document
from scalpdesk_testing.kit.tape import tape_of_rows


def test_options_of_one_day_that_settle_at_different_hours_keep_their_own_time(capsys):
    """SPX settles at the open of its expiry, SPXW at the close: 21.5 and 28 hours, both made at 20 %."""
    day = date(2021, 1, 14)
    noon = new_york_ns(day, time(12, 0))
    book = Instruments([Index("SPX")])
    rows = [(noon - 2, 0, 3800.0, 3800.0)]
    for root, hours in (("SPX", 21.5), ("SPXW", 28.0)):
        for right in "CP":
            number = book.add(us_option(f"{root}210115{right}03800000"))
            fair = float(greeks(3800.0, 3800.0, hours / 8_760, 0.2, right == "C", style="european").price)
            rows.append((noon - 1, number, fair - 0.05, fair + 0.05))
    tape = dataclasses.replace(tape_of_rows(book, rows, day, 0.0), underlying="SPX")
    document = chain_document(tape, noon, None)
    assert [option["iv"] for option in document["options"]] == pytest.approx([0.2] * 4, abs=1e-9)
    assert sorted(option["years"] * 8_760 for option in document["options"]) == pytest.approx(
        [21.5, 21.5, 28.0, 28.0]
    )
    _print_chain(document, 10)
    shown = capsys.readouterr().out
    assert "0.90 and 1.17 days" in shown
    assert [line.split()[7:9] for line in shown.splitlines() if " 3800 " in line] == [
        ["SPX", "3800"],
        ["SPXW", "3800"],
    ]
    morning = new_york_ns(date(2021, 1, 15), time(12, 0))  # what settled at the open is listed no more
    later = [(morning - 2, 0, 3800.0, 3800.0), *((morning - 1, *row[1:]) for row in rows[1:])]
    tape = dataclasses.replace(tape_of_rows(book, later, date(2021, 1, 15), 0.0), underlying="SPX")
    assert {option["root"] for option in chain_document(tape, morning, None)["options"]} == {"SPXW"}


def test_the_table_leaves_old_quotes_out(told_by, document_of):
    words = ["chain", "SPY", "--time", "10:00", "--strikes", "40"]
    document = document_of(*words)
    old = [option for option in document["options"] if option["quote"] == "stale"]
    assert old
    assert all(option["age_seconds"] > document["max_age_seconds"] for option in old)
    assert all(option["bid"] is None or option["gamma"] is None for option in old)
    shown = told_by(*words).out
    strikes = [line.split() for line in shown.splitlines() if line.count(" - ") >= 9]
    assert {cells[7] for cells in strikes} == {
        f"{float(first['strike']):g}"
        for first, second in zip(document["options"][::2], document["options"][1::2], strict=True)
        if first["quote"] == second["quote"] == "stale"
    }
    assert f"{len(old)} of {len(document['options'])} options are not valued" in shown


def test_the_embedded_chain_from_the_command_line(told_by, document_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["chain", "spy", "--session", "2018-02-05", "--time", "15:00"]
    words += ["--expiry", "2018-03-16", "--max-age", "120"]
    document = document_of(*words)
    assert document["data"]["kind"] == "reconstructed"
    quoted = [option for option in document["options"] if option["iv"] is not None]
    assert len(quoted) > len(document["options"]) / 2
    at_the_money = min(quoted, key=lambda option: abs(float(option["strike"]) - document["spot"]))
    assert 0.1 < at_the_money["iv"] < 1.0
    shown = told_by(*words, "--strikes", "2").out
    assert "reconstructed" in shown
    assert "expiries: 2018-02-05" in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["SPY", "--session", "5 Feb"], "write it as 2018-02-05"),
        (["SPY", "--time", "noon"], "write it as 15:00"),
        (["SPY", "--time", "08:00"], "use a time between 09:30 and 16:00"),
        (["IWM"], "nearest: SPY or QQQ"),
        (["SPY", "--data", "nothing", "--session", "2018-02-05"], "nothing"),
        (["SPY", "--data", "nothing", "--seed", "1"], "recorded data has no seed"),
    ],
)
def test_wrong_requests_are_refused(words, told, told_by, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told in told_by("chain", *words, code=2).err
