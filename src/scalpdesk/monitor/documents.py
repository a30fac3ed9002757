"""JSON documents of the dashboard's pages: numbers in named units, sentences, labels.

The page rounds and writes the figures; those within a sentence are written here. Ledger amounts are exact
plain text as in the run summary. What is not known is None, never 0. Here: the header of every page, the
desk's page and the results; what is held is in :mod:`scalpdesk.monitor.position_documents`, orders and
decisions in :mod:`scalpdesk.monitor.order_documents`.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import cast

from scalpdesk.core.units import NANOS_PER_SECOND, ZERO
from scalpdesk.engine.desk import by_strategy, by_underlying
from scalpdesk.engine.exposure import exposure, exposure_text
from scalpdesk.instruments.sessions import from_ns
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.journal.cut import CutShort, cut_short
from scalpdesk.monitor import answers
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.held_book import currency_of
from scalpdesk.monitor.market import regime_now
from scalpdesk.monitor.order_documents import decision_row, last_taken
from scalpdesk.monitor.position_documents import (
    holdings,
    position_block,
    premium_block,
    risk_level,
    worst_case,
)
from scalpdesk.monitor.texts import (
    clock,
    loss_pieces,
    per_cent,
    signed,
    verdict_pieces,
)
from scalpdesk.portfolio.explain import part_names, parts_in_cents
from scalpdesk.portfolio.gamma_verdict import (
    COSTS,
    GAMMA_AND_THETA,
    SINCE_MARK,
    VEGA,
    GammaVerdict,
    gamma_verdict,
    loss_of,
    sources,
)
from scalpdesk.report.summary import run_summary
from scalpdesk.strategies.contract import phase_of

_ACCOUNT_LABELS = {"LIVE": "LIVE · REAL MONEY", "UNKNOWN": "UNKNOWN ACCOUNT"}
"""Labels of the kinds that are not their own label."""


def account_kind(header: JournalHeader | None) -> str:
    """Return ``SIMULATED``, ``SANDBOX``, ``PAPER``, ``LIVE``, or ``UNKNOWN`` for what none of these is."""
    if header is None:
        return "UNKNOWN"
    if header.mode == "live":
        return "LIVE"
    if header.venue == "sandbox":
        return "SANDBOX"
    if header.mode == "paper":
        return "PAPER"
    is_simulated = header.venue == "simulated" and header.mode in {"simulated", "demo", "backtest"}
    return "SIMULATED" if is_simulated else "UNKNOWN"


def run_head(follower: RunFollower, *, is_running: bool) -> answers.Head:
    """Return what is always visible: account, mode, age of the data, P&L today, worst case, clock."""
    header = follower.header
    kind = account_kind(header)
    cut = cut_of(follower)
    account = "" if header is None else str(header.data.get("account_id", ""))
    head: answers.Head = {
        "account": {"kind": kind, "label": _ACCOUNT_LABELS.get(kind, kind), "last4": account[-4:]},
        "run_id": follower.run_dir.name,
        "state": run_state(follower, is_running=is_running, is_cut=cut is not None),
        "cut": None if cut is None else str(cut),
        "problem": follower.problem or None,
        "title": follower.run_dir.name,
        "subtitle": "no header yet",
    }
    if header is None or follower.engine is None:
        return head
    desk, now_ns = follower.desk, follower.now_ns
    underlying = str(header.data.get("underlying", ""))
    session = desk.view.session
    day = session.day.isoformat() if session is not None else str(header.data.get("session", ""))
    where = f"account …{account[-4:]}" if kind in {"LIVE", "PAPER"} and account else f"session {day}"
    speed = follower.speed
    limit_seconds = header.config.get("marketdata", {}).get("stale_seconds_underlying", 5.0)
    age = follower.age_seconds
    is_paced = is_running and math.isfinite(speed) and speed > 1.5
    if is_paced:  # market time races: what counts is how long nothing has come
        age = follower.lag_seconds
    is_stale = is_running and math.isfinite(age) and age > float(limit_seconds)
    open_now = follower.session_is_open
    return {
        **head,
        "title": f"{underlying} {header.strategy}",
        "subtitle": f"{header.venue}{' venue' if header.venue == 'simulated' else ''}, {where}",
        "mode": follower.mode.value,
        "mode_seconds": max(now_ns - follower.mode_since_ns, 0) / NANOS_PER_SECOND,
        "mode_reason": follower.mode_reason,
        "phase": phase_of(follower.engine.strategy),
        "age_seconds": round(age, 1) if math.isfinite(age) else None,
        "stale": is_stale,
        "data": "session open" if open_now else "session closed",
        "holds": holdings(follower),
        "works": len(desk.orders.live),
        "pnl": f"{_pnl_today(follower):f}",
        "currency": currency_of(follower),
        **worst_case(follower),
        "now_ns": now_ns,
        "clock": f"{clock(now_ns)} ET",
        "speed": speed if is_paced else None,
        "session": day,
        "has_scalps": follower.has_scalps,
    }


def run_state(follower: RunFollower, *, is_running: bool, is_cut: bool) -> str:
    """Return ``running``, ``ended``, ``cut``, ``gone``, or ``reading`` while more is to come."""
    if is_running or follower.tail.sealed:
        return "running" if is_running else "ended"
    if is_cut:
        return "cut"
    is_played = follower.header is not None and follower.header.is_backtest
    return "reading" if follower.is_reading or is_played else "gone"


def cut_of(follower: RunFollower) -> CutShort | None:
    """Return how far a backtest came that was cut short, once its journal has been read to its end."""
    header, tail = follower.header, follower.tail
    if header is None or follower.is_reading:
        return None
    return cut_short(follower.run_dir, header, follower.now_ns or None, sealed=tail.sealed)


def session_parts(follower: RunFollower) -> dict[str, Decimal]:
    """Return the P&L of the session by part up to the last mark, in cents, with its ``total``.

    What was paid in or out since its opening is none of it.
    """
    desk = follower.desk
    attribution, before = desk.attribution, follower.session_totals
    parts = {name: amount - before.get(name, ZERO) for name, amount in attribution.totals.items()}
    parts["carry"] -= desk.session_equity - follower.session_nav
    return parts_in_cents(parts, attribution.nav - desk.session_equity, attribution.unit)


def session_parts_now(follower: RunFollower) -> dict[str, Decimal]:
    """Return the same up to now, with what quotes moved since the last mark."""
    parts = session_parts(follower)
    pnl = _pnl_today(follower)
    moved = pnl - parts["total"]
    return parts | ({SINCE_MARK: moved} if moved else {}) | {"total": pnl}


def _pnl_today(follower: RunFollower) -> Decimal:
    """Return the P&L of the session up to now, in cents."""
    return follower.money(follower.desk.session_pnl())


def desk_page(follower: RunFollower) -> answers.DeskPage | answers.Empty:
    """Return the Desk page: verdict, P&L by source, position, last decisions."""
    if follower.engine is None:
        return {"empty": follower.unread}
    desk = follower.desk
    parts = session_parts_now(follower)
    paying, pnl = session_verdict(follower, parts), parts["total"]
    risk = risk_level(follower)
    fold, shared = follower.fold, exposure(desk, follower.now_ns)
    return {
        "question": None if paying is None else paying.question,
        "verdict": verdict(follower, parts, paying),
        "underlying": desk.instruments[desk.view.underlying].symbol,
        "spot": desk.market.mark(desk.view.underlying),
        "day_low": follower.day_low,
        "day_high": follower.day_high,
        "pnl": f"{pnl:f}",
        "hedges": fold.taken["hedge"],
        "fills": fold.fill_count,
        "parts": waterfall(parts),
        "costs": costs_of(parts, paying),
        "residual_share": residual_share(parts),
        "exposure": ""
        if shared is None
        else f"All together: {exposure_text(shared, currency_of(follower))}.",
        "band_shares": follower.band,
        "premium": premium_block(follower),
        "position": position_block(follower),
        "loss_left": risk["loss_left"],
        "daily_loss_limit": risk["daily_loss_limit"],
        "decisions": [
            decision_row(follower, number, decision) for number, decision in last_taken(follower.decisions)
        ],
        "taken": sum(fold.taken.values()),
        "skipped": sum(fold.skipped.values()),
    }


def waterfall(parts: dict[str, Decimal]) -> list[answers.Bar]:
    """Return the bars of the P&L by source: each starts where the one before ended; the last is the total.

    ``from`` and ``to`` are amounts in currency.
    """
    rows: list[answers.Bar] = []
    at = ZERO
    since = (SINCE_MARK,) if parts.get(SINCE_MARK) else ()
    for name in (*part_names(parts), *since, "total"):
        start = ZERO if name == "total" else at
        at = start + parts[name]
        rows.append({"name": name, "pnl": f"{parts[name]:f}", "from": float(start), "to": float(at)})
    return rows


def residual_share(parts: dict[str, Decimal]) -> float | None:
    """Return the residual as a share of the total, at least 0; None of nothing."""
    return float(abs(parts["residual"] / parts["total"])) if parts["total"] else None


def costs_of(parts: dict[str, Decimal], paying: GammaVerdict | None) -> answers.Costs:
    """Return the costs of the session."""
    total = f"{-sum((parts[name] for name in COSTS), ZERO):f}"
    if paying is None:
        return {"total": total, "hedging": None, "entry_exit": None, "share_of_gamma_and_theta": None}
    earned = paying.gamma + paying.theta
    return {
        "total": total,
        "hedging": f"{-paying.hedging:f}",
        "entry_exit": f"{-paying.entry_exit:f}",
        "share_of_gamma_and_theta": float(-paying.hedging / earned) if earned > 0 else None,
    }


def session_verdict(follower: RunFollower, parts: dict[str, Decimal]) -> GammaVerdict | None:
    """Return whether gamma pays in the session up to the last mark; None while no option was held."""
    explain = follower.desk.attribution
    return gamma_verdict(explain, parts, explain.sums.hedge_costs - follower.session_hedge_costs)


def verdict(
    follower: RunFollower,
    parts: dict[str, Decimal],
    paying: GammaVerdict | None,
    *,
    is_one_session: bool = True,
) -> list[answers.Piece]:
    """Return a loss and where it came from, then the answer to "is gamma paying?", as pieces of text.

    ``is_one_session``: Whether ``parts`` are of the follower's session: its move of implied volatility is no
    cause of what several sessions earned.
    """
    moved = _implied_moved(follower) if is_one_session else ""
    lost = loss_of(parts)
    answer = _is_gamma_paying(follower, paying)
    if lost is not None:
        between = f"{moved.capitalize()}. " if moved and lost.causes[0][0] == VEGA else ""
        question = "" if paying is None else f"{paying.question} "
        return [*loss_pieces(lost), {"text": between + question}, *answer]
    if paying is None:
        return answer
    return [*answer, {"text": _largest_source(parts, moved, is_day=is_one_session), "tone": "muted"}]


def _is_gamma_paying(follower: RunFollower, paying: GammaVerdict | None) -> list[answers.Piece]:
    if not follower.fold.fill_count:
        last = follower.decisions[-1][1] if follower.decisions else None
        why = f" {last.headline}." if last is not None and not last.taken else ""
        if follower.tail.sealed:
            return [{"text": f"Nothing was traded.{why}"}]
        return [{"text": f"Nothing is held yet: the strategy looks for an entry.{why}"}]
    if paying is None:
        return [{"text": "No option has been held long enough to say."}]
    return verdict_pieces(paying)


def _largest_source(parts: dict[str, Decimal], moved: str, *, is_day: bool) -> str:
    """Return a sentence on what moved the P&L more than gamma and theta did; empty when nothing did."""
    name, amount = max(sources(parts).items(), key=lambda item: abs(item[1]))
    if name == GAMMA_AND_THETA or not amount:
        return ""
    because = f": {moved}" if moved and name == VEGA else ""
    return f" Most of the {'day' if is_day else 'run'} is {name}, {signed(amount)}{because}."


def _implied_moved(follower: RunFollower) -> str:
    before, implied = follower.first_implied, follower.last_implied
    if not math.isfinite(before) or not follower.holds_as_first:
        return ""
    return f"implied {'rose' if implied > before else 'fell'} from {100 * before:.1f} to {per_cent(implied)}"


def performance(follower: RunFollower) -> answers.Performance | answers.Unread:
    """Return trading results: P&L by part as in the run summary, realised against implied, fills, costs."""
    if follower.engine is None or follower.header is None:
        return {"run_id": follower.run_dir.name, "pnl": None}
    desk, header = follower.desk, follower.header
    summary = run_summary(header, follower.engine, follower.fold, follower.events, 0.0)
    session = session_parts_now(follower)
    found = {name: summary[name] for name in answers.Performance.__annotations__ if name in summary} | {
        "account_kind": account_kind(header),
        "currency": currency_of(follower),
        "as_of": from_ns(follower.now_ns).isoformat() if follower.now_ns else None,
        "nav": f"{follower.money(desk.attribution.current_nav()):f}",
        "session": follower.session or None,
        "session_pnl": f"{session['total']:f}",
        "session_parts": {name: f"{amount:f}" for name, amount in session.items()},
        "round_trips": round_trips(follower),
        "daily": [{"session": each.session, "pnl": f"{each.pnl:f}"} for each in follower.session_results()],
        "strategies": by_strategy(desk),
        "underlyings": by_underlying(desk),
        "exposure": exposure(desk, follower.now_ns),
        "volatility_regime": regime_now(follower),
        "risk": risk_level(follower),
    }
    return cast(answers.Performance, found)


def round_trips(follower: RunFollower) -> answers.RoundTrips:
    """Return what closed trades earned: number, wins, rate, P&L, and the same by the signal that opened them.

    The figures are the strategy's own account of each trade in the decision that ends it.
    """
    every = follower.trips
    signals = sorted({signal for signal, _ in every if signal})
    return {
        **_trips(follower, [amount for _, amount in every]),
        "by_signal": {
            name: _trips(follower, [amount for signal, amount in every if signal == name]) for name in signals
        },
    }


def _trips(follower: RunFollower, amounts: Sequence[float]) -> answers.Trips:
    wins = sum(amount > 0 for amount in amounts)
    return {
        "number": len(amounts),
        "wins": wins,
        "win_rate": round(wins / len(amounts), 4) if amounts else None,
        "pnl": f"{follower.money(sum(amounts)):f}",
    }
