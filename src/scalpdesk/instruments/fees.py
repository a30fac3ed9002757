"""Commissions and regulatory fees by date, as exact amounts in the quote currency.

The figures are rows of ``fees.toml``, each with its page and the days for which that is known. A model of
fees answers by date:
``ALPACA_FEES.on(day)`` is the schedule of that day, which charges executions.
"""

import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import msgspec

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.intents import Side
from scalpdesk.core.units import CENT, ZERO
from scalpdesk.instruments.classes import INDICES
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.sessions import to_new_york

Prices = tuple[tuple[Decimal | None, Decimal], ...]
"""Amounts by premium: each holds below the first figure, the last one (None) from there on."""


class FeesSoFar:
    """Fees of one account on one trade date: what minimums and roundings of later executions depend on."""

    __slots__ = ("commissions", "passed_on")

    def __init__(self) -> None:
        self.commissions: dict[str, Decimal] = {}
        """Commissions of orders before their minimum, by order."""
        self.passed_on: dict[str, Decimal] = {}
        """Regulatory and clearing fees before rounding, by kind."""


class DayFees(Protocol):
    """Fees of a venue on one trade date."""

    def fee(
        self,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        *,
        order: str = "",
        so_far: FeesSoFar | None = None,
        is_maker: bool = False,
    ) -> Decimal:
        """Return the fee of one execution in the instrument's currency.

        ``quantity``, ``price``: Unsigned units; currency a unit of the underlying.
        ``order``: Id of the order, which shares one minimum; it counts with ``so_far`` only.
        ``so_far``: Fees of the account on this day, which take the execution up; None charges it as if it
        were alone.
        ``is_maker``: Whether the order rested in the book.
        """
        ...

    def delivery(self, instrument: Instrument, payoff: Decimal) -> Decimal:
        """Return the fee of the settlement of one option that pays ``payoff``, in the same currency."""
        ...

    def free_side(self, legs: Sequence[tuple[Instrument, Side, Decimal, Decimal]]) -> Side | None:
        """Return the side of a combo that pays nothing; None where each leg pays its own fee.

        ``legs`` are instrument, side, unsigned quantity and price of the combo's executions.
        """
        ...


class FeeModel(Protocol):
    """Fees of a venue by trade date."""

    def on(self, day: date) -> DayFees:
        """Return the schedule of a trade date."""
        ...


class FeeSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Commissions and regulatory fees of a broker in shares, listed options and futures, USD."""

    per_share: Decimal = ZERO
    per_contract: Decimal = ZERO
    """``per_share``, ``per_contract``: Commission in USD a share and a contract."""
    by_premium: Prices = ()
    """Commission a contract by premium, in place of ``per_contract``."""
    surcharges: Mapping[str, Prices] = {}
    """Exchange fee a contract by root and premium."""
    per_future: Mapping[str, Decimal] = {}
    per_future_option: Mapping[str, Decimal] = {}
    """``per_future``, ``per_future_option``: Commission, exchange and clearing fees in USD a contract and
    side, by root of the future.
    """
    minimum_per_order: Decimal = ZERO
    minimum_of_shares: Decimal | None = None
    """``minimum_per_order``, ``minimum_of_shares``: Smallest commission of an order on one day in USD; of
    shares None for the same.
    """
    section_31_per_million: Decimal = ZERO
    """SEC fee in USD per million USD sold (shares and options, sells only; 17 CFR 240.31 exempts options on
    an index).
    """
    taf_per_share: Decimal = ZERO
    taf_per_contract: Decimal = ZERO
    """``taf_per_share``, ``taf_per_contract``: FINRA trading activity fee in USD, sells only."""
    taf_cap: Decimal = ZERO
    """Largest TAF of one execution in USD (shares)."""
    orf_per_contract: Decimal = ZERO
    """Options regulatory fee in USD, both sides."""
    occ_per_contract: Decimal = ZERO
    occ_cap: Decimal = ZERO
    """``occ_per_contract``, ``occ_cap``: Clearing fee in USD, both sides, and its cap a trade; 0: no cap."""
    cat_per_share: Decimal = ZERO
    """Consolidated audit trail in USD a share or share of the underlying, both sides."""
    rounds_up: bool = True
    """Whether each kind of an account's passed-on fees of a day is rounded up to the cent, or their sum to
    the nearest one.
    """

    def on(self, day: date) -> Self:
        """Return itself: it holds on every day."""
        del day
        return self

    def commission(self, instrument: Instrument, quantity: Decimal, price: Decimal) -> Decimal:
        """Return the commission of an execution before the order's minimum."""
        if instrument.is_option:
            return quantity * (_at(self.by_premium, price) if self.by_premium else self.per_contract)
        return quantity * self.per_share

    def passed_on(
        self, instrument: Instrument, side: Side, quantity: Decimal, price: Decimal
    ) -> dict[str, Decimal]:
        """Return the regulatory, clearing and exchange fees of an execution before rounding, by kind."""
        found = {"CAT": quantity * instrument.multiplier * self.cat_per_share}
        is_option = instrument.is_option
        if instrument.is_option:
            occ = quantity * self.occ_per_contract
            found["OCC"] = min(occ, self.occ_cap) if self.occ_cap else occ
            found["ORF"] = quantity * self.orf_per_contract
            found["exchange"] = quantity * _at(self.surcharges.get(instrument.root, ()), price)
        if side is Side.SELL:
            if not (instrument.is_option and instrument.underlying in INDICES):
                notional = quantity * price * instrument.multiplier
                found["REG"] = notional * self.section_31_per_million / 1_000_000
            taf = quantity * (self.taf_per_contract if is_option else self.taf_per_share)
            found["TAF"] = min(taf, self.taf_cap) if self.taf_cap and not is_option else taf
        return found

    def fee(
        self,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        *,
        order: str = "",
        so_far: FeesSoFar | None = None,
        is_maker: bool = False,
    ) -> Decimal:
        """Return the fee of one execution in USD.

        An order's first execution pays its minimum, the day's first executions the rounding up of each kind
        to the cent; each later execution pays the difference of the totals.
        """
        del is_maker
        if instrument.is_future:
            return quantity * self.per_future.get(instrument.root, ZERO)
        if instrument.is_option and instrument.is_on_future:
            return quantity * self.per_future_option.get(instrument.underlying.partition("_")[0], ZERO)
        least = self.minimum_per_order
        if not instrument.is_option and self.minimum_of_shares is not None:
            least = self.minimum_of_shares
        book = FeesSoFar() if so_far is None else so_far
        before = book.commissions.get(order)
        after = (before or ZERO) + self.commission(instrument, quantity, price)
        charged = max(after, least) - (ZERO if before is None else max(before, least))
        added = self.passed_on(instrument, side, quantity, price)
        passed = book.passed_on | {kind: book.passed_on.get(kind, ZERO) + fee for kind, fee in added.items()}
        charged += self.rounded(passed) - self.rounded(book.passed_on)
        book.commissions[order], book.passed_on = after, passed
        return charged

    def rounded(self, by_kind: Mapping[str, Decimal]) -> Decimal:
        """Return what an account pays of a day's passed-on fees, which are given by kind."""
        if self.rounds_up:
            return sum((total.quantize(CENT, rounding=ROUND_UP) for total in by_kind.values()), ZERO)
        return sum(by_kind.values(), ZERO).quantize(CENT, rounding=ROUND_HALF_UP)

    def delivery(self, instrument: Instrument, payoff: Decimal) -> Decimal:
        """Return 0: an exercise or settlement is free."""
        del instrument, payoff
        return ZERO

    def free_side(self, legs: Sequence[tuple[Instrument, Side, Decimal, Decimal]]) -> Side | None:
        """Return None: every leg pays its own fee."""
        del legs
        return None


def _at(prices: Prices, premium: Decimal) -> Decimal:
    """Return the amount of a premium; 0 without any."""
    return next((amount for below, amount in prices if below is None or premium < below), ZERO)


NO_FEES = FeeSchedule()


# rows of the file -----------------------------------------------------------------------------------------


class CoinRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Row of fees of a coin exchange: fractions of the underlying."""

    option: Decimal
    delivery: Decimal
    most_of_premium: Decimal
    maker: Decimal
    taker: Decimal
    source: str
    since: date
    until: date
    """Last day for which the row is known: its end, or when its page was last read."""
    daily_delivery_is_free: bool = False
    nets_combos: bool = False


class _Volume(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    volume: int
    prices: tuple[tuple[str, Decimal], ...]


class _Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    since: date
    until: date
    source: str
    tiers: tuple[_Volume, ...] = ()
    minimum: Decimal = ZERO
    per_share: Decimal = ZERO
    minimum_of_shares: Decimal = ZERO
    rounds_up: bool = False
    surcharges: dict[str, tuple[tuple[str, Decimal], ...]] = {}


class _Amount(msgspec.Struct, frozen=True, array_like=True):
    since: date
    amount: Decimal
    source: str
    until: date | None = None
    """None: the day before the next amount, of the last one the end of its rate."""


class _Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    amounts: tuple[_Amount, ...]
    until: date
    broker: str = ""
    """The one that charges it; empty: all."""


class _Futures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    brokers: str
    roots: str
    since: date
    until: date
    future: Decimal
    option: Decimal
    source: str


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sources: dict[str, str]
    rates: tuple[_Rate, ...]
    brokers: tuple[_Broker, ...]
    futures: tuple[_Futures, ...]
    coins: tuple[CoinRates, ...]

    def amounts(self, rate: str, broker: str) -> list[tuple[date, date, _Amount]]:
        """Return the amounts of a rate that a broker charges, each with its first and last day, by date."""
        found = []
        for row in self.rates:
            if row.name == rate and row.broker in {"", broker}:
                ends = [each.since - timedelta(days=1) for each in row.amounts[1:]] + [row.until]
                found += [
                    (each.since, each.until or end, each) for each, end in zip(row.amounts, ends, strict=True)
                ]
        return sorted(found, key=lambda each: each[0])


@cache
def _table() -> _Table:
    text = files(__package__).joinpath("fees.toml").read_text("utf-8")
    found: dict[str, Any] = tomllib.loads(text)
    return msgspec.convert(found, _Table, strict=False)


class RowUsed(msgspec.Struct, frozen=True):
    """Row of the table that answers for a day."""

    name: str
    since: date
    source: str
    is_in_force: bool
    """False where no row holds on the day and the nearest one answers."""


class _Dated(Protocol):
    @property
    def since(self) -> date: ...
    @property
    def until(self) -> date: ...


Row = TypeVar("Row", bound=_Dated)


def _row_of(rows: Sequence[Row], day: date) -> tuple[Row, bool]:
    """Return the row of a day, else the row before or the first, and whether it holds then."""
    row = rows[max(bisect_right([each.since for each in rows], day) - 1, 0)]
    return row, row.since <= day <= row.until


def _prices(pairs: Sequence[tuple[str, Decimal]]) -> Prices:
    return tuple((Decimal(below) if below else None, amount) for below, amount in pairs)


_FIELDS = {
    "section_31": "section_31_per_million",
    "taf_share": "taf_per_share",
    "taf_contract": "taf_per_contract",
    "taf_cap": "taf_cap",
    "occ": "occ_per_contract",
    "occ_cap": "occ_cap",
    "orf": "orf_per_contract",
    "cat": "cat_per_share",
}


class BrokerFees(msgspec.Struct, frozen=True):
    """Fees of a broker in shares, options and futures by date, from the table."""

    name: str
    monthly_contracts: int = 0
    """Contracts traded in the month, which the commission falls with."""

    def on(self, day: date) -> FeeSchedule:
        """Return the schedule of a trade date."""
        return _schedule(self.name, self.monthly_contracts, day)[0]

    def rows(self, day: date) -> tuple[RowUsed, ...]:
        """Return the rows that make up the schedule of a day."""
        return _schedule(self.name, self.monthly_contracts, day)[1]


@lru_cache(maxsize=4096)
def _schedule(name: str, volume: int, day: date) -> tuple[FeeSchedule, tuple[RowUsed, ...]]:
    table = _table()
    rows = [row for row in table.brokers if row.name == name]
    if not rows:
        known = sorted({row.name for row in table.brokers})
        raise ArgumentError(
            "no fees of this broker are known", where="fees", value=name, fix=" or ".join(known)
        )
    row, holds = _row_of(rows, day)
    used = [RowUsed(name, row.since, row.source, holds)]
    fields: dict[str, Decimal] = {}
    for rate, field in _FIELDS.items():
        amounts = table.amounts(rate, name)
        since, until, each = amounts[max(bisect_right([first for first, _, _ in amounts], day) - 1, 0)]
        fields[field] = each.amount
        used.append(RowUsed(rate, since, each.source, since <= day <= until))
    futures = [each for each in table.futures if name in each.brokers.split()]
    used += [
        RowUsed(f"futures {each.roots}", each.since, each.source, each.since <= day <= each.until)
        for each in futures
    ]
    tiers = [tier.prices for tier in row.tiers if tier.volume <= volume]
    schedule = FeeSchedule(
        per_share=row.per_share,
        by_premium=_prices(tiers[-1]) if tiers else (),
        surcharges={root: _prices(pairs) for root, pairs in row.surcharges.items()},
        per_future={root: each.future for each in futures for root in each.roots.split()},
        per_future_option={root: each.option for each in futures for root in each.roots.split()},
        minimum_per_order=row.minimum,
        minimum_of_shares=row.minimum_of_shares,
        rounds_up=row.rounds_up,
        **fields,
    )
    named = (msgspec.structs.replace(each, source=table.sources[each.source]) for each in used)
    return schedule, tuple(named)


def coin_rates(day: date) -> tuple[CoinRates, RowUsed]:
    """Return the fees of the coin exchange on a day, and the row that says so."""
    row, holds = _row_of(_table().coins, day)
    return row, RowUsed("deribit", row.since, _table().sources[row.source], holds)


@runtime_checkable
class DatedFees(FeeModel, Protocol):
    """Fees from the table."""

    @property
    def name(self) -> str:
        """Return the name of the schedule."""
        ...

    def rows(self, day: date) -> tuple[RowUsed, ...]:
        """Return the rows that make up the schedule of a day."""
        ...


def schedule_used(fees: DatedFees, first: date, last: date) -> dict[str, Any]:
    """Return which schedule a run from ``first`` to ``last`` is charged by, in JSON types.

    ``name``, ``since`` and ``until`` (start of the newest row of the first and of the last day), and
    ``assumed``: the nearest rows, where the table has no row for the day, each with its start.
    """
    spans = [fees.rows(day) for day in (first, last)]
    newest = [max((row.since for row in rows if row.is_in_force), default=None) for rows in spans]
    assumed = {row.name: str(row.since) for rows in spans for row in rows if not row.is_in_force}
    since, until = (None if day is None else str(day) for day in newest)
    return {"name": fees.name, "since": since, "until": until, "assumed": assumed}


class FeeBook:
    """Charges the executions of one account by the schedules of their dates, each once.

    An execution is charged after those of its order and of its day: an order pays its minimum once, and the
    day's total is rounded once.

    ``are_stated``: Whether the venue states each fee later: until then an execution is charged as if it were
    alone, so that every process has the same estimate of it.
    """

    def __init__(self, fees: FeeModel, *, are_stated: bool = False) -> None:
        self._fees, self._are_stated = fees, are_stated
        self._days: dict[date, FeesSoFar] = {}
        self._charged: dict[str, Decimal] = {}

    def charge(
        self,
        execution_id: str,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        *,
        order: str,
        ts_ns: int,
    ) -> Decimal:
        """Return the fee of an execution at an instant (UTC ns), in the instrument's currency."""
        known = self._charged.get(execution_id)
        if known is None:
            day = trade_date(ts_ns)
            so_far = None if self._are_stated else self._days.setdefault(day, FeesSoFar())
            terms = instrument, side, quantity, price
            known = self._fees.on(day).fee(*terms, order=order, so_far=so_far)
            self._charged[execution_id] = known
        return known

    def alone(
        self,
        instrument: Instrument,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        *,
        day: date,
        is_maker: bool,
    ) -> Decimal:
        """Return the fee of an execution as if it were the only one of its day; nothing is charged."""
        return self._fees.on(day).fee(instrument, side, quantity, price, is_maker=is_maker)

    def state(self, execution_id: str, fee: Decimal) -> None:
        """Take the venue's own fee of an execution in place of the estimate."""
        self._charged[execution_id] = fee


ALPACA_FEES = BrokerFees("alpaca")
"""No commission; the regulatory and clearing fees that the broker passes on."""
IBKR_FEES = BrokerFees("ibkr")
IBKR_TIERED_FEES = BrokerFees("ibkr_tiered")
"""``IBKR_FEES``, ``IBKR_TIERED_FEES``: Interactive Brokers' fixed and tiered prices in the US."""


def trade_date(ts_ns: int) -> date:
    """Return the date in New York of an instant, UTC nanoseconds."""
    return to_new_york(ts_ns).date()
