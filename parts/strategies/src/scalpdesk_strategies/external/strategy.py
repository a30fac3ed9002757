"""A strategy folder trading through the desk: market events out, order intents in, and the gate between.

The folder is never called from here. The strategy asks (:class:`~scalpdesk.core.intents.AskFolder`), an
edge of the desk runs the folder, and its answer comes back as an event like a fill or a timer. So a slow
folder holds nothing up, and a replay needs no folder: the answers are in the journal.

One request is under way at a time; what happens meanwhile is in the next picture.
"""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from scalpdesk.core.bounds import Positive
from scalpdesk.core.enums import DecisionKind, Mode
from scalpdesk.core.errors import ConfigError
from scalpdesk.core.events import Event, FolderAnswered, FolderNeeds, OrderEvent, OrderFilled
from scalpdesk.core.intents import AskFolder, OrderIntent, Purpose, Side
from scalpdesk.core.units import NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.instruments.contract import OptionContract, options_in_order
from scalpdesk.marketdata.triggers import PriceMove, Trigger, Wake
from scalpdesk.orders.order import OrderState
from scalpdesk.strategies.contract import Action, DeskView, Facts, Proposal, StrategySpec, traded_symbol
from scalpdesk.strategies.toolkit.liquidation import Liquidation
from scalpdesk.strategies.toolkit.order_life import take_back
from scalpdesk_strategies.answers import SeenIds, sort_answers
from scalpdesk_strategies.external.blind import MOST_BLIND, BlindWatch
from scalpdesk_strategies.external.messages import (
    KINDS,
    Exposures,
    MarketPicture,
    Wanted,
    facts_of,
    purpose_of,
    read_intent,
    reason_of,
    sample_picture,
)

_MOST_REPORTED = 20
"""Refused intents of one answer that are decisions of their own."""
_RETRY_SECONDS = 5.0
"""Age at which an exit order of a flattening desk that is not filled gets a new price."""
SAFEST = ((True, True), (False, True), (True, False), (False, False))
"""Forms (options counted in shares, shares as a position) in the order in which they are preferred: what the
desk shows corrects a folder's own count, and a hedge that is shown cannot go unseen."""
_MOST_INTENTS = 100
"""Valid intents of one answer that are looked at."""


