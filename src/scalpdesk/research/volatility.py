"""Volatility of an underlying: realised, forecast, implied."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec
import numpy as np

from scalpdesk.core.errors import DataError
from scalpdesk.core.figures import html_table, new_figure
from scalpdesk.core.frames import Framed
from scalpdesk.core.units import DAY_NS, DAYS_PER_YEAR, MINUTE_NS, NANOS_PER_SECOND, SECONDS_PER_YEAR, finite
from scalpdesk.datasets.daily_history import (
    DailyHistory,
    vix_closes_before,
)
from scalpdesk.datasets.embedded import EMBEDDED
from scalpdesk.instruments.contract import options_in_order
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.report.statistics import Interval, bootstrap_interval
from scalpdesk.research.chain import chain_document
from scalpdesk.volatility.base import trailing_mean
from scalpdesk.volatility.forecast import DESK_DEFAULT, forecast_vol
from scalpdesk.volatility.ohlc import read_ohlc
from scalpdesk.volatility.realised import ESTIMATORS, realized_vol
from scalpdesk.volatility.regime import iv_percentile, iv_rank, regime_of, variance_premium
from scalpdesk.volatility.rolling import rolling_forecasts
from scalpdesk.volatility.variance_time import CALENDAR, clock_named, convert_vol

_REPORTED_MODELS = ("har", "combined", "gjr", "egarch", "garch", "ewma")
_IMPLIED_DAYS = 30.0
_AT_THE_MONEY = 0.05
"""Largest distance of the nearest strike from spot, as a fraction of spot."""
_LEAST_RETURNS = 500
"""Daily returns that a forecast of :func:`premium_history` is fitted to at least."""
_SHOWN_DAYS = 10
"""Days in a notebook."""


def volatility_report(
    tape: MarketTape, history: DailyHistory, *, horizon: int, window: int
) -> dict[str, Any]:
    """Return the volatility report of a session, ready for JSON.

    The tape's options say what is implied. ``history`` has daily bars that end before the session;
    ``horizon`` and ``window`` are trading days ahead and back.

    Volatilities are fractions a year of ``days_per_year`` trading days, 365 where the market never
    closes. What is not known is null, with a reason beside it.
    """
    day, a_year = tape.sessions[0].day, clock_named(tape.variance_clock).days_per_year
    forecasts = [_forecast(history, model, horizon, a_year) for model in _REPORTED_MODELS]
    expected = next(made["vol"] for made in forecasts if made["model"] == DESK_DEFAULT)
    implied = _implied_at_the_money(tape)
    premium = None
    if expected is not None and implied["vol"] is not None:
        found = variance_premium(implied["vol"], expected)
        premium = {"variance": found.variance, "ratio": found.ratio}
    return {
        "symbol": tape.underlying,
        "data": {"name": tape.name, "kind": tape.kind},
        "session": str(day),
        "history": {
            "source": history.source,
            "days": len(history.days),
            "first": str(history.days[0]) if history.days else None,
            "last": str(history.days[-1]) if history.days else None,
        },
        "days_per_year": a_year,
        "window": window,
        "horizon_days": horizon,
        "realised": [_realised(history, estimator, window, a_year) for estimator in ESTIMATORS],
        "forecasts": forecasts,
        "desk_default": DESK_DEFAULT,
        "implied": implied,
        "implied_history": _implied_history(tape),
        "variance_premium": premium,
        "regime": None if expected is None else str(regime_of(expected)),
        "session_itself": session_itself(tape),
        "notes": [*history.notes, *tape.notes],
    }


def _realised(history: DailyHistory, estimator: str, window: int, a_year: float) -> dict[str, Any]:
    got = realized_vol(history.bars, estimator, window, a_year)
    return {
        "estimator": estimator,
        "vol": finite(got.vol),
        "reason": got.reason,
        "dropped": [{"day": str(history.days[bar.position]), "reason": bar.reason} for bar in got.dropped],
    }


def _forecast(history: DailyHistory, model: str, horizon: int, a_year: float) -> dict[str, Any]:
    got = forecast_vol(history.bars, model, horizon, periods_per_year=a_year)
    return {
        "model": got.requested,
        "made_by": got.model,
        "horizon_days": horizon,
        "vol": finite(got.vol),
        "low": finite(got.low),
        "high": finite(got.high),
        "stderr": finite(got.stderr),
        "confidence": got.confidence,
        "held_from": got.held_from,
        "reason": got.reason,
    }


def _implied_at_the_money(tape: MarketTape) -> dict[str, Any]:
    """Return the implied volatility of 30 days at the money, from the first quotes of the session.

    Total variance by the calendar clock is linear between the expiries around 30 days; without one on a
    side the nearest stands for it. Taken five minutes after the open.
    """
    now_ns = tape.sessions[0].open_ns + 5 * MINUTE_NS
    ends = {
        contract.expiry: expiry_instant_ns(contract)
        for _, contract in options_in_order(tape.instruments, tape.underlying)
    }
    later = {expiry: end for expiry, end in ends.items() if end > now_ns + DAY_NS}
    target_ns = now_ns + int(_IMPLIED_DAYS * 86_400) * NANOS_PER_SECOND
    below = max((e for e in later if later[e] <= target_ns), default=None)
    above = min((e for e in later if later[e] > target_ns), default=None)
    points: list[tuple[float, float, str]] = []
    for expiry in (below, above):
        if expiry is None:
            continue
        try:
            found = vol_at_the_money(chain_document(tape, now_ns, expiry))
        except DataError:  # nothing is quoted yet: there is no chain to read
            found = None
        if found is not None:
            points.append((*found, str(expiry)))
    if not points:
        reason = (
            f"no call and put within {_AT_THE_MONEY:.0%} of the spot, with more than a day to run, "
            "had two-sided quotes five minutes after the open"
        )
        return {"vol": None, "reason": reason, "expiries": [], "clock": CALENDAR.name, "days": None}
    years = min(max(_IMPLIED_DAYS / DAYS_PER_YEAR, points[0][0]), points[-1][0])
    first, last = points[0], points[-1]
    share = 0.0 if first is last else (years - first[0]) / (last[0] - first[0])
    total = (1.0 - share) * first[0] * first[1] ** 2 + share * last[0] * last[1] ** 2
    vol = math.sqrt(total / years)
    end_ns = now_ns + round(years * SECONDS_PER_YEAR) * NANOS_PER_SECOND
    own = clock_named(tape.variance_clock)
    return {
        "vol": vol,
        "reason": None,
        "expiries": [expiry for _, _, expiry in points],
        "days": years * DAYS_PER_YEAR,
        "clock": CALENDAR.name,
        "vol_by_session_clock": convert_vol(vol, CALENDAR, own, now_ns, end_ns),
    }


def session_itself(tape: MarketTape) -> dict[str, Any]:
    """Return what the session realised from open to close, from its mids: known only after it.

    ``five_minutes`` is the sum of squared 5-minute returns, ``bipower`` leaves jumps out, ``kernel`` reads
    1-minute returns through the Parzen kernel. Fractions a year of as many sessions as the market has, 252 of
    the US; nights left out.
    """
    session, a_year = tape.sessions[0], clock_named(tape.variance_clock).days_per_year
    quotes = tape.quotes.whole()
    mine = quotes.instrument_id == tape.instruments.id_of(tape.underlying)
    bids, asks, at = quotes.bid[mine], quotes.ask[mine], quotes.ts_ns[mine]
    good = (bids > 0.0) & (asks >= bids) & (at >= session.open_ns) & (at <= session.close_ns)
    mids, at = 0.5 * (bids + asks)[good], at[good]
    found: dict[str, Any] = {"five_minutes": None, "bipower": None, "kernel": None}
    if not len(mids):
        return found | {"reason": f"{tape.underlying} was not quoted in the session"}
    for minutes, names in ((5, ("five_minutes", "bipower")), (1, ("kernel",))):
        step = minutes * 60 * NANOS_PER_SECOND
        ends = np.arange(session.open_ns, session.close_ns + 1, step)
        # before the first quote of the session its mid stands in: a return of zero
        closes = mids[np.maximum(np.searchsorted(at, ends, side="right") - 1, 0)]
        per_year = a_year * (len(ends) - 1)
        for name in names:
            estimator = {"five_minutes": "close_to_close", "kernel": "realized_kernel"}.get(name, name)
            zero_mean = estimator == "close_to_close"
            got = realized_vol(closes, estimator, None, per_year, zero_mean=zero_mean)
            found[name] = finite(got.vol)
    return found | {"reason": None}


def vol_at_the_money(document: dict[str, Any]) -> tuple[float, float] | None:
    """Return the years to expiry of the strike nearest the spot that has call and put, and their mean vol.

    None where the nearest is no strike at the money.
    """
    by_strike: dict[tuple[float, float, str], list[float]] = {}
    for option in document["options"]:
        if option["iv"] is not None:
            place = (float(option["strike"]), option["years"], option["root"])
            by_strike.setdefault(place, []).append(option["iv"])
    spot = document["spot"]
    reach = _AT_THE_MONEY * spot
    both = [at for at, vols in by_strike.items() if len(vols) == 2 and abs(at[0] - spot) <= reach]
    if not both:
        return None
    nearest = min(both, key=lambda place: abs(place[0] - spot))
    return nearest[1], math.fsum(by_strike[nearest]) / 2.0


def _implied_history(tape: MarketTape) -> dict[str, Any]:
    """Rank and percentile of the VIX's last close among the year before; of the embedded market alone."""
    found = vix_closes_before(tape.sessions[0].day) if tape.name == EMBEDDED else None
    if found is None:
        return {
            "source": None,
            "rank": None,
            "percentile": None,
            "reason": "this market comes with no history of implied volatility",
        }
    past, last = found
    rank = iv_rank(last, past)
    return {
        "source": "arch.data.vix: the close before the session among the closes of the year before it",
        "vix": last,
        "observations": len(past),
        "rank": rank,
        "percentile": iv_percentile(last, past),
        "reason": None if rank is not None else f"only {len(past)} closes before this session",
    }


