"""A desk on a day of the embedded market at a time of day, and the tools of a structure on it."""

from datetime import date, time
from typing import Any

from scalpdesk.backtesting.simulate import assemble_backtest, build_backtest
from scalpdesk.base import new_york_ns, options_in_order
from scalpdesk.config.settings import load_settings
from scalpdesk.datasets.embedded import market
from scalpdesk.entry.selector import SelectionConfig
from scalpdesk.entry.shapes import StructureConfig
from scalpdesk.strategies import DeskView
from scalpdesk.strategies.gamma_scalper.config import EntryConfig, GammaScalperConfig
from scalpdesk.strategies.gamma_scalper.trade import ScalperTools


def view_at(day: date, clock: str) -> DeskView:
    """Run a session that trades nothing up to a New York time; return the desk's view."""
    loaded = load_settings("gamma-scalper", overrides=("entry.gate=off", "entry.not_before=15:29"))
    tape = market.reconstruct(day, seed=1)
    header, engine = build_backtest(loaded, tape, run_id="r", mode="backtest", started_ns=0, seed=1)
    run = assemble_backtest(loaded, tape, header, engine, None)
    ends_ns = new_york_ns(day, time.fromisoformat(clock))
    for now_ns in run.runner.steps():
        if now_ns >= ends_ns:
            break
    return engine.desk.view


def tools_of(view: DeskView, forecast_vol: float = 0.2, **structure: Any) -> ScalperTools:
    """Return the scalper's tools for a structure with these settings, on a view."""
    symbol = view.instruments[view.underlying].symbol
    tools = ScalperTools(
        GammaScalperConfig(
            underlying=symbol,
            structure=StructureConfig(**structure),
            selection=SelectionConfig(min_expiration_days=20, max_expiration_days=60),
            entry=EntryConfig(forecast_vol=forecast_vol, max_straddle_delta=None),
        )
    )
    tools.learn(options_in_order(view.instruments, symbol), view)
    return tools


def best_of(tools: ScalperTools, view: DeskView, structures: Any = None) -> Any:
    """Return the candidate that the tools would open, or None."""
    listed = tools.structures(view) if structures is None else structures
    spot = view.market.mark(view.underlying)
    assert spot is not None
    return tools.selector.select(listed, view.market, view.delta_engine, spot, view.now_ns).best


def edge_of(tools: ScalperTools, candidate: Any, view: DeskView) -> Any:
    """Return the gate's figures of a candidate."""
    return tools.edge.judge(candidate, view, tools.hedger).facts
