"""Dealer gamma beside a trading desk: known, or not known in every way, the desk trades as it would."""

import math
from datetime import UTC, datetime

import pytest

pytest.importorskip("google.cloud.firestore")

import grpc

from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.marketdata.dealer_gamma import DEFAULT_DOCUMENT, known_exposure_usd
from scalpdesk_testing.kit.firestore_server import firestore_server
from scalpdesk_testing.kit.live_session import Wanted, ledger_differences, play

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]

BEFORE_OPEN = datetime(2018, 2, 5, 14, 29, tzinfo=UTC)
WANTED = Wanted(
    minutes=3.0,
    contracts=6,
    overrides=(*Wanted().overrides, "entry.not_before=09:31", "gex.timeout_seconds=20"),
)


@pytest.fixture
def server(monkeypatch):
    with firestore_server() as running:
        running.documents[DEFAULT_DOCUMENT] = {
            "gex_value": -15_000,
            "last_update": BEFORE_OPEN,
            "symbol": "SPX",
        }
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", running.host)
        monkeypatch.setenv("FIREBASE_PROJECT_ID", "demo")
        yield running


def told(played):
    return [one for one in played.events if isinstance(one, GammaExposureEvent)]


def warnings_on(folder):
    return [line for line in (folder / "desk.log").read_text().splitlines() if "dealer gamma" in line]


def test_a_fresh_document_reaches_the_engine_through_the_journal(server, tmp_path):
    played = play(tmp_path, WANTED)
    first = told(played)[0]
    assert (first.symbol, first.exposure_usd, first.source) == ("SPX", -15_000.0, "firestore")
    assert first.ts_event_ns == int(BEFORE_OPEN.timestamp()) * NANOS_PER_SECOND
    assert played.engine.desk.market.gamma_exposures["SPX"].exposure_usd == -15_000.0
    assert played.desk_fills()
    assert warnings_on(tmp_path) == []


def test_a_store_that_refuses_is_told_once_and_trading_goes_on(server, tmp_path):
    server.refusal = grpc.StatusCode.PERMISSION_DENIED
    played = play(tmp_path, WANTED)
    (unknown,) = told(played)
    assert math.isnan(unknown.exposure_usd)
    assert "denies permission" in unknown.reason
    assert len(warnings_on(tmp_path)) == 1
    assert known_exposure_usd(unknown, played.engine.now_ns) is None
    assert ledger_differences(played) == []
    assert played.desk_fills()
