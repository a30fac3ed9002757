"""Message codes of TWS with the names under which the desk counts and reports them."""

NAMES = {
    100: "pacing",
    101: "too_many_lines",
    103: "duplicate_order_id",
    104: "modify_of_filled",
    105: "modify_mismatch",
    110: "price_off_tick",
    161: "cancel_too_late",
    162: "history_refused",
    200: "unknown_contract",
    201: "order_rejected",
    202: "order_cancelled",
    300: "line_not_found",
    321: "invalid_request",
    322: "request_id_in_use",
    326: "client_id_in_use",
    329: "modify_refused",
    354: "no_data_subscription",
    366: "history_not_found",
    399: "order_message",
    404: "shares_not_located",
    420: "pacing",
    434: "zero_size",
    492: "order_warning",
    502: "not_connected",
    504: "not_connected",
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
}
"""Names by code (TWS API, "Message codes"); see also reference/tws_messages, 8."""

ID_IN_USE = 326
PACING = frozenset({100, 420})
LINK_LOST, BACK_DATA_LOST, BACK = frozenset({1100, 2110}), 1101, 1102
FARMS_LOST = {2103: "quotes", 2105: "history", 2157: "contracts"}
FARMS_OK = {2104: "quotes", 2106: "history", 2107: "history", 2108: "quotes", 2158: "contracts"}
NO_CANCEL = frozenset({161, 10147, 10148})
"""A cancel that TWS refuses."""
NO_DATA = frozenset({101, 354, 10089, 10090, 10168, 10186, 10197, 10225})
"""A line that brings nothing."""
DELAYED = 10167
CANCELLED, DUPLICATE_ID, UNKNOWN_CONTRACT = 202, 103, 200
INFORMATION = frozenset({399, 404, 492, 10167})
"""Remarks on an order or a line that goes on."""


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
