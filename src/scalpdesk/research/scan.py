"""All straddles and strangles of a chain, ranked by their edge after spread and expected hedging cost.

One surface is fitted. Each leg is priced on the market's smile and on the smile moved to the forecast; a
position's edge is the sum over its legs, computed in columns by the functions of the entry gate
(:mod:`scalpdesk.entry.edge_gate`). All volatilities of an edge are on the market's variance clock.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.core.units import DAYS_PER_YEAR, SESSIONS_PER_YEAR, finite
from scalpdesk.entry.edge_gate import (
    LevelMove,
    edge_amounts,
    move_to_forecast,
    price_in_market,
)
from scalpdesk.entry.selector import breakeven_move
from scalpdesk.hedging.base import TRADING_YEAR_SECONDS, HedgeInputs
from scalpdesk.hedging.expected_cost import HedgedGroup, expected_costs
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns, to_new_york
from scalpdesk.marketdata.chain_surface import (
    ChainSurface,
    ExpiryLabel,
    chain_quotes_at,
    fit_chain,
    last_rows,
    spots_until,
)
from scalpdesk.marketdata.quotes import QuoteVerdict, judge_quote
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.pricing.base import Floats, Greeks
from scalpdesk.pricing.models import greeks
from scalpdesk.pricing.smile_level import SviVols, level_between
from scalpdesk.pricing.surface import SurfaceExpiry
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk.volatility.forecast import DESK_DEFAULT, VolForecast, forecast_vol
from scalpdesk.volatility.nowcast import RealisedSoFar, forecast_to_horizon, nowcast
from scalpdesk.volatility.ohlc import read_ohlc
from scalpdesk.volatility.rolling import rolling_forecasts
from scalpdesk.volatility.variance_time import VarianceClock, clock_named

Places = NDArray[np.int64]
_WIDTH = 0.10
"""Largest distance of a strike from the spot, as a fraction of it, unless another is asked for."""
_FORECAST_DAYS = 5
"""Trading days that the desk's forecast is fitted to."""
_PAST_FORECASTS = 250
"""Forecasts of the past, one a trading day, that say how good the model was."""


@dataclass(frozen=True, slots=True)
class DeskForecast:
    """Forecast that a scan goes by, as the entry gate has it at an instant."""

    made: VolForecast
    """Before the session, from daily bars."""
    realised: RealisedSoFar | None
    """Variance of the session so far; None where the forecast is given and not kept up to date."""
    rest_years: float
    """Rest of the session on the variance clock."""

    def vol(self, horizon_years: float) -> float:
        """Return the volatility to a horizon as of now, a fraction a year."""
        vol, realised = self.made.vol, self.realised
        if realised is None or not vol > 0.0:
            return vol
        now = nowcast(vol, realised.variance, min(realised.share, 1.0))
        return forecast_to_horizon(vol, now, self.rest_years, horizon_years)

    def stderr(self, vol: float) -> float:
        """Return the standard error at a volatility that :meth:`vol` gave."""
        made = self.made
        known = made.stderr if math.isfinite(made.stderr) else 0.0
        return known * vol / made.vol if made.vol > 0.0 else known


@dataclass(frozen=True, slots=True)
class Legs:
    """Options of a chain that a scan may use, as columns; quoted on both sides."""

    expiry: Places
    """Place among the fitted expiries."""
    strike: Floats
    is_call: NDArray[np.bool_]
    bid: Floats
    ask: Floats
    size: Floats
    """Displayed at the ask, contracts; 0 where the data has no sizes."""
    open_interest: Places
    """Contracts; -1 where it is not known."""

    def __len__(self) -> int:
        return len(self.strike)


