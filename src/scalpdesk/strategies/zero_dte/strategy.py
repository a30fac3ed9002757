"""The 0DTE gamma scalper: hedge the options that expire today, and be out before the venue closes them.

It is the gamma scalper with other settings: options of today alone, whatever of them the account holds or a
structure opened when asked for, the threshold by regime, and a deadline from which on it only leaves. What a
late fill or a broken trade brings back is left again.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from scalpdesk.core.bounds import BoundedSettings, above, at_least, time_of_day
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.core.intents import LegOrders, SetTimer
from scalpdesk.entry.selector import MAX_STRADDLE_DELTA, SelectionConfig
from scalpdesk.entry.shapes import StructureConfig
from scalpdesk.hedging.bands.regime_threshold import RegimeThresholdBand, RegimeThresholdConfig
from scalpdesk.hedging.base import HedgeBand, make_band
from scalpdesk.instruments.broker_terms import cutoff_names, venue_cutoff
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.deadlines import BUFFER_MINUTES, EXIT_MINUTES, exit_deadline_ns
from scalpdesk.instruments.sessions import REGULAR_CLOSE, final_close_ns, to_new_york
from scalpdesk.strategies.contract import (
    Action,
    Beta,
    DeskView,
    Facts,
    HedgeTerms,
    Proposal,
    StrategySpec,
)
from scalpdesk.strategies.gamma_scalper.config import (
    EntryConfig,
    GammaScalperConfig,
    HedgeConfig,
    RecentreConfig,
)
from scalpdesk.strategies.gamma_scalper.strategy import StructureScalper
from scalpdesk.strategies.gamma_scalper.trade import Manner, ScalperTools
from scalpdesk.strategies.several.strategy import one_for_each
from scalpdesk.strategies.toolkit.exits import ExitConfig, PremiumExits, minutes_before
from scalpdesk.strategies.toolkit.hedger import DeltaHedger
from scalpdesk.strategies.toolkit.triggers import TriggersConfig
from scalpdesk.strategies.toolkit.watch import HedgeMeter
from scalpdesk.strategies.zero_dte.watch import ZeroDteWatch

NAME = "zero-dte"
_EXIT_AT = "15:45"
AUTO = "auto"
_TODAY = SelectionConfig(min_expiration_days=0, max_expiration_days=1, min_open_interest=-1)
"""Selection of what trades last today: options that are dated a Saturday among it."""


def _shared(own: msgspec.Struct, other: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the settings that another type has under the same name."""
    return {name: getattr(own, name) for name in own.__struct_fields__ if name in other.__struct_fields__}


_OrderSeconds = Annotated[float, at_least(0.1, 3_600, "seconds, not milliseconds")]


