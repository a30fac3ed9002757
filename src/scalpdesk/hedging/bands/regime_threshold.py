"""A threshold in contract deltas that is tighter while dealers, or the position itself, are short gamma.

Deltas are in *contract deltas*: one share of the underlying is ``1 / multiplier`` of one. With a
multiplier of 1 a quantity is in share-equivalents: 10 at a delta of 0.65 are 6.5 shares, and with a
multiplier of 100 they are 650. The rule is exact; floats are read to a billionth of a share.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, ClassVar, Literal

import msgspec

from scalpdesk.core.bounds import BoundedSettings, above, at_least
from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.units import DAY_SECONDS, NANOS_PER_SECOND, NEVER_NS, ZERO, exact
from scalpdesk.hedging.base import BandVerdict, HedgeInputs, QuietBand, check_inputs
from scalpdesk.instruments.events import fomc_blocked
from scalpdesk.marketdata.dealer_gamma import (
    MAX_AGE_SECONDS,
    STANDARD_THRESHOLD,
    TIGHT_THRESHOLD,
    known_exposure_usd,
    threshold_by_dealers,
    threshold_by_own_gamma,
)

ONE = Decimal(1)
Deltas = Annotated[Decimal, above(0, 1e9, "contract deltas")]
_SecondsOfDay = Annotated[float, at_least(0, DAY_SECONDS, "seconds within a day")]
Facts = dict[str, str | float | int]
_HedgeReason = Literal["delta_hedge", "within_threshold", "rate_limited", "rounds_to_zero"]


class RegimeThresholdConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the threshold by regime."""

    threshold: Deltas = STANDARD_THRESHOLD
    """Contract deltas that the net delta may be off by, inclusive."""
    threshold_negative_gex: Deltas = TIGHT_THRESHOLD
    """The tight one."""
    seconds_between_hedges: _SecondsOfDay = 60.0
    """Shortest time between two hedges."""
    regime: Literal["dealers", "own_gamma", "standard"] = "dealers"
    """Condition of the tight threshold: ``dealers`` that are known to be short gamma, the desk's
    ``own_gamma`` below zero, or ``standard``: nothing.
    """
    gex_symbol: str = "SPX"
    """Symbol whose dealer gamma counts, for SPY too; while nothing is known of it, the underlying's own."""
    gex_max_age_seconds: _SecondsOfDay = MAX_AGE_SECONDS
    """Deprecated for ``gex.max_age_seconds``, which holds where it is set and this is not."""
    macro_widening: Annotated[Decimal, above(0, 10, "a factor")] = ONE
    """Factor on the threshold within half an hour of a rate decision of the Federal Reserve; 1: no change."""

    def __post_init__(self) -> None:
        """Refuse thresholds and times that cannot work."""
        super().__post_init__()
        if self.threshold_negative_gex > self.threshold:
            raise ConfigError(
                "the threshold while dealers are short gamma is the tighter one",
                where=self.key_path("threshold_negative_gex"),
                value=str(self.threshold_negative_gex),
                fix=f"at most the standard threshold, which is {self.threshold}",
            )


