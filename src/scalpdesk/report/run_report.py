"""The report of a run: the value that the terminal, the pages, the tear sheet, SQL and Python format."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec
from msgspec.structs import replace

from scalpdesk.core.intents import Decision, Mark, Side
from scalpdesk.core.units import ZERO, money_decimals, run_currency
from scalpdesk.engine.desk import REST
from scalpdesk.hedging.sizing import least_fraction_of
from scalpdesk.instruments.contract import Equity, Instrument, underlying_of
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.journal.cut import sessions_begun
from scalpdesk.orders.order import OrderState
from scalpdesk.portfolio.explain import parts_in_cents
from scalpdesk.report.figures import json_safe
from scalpdesk.report.fold import Fill, RunFold, SentOrder
from scalpdesk.report.session_tables import SessionPnl, divided_to_cents, performance
from scalpdesk.report.summary import why_refused
from scalpdesk.report.trades import BookRecord, Trade, exposure, is_hedge, trades_of
from scalpdesk.volatility.variance_time import VarianceClock, clock_of

_EXACT = 10
"""Decimals of amounts that are yet to be summed."""
_VixBefore = Callable[[date], float | None]
"""Returns the last close of the VIX that was known on a day, in points."""


class Hedge(msgspec.Struct, frozen=True, kw_only=True):
    """A hedge, and what was earned since the one before it."""

    ts_ns: int
    strategy: str = ""
    """Whose it is, where several share the desk."""
    reason: str
    quantity_shares: int | float
    """Signed; coins or contracts of a hedge in those."""
    price: Decimal | None
    """None while it is not filled."""
    pnl: Decimal
    parts: dict[str, Decimal]
    refused: str = ""
    """Why the venue refused its orders, where it took none of them."""


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run: its figures, sessions, trades and hedges, and all that it decided and sent."""

    figures: dict[str, Any]
    """Counts, P&L and state in JSON types: the run summary."""
    pnl: dict[str, Decimal]
    """By part, with their ``total``."""
    sessions: tuple[SessionPnl, ...]
    hours: dict[str, dict[int, Decimal]]
    """By session, exact: what each hour of it earned, by the New York clock."""
    trades: tuple[Trade, ...] | None
    """None where a shared run cannot be divided any more."""
    hedges: tuple[Hedge, ...]
    performance: dict[str, Any]
    """Statistics of the sessions: mean, drawdown, ratios, exposure; empty of a run cut short."""
    orders: Sequence[SentOrder]
    fills: Sequence[Fill]
    decisions: Sequence[Decision]
    marks: Sequence[Mark]
    strategies: dict[str, BookRecord]
    """By name, where several strategies shared the desk; else empty."""

    def document(self) -> dict[str, Any]:
        """Return what is sealed with a journal and shown as JSON: figures, sessions and statistics."""
        return self.figures | {"sessions": json_safe(self.sessions), "performance": self.performance}


def report_of(
    header: JournalHeader,
    fold: RunFold,
    figures: Mapping[str, Any],
    vix_before: _VixBefore,
) -> RunReport:
    """Return the report of a run, or of what of it there is so far.

    ``header``: Of the run.
    ``fold``: Of all of it. Without the books of a desk a shared run has neither trades nor hedges.
    ``figures``: Run summary in JSON types; a sealed one keeps its statistics. With ``cut`` it is of a run
    that did not end, and has none.
    ``vix_before``: Returns the last close of the VIX that was known on a day, in points.
    """
    maker = _Maker(header, fold, is_shared="strategies" in figures)
    trades = maker.trades()
    sessions = maker.with_reasons(maker.sessions(vix_before), trades or ())
    pnl = {name: Decimal(amount) for name, amount in figures["pnl"].items()}
    statistics = figures.get("performance")
    if statistics is None:
        statistics = {} if figures.get("cut") else maker.performance(sessions, trades)
    return RunReport(
        figures=dict(figures),
        pnl=pnl,
        sessions=sessions,
        hours=fold.sums.hours(),
        trades=trades,
        hedges=maker.hedges(),
        performance=statistics,
        orders=fold.orders,
        fills=fold.fills,
        decisions=fold.decisions,
        marks=fold.marks,
        strategies=maker.records,
    )


def tables_of(
    header: JournalHeader, fold: RunFold
) -> tuple[tuple[SessionPnl, ...], tuple[Trade, ...], dict[str, Any]]:
    """Return what the store keeps of a run's report: sessions, trades, statistics without exposure.

    A shared run has no trades without its desk, and no session a level of the VIX.
    """
    maker = _Maker(header, fold, is_shared=False)
    sessions = maker.sessions(lambda _: None)
    return sessions, maker.trades() or (), maker.performance(sessions, None)


