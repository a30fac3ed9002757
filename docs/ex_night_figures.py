# ruff: noqa: INP001, T201 - a script beside its page, not a package
"""Hold straddles over SPY's ex-dates, and print marks, volatilities, deltas and explain beside QuantLib.

    .venv/bin/python -m pip install QuantLib
    .venv/bin/python docs/ex_night_figures.py [--before SESSIONS] [EX_DATE ...]

Without a date: all ex-dates of the embedded market, and as marks alone 2015-08-19 to 26. Seed 1.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from math import sqrt
from typing import Any

import QuantLib as ql  # noqa: N813 - the name its own examples use

from scalpdesk.assembly import load_market
from scalpdesk.backtesting.runs import assemble_backtest, build_backtest
from scalpdesk.config.settings import load_settings
from scalpdesk.core.events import Event, QuoteEvent, TimerEvent
from scalpdesk.core.intents import Mark, Output
from scalpdesk.core.units import NANOS_PER_SECOND, years_between
from scalpdesk.datasets.embedded.days import SPY_DIVIDENDS_USD, rate_on
from scalpdesk.engine.trading_engine import TradingEngine
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import (
    expiry_instant_ns,
    next_session,
    previous_session,
    session_on,
    to_new_york,
)
from scalpdesk.marketdata.tape import MarketTape
from scalpdesk.volatility.variance_time import clock_named

STRADDLES = 4
OVER_NIGHTS = (
    "entry.gate=off",
    "exits.edge_gone=false",
    "exits.stop_fraction=none",
    "exits.arm_fraction=none",
    f"straddles={STRADDLES}",
)
FRESH_NS = 5 * NANOS_PER_SECOND
WILD_WEEK = date(2015, 8, 19), date(2015, 8, 26)
FIRST_DAY, LAST_DAY = date(2014, 1, 3), date(2018, 12, 31)
ROUNDING = 1e-6
DEEP = 0.69
"""Delta from which a leg is marked wholly by the volatility of its strike's other leg."""
TODAY, COUNT, DAYS = ql.Date(2, 1, 2024), ql.Actual365Fixed(), 36_500
"""A contract of T years is given to QuantLib as one of a hundred, as its dates know whole days only."""
STEPS, NODES = 800, 1_600
VOL_STEP = 0.005


class Peer:
    """American option before or after the ex-date of a cash dividend, by QuantLib's finite differences."""

    def __init__(self, contract: OptionContract, at_ns: int, dividend: tuple[int, float]) -> None:
        expires_ns = expiry_instant_ns(contract)
        self.years = years_between(at_ns, expires_ns)
        scale = self.years / (DAYS / 365.0)
        rate = rate_on(to_new_york(at_ns).date()) * scale
        self.spot, self.deviation = ql.SimpleQuote(1.0), ql.SimpleQuote(0.1)
        self._root = sqrt(scale)
        process = ql.BlackScholesMertonProcess(
            ql.QuoteHandle(self.spot),
            ql.YieldTermStructureHandle(ql.FlatForward(TODAY, 0.0, COUNT)),
            ql.YieldTermStructureHandle(ql.FlatForward(TODAY, rate, COUNT)),
            ql.BlackVolTermStructureHandle(
                ql.BlackConstantVol(TODAY, ql.NullCalendar(), ql.QuoteHandle(self.deviation), COUNT)
            ),
        )
        side = ql.Option.Call if contract.is_call else ql.Option.Put
        self.option = ql.VanillaOption(
            ql.PlainVanillaPayoff(side, float(contract.strike)), ql.AmericanExercise(TODAY, TODAY + DAYS)
        )
        grid = STEPS, NODES, 0, ql.FdmSchemeDesc.Douglas(), False, -1.0
        if not at_ns < dividend[0] <= expires_ns:
            engine = ql.FdBlackScholesVanillaEngine(process, *grid)
        else:
            part = years_between(at_ns, dividend[0]) / self.years
            day = TODAY + max(round(DAYS * part), 1)
            ahead = ql.DividendVector([day], [dividend[1]])
            escrowed = ql.FdBlackScholesVanillaEngine.Escrowed
            engine = ql.FdBlackScholesVanillaEngine(process, ahead, *grid, escrowed)
        self.option.setPricingEngine(engine)

    def at(self, spot: float, vol: float) -> tuple[float, float]:
        """Return price and delta; the volatility a fraction a calendar year."""
        self.spot.setValue(spot)
        self.deviation.setValue(vol * self._root)
        return self.option.NPV(), self.option.delta()

    def vega(self, spot: float, vol: float) -> float:
        """Return the slope in the volatility of the calendar."""
        up, down = (self.at(spot, vol + step)[0] for step in (VOL_STEP, -VOL_STEP))
        return (up - down) / (2.0 * VOL_STEP)

    def vol(self, price: float, spot: float) -> float:
        """Return the volatility of a price, a fraction a calendar year: secants from 20 %."""
        a, b = 0.20, 0.21
        off_a, off_b = (self.at(spot, each)[0] - price for each in (a, b))
        while abs(b - a) > 1e-7 and off_a != off_b:
            a, b, off_a = b, max(b - off_b * (b - a) / (off_b - off_a), 0.01), off_b
            off_b = self.at(spot, b)[0] - price
        return b