class PremiumDay(msgspec.Struct, frozen=True, kw_only=True):
    """Volatilities at the close of a day, and after it; fractions a year."""

    day: date
    implied: float
    """For 30 days."""
    forecast: float | None
    """Made at this close; None where too few days are known."""
    realised: float
    """Over the sessions after this day, from closes: √(periods a year · mean squared log return)."""

    @property
    def premium(self) -> float:
        """Variance a year that the option's buyer paid above what followed: implied² − realised²."""
        return self.implied**2 - self.realised**2

    @property
    def expected_premium(self) -> float | None:
        """Variance premium as known at the close: implied² − forecast²."""
        return None if self.forecast is None else self.implied**2 - self.forecast**2


@dataclass(frozen=True, slots=True)
class PremiumHistory(Framed):
    """Implied volatility day by day beside the forecast and what was then realised."""

    source: str
    """Where the daily bars and the implied volatilities are from."""
    horizon: int
    """Sessions of forecast and realised volatility."""
    rows: tuple[PremiumDay, ...]

    @property
    def mean_premium(self) -> float:
        """Mean of implied² − realised² over the days, variance a year."""
        return math.fsum(row.premium for row in self.rows) / len(self.rows)

    def interval(self, level: float = 0.95) -> Interval:
        """Return the interval of the mean premium: stationary bootstrap of days (Politis and Romano 1994)."""
        premiums = [row.premium for row in self.rows]
        return bootstrap_interval(premiums, lambda sample: float(sample.mean()), level=level)

    @property
    def share_rich(self) -> float:
        """Fraction of the days on which implied volatility was above what was then realised."""
        return sum(row.premium > 0.0 for row in self.rows) / len(self.rows)

    def _frame(self) -> Any:
        """Return a frame by day: volatilities as fractions a year, premiums as variance a year."""
        import pandas as pd  # noqa: PLC0415 - a second that only a notebook pays

        names = ("implied", "forecast", "realised", "premium", "expected_premium")
        frame = pd.DataFrame([[getattr(row, name) for name in names] for row in self.rows], columns=names)
        days = pd.DatetimeIndex([row.day for row in self.rows], name="day")
        return frame.astype(float).set_index(days)

    def plot(self) -> Any:
        """Draw the volatilities, and below them implied less realised; return a figure (extra ``plots``)."""
        frame = 100.0 * self.to_frame()[["implied", "forecast", "realised"]]
        figure = new_figure(9, 6)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        labels = ("implied, 30 days", "forecast", f"realised over the next {self.horizon} sessions")
        for name, label in zip(frame, labels, strict=True):
            upper.plot(frame.index, frame[name], linewidth=1, label=label)
        upper.set_ylabel("volatility, % a year")
        upper.set_title(self.source)
        upper.legend(loc="upper left", fontsize="small")
        gap = frame["implied"] - frame["realised"]
        for color, label, side in (
            ("tab:blue", "options were rich", gap.clip(lower=0.0)),
            ("tab:orange", "options were cheap", gap.clip(upper=0.0)),
        ):
            lower.fill_between(frame.index, side, color=color, linewidth=0, label=label)
        lower.axhline(0.0, color="grey", linewidth=0.5)
        lower.set_ylabel("implied less realised,\npoints")
        lower.legend(loc="lower left", fontsize="small")
        return figure

    def _repr_html_(self) -> str:
        """Return the last days as a table, for notebooks."""
        rows = [
            (
                row.day,
                *(None if vol is None else f"{vol:.1%}" for vol in (row.implied, row.forecast, row.realised)),
                f"{row.premium:+.4f}",
            )
            for row in self.rows[-_SHOWN_DAYS:]
        ]
        caption = f"last {len(rows)} of {len(self.rows)} days; mean premium {self.mean_premium:+.4f} a year"
        return html_table(
            caption, ("day", "implied", "forecast", "realised", "premium, variance a year"), rows
        )


