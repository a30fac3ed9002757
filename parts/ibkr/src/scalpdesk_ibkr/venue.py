"""Interactive Brokers as a venue: settings, fees, order cut-off, and the gateway that they build."""

from scalpdesk.instruments.broker_terms import IBKR_TERMS
from scalpdesk.venues.contract import AccountFacts, EmergencyGateway, VenueSetup, VenueSpec
from scalpdesk_ibkr.settings import IbkrSettings


def build(setup: VenueSetup, settings: IbkrSettings) -> EmergencyGateway:
    """Return the gateway to TWS, or to a simulated exchange at ``setup.url`` in its place."""
    from scalpdesk_ibkr.gateway import build_gateway

    return build_gateway(setup, settings)


async def live_account(setup: VenueSetup, settings: IbkrSettings) -> AccountFacts:
    """Return the account with real money; see :func:`scalpdesk_ibkr.gateway.live_account`."""
    from scalpdesk_ibkr.gateway import live_account as ask

    return await ask(setup, settings)


VENUE = VenueSpec(
    name="ibkr",
    build=build,
    settings=IbkrSettings,
    needs_keys=False,
    fees=IBKR_TERMS.fees,
    other_fees=IBKR_TERMS.other_fees,
    cutoff=IBKR_TERMS.cutoff,
    live_account=live_account,
)
