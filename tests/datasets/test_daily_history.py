"""Daily bars for forecasts: found beside a data set, or given as a file."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from scalpdesk.assembly import forecasts
from scalpdesk.config.settings import load_settings
from scalpdesk.core.errors import DataError
from scalpdesk.datasets.daily_history import find_history, packaged_history
from scalpdesk.instruments.sessions import session_on
from scalpdesk_testing.kit.instruments import DAY
from scalpdesk_testing.kit.tape import TapeBuilder

DAILY = (
    Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "daily_history" / "equity_daily.parquet"
)


@pytest.fixture
def csv_of(tmp_path):
    """Write the packaged index history as a user's CSV of SPY, whole or up to a day."""

    def write(until=date(2030, 1, 1)):
        history = packaged_history("sp500")
        rows = zip(history.days, *history.bars.values(), strict=True)
        lines = ["date,open,high,low,close,symbol"]
        lines += [",".join([str(day), *map(str, prices), "SPY"]) for day, *prices in rows if day < until]
        path = tmp_path / "daily.csv"
        path.write_text("\n".join(lines))
        return str(path)

    return write


def forecast_of(tape, daily):
    settings = load_settings("st0cka", overrides=[f"data.daily_history={daily}"])
    return forecasts(tape, settings)


def test_a_recorded_session_is_forecast_from_the_days_before_it_and_nothing_later(csv_of):
    tape = TapeBuilder(days=(date(2016, 3, 1), date(2016, 3, 2))).spot("09:40", 200.0).build()
    events = forecast_of(tape, csv_of())
    assert [event.ts_recv_ns for event in events] == [one.open_ns for one in tape.sessions]
    assert 0.05 < events[0].vol < 1.0
    assert events[0].vol != events[1].vol
    known = forecast_of(tape, csv_of(until=date(2016, 3, 2)))
    assert known == events
    assert forecast_of(tape, csv_of(until=date(2016, 3, 1)))[0] == events[0]


def test_without_daily_bars_there_is_no_forecast():
    tape = TapeBuilder(days=(DAY,)).spot("09:40", 200.0).build()
    assert forecasts(tape, load_settings("st0cka")) == ()


def test_a_file_that_is_not_there_is_named():
    tape = TapeBuilder(days=(DAY,)).spot("09:40", 200.0).build()
    with pytest.raises(DataError, match="no such file"):
        forecast_of(tape, "nowhere.csv")


def test_the_daily_set_of_seconds_is_that_of_their_minutes(tmp_path):
    (tmp_path / "spy-daily" / "trades" / "SPY").mkdir(parents=True)
    for name in ("spy", "spy-second", "spy-hour"):
        with pytest.raises(DataError, match="no data set of this name") as caught:
            find_history(tmp_path, name, "SPY", None)
        assert caught.value.value == "spy-daily"
    assert find_history(tmp_path, "other", "SPY", None).days == ()


@pytest.mark.recorded
@pytest.mark.skipif(not DAILY.is_file(), reason="the recorded data is not here")
def test_the_recorded_daily_bars_forecast_october_2013():
    tape = TapeBuilder(days=(date(2013, 10, 7),)).spot("09:40", 168.0).build()
    (event,) = forecast_of(tape, DAILY)
    assert event.ts_recv_ns == session_on(date(2013, 10, 7)).open_ns
    assert Decimal("0.08") < Decimal(event.vol) < Decimal("0.20")
