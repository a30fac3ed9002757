"""A split between two sessions of a run: decisions are those on the tape that is adjusted already."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cache

import msgspec
import numpy as np
import pytest

from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.intents import Decision, orders_of
from scalpdesk.datasets.embedded import market
from scalpdesk.instruments.corporate_actions import ActionKind, CorporateAction
from scalpdesk.strategies.registry import strategy_names

pytestmark = pytest.mark.second

DAYS = date(2016, 3, 10), date(2016, 3, 11)
CASES = [
    ("gamma-scalper", ("entry.gate=advise", "hedge.threshold_shares=0.5"), 8, 6),
    ("zero-dte", ("entry.mode=straddle", "entry.max_straddle_delta=none"), 30, 3),
    ("st0cka", ("use_mean_reversion=true",), 40, 3),
    ("st0ckg", ("volume_sessions=1",), 60, 2),
    ("hybrid", ("volatility_threshold_for_gamma=0.30",), 10, 30),
    ("ema-scalper", ("min_volume_ratio=0",), 60, 8),
]
"""Strategy, settings, minutes after the second open that are played, least decisions within them."""
MINUTE_NS = 60 * 10**9


def second_day(tape, loaded, minutes):
    """Return what is decided and sent in the first minutes of the second session."""
    header, engine = build_backtest(loaded, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(loaded, tape, header, engine, None)
    open_ns = tape.sessions[1].open_ns
    made, sent = [], []

    def watch(event):
        outputs = handle(event)
        if event.ts_recv_ns >= open_ns:
            made.extend(one for one in outputs if isinstance(one, Decision))
            sent.extend(order for one in outputs for order in orders_of(one))
        return outputs

    handle, engine.handle = engine.handle, watch
    for now_ns in run.runner.steps():
        if now_ns >= open_ns + minutes * MINUTE_NS:
            break
    return made, sent


@cache
def adjusted_tape():
    """Return both sessions in one scale; options are quoted in the second alone: a split makes others."""
    tape = market.reconstruct_span(*DAYS, seed=1)
    quotes, close_ns = tape.quotes.whole(), tape.sessions[0].close_ns
    kept = (quotes.ts_ns > close_ns) | (quotes.instrument_id == 0)
    columns = {name: getattr(quotes, name)[kept] for name in quotes.__dataclass_fields__}
    return replace(tape, quotes=type(quotes)(**columns), bars=tape.bars.whole())


@cache
def without_split(strategy, settings, minutes):
    """Return what is decided and sent where prices had one scale all along."""
    return second_day(adjusted_tape(), load_settings(strategy, overrides=settings), minutes)


def before_split(tape, ratio):
    """Return the tape as it was traded: a share of the first session became ``ratio`` of the second.

    Spreads are ticks before and after: a running average of them needs no other scale.
    """
    quotes, bars, close_ns = tape.quotes, tape.bars, tape.sessions[0].close_ns
    shift = np.where(quotes.ts_ns <= close_ns, (ratio - 1.0) * 0.5 * (quotes.bid + quotes.ask), 0.0)
    prices = np.where(bars.ts_ns <= close_ns, ratio, 1.0)
    action = CorporateAction(symbol="SPY", ex_date=DAYS[1], kind=ActionKind.SPLIT, ratio=Decimal(str(ratio)))
    return replace(
        tape,
        quotes=replace(quotes, bid=quotes.bid + shift, ask=quotes.ask + shift),
        bars=replace(
            bars,
            **{name: getattr(bars, name) * prices for name in ("open", "high", "low", "close")},
            volume=bars.volume / prices,
        ),
        actions=(action,),
    )


def shown(value):
    """Return a figure without the rounding of a scale that is no power of two."""
    return round(value, 7) if isinstance(value, float) else value


@pytest.mark.parametrize("ratio", [4.0, 0.1])
@pytest.mark.parametrize(("strategy", "settings", "minutes", "least"), CASES)
def test_decisions_after_a_split_are_those_on_an_adjusted_tape(
    strategy, settings, minutes, least, ratio, monkeypatch
):
    made, sent = without_split(strategy, settings, minutes)
    assert len(made) >= least

    def as_traded(*args, **named):
        for item in minutes_before(*args, **named):
            scaled = {
                name: tuple(ratio * price for price in getattr(item, name))
                for name in ("open", "high", "low", "close")
            }
            volume = tuple(each / ratio for each in item.volume)
            yield msgspec.structs.replace(item, **scaled, volume=volume)

    minutes_before = market.minutes_before_tape
    monkeypatch.setattr(market, "minutes_before_tape", as_traded)
    loaded = load_settings(strategy, overrides=settings)
    made_after, sent_after = second_day(before_split(adjusted_tape(), ratio), loaded, minutes)
    assert [(each.ts_ns, each.kind, each.reasons) for each in made_after] == [
        (each.ts_ns, each.kind, each.reasons) for each in made
    ]
    for each, other in zip(made_after, made, strict=True):
        assert {k: shown(v) for k, v in each.facts.items()} == {k: shown(v) for k, v in other.facts.items()}
    terms = ("instrument_id", "side", "quantity", "limit_price", "purpose")
    assert [[getattr(each, name) for name in terms] for each in sent_after] == [
        [getattr(each, name) for name in terms] for each in sent
    ]


def test_no_strategy_is_left_out():
    named = {name for case in CASES for name in case[0].split("+")}
    assert named == set(strategy_names()) - {"external"}  # a folder decides in a process of its own
