"""Venues by name: the product's own packages, and installed ones under the entry point group."""

from pkgutil import iter_modules

import scalpdesk.venues
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.plugins import Plugs
from scalpdesk.venues.contract import VenueSpec

VENUES = Plugs(
    "venue",
    "--venue",
    "scalpdesk.venues",
    {
        module.name: f"scalpdesk.venues.{module.name}.gateway:VENUE"
        for module in iter_modules(scalpdesk.venues.__path__)
        if module.ispkg
    },
)


def venue_names() -> tuple[str, ...]:
    """Return the names of the venues that orders can be sent to, sorted."""
    return VENUES.names()


def find_venue(name: str) -> VenueSpec:
    """Return a venue by its name: ``VENUE`` of its package's ``gateway``, or what its entry point names.

    Raises
    ------
    ConfigError
        When there is none (names the nearest), or what a package brings is none.
    """
    venue = VENUES.find(name)
    if not isinstance(venue, VenueSpec):
        raise ConfigError(
            "what the package brings is no VenueSpec",
            where=f"entry point {name} of {VENUES.group}",
            value=type(venue).__qualname__,
            fix=f'name VENUE = VenueSpec(name="{name}", build=…), as docs/howto/add_a_venue.md has it',
        )
    return venue
