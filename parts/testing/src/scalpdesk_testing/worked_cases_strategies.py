"""Worked cases of the strategies: st0ckg (area D), the 0DTE gamma scalper (area E), st0cka and hybrid.

An adapter only renames; what a case leaves out gets values that its result does not depend on.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND
from scalpdesk.entry.scalp_selector import ContractConfig, buy_limit
from scalpdesk.hedging.bands.regime_threshold import judge_hedge, net_delta
from scalpdesk.instruments.contract import Right
from scalpdesk.instruments.deadlines import exit_deadline_ns
from scalpdesk.instruments.ticks import CENT_TICK
from scalpdesk.marketdata.dealer_gamma import threshold_by_dealers
from scalpdesk.protocol import intent_id, intent_verdict
from scalpdesk.signals.base import MarketFacts, Reading, SignalBar, StrikeInterest
from scalpdesk.signals.composite import composite
from scalpdesk.signals.dark_pool_flow import DarkPoolFlow
from scalpdesk.signals.dealer_gamma import DealerGamma
from scalpdesk.signals.gamma_squeeze import GammaSqueeze
from scalpdesk.signals.liquidity_vacuum import LiquidityVacuum
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
from scalpdesk.strategies.toolkit.sizing import size_by_risk, size_by_vol
from scalpdesk_strategies.hybrid import HIGH, LOW, HybridConfig, who_trades
from scalpdesk_strategies.st0cka.mean_reversion import read_mean_reversion
from scalpdesk_strategies.st0cka.strategy import St0ckaConfig, dynamic_target, sell_limit

Answer = dict[str, Any]

CONTRACT = 100
LAST_EXIT = "15:50"
SIGNALS = (GammaSqueeze, VwapReclaim, OpeningDrive, LiquidityVacuum, OptionsPin, DarkPoolFlow, DealerGamma)


def _flat_bars(closes: Sequence[float]) -> tuple[SignalBar, ...]:
    return tuple(SignalBar(close, close, close, close, 1.0) for close in closes)


def _score(reading: Reading) -> Answer:
    return {"result": reading.score}


def _gamma_squeeze(
    strikes_oi: Sequence[Sequence[float]], price: float, closes: Sequence[float], volr: float
) -> Answer:
    rows = tuple(StrikeInterest(strike, int(count), 0) for strike, count in strikes_oi)
    facts = MarketFacts(price=price, bars=_flat_bars(closes), strikes=rows, volume_ratio=volr)
    return _score(GammaSqueeze().original(facts))


def _vwap(price: float, vwap: float, closes: Sequence[float], volr: float) -> Answer:
    facts = MarketFacts(price=price, bars=_flat_bars(closes), vwap=vwap, volume_ratio=volr)
    return _score(VwapReclaim().original(facts))


def _open(price: float, op: float, pdh: float, pdl: float, pmh: float, pml: float, orv: float) -> Answer:
    facts = MarketFacts(
        price=price,
        open_price=op,
        prior_high=pdh,
        prior_low=pdl,
        overnight_high=pmh,
        overnight_low=pml,
        opening_volume_ratio=orv,
    )
    return _score(OpeningDrive().original(facts))


def _liq(prev_close: float, o: float, c: float, vol: float, avg: float, widen: bool) -> Answer:
    before = SignalBar(prev_close, prev_close, prev_close, prev_close, avg)
    last = SignalBar(o, max(o, c), min(o, c), c, vol)
    spreads = (0.02, 0.01) if widen else (0.01, 0.01)
    facts = MarketFacts(price=c, bars=(before, before, last), spread=spreads[0], spread_median=spreads[1])
    return _score(LiquidityVacuum().original(facts))


def _pin(price: float, call_k: float, put_k: float, rng5: float, hours: float) -> Answer:
    strikes = (StrikeInterest(call_k, 9000, 0), StrikeInterest(put_k, 0, 9000))
    bar = SignalBar(price, price + rng5 / 2, price - rng5 / 2, price, 1.0)
    facts = MarketFacts(price=price, bars=(bar,) * 5, strikes=strikes, hours_to_expiry=hours)
    return _score(OptionsPin().original(facts))


def _dark(bars: Sequence[Mapping[str, float]], trend: str) -> Answer:
    minutes = tuple(SignalBar(bar["l"], bar["h"], bar["l"], bar["h"], bar["v"]) for bar in bars)
    facts = MarketFacts(price=minutes[-1].close, bars=minutes, volume_trend=trend)
    return _score(DarkPoolFlow().original(facts))


def _composite(sc: Mapping[str, float]) -> Answer:
    made = composite(sc, {signal.name: signal.weight for signal in SIGNALS})
    return {"total": made.total, "primary": made.primary, "weighted": made.weighted}


def _size(acct: float, ask: float) -> Answer:
    config = ContractConfig()
    count = size_by_risk(
        Decimal(str(acct)),
        Decimal(str(ask)) * CONTRACT,
        equity_fraction=config.equity_fraction,
        most=config.max_contracts,
    )
    return {"result": count}


def _limit(ask: float) -> Answer:
    return {"result": buy_limit(Decimal(str(ask)), CENT_TICK, ContractConfig())}


def _exit(
    entry_spy: float, spy: float, right: str, entry_px: float, px: float, hhmm: str, scaled: bool, be: bool
) -> Answer:
    config = ScalpExitConfig()
    state = ScalpView(
        right=Right(right),
        entry_spot=Decimal(str(entry_spy)),
        spot=Decimal(str(spy)),
        entry_price=Decimal(str(entry_px)),
        price=Decimal(str(px)),
        is_past_deadline=hhmm >= LAST_EXIT,
        is_scaled=scaled,
        is_breakeven_armed=be,
    )
    action = first_reason(scalp_rules(config), state)
    gain = gain_in_r(state.right, state.entry_spot, state.spot, config.risk_unit_usd)
    return {"R": gain, "action": action}


DEFAULTS = St0ckaConfig()


def _vol_size(v: float) -> Answer:
    return {"result": size_by_vol(v)}


def _target(v: float, entry: float) -> Answer:
    target = dynamic_target(v, DEFAULTS.profit_target, reference_vol=DEFAULTS.target_vol_ref)
    return {"target_per_share": target, "limit_price": sell_limit(Decimal(str(entry)), target, CENT_TICK)}


def _mean_rev(price: float, vwap: float, closes: Sequence[float]) -> Answer:
    reading = read_mean_reversion(price, vwap, closes, DEFAULTS.mean_reversion)
    return {
        "vwap_dev": reading.vwap_deviation,
        "bb_lower": reading.lower_band,
        "rsi": reading.rsi,
        "entry": reading.is_entry,
    }


def _hybrid(vols: Sequence[float], hyst: float) -> Answer:
    """The case's name for the gamma scalper is the earlier program's."""
    now, found = LOW, []
    for vol in vols:
        now = who_trades(now, vol, HybridConfig().volatility_threshold_for_gamma, hyst)
        found.append("gamma_scalping" if now == HIGH else now)
    return {"result": found}


def _e_hedge(
    pos: Sequence[Sequence[float]], shares: float, M: int, gex: float | None, since: float | None
) -> Answer:
    exactly = [(Decimal(str(delta)), Decimal(str(quantity))) for delta, quantity in pos]
    verdict = judge_hedge(
        net_delta(exactly, Decimal(str(shares)), M),
        M,
        threshold_by_dealers(gex),
        None if since is None else int(since * NANOS_PER_SECOND),
    )
    quantity = verdict.quantity_shares
    order = {"side": "buy" if quantity > 0 else "sell", "qty": abs(quantity)} if quantity else None
    return {
        "net_delta": verdict.net_delta,
        "threshold": verdict.threshold,
        "order": order,
        "reason": verdict.reason,
    }


def _deadline(close: str, exit_off: float, cut_off: float | None, buf: float) -> Answer:
    hours, minutes = (int(part) for part in close.split(":"))
    at_ns = exit_deadline_ns(
        (60 * hours + minutes) * MINUTE_NS,
        exit_minutes=exit_off,
        cutoff_minutes=cut_off,
        buffer_minutes=buf,
    )
    return {"result": "{:02d}:{:02d}".format(*divmod(at_ns // MINUTE_NS, 60))}


def _intent_id(kind: str, symbol: str, strategy: str, event_id: str, side: str, qty: str) -> Answer:
    return {"result": intent_id(kind, symbol, strategy=strategy, event_id=event_id, side=side, qty=qty)}


def _validate_intent(msg: object) -> Answer:
    return {"result": intent_verdict(msg)}


BINDINGS: dict[str, Callable[..., Answer]] = {
    "e_hedge": _e_hedge,
    "deadline": _deadline,
    "intent_id": _intent_id,
    "validate_intent": _validate_intent,
    "d_gamma_squeeze": _gamma_squeeze,
    "d_vwap": _vwap,
    "d_open": _open,
    "d_liq": _liq,
    "d_pin": _pin,
    "d_dark": _dark,
    "composite": _composite,
    "g_size": _size,
    "g_limit": _limit,
    "g_exit": _exit,
    "vol_size": _vol_size,
    "target": _target,
    "mean_rev": _mean_rev,
    "hybrid": _hybrid,
}
"""Function of the case file to the adapter that answers it."""
