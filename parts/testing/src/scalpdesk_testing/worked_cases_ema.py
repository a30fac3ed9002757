"""Worked cases of the EMA-cloud options scalper: renames arguments and results of the product's own parts."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

from scalpdesk.core.enums import Mode
from scalpdesk.core.events import BarEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, exceeds
from scalpdesk.instruments.sessions import NEW_YORK, Session, new_york_ns, session_on, to_new_york
from scalpdesk.instruments.ticks import CENT_TICK, PENNY_NICKEL
from scalpdesk.signals.conviction import judge_conviction
from scalpdesk.signals.ema_cloud import FAST, CloudCandle, CloudState, Ema, Place, is_exhausted
from scalpdesk.signals.macro_bias import last_closed_start_ns
from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.exits import ScalpTrade, exit_rules, next_exit
from scalpdesk_strategies.ema_scalper.greeks_gate import GreeksGate
from scalpdesk_strategies.ema_scalper.model import ChainRow, OptionsChain, StrikeSelection, TradeSignal
from scalpdesk_strategies.ema_scalper.sizing import ScalpSizer, buy_limit, halves
from scalpdesk_strategies.ema_scalper.strike_selector import StrikeSelector, strike_score
from scalpdesk_strategies.ema_scalper.timing import session_end_ns, time_limit_ns

Answer = dict[str, Any]
CONFIG = ScalpConfig()
DAY = date(2025, 2, 4)
"""A Tuesday with a full session; the sessions after it are the next days."""
RUNAWAY = {"o": 10.2, "h": 10.5, "l": 10.1, "c": 10.4, "top": 10.0, "bot": 9.9}
"""A bar that has left the cloud behind."""
SIGNS = {"long": 1, "short": -1}


def _moment(day: date, clock: str) -> int:
    return new_york_ns(day, time.fromisoformat(clock))


def _ema(xs: Sequence[float], p: int) -> Answer:
    average = Ema(p)
    return {"result": [average.update(float(x)) for x in xs]}


def _last_closed(bar_close: str) -> Answer:
    start_ns = last_closed_start_ns(_moment(DAY, bar_close), _session().open_ns)
    return {"result": None if start_ns is None else f"{to_new_york(start_ns):%H:%M}"}


def _session() -> Session:
    return session_on(DAY)


def _conviction(
    states: Sequence[tuple[bool, str]],
    direction: str,
    ctf: int,
    volr: float | None,
    thick: float,
    body: float,
    factor: float | None,
) -> Answer:
    made = judge_conviction(
        [(1 if bullish else -1, Place(place)) for bullish, place in states],
        SIGNS[direction],
        frames=ctf,
        volume_ratio=volr,
        thickness=thick,
        body_ratio=body,
        factor=factor,
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


def _strike_score(delta: float, bid: float, ask: float, vol: float, oi: int) -> Answer:
    side: Literal["call", "put"] = "call" if delta > 0 else "put"
    row = ChainRow(
        option_symbol="SPY",
        expiry=DAY,
        strike=500.0,
        option_type=side,
        bid=bid,
        ask=ask,
        open_interest=oi,
        volume=vol,
        delta=delta,
    )
    chain = OptionsChain(datetime.combine(DAY, time(10), tzinfo=NEW_YORK), 500.0, [row])
    chosen = StrikeSelector(CONFIG).select("SPY", side, chain)
    return {
        "spread_pct": row.spread_pct,
        "eligible": chosen is not None,
        "score": strike_score(delta, row.spread_pct, vol, oi, CONFIG.max_spread_pct),
    }


def _gate(
    dte: int, ivr: float | None, theta: float, mid: float, sp: float, delta: float, gamma: float
) -> Answer:
    half = 0.5 * sp * mid
    selection = StrikeSelection(
        strike=500.0,
        expiry=DAY + timedelta(days=dte),
        option_type="call",
        option_symbol="SPY",
        delta=delta,
        gamma=gamma,
        theta=theta,
        iv=0.2,
        bid=mid - half,
        ask=mid + half,
        mid=mid,
        spread_pct=sp,
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
        iv_rank=ivr,
    )
    verdict = GreeksGate(CONFIG).validate(selection, signal)
    return {"approved": verdict.approved, "reason": verdict.reason}


def _sizer(eq: float, prem: float, conv: int) -> Answer:
    sizer = ScalpSizer(CONFIG)
    count = sizer.calculate(prem, conv, eq)
    budget = eq * CONFIG.max_risk_per_scalp / float(sizer.risk_per_contract(Decimal(str(prem))))
    first, add = halves(count)
    is_sized = not exceeds(CONFIG.min_conviction_to_scalp, conv)
    return {"raw": budget if is_sized else None, "contracts": count, "first": first, "add": add}


def _f_exit(
    entry: float, px: float, hhmm: str, dte: int, flip_against: bool, exhausted: bool, halt: bool
) -> Answer:
    # the cases name one quote; that the stop takes two in a row is a rule of its own
    config = ScalpConfig(stop_quotes=1)
    trade = ScalpTrade(
        now_ns=_moment(DAY, hhmm),
        mode=Mode.FLATTENING if halt else Mode.ACTIVE,
        entry_price=Decimal(str(entry)),
        price=Decimal(str(px)),
        quote_ns=1,
        deadline_ns=_session().close_ns,
        cutoff_ns=time_limit_ns(_session(), DAY + timedelta(days=dte), config),
        session_end_ns=session_end_ns(_session()),
        is_flipped=flip_against,
        sign=1,
        candles=_candles([RUNAWAY] * 3 if exhausted else []),
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


def _exhausted(bars: Sequence[Mapping[str, float]], side: str) -> Answer:
    return {"result": is_exhausted(_candles(bars), SIGNS[side])}


def _buy_limit(bid: float, ask: float, penny_all: bool = False) -> Answer:
    rule = CENT_TICK if penny_all else PENNY_NICKEL
    return {"result": buy_limit(bid, ask, rule, CONFIG.limit_offset)}


BINDINGS: dict[str, Callable[..., Answer]] = {
    "ema": _ema,
    "last_closed": _last_closed,
    "conviction": _conviction,
    "strike_score": _strike_score,
    "gate": _gate,
    "sizer": _sizer,
    "f_exit": _f_exit,
    "exhausted": _exhausted,
    "buy_limit": _buy_limit,
}
"""Function of the case file to the adapter that answers it."""
