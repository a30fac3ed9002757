"""The volatility at the money."""

import pytest

from scalpdesk.research.volatility import vol_at_the_money


@pytest.mark.parametrize(("strike", "implied"), [(105.0, 0.21), (94.9, None)])
def test_no_strike_far_from_the_spot_is_at_the_money(strike, implied):
    pair = [
        {"strike": strike, "years": 0.1, "root": "SPX", "iv": iv} for iv in (0.20, 0.22)
    ]  # a call and a put
    found = vol_at_the_money({"spot": 100.0, "options": pair})
    assert found == (None if implied is None else (0.1, pytest.approx(implied)))
