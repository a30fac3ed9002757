"""Worked cases of area D: st0ckg's original scores, sizing, limit and exits.

As everywhere in the worked cases an adapter only renames; what the case leaves out is given values that
its score does not look at.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from scalpdesk.entry.scalp_selector import ContractConfig, buy_limit, contracts_for
from scalpdesk.instruments.contract import CENT_TICK, Right
from scalpdesk.signals.base import MarketFacts, MinuteBar, Reading, StrikeInterest
from scalpdesk.signals.composite import composite
from scalpdesk.signals.dark_pool_flow import DarkPoolFlow
from scalpdesk.signals.dealer_gamma import DealerGamma
from scalpdesk.signals.gamma_squeeze import GammaSqueeze
from scalpdesk.signals.liquidity_vacuum import LiquidityVacuum
from scalpdesk.signals.opening_drive import OpeningDrive
from scalpdesk.signals.options_pin import OptionsPin
from scalpdesk.signals.vwap_reclaim import VwapReclaim
from scalpdesk.strategies.st0ckg.exits import ScalpExitConfig, ScalpState, exit_action, gain_in_r

Answer = dict[str, Any]

CONTRACT = 100
LAST_EXIT = "15:50"
SIGNALS = (GammaSqueeze, VwapReclaim, OpeningDrive, LiquidityVacuum, OptionsPin, DarkPoolFlow, DealerGamma)


def _flat_bars(closes: Sequence[float]) -> tuple[MinuteBar, ...]:
    return tuple(MinuteBar(close, close, close, close, 1.0) for close in closes)


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
    before = MinuteBar(prev_close, prev_close, prev_close, prev_close, avg)
    last = MinuteBar(o, max(o, c), min(o, c), c, vol)
    spreads = (0.02, 0.01) if widen else (0.01, 0.01)
    facts = MarketFacts(price=c, bars=(before, before, last), spread=spreads[0], spread_median=spreads[1])
    return _score(LiquidityVacuum().original(facts))


def _pin(price: float, call_k: float, put_k: float, rng5: float, hours: float) -> Answer:
    strikes = (StrikeInterest(call_k, 9000, 0), StrikeInterest(put_k, 0, 9000))
    bar = MinuteBar(price, price + rng5 / 2, price - rng5 / 2, price, 1.0)
    facts = MarketFacts(price=price, bars=(bar,) * 5, strikes=strikes, hours_to_expiry=hours)
    return _score(OptionsPin().original(facts))


def _dark(bars: Sequence[Mapping[str, float]], trend: str) -> Answer:
    minutes = tuple(MinuteBar(bar["l"], bar["h"], bar["l"], bar["h"], bar["v"]) for bar in bars)
    facts = MarketFacts(price=minutes[-1].close, bars=minutes, volume_trend=trend)
    return _score(DarkPoolFlow().original(facts))


def _composite(sc: Mapping[str, float]) -> Answer:
    made = composite(sc, {signal.name: signal.weight for signal in SIGNALS})
    return {"total": made.total, "primary": made.primary, "weighted": made.weighted}


def _size(acct: float, ask: float) -> Answer:
    count = contracts_for(Decimal(str(acct)), Decimal(str(ask)), CONTRACT, ContractConfig())
    return {"result": count}


def _limit(ask: float) -> Answer:
    return {"result": buy_limit(Decimal(str(ask)), CENT_TICK, ContractConfig())}


def _exit(
    entry_spy: float, spy: float, right: str, entry_px: float, px: float, hhmm: str, scaled: bool, be: bool
) -> Answer:
    config = ScalpExitConfig()
    state = ScalpState(
        right=Right(right),
        entry_spot=Decimal(str(entry_spy)),
        spot=Decimal(str(spy)),
        entry_price=Decimal(str(entry_px)),
        price=Decimal(str(px)),
        is_past_deadline=hhmm >= LAST_EXIT,
        is_scaled=scaled,
        is_breakeven_armed=be,
    )
    action = exit_action(state, config)
    gain = gain_in_r(state.right, state.entry_spot, state.spot, config.risk_unit_usd)
    return {"R": gain, "action": None if action is None else action.value}


BINDINGS: dict[str, Callable[..., Answer]] = {
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
}