Count = Annotated[int, msgspec.Meta(ge=0)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class ExternalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Configuration of a strategy folder."""

    folder: str = ""
    """The folder with ``strategy.py``; ``--strategy DIR`` on the command line."""
    underlying: str = "SPY"
    """Underlying of the run."""
    quantity_unit: Literal["auto", "contracts", "shares"] = "auto"
    """Meaning of an option's quantity to the folder: ``contracts``, or ``shares`` of the underlying that
    they stand for (contracts times their multiplier). ``auto``: told from its orders in a trial at its first
    start.
    """
    chain_contracts: Count = 0
    """Options not held that are shown as well: so many of the nearest expiry, nearest the money."""
    shares_as_position: bool | None = None
    """Show the shares, held and on their way, as a position with a delta of one (``delta`` and ``quantity``
    in the underlying's events): the folder's count of its hedge is then the desk's. null: told from its
    orders in a trial at its first start; shown where they tell nothing.
    """
    price_change_usd: Positive = 0.05
    heartbeat_seconds: Positive = 5.0
    """``price_change_usd``, ``heartbeat_seconds``: The folder sees the market when the underlying has moved
    by this much, or after this silence.
    """
    max_age_seconds: Positive = 30.0
    """Intents that come later than this after their event are refused; a request without an answer for as
    long is given up (STRATEGY_EVENT_MAX_AGE_SECONDS).
    """
    order_ttl_seconds: Positive | None = None
    """An order that has not been filled by then is cancelled; null leaves it to its time in force."""
    isolate: bool = True
    """Run the folder in a process of its own; without, its endless loop is the desk's."""
    time_limit_seconds: Positive = 1.0
    """For one event."""
    memory_limit_mb: Count = 2_048
    """Address space of its process in MiB; 0 sets no limit."""
    wrapper: tuple[str, ...] = ()
    """Command that starts the process, a sandbox for instance: ``["bwrap", "--ro-bind", "/", "/", …]``."""
    readable_paths: tuple[str, ...] = ()
    """Files and folders that its process may read beside its own folder; nothing of a run's or the desk's."""
    writable_paths: tuple[str, ...] = ()
    """Files and folders that it may write beside its scratch folder."""
    connect_ports: tuple[Port, ...] = ()
    """TCP ports that it may connect to, on any machine (443); without one it has no network."""
    must_be_confined: bool = False
    """Refuse to start where the system (Landlock, seccomp) cannot keep the process from the desk, or where
    ``isolate`` is off; false warns.
    """

    def allows(self, counts_shares: bool, shares_as_position: bool) -> bool:
        """Return whether the book may be shown so: options counted in shares, shares as a position."""
        unit = "shares" if counts_shares else "contracts"
        return self.quantity_unit in ("auto", unit) and self.shares_as_position in (None, shares_as_position)

    @property
    def is_open(self) -> bool:
        """Whether it is left to the folder how the book is shown."""
        return self.quantity_unit == "auto" or self.shares_as_position is None


def no_folder_given() -> ConfigError:
    """Return the refusal of a run that is to ask a folder and names no folder."""
    return ConfigError(
        "no strategy folder is given",
        where="strategies.external.folder",
        value="",
        fix="--set folder=DIR, or --strategy DIR with backtest and run",
    )


class External:
    """A strategy folder of protocol v1."""

    name = "external"
    is_done = False

    def __init__(self, config: ExternalConfig | None = None) -> None:
        self.config = config or ExternalConfig()
        self.counts: Counter[str] = Counter()
        """Requests, events, answers, failures, restarts, intents and refused intents."""
        self.longest_answer_us = 0
        self.total_answer_us = 0
        self.last_failure: str | None = None
        """Latest failure of the folder itself; refused intents are kept apart."""
        self.last_refusal: str | None = None
        self._picture: MarketPicture | None = None
        self._options: tuple[tuple[InstrumentId, OptionContract], ...] = ()
        self._needs: FolderNeeds | None = None
        """How the folder is shown the book; None until that is known."""
        self._blind = BlindWatch()
        self._is_stopped = False
        self._request = 0
        self._open: int | None = None
        self._asked_ns = 0
        self._known = SeenIds()
        self._rests: dict[InstrumentId, tuple[Decimal, OrderIntent, Facts]] = {}
        """Signed shares that go once the order that takes the holding to zero is filled, and that order."""
        self._reported: set[str] = set()
        self._leaving = Liquidation(
            None, unwinds=True, retry_seconds=_RETRY_SECONDS, timer="external: exit again"
        )

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Wake on the underlying's price and on a heartbeat.

        Raises ConfigError when no folder is given, or the run's underlying is not the configured one.
        """
        if not self.config.folder:
            raise no_folder_given()
        symbol = traded_symbol(view, self.config.underlying, self.name)
        self._options = tuple(options_in_order(view.instruments, symbol))
        if not self.config.is_open or not self._options:
            as_position = self.config.shares_as_position is not False
            self._show_as(FolderNeeds(self.config.quantity_unit == "shares", as_position, "as configured"))
        return (PriceMove(view.underlying, self.config.price_change_usd, self.config.heartbeat_seconds),)

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Send the event to the folder, or act on its answer."""
        if wake is Wake.SESSION:
            self._open, self._rests = None, {}
            self._reported.clear()
            self._blind, self._is_stopped = BlindWatch(), False
            return ()
        actions: list[Action] = []
        if wake is Wake.ORDER and view.mode is not Mode.FLATTENING:
            actions += self._second_legs(view, event)  # type: ignore[arg-type]  # an order's wake has an order's event
        actions += self._forget_refused(view)
        if type(event) is FolderAnswered:
            return [*actions, *self._on_answer(view, event)]
        if view.mode is Mode.FLATTENING:
            return self._flatten(view, event)
        if self._leaving.why:
            self._leaving.forget()
        if wake is Wake.ORDER and not isinstance(event, OrderFilled):
            return actions
        actions += self._cancel_old(view)
        actions += self._ask(view)
        return actions

    def folder_summary(self) -> dict[str, Any]:
        """Return what the folder did, for the run summary."""
        answers = self.counts["answers"]
        return {
            **{name: self.counts[name] for name in sorted(self.counts)},
            "mean_answer_us": round(self.total_answer_us / answers) if answers else None,
            "longest_answer_us": self.longest_answer_us if answers else None,
            "needs": None if self._needs is None else msgspec.structs.asdict(self._needs),
            "last_failure": self.last_failure,
            "last_refusal": self.last_refusal,
        }

    @property
    def phase(self) -> str:
        """Requests and answers of the folder so far, for ``status``."""
        names = ("answers", "intents", "refused", "failures", "restarts")
        waits = "" if self._open is None else f"; request {self._open} is under way"
        return ", ".join(f"{self.counts[name]} {name}" for name in names) + waits

    @property
    def open_request(self) -> int | None:
        """Number of the request that waits for its answer."""
        return self._open

    # asking ---------------------------------------------------------------------------------------

    def _show_as(self, needs: FolderNeeds) -> None:
        self._needs = needs
        self._picture = MarketPicture(
            self._options,
            quantity_unit="shares" if needs.counts_shares else "contracts",
            chain_contracts=self.config.chain_contracts,
            shares_as_position=needs.shares_as_position,
        )

    def _ask_needs(self, view: DeskView) -> list[Action]:
        """Ask once how the folder has to be shown the book."""
        if self._open is not None:
            return []
        sample = sample_picture(view, self._options)
        if not sample:
            return []
        self._open, self._asked_ns = 0, view.now_ns
        return [AskFolder(0, sample, asks_needs=True)]

    def _take_needs(self, view: DeskView, event: FolderAnswered) -> list[Action]:
        """Show the folder the book as it has to be shown, and ask it for the first time."""
        self._open = None
        actions = self._note_failures(event)
        needs = event.needs
        if needs is None:  # the trial came to nothing: the form in which a hedge is always seen
            form = next(each for each in SAFEST if self.config.allows(*each))
            needs = FolderNeeds(*form, "the folder could not be tried: the safe form")
        self._show_as(needs)
        unit = "shares" if needs.counts_shares else "contracts"
        shown = "a position" if needs.shares_as_position else "no position"
        text = f"the folder is shown its options in {unit} and its shares as {shown}: {needs.why}"
        facts: Facts = {
            "quantity_unit": unit,
            "shares_as_position": "true" if needs.shares_as_position else "false",
        }
        return [*actions, Proposal(DecisionKind.SESSION, (text,), facts), *self._ask(view)]

    def _ask(self, view: DeskView) -> list[Action]:
        if self._picture is None:
            return self._ask_needs(view)
        actions: list[Action] = []
        if self._open is not None:
            waited_s = (view.now_ns - self._asked_ns) / NANOS_PER_SECOND
            if waited_s < self.config.max_age_seconds:
                return actions
            self.counts["unanswered"] += 1
            text = f"request {self._open} had no answer for {waited_s:.0f} s: given up"
            actions.append(Proposal(DecisionKind.RISK, (text,), {"request": self._open}))
        events = self._picture.events(view, self._request + 1, self._waiting().get(view.underlying, ZERO))
        if not events:
            return actions
        self._request += 1
        self._open, self._asked_ns = self._request, view.now_ns
        self.counts["requests"] += 1
        self.counts["events"] += len(events)
        actions.append(AskFolder(self._request, events))
        return actions

    # answers --------------------------------------------------------------------------------------

    def _on_answer(self, view: DeskView, event: FolderAnswered) -> list[Action]:
        if self._picture is None:
            return self._take_needs(view, event)
        self.counts["answers"] += 1
        self.total_answer_us += event.took_us
        self.longest_answer_us = max(self.longest_answer_us, event.took_us)
        actions = self._note_failures(event)
        is_late = event.request != self._open
        if not is_late:
            is_late = view.now_ns - self._asked_ns > self.config.max_age_seconds * NANOS_PER_SECOND
            self._open = None
        answers = sort_answers([msgspec.json.decode(text) for text in event.messages], self._known)
        for refusal in answers.refusals[:_MOST_REPORTED]:
            actions.append(self._refused(refusal.message, f"refused: {refusal.verdict}"))
        untold = len(answers.refusals) - _MOST_REPORTED
        if untold > 0:
            self.counts["refused"] += untold
            actions.append(
                Proposal(DecisionKind.RISK, (f"{untold} more intents of this answer are refused",))
            )
        exposures = Exposures(view, self._waiting())
        for index, message in enumerate(answers.intents):
            self.counts["intents"] += 1
            if index == _MOST_INTENTS:
                more = len(answers.intents) - index
                self.counts["refused"] += more
                text = f"{more} intents beyond the {_MOST_INTENTS} that one answer may hold are refused"
                actions.append(Proposal(DecisionKind.RISK, (text,)))
                break
            if is_late:
                actions.append(self._refused(message, "refused: stale_ts, the answer came too late"))
            elif view.mode is Mode.FLATTENING:
                actions.append(self._refused(message, "refused: the desk is flattening"))
            else:
                actions.append(self._carry(view, message, exposures))
        return actions

    def _note_failures(self, event: FolderAnswered) -> list[Action]:
        self.counts["failures"] += len(event.failures)
        if event.failures:
            self.last_failure = event.failures[-1]
        if event.state_lost:
            self.counts["restarts"] += 1
            if self._picture is not None:
                self._picture.forget()
        kinds = "; ".join(text.partition(": ")[2] or text for text in event.failures)
        if not kinds or kinds in self._reported:
            return []  # reported once a session; the counts go on
        self._reported.add(kinds)
        kind = DecisionKind.ALERT if event.is_given_up else DecisionKind.RISK
        return [Proposal(kind, event.failures, {"failures": self.counts["failures"]})]

    def _refused(self, message: Any, why: str) -> Proposal:
        self.counts["refused"] += 1
        self.last_refusal = why
        facts: Facts = {}
        if isinstance(message, dict):
            for key in ("intent_id", "event_id", "symbol", "side", "qty"):
                value = message.get(key)
                if isinstance(value, str):
                    facts[key] = value[:128]
                elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:
                    facts[key] = value
        return Proposal(DecisionKind.RISK, (f"intent of the folder {why}",), facts)

    def _carry(self, view: DeskView, message: dict[str, Any], exposures: Exposures) -> Proposal:
        assert self._needs is not None
        before = exposures.of(view.underlying)
        wanted = read_intent(message, view, exposures, "shares" if self._needs.counts_shares else "contracts")
        if isinstance(wanted, str):
            return self._refused(message, f"refused: {wanted}")
        facts = facts_of(message)
        number = wanted.intent.instrument_id
        stopped = self._stopped(view, wanted, exposures, before)
        if stopped is not None:
            exposures.add(number, -(wanted.intent.signed_quantity + wanted.rest))
            return stopped
        if number in self._rests:
            # the holding is on its way to zero: what is wanted meanwhile goes with the order that follows
            rest = self._rests[number][0] + wanted.intent.signed_quantity + wanted.rest
            self._rests[number] = (rest, wanted.intent, facts)
            facts = facts | {"second_order_shares": float(rest)}
            why = "goes with the second order of the hedge under way"
            return Proposal(KINDS[wanted.intent.purpose], (reason_of(message), why), facts)
        if wanted.rest:
            self._rests[number] = (wanted.rest, wanted.intent, facts)
            facts = facts | {"second_order_shares": float(wanted.rest)}
        return Proposal(KINDS[wanted.intent.purpose], (reason_of(message),), facts, (wanted.intent,))

    def _stopped(
        self, view: DeskView, wanted: Wanted, exposures: Exposures, before: Decimal
    ) -> Proposal | None:
        """Return the refusal of an order for the shares of a folder that does not see its hedge.

        ``before``: Shares held and ordered before it.
        """
        intent = wanted.intent
        if intent.instrument_id != view.underlying or intent.purpose is Purpose.UNWIND_HEDGE:
            return None
        options = exposures.options()
        is_first = not self._is_stopped
        if is_first and not self._blind.judge(
            intent.signed_quantity + wanted.rest,
            intent.purpose,
            options=options,
            options_delta_shares=exposures.option_delta_shares(),
            multiplier=self._options[0][1].multiplier if self._options else 1,
            held_shares=before,
        ):
            return None
        self._is_stopped = True
        self.counts["refused"] += 1
        assert self._needs is not None
        self.last_refusal = (
            f"the folder does not see its hedge: {before} shares are held or ordered, and order"
            f" {MOST_BLIND} in a row asks for {intent.side} as if there were none; {MOST_BLIND - 1} were sent"
            if is_first
            else "refused: the folder does not see its hedge"
        )
        if not is_first:
            return Proposal(DecisionKind.RISK, (f"intent of the folder {self.last_refusal}",))
        fix = (
            "it has to count the underlying's delta and quantity, or position_shares, in its events"
            if self._needs.shares_as_position
            else "leave shares_as_position and quantity_unit out, or --set shares_as_position=true"
        )
        reasons = (
            self.last_refusal,
            "no more of its orders for shares are sent in this session; what is held stays until flatten",
            fix,
        )
        return Proposal(DecisionKind.ALERT, reasons, {"shares": float(before)})

    # orders ---------------------------------------------------------------------------------------

    def _second_legs(self, view: DeskView, event: OrderEvent) -> list[Action]:
        """Send what waits for a holding to be flat, once the order that flattens it is filled."""
        order = view.orders.orders.get(event.client_order_id)
        number = None if order is None else order.submitted.instrument_id
        if order is None or number not in self._rests or order.is_live:
            return []
        signed, first, facts = self._rests.pop(number)
        if order.state is not OrderState.FILLED:
            return [_not_sent(f"the first one is {order.state}", facts)]
        if view.exposure(number):  # the risk gate had cut the first order
            return [_not_sent(f"the first one left {view.exposure(number)} shares", facts)]
        if not signed:
            return []
        purpose = purpose_of(number, signed, view, Exposures(view, self._waiting()))
        text = f"{first.reason} (second order)"
        side = Side.BUY if signed > 0 else Side.SELL
        intent = msgspec.structs.replace(first, side=side, quantity=abs(signed), purpose=purpose, reason=text)
        return [Proposal(KINDS[purpose], (text,), facts, (intent,))]

    def _forget_refused(self, view: DeskView) -> list[Action]:
        """Forget what waits for an order that the risk gate refused: the holding still stands."""
        refused = [
            number for number in self._rests if view.exposure(number) and not view.orders.live_for(number)
        ]
        return [_not_sent("the first one was refused", self._rests.pop(number)[2]) for number in refused]

    def _waiting(self) -> dict[InstrumentId, Decimal]:
        return {number: rest for number, (rest, _, _) in self._rests.items()}

    def _cancel_old(self, view: DeskView) -> list[Action]:
        ttl = self.config.order_ttl_seconds
        if ttl is None:
            return []
        limit_ns = view.now_ns - int(ttl * NANOS_PER_SECOND)
        late = (order for order in view.orders.live.values() if order.created_ns < limit_ns)
        return take_back(DecisionKind.EXIT, late, f"not filled within {ttl:g} s", "not filled in time")

    def _flatten(self, view: DeskView, event: Event) -> list[Action]:
        """Close the options, then the shares: the desk's own order, whatever the folder wants."""
        self._rests.clear()
        self._leaving.begin(view.now_ns, "the desk is flattening")
        held = [item.instrument_id for item in view.positions.held()]
        options = [number for number in held if view.instruments[number].is_option]
        return self._leaving.note_refused(view, event) or self._leaving.step(view, options)


def _not_sent(why: str, facts: Facts) -> Proposal:
    return Proposal(DecisionKind.RISK, (f"the second order is not sent: {why}",), facts)


PLUG = StrategySpec(
    name="external",
    config=ExternalConfig,
    build=External,
    summary="a strategy folder of protocol v1",
    helper="scalpdesk_strategies.isolation.answering:HELPER",
    diagnosis="scalpdesk_strategies.isolation.diagnosis:diagnose",
)
