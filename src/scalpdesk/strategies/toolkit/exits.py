"""Exit rules: one class each, asked in order; the first that has a reason closes the trade.

A rule is any object with ``reason(trade)``: it returns why to exit, or None. A rule may remember what
it has seen of its trade, so each trade gets new rules. :func:`structure_rules` and
:func:`scalp_rules` give the two orders in use. An installed package adds rules to any strategy's by entry
point: a class with a ``Config``, made from one, and ``reason``.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Protocol, TypeVar, cast

import msgspec

from scalpdesk.core.bounds import BoundedSettings, above, at_least, time_of_day
from scalpdesk.core.enums import Mode
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.plugins import configured
from scalpdesk.core.sockets import EXIT_RULES
from scalpdesk.core.units import (
    MINUTE_NS,
    NANOS_PER_SECOND,
    ZERO,
    InstrumentId,
    exact,
    money_decimals,
    money_text,
)
from scalpdesk.instruments.contract import Right
from scalpdesk.instruments.events import EventKind, ScheduledEvent, events_between
from scalpdesk.instruments.sessions import Session, next_session, to_new_york
from scalpdesk.strategies.contract import DeskView
from scalpdesk.strategies.toolkit.quiet import ALWAYS, SAME_QUOTES, Quiet

RISK_HALT = "risk halt: the desk is flattening"
_EDGE_SPACING_NS = MINUTE_NS
_EDGE_TIMES = 3
_MINUTES_PER_DAY = 1_440.0
LAST_HOUR_NS = 60 * MINUTE_NS
"""Of a session: in it the gain of an exercise is looked at."""
NO_GAIN = -math.inf, False
OPENS, CLOSES = time(9, 30), time(16, 15)
"""A full session of the longest kind (options on broad indices), New York."""


class Basis(StrEnum):
    """What stops and targets are fractions of."""

    PREMIUM = "premium"
    CREDIT = "credit"
    LOSS = "largest loss of a stress day"
    """Where bought and sold legs pay for one another, the net of both says nothing of what is at risk."""
    BOUND = "largest loss"
    """Where wings bound the loss, and it is more than the premium."""
    LESSER = "largest loss, less than the credit"


class PositionView(msgspec.Struct, frozen=True, kw_only=True):
    """An open position as exit rules see it; a rule that asks for what is not known has no reason."""

    now_ns: int = 0
    mode: Mode = Mode.ACTIVE
    """Mode of the desk."""
    session: Session | None = None
    """The present one."""
    pnl: Decimal = Decimal(0)
    """P&L of the trade so far: options, hedge and costs, in currency."""
    premium_paid: Decimal = Decimal(0)
    """Capital at risk, whole position, in currency: what ``basis`` names; 0 while it is not known."""
    basis: Basis = Basis.PREMIUM
    most_loss: Decimal | None = None
    """What can be lost at all, in currency; None without a bound."""
    currency: str = "USD"
    """Currency of edge, premium and P&L."""
    most_pnl: Decimal | None = None
    """P&L at the best values that are possible of legs whose quotes show no price; None where all legs show
    theirs.
    """
    quoted_ns: int | None = 0
    """When the older of the legs' latest quotes was made, UTC nanoseconds; None while one shows no price, or
    is lost.
    """
    expiry: date | None = None
    """First expiry of the options."""
    expires_ns: int | None = None
    """When the options expire, UTC nanoseconds; None where no rule asks."""
    sessions_held: int = 0
    edge_usd: float | None = None
    """Edge left, or None when it is not known."""
    edge_slack_usd: float = 0.0
    """So far below zero an edge is within its error, or less than what leaving costs."""
    exercise_gain: tuple[float, bool] | None = None
    """Gain of exercising a leg now over holding it, per unit, and whether that leg is sold; not above zero
    where holding is better, None where no rule asks.
    """
    ex_dividends_ns: tuple[int, ...] = ()
    """Opens of the sessions in which the underlying trades without a declared dividend, UTC nanoseconds."""


TradeView = StraddleView = PositionView
"""Its names in rules of installed packages."""


Trade_contra = TypeVar("Trade_contra", bound=PositionView, contravariant=True)


class ExitRule(Protocol[Trade_contra]):
    """The contract of an exit rule."""

    def reason(self, trade: Trade_contra) -> str | None:
        """Return why the trade is to be closed now, in words; None to stay."""
        ...


Seen = TypeVar("Seen", bound=PositionView)


def first_reason(rules: Sequence[ExitRule[Seen]], trade: Seen) -> str | None:
    """Return the reason of the first rule that has one."""
    for rule in rules:  # a generator costs as much again, and a held position asks at every wake
        reason = rule.reason(trade)
        if reason is not None:
            return reason
    return None


def always(_rule: object, _trade: object) -> Quiet:
    """Return the bounds of a rule that only what wakes its strategy anyway gives a reason."""
    return ALWAYS


def quiet_of(rules: Sequence[ExitRule[Seen]], trade: Seen) -> Quiet | None:
    """Return where none of some rules has a reason after a look at which none had.

    A rule may have ``quiet(trade)``: it returns bounds strictly within which it has no reason while the
    quotes of the options show prices, or None. Of a rule without it, and of one that returns None, nothing
    is known: it is asked at every look.
    """
    found = ALWAYS
    for rule in rules:
        ask: Callable[[Seen], Quiet | None] | None = getattr(rule, "quiet", None)
        stated = None if ask is None else ask(trade)
        if stated is None:
            return None
        found = found.and_within(stated)
    return found


class PluginRules(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of exit rules from installed packages."""

    rules: dict[str, dict[str, float | str]] | msgspec.UnsetType = msgspec.UNSET
    """Settings of the rules of installed packages, by rule; they are asked last, in the order of names."""

    def __post_init__(self) -> None:
        """Refuse figures out of bounds, and rules that cannot be made."""
        super().__post_init__()
        self.plugin_rules()

    def plugin_rules(self) -> tuple[ExitRule[PositionView], ...]:
        """Return new rules of installed packages."""
        where = self.key_path("rules")
        return tuple(
            _installed_rule(name, given, where) for name, given in sorted((self.rules or {}).items())
        )


