"""Settlement of expired options: exercise and assignment into shares, cash, or nothing."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.units import CENT, SATOSHI, ZERO, InstrumentId
from scalpdesk.instruments.contract import Instrument, OptionContract, Settlement
from scalpdesk.instruments.deribit import PLACES
from scalpdesk.instruments.fees import NO_FEES, FeeModel

MEAN_MINUTES = 30
"""Before its end: an option on a coin settles at the mean of the index over them (Deribit)."""


def delivery(
    contract: OptionContract,
    option_id: InstrumentId,
    share_id: InstrumentId,
    held: Decimal,
    at_ns: int,
    known_ns: int,
    label: str = "",
) -> list[PositionChanged]:
    """Return the changes of an exercise (``held`` above 0) or assignment: contracts out, shares in.

    ``label`` begins their references; at the expiry it is the contract's.
    """
    signed = held * (1 if contract.is_call else -1)
    shares, paid = signed * contract.deliverable, signed * contract.multiplier * contract.strike
    cause = ChangeCause.EXERCISE if held > 0 else ChangeCause.ASSIGNMENT
    label = label or f"expiry-{contract.symbol}"
    return [
        PositionChanged(option_id, at_ns, known_ns, cause, -held, ZERO, ZERO, label),
        PositionChanged(
            share_id,
            at_ns,
            known_ns,
            ChangeCause.DELIVERY,
            shares,
            contract.strike,
            -paid,
            f"{label}-delivery",
        ),
    ]


def lapse(
    contract: OptionContract,
    option_id: InstrumentId,
    held: Decimal,
    at_ns: int,
    known_ns: int,
    label: str = "",
) -> list[PositionChanged]:
    """Return the change that ends a position for nothing; ``label`` is its reference."""
    label, cause = label or f"expiry-{contract.symbol}", ChangeCause.EXPIRED_WORTHLESS
    return [PositionChanged(option_id, at_ns, known_ns, cause, -held, ZERO, ZERO, label)]


def settle_option(
    contract: OptionContract,
    option_id: InstrumentId,
    share_id: InstrumentId,
    held: Decimal,
    level: Decimal,
    at_ns: int,
    known_ns: int | None = None,
    fees: FeeModel = NO_FEES,
) -> list[PositionChanged]:
    """Return the changes that end a position of ``held`` contracts (signed) at ``level``.

    In the money by a cent or more is exercised by the clearing house (OCC rule 805, exercise by
    exception). Physical: shares change hands at the strike. Cash: the intrinsic value is paid. An inverse
    option pays it in coin at ``level``, however small, less the fee of its delivery.

    ``contract``: The expiring option.
    ``option_id``, ``share_id``: Numbers of the option and of its underlying.
    ``level``: Settlement level of the underlying, currency per unit.
    ``at_ns``, ``known_ns``: The expiry instant, and when the level became known, UTC nanoseconds; None for
    the same.
    """
    known_ns = at_ns if known_ns is None else known_ns
    intrinsic = level - contract.strike if contract.is_call else contract.strike - level
    least = CENT
    if contract.settlement is Settlement.CASH_MEAN:
        least = SATOSHI
        intrinsic = intrinsic / level if contract.is_inverse else intrinsic
    if intrinsic < least:
        return lapse(contract, option_id, held, at_ns, known_ns)
    if not contract.delivers:
        cash = round(held * contract.multiplier * intrinsic, PLACES)
        # in one change, as the venue's log has it: a reader counts what a trade came to when it ends
        cash -= round(
            fees.on(contract.expiry).delivery(contract, intrinsic) * abs(held) * contract.multiplier, PLACES
        )
        label, cause = f"expiry-{contract.symbol}", ChangeCause.CASH_SETTLEMENT
        return [PositionChanged(option_id, at_ns, known_ns, cause, -held, intrinsic, cash, label)]
    return delivery(contract, option_id, share_id, held, at_ns, known_ns)


def delivers_nothing(held: Iterable[tuple[Instrument, Decimal]], spot: float | None, day: date) -> bool:
    """Return whether options all end on a day in the money at ``spot``, and deliver to one another.

    ``held``: Signed contracts of each.
    """
    units = ZERO
    for option, quantity in held:
        if not option.is_option or option.expiry != day or spot is None or not option.payoff(spot) > 0.0:
            return False
        units += quantity * option.deliverable * (1 if option.is_call else -1)
    return not units
