"""Questions of a live desk, by its settings."""

import sys
from datetime import date, time
from math import isnan

import pytest

from scalpdesk.config.settings import CredentialsSection, DeskConfig, MarketDataSection, load_settings
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.dealer_gamma import (
    FILE,
    ExposureHistory,
    ExposureSource,
    SessionExposure,
    StoredExposure,
)
from scalpdesk.instruments.sessions import new_york_ns, next_session, session_on
from scalpdesk.live.market import live_source
from scalpdesk.marketdata.dealer_gamma import ExposureSettings

AT_NS = 1_787_000_000 * NANOS_PER_SECOND


def desk(store="auto", by_hand=None, **named):
    return DeskConfig(
        gex=ExposureSettings(store=store),
        marketdata=MarketDataSection(gex_value=by_hand),
        credentials=CredentialsSection(**named),
    )


def test_without_a_value_a_project_or_a_server_nothing_is_asked():
    assert not live_source(desk()).has_any


@pytest.mark.parametrize(
    ("written", "usd"), [("-2e9", -2e9), ("-2000000000", -2e9), ('"-2e9"', -2e9), ('"-2bn"', None)]
)
def test_a_value_by_hand_is_a_number_or_a_text_in_toml(tmp_path, written, usd):
    path = tmp_path / "scalpdesk.toml"
    path.write_text(f"[marketdata]\ngex_value = {written}\n")
    config = load_settings(None, config_file=str(path), environ={}, cwd=tmp_path).config
    found = live_source(config).look(AT_NS)
    assert isnan(found.exposure_usd) if usd is None else found.exposure_usd == usd


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
    symbol = "SPX"
    exposure_usd = -4.0

    def read(self):
        return StoredExposure(self.symbol, self.exposure_usd, self.at_ns)


def look(source, shelf, now_ns, **kept):
    shelf.at_ns = now_ns
    for name, value in kept.items():
        setattr(shelf, name, value)
    return source.look(now_ns)


def test_a_live_desk_keeps_one_value_a_session_and_compares_with_those_before(tmp_path):
    shelf, history = Shelf(), ExposureHistory(tmp_path, "firestore", "SPX")
    source = ExposureSource("SPX", store=shelf, history_folder=tmp_path)
    session = session_on(date(2026, 9, 14))
    for _ in range(25):
        for minute in (0, 2):
            event = look(source, shelf, session.open_ns + minute * 60 * NANOS_PER_SECOND)
        session = next_session(session.day)
    assert len(history.read()) == 25
    assert event.usual_usd == 4.0


def test_days_without_a_session_are_not_kept(tmp_path):
    shelf = Shelf()
    source = ExposureSource("SPX", store=shelf, history_folder=tmp_path)
    for day in (5, 6, 7):  # Saturday, Sunday and Labor Day
        look(source, shelf, new_york_ns(date(2026, 9, day), time(10)))
    assert ExposureHistory(tmp_path, "firestore", "SPX").read() == ()


def test_a_second_start_keeps_the_days_first_value(tmp_path):
    day = session_on(date(2026, 9, 14))
    for now_ns, exposure_usd in ((day.open_ns, -4.0), (day.close_ns, -90.0)):
        shelf = Shelf()
        source = ExposureSource("SPX", store=shelf, history_folder=tmp_path)
        look(source, shelf, now_ns, exposure_usd=exposure_usd)
    (kept,) = ExposureHistory(tmp_path, "firestore", "SPX").read()
    assert kept.exposure_usd == -4.0


def test_a_document_of_another_symbol_is_kept_and_compared_as_that_symbols(tmp_path):
    ExposureHistory(tmp_path, "firestore", "SPX").keep(
        SessionExposure(date(2026, 8, day), 4.0) for day in range(3, 29)
    )
    shelf = Shelf()
    source = ExposureSource("SPX", store=shelf, history_folder=tmp_path, cache_seconds=1.0)
    open_ns = session_on(date(2026, 9, 14)).open_ns
    assert look(source, shelf, open_ns).usual_usd == 4.0
    event = look(source, shelf, open_ns + 2 * NANOS_PER_SECOND, symbol="QQQ", exposure_usd=-9.0)
    assert isnan(event.usual_usd)
    (kept,) = ExposureHistory(tmp_path, "firestore", "QQQ").read()
    assert kept.exposure_usd == -9.0
    assert ExposureHistory(tmp_path, "firestore", "SPX").read()[-1].exposure_usd == -4.0


def test_a_history_that_cannot_be_kept_costs_the_comparison_and_nothing_else(tmp_path):
    (tmp_path / FILE).write_text("not,a,history\n")
    said = []
    shelf = Shelf()
    shelf.at_ns = AT_NS
    source = ExposureSource(
        "SPX",
        store=shelf,
        history_folder=tmp_path,
        say=lambda *words: said.append(words),
    )
    assert source.look(AT_NS).exposure_usd == -4.0
    source.look(AT_NS + 1)
    assert [level for level, _ in said] == ["warning"]
