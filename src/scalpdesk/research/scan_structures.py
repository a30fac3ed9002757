"""Structures of a chain, bought and sold, ranked by their edge: each row is what the desk's own gate says.

The legs are placed, and the edge is counted, by the functions that the gamma scalper trades by
(:mod:`scalpdesk.entry.shapes`, :mod:`scalpdesk.entry.edge_gate`), on one fit of the surface.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import date
from functools import partial
from typing import Any

import msgspec
import numpy as np

from scalpdesk.core.units import DAYS_PER_YEAR, SESSIONS_PER_YEAR, InstrumentId, finite
from scalpdesk.entry.edge_gate import EdgeExpiry, EdgeInputs
from scalpdesk.entry.shapes import SHAPES, SIDES, Listed, RightName, ShapeLister, StructureConfig, shape_named
from scalpdesk.hedging.base import TRADING_YEAR_SECONDS, HedgeInputs
from scalpdesk.hedging.expected_cost import expected_cost
from scalpdesk.instruments.sessions import to_new_york
from scalpdesk.instruments.structure import Structure, StructureLeg
from scalpdesk.marketdata.chain_surface import ExpiryLabel
from scalpdesk.portfolio.strike_vols import ExpirySmile
from scalpdesk.pricing.base import Floats, Greeks
from scalpdesk.pricing.models import greeks
from scalpdesk.pricing.smile_level import SviVols, level_of
from scalpdesk.research.scan import ScannedChain, level_to
from scalpdesk.strategies.gamma_scalper.config import GammaScalperConfig


class _ScannedQuotes:
    """A fitted chain as shapes are placed in it; options are known by their place among its legs."""

    def __init__(self, chain: ScannedChain) -> None:
        self._chain = chain
        self._smiles: dict[int, ExpirySmile] = {}
        for place, (entry, ends_ns) in enumerate(
            zip(chain.fitted.surface.fitted, chain.expires_ns, strict=True)
        ):
            years = chain.clock.years(chain.now_ns, ends_ns)
            if entry.smile is not None and years > 0.0:
                self._smiles[place] = ExpirySmile(
                    entry.forward, entry.years, years, entry.smile, 0, (0.0, 0.0)
                )

    def options(self) -> list[Listed]:
        """Return the options by their place."""
        return [(InstrumentId(place), contract) for place, contract in enumerate(self._chain.contracts)]

    def smile(self, number: InstrumentId) -> ExpirySmile | None:
        """Return the smile of an option's expiry."""
        return self._smiles.get(int(self._chain.legs.expiry[number]))

    def traded(self, numbers: Sequence[InstrumentId], *, bought: bool = False) -> Sequence[bool]:
        """Return True for each: only options with a good quote are among the legs."""
        del bought
        return [True for _ in numbers]

    def mid(self, number: InstrumentId) -> float:
        """Return an option's mid, currency per unit."""
        return 0.5 * float(self._chain.legs.bid[number] + self._chain.legs.ask[number])

    def implied_to(self, root: str, horizon_years: float, own: ExpirySmile, level: Any) -> float | None:
        """Return the market's level to a horizon from the expiries of a root around it; None without such."""
        total = []
        for place, smile in self._smiles.items():
            if _label(self._chain, place).root == root:
                years = smile.variance_years
                vol = level_of(SviVols(smile.svi, years), years, level)
                total.append((years, vol * vol * years))
        end = next(each for each in total if each[0] == own.variance_years)
        return level_to(horizon_years, end, total)


def all_structures(names: Iterable[str] = ()) -> list[StructureConfig]:
    """Return shapes, all of the product's own without names, on both sides and of both rights."""
    found = []
    for name in names or SHAPES:
        rights: tuple[RightName, ...] = (
            ("call", "put") if any(leg.right is None for leg in shape_named(name).legs) else ("call",)
        )
        found += [StructureConfig(shape=name, side=side, right=right) for side in SIDES for right in rights]
    return found


