"""Runs for the pages: one that goes on with a position held, and one that ended."""

import json
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import RunResult
from scalpdesk.config.settings import load_settings
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.notebook import backtest
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.web.feed import DeskFeed
from tests.web.reading import played, read_up

HALF_DAY = date(2017, 7, 3)
HELD_MINUTES = 10


def demo(folder: Path, day: date, *, minutes: float | None = None) -> dict[str, Any] | None:
    """Journal the demo of a day below ``folder``, to its end or so many minutes of it."""
    overrides = find_strategy("gamma-scalper").demo_settings
    if minutes is not None:  # bought at once, in a band in which the first minutes are hedged
        overrides += ("hedge.band_settings.risk_aversion=0.25", "hedge.least_fraction=0.35")
        overrides += ("entry.not_before=09:31",)
    settings = load_settings("gamma-scalper", overrides=overrides)
    tape = load_market(settings, "embedded", underlying="SPY", start=day, end=day, seed=1)
    result = played(settings, tape, folder, minutes, "demo")
    return None if result is None else result.summary


@pytest.fixture(scope="session")
def held_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run whose journal stops ten minutes after the open, a straddle held."""
    folder = tmp_path_factory.mktemp("held")
    demo(folder, date(2018, 2, 5), minutes=HELD_MINUTES)
    return folder


@pytest.fixture(scope="session")
def ended_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with one run that ended, of a half day, and its summary as ``--json`` prints it."""
    folder = tmp_path_factory.mktemp("ended")
    summary = demo(folder, HALF_DAY)
    return folder, json.loads(json.dumps(summary, default=str))


@pytest.fixture(scope="session")
def python_run() -> RunResult:
    """The run that ended, made in Python."""
    demo = dict(word.partition("=")[::2] for word in find_strategy("gamma-scalper").demo_settings)
    settings = load_settings(None)
    tape = load_market(settings, "embedded", underlying="SPY", start=HALF_DAY, end=HALF_DAY, seed=1)
    return backtest("gamma-scalper", tape, settings=demo)


@pytest.fixture(scope="session")
def held_feed(held_runs: Path) -> DeskFeed:
    """The run that goes on, read to its end; tests do not change it."""
    return read_up(held_runs)


@pytest.fixture(scope="session")
def held(held_feed: DeskFeed) -> RunFollower:
    """Its follower."""
    assert held_feed.follower is not None
    return held_feed.follower


@pytest.fixture(scope="session")
def ended_feed(ended_runs: tuple[Path, dict[str, Any]]) -> DeskFeed:
    """The run that ended, read to its end."""
    return read_up(ended_runs[0])


@pytest.fixture
def own_run(held_runs: Path, tmp_path: Path) -> Path:
    """A copy of the held run, for what a watcher writes beside it."""
    (source,) = (path for path in held_runs.iterdir() if path.is_dir())
    folder = tmp_path / source.name
    folder.mkdir()
    for path in source.iterdir():
        if path.is_file():
            os.link(path, folder / path.name)
    return folder


@pytest.fixture
def client_of() -> Callable[[DeskFeed], Any]:
    """Return an in-process client of a feed's API."""
    from fastapi.testclient import TestClient

    from scalpdesk.web.access import Access, Tokens
    from scalpdesk.web.app import create_app

    def make(feed: DeskFeed, **options: Any) -> TestClient:
        app = create_app(feed, Access(Tokens("operator-token", "viewer-token"), **options))
        return TestClient(app, base_url="http://localhost:10000")

    return make
