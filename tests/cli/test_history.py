from io import StringIO
from pathlib import Path

from rich.console import Console

from scalpdesk.cli.summary_view import show_runs

RUN = "20180205-093000-st0cka+gamma-scalper-simulated-6d5292"


def test_a_run_is_listed_with_its_whole_id_however_narrow_the_terminal():
    out = Console(file=StringIO(), width=60)
    row = {
        "run_id": RUN,
        "started_ns": 0,
        "strategy": "st0cka+gamma-scalper",
        "data_name": "embedded",
        "data_kind": "reconstructed",
        "session": "2018-02-05",
        "hedges": 0,
        "fills": 2,
        "nav_change": "-1.00",
    }
    show_runs(out, [row], {}, Path("runs"))
    assert RUN in out.file.getvalue()
