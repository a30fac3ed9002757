"""Public methods of Deribit's JSON-RPC interface: instruments, prices and their history."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import structs

from scalpdesk.core.units import DAY_NS, DAYS_PER_YEAR, NANOS_PER_MS, NANOS_PER_SECOND
from scalpdesk.exchange.market import SimulatedMarket
from scalpdesk.exchange.source import TapeSource, combine
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.sessions import coin_session, expiry_instant_ns
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk_deribit.messages import (
    FundingMessage,
    SettlementPage,
    VolatilityIndexPage,
)
from scalpdesk_deribit.served.rpc import RpcFault, instrument_param, is_true
from scalpdesk_deribit.served.serializers import MOST_ROWS, Messages, plain_number
from scalpdesk_deribit.served.shown import ShownChart, ShownCurrency, ShownSettlement

_MINUTE_SECONDS = 60
CHART_MINUTES = {str(count): count for count in (1, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720)} | {"1D": 1_440}
"""Lengths of a chart's bars by their name at the venue."""


class PublicMethods:
    """Answers what anybody may ask of a simulated market."""

    def __init__(self, world: SimulatedMarket, messages: Messages) -> None:
        self._world, self._messages = world, messages
        self._instruments = world.ledger.instruments
        self._pricer = ContractPricer()
        self.methods: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "public/get_time": self._get_time,
            "public/get_currencies": self._get_currencies,
            "public/get_instruments": self._get_instruments,
            "public/get_instrument": self._get_instrument,
            "public/ticker": self._ticker,
            "public/get_order_book": self._get_order_book,
            "public/get_index_price": self._get_index_price,
            "public/get_book_summary_by_currency": self._get_book_summary_by_currency,
            "public/get_tradingview_chart_data": self._get_tradingview_chart_data,
            "public/get_last_trades_by_instrument": self._get_last_trades,
            "public/get_last_trades_by_instrument_and_time": self._get_last_trades,
            "public/get_last_trades_by_currency": self._get_last_trades,
            "public/get_last_trades_by_currency_and_time": self._get_last_trades,
            "public/get_last_settlements_by_currency": self._get_last_settlements,
            "public/get_volatility_index_data": self._get_volatility_index_data,
            "public/get_book_summary_by_instrument": self._get_book_summary_by_instrument,
            "public/get_funding_rate_value": self._get_funding_rate_value,
            "public/get_funding_rate_history": self._get_funding_rate_history,
        }

    def _get_time(self, params: Mapping[str, Any]) -> int:
        del params
        return self._world.now_ns // NANOS_PER_MS

    def _get_currencies(self, params: Mapping[str, Any]) -> Any:
        del params
        coins = sorted({item.currency for item in self._instruments})
        return [
            ShownCurrency(
                currency=coin, currency_long=coin, coin_type=coin, min_confirmations=1, fee_precision=8
            )
            for coin in coins
        ]

    def _get_instruments(self, params: Mapping[str, Any]) -> Any:
        kind, currency = params.get("kind", "any"), params.get("currency", "any")
        found = []
        for instrument in self._instruments:
            shown = self._messages.instrument(instrument)
            is_wanted = kind in ("any", shown.kind) and currency in ("any", shown.base_currency)
            if is_wanted and (shown.is_active or is_true(params.get("expired"))):
                found.append(shown)
        return found

    def _get_instrument(self, params: Mapping[str, Any]) -> Any:
        return self._messages.instrument(self._instruments[instrument_param(self._instruments, params)])

    def _ticker(self, params: Mapping[str, Any]) -> Any:
        return self._messages.ticker(instrument_param(self._instruments, params))

    def _get_order_book(self, params: Mapping[str, Any]) -> Any:
        found = self._messages.ticker(instrument_param(self._instruments, params))
        book: dict[str, Any] = msgspec.to_builtins(found)
        return book | self._messages.levels(found)._asdict()

    def _get_index_price(self, params: Mapping[str, Any]) -> Any:
        coin = str(params.get("index_name", "")).partition("_")[0].upper()
        for item in self._instruments:
            if item.is_inverse_future and item.currency == coin:
                price = self._messages.index(item)
                return {"index_price": price, "estimated_delivery_price": price}
        raise RpcFault(-32602, "Invalid params", param="index_name")

    def _get_book_summary_by_currency(self, params: Mapping[str, Any]) -> Any:
        listed = self._get_instruments(params)
        ids = [self._instruments.id_of(str(shown.instrument_name)) for shown in listed]
        return [self._messages.summary_of_book(number) for number in ids]

    def _get_book_summary_by_instrument(self, params: Mapping[str, Any]) -> Any:
        return [self._messages.summary_of_book(instrument_param(self._instruments, params))]

    def _get_tradingview_chart_data(self, params: Mapping[str, Any]) -> Any:
        number = instrument_param(self._instruments, params)
        start, end = (
            int(params.get("start_timestamp", 0)) * NANOS_PER_MS,
            int(params.get("end_timestamp", 0)) * NANOS_PER_MS,
        )
        length = str(params.get("resolution", "1"))
        if length not in CHART_MINUTES:
            raise RpcFault(-32602, "Invalid params", param="resolution")
        seconds = CHART_MINUTES[length] * 60
        earlier = self._world.source.history(self._instruments[number].symbol, seconds, start, end)
        made = combine(self._world.bars.minutes(number), seconds, in_utc=True)
        bars = [*earlier, *(bar for bar in made if start <= bar.start_ns <= end)]
        return ShownChart(
            status="ok" if bars else "no_data",
            ticks=[bar.start_ns // NANOS_PER_MS for bar in bars],
            open=[bar.open for bar in bars],
            high=[bar.high for bar in bars],
            low=[bar.low for bar in bars],
            close=[bar.close for bar in bars],
            volume=[bar.volume for bar in bars],
        )

    def _get_last_trades(self, params: Mapping[str, Any]) -> Any:
        """Return the executions of every account: nothing else trades here."""
        only = instrument_param(self._instruments, params) if "currency" not in params else None
        instruments, executions = self._instruments, []
        for account in self._world.ledger.accounts.values():
            for each in account.executions:
                number = each.instrument_id
                if number is None or (only is not None and number != only):
                    continue
                if only is not None or instruments[number].currency == params["currency"]:
                    executions.append(each)
        executions.sort(key=lambda each: each.ts_ns)
        return self._messages.page([self._messages.public_trade(each) for each in executions], params)

    def _settled(self, currency: Any) -> list[tuple[int, Instrument, float]]:
        """Return instant, underlying and price of the settlements of the tape until now, latest first."""
        source, found = self._world.source, []
        if isinstance(source, TapeSource):
            for (symbol, day), price in source.tape.settlement_prices.items():
                item, at_ns = source.instruments[source.instruments.id_of(symbol)], coin_session(day).open_ns
                if at_ns <= self._world.now_ns and currency in (None, "any", item.currency):
                    found.append((at_ns, item, price))
        return sorted(found, key=lambda each: -each[0])

    def _get_last_settlements(self, params: Mapping[str, Any]) -> Any:
        """Return the settlements of the perpetual and the deliveries of options, latest first."""
        kind, until = params.get("type"), int(params.get("search_start_timestamp", 2**62))
        rows = []
        for at_ns, underlying, price in self._settled(params.get("currency")):
            if at_ns // NANOS_PER_MS > until:
                continue
            row = ShownSettlement(
                timestamp=at_ns // NANOS_PER_MS,
                instrument_name=underlying.symbol,
                type="settlement",
                index_price=price,
                mark_price=price,
                position=0.0,
                session_profit_loss=0.0,
                funding=0.0,
            )
            if kind in (None, row.type):
                rows.append(row)
            ended = self._instruments.options(underlying.symbol)
            for _, option in ended if kind in (None, "delivery") else ():
                if expiry_instant_ns(option) == at_ns:
                    worth = max((price - float(option.strike)) * (1 if option.is_call else -1), 0.0) / price
                    held = self._world.open_interest.get(option.symbol, 0)
                    delivery = structs.replace(
                        row,
                        instrument_name=option.symbol,
                        type="delivery",
                        mark_price=round(worth, 8),
                        position=float(held),
                        funding=None,
                    )
                    rows.append(delivery)
        first, most = int(params.get("continuation") or 0), min(int(params.get("count", 20)), MOST_ROWS)
        more = str(first + most) if len(rows) > first + most else None
        return SettlementPage(settlements=rows[first : first + most], continuation=more)

    def _get_volatility_index_data(self, params: Mapping[str, Any]) -> Any:
        """Return the 30-day volatility at the money of the tape, percent, at the end of each interval."""
        width = 86_400 if params.get("resolution") == "1D" else int(params.get("resolution", 3_600))
        source = self._world.source
        if not isinstance(source, TapeSource) or width < _MINUTE_SECONDS:
            return VolatilityIndexPage(data=[], continuation=None)
        # quotes begin after the start
        first = max(int(params.get("start_timestamp", 0)) * NANOS_PER_MS, source.start_ns + 1)
        width *= NANOS_PER_SECOND
        last = min(int(params.get("end_timestamp", 2**62)) * NANOS_PER_MS, self._world.now_ns - width)
        starts = list(range(-(-first // width) * width, last + 1, width))
        ends = [at_ns + width for at_ns in starts[-1:]]
        levels = [self._vol_of_30_days(source.tape, at_ns) for at_ns in (*starts, *ends)]
        rows = [
            [at_ns // NANOS_PER_MS, before, max(before, after), min(before, after), after]
            for at_ns, (before, after) in zip(starts, pairwise(levels), strict=True)
        ]
        more = int(rows[-MOST_ROWS - 1][0]) if len(rows) > MOST_ROWS else None
        return VolatilityIndexPage(data=rows[-MOST_ROWS:], continuation=more)

    def _vol_of_30_days(self, tape: MarketTape, at_ns: int) -> float:
        """Return the volatility at the money of 30 days, percent: total variance between two expiries."""
        quotes = tape.quotes.between(at_ns - 2 * _MINUTE_SECONDS * NANOS_PER_SECOND, at_ns)
        mids = dict(
            zip(quotes.instrument_id.tolist(), (0.5 * (quotes.bid + quotes.ask)).tolist(), strict=True)
        )
        spot = mids.get(tape.instruments.id_of(tape.underlying), 0.0)
        curve: dict[float, float] = {}
        nearest: dict[float, float] = {}
        for number, item in tape.instruments.options(tape.underlying):
            years = (expiry_instant_ns(item) - at_ns) / DAY_NS / DAYS_PER_YEAR
            away, mid = abs(float(item.strike) - spot), mids.get(number, 0.0)
            if years > 0.0 and mid > 0.0 and away < nearest.get(years, spot):
                vol = self._pricer.implied_vol(item, mid, spot, years, 0.0, 0.0)
                if vol:
                    nearest[years], curve[years] = away, vol * vol * years
        wanted = 30.0 / DAYS_PER_YEAR
        known = sorted(curve)
        if not known:
            return 0.0
        after = min(max(sum(each < wanted for each in known), 1), len(known) - 1)
        low, high = known[after - 1], known[after]
        if low == high:
            return round(100.0 * math.sqrt(curve[low] / low), 4)
        share = (wanted - low) / (high - low)
        total = curve[low] + share * (curve[high] - curve[low])
        return round(100.0 * math.sqrt(max(total / wanted, 0.0)), 4)

    def _get_funding_rate_history(self, params: Mapping[str, Any]) -> list[FundingMessage]:
        item = self._instruments[instrument_param(self._instruments, params)]
        start, end = int(params.get("start_timestamp", 0)), int(params.get("end_timestamp", 2**62))
        return [
            FundingMessage(
                timestamp=rate.ts_ns // NANOS_PER_MS,
                index_price=plain_number(rate.index),
                interest_8h=plain_number(rate.rate),
                interest_1h=plain_number(rate.rate / 8),
            )
            for rate in self._world.source.funding
            if rate.symbol == item.symbol
            and start <= rate.ts_ns // NANOS_PER_MS <= end
            and rate.ts_ns <= self._world.now_ns
        ]

    def _get_funding_rate_value(self, params: Mapping[str, Any]) -> float:
        """Return the funding over a span: the sum of its hours."""
        rows = self._get_funding_rate_history(params)
        return float(sum(row.interest_1h or 0 for row in rows))
