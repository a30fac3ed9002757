"""What the pages show, as JSON documents: made from a followed run, with the figures as they are printed.

A text is printed as it stands: the page never rounds. Texts use the true minus sign, thousands with commas,
money with two decimals; amounts that programs read are plain strings as in the run summary. What is not
known is None, never 0.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.intents import Decision, Side
from scalpdesk.core.units import NANOS_PER_SECOND, SECONDS_PER_YEAR, InstrumentId
from scalpdesk.engine.desk import by_strategy, by_underlying, margin_row
from scalpdesk.instruments.contract import Instrument, OptionContract
from scalpdesk.instruments.deadlines import contract_deadline_ns
from scalpdesk.instruments.sessions import expiry_instant_ns, from_ns, to_new_york
from scalpdesk.journal.codec import JournalHeader
from scalpdesk.orders.order import Order, OrderState
from scalpdesk.portfolio.explain import PARTS, explain_lines, parts_in_cents
from scalpdesk.portfolio.positions import Position
from scalpdesk.pricing.scenarios import OptionLine, scenario_grid
from scalpdesk.risk.checks import capital_of
from scalpdesk.strategies.contract import phase_of
from scalpdesk.web.follower import RunFollower
from scalpdesk.web.market import regime_now
from scalpdesk.web.texts import clock, countdown, leg_label, per_cent, plain, signed, span, tone

LABELS = {
    "delta": "Delta",
    "gamma": "Gamma",
    "theta": "Theta",
    "vega": "Vega",
    "higher_order": "Higher order",
    "carry": "Carry",
    "spread": "Spread",
    "fees": "Fees",
    "slippage": "Slippage",
    "residual": "Residual",
}
COSTS = ("spread", "fees", "slippage")
ENDED = ("flat", "closed")
"""How the decision begins that ends a trade."""
RESULTS = ("pnl_usd", "gain_before_fees_usd")
"""Facts in which strategies state a trade's result."""
SHOCK_SPOT = 0.10
SHOCK_VOL = 0.10
"""The worst case: spot up to 10 % either way, every volatility up to 10 points either way."""
LADDER_SPOTS = 11
LADDER_VOLS = (-0.10, -0.06, -0.03, 0.0, 0.03, 0.06, 0.10)
LAST_DECISIONS = 7
ACCOUNT_LABELS = {
    "SIMULATED": "SIMULATED",
    "SANDBOX": "SANDBOX",
    "PAPER": "PAPER",
    "LIVE": "LIVE · REAL MONEY",
    "UNKNOWN": "UNKNOWN ACCOUNT",
}
ZERO = Decimal(0)
NEW_YORK_DAY = "%-d %b %Y"


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


# the header of every page -----------------------------------------------------------------------


def run_head(follower: RunFollower, *, is_running: bool) -> dict[str, Any]:
    """Return what is always visible: account, mode, age of the data, P&L today, worst case, clock."""
    header = follower.header
    kind = account_kind(header)
    account = "" if header is None else str(header.data.get("account_id", ""))
    head: dict[str, Any] = {
        "account": {"kind": kind, "label": ACCOUNT_LABELS[kind], "last4": account[-4:]},
        "run_id": follower.run_dir.name,
        "state": "running" if is_running else "ended" if follower.tail.sealed else "gone",
        "problem": follower.problem or None,
    }
    if header is None or follower.engine is None:
        return head | {"title": follower.run_dir.name, "subtitle": "no header yet"}
    desk, now_ns = follower.desk, follower.now_ns
    underlying = str(header.data.get("underlying", ""))
    session = desk.view.session
    day = session.day.isoformat() if session is not None else str(header.data.get("session", ""))
    where = f"account …{account[-4:]}" if kind in {"LIVE", "PAPER"} and account else f"session {day}"
    pnl = desk.attribution.current_nav() - follower.session_nav
    speed = follower.speed
    limit_seconds = header.config.get("marketdata", {}).get("stale_seconds_underlying", 5.0)
    age = follower.age_seconds
    is_paced = is_running and math.isfinite(speed) and speed > 1.5
    if is_paced:  # market time races: what counts is how long nothing has come
        age = follower.lag_seconds
    is_stale = is_running and math.isfinite(age) and age > float(limit_seconds)
    open_now = follower.session_is_open
    return head | {
        "title": f"{underlying} {header.strategy}",
        "subtitle": f"{header.venue}{' venue' if header.venue == 'simulated' else ''}, {where}",
        "mode": follower.mode.value,
        "mode_since": span(max(now_ns - follower.mode_since_ns, 0) / NANOS_PER_SECOND),
        "mode_reason": follower.mode_reason,
        "phase": phase_of(follower.engine.strategy),
        "age_seconds": round(age, 1) if math.isfinite(age) else None,
        "age": f"{age:.1f} s" if is_running and math.isfinite(age) else None,
        "stale": is_stale,
        "data": "session open" if open_now else "session closed",
        "holds": holdings(follower),
        "works": len(desk.orders.live),
        "pnl": signed(follower.money(pnl)),
        "pnl_tone": tone(follower.money(pnl)),
        "currency": currency_of(follower),
        **worst_case(follower),
        "now_ns": now_ns,
        "clock": f"{clock(now_ns)} ET",
        "speed": f"{speed:.0f}×" if is_paced else None,
        "session": day,
    }


