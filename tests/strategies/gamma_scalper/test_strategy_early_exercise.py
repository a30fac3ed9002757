"""Exercise on an evening, against what is worth more by prices: exercised, or held over the night."""

import math
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import pytest

from scalpdesk.core.units import MINUTE_NS, years_between
from scalpdesk.entry.shapes import STRADDLE
from scalpdesk.instruments.classes import us_option
from scalpdesk.instruments.sessions import expiry_instant_ns, next_session, session_on
from scalpdesk.pricing import greeks
from scalpdesk.strategies.gamma_scalper.edge import early_exercise_gain

EVE = session_on(date(2018, 3, 15))
CALL, PUT = us_option("SPY180406C00268000"), us_option("SPY180406P00268000")
NOW_NS, EX_NS = EVE.close_ns - MINUTE_NS, next_session(EVE.day).open_ns
YEARS, TO_EX = years_between(NOW_NS, expiry_instant_ns(CALL)), years_between(NOW_NS, EX_NS)
RATE, VOL, DIVIDEND, STRIKE = 0.015, 0.16, 1.0968, 268.0
HIGH_RATE = 0.05
(STRADDLE_HELD,) = STRADDLE.at([(1, CALL), (2, PUT)])


@dataclass
class CashDividend:
    """A dividend that is declared."""

    instrument_id: int
    ts_ex_ns: int
    amount: Decimal


@dataclass
class Valued:
    """A leg as the desk values it."""

    spot: float
    rate: float
    mark: float
    vol: float = VOL
    years: float = YEARS
    dividends: tuple[tuple[float, float], ...] = ()


class Evening:
    """A desk a minute before the close: its view, which also values the legs and holds the dividends."""

    session, now_ns, underlying = EVE, NOW_NS, 0
    instruments = MappingProxyType({1: CALL, 2: PUT})

    def __init__(self, value, dividends):
        self.value, self.dividends = value, dividends
        self.delta_engine = self.market = self

    def state(self, leg, now_ns):
        assert now_ns == NOW_NS
        return self.value(leg)


def price(spot, *, is_call, style):
    schedule = [(TO_EX, DIVIDEND)]
    return float(
        greeks(
            spot, STRIKE, YEARS, VOL, is_call, rate=RATE, dividends=schedule, style=style, model="escrowed"
        ).price
    )


def found_in(view, held=STRADDLE_HELD):
    found = early_exercise_gain(view, held, {1: 2, 2: 1})
    return found[0] if found[0] > 0.0 else None


def gain(spot):
    """The desk's findings from quotes that know the dividend."""
    marks = {1: price(spot, is_call=True, style="american"), 2: price(spot, is_call=False, style="european")}

    coming = CashDividend(0, EX_NS, Decimal(str(DIVIDEND)))
    return found_in(Evening(lambda leg: Valued(spot, RATE, marks[leg]), [coming]))


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


def gain_of_put(spot):
    """The desk's findings on a put in the money at a high rate, without a dividend ahead."""

    def at(is_call, vol=VOL):
        return greeks(spot, STRIKE, YEARS, vol, is_call, rate=HIGH_RATE, style="american")

    view = Evening(lambda leg: Valued(spot, HIGH_RATE, float(at(leg == 1).price)), [])
    view.greeks_at = lambda leg, now_ns, vol: at(leg == 1, vol)
    return found_in(view)


def held_over_the_night(spot, steps=600):
    """Value of the put that is not exercised before the next open, and as it may be from then on (a tree)."""
    step = YEARS / steps
    up = math.exp(VOL * math.sqrt(step))
    rise, discount = (math.exp(HIGH_RATE * step) - 1 / up) / (up - 1 / up), math.exp(-HIGH_RATE * step)
    waits = round(TO_EX / step)

    def payoff(step_number):
        return np.maximum(STRIKE - spot * up ** np.arange(-step_number, step_number + 1, 2.0), 0.0)

    worth = payoff(steps)
    for number in range(steps - 1, -1, -1):
        worth = discount * (rise * worth[1:] + (1 - rise) * worth[:-1])
        if number >= waits:
            worth = np.maximum(worth, payoff(number))
    return float(worth[0])


@pytest.mark.parametrize("spot", [262.0, 258.0, 254.0, 250.0, 246.0, 240.0])
def test_a_put_is_exercised_where_it_is_worth_its_payoff_and_loses_a_nights_interest(spot):
    more = STRIKE - spot - held_over_the_night(spot)
    found = gain_of_put(spot)
    if more > 0.0:
        assert found == pytest.approx(more, abs=5e-3)
    else:
        assert found is None


def test_both_answers_are_met_by_the_put():
    assert gain_of_put(254.0) is None
    assert gain_of_put(246.0) == pytest.approx(0.0266, abs=0.001)
