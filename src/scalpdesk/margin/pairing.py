"""Margin of one underlying's positions by Regulation T and FINRA rule 4210, paired to ask least.

A customer's positions may be paired in many ways, and the account is asked for the way that asks least. The
amounts of all pairs are the whole numbers of one small program: who is covered, by what, and what is left.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.units import ZERO, exact
from scalpdesk.instruments.classes import BROAD_INDICES
from scalpdesk.instruments.contract import FUTURE_INITIAL, FUTURE_MAINTENANCE, OptionContract
from scalpdesk.instruments.structure import bounds_of
from scalpdesk.margin.holdings import Holding, Requirement

HALF = Decimal("0.5")
LONG_RATE, _SHORT_RATE = Decimal("0.25"), Decimal("0.30")
SHORT_FLOOR, _LOW_PRICE, _LOW_PRICE_FLOOR = Decimal(5), Decimal(5), Decimal("2.50")
_OPTION_RATE, _BROAD_RATE, _OPTION_FLOOR = Decimal("0.20"), Decimal("0.15"), Decimal("0.10")
_UNIT_DECIMALS = 9
"""Decimals of shares, of which brokers hold parts."""
_NEARLY = 1e-6
"""Amounts and costs, currency, that count as none."""
Floats = NDArray[np.float64]


# requirements -------------------------------------------------------------------------------------------


def share_requirement(quantity: Decimal, price: Decimal) -> Requirement:
    """Return the margin of shares; of a short sale beyond its proceeds. ``quantity`` is signed."""
    if quantity >= 0:
        return Requirement(quantity * price * HALF, quantity * price * LONG_RATE)
    floor = max(price, _LOW_PRICE_FLOOR) if price < _LOW_PRICE else max(price * _SHORT_RATE, SHORT_FLOOR)
    return Requirement(-quantity * max(price * HALF, floor), -quantity * floor)


def future_requirement(holding: Holding) -> Requirement:
    """Return the margin of a position in a future, long or short: a part of its value."""
    size = abs(holding.value)
    return Requirement(size * FUTURE_INITIAL, size * FUTURE_MAINTENANCE)


def uncovered_risk(contract: OptionContract, spot: Decimal) -> Decimal:
    """Return the margin of a sold option beside its premium, currency per unit (FINRA 4210(f)(2)(E))."""
    is_broad = contract.underlying in BROAD_INDICES or contract.is_on_future
    rate = _BROAD_RATE if is_broad else _OPTION_RATE
    floor = (spot if contract.is_call else contract.strike) * _OPTION_FLOOR
    return max(spot * rate - out_of_the_money(contract, spot), floor)


def out_of_the_money(contract: OptionContract, spot: Decimal) -> Decimal:
    """Return how far the strike is out of the money, currency per unit, at least 0."""
    return max(contract.strike - spot if contract.is_call else spot - contract.strike, ZERO)


# pairs --------------------------------------------------------------------------------------------------


class _Sold(NamedTuple):
    contract: OptionContract
    quantity: Decimal
    """Contracts, unsigned."""
    amount: Decimal
    """Margin without a cover, and ``risk`` without the premium, currency per unit."""
    risk: Decimal
    secured: Decimal
    """What secures it in cash beyond the margin, currency per unit."""


class _Lot(NamedTuple):
    sign: int
    quantity: Decimal
    """Shares, unsigned."""
    kept: Decimal
    """Maintenance margin of one, currency; 0 where that is not to be least."""


class _Pair(NamedTuple):
    """What a unit of a column of the program ties up, currency; less than 0 where it frees it."""

    margin: Decimal = ZERO
    kept: Decimal = ZERO
    """Of the maintenance margin alone."""
    withheld: Decimal = ZERO
    weight: Decimal = ZERO
    """What else counts in the choice."""
    is_whole: bool = True
    covered: int | None = None
    """Which sold option a contract of it covers."""
    spread: tuple[date, OptionContract, int] | None = None
    """Group of spreads, and the contract with its sign."""

    @property
    def cost(self) -> Decimal:
        """What the choice counts."""
        return self.margin + self.kept + self.withheld + self.weight


Terms = dict[Hashable, Decimal]
"""Part of a column in each row that bounds it."""


class Pairing:
    """Margin of one underlying's shares and options, paired so that they tie up least.

    Shares, or bought options of the same right that end no earlier, cover sold ones. Pairs of two options are
    spreads: those of which no sold one outlives a bought one are asked for their largest loss together, which
    is at one of the strikes. A sold call and a sold put without a cover are a straddle: the greater side's
    risk, both premiums. Where both sides need as much the rule names none, and the greater risk is asked.
    Bought options that cover nothing lower the maintenance of shares to a tenth of the strike and what it is
    out of the money; beside a sold option of their expiry that shares cover, as a collar or a conversion.

    ``holdings``: Shares, futures and options of the underlying.
    ``spot``: Its price, currency per unit.
    ``is_overnight``: Whether the initial margin is to be least, and not the maintenance margin.
    ``is_secured``: Whether a sold put without a cover is secured by its strike, and a sold call needs a
    cover.
    """

    def __init__(
        self,
        holdings: Iterable[Holding],
        spot: Decimal,
        *,
        is_overnight: bool = False,
        is_secured: bool = False,
    ) -> None:
        self._spot, self._is_secured = spot, is_secured
        self.initial = self.maintenance = self.premium = self.withheld = ZERO
        """``premium`` of bought options; ``withheld``: what covered options are in the money, and what cash
        secures beyond the margin."""
        self._sold, self._lots = list[_Sold](), list[_Lot]()
        self._bought = list[tuple[OptionContract, Decimal]]()
        for line in sorted(holdings, key=lambda each: (each.instrument.symbol, each.quantity, each.price)):
            asked = self._asked_alone(line)
            self.initial += asked.initial
            self.maintenance += asked.maintenance
            if not (line.instrument.is_option or line.instrument.is_future) and line.quantity:
                sign = 1 if line.quantity > 0 else -1
                kept = ZERO if is_overnight else share_requirement(Decimal(sign), line.price).maintenance
                self._lots.append(_Lot(sign, abs(line.quantity), kept))
        self.uncovered = [(each.contract, each.quantity) for each in self._sold]
        """Sold contracts that nothing covers."""
        contracts = [sold.contract for sold in self._sold] + [contract for contract, _ in self._bought]
        self._strikes = sorted({contract.strike for contract in contracts})
        self._pairs: list[tuple[_Pair, Terms]] = []
        self._most: Terms = {}
        """What the amounts of a row come to at most; 0 unless set."""
        self._add_spreads()
        self._add_shares()
        self._add_straddles()
        if any(pair.cost < 0 for pair, _ in self._pairs):
            self._pair(self._least() if self._sold else self._first())

    def _asked_alone(self, line: Holding) -> Requirement:
        """Return what a line asks for unpaired, and keep it for the pairs."""
        contract, size = line.instrument, abs(line.quantity)
        if contract.is_future:
            return future_requirement(line)
        if not contract.is_option:
            return share_requirement(line.quantity, line.price)
        if line.quantity >= 0:
            self._bought.append((contract, size))
            self.premium += line.value
            return Requirement(line.value, ZERO)
        risk = uncovered_risk(contract, self._spot)
        amount, units = line.price + risk, size * contract.multiplier
        is_put = self._is_secured and not contract.is_call
        sold = _Sold(contract, size, amount, risk, max(contract.strike - amount, ZERO) if is_put else ZERO)
        self._sold.append(sold)
        self.withheld += units * sold.secured
        return Requirement(units * amount, units * amount)

    def _cover(
        self,
        n: int,
        terms: Terms,
        *,
        withheld: Decimal = ZERO,
        left: Decimal = ZERO,
        group: date | None = None,
    ) -> None:
        """Let contracts of a sold option be covered: what is withheld, and left to ask, currency per unit."""
        contract, _, amount, _, secured = self._sold[n]
        units = Decimal(contract.multiplier)
        # where a call needs a cover it has one whatever that asks for
        weight = sum(self._strikes, self._spot) * 10 if self._is_secured and contract.is_call else ZERO
        pair = _Pair(
            margin=units * (left - amount),
            withheld=units * (withheld - secured),
            weight=-units * weight,
            covered=n,
            spread=None if group is None else (group, contract, -1),
        )
        self._pairs.append((pair, {("sold", n): units, **terms}))

    def _add_spreads(self) -> None:
        """Pair sold options with bought ones, in a group for each expiry that is the last one sold in it."""
        for n, sold in enumerate(self._sold):
            self._most["sold", n] = sold.quantity * sold.contract.multiplier
        for n, (_, quantity) in enumerate(self._bought):
            self._most["bought", n] = quantity
        for end in sorted({sold.contract.expiry for sold in self._sold if self._bought}):
            loss: Terms = {(end, at): Decimal(-1) for at in self._strikes}
            self._pairs.append((_Pair(weight=Decimal(1), is_whole=False), loss))
            for n, (contract, _, amount, *_) in enumerate(self._sold):
                if contract.expiry <= end:
                    self._cover(n, self._in_group(end, contract, -1), group=end)
                    if self._is_secured:  # covered, and asked for no more than alone
                        self._cover(n, _evenly((end, "alone"), contract, -1), left=amount)
            for n, (contract, _) in enumerate(self._bought):
                if contract.expiry >= end:
                    of_it: Terms = {("bought", n): Decimal(1)}
                    pair = _Pair(spread=(end, contract, 1))
                    self._pairs.append((pair, of_it | self._in_group(end, contract, 1)))
                    if self._is_secured:
                        self._pairs.append((_Pair(), of_it | _evenly((end, "alone"), contract, 1)))

    def _in_group(self, end: date, contract: OptionContract, sign: int) -> Terms:
        """Return the part of a signed contract in a group, and in what that loses at the strikes."""
        lost: Terms = {(end, at): -sign * _worth(contract, at) for at in self._strikes}
        return _evenly(end, contract, sign) | lost

    def _add_shares(self) -> None:
        """Cover sold options with shares, and let bought options lower what shares ask for."""
        for place, lot in enumerate(self._lots):
            self._most["lot", place] = lot.quantity
            for n, (contract, *_) in enumerate(self._sold):
                if contract.is_call is (lot.sign > 0):
                    units, row = Decimal(contract.multiplier), ("beside", place, n)
                    inside = max(lot.sign * (self._spot - contract.strike), ZERO)
                    self._cover(n, {("lot", place): units, row: -units}, withheld=inside)
                    self._protect(lot, row, contract)
            self._protect(lot, ("lot", place))

    def _protect(self, lot: _Lot, row: Hashable, sold: OptionContract | None = None) -> None:
        """Let bought options protect shares of a lot; those that cover a sold option as a collar does."""
        for n, (contract, _) in enumerate(self._bought):
            if contract.is_call is (lot.sign > 0):
                continue
            asked = contract.strike * _OPTION_FLOOR
            if sold is None or contract.strike != sold.strike:
                asked += out_of_the_money(contract, self._spot)
            if sold is not None:
                is_collar = sold.is_call and contract.strike < sold.strike
                if contract.expiry != sold.expiry or not (is_collar or contract.strike == sold.strike):
                    continue
                if is_collar:
                    asked = min(asked, sold.strike * LONG_RATE)
            if asked < lot.kept:
                part = Decimal(1) / contract.multiplier
                pair = _Pair(kept=asked - lot.kept, is_whole=False)
                self._pairs.append((pair, {row: Decimal(1), ("bought", n): part}))

    def _add_straddles(self) -> None:
        """Let sold calls and puts without a cover be straddles: the lesser side's risk is not asked."""
        for n, call in enumerate(self._sold):
            for m, put in enumerate(self._sold):
                if call.contract.is_call and not put.contract.is_call:
                    freed = min((call.amount, call.risk), (put.amount, put.risk))[1]
                    terms: Terms = {("sold", n): Decimal(1), ("sold", m): Decimal(1)}
                    self._pairs.append((_Pair(-freed, is_whole=False), terms))

    def _first(self) -> Iterable[Decimal]:
        """Return the amounts where nothing is sold: what frees most protects shares first."""
        left, amounts = self._most.copy(), [ZERO] * len(self._pairs)
        for n in sorted(range(len(self._pairs)), key=lambda n: self._pairs[n][0].cost):
            terms = self._pairs[n][1]
            amounts[n] = min(left[row] / part for row, part in terms.items())
            for row, part in terms.items():
                left[row] -= amounts[n] * part
        return amounts

    def _least(self) -> Iterable[Decimal]:
        """Return the amounts of the least cost."""
        are_whole = tuple(pair.is_whole for pair, _ in self._pairs)
        columns = tuple(tuple(terms.items()) for _, terms in self._pairs)
        program = _program(are_whole, columns, tuple(self._most.items()))
        return program.least([float(pair.cost) for pair, _ in self._pairs])

    def _pair(self, amounts: Iterable[Decimal]) -> None:
        """Count amounts of the pairs."""
        spreads = defaultdict[date, list[tuple[OptionContract, float]]](list)
        for (pair, _), amount in zip(self._pairs, amounts, strict=True):
            self.initial += amount * pair.margin
            self.maintenance += amount * (pair.margin + pair.kept)
            self.withheld += amount * pair.withheld
            if pair.covered is not None:
                contract, left = self.uncovered[pair.covered]
                self.uncovered[pair.covered] = contract, left - amount
            if pair.spread is not None:
                end, contract, sign = pair.spread
                spreads[end].append((contract, float(sign * amount)))
        # as many bought as sold of each right: their worth has a bound
        worths = [bounds_of(legs).least or 0.0 for legs in spreads.values() if any(n for _, n in legs)]
        need = sum((max(-exact(worth, 8), ZERO) for worth in worths), ZERO)
        self.initial += need
        self.maintenance += need
        self.uncovered = [(contract, left) for contract, left in self.uncovered if left]


