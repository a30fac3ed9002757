"""Causes of alerts: conditions of a followed desk, and events that happen once.

Read from the replica that follows the journal, and from the desk's own answer to ``status``. Nothing here
reaches the process that trades.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np

from scalpdesk.config.settings import AlertSettings
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.intents import EXITS, Decision, Purpose
from scalpdesk.core.sockets import ALERT_CONDITIONS
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId, count_text
from scalpdesk.instruments.contract import underlying_of
from scalpdesk.live.watchdog import ACTED_FILE
from scalpdesk.monitor import documents, expiry_documents, order_documents, position_documents
from scalpdesk.monitor.alert_files import Topic
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.texts import clock, leg_label, loss_pieces, part_label, plain, signed, span
from scalpdesk.orders.order import OrderState
from scalpdesk.portfolio.explain import part_names
from scalpdesk.portfolio.gamma_verdict import loss_of

_NEWEST_ORDERS = 300
"""Orders looked through for rejected exits."""
_MOST_TEXT = 300
_PIN_MINUTES = 60.0
"""From so many minutes before its end on a sold option at its strike is an alert."""
_QUIET_CONTRACT_SECONDS = 1_800.0
"""A held contract without a quote for so long is an alert although others of its underlying have some."""
_LEAST_GROSS_USD = 50.0
"""Below this much P&L in all its parts no share of it is an alert."""


class Level(StrEnum):
    """Urgency of an alert."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


RANK = {Level.INFO: 0, Level.WARNING: 1, Level.ALARM: 2}


class Alert(msgspec.Struct, frozen=True):
    """One alert."""

    key: str
    """Names the condition: while it holds, there is one alert of this key."""
    level: Level
    """Its urgency."""
    what: str
    did: str = "The desk goes on."
    asked: str = "Nothing."
    topic: Topic = Topic.OTHER
    """``what``, ``did``, ``asked``: What happened, what the desk did, and what the reader is asked to do."""

    @property
    def text(self) -> str:
        """The three sentences, a line each."""
        return f"{self.what}\nThe desk: {self.did}\nPlease: {self.asked}"


@dataclass(slots=True)
class DeskWatch:
    """A followed desk as conditions see it, and what they remember between two looks."""

    settings: AlertSettings
    follower: RunFollower
    now_ns: int = 0
    """The wall's time, UTC nanoseconds; ``follower.now_ns`` is that of the last event."""
    status: Mapping[str, Any] | None = None
    """The desk's own answer, None without an answer."""
    is_running: bool = False
    """Whether a desk listens on the run's control socket."""
    refused_exits: deque[Decision] = field(default_factory=lambda: deque(maxlen=100))
    """Exits that the risk gate refused since the last one that was sent."""
    since: dict[str, int] = field(default_factory=dict)
    """When a condition that must last began, by its key."""
    pending: set[str] = field(default_factory=set)
    """Keys of such conditions that hold now."""

    def lasts(self, key: str, now_ns: int, seconds: float) -> float | None:
        """Return for how long a condition holds, seconds; None before it has held for ``seconds``."""
        self.pending.add(key)
        held = (now_ns - self.since.setdefault(key, now_ns)) / NANOS_PER_SECOND
        return held if held >= seconds else None


