"""Why a broker says no. Named causes with their facts; each venue's protocol puts them in its own words."""

from enum import StrEnum


class Cause(StrEnum):
    """One reason of a refusal."""

    BUYING_POWER = "insufficient_buying_power"
    QUANTITY = "insufficient_quantity"
    UNCOVERED_CALL = "uncovered_call"
    UNCOVERED_OPTION = "uncovered_option"
    OPTIONS_LEVEL = "options_level"
    WASH_TRADE = "wash_trade"
    ACCOUNT_BLOCKED = "account_blocked"
    DAY_TRADES = "day_trades"
    SHORTING = "shorting_not_allowed"
    DUPLICATE_CLIENT_ID = "duplicate_client_id"
    MALFORMED = "malformed"
    UNKNOWN_ASSET = "unknown_asset"
    INACTIVE_ASSET = "inactive_asset"
    UNKNOWN_ORDER = "unknown_order"
    UNKNOWN_POSITION = "unknown_position"
    CLOSED_ORDER = "closed_order"
    NOT_SENT_YET = "not_sent_yet"
    SUB_PENNY = "sub_penny"
    EXTENDED_HOURS = "extended_hours"
    OUTSIDE_HOURS = "outside_hours"
    INTENT = "position_intent_mismatch"
    EXPIRING_CONTRACT = "expiring_contract"


class Refused(Exception):  # noqa: N818 - an answer of the broker, not an error of ours
    """The broker does not take a request.

    Parameters
    ----------
    cause
        Which rule.
    detail
        Sentence for causes that have many forms; else empty.
    facts
        Values that the answer carries, as text.
    """

    def __init__(self, cause: Cause, detail: str = "", **facts: str) -> None:
        self.cause = cause
        self.detail = detail
        self.facts = facts
        super().__init__(f"{cause.value}: {detail or facts}")
