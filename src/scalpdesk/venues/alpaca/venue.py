"""Alpaca as a venue: settings, fees, order cut-off, and the gateway that they build."""

from scalpdesk.instruments.deadlines import ALPACA_CUTOFF
from scalpdesk.instruments.fees import ALPACA_FEES
from scalpdesk.venues.alpaca.settings import AlpacaSettings
from scalpdesk.venues.contract import AccountFacts, EmergencyGateway, VenueSetup, VenueSpec


def build(setup: VenueSetup, settings: AlpacaSettings) -> EmergencyGateway:
    """Return the gateway to Alpaca, or to a simulated exchange at ``setup.url`` in its place."""
    from scalpdesk.venues.alpaca.gateway import build_gateway  # needs the extra "alpaca"

    return build_gateway(setup, settings)


async def live_account(setup: VenueSetup, settings: AlpacaSettings) -> AccountFacts:
    """Return the live account of the keys; see :func:`scalpdesk.venues.alpaca.gateway.live_account`."""
    from scalpdesk.venues.alpaca.gateway import live_account as ask

    del settings
    return await ask(*setup.account_keys())


VENUE = VenueSpec(
    name="alpaca",
    build=build,
    settings=AlpacaSettings,
    fees=ALPACA_FEES,
    cutoff=ALPACA_CUTOFF,
    live_account=live_account,
)
