"""The expiry day of a followed run: figures, and its card on the Position page."""

from scalpdesk.closing.expiry_day import (
    PIN_DEVIATIONS,
    ExpiringLeg,
    ExpiryDay,
    LegAtExpiry,
    Tomorrow,
    expiry_day,
)
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, count_text
from scalpdesk.instruments.deadlines import NOTICE_CUTOFFS
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.monitor import answers
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.texts import leg_label, signed


def expiry_figures(follower: RunFollower, pin_deviations: float = PIN_DEVIATIONS) -> ExpiryDay:
    """Return what of a run's book expires on its present day."""
    desk, legs = follower.desk, list[ExpiringLeg]()
    shares = {}
    for position in desk.positions.held():
        held = position.instrument
        if not held.is_option:
            shares[held.symbol] = position.quantity
            continue
        state, number = follower.value(position.instrument_id), desk.instruments.find(held.underlying)
        spot = None if number is None else desk.market.mark(number)
        mark = desk.delta_engine.mark(position.instrument_id)
        legs.append(
            ExpiringLeg(held, position.quantity, spot, mark, None if state is None else state.vol or None)
        )
    header = follower.header
    return expiry_day(
        legs,
        shares,
        follower.now_ns,
        cutoff=desk.view.cutoff,
        notices=NOTICE_CUTOFFS.get("" if header is None else header.venue, ()),
        pin_deviations=pin_deviations,
    )


def expiry_card(follower: RunFollower) -> answers.ExpiryCard | None:
    """Return the card of an expiry day; None on any other day."""
    found = expiry_figures(follower)
    if not found.legs:
        return None
    nights = {name: each for each in found.tomorrow for name in each.exercised}
    return {
        "legs": [_row(follower, leg, nights.get(leg.symbol)) for leg in found.legs],
        "tomorrow": [tomorrow_text(each) for each in found.tomorrow],
    }


def tomorrow_text(night: Tomorrow) -> str:
    """Return what will be held of an underlying, in a sentence."""
    held = f"{night.underlying}: {signed(night.now, 0)} now"
    if night.by_spot is not None:
        held += f", {signed(night.by_spot, 0)} tomorrow at this price"
    if night.least != night.most:
        held += f"; from {signed(night.least, 0)} to {signed(night.most, 0)} by what is exercised"
    return held + "."


def pin_text(leg: LegAtExpiry) -> str:
    """Return how near the strike the price is, in words."""
    left = count_text(round(leg.minutes), "minute")
    return f"{signed(leg.distance, 1)} standard deviations of the {left} left"


def _row(follower: RunFollower, leg: LegAtExpiry, night: Tomorrow | None) -> answers.ExpiryRow:
    number = follower.desk.instruments.id_of(leg.symbol)
    return {
        "symbol": leg.symbol,
        "label": leg_label(follower.desk.instruments[number]),
        "units": float(leg.units),
        "seconds_left": leg.minutes * MINUTE_NS / NANOS_PER_SECOND,
        "distance": leg.distance,
        "chance": leg.chance,
        "is_pinned": leg.is_pinned,
        "order": f"{to_new_york(leg.order_cutoff_ns):%H:%M} ET",
        "notice": None if leg.notice_ns is None else f"{to_new_york(leg.notice_ns):%H:%M} ET",
        "exercised": follower.amount(leg.exercised),
        "kept": follower.amount(leg.held),
        "shares_if_exercised": None if night is None else float(night.exercised[leg.symbol]),
        "shares_if_not": None if night is None else float(night.not_exercised[leg.symbol]),
    }
