"""The Firestore document, against a local server that speaks the real protocol."""

import os
import sys
from datetime import UTC, datetime

import pytest

pytest.importorskip("google.cloud.firestore")

import grpc

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.datasets.dealer_gamma import ExposureGap, ExposureUnknownError, StoredExposure
from scalpdesk.datasets.firestore import FirestoreExposureStore
from scalpdesk.marketdata.dealer_gamma import DEFAULT_DOCUMENT
from scalpdesk_testing.kit.firestore_server import firestore_server

pytestmark = pytest.mark.enable_socket

AT = datetime(2026, 8, 19, 14, 30, tzinfo=UTC)
AT_NS = int(AT.timestamp()) * NANOS_PER_SECOND
KEPT = {"gex_value": -15_000.0, "last_update": AT, "symbol": "SPX"}


@pytest.fixture
def server():
    with firestore_server() as running:
        running.documents[DEFAULT_DOCUMENT] = dict(KEPT)
        yield running


@pytest.fixture
def open_store():
    opened = []

    def at(host, **more):
        opened.append(FirestoreExposureStore("demo", emulator_host=host, **more))
        return opened[-1]

    yield at
    for one in opened:
        one.close()


def refused_as(store):
    with pytest.raises(ExposureUnknownError) as caught:
        store.read()
    return caught.value


def test_the_document_is_read_with_one_call(server, open_store):
    assert open_store(server.host).read() == StoredExposure("SPX", -15_000.0, AT_NS)
    name = "projects/demo/databases/(default)/documents/market_regime/SPX_GEX"
    assert server.calls == [("BatchGetDocuments", name)]


def test_a_whole_number_from_the_console_is_a_number(server, open_store):
    server.documents[DEFAULT_DOCUMENT]["gex_value"] = -15_000
    assert open_store(server.host).read().exposure_usd == -15_000.0


def test_another_document_may_be_named(server, open_store):
    server.documents["systemStatus/market_regime/spy/now"] = dict(KEPT, symbol="SPY")
    store = open_store(server.host, document="systemStatus/market_regime/spy/now")
    assert store.read().symbol == "SPY"


def test_a_document_without_a_symbol_is_about_the_index(server, open_store):
    del server.documents[DEFAULT_DOCUMENT]["symbol"]
    assert open_store(server.host).read().symbol == "SPX"


def test_what_is_written_is_what_is_read(server, open_store):
    store = open_store(server.host)
    kept = StoredExposure("SPY", 6_962_000.5, AT_NS + 123_456_000)
    store.write(kept)
    assert [method for method, _ in server.calls] == ["Commit"]
    assert store.read() == kept
    assert sorted(server.documents[DEFAULT_DOCUMENT]) == ["gex_value", "last_update", "symbol"]


def test_a_missing_document_is_said_to_be_missing(server, open_store):
    server.documents.clear()
    error = refused_as(open_store(server.host))
    assert error.kind is ExposureGap.NO_DOCUMENT
    assert DEFAULT_DOCUMENT in str(error)


@pytest.mark.parametrize(
    ("changed", "kind", "detail"),
    [
        ({"gex_value": "-15000"}, ExposureGap.WRONG_TYPE, "gex_value is a str"),
        ({"gex_value": True}, ExposureGap.WRONG_TYPE, "gex_value is a bool"),
        ({"gex_value": None}, ExposureGap.WRONG_TYPE, "gex_value is a NoneType"),
        ({"gex_value": {"net": 1.0}}, ExposureGap.WRONG_TYPE, "gex_value is a dict"),
        ({"gex_value": float("nan")}, ExposureGap.NOT_A_NUMBER, "gex_value is nan"),
        ({"gex_value": float("-inf")}, ExposureGap.NOT_A_NUMBER, "gex_value is -inf"),
        ({"last_update": "2026-08-19"}, ExposureGap.WRONG_TYPE, "last_update is a str"),
        ({"last_update": 1_787_000_000}, ExposureGap.WRONG_TYPE, "last_update is a int"),
    ],
)
def test_what_is_no_exposure_is_named(server, open_store, changed, kind, detail):
    server.documents[DEFAULT_DOCUMENT] |= changed
    error = refused_as(open_store(server.host))
    assert (error.kind, error.detail) == (kind, detail)


@pytest.mark.parametrize("field", ["gex_value", "last_update"])
def test_a_missing_field_is_named(server, open_store, field):
    del server.documents[DEFAULT_DOCUMENT][field]
    error = refused_as(open_store(server.host))
    assert (error.kind, error.detail) == (ExposureGap.WRONG_TYPE, f"{field} is missing")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, ExposureGap.DENIED),
        (grpc.StatusCode.UNAUTHENTICATED, ExposureGap.DENIED),
        (grpc.StatusCode.UNAVAILABLE, ExposureGap.UNREACHABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ExposureGap.SLOW),
        (grpc.StatusCode.NOT_FOUND, ExposureGap.NO_DOCUMENT),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ExposureGap.REFUSED),
        (grpc.StatusCode.INTERNAL, ExposureGap.REFUSED),
    ],
)
def test_every_refusal_has_a_kind_and_is_not_tried_again(server, open_store, status, kind):
    server.refusal = status
    store = open_store(server.host)
    assert refused_as(store).kind is kind
    assert len(server.calls) == 1
    with pytest.raises(ExposureUnknownError) as caught:
        store.write(StoredExposure("SPX", 1.0, AT_NS))
    assert caught.value.kind is kind


def test_a_server_that_does_not_answer_is_waited_for_no_longer_than_told(server, open_store):
    server.answers.clear()
    error = refused_as(open_store(server.host, timeout_seconds=0.2))
    assert (error.kind, error.detail) == (ExposureGap.SLOW, "0.2 s")


def test_a_server_that_is_gone_is_unreachable(server, open_store):
    store = open_store(server.host)
    server.stop()
    assert refused_as(store).kind is ExposureGap.UNREACHABLE


def test_the_environment_is_as_it_was(server, open_store, monkeypatch):
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "elsewhere:1")
    assert open_store(server.host).read().symbol == "SPX"
    assert os.environ["FIRESTORE_EMULATOR_HOST"] == "elsewhere:1"


@pytest.mark.parametrize("path", ["market_regime", "market_regime/", "/SPX_GEX", "a/b/c"])
def test_a_path_that_names_no_document_is_refused(path):
    with pytest.raises(ConfigError, match="pairs of collection and document"):
        FirestoreExposureStore("demo", document=path)


def test_a_key_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="key file"):
        FirestoreExposureStore("demo", credentials_file=str(tmp_path / "keys.json"))


def test_a_key_file_that_is_none_is_a_refusal_and_no_crash(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text('{"type": "nothing"}')
    assert refused_as(FirestoreExposureStore("demo", credentials_file=str(file))).kind in {
        ExposureGap.DENIED,
        ExposureGap.REFUSED,
    }


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.firestore", None)
    with pytest.raises(ConfigError) as caught:
        FirestoreExposureStore("demo")
    assert caught.value.fix == 'pip install "scalpdesk[firestore]"'
