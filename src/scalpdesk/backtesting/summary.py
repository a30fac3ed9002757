"""Run summary: the document that every command shows, as text or as JSON."""

import logging
import weakref
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, overload

import msgspec

from scalpdesk.core.errors import StopError
from scalpdesk.core.events import Event
from scalpdesk.core.intents import Decision, Mark, Output, orders_of
from scalpdesk.core.units import CENT, count_text, rounded_text, to_cents
from scalpdesk.engine.desk import by_strategy, by_underlying
from scalpdesk.engine.exposure import exposure
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.engine.unquoted import on_model
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.journal.codec import DecisionHash, JournalHeader
from scalpdesk.portfolio.explain import explain_lines, parts_in_cents
from scalpdesk.portfolio.gamma_verdict import gamma_verdict
from scalpdesk.portfolio.positions import exact_price
from scalpdesk.strategies.contract import AsksFolders, ReportsHedges, members_of
from scalpdesk.strategies.toolkit.entry_legs import AGAIN_IN, STRADDLE_DELTA

LOG = logging.getLogger(__name__)
PACKED_MARKS, PACKED_BYTES = 1_024, 1 << 20
"""Marks in a pack, and bytes of packs that are kept in memory."""
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Mark])


class MarkLog(Sequence[Mark]):
    """Marks of a run in order: a run of years has half a million of them.

    They are packed, and beyond ``most_bytes`` in a temporary file that ends with the log; 0 keeps all in
    memory, as a pickled log does.
    """

    def __init__(
        self,
        most_bytes: int = PACKED_BYTES,
        packs: bytes = b"",
        sizes: Sequence[int] = (),
        last: Sequence[Mark] = (),
    ) -> None:
        self._file = SpooledTemporaryFile(max_size=most_bytes)  # noqa: SIM115 - open as long as the log lives
        weakref.finalize(self, self._file.close)
        if packs:
            self._file.write(packs)
        self._sizes = list(sizes)
        """Bytes of each pack, one after the other."""
        self._last = list(last)

    def append(self, mark: Mark) -> None:
        """Add a mark.

        Raises
        ------
        StopError
            When the disk refuses the temporary file.
        """
        self._last.append(mark)
        if len(self._last) < PACKED_MARKS:
            return
        packed = zlib.compress(_ENCODER.encode(self._last), level=1)
        try:
            self._file.seek(sum(self._sizes))
            self._file.write(packed)
        except OSError as error:
            raise StopError(
                f"the marks of the run cannot be kept: {error.strerror}",
                where=gettempdir(),
                value=error.errno,
                fix="free disk space, or name a folder that has some in TMPDIR",
            ) from error
        self._sizes.append(len(packed))
        self._last = []

    def __reduce__(self) -> tuple[Any, ...]:
        self._file.seek(0)
        return MarkLog, (0, self._file.read(), tuple(self._sizes), tuple(self._last))

    def __iter__(self) -> Iterator[Mark]:
        start = 0
        for size in self._sizes:
            self._file.seek(start)
            yield from _DECODER.decode(zlib.decompress(self._file.read(size)))
            start += size
        yield from self._last

    def __len__(self) -> int:
        return PACKED_MARKS * len(self._sizes) + len(self._last)

    @overload
    def __getitem__(self, at: int) -> Mark: ...
    @overload
    def __getitem__(self, at: slice) -> list[Mark]: ...
    def __getitem__(self, at: int | slice) -> Mark | list[Mark]:
        """Return one mark, or a list of them; every mark is unpacked for it."""
        return list(self)[at]


class Tally:
    """Counts decisions, orders and marks among the engine's outputs; a watcher of the runner.

    It appends to ``marks``, or to a log of its own.
    """

    def __init__(self, marks: MarkLog | None = None) -> None:
        self.decisions = 0
        self.taken: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.orders = 0
        self.last_decision: Decision | None = None
        self.refusals: list[Decision] = []
        """Last five refusals of an entry since the last accepted entry, newest last."""
        self.straddle: Decision | None = None
        """The latest to buy a straddle."""
        self.marks = MarkLog() if marks is None else marks
        self.hash = DecisionHash()

    def see(self, event: Event, outputs: tuple[Output, ...]) -> None:
        """Count the outputs of one event."""
        del event
        self.hash.add(outputs)
        for output in outputs:
            if isinstance(output, Decision):
                self._count(output)
            elif isinstance(output, Mark):
                self.marks.append(output)
            else:
                self.orders += len(orders_of(output))

    def _count(self, decision: Decision) -> None:
        self.decisions += 1
        self.last_decision = decision
        if LOG.isEnabledFor(logging.DEBUG):
            LOG.debug("%s", in_one_line(self.decisions, decision))
        if decision.taken:
            self.taken[decision.kind] += decision.is_counted
            if decision.kind == "entry":
                self.refusals = []
                if STRADDLE_DELTA in decision.facts:
                    self.straddle = decision
            return
        self.skipped[decision.kind] += 1
        if decision.kind == "entry":
            self.refusals = [*self.refusals[-4:], decision]


