"""The unit tests that the document of the 0DTE gamma scalper names, by its names, on the strategy folder."""

import importlib.util
import os
import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.hedging.bands.regime_threshold import threshold_by_dealers
from scalpdesk.instruments.sessions import new_york_ns, to_ns
from scalpdesk.protocol import parse_ts, to_decimal

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "gamma_scalper_0dte"
CALL, PUT = "SPY251230C00500000", "SPY251230P00495000"
DAY = date(2025, 12, 30)


@pytest.fixture
def folder(monkeypatch):
    """Load the folder in an environment without settings."""
    for line in (FOLDER / "config.example.env").read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            monkeypatch.delenv(line.split("=")[0], raising=False)
    spec = importlib.util.spec_from_file_location("gamma_scalper_strategy_under_test", FOLDER / "strategy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def event(name, clock, symbol=CALL, **payload):
    return {
        "protocol": "v1",
        "type": "market_event",
        "event_id": name,
        "ts": f"2025-12-30T{clock}Z",
        "symbol": symbol,
        "source": "test",
        "payload": {"underlying_price": 495.50} | payload,
    }


def net_delta(intents):
    return Decimal(intents[0]["metadata"]["net_delta_before"])


def test_to_decimal_from_float():
    assert to_decimal(0.65) == Decimal("0.65")
    assert to_decimal(0.1) + to_decimal(0.2) == Decimal("0.3")


def test_parse_iso8601_with_z():
    assert parse_ts("2025-12-30T14:30:00Z") == datetime(2025, 12, 30, 14, 30, tzinfo=UTC)
    assert parse_ts("2025-12-30T09:30:00-05:00") == parse_ts("2025-12-30T14:30:00Z")


@pytest.mark.parametrize(
    ("day", "utc"), [(DAY, "20:45"), (date(2025, 7, 8), "19:45"), (date(2025, 7, 3), "16:45")]
)
def test_market_close_time(folder, day, utc):
    """15:45 New York, winter and summer; a quarter of an hour before the close of a half day."""
    hours = folder.Settings({}).hours("SPY", day)
    assert hours.deadline_ns == to_ns(datetime.combine(day, time.fromisoformat(utc), tzinfo=UTC))
    assert hours.open_ns == new_york_ns(day, time(9, 30))


def test_single_long_position(folder):
    assert net_delta(folder.on_market_event(event("e1", "15:00:00", delta=0.65, quantity=10))) == Decimal(
        "6.50"
    )


def test_standard_threshold_no_gex(folder):
    assert threshold_by_dealers(None) == Decimal("0.15")
    assert folder.on_market_event(event("e1", "15:00:00", delta=0.15, quantity=1)) == []
    intents = folder.on_market_event(event("e2", "15:02:00", delta=0.65, quantity=10))
    assert intents[0]["metadata"]["hedging_threshold"] == "0.15"


def test_positive_delta_requires_sell(folder):
    (sell,) = folder.on_market_event(event("e1", "15:00:00", delta=0.65, quantity=10))
    assert (sell["side"], sell["qty"], sell["symbol"]) == ("sell", 7.0, "SPY")
    folder.reset()
    (buy,) = folder.on_market_event(event("e2", "15:00:00", symbol=PUT, delta=-0.65, quantity=10))
    assert (buy["side"], buy["qty"]) == ("buy", 7.0)


def test_generates_hedge_order_when_threshold_exceeded(folder):
    assert folder.on_market_event(event("e1", "15:00:00", delta=0.05, quantity=3)) == []  # 0.15: equal
    (hedge,) = folder.on_market_event(event("e2", "15:01:00", delta=0.20, quantity=3))
    assert (hedge["type"], hedge["client_tag"]) == ("order_intent", "0dte_gamma_scalper_hedge")
    assert (hedge["side"], hedge["qty"], hedge["order_type"]) == ("sell", 1.0, "market")


def test_exits_all_positions_at_close_time(folder):
    folder.on_market_event(event("e1", "15:00:00", delta=0.65, quantity=10))
    folder.on_market_event(event("e2", "15:00:30", symbol=PUT, delta=-0.35, quantity=5))
    intents = folder.on_market_event(event("e3", "20:45:00", delta=0.65, quantity=10))
    sold = {one["symbol"]: (one["side"], one["qty"]) for one in intents}
    assert sold == {CALL: ("sell", 10.0), PUT: ("sell", 5.0), "SPY": ("buy", 7.0)}
    assert folder.on_market_event(event("e4", "20:46:00", delta=0.65, quantity=10)) == []


def test_negative_gex_uses_tighter_threshold(folder, monkeypatch):
    assert folder.on_market_event(event("e1", "15:00:00", delta=0.12, quantity=1)) == []
    folder.reset()
    monkeypatch.setenv("QUANTITY_UNIT", "contracts")
    monkeypatch.setenv("GEX_VALUE", "-15000.0")
    (hedge,) = folder.on_market_event(event("e2", "15:00:00", delta=0.12, quantity=1))
    assert hedge["metadata"]["hedging_threshold"] == "0.10"
    assert hedge["metadata"]["gex_value"] == "-15000.0"
    assert (hedge["side"], hedge["qty"]) == ("sell", 12.0)


def test_the_folders_own_test_runs_both_scenarios():
    done = subprocess.run(
        [sys.executable, str(FOLDER / "test_strategy.py")],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Test 1: Standard GEX" in done.stdout
    assert "Test 2: Negative GEX" in done.stdout
    assert "FAILED" not in done.stdout
