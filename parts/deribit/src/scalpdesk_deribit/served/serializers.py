"""Messages of Deribit's JSON-RPC interface: instruments, tickers, orders, trades, positions, accounts."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import structs

from scalpdesk.core.events import QuoteEvent
from scalpdesk.core.intents import Side, Stop
from scalpdesk.core.units import DAY_NS, DAYS_PER_YEAR, NANOS_PER_MS, ZERO, InstrumentId
from scalpdesk.exchange import BrokerAccount, BrokerOrder, Execution, SimulatedMarket, Status
from scalpdesk.instruments.contract import Instrument, OptionContract, underlying_of
from scalpdesk.instruments.deribit import DERIBIT_FEES, perpetual_symbol
from scalpdesk.instruments.fees import trade_date
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.pricing.scalar import coin_greeks
from scalpdesk_deribit.messages import (
    GreeksMessage,
    PublicTrade,
    Ticker,
    TickMessage,
    TradePage,
)
from scalpdesk_deribit.order_words import ORDER_WORDS
from scalpdesk_deribit.served.rpc import NO_LEVELS, Levels
from scalpdesk_deribit.served.shown import (
    ShownBookSummary,
    ShownCombo,
    ShownListing,
    ShownOrder,
    ShownPosition,
    ShownPublicTrade,
    ShownSummary,
    ShownTicker,
    ShownTrade,
    Stats,
)
from scalpdesk_deribit.wire import LIFETIMES, STANDARD_MARGIN, is_combo

_FAR_FUTURE_MS = 32_503_708_800_000
MOST_ROWS = 1_000
_STATES = {
    Status.FILLED: "filled",
    Status.CANCELED: "cancelled",
    Status.EXPIRED: "cancelled",
    Status.REPLACED: "cancelled",
    Status.REJECTED: "rejected",
}
TRIGGER_PREFIX = "SLTS-"
"""Begins the ids of stops that wait for their trigger."""


def plain_number(value: Decimal | float | None) -> int | float:
    """Return a number for JSON: an int where it is whole, else a float; 0 for None.

    >>> plain_number(Decimal("3.0")), plain_number(0.25), plain_number(None)
    (3, 0.25, 0)
    """
    if value is None:
        return 0
    found = float(value)
    return int(found) if found.is_integer() and abs(found) < 2**53 else found


def without_legs(trade: ShownTrade) -> ShownTrade:
    """Return a trade as it stands among trades of all kinds, where a combo's does not repeat its legs'."""
    return structs.replace(trade, legs=None)


def _kind_of(name: str) -> str:
    """Return the venue's kind of an instrument or combo by its name."""
    if is_combo(name):
        return "option_combo"
    return "option" if name.count("-") > 1 else "future"


def is_of_kind(name: str, wanted: Any) -> bool:
    """Return whether a kind that is asked for has an instrument; none asked for is all of them."""
    return wanted in (None, "any", _kind_of(name), "combo" if is_combo(name) else "any")


