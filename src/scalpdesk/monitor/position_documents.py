"""JSON documents of the positions: legs, Greeks, spot ladder, deadlines, flattening plan."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import NamedTuple, cast

import numpy as np

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.units import (
    DAY_NS,
    DAY_SECONDS,
    DAYS_PER_YEAR,
    NANOS_PER_SECOND,
    ZERO,
    InstrumentId,
    number_text,
)
from scalpdesk.engine.unquoted import on_model
from scalpdesk.entry.shape_names import structure_text
from scalpdesk.entry.shapes import SHAPES, SeenChain, ShapeLister, StructureConfig
from scalpdesk.instruments.contract import options_in_order
from scalpdesk.instruments.deadlines import order_cutoff_ns
from scalpdesk.instruments.deribit import hedge_unit
from scalpdesk.instruments.events import LISTED, events_between
from scalpdesk.instruments.sessions import (
    expiry_instant_ns,
    from_ns,
    is_session,
    next_session,
    session_on,
    to_new_york,
)
from scalpdesk.margin.capital import capital_of
from scalpdesk.monitor import answers
from scalpdesk.monitor.expiry_documents import expiry_card
from scalpdesk.monitor.follower import RunFollower
from scalpdesk.monitor.held_book import book_of, currency_of, worst_of
from scalpdesk.monitor.held_structures import held_beside, held_structures, structure_curves
from scalpdesk.monitor.texts import leg_label, plain, signed
from scalpdesk.portfolio.greeks import PositionGreeks, gamma_in_coin
from scalpdesk.portfolio.positions import Position
from scalpdesk.portfolio.risk_book import GRID_MOVES, GRID_POINTS, SMILES, WORST_CASE, LowestCell, RiskBook
from scalpdesk.pricing.base import Floats
from scalpdesk.volatility.variance_time import clock_of

_PAYOFF_MOVES = tuple(round(0.002 * step, 3) for step in range(-50, 51))
"""Moves of the spot that the payoff is drawn at, fractions."""
_LOOKED_DAYS = 30
"""Calendar days to the expiry in which a shape is placed for a look."""
_MOST_ADDED = 1_000_000
"""Contracts or shares of a leg that is added for a look."""
_EVENTS_NS = 7 * DAY_NS
"""Scheduled events within so long are named."""
_KINDS_AHEAD = ("exit", "last_order", "expiry", "session", "dividend", "event")
"""What comes first of one instant."""
_NEW_YORK_MINUTE = "%-d %b %H:%M"


def holdings(follower: RunFollower) -> str:
    """Return what is held, in words; empty when nothing is."""
    return _units_text(follower, _units(follower))


def holdings_now(follower: RunFollower, held: Mapping[InstrumentId, Decimal]) -> tuple[str, list[str]]:
    """Return signed units in words, and the structures that they are: none where the books hold others."""
    is_booked = held == _units(follower)
    return _units_text(follower, held), [each["words"] for each in held_structures(follower) if is_booked]


def _units(follower: RunFollower) -> dict[InstrumentId, Decimal]:
    return {each.instrument_id: each.quantity for each in follower.desk.positions.held()}


def _units_text(follower: RunFollower, held: Mapping[InstrumentId, Decimal]) -> str:
    instruments = follower.desk.instruments
    return ", ".join(f"{signed(units, 0)} {leg_label(instruments[number])}" for number, units in held.items())


def worst_case(follower: RunFollower) -> answers.WorstCase:
    """Return the worst case of the book, beside the day's loss limit."""
    desk = follower.desk
    limit = desk.gate.limits.daily_loss_limit(desk.session_equity)
    is_empty = not desk.positions.held() and not desk.orders.live
    found = LowestCell(0.0, 0.0, 0.0, False, SMILES[0]) if is_empty else worst_of(follower)
    pnl = None if found is None else found.pnl
    share = 1.0 if pnl is None or limit <= 0 else min(-pnl / float(limit), 1.0)
    return {
        "worst_pnl": pnl,
        "limit": follower.amount(-limit),
        "worst_fraction": None if pnl is None else round(share, 4),
        "worst_definition": WORST_CASE.format(smile=SMILES[0]),
    }


