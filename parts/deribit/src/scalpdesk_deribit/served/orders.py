"""Orders, combos and the account over Deribit's JSON-RPC interface."""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec import structs

from scalpdesk.core.intents import OrderKind, OrderType, Side, Stop
from scalpdesk.core.order_types import TRAITS
from scalpdesk.core.units import NANOS_PER_MS, ZERO, InstrumentId
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.deribit import expiry_name, option_name
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.orders import (
    Activity,
    BrokerOrder,
    Changes,
    LegRequest,
    OrderClass,
    OrderRequest,
    Status,
)
from scalpdesk_deribit.messages import ComboLegMessage, LogPage, OrderAnswer
from scalpdesk_deribit.order_words import TYPE_OF, needs_limit
from scalpdesk_deribit.served.rpc import (
    Method,
    RpcFault,
    RpcSession,
    exact_param,
    instrument_param,
    is_true,
)
from scalpdesk_deribit.served.serializers import (
    TRIGGER_PREFIX,
    Messages,
    OrderNames,
    is_of_kind,
    plain_number,
    without_legs,
)
from scalpdesk_deribit.served.shown import ShownCombo, ShownLogLine
from scalpdesk_deribit.wire import LIFETIMES, LONGEST_LABEL, is_combo

_PRICE_BAND = Decimal("0.05")
"""Largest distance of a perpetual's limit beyond its mark, a fraction."""
_MOST_LEGS = 4
_NAMED_LIFETIMES = {name: each for each, name in LIFETIMES.items()}
_TRIGGERS = ("mark_price", "last_price")
"""Prices that a stop may wait for; both are the middle of the quote here."""
_LOG_TYPES = {
    "INT": "settlement",
    "OPCSH": "delivery",
    "OPEXP": "delivery",
    "FEE": "delivery",
    "JNLC": "transfer",
}
"""Types of the transaction log by the kinds of the broker's activities."""


def _closing_side(quantity: Decimal) -> str:
    """Return in the log's words what a change of units without a trade did to the position."""
    return "-" if not quantity else "close buy" if quantity > 0 else "close sell"


def _legs(combo: ShownCombo) -> list[ComboLegMessage]:
    return combo.legs or []


