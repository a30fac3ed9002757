"""Codes and labels of TWS, their meaning and the answer of the desk: messages, statuses of orders, zones."""

from enum import StrEnum
from typing import NamedTuple

from scalpdesk.venues.tracker import Outcome
from scalpdesk_ibkr import messages

NAMES = {
    100: "pacing",
    101: "too_many_lines",
    103: "duplicate_order_id",
    104: "modify_of_filled",
    105: "modify_mismatch",
    110: "price_off_tick",
    135: "cancel_of_unknown",
    136: "cancel_refused",
    161: "cancel_too_late",
    162: "history_refused",
    163: "price_beyond_percentage",
    200: "unknown_contract",
    201: "order_rejected",
    202: "order_cancelled",
    203: "security_not_allowed",
    300: "line_not_found",
    321: "invalid_request",
    322: "request_id_in_use",
    326: "client_id_in_use",
    329: "modify_refused",
    354: "no_data_subscription",
    366: "history_not_found",
    387: "order_type_not_served",
    388: "size_below_minimum",
    399: "order_message",
    404: "shares_not_located",
    420: "pacing",
    434: "zero_size",
    460: "no_permission",
    481: "size_reduced",
    492: "order_warning",
    502: "not_connected",
    504: "not_connected",
    507: "socket_broken",
    1100: "broker_link_lost",
    1101: "broker_link_back_data_lost",
    1102: "broker_link_back",
    1300: "port_reset",
    2103: "quote_farm_lost",
    2104: "quote_farm_ok",
    2105: "history_farm_lost",
    2106: "history_farm_ok",
    2107: "history_farm_idle",
    2108: "quote_farm_idle",
    2110: "broker_link_lost",
    2119: "quote_farm_connecting",
    2148: "margin_warning",
    2157: "contract_farm_lost",
    2158: "contract_farm_ok",
    10089: "no_data_subscription",
    10090: "no_data_subscription",
    10147: "cancel_of_unknown",
    10148: "cancel_too_late",
    10167: "delayed_data",
    10168: "no_data_subscription",
    10186: "no_data_subscription",
    10197: "competing_session",
    10225: "line_ended_by_bust",
    10243: "fraction_refused",
    10349: "lifetime_preset",
}
"""Names by code (TWS API, "Message codes"); see also reference/tws_messages, 8."""

ID_IN_USE = 326
PACING = frozenset({100, 420})
LINK_LOST, BACK_DATA_LOST, BACK = frozenset({1100, 2110}), 1101, 1102
FARMS_LOST = {2103: "quotes", 2105: "history", 2157: "contracts"}
FARMS_OK = {2104: "quotes", 2106: "history", 2107: "history", 2108: "quotes", 2158: "contracts"}
OF_CONNECTION = frozenset({ID_IN_USE, 502, 504, 507, 1100, 1300})
"""Errors that may say why a socket ends; no other message does."""
QUIET = frozenset({2119}) | FARMS_OK.keys()
"""Messages of every day that name no request, and that nobody needs to hear. What is not listed is told."""
NO_CANCEL = frozenset({135, 136, 161, 10147, 10148})
"""A cancel that TWS refuses."""
REFUSALS = frozenset({103, 104, 110, 163, 200, 201, 203, 321, 387, 388, 434, 460, 10243})
"""Reasons for which TWS refuses an order. None of them proves that it is over: a change may be meant, and a
refused order has been seen at work. Proof is its absence from the open orders, or ``Inactive`` among them.
"""
NO_EXERCISE = frozenset({200, 201, 320, 321, 322})
"""Reasons for which TWS refuses an exercise or a lapse."""
NO_DATA = frozenset({101, 354, 10089, 10090, 10168, 10186, 10197, 10225})
"""A line that brings nothing."""
DELAYED = 10167
CANCELLED, UNKNOWN_CONTRACT = 202, 200
USED_IDS = frozenset({103, 104})
"""A new order has the id of another one, which is over; 104 where that one was filled."""
_INFORMATION = frozenset({399, 404, 481, 492, 10167, 10349})
"""Remarks on an order or a line that goes on."""
_WARNINGS = range(2100, 2200)
"""Codes of warnings: an order or a line that they name goes on; what they say is told."""


def is_remark(code: int) -> bool:
    """Return whether an error leaves what it names as it is.

    >>> [is_remark(code) for code in (399, 2109, 201)]
    [True, True, False]
    """
    return code in _INFORMATION or code in _WARNINGS


def name_of(code: int) -> str:
    """Return the name of a code; ``tws_1234`` for one without a name.

    >>> name_of(1100), name_of(9)
    ('broker_link_lost', 'tws_9')
    """
    return NAMES.get(code, f"tws_{code}")


def farm_of(text: str) -> str:
    """Return the farm that a message names; empty where it names no farm.

    >>> farm_of("Market data farm connection is OK:usfarm.nj")
    'usfarm.nj'
    >>> farm_of("Market data farm connection is inactive but should be available upon demand.hfarm")
    'hfarm'
    """
    mark = ":" if ":" in text else "demand."
    return text.rpartition(mark)[2].strip()


# statuses of orders -----------------------------------------------------------------------------------------


class Deed(StrEnum):
    """Answer of the desk to a status that comes by itself."""

    WAIT = "wait"
    """TWS may not have handed the order on: it waits for the next message, and asks after the time-out."""
    FOLLOW = "follow"
    """The order is at the broker as the outcome says."""
    ASK = "ask"
    """The status alone proves nothing: the lists of TWS are asked."""