def position_block(follower: RunFollower) -> answers.PositionBlock:
    """Return legs, Greeks, expiry and deadline as the Desk page shows them."""
    desk, now_ns = follower.desk, follower.now_ns
    held = _legs(follower)
    legs = [leg_row(follower, position) for position in held]
    greeks = follower.greeks()
    first = min((each.instrument.expiry for each in held if each.instrument.is_option), default=None)
    spot, gamma = _spot(follower), greeks.gamma_shares_per_usd
    if spot and desk.instruments[desk.view.underlying].is_inverse:
        gamma = gamma_in_coin(gamma, greeks.option_delta_shares, spot)
    even = break_even(gamma, greeks.theta_usd_per_day, spot)
    return {
        "first_expiry": None if first is None else first.isoformat(),
        "first_expiry_days": None if first is None else (first - to_new_york(now_ns).date()).days,
        "unquoted": _unquoted(follower),
        "structure": _structure_of(held),
        "structures": held_structures(follower),
        "beside": held_beside(follower),
        "legs": legs,
        "greeks": _held_greeks(greeks if held else None),
        "delta_decimals": follower.delta_places,
        "money_decimals": follower.money_places,
        "deadline": next_deadline(follower),
        "break_even": even,
    }


def _unquoted(follower: RunFollower) -> answers.Unquoted | None:
    found = on_model(follower.desk, follower.now_ns)
    if found is None:
        return None
    worth, least, most = (f"{follower.money(each):f}" for each in (found.worth, found.least, found.most))
    since = f"{to_new_york(found.since_ns):{_NEW_YORK_MINUTE}}"
    return {"worth": worth, "least": least, "most": most, "since": since}


def premium_block(follower: RunFollower) -> answers.PremiumBlock | answers.Empty:
    """Return the premium of one set of the held options against its mean of the session."""
    ratios = follower.held_ratios()
    if ratios is None:
        return {"empty": "The held options are of several underlyings or sizes: they have no one premium."}
    if not ratios:
        return {"empty": "No option is held."}
    legs = [each for each in _legs(follower) if each.instrument_id in ratios]
    words = (f"{signed(ratios[leg.instrument_id], 0)} {leg_label(leg.instrument)}" for leg in legs)
    premium = follower.premium()
    is_vwap = math.isfinite(premium.vwap)
    return {
        "structure": ", ".join(words),
        "now": premium.mid,
        "amount": premium.mid * float(legs[0].multiplier),
        "mean": premium.vwap if is_vwap else premium.twap,
        "mean_name": "VWAP" if is_vwap else "TWAP",
        "price_decimals": follower.price_places,
    }


def _structure_of(held: Iterable[Position]) -> str | None:
    return structure_text((each.instrument, each.quantity) for each in held)


def _held_greeks(found: PositionGreeks | None) -> answers.HeldGreeks:
    names = answers.HeldGreeks.__annotations__
    return cast(answers.HeldGreeks, {name: getattr(found, name, None) for name in names})


def _spot(follower: RunFollower) -> float | None:
    return follower.desk.market.mark(follower.desk.view.underlying)


def _legs(follower: RunFollower) -> list[Position]:
    """Return what is held: options by expiry, strike and right, then the rest."""

    def order(position: Position) -> tuple[bool, date, Decimal, bool]:
        contract = position.instrument
        if not contract.is_option:
            return True, date.max, ZERO, False
        return False, contract.expiry, contract.strike, not contract.is_call

    return sorted(follower.desk.positions.held(), key=order)


def leg_row(follower: RunFollower, position: Position) -> answers.Leg:
    """Return one position: held, entry, mark, delta, P&L open."""
    desk, number, contract = follower.desk, position.instrument_id, position.instrument
    units, entry = float(position.quantity) * position.multiplier, float(position.average_price)
    valuation = follower.value(number) if contract.is_option else None
    mark = desk.delta_engine.mark(number)
    delta: float | None = None
    vol = gamma = theta = vega = delta
    if not contract.is_option:
        delta = units if mark is None else contract.delta(float(position.quantity), mark)
    elif valuation is not None:
        greeks = valuation.greeks
        vol = valuation.vol * follower.on_clock(number) if valuation.tells_vol else None
        delta, gamma = units * greeks.delta, units * greeks.gamma
        theta, vega = units * greeks.theta / DAYS_PER_YEAR, units * greeks.vega / 100.0
    return {
        "symbol": contract.symbol,
        "label": leg_label(contract),
        "expiry": contract.expiry.isoformat() if contract.is_option else None,
        "quantity": number_text(position.quantity),
        "entry": entry,
        "mark": mark,
        "price_decimals": follower.places_of(contract),
        "is_coin": contract.is_coin,
        "verdict": desk.market.verdict(number, follower.now_ns).value,
        "vol": vol,
        "open_pnl": None if mark is None else follower.amount(sum(contract.earned(units, entry, mark))),
        "delta_shares": delta,
        "gamma_shares_per_usd": gamma,
        "theta_usd_per_day": theta,
        "vega_usd_per_point": vega,
    }


