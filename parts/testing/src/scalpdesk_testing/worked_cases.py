"""Worked cases: ``worked_cases.toml`` says what of the product answers each function of the case file.

The numbers come from the product, or from :mod:`scalpdesk_testing.field_formulas` where it has no such
function. What a row's expressions cannot say in a line is a step below: it builds what the product asks for.
Units are those of the case file: theta per day or year as its note says, a contract is 100 shares.
"""

import ast
import builtins
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pkgutil import resolve_name
from types import CodeType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from msgspec import Struct, structs

from scalpdesk.core.errors import ArgumentError, ScalpdeskError
from scalpdesk.core.events import BarEvent, QuoteEvent
from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Equity, Instrument, OptionContract, Right, Settlement, Style
from scalpdesk.instruments.deribit import deribit_option, option_name
from scalpdesk.instruments.sessions import NEW_YORK, new_york_ns, to_ns
from scalpdesk.instruments.ticks import CENT_TICK
from scalpdesk.margin.holdings import Holding
from scalpdesk.marketdata.quotes import SpreadFilter
from scalpdesk.marketdata.triggers import PriceBand
from scalpdesk.portfolio.interval import NO_LEG_PARTS, LegParts, leg_parts
from scalpdesk.portfolio.move_meter import MoveMeter
from scalpdesk.portfolio.positions import FifoLots
from scalpdesk.pricing.base import Floats, OptionGreeks
from scalpdesk.pricing.scalar import PricedState, corner_prices, option_greeks
from scalpdesk.pricing.smile_level import Smile
from scalpdesk.signals.ema_cloud import FAST, CloudCandle, CloudState
from scalpdesk.volatility.variance_time import SessionWeights, VarianceClock

Answer = dict[str, Any]
TABLE: dict[str, dict[str, str]] = tomllib.loads(
    files(__package__).joinpath("worked_cases.toml").read_text("utf-8")
)
PLACES = {name: f"{module}.{name}" for module, names in TABLE.pop("names").items() for name in names.split()}
BOUND = frozenset(TABLE)
"""Functions of the case file that have an answer."""

RELATIVE = 1e-9
RELATIVE_OF = {"escrow": 1e-8, "pa_hedge": 1e-7, "attribution": 2e-5}
"""Tolerances where the case file's own numbers carry less: finite differences, approximated normals."""


class Row(NamedTuple):
    """A row of the table, its expressions read."""

    needed: frozenset[str]
    given: dict[str, Any]
    """Inputs that a case may leave out, with what stands for them."""
    steps: list[tuple[str, CodeType]]
    """Names of the answer, and the expression that gives them."""
    names: dict[str, Any]
    """Of the product and of the steps, which the expressions use."""


@cache
def row_of(function: str) -> Row:
    """Read a row.

    Raises NameError when an expression uses a name that is no input, stands nowhere above it and is not the
    product's.
    """
    takes, *expressions = TABLE[function].items()
    inputs = {name: value for name, _, value in (word.partition("=") for word in takes[1].split())}
    known, steps, names = set(inputs), [], dict[str, Any]()
    for name, text in expressions:
        tree = ast.parse(text, mode="eval")
        for used in _free_names(tree) - known - set(dir(builtins)):
            if used not in STEPS and used not in PLACES:
                raise NameError(f"{function}.{name}: {used} is not known")
            names[used] = STEPS[used] if used in STEPS else resolve_name(PLACES[used])
        steps.append((name, compile(tree, f"{function}.{name}", "eval")))
        known |= set(name.split())
    given = {name: ast.literal_eval(value) for name, value in inputs.items() if value}
    return Row(frozenset(inputs) - frozenset(given), given, steps, names)


def _free_names(tree: ast.AST) -> set[str]:
    nodes = list(ast.walk(tree))
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return {node.id for node in nodes if isinstance(node, ast.Name)} - own


