"""Clouds, flips, bounces, exhaustion, macro bias and conviction against second calculations."""

from datetime import date
from itertools import pairwise
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalpdesk.core.events import PriceAdjustmentEvent, QuoteEvent, SessionBarsEvent
from scalpdesk.instruments.sessions import NEW_YORK, session_on
from scalpdesk.signals.conviction import Conviction, ConvictionLevel, conviction_level, judge_conviction
from scalpdesk.signals.ema_cloud import (
    CLOUDS,
    CloudState,
    Ema,
    FrameClouds,
    Place,
    PriceSource,
    cloud_held,
    flip_direction,
    has_bounced,
    is_exhausted,
)
from scalpdesk_strategies.ema_scalper.cloud_watch import CloudWatch
from scalpdesk_strategies.ema_scalper.macro_bias import MacroFilter, last_closed_start_ns
from scalpdesk_strategies.ema_scalper.volume_surge import VolumeAverage, is_surge
from scalpdesk_testing.kit.cloud_bars import bar_event, candle, minutes_of

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
DAYS = [date(2013, 10, day) for day in (4, 7, 8, 9, 10, 11)]
MINUTE_NS = 60 * 10**9

prices = st.lists(st.integers(9_000, 11_000).map(lambda cents: cents / 100), min_size=2, max_size=60)


@given(prices, st.sampled_from([5, 12, 34, 89]))
def test_an_average_is_the_weighted_sum_of_all_values(values, period):
    average = Ema(period)
    got = [average.update(value) for value in values][-1]
    weight = 2 / (period + 1)
    weights = [weight * (1 - weight) ** age for age in range(len(values))]
    weights[-1] = (1 - weight) ** (len(values) - 1)
    assert got == pytest.approx(sum(w * v for w, v in zip(weights, reversed(values), strict=True)))


@given(prices)
def test_a_constant_price_has_a_cloud_without_thickness_and_never_flips(values):
    clouds = FrameClouds(tuple(CLOUDS))
    for place in range(len(values)):
        made = clouds.update(bar_event(place, values[0]))
    assert all(cloud.thickness == 0.0 and cloud.colour == 0 for cloud in made.clouds.values())
    assert made.fast.place is Place.INSIDE


@given(prices, prices)
def test_a_later_bar_changes_no_earlier_state(values, future):
    before, with_future = FrameClouds(("fast",)), FrameClouds(("fast",))
    states = [before.update(bar_event(place, value)) for place, value in enumerate(values)]
    other = [with_future.update(bar_event(place, value)) for place, value in enumerate(values + future)]
    assert other[: len(values)] == states


def test_the_source_is_the_close_or_the_middle_of_high_and_low():
    bar = bar_event(0, 10.0, high=10.4, low=9.0)
    assert FrameClouds(("fast",)).update(bar).fast.short == 10.0
    made = FrameClouds(("fast",), PriceSource.HL2).update(bar).fast
    assert (made.short, made.close) == (pytest.approx(9.7), 10.0)


@pytest.mark.rows(
    ("before", "now", "flip"),
    [
        ((9, 10), (11, 10), 1),
        ((10, 10), (11, 10), 1),
        ((9, 10), (10, 10), 0),
        ((11, 10), (12, 10), 0),
        ((11, 10), (9, 10), -1),
        ((10, 10), (9, 10), -1),
        ((11, 10), (10, 10), 0),
    ],
)
def test_a_flip_leaves_or_crosses_equality(before, now, flip):
    assert flip_direction(CloudState(*before, 10), CloudState(*now, 10)) == flip


def test_the_clouds_are_ready_two_bars_after_their_longest_period():
    clouds = FrameClouds(("fast", "macro"))
    ready = []
    for place in range(53):
        clouds.update(bar_event(place, 100.0))
        ready.append(clouds.is_ready)
    assert ready.index(True) == 51
    assert clouds.bars_needed == 52


# candles ------------------------------------------------------------------------------------------------

