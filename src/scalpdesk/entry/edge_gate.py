"""Is there anything to earn: what the forecast promises over what the options and the hedging cost."""

import math

import msgspec

from scalpdesk.core.errors import ArgumentError, ConfigError
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.volatility.forecast import VolForecast

TRADING_DAYS_PER_YEAR = 252.0


class Edge(msgspec.Struct, frozen=True):
    """Expected profit of one straddle, hedged, over a horizon.

    Parameters
    ----------
    gross_usd
        Gamma profit less theta.
    spread_usd, hedge_cost_usd
        What is taken off.
    net_usd
        What is left.
    """

    gross_usd: float
    spread_usd: float
    hedge_cost_usd: float
    net_usd: float


class EdgeInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What an edge is computed from, for one straddle.

    Parameters
    ----------
    spot
        USD per share, above 0.
    gamma_per_usd
        Gamma of call plus put, per share.
    implied_vol
        Mid implied volatility of the straddle, per year.
    horizon_days
        Trading days that it is meant to be held.
    spread_usd
        Cost of a full round trip in both legs: ``multiplier × (spread of call + spread of put)``.
    hedge_cost_usd
        Expected cost of hedging over the horizon, see :mod:`scalpdesk.hedging.expected_cost`.
    multiplier
        Units of the underlying in one contract.
    """

    spot: float
    gamma_per_usd: float
    implied_vol: float
    horizon_days: float
    spread_usd: float
    hedge_cost_usd: float
    multiplier: int


def edge_usd(inputs: EdgeInputs, forecast_vol: float) -> Edge:
    """Edge of one straddle at a forecast volatility.

    ``multiplier · ½ · Γ · S² · (σf² − σi²) · H/252 − spread − hedging``. Gamma is held constant: good
    for moves up to about ``S·σ·√τ`` and horizons short against the time to expiry.

    Parameters
    ----------
    inputs
        The straddle.
    forecast_vol
        σf, per year of 252 trading days.

    Raises
    ------
    ArgumentError
        When a number is not finite or out of its range.

    Examples
    --------
    >>> straddle = EdgeInputs(spot=500.0, gamma_per_usd=0.02, implied_vol=0.18, horizon_days=5,
    ...                       spread_usd=12.0, hedge_cost_usd=8.0, multiplier=100)
    >>> round(edge_usd(straddle, 0.22).net_usd, 6)
    59.365079
    """
    for name in inputs.__struct_fields__:
        _refuse_bad(name, getattr(inputs, name), zero_allowed=name not in {"spot", "multiplier"})
    _refuse_bad("forecast_vol", forecast_vol, zero_allowed=True)
    premium = forecast_vol**2 - inputs.implied_vol**2
    gross = _half_gamma_cash(inputs) * premium
    net = gross - inputs.spread_usd - inputs.hedge_cost_usd
    return Edge(gross, inputs.spread_usd, inputs.hedge_cost_usd, net)


def _half_gamma_cash(inputs: EdgeInputs) -> float:
    years = inputs.horizon_days / TRADING_DAYS_PER_YEAR
    return inputs.multiplier * 0.5 * inputs.gamma_per_usd * inputs.spot**2 * years


def _refuse_bad(name: str, value: float, *, zero_allowed: bool) -> None:
    if not (math.isfinite(value) and (value > 0.0 or (zero_allowed and value == 0.0))):
        bound = "zero or more" if zero_allowed else "above zero"
        raise ArgumentError(f"{name} must be a finite number, {bound}", where=name, value=value)


class EdgeGateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the gate.

    Parameters
    ----------
    min_edge_usd
        Net edge per straddle that is worth the trouble.
    k_stderr
        The net edge must also be this many of its own standard errors.
    min_vol_ratio
        Forecast over implied volatility must reach this.
    """

    min_edge_usd: float = 5.0
    k_stderr: float = 1.0
    min_vol_ratio: float = 1.05

    def __post_init__(self) -> None:
        if not math.isfinite(self.min_edge_usd):
            raise ConfigError("min_edge_usd must be finite", where="min_edge_usd", value=self.min_edge_usd)
        for key in ("k_stderr", "min_vol_ratio"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= 0.0):
                raise ConfigError(f"{key} must be a finite number, zero or more", where=key, value=value)


