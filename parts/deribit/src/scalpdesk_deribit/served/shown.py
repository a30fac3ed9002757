"""What the served exchange shows beside the fields that the desk reads: other clients look for them."""

from msgspec import UNSET, UnsetType

from scalpdesk_deribit.messages import (
    BookSummary,
    Chart,
    Combo,
    Currency,
    Figure,
    Listing,
    LogLine,
    Number,
    OrderMessage,
    PositionMessage,
    PublicTrade,
    RpcFrame,
    SettlementMessage,
    Summary,
    Text,
    Ticker,
    Token,
    TradeMessage,
    WireMessage,
)


class ShownListing(Listing, frozen=True, kw_only=True):
    """An instrument as the exchange shows it."""

    counter_currency: str
    price_index: str
    instrument_id: int
    state: str
    future_type: Text = None
    max_leverage: int | None = None


class Stats(WireMessage, frozen=True, kw_only=True):
    """What a day brought, of which the exchange counts nothing."""

    volume: float
    volume_usd: float
    price_change: Figure
    low: Figure
    high: Figure


class ShownTicker(Ticker, frozen=True, kw_only=True):
    """A ticker as the exchange shows it."""

    last_price: Figure
    estimated_delivery_price: Figure
    settlement_price: Figure
    min_price: float
    max_price: float
    stats: Stats
    underlying_index: Text = None
    interest_rate: Figure = None
    current_funding: Figure = None
    funding_8h: Figure = None
    interest_value: Figure = None


class ShownBookSummary(BookSummary, frozen=True, kw_only=True):
    """A line of the summary of a currency as the exchange shows it."""

    base_currency: str
    mark_price: Figure
    mark_iv: Figure
    bid_price: Figure
    ask_price: Figure
    underlying_price: Figure
    volume: float
    creation_timestamp: int | None


class ShownCombo(Combo, frozen=True, kw_only=True):
    """A combo as the exchange shows it."""

    instrument_id: int
    state: str
    creation_timestamp: int
    state_timestamp: int


class ShownOrder(OrderMessage, frozen=True, kw_only=True):
    """An order as the exchange shows it; the last three of a stop alone."""

    contracts: Number
    time_in_force: str
    post_only: bool
    reduce_only: bool
    max_show: Number
    commission: Number
    profit_loss: float
    api: bool
    web: bool
    replaced: bool
    mmp: bool
    risk_reducing: bool
    trigger: Text = None
    trigger_price: Number = None
    triggered: bool | None = None


class ShownPublicTrade(PublicTrade, frozen=True, kw_only=True):
    """An execution on the public channels."""

    trade_seq: int
    combo_id: Text = None
    tick_direction: int | UnsetType = UNSET


class ShownTrade(TradeMessage, frozen=True, kw_only=True):
    """An execution of the account as the exchange shows it; a combo's has no more than the first fields."""

    trade_seq: int
    state: str
    order_type: str
    combo_id: Text = None
    self_trade: bool | UnsetType = UNSET
    matching_id: str | UnsetType | None = UNSET
    profit_loss: float | UnsetType = UNSET
    tick_direction: int | UnsetType = UNSET


class ShownPosition(PositionMessage, frozen=True, kw_only=True):
    """A holding as the exchange shows it."""

    kind: str
    direction: str
    index_price: float
    floating_profit_loss: float
    realized_profit_loss: float
    total_profit_loss: float
    delta: float
    leverage: int
    size_currency: Figure = None


class ShownSummary(Summary, frozen=True, kw_only=True):
    """The account as the exchange shows it."""

    balance: float
    available_withdrawal_funds: float
    initial_margin: float
    options_value: float
    delta_total: float


class ShownLogLine(LogLine, frozen=True, kw_only=True):
    """A line of the transaction log as the exchange shows it."""

    cashflow: Number
    info: Text
    user_role: Text = None


class ShownCurrency(Currency, frozen=True, kw_only=True):
    """A currency as the exchange shows it."""

    currency_long: str
    coin_type: str
    min_confirmations: int
    fee_precision: int


class ShownChart(Chart, frozen=True, kw_only=True):
    """Bars, and whether there are any."""

    status: str


class ShownSettlement(SettlementMessage, frozen=True, kw_only=True):
    """A settlement as the exchange shows it."""

    session_profit_loss: float


class ShownAnswer(
    RpcFrame, frozen=True, kw_only=True, rename={"came": "usIn", "left": "usOut", "took": "usDiff"}
):
    """An answer with the venue's own times, microseconds."""

    testnet: bool
    came: int | UnsetType = UNSET
    left: int | UnsetType = UNSET
    took: int | UnsetType = UNSET


class ShownToken(Token, frozen=True, kw_only=True):
    """Access to an account as the exchange gives it."""

    access_token: str
    scope: str
    token_type: str
    enabled_features: list[str]
