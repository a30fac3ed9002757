"""Why a broker refuses a request."""

from enum import StrEnum


class Cause(StrEnum):
    """Why the broker refuses a request; each venue's protocol words it in its own way."""

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
    UNPROCESSABLE = "unprocessable"
    """Well formed, and against a rule that has no cause of its own."""
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

    ``cause``: Which rule.
    ``detail``: Sentence for causes that have many forms; else empty.
    ``facts``: Values that the answer carries, as text.
    """

    def __init__(self, cause: Cause, detail: str = "", **facts: str) -> None:
        self.cause = cause
        self.detail = detail
        self.facts = facts
        super().__init__(f"{cause.value}: {detail or facts}")

    @property
    def reason(self) -> str:
        """The refusal in a sentence."""
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        words = self.detail or self.cause.value.replace("_", " ")
        return f"{words} ({facts})" if facts else words
