"""The edge of a structure: forecast against implied volatility, less the costs; at entry and while held.

The market's volatility to the forecast's horizon comes from the smiles of the expiries around it. Both, and
the smiles that the legs are repriced on, are on the run's variance clock.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import numpy as np

from scalpdesk.core.intents import Side
from scalpdesk.core.structs import FrozenStruct
from scalpdesk.core.units import (
    NANOS_PER_SECOND,
    SESSIONS_PER_YEAR,
    InstrumentId,
    exact,
    exceeds,
    years_between,
)
from scalpdesk.entry.edge_gate import (
    Edge,
    EdgeExpiry,
    EdgeInputs,
    Recentring,
    recentring,
    shifted_edge,
)
from scalpdesk.entry.selector import Candidate, forward_of
from scalpdesk.hedging.base import HedgeInputs
from scalpdesk.hedging.expected_cost import expected_cost
from scalpdesk.instruments.contract import OptionContract, Style
from scalpdesk.instruments.fees import trade_date
from scalpdesk.instruments.sessions import expiry_instant_ns, next_session
from scalpdesk.instruments.structure import Structure, StructureLeg
from scalpdesk.margin.holdings import Holding
from scalpdesk.margin.pairing import Pairing
from scalpdesk.marketdata.state import paid_between
from scalpdesk.portfolio.delta_engine import OptionState
from scalpdesk.portfolio.greeks import gamma_beside_perpetual, gamma_in_coin
from scalpdesk.portfolio.option_pricer import exercise_gain
from scalpdesk.portfolio.stress import STRESS_SIGMAS, StressLine, largest_loss
from scalpdesk.portfolio.strike_vols import ExpirySmile
from scalpdesk.portfolio.vol_filter import VOL_OF_VOL
from scalpdesk.pricing.base import Floats, OptionGreeks
from scalpdesk.pricing.known_dividends import value_ahead
from scalpdesk.pricing.smile_level import SviVols, level_between, level_of
from scalpdesk.strategies.contract import DeskView, Facts
from scalpdesk.strategies.gamma_scalper.config import EntryConfig
from scalpdesk.strategies.gamma_scalper.horizon import HorizonForecast, days_a_year
from scalpdesk.strategies.toolkit.entry_legs import ENTRY_GATE
from scalpdesk.strategies.toolkit.exits import LAST_HOUR_NS, NO_GAIN
from scalpdesk.strategies.toolkit.hedger import FINE, TRADING_YEARS, DeltaHedger
from scalpdesk.strategies.toolkit.sizing import StraddleRisk, pnl_deviation
from scalpdesk.volatility.filtered_moves import vega_weight
from scalpdesk.volatility.forecast import VolForecast

_RATIO_NS = 300 * NANOS_PER_SECOND
"""Time after which the market's term structure is measured again."""
_FALL, _FALL_NS = math.log(0.9), 300 * NANOS_PER_SECOND
"""Fall of the logarithm of the market's level that five minutes do not reach, nor k of them in k² times as
long: on the wildest sessions of the embedded market it fell by 0.08 in 5 minutes, 0.12 in 10, 0.15 in 30.
"""
_SELECTED_NS = 1_800 * NANOS_PER_SECOND
"""For so long the level is measured on the expiry that was chosen last."""


class EntryVerdict(FrozenStruct, frozen=True):
    """Whether to buy, the reasons and the figures."""

    passed: bool
    reasons: tuple[str, ...]
    facts: Facts
    """The figures as they are recorded: nothing is decided by them."""
    has_edge: bool = False
    edge: Edge | None = None
    needed_usd: float = 0.0
    """What the edge must be, in currency."""
    failed: tuple[str, ...] = ()
    """The tests of the gate that failed, by the setting of their bound."""

    @property
    def refused_by(self) -> str:
        """What of the gate refuses, the same at any figures."""
        return f"{ENTRY_GATE}: " + (", ".join(self.failed) or "no edge")


