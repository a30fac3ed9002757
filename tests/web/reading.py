"""Runs of the pages read to their end, what the terminal draws of one, amounts as pages print them."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console

from scalpdesk.backtesting.runs import RunResult, run_backtest
from scalpdesk.cli.summary_view import LiveView
from scalpdesk.config.settings import LoadedSettings
from scalpdesk.core.clock import SystemClock
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.web.feed import DeskFeed


class _EnoughError(Exception):
    """Ends a run in the middle of its session, as a kill would."""


def played(
    settings: LoadedSettings, tape: MarketTape, folder: Path, minutes: float | None, mode: str = "backtest"
) -> RunResult | None:
    """Journal a run below ``folder``, to its end or so many minutes of it."""
    stop_ns = tape.sessions[0].open_ns + int((minutes or 1_000) * MINUTE_NS)

    def observe(_run: Any, now_ns: int) -> None:
        if now_ns > stop_ns:
            raise _EnoughError

    try:
        return run_backtest(
            settings, tape, SystemClock(), mode=mode, seed=1, runs_dir=folder, observer=observe
        )
    except _EnoughError:
        return None


def read_whole(follower: RunFollower) -> RunFollower:
    """Return a follower that has read all there is of its run."""
    while follower.advance(1_000):
        pass
    follower.tail.close()
    return follower


def read_up(runs_dir: Path, **options: Any) -> DeskFeed:
    """Return a feed that has read all there is, without its thread."""
    feed = DeskFeed(runs_dir, None, SystemClock(), **options)
    feed.choose()
    assert feed.follower is not None
    read_whole(feed.follower)
    feed.publish()
    return feed


def lines_of(view: LiveView, out: Console) -> list[str]:
    """Return the lines that the terminal's view has drawn."""
    lines = out.render_lines(view.live.get_renderable(), out.options.update(height=None))
    return ["".join(part.text for part in line) for line in lines]


def amount(text: str) -> Decimal:
    """Return an amount as a page prints it."""
    return Decimal(text.replace("−", "-").replace(",", ""))
