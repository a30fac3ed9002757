"""Tests of means and slopes over sessions, and the correction for many tests.

Observations of one session move together, so that each error is clustered by session (Cameron and Miller,
"A Practitioner's Guide to Cluster-Robust Inference", 2015). Many questions to the same sessions are corrected
by Holm's step-down rule (1979).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

FEWEST_SESSIONS = 10
"""With fewer clusters the error of a clustered test is far too small."""
_LEVEL = 0.05
_DRAWS = 500


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one test."""

    name: str
    unit: str
    observations: int
    sessions: int
    effect: float | None = None
    """Mean or slope, in the unit; None where it cannot be estimated."""
    low: float | None = None
    high: float | None = None
    """``low``, ``high``: Interval of 95 %, without the correction for many tests."""
    p_value: float | None = None
    control_p: float | None = None
    """Share of control draws with as large an effect: a test without a distribution."""
    adjusted_p: float | None = None
    """After Holm's correction for the tests that were run together; the larger p-value counts."""
    problem: str = ""
    """Why it was not tested."""

    @property
    def verdict(self) -> str:
        """Shown, and in which direction, only where the corrected p-value is below 5 %."""
        if self.adjusted_p is None or self.effect is None:
            return "not tested"
        if self.adjusted_p >= _LEVEL:
            return "not shown"
        return "shown, positive" if self.effect > 0.0 else "shown, negative"

    def with_estimate(self, found: "_Estimate", control_p: float | None = None) -> "Finding":
        """Return the finding with its effect as estimated."""
        ends = {"low": found.low, "high": found.high, "p_value": found.p_value, "control_p": control_p}
        return msgspec.structs.replace(self, effect=found.value, **ends)

    def document(self) -> dict[str, Any]:
        """Return the finding with its verdict, in JSON types."""
        row: dict[str, Any] = msgspec.to_builtins(self)
        return row | {"verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class _Estimate:
    """A coefficient with its clustered interval of 95 % and p-value."""

    value: float
    low: float
    high: float
    p_value: float


def mean_by_session(values: Floats, sessions: Labels) -> _Estimate:
    """Return the mean of observations, its error clustered by session."""
    return _fitted(values, np.ones((len(values), 1)), sessions)


def slope_by_session(values: Floats, on: Floats, controls: Floats, sessions: Labels) -> _Estimate:
    """Return the least-squares slope on ``on`` beside the columns of ``controls`` and a constant."""
    design = np.column_stack([on, np.ones(len(values)), controls])
    return _fitted(values, design, sessions)


def _fitted(values: Floats, design: Floats, sessions: Labels) -> _Estimate:
    from statsmodels.api import OLS  # noqa: PLC0415 - two seconds

    fitted = OLS(values, design).fit(cov_type="cluster", cov_kwds={"groups": sessions}, use_t=True)
    low, high = fitted.conf_int(_LEVEL)[0]
    return _Estimate(float(fitted.params[0]), float(low), float(high), float(fitted.pvalues[0]))


def sign_flip_p(values: Floats, sessions: Labels, rng: np.random.Generator, draws: int = 2_000) -> float:
    """Return the share of draws in which random signs by session give as large a mean.

    Exact where the values of a session are symmetric around zero when nothing is to be found.
    """
    _, place = np.unique(sessions, return_inverse=True)
    sums = np.bincount(place, weights=values)
    flipped = np.abs(rng.choice((-1.0, 1.0), (draws, len(sums))) @ sums)
    return float((1 + (flipped >= abs(sums.sum()) * (1.0 - 1e-12)).sum()) / (draws + 1))


def other_session_p(
    values: Floats,
    on: Floats,
    controls: Floats,
    sessions: Labels,
    slots: Labels,
    rng: np.random.Generator,
) -> float:
    """Return the share of draws in which other sessions' values of ``on`` give as large a slope.

    A draw deals the sessions' series out to other sessions; each keeps its time of day (``slots``). A series
    that follows the day alone thus keeps its shape, and only its tie to this session's outcome is cut.
    """
    others = np.column_stack([np.ones(len(values)), controls])
    basis, _ = np.linalg.qr(others)

    def slopes(columns: Floats) -> Floats:
        left = columns - basis @ (basis.T @ columns)
        size: Floats = np.abs((left.T @ values) / np.maximum((left * left).sum(axis=0), 1e-300))
        return size

    names, place = np.unique(sessions, return_inverse=True)
    table = np.full((len(names), int(slots.max()) + 1), np.nan)
    table[place, slots] = on
    drawn = np.stack([table[rng.permutation(len(names))][place, slots] for _ in range(_DRAWS)], axis=1)
    known = np.nan_to_num(drawn, nan=float(np.nanmean(on)))
    found = slopes(on[:, None])[0]
    return float((1 + (slopes(known) >= found * (1.0 - 1e-12)).sum()) / (_DRAWS + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down correction, in the order given."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests  # noqa: PLC0415 - two seconds

    return [float(each) for each in multipletests(list(p_values), method="holm")[1]]


def corrected(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with the p-value after the correction for all that were tested together."""
    tested = [
        (place, max(each.p_value, each.control_p or 0.0))
        for place, each in enumerate(findings)
        if each.p_value is not None
    ]
    adjusted: Mapping[int, float] = dict(
        zip((place for place, _ in tested), holm([p for _, p in tested]), strict=True)
    )
    return [
        msgspec.structs.replace(each, adjusted_p=adjusted.get(place)) for place, each in enumerate(findings)
    ]