def scan_structures(
    chain: ScannedChain,
    config: GammaScalperConfig,
    structures: Iterable[StructureConfig],
) -> list[dict[str, Any]]:
    """Rank the structures of a chain, the largest net edge first, ready for JSON; amounts in USD a set.

    The same signed legs are one row, by the first name: a ratio that is bought is a back ratio that is sold.

    ``chain``: The chain and the forecast.
    ``structures``: Shapes with side, right and distances.
    """
    quotes, rows = _ScannedQuotes(chain), dict[frozenset[tuple[InstrumentId, int]], dict[str, Any]]()
    days = to_new_york(chain.now_ns).date(), date.max
    for wanted in structures:
        lister = ShapeLister(wanted)
        lister.learn(quotes.options())
        for structure in _nearest(lister.list_now(quotes, chain.now_ns, days, centres=1), quotes):
            legs = frozenset(structure.ratios.items())
            row = None if legs in rows else _row(chain, quotes, config, wanted, structure)
            if row is not None:
                rows[legs] = row
    return sorted(rows.values(), key=lambda row: -row["edge_usd"])


def _nearest(structures: Sequence[Structure], quotes: _ScannedQuotes) -> list[Structure]:
    """Return the structure nearest the forward of each expiry: the strike that the desk would take."""
    found: dict[tuple[str, date], tuple[float, Structure]] = {}
    for each in structures:
        smile = quotes.smile(each.by_expiry[0][0].option_id)
        if smile is None or any(quotes.smile(leg.option_id) is None for leg in each.legs):
            continue
        off = abs(float(each.lead.contract.strike) - smile.forward)
        key = each.nearest.root, each.first_expiry
        if key not in found or off < found[key][0]:
            found[key] = off, each
    return [each for _, each in found.values()]


def _row(
    chain: ScannedChain,
    quotes: _ScannedQuotes,
    config: GammaScalperConfig,
    wanted: StructureConfig,
    structure: Structure,
) -> dict[str, Any] | None:
    entry, nearest = config.entry, quotes.smile(structure.by_expiry[0][0].option_id)
    assert nearest is not None
    horizon = min(entry.horizon_days / SESSIONS_PER_YEAR, nearest.variance_years)
    expiries, on_smile = [], []
    for legs in structure.by_expiry:
        smile = quotes.smile(legs[0].option_id)
        assert smile is not None
        strikes = np.array([smile.log_moneyness(leg.contract) for leg in legs])
        priced = partial(_priced, chain, legs, smile)
        ratios = np.array([leg.ratio for leg in legs], dtype=np.float64)
        expiries.append(
            EdgeExpiry(
                SviVols(smile.svi, smile.variance_years),
                smile.variance_years,
                strikes,
                lambda vols, priced=priced, ratios=ratios: float(ratios @ priced(vols).price),  # type: ignore[misc]
            )
        )
        on_smile.append((ratios, priced(smile.vols(strikes))))
    gamma, delta, theta = (
        sum(float(ratios @ getattr(at, name)) for ratios, at in on_smile)
        for name in ("gamma", "delta", "theta")
    )
    vol, of_legs = chain.forecast.vol(horizon), chain.legs
    ids = [int(number) for number in structure.option_ids]
    half = 0.5 * structure.total_of_all((of_legs.ask - of_legs.bid)[ids].tolist())
    inputs = EdgeInputs(
        expiries=tuple(expiries),
        half_spreads=2.0 * half,  # half in and half out
        hedge_cost_usd=_hedge_cost(chain, config, abs(gamma), nearest, structure, vol, horizon),
        multiplier=structure.nearest.multiplier,
        all_bought=structure.all_bought,
        horizon_years=horizon,
        implied_to_horizon=quotes.implied_to(structure.nearest.root, horizon, nearest, entry.level),
        level=entry.level,
    )
    made = chain.forecast.made
    forecast = msgspec.structs.replace(made, vol=vol, stderr=chain.forecast.stderr(vol))
    verdict = entry.make_gate().judge(inputs, forecast)
    edge = verdict.edge
    if edge is None:
        return None
    most, is_neutral = entry.max_straddle_delta, wanted.find_shape().is_neutral
    interest = [int(of_legs.open_interest[number]) for number in ids]
    mid = structure.total([0.5 * float(of_legs.bid[number] + of_legs.ask[number]) for number in ids])
    return {
        "symbol": chain.symbol,
        "kind": wanted.shape,
        "side": wanted.side,
        "legs": str(structure),
        "expiry": str(structure.first_expiry),
        "last_expiry": str(structure.last_expiry),
        "strikes": structure.strikes,
        "edge_usd": finite(edge.net_usd),
        "edge_stderr_usd": finite(edge.stderr_usd),
        "gross_usd": finite(edge.gross_usd),
        "spread_usd": finite(edge.spread_usd),
        "hedge_cost_usd": finite(edge.hedge_cost_usd),
        "passes": verdict.passed and not (is_neutral and most is not None and abs(100.0 * delta) > most),
        "forecast_over_implied": finite(vol / edge.implied_level),
        "mid": mid,
        "delta": delta,
        "gamma": gamma,
        "theta_usd_per_day": structure.nearest.multiplier * theta / DAYS_PER_YEAR,
        "open_interest": min(interest) if min(interest) >= 0 else None,
    }


