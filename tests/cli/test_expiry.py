import json
from datetime import date
from decimal import Decimal

import pytest

from scalpdesk.cli.main import main


@pytest.fixture(scope="module")
def run_dir(finished_run, tmp_path_factory):
    """A bought straddle of the day with its hedge."""
    folder = tmp_path_factory.mktemp("runs")
    return finished_run(folder, "zero-dte", date(2015, 8, 24), "entry.mode=straddle").parent


def answer(capsys, run_dir, *words):
    capsys.readouterr()
    code = main(["expiry", "last", "--set", f"desk.runs_dir={run_dir}", *words])
    return code, capsys.readouterr().out


@pytest.mark.second
def test_the_figures_of_a_run_at_a_time_of_its_day(capsys, run_dir):
    code, text = answer(capsys, run_dir, "--time", "11:00", "--json")
    found = json.loads(text)
    assert (code, found["as_of"]) == (0, "2015-08-24 11:00:00")
    call, put = found["legs"]
    assert (call["minutes"], put["distance"]) == (300.0, -call["distance"])
    assert call["chance"] + put["chance"] == pytest.approx(1.0)
    assert min(call["exercised"], put["exercised"]) == 0.0 < max(call["exercised"], put["exercised"])
    (night,) = found["tomorrow"]
    gone = put if put["distance"] > 0 else call
    assert Decimal(night["by_spot"]) == Decimal(night["now"]) + Decimal(gone["shares"])
    assert set(night["exercised"]) == {call["symbol"], put["symbol"]}


def test_the_table_shows_what_the_document_has(capsys, run_dir):
    _, text = answer(capsys, run_dir, "--time", "11:00", "--json")
    found = json.loads(text)
    code, shown = answer(capsys, run_dir, "--time", "11:00")
    assert code == 0
    for leg in found["legs"]:
        assert leg["symbol"] in shown
        assert f"{leg['exercised']:,.2f}" in shown
        assert f"{leg['distance']:+.1f}" in shown
    by_spot = Decimal(found["tomorrow"][0]["by_spot"])
    assert f"{by_spot:+}".replace("-", "\N{MINUS SIGN}") in shown
    _, narrow = answer(capsys, run_dir, "--time", "11:00", "--pin", "0.01")
    assert shown.count(" pin") == 2
    assert narrow.count(" pin") == 0


def test_before_anything_is_held_nothing_expires(capsys, run_dir):
    code, shown = answer(capsys, run_dir, "--time", "09:31")
    assert code == 0
    assert "nothing that is held expires" in shown
