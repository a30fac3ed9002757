"""Size and limit price of an entry, exact."""

from decimal import Decimal
from typing import NamedTuple

from scalpdesk.base import TickRule, exact
from scalpdesk.signals.conviction import ConvictionLevel, conviction_level
from scalpdesk.strategies import size_by_risk
from scalpdesk_strategies.ema_scalper.config import ScalpConfig
from scalpdesk_strategies.ema_scalper.model import CONTRACT_SHARES

_NO_MOST = 10**9


class Halves(NamedTuple):
    """An entry in two orders: contracts bought on the signal, and on the bounce."""

    first: int
    add: int


def halves(contracts: int) -> Halves:
    """Split an entry; an odd contract goes with the first half.

    >>> halves(5)
    Halves(first=3, add=2)
    """
    return Halves(contracts - contracts // 2, contracts // 2)


class ScalpSizer:
    """Contracts of a scalp by the risk that its stop leaves.

    Parameters
    ----------
    config
        Fraction of the equity at risk, and the stop.
    """

    def __init__(self, config: ScalpConfig) -> None:
        self.config = config

    def calculate(self, premium: float, conviction: int, account_equity: float) -> int:
        """Return the contracts of both halves together.

        ⌊equity · 2 % / (premium · 100 · 50 %)⌋ at a high conviction (from 75), half of it but at least one
        at a medium one (from 50), 0 below. It is 0 as well where one contract is beyond the budget: buying
        it anyway would break the budget when the account is small.

        Parameters
        ----------
        premium
            Price paid, currency per share: the limit, not the mid.
        conviction
            0 to 100.
        account_equity
            Currency.
        """
        level = conviction_level(conviction)
        if level not in (ConvictionLevel.HIGH, ConvictionLevel.MEDIUM) or not premium > 0.0:
            return 0
        full = size_by_risk(
            _decimal(account_equity),
            self.risk_per_contract(_decimal(premium)),
            equity_fraction=_decimal(self.config.max_risk_per_scalp),
            most=_NO_MOST,
        )
        return full if level is ConvictionLevel.HIGH or not full else max(full // 2, 1)

    def room(self, premium: Decimal, held: Decimal, entry_price: Decimal, account_equity: float) -> int:
        """Return how many contracts may be added before the scalp's risk at its stop is beyond the budget.

        Parameters
        ----------
        premium, entry_price
            Limit of the purchase, and what was paid for those held, currency per share.
        held
            Contracts of the scalp.
        account_equity
            Currency.
        """
        budget = _decimal(self.config.max_risk_per_scalp) * _decimal(account_equity)
        left = budget - held * self.risk_per_contract(entry_price)
        return size_by_risk(left, self.risk_per_contract(premium), equity_fraction=Decimal(1), most=_NO_MOST)

    def risk_per_contract(self, premium: Decimal) -> Decimal:
        """Return what one contract loses at its stop, in currency."""
        return premium * CONTRACT_SHARES * _decimal(self.config.max_loss_pct)


def buy_limit(bid: float, ask: float, tick_rule: TickRule, offset: float) -> Decimal:
    """Return the limit of a buy: mid plus ``offset``, rounded up to the tick, never above the ask.

    An ask that is off the class's tick is cut down to it.

    ``bid``, ``ask``: Quote, currency per share.
    ``tick_rule``: Of the option's class.
    ``offset``: Currency per share.
    """
    wished = (exact(bid) + exact(ask)) / 2 + _decimal(offset)
    return min(tick_rule.round(wished, "up"), tick_rule.round(exact(ask), "down"))


def _decimal(value: float) -> Decimal:
    return Decimal(repr(float(value)))
