"""Volatility forecasts on two packaged daily series, beside GARCH(1,1) and the reference's best figures."""

import time

from measuring import BenchmarkError, Context, Result, against, alone

from scalpdesk.datasets.daily_history import packaged_history
from scalpdesk.volatility.evaluation import score
from scalpdesk.volatility.forecast import DESK_DEFAULT
from scalpdesk.volatility.ohlc import read_ohlc
from scalpdesk.volatility.rolling import rolling_forecasts

DAYS = 3508
TO_BEAT = {1: 0.698, 5: 0.750, 22: 0.905}
"""Loss of the mean of GJR-t and a HAR, S&P 500, as the reference measured it."""

TITLE = "Volatility forecasts: loss out of sample"
SUBJECT = ("src/scalpdesk/volatility",)

ABOUT = f"""\
S&P 500 and NASDAQ Composite, daily 1999 to 2018, {DAYS:,} days out of sample from 2004-12-22 to 2018-11-27,
parameters from past days only, refit every 21 days. The loss is the mean of r²/f + ln f, r in percent, of
the next 1, 5 and 22 trading days; lower is better. `dm_t` is Diebold–Mariano against GARCH(1,1) with
Newey–West errors; below −2 the forecast is better by more than luck. `scalpdesk` is the desk's default
forecast (`{DESK_DEFAULT}`), the peer GARCH(1,1) as `arch` fits it, on the same days by the same code. A
ratio of losses says little by itself: the logarithm in the loss has no zero. The targets on the S&P 500 are
the reference's figures for the mean of a GJR-t and a HAR. The choice of model was made on the S&P 500
alone. Tables of all models: docs/evidence/forecasts.md.
"""


def measure(context: Context) -> list[Result]:
    """Score the desk's default and GARCH(1,1); the losses are the same in every round."""
    results: list[Result] = []
    for series in ("sp500",) if context.smoke else ("sp500", "nasdaq"):
        bars = read_ohlc(packaged_history(series).bars)
        horizons = (5,) if context.smoke else (1, 5, 22)
        first = 4800 if context.smoke else 1500
        began = time.perf_counter()
        scores = score(rolling_forecasts(bars, ("garch", DESK_DEFAULT), horizons, first=first))
        print(f"  {series}: {time.perf_counter() - began:.1f} s", flush=True)
        by_place = {(score.model, score.horizon_days): score for score in scores}
        for days in horizons:
            ours, garch = by_place[DESK_DEFAULT, days], by_place["garch", days]
            if not context.smoke and ours.days != DAYS:
                raise BenchmarkError(f"{ours.days} days were forecast where {DAYS} are right")
            assert ours.against_garch is not None
            name = f"forecast_{series}_{days}d"
            results.append(against(name, "qlike", [ours.qlike], "arch GARCH(1,1)", [garch.qlike]))
            if series == "sp500":
                results.append(alone(f"{name}_loss", "qlike", [ours.qlike], target=TO_BEAT[days]))
            significant = -2.0 if days < 22 else None
            results.append(alone(f"{name}_dm_t", "t", [ours.against_garch.t], target=significant))
    return results
