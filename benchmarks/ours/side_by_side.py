"""Processor time of a session of a backtest alone, and of backtests that run side by side.

``python benchmarks/ours/side_by_side.py``
"""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

SIZES = (1, 4, 8)


def main() -> None:
    from scalpdesk import BacktestConfig, PreparedMarket, load_data
    from scalpdesk.backtesting.shared_market import share_in_files
    from scalpdesk.research.sweep import Job, run_together

    def job(shares: float) -> Job:
        settings = {"entry.gate": "advise", "hedge.threshold_shares": shares}
        return Job({}, BacktestConfig.load("gamma-scalper", settings, seed=1))

    tape = load_data(start="2018-02-05", end="2018-02-08")
    with TemporaryDirectory() as folder:
        market = share_in_files(PreparedMarket(tape), Path(folder)).open()
        run_together([job(2.0)], market)  # compiles what it needs
        figures = {}
        for size in SIZES:
            began = time.process_time()
            run_together([job(3.0 + number / 2.0) for number in range(size)], market)
            figures[str(size)] = (time.process_time() - began) / size / len(tape.sessions)
    print(json.dumps({"cpu_seconds_a_session": figures}))


if __name__ == "__main__":
    main()
