"""The desk from Python: load a market, run a strategy over it, look at the result."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import RunResult, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.clock import Clock, SystemClock
from scalpdesk.datasets.embedded import EMBEDDED
from scalpdesk.marketdata.tape import MarketTape


def load_data(
    name: str = EMBEDDED,
    *,
    start: str | date,
    end: str | date | None = None,
    underlying: str = "SPY",
    catalog: str | Path = "catalog",
    seed: int = 1,
) -> MarketTape:
    """Load sessions of a market.

    Parameters
    ----------
    name
        ``embedded``, or a data set of the catalogue (``scalpdesk data ls``).
    start, end
        First and last session (``YYYY-MM-DD``), both included; one session without ``end``.
    underlying
        Share, index, future's root or option root.
    catalog
        Folder of the catalogue.
    seed
        Path of the embedded market.

    Raises
    ------
    DataError
        When the data set, the underlying or a session is not there; says what is.
    """
    first = _day(start)
    last = first if end is None else _day(end)
    settings = load_settings(None, overrides=(f"data.catalog={catalog}",))
    return load_market(settings, name, underlying=underlying, start=first, end=last, seed=seed)


def backtest(
    strategy: str,
    data: MarketTape,
    *,
    settings: Mapping[str, Any] | None = None,
    runs_dir: str | Path | None = None,
    seed: int | None = None,
    clock: Clock | None = None,
) -> RunResult:
    """Run a strategy over a market.

    Parameters
    ----------
    strategy
        Its name, e.g. ``gamma-scalper``.
    data
        From :func:`load_data`.
    settings
        Keys as for ``--set``, e.g. ``{"hedge.threshold_shares": 5}``.
    runs_dir
        Folder in which to keep the run's journal; None keeps none.
    seed
        Written into the run's record.
    clock
        Stamps the run's start; the machine's clock when None.

    Returns
    -------
    RunResult
        ``summary`` (the run summary) and ``marks`` (the book over time).

    Raises
    ------
    ConfigError
        For a key or value that the configuration does not have; names the nearest.
    """
    overrides = [f"{key}={_text(value)}" for key, value in (settings or {}).items()]
    loaded = load_settings(strategy, overrides=overrides)
    return run_backtest(
        loaded,
        data,
        clock or SystemClock(),
        seed=seed,
        runs_dir=None if runs_dir is None else Path(runs_dir),
    )


def _day(day: str | date) -> date:
    return day if isinstance(day, date) else date.fromisoformat(day)


def _text(value: Any) -> str:
    """Write a Python value as ``--set`` reads it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