class _Maker:
    """Makes the parts of a report, each from the fold."""

    def __init__(self, header: JournalHeader, fold: RunFold, *, is_shared: bool) -> None:
        self._header, self._fold = header, fold
        self._clock: VarianceClock = clock_of(header.data)
        self._currency = run_currency(header.config)
        self._decimals = money_decimals(self._currency)
        self._unit = Decimal(1).scaleb(-self._decimals)
        self._spans = sessions_begun(header, fold.last_ns)
        self._listed = header.instruments
        self._is_shared = is_shared or any(line.owner for line in fold.orders)
        self.records = _divided(fold)

    @property
    def _whole(self) -> BookRecord:
        fold = self._fold
        return BookRecord(fold.marks, fold.changes, fold.fills, fold.decisions)

    def sessions(self, vix_before: _VixBefore) -> tuple[SessionPnl, ...]:
        days = [session.day for session in self._spans]
        found = self._fold.sums.sessions(days, vix_before, self._decimals)
        own = {
            name: strategy.sums.sessions(days, lambda _: None, _EXACT)
            for name, strategy in self._fold.owned.items()
        }
        if not own:
            return tuple(found)
        return tuple(
            replace(
                each,
                strategies=divided_to_cents(
                    {name: sessions[place].pnl for name, sessions in own.items()}, each.pnl, self._unit
                ),
            )
            for place, each in enumerate(found)
        )

    def with_reasons(self, sessions: Sequence[SessionPnl], trades: Sequence[Trade]) -> tuple[SessionPnl, ...]:
        """Return the sessions, each in which nothing was held with why it opened nothing."""
        spans = {span.day.isoformat(): (span.open_ns, span.close_ns) for span in self._spans}
        refused: dict[str, dict[str, Decision]] = {}
        for each in self._fold.decisions:
            if each.kind == "entry" and not each.taken:
                day = self._clock.session_day(each.ts_ns).isoformat()
                kinds = refused.setdefault(day, {})
                like = each.likeness
                kinds.pop(like, None)
                kinds[like] = each

        def reason(row: SessionPnl) -> str:
            span = spans.get(row.session)
            is_held = span is None or any(
                trade.opened_ns <= span[1] and (trade.closed_ns is None or trade.closed_ns > span[0])
                for trade in trades
            )
            kinds = refused.get(row.session)
            if is_held:
                return ""
            return "the strategy looked for no entry" if kinds is None else why_refused([*kinds.values()])

        return tuple(replace(row, no_entry=reason(row)) for row in sessions)

    def trades(self) -> tuple[Trade, ...] | None:
        if self._is_shared and not self.records:
            return None
        owners = self.records or {"": self._whole}
        found = [trade for name, record in owners.items() for trade in self._trades(name, record)]
        found.sort(key=attrgetter("opened_ns"))
        return tuple(replace(trade, number=number) for number, trade in enumerate(found, start=1))

    def _trades(self, name: str, record: BookRecord) -> list[Trade]:
        listed = self._listed
        underlyings = {each.symbol: underlying_of(each) for each in listed}
        traded = {underlyings[fill.symbol] for fill in record.fills if fill.symbol is not None}
        own = traded.pop() if len(traded) == 1 else self._header.data.get("underlying")
        paid: dict[int, float] = {
            event.ts_ex_ns: float(event.amount)
            for event in self._fold.dividends
            if listed[event.instrument_id].symbol == own
        }
        shares = own if any(each.is_share and each.symbol == own for each in listed) else None
        dividends = list(paid.items())
        return trades_of(record, listed, self._clock, underlying=shares, dividends=dividends, strategy=name)

    def hedges(self) -> tuple[Hedge, ...]:
        if self._is_shared and not self.records:
            return ()
        owners = self.records or {"": self._whole}
        found = (hedge for name, record in owners.items() for hedge in self._explained(name, record))
        return tuple(sorted(found, key=attrgetter("ts_ns")))

    def _explained(self, strategy: str, record: BookRecord) -> list[Hedge]:
        """Return each hedge with the parts of the interval that led up to it, from the hedge before on.

        All intervals together are the run up to its last hedge. A hedge through zero goes in two orders and
        has one row.
        """
        sent = {line.client_order_id: line for line in self._fold.orders}
        marks, waiting = iter(record.marks), None
        explained: list[Hedge] = []
        for decision in record.decisions:
            if decision.kind == "hedge_second_order" and explained:
                more = explained[-1].quantity_shares + _hedged_quantity(decision, sent)
                explained[-1] = replace(explained[-1], quantity_shares=more)
            if not is_hedge(decision):
                continue
            parts: dict[str, Decimal] = {}
            while (waiting := waiting or next(marks, None)) is not None and waiting.ts_ns <= decision.ts_ns:
                for name, amount in waiting.parts.items():
                    parts[name] = parts.get(name, ZERO) + amount
                waiting = None
            rounded = parts_in_cents(parts, sum(parts.values(), ZERO), self._unit)
            names = decision.client_order_ids
            explained.append(
                Hedge(
                    ts_ns=decision.ts_ns,
                    strategy=strategy,
                    reason=decision.reasons[0],
                    quantity_shares=_hedged_quantity(decision, sent),
                    price=next((sent[name].average_price for name in names if name in sent), None),
                    refused=_refusal([sent[name] for name in names if name in sent]),
                    pnl=rounded.pop("total"),
                    parts=rounded if parts else {},
                )
            )
        return explained

    def performance(self, sessions: Sequence[SessionPnl], trades: Sequence[Trade] | None) -> dict[str, Any]:
        if not sessions:
            return {}
        first = next(iter(self._fold.marks), None)
        starting = 0.0 if first is None else float(first.nav - first.nav_change)
        found = performance(sessions, starting, self._clock.days_per_year)
        found["drawdown_of_marks"] = self._fold.sums.fall_of_marks(starting)
        return found | self._exposures(trades) if self._spans and trades is not None else found

    def _exposures(self, trades: Sequence[Trade]) -> dict[str, Any]:
        """Return how long options were held and how long beyond the band; by strategy, too, if several."""
        held = self._exposure(self._whole, trades)
        if not self.records:
            return held
        own = {
            name: self._exposure(record, rows)
            for name, record in self.records.items()
            if (rows := [trade for trade in trades if trade.strategy == name])
        }
        minutes = sum(figures["unhedged_minutes"] for figures in own.values())
        return held | {"unhedged_minutes": minutes, "strategies": own}

    def _exposure(self, record: BookRecord, trades: Sequence[Trade]) -> dict[str, Any]:
        hedge: Instrument = next((each for each in self._listed if each.is_perpetual), Equity(""))
        return dict(
            exposure(
                record.marks,
                record.decisions,
                [(trade.opened_ns, trade.closed_ns) for trade in trades],
                [(session.open_ns, session.close_ns) for session in self._spans],
                hedges=hedge_deltas(record.fills, hedge),
                least_fraction=least_fraction_of(self._header.config),
                hedge=hedge,
            )
        )


