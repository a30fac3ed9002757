"""Words of a trade: what was opened, what it earns and what hurts it, how it was closed.

They are put together from the signed legs, never looked up by shape: long is short gamma in some shapes and a
credit in others, and a plug-in's shape has words without a line of its own.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import msgspec

from scalpdesk.core.enums import ChangeCause
from scalpdesk.core.units import DAY_NS, DAYS_PER_YEAR, ZERO, money_decimals, number_text
from scalpdesk.entry.shape_names import NamedStructure, structure_of
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import expiry_instant_ns
from scalpdesk.instruments.structure import bounds_of, ending_prices, ending_worth
from scalpdesk.pricing.base import OptionGreeks
from scalpdesk.pricing.scalar import implied_vol_scalar, option_greeks

_NO_GAMMA = 0.1
"""Net gamma below this part of the legs' gross is none to speak of."""


class OpenedLeg(NamedTuple):
    """An option as it was opened."""

    contract: OptionContract
    quantity: Decimal
    """Signed, of all sets."""
    price: Decimal | None
    """Mean; None of what a transfer brought."""


class Opening(NamedTuple):
    """Legs as they were opened."""

    legs: tuple[OpenedLeg, ...]
    ts_ns: int
    spot: float | None

    @property
    def cash(self) -> Decimal | None:
        """Credit (above zero) or debit of all sets; None of what a transfer brought."""
        found = ZERO
        for contract, quantity, price in self.legs:
            if price is None:
                return None
            found -= quantity * price * contract.multiplier
        return found


class Outlook(msgspec.Struct, frozen=True):
    """What a trade earns and what hurts it, seen from its opening: by the prices paid, without rates."""

    theta_per_day: float
    """Currency a calendar day of all sets: above zero it is received."""
    gamma: float
    """Of all sets, units of the underlying for a move of one."""
    gross_gamma: float
    """The same of the legs, each by its size."""
    earns: tuple[tuple[float | None, float | None], ...]
    """Prices of the underlying between which it earns at its nearest expiry, None without a bound."""
    most_loss: float | None
    most_gain: float | None
    """Currency at the nearest expiry; None without a bound."""
    is_exact: bool
    """Whether all legs end there; a later one is valued at its volatility of the opening."""
    chance: float
    """Of earning at the nearest expiry by the implied volatility at each end of ``earns``, without drift."""


def outlook_of(opening: Opening, vols: Sequence[float] | None = None) -> Outlook | None:
    """Return what a trade earns; None where the price of a leg or the spot is not known.

    ``vols``: Volatility of each leg at the opening's instant, a fraction a calendar year, NaN where it has
    none; those of the prices when None. A holding is seen from now by the volatilities of now.
    """
    ending = _ending_of(opening, vols)
    if ending is None:
        return None
    theta = gamma = gross = 0.0
    for leg in ending.valued:
        at = leg.greeks(ending.spot, opening.ts_ns)
        theta += leg.units * at.theta / DAYS_PER_YEAR / (ending.spot if ending.is_inverse else 1.0)
        gamma += leg.units * at.gamma
        gross += abs(leg.units * at.gamma)
    bounds = bounds_of(ending.legs, ending.later, ending.between)
    grid = ending_prices(ending.legs, ending.between)
    earns = _earning(grid, [ending.pnl(price) for price in grid], ending.pnl)
    return Outlook(
        theta_per_day=theta,
        gamma=gamma,
        gross_gamma=gross,
        earns=earns,
        chance=_chance(ending, earns, opening.ts_ns),
        most_loss=None if bounds.least is None else max(-ending.cash - bounds.least, 0.0),
        most_gain=None if bounds.most is None else max(ending.cash + bounds.most, 0.0),
        is_exact=bounds.is_exact,
    )


class _Ending(NamedTuple):
    """A trade at its nearest expiry: by payoffs, and by volatility what ends later."""

    cash: float
    spot: float
    valued: Sequence["_Valued"]
    legs: Sequence[tuple[OptionContract, float]]
    nearest_ns: int

    @property
    def is_inverse(self) -> bool:
        return self.legs[0][0].is_inverse

    @property
    def between(self) -> Sequence[float]:
        """Prices beside the strikes at which a later option's worth is read."""
        are_later = any(leg.expiry_ns > self.nearest_ns for leg in self.valued)
        return [self.spot * (1.0 + 0.02 * step) for step in range(-35, 36)] if are_later else ()

    def later(self, contract: OptionContract, price: float) -> float:
        leg = next(each for each in self.valued if each.contract == contract)
        return leg.worth(price, self.nearest_ns) / (price if self.is_inverse else 1.0)

    def pnl(self, price: float) -> float:
        return self.cash + ending_worth(self.legs, price, self.later)


