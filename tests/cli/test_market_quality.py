"""``--quality``: the embedded market with faults, through each command that plays it."""

from datetime import date

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import replay
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.datasets.embedded.market import reconstruct
from scalpdesk.notebook import load_data
from scalpdesk.research.sweep_plan import OF_THE_MARKET, SweepPlan

HALF_DAY = "2017-07-03"


@pytest.fixture(autouse=True)
def in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_a_backtest_says_its_quality_and_is_replayed_with_its_faults(document_of, tmp_path):
    found = {
        quality: document_of("backtest", "st0cka", "--start", HALF_DAY, "--quality", quality)
        for quality in ("clean", "real")
    }
    assert {name: run["data"]["quality"] for name, run in found.items()} == {"clean": "clean", "real": "real"}
    assert "crossed" in found["real"]["quote_oddities"]
    assert "crossed" not in found["clean"]["quote_oddities"]
    for run in found.values():
        again = replay(tmp_path / "runs" / run["run_id"])
        assert again.identical
    rows = document_of("runs")
    kinds = {row["run_id"]: row["data_kind"] for row in rows["runs"]}
    assert "real" in kinds[found["real"]["run_id"]]
    assert "real" not in kinds[found["clean"]["run_id"]]


def test_without_a_choice_a_run_is_that_of_clean_quotes(document_of):
    chosen, usual = (
        document_of("backtest", "st0cka", "--start", HALF_DAY, "--no-journal", *words)
        for words in (["--quality", "clean"], [])
    )
    assert chosen["decision_hash"] == usual["decision_hash"]
    assert chosen["data"] == usual["data"]


@pytest.mark.second
def test_a_simulated_desk_plays_the_faults(document_of):
    words = ("--start", HALF_DAY, "--speed", "max", "--sessions", "1", "--quality", "real")
    found = document_of("run", "st0cka", *words)
    assert found["data"]["quality"] == "real"
    assert "crossed" in found["quote_oddities"]


def test_the_faults_come_from_settings_and_from_python_alike():
    settings = load_settings("st0cka", overrides=("data.quality=real",))
    day = date.fromisoformat(HALF_DAY)
    expected = reconstruct(day, quality="real").quotes.digest()
    by_settings = load_market(settings, "embedded", underlying="SPY", start=day, end=day, seed=1)
    by_name = load_data(start=HALF_DAY, quality="real")
    assert by_settings.quotes.digest() == by_name.quotes.digest() == expected
    assert by_settings.origin.quality == "real"


@pytest.mark.parametrize("name", ["embedded-btc", "a-recorded-set"])
def test_another_market_than_the_embedded_one_has_no_faults_to_draw(name):
    settings = load_settings("st0cka", overrides=("data.quality=real",))
    day = date.fromisoformat(HALF_DAY)
    with pytest.raises(ConfigError) as refused:
        load_market(settings, name, underlying="SPY", start=day, end=day, seed=1)
    assert refused.value.where == "data.quality"
    assert name in refused.value.value


@pytest.mark.parametrize("key", sorted(OF_THE_MARKET))
def test_a_setting_that_chooses_the_market_cannot_be_swept(key):
    with pytest.raises(ArgumentError) as refused:
        SweepPlan.read([f"{key}=1,2"])
    assert refused.value.value == key
