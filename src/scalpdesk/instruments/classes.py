"""Contract classes: what the root of an option or a future means, by date, from the table ``classes.toml``.

Every part of the desk asks here: importers, venues, the simulated broker, strategies. A root without a row
is that of options on a share only where the data or the venue show a share of that symbol; any other is
refused. Rows of your own are the section ``[classes]`` of the settings, or an installed package's entry
point of the group ``scalpdesk.classes``, named as the root: an :class:`OptionClass`.
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from datetime import date, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.sockets import CONTRACT_CLASSES
from scalpdesk.core.units import MINUTE_NS
from scalpdesk.instruments.contract import OptionContract, Settlement, Style, occ_symbol, parse_occ
from scalpdesk.instruments.sessions import (
    FIRST_DAY,
    LAST_DAY,
    REGULAR_CLOSE,
    coin_session,
    effective_day,
    final_close_ns,
    globex_sessions,
    hours_table,
    is_session,
    new_york_ns,
    session_on,
)
from scalpdesk.instruments.ticks import NICKEL_DIME, TickRule, stepped


class Kind(StrEnum):
    """Kinds of underlyings."""

    SHARE = "share"
    BROAD_FUND = "broad_fund"
    """A fund on a broad index: some brokers take orders in its expiring options longer."""
    BROAD_INDEX = "broad_index"
    NARROW_INDEX = "narrow_index"
    VOLATILITY = "volatility"
    """An index of volatility; for margin it is no broad one."""


_INDEX_KINDS = frozenset({Kind.BROAD_INDEX, Kind.NARROW_INDEX, Kind.VOLATILITY})


class OptionClass(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Terms shared by the options of one root that expire from ``since`` to ``until``."""

    underlying: str = ""
    """Symbol of the share, fund or index; empty: the root."""
    kind: Kind = Kind.SHARE
    """A share or a fund, or an index, which is not traded itself."""
    style: Style | None = None
    """``american`` or ``european``; None: American on shares and funds, European on indices."""
    settlement: Settlement = Settlement.PHYSICAL
    """``physical``, ``cash_pm`` (at the close of the expiry), ``cash_am`` (at its opening that morning)."""
    multiplier: int = 100
    """Units of the underlying that a contract is on."""
    tick: str = ""
    """Price grid below 3.00 and from there on, as ``0.01/0.05``; empty: that, of index options 0.05/0.10."""
    closes: time = REGULAR_CLOSE
    """End of the regular trading hours, New York; of half days as much later than the close of the shares."""
    nights: bool = False
    """Whether it trades in Cboe's global hours and curb as SPX does; roots of ``hours.toml`` do anyhow."""
    since: date = FIRST_DAY
    until: date = LAST_DAY
    """``since``, ``until``: First and last expiry to which the row applies."""
    source: str = "settings"
    """Page or rule that states the terms."""

    def __post_init__(self) -> None:
        """Refuse an index that would be delivered, and a tick that is no price."""
        if self.is_index and not self.settlement.value.startswith("cash"):
            raise ConfigError(
                "an option on an index settles in cash",
                where="settlement",
                value=self.settlement.value,
                fix="cash_am for the opening of the expiry morning, cash_pm for the close",
            )
        if self.multiplier < 1 or self.tick_rule.below <= 0:
            raise ConfigError("a multiplier and a tick are above 0", where="tick", value=self.tick)

    @property
    def is_index(self) -> bool:
        """True where the underlying is an index."""
        return self.kind in _INDEX_KINDS

    @property
    def exercise(self) -> Style:
        """Exercise style."""
        return self.style or (Style.EUROPEAN if self.is_index else Style.AMERICAN)

    @property
    def tick_rule(self) -> TickRule:
        """Price grid of the options."""
        return _tick_rule(self.tick or ("0.05/0.10" if self.is_index else "0.01/0.05"))


@lru_cache(maxsize=64)
def _tick_rule(text: str) -> TickRule:
    below, _, above = text.partition("/")
    try:
        return stepped(below, above or below)
    except (InvalidOperation, ArgumentError) as error:
        raise ConfigError("a tick is one price or two", where="tick", value=text, fix="0.01/0.05") from error


