"""Volatility of an option: that of its quote, of its strike, of its strike's other leg, or of the smile."""

import math
from collections.abc import Callable
from datetime import date
from typing import Any, Final, NamedTuple

from scalpdesk.core.events import DividendEvent, QuoteEvent
from scalpdesk.core.units import MINUTE_NS, NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.dividends import ComingDividend
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.carry import SHORT_CARRY_YEARS, CarryMeter, ExpiryCarry
from scalpdesk.portfolio.option_pricer import ContractPricer
from scalpdesk.portfolio.quoted_vols import OptionFacts, QuotedVol, QuotedVols
from scalpdesk.portfolio.strike_vols import (
    OLDEST_NS,
    SURFACE_DEVIATION,
    ExpirySmile,
    LegQuotes,
    StrikeVol,
    StrikeVols,
)
from scalpdesk.portfolio.time_and_rate import TimeAndRate
from scalpdesk.portfolio.vol_filter import VOL_OF_VOL
from scalpdesk.pricing.base import Floats
from scalpdesk.pricing.known_dividends import value_ahead

_SKEW_STEP = 1e-3
LEAST_DEVIATION = 0.02
"""Least error of the logarithm of a volatility that no quote shows: a mid lies anywhere between sides."""


_AGAIN_NS = 5 * NANOS_PER_SECOND
"""So soon a smile is tried again that a session's first quotes did not show."""
_OFFSET_NS = 30 * MINUTE_NS
"""So long after its last own quote a strike is still held against the smile of the others."""


SharedSmiles = dict[tuple[Any, ...], ExpirySmile | None]
"""Smiles of several runs over one market, by all that they rest on: the first run that asks fits them."""


class _MinuteSmile(NamedTuple):
    """Smile of an expiry that hedges strikes without quotes, renewed each minute while others are quoted."""

    tried_ns: int
    fitted_ns: int
    smile: ExpirySmile | None


