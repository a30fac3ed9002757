"""The way from the spot to the forward of an expiry: its known dividends, and a yield that quotes show."""

import math
from collections import deque
from collections.abc import Callable

from scalpdesk.core.units import DAYS_PER_YEAR, MINUTE_NS, InstrumentId
from scalpdesk.instruments.contract import Instruments, OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.marketdata.chain_surface import PLAUSIBLE_BORROW
from scalpdesk.marketdata.dividends import ComingDividend, coming_dividends, schedule_before
from scalpdesk.marketdata.quotes import TRADABLE, mark_price
from scalpdesk.marketdata.state import MarketState
from scalpdesk.portfolio.strike_vols import StrikeVols
from scalpdesk.portfolio.time_and_rate import TimeAndRate
from scalpdesk.pricing.base import Schedule
from scalpdesk.pricing.known_dividends import due_by, value_ahead

_CARRY_NS = 15 * MINUTE_NS
"""The yield is measured at each multiple of it: rates and borrow hardly move in a day."""
_FORWARD_ERRORS = 2.0
"""Standard errors of the forward by parity within which the configured yield stands."""
SHORT_CARRY_YEARS = 1.0 / DAYS_PER_YEAR
"""Up to so long before its expiry a configured yield moves a forward by nothing that matters."""
_BORROW_DECIMALS = 4
"""Decimals of a yield that is measured beside known dividends: what exercise adds is tabled for each. The
forward moves by a tenth of a cent at 200 in five weeks, less than quotes can tell.
"""
_YIELDS_KEPT = 32
"""Yields kept of each expiry: more than a day of them, for quotes that are older than the last one."""


class ExpiryCarry:
    """Yield of one expiry, a fraction a year, as it was measured through the day."""

    __slots__ = (
        "coming",
        "contract",
        "dividend_yield",
        "dividends",
        "due_ns",
        "earlier",
        "has_smile",
        "is_assumed",
        "is_followed",
        "since_ns",
        "underlying",
    )

    def __init__(self, contract: OptionContract, underlying: InstrumentId) -> None:
        self.contract = contract
        """Any of the expiry."""
        self.underlying = underlying
        self.is_followed = False
        """Whether it is measured: the desk has asked for it."""
        self.has_smile = False
        """Whether somebody goes by the smile of what is held, whatever its strike's own quotes show."""
        self.is_assumed = False
        """Whether it is the configured one because quotes could not show another yet."""
        self.dividend_yield, self.since_ns = 0.0, 0
        self.coming: tuple[ComingDividend, ...] = ()
        self.dividends: Schedule = ()
        """Known cash dividends up to the expiry; the yield is what is left beside them."""
        self.earlier: deque[tuple[int, float]] = deque(maxlen=_YIELDS_KEPT)
        """Yields that were in force before, each with since when."""
        self.due_ns = 0
        """When quotes are asked again."""

    def at(self, at_ns: int) -> float:
        """Return the yield that was in force at an instant, UTC nanoseconds; before all of them the first."""
        if at_ns >= self.since_ns or not self.earlier:
            return self.dividend_yield
        for since_ns, dividend_yield in reversed(self.earlier):
            if since_ns <= at_ns:
                return dividend_yield
        return self.earlier[0][1]

    def change(self, dividend_yield: float, now_ns: int) -> None:
        """Let another yield be in force from now on."""
        if dividend_yield != self.dividend_yield:
            if self.is_followed:
                self.earlier.append((self.since_ns, self.dividend_yield))
            self.dividend_yield, self.since_ns = dividend_yield, now_ns


