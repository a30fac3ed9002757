"""Account, clock, positions, contracts, quotes and activities of Alpaca: requests, and answers read.

Pure: bytes in, values out (docs.alpaca.markets, Trading API v2). An answer that cannot be believed, in one
line or whole, raises :class:`~scalpdesk_alpaca.fields.Malformed`.
"""

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from scalpdesk.base import (
    ZERO,
    ArgumentError,
    ChangeCause,
    Equity,
    Instrument,
    QuoteEvent,
    to_new_york,
    us_option,
)
from scalpdesk.instruments.classes import MultiplierError
from scalpdesk.instruments.contract import parse_occ
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.marketdata.tape import CashDividend
from scalpdesk.venues import (
    AccountFacts,
    ListedContract,
    VenueActivity,
    VenueClock,
    VenueFill,
    VenuePosition,
    is_count,
)
from scalpdesk_alpaca.fields import (
    MOST_OF_COLLATERAL,
    BadMessage,
    Malformed,
    amount,
    day_of,
    decode,
    known_ns,
    not_negative,
    ns_of_text,
    positive,
    read_each,
    side_of,
    text,
)
from scalpdesk_alpaca.messages import (
    AccountMessage,
    AssetMessage,
    ClockMessage,
    ContractMessage,
    DividendRow,
    Lookup,
    PositionMessage,
    QuoteRow,
    Stamp,
    number_of,
)
from scalpdesk_alpaca.transport import RestRequest

_CONTRACTS_PER_PAGE = 10_000
SYMBOLS_PER_QUERY = 100
_HIGHEST_OPTIONS_LEVEL = 10
IMPLAUSIBLE = "implausible_number"
"""Name of a number that does not fit what it belongs to."""


class ShareRules(NamedTuple):
    """What the venue takes in a share."""

    may_be_shorted: bool
    """Whether it is tradable, shortable and easy to borrow."""
    in_fractions: bool
    """Whether an order may be for a fraction of a share."""


class _ContractPage(msgspec.Struct):
    option_contracts: list[msgspec.Raw]
    next_page_token: str | None = None


class _Quotes(msgspec.Struct):
    quotes: dict[str, msgspec.Raw]


_LIST = msgspec.json.Decoder(list[msgspec.Raw]).decode
_ACCOUNT = msgspec.json.Decoder(AccountMessage, strict=False).decode
_CLOCK = msgspec.json.Decoder(ClockMessage).decode
_POSITION = msgspec.json.Decoder(PositionMessage).decode
_NAMED = re.compile(rb'"symbol"\s*:\s*"([^"]{1,32})"')
"""Symbol of a row that cannot be read as a whole."""
_ASSET = msgspec.json.Decoder(AssetMessage).decode
_CONTRACT_PAGE = msgspec.json.Decoder(_ContractPage).decode
_CONTRACT = msgspec.json.Decoder(ContractMessage).decode
_QUOTES = msgspec.json.Decoder(_Quotes).decode
_QUOTE = msgspec.json.Decoder(QuoteRow).decode

ACCOUNT = RestRequest("GET", "/v2/account")
CLOCK = RestRequest("GET", "/v2/clock")
POSITIONS = RestRequest("GET", "/v2/positions")


def read_account(raw: bytes) -> AccountFacts:
    """Return the account."""
    row = decode(_ACCOUNT, raw, "malformed_account")
    kept, equity = row.maintenance_margin, amount(row.equity, "equity")
    level = row.options_approved_level if row.options_trading_level is None else row.options_trading_level
    if not 0 <= (level or 0) <= _HIGHEST_OPTIONS_LEVEL:
        raise Malformed("bad_options_level", str(level))
    blocked = row.trading_blocked or row.account_blocked or row.trade_suspended_by_user
    return AccountFacts(
        account_id=text(row.id, "account_id", 64),
        status=text(row.status, "account_status", 40),
        currency=text(row.currency, "currency", 8),
        cash=amount(row.cash, "cash"),
        equity=equity,
        buying_power=amount(row.buying_power, "buying_power"),
        options_buying_power=amount(row.options_buying_power, "options_buying_power"),
        options_level=level or 0,
        may_trade=row.status == "ACTIVE" and not blocked,
        may_short=row.shorting_enabled,
        margin_fraction=None
        if kept is None or equity <= 0
        else round(min(amount(kept, "maintenance_margin") / equity, MOST_OF_COLLATERAL), 6),
    )


