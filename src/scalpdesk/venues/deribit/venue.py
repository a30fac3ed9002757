"""Deribit as a venue: fees, order cut-off, and the gateway that they build."""

from scalpdesk.instruments.deadlines import NO_CUTOFF
from scalpdesk.instruments.deribit import DERIBIT_FEES
from scalpdesk.venues.contract import EmergencyGateway, NoSettings, VenueSetup, VenueSpec


def build(setup: VenueSetup, settings: NoSettings) -> EmergencyGateway:
    """Return the gateway to Deribit, or to a simulated exchange at ``setup.url`` in its place."""
    from scalpdesk.venues.deribit.gateway import build_gateway  # needs the extra "deribit"

    del settings
    return build_gateway(setup)


VENUE = VenueSpec(name="deribit", build=build, settings=NoSettings, fees=DERIBIT_FEES, cutoff=NO_CUTOFF)