class ZeroDteEntry(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the options come from."""

    section = "entry"
    mode: Literal["adopt", "straddle"] = "adopt"
    """``adopt`` hedges what the account holds and buys nothing; ``straddle`` opens the structure of
    ``structure``, a straddle at the strike nearest the forward unless another is named, where no option that
    expires today is held already.
    """
    straddles: Annotated[int, at_least(1, 100_000, "a number of straddles")] = 1
    """So many, for ``straddle``."""
    max_straddle_delta: Annotated[float, at_least(0.1, 100, "shares of 100")] | None = MAX_STRADDLE_DELTA
    """Largest delta of a straddle at entry, shares of 100; the strike nearest the forward is awaited until it
    has no more. None takes any.
    """
    at: str = "09:45"
    not_after: str = "14:00"
    """``at``, ``not_after``: New York times (``HH:MM``) between which they are bought."""
    order_ttl_seconds: _OrderSeconds = 15.0
    """A leg's order that has not been filled by then is cancelled and gets a new price."""
    max_attempts: Annotated[int, at_least(1, 1_000, "a number of orders")] = 5
    """So often; then what was bought is sold again."""
    orders: LegOrders = LegOrders.AUTO
    """Orders of a straddle's legs, in and out: ``combo`` is one order, ``legs`` an order for each leg,
    ``auto`` one order where the venue takes it, as the simulated broker of a backtest does.
    """
    again_after_exit: bool = False
    """Look for another entry in the session after an exit before its deadline."""
    again_minutes: Annotated[float, at_least(0, 1_440, "minutes within a day")] = 0.0
    max_entries: Annotated[int, above(0, 1_000, "a number of entries")] | None = None
    """``again_minutes``, ``max_entries``: So long after that exit at the earliest; entries of a session at
    most.
    """

    def __post_init__(self) -> None:
        """Refuse texts that are no times or numbers."""
        super().__post_init__()
        first, last = time_of_day("entry.at", self.at), time_of_day("entry.not_after", self.not_after)
        if last < first:
            raise ConfigError(
                "the last time to buy lies before the first",
                where="entry.not_after",
                value=self.not_after,
                fix=f"after entry.at, which is {self.at}",
            )


class ZeroDteHedge(RegimeThresholdConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Delta hedge: the settings of the threshold by regime, or another band.

    Parameters
    ----------
    threshold, threshold_negative_gex, seconds_between_hedges, regime, gex_symbol, gex_max_age_seconds, \
    macro_widening
        See :class:`~scalpdesk.hedging.bands.regime_threshold.RegimeThresholdConfig`.
    order_ttl_seconds
        A hedge order that has not been filled by then is cancelled and gets a new size.
    band, band_settings
        Another hedge band by name, with its own settings.
    instrument, beta
        What hedges in the underlying's place, a share or a future, and the underlying's return for one of it.
    """

    section = "hedge"
    order_ttl_seconds: _OrderSeconds = 5.0
    band: str = "regime_threshold"
    band_settings: dict[str, float | str] = msgspec.field(default_factory=dict)
    instrument: str | None = None
    beta: Beta = 1.0

    def make_band(self) -> HedgeBand:
        """Return the chosen band with its settings."""
        if self.band != RegimeThresholdBand.name:
            return make_band(self.band, self.band_settings)
        return make_band(self.band, _shared(self, RegimeThresholdConfig) | self.band_settings)


class ZeroDteExit(PremiumExits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Deadline, orders and other reasons of the exit."""

    section = "exit"
    at: str = _EXIT_AT
    """New York time (``HH:MM``). One later than 15:45 needs ``minutes_before_close`` lower, too."""
    minutes_before_close: Annotated[float, at_least(1, 390, "minutes; a session has 390")] = EXIT_MINUTES
    """Before the session's own close: what half days go by."""
    venue: str = AUTO
    """Venue whose last order in an expiring contract counts: a name, or ``auto`` for the one traded at."""
    buffer_minutes: Annotated[float, at_least(1, 120, "minutes")] = BUFFER_MINUTES
    """Margin before that last order."""
    retry_seconds: Annotated[float, at_least(0.1, 60, "seconds, not milliseconds")] = 2.0
    """An exit order that has not been filled by then is cancelled and gets a new price."""
    alert_after: Annotated[int, at_least(1, 100, "a number of tries")] = 3
    """So many tries of one leg that came to nothing are an alert."""

    def __post_init__(self) -> None:
        """Refuse texts that are no times, times that are never reached, and unknown venues."""
        super().__post_init__()
        if not self.is_reached and self.at != _EXIT_AT:
            minutes = max(self.minutes_before_close, self.buffer_minutes)
            raise ConfigError(
                f"this time is never reached: the exit is {minutes:g} minutes before the close at the latest",
                where="exit.at",
                value=self.at,
                fix=f"lower exit.minutes_before_close, which is {self.minutes_before_close:g}, and"
                f" exit.buffer_minutes, which is {self.buffer_minutes:g}, too",
            )
        if self.venue != AUTO and self.venue not in (known := cutoff_names()):
            raise ConfigError(
                "no last-order rule is known for this venue",
                where="exit.venue",
                value=self.venue,
                nearest=nearest_name(self.venue, known),
                fix=f"use {AUTO} or one of {', '.join(known)}",
            )

    @property
    def is_reached(self) -> bool:
        """Whether ``at`` comes before the time that the other keys give."""
        at, close = (60 * one.hour + one.minute for one in (time_of_day("exit.at", self.at), REGULAR_CLOSE))
        return at <= close - max(self.minutes_before_close, self.buffer_minutes)

    def deadline_ns(self, view: DeskView, expiring: Iterable[OptionContract]) -> int:
        """Return the deadline of the present session, UTC nanoseconds: the earliest of the times.

        ``expiring`` are the options that expire in it.
        """
        session, minutes = view.session, self.minutes_before_close
        assert session is not None
        cutoff = view.cutoff if self.venue == AUTO else venue_cutoff(self.venue)
        instants = [minutes_before(session.close_ns, minutes)]
        if self.is_reached:
            instants.append(session.clock_ns(self.at))
        instants += [
            exit_deadline_ns(
                final_close_ns(contract),
                exit_minutes=minutes,
                cutoff_minutes=cutoff.of(contract.underlying),
                buffer_minutes=self.buffer_minutes,
            )
            for contract in expiring
        ]
        return min(instants)

    def exits(self) -> ExitConfig:
        """Return the exits as the gamma scalper has them."""
        shared = _shared(self, ExitConfig)
        return ExitConfig(min_dte=None, edge_gone=False, early_exercise=False, **shared)

    def manner(self) -> Manner:
        """Return how its scalper trades.

        Its refusals have their counts in words, and the figures of its hedges come with the end of the trade.
        """
        return Manner(
            NAME,
            "the options are gone: closed, settled or taken away",
            has_figures=False,
            deadline=self.deadline_ns,
            retry_seconds=self.retry_seconds,
            alert_after=self.alert_after,
        )


class _Entry(EntryConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    max_attempts: Annotated[int, at_least(0, 1_000, "a number of orders after the first")] = 5


class ZeroDteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of the 0DTE gamma scalper."""

    underlying: str = "SPY"
    """Underlying of the options and of their hedge; several with commas between them have a scalper each,
    with equal parts of the equity.
    """
    structure: StructureConfig = msgspec.field(default_factory=StructureConfig)
    entry: ZeroDteEntry = msgspec.field(default_factory=ZeroDteEntry)
    hedge: ZeroDteHedge = msgspec.field(default_factory=ZeroDteHedge)
    exit: ZeroDteExit = msgspec.field(default_factory=ZeroDteExit)
    triggers: TriggersConfig = msgspec.field(default_factory=TriggersConfig)
    recentre: RecentreConfig = msgspec.field(default_factory=RecentreConfig)
    watch: ZeroDteWatch = msgspec.field(default_factory=ZeroDteWatch)
    """``structure``, ``entry``, ``hedge``, ``exit``, ``triggers``, ``recentre``, ``watch``: See their own
    fields.
    """

    def __post_init__(self) -> None:
        """Refuse settings that contradict one another."""
        if time_of_day("entry.not_after", self.entry.not_after) >= time_of_day("exit.at", self.exit.at):
            raise ConfigError(
                "options bought at the last moment would be sold at once",
                where="entry.not_after",
                value=self.entry.not_after,
                fix=f"before exit.at, which is {self.exit.at}",
            )

    def of_scalper(self) -> GammaScalperConfig:
        """Return the settings of the gamma scalper that trades so."""
        entry, hedge = self.entry, self.hedge
        return GammaScalperConfig(
            underlying=self.underlying,
            straddles=entry.straddles,
            mode="adopt" if entry.mode == "straddle" else "adopt_only",
            structure=self.structure,
            selection=_TODAY,
            entry=_Entry(
                **_shared(entry, _Entry) | {"max_attempts": entry.max_attempts - 1, "not_before": entry.at},
                gate="none",
            ),
            triggers=self.triggers,
            hedge=HedgeConfig(least_fraction=0.0, **_shared(hedge, HedgeConfig)),
            recentre=self.recentre,
            exits=self.exit.exits(),
            watch=self.watch,
        )


class ZeroDteScalper(StructureScalper):
    """Hedges options that expire today and closes them before the deadline."""

    def __init__(self, config: ZeroDteConfig | None = None, name: str = NAME) -> None:
        self.config = config or ZeroDteConfig()
        band = self.config.hedge.make_band()
        super().__init__(name, ScalperTools(self.config.of_scalper(), band, self.config.exit.manner()))

    @property
    def phase(self) -> str:
        """Name of its state, as ``holding``."""
        return "closed_for_session" if super().phase == "done" else super().phase

    @property
    def deadline_ns(self) -> int | None:
        """By when to be out today; None on a day on which nothing expires."""
        return self.tools.deadline_ns

    @property
    def hedger(self) -> DeltaHedger:
        """The delta hedge."""
        return self.tools.hedger

    @property
    def meter(self) -> HedgeMeter:
        """Measure of its hedges."""
        assert self.tools.watch is not None
        return self.tools.watch.meter

    def hedge_summary(self) -> dict[str, str | int]:
        """Return what the run's hedges came to, for its summary."""
        return self.meter.whole_run.report()

    def session_words(self, view: DeskView) -> Sequence[Action]:
        """Return by when it will be out today, or why there is nothing to do."""
        settings, deadline_ns = self.tools.config, self.deadline_ns
        if deadline_ns is None:
            return (Proposal(DecisionKind.ENTRY, ("no option on the underlying expires today",)),)
        if settings.mode == "adopt_only" and not self.tools.held(view):
            reason = "nothing that expires today is held, and entry.mode=adopt buys nothing"
            return (Proposal(DecisionKind.ENTRY, (f"{reason}; set entry.mode=straddle to buy",)),)
        by = f"{to_new_york(deadline_ns):%H:%M:%S} New York"
        facts: Facts = {"options": len(self.tools.options), "deadline": by}
        report = Proposal(DecisionKind.SESSION, (f"out by {by}",), facts)
        if settings.mode == "adopt_only":
            return (report,)
        assert view.session is not None
        return (SetTimer(f"{NAME}: entry", view.session.clock_ns(settings.entry.not_before)), report)


PLUG = StrategySpec(
    name=NAME,
    config=ZeroDteConfig,
    build=lambda config: one_for_each(NAME, config, ZeroDteScalper),
    summary="hedges options that expire today and closes them before the deadline",
    reads_dealer_gamma=True,
    expiry_days=lambda _: (0, 0),
    sells_contracts=lambda config: (
        config.entry.straddles * config.structure.most_sold if config.entry.mode == "straddle" else 0
    ),
    options_level=lambda config: config.structure.options_level if config.entry.mode == "straddle" else 0,
    hedge_of=lambda config: HedgeTerms.of(config.hedge.instrument, config.hedge.beta),
    trades_underlying=lambda config: config.hedge.instrument is None,
    takes_over=lambda contract, day: to_new_york(final_close_ns(contract)).date() == day,
    demo_settings=("entry.mode=straddle",),  # its account holds nothing
)
