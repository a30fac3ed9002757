"""The connection to TWS: login, client id, the broker's link behind TWS, farms, pacing, and reconnection.

Two lines may break: the socket to TWS, and TWS's own link to the broker (1100), during which the socket
stays. The connection counts as up while both stand. TWS ends every socket for its nightly restart; the same
client id then finds its orders, their ids and the day's executions again. The library swallows exceptions of
listeners and of its decoder: here each of them asks for a reconciliation.

The library also draws conclusions of its own: an error makes an order cancelled or invalid, and an execution
without a zone is of the machine's. Here it learns neither: errors go to their listeners alone, and times are
read before it (:class:`TwsTimes`).
"""

import asyncio
import contextlib
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ib_async import IB, Contract, StartupFetchNONE
from ib_async.decoder import Decoder
from ib_async.util import UNSET_DOUBLE

from scalpdesk.base import MINUTE_NS, NANOS_PER_SECOND, ConfigError, RetryError, from_ns, to_ns
from scalpdesk.core.backoff import BackOff
from scalpdesk.venues.bounds import is_count, is_figure, is_instant
from scalpdesk.venues.contract import NoticeKind, VenueSetup, how_to_reach
from scalpdesk.venues.event_queue import EventPublisher
from scalpdesk.venues.questions import BRIEF_SECONDS
from scalpdesk_ibkr import codes
from scalpdesk_ibkr.settings import IbkrSettings

_CLOCK_SECONDS = 0.25
"""Between two questions for the time of a venue that the desk's clock follows."""
_CURRENT_TIME, EXECUTION, ERROR = "49", "11", "4"
_PRICE_TICK, _SIZE_TICK, _GENERIC_TICK, _TEXT_TICK = "1", "2", "45", "46"
"""Ids of messages: TWS's time in whole seconds, an execution, an error; ticks of a price and its size, of a
size, of one number, of a text.
"""
_TICKS = {_PRICE_TICK: 2, _SIZE_TICK: 1, _GENERIC_TICK: 1}
"""Figures of a tick, from its fifth field on."""
_OPEN_INTEREST, _TIME_TICKS = frozenset({"27", "28"}), frozenset({"45", "88"})
"""Types of ticks: numbers of contracts, and times in whole seconds."""
ABSENT = frozenset({UNSET_DOUBLE, 2.0**127 - 1, 2.0**63 - 1, 2.0**31 - 1})
"""Figures that stand for no value (the vendor's ``UNSET_DOUBLE``, ``UNSET_DECIMAL``, ``UNSET_LONG``,
``UNSET_INTEGER``).
"""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 30.0
_QUESTION_TIMEOUTS = 4.0
"""Time-outs of a request that an answer in many messages may take."""
LOGIN_SECONDS = 2.0
"""Longest wait of a login for open orders, account values and executions."""
_STREAMS = ("orders", "quotes")
_OF_ORDERS = frozenset({"3", "5", "11", "53", "55", "59", "61", "101"})
"""Messages about orders, executions and positions."""
_POSITION, _CONTRACT, _MOST_UNREAD = "61", slice(4, 9), 50
"""Kind of a message about a position, its fields that name the contract, and the most that are kept."""
_EXECUTION_ID, _EXECUTION_TIME = 14, 15
"""Places of the fields in a message on an execution (11)."""
_MOST_LOGIN_BYTES = 1_000
TIME = re.compile(r"(\d{8})( +|-)(\d\d:\d\d:\d\d)(?:\.\d+)?(?: +(\S.*))?", re.ASCII)
_QUARTER = timedelta(minutes=15)
"""Zones differ by quarters of an hour."""
_MOST_AHEAD_NS = 15 * MINUTE_NS
"""An execution is past: a time farther ahead than clocks go wrong was read in the wrong zone."""
T = TypeVar("T")

logging.getLogger("ib_async").addHandler(logging.NullHandler())  # its errors come as notices
logging.getLogger("ib_async").propagate = False