class When(StrEnum):
    """Times at which a condition is looked at."""

    ALWAYS = "always"
    """Also before the journal's header was read, and after the run."""
    FOLLOWED = "followed"
    """While the journal of a run that is not over is followed."""
    RUNNING = "running"
    """While a desk also listens on the run's control socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionSpec:
    """A condition of a followed desk, looked at once a second or so."""

    name: str
    look: Callable[[DeskWatch], Iterable[Alert]]
    """Returns or yields an alert for each thing that holds now; the same key is the same alert."""
    when: When = When.FOLLOWED


_MODE_ALERTS = {
    Mode.REDUCING: (
        Level.WARNING,
        "sends only orders that lower what it has at risk.",
        "Find out why (scalpdesk status), then: scalpdesk resume --reason …",
    ),
    Mode.FLATTENING: (
        Level.ALARM,
        "cancels its orders, closes the options, then the hedge, until the venue shows nothing held.",
        "Watch until nothing is held: scalpdesk status.",
    ),
    Mode.HALTED: (
        Level.ALARM,
        "has cancelled its orders and sends nothing, hedges neither.",
        "Look at what is held; then scalpdesk flatten, or scalpdesk resume --reason …",
    ),
}


class DeskRules:
    """The conditions of one desk, looked at once a second or so: the product's own and those of packages."""

    def __init__(self, settings: AlertSettings, follower: RunFollower) -> None:
        self._watch = DeskWatch(settings, follower)
        self._specs: dict[str, ConditionSpec] = {}
        self._refused: dict[str, str] = {}
        """Why a package's condition is not looked at, by its name."""
        for name in (*ALERT_CONDITIONS.own_names(), *ALERT_CONDITIONS.names()):
            if name not in self._specs:
                try:
                    self._specs[name] = ALERT_CONDITIONS.find_spec(ConditionSpec, name)
                except ConfigError as refusal:
                    self._refused[name] = f"{refusal.what} ({refusal.where})"
        self._seen_decisions = follower.decision_count
        self._sessions = len(follower.sessions_closed)

    def conditions(self, now_ns: int, status: Mapping[str, Any] | None, *, is_running: bool) -> list[Alert]:
        """Return every condition that holds now; ``now_ns`` is the wall's time.

        ``status`` is the desk's own answer, None without an answer; ``is_running``, whether a desk listens
        on the run's control socket.
        """
        watch = self._watch
        watch.now_ns, watch.status, watch.is_running = now_ns, status, is_running
        watch.pending.clear()
        follower = watch.follower
        times = {When.ALWAYS}
        if not follower.problem and follower.engine is not None and not follower.tail.sealed:
            times |= {When.FOLLOWED, When.RUNNING} if is_running else {When.FOLLOWED}
        found = [_broken(name, why) for name, why in self._refused.items()]
        for name, spec in self._specs.items():
            if spec.when in times:
                found += spec.look(watch) if ALERT_CONDITIONS.is_own(name) else _looked(spec, watch)
        watch.since = {key: since for key, since in watch.since.items() if key in watch.pending}
        return found

    def news(self) -> list[Alert]:
        """Return what has happened since the last call and is over with its telling."""
        follower, found = self._watch.follower, []
        for number, decision in follower.decisions:
            if number <= self._seen_decisions:
                continue
            if decision.kind is DecisionKind.ALERT:
                text = "; ".join(decision.reasons)[:_MOST_TEXT]
                found.append(
                    Alert(
                        f"strategy {text[:40]}",
                        Level.WARNING,
                        f"{clock(decision.ts_ns)} ET: {text}",
                        "tries on under the same limits.",
                        "Look at it: scalpdesk why.",
                    )
                )
            elif decision.kind is DecisionKind.VENUE and decision.facts.get("severe"):
                text = "; ".join(decision.reasons)[:_MOST_TEXT]
                found.append(
                    Alert(
                        f"venue {text[:40]}",
                        Level.ALARM,
                        f"{clock(decision.ts_ns)} ET, the venue says: {text}",
                        "goes on under its own limits.",
                        "Look at the account at the venue; reduce, or scalpdesk flatten.",
                    )
                )
            elif decision.kind is DecisionKind.EXIT:
                if decision.taken:
                    self._watch.refused_exits.clear()
                elif len(decision.reasons) > 1:  # its own reason, and those of the risk gate
                    self._watch.refused_exits.append(decision)
        self._seen_decisions = follower.decision_count
        if len(follower.sessions_closed) > self._sessions:
            self._sessions = len(follower.sessions_closed)
            found.append(daily_summary(follower))
        return found


