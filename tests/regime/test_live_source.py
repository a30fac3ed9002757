"""What a live desk asks, by its settings."""

import sys

import pytest

from scalpdesk.config.settings import CredentialsSection, DeskConfig, MarketDataSection
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.dealer_gamma import FILE, ExposureHistory, ExposureSource, StoredExposure
from scalpdesk.live.market import live_source
from scalpdesk.marketdata.dealer_gamma import ExposureSettings

AT_NS = 1_787_000_000 * NANOS_PER_SECOND
DAY_NS = 86_400 * NANOS_PER_SECOND


def desk(store="auto", by_hand=None, **named):
    return DeskConfig(
        gex=ExposureSettings(store=store),
        marketdata=MarketDataSection(gex_value=by_hand),
        credentials=CredentialsSection(**named),
    )


def test_without_a_value_a_project_or_a_server_nothing_is_asked():
    assert not live_source(desk()).has_any


def test_a_value_by_hand_needs_no_store(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.firestore", None)
    source = live_source(desk("firestore", "1.5", firebase_project_id="demo"))
    assert source.look(AT_NS).exposure_usd == 1.5


@pytest.mark.parametrize(
    "named", [{"firebase_project_id": "demo"}, {"firestore_emulator_host": "127.0.0.1:1"}]
)
def test_a_project_or_a_server_is_enough_to_be_asked(named):
    pytest.importorskip("google.cloud.firestore")
    assert live_source(desk(**named)).has_any
    assert not live_source(desk("none", **named)).has_any


def test_a_missing_package_stops_only_who_asked_for_the_store(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.firestore", None)
    said = []
    source = live_source(desk(firebase_project_id="demo"), notify=lambda *words: said.append(words))
    assert not source.has_any
    assert len(said) == 1
    assert "scalpdesk[firestore]" in said[0][1]
    with pytest.raises(ConfigError):
        live_source(desk("firestore", firebase_project_id="demo"))


class Shelf:
    name = "firestore"

    def read(self):
        return StoredExposure("SPX", -4.0, self.at_ns)


def test_a_live_desk_keeps_one_value_a_session_and_compares_with_those_before(tmp_path):
    shelf, history = Shelf(), ExposureHistory(tmp_path, "firestore", "SPX")
    source = ExposureSource("SPX", store=shelf, history=history)
    for day in range(25):
        for minute in (0, 2):
            shelf.at_ns = now_ns = AT_NS + day * DAY_NS + minute * 60 * NANOS_PER_SECOND
            event = source.look(now_ns)
    assert len(history.read()) == 25
    assert event.usual_usd == 4.0


def test_a_history_that_cannot_be_kept_costs_the_comparison_and_nothing_else(tmp_path):
    (tmp_path / FILE).write_text("not,a,history\n")
    said = []
    shelf = Shelf()
    shelf.at_ns = AT_NS
    source = ExposureSource(
        "SPX",
        store=shelf,
        history=ExposureHistory(tmp_path, "firestore", "SPX"),
        say=lambda *words: said.append(words),
    )
    assert source.look(AT_NS).exposure_usd == -4.0
    source.look(AT_NS + 1)
    assert [level for level, _ in said] == ["warning"]