class TwsRefusalError(RetryError):
    """An error of TWS to a request."""

    def __init__(self, code: int, text: str, what: str) -> None:
        super().__init__("TWS refuses a request", where=what, value=f"{code} {codes.name_of(code)}: {text}")
        self.code = code


class TwsTimes:
    """Reads the times of executions of one login.

    ``20260302-15:30:00`` is UTC; ``20260302 10:30:00 US/Eastern`` names its zone; ``20260302  10:30:00`` is
    in the zone of the login, which TWS names with its own time at the beginning of a connection. The zone of
    the desk's machine never counts. (Sources: the vendor's error 2174; erdewit/ib_insync 287 and 671;
    ib-api-reloaded/ib_async 188 and 230; nautechsystems/nautilus_trader 2359 and 4396.)

    ``now_ns``: Tells the time, UTC nanoseconds; None where the clock has not the venue's time yet.
    """

    def __init__(self, now_ns: Callable[[], int] | None) -> None:
        self._now_ns = now_ns
        self._name = ""
        self._zone: tzinfo | None = None
        """The login's name of its zone, and the zone; None while it is not known."""

    def logged_in(self, text: str) -> None:
        """Learn the login's zone from the time that TWS states at the beginning of a connection.

        A name that the system lacks (``EDT``, or one in Chinese) is still of the time beside it: the
        difference from the desk's clock is the zone's.
        """
        found = TIME.fullmatch(text.strip())
        self._name, self._zone = "", None
        if found is None:
            return
        day, _, clock, name = found.groups()
        self._name, self._zone = name or "", _named(name or "")
        if self._zone is None and self._now_ns is not None:
            with contextlib.suppress(ValueError):  # no day, or no zone of this world
                ahead = _at(day, clock, UTC) - from_ns(self._now_ns())
                self._zone = timezone(round(ahead / _QUARTER) * _QUARTER)

    def instant(self, text: str) -> int | None:
        """Return the time of an execution, UTC nanoseconds; None where it cannot be read."""
        found = TIME.fullmatch(text.strip())
        if found is None:
            return None
        day, between, clock, name = found.groups()
        zone: tzinfo | None = UTC if between == "-" else self._zone
        if name is not None:
            zone = _named(name) or (self._zone if name == self._name else None)
        try:
            at_ns = None if zone is None else to_ns(_at(day, clock, zone))
        except ValueError:
            return None
        if at_ns is None or not is_instant(at_ns):
            return None
        is_ahead = self._now_ns is not None and at_ns > self._now_ns() + _MOST_AHEAD_NS
        return None if is_ahead else at_ns


def _at(day: str, clock: str, zone: tzinfo) -> datetime:
    return datetime.strptime(day + clock, "%Y%m%d%H:%M:%S").replace(tzinfo=zone)


def _instant_ns(seconds: str) -> int:
    """Return UTC nanoseconds of seconds; ValueError outside 1970 to 2100."""
    at_ns = int(seconds) * NANOS_PER_SECOND
    if not is_instant(at_ns):
        raise ValueError(f"no time of this century: {seconds[:40]}")
    return at_ns


def _named(name: str) -> tzinfo | None:
    """Return a zone by the IANA's name or Windows'; None for any other."""
    try:
        return ZoneInfo(codes.WINDOWS_ZONES.get(name, name))
    except (KeyError, ValueError, OSError):  # no file, no such name, a folder's name
        return None


def written(at_ns: int) -> str:
    """Return an instant as the library reads it everywhere alike."""
    return f"{from_ns(at_ns // NANOS_PER_SECOND * NANOS_PER_SECOND):%Y%m%d %H:%M:%S} UTC"