def _looked(spec: ConditionSpec, watch: DeskWatch) -> list[Alert]:
    """Return the alerts of a package's condition; one that fails is an alert itself."""
    try:
        return list(spec.look(watch))
    except Exception as error:  # noqa: BLE001 - a package's fault ends neither the watcher nor other alerts
        return [_broken(spec.name, f"{type(error).__name__}: {error}")]


def _broken(name: str, why: str) -> Alert:
    return Alert(
        f"condition {name}",
        Level.WARNING,
        f"The alert condition {name} cannot be looked at: {why[:_MOST_TEXT]}",
        "is watched by all other conditions.",
        "Correct the package that brings it: scalpdesk plugins.",
    )


# conditions -----------------------------------------------------------------------------------------


def _of_process(watch: DeskWatch) -> Iterator[Alert]:
    follower, now_ns = watch.follower, watch.now_ns
    acted = follower.run_dir / ACTED_FILE
    try:
        lines = acted.read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    if lines:
        yield Alert(
            "watchdog",
            Level.ALARM,
            f"The watchdog acted: {lines[0].removeprefix('ALARM: ')[:_MOST_TEXT]}",
            f"was ended by it; the last it did: {lines[-1][:_MOST_TEXT]}",
            "Look at the account at the venue, then: scalpdesk run … --resume",
        )
    seconds = watch.settings.silent_seconds
    if follower.tail.sealed or follower.header is None:
        return
    if not watch.is_running:
        if follower.header.is_backtest:
            return
        if (held := watch.lasts("gone", now_ns, seconds)) is not None:
            yield Alert(
                "gone",
                Level.ALARM,
                f"No desk listens for {span(held)}, and the journal of {follower.run_dir.name} is not"
                f" closed. Held at its last record: {holdings(follower)}.",
                "is not running; the watchdog, where there is one, has cancelled its orders.",
                "scalpdesk run … --resume, or close the positions at the venue.",
                Topic.MODE,
            )
    elif watch.status is None and (held := watch.lasts("silent", now_ns, seconds)) is not None:
        yield Alert(
            "silent",
            Level.ALARM,
            f"The desk has not answered for {span(held)}.",
            "hangs, or its machine does; the watchdog, where there is one, ends it.",
            "Look at the machine: scalpdesk status.",
        )


def _of_desk(watch: DeskWatch) -> Iterator[Alert]:
    follower, settings = watch.follower, watch.settings
    desk, now_ns = follower.desk, follower.now_ns
    if follower.mode in _MODE_ALERTS:
        level, did, asked = _MODE_ALERTS[follower.mode]
        reason = follower.mode_reason or "no reason was given"
        yield Alert(
            f"mode {follower.mode.value}",
            level,
            f"The desk is {follower.mode.value} since {clock(follower.mode_since_ns)} ET: {reason}.",
            did,
            asked,
            Topic.MODE,
        )
    held = desk.positions.held()
    if not held:
        watch.refused_exits.clear()
    times = len(watch.refused_exits) + _rejected_exits(follower)
    if held and times >= settings.exit_refusals:
        why = watch.refused_exits[-1].reasons[-1] if watch.refused_exits else _last_rejection(follower)
        yield Alert(
            "exit refused",
            Level.ALARM,
            f"An exit was refused {times} times: {why[:_MOST_TEXT]}. Held: {holdings(follower)}.",
            "asks again at least once a minute, and hedges on.",
            "Close it by hand, or change what refuses it: scalpdesk why.",
        )
    unknown = [order for order in desk.orders.live.values() if order.state is OrderState.UNKNOWN]
    if unknown and watch.lasts("unknown", now_ns, settings.unknown_seconds) is not None:
        names = ", ".join(order.client_order_id for order in unknown[:3])
        yield Alert(
            "unknown",
            Level.WARNING,
            f"In doubt at the venue: {count_text(len(unknown), 'order')} ({names}).",
            "counts each as one that may fill, and keeps asking the venue.",
            "If it stays: look for them at the venue.",
        )
    left = desk.attribution.sums.unexplained()
    share, gross = float(left["of_gross"]), float(left["gross"])
    coin_usd = 1.0 if follower.price_places == 2 else desk.market.mark(desk.view.underlying)
    is_large = (
        coin_usd is not None and gross * coin_usd >= _LEAST_GROSS_USD and share > settings.residual_fraction
    )
    # of a small P&L the noise of one quote is a large share
    if is_large and watch.lasts("residual", now_ns, settings.residual_seconds) is not None:
        yield Alert(
            "residual",
            Level.WARNING,
            f"P&L that the model does not explain is {share:.1%} of the gross, {left['amount']} of"
            f" {left['gross']} (limit {settings.residual_fraction:.0%}).".replace("%", " %"),
            "goes on: P&L is exact, its split by Greek is not to be trusted.",
            "Compare marks and fills: scalpdesk report last.",
        )