class OrderNames:
    """The venue's names for the broker's orders: labels, ids that outlive an edit, combos of several legs."""

    def __init__(self, orders: Mapping[str, BrokerOrder]) -> None:
        self._orders = orders
        self.labels: dict[str, str] = {}
        """Label by order id; the venue takes one as often as it is sent."""
        self.triggers: dict[str, str] = {}
        """The condition that a stop waits for, by order id."""
        self.edited: dict[str, str] = {}
        """First id of an order by those of what took its place: the venue keeps it over each edit."""
        self.combos: dict[str, ShownCombo] = {}
        """Combos as they are shown, by id; the amounts of their legs are those of one that is bought."""
        self.combo_of: dict[str, tuple[str, Side]] = {}
        """Combo and direction by order id."""
        self.combo_trades: dict[str, list[ShownTrade]] = {}
        """Trades of combos with those of their legs, by order id."""
        self.whole_of: dict[str, ShownTrade] = {}
        """The combo's trade by the ids of its legs' trades."""

    def shown_id(self, order_id: str) -> str:
        """Return the id under which the venue shows an order: the first one."""
        return self.edited.get(order_id, order_id)

    def id_of(self, order: BrokerOrder) -> str:
        """Return the id of an order as it stands: a stop that is triggered goes on under another one."""
        shown = self.shown_id(order.order_id)
        return TRIGGER_PREFIX + shown if order.waits_for_stop else shown

    def latest_id(self, shown_id: str) -> str:
        """Return the broker's id of what stands under the venue's."""
        later = (latest for latest, first in reversed(self.edited.items()) if first == shown_id)
        return next(later, shown_id)

    def note_edit(self, new: BrokerOrder) -> None:
        """Give what took an order's place its id and label."""
        old_id = new.replaces
        if old_id is None:
            return
        self.edited.setdefault(new.order_id, self.shown_id(old_id))
        self.labels[new.order_id] = self.labels.get(old_id, "")
        self.triggers[new.order_id] = self.triggers.get(old_id, "")

    def filled_before(self, order: BrokerOrder) -> Decimal:
        """Return what an order had filled before its edits."""
        total = ZERO
        while order.replaces:
            order = self._orders[order.replaces]
            total += order.filled
        return total

    def is_whole(self, order: BrokerOrder) -> bool:
        """Return whether an order is shown here: no leg of a combo, and no combo of another protocol."""
        if order.instrument is None:
            return order.order_id in self.combo_of
        return order.parent is None or order.parent not in self.combo_of

    def symbol(self, order: BrokerOrder) -> str:
        """Return the name of an order's instrument or combo."""
        return self.combo_of[order.order_id][0] if order.instrument is None else order.instrument.symbol


def _type_name(order: BrokerOrder) -> str:
    """Return the venue's name of an order's type: a stop that is triggered is a plain order."""
    if order.triggered:
        return ORDER_WORDS["market" if order.limit_price is None else "limit"]
    name = order.kind.name_with(order.limit_price)
    return ORDER_WORDS.get(name, name)


_FUTURE_TERMS = {"future_type": "reversed", "instrument_type": "reversed", "max_leverage": 50}
_NO_STATS = Stats(volume=0.0, volume_usd=0.0, price_change=None, low=None, high=None)
NO_GREEKS = GreeksMessage(delta=0.0, gamma=0.0, vega=0.0, theta=0.0, rho=0.0)


def _option_terms(item: OptionContract) -> dict[str, Any]:
    return {"strike": plain_number(item.strike), "option_type": "call" if item.is_call else "put"}


def _level(price: float | None, amount: float | None) -> list[list[float]]:
    """Return a side of a book with one level, none where there is no price."""
    return [[price, amount]] if price and amount is not None else []


def _changes(before: list[list[float]], after: list[list[float]]) -> list[list[Any]]:
    """Return the steps from one side of a book to another: new, changed and deleted prices."""
    old, new = ({level[0]: level[1] for level in side} for side in (before, after))
    gone: list[list[Any]] = [["delete", price, 0.0] for price in old if price not in new]
    return gone + [
        ["change" if price in old else "new", price, size]
        for price, size in new.items()
        if old.get(price) != size
    ]


