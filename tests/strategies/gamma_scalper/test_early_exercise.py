"""Exercise on the eve of an ex-date, against what is worth more by prices: exercised, or held."""

from datetime import date
from decimal import Decimal
from types import SimpleNamespace

import pytest

from scalpdesk.core.units import MINUTE_NS, years_between
from scalpdesk.instruments.contract import us_option
from scalpdesk.instruments.sessions import expiry_instant_ns, next_session, session_on
from scalpdesk.pricing import greeks
from scalpdesk.strategies.gamma_scalper.edge import early_exercise_gain

EVE = session_on(date(2018, 3, 15))
CALL, PUT = us_option("SPY180406C00268000"), us_option("SPY180406P00268000")
NOW_NS, EX_NS = EVE.close_ns - MINUTE_NS, next_session(EVE.day).open_ns
YEARS, TO_EX = years_between(NOW_NS, expiry_instant_ns(CALL)), years_between(NOW_NS, EX_NS)
RATE, VOL, DIVIDEND, STRIKE = 0.015, 0.16, 1.0968, 268.0


def price(spot, *, is_call, style):
    schedule = [(TO_EX, DIVIDEND)]
    return float(
        greeks(
            spot, STRIKE, YEARS, VOL, is_call, rate=RATE, dividends=schedule, style=style, model="escrowed"
        ).price
    )


def gain(spot):
    """What the desk finds, of quotes that know the dividend."""
    marks = {1: price(spot, is_call=True, style="american"), 2: price(spot, is_call=False, style="european")}

    def value(leg, now_ns, fresh):
        return SimpleNamespace(spot=spot, years=YEARS, rate=RATE, mark=marks[leg])

    coming = SimpleNamespace(instrument_id=0, ts_ex_ns=EX_NS, amount=Decimal(str(DIVIDEND)))
    view = SimpleNamespace(
        session=EVE,
        now_ns=NOW_NS,
        underlying=0,
        instruments={1: CALL, 2: PUT},
        delta_engine=SimpleNamespace(value=value),
        market=SimpleNamespace(dividends=[coming]),
    )
    return early_exercise_gain(view, SimpleNamespace(call_id=1, put_id=2, legs=(1, 2)))


@pytest.mark.parametrize("spot", [272.0, 276.0, 279.0, 280.0, 280.5, 281.0, 282.0, 284.0])
def test_a_call_is_exercised_where_its_payoff_is_more_than_what_holding_it_over_the_date_is_worth(spot):
    held = price(spot, is_call=True, style="european")
    more = spot - STRIKE - held
    found = gain(spot)
    if more > 0.0:
        assert found == pytest.approx(more, abs=2e-4)
    else:
        assert found is None


def test_both_answers_are_met():
    assert gain(279.0) is None
    assert gain(281.0) == pytest.approx(0.1585, abs=0.002)
