"""What an expiring option turns into.

In the money by a cent or more is exercised by the clearing house (OCC rule 805, exercise by
exception). Physical: shares change hands at the strike. Cash: the intrinsic value is paid.
"""

from decimal import Decimal

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.units import CENT, InstrumentId
from scalpdesk.instruments.contract import OptionContract, Settlement

ZERO = Decimal(0)


def settle_option(
    contract: OptionContract,
    option_id: InstrumentId,
    share_id: InstrumentId,
    held: Decimal,
    level: Decimal,
    now_ns: int,
) -> list[PositionChanged]:
    """Return the changes that end a position of ``held`` contracts (signed) at ``level``.

    Parameters
    ----------
    contract
        The expiring option.
    option_id, share_id
        Numbers of the option and of its underlying.
    level
        Settlement level of the underlying, currency per unit.
    now_ns
        The expiry instant, UTC nanoseconds.
    """
    intrinsic = level - contract.strike if contract.is_call else contract.strike - level
    label = f"expiry-{contract.symbol}"
    if intrinsic < CENT:
        return [
            PositionChanged(
                option_id, now_ns, now_ns, ChangeCause.EXPIRED_WORTHLESS, -held, ZERO, ZERO, label
            )
        ]
    if contract.settlement is not Settlement.PHYSICAL:
        cash = held * contract.multiplier * intrinsic
        return [
            PositionChanged(
                option_id, now_ns, now_ns, ChangeCause.CASH_SETTLEMENT, -held, intrinsic, cash, label
            )
        ]
    shares = held * contract.multiplier * (1 if contract.is_call else -1)
    cause = ChangeCause.EXERCISE if held > 0 else ChangeCause.ASSIGNMENT
    return [
        PositionChanged(option_id, now_ns, now_ns, cause, -held, ZERO, ZERO, label),
        PositionChanged(
            share_id,
            now_ns,
            now_ns,
            ChangeCause.DELIVERY,
            shares,
            contract.strike,
            -shares * contract.strike,
            f"{label}-delivery",
        ),
    ]