def break_even(gamma: float, theta: float, spot: float | None) -> float | None:
    """Return the move of a day, as a fraction of spot, at which gamma earns what theta costs, or the reverse.

    Half gamma times the squared move equals theta of a calendar day, both of one currency; None for a book
    whose gamma and theta are of one sign: no move takes back what both earn, or pays for what both cost.

    Examples
    --------
    >>> round(break_even(3.13, -15.76, 265.77), 4)
    0.0119
    """
    if spot is None or not gamma * theta < 0.0:
        return None
    return math.sqrt(-2.0 * theta / gamma) / spot


def deadlines(follower: RunFollower) -> list[answers.DeadlineRow]:
    """Return what is ahead, the nearest first: exits of the strategy, last orders, expiries, the calendar.

    Beside the session's open and close and what the held contracts bring it names dividends of the underlying
    up to the last held expiry and scheduled events of the week.
    """
    found = {*_session_ahead(follower), *_of_contracts(follower), *_calendar(follower)}
    ordered = sorted(found, key=lambda each: (each.at_ns, _KINDS_AHEAD.index(each.kind), each.what))
    return [_deadline_row(follower, each) for each in ordered]


class _Ahead(NamedTuple):
    at_ns: int
    what: str
    kind: str
    symbols: tuple[str, ...] = ()


def _deadline_row(follower: RunFollower, each: _Ahead) -> answers.DeadlineRow:
    seconds = (each.at_ns - follower.now_ns) / NANOS_PER_SECOND
    moment = to_new_york(each.at_ns)
    return {
        "what": each.what,
        "kind": each.kind,
        "symbols": list(each.symbols),
        "at_ns": each.at_ns,
        "at": f"{moment:%H:%M} ET" if seconds < 86_400 else f"{moment:%-d %b %Y, %H:%M} ET",
        "seconds": round(seconds),
    }


def _session_ahead(follower: RunFollower) -> Iterator[_Ahead]:
    """Yield the close or the next open, and when the strategy's settings make it leave."""
    desk, now_ns, header = follower.desk, follower.now_ns, follower.header
    assert header is not None
    session, today = desk.view.session, to_new_york(now_ns).date()
    is_open = session is not None and now_ns < session.close_ns
    if not is_open and clock_of(header.data).weights is not None and now_ns:
        yield _Ahead(next_session(today).open_ns, "session opens", "session")
    if is_open and session is not None:
        yield _Ahead(session.close_ns, "session closes", "session")
    held = desk.positions.held()
    exits = header.config.get("strategies", {}).get(header.strategy, {}).get("exits") or {}
    if not held:
        return
    if is_open and session is not None and exits.get("close_at"):
        yield _Ahead(session.clock_ns(str(exits["close_at"])), "flat by (exits.close_at)", "exit")
    minutes = exits.get("flat_minutes_before_close")
    if is_open and session is not None and minutes is not None:
        yield _Ahead(session.close_ns - int(float(minutes) * 60 * NANOS_PER_SECOND), "flat by", "exit")
    first = min((each.instrument.expiry for each in held if each.instrument.is_option), default=None)
    if exits.get("min_dte") is not None and first is not None:
        leaves = first - timedelta(days=int(exits["min_dte"]))
        opens = session_on(leaves) if is_session(leaves) else next_session(leaves)
        if opens.open_ns > now_ns:
            yield _Ahead(opens.open_ns, "flat by (exits.min_dte)", "exit")


