"""When to get out. Rules are asked in order; the first that says so wins, and says why."""

from datetime import date, time
from decimal import Decimal

import msgspec

from scalpdesk.core.bounds import Bound, check_bounds
from scalpdesk.core.enums import Mode
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.instruments.sessions import Session, new_york_ns, to_new_york

_EDGE_SPACING_NS = 60 * NANOS_PER_SECOND
_EDGE_TIMES = 3


OPENS, CLOSES = time(9, 30), time(16, 15)
"""A full session of the longest kind (options on broad indices), New York."""
BOUNDS = {
    "min_dte": Bound(0, 3_650, "calendar days to expiry", may_equal_low=True),
    "stop_fraction": Bound(0, 1, "a fraction of the premium, and no more than it can be lost"),
    "arm_fraction": Bound(0, 100, "a fraction of the premium: 0.30 is 30 %"),
    "giveback_fraction": Bound(0, 1, "a fraction of the best profit"),
    "max_sessions": Bound(0, 1_000, "trading days"),
    "flat_minutes_before_close": Bound(0, 390, "minutes; a session has 390", may_equal_low=True),
}
"""What each key may be."""


class ExitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Exits of a long straddle. None switches a rule off.

    Parameters
    ----------
    min_dte
        Leave when so many calendar days or fewer are left to expiry.
    stop_fraction
        Leave at a loss of this fraction of the premium paid.
    arm_fraction, giveback_fraction
        Let it run: armed at a profit of ``arm_fraction`` of the premium; then leave once
        ``giveback_fraction`` of the best profit is given back.
    edge_gone
        Leave when the edge, recomputed for what is left, is below zero three times a minute apart.
    max_sessions
        Leave after so many trading days, unless armed.
    close_at
        Leave at this New York time (``HH:MM``).
    flat_minutes_before_close
        Leave so many minutes before the session's own close (half days included).
    """

    min_dte: int | None = 7
    stop_fraction: float | None = 0.30
    arm_fraction: float | None = 0.30
    giveback_fraction: float = 0.50
    edge_gone: bool = True
    max_sessions: int | None = None
    close_at: str | None = None
    flat_minutes_before_close: float | None = None

    def __post_init__(self) -> None:
        """Refuse figures out of bounds, and a time that is none."""
        check_bounds(self, BOUNDS, "exits")
        if self.close_at is None:
            return
        try:
            close_at = time.fromisoformat(self.close_at)
        except ValueError as error:
            raise ConfigError(
                "not a time of day", where="exits.close_at", value=self.close_at, fix="write HH:MM"
            ) from error
        if not OPENS < close_at <= CLOSES:
            raise ConfigError(
                "outside the session: every position would be closed at once, or never",
                where="exits.close_at",
                value=self.close_at,
                fix=f"set exits.close_at after {OPENS:%H:%M} and to {CLOSES:%H:%M} at the latest (New York)",
            )


class ExitView(msgspec.Struct, frozen=True):
    """What the rules see."""

    now_ns: int
    session: Session
    mode: Mode
    expiry: date
    premium_paid: Decimal
    """Currency, whole position."""
    pnl: Decimal
    """Of the trade so far: options, hedge and costs."""
    sessions_held: int
    edge_usd: float | None
    """Edge left, or None when it is not known."""


class ExitRules:
    """Remembers what the rules need between two evaluations."""

    def __init__(self, config: ExitConfig) -> None:
        self.config = config
        self.armed = False
        self.best_pnl = Decimal(0)
        self._edge_gone_ns: list[int] = []

    def reason(self, view: ExitView) -> str | None:
        """Return the first rule that says to leave, in words, or None."""
        self.best_pnl = max(self.best_pnl, view.pnl)
        for rule in (
            self._risk_halt,
            self._expiry,
            self._stop,
            self._trailing,
            self._edge_gone,
            self._horizon,
            self._clock,
        ):
            reason = rule(view)
            if reason is not None:
                return reason
        return None

    def _risk_halt(self, view: ExitView) -> str | None:
        return f"risk halt: the desk is {view.mode.lower()}" if view.mode is Mode.FLATTENING else None

    def _expiry(self, view: ExitView) -> str | None:
        least = self.config.min_dte
        days = (view.expiry - view.session.day).days
        return f"expiry: {days} days left, least {least}" if least is not None and days <= least else None

    def _stop(self, view: ExitView) -> str | None:
        fraction = self.config.stop_fraction
        if fraction is None or float(view.pnl) > -fraction * float(view.premium_paid):
            return None
        return f"stop: P&L {view.pnl:.2f} is a loss of {fraction:.0%} of the premium {view.premium_paid:.2f}"

    def _trailing(self, view: ExitView) -> str | None:
        fraction = self.config.arm_fraction
        if fraction is None:
            return None
        if not self.armed:
            self.armed = float(view.pnl) >= fraction * float(view.premium_paid) > 0
            return None
        floor = float(self.best_pnl) * (1.0 - self.config.giveback_fraction)
        if float(view.pnl) > floor:
            return None
        given = f"gave back {self.config.giveback_fraction:.0%} of {self.best_pnl:.2f}"
        return f"trailing: P&L {view.pnl:.2f} {given}"

    def _edge_gone(self, view: ExitView) -> str | None:
        if not self.config.edge_gone or view.edge_usd is None:
            return None
        if view.edge_usd >= 0.0:
            self._edge_gone_ns.clear()
            return None
        seen = self._edge_gone_ns
        if not seen or view.now_ns - seen[-1] >= _EDGE_SPACING_NS:
            seen.append(view.now_ns)
        if len(seen) < _EDGE_TIMES:
            return None
        return f"edge gone: {view.edge_usd:.2f} USD left, below zero {len(seen)} times"

    def _horizon(self, view: ExitView) -> str | None:
        most = self.config.max_sessions
        if most is None or self.armed or view.sessions_held < most:
            return None
        return f"horizon: held {view.sessions_held} sessions"

    def _clock(self, view: ExitView) -> str | None:
        config = self.config
        if config.close_at is not None:
            at_ns = new_york_ns(view.session.day, time.fromisoformat(config.close_at))
            if view.now_ns >= at_ns:
                return f"clock: {config.close_at} New York"
        minutes = config.flat_minutes_before_close
        if minutes is None:
            return None
        deadline_ns = view.session.close_ns - int(minutes * 60 * NANOS_PER_SECOND)
        if view.now_ns < deadline_ns:
            return None
        close = to_new_york(view.session.close_ns)
        return f"clock: {minutes:g} minutes before the close at {close:%H:%M} New York"
