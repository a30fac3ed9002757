"""Questions to Deribit that no order depends on: the account, its log, quotes, contracts and bars."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from scalpdesk.base import Instrument, InstrumentId, QuoteEvent, RetryError, from_ns, to_ns
from scalpdesk.core.units import NANOS_PER_MS
from scalpdesk.instruments.deribit import coin_of
from scalpdesk.venues import (
    AccountFacts,
    DailyBar,
    EventPublisher,
    ListedContract,
    NoticeKind,
    VenueActivity,
    VenueMinute,
    VenueSetup,
    loop_ns,
)
from scalpdesk_deribit import wire
from scalpdesk_deribit.history import Bars, read_chart
from scalpdesk_deribit.messages import BookSummary, Listing, LogPage, PositionMessage, Ticker
from scalpdesk_deribit.rpc import Disconnected, RpcConnection

MOST_CLOCK_SKEW_MS = 1_000
_LEAST_MEASURED_MS, _UNMEASURED_PACE = 2_000, 100.0
LOOKS = 5
"""Questions for the account until its marks stand still between two of them."""
_LOG_PAGE, _LOG_DAYS_MS = 250, 2 * 86_400_000
"""Lines of the transaction log in one answer, and how long before an instant it is read."""
FAILURES = (wire.RpcError, Disconnected, TimeoutError)


class AccountAndMarket:
    """Asks one venue account, and its market, over a connection.

    ``connection``: That orders go over, too.
    ``setup``: Instruments, clock, times and limits.
    ``publisher``: Stamps what comes, and reports what cannot be read.
    """

    def __init__(
        self, connection: RpcConnection, setup: VenueSetup, publisher: EventPublisher, currency: str
    ) -> None:
        self._connection, self._setup, self._publisher = connection, setup, publisher
        self._instruments, self._clock, self._currency = setup.instruments, setup.clock, currency
        self.ahead_ms = 0
        """Lead of the venue's clock over the desk's."""
        self._started = 0, 0
        """The loop's time, ns, and the venue's, ms, as the connection began."""
        self._listed: dict[str, Instrument] = {}
        """Instruments that the venue named and the run may not hold."""
        self.margin_model = ""
        """The account's, in the venue's own words; empty before it is known."""
        self._untraded: set[str] = set()
        """Names of positions in what the desk does not trade, dated futures for one."""

    async def question(self, method: str, params: wire.Raw) -> Any:
        """Return an answer. Raises RetryError when no answer comes, or an error."""
        try:
            return await self._connection.request(method, params, 4.0 * self._setup.timeout_seconds)
        except FAILURES as problem:
            what = "refuses this" if isinstance(problem, wire.RpcError) else "does not answer"
            raise RetryError(f"the venue {what}", where=method, value=repr(problem)[:200]) from None

    def venue_ms(self) -> int:
        """Return the venue's time, milliseconds: never behind the desk's, whatever the venue answered.

        An answer of an earlier instant would put the time limit of every order into the past.
        """
        return self._clock.now_ns() // NANOS_PER_MS + max(self.ahead_ms, 0)

    async def venue_time_ms(self) -> int:
        """Ask the venue for its time, milliseconds, and measure the desk's clock against it anew."""
        now_ms = wire.whole(await self.question("public/get_time", {}), "time")
        self._publisher.timestamp(wire.instant_ns(now_ms, "time"))  # sets a clock that follows the venue
        self.ahead_ms = now_ms - self._clock.now_ns() // NANOS_PER_MS
        return now_ms

    def begin(self, now_ms: int) -> None:
        """Measure the venue's pace from its time now, milliseconds."""
        self._started = loop_ns(), now_ms

    def pace(self) -> float:
        """Return how many of the venue's seconds pass in a second of the desk, at least 1.

        Measured since the start, for a venue with a time of its own; at first a fast venue is assumed.
        """
        at_ns, at_ms = self._started
        passed_ms = (loop_ns() - at_ns) / NANOS_PER_MS
        if passed_ms < _LEAST_MEASURED_MS:
            return _UNMEASURED_PACE
        return max((self.venue_ms() - at_ms) / passed_ms, 1.0)

    def instrument(self, name: str | None) -> Instrument | None:
        """Return the instrument of a name; None of one that the venue never listed."""
        if name is None:
            return None
        if name in self._instruments:
            return self._instruments[self._instruments.id_of(name)]
        return self._listed.get(name)

    async def account(self) -> tuple[AccountFacts, list[wire.HeldAtVenue]]:
        """Return the account and its positions at the same marks; its cash is equity less their value."""
        params = {"currency": self._currency}
        found = await self.question("private/get_positions", params)
        for _ in range(LOOKS):
            before = found
            summary = await self.question("private/get_account_summary", {**params, "extended": True})
            found = await self.question("private/get_positions", params)
            if _marks(found) == _marks(before):
                break
        model = wire.margin_model(summary)
        if self.margin_model not in ("", model):
            detail = f"{model}, not {self.margin_model} any more: the desk still computes with the latter"
            self._publisher.notice(NoticeKind.LIMITED, "requests", "margin_model_changed", detail)
        self.margin_model = model
        held = await self._read_positions(found)
        return wire.read_account(summary, held), held

    async def positions(self, unread: list[str]) -> list[wire.HeldAtVenue]:
        """Return the positions, whatever becomes of the account's other figures.

        ``unread``: Gets the rows that cannot be read.
        """
        return await self._read_positions(
            await self.question("private/get_positions", {"currency": self._currency}), unread
        )

    async def _read_positions(self, found: Any, unread: list[str] | None = None) -> list[wire.HeldAtVenue]:
        """Read rows; one that cannot be read raises WireError where nobody takes it as ``unread``."""
        held = []
        for message in wire.rows(found, "positions"):
            name = "?"
            try:
                row = wire.read(message, PositionMessage, "position")
                name = str(row.instrument_name)
                instrument = self.instrument(name) or await self._look_up(row)
                line = wire.read_position(row, instrument, self._instruments.find(name))
            except wire.WireError as problem:
                if unread is None:
                    raise
                unread.append(f"{name[:40]}: {str(problem)[:120]}")
                continue
            if line is not None:
                held.append(line)
        return held

    async def _look_up(self, row: PositionMessage) -> Instrument | None:
        """Return the instrument of a position that no list has named yet; None for what no desk trades."""
        name = str(row.instrument_name)
        if not row.size or name in self._untraded:
            return None
        try:
            found = wire.read_instrument(
                await self.question("public/get_instrument", {"instrument_name": name})
            )
        except (RetryError, wire.WireError) as problem:
            self._publisher.refuse("requests", "malformed_instrument", repr(problem)[:200])
            return None
        if found is None:
            self._untraded.add(name)
        else:
            self._listed[name] = found
        return found

    async def activities(self, since_ns: int) -> tuple[VenueActivity, ...]:
        """Return funding, deliveries and transfers since some days before an instant, oldest first."""
        params: dict[str, Any] = {
            "currency": self._currency,
            "start_timestamp": since_ns // NANOS_PER_MS - _LOG_DAYS_MS,
            "end_timestamp": self.venue_ms() + MOST_CLOCK_SKEW_MS,
            "count": _LOG_PAGE,
        }
        found: dict[str, VenueActivity] = {}
        while True:
            page = wire.read(await self.question("private/get_transaction_log", params), LogPage)
            for message in wire.rows(page.logs, "transaction log"):
                activity = wire.read_log(message)
                if activity is not None:
                    found[activity.activity_id] = activity
            params["continuation"] = page.continuation
            if params["continuation"] is None:
                return tuple(sorted(found.values(), key=lambda each: each.ts_event_ns))

    async def quotes(self, instrument_ids: Sequence[InstrumentId]) -> tuple[QuoteEvent, ...]:
        """Return the latest quote of each instrument, by query."""
        found = []
        for number in instrument_ids:
            instrument = self._instruments[number]
            shown = await self.question("public/ticker", {"instrument_name": instrument.symbol})
            try:
                ticker = wire.read(shown, Ticker)
                recv_ns = self._publisher.timestamp(wire.instant_ns(ticker.timestamp, "timestamp"))
                found.append(wire.read_quote(ticker, number, instrument, recv_ns))
            except wire.WireError as problem:
                self._publisher.refuse("requests", "malformed_quote", repr(problem)[:200])
        return tuple(found)

    async def discover(self, underlying: str, first: date, last: date) -> tuple[ListedContract, ...]:
        """Return the options on a perpetual that expire from ``first`` to ``last``."""
        coin = coin_of(underlying)
        listed = await self.question(
            "public/get_instruments", {"currency": coin, "kind": "option", "expired": False}
        )
        summaries = await self.question(
            "public/get_book_summary_by_currency", {"currency": coin, "kind": "option"}
        )
        rows = [wire.read(row, BookSummary) for row in wire.rows(summaries, "summaries")]
        interest = {row.instrument_name: wire.count_of(row.open_interest) for row in rows}
        found = []
        for message in wire.rows(listed, "instruments"):
            try:
                listing = wire.read(message, Listing)
                contract = wire.read_instrument(listing)
            except wire.WireError as problem:
                self._publisher.refuse("requests", "malformed_instrument", str(problem)[:200])
                continue
            if contract is None or not contract.is_option or contract.underlying != underlying:
                continue
            self._listed[contract.symbol] = contract
            if first <= contract.expiry <= last:
                count = interest.get(contract.symbol)
                found.append(ListedContract(contract, count, listing.is_active is not False))
        return tuple(sorted(found, key=lambda item: item.contract.symbol))

    async def daily_bars(self, instrument_id: InstrumentId, first: date, last: date) -> tuple[DailyBar, ...]:
        """Return the daily bars that end from ``first`` to ``last``, oldest first."""
        rows = await self._bars(instrument_id, first, last, "1D")
        return tuple(DailyBar(from_ns(at_ns).date(), *figures) for at_ns, figures in rows)

    async def minute_bars(
        self, instrument_id: InstrumentId, first: date, last: date
    ) -> tuple[VenueMinute, ...]:
        """Return the minutes of the days ``first`` to ``last``, oldest first."""
        rows = await self._bars(instrument_id, first, last, "1")
        return tuple(VenueMinute(at_ns, *figures) for at_ns, figures in rows)

    async def _bars(self, instrument_id: InstrumentId, first: date, last: date, resolution: str) -> Bars:
        start, end = (
            to_ns(datetime.combine(day, time(0), tzinfo=UTC)) // NANOS_PER_MS
            for day in (first, last + timedelta(days=1))
        )
        chart = await self.question(
            "public/get_tradingview_chart_data",
            {
                "instrument_name": self._instruments[instrument_id].symbol,
                "start_timestamp": start,
                "end_timestamp": end - 1,
                "resolution": resolution,
            },
        )
        try:
            return read_chart(chart)
        except wire.WireError as problem:
            raise RetryError("the venue's bars cannot be read", where="bars", value=str(problem)) from None


def _marks(positions: Any) -> list[tuple[Any, ...]]:
    rows = [wire.read(message, PositionMessage) for message in wire.rows(positions, "positions")]
    return [(row.instrument_name, row.size, row.mark_price) for row in rows]
