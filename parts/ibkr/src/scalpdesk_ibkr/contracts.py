"""Instruments as contracts of TWS, and contracts as instruments.

TWS names a contract for good by its id (conId); everything else may fit several. Each instrument is qualified
once, and its id goes with every request. Terms come from its details: options by their OCC symbol, futures by
their month, multiplier and price step.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation

from ib_async import ComboLeg, Contract, ContractDetails

from scalpdesk.core.errors import ArgumentError, RetryError
from scalpdesk.core.units import InstrumentId
from scalpdesk.instruments.classes import FUTURES, MultiplierError, us_option
from scalpdesk.instruments.contract import Equity, Future, Index, Instrument, Instruments, Settlement
from scalpdesk.instruments.ticks import TickRule
from scalpdesk.venues.bounds import is_count
from scalpdesk_ibkr import codes, messages
from scalpdesk_ibkr.connection import TwsConnection, TwsRefusalError

SMART, CURRENCY = messages.SMART, "USD"
_LAST_TRADE_DAYS = 4
"""A.M.-settled options are listed by their last trading day: as many days before the expiry at most."""
INDEX_EXCHANGE = messages.CBOE


def _named(instrument: Instrument) -> Contract:
    """Return what names an instrument to TWS, without its id."""
    if instrument.is_option:
        # TWS dates A.M. options by their last trading day; the local symbol has the date of their expiry
        local = f"{instrument.root:<6}{instrument.symbol[len(instrument.root) :]}"
        is_morning = instrument.settlement is Settlement.CASH_AM
        return Contract(
            secType=messages.OPTION,
            symbol=_tws_symbol(instrument.underlying),
            localSymbol=local if is_morning else "",
            lastTradeDateOrContractMonth="" if is_morning else f"{instrument.expiry:%Y%m%d}",
            strike=float(instrument.strike),
            right=instrument.right.value,
            multiplier=str(instrument.multiplier),
            exchange=SMART,
            currency=instrument.currency,
            tradingClass=instrument.root,
        )
    if not (instrument.is_index or instrument.is_share):
        return future_named(instrument.symbol)
    kind, exchange = (messages.INDEX, INDEX_EXCHANGE) if instrument.is_index else (messages.SHARE, SMART)
    symbol = _tws_symbol(instrument.symbol)
    return Contract(secType=kind, symbol=symbol, exchange=exchange, currency=instrument.currency)


def _tws_symbol(symbol: str) -> str:
    """Return the symbol of a share as TWS writes it: ``BRK B`` for BRK.B."""
    return symbol.replace(".", " ")


def future_named(symbol: str) -> Contract:
    """Return the contract of a future by its name, as ``ES_202612``.

    >>> future_named("ES_202612").lastTradeDateOrContractMonth
    '202612'
    """
    root, _, month = symbol.partition("_")
    exchange = FUTURES[root].exchange if root in FUTURES else ""
    return Contract(
        secType=messages.FUTURE,
        symbol=root,
        lastTradeDateOrContractMonth=month,
        exchange=exchange,
        currency=CURRENCY,
    )


def instrument_of(
    contract: Contract, price_step: float = 0.0, *, is_on_share: bool = False
) -> Instrument | None:
    """Return the instrument that a contract of TWS names; None for what the desk does not trade.

    ``price_step``: Its smallest change of price, of a future; 0 where only details state it.
    ``is_on_share``: Whether the underlying of an option is known to be a share.
    """
    if contract.currency != CURRENCY:
        return None
    try:
        return _named_by(contract, price_step, is_on_share=is_on_share)
    except (ArgumentError, ValueError, InvalidOperation):
        return None


def _named_by(contract: Contract, price_step: float, *, is_on_share: bool) -> Instrument | None:
    """Return what :func:`instrument_of` does; raises MultiplierError where the multiplier is not its own."""
    share = contract.symbol.replace(" ", ".")
    multiplier = Decimal(contract.multiplier) if contract.multiplier else None
    if contract.secType == messages.OPTION:
        symbol = contract.localSymbol.replace(" ", "")
        return us_option(symbol, [share] if is_on_share else (), multiplier=multiplier)
    if contract.secType == messages.FUTURE and price_step:
        return Future(
            f"{contract.symbol}_{contract.lastTradeDateOrContractMonth[:6]}",
            contract.symbol,
            _day(contract.lastTradeDateOrContractMonth),
            TickRule(Decimal(str(price_step))),
            multiplier=_of_future(contract.symbol, multiplier),
        )
    if contract.secType == messages.SHARE:
        return Equity(share)
    return Index(contract.symbol) if contract.secType == messages.INDEX else None


def _of_future(root: str, stated: Decimal | None) -> int:
    """Return the multiplier of a future: that of its root, else as it is stated."""
    known = FUTURES[root].multiplier if root in FUTURES else None
    if stated is not None and known not in (None, stated):
        raise MultiplierError(
            f"its multiplier is stated as {stated:f}, expected {known}", where="multiplier", value=root
        )
    if known is None and stated is not None and (not is_count(stated) or stated % 1):
        raise ValueError(f"a multiplier that is none: {stated}")
    return int(known if known is not None else stated or 1)


def _day(text: str) -> date:
    return datetime.strptime(text[:8], "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone


class Contracts:
    """Contracts of a run's instruments, with the ids that TWS gave them.

    ``instruments``: Instruments of the run; may grow.
    """

    def __init__(self, connection: TwsConnection, instruments: Instruments) -> None:
        self._connection, self._instruments = connection, instruments
        self._by_symbol: dict[str, Contract] = {}
        self._by_id: dict[int, Instrument] = {}
        self.on_refused: Callable[[str], None] = lambda _why: None
        """Called with a contract whose multiplier is not its own, in words."""

    def of(self, number: InstrumentId) -> Contract:
        """Return the contract of an instrument, with its id where TWS has named it."""
        item = self._instruments[number]
        return self._by_symbol.get(item.symbol) or _named(item)

    def instrument(self, contract: Contract) -> Instrument | None:
        """Return the instrument of a contract in a message; None for what the desk does not trade."""
        known = self._by_id.get(contract.conId)
        if known is None:
            number = self._instruments.find(contract.symbol.replace(" ", "."))
            is_on_share = number is not None and self._instruments[number].is_share
            known = instrument_of(contract, is_on_share=is_on_share)
        return known

    def _keep(self, details: ContractDetails, wanted: Contract) -> Instrument | None:
        contract = details.contract or wanted
        instrument = instrument_of(
            contract, details.minTick, is_on_share=details.underSecType == messages.SHARE
        )
        if instrument is not None:
            self._by_symbol[instrument.symbol] = contract
            self._by_id[contract.conId] = instrument
        return instrument

    async def find(self, wanted: Contract) -> list[Instrument]:
        """Return the instruments that fit a contract, and keep their ids.

        Where a multiplier is not the contract's own they are asked for once more, and then left out by name.
        """
        found = await self._details(wanted)
        odd = [details for details in found if self._is_odd(details)]
        if odd:
            found = await self._details(wanted)
        kept = (self._keep(details, wanted) for details in found)
        return [instrument for instrument in kept if instrument is not None]

    def _is_odd(self, details: ContractDetails) -> bool:
        """Return whether a contract is stated with another multiplier than its own, and tell so."""
        contract, is_on_share = details.contract, details.underSecType == messages.SHARE
        if contract is None or contract.currency != CURRENCY:
            return False
        try:
            _named_by(contract, details.minTick, is_on_share=is_on_share)
        except MultiplierError as error:
            self.on_refused(f"contract {contract.localSymbol}: {error.what}")
            return True
        except (ArgumentError, ValueError, InvalidOperation):
            return False
        return False

    async def _details(self, wanted: Contract) -> list[ContractDetails]:
        client = self._connection.client
        try:
            found = await self._connection.request(
                lambda request_id: client.reqContractDetails(request_id, wanted), "contracts"
            )
        except TwsRefusalError as refused:
            if refused.code != codes.UNKNOWN_CONTRACT:
                raise
            found = []
        return list(found)

    async def by_id(self, con_id: int) -> Instrument | None:
        """Return the instrument of an id; None for what the desk does not trade."""
        if con_id not in self._by_id:
            await self.find(Contract(conId=con_id))
        return self._by_id.get(con_id)

    async def qualify(self, numbers: Sequence[InstrumentId]) -> list[InstrumentId]:
        """Ask for the ids of instruments; return those that TWS does not name, renamed or adjusted since.

        Raises RetryError when TWS does not answer.
        """
        unnamed = []
        for number in numbers:
            contract = self.of(number)
            if not contract.conId:
                await self.find(contract)
            if not self.of(number).conId:
                unnamed.append(number)
        return unnamed

    async def named(self, number: InstrumentId) -> Contract:
        """Return the contract of an instrument with its id. Raises RetryError where TWS does not name it."""
        if await self.qualify([number]):
            raise RetryError("TWS does not name a contract", where=self._instruments[number].symbol)
        return self.of(number)

    def forget(self, number: InstrumentId) -> None:
        """Drop the id of an instrument that TWS does not know any more: it may have another one by now."""
        self._by_symbol.pop(self._instruments[number].symbol, None)

    def combo(self, legs: Iterable[tuple[InstrumentId, int, str]]) -> Contract:
        """Return the contract of a combo (BAG) of instruments, ratios and actions."""
        parts = tuple(legs)
        first = self._instruments[parts[0][0]]
        assert first.is_option
        return Contract(
            secType=messages.COMBO,
            symbol=_tws_symbol(first.underlying),
            exchange=SMART,
            currency=first.currency,
            comboLegs=[
                ComboLeg(conId=self.of(number).conId, ratio=ratio, action=action, exchange=SMART)
                for number, ratio, action in parts
            ],
        )

    async def options(self, underlying: str, first: date, last: date) -> list[Instrument]:
        """Return the options on an underlying that expire from ``first`` to ``last``.

        The option parameters (message 78) name the days and classes; each pair is then asked for once. Where
        TWS states no parameters, the months are.
        """
        named = _tws_symbol(underlying)
        found: dict[str, Instrument] = {}
        for day, trading_class in await self._expiries(underlying, first, last):
            asked = Contract(
                secType=messages.OPTION,
                symbol=named,
                lastTradeDateOrContractMonth=day,
                exchange=SMART,
                currency=CURRENCY,
                tradingClass=trading_class,
            )
            for item in await self.find(asked):
                if item.is_option and first <= item.expiry <= last:
                    found[item.symbol] = item
        return list(found.values())

    async def _expiries(self, underlying: str, first: date, last: date) -> list[tuple[str, str]]:
        """Return days of expiry with their trading classes, or months where TWS does not name the days."""
        own = self._by_symbol.get(underlying)
        if own is None:
            for kind, exchange in ((messages.SHARE, SMART), (messages.INDEX, INDEX_EXCHANGE)):
                contract = Contract(
                    secType=kind, symbol=_tws_symbol(underlying), exchange=exchange, currency=CURRENCY
                )
                if await self.find(contract):
                    own = self._by_symbol[underlying]
                    break
        if own is not None:
            client, named = self._connection.client, own
            with contextlib.suppress(TwsRefusalError):
                chains = await self._connection.request(
                    lambda request_id: client.reqSecDefOptParams(
                        request_id, named.symbol, "", named.secType, named.conId
                    ),
                    "option parameters",
                )
                pairs = {(day, chain.tradingClass) for chain in chains for day in chain.expirations}
                if chains:
                    begin = first - timedelta(days=_LAST_TRADE_DAYS)
                return sorted(pair for pair in pairs if begin <= _day(pair[0]) <= last)
        months, month = [], first.replace(day=1)
        while month <= last:
            months.append((f"{month:%Y%m}", ""))
            month = (month + timedelta(days=32)).replace(day=1)
        return months
