"""Settings of the gamma scalper: entry, hedge, recentring, and all of them together."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from scalpdesk.core.bounds import BoundedSettings, KeyPath, Seconds, above, at_least, time_of_day
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import LegOrders
from scalpdesk.entry.edge_gate import EdgeGate, EdgeGateConfig
from scalpdesk.entry.selector import MAX_STRADDLE_DELTA, SelectionConfig
from scalpdesk.entry.shapes import StructureConfig
from scalpdesk.hedging.base import HedgeBand, make_band
from scalpdesk.hedging.delta_models import MINIMUM_VARIANCE, DeltaVol, Dynamics
from scalpdesk.instruments.events import LISTED, EventKind
from scalpdesk.pricing.smile_level import Level
from scalpdesk.strategies.contract import Beta
from scalpdesk.strategies.toolkit.exits import CLOSES, ExitConfig
from scalpdesk.strategies.toolkit.sizing import ScaleConfig, SizeConfig, Sizing
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk.strategies.toolkit.watch import WatchConfig

AUTO = "auto"
Vol = Annotated[float, above(0, 5, "a volatility as a fraction a year: 0.20 is 20 %")]


class EntryConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Entry: its window, its gate and its orders."""

    section = "entry"
    gate: Literal["enforce", "advise", "off", "none"] = "enforce"
    """``enforce`` buys only with an edge; ``advise`` states its verdict and buys; ``off`` does the same
    and takes no notice later either: no exit for a lost edge, no change of size; ``none`` computes no edge.
    """
    min_edge_usd: Annotated[float, above(-1e6, 1e6, "currency a straddle")] = 5.0
    k_stderr: Annotated[float, at_least(0, 10, "a number of standard errors")] = 1.0
    min_vol_ratio: Annotated[float, at_least(0, 10, "forecast over implied volatility")] = 1.05
    """``min_edge_usd``, ``k_stderr``, ``min_vol_ratio``: Thresholds of the gate: net edge a straddle in USD,
    standard errors it must exceed, forecast over implied. An enforced gate is asked through the whole window:
    noise reaches its bar there as often as ``k_stderr`` at one look (16 % for 1, with 2.6 over the default
    window).
    """
    passes: ClassVar[int] = 3
    pass_seconds: ClassVar[float] = 60.0
    """``passes``, ``pass_seconds``: An enforced gate must let an entry through so many times in a row, at
    least so far apart; it is asked no sooner, and not at each tick.
    """
    max_straddle_delta: Annotated[float, above(0, 100, "shares of 100")] | None = MAX_STRADDLE_DELTA
    """Largest delta of a straddle at entry, shares of 100, whatever the gate; None takes any. A straddle far
    from the money is a bet on direction that the hedge sells at once.
    """
    horizon_days: Annotated[float, above(0, 252, "trading days")] = 5.0
    """Trading days (calendar days where trading never stops) over which the edge is counted: the variance to
    there moves to the forecast. A straddle that expires sooner counts to its expiry.
    """
    level: ClassVar[Level] = "swap"
    """Level of the market's smile that the forecast is compared with: of its variance swap, as a forecast of
    realised variance is one.
    """
    event_sessions: dict[EventKind, float] = msgspec.field(default_factory=dict)
    """Variance of a scheduled event in sessions, by kind (``fomc``, ``cpi``, ``payrolls``): the forecast to
    the horizon has more when more of them lie ahead than on average, and less when fewer do. FOMC statements
    measured 0.8. From 2024 on they weigh on the session clock and are not added; of a coin they are.
    """
    forecast_vol: Vol | None = None
    """Use this volatility (fraction a year) instead of the run's forecast and what the session realises."""
    not_before: str = "09:35"
    not_after: str = "15:30"
    """``not_before``, ``not_after``: New York times (``HH:MM``) between which an entry may be made."""
    order_ttl_seconds: Seconds = 15.0
    """A leg's order that has not been filled by then is cancelled and gets a new price."""
    max_attempts: Annotated[int, at_least(1, 1_000, "a number of orders")] = 5
    """So often after the first; then whole sets that were opened are kept, and other legs closed again."""
    walk_steps: Annotated[int, at_least(0, 100, "a number of steps")] = 0
    """Entry and exit begin at the mid and go to the far side in so many steps, ``order_ttl_seconds`` each; 0
    begins at the far side. What the walk saved and what the market moved meanwhile is reported.
    """
    again_after_exit: bool = False
    """Look for another entry in the same session after an exit; the next session always looks again."""
    again_minutes: Annotated[float, at_least(0, 1_440, "minutes within a day")] = 0.0
    """So long after that exit at the earliest."""
    max_entries: Annotated[int, above(0, 1_000, "a number of entries")] | None = None
    """Entries of one session at most; None for no limit."""
    again_next_session: bool = True
    """False of a run of an earlier version alone: its first exit was its last."""
    orders: LegOrders = LegOrders.AUTO
    """Orders of a straddle's legs, in and out: ``combo`` is one order, ``legs`` an order for each leg,
    ``auto`` one order where the venue takes it, as the simulated broker of a backtest does.
    """

    @property
    def asks_edge(self) -> bool:
        """Whether an entry is judged by its edge at all."""
        return self.gate != "none"

    @property
    def window_seconds(self) -> float:
        """Time for which the gate is asked until it passes, seconds; 0 where the first look buys."""
        if self.gate != "enforce":
            return 0.0
        first, last = (time_of_day("entry", at) for at in (self.not_before, self.not_after))
        return 3_600.0 * (last.hour - first.hour) + 60.0 * (last.minute - first.minute)

    def make_gate(self) -> EdgeGate:
        """Return the gate with the thresholds."""
        return EdgeGate(
            EdgeGateConfig(
                min_edge_usd=self.min_edge_usd,
                k_stderr=self.k_stderr,
                min_vol_ratio=self.min_vol_ratio,
                window_seconds=self.window_seconds,
            )
        )

    def __post_init__(self) -> None:
        """Refuse figures out of bounds, texts that are no times, and a window that is empty."""
        super().__post_init__()
        for kind, size in self.event_sessions.items():
            if kind not in LISTED or not 0.0 <= size <= 10.0:
                raise ConfigError(
                    "the variance of an event is a number of sessions from 0 to 10, of a listed kind",
                    where=f"entry.event_sessions.{kind}",
                    value=size,
                    fix=f"use one of {', '.join(LISTED)}, e.g. fomc = 0.8",
                )
        first = time_of_day("entry.not_before", self.not_before)
        if time_of_day("entry.not_after", self.not_after) < first:
            if first > CLOSES:
                raise ConfigError(
                    f"the entry window is empty: the session ends at {CLOSES:%H:%M} New York at the latest",
                    where="entry.not_before",
                    value=self.not_before,
                    fix=f"set entry.not_before=09:35, or any time before {self.not_after} (entry.not_after)",
                )
            raise ConfigError(
                "the entry window is empty: its end lies before its start",
                where="entry.not_after",
                value=self.not_after,
                fix=f"set entry.not_after={self.not_before} (entry.not_before) or later",
            )


class HedgeConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Delta hedge: its band, its model of the delta and its orders."""

    section = "hedge"
    instrument: str | None = None
    """Instrument that hedges in the underlying's place: a share (``SPY``), a future's root (``ES``, the front
    contract) or contract (``ES_202103``). It holds the dollar delta times beta; None is the underlying.
    """
    beta: Beta = 1.0
    """Return of the underlying for one of that instrument."""
    band: str = AUTO
    """A hedge band by name: ``fixed``, ``whalley_wilmott``, ``zakamouline``, ``leland``, ``time_based``,
    ``regime_threshold`` or a plug-in's; ``auto`` is ``fixed`` where ``threshold_shares`` is set and
    ``whalley_wilmott`` otherwise, from what the run's own hedges cost.
    """
    threshold_shares: Annotated[float, at_least(0, 100, "shares per straddle")] | None = None
    """Half width of the fixed band, shares per straddle (HEDGING_DELTA_THRESHOLD)."""
    band_settings: dict[str, float | str] = msgspec.field(default_factory=dict)
    """Settings of the chosen band's own ``Config``."""
    least_fraction: Annotated[float, at_least(0, 1, "a part of the band's half width: 0.5 is half")] = 0.5
    """A hedge of less than this part of the band's half width is not sent: a delta that drifts along the edge
    is not brought back a share at a time. 0 sends every one.
    """
    delta_vol: DeltaVol = "smile"
    """Volatility of the hedge's delta; see :class:`~scalpdesk.hedging.delta_models.DeltaModel`."""
    delta_model: Dynamics = "sticky_strike"
    """Rule by which a strike's volatility moves with the spot: ``sticky_strike`` (not at all),
    ``sticky_delta`` or ``minimum_variance`` (Hull and White 2017); compared in docs/evidence/hedging.md.
    """
    minimum_variance: tuple[float, float, float] = MINIMUM_VARIANCE
    """Coefficients a, b, c of the last; :func:`scalpdesk.hedging.fit_minimum_variance` fits them to data, the
    default's are those of the embedded market at 30 days and a VIX of 16.
    """
    fixed_vol: Vol | None = None
    """For ``fixed``: a fraction a year."""
    order_ttl_seconds: Seconds = 5.0
    """A hedge order that has not been filled by then is cancelled and gets a new size."""
    passive_seconds: Seconds | None = None
    """A hedge rests for so long as a limit at the near side and crosses then, or once the delta has left
    twice the band; None crosses at once.
    """

    def __post_init__(self) -> None:
        """Refuse figures out of bounds, and a fixed volatility that is not given."""
        super().__post_init__()
        if self.delta_vol == "fixed" and not (self.fixed_vol is not None and self.fixed_vol > 0):
            raise ConfigError(
                "hedging at a fixed volatility needs one",
                where="hedge.fixed_vol",
                value=self.fixed_vol,
                fix="set hedge.fixed_vol to a fraction a year, e.g. 0.20",
            )

    def make_band(self) -> HedgeBand:
        """Return the chosen band with its settings."""
        settings: dict[str, object] = dict(self.band_settings)
        name = self.band
        if name == AUTO:
            name = "whalley_wilmott" if self.threshold_shares is None else "fixed"
        if name == "fixed" and self.threshold_shares is not None:
            settings.setdefault("threshold", self.threshold_shares)
        return make_band(name, settings)


class RecentreConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Recentring to the money, and rolling to a later expiry."""

    section = "recentre"
    roll_dte: Annotated[int, above(0, 3_650, "calendar days to expiry")] | None = None
    """Calendar days to expiry from which on the straddle is rolled to the best one that expires later and
    passes the entry gate; above ``exits.min_dte``, which leaves what was not rolled. None switches it off.
    """
    gamma_fraction: (
        Annotated[float, above(0, 1, "a fraction of the gamma at the new strike: 0.5 is half")] | None
    ) = None
    """Fraction of the new strike's gamma: below it, and where the higher gamma earns more over the horizon
    than both straddles' half spreads cost, the straddle is moved. None switches it off.
    """
    roll_delta: Annotated[float, above(0, 1, "a delta: 0.40 is 40 of 100")] | None = None
    """Delta of a leg that was sold, by size: beyond it the structure is rolled to one of the same expiry or a
    later one whose sold legs are all within it. None switches it off.
    """
    roll_for_credit: bool = False
    """Roll only where what the new structure brings, less what closing the old one costs, is a credit after
    both spreads and fees; else the roll is refused with its figures.
    """
    check_seconds: ClassVar[float] = 300.0
    """Between two comparisons."""

    @property
    def is_on(self) -> bool:
        """Whether a rule moves or rolls what is held."""
        rules = self.roll_dte, self.gamma_fraction, self.roll_delta
        return any(rule is not None for rule in rules)


def _below(days: int) -> str:
    """Return the most days that lie below others, as a setting."""
    return str(days - 1) if days else "null"


class GammaScalperConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of the gamma scalper."""

    underlying: str = "SPY"
    """Underlying of the straddle and of its hedge (HEDGING_ASSET); several with commas between them have a
    straddle each, hedged with their own shares, and equal parts of the equity.
    """
    straddles: Annotated[int, above(0, 100_000, "a number of straddles")] = 1
    """Number of straddles (STRATEGY_MULTIPLIER)."""
    sizing: Sizing = "fixed"
    """Rule that sets the number: ``fixed`` is ``straddles``; ``premium_fraction``, ``vega`` and
    ``theta_budget`` are budgets in shares of the equity, ``kelly_fraction`` goes by the measured edge over
    the variance of the P&L.
    """
    size: SizeConfig = msgspec.field(default_factory=SizeConfig)
    """Shares and limits of a size that is not fixed."""
    mode: Literal["init", "resume", "adopt", "adopt_only"] = "init"
    """``init`` closes what is held in the underlying and opens afresh; ``resume`` adopts it, where it is the
    structure of the settings; ``adopt`` takes over any options that are held, at any time, and opens the
    structure where nothing is; ``adopt_only`` opens nothing. Shares count as its hedge once it holds options.
    """
    structure: StructureConfig = msgspec.field(default_factory=StructureConfig)
    selection: SelectionConfig = msgspec.field(default_factory=SelectionConfig)
    entry: EntryConfig = msgspec.field(default_factory=EntryConfig)
    triggers: TriggersConfig = msgspec.field(default_factory=TriggersConfig)
    hedge: HedgeConfig = msgspec.field(default_factory=HedgeConfig)
    recentre: RecentreConfig = msgspec.field(default_factory=RecentreConfig)
    scale: ScaleConfig = msgspec.field(default_factory=ScaleConfig)
    exits: ExitConfig = msgspec.field(default_factory=ExitConfig)
    watch: WatchConfig = msgspec.field(default_factory=WatchConfig)
    """``structure``, ``selection``, ``entry``, ``triggers``, ``hedge``, ``recentre``, ``scale``, ``exits``,
    ``watch``: See their own fields.
    """

    @classmethod
    def follow_given(cls, given: Mapping[KeyPath, Any]) -> Mapping[KeyPath, tuple[Any, KeyPath]]:
        """Let ``exits.min_dte`` lie below a window of expiries that begins at its default or sooner."""
        nearest_key, usual = ("selection", "min_expiration_days"), ExitConfig().min_dte
        try:
            nearest = int(given[nearest_key])
        except (KeyError, TypeError, ValueError):  # not given, or refused where it is read
            return {}
        if usual is None or nearest > usual:
            return {}
        return {("exits", "min_dte"): (nearest - 1 if nearest else None, nearest_key)}

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        super().__post_init__()
        close_at = self.exits.close_at
        if close_at is not None and (
            time_of_day("exits.close_at", close_at) <= time_of_day("entry.not_before", self.entry.not_before)
        ):
            raise ConfigError(
                f"all is closed at {close_at}, before anything may be opened: what was bought at"
                f" {self.entry.not_before} would be sold at once",
                where="exits.close_at",
                value=close_at,
                fix=f"set exits.close_at=15:45, or entry.not_before to a time before {close_at}",
            )
        least = self.exits.min_dte
        if least is not None and least >= self.selection.min_expiration_days:
            raise ConfigError(
                "a straddle bought at the near end of the expiry window would be sold at once",
                where="exits.min_dte",
                value=least,
                fix=f"set exits.min_dte={_below(self.selection.min_expiration_days)}:"
                f" below selection.min_expiration_days, which is {self.selection.min_expiration_days},"
                " or null to hold into expiry",
            )
        if self.recentre.roll_delta is not None and not self.structure.most_sold:
            raise ConfigError(
                "a structure without sold legs is rolled by no delta of theirs",
                where="recentre.roll_delta",
                value=self.recentre.roll_delta,
                fix="leave it out, or set structure.shape or structure.side to one that sells options",
            )
        roll, nearest = self.recentre.roll_dte, self.selection.min_expiration_days
        if roll is not None and not (-1 if least is None else least) < roll < nearest:
            raise ConfigError(
                "a straddle is rolled after it was bought and before it is left",
                where="recentre.roll_dte",
                value=roll,
                fix=f"set recentre.roll_dte below {nearest} (selection.min_expiration_days)"
                + ("" if least is None else f" and above {least} (exits.min_dte)"),
            )
