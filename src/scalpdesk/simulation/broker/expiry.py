"""The last hours of a contract: when orders are refused, when the broker closes it, what it turns into."""

from dataclasses import dataclass
from decimal import Decimal

from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract, Settlement
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.simulation.broker.accounts import BrokerAccount

BROAD_FUNDS = frozenset({"SPY", "QQQ", "IWM", "DIA"})
"""Funds on broad indices: their expiring contracts may be traded a little longer."""
MINUTE_NS = 60 * NANOS_PER_SECOND
CUTOFF_MINUTES, CUTOFF_MINUTES_FUNDS = 45, 30
LIQUIDATION_MINUTES, LIQUIDATION_MINUTES_FUNDS = 30, 15


def order_cutoff_ns(contract: OptionContract) -> int:
    """Return from when on orders in an expiring contract are refused, UTC nanoseconds.

    45 minutes before its end, 30 for funds on broad indices.
    """
    minutes = CUTOFF_MINUTES_FUNDS if contract.underlying in BROAD_FUNDS else CUTOFF_MINUTES
    return expiry_instant_ns(contract) - minutes * MINUTE_NS


def liquidation_ns(contract: OptionContract) -> int:
    """Return from when on the broker closes expiring positions that it cannot let be exercised."""
    minutes = LIQUIDATION_MINUTES_FUNDS if contract.underlying in BROAD_FUNDS else LIQUIDATION_MINUTES
    return expiry_instant_ns(contract) - minutes * MINUTE_NS


@dataclass(frozen=True, slots=True)
class Delivery:
    """Units and cash that an expiring holding turns into."""

    kind: str
    """``OPEXP`` worthless, ``OPEXC`` exercise, ``OPASN`` assignment, ``OPCSH`` cash settlement."""
    share_id: InstrumentId | None
    shares: Decimal
    cash: Decimal


def delivery_of(
    contract: OptionContract, instruments: Instruments, held: Decimal, level: Decimal
) -> Delivery:
    """Return what ``held`` contracts (signed) turn into at ``level``, currency per unit.

    In the money by a cent or more is exercised (OCC rule 805).
    """
    intrinsic = level - contract.strike if contract.is_call else contract.strike - level
    if intrinsic < Decimal("0.01"):
        return Delivery("OPEXP", None, Decimal(0), Decimal(0))
    if contract.settlement is not Settlement.PHYSICAL:
        return Delivery("OPCSH", None, Decimal(0), held * contract.multiplier * intrinsic)
    shares = held * contract.multiplier * (1 if contract.is_call else -1)
    kind = "OPEXC" if held > 0 else "OPASN"
    return Delivery(kind, instruments.id_of(contract.underlying), shares, -shares * contract.strike)


def can_take_delivery(
    account: BrokerAccount, contract: OptionContract, instruments: Instruments, power: Decimal
) -> bool:
    """Return whether the account could pay for (or deliver) the shares of its expiring holding."""
    held = account.quantity(instruments.id_of(contract.symbol))
    if contract.settlement is not Settlement.PHYSICAL or not held:
        return True
    shares = held * contract.multiplier * (1 if contract.is_call else -1)
    owned = account.quantity(instruments.id_of(contract.underlying))
    exposed = shares if owned * shares >= 0 else max(abs(shares) - abs(owned), Decimal(0))
    return abs(exposed) * contract.strike <= power
