"""The Volatility page and the strike picker: what the followed run's chain says now."""

import math
from datetime import date
from typing import Any

import numpy as np

from scalpdesk.core.units import DAYS_PER_YEAR, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import from_ns, to_new_york
from scalpdesk.marketdata.dealer_gamma import gamma_exposure, listed_rows
from scalpdesk.portfolio.delta_engine import Valuation
from scalpdesk.strategies.ema_scalper.config import ScalpConfig
from scalpdesk.strategies.ema_scalper.model import ChainRow, OptionsChain
from scalpdesk.strategies.ema_scalper.strike_selector import StrikeSelector
from scalpdesk.volatility.regime import regime_of, variance_premium
from scalpdesk.web.follower import RunFollower
from scalpdesk.web.texts import leg_label, per_cent, plain, signed

SMILE_WIDTH = 0.08
"""Strikes shown of a smile: this fraction of spot each way."""
GAMMA_WIDTH = 0.04
"""The same of the dealer gamma by strike."""
MOST_EXPIRIES = 8
SMILE_EXPIRIES = 4
BUCKETS = (-0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.06)
"""Strikes of the heat table, as moves from spot."""
PICKED_STRIKES = 10
"""Strikes of the picker on each side of spot."""

Priced = tuple[InstrumentId, OptionContract, Valuation]


def _chain(follower: RunFollower) -> dict[date, list[Priced]]:
    """Return the options of the run's underlying that have a value, by expiry."""
    desk = follower.desk
    underlying = desk.instruments[desk.view.underlying].symbol
    today = to_new_york(follower.now_ns).date()
    found: dict[date, list[Priced]] = {}
    for number, contract in enumerate(desk.instruments):
        if not isinstance(contract, OptionContract) or contract.underlying != underlying:
            continue
        if contract.expiry < today:
            continue
        option = InstrumentId(number)
        valuation = follower.value(option)
        if valuation is not None:
            found.setdefault(contract.expiry, []).append((option, contract, valuation))
    return dict(sorted(found.items()))


def _smile(options: list[Priced], spot: float) -> tuple[list[float], list[float]]:
    """Return strikes and implied volatilities of the options out of the money."""
    points = sorted(
        (float(contract.strike), valuation.vol)
        for _, contract, valuation in options
        if (float(contract.strike) >= spot) == contract.is_call
        and valuation.vol > 0.0
        and abs(float(contract.strike) / spot - 1.0) <= SMILE_WIDTH
    )
    return [strike for strike, _ in points], [vol for _, vol in points]


def volatility_page(follower: RunFollower) -> dict[str, Any]:
    """Return implied, realised and forecast volatility, smiles, term structure, regime and dealer gamma."""
    if follower.engine is None:
        return {"empty": follower.unread}
    desk = follower.desk
    spot = desk.market.mark(desk.view.underlying)
    if spot is None:
        return {"empty": "The underlying was not quoted yet."}
    chain = _chain(follower)
    today = to_new_york(follower.now_ns).date()
    smiles: list[dict[str, Any]] = []
    term: list[dict[str, Any]] = []
    for expiry, options in list(chain.items())[:MOST_EXPIRIES]:
        strikes, vols = _smile(options, spot)
        if len(strikes) < 3:
            continue
        atm = float(np.interp(spot, strikes, vols))
        days = (expiry - today).days
        term.append({"expiry": expiry.isoformat(), "days": days, "atm": atm, "text": per_cent(atm)})
        smiles.append({"expiry": expiry.isoformat(), "days": days, "strikes": strikes, "vols": vols})
    figures = desk.attribution.meter.figures()
    realised = figures["realised_vol_weighted"]
    implied = term[0]["atm"] if len(term) == 1 else (term[-1]["atm"] if term else math.nan)
    if follower.last_mark is not None and follower.last_mark.implied_vol > 0:
        implied = follower.last_mark.implied_vol
    forecast = desk.market.forecasts.get(desk.view.underlying)
    known = forecast is not None and math.isfinite(forecast.vol)
    page = {
        "spot": plain(spot),
        "implied": per_cent(implied),
        "realised": per_cent(realised),
        "forecast": per_cent(forecast.vol) if forecast is not None and known else None,
        "forecast_interval": (
            f"{per_cent(forecast.low)} to {per_cent(forecast.high)}"
            if forecast is not None and known and math.isfinite(forecast.low)
            else None
        ),
        "forecast_model": forecast.model if forecast is not None and known else None,
        "forecast_reason": forecast.reason if forecast is not None and not known else None,
        "regime": regime_now(follower)["regime"],
        "smiles": [
            {**smile, "vols": [100 * vol for vol in smile["vols"]]} for smile in smiles[:SMILE_EXPIRIES]
        ],
        "term": term,
        "heat": _heat_table(smiles, spot),
        "gex": gex_block(chain, follower, spot),
        "exposures": [
            {"symbol": each.symbol, "usd": signed(each.exposure_usd, 0), "source": each.source}
            for each in desk.market.gamma_exposures.values()
        ],
    }
    return page | {"sentence": _sentence(implied, realised, forecast.vol if forecast and known else math.nan)}


