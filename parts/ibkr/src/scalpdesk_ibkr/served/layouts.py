"""Layouts of the messages whose fields depend on the server version, as tables; versions 157 to 178.

A column is ``name=default>first<end``: the text that it has unless a value is given, the version that has it
first, and the version from which it is gone. A value that is a tuple stands for several fields.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import NamedTuple

from scalpdesk_ibkr.served.wire import Field, Message

_COLUMN = re.compile(r"(\w+)(?:=(-?\w+))?(?:>(\d+))?(?:<(\d+))?")
_LATEST = 1_000


class Column(NamedTuple):
    """One field, or several that a value of it has."""

    name: str
    default: str
    first: int
    end: int


def _column(text: str) -> Column:
    found = _COLUMN.fullmatch(text)
    assert found is not None, text
    name, default, first, end = found.groups()
    return Column(name, default or "", int(first or 0), int(end or _LATEST))


class Layout:
    """Columns of a message in their order.

    ``text``: The columns, separated by spaces.
    """

    def __init__(self, text: str) -> None:
        self._columns = tuple(_column(part) for part in text.split())
        self._names = frozenset(column.name for column in self._columns)
        self._of = cache(self._at)

    def _at(self, version: int) -> tuple[Column, ...]:
        return tuple(column for column in self._columns if column.first <= version < column.end)

    def write(self, version: int, values: Mapping[str, Field | Message]) -> Message:
        """Return the fields of a message; columns without a value have their default."""
        assert values.keys() <= self._names, values.keys() - self._names
        fields: list[Field] = []
        for name, default, _, _ in self._of(version):
            value = values.get(name, default)
            if isinstance(value, tuple):
                fields += value
            else:
                fields.append(value)
        return tuple(fields)

    def read(self, version: int, text: Callable[[], str]) -> dict[str, str]:
        """Return the texts of a request's fields by column; ``text`` gives the next field."""
        return {column.name: text() for column in self._of(version)}


ERROR = Layout("version=2 requestId code text details>166")
CONTRACT_DATA = Layout(
    "version=8<164 requestId symbol secType last strike right exchange currency localSymbol marketName"
    " tradingClass conId minTick mdSizeMultiplier=100<164 multiplier orderTypes validExchanges"
    " priceMagnifier=1 underConId=0 longName primaryExchange contractMonth industry category subcategory"
    " timeZoneId tradingHours liquidHours evRule evMultiplier=0 secIds=0 aggGroup=1 underSymbol underSecType"
    " marketRuleIds realExpirationDate stockType suggestedSize>163<164 sizes>164"
)
SYMBOL_ROW = Layout("conId symbol secType primaryExchange currency derivatives description>176 issuerId>176")
EXECUTION = Layout(
    "requestId orderId contract execId time account exchange side shares price permId clientId"
    " liquidation=0 cumQty avgPrice orderRef evRule evMultiplier modelCode lastLiquidity=2"
    " pendingPriceRevision=0>178"
)

_ORDER = (
    "orderId contract action totalQuantity orderType lmtPrice=0 auxPrice=0 tif ocaGroup account openClose"
    " origin=0 orderRef clientId permId outsideRth=0 hidden=0 discretionaryAmt=0 goodAfterTime skipped"
    " faGroup faMethod faPercentage faProfile<177 modelCode goodTillDate rule80A percentOffset settlingFirm"
    " shortSaleSlot=0 designatedLocation exemptCode=-1 auctionStrategy=0 startingPrice stockRefPrice delta"
    " stockRangeLower stockRangeUpper displaySize=0 blockOrder=0 sweepToFill=0 allOrNone=0 minQty ocaType=0"
    " eTradeOnly=0 firmQuoteOnly=0 nbboPriceCap parentId=0 triggerMethod=0 volatility volatilityType=0"
    " deltaNeutralOrderType deltaNeutralAuxPrice continuousUpdate=0 referencePriceType=0 trailStopPrice"
    " trailingPercent basisPoints basisPointsType comboLegsDescrip legs=0 legPrices=0 routing=0 scaleInit"
    " scaleSubs scaleIncrement hedgeType optOut=0 clearingAccount clearingIntent notHeld=0 deltaNeutral=0"
    " algoStrategy solicited=0"
)
_PEGGED = " minTradeQty>170 minCompeteSize>170 competeOffset>170 midOffsetAtWhole>170 midOffsetAtHalf>170"
OPEN_ORDER = Layout(
    f"{_ORDER} whatIf=0 status initMarginBefore maintMarginBefore equityBefore initMarginChange"
    " maintMarginChange equityChange initMarginAfter maintMarginAfter equityAfter commission minCommission"
    " maxCommission commissionCurrency warningText randomizeSize=0 randomizePrice=0 conditions=0"
    " adjustedOrderType triggerPrice adjustedTrailStop lmtPriceOffset adjustedStopPrice"
    " adjustedStopLimitPrice adjustedTrailingAmount adjustableTrailingUnit=0 softDollarName softDollarValue"
    " softDollarDisplay cashQty dontUseAutoPriceForHedge=0 isOmsContainer=0 discretionaryUpToLimitPrice=0"
    f" usePriceMgmtAlgo=0 duration>158 postToAts>160 autoCancelParent=0>162{_PEGGED}"
)
_NOT_COMPLETED = re.compile(
    r" ?\b(orderId|clientId|skipped|auctionStrategy=0|blockOrder=0|eTradeOnly=0|firmQuoteOnly=0|nbboPriceCap"
    r"|parentId=0|basisPoints|basisPointsType|optOut=0)(?= )"
)
COMPLETED_ORDER = Layout(
    _NOT_COMPLETED.sub("", _ORDER)
    + " status randomizeSize=0 randomizePrice=0 conditions=0 stopPrice lmtPriceOffset cashQty"
    " dontUseAutoPriceForHedge=0 isOmsContainer=0 autoCancelDate filledQuantity refFuturesConId"
    " autoCancelParent=0 shareholder imbalanceOnly=0 routeMarketableToBbo=0 parentPermId=0 completedTime"
    f" completedStatus{_PEGGED}"
)

PLACED_HEAD = Layout(
    "secIdType secId action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account openClose origin"
    " orderRef transmit parentId blockOrder sweepToFill displaySize triggerMethod outsideRth hidden"
)
PLACED_TERMS = Layout(
    "sharesAllocation discretionaryAmt goodAfterTime goodTillDate faGroup faMethod faPercentage faProfile<177"
    " modelCode shortSaleSlot designatedLocation exemptCode ocaType rule80A settlingFirm allOrNone minQty"
    " percentOffset eTradeOnly firmQuoteOnly nbboPriceCap auctionStrategy startingPrice stockRefPrice delta"
    " stockRangeLower stockRangeUpper overridePercentageConstraints volatility volatilityType"
    " deltaNeutralOrderType deltaNeutralAuxPrice"
)
PLACED_TRAIL = Layout(
    "continuousUpdate referencePriceType trailStopPrice trailingPercent scaleInit scaleSubs scaleIncrement"
)
PLACED_HEDGE = Layout("scaleTable activeStart activeStop hedgeType")
PLACED_CLEARING = Layout("optOut clearingAccount clearingIntent notHeld deltaNeutral")


def error_message(version: int, request_id: int, code: int, text: str) -> Message:
    """Return an error message (4); request id -1 for one that answers no request."""
    return 4, *ERROR.write(version, {"requestId": request_id, "code": code, "text": text})