def asset_request(symbol: str) -> RestRequest:
    """Return the request for a share's trading rules (``GET /v2/assets``)."""
    return RestRequest("GET", f"/v2/assets/{quote(symbol, safe='')}")


def read_share_rules(raw: bytes, symbol: str) -> ShareRules:
    """Return what the venue takes in a share.

    Raises Malformed when the answer cannot be believed, or is about another share.
    """
    row = decode(_ASSET, raw, "malformed_asset")
    if row.symbol != symbol:
        raise Malformed("wrong_symbol", row.symbol)
    is_easy = row.status == "active" and row.tradable and row.shortable and row.easy_to_borrow
    return ShareRules(is_easy, row.fractionable)


def read_clock(raw: bytes) -> VenueClock:
    """Return the venue's clock."""
    row = decode(_CLOCK, raw, "malformed_clock")
    return VenueClock(
        ns_of_text(row.timestamp), row.is_open, ns_of_text(row.next_open), ns_of_text(row.next_close)
    )


def read_positions(raw: bytes, lookup: Lookup) -> tuple[list[VenuePosition], list[BadMessage]]:
    """Return the holdings that can be read, and what of the list could not be."""

    def read(part: msgspec.Raw) -> VenuePosition:
        try:
            return _position(decode(_POSITION, bytes(part), "malformed_position"), lookup)
        except Malformed as refused:
            named = _NAMED.search(bytes(part))
            symbol = named[1].decode("ascii", "replace") if named else "a holding"
            raise Malformed(refused.name, f"{symbol}: {refused.detail}") from None

    return read_each(decode(_LIST, raw, "malformed_positions"), read)


def _position(row: PositionMessage, lookup: Lookup) -> VenuePosition:
    symbol = text(row.symbol.strip(), "symbol", 32)
    quantity = amount(row.qty, "qty")
    if row.side == "short" and quantity > 0:
        quantity = -quantity
    price = amount(row.avg_entry_price, "price")
    held = instrument_of(symbol, row.asset_class)
    if held is not None:  # an option's symbol may be padded
        symbol = held.symbol
    return VenuePosition(symbol, lookup(symbol), quantity, price, held)


def instrument_of(symbol: str, asset_class: str) -> Instrument | None:
    """Return the instrument of a holding, None where its terms are not known: coins, adjusted options."""
    if asset_class == "us_equity":
        return Equity(symbol)
    if asset_class != "us_option":
        return None
    try:
        return us_option(symbol, [parse_occ(symbol)[0]])  # the venue lists options on shares alone
    except ArgumentError:
        return None


def contracts_request(underlying: str, first: date, last: date, page_token: str | None = None) -> RestRequest:
    """Return the request for one page of the options that expire from ``first`` to ``last``."""
    query = {
        "underlying_symbols": underlying,
        "status": "active",
        "expiration_date_gte": first.isoformat(),
        "expiration_date_lte": last.isoformat(),
        "limit": str(_CONTRACTS_PER_PAGE),
    }
    return RestRequest.page("/v2/options/contracts", query, page_token)


def read_contracts(raw: bytes) -> tuple[list[ListedContract], str | None, list[BadMessage]]:
    """Return the contracts of a page, the token of the next one, and what was not believed."""
    page = decode(_CONTRACT_PAGE, raw, "malformed_contracts")
    found, refusals = read_each(
        page.option_contracts, lambda part: _contract(decode(_CONTRACT, bytes(part), "malformed_contract"))
    )
    return found, page.next_page_token or None, refusals


