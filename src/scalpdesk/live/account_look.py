"""A look at an account whose desk does not run: what became of it since. No order is sent."""

import asyncio
from typing import NamedTuple

from scalpdesk.core.clock import Clock
from scalpdesk.core.errors import RetryError
from scalpdesk.core.units import DAY_NS
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.live.assembly import venue_gateway
from scalpdesk.live.differences import Differences
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.reconciler import account_since
from scalpdesk.live.recovery import known_orders
from scalpdesk.venues.contract import VenueView

LOOK_SECONDS = 20.0
"""Longest wait for a venue to show an account."""


class AccountLook(NamedTuple):
    """An account as the venue shows it, and what of it the books of its last desk do not have."""

    view: VenueView
    found: Differences


async def look_at_account(
    plan: LivePlan, engine: TradingEngine, clock: Clock, seconds: float = LOOK_SECONDS
) -> AccountLook:
    """Ask the venue for an account, and compare it with the books of its last desk.

    ``engine``: As the journal left it.
    Raises RetryError when the venue does not answer in time. Raises ConfigError for keys that it does not
    take, and for real money that is not armed.
    """
    gateway = venue_gateway(plan, engine.desk.instruments, clock, data_only=True)
    since_ns = engine.now_ns - DAY_NS  # what was taken back may be an execution of hours before
    try:
        async with asyncio.timeout(seconds):
            await gateway.connect(known_orders(engine))
            view = await gateway.snapshot(fills_since_ns=since_ns)
    except TimeoutError:
        raise RetryError(
            f"the venue has not shown the account within {seconds:g} s",
            where=plan.venue,
            fix="look again in a moment; scalpdesk doctor checks keys and clock",
        ) from None
    finally:
        await gateway.close()
    return AccountLook(view, account_since(engine, view, since_ns))