def in_one_line(number: int, decision: Decision) -> str:
    """Return a decision as a log line: New York time, kind, reasons and figures."""
    at = f"{to_new_york(decision.ts_ns):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    done = "taken" if decision.taken else "not taken"
    orders = f" [{', '.join(decision.client_order_ids)}]" if decision.client_order_ids else ""
    facts = ", ".join(f"{name}={value}" for name, value in decision.facts.items())
    because = "; ".join(decision.reasons)
    return f"decision {number} at {at}: {decision.kind} {done}{orders}: {because} ({facts})"


def run_summary(
    header: JournalHeader, engine: TradingEngine, tally: Tally, events: int, wall_seconds: float
) -> dict[str, Any]:
    """Return the run summary as JSON types; amounts are strings with two decimals.

    The parts of ``pnl`` sum to ``total``, which is ``nav_change``, exactly. A desk in coin reports eight
    decimals, and ``usd`` too. Where several strategies shared the desk, ``strategies`` has a
    row for each, and their totals sum to it.
    """
    desk = engine.desk
    unit = desk.attribution.unit
    decimals = -int(unit.as_tuple().exponent)
    pnl = parts_in_cents(desk.attribution.totals, desk.attribution.nav_change, unit)
    paying = gamma_verdict(desk.attribution, pnl, desk.attribution.sums.hedge_costs)
    lines = explain_lines(desk.attribution)
    headline = lines["realised_against_implied"]["total"]
    summary = {
        "run_id": header.run_id,
        "strategy": header.strategy,
        "venue": header.venue,
        "data": {key: header.data.get(key) for key in DATA_KEYS}
        | {key: header.data[key] for key in DATA_KEYS_IF_NAMED if key in header.data},
        "events": events,
        "decisions": tally.decisions,
        "orders": tally.orders,
        "fills": desk.orders.fill_count(),
        "hedges": tally.taken["hedge"],
        "nav_change": f"{pnl['total']:f}",
        "pnl": {name: f"{amount:f}" for name, amount in pnl.items()},
        "pnl_detail": lines,
        "gamma_paying": None if paying is None else paying.document(),
        "realised_vs_implied": headline,
        "gamma_rent": headline,
        "theta_paid": rounded_text(desk.attribution.sums.theta_paid, decimals, ""),
        "explain": lines,
        "scalp_realized": str(to_cents(_scalps(engine), unit)),
        "end_positions": _positions(engine),
        **_on_model(engine, decimals),
        "mode": desk.gate.kept_mode.value,
        "seed": header.seed,
        "config_hash": header.config_hash,
        "decision_hash": tally.hash.hex(),
        "verdict": verdict(tally, desk.orders.fill_count()),
        "straddle": [] if tally.straddle is None else list(tally.straddle.reasons),
        "wall_seconds": round(wall_seconds, 3),
        "events_per_second": round(events / wall_seconds) if wall_seconds > 0 else None,
        "evaluations": engine.evaluations,
        "quote_oddities": dict(sorted(desk.market.oddities.items())),
    }
    dividends = desk.delta_engine.vols.coming_dividends()
    if dividends:
        summary["dividends"] = [
            {
                "symbol": symbol,
                "ex_date": to_new_york(paid.ts_ex_ns).date().isoformat(),
                "amount": paid.amount,
                "known": "expected" if paid.is_expected else "declared",
            }
            for symbol, paid in dividends
        ]
    if header.venue == "simulated":
        summary["fee_schedule"] = header.config.get("simulation", {}).get("fees", "none")
        if "fees" in header.data:
            summary["fee_rows"] = header.data["fees"]
    if unit != CENT:
        summary["currency"] = desk.instruments[desk.view.underlying].currency
        summary["usd"] = in_dollars(tally.marks)
    shared = by_strategy(desk)
    if shared is not None:
        summary["strategies"] = shared
    underlyings = by_underlying(desk)
    if underlyings is not None:
        summary["underlyings"] = underlyings
        summary["exposure"] = exposure(desk, engine.now_ns)
    hedge_costs = {}
    for strategy in members_of(engine.strategy):
        if isinstance(strategy, AsksFolders):
            folder = strategy.folder_summary()
            summary["folder"] = folder
            if summary["verdict"] == NEVER_ASKED:
                summary["verdict"] = folder_verdict(folder)
        if isinstance(strategy, ReportsHedges):
            hedge_costs[strategy.name] = strategy.hedge_summary()
    if len(hedge_costs) == 1:
        (summary["hedge_costs"],) = hedge_costs.values()
    elif shared is not None:
        for name, costs in hedge_costs.items():
            shared[name]["hedge_costs"] = costs
    assert sum((pnl[name] for name in pnl if name != "total"), Decimal(0)) == pnl["total"]
    return summary