class Orders:
    """Answers what an account may do and ask.

    ``world``: Market and broker; its accounts are in coin.
    ``messages``, ``names``: Write the answers, and name orders in them.
    """

    def __init__(self, world: SimulatedMarket, messages: Messages, names: OrderNames) -> None:
        self._world, self._messages, self._names = world, messages, names
        self._instruments = world.ledger.instruments
        self.methods: dict[str, Method] = {
            "public/get_combos": self._get_combos,
            "public/get_combo_ids": self._get_combo_ids,
            "public/get_combo_details": self._get_combo_details,
            "private/buy": self._buy,
            "private/sell": self._sell,
            "private/create_combo": self._create_combo,
            "private/edit": self._edit,
            "private/cancel": self._cancel,
            "private/cancel_all": self._cancel_all,
            "private/cancel_all_by_currency": self._cancel_all,
            "private/cancel_all_by_instrument": self._cancel_all,
            "private/edit_by_label": self._edit_by_label,
            "private/cancel_by_label": self._cancel_by_label,
            "private/get_order_state": self._get_order_state,
            "private/get_order_state_by_label": self._get_order_state_by_label,
            "private/get_open_orders_by_currency": self._get_open_orders_by_currency,
            "private/get_open_orders": self._get_open_orders,
            "private/get_open_orders_by_instrument": self._get_open_orders,
            "private/get_order_history_by_currency": self._get_order_history,
            "private/get_order_history_by_instrument": self._get_order_history,
            "private/get_position": self._get_position,
            "private/close_position": self._close_position,
            "private/get_transaction_log": self._get_transaction_log,
            "private/get_user_trades_by_order": self._get_user_trades_by_order,
            "private/get_user_trades_by_currency_and_time": self._get_user_trades,
            "private/get_user_trades_by_instrument": self._get_user_trades,
            "private/get_user_trades_by_currency": self._get_user_trades,
            "private/get_positions": self._get_positions,
            "private/get_account_summary": self._get_account_summary,
            "private/get_account_summaries": self._get_account_summaries,
        }

    def _account(self, session: RpcSession) -> BrokerAccount:
        """Return the account that a session has logged in to."""
        assert session.account is not None
        return self._world.ledger.accounts[session.account]

    def _buy(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._place(session, params, Side.BUY)

    def _sell(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._place(session, params, Side.SELL)

    def _place(self, session: RpcSession, params: Mapping[str, Any], side: Side) -> Any:
        combo = self._names.combos.get(str(params.get("instrument_name")))
        number = instrument_param(
            self._instruments, params if combo is None else structs.asdict(_legs(combo)[0])
        )
        item = self._instruments[number]
        self._check_until(params)
        kind, price = self._kind(params, item, number, side), None
        if combo is not None and isinstance(kind, Stop):
            raise RpcFault(-32602, "Invalid params", param="type", reason="a combo has no trigger")
        if kind is OrderType.LIMIT:
            price = self._price(params, item, number, side) if combo is None else self._net(params, item)
        elif needs_limit(params.get("type")):
            price = self._on_tick(params, "price", item)
        quantity = self._quantity(params, item)
        if combo is None:
            if price is not None and is_true(params.get("post_only")):
                price = self._resting(number, item, side, price, params)
            if is_true(params.get("reduce_only")):
                quantity = min(quantity, self._reducible(session, number, side))
        lifetime = _NAMED_LIFETIMES.get(str(params.get("time_in_force", "good_til_cancelled")))
        if lifetime is None:
            raise RpcFault(-32602, "Invalid params", param="time_in_force")
        label = str(params.get("label") or "")
        if len(label) > LONGEST_LABEL:
            raise RpcFault(-32602, "Invalid params", param="label", reason=f"is longer than {LONGEST_LABEL}")
        account = self._account(session)
        request = OrderRequest(
            item.symbol,
            side,
            kind,
            lifetime,
            quantity,
            limit_price=price,
            client_order_id=label
            if label and label not in account.by_client_id
            else None,  # the broker takes a name once
        )
        if combo is not None:
            request = self._as_legs(request, combo)
        order = self._world.broker.submit(account.name, request)
        if combo is not None:
            self._names.combo_of[order.order_id] = str(combo.id), side
        session.orders.append(order.order_id)
        self._names.labels[order.order_id] = label
        self._names.triggers[order.order_id] = str(params.get("trigger"))
        before = len(account.executions)
        self._world.settle()
        return self._outcome(order, before)

    def _as_legs(self, request: OrderRequest, combo: ShownCombo) -> OrderRequest:
        """Return an order for a combo as the broker takes it: its legs bought or sold, its limit paid."""
        side, price = request.side or Side.BUY, request.limit_price
        legs = tuple(
            LegRequest(
                str(leg.instrument_name),
                abs(amount),
                Side.BUY if amount * side.sign > 0 else Side.SELL,
            )
            for leg in _legs(combo)
            for amount in (Decimal(str(leg.amount)),)
        )
        return structs.replace(
            request,
            symbol="",
            side=Side.BUY,
            limit_price=None if price is None else side.sign * price,
            structure=OrderClass.MLEG,
            legs=legs,
        )

    def _net(self, params: Mapping[str, Any], item: Instrument) -> Decimal:
        """Return the limit of a combo, of either sign."""
        price = exact_param(params, "price")
        if price % item.tick_rule.below:
            raise RpcFault(10043, "price_wrong_tick")
        return price

    def _create_combo(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        """Return the combo of these legs, made at the first request; its first leg by name is bought."""
        del session
        trades = params.get("trades")
        if not isinstance(trades, list) or not 2 <= len(trades) <= _MOST_LEGS:
            raise RpcFault(-32602, "Invalid params", param="trades", reason="two to four legs")
        signed: dict[str, Decimal] = {}
        options = set()
        for trade in trades:
            item = self._instruments[instrument_param(self._instruments, trade)]
            if not item.is_option or trade.get("direction") not in ("buy", "sell"):
                raise RpcFault(-32602, "Invalid params", param="trades", reason="options to buy or sell")
            sign = 1 if trade["direction"] == "buy" else -1
            signed[item.symbol] = sign * self._quantity({"amount": 1, **trade}, item)
            options.add(item)
        unit = min(abs(amount) for amount in signed.values())
        if len(signed) < len(trades):
            raise RpcFault(-32602, "Invalid params", param="trades", reason="each option once")
        if any(amount % unit for amount in signed.values()):
            raise RpcFault(10021, "invalid_amount", reason="no whole ratio")
        first = min(signed)
        unit = unit if signed[first] > 0 else -unit
        amounts = {name: int(signed[name] / unit) for name in sorted(signed)}
        legs = [ComboLegMessage(instrument_name=name, amount=amount) for name, amount in amounts.items()]
        for known in self._names.combos.values():
            if known.legs == legs:
                return known
        places = {(item.expiry, item.strike) for item in options}
        is_straddle = len(places) == 1 and set(amounts.values()) == {1}
        coin, item = first.partition("-")[0], min(options, key=lambda option: option.expiry)
        name = option_name(f"{coin}-STRD", item.expiry, item.strike, item.right).rpartition("-")[0]
        if not is_straddle:
            name = f"{coin}-CUSTOM-{expiry_name(item.expiry)}-{len(self._names.combos) + 1}"
        made = ShownCombo(
            id=name,
            instrument_id=10**6 + len(self._names.combos),
            state="active",
            legs=legs,
            creation_timestamp=self._world.now_ns // NANOS_PER_MS,
            state_timestamp=self._world.now_ns // NANOS_PER_MS,
        )
        return self._names.combos.setdefault(name, made)

    def _get_combos(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        coin = params.get("currency")
        return [each for name, each in self._names.combos.items() if coin in ("any", name.partition("-")[0])]

    def _get_combo_ids(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return [each.id for each in self._get_combos(session, params)]

    def _get_combo_details(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        del session
        found = self._names.combos.get(str(params.get("combo_id")))
        if found is None:
            raise RpcFault(-32602, "Invalid params", param="combo_id", reason="there is none")
        return found

    def _check_until(self, params: Mapping[str, Any]) -> None:
        until = params.get("valid_until")
        if until is not None and self._world.now_ns // NANOS_PER_MS > int(until):
            raise RpcFault(11050, "bad_request", reason="valid_until is past")

    def _resting(
        self, number: InstrumentId, item: Instrument, side: Side, price: Decimal, params: Mapping[str, Any]
    ) -> Decimal:
        """Return the price at which a post-only order rests: short of the other side by a tick."""
        quote = self._world.quote(number)
        other = (quote.ask if side is Side.BUY else quote.bid) if quote is not None else 0.0
        if not other > 0.0 or (price < Decimal(str(other))) is (side is Side.BUY):
            return price
        if is_true(params.get("reject_post_only")):
            raise RpcFault(11054, "post_only_reject")
        return item.tick_rule.moved(Decimal(str(other)), -side.sign)

    def _reducible(self, session: RpcSession, number: InstrumentId, side: Side) -> Decimal:
        """Return what an order that only reduces may trade."""
        held = self._account(session).quantity(number)
        if not held or (held > 0) is (side is Side.BUY):
            raise RpcFault(11030, "other_reject", reason="reduce_only")
        return abs(held)

    def _outcome(self, order: BrokerOrder, before: int, *, is_edited: bool = False) -> OrderAnswer:
        account = self._world.ledger.accounts[order.account]
        whole = self._names.combo_trades.get(order.order_id, ())
        trades = [without_legs(each) for each in whole] or [
            self._messages.trade(each)
            for each in account.executions[before:]
            if each.order_id == order.order_id
        ]
        shown = self._messages.order(order)
        return OrderAnswer(order=structs.replace(shown, replaced=is_edited or shown.replaced), trades=trades)

    def _quantity(self, params: Mapping[str, Any], item: Instrument) -> Decimal:
        amount = exact_param(params, "amount")
        if amount <= 0:
            raise RpcFault(10002, "qty_too_low")
        step = item.contract_size * item.step
        if amount % step:
            raise RpcFault(10021, "invalid_amount", reason=f"must be a multiple of {step}")
        return amount / item.contract_size

    def _kind(
        self, params: Mapping[str, Any], item: Instrument, number: InstrumentId, side: Side
    ) -> OrderKind:
        """Read the type of an order; a stop whose trigger the market is at or beyond is refused."""
        name = str(params.get("type", "limit"))
        if name not in TYPE_OF:
            reason = f"one of {', '.join(sorted(TYPE_OF))} here"
            raise RpcFault(-32602, "Invalid params", param="type", reason=reason)
        if not TRAITS[TYPE_OF[name]].waits:
            return OrderType(TYPE_OF[name])
        if params.get("trigger") not in _TRIGGERS:
            reason = f"one of {', '.join(_TRIGGERS)} here"
            raise RpcFault(-32602, "Invalid params", param="trigger", reason=reason)
        trigger, quote = self._on_tick(params, "trigger_price", item), self._world.quote(number)
        if quote is not None and (quote.mid - float(trigger)) * side.sign >= 0:
            raise RpcFault(11036, "invalid_stoppx_for_index_or_last")
        return Stop(trigger)

    @staticmethod
    def _on_tick(params: Mapping[str, Any], name: str, item: Instrument) -> Decimal:
        price = exact_param(params, name)
        if price <= 0 or not item.tick_rule.is_valid(price):
            raise RpcFault(10043, "price_wrong_tick")
        return price

    def _price(
        self, params: Mapping[str, Any], item: Instrument, number: InstrumentId, side: Side
    ) -> Decimal:
        price = self._on_tick(params, "price", item)
        mark = self._world.ledger.mark(number)
        if item.is_inverse_future and mark:
            if side is Side.BUY and price > mark * (1 + _PRICE_BAND):
                raise RpcFault(10007, "price_too_high")
            if side is Side.SELL and price < mark * (1 - _PRICE_BAND):
                raise RpcFault(10005, "price_too_low")
        return price

    def _find(self, session: RpcSession, params: Mapping[str, Any]) -> BrokerOrder:
        shown_id = str(params.get("order_id"))
        order_id = self._names.latest_id(shown_id.removeprefix(TRIGGER_PREFIX))
        found = self._account(session).orders.get(order_id)
        if found is None or self._names.id_of(found) != shown_id:
            raise RpcFault(10004, "order_not_found")
        return found

    def _edit(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        old = self._find(session, params)
        if old.instrument is None or old.instrument_id is None:
            raise RpcFault(11030, "other_reject", reason="combos are not edited here")
        self._check_until(params)
        item, limit, stop = old.instrument, None, None
        if "price" in params and old.waits_for_stop:
            limit = self._on_tick(params, "price", item)
        elif "price" in params:
            limit = self._price(params, item, old.instrument_id, old.side)
        if "trigger_price" in params:
            stop = self._on_tick(params, "trigger_price", item)
        filled = self._names.filled_before(old)
        changes = Changes(self._quantity(params, item) - filled, limit_price=limit, stop_price=stop)
        before = len(self._world.ledger.accounts[old.account].executions)
        new = self._world.broker.replace(old.account, old.order_id, changes)
        self._names.note_edit(new)
        session.orders.append(new.order_id)
        self._world.settle()
        return self._outcome(new, before, is_edited=True)

    def _edit_by_label(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        label = params.get("label")
        found = [
            each for each in self._open_orders(session) if self._names.labels.get(each.order_id) == label
        ]
        if len(found) != 1:
            raise RpcFault(10004, "order_not_found")
        order_id = self._names.id_of(found[0])
        return self._edit(session, {**params, "order_id": order_id})

    def _close_position(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        number = instrument_param(self._instruments, params)
        held = self._account(session).quantity(number)
        size = abs(held) * self._instruments[number].contract_size
        return self._place(session, {**params, "amount": size}, Side.SELL if held > 0 else Side.BUY)

    def _cancel(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        order = self._find(session, params)
        if not order.is_open:
            raise RpcFault(11044, "not_open_order")
        self._world.broker.cancel(order.account, order.order_id)
        self._world.settle()
        return self._messages.order(order)

    def _open_orders(self, session: RpcSession) -> list[BrokerOrder]:
        return [order for order in self._account(session).open_orders() if self._names.is_whole(order)]

    def _cancel_each(self, orders: list[BrokerOrder]) -> int:
        for order in orders:
            self._world.broker.cancel(order.account, order.order_id)
        self._world.settle()
        return len(orders)

    def _cancel_all(self, session: RpcSession, params: Mapping[str, Any]) -> int:
        name = params.get("instrument_name")
        return self._cancel_each(
            [order for order in self._open_orders(session) if name in (None, self._names.symbol(order))]
        )

    def _cancel_by_label(self, session: RpcSession, params: Mapping[str, Any]) -> int:
        label = params.get("label")
        return self._cancel_each(
            [order for order in self._open_orders(session) if self._names.labels.get(order.order_id) == label]
        )

    def _get_order_state(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return self._messages.order(self._find(session, params))

    def _get_order_state_by_label(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        label = params.get("label")
        orders = self._account(session).orders.values()
        return [
            self._messages.order(order)
            for order in orders
            if self._names.labels.get(order.order_id) == label and order.status is not Status.REPLACED
        ]

    def _get_open_orders_by_currency(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        currency = params.get("currency")
        return [
            self._messages.order(order)
            for order in self._open_orders(session)
            if currency in (None, "any", self._world.ledger.accounts[order.account].currency)
        ]

    def _get_open_orders(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        found = self._get_open_orders_by_currency(session, {"kind": params.get("kind")})
        name = params.get("instrument_name")
        return [order for order in found if name in (None, order.instrument_name)]

    def _get_order_history(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        """Return ended orders, latest first; those without an execution where they are asked for."""
        name, wants_all = params.get("instrument_name"), is_true(params.get("include_unfilled"))
        found = [
            self._messages.order(order)
            for order in self._account(session).orders.values()
            if self._names.is_whole(order)
            and not order.is_open
            and order.status is not Status.REPLACED
            and (order.filled or wants_all)
            and name in (None, self._names.symbol(order))
        ]
        first = int(params.get("offset", 0))
        return found[::-1][first : first + int(params.get("count", 20))]

    def _get_user_trades_by_order(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        wanted = str(params.get("order_id"))
        found = self._messages.own_trades(self._account(session))
        return [without_legs(trade) for trade in found if trade.order_id == wanted]

    def _get_user_trades(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        """Return trades; those of combos with their legs where nothing but combos is asked for."""
        name, kind = params.get("instrument_name"), params.get("kind")
        trades = [
            trade
            for trade in self._messages.own_trades(self._account(session))
            if name in (None, trade.instrument_name) and is_of_kind(str(trade.instrument_name), kind)
        ]
        if not is_combo(name) and "combo" not in str(kind):
            trades = [without_legs(trade) for trade in trades]
        return self._messages.page(trades, params)

    def _get_transaction_log(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        """Return what moved the account, latest first: trades, funding, deliveries, transfers."""
        account = self._account(session)
        start, end = _whole(params, "start_timestamp", 0), _whole(params, "end_timestamp", 2**62)
        held = {self._instruments[number].symbol: line.quantity for number, line in account.holdings.items()}
        lines = []
        for place, activity in reversed(list(enumerate(account.own_lines(), start=1))):
            after = held.get(activity.symbol, ZERO)
            held[activity.symbol] = after - activity.quantity
            if start <= activity.ts_ns // NANOS_PER_MS <= end:
                lines.append((place, activity, after))
        first, most = _whole(params, "continuation", 0), _whole(params, "count", 100)
        more = first + most if len(lines) > first + most else None
        logs = [self._log_line(account, *line) for line in lines[first : first + most]]
        return LogPage(logs=logs, continuation=more)

    def _log_line(
        self, account: BrokerAccount, place: int, activity: Activity, after: Decimal
    ) -> ShownLogLine:
        """Return a line of the transaction log; ``after`` are the units held after it."""
        digest, cash = hashlib.sha256(activity.activity_id.encode()).digest(), activity.net_amount
        line = ShownLogLine(
            id=int.from_bytes(digest[:6], "big"),
            user_seq=place,
            username=account.name,
            timestamp=activity.ts_ns // NANOS_PER_MS,
            currency=account.currency,
            instrument_name=activity.symbol or None,
            type=_LOG_TYPES.get(activity.kind, "correction"),
            side=_closing_side(activity.quantity),
            amount=plain_number(abs(activity.quantity)),
            price=plain_number(activity.price),
            change=plain_number(cash),
            cashflow=plain_number(cash),
            total_interest_pl=plain_number(cash) if activity.kind == "INT" else None,
            commission=None,
            position=None,
            trade_id=None,
            order_id=None,
            info=activity.activity_id,
        )
        execution = activity.execution
        if execution is None:
            return line
        item = self._instruments[self._instruments.id_of(activity.symbol)]
        # a future moves the balance by its fee alone
        fee, premium = execution.fee, ZERO if item.is_inverse_future else cash
        opens = (after - activity.quantity) * activity.quantity >= 0
        return structs.replace(
            line,
            type="trade",
            side=f"{'open' if opens else 'close'} {execution.side.value}",
            amount=plain_number(execution.quantity * item.contract_size),
            position=plain_number(after * item.contract_size),
            commission=plain_number(fee),
            change=plain_number(premium - fee),
            cashflow=plain_number(premium),
            total_interest_pl=None,
            trade_id=execution.execution_id,
            order_id=self._messages.order_id(execution),
            user_role="maker" if execution.is_maker else "taker",
            info=None,
        )

    def _get_positions(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        kind = params.get("kind", "any")
        found = self._messages.positions(self._account(session), None)
        return [row for row in found if kind in ("any", row.kind)]

    def _get_position(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        number = instrument_param(self._instruments, params)
        found = self._messages.positions(self._account(session), number)
        empty = {"instrument_name": params["instrument_name"], "direction": "zero", "size": 0}
        return found[0] if found else empty

    def _get_account_summary(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        account = self._account(session)
        if params.get("currency") not in (None, account.currency):
            raise RpcFault(-32602, "Invalid params", param="currency")
        return self._messages.account(account)

    def _get_account_summaries(self, session: RpcSession, params: Mapping[str, Any]) -> Any:
        return {"summaries": [self._get_account_summary(session, {**params, "currency": None})]}


def _whole(params: Mapping[str, Any], name: str, absent: int) -> int:
    """Return a parameter that is a whole number; refuse another as the venue does."""
    try:
        return int(params.get(name) or absent)
    except (TypeError, ValueError, OverflowError):
        raise RpcFault(-32602, "Invalid params", param=name) from None