def _ending_of(opening: Opening, vols: Sequence[float] | None) -> _Ending | None:
    cash, spot = opening.cash, opening.spot
    if cash is None or spot is None:
        return None
    valued = _valued(opening, spot, vols)
    if valued is None:
        return None
    legs = [(leg.contract, float(leg.quantity)) for leg in opening.legs]
    return _Ending(float(cash), spot, valued, legs, min(leg.expiry_ns for leg in valued))


def _chance(ending: _Ending, earns: Iterable[tuple[float | None, float | None]], now_ns: int) -> float:
    """Return the chance of an end within these prices; each has the volatility of the strike next to it."""
    years = _years(ending.nearest_ns, now_ns)
    ends = [leg for leg in ending.valued if leg.expiry_ns == ending.nearest_ns]

    def below(price: float) -> float:
        vol = min(ends, key=lambda leg: abs(leg.strike - price)).vol
        sd = vol * math.sqrt(max(years, 0.0))
        if price <= 0.0 or sd <= 0.0:
            return float(price > ending.spot)
        return 0.5 * math.erfc(-(math.log(price / ending.spot) / sd + 0.5 * sd) / math.sqrt(2.0))

    found = sum(
        (1.0 if high is None else below(high)) - (0.0 if low is None else below(low)) for low, high in earns
    )
    return min(max(found, 0.0), 1.0)


class HeldOptions:
    """Options that are held, by the prices paid for them, seen from now by the volatilities of now.

    Its P&L is that of the options alone, before fees.

    ``legs``: Contract, signed quantity of all sets, mean price of each.
    ``vols``: Of each leg, a fraction a calendar year; NaN where none is known.
    """

    def __init__(
        self,
        legs: Iterable[tuple[OptionContract, Decimal, Decimal]],
        now_ns: int,
        spot: float | None,
        vols: Sequence[float],
    ) -> None:
        self._opening = Opening(tuple(OpenedLeg(*leg) for leg in legs), now_ns, spot)
        self._ending = _ending_of(self._opening, vols)
        self.outlook = outlook_of(self._opening, vols)
        self.cash = self._opening.cash or ZERO

    @property
    def strikes(self) -> list[float]:
        """Strikes, each once, the lowest first."""
        return sorted({float(leg.contract.strike) for leg in self._opening.legs})

    @property
    def break_evens(self) -> list[float]:
        """Prices of the underlying at which its P&L is zero at the nearest expiry, the lowest first."""
        earns = () if self.outlook is None else self.outlook.earns
        return [end for between in earns for end in between if end is not None]

    def at_expiry(self, prices: Iterable[float]) -> list[float]:
        """Return the P&L at the nearest expiry at prices of the underlying; only with an outlook."""
        assert self._ending is not None
        return [self._ending.pnl(price) for price in prices]

    @property
    def words(self) -> str:
        """How it was opened, where it earns, and what is at stake."""
        opening, outlook = self._opening, self.outlook
        named = structure_of((leg.contract, leg.quantity) for leg in opening.legs)
        currency = opening.legs[0].contract.currency
        what = f"{_verb(opening, named)} {_what(opening, named)} for a {_cash(self.cash, currency)}"
        text = f"{what[0].upper()}{what[1:]}."
        if outlook is None:
            return text
        loss, gain = _stakes(outlook, money_decimals(currency))
        when = "expiry" if outlook.is_exact else "the nearer expiry"
        chance = f"a chance of {outlook.chance:.0%} by implied volatility"
        earns = f"{_where(outlook)}, {chance}, {gain}" if outlook.earns else "at no price"
        return f"{text} At {when} it earns {earns}; it loses {loss}."


class _Valued(NamedTuple):
    """A leg with its own volatility; prices in the currency that its strike is in."""

    contract: OptionContract
    expiry_ns: int
    units: float
    vol: float

    @property
    def strike(self) -> float:
        return float(self.contract.strike)

    @property
    def is_call(self) -> bool:
        return self.contract.is_call

    def greeks(self, spot: float, now_ns: int) -> OptionGreeks:
        return option_greeks(
            spot, self.strike, _years(self.expiry_ns, now_ns), self.vol, self.is_call, american=False
        )

    def worth(self, spot: float, now_ns: int) -> float:
        if self.expiry_ns <= now_ns:
            return max(spot - self.strike if self.is_call else self.strike - spot, 0.0)
        return self.greeks(spot, now_ns).price


