"""Figures as the pages print them: true minus, commas, New York times; None for what is not known."""

import math
from decimal import Decimal
from typing import Any

from scalpdesk.core.units import SATOSHI, number_text, rounded_text
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.monitor.answers import Piece
from scalpdesk.portfolio.gamma_verdict import GammaVerdict, LossBySource

_COIN_PLACES = -int(SATOSHI.as_tuple().exponent)


def places(value: float | Decimal) -> int:
    """Return the decimals of an amount: two, and eight for one that was rounded to a coin's smallest unit."""
    is_coin = isinstance(value, Decimal) and value.as_tuple().exponent == -_COIN_PLACES
    return _COIN_PLACES if is_coin else 2


def signed(value: float | Decimal | None, decimals: int | None = None) -> str | None:
    """Return an amount with its sign; zero without one.

    >>> signed(-1234.5), signed(0.001), signed(Decimal("2.5"), 1), signed(Decimal("-0.00662942"))
    ('−1,234.50', '0.00', '+2.5', '−0.00662942')
    """
    if value is None or not math.isfinite(value):
        return None
    decimals = places(value) if decimals is None else decimals
    text = rounded_text(value, decimals, "+,")
    return text[1:] if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def plain(value: float | Decimal | None, decimals: int | None = None) -> str | None:
    """Return a figure without a sign unless it is negative."""
    if value is None or not math.isfinite(value):
        return None
    decimals = places(value) if decimals is None else decimals
    return rounded_text(value, decimals).replace("-", "−")


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


def clock(ts_ns: int) -> str:
    """Return a New York time of day."""
    return f"{to_new_york(ts_ns):%H:%M:%S}"


def day_of(ts_ns: int) -> str:
    """Return the date in New York."""
    return f"{to_new_york(ts_ns):%Y-%m-%d}"


def tone(value: float | Decimal | None) -> str:
    """Return ``up``, ``down`` or ``muted`` by the sign of an amount, what is shown as zero being neither."""
    if value is None or abs(float(value)) < 0.5 * 10.0 ** -places(value):
        return "muted"
    return "up" if value > 0 else "down"


def part_label(name: str) -> str:
    """Return a part of the P&L as a heading: ``Higher order``."""
    return name.replace("_", " ").capitalize()


def loss_pieces(loss: LossBySource) -> list[Piece]:
    """Return a loss and where it came from as pieces of text with their tone."""
    (lost, amount), *causes = loss.words()
    pieces: list[Piece] = [{"text": lost.capitalize()}, {"text": plain(amount) or "·", "tone": "down"}]
    for words, share in causes:
        pieces += [{"text": words}, {"text": signed(share) or "·", "tone": tone(share)}]
    return [*pieces, {"text": ". "}]


def verdict_pieces(verdict: GammaVerdict) -> list[Piece]:
    """Return the answer to "is gamma paying?" as pieces of text with their tone."""
    answer = "No" if not verdict.is_paying else "Yes" if verdict.all_in > 0 else "Yes, before entry and exit"
    words = [f"{answer}: net ", " of gamma ", ", theta ", " and hedging "]
    words += [". Entry and exit ", ", which leaves "]
    amounts = (verdict.net, verdict.gamma, verdict.theta, verdict.hedging, verdict.entry_exit, verdict.all_in)
    shown = [(signed(amount), tone(amount)) for amount in amounts]
    realised, implied = per_cent(verdict.realised_vol), per_cent(verdict.implied_vol)
    if realised and implied:
        words += [". Realised ", " against implied "]
        shown += [(realised, "strong"), (implied, "strong")]
    pieces: list[Piece] = []
    for text, (figure, colour) in zip(words, shown, strict=True):
        pieces += [{"text": text}, {"text": figure or "·", "tone": colour}]
    return [*pieces, {"text": "."}]


def leg_label(instrument: Any) -> str:
    """Return an instrument as a trader names it: ``SPY 281 call``."""
    if not instrument.is_option:
        return f"{instrument.symbol} shares" if instrument.is_share else str(instrument.symbol)
    return (
        f"{instrument.underlying} {number_text(instrument.strike)} {'call' if instrument.is_call else 'put'}"
    )
