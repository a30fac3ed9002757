"""When the options of the embedded market are quoted anew.

Two reasons, as on a real screen: time passes (a Poisson stream for each strike, slower away from the
money) and the share moves (a round of quotes of all strikes near the money follows within half a second). The
second keeps quotes near the money from standing still while the share runs away from them, so that no
stale quote is there to be picked off beyond about its own spread.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scalpdesk.datasets import reconstructed_figures as figures
from scalpdesk.datasets.reconstructed_path import expected_clock

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FULL_SESSION_SECONDS = 23_400
NANOS = 1_000_000_000
MILLISECOND = 1_000_000
ALL_ROWS = 370_000
MOST_ROUND_ROWS = 250_000
MOST_QUIET_ROWS = 180_000
"""Most option rows in a full session, in all and by reason; in a wild session both are thinned evenly.
A real feed has millions; what is kept is enough to mark, trade and hedge by."""
WIDE_ROUND = 4.0
"""The strikes further out follow when the share has moved this many times as far."""


def update_times(
    generator: np.random.Generator,
    open_ns: int,
    close_ns: int,
    mean_seconds: Floats,
    strikes: Floats,
    share_stamps_ns: Ints,
    share_mid_usd: Floats,
    quote_seconds: float,
) -> tuple[Ints, Ints]:
    """Draw the instants at which strikes are quoted, in order.

    Parameters
    ----------
    generator
        Source of randomness.
    open_ns, close_ns
        The session, UTC nanoseconds.
    mean_seconds
        For each strike (one row per expiry and strike): mean time between two quotes of a quiet market.
    strikes
        The strikes themselves, currency per share.
    share_stamps_ns, share_mid_usd
        The share's quotes.
    quote_seconds
        Thins everything by this factor.

    Returns
    -------
    tuple
        UTC nanoseconds on whole milliseconds, and the row of the strike quoted then. Every strike has a
        quote in the first 20 seconds and one in the last 5: no mark is left open.
    """
    length = (close_ns - open_ns) / NANOS
    scale = length / FULL_SESSION_SECONDS / quote_seconds
    round_at, round_row = _rounds(generator, strikes, share_stamps_ns, share_mid_usd, scale * MOST_ROUND_ROWS)
    left = max(scale * ALL_ROWS - 2.0 * len(round_row), 0.0)
    quiet_rows = min(left, scale * MOST_QUIET_ROWS)
    expected = length / mean_seconds
    counts = generator.poisson(expected * min(1.0 / quote_seconds, quiet_rows / (2.0 * expected.sum())))
    every = np.arange(len(strikes))
    row = np.repeat(every, counts)
    at = _active_time(generator.random(len(row))) * length
    first = 0.5 + 19.5 * generator.random(len(strikes))
    last = length - 0.01 - 4.9 * generator.random(len(strikes))
    seconds = np.concatenate((at, first, last))
    stamps = open_ns + (seconds * 1e3).astype(np.int64) * MILLISECOND
    stamps, row = np.concatenate((stamps, round_at)), np.concatenate((row, every, every, round_row))
    keep = (stamps > open_ns + NANOS // 2) & (stamps < close_ns)
    stamps, row = stamps[keep], row[keep]
    # Two reasons in one millisecond are one quote.
    order = np.lexsort((row, stamps))
    stamps, row = stamps[order], row[order]
    fresh = np.append(True, (np.diff(stamps) != 0) | (np.diff(row) != 0))
    return stamps[fresh], row[fresh]


def _rounds(
    generator: np.random.Generator,
    strikes: Floats,
    share_stamps_ns: Ints,
    share_mid_usd: Floats,
    most_rows: float,
) -> tuple[Ints, Ints]:
    """One round of quotes near the money each time the share has moved far enough since the last."""
    reach = figures.ROUND_REACH_USD
    near = max(int(np.sum(np.abs(strikes - share_mid_usd[0]) <= reach)), 1)
    rows_a_round = 2.0 * (near + (len(strikes) - near) / WIDE_ROUND**2)
    most_rounds = max(most_rows / rows_a_round, 1.0)
    threshold = figures.ROUND_LEAST_MOVE_USD
    while len(moments := _moves(share_mid_usd, threshold)) > most_rounds:
        threshold *= max(1.05, float(np.sqrt(len(moments) / most_rounds)))
    wide = _moves(share_mid_usd, WIDE_ROUND * threshold)
    close_by, close_row = np.nonzero(np.abs(strikes[None, :] - share_mid_usd[moments][:, None]) <= reach)
    far_off, far_row = np.nonzero(np.abs(strikes[None, :] - share_mid_usd[wide][:, None]) > reach)
    moment = np.concatenate((moments[close_by], wide[far_off]))
    lag = generator.integers(20, 500, size=len(moment)) * MILLISECOND
    stamps = share_stamps_ns[moment] // MILLISECOND * MILLISECOND + lag
    return stamps, np.concatenate((close_row, far_row))


def _moves(mid: Floats, threshold: float) -> Ints:
    """Positions at which ``mid`` is ``threshold`` or more away from the last such position."""
    found = []
    last = float(mid[0])
    for place, value in enumerate(mid.tolist()):
        if abs(value - last) >= threshold - 1e-9:
            found.append(place)
            last = value
    return np.array(found, dtype=np.int64)


def _active_time(uniform: Floats) -> Floats:
    """Share of the session at which the share ``uniform`` of the quiet updates is over.

    Half of the activity is flat, half goes with the U shape.
    """
    elapsed = np.linspace(0.0, 1.0, 401)
    return np.asarray(np.interp(uniform, 0.5 * elapsed + 0.5 * expected_clock(elapsed), elapsed))


def quiet_means(moneyness: Floats, front: Sequence[bool]) -> Floats:
    """Mean seconds between two quotes by moneyness in expected moves; ``front``: under 30 days to go."""
    base = np.where(np.array(front), figures.FRONT_UPDATE_SECONDS, figures.MONTHLY_UPDATE_SECONDS)
    slower = np.exp(np.minimum(figures.UPDATE_DECAY * moneyness**2, 9.0))
    return np.asarray(np.minimum(base * slower, figures.UPDATE_SLOWEST_SECONDS))
