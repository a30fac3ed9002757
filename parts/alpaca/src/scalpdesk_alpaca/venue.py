"""Alpaca as a venue: settings, fees, order cut-off, and the gateway that they build."""

from scalpdesk.instruments.broker_terms import ALPACA_TERMS
from scalpdesk.venues.contract import AccountFacts, EmergencyGateway, VenueSetup, VenueSpec
from scalpdesk_alpaca.settings import AlpacaSettings


def build(setup: VenueSetup, settings: AlpacaSettings) -> EmergencyGateway:
    """Return the gateway to Alpaca, or to a simulated exchange at ``setup.url`` in its place."""
    from scalpdesk_alpaca.gateway import build_gateway

    return build_gateway(setup, settings)


async def live_account(setup: VenueSetup, settings: AlpacaSettings) -> AccountFacts:
    """Return the live account of the keys; see :func:`scalpdesk_alpaca.gateway.live_account`."""
    from scalpdesk_alpaca.gateway import live_account as ask

    del settings
    return await ask(*setup.account_keys())


VENUE = VenueSpec(
    name="alpaca",
    build=build,
    settings=AlpacaSettings,
    other_keys=(("st0cka_key", "st0cka_secret"),),
    fees=ALPACA_TERMS.fees,
    cutoff=ALPACA_TERMS.cutoff,
    live_account=live_account,
)
