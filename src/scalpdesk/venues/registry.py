"""Venues by name: the product's own packages, and installed packages under the entry point group."""

from typing import Any

from scalpdesk.core.sockets import VENUES
from scalpdesk.venues.contract import VenueSpec

DEFAULT_VENUE = "alpaca"
"""Venue of ``arm``, ``disarm`` and ``run --live``, and of the quotes at which the sandbox fills."""


def venue_names() -> tuple[str, ...]:
    """Return the names of venues, sorted; also those of the project's parts that are yet to be installed."""
    return tuple(sorted({*VENUES.names(), *VENUES.parts}))


def find_venue(name: str) -> VenueSpec[Any]:
    """Return a venue by its name: ``VENUE`` of its package's module ``venue``, or of its entry point.

    Raises ConfigError when the name is unknown (names the nearest), or a package's entry point is not a
    VenueSpec.
    """
    return VENUES.find_spec(VenueSpec, name)
