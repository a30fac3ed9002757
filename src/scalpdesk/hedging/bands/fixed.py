"""The seed's dead band: a fixed number of shares per straddle."""

import math
from typing import Annotated, ClassVar

import numpy as np

from scalpdesk.core.bounds import BoundedSettings, at_least
from scalpdesk.hedging.base import (
    Array,
    BandVerdict,
    HedgeInputs,
    QuietBand,
    RehedgeTo,
    check_inputs,
    verdict_of_width,
    words_of_delta,
)

DEFAULT_PART = 0.02
"""Fraction of a contract's shares: two of a hundred shares, as the seed's band."""


class FixedConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True):
    """Settings of the fixed band."""

    threshold: Annotated[float, at_least(0, math.inf, "shares or coins")] | None = None
    """Half width in shares (or coins) per straddle; a hedge needs strictly more (HEDGING_DELTA_THRESHOLD).
    None: two of a hundred shares, and in proportion of another contract.
    """
    rehedge_to: RehedgeTo = "zero"
    """``zero`` (the seed's rule) or ``edge``."""


class FixedBand:
    """Hedge when the net delta per straddle is strictly beyond a fixed threshold."""

    name: ClassVar[str] = "fixed"
    Config = FixedConfig

    def __init__(self, config: FixedConfig | None = None) -> None:
        self.config = FixedConfig() if config is None else config
        self.rehedge_to: RehedgeTo = self.config.rehedge_to

    def threshold(self, multiplier: int) -> float:
        """Return the half width in shares per straddle."""
        given = self.config.threshold
        return DEFAULT_PART * multiplier if given is None else given

    def judge(self, inputs: HedgeInputs) -> BandVerdict:
        """Return the verdict of ``threshold × straddles`` on the net delta."""
        check_inputs(inputs)
        threshold = self.threshold(inputs.multiplier)
        width = threshold * inputs.straddles
        return verdict_of_width(
            inputs,
            width,
            self.config.rehedge_to,
            lambda: f"fixed, {threshold:g} {words_of_delta(inputs.underlying)[0]} × {inputs.straddles}",
        )

    def quiet(self, inputs: HedgeInputs, verdict: BandVerdict) -> QuietBand | None:
        """Return the width: always the same."""
        del inputs
        return QuietBand(verdict.half_width_shares, to_edge=self.rehedge_to == "edge")

    def half_widths(self, inputs: HedgeInputs, gammas: Array) -> Array:
        """Return the half width at each gamma, shares: always the same.

        Raises ArgumentError when an input is not finite or out of its range.
        """
        check_inputs(inputs)
        return np.full(gammas.shape, self.threshold(inputs.multiplier) * inputs.straddles)


PLUG = FixedBand