def hedge_deltas(fills: Iterable[Fill], hedge: Instrument) -> dict[int, float]:
    """Return what the last hedge of each instant did to the net delta: shares, or coins of a perpetual."""
    found = {}
    for fill in fills:
        if fill.purpose == "hedge" and not fill.busted:
            units = float(fill.quantity if fill.side == "buy" else -fill.quantity)
            found[fill.ts_recv_ns] = hedge.delta(units, float(fill.price))
    return found


def _refusal(orders: Sequence[SentOrder]) -> str:
    """Return why the venue refused all of some orders; empty where it took one."""
    if not orders or any(line.state != OrderState.REJECTED or line.filled_quantity for line in orders):
        return ""
    return orders[-1].reason or "rejected"


def _hedged_quantity(decision: Decision, orders: Mapping[str, SentOrder]) -> int | float:
    """Return the signed quantity that a hedge's decision names, else that of its orders in one symbol."""
    named = decision.facts.get("quantity_shares")
    if isinstance(named, int | float):
        return named
    sent = [orders[name] for name in decision.client_order_ids if name in orders]
    total = sum(
        (Side(line.side).sign * line.quantity for line in sent if line.symbol == sent[0].symbol), ZERO
    )
    return int(total) if total == int(total) else float(total)


def _divided(fold: RunFold) -> dict[str, BookRecord]:
    """Return what is each strategy's; positions without a strategy have a record."""
    if not fold.owned:
        return {}
    owners = {line.client_order_id: line.owner or REST for line in fold.orders}
    return {
        name: BookRecord(
            strategy.marks,
            [each for each in fold.owned_changes if (each.owner or REST) == name],
            [each for each in fold.fills if owners.get(each.client_order_id, REST) == name],
            [each for each in fold.decisions if each.facts.get("strategy", name) == name],
        )
        for name, strategy in fold.owned.items()
    }
