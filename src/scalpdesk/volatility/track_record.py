"""Track record of the desk's forecasts: stored lines, and their scores against later closes.

No I/O: the caller keeps the file.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import date

import msgspec
import numpy as np

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.volatility.evaluation import qlike


class KeptForecast(msgspec.Struct, frozen=True):
    """A forecast as it was made."""

    symbol: str
    """Symbol of the underlying."""
    made_for: date
    """First day of the horizon; only data known before that day's open was used."""
    model: str
    """The model that made it."""
    horizon_days: int
    """Trading days, ``made_for`` included."""
    vol: float
    low: float
    high: float
    """``vol``, ``low``, ``high``: Per year; the interval is for the root mean square of the daily returns."""
    confidence: float
    """Confidence of the interval, 0 to 1."""
    periods_per_year: float = 252.0
    """Trading days a year that the volatility was annualised with."""

    @property
    def key(self) -> tuple[str, date, str, int]:
        """Key of the forecast: a later forecast with the same key replaces it."""
        return self.symbol, self.made_for, self.model, self.horizon_days


class TrackRecord(msgspec.Struct, frozen=True):
    """Score of one model's forecasts at one horizon."""

    symbol: str
    model: str
    horizon_days: int
    """``symbol``, ``model``, ``horizon_days``: The scored group."""
    forecasts: int
    """Number whose horizon has passed."""
    pending: int
    """Number whose horizon has not."""
    qlike: float | None
    """Mean loss, percent squared; None before the first has passed."""
    bias: float | None
    """Mean forecast variance over mean realised variance; above 1 they were too high."""
    inside: float | None
    """Share of realised volatilities inside the interval."""
    confidence: float
    """Nominal value of that share."""


def to_line(forecast: KeptForecast) -> str:
    """Encode a forecast as one JSON object, without a newline."""
    return msgspec.json.encode(forecast).decode("ascii")


def read_lines(lines: Iterable[str], where: str) -> tuple[KeptForecast, ...]:
    """Read lines of :func:`to_line`; of forecasts with equal keys the last counts.

    ``where`` names the source in error messages. Raises DataError when a line is not a forecast; names it.
    """
    kept: dict[tuple[str, date, str, int], KeptForecast] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            forecast = msgspec.json.decode(line, type=KeptForecast)
        except msgspec.DecodeError as problem:
            raise DataError(
                f"not a forecast: {problem}",
                where=f"{where}:{number}",
                value=line.strip()[:80],
                fix="remove the line",
            ) from problem
        kept[forecast.key] = forecast
    return tuple(kept.values())


def score_record(forecasts: Iterable[KeptForecast], closes: Mapping[date, float]) -> tuple[TrackRecord, ...]:
    """Score forecasts against the closes that followed.

    ``closes``: Day -> close of that symbol; the day before each ``made_for`` must be among them.

    Returns one per model and horizon, by horizon and name.

    Raises ArgumentError when a close is not a finite number above zero, or the forecasts are of several
    symbols.
    """
    days = sorted(closes)
    prices = np.array([closes[day] for day in days], dtype=np.float64)
    if not (np.isfinite(prices) & (prices > 0.0)).all():
        raise ArgumentError(
            "a close must be finite and above zero", where="closes", value=float(prices.min())
        )
    squares = np.square(np.diff(np.log(prices)))
    place = {day: index for index, day in enumerate(days)}
    groups: dict[tuple[int, str], list[KeptForecast]] = {}
    for forecast in forecasts:
        groups.setdefault((forecast.horizon_days, forecast.model), []).append(forecast)
    symbols = {forecast.symbol for group in groups.values() for forecast in group}
    if len(symbols) > 1:
        raise ArgumentError("a record is scored symbol by symbol", where="forecasts", value=sorted(symbols))
    return tuple(_score(group, place, squares) for _, group in sorted(groups.items()))


def _score(group: list[KeptForecast], place: dict[date, int], squares: np.ndarray) -> TrackRecord:
    expected, actual, inside, pending = [], [], 0, 0
    for forecast in group:
        index = place.get(forecast.made_for)
        horizon = forecast.horizon_days
        if index is None or index < 1 or index - 1 + horizon > len(squares):
            pending += 1
            continue
        realised = float(squares[index - 1 : index - 1 + horizon].mean())
        expected.append(forecast.vol**2 / forecast.periods_per_year)
        actual.append(realised)
        vol = math.sqrt(realised * forecast.periods_per_year)
        inside += forecast.low <= vol <= forecast.high
    first, passed = group[0], len(expected)
    loss = float(qlike(np.array(actual), np.array(expected)).mean()) if passed else None
    total = math.fsum(actual)
    return TrackRecord(
        first.symbol,
        first.model,
        first.horizon_days,
        passed,
        pending,
        loss,
        math.fsum(expected) / total if total > 0.0 else None,
        inside / passed if passed else None,
        first.confidence,
    )
