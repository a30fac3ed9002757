"""Splits and special dividends of a data set: the built-in table, and nights over which one is missing."""

import csv
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.datasets.store import connect, day_file, day_files, read_columns
from scalpdesk.instruments.corporate_actions import ActionKind

SPLIT_MOVE = 0.12
"""Part of the price by which a night may move it beside a split."""
SPLITS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50)
"""Ratios of splits."""
LEAST_DROP, DROP_MOVE = 0.015, 0.03
"""Fall of a share over a night that may be a special dividend, and how far the night moves it besides."""
FEW_AGAIN, MOST_SHIFTED = 0.2, 0.6
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


class Night(NamedTuple):
    """The prices of a share on both sides of a night, currency."""

    before: date
    close: float
    day: date
    opened: float


def share_nights(catalog: Path, name: str, symbol: str, first: date, last: date) -> list[Night]:
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
    return [Night(days[i - 1], float(closed[i - 1]), days[i], float(opened[i])) for i in range(1, len(days))]


class UnbookedAction(NamedTuple):
    """A night over which a share and its options change their scale without a booked action."""

    ex_date: date
    kind: ActionKind
    words: str


def unbooked_action(
    catalog: Path, name: str, symbol: str, roots: Sequence[str], first: date, last: date
) -> UnbookedAction | None:
    """Return the first night over which a share changes its scale with its options and without an action.

    Its price jumps by the ratio of a split, or falls by a dividend by which its strikes fall too, and fewer
    than a fifth of the contracts that live on are quoted again; a crash leaves them where they are.
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
        if not living or again >= FEW_AGAIN * living:
            continue
        moved = f"{symbol} goes from {night.close:g} to {night.opened:g} on {night.day}, its options with it"
        if _is_split(night):
            return UnbookedAction(night.day, ActionKind.SPLIT, moved)
        if cash := _shift_of_strikes(old, new, night.close - night.opened, night.close):
            return UnbookedAction(
                night.day,
                ActionKind.SPECIAL_DIVIDEND,
                f"{moved}: strikes fall by {cash:g}, as by a special dividend",
            )
    return None


def _is_split(night: Night) -> bool:
    jump = max(night.close / night.opened, night.opened / night.close)
    return min(abs(jump / each - 1) for each in SPLITS) < SPLIT_MOVE


def _may_be_action(night: Night) -> bool:
    if not (night.close > 0.0 and night.opened > 0.0):
        return False
    return _is_split(night) or night.opened < (1.0 - LEAST_DROP) * night.close


def _shift_of_strikes(old: set[float], new: set[float], drop: float, close: float) -> float:
    """Return by how much the strikes fall together, near the fall of the price; 0 where they do not."""
    best = (0.0, 0.0)
    for cash in {round(a - b, 2) for a in old for b in new if abs(a - b - drop) < DROP_MOVE * close}:
        share = sum(round(each - cash, 2) in new for each in old) / len(old)
        best = max(best, (share, cash))
    return best[1] if best[0] > MOST_SHIFTED else 0.0


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
