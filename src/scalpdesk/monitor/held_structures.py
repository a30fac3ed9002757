"""Held options in words, and the P&L that they have by themselves: today, and at their nearest expiry."""

import math
from collections.abc import Iterator, Sequence

from scalpdesk.instruments.contract import underlying_of
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.monitor import answers
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.held_book import book_of
from scalpdesk.monitor.texts import leg_label, signed
from scalpdesk.portfolio.positions import Position
from scalpdesk.report.trade_words import HeldOptions

_LEAST_REACH = 0.04
"""The curve reaches at least so far to each side of the spot, a fraction."""
_STEPS = 120
"""Steps of the curve, beside strikes and break-evens."""


class _Structure:
    """The held options of one underlying."""

    def __init__(self, follower: RunFollower, underlying: str, held: Sequence[Position]) -> None:
        self.underlying, self.held = underlying, held
        desk = follower.desk
        self.spot = desk.market.mark(desk.instruments.id_of(underlying))
        legs = [
            (each.instrument, each.quantity, each.average_price) for each in held if each.instrument.is_option
        ]
        valuations = [follower.value(each.instrument_id) for each in held]
        vols = [math.nan if each is None else each.vol or math.nan for each in valuations]
        self.holding = HeldOptions(legs, follower.now_ns, self.spot, vols)
        self.open_pnl = sum(_open_pnl(follower, each) for each in held)


def _open_pnl(follower: RunFollower, position: Position) -> float:
    """Return what a position has earned at its mark; NaN without one."""
    mark = follower.desk.delta_engine.mark(position.instrument_id)
    if mark is None:
        return math.nan
    units = float(position.quantity) * position.multiplier
    return sum(position.instrument.earned(units, float(position.average_price), mark))


def held_structures(follower: RunFollower) -> list[answers.HeldStructure]:
    """Return the held options by underlying, the desk's own first."""
    return [_shown(follower, each) for each in _held(follower)]


def held_beside(follower: RunFollower) -> str:
    """Return what is held beside options, in a sentence; empty where nothing is."""
    held = follower.desk.positions.held()
    beside = [each for each in held if not each.instrument.is_option]
    if not beside:
        return ""
    listed = ", ".join(
        f"{signed(each.quantity, _places(each))} {leg_label(each.instrument)}" for each in beside
    )
    return f"Hedged with {listed}." if len(beside) < len(held) else f"Held: {listed}."


def structure_curves(follower: RunFollower) -> list[answers.StructureCurve]:
    """Return the P&L of the held options by spot since they were opened; none of legs without a price."""
    return list(_curves(follower))


def _held(follower: RunFollower) -> list[_Structure]:
    by_underlying: dict[str, list[Position]] = {}
    for position in follower.desk.positions.held():
        if position.instrument.is_option:
            by_underlying.setdefault(underlying_of(position.instrument), []).append(position)
    main = follower.desk.instruments[follower.desk.view.underlying].symbol
    names = sorted(by_underlying, key=lambda each: (each != main, each))
    return [_Structure(follower, name, sorted(by_underlying[name], key=_place)) for name in names]


def _place(position: Position) -> tuple[int, float, bool]:
    contract = position.instrument
    assert contract.is_option
    return expiry_instant_ns(contract), float(contract.strike), not contract.is_call


def _shown(follower: RunFollower, each: _Structure) -> answers.HeldStructure:
    holding = each.holding
    outlook: answers.StructureOutlook | None = None
    if holding.outlook is not None:
        outlook = {
            "earns": [list(between) for between in holding.outlook.earns],
            "break_evens": holding.break_evens,
            "most_loss": holding.outlook.most_loss,
            "most_gain": holding.outlook.most_gain,
            "chance": holding.outlook.chance,
            "is_exact": holding.outlook.is_exact,
        }
    return {
        "underlying": each.underlying,
        "words": holding.words,
        "cash": f"{follower.money(holding.cash):f}",
        "open_pnl": follower.amount(each.open_pnl),
        "spot": each.spot,
        "strikes": holding.strikes,
        "outlook": outlook,
    }


def _curves(follower: RunFollower) -> Iterator[answers.StructureCurve]:
    now_ns, main = follower.now_ns, follower.desk.instruments[follower.desk.view.underlying].symbol
    for each in _held(follower):
        spot, holding = each.spot, each.holding
        holdings = {position.instrument_id: position.quantity for position in each.held}
        book = book_of(follower, holdings, (now_ns, now_ns, now_ns))
        if book is None or spot is None or holding.outlook is None or not math.isfinite(each.open_pnl):
            continue
        bends = [*holding.strikes, *holding.break_evens, spot]
        reach = max(max(bends) - spot, spot - min(bends)) * 1.25
        reach = min(max(reach, _LEAST_REACH * spot), 0.9 * spot)
        steps = (spot + reach * (2.0 * step / _STEPS - 1.0) for step in range(_STEPS + 1))
        spots = sorted({*steps, *(bend for bend in bends if abs(bend - spot) <= reach)})
        moves = [price / spot - 1.0 for price in spots]
        opened = follower.opened if each.underlying == main else None
        yield {
            "underlying": each.underlying,
            "spots": spots,
            "today": (each.open_pnl + book.ladder(moves, (0.0,))[:, 0]).tolist(),
            "expiry": holding.at_expiry(spots),
            "entry_spot": None if opened is None else opened[1],
        }


def _places(position: Position) -> int:
    """Return the decimals that a quantity has."""
    return max(-int(position.quantity.normalize().as_tuple().exponent), 0)
