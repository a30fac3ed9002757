"""The shape of variance inside a session: high at the open, low at noon, higher again at the close.

An intraday return says little until it is known what is usual at its time of day. The profile is the mean
share of each bucket in its session's variance; every session counts the same, however wild it was.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from scalpdesk.core.errors import ArgumentError
from scalpdesk.volatility.ohlc import Array, DroppedBar, read_ohlc

SESSION_MINUTES = 390


class IntradayBars(msgspec.Struct, frozen=True):
    """Bars of one session.

    Parameters
    ----------
    minutes
        Start of each bar in whole minutes from the open, rising.
    bars
        As for :func:`scalpdesk.volatility.realized_vol`: open, high, low, close.
    """

    minutes: Sequence[int]
    bars: Any


class IntradayProfile(msgspec.Struct, frozen=True):
    """Shares of a session's variance by time of day.

    Parameters
    ----------
    shares
        One per bucket; they sum to 1.
    standard_errors
        Of the shares, from their spread over the sessions; NaN with a single session.
    bucket_minutes, session_minutes
        Length of a bucket and of a session.
    sessions
        How many went in.
    dropped
        For each session with bad bars: its position and what was dropped.
    """

    shares: Array
    standard_errors: Array
    bucket_minutes: int
    session_minutes: int
    sessions: int
    dropped: tuple[tuple[int, tuple[DroppedBar, ...]], ...]


def intraday_profile(
    sessions: Sequence[IntradayBars], *, bucket_minutes: int = 30, session_minutes: int = SESSION_MINUTES
) -> IntradayProfile:
    """Estimate the profile from whole sessions of intraday bars.

    Parameters
    ----------
    sessions
        Regular sessions; a bar's return is from the close before it, the first bar's from its own open.
        After a missing or dropped bar the next return is left out and its bucket scaled up for it.
    bucket_minutes
        Must divide the session.
    session_minutes
        390 for a US session.

    Raises
    ------
    ArgumentError
        When no session moved, a bucket is empty, or the arguments do not fit one another.

    References
    ----------
    Wood, McInish and Ord (1985), Journal of Finance 40(3) (the U shape); Andersen and Bollerslev (1997),
    Journal of Empirical Finance 4(2-3).
    """
    if bucket_minutes < 1 or session_minutes % bucket_minutes:
        raise ArgumentError(
            "buckets must divide the session", where="bucket_minutes", value=bucket_minutes, fix="use 30"
        )
    shares: list[Array] = []
    dropped: list[tuple[int, tuple[DroppedBar, ...]]] = []
    for position, session in enumerate(sessions):
        sums, bad = _bucket_variances(session, position, bucket_minutes, session_minutes)
        if bad:
            dropped.append((position, bad))
        if sums.sum() > 0.0:
            shares.append(sums / sums.sum())
    if not shares:
        raise ArgumentError("no session moved", where="sessions", value=len(sessions))
    table = np.asarray(shares)
    errors = (
        table.std(axis=0, ddof=1) / math.sqrt(len(table))
        if len(table) > 1
        else np.full(table.shape[1], np.nan)
    )
    return IntradayProfile(
        table.mean(axis=0), errors, bucket_minutes, session_minutes, len(table), tuple(dropped)
    )


def _bucket_variances(
    session: IntradayBars, position: int, bucket_minutes: int, session_minutes: int
) -> tuple[Array, tuple[DroppedBar, ...]]:
    ohlc = read_ohlc(session.bars)
    starts = np.asarray(session.minutes, dtype=np.int64)
    where = f"sessions[{position}].minutes"
    if len(starts) != len(ohlc.positions) + len(ohlc.dropped):
        raise ArgumentError("each bar needs its minute", where=where, value=len(starts))
    if len(starts) < 2 or starts[0] < 0 or starts[-1] >= session_minutes or (np.diff(starts) < 1).any():
        raise ArgumentError(
            f"minutes rise from 0 to less than {session_minutes}", where=where, value=starts[[0, -1]].tolist()
        )
    step = int(np.diff(starts).min())
    starts = starts[ohlc.positions]
    opens_day = np.zeros(len(starts), dtype=np.bool_)
    opens_day[0] = starts[0] == 0
    before = np.roll(ohlc.close, 1)
    before[opens_day] = ohlc.open[opens_day]
    follows = opens_day | (np.diff(starts, prepend=starts[0] - 2 * step) == step)
    squares = np.square(np.log(ohlc.close[follows] / before[follows]))
    buckets = len(range(0, session_minutes, bucket_minutes))
    into = starts[follows] // bucket_minutes
    counts = np.bincount(into, minlength=buckets)
    if (counts == 0).any():
        raise ArgumentError(
            "a part of the session has no return",
            where=where,
            value=f"minutes {int(np.flatnonzero(counts == 0)[0]) * bucket_minutes} on",
            fix="leave the session out, or use longer buckets",
        )
    sums = np.bincount(into, weights=squares, minlength=buckets)
    return sums / counts * (bucket_minutes / step), ohlc.dropped
