"""Realised volatility, volatility forecasts, variance clocks and regimes.

The two public names load on first use, so that ``import scalpdesk.volatility`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalpdesk.volatility.forecast import forecast_vol
    from scalpdesk.volatility.realised import realized_vol

__all__ = ["forecast_vol", "realized_vol"]

_HOMES = {
    "forecast_vol": "scalpdesk.volatility.forecast",
    "realized_vol": "scalpdesk.volatility.realised",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
