"""Whatever two strategies want and the venue answers: the books sum, and nothing washes."""

from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scalpdesk.core.enums import ChangeCause, DecisionKind
from scalpdesk.core.events import PositionChanged
from scalpdesk.core.intents import CancelIntent
from scalpdesk.core.units import to_cents
from scalpdesk.instruments.sessions import next_session
from scalpdesk.orders.order import OrderState
from scalpdesk.strategies.contract import Proposal
from scalpdesk_testing.kit.desk import BUY, CLOSE, HEDGE, OPEN, SELL, DeskOfTwo, order

NAMES = st.sampled_from(("a", "b"))
AWAY = st.one_of(st.none(), st.integers(-3, 3))
"""Cents of a limit from the mid; None at the market."""
INSTRUMENTS = st.sampled_from((0, 0, 0, 1, 2))


class DividedDesk(RuleBasedStateMachine):
    """Two strategies on one desk, and a venue that answers as it likes."""

    @initialize()
    def begin(self) -> None:
        """Open a session with every quote good."""
        self.two = DeskOfTwo().open()
        self.two.desk.market(500.0)
        self.mid = 500.0
        self.dividends = 0

    @rule(
        name=NAMES,
        number=INSTRUMENTS,
        side=st.sampled_from((BUY, SELL)),
        quantity=st.integers(1, 12),
        away=AWAY,
        purpose=st.sampled_from((OPEN, HEDGE, CLOSE)),
    )
    def want(self, name, number, side, quantity, away, purpose):
        """Let a strategy want an order at its next wake: at the market, or a few cents from the mid."""
        known = self.two.desk.engine.desk.market.quotes[number]
        limit = None if away is None else f"{max(known.mid + 0.01 * away, 0.01):.2f}"
        getattr(self.two, name).want(order(side, quantity, limit, purpose, number))

    @rule(
        buyer=NAMES,
        number=INSTRUMENTS,
        quantities=st.tuples(st.integers(1, 12), st.integers(1, 12)),
        aways=st.tuples(AWAY, AWAY),
        in_turn=st.booleans(),
    )
    def want_opposites(self, buyer, number, quantities, aways, in_turn):
        """Let the two want opposite orders, in one wake or one after the other."""
        seller = "b" if buyer == "a" else "a"
        self.want(buyer, number, BUY, quantities[0], aways[0], HEDGE)
        if in_turn:
            self.two.tick(round(self.mid - 0.01, 2), round(self.mid + 0.01, 2))
        self.want(seller, number, SELL, quantities[1], aways[1], HEDGE)
        self.two.tick(round(self.mid - 0.01, 2), round(self.mid + 0.01, 2))

    @rule(name=NAMES, pick=st.integers(0, 99))
    def want_cancel(self, name, pick):
        """Let a strategy take back one of its own live orders, at the venue or waiting."""
        live = list(self.two.several.members[name].orders.live)
        if live:
            intent = CancelIntent(live[pick % len(live)], "test")
            getattr(self.two, name).wants.append(Proposal(DecisionKind.EXIT, ("back",), {}, (intent,)))

    @rule(cents=st.integers(-3, 3), half_spread=st.sampled_from((0.0, 0.01, 0.02)))
    def tick(self, cents, half_spread):
        """Quote the share; a spread of nothing is a locked market."""
        self.mid = round(self.mid + 0.01 * cents, 2)
        self.two.tick(round(self.mid - half_spread, 2), round(self.mid + half_spread, 2))

    @rule(pick=st.integers(0, 99), part=st.integers(1, 12))
    def fill(self, pick, part):
        """Fill a live order, in part or whole."""
        live = list(self.two.desk.engine.desk.orders.live.values())
        if live:
            one = live[pick % len(live)]
            self.two.desk.fill(one.submitted, min(part, int(one.leaves)))

    @rule(pick=st.integers(0, 99))
    def end(self, pick):
        """Let the venue confirm a cancel, or reject a new order."""
        live = list(self.two.desk.engine.desk.orders.live.values())
        if live:
            one = live[pick % len(live)]
            if one.state is OrderState.PENDING_CANCEL:
                self.two.desk.cancelled(one.client_order_id)
            elif one.state is OrderState.PENDING_NEW:
                self.two.desk.reject(one.submitted)

    @rule()
    def dividend(self):
        """Pay a dividend on what the account holds."""
        account = self.two.desk.engine.desk
        held = account.positions.quantity(0)
        if held:
            self.dividends += 1
            now_ns = self.two.desk.now_ns
            cash = held * Decimal("0.37")
            self.two.desk.handle(
                PositionChanged(
                    0,
                    now_ns,
                    now_ns,
                    ChangeCause.DIVIDEND,
                    Decimal(0),
                    Decimal(0),
                    cash,
                    f"d{self.dividends}",
                )
            )

    @rule()
    def new_session(self):
        """Close the session, end what the venue still had, and open the next one."""
        desk = self.two.desk
        desk.close()
        for one in list(desk.engine.desk.orders.live):
            desk.cancelled(one)
        desk.open(next_session(desk.session.day))
        self.two.desk.wait(1)
        self.two.desk.market(self.mid)

    @rule(action=st.sampled_from(("resume", "resume", "resume", "halt", "reduce", "flatten")))
    def operate(self, action):
        """Let a person change the desk's mode."""
        self.two.desk.operate(action)

    @invariant()
    def the_books_sum_to_the_account(self):
        """Shares, contracts, cash and worth."""
        self.two.check_sums()

    @invariant()
    def nothing_washes(self):
        """No two live orders of different strategies could meet."""
        self.two.check_no_wash()

    @invariant()
    def what_waits_is_seen_by_its_owner_alone(self):
        """Each waiting order is a hedge or an exit in its owner's own book of orders, and nowhere else."""
        venue = self.two.desk.engine.desk.orders.orders
        for member in self.two.several.members.values():
            for name, waiting in member.orders.waiting.items():
                assert name not in venue
                assert waiting.submitted.owner == member.name
                assert waiting.submitted.purpose is not OPEN
                assert waiting.leaves > 0
                assert member.orders.live[name] is waiting

    @invariant()
    def no_option_is_written(self):
        """No strategy's exit sells an option that the account does not hold."""
        desk = self.two.desk.engine.desk
        for number in (1, 2):
            sales = [one for one in desk.orders.live_for(number) if one.submitted.side is SELL]
            if any(one.submitted.purpose is CLOSE for one in sales):
                assert sum(one.leaves for one in sales) <= max(desk.positions.quantity(number), 0)

    def teardown(self):
        """The explained totals sum to the account's to the cent."""
        desk = self.two.desk.engine.desk
        self.two.desk.timer("mark")
        explained = self.two.books.explained(desk.attribution.nav_change)
        assert sum(row["total"] for row in explained.values()) == to_cents(desk.attribution.nav_change)


DividedDesk.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestDividedDesk = DividedDesk.TestCase