def holdings(follower: RunFollower) -> str:
    """Return what is held, in words; empty when nothing is."""
    instruments, held = follower.desk.instruments, follower.desk.positions.held()
    return ", ".join(
        f"{signed(each.quantity, 0)} {leg_label(instruments[each.instrument_id])}" for each in held
    )


def currency_of(follower: RunFollower) -> str:
    """Return what the run counts in."""
    config = {} if follower.header is None else follower.header.config
    return str(config.get("desk", {}).get("currency", "USD"))


def worst_case(follower: RunFollower) -> dict[str, Any]:
    """Return the worst P&L of the book from here, beside the day's loss limit.

    The worst of spot within 10 % and volatility within 10 points, now: with what is held, and with every
    order that works or is unknown filled as well, whichever is worse.
    """
    desk = follower.desk
    limit = desk.gate.limits.daily_loss_limit(desk.session_equity)
    whole = 0 if follower.price_places == 2 else 4
    holdings = {position.instrument_id: position.quantity for position in desk.positions.held()}
    filled = dict(holdings)
    for order in desk.orders.live.values():
        number = order.submitted.instrument_id
        filled[number] = filled.get(number, ZERO) + order.signed_leaves
    worst = 0.0
    for book in (holdings, filled) if filled != holdings else (holdings,):
        grid = ladder(follower, book, np.linspace(-SHOCK_SPOT, SHOCK_SPOT, 21), (-SHOCK_VOL, 0.0, SHOCK_VOL))
        if grid is None:
            return {"worst": None, "limit": plain(-limit, whole), "worst_fraction": None}
        worst = min(worst, float(grid["pnl_usd"].min()))
    fraction = min(-worst / float(limit), 1.0) if limit > 0 else 1.0
    return {
        "worst": signed(worst, whole) if worst else "0",
        "limit": plain(-limit, whole),
        "worst_fraction": round(fraction, 4),
    }


def option_lines(follower: RunFollower, holdings: dict[InstrumentId, Decimal]) -> list[OptionLine] | None:
    """Return the options of a book as lines to be priced; None when one of them has no value yet."""
    desk, now_ns = follower.desk, follower.now_ns
    lines = []
    for number, quantity in holdings.items():
        contract = desk.instruments[number]
        if not isinstance(contract, OptionContract) or not quantity:
            continue
        valuation, spot = follower.value(number), _spot(follower)
        if valuation is None or spot is None:
            return None
        years = max((expiry_instant_ns(contract) - now_ns) / NANOS_PER_SECOND / SECONDS_PER_YEAR, 0.0)
        premium = math.log(valuation.spot / spot) / years if contract.is_inverse and years else 0.0
        lines.append(
            OptionLine(
                strike=float(contract.strike),
                years=years,
                is_call=contract.is_call,
                vol=valuation.vol,
                contracts=float(quantity),
                multiplier=float(contract.multiplier),
                rate=0.0 if contract.is_inverse else valuation.rate,
                dividend_yield=0.0 if contract.is_inverse else valuation.dividend_yield,
                style=contract.style.value,
                is_inverse=contract.is_inverse,
                forward_premium=premium,
            )
        )
    return lines


def ladder(
    follower: RunFollower,
    holdings: dict[InstrumentId, Decimal],
    moves: Sequence[float] | np.ndarray[Any, Any],
    vol_changes: Sequence[float],
    days_ahead: Sequence[float] = (0.0,),
) -> dict[str, Any] | None:
    """Return a scenario grid of a book on the run's underlying; None while something has no price.

    It counts in the currency that the options are priced in; of a desk in coin ``pnl_in_usd`` is the coin
    earned at the price of each spot.
    """
    desk = follower.desk
    spot = desk.market.mark(desk.view.underlying)
    lines = option_lines(follower, holdings)
    if spot is None or lines is None:
        return None
    shares = dollars = 0.0
    for number, quantity in holdings.items():
        contract = desk.instruments[number]
        if contract.contract_usd:
            dollars += float(quantity) * contract.contract_usd
        elif not isinstance(contract, OptionContract):
            shares += float(quantity) * contract.multiplier
    spots = spot * (1.0 + np.asarray(moves, dtype=np.float64))
    grid = scenario_grid(
        lines,
        spot,
        spots=spots,
        vol_changes=vol_changes,
        days_ahead=days_ahead,
        shares=shares,
        inverse_usd=dollars,
    )
    return grid | {"spots": spots, "pnl_in_usd": grid["pnl_usd"] * spots[:, None, None]}


# Desk -------------------------------------------------------------------------------------------


def session_parts(follower: RunFollower) -> dict[str, Decimal]:
    """Return the P&L of the session by part up to the last mark, in cents, with its ``total``."""
    attribution = follower.desk.attribution
    parts = {name: attribution.totals[name] - follower.session_totals[name] for name in PARTS}
    return parts_in_cents(parts, attribution.nav - follower.session_nav, attribution.unit)


