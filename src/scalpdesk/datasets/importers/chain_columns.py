"""Columns of a wide table of an option chain by their usual names."""

import re
from collections.abc import Iterable, Mapping

NAMES: Mapping[str, str] = {
    # a snapshot is known when it was taken: after the quotes in it
    "ts": "ts snapshotdate timestamp quotedate quotedatetime datetime quotereadtime quotetimestamp "
    "siptimestamp snapshot snapshottime quotets asof updatedat lastupdated quoteunixtime date tradedate time",
    "date": "date quotedate tradedate day datadate snapshotdate asofdate cdate timestamp asof ts",
    "time": "time quotetime timeofday tradetime snapshotesttime msofday quotetimehours timestamp",
    "symbol": "symbol optionsymbol occsymbol contract contractsymbol osi occ optionticker ticker option "
    "instrument optionroot root",
    "underlying": "underlying underlyingsymbol underlyingticker underlyingassetticker stocksymbol "
    "stockticker symbol ticker root",
    "root": "root optionroot class",
    "expiry": "expiry expiration expirationdate expirdate expiredate expdate exp optionexpiration maturity "
    "maturitydate",
    "strike": "strike strikeprice optionstrike k",
    "right": "right type optiontype contracttype callput cp cpflag putcall callputflag optionright iscall",
    "bid": "bid bidprice bestbid bidpx bidclose optionbidprice",
    "ask": "ask askprice bestask askpx offer askclose optionaskprice",
    "bid_size": "bidsize bidsz bestbidsize bidqty optionbidsize",
    "ask_size": "asksize asksz bestasksize askqty offersize optionasksize",
    "sizes": "size",
    "open_interest": "openinterest oi openint",
    "underlying_price": "underlyingprice underlyinglast spotprice spotpx spot stockprice stkpx undprice "
    "undlast underlyingspot underlyingclose underlyingmid activeunderlyingprice stockpriceclose "
    "stockpriceforiv unadjustedstockprice underlyingassetprice underlying",
    "underlying_bid": "underlyingbid underlyingbidprice stockbid",
    "underlying_ask": "underlyingask underlyingaskprice stockask",
    "style": "style exercisestyle exercise optionstyle",
    "settlement": "settlement settlementtype settles expirytod",
    "multiplier": "multiplier contractmultiplier contractsize sharespercontract",
}
"""Usual names of a column, without signs and capitals, by the name here."""
BAR_NAMES: Mapping[str, str] = {
    "open": "open o openprice first",
    "high": "high h highprice max",
    "low": "low l lowprice min",
    "close": "close c closeprice last",
    "volume": "volume v vol volumebtc volumeeth basevolume tradevolume totalvolume",
}
"""Usual names of a bar's columns."""
BAR_TIMES = f"{NAMES['ts']} barstart ticks starttime opentime"
"""Usual names of a bar's time, which begins it with most sources."""
SIDED = ("bid", "ask", "bid_size", "ask_size", "sizes", "open_interest")
"""Columns that a row of a call and its put has twice."""
MAPPED = (*NAMES, *(f"{side}_{name}" for side in ("call", "put") for name in SIDED))
"""Names for ``--map``."""
_UNDERLYING = frozenset(" ".join(NAMES[f"underlying_{name}"] for name in ("price", "bid", "ask")).split()) - {
    "underlying"
}


def plain(text: str) -> str:
    """Return a title without capitals, signs and the group that a flattened document puts before it."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^(details|last_quote)\.", "", text.lower()))


def sided(plain: str) -> str | None:
    """Return the name here of a column of calls or puts (``cBidPx``, ``P_ASK``, ``bid_call``)."""
    for side in ("call", "put"):
        short = side[0]
        for shape in (rf"{side}s?(.+)", rf"(.+){side}s?", rf"{short}(.+)"):
            match = re.fullmatch(shape, plain)
            for name in SIDED if match else ():
                if match and match[1] in NAMES[name].split():
                    return f"{side}_{name}"
    return None


def prices_of_underlying(columns: Iterable[str]) -> list[str]:
    """Return the columns that have a price of the underlying beside an option's quote."""
    return [column for column in columns if plain(column) in _UNDERLYING]


def is_wide(columns: Iterable[str]) -> bool:
    """Return whether a table has the underlying's price, or calls and puts, side by side with quotes."""
    found = list(columns)
    return bool(prices_of_underlying(found)) or any(sided(plain(column)) for column in found)