def regime_now(follower: RunFollower) -> dict[str, Any]:
    """Return the forecast of the underlying's volatility and its regime; nulls while there is none."""
    forecast = follower.desk.market.forecasts.get(follower.desk.view.underlying)
    if forecast is None or not math.isfinite(forecast.vol):
        return {"regime": None, "forecast_vol": None, "model": None}
    return {"regime": regime_of(forecast.vol).value, "forecast_vol": forecast.vol, "model": forecast.model}


def _sentence(implied: float, realised: float, forecast: float) -> str:
    """Return the answer to "is it cheap?"."""
    if not math.isfinite(implied):
        return "No option has an implied volatility yet."
    if not math.isfinite(forecast):
        return f"Implied is {per_cent(implied)}; there is no forecast to hold it against."
    premium = variance_premium(implied, forecast)
    word = "rich" if premium.ratio > 1.0 else "cheap"
    text = (
        f"Options are {word}: implied {per_cent(implied)} against a forecast of {per_cent(forecast)},"
        f" ratio {premium.ratio:.2f}."
    )
    return text + (f" Realised so far {per_cent(realised)}." if math.isfinite(realised) else "")


def _heat_table(smiles: list[dict[str, Any]], spot: float) -> dict[str, Any]:
    """Return implied volatility by expiry and move from spot; a cell outside of the strikes is None."""
    rows: list[dict[str, Any]] = []
    middle = [vol for smile in smiles for vol in smile["vols"]]
    centre = float(np.median(middle)) if middle else 0.0
    for smile in smiles:
        strikes, vols = smile["strikes"], smile["vols"]
        cells = []
        for move in BUCKETS:
            strike = spot * (1.0 + move)
            inside = strikes[0] <= strike <= strikes[-1]
            vol = float(np.interp(strike, strikes, vols)) if inside else math.nan
            heat = (vol - centre) / centre if inside and centre else None
            cells.append({"text": per_cent(vol), "heat": heat})
        rows.append({"expiry": smile["expiry"], "days": smile["days"], "cells": cells})
    return {"moves": [f"{signed(100 * move, 0)} %" if move else "spot" for move in BUCKETS], "rows": rows}


