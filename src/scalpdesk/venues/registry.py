"""Venues by name: the product's own packages, and installed ones under the entry point group."""

from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

import scalpdesk.venues
from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.core.plugins import loaded
from scalpdesk.venues.contract import VenueSpec

ENTRY_POINT_GROUP = "scalpdesk.venues"


def venue_names() -> tuple[str, ...]:
    """Return the names of the venues that orders can be sent to, sorted."""
    own = {module.name for module in iter_modules(scalpdesk.venues.__path__) if module.ispkg}
    return tuple(sorted(own | {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}))


def find_venue(name: str) -> VenueSpec:
    """Return a venue by its name: ``VENUE`` of its package's ``gateway``, or what its entry point names.

    Raises
    ------
    ConfigError
        When there is none (names the nearest), or what a package brings is none.
    """
    for module in iter_modules(scalpdesk.venues.__path__):
        if module.ispkg and module.name == name:
            own: VenueSpec = import_module(f"scalpdesk.venues.{name}.gateway").VENUE
            return own
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        installed = loaded(point)
        if not isinstance(installed, VenueSpec):
            raise ConfigError(
                "what the package brings is no VenueSpec",
                where=f"entry point {name} of {ENTRY_POINT_GROUP}",
                value=type(installed).__qualname__,
                fix=f'name VENUE = VenueSpec(name="{name}", build=…), as docs/howto/add_a_venue.md has it',
            )
        return installed
    known = venue_names()
    raise ConfigError(
        "there is no venue of this name",
        where="--venue",
        value=name,
        nearest=nearest_name(name, known),
        fix=f"use simulated, sandbox, {', '.join(known)}, or install the package that brings it",
    )
