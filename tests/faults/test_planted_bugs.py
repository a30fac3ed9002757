"""Power of the trials: bugs planted on purpose, each met at a seed below 1,000."""

import re
from pathlib import Path

import pytest

from scalpdesk_testing.campaign import run_trial, trial_of
from tests.fakes.planted_bugs import LAW_SEEDS, MOST_SEEDS, PLANTED_BUGS, planted, seed_that_notices

pytestmark = pytest.mark.second

PAGES = sorted((Path(__file__).parents[2] / "docs" / "evidence").glob("planted-bugs*.md"))
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (\d+) \| (.+?) \|$", re.MULTILINE)
TABLE = {
    name: (story, int(seed), law)
    for page in PAGES
    for name, story, seed, law in ROW.findall(page.read_text("utf-8"))
}
"""The tables of the pages: story, seed and law by the name of the bug."""


def test_pages_name_every_bug_with_its_story_and_a_seed_that_a_campaign_draws():
    assert {name: bug.story for name, bug in PLANTED_BUGS.items()} == {
        name: story for name, (story, _, _) in TABLE.items()
    }
    assert len(TABLE) >= 40
    assert all(seed < MOST_SEEDS for _, seed, _ in TABLE.values())


@pytest.mark.parametrize("name", TABLE)
def test_planted_bug_is_caught_at_its_seed_and_nothing_of_it_stays(name):
    bug, (_, seed, law) = PLANTED_BUGS[name], TABLE[name]
    before = [getattr(owner, attribute) for owner, attribute, _ in bug.changes()]
    assert seed_that_notices(bug, [seed]) == (seed, law)
    assert [getattr(owner, attribute) for owner, attribute, _ in bug.changes()] == before


def test_the_seeds_of_the_table_are_clean_without_a_bug():
    seeds = {(PLANTED_BUGS[name].protocol, seed) for name, (_, seed, _) in TABLE.items()}
    others = seeds - {("alpaca", seed) for seed in LAW_SEEDS}  # those have a test each
    assert len(others) >= 10
    made = [(seed, trial_of(protocol)) for protocol, seed in others]
    assert [seed for seed, make in made if run_trial(make.draw(seed), make=make).violations] == []


def test_bug_is_put_back_after_a_failure():
    bug = PLANTED_BUGS["stale_quote_used"]
    ((owner, name, _),) = bug.changes()
    plain = getattr(owner, name)

    def fails():
        assert getattr(owner, name) is not plain
        raise RuntimeError

    with pytest.raises(RuntimeError), planted(bug):
        fails()
    assert getattr(owner, name) is plain
