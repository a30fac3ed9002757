import numpy as np

from scalpdesk.core.events import BarEvent
from scalpdesk.core.units import NANOS_PER_SECOND
from scalpdesk.marketdata.bars import BarBuilder

S = NANOS_PER_SECOND


def test_a_bar_is_closed_by_the_first_price_after_its_end():
    builder = BarBuilder(3, 60, 0)
    assert builder.add(1 * S, 10.0, 5.0) is None
    assert builder.add(30 * S, 12.0, 1.0) is None
    assert builder.add(60 * S, 9.0, 2.0) is None  # stamped at the end: still inside
    assert builder.add(61 * S, 11.0, 7.0) == BarEvent(3, 60 * S, 60 * S, 60, 10.0, 12.0, 9.0, 9.0, 8.0)
    assert builder.close() == BarEvent(3, 120 * S, 120 * S, 60, 11.0, 11.0, 11.0, 11.0, 7.0)
    assert builder.close() is None


def test_a_silent_minute_makes_no_bar_and_ends_stay_on_the_grid():
    builder = BarBuilder(0, 60, 30 * S)
    builder.add(40 * S, 1.0)
    closed = builder.add(400 * S, 2.0)
    assert closed is not None
    assert closed.ts_event_ns == 90 * S
    assert builder.close().ts_event_ns == 450 * S  # 30 + 7 x 60


def test_a_price_at_the_anchor_belongs_to_the_first_bar():
    builder = BarBuilder(0, 60, 30 * S)
    builder.add(30 * S, 1.0)
    assert builder.close().ts_event_ns == 90 * S


def test_bars_never_know_a_price_stamped_after_their_end():
    rng = np.random.default_rng(7)
    stamps = np.cumsum(rng.integers(1, 40, 300)) * S
    prices = rng.normal(100, 1, 300)
    builder = BarBuilder(0, 60, 0)
    bars = [
        bar
        for ts, price in zip(stamps.tolist(), prices.tolist(), strict=True)
        if (bar := builder.add(ts, price))
    ]
    bars.append(builder.close())
    for bar in bars:
        inside = prices[(stamps > bar.ts_event_ns - 60 * S) & (stamps <= bar.ts_event_ns)]
        assert (bar.high, bar.low, bar.open, bar.close) == (inside.max(), inside.min(), inside[0], inside[-1])
    assert sum(((stamps > b.ts_event_ns - 60 * S) & (stamps <= b.ts_event_ns)).sum() for b in bars) == 300
