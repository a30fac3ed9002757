"""Splits and special dividends of a data set: the built-in table, and nights over which one is missing."""

import csv
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib.resources import files
from itertools import product
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.store import connect, day_file, day_files, read_columns
from scalpdesk.instruments.corporate_actions import ActionKind

SPLIT_MOVE = 0.12
"""Part of the price by which a night may move it beside a split."""
_SPLITS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50)
"""Ratios of splits that a price alone shows."""
_LEAST_DROP, _DROP_MOVE = 0.015, 0.03
"""Move of a share over a night that may be an action, and how far the night moves it besides."""
_MOST_PARTS = 100
"""Largest number of a ratio of strikes: a stock dividend of 1 % is 101:100."""
_STRIKE_ROUNDING = 0.011
"""Currency by which a divided strike that is rounded to cents may be off."""
_FEW_AGAIN, _MOST_SHIFTED = 0.2, 0.6
"""Parts of the contracts: below the one that are quoted again, above the other that have the new strike."""


class BookedAction(NamedTuple):
    """A row of a file of actions."""

    ex_date: date
    kind: str
    """``dividend`` or a kind of :class:`~scalpdesk.instruments.corporate_actions.ActionKind`."""
    amount: Decimal
    """Shares before a split for one after, or currency a share."""


def read_actions(text: str, where: str) -> dict[str, list[BookedAction]]:
    """Read lines of actions by share."""
    booked: dict[str, list[BookedAction]] = {}
    for number, line in enumerate(csv.DictReader(text.splitlines()), 2):
        try:
            symbol, action, figure = (str(line[each]).strip() for each in ("symbol", "action", "amount"))
            day = date.fromisoformat(str(line["ex_date"]).strip())
            after, colon, before = figure.partition(":")
            amount = Decimal(before) / Decimal(after) if colon else Decimal(figure)
            kind = action if action == "dividend" else ActionKind(action).value
            amount /= amount > 0 and (kind == "split") == bool(colon)
        except (KeyError, ValueError, ArithmeticError) as error:
            raise DataError(
                "no corporate action",
                where=f"{where}:{number}",
                value=",".join(map(str, line.values())),
                fix="write symbol,ex_date,action,amount as TSLA,2022-08-25,split,3:1 or"
                " KO,2024-03-14,dividend,0.485",
            ) from error
        booked.setdefault(symbol.upper(), []).append(BookedAction(day, kind, round(amount, 6)))
    return booked


@cache
def known_actions() -> Mapping[str, Sequence[BookedAction]]:
    """Return the built-in table of splits and special dividends by share."""
    table = files("scalpdesk.instruments") / "corporate_actions.csv"
    return read_actions(table.read_text(encoding="utf-8"), "corporate_actions.csv")


class _Night(NamedTuple):
    """The prices of a share on both sides of a night, currency."""

    before: date
    close: float
    day: date
    opened: float


def share_nights(catalog: Path, name: str, symbol: str, first: date, last: date) -> list[_Night]:
    """Return the nights between the stored sessions of a share."""
    paths = [
        path
        for path in day_files(catalog, name, "quotes", symbol)
        if first.isoformat() <= path.stem <= last.isoformat()
    ]
    if len(paths) < 2:
        return []
    ends = read_columns(
        connect(),
        paths,
        "SELECT strftime(ts AT TIME ZONE 'America/New_York', '%Y-%m-%d') AS day, "
        "arg_min(bid + ask, ts) / 2 AS opened, arg_max(bid + ask, ts) / 2 AS closed FROM rows "
        "WHERE bid > 0 AND ask < 'infinity'::DOUBLE GROUP BY 1 ORDER BY 1",
    )
    days = [date.fromisoformat(str(day)) for day in ends["day"]]
    opened, closed = (np.ma.filled(ends[each], np.nan).astype(float) for each in ("opened", "closed"))
    return [_Night(days[i - 1], float(closed[i - 1]), days[i], float(opened[i])) for i in range(1, len(days))]


class _UnbookedAction(NamedTuple):
    """A night over which a share and its options change their scale without a booked action."""

    ex_date: date
    kind: ActionKind
    words: str
    amount: str
    """As a file of actions has it: ``11:10``, ``12.00``."""


