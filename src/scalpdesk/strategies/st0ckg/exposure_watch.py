"""Dealer gamma of the chain as the desk itself sees it, and how it compares with earlier sessions."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scalpdesk.core.units import NANOS_PER_SECOND, InstrumentId
from scalpdesk.instruments.contract import OptionContract
from scalpdesk.instruments.sessions import Session
from scalpdesk.marketdata.dealer_gamma import ExposureRows, gamma_exposure, known_exposure_usd
from scalpdesk.portfolio.delta_engine import OptionValuer
from scalpdesk.strategies.contract import DeskView

NEAR_FRACTION = 0.005
REFRESH_SECONDS = 300.0
KEPT_SESSIONS = 60
QUANTILE = 0.9


class DealerExposure(NamedTuple):
    """Dealer gamma in USD per 1 %: of the whole chain and near the price; why not, where unknown."""

    total_usd: float | None
    total_p90_usd: float | None
    near_usd: float | None
    near_p90_usd: float | None
    unknown: str


class ChainExposure:
    """Computes the exposure when asked, and remembers one value a session to compare with.

    A desk event on the configured symbol goes before the own chain for the whole exposure while it is
    fresh; near the price only the chain can say.

    Parameters
    ----------
    symbol
        Its events count; the underlying's or another's.
    options
        All options on the underlying.
    engine
        An observer's delta engine: reading must not change what the desk's own remembers.
    p90_usd, near_p90_usd
        Given 90 % quantiles of the absolute exposure, of the chain and near the price; None counts sessions.
    least_sessions
        Sessions it takes for a quantile.
    """

    def __init__(
        self,
        symbol: str,
        options: Sequence[tuple[InstrumentId, OptionContract]],
        engine: OptionValuer,
        *,
        p90_usd: float | None,
        near_p90_usd: float | None,
        least_sessions: int,
    ) -> None:
        self._symbol = symbol
        self._p90_usd = p90_usd
        self._near_p90_usd = near_p90_usd
        self._least_sessions = least_sessions
        self._options = options
        self._engine = engine
        self._totals: deque[float] = deque(maxlen=KEPT_SESSIONS)
        self._nears: deque[float] = deque(maxlen=KEPT_SESSIONS)
        self._noted: Session | None = None
        self._chain_ns = 0
        self._chain: tuple[float | None, str] = (None, "")

    def read(self, view: DeskView, spot: float) -> DealerExposure:
        """Return the exposure as of now at an underlying of ``spot``."""
        event = view.market.gamma_exposures.get(self._symbol)
        total, why = known_exposure_usd(event, view.now_ns), ""
        near = None
        if event is None or total is None:
            total, why = self._of_chain(view, spot)
        else:
            near = _finite(event.near_usd)
        if near is None:
            near, why_near = self._sum(view, spot, NEAR_FRACTION)
            why = why or why_near
        if self._noted != view.session and total is not None and near is not None:
            self._noted = view.session
            self._totals.append(abs(total))
            self._nears.append(abs(near))
        # what is usual does not age within a session, however old the word that brought it
        usual = None if event is None else _finite(event.usual_usd)
        near_usual = None if event is None else _finite(event.near_usual_usd)
        return DealerExposure(
            total,
            self._p90_usd or usual or self._quantile(self._totals),
            near,
            self._near_p90_usd or near_usual or self._quantile(self._nears),
            why,
        )

    def _of_chain(self, view: DeskView, spot: float) -> tuple[float | None, str]:
        """Sum the whole chain, at most every five minutes."""
        if not self._chain_ns or view.now_ns - self._chain_ns >= REFRESH_SECONDS * NANOS_PER_SECOND:
            self._chain_ns = view.now_ns
            self._chain = self._sum(view, spot, None)
        return self._chain

    def _sum(self, view: DeskView, spot: float, within: float | None) -> tuple[float | None, str]:
        """Sum the chain, or its strikes within a fraction of ``spot``; None with the reason."""
        assert view.session is not None
        listed = [
            (number, contract)
            for number, contract in self._options
            if contract.expiry >= view.session.day
            and (within is None or abs(float(contract.strike) - spot) <= within * spot)
        ]
        if not listed:
            return None, "no options are listed near the price" if within else "no options are listed"
        interest = view.market.open_interest
        rows = ExposureRows(
            strike=np.array([float(contract.strike) for _, contract in listed]),
            is_call=np.array([contract.is_call for _, contract in listed]),
            gamma=np.array([self._gamma(number, view.now_ns) for number, _ in listed]),
            open_interest=np.array([float(interest.get(number, np.nan)) for number, _ in listed]),
            multiplier=np.array([float(contract.multiplier) for _, contract in listed]),
        )
        made = gamma_exposure(rows, spot)
        return made.net_usd, made.reason

    def _gamma(self, number: InstrumentId, now_ns: int) -> float:
        valuation = self._engine.value(number, now_ns, fresh=False)
        return float("nan") if valuation is None else valuation.greeks.gamma

    def _quantile(self, history: deque[float]) -> float | None:
        """Return the 90 % quantile of what earlier sessions showed; None while there are too few."""
        # the session under way is in it once it has been noted, and is left out: it compares with itself
        earlier = list(history)[:-1]
        if len(earlier) < self._least_sessions:
            return None
        return float(np.quantile(np.array(earlier), QUANTILE))


def _finite(value: float) -> float | None:
    return value if -1e300 < value < 1e300 else None
