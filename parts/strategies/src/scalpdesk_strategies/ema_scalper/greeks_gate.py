"""Validation of a contract's Greeks before it is bought."""

from scalpdesk.core.units import exceeds
from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.model import (
    GreeksDecision,
    StrikeSelection,
    TradeSignal,
    days_to_expiry,
)

_REDUCE_FROM = 0.75
"""Share of the IV-rank limit from which on the size is reduced."""


class GreeksGate:
    """Checks IV rank, theta burn, spread, delta and gamma, in this order; a verdict has every reason."""

    def __init__(self, config: ScalpConfig) -> None:
        self.config = config

    def validate(self, selection: StrikeSelection, signal: TradeSignal) -> GreeksDecision:
        """Return the verdict on a contract.

        IV rank, theta and gamma are checked from one day to expiry on: today's options are bought for the
        next minutes, at whatever theta and gamma. An unknown IV rank rejects there.
        """
        config, found = self.config, []
        is_later = days_to_expiry(signal.day, selection.expiry) > 0
        rank, burn = signal.iv_rank, abs(selection.theta) / selection.mid
        if is_later and rank is None:
            found.append(("iv_rank_unknown", "the IV rank is not known"))
        elif is_later and rank is not None and not exceeds(config.max_iv_rank, rank):
            found.append(("iv_rank", f"IV rank {rank:.2f}, must be below {config.max_iv_rank:.2f}"))
        if is_later and not exceeds(config.max_theta_burn_pct, burn):
            most = config.max_theta_burn_pct
            found.append(
                ("theta_burn", f"theta burns {burn:.1%} of the premium a day, must be below {most:.1%}")
            )
        if not exceeds(config.max_spread_pct, selection.spread_pct):
            most = config.max_spread_pct
            found.append(
                ("spread", f"spread {selection.spread_pct:.1%} of the mid, must be below {most:.1%}")
            )
        low, high, delta = config.target_delta_min, config.target_delta_max, abs(selection.delta)
        if not (low - 1e-12 <= delta <= high + 1e-12):
            found.append(("delta", f"delta {delta:.3f} outside of {low:.2f} to {high:.2f}"))
        if is_later and not config.max_gamma + 1e-12 >= selection.gamma:
            found.append(("gamma", f"gamma {selection.gamma:.3f} above {config.max_gamma:.3f}"))
        if found:
            return GreeksDecision(False, found[0][0], None, tuple(f"{code}: {text}" for code, text in found))
        is_dear = is_later and rank is not None and not exceeds(_REDUCE_FROM * config.max_iv_rank, rank)
        return GreeksDecision(True, None, {"reduce_size": True} if is_dear else None)
