"""``scalpdesk replay --under``: its table is what it keeps."""

from datetime import date
from decimal import Decimal

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.cli.main import main
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.research.reruns import kept_reruns

DAY = date(2017, 7, 3)
WORDS = ("entry.gate=off", "exits.close_at=10:00")


def test_a_run_is_made_again_on_other_paths_and_what_is_printed_is_kept(tmp_path, document_of):
    settings = load_settings(
        "gamma-scalper", overrides=("entry.gate=off", "exits.close_at=10:00"), environ={}
    )
    tape = load_market(settings, "embedded", underlying="SPY", start=DAY, end=DAY, seed=1)
    run_dir = run_backtest(settings, tape, SystemClock(), mode="backtest", seed=1, runs_dir=tmp_path).run_dir
    folder = ("--set", f"desk.runs_dir={tmp_path}")
    told = document_of("replay", "--under", "last", "--no-fill-models", "--paths", "3", *folder)
    kept = kept_reruns(tmp_path, run_dir.name).paths
    assert (told["run_id"], told["fill_models"]) == (run_dir.name, [])
    assert [Decimal(row["pnl"]) for row in told["paths"]] == [each.pnl for each in kept]
    assert [row["name"] for row in told["paths"]] == ["seed 2", "seed 3"]
    assert main(["replay", "--under", "last", "--no-fill-models", "--paths", "0", *folder]) == 2