class StraddleEdge:
    """Edge of one straddle at entry and while it is held.

    ``config``: The gate's settings.
    ``straddles``: Number of sets (the hedge cost of a band depends on it).
    ``is_neutral``: Whether the largest delta at entry holds for the structures.
    """

    def __init__(self, config: EntryConfig, straddles: int, *, is_neutral: bool = True) -> None:
        self._config = config
        self._straddles = straddles
        self._most_delta = config.max_straddle_delta if is_neutral else None
        self.horizon = HorizonForecast(config)
        self._gate = config.make_gate()
        self.rehedges = 0.0
        """Hedges expected to the horizon, of the straddle judged last."""
        self._expiries: list[tuple[str, int, InstrumentId]] = []
        """Root, expiry instant and one option of each expiry, by instant."""
        self._judged: tuple[int, Structure | None] = 0, None
        """The straddle that was judged last, and when."""
        self._measured_ns, self._least_vol = 0, 0.0
        """When the market was measured last, and the forecast from which on there was an edge then."""
        self._band_shares = 0.0
        """Half width of the hedge's band around the straddles that were looked at last."""
        self._ratios: dict[int, tuple[int, float | None]] = {}
        """Level to the horizon over that of an expiry (by its instant), with when it was measured."""

    def learn(self, options: Iterable[tuple[InstrumentId, OptionContract]], view: DeskView) -> None:
        """Note the expiries of the chain, and begin to keep what their smiles are measured with."""
        self.horizon.begin(view)
        seen: dict[tuple[str, int], InstrumentId] = {}
        for number, contract in options:
            seen.setdefault((contract.root, expiry_instant_ns(contract)), number)
        self._expiries = sorted((root, at_ns, leg) for (root, at_ns), leg in seen.items())
        for _, _, leg in self._expiries[:1]:
            view.delta_engine.follow((leg,), view.now_ns)

    def is_far(self, view: DeskView) -> bool:
        """Return whether the forecast is below the market by so much that no strike can pass.

        Spares most of the work on a day without an edge: the market's level alone is measured, and only once
        it may have fallen to the forecast. Its logarithm moves with the root of time, so that this takes the
        square of the distance.
        """
        judged_ns, structure = self._judged
        if self._config.gate != "enforce" or structure is None or view.now_ns - judged_ns >= _SELECTED_NS:
            return False
        if not structure.all_bought:
            return False
        vol = self.horizon.forecast(view, structure).vol
        if not 0.0 < vol < self._least_vol:
            return False
        falls = math.log(vol / self._least_vol) / _FALL
        if view.now_ns - self._measured_ns >= falls * falls * _FALL_NS:
            level = self._level(structure, view)
            if level is None:
                return False
            self._note_level(level, view.now_ns)
        return vol < self._least_vol

    def _note_level(self, level: float, now_ns: int) -> None:
        self._measured_ns, self._least_vol = now_ns, self._config.min_vol_ratio * level

    def _level(self, structure: Structure, view: DeskView) -> float | None:
        """Return the market's level to the horizon, from the smile of a straddle's expiry; None without."""
        leg, contract, _ = structure.by_expiry[0][0]
        smile = view.delta_engine.smile(leg, view.now_ns)
        if smile is None or smile.variance_years <= 0.0:
            return None
        horizon = self.horizon.years(view)
        if horizon < smile.variance_years:
            implied = self._implied_to_horizon(contract, smile, horizon, view)
            if implied is not None:
                return implied
        return self._expiry_level(smile)

    def _expiry_level(self, smile: ExpirySmile) -> float:
        """Return the market's level to a smile's own expiry."""
        vols = SviVols(smile.svi, smile.variance_years)
        return level_of(vols, smile.variance_years, self._config.level)

    def judge(self, best: Candidate, view: DeskView, hedger: DeltaHedger) -> EntryVerdict:
        """Return whether to buy this straddle, with reasons and figures."""
        if not self._config.asks_edge:
            return EntryVerdict(True, (), {}, False)
        forecast = self.horizon.forecast(view, best.structure)
        # sitting out the whole spread once in and once out is two half-spreads
        fees = 2.0 * option_fees(view, best.structure)
        inputs = self._inputs(best.structure, view, hedger, forecast, half_spreads=best.spread, fees=fees)
        verdict = self._gate.judge(inputs, forecast)
        if verdict.edge is not None:
            self._judged = view.now_ns, best.structure
            self._note_level(verdict.edge.implied_level, view.now_ns)
        facts: Facts = {"forecast_model": forecast.model}
        if forecast.known:
            facts |= {"forecast_vol": forecast.vol, "forecast_stderr": forecast.stderr}
        edge = verdict.edge
        if edge is not None:
            facts |= {
                "implied_level": edge.implied_level,
                "level": self._config.level,
                "edge_usd": edge.net_usd,
                "edge_stderr_usd": edge.stderr_usd,
                "edge_needed_usd": self._gate.needed_usd(edge),
                "edge_gross_usd": edge.gross_usd,
                "edge_spread_usd": edge.spread_usd,
                "edge_hedge_cost_usd": edge.hedge_cost_usd,
                "hedge_band_shares": self._band_shares,
            }
            if edge.fees_usd:
                facts["edge_fees_usd"] = edge.fees_usd
        gate = self._config.gate
        label = "entry gate: " if verdict.passed else "entry gate refuses: "
        if gate != "enforce":
            label = f"entry gate ({gate}) would {'pass' if verdict.passed else 'refuse'}: "
        reasons = tuple(label + why for why in verdict.reasons)
        has_edge = verdict.passed and gate != "off"
        needed = 0.0 if edge is None else self._gate.needed_usd(edge)
        is_let = verdict.passed or gate != "enforce"
        return EntryVerdict(is_let, reasons, facts, has_edge, edge, needed, verdict.failed)

    def left(self, structure: Structure, view: DeskView, hedger: DeltaHedger) -> Edge | None:
        """Return what holding on is worth beside selling now; None when unknown.

        Spread and fees of getting out are paid either way and do not count: see :func:`cost_of_one`.
        """
        forecast = self.horizon.forecast(view, structure)
        for leg in structure.option_ids:
            quote = view.market.quotes[leg]
            if quote is None or not quote.ask > quote.bid > 0 or view.market.is_stub(quote):
                return None
        inputs = self._inputs(structure, view, hedger, forecast, half_spreads=0.0, fees=0.0)
        if inputs is None or not forecast.known:
            return None
        return shifted_edge(inputs, forecast.vol, forecast.stderr)

    def new_strike(
        self, structure: Structure, structures: Sequence[Structure], view: DeskView
    ) -> tuple[Structure, Recentring] | None:
        """Compare a straddle with the one at the money of its expiry; None if held or a figure is missing."""
        forecast, spot = self.horizon.forecast(view, structure), view.market.mark(view.underlying)
        lead, held, _ = structure.lead
        if spot is None or not forecast.known or not view.delta_engine.knows_forward(lead, view.now_ns):
            return None
        near = [
            each
            for each in structures
            if (each.first_expiry, each.last_expiry) == (structure.first_expiry, structure.last_expiry)
            and each.lead.contract.root == held.root
        ]
        value = view.delta_engine.state(lead, view.now_ns)
        forward = spot if value is None else forward_of(structure, value)
        new = min(near, key=lambda each: abs(float(each.lead.contract.strike) - forward), default=structure)
        legs = (*structure.option_ids, *new.option_ids)
        is_quoted = all(view.market.verdict(leg, view.now_ns) in FINE for leg in legs)
        if new == structure or not is_quoted:
            return None
        left = view.delta_engine.variance_years(view.now_ns, expiry_instant_ns(structure.nearest))
        if left <= 0.0:
            return None
        gammas, vols, cost = [], [], 0.0
        for each in (structure, new):
            values = [view.delta_engine.state(leg, view.now_ns) for leg in each.option_ids]
            known = [value for value in values if value is not None and value.years > 0.0]
            if len(known) < len(values):
                return None
            most, delta = self._most_delta, each.total(value.greeks.delta for value in known)
            if each is new and most is not None and exceeds(abs(100.0 * delta), most):
                return None
            by_clock = math.sqrt(min(value.years for value in known) / left)
            gammas.append(
                held.multiplier * each.total(_paid_gamma(view, value.greeks, value.spot) for value in known)
            )
            contracts = each.total_of_all(1.0 for _ in known)
            vols.append(each.total_of_all(by_clock * value.vol for value in known) / contracts)
            cost += held.multiplier * cost_of_one(view, each)
        found = recentring(
            spot,
            (gammas[0], gammas[1]),
            (vols[0], vols[1]),
            forecast.vol,
            min(self.horizon.years(view), left),
            cost,
        )
        return new, found

    def _inputs(
        self,
        structure: Structure,
        view: DeskView,
        hedger: DeltaHedger,
        forecast: VolForecast,
        *,
        half_spreads: float,
        fees: float,
    ) -> EdgeInputs | None:
        """Return the straddle on its expiry's smile; None without one, or without both sides of the hedge."""
        engine, now_ns, contract = view.delta_engine, view.now_ns, structure.lead.contract
        by_expiry = structure.by_expiry
        engine.follow([legs[0].option_id for legs in by_expiry], now_ns)
        smiles = [engine.smile(legs[0].option_id, now_ns) for legs in by_expiry]
        states = {leg: engine.state(leg, now_ns) for leg in structure.option_ids}
        share = view.market.quotes[view.underlying]
        values = {leg: value for leg, value in states.items() if value is not None}
        if len(values) < len(states) or not forecast.known:
            return None
        if share is None or view.market.verdict(view.underlying, 0) not in FINE:  # however old it is
            return None  # of one side alone: what hedging costs is not known
        known = [smile for smile in smiles if smile is not None and smile.variance_years > 0.0]
        if len(known) < len(smiles):
            return None
        on_smile = [_LegsOnSmile(values, legs, smile) for legs, smile in zip(by_expiry, known, strict=True)]
        gammas = (each.total(lambda at: _hedged_gamma(view, at, share.mid)) for each in on_smile)
        gamma = abs(sum(gammas, 0.0))
        nearest = known[0]
        horizon = min(self.horizon.years(view), nearest.variance_years)
        return EdgeInputs(
            expiries=tuple(each.expiry for each in on_smile),
            half_spreads=max(half_spreads, 0.0),
            fees=fees,
            hedge_cost_usd=self._hedge_cost_usd(
                gamma, contract.multiplier, nearest, view, hedger, forecast, horizon
            ),
            multiplier=contract.multiplier,
            all_bought=structure.all_bought,
            currency=contract.currency,
            horizon_years=horizon,
            implied_to_horizon=self._implied_to_horizon(structure.nearest, nearest, horizon, view),
            level=self._config.level,
        )

    def _implied_to_horizon(
        self,
        contract: OptionContract,
        smile: ExpirySmile,
        horizon_years: float,
        view: DeskView,
    ) -> float | None:
        """Return the market's level to the horizon, from the expiries around it; None without such expiries.

        The ratio to the level of the straddle's own expiry moves slowly: it is measured every five minutes.
        """
        expires_ns = expiry_instant_ns(contract)
        measured_ns, ratio = self._ratios.get(expires_ns, (0, None))
        if view.now_ns - measured_ns >= _RATIO_NS:
            ratio = self._measured_ratio(contract, smile, horizon_years, view)
            self._ratios[expires_ns] = view.now_ns, ratio
        if ratio is None:
            return None
        return ratio * self._expiry_level(smile)

    def _measured_ratio(
        self, contract: OptionContract, smile: ExpirySmile, horizon_years: float, view: DeskView
    ) -> float | None:
        level = self._config.level
        own = self._expiry_level(smile)
        before, after = (0.0, 0.0), (smile.variance_years, own**2 * smile.variance_years)
        # of a listing of years only the weeks up to the straddle's expiry
        start, end = (
            bisect_left(self._expiries, (contract.root, at_ns, InstrumentId(0)))
            for at_ns in (view.now_ns + 1, expiry_instant_ns(contract))
        )
        sooner = [
            (view.delta_engine.variance_years(view.now_ns, at_ns), leg)
            for _, at_ns, leg in self._expiries[start:end]
        ]

        def nearest(sides: Iterable[tuple[float, InstrumentId]]) -> tuple[float, float] | None:
            for years, leg in sides:
                near = view.delta_engine.smile(leg, view.now_ns)
                if near is not None and near.spans_money:
                    return years, level_of(SviVols(near.svi, years), years, level) ** 2 * years
            return None

        before = nearest(side for side in reversed(sooner) if side[0] <= horizon_years) or before
        after = nearest(side for side in sooner if horizon_years < side[0] < after[0]) or after
        if before[0] == 0.0 and after[0] == smile.variance_years:
            return None
        return level_between(before, after, horizon_years) / own

    def _hedge_cost_usd(
        self,
        gamma: float,
        multiplier: int,
        smile: ExpirySmile,
        view: DeskView,
        hedger: DeltaHedger,
        forecast: VolForecast,
        horizon_years: float,
    ) -> float:
        """Expected cost of hedging one straddle over the horizon with the hedger's band."""
        quote = view.market.quotes[view.underlying]
        if quote is None or not gamma > 0.0:
            return 0.0
        hedge, traded = view.instruments[view.hedge], view.market.quotes[view.hedge]
        if traded is None:
            return 0.0
        cost_per_unit = hedger.cost_per_unit(view, traded)
        if view.hedge != view.underlying:  # for a unit of the underlying's delta
            cost_per_unit *= quote.mid / traded.mid
        inputs = HedgeInputs(
            net_delta_shares=0.0,
            gamma_shares_per_usd=gamma * multiplier * self._straddles,
            spot=quote.mid,
            years=smile.years,
            vol=max(float(smile.vols(np.zeros(1))[0]), 1e-4),
            rate=view.delta_engine.rate(smile.years),
            straddles=self._straddles,
            multiplier=multiplier,
            seconds_since_hedge=0.0,
            own_cost_fraction=cost_per_unit / quote.mid,
            trading_year_seconds=TRADING_YEARS[hedge.is_coin],
            smallest_hedge=view.hedge_delta(float(hedge.step), traded.mid),
        )
        self._band_shares = hedger.band.judge(inputs).half_width_shares
        one_way = inputs.own_cost_fraction if hedge.is_inverse else cost_per_unit  # of a coin in coins
        days = horizon_years * SESSIONS_PER_YEAR
        least = hedger.least_fraction
        cost = expected_cost(hedger.band, inputs, forecast.vol, days, one_way, least_fraction=least)
        self.rehedges = cost.rehedges
        return cost.cost_usd / self._straddles

    def risk_of(self, best: Candidate, view: DeskView, edge: Edge | None) -> StraddleRisk:
        """Return what one set costs and risks; without an edge it earns nothing and its error is 0."""
        contract = best.structure.nearest
        units, lead = contract.multiplier, best.states[0]
        spot = lead.spot
        premium = units * _capital(view, best.structure, spot)
        gamma = units * best.structure.total(_paid_gamma(view, each.greeks, spot) for each in best.states)
        vega = units * best.structure.total(
            each.greeks.vega * vega_weight(each.years) for each in best.states
        )
        left = view.delta_engine.variance_years(view.now_ns, expiry_instant_ns(contract))
        by_clock = lead.years / left if left > 0.0 else 1.0
        variance = best.vol**2 * by_clock
        theta = -0.5 * gamma * spot * spot * variance / days_a_year(view)
        net, stderr = (0.0, 0.0) if edge is None else (edge.net_usd, edge.stderr_usd)
        forecast = self.horizon.forecast(view, best.structure)
        # one variance for edge, deviation and stress: the market's, or that which is expected to come
        vol = max(math.sqrt(variance), forecast.vol if forecast.known else 0.0)
        years = self.horizon.years(view, best.structure)
        deviation = pnl_deviation(gamma, spot, vol, years, self.rehedges, stderr, vega / 100)
        stress = self._stress(best, view, vol, vega)
        return StraddleRisk(premium, vega / 100, theta, net, stderr, deviation.total, stress)

    def _stress(self, best: Candidate, view: DeskView, vol: float, vega: float) -> float:
        """Return what one set loses by a large move of the spot and of its volatility in a session.

        ``vol``: A fraction a year of the variance clock.
        ``vega``: Of one set, for 1.00 of 30-day volatility.
        """
        if best.structure.all_bought:
            return 0.0  # no more than the premium, which has a limit of its own
        sigmas = STRESS_SIGMAS / math.sqrt(days_a_year(view))
        lines = [
            StressLine(Holding(leg.contract, Decimal(leg.ratio), exact(state.mark)), "", 1.0, state)
            for leg, state in zip(best.structure.legs, best.states, strict=True)
        ]
        return float(largest_loss(lines, {"": sigmas * vol})) + abs(vega) * vol * VOL_OF_VOL * sigmas


