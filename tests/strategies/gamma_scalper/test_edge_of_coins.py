"""The edge on a market that never closes: its forecast counts days of account, 365 a year."""

from datetime import date

import pytest

from scalpdesk.core.events import ForecastEvent
from scalpdesk.entry.shapes import STRADDLE
from scalpdesk.instruments.deribit import deribit_option, perpetual
from scalpdesk.instruments.events import EventKind
from scalpdesk.instruments.sessions import coin_session
from scalpdesk.strategies.gamma_scalper.config import EntryConfig
from scalpdesk.strategies.gamma_scalper.horizon import HorizonForecast
from scalpdesk.volatility.variance_time import CALENDAR

VOL = 0.5


class OpeningView:
    """A desk at the opening of a day of account: its view, market and valuation."""

    underlying = 0
    variance_years = staticmethod(CALENDAR.years)

    def __init__(self, session, call):
        self.session, self.now_ns = session, session.open_ns
        self.instruments = {0: perpetual("BTC"), 1: call and deribit_option(call)}
        self.forecasts = {0: ForecastEvent(0, 1, 1, "har", 1, VOL, VOL, VOL, 0.02, "")}
        self.market = self.delta_engine = self


def forecast(day, horizon_days, call=None):
    """Return the forecast at the opening of a day of account, of statements of 0.8 days each.

    To the expiry of a call where one is named.
    """
    session = coin_session(day)
    view = OpeningView(session, call)
    sizes = {EventKind.FOMC: 0.8}
    config = EntryConfig(event_sessions=sizes, horizon_days=horizon_days)
    names = [call, call.removesuffix("C") + "P"] if call else []
    straddles = STRADDLE.at((number, deribit_option(name)) for number, name in enumerate(names, start=1))
    return HorizonForecast(config).forecast(view, *straddles).vol


@pytest.mark.parametrize(
    ("day", "days", "statements"),
    [
        (date(2025, 3, 18), 2, 1),  # a statement on the 19th, 18:00 UTC
        (date(2025, 3, 18), 1, 0),
        (date(2025, 3, 14), 4, 0),  # Friday: ends on Tuesday, not after four sessions of an exchange
        (date(2025, 3, 14), 6, 1),
        (date(2018, 1, 30), 2, 1),
    ],
)
def test_a_statement_ahead_counts_in_days_of_account(day, days, statements):
    surplus = 0.8 * (statements - 8 * days / 365) / days
    assert forecast(day, days) ** 2 == pytest.approx(VOL**2 * (1 + surplus), rel=1e-9)


@pytest.mark.parametrize(("call", "days", "statements"), [("19MAR25", 1, 0), ("20MAR25", 2, 1)])
def test_a_statement_behind_the_expiry_of_a_straddle_does_not_count(call, days, statements):
    surplus = 0.8 * (statements - 8 * days / 365) / days
    found = forecast(date(2025, 3, 18), 5, f"BTC-{call}-87000-C")
    assert found**2 == pytest.approx(VOL**2 * (1 + surplus), rel=1e-9)
