"""The delta hedge of an options position: any band, any volatility of the delta, one order at a time."""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial

import msgspec

from scalpdesk.closing.leg import Tactics
from scalpdesk.closing.plan import TargetLine
from scalpdesk.core.enums import DecisionKind
from scalpdesk.core.events import Event, FillBusted, OrderFilled, QuoteEvent
from scalpdesk.core.intents import Purpose, Side
from scalpdesk.core.structs import FrozenLeaf
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, SECONDS_PER_YEAR, InstrumentId, exact
from scalpdesk.hedging.base import (
    TRADING_YEAR_SECONDS,
    AdjustsVol,
    BandVerdict,
    HedgeBand,
    HedgeInputs,
    QuietBand,
    StatesQuiet,
)
from scalpdesk.hedging.delta_models import (
    STICKY_DELTA,
    DeltaModel,
    least_hedge,
    minimum_variance_delta,
    skew_delta,
)
from scalpdesk.hedging.sizing import perpetual_trade_usd, quantity_to_target
from scalpdesk.instruments.contract import Instrument
from scalpdesk.instruments.fees import trade_date
from scalpdesk.instruments.sessions import Session, previous_session
from scalpdesk.marketdata.quotes import GOOD, TRADABLE, QuoteVerdict
from scalpdesk.orders.order import Order
from scalpdesk.portfolio.delta_engine import OptionState
from scalpdesk.portfolio.greeks import GreekSum, PositionGreeks, gamma_beside_perpetual
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.strategies.contract import DeskView, Facts, Proposal
from scalpdesk.strategies.toolkit.order_life import cancels_of
from scalpdesk.strategies.toolkit.pursuit import Pursuit

# looking up an enum's member costs as much as a call
BUY, SELL, HEDGE = Side.BUY, Side.SELL, Purpose.HEDGE
FINE = TRADABLE
_CONTRADICTED = QuoteVerdict.CONTRADICTED
_UNUSABLE = frozenset({QuoteVerdict.ABSENT, QuoteVerdict.CROSSED, QuoteVerdict.NON_FINITE, _CONTRADICTED})
_LONG_AGO_SECONDS = 1e9
"""Stands for no hedge so far."""
_FIRST_QUOTES_NS = MINUTE_NS
"""Longest wait of a session's first hedge for its options' first quotes; most come within seconds."""
_LAST_QUOTES_NS = 10 * MINUTE_NS
"""A leg without a quote in that time before a close is lost already: nothing waits for it."""
LARGEST = 1e15
_MANY = Decimal(10**9)
"""Contracts whose fee shows the rate: that of one is rounded."""
TRADING_YEARS = {False: TRADING_YEAR_SECONDS, True: SECONDS_PER_YEAR}
"""Trading seconds of a year, by whether the hedge is a coin's perpetual, which never stops."""


class HedgedPosition(FrozenLeaf, frozen=True, gc=False):
    """A position with its hedge as of now."""

    greeks: PositionGreeks
    inputs: HedgeInputs
    least_shares: int = 1
    """A smaller hedge is less than the noise of its own delta."""
    modelled: str = ""
    """Legs without a quote, whose delta is the model's, in words; empty where all are quoted."""
    gross_gamma: float = 0.0
    """Sum of the sizes of the legs' gammas, shares per currency unit."""
    vol_slope: float = 0.0
    """Sum of the sizes of what the legs' deltas gain with their volatility, as a part of it, shares."""

    @property
    def net_delta_contracts(self) -> float:
        """Net delta in contract deltas, shares held and ordered included."""
        return self.inputs.net_delta_shares / self.inputs.multiplier


class _LegGreeks(FrozenLeaf, frozen=True, gc=False):
    greeks: PositionGreeks
    vol: float
    years: float
    multiplier: int
    least_shares: int
    modelled: str
    gross_gamma: float
    vol_slope: float


def _no_forecast(_view: DeskView) -> None:
    """Return None: the forecast of a strategy without one."""


