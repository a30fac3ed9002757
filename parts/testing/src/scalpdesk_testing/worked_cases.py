"""Worked cases: a function's name in the case file, and the desk's own function that answers it.

Each adapter only renames arguments and results; the numbers come from the product, or from
:mod:`scalpdesk_testing.field_formulas` where the product has no such function. Names and units are
those of the case file: theta per day or year as its note says, a contract is 100 shares.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np

from scalpdesk.core.errors import ArgumentError, ScalpdeskError
from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId
from scalpdesk.entry.straddle_selector import straddle_score, strike_range
from scalpdesk.hedging.bands.fixed import FixedBand, FixedConfig
from scalpdesk.hedging.bands.leland import leland_number, leland_vol
from scalpdesk.hedging.bands.whalley_wilmott import whalley_wilmott_band
from scalpdesk.hedging.bands.zakamouline import zakamouline_terms
from scalpdesk.hedging.base import HedgeInputs
from scalpdesk.hedging.expected_cost import cost_of_band, cost_of_clock
from scalpdesk.hedging.sizing import (
    perpetual_trade_usd,
    quantity_to_target,
    split_at_zero,
)
from scalpdesk.instruments.contract import OptionContract, Right
from scalpdesk.instruments.deribit import (
    DERIBIT_FEES,
    deribit_option,
    funding_payment,
    funding_rate,
    option_name,
    short_option_margin,
)
from scalpdesk.instruments.events import fomc_blocked
from scalpdesk.instruments.sessions import to_ns
from scalpdesk.marketdata.dealer_gamma import ExposureRows, gamma_exposure, gamma_flip
from scalpdesk.marketdata.quotes import SpreadFilter
from scalpdesk.marketdata.triggers import OneQuote, PriceBand
from scalpdesk.portfolio.move_meter import MoveMeter
from scalpdesk.portfolio.positions import FifoLots
from scalpdesk.pricing import greeks
from scalpdesk.pricing.kernels.grid import CashTerms, dividends_ahead
from scalpdesk.pricing.scalar import option_greeks
from scalpdesk.risk.checks import loss_rule
from scalpdesk.risk.gate import RiskGate
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.volatility.forecast import ewma_path
from scalpdesk.volatility.garch import garch_long_run, garch_path
from scalpdesk.volatility.realised import realized_vol
from scalpdesk.volatility.regime import iv_percentile, iv_rank
from scalpdesk_testing import (
    worked_cases_ema,
    worked_cases_explain,
    worked_cases_margin,
    worked_cases_statistics,
    worked_cases_strategies,
    worked_cases_trade,
)
from scalpdesk_testing.field_formulas import (
    expiry_payoff_coin,
    har_value,
    interpolate_par_yields,
    perpetual_pnl_coin,
    perpetual_target_usd,
)

Answer = dict[str, Any]

CONTRACT = 100
PERIODS = 252
RELATIVE = 1e-9
RELATIVE_OF = {"escrow": 1e-8, "pa_hedge": 1e-7, "attribution": 2e-5}
"""Tolerances where the case file's own numbers carry less: finite differences, approximated normals."""


def evaluate(function: str, inputs: Mapping[str, Any]) -> Answer | None:
    """Return the product's answer to one case, or None when nothing is bound to the function.

    Raises
    ------
    ScalpdeskError
        When the product refuses the inputs, they do not have the names that the binding needs, or the
        calculation ends with an error of another kind: a failed case, not the end of the run.
    """
    bound = BINDINGS.get(function)
    if bound is None:
        return None
    try:
        return bound(**inputs)
    except ScalpdeskError:
        raise
    except Exception as problem:  # BLE001 - raised as a refusal, so that the other cases are judged
        raise ArgumentError(
            f"the case cannot be computed from its inputs ({type(problem).__name__})",
            where=function,
            value=str(problem),
        ) from problem


