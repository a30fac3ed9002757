"""What brokers charge and until when they take orders, by name: a simulated account has the terms of one.

Those of an installed venue are its spec's. The brokers of :data:`KNOWN` can be simulated without the
package that trades there.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.core.sockets import VENUES
from scalpdesk.instruments.deadlines import ALPACA_CUTOFF, CAUTIOUS, NO_CUTOFF, VenueCutoff
from scalpdesk.instruments.deribit import DERIBIT_FEES
from scalpdesk.instruments.fees import ALPACA_FEES, IBKR_FEES, IBKR_TIERED_FEES, NO_FEES, FeeModel


class Terms(Protocol):
    """Terms of a broker; a venue's spec has them."""

    @property
    def fees(self) -> FeeModel:
        """Its schedule of fees."""
        ...

    @property
    def other_fees(self) -> Mapping[str, FeeModel]:
        """Schedules of its other price plans, by name."""
        ...

    @property
    def cutoff(self) -> VenueCutoff:
        """Its last orders in expiring options."""
        ...


@dataclass(frozen=True, slots=True)
class _BrokerTerms:
    """Terms of a broker that is simulated, or traded by a package of its own."""

    fees: FeeModel
    cutoff: VenueCutoff = CAUTIOUS
    other_fees: Mapping[str, FeeModel] = field(default_factory=dict)


ALPACA_TERMS = _BrokerTerms(ALPACA_FEES, ALPACA_CUTOFF)
DERIBIT_TERMS = _BrokerTerms(DERIBIT_FEES, NO_CUTOFF)
IBKR_TERMS = _BrokerTerms(IBKR_FEES, other_fees={"tiered": IBKR_TIERED_FEES})
KNOWN: Mapping[str, _BrokerTerms] = {
    "alpaca": ALPACA_TERMS,
    "deribit": DERIBIT_TERMS,
    "ibkr": IBKR_TERMS,
}

_WITHOUT_CUTOFF = ("none", "simulated")
"""Venues without terms of their own that take orders until the contract's end."""
_IN_PROCESS = {"sandbox": "alpaca", "paper": "alpaca"}
"""Venue whose cut-off counts for fills in this process; ``paper`` is the former name of ``sandbox``."""


def _brokers() -> tuple[str, ...]:
    return tuple(sorted({*KNOWN, *VENUES.names()}))


def _terms_of(name: str) -> Terms:
    """Return the terms of a broker.

    Raises ConfigError when it is neither known nor the venue of a package, or its package is refused.
    """
    installed: Terms = VENUES.find(name) if name not in KNOWN or name in VENUES.names() else KNOWN[name]
    return installed


def _known_terms() -> Iterator[tuple[str, Terms]]:
    for name in _brokers():
        with suppress(ConfigError):  # a package's venue that is refused charges nothing
            yield name, _terms_of(name)


def fee_names() -> tuple[str, ...]:
    """Return the names of fee schedules, ``none`` first: each broker's, and its others as ``BROKER_NAME``."""
    plans = ((name, *(f"{name}_{other}" for other in terms.other_fees)) for name, terms in _known_terms())
    return ("none", *(plan for names in plans for plan in names))


def fees_named(name: str, where: str = "simulation.fees") -> FeeModel:
    """Return a fee schedule: ``none``, a broker's by its name, or another one of it as ``BROKER_NAME``.

    Raises ConfigError when there is no such schedule; names the nearest.

    >>> fees_named("ibkr_tiered") is IBKR_TIERED_FEES
    True
    """
    if name == "none":
        return NO_FEES
    broker = max((each for each in _brokers() if f"{name}_".startswith(f"{each}_")), key=len, default="")
    other = name.removeprefix(f"{broker}_")
    terms = _terms_of(broker) if broker else None
    if terms is None or (name != broker and other not in terms.other_fees):
        names = fee_names()
        raise ConfigError(
            "there is no fee schedule of this name",
            where=where,
            value=name,
            nearest=nearest_name(name, names),
            fix=f"use one of {', '.join(names)}",
        )
    return terms.fees if name == broker else terms.other_fees[other]


def charged_fees(venue: str, simulated: str) -> FeeModel:
    """Return the fees of a desk at a venue: its own, in this process those named for the simulation."""
    if venue in _WITHOUT_CUTOFF or venue in _IN_PROCESS:
        return fees_named(simulated)
    try:
        return fees_named(venue)
    except ConfigError:  # a replay needs no package of the venue
        return NO_FEES


def cutoff_names() -> tuple[str, ...]:
    """Return the names of brokers whose order cut-off is known, sorted."""
    return tuple(sorted({*_brokers(), *_WITHOUT_CUTOFF, *_IN_PROCESS}))


def venue_cutoff(venue: str) -> VenueCutoff:
    """Return the order cut-off of a broker, whether it is traded or simulated.

    Raises ConfigError when it is unknown; names the nearest.
    """
    if venue in _WITHOUT_CUTOFF:
        return NO_CUTOFF
    return _cutoff_of(_IN_PROCESS.get(venue, venue))


@lru_cache(maxsize=64)
def _cutoff_of(venue: str) -> VenueCutoff:
    """Return the cut-off of a broker's terms; a strategy asks at every look.

    Raises ConfigError when it is unknown; names the nearest.
    """
    known = cutoff_names()
    if venue not in known:
        raise ConfigError(
            "no order cut-off is known for this venue",
            where="venue",
            value=venue,
            nearest=nearest_name(venue, known),
            fix=f"use one of {', '.join(known)}",
        )
    return _terms_of(venue).cutoff


def known_cutoff(venue: str) -> VenueCutoff:
    """Return the order cut-off of a broker by its name, :data:`CAUTIOUS` for an unknown name."""
    try:
        return venue_cutoff(venue)
    except ConfigError:
        return CAUTIOUS