class _LegsOnSmile:
    """Legs of one expiry, priced at volatilities of its smile."""

    def __init__(
        self, values: Mapping[InstrumentId, OptionState], legs: Sequence[StructureLeg], smile: ExpirySmile
    ) -> None:
        self._legs, self._values = legs, [values[leg.option_id] for leg in legs]
        self._to_calendar = math.sqrt(smile.variance_years / smile.years)
        strikes = np.array([smile.log_moneyness(leg.contract) for leg in legs])
        svi = SviVols(smile.svi, smile.variance_years)
        self.expiry = EdgeExpiry(svi, smile.variance_years, strikes, self._price)
        self._greeks = self._greeks_at(smile.vols(strikes))

    def _greeks_at(self, vols: Floats) -> list[OptionGreeks]:
        pairs = zip(self._values, vols.tolist(), strict=True)
        return [value.greeks_at(vol * self._to_calendar) for value, vol in pairs]

    def total(self, figure: Callable[[OptionGreeks], float]) -> float:
        """Return a figure of the legs on the market's smile, by their signed ratios."""
        return _total(self._legs, (figure(each) for each in self._greeks))

    def _price(self, vols: Floats) -> float:
        return _total(self._legs, (each.price for each in self._greeks_at(vols)))


def _total(legs: Sequence[StructureLeg], figures: Iterable[float]) -> float:
    return sum((leg.ratio * figure for leg, figure in zip(legs, figures, strict=True)), 0.0)