class _CheckedDecoder(Decoder):
    """A decoder that reports messages which the library cannot read, instead of only logging them.

    ``refuse``: Called with the fields of an unreadable message and the reason.
    ``on_time``: Called with the time that TWS states, UTC nanoseconds: before the messages that follow it.
    ``executed``: Returns when an execution happened, UTC nanoseconds, by its id and the text of its time.
    ``on_generic``: Called with request, type and value of a tick of one number: the library has no values
    below 0.
    """

    def __init__(
        self,
        wrapper: Any,
        refuse: Callable[[Sequence[str], Exception], None],
        on_time: Callable[[int], object],
        executed: Callable[[str, str], int],
        on_generic: Callable[[int, int, float], None],
    ) -> None:
        super().__init__(wrapper, 0)
        self._refuse, self._on_time, self._executed = refuse, on_time, executed
        self._on_generic = on_generic

    def interpret(self, fields: Sequence[str]) -> None:
        """Decode a message and hand it over; an error of an order to its listeners alone."""
        try:
            kind = fields[0]
            if kind == _CURRENT_TIME:
                self._on_time(_instant_ns(fields[2]))
            elif kind == EXECUTION:
                at_ns = self._executed(fields[_EXECUTION_ID], fields[_EXECUTION_TIME])
                fields = [*fields[:_EXECUTION_TIME], written(at_ns), *fields[_EXECUTION_TIME + 1 :]]
            elif kind == ERROR and (self.wrapper.clientId, int(fields[2])) in self.wrapper.trades:
                self.wrapper.ib.errorEvent.emit(int(fields[2]), int(fields[3]), fields[4], None)
                return
            elif kind in _TICKS:
                figures = [float(text or 0) for text in fields[4 : 4 + _TICKS[kind]]]
                fits = is_count if kind == _SIZE_TICK and fields[3] in _OPEN_INTEREST else is_figure
                if wrong := [figure for figure in figures if not fits(figure)]:
                    if not ABSENT.issuperset(wrong):
                        self._refuse(fields, ValueError(f"a figure beyond all bounds: {wrong[0]:g}"))
                    if kind != _PRICE_TICK:
                        return
                    fields = [*fields[:4], "-1", "0", *fields[6:]]  # the side has no price any more
                if kind == _GENERIC_TICK:
                    self._on_generic(int(fields[2]), int(fields[3]), figures[0])
            elif kind == _TEXT_TICK and fields[3] in _TIME_TICKS:
                _instant_ns(fields[4])
            self.handlers[int(kind)](fields)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the message was not applied
            self._refuse(fields, problem)


class QuietClient(IB):
    """The library's client, which does nothing by itself."""

    def _onError(self, *error: object) -> None:  # noqa: N802 - the library's name
        """Ask for nothing on 1102: its own question for the account would outlive the connection."""


async def _synced(
    ib: IB, host: str, port: int, client_id: int, timeout_seconds: float, patience: float
) -> tuple[str, ...]:
    """Connect, and ask for what the library follows; return the names of the questions without an answer."""
    # the library asks for positions in any case, and reports a line that breaks meanwhile
    await ib.connectAsync(
        host, port, client_id, timeout=timeout_seconds, raiseSyncErrors=True, fetchFields=StartupFetchNONE
    )
    accounts, most = ib.client.getAccounts(), ib.MaxSyncedSubAccounts
    missing: list[str] = []
    ends = asyncio.get_running_loop().time() + patience

    async def ask(name: str, answer: Awaitable[Any]) -> None:
        try:
            async with asyncio.timeout_at(ends):
                await answer
        except TimeoutError:
            missing.append(name)

    async def ask_orders() -> None:
        completed = ib.reqCompletedOrdersAsync(apiOnly=False)
        await asyncio.gather(ask("open orders", ib.reqOpenOrdersAsync()), ask("completed orders", completed))
        await ask("executions", ib.reqExecutionsAsync())  # they name their orders, which come first

    asked = [ask_orders()]
    if len(accounts) == 1:
        asked.append(ask("account values", ib.reqAccountUpdatesAsync(accounts[0])))
    asked += [
        ask(f"account values of {account}", ib.reqAccountUpdatesMultiAsync(account))
        for account in (accounts if len(accounts) <= most else ())
    ]
    await asyncio.gather(*asked)
    return tuple(missing)