def is_outside(mark: float, quote: QuoteEvent) -> bool:
    """Return whether a mark lies beyond the sides of a quote."""
    return max(quote.bid - mark, mark - quote.ask) > ROUNDING


@dataclass
class Marks:
    """Looks at marks beside quotes of at most five seconds that show a price; distances in cents."""

    looks: int = 0
    outside: int = 0
    worst_cents: float = 0.0
    """Largest distance from the nearer side."""
    followed: int = 0
    """Quotes just before which the mark lay outside the quote before, and the sums of two distances from
    their mid: of that mark, and of the mid before."""
    mark_off_cents: float = 0.0
    mid_off_cents: float = 0.0

    def add(self, mark: float, quote: QuoteEvent) -> None:
        """Count a look; a mark is outside by more than its rounding."""
        self.looks += 1
        if is_outside(mark, quote):
            self.outside += 1
            self.worst_cents = max(self.worst_cents, 100.0 * max(quote.bid - mark, mark - quote.ask))

    def follow(self, before: tuple[float, float], quote: QuoteEvent) -> None:
        """Compare a mark outside the last quote, and that quote's mid, with the next mid."""
        mark, mid = before
        self.followed += 1
        self.mark_off_cents += 100.0 * abs(mark - quote.mid)
        self.mid_off_cents += 100.0 * abs(mid - quote.mid)


@dataclass
class Leg:
    """One leg at the evening or in the morning, by the desk and by QuantLib."""

    contract: OptionContract
    at_ns: int
    units: float
    mark: float
    quote: QuoteEvent
    spot: float
    quote_spot: float
    vol: float
    delta: float
    is_quoted: bool
    """Whether its mark is its own mid."""


@dataclass
class Look:
    """The book at one instant: legs, and the explain's parts so far."""

    at_ns: int
    legs: dict[str, Leg]
    parts: dict[str, float]


def market_of(first: date, last: date) -> MarketTape:
    """Return the reconstructed sessions of SPY from the first to the last day."""
    settings = load_settings("gamma-scalper")
    return load_market(settings, "embedded", underlying="SPY", start=first, end=last, seed=1)


def spot_at(tape: MarketTape, at_ns: int) -> float:
    """Return SPY's mid on the tape at an instant."""
    day = session_on(to_new_york(at_ns).date())
    rows = tape.quotes.between(day.open_ns, at_ns + 1)
    return float(rows.mids(tape.instruments.id_of("SPY"))[1][-1])


def look(tape: MarketTape, engine: TradingEngine) -> Look:
    """Return what the desk says of its book now."""
    desk, now_ns, legs = engine.desk, engine.now_ns, {}
    share = desk.instruments.id_of("SPY")
    for held in desk.positions.held():
        contract, number = desk.instruments[held.instrument_id], held.instrument_id
        state, quote = desk.delta_engine.state(number, now_ns), desk.market.quotes[number]
        if not isinstance(contract, OptionContract) or state is None or quote is None:
            continue
        spot = desk.market.mark(share)
        assert spot is not None
        legs[contract.symbol] = Leg(
            contract,
            now_ns,
            float(held.quantity) * contract.multiplier,
            state.mark,
            quote,
            spot,
            spot_at(tape, quote.ts_event_ns),
            state.vol,
            state.greeks.delta,
            abs(state.mark - 0.5 * (quote.bid + quote.ask)) < 1e-9,
        )
    return Look(now_ns, legs, {name: float(each) for name, each in desk.attribution.totals.items()})


