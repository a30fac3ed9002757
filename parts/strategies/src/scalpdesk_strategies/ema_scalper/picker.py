"""Which options the scalper would take, for the strike picker of the dashboard."""

from typing import Literal

from scalpdesk.base import DAYS_PER_YEAR, from_ns
from scalpdesk.strategies import OfferedOption, Pick
from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.model import ChainRow, OptionsChain
from scalpdesk_strategies.ema_scalper.strike_selector import StrikeSelector


def pick(config: ScalpConfig, offered: OfferedOption) -> Pick:
    """Return the selector's score of an option, or the first rule that refuses it."""
    contract = offered.contract
    kind: Literal["call", "put"] = "call" if contract.is_call else "put"
    row = ChainRow(
        option_symbol=contract.symbol,
        expiry=contract.expiry,
        strike=float(contract.strike),
        option_type=kind,
        bid=offered.bid,
        ask=offered.ask,
        open_interest=offered.open_interest,
        volume=offered.volume,
        delta=offered.delta,
        gamma=offered.gamma,
        theta=offered.theta / DAYS_PER_YEAR,
        iv=offered.vol,
    )
    selector = StrikeSelector(config)
    chain = OptionsChain(from_ns(offered.now_ns), offered.spot, [row])
    chosen = selector.select(contract.underlying, kind, chain)
    if chosen is None:
        return Pick(None, next(iter(selector.removed), "not an expiry that is traded"))
    return Pick(chosen.score, "")
