"""Messages of Deribit's JSON-RPC interface, each once: the gateway reads them, the exchange writes them.

A message has the fields that the desk reads; the exchange adds those that other clients look for. A field
without a default is always written, null where it has no value: the type checker finds a writer that forgets
it. A field with a default is left out where it has that value. A reader finds None in both cases. Times are
milliseconds UTC; volatilities are percent.
"""

from typing import Any

import msgspec
from msgspec import UNSET

Number = int | float | str | None
"""A number that is read exactly, as it was written."""
Figure = float | None
Text = str | None
Name = int | str | None
"""An id; of a file that somebody kept it may be a number."""
Instant = Any
"""A time that may be unreadable: what happened counts, whenever it was."""


class WireMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of the messages."""


# frames -------------------------------------------------------------------------------------------------

JSONRPC = "2.0"
SUBSCRIPTION, HEARTBEAT = "subscription", "heartbeat"
"""Methods of what the venue sends by itself."""
TEST_REQUEST = "test_request"
TICKER = "ticker."
"""Begins the channels of tickers."""


class RpcFrame(WireMessage, frozen=True, kw_only=True):
    """A request, an answer, or what the venue sends by itself."""

    jsonrpc: Any = UNSET
    id: Any = UNSET
    method: Any = UNSET
    params: Any = UNSET
    result: Any = UNSET
    error: Any = UNSET


class ErrorAnswer(WireMessage, frozen=True, kw_only=True):
    """The error of an answer; ``data`` may have a ``reason``."""

    code: Any
    message: Any
    data: Any


class ChannelNote(WireMessage, frozen=True, kw_only=True):
    """What came on a channel."""

    channel: Text
    data: Any


class HeartbeatNote(WireMessage, frozen=True, kw_only=True):
    """A sign of life, or the request for one."""

    type: Text


class Token(WireMessage, frozen=True, kw_only=True):
    """Access to an account for some seconds."""

    refresh_token: Text
    expires_in: Figure


# the market ---------------------------------------------------------------------------------------------


class Currency(WireMessage, frozen=True, kw_only=True):
    """A currency in which the venue keeps accounts."""

    currency: Text


class TickMessage(WireMessage, frozen=True, kw_only=True):
    """The tick above a price."""

    above_price: Number
    tick_size: Number


class Listing(WireMessage, frozen=True, kw_only=True):
    """An instrument and its terms."""

    instrument_name: Text
    kind: Text
    base_currency: Text
    quote_currency: Text
    settlement_currency: Text
    settlement_period: Text
    contract_size: Number
    tick_size: Number
    tick_size_steps: list[TickMessage] | None
    min_trade_amount: Figure
    maker_commission: Figure
    taker_commission: Figure
    creation_timestamp: int | None
    expiration_timestamp: int | None
    is_active: bool | None
    instrument_type: Text = None
    """``reversed`` or ``linear``, of a future."""
    option_type: Text = None
    strike: Figure = None


class GreeksMessage(WireMessage, frozen=True, kw_only=True):
    """Sensitivities of an option as the venue computes them."""

    delta: Figure
    gamma: Figure
    vega: Figure
    theta: Figure
    rho: Figure


class Ticker(WireMessage, frozen=True, kw_only=True):
    """Best prices, mark and state of an instrument; price and amount of a side that is not there are 0."""

    instrument_name: Text
    timestamp: int | None
    state: Text
    best_bid_price: Figure
    best_bid_amount: Figure
    best_ask_price: Figure
    best_ask_amount: Figure
    mark_price: Figure
    index_price: Figure
    open_interest: Figure
    underlying_price: Figure = None
    mark_iv: Figure = None
    bid_iv: Figure = None
    ask_iv: Figure = None
    greeks: GreeksMessage | None = None


class BookSummary(WireMessage, frozen=True, kw_only=True):
    """A line of the summary of a currency."""

    instrument_name: Text
    open_interest: Number


class Chart(WireMessage, frozen=True, kw_only=True):
    """Bars, column by column."""

    ticks: list[Any]
    open: list[Any]
    high: list[Any]
    low: list[Any]
    close: list[Any]
    volume: list[Any]


class SettlementMessage(WireMessage, frozen=True, kw_only=True):
    """The settlement of a future or the delivery of an option."""

    timestamp: int | None
    instrument_name: Text
    type: Text
    index_price: Figure
    mark_price: Figure
    position: Figure
    funding: Figure = None


class SettlementPage(WireMessage, frozen=True, kw_only=True):
    """Settlements, latest first, and where the next page begins."""

    settlements: list[Any] | None
    continuation: Name


class VolatilityIndexPage(WireMessage, frozen=True, kw_only=True):
    """Bars of the volatility index and until when the page before them goes."""

    data: list[Any]
    continuation: int | None


class FundingMessage(WireMessage, frozen=True, kw_only=True):
    """The funding of an hour."""

    timestamp: int | None
    index_price: Figure
    interest_8h: Figure
    interest_1h: Figure


# orders and executions ----------------------------------------------------------------------------------


class ComboLegMessage(WireMessage, frozen=True, kw_only=True):
    """What one combo buys or, below 0, sells of an instrument."""

    instrument_name: Text
    amount: Number


class Combo(WireMessage, frozen=True, kw_only=True):
    """A combo and its legs."""

    id: Text
    legs: list[ComboLegMessage] | None


class OrderMessage(WireMessage, frozen=True, kw_only=True):
    """An order as it stands."""

    order_id: Text
    order_state: Text
    order_type: Text
    direction: Text
    instrument_name: Text
    amount: Number
    filled_amount: Number
    average_price: Number
    price: Number
    """``market_price`` of an order without a limit."""
    label: Text
    creation_timestamp: Instant
    last_update_timestamp: Instant
    is_liquidation: bool | None
    cancel_reason: Text
    reject_reason: Text
    trigger_order_id: Text = None
    """Id that a stop had before it was triggered."""


class PublicTrade(WireMessage, frozen=True, kw_only=True):
    """An execution as everybody sees it; ``trades`` channels and the history."""

    trade_id: Name
    instrument_name: Text
    direction: Text
    amount: Number
    price: Number
    timestamp: Instant
    index_price: Figure
    mark_price: Figure = None
    iv: Figure = None
    combo_trade_id: Text = None
    """Of a leg: the trade of its combo."""


class TradeMessage(PublicTrade, frozen=True, kw_only=True):
    """An execution of the account."""

    order_id: Text
    fee: Number
    fee_currency: Text
    liquidity: Text
    label: Text = None
    liquidation: Text = None
    """Which sides were liquidated: M, T or MT."""
    legs: list[Any] | None = None
    """Of a combo where nothing but combos is asked for: the trades of its legs."""


class TradePage(WireMessage, frozen=True, kw_only=True):
    """Trades of a span, and whether there are more."""

    trades: list[Any] | None
    has_more: bool | None


class OrderAnswer(WireMessage, frozen=True, kw_only=True):
    """The answer to an order: as it stands, and what it traded at once."""

    order: Any
    trades: list[Any] | None


class ChangesMessage(WireMessage, frozen=True, kw_only=True):
    """A change of the account: orders, their executions and the positions after them."""

    instrument_name: Text
    trades: list[Any] | None
    orders: list[Any] | None
    positions: list[Any] | None


# the account --------------------------------------------------------------------------------------------


class PositionMessage(WireMessage, frozen=True, kw_only=True):
    """A holding; its size is below 0 where it is short."""

    instrument_name: Text
    size: Number
    average_price: Number
    mark_price: Number


class Summary(WireMessage, frozen=True, kw_only=True):
    """The account in one currency."""

    id: Name
    username: Text
    currency: Text
    equity: Number
    available_funds: Number
    maintenance_margin: Number
    margin_balance: Number
    margin_model: Text
    session_funding: Number = None
    cross_collateral_enabled: bool | None = None
    portfolio_margining_enabled: bool | None = None
    """These two of an answer that names no model."""


class LogLine(WireMessage, frozen=True, kw_only=True):
    """A line of the transaction log: what moved the balance, and by how much."""

    id: Name
    user_seq: Name
    username: Text
    timestamp: Instant
    currency: Text
    instrument_name: Text
    type: Text
    side: Text
    amount: Number
    price: Number
    change: Number
    total_interest_pl: Number
    """The session's funding, of a settlement."""
    commission: Number
    position: Number
    trade_id: Name
    order_id: Name
    balance: Number = None


class LogPage(WireMessage, frozen=True, kw_only=True):
    """Lines of the log, latest first, and where the next page begins."""

    logs: list[Any] | None
    continuation: Name