def _hedged_gamma(view: DeskView, greeks: OptionGreeks, spot: float) -> float:
    """Return what the net delta of an option and its hedge gains a unit of the spot."""
    if view.instruments[view.underlying].is_inverse:
        return gamma_beside_perpetual(greeks.gamma, greeks.delta, spot)
    return greeks.gamma


def _paid_gamma(view: DeskView, greeks: OptionGreeks, spot: float) -> float:
    """Return the gamma of a hedged option, of which ½ΓdS² is in the currency of its premium."""
    if view.instruments[view.underlying].is_inverse:
        return gamma_in_coin(greeks.gamma, greeks.delta, spot)
    return greeks.gamma


def cost_of_one(view: DeskView, structure: Structure) -> float:
    """Return what trading a set once costs, half spreads and fees, currency per unit."""
    quotes = [view.market.quotes[leg] for leg in structure.option_ids]
    spreads = (0.0 if quote is None else max(quote.ask - quote.bid, 0.0) for quote in quotes)
    return 0.5 * structure.total_of_all(spreads) + option_fees(view, structure)


def option_fees(view: DeskView, structure: Structure) -> float:
    """Return what one execution of each contract of a set costs, currency per unit.

    On a coin alone: a straddle on a share pays cents, which its smallest edge stands far above.
    """
    if not view.instruments[view.underlying].is_coin:
        return 0.0
    quotes = [(view.instruments[leg], view.market.quotes[leg]) for leg in structure.option_ids]
    schedule = view.fees.on(trade_date(view.now_ns))
    return structure.total_of_all(
        float(schedule.fee(option, Side.BUY, Decimal(1), exact(quote.mid)))
        if quote is not None and quote.mid > 0.0
        else 0.0
        for option, quote in quotes
    )


