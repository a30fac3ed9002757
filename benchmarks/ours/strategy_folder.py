"""Events a second through a strategy folder: ``strategy_folder.py EVENTS here|isolated|one-by-one``."""

import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from scalpdesk.protocol.messages import read_event
from scalpdesk_strategies.isolation.folder import FolderInProcess
from scalpdesk_strategies.isolation.harness import outcomes
from scalpdesk_strategies.isolation.process import FolderProcess

STRATEGY = """
from decimal import Decimal
from scalpdesk.protocol import order_intent, to_decimal

deltas = {}


def on_market_event(event):
    payload = event["payload"]
    if "delta" in payload:
        deltas[event["symbol"]] = to_decimal(payload["delta"]) * to_decimal(payload["quantity"])
        return None
    net = sum(deltas.values(), Decimal(0))
    if int(event["event_id"][4:]) % 10 != 1:
        return None
    return [order_intent(event, kind="hedge", strategy="bench", symbol="SPY", side="sell", qty=7,
                         client_tag="bench", metadata={"net_delta_before": net})]
"""


def event(number: int) -> bytes:
    """Return a line: every other event is about an option with its Greeks."""
    payload = {"price": 500 + number % 100 / 100, "underlying_price": 500.25}
    if number % 2 == 0:
        payload |= {"delta": 0.5, "gamma": 0.02, "theta": -0.1, "bid": 2.45, "ask": 2.55, "quantity": 10}
    seconds = number // 100 % 60
    message = {
        "protocol": "v1",
        "type": "market_event",
        "event_id": f"evt_{number}",
        "ts": f"2025-12-30T14:30:{seconds:02d}.{number % 100:02d}Z",
        "symbol": "SPY" if number % 2 else "SPY251230C00500000",
        "source": "bench",
        "payload": payload,
    }
    return json.dumps(message).encode() + b"\n"


def main() -> None:
    """Print the figures of one run as JSON."""
    count, how = int(sys.argv[1]), sys.argv[2]
    lines = [event(number) for number in range(count)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "strategy.py").write_text(STRATEGY, encoding="utf-8")
        backend = FolderInProcess(folder) if how == "here" else FolderProcess(folder)
        window = 1 if how == "one-by-one" else 256
        next(iter(outcomes(backend, [read_event(lines[0])])))  # the first call loads what the folder needs
        began = perf_counter()
        intents = 0
        for outcome in outcomes(backend, map(read_event, lines), window=window):
            intents += len(outcome.intents)
        seconds = perf_counter() - began
        backend.close()
    print(json.dumps({"events": count, "intents": intents, "seconds": seconds}))


if __name__ == "__main__":
    main()