def _of_contracts(follower: RunFollower) -> Iterator[_Ahead]:
    """Yield last orders and expiries: of contracts that share the instant in one row."""
    groups: dict[tuple[int, str, str], list[Position]] = {}
    for position in _legs(follower):
        contract = position.instrument
        if contract.is_option:
            last_ns = order_cutoff_ns(contract, follower.desk.view.cutoff)
            groups.setdefault((last_ns, "last order", "last_order"), []).append(position)
            groups.setdefault((expiry_instant_ns(contract), "expires", "expiry"), []).append(position)
    for (at_ns, what, kind), members in groups.items():
        labels = [leg_label(each.instrument) for each in members]
        of = labels[0] if len(members) == 1 else f"{len(members)} legs"
        verb = "expire" if kind == "expiry" and len(members) > 1 else what
        text = f"{of}: {verb}" if kind == "last_order" or len(members) == 1 else f"{of} {verb}"
        yield _Ahead(at_ns, text, kind, tuple(each.instrument.symbol for each in members))


def _calendar(follower: RunFollower) -> Iterator[_Ahead]:
    """Yield dividends that go ex before the last held expiry, and scheduled events within a week."""
    desk, now_ns = follower.desk, follower.now_ns
    if not now_ns:
        return
    for at_ns, kind in events_between(now_ns, now_ns + _EVENTS_NS, tuple(LISTED)):
        yield _Ahead(at_ns, LISTED[kind].label, "event")
    held = desk.positions.held()
    until_ns = max(
        (expiry_instant_ns(each.instrument) for each in held if each.instrument.is_option), default=0
    )
    for dividend in desk.market.dividends:
        if now_ns < dividend.ts_ex_ns <= until_ns:
            symbol = desk.instruments[dividend.instrument_id].symbol
            yield _Ahead(dividend.ts_ex_ns, f"{symbol} goes ex {dividend.amount:f}", "dividend", (symbol,))


def next_deadline(follower: RunFollower) -> answers.DeadlineRow | None:
    """Return the nearest deadline of what is held, or of the session."""
    ahead = [row for row in deadlines(follower) if row["seconds"] > 0]
    return ahead[0] if ahead else None


def added_legs(follower: RunFollower, legs: Sequence[str]) -> list[Position]:
    """Return legs that are added for a look, each at its mark.

    A leg is ``SYMBOL:QUANTITY``, signed; a shape in the symbol's place, as in ``iron_fly:-1``, stands for its
    legs in the expiry nearest 30 days, at the strike nearest the forward, so many sets.

    Raises ArgumentError when a leg is no such text, the run has no such instrument, or it has no price.
    """
    instruments, found = follower.desk.instruments, list[Position]()
    for leg in (each for text in legs for each in _legs_of_shape(follower, text)):
        symbol, _, text = leg.rpartition(":")
        number, quantity = instruments.find(symbol), ZERO
        with suppress(InvalidOperation):
            quantity = Decimal(text)
        if not quantity.is_finite() or not 0 < abs(quantity) <= _MOST_ADDED:
            raise ArgumentError(
                f"a leg is SYMBOL:QUANTITY, up to {_MOST_ADDED:,}", where="leg", value=leg, fix=f"{symbol}:1"
            )
        if number is None or instruments[number].is_index:
            fix = "the symbols of /api/contracts"
            raise ArgumentError("the run has no such contract", where="leg", value=symbol, fix=fix)
        mark, contract = follower.desk.delta_engine.mark(number), instruments[number]
        if mark is None or (contract.is_option and follower.value(number) is None):
            raise ArgumentError("the contract has no price yet", where="leg", value=symbol)
        price = Decimal(str(mark))
        found.append(Position(number, contract, quantity, price))
    return found


