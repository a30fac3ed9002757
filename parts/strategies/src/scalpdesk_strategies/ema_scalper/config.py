"""Settings of the EMA-cloud options scalper: the fields and defaults of PRD-136, and what it leaves open."""

from typing import Annotated, Literal

import msgspec

from scalpdesk.base import ConfigError, above, at_least, nearest_name, time_of_day, venue_cutoff
from scalpdesk.signals.ema_cloud import PriceSource
from scalpdesk.strategies.toolkit.exits import PluginRules

_TICKERS = ("SPY", "QQQ", "NVDA", "TSLA", "AAPL", "MSFT", "META", "AMZN")
SPX = "SPX"
SPX_VENUE = "ibkr"
"""The only venue at which SPX options are scalped."""


Fraction = Annotated[float, above(0, 1, "a fraction")]
Count = Annotated[int, at_least(0, 10**9, "a number")]


class ScalpConfig(PluginRules, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of the options scalper."""

    scalp_tickers: list[str] = msgspec.field(default_factory=lambda: list(_TICKERS))
    """Underlyings that may be scalped."""
    allow_spx: bool = True
    """Whether SPX may be, beside them; only at IBKR."""
    target_delta_min: Annotated[float, at_least(0, 1, "an absolute delta")] = 0.30
    target_delta_max: Annotated[float, above(0, 1, "an absolute delta")] = 0.50
    """``target_delta_min``, ``target_delta_max``: Absolute delta of a contract, both included."""
    max_spread_pct: Fraction = 0.10
    """Ask less bid over the mid must be below this."""
    min_open_interest: Count = 1000
    min_volume: Count = 500
    """``min_open_interest``, ``min_volume``: Contracts open since yesterday and traded today must be above
    these. A volume that neither the data nor the venue brings is not known, and then the open interest alone
    counts.
    """
    max_risk_per_scalp: Fraction = 0.02
    """Fraction of the equity that one scalp may lose at its stop."""
    max_loss_pct: Fraction = 0.50
    """The stop: loss as a fraction of the premium."""
    profit_target_pct: Annotated[float, above(0, 100, "a fraction of the premium: 0.25 is 25 %")] = 0.25
    """Gain as a fraction of the premium at which the scalp is sold."""
    max_concurrent_scalps: Annotated[int, above(0, 1e9, "a number")] = 3
    """Scalps held or being bought."""
    no_average_up: bool = True
    """Never add to a ticker with a losing scalp, nor a second half below the price of the first."""
    max_iv_rank: Fraction = 0.80
    max_theta_burn_pct: Fraction = 0.05
    max_gamma: Annotated[float, above(0, 1e9, "a number")] = 0.15
    """``max_iv_rank``, ``max_theta_burn_pct``, ``max_gamma``: Limits from one day to expiry on: IV rank (0 to
    1) and a day's theta over the mid must be below theirs, gamma per 1 USD may not exceed its own.
    """
    scalp_start_time: str = "09:35"
    """First entry, New York."""
    zero_dte_cutoff: str = "14:00"
    one_dte_cutoff: str = "15:30"
    """``zero_dte_cutoff``, ``one_dte_cutoff``: Last entry before, and exit from, this New York time: expiring
    today, and later. On a half day the same distance from the close.
    """
    no_scalp_around_fomc: bool = True
    """No entry within 30 minutes of an FOMC statement."""
    entry_order_type: Literal["limit"] = "limit"
    """``limit`` is the only one."""
    limit_offset: Annotated[float, at_least(0, 10, "currency per share")] = 0.02
    """A buy's limit lies so much above the mid, and never above the ask (currency per share)."""
    fill_timeout_seconds: Annotated[int, above(0, 3600, "seconds")] = 15
    """A buy that is not filled by then is cancelled; what was filled is kept."""
    min_conviction_to_scalp: Annotated[int, at_least(0, 100, "points")] = 50
    """Least conviction of 100."""
    require_macro_alignment: bool = True
    """The 10-minute macro cloud must have the signal's direction."""
    underlying: str = "SPY"
    """Underlying of the run; several symbols with commas between them, the run's main one first."""
    signal_minutes: tuple[int, ...] = (1,)
    """Bar lengths whose fast cloud gives signals: 1, 5 or both."""
    price_source: PriceSource = PriceSource.CLOSE
    """Price that the averages follow: ``close`` or ``hl2``."""
    min_volume_ratio: Annotated[float, at_least(0, 1e9, "a number")] = 1.5
    """The trigger bar's volume over the mean of the 20 bars before must be above this."""
    second_half: Literal["first_candle", "bounce", "never"] = "first_candle"
    """When the second half is bought: if the ``first_candle`` after the fill tests the cloud and holds; at
    the first ``bounce`` of three candles; ``never``.
    """
    venue: str = ""
    """Venue whose rules count; empty for the run's own."""
    hold_overnight: bool = False
    """Whether scalps of more than one day to expiry are kept past 15:55."""
    max_mark_spread_pct: Annotated[float, above(0, 2, "a fraction of the mid")] = 0.25
    """A quote whose spread over the mid is wider is no mark."""
    stop_quotes: Annotated[int, above(0, 100, "quotes")] = 2
    """Quotes in a row at the stop that it takes."""
    history_sessions: Annotated[int, at_least(0, 60, "sessions")] = 5
    """Earlier sessions whose minutes begin the averages."""
    price_change_usd: Annotated[float, at_least(0, 100, "currency per share")] = 0.02
    heartbeat_seconds: Annotated[float, above(0, 600, "seconds, not milliseconds")] = 2.0
    """``price_change_usd``, ``heartbeat_seconds``: Move of the underlying and longest silence after which
    open scalps are looked at.
    """

    def __post_init__(self) -> None:
        """Refuse figures out of bounds, times out of order and bar lengths that are not followed."""
        super().__post_init__()
        for key, choices in _CHOICES.items():  # a script's own words: a file's are checked as they are read
            if getattr(self, key) not in choices:
                raise ConfigError(
                    f"this key takes {' or '.join(choices)}",
                    where=key,
                    value=getattr(self, key),
                    nearest=nearest_name(str(getattr(self, key)), choices),
                    fix=f"set {key} to {choices[0]}",
                )
        msgspec.structs.force_setattr(self, "price_source", PriceSource(self.price_source))
        tickers: object = self.scalp_tickers
        if isinstance(tickers, str):
            raise ConfigError(
                "this key takes a list of symbols",
                where="scalp_tickers",
                value=tickers,
                fix=f"write [{tickers!r}]",
            )
        start, zero, later = (
            time_of_day(key, getattr(self, key))
            for key in ("scalp_start_time", "zero_dte_cutoff", "one_dte_cutoff")
        )
        if not start < zero <= later:
            raise ConfigError(
                "the times of a day must follow one another",
                where="zero_dte_cutoff",
                value=self.zero_dte_cutoff,
                fix=f"after {self.scalp_start_time} and not after {self.one_dte_cutoff}",
            )
        if self.target_delta_min >= self.target_delta_max:
            raise ConfigError(
                "a range of deltas must be wider than nothing",
                where="target_delta_max",
                value=self.target_delta_max,
                fix=f"above target_delta_min, which is {self.target_delta_min}",
            )
        if not self.signal_minutes or not set(self.signal_minutes) <= set(_SIGNAL_MINUTES):
            raise ConfigError(
                "signals come from bars of 1 and 5 minutes",
                where="signal_minutes",
                value=list(self.signal_minutes),
                fix="1, 5 or both: signal_minutes=1,5",
            )
        if self.venue:
            venue_cutoff(self.venue)

    def may_scalp(self, ticker: str) -> bool:
        """Return whether a ticker is on the list (SPX by ``allow_spx``)."""
        return self.allow_spx if ticker == SPX else ticker in self.scalp_tickers


_CHOICES = {
    "entry_order_type": ("limit",),
    "second_half": ("first_candle", "bounce", "never"),
    "price_source": tuple(PriceSource),
}
_SIGNAL_MINUTES = (1, 5)
