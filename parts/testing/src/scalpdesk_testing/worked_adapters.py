"""Worked cases that no row of ``worked_cases.toml`` can say: they build what the product asks for first.

Units are those of the case file: theta per day or year as its note says, a contract is 100 shares.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from math import sqrt
from types import SimpleNamespace as Namespace
from typing import Any, Literal

import numpy as np
from msgspec import structs
from scipy.optimize import brentq

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import BarEvent, QuoteEvent
from scalpdesk.core.intents import Side
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, SESSIONS_PER_YEAR, InstrumentId, exceeds
from scalpdesk.entry.edge_gate import EdgeExpiry, EdgeInputs, GatePasses, recentring, shifted_edge
from scalpdesk.entry.scalp_selector import ContractConfig
from scalpdesk.entry.straddle_selector import straddle_score
from scalpdesk.hedging.bands.fixed import FixedBand, FixedConfig
from scalpdesk.hedging.bands.leland import leland_vol
from scalpdesk.hedging.bands.regime_threshold import judge_hedge, net_delta
from scalpdesk.hedging.bands.whalley_wilmott import whalley_wilmott_band
from scalpdesk.hedging.base import HedgeInputs, RehedgeTo
from scalpdesk.hedging.delta_models import (
    fit_minimum_variance,
    least_hedge,
    minimum_variance_delta,
    skew_delta,
)
from scalpdesk.hedging.expected_cost import cost_of_band
from scalpdesk.hedging.sizing import perpetual_trade_usd, quantity_to_target
from scalpdesk.instruments.contract import Equity, Instrument, OptionContract, Right, Settlement, Style
from scalpdesk.instruments.deadlines import exit_deadline_ns
from scalpdesk.instruments.deribit import (
    DERIBIT_FEES,
    deribit_option,
    funding_payment,
    funding_rate,
    option_name,
)
from scalpdesk.instruments.sessions import (
    NEW_YORK,
    Session,
    new_york_ns,
    session_on,
    sessions_between,
    to_new_york,
    to_ns,
)
from scalpdesk.instruments.ticks import CENT_TICK, PENNY_NICKEL
from scalpdesk.margin import regulation_t as margin
from scalpdesk.margin.holdings import Holding
from scalpdesk.marketdata.dealer_gamma import ExposureRows, gamma_exposure, gamma_flip, threshold_by_dealers
from scalpdesk.marketdata.quotes import SpreadFilter
from scalpdesk.marketdata.robust import weighted_median
from scalpdesk.marketdata.triggers import PriceBand
from scalpdesk.marketdata.vol_filter import VolAverage, VolFilter
from scalpdesk.portfolio.interval import NO_LEG_PARTS, LegParts, leg_parts
from scalpdesk.portfolio.move_meter import MoveMeter
from scalpdesk.portfolio.positions import FifoLots
from scalpdesk.pricing import greeks
from scalpdesk.pricing.base import Floats, OptionGreeks
from scalpdesk.pricing.kernels.grid import CashTerms, dividends_ahead
from scalpdesk.pricing.scalar import PricedState, corner_prices, option_greeks
from scalpdesk.pricing.smile_level import Level, Shift, Smile, level_of, shifted_smile, swap_vol
from scalpdesk.report import statistics
from scalpdesk.risk.checks import loss_rule
from scalpdesk.risk.gate import RiskGate
from scalpdesk.risk.limits import RiskLimits
from scalpdesk.signals.base import MarketFacts, Reading, SignalBar, StrikeInterest
from scalpdesk.signals.composite import composite
from scalpdesk.signals.conviction import judge_conviction
from scalpdesk.signals.dark_pool_flow import DarkPoolFlow
from scalpdesk.signals.dealer_gamma import DealerGamma
from scalpdesk.signals.ema_cloud import FAST, CloudCandle, CloudState, Ema, Place, is_exhausted
from scalpdesk.signals.gamma_squeeze import GammaSqueeze
from scalpdesk.signals.liquidity_vacuum import LiquidityVacuum
from scalpdesk.signals.macro_bias import last_closed_start_ns
from scalpdesk.signals.opening_drive import OpeningDrive
from scalpdesk.signals.options_pin import OptionsPin
from scalpdesk.signals.vwap_reclaim import VwapReclaim
from scalpdesk.strategies.toolkit.exits import (
    ScalpExitConfig,
    ScalpView,
    first_reason,
    gain_in_r,
    scalp_rules,
)
from scalpdesk.strategies.toolkit.sizing import size_by_risk
from scalpdesk.volatility.forecast import ewma_path
from scalpdesk.volatility.garch import garch_long_run, garch_path
from scalpdesk.volatility.realised import realized_vol
from scalpdesk.volatility.variance_time import (
    CALENDAR,
    SessionWeights,
    VarianceClock,
    convert_vol,
    event_from_two_after,
    event_variance,
)
from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.exits import ScalpTrade, exit_rules, next_exit
from scalpdesk_strategies.ema_scalper.greeks_gate import GreeksGate
from scalpdesk_strategies.ema_scalper.model import ChainRow, OptionsChain, StrikeSelection, TradeSignal
from scalpdesk_strategies.ema_scalper.sizing import ScalpSizer, buy_limit, halves
from scalpdesk_strategies.ema_scalper.strike_selector import StrikeSelector, strike_score
from scalpdesk_strategies.ema_scalper.timing import session_end_ns, time_limit_ns
from scalpdesk_strategies.hybrid import HIGH, LOW, HybridConfig, who_trades
from scalpdesk_strategies.st0cka.strategy import St0ckaConfig, dynamic_target, sell_limit
from scalpdesk_testing import field_formulas
from scalpdesk_testing.field_formulas import (
    expiry_payoff_coin,
    interpolate_par_yields,
    perpetual_target_usd,
    swap_variance_of_quotes,
)

Answer = dict[str, Any]
Adapter = Callable[..., Answer]
ADAPTERS: dict[str, Adapter] = {}
"""Function of the case file to what answers it."""


def answers(name: str, needed: str | None = None, **given: Any) -> Callable[[Adapter], Adapter]:
    """Have a function answer the cases of a name.

    It gets one argument with the inputs `needed`, and those of `given` where a case leaves them out; without
    `needed` each input is an argument.
    """

    def note(adapter: Adapter) -> Adapter:
        def answer(**inputs: Any) -> Answer:
            wanted = set((needed or "").split())
            if wanted - set(inputs) or set(inputs) - wanted - set(given):
                raise TypeError(f"inputs are {' '.join(inputs)}, wanted are {needed} {' '.join(given)}")
            return adapter(Namespace(**{**given, **inputs}))

        ADAPTERS[name] = adapter if needed is None else answer
        return adapter

    return note


CONTRACT = 100
PERIODS = 252


@answers("straddle_score", "c p", W=1.0, N_=1)
def _straddle_score(c: Namespace) -> Answer:
    legs = (c.c, c.p)
    score = straddle_score(
        sum(leg["theta"] for leg in legs),
        sum(leg["gamma"] for leg in legs),
        sum(leg["ask"] - leg["bid"] for leg in legs),
        hold_days=c.W,
        straddles=c.N_,
    )
    return {"legacy_score": score.legacy_score, "score": score.score, "breakeven_move": score.breakeven_move}


@answers("interp", "curve d")
def _interp(c: Namespace) -> Answer:
    return {"result": interpolate_par_yields({float(day): pct / 100.0 for day, pct in c.curve.items()}, c.d)}


@answers("escrow", "S K T r s divs cp")
def _escrow(c: Namespace) -> Answer:
    times, amounts = (np.array(column, dtype=np.float64) for column in zip(*c.divs, strict=True))
    paid = float(
        dividends_ahead(0.0, c.T, c.r, CashTerms(times, amounts, spot_model=False, american=False), True)
    )
    schedule = [(float(years), float(cash)) for years, cash in c.divs]
    g = greeks(c.S, c.K, c.T, c.s, c.cp == "C", rate=c.r, dividends=schedule, style="european")
    return {"pv_divs": paid, "adj_spot": c.S - paid, "price": float(g.price), "delta": float(g.delta)}


@answers("hedge", "opt_delta N_ owned pending thr")
def _hedge(c: Namespace) -> Answer:
    options = c.opt_delta * CONTRACT * c.N_
    net = options + c.owned + c.pending
    inputs = HedgeInputs(net, 1.0, 1.0, 1.0, 0.2, 0.0, c.N_, CONTRACT, 0.0, 0.0)
    verdict = FixedBand(FixedConfig(threshold=c.thr)).judge(inputs)
    return {
        "options_delta": options,
        "net_delta_per_straddle": net / c.N_,
        "trade_qty": quantity_to_target(net, verdict.target_delta_shares),
    }


@answers("spread_filter", "spreads")
def _spread_filter(c: Namespace) -> Answer:
    trigger = PriceBand(InstrumentId(0), SpreadFilter())  # every mid has reached its prices
    accepted, averages = [], list[float | None]()
    for spread in c.spreads:
        quote = QuoteEvent(trigger.instrument_id, 0, 0, 0.0, spread, 0.0, 0.0)
        accepted.append(trigger.take(quote) is not None)
        averages.append(None if math.isnan(trigger.spreads.average) else trigger.spreads.average)
    return {"accepted": accepted, "ema": averages}


@answers("edge", "S gamma sf siv H spread_usd hcost")
def _edge(c: Namespace) -> Answer:
    """First order: a session of H days that moves by the forecast, against what the implied one charges."""
    meter = MoveMeter()
    years = c.H / 252
    meter.add(c.gamma, c.S, c.S * c.sf * math.sqrt(years), c.siv, years)
    gross = CONTRACT * (meter.gamma + meter.theta)
    return {"gross": gross, "edge": gross - c.spread_usd - c.hcost}


@answers("fifo", "fills")
def _fifo(c: Namespace) -> Answer:
    lots, position, totals = FifoLots(), Decimal(0), [Decimal(0)]
    for side, quantity, price in c.fills:
        signed = Decimal(quantity) * (1 if side == "buy" else -1)
        lots.add(signed, Decimal(str(price)))
        position += signed
        totals.append(lots.realized)
    realized = [after - before for before, after in pairwise(totals)]
    return {"realized": realized, "total": totals[-1], "position": position}


@answers("risk_gate", "pnls", proposed_risk=0, equity=None)
def _risk_gate(c: Namespace) -> Answer:
    daily = sum((Decimal(str(pnl)) for pnl in c.pnls), Decimal(0))
    gate = RiskGate(RiskLimits())
    for pnl in c.pnls:
        gate.closed_trades.note(Decimal(str(pnl)))
    losses = gate.closed_trades.losses_in_a_row
    reason = loss_rule(
        Decimal(500),
        3,
        0.25,
        daily_pnl=daily,
        consecutive_losses=losses,
        proposed_risk=Decimal(str(c.proposed_risk)),
        equity=None if c.equity is None else Decimal(str(c.equity)),
    )
    return {"daily_pnl": daily, "consecutive_losses": losses, "allowed": reason is None, "reason": reason}


@answers("attribution", "S K T r s cp qty dS dsig dt dr shares half fee traded")
def _attribution(c: Namespace) -> Answer:
    is_call, units = c.cp == "C", c.qty * CONTRACT
    before = option_greeks(c.S, c.K, c.T, c.s, is_call, c.r, american=False)
    after = option_greeks(c.S + c.dS, c.K, c.T - c.dt, c.s + c.dsig, is_call, c.r + c.dr, american=False)
    terms = {
        "delta": units * before.delta * c.dS,
        "gamma": units * 0.5 * before.gamma * c.dS * c.dS,
        "theta": units * before.theta * c.dt,
        "vega": units * before.vega * c.dsig,
        "vanna": units * before.vanna * c.dS * c.dsig,
        "volga": units * 0.5 * before.volga * c.dsig * c.dsig,
        "charm": units * before.charm * c.dS * c.dt,
        "rho": units * before.rho * c.dr,
    }
    revalued = units * (after.price - before.price)
    hedge, spread, fees = c.shares * c.dS, -c.half * abs(c.traded), -c.fee * abs(c.traded)
    return terms | {
        "residual": revalued - sum(terms.values()),
        "hedge": hedge,
        "cost_spread": spread,
        "cost_fee": fees,
        "nav_change": revalued + hedge + spread + fees,
    }


@answers("rv_cc", "c", mean=True)
def _rv_cc(c: Namespace) -> Answer:
    vol = realized_vol(list(c.c), "close_to_close", window=len(c.c) - 1, zero_mean=not c.mean)
    return {"result": vol.vol}


def _bars(b: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    names = {"o": "open", "h": "high", "l": "low", "c": "close"}
    return [{names[key]: value for key, value in bar.items()} for bar in b]


def _ohlc_vol(b: Sequence[Mapping[str, float]], estimator: str) -> Answer:
    return {"result": realized_vol(_bars(b), estimator, window=len(b)).vol}


for _case, _estimator in (("park", "parkinson"), ("gk", "garman_klass"), ("rs", "rogers_satchell")):
    ADAPTERS[_case] = partial(_ohlc_vol, estimator=_estimator)


@answers("yz", "b pc")
def _yz(c: Namespace) -> Answer:
    before = dict.fromkeys(("open", "high", "low", "close"), float(c.pc))
    return {"result": realized_vol([before, *_bars(c.b)], "yang_zhang", window=len(c.b)).vol}


@answers("ewma", "r lam v0")
def _ewma(c: Namespace) -> Answer:
    return {"result": math.sqrt(ewma_path(np.asarray(c.r), c.v0, c.lam)[-1] * PERIODS)}


@answers("garch", "w a b v h")
def _garch(c: Namespace) -> Answer:
    path = garch_path(c.w, c.a + c.b, c.v, c.h)
    return {
        "long_run_vol": math.sqrt(garch_long_run(c.w, c.a + c.b) * PERIODS),
        "avg_vol": math.sqrt(float(path.mean()) * PERIODS),
    }


@answers("pa_hedge", "S F K T s cp nopt perp_usd")
def _pa_hedge(c: Namespace) -> Answer:
    coin = greeks(c.F, c.K, c.T, c.s, c.cp == "C", style="european", model="inverse")
    target = perpetual_target_usd(c.nopt, float(coin.delta), c.S)
    return {
        "bs_delta": float(coin.usd.delta),
        "premium_btc": float(coin.price),
        "pa_delta": float(coin.delta),
        "target_perp_usd": target,
        "trade_usd": perpetual_trade_usd(target, c.perp_usd),
    }


FEES_OF = date(2025, 1, 2)


def _coin_option(cp: str, strike: float) -> OptionContract:
    return deribit_option(option_name("BTC", date(2026, 12, 25), Decimal(str(strike)), Right(cp)))


@answers("settle", "S K cp prem qty")
def _settle(c: Namespace) -> Answer:
    payoff = expiry_payoff_coin(c.S, c.K, c.cp == "C")
    fee = float(DERIBIT_FEES.on(FEES_OF).delivery(_coin_option(c.cp, c.K), Decimal(str(payoff))))
    return {
        "payoff_btc": payoff * c.qty,
        "delivery_fee_btc": fee * c.qty,
        "net_btc": (payoff - c.prem - fee) * c.qty,
    }


@answers("funding", "mark index usd hours")
def _funding(c: Namespace) -> Answer:
    exact_mark, exact_index, amount = (Decimal(str(number)) for number in (c.mark, c.index, c.usd))
    rate = funding_rate(exact_mark, exact_index)
    return {
        "premium_rate": (c.mark - c.index) / c.index,
        "funding_rate": rate,
        "payment_btc": funding_payment(amount, exact_index, rate, Decimal(str(c.hours))),
    }


@answers("deribit_fee", "price qty")
def _deribit_fee(c: Namespace) -> Answer:
    option = _coin_option("C", 100_000)
    return {
        "result": DERIBIT_FEES.on(FEES_OF).fee(option, Side.BUY, Decimal(str(c.qty)), Decimal(str(c.price)))
    }


@answers("gex", "rows S")
def _gex(c: Namespace) -> Answer:
    strike, right, gamma, held = zip(*c.rows, strict=True)
    found = gamma_exposure(
        ExposureRows(
            strike=np.array(strike, dtype=np.float64),
            is_call=np.array([side == "C" for side in right]),
            gamma=np.array(gamma, dtype=np.float64),
            open_interest=np.array(held, dtype=np.float64),
            multiplier=np.full(len(strike), CONTRACT),
        ),
        c.S,
    )
    return {"net": found.net_usd, "call_wall": found.call_wall, "put_wall": found.put_wall}


@answers("flip", "chain T lo hi")
def _flip(c: Namespace) -> Answer:
    strike, right, vol, held = zip(*c.chain, strict=True)
    rows = ExposureRows(
        strike=np.array(strike, dtype=np.float64),
        is_call=np.array([side == "C" for side in right]),
        gamma=np.full(len(strike), np.nan),  # a flip is found by repricing, whatever gamma is today
        open_interest=np.array(held, dtype=np.float64),
        multiplier=np.full(len(strike), CONTRACT),
        vol=np.array(vol, dtype=np.float64),
        years=np.full(len(strike), c.T),
    )
    middle = 0.5 * (c.lo + c.hi)
    return {"result": gamma_flip(rows, middle, span=0.5 * (c.hi - c.lo) / middle)}


@answers("sortino", "returns", periods=252, target=0.0)
def _sortino(c: Namespace) -> Answer:
    return {"result": statistics.sortino_ratio([amount - c.target for amount in c.returns], c.periods)}


@answers("stationary_indices", "n mean_block uniforms")
def _indices(c: Namespace) -> Answer:
    """One sample: `uniforms` are its start, then for each step whether a new block begins, and where."""
    first, *rest = c.uniforms
    draws = np.array(rest).reshape(c.n - 1, 2)
    steps = ((np.array([int(start * c.n)]), np.array([switch])) for switch, start in draws)
    return {
        "result": statistics.stationary_positions(np.array([int(first * c.n)]), steps, c.n, c.mean_block)[
            0
        ].tolist()
    }


@answers("bootstrap_se", "returns mean_block")
def _bootstrap(c: Namespace) -> Answer:
    mean = sum(c.returns) / len(c.returns)
    return {"mean": mean, "se": field_formulas.bootstrap_error_of_mean(c.returns, c.mean_block)}


@answers("mean_hac", "returns lags")
def _mean(c: Namespace) -> Answer:
    mean, error = sum(c.returns) / len(c.returns), statistics.error_of_mean(c.returns, c.lags)
    return {"mean": mean, "se": error, "t": mean / error}


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)

STICKINESS = {"sticky_strike": 1.0, "sticky_delta": 0.0, "local_vol": 2.0}


def _ssvi(tau: float, theta: float, rho: float, eta: float) -> Smile:
    def vol(k: Floats) -> Floats:
        x = eta * k / math.sqrt(theta)
        return np.sqrt(0.5 * theta * (1.0 + rho * x + np.sqrt((x + rho) ** 2 + 1.0 - rho**2)) / tau)

    return vol


def _legs(kind: str) -> list[bool]:
    return {"C": [True], "P": [False], "straddle": [True, False]}[kind]


def _black(S: float, K: float, tau: float, sigma: float, kind: str) -> OptionGreeks:
    legs = [option_greeks(S, K, tau, sigma, is_call, american=False) for is_call in _legs(kind)]
    return OptionGreeks._make(math.fsum(column) for column in zip(*legs, strict=True))


@answers("variance_swap_vol", "F T r quotes")
def _variance_swap_vol(c: Namespace) -> Answer:
    variance = swap_variance_of_quotes(c.F, c.T, c.r, [(strike, mid) for strike, mid in c.quotes])
    return {"variance": variance, "vol": math.sqrt(variance)}


@answers("variance_swap_smile", "tau theta rho eta")
def _variance_swap_smile(c: Namespace) -> Answer:
    smile = _ssvi(c.tau, c.theta, c.rho, c.eta)
    atm, swap = level_of(smile, c.tau, "atm"), swap_vol(smile, c.tau)
    return {"atm_vol": atm, "swap_vol": swap, "ratio": swap / atm}


@answers("shifted_smile", "F tau ssvi level strikes", mode="atm", kind="standardised")
def _shifted_smile(c: Namespace) -> Answer:
    smile = _ssvi(c.tau, **c.ssvi)
    chosen: Level = "swap" if c.mode == "swap" else "atm"
    shift: Shift = "parallel" if c.kind == "parallel" else "standardised"
    moved = shifted_smile(smile, c.tau, c.level, level=chosen, shift=shift)
    logs = np.log(np.array(c.strikes) / c.F)
    return {
        "market_level": level_of(smile, c.tau, chosen),
        "vols": moved(logs).tolist(),
        "market_vols": smile(logs).tolist(),
    }


@answers(
    "shifted_edge",
    "K S tau ssvi forecast",
    stderr=0.0,
    half_spreads=0.0,
    hedge_cost_usd=0.0,
    market=None,
    mode="atm",
    kind="standardised",
    tau_h=None,
    implied_h=None,
)
def _shifted_edge(c: Namespace) -> Answer:
    smile = _ssvi(c.tau, **c.ssvi)

    def value(vols: Floats) -> float:
        return _black(c.S, c.K, c.tau, float(vols[0]), "straddle").price

    inputs = EdgeInputs(
        expiries=(EdgeExpiry(smile, c.tau, np.array([math.log(c.K / c.S)]), value),),
        mid=c.market,
        half_spreads=c.half_spreads,
        hedge_cost_usd=c.hedge_cost_usd,
        multiplier=100,
        horizon_years=c.tau_h,
        implied_to_horizon=c.implied_h,
        level="swap" if c.mode == "swap" else "atm",
        shift="parallel" if c.kind == "parallel" else "standardised",
    )
    edge = shifted_edge(inputs, c.forecast, c.stderr)
    delta = 100.0 * _black(c.S, c.K, c.tau, edge.implied_vol, "straddle").delta
    return {
        "market_level": edge.market_level,
        "target_level": edge.target_level,
        "iv_market": edge.implied_vol,
        "iv_shifted": edge.shifted_vol,
        "model_value": value(np.array([edge.shifted_vol])),
        "market_value": value(np.array([edge.implied_vol])) if c.market is None else c.market,
        "gross": edge.gross_usd,
        "edge": edge.net_usd,
        "stderr": edge.stderr_usd,
        "straddle_delta": delta,
        "delta_ok": abs(delta) <= 10.0,
    }


@answers("gate_pass", "times edges need", n=3, spacing=60.0)
def _gate_pass(c: Namespace) -> Answer:
    passes = GatePasses(c.n, c.spacing)
    for at, edge in zip(c.times, c.edges, strict=True):
        now_ns = int(at * NANOS_PER_SECOND)
        if passes.is_due(now_ns) and passes.note(now_ns, passed=edge >= c.need):
            return {"result": at}
    return {"result": None}


@answers("band_cost")
def _band_cost(
    gamma: float,
    S: float,
    sigma: float,
    tau_h: float,
    band: float,
    cost_per_share: float,
    rehedge_to: RehedgeTo = "edge",
) -> Answer:
    days = tau_h * SESSIONS_PER_YEAR
    cost = cost_of_band(gamma, S, sigma, days, band, cost_per_share, rehedge_to=rehedge_to)
    return {"shares": cost.rehedges * cost.shares_per_rehedge, "cost": cost.cost_usd}


@answers("ww_cost", "gamma S sigma tau_h lam a", r=0.0, tau=0.0)
def _ww_cost(c: Namespace) -> Answer:
    band = float(whalley_wilmott_band(c.gamma, c.S, c.tau, c.lam, c.a, rate=c.r))
    found = _band_cost(c.gamma, c.S, c.sigma, c.tau_h, band, c.lam * c.S)
    risk = c.a * (c.S * c.sigma * band) ** 2 / 6.0 * c.tau_h
    return found | {"band": band, "risk": risk, "certainty_equivalent": found["cost"] + risk}


@answers("recentre", "S K K_new iv iv_new tau forecast tau_h", cost_usd=0.0, straddles=1)
def _recentre(c: Namespace) -> Answer:
    units = 100.0 * c.straddles
    held = ((c.K, c.iv), (c.K_new, c.iv_new))
    old, new = (units * _black(c.S, strike, c.tau, vol, "straddle").gamma for strike, vol in held)
    found = recentring(c.S, (old, new), (c.iv, c.iv_new), c.forecast, c.tau_h, c.cost_usd)
    return {**found._asdict(), "recentre": found.is_due(0.5)}


@answers("event_variance", "iv1 tau1 iv2 tau2", base=None)
def _event_variance(c: Namespace) -> Answer:
    """Take ``base`` as the volatility between the expiries without the event; None for that of the first."""
    variance = event_variance(c.iv1, c.tau1, c.iv2, c.tau2)
    if c.base is not None:
        variance = max(
            c.iv2 * c.iv2 * c.tau2 - c.iv1 * c.iv1 * c.tau1 - c.base * c.base * (c.tau2 - c.tau1), 0.0
        )
    return {
        "variance": variance,
        "move_sd": math.sqrt(variance),
        "mean_abs_move": math.sqrt(2.0 * variance / math.pi),
    }


@answers("event_from_two_after", "iv1 tau1 iv2 tau2")
def _event_from_two_after(c: Namespace) -> Answer:
    base, variance = event_from_two_after(c.iv1, c.tau1, c.iv2, c.tau2)
    return {"base_vol": base, "variance": variance, "move_sd": math.sqrt(variance)}


@answers("asof_spot", "ts series")
def _asof_spot(c: Namespace) -> Answer:
    return {"result": c.series[bisect_right([at for at, _ in c.series], c.ts) - 1][1]}


@answers("iv_filter", "dtau z sd", vol_of_vol=1.0, gate=5.0, repeats=3)
def _iv_filter(c: Namespace) -> Answer:
    state = VolFilter(c.vol_of_vol, c.gate, c.repeats)
    vols, deviations, used = [], [], []
    for years, vol, deviation in zip(c.dtau, c.z, c.sd, strict=True):
        used.append(state.update(years, vol, deviation))
        vols.append(state.vol)
        deviations.append(state.deviation)
    return {"vol": vols, "sd": deviations, "used": used}


@answers("iv_ewma", "seconds z", half_life=60.0)
def _iv_ewma(c: Namespace) -> Answer:
    state, vols = VolAverage(c.half_life), []
    for lapse, vol in zip([0.0, *(b - a for a, b in pairwise(c.seconds))], c.z, strict=True):
        state.average(lapse, vol, 0.0)
        vols.append(state.vol)
    return {"result": vols}


@answers("parity_forward", "pairs", r=0.0, T=0.0)
def _parity_forward(c: Namespace) -> Answer:
    table = np.array(c.pairs, dtype=np.float64)
    strike, call_bid, call_ask, put_bid, put_ask = table.T
    forwards = strike + math.exp(c.r * c.T) * 0.5 * (call_bid + call_ask - put_bid - put_ask)
    return {"result": weighted_median(forwards, 1.0 / (call_ask - call_bid + put_ask - put_bid))}


@answers("smile_delta", "S K kind tau ssvi", model="sticky_strike", R=None)
def _smile_delta(c: Namespace) -> Answer:
    smile = _ssvi(c.tau, **c.ssvi)
    k = math.log(c.K / c.S)
    per_log, x = c.ssvi["eta"] / math.sqrt(c.ssvi["theta"]), c.ssvi["eta"] * k / math.sqrt(c.ssvi["theta"])
    rho = c.ssvi["rho"]
    slope = 0.5 * c.ssvi["theta"] * per_log * (rho + (x + rho) / math.sqrt((x + rho) ** 2 + 1.0 - rho**2))
    vol = float(smile(np.array(k)))
    skew = slope / (2.0 * vol * c.tau)
    g = _black(c.S, c.K, c.tau, vol, c.kind)
    stickiness = STICKINESS[c.model] if c.R is None else c.R
    return {
        "iv": vol,
        "skew": skew,
        "delta_bs": g.delta,
        "vega": g.vega,
        "delta": g.delta + skew_delta(g.vega, c.S, skew, stickiness),
    }


@answers("mv_delta", "S K kind sigma tau a b c")
def _mv_delta(c: Namespace) -> Answer:
    g = _black(c.S, c.K, c.tau, c.sigma, c.kind)
    a_leg = minimum_variance_delta(c.S, c.K, c.tau, c.sigma, (c.a, c.b, c.c))
    return {"delta_bs": g.delta, "adjustment_per_leg": a_leg, "delta": g.delta + len(_legs(c.kind)) * a_leg}


@answers("hedge_noise", "S K kind tau sigma iv_sd units", z=2.0)
def _hedge_noise(c: Namespace) -> Answer:
    vanna = _black(c.S, c.K, c.tau, c.sigma, c.kind).vanna
    return {
        "vanna": vanna,
        "delta_sd_shares": abs(vanna) * c.iv_sd * c.units,
        "least_hedge": least_hedge(vanna * c.iv_sd * c.units, c.z),
    }


@answers("mv_fit", "rows")
def _mv_fit(c: Namespace) -> Answer:
    coefficients, gain = fit_minimum_variance(*zip(*c.rows, strict=True))
    return {**dict(zip("abc", coefficients, strict=True)), "gain": gain}


@answers("leland_delta", "S K kind tau sigma lam dt")
def _leland_delta(c: Namespace) -> Answer:
    vol = leland_vol(c.lam, c.sigma, c.dt, long_gamma=True)
    return {"sigma_long": vol, "delta": None if vol is None else _black(c.S, c.K, c.tau, vol, c.kind).delta}


@answers("theta_gamma_pick", "S tau ssvi strikes")
def _theta_gamma_pick(c: Namespace) -> Answer:
    smile, scores = _ssvi(c.tau, **c.ssvi), []
    for strike in c.strikes:
        g = _black(c.S, strike, c.tau, float(smile(np.array(math.log(strike / c.S)))), "C")
        scores.append(straddle_score(g.theta, g.gamma, 0.0).score)
    return {"scores": scores, "pick": min(zip(scores, c.strikes, strict=True))[1]}


@answers("hedge_pnl", "S K kind T implied actual", mu=0.0)
def _hedge_pnl(c: Namespace) -> Answer:
    """Ahmad and Wilmott (2005): certain at the actual volatility, a mean at the implied one."""

    def mean_dollar_gamma(t: float) -> float:
        centre, spread = math.log(c.S) + (c.mu - 0.5 * c.actual * c.actual) * t, c.actual * math.sqrt(t)
        width = c.implied * math.sqrt(c.T - t)
        peak = math.log(c.K) + 0.5 * width * width
        # density and gamma are bells: nodes where both are
        both = 1.0 / (1.0 / spread**2 + 1.0 / width**2)
        at = both * (centre / spread**2 + peak / width**2) + 9.0 * math.sqrt(both) * _NODES
        density = np.exp(-0.5 * ((at - centre) / spread) ** 2) / (spread * math.sqrt(2.0 * math.pi))
        spots = np.exp(at).tolist()
        gammas = [spot * spot * _black(spot, c.K, c.T - t, c.implied, c.kind).gamma for spot in spots]
        return 9.0 * math.sqrt(both) * float(np.dot(_WEIGHTS * density, gammas))

    # t = T·sin²: finely spaced at both ends, where one of the bells is narrow
    x = 0.25 * math.pi * (_NODES + 1.0)
    times, weights = c.T * np.sin(x) ** 2, 0.25 * math.pi * _WEIGHTS * c.T * np.sin(2.0 * x)
    earned = sum(w * mean_dollar_gamma(t) for w, t in zip(weights.tolist(), times.tolist(), strict=True))
    certain = _black(c.S, c.K, c.T, c.actual, c.kind).price - _black(c.S, c.K, c.T, c.implied, c.kind).price
    return {"at_actual": certain, "at_implied_mean": 0.5 * (c.actual**2 - c.implied**2) * earned}


RIGHTS = {"C": (True,), "P": (False,), "straddle": (True, False)}


def _vol(state: PricedState) -> float:
    """Return the volatility over calendar time."""
    return state.vol * sqrt(state.variance_years / state.years) if state.years else 0.0


def _greeks(strike: float, is_call: bool, state: PricedState, *, american: bool = False) -> OptionGreeks:
    terms = (state.spot, strike, state.years, _vol(state), is_call, state.rate, state.dividend_yield)
    return OptionGreeks(*option_greeks(*terms, american=american))


def _leg(
    strike: float,
    is_call: bool,
    units: float,
    start: PricedState,
    end: PricedState,
    *,
    stepped: float | None = None,
    d_mark: float | None = None,
    american: bool = False,
) -> LegParts:
    spot = end.spot if stepped is None else stepped
    at_start = _greeks(strike, is_call, start, american=american)
    return leg_parts(
        corner_prices(strike, is_call, start, end, spot, end.spot, american=american),
        units=units,
        delta=at_start.delta,
        gamma=at_start.gamma,
        vega=at_start.vega * sqrt(start.variance_years / start.years),
        d_spot=spot - start.spot,
        d_vol=end.vol - start.vol,
        d_mark=d_mark,
    )


@answers(
    "explain_leg",
    "K cp units S0 S1 sig0 sig1 tau0 tau1",
    mark0=None,
    mark1=None,
    r0=0.0,
    r1=None,
    q0=0.0,
    q1=None,
    T0=None,
    T1=None,
    pv0=0.0,
    pv1=None,
    ex_div=0.0,
    style="european",
)
def _explain_leg(c: Namespace) -> Answer:
    start = PricedState(c.S0 - c.pv0, c.sig0, c.tau0, c.tau0 if c.T0 is None else c.T0, c.r0, c.q0)
    end = PricedState(
        c.S1 - (c.pv0 if c.pv1 is None else c.pv1),
        c.sig1,
        c.tau1,
        c.tau1 if c.T1 is None else c.T1,
        c.r0 if c.r1 is None else c.r1,
        c.q0 if c.q1 is None else c.q1,
    )
    american = c.style == "american"
    d_mark = None if c.mark0 is None or c.mark1 is None else c.mark1 - c.mark0
    parts = _leg(
        c.K,
        c.cp == "C",
        c.units,
        start,
        end,
        stepped=c.S1 + c.ex_div - c.pv0,
        d_mark=d_mark,
        american=american,
    )
    amounts = structs.asdict(parts)
    return amounts | {"total": sum(amounts.values())}


@answers("explain_path", "K kind units path anchors")
def _explain_path(c: Namespace) -> Answer:
    def state(row: Sequence[float]) -> PricedState:
        return PricedState(row[0], row[1], row[2], row[2])

    sums = dict.fromkeys(LegParts.__struct_fields__, 0.0)
    shares = 0.0
    trades = [at for at, (before, after) in enumerate(pairwise(c.path), start=1) if before[3] != after[3]]
    for first, last in pairwise(sorted({0, *c.anchors, *trades, len(c.path) - 1})):
        for is_call in RIGHTS[c.kind]:
            shown = NO_LEG_PARTS
            for row in c.path[first + 1 : last + 1]:  # marks between anchors: the running value telescopes
                running = _leg(c.K, is_call, c.units, state(c.path[first]), state(row))
                for name in sums:
                    sums[name] += getattr(running, name) - getattr(shown, name)
                shown = running
    for before, after in pairwise(c.path):
        shares += before[3] * (after[0] - before[0])
    return sums | {
        "shares": shares,
        "total": sum(sums.values()) + shares,
        "net_delta_pnl": sums["delta"] + shares,
    }


@answers("session_theta", "S K kind sigma tau0 tau1", T0=None, T1=None, r=0.0)
def _session_theta(c: Namespace) -> Answer:
    start = PricedState(c.S, c.sigma, c.tau0, c.tau0 if c.T0 is None else c.T0, c.r)
    end = PricedState(c.S, c.sigma, c.tau1, c.tau1 if c.T1 is None else c.T1, c.r)
    value = theta = carry = first_order = 0.0
    for is_call in RIGHTS[c.kind]:
        corners = corner_prices(c.K, is_call, start, end, c.S, c.S, american=False)
        gamma = _greeks(c.K, is_call, start).gamma
        value += corners[0]
        theta += corners[3] - corners[0]
        carry += corners[9] - corners[7]
        first_order -= 0.5 * gamma * c.S * c.S * c.sigma * c.sigma * (c.tau0 - c.tau1)
    answer = {"value": value, "theta": theta, "carry": carry, "theta_first_order": first_order}
    if c.T0 is not None and c.T1 is not None:
        vol = _vol(start)
        by_calendar = [PricedState(c.S, vol, T, T, c.r) for T in (c.T0, c.T1)]
        prices = [
            sum(_greeks(c.K, is_call, state).price for is_call in RIGHTS[c.kind]) for state in by_calendar
        ]
        answer["calendar_theta"] = prices[1] - prices[0]
    return answer


@answers("realised_vs_implied", "rows")
def _realised_vs_implied(c: Namespace) -> Answer:
    meter = MoveMeter()
    for row in c.rows:
        meter.add(*row)
    figures = meter.figures()
    figures["break_even_sum"] = figures.pop("break_even_move")
    figures.pop("realised_move")
    return figures


@answers("break_even_move", "S K kind sigma tau0 tau1")
def _break_even_move(c: Namespace) -> Answer:
    start, end = PricedState(c.S, c.sigma, c.tau0, c.tau0), PricedState(c.S, c.sigma, c.tau1, c.tau1)
    delta = sum(_greeks(c.K, is_call, start).delta for is_call in RIGHTS[c.kind])

    def earned(move: float) -> float:
        total = -delta * move
        for is_call in RIGHTS[c.kind]:
            corners = corner_prices(c.K, is_call, start, end, c.S + move, c.S, american=False)
            total += corners[5] - corners[0]
        return total

    meter = MoveMeter()
    meter.add(1.0, c.S, 0.0, c.sigma, c.tau0 - c.tau1)
    first_order = meter.figures()["break_even_move"]
    up, down = (brentq(earned, 0.0, side * 3.0 * first_order, xtol=1e-13) for side in (1.0, -1.0))
    return {"first_order": first_order, "up": up, "down": down}


def _clock(night: float, half_weight: float = 0.6, event_days: float = 0.0, **weights: Any) -> VarianceClock:
    """Return a clock whose nights hold a share of each day."""
    day = 1.0 / (1.0 - night)  # a session is one: the clock's unit
    shares = SessionWeights(
        night=night * day,
        weekend=night * day,
        holiday=night * day,
        half_day=half_weight,
        announcement=(event_days * day, 0.0),
        year=252.0 * day,
        **weights,
    )
    at_noon = to_ns(datetime(2017, 7, 3, 11, 0, tzinfo=NEW_YORK))
    return VarianceClock("case", shares, (at_noon,) if event_days else ())


@answers("elapsed_share", "minute buckets")
def _elapsed_share(c: Namespace) -> Answer:
    clock = _clock(0.3, profile=tuple(share for _, share in c.buckets))
    session = session_on(date(2017, 6, 20))
    so_far = clock.years(session.open_ns, session.open_ns + round(c.minute * 60 * NANOS_PER_SECOND))
    return {"result": so_far / clock.years(session.open_ns, session.close_ns)}


@answers("variance_time", "elapsed", full_days=0, half_days=0, night=0.3, half_weight=0.6, events=0.0)
def _variance_time(c: Namespace) -> Answer:
    """Begin the span so many sessions before 2017-07-03, a half day, or end it before."""
    clock = _clock(c.night, c.half_weight, c.events)
    sessions = sessions_between(date(2017, 1, 3), date(2017, 7, 3))
    last = len(sessions) - (1 if c.half_days else 2)
    first = sessions[last - c.full_days - c.half_days]
    whole = clock.years(first.open_ns, first.close_ns)
    start_ns = brentq(
        lambda at: clock.years(first.open_ns, first.open_ns + int(at)) / whole - c.elapsed,
        0.0,
        first.close_ns - first.open_ns,
        xtol=1.0,
    )
    years = clock.years(first.open_ns + int(start_ns), sessions[last].close_ns)
    return {"days": 252.0 * years, "years": years}


class _Span(VarianceClock, frozen=True):
    """A clock by which every span is as long as a case says."""

    length: float = 1.0

    def years(self, start_ns: int, end_ns: int) -> float:
        del start_ns, end_ns
        return self.length


@answers("convert_vol", "vol years_from years_to")
def _convert_vol(c: Namespace) -> Answer:
    by, to = _Span("from", length=c.years_from), _Span("to", length=c.years_to)
    return {"result": convert_vol(c.vol, by, to, 0, 1)}


@answers("calendar_iv", "sigma taus cal_days")
def _calendar_iv(c: Namespace) -> Answer:
    found = []
    for tau, days in zip(c.taus, c.cal_days, strict=True):
        end_ns = round(days * 86_400 * NANOS_PER_SECOND)
        found.append(convert_vol(c.sigma, _Span("session", length=tau), CALENDAR, 0, end_ns))
    return {"result": found}


EXPIRY = date(2026, 12, 18)

LOAN_MONTHS, LOAN_SHARE = 9, Decimal("0.75")


def _exact(value: float) -> Decimal:
    return Decimal(str(value))


def _option(cp: str, strike: float, underlying: str) -> OptionContract:
    right = Right(cp)
    symbol = f"{underlying}{cp}{strike}"
    return OptionContract(
        symbol,
        underlying,
        underlying,
        EXPIRY,
        _exact(strike),
        right,
        Style.AMERICAN,
        Settlement.PHYSICAL,
        CENT_TICK,
    )


@answers(
    "reg_t_margin",
    "kind",
    S=0.0,
    shares=100,
    price=0.0,
    cp="C",
    K=0.0,
    K2=0.0,
    price2=0.0,
    K_long=0.0,
    price_long=0.0,
    qty=1,
    account="margin",
    months=0.0,
    broad=False,
)
def _margin(c: Namespace) -> Answer:
    underlying = "SPX" if c.broad else "SHARE"

    def line(instrument: Instrument, quantity: float, at: float) -> Holding:
        return Holding(instrument, _exact(quantity), _exact(at))

    def option(right: str, strike: float, quantity: float, at: float) -> Holding:
        return line(_option(right, strike, underlying), quantity, at)

    share = Equity(underlying)
    far = 10 * c.S  # the case file gives a covered call no strike
    lines = {
        "long_stock": lambda: [line(share, c.shares, c.S)],
        "short_stock": lambda: [line(share, -c.shares, c.S)],
        "long_option": lambda: [option(c.cp, c.K or 1.0, c.qty, c.price)],
        "short_option": lambda: [option(c.cp, c.K, -c.qty, c.price)],
        "short_straddle": lambda: [option("C", c.K, -c.qty, c.price), option("P", c.K2, -c.qty, c.price2)],
        "spread": lambda: [option(c.cp, c.K, -c.qty, c.price), option(c.cp, c.K_long, c.qty, c.price_long)],
        "covered_call": lambda: [line(share, c.shares, c.S), option("C", far, -c.qty, c.price)],
        "protective_put": lambda: [line(share, c.shares, c.S), option("P", c.K, c.qty, c.price)],
        "protective_call": lambda: [line(share, -c.shares, c.S), option("C", c.K, c.qty, c.price)],
        "straddle_book": lambda: [
            option("C", c.K, c.qty, c.price),
            option("P", c.K, c.qty, 0.0),
            line(share, c.shares, c.S),
        ],
    }[c.kind]()
    proceeds = -sum(
        (line.value for line in lines if line.quantity < 0 and line.instrument.is_option), Decimal(0)
    )
    if c.account == "cash":
        need = margin.cash_requirement(lines)
        if need is None:
            return {"initial": None, "maintenance": None, "cash_needed": None}
        return {"initial": need, "maintenance": need, "cash_needed": need - proceeds}
    if c.kind == "long_option" and c.months > LOAN_MONTHS:
        need = LOAN_SHARE * sum((line.value for line in lines), Decimal(0))
        return {"initial": need, "maintenance": need, "cash_needed": need}
    asked = field_formulas.requirement(lines, lambda _symbol: _exact(c.S))
    return {
        "initial": asked.initial,
        "maintenance": asked.maintenance,
        "cash_needed": asked.initial - proceeds,
    }


@answers(
    "buying_power",
    "account equity",
    initial_required=0.0,
    maintenance_required=0.0,
    settled_cash=0.0,
    day_trading=False,
)
def _power(c: Namespace) -> Answer:
    power = margin.buying_power(
        _exact(c.equity),
        _exact(c.initial_required),
        _exact(c.maintenance_required),
        multiplier=1 if c.account == "cash" else 4 if c.day_trading else 2,
        settled_cash=_exact(c.settled_cash),
    )
    return {"stock": power.shares, "options": power.options}


@answers("alpaca_level", "legs", shares=0, cash=None, as_one_order=False)
def _level(c: Namespace) -> Answer:
    """``cash`` secures sold puts by their strikes, except in one order; None says that there is enough."""
    wanted = [
        (Side(side), _option(cp, strike, "SHARE"), _exact(contracts))
        for side, cp, strike, contracts in c.legs
    ]
    level = margin.least_options_level(wanted, _exact(c.shares), as_one_order=c.as_one_order)
    if c.cash is not None and not c.as_one_order:
        sold = [(put, count) for side, put, count in wanted if side is Side.SELL and put.right is Right.PUT]
        if sum((put.strike * put.multiplier * count for put, count in sold), Decimal(0)) > _exact(c.cash):
            level = margin.UNCOVERED
    return {"result": None if level == margin.UNCOVERED else level}


CONTRACT = 100

LAST_EXIT = "15:50"

SIGNALS = (GammaSqueeze, VwapReclaim, OpeningDrive, LiquidityVacuum, OptionsPin, DarkPoolFlow, DealerGamma)


def _flat_bars(closes: Sequence[float]) -> tuple[SignalBar, ...]:
    return tuple(SignalBar(close, close, close, close, 1.0) for close in closes)


def _score(reading: Reading) -> Answer:
    return {"result": reading.score}


@answers("d_gamma_squeeze", "strikes_oi price closes volr")
def _gamma_squeeze(c: Namespace) -> Answer:
    rows = tuple(StrikeInterest(strike, int(count), 0) for strike, count in c.strikes_oi)
    facts = MarketFacts(price=c.price, bars=_flat_bars(c.closes), strikes=rows, volume_ratio=c.volr)
    return _score(GammaSqueeze().original(facts))


@answers("d_vwap", "price vwap closes volr")
def _vwap(c: Namespace) -> Answer:
    facts = MarketFacts(price=c.price, bars=_flat_bars(c.closes), vwap=c.vwap, volume_ratio=c.volr)
    return _score(VwapReclaim().original(facts))


@answers("d_liq", "prev_close o c vol avg widen")
def _liq(c: Namespace) -> Answer:
    before = SignalBar(c.prev_close, c.prev_close, c.prev_close, c.prev_close, c.avg)
    last = SignalBar(c.o, max(c.o, c.c), min(c.o, c.c), c.c, c.vol)
    spreads = (0.02, 0.01) if c.widen else (0.01, 0.01)
    facts = MarketFacts(price=c.c, bars=(before, before, last), spread=spreads[0], spread_median=spreads[1])
    return _score(LiquidityVacuum().original(facts))


@answers("d_pin", "price call_k put_k rng5 hours")
def _pin(c: Namespace) -> Answer:
    strikes = (StrikeInterest(c.call_k, 9000, 0), StrikeInterest(c.put_k, 0, 9000))
    bar = SignalBar(c.price, c.price + c.rng5 / 2, c.price - c.rng5 / 2, c.price, 1.0)
    facts = MarketFacts(price=c.price, bars=(bar,) * 5, strikes=strikes, hours_to_expiry=c.hours)
    return _score(OptionsPin().original(facts))


@answers("d_dark", "bars trend")
def _dark(c: Namespace) -> Answer:
    minutes = tuple(SignalBar(bar["l"], bar["h"], bar["l"], bar["h"], bar["v"]) for bar in c.bars)
    facts = MarketFacts(price=minutes[-1].close, bars=minutes, volume_trend=c.trend)
    return _score(DarkPoolFlow().original(facts))


@answers("composite", "sc")
def _composite(c: Namespace) -> Answer:
    made = composite(c.sc, {signal.name: signal.weight for signal in SIGNALS})
    return {"total": made.total, "primary": made.primary, "weighted": made.weighted}


@answers("g_size", "acct ask")
def _size(c: Namespace) -> Answer:
    config = ContractConfig()
    count = size_by_risk(
        Decimal(str(c.acct)),
        Decimal(str(c.ask)) * CONTRACT,
        equity_fraction=config.equity_fraction,
        most=config.max_contracts,
    )
    return {"result": count}


@answers("g_exit", "entry_spy spy right entry_px px hhmm scaled be")
def _exit(c: Namespace) -> Answer:
    config = ScalpExitConfig()
    state = ScalpView(
        right=Right(c.right),
        entry_spot=Decimal(str(c.entry_spy)),
        spot=Decimal(str(c.spy)),
        entry_price=Decimal(str(c.entry_px)),
        price=Decimal(str(c.px)),
        is_past_deadline=c.hhmm >= LAST_EXIT,
        is_scaled=c.scaled,
        is_breakeven_armed=c.be,
    )
    action = first_reason(scalp_rules(config), state)
    gain = gain_in_r(state.right, state.entry_spot, state.spot, config.risk_unit_usd)
    return {"R": gain, "action": action}


DEFAULTS = St0ckaConfig()


@answers("target", "v entry")
def _target(c: Namespace) -> Answer:
    target = dynamic_target(c.v, DEFAULTS.profit_target, reference_vol=DEFAULTS.target_vol_ref)
    return {"target_per_share": target, "limit_price": sell_limit(Decimal(str(c.entry)), target, CENT_TICK)}


@answers("hybrid", "vols hyst")
def _hybrid(c: Namespace) -> Answer:
    """Name the gamma scalper as the case file does, by the earlier program's word."""
    now, found = LOW, []
    for vol in c.vols:
        now = who_trades(now, vol, HybridConfig().volatility_threshold_for_gamma, c.hyst)
        found.append("gamma_scalping" if now == HIGH else now)
    return {"result": found}


