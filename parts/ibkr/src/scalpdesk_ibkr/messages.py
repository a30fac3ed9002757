"""Words of TWS's messages, each once: the gateway looks for them, the served TWS writes them.

Fields of messages stand once, too: the served TWS has them in its layouts, the gateway takes them from the
client library.
"""

from enum import StrEnum
from typing import Final

# statuses of orders -----------------------------------------------------------------------------------------

API_PENDING: Final = "ApiPending"
PENDING_SUBMIT: Final = "PendingSubmit"
PRE_SUBMITTED: Final = "PreSubmitted"
SUBMITTED: Final = "Submitted"
PENDING_CANCEL: Final = "PendingCancel"
API_CANCELLED: Final = "ApiCancelled"
CANCELLED: Final = "Cancelled"
FILLED: Final = "Filled"
INACTIVE: Final = "Inactive"

# kinds of contracts and sides of executions -----------------------------------------------------------------

SHARE: Final = "STK"
OPTION: Final = "OPT"
FUTURE: Final = "FUT"
FUTURE_OPTION: Final = "FOP"
INDEX: Final = "IND"
COMBO: Final = "BAG"
BOUGHT: Final = "BOT"
SOLD: Final = "SLD"
SELL_SHORT: Final = "SSHORT"
SMART: Final = "SMART"
"""The exchange of an order that the broker routes."""
CBOE: Final = "CBOE"


class AccountTag(StrEnum):
    """What TWS calls the values of an account that the desk reads."""

    LIQUIDATION = "NetLiquidation"
    EQUITY_WITH_LOAN = "EquityWithLoanValue"
    CASH = "CashBalance"
    TOTAL_CASH = "TotalCashValue"
    FUTURES_GAIN = "FuturesPNL"
    MAINTENANCE_MARGIN = "MaintMarginReq"
    BUYING_POWER = "BuyingPower"
    AVAILABLE_FUNDS = "AvailableFunds"
    RATE = "ExchangeRate"