def _contract(row: ContractMessage) -> ListedContract:
    try:
        contract = us_option(
            text(row.symbol, "symbol", 32),
            [row.underlying_symbol],
            multiplier=None if row.multiplier is None else amount(row.multiplier, "multiplier"),
            is_penny=row.ppind,
        )
    except MultiplierError as error:
        raise Malformed(IMPLAUSIBLE, f"contract {row.symbol}: {error.what}") from None
    except ArgumentError as error:
        raise Malformed("bad_symbol", error.what) from None
    expiry = day_of(row.expiration_date, "expiration_date")
    if contract.expiry != expiry or contract.strike != positive(row.strike_price, "strike_price"):
        raise Malformed("contradictory_contract", f"{row.symbol} {row.expiration_date} {row.strike_price}")
    interest = None if row.open_interest is None else not_negative(row.open_interest, "open_interest")
    if interest is not None and not is_count(interest):
        raise Malformed("bad_open_interest", str(interest))
    return ListedContract(
        contract, None if interest is None else int(interest), row.tradable and row.status == "active"
    )


_SPLITS_PER_PAGE = 1_000
_LARGEST_SPLIT = 10_000
"""Shares for one, or one for so many: what is beyond is a slip of digits."""


class _Split(msgspec.Struct):
    symbol: str
    new_rate: Decimal
    old_rate: Decimal
    ex_date: str


class _Splits(msgspec.Struct):
    forward_splits: tuple[msgspec.Raw, ...] = ()
    reverse_splits: tuple[msgspec.Raw, ...] = ()
    cash_dividends: tuple[msgspec.Raw, ...] = ()


class _SplitPage(msgspec.Struct):
    corporate_actions: _Splits
    next_page_token: str | None = None


_SPLIT_PAGE = msgspec.json.Decoder(_SplitPage).decode
_SPLIT = msgspec.json.Decoder(_Split).decode
_DIVIDEND = msgspec.json.Decoder(DividendRow).decode


def splits_request(symbol: str, first: date, last: date, page_token: str | None = None) -> RestRequest:
    """Return the request for one page of the splits of a share of the days ``first`` to ``last``."""
    return _actions_request(symbol, "forward_split,reverse_split", first, last, page_token)


def dividends_request(symbol: str, first: date, last: date, page_token: str | None = None) -> RestRequest:
    """Return the request for one page of the dividends of a share of the days ``first`` to ``last``."""
    return _actions_request(symbol, "cash_dividend", first, last, page_token)


def _actions_request(symbol: str, types: str, first: date, last: date, page_token: str | None) -> RestRequest:
    query = {
        "symbols": symbol,
        "types": types,
        "start": first.isoformat(),
        "end": last.isoformat(),
        "limit": str(_SPLITS_PER_PAGE),
        "sort": "asc",
    }
    return RestRequest.page("/v1/corporate-actions", query, page_token)


def read_splits(raw: bytes, symbol: str) -> tuple[list[CorporateAction], str | None]:
    """Return the splits of a share on a page, and the token of the next page (None: the last).

    Raises Malformed when a split cannot be believed.
    """
    page = decode(_SPLIT_PAGE, raw, "malformed_splits")
    listed = page.corporate_actions
    rows = [
        decode(_SPLIT, bytes(part), "malformed_split")
        for part in (*listed.forward_splits, *listed.reverse_splits)
    ]
    found = [_split(row) for row in rows if row.symbol == symbol]
    return found, page.next_page_token or None


def _split(row: _Split) -> CorporateAction:
    new, old = positive(row.new_rate, "new_rate"), positive(row.old_rate, "old_rate")
    if max(new / old, old / new) > _LARGEST_SPLIT:
        raise Malformed("bad_split", f"{row.symbol} {new} for {old}")
    ex_date = day_of(row.ex_date, "ex_date")
    return CorporateAction(symbol=row.symbol, ex_date=ex_date, kind=ActionKind.SPLIT, ratio=new / old)


def read_dividends(raw: bytes, symbol: str) -> tuple[list[CashDividend], str | None]:
    """Return the ordinary dividends of a share on a page, and the token of the next page (None: the last).

    A special dividend lowers strikes instead. Raises Malformed when a dividend cannot be believed.
    """
    page = decode(_SPLIT_PAGE, raw, "malformed_dividends")
    rows = [
        decode(_DIVIDEND, bytes(part), "malformed_dividend") for part in page.corporate_actions.cash_dividends
    ]
    found = [
        CashDividend(row.symbol, day_of(row.ex_date, "ex_date"), positive(row.rate, "rate"))
        for row in rows
        if row.symbol == symbol and not row.special
    ]
    return found, page.next_page_token or None


