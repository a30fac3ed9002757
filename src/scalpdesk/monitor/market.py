"""The Volatility page and the strike picker: what the followed run's chain says now."""

import math
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, cast

import numpy as np

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import ForecastEvent
from scalpdesk.core.plugins import resolved
from scalpdesk.core.units import DAYS_PER_YEAR, NANOS_PER_SECOND, SESSIONS_PER_YEAR, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.marketdata.chain_gamma import price_desk
from scalpdesk.marketdata.dealer_gamma import covered, covered_text, gamma_exposure
from scalpdesk.marketdata.quotes import TRADABLE
from scalpdesk.monitor import answers
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.texts import leg_label, per_cent, plain
from scalpdesk.portfolio.delta_engine import OptionState
from scalpdesk.strategies.contract import OfferedOption, Pick, StrikePicker
from scalpdesk.strategies.registry import find_strategy
from scalpdesk.volatility.regime import regime_of

_SMILE_WIDTH = 0.08
"""Strikes shown of a smile: this fraction of spot each way."""
_GAMMA_WIDTH = 0.04
"""The same of the dealer gamma by strike."""
_LEAST_QUOTES = 3
"""Fewer within that width draw no smile."""
_CURVE_POINTS = 41
_MONTH_DAYS = 30
"""The implied volatility of a desk without a position is that of the expiry nearest to so many days."""
_MOST_EXPIRIES = 8
_SMILE_EXPIRIES = 4
_BUCKETS = (-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06)
"""Strikes of the heat table, as moves from spot."""
_PICKED_STRIKES = 10
"""Strikes of the picker on each side of spot."""
_USUAL_PICKER = "ema-scalper"
"""Whose defaults show a chain to a run whose own strategy picks no strikes."""

_Priced = tuple[InstrumentId, OptionContract, OptionState]


def _chain(follower: RunFollower) -> dict[date, list[_Priced]]:
    """Return the options of the run's underlying that have a value, by expiry."""
    desk = follower.desk
    underlying = desk.instruments[desk.view.underlying].symbol
    today = to_new_york(follower.now_ns).date()
    found: dict[date, list[_Priced]] = {}
    for number, contract in enumerate(desk.instruments):
        if not contract.is_option or contract.underlying != underlying:
            continue
        if contract.expiry < today:
            continue
        option = InstrumentId(number)
        valuation = follower.value(option)
        if valuation is not None:
            found.setdefault(contract.expiry, []).append((option, contract, valuation))
    return dict(sorted(found.items()))


def _smiles(follower: RunFollower, chain: dict[date, list[_Priced]], spot: float) -> list[answers.Smile]:
    """Return the fitted smile of each expiry and the quotes that it was fitted to.

    Volatilities in per cent a year, by the calendar as quotes are read everywhere. ``strikes`` and ``vols``
    are the curve, which reaches no further than the quotes; ``quoted`` has None at a strike that is only a
    point of the curve.
    """
    today, market = to_new_york(follower.now_ns).date(), follower.desk.market
    rows: list[answers.Smile] = []
    for expiry, options in chain.items():
        smile = follower.smile(options[0][0])
        if smile is None or not smile.spans_money:
            continue
        quoted: dict[float, float | None] = {}
        for number, contract, state in options:
            strike = float(contract.strike)
            is_beyond = abs(strike / spot - 1.0) > _SMILE_WIDTH
            if is_beyond or (strike >= smile.forward) != contract.is_call:
                continue
            known = state.vol_is_fresh and not state.is_modelled
            if known and market.verdict(number, follower.now_ns) in TRADABLE:
                quoted[strike] = 100.0 * state.own_vol
        if len(quoted) < _LEAST_QUOTES:
            continue
        grid = np.linspace(min(quoted), max(quoted), _CURVE_POINTS).tolist()
        strikes = sorted(quoted.keys() | set(grid))
        by_calendar = 100.0 / follower.on_clock(options[0][0])
        on_clock = smile.vol(math.log(spot / smile.forward))
        rows.append(
            {
                "expiry": expiry.isoformat(),
                "days": (expiry - today).days,
                "forward": smile.forward,
                "strikes": strikes,
                "vols": (by_calendar * smile.vols(np.log(np.array(strikes) / smile.forward))).tolist(),
                "quoted": [quoted.get(strike) for strike in strikes],
                "atm": by_calendar * on_clock,
                "atm_on_clock": on_clock,
            }
        )
        if len(rows) == _MOST_EXPIRIES:
            break
    return rows


