"""What the folder is shown: the underlying, the options held and some that could be, as market events."""

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.marketdata.quotes import QuoteVerdict
from scalpdesk.protocol.messages import market_event
from scalpdesk.protocol.values import ts_text
from scalpdesk.strategies.contract import DeskView
from scalpdesk.strategies.external.config import ExternalConfig

SOURCE = "scalpdesk"
DECIMALS = 8
"""Greeks are shown to so many."""
_USABLE = frozenset({QuoteVerdict.GOOD, QuoteVerdict.LOCKED, QuoteVerdict.ZERO_BID, QuoteVerdict.ONE_SIDED})
_encode = msgspec.json.Encoder().encode
_DAY_NS = 86_400 * NANOS_PER_SECOND


class MarketPicture:
    """Turns the desk's view into market events of protocol v1.

    Parameters
    ----------
    config
        What is shown.
    options
        The underlying's options with their numbers.
    """

    def __init__(
        self, config: ExternalConfig, options: Sequence[tuple[InstrumentId, OptionContract]]
    ) -> None:
        self._config = config
        self._contracts = dict(options)
        self._by_expiry: dict[date, list[tuple[Decimal, InstrumentId]]] = {}
        for number, contract in options:
            self._by_expiry.setdefault(contract.expiry, []).append((contract.strike, number))
        self._told: set[InstrumentId] = set()
        """Options that the folder takes to be held."""

    def forget(self) -> None:
        """The folder begins afresh: it takes nothing to be held."""
        self._told.clear()

    def events(self, view: DeskView, request: int) -> tuple[str, ...]:
        """Return the events of one request; empty while the underlying has no usable price."""
        spot = view.market.mark(view.underlying)
        if spot is None or view.market.verdict(view.underlying, view.now_ns) not in _USABLE:
            return ()
        session = view.session
        day = f"{session.day:%Y%m%d}" if session is not None else str(view.now_ns // _DAY_NS)
        ts = ts_text(view.now_ns)
        shown: list[tuple[str, dict[str, Any]]] = []
        for number in self._options(view, spot):
            payload = self._option(view, number, spot)
            if payload is not None:
                shown.append((self._contracts[number].symbol, payload))
        # the underlying comes last: a folder that acts on it has seen every option of the same instant
        shown.append((view.instruments[view.underlying].symbol, self._underlying(view, spot)))
        made = []
        for index, (symbol, payload) in enumerate(shown, start=1):
            payload["picture_index"], payload["picture_size"] = index, len(shown)
            event = market_event(f"{day}_{request}_{index}", ts, symbol, SOURCE, payload)
            made.append(_encode(event).decode())
        return tuple(made)

    def _underlying(self, view: DeskView, spot: float) -> dict[str, Any]:
        payload: dict[str, Any] = {"price": spot, "underlying_price": spot}
        payload |= _prices(view, view.underlying)
        payload["position_shares"] = float(view.positions.quantity(view.underlying))
        payload["pending_shares"] = float(view.orders.pending(view.underlying))
        if self._config.shares_as_position:
            payload["delta"] = 1.0
            payload["quantity"] = float(view.exposure(view.underlying))
        return payload

    def _options(self, view: DeskView, spot: float) -> list[InstrumentId]:
        """Return what is held or ordered, what was held, and the nearest of the chain; in that order."""
        held = [one.instrument_id for one in view.positions.held()]
        ordered = [one.submitted.instrument_id for one in view.orders.live.values()]
        wanted = dict.fromkeys(number for number in (*held, *ordered) if number in self._contracts)
        wanted |= dict.fromkeys(sorted(self._told))
        wanted |= dict.fromkeys(self._nearest(view, spot))
        return list(wanted)

    def _nearest(self, view: DeskView, spot: float) -> list[InstrumentId]:
        most, session = self._config.chain_contracts, view.session
        if not most or session is None:
            return []
        expiries = [expiry for expiry in self._by_expiry if expiry >= session.day]
        if not expiries:
            return []
        at = Decimal(f"{spot:.4f}")
        rows = sorted(self._by_expiry[min(expiries)], key=lambda row: (abs(row[0] - at), row))
        return [number for _, number in rows[:most]]

    def _option(self, view: DeskView, number: InstrumentId, spot: float) -> dict[str, Any] | None:
        """Return an option's payload; None while its delta is not known and it is held, or never was."""
        contract = self._contracts[number]
        held = view.positions.quantity(number)
        unit = contract.multiplier if self._config.quantity_unit == "shares" else 1
        payload: dict[str, Any] = {
            "quantity": float(held * unit),
            "pending_quantity": float(view.orders.pending(number) * unit),
            "quantity_unit": self._config.quantity_unit,
            "multiplier": contract.multiplier,
            "underlying_price": spot,
        }
        value = view.delta_engine.value(number, view.now_ns, fresh=False)
        greeks = None if value is None else value.greeks
        if greeks is None or not math.isfinite(greeks.delta):
            if held or number not in self._told:
                return None  # a delta that is not there must not be read as none
            payload["delta"] = 0.0
        else:
            payload["delta"] = round(float(greeks.delta), DECIMALS)
            for name in ("gamma", "theta", "vega"):
                figure = float(getattr(greeks, name))
                if math.isfinite(figure):
                    payload[name] = round(figure / (365.0 if name == "theta" else 1.0), DECIMALS)
        mark = view.market.mark(number)
        if mark is not None:
            payload["price"] = mark
        payload |= _prices(view, number)
        if held:
            self._told.add(number)
        else:
            self._told.discard(number)
        return payload


def _prices(view: DeskView, number: InstrumentId) -> dict[str, float]:
    quote = view.market.quotes[number]
    if quote is None:
        return {}
    sides = {"bid": quote.bid, "ask": quote.ask}
    return {name: price for name, price in sides.items() if math.isfinite(price)}
