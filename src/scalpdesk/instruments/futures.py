"""Index futures of CME and the options on them: terms, expiry, sessions, and names.

A future is an exchange of the index for a price on a later day that is settled every day: a position in it is
worth quantity x price x multiplier, its cost the same at the last settlement, and the difference, the
variation, changes hands in cash. The price of an option on one is Black's (1976, "The pricing of commodity
contracts"): the spot is the future, and the yield is the rate.

Sources: CME contract specifications of E-mini and Micro E-mini S&P 500 futures (rulebook chapters 353 and
358) and of the options on them (358A).
"""

import calendar
import re
from collections.abc import Collection, Iterable
from datetime import date
from decimal import Decimal

from scalpdesk.core.errors import ArgumentError, DataError, nearest_name
from scalpdesk.instruments.classes import FUTURES, us_option
from scalpdesk.instruments.contract import Future, OptionContract, Right, Settlement, Style
from scalpdesk.instruments.sessions import is_session, previous_session, session_on
from scalpdesk.instruments.ticks import TickRule, stepped

_OPTION_TICK = stepped("0.05", "0.25", "5")
"""Tick of options on index futures: a nickel up to a premium of five points, then a quarter."""
_ROLL_DAYS = 4
"""From so many calendar days before its expiry a future is not the front one any more: Monday to Friday."""
_OPTION = re.compile(r"([A-Z0-9]{1,4}_\d{6})-(\d{2})(\d{2})(\d{2})([CP])(\d{8})\Z")


def third_friday(year: int, month: int) -> date:
    """Return the third Friday of a month.

    >>> third_friday(2021, 3)
    datetime.date(2021, 3, 19)
    """
    weeks = calendar.monthcalendar(year, month)
    return date(year, month, [week[calendar.FRIDAY] for week in weeks if week[calendar.FRIDAY]][2])


def future_contract(symbol: str) -> Future:
    """Build a dated index future from ``ROOT_yyyymm``; it expires on the month's third Friday.

    Raises DataError when the root's contract terms are not known or the symbol has another form.
    """
    root, _, month = symbol.partition("_")
    if root not in FUTURES or len(month) != 6 or not month.isdigit() or not 1 <= int(month[4:]) <= 12:
        raise DataError(
            f"a future is written ROOT_yyyymm with a root among {', '.join(FUTURES)}",
            where="symbol",
            value=symbol,
            nearest=nearest_name(root, FUTURES),
            fix="rename it in the file that is imported, e.g. ES_201312",
        )
    terms = FUTURES[root]
    expiry = third_friday(int(month[:4]), int(month[4:]))
    return Future(symbol, root, expiry, TickRule(terms.tick), multiplier=terms.multiplier)


def front_contract(contracts: Iterable[Future], day: date) -> Future:
    """Return the contract to trade on a day: the nearest one before its roll date, else the latest.

    Index futures are rolled on the Monday of the week in which they expire (CME, equity index roll dates).
    """
    by_expiry = sorted(contracts, key=lambda contract: contract.expiry)
    ahead = (contract for contract in by_expiry if (contract.expiry - day).days > _ROLL_DAYS)
    return next(ahead, by_expiry[-1])


def future_option_symbol(future: str, expiry: date, right: Right, strike: Decimal) -> str:
    """Return the symbol of an option on a future: the future, a hyphen, and what an OCC symbol ends with.

    Raises ArgumentError when the strike has no such form.

    >>> future_option_symbol("ES_202003", date(2020, 3, 20), Right.CALL, Decimal(3250))
    'ES_202003-200320C03250000'
    """
    thousandths = strike * 1000
    if thousandths != int(thousandths) or not 0 < thousandths < 100_000_000:
        raise ArgumentError(
            "a strike is above 0, below 100000 and a multiple of 0.001", where="strike", value=strike
        )
    return f"{future}-{expiry:%y%m%d}{right.value}{int(thousandths):08d}"


def future_option(symbol: str) -> OptionContract:
    """Build an option on an index future from its symbol.

    The quarterly option that ends with its future is American and settles with it, at the opening of the
    third Friday. Any other (end of week, end of month) is European and delivers its future at the close.
    Raises ArgumentError when the text is no such symbol.

    >>> option = future_option("ES_202003-200320C03250000")
    >>> option.underlying, option.style.value, option.settlement.value, option.multiplier
    ('ES_202003', 'american', 'future_am', 50)
    """
    match = _OPTION.match(symbol)
    if match is None:
        raise ArgumentError(
            "not an option on a future",
            where="symbol",
            value=symbol,
            fix="write ROOT_yyyymm-yymmdd + C or P + strike x 1000 in 8 digits: ES_202003-200320C03250000",
        )
    name, year, month, day, right, thousandths = match.groups()
    future = future_contract(name)
    expiry = date(2000 + int(year), int(month), int(day))
    is_quarterly = expiry == future.expiry
    return OptionContract(
        symbol=symbol,
        root=future.root,
        underlying=name,
        expiry=expiry,
        strike=(Decimal(int(thousandths)) / 1000).normalize() + 0,
        right=Right(right),
        style=Style.AMERICAN if is_quarterly else Style.EUROPEAN,
        settlement=Settlement.FUTURE_AM if is_quarterly else Settlement.FUTURE,
        tick_rule=_OPTION_TICK,
        multiplier=future.multiplier,
    )


def listed_option(symbol: str, shares: Collection[str] = ()) -> OptionContract:
    """Build an option from its symbol: of an option on a future (with a hyphen), else an OCC symbol.

    ``shares`` as for :func:`~scalpdesk.instruments.classes.us_option`.
    """
    return future_option(symbol) if "-" in symbol else us_option(symbol, shares)


def final_settlement_ns(future: Future) -> int:
    """Return when a future ends, UTC nanoseconds: the opening of the third Friday's session.

    It is settled at the special opening quotation of its index; where that Friday is a holiday the session
    before it counts.
    """
    day = future.expiry
    return (session_on(day) if is_session(day) else previous_session(day)).open_ns
