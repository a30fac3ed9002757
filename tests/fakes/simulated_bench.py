"""The gateways to the broker in this process: at live prices (sandbox), and on a tape (simulated)."""

from decimal import Decimal

from fakes.alpaca_bench import AlpacaBench, ExchangeTruth
from scalpdesk.core.clock import FollowingClock, SystemClock
from scalpdesk.simulation.hours import AlwaysOpen, TapeHours
from scalpdesk.venues.contract import Gateway
from scalpdesk.venues.simulated import PlayedSession, SandboxGateway, SimulatedGateway
from scalpdesk_testing.kit.broker import connect
from scalpdesk_testing.kit.instruments import straddle_book
from scalpdesk_testing.kit.tape import TapeBuilder

D = Decimal


class SandboxBench(AlpacaBench):
    """The market of Alpaca's protocol, orders in the sandbox."""

    cannot_be_asked = (
        dict.fromkeys(
            (
                "a_rejection_carries_the_venues_reason",
                "a_lost_answer_is_a_doubt_and_the_proof_books_the_fill_once",
                "a_lost_order_is_absent_only_after_the_horizon",
                "a_server_error_is_never_a_rejection",
                "fills_missed_while_the_stream_was_down_are_found",
                "repeated_and_swapped_messages_change_nothing",
                "a_part_is_filled_and_the_rest_is_cancelled",
                "a_replacement_of_what_is_filled_in_part_works_its_own_quantity",
                "a_lost_answer_to_two_legs_is_resolved_for_both",
                "a_rate_limit_is_said_and_a_cancel_still_goes_through",
            ),
            "the broker is in this process: there is no line on which something may go wrong",
        )
        | dict.fromkeys(
            (
                "an_order_sent_twice_under_one_name_is_one_order",
                "a_restart_gives_only_what_the_journal_lacks",
                "a_combo_is_known_again_after_a_restart",
                "a_watchdog_cancels_the_combo_of_a_dead_desk",
                "a_combo_from_elsewhere_is_shown_and_touches_no_order",
            ),
            "its account ends with the process: nothing outlives a gateway",
        )
        | {"an_order_before_connecting_or_after_closing_never_vanishes": "its broker needs no connection"}
    )

    def gateway(self) -> Gateway:
        hours = AlwaysOpen()
        connection = connect(self.book, hours=hours, is_open=False)
        self.sandbox = SandboxGateway(super().gateway(), connection, SystemClock(), hours)
        return _Subscribed(self.sandbox, [self.share, self.call, self.put])

    def truth(self):
        record = self.sandbox.record
        return ExchangeTruth(
            record.account.cash,
            {one.symbol: one.quantity for one in record.positions()},
            [(one.client_order_id, one.quantity, one.price) for one in record.account.executions],
        )


class _Subscribed:
    """A gateway whose broker has seen a quote of each instrument before the first order."""

    def __init__(self, gateway, numbers):
        self._gateway = gateway
        self._numbers = numbers

    def __getattr__(self, name):
        return getattr(self._gateway, name)

    async def connect(self, known=()):
        facts = await self._gateway.connect(known)
        for quote in await self._gateway.quotes(self._numbers):
            self._gateway.take_quote(quote)
        return facts


class SimulatedBench:
    """A session of a tape, twenty minutes of it in a second."""

    cannot_be_asked = dict.fromkeys(
        (
            "a_rejection_carries_the_venues_reason",
            "a_lost_answer_is_a_doubt_and_the_proof_books_the_fill_once",
            "a_lost_order_is_absent_only_after_the_horizon",
            "a_server_error_is_never_a_rejection",
            "fills_missed_while_the_stream_was_down_are_found",
            "repeated_and_swapped_messages_change_nothing",
            "a_part_is_filled_and_the_rest_is_cancelled",
            "a_replacement_of_what_is_filled_in_part_works_its_own_quantity",
            "a_lost_answer_to_two_legs_is_resolved_for_both",
            "a_rate_limit_is_said_and_a_cancel_still_goes_through",
        ),
        "the broker is in this process: there is no line on which something may go wrong",
    ) | {
        "a_combo_from_elsewhere_is_shown_and_touches_no_order": "its account has one desk",
        "an_order_before_connecting_or_after_closing_never_vanishes": "its session takes it without one",
        "an_order_sent_twice_under_one_name_is_one_order": "the session notes it as a fault of the desk's",
        "quotes_stream_for_what_is_subscribed_and_nothing_else": "a tape is played whole",
        "quotes_that_are_asked_for_again_go_on_beside_the_others": "a tape is played whole",
    }

    def __init__(self):
        self.book = straddle_book(500)
        builder = TapeBuilder(self.book)
        for minute in range(385):
            when = f"{9 + (31 + minute) // 60:02d}:{(31 + minute) % 60:02d}"
            builder.quote(1, when, 9.00, 9.10, 1_000.0, 1_000.0)
            builder.quote(2, when, 8.00, 8.10, 1_000.0, 1_000.0)
            builder.quote(0, when, 499.99, 500.01, 1_000.0, 1_000.0)
        self.tape = builder.build()
        connection = connect(self.book, hours=TapeHours(self.tape.sessions), is_open=False)
        self.session = PlayedSession(self.tape, connection)
        self.share, self.call, self.put = range(3)

    async def start(self):
        """The tape is there."""

    async def stop(self):
        """Nothing is left."""

    def gateway(self) -> Gateway:
        return _Playing(self.session)

    truth = SandboxBench.truth

    @property
    def sandbox(self):
        return self.session

    def strike(self, what):
        raise AssertionError(what)

    def heal(self):
        raise AssertionError

    def far_below(self, number):
        return D("450.00")


class _Playing(SimulatedGateway):
    """A gateway whose market plays as soon as it is connected."""

    def __init__(self, session):
        super().__init__(session, FollowingClock(), pace=1_200.0)

    async def connect(self, known_orders=()):
        facts = await super().connect(known_orders)
        while len(self.venue.record.connection.broker.ledger.quotes) < 3:
            self._put(*self.venue.step())
        await self.subscribe(())
        return facts