def evaluate(function: str, inputs: Mapping[str, Any]) -> Answer | None:
    """Return the product's answer to one case, or None when nothing is bound to the function.

    Raises ScalpdeskError when the product refuses the inputs, they do not have the names that the row takes,
    or the calculation ends with an error of another kind: a failed case, not the end of the run.
    """
    if function not in BOUND:
        return None
    try:
        return _answer(row_of(function), inputs)
    except ScalpdeskError:
        raise
    except Exception as problem:  # BLE001 - raised as a refusal, so that the other cases are judged
        raise ArgumentError(
            f"the case cannot be computed from its inputs ({type(problem).__name__})",
            where=function,
            value=str(problem),
        ) from problem


def _answer(row: Row, inputs: Mapping[str, Any]) -> Answer:
    if row.needed - set(inputs) or set(inputs) - row.needed - set(row.given):
        raise TypeError(f"inputs are {' '.join(inputs)}, wanted are {' '.join((*row.needed, *row.given))}")
    known = {**row.names, **row.given, **inputs}
    answer: Answer = {}
    for name, code in row.steps:
        found = eval(code, known)  # noqa: S307 - the expressions are this package's own
        made = _named(name, found)
        known |= made
        answer |= {each: value for each, value in made.items() if not each.startswith("_")}
    return answer


def _named(name: str, found: Any) -> Answer:
    """Return a result under the names that take it; arrays of an answer as lists."""
    if name.startswith("_"):
        return {name: found}
    names, fields = name.split(), _fields(found)
    if name == "*":
        made = dict(fields)
    elif len(names) == 1:
        made = {name: found}
    elif all(hasattr(found, each) for each in names):
        made = {each: getattr(found, each) for each in names}
    else:
        made = dict(zip(names, fields.values() if fields else found, strict=True))
    return {
        each: value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for each, value in made.items()
    }


def _fields(found: Any) -> Mapping[str, Any]:
    if isinstance(found, Mapping):
        return found
    if isinstance(found, Struct):
        return structs.asdict(found)
    names: Any = getattr(found, "_fields", None) or getattr(type(found), "__slots__", ())
    return {name: getattr(found, name) for name in names if name != "__weakref__"}


def agrees(got: Any, expected: Any, relative: float = RELATIVE, absolute: float = 1e-12) -> bool:
    """Return whether an answer is the expected one: numbers within a tolerance, all else exactly.

    A table is compared on the expected keys, a list element by element; ``"inf"`` is infinity.
    """
    if isinstance(expected, Mapping):
        return isinstance(got, Mapping) and all(
            key in got and agrees(got[key], value, relative, absolute) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(got, Sequence)
            and not isinstance(got, str)
            and len(got) == len(expected)
            and all(agrees(g, e, relative, absolute) for g, e in zip(got, expected, strict=True))
        )
    if expected is None or isinstance(expected, bool) or isinstance(got, bool):
        return got is expected
    if isinstance(expected, str) and expected not in {"inf", "-inf"}:
        return bool(got == expected)
    if not isinstance(got, int | float | Decimal):
        return False
    return math.isclose(float(got), float(expected), rel_tol=relative, abs_tol=absolute)


# steps ------------------------------------------------------------------------------------------------------

Step = TypeVar("Step", bound=Callable[..., Any])
STEPS: dict[str, Callable[..., Any]] = {}
"""What expressions may call beside the product, by its name."""


def step(function: Step) -> Step:
    """Let the table's expressions call a function by its name, without the underscore."""
    STEPS[function.__name__.removeprefix("_")] = function
    return function


@step
def _exact(value: object) -> Decimal:
    return Decimal(str(value))


@step
def _moment(clock: str) -> int:
    """Return an instant of 2025-02-04 in New York."""
    return new_york_ns(date(2025, 2, 4), time.fromisoformat(clock))