class DeltaHedger:
    """Keeps the net delta of a position inside its band.

    ``band``: When to hedge, and how far.
    ``delta_model``: Volatility of the delta.
    ``order_ttl_seconds``: Age at which a hedge order that is not filled is cancelled and gets a new size.
    ``least_fraction``: A hedge of less than this part of the band's half width is not sent.
    ``passive_seconds``: A hedge rests for so long as a limit at the near side, then crosses; at once where
    the delta has left twice the band meanwhile. None crosses from the start.
    ``forecast_vol``: Gives the forecast volatility (fraction a year) where the delta model asks for it.
    ``strict_quotes``: Do not hedge on a leg whose latest quote is absent, crossed or no number. On one that
    is too old the hedge goes on, at its last volatility and the present spot.
    """

    def __init__(
        self,
        band: HedgeBand,
        delta_model: DeltaModel,
        *,
        order_ttl_seconds: float,
        least_fraction: float = 0.0,
        passive_seconds: float | None = None,
        forecast_vol: Callable[[DeskView], float | None] = _no_forecast,
        strict_quotes: bool = False,
    ) -> None:
        self.band = band
        self._adjusts_vol = band if isinstance(band, AdjustsVol) else None
        """The band as one that changes the volatility; asked once, for the question costs 10 µs."""
        self._states_quiet = band if isinstance(band, StatesQuiet) else None
        self._judged: tuple[int, HedgedPosition, BandVerdict] | None = None
        """The last look: its instant, the position and the band's verdict."""
        self._delta_model = delta_model
        self.goes_by_quotes = delta_model.source == "implied"
        """Whether each leg's delta goes by its own quote, not by its strike's volatility."""
        self._crossing = Pursuit(Tactics(retry_seconds=order_ttl_seconds, pause_seconds=0.0))
        self._resting = self._crossing
        if passive_seconds is not None:
            resting = Tactics(retry_seconds=passive_seconds, pause_seconds=0.0, rests_near=True)
            self._resting = Pursuit(resting)
        self.least_fraction = least_fraction
        self._passive_seconds = passive_seconds
        self._crosses = passive_seconds is None
        """Whether the next hedge goes to the far side."""
        self._forecast_vol = forecast_vol
        self._strict_quotes = strict_quotes
        self.unusable = ""
        """The option that cannot be hedged on, and why; empty while all can be."""
        self._sets: int | None = None
        self._last_hedge_ns: int | None = None
        self._sent_ns: int | None = None
        self._fees_usd = self._shares_filled = self._fee_per_share = 0.0
        """Sums over the hedges in shares so far."""
        self._session: Session | None = None
        self._unfinished: float | None = None
        """Net delta that a hedge across zero was meant to reach, until its second order is out."""

    def begin(
        self,
        since_ns: int | None = None,
        *,
        entry_vols: Mapping[InstrumentId, float] | None = None,
        sets: int | None = None,
    ) -> None:
        """Start with a new position.

        ``since_ns``: Instant from which the time since the last hedge counts; None: the first is due at once.
        From then on it counts from the fill of a whole hedge (:meth:`note_fill`).
        ``entry_vols``: Implied volatilities at entry, by leg.
        ``sets``: Sets of the structure held; None takes the largest quantity of a leg.
        """
        self._sets = sets
        self._last_hedge_ns = since_ns
        self._unfinished = None
        self.unusable = ""
        self._delta_model.begin(entry_vols or {})

    def resize(self, sets: int) -> None:
        """Go on with another number of sets of the same structure."""
        self._sets = sets

    def note_fill(self, view: DeskView, event: Event) -> None:
        """Start the clock of the next hedge where a hedge has been filled whole.

        One that is rejected, refused, expires or is filled in part leaves the clock where it was: what it
        should have hedged is still open. After one that is taken back the next is due at once.
        """
        order = None if type(event) is QuoteEvent else view.order_of(event)  # most often it is one
        if (
            order is None
            or order.submitted.instrument_id != view.hedge
            or order.submitted.purpose is not HEDGE
        ):
            return
        if self._passive_seconds is not None and isinstance(event, OrderFilled) and not order.is_live:
            self._crosses = False
        hedge = view.instruments.by_id[view.hedge]
        if isinstance(event, OrderFilled) and not hedge.is_coin:
            self._fees_usd += float(event.fee)
            self._shares_filled += float(event.quantity) * hedge.multiplier
            self._fee_per_share = self._fees_usd / self._shares_filled
        if isinstance(event, FillBusted):
            self._last_hedge_ns = None
        elif isinstance(event, OrderFilled) and not order.is_live and self._unfinished is None:
            self._last_hedge_ns = view.now_ns

    def step(
        self,
        view: DeskView,
        legs: Sequence[InstrumentId],
        exposure: HedgedPosition | None = None,
        *,
        at_once: bool = False,
    ) -> list[Proposal]:
        """Return the order that brings the net delta back once it has left the band.

        ``view``, ``legs``: The desk, and the options held.
        ``exposure``: As measured at this wake, where the caller has asked already.
        ``at_once``: Leave the time since the last hedge out of account.
        """
        number = view.hedge
        if view.orders.live:
            cancels = self._tend_orders(view, legs, exposure)
            if cancels is not None:
                return cancels
        is_proxy, verdict = number != view.underlying, view.market.verdict
        if verdict(view.underlying, view.now_ns) not in FINE:
            return []
        # also while the hedge has no fresh quote: the volatility of the delta learns from every look
        exposure, quote = exposure or self.measure(view, legs), view.market.quotes[number]
        if exposure is None or quote is None or (is_proxy and verdict(number, view.now_ns) not in FINE):
            return []
        if at_once:
            now = msgspec.structs.replace(exposure.inputs, seconds_since_hedge=_LONG_AGO_SECONDS)
            exposure = msgspec.structs.replace(exposure, inputs=now)
        inputs, judged, unfinished = exposure.inputs, self.verdict(exposure), self._unfinished
        if judged.inside and unfinished is None:
            return []
        # of one instant's events the first hedge counts: what the next one shows is not a move yet
        if view.now_ns == self._sent_ns and unfinished is None:
            return []
        if not view.is_compared:  # refused, a second order would be forgotten
            return []
        target = judged.target_delta_shares if not judged.inside or unfinished is None else unfinished
        hedge = view.instruments.by_id[number]
        unit, quantity = _smallest_orders(view, inputs.net_delta_shares, target, quote.mid)
        beyond = inputs.net_delta_shares - target
        least = self.least_fraction * judged.half_width_shares if unfinished is None else 0.0
        owned = int(view.positions.quantity(number) / hedge.step)
        held, within = owned * hedge.step, exposure.least_shares * hedge.step
        wanted = held if -least < beyond < least else held + quantity * hedge.step
        line = TargetLine("", number, held, wanted, within, HEDGE)
        orders = self._pursuit(judged.reason).plan(view, (line,), view.orders.live_for(number)).orders
        if not orders:
            if not view.orders.live_for(number) and not view.is_halted(number):
                self._unfinished = None
            return []
        intent = orders[0]
        sent = int(intent.signed_quantity / hedge.step)
        self._sent_ns = view.now_ns
        # a sell may not exceed the long holding: the rest follows, from a fresh delta, once this is done
        self._unfinished = None if sent == quantity else target
        facts = self._facts(exposure, judged, quote.mid, owned, sent, unit)
        if is_proxy and unit != 1.0:
            facts |= _proxy_facts(view, inputs, quote, sent, unit)
        facts |= judged.facts
        by_model = (exposure.modelled,) if exposure.modelled else ()
        if unfinished is None:
            return [Proposal(DecisionKind.HEDGE, (judged.reason, *by_model), facts, (intent,))]
        words = f"{facts['quantity_shares']:+} shares to {target:+.2f}"
        why = f"second order of the hedge: the holding crosses zero, {words}"
        return [Proposal(DecisionKind.HEDGE_SECOND_ORDER, (why, *by_model), facts, (intent,))]

    def _pursuit(self, why: str) -> Pursuit:
        """Return how the next hedge is tried: at once, or waiting at the near side."""
        pursuit = self._crossing if self._crosses else self._resting
        pursuit.why = why
        return pursuit

    def verdict(self, exposure: HedgedPosition) -> BandVerdict:
        """Return the band's verdict on a position as measured, judged once."""
        if self._judged is None or self._judged[1] is not exposure:
            self._judged = exposure.inputs.now_ns, exposure, self.band.judge(exposure.inputs)
        return self._judged[2]

    def measured(self, now_ns: int) -> HedgedPosition | None:
        """Return the position of a look of now; None where there was none."""
        return None if self._judged is None or self._judged[0] != now_ns else self._judged[1]

    def quiet(self, now_ns: int) -> tuple[HedgedPosition, QuietBand, float] | None:
        """Return the position of a look of now, what its band states, and the least hedge, in deltas.

        None where the band states nothing, a second order is to come, or deltas go by a smile of each minute.
        """
        position, by_smile = self.measured(now_ns), self._delta_model.dynamics == "sticky_delta"
        if position is None or self._states_quiet is None or self._unfinished is not None or by_smile:
            return None
        found = self._states_quiet.quiet(position.inputs, self.verdict(position))
        if found is None:
            return None
        return position, found, (position.least_shares - 0.5) * position.inputs.smallest_hedge

    def _facts(
        self, exposure: HedgedPosition, judged: BandVerdict, mid: float, owned: int, sent: int, unit: float
    ) -> Facts:
        """Return what the band judged by, what is owned of the hedge, and what is ordered, in shares.

        ``owned``, ``sent``: In smallest orders, each of ``unit`` shares.
        """
        inputs = exposure.inputs
        facts: Facts = {
            "spot": mid,
            "option_delta_shares": inputs.net_delta_shares - exposure.greeks.owned_shares,
            "owned_shares": owned * unit,
            "net_delta_shares": inputs.net_delta_shares,
            "half_width_shares": judged.half_width_shares,
            "gamma_shares_per_usd": inputs.gamma_shares_per_usd,
            "hedge_vol": inputs.vol,
            "hedge_vol_source": self._delta_model.source,
            "quantity_shares": sent * unit,
        }
        if unit == 1.0:  # whole shares are whole numbers, compiled too
            facts["owned_shares"], facts["quantity_shares"] = owned, sent
        if not judged.half_width_shares:  # a clock's: no width that the delta could be beyond
            del facts["half_width_shares"]
        return facts

    def _tend_orders(
        self, view: DeskView, legs: Sequence[InstrumentId], exposure: HedgedPosition | None
    ) -> list[Proposal] | None:
        """Take late hedges back, and look after one that rests; None where nothing stops the next."""
        number, live = view.hedge, view.orders.live_for(view.hedge)
        held = view.positions.quantity(number)
        as_it_is = TargetLine("", number, held, held)
        late = self._pursuit("").plan(view, (as_it_is,), live).cancels if live else ()
        if late:
            self._crosses = True
            return [Proposal(DecisionKind.HEDGE, ("hedge not filled in time: size it again",), {}, late)]
        waiting = [] if self._crosses or self._passive_seconds is None else live
        return self._hurry(view, legs, exposure, waiting) if waiting else None

    def _hurry(
        self,
        view: DeskView,
        legs: Sequence[InstrumentId],
        exposure: HedgedPosition | None,
        waiting: Sequence[Order],
    ) -> list[Proposal]:
        """Take a resting hedge back once the delta, without it, has left twice the band."""
        quote, exposure = view.market.quotes[view.hedge], exposure or self.measure(view, legs)
        if exposure is None or quote is None:
            return []
        pending = view.hedge_delta(float(view.orders.pending(view.hedge)), quote.mid)
        still_open = exposure.inputs.net_delta_shares - pending
        judged = self.band.judge(msgspec.structs.replace(exposure.inputs, net_delta_shares=still_open))
        if abs(still_open) <= 2.0 * judged.half_width_shares:
            return []
        self._crosses = True
        why = f"the delta has left twice the band ({still_open:+.1f} shares): the hedge crosses"
        return [Proposal(DecisionKind.HEDGE, (why,), {}, cancels_of(waiting, why))]

    def measure(self, view: DeskView, legs: Sequence[InstrumentId]) -> HedgedPosition | None:
        """Return the position's Greeks and the band's inputs; None while they are not known."""
        self.unusable, number = "", view.underlying
        quote = view.market.quotes[number]
        if view.market.verdict(number, view.now_ns) is _CONTRADICTED:
            symbol = view.instruments[number].symbol
            self.unusable = f"{symbol}: its sides, or its quote and its options', contradict each other"
            return None
        known = self._leg_greeks(view, legs, 1.0)
        # at the expiry instant the payoff is fixed: settlement decides, not a hedge
        if known is None or quote is None or not quote.mid > 0.0 or known.years <= 0.0:
            return None
        inputs = self._inputs(view, quote, known, legs)
        if self._adjusts_vol is not None and known.vol > 0.0:  # Leland: the volatility that costs leave
            vol = self._adjusts_vol.delta_vol(inputs) or known.vol
            again = self._leg_greeks(view, legs, vol / known.vol)
            if again is not None:
                known = again
                inputs = msgspec.structs.replace(
                    inputs,
                    net_delta_shares=again.greeks.net_delta_shares,
                    gamma_shares_per_usd=again.greeks.gamma_shares_per_usd,
                    vol=again.vol,
                )
        sizes = known.gross_gamma, known.vol_slope
        return HedgedPosition(known.greeks, inputs, known.least_shares, known.modelled, *sizes)

    def _inputs(
        self, view: DeskView, quote: QuoteEvent, known: _LegGreeks, legs: Sequence[InstrumentId]
    ) -> HedgeInputs:
        sets = self._sets
        if sets is None:
            sets = max(int(max(abs(view.positions.quantity(leg)) for leg in legs)), 1)
        underlying = view.instruments.by_id[view.underlying]
        is_coin, traded = underlying.is_coin, quote
        if view.hedge == view.underlying:
            smallest = underlying.delta(float(underlying.step), quote.mid)
        else:
            traded = view.market.quotes[view.hedge] or quote
            smallest = _smallest_delta(view, traded.mid)
        return HedgeInputs(
            net_delta_shares=known.greeks.net_delta_shares,
            gamma_shares_per_usd=known.greeks.gamma_shares_per_usd,
            spot=quote.mid,
            years=known.years,
            vol=known.vol,
            rate=view.delta_engine.rate(known.years),
            straddles=sets,
            multiplier=known.multiplier,
            seconds_since_hedge=self._seconds_since_hedge(view),
            own_cost_fraction=self.cost_per_unit(view, traded) / traded.mid,
            now_ns=view.now_ns,
            underlying=underlying.symbol,
            dealer_gamma=view.market.gamma_exposures,
            trading_year_seconds=TRADING_YEARS[is_coin],
            smallest_hedge=smallest,
        )

    def cost_per_unit(self, view: DeskView, quote: QuoteEvent) -> float:
        """Return what trading one share or coin of the hedge costs one way: half the spread and the fee."""
        fee = self._fee_per_share
        hedge = view.instruments.by_id[view.hedge]
        if hedge.is_coin:
            fee = _fee_of_a_coin(view, hedge, quote.mid)
        return max(0.5 * (quote.ask - quote.bid) + fee, 0.0)

    def _seconds_since_hedge(self, view: DeskView) -> float:
        """Trading seconds since the last hedge: nights and weekends do not count."""
        if self._last_hedge_ns is None:
            return _LONG_AGO_SECONDS
        session = view.session
        if session is not self._session and session is not None and session != self._session:
            if self._session is not None and self._last_hedge_ns < session.open_ns:
                self._last_hedge_ns += session.open_ns - self._session.close_ns
            self._session = session
        return (view.now_ns - self._last_hedge_ns) / NANOS_PER_SECOND

    def _leg_greeks(
        self, view: DeskView, legs: Sequence[InstrumentId], vol_factor: float
    ) -> _LegGreeks | None:
        """Greeks of what is held, at the chosen volatility times a factor; None while unknown."""
        number = view.hedge
        hedge, spot = view.instruments.by_id[number], view.market.mark(view.underlying)
        owned = float(view.positions.quantity(number) + view.orders.pending(number))
        price = spot if number == view.underlying or not owned else view.mark(number)
        if spot is None or price is None:
            self._note_unusable(view, view.underlying if spot is None else number, QuoteVerdict.ABSENT)
            return None
        total = GreekSum()
        total.shares = view.hedge_delta(owned, price)
        noise = bent = vol_sum = by_gamma = gamma_sum = first_vol = vol_slope = 0.0
        years, is_one_vol = math.inf, True
        multiplier, model, forecast_vol = 1, self._delta_model, partial(self._forecast_vol, view)
        modelled: list[str] = []
        if model.dynamics == "sticky_delta":
            view.delta_engine.follow(legs, view.now_ns, smile=True)
        first_ns, lost_ns = _waited_for(view)
        for leg in legs:
            last = view.market.quotes[leg] if first_ns else None
            if last is not None and lost_ns < last.ts_recv_ns < first_ns:
                self.unusable = f"{view.instruments[leg].symbol}: no quote of this session yet"
                return None
            verdict = view.market.verdict(leg, view.now_ns) if self._strict_quotes else GOOD
            valuation = None if verdict in _UNUSABLE else view.delta_engine.state(leg, view.now_ns)
            if valuation is None:
                self._note_unusable(view, leg, verdict)
                return None
            of_strike = valuation.strike_vol if model.source == "smile" else None
            implied, deviation = of_strike[:2] if of_strike else (valuation.own_vol, 0.0)
            vol = model.vol(leg, implied, forecast_vol) * vol_factor
            greeks = valuation.greeks_at(vol)
            if not abs(greeks.delta + (greeks.price if hedge.is_inverse else 0.0)) <= 1.0 + 1e-6:
                self._note_unusable(view, leg, verdict)
                return None
            multiplier = view.instruments.by_id[leg].multiplier
            if valuation.is_modelled:
                modelled.append(_by_model(view, leg, vol))
            units = float(view.positions.quantity(leg)) * multiplier
            total.add(units, greeks, valuation.years)
            bent += units * greeks.delta
            if model.dynamics != "sticky_strike":
                total.delta += units * self._by_dynamics(view, leg, greeks, valuation, vol)
            bend = units * greeks.vanna
            noise += bend * deviation
            vol_slope += vol * (bend if bend > 0.0 else -bend)
            weight = units * greeks.gamma
            weight = weight if weight > 0.0 else -weight
            vol_sum += vol
            by_gamma += vol * weight
            gamma_sum += weight
            first_vol = first_vol or vol
            is_one_vol = is_one_vol and vol == first_vol
            years = min(years, valuation.years)
        if hedge.is_inverse:  # the band's delta is that of both together, and so is its gamma
            total.gamma = gamma_beside_perpetual(total.gamma, bent, spot)
            noise *= spot / hedge.contract_size  # in contracts, as the hedge is
        found = total.total()
        # NaN never reaches a hedge
        if not legs or not abs(found.option_delta_shares) < LARGEST or not abs(total.gamma) < LARGEST:
            return None
        least = 1
        if noise:
            unit = float(hedge.step)
            if hedge.multiplier != 1 or number != view.underlying:
                unit = _smallest_delta(view, view.mark(number) or spot)  # before its first quote
            least = least_hedge(noise / unit)
        # the band of the whole position goes by the volatility of its gamma
        mean_vol = by_gamma / gamma_sum if gamma_sum > 0.0 and not is_one_vol else vol_sum / len(legs)
        return _LegGreeks(
            found, mean_vol, years, multiplier, least, "; ".join(modelled), gamma_sum, vol_slope
        )

    def _note_unusable(self, view: DeskView, leg: InstrumentId, verdict: QuoteVerdict) -> None:
        self.unusable = f"{view.instruments[leg].symbol}: quote {verdict}, no delta to hedge on"

    def _by_dynamics(
        self, view: DeskView, leg: InstrumentId, greeks: OptionGreeks, valuation: OptionState, vol: float
    ) -> float:
        """Return what a delta gains as the strike's volatility moves with the spot."""
        if self._delta_model.dynamics == "sticky_delta":
            skew = view.delta_engine.skew(leg, view.now_ns)
            return 0.0 if skew is None else skew_delta(greeks.vega, valuation.spot, skew, STICKY_DELTA)
        contract = view.instruments[leg]
        if not contract.is_option or valuation.years <= 0.0 or vol <= 0.0:
            return 0.0
        strike = float(contract.strike)
        return minimum_variance_delta(
            valuation.spot, strike, valuation.years, vol, self._delta_model.coefficients
        )


