"""Looks of the gamma scalper at a position that it does not hedge: the columns that the band lab hedges.

A run whose hedger only notes what it sees. Orders of the hedge are filled at the instant they are sent where
the broker has no latency, so that a hedged run looks at the same instants, and at the same Greeks.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from scalpdesk.backtesting.simulate import PreparedMarket, assemble_backtest, build_backtest, prepared
from scalpdesk.config.settings import LoadedSettings
from scalpdesk.core.errors import ConfigError, DataError
from scalpdesk.core.units import InstrumentId
from scalpdesk.hedging.base import HedgeInputs
from scalpdesk.hedging.delta_models import DeltaModel
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.pricing.base import Floats
from scalpdesk.research.lab_markets import LabSessions
from scalpdesk.strategies.contract import DeskView, Proposal
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.strategy import GammaScalper
from scalpdesk.strategies.toolkit.hedger import FINE, DeltaHedger, HedgedPosition


class _LookRecorder(DeltaHedger):
    """A hedger that notes every look at which it would judge a hedge, and sends no order."""

    def __init__(self, config: GammaScalperConfig, forecast_vol: Any) -> None:
        hedge = config.hedge
        super().__init__(
            hedge.make_band(),
            DeltaModel(hedge.delta_vol, hedge.fixed_vol, hedge.delta_model, hedge.minimum_variance),
            least_fraction=hedge.least_fraction,
            order_ttl_seconds=hedge.order_ttl_seconds,
            forecast_vol=forecast_vol,
        )
        self.looks: list[tuple[HedgeInputs, float, int]] = []
        """Inputs of a band, half the spread of the underlying's quote, and the least hedge in shares."""

    def step(
        self,
        view: DeskView,
        legs: Sequence[InstrumentId],
        exposure: HedgedPosition | None = None,
        *,
        at_once: bool = False,
    ) -> list[Proposal]:
        """Note the look; the arguments are those of the hedger."""
        del at_once
        number = view.underlying
        quote = view.market.quotes[number]
        if quote is None or view.market.verdict(number, view.now_ns) not in FINE or view.is_halted(number):
            return []
        exposure = exposure or self.measure(view, legs)
        if exposure is not None:
            self.looks.append((exposure.inputs, 0.5 * (quote.ask - quote.bid), exposure.least_shares))
        return []


def record_looks(
    settings: LoadedSettings, market: MarketTape | PreparedMarket, *, seed: int = 1
) -> LabSessions:
    """Run the gamma scalper over one session without a hedge; return its looks as a block of one path.

    The shares are closed at the last look.

    ``settings``: Of the gamma scalper with one underlying that trades in shares.

    Raises ConfigError when the strategy is another, or has several underlyings. Raises DataError when no
    straddle was held in the session.
    """
    market = prepared(market)
    header, engine = build_backtest(settings, market, run_id="", mode="backtest", started_ns=0, seed=seed)
    strategy = engine.strategy
    if not isinstance(strategy, GammaScalper):
        raise ConfigError(
            "the band lab replays the gamma scalper with one underlying",
            where="strategy",
            value=settings.strategy,
            fix="scalpdesk bands takes the gamma scalper's settings",
        )
    recorder = _LookRecorder(strategy.config, strategy.tools.edge.horizon.vol)
    strategy.tools.hedger = recorder
    run = assemble_backtest(settings, market, header, engine, None)
    run.runner.run()
    summary = run.result(0.0).summary()
    day = market.tape.sessions[0].day.isoformat()
    if not recorder.looks:
        raise DataError(
            f"no straddle was held on {day}: {summary['verdict']}",
            where="session",
            value=day,
            fix="take another day, or let the entry through with --set entry.gate=off",
        )
    inputs, spreads, least = zip(*recorder.looks, strict=True)
    first, spot = inputs[0], np.array([each.spot for each in inputs])

    def row(values: Floats) -> Floats:
        return np.ascontiguousarray(np.append(values, values[-1])[None, :])

    def column(name: str) -> Floats:
        return np.array([float(getattr(each, name)) for each in inputs])

    return LabSessions(
        now_ns=np.array([each.now_ns for each in inputs], dtype=np.int64),
        spot=row(spot),
        half_spread=row(np.array(spreads)),
        discount=np.ones(len(inputs) + 1),
        delta=column("net_delta_shares")[None, :],
        gamma=column("gamma_shares_per_usd")[None, :],
        vol=column("vol")[None, :],
        years=column("years"),
        rate=column("rate"),
        option_pnl=np.array([float(summary["pnl"]["total"])]),
        least_steps=np.array(least, dtype=np.float64),
        inputs=first,
        strike=math.nan,  # its deltas were recorded, of whatever strikes
        units=float(first.straddles * first.multiplier),
        high=np.maximum(row(spot)[:, :-1], row(spot)[:, 1:]),
        low=np.minimum(row(spot)[:, :-1], row(spot)[:, 1:]),
        looked=inputs,
    )