class FutureClass(Struct, frozen=True, forbid_unknown_fields=True):
    """Terms of the index futures of one root."""

    root: str
    multiplier: int
    """US dollars a point."""
    tick: Decimal
    """Points."""
    exchange: str
    source: str
    since: date = FIRST_DAY


class Weekdays(Struct, frozen=True, forbid_unknown_fields=True):
    """Weekdays other than Friday on which options of some roots expire."""

    roots: str
    days: str
    source: str
    since: date
    most: int | None = None
    """Number of each weekday that is listed at once; None: all."""


def _read() -> tuple[dict[str, tuple[OptionClass, ...]], dict[str, FutureClass], tuple[Weekdays, ...]]:
    table: dict[str, Any] = tomllib.loads(files(__package__).joinpath("classes.toml").read_text("utf-8"))
    sources: dict[str, str] = table.pop("sources")
    for rows in table.values():
        for row in rows:
            row["source"] = sources[row["source"]]
    by_root: dict[str, tuple[OptionClass, ...]] = {}
    for row in table["options"]:
        for root in row.pop("roots").split():
            terms = msgspec.convert({"underlying": root, **row}, OptionClass)
            by_root[root] = (*by_root.get(root, ()), terms)
    futures = msgspec.convert(table["futures"], list[FutureClass])
    return (
        by_root,
        {each.root: each for each in futures},
        msgspec.convert(table["weekdays"], tuple[Weekdays, ...]),
    )


_ROWS, FUTURES, _WEEKDAYS = _read()
"""Rows of the file: options and futures by root, weekdays of expiries."""


_by_root: dict[str, list[OptionClass]] = {}
_refused: dict[str, ConfigError] = {}
"""Why a package's row does not apply, by root."""
_underlyings: dict[str, str] = {}
INDICES: set[str] = set()
BROAD_INDICES: set[str] = set()
BROAD_FUNDS: set[str] = set()
"""Underlyings of a kind, by the rows that apply."""


def _apply(own: Mapping[str, OptionClass]) -> None:
    """Let rows apply before those of the file."""
    for kept in (_by_root, _underlyings, INDICES, BROAD_INDICES, BROAD_FUNDS):
        kept.clear()
    _by_root.update((root, list(rows)) for root, rows in _ROWS.items())
    for root, row in own.items():
        terms = msgspec.structs.replace(row, underlying=row.underlying or root)
        _by_root[root] = [terms, *_by_root.get(root, ())]
    for root, rows in _by_root.items():
        _underlyings[root] = rows[0].underlying
        for kinds, named in (
            (_INDEX_KINDS, INDICES),
            ({Kind.BROAD_INDEX}, BROAD_INDICES),
            ({Kind.BROAD_FUND}, BROAD_FUNDS),
        ):
            named.update(row.underlying for row in rows if row.kind in kinds)


_apply({})


def use_classes(rows: Mapping[str, OptionClass]) -> None:
    """Let the settings' rows apply from now on, and those of installed packages.

    Raises ConfigError when a root has another form.
    """
    for root in rows:
        if not re.fullmatch(r"[A-Z0-9]{1,6}", root):
            raise ConfigError(
                "a root has 1 to 6 capitals or digits, and no point", where="classes", value=root, fix="BRKB"
            )
    _refused.clear()
    plugged = {}
    for root in CONTRACT_CLASSES.names():
        try:
            plugged[root] = CONTRACT_CLASSES.find_spec(OptionClass, root)
        except ConfigError as refusal:  # of this root alone: the desk may trade any other
            _refused[root] = refusal
    for root in rows:
        _refused.pop(root, None)
    _apply(plugged | dict(rows))


def option_class(root: str, day: date) -> OptionClass | None:
    """Return the row of a root for options that expire on ``day``; None without one.

    Raises ConfigError when a package brings a row of this root that is no class.

    >>> option_class("VIXW", date(2026, 3, 25)).settlement
    <Settlement.CASH_AM: 'cash_am'>
    """
    if root in _refused:
        raise _refused[root]
    return next((row for row in _by_root.get(root, ()) if row.since <= day <= row.until), None)


