"""The exchange's own books as a Flex statement: activity of one account, an execution a row."""

from collections.abc import Iterator
from datetime import datetime
from xml.etree.ElementTree import Element, SubElement, tostring

from scalpdesk.base import ZERO, Instrument, number_text, to_new_york
from scalpdesk.exchange import Activity, BrokerAccount, Execution, own_id
from scalpdesk_ibkr.served.contracts import kind_of, symbol_of
from scalpdesk_ibkr.served.session import TwsMarket

Row = dict[str, str]

_NOTES = {"OPASN": "A", "OPEXC": "Ex", "OPEXP": "Ep", "OPCSH": "Ex"}
"""Codes of the ends of options by the kinds of activities; a delivery carries that of its option."""
_TYPES = {
    "DIV": "Dividends",
    "FEE": "Other Fees",
    "CSD": "Deposits/Withdrawals",
    "CSW": "Deposits/Withdrawals",
    "JNLC": "Deposits/Withdrawals",
}
"""Types of cash transactions by the kinds of the broker's activities."""


def flex_statement(market: TwsMarket, code: str) -> str:
    """Return the statement of an account from its first day to now, in XML."""
    world = market.world
    account = world.ledger.accounts[market.codes[code]]
    root = Element("FlexQueryResponse", queryName="activity", type="AF")
    now = to_new_york(world.now_ns)
    statement = SubElement(
        SubElement(root, "FlexStatements", count="1"),
        "FlexStatement",
        accountId=code,
        fromDate=f"{to_new_york(account.created_ns):%Y%m%d}",
        toDate=f"{now:%Y%m%d}",
        period="",
        whenGenerated=f"{now:%Y%m%d;%H%M%S}",
    )
    sections = {name: SubElement(statement, name) for name in ("CashReport", "OpenPositions", "Trades")}
    cash = SubElement(statement, "CashTransactions")
    head = {"accountId": code}
    row = {"currency": account.currency, "endingCash": number_text(account.cash)}
    SubElement(sections["CashReport"], "CashReportCurrency", head | row)
    for number, held in account.holdings.items():
        row = _contract(world.ledger.instruments[number])
        row |= {"position": number_text(held.quantity), "levelOfDetail": "SUMMARY"}
        SubElement(sections["OpenPositions"], "OpenPosition", head | row)
    for tag, row in _lines(market, account):
        SubElement(sections["Trades"] if tag == "Trade" else cash, tag, head | row)
    return tostring(root, encoding="unicode")


def _lines(market: TwsMarket, account: BrokerAccount) -> Iterator[tuple[str, Row]]:
    """Yield the rows of the account's history with their elements."""
    instruments, notes = market.world.ledger.instruments, ""
    for activity in account.own_lines():
        item = instruments[instruments.id_of(activity.symbol)] if activity.symbol else None
        row = _head(activity, item)
        if activity.execution is not None:
            assert item is not None
            yield "Trade", row | _trade(market, activity.execution, item)
        elif item is not None and activity.kind in {*_NOTES, "OPTRD"}:
            notes = _NOTES.get(activity.kind, notes)
            yield "Trade", row | _booked(activity, notes)
        elif activity.net_amount and activity.kind != "VM":
            yield "CashTransaction", row | _payment(activity)


def _head(activity: Activity, item: Instrument | None) -> Row:
    """Return what every row has: contract, time and an id."""
    moment: datetime = to_new_york(activity.ts_ns)
    own = {"currency": "USD"} if item is None else _contract(item)
    return own | {"dateTime": f"{moment:%Y%m%d;%H%M%S}", "transactionID": own_id(activity)}


def _contract(item: Instrument) -> Row:
    """Return what names a contract."""
    row = {"currency": item.currency, "assetCategory": kind_of(item), "symbol": symbol_of(item)}
    row["multiplier"] = str(item.multiplier)
    if item.is_option:
        row["symbol"] = f"{item.root:<6}{item.symbol[len(item.root) :]}"
    elif item.is_future:
        row |= {"underlyingSymbol": symbol_of(item), "expiry": f"{item.expiry:%Y%m%d}"}
    return row


def _trade(market: TwsMarket, execution: Execution, item: Instrument) -> Row:
    units = execution.side.sign * execution.quantity
    money = item.cash_flow(units, execution.price)
    execution_id, order_id, reference = market.orders.names_of(execution)
    return {
        "tradeID": execution.execution_id,
        "transactionType": "ExchTrade",
        "buySell": execution.side.name,
        "quantity": number_text(units),
        "tradePrice": number_text(execution.price),
        "proceeds": number_text(money),
        "taxes": "0",
        "ibCommission": number_text(-execution.fee),
        "ibCommissionCurrency": item.currency,
        "netCash": number_text(money - execution.fee),
        "ibExecID": execution_id,
        "ibOrderID": order_id,
        "orderReference": reference,
        "notes": "P" if execution.leaves else "",
        "levelOfDetail": "EXECUTION",
    }


def _booked(activity: Activity, notes: str) -> Row:
    return {
        "tradeID": own_id(activity),
        "transactionType": "BookTrade",
        "buySell": "BUY" if activity.quantity > ZERO else "SELL",
        "quantity": number_text(activity.quantity),
        "tradePrice": number_text(activity.price),
        "proceeds": number_text(activity.net_amount),
        "taxes": "0",
        "ibCommission": "0",
        "notes": notes,
        "levelOfDetail": "EXECUTION",
    }


def _payment(activity: Activity) -> Row:
    interest = "Broker Interest Received" if activity.net_amount > ZERO else "Broker Interest Paid"
    return {
        "type": _TYPES.get(activity.kind, interest),
        "amount": number_text(activity.net_amount),
        "levelOfDetail": "DETAIL",
    }