def desk_page(follower: RunFollower) -> dict[str, Any]:
    """Return the Desk page: verdict, P&L by source, position, last decisions."""
    if follower.engine is None:
        return {"empty": "No run yet. Start one with: scalpdesk demo"}
    desk = follower.desk
    parts = session_parts(follower)
    spot = desk.market.mark(desk.view.underlying)
    fills = len(follower.fills)
    position = position_block(follower)
    delta = position["greeks"]["delta"]
    band = follower.band
    return {
        "verdict": verdict(follower, parts),
        "underlying": desk.instruments[desk.view.underlying].symbol,
        "range": _range_text(follower, spot),
        "pnl": signed(parts["total"]),
        "pnl_tone": tone(parts["total"]),
        "pnl_note": f"{follower.taken['hedge']} hedges, {fills} fills{since_mark(follower)}",
        "parts": waterfall(parts),
        "cost_note": cost_note(parts),
        "delta_note": None if delta is None else f"{delta} of {'·' if band is None else f'±{plain(band)}'}",
        "position": position,
        "decisions": [
            decision_row(follower, number, decision) for number, decision in last_taken(follower.decisions)
        ],
        "decisions_note": decisions_note(follower),
    }


def since_mark(follower: RunFollower) -> str:
    """Return what the book has moved since the mark that the sources are of; empty when nothing."""
    attribution, mark = follower.desk.attribution, follower.last_mark
    moved = follower.money(attribution.current_nav() - attribution.nav)
    return f"; {signed(moved)} since the mark at {clock(mark.ts_ns)}" if mark is not None and moved else ""


def _range_text(follower: RunFollower, spot: float | None) -> str | None:
    if spot is None or not math.isfinite(follower.day_low):
        return None
    return f"day {plain(follower.day_low)} to {plain(follower.day_high)}, now {plain(spot)}"


def waterfall(parts: dict[str, Decimal]) -> list[dict[str, Any]]:
    """Return the bars of the P&L by source: each starts where the one before ended; the last is the total.

    ``from`` and ``to`` are amounts in currency.
    """
    rows: list[dict[str, Any]] = []
    at = ZERO
    for name in PARTS:
        amount = parts[name]
        rows.append(
            {
                "name": name,
                "label": LABELS[name],
                "text": signed(amount),
                "tone": tone(amount),
                "from": float(at),
                "to": float(at + amount),
            }
        )
        at += amount
    total = parts["total"]
    rows.append(
        {
            "name": "total",
            "label": "Total",
            "text": signed(total),
            "tone": tone(total),
            "from": 0.0,
            "to": float(total),
        }
    )
    return rows


def cost_note(parts: dict[str, Decimal]) -> str:
    """Return costs against what gamma earned, and the residual against the total."""
    costs = -sum((parts[name] for name in COSTS), ZERO)
    earned = parts["gamma"]
    share = f", or {costs / earned:.0%} of what gamma earned".replace("%", " %") if earned > 0 else ""
    total = parts["total"]
    rest = f" Residual {abs(parts['residual'] / total):.1%} of total.".replace("%", " %") if total else ""
    return f"Costs {plain(costs)}{share}.{rest}"


def verdict(follower: RunFollower, parts: dict[str, Decimal]) -> list[dict[str, str]]:
    """Return the answer to "is gamma paying?" as pieces of text with their tone."""
    desk = follower.desk
    if not follower.fills:
        last = follower.decisions[-1][1] if follower.decisions else None
        why = f" {last.reasons[0]}." if last is not None and not last.taken else ""
        return [{"text": f"Nothing is held yet: the strategy looks for an entry.{why}"}]
    figures = desk.attribution.meter.figures()
    realised, implied = figures["realised_vol_weighted"], figures["implied_vol_weighted"]
    gamma, theta = parts["gamma"], parts["theta"]
    if not gamma and not theta:
        return [{"text": "No option has been held long enough to say."}]
    pieces = [{"text": "Yes. " if gamma + theta > 0 else "No. "}]
    if math.isfinite(realised) and math.isfinite(implied):
        pieces += [
            {"text": "Realised "},
            {"text": per_cent(realised) or "·", "tone": "strong"},
            {"text": " against implied "},
            {"text": per_cent(implied) or "·", "tone": "strong"},
            {"text": "; gamma earned "},
        ]
    else:
        pieces.append({"text": "Gamma earned "})
    pieces += [
        {"text": signed(gamma) or "·", "tone": tone(gamma)},
        {"text": " for "},
        {"text": signed(theta) or "·", "tone": tone(theta)},
        {"text": " of theta."},
    ]
    pieces.append({"text": largest_source(follower, parts), "tone": "muted"})
    return pieces


def largest_source(follower: RunFollower, parts: dict[str, Decimal]) -> str:
    """Return a sentence on what moved the day more than gamma and theta did; empty when nothing did."""
    groups = {
        "vega and higher order": parts["vega"] + parts["higher_order"],
        "direction (delta)": parts["delta"],
        "costs": sum((parts[name] for name in COSTS), ZERO),
        "what the model does not explain": parts["residual"],
    }
    name, amount = max(groups.items(), key=lambda item: abs(item[1]))
    if abs(amount) <= abs(parts["gamma"] + parts["theta"]):
        return ""
    text = f" Most of the day is {name}, {signed(amount)}"
    mark = follower.last_mark
    if name.startswith("vega") and mark is not None:
        implied = mark.implied_vol or follower.last_implied
        if math.isfinite(follower.first_implied) and implied > 0:
            moved = "rose" if implied > follower.first_implied else "fell"
            text += f": implied {moved} from {100 * follower.first_implied:.1f} to {per_cent(implied)}"
    return text + "."


