"""The option chain of one underlying, paired: call and put of one expiry and strike."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import InstrumentBook, OptionContract


@dataclass(frozen=True, slots=True)
class StraddlePair:
    """Call and put of one expiry and strike, by their instrument numbers."""

    expiry: date
    strike: Decimal
    call_id: InstrumentId
    put_id: InstrumentId


def options_in_order(
    instruments: InstrumentBook, underlying: str
) -> list[tuple[InstrumentId, OptionContract]]:
    """Return all options on ``underlying`` by expiry, strike and right."""
    found = list(instruments.options(underlying))
    return sorted(
        found, key=lambda item: (item[1].expiry, item[1].strike, item[1].right.value, item[1].symbol)
    )


def straddle_pairs(options: list[tuple[InstrumentId, OptionContract]]) -> list[StraddlePair]:
    """Pair calls with puts of equal root, expiry and strike; what has no partner is left out."""
    calls: dict[tuple[str, date, Decimal], InstrumentId] = {}
    puts: dict[tuple[str, date, Decimal], InstrumentId] = {}
    for number, contract in options:
        key = (contract.root, contract.expiry, contract.strike)
        (calls if contract.is_call else puts)[key] = number
    return [StraddlePair(key[1], key[2], calls[key], puts[key]) for key in sorted(calls.keys() & puts.keys())]