def _evenly(group: Hashable, contract: OptionContract, sign: int) -> Terms:
    """Return the part of a signed contract in a group of as many bought as sold ones of each right."""
    kind = group, contract.is_call, contract.multiplier
    return {("more", kind): Decimal(sign), ("fewer", kind): Decimal(-sign)}


def _worth(contract: OptionContract, price: Decimal) -> Decimal:
    """Return what a contract is worth when exercised at a price of the underlying, currency."""
    sign = 1 if contract.is_call else -1
    return contract.multiplier * max(sign * (price - contract.strike), ZERO)


class _Program:
    """Amounts of columns, bounded row by row, at the least cost.

    ``are_whole``, ``parts``, ``most``: Which columns take whole amounts alone; their part in each row, and
    what that comes to at most.
    """

    def __init__(self, are_whole: Sequence[bool], parts: Floats, most: Floats) -> None:
        self._are_whole, self._parts, self._most = are_whole, parts, most
        self._known: dict[bytes, Floats] = {}
        """Amounts that were least at costs of before."""

    def least(self, costs: Sequence[float]) -> list[Decimal]:
        """Return the amounts at which columns cost least."""
        from scipy.optimize import LinearConstraint, milp  # noqa: PLC0415 - a tenth of a second that only pairs pay

        known = min(self._known.values(), key=lambda amounts: float(amounts @ costs), default=None)
        if known is None or not self._is_least(known, np.array(costs)):
            found = milp(
                costs,
                integrality=np.array(self._are_whole, dtype=int),
                constraints=LinearConstraint(self._parts, ub=self._most),
                options={"mip_rel_gap": 0.0},
            )
            assert found.success, found.message
            known = np.where(self._are_whole, found.x.round(), found.x.round(_UNIT_DECIMALS))
            self._known[known.tobytes()] = known
        return [round(Decimal(amount), _UNIT_DECIMALS) for amount in known.tolist()]

    def _is_least(self, amounts: Floats, costs: Floats) -> bool:
        """Return whether bounds that the amounts reach prove that nothing costs less: prices alone moved."""
        from scipy.optimize import nnls  # noqa: PLC0415 - see above

        reached = self._most - self._parts @ amounts < _NEARLY
        proofs = np.hstack([-self._parts[reached].T, np.eye(len(costs))[:, amounts < _NEARLY]])
        return bool(proofs.size) and bool(nnls(proofs, costs)[1] <= _NEARLY)  # it crashes without a column


@lru_cache(maxsize=64)
def _program(
    are_whole: tuple[bool, ...],
    columns: tuple[tuple[tuple[Hashable, Decimal], ...], ...],
    most: tuple[tuple[Hashable, Decimal], ...],
) -> _Program:
    """Return the program of columns, each by its part in rows; a row comes to 0 at most unless bounded."""
    rows = {row: n for n, row in enumerate(dict.fromkeys(row for terms in columns for row, _ in terms))}
    parts, bounds = np.zeros((len(rows), len(columns))), dict(most)
    for column, terms in enumerate(columns):
        for row, part in terms:
            parts[rows[row], column] = float(part)
    return _Program(are_whole, parts, np.array([float(bounds.get(row, ZERO)) for row in rows]))
