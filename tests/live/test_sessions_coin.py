"""A venue that never closes: its days of account as the sessions of a live desk."""

import asyncio
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.assembly import forecast_event
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import ForecastEvent
from scalpdesk.core.units import InstrumentId
from scalpdesk.datasets.embedded.coin import daily_bars_before
from scalpdesk.instruments.contract import Instruments
from scalpdesk.instruments.deribit import perpetual
from scalpdesk.instruments.sessions import coin_session
from scalpdesk.live.market import daily_update
from scalpdesk.live.plan import LivePlan
from scalpdesk.live.sessions import session_of
from scalpdesk.venues.contract import DailyBar
from scalpdesk_deribit.wire import clock_of
from scalpdesk_testing.kit.clock import ManualClock

DAY = date(2025, 3, 5)
PARAMS = Path(__file__).parents[2] / "examples/btc-gamma-scalper/params.yaml"


@given(st.dates(date(2020, 1, 1), date(2050, 1, 1)), st.integers(0, 86_399_999))
def test_the_session_is_the_day_of_account_whenever_the_desk_joins(day, millisecond):
    session = coin_session(day)
    clock = clock_of(session.open_ns // 1_000_000 + millisecond, session.close_ns)
    assert session_of(clock) == session


@pytest.mark.parametrize("day", [date(2025, 3, 8), date(2025, 7, 4)])
def test_weekends_and_holidays_are_days_like_others(day):
    session = coin_session(day)
    following = clock_of(
        session.close_ns // 1_000_000, coin_session(date.fromordinal(day.toordinal() + 1)).close_ns
    )
    assert session_of(following).open_ns == session.close_ns


def test_the_forecast_of_a_coin_is_of_a_year_of_365_days():
    columns = daily_bars_before(DAY, 400)
    days = [date.fromordinal(DAY.toordinal() - 400 + n) for n in range(400)]
    figures = zip(*(columns[name].tolist() for name in ("open", "high", "low", "close")), strict=True)
    bars = tuple(DailyBar(day, *four, 1.0) for day, four in zip(days, figures, strict=True))

    class Gateway:
        async def daily_bars(self, number, first, last):
            return bars

    settings = load_settings("gamma-scalper", config_file=PARAMS)
    clock = ManualClock(coin_session(DAY).open_ns)
    instruments = Instruments([perpetual("BTC")])
    events = asyncio.run(daily_update(LivePlan(settings, venue="deribit"), Gateway(), instruments, clock))
    (made,) = [event for event in events if isinstance(event, ForecastEvent)]
    wanted = forecast_event(InstrumentId(0), columns, clock.now_ns(), periods_per_year=365)
    assert made.vol == pytest.approx(wanted.vol, rel=1e-12)
    a_trading_year = forecast_event(InstrumentId(0), columns, clock.now_ns())
    assert made.vol == pytest.approx(a_trading_year.vol * (365 / 252) ** 0.5, rel=1e-9)