class Messages:
    """Writes what the venue shows of a simulated market."""

    def __init__(self, world: SimulatedMarket, names: OrderNames) -> None:
        self._world, self._names = world, names
        self._instruments = world.ledger.instruments
        self._pricer = ContractPricer()
        self._books: dict[str, Levels] = {}
        """By instrument, as it was last looked at."""

    def instrument(self, item: Instrument) -> ShownListing:
        """Return a line of ``public/get_instruments``."""
        tick, now_ns = item.tick_rule, self._world.now_ns
        fees, expires_ns = DERIBIT_FEES.on(trade_date(now_ns)), None
        if item.is_option:
            expires_ns = expiry_instant_ns(item)
        shown = ShownListing(
            instrument_name=item.symbol,
            kind="future" if expires_ns is None else "option",
            base_currency=item.currency,
            counter_currency="USD",
            quote_currency="USD" if expires_ns is None else item.currency,
            settlement_currency=item.currency,
            settlement_period="perpetual" if expires_ns is None else "week",
            contract_size=item.contract_size,
            tick_size=plain_number(tick.below),
            tick_size_steps=[
                TickMessage(above_price=plain_number(step.above_price), tick_size=plain_number(step.tick))
                for step in tick.steps
            ],
            min_trade_amount=item.contract_size if expires_ns is None else plain_number(item.step),
            maker_commission=plain_number(fees.perpetual_maker if expires_ns is None else fees.option_rate),
            taker_commission=plain_number(fees.perpetual_taker if expires_ns is None else fees.option_rate),
            price_index=f"{item.currency.lower()}_usd",
            instrument_id=self._instruments.id_of(item.symbol) + 1,
            creation_timestamp=self._world.source.start_ns // NANOS_PER_MS,
            expiration_timestamp=_FAR_FUTURE_MS if expires_ns is None else expires_ns // NANOS_PER_MS,
            state="open",
            is_active=expires_ns is None or now_ns < expires_ns,
        )
        return structs.replace(shown, **(_option_terms(item) if item.is_option else _FUTURE_TERMS))

    def ticker(self, number: InstrumentId) -> ShownTicker:
        """Return the ticker of an instrument."""
        item = self._instruments[number]
        quote = self._world.quote(number)
        size = item.contract_size
        mark = float(self._world.ledger.mark(number))
        index = self.index(item)

        def side(price: float, amount: float) -> tuple[float, float]:
            return (price, amount * size) if price > 0.0 else (0.0, 0.0)

        bid = side(quote.bid, quote.bid_size) if quote is not None else (0.0, 0.0)
        ask = side(quote.ask, quote.ask_size) if quote is not None else (0.0, 0.0)
        last = self._world.last_trades.get(number)
        shown = ShownTicker(
            instrument_name=item.symbol,
            timestamp=(quote.ts_event_ns if quote is not None else self._world.now_ns) // NANOS_PER_MS,
            state="closed" if self._world.ledger.is_halted(number) else "open",
            best_bid_price=bid[0],
            best_bid_amount=plain_number(bid[1]),
            best_ask_price=ask[0],
            best_ask_amount=plain_number(ask[1]),
            mark_price=mark,
            last_price=None if last is None else last.price,
            index_price=index,
            estimated_delivery_price=index,
            settlement_price=mark,
            min_price=round(mark * 0.95, 4),
            max_price=round(mark * 1.05, 4),
            open_interest=self._world.open_interest.get(item.symbol, 0),
            stats=_NO_STATS,
        )
        if not item.is_option:
            return structs.replace(shown, **self._funding(item))
        return structs.replace(shown, **self._option_figures(item, quote, mark, index))

    def _funding(self, item: Instrument) -> dict[str, Any]:
        """Return the funding rate of eight hours in force, and what the last eight hours came to."""
        rates = self._world.source.funding
        known = bisect_right(rates, self._world.now_ns, key=lambda rate: rate.ts_ns)
        mine = [rate.rate for rate in rates[:known] if rate.symbol == item.symbol][-8:]
        now = plain_number(mine[-1]) if mine else 0.0
        return {
            "current_funding": now,
            "funding_8h": plain_number(sum(mine, ZERO) / 8),
            "interest_value": now,
        }

    def _option_figures(
        self, item: OptionContract, quote: QuoteEvent | None, mark: float, forward: float
    ) -> dict[str, Any]:
        left = max(expiry_instant_ns(item) - self._world.now_ns, 0)
        years = left / DAY_NS / DAYS_PER_YEAR
        figures: dict[str, Any] = {
            "underlying_price": forward,
            "underlying_index": f"SYN.{perpetual_symbol(item.root)}",
            "interest_rate": 0.0,
            "greeks": NO_GREEKS,
        }

        def vol(price: float) -> float:
            if not (price > 0.0 and forward > 0.0 and years > 0.0):
                return 0.0
            return self._pricer.implied_vol(item, price, forward, years, 0.0, 0.0) or 0.0

        prices = (mark, quote.bid, quote.ask) if quote is not None else (mark, 0.0, 0.0)
        vols = [vol(price) for price in prices]
        for name, found in zip(("mark_iv", "bid_iv", "ask_iv"), vols, strict=True):
            figures[name] = round(100.0 * found, 2)
        if vols[0] > 0.0:
            coin = coin_greeks(forward, float(item.strike), years, vols[0], item.is_call)
            figures["greeks"] = GreeksMessage(
                delta=round(coin.delta + coin.price, 5),
                gamma=round(coin.gamma + coin.delta / forward, 5),
                vega=round(coin.vega * forward / 100.0, 5),
                theta=round(coin.theta * forward / DAYS_PER_YEAR, 5),
                rho=round(coin.rho * forward / 100.0, 5),
            )
        return figures

    def index(self, item: Instrument) -> float:
        """Return the index price behind an instrument: its perpetual's mark, US dollars."""
        number = self._instruments.id_of(underlying_of(item))
        return float(self._world.ledger.mark(number))

    def summary_of_book(self, number: InstrumentId) -> ShownBookSummary:
        """Return a line of ``public/get_book_summary_by_currency``."""
        found = self.ticker(number)
        forward = found.index_price if found.underlying_price is None else found.underlying_price
        return ShownBookSummary(
            instrument_name=found.instrument_name,
            base_currency=self._instruments[number].currency,
            mark_price=found.mark_price,
            mark_iv=found.mark_iv,
            bid_price=found.best_bid_price or None,
            ask_price=found.best_ask_price or None,
            open_interest=found.open_interest,
            underlying_price=forward,
            volume=0.0,
            creation_timestamp=found.timestamp,
        )

    def levels(self, shown: Ticker) -> Levels:
        """Return the book of a ticker, one level a side; its number grows when it differs from the last."""
        name = str(shown.instrument_name)
        last = self._books.get(name, NO_LEVELS)
        bids = _level(shown.best_bid_price, shown.best_bid_amount)
        asks = _level(shown.best_ask_price, shown.best_ask_amount)
        if (bids, asks) != last[:2] or not last.change_id:
            last = self._books[name] = Levels(bids, asks, last.change_id + 1)
        return last

    def book(self, shown: Ticker) -> dict[str, Any]:
        """Return a whole book as a channel that shows no changes has it."""
        head = {"timestamp": shown.timestamp, "instrument_name": shown.instrument_name}
        return head | self.levels(shown)._asdict()

    def book_change(self, shown: Ticker, before: Levels) -> dict[str, Any] | None:
        """Return the change of a book since ``before``, all of it after nothing; None without a change."""
        levels = self.levels(shown)
        if levels.change_id == before.change_id:
            return None
        sides = {"bids": _changes(before.bids, levels.bids), "asks": _changes(before.asks, levels.asks)}
        kind = {"type": "change", "prev_change_id": before.change_id}
        return self.book(shown) | (kind if before.change_id else {"type": "snapshot"}) | sides

    def order(self, order: BrokerOrder) -> ShownOrder:
        """Return an order with all that its edits filled."""
        size = 1 if order.instrument is None else order.instrument.contract_size
        mine, before, limit = self._executions(order), self._names.filled_before(order), order.limit_price
        _, side = self._names.combo_of.get(order.order_id, ("", order.side))
        if side is not order.side and limit is not None:  # of a combo that is sold
            limit = -limit
        shown = ShownOrder(
            order_id=self._names.id_of(order),
            order_state=_STATES.get(order.status, "untriggered" if order.waits_for_stop else "open"),
            order_type=_type_name(order),
            direction=side.value,
            instrument_name=self._names.symbol(order),
            amount=plain_number((order.quantity + before) * size),
            contracts=plain_number(order.quantity + before),
            filled_amount=plain_number((order.filled + before) * size),
            average_price=plain_number(self._average(order, mine)),
            price="market_price" if limit is None else plain_number(limit),
            time_in_force=LIFETIMES.get(order.lifetime, "good_til_cancelled"),
            post_only=False,
            reduce_only=False,
            label=self._names.labels.get(order.order_id, order.client_order_id),
            creation_timestamp=order.created_ns // NANOS_PER_MS,
            last_update_timestamp=order.updated_ns // NANOS_PER_MS,
            max_show=plain_number(order.quantity * size),
            commission=plain_number(sum((each.fee for each in mine), ZERO)),
            profit_loss=0.0,
            api=True,
            web=False,
            replaced=order.order_id in self._names.edited,
            is_liquidation=order.is_forced,
            cancel_reason="user_request" if order.status is Status.CANCELED else "",
            mmp=False,
            risk_reducing=False,
            reject_reason=order.reject_reason or "",
        )
        if not isinstance(order.kind, Stop):
            return shown
        before_id = TRIGGER_PREFIX + self._names.shown_id(order.order_id) if order.triggered else None
        return structs.replace(
            shown,
            trigger=self._names.triggers.get(order.order_id, ""),
            trigger_price=plain_number(order.kind.trigger),
            triggered=order.triggered,
            trigger_order_id=before_id,
        )

    def _executions(self, order: BrokerOrder) -> list[Execution]:
        """Return the executions of an order, those before its edits and those of a combo's legs included."""
        shown_id = self._names.shown_id
        names = {shown_id(order.order_id), *(leg.order_id for leg in order.legs)}
        account = self._world.ledger.accounts[order.account]
        return [each for each in account.executions if shown_id(each.order_id) in names]

    def _average(self, order: BrokerOrder, mine: list[Execution]) -> Decimal | None:
        """Return the mean price: of inverse contracts the harmonic one, of combos that of the direction."""
        if order.instrument is None:
            _, side = self._names.combo_of[order.order_id]
            return None if order.average is None else side.sign * order.average
        if not order.instrument.is_inverse_future and not order.replaces:
            return order.average
        if not order.instrument.is_inverse_future:
            paid = sum((each.quantity * each.price for each in mine), ZERO)
            return paid / sum(each.quantity for each in mine) if mine else None
        coins = sum((each.quantity / each.price for each in mine), ZERO)
        return sum((each.quantity for each in mine), ZERO) / coins if coins else None

    def _is_leg(self, execution: Execution) -> bool:
        return self._world.ledger.orders[execution.order_id].parent in self._names.combo_of

    def order_id(self, execution: Execution) -> str:
        """Return the id of an execution's order: a combo's leg has one of its own."""
        return self._names.shown_id(execution.order_id)

    def trade(self, execution: Execution) -> ShownTrade:
        """Return an execution as the account's own trade: a combo's leg has no label and names the whole."""
        number = execution.instrument_id
        assert number is not None
        item, order = self._instruments[number], self._world.ledger.orders[execution.order_id]
        side = "M" if execution.is_maker else "T"
        whole = self._names.whole_of.get(execution.execution_id)
        label = None
        if whole is None and not self._is_leg(execution):
            label = self._names.labels.get(execution.order_id, "")
        return ShownTrade(
            trade_id=execution.execution_id,
            trade_seq=self._world.ledger.accounts[execution.account].executions.index(execution) + 1,
            order_id=self.order_id(execution),
            instrument_name=item.symbol,
            direction=execution.side.value,
            amount=plain_number(execution.quantity * item.contract_size),
            price=plain_number(execution.price),
            timestamp=execution.ts_ns // NANOS_PER_MS,
            state="open" if execution.leaves else "filled",
            fee=plain_number(execution.fee),
            fee_currency=item.currency,
            liquidity=side,
            liquidation=side if order.is_forced else None,
            label=label,
            combo_id=None if whole is None else whole.instrument_name,
            combo_trade_id=None if whole is None else str(whole.trade_id),
            index_price=self.index(item),
            mark_price=float(self._world.ledger.mark(number)),
            order_type=_type_name(order),
            self_trade=False,
            matching_id=None,
            profit_loss=0.0,
            tick_direction=0,
        )

    def public_trade(self, execution: Execution) -> ShownPublicTrade:
        """Return an execution as the public trade channel shows it: without its order, owner and fee."""
        return msgspec.convert(self.trade(execution), ShownPublicTrade, from_attributes=True)

    def combo_trade(self, order: BrokerOrder, net: Execution, legs: tuple[Execution, ...]) -> ShownTrade:
        """Return a trade of a combo with those of its legs."""
        combo, side = self._names.combo_of[order.order_id]
        first = self.trade(legs[0])
        whole = ShownTrade(
            trade_id=net.execution_id,
            instrument_name=combo,
            trade_seq=first.trade_seq,
            order_id=order.order_id,
            order_type=first.order_type,
            state=first.state,
            label=self._names.labels.get(order.order_id, ""),
            direction=side.value,
            amount=plain_number(net.quantity),
            price=plain_number(side.sign * net.price),
            fee=plain_number(sum((leg.fee for leg in legs), ZERO)),
            fee_currency=first.fee_currency,
            timestamp=first.timestamp,
            index_price=first.index_price,
            liquidity=first.liquidity,
            combo_id=combo,
        )
        self._names.whole_of |= {leg.execution_id: whole for leg in legs}
        whole = structs.replace(whole, legs=[self.trade(leg) for leg in legs])
        self._names.whole_of |= {leg.execution_id: whole for leg in legs}
        self._names.combo_trades.setdefault(order.order_id, []).append(whole)
        return whole

    def own_trades(self, account: BrokerAccount) -> list[ShownTrade]:
        """Return the trades of an account, oldest first: of a combo the whole before its legs."""
        found: dict[str, ShownTrade] = {}
        for execution in account.executions:
            if execution.instrument_id is None:
                continue
            whole = self._names.whole_of.get(execution.execution_id)
            if whole is not None:
                found.setdefault(str(whole.trade_id), whole)
            found[execution.execution_id] = self.trade(execution)
        return list(found.values())

    @staticmethod
    def page(shown: Sequence[PublicTrade], params: Mapping[str, Any]) -> TradePage:
        """Return the trades of a span, latest first unless asked otherwise, and whether there are more."""
        start, end = int(params.get("start_timestamp", 0)), int(params.get("end_timestamp", 2**62))
        most = min(int(params.get("count", 10)), MOST_ROWS)
        trades = [each for each in shown if start <= each.timestamp <= end]
        if params.get("sorting") != "asc":
            trades.reverse()
        return TradePage(trades=trades[:most], has_more=len(trades) > most)

    def positions(self, account: BrokerAccount, only: InstrumentId | None) -> list[ShownPosition]:
        """Return the positions of an account, or the one in an instrument."""
        rows = []
        for number, held in account.holdings.items():
            if only is not None and number != only:
                continue
            item = self._instruments[number]
            mark = self._world.ledger.mark(number)
            size = held.quantity * item.contract_size
            floating = held.value(mark) - held.cost if mark else ZERO
            index, delta = self.index(item), 0.0
            coins = float(size / mark) if item.is_inverse_future and mark else None
            if coins is not None:
                delta = coins
            elif item.is_option:
                greeks = self._option_figures(item, None, float(mark), index)["greeks"]
                delta = float(size) * greeks.delta
            rows.append(
                ShownPosition(
                    instrument_name=item.symbol,
                    kind="option" if item.is_option else "future",
                    direction="buy" if size > 0 else "sell",
                    size=plain_number(size),
                    average_price=plain_number(held.average_price),
                    mark_price=float(mark),
                    index_price=index,
                    floating_profit_loss=float(floating),
                    realized_profit_loss=float(held.realized),
                    total_profit_loss=float(floating + held.realized),
                    delta=delta,
                    leverage=50,
                    size_currency=coins,
                )
            )
        return rows

    def account(self, account: BrokerAccount) -> ShownSummary:
        """Return the summary of an account."""
        figures = self._world.ledger.figures(account)
        futures = sum(
            (held.cost for held in account.holdings.values() if held.instrument.is_inverse_future), ZERO
        )
        free = figures.options_buying_power
        return ShownSummary(
            id=account.name,
            username=account.name,
            currency=account.currency,
            balance=float(figures.cash + futures),
            equity=float(figures.equity),
            available_funds=float(free),
            available_withdrawal_funds=float(free),
            margin_balance=float(figures.equity - figures.long_value - figures.short_value),
            initial_margin=float(figures.initial_margin),
            maintenance_margin=float(figures.maintenance_margin),
            options_value=float(figures.long_value + figures.short_value),
            margin_model=STANDARD_MARGIN,
            delta_total=sum(row.delta for row in self.positions(account, None)),
        )
