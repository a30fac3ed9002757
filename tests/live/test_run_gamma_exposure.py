"""Dealer gamma beside a trading desk: known, or not known in every way, the desk trades as it would."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

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


def hangs(server):
    server.answers.clear()


def denies(server):
    server.refusal = grpc.StatusCode.PERMISSION_DENIED


def lacks(server):
    server.documents.clear()


def mistypes(server):
    server.documents[DEFAULT_DOCUMENT]["gex_value"] = "-15000"


def ages(server):
    server.documents[DEFAULT_DOCUMENT]["last_update"] = BEFORE_OPEN - timedelta(hours=1)


def is_gone(server):
    server.stop()


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (hangs, "does not answer in time"),
        (is_gone, "cannot be reached"),
        (denies, "denies permission"),
        (lacks, "the document is missing"),
        (mistypes, "gex_value is a str"),
        (ages, "too old"),
    ],
)
def test_whatever_the_store_does_it_is_said_once_and_trading_goes_on(server, tmp_path, fails, reason):
    fails(server)
    patience = 0.3 if fails in (hangs, is_gone) else 20.0
    overrides = (*WANTED.overrides, f"gex.timeout_seconds={patience}")
    played = play(tmp_path, replace(WANTED, overrides=overrides))
    assert [math.isnan(one.exposure_usd) for one in told(played)] == [True]
    assert reason in told(played)[0].reason
    assert len(warnings_on(tmp_path)) == 1
    assert known_exposure_usd(told(played)[0], played.engine.now_ns) is None
    assert ledger_differences(played) == []
    assert played.desk_fills()
