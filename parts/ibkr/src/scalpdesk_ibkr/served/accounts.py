"""Accounts over the TWS socket: values, positions, portfolio and profit, sent once and as they change."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal

from scalpdesk.base import MINUTE_NS, NANOS_PER_SECOND, ZERO, InstrumentId, Position, Purpose, to_new_york
from scalpdesk.exchange import BrokerAccount, Execution, SimulatedMarket
from scalpdesk.instruments.contract import ONE
from scalpdesk.instruments.postings import of_fill
from scalpdesk.margin.holdings import Holding
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.ledger import Ledger
from scalpdesk_ibkr.messages import AccountTag
from scalpdesk_ibkr.served.contracts import ContractBook
from scalpdesk_ibkr.served.wire import DECIMAL_SIZES, Field, Message, Reader, TwsError

_VALUES_NS, _PROFIT_NS = 3 * MINUTE_NS, NANOS_PER_SECOND
"""Market time between two reports of unasked account values, and of profits, nanoseconds."""
_LEDGER_TAG = "$LEDGER"
_LEDGER_KEYS = (AccountTag.CASH, "StockMarketValue", "OptionMarketValue", "UnrealizedPnL", "RealizedPnL")
"""Values by currency that the tag stands for."""


def account_after(
    ledger: Ledger, account: BrokerAccount, lines: Sequence[tuple[InstrumentId, Holding]], fee: Decimal
) -> BrokerAccount:
    """Return an account as it would stand if lines were traded at their prices; ``fee`` in currency."""
    terms = AccountTerms(
        name=account.name,
        cash=account.cash - fee,
        positions={number: (held.quantity, held.average_price) for number, held in account.holdings.items()},
        options_level=account.options_level,
        multiplier=account.multiplier,
        shorting_enabled=account.shorting_enabled,
        shortable=account.shortable,
        currency=account.currency,
    )
    after = BrokerAccount(terms, ledger, ledger.now_ns)
    after.unsettled, after.unended = account.unsettled, account.unended
    for number, line in lines:
        after.apply(
            of_fill(line.instrument, number, line.quantity, line.price, ZERO, Purpose.OPEN, "", ledger.now_ns)
        )
    return after


class RealizedProfits:
    """Profit of closing trades after their commissions, by account and instrument, since the day began.

    ``ledger``: Accounts whose positions are the start, and the time.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._positions: dict[tuple[str, InstrumentId], Position] = {}
        self._booked: dict[str, Decimal] = {}
        """Profit of each execution."""
        self._today: dict[tuple[str, InstrumentId], Decimal] = {}
        self._day: date | None = None
        for account in ledger.accounts.values():
            for number, held in account.holdings.items():
                self._positions[account.name, number] = Position(
                    number, held.instrument, held.quantity, held.average_price
                )

    def book(self, trade: Execution, held_after: Decimal | None) -> Decimal:
        """Book a trade; return the profit that it realises, 0 where it opens.

        ``held_after`` is the account's holding after it, None where that is not known. A holding that trades
        do not explain (a delivery, a split) is taken over at its present average.
        """
        number = trade.instrument_id
        assert number is not None
        key, units = (trade.account, number), trade.side.sign * trade.quantity
        known = self._positions.get(key)
        before = (known.quantity if known is not None else ZERO) if held_after is None else held_after - units
        if known is None or known.quantity != before:
            held = self._ledger.accounts[trade.account].holdings.get(number)
            average = trade.price if held is None else held.average_price
            known = Position(number, self._ledger.instruments[number], before, average)
            self._positions[key] = known
        was = known.realized
        known.apply(units, trade.price)
        closes = before * units < 0
        profit = known.realized - was - trade.fee if closes else ZERO
        self._booked[trade.execution_id] = profit
        self._roll()
        self._today[key] = self._today.get(key, ZERO) + profit
        return profit

    def take_back(self, trade: Execution) -> None:
        """Undo a trade."""
        number = trade.instrument_id
        assert number is not None
        key = trade.account, number
        if key in self._positions:
            self._positions[key].take_back(trade.side.sign * trade.quantity, trade.price)
        self._roll()
        self._today[key] = self._today.get(key, ZERO) - self._booked.pop(trade.execution_id, ZERO)

    def _roll(self) -> None:
        """Begin each day at zero."""
        day = to_new_york(self._ledger.now_ns).date()
        if day != self._day:
            self._day = day
            self._today.clear()

    def today(self, account: str, number: InstrumentId | None = None) -> Decimal:
        """Return the day's profit of an account, or of one of its instruments, in currency."""
        self._roll()
        return sum(
            (
                profit
                for (name, held), profit in self._today.items()
                if name == account and number in (None, held)
            ),
            ZERO,
        )


