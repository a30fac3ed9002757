"""The forecast of volatility to the horizon of a straddle, kept up to date through the session.

The forecast made before the session is corrected by what the session has realised (the nowcast) and by the
events that lie ahead, on the run's variance clock.
"""

import math
from datetime import timedelta

from scalpdesk.core.units import DAYS_PER_YEAR, SESSIONS_PER_YEAR
from scalpdesk.instruments.events import EventKind, events_between, why_unknown
from scalpdesk.instruments.sessions import Session, coin_session, expiry_instant_ns, next_session
from scalpdesk.instruments.structure import Structure
from scalpdesk.strategies.contract import DeskView
from scalpdesk.strategies.gamma_scalper.config import EntryConfig
from scalpdesk.strategies.toolkit.resume import begins_afresh
from scalpdesk.volatility.forecast import VolForecast
from scalpdesk.volatility.nowcast import RealisedSoFar, forecast_to_horizon, nowcast
from scalpdesk.volatility.variance_time import FIRST_FOMC_YEAR, event_forecast

_EVENTS_A_YEAR = {EventKind.FOMC: 8, EventKind.CPI: 12, EventKind.PAYROLLS: 12}


class HorizonForecast:
    """Forecast of the underlying's volatility to the horizon.

    ``config``: The gate's settings.
    """

    def __init__(self, config: EntryConfig) -> None:
        self._config = config
        self.realised: RealisedSoFar | None = None
        """Variance of the session so far; None before :meth:`begin`."""
        self._horizon_of: tuple[Session | None, int] = None, 0
        """Close of the horizon's last session, with the session that it was counted from."""

    def begin(self, view: DeskView) -> None:
        """Begin to measure what sessions realise."""
        self.realised = RealisedSoFar(view.delta_engine.variance_years, days_a_year(view))

    def open_session(self, view: DeskView) -> None:
        """Start the sum of the day's realised variance; a desk that begins afresh has not seen the night."""
        quote, spot = view.market.quotes[view.underlying], view.market.mark(view.underlying)
        last = None if quote is None or spot is None else (quote.ts_event_ns, spot)
        if self._config.again_next_session and begins_afresh(view):
            last = None
        if self.realised is not None:
            self.realised.open_session(last)

    def note_price(self, view: DeskView) -> None:
        """Add the underlying's price of now to the day's realised variance."""
        spot = view.market.mark(view.underlying)
        if self.realised is not None and spot is not None and spot > 0.0:
            self.realised.add(view.now_ns, spot)

    def forecast(self, view: DeskView, structure: Structure | None = None) -> VolForecast:
        """Return the run's forecast to the horizon as of now, or the configured one.

        A structure that expires before the horizon counts to its first expiry.
        """
        given = self._config.forecast_vol
        if given is not None:
            return _as_forecast(given, 0.0, "given in entry.forecast_vol", None, is_given=True)
        event = view.market.forecasts.get(view.underlying)
        if event is None:
            reason = "this market comes with no daily history; set entry.forecast_vol, or entry.gate=off"
            return _as_forecast(math.nan, math.nan, "none", reason)
        vol = event.vol
        realised, session = self.realised, view.session
        if realised is not None and session is not None and vol > 0.0:
            share = min(realised.share, 1.0)
            now = nowcast(vol, realised.variance, share, days_per_year=days_a_year(view))
            rest = view.delta_engine.variance_years(view.now_ns, max(session.close_ns, view.now_ns))
            vol = forecast_to_horizon(vol, now, rest, self.years(view, structure))
        if self._config.event_sessions and session is not None and vol > 0.0:
            surplus = self._surplus(view, session, vol, structure)
            vol = event_forecast(vol, self.years(view, structure), surplus)
        stderr = event.stderr * vol / event.vol if event.vol > 0.0 else event.stderr
        return _as_forecast(vol, stderr, event.model, event.reason or None)

    def _surplus(
        self, view: DeskView, session: Session, vol: float, structure: Structure | None
    ) -> list[float]:
        """Return the variance by kind of event that lies ahead beyond its average, squared log return.

        The forecast was fitted to days with their events in them: only the surplus is added.
        """
        days, a_year = self._config.horizon_days, days_a_year(view)
        is_coin = view.instruments[view.underlying].is_coin
        if session != self._horizon_of[0]:
            ends = session
            for _ in range(math.ceil(days) - 1):
                ends = coin_session(ends.day + timedelta(days=1)) if is_coin else next_session(ends.day)
            self._horizon_of = session, ends.close_ns
        day_variance = vol * vol / a_year
        ends_ns, years = self._horizon_of[1], self.years(view, structure)
        if structure is not None:
            ends_ns = min(ends_ns, expiry_instant_ns(structure.nearest))
        found = []
        for kind, size in self._config.event_sessions.items():
            ahead = events_between(view.now_ns, ends_ns, (kind,))
            if kind is EventKind.FOMC and session.day.year >= FIRST_FOMC_YEAR and not is_coin:
                continue  # on the clock of sessions
            if why_unknown((kind,), session.day):
                continue
            found.append(size * day_variance * (len(ahead) - _EVENTS_A_YEAR[kind] * years))
        return found

    def vol(self, view: DeskView) -> float | None:
        """Return the forecast volatility (fraction a year), or None without a forecast."""
        forecast = self.forecast(view)
        return forecast.vol if forecast.known else None

    def years(self, view: DeskView, structure: Structure | None = None) -> float:
        """Return the horizon in years of the variance clock: of sessions, or of days that never stop.

        A structure counts no longer than to its first expiry.
        """
        years = self._config.horizon_days / days_a_year(view)
        if structure is None:
            return years
        left = view.delta_engine.variance_years(view.now_ns, expiry_instant_ns(structure.nearest))
        return min(years, left) if left > 0.0 else years


def days_a_year(view: DeskView) -> float:
    """Return the days of a year of the variance clock: sessions, or days that never stop."""
    return DAYS_PER_YEAR if view.instruments[view.underlying].is_coin else SESSIONS_PER_YEAR


def _as_forecast(
    vol: float, stderr: float, model: str, reason: str | None, *, is_given: bool = False
) -> VolForecast:
    return VolForecast(
        vol=vol,
        low=math.nan,
        high=math.nan,
        stderr=stderr,
        confidence=math.nan,
        horizon_days=0,
        model=model,
        requested=model,
        reason=reason,
        fit={},
        observations=0,
        dropped=(),
        is_given=is_given,
    )
