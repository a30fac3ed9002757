"""Data of a sweep over the whole embedded market: size, and processor time to prepare and to pack it.

``python benchmarks/ours/shared_market.py``
"""

import json
import pickle
import time
from collections.abc import Callable
from typing import Any

SAMPLED = slice(600, 605)
"""Sessions whose blocks are packed."""


def main() -> None:
    from scalpdesk import BacktestConfig, PreparedMarket, load_data
    from scalpdesk.backtesting.shared_market import head_of, pack, session_block
    from scalpdesk.datasets.embedded.market import available_sessions

    figures: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        found = work()
        figures[f"{name}_cpu_seconds"] = time.process_time() - began
        return found

    days = available_sessions()
    tape = timed("load", lambda: load_data(start=days[0], end=days[-1]))
    market = PreparedMarket(tape)
    config = BacktestConfig.load("gamma-scalper", {"entry.gate": "advise"}, seed=1)
    timed("prepare", lambda: market.prepare([config]))
    head = timed("head", lambda: head_of(market))
    timed("open_head", lambda: pickle.loads(head))
    sampled = tape.sessions[SAMPLED]
    blocks = timed("blocks", lambda: [pack(session_block(market, session)) for session in sampled])
    size = sum(memoryview(part).nbytes for block in blocks for part in block)
    figures["block_cpu_seconds"] = figures.pop("blocks_cpu_seconds") / len(sampled)
    figures |= {"block_mb": size / 1e6 / len(sampled), "head_mb": len(head) / 1e6}
    print(json.dumps({"sessions": len(tape.sessions), "instruments": len(tape.instruments), **figures}))


if __name__ == "__main__":
    main()
