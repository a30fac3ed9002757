"""Venues by name: the product's own packages, and installed packages under the entry point group."""

from pkgutil import iter_modules
from typing import Any

import scalpdesk.venues
from scalpdesk.core.plugins import Plugs
from scalpdesk.venues.contract import VenueSpec

DEFAULT_VENUE = "alpaca"
"""Venue of ``arm``, ``disarm`` and ``run --live``, and of the quotes at which the sandbox fills."""
VENUES = Plugs(
    "venue",
    "--venue",
    "scalpdesk.venues",
    {
        module.name: f"scalpdesk.venues.{module.name}.venue:VENUE"
        for module in iter_modules(scalpdesk.venues.__path__)
        if module.ispkg
    },
)


def venue_names() -> tuple[str, ...]:
    """Return the names of the venues that orders can be sent to, sorted."""
    return VENUES.names()


def find_venue(name: str) -> VenueSpec[Any]:
    """Return a venue by its name: ``VENUE`` of its package's module ``venue``, or of its entry point.

    Raises
    ------
    ConfigError
        When the name is unknown (names the nearest), or a package's entry point is not a VenueSpec.
    """
    return VENUES.find_spec(VenueSpec, name, "add_a_venue.md")