def agrees(got: Any, expected: Any, relative: float = RELATIVE, absolute: float = 1e-12) -> bool:
    """Return whether an answer is the expected one: numbers within a tolerance, all else exactly.

    A table is compared on the expected keys, a list element by element; ``"inf"`` is infinity.
    """
    if isinstance(expected, Mapping):
        return isinstance(got, Mapping) and all(
            key in got and agrees(got[key], value, relative, absolute) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(got, Sequence)
            and not isinstance(got, str)
            and len(got) == len(expected)
            and all(agrees(g, e, relative, absolute) for g, e in zip(got, expected, strict=True))
        )
    if expected is None or isinstance(expected, bool) or isinstance(got, bool):
        return got is expected
    if isinstance(expected, str) and expected not in {"inf", "-inf"}:
        return bool(got == expected)
    if not isinstance(got, int | float | Decimal):
        return False
    return math.isclose(float(got), float(expected), rel_tol=relative, abs_tol=absolute)


def _straddle_score(c: Mapping[str, float], p: Mapping[str, float], W: float = 1.0, N_: int = 1) -> Answer:
    legs = (c, p)
    score = straddle_score(
        sum(leg["theta"] for leg in legs),
        sum(leg["gamma"] for leg in legs),
        sum(leg["ask"] - leg["bid"] for leg in legs),
        hold_days=W,
        straddles=N_,
    )
    return {
        "legacy_score": score.legacy_score,
        "score": score.score,
        "breakeven_move": score.breakeven_move,
    }


def _strike_range(S: float, iv: float, days: float) -> Answer:
    move, lowest, highest = strike_range(S, iv, days)
    return {"expected_move": move, "min_strike": lowest, "max_strike": highest}


def _interp(curve: Mapping[str, float], d: float) -> Answer:
    return {"result": interpolate_par_yields({float(day): pct / 100.0 for day, pct in curve.items()}, d)}


def _escrow(
    S: float, K: float, T: float, r: float, s: float, divs: Sequence[Sequence[float]], cp: str
) -> Answer:
    times, amounts = (np.array(column, dtype=np.float64) for column in zip(*divs, strict=True))
    paid = float(
        dividends_ahead(0.0, T, r, CashTerms(times, amounts, spot_model=False, american=False), True)
    )
    schedule = [(float(years), float(cash)) for years, cash in divs]
    g = greeks(S, K, T, s, cp == "C", rate=r, dividends=schedule, style="european")
    return {"pv_divs": paid, "adj_spot": S - paid, "price": float(g.price), "delta": float(g.delta)}


def _hedge(opt_delta: float, N_: int, owned: int, pending: int, thr: float) -> Answer:
    options = opt_delta * CONTRACT * N_
    net = options + owned + pending
    inputs = HedgeInputs(net, 1.0, 1.0, 1.0, 0.2, 0.0, N_, CONTRACT, 0.0, 0.0)
    verdict = FixedBand(FixedConfig(threshold=thr)).judge(inputs)
    return {
        "options_delta": options,
        "net_delta_per_straddle": net / N_,
        "trade_qty": quantity_to_target(net, verdict.target_delta_shares),
    }


def _split(owned: int, q: int) -> Answer:
    return {"result": list(split_at_zero(owned, q))}


def _spread_filter(spreads: Sequence[float]) -> Answer:
    trigger = PriceBand(InstrumentId(0), SpreadFilter())  # every mid has reached its prices
    row, accepted, averages = OneQuote(), [], list[float | None]()
    for spread in spreads:
        row.quote = QuoteEvent(trigger.instrument_id, 0, 0, 0.0, spread, 0.0, 0.0)
        accepted.append(trigger.next_row(row, 0, 1) == 0)
        trigger.learn(row, 0, 1)
        averages.append(None if math.isnan(trigger.spreads.average) else trigger.spreads.average)
    return {"accepted": accepted, "ema": averages}


