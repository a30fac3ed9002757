"""Which straddle to buy: the strike nearest the forward, of the expiry with the cheapest gamma.

The score of a straddle is what it costs to hold for W days, per unit of gamma:

    C = |θ_call + θ_put|·W + spread_call + spread_put       (currency per unit of the underlying)
    score = C / (Γ_call + Γ_put)                            (lower is better)

and √(2C/Γ) is the single move of the underlying that pays for it. Reasons show that move, for the score is
in squared dollars; both rank alike. The first published bot of this strategy multiplied the spread by 100
and by the number of straddles but not the theta, so that the spread outweighed theta a hundredfold; that
``legacy`` score stays available for comparison.
"""

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from scalpdesk.core.errors import ConfigError
from scalpdesk.core.units import DAYS_PER_YEAR, InstrumentId, exceeds
from scalpdesk.entry.shapes import STRADDLE, Shape, quoted_to_open
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.instruments.structure import Structure
from scalpdesk.marketdata.state import MarketView
from scalpdesk.portfolio.delta_engine import OptionState, OptionValuer
from scalpdesk.portfolio.greeks import gamma_in_coin
from scalpdesk.pricing.known_dividends import value_ahead

Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]
_CALENDAR_DAYS_PER_YEAR = 365.25
MAX_STRADDLE_DELTA = 10.0
"""Largest delta of a straddle at entry unless a strategy's settings say otherwise, shares of 100."""
_DELTA_SLACK = 0.25
"""By how much a straddle's delta may differ between its own volatility and that at the money."""


class SelectionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which straddles are looked at and how they are ranked."""

    min_expiration_days: Annotated[int, Meta(ge=0, le=3_650)] = 30
    max_expiration_days: Annotated[int, Meta(ge=0, le=3_650)] = 90
    """``min_expiration_days``, ``max_expiration_days``: Calendar days to expiry, both included."""
    min_open_interest: Annotated[int, Meta(ge=-1, le=10_000_000)] = 100
    """Open contracts that each leg must exceed (strictly). An unknown count is no count: it fails, unless the
    minimum is below zero.
    """
    theta_weight_days: Annotated[float, Meta(gt=0, le=252)] = 1.0
    """W, the days that the straddle is meant to be held."""
    max_spread_fraction: Annotated[float, Meta(gt=0, le=2)] | None = None
    """Largest spread of a leg as a fraction of its mid; None for no such filter."""
    score: Literal["corrected", "legacy"] = "corrected"
    """``corrected`` or ``legacy``."""
    strike_choice: Literal["forward", "score"] = "forward"
    """Strike of an expiry: ``forward`` takes the nearest to its forward, ``score`` the one with the lowest
    score; both among strikes whose straddle has no more than ``entry.max_straddle_delta``. The score then
    chooses the expiry.
    """
    strike: Decimal | None = None
    expiry: date | None = None
    """``strike``, ``expiry``: Take exactly this strike (currency) or expiry instead of choosing."""

    def __post_init__(self) -> None:
        """Refuse an expiry window that is empty."""
        if self.max_expiration_days < self.min_expiration_days:
            raise ConfigError(
                "the expiry window is empty: its end lies before its start",
                where="selection.max_expiration_days",
                value=self.max_expiration_days,
                fix=f"set selection.max_expiration_days={self.min_expiration_days} or more, or lower"
                " selection.min_expiration_days",
            )


class StructureScore(msgspec.Struct, frozen=True):
    """Score of one straddle; None throughout when it has no gamma."""

    score: float | None
    legacy_score: float | None
    breakeven_move: float | None
    """Move of the underlying, in currency, that pays theta and one full spread round trip."""


def structure_score(
    theta_per_day: float, gamma: float, spread: float, *, hold_days: float = 1.0, straddles: int = 1
) -> StructureScore:
    """Score a structure from the sums of its legs: a cost, or below zero what is earned, per unit of gamma.

    ``theta_per_day``: Sum of the thetas, currency per unit and calendar day (negative where gamma is bought).
    ``gamma``: Sum of the gammas, per currency unit; negative where it is sold.
    ``spread``: Sum of the spreads, currency per unit.
    ``hold_days``: W, days it is meant to be held.
    ``straddles``: Number of straddles; the legacy score grows with it, the corrected one does not.
    """
    if gamma < 0.0:
        earned = theta_per_day * hold_days - spread
        rank = earned / gamma
        return StructureScore(rank, rank, breakeven_move(max(earned, 0.0), -gamma))
    if not gamma > 0.0:
        return StructureScore(None, None, None)
    cost = spread - theta_per_day * hold_days  # below zero where theta is received beside gamma
    legacy = (abs(theta_per_day) * hold_days + spread * straddles * 100) / gamma
    return StructureScore(cost / gamma, legacy, breakeven_move(max(cost, 0.0), gamma))


def move_words(gamma: float, theta: float, rank: float, move: str) -> str:
    """Return what a move does for a structure, by who is long gamma and who receives theta.

    ``gamma``, ``theta``: Sums of the legs; only their signs count.
    ``rank``: By :func:`structure_score`: a cost per unit of gamma, below zero what is earned.
    ``move``: Move of the underlying that pays that cost or takes it back, in words.
    """
    if gamma > 0.0:
        if rank <= 0.0:
            return "it needs no move: the theta received is more than the spread"
        return f"{move} pays its {'spread less the theta received' if theta > 0.0 else 'theta and spread'}"
    if rank < 0.0:
        return f"{move} takes back its theta after the spread"
    if theta > 0.0:
        return "the theta received does not pay the spread"
    return "it pays theta and spread, and loses by each move"


N = TypeVar("N", float, Floats)


def breakeven_move(cost: N, gamma: N) -> N:
    """Return the single move of the underlying that pays a cost, ``√(2C/Γ)``, in currency.

    ``cost``: Theta of the days held and the spread, currency per unit; a number or a column.
    ``gamma``: Sum of the gammas, per currency unit, above 0.
    """
    if isinstance(cost, np.ndarray):
        return np.sqrt(2.0 * cost / gamma)
    return math.sqrt(2.0 * cost / gamma)


def strike_range(spot: float, vol: float, days: float) -> tuple[float, float, float]:
    """Return the expected move and the lowest and highest strike within it (inclusive).

    One standard deviation to expiry, ``S·σ·√(days/365.25)``.

    >>> round(strike_range(590.0, 0.16, 45)[0], 6)
    33.134707
    """
    move = spot * vol * math.sqrt(days / _CALENDAR_DAYS_PER_YEAR)
    return move, spot - move, spot + move


class Candidate(msgspec.Struct, frozen=True):
    """One straddle that passed every filter."""

    structure: Structure
    score: StructureScore
    rank: float
    spread: float
    forward: float
    """Forward of its expiry, currency per unit."""
    states: tuple[OptionState, ...]
    """The options of its legs as valued now."""

    @property
    def delta(self) -> float:
        """Delta of one set, per unit of the underlying."""
        return self.structure.total(each.greeks.delta for each in self.states)

    @property
    def vol(self) -> float:
        """Mean implied volatility of its options."""
        return sum(each.vol for each in self.states) / len(self.states)

    @property
    def pays(self) -> float:
        """Move of the underlying that pays for what the ranking counts, or takes back what it earns.

        ``√(2 · |rank|)``, in its currency.
        """
        return math.sqrt(2.0 * abs(self.rank))

    @property
    def words(self) -> str:
        """What a move of the underlying does for it."""
        gamma, theta = (
            self.structure.total(getattr(each.greeks, name) for each in self.states)
            for name in ("gamma", "theta")
        )
        move = f"a move of {self.pays:.2f} ({self.pays / self.states[0].spot:.2%})"
        return move_words(gamma, theta, self.rank, move)

    @property
    def distance(self) -> float:
        """Between strike and forward, currency per unit."""
        return abs(float(self.structure.lead.contract.strike) - self.forward)


class Selection(msgspec.Struct, frozen=True):
    """The chosen straddle, and the number removed by each filter."""

    best: Candidate | None
    candidates: int
    """Straddles among which the score chose."""
    removed: dict[str, int]
    """Straddles removed by each filter, in the order of the filters."""
    chosen_by: str = ""
    """Rule by which the strike was chosen, in words."""
    lopsided: Candidate | None = None
    """Straddle nearest its forward among those that only their delta removed."""
    name: str = STRADDLE.name
    """Name of the structures."""

    def why_best(self) -> str:
        """Return the chosen straddle and the reason for its strike, in one sentence."""
        best = self.best
        assert best is not None
        return (
            f"{self.name} {best.structure.label} ({self.chosen_by}"
            f" {best.forward:.2f}, delta {100.0 * best.delta:+.1f} of 100), best of {self.candidates}:"
            f" {best.words}"
        )

    @property
    def refused_by(self) -> str:
        """The filters that removed something, at any count; where its delta alone removed one, that."""
        if self.lopsided is not None:
            return "selection: delta"
        return "selection: " + (", ".join(name for name, count in self.removed.items() if count) or "chain")

    def why_none(self) -> str:
        """Return how many candidates each filter removed, in one sentence."""
        parts = [f"{name} removed {count}" for name, count in self.removed.items() if count]
        near = self.lopsided
        if near is not None:
            parts[-1] += (
                f" (the nearest, strike {near.structure.strikes} at a forward of"
                f" {near.forward:.2f}, has {100.0 * abs(near.delta):.1f})"
            )
        nothing = "pair of call and put"
        if self.name != STRADDLE.name:
            nothing = "option for each of its legs with a good quote and open interest enough"
        return f"no {self.name} passes the filters: " + ("; ".join(parts) or f"the chain holds no {nothing}")


class _Window:
    """Straddles of a day's expiry window, by expiry and strike, and the same as columns."""

    def __init__(self, today: date, of: Sequence[Structure], structures: list[Structure]) -> None:
        self.today, self.of, self.structures = today, of, structures
        self.legs = [each.option_ids for each in structures]
        width = len(structures[0].legs) if structures else 1
        self.numbers: Places = np.array(self.legs, dtype=np.int64).reshape(-1, width).T
        self.strikes: Floats = np.array([float(each.lead.contract.strike) for each in structures])
        self.days: Places = np.array([each.first_expiry.toordinal() for each in structures], dtype=np.int64)
        """Days of the expiry, as ordinals."""
        self.day_numbers: Places = np.unique(self.days)
        chains = [f"{each.lead.contract.root} {each.first_expiry} {each.last_expiry}" for each in structures]
        self.chains: Places = np.unique(chains, return_inverse=True)[1]
        """Number of the root and expiries: two of a day, one settled at the open, have two forwards."""