def _of_pins(watch: DeskWatch) -> Iterator[Alert]:
    """Tell of sold options that may be assigned or not, in their last hour."""
    follower, deviations = watch.follower, watch.settings.pin_deviations
    if not deviations or not follower.desk.positions.held():
        return
    found = expiry_documents.expiry_figures(follower, deviations)
    nights = {each.underlying: expiry_documents.tomorrow_text(each) for each in found.tomorrow}
    for leg in found.legs:
        ends_ns = leg.deadline_ns or 0
        if leg.is_pinned and leg.units < 0 and leg.minutes <= _PIN_MINUTES and follower.now_ns < ends_ns:
            asked = f"Buy it back before {clock(leg.order_cutoff_ns)} ET, or be ready for the shares."
            if follower.now_ns >= leg.order_cutoff_ns:
                asked = "Be ready for the shares in the morning: no order in it is taken any more."
            yield Alert(
                f"pin {leg.symbol}",
                Level.WARNING,
                f"{leg.symbol} is sold and at its strike: {expiry_documents.pin_text(leg)}.",
                f"does not know whether it will be assigned. {nights[leg.underlying]}",
                asked,
            )


def _of_margin(watch: DeskWatch) -> Iterator[Alert]:
    follower, fraction = watch.follower, watch.settings.margin_fraction
    desk = follower.desk
    limits, equity = desk.gate.venue_limits, float(desk.attribution.nav)
    if limits is not None and not limits.may_trade:
        yield Alert(
            "blocked",
            Level.ALARM,
            "The venue says that the account may not trade.",
            "can neither hedge nor close.",
            "Ask the broker.",
        )
    if equity <= 0:
        return
    risk = position_documents.risk_level(follower)
    left = equity - float(risk["capital_tied_up"])
    source = "equity less what positions tie up"
    if limits is not None:
        left, source = float(min(limits.buying_power, limits.options_buying_power)), "the venue's figure"
    if desk.positions.held() and left < fraction * equity:
        yield Alert(
            "margin",
            Level.ALARM,
            f"Buying power left is {plain(follower.money(left))}, {left / equity:.1%} of the equity of"
            f" {plain(follower.money(equity))} ({source}; limit {fraction:.0%}).".replace("%", " %"),
            "opens nothing that it cannot pay for; hedges and exits go first.",
            "Add money or reduce the position, before the venue does.",
        )


