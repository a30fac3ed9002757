import subprocess
import sys

import numpy as np
import pytest

from scalpdesk.core.errors import ArgumentError
from scalpdesk.core.sockets import PRICING_MODELS
from scalpdesk.pricing import greeks
from scalpdesk.pricing.american import AmericanModel
from scalpdesk.pricing.models import chosen_model

NAMES = ("price", "delta", "gamma", "theta", "vega", "rho", "vanna", "volga", "charm")


def test_arrays_broadcast_to_one_shape_of_float64():
    g = greeks([[100.0], [101.0]], [95.0, 100.0, 105.0], 0.1, 0.2, True)
    for name in NAMES:
        values = getattr(g, name)
        assert values.shape == (2, 3)
        assert values.dtype == np.float64


def test_numbers_give_arrays_without_dimensions():
    g = greeks(100, 100, 1, 0.2, True, rate=0.05)
    assert g.price.shape == ()
    assert float(g.price) == pytest.approx(10.4506, abs=1e-4)


def test_no_elements_give_no_elements():
    assert greeks(np.empty(0), 100.0, 0.1, 0.2, True).price.shape == (0,)


def test_the_style_is_american_unless_said_otherwise():
    american = greeks(80.0, 100.0, 1.0, 0.2, False, rate=0.05)
    european = greeks(80.0, 100.0, 1.0, 0.2, False, rate=0.05, style="european")
    assert float(american.price) == 20.0
    assert float(european.price) < 20.0


def test_text_for_a_number_is_refused():
    with pytest.raises(ArgumentError, match="spot must be a number"):
        greeks("a lot", 100.0, 0.1, 0.2, True)


def test_a_slip_in_a_name_suggests_the_right_one():
    with pytest.raises(ArgumentError) as refusal:
        greeks(100.0, 100.0, 0.1, 0.2, True, style="amercian")
    assert refusal.value.nearest == "american"
    with pytest.raises(ArgumentError) as refusal:
        greeks(100.0, 100.0, 0.1, 0.2, True, model="blak76")
    assert refusal.value.nearest == "black76"


def test_every_model_name_is_answered():
    for model in PRICING_MODELS.own_names():
        g = greeks(100.0, 100.0, 0.1, 0.2, True, model=model)
        assert float(g.price) > 0.0


def test_without_dividends_their_models_are_the_plain_one():
    for model in ("bsm", "escrowed", "spot"):
        assert chosen_model("american", model, has_dividends=False) == AmericanModel()


def test_black76_takes_the_forward():
    forward = greeks(100.0, 95.0, 0.5, 0.3, [True, False], rate=0.05, model="black76", style="european")
    spot = greeks(100.0, 95.0, 0.5, 0.3, [True, False], rate=0.05, dividend_yield=0.05, style="european")
    assert forward.price == pytest.approx(spot.price, rel=1e-14)
    # with the forward held, the rate only discounts
    assert forward.rho == pytest.approx(-0.5 * forward.price, rel=1e-12)


@pytest.mark.parametrize("style", ["american", "european"])
def test_black76_rho_is_the_slope_in_the_rate(style):
    terms = {"model": "black76", "style": style}
    up = greeks(100.0, 110.0, 0.7, 0.3, False, rate=0.0503, **terms).price
    down = greeks(100.0, 110.0, 0.7, 0.3, False, rate=0.0497, **terms).price
    rho = greeks(100.0, 110.0, 0.7, 0.3, False, rate=0.05, **terms).rho
    assert float(rho) == pytest.approx(float(up - down) / 0.0006, rel=1e-4)


def test_dividends_on_a_forward_are_refused():
    with pytest.raises(ArgumentError, match="forward"):
        greeks(100.0, 100.0, 0.5, 0.2, True, dividends=[(0.1, 1.0)], model="black76")


def test_importing_the_package_loads_no_compiler():
    code = "import sys, scalpdesk.pricing, scalpdesk.pricing.base; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import scalpdesk.pricing

    with pytest.raises(AttributeError, match="prices"):
        _ = scalpdesk.pricing.prices
