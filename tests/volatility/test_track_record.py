import math
from datetime import date, timedelta

import pytest

from scalpdesk.core.errors import ArgumentError, DataError
from scalpdesk.volatility.track_record import KeptForecast, read_lines, score_record, to_line

DAYS = [date(2024, 1, 1) + timedelta(days=n) for n in range(8)]
CLOSES = dict(zip(DAYS, [100.0, 101.0, 99.0, 99.5, 98.0, 98.0, 99.0, 100.0], strict=True))


def kept(day, *, model="har", horizon=1, vol=0.2, low=0.0, high=0.3):
    return KeptForecast("XYZ", day, model, horizon, vol, low, high, 0.9)


def test_a_line_comes_back_as_it_was_and_the_last_of_a_key_counts():
    first, second = kept(DAYS[1]), kept(DAYS[2], model="ewma")
    corrected = kept(DAYS[1], vol=0.25)
    lines = [to_line(first), "", to_line(second), to_line(corrected)]
    assert read_lines(lines, "file") == (corrected, second)


@pytest.mark.rows("line", ["{", '{"symbol": "XYZ"}', "[]", '{"symbol": 3}'])
def test_a_damaged_line_is_named(line):
    with pytest.raises(DataError) as refusal:
        read_lines([to_line(kept(DAYS[1])), line], "forecasts.jsonl")
    assert refusal.value.where == "forecasts.jsonl:2"


def test_one_forecast_is_held_against_the_days_it_is_about():
    (record,) = score_record([kept(DAYS[2], horizon=2, vol=0.2, low=0.1, high=0.3)], CLOSES)
    realised = (math.log(99 / 101) ** 2 + math.log(99.5 / 99) ** 2) / 2
    said = 0.2**2 / 252
    assert (record.forecasts, record.pending) == (1, 0)
    assert record.qlike == pytest.approx(realised / said + math.log(said * 1e4))
    assert record.bias == pytest.approx(said / realised)
    assert record.inside == float(0.1 <= math.sqrt(252 * realised) <= 0.3)
    assert record.confidence == 0.9


def test_inside_counts_the_share_and_an_exact_forecast_has_no_bias():
    one, two = abs(math.log(101 / 100)), abs(math.log(99 / 101))
    vols = [math.sqrt(252) * size for size in (one, two)]
    right = [
        kept(day, vol=vol, low=vol * 0.99, high=vol * 1.01) for day, vol in zip(DAYS[1:], vols, strict=False)
    ]
    wrong = kept(DAYS[3], vol=0.9, low=0.8, high=1.0)
    assert score_record(right, CLOSES)[0].bias == pytest.approx(1.0)
    assert score_record([*right, wrong], CLOSES)[0].inside == pytest.approx(2 / 3)


@pytest.mark.rows(("day", "horizon"), [(DAYS[7], 2), (DAYS[7] + timedelta(days=1), 1), (DAYS[0], 1)])
def test_what_has_not_come_yet_is_pending(day, horizon):
    (record,) = score_record([kept(day, horizon=horizon)], CLOSES)
    assert (record.forecasts, record.pending) == (0, 1)
    assert record.qlike is record.bias is record.inside is None


def test_models_and_horizons_are_told_apart_and_symbols_refused():
    made = [kept(DAYS[1], horizon=5), kept(DAYS[1]), kept(DAYS[1], model="ewma")]
    names = [(record.horizon_days, record.model) for record in score_record(made, CLOSES)]
    assert names == [(1, "ewma"), (1, "har"), (5, "har")]
    other = KeptForecast("ABC", DAYS[1], "har", 1, 0.2, 0.1, 0.3, 0.9)
    with pytest.raises(ArgumentError, match="symbol by symbol"):
        score_record([kept(DAYS[1]), other], CLOSES)
    with pytest.raises(ArgumentError, match="above zero"):
        score_record([kept(DAYS[1])], CLOSES | {DAYS[3]: 0.0})
    assert score_record([], CLOSES) == ()