def _legs_of_shape(follower: RunFollower, text: str) -> list[str]:
    """Return the legs that the name of a shape stands for; any other text as it is."""
    name, _, count = text.rpartition(":")
    if name not in SHAPES:
        return [text]
    desk, sets = follower.desk, ZERO
    with suppress(InvalidOperation):
        sets = Decimal(count)
    if sets != sets.to_integral_value() or not 0 < abs(sets) <= _MOST_ADDED:
        raise ArgumentError("a structure is SHAPE:SETS, whole sets", where="leg", value=text, fix=f"{name}:1")
    lister, today = ShapeLister(StructureConfig(shape=name)), to_new_york(follower.now_ns).date()
    lister.learn(options_in_order(desk.instruments, desk.instruments[desk.view.underlying].symbol))
    window = today + timedelta(days=1), today + timedelta(days=2 * _LOOKED_DAYS)
    chain = SeenChain(desk.market, desk.delta_engine, follower.now_ns)
    spot = _spot(follower)
    listed = [
        each
        for each in lister.list_now(chain, follower.now_ns, window, centres=1)
        if window[0] <= each.first_expiry <= window[1] and all(chain.traded(each.option_ids))
    ]
    if spot is None or not listed:
        fix = "add its legs by their symbols"
        raise ArgumentError("the chain has no such structure now", where="leg", value=text, fix=fix)
    wanted = today + timedelta(days=_LOOKED_DAYS)
    best = min(
        listed,
        key=lambda each: (
            abs((each.first_expiry - wanted).days),
            abs(float(each.lead.contract.strike) - spot),
        ),
    )
    return [f"{leg.contract.symbol}:{sets * leg.ratio}" for leg in best.legs]


def contracts_document(follower: RunFollower) -> answers.ListedContracts:
    """Return what a leg can be added of: the underlying where it trades, the quoted options by expiry."""
    if follower.engine is None:
        return {"underlying": None, "expiries": {}, "shapes": []}
    desk, today = follower.desk, to_new_york(follower.now_ns).date()
    traded = desk.instruments[desk.view.underlying]
    listed = [
        contract
        for number, contract in enumerate(desk.instruments)
        if contract.is_option
        and contract.underlying == traded.symbol
        and contract.expiry >= today
        and desk.market.quotes[InstrumentId(number)] is not None
    ]
    expiries: dict[str, dict[str, dict[str, str]]] = {}
    for contract in sorted(listed, key=lambda each: (each.expiry, each.strike)):
        strikes = expiries.setdefault(contract.expiry.isoformat(), {})
        pair = strikes.setdefault(number_text(contract.strike), {})
        pair["call" if contract.is_call else "put"] = contract.symbol
    return {
        "underlying": None if traded.is_index else traded.symbol,
        "expiries": expiries,
        "shapes": [*SHAPES],
    }


def position_page(
    follower: RunFollower,
    days_ahead: float = 0.0,
    legs: Sequence[str] = (),
    smile: str = SMILES[0],
    vol_points: float = 0.0,
) -> answers.PositionPage | answers.Empty:
    """Return the Position page: legs, payoff at a date and at expiry, ladder, break-evens, deadlines.

    ``follower``: The followed run.
    ``days_ahead``: Calendar days from now to the date that curve, ladder and Greeks are of; no later than the
    first expiry of the book.
    ``legs``: Added to what is held for a look, see :func:`added_legs`.
    ``smile``: Whether the smile goes with the spot (``sticky-delta``) or stays with the strikes.
    ``vol_points``: Change of 30-day volatility that the curves are of; the ladder has its own.
    Raises ArgumentError when a leg cannot be added.
    """
    if follower.engine is None:
        return {"empty": follower.unread}
    added = added_legs(follower, legs)
    page, holdings = _page_of(follower, added), dict[InstrumentId, Decimal]()
    for position in (*follower.desk.positions.held(), *added):
        holdings[position.instrument_id] = holdings.get(position.instrument_id, ZERO) + position.quantity
    if not holdings:
        return {**page, "empty": "Nothing is held. The legs appear here after a fill."}
    now_ns, at_ns, end_ns = instants = _instants(follower, holdings, days_ahead)
    ahead, days = ((each - now_ns) / (NANOS_PER_SECOND * DAY_SECONDS) for each in (end_ns, at_ns))
    page = {
        **page,
        "currency": currency_of(follower),
        "days": round(days, 4),
        "most_days": round(ahead, 4),
        "at": f"{to_new_york(at_ns):%a %-d %b %Y, %H:%M} ET" if days else "now",
        "smile": smile,
    }
    book, spot = book_of(follower, holdings, instants), page["spot"]
    if book is None or spot is None:
        return {**page, "note_ladder": "No payoff: a held leg has no quote yet."}
    if days or added:
        looked_at = zip(page["greeks"], book.greeks(1, spot, smile), strict=True)
        page["greeks"] = cast(answers.HeldGreeks, dict(looked_at))
    payoff = _payoff(book, spot, smile, vol_points / 100.0, ahead)
    evens, cells = crossings(payoff["spots"], payoff["expiry"]), book.ladder(step=1, smile=smile)
    worst = None if days or added else worst_of(follower, smile)
    distance = follower.desk.margin_distance()
    margin = "" if distance is None else f" {distance.text(spot)}"
    return {
        **page,
        "payoff": payoff,
        "break_evens": evens,
        "sentence": position_sentence(evens, cells, page, worst) + margin,
        "ladder": _ladder_of(cells),
    }


