import json
import re

import pytest

import scalpdesk
from scalpdesk.core.errors import ArgumentError

SMALL = ["bands", "--days", "60", "--bands", "fixed,whalley_wilmott"]


def test_the_document_has_every_band_and_one_recommendation(document_of):
    found = document_of(*SMALL, "--delta-cap", "8", "--seed", "3")
    assert {row["band"] for row in found["rows"]} == {"fixed", "whalley_wilmott"}
    assert found["market"]["seed"] == 3
    assert found["delta_cap"] == 8.0
    assert found["recommendation"]["settings"]["hedge.band"] in {"fixed", "whalley_wilmott"}


def test_the_table_ends_with_the_recommendation_as_settings(told_by):
    out = told_by(*SMALL).out
    assert "frontier" in out
    assert "--set hedge.band=" in out.splitlines()[-1]


def test_the_tear_sheet_is_a_file_with_every_band(document_of, tmp_path):
    found = document_of(*SMALL, "--html", str(tmp_path / "bands.html"))
    page = (tmp_path / "bands.html").read_text("utf-8")
    (data,) = re.findall(r'id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert [row["spread"] for row in json.loads(data)["rows"]] == [row["spread"] for row in found["rows"]]


def test_python_and_the_command_give_the_same(document_of):
    found = document_of(*SMALL)
    report = scalpdesk.bands(days=60, names=["fixed", "whalley_wilmott"])
    assert [row["mean"] for row in found["rows"]] == [row.mean for row in report.rows]


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["bands", "--bands", "fixd"], "bands"),
        (["bands", "--delta-cap", "0"], "delta_cap"),
        (["bands", "--start", "2018-02-05"], "--start, --end"),
        (["bands", "--data", "embedded"], "--start"),
        (["bands", "--data", "embedded", "--start", "2018-02-05", "--vol", "0.2"], "--vol"),
        (["bands", "--vol", "0"], "vol"),
    ],
)
def test_a_mistake_is_named(document_of, words, where):
    error = document_of(*words, code=2)["error"]
    assert error["where"].endswith(where)


def test_python_names_a_field_that_no_market_has():
    with pytest.raises(ArgumentError) as refusal:
        scalpdesk.bands(volatility=0.2)
    assert (refusal.value.where, refusal.value.nearest) == ("volatility", None)