@dataclass(frozen=True, slots=True)
class _Ranking:
    """Straddles and strangles of a chain as columns, in USD a position; ``order`` has the best first."""

    call: Places
    put: Places
    """``call``, ``put``: Places of the legs in ``legs``."""
    net: Floats
    """Edge after all costs."""
    stderr: Floats
    gross: Floats
    spread: Floats
    hedge_cost: Floats
    vol_ratio: Floats
    """Forecast over the market's level to the horizon."""
    price: Floats
    """In the market, currency per unit: on the smile where that lies between bid and ask."""
    delta: Floats
    """Per unit of the underlying."""
    passes: NDArray[np.bool_]
    """Verdict of the entry gate's thresholds, with the largest delta that an entry may have."""
    order: Places
    """Places of the positions, the largest net edge first."""
    legs: Legs
    greeks: Greeks
    """Greeks of each leg on the market's smile."""
    expiries: tuple[SurfaceExpiry, ...]

    def __len__(self) -> int:
        return len(self.net)

    @property
    def is_straddle(self) -> NDArray[np.bool_]:
        """Whether both legs have one strike."""
        return np.asarray(self.legs.strike[self.call] == self.legs.strike[self.put])

    def breakeven(self, place: int, hold_days: float) -> float:
        """Return the single move of the underlying that pays theta of the days held and the whole spread.

        In currency; infinite without gamma.
        """
        legs = [int(self.call[place]), int(self.put[place])]
        gamma = float(self.greeks.gamma[legs].sum())
        theta = float(self.greeks.theta[legs].sum())
        spread = float((self.legs.ask[legs] - self.legs.bid[legs]).sum())
        cost = abs(theta) / DAYS_PER_YEAR * hold_days + spread
        return breakeven_move(cost, gamma) if gamma > 0.0 else math.inf


def select_pairs(legs: Legs, *, strangles: bool = True) -> tuple[Places, Places]:
    """Return the places of calls and puts of every straddle and every strangle, expiry by expiry.

    A strangle has its call's strike above its put's; without ``strangles`` there are straddles alone.
    """
    calls, puts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    bounds = np.flatnonzero(np.diff(legs.expiry, prepend=-1, append=-1))
    for low, high in pairwise(bounds.tolist()):
        is_call = legs.is_call[low:high]
        own_calls, own_puts = low + np.flatnonzero(is_call), low + np.flatnonzero(~is_call)
        compare = np.greater_equal if strangles else np.equal
        row, column = np.nonzero(compare.outer(legs.strike[own_calls], legs.strike[own_puts]))
        calls.append(own_calls[row])
        puts.append(own_puts[column])
    return np.concatenate(calls), np.concatenate(puts)


def rank(
    fitted: ChainSurface,
    legs: Legs,
    *,
    forecast: DeskForecast,
    config: GammaScalperConfig,
    clock: VarianceClock,
    expires_ns: tuple[int, ...],
    multiplier: int,
    share: tuple[float, float],
    strangles: bool = True,
) -> _Ranking:
    """Rank every straddle and strangle of a chain's legs by net edge.

    ``legs``: Sorted by expiry; their places are those of ``fitted.surface.fitted``.
    ``config``: Thresholds, horizon and hedge, as the gamma scalper trades by them.
    ``expires_ns``: Instant of each fitted expiry, UTC nanoseconds.
    ``multiplier``: Units of the underlying in one contract.
    ``share``: Bid and ask of the underlying, which hedges.
    ``strangles``: Whether strangles are ranked too.
    """
    now_ns, expiries, entry = fitted.chain.ts_ns, fitted.surface.fitted, config.entry
    years = np.array([clock.years(now_ns, at_ns) for at_ns in expires_ns])
    moves, vols = _moves(expiries, years, forecast, config)
    market, moved, slope = _prices(fitted, legs, years, moves, vols, forecast)
    call, put = select_pairs(legs, strangles=strangles)
    expiry = legs.expiry[call]
    half_spread = 0.5 * (legs.ask - legs.bid)
    of_legs = np.array(
        [market.price, legs.bid + half_spread, half_spread, market.gamma, market.delta, moved, slope]
    )
    total = of_legs.take(call, axis=1, mode="clip")
    total += of_legs.take(put, axis=1, mode="clip")
    on_smile, mid, half, gamma, delta, shifted, bend = total
    price = price_in_market(on_smile, mid, half)
    hedge_cost = _hedge_costs(
        fitted, gamma, expiry, years, vols, config=config, multiplier=multiplier, share=share
    )
    amounts = edge_amounts(
        multiplier,
        shifted=shifted,
        mid=on_smile,
        half_spreads=2.0 * half,  # half in and half out
        fees=np.zeros(1),
        hedge_cost=hedge_cost,
        slope=bend,
        stderr=1.0,
    )
    ratio = np.array([vol / move.implied_level for vol, move in zip(vols, moves, strict=True)])[expiry]
    with np.errstate(divide="ignore", invalid="ignore"):  # options that cost nothing: a multiple of it
        of_premium = amounts.gross / (multiplier * on_smile)
    passes = entry.make_gate().passes(
        amounts.net, amounts.stderr, ratio, of_premium, is_given=forecast.made.is_given
    )
    if entry.max_straddle_delta is not None:
        passes &= 100.0 * np.abs(delta) <= entry.max_straddle_delta
    return _Ranking(
        call=call,
        put=put,
        net=amounts.net,
        stderr=amounts.stderr,
        gross=amounts.gross,
        spread=amounts.spread,
        hedge_cost=hedge_cost,
        vol_ratio=ratio,
        price=price,
        delta=delta,
        passes=passes,
        order=np.argsort(-amounts.net),
        legs=legs,
        greeks=market,
        expiries=expiries,
    )


