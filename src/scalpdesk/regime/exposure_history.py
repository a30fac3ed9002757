"""The exposure of earlier sessions, one line each: what says whether today's is large.

A small CSV file in the catalogue, ``gamma_exposure.csv``: data set, symbol, session, exposure of the chain
and of its strikes near the money. One line a session: the last word on it stands.
"""

import csv
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from scalpdesk.core.errors import DataError
from scalpdesk.signals.gamma_exposure import reference_exposure_usd

FILE = "gamma_exposure.csv"
COLUMNS = ("data", "symbol", "session", "exposure_usd", "near_usd")
NAN = float("nan")


@dataclass(frozen=True, slots=True)
class SessionExposure:
    """Exposure of one session, in USD of dealers' delta per move of 1 %; NaN where it is not known."""

    session: date
    exposure_usd: float
    near_usd: float = NAN


class ExposureHistory:
    """Exposures of one symbol by one source, in a folder.

    Parameters
    ----------
    folder
        Where the file is, or will be.
    data
        Data set or store that the exposures come from; sources are never mixed.
    symbol
        Underlying.
    """

    def __init__(self, folder: Path, data: str, symbol: str) -> None:
        self.path = folder / FILE
        self._key = (data, symbol)

    def read(self) -> tuple[SessionExposure, ...]:
        """Return what is kept, oldest first.

        Raises
        ------
        DataError
            When the file is not of this form; says in which line.
        """
        return tuple(_of(row) for row in self._rows() if (row["data"], row["symbol"]) == self._key)

    def keep(self, exposures: Iterable[SessionExposure]) -> None:
        """Add sessions, in the place of those already there.

        Raises
        ------
        DataError
            When the file is not of this form, or the folder cannot be written.
        """
        new = {one.session.isoformat(): one for one in exposures}
        rows = [
            row
            for row in self._rows()
            if (row["data"], row["symbol"]) != self._key or row["session"] not in new
        ]
        rows += [
            dict(zip(COLUMNS, (*self._key, day, repr(one.exposure_usd), repr(one.near_usd)), strict=True))
            for day, one in new.items()
        ]
        rows.sort(key=lambda row: (row["data"], row["symbol"], row["session"]))
        beside = self.path.with_suffix(".csv.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("w", newline="", encoding="utf-8") as out:
                writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            os.replace(beside, self.path)  # noqa: PTH105 - a reader sees the old file or the new one
        except OSError as error:
            raise DataError(
                f"the history of exposures cannot be written: {error.strerror}",
                where=str(self.path),
                fix="make the folder writable, or choose another: --set data.catalog=DIR",
            ) from error

    def usual(self, before: date) -> tuple[float, float]:
        """Return what counts as a large exposure, of the chain and near the money, as known before a day.

        The 90 % quantile of the size over the last 60 sessions kept; NaN with fewer than 20.
        """
        past = [one for one in self.read() if one.session < before]
        pair = (
            reference_exposure_usd([one.exposure_usd for one in past]),
            reference_exposure_usd([one.near_usd for one in past]),
        )
        return NAN if pair[0] is None else pair[0], NAN if pair[1] is None else pair[1]

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise self._damaged(1, ",".join(reader.fieldnames or ()))
        for line, row in enumerate(rows, start=2):
            try:
                _of(row)
            except (TypeError, ValueError) as error:
                raise self._damaged(line, ",".join(map(str, row.values()))) from error
        return rows

    def _damaged(self, line: int, value: str) -> DataError:
        return DataError(
            "the history of exposures has a line that is none",
            where=f"{self.path}:{line}",
            value=value,
            fix="mend the line, or delete the file and fill it again: scalpdesk gex SYMBOL --days 60",
        )


def _of(row: dict[str, str]) -> SessionExposure:
    made = SessionExposure(
        date.fromisoformat(row["session"]), float(row["exposure_usd"]), float(row["near_usd"])
    )
    if math.isinf(made.exposure_usd) or math.isinf(made.near_usd):
        raise ValueError(row)
    return made