class StatusRule(NamedTuple):
    """Meaning of a status, by the vendor's pages, for an order that TWS lists as open."""

    outcome: Outcome
    deed: Deed


STATUSES = {
    # not sent yet: TWS looks for the contract
    messages.API_PENDING: StatusRule(Outcome.OPEN, Deed.WAIT),
    # sent, and not acknowledged by its destination
    messages.PENDING_SUBMIT: StatusRule(Outcome.OPEN, Deed.WAIT),
    # held by the broker until it is elected
    messages.PRE_SUBMITTED: StatusRule(Outcome.OPEN, Deed.FOLLOW),
    messages.SUBMITTED: StatusRule(Outcome.OPEN, Deed.FOLLOW),
    # a cancel is asked for, and not confirmed: executions may come
    messages.PENDING_CANCEL: StatusRule(Outcome.CANCELLING, Deed.FOLLOW),
    # a cancel was asked for before the order was acknowledged
    messages.API_CANCELLED: StatusRule(Outcome.CANCELLING, Deed.ASK),
    # the broker confirms that the rest is gone
    messages.CANCELLED: StatusRule(Outcome.CANCELLED, Deed.FOLLOW),
    # may never be sent
    messages.FILLED: StatusRule(Outcome.FILLED, Deed.FOLLOW),
    # not at work: refused, cancelled, or held until shares, the session or a person let it go on
    messages.INACTIVE: StatusRule(Outcome.OPEN, Deed.ASK),
}
"""Every status of the vendor's page "Possible Order States".

The list in which TWS shows an order comes before its label. An order among the completed orders is over; an
order among the open orders is not, unless TWS confirms its cancel or has refused it. That held orders live on
is from reports of users: erdewit/ib_insync 328, 363 and 491, nautechsystems/nautilus_trader 3603,
pst-group/pysystemtrade 1580.
"""
UNLISTED = StatusRule(Outcome.UNKNOWN, Deed.ASK)
"""Rule of a status that the page does not list."""
COMPLETED = {
    messages.FILLED: Outcome.FILLED,
    messages.INACTIVE: Outcome.REJECTED,
}
"""Outcomes of completed orders by their status; with any other status they are cancelled."""
_WHY_HELD = {"": False, "child": False, "trigger": False, "locate": True}
"""Parts of ``whyHeld`` (the vendor's page "Order Status Parameters"), and whether the operator hears of them.

With ``locate`` the broker looks for shares to sell short; an order that waits for its parent (``child``) or
its trigger does as the desk has asked. All of them live on.
"""


def rule_of(status: str) -> StatusRule:
    """Return the rule of a status.

    >>> rule_of("Inactive").outcome, rule_of("Suspended").outcome
    (<Outcome.OPEN: 'open'>, <Outcome.UNKNOWN: 'unknown'>)
    """
    return STATUSES.get(status, UNLISTED)


def is_news(status: str, why_held: str) -> bool:
    """Return whether the operator hears that TWS holds an open order, or shows an unlisted status.

    >>> [is_news("PreSubmitted", why) for why in ("child,trigger", "locate,trigger", "new")]
    [False, True, True]
    """
    is_held = any(_WHY_HELD.get(part.strip(), True) for part in why_held.split(","))
    return is_held or status == messages.INACTIVE or status not in STATUSES


# zones ------------------------------------------------------------------------------------------------------

WINDOWS_ZONES = {
    "AUS Eastern Standard Time": "Australia/Sydney",
    "Alaskan Standard Time": "America/Anchorage",
    "Arabian Standard Time": "Asia/Dubai",
    "Atlantic Standard Time": "America/Halifax",
    "Canada Central Standard Time": "America/Regina",
    "Central America Standard Time": "America/Guatemala",
    "Central Europe Standard Time": "Europe/Budapest",
    "Central European Standard Time": "Europe/Warsaw",
    "Central Standard Time": "America/Chicago",
    "Central Standard Time (Mexico)": "America/Mexico_City",
    "China Standard Time": "Asia/Shanghai",
    "E. Europe Standard Time": "Europe/Chisinau",
    "E. South America Standard Time": "America/Sao_Paulo",
    "Eastern Standard Time": "America/New_York",
    "FLE Standard Time": "Europe/Kyiv",
    "GMT Standard Time": "Europe/London",
    "GTB Standard Time": "Europe/Bucharest",
    "Greenwich Standard Time": "Atlantic/Reykjavik",
    "Hawaiian Standard Time": "Pacific/Honolulu",
    "India Standard Time": "Asia/Kolkata",
    "Israel Standard Time": "Asia/Jerusalem",
    "Korea Standard Time": "Asia/Seoul",
    "Mountain Standard Time": "America/Denver",
    "New Zealand Standard Time": "Pacific/Auckland",
    "Pacific Standard Time": "America/Los_Angeles",
    "Romance Standard Time": "Europe/Paris",
    "Russian Standard Time": "Europe/Moscow",
    "SE Asia Standard Time": "Asia/Bangkok",
    "Singapore Standard Time": "Asia/Singapore",
    "South Africa Standard Time": "Africa/Johannesburg",
    "Taipei Standard Time": "Asia/Taipei",
    "Tokyo Standard Time": "Asia/Tokyo",
    "Turkey Standard Time": "Europe/Istanbul",
    "US Eastern Standard Time": "America/Indianapolis",
    "US Mountain Standard Time": "America/Phoenix",
    "W. Europe Standard Time": "Europe/Berlin",
}
"""Zones as Windows names them (Unicode CLDR, windowsZones, 2024); the name stays the same in summer."""
