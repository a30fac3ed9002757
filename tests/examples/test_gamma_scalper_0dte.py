"""The strategy folder of the 0DTE gamma scalper does what its document says."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk import backtest, load_data
from scalpdesk.cli.main import main
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.errors import ConfigError
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.protocol import OK, intent_verdict

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "gamma_scalper_0dte"
CALL = "SPY251230C00500000"
DOCUMENTED_EVENT = {
    "protocol": "v1",
    "type": "market_event",
    "event_id": "evt_12345",
    "ts": "2025-12-30T14:30:00Z",
    "symbol": CALL,
    "source": "alpaca",
    "payload": {"delta": 0.65, "price": 2.50, "quantity": 10, "underlying_price": 495.50},
}


@pytest.fixture
def folder(monkeypatch):
    """Load the folder again, in an environment without settings."""
    for line in (FOLDER / "config.example.env").read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            monkeypatch.delenv(line.split("=")[0], raising=False)
    return load()


def load():
    spec = importlib.util.spec_from_file_location("gamma_scalper_0dte_under_test", FOLDER / "strategy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1e999999", "1e-999999", 1e-300, "-0", "NaN", "0.5", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
payloads = st.dictionaries(
    st.sampled_from(
        [
            "delta",
            "quantity",
            "qty",
            "price",
            "mid",
            "last",
            "underlying_price",
            "gamma",
            "greeks",
            "bid",
            "x",
        ]
    ),
    json_values | st.floats(-1, 1) | st.integers(-50, 50),
    max_size=6,
)
stamps = st.sampled_from(
    [
        "2025-12-30T14:00:00Z",
        "2025-12-30T15:30:00Z",
        "2025-12-30T20:45:00Z",
        "2025-12-31T15:00:00+01:00",
        "1995-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "soon",
    ]
)
symbols = st.sampled_from([CALL, "SPY", "SPY_CALL", "SPXW251230C06900000", "\u20ac", "A" * 300, ""])


def event(number, ts, symbol=CALL, **payload):
    heading = {"protocol": "v1", "type": "market_event", "event_id": f"evt_{number}", "ts": ts}
    return heading | {"symbol": symbol, "source": "test", "payload": payload}


def sample():
    lines = (FOLDER / "events.ndjson").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def brief(intents):
    return [(one["side"], one["qty"], one["symbol"]) for one in intents]


def test_the_documents_own_example(folder):
    assert folder.on_market_event(DOCUMENTED_EVENT) == [
        {
            "protocol": "v1",
            "type": "order_intent",
            "intent_id": "hedge_SPY_b330d6012b4c",
            "event_id": "evt_12345",
            "ts": "2025-12-30T14:30:00Z",
            "symbol": "SPY",
            "side": "sell",
            "qty": 7.0,
            "order_type": "market",
            "time_in_force": "day",
            "client_tag": "0dte_gamma_scalper_hedge",
            "metadata": {
                "reason": "delta_hedge",
                "net_delta_before": "6.50",
                "hedge_qty": "-7",
                "underlying_price": "495.50",
                "hedging_threshold": "0.15",
                "strategy": "0dte_gamma_scalper",
            },
        }
    ]


@pytest.mark.parametrize(
    ("day", "morning", "exit_at", "after"),
    [("2025-12-30", "14:30", "20:45", "20:46"), ("2025-07-15", "13:30", "19:45", "19:46")],
)
def test_leaves_at_1545_new_york_in_winter_and_in_summer(folder, day, morning, exit_at, after):
    symbol = f"SPY{day[2:].replace('-', '')}C00500000"
    payload = {"delta": 0.65, "quantity": 10, "underlying_price": 495.5}
    assert brief(folder.on_market_event(event(1, f"{day}T{morning}:00Z", symbol, **payload))) == [
        ("sell", 7.0, "SPY")
    ]
    leaving = folder.on_market_event(event(2, f"{day}T{exit_at}:00Z", symbol, **payload))
    assert brief(leaving) == [("sell", 10.0, symbol), ("buy", 7.0, "SPY")]
    assert {one["client_tag"] for one in leaving} == {"0dte_gamma_scalper_exit"}
    assert {one["metadata"]["reason"] for one in leaving} == {"market_close_exit"}
    assert folder.on_market_event(event(3, f"{day}T{after}:00Z", symbol, **payload)) == []


@pytest.mark.parametrize(
    ("day", "exit_time", "before", "exit_at"),
    [
        ("2025-12-30", "15:50", "20:49:59", "20:50:00"),
        ("2025-12-30", "15:30", "20:29:59", "20:30:00"),
        ("2025-12-24", "15:50", "17:49:59", "17:50:00"),
        ("2025-12-24", "15:30", "17:44:59", "17:45:00"),
    ],
)
def test_leaves_at_the_exit_time_of_ones_own(folder, monkeypatch, day, exit_time, before, exit_at):
    monkeypatch.setenv("EXIT_TIME_ET", exit_time)
    symbol = f"SPY{day[2:].replace('-', '')}C00500000"
    payload = {"delta": 0.65, "quantity": 10, "underlying_price": 495.5}
    folder.on_market_event(event(1, f"{day}T14:30:00Z", symbol, **payload))
    kept = folder.on_market_event(event(2, f"{day}T{before}Z", "SPY", price=495.5))
    assert [one for one in kept if "exit" in one["client_tag"]] == []
    leaving = folder.on_market_event(event(3, f"{day}T{exit_at}Z", "SPY", price=495.5))
    assert brief(leaving)[0] == ("sell", 10.0, symbol)


def test_the_sample_events_give_valid_intents_and_end_flat(folder):
    answers = {one["event_id"]: folder.on_market_event(one) for one in sample()}
    intents = [intent for given in answers.values() for intent in given]
    assert {intent_verdict(intent) for intent in intents} == {OK}
    assert len({intent["intent_id"] for intent in intents}) == len(intents)
    shares = sum(
        (1 if one["side"] == "buy" else -1) * one["qty"] for one in intents if one["symbol"] == "SPY"
    )
    assert shares == 0
    assert answers["evt_009"] == []


def test_the_same_events_give_the_same_intents(folder):
    first = [folder.on_market_event(one) for one in sample()]
    assert [folder.on_market_event(one) for one in sample()] == [[]] * len(first)  # ids seen before
    folder.reset()
    assert [folder.on_market_event(one) for one in sample()] == first


def test_gex_value_tightens_and_is_named(folder, monkeypatch):
    monkeypatch.setenv("QUANTITY_UNIT", "contracts")
    payload = {"delta": 0.12, "quantity": 1, "underlying_price": 495.5}
    assert folder.on_market_event(event(1, "2025-12-30T15:00:00Z", **payload)) == []
    monkeypatch.setenv("GEX_VALUE", "-15000.0")
    (hedge,) = folder.on_market_event(event(2, "2025-12-30T15:00:01Z", **payload))
    assert brief([hedge]) == [("sell", 12.0, "SPY")]
    assert hedge["metadata"]["hedging_threshold"] == "0.10"
    assert hedge["metadata"]["gex_value"] == "-15000.0"


def test_a_gex_value_that_is_no_number_counts_as_unknown(folder, monkeypatch, caplog):
    monkeypatch.setenv("GEX_VALUE", "very negative")
    with caplog.at_level(logging.WARNING):
        (hedge,) = folder.on_market_event(DOCUMENTED_EVENT)
        folder.on_market_event(event(2, "2025-12-30T15:00:00Z", delta=0.6))
    assert hedge["metadata"]["hedging_threshold"] == "0.15"
    assert "gex_value" not in hedge["metadata"]
    assert caplog.text.count("GEX_VALUE") == 1


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("symbol", "exposure", "threshold"),
    [
        ("SPX", -15_000.0, "0.10"),
        ("SPX", 15_000.0, "0.15"),
        ("SPX", "no", "0.15"),
        ("SPY", -15_000.0, "0.10"),
        ("QQQ", -15_000.0, "0.15"),
    ],
)
def test_a_live_session_asks_firestore_beside_the_events(folder, monkeypatch, symbol, exposure, threshold):
    pytest.importorskip("google.cloud.firestore")
    from scalpdesk_testing.kit.firestore_server import firestore_server

    with firestore_server() as server:
        updated = from_ns(SystemClock().now_ns())
        server.documents["market_regime/SPX_GEX"] = {
            "gex_value": exposure,
            "last_update": updated,
            "symbol": symbol,
        }
        monkeypatch.setenv("SESSION_MODE", "live")
        monkeypatch.setenv("FIREBASE_PROJECT_ID", "demo")
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
        scalper = folder.Scalper(folder.Settings(os.environ))
        try:
            assert scalper.dealers.arrived.wait(120)
            (hedge,) = scalper.on_market_event(DOCUMENTED_EVENT)
        finally:
            scalper.dealers.stop()
    assert hedge["metadata"]["hedging_threshold"] == threshold
    assert hedge["metadata"].get("gex_value") == (
        None if exposure == "no" or symbol == "QQQ" else str(exposure)
    )


@pytest.mark.parametrize(
    "payload",
    [
        {"delta": float("nan"), "quantity": 10, "underlying_price": 495.5},
        {"delta": 0.65, "quantity": float("inf"), "underlying_price": 495.5},
        {"delta": "much", "quantity": 10, "underlying_price": 495.5},
        {"delta": True, "quantity": 10, "underlying_price": 495.5},
        {"delta": 0.65, "quantity": 10, "underlying_price": [495.5]},
        {"delta": 0.65, "quantity": 1e300, "underlying_price": 495.5},
        {"greeks": {"delta": float("nan")}, "quantity": 10, "underlying_price": 495.5},
    ],
)
def test_an_event_with_a_number_that_is_none_changes_nothing(folder, payload):
    assert folder.on_market_event(event(1, "2025-12-30T15:00:00Z", **payload)) == []
    assert folder.on_market_event(event(2, "2025-12-30T20:45:00Z", "SPY", price=495)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"ts": "yesterday"},
        {"ts": "2025-12-30T14:30:00"},
        {"event_id": "-x"},
        {"payload": []},
        {"protocol": "v2"},
    ],
)
def test_an_event_that_is_not_valid_gives_no_order(folder, wrong):
    assert folder.on_market_event(DOCUMENTED_EVENT | wrong) == []


def test_greeks_may_come_in_an_object_of_their_own(folder):
    one = event(1, "2025-12-30T15:00:00Z", greeks={"delta": 0.65}, qty=10, underlying_price=495.5)
    assert brief(folder.on_market_event(one)) == [("sell", 7.0, "SPY")]


def test_a_position_in_the_underlying_counts_and_a_trades_size_does_not(folder):
    folder.on_market_event(DOCUMENTED_EVENT)
    later = "2025-12-30T14:40:00Z"
    assert folder.on_market_event(event(1, later, "SPY", price=495.5, quantity=100)) != []  # the tie's share
    held = event(2, "2025-12-30T14:41:00Z", "SPY", delta=1.0, price=495.5, quantity=-2)
    assert brief(folder.on_market_event(held)) == [("sell", 5.0, "SPY")]  # -4.5 rounds away from zero


@pytest.mark.parametrize("symbol", [CALL, "SPY_CALL"])
def test_an_option_whose_first_event_has_no_greeks_is_an_option_all_the_same(folder, symbol):
    quote = event(1, "2025-12-30T14:59:00Z", symbol, price=2.50, underlying_price=495.50)
    assert folder.on_market_event(quote) == []
    held = event(2, "2025-12-30T15:00:00Z", symbol, delta=0.65, quantity=10, underlying_price=495.50)
    (hedge,) = folder.on_market_event(held)
    assert brief([hedge]) == [("sell", 7.0, "SPY")]
    gone = event(3, "2025-12-30T15:02:00Z", symbol, delta=0.65, quantity=0, underlying_price=496.0)
    (unwind,) = folder.on_market_event(gone)
    assert brief([unwind]) == [("buy", 7.0, "SPY")]
    again = event(4, "2025-12-30T15:03:00Z", symbol, price=3.0)
    assert folder.on_market_event(again) == []
    share = event(5, "2025-12-30T15:04:00Z", "SPY", delta=1.0, quantity=3)
    (order,) = folder.on_market_event(share)
    assert (brief([order]), order["metadata"]["underlying_price"]) == ([("sell", 3.0, "SPY")], "496.00")


@pytest.mark.parametrize("is_first", [False, True])
def test_shares_of_another_underlying_are_its_own_hedge_whenever_they_come(folder, monkeypatch, is_first):
    monkeypatch.setenv("QUANTITY_UNIT", "contracts")
    call = {"symbol": "QQQ251230C00500000", "delta": 0.5, "quantity": 10, "underlying_price": 500.0}
    share = {"symbol": "QQQ", "delta": 1.0, "price": 500.0}
    events = [event(1, "2025-12-30T15:00:00Z", **share, quantity=0)] if is_first else []
    events += [
        event(2, "2025-12-30T15:01:00Z", **call),
        event(3, "2025-12-30T15:02:00Z", **share, quantity=-500),
        event(4, "2025-12-30T15:04:00Z", **share, quantity=-480),
        event(5, "2025-12-30T20:45:00Z", **share, quantity=-500),
    ]
    assert [order for single in events for order in brief(folder.on_market_event(single))] == [
        ("sell", 500.0, "QQQ"),
        ("sell", 20.0, "QQQ"),
        ("sell", 10.0, "QQQ251230C00500000"),
        ("buy", 500.0, "QQQ"),
    ]


def test_live_mode_orders_in_the_session_only(folder, monkeypatch):
    monkeypatch.setenv("SESSION_MODE", "live")
    early = DOCUMENTED_EVENT | {"event_id": "evt_1", "ts": "2025-12-30T14:00:00Z"}
    assert folder.on_market_event(early) == []
    assert brief(folder.on_market_event(DOCUMENTED_EVENT)) == [("sell", 7.0, "SPY")]


def test_a_venue_that_closes_earlier_brings_the_exit_forward(folder, monkeypatch):
    monkeypatch.setenv("VENUE", "alpaca")
    folder.on_market_event(DOCUMENTED_EVENT)
    exit_event = event(2, "2025-12-30T20:25:00Z", "SPY", price=495.5)
    assert brief(folder.on_market_event(exit_event)) == [("sell", 10.0, CALL), ("buy", 7.0, "SPY")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("HEDGING_THRESHOLD", "wide"),
        ("HEDGING_THRESHOLD", "-1"),
        ("QUANTITY_UNIT", "lots"),
        ("SESSION_MODE", "paper"),
        ("EXIT_TIME_ET", "quarter to four"),
        ("EXIT_TIME_ET", "15:56"),
        ("HEDGING_THRESHOLD_NEGATIVE_GEX", "0.2"),
        ("MIN_SECONDS_BETWEEN_HEDGES", "-1"),
        ("STALE_DELTA_SECONDS", "1e9"),
        ("VENUE", "alpacca"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_name(folder, monkeypatch, key, value):
    monkeypatch.setenv(key, value)
    for begin in (folder.reset, lambda: folder.on_market_event(DOCUMENTED_EVENT)):
        with pytest.raises(ConfigError) as refused:
            begin()
        assert refused.value.where == key


def test_the_harness_refuses_a_setting_before_the_first_event(monkeypatch, capsys):
    monkeypatch.setenv("HEDGING_THRESHOLD", "0")
    assert main(["harness", "--strategy", str(FOLDER), "--events", str(FOLDER / "events.ndjson")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "HEDGING_THRESHOLD; value: '0'" in shown.err


def test_the_example_settings_are_the_defaults(folder):
    lines = (FOLDER / "config.example.env").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    told, silent = folder.Settings(given), folder.Settings({})
    assert vars(told) == vars(silent)


def test_example_settings_count_where_a_shell_exports_them_and_not_from_a_file(
    folder, capsys, monkeypatch, tmp_path
):
    text = (FOLDER / "config.example.env").read_text(encoding="utf-8")
    copy = tmp_path / ".env"
    copy.write_text(text.replace("HEDGING_THRESHOLD=0.15", "HEDGING_THRESHOLD=1000"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    del folder  # whose environment has no settings
    events = str(FOLDER / "events.ndjson")
    words = ["harness", "--strategy", str(FOLDER), "--events", events, "--ndjson", "--time-limit", "60"]
    assert main(words) == 0
    assert '"hedging_threshold": "0.15"' in capsys.readouterr().out
    exported = subprocess.run(
        ["sh", "-c", "set -a; . ./.env; set +a; env"], capture_output=True, text=True, check=True
    )
    for line in exported.stdout.splitlines():
        if line.startswith("HEDGING_THRESHOLD="):
            monkeypatch.setenv(*line.split("=", 1))
    assert main(words) == 0
    assert "delta_hedge" not in capsys.readouterr().out


@pytest.mark.parametrize("where", ["--isolate", "--no-isolate"])
def test_the_harness_prints_the_same_intents(folder, capsys, where):
    events = FOLDER / "events.ndjson"
    words = ["harness", "--strategy", str(FOLDER), "--events", str(events), "--time-limit", "60", where]
    assert main(words) == 0
    expected = [intent for one in sample() for intent in folder.on_market_event(one)]
    assert json.loads(capsys.readouterr().out) == expected


def test_the_smoke_test_passes():
    env = {key: value for key, value in os.environ.items() if key != "GEX_VALUE"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "smoke_test.py")], capture_output=True, text=True, check=False, env=env
    )
    assert (done.returncode, done.stdout.count("ok ")) == (0, 4), done.stdout + done.stderr


FUZZED = load()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(stamps, symbols, payloads), max_size=12))
def test_whatever_comes_it_neither_fails_nor_orders_what_is_not_valid(events):
    scalper = FUZZED.Scalper(FUZZED.Settings({}))
    for number, (ts, symbol, payload) in enumerate(events):
        for intent in scalper.on_market_event(event(number, ts, symbol, **payload)):
            assert intent_verdict(intent) == OK
            assert intent["qty"] <= 1e13


@pytest.mark.slow
@pytest.mark.parametrize("shown", [True, False, None])
def test_the_straddles_of_the_protocols_page_end_flat_however_the_shares_are_shown(shown, monkeypatch):
    monkeypatch.setenv("QUANTITY_UNIT", "contracts")
    positions = {f"SPY180205{right}00273000": 10 for right in "CP"}
    chosen = {"folder": str(FOLDER), "shares_as_position": shown, "simulation.positions": positions}
    run = backtest("external", load_data(start="2018-02-05"), settings=chosen)
    assert (run.summary["hedges"], run.summary["end_positions"]) == (117, {})