def unbooked_action(
    catalog: Path, name: str, symbol: str, roots: Sequence[str], first: date, last: date
) -> _UnbookedAction | None:
    """Return the first night over which a share changes its scale with its options and without an action.

    Its strikes change by a common ratio near that of its price, or fall by a dividend by which its price
    falls, too, and fewer than a fifth of the contracts that live on are quoted again; a crash leaves them
    where they are. Where strikes have nothing in common the price alone shows a split of a usual ratio.
    """
    nights = [n for n in share_nights(catalog, name, symbol, first, last) if _may_be_action(n)]
    if not nights:
        return None
    connection = connect()
    actions = day_file(catalog, name, "corporate_actions", symbol, "all")
    booked = "SELECT strftime(ex_date, '%Y-%m-%d') AS day FROM rows WHERE action <> 'dividend'"
    known = read_columns(connection, [actions], booked)["day"] if actions.is_file() else ()
    days = [date.fromisoformat(str(each)) for each in known]
    for night in nights:
        if any(night.before < day <= night.day for day in days):
            continue
        span = (night.before.isoformat(), night.day.isoformat())
        found = [path for root in roots for path in day_files(catalog, name, "option_quotes", root, span)]
        living, again, old, new = _contracts_again(connection, found, night.day.isoformat())
        if not living or again >= _FEW_AGAIN * living:
            continue
        moved = f"{symbol} goes from {night.close:g} to {night.opened:g} on {night.day}, its options with it"
        share, ratio = _ratio_of_strikes(old, new, night.close / night.opened)
        lower, cash = _shift_of_strikes(old, new, night.close - night.opened, night.close)
        split, dividend = ActionKind.SPLIT, ActionKind.SPECIAL_DIVIDEND
        if share > _MOST_SHIFTED and (share > lower or _is_split(night)):
            amount = f"{ratio.numerator}:{ratio.denominator}"
            return _UnbookedAction(night.day, split, f"{moved}: strikes are divided by {amount}", amount)
        if lower > _MOST_SHIFTED:
            words = f"{moved}: strikes fall by {cash:g}, as by a special dividend"
            return _UnbookedAction(night.day, dividend, words, f"{cash:.2f}")
        if _is_split(night):
            jump = Fraction(night.close / night.opened)
            near = min(
                (Fraction(each) for each in _SPLITS), key=lambda each: abs(max(jump, 1 / jump) / each - 1)
            )
            near = near if jump > 1 else 1 / near
            amount = f"{near.numerator}:{near.denominator}"
            words = f"{moved}: the price as by {amount}"
            return _UnbookedAction(night.day, split, words, amount)
    return None


def _is_split(night: _Night) -> bool:
    jump = max(night.close / night.opened, night.opened / night.close)
    return min(abs(jump / each - 1) for each in _SPLITS) < SPLIT_MOVE


def _may_be_action(night: _Night) -> bool:
    if not (night.close > 0.0 and night.opened > 0.0):
        return False
    return abs(night.opened / night.close - 1.0) > _LEAST_DROP


def _ratio_of_strikes(old: set[float], new: set[float], jump: float) -> tuple[float, Fraction]:
    """Return the part of the strikes that a common ratio near that of the price divides, and the ratio."""
    strikes, held = np.array([-np.inf, *sorted(new), np.inf]), np.array(sorted(old))
    best = (0.0, Fraction(1))
    parts = range(1, _MOST_PARTS + 1)
    for before, after in product(parts, parts):
        ratio = after / before
        is_near = abs(ratio / jump - 1) < min(SPLIT_MOVE, abs(ratio - 1) / 2)
        if not is_near or gcd(before, after) > 1:
            continue
        wanted = held / ratio
        at = np.searchsorted(strikes, wanted)
        near = np.minimum(strikes[at] - wanted, wanted - strikes[at - 1])
        best = max(
            best, (float(np.mean(near < _STRIKE_ROUNDING)), Fraction(after, before)), key=lambda f: f[0]
        )
    return best


def _shift_of_strikes(old: set[float], new: set[float], drop: float, close: float) -> tuple[float, float]:
    """Return the part of the strikes that fall by one amount near the fall of the price, and the amount."""
    best = (0.0, 0.0)
    for cash in {round(a - b, 2) for a in old for b in new if abs(a - b - drop) < _DROP_MOVE * close}:
        share = sum(round(each - cash, 2) in new for each in old) / len(old)
        best = max(best, (share, cash))
    return best if best[1] > 0.0 else (0.0, 0.0)


def _contracts_again(
    connection: Any, found: Sequence[Path], day: str
) -> tuple[int, int, set[float], set[float]]:
    """Return how many contracts of the day before outlive ``day``, how many it quotes, and both strikes."""
    of_day = {kind: [each for each in found if (each.stem == day) is kind] for kind in (True, False)}
    if not all(of_day.values()):
        return 0, 0, set(), set()
    asked = f"SELECT DISTINCT symbol, round(strike, 2) AS strike FROM rows WHERE expiry > '{day}'"  # noqa: S608 - the day of a file
    new, old = (read_columns(connection, paths, asked) for paths in of_day.values())
    was, is_quoted = set(old["symbol"]), set(new["symbol"])
    strikes_before, strikes_after = ({round(float(k), 2) for k in each["strike"]} for each in (old, new))
    return len(was), len(was & is_quoted), strikes_before, strikes_after
