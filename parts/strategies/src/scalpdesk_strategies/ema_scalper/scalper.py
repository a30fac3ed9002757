"""The options scalper of PRD-136 for scripts: signals in, orders through a router of the caller's.

It decides with the parts that the desk's strategy decides with; what differs is who carries the orders. It
reads no clock and waits for nothing but its router.
"""

import math
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import msgspec

from scalpdesk.closing.ladder import PriceLadder
from scalpdesk.core.enums import Mode
from scalpdesk.core.events import BarEvent
from scalpdesk.core.intents import Side
from scalpdesk.core.units import InstrumentId, exact
from scalpdesk.instruments.broker_terms import known_cutoff
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.sessions import NEW_YORK, Session, session_on, to_ns
from scalpdesk_strategies.ema_scalper.cloud_watch import CloudWatch
from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.entry import (
    EntryPlan,
    EntryPlanner,
    ScalpMoment,
    losing,
)
from scalpdesk_strategies.ema_scalper.exits import ScalpExit, ScalpExits, mark_of, target_floor
from scalpdesk_strategies.ema_scalper.greeks_gate import GreeksGate
from scalpdesk_strategies.ema_scalper.model import (
    OptionsChain,
    ScalpPosition,
    ScalpResult,
    TradeSignal,
    days_to_expiry,
)
from scalpdesk_strategies.ema_scalper.sizing import ScalpSizer, buy_limit
from scalpdesk_strategies.ema_scalper.strategy import RETRY_SECONDS, TARGET_REST_SECONDS
from scalpdesk_strategies.ema_scalper.strike_selector import StrikeSelector
from scalpdesk_strategies.ema_scalper.timing import is_past_limit


class RoutedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A limit order for a router."""

    option_symbol: str
    side: Side
    contracts: int
    """``option_symbol``, ``side``, ``contracts``: What is traded."""
    limit_price: Decimal
    """On the tick of the option's class, currency per share."""
    timeout_seconds: float
    """The router cancels what is not filled by then."""


class RoutedFill(msgspec.Struct, frozen=True):
    """Fill of an order at its end: contracts, and their average price per share."""

    contracts: int
    price: Decimal


class OrderRouter(Protocol):
    """The contract of an executor."""

    @property
    def venue(self) -> str:
        """Name of the venue."""
        ...

    def now(self) -> datetime:
        """Return the time, with a time zone."""
        ...

    def equity(self) -> float:
        """Return the account's equity, currency."""
        ...

    def chain(self, ticker: str) -> OptionsChain | None:
        """Return the options of a ticker; None when they are not known."""
        ...

    def quote(self, option_symbol: str) -> tuple[float, float] | None:
        """Return bid and ask of an option; None without a fresh quote."""
        ...

    async def submit(self, order: RoutedOrder) -> RoutedFill:
        """Send an order and return what was filled once it is filled, cancelled or refused."""
        ...

    async def next_update(self) -> None:
        """Wait for the next quote or bar."""
        ...


class _Held(msgspec.Struct):
    """A position with its exit rules."""

    position: ScalpPosition
    exits: ScalpExits
    left_to_add: int
    exit_reason: str = ""