@step
def _ohlc(bars: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    names = {"o": "open", "h": "high", "l": "low", "c": "close"}
    return [{names[key]: value for key, value in bar.items()} for bar in bars]


@step
def _candles(bars: Sequence[Mapping[str, float]]) -> list[CloudCandle]:
    found = []
    for place, bar in enumerate(bars, 1):
        end_ns = place * 60 * NANOS_PER_SECOND
        figures = (bar["o"], bar["h"], bar["l"], bar["c"], math.nan)
        event = BarEvent(InstrumentId(0), end_ns, end_ns, 60, *figures)
        found.append(CloudCandle(event, {FAST: CloudState(bar["top"], bar["bot"], bar["c"])}))
    return found


@step
def _spread_filter(spreads: Sequence[float]) -> tuple[list[bool], list[float | None]]:
    """Return which spreads a trigger accepts, and the filter's average after each."""
    trigger = PriceBand(InstrumentId(0), SpreadFilter())  # every mid has reached its prices
    accepted, averages = [], list[float | None]()
    for spread in spreads:
        quote = QuoteEvent(trigger.instrument_id, 0, 0, 0.0, spread, 0.0, 0.0)
        accepted.append(trigger.take(quote) is not None)
        averages.append(None if math.isnan(trigger.spreads.average) else trigger.spreads.average)
    return accepted, averages


@step
def _fifo(fills: Sequence[tuple[str, int, float]]) -> tuple[list[Decimal], Decimal, Decimal]:
    """Return what each fill realises, all of it, and the position."""
    lots, position, totals = FifoLots(), Decimal(0), [Decimal(0)]
    for side, quantity, price in fills:
        signed = Decimal(quantity) * (1 if side == "buy" else -1)
        lots.add(signed, _exact(price))
        position += signed
        totals.append(lots.realized)
    return [after - before for before, after in pairwise(totals)], totals[-1], position


@step
def _metered(*rows: Sequence[float]) -> MoveMeter:
    meter = MoveMeter()
    for row in rows:
        meter.add(*row)
    return meter


@step
def _coin_option(cp: str, strike: float) -> OptionContract:
    return deribit_option(option_name("BTC", date(2026, 12, 25), _exact(strike), Right(cp)))


@step
def _margin_line(is_broad: bool, quantity: float, price: float, cp: str = "", strike: float = 0.0) -> Holding:
    """Return a line of a margin account: an option, or without a right the share."""
    name = "SPX" if is_broad else "SHARE"
    instrument: Instrument = Equity(name)
    if cp:
        terms = (name, name, date(2026, 12, 18), _exact(strike), Right(cp), Style.AMERICAN)
        instrument = OptionContract(f"{name}{cp}{strike}", *terms, Settlement.PHYSICAL, CENT_TICK)
    return Holding(instrument, _exact(quantity), _exact(price))


@step
def _legs_of(kind: str) -> list[bool]:
    """Return of each leg whether it is a call."""
    return {"C": [True], "P": [False], "straddle": [True, False]}[kind]


@step
def _black(S: float, K: float, tau: float, sigma: float, kind: str) -> OptionGreeks:
    legs = [option_greeks(S, K, tau, sigma, is_call, american=False) for is_call in _legs_of(kind)]
    return OptionGreeks._make(math.fsum(column) for column in zip(*legs, strict=True))


@step
def _ssvi_smile(tau: float, theta: float, rho: float, eta: float) -> Smile:
    def vol(k: Floats) -> Floats:
        x = eta * k / math.sqrt(theta)
        return np.sqrt(0.5 * theta * (1.0 + rho * x + np.sqrt((x + rho) ** 2 + 1.0 - rho**2)) / tau)

    return vol


@step
def _hedge_pnl(
    S: float, K: float, kind: str, T: float, implied: float, actual: float, mu: float
) -> tuple[float, float]:
    """Ahmad and Wilmott (2005): certain at the actual volatility, a mean at the implied one."""
    nodes, node_weights = np.polynomial.legendre.leggauss(48)

    def mean_dollar_gamma(t: float) -> float:
        centre, spread = math.log(S) + (mu - 0.5 * actual * actual) * t, actual * math.sqrt(t)
        width = implied * math.sqrt(T - t)
        peak = math.log(K) + 0.5 * width * width
        # density and gamma are bells: nodes where both are
        both = 1.0 / (1.0 / spread**2 + 1.0 / width**2)
        at = both * (centre / spread**2 + peak / width**2) + 9.0 * math.sqrt(both) * nodes
        density = np.exp(-0.5 * ((at - centre) / spread) ** 2) / (spread * math.sqrt(2.0 * math.pi))
        spots = np.exp(at).tolist()
        gammas = [spot * spot * _black(spot, K, T - t, implied, kind).gamma for spot in spots]
        return 9.0 * math.sqrt(both) * float(np.dot(node_weights * density, gammas))

    # t = T·sin²: finely spaced at both ends, where one of the bells is narrow
    x = 0.25 * math.pi * (nodes + 1.0)
    times, weights = T * np.sin(x) ** 2, 0.25 * math.pi * node_weights * T * np.sin(2.0 * x)
    earned = sum(w * mean_dollar_gamma(t) for w, t in zip(weights.tolist(), times.tolist(), strict=True))
    certain = _black(S, K, T, actual, kind).price - _black(S, K, T, implied, kind).price
    return certain, 0.5 * (actual**2 - implied**2) * earned


@step
def _priced(strike: float, is_call: bool, state: PricedState, *, american: bool = False) -> OptionGreeks:
    """Return price and greeks of a state, at its volatility over calendar time."""
    vol = state.vol * math.sqrt(state.variance_years / state.years) if state.years else 0.0
    terms = (state.spot, strike, state.years, vol, is_call, state.rate, state.dividend_yield)
    return OptionGreeks(*option_greeks(*terms, american=american))


@step
def _explain_leg(
    strike: float,
    is_call: bool,
    units: float,
    start: PricedState,
    end: PricedState,
    *,
    stepped: float | None = None,
    d_mark: float | None = None,
    american: bool = False,
) -> LegParts:
    spot = end.spot if stepped is None else stepped
    at_start = _priced(strike, is_call, start, american=american)
    return leg_parts(
        corner_prices(strike, is_call, start, end, spot, end.spot, american=american),
        units=units,
        delta=at_start.delta,
        gamma=at_start.gamma,
        vega=at_start.vega * math.sqrt(start.variance_years / start.years),
        d_spot=spot - start.spot,
        d_vol=end.vol - start.vol,
        d_mark=d_mark,
    )


@step
def _explain_path(
    strike: float, kind: str, units: float, path: Sequence[Sequence[float]], anchors: Sequence[int]
) -> Answer:
    """Sum the parts of all legs over a path, anchored anew where shares are traded."""

    def state(row: Sequence[float]) -> PricedState:
        return PricedState(row[0], row[1], row[2], row[2])

    sums = dict.fromkeys(LegParts.__struct_fields__, 0.0)
    trades = [at for at, (before, after) in enumerate(pairwise(path), start=1) if before[3] != after[3]]
    for first, last in pairwise(sorted({0, *anchors, *trades, len(path) - 1})):
        for is_call in _legs_of(kind):
            shown = NO_LEG_PARTS
            for row in path[first + 1 : last + 1]:  # marks between anchors: the running value telescopes
                running = _explain_leg(strike, is_call, units, state(path[first]), state(row))
                for name in sums:
                    sums[name] += getattr(running, name) - getattr(shown, name)
                shown = running
    return sums


@step
def _case_clock(
    night: float, half_weight: float = 0.6, event_days: float = 0.0, **weights: Any
) -> VarianceClock:
    """Return a clock whose nights hold a share of each day."""
    day = 1.0 / (1.0 - night)  # a session is one: the clock's unit
    shares = SessionWeights(
        night=night * day,
        weekend=night * day,
        holiday=night * day,
        half_day=half_weight,
        announcement=(event_days * day, 0.0),
        year=252.0 * day,
        **weights,
    )
    at_noon = to_ns(datetime(2017, 7, 3, 11, 0, tzinfo=NEW_YORK))
    return VarianceClock("case", shares, (at_noon,) if event_days else ())


class _Span(VarianceClock, frozen=True):
    """A clock by which every span is as long as a case says."""

    length: float = 1.0

    def years(self, start_ns: int, end_ns: int) -> float:
        del start_ns, end_ns
        return self.length


STEPS["Span"] = _Span
