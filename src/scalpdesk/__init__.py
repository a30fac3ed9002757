"""scalpdesk: a desk for gamma scalping and short-dated option scalping.

What a notebook needs::

    from scalpdesk import backtest, load_data, Strategy

and for many runs over one market::

    from scalpdesk import BacktestConfig, PreparedMarket, load_data, simulate, sweep, walk_forward

The names load on first use. Nothing inside the product imports from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scalpdesk.core.version import VERSION

if TYPE_CHECKING:
    from scalpdesk.backtesting.simulate import BacktestConfig, BacktestResult, PreparedMarket, simulate
    from scalpdesk.notebook import (
        backtest,
        bands,
        load_data,
        load_run,
        parity,
        premium_history,
        run_desk,
        sweep,
        tear_sheet,
        walk_forward,
    )
    from scalpdesk.strategies.contract import Strategy


__version__ = VERSION
__all__ = [
    "BacktestConfig",
    "BacktestResult",
    "PreparedMarket",
    "Strategy",
    "__version__",
    "backtest",
    "bands",
    "load_data",
    "load_run",
    "parity",
    "premium_history",
    "run_desk",
    "simulate",
    "sweep",
    "tear_sheet",
    "walk_forward",
]

_SIMULATE = "scalpdesk.backtesting.simulate"
_HOMES = {
    **dict.fromkeys(__all__, "scalpdesk.notebook"),
    **dict.fromkeys(("BacktestConfig", "BacktestResult", "PreparedMarket", "simulate"), _SIMULATE),
    "Strategy": "scalpdesk.strategies.contract",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'scalpdesk' has no attribute {name!r}")