ABOVE = candle(10.2, 10.5, 10.1, 10.4, top=10.0, bottom=9.9)
TOUCH = candle(10.4, 10.45, 9.98, 10.1, top=10.0, bottom=9.9)


def test_a_bounce_comes_back_to_the_cloud_and_leaves_it_again():
    assert has_bounced([ABOVE, TOUCH, ABOVE], 1)
    assert not has_bounced([ABOVE, ABOVE, ABOVE], 1)  # a low of 10.1 is more than 0.2 % above 10.0
    near = candle(10.4, 10.45, 10.02, 10.1, top=10.0, bottom=9.9)
    assert has_bounced([ABOVE, near, ABOVE], 1)
    fell = candle(10.4, 10.45, 9.7, 9.85, top=10.0, bottom=9.9)
    assert not has_bounced([ABOVE, fell, ABOVE], 1)
    assert not has_bounced([TOUCH, ABOVE], 1)


def mirrored(one):
    """Return a candle upside down around 10."""
    bar, cloud = one.bar, one.fast
    return candle(
        20 - bar.open,
        20 - bar.low,
        20 - bar.high,
        20 - bar.close,
        top=20 - cloud.bottom,
        bottom=20 - cloud.top,
    )


@given(
    st.lists(st.sampled_from([ABOVE, TOUCH, candle(10, 10.3, 9.8, 9.95, top=10.0, bottom=9.9)]), max_size=4)
)
def test_down_is_up_mirrored(candles):
    down = [mirrored(one) for one in candles]
    assert has_bounced(candles, 1) == has_bounced(down, -1)
    assert is_exhausted(candles, 1) == is_exhausted(down, -1)
    if candles:
        assert cloud_held(candles[-1], 1) == cloud_held(down[-1], -1)


def test_a_candle_tests_the_cloud_with_its_low_and_holds_with_its_close():
    assert cloud_held(TOUCH, 1)
    assert cloud_held(candle(10.2, 10.3, 10.0, 10.1, top=10.0, bottom=9.9), 1)  # equality touches
    assert not cloud_held(ABOVE, 1)
    assert not cloud_held(candle(10.2, 10.3, 9.95, 10.0, top=10.0, bottom=9.9), 1)


def test_exhaustion_takes_three_candles_of_the_colour_clear_of_the_cloud():
    assert is_exhausted([ABOVE] * 3, 1)
    assert is_exhausted([TOUCH, ABOVE, ABOVE, ABOVE], 1)
    assert not is_exhausted([ABOVE] * 2, 1)
    assert not is_exhausted([ABOVE] * 3, -1)
    assert not is_exhausted([ABOVE, TOUCH, ABOVE], 1)
    red = candle(10.4, 10.5, 10.1, 10.2, top=10.0, bottom=9.9)
    assert not is_exhausted([ABOVE, red, ABOVE], 1)


def test_the_volume_is_compared_with_the_twenty_bars_before():
    average = VolumeAverage()
    assert [average.update(100.0) for _ in range(20)] == [None] * 20
    assert average.update(250.0) == 2.5
    assert average.update(107.5) == 1.0  # 19 x 100 and 250: a mean of 107.5
    silent = VolumeAverage(2)
    assert [silent.update(volume) for volume in (0.0, 0.0, 5.0)] == [None] * 3
    assert is_surge(1.51, 1.5)
    assert not is_surge(1.5, 1.5)
    assert not is_surge(None, 0.0)


# macro --------------------------------------------------------------------------------------------------


@given(st.integers(0, 390 * 60))
def test_the_last_ten_minute_bar_is_one_that_has_closed(second):
    open_ns = session_on(DAYS[0]).open_ns
    at_ns = open_ns + second * 10**9
    start_ns = last_closed_start_ns(at_ns, open_ns)
    if second < 600:
        assert start_ns is None
    else:
        assert (start_ns - open_ns) % (600 * 10**9) == 0
        assert start_ns + 600 * 10**9 <= at_ns < start_ns + 1200 * 10**9


