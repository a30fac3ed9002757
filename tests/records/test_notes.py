"""Tags and notes: kept in the store, found by the list; no journal and no seal knows of them."""

import hashlib
import json
from datetime import date

import pytest

from scalpdesk.cli.main import main
from scalpdesk.core.errors import ArgumentError
from scalpdesk.records.notes import keep_note, list_notes, subject_of
from scalpdesk.records.projection import project_journal
from scalpdesk.records.store import open_store, store_url
from scalpdesk.web.runs import runs_page


def test_what_is_noted_stays_when_the_rows_of_its_run_are_made_again(store, tmp_path, header, story, write):
    run_dir = write(tmp_path, header, story)
    project_journal(run_dir, store)
    run = header.run_id
    keep_note(store, run, ("trade", "10"), tags=["late"], note="", now_ns=3)
    keep_note(store, run, ("trade", "2"), tags=[], note="good", now_ns=2)
    keep_note(store, run, ("run", ""), tags=["#cpi", "cpi", "vol"], note=" held ", now_ns=1)
    project_journal(run_dir, store)
    rows = [(row["kind"], row["name"], row["tags"], row["note"]) for row in list_notes(store, run)]
    assert rows == [
        ("run", "", ["cpi", "vol"], "held"),
        ("trade", "2", [], "good"),
        ("trade", "10", ["late"], ""),
    ]
    keep_note(store, run, ("trade", "2"), tags=[], note="  ", now_ns=4)
    assert [row["name"] for row in list_notes(store)] == ["", "10"]
    assert list_notes(store, "another") == []


def test_a_note_is_of_a_run_a_day_of_it_or_a_trade():
    days = [date(2018, 2, 5)]
    assert subject_of(None, None) == ("run", "")
    assert subject_of("2018-02-05", None, days) == ("day", "2018-02-05")
    assert subject_of(None, 3) == ("trade", "3")
    for wrong in (
        ("2018-02-05", 1),
        ("2018-02-06", None),
        ("yesterday", None),
        (None, 0),
        ("2018-13-01", None),
        ("", None),
    ):
        with pytest.raises(ArgumentError):
            subject_of(*wrong, days)


@pytest.mark.parametrize("words", [{"tags": ["two words"]}, {"tags": [""]}, {"note": "x" * 4_001}])
def test_a_tag_is_one_word_and_a_note_is_no_book(store, words):
    with pytest.raises(ArgumentError):
        keep_note(store, "r", ("run", ""), **({"tags": [], "note": "", "now_ns": 1} | words))


def test_the_terminal_notes_and_finds_without_touching_a_journal(tmp_path, header, story, write, capsys):
    run_dir = write(tmp_path, header, story)
    before = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in run_dir.iterdir()}
    runs = ["--set", f"desk.runs_dir={run_dir.parent}", "--json"]

    def said(*words):
        capsys.readouterr()
        assert main([*words, *runs]) == 0
        return json.loads(capsys.readouterr().out)

    said("note", "last", "held through the auction", "--tag", "fomc")
    assert said("note", "last", "--tag", "vol")["tags"] == ["fomc", "vol"]
    kept = said("note", "last", "--untag", "fomc")
    assert (kept["tags"], kept["note"]) == (["vol"], "held through the auction")
    said("note", "last", "exit was late", "--trade", "1")
    assert len(said("note", "last")["notes"]) == len(said("note")["notes"]) == 2
    for search, found in (("#vol", 1), ("AUCTION", 1), ("late", 1), ("#fomc", 0)):
        assert len(said("runs", "--search", search)["runs"]) == found, search
        assert len(runs_page(run_dir.parent, 10, search=search)["runs"]) == found, search
    (listed,) = said("runs")["runs"]
    assert [note["kind"] for note in listed["notes"]] == ["run", "trade"]
    said("note", "last", "--clear")
    with open_store(store_url(run_dir.parent)) as kept_store:
        assert [row["kind"] for row in list_notes(kept_store)] == ["trade"]
    after = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in run_dir.iterdir()}
    assert after == before
    assert main(["note", "--tag", "vol", *runs]) == 2
    for refused in (
        ["", "--tag", "x"],
        ["late", "--trade", "99"],
        ["--trade", "1"],
        ["--day", "2018-13-01"],
        ["x", "--day", ""],
    ):
        assert main(["note", "last", *refused, *runs]) == 2, refused