def underlying_of_root(symbol: str) -> str:
    """Return what the options of a root are on; of what has no row the symbol itself.

    >>> underlying_of_root("VIXW"), underlying_of_root("BRKB"), underlying_of_root("KO")
    ('VIX', 'BRK.B', 'KO')
    """
    return _underlyings.get(symbol, symbol)


def roots_of(underlying: str) -> tuple[str, ...]:
    """Return the roots of the options on an underlying: those of its rows, and its symbol without points.

    >>> roots_of("VIX"), roots_of("RDS.A")
    (('VIX', 'VIXW'), ('RDSA',))
    """
    known = (root for root, name in _underlyings.items() if name == underlying)
    return tuple(sorted({_plain(underlying), *known}))


def _plain(symbol: str) -> str:
    return symbol.replace(".", "").replace(" ", "")


class UnknownClassError(ArgumentError):
    """No row and no share says what the options of a root are."""


class MultiplierError(ArgumentError):
    """A multiplier that a venue states is not that of the contract's class."""


def us_option(
    symbol: str,
    shares: Collection[str] = (),
    *,
    multiplier: Decimal | None = None,
    is_penny: bool | None = None,
) -> OptionContract:
    """Build a US listed option from its OCC symbol, with the terms of its class.

    Its ``expiry`` is the session on which it ends, also where the symbol has a Saturday or a holiday.

    Parameters
    ----------
    symbol
        OCC symbol, compact or padded.
    shares
        Symbols that the data or the venue show as shares or funds.
    multiplier
        Units a contract as the venue states them, which have to be those of the class.
    is_penny
        Whether the venue lists it in the penny programme, where it says so.

    Raises
    ------
    UnknownClassError
        When the root has no row for this expiry and is that of none of the shares.
    MultiplierError
        When the venue states other units than the class has.
    ArgumentError
        When the text is not an OCC symbol.

    Examples
    --------
    >>> us_option("SPXW210104C03700000").settlement
    <Settlement.CASH_PM: 'cash_pm'>
    >>> us_option("KO260116C00070000", ["KO"]).style
    <Style.AMERICAN: 'american'>
    """
    root, day, right, strike = parse_occ(symbol)
    terms = option_class(root, day)
    if terms is None:
        same = (each for each in shares if _plain(each) == _plain(root))
        share = root if root in shares else next(same, None)
        if share is None or root in _by_root or root[-1].isdigit():
            raise _unknown(root, day)
        terms = OptionClass(underlying=share)
    if multiplier is not None and multiplier != terms.multiplier:
        raise MultiplierError(
            f"its multiplier is stated as {multiplier:f}, expected {terms.multiplier}",
            where="multiplier",
            value=symbol,
            fix=f"options of another multiplier have a root of their own; [classes.{root}] may state it",
        )
    return OptionContract(
        symbol=occ_symbol(root, day, right, strike),
        root=root,
        underlying=terms.underlying,
        expiry=effective_day(day),
        strike=strike,
        right=right,
        style=terms.exercise,
        settlement=terms.settlement,
        tick_rule=NICKEL_DIME if is_penny is False else terms.tick_rule,
        multiplier=terms.multiplier,
    )


def _unknown(root: str, day: date) -> UnknownClassError:
    """Return the refusal of a root, by what is known of it."""
    rows, row = _by_root.get(root, []), f"add [classes.{root}] to scalpdesk.toml"
    if rows:
        spans = ", ".join(f"{each.since} to {each.until}" for each in rows)
        what, fix = f"options of this root are known from {spans}", f"correct the date, or {row}"
    elif root[-1].isdigit():
        what = "a root that ends in a digit is an adjusted one: its deliverable is not 100 shares"
        fix = f"leave it out, or {row} with its multiplier"
    else:
        what = "it is not known what options of this root are: no share of this symbol is there, and no class"
        fix = f"import the quotes of the share {root} into the same data set first, or {row}"
    return UnknownClassError(what, where="root", value=f"{root} {day}", fix=fix)


