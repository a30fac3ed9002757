"""The caching pricer: every answer is that of the plain pricer, to the bit, and is computed once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalpdesk.instruments.classes import us_option
from scalpdesk.portfolio.option_pricer import CachingPricer, ContractPricer

CONTRACTS = [
    us_option(symbol) for symbol in ("SPY180209C00270000", "SPY180209P00265000", "SPXW180209C02700000")
]
PLAIN = ContractPricer()
terms = st.tuples(
    st.floats(200.0, 350.0), st.floats(1e-4, 0.5), st.floats(0.05, 1.5), st.floats(0.0, 0.05), st.just(0.01)
)


@settings(max_examples=20)
@given(st.sampled_from(CONTRACTS), st.lists(terms, min_size=1, max_size=5))
def test_greeks_and_volatilities_are_those_of_the_plain_pricer(contract, asked):
    pricer = CachingPricer()
    for _ in range(2):
        for spot, years, vol, rate, dividend_yield in asked:
            question = contract, spot, years, vol, rate, dividend_yield
            assert pricer.greeks(*question) == PLAIN.greeks(*question)
            price = PLAIN.greeks(*question).price
            inverse = contract, price, spot, years, rate, dividend_yield
            assert pricer.implied_vol(*inverse) == PLAIN.implied_vol(*inverse)
            assert pricer.greeks(*question) is pricer.greeks(*question)


def columns(vol):
    strike = np.array([262.0, 266.0, 270.0, 274.0])
    is_call = strike >= 268.0
    spot, years = np.full(4, 268.0), np.full(4, 0.02)
    rate, dividend_yield = np.full(4, 0.01), np.zeros(4)
    price = np.array(
        [
            PLAIN.greeks(
                us_option(f"SPY180209{'C' if call else 'P'}{int(each * 1000):08}"),
                268.0,
                0.02,
                vol,
                0.01,
                0.0,
            ).price
            for each, call in zip(strike, is_call, strict=True)
        ]
    )
    return price, is_call, spot, strike, years, rate, dividend_yield


def test_columns_are_those_of_the_plain_pricer_and_cannot_be_written():
    pricer = CachingPricer()
    for vol in (0.2, 0.3, 0.2):
        found, expected = (each.vols_and_greeks(CONTRACTS[0], *columns(vol)) for each in (pricer, PLAIN))
        for mine, plain in zip(found, expected, strict=True):
            assert np.array_equal(mine, plain)
        assert found[0] == pytest.approx(np.full(4, vol), rel=1e-6)
        with pytest.raises(ValueError, match="read-only"):
            found[0][0] = 0.0
    kinds = [pricer.vols_and_greeks(each, *columns(0.2))[0] for each in (CONTRACTS[0], CONTRACTS[2])]
    assert not np.array_equal(*kinds)  # an American put is worth more than a European one


def test_forwards_and_smiles_are_those_of_the_plain_pricer():
    pricer = CachingPricer()
    strike = np.arange(260.0, 276.0, 2.0)
    call = np.maximum(268.0 - strike, 0.0) + 1.5
    put = call - (268.3 - strike)
    pairs = np.array([strike, call - 0.01, call + 0.01, put - 0.01, put + 0.01])
    for style in ("european", "american", "european"):
        question = pairs, 268.0, 0.05, 0.01, style
        assert pricer.forward(*question) == PLAIN.forward(*question)
    assert pricer.forward(pairs, 268.0, 0.05, 0.0, "european").forward == pytest.approx(268.3, abs=1e-9)
    k = np.log(strike / 268.0)
    vol = 0.2 - 0.3 * k + k * k
    question = k, vol - 0.01, vol + 0.01, 0.05
    assert pricer.smile(*question) is pricer.smile(*question)
    assert pricer.smile(*question) == PLAIN.smile(*question)
    pricer.forget()
    assert pricer.smile(*question) == PLAIN.smile(*question)