async def log_in(
    ib: IB, host: str, port: int, client_id: int, timeout_seconds: float, patience: float = LOGIN_SECONDS
) -> tuple[str, ...]:
    """Connect to TWS under a client id, and read positions, orders, account values and executions.

    ``patience``: Longest wait for all but the positions.

    Returns the questions that TWS did not answer: a line on which orders can be sent and positions are shown
    is none to give up. Raises ConfigError when another program has this client id. Raises RetryError when TWS
    does not answer, or does not show its positions.
    """
    in_use: list[str] = []
    login = _synced(ib, host, port, client_id, timeout_seconds, min(timeout_seconds, patience))
    task = asyncio.get_running_loop().create_task(login)

    def note(request_id: int, code: int, text: str, contract: Contract | None) -> None:
        del request_id, contract
        if code == codes.ID_IN_USE:
            in_use.append(text)
            task.cancel()  # TWS says nothing else, and the library would wait

    ib.errorEvent.connect(note, keep_ref=True)
    try:
        return await task
    except (OSError, TimeoutError, asyncio.CancelledError) as problem:
        if in_use:
            raise ConfigError(
                "another program uses this client id at TWS",
                where="venues.ibkr.client_id",
                value=client_id,
                fix="end it, or choose another id",
            ) from None
        if isinstance(problem, asyncio.CancelledError):
            task.cancel()
            raise
        where = f"{host}:{port}"
        raise RetryError(
            "TWS does not answer",
            where=where,
            value=repr(problem)[:200],
            fix=f"start TWS or its gateway, allow API clients, then {how_to_reach(where)}",
        ) from None
    finally:
        ib.errorEvent.disconnect(note)