class EdgeVerdict(msgspec.Struct, frozen=True):
    """What the gate answers.

    Parameters
    ----------
    passed
        Whether to enter.
    reasons
        Every test with its numbers when passed; every test that failed when not.
    edge
        None when it could not be computed.
    stderr_usd
        Standard error of the edge in USD, from that of the forecast.
    vol_ratio
        Forecast over implied.
    """

    passed: bool
    reasons: tuple[str, ...]
    edge: Edge | None
    stderr_usd: float | None
    vol_ratio: float | None


class GatePasses:
    """Counts evaluations that pass in a row, at least so far apart: one tick's noise buys nothing.

    Parameters
    ----------
    needed
        Passes in a row that let an entry through.
    spacing_seconds
        Least time between two evaluations; what is asked sooner does not count.

    Examples
    --------
    >>> passes = GatePasses(2, 60.0)
    >>> [passes.is_due(at) and passes.note(at, passed=True) for at in (0, 14 * 10**9, 60 * 10**9)]
    [False, False, True]
    """

    def __init__(self, needed: int, spacing_seconds: float) -> None:
        self.needed = needed
        self._spacing_ns = int(spacing_seconds * NANOS_PER_SECOND)
        self.count = 0
        """Passes in a row so far."""
        self._last_ns: int | None = None

    def is_due(self, now_ns: int) -> bool:
        """Return whether an evaluation counts now."""
        return self.needed <= 1 or self._last_ns is None or now_ns - self._last_ns >= self._spacing_ns

    def note(self, now_ns: int, *, passed: bool) -> bool:
        """Count an evaluation; return whether enough in a row have passed."""
        self._last_ns = now_ns
        self.count = self.count + 1 if passed else 0
        return self.count >= self.needed

    def forget(self) -> None:
        """Begin anew, as after an entry or a night."""
        self.count, self._last_ns = 0, None


class EdgeGate:
    """Let an entry through only when its edge pays, and say why not."""

    Config = EdgeGateConfig

    def __init__(self, config: EdgeGateConfig | None = None) -> None:
        self.config = EdgeGateConfig() if config is None else config

    def judge(self, inputs: EdgeInputs, forecast: VolForecast) -> EdgeVerdict:
        """Return whether the straddle's edge is enough at this forecast.

        Parameters
        ----------
        inputs
            The straddle; an implied volatility that is not above zero is a refusal, not an error.
        forecast
            From :func:`scalpdesk.volatility.forecast_vol`; an unknown one is a refusal with its reason.

        Raises
        ------
        ArgumentError
            When another number of the straddle is not finite or out of its range.
        """
        unknown = []
        if not forecast.known:
            unknown.append(f"no volatility forecast: {forecast.reason or 'it is not a number'}")
        if not (math.isfinite(inputs.implied_vol) and inputs.implied_vol > 0.0):
            unknown.append("no implied volatility of the straddle")
        if unknown:
            return EdgeVerdict(
                passed=False, reasons=tuple(unknown), edge=None, stderr_usd=None, vol_ratio=None
            )
        config = self.config
        edge = edge_usd(inputs, forecast.vol)
        stderr = _half_gamma_cash(inputs) * 2.0 * forecast.vol * forecast.stderr
        ratio = forecast.vol / inputs.implied_vol
        net = f"edge {edge.net_usd:.2f} USD"
        tests = (
            (edge.net_usd, config.min_edge_usd, net, f"{config.min_edge_usd:.2f} USD (min_edge_usd)"),
            (
                edge.net_usd,
                config.k_stderr * stderr,
                net,
                f"{config.k_stderr:g} × {stderr:.2f} USD standard error (k_stderr)",
            ),
            (
                ratio,
                config.min_vol_ratio,
                f"forecast {forecast.vol:.4f} / implied {inputs.implied_vol:.4f} = {ratio:.3f}",
                f"{config.min_vol_ratio:g} (min_vol_ratio)",
            ),
        )
        failed = [f"{what} is below {bound}" for value, least, what, bound in tests if not value >= least]
        met = [f"{what} is at least {bound}" for _, _, what, bound in tests]
        return EdgeVerdict(
            passed=not failed,
            reasons=tuple(failed or met),
            edge=edge,
            stderr_usd=stderr,
            vol_ratio=ratio,
        )