def premium_history(
    history: DailyHistory,
    implied: Mapping[date, float],
    *,
    start: date,
    end: date,
    horizon: int = 21,
    periods_per_year: float = 252.0,
) -> PremiumHistory:
    """Compare each day's implied volatility with the forecast of that day and with what followed.

    A forecast rests on bars to its own close; its parameters are fitted again every 21 days. The last
    ``horizon`` + 1 days of the history are left out.

    Parameters
    ----------
    history
        Daily bars; those before ``start`` are what forecasts are fitted to.
    implied
        30-day implied volatility at the close by day, fractions a year.
    start, end
        First and last day, both included.
    horizon
        Sessions after the day: 21 are the 30 days of the VIX.
    periods_per_year
        252, or 365 for a coin.

    Raises
    ------
    DataError
        When no day has a bar, an implied volatility and ``horizon`` sessions after it.
    """
    days = history.days
    places = [
        place
        for place, day in enumerate(days[: max(len(days) - horizon - 1, 0)])
        if start <= day <= end and day in implied
    ]
    if not places:
        raise DataError(
            f"no day has an implied volatility and {horizon} sessions after it",
            where=history.source,
            value=f"{start} to {end}",
            fix="take an earlier span" if days else "import daily bars",
        )
    after = trailing_mean(np.square(np.diff(np.log(history.bars["close"]))), horizon)
    seen = places[-1] + horizon + 2
    bars = read_ohlc({name: column[:seen] for name, column in history.bars.items()})
    first = max(places[0], _LEAST_RETURNS)
    expected: dict[int, float] = {}
    if first <= places[-1]:
        rolled = rolling_forecasts(bars, (DESK_DEFAULT,), (horizon,), first=first)
        expected = dict(
            zip(rolled.origins.tolist(), rolled.variances[DESK_DEFAULT][horizon].tolist(), strict=True)
        )
    rows = []
    for place in places:
        variance = expected.get(place)
        rows.append(
            PremiumDay(
                day=days[place],
                implied=implied[days[place]],
                forecast=None if variance is None else math.sqrt(periods_per_year * variance),
                realised=math.sqrt(periods_per_year * float(after[place])),
            )
        )
    return PremiumHistory(history.source, horizon, tuple(rows))