DATA_KEYS = ("name", "kind", "session", "underlying", "open", "high", "low", "close", "notes")
DATA_KEYS_IF_NAMED = ("others", "hedge", "variance_clock", "quality")


NEVER_ASKED = "no trade: the strategy never asked for one"


def verdict(tally: Tally, fills: int) -> str:
    """Return the outcome of the run in a sentence; "no trade" carries its reason."""
    if fills:
        return (
            f"traded: {tally.taken['entry']} entry, {count_text(tally.taken['hedge'], 'hedge')},"
            f" {tally.taken['exit']} exit"
        )
    if tally.refusals:
        *earlier, last = tally.refusals
        why = "; ".join(last.reasons)
        if earlier and AGAIN_IN in last.facts:  # what refused its orders is why
            why += f"; before: {'; '.join(earlier[-1].reasons)}"
        return f"no trade: {why}"
    if tally.orders:
        return "no trade: orders were sent and none was filled"
    return NEVER_ASKED


REMEDIES = {
    "entry gate refuses": "--set entry.gate=advise trades whatever the gate says",
}
"""By a phrase of a verdict what lets a run trade."""


def remedy(verdict: str) -> str | None:
    """Return what to set where a run did not trade; None where its verdict names it, or nothing is known."""
    if not verdict.startswith("no trade"):
        return None
    return next((fix for phrase, fix in REMEDIES.items() if phrase in verdict), None)


def why_no_trade(verdicts: Iterable[str]) -> str | None:
    """Return in words why none of several runs traded; None where one did, or there is none."""
    found = list(verdicts)
    if not found or not all(each.startswith("no trade") for each in found):
        return None
    fix = remedy(found[0])
    return f"no run traded, the first for this reason: {found[0]}" + ("" if fix is None else f"; {fix}")


def folder_verdict(folder: Mapping[str, Any]) -> str:
    """Return why a strategy folder did not trade: it failed, was refused, or sent no intent.

    Parameters
    ----------
    folder
        Summary of the folder: counts, last failure and last refusal.
    """
    failures, refused = folder.get("failures", 0), folder.get("refused", 0)
    if failures:
        return f"no trade: the strategy folder failed {failures} times, at last {folder['last_failure']}"
    if refused:
        last = folder["last_refusal"]
        return f"no trade: each of {refused} intents of the folder was refused, the last one {last}"
    return NEVER_ASKED


def _on_model(engine: TradingEngine, decimals: int) -> dict[str, Any]:
    """Return what of the last net asset value stands on no quote, as ``on_model``; empty if nothing does."""
    found = on_model(engine.desk, engine.now_ns)
    if found is None:
        return {}
    amounts = {name: f"{getattr(found, name):.{decimals}f}" for name in ("worth", "least", "most")}
    since = f"{to_new_york(found.since_ns):%Y-%m-%d %H:%M}"
    return {"on_model": {"options": list(found.symbols), **amounts, "since": since}}


def _positions(engine: TradingEngine) -> dict[str, str]:
    desk = engine.desk
    return {
        desk.instruments[position.instrument_id].symbol: str(position.quantity)
        for position in desk.positions.held()
    }


def _scalps(engine: TradingEngine) -> Decimal:
    """Return the realised P&L of the hedge lots (FIFO), before theta of the options."""
    desk = engine.desk
    lots = ((desk.instruments[number].multiplier, each) for number, each in desk.positions.scalps.items())
    return sum((each.realized * multiplier for multiplier, each in lots), Decimal(0))


def in_dollars(marks: Sequence[Mark]) -> dict[str, str] | None:
    """Return what a desk in coin is worth in US dollars, and the change by cause; None without marks.

    ``trading`` is each change in coin at the price of its own mark; ``currency`` is what the coin that was
    held gained or lost: N₁S₁ − N₀S₀ = Σ(Nᵢ − Nᵢ₋₁)Sᵢ + ΣNᵢ₋₁(Sᵢ − Sᵢ₋₁). The price is the underlying's mark.
    """
    priced = [(mark.nav, exact_price(mark.spot)) for mark in marks if mark.spot > 0.0]
    if not priced:
        return None
    first = marks[0]
    nav, spot = first.nav - first.nav_change, priced[0][1]
    start, currency = nav * spot, Decimal(0)
    for next_nav, next_spot in priced:
        currency += nav * (next_spot - spot)
        nav, spot = next_nav, next_spot
    start, end, currency = to_cents(start), to_cents(nav * spot), to_cents(currency)
    return {
        "nav_start": str(start),
        "nav_end": str(end),
        "nav_change": str(end - start),
        "trading": str(end - start - currency),
        "currency": str(currency),
    }
