"""Strategy folders for tests: each handler is a few lines, written where it is used."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

_TS = "2025-12-30T14:30:00Z"


def folder(path: Path, body: str, *, before: str = "", name: str = "strategy_under_test") -> Path:
    """Write a folder whose ``on_market_event(event)`` has this body."""
    made = path / name
    made.mkdir(parents=True, exist_ok=True)
    handler = "def on_market_event(event):\n" + indent(dedent(body).strip() or "return None", "    ")
    (made / "strategy.py").write_text(f"{dedent(before)}\n\n{handler}\n", encoding="utf-8")
    return made


def event(name: str = "evt_1", ts: str = _TS, symbol: str = "SPY", **payload: Any) -> dict[str, Any]:
    """Return a valid market event."""
    return {
        "protocol": "v1",
        "type": "market_event",
        "event_id": name,
        "ts": ts,
        "symbol": symbol,
        "source": "test",
        "payload": payload,
    }


BUY_ONE = """
    return [{"protocol": "v1", "type": "order_intent", "intent_id": "buy_" + event["event_id"],
             "event_id": event["event_id"], "ts": event["ts"], "symbol": event["symbol"],
             "side": "buy", "qty": 1, "order_type": "market"}]
"""
"""Answers every event with an intent to buy one."""


def lines(path: Path, events: Iterable[Mapping[str, Any]]) -> Path:
    """Write events as NDJSON."""
    path.write_text("".join(json.dumps(one) + "\n" for one in events), encoding="utf-8")
    return path
