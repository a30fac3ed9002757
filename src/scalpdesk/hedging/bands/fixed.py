"""The seed's dead band: a fixed number of shares per straddle."""

from typing import ClassVar

import msgspec

from scalpdesk.hedging.base import (
    BandVerdict,
    HedgeInputs,
    RehedgeTo,
    check_inputs,
    positive,
    verdict_of_width,
)


class FixedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the fixed band."""

    threshold: float = 2.0
    """Half width in shares per straddle; a hedge needs strictly more (HEDGING_DELTA_THRESHOLD)."""
    rehedge_to: RehedgeTo = "zero"
    """``zero`` (the seed's rule) or ``edge``."""

    def __post_init__(self) -> None:
        positive("threshold", self.threshold, zero_allowed=True)


class FixedBand:
    """Hedge when the net delta per straddle is strictly beyond a fixed threshold."""

    name: ClassVar[str] = "fixed"
    Config = FixedConfig

    def __init__(self, config: FixedConfig | None = None) -> None:
        self.config = FixedConfig() if config is None else config
        self.rehedge_to: RehedgeTo = self.config.rehedge_to

    def judge(self, inputs: HedgeInputs) -> BandVerdict:
        """Return the verdict of ``threshold × straddles`` on the net delta."""
        check_inputs(inputs)
        width = self.config.threshold * inputs.straddles
        return verdict_of_width(
            inputs,
            width,
            self.config.rehedge_to,
            lambda: f"fixed, {self.config.threshold:g} shares × {inputs.straddles}",
        )


PLUG = FixedBand
