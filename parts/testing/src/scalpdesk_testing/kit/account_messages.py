"""The table of when an account hears of what happens to it without an order, a row for each kind of message.

The times are those of :mod:`scalpdesk.instruments.account_messages` and of the venues; a test holds every
message of a backtest and of the served exchange to its row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from scalpdesk.core.enums import ENDED, EXERCISED, ChangeCause
from scalpdesk.core.events import PositionChanged
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.contract import Instrument, Settlement
from scalpdesk.instruments.deadlines import takes_notices
from scalpdesk.instruments.sessions import (
    OLDEST_CLOSE_NS,
    expiry_instant_ns,
    is_session,
    session_on,
    to_new_york,
)


class AccountMessage(StrEnum):
    """Kind of message about what happens to an account without an order."""

    CLEARING = "clearing"
    """Exercise, assignment or lapse of what delivers shares, by the clearing of a night."""
    NOTICE = "notice"
    """Exercise by the owner before the end, on his own notice."""
    CASH_SETTLEMENT = "cash_settlement"
    """Payoff in cash at the close."""
    OPENING_SETTLEMENT = "opening_settlement"
    """Payoff in cash, by an opening."""
    COIN_SETTLEMENT = "coin_settlement"
    FUTURE_DELIVERY = "future_delivery"
    """Exercise or lapse of an option on a future."""
    FINAL_SETTLEMENT = "final_settlement"
    """Last payment of a future."""
    VARIATION = "variation"
    DIVIDEND = "dividend"
    CORPORATE_ACTION = "corporate_action"
    FUNDING = "funding"
    LIQUIDATION = "liquidation"
    """A trade of the broker's own for the account."""
    STATEMENT = "statement"
    """Interest, fees, transfers, busts and trades by hand: an account's own entries."""


@dataclass(frozen=True, slots=True)
class MessageTime:
    """Row of the table: when a kind of message reaches an account."""

    when: str
    source: str
    holds: Callable[[Instrument, PositionChanged], bool]
    """Whether a message about an instrument came when it may."""


def _after_its_night(_instrument: Instrument, change: PositionChanged) -> bool:
    return change.ts_recv_ns == cleared_ns(change.ts_event_ns)


def _at_once(_instrument: Instrument, change: PositionChanged) -> bool:
    return change.ts_recv_ns == change.ts_event_ns


def _by_notice(instrument: Instrument, change: PositionChanged) -> bool:
    return _at_once(instrument, change) or _after_its_night(instrument, change)


def _at_its_end(instrument: Instrument, change: PositionChanged) -> bool:
    """Return whether what an end fixes came with the level, which is no older than a closing level may be."""
    assert instrument.is_option
    ends_ns = expiry_instant_ns(instrument)
    return ends_ns == change.ts_event_ns <= change.ts_recv_ns <= ends_ns + OLDEST_CLOSE_NS


def _from_its_end(instrument: Instrument, change: PositionChanged) -> bool:
    assert instrument.is_option
    return expiry_instant_ns(instrument) == change.ts_event_ns <= change.ts_recv_ns


def _in_the_morning(_instrument: Instrument, change: PositionChanged) -> bool:
    day = to_new_york(change.ts_recv_ns).date()
    return is_session(day) and change.ts_recv_ns == session_on(day).open_ns


def _in_its_session(_instrument: Instrument, change: PositionChanged) -> bool:
    day = to_new_york(change.ts_event_ns).date()
    return is_session(day) and session_on(day).open_ns <= change.ts_event_ns <= session_on(day).close_ns


ACCOUNT_MESSAGES: dict[AccountMessage, MessageTime] = {
    AccountMessage.CLEARING: MessageTime(
        "two hours before the next session's open, as of the close",
        "OCC rules 801, 803: notices until 17:30 New York, assignment at night, reports before the open",
        _after_its_night,
    ),
    AccountMessage.NOTICE: MessageTime(
        "at once where the broker says so, else as what a night clears",
        "Alpaca, exercise of a position; IBKR, option exercise window",
        _by_notice,
    ),
    AccountMessage.CASH_SETTLEMENT: MessageTime(
        "with the closing level; cash accounts may use it from the next session",
        "Cboe, PM-settled index options; OCC pays on the next business day",
        _at_its_end,
    ),
    AccountMessage.OPENING_SETTLEMENT: MessageTime(
        "with the first level from the open on",
        "Cboe, special opening quotation; OCC pays on the next business day",
        _from_its_end,
    ),
    AccountMessage.COIN_SETTLEMENT: MessageTime("08:00 UTC", "Deribit, settlement", _at_its_end),
    AccountMessage.FUTURE_DELIVERY: MessageTime(
        "at the end of the option", "CME, exercise by exception at the fixing", _at_its_end
    ),
    AccountMessage.FINAL_SETTLEMENT: MessageTime(
        "at the end of the future", "CME, final settlement", _at_once
    ),
    AccountMessage.VARIATION: MessageTime("at the close of each session", "CME, daily settlement", _at_once),
    AccountMessage.DIVIDEND: MessageTime(
        "at the open of the ex-date (payable then: the pay date is not kept)",
        "NYSE, ex-dividend date",
        _in_the_morning,
    ),
    AccountMessage.CORPORATE_ACTION: MessageTime(
        "at the open of the ex-date", "OCC information memos: effective before the open", _in_the_morning
    ),
    AccountMessage.FUNDING: MessageTime("at its own hour", "the venue's funding history", _at_once),
    AccountMessage.LIQUIDATION: MessageTime(
        "at its trade, in a session", "brokers' execution reports", _in_its_session
    ),
    AccountMessage.STATEMENT: MessageTime(
        "when the venue reports it", "the venue's statement", lambda _instrument, _change: True
    ),
}

_BY_CAUSE = {
    ChangeCause.VARIATION: AccountMessage.VARIATION,
    ChangeCause.DIVIDEND: AccountMessage.DIVIDEND,
    ChangeCause.CORPORATE_ACTION: AccountMessage.CORPORATE_ACTION,
    ChangeCause.FUNDING: AccountMessage.FUNDING,
    ChangeCause.AUTO_LIQUIDATION: AccountMessage.LIQUIDATION,
}


def message_kind(instrument: Instrument, change: PositionChanged) -> AccountMessage:
    """Return the row of a message about an instrument; a delivery has that of the option it comes from."""
    cause = change.cause
    if cause in _BY_CAUSE:
        return _BY_CAUSE[cause]
    if cause not in ENDED | EXERCISED:
        return AccountMessage.STATEMENT
    if instrument.is_future:
        return AccountMessage.FINAL_SETTLEMENT
    assert instrument.is_option
    if instrument.is_on_future:
        return AccountMessage.FUTURE_DELIVERY
    if takes_notices(instrument):
        by_notice = cause is ChangeCause.EXERCISE and change.ts_event_ns < expiry_instant_ns(instrument)
        return AccountMessage.NOTICE if by_notice else AccountMessage.CLEARING
    if instrument.settlement is Settlement.CASH_MEAN:
        return AccountMessage.COIN_SETTLEMENT
    is_opening = instrument.settlement is Settlement.CASH_AM
    return AccountMessage.OPENING_SETTLEMENT if is_opening else AccountMessage.CASH_SETTLEMENT
