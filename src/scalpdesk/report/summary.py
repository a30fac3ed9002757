"""Run summary: the document that every command shows, as text or as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from scalpdesk.core.intents import Decision, Mark
from scalpdesk.core.units import CENT, count_text, rounded_text, to_cents
from scalpdesk.engine.desk import Desk, by_strategy, by_underlying
from scalpdesk.engine.exposure import exposure
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.engine.unquoted import on_model
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.portfolio.explain import explain_lines, parts_in_cents
from scalpdesk.portfolio.gamma_verdict import gamma_verdict, loss_of
from scalpdesk.portfolio.positions import PositionManager, exact_price
from scalpdesk.report.fold import RunFold
from scalpdesk.strategies.contract import AsksFolders, ReportsHedges, members_of
from scalpdesk.strategies.toolkit.entry_legs import ENTRY_GATE


def run_summary(
    header: JournalHeader, engine: TradingEngine, fold: RunFold, events: int, wall_seconds: float
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
    members, shared = members_of(engine.strategy), by_strategy(desk)
    folders = [each.folder_summary() for each in members if isinstance(each, AsksFolders)]
    hedge_costs = {each.name: each.hedge_summary() for each in members if isinstance(each, ReportsHedges)}
    underlyings = by_underlying(desk)
    summary = {
        "run_id": header.run_id,
        "strategy": header.strategy,
        "venue": header.venue,
        "data": {key: header.data.get(key) for key in _DATA_KEYS}
        | {key: header.data[key] for key in _DATA_KEYS_IF_NAMED if key in header.data},
        "events": events,
        "decisions": len(fold.decisions),
        "orders": len(fold.orders),
        "fills": fold.fill_count,
        "hedges": fold.taken["hedge"],
        "nav_change": f"{pnl['total']:f}",
        "pnl": {name: f"{amount:f}" for name, amount in pnl.items()},
        "pnl_detail": lines,
        "gamma_paying": None if paying is None else paying.document(),
        "realised_vs_implied": lines["realised_against_implied"]["total"],
        "theta_paid": rounded_text(desk.attribution.sums.theta_paid, decimals, ""),
        "scalp_realized": str(to_cents(_scalps(engine), unit)),
        "end_positions": held_by_symbol(desk.positions),
        **_on_model(engine, decimals),
        "mode": desk.gate.kept_mode.value,
        "seed": header.seed,
        "config_hash": header.config_hash,
        "decision_hash": fold.hash.hex(),
        "verdict": with_loss(_outcome(fold, folders), pnl),
        "straddle": [] if fold.straddle is None else list(fold.straddle.reasons),
        "wall_seconds": round(wall_seconds, 3),
        "events_per_second": round(events / wall_seconds) if wall_seconds > 0 else None,
        "evaluations": engine.evaluations,
        "quote_oddities": dict(sorted(desk.market.oddities.items())),
        **_dividends(desk),
        **_fees(header),
        **({} if unit == CENT else {"currency": desk.account.currency, "usd": in_dollars(fold.marks)}),
        **({} if shared is None else {"strategies": shared}),
        **({} if underlyings is None else {"underlyings": underlyings}),
        **({} if underlyings is None else {"exposure": exposure(desk, engine.now_ns)}),
        **({"folder": folders[-1]} if folders else {}),
    }
    if len(hedge_costs) == 1:
        (summary["hedge_costs"],) = hedge_costs.values()
    elif shared is not None:
        for name, costs in hedge_costs.items():
            shared[name]["hedge_costs"] = costs
    assert sum((pnl[name] for name in pnl if name != "total"), Decimal(0)) == pnl["total"]
    return summary


def _outcome(fold: RunFold, folders: Sequence[dict[str, Any]]) -> str:
    """Return the outcome of the run; where the desk was asked for nothing, what its folder did."""
    outcome = verdict(fold)
    return _folder_verdict(folders[0]) if folders and outcome == _NEVER_ASKED else outcome


def _dividends(desk: Desk) -> dict[str, Any]:
    dividends = desk.delta_engine.vols.coming_dividends()
    rows = [
        {
            "symbol": symbol,
            "ex_date": to_new_york(paid.ts_ex_ns).date().isoformat(),
            "amount": paid.amount,
            "known": "expected" if paid.is_expected else "declared",
        }
        for symbol, paid in dividends
    ]
    return {"dividends": rows} if rows else {}


def _fees(header: JournalHeader) -> dict[str, Any]:
    named = {"fee_rows": header.data["fees"]} if "fees" in header.data else {}
    if header.venue != "simulated":
        return named
    return {"fee_schedule": header.config.get("simulation", {}).get("fees", "none"), **named}


_DATA_KEYS = ("name", "kind", "session", "underlying", "open", "high", "low", "close", "notes")
_DATA_KEYS_IF_NAMED = ("others", "hedge", "variance_clock", "quality")


_NEVER_ASKED = "no trade: the strategy never asked for one"


def verdict(fold: RunFold) -> str:
    """Return the outcome of the run in a sentence; "no trade" carries its reason."""
    if fold.fill_count:
        refused = fold.refused_hedge
        return (
            f"traded: {fold.taken['entry']} entry, {count_text(fold.taken['hedge'], 'hedge')},"
            f" {fold.taken['exit']} exit"
        ) + ("" if refused is None else f"; {fold.refused_hedges:,} more refused, at last {refused.headline}")
    if fold.refusals:
        return f"no trade: {why_refused([*fold.refusals.values()])}"
    if fold.orders:
        return "no trade: orders were sent and none was filled"
    return _NEVER_ASKED


def why_refused(refusals: Sequence[Decision]) -> str:
    """Return why nothing was opened: the last refusal, the one of another kind before it, the entry gate's.

    ``refusals``: The last of each kind, in order.
    """
    *earlier, last = refusals
    told = [last, *earlier[-1:]]
    told += [each for each in reversed(earlier) if _is_gate(each) and not any(map(_is_gate, told))][:1]
    if _is_gate(last):  # its other tests are in its own words
        told = [last]
    return "; before: ".join(each.headline if each.is_refused else "; ".join(each.reasons) for each in told)


def _is_gate(decision: Decision) -> bool:
    return decision.likeness.startswith(ENTRY_GATE)


def with_loss(outcome: str, pnl: Mapping[str, Decimal]) -> str:
    """Return the outcome of a run, after what it lost and where that came from.

    >>> with_loss("traded: 1 entry", {"total": Decimal("-3.10"), "fees": Decimal("-3.10")})
    'lost 3.10: costs -3.10; traded: 1 entry'
    """
    lost = loss_of(pnl)
    if lost is None:
        return outcome
    (start, amount), *causes = lost.words()
    text = f"{start}{amount:,f}" + "".join(f"{words}{share:+,f}" for words, share in causes)
    return f"{text}; {outcome}"


_REMEDIES = {
    "entry gate refuses": "--set entry.gate=advise trades whatever the gate says",
}
"""By a phrase of a verdict what lets a run trade."""


def remedy(verdict: str) -> str | None:
    """Return what to set where a run did not trade; None where its verdict names it, or nothing is known."""
    if "no trade" not in verdict:
        return None
    return next((fix for phrase, fix in _REMEDIES.items() if phrase in verdict), None)


def why_no_trade(verdicts: Iterable[str]) -> str | None:
    """Return in words why none of several runs traded; None where one did, or there is none."""
    found = list(verdicts)
    if not found or not all("no trade" in each for each in found):
        return None
    fix = remedy(found[0])
    return f"no run traded, the first for this reason: {found[0]}" + ("" if fix is None else f"; {fix}")


def _folder_verdict(folder: Mapping[str, Any]) -> str:
    """Return why a strategy folder did not trade: it failed, was refused, or sent no intent.

    ``folder``: Summary of the folder: counts, last failure and last refusal.
    """
    failures, refused = folder.get("failures", 0), folder.get("refused", 0)
    if failures:
        return f"no trade: the strategy folder failed {failures} times, at last {folder['last_failure']}"
    if refused:
        last = folder["last_refusal"]
        return f"no trade: each of {refused} intents of the folder was refused, the last one {last}"
    return _NEVER_ASKED


def _on_model(engine: TradingEngine, decimals: int) -> dict[str, Any]:
    """Return what of the last net asset value stands on no quote, as ``on_model``; empty if nothing does."""
    found = on_model(engine.desk, engine.now_ns)
    if found is None:
        return {}
    amounts = {name: f"{getattr(found, name):.{decimals}f}" for name in ("worth", "least", "most")}
    since = f"{to_new_york(found.since_ns):%Y-%m-%d %H:%M}"
    return {"on_model": {"options": list(found.symbols), **amounts, "since": since}}


def held_by_symbol(positions: PositionManager) -> dict[str, str]:
    """Return what is held: signed quantity by symbol, exact as text."""
    return {each.instrument.symbol: str(each.quantity) for each in positions.held()}


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