def volatility_page(follower: RunFollower) -> answers.VolatilityPage | answers.Empty:
    """Return implied, realised and forecast volatility, smiles, term structure and dealer gamma."""
    if follower.engine is None:
        return {"empty": follower.unread}
    desk = follower.desk
    spot = desk.market.mark(desk.view.underlying)
    if spot is None:
        return {"empty": "The underlying was not quoted yet."}
    chain = _chain(follower)
    smiles = _smiles(follower, chain, spot)
    meter = follower.meter_today()
    realised, paid = meter["realised_vol_weighted"], meter["implied_vol_weighted"]
    implied, days = follower.implied_of_book(), None
    if math.isnan(implied) and smiles:
        nearest = min(smiles, key=lambda smile: abs(smile["days"] - _MONTH_DAYS))
        implied, days = nearest["atm_on_clock"], nearest["days"]
    forecast, known = desk.market.forecasts.get(desk.view.underlying), _known_forecast(follower)
    expected = math.nan if known is None else known.vol
    return {
        "spot": spot,
        "opened": follower.session_opened_ns / NANOS_PER_SECOND,
        "implied": implied,
        "implied_days": days,
        "realised": realised,
        "paid": paid,
        "forecast": expected,
        "forecast_low": known and known.low,
        "forecast_high": known and known.high,
        "forecast_model": known and known.model,
        "forecast_days": known and known.horizon_days,
        "forecast_reason": None if forecast is None or known else forecast.reason,
        "sentence": volatility_sentence(implied, known, realised, paid, follower.fold.compared),
        "verdict": _verdict(*_level_and_forecast(implied, known, follower.fold.compared)),
        "day": _day_sentence(follower, spot, implied, expected, realised),
        "smiles": smiles[:_SMILE_EXPIRIES],
        "term": [{"expiry": each["expiry"], "days": each["days"], "atm": each["atm"]} for each in smiles],
        "heat": _heat_table(smiles, spot),
        "gex": _gex_block(follower),
        "exposures": [
            {"symbol": each.symbol, "usd": each.exposure_usd, "source": each.source}
            for each in desk.market.gamma_exposures.values()
        ],
    }


def _known_forecast(follower: RunFollower) -> ForecastEvent | None:
    found = follower.desk.market.forecasts.get(follower.desk.view.underlying)
    return found if found is not None and math.isfinite(found.vol) else None


def regime_now(follower: RunFollower) -> answers.VolatilityRegime:
    """Return the forecast of the underlying's volatility and its regime; nulls before the first forecast."""
    forecast = _known_forecast(follower)
    if forecast is None:
        return {"regime": None, "forecast_vol": None, "model": None}
    return {"regime": regime_of(forecast.vol).value, "forecast_vol": forecast.vol, "model": forecast.model}


class Likely(NamedTuple):
    """A forecast of volatility and the interval that it is likely in, fractions a year."""

    vol: float
    low: float
    high: float


def _level_and_forecast(
    implied: float, forecast: ForecastEvent | None, compared: tuple[float, float] | None
) -> tuple[float, Likely | None]:
    """Return the market's level and what it is held against: as the entry's gate compared them, if it did."""
    if forecast is None:
        return implied, None
    expected, level = compared or (forecast.vol, implied)
    scale = expected / forecast.vol
    return level, Likely(expected, scale * forecast.low, scale * forecast.high)


def _verdict(level: float, likely: Likely | None) -> str:
    """Return whether options are cheap: only outside of what the forecast itself holds for likely."""
    if likely is None or not math.isfinite(level):
        return "not known"
    if likely.low <= level <= likely.high:
        return "neither cheap nor rich"
    return "cheap" if level < likely.low else "rich"