def _years(expiry_ns: int, now_ns: int) -> float:
    return (expiry_ns - now_ns) / DAY_NS / DAYS_PER_YEAR


def _own_vol(leg: OpenedLeg, spot: float, now_ns: int) -> float:
    """Return the volatility of a leg's own price; NaN where none is."""
    contract, _, price = leg
    assert price is not None
    worth = float(price) * (spot if contract.is_inverse else 1.0)
    years = _years(expiry_instant_ns(contract), now_ns)
    vol, _ = implied_vol_scalar(worth, spot, float(contract.strike), years, contract.is_call, american=False)
    return vol


def _valued(opening: Opening, spot: float, vols: Sequence[float] | None) -> list[_Valued] | None:
    """Return the legs with their volatilities: a leg that has none takes the mean of the others."""
    if vols is None:
        vols = [_own_vol(leg, spot, opening.ts_ns) for leg in opening.legs]
    known = [vol for vol in vols if math.isfinite(vol)]
    if not known:
        return None
    mean = sum(known) / len(known)
    return [
        _Valued(
            leg.contract,
            expiry_instant_ns(leg.contract),
            float(leg.quantity * leg.contract.multiplier),
            vol if math.isfinite(vol) else mean,
        )
        for leg, vol in zip(opening.legs, vols, strict=True)
    ]


def is_determined(leg: OpenedLeg, spot: float, now_ns: int, vol: float) -> bool:
    """Return whether a leg's price determines a volatility: half a tick moves it by five points at most.

    ``vol`` stands for that of a price which has none of its own, deep in the money for one.
    """
    contract, _, price = leg
    years = _years(expiry_instant_ns(contract), now_ns)
    if price is None or years <= 0.0:
        return False
    own = _own_vol(leg, spot, now_ns)
    at = own if math.isfinite(own) else vol
    vega = option_greeks(spot, float(contract.strike), years, at, contract.is_call, american=False).vega
    return contract.tells_vol(price, vega / spot if contract.is_inverse else vega)


def _earning(
    grid: Sequence[float], values: Sequence[float], pnl: Callable[[float], float]
) -> tuple[tuple[float | None, float | None], ...]:
    """Return the intervals in which a P&L is above zero, by its values on a grid."""
    found: list[tuple[float | None, float | None]] = []
    start: float | None = None
    is_earning = values[0] > 0.0
    for (low, high), (before, after) in zip(pairwise(grid), pairwise(values), strict=True):
        if (before > 0.0) == (after > 0.0):
            continue
        at = _root(pnl, low, high, is_rising=after > 0.0)
        if after > 0.0:
            start, is_earning = at, True
        else:
            found.append((start, at))
            is_earning = False
    return (*found, (start, None)) if is_earning else tuple(found)


def _root(pnl: Callable[[float], float], low: float, high: float, *, is_rising: bool) -> float:
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if (pnl(middle) > 0.0) == is_rising else (middle, high)
    return 0.5 * (low + high)


_ENDINGS = {
    ChangeCause.EXERCISE: "exercised",
    ChangeCause.ASSIGNMENT: "assigned",
    ChangeCause.CASH_SETTLEMENT: "settled",
    ChangeCause.EXPIRED_WORTHLESS: "expired worthless",
}


# words --------------------------------------------------------------------------------------------


def entry_words(opening: Opening, named: NamedStructure | None, outlook: Outlook | None) -> str:
    """Return how a trade was opened, what it earns and what hurts it."""
    text, currency = f"{_verb(opening, named)} {_what(opening, named)}", opening.legs[0].contract.currency
    if opening.cash is not None:
        text += f" for a {_cash(opening.cash, currency)}"
    return text if outlook is None else f"{text}; {_outlook_words(outlook, money_decimals(currency))}"


def gate_words(promised: Mapping[str, float | None], currency: str) -> str:
    """Return what the entry's gate compared, and the edge that it found; empty where it compared nothing.

    The market's level is that to the forecast's horizon, not the volatility of the options that are traded.
    """
    names = ("forecast_vol", "implied_level", "edge_usd", "edge_stderr_usd")
    forecast_vol, implied_level, edge, stderr = map(promised.get, names)
    if forecast_vol is None or implied_level is None:
        return ""
    text = f"forecast {forecast_vol:.1%} against the market's {implied_level:.1%}"
    if edge is None:
        return text
    decimals = money_decimals(currency)
    error = "" if stderr is None else f" ± {stderr:,.{decimals}f}"
    return f"{text}: edge {edge:+,.{decimals}f}{error} {currency}"