class OptionVols:
    """Volatilities of options, and what they rest on: the facts, the carry and the smile of each expiry.

    It learns by :meth:`follow` and :meth:`learn`; questions only read.

    ``instruments``, ``state``, ``pricer``, ``terms``: Instruments of the run, the latest market, the pricing
    model, time to expiry and rates.
    ``configured_yield``: Returns the configured continuous yield of an underlying, a fraction a year.
    ``by_parity``: Whether quotes of calls and puts correct the yield to that of their forward.
    ``half_life_seconds``: Of an exponentially weighted mean of each strike's volatility, in the Kalman
    filter's place.
    ``smiles``: Those that runs over one market with equal terms share; None: it fits its own.
    """

    def __init__(
        self,
        instruments: Instruments,
        state: MarketState,
        pricer: ContractPricer,
        terms: TimeAndRate,
        configured_yield: Callable[[str], float],
        *,
        by_parity: bool,
        half_life_seconds: float | None,
        smiles: SharedSmiles | None = None,
    ) -> None:
        self._instruments, self._state, self._terms = instruments, state, terms
        self.options: Final[dict[InstrumentId, OptionFacts]] = {}
        """By id, of all that anybody has asked for."""
        self._carries: dict[tuple[str, str, date], ExpiryCarry] = {}
        self._smiles: dict[ExpiryCarry, _MinuteSmile] = {}
        """Smiles that hedge strikes without quotes, by their expiry's carry."""
        self._fresh: dict[ExpiryCarry, _MinuteSmile] = {}
        """Those of a session's first looks, which count for one look alone."""
        self.learnt = 0
        """Counts what was learnt."""
        self._fitted: dict[ExpiryCarry, tuple[tuple[int, int, int], ExpirySmile | None]] = {}
        """Smiles that were asked for last, each with all that it may depend on."""
        self.shared = smiles
        """Of several runs over one market; None once its prices are its own."""
        self._offsets: dict[InstrumentId, tuple[int, float]] = {}
        """Logarithm of a strike's own volatility over the smile's, with the instant of that own quote."""
        self.quoted: Final = QuotedVols(instruments, state, pricer, terms, self.yield_of)
        legs = self._vol_of_leg, self._vols_of_legs
        self.strikes: Final = StrikeVols(instruments, state, terms, *legs, half_life_seconds)
        self.carry: Final = CarryMeter(
            instruments, state, self.strikes, terms, configured_yield, by_parity=by_parity
        )
        state.on_dividend.append(self._on_dividend)

    def facts(self, instrument_id: InstrumentId) -> OptionFacts | None:
        """Return what is known of an option; None for another instrument."""
        known = self.options.get(instrument_id)
        if known is not None:
            return known
        contract = self._instruments.by_id[instrument_id]
        if not contract.is_option:
            return None
        underlying = self._instruments.id_of(contract.underlying)
        is_inverse = contract.is_inverse
        side = 0.0 if is_inverse else 1.0 if contract.is_call else -1.0
        dated = expiry_instant_ns(contract), self._carry_of(contract, underlying)
        found = OptionFacts(
            instrument_id, contract, underlying, *dated, float(contract.strike), is_inverse, side
        )
        self.options[instrument_id] = found
        return found

    def follow(self, option: OptionFacts, now_ns: int) -> None:
        """Keep the quotes of an option's underlying, and once it has one measure the carry of the expiry."""
        if not option.carry.is_followed:
            self._state.keep_quotes(option.underlying)  # a quote of the option has its spot there
            if self._state.quotes[option.underlying] is not None:
                self.carry.follow(option.carry, now_ns)
                self.learnt += 1

    def look(self, now_ns: int, of: InstrumentId | None, *, keeps: bool) -> None:
        """Begin a look at what is held; one that ``keeps`` measures the forwards that are due.

        ``of``: the one underlying that it concerns.
        """
        self.strikes.look()
        self._fresh.clear()
        if keeps and now_ns >= self.carry.due_ns:
            self.carry.measure_due(now_ns, of)
            self.learnt += 1

    def learn(self, option: OptionFacts, now_ns: int, *, keeps: bool, of_strike: bool = True) -> None:
        """Take in the latest quotes of an option and, with ``of_strike``, of its strike.

        Where they show its strike's volatility no more, the smile of the expiry is fitted once a minute.
        ``keeps``: For good; else the quotes of now count until the next look.
        """
        carry = option.carry
        if not carry.is_followed:
            self.follow(option, now_ns)
        quote = self._state.quotes[option.instrument_id]
        is_new = keeps and quote is not None and self.quoted.learn(option, quote)
        if of_strike:
            is_new = self.strikes.measure(option.contract, is_assumed=carry.is_assumed, keeps=keeps) or is_new
            if carry.has_smile or self.strikes.measured(option.contract, now_ns) is None:
                renew = self._renew_smile if keeps else self._try_smile
                is_new = renew(option, now_ns) or is_new
        self.learnt += is_new

    def _carry_of(self, contract: OptionContract, underlying: InstrumentId) -> ExpiryCarry:
        key = (contract.root, contract.underlying, contract.expiry)
        found = self._carries.get(key)
        if found is None:
            found = self._carries[key] = ExpiryCarry(contract, underlying)
            self.carry.know(found)
        return found

    def _on_dividend(self, event: DividendEvent) -> None:
        for carry in self._carries.values():
            if carry.underlying == event.instrument_id:
                self.carry.learn(carry, event.ts_recv_ns)

    def coming_dividends(self) -> list[tuple[str, ComingDividend]]:
        """Return the known dividends up to the expiries that are followed, with their symbols, in order."""
        followed = (each for each in self._carries.values() if each.is_followed)
        return sorted({(each.contract.underlying, paid) for each in followed for paid in each.coming})

    def after_open(self, at_ns: int) -> int:
        """Return the instant as of which a price of ``at_ns`` stands: at an open it has lost its dividend."""
        return max(at_ns, self._state.opened_ns)

    def knows_forward(self, instrument_id: InstrumentId, now_ns: int) -> bool:
        """Return whether an option's forward is more than a guess by the configured rate and yield.

        It is where calls and puts have shown it once, and where they need not: an expiry of fewer strikes
        than a fit needs, the last day, a forward that is given or configured.
        """
        option = self.facts(instrument_id)
        if option is None:
            return True
        is_assumed = self.carry.is_assumed(option.carry, now_ns)
        return not is_assumed or self._terms.years(option.expires_ns, now_ns) <= SHORT_CARRY_YEARS

    def yield_of(self, option: OptionFacts, at_ns: int) -> float:
        """Return the yield of an option's expiry at an instant, a fraction a year."""
        return self.carry.as_of(option.carry, at_ns)

    def forward(self, option: OptionFacts, spot: float, now_ns: int) -> float:
        """Return the forward of an option's expiry, currency per unit."""
        if option.is_inverse:  # on the forward itself
            return spot
        years = self._terms.years(option.expires_ns, now_ns)
        rate, dividends = self._terms.rate(years), option.carry.dividends
        if dividends:
            spot -= value_ahead(dividends, years, rate)
        return spot * math.exp((rate - self.yield_of(option, now_ns)) * years)

    def strike_vol(self, option: OptionFacts, now_ns: int) -> StrikeVol | None:
        """Return the volatility of an option's strike, common to its call and put, as the desk observed it.

        Filtered from its own quotes; where they are missing, too wide or older than two minutes, from the
        smile that the other strikes of its expiry show. None where there is neither.
        """
        found = self.strikes.measured(option.contract, now_ns)
        if found is not None:
            return found
        known = self._smile_of(option.carry)
        if known is None or now_ns - known.fitted_ns > OLDEST_NS:
            return None
        vol = self._off_smile(option, known.smile, now_ns)
        return None if vol is None else StrikeVol(vol, SURFACE_DEVIATION)

    def skew(self, option: OptionFacts, now_ns: int) -> float | None:
        """Return the slope of the volatility in ln(strike) at an option's strike; None without a smile."""
        known = self._smile_of(option.carry)
        if known is None or now_ns - known.fitted_ns > OLDEST_NS:
            return None
        vols = self._smile_vols(option, known.smile, now_ns, -_SKEW_STEP, _SKEW_STEP)
        return None if vols is None else (vols[1] - vols[0]) / (2.0 * _SKEW_STEP)

    def smile(self, option: OptionFacts, now_ns: int) -> ExpirySmile | None:
        """Return the smile of an option's expiry from the latest quotes of its strikes.

        None at its expiry, and where the spot or no strike can be measured.
        """
        rests_on = now_ns, self._state.version, self.learnt
        known = self._fitted.get(option.carry)
        if known is None or known[0] != rests_on:
            known = self._fitted[option.carry] = rests_on, self._shared_fit(option, now_ns)
        return known[1]

    def _shared_fit(self, option: OptionFacts, now_ns: int) -> ExpirySmile | None:
        """Return the smile that a run over the same market has fitted to equal quotes; else fit one."""
        carry, state, shared = option.carry, self._state, self.shared
        if shared is None:
            return self._fit(option, now_ns)
        of = carry.contract.root, carry.contract.underlying, carry.contract.expiry
        seen = now_ns, state.version, state.changes, state.kept_since(option.underlying)
        carried = carry.is_followed, carry.dividend_yield, carry.since_ns, *carry.earlier
        key = *of, *seen, carry.dividends, *carried
        if key not in shared:
            shared[key] = self._fit(option, now_ns)
        return shared[key]

    def _fit(self, option: OptionFacts, now_ns: int) -> ExpirySmile | None:
        spot, expires_ns = self._state.mark(option.underlying), option.expires_ns
        if spot is None or not spot > 0.0 or now_ns >= expires_ns:
            return None
        if self.strikes.is_silent(option.contract):  # of a listing of years, not out yet
            return None
        years, by_clock = (
            self._terms.years(expires_ns, now_ns),
            self._terms.variance_years(now_ns, expires_ns),
        )
        forward = self.forward(option, spot, now_ns)
        return self.strikes.smile(option.contract, now_ns, forward, years, by_clock)

    def unseen(self, option: OptionFacts, now_ns: int) -> tuple[float | None, float]:
        """Return the volatility of an option whose quote shows no volatility now, None without one.

        Its own last one; of a lost one that with which hedges were sized last, where that is known. The
        second figure is how far the logarithm of it may be off, three standard deviations.
        """
        is_lost = self._state.is_lost(option.instrument_id)
        known = self.strike_vol(option, now_ns) if is_lost else None
        if known is not None:
            return known.vol, LEAST_DEVIATION
        last = self._when_quoted(option)
        of_expiry = self._smile_of(option.carry) if is_lost else None
        if of_expiry is not None and (last is None or of_expiry.fitted_ns > last[1]):
            moved = self._off_smile(option, of_expiry.smile, now_ns)  # the rest of the expiry knows it later
            if moved is not None:
                return moved, LEAST_DEVIATION + self._drift(of_expiry.fitted_ns, now_ns)
        if last is None:
            return None, LEAST_DEVIATION
        return self._last(option, now_ns), LEAST_DEVIATION + self._drift(last[1], now_ns)

    def shown_ns(self, option: OptionFacts) -> int:
        """Return when an option's last quote was made that showed a price, UTC nanoseconds; 0 without one."""
        last = self._when_quoted(option)
        return 0 if last is None else last[1]

    def _drift(self, then_ns: int, now_ns: int) -> float:
        """Return how far a volatility's logarithm may have moved since an instant: three deviations."""
        gone = self._terms.variance_years(then_ns, now_ns) if now_ns > then_ns else 0.0
        return 3.0 * VOL_OF_VOL * math.sqrt(gone)

    def of_other_leg(self, option: OptionFacts, now_ns: int) -> float | None:
        """Return the volatility of a strike's other leg; None where it is not known."""
        number = self.strikes.other_leg(option.contract)
        other = None if number is None else self.facts(number)
        if other is None:
            return None
        if not self._state.is_valid(other.instrument_id):
            return self.unseen(other, now_ns)[0]
        return self._last(other, now_ns) or None

    def without_quotes(self, option: OptionFacts, now_ns: int) -> float:
        """Return the volatility of an option never quoted: the smile's, else its strike's last one; or 0."""
        smile = self.smile(option, now_ns)
        on_smile = self._smile_vols(option, smile, now_ns, 0.0)
        return self.strikes.last(option.contract, now_ns) if on_smile is None else on_smile[0]

    def _last(self, option: OptionFacts, now_ns: int) -> float | None:
        """Return the volatility of an option's last quote with both sides, by the calendar of now.

        At the spot of the quote's own instant. None without one.
        """
        known = self._when_quoted(option)
        if known is None:
            return None
        found, then_ns = known
        return self._terms.carried(found.vol, option.expires_ns, then_ns, now_ns)

    def _when_quoted(self, option: OptionFacts) -> tuple[QuotedVol, int] | None:
        """Return the volatility of an option's last quote that showed a price, and when; None without one."""
        quote = self._state.quotes[option.instrument_id]
        found = None if quote is None else self.quoted.of(option, quote)
        if quote is not None and found is not None:
            return found, quote.ts_event_ns
        last = self.quoted.learnt.get(option.instrument_id)
        return None if last is None or last.found is None else (last.found, last.quote.ts_event_ns)

    def _renew_smile(self, option: OptionFacts, now_ns: int) -> bool:
        """Fit the smile that strikes without quotes go by, once a minute; return whether it was time."""
        known = self._smiles.get(option.carry)
        if known is not None and now_ns - known.tried_ns < MINUTE_NS:
            return False
        smile = self.smile(option, now_ns)
        if smile is not None:
            known = _MinuteSmile(now_ns, now_ns, smile)
            self._note_offset(option, smile, now_ns)
        elif known is None or known.smile is None:
            known = _MinuteSmile(now_ns, 0, None)
        else:  # at an open: the last one of the evening tells more than nothing
            known = known._replace(tried_ns=now_ns - MINUTE_NS + _AGAIN_NS)
        self._smiles[option.carry] = known
        return True

    def _try_smile(self, option: OptionFacts, now_ns: int) -> bool:
        """Fit the smile for this look where none of the session is kept; return whether there is one."""
        known = self._smiles.get(option.carry)
        if option.carry in self._fresh or (known is not None and known.fitted_ns >= self._state.opened_ns):
            return False
        smile = self.smile(option, now_ns)
        if smile is not None:
            self._fresh[option.carry] = _MinuteSmile(now_ns, now_ns, smile)
        return smile is not None

    def _smile_of(self, carry: ExpiryCarry) -> "_MinuteSmile | None":
        return self._fresh.get(carry) or self._smiles.get(carry)

    def _note_offset(self, option: OptionFacts, smile: ExpirySmile, now_ns: int) -> None:
        """Note how far a strike lies off the first smile that is fitted after its own last quote."""
        last = self._when_quoted(option)
        if last is None or self._offsets.get(option.instrument_id, (-1, 0.0))[0] == last[1]:
            return
        if now_ns - last[1] > _OFFSET_NS or not self._state.is_lost(option.instrument_id):
            return  # a wide quote's own volatility is noise
        own, vols = self._last(option, now_ns), self._smile_vols(option, smile, now_ns, 0.0)
        if own and vols is not None and vols[0] > 0.0:
            self._offsets[option.instrument_id] = last[1], math.log(own / vols[0])

    def _offset(self, option: OptionFacts) -> float:
        """Return a lost strike's own volatility over that of its expiry's smile; 1 where it is not known."""
        known = self._offsets.get(option.instrument_id)
        if known is None or not self._state.is_lost(option.instrument_id):
            return 1.0
        return math.exp(known[1])

    def _off_smile(self, option: OptionFacts, smile: ExpirySmile | None, now_ns: int) -> float | None:
        """Return the volatility of a strike by its expiry's smile and its own distance from that."""
        vols = self._smile_vols(option, smile, now_ns, 0.0)
        return None if vols is None else vols[0] * self._offset(option)

    def _smile_vols(
        self, option: OptionFacts, smile: ExpirySmile | None, now_ns: int, *steps: float
    ) -> list[float] | None:
        spot = self._state.mark(option.underlying)
        if smile is None or spot is None:
            return None
        k = math.log(option.strike / self.forward(option, spot, now_ns))
        if not smile.reaches(k):  # the fit of a session's first quotes says nothing about strikes beyond them
            return None
        to_clock = self._terms.to_clock(option.expires_ns, now_ns)
        return [smile.vol(k + step) / to_clock for step in steps]

    def _vol_of_leg(self, instrument_id: InstrumentId, quote: QuoteEvent) -> QuotedVol | None:
        option = self.facts(instrument_id)
        if option is None:
            return None
        return self.quoted.of(option, quote)

    def _vols_of_legs(self, contract: OptionContract, quotes: LegQuotes) -> tuple[Floats, Floats]:
        carry = self._carry_of(contract, self._instruments.id_of(contract.underlying))
        dividend_yield = self.carry.as_of(carry, max(quotes.ts_event_ns))
        return self.quoted.of_legs(carry, quotes, dividend_yield)