def _moves(
    expiries: tuple[SurfaceExpiry, ...],
    years: Floats,
    forecast: DeskForecast,
    config: GammaScalperConfig,
) -> tuple[list[LevelMove], list[float]]:
    """Return each expiry's move to the forecast, and the forecast to it."""
    level, horizon = config.entry.level, config.entry.horizon_days / SESSIONS_PER_YEAR
    smiles = [
        SviVols(each.smile, own) for each, own in zip(expiries, years.tolist(), strict=True) if each.smile
    ]
    own_levels = [move_to_forecast(smile, smile.years, 1.0, level=level).market_level for smile in smiles]
    total = [(smile.years, found**2 * smile.years) for smile, found in zip(smiles, own_levels, strict=True)]
    moves, vols = [], []
    for smile, end in zip(smiles, total, strict=True):
        to = min(horizon, smile.years)
        vol, implied = forecast.vol(to), level_to(to, end, total)
        moves.append(
            move_to_forecast(
                smile, smile.years, vol, horizon_years=to, implied_to_horizon=implied, level=level
            )
        )
        vols.append(vol)
    return moves, vols


def level_to(
    horizon_years: float, expiry: tuple[float, float], others: Sequence[tuple[float, float]]
) -> float | None:
    """Return the market's level to a horizon before an expiry, from the expiries around it; None without.

    ``expiry``, ``others``: Years to each expiry and its total variance.
    """
    sooner = [each for each in others if each[0] <= horizon_years]
    later = [each for each in others if horizon_years < each[0] < expiry[0]]
    if horizon_years >= expiry[0] or not (sooner or later):
        return None
    return level_between(max(sooner, default=(0.0, 0.0)), min(later, default=expiry), horizon_years)


def _prices(
    fitted: ChainSurface,
    legs: Legs,
    years: Floats,
    moves: list[LevelMove],
    forecast_vols: list[float],
    forecast: DeskForecast,
) -> tuple[Greeks, Floats, Floats]:
    """Return Greeks on the market's smiles, and prices on the moved smiles with their standard errors."""
    expiries = fitted.surface.fitted
    styles = {entry.label: entry.style for entry in fitted.chain.expiries}
    terms = np.empty((4, len(legs)))
    vol, moved_vol, bend = (np.empty(len(legs)) for _ in range(3))
    style = "american"
    for place, (expiry, move) in enumerate(zip(expiries, moves, strict=True)):
        here = slice(*np.searchsorted(legs.expiry, (place, place + 1)))
        label = expiry.label
        assert isinstance(label, ExpiryLabel)
        forward, style = fitted.forwards[label], styles[label]
        terms[:, here] = np.array(
            [[forward.pricing_spot], [expiry.years], [fitted.rates[label]], [forward.pricing_borrow]]
        )
        k = np.log(legs.strike[here] / expiry.forward)
        by_clock = math.sqrt(years[place] / expiry.years)
        target, step = move.target_level, move.step
        vol[here] = expiry.vol(legs.strike[here])
        moved_vol[here] = by_clock * move.move(target)(k)
        up, down = (move.move(target + by)(k) for by in (step, -step))
        error = forecast.stderr(forecast_vols[place])
        bend[here] = by_clock * (up - down) / (2.0 * step) * move.to_target * error
    spot, to_expiry, rate, borrow = terms

    def priced(at: Floats) -> Greeks:
        return greeks(
            spot,
            legs.strike,
            to_expiry,
            at,
            legs.is_call,
            rate=rate,
            dividend_yield=borrow,
            dividends=fitted.chain.dividends or None,
            style=style,
        )

    moved = priced(moved_vol)
    return priced(vol), moved.price, moved.vega * bend


