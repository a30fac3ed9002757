"""Hedge straddles along given paths with several fixed bands; prints one JSON line.

``band_lab.py PATHS WORK REPEATS`` with WORK greeks (computed for each band and look) or shared (made once a
path). ``seconds`` is the median of a repeat, in processor time; a shared repeat makes the columns too.
"""

import json
import sys
from pathlib import Path

import numpy as np
from contender import median_seconds, tell

from scalpdesk.hedging.kernels.columns import PARTS, fill_straddles, walk, walk_straddles

CHUNK = 64


def main():
    terms = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    work, repeats = sys.argv[2], int(sys.argv[3])
    spot = np.array(terms["spot"])
    paths, looks = spot.shape[0], spot.shape[1] - 1
    years, vol, rate = np.array(terms["years"]), terms["vol"], terms["rate"]
    half_spread, discount = np.full_like(spot, terms["half_spread"]), np.ones(looks + 1)
    widths = np.array(terms["widths"])
    now_ns = np.arange(looks) * 60_000_000_000
    rows = [np.full((1, looks), width) for width in widths]
    no_clock, edge, least, trace = (
        np.zeros((1, looks)),
        np.zeros(looks, np.bool_),
        np.ones(looks),
        np.empty((0, 2)),
    )
    out, turned = np.empty((paths * len(widths), PARTS)), np.empty((len(widths), paths, PARTS))

    def columns():
        root = np.sqrt(years)
        log_spot = np.log(spot / terms["strike"])
        return log_spot, vol * root, (rate / vol + 0.5 * vol) * root

    def greeks():
        log_spot, deviation, shift = columns()
        walk_straddles(
            now_ns, spot, log_spot, half_spread, discount, deviation, shift, terms["units"], widths, 1.0, out
        )
        return out.reshape(paths, len(widths), PARTS)

    def shared():
        log_spot, deviation, shift = columns()
        deviation, shift = deviation[None, :], shift[None, :]
        for first in range(0, paths, CHUNK):
            part = slice(first, min(first + CHUNK, paths))
            delta, gamma = np.empty((2, part.stop - first, looks))
            fill_straddles(spot[part], log_spot[part], deviation, shift, terms["units"], delta, gamma)
            for place, width in enumerate(rows):
                walk(
                    now_ns, spot[part], half_spread[part], discount, delta, width, edge, no_clock, 0, False,
                    0.0, least, 1.0, False, turned[place, part], trace,
                )  # fmt: skip
        return turned.transpose(1, 0, 2)

    run = greeks if work == "greeks" else shared
    found = run()
    tell(
        combinations=paths * len(widths),
        seconds=median_seconds(run, repeats),
        hedges=found[:, :, 2].sum(axis=0).tolist(),
        pnl=(found[:, :, 0] - found[:, :, 1]).sum(axis=0).tolist(),
    )


main()
