"""Run a session of eight events through the folder, with dealer gamma unknown and with it negative.

python examples/gamma_scalper_0dte/test_strategy.py
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
CALL, PUT = "SPY251230C00500000", "SPY251230P00495000"
SESSION = (
    ("14:31:00", "SPY", {"price": 495.20}),
    ("14:32:00", CALL, {"delta": 0.012, "quantity": 10}),
    ("14:34:00", CALL, {"delta": 0.065, "quantity": 10}),
    ("14:36:00", PUT, {"delta": -0.05, "quantity": 10}),
    ("15:30:00", CALL, {"delta": 0.12, "quantity": 10}),
    ("17:00:00", PUT, {"delta": -0.02, "quantity": 10}),
    ("19:00:00", CALL, {"delta": 0.14, "quantity": 10}),
    ("20:45:00", CALL, {"delta": 0.10, "quantity": 10}),
)
"""Time (UTC), symbol and payload of each event; real contracts of 100 shares."""


def run(gex: str | None) -> list[list[dict[str, Any]]]:
    """Return the intents that answer each event; ``gex`` is the dealer gamma exposure in USD, if known."""
    os.environ["QUANTITY_UNIT"] = "contracts"
    os.environ.pop("GEX_VALUE", None)
    if gex is not None:
        os.environ["GEX_VALUE"] = gex
    strategy = _folder()
    strategy.reset()
    found = []
    for number, (clock, symbol, payload) in enumerate(SESSION):
        event = {
            "protocol": "v1",
            "type": "market_event",
            "event_id": f"evt_{number}",
            "ts": f"2025-12-30T{clock}Z",
            "symbol": symbol,
            "source": "sample",
            "payload": {"underlying_price": 495.50} | payload,
        }
        found.append(strategy.on_market_event(event))
    return found


def _folder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gamma_scalper_0dte", HERE / "strategy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hedges(intents: list[list[dict[str, Any]]]) -> list[tuple[str, float]]:
    """Return side and quantity of the hedges, without the orders of the exit."""
    return [(intent["side"], intent["qty"]) for step in intents[:-1] for intent in step]


def held(intents: list[list[dict[str, Any]]]) -> float:
    """Return the hedge shares that are left at the end."""
    signs = {"buy": 1.0, "sell": -1.0}
    shares = (intent for step in intents for intent in step if intent["symbol"] == "SPY")
    return sum(signs[intent["side"]] * intent["qty"] for intent in shares)


def main() -> int:
    """Return 0 when both sessions are hedged as their thresholds say."""
    sys.path.insert(0, str(HERE))  # the folder's own modules
    standard, negative = run(None), run("-15000.0")
    checks = {
        "Test 1: Standard GEX": {
            f"{len(standard)} events, {len(hedges(standard))} hedges at 0.15": len(hedges(standard)) == 5,
            "0.12 is within the threshold": standard[1] == [],
            "0.65 is sold whole: 65 shares": hedges(standard)[0] == ("sell", 65.0),
            "the exit leaves options and hedge": (len(standard[-1]), held(standard)) == (3, 0.0),
        },
        "Test 2: Negative GEX": {
            f"{len(negative)} events, {len(hedges(negative))} hedges at 0.10": len(hedges(negative)) == 6,
            "0.12 is beyond the threshold": hedges(negative)[0] == ("sell", 12.0),
            "the exit leaves options and hedge": (len(negative[-1]), held(negative)) == (3, 0.0),
        },
    }
    for title, found in checks.items():
        print(title)
        for what, holds in found.items():
            print(f"  {'ok    ' if holds else 'FAILED'} {what}")
    return 0 if all(holds for found in checks.values() for holds in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
