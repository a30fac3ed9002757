"""Interactive Brokers as a venue: settings, fees, order cut-off, and the gateway that they build."""

from scalpdesk.instruments.deadlines import CAUTIOUS
from scalpdesk.instruments.fees import IBKR_FEES, IBKR_TIERED_FEES
from scalpdesk.venues.contract import AccountFacts, EmergencyGateway, VenueSetup, VenueSpec
from scalpdesk.venues.ibkr.settings import IbkrSettings


def build(setup: VenueSetup, settings: IbkrSettings) -> EmergencyGateway:
    """Return the gateway to TWS, or to a simulated exchange at ``setup.url`` in its place."""
    from scalpdesk.venues.ibkr.gateway import build_gateway  # needs the extra "ibkr"

    return build_gateway(setup, settings)


async def live_account(setup: VenueSetup, settings: IbkrSettings) -> AccountFacts:
    """Return the account with real money; see :func:`scalpdesk.venues.ibkr.gateway.live_account`."""
    from scalpdesk.venues.ibkr.gateway import live_account as ask

    return await ask(setup, settings)


VENUE = VenueSpec(
    name="ibkr",
    build=build,
    settings=IbkrSettings,
    needs_keys=False,
    fees=IBKR_FEES,
    other_fees={"tiered": IBKR_TIERED_FEES},
    cutoff=CAUTIOUS,
    live_account=live_account,
)
