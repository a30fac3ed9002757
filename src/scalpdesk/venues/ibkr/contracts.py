"""Instruments as contracts of TWS, and contracts as instruments."""

from collections.abc import Sequence

from ib_async import IB, Contract

from scalpdesk.core.errors import ArgumentError, RetryError
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.contract import Equity, Index, Instrument, Instruments, us_option


def _named(instrument: Instrument) -> Contract:
    """Return what names an instrument to TWS, without its id."""
    if instrument.is_option:
        return Contract(
            secType="OPT",
            symbol=instrument.underlying,
            lastTradeDateOrContractMonth=f"{instrument.expiry:%Y%m%d}",
            strike=float(instrument.strike),
            right=instrument.right.value,
            multiplier=str(instrument.multiplier),
            exchange="SMART",
            currency=instrument.currency,
            tradingClass=instrument.root,
        )
    kind, exchange = ("IND", "CBOE") if instrument.is_index else ("STK", "SMART")
    return Contract(secType=kind, symbol=instrument.symbol, exchange=exchange, currency=instrument.currency)


def instrument_of(contract: Contract) -> Instrument | None:
    """Return the instrument that a contract of TWS names; None for what the desk does not trade."""
    if contract.currency != "USD":
        return None
    if contract.secType == "OPT":
        try:
            return us_option(contract.localSymbol.replace(" ", ""), multiplier=int(contract.multiplier))
        except (ArgumentError, ValueError):
            return None
    if contract.secType == "STK":
        return Equity(contract.symbol)
    return Index(contract.symbol) if contract.secType == "IND" else None


class Contracts:
    """Contracts of a run's instruments, with the ids that TWS gave them.

    Parameters
    ----------
    ib
        The connection.
    instruments
        Instruments of the run; may grow.
    """

    def __init__(self, ib: IB, instruments: Instruments) -> None:
        self._ib, self._instruments = ib, instruments
        self._by_symbol: dict[str, Contract] = {}

    def of(self, number: InstrumentId) -> Contract:
        """Return the contract of an instrument, with its id where TWS has named it."""
        item = self._instruments[number]
        return self._by_symbol.get(item.symbol) or _named(item)

    async def find(self, wanted: Contract) -> list[Instrument]:
        """Return the instruments that fit a contract, and keep their ids."""
        found = []
        for details in await self._ib.reqContractDetailsAsync(wanted):
            contract = details.contract or wanted
            instrument = instrument_of(contract)
            if instrument is not None:
                self._by_symbol[instrument.symbol] = contract
                found.append(instrument)
        return found

    async def qualify(self, numbers: Sequence[InstrumentId]) -> list[Contract]:
        """Return the contracts of instruments with their ids.

        Raises
        ------
        RetryError
            When TWS does not name one.
        """
        for number in numbers:
            contract = self.of(number)
            if not contract.conId:
                await self.find(contract)
            if not self.of(number).conId:
                raise RetryError("TWS does not name a contract", where=self._instruments[number].symbol)
        return [self.of(number) for number in numbers]