def gex_block(chain: dict[date, list[Priced]], follower: RunFollower, spot: float) -> dict[str, Any]:
    """Return dealer gamma by strike from the open interest of the followed chain."""
    interest = follower.desk.market.open_interest
    rows = [entry for options in chain.values() for entry in options]
    if not rows or not interest:
        return {"reason": "no open interest is published for this chain", "strikes": []}
    exposure = gamma_exposure(
        listed_rows(
            [(number, contract) for number, contract, _ in rows],
            [valuation.greeks.gamma for _, _, valuation in rows],
            interest,
        ),
        spot,
    )
    near = [each for each in exposure.by_strike if abs(each.strike / spot - 1.0) <= GAMMA_WIDTH]
    widest = max((abs(each.call_usd + each.put_usd) for each in near), default=0.0) or 1.0
    return {
        "reason": exposure.reason or None,
        "net": None if exposure.net_usd is None else signed(exposure.net_usd, 0),
        "call_wall": plain(exposure.call_wall),
        "put_wall": plain(exposure.put_wall),
        "strikes": [
            {
                "strike": plain(each.strike),
                "text": signed(each.call_usd + each.put_usd, 0),
                "share": (each.call_usd + each.put_usd) / widest,
            }
            for each in near
        ],
    }


def picker_page(follower: RunFollower) -> dict[str, Any]:
    """Return the chain of the nearest expiry with the delta's heat, and why each refused strike is.

    The limits are those of the run's scalper when it is one, else the scalper's defaults.
    """
    if follower.engine is None:
        return {"empty": follower.unread}
    desk, now_ns = follower.desk, follower.now_ns
    spot = desk.market.mark(desk.view.underlying)
    chain = _chain(follower)
    if spot is None or not chain:
        return {"empty": "No option was quoted yet."}
    own = getattr(follower.engine.strategy, "config", None)
    config = own if isinstance(own, ScalpConfig) else ScalpConfig()
    underlying = desk.instruments[desk.view.underlying].symbol
    expiry, options = next(iter(chain.items()))
    listed = {contract.strike for _, contract, _ in options}
    shown = sorted(sorted(listed, key=lambda strike: abs(float(strike) - spot))[: 2 * PICKED_STRIKES])
    rows: dict[Any, dict[str, Any]] = {strike: {"strike": plain(float(strike))} for strike in shown}
    for number, contract, valuation in options:
        if contract.strike not in rows:
            continue
        rows[contract.strike]["call" if contract.is_call else "put"] = _picked(
            follower, number, contract, valuation, underlying, config
        )
    return {
        "underlying": underlying,
        "spot": plain(spot),
        "expiry": expiry.isoformat(),
        "days": (expiry - to_new_york(now_ns).date()).days,
        "rules": "the run's own limits" if isinstance(own, ScalpConfig) else "the scalper's default limits",
        "rows": [rows[strike] for strike in shown],
    }


def _picked(
    follower: RunFollower,
    number: InstrumentId,
    contract: OptionContract,
    valuation: Valuation,
    underlying: str,
    config: ScalpConfig,
) -> dict[str, Any]:
    """Return one contract with its score, or why the selector refuses it."""
    market = follower.desk.market
    quote = market.quotes[number]
    row = ChainRow(
        option_symbol=contract.symbol,
        expiry=contract.expiry,
        strike=float(contract.strike),
        option_type="call" if contract.is_call else "put",
        bid=math.nan if quote is None else quote.bid,
        ask=math.nan if quote is None else quote.ask,
        open_interest=market.open_interest.get(number, 0),
        volume=market.volume_today(number),
        delta=valuation.greeks.delta,
        gamma=valuation.greeks.gamma,
        theta=valuation.greeks.theta / DAYS_PER_YEAR,
        iv=valuation.vol,
    )
    selector = StrikeSelector(config)
    chosen = selector.select(
        underlying,
        "call" if contract.is_call else "put",
        OptionsChain(from_ns(follower.now_ns), valuation.spot, [row]),
    )
    why = "" if chosen is not None else (next(iter(selector.removed), "not an expiry that is traded"))
    return {
        "symbol": contract.symbol,
        "label": leg_label(contract),
        "bid": follower.price(contract, row.bid),
        "ask": follower.price(contract, row.ask),
        "spread": per_cent(row.spread_pct),
        "delta": signed(row.delta),
        "heat": abs(row.delta),
        "vol": per_cent(row.iv),
        "open_interest": plain(row.open_interest, 0),
        "volume": plain(row.volume, 0),
        "score": None if chosen is None else plain(chosen.score, 1),
        "why": why,
    }