def _hedge_costs(
    fitted: ChainSurface,
    gamma: Floats,
    expiry: Places,
    years: Floats,
    vols: list[float],
    *,
    config: GammaScalperConfig,
    multiplier: int,
    share: tuple[float, float],
) -> Floats:
    """Return the expected cost of hedging each position to the horizon, USD."""
    straddles = config.straddles
    mid = 0.5 * (share[0] + share[1])
    one_way = max(0.5 * (share[1] - share[0]), 0.0)
    bounds = np.searchsorted(expiry, np.arange(len(vols) + 1)).tolist()
    held = np.maximum(gamma, 0.0) * (multiplier * straddles)
    groups = []
    for place, (own, vol, entry) in enumerate(zip(years.tolist(), vols, fitted.surface.fitted, strict=True)):
        label = entry.label
        assert isinstance(label, ExpiryLabel)
        assert entry.smile is not None
        inputs = HedgeInputs(
            net_delta_shares=0.0,
            gamma_shares_per_usd=0.0,
            spot=mid,
            years=entry.years,
            vol=max(math.sqrt(max(entry.smile.variance_at(0.0), 1e-16) / own), 1e-4),
            rate=fitted.rates[label],
            straddles=straddles,
            multiplier=multiplier,
            seconds_since_hedge=0.0,
            own_cost_fraction=one_way / mid,
            trading_year_seconds=TRADING_YEAR_SECONDS,
        )
        days = min(config.entry.horizon_days, own * SESSIONS_PER_YEAR)
        groups.append(HedgedGroup(inputs, held[bounds[place] : bounds[place + 1]], vol, days))
    least = config.hedge.least_fraction
    costs = expected_costs(config.hedge.make_band(), groups, one_way, least_fraction=least)
    return np.where(gamma > 0.0, np.concatenate(costs) / straddles, 0.0)


# a data set ---------------------------------------------------------------------------------------


def _desk_forecast(
    tape: MarketTape, bars: Any, now_ns: int, config: GammaScalperConfig
) -> tuple[DeskForecast, dict[str, Any]]:
    """Return the forecast to the gate's horizon as of ``now_ns``, and its document.

    ``bars``: Daily bars before the session, oldest first.

    Raises DataError when there is no forecast, neither fitted nor configured.
    """
    entry, session = config.entry, tape.sessions[0]
    if entry.forecast_vol is not None:
        made = VolForecast(
            entry.forecast_vol, math.nan, math.nan, 0.0, math.nan, 0,
            "given", "given", None, {}, 0, (), is_given=True,
        )  # fmt: skip
        return DeskForecast(made, None, 0.0), {"model": "given in entry.forecast_vol", "vol": made.vol}
    made = forecast_vol(bars, DESK_DEFAULT, _FORECAST_DAYS)
    if not made.known:
        raise DataError(
            f"there is no forecast of {tape.underlying}: {made.reason}",
            where=f"{tape.name}, {session.day}",
            fix="name its daily bars (data.daily_history), or set entry.forecast_vol to a fraction a year",
        )
    clock = clock_named(tape.variance_clock)
    realised = RealisedSoFar(clock.years, clock.days_per_year)
    realised.open_session(None)  # the bars may be of an index: the day counts from its first quote
    stamps, spots = spots_until(tape, now_ns)
    for at_ns, spot in zip(stamps.tolist(), spots.tolist(), strict=True):
        if at_ns >= session.open_ns:
            realised.add(at_ns, spot)
    forecast = DeskForecast(made, realised, clock.years(now_ns, max(session.close_ns, now_ns)))
    horizon = entry.horizon_days / SESSIONS_PER_YEAR
    document = {
        "model": made.model,
        "reason": made.reason,
        "horizon_days": made.horizon_days,
        "vol_before_session": made.vol,
        "vol": forecast.vol(horizon),
        "low": finite(made.low),
        "high": finite(made.high),
        "confidence": made.confidence,
        "stderr": finite(made.stderr),
        "past": _past_accuracy(bars, made),
    }
    return forecast, document


def _past_accuracy(bars: Any, made: VolForecast) -> dict[str, Any] | None:
    """Score the model on the days before, each forecast made from the bars before it alone.

    Returns ``forecasts``; ``bias``, mean forecast over mean realised variance; ``median_miss``, median
    distance between forecast and realised volatility, a fraction a year; ``inside``, share of realised
    volatilities within an interval as wide in proportion as today's. None with too short a history.
    """
    ohlc = read_ohlc(bars)
    returns, horizon = len(ohlc.close) - 1, made.horizon_days
    first = max(returns - horizon - _PAST_FORECASTS, 500)
    if ohlc.dropped or first >= returns - horizon - 1:
        return None
    try:
        rolled = rolling_forecasts(ohlc, (made.model,), (horizon,), first=first)
    except ArgumentError:  # the model cannot be fitted at some day: it has no record
        return None
    expected, realised = rolled.variances[made.model][horizon], rolled.realised[horizon]
    vol, happened = np.sqrt(SESSIONS_PER_YEAR * expected), np.sqrt(SESSIONS_PER_YEAR * realised)
    low, high = made.low / made.vol, made.high / made.vol
    return {
        "forecasts": len(expected),
        "bias": finite(float(expected.mean() / realised.mean())),
        "median_miss": float(np.median(np.abs(vol - happened))),
        "inside": float(np.mean((low * vol <= happened) & (happened <= high * vol))),
    }