def _waited_for(view: DeskView) -> tuple[int, int]:
    """Return the session's open and an instant: a hedge waits for options whose last quote lies between.

    Over a night volatilities move with the spot: by those of yesterday a gap is hedged with a wrong delta. A
    leg that has no quote after a minute, or lost it before the last close, is valued by the model. A
    coin has no night: zeros, as from a minute on.
    """
    session = view.session
    if session is None or view.now_ns - session.open_ns >= _FIRST_QUOTES_NS:
        return 0, 0
    if view.instruments[view.underlying].is_coin:
        return 0, 0
    return session.open_ns, previous_session(session.day).close_ns - _LAST_QUOTES_NS


def _smallest_orders(view: DeskView, net_delta: float, target: float, mid: float) -> tuple[float, int]:
    """Return the delta of the smallest order of the hedge, and how many of them lead to the target."""
    hedge = view.instruments.by_id[view.hedge]
    is_plain = hedge.multiplier == 1 and view.hedge == view.underlying
    unit = float(hedge.step) if is_plain else _smallest_delta(view, mid)
    if hedge.is_inverse:  # deltas are in coins, the hedge in contracts of so many dollars
        size = hedge.contract_size
        return unit, perpetual_trade_usd(target * mid, net_delta * mid, size) // size
    return unit, quantity_to_target(net_delta / unit, target / unit)