def last_taken(decisions: Iterable[tuple[int, Decision]]) -> list[tuple[int, Decision]]:
    """Return the last decisions that were taken, and orders that were refused, newest first."""
    found = [
        (number, decision)
        for number, decision in decisions
        if decision.taken or (decision.reasons and " order refused: " in decision.reasons[0])
    ]
    return found[: -LAST_DECISIONS - 1 : -1]


def decisions_note(follower: RunFollower) -> str:
    """Return how many decisions were taken and skipped."""
    taken, skipped = sum(follower.taken.values()), sum(follower.skipped.values())
    return f"{taken:,} taken, {f'{skipped:,} skipped' if skipped else 'none skipped'}"


def decision_row(follower: RunFollower, number: int, decision: Decision) -> dict[str, Any]:
    """Return a decision as a row: when, what, why, spot."""
    orders = [
        order
        for name in decision.client_order_ids
        if (order := follower.desk.orders.orders.get(name)) is not None
    ]
    sides = {order.submitted.side for order in orders}
    what, way = decision.kind.value.replace("_", " "), ""
    if len(sides) == 1:
        side = sides.pop()
        way = "up" if side is Side.BUY else "down"
        quantity = sum((order.submitted.quantity for order in orders), ZERO)
        what = f"{'▲ buy' if side is Side.BUY else '▼ sell'} {quantity.normalize():f}"
    elif not decision.taken:
        what = f"no {what}"
    spot = decision.facts.get("spot")
    return {
        "number": number,
        "ts_ns": decision.ts_ns,
        "time": clock(decision.ts_ns),
        "day": f"{to_new_york(decision.ts_ns):%Y-%m-%d}",
        "kind": decision.kind.value,
        "taken": decision.taken,
        "what": what,
        "way": way,
        "why": decision.reasons[0].replace(" -", " −") if decision.reasons else "",
        "reasons": list(decision.reasons),
        "spot": plain(spot) if isinstance(spot, float | int) else None,
        "orders": list(decision.client_order_ids),
    }


# Position ---------------------------------------------------------------------------------------


def position_block(follower: RunFollower) -> dict[str, Any]:
    """Return legs, Greeks, expiry and deadline as the Desk page shows them."""
    desk, now_ns = follower.desk, follower.now_ns
    held = sorted(desk.positions.held(), key=lambda position: _leg_order(follower, position))
    legs = [leg_row(follower, position) for position in held]
    greeks = follower.greeks()
    expiries = [
        contract.expiry
        for position in held
        if isinstance(contract := desk.instruments[position.instrument_id], OptionContract)
    ]
    note = None
    if expiries:
        first = min(expiries)
        note = f"{first:{NEW_YORK_DAY}}, {(first - to_new_york(now_ns).date()).days} d"
    even = break_even(greeks.gamma_shares_per_usd, greeks.theta_usd_per_day, _spot(follower))
    return {
        "note": note,
        "legs": legs,
        "greeks": {
            "delta": signed(greeks.net_delta_shares) if held else None,
            "gamma": signed(greeks.gamma_shares_per_usd) if held else None,
            "theta": signed(follower.money(greeks.theta_usd_per_day)) if held else None,
            "vega": signed(follower.money(greeks.vega_usd_per_point)) if held else None,
        },
        "deadline": next_deadline(follower),
        "break_even": None if even is None else f"Break-even {per_cent(even, 2)} a day.",
    }


def _spot(follower: RunFollower) -> float | None:
    return follower.desk.market.mark(follower.desk.view.underlying)


def _leg_order(follower: RunFollower, position: Position) -> tuple[bool, date, Decimal, bool]:
    contract = follower.desk.instruments[position.instrument_id]
    if not isinstance(contract, OptionContract):
        return True, date.max, ZERO, False
    return False, contract.expiry, contract.strike, not contract.is_call


def _open_pnl(contract: Instrument, position: Position, mark: float) -> float:
    """Return what a position has gained since its entry; in coin for a future that settles in it."""
    entry = float(position.average_price)
    if contract.contract_usd:
        return float(position.quantity) * contract.contract_usd * (1.0 / entry - 1.0 / mark)
    return float(position.quantity) * position.multiplier * (mark - entry)


def leg_row(follower: RunFollower, position: Position) -> dict[str, Any]:
    """Return one position: held, entry, mark, delta, P&L open."""
    desk = follower.desk
    number = position.instrument_id
    contract = desk.instruments[number]
    units = float(position.quantity) * position.multiplier
    valuation = follower.value(number) if isinstance(contract, OptionContract) else None
    delta = units if not isinstance(contract, OptionContract) else None
    if valuation is not None:
        delta = units * valuation.greeks.delta
    mark = desk.market.mark(number)
    if contract.contract_usd and mark is not None:
        delta = float(position.quantity) * contract.contract_usd / mark
    is_option = isinstance(contract, OptionContract)
    open_pnl = None if mark is None else follower.money(_open_pnl(contract, position, mark))
    small = 2 if follower.price_places == 2 else 6
    return {
        "symbol": contract.symbol,
        "label": leg_label(contract),
        "expiry": contract.expiry.isoformat() if isinstance(contract, OptionContract) else None,
        "quantity": str(position.quantity),
        "held": signed(position.quantity, 0 if position.quantity == int(position.quantity) else 2),
        "entry": plain(position.average_price, follower.price_places) if is_option else None,
        "mark": plain(mark, follower.price_places if is_option else None),
        "verdict": desk.market.verdict(number, follower.now_ns).value,
        "delta": signed(delta, 1),
        "vol": per_cent(None if valuation is None else valuation.vol),
        "open_pnl": signed(open_pnl),
        "open_tone": tone(open_pnl),
        "gamma": None if valuation is None else signed(units * valuation.greeks.gamma),
        "theta": None if valuation is None else signed(units * valuation.greeks.theta / 365.0, small),
        "vega": None if valuation is None else signed(units * valuation.greeks.vega / 100.0, small),
    }


