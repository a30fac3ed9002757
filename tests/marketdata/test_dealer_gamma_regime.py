"""The threshold that a gamma regime asks for."""

from decimal import Decimal

import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.events import GammaExposureEvent
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.marketdata.dealer_gamma import known_exposure_usd, threshold_by_dealers, threshold_by_own_gamma

NAN = float("nan")
AT_NS = 1_700_000_000 * NANOS_PER_SECOND


def said(usd: float, source: str = "firestore") -> GammaExposureEvent:
    """Return a word on dealer gamma stamped ``AT_NS``."""
    return GammaExposureEvent("SPX", AT_NS, AT_NS, usd, source)


@pytest.mark.rows(
    ("usd", "expected"), [(-15_000.0, "0.10"), (1.0, "0.15"), (0.0, "0.15"), (None, "0.15"), (NAN, "0.15")]
)
def test_dealers_short_gamma_tighten_the_threshold(usd: float | None, expected: str) -> None:
    assert threshold_by_dealers(usd) == Decimal(expected)


@pytest.mark.rows(("own", "expected"), [(-0.1, "0.10"), (0.1, "0.15"), (0.0, "0.15"), (None, "0.15")])
def test_a_desk_short_gamma_tightens_its_own_threshold(own: float | None, expected: str) -> None:
    assert threshold_by_own_gamma(own) == Decimal(expected)


def test_both_rules_take_other_thresholds() -> None:
    thresholds = {"standard": Decimal(3), "tight": Decimal(2)}
    assert threshold_by_dealers(-1.0, **thresholds) == 2
    assert threshold_by_own_gamma(1.0, **thresholds) == 3


@pytest.mark.rows("rule", [threshold_by_dealers, threshold_by_own_gamma])
@pytest.mark.rows(("standard", "tight"), [("0.1", "0.2"), ("0.1", "-0.1")])
def test_thresholds_out_of_order_are_refused(rule: object, standard: str, tight: str) -> None:
    with pytest.raises(ArgumentError, match="tight threshold"):
        rule(-1.0, standard=Decimal(standard), tight=Decimal(tight))  # type: ignore[operator]


def test_a_word_is_known_for_a_quarter_of_an_hour() -> None:
    until = AT_NS + 900 * NANOS_PER_SECOND
    assert known_exposure_usd(said(-5.0), until) == -5.0
    assert known_exposure_usd(said(-5.0), until + 1) is None
    assert known_exposure_usd(said(-5.0), until + 1, max_age_seconds=1_000.0) == -5.0


def test_what_a_person_set_does_not_age() -> None:
    assert known_exposure_usd(said(-5.0, "environment"), AT_NS + 10**15) == -5.0


@pytest.mark.rows("usd", [NAN, float("inf"), float("-inf")])
def test_what_is_no_number_is_not_known(usd: float) -> None:
    assert known_exposure_usd(said(usd, "environment"), AT_NS) is None


def test_without_a_word_nothing_is_known() -> None:
    assert known_exposure_usd(None, AT_NS) is None
