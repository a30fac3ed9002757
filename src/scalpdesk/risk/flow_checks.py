"""Checks of the flow of orders: how many, how much, how alike, how often refused."""

from decimal import Decimal

from scalpdesk.core.intents import OrderType, Side
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.risk.context import EXITS, OPENING, OrderContext, Working

ZERO = Decimal(0)
MARKET = OrderType.MARKET


def throttle_has_room(context: OrderContext) -> str | None:
    """Orders and messages of the last minute, and orders at the venue; entries leave a reserve to exits."""
    limits, purpose = context.limits, context.intent.purpose
    kept_back = 0.0
    if purpose in OPENING:
        kept_back = limits.throttle_reserve_fraction
    elif purpose not in EXITS:
        kept_back = 0.5 * limits.throttle_reserve_fraction
    most = limits.max_orders_per_minute
    if context.orders_last_minute >= most - int(most * kept_back):
        return f"{context.orders_last_minute} orders in the last minute, limit {most}"
    if context.tallies is not None:
        cancels = context.tallies.cancels_last_minute(context.now_ns)
        messages, most = context.orders_last_minute + cancels, limits.messages_per_minute
        if messages >= most - int(most * kept_back):
            return f"{messages} orders and cancels in the last minute, limit {most}"
    most = limits.max_live_orders
    if context.live_orders >= most - int(most * kept_back):
        return f"{context.live_orders} orders at the venue, limit {most}"
    return None


def is_no_duplicate(context: OrderContext) -> str | None:
    """An order equal to one that still works, so soon after it, is the same one sent twice."""
    if not context.live_orders:
        return None
    intent = context.intent
    since_ns = context.now_ns - int(context.limits.duplicate_window_seconds * NANOS_PER_SECOND)
    for one in context.book.working():
        if (
            one.created_ns >= since_ns
            and one.instrument_id == intent.instrument_id
            and one.side is intent.side
            and one.quantity == intent.quantity
            and one.purpose is intent.purpose
            and one.limit_price == intent.limit_price
            and one.owner == intent.owner
        ):
            return (
                f"an equal order was sent less than {context.limits.duplicate_window_seconds:g} s ago"
                " and still works (risk.duplicate_window_seconds)"
            )
    return None


def meets_no_own_order(context: OrderContext) -> str | None:
    """No order that could trade with one of the desk's own."""
    if not context.live_orders:
        return None
    intent = context.intent
    for one in context.book.working():
        if (
            one.instrument_id == intent.instrument_id
            and one.side is not intent.side
            and one.leaves > 0
            and _cross(intent.side, intent.limit_price, one)
        ):
            at = "the market" if one.limit_price is None else f"{one.limit_price}"
            return f"would trade with the desk's own order to {one.side.value} {one.leaves} at {at}"
    return None


def _cross(side: Side, limit_price: Decimal | None, other: Working) -> bool:
    """Whether prices of two orders on opposite sides meet; a market order meets every price."""
    if limit_price is None or other.limit_price is None:
        return True
    return limit_price >= other.limit_price if side is Side.BUY else limit_price <= other.limit_price


def moving_size_has_room(context: OrderContext) -> str | None:
    """Quantity ordered within the moving window; exits are not held back."""
    if context.tallies is None or context.intent.purpose in EXITS:
        return None
    limits = context.limits
    is_option = isinstance(context.instrument, OptionContract)
    most = limits.window_contracts if is_option else limits.window_shares
    ordered = context.tallies.ordered_lately(context.now_ns, options=is_option)
    if ordered + context.intent.quantity <= most:
        return None
    unit = "contracts" if is_option else "shares"
    return (
        f"{ordered} {unit} ordered within {limits.size_window_seconds:g} s and {context.intent.quantity} more"
        f" are above the limit of {most} (risk.max_window_{unit})"
    )


def refusals_are_few(context: OrderContext) -> str | None:
    """Nothing new is opened while the venue refuses most of what it is sent."""
    if context.tallies is None or context.intent.purpose not in OPENING:
        return None
    share = context.tallies.refused_share(context.now_ns)
    if share is None or share < context.limits.max_reject_fraction:
        return None
    return (
        f"the venue refused {share:.0%} of the last orders,"
        f" limit {context.limits.max_reject_fraction:.0%} (risk.max_reject_fraction)"
    )