def _installed_rule(name: str, settings: Mapping[str, object], where: str) -> ExitRule[PositionView]:
    where = f"{where}.{name}"
    rule = configured(EXIT_RULES.find(name, where), settings, kind="exit rule", name=name, where=where)
    return cast("ExitRule[PositionView]", rule)


class RiskHalt:
    """Exit while the desk is flattening."""

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        return RISK_HALT if trade.mode is Mode.FLATTENING else None

    quiet = always


# structures -----------------------------------------------------------------------------------


_SessionMinutes = Annotated[float, at_least(0, 390, "minutes; a session has 390")]
_StopFraction = Annotated[float, above(0, 1, "a fraction of the premium, and no more than it can be lost")]
_ArmFraction = Annotated[float, above(0, 100, "a fraction of the premium: 0.30 is 30 %")]
_CreditMultiple = Annotated[float, above(0, 100, "a multiple of the credit: 1 is as much again")]
_CreditFraction = Annotated[float, above(0, 1, "a part of the credit: 0.5 is half")]


class PremiumExits(PluginRules, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stops and targets of a structure, of every strategy that trades one; None switches a rule off."""

    stop_fraction: _StopFraction | None = None
    """Leave at a loss of this fraction of the capital at risk: of the premium paid, or where bought and sold
    legs pay for one another, of the largest loss: by their wings, else of a day of four standard deviations.
    Of a credit that is more than can be lost, too.
    """
    target_fraction: Annotated[float, above(0, 100, "a fraction of the premium: 0.5 is half")] | None = None
    """Leave what was bought at a profit of this fraction of the capital at risk."""
    arm_fraction: _ArmFraction | None = None
    giveback_fraction: Annotated[float, above(0, 1, "a fraction of the best profit")] = 0.50
    """``arm_fraction``, ``giveback_fraction``: Let it run: armed at a profit of ``arm_fraction`` of the
    capital at risk; then leave once ``giveback_fraction`` of the best profit is given back.
    """
    credit_multiple: _CreditMultiple | None = None
    """Leave what was sold for a credit at a loss of this multiple of it, in place of ``stop_fraction``, and
    no more than can be lost.
    """
    credit_fraction: _CreditFraction | None = None
    """Leave what was sold for a credit once this part of it is earned."""
    side_credit_multiple: _CreditMultiple | None = None
    side_premium_fraction: Annotated[float, above(0, 1, "a fraction of the premium")] | None = None
    """``side_credit_multiple``, ``side_premium_fraction``: A side's own stop: close its calls alone, or its
    puts, wing and sold leg together, once they have lost this multiple of the credit that they brought, or
    this fraction of the premium that they cost. The other side is kept and hedged.
    """


class ExitConfig(PremiumExits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Exits of a long straddle. None switches a rule off."""

    section = "exits"
    min_dte: Annotated[int, at_least(0, 3_650, "calendar days to expiry")] | None = 7
    """Leave when so many calendar days or fewer are left to expiry."""
    stop_fraction: _StopFraction | None = 0.30
    arm_fraction: _ArmFraction | None = 0.30
    edge_gone: bool = True
    """Leave when the edge, recomputed for what is left, is below zero three times a minute apart: by more
    than ``entry.k_stderr`` standard errors, and than leaving costs.
    """
    max_sessions: Annotated[int, above(0, 1_000, "trading days")] | None = None
    """Leave after so many trading days, unless armed."""
    close_at: str | None = None
    """Leave at this New York time (``HH:MM``)."""
    flat_minutes_before_close: _SessionMinutes | None = None
    """Leave so many minutes before the session's own close (half days included)."""
    minutes_before_expiry: (
        Annotated[float, at_least(0, _MINUTES_PER_DAY, "minutes within a day")] | msgspec.UnsetType
    ) = msgspec.UNSET
    """Leave so many minutes before the options expire, where they expire within a session (coins): in the
    half hour before, what settles them is a mean and their delta no longer that of an option.
    """
    before_event: tuple[EventKind, ...] = ()
    """Leave before these: ``fomc``, ``cpi``, ``payrolls``, ``expiry`` (monthly), ``ex_dividend``; what comes
    before the next open is left before the close. Nothing is entered then either.
    """
    before_event_minutes: _SessionMinutes = 30.0
    """So many minutes before the event, or before the close."""
    early_exercise: bool = True
    """Leave in the last hour when a leg is worth more exercised than held over the night: a call before an
    ex-dividend date, a put deep in the money. It is sold: no bid is below its payoff. A leg that was sold is
    bought back: it would be assigned.
    """
    credit_multiple: _CreditMultiple | None = 1.0
    credit_fraction: _CreditFraction | None = 0.5

    def __post_init__(self) -> None:
        """Refuse a closing time that is no time or outside the session."""
        super().__post_init__()
        if self.close_at is None:
            return
        close_at = time_of_day("exits.close_at", self.close_at)
        if not OPENS < close_at <= CLOSES:
            raise ConfigError(
                "outside the session: every position would be closed at once, or never",
                where="exits.close_at",
                value=self.close_at,
                fix=f"set exits.close_at=15:45, after {OPENS:%H:%M} and to {CLOSES:%H:%M} at the latest",
            )


def shown(view: DeskView, legs: Sequence[InstrumentId], pnl: Decimal) -> tuple[int | None, Decimal | None]:
    """Return :attr:`PositionView.quoted_ns` and :attr:`PositionView.most_pnl` of legs that are held."""
    stamps, most = list[int](), pnl
    for leg in legs:
        quote, value = view.market.quotes[leg], view.delta_engine.state(leg, view.now_ns)
        if quote is None or value is None:
            return None, None
        if value.is_modelled:
            units = view.positions.quantity(leg)
            best = value.high if units > 0 else value.low
            most += units * view.instruments[leg].multiplier * (exact(best) - exact(value.mark))
        else:
            stamps.append(quote.ts_event_ns)
    return (min(stamps), None) if len(stamps) == len(legs) else (None, most)


class NearExpiry:
    """Exit a number of calendar days before expiry."""

    def __init__(self, min_dte: int) -> None:
        self.min_dte = min_dte

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        if trade.expiry is None or trade.session is None:
            return None
        days = (trade.expiry - trade.session.day).days
        return f"expiry: {days} days left, least {self.min_dte}" if days <= self.min_dte else None

    quiet = always


def event_ahead(
    config: ExitConfig, now_ns: int, session: Session, ex_dividends_ns: Collection[int] = ()
) -> str:
    """Return the next event that ``exits.before_event`` is about, in words; empty while none is near."""
    if not config.before_event:
        return ""
    until_ns = now_ns + int(config.before_event_minutes * 60 * NANOS_PER_SECOND)
    if until_ns >= session.close_ns:  # a night is left before the close
        until_ns = next_session(session.day).open_ns
    found = list(events_between(now_ns, until_ns, config.before_event))
    if EventKind.EX_DIVIDEND in config.before_event:
        found += [
            ScheduledEvent(at, EventKind.EX_DIVIDEND) for at in ex_dividends_ns if now_ns < at <= until_ns
        ]
    if not found:
        return ""
    at_ns, kind = min(found)
    return f"{kind.replace('_', ' ')} at {to_new_york(at_ns):%Y-%m-%d %H:%M} New York"


class _BeforeEvent:
    """Exit before scheduled events."""

    def __init__(self, config: ExitConfig) -> None:
        self._config = config

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        if trade.session is None:
            return None
        ahead = event_ahead(self._config, trade.now_ns, trade.session, trade.ex_dividends_ns)
        return f"event: {ahead}" if ahead else None


class _EarlyExercise:
    """Exit when a leg is worth more exercised than held."""

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        gain, is_sold = trade.exercise_gain or NO_GAIN
        if not gain > 0.0:
            return None
        if is_sold:
            return (
                f"assignment ahead: a leg that was sold is worth {gain:.2f} a unit more exercised than held"
            )
        return f"early exercise: a leg held over the night loses {gain:.2f} a unit"

    def quiet(self, trade: PositionView) -> Quiet | None:
        """Return what a leg's price may change; before the last hour it is not asked."""
        begins_ns = 0 if trade.session is None else trade.session.close_ns - LAST_HOUR_NS
        if trade.now_ns < begins_ns:
            return Quiet(until_ns=begins_ns)
        return Quiet(price_way=-(trade.exercise_gain or NO_GAIN)[0])


class _BeforeExpiry:
    """Exit a number of minutes before the options expire."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        if trade.expires_ns is None:
            return None
        left = (trade.expires_ns - trade.now_ns) / MINUTE_NS
        return f"expiry: {left:.0f} minutes left, least {self.minutes:g}" if left <= self.minutes else None

    def quiet(self, trade: PositionView) -> Quiet | None:
        """Return until it fires."""
        if trade.expires_ns is None:
            return ALWAYS
        return Quiet(until_ns=minutes_before(trade.expires_ns, self.minutes))


class _QuotedMarks:
    """Whether P&L stands on valid quotes: after a quote that shows no price on two in a row."""

    def __init__(self) -> None:
        self._after_ns: int | None = -1

    def decide(self, quoted_ns: int | None) -> bool:
        """Return whether a stop may be decided on :attr:`PositionView.quoted_ns`."""
        if quoted_ns is None or self._after_ns is None:
            self._after_ns = quoted_ns
            return False
        return quoted_ns > self._after_ns

    def quiet(self, quoted_ns: int | None, stated: Quiet) -> Quiet | None:
        """Return what a rule states where it may decide; until then the next quotes."""
        if self.decide(quoted_ns):
            return stated
        return None if quoted_ns is None else SAME_QUOTES


class _PartOfRisk:
    """A fraction of the capital at risk.

    ``fraction``: Of the capital at risk.
    ``of``: Bases for which it acts; for another, or while nothing is known to be at risk, it has no reason.
    """

    def __init__(self, fraction: float, of: Collection[Basis] = tuple(Basis)) -> None:
        self.fraction = fraction
        self._of = of
        self._marks = _QuotedMarks()

    def _amount(self, trade: PositionView) -> float:
        """Return the amount in currency; 0 where it does not act."""
        return self.fraction * float(trade.premium_paid) if trade.basis in self._of else 0.0


class StopLoss(_PartOfRisk):
    """Exit at a loss of a fraction of the capital at risk, by valid quotes, or by every price possible."""

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        pnl = trade.pnl if self._marks.decide(trade.quoted_ns) else trade.most_pnl
        loss = self._loss(trade)
        if not loss > 0.0 or pnl is None or float(pnl) > -loss:
            return None
        places = money_decimals(trade.currency)
        return f"stop: P&L {pnl:.{places}f} is a loss of {_part(self.fraction, trade)}"

    def _loss(self, trade: PositionView) -> float:
        """Return the loss at which it fires, no more than can be lost; 0 where it does not act."""
        loss = self._amount(trade)
        return loss if trade.most_loss is None else min(loss, float(trade.most_loss))

    def quiet(self, trade: PositionView) -> Quiet | None:
        """Return the loss at which it fires."""
        loss = self._loss(trade)
        return self._marks.quiet(trade.quoted_ns, Quiet(least_pnl=-loss)) if loss > 0.0 else ALWAYS


class CreditEarned(_PartOfRisk):
    """Exit at a profit of a fraction of the capital at risk, as valid quotes have it."""

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        if not self._marks.decide(trade.quoted_ns) or not float(trade.pnl) >= self._amount(trade) > 0.0:
            return None
        places = money_decimals(trade.currency)
        return f"target: P&L {trade.pnl:.{places}f} is {_part(self.fraction, trade)} or more"

    def quiet(self, trade: PositionView) -> Quiet | None:
        """Return the profit at which it fires."""
        profit = self._amount(trade)
        return self._marks.quiet(trade.quoted_ns, Quiet(most_pnl=profit)) if profit > 0.0 else ALWAYS


class TrailingStop:
    """Armed at a profit, exit once part of the best profit is given back, both as valid quotes have it."""

    def __init__(self, arm_fraction: float, giveback_fraction: float) -> None:
        self._marks = _QuotedMarks()
        self.arm_fraction = arm_fraction
        self.giveback_fraction = giveback_fraction
        self.is_armed = False
        self.best_pnl = ZERO

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        if not self._marks.decide(trade.quoted_ns):
            return None
        left = self.follow(trade.pnl)
        if not self.is_armed:
            self.is_armed = float(trade.pnl) >= self.arm_fraction * float(trade.premium_paid) > 0
            return None
        if left >= 0.0:
            return None
        places = money_decimals(trade.currency)
        given = f"gave back {self.giveback_fraction:.0%} of {self.best_pnl:.{places}f}"
        armed = f"armed at {_part(self.arm_fraction, trade)}"
        return f"trailing: P&L {trade.pnl:.{places}f} {given}, {armed}"

    def follow(self, pnl: Decimal) -> float:
        """Take in a P&L as valid quotes have it; return the change that means nothing, below zero to exit."""
        self.best_pnl = max(self.best_pnl, pnl)
        now, best = float(pnl), float(self.best_pnl)
        least = best * (1.0 - self.giveback_fraction)
        return min(now - least, best - now) if now > least else -1.0

    def quiet(self, trade: PositionView) -> Quiet | None:
        """Return where it arms; once armed it is told each profit."""
        arms_at = self.arm_fraction * float(trade.premium_paid)
        stated = Quiet(most_pnl=arms_at) if arms_at > 0.0 else ALWAYS
        return self._marks.quiet(trade.quoted_ns, Quiet(follows=(self.follow,)) if self.is_armed else stated)


def _part(fraction: float, trade: PositionView) -> str:
    """Return a part of the capital at risk in words."""
    return f"{fraction:.0%} of the {trade.basis} {trade.premium_paid:.{money_decimals(trade.currency)}f}"


class EdgeGone:
    """Exit when the edge left is below zero three times a minute apart, beyond its error and its cost.

    ``had_edge``: Whether it was there at entry. One that was not cannot go: the rule then waits until it was
    there three times a minute apart.
    """

    def __init__(self, *, had_edge: bool = True) -> None:
        self._had_edge = had_edge
        self._seen_ns: list[int] = []
        """Looks in a row at an edge that is gone; while it was never there, at one that is not."""

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        if trade.edge_usd is None:
            return None
        seen = self._seen_ns
        is_seen = trade.edge_usd < -trade.edge_slack_usd if self._had_edge else trade.edge_usd >= 0.0
        if not is_seen:
            seen.clear()
            return None
        if seen and trade.now_ns - seen[-1] > _EDGE_TIMES * _EDGE_SPACING_NS:
            seen.clear()  # it was unknown for too long: the looks are not in a row
        if not seen or trade.now_ns - seen[-1] >= _EDGE_SPACING_NS:
            seen.append(trade.now_ns)
        if len(seen) < _EDGE_TIMES:
            return None
        if not self._had_edge:
            self._had_edge = True
            seen.clear()
            return None
        left, slack = (money_text(each, trade.currency) for each in (trade.edge_usd, trade.edge_slack_usd))
        beyond = f"more than {slack} below zero (its error, or what leaving costs)"
        return f"edge gone: {left} left, {len(seen)} times {beyond}"

    quiet = always


class _MaxSessions:
    """Exit after a number of trading days, unless the trailing stop is armed."""

    def __init__(self, max_sessions: int, trailing: TrailingStop | None = None) -> None:
        self.max_sessions = max_sessions
        self._trailing = trailing

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        is_armed = self._trailing is not None and self._trailing.is_armed
        if is_armed or trade.sessions_held < self.max_sessions:
            return None
        return f"horizon: held {trade.sessions_held} sessions"

    quiet = always


class CloseAt:
    """Exit at a time of the day, New York."""

    def __init__(self, close_at: str) -> None:
        self.close_at = close_at

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        session = trade.session
        is_due = session is not None and trade.now_ns >= session.clock_ns(self.close_at)
        return f"clock: {self.close_at} New York" if is_due else None

    def quiet(self, trade: PositionView) -> Quiet | None:
        """Return until it fires."""
        session = trade.session
        return ALWAYS if session is None else Quiet(until_ns=session.clock_ns(self.close_at))


class BeforeClose:
    """Exit a number of minutes before the session's own close."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes

    def reason(self, trade: PositionView) -> str | None:
        """Return why to exit, or None."""
        if trade.session is None:
            return None
        close_ns = trade.session.close_ns
        if trade.now_ns < minutes_before(close_ns, self.minutes):
            return None
        return f"clock: {self.minutes:g} minutes before the close at {to_new_york(close_ns):%H:%M} New York"

    def quiet(self, trade: PositionView) -> Quiet | None:
        """Return until it fires."""
        session = trade.session
        return ALWAYS if session is None else Quiet(until_ns=minutes_before(session.close_ns, self.minutes))


def stops(fraction: float | None, credit_multiple: float | None) -> list[StopLoss]:
    """Return new stops: at a fraction of a premium, and at a multiple of a credit.

    At a largest loss the fraction is meant, and the multiple where no fraction is set.
    """
    losses = Basis.LOSS, Basis.BOUND, Basis.LESSER
    found = [] if fraction is None else [StopLoss(fraction, (Basis.PREMIUM, *losses))]
    if credit_multiple is not None:
        found.append(StopLoss(credit_multiple, (Basis.CREDIT,) if found else (Basis.CREDIT, *losses)))
    return found


def minutes_before(instant_ns: int, minutes: float) -> int:
    """Return the instant (UTC nanoseconds) so many minutes before another."""
    return instant_ns - int(minutes * 60 * NANOS_PER_SECOND)


def structure_rules(config: ExitConfig, *, had_edge: bool = True) -> tuple[ExitRule[PositionView], ...]:
    """Return new rules for one structure, in their order; ``had_edge`` as for :class:`EdgeGone`."""
    rules: list[ExitRule[PositionView]] = [RiskHalt()]
    if config.min_dte is not None:
        rules.append(NearExpiry(config.min_dte))
    if isinstance(config.minutes_before_expiry, float):
        rules.append(_BeforeExpiry(config.minutes_before_expiry))
    if config.before_event:
        rules.append(_BeforeEvent(config))
    if config.early_exercise:
        rules.append(_EarlyExercise())
    rules += stops(config.stop_fraction, config.credit_multiple)
    if config.target_fraction is not None:
        rules.append(CreditEarned(config.target_fraction, (Basis.PREMIUM, Basis.LOSS, Basis.BOUND)))
    if config.credit_fraction is not None:
        rules.append(CreditEarned(config.credit_fraction, (Basis.CREDIT, Basis.LESSER)))
    trailing = None
    if config.arm_fraction is not None:
        trailing = TrailingStop(config.arm_fraction, config.giveback_fraction)
        rules.append(trailing)
    if config.edge_gone:
        rules.append(EdgeGone(had_edge=had_edge))
    if config.max_sessions is not None:
        rules.append(_MaxSessions(config.max_sessions, trailing))
    if config.close_at is not None:
        rules.append(CloseAt(config.close_at))
    if config.flat_minutes_before_close is not None:
        rules.append(BeforeClose(config.flat_minutes_before_close))
    return (*rules, *config.plugin_rules())


# scalps in options --------------------------------------------------------------------------------


class ExitAction(StrEnum):
    """Reasons of the scalp's rules; the order is the precedence."""

    TIME_EXIT = "time_exit"
    STOP_LOSS = "stop_loss"
    BREAKEVEN_STOP = "breakeven_stop"
    FINAL_TARGET = "final_target"
    SCALE_OUT = "scale_out"
    SET_BREAKEVEN = "set_breakeven"
    INVALIDATED = "invalidated"


class ScalpExitConfig(PluginRules, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Distances and times of the exits."""

    section = "exits"
    risk_unit_usd: Annotated[Decimal, above(0, math.inf, "currency a share, as 0.10")] = Decimal("0.10")
    """1R: so far the underlying has to go the right way (currency per share)."""
    breakeven_at_r: Decimal = Decimal(1)
    scale_out_at_r: Decimal = Decimal("1.5")
    final_target_at_r: Decimal = Decimal(3)
    """``breakeven_at_r``, ``scale_out_at_r``, ``final_target_at_r``: In R: from here the entry price is the
    stop; half is sold; all is sold.
    """
    stop_fraction: Annotated[Decimal, at_least(0, 1, "a fraction")] = Decimal("0.50")
    """Sell when the option is worth this fraction of its entry price or less."""
    flat_minutes_before_close: Annotated[float, at_least(0, 1e9, "minutes")] = 10.0
    """Sell so many minutes before the session's close (half days included)."""

    def __post_init__(self) -> None:
        """Refuse distances that cannot follow one another."""
        super().__post_init__()
        steps = (Decimal(0), self.breakeven_at_r, self.scale_out_at_r, self.final_target_at_r)
        if any(a >= b for a, b in pairwise(steps)):
            raise ConfigError(
                "the steps of an exit must rise: breakeven, scale-out, final target",
                where="exits",
                value=[str(step) for step in steps[1:]],
                fix="set exits.breakeven_at_r < exits.scale_out_at_r < exits.final_target_at_r, all above 0",
            )


class ScalpView(PositionView, frozen=True, kw_only=True):
    """An open scalp in one option."""

    right: Right
    entry_spot: Decimal
    """Underlying when the entry was filled."""
    spot: Decimal
    entry_price: Decimal
    """Average price paid per unit."""
    price: Decimal | None
    """Value of a unit now; None while there is no usable quote."""
    is_past_deadline: bool
    is_scaled: bool
    is_breakeven_armed: bool
    invalid_below: Decimal | None = None
    invalid_above: Decimal | None = None
    """Levels of the underlying beyond which a bullish (bearish) reason no longer holds."""


def gain_in_r(right: Right, entry_spot: Decimal, spot: Decimal, risk_unit_usd: Decimal) -> Decimal:
    """Return how many risk units the underlying went the right way: up for a call, down for a put."""
    moved = spot - entry_spot
    return (moved if right.is_call else -moved) / risk_unit_usd


class Deadline:
    """Exit at the deadline of the contract."""

    def reason(self, trade: ScalpView) -> ExitAction | None:
        """Return the action, or None."""
        return ExitAction.TIME_EXIT if trade.is_past_deadline else None


class _PriceStop:
    """Exit when the option has lost a fraction of its entry price; passes without a usable price."""

    def __init__(self, fraction: Decimal) -> None:
        self.fraction = fraction

    def reason(self, trade: ScalpView) -> ExitAction | None:
        """Return the action, or None."""
        is_hit = trade.price is not None and trade.price <= self.fraction * trade.entry_price
        return ExitAction.STOP_LOSS if is_hit else None


class _BreakevenStop:
    """Once armed, exit at the entry price; passes without a usable price."""

    def reason(self, trade: ScalpView) -> ExitAction | None:
        """Return the action, or None."""
        is_hit = trade.is_breakeven_armed and trade.price is not None and trade.price <= trade.entry_price
        return ExitAction.BREAKEVEN_STOP if is_hit else None


class _GainReached:
    """An action once the underlying has gone so many risk units the right way.

    ``action``: ``FINAL_TARGET``; or ``SCALE_OUT`` and ``SET_BREAKEVEN``, each once a trade.
    ``gain_r``, ``risk_unit_usd``: Distance in R, and 1 R in currency per share.
    """

    def __init__(self, action: ExitAction, gain_r: Decimal, risk_unit_usd: Decimal) -> None:
        self.action = action
        self.gain_r = gain_r
        self.risk_unit_usd = risk_unit_usd

    def reason(self, trade: ScalpView) -> ExitAction | None:
        """Return the action, or None."""
        is_done = (self.action is ExitAction.SCALE_OUT and trade.is_scaled) or (
            self.action is ExitAction.SET_BREAKEVEN and trade.is_breakeven_armed
        )
        gain = gain_in_r(trade.right, trade.entry_spot, trade.spot, self.risk_unit_usd)
        return self.action if gain >= self.gain_r and not is_done else None


class _Invalidated:
    """Exit when the underlying has left the level that the signal stands on."""

    def reason(self, trade: ScalpView) -> ExitAction | None:
        """Return the action, or None."""
        is_left = is_beyond(trade.right, trade.spot, trade.invalid_below, trade.invalid_above)
        return ExitAction.INVALIDATED if is_left else None


def scalp_rules(config: ScalpExitConfig) -> tuple[ExitRule[ScalpView], ...]:
    """Return new rules of a scalp, in the order of :class:`ExitAction`."""
    unit = config.risk_unit_usd
    return (
        RiskHalt(),
        Deadline(),
        _PriceStop(config.stop_fraction),
        _BreakevenStop(),
        _GainReached(ExitAction.FINAL_TARGET, config.final_target_at_r, unit),
        _GainReached(ExitAction.SCALE_OUT, config.scale_out_at_r, unit),
        _GainReached(ExitAction.SET_BREAKEVEN, config.breakeven_at_r, unit),
        _Invalidated(),
        *config.plugin_rules(),
    )


def is_beyond(right: Right, spot: Decimal, below: Decimal | None, above: Decimal | None) -> bool:
    """Return whether the underlying has left a level; False where none is known.

    A bullish reason (a call) ends below ``below``, a bearish one (a put) above ``above``.
    """
    if right.is_call:
        return below is not None and spot < below
    return above is not None and spot > above


def scale_out_contracts(held: Decimal) -> int:
    """Return how many of ``held`` contracts a scale-out sells: half, rounded down; none of one."""
    return int(held // 2)