class RegimeThresholdBand:
    """Hedge to zero beyond a threshold, at most once in a while; the regime chooses the threshold."""

    name: ClassVar[str] = "regime_threshold"
    Config = RegimeThresholdConfig

    def __init__(self, config: RegimeThresholdConfig | None = None) -> None:
        self.config = RegimeThresholdConfig() if config is None else config

    def threshold(self, inputs: HedgeInputs) -> tuple[Decimal, Facts]:
        """Return the regime's threshold in contract deltas, and its figures."""
        config = self.config
        facts: Facts = {"regime": config.regime}
        known = None
        # the index stands for its funds; without it, the underlying's own
        for symbol in (config.gex_symbol, inputs.underlying):
            event = inputs.dealer_gamma.get(symbol)
            known = known_exposure_usd(event, inputs.now_ns, max_age_seconds=config.gex_max_age_seconds)
            if known is not None:
                facts[f"gex_usd_{symbol}"] = known
                break
        standard, tight = config.threshold, config.threshold_negative_gex
        if config.macro_widening != 1 and fomc_blocked(inputs.now_ns):
            standard, tight = standard * config.macro_widening, tight * config.macro_widening
            facts["macro_widening"] = float(config.macro_widening)
        if config.regime == "standard":
            return standard, facts
        if config.regime == "own_gamma":
            return threshold_by_own_gamma(inputs.gamma_shares_per_usd, standard=standard, tight=tight), facts
        return threshold_by_dealers(known, standard=standard, tight=tight), facts

    def quiet(self, inputs: HedgeInputs, verdict: BandVerdict) -> QuietBand | None:
        """Return the threshold that holds while the regime does: until what is known of dealers is too old.

        None where a hedge waits for the clock, or the regime goes by the position's own gamma or by events.
        """
        config, width = self.config, verdict.half_width_shares
        if config.regime == "own_gamma" or config.macro_widening != 1 or abs(inputs.net_delta_shares) > width:
            return None
        age_ns = int(config.gex_max_age_seconds * NANOS_PER_SECOND)
        ages = (each.ts_event_ns + age_ns for each in inputs.dealer_gamma.values())
        return QuietBand(width, until_ns=min((at for at in ages if at >= inputs.now_ns), default=NEVER_NS))

    def judge(self, inputs: HedgeInputs) -> BandVerdict:
        """Return whether the net delta is within the threshold, or the last hedge too recent."""
        check_inputs(inputs)
        threshold, facts = self.threshold(inputs)
        net = exact(inputs.net_delta_shares, 9) / inputs.multiplier
        since_ns = int(inputs.seconds_since_hedge * NANOS_PER_SECOND)
        seconds = self.config.seconds_between_hedges
        lots = exact(inputs.multiplier / inputs.smallest_hedge, 9)
        verdict = judge_hedge(net, lots, threshold, since_ns, seconds)
        net_text = f"net delta {inputs.net_delta_shares:+.2f} shares, {net:+.4f} contracts,"
        reason = {
            "delta_hedge": f"{net_text} is beyond {threshold}: hedge to zero",
            "within_threshold": f"{net_text} is within {threshold}: no hedge",
            "rate_limited": f"{net_text} {inputs.seconds_since_hedge:.0f} s since the last hedge: no hedge",
            "rounds_to_zero": f"{net_text} is less than the smallest hedge: no hedge",
        }[verdict.reason]
        facts |= {"net_delta_contracts": float(net), "threshold_contracts": float(threshold)}
        inside = not verdict.quantity_shares
        target = inputs.net_delta_shares if inside else 0.0
        return BandVerdict(float(threshold) * inputs.multiplier, target, inside, reason, facts)


class HedgeVerdict(msgspec.Struct, frozen=True):
    """The rule's verdict, and its inputs."""

    net_delta: Decimal
    """Contract deltas."""
    threshold: Decimal
    quantity_shares: int
    """Signed: above zero is a buy. 0 unless ``reason`` is ``delta_hedge``."""
    reason: _HedgeReason


def net_delta(
    positions: Iterable[tuple[Decimal, Decimal]], hedge_shares: Decimal, multiplier: int
) -> Decimal:
    """Return the net delta in contract deltas: options, and the shares that hedge them.

    ``positions``: Delta per unit and signed quantity of each option position.
    ``hedge_shares``: Signed shares of the underlying held or on their way; each has a delta of one.
    ``multiplier``: Units of the underlying in one contract; 1 where quantities are share-equivalents.

    Raises ArgumentError when the multiplier is below one.

    >>> net_delta([(Decimal("0.65"), Decimal(10))], Decimal(-650), 100)
    Decimal('0.00')
    """
    if multiplier < 1:
        raise ArgumentError("a contract has at least one unit", where="multiplier", value=multiplier)
    options = sum((delta * quantity for delta, quantity in positions), ZERO)
    return options + hedge_shares / multiplier if hedge_shares else options


def hedge_shares_for(net: Decimal, multiplier: Decimal | int) -> int:
    """Return the signed shares that neutralise ``net`` contract deltas, ties away from zero.

    >>> hedge_shares_for(Decimal("6.5"), 1), hedge_shares_for(Decimal("-6.5"), 1)
    (-7, 7)
    """
    return int((-net * multiplier).quantize(ONE, rounding=ROUND_HALF_UP))


def judge_hedge(
    net: Decimal,
    multiplier: Decimal | int,
    threshold: Decimal,
    since_hedge_ns: int | None,
    seconds_between_hedges: float = 60.0,
) -> HedgeVerdict:
    """Decide whether to hedge now, and by how many shares.

    The net delta must be beyond the threshold, not at it; the last hedge at least so many seconds
    ago (exactly as many is enough); and the shares must round to one at least.

    ``net``: Net delta in contract deltas, the shares held included.
    ``multiplier``: Shares, or smallest trades of another hedge, in one contract.
    ``threshold``: Contract deltas.
    ``since_hedge_ns``: Nanoseconds of event time since the last hedge; None before the first.
    ``seconds_between_hedges``: Shortest time between two hedges.
    """
    if abs(net) <= threshold:
        return HedgeVerdict(net, threshold, 0, "within_threshold")
    if since_hedge_ns is not None and since_hedge_ns < seconds_between_hedges * NANOS_PER_SECOND:
        return HedgeVerdict(net, threshold, 0, "rate_limited")
    shares = hedge_shares_for(net, multiplier)
    if not shares:
        return HedgeVerdict(net, threshold, 0, "rounds_to_zero")
    return HedgeVerdict(net, threshold, shares, "delta_hedge")


PLUG = RegimeThresholdBand