def _outlook_words(outlook: Outlook, decimals: int = 2) -> str:
    """Return who receives theta, who is long gamma, where it earns and what is at stake."""
    rent = "receives" if outlook.theta_per_day > 0 else "pays"
    side = "long gamma" if outlook.gamma > 0 else "short gamma"
    if abs(outlook.gamma) < _NO_GAMMA * outlook.gross_gamma:
        side = "no gamma to speak of"
    loss, gain = _stakes(outlook, decimals)
    later = "" if outlook.is_exact or not outlook.earns else " at the nearer expiry"
    return (
        f"{rent} {abs(outlook.theta_per_day):,.{decimals}f} a day, {side}; earns {_where(outlook)}{later};"
        f" loss {loss}, gain {gain}"
    )


def _stakes(outlook: Outlook, decimals: int) -> tuple[str, str]:
    """Return the largest loss and the largest gain at the nearest expiry."""
    most = "at most" if outlook.is_exact else "an estimated"
    loss, gain = (
        "without a bound" if amount is None else f"{most} {amount:,.{decimals}f}"
        for amount in (outlook.most_loss, outlook.most_gain)
    )
    return loss, gain


def exit_words(opening: Opening, named: NamedStructure | None, cash: Decimal, why: str | None) -> str:
    """Return how a trade was closed, and why."""
    verb = {("bought", True): "sold", ("sold", False): "bought back"}.get(
        (_verb(opening, named), cash > 0), "closed"
    )
    done = f"{verb} for a {_cash(cash, opening.legs[0].contract.currency)}" if cash else ""
    return ": ".join(filter(None, (done, why))) or "closed"


class EndedLeg(NamedTuple):
    """Option that ended without an order."""

    contract: OptionContract
    quantity: Decimal
    """Signed contracts, as held."""
    cause: ChangeCause
    cash: Decimal
    """That its settlement paid, currency."""


def ending_words(ended: Sequence[EndedLeg]) -> str:
    """Return what the end of options came to: ``500 call exercised, short 510 call assigned``."""
    words = []
    for cause, word in _ENDINGS.items():
        own = [each for each in ended if each.cause is cause]
        if own:
            legs = ", ".join(
                f"{'short ' if each.quantity < 0 else ''}{number_text(each.contract.strike)}"
                f" {'call' if each.contract.is_call else 'put'}"
                for each in own
            )
            cash = sum((each.cash for each in own), ZERO)
            paid = f" for a {_cash(cash, own[0].contract.currency)}" if cash else ""
            words.append(f"{legs} {word}{paid}")
    return ", ".join(words)


def _verb(opening: Opening, named: NamedStructure | None) -> str:
    """Return what was done: nothing is sold for a debit, and nothing bought for a credit."""
    cash = opening.cash
    if cash is None:
        return "took over"
    if named is None or cash == 0:
        return "opened" if cash == 0 else "bought" if cash < 0 else "sold"
    usual = {"long": "bought", "short": "sold"}[named.side]
    return usual if (cash < 0) == (usual == "bought") else f"opened {named.side}"


def _what(opening: Opening, named: NamedStructure | None) -> str:
    """Return strikes and shape, or the legs where they form no shape: ``2 × 271/251 strangle``."""
    if named is not None:
        strikes = dict.fromkeys(number_text(leg.contract.strike) for leg in opening.legs)
        count = f"{named.sets} × " if named.sets > 1 else ""
        return f"{count}{'/'.join(strikes)} {named.shape.replace('_', ' ')}"
    are_several = len(opening.legs) > 1
    return ", ".join(
        f"{'short ' if are_several and quantity < 0 else ''}{number_text(abs(quantity))} ×"
        f" {number_text(contract.strike)} {'call' if contract.is_call else 'put'}"
        for contract, quantity, _ in opening.legs
    )


def _cash(amount: Decimal, currency: str) -> str:
    word = "credit" if amount > 0 else "debit"
    return f"{word} of {abs(amount):,.{money_decimals(currency)}f} {currency}"


def _where(outlook: Outlook) -> str:
    """Return the prices at which a trade earns: ``below 248.1 or above 271.9``."""
    if not outlook.earns:
        return "at no price"
    words = []
    for low, high in outlook.earns:
        if low is None:
            words.append("at any price" if high is None else f"below {_price(high)}")
        else:
            words.append(
                f"above {_price(low)}" if high is None else f"between {_price(low)} and {_price(high)}"
            )
    return " or ".join(words)


def _price(price: float) -> str:
    return f"{price:,.{0 if price >= 1e4 else 2}f}"