def test_the_bias_is_unknown_until_52_bars_and_neutral_where_the_averages_are_equal():
    macro = MacroFilter()
    for place in range(52):
        assert macro.state.bias is None
        macro.update(bar_event(place, 100.0, seconds=600), 10)
    assert macro.state.bias == 0
    macro.update(bar_event(53, 101.0, seconds=600), 7)
    assert (macro.state.bias, macro.state.is_thin) == (1, True)


# conviction ---------------------------------------------------------------------------------------------


def test_the_parts_of_a_conviction_sum_to_its_total():
    parts = judge_conviction(
        [(1, Place.ABOVE), (1, Place.INSIDE), (-1, Place.ABOVE), (0, Place.ABOVE)],
        1,
        frames=3,
        volume_ratio=None,
        thickness=0.005,
        body_ratio=0.3,
        factor=0.5,
    )
    assert parts == Conviction(25 * 1.5 / 4, 20.0, 4.5, 7.0, 4.0, 7.5)
    assert (parts.total, parts.level) == (52, ConvictionLevel.MEDIUM)


@given(
    st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from(list(Place))), min_size=1, max_size=5),
    st.sampled_from([-1, 1]),
    st.integers(0, 4),
    st.one_of(st.none(), st.floats(0, 10)),
    st.floats(0, 0.1),
    st.floats(0, 1),
)
def test_a_conviction_lies_between_0_and_100_and_mirrors(clouds, direction, frames, ratio, thickness, body):
    flipped = {Place.ABOVE: Place.BELOW, Place.BELOW: Place.ABOVE, Place.INSIDE: Place.INSIDE}
    rest = {"frames": frames, "volume_ratio": ratio, "thickness": thickness, "body_ratio": body}
    made = judge_conviction(clouds, direction, **rest)
    assert 0 <= made.total <= 100
    assert made == judge_conviction([(-colour, flipped[at]) for colour, at in clouds], -direction, **rest)
    assert made.level is conviction_level(made.total)


@pytest.mark.rows(
    ("total", "level"), [(75, "high"), (74, "medium"), (50, "medium"), (49, "low"), (24, "none")]
)
def test_the_levels_begin_at_75_50_and_25(total, level):
    assert conviction_level(total).value == level


# a recorded week, against pandas ------------------------------------------------------------------------


def recorded_minutes():
    """Return the regular minutes of recorded SPY, by end in New York, as a frame."""
    path = DATA / "spy_bars_2013-10" / "underlying_trade.parquet"
    rows = duckdb.sql(
        f"select epoch_ns(ts) as ns, open, high, low, close, volume from '{path}' order by ts"
    ).fetchnumpy()
    frame = pd.DataFrame(rows)
    frame["end"] = pd.to_datetime(frame.pop("ns"), utc=True).dt.tz_convert(NEW_YORK)
    clock = frame["end"].dt.time
    frame = frame[(clock > pd.Timestamp("09:30").time()) & (clock <= pd.Timestamp("16:00").time())]
    return frame.set_index("end")


