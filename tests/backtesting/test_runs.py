"""Whole runs: what a small account can buy, and where a run says that its processor time went."""

from datetime import date, time
from types import SimpleNamespace

import pytest

from scalpdesk.backtesting.runs import ProcessorTime, run_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.datasets.embedded import market
from scalpdesk_testing.kit.tape import until

CLOCK = SimpleNamespace(now_ns=lambda: 1_500_000_000 * 10**9)


@pytest.mark.second
def test_ten_thousand_dollars_buy_a_straddle_of_thirty_days():
    """Its premium is above the 500 USD that a day may lose, and is no loss of the day."""
    chosen = ("simulation.starting_cash=10000", "entry.gate=off", "selection.max_expiration_days=60")
    tape = market.reconstruct(date(2017, 6, 1))
    summary = run_backtest(load_settings("gamma-scalper", overrides=chosen), tape, CLOCK).summary
    options = {name: size for name, size in summary["end_positions"].items() if len(name) > 3}
    assert sorted(options.values()) == ["1", "1"]
    assert all(name[3:9] >= "170701" for name in options)
    assert summary["mode"] == "ACTIVE"


def figures(prepare, *quarters):
    """Return what a run of 400 ns says whose preparation and quarters take so many seconds."""
    times = iter([0.0, *(sum((prepare, *quarters[:count])) for count in range(len(quarters) + 1))])
    spent = ProcessorTime(1_000, 1_400, clock=lambda: next(times))
    spent.begin()
    for now_ns in range(1_000, 1_000 + 100 * len(quarters) + 1, 50):
        spent.note(now_ns)
    return spent.figures("zero-dte")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ((1.0, 1.0, 1.0, 1.0, 1.0), None),
        ((1.0, 2.0, 3.0, 5.0, 8.0), None),
        ((1.0, 2.0, 3.0, 5.0, 8.1), ("zero-dte", "2.0, 3.0, 5.0, 8.1 s")),
        ((0.1, 0.1, 0.2, 0.4, 0.8), None),  # too short to mean anything
        ((98.0, 0.5, 0.5, 0.5, 0.5), ("zero-dte", "98.0 s")),
    ],
)
def test_a_run_whose_time_grows_or_goes_into_its_preparation_is_called_slow(seconds, said):
    found = figures(*seconds)
    assert found["cpu_seconds"] == {
        "prepare": seconds[0],
        "quarters": pytest.approx(list(seconds[1:]), abs=1e-9),
    }
    assert ("slow" in found) is (said is not None)
    assert all(words in found["slow"] for words in said or ())


def test_a_backtest_says_its_processor_time():
    tape = until(market.reconstruct(date(2018, 2, 6)), time(10))
    summary = run_backtest(load_settings("zero-dte"), tape, CLOCK).summary
    assert len(summary["cpu_seconds"]["quarters"]) == 4
    assert "slow" not in summary