def volatility_sentence(
    implied: float,
    forecast: ForecastEvent | None,
    realised: float,
    paid: float,
    compared: tuple[float, float] | None = None,
) -> str:
    """Return the answer to "is it cheap?": how implied, forecast and realised volatility go together.

    ``implied``, ``realised``: On the variance clock, fractions a year; NaN for what is not known.
    ``paid``: Implied volatility that theta was priced at in this session, on the same clock and with the
    same weights as ``realised``.
    ``compared``: Forecast and market level to its horizon that the entry's gate compared last in this
    session: by these, not by the implied volatility of a strike, are options cheap or rich.
    """
    if not math.isfinite(implied):
        return "No option has an implied volatility yet."
    parts, clauses = [f"Implied {per_cent(implied)}"], []
    level, likely = _level_and_forecast(implied, forecast, compared)
    verdict = _verdict(level, likely)
    if likely is not None and forecast is not None:
        parts.append(f"forecast {per_cent(forecast.vol)}")
        clause = f"options are {verdict} against the forecast"
        if compared is not None:
            clause += (
                f" (the entry gate compares {per_cent(likely.vol)} with {per_cent(level)} to its horizon)"
            )
        else:
            clause += f", likely {per_cent(likely.low)} to {per_cent(likely.high)}"
        clauses.append(clause)
    else:
        clauses.append("there is no forecast to compare it with")
    if math.isfinite(realised) and math.isfinite(paid):
        parts.append(f"realised today {per_cent(realised)}")
        moved = "more" if realised > paid else "less"
        is_against = verdict == ("rich" if realised > paid else "cheap")
        clauses.append(
            f"{'but' if is_against else 'and'} the day moves {moved} than the {per_cent(paid)} that theta"
            " is priced at"
        )
    return f"{', '.join(parts)}: {', '.join(clauses)}."


def _day_sentence(
    follower: RunFollower, spot: float, implied: float, forecast: float, realised: float
) -> str | None:
    """Return what these volatilities ask of a day of trading; None without an implied volatility."""
    if not math.isfinite(implied):
        return None
    traded = follower.desk.instruments[follower.desk.view.underlying]
    a_day = 1.0 / math.sqrt(DAYS_PER_YEAR if traded.is_coin else SESSIONS_PER_YEAR)
    is_short = follower.greeks().gamma_shares_per_usd < 0.0
    does = "Short gamma keeps its theta" if is_short else "Long gamma earns its theta"
    text = (
        f"{does} on a day that moves {traded.symbol} by {'less than ' if is_short else ''}"
        f"{per_cent(implied * a_day, 2)}"
        f" ({plain(implied * a_day * spot)} USD)"
    )
    if math.isfinite(forecast):
        text += f"; the forecast expects {per_cent(forecast * a_day, 2)}"
    if math.isfinite(realised):
        text += f", and today moves at the rate of {per_cent(realised * a_day, 2)}"
    return f"{text}."


def _heat_table(smiles: list[answers.Smile], spot: float) -> answers.Heat:
    """Return implied volatility by expiry and move from spot; a cell outside of the quotes is None."""
    found = [vol for smile in smiles for vol in smile["vols"]]
    low, high = min(found, default=0.0), max(found, default=0.0)
    rows: list[answers.HeatRow] = []
    for smile in smiles:
        strikes, vols = smile["strikes"], smile["vols"]
        cells: list[answers.HeatCell] = []
        for move in _BUCKETS:
            strike = spot * (1.0 + move)
            inside = strikes[0] <= strike <= strikes[-1]
            vol = float(np.interp(strike, strikes, vols)) if inside else math.nan
            heat = (vol - low) / (high - low) if inside and high > low else None
            cells.append({"vol": vol / 100.0, "heat": heat})
        rows.append({"expiry": smile["expiry"], "days": smile["days"], "cells": cells})
    return {"moves": list(_BUCKETS), "rows": rows}


def _gex_block(follower: RunFollower) -> answers.GammaByStrike:
    """Return dealer gamma by strike from the open interest of the followed run's listed options."""
    desk = follower.desk
    underlying = desk.instruments[desk.view.underlying].symbol
    priced = price_desk(
        desk.market,
        desk.instruments,
        underlying,
        follower.now_ns,
        spots=follower.spots,
        previous=follower.last_surface,
    )
    if priced is None or not len(priced.rows) or not desk.market.open_interest:
        return {"reason": "no open interest is published for this chain", "strikes": []}
    follower.last_surface = priced.surface
    spot, day = priced.spot, to_new_york(follower.now_ns).date()
    exposure = gamma_exposure(priced.rows, spot)
    near = [each for each in exposure.by_strike if abs(each.strike / spot - 1.0) <= _GAMMA_WIDTH]
    widest = max((abs(each.net_usd) for each in near), default=0.0) or 1.0
    return {
        "reason": exposure.reason or None,
        "covers": covered(exposure, day),
        "covers_text": covered_text(exposure, day),
        "net_usd": exposure.net_usd,
        "call_wall": exposure.call_wall,
        "put_wall": exposure.put_wall,
        "strikes": [
            {"strike": each.strike, "usd": each.net_usd, "share": each.net_usd / widest} for each in near
        ],
    }


