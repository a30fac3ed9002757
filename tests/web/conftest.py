"""Runs for the pages: one that goes on with a position held, and one that ended."""

import json
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import SystemClock
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.web.feed import DeskFeed

MINUTE_NS = 60 * 10**9
HALF_DAY = date(2017, 7, 3)
HELD_MINUTES = 10


class EnoughError(Exception):
    """Ends a run in the middle of its session, as a kill would."""


def demo(folder: Path, day: date, *, minutes: float | None = None) -> dict[str, Any] | None:
    """Journal the demo of a day below ``folder``, to its end or so many minutes of it."""
    overrides = find_strategy("gamma-scalper").demo_settings
    if minutes is not None:  # bought at once, in a band in which the first minutes are hedged
        overrides += ("hedge.band_settings.risk_aversion=0.25", "hedge.least_fraction=0.35")
        overrides += ("entry.not_before=09:31",)
    settings = load_settings("gamma-scalper", overrides=overrides)
    tape = load_market(settings, "embedded", underlying="SPY", start=day, end=day, seed=1)
    stop_ns = tape.sessions[0].open_ns + int((minutes or 1_000) * MINUTE_NS)

    def observe(_run: Any, now_ns: int) -> None:
        if now_ns > stop_ns:
            raise EnoughError

    try:
        result = run_backtest(
            settings, tape, SystemClock(), mode="demo", seed=1, runs_dir=folder, observer=observe
        )
    except EnoughError:
        return None
    return result.summary


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


def read_up(runs_dir: Path, **options: Any) -> DeskFeed:
    """Return a feed that has read all there is, without its thread."""
    feed = DeskFeed(runs_dir, None, SystemClock(), **options)
    feed.choose()
    assert feed.follower is not None
    while feed.follower.advance(1_000):
        pass
    feed.follower.tail.close()
    feed.publish()
    return feed


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
