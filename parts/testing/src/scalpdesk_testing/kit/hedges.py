"""The fixed band's hedge of a position, in whole shares, as the desk works it out."""

from scalpdesk.hedging.bands.fixed import FixedBand, FixedConfig
from scalpdesk.hedging.sizing import quantity_to_target
from scalpdesk.plugins import HedgeInputs


def hedge_quantity(options: float, owned: int, pending: int, straddles: int, threshold: float) -> int:
    """Return signed shares to trade; 0 while the net delta is within the threshold a straddle."""
    net = options + owned + pending
    inputs = HedgeInputs(net, 2.0 * straddles, 500.0, 0.1, 0.2, 0.0, straddles, 100, 0.0, 0.0)
    verdict = FixedBand(FixedConfig(threshold=threshold)).judge(inputs)
    return quantity_to_target(net, verdict.target_delta_shares)