class AccountFeed:
    """Account data that one client follows.

    ``codes``: The vendor's account codes, each with the broker's name of the account.
    ``send``: Sends a message to the client.
    """

    def __init__(
        self,
        version: int,
        world: SimulatedMarket,
        contracts: ContractBook,
        profits: RealizedProfits,
        codes: Mapping[str, str],
        send: Callable[[Message], None],
    ) -> None:
        self._version = version
        self._world, self._contracts, self._profits = world, contracts, profits
        self._codes, self._send = codes, send
        self._portfolio_of = ""
        """Code of the account whose updates are sent; empty without one."""
        self._position_requests: dict[int | None, tuple[str, ...]] = {}
        """Codes of accounts whose positions are followed, by request id; None for a request without id."""
        self._held: dict[str, dict[InstrumentId, Decimal]] = {}
        """Holdings as they were sent last, by code."""
        self._summaries: dict[int, tuple[str, ...]] = {}
        """Tags by request id."""
        self._profit_requests: dict[int, tuple[str, InstrumentId | None]] = {}
        self._profits_sent: dict[int, Message] = {}
        self._values_ns = self._profit_ns = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is followed."""
        return not (self._portfolio_of or self._position_requests or self._summaries or self._profit_requests)

    def _code(self, code: str) -> str:
        """Return a code; the first without one. Raises TwsError when this login has no such account."""
        code = code or next(iter(self._codes))
        if code not in self._codes:
            raise TwsError(321, f"Error validating request:-'account' : unknown account {code}")
        return code

    def _account(self, code: str) -> BrokerAccount:
        return self._world.ledger.accounts[self._codes[code]]

    # requests ---------------------------------------------------------------------------------------

    def updates(self, reader: Reader) -> Iterator[Message]:
        """Yield values and portfolio of an account, which are then sent on change (6)."""
        if not reader.flag("subscribe"):
            self._portfolio_of = ""
            return
        code = self._portfolio_of = self._code(reader.text())
        self._remember(code)
        yield from self._values_of(code)
        for number in self._account(code).holdings:
            yield self._portfolio(code, number)
        yield 8, 1, f"{to_new_york(self._world.now_ns):%H:%M}"
        yield 54, 1, code

    def values(self, request_id: int, reader: Reader) -> Iterator[Message]:
        """Yield the values of an account (76)."""
        code = self._code(reader.text())
        for key, value, currency in self._values(code):
            yield 73, 1, request_id, code, "", key, value, currency
        yield 74, 1, request_id

    def positions(self, request_id: int | None = None, code: str = "") -> Iterator[Message]:
        """Yield positions of all accounts (61) or of one (74), which are then sent on change."""
        if request_id is not None and request_id in self._position_requests:
            raise TwsError(322, "Error processing request:-'positions' : Duplicate ticker id")
        codes = tuple(self._codes) if request_id is None else (self._code(code),)
        for each in codes:
            self._remember(each)
            for number in self._account(each).holdings:
                yield self._position(request_id, each, number)
        self._position_requests[request_id] = codes
        yield (62, 1) if request_id is None else (72, 1, request_id)

    def summary(self, request_id: int, reader: Reader) -> Iterator[Message]:
        """Yield the values of all accounts that fit tags, which are then sent every three minutes (62)."""
        if request_id in self._summaries:
            raise TwsError(322, "Error processing request:-'summary' : Duplicate ticker id")
        reader.text()
        tags = self._summaries[request_id] = tuple(tag.strip() for tag in reader.text().split(","))
        yield from self._summary(request_id, tags)
        yield 64, 1, request_id

    def profit(self, request_id: int, code: str, con_id: int | None = None) -> Iterator[Message]:
        """Yield the profit of an account (92) or of one of its positions (94), then about each second."""
        if request_id in self._profit_requests:
            raise TwsError(322, "Error processing request:-'pnl' : Duplicate ticker id")
        number = None if con_id is None else self._contracts.number(con_id)
        self._profit_requests[request_id] = self._code(code), number
        yield self._profit(request_id)

    def cancel(self, kind: int, request_id: int) -> None:
        """End what a request follows: positions (64, 75), a summary (63) or profits (93, 95)."""
        if kind == 64:
            self._position_requests.pop(None, None)
        elif kind == 75:
            self._position_requests.pop(request_id, None)
        elif kind == 63:
            self._summaries.pop(request_id, None)
        else:
            self._profit_requests.pop(request_id, None)
            self._profits_sent.pop(request_id, None)

    # changes ----------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Send what has changed since the last time, and what is due by market time."""
        if self.is_idle:
            return
        for code, sent in self._held.items():
            account = self._account(code)
            changed = [
                number
                for number in {**sent, **account.holdings}
                if account.quantity(number) != sent.get(number, ZERO)
            ]
            if changed:
                self._remember(code)
                self._send_changed(code, changed)
        now_ns = self._world.now_ns
        if now_ns - self._profit_ns >= _PROFIT_NS:
            self._profit_ns = now_ns
            for request_id in self._profit_requests:
                message = self._profit(request_id)
                if message != self._profits_sent.get(request_id):
                    self._profits_sent[request_id] = message
                    self._send(message)
        if now_ns - self._values_ns >= _VALUES_NS:
            self._values_ns = now_ns
            for request_id, tags in self._summaries.items():
                for message in self._summary(request_id, tags):
                    self._send(message)
            if self._portfolio_of:
                self._send_changed(self._portfolio_of, list(self._account(self._portfolio_of).holdings))

    def _remember(self, code: str) -> None:
        account = self._account(code)
        self._held[code] = {number: held.quantity for number, held in account.holdings.items()}

    def _send_changed(self, code: str, numbers: Sequence[InstrumentId]) -> None:
        for request_id, codes in self._position_requests.items():
            if code in codes:
                for number in numbers:
                    self._send(self._position(request_id, code, number))
        if code == self._portfolio_of:
            for number in numbers:
                self._send(self._portfolio(code, number))
            for message in self._values_of(code):
                self._send(message)
            self._send((8, 1, f"{to_new_york(self._world.now_ns):%H:%M}"))

    # messages ---------------------------------------------------------------------------------------

    def _values(self, code: str) -> Iterator[tuple[str, Field, str]]:
        """Yield the values of an account: key, value, currency."""
        account = self._account(code)
        at, currency = self._world.ledger.figures(account), account.currency
        options = sum((line.value for line in account.valued() if line.is_option), ZERO)
        held = at.long_value + at.short_value
        gross = at.long_value - at.short_value
        by_number = {number: self._unrealized(account, number) for number in account.holdings}
        unrealized = sum(by_number.values(), ZERO)
        futures = (by_number[n] for n, held in account.holdings.items() if held.instrument.is_future)
        excess = at.equity - at.maintenance_margin
        yield "AccountCode", code, ""
        yield "AccountType", "INDIVIDUAL", ""
        amounts = {
            AccountTag.LIQUIDATION: at.equity,
            AccountTag.TOTAL_CASH: at.cash,
            AccountTag.FUTURES_GAIN: sum(futures, ZERO),
            "SettledCash": at.cash - account.unsettled,
            "AccruedCash": ZERO,
            AccountTag.BUYING_POWER: at.buying_power,
            AccountTag.EQUITY_WITH_LOAN: at.equity,
            "PreviousDayEquityWithLoanValue": account.last_equity,
            "GrossPositionValue": gross,
            "RegTEquity": at.equity,
            "RegTMargin": at.initial_margin,
            "SMA": max(at.equity - at.initial_margin, ZERO),
            "InitMarginReq": at.initial_margin,
            AccountTag.MAINTENANCE_MARGIN: at.maintenance_margin,
            AccountTag.AVAILABLE_FUNDS: at.options_buying_power,
            "ExcessLiquidity": excess,
            "FullInitMarginReq": at.initial_margin,
            "FullMaintMarginReq": at.maintenance_margin,
            "FullAvailableFunds": at.options_buying_power,
            "FullExcessLiquidity": excess,
            "LookAheadInitMarginReq": at.initial_margin,
            "LookAheadMaintMarginReq": at.maintenance_margin,
            "LookAheadAvailableFunds": at.options_buying_power,
            "LookAheadExcessLiquidity": excess,
            AccountTag.CASH: at.cash,
            "StockMarketValue": held - options,
            "OptionMarketValue": options,
            "UnrealizedPnL": unrealized,
            "RealizedPnL": self._profits.today(account.name),
        }
        for key, amount in amounts.items():
            yield key, round(amount, 2), currency
        yield AccountTag.RATE, ONE, currency
        yield "Cushion", round(excess / at.equity, 6) if at.equity else ZERO, ""
        yield "Leverage", round(gross / at.equity, 2) if at.equity else ZERO, ""
        yield "DayTradesRemaining", -1, ""
        yield "HighestSeverity", 0, ""

    def _values_of(self, code: str) -> Iterator[Message]:
        return ((6, 2, key, value, currency, code) for key, value, currency in self._values(code))

    def _summary(self, request_id: int, tags: Sequence[str]) -> Iterator[Message]:
        ledger = any(tag.startswith(_LEDGER_TAG) for tag in tags)
        for code in self._codes:
            for key, value, currency in self._values(code):
                if key in tags or (ledger and key in _LEDGER_KEYS):
                    yield 63, 1, request_id, code, key, value, currency

    def _position(self, request_id: int | None, code: str, number: InstrumentId) -> Message:
        """Return a position (61, or 71 for a request with an id); quantity 0 for a closed one."""
        held = self._account(code).holdings.get(number)
        quantity, cost = (ZERO, ZERO) if held is None else (held.quantity, _unit_cost(held))
        line = code, *self._contracts.fields(number), quantity, cost
        return (61, 3, *line) if request_id is None else (71, 1, request_id, *line, "")

    def _unrealized(self, account: BrokerAccount, number: InstrumentId) -> Decimal:
        held = account.holdings.get(number)
        return ZERO if held is None else held.value(self._world.ledger.mark(number)) - held.cost

    def _portfolio(self, code: str, number: InstrumentId) -> Message:
        """Return a portfolio line (7)."""
        account, mark = self._account(code), self._world.ledger.mark(number)
        held = account.holdings.get(number)
        quantity, value, cost = ZERO, ZERO, ZERO
        if held is not None:
            quantity, value, cost = held.quantity, held.value(mark), _unit_cost(held)
        return (
            *(7, 8, *self._contracts.fields(number), quantity, mark, round(value, 2), cost),
            round(self._unrealized(account, number), 2),
            round(self._profits.today(account.name, number), 2),
            code,
        )

    def _profit(self, request_id: int) -> Message:
        """Return the profit of an account (94) or of a position (95)."""
        code, number = self._profit_requests[request_id]
        account, ledger = self._account(code), self._world.ledger
        realized = self._profits.today(account.name, number)
        if number is None:
            unrealized = sum((self._unrealized(account, each) for each in account.holdings), ZERO)
            daily = ledger.figures(account).equity - account.last_equity
            return 94, request_id, *(round(each, 2) for each in (daily, unrealized, realized))
        item, held, mark = ledger.instruments[number], account.quantity(number), ledger.mark(number)
        day = to_new_york(ledger.now_ns).date()
        trades = [
            trade
            for trade in account.executions
            if trade.instrument_id == number and to_new_york(trade.ts_ns).date() == day
        ]
        before = held - sum((trade.side.sign * trade.quantity for trade in trades), ZERO)
        paid = sum(
            (item.value(trade.side.sign * trade.quantity, trade.price) + trade.fee for trade in trades), ZERO
        )
        value, unrealized = item.value(held, mark), self._unrealized(account, number)
        daily = value - item.value(before, self._world.closes.get(number, mark)) - paid
        units = held if self._version >= DECIMAL_SIZES else round(held)
        return 95, request_id, units, *(round(each, 2) for each in (daily, unrealized, realized, value))


def _unit_cost(held: Position) -> Decimal:
    """Return the average cost of a contract or share, its multiplier included."""
    return round(held.average_price * held.multiplier, 6)