def held_over(tape: MarketTape, on_mark: Callable[[TradingEngine], None]) -> Marks:
    """Hold straddles through the sessions; call ``on_mark`` after each mark of the book."""
    settings = load_settings("gamma-scalper", overrides=OVER_NIGHTS)
    header, engine = build_backtest(settings, tape, run_id="figures", mode="backtest", started_ns=0, seed=1)
    handle, marks, desk = engine.handle, Marks(), engine.desk
    share, outside = desk.instruments.id_of("SPY"), dict[int, tuple[float, float]]()
    seen: dict[int, int] = {}

    def note(number: int) -> None:
        quote, mark = desk.market.quotes[number], desk.delta_engine.mark(number)
        before = outside.pop(number, None)
        if quote is None or mark is None:
            return
        if not desk.market.is_valid(number):
            return
        is_new = seen.get(number) != quote.ts_event_ns
        seen[number] = quote.ts_event_ns
        if is_new and before is not None:
            marks.follow(before, quote)
        if engine.now_ns - quote.ts_recv_ns <= FRESH_NS:
            marks.add(mark, quote)
        if is_outside(mark, quote):
            outside[number] = mark, quote.mid

    def handled(event: Event) -> tuple[Output, ...]:
        outputs = handle(event)
        asked = event.instrument_id if isinstance(event, QuoteEvent) else share
        if isinstance(event, (QuoteEvent, TimerEvent)):
            for each in desk.positions.held():
                number = each.instrument_id
                if number != share and asked in {share, number}:
                    note(number)
        if any(isinstance(each, Mark) for each in outputs):
            on_mark(engine)
        return outputs

    engine.handle = handled  # type: ignore[method-assign]
    assemble_backtest(settings, tape, header, engine, None).runner.run()
    return marks


def of_ex_date(ex_date: date, amount: float, before: int) -> dict[str, Any]:
    """Return the figures of an ex-date: from some sessions before it to the session after it."""
    evening_of, ex = previous_session(ex_date), session_on(ex_date)
    first = evening_of
    for _ in range(before - 1):
        first = previous_session(first.day)
    tape = market_of(first.day, next_session(ex_date).day)
    looks: list[Look] = []

    def on_mark(engine: TradingEngine) -> None:
        now_ns = engine.now_ns
        if now_ns == evening_of.close_ns:
            looks[:] = [look(tape, engine)]
        elif now_ns > ex.open_ns and len(looks) == 1:
            found = look(tape, engine)
            if all(leg.quote.ts_event_ns >= ex.open_ns for leg in found.legs.values()):
                looks.append(found)

    marks = held_over(tape, on_mark)
    answer: dict[str, Any] = {"ex_date": ex_date, "marks": marks}
    if len(looks) < 2 or not looks[0].legs or looks[0].legs.keys() != looks[1].legs.keys():
        return answer
    evening, morning = looks
    dividend, clock = (ex.open_ns, amount), clock_named(tape.variance_clock)
    answer["deltas"] = [leg.units * leg.delta for leg in evening.legs.values()]
    answer["off"] = [beside(each, dividend) for each in looks]
    own = own_night(evening, morning, dividend, clock.years)
    for part, amount_of in own.items():
        answer[part] = morning.parts[part] - evening.parts[part], amount_of
    return answer


def strike_vols(at: Look, dividend: tuple[int, float]) -> dict[str, float]:
    """Return each leg's volatility by QuantLib: of its mid at the spot of its own instant.

    In the money, where the desk does not mark it by its mid, that of the strike's leg out of the money.
    """
    found = {}
    for name, leg in at.legs.items():
        shown = leg
        if not leg.is_quoted:
            (shown,) = (each for other, each in at.legs.items() if other != name)
        then = Peer(shown.contract, shown.quote.ts_event_ns, dividend)
        found[name] = then.vol(shown.quote.mid, shown.quote_spot)
    return found