def latest_quotes_request(symbols: Sequence[str], *, is_option: bool, feed: str) -> RestRequest:
    """Return the request for the latest quotes of up to 100 symbols."""
    path = "/v1beta1/options/quotes/latest" if is_option else "/v2/stocks/quotes/latest"
    return RestRequest.page(path, {"symbols": ",".join(symbols), "feed": feed})


def read_latest_quotes(raw: bytes, lookup: Lookup, stamp: Stamp) -> tuple[list[QuoteEvent], list[BadMessage]]:
    """Return the quotes of an answer, and what was not believed."""

    def latest(item: tuple[str, msgspec.Raw]) -> QuoteEvent:
        symbol, part = item
        row = decode(_QUOTE, bytes(part), "malformed_quote")
        return row.event(number_of(symbol, lookup), stamp)

    return read_each(decode(_QUOTES, raw, "malformed_quotes").quotes.items(), latest)


ACTIVITIES_PER_PAGE = 100
MOVES = {
    "OPASN": ChangeCause.ASSIGNMENT,
    "OPEXC": ChangeCause.EXERCISE,
    "OPEXP": ChangeCause.EXPIRED_WORTHLESS,
    "OPCSH": ChangeCause.CASH_SETTLEMENT,
    "OPTRD": ChangeCause.DELIVERY,
    "ACATS": ChangeCause.TRANSFER,
    "JNLS": ChangeCause.TRANSFER,
    "SPLIT": ChangeCause.CORPORATE_ACTION,
}
"""Kinds that move units, and cash with them. Mergers (``MA``), spin-offs (``SPIN``), changes of name (``NC``)
and other reorganisations (``REORG``) are not among them: a line of one share does not say what became of its
cost, so that they are the operator's.
"""
PAYMENTS = {
    "CIL": ChangeCause.DIVIDEND,
    "DIV": ChangeCause.DIVIDEND,
    "DIVCGL": ChangeCause.DIVIDEND,
    "DIVCGS": ChangeCause.DIVIDEND,
    "DIVNRA": ChangeCause.DIVIDEND,
    "DIVROC": ChangeCause.DIVIDEND,
    "DIVTXEX": ChangeCause.DIVIDEND,
    "DIVWH": ChangeCause.DIVIDEND,
    "WH": ChangeCause.DIVIDEND,
    "INT": ChangeCause.INTEREST,
    "INTPNL": ChangeCause.INTEREST,
    "SWP": ChangeCause.INTEREST,
    "CFEE": ChangeCause.FEE,
    "FEE": ChangeCause.FEE,
    "PTC": ChangeCause.FEE,
    "ACATC": ChangeCause.TRANSFER,
    "CSD": ChangeCause.TRANSFER,
    "CSW": ChangeCause.TRANSFER,
    "JNLC": ChangeCause.TRANSFER,
}
"""Kinds that move cash alone; the quantity they name is what the payment was made on."""


_CHARGES = frozenset({"FEE", "CFEE"})
"""Kinds under which the venue charges fees of trades: a line a day and kind of fee, each rounded up."""
_CHARGED_DAY = re.compile(r"\bon (\d{4}-\d\d-\d\d)\b")
"""``TAF fee for proceed of 48 shares (9 trades) on 2024-07-19 by …``: the day of the trades."""
NOT_HAPPENED = frozenset({"canceled", "rejected", "pending", "queued"})
"""Statuses of an activity that moved nothing, or nothing yet."""


class _Fill(msgspec.Struct):
    id: str
    order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    transaction_time: str
    cum_qty: Decimal | None = None


class _Other(msgspec.Struct):
    id: str
    activity_type: str
    date: str | None = None
    net_amount: Decimal | None = None
    symbol: str | None = None
    qty: Decimal | None = None
    price: Decimal | None = None
    status: str | None = None
    created_at: str | None = None
    description: str | None = None


_FILL = msgspec.json.Decoder(_Fill).decode
_OTHER = msgspec.json.Decoder(_Other).decode