class StructureSelector:
    """Filters and ranks the straddles of one underlying.

    ``straddles``: Number of straddles meant to be bought (the legacy score depends on it).
    ``max_delta_shares``: Largest absolute delta of a neutral structure, shares of 100; a configured strike is
    taken as it is. None: any.
    """

    def __init__(
        self,
        config: SelectionConfig,
        straddles: int = 1,
        *,
        max_delta_shares: float | None = MAX_STRADDLE_DELTA,
        shape: Shape = STRADDLE,
    ) -> None:
        self._config, self._shape = config, shape
        self._max_delta = math.inf
        if max_delta_shares is not None and config.strike is None and shape.is_neutral:
            self._max_delta = max_delta_shares / 100
        self._straddles = straddles
        self._window: _Window | None = None
        """Window of these structures and this day."""

    def select(
        self,
        structures: Sequence[Structure],
        market: MarketView,
        delta_engine: OptionValuer,
        spot: float,
        now_ns: int,
    ) -> Selection:
        """Return the best straddle as of now, or no straddle with the tally of what was removed."""
        removed: dict[str, int] = {}
        window = self._within_window(structures, now_ns, removed)
        places = self._with_open_interest(window, market, removed)
        places = self._with_quotes(window, places, market, now_ns, removed)
        places = self._with_forward(window, places, delta_engine, now_ns, removed)
        if self._config.strike is None and self._shape.is_centred:
            places = self._near_the_money(window, places, delta_engine, spot, now_ns, removed)
        far = len(places)
        left = self._near_enough_delta(window, places, delta_engine, now_ns, spot)
        lopsided = far - len(left)

        def order(each: Candidate) -> tuple[float, float, float, date, str]:
            lead = each.structure.lead.contract
            return each.rank, each.spread, each.distance, lead.expiry, lead.symbol

        scored = [self._score(each, market, delta_engine, now_ns) for each in left]
        known = sorted((each for each in scored if each is not None), key=order)
        even = [each for each in known if not exceeds(abs(each.delta), self._max_delta)]
        beyond = [each for each in known if exceeds(abs(each.delta), self._max_delta)]
        lopsided += len(beyond)
        removed["greeks"] = far - len(even) - lopsided
        if lopsided:
            removed[f"delta up to {100 * self._max_delta:g} of 100"] = lopsided
        chosen_by = "strike set by selection.strike, forward"
        if not self._shape.is_centred:
            chosen_by = "legs by their distances, forward"
        elif self._config.strike is None:
            chosen_by = "strike with the lowest score, forward"
        if self._shape.is_centred and self._config.strike is None and self._config.strike_choice == "forward":
            chosen_by, nearest = "strike nearest the forward of", dict[date, Candidate]()
            for each in sorted(even, key=lambda each: each.distance):
                nearest.setdefault(each.structure.first_expiry, each)
            even = sorted(nearest.values(), key=order)
        near = min(beyond, key=lambda each: each.distance, default=None)
        name = self._shape.name.replace("_", " ")
        return Selection(even[0] if even else None, len(even), removed, chosen_by, near, name)

    def _within_window(
        self, structures: Sequence[Structure], now_ns: int, removed: dict[str, int]
    ) -> _Window:
        config = self._config
        today = to_new_york(now_ns).date()
        window = self._window
        # the same all day, and a listing of years has tens of thousands of structures
        if window is None or window.today != today or window.of is not structures:
            inside = [
                each
                for each in structures
                if (each.first_expiry - today).days >= config.min_expiration_days
                and (each.first_expiry - today).days <= config.max_expiration_days
                and (config.expiry is None or each.first_expiry == config.expiry)
                and (config.strike is None or each.lead.contract.strike == config.strike)
            ]
            inside.sort(key=lambda each: (each.first_expiry, each.lead.contract.strike))
            window = self._window = _Window(today, structures, inside)
        wanted = f"expiry {config.min_expiration_days} to {config.max_expiration_days} days"
        asked = (("expiry", config.expiry), ("strike", config.strike))
        wanted += "".join(f", asked for {name} {value}" for name, value in asked if value is not None)
        removed[wanted] = len(structures) - len(window.structures)
        return window

    def _with_open_interest(self, window: _Window, market: MarketView, removed: dict[str, int]) -> Places:
        least = self._config.min_open_interest
        known, places = market.open_interest, np.arange(len(window.structures))
        if least >= 0:
            held = [min(known.get(leg, -1) for leg in legs) for legs in window.legs]
            places = np.flatnonzero(np.array(held, dtype=np.int64) > least)
        unknown = (
            " (the data lacks it: import it, or set selection.min_open_interest = -1)" if not known else ""
        )
        removed[f"open interest above {least}{unknown}"] = len(window.structures) - len(places)
        return places

    def _with_quotes(
        self, window: _Window, places: Places, market: MarketView, now_ns: int, removed: dict[str, int]
    ) -> Places:
        legs = window.numbers[:, places].ravel()
        bought = [leg.ratio > 0 for each in window.structures[:1] for leg in each.legs]
        good = quoted_to_open(market, legs, now_ns, np.repeat(np.array(bought, dtype=np.bool_), len(places)))
        quoted = places[good.reshape(len(window.numbers), -1).all(axis=0)]
        removed[f"a good quote on {'both' if len(window.numbers) == 2 else 'all'} legs"] = len(places) - len(
            quoted
        )
        most = self._config.max_spread_fraction
        if most is None:
            return quoted
        is_tight = [
            all(_spread_fraction(market, leg) <= most for leg in window.legs[place])
            for place in quoted.tolist()
        ]
        tight = quoted[np.array(is_tight, dtype=np.bool_)]
        removed[f"spread up to {most:.0%} of mid"] = len(quoted) - len(tight)
        return tight

    def _with_forward(
        self,
        window: _Window,
        places: Places,
        delta_engine: OptionValuer,
        now_ns: int,
        removed: dict[str, int],
    ) -> Places:
        """Drop expiries whose forward no calls and puts have shown yet: by it the strike is chosen."""
        chains, first = np.unique(window.chains[places], return_index=True)
        of_chains = [
            [legs[0].option_id for legs in window.structures[place].by_expiry]
            for place in places[first].tolist()
        ]
        delta_engine.follow([leg for legs in of_chains for leg in legs], now_ns)
        shown = [all(delta_engine.knows_forward(leg, now_ns) for leg in legs) for legs in of_chains]
        if all(shown):
            return places
        left = places[np.isin(window.chains[places], chains[np.array(shown, dtype=np.bool_)])]
        removed["a forward that calls and puts show"] = len(places) - len(left)
        return left

    def _near_the_money(
        self,
        window: _Window,
        places: Places,
        delta_engine: OptionValuer,
        spot: float,
        now_ns: int,
        removed: dict[str, int],
    ) -> Places:
        """Keep strikes within one expected move, from the at-the-money call's volatility per expiry."""
        left: list[Places] = []
        bounds = np.searchsorted(window.days[places], window.day_numbers)
        for low, high in pairwise([*bounds.tolist(), len(places)]):
            if low == high:
                continue
            of_expiry = places[low:high]
            strikes = window.strikes[of_expiry]
            at_the_money = int(np.argmin(np.abs(strikes - spot)))  # of two as near the lower one
            middle = window.structures[of_expiry[at_the_money]]
            valuation = delta_engine.state(middle.lead.option_id, now_ns)
            if valuation is None or not valuation.vol > 0.0:
                continue
            days = max((middle.first_expiry - window.today).days, valuation.years * DAYS_PER_YEAR)
            _, lowest, highest = strike_range(spot, valuation.vol, days)
            is_near = (lowest <= strikes) & (strikes <= highest)
            is_near[at_the_money] = True
            left.append(of_expiry[is_near])
        found = np.concatenate(left) if left else places[:0]
        removed["strike within one expected move"] = len(places) - len(found)
        return found

    def _near_enough_delta(
        self,
        window: _Window,
        places: Places,
        delta_engine: OptionValuer,
        now_ns: int,
        spot: float,
    ) -> list[Structure]:
        """Drop straddles whose delta is beyond the largest by far at the volatility at the money.

        Spares the valuation of most of a chain; what is left, the nearest the money in any case, is judged by
        its own volatilities.
        """
        most = self._max_delta + _DELTA_SLACK
        if most >= 1.0 or self._shape.needs_smile or len(self._shape.legs) != len(STRADDLE.legs):
            return [window.structures[place] for place in places.tolist()]
        levels: dict[int, tuple[float, float]] = {}
        """Forward and σ√t of an expiry, by its day."""
        left: list[Structure] = []
        strikes, days = window.strikes[places], window.days[places]
        order = np.lexsort((strikes, np.abs(strikes - spot)))
        columns = (each[order].tolist() for each in (places, strikes, days))
        for place, strike, day in zip(*columns, strict=True):
            structure = window.structures[place]
            if day not in levels:  # the nearest the money comes first
                valuation = delta_engine.state(structure.lead.option_id, now_ns)
                levels[day] = spot, 0.0
                if valuation is not None:
                    width = valuation.vol * math.sqrt(valuation.years)
                    levels[day] = forward_of(structure, valuation), width
            forward, width = levels[day]
            d1 = math.log(forward / strike) / width + 0.5 * width if width > 0.0 else 0.0
            if not left or abs(math.erf(d1 / math.sqrt(2.0))) <= most:  # 2·N(d1) − 1
                left.append(structure)
        return left

    def _score(
        self, structure: Structure, market: MarketView, delta_engine: OptionValuer, now_ns: int
    ) -> Candidate | None:
        found = [delta_engine.state(leg, now_ns) for leg in structure.option_ids]
        # the quote of an option that the model values shows no price; its ask is one to buy at
        quotes = [market.quotes[leg] for leg in structure.option_ids]
        asked = [
            leg.ratio > 0 and quote is not None and not quote.bid > 0.0
            for leg, quote in zip(structure.legs, quotes, strict=True)
        ]
        states = tuple(
            each
            for each, has_ask in zip(found, asked, strict=True)
            if each is not None and each.vol > 0.0 and (has_ask or not each.is_modelled)
        )
        if len(states) < len(found):
            return None
        lead, greeks = states[0], [each.greeks for each in states]
        spread = structure.total_of_all(_spread(market, leg) for leg in structure.option_ids)
        gamma = structure.total(each.gamma for each in greeks)
        if structure.lead.contract.is_inverse:
            gamma = gamma_in_coin(gamma, structure.total(each.delta for each in greeks), lead.spot)
        score = structure_score(
            structure.total(each.theta for each in greeks) / DAYS_PER_YEAR,
            gamma,
            spread,
            hold_days=self._config.theta_weight_days,
            straddles=self._straddles,
        )
        rank = score.score if self._config.score == "corrected" else score.legacy_score
        if rank is None or not math.isfinite(rank):
            return None
        return Candidate(structure, score, rank, spread, forward_of(structure, lead), states)


def forward_of(structure: Structure, lead: OptionState) -> float:
    """Return the forward of the lead's expiry, currency per unit: an inverse option's spot is a forward."""
    if structure.lead.contract.is_inverse:
        return lead.spot
    paid = value_ahead(lead.dividends, lead.years, lead.rate) if lead.dividends else 0.0
    return (lead.spot - paid) * math.exp((lead.rate - lead.dividend_yield) * lead.years)


def _spread(market: MarketView, number: InstrumentId) -> float:
    quote = market.quotes[number]
    return 0.0 if quote is None else quote.ask - quote.bid


def _spread_fraction(market: MarketView, number: InstrumentId) -> float:
    quote = market.quotes[number]
    return math.inf if quote is None or not quote.mid > 0.0 else (quote.ask - quote.bid) / quote.mid