def _of_market(watch: DeskWatch) -> Iterator[Alert]:
    follower, settings = watch.follower, watch.settings
    desk, now_ns = follower.desk, follower.now_ns
    held = desk.positions.held()
    if not follower.session_is_open or not held:
        return
    for position in held:
        number = position.instrument_id
        if number == desk.view.underlying:
            continue
        age = quote_age_seconds(follower, number)
        key = f"quote {number}"
        if age < settings.quote_seconds or (age < _QUIET_CONTRACT_SECONDS and _is_fed(watch, number)):
            continue
        if not math.isfinite(age):  # never quoted: from when it was held on
            lasted = watch.lasts(key, now_ns, settings.quote_seconds)
            if lasted is None:
                continue
            age = lasted
        yield Alert(
            key,
            Level.WARNING,
            f"{leg_label(desk.instruments[number])} is held and without a quote for {span(age)}.",
            "hedges on by the model; an exit needs a quote.",
            "Look at the contract at the venue: is it halted, is the data feed up?",
        )
    age = follower.age_seconds
    if age >= max(settings.quote_seconds, 1.0):
        yield Alert(
            "underlying",
            Level.ALARM,
            f"{desk.instruments[desk.view.underlying].symbol} is without a quote for {span(age)}.",
            "cannot hedge by fresh prices and opens nothing.",
            "Look at the data feed; flatten at the venue if it stays away.",
        )
    delta, band = follower.hedged_delta(), follower.band
    beyond = follower.unhedged_from
    if band is None or beyond is None or not math.isfinite(delta) or abs(delta) <= beyond:
        return
    lasted = watch.lasts("unhedged", now_ns, settings.unhedged_seconds)
    if lasted is not None:
        working = [order for order in desk.orders.live.values() if order.submitted.purpose is Purpose.HEDGE]
        did = f"has {len(working)} hedge orders working." if working else "has no hedge order working."
        last = next(
            (each for _, each in reversed(follower.decisions) if each.kind is DecisionKind.HEDGE), None
        )
        if last is not None and not last.taken:
            did += f" Its last answer: {last.reasons[-1][:_MOST_TEXT]}."
        yield Alert(
            "unhedged",
            Level.ALARM,
            f"Net delta {signed(delta, follower.delta_places)} is outside of its band ±{band:g}"
            f" for {span(lasted)}.",
            did,
            "Does the venue take orders? Else hedge by hand, or scalpdesk flatten.",
        )


def _is_fed(watch: DeskWatch, number: InstrumentId) -> bool:
    """Return whether other options of the same underlying are quoted: the feed is up, one is quiet."""
    follower = watch.follower
    market, instruments = follower.desk.market, follower.desk.instruments
    name = underlying_of(instruments[number])
    others = [
        other
        for other, contract in enumerate(instruments)
        if contract.is_option and contract.underlying == name
    ]
    newest_ns = int(market.table(np.array(others, dtype=np.int64)).ts_event_ns.max(initial=0))
    return follower.now_ns - newest_ns < watch.settings.quote_seconds * NANOS_PER_SECOND


def _of_connection(watch: DeskWatch) -> Iterator[Alert]:
    now_ns, status = watch.now_ns, watch.status
    if status is None:
        return
    for difference in list(status.get("differences", ()))[:5]:
        yield Alert(
            f"difference {str(difference)[:60]}",
            Level.ALARM,
            f"The venue's books are not the desk's: {str(difference)[:_MOST_TEXT]}",
            "opens nothing until they agree.",
            "Compare both at the venue; then scalpdesk resume --reason …",
        )
    streams = status.get("connection", {}).get("streams", {})
    for name, is_up in streams.items():
        if is_up:
            continue
        lasted = watch.lasts(f"down {name}", now_ns, watch.settings.disconnect_seconds)
        if lasted is not None:
            yield Alert(
                f"down {name}",
                Level.ALARM if name == "orders" else Level.WARNING,
                f"The venue's stream of {name} is down for {span(lasted)}.",
                "connects again by itself, and compares its books with the venue's then.",
                "Look at the venue's status page; scalpdesk status.",
            )


def _of_journal(watch: DeskWatch) -> Iterator[Alert]:
    if watch.follower.problem:
        yield Alert(
            "journal",
            Level.ALARM,
            f"The journal cannot be followed: {watch.follower.problem.splitlines()[0]}",
            "may be trading; nothing of it can be seen.",
            "Look at the desk itself: scalpdesk status.",
        )