@dataclass(frozen=True, slots=True)
class ScannedChain:
    """A chain at an instant with the forecast of its underlying: what a scan ranks by."""

    symbol: str
    now_ns: int
    fitted: ChainSurface
    forecast: DeskForecast
    legs: Legs
    contracts: tuple[OptionContract, ...]
    """Contract of each of ``legs``."""
    expires_ns: tuple[int, ...]
    """Instant of each fitted expiry, UTC nanoseconds."""
    clock: VarianceClock
    share: tuple[float, float]
    """Bid and ask of the underlying."""
    facts: dict[str, Any]
    """Market and forecast, ready for JSON."""


def read_chain(
    tape: MarketTape,
    now_ns: int,
    *,
    bars: Any,
    config: GammaScalperConfig,
    max_age_seconds: float,
    width: float = _WIDTH,
) -> ScannedChain:
    """Fit the chain of a tape at an instant, and forecast.

    ``bars``: Daily bars before the session, that the forecast is fitted to.
    ``max_age_seconds``: Age up to which a quote counts as current.
    ``width``: Largest distance of a strike from the spot, as a fraction of it.

    Raises DataError when there is no forecast, no smile, or the options are on a coin.
    """
    contracts = dict(tape.instruments.options(tape.underlying))
    if any(contract.is_coin for contract in contracts.values()):
        raise DataError(
            "a scan prices options on shares and indices",
            where=f"{tape.name}, {tape.underlying}",
            fix="name a share or an index; scalpdesk chain shows options on a coin",
        )
    chain = chain_quotes_at(tape, now_ns, max_age_seconds=max_age_seconds)
    fitted = fit_chain(chain)
    if not fitted.surface.fitted:
        raise DataError(
            f"no expiry of {tape.underlying} has a smile at this time",
            where=f"{tape.name}, {to_new_york(now_ns):%Y-%m-%d %H:%M}",
            fix="choose a later --time, or a longer --max-age",
        )
    forecast, document = _desk_forecast(tape, bars, now_ns, config)
    legs, of_legs, expires_ns = _legs(tape, fitted, contracts, now_ns, max_age_seconds, width * chain.spot)
    quotes = tape.quotes.until(now_ns)
    rows = np.flatnonzero(
        (quotes.instrument_id == tape.instruments.id_of(tape.underlying))
        & np.isfinite(quotes.bid + quotes.ask)
    )
    share = float(quotes.bid[rows[-1]]), float(quotes.ask[rows[-1]])
    facts = {
        "symbol": tape.underlying,
        "data": {"name": tape.name, "kind": tape.kind},
        "session": str(tape.sessions[0].day),
        "time": f"{to_new_york(now_ns):%H:%M}",
        "spot": chain.spot,
        "max_age_seconds": max_age_seconds,
        "width": width,
        "horizon_days": config.entry.horizon_days,
        "forecast": document,
        "expiries": len(fitted.surface.fitted),
        "notes": list(tape.notes),
    }
    clock = clock_named(tape.variance_clock)
    return ScannedChain(
        tape.underlying, now_ns, fitted, forecast, legs, of_legs, expires_ns, clock, share, facts
    )


def scan_tape(
    tape: MarketTape,
    now_ns: int,
    *,
    bars: Any,
    config: GammaScalperConfig,
    max_age_seconds: float,
    width: float = _WIDTH,
    strangles: bool = True,
) -> tuple[_Ranking, dict[str, Any]]:
    """Scan the chain of a tape at an instant; return the ranking and the facts of market and forecast.

    ``strangles``: Whether strangles are ranked too.

    Raises DataError as :func:`read_chain` does.
    """
    chain = read_chain(tape, now_ns, bars=bars, config=config, max_age_seconds=max_age_seconds, width=width)
    ranking = rank(
        chain.fitted,
        chain.legs,
        forecast=chain.forecast,
        config=config,
        clock=chain.clock,
        expires_ns=chain.expires_ns,
        multiplier=next(iter(dict(tape.instruments.options(tape.underlying)).values())).multiplier,
        share=chain.share,
        strangles=strangles,
    )
    facts = chain.facts | {
        "straddles": int(ranking.is_straddle.sum()),
        "strangles": int((~ranking.is_straddle).sum()),
        "passing": int(ranking.passes.sum()),
    }
    return ranking, facts