def _page_of(follower: RunFollower, added: Sequence[Position]) -> answers.PositionPage:
    """Return the page of what is held now, with the legs that are added for a look."""
    block = position_block(follower)
    looked_at: list[answers.Leg] = [
        {**leg_row(follower, leg), "entry": None, "is_added": True} for leg in added
    ]
    page = {
        **block,
        "structure": _structure_of([*_legs(follower), *added]),
        "legs": [*block["legs"], *looked_at],
        "deadlines": deadlines(follower),
        "curves": structure_curves(follower),
        "expiry_day": expiry_card(follower),
        "spot": _spot(follower),
        "days": 0.0,
        "most_days": 0.0,
    }
    return cast(answers.PositionPage, page)


def _payoff(book: RiskBook, spot: float, smile: str, vol_change: float, days: float) -> answers.Payoff:
    """Return P&L by spot at the book's first later time, and at the second, so many days ahead."""
    now, expiry = (
        book.ladder(_PAYOFF_MOVES, (vol_change,), step=step, smile=smile)[:, 0].tolist() for step in (1, 2)
    )
    return {
        "spots": [spot * (1.0 + move) for move in _PAYOFF_MOVES],
        "now": now,
        "expiry": expiry,
        "days": round(days, 2),
    }


def _instants(
    follower: RunFollower, holdings: Mapping[InstrumentId, Decimal], days_ahead: float
) -> tuple[int, int, int]:
    """Return now, the date so many days ahead, and the first expiry, no date after it; UTC nanoseconds."""
    expiries = [
        expiry_instant_ns(contract)
        for number, quantity in holdings.items()
        if quantity and (contract := follower.desk.instruments[number]).is_option
    ]
    now_ns = follower.now_ns
    end_ns = max(min(expiries, default=now_ns), now_ns)
    return now_ns, min(now_ns + int(days_ahead * DAY_SECONDS) * NANOS_PER_SECOND, end_ns), end_ns


def _ladder_of(cells: Floats) -> answers.Ladder:
    """Return P&L by move of the spot and change of volatility, with the shade of each cell.

    Gains shade from 0 to 1 and losses from −1 to 0, each as a share of the largest of its kind.
    """
    largest = np.where(cells < 0.0, -cells.min(), cells.max())
    shades: Floats = np.divide(cells, largest, out=np.zeros_like(cells), where=largest > 0.0)
    return {
        "moves": list(GRID_MOVES),
        "vol_points": list(GRID_POINTS),
        "pnl": cells.tolist(),
        "heat": shades.round(3).tolist(),
    }


def position_sentence(
    evens: Sequence[float], cells: Floats, page: answers.PositionPage, worst: LowestCell | None
) -> str:
    """Return the answer to "what happens if it moves?"; of a desk in coin also in dollars.

    ``worst`` is that of the book as it stands; of a look at a later date or with added legs there is none.
    """
    coin_price = page["spot"] if page["money_decimals"] > 2 else None
    unmoved = GRID_POINTS.index(0.0)

    def amount(row: int) -> str:
        pnl = float(cells[row, unmoved])
        verb = "loses" if pnl < 0.0 else "earns"
        if coin_price is None:
            return f"{verb} {plain(abs(pnl), 0)}"
        dollars = plain(abs(pnl) * coin_price * (1.0 + GRID_MOVES[row]), 0)
        return f"{verb} {plain(abs(pnl), 4)} {page['currency']} ({dollars} USD)"

    at = "" if page["at"] == "now" else f"On {page['at']}: "
    text = f"{at}10 % up {amount(-1)}, 10 % down {amount(0)}"
    places = 0 if coin_price is None else 4
    if worst is None:
        text += f"; the lowest cell of this look is {signed(float(cells.min()), places)}."
    else:
        filled = ", once the working orders are filled" if worst.orders_filled else ""
        text += (
            f"; the worst case is {signed(worst.pnl, places)}: spot {signed(100 * worst.move, 0)} %,"
            f" 30-day volatility {signed(100 * worst.vol_points, 0)} points, now{filled}."
        )
    if evens:
        prices = " and ".join(plain(value) or "" for value in evens)
        text += f" From now to the first expiry the whole book breaks even at {prices}."
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


