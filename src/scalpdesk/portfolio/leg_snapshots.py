"""Snapshots of positions, taken from the market and the valuation."""

import math
from decimal import Decimal

import msgspec

from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Instruments
from scalpdesk.marketdata.state import MarketState, paid_between
from scalpdesk.portfolio.delta_engine import DeltaEngine, OptionState
from scalpdesk.portfolio.interval import LegSnapshot
from scalpdesk.portfolio.positions import Position

COIN_DECIMALS = 12
"""Decimals of an amount in coin, where an amount in dollars has six."""
Marked = tuple[float | None, OptionState | None]
"""Mark of one unit, None before a quote, and an option's valuation, None while it is not valued."""


class LegSnapshots:
    """Takes snapshots of positions.

    Parameters
    ----------
    instruments, state, delta_engine
        Instruments of the run, the latest market and the valuation, which it only reads.
    """

    def __init__(self, instruments: Instruments, state: MarketState, delta_engine: DeltaEngine) -> None:
        self._instruments, self._state, self._delta_engine = instruments, state, delta_engine

    def marked(self, instrument_id: InstrumentId, now_ns: int) -> Marked:
        """Return the mark of one unit and, of an option, its valuation."""
        mark = self._delta_engine.mark(instrument_id)
        if not self._instruments.by_id[instrument_id].is_option:
            return mark, None
        return mark, self._delta_engine.state(instrument_id, now_ns)

    def first(self, position: Position, now_ns: int, marked: Marked, vol: float | None) -> LegSnapshot:
        """Return a position where an interval begins, UTC nanoseconds.

        ``vol`` is the volatility in which the last interval ended, so that noise ends with it; None without
        one. What was never quoted is marked at its average price.
        """
        number, (mark, valuation) = position.instrument_id, marked
        state, greeks, expires_ns = None, None, 0
        if valuation is not None:
            vols = self._delta_engine.vols
            option = vols.options.get(number) or vols.facts(number)
            assert option is not None
            expires_ns = option.expires_ns
            state = self._delta_engine.models.state(option, valuation, now_ns, vol)
            if state is not None and option.is_inverse and state.years > 0.0:
                by_clock = math.sqrt(state.variance_years / state.years)
                greeks = self._delta_engine.greeks_at(number, now_ns, state.vol * by_clock)
            if state is not None and greeks is None:
                greeks = valuation.greeks
        units = position.float_quantity * position.multiplier
        price = float(position.average_price) if mark is None else mark
        proxied, spot, proxies = 0.0, 0.0, self._delta_engine.proxies
        proxy = proxies.get(number) if proxies else None
        if proxy is not None and (spot := self._state.mark(proxy.underlying_id) or 0.0):
            proxied = self._delta_engine.delta_of(position, price)
        return LegSnapshot(
            number,
            position.instrument,
            now_ns,
            units,
            price,
            state,
            greeks,
            expires_ns,
            proxied=proxied,
            spot=spot,
        )

    def later(
        self, start: LegSnapshot, now_ns: int, marked: Marked, *, keeps_vol: bool
    ) -> LegSnapshot | None:
        """Return a position that has not changed since an interval began; None of what no model values.

        With ``keeps_vol`` its volatility is that of the start.
        """
        (mark, valuation), instrument, share, state = marked, start.instrument, start.instrument_id, None
        if mark is None:
            return None
        if instrument.is_option:
            vols = self._delta_engine.vols
            option = vols.options.get(share) or vols.facts(share)
            if start.state is None or valuation is None or option is None:
                return None
            state = self._delta_engine.models.state(option, valuation, now_ns, start.state.vol)
            assert state is not None  # where no volatility is found that of the start stands
            if keeps_vol:
                state = state._replace(vol=start.state.vol)
            share = option.underlying
        goes_ex = (self._state.dividends or self._state.adjustments) and not instrument.is_inverse
        paid = self.dividends(share, start.ts_ns, now_ns) if goes_ex else 0.0
        proxies = self._delta_engine.proxies
        proxy = proxies.get(start.instrument_id) if proxies else None
        spot = 0.0 if proxy is None else self._state.mark(proxy.underlying_id) or 0.0
        return LegSnapshot(
            start.instrument_id, instrument, now_ns, start.units, mark, state, paid=paid, spot=spot
        )

    def restated(self, start: LegSnapshot, now: OptionState) -> LegSnapshot:
        """Return the start of an option's interval at the carry of now, worth the same.

        The first correction of a configured carry is no move of the market: neither rates nor volatility
        have earned it.
        """
        if start.state is None:
            return start
        carry = now.rate, now.dividend_yield, now.dividends
        found = self._delta_engine.models.at_carry(now.contract, start.state, *carry)
        return start if found is None else msgspec.structs.replace(start, state=found[0], greeks=found[1])

    def fair(self, instrument_id: InstrumentId, now_ns: int, start: LegSnapshot | None) -> Decimal | None:
        """Return an inverse option's mark carried to the spot of now; None while it has no volatility.

        A trade's cost is measured from it: the quote is often older than the spot. ``start`` is where its
        interval began, if it is held.
        """
        valuation = self._delta_engine.state(instrument_id, now_ns)
        if valuation is None or valuation.is_modelled or valuation.years <= 0.0 or not valuation.vol > 0.0:
            return None
        vol, state = valuation.vol, None if start is None else start.state
        if state is not None and state.years > 0.0:
            vol = state.vol * math.sqrt(state.variance_years / state.years)
        vol = self._delta_engine.vols.quoted.within_tick(valuation.contract, vol)
        greeks = self._delta_engine.greeks_at(instrument_id, now_ns, vol)
        return None if greeks is None else Decimal(f"{greeks.price:.{COIN_DECIMALS}f}")

    def dividends(self, share: InstrumentId, from_ns: int, to_ns: int) -> float:
        """Return what a share paid in between, special dividends too, currency a share."""
        state = self._state
        special = (
            item.paid
            for item in state.adjustments
            if item.instrument_id == share and from_ns < item.ts_event_ns <= to_ns
        )
        return paid_between(state.dividends, share, from_ns, to_ns) + sum(special)
