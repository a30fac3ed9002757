"""Equal inputs, equal decisions: in one process, in two, and from the journal."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk_testing.kit.desk import run_tape
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder


def decisions_of(seed: int) -> tuple[str, int, Decimal]:
    steps = np.random.default_rng(seed).normal(0, 0.25, 300)
    mids = [round(float(x), 2) for x in 500 + np.cumsum(steps)]
    tape = TapeBuilder(straddle_book(490, 495, 500, 505, 510)).path("10:00", 5.0, mids).build()
    run = run_tape(tape, GammaScalper(GammaScalperConfig(entry=EntryConfig(gate="off"))), latency_ms=20)
    return run.fold.hash.hex(), len(run.fold.orders), run.engine.desk.account.cash


SCRIPT = f"""
import runpy, sys
sys.path.append({str(Path(__file__).resolve().parents[1])!r})
print(*runpy.run_path({__file__!r})["decisions_of"](1))
"""


def test_two_processes_with_other_hash_seeds_decide_the_same_and_another_tape_differs():
    first = decisions_of(1)
    assert first[1] > 10  # it traded: the equality says something
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"PYTHONHASHSEED": "4711"},  # that of this process was drawn as it began
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert there.stdout.split() == [str(figure) for figure in first]
    assert decisions_of(2)[0] != first[0]


def desk_command(folder: Path, hash_seed: str, *arguments: str) -> dict:
    """Run the command line in a folder of its own; return the JSON document it prints."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("SCALPDESK_")}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "scalpdesk"), *arguments, "--json"],
        cwd=folder,
        env=plain | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_market_session_replayed_from_its_journal_decides_the_same(tmp_path):
    session = ("demo", "--speed", "max", "--no-dashboard", "--session", "2015-08-24")
    told = desk_command(tmp_path, "1", *session, "--seed", "1")
    assert told["fills"] > 10
    replayed = desk_command(tmp_path, "4711", "replay", told["run_id"], "--verify")
    assert replayed["identical"] is True
    assert replayed["difference"] is None
    assert (replayed["decision_hash"], replayed["events"]) == (told["decision_hash"], told["events"])
    for key in ("pnl", "end_positions", "fills", "scalp_realized", "realised_vs_implied", "verdict"):
        assert replayed["summary"][key] == told[key], key
    other = desk_command(tmp_path, "1", *session, "--seed", "2")
    assert other["decision_hash"] != told["decision_hash"]
