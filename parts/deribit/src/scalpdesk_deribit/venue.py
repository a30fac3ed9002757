"""Deribit as a venue: fees, order cut-off, and the gateway that they build."""

from scalpdesk.instruments.broker_terms import DERIBIT_TERMS
from scalpdesk.venues.contract import EmergencyGateway, NoSettings, VenueSetup, VenueSpec


def build(setup: VenueSetup, settings: NoSettings) -> EmergencyGateway:
    """Return the gateway to Deribit, or to a simulated exchange at ``setup.url`` in its place."""
    from scalpdesk_deribit.gateway import build_gateway

    del settings
    return build_gateway(setup)


VENUE = VenueSpec(
    name="deribit",
    build=build,
    settings=NoSettings,
    fees=DERIBIT_TERMS.fees,
    cutoff=DERIBIT_TERMS.cutoff,
)