@answers("e_hedge", "pos shares M gex since")
def _e_hedge(c: Namespace) -> Answer:
    exactly = [(Decimal(str(delta)), Decimal(str(quantity))) for delta, quantity in c.pos]
    verdict = judge_hedge(
        net_delta(exactly, Decimal(str(c.shares)), c.M),
        c.M,
        threshold_by_dealers(c.gex),
        None if c.since is None else int(c.since * NANOS_PER_SECOND),
    )
    quantity = verdict.quantity_shares
    order = {"side": "buy" if quantity > 0 else "sell", "qty": abs(quantity)} if quantity else None
    return {
        "net_delta": verdict.net_delta,
        "threshold": verdict.threshold,
        "order": order,
        "reason": verdict.reason,
    }


@answers("deadline", "close exit_off cut_off buf")
def _deadline(c: Namespace) -> Answer:
    hours, minutes = (int(part) for part in c.close.split(":"))
    at_ns = exit_deadline_ns(
        (60 * hours + minutes) * MINUTE_NS,
        exit_minutes=c.exit_off,
        cutoff_minutes=c.cut_off,
        buffer_minutes=c.buf,
    )
    return {"result": "{:02d}:{:02d}".format(*divmod(at_ns // MINUTE_NS, 60))}


CONFIG = ScalpConfig()

DAY = date(2025, 2, 4)

RUNAWAY = {"o": 10.2, "h": 10.5, "l": 10.1, "c": 10.4, "top": 10.0, "bot": 9.9}

SIGNS = {"long": 1, "short": -1}


def _moment(day: date, clock: str) -> int:
    return new_york_ns(day, time.fromisoformat(clock))


@answers("ema", "xs p")
def _ema(c: Namespace) -> Answer:
    average = Ema(c.p)
    return {"result": [average.update(float(x)) for x in c.xs]}


@answers("last_closed", "bar_close")
def _last_closed(c: Namespace) -> Answer:
    start_ns = last_closed_start_ns(_moment(DAY, c.bar_close), _session().open_ns)
    return {"result": None if start_ns is None else f"{to_new_york(start_ns):%H:%M}"}


def _session() -> Session:
    return session_on(DAY)


@answers("conviction", "states direction ctf volr thick body factor")
def _conviction(c: Namespace) -> Answer:
    made = judge_conviction(
        [(1 if bullish else -1, Place(place)) for bullish, place in c.states],
        SIGNS[c.direction],
        frames=c.ctf,
        volume_ratio=c.volr,
        thickness=c.thick,
        body_ratio=c.body,
        factor=c.factor,
    )
    return {
        "alignment": made.alignment,
        "mtf": made.frames,
        "volume": made.volume,
        "thickness": made.thickness,
        "candle": made.body,
        "factor": made.factor,
        "total": made.total,
        "level": made.level.value,
    }


@answers("strike_score", "delta bid ask vol oi")
def _strike_score(c: Namespace) -> Answer:
    side: Literal["call", "put"] = "call" if c.delta > 0 else "put"
    row = ChainRow(
        option_symbol="SPY",
        expiry=DAY,
        strike=500.0,
        option_type=side,
        bid=c.bid,
        ask=c.ask,
        open_interest=c.oi,
        volume=c.vol,
        delta=c.delta,
    )
    chain = OptionsChain(datetime.combine(DAY, time(10), tzinfo=NEW_YORK), 500.0, [row])
    chosen = StrikeSelector(CONFIG).select("SPY", side, chain)
    return {
        "spread_pct": row.spread_pct,
        "eligible": chosen is not None,
        "score": strike_score(c.delta, row.spread_pct, c.vol, c.oi, CONFIG.max_spread_pct),
    }


@answers("gate", "dte ivr theta mid sp delta gamma")
def _gate(c: Namespace) -> Answer:
    half = 0.5 * c.sp * c.mid
    selection = StrikeSelection(
        strike=500.0,
        expiry=DAY + timedelta(days=c.dte),
        option_type="call",
        option_symbol="SPY",
        delta=c.delta,
        gamma=c.gamma,
        theta=c.theta,
        iv=0.2,
        bid=c.mid - half,
        ask=c.mid + half,
        mid=c.mid,
        spread_pct=c.sp,
        open_interest=2000,
        volume=1000,
        score=50.0,
    )
    signal = TradeSignal(
        signal_id="case",
        ticker="SPY",
        direction="bullish",
        conviction=80,
        timestamp=datetime.combine(DAY, time(10), tzinfo=NEW_YORK),
        entry_price=500.0,
        iv_rank=c.ivr,
    )
    verdict = GreeksGate(CONFIG).validate(selection, signal)
    return {"approved": verdict.approved, "reason": verdict.reason}


@answers("sizer", "eq prem conv")
def _sizer(c: Namespace) -> Answer:
    sizer = ScalpSizer(CONFIG)
    count = sizer.calculate(c.prem, c.conv, c.eq)
    budget = c.eq * CONFIG.max_risk_per_scalp / float(sizer.risk_per_contract(Decimal(str(c.prem))))
    first, add = halves(count)
    is_sized = not exceeds(CONFIG.min_conviction_to_scalp, c.conv)
    return {"raw": budget if is_sized else None, "contracts": count, "first": first, "add": add}


@answers("f_exit", "entry px hhmm dte flip_against exhausted halt")
def _f_exit(c: Namespace) -> Answer:
    # the cases name one quote; that the stop takes two in a row is a rule of its own
    config = ScalpConfig(stop_quotes=1)
    trade = ScalpTrade(
        now_ns=_moment(DAY, c.hhmm),
        mode=Mode.FLATTENING if c.halt else Mode.ACTIVE,
        entry_price=Decimal(str(c.entry)),
        price=Decimal(str(c.px)),
        quote_ns=1,
        deadline_ns=_session().close_ns,
        cutoff_ns=time_limit_ns(_session(), DAY + timedelta(days=c.dte), config),
        session_end_ns=session_end_ns(_session()),
        is_flipped=c.flip_against,
        sign=1,
        candles=_candles([RUNAWAY] * 3 if c.exhausted else []),
    )
    return {"result": next_exit(exit_rules(config), trade)}


def _candles(bars: Sequence[Mapping[str, float]]) -> list[CloudCandle]:
    minute_ns = 60 * NANOS_PER_SECOND
    found = []
    for place, bar in enumerate(bars, 1):
        end_ns = place * minute_ns
        event = BarEvent(
            InstrumentId(0), end_ns, end_ns, 60, bar["o"], bar["h"], bar["l"], bar["c"], math.nan
        )
        found.append(CloudCandle(event, {FAST: CloudState(bar["top"], bar["bot"], bar["c"])}))
    return found


@answers("exhausted", "bars side")
def _exhausted(c: Namespace) -> Answer:
    return {"result": is_exhausted(_candles(c.bars), SIGNS[c.side])}


@answers("buy_limit", "bid ask", penny_all=False)
def _buy_limit(c: Namespace) -> Answer:
    rule = CENT_TICK if c.penny_all else PENNY_NICKEL
    return {"result": buy_limit(c.bid, c.ask, rule, CONFIG.limit_offset)}