def break_even(gamma: float, theta: float, spot: float | None) -> float | None:
    """Return the move of a day, as a fraction of spot, at which gamma earns what theta costs.

    Half gamma times the squared move equals theta of a calendar day; None for a book that is not long
    gamma and paying.

    Examples
    --------
    >>> round(break_even(3.13, -15.76, 265.77), 4)
    0.0119
    """
    if spot is None or not (gamma > 0.0 > theta):
        return None
    return math.sqrt(-2.0 * theta / gamma) / spot


def deadlines(follower: RunFollower) -> list[dict[str, Any]]:
    """Return every deadline ahead, the nearest first: the strategy's own, the venue's, close and expiry."""
    desk, now_ns, header = follower.desk, follower.now_ns, follower.header
    assert header is not None
    found: list[tuple[int, str]] = []
    session = desk.view.session
    held = desk.positions.held()
    if session is not None and now_ns < session.close_ns:
        found.append((session.close_ns, "session closes"))
        exits = header.config.get("strategies", {}).get(header.strategy, {}).get("exits") or {}
        if held and exits.get("close_at"):
            found.append((session.clock_ns(str(exits["close_at"])), "flat by (exits.close_at)"))
        minutes = exits.get("flat_minutes_before_close")
        if held and minutes is not None:
            found.append((session.close_ns - int(float(minutes) * 60 * NANOS_PER_SECOND), "flat by"))
    for position in held:
        contract = desk.instruments[position.instrument_id]
        if isinstance(contract, OptionContract):
            label = leg_label(contract)
            found.append((contract_deadline_ns(contract, header.venue), f"{label}: last order"))
            found.append((expiry_instant_ns(contract), f"{label}: expires"))
    rows = []
    for at_ns, what in sorted(found):
        seconds = (at_ns - now_ns) / NANOS_PER_SECOND
        moment = to_new_york(at_ns)
        rows.append(
            {
                "what": what,
                "at_ns": at_ns,
                "at": f"{moment:%H:%M} ET" if seconds < 86_400 else f"{moment:%-d %b %Y, %H:%M} ET",
                "left": countdown(seconds),
                "seconds": round(seconds),
                "tone": "warn" if seconds < 120 else "muted",
            }
        )
    return rows


def next_deadline(follower: RunFollower) -> dict[str, Any] | None:
    """Return the nearest deadline of what is held, or of the session."""
    ahead = [row for row in deadlines(follower) if row["seconds"] > 0]
    return ahead[0] if ahead else None


def position_page(follower: RunFollower) -> dict[str, Any]:
    """Return the Position page: legs, payoff now and at expiry, ladder, break-evens, deadlines."""
    if follower.engine is None:
        return {"empty": "No run yet. Start one with: scalpdesk demo"}
    desk = follower.desk
    block = position_block(follower)
    holdings = {position.instrument_id: position.quantity for position in desk.positions.held()}
    if not holdings:
        return {**block, "empty": "Nothing is held. The legs appear here after the first fill."}
    moves = np.linspace(-SHOCK_SPOT, SHOCK_SPOT, 101)
    expiries = [
        (expiry_instant_ns(contract) - follower.now_ns) / NANOS_PER_SECOND / 86_400
        for number in holdings
        if isinstance(contract := desk.instruments[number], OptionContract)
    ]
    ahead = max(min(expiries), 0.0) if expiries else 0.0
    curve = ladder(follower, holdings, moves, (0.0,), (0.0, ahead) if ahead else (0.0,))
    table = ladder(follower, holdings, np.linspace(-SHOCK_SPOT, SHOCK_SPOT, LADDER_SPOTS), LADDER_VOLS)
    page = {**block, "deadlines": deadlines(follower), "spot": _spot(follower), **worst_case(follower)}
    page["currency"] = currency_of(follower)
    if curve is None or table is None:
        return page | {"note_ladder": "No payoff: a held leg has no quote yet."}
    now_curve = [float(value) for value in curve["pnl_usd"][:, 0, 0]]
    end_curve = [float(value) for value in curve["pnl_usd"][:, 0, -1]]
    spots = [float(value) for value in curve["spots"]]
    cells, in_usd = table["pnl_usd"][:, :, 0], table["pnl_in_usd"][:, :, 0]
    is_coin = follower.price_places != 2
    decimals = 4 if is_coin else 0
    distance, spot_now = desk.margin_distance(), _spot(follower)
    margin = "" if distance is None or spot_now is None else f" {distance.text(spot_now)}"
    widest = float(np.abs(cells).max()) or 1.0
    evens = crossings(spots, end_curve)
    return page | {
        "payoff": {"spots": spots, "now": now_curve, "expiry": end_curve, "days": round(ahead, 2)},
        "break_evens": [plain(value) for value in evens],
        "sentence": position_sentence(evens, cells, in_usd if is_coin else None, page) + margin,
        "ladder": {
            "vols": [f"{signed(100 * change, 0)} pts" if change else "vol now" for change in LADDER_VOLS],
            "rows": [
                {
                    "spot": plain(float(spot)),
                    "move": signed(100 * (float(spot) / (_spot(follower) or 1.0) - 1.0), 0),
                    "cells": [
                        {
                            "text": signed(float(cell), decimals),
                            "heat": round(float(cell) / widest, 3),
                            "usd": signed(float(dollars), 0) if is_coin else None,
                        }
                        for cell, dollars in zip(row, worth, strict=True)
                    ],
                }
                for spot, row, worth in zip(table["spots"][::-1], cells[::-1], in_usd[::-1], strict=True)
            ],
        },
    }