OWN_CONDITIONS: dict[str, ConditionSpec] = {
    spec.name: spec
    for spec in (
        ConditionSpec(name="process", look=_of_process, when=When.ALWAYS),
        ConditionSpec(name="journal", look=_of_journal, when=When.ALWAYS),
        ConditionSpec(name="desk", look=_of_desk),
        ConditionSpec(name="margin", look=_of_margin),
        ConditionSpec(name="pins", look=_of_pins),
        ConditionSpec(name="market", look=_of_market, when=When.RUNNING),
        ConditionSpec(name="connection", look=_of_connection, when=When.RUNNING),
    )
}


# facts of a followed run --------------------------------------------------------------------------


def holdings(follower: RunFollower) -> str:
    """Return what is held in words."""
    if follower.engine is None:
        return "nothing known"
    return position_documents.holdings(follower) or "nothing"


def quote_age_seconds(follower: RunFollower, number: InstrumentId) -> float:
    """Return the age of an instrument's last quote up to the last event; infinite when never quoted."""
    quote = follower.desk.market.quotes[number]
    return math.inf if quote is None else (follower.now_ns - quote.ts_event_ns) / NANOS_PER_SECOND


def _newest_exits(follower: RunFollower) -> Iterator[Any]:
    newest = list(follower.desk.orders.orders.values())[-_NEWEST_ORDERS:]
    return (order for order in reversed(newest) if order.submitted.purpose in EXITS)


def _rejected_exits(follower: RunFollower) -> int:
    """Return how many exit orders in a row the venue has rejected, without a fill after them."""
    count = 0
    for order in _newest_exits(follower):
        if order.filled:
            break
        count += order.state is OrderState.REJECTED
    return count


def _last_rejection(follower: RunFollower) -> str:
    """Return why the venue rejected the last exit."""
    rejected = (order for order in _newest_exits(follower) if order.state is OrderState.REJECTED)
    return next((order.reason for order in rejected), "") or "the venue gave no reason"


def status_text(follower: RunFollower, *, is_running: bool) -> str:
    """Return the desk in a few lines: mode, P&L, Greeks, positions, orders."""
    if follower.engine is None:
        return f"{follower.run_dir.name}: nothing on record yet."
    head = documents.run_head(follower, is_running=is_running)
    pnl = signed(Decimal(head["pnl"]))
    worst = signed(head["worst_pnl"], 0 if follower.money_places == 2 else 4)
    greeks = follower.greeks()
    delta, theta = greeks.net_delta_shares, greeks.theta_usd_per_day
    counts = order_documents.orders_page(follower, 1)["counts"]
    counted = ", ".join(f"{counts[name]} {name}" for name in ("working", "unknown", "done", "rejected"))
    return "\n".join(
        (
            f"{head['account']['label']} · {head['title']} · {head['mode']} · {head['state']}",
            f"P&L of the session {pnl} {head['currency']}, worst case {worst or '·'}",
            f"Net delta {signed(delta, follower.delta_places)}, theta {signed(follower.money(theta))}",
            f"Held: {holdings(follower)}",
            f"Orders: {counted}",
            f"{head['clock']}",
        )
    )


def daily_summary(follower: RunFollower) -> Alert:
    """Return the account of the session that has closed."""
    row, fold = follower.session_results()[-1], follower.fold
    day, pnl, parts = row.session, row.pnl, row.parts
    lines = ", ".join(
        f"{part_label(name).lower()} {signed(parts[name])}" for name in part_names(parts) if name in parts
    )
    nav, mode = follower.money(follower.desk.attribution.nav), follower.mode.value
    lost = loss_of(parts | {"total": pnl})
    lead = "" if lost is None else "".join(piece["text"] for piece in loss_pieces(lost))
    return Alert(
        f"summary {day}",
        Level.INFO,
        f"{lead}Session {day} has closed. P&L {signed(pnl)} ({lines}).",
        f"has {count_text(fold.taken['hedge'], 'hedge')},"
        f" {count_text(len(fold.orders), 'order')} and"
        f" {count_text(fold.fill_count, 'fill')} on record, NAV {nav}, mode {mode}.",
        f"Nothing. Held overnight: {holdings(follower)}.",
        Topic.SUMMARY,
    )
