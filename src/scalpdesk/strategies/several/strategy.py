"""Several strategies as one: the engine wakes this one, and it wakes those whom it concerns.

Each member sees a desk of its own: the shared market, its own positions, orders, cash and net asset
value. What it proposes is stamped with its name, held against its budget, and gives way to another
member's hedge or exit, or goes first (:mod:`.right_of_way`). A hedge or exit that waits for another's order
to be off the book is shown to its strategy as one of its own, so that nothing is wanted twice.

All of it follows from the events alone: a recovery rebuilds the members' books by replaying the journal.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Any, Self, TypeVar

import msgspec
from msgspec.structs import replace

from scalpdesk.core.enums import Mode
from scalpdesk.core.errors import ConfigError, nearest_name
from scalpdesk.core.events import BarEvent, Event, FolderAnswered, QuoteEvent, TimerEvent
from scalpdesk.core.intents import (
    EXITS,
    OPENING,
    AskFolder,
    CancelIntent,
    OrderIntent,
    Purpose,
    SetTimer,
)
from scalpdesk.core.units import ZERO, InstrumentId, money_decimals
from scalpdesk.marketdata.triggers import Trigger, Wake
from scalpdesk.portfolio.sub_books import SubBooks
from scalpdesk.risk.checks import risk_of
from scalpdesk.strategies.contract import (
    Action,
    DeskView,
    HasUnderlying,
    OnSizeCut,
    Proposal,
    Strategy,
    StrategySpec,
    WritableDeskView,
    check_proposal,
    check_sequence,
    configured_underlyings,
    members_of,
    not_an_action,
    phase_of,
    triggers_of,
    underlying_number,
)
from scalpdesk.strategies.several.member import Member, SharedTrigger, raised_by
from scalpdesk.strategies.several.right_of_way import MemberActions, Outgoing, RightOfWay


class SeveralConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """No settings: strategies in one desk read their own sections."""


class SharedConfig:
    """The settings of all strategies of a desk, and how the equity is divided among them.

    ``specs``: The members, in the order in which they are woken.
    ``configs``: Each member's settings by name; others are ignored.
    ``budgets``: Share of the account's equity by name (``[budgets.fractions]``); members without one share
    the rest equally.
    ``adopts``: Member that takes over the account's positions at the start; None where no member does.
    ``own``: Settings of the combination itself (a hybrid's thresholds).
    Raises ConfigError when the budgets do not fit, or ``adopts`` is none of the members.
    """

    def __init__(
        self,
        specs: Sequence[StrategySpec],
        configs: Mapping[str, Any],
        budgets: Mapping[str, Decimal],
        adopts: str | None = None,
        *,
        own: Any = None,
    ) -> None:
        self.own = own
        self._specs = {spec.name: spec for spec in specs}
        self.members = {spec.name: configs[spec.name] for spec in specs}
        self.budgets = divided(tuple(self.members), budgets)
        self.adopts: tuple[str, ...] = () if adopts is None else (adopts.replace("_", "-"),)
        if not self.members.keys() >= set(self.adopts):
            raise ConfigError(
                "no strategy of this run has this name",
                where="budgets.adopts",
                value=adopts,
                nearest=nearest_name("".join(self.adopts), self.members),
                fix=f"use one of {', '.join(self.members)}, or none",
            )

    def build(self, name: str) -> Strategy:
        """Return a new strategy for a member."""
        return self._specs[name].build(self.members[name])

    @property
    def underlying(self) -> str:
        """The underlyings that the members trade, with commas between them; SPY where no member names any."""
        named = [config for config in self.members.values() if isinstance(config, HasUnderlying)]
        symbols = dict.fromkeys(symbol for config in named for symbol in configured_underlyings(config))
        return ",".join(symbols) or "SPY"


Settings = TypeVar("Settings", bound=msgspec.Struct)
_SHARE_STEP = Decimal("0.0001")


def divided(names: tuple[str, ...], budgets: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return each member's share of the equity; members without a given one share the rest equally.

    Names of other strategies are ignored: a file may serve several runs.

    Raises ConfigError when a share is not above zero, or they sum to more than 1.

    Examples
    --------
    >>> {k: str(v) for k, v in divided(("a", "b", "c"), {"b": Decimal("0.5")}).items()}
    {'a': '0.2500', 'b': '0.5', 'c': '0.2500'}
    """
    for name, share in budgets.items():
        if not (share.is_finite() and 0 < share <= 1):
            raise ConfigError(
                "a share of the equity is above 0 and at most 1",
                where=f"budgets.fractions.{name}",
                value=str(share),
                fix="write it as a fraction: 0.25",
            )
    known = {name: budgets[name] for name in names if name in budgets}
    others = len(names) - len(known)
    rest = 1 - sum(known.values(), Decimal(0))
    even = (rest / others).quantize(_SHARE_STEP, rounding=ROUND_DOWN) if others else Decimal(0)
    shares = {name: known.get(name, even) for name in names}
    if rest < 0 or min(shares.values()) <= 0:
        raise ConfigError(
            "shares of the equity are above 0 and sum to at most 1",
            where="budgets.fractions",
            value=", ".join(f"{name}: {share}" for name, share in shares.items()),
            fix="lower one of them in the section [budgets.fractions]",
        )
    return shares


class Several:
    """Members in one desk, each with a book of its own; their opposite orders never work at once.

    ``strategies``: The members in the order in which they are woken.
    ``budgets``: Share of the account's equity by the members' names.
    ``adopts``: Members that take over the account's positions at the start, each those in its own underlying.
    ``name``: Name of the combination; the members' joined by ``+`` by default.
    ``underlyings``: Symbol of a member's underlying where it is not the desk's.

    A member that is itself a combination comes in with its own members, who divide its share.
    """

    def __init__(
        self,
        strategies: Sequence[Strategy],
        budgets: dict[str, Decimal],
        adopts: Sequence[str] = (),
        *,
        name: str = "",
        underlyings: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name or "+".join(item.name for item in strategies)
        self.strategies: Sequence[Strategy] = tuple(each for item in strategies for each in members_of(item))
        shares = {
            item.name: item.budgets if isinstance(item, Several) else {item.name: Decimal(1)}
            for item in strategies
        }
        self.budgets: dict[str, Decimal] = {
            member: budgets[name] * share for name, own in shares.items() for member, share in own.items()
        }
        self.adopts = [member for name in adopts for member in shares.get(name, (name,))]
        self.underlyings = dict(underlyings or {})
        for item in strategies:
            self.underlyings |= item.underlyings if isinstance(item, Several) else {}
        self.members: dict[str, Member] = {}
        self._shared: dict[InstrumentId, SharedTrigger] = {}

    @classmethod
    def build(cls, config: SharedConfig) -> Self:
        """Return the combination of newly built members."""
        own = {
            name: configured_underlyings(each)[0]
            for name, each in config.members.items()
            if "," in config.underlying and isinstance(each, HasUnderlying)
        }
        strategies = [config.build(name) for name in config.members]
        return cls(strategies, config.budgets, config.adopts, underlyings=own)

    @property
    def is_done(self) -> bool:
        """Whether every member is done."""
        return all(item.is_done for item in self.strategies)

    def open_books(self, view: WritableDeskView) -> SubBooks:
        """Divide the desk's book; called once, before anything happens."""
        own = {name: underlying_number(view, symbol) for name, symbol in self.underlyings.items()}
        books = SubBooks(
            view.instruments,
            view.market,
            view.delta_engine,
            view.underlying,
            self.budgets,
            adopts=self.adopts,
            own_underlying=own,
        )
        self.members = {
            item.name: Member(item, books.of(item.name), share, view, own.get(item.name, view.underlying))
            for item, share in zip(self.strategies, self.budgets.values(), strict=True)
        }
        self._books = books
        self._right_of_way = RightOfWay(self.members)
        return books

    @property
    def phase(self) -> str:
        """Where each member stands."""
        return ", ".join(f"{item.name}: {phase_of(item) or '-'}" for item in self.strategies)

    # the contract -----------------------------------------------------------------------------------

    def start(self, view: DeskView) -> Sequence[Trigger]:
        """Start every member; return one trigger for each instrument that any of them watches."""
        for member in self.members.values():
            self._start(view, member)
        return tuple(self._shared.values())

    def _start(self, view: DeskView, member: Member) -> None:
        member.look(view)
        try:
            triggers = tuple(triggers_of(member.strategy, member.view))
        except Exception as error:
            error.add_note(raised_by(member))
            raise
        member.bars_of = frozenset(trigger.instrument_id for trigger in triggers)
        for trigger in triggers:
            number = trigger.instrument_id
            self._shared.setdefault(number, SharedTrigger(number)).add(member, trigger)

    def _begin_afresh(self, view: DeskView, member: Member, strategy: Strategy) -> None:
        """Put a new strategy in a member's place; its book and orders stay."""
        for shared in self._shared.values():
            shared.remove(member)
        self.strategies = tuple(strategy if item is member.strategy else item for item in self.strategies)
        member.strategy = strategy
        self._start(view, member)

    def on_wake(self, view: DeskView, wake: Wake, event: Event) -> Sequence[Action]:
        """Wake whom it concerns; return what goes out of what they want, and of what has waited."""
        box = MemberActions()
        if wake is Wake.SESSION:
            self._right_of_way.end_waiting(box, "a session began or ended")
        self._steer(view, wake, event, box)
        self._right_of_way.try_waiting(view, box)
        for member, reason, own in self._concerned(view, wake, event):
            self._ask(view, member, reason, own, box)
        return box.actions()

    def on_cut(self, view: DeskView, sent: Sequence[OrderIntent]) -> None:
        """Pass a size cut by the risk gate on to the members whose orders it reduced."""
        for owner in dict.fromkeys(intent.owner for intent in sent):
            member = self.members.get(owner)
            if member is not None and isinstance(member.strategy, OnSizeCut):
                member.look(view)
                member.strategy.on_cut(member.view, [item for item in sent if item.owner == owner])

    def _steer(self, view: DeskView, wake: Wake, event: Event, box: MemberActions) -> None:
        """Decide who of the members may do what, before they are woken; side by side all may."""

    def _ask(self, view: DeskView, member: Member, reason: Wake, event: Event, box: MemberActions) -> None:
        member.look(view)
        try:
            actions = member.strategy.on_wake(member.view, reason, event) or ()
            check_sequence(actions, member.name)
        except Exception as error:
            error.add_note(raised_by(member))
            raise
        for action in actions:
            if isinstance(action, SetTimer):
                box.add(SetTimer(f"{member.name}/{action.name}", action.due_ns))
            elif isinstance(action, AskFolder):
                box.add(msgspec.structs.replace(action, owner=member.name))
            elif isinstance(action, Proposal):
                check_proposal(action, member.name, len(view.instruments))
                self._take(view, member, self._reviewed(member, action), box)
            else:
                raise not_an_action(action, member.name)

    def _reviewed(self, member: Member, proposal: Proposal) -> Proposal:
        """Return a member's proposal as it may go on; side by side none is changed."""
        del member
        return proposal

    # whom it concerns -------------------------------------------------------------------------------

    def _concerned(self, view: DeskView, wake: Wake, event: Event) -> Sequence[tuple[Member, Wake, Event]]:
        everybody = tuple(self.members.values())
        if isinstance(event, QuoteEvent):
            due: dict[str, tuple[Member, Wake, Event]] = {}
            for member, trigger in self._shared[event.instrument_id].due:
                if member.name not in due:  # each once, with the first reason
                    due[member.name] = member, trigger.reason(event), event
            return list(due.values())
        if isinstance(event, BarEvent):
            return [(item, wake, event) for item in everybody if event.instrument_id in item.bars_of]
        if isinstance(event, TimerEvent):
            return self._of_timer(event, everybody)
        if isinstance(event, FolderAnswered):
            return [(item, wake, event) for item in everybody if item.name == event.owner]
        if wake is Wake.ORDER:
            owner = self._owner(view, event)
            return [] if owner is None else [(owner, wake, event)]
        return [(item, wake, event) for item in everybody]

    def _of_timer(self, event: TimerEvent, everybody: Sequence[Member]) -> list[tuple[Member, Wake, Event]]:
        owner, _, name = event.name.partition("/")
        member = self.members.get(owner)
        if member is None:
            return [(item, Wake.TIMER, event) for item in everybody]
        return [(member, Wake.TIMER, msgspec.structs.replace(event, name=name))]

    def _owner(self, view: DeskView, event: Event) -> Member | None:
        order = view.order_of(event)
        if order is None:
            return None
        member = self.members.get(order.submitted.owner)
        if member is not None:
            member.orders.orders[order.client_order_id] = order
        return member

    # what they want ---------------------------------------------------------------------------------

    def _take(self, view: DeskView, member: Member, proposal: Proposal, box: MemberActions) -> None:
        """Put a proposal into the outbox, as far as its budget and the others' orders allow it."""
        going = Outgoing(member, proposal)
        box.add(going)
        wanted: list[OrderIntent] = []
        refusals: list[str] = []
        spent = ZERO
        orders = sum(isinstance(intent, OrderIntent) for intent in proposal.intents)
        for intent in proposal.intents:
            if isinstance(intent, CancelIntent):
                self._take_cancel(member, intent, going)
                continue
            risk, why = self._against(view, member, intent, spent)
            if why is None and intent.purpose in OPENING:
                is_leg = proposal.all_or_none and orders > 1
                why = self._right_of_way.why_refused(view, member, intent, box, is_leg=is_leg)
            if why is None:
                spent += risk
                wanted.append(intent)
            else:
                refusals.append(why)
        going.notes += refusals
        if refusals and proposal.all_or_none:
            return
        for intent in wanted:
            self._right_of_way.place(view, member, intent, going, box)

    def _take_cancel(self, member: Member, intent: CancelIntent, going: Outgoing) -> None:
        waiting = member.orders.waiting.get(intent.client_order_id)
        if waiting is not None:
            self._right_of_way.drop(waiting, intent.reason)
            going.is_done_inside = True
        elif intent.client_order_id in member.orders.live:
            going.cancels.append(intent)
        else:
            going.notes.append(f"{intent.client_order_id} is no live order of {member.name}")

    def _against(
        self, view: DeskView, member: Member, intent: OrderIntent, spent: Decimal
    ) -> tuple[Decimal, str | None]:
        """Return what an order puts at risk (currency), and why it may not be sent, or None."""
        is_option = view.instruments[intent.instrument_id].is_option
        largest = self._books.largest_order_contracts if is_option else self._books.largest_order_shares
        # the risk gate sees only what may go before the account's holding is zero
        if intent.purpose in EXITS:
            return ZERO, self._beyond_holding(member, intent)
        holder = self._holder_against(view, member, intent) if is_option else None
        if holder is not None:
            symbol = view.instruments[intent.instrument_id].symbol
            return ZERO, f"{holder or 'no strategy'} has the other side of {symbol}"
        if largest is not None and intent.quantity > largest:
            return ZERO, f"order size: {intent.quantity} is above the limit of {largest}"
        if intent.purpose is not Purpose.OPEN:
            return ZERO, None
        if member.view.mode is not Mode.ACTIVE:
            return ZERO, f"{member.name} is {member.view.mode.lower()}: nothing new is opened"
        most, losses = self._books.most_losses_in_a_row, member.book.closed_trades.losses_in_a_row
        if most is not None and losses >= most:
            return ZERO, f"consecutive_losses: {losses} losing trades of {member.name} in a row"
        number = intent.instrument_id
        risk = risk_of(intent, view.instruments[number], view.market.quotes[number])
        if risk is None:  # the risk gate says so
            return ZERO, None
        used = self._books.opened_value(member.name) + self._at_work(view, member) + spent
        budget = member.fraction * view.nav
        if used + risk <= budget:
            return risk, None
        places = money_decimals(view.instruments[number].currency)
        return ZERO, (
            f"budget: {used:.{places}f} at risk and {risk:.{places}f} more is above {budget:.{places}f},"
            f" {member.fraction:.0%} of the equity"
        )

    def _holder_against(self, view: DeskView, member: Member, intent: OrderIntent) -> str | None:
        """Return who holds the other side of an option, or is opening it; None where no other member does.

        What two strategies hold against each other the account does not hold, and no venue closes it.
        """
        number, side = intent.instrument_id, intent.side
        holders = [name for name, book in self._books.books.items() if book.quantity(number) * side.sign < 0]
        holders += [
            order.submitted.owner
            for order in view.orders.live_for(number)
            if order.submitted.side is not side and order.submitted.purpose not in EXITS
        ]
        return next((name for name in holders if name != member.name), None)

    @staticmethod
    def _beyond_holding(member: Member, intent: OrderIntent) -> str | None:
        """Return why an exit closes more than its strategy holds, or None."""
        held, number, side = member.book.quantity(intent.instrument_id), intent.instrument_id, intent.side
        closing = sum(
            (
                order.leaves
                for order in member.orders.live.values()
                if (order.submitted.instrument_id, order.submitted.side) == (number, side)
            ),
            ZERO,
        )
        if held * side.sign < 0 and intent.quantity + closing <= abs(held):
            return None
        return (
            f"an exit of {intent.quantity} beside {closing} is more than the {held} that {member.name} holds"
        )

    def _at_work(self, view: DeskView, member: Member) -> Decimal:
        """Amount that a member's live opening orders put at risk, in currency."""
        total = ZERO
        for order in member.orders.live.values():
            if order.submitted.purpose is Purpose.OPEN:
                number = order.submitted.instrument_id
                sent, price = order.submitted, order.submitted.limit_price
                intent = OrderIntent(
                    number, sent.side, order.leaves, Purpose.OPEN, "", sent.order_type, price
                )
                total += risk_of(intent, view.instruments[number], view.market.quotes[number]) or ZERO
        return total


def one_for_each(name: str, config: Settings, build: Callable[[Settings, str], Strategy]) -> Strategy:
    """Return a strategy on its underlying; of several underlyings one on each, as members of one desk.

    Each has equal parts of the equity, and takes over what the account holds in its underlying.

    ``name``: The strategy's; a member's has its symbol behind a colon.
    ``config``: Settings with a key ``underlying``.
    ``build``: Makes the strategy from settings of one underlying, and its name.
    """
    symbols = configured_underlyings(config)
    if len(symbols) == 1:
        return build(config, name)
    own = {f"{name}:{symbol}": symbol for symbol in symbols}
    members = [build(replace(config, underlying=symbol), member) for member, symbol in own.items()]
    return Several(members, divided(tuple(own), {}), tuple(own), name=name, underlyings=own)
