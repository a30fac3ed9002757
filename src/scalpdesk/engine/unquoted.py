"""The part of an account's value that stands on no quote: what is lost, or quoted without a price."""

from decimal import Decimal
from typing import NamedTuple

from scalpdesk.core.units import ZERO, exact
from scalpdesk.engine.desk import Desk
from scalpdesk.instruments.contract import underlying_of
from scalpdesk.marketdata.quotes import TRADABLE
from scalpdesk.marketdata.state import moved_unasked
from scalpdesk.portfolio.positions import exact_price


class _OnModel(NamedTuple):
    """Part of a net asset value that stands on no quote."""

    symbols: tuple[str, ...]
    worth: Decimal
    """Value of these options at the model, and of the others at their last two-sided quotes, in currency."""
    least: Decimal
    most: Decimal
    """``least``, ``most``: What they may be worth at the least, and at the most."""
    since_ns: int
    """When the first of them was last shown by a quote, UTC nanoseconds."""


def on_model(desk: Desk, now_ns: int) -> _OnModel | None:
    """Return what no quote shows of what is held; None where quotes show all of it."""
    symbols, worth, least, most, since_ns = list[str](), ZERO, ZERO, ZERO, now_ns
    held = desk.positions.held()
    for symbol in sorted({underlying_of(position.instrument) for position in held}):
        if symbol not in desk.instruments:
            continue
        number = desk.instruments.id_of(symbol)
        quote, position = desk.market.quotes[number], desk.positions.positions.get(number)
        if quote is None or desk.market.verdict(number, 0) in TRADABLE:  # however old it is
            continue
        if position is not None and position.quantity:
            by = moved_unasked(quote, now_ns)
            ends = [position.value(exact_price(quote.mid * factor)) for factor in (1.0, 1.0 - by, 1.0 + by)]
            worth, least, most = worth + ends[0], least + min(ends), most + max(ends)
        symbols.append(symbol)
        since_ns = min(since_ns, quote.ts_event_ns)
    for position in held:
        if not position.instrument.is_option:
            continue
        value = desk.delta_engine.state(position.instrument_id, now_ns)
        if value is None or not value.is_modelled:
            continue
        units = position.quantity * position.multiplier
        below, above = desk.doubt(position.instrument_id, value)
        own = units * exact(value.mark)
        worth, least, most = worth + own, least + own - below, most + own + above
        symbols.append(position.instrument.symbol)
        since_ns = min(since_ns, value.since_ns)
    return _OnModel(tuple(symbols), worth, least, most, since_ns) if symbols else None
