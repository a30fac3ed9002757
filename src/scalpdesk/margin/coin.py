"""Margin of accounts in coin: Deribit's standard margin."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from scalpdesk.core.refusals import Cause, Refused
from scalpdesk.core.units import ZERO
from scalpdesk.instruments.deribit import PERPETUAL_INITIAL, coin_of, perpetual_margin, short_option_margin
from scalpdesk.margin.holdings import AccountFigures, Holding, MarginAccount, Requirement, merged


def coin_requirement(holdings: Iterable[Holding], spot_of: Callable[[str], Decimal]) -> Requirement:
    """Return the margin of all holdings, in coin, or of linear contracts in their dollar coin.

    ``spot_of`` is the mark of an underlying, 0 without one.
    """
    initial = maintenance = ZERO
    for holding in holdings:
        instrument, quantity = holding.instrument, abs(holding.quantity)
        if instrument.is_option:
            if holding.quantity >= 0:
                continue
            spot = spot_of(instrument.underlying) or instrument.strike
            in_coin = Decimal(1) if instrument.is_inverse else spot
            mark = holding.price / in_coin
            asked = short_option_margin(instrument.right, instrument.strike, spot, mark)
            quantity *= instrument.multiplier * in_coin
            initial += quantity * asked.initial
            maintenance += quantity * asked.maintenance
        elif instrument.is_perpetual and holding.price:
            worth = abs(instrument.value(quantity, holding.price))
            in_coin = Decimal(1) if instrument.is_inverse else holding.price
            asked = perpetual_margin(coin_of(instrument.symbol), worth / in_coin)
            initial += asked.initial * in_coin
            maintenance += asked.maintenance * in_coin
    return Requirement(initial, maintenance)


class CoinMargin:
    """Account in coin under Deribit's standard margin; all amounts are in coin.

    Bought options are paid in full, ask for no margin and are no collateral. A connected desk uses the
    venue's own figures.
    """

    def figures(self, account: MarginAccount) -> AccountFigures:
        """Return what the account is worth and may still use, open orders counted at their worst."""
        held = list(account.valued())
        asked = coin_requirement(held, account.spot)
        own = self._own(account, held, account.cash)
        free = own - asked.initial
        options = [holding.value for holding in held if holding.is_option]
        equity = account.cash + sum((holding.value for holding in held), ZERO)
        return AccountFigures(
            account.cash,
            equity,
            sum((value for value in options if value > 0), ZERO),
            sum((value for value in options if value < 0), ZERO),
            asked.initial,
            asked.maintenance,
            free / PERPETUAL_INITIAL if free > 0 else ZERO,
            free / PERPETUAL_INITIAL if free > 0 else ZERO,
            max(free, ZERO),
            free,
            own - asked.maintenance,
        )

    def fits(self, account: MarginAccount, order: Holding) -> bool:
        """Return False: there is no bound cheaper than the margin itself."""
        del account, order
        return False

    def permission(self, account: MarginAccount, order: Sequence[Holding]) -> Refused | None:
        """Return None: there are no levels."""
        del account, order
        return None

    def refusal(self, account: MarginAccount, order: Sequence[Holding]) -> Refused | None:
        """Return why the account may not open these legs, together, at these prices; None if it may."""
        before, after = self._rooms(account, order)
        if after >= 0 or after >= before:
            return None
        power, asked = f"{max(before, ZERO):.8f}", f"{before - after:.8f}"
        return Refused(Cause.BUYING_POWER, buying_power=power, cost_basis=asked)

    def uncovers(self, account: MarginAccount, order: Holding) -> Refused | None:
        """Return None: each sold option has its own margin, and nothing covers it."""
        del account, order
        return None

    def need(self, account: MarginAccount, order: Sequence[Holding]) -> Decimal:
        """Return the coin that legs tie up beside their proceeds."""
        before, after = self._rooms(account, order)
        return max(before - after, ZERO)

    def _rooms(self, account: MarginAccount, order: Sequence[Holding]) -> tuple[Decimal, Decimal]:
        held = list(account.valued())
        cost = sum((holding.value for holding in order), ZERO)
        return (
            self._free(account, held, account.cash),
            self._free(account, merged(held, order), account.cash - cost),
        )

    def _free(self, account: MarginAccount, holdings: Sequence[Holding], cash: Decimal) -> Decimal:
        return self._own(account, holdings, cash) - coin_requirement(holdings, account.spot).initial

    @staticmethod
    def _own(account: MarginAccount, holdings: Sequence[Holding], cash: Decimal) -> Decimal:
        """Return balance and open profit of perpetuals less what open orders withhold, in coin."""
        _, premiums = account.reserved()
        return cash + sum((holding.value for holding in holdings if not holding.is_option), ZERO) - premiums