def position_sentence(evens: Sequence[float], cells: Any, in_usd: Any, page: dict[str, Any]) -> str:
    """Return the answer to "what happens if it moves?"; ``in_usd`` is None for a desk in dollars."""

    def amount(row: int) -> str:
        if in_usd is None:
            return str(signed(float(cells[row, 3]), 0))
        return (
            f"{signed(float(cells[row, 3]), 4)} {page['currency']} ({signed(float(in_usd[row, 3]), 0)} USD)"
        )

    text = f"10 % up earns {amount(-1)}, 10 % down {amount(0)}; the worst cell is {page['worst']}."
    if evens:
        text += (
            f" At the first expiry it breaks even at {' and '.join(plain(value) or '' for value in evens)}."
        )
    return text


def crossings(spots: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return the spots at which a curve crosses zero, by straight lines between its points.

    >>> crossings([90.0, 100.0, 110.0], [5.0, -5.0, 5.0])
    [95.0, 105.0]
    """
    found = []
    for place in range(len(values) - 1):
        low, high = values[place], values[place + 1]
        if low * high < 0:
            found.append(spots[place] + (spots[place + 1] - spots[place]) * low / (low - high))
    return found


# Orders -----------------------------------------------------------------------------------------

GROUPS = {
    OrderState.UNKNOWN: "unknown",
    OrderState.REJECTED: "rejected",
    OrderState.FILLED: "done",
    OrderState.CANCELLED: "done",
    OrderState.EXPIRED: "done",
}
GROUP_ORDER = ("unknown", "working", "rejected", "done")


def orders_page(follower: RunFollower, limit: int = 200) -> dict[str, Any]:
    """Return the orders by group, unknown ones first, the newest of each first."""
    if follower.engine is None:
        return {"empty": "No run yet. Start one with: scalpdesk demo", "orders": [], "counts": {}}
    orders = list(follower.desk.orders.orders.values())
    counts = Counter(GROUPS.get(order.state, "working") for order in orders)
    rows: list[dict[str, Any]] = []
    for group in GROUP_ORDER:
        members = [order for order in reversed(orders) if GROUPS.get(order.state, "working") == group]
        rows += [order_row(follower, order, group) for order in members[: max(limit - len(rows), 0)]]
    doubt = counts["unknown"]
    return {
        "sentence": (
            f"{doubt} order{'s are' if doubt > 1 else ' is'} in doubt: each counts as one that may fill."
            if doubt
            else f"Nothing is in doubt: {counts['working']} working, {counts['done']} done,"
            f" {counts['rejected']} rejected."
        ),
        "counts": {name: counts[name] for name in GROUP_ORDER},
        "orders": rows,
        "total": len(orders),
        "latency": order_latency(follower),
    }


def order_row(follower: RunFollower, order: Order, group: str) -> dict[str, Any]:
    """Return one order with its time line; steps in milliseconds after it was sent."""
    sent = order.submitted
    contract = follower.desk.instruments[sent.instrument_id]
    history = follower.histories.get(order.client_order_id, [])
    return {
        "id": order.client_order_id,
        "group": group,
        "state": order.state.value,
        "label": leg_label(contract),
        "symbol": contract.symbol,
        "way": "up" if sent.side is Side.BUY else "down",
        "what": f"{'▲ buy' if sent.side is Side.BUY else '▼ sell'} {sent.quantity.normalize():f}",
        "side": sent.side.value,
        "quantity": str(sent.quantity),
        "filled": str(order.filled),
        "average": plain(order.average_price) if order.filled else None,
        "type": sent.order_type.value,
        "limit": plain(sent.limit_price),
        "purpose": sent.purpose.value,
        "reason": order.reason,
        "venue_id": order.venue_order_id,
        "created_ns": order.created_ns,
        "time": clock(order.created_ns),
        "steps": [
            {
                "state": state,
                "time": clock(at_ns),
                "after_ms": round((at_ns - order.created_ns) / 1e6, 1),
                "reason": reason,
            }
            for at_ns, state, reason in history
        ],
    }


def order_latency(follower: RunFollower) -> dict[str, float | None]:
    """Return the median and the 99 % quantile of the time from an order to its last state, ms."""
    took = [
        (history[-1][0] - order.created_ns) / 1e6
        for name, history in follower.histories.items()
        if history and (order := follower.desk.orders.orders.get(name)) is not None and not order.is_live
    ]
    if not took:
        return {"p50_ms": None, "p99_ms": None}
    return {"p50_ms": round(float(np.median(took)), 3), "p99_ms": round(float(np.quantile(took, 0.99)), 3)}


# Why --------------------------------------------------------------------------------------------


def why_page(
    follower: RunFollower,
    *,
    search: str = "",
    kind: str = "",
    taken: bool | None = None,
    limit: int = 100,
) -> dict[str, Any]:
    """Return the decisions, newest first; equal skips in a row are folded into one row with their count."""
    if follower.engine is None:
        return {"empty": "No run yet. Start one with: scalpdesk demo", "decisions": []}
    words = search.lower().split()
    rows: list[dict[str, Any]] = []
    found = 0
    for number, decision in reversed(follower.decisions):
        if (kind and decision.kind.value != kind) or (taken is not None and decision.taken is not taken):
            continue
        if words:
            text = " ".join((str(number), decision.kind.value, *decision.reasons, *decision.client_order_ids))
            if not all(word in text.lower() for word in words):
                continue
        found += 1
        before = rows[-1] if rows else None
        if (
            before is not None
            and not decision.taken
            and not before["taken"]
            and before["kind"] == decision.kind.value
            and _fold(before["why"]) == _fold(decision.reasons[0] if decision.reasons else "")
        ):
            before["count"] += 1
            before["first_time"] = clock(decision.ts_ns)
            continue
        if len(rows) >= limit:
            continue
        row = decision_row(follower, number, decision)
        row["count"] = 1
        row["facts"] = {
            name: value if isinstance(value, str) else f"{value:,.6g}".replace("-", "−")
            for name, value in decision.facts.items()
        }
        rows.append(row)
    return {
        "sentence": (
            f"{sum(follower.taken.values()):,} decisions taken, {sum(follower.skipped.values()):,} skipped."
        ),
        "by_kind": {
            name: {"taken": follower.taken[name], "skipped": follower.skipped[name]}
            for name in sorted(follower.taken.keys() | follower.skipped.keys())
        },
        "found": found,
        "decisions": rows,
    }


def _fold(reason: str) -> str:
    """Return a reason without its figures, so that equal reasons of different moments compare equal."""
    return "".join(character for character in reason if not character.isdigit() and character not in "+-−.,")


# API documents ----------------------------------------------------------------------------------


def performance(follower: RunFollower) -> dict[str, Any]:
    """Return trading results: P&L by part as in the run summary, realised against implied, fills, costs."""
    if follower.engine is None or follower.header is None:
        return {"run_id": follower.run_dir.name, "pnl": None}
    desk, header = follower.desk, follower.header
    total = parts_in_cents(desk.attribution.totals, desk.attribution.nav_change, desk.attribution.unit)
    session = session_parts(follower)
    trips = round_trips(follower)
    return {
        "run_id": header.run_id,
        "strategy": header.strategy,
        "venue": header.venue,
        "account_kind": account_kind(header),
        "currency": currency_of(follower),
        "as_of": from_ns(follower.now_ns).isoformat() if follower.now_ns else None,
        "nav": f"{follower.money(desk.attribution.nav):f}",
        "nav_change": f"{total['total']:f}",
        "pnl": {name: f"{amount:f}" for name, amount in total.items()},
        "session": to_new_york(follower.now_ns).date().isoformat() if follower.now_ns else None,
        "session_pnl": f"{session['total']:f}",
        "session_parts": {name: f"{amount:f}" for name, amount in session.items()},
        "pnl_detail": explain_lines(desk.attribution),
        "fills": sum(len(order.executions) for order in desk.orders.orders.values()),
        "orders": len(desk.orders.orders),
        "hedges": follower.taken["hedge"],
        "decisions": follower.decision_count,
        "round_trips": trips,
        "daily": [{"session": day, "pnl": f"{amount:f}"} for day, amount in follower.session_results],
        "strategies": by_strategy(desk),
        "underlyings": by_underlying(desk),
        "volatility_regime": regime_now(follower),
        "risk": risk_level(follower),
        "mode": desk.gate.mode.value,
        "end_positions": {
            desk.instruments[position.instrument_id].symbol: str(position.quantity)
            for position in desk.positions.held()
        },
    }


def round_trips(follower: RunFollower) -> dict[str, Any]:
    """Return what closed trades earned: number, wins, rate, P&L, and the same by the signal that opened them.

    Of the strategy's own account of each trade in the decision that ends it.
    """
    every: list[tuple[str, float]] = []
    for _, decision in follower.decisions:
        if decision.kind is not DecisionKind.EXIT or not decision.reasons[0].startswith(ENDED):
            continue
        amount = next((decision.facts[name] for name in RESULTS if name in decision.facts), None)
        if isinstance(amount, float | int):
            every.append((str(decision.facts.get("signal", "")), float(amount)))
    signals = sorted({signal for signal, _ in every if signal})
    return {
        **_trips(follower, [amount for _, amount in every]),
        "by_signal": {
            name: _trips(follower, [amount for signal, amount in every if signal == name]) for name in signals
        },
    }


def _trips(follower: RunFollower, amounts: Sequence[float]) -> dict[str, Any]:
    wins = sum(amount > 0 for amount in amounts)
    return {
        "number": len(amounts),
        "wins": wins,
        "win_rate": round(wins / len(amounts), 4) if amounts else None,
        "pnl": f"{follower.money(sum(amounts)):f}",
    }


def risk_level(follower: RunFollower) -> dict[str, Any]:
    """Return capital and limits: equity, premium and half the shares' value tied up, loss left today."""
    desk = follower.desk
    limits, equity = desk.gate.limits, desk.attribution.nav
    tied = 0.0
    for position in desk.positions.held():
        mark = desk.market.mark(position.instrument_id)
        if mark is not None:
            tied += capital_of(desk.instruments[position.instrument_id], abs(position.quantity), mark)
    limit = limits.daily_loss_limit(desk.session_equity)
    distance = desk.margin_distance()
    return {
        "margin": None if distance is None else margin_row(distance),
        "equity": f"{follower.money(equity):f}",
        "capital_tied_up": f"{follower.money(tied):f}",
        "capital_fraction": round(tied / float(equity), 4) if equity else None,
        "max_capital_fraction": limits.max_capital_fraction,
        "daily_loss_limit": f"{follower.money(limit):f}",
        "loss_left": f"{follower.money(limit + min(equity - desk.session_equity, ZERO)):f}",
        "losses_in_a_row": desk.gate.closed_trades.losses_in_a_row,
        "max_losses_in_a_row": limits.max_consecutive_losses,
    }


def positions(follower: RunFollower) -> dict[str, Any]:
    """Return the positions with entry, mark and Greeks."""
    if follower.engine is None:
        return {"positions": []}
    held = sorted(follower.desk.positions.held(), key=lambda position: _leg_order(follower, position))
    return {"positions": [leg_row(follower, position) for position in held]}


def greeks_document(follower: RunFollower) -> dict[str, Any]:
    """Return the Greeks of the book: shares, shares a unit of currency, currency a day and a point."""
    if follower.engine is None:
        return {"greeks": None}
    total = follower.greeks()
    return {
        "as_of": from_ns(follower.now_ns).isoformat() if follower.now_ns else None,
        "net_delta_shares": total.net_delta_shares,
        "option_delta_shares": total.option_delta_shares,
        "owned_shares": total.owned_shares,
        "gamma_shares_per_usd": total.gamma_shares_per_usd,
        "theta_usd_per_day": total.theta_usd_per_day,
        "vega_usd_per_point": total.vega_usd_per_point,
        "band_shares": follower.band,
    }


def flatten_plan(follower: RunFollower) -> dict[str, Any]:
    """Return what flattening would send, and its cost at half the quoted spread and at twice that."""
    if follower.engine is None:
        return {"title": "Flatten", "legs": "nothing is held", "is_flat": True}
    desk = follower.desk
    legs, half_spreads, unknown = [], 0.0, []
    shares = ZERO
    held = sorted(desk.positions.held(), key=lambda position: _leg_order(follower, position))
    for position in held:
        contract = desk.instruments[position.instrument_id]
        quote = desk.market.quotes[position.instrument_id]
        legs.append(f"{leg_label(contract)} {signed(-position.quantity, 0)}")
        if not isinstance(contract, OptionContract):
            shares += position.quantity
        width = math.nan if quote is None else quote.ask - quote.bid
        if math.isfinite(width):
            units = abs(float(position.quantity)) * position.multiplier
            if contract.contract_usd and quote is not None:  # its price is in dollars, its value in coin
                units *= contract.contract_usd / (quote.bid * quote.ask)
            half_spreads += 0.5 * width * units
        else:
            unknown.append(leg_label(contract))
    if not legs:
        return {"title": "Flatten: nothing is held", "legs": "", "is_flat": True, "cost": None}
    options = any(isinstance(desk.instruments[each.instrument_id], OptionContract) for each in held)
    unit = "contracts" if desk.instruments[desk.view.underlying].contract_usd else "shares"
    rest = f"unwind {abs(shares):f} {unit}" if shares else "no hedge to unwind"
    title = f"Flatten: close the options, then {rest}" if options else f"Flatten: {rest}"
    estimated = follower.money(half_spreads)
    cost = f"Estimated cost {plain(estimated)}, at worst {plain(2 * estimated)}."
    if unknown:
        cost += f" Without a two-sided quote: {', '.join(unknown)}."
    return {"title": title, "legs": ", ".join(legs) + " at the market.", "is_flat": False, "cost": cost}


def fills_document(follower: RunFollower, since: int = 0) -> dict[str, Any]:
    """Return the executions in order; ``t`` in UTC seconds, ``side`` +1 bought, −1 sold."""
    rows: dict[str, list[Any]] = {"t": [], "price": [], "side": [], "hedge": [], "text": []}
    if follower.engine is None:
        return {"run": follower.run_dir.name, "from": since, "columns": rows}
    orders = follower.desk.orders.orders
    for at_ns, name, _, quantity, price, _ in follower.fills[since:]:
        order = orders.get(name)
        if order is None:
            continue
        sent = order.submitted
        contract = follower.desk.instruments[sent.instrument_id]
        is_buy = sent.side is Side.BUY
        rows["t"].append(at_ns / NANOS_PER_SECOND)
        rows["price"].append(float(price))
        rows["side"].append(1 if is_buy else -1)
        rows["hedge"].append(not isinstance(contract, OptionContract))
        rows["text"].append(
            f"{clock(at_ns)} {'▲ bought' if is_buy else '▼ sold'} {quantity.normalize():f}"
            f" {leg_label(contract)} at {plain(price)}"
        )
    return {"run": follower.run_dir.name, "from": since, "columns": rows}