def _capital(view: DeskView, structure: Structure, spot: float) -> float:
    """Return what a set ties up, currency per unit: what Regulation T asks, less what its sold legs bring.

    That holds the price of what is bought. Where bought legs cover sold ones, it is the most that can be lost
    (:func:`.bounds_of`); elsewhere the rule's own amount stands for a loss without a bound.
    """
    paid = received = 0.0
    holdings = []
    for leg in structure.legs:
        quote = view.market.quotes[leg.option_id]
        price = 0.0 if quote is None else quote.ask if leg.ratio > 0 else quote.bid
        holdings.append(Holding(leg.contract, Decimal(leg.ratio), exact(price)))
        if leg.ratio > 0:
            paid += leg.ratio * price
        else:
            received -= leg.ratio * price
    if structure.all_bought:
        return paid
    return float(Pairing(holdings, exact(spot)).initial) / structure.nearest.multiplier - received


def early_exercise_gain(
    view: DeskView, structure: Structure, partners: Mapping[InstrumentId, InstrumentId]
) -> tuple[float, bool]:
    """Return what exercising a leg at the close gains its holder over keeping it, in the session's last hour.

    Per unit, with whether the leg is sold: it is likely to be assigned then. Not above zero where all are
    better kept: by so much a leg's price may change before one is not; minus infinity before that hour.
    ``partners`` has the other option of each leg's strike and expiry. The rule is :func:`exercise_gain`'s; a
    dividend that has been announced is in the put already.
    """
    assert view.session is not None
    session = view.session
    if view.now_ns < session.close_ns - LAST_HOUR_NS:
        return NO_GAIN
    gains = (
        (_exercise_gain(view, leg.contract, leg.option_id, partners.get(leg.option_id)), leg.ratio < 0)
        for leg in structure.legs
        if leg.contract.style is Style.AMERICAN
    )
    return max(gains, default=NO_GAIN)


