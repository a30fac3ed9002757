"""A live desk, opened as ``run`` opens it, at the simulated exchange: in one thread and in virtual time.

The account may hold anything before the desk starts. Between them lies :class:`scalpdesk_testing.line.Line`,
so that requests and frames are those of the wire.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import pytest

from scalpdesk.config.schema import Secret
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import Event, QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, NEVER_NS, InstrumentId
from scalpdesk.exchange.keyring import Credential, Keyring
from scalpdesk.exchange.market import MarketOptions, SimulatedMarket
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.contract import Equity, Instruments, OptionContract, Right, occ_symbol
from scalpdesk.instruments.sessions import new_york_ns, session_on
from scalpdesk.live import assembly
from scalpdesk.live.assembly import LiveDesk, open_desk
from scalpdesk.live.options import RunOptions
from scalpdesk.live.plan import LivePlan, plan_of
from scalpdesk.live.run import end_journal
from scalpdesk.plugins import JournalReader
from scalpdesk.simulation.accounts import AccountTerms
from scalpdesk.simulation.faults import FaultPlan
from scalpdesk.simulation.hours import Hours, TapeHours
from scalpdesk_alpaca.gateway import AlpacaGateway
from scalpdesk_alpaca.served.app import AlpacaApi
from scalpdesk_alpaca.served.protocol import PROTOCOL as ALPACA
from scalpdesk_alpaca.served.requests import Request
from scalpdesk_alpaca.transport import ApiKeys, Endpoints, GatewayOptions
from scalpdesk_testing.alpaca_trial import AlpacaLine
from scalpdesk_testing.line import BASE_URL, Asked, LineNetwork
from scalpdesk_testing.market import BareMarket
from scalpdesk_testing.virtual_time import VirtualClock, VirtualLoop

DAY, _LATER = date(2018, 2, 7), date(2018, 2, 9)
_STRIKES = (90, 95, 100, 105, 110)
KEY, SECRET, ACCOUNT = "PKLINEDESK0000000000", "line-desk-secret", "line"
CASH = Decimal(1_000_000)
_SPOTS = {"SPY": 100.5, "QQQ": 60.25}


def option(underlying: str, expiry: date, right: Right, strike: int) -> str:
    """Return the symbol of a contract."""
    return occ_symbol(underlying, expiry, right, Decimal(strike))


CHAIN = tuple(
    option("SPY", expiry, right, strike)
    for expiry in (DAY, _LATER)
    for right in (Right.CALL, Right.PUT)
    for strike in _STRIKES
)
"""Options on SPY: of today and of the day after tomorrow."""
ELSEWHERE = tuple(option("QQQ", _LATER, right, 60) for right in (Right.CALL, Right.PUT))


class _StillMarket(BareMarket):
    """Two shares and their options at prices that stand still: a market source of the exchange."""

    def __init__(self) -> None:
        super().__init__()
        session = session_on(DAY)
        self.hours: Hours = TapeHours((session,))
        self.instruments = Instruments(
            [*map(Equity, _SPOTS), *map(us_option, CHAIN), *map(us_option, ELSEWHERE)]
        )
        self.start_ns = new_york_ns(DAY, time(11))
        self.close_ns = session.close_ns
        self.open_interest = {instrument.symbol: 5_000 for instrument in self.instruments}
        self._next_ns = self.start_ns

    def quote_of(self, number: int, at_ns: int) -> QuoteEvent:
        """Return the quote of an instrument, the same at any time."""
        instrument = self.instruments[InstrumentId(number)]
        if isinstance(instrument, OptionContract):
            spot, strike = _SPOTS[instrument.underlying], float(instrument.strike)
            intrinsic = max(spot - strike if instrument.is_call else strike - spot, 0.0)
            mid, half = intrinsic + 0.60, 0.02
        else:
            mid, half = _SPOTS[instrument.symbol], 0.01
        bid = round(mid - half, 2)
        return QuoteEvent(InstrumentId(number), at_ns, at_ns, bid, round(bid + 2 * half, 2), 500.0, 500.0)

    def next_ns(self) -> int:
        """Return when the next quotes come."""
        return self._next_ns if self._next_ns < self.close_ns else NEVER_NS

    def take_next(self) -> Iterable[QuoteEvent]:
        """Return the next quotes: all of them, every two seconds."""
        at_ns = self._next_ns
        self._next_ns += 2 * NANOS_PER_SECOND
        return [self.quote_of(number, at_ns) for number in range(len(self.instruments))]


class LineDesk:
    """An exchange with one account, and the desks that trade it one after the other.

    ``holdings``: Signed units by symbol that the account holds before any desk starts.
    """

    def __init__(
        self, folder: Path, holdings: Mapping[str, int] | None = None, faults: FaultPlan | None = None
    ) -> None:
        self.folder = folder
        self.loop = VirtualLoop()
        self.market = _StillMarket()
        self.clock = VirtualClock(self.loop, self.market.start_ns)
        self.world = SimulatedMarket(self.market, ALPACA.terms, MarketOptions(seed=1), faults)
        numbers = self.market.instruments
        positions = {
            numbers.id_of(symbol): (Decimal(quantity), Decimal(1))
            for symbol, quantity in (holdings or {}).items()
            if quantity
        }
        self.account = self.world.open_account(AccountTerms(name=ACCOUNT, cash=CASH, positions=positions))
        self.keyring = Keyring([Credential(KEY, SECRET, ACCOUNT)])
        self.api: Any = AlpacaApi(self.world, self.keyring, trading_limit=0)
        self.line = AlpacaLine(self.loop, self.clock, self.world, self.api, self.keyring)
        self.said: list[tuple[str, str]] = []
        self.requests: list[Asked] = []
        self.line.after_request.append(self.requests.append)
        self.desk: LiveDesk | None = None
        self.options = GatewayOptions(requests_per_minute=6_000, data_requests_per_minute=6_000)
        """Times and limits of the gateway."""

    def plan(self, strategy: str, *overrides: str, contracts: int = 200, **options: Any) -> LivePlan:
        """Return the plan of a run at the exchange."""
        runs = ("venue.forecast=false", "rates.flat=0.0", f"desk.runs_dir={self.folder / 'runs'}")
        settings = load_settings(
            strategy,
            overrides=(*runs, *overrides),
            environ={"TRADING_API_KEY": KEY, "TRADING_API_SECRET": SECRET},
            cwd=self.folder,
            simulated_account=False,
        )
        plan = plan_of(settings, RunOptions(venue="alpaca", url=BASE_URL, contracts=contracts, **options))
        return replace(plan, state=self.folder / "state")

    def live(self, plan: LivePlan, meanwhile: Callable[["LineDesk"], Awaitable[Any]]) -> Any:
        """Open a desk, run it until ``meanwhile`` is through, and return what that returned."""
        return self.loop.run_until_complete(self._live(plan, meanwhile))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()

    async def _live(self, plan: LivePlan, meanwhile: Callable[["LineDesk"], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(7_200.0):
            return await self._lived(plan, meanwhile)

    async def _lived(self, plan: LivePlan, meanwhile: Callable[["LineDesk"], Awaitable[Any]]) -> Any:
        self.line.drive()
        desk = await self._open(plan)
        self.desk = desk
        running = asyncio.ensure_future(desk.runner.run(desk.start))
        watched = asyncio.ensure_future(meanwhile(self))
        try:
            await asyncio.wait({running, watched}, return_when=asyncio.FIRST_COMPLETED)
            if not watched.done():
                await running
                await asyncio.sleep(0)
            return await watched
        finally:
            for task in (running, watched):
                task.cancel()
            await asyncio.gather(running, watched, return_exceptions=True)
            await desk.gateway.close(graceful=False)
            end_journal(desk, {})
            if desk.lock is not None:
                desk.lock.release()

    async def _open(self, plan: LivePlan) -> LiveDesk:
        def gateway_of(_plan: Any, instruments: Instruments, *_: Any) -> Any:
            return self.gateway(instruments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(assembly, "build_gateway", gateway_of)
            return await open_desk(plan, self.clock, notify=lambda *words: self.said.append(words))

    def gateway(self, instruments: Instruments) -> AlpacaGateway:
        """Return a connection of its own to the exchange."""
        return AlpacaGateway(
            endpoints=Endpoints.at(BASE_URL),
            keys=ApiKeys(Secret(KEY), Secret(SECRET)),
            instruments=instruments,
            clock=self.clock,
            options=self.options,
            network=LineNetwork(self.line),
        )

    async def until(self, condition: Callable[[], Any], seconds: float = 300.0) -> None:
        """Let time pass until something is so."""
        ends = self.loop.time() + seconds
        while not condition():
            assert self.loop.time() < ends, f"not within {seconds:g} s; the desk said {self.said[-8:]}"
            await asyncio.sleep(0.1)

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def following(self) -> None:
        """Wait until the desk trades its session."""
        await self.until(lambda: self.engine.desk.view.session is not None)

    @property
    def engine(self) -> Any:
        """The desk's engine."""
        assert self.desk is not None
        return self.desk.engine

    def held(self) -> dict[str, Decimal]:
        """Return what the desk holds, by symbol."""
        desk = self.engine.desk
        return {desk.instruments[one.instrument_id].symbol: one.quantity for one in desk.positions.held()}

    def truth(self) -> dict[str, Decimal]:
        """Return what the exchange's ledger holds, by symbol."""
        return {
            self.market.instruments[number].symbol: held.quantity
            for number, held in self.account.holdings.items()
            if held.quantity
        }

    def place(self, symbol: str, side: str, quantity: int, name: str = "by-hand") -> None:
        """Trade at the market past the desk, as a person does on the venue's own pages."""
        self.world.advance_to(self.clock.true_ns())
        body = {
            "symbol": symbol,
            "side": side,
            "qty": str(quantity),
            "type": "market",
            "time_in_force": "day",
        }
        headers = {"apca-api-key-id": KEY, "apca-api-secret-key": SECRET}
        raw = json.dumps(body | {"client_order_id": name}).encode()
        answer = self.api.handle(Request("POST", "/v2/orders", {}, headers, raw, self.clock.true_ns()))
        assert answer.status == 200, answer.body
        self.line.drive()

    def also_holds(self, line: dict[str, str]) -> None:
        """Let the exchange show one more position, as its API would write it."""
        handle = self.api.handle

        def with_line(request: Request) -> Any:
            answer = handle(request)
            if request.path != "/v2/positions":
                return answer
            return replace(answer, body=json.dumps([*json.loads(answer.body), line]).encode())

        self.api.handle = with_line

    def events(self) -> list[Event]:
        """Return every event of the latest run's journal."""
        assert self.desk is not None
        return [event for step, _ in JournalReader(self.desk.run_dir).steps() for event in step]