def fills_request(after: str, page_token: str | None = None) -> RestRequest:
    """Return the request for one page of executions from ``after`` (RFC 3339) on, oldest first."""
    return _page_of_activities("/FILL", {"after": after}, page_token)


def activities_request(after: str, page_token: str | None = None) -> RestRequest:
    """Return the request for one page of all other activities from ``after`` on, oldest first."""
    query = {"activity_types": ",".join([*MOVES, *PAYMENTS]), "after": after}
    return _page_of_activities("", query, page_token)


def _page_of_activities(kind: str, query: dict[str, str], page_token: str | None) -> RestRequest:
    query |= {"direction": "asc", "page_size": str(ACTIVITIES_PER_PAGE)}
    return RestRequest.page(f"/v2/account/activities{kind}", query, page_token)


def read_fills(raw: bytes) -> tuple[list[VenueFill], str | None]:
    """Return the executions of a page, and the token of the next page (None: the last).

    The second part of an activity's id is the id that the stream gives the execution. One that cannot be
    read makes the page unusable; the time of one whose stamp cannot be read is 0.
    """
    fills = []
    last = ""
    parts = decode(_LIST, raw, "malformed_activities")
    for part in parts:
        row = decode(_FILL, bytes(part), "malformed_activity")
        last = text(row.id, "activity_id", 80)
        fills.append(
            VenueFill(
                execution_id=last.rpartition("::")[2],
                venue_order_id=text(row.order_id, "order_id", 64),
                symbol=text(row.symbol, "symbol", 32),
                side=side_of(row.side),
                quantity=amount(row.qty, "qty"),
                cumulative=None if row.cum_qty is None else amount(row.cum_qty, "cum_qty"),
                price=amount(row.price, "price"),
                ts_event_ns=known_ns(row.transaction_time),
            )
        )
    return fills, last if len(parts) == ACTIVITIES_PER_PAGE else None


def read_activities(raw: bytes) -> tuple[list[VenueActivity], str | None]:
    """Return the activities of a page that happened, and the token of the next page (None: the last).

    Kinds that this desk does not know are passed over: what they moved stays unexplained, and so comes
    before a person.
    """
    found = []
    last = ""
    parts = decode(_LIST, raw, "malformed_activities")
    for part in parts:
        row = decode(_OTHER, bytes(part), "malformed_activity")
        last = text(row.id, "activity_id", 80)
        cause = MOVES.get(row.activity_type, PAYMENTS.get(row.activity_type))
        if cause is not None and row.status not in NOT_HAPPENED:
            found.append(_activity(row, cause))
    return found, last if len(parts) == ACTIVITIES_PER_PAGE else None


def _activity(row: _Other, cause: ChangeCause) -> VenueActivity:
    moves = row.activity_type in MOVES
    quantity = amount(row.qty or ZERO, "qty") if moves else ZERO
    if row.activity_type == "OPASN":  # whatever the sign it is written with: a sold contract is gone
        quantity = abs(quantity)
    elif row.activity_type == "OPEXC":
        quantity = -abs(quantity)
    at = row.created_at or f"{day_of(row.date, 'date')}T00:00:00Z"
    ts_ns = ns_of_text(at)
    return VenueActivity(
        # an exercise or assignment and the delivery that it causes may share their id
        activity_id=f"{row.id}/{row.activity_type}",
        kind=row.activity_type,
        cause=cause,
        symbol=text(row.symbol, "symbol", 32) if row.symbol else "",
        quantity_change=quantity,
        price=not_negative(row.price, "price") if moves and row.price is not None else ZERO,
        cash_change=amount(row.net_amount or ZERO, "net_amount"),
        ts_event_ns=ts_ns,
        charges_day=_charged_day(row, ts_ns) if row.activity_type in _CHARGES else None,
    )


def _charged_day(row: _Other, ts_ns: int) -> date:
    """Return the day of the trades that a fee is for: its text may name an earlier one than its own."""
    named = _CHARGED_DAY.search(row.description or "")
    day = named[1] if named is not None else row.date
    return to_new_york(ts_ns).date() if day is None else day_of(day, "date")
