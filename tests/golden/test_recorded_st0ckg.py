"""st0ckg on recorded days: what its signals found, and why nothing was bought (docs/evidence/results.md)."""

from datetime import date
from pathlib import Path

import pytest

from scalpdesk.assembly import load_market
from scalpdesk.config.settings import load_settings
from scalpdesk_testing.kit.scalp_days import run_scalps

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not beside the project"),
]


def run(recorded_catalog, underlying, start, end, *overrides):
    """Run recorded days; nothing may be sent. Return the decisions."""
    here = (f"data.catalog={recorded_catalog}", f"strategies.st0ckg.underlying={underlying}")
    settings = load_settings("st0ckg", overrides=here)
    tape = load_market(settings, "lean", underlying=underlying, start=start, end=end, seed=1)
    day = run_scalps(tape, *here, *overrides)
    assert not day.orders
    assert day.engine.desk.attribution.nav_change == 0
    return day.decisions


def test_spy_of_october_2013_has_no_options_and_its_signals_stay_below_their_least_score(recorded_catalog):
    decisions = run(recorded_catalog, "SPY", date(2013, 10, 4), date(2013, 10, 11), "volume_sessions=3")
    reasons = [reason for one in decisions for reason in one.reasons]
    assert sum("OPTIONS_PIN absent: no options expire today" in reason for reason in reasons) == 6
    assert sum("OPENING_DRIVE absent: the opening was watched in" in reason for reason in reasons) == 2
    skipped = [reason for reason in reasons if reason.startswith("skipped")]
    assert skipped
    assert all(", least " in reason for reason in skipped)
    assert len(decisions) < 20


@pytest.mark.second
def test_goog_on_the_day_its_options_expire_offers_no_contract_that_passes(recorded_catalog):
    """With the quantile of the exposure set by hand: of 88 calls none is liquid enough."""
    decisions = run(
        recorded_catalog,
        "GOOG",
        date(2015, 12, 24),
        date(2015, 12, 24),
        "exposure_p90_usd=1e6",
        "near_exposure_p90_usd=1e6",
        "filters.trend_filter=false",
        "choose=tradable",
    )
    refused = [one.reasons[0] for one in decisions if "of 88 contracts" in one.reasons[0]]
    assert refused[0] == (
        "skipped: of 88 contracts: 45 with a one_sided quote, 28 with fewer than 500 open,"
        " 15 with a spread above 10%"
    )
