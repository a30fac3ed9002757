"""Interactive Brokers as a venue: settings, fees, order cut-off, and the gateway that they build."""

from scalpdesk.instruments.fees import IBKR_FEES
from scalpdesk.venues.contract import EmergencyGateway, VenueSetup, VenueSpec
from scalpdesk.venues.ibkr.settings import IbkrSettings

MOST_QUOTES = 100
"""Market data lines of an account that pays for no more."""


def build(setup: VenueSetup, settings: IbkrSettings) -> EmergencyGateway:
    """Return the gateway to TWS, or to a simulated exchange at ``setup.url`` in its place."""
    from scalpdesk.venues.ibkr.gateway import build_gateway  # needs the extra "ibkr"

    return build_gateway(setup, settings)


VENUE = VenueSpec(
    name="ibkr",
    build=build,
    settings=IbkrSettings,
    needs_keys=False,
    fees=IBKR_FEES,
    most_quotes=MOST_QUOTES,
)
