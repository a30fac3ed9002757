"""Batches over processes: one that hangs or dies is given up with its seed, and the rest goes on."""

from pathlib import Path

import pytest

from scalpdesk_testing.campaign import run_campaign
from scalpdesk_testing.workers import Worker, run_batches
from tests.faults.stuck_seeds import DIES, HANGS, run_stuck

pytestmark = pytest.mark.second


@pytest.fixture(autouse=True)
def fakes_in_other_processes(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))


@pytest.fixture
def worker():
    made = Worker(1, run_stuck)
    yield made
    made.end()


def test_a_seed_that_hangs_is_given_up_and_its_process_replaced(worker):
    batches = [(HANGS,)]
    (over,) = run_batches([worker], lambda _: batches.pop() if batches else None, wall_seconds=0.0)
    assert (over.batch, over.result) == ((HANGS,), None)
    assert over.why
    batches = [(1, 2), (3,)]
    found = [
        each.result.digests
        for each in run_batches([worker], lambda _: batches.pop() if batches else None, wall_seconds=600.0)
    ]
    assert found == [{3: "3"}, {1: "1", 2: "2"}]


def test_what_a_batch_raises_is_raised_where_it_is_taken():
    made = Worker(1, int)  # no number is made of a batch
    try:
        made.give((1, 2))
        with pytest.raises(TypeError):
            made.take()
    finally:
        made.end()


def test_a_campaign_goes_on_beyond_a_process_that_dies_and_names_the_seed():
    told = []
    found = run_campaign(
        DIES - 5, DIES + 15, workers=1, run=run_stuck, progress=lambda *seen: told.append(seen)
    )
    assert [(each.seed, each.invariant) for each in found.violations] == [(DIES, "0 trial_ends")]
    assert found.seeds == 20
    assert sorted(found.digests) == [seed for seed in range(DIES - 5, DIES + 15) if seed != DIES]
    assert told[-1] == (20, 20)
    assert found.repeated == 2