def _exercise_gain(
    view: DeskView, contract: OptionContract, leg: InstrumentId, partner: InstrumentId | None
) -> float:
    """Return what exercising an option now gains over keeping it, currency per unit.

    Below zero by what is missing; 0 where that is not known.
    """
    assert view.session is not None
    own, other = (
        None if each is None else view.delta_engine.state(each, view.now_ns) for each in (leg, partner)
    )
    if own is None or other is None:
        return 0.0
    if not own.years > 0.0:
        return -math.inf
    calls = own if contract.is_call else other
    opens_ns, expires_ns = next_session(view.session.day).open_ns, expiry_instant_ns(contract)

    def put_price() -> float | None:
        # at the volatility that the strike's call shows: the put's own says nothing at its payoff
        put = view.delta_engine.greeks_at(leg, view.now_ns, calls.vol)
        return None if put is None else put.price

    return exercise_gain(
        contract,
        calls.spot,
        other.mark,
        years=calls.years,
        rate=calls.rate,
        night_years=years_between(view.now_ns, opens_ns),
        # for a dividend that is only expected nothing is exercised
        tonight=paid_between(view.market.dividends, view.underlying, view.now_ns, min(opens_ns, expires_ns)),
        ahead=value_ahead(calls.dividends, calls.years, 0.0),
        put_price=put_price,
    )