def picker_page(follower: RunFollower) -> answers.PickerPage | answers.Empty:
    """Return the chain of the nearest expiry with the delta's heat, and why each refused strike is.

    The limits are those of the run's strategy where it picks strikes, else the EMA scalper's defaults.
    """
    if follower.engine is None:
        return {"empty": follower.unread}
    desk, now_ns = follower.desk, follower.now_ns
    spot = desk.market.mark(desk.view.underlying)
    chain = _chain(follower)
    if spot is None or not chain:
        return {"empty": "No option was quoted yet."}
    try:
        picker, config, is_own = _picker(follower.engine.strategy)
    except ConfigError as refusal:
        return {"empty": f"{refusal.what[:1].upper()}{refusal.what[1:]}: {refusal.fix}."}
    underlying = desk.instruments[desk.view.underlying].symbol
    expiry, options = next(iter(chain.items()))
    listed = {contract.strike for _, contract, _ in options}
    shown = sorted(sorted(listed, key=lambda strike: abs(float(strike) - spot))[: 2 * _PICKED_STRIKES])
    rows: dict[Decimal, answers.PickerRow] = {strike: {"strike": float(strike)} for strike in shown}
    for number, contract, valuation in options:
        if contract.strike in rows:
            offered = _offered(follower, number, contract, valuation)
            rows[contract.strike]["call" if contract.is_call else "put"] = _picked(
                offered, picker(config, offered)
            )
    return {
        "underlying": underlying,
        "spot": spot,
        "price_decimals": follower.price_places,
        "expiry": expiry.isoformat(),
        "days": (expiry - to_new_york(now_ns).date()).days,
        "rules": "the run's own limits" if is_own else "the scalper's default limits",
        "rows": [rows[strike] for strike in shown],
    }


def _picker(strategy: Any) -> tuple[StrikePicker, Any, bool]:
    """Return who picks strikes, by which settings, and whether they are the run's own.

    Raises ConfigError when neither the run's strategy picks strikes nor the usual one is installed.
    """
    own = getattr(strategy, "config", None)
    for name in (strategy.name, _USUAL_PICKER):
        spec = find_strategy(name)
        if spec.picker:
            is_own = isinstance(own, spec.config)
            return resolved(spec.picker), own if is_own else spec.config(), is_own
    raise ConfigError("no strategy that is installed picks strikes", where="strategy", fix="name another")


def _offered(
    follower: RunFollower, number: InstrumentId, contract: OptionContract, valuation: OptionState
) -> OfferedOption:
    market = follower.desk.market
    quote = market.quotes[number]
    return OfferedOption(
        contract=contract,
        spot=valuation.spot,
        bid=math.nan if quote is None else quote.bid,
        ask=math.nan if quote is None else quote.ask,
        delta=valuation.greeks.delta,
        gamma=valuation.greeks.gamma,
        theta=valuation.greeks.theta,
        vol=valuation.vol,
        open_interest=market.open_interest.get(number, 0),
        volume=market.volume_today(number),
        now_ns=follower.now_ns,
    )


def _picked(offered: OfferedOption, pick: Pick) -> answers.Picked:
    """Return one option with its score, or why it is refused."""
    contract, mid = offered.contract, 0.5 * (offered.bid + offered.ask)
    told = answers.Picked.__annotations__
    found = {name: getattr(each, name) for each in (offered, pick) for name in told if hasattr(each, name)}
    spread = (offered.ask - offered.bid) / mid if mid > 0.0 else math.inf
    named = {"symbol": contract.symbol, "label": leg_label(contract), "spread": spread}
    return cast(answers.Picked, found | named)