def bars_of_length(minutes, length):
    """Return bars of so many minutes, each labelled by its end; anchored at the open."""
    grouped = minutes.groupby(
        [minutes.index.date, (minutes.index.hour * 60 + minutes.index.minute - 571) // length]
    )
    made = grouped.agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    made.index = [group.index[-1] for _, group in grouped]
    return made


@pytest.fixture(scope="module")
def recorded():
    if not DATA.is_dir():
        pytest.skip("the recorded market data is not beside the project")
    return recorded_minutes()


def followed(frame):
    """Feed a frame of minutes to a watch; return what it says after each minute."""
    watch = CloudWatch(0, "SPY")
    seen = []
    for day, rows in frame.groupby(frame.index.date):
        watch.open_session(session_on(day))
        for event in minutes_of(rows):
            closed = watch.add(event)
            clouds = {
                seconds: watch.candles(seconds)[-1].clouds if watch.candles(seconds) else {}
                for seconds in (60, 300)
            }
            seen.append(
                (event.ts_event_ns, closed, clouds, watch.macro, watch.flip(60), watch.volume_ratio(60))
            )
        watch.close_session()
    return seen


def averages(frame, cloud):
    short, long = CLOUDS[cloud]
    return tuple(frame["close"].ewm(span=span, adjust=False).mean() for span in (short, long))


@pytest.mark.recorded
def test_recorded_spy_has_the_clouds_flips_volumes_and_biases_of_pandas(recorded):
    seen = followed(recorded)
    assert len(seen) == 6 * 390
    for seconds in (60, 300):
        frame = bars_of_length(recorded, seconds // 60)
        mine = [item for item in seen if seconds in item[1]]
        assert len(mine) == len(frame)
        for name in CLOUDS:
            short, long = averages(frame, name)
            got = [(item[2][seconds][name].short, item[2][seconds][name].long) for item in mine]
            np.testing.assert_allclose(np.array(got), np.column_stack((short, long)), rtol=1e-12)
    short, long = averages(recorded, "fast")
    above = np.sign(np.round((short - long).to_numpy(), 12))
    flips = [0] + [int(now) if now and now != before else 0 for before, now in pairwise(above)]
    ready = CLOUDS["long_term"][1] + 1
    assert [item[4] for item in seen[ready:]] == flips[ready:]
    assert all(item[4] == 0 for item in seen[:ready])
    assert sum(map(abs, flips[ready:])) > 50
    ratio = recorded["volume"] / recorded["volume"].rolling(20).mean().shift(1)
    np.testing.assert_allclose([item[5] for item in seen[20:]], ratio.to_numpy()[20:], rtol=1e-12)
    tens = bars_of_length(recorded, 10)
    short, long = averages(tens, "macro")
    bias = pd.Series(np.sign(short - long).to_numpy(), tens.index)
    bias.iloc[:51] = np.nan
    expected = bias.reindex(recorded.index, method="ffill")
    got = [np.nan if item[3].bias is None else item[3].bias for item in seen]
    np.testing.assert_array_equal(got, expected.to_numpy())


@pytest.mark.recorded
def test_a_shifted_future_changes_no_past_signal(recorded):
    cut = 1_500
    shifted = recorded.copy()
    shifted.iloc[cut:, :4] += 7.0
    shifted.iloc[cut:, 4] *= 3.0
    before, after = followed(recorded), followed(shifted)
    assert after[:cut] == before[:cut]
    assert after[cut + 60] != before[cut + 60]


def test_minutes_of_earlier_sessions_are_those_that_the_watch_would_have_seen():
    days = [date(2024, 3, 1), date(2024, 3, 4)]
    rng = np.random.default_rng(3)
    live, handed = CloudWatch(0, "SPY"), CloudWatch(0, "SPY")
    first, second = (session_on(day) for day in days)
    closes = 500 + np.cumsum(rng.normal(0, 0.1, 390)).round(2)
    ends = [first.open_ns + (place + 1) * MINUTE_NS for place in range(390)]
    live.open_session(first)
    for end_ns, close in zip(ends, closes, strict=True):
        live.add(bar_event(0, float(close), end_ns=end_ns))
    live.close_session()
    live.open_session(second)
    column = tuple(map(float, closes))
    event = SessionBarsEvent(
        0, first.close_ns, first.close_ns, days[0].isoformat(), first.open_ns, first.close_ns, 60,
        tuple(ends), column, column, column, column, (100.0,) * 390,
    )  # fmt: skip
    handed.open_session(second, [event])
    last = bar_event(0, 501.0, end_ns=second.open_ns + MINUTE_NS)
    assert live.add(last) == handed.add(last) == (60,)
    for seconds in (60, 300):
        assert live.candles(seconds)[-1].clouds == handed.candles(seconds)[-1].clouds
    assert live.macro == handed.macro


@pytest.mark.parametrize("source", list(PriceSource))
def test_after_a_split_clouds_and_volumes_are_those_of_adjusted_bars(source):
    first, second = session_on(date(2024, 3, 1)), session_on(date(2024, 3, 4))
    split, adjusted = CloudWatch(0, "SPY", source), CloudWatch(0, "SPY", source)
    action = PriceAdjustmentEvent(0, second.open_ns, second.open_ns, 0.25, 4.0)
    closes = 500 + np.cumsum(np.random.default_rng(3).normal(0, 0.1, 400)).round(2)
    for watch, ratio, actions in ((split, 4.0, [action]), (adjusted, 1.0, [])):
        watch.open_session(first)
        for place, close in enumerate(closes.tolist()):
            scale, session, minute = (ratio, first, place) if place < 390 else (1.0, second, place - 390)
            if place == 390:
                watch.open_session(second, (), actions)
            bar = bar_event(0, scale * close, end_ns=session.open_ns + (minute + 1) * MINUTE_NS)
            watch.add(msgspec.structs.replace(bar, volume=(100.0 + place % 7) / scale))
    for seconds in (60, 300, 600, 1800):
        assert list(split.candles(seconds)) == list(adjusted.candles(seconds))
        assert len(split.candles(seconds)) == 5
    assert split.macro == adjusted.macro
    assert split.volume_ratio(60) == adjusted.volume_ratio(60)
    assert split.volume_ratio(60) == pytest.approx(1.0, abs=0.05)


@pytest.mark.recorded
def test_of_the_recorded_weeks_flips_a_few_pass_every_filter(recorded):
    """The counts of docs/evidence/results.md."""
    watch, found, closes = CloudWatch(0, "SPY"), [], {}
    for day, rows in recorded.groupby(recorded.index.date):
        watch.open_session(session_on(day))
        for event in minutes_of(rows):
            closes[event.ts_event_ns] = event.close
            if 60 in watch.add(event) and (signal := watch.signal(60)) is not None:
                found.append((event.ts_event_ns, signal))
        watch.close_session()
    signals = [signal for _, signal in found]
    loud = {one.signal_id for one in signals if is_surge(one.volume_ratio, 1.5)}
    aligned = {one.signal_id for one in signals if one.macro_bias == one.sign}
    sure = {one.signal_id for one in signals if one.conviction >= 50}
    assert len(signals) == len({one.signal_id for one in signals}) == 203
    assert (len(loud), len(aligned), len(sure), len(loud & aligned & sure)) == (37, 80, 90, 13)
    later_ns = 5 * MINUTE_NS
    moves = [
        100 * signal.sign * (closes[ts_ns + later_ns] - closes[ts_ns])
        for ts_ns, signal in found
        if signal.signal_id in loud & aligned & sure and ts_ns + later_ns in closes
    ]
    assert (len(moves), np.mean(moves)) == (11, pytest.approx(-7.3, abs=0.05))


def test_bars_that_come_later_take_the_place_of_those_made_from_quotes():
    """A desk that first sees quotes and then the feed's bars ends with the clouds of the bars."""
    day = date(2024, 3, 4)
    session = session_on(day)
    by_bars, by_both = CloudWatch(0, "SPY"), CloudWatch(0, "SPY")
    for watch in (by_bars, by_both):
        watch.open_session(session)
    first_ns = session.open_ns + MINUTE_NS
    for second in (1, 30, 59, 61):
        at_ns = session.open_ns + second * 10**9
        by_both.add(QuoteEvent(0, at_ns, at_ns, 400.0, 400.02, 1.0, 1.0))
    assert by_both.candles(60)[-1].bar.close == pytest.approx(400.01)
    for place in range(3):
        event = bar_event(0, 500.0 + place, end_ns=first_ns + place * MINUTE_NS)
        assert by_bars.add(event) == by_both.add(event) == (60,)
    assert [one.clouds for one in by_both.candles(60)] == [one.clouds for one in by_bars.candles(60)]
    assert len(by_both.candles(60)) == 3
