"""Choice of expiry and strike."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date

from scalpdesk.core.errors import ArgumentError, nearest_name
from scalpdesk.core.units import exceeds
from scalpdesk.instruments.classes import BROAD_FUNDS, INDICES
from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.model import (
    ChainRow,
    OptionsChain,
    OptionType,
    StrikeSelection,
    days_to_expiry,
)

_TARGET_DELTA = 0.40
_DELTA_REACH = 0.10
_FULL_VOLUME, _FULL_INTEREST = 5_000.0, 10_000.0
_STOCK_DAYS = range(1, 6)
"""Sessions to expiry of options on single stocks."""
LONGEST_DAYS = 9
"""Calendar days within which five sessions lie."""


def strike_score(
    delta: float, spread_pct: float, volume: float | None, open_interest: int, max_spread_pct: float = 0.10
) -> float:
    """Return 0 to 100: nearness to a delta of 0.40 40, spread 30, volume 15, open interest 15.

    ``delta``: Signed, per 1 USD.
    ``spread_pct``: Ask less bid over the mid; at ``max_spread_pct`` it scores nothing.
    ``volume``, ``open_interest``: Contracts; 5,000 and 10,000 score fully, an unknown volume nothing.
    ``max_spread_pct``: As configured.

    Notes
    -----
    40 max(0, 1 - ||δ| - 0.40| / 0.10) + 30 max(0, 1 - spread/max) + 15 min(volume/5000, 1)
    + 15 min(open interest/10000, 1): the strategy reference F5.
    """
    return (
        40.0 * max(0.0, 1.0 - abs(abs(delta) - _TARGET_DELTA) / _DELTA_REACH)
        + 30.0 * max(0.0, 1.0 - spread_pct / max_spread_pct)
        + 15.0 * min((volume or 0.0) / _FULL_VOLUME, 1.0)
        + 15.0 * min(open_interest / _FULL_INTEREST, 1.0)
    )


class StrikeSelector:
    """Selects the contract for a scalp: expiry, liquidity, delta, then the best score."""

    def __init__(self, config: ScalpConfig) -> None:
        self.config = config
        self.removed: Counter[str] = Counter()
        """Contracts of the last selection by what removed them."""

    def select(self, ticker: str, direction: str, chain: OptionsChain) -> StrikeSelection | None:
        """Return the best contract; None, with the counts in :attr:`removed`, when every contract fails.

        Parameters
        ----------
        ticker
            Underlying.
        direction
            ``bullish`` (also ``long``, ``call``, ``long_call``) for calls, ``bearish`` (``short``, ``put``,
            ``long_put``) for puts.
        chain
            Its options.

        Raises
        ------
        ArgumentError
            For any other direction.
        """
        option_type = _TYPE_OF.get(direction)
        if option_type is None:
            raise ArgumentError(
                "not a direction",
                where="direction",
                value=direction,
                nearest=nearest_name(direction, _TYPE_OF),
                fix=f"use one of {', '.join(_TYPE_OF)}",
            )
        self.removed = Counter()
        expiry = self.expiry(ticker, chain)
        if expiry is None:
            return None
        side = [row for row in chain.rows if row.expiry == expiry and row.option_type == option_type]
        near = self._filter_by_delta(chain.valued(self._filter_by_liquidity(side)), _TARGET_DELTA)
        scored = self._score_strikes(near)
        return min(scored, key=lambda item: _rank(item, chain.spot), default=None)

    def expiry(self, ticker: str, chain: OptionsChain) -> date | None:
        """Return the expiry to trade: today's before the cut-off, else the next session's.

        Single stocks have the nearest of one to five sessions; SPX today's or no contract.
        """
        last = max(date.fromordinal(chain.day.toordinal() + LONGEST_DAYS), chain.day)
        listed = sorted({row.expiry for row in chain.rows if chain.day <= row.expiry <= last})
        sessions_of = {expiry: days_to_expiry(chain.day, expiry) for expiry in listed}
        wanted: Sequence[int]
        if ticker in INDICES:
            wanted = () if chain.cutoff_passed else (0,)
        elif ticker in BROAD_FUNDS:
            wanted = (1,) if chain.cutoff_passed else (0, 1)
        else:
            wanted = _STOCK_DAYS
        return next((day for day in listed if sessions_of[day] in wanted), None)

    def why_none(self, ticker: str, chain: OptionsChain) -> str:
        """Return in words why the last selection found no contract."""
        if self.expiry(ticker, chain) is None:
            return "no options of a tradable expiry are listed"
        if not self.removed:
            return "no options of this side are listed"
        counts = sorted(self.removed.items(), key=lambda item: (-item[1], item[0]))
        total = sum(self.removed.values())
        return f"of {total} contracts: " + ", ".join(f"{count} {why}" for why, count in counts)

    def _filter_by_delta(self, strikes: Iterable[ChainRow], target_delta: float) -> list[ChainRow]:
        """Return the rows within the range of deltas, the nearest to ``target_delta`` first."""
        low, high = self.config.target_delta_min, self.config.target_delta_max
        kept = []
        for row in strikes:
            size = abs(row.delta)
            if exceeds(low, size) or exceeds(size, high):
                self.removed[f"outside of delta {low:.2f} to {high:.2f}"] += 1
            else:
                kept.append(row)
        return sorted(kept, key=lambda row: abs(abs(row.delta) - target_delta))

    def _filter_by_liquidity(self, strikes: Iterable[ChainRow]) -> list[ChainRow]:
        """Return the rows that may be bought and sold again without much loss."""
        kept = []
        for row in strikes:
            why = self._illiquid(row)
            if why:
                self.removed[why] += 1
            else:
                kept.append(row)
        return kept

    def _illiquid(self, row: ChainRow) -> str:
        config = self.config
        if not 0.0 < row.bid < row.ask:
            return "without a good quote"
        if not exceeds(config.max_spread_pct, row.spread_pct):
            return f"with a spread of {config.max_spread_pct:.0%} or more"
        if not row.open_interest > config.min_open_interest:
            return f"with {config.min_open_interest} open or fewer"
        if row.volume is not None and not row.volume > config.min_volume:
            return f"with {config.min_volume} traded or fewer"
        return ""

    def _score_strikes(self, strikes: Iterable[ChainRow]) -> list[StrikeSelection]:
        """Return a selection for each row, the best score first."""
        most = self.config.max_spread_pct
        scored = [
            StrikeSelection(
                strike=row.strike,
                expiry=row.expiry,
                option_type=row.option_type,
                option_symbol=row.option_symbol,
                delta=row.delta,
                gamma=row.gamma,
                theta=row.theta,
                iv=row.iv,
                bid=row.bid,
                ask=row.ask,
                mid=row.mid,
                spread_pct=row.spread_pct,
                open_interest=row.open_interest,
                volume=None if row.volume is None else int(row.volume),
                score=strike_score(row.delta, row.spread_pct, row.volume, row.open_interest, most),
            )
            for row in strikes
        ]
        return sorted(scored, key=lambda item: -item.score)


_TYPE_OF: dict[str, OptionType] = {
    "bullish": "call",
    "long": "call",
    "call": "call",
    "long_call": "call",
    "bearish": "put",
    "short": "put",
    "put": "put",
    "long_put": "put",
}
"""Type of option by direction."""


def _rank(item: StrikeSelection, spot: float) -> tuple[float, float, int, float, str]:
    """Return the sort key: best score, lower spread, more open interest, nearer the money, symbol."""
    return (
        -round(item.score, 9),
        round(item.spread_pct, 12),
        -item.open_interest,
        abs(item.strike - spot),
        item.option_symbol,
    )
