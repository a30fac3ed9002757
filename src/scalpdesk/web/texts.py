"""Figures as the pages print them: true minus, commas, New York times; None for what is not known."""

import math
from decimal import Decimal
from typing import Any

import numpy as np

from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import to_new_york


def signed(value: float | Decimal | None, decimals: int = 2) -> str | None:
    """Return an amount with its sign; zero without one.

    >>> signed(-1234.5), signed(0.001), signed(Decimal("2.5"), 1)
    ('−1,234.50', '0.00', '+2.5')
    """
    if value is None or not math.isfinite(value):
        return None
    text = f"{value:+,.{decimals}f}"
    return text[1:] if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def plain(value: float | Decimal | None, decimals: int = 2) -> str | None:
    """Return a figure without a sign unless it is negative."""
    if value is None or not math.isfinite(value):
        return None
    return f"{value:,.{decimals}f}".replace("-", "−")


def per_cent(fraction: float | None, decimals: int = 1) -> str | None:
    """Return a fraction in per cent."""
    return None if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.{decimals}f} %"


def span(seconds: float) -> str:
    """Return a length of time.

    >>> span(20_400), span(61), span(12)
    ('5 h 40 min', '1 min', '12 s')
    """
    if seconds >= 3_600:
        return f"{int(seconds // 3_600)} h {int(seconds % 3_600 // 60)} min"
    return f"{int(seconds // 60)} min" if seconds >= 60 else f"{int(seconds)} s"


def countdown(seconds: float) -> str:
    """Return what is left until a deadline: ``35:00``, ``5 h 40 min`` or ``39 d``."""
    if seconds <= 0:
        return "passed"
    if seconds >= 2 * 86_400:
        return f"{int(seconds // 86_400)} d"
    return span(seconds) if seconds >= 3_600 else f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def clock(ts_ns: int) -> str:
    """Return a New York time of day."""
    return f"{to_new_york(ts_ns):%H:%M:%S}"


def tone(value: float | Decimal | None) -> str:
    """Return ``up``, ``down`` or ``muted`` by the sign of an amount, zero to the cent being neither."""
    if value is None or abs(float(value)) < 0.005:
        return "muted"
    return "up" if value > 0 else "down"


def leg_label(instrument: Any) -> str:
    """Return an instrument as a trader names it: ``SPY 281 call``."""
    if not isinstance(instrument, OptionContract):
        return f"{instrument.symbol} shares"
    return (
        f"{instrument.underlying} {instrument.strike.normalize():f} {'call' if instrument.is_call else 'put'}"
    )


def json_safe(value: Any) -> Any:
    """Return a document in which what is not finite is None and exact amounts are text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {str(key): json_safe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(each) for each in value]
    if isinstance(value, np.generic):
        return json_safe(value.item())
    return value
