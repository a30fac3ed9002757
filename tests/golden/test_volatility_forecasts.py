"""The forecast table of docs/evidence/forecasts.md, and the reference's figures that it is held against.

Reference: S&P 500 1999-2018, 3,508 days from 2004-12-22 to 2018-11-27, refit every 21 days, mean of
r²/f + ln f with r in percent at 1, 5 and 22 days.
"""

import pytest

from scalpdesk.datasets.daily_history import packaged_history
from scalpdesk.volatility.evaluation import score
from scalpdesk.volatility.forecast import DESK_DEFAULT
from scalpdesk.volatility.ohlc import read_ohlc
from scalpdesk.volatility.rolling import rolling_forecasts

pytestmark = pytest.mark.second

REFERENCE = {
    "ewma": (0.796, 0.850, 1.001),
    "garch": (0.759, 0.801, 0.916),
    "gjr": (0.714, 0.770, 0.920),
}
REFERENCE_COMBINED = (0.698, 0.750, 0.905)
MEASURED = {
    "sp500": {
        **REFERENCE,
        "egarch": (0.716, 0.783, 0.951),
        "har": (0.697, 0.744, 0.902),
        "combined": (0.695, 0.748, 0.902),
    },
    "nasdaq": {
        "ewma": (1.116, 1.151, 1.265),
        "garch": (1.091, 1.121, 1.211),
        "gjr": (1.064, 1.104, 1.216),
        "egarch": (1.065, 1.106, 1.214),
        "har": (1.029, 1.075, 1.192),
        "combined": (1.039, 1.082, 1.197),
    },
}
LAST_DIGIT = 0.0015


def scores_of(series, models):
    bars = read_ohlc(packaged_history(series).bars)
    return {(one.model, one.horizon_days): one for one in score(rolling_forecasts(bars, models))}


def hold(scores, table):
    for model, losses in table.items():
        for horizon, loss in zip((1, 5, 22), losses, strict=True):
            assert scores[model, horizon].days == 3508
            assert scores[model, horizon].qlike == pytest.approx(loss, abs=LAST_DIGIT), (model, horizon)


def test_the_desks_default_beats_garch_on_the_sp500_and_the_reference_combination():
    scores = scores_of("sp500", ("garch", DESK_DEFAULT))
    hold(scores, {name: MEASURED["sp500"][name] for name in ("garch", DESK_DEFAULT)})
    for horizon, reference in zip((1, 5, 22), REFERENCE_COMBINED, strict=True):
        mine = scores[DESK_DEFAULT, horizon]
        assert mine.qlike < reference
        assert mine.qlike < scores["garch", horizon].qlike
        if horizon < 22:
            assert mine.against_garch.t < -2.0


@pytest.mark.slow
@pytest.mark.parametrize("series", ["sp500", "nasdaq"])
def test_the_whole_table(series):
    scores = scores_of(series, tuple(MEASURED[series]))
    hold(scores, MEASURED[series])
    for horizon in (1, 5):
        for model in ("har", "combined"):
            assert scores[model, horizon].against_garch.t < -5.0
            assert scores[model, horizon].qlike < scores["garch", horizon].qlike
    if series == "sp500":
        for horizon, reference in zip((1, 5, 22), REFERENCE_COMBINED, strict=True):
            assert scores["combined", horizon].qlike < reference