def _smallest_delta(view: DeskView, price: float) -> float:
    """Return the delta of the smallest order of the hedge at its price; of an inverse one its step."""
    hedge = view.instruments.by_id[view.hedge]
    step = float(hedge.step)
    return step if hedge.is_inverse else view.hedge_delta(step, price)


def _fee_of_a_coin(view: DeskView, perpetual: Instrument, price: float) -> float:
    """Return what taking one coin of a perpetual costs in fees, currency."""
    exact_price = exact(price)
    fee = view.fees.on(trade_date(view.now_ns)).fee(perpetual, BUY, _MANY, exact_price)
    return price * float(fee / abs(perpetual.value(_MANY, exact_price)))


def _proxy_facts(view: DeskView, inputs: HedgeInputs, quote: QuoteEvent, quantity: int, unit: float) -> Facts:
    """Return the figures of a hedge with another instrument than the underlying."""
    return {
        "spot": inputs.spot,
        "hedge": view.instruments.by_id[view.hedge].symbol,
        "hedge_price": quote.mid,
        "hedge_quantity": quantity,
        "hedge_unit_shares": unit,
    }


def _by_model(view: DeskView, leg: InstrumentId, vol: float) -> str:
    """Return in words that a leg's delta is the model's, and since when it has no quote."""
    quote = view.market.quotes[leg]
    minutes = 0.0 if quote is None else (view.now_ns - quote.ts_recv_ns) / MINUTE_NS
    symbol = view.instruments[leg].symbol
    return f"{symbol} has no quote for {minutes:.0f} minutes: delta by the model at volatility {vol:.1%}"
