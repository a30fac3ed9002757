"""The search: one way for one seed whatever ends first, stopping by the median, going on."""

from datetime import date
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from statistics import median

import pytest

from scalpdesk.backtesting.simulate import PreparedMarket
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import ArgumentError
from scalpdesk.datasets.embedded import market as embedded
from scalpdesk.research.sweep import JobMaker, Parameter, Range, SweepRow, read_axis
from scalpdesk.research.sweep_search import FEWEST_WHOLE, GENERATION, Search

pytest.importorskip("optuna")

SESSIONS = 8
BEST = 20
AXES = [
    Range("hedge.threshold_shares", 1.0, 50.0, is_log=True, is_whole=True),
    Range("entry.min_vol_ratio", 0.5, 3.0, is_log=False, is_whole=False),
    Parameter("hedge.band", ("fixed", "whalley_wilmott")),
    Parameter("straddles", ("1", "3", "2")),
]


class Curve:
    """An engine of known results: the P&L of a session falls with the distance from 20 shares."""

    def __init__(self, *, backwards=False, judged_by="hedge.threshold_shares"):
        self.backwards, self.judged_by, self.ran = backwards, judged_by, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, jobs):
        jobs = list(jobs)
        for job in reversed(jobs) if self.backwards else jobs:
            self.ran.append(job)
            a_day = Decimal(10 - abs(int(job.settings[self.judged_by]) - BEST))
            so_far, daily = Decimal(0), {}
            for place in range(SESSIONS):
                so_far += a_day
                daily[f"2018-02-{place + 1:02}"] = str(a_day)
                floor = job.floors[place] if place < len(job.floors) else None
                if floor is not None and so_far < floor:
                    break
            pruned = len(daily) < SESSIONS
            yield SweepRow(
                config_hash=job.config.config_hash,
                market=job.market,
                settings=dict(job.settings),
                pnl={"total": str(so_far)},
                daily=daily,
                pruned=pruned,
                search=job.search if pruned else "",
            )


@pytest.fixture(scope="module")
def maker():
    def load(texts):
        return load_settings("gamma-scalper", overrides=texts, environ={}, cwd=Path())

    return JobMaker(load, 1, PreparedMarket(embedded.reconstruct(date(2017, 7, 3))))


def searched(maker, number=40, *, engine=None, done=(), **chosen):
    engine, kept = engine or Curve(), []
    rows = list(Search(AXES, number, **chosen).run(maker, engine, {r.key: r for r in done}, kept.append))
    return rows, kept, engine


def test_a_search_takes_one_way_whatever_ends_first(maker):
    rows, kept, _ = searched(maker)
    others, _, _ = searched(maker, engine=Curve(backwards=True))
    assert others == rows
    assert len(rows) == 40
    assert len(kept) == len({row.key for row in rows})
    assert searched(maker, seed=2)[0] != rows
    assert searched(maker, number=16)[0] == rows[:16]


def test_a_search_goes_on_from_its_rows(maker):
    rows, kept, _ = searched(maker)
    for known in (3, GENERATION, 19, len(kept)):
        again, new, engine = searched(maker, done=kept[:known])
        assert again == rows
        assert len(engine.ran) == len(new) == len(kept) - known


def test_rows_of_another_sweep_change_no_way_of_a_search(maker):
    rows, _, _ = searched(maker)
    whole, _, _ = searched(maker, stops=False)
    again, _, engine = searched(maker, done=whole)
    assert [row.settings for row in again] == [row.settings for row in rows]
    assert len(engine.ran) < len(rows)


def test_a_search_nears_the_best_and_stops_what_lies_below_the_median(maker):
    rows, _, engine = searched(maker, number=80)
    best = max((row for row in rows if not row.pruned), key=lambda row: row.total)
    assert abs(int(best.settings["hedge.threshold_shares"]) - BEST) <= 2
    stopped = [row for row in rows if row.pruned]
    assert stopped
    assert all(job.floors == () for job in engine.ran[:GENERATION])
    # the floors of the second generation are the medians of the first, after a quarter of the sessions
    paths = [list(accumulate(float(pnl) for pnl in row.daily.values())) for row in rows[:GENERATION]]
    assert len({row.key for row in rows[:GENERATION]}) == GENERATION >= FEWEST_WHOLE
    floors = engine.ran[GENERATION].floors
    assert floors[:2] == (None, None)
    assert floors[2:] == tuple(median(at) for at in list(zip(*paths, strict=True))[2 : SESSIONS - 1])
    for row in stopped:
        assert 2 < len(row.daily) < SESSIONS
    assert not [row for row in searched(maker, stops=False)[0] if row.pruned]


def test_whole_numbers_stay_whole_and_what_is_no_configuration_is_a_row(maker):
    rows, _, _ = searched(maker, number=24)
    assert all(row.settings["hedge.threshold_shares"].isdigit() for row in rows)
    assert {row.settings["straddles"] for row in rows} == {"1", "2", "3"}
    axes = [Range("straddles", -3.0, 3.0, is_log=False, is_whole=True)]
    engine = Curve(judged_by="straddles")
    found = list(Search(axes, 16).run(maker, engine, {}, lambda _: None))
    assert any(row.problem and "straddles" in row.problem for row in found)
    assert any(row.problem is None for row in found)


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("a=1:20:log", Range("a", 1.0, 20.0, is_log=True, is_whole=True)),
        ("a=-1.5:2:lin", Range("a", -1.5, 2.0, is_log=False, is_whole=False)),
        ("a=1:3:lin:3", Parameter("a", ("1", "2", "3"))),
        ("a=x,y", Parameter("a", ("x", "y"))),
    ],
)
def test_a_range_of_a_search_needs_no_number(text, axis):
    assert read_axis(text) == axis


@pytest.mark.parametrize("text", ["a=0:1:log", "a=2:1:lin", "a=x:1:lin", "a=nan:1:lin", "=1:2:lin"])
def test_a_range_that_is_none_is_refused(text):
    with pytest.raises(ArgumentError) as refused:
        read_axis(text)
    assert "--param" in refused.value.where