class TwsConnection:
    """One client of TWS.

    ``client_id``: Id among the programs at this TWS.
    """

    def __init__(
        self, setup: VenueSetup, settings: IbkrSettings, client_id: int, publisher: EventPublisher
    ) -> None:
        self._setup, self._settings, self._publisher = setup, settings, publisher
        self.client_id = client_id
        self.ib: IB = QuietClient()
        self.client: Any = self.ib.client
        """Requests under ids of the caller; the library's own types end here."""
        self._wrapper: Any = self.ib.wrapper
        self.ib.client.decoder = _CheckedDecoder(
            self.ib.wrapper,
            self._refuse,
            publisher.timestamp,
            self._executed,
            lambda *tick: self.on_generic(*tick),  # noqa: PLW0108 - it is set later
        )
        self.times = TwsTimes(None if publisher.stamper.follows else setup.clock.now_ns)
        self._unreadable: dict[str, int] = {}
        """When the executions came whose times cannot be read, UTC nanoseconds by id."""
        self._greeting: bytes | None = b""
        """Beginning of the connection, until the version and the time of TWS are in."""
        self.ib.client.conn.hasData.connect(self._greet)
        self.unread = 0
        """Messages about orders, executions and positions that could not be read."""
        self._unread_positions: deque[str] = deque(maxlen=_MOST_UNREAD)
        """Contracts of the latest positions among them."""
        self.on_generic: Callable[[int, int, float], None] = lambda *_: None
        """Called with request, type and value of each tick of one number."""
        self.has_link = True
        """Whether TWS has its own link to the broker."""
        self.lost_farms: set[tuple[str, str]] = set()
        """Farms of the broker that TWS does not reach, with their names: each sends its own markets'
        ``quotes``, ``history`` or ``contracts``.
        """
        self.on_down: Callable[[], None] = lambda: None
        """Called when orders can no longer be sent, before the notice."""
        self.on_up: Callable[[bool], Awaitable[None]] | None = None
        """Called when they can again, before the notice; whether lines of quotes are lost."""
        self.on_farm_back: Callable[[], None] = lambda: None
        """Called when a farm of quotes is back: some of its lines may stay dead."""
        self.last_at = 0.0
        """Time of the last message, by the loop's clock."""
        self._why_lost = ""
        """What TWS, or this side, said of the connection that ends; empty where nobody said anything."""
        self._patience = LOGIN_SECONDS
        """Longest wait at a login for what it can do without."""
        self._is_started = self._is_closed = False
        self.is_synced = False
        """Whether the login has listed orders and positions."""
        self._asking_time = asyncio.Lock()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._refusals: dict[int, tuple[int, str]] = {}
        """Requests without an end by their ids, and their errors."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_coming_back = False
        self.listen("errorEvent", self._on_error)
        self.listen("updateEvent", self._note_message)
        self.listen("disconnectedEvent", self._on_disconnected)

    def listen(self, event: str, take: Callable[..., None]) -> None:
        """Call ``take`` with each event of the library; one that it fails on asks for a reconciliation."""
        getattr(self.ib, event).connect(take, error=self._on_fault, keep_ref=True)

    @property
    def is_up(self) -> bool:
        """Whether orders can be sent: the socket stands, and TWS has its link to the broker."""
        return self.ib.isConnected() and self.has_link and self.is_synced

    @property
    def has_quotes(self) -> bool:
        """Whether quotes can come: it is up, and TWS reaches each farm that sends them."""
        return self.is_up and all(kind != "quotes" for kind, _ in self.lost_farms)

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last message; 0 before the first."""
        return max(0.0, asyncio.get_running_loop().time() - self.last_at) if self.last_at else 0.0

    # login ------------------------------------------------------------------------------------------

    async def start(self, *, needs_time: bool = True) -> list[str]:
        """Log in and return the codes of the accounts.

        ``needs_time``: Whether a TWS that does not tell the time is none to begin with.

        Raises ConfigError when another program has this client id. Raises RetryError when TWS does not
        answer.
        """
        self._patience = LOGIN_SECONDS if needs_time else BRIEF_SECONDS
        await self._log_in()
        if needs_time:
            await self.time()
        self._is_started = self.is_synced = True
        follows = self._publisher.stamper.follows
        self._run(self._keep_time(_CLOCK_SECONDS if follows else self._setup.heartbeat_seconds))
        return list(self.ib.managedAccounts())

    async def _log_in(self) -> None:
        settings, self._why_lost = self._settings, ""
        self._greeting = b""
        try:
            timeout = self._setup.timeout_seconds
            where = settings.host, settings.port
            missing = await log_in(self.ib, *where, self.client_id, timeout, self._patience)
        except BaseException:
            self._cut()
            raise
        for name in missing:
            self._publisher.count("login_incomplete")
            self._publisher.notice(NoticeKind.LIMITED, "requests", "unanswered", f"at the login: {name}")

    def use(self, client_id: int) -> None:
        """Log in again under another client id, whose orders are then this connection's own."""
        self.client_id = client_id
        self._publisher.count("client_id_taken_over")
        self.is_synced = False
        self._cut()

    async def close(self) -> None:
        """End the connection and make no other."""
        self._is_closed = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.ib.disconnect()

    # questions --------------------------------------------------------------------------------------

    async def question(
        self, ask: Callable[[], Awaitable[T]], what: str, unread: list[str] | None = None
    ) -> T:
        """Ask TWS and return its answer; a socket on which nothing comes any more is replaced.

        One on which other messages come stands: a question that TWS leaves open is none of the socket's.

        ``unread``: Gets the positions that cannot be read, where the others are of use without them.

        Raises RetryError when TWS does not answer, or a message about orders or positions cannot be read
        meanwhile: the answer may lack what that is about.
        """
        before, asked_at = self.unread, asyncio.get_running_loop().time()
        self._unread_positions.clear()
        try:
            async with asyncio.timeout(_QUESTION_TIMEOUTS * self._setup.timeout_seconds):
                found = await ask()
        except TimeoutError:
            if self.last_at <= asked_at:
                self.renew("unanswered", what)
            raise RetryError("TWS does not answer", where=what) from None
        except ConnectionError as problem:
            raise RetryError("TWS does not answer", where=what, value=repr(problem)[:200]) from None
        if self.unread != before and unread is None:
            raise RetryError("TWS sends what cannot be read", where=what)
        if unread is not None:
            unread += list(dict.fromkeys(self._unread_positions))
        return found

    async def request(self, send: Callable[[int], None], what: str) -> list[Any]:
        """Send a request under an id of its own; return its results.

        The library takes some errors for remarks, and would wait for the end of their requests. Raises
        TwsRefusalError when TWS answers with an error. Raises RetryError when TWS does not answer.
        """
        try:
            request_id = self.client.getReqId()
            self._asked[request_id] = future = self._wrapper.startReq(request_id)
            send(request_id)
        except ConnectionError as problem:
            raise RetryError("TWS is not connected", where=what, value=repr(problem)[:200]) from None
        try:
            found: list[Any] = await self.question(lambda: future, what)
        finally:
            refusal = None
            if self._asked.get(request_id) is future:  # ids begin anew with each connection
                del self._asked[request_id]
                refusal = self._refusals.pop(request_id, None)
        if refusal is not None:
            raise TwsRefusalError(*refusal, what)
        return found

    async def time(self) -> int:
        """Ask for the time of TWS, UTC nanoseconds; a clock that follows the venue is set by it."""
        async with self._asking_time:  # the library keeps one answer of a kind
            return to_ns(await self.question(self.ib.reqCurrentTimeAsync, "time"))

    async def _keep_time(self, seconds: float) -> None:
        """Ask again and again: no quote states its time, and TWS sends no heartbeat."""
        while not self._is_closed:
            await asyncio.sleep(seconds)
            if self.ib.isConnected():
                with contextlib.suppress(RetryError):
                    await self.time()

    # what happens to it -----------------------------------------------------------------------------

    def _on_error(self, request_id: int, code: int, text: str, contract: Contract | None) -> None:
        del contract
        if code in codes.OF_CONNECTION:
            self._why_lost = f"{code} {text}"
        if request_id in self._asked and not codes.is_remark(code):
            self._refusals[request_id] = code, text
            if not self._asked[request_id].done():
                self._asked[request_id].set_result([])
        if code in codes.LINK_LOST:
            self._lose_link(codes.name_of(code), text)
        elif code in (codes.BACK, codes.BACK_DATA_LOST):
            self._publisher.count(codes.name_of(code))
            self.has_link = True
            self._run(self._up(has_lost_data=code == codes.BACK_DATA_LOST, name=codes.name_of(code)))
        elif code in codes.FARMS_LOST:
            self._publisher.count(codes.name_of(code))
            farm = codes.FARMS_LOST[code], codes.farm_of(text)
            if farm not in self.lost_farms:
                self.lost_farms.add(farm)
                self._publisher.notice(NoticeKind.DISCONNECTED, "quotes", codes.name_of(code), text)
        elif code in codes.FARMS_OK:
            kind, name = codes.FARMS_OK[code], codes.farm_of(text)
            back = {lost for lost in self.lost_farms if lost[0] == kind and name in ("", lost[1])}
            if back:
                self.lost_farms -= back
                self._publisher.notice(NoticeKind.CONNECTED, "quotes", codes.name_of(code), text)
                if kind == "quotes":
                    self.on_farm_back()
        elif code in codes.PACING:
            self._publisher.count("pacing")
            self._publisher.notice(NoticeKind.LIMITED, "requests", "pacing", text)
        elif (request_id == -1 and code not in codes.QUIET) or code not in codes.NAMES:
            stream = "orders" if self.is_of_order(request_id) else "requests"
            self._publisher.tell(stream, codes.name_of(code), f"{code} {text}")

    def is_of_order(self, request_id: int) -> bool:
        """Return whether a request of this client sends, changes or cancels an order."""
        return (self.ib.client.clientId, request_id) in self._wrapper.trades

    def _lose_link(self, name: str, text: str) -> None:
        self._publisher.count(name)
        if self.has_link:
            self.has_link = False
            self._go_down(name, text)

    def _on_disconnected(self) -> None:
        self.is_synced = False
        if self._is_closed or self._is_coming_back or not self._is_started:
            return
        self._publisher.count("disconnected")
        self._is_coming_back = True
        if self.has_link:
            self._go_down("disconnected", self._why_lost or "the socket ended")
        self._run(self._come_back())

    def _go_down(self, name: str, text: str) -> None:
        self.on_down()
        for stream in _STREAMS:
            self._publisher.notice(NoticeKind.DISCONNECTED, stream, name, text)

    async def _come_back(self) -> None:
        """Connect again, with growing pauses."""
        pauses = BackOff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        while not self._is_closed:
            await asyncio.sleep(pauses.pause())
            self.has_link = True
            self.lost_farms.clear()
            try:
                await self._log_in()
            except (ConfigError, RetryError) as error:  # after a cut TWS may know the old client for a while
                self._publisher.count("reconnect_failed")
                if isinstance(error, ConfigError):
                    self._publisher.count(codes.name_of(codes.ID_IN_USE))
                why = self._why_lost or f"{error.what} {error.value or ''}"
                self._publisher.tell("orders", "orders_not_up", f"the connection does not come up: {why}")
                continue
            self._is_coming_back, self.is_synced = False, True
            await self._up(has_lost_data=True, name="connected")
            return

    async def _up(self, *, has_lost_data: bool, name: str) -> None:
        if self.on_up is not None:
            await self.on_up(has_lost_data)
        if self.is_up:
            for stream in _STREAMS:
                self._publisher.notice(NoticeKind.CONNECTED, stream, name)

    def renew(self, name: str, detail: str) -> None:
        """Replace the socket: one on which no answer comes, or whose streams are silent."""
        self._publisher.count("renewed")
        if self.ib.isConnected():
            self._publisher.notice(NoticeKind.GAP, "orders", name, detail)
            self._why_lost = f"replaced by the desk: {name} {detail}"
        self._cut()

    def _cut(self) -> None:
        """Abort the socket: a close would wait until a dead peer has read what was sent."""
        transport = self.ib.client.conn.transport
        if transport is not None:
            transport.abort()

    def _greet(self, data: bytes) -> None:
        """Learn the login's zone from the first frame of a connection: version and time."""
        if self._greeting is None:
            return
        self._greeting += data
        end = 4 + int.from_bytes(self._greeting[:4], "big")
        if len(self._greeting) < end <= _MOST_LOGIN_BYTES:
            return
        _, _, stated = self._greeting[4:end].decode(errors="replace").partition("\0")
        self._greeting = None
        self.times.logged_in(stated.rstrip("\0"))

    def _executed(self, execution_id: str, text: str) -> int:
        """Return when an execution happened; one whose time cannot be read counts as of its coming."""
        at_ns = self.times.instant(text)
        if at_ns is not None:
            return at_ns
        if execution_id not in self._unreadable:
            self._unreadable[execution_id] = self._publisher.timestamp()
            self._publisher.refuse(
                "orders", "unreadable_time", f"execution {execution_id} of {text!r}: booked as of now"
            )
        return self._unreadable[execution_id]

    def _note_message(self) -> None:
        self.last_at = asyncio.get_running_loop().time()

    def _refuse(self, fields: Sequence[str], problem: Exception) -> None:
        kind = fields[0] if fields else ""
        self._publisher.refuse("requests", "malformed_message", f"message {kind}: {problem!r}"[:200])
        if kind in _OF_ORDERS:
            self.unread += 1
            if kind == _POSITION:
                self._unread_positions.append(" ".join(fields[_CONTRACT])[:80] or "a position")
            self._publisher.notice(NoticeKind.GAP, "orders", "malformed_message", f"message {kind}")

    def _on_fault(self, event: object, problem: Exception) -> None:
        """Report what a listener cannot believe, or its own error: reconciliation finds what it lost."""
        del event
        name = "malformed_message" if isinstance(problem, RetryError) else "internal_fault"
        self._publisher.count(name)
        self._publisher.notice(NoticeKind.GAP, "orders", name, repr(problem)[:200])

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._on_fault(None, problem if isinstance(problem, Exception) else RuntimeError(str(problem)))
