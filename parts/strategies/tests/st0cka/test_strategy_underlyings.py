"""st0cka and st0ckg trade several underlyings in one desk, each as it does alone."""

import pytest

from scalpdesk import backtest, load_data

DAY = "2018-02-05"


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "traded"), [("st0cka", {"SPY", "QQQ"}), ("st0ckg", {"QQQ"})])
def test_each_underlying_is_traded_as_it_is_alone(strategy, traded):
    both = backtest(strategy, load_data(start=DAY, underlying="SPY,QQQ"), settings={"underlying": "SPY,QQQ"})
    parts = both.summary["underlyings"]
    assert {symbol for symbol, part in parts.items() if part["fills"]} == traded
    assert sum(part["fills"] for part in parts.values()) == both.summary["fills"]
    alone = backtest(strategy, load_data(start=DAY), settings={"underlying": "SPY"})
    assert parts["SPY"]["fills"] == alone.summary["fills"]
    assert float(parts["SPY"]["pnl"]["total"]) == pytest.approx(float(alone.summary["nav_change"]), abs=0.01)
