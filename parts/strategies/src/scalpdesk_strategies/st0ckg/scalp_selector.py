"""Which option expresses a view on the next minutes, how many of it, and at which limit.

Candidates are today's expiry on the side of the view. Each must be quoted two-sided, near the wanted
delta, cheap to cross and traded at all; the best of them by a score of delta, activity, spread and
implied volatility is taken.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated

import msgspec

from scalpdesk.core.bounds import BoundedSettings, above, at_least
from scalpdesk.core.units import InstrumentId, exceeds
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.ticks import TickRule
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.marketdata.state import MarketView
from scalpdesk.portfolio.delta_engine import OptionValuer

Fraction = Annotated[float, above(0, 1, "a fraction")]
Count = Annotated[int, at_least(0, 10**9, "a number of contracts")]


class ContractConfig(BoundedSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which contracts come into question, and how many are bought."""

    section = "contract"
    target_delta: Fraction = 0.30
    delta_tolerance: Annotated[float, at_least(0, 1, "a fraction")] = 0.10
    """``target_delta``, ``delta_tolerance``: Wanted absolute delta and how far from it a contract may be."""
    max_spread_fraction: Fraction = 0.10
    """Largest ask less bid, as a fraction of the ask."""
    min_volume_contracts: Count = 50
    min_open_interest_contracts: Count = 500
    """``min_volume_contracts``, ``min_open_interest_contracts``: One of the two must be reached. The volume
    is the session's; where neither the data nor the venue bring an option's prints or bars it is not known,
    and the open interest alone counts.
    """
    equity_fraction: Annotated[Decimal, above(0, 1, "a fraction")] = Decimal("0.01")
    """Fraction of equity that the premium of one entry may cost."""
    max_contracts: Annotated[int, above(0, 1e9, "contracts")] = 10
    """However much the fraction allows."""
    limit_fraction: Annotated[Decimal, at_least(0, 1, "a fraction")] = Decimal("0.02")
    """The limit lies so much above the ask, rounded up to the tick."""


class ScalpCandidate(msgspec.Struct, frozen=True):
    """A contract that passed, with what it was judged by."""

    number: InstrumentId
    contract: OptionContract
    score: float
    """0 to 100."""
    delta: float
    """Signed, per unit of the underlying."""
    vol: float
    """Implied, a fraction a year."""
    bid: float
    ask: float
    open_interest_contracts: int


class ScalpChoice(msgspec.Struct, frozen=True):
    """The best contract, or why no contract passes: contracts counted by what removed them."""

    best: ScalpCandidate | None
    looked_at: int
    removed: dict[str, int]

    def why_none(self) -> str:
        """Return the reasons in words, most frequent first."""
        if not self.looked_at:
            return "no options of this side expire today"
        counts = sorted(self.removed.items(), key=lambda item: (-item[1], item[0]))
        return f"of {self.looked_at} contracts: " + ", ".join(f"{n} {why}" for why, n in counts)


def contract_score(
    absolute_delta: float,
    volume_contracts: float,
    open_interest_contracts: float,
    spread_fraction: float,
    vol: float,
    config: ContractConfig | None = None,
) -> float:
    """Return 0 to 100: delta 40, activity 30, spread 20, implied volatility 10.

    40 (1 - |δ - δ*| / tolerance) + 0.3 min(100, (volume + open interest / 10) / 10)
    + 20 (1 - min(spread / 5 %, 1)) + 10 max(0, 1 - |vol - 20 %| / 20 %), as st0ckg has it.

    ``absolute_delta``: Per unit of the underlying.
    ``volume_contracts``, ``open_interest_contracts``: Traded today and open since yesterday.
    ``spread_fraction``: Ask less bid over ask; from 5 % on it scores nothing.
    ``vol``: Implied volatility, a fraction a year; 20 % scores best.
    ``config``: Wanted delta and tolerance.
    """
    config = config or ContractConfig()
    distance = abs(absolute_delta - config.target_delta) / config.delta_tolerance
    activity = min(100.0, (volume_contracts + open_interest_contracts / 10.0) / 10.0)
    return (
        40.0 * (1.0 - distance)
        + 0.3 * activity
        + 20.0 * (1.0 - min(spread_fraction / 0.05, 1.0))
        + 10.0 * max(0.0, 1.0 - abs(vol - 0.2) / 0.2)
    )


def buy_limit(ask: Decimal, tick_rule: TickRule, config: ContractConfig) -> Decimal:
    """Return the limit of a buy: the ask plus ``limit_fraction``, rounded up to the tick."""
    return tick_rule.round(ask * (1 + config.limit_fraction), "up")


class ScalpContractSelector:
    """Selects the call or put of a scalp by delta, activity, spread and implied volatility."""

    def __init__(self, config: ContractConfig) -> None:
        self.config = config

    def select(
        self,
        options: Sequence[tuple[InstrumentId, OptionContract]],
        expiry: date,
        direction: int,
        market: MarketView,
        delta_engine: OptionValuer,
        now_ns: int,
    ) -> ScalpChoice:
        """Return the best contract of ``expiry``: a call for direction +1, a put for -1.

        At equal scores the lower spread wins, then the nearer delta, then the symbol.
        """
        removed: Counter[str] = Counter()
        passed: list[ScalpCandidate] = []
        looked_at = 0
        for number, contract in options:
            if contract.expiry != expiry or contract.is_call is not (direction > 0):
                continue
            looked_at += 1
            judged = self._judge(number, contract, market, delta_engine, now_ns)
            if isinstance(judged, str):
                removed[judged] += 1
            else:
                passed.append(judged)
        best = min(passed, key=self._rank, default=None)
        return ScalpChoice(best, looked_at, dict(removed))

    def _rank(self, item: ScalpCandidate) -> tuple[float, float, float, str]:
        off = abs(abs(item.delta) - self.config.target_delta)
        return (-round(item.score, 9), item.ask - item.bid, off, item.contract.symbol)

    def _judge(
        self,
        number: InstrumentId,
        contract: OptionContract,
        market: MarketView,
        delta_engine: OptionValuer,
        now_ns: int,
    ) -> ScalpCandidate | str:
        """Return the candidate, or what removes it (the cheap questions first)."""
        config = self.config
        quote = market.quotes[number]
        verdict = market.verdict(number, now_ns)
        if quote is None or verdict is not QuoteVerdict.GOOD:
            return f"with a {verdict} quote" if quote is not None else "never quoted"
        fraction = (quote.ask - quote.bid) / quote.ask
        if exceeds(fraction, config.max_spread_fraction):
            return f"with a spread above {config.max_spread_fraction:.0%}"
        interest = market.open_interest.get(number, 0)
        volume = market.volume_today(number)
        is_traded = volume is not None and volume >= config.min_volume_contracts
        if interest < config.min_open_interest_contracts and not is_traded:
            traded = "" if volume is None else f" and {config.min_volume_contracts} traded"
            return f"with fewer than {config.min_open_interest_contracts} open{traded}"
        delta_engine.follow((number,), now_ns)
        valuation = delta_engine.state(number, now_ns)
        if valuation is None or not valuation.vol_is_fresh:
            return "without an implied volatility"
        delta = valuation.greeks.delta
        if not abs(abs(delta) - config.target_delta) <= config.delta_tolerance + 1e-12:  # NaN stays out
            return f"off delta {config.target_delta:.2f} by more than {config.delta_tolerance:.2f}"
        score = contract_score(abs(delta), volume or 0.0, interest, fraction, valuation.vol, config)
        return ScalpCandidate(number, contract, score, delta, valuation.vol, quote.bid, quote.ask, interest)
