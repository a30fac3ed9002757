"""Option prices, Greeks and implied volatilities of plain numbers and arrays.

``greeks`` and ``implied_vol`` are the public calls. The compiled modules behind them load on first use, so
that importing this package is cheap.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalpdesk.pricing.implied import implied_vol
    from scalpdesk.pricing.models import greeks
    from scalpdesk.pricing.warming import warm_up

__all__ = ["greeks", "implied_vol", "warm_up"]


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415 - part of loading late

    homes = {
        "greeks": "scalpdesk.pricing.models",
        "implied_vol": "scalpdesk.pricing.implied",
        "warm_up": "scalpdesk.pricing.warming",
    }
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