def _legs(
    tape: MarketTape,
    fitted: ChainSurface,
    contracts: dict[Any, OptionContract],
    now_ns: int,
    max_age_seconds: float,
    reach: float,
) -> tuple[Legs, tuple[OptionContract, ...], tuple[int, ...]]:
    """Return the options near the spot that are quoted on both sides, and when each expiry ends."""
    place_of = {expiry.label: place for place, expiry in enumerate(fitted.surface.fitted)}
    ends = dict.fromkeys(place_of.values(), 0)
    quotes, spot = tape.quotes.until(now_ns), fitted.chain.spot
    oldest_ns = now_ns - round(1e9 * max_age_seconds)
    found = []
    last = last_rows(quotes)
    for number, contract in contracts.items():
        place = place_of.get(ExpiryLabel(contract.expiry, contract.root))
        row = last.get(number)
        if place is None:
            continue
        ends[place] = expiry_instant_ns(contract)
        strike = float(contract.strike)
        if row is None or quotes.ts_ns[row] < oldest_ns or abs(strike - spot) > reach:
            continue
        bid, ask = float(quotes.bid[row]), float(quotes.ask[row])
        if judge_quote(bid, ask) is QuoteVerdict.GOOD:
            held = tape.open_interest.get(contract.symbol, -1)
            size = float(quotes.ask_size[row])
            found.append((place, strike, contract.is_call, bid, ask, size, held, contract))
    found.sort(key=lambda leg: leg[:3])
    *columns, of_legs = list(zip(*found, strict=True)) if found else [()] * 8
    kinds = (np.int64, np.float64, np.bool_, np.float64, np.float64, np.float64, np.int64)
    return (
        Legs(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True))),
        tuple(of_legs),
        tuple(ends.values()),
    )


def ranked_rows(
    ranking: _Ranking, symbol: str, spot: float, *, hold_days: float = 1.0, most: int | None = None
) -> list[dict[str, Any]]:
    """Return the first positions of a ranking ready for JSON; all of them where ``most`` is None.

    ``hold_days`` are the days of theta that the break-even move pays.
    """
    legs, rows = ranking.legs, []
    for place in ranking.order[:most].tolist():
        call, put = int(ranking.call[place]), int(ranking.put[place])
        expiry = ranking.expiries[int(legs.expiry[call])]
        label = expiry.label
        assert isinstance(label, ExpiryLabel)
        premium = float(legs.ask[call] + legs.ask[put])
        strikes = float(legs.strike[call]), float(legs.strike[put])
        held = int(min(legs.open_interest[call], legs.open_interest[put]))
        size = float(min(legs.size[call], legs.size[put]))
        spread = float(legs.ask[call] - legs.bid[call] + legs.ask[put] - legs.bid[put])
        mid, move = premium - 0.5 * spread, ranking.breakeven(place, hold_days)
        rows.append(
            {
                "symbol": symbol,
                "kind": "straddle" if strikes[0] == strikes[1] else "strangle",
                "expiry": str(label.expiry),
                "root": label.root,
                "days": expiry.years * DAYS_PER_YEAR,
                "call_strike": strikes[0],
                "put_strike": strikes[1],
                "edge_usd": finite(float(ranking.net[place])),
                "edge_stderr_usd": finite(float(ranking.stderr[place])),
                "gross_usd": finite(float(ranking.gross[place])),
                "spread_usd": finite(float(ranking.spread[place])),
                "hedge_cost_usd": finite(float(ranking.hedge_cost[place])),
                "passes": bool(ranking.passes[place]),
                "forecast_over_implied": finite(float(ranking.vol_ratio[place])),
                "price": finite(float(ranking.price[place])),
                "mid": mid,
                "ask": premium,
                "spread_fraction": spread / mid if mid > 0.0 else None,
                "ask_size": size if size > 0.0 else None,
                "open_interest": held if held >= 0 else None,
                "delta": finite(float(ranking.delta[place])),
                "breakeven_move": finite(move),
                "breakeven_fraction": finite(move / spot),
                "breakeven_at_expiry": [strikes[1] - premium, strikes[0] + premium],
            }
        )
    return rows
