"""The other side of a gateway without a wire: a tape, an account, and the history of its orders. Pure."""

from collections import deque
from collections.abc import Iterator, Sequence
from decimal import Decimal
from operator import attrgetter

import numpy as np

from scalpdesk.core.events import (
    BarEvent,
    Event,
    GammaExposureEvent,
    OrderEvent,
    PositionChanged,
    QuoteEvent,
)
from scalpdesk.core.intents import CancelOrder, SubmitOrder
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns, next_session
from scalpdesk.marketdata.tape import MarketTape, session_bars
from scalpdesk.simulation.exchange import NEVER_NS, SimulatedExchange
from scalpdesk.venues.contract import VenueClock

CHUNK_ROWS = 4_096
ZERO = Decimal(0)


class SimulatedVenue:
    """One session of a tape and one account at the simulated exchange, with the history of its orders.

    Parameters
    ----------
    tape
        The market; its first session is played.
    exchange
        Matches and keeps the account.
    account_id
        Name of the account.
    words
        Told within the session, each after the quotes of its instant; those of the open are for the start.
    """

    def __init__(
        self,
        tape: MarketTape,
        exchange: SimulatedExchange,
        account_id: str = "simulated",
        words: Sequence[GammaExposureEvent] = (),
    ) -> None:
        self.tape = tape
        self.exchange = exchange
        self.account_id = account_id
        self.session = tape.sessions[0]
        self.now_ns = self.session.open_ns
        self.submitted: dict[str, SubmitOrder] = {}
        """Every order that was handed in, by the desk's id; a second one under an id is a fault."""
        self.duplicates: list[str] = []
        self.history: dict[str, list[OrderEvent]] = {}
        self.is_over = False
        self.told_at_open = tuple(one for one in words if one.ts_recv_ns <= self.session.open_ns)
        later: list[BarEvent | GammaExposureEvent] = [
            *session_bars(tape, self.session),
            *words[len(self.told_at_open) :],
        ]
        self._words = deque(sorted(later, key=attrgetter("ts_recv_ns")))
        self._quotes = self._read_quotes()
        self._next = next(self._quotes, None)
        self._settled = False

    def _read_quotes(self) -> Iterator[QuoteEvent]:
        columns = self.tape.quotes
        first = int(np.searchsorted(columns.ts_ns, self.session.open_ns, side="left"))
        last = int(np.searchsorted(columns.ts_ns, self.session.close_ns, side="right"))
        underlying = self.tape.instruments.id_of(self.tape.underlying)
        low = first
        while low < last:
            high = min(low + CHUNK_ROWS, last)
            while high < last and columns.ts_ns[high] == columns.ts_ns[high - 1]:
                high += 1
            part = slice(low, high)
            ids, stamps = columns.instrument_id[part], columns.ts_ns[part]
            for row in np.lexsort((ids, ids == underlying, stamps)).tolist():
                at = low + row
                yield QuoteEvent(
                    InstrumentId(int(ids[row])),
                    int(stamps[row]),
                    int(stamps[row]),
                    float(columns.bid[at]),
                    float(columns.ask[at]),
                    float(columns.bid_size[at]),
                    float(columns.ask_size[at]),
                )
            low = high

    @property
    def next_ns(self) -> int:
        """When something happens next, UTC nanoseconds."""
        quote_ns = self.session.close_ns + 1 if self._next is None else self._next.ts_recv_ns
        return min(self.exchange.due_ns, quote_ns)

    def hand_in(self, command: SubmitOrder | CancelOrder) -> None:
        """Take a command."""
        if isinstance(command, SubmitOrder):
            if command.client_order_id in self.submitted:
                self.duplicates.append(command.client_order_id)
                return
            self.submitted[command.client_order_id] = command
        self.exchange.send(command, self.now_ns)

    def step(self) -> list[Event]:
        """Let the next thing happen; return what the desk may learn of it."""
        if self._words and self._words[0].ts_recv_ns < min(self.next_ns, self.session.close_ns):
            self.now_ns = self._words[0].ts_recv_ns
            return [self._words.popleft()]
        due_ns = self.exchange.due_ns
        if due_ns <= self.next_ns or (self._settled and due_ns != NEVER_NS):
            self.now_ns = max(self.now_ns, self.exchange.due_ns)
            answers = self.exchange.take_due(self.exchange.due_ns)
            for answer in answers:
                self.history.setdefault(answer.client_order_id, []).append(answer)
            return list(answers)
        quote = self._next
        if quote is not None:
            self._next = next(self._quotes, None)
            self.now_ns = quote.ts_recv_ns
            self.exchange.on_quote(quote)
            return [quote]
        return self._end()

    def _end(self) -> list[Event]:
        """The session is over: settle what expires, end what rests."""
        if self._settled:
            self.is_over = self.exchange.due_ns == NEVER_NS
            return []
        self._settled = True
        self.now_ns = self.session.close_ns
        changes: list[PositionChanged] = self.exchange.settle_expired(self.now_ns, self._levels())
        self.exchange.end_session(self.now_ns)
        return list(changes)

    def refuse_late(self, now_ns: int) -> list[OrderEvent]:
        """End what was handed in after the close; return the answers."""
        self.now_ns = max(self.now_ns, now_ns)
        self.exchange.end_session(self.now_ns)
        answers = self.exchange.take_due(self.now_ns)
        for answer in answers:
            self.history.setdefault(answer.client_order_id, []).append(answer)
        return answers

    def _levels(self) -> dict[InstrumentId, float]:
        levels: dict[InstrumentId, float] = {}
        for index, one in enumerate(self.tape.instruments):
            if not isinstance(one, OptionContract):
                continue
            if not self.session.open_ns <= expiry_instant_ns(one) <= self.session.close_ns:
                continue
            known = self.tape.settlement_prices.get((one.underlying, self.session.day))
            quote = self.exchange.quotes[self.tape.instruments.id_of(one.underlying)]
            level = known if known is not None else None if quote is None else quote.mid
            if level is not None:
                levels[InstrumentId(index)] = level
        return levels

    def clock(self) -> VenueClock:
        """Return the venue's time and session."""
        following = next_session(self.session.day)
        is_open = self.session.open_ns <= self.now_ns < self.session.close_ns
        closes_ns = self.session.close_ns if is_open else following.close_ns
        return VenueClock(self.now_ns, is_open, following.open_ns, closes_ns)