def _edge(S: float, gamma: float, sf: float, siv: float, H: float, spread_usd: float, hcost: float) -> Answer:
    """First order: a session of H days that moves by the forecast, against what the implied one charges."""
    meter = MoveMeter()
    years = H / 252
    meter.add(gamma, S, S * sf * math.sqrt(years), siv, years)
    gross = CONTRACT * (meter.gamma + meter.theta)
    return {"gross": gross, "edge": gross - spread_usd - hcost}


def _hedge_cost_band(S: float, gamma: float, sf: float, H: float, band: float, k: float) -> Answer:
    cost = cost_of_band(CONTRACT * gamma, S, sf, H, band, k)
    return {"rehedges": cost.rehedges, "cost": cost.cost_usd}


def _hedge_cost_time(S: float, gamma: float, sf: float, H: float, per_day: float, k: float) -> Answer:
    cost = cost_of_clock(CONTRACT * gamma, S, sf, H, per_day, k)
    return {
        "rehedges": cost.rehedges,
        "shares_per_rehedge": cost.shares_per_rehedge,
        "cost": cost.cost_usd,
    }


def _ww(gamma: float, S: float, tau: float, a: float, lam: float, r: float, sig: float) -> Answer:
    del sig  # the formula has no volatility of its own
    return {"result": whalley_wilmott_band(gamma, S, tau, lam, a, rate=r)}


def _zak(gamma: float, S: float, tau: float, sig: float, a: float, lam: float, r: float) -> Answer:
    terms = zakamouline_terms(gamma, S, tau, sig, lam, a, rate=r)
    h0, h1, band, shift, modified = (getattr(terms, name) for name in terms.__struct_fields__)
    return {"H0": h0, "H1": h1, "band": band, "K": shift, "sigma_m": modified}


def _leland(lam: float, sig: float, dt: float) -> Answer:
    return {
        "Le": leland_number(lam, sig, dt),
        "sigma_long": leland_vol(lam, sig, dt, long_gamma=True),
        "sigma_short": leland_vol(lam, sig, dt, long_gamma=False),
    }


def _fifo(fills: Sequence[Sequence[Any]]) -> Answer:
    lots, position, totals = FifoLots(), Decimal(0), [Decimal(0)]
    for side, quantity, price in fills:
        signed = Decimal(quantity) * (1 if side == "buy" else -1)
        lots.add(signed, Decimal(str(price)))
        position += signed
        totals.append(lots.realized)
    realized = [after - before for before, after in pairwise(totals)]
    return {"realized": realized, "total": totals[-1], "position": position}


def _risk_gate(pnls: Sequence[float], proposed_risk: float = 0, equity: float | None = None) -> Answer:
    daily = sum((Decimal(str(pnl)) for pnl in pnls), Decimal(0))
    gate = RiskGate(RiskLimits())
    for pnl in pnls:
        gate.closed_trades.note(Decimal(str(pnl)))
    losses = gate.closed_trades.losses_in_a_row
    reason = loss_rule(
        Decimal(500),
        3,
        0.25,
        daily_pnl=daily,
        consecutive_losses=losses,
        proposed_risk=Decimal(str(proposed_risk)),
        equity=None if equity is None else Decimal(str(equity)),
    )
    return {"daily_pnl": daily, "consecutive_losses": losses, "allowed": reason is None, "reason": reason}


def _attribution(
    S: float,
    K: float,
    T: float,
    r: float,
    s: float,
    cp: str,
    qty: float,
    dS: float,
    dsig: float,
    dt: float,
    dr: float,
    shares: float,
    half: float,
    fee: float,
    traded: float,
) -> Answer:
    is_call, units = cp == "C", qty * CONTRACT
    before = option_greeks(S, K, T, s, is_call, r, american=False)
    after = option_greeks(S + dS, K, T - dt, s + dsig, is_call, r + dr, american=False)
    terms = {
        "delta": units * before.delta * dS,
        "gamma": units * 0.5 * before.gamma * dS * dS,
        "theta": units * before.theta * dt,
        "vega": units * before.vega * dsig,
        "vanna": units * before.vanna * dS * dsig,
        "volga": units * 0.5 * before.volga * dsig * dsig,
        "charm": units * before.charm * dS * dt,
        "rho": units * before.rho * dr,
    }
    revalued = units * (after.price - before.price)
    hedge, spread, fees = shares * dS, -half * abs(traded), -fee * abs(traded)
    return terms | {
        "residual": revalued - sum(terms.values()),
        "hedge": hedge,
        "cost_spread": spread,
        "cost_fee": fees,
        "nav_change": revalued + hedge + spread + fees,
    }