def risk_level(follower: RunFollower) -> answers.Risk:
    """Return capital and limits: equity, premium and half the shares' value tied up, loss left today."""
    desk = follower.desk
    limits, equity = desk.gate.limits, desk.attribution.nav
    asked, tied = desk.margins.tied_up(()), 0.0
    for position in desk.positions.held():
        mark = desk.delta_engine.mark(position.instrument_id)
        if mark is not None:
            tied += capital_of(position.instrument, abs(position.quantity), mark)
    tied = tied if asked is None else float(asked)
    limit = limits.daily_loss_limit(desk.session_equity)
    distance = desk.margin_distance()
    return {
        "margin": None if distance is None else distance.row(),
        "equity": f"{follower.money(equity):f}",
        "capital_tied_up": f"{follower.money(tied):f}",
        "capital_fraction": round(tied / float(equity), 4) if equity else None,
        "max_capital_fraction": limits.max_capital_fraction,
        "daily_loss_limit": f"{follower.money(limit):f}",
        "loss_left": f"{follower.money(limit + min(equity - desk.session_equity, ZERO)):f}",
        "losses_in_a_row": desk.gate.closed_trades.losses_in_a_row,
        "max_losses_in_a_row": limits.max_consecutive_losses,
    }


def positions(follower: RunFollower) -> answers.Positions:
    """Return the positions with entry, mark and Greeks."""
    if follower.engine is None:
        return {"positions": []}
    return {"positions": [leg_row(follower, position) for position in _legs(follower)]}


def greeks_document(follower: RunFollower) -> answers.BookGreeks | answers.NoGreeks:
    """Return the Greeks of the book: shares, shares a unit of currency, currency a day and a point."""
    if follower.engine is None:
        return {"greeks": None}
    total = follower.greeks()
    return {
        **_held_greeks(total),
        "as_of": from_ns(follower.now_ns).isoformat() if follower.now_ns else None,
        "option_delta_shares": total.option_delta_shares,
        "owned_shares": total.owned_shares,
        "band_shares": follower.band,
    }


def flatten_plan(follower: RunFollower) -> answers.FlattenPlan:
    """Return what flattening would send, and its cost at half the quoted spread and at twice that."""
    if follower.engine is None:
        return {"title": "Flatten", "legs": follower.unread, "is_flat": False}
    desk, held = follower.desk, _legs(follower)
    legs, half_spreads, unknown, shares = [], 0.0, [], ZERO
    for position in held:
        contract = position.instrument
        quote = desk.market.quotes[position.instrument_id]
        legs.append(f"{leg_label(contract)} {signed(-position.quantity, 0)}")
        if not contract.is_option:
            shares += position.quantity
        if quote is not None and math.isfinite(quote.ask - quote.bid):
            units = abs(float(position.quantity)) * position.multiplier
            half_spreads += 0.5 * sum(contract.earned(units, quote.bid, quote.ask))
        else:
            unknown.append(leg_label(contract))
    if not legs:
        return {"title": "Flatten: nothing is held", "legs": "", "is_flat": True, "cost": None}
    options = any(each.instrument.is_option for each in held)
    unit = hedge_unit(desk.instruments[desk.view.underlying].symbol)
    rest = f"unwind {abs(shares):f} {unit}" if shares else "no hedge to unwind"
    title = f"Flatten: close the options, then {rest}" if options else f"Flatten: {rest}"
    estimated, twice = follower.money(half_spreads), follower.money(2.0 * half_spreads)
    cost = f"Estimated cost {plain(estimated)}, at twice the spread {plain(twice)}."
    if unknown:
        cost += f" Without a two-sided quote: {', '.join(unknown)}."
    return {"title": title, "legs": ", ".join(legs) + " at the market.", "is_flat": False, "cost": cost}