class OptionsScalper:
    """0DTE/1DTE options scalping engine.

    Attributes
    ----------
    positions
        Scalps that are held, each from its first fill.
    refusals
        Every reason against the last signal that was not traded.
    mode
        Mode of the caller's desk: entries need ``ACTIVE``, ``FLATTENING`` sells everything.
    """

    def __init__(self, config: ScalpConfig, executor_router: OrderRouter) -> None:
        self.config = config
        self.router = executor_router
        self.strike_selector = StrikeSelector(config)
        self.greeks_gate = GreeksGate(config)
        self.sizer = ScalpSizer(config)
        self.positions: list[ScalpPosition] = []
        self.refusals: tuple[str, ...] = ()
        self.mode = Mode.ACTIVE
        self._planner = EntryPlanner(
            config, selector=self.strike_selector, gate=self.greeks_gate, sizer=self.sizer
        )
        self._held: dict[str, _Held] = {}
        """By option symbol."""
        self._buying: set[str] = set()
        self._watches: dict[str, CloudWatch] = {}

    async def process_signal(self, signal: TradeSignal) -> ScalpResult | None:
        """Turn a signal into an option order.

        Calls or puts by its direction, the best strike, the Greeks gate, the size, then one limit order
        for the first half. None when it is not traded; :attr:`refusals` then has every reason.
        """
        moment = self._moment(signal)
        self.refusals = self._planner.refusals(signal, moment)
        if self.refusals:
            return None
        chain = self.router.chain(signal.ticker)
        if chain is None:
            self.refusals = (f"no options of {signal.ticker} are known",)
            return None
        chain.cutoff_passed |= is_past_limit(moment.now_ns, moment.session, moment.session.day, self.config)
        plan = self._planner.plan(signal, chain, self.router.equity())
        if isinstance(plan, tuple):
            self.refusals = plan
            return None
        symbol = plan.selection.option_symbol
        is_taken = symbol in self._held or symbol in self._buying
        self.refusals = self._planner.against_contract(
            us_option(symbol, [signal.ticker]), moment, is_taken=is_taken
        )
        if self.refusals:
            return None
        fill = await self._buy(symbol, plan.halves.first, plan.limit)
        position = self._opened(signal, plan, fill) if fill.contracts else None
        return ScalpResult(
            signal_id=signal.signal_id,
            option_symbol=symbol,
            contracts_ordered=plan.halves.first,
            contracts_filled=fill.contracts,
            limit_price=float(plan.limit),
            position=position,
        )

    async def monitor_positions(self) -> None:
        """Look at every position on each update of the router until none is left."""
        while self._held:
            await self.check_positions()
            if self._held:
                await self.router.next_update()

    async def check_positions(self) -> list[ScalpPosition]:
        """Look at every position once and sell what an exit rule names; return what is closed now."""
        closed = []
        for symbol, held in tuple(self._held.items()):
            price = self._price(held)
            held.exit_reason = self._reason(held, price) or ""
            # while a second half is being bought the scalp is kept: what is filled of it is sold as well
            if held.exit_reason and await self._sell(held, price) and symbol not in self._buying:
                closed.append(held.position)
                del self._held[symbol]
                self.positions.remove(held.position)
        return closed

    async def on_bar(self, ticker: str, bar: BarEvent) -> ScalpResult | None:
        """Follow the clouds of a ticker over a closed bar, buy second halves, and trade a signal of it.

        Return what was ordered last, where two bar lengths close with it; None without an order.
        """
        session = self._session()
        watch = self._watches.setdefault(
            ticker, CloudWatch(InstrumentId(bar.instrument_id), ticker, self.config.price_source)
        )
        watch.open_session(session)
        closed = watch.add(bar)
        for held in tuple(self._held.values()):
            if held.position.ticker == ticker and held.exits.bar_seconds in closed:
                held.exits.read_bar(watch, to_ns(held.position.entry_time))
                await self._second_half(held)
        result = None
        for seconds in closed:
            signal = watch.signal(seconds) if seconds // 60 in self.config.signal_minutes else None
            if signal is not None:
                result = await self.process_signal(signal) or result
        return result

    def _should_scalp(self, signal: TradeSignal) -> bool:
        """Return whether a signal passes the filters before a contract is looked for."""
        return not self._planner.refusals(signal, self._moment(signal))

    @property
    def _venue(self) -> str:
        return self.config.venue or self.router.venue

    def _session(self) -> Session:
        return session_on(self.router.now().astimezone(NEW_YORK).date())

    def _moment(self, signal: TradeSignal) -> ScalpMoment:
        mine = [held for held in self._held.values() if held.position.ticker == signal.ticker]
        marks = [(exact(held.position.entry_price), self._price(held)) for held in mine]
        watch = self._watches.get(signal.ticker)
        return ScalpMoment(
            to_ns(self.router.now()),
            self._session(),
            self._venue,
            known_cutoff(self._venue),
            len(self._held.keys() | self._buying),
            losing(marks),
            None if watch is None else watch.macro,
            self.mode,
        )

    async def _buy(self, symbol: str, contracts: int, limit: Decimal) -> RoutedFill:
        """Send one buy; while it is live no other is sent for the contract."""
        self._buying.add(symbol)
        try:
            return await self.router.submit(
                RoutedOrder(
                    option_symbol=symbol,
                    side=Side.BUY,
                    contracts=contracts,
                    limit_price=limit,
                    timeout_seconds=float(self.config.fill_timeout_seconds),
                )
            )
        finally:
            self._buying.discard(symbol)

    def _opened(self, signal: TradeSignal, plan: EntryPlan, fill: RoutedFill) -> ScalpPosition:
        chosen, now = plan.selection, self.router.now()
        position = ScalpPosition(
            ticker=signal.ticker,
            option_symbol=chosen.option_symbol,
            option_type=chosen.option_type,
            strike=chosen.strike,
            expiry=chosen.expiry,
            dte=days_to_expiry(signal.day, chosen.expiry),
            direction="long_call" if chosen.option_type == "call" else "long_put",
            contracts=fill.contracts,
            entry_price=float(fill.price),
            current_price=float(fill.price),
            delta=chosen.delta,
            theta=chosen.theta,
            iv=chosen.iv,
            unrealized_pnl=0.0,
            unrealized_pnl_pct=0.0,
            entry_time=now,
            signal_id=signal.signal_id,
        )
        self.positions.append(position)
        exits = ScalpExits(self.config, us_option(chosen.option_symbol, [signal.ticker]), signal)
        self._held[chosen.option_symbol] = _Held(position, exits, plan.halves.add)
        return position

    async def _second_half(self, held: _Held) -> None:
        if not held.left_to_add or held.exit_reason:
            return
        is_due = self._planner.is_add_due(held.exits.candles, held.exits.signal.sign)
        if is_due is None:
            return
        most, held.left_to_add = min(held.left_to_add, held.position.contracts), 0
        position, now_ns = held.position, to_ns(self.router.now())
        entry_price, contracts = exact(position.entry_price), Decimal(position.contracts)
        against = self._planner.against_adding(
            price=self._price(held),
            entry_price=entry_price,
            is_buying=position.option_symbol in self._buying,
            is_past_cutoff=is_past_limit(now_ns, self._session(), position.expiry, self.config),
            mode=self.mode,
        )
        quote = self.router.quote(position.option_symbol)
        if not is_due or against or quote is None:
            return
        limit = buy_limit(*quote, held.exits.contract.tick_rule, self.config.limit_offset)
        count = min(most, self.sizer.room(limit, contracts, entry_price, self.router.equity()))
        if not count:
            return
        fill = await self._buy(position.option_symbol, count, limit)
        if fill.contracts:
            total = position.contracts + fill.contracts
            paid = position.entry_price * position.contracts + float(fill.price) * fill.contracts
            position.contracts, position.entry_price = total, paid / total

    def _price(self, held: _Held) -> Decimal | None:
        """Return the mid of a quote that is good and narrow enough; None without one."""
        quote = self.router.quote(held.position.option_symbol)
        if quote is None or not 0.0 < quote[0] < quote[1]:
            return None
        return mark_of(*quote, self.config.max_mark_spread_pct)

    def _reason(self, held: _Held, price: Decimal | None) -> str | None:
        position, now_ns = held.position, to_ns(self.router.now())
        entry_price = exact(position.entry_price)
        if price is not None:
            position.mark(float(price))
        return held.exit_reason or held.exits.reason(
            self._session(),
            known_cutoff(self._venue),
            now_ns=now_ns,
            mode=self.mode,
            pnl=exact(position.unrealized_pnl),
            premium_paid=entry_price * position.contracts * held.exits.contract.multiplier,
            entry_price=entry_price,
            price=price,
            quote_ns=now_ns,
        )

    async def _sell(self, held: _Held, price: Decimal | None) -> bool:
        """Sell what is held with one limit order; return whether nothing is left."""
        position = held.position
        if not position.contracts:
            return True
        quote = self.router.quote(position.option_symbol)
        ladder = PriceLadder(held.exits.contract, Side.SELL, *(quote or (math.nan, math.nan)))
        rests = held.exit_reason == ScalpExit.PROFIT_TARGET and price is not None
        limit = ladder.between(0.0) if rests else ladder.meeting(1)
        if limit is None or not ladder.bid > 0.0:
            return False
        floor = target_floor(exact(position.entry_price), self.config)
        if held.exit_reason == ScalpExit.PROFIT_TARGET and limit < floor:
            held.exit_reason = ""  # the target is gone: what is sold now is sold for another reason
            return False
        fill = await self.router.submit(
            RoutedOrder(
                option_symbol=position.option_symbol,
                side=Side.SELL,
                contracts=position.contracts,
                limit_price=limit,
                timeout_seconds=TARGET_REST_SECONDS if rests else RETRY_SECONDS,
            )
        )
        position.contracts -= fill.contracts
        return not position.contracts
