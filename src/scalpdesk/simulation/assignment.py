"""Assignment of sold options by the holders on the other side: early, and on what happens after the close.

The holders have no accounts here: they exercise when it is worth more than to hold, and by setting at
random. Draws depend on the seed, the day and the symbol alone, never on the order of the accounts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import sha256
from typing import Literal, NamedTuple

import numpy as np
from msgspec.structs import replace

from scalpdesk.core.units import CENT, DAY_SECONDS, NANOS_PER_SECOND, ZERO, InstrumentId
from scalpdesk.instruments.account_messages import cleared_ns
from scalpdesk.instruments.contract import OptionContract, Style
from scalpdesk.instruments.deadlines import takes_notices
from scalpdesk.instruments.sessions import next_session, to_new_york
from scalpdesk.marketdata.tape import FLAT_ZERO, CashDividend, Morning, RateCurve
from scalpdesk.portfolio.option_pricer import exercise_gain
from scalpdesk.simulation.accounts import BrokerAccount
from scalpdesk.simulation.corporate_actions import ActionProcessor
from scalpdesk.simulation.expiry import ExpiryProcessor
from scalpdesk.simulation.ledger import Ledger
from scalpdesk.simulation.option_values import put_of_call, quoted_vol, value_without_quote, years_left

RANDOM_PART = 0.01
"""Part of the open interest in the money that is exercised in a night though it is worth more held. An
assumption, not a measurement: it makes a run meet the case.
"""
_LARGEST_DEVIATION = 6.0
"""Standard deviations that the price moves after the close at most."""

_NOTHING_KNOWN = Morning(FLAT_ZERO, {}, ())

EarlyAssignment = Literal["off", "worth", "random"]


@dataclass(frozen=True, slots=True)
class AssignmentTerms:
    """When the holders exercise the options that an account has sold."""

    early: EarlyAssignment = "worth"
    """``off``: nothing before the expiry; ``worth``: all exercise what is worth more so; ``random``: that,
    and some of the rest of what is in the money."""
    after_close_move: float = 0.0
    """Standard deviation of the price from the close to the last notice, a fraction; 0: no move."""
    seed: int = 1
    """Seed of the draws."""


class _AssignedLot(NamedTuple):
    """An assignment that the clearing house has made and the account does not know yet."""

    account: str
    number: InstrumentId
    contracts: Decimal
    at_ns: int


class AssignmentProcessor:
    """Assigns sold options.

    The holders decide at the close; the account learns of it with the night's clearing.

    ``expiry``: Books what is assigned.
    """

    def __init__(
        self, ledger: Ledger, expiry: ExpiryProcessor, actions: ActionProcessor, terms: AssignmentTerms
    ) -> None:
        self.published: Callable[[date], Morning] = lambda _day: _NOTHING_KNOWN
        self.waiting: list[_AssignedLot] = []
        """Made at the last close and not known to the account yet."""
        self._ledger = ledger
        self._expiry = expiry
        self._actions = actions
        self._terms = terms
        if terms.after_close_move:
            expiry.last_level = self._last_level

    def close_session(self, now_ns: int) -> None:
        """Decide which sold options are assigned in the night that begins."""
        if self._terms.early == "off":
            return
        day = to_new_york(now_ns).date()
        for account in self._ledger.accounts.values():
            for number, held in account.holdings.items():
                option = held.instrument
                if held.quantity >= 0 or not option.is_option or option.expiry <= day:
                    continue
                if option.style is Style.AMERICAN and takes_notices(option):
                    contracts = self._assigned(account, number, option, day)
                    if contracts:
                        self.waiting.append(_AssignedLot(account.name, number, contracts, now_ns))
        if self.waiting:
            self._ledger.at(cleared_ns(now_ns), self._tell)

    def _tell(self) -> None:
        """Book what was assigned: shares change hands at the strike as of the evening."""
        waiting, self.waiting = self.waiting, []
        for account, number, contracts, at_ns in waiting:
            self._expiry.assign(account, number, contracts, at_ns)

    def _assigned(
        self, account: BrokerAccount, number: InstrumentId, option: OptionContract, day: date
    ) -> Decimal:
        """Return how many of an account's sold contracts are assigned tonight."""
        ledger, sold = self._ledger, -account.quantity(number)
        spot = float(ledger.mark(ledger.instruments.id_of(option.underlying)))
        if option.payoff(spot) <= 0.0:
            return ZERO
        known = self.published(day)
        gain = self._gain(number, option, spot, known.rate_curve, day)
        if gain > 0.0:
            return sold
        if self._terms.early != "random":
            return ZERO
        dice = self._dice(option.symbol, day.isoformat(), account.name)
        listed = max(known.open_interest.get(option.symbol, 0), int(sold))
        exercised = int(listed * RANDOM_PART + dice.random())  # each notice falls on any sold contract
        return Decimal(int(dice.hypergeometric(exercised, listed - exercised, int(sold))))

    def _gain(
        self, number: InstrumentId, option: OptionContract, spot: float, rates: RateCurve, day: date
    ) -> float:
        """Return what a holder gains by exercise tonight, per unit; 0 where no quote tells."""
        ahead = self._dividends(option, day, option.expiry)
        opposite = self._opposite(number, option, ahead)
        if opposite is None:
            return 0.0
        now_ns, following = self._ledger.now_ns, next_session(day)
        years = years_left(option, now_ns)
        rate, night_ns = rates.rate_at(years * 365.0), following.open_ns - now_ns
        return exercise_gain(
            option,
            spot,
            opposite,
            years=years,
            rate=rate,
            night_years=night_ns / (DAY_SECONDS * NANOS_PER_SECOND) / 365.0,
            tonight=self._dividends(option, day, following.day),
            ahead=ahead,
            put_price=lambda: put_of_call(option, spot, opposite, years, rate, ahead),
        )

    def _dividends(self, option: OptionContract, day: date, until: date) -> float:
        """Return the dividends that go ex after a day, until another one, currency a share."""
        return sum(
            float(paid.amount)
            for paid in self._actions.schedule
            if isinstance(paid, CashDividend)
            and paid.symbol == option.underlying
            and day < paid.ex_date <= until
        )

    def _opposite(self, number: InstrumentId, option: OptionContract, ahead: float) -> float | None:
        """Return the price of the other option at the strike: its quote of today, else by this one's vol.

        ``ahead`` are the dividends until the expiry, which its value reckons with.
        """
        ledger = self._ledger
        spot = ledger.spot_of(option)
        assert spot is not None
        for other, found in enumerate(ledger.instruments):
            if not found.is_option or found.is_call is option.is_call:
                continue
            if (found.root, found.expiry, found.strike) == (option.root, option.expiry, option.strike):
                quote = ledger.latest(InstrumentId(other))
                if quote is not None and quote.ts_recv_ns >= ledger.session_open_ns:
                    return float(ledger.mark(InstrumentId(other)))
                right = found
                break
        else:
            return None
        quote = ledger.latest(number)
        vol = None if quote is None else quoted_vol(option, quote, spot)
        vol = ledger.last_vols.get(number) if vol is None else vol
        if vol is None:
            return None
        without = replace(spot, bid=spot.bid - ahead, ask=spot.ask - ahead)
        return value_without_quote(right, without, vol, ledger.now_ns)

    def _last_level(self, option: OptionContract, level: Decimal) -> Decimal:
        """Return the price by which holders decide in the end: it moves from the close to the last notice."""
        deviation = self._dice(option.underlying, option.expiry.isoformat()).standard_normal()
        deviation = min(max(deviation, -_LARGEST_DEVIATION), _LARGEST_DEVIATION)
        moved = float(level) * math.exp(self._terms.after_close_move * deviation)
        return Decimal(f"{moved:.4f}").quantize(CENT)

    def _dice(self, *about: str) -> np.random.Generator:
        digest = sha256("|".join(about).encode()).digest()
        seeds = [self._terms.seed, 13, int.from_bytes(digest[:8])]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seeds)))