class CarryMeter:
    """Measures the yields of the expiries that the desk decides on or marks.

    First when the desk asks, then at the first timed mark or booking from each quarter hour on.

    ``instruments``, ``state``, ``strike_vols``, ``terms``: Instruments of the run, the latest market, what
    tells an expiry's forward, time to expiry and rates.
    ``configured``: Continuous yield of an underlying, fractions a year.
    ``by_parity``: Whether quotes correct it.
    """

    def __init__(
        self,
        instruments: Instruments,
        state: MarketState,
        strike_vols: StrikeVols,
        terms: TimeAndRate,
        configured: Callable[[str], float],
        *,
        by_parity: bool,
    ) -> None:
        self._instruments, self._state = instruments, state
        self._strike_vols, self._terms = strike_vols, terms
        self._configured, self._by_parity = configured, by_parity
        self._followed: list[ExpiryCarry] = []
        self.due_ns = math.inf
        """When the first of them is measured again."""

    def follow(self, carry: ExpiryCarry, now_ns: int) -> None:
        """Measure a yield now and from now on."""
        self._measure(carry, now_ns)
        carry.is_followed = True
        self._followed.append(carry)
        self.due_ns = min(self.due_ns, carry.due_ns)

    def measure_due(self, now_ns: int, of: InstrumentId | None = None) -> None:
        """Measure what is due, where the underlying is quoted now; forget expiries that are over.

        ``of``: those on this underlying alone.
        """
        self._followed = [each for each in self._followed if now_ns < expiry_instant_ns(each.contract)]
        for carry in self._followed:
            if of not in (None, carry.underlying):
                continue
            if now_ns >= carry.due_ns and self._state.verdict(carry.underlying, now_ns) in TRADABLE:
                self._measure(carry, now_ns)
        self.due_ns = min((carry.due_ns for carry in self._followed), default=math.inf)

    def as_of(self, carry: ExpiryCarry, at_ns: int) -> float:
        """Return a yield as of an instant: measured for this answer alone where it is not followed."""
        if carry.is_followed:
            return carry.at(at_ns)
        configured = self._configured_of(carry.contract, at_ns)
        found = self._by_quotes(carry, at_ns, configured)
        return configured if found is None else found

    def is_assumed(self, carry: ExpiryCarry, at_ns: int) -> bool:
        """Return whether a yield is the configured one because quotes could not show another yet."""
        if carry.is_followed:
            return carry.is_assumed
        configured = self._configured_of(carry.contract, at_ns)
        return self._is_shown(carry.contract) and self._by_quotes(carry, at_ns, configured) is None

    def _is_shown(self, contract: OptionContract) -> bool:
        """Return whether quotes of an expiry may show its forward."""
        is_given = contract.is_inverse or contract.is_on_future  # the spot is the forward
        return self._by_parity and not is_given and self._strike_vols.has_pairs(contract)

    def _configured_of(self, contract: OptionContract, at_ns: int) -> float:
        """Return the configured yield; of an option on a future the rate: its forward is the future."""
        if not contract.is_on_future:
            return self._configured(contract.underlying)
        return self._terms.rate(self._terms.years(expiry_instant_ns(contract), at_ns))

    def _measure(self, carry: ExpiryCarry, now_ns: int) -> None:
        """Let the configured yield be in force, as far as the quotes of calls and puts leave room for it.

        Where they fit another forward (a dividend that is not known, a share that is dear to borrow, other
        rates), the nearest yield that fits them; where they show no yield, the last one, and they are asked
        in a minute.
        """
        configured = self._configured_of(carry.contract, now_ns)
        if not carry.is_followed:
            carry.change(configured, now_ns)
        carry.due_ns = (now_ns // _CARRY_NS + 1) * _CARRY_NS
        if not self._is_shown(carry.contract):
            carry.is_assumed = False
            return
        found, was_assumed = self._by_quotes(carry, now_ns, configured), carry.is_assumed
        carry.is_assumed = found is None and (was_assumed or not carry.is_followed)
        if found is None:
            carry.due_ns = now_ns + MINUTE_NS
        else:
            carry.change(found, now_ns)
            if was_assumed:  # a guess was never in force: quotes of before are valued by what is known now
                carry.earlier.clear()

    def know(self, carry: ExpiryCarry) -> None:
        """Let the schedule of an expiry be the dividends that are known by now."""
        contract = carry.contract
        if contract.is_inverse or contract.is_on_future:
            return
        expires_ns = expiry_instant_ns(contract)
        share = carry.underlying, contract.underlying
        state = self._state
        known = coming_dividends(state.dividends, *share, expires_ns, expects=state.expects_dividends)
        carry.coming, carry.dividends = known, schedule_before(known, expires_ns)

    def learn(self, carry: ExpiryCarry, now_ns: int) -> None:
        """Take in a dividend that has become known at ``now_ns``, UTC nanoseconds.

        A measured yield had it as far as quotes had shown it: that part of it goes, down to the configured
        yield. The forward stands.
        """
        spot, before = self._state.quotes[carry.underlying], carry.dividends
        self.know(carry)
        years = self._terms.years(expiry_instant_ns(carry.contract), now_ns)
        if not carry.is_followed or carry.dividends == before or spot is None or years <= 0.0:
            return
        price, rate = mark_price(spot), self._terms.rate(years)
        was, left = (price - value_ahead(known, years, rate) for known in (before, carry.dividends))
        if was > 0.0 and left > 0.0:
            measured, configured = carry.dividend_yield, self._configured_of(carry.contract, now_ns)
            after = measured + math.log(left / was) / years
            carry.change(min(max(after, min(measured, configured)), max(measured, configured)), now_ns)

    def _by_quotes(self, carry: ExpiryCarry, now_ns: int, configured: float) -> float | None:
        """Return the yield nearest the configured one that fits calls and puts; None without pairs."""
        contract, spot_quote = carry.contract, self._state.quotes[carry.underlying]
        spot = 0.0 if spot_quote is None else mark_price(spot_quote)
        years = self._terms.years(expiry_instant_ns(contract), now_ns)
        if not spot > 0.0 or years <= 0.0 or not self._is_shown(contract):
            return None
        rate = self._terms.rate(years)
        dividends = due_by(carry.dividends, years)
        before = carry.dividend_yield if carry.is_followed else round(configured, _BORROW_DECIMALS)
        implied = self._strike_vols.forward(contract, now_ns, spot, years, rate, dividends, before)
        if implied is None:
            return None
        if dividends:
            spot -= value_ahead(dividends, years, rate)
        room = _FORWARD_ERRORS * implied.uncertainty
        forward = spot * math.exp((rate - configured) * years)
        nearest = min(max(forward, implied.forward - room), implied.forward + room)
        if nearest == forward:
            return configured
        low, high = PLAUSIBLE_BORROW
        found = min(max(rate - math.log(nearest / spot) / years, min(low, configured)), max(high, configured))
        return round(found, _BORROW_DECIMALS) if dividends else found