# hours --------------------------------------------------------------------------------------------------

_LIKE_SPX = "SPX"
"""Root whose hours a class of the settings has that trades at night."""


def _beside_regular(root: str, day: date, *, is_half_day: bool) -> list[tuple[int, int]]:
    """Return a root's sessions beside the regular one on a trade date, UTC ns; a half day has no curb."""
    found = []
    for row in hours_table().cboe:
        if root in row.roots.split() and row.since <= day <= row.until:
            begins = day - timedelta(days=1) if row.opens > row.closes else day
            if row.name != "curb" or not is_half_day:
                found.append((new_york_ns(begins, row.opens), new_york_ns(day, row.closes)))
    return found


def _minutes_longer(closes: time) -> int:
    """Return by how many minutes options trade longer than the shares, on half days too."""
    return (closes.hour - REGULAR_CLOSE.hour) * 60 + closes.minute - REGULAR_CLOSE.minute


def last_trading_ns(contract: OptionContract) -> int:
    """Return the end of trading in the option, in UTC nanoseconds.

    What is settled at the close of the expiry ends with it; what is settled at the opening, and options of
    the classes that trade to 16:15, end later than the shares do.
    """
    row = None if contract.is_coin or contract.is_on_future else option_class(contract.root, contract.expiry)
    if row is None or contract.settlement is Settlement.CASH_PM:
        return final_close_ns(contract)
    return final_close_ns(contract) + _minutes_longer(row.closes) * MINUTE_NS


def trading_hours(contract: OptionContract, day: date) -> tuple[tuple[int, int], ...]:
    """Return from when to when an option trades on a trade date, UTC nanoseconds; empty once it has ended.

    By its product's calendar: options on futures in CME's electronic session, others in the exchanges' and
    where its class has them in Cboe's global hours and curb.
    """
    if contract.is_on_future:
        found = [(each.open_ns, each.close_ns) for each in globex_sessions(day, day)]
    elif contract.is_coin:
        found = [(each.open_ns, each.close_ns) for each in (coin_session(day),)]
    else:
        row, found = option_class(contract.root, contract.expiry) or OptionClass(), []
        if is_session(day):
            session = session_on(day)
            found = [(session.open_ns, session.close_ns + _minutes_longer(row.closes) * MINUTE_NS)]
            root = _LIKE_SPX if row.nights else contract.root
            found = sorted(found + _beside_regular(root, day, is_half_day=session.is_half_day))
    ends_ns = last_trading_ns(contract)
    return tuple((opens, min(closes, ends_ns)) for opens, closes in found if opens < ends_ns)


# expiries -----------------------------------------------------------------------------------------------

FRIDAY = 4


def listed_expiries(root: str, today: date, last: date, earnings: Collection[date] = ()) -> tuple[date, ...]:
    """Return the days on which options of a root expire from ``today`` to ``last``, as they are listed today.

    Fridays (the session before a holiday) and the other weekdays of its rows. A row with a number lists that
    many days, no holidays and not the Wednesday of an earnings report.

    >>> [f"{day:%a %d}" for day in listed_expiries("NVDA", date(2026, 2, 2), date(2026, 2, 20))]
    ['Mon 02', 'Wed 04', 'Fri 06', 'Mon 09', 'Wed 11', 'Fri 13', 'Fri 20']
    """
    span = [today + timedelta(days=ahead) for ahead in range((last - today).days + 1)]
    found = {effective_day(day) for day in span if day.weekday() == FRIDAY}
    for row in _WEEKDAYS:
        if root not in row.roots.split() or row.since > today:
            continue
        for name in row.days.split():
            days = [day for day in span if f"{day:%a}" == name]
            if row.most is not None:
                days = [day for day in days if is_session(day) and not (name == "Wed" and day in earnings)]
            found.update(effective_day(day) for day in days[: row.most])
    return tuple(sorted(day for day in found if today <= day <= last))