def _label(chain: ScannedChain, place: int) -> ExpiryLabel:
    label = chain.fitted.surface.fitted[place].label
    assert isinstance(label, ExpiryLabel)
    return label


def _priced(chain: ScannedChain, legs: Sequence[StructureLeg], smile: ExpirySmile, vols: Floats) -> Greeks:
    """Return the Greeks of legs of one expiry at volatilities on the variance clock."""
    place = int(chain.legs.expiry[legs[0].option_id])
    fitted, label = chain.fitted, _label(chain, place)
    forward = fitted.forwards[label]
    return greeks(
        forward.pricing_spot,
        np.array([float(leg.contract.strike) for leg in legs]),
        smile.years,
        np.asarray(vols) * math.sqrt(smile.variance_years / smile.years),
        np.array([leg.contract.is_call for leg in legs]),
        rate=fitted.rates[label],
        dividend_yield=forward.pricing_borrow,
        dividends=fitted.chain.dividends or None,
        style=next(each.style for each in fitted.chain.expiries if each.label == label),
    )


def _hedge_cost(
    chain: ScannedChain,
    config: GammaScalperConfig,
    gamma: float,
    smile: ExpirySmile,
    structure: Structure,
    vol: float,
    horizon_years: float,
) -> float:
    """Return the expected cost of hedging a set to the horizon, USD."""
    bid, ask = chain.share
    mid, one_way, sets = 0.5 * (bid + ask), max(0.5 * (ask - bid), 0.0), config.straddles
    if not gamma > 0.0:
        return 0.0
    place = int(chain.legs.expiry[structure.by_expiry[0][0].option_id])
    inputs = HedgeInputs(
        net_delta_shares=0.0,
        gamma_shares_per_usd=gamma * structure.nearest.multiplier * sets,
        spot=mid,
        years=smile.years,
        vol=max(smile.vol(0.0), 1e-4),
        rate=chain.fitted.rates[_label(chain, place)],
        straddles=sets,
        multiplier=structure.nearest.multiplier,
        seconds_since_hedge=0.0,
        own_cost_fraction=one_way / mid,
        trading_year_seconds=TRADING_YEAR_SECONDS,
    )
    least = config.hedge.least_fraction
    days = horizon_years * SESSIONS_PER_YEAR
    return (
        expected_cost(config.hedge.make_band(), inputs, vol, days, one_way, least_fraction=least).cost_usd
        / sets
    )