def beside(at: Look, dividend: tuple[int, float]) -> tuple[float, float]:
    """Return the largest differences from QuantLib: of a volatility (points), of a delta (shares held)."""
    vols = strike_vols(at, dividend)
    vol_off = delta_off = 0.0
    for name, leg in at.legs.items():
        _, delta = Peer(leg.contract, leg.at_ns, dividend).at(leg.spot, vols[name])
        vol_off = max(vol_off, 100.0 * abs(leg.vol - vols[name]))
        delta_off = max(delta_off, abs(leg.units * (leg.delta - delta)))
    return vol_off, delta_off


def own_night(
    evening: Look, morning: Look, dividend: tuple[int, float], clock_years: Callable[[int, int], float]
) -> dict[str, float]:
    """Return what the options earn over a night by rates and dividend alone, and by their volatility; USD.

    The shares earn nothing by either: what they are paid they have lost. Volatilities are those of the marks
    at the spot of their instant, deep in the money of the strike's leg out of it, on the variance clock.
    """
    carry = vega = 0.0
    evening_vols, morning_vols = strike_vols(evening, dividend), strike_vols(morning, dividend)
    for name, start in evening.legs.items():
        end, expires_ns = morning.legs[name], expiry_instant_ns(start.contract)
        before, after = (Peer(each.contract, each.at_ns, dividend) for each in (start, end))
        vol, end_vol = evening_vols[name], morning_vols[name]
        if abs(start.delta) < DEEP:
            vol = before.vol(start.mark, start.spot)
        if abs(end.delta) < DEEP:
            end_vol = after.vol(end.mark, end.spot)
        left, end_left = (clock_years(each.at_ns, expires_ns) for each in (start, end))
        change = end_vol * sqrt(after.years / end_left) - vol * sqrt(before.years / left)
        vega += start.units * before.vega(start.spot, vol) * sqrt(left / before.years) * change
        same_variance = end_vol * sqrt(after.years / before.years)
        with_dividend, _ = before.at(end.spot + dividend[1], same_variance)
        carry += start.units * (after.at(end.spot, end_vol)[0] - with_dividend)
    return {"carry": carry, "vega": vega}


def row(found: dict[str, Any]) -> str:
    """Return a row of the page."""
    marks, cells = found["marks"], [""] * 8
    cells[0] = f"{marks.outside:,} of {marks.looks:,}"
    if marks.outside:
        cells[1] = f"{marks.worst_cents:.1f}"
    if marks.followed:
        offs = marks.mark_off_cents, marks.mid_off_cents
        cells[2] = ", ".join(f"{off / marks.followed:.1f}" for off in offs)
    if "off" in found:
        cells[3] = ", ".join(f"{delta:.0f}" for delta in found["deltas"])
        cells[4:6] = [", ".join(f"{most:.3f}" for most in both) for both in zip(*found["off"], strict=True)]
        cells[6:] = [", ".join(f"{amount:.2f}" for amount in found[part]) for part in ("carry", "vega")]
    return f"| {found['ex_date']} | {' | '.join(cells)} |"


def main() -> None:
    """Print the figures of the ex-dates that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--before", type=int, default=1, help="sessions before each ex-date")
    parser.add_argument("dates", nargs="*", type=date.fromisoformat)
    chosen = parser.parse_args()
    ql.Settings.instance().evaluationDate = TODAY
    covered = [each for each in SPY_DIVIDENDS_USD if FIRST_DAY < each[0] < LAST_DAY]
    asked = [each for each in covered if not chosen.dates or each[0] in chosen.dates]
    print("| ex-date | outside | worst | next quote | deltas | volatility | delta | carry | vega |")
    print(f"|---|{'--:|' * 8}")
    for ex_date, amount in asked:
        print(row(of_ex_date(ex_date, amount, chosen.before)), flush=True)
    if not chosen.dates and chosen.before == 1:
        print(row({"ex_date": WILD_WEEK[0], "marks": held_over(market_of(*WILD_WEEK), lambda _: None)}))


if __name__ == "__main__":
    main()