def _rv_cc(c: Sequence[float], mean: bool = True) -> Answer:
    vol = realized_vol(list(c), "close_to_close", window=len(c) - 1, zero_mean=not mean)
    return {"result": vol.vol}


def _bars(b: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    names = {"o": "open", "h": "high", "l": "low", "c": "close"}
    return [{names[key]: value for key, value in bar.items()} for bar in b]


def _ohlc_vol(estimator: str) -> Callable[..., Answer]:
    def answer(b: Sequence[Mapping[str, float]]) -> Answer:
        return {"result": realized_vol(_bars(b), estimator, window=len(b)).vol}

    return answer


def _yz(b: Sequence[Mapping[str, float]], pc: float) -> Answer:
    before = dict.fromkeys(("open", "high", "low", "close"), float(pc))
    return {"result": realized_vol([before, *_bars(b)], "yang_zhang", window=len(b)).vol}


def _ewma(r: Sequence[float], lam: float, v0: float) -> Answer:
    return {"result": math.sqrt(ewma_path(np.asarray(r), v0, lam)[-1] * PERIODS)}


def _garch(w: float, a: float, b: float, v: float, h: int) -> Answer:
    path = garch_path(w, a + b, v, h)
    return {
        "long_run_vol": math.sqrt(garch_long_run(w, a + b) * PERIODS),
        "avg_vol": math.sqrt(float(path.mean()) * PERIODS),
    }


def _har(b0: float, bd: float, bw: float, bm: float, d: float, w: float, m: float) -> Answer:
    return {"result": har_value((b0, bd, bw, bm), (d, w, m))}


def _ivrank(iv: float, h: Sequence[float]) -> Answer:
    return {
        "iv_rank": iv_rank(iv, h, min_observations=1),
        "iv_percentile": iv_percentile(iv, h, min_observations=1),
    }


def _fomc_blocked(ts_utc: str) -> Answer:
    return {"result": fomc_blocked(to_ns(datetime.fromisoformat(ts_utc)))}


def _pa_hedge(
    S: float, F: float, K: float, T: float, s: float, cp: str, nopt: float, perp_usd: float
) -> Answer:
    coin = greeks(F, K, T, s, cp == "C", style="european", model="inverse")
    target = perpetual_target_usd(nopt, float(coin.delta), S)
    return {
        "bs_delta": float(coin.usd.delta),
        "premium_btc": float(coin.price),
        "pa_delta": float(coin.delta),
        "target_perp_usd": target,
        "trade_usd": perpetual_trade_usd(target, perp_usd),
    }


FEES_OF = date(2025, 1, 2)
"""Day whose fees the cases on Deribit's schedule take."""


def _coin_option(cp: str, strike: float) -> OptionContract:
    return deribit_option(option_name("BTC", date(2026, 12, 25), Decimal(str(strike)), Right(cp)))


def _settle(S: float, K: float, cp: str, prem: float, qty: float) -> Answer:
    payoff = expiry_payoff_coin(S, K, cp == "C")
    fee = float(DERIBIT_FEES.on(FEES_OF).delivery(_coin_option(cp, K), Decimal(str(payoff))))
    return {
        "payoff_btc": payoff * qty,
        "delivery_fee_btc": fee * qty,
        "net_btc": (payoff - prem - fee) * qty,
    }


def _funding(mark: float, index: float, usd: float, hours: float) -> Answer:
    exact_mark, exact_index, amount = (Decimal(str(number)) for number in (mark, index, usd))
    rate = funding_rate(exact_mark, exact_index)
    return {
        "premium_rate": (mark - index) / index,
        "funding_rate": rate,
        "payment_btc": funding_payment(amount, exact_index, rate, Decimal(str(hours))),
    }


def _dmargin(S: float, K: float, mark: float, cp: str) -> Answer:
    strike, spot, price = (Decimal(str(number)) for number in (K, S, mark))
    asked = short_option_margin(Right(cp), strike, spot, price)
    return {"im_btc": asked.initial, "mm_btc": asked.maintenance}


def _inv_pnl(usd: float, e: float, x: float) -> Answer:
    return {"result": perpetual_pnl_coin(usd, e, x)}


def _deribit_fee(price: float, qty: float) -> Answer:
    option = _coin_option("C", 100_000)
    return {"result": DERIBIT_FEES.on(FEES_OF).fee(option, Side.BUY, Decimal(str(qty)), Decimal(str(price)))}


def _gex(rows: Sequence[Sequence[Any]], S: float) -> Answer:
    strike, right, gamma, held = zip(*rows, strict=True)
    found = gamma_exposure(
        ExposureRows(
            strike=np.array(strike, dtype=np.float64),
            is_call=np.array([side == "C" for side in right]),
            gamma=np.array(gamma, dtype=np.float64),
            open_interest=np.array(held, dtype=np.float64),
            multiplier=np.full(len(strike), CONTRACT),
        ),
        S,
    )
    return {"net": found.net_usd, "call_wall": found.call_wall, "put_wall": found.put_wall}


def _flip(chain: Sequence[Sequence[Any]], T: float, lo: float, hi: float) -> Answer:
    strike, right, vol, held = zip(*chain, strict=True)
    rows = ExposureRows(
        strike=np.array(strike, dtype=np.float64),
        is_call=np.array([side == "C" for side in right]),
        gamma=np.full(len(strike), np.nan),  # a flip is found by repricing, whatever gamma is today
        open_interest=np.array(held, dtype=np.float64),
        multiplier=np.full(len(strike), CONTRACT),
        vol=np.array(vol, dtype=np.float64),
        years=np.full(len(strike), T),
    )
    middle = 0.5 * (lo + hi)
    return {"result": gamma_flip(rows, middle, span=0.5 * (hi - lo) / middle)}


BINDINGS: dict[str, Callable[..., Answer]] = {
    "gex": _gex,
    "flip": _flip,
    **worked_cases_ema.BINDINGS,
    **worked_cases_explain.BINDINGS,
    **worked_cases_margin.BINDINGS,
    **worked_cases_statistics.BINDINGS,
    **worked_cases_trade.BINDINGS,
    "pa_hedge": _pa_hedge,
    "settle": _settle,
    "inv_pnl": _inv_pnl,
    "deribit_fee": _deribit_fee,
    "funding": _funding,
    "dmargin": _dmargin,
    "straddle_score": _straddle_score,
    "strike_range": _strike_range,
    "interp": _interp,
    "escrow": _escrow,
    "attribution": _attribution,
    "hedge": _hedge,
    "split": _split,
    "spread_filter": _spread_filter,
    "edge": _edge,
    "hedge_cost_band": _hedge_cost_band,
    "hedge_cost_time": _hedge_cost_time,
    "ww": _ww,
    "zak": _zak,
    "leland": _leland,
    "fifo": _fifo,
    "risk_gate": _risk_gate,
    "rv_cc": _rv_cc,
    "park": _ohlc_vol("parkinson"),
    "gk": _ohlc_vol("garman_klass"),
    "rs": _ohlc_vol("rogers_satchell"),
    "yz": _yz,
    "ewma": _ewma,
    "garch": _garch,
    "har": _har,
    "ivrank": _ivrank,
    "fomc_blocked": _fomc_blocked,
    **worked_cases_strategies.BINDINGS,
}
"""Function of the case file to the adapter that answers it."""
